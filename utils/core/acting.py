"""Values of the frame that all actions share: what a hand gets, what it would do, and what proves that it did. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from utils.core.task import ApprovalRequest


@dataclass(frozen=True)
class Receipt:
    """Proof that the world took an action: who said so (`provider`), under what id, and details to show."""

    provider: str
    id: str
    detail: str = ""


@dataclass(frozen=True)
class Order:
    """An approved request as a hand gets it: the request is parsed from the very bytes that the human approved."""

    action_id: str
    request: ApprovalRequest
    approved_at: datetime  # aware UTC
    #: Our own mark in the outside world (`Plan.reference`), as the journal kept it when the token was consumed.
    reference: str = ""
    #: The provider's id of what was made ready before the act (a draft, a container, uploaded media); durable.
    prepared: str = ""
    #: Which try of it this is: 1 is the first.
    attempt: int = 1

    @property
    def mark(self) -> str:
        """Our own mark of this try alone: what the world says of another try of the same action bears another."""
        return f"{self.action_id}.{self.attempt}"


@dataclass(frozen=True)
class Plan:
    """What would be done.

    `reference`: the mark by which the act can be found again. `recipients`: bare addresses that become known recipients
    after a receipt. `shown`: (label, text) lines for people and dry runs. `obstacles`: why it would be refused if it
    were done now, in plain sentences; that may pass, and is looked at again when it is done.
    """

    reference: str
    recipients: tuple[str, ...] = ()
    shown: tuple[tuple[str, str], ...] = ()
    obstacles: tuple[str, ...] = ()


class Absence(Enum):
    """What it means that no trace of an act was found."""

    PROVEN = "proven"  # certainly it did not happen
    OPEN = "open"  # nothing was found, which proves nothing
    NOT_YET = "not yet"  # nothing was found, but what was asked for may still be at work: look again later
