"""Which zone does a task of a given type. Pure: the routing table and the active zone come in, a zone comes out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

LOCAL = "local"
CLOUD = "cloud"
BOTH = "both"
ZONES = (LOCAL, CLOUD)

TASK_TYPES = (
    "email_processing",
    "social_media",
    "approvals",
    "vault_operations",
    "whatsapp",
    "payments",
    "accounting",
    "system_monitoring",
)

#: These never resolve to the cloud, whatever `zones.json` says.
LOCAL_ONLY_TYPES = frozenset({"approvals", "vault_operations", "whatsapp", "payments"})

DOMAIN_OF_TYPE = {
    "email_processing": "email",
    "social_media": "social",
    "whatsapp": "social",
    "payments": "accounting",
    "accounting": "accounting",
    "approvals": "general",
    "vault_operations": "general",
    "system_monitoring": "general",
}


#: The order of work; the ones of `utils.core.task.PRIORITIES`.
_URGENCY = {"urgent": 0, "high": 1, "normal": 2, "low": 3}
Key = TypeVar("Key", bound=Hashable)


class Rule(StrEnum):
    """How a task type is routed (the mission document's "Work Zone Routing")."""

    ACTIVE = "active"
    LOCAL = "local"
    BOTH = "both"


def rule_for(task_type: str, routing: Mapping[str, Rule]) -> Rule:
    """The rule of a task type. A type that nobody listed is local only: the careful answer."""
    if task_type in LOCAL_ONLY_TYPES:
        return Rule.LOCAL
    return routing.get(task_type, Rule.LOCAL)


def resolve(task_type: str, routing: Mapping[str, Rule], active_zone: str) -> str:
    """The zone that does `task_type` now: `local`, `cloud` or `both`."""
    rule = rule_for(task_type, routing)
    if rule is Rule.ACTIVE:
        return active_zone
    return BOTH if rule is Rule.BOTH else LOCAL


def runs_here(task_type: str, routing: Mapping[str, Rule], active_zone: str, this_zone: str) -> bool:
    """Whether `this_zone` takes tasks of `task_type` now."""
    return resolve(task_type, routing, active_zone) in (this_zone, BOTH)


@dataclass(frozen=True)
class Ticket:
    """What decides who takes a task and when."""

    type: str
    priority: str
    created: datetime


def in_order(tickets: Mapping[Key, Ticket]) -> list[Key]:
    """The tasks in the order of work: most urgent first, then oldest first."""
    return sorted(tickets, key=lambda key: (_URGENCY.get(tickets[key].priority, 2), tickets[key].created, str(key)))
