"""The execution journal as values: an action's states, what may follow what, and what a record proves. Pure.

`approved → sending → done | failed | unknown`. An action goes back from `sending` to `approved` only where it is proven
that nothing happened (promise S8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from utils.core.acting import Receipt
from utils.core.policy import MAIL_ACTIONS
from utils.core.task import format_time

MAX_ATTEMPTS = 5
_FIRST_PAUSE = timedelta(seconds=30)


class State(StrEnum):
    """Where an approved action stands."""

    APPROVED = "approved"
    SENDING = "sending"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    VOID = "void"


#: What may follow what. `unknown` is left by a human's word alone.
TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.APPROVED: frozenset({State.SENDING, State.FAILED, State.VOID}),
    State.SENDING: frozenset({State.APPROVED, State.DONE, State.FAILED, State.UNKNOWN}),
    State.UNKNOWN: frozenset({State.DONE, State.VOID}),
    State.DONE: frozenset(),
    State.FAILED: frozenset(),
    State.VOID: frozenset(),
}

#: A request has at most one record in these states; another approval of it needs the old one to have come to nothing.
LIVE = frozenset({State.APPROVED, State.SENDING, State.UNKNOWN, State.DONE})
#: States whose outcome is told to the human and in the action log.
TOLD = frozenset({State.DONE, State.FAILED, State.UNKNOWN})


class IllegalTransition(ValueError):
    """The journal's table does not know this step."""


def check_transition(source: State, target: State) -> None:
    """Raise `IllegalTransition` unless an action may go from `source` to `target`."""
    if target not in TRANSITIONS[source]:
        raise IllegalTransition(f"an action that is {source} cannot become {target}")


class Outcome(StrEnum):
    """What the acting server wrote down after it had consumed the token."""

    ACCEPTED = "accepted"  # the world took it; there is a receipt
    REFUSED = "refused"  # certainly nothing happened
    AUTH_REFUSED = "auth_refused"  # the same, because the provider does not take our credentials
    LOST = "lost"  # nobody can know


@dataclass(frozen=True)
class ActionRecord:
    """One approval and everything that came of it. `frozen` are the exact bytes that the human approved."""

    action_id: str
    request_id: str
    action: str
    sha256: str
    frozen: bytes = field(repr=False)
    source_task: str | None
    approved_at: datetime
    approved_by: str
    via: str  # api, cli, move, trust, signed:<which approval>
    expires_at: datetime
    state: State
    attempts: int = 0
    next_try_at: datetime | None = None  # in `sending`: when at the earliest, as the provider asks
    started_at: datetime | None = None  # of the newest attempt
    token: str | None = field(default=None, repr=False)  # of the newest attempt; None once revoked
    token_consumed_at: datetime | None = None
    reference: str = ""  # our mark in the outside world, from the moment the token was consumed
    outcome: Outcome | None = None
    outcome_retry: bool = False
    receipt: Receipt | None = None
    error: str = ""
    finished_at: datetime | None = None
    placed: bool = False  # the file was seen in Approved/ under this record
    filed: bool = False  # the outcome is shown in the vault
    prepared: str = ""  # the provider's id of what was made ready before the act, by this attempt or one before
    provider: str = ""  # who was asked to act, from the moment the token was consumed

    @property
    def duration_ms(self) -> int | None:
        """Milliseconds from the start of the last attempt to the outcome."""
        if self.started_at is None or self.finished_at is None:
            return None
        return round((self.finished_at - self.started_at).total_seconds() * 1000)

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values, without the approved bytes and the token: a line of the action log."""
        receipt = self.receipt
        return {
            "at": format_time(self.finished_at or self.approved_at),
            "action_id": self.action_id,
            "request": self.request_id,
            "action": self.action,
            "source_task": self.source_task,
            "sha256": self.sha256,
            "approver": self.approved_by,
            "via": self.via,
            "approved_at": format_time(self.approved_at),
            "expires_at": format_time(self.expires_at),
            "state": self.state.value,
            "attempts": self.attempts,
            "reference": self.reference or None,
            "message_id": self.reference if self.action in MAIL_ACTIONS and self.reference.startswith("<") else None,
            "receipt": {"provider": receipt.provider, "id": receipt.id, "detail": receipt.detail} if receipt else None,
            "error": self.error or None,
            "duration_ms": self.duration_ms,
        }


class Proof(StrEnum):
    """What a record in `sending` proves about the outside world."""

    NOTHING_HAPPENED = "nothing happened"
    HAPPENED = "happened"
    OPEN = "open"


def proof(record: ActionRecord) -> Proof:
    """What can be concluded from the record alone, once no server acts on it any more.

    A token that nobody consumed proves that no server acted; a receipt proves the act; a refusal written by the server
    proves that nothing left. Everything else is open and needs evidence from outside.
    """
    if record.token_consumed_at is None:
        return Proof.NOTHING_HAPPENED
    if record.outcome is Outcome.ACCEPTED and record.receipt is not None:
        return Proof.HAPPENED
    if record.outcome in (Outcome.REFUSED, Outcome.AUTH_REFUSED):
        return Proof.NOTHING_HAPPENED
    return Proof.OPEN


def next_try(record: ActionRecord, *, retry: bool, now: datetime) -> datetime | None:
    """When to try again after an attempt that certainly did nothing, or None to give up.

    The pauses grow from half a minute to half an hour, which greylisting mail servers need; they are longer where the
    provider asked for it (Retry-After). Payments never retry.
    """
    if not retry or record.attempts >= MAX_ATTEMPTS or record.action == "payment":
        return None
    pauses: int = 4 ** max(record.attempts - 1, 0)
    when = now + _FIRST_PAUSE * pauses
    return max(when, record.next_try_at) if record.next_try_at is not None else when
