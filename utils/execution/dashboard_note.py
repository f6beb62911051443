"""Keeping `Dashboard.md` up to date: what waits, what is held back, what was done. Local alone writes it (S10).

The note is read, our part in it is made anew, and it is replaced only where something changed and only if nobody saved
it meanwhile: what a person writes is never overwritten, the next cycle tries again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

from utils.core import badges, dashboard_note
from utils.core.badges import Severity
from utils.core.dashboard_note import (
    MOST,
    Approved,
    BrokenMarkers,
    Ended,
    News,
    Overview,
    Removed,
    Subject,
    Unknown,
    Waiting,
)
from utils.core.headline import headline
from utils.core.policy import Mode, recipients
from utils.core.task import ApprovalRequest, parse_time
from utils.execution import requests
from utils.execution.answers import Pending
from utils.execution.approvals import Approvals
from utils.execution.brakes import Brakes
from utils.execution.executor import Executor
from utils.execution.journal import ActionRecord, State
from utils.execution.store import ExecutionStore
from utils.ports import Clock
from utils.vault import worktree
from utils.vault.layout import Layout

_DAY, _WEEK = timedelta(days=1), timedelta(days=7)
_NEWS_NOTES, _NEWS_LINES, _NEWS_BYTES = 20, 10, 64 * 1024
_LIKE_SHA256 = "0" * 64


class DashboardNote:
    """Writes our part of `Dashboard.md` of one vault."""

    def __init__(
        self,
        layout: Layout,
        approvals: Approvals,
        store: ExecutionStore,
        executor: Executor,
        brakes: Brakes,
        *,
        mode: str,
        dry_run: bool,
        clock: Clock,
        alert: Callable[..., Any],
    ) -> None:
        self._layout = layout
        self._name = layout.relative(layout.dashboard)
        self._approvals = approvals
        self._store = store
        self._executor = executor
        self._brakes = brakes
        self._mode = mode
        self._dry_run = dry_run
        self._clock = clock
        self._alert = alert

    def refresh(self) -> str:
        """Bring the note up to date; "Dashboard.md written", or "" where nothing changed or somebody was writing.

        A note whose markers are broken is left alone, and the human is told. Raises `OSError`.
        """
        lying = worktree.look(self._layout.root, self._name).kind
        if lying not in (worktree.Kind.FILE, worktree.Kind.NOTHING):
            return self._left_alone(f"it is {lying.value}: remove that, and the note is made anew")
        found = worktree.read(self._layout.root, self._name) if lying is worktree.Kind.FILE else None
        if found is None and lying is worktree.Kind.FILE:
            return ""  # somebody is writing it: the next cycle
        try:
            wanted = dashboard_note.spliced(found or b"# Dashboard\n", dashboard_note.render(self.overview()))
        except BrokenMarkers as error:
            return self._left_alone(str(error))
        if wanted == found:
            return ""
        done = worktree.replace(
            self._layout.root,
            self._name,
            expected=worktree.blob_id(found, _LIKE_SHA256) if found is not None else None,
            wanted=worktree.blob_id(wanted, _LIKE_SHA256),
            data=wanted,
        )
        return f"{self._name} written" if done else ""

    def _left_alone(self, why: str) -> str:
        self._alert("WARNING", f"{self._name} is not kept up to date", f"{self._name}: {why}.", source="dashboard note")
        return f"{self._name} left alone"

    def overview(self) -> Overview:
        """What the note is to show now."""
        now = self._clock.now()
        pending = self._approvals.pending()
        return Overview(
            stopped=self._brakes.stopped(),
            brakes=tuple(self._standing_brakes()),
            unknown=[_unknown(record) for record in self._store.in_state(State.UNKNOWN)],
            waiting=[_waiting(one) for one in pending if one.state == "waiting"],
            snoozed=sum(one.state == "snoozed" for one in pending),
            approved=[self._approved(record) for record in self._store.in_state(State.APPROVED, State.SENDING)],
            failed=_ended(filter(self._is_newest, self._store.finished_since(now - _WEEK, State.FAILED))),
            done=_ended(self._store.finished_since(now - _DAY, State.DONE)),
            removed=[
                Removed(answer.request_id, answer.at, answer.said)
                for answer in self._store.answers.removed_since(now - _WEEK, MOST, {one.request_id for one in pending})
            ],
            news=list(self._news()),
        )

    def _standing_brakes(self) -> Iterator[str]:
        if self._mode != Mode.FULL:
            yield "This node is draft-only: nothing is carried out."
        if self._dry_run:
            yield "DRY_RUN is set: what is approved is verified, and nothing is carried out."

    def _approved(self, record: ActionRecord) -> Approved:
        if record.state is State.SENDING:
            return Approved(_subject(record), record.action_id, began=record.started_at)
        held = self._executor.held(record)
        waits = self._executor.waits()
        if waits is not None or held is None:
            return Approved(_subject(record), record.action_id, waits)
        return Approved(_subject(record), record.action_id, held.reason, held.until)

    def _is_newest(self, record: ActionRecord) -> bool:
        newest = self._store.newest(record.request_id)
        return newest is not None and newest.action_id == record.action_id

    def _news(self) -> Iterator[News]:
        """The newest lines of the notes in `Updates/`, which the Cloud writes."""
        names = sorted(path.name for path in self._layout.updates.glob("*.md"))[-_NEWS_NOTES:]
        for name in names:
            path = f"{self._layout.relative(self._layout.updates)}/{name}"
            lying = worktree.look(self._layout.root, path)
            if lying.kind is not worktree.Kind.FILE or lying.size > _NEWS_BYTES:
                continue
            text = (worktree.read(self._layout.root, path) or b"").decode("utf-8", "replace")
            lines = [line.strip().removeprefix("- ") for line in text.splitlines()]
            kept = [line for line in lines if line and not line.startswith("#")]
            yield from (News(name.removesuffix(".md"), line) for line in kept[-_NEWS_LINES:])


def _unknown(record: ActionRecord) -> Unknown:
    return Unknown(_subject(record), record.action_id, record.started_at, record.error)


def _waiting(pending: Pending) -> Waiting:
    request = pending.request
    confirm = ["it lies in Approved/, but is not confirmed yet"] if pending.needs_confirmation else []
    warnings = [badge.words for badge in pending.badges if badge.severity is Severity.WARNING]
    return Waiting(
        _subject_of(pending.request_id, request),
        parse_time(request.created) if request else None,
        pending.expires,
        pending.expired,
        tuple(dict.fromkeys((*pending.problems, *confirm, *warnings, *pending.risk))),
        tuple(badges.dangers(pending.badges)),
    )


def _ended(records: Iterable[ActionRecord]) -> list[Ended]:
    """`records`: newest first. Only those that are shown are read."""
    ended = []
    for number, record in enumerate(records):
        receipt = record.receipt
        words = f"receipt {receipt.id} ({receipt.provider}: {receipt.detail})" if receipt else record.error
        subject = _subject(record) if number < MOST else Subject(record.request_id, record.action)
        ended.append(Ended(subject, record.finished_at or record.approved_at, words))
    return ended


def _subject(record: ActionRecord) -> Subject:
    request, _ = requests.parse(record.frozen, record.request_id)
    subject = _subject_of(record.request_id, request)
    return subject if request else Subject(record.request_id, record.action)


def _subject_of(request_id: str, request: ApprovalRequest | None) -> Subject:
    if request is None:
        return Subject(request_id, None)
    return Subject(request_id, request.action, tuple(recipients(request.fields)), headline(request))
