"""The zones' configuration (`zones.json`) as values. Pure: parsing alone, no files, no clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from utils.core import brakes
from utils.core.brakes import Brakes
from utils.core.policy import ACTIONS, ActionPolicy, ApproveBy
from utils.core.routing import LOCAL_ONLY_TYPES, TASK_TYPES, ZONES, Rule

REMOTE_APPROVALS = ("signed", "trust")


class InvalidZones(ValueError):
    """`zones.json` cannot be used; `problems` names everything that is wrong in it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Failover:
    """When and how the zones change by themselves (`utils.core.lease`); times in seconds.

    The other zone counts as failed after `threshold` bad checks in a row, one each `interval_seconds`. The lease is
    renewed each `renew_seconds`, holds for `ttl_seconds`, and is taken over after `margin_seconds` more. After
    `most_switches` automatic changes within `window_seconds` only a human changes the zone. `failback`: whether the
    zone named `initial_holder` gets the lease back when it is well again.
    """

    enabled: bool = True
    threshold: int = 3
    interval_seconds: int = 120
    renew_seconds: float = 60
    ttl_seconds: float = 240
    margin_seconds: float = 30
    failback: bool = False
    most_switches: int = 2
    window_seconds: float = 3600


@dataclass(frozen=True)
class ZonesConfig:
    """What `zones.json` says."""

    descriptions: Mapping[str, str]
    initial_holder: str
    routing: Mapping[str, Rule]
    failover: Failover
    remote_approvals: str
    actions: Mapping[str, ActionPolicy]
    brakes: Brakes = field(default_factory=Brakes)


def parse(raw: Any) -> ZonesConfig:
    """Validate the JSON value of `zones.json`; raises `InvalidZones` with every problem."""
    if not isinstance(raw, Mapping):
        raise InvalidZones(["the file must hold a JSON object"])
    problems: list[str] = []
    known = {"zones", "initial_holder", "routing", "failover", "remote_approvals", "actions", "brakes"}
    problems += [f"unknown key {key!r}" for key in raw if key not in known]
    zones = _section(raw, "zones", problems)
    problems += [f"zones: {zone!r} is missing" for zone in ZONES if zone not in zones]
    problems += [f"zones: unknown zone {zone!r}" for zone in zones if zone not in ZONES]
    holder = raw.get("initial_holder", ZONES[1])
    if holder not in ZONES:
        problems.append(f"initial_holder is {holder!r}; it must be one of {', '.join(ZONES)}")
    remote = raw.get("remote_approvals", "signed")
    if remote not in REMOTE_APPROVALS:
        problems.append(f"remote_approvals is {remote!r}; it must be one of {', '.join(REMOTE_APPROVALS)}")
    config = ZonesConfig(
        descriptions={zone: str((zones.get(zone) or {}).get("description", "")) for zone in ZONES},
        initial_holder=holder,
        routing=_routing(_section(raw, "routing", problems), problems),
        failover=_failover(_section(raw, "failover", problems), problems),
        remote_approvals=remote,
        actions=_actions(_section(raw, "actions", problems), problems),
        brakes=brakes.parse(raw.get("brakes"), raw.get("actions"), problems),
    )
    if problems:
        raise InvalidZones(problems)
    return config


def _section(raw: Mapping[str, Any], name: str, problems: list[str]) -> Mapping[str, Any]:
    value = raw.get(name)
    if isinstance(value, Mapping):
        return value
    problems.append(f"{name} is missing or is not an object")
    return {}


def _routing(section: Mapping[str, Any], problems: list[str]) -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    for task_type, value in section.items():
        if task_type not in TASK_TYPES:
            problems.append(f"routing: unknown task type {task_type!r}")
        elif value not in set(Rule):
            problems.append(f"routing: {task_type} is {value!r}; it must be one of {', '.join(Rule)}")
        elif task_type in LOCAL_ONLY_TYPES and value != Rule.LOCAL:
            problems.append(f"routing: {task_type} is local only and can't be {value!r}")
        else:
            rules[task_type] = Rule(value)
    problems += [f"routing: {task_type} is missing" for task_type in TASK_TYPES if task_type not in section]
    return rules


#: Renewals within a TTL: fewer leave no room for one that fails, more come round too soon (`utils.core.lease.BEATS`).
_LEAST_RENEWALS, _MOST_RENEWALS = 2, 16
_LONGEST_WAIT = 86_400  # seconds; a lease that claims to hold for longer is not believed (`utils.core.lease`)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


#: By the type of a field: whether a value is right for it, and what would be.
_RIGHT: Mapping[Any, tuple[Callable[[Any], bool], str]] = {
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "int": (lambda value: _is_number(value) and isinstance(value, int), "a whole number above 0"),
    "float": (_is_number, "a number above 0"),
}


def _failover(section: Mapping[str, Any], problems: list[str]) -> Failover:
    known = {one.name: one for one in fields(Failover)}
    found = [f"failover: unknown key {name!r}" for name in section if name not in known]
    values: dict[str, Any] = {}
    for name, setting in known.items():
        value = section.get(name, setting.default)
        is_right, words = _RIGHT[setting.type]
        if is_right(value):
            values[name] = value
        else:
            found.append(f"failover: {name} is {value!r}; it must be {words}")
    failover = Failover(**values)
    if not found and not _LEAST_RENEWALS <= failover.ttl_seconds / failover.renew_seconds <= _MOST_RENEWALS:
        found.append(
            f"failover: ttl_seconds is {failover.ttl_seconds:g}; it must be {_LEAST_RENEWALS} to {_MOST_RENEWALS} times"
            f" renew_seconds ({failover.renew_seconds:g})"
        )
    longest = failover.ttl_seconds + failover.margin_seconds
    if not found and longest > _LONGEST_WAIT:
        found.append(
            f"failover: ttl_seconds and margin_seconds are {longest:g} together; at most {_LONGEST_WAIT} (a day)"
        )
    problems += found
    return failover


def _actions(section: Mapping[str, Any], problems: list[str]) -> dict[str, ActionPolicy]:
    problems += [f"actions: unknown action {name!r}" for name in section if name not in ACTIONS]
    policies = {}
    for name in ACTIONS:
        entry = section.get(name)
        if not isinstance(entry, Mapping):
            problems.append(f"actions: {name} is missing or is not an object")
            continue
        approve_by, hours = entry.get("approve_by"), entry.get("expires_hours")
        if approve_by not in set(ApproveBy):
            problems.append(f"actions: {name}.approve_by is {approve_by!r}; it must be move or confirm")
        elif not isinstance(hours, (int, float)) or isinstance(hours, bool) or not hours > 0:
            problems.append(f"actions: {name}.expires_hours is {hours!r}; it must be a number above 0")
        else:
            policies[name] = ActionPolicy(ApproveBy(approve_by), float(hours))
    return policies
