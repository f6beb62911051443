"""What a human is shown of a request before approving it: its badges, and line by line what would go out.

Both are made from the request alone, which was parsed from the bytes whose sha256 the human answers, and from what this
node knows itself. The lines are those of the hand that would carry it out, where this node has one that can say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from utils.core import badges, visible
from utils.core.acting import Order, Plan
from utils.core.badges import Badge, Facts
from utils.core.links import MAX_LINKS, Link
from utils.core.policy import MAIL_ACTIONS, PEOPLE, Mode, recipients, tool_for
from utils.core.request_notes import bare, is_sender_flag, no_address_flag
from utils.core.task import ApprovalRequest, InvalidTask
from utils.execution.render import FALLBACK_SENDER
from utils.execution.store import ExecutionStore
from utils.ports import AdapterError, Clock, Hand

Lines = tuple[tuple[str, str], ...]
_NO_ACTION = "0" * 32
_TEXT = "Text"
_BOOKS = frozenset({"payment", "invoice"})


@dataclass(frozen=True)
class Person:
    """Whom a request names. `known`: an earlier receipt does too, None where this node keeps none; `wrote`: it is the
    sender of the mail that is answered, as this node read it."""

    field: str
    shown: str
    known: bool | None
    wrote: bool


class Looks:
    """How requests look from this node. A draft-only one keeps no receipts and has no hands."""

    def __init__(
        self,
        store: ExecutionStore,
        hand: Callable[[str], Hand] | None,
        *,
        mode: str,
        clock: Clock,
        mail_from: str = "",
    ) -> None:
        """`mail_from`: the address that mail goes out from, "" where none is set."""
        self._store = store
        self._hand = hand if mode == Mode.FULL else None
        self._is_full = mode == Mode.FULL
        self._clock = clock
        self._mail_from = mail_from

    def badges(self, request: ApprovalRequest) -> tuple[Badge, ...]:
        """What to look at, the gravest first."""
        return badges.badges(request, self.facts(request))

    def outdated(self, request: ApprovalRequest) -> tuple[str, ...]:
        """Flags that stand in the file and are no news: of the sender, where this node read the mail itself and says it
        by a badge; and that there is no address to send from, once there is one."""
        told = self._store.facts.letter(request.source_task) is not None
        stale = {no_address_flag(FALLBACK_SENDER)} if self._mail_from else set()
        return tuple(flag for flag in request.risk if flag in stale or (told and is_sender_flag(flag)))

    def facts(self, request: ApprovalRequest) -> Facts:
        """What this node knows of whom a request concerns."""
        store = self._store
        letter = store.facts.answered(request)
        if not self._is_full:
            return Facts(None, letter)
        if request.action not in _BOOKS:
            return Facts(store.known_recipients(), letter, replies=store.facts.replies(request))
        parties = store.facts.parties(tool_for(request.action, request.fields))
        return Facts(store.known_recipients(), letter, parties, store.facts.last_deal(request))

    def people(self, request: ApprovalRequest) -> tuple[Person, ...]:
        """Whom the request's fields name, and what this node knows of each."""
        facts = self.facts(request)
        wrote = bare(facts.letter.sender) if facts.letter else None
        books = request.action in _BOOKS
        found = []
        for field in PEOPLE:
            for entry in recipients(request.fields, (field,)):
                receipts = facts.parties if books else facts.known
                name = entry if books else bare(entry)
                known = None if facts.known is None or receipts is None else name in receipts
                found.append(Person(field, _line(entry), known, wrote is not None and name == wrote))
        return tuple(found)

    def shown(self, request: ApprovalRequest) -> Lines:
        """(label, text) lines of what would go out: recipients with Bcc in full, the whole text, each link's target.

        What can't be seen is written out. What only the approval decides (our reference, its day) says so.
        """
        lines = [*(self._planned(request) or _from_fields(request))]
        if request.action not in _BOOKS and _TEXT not in {label for label, _ in lines}:
            lines.append((_TEXT, request.draft))
        found = badges.targets(request)
        lines += [("Leads to", _target(link)) for link in found[:MAX_LINKS]]
        if len(found) > MAX_LINKS:
            lines.append(("Leads to", "more places, which stand in the text"))
        return tuple((_line(label), visible.escape(text) if label == _TEXT else _line(text)) for label, text in lines)

    def obstacles(self, request: ApprovalRequest) -> tuple[str, ...]:
        """Why this node could not carry it out as things stand: no account, a window that is closed. An approval is not
        refused for it: it may pass, and whoever carries it out looks again.

        Mail is not asked for: the settings are refused where its account is missing, and to plan a mail is to write it.
        """
        if request.action in MAIL_ACTIONS:
            return ()
        try:
            plan = self._plan(request)
        except InvalidTask as error:
            return tuple(error.problems)
        except AdapterError as error:
            return (str(error),)
        return plan.obstacles if plan is not None else ()

    def _plan(self, request: ApprovalRequest) -> Plan | None:
        """What the hand would do; None where there is no hand. Raises `InvalidTask`, `AdapterError`."""
        if self._hand is None:
            return None
        try:
            hand = self._hand(request.action)
        except KeyError:
            return None
        return hand.plan(Order(_NO_ACTION, request, self._clock.now()))

    def _planned(self, request: ApprovalRequest) -> Lines:
        """The lines of the hand; none where it can't say, or there is none."""
        try:
            plan = self._plan(request)
        except (InvalidTask, AdapterError):
            return ()
        if plan is None:
            return ()
        later = {"Our reference": "given when it is approved"}
        if "date" not in request.fields:
            later["Date"] = "the day on which it is approved"
        return tuple((label, later.get(label, text)) for label, text in plan.shown)


def _from_fields(request: ApprovalRequest) -> Lines:
    """The fields as they stand, recipients first."""
    fields = dict(request.fields)
    names = {"to": "To", "cc": "Cc", "bcc": "Bcc", "subject": "Subject"} if request.action in MAIL_ACTIONS else {}
    order = [*(name for name in names if name in fields), *(name for name in fields if name not in names)]
    return tuple((names.get(name, name), _inline(fields[name])) for name in order if fields[name] not in ([], ""))


def _inline(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _target(link: Link) -> str:
    reads = link.host
    shown = f"{link.target} (reads as {reads})" if reads and reads not in link.target.lower() else link.target
    return f"{shown} (behind the words “{link.words}”)" if link.words else shown


def _line(text: str) -> str:
    return " ".join(visible.escape(text).split())
