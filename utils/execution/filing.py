"""Showing in the vault what the journal says: the action log, the files' places, the human's alerts.

The journal is durable before any of this begins, and each step can be repeated without doing more: after a crash the
next start finishes it. Nothing here decides whether an action is executed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from utils.claim_task import Claims, Gone, TargetTaken
from utils.core.revision import own_task
from utils.core.stages import Stage
from utils.execution import notes, requests
from utils.execution.action_log import ActionLog
from utils.execution.journal import ActionRecord, State
from utils.execution.store import ExecutionStore
from utils.vault.layout import Layout

log = logging.getLogger(__name__)

SOURCE = "executor"
#: Where a request lies that nobody took away while it was carried out.
_ON_ITS_WAY = {Stage.PENDING_APPROVAL, Stage.APPROVED, Stage.DONE}


class Filing:
    """Projects outcomes into one vault."""

    def __init__(
        self, layout: Layout, claims: Claims, store: ExecutionStore, alert: Callable[..., Any], action_log: ActionLog
    ) -> None:
        self._log = action_log
        self._layout = layout
        self._claims = claims
        self._store = store
        self._alert = alert

    def file(self, record: ActionRecord, *, again: bool = False) -> None:
        """Show the outcome of a `done`, `failed` or `unknown` action; `again` where it may be half shown already.

        A log that can't be written keeps nothing else from being shown. Raises `OSError` then, and the next cycle tries
        again.
        """
        trouble: OSError | None = None
        if record.state is not State.DONE:
            self._tell(record)
        try:
            self._log.write(record.to_dict(), again=again)
        except OSError as error:
            trouble = error
        live = self._store.live(record.request_id)
        if record.state is State.DONE:
            self._file_done(record)
        elif live is None or live.action_id == record.action_id:  # else it was approved anew meanwhile
            self._explain(record)
        if trouble is not None:
            raise trouble
        self._store.mark_filed(record)

    def _tell(self, record: ActionRecord) -> None:
        if record.state is State.FAILED:
            self._alert("WARNING", f"{record.action} failed: {record.request_id}", record.error, source=SOURCE)
        else:
            title = f"Nobody knows whether {record.request_id} was carried out"
            self._alert("CRITICAL", title, notes.unknown(record), source=SOURCE)

    def _explain(self, record: ActionRecord) -> None:
        for path in self._places(record, Stage.APPROVED):
            if record.state is State.FAILED:
                self.send_back(path, f"It was approved, but {record.action} failed: {record.error}")
            else:
                self._claims.explain(path, notes.unknown(record))

    def remind(self, path: Path, record: ActionRecord) -> None:
        """Beside a file whose outcome nobody knows a note says so, also where the file was away and its note went."""
        if not notes.is_unknown(requests.note(self._layout, path) or ""):
            self._claims.explain(path, notes.unknown(record))

    def send_back(self, path: Path, reason: str) -> None:
        """From `Approved/` to `Pending_Approval/`, with the reason: it asks again."""
        domain = path.stem.partition("-")[0]
        folder = self._layout.folder(Stage.PENDING_APPROVAL, domain=domain)
        try:
            self._claims.move(path, Stage.PENDING_APPROVAL, domain=domain if folder.is_dir() else None, reason=reason)
        except Gone:
            log.info("%s was moved meanwhile", path.name)
        except TargetTaken:
            self.quarantine(path, notes.twice(reason))

    def quarantine(self, path: Path, reason: str) -> None:
        """Set aside what can't be used, and tell the human."""
        where = self._layout.relative(path)
        try:
            moved = self._claims.quarantine(path, reason)
        except Gone:
            return
        self._alert(
            "WARNING",
            f"{path.name} was set aside",
            f"{where} → {self._layout.relative(moved)}: {reason}",
            source=SOURCE,
        )

    def file_replay(self, path: Path, sha256: str, record: ActionRecord) -> None:
        """A request that was executed lies where it would be again: back to `Done/`, or aside where that is no place.

        Only the very bytes that were executed may lie in `Done/`, and only once.
        """
        same = sha256 == record.sha256
        if not same or self._places(record, Stage.DONE):
            self.quarantine(path, notes.replayed(record, same=same))
            return
        if self._layout.stage_of(path) is Stage.PENDING_APPROVAL:  # it goes the way the table knows
            carried = self._carry(path, Stage.APPROVED)
            if carried is None:
                return
            path = carried
        if self._carry(path, Stage.DONE, reason=notes.returned(record)) is None:
            return
        title = f"{record.request_id} was executed before"
        self._alert("INFO", title, "It went back to Done/; nothing was sent again.", source=SOURCE)

    def _file_done(self, record: ActionRecord) -> None:
        lies = self._layout.find(record.request_id)
        if not {self._layout.stage_of(path) for path in lies} & _ON_ITS_WAY:
            self._tell_too_late(record, lies)
        # A file still in Pending_Approval/ was never carried on; it goes the way the table knows.
        for path in self._places(record, Stage.PENDING_APPROVAL):
            self._carry(path, Stage.APPROVED)
        for path in self._places(record, Stage.APPROVED):
            file = requests.read(self._layout, path)
            if file is not None and file.sha256 != record.sha256:  # only what was sent may lie in Done/
                self._claims.restore(Stage.DONE, path.name, record.frozen, reason=self._receipt(record))
                self.quarantine(path, notes.edited_too_late(record))
            else:
                self._carry(path, Stage.DONE, reason=self._receipt(record))
        task = own_task(record.request_id, record.source_task)
        for path in self._layout.named(task, Stage.IN_PROGRESS):
            self._carry(path, Stage.DONE)
        for path in self._layout.named(task, Stage.REJECTED, Stage.QUARANTINE):
            self._claims.explain(path, notes.left(record))

    def _tell_too_late(self, record: ActionRecord, lies: list[Path]) -> None:
        """A person rejected or removed the request while it was carried out: it stays there, and they hear of it."""
        where = " and ".join(self._layout.relative(path) for path in lies)
        text = notes.too_late(record, f"moved to {where}" if where else "removed")
        self._alert("WARNING", f"{record.request_id} was carried out all the same", text, source=SOURCE)
        for path in lies:
            self._claims.explain(path, text)

    def _receipt(self, record: ActionRecord) -> str:
        """The receipt, which task is left where it is, and what the human changed of the draft."""
        change = notes.changed(self._store.answers.change_of(record.action_id))
        left = notes.not_its_task(record.request_id, record.source_task)
        return "\n\n".join(filter(None, (notes.receipt(record), left, change)))

    def _carry(self, path: Path, stage: Stage, reason: str | None = None) -> Path | None:
        try:
            return self._claims.move(path, stage, reason=reason)
        except Gone:
            log.info("%s was moved meanwhile", path.name)
        except TargetTaken:
            self.quarantine(
                path,
                f"It is finished, but {stage} holds a file of the same name already. Compare them; delete this one.",
            )
        return None

    def _places(self, record: ActionRecord, stage: Stage) -> list[Path]:
        return self._layout.named(record.request_id, stage)
