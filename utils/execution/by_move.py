"""What a file moved to `Approved/` is worth: the human's own move approves it, what is doubtful asks (S7)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from utils.claim_task import Claims
from utils.core import badges
from utils.core.policy import ALWAYS_CONFIRMED, look_again, move_is_enough
from utils.core.task import ApprovalRequest
from utils.core.zones import ZonesConfig
from utils.execution import notes, requests
from utils.execution.answers import ApprovalError
from utils.execution.journal import ActionRecord, State
from utils.execution.looks import Looks
from utils.execution.requests import RequestFile
from utils.execution.store import ExecutionStore
from utils.execution.waiting import Waiting
from utils.ports import Clock
from utils.vault.layout import Layout

log = logging.getLogger(__name__)

#: Whoever moves a file so soon after other words came into it may have read the old ones.
_TO_BE_READ = timedelta(minutes=2)


class ByMove:
    """Judges what lies in `Approved/` without a record."""

    def __init__(
        self,
        layout: Layout,
        claims: Claims,
        store: ExecutionStore,
        zones: ZonesConfig,
        *,
        clock: Clock,
        known_to_git: Callable[[str, bytes], bool],
        alert: Callable[..., Any],
        looks: Looks,
        waiting: Waiting,
        record: Callable[[RequestFile, str, str], ActionRecord],
    ) -> None:
        """`record(file, by, via)` approves the bytes of a file, or raises `ApprovalError`."""
        self._layout = layout
        self._claims = claims
        self._store = store
        self._zones = zones
        self._clock = clock
        self._known_to_git = known_to_git
        self._alert = alert
        self._looks = looks
        self._waiting = waiting
        self._record = record

    def judge(self, file: RequestFile, remote: str | None) -> None:
        """`remote`: why an approval of it that was given elsewhere does not count."""
        if self._store.live(file.request_id) is not None or file.problems or self._waiting.is_expired(file):
            return
        path = self._layout.relative(file.path)
        ended = self._store.newest(file.request_id)
        if ended is not None and ended.state in (State.VOID, State.FAILED) and not self._was_seen(file):
            self._keep_ended(file, ended)
            return
        known = self._store.doubts_about(path, file.sha256)
        if known is not None:
            if self._waiting.note(file) is None:  # it was away meanwhile, and its note with it
                self._explain(file, known)
            return
        via, by, doubt = self._worth_of_move(file, path)
        if doubt is None:
            try:
                self._record(file, by, via)
            except ApprovalError as error:
                log.info("%s was not approved by its move: %s", path, error)
            return
        doubt = f"{doubt} ({remote})" if remote else doubt
        self._explain(file, doubt)
        if self._store.doubt(path, file.sha256, doubt):
            self._alert("INFO", f"{file.request_id} waits for a confirmation", f"{path}: {doubt}", source="approvals")

    def _keep_ended(self, file: RequestFile, ended: ActionRecord) -> None:
        """An approval of it came to nothing, and the file was not seen waiting since: so it was left behind (by a
        crash, or the other process is about to take it away), and nobody's move, trusted or not, has approved it."""
        why = f"its approval came to nothing ({ended.error})"
        is_news = self._store.once(ended.action_id, "left in Approved/")
        if is_news or self._waiting.note(file) is None:
            self._explain(file, why)
        if is_news:
            self._alert("INFO", f"{file.request_id} waits for a confirmation", why, source="approvals")

    def _was_seen(self, file: RequestFile) -> bool:
        return self._store.was_seen(file.request_id, file.sha256)

    def _worth_of_move(self, file: RequestFile, path: str) -> tuple[str, str, str | None]:
        """`(via, by, doubt)`: what a file in `Approved/` without a record is worth; no doubt means it is approved."""
        request = file.request
        assert request is not None  # the caller passes files without problems only
        changed = requests.problems_of_files(self._layout, request)
        if changed:
            return "", "", "; ".join(changed)
        if request.doubts:
            return "", "", _looks_otherwise(request)
        dangers = self._dangers(request)
        if dangers:
            return "", "", look_again(dangers)
        if self._zones.remote_approvals == "trust" and request.action not in ALWAYS_CONFIRMED:
            return "trust", "whoever moved it (remote_approvals: trust)", None
        if not self._was_seen(file):
            return "", "", "approved remotely, or edited while it was moved: confirm here"
        why = self.why_not_enough(request)
        if why is not None:
            return "", "", why
        brought = self._store.brought_at(file.request_id, file.sha256)
        if brought is not None and timedelta(0) <= self._clock.now() - brought < _TO_BE_READ:
            return "", "", f"a sync brought these words at {brought:%H:%M:%S} UTC, directly before: read them, confirm"
        # Asked last: only here is git needed at all.
        if self._known_to_git(path, file.data):
            return "", "", "approved remotely: confirm here"
        return "move", "local human", None

    def why_not_enough(self, request: ApprovalRequest) -> str | None:
        """Why the local human's own move does not approve a request, or None where it does."""
        if request.doubts:
            return _looks_otherwise(request)
        enough, why = move_is_enough(
            request.action,
            request.fields,
            self._store.facts.verified_sender(request),
            self._zones.actions[request.action],
            self._store.known_recipients(),
            self._dangers(request),
        )
        return None if enough else why

    def _explain(self, file: RequestFile, doubt: str) -> None:
        """In the note beside a file whose move is no approval: why, and what to look at."""
        badges = self._looks.badges(file.request) if file.request else ()
        self._claims.explain(file.path, notes.confirm(file, doubt, badges))

    def _dangers(self, request: ApprovalRequest) -> list[str]:
        return badges.dangers(self._looks.badges(request))


def _looks_otherwise(request: ApprovalRequest) -> str:
    return f"it may look otherwise than what would be sent: {'; '.join(request.doubts)}"
