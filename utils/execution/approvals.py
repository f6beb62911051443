"""What waits for the human, and what the human answered.

An approval is a record in `STATE_DIR`, bound to the sha256 of the exact bytes (promise S6). It comes from a
confirmation (API, command line) or, where policy allows, from a human's own move of the file (S7); what a sync put into
`Approved/` is listed and waits for a confirmation. All of it happens on Local only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from utils import claim_task
from utils.claim_task import Claims, Gone, TargetTaken
from utils.core.policy import Mode, move_is_enough
from utils.core.stages import Stage
from utils.core.zones import ZonesConfig
from utils.execution import notes, requests
from utils.execution.answers import (
    AlreadyActed,
    ApprovalError,
    BadEdit,
    Changed,
    Expired,
    Invalid,
    NotFound,
    NotHere,
    Pending,
)
from utils.execution.journal import ActionRecord, State
from utils.execution.remote import Approve
from utils.execution.requests import RequestFile
from utils.execution.store import ExecutionStore
from utils.ports import Clock
from utils.vault import frontmatter
from utils.vault.layout import Layout

log = logging.getLogger(__name__)

#: `remote_approvals: trust` never holds for these (S7).
NEVER_TRUSTED = frozenset({"payment", "invoice"})


class Approvals:
    """The questions and answers of one node."""

    def __init__(
        self,
        layout: Layout,
        claims: Claims,
        store: ExecutionStore,
        zones: ZonesConfig,
        *,
        mode: str,
        clock: Clock,
        known_to_git: Callable[[str, bytes], bool],
        alert: Callable[..., Any],
        remote: Callable[[Approve], Mapping[str, str]] = lambda approve: {},
        passed_on: Callable[[str, str], str | None] = lambda request_id, sha256: None,
    ) -> None:
        """`remote` takes in what was approved elsewhere; `passed_on` says that an approval is on its way to Local."""
        self._layout = layout
        self._claims = claims
        self._store = store
        self._zones = zones
        self._mode = mode
        self._clock = clock
        self._known_to_git = known_to_git
        self._alert = alert
        self._remote = remote
        self._passed_on = passed_on

    def pending(self) -> list[Pending]:
        """What waits for an answer: what is pending, and on Local what lies in `Approved/` without a record.

        A draft-only node has no records: what lies in `Approved/` there is Local's business.
        """
        stages = (Stage.PENDING_APPROVAL, Stage.APPROVED) if self._mode == Mode.FULL else (Stage.PENDING_APPROVAL,)
        files = requests.read_all(self._layout, *stages)
        return [self._shown(file) for file in files if not self._is_answered(file)]

    def get(self, request_id: str) -> Pending:
        """One request that waits for an answer. Raises `NotFound`."""
        files = [file for file in self._files(request_id) if not self._is_answered(file)]
        if not files:
            raise NotFound(f"no request {request_id} waits for an answer")
        return self._shown(files[0])

    def approve(
        self, request_id: str, sha256: str, *, by: str, via: str = "api", until: datetime | None = None
    ) -> ActionRecord:
        """Approve exactly the bytes with this hash. The record is durable before the file moves to `Approved/`.

        It counts no longer than `until`. Approving the same bytes again answers the same record. Raises `NotHere`,
        `NotFound`, `Changed`, `Expired`, `Invalid` (or `AlreadyActed`).
        """
        self._here()
        live = self._store.live(request_id)
        if live is not None and live.sha256 == sha256:
            self._place(live)
            return self._store.get(live.action_id) or live
        files = self._files(request_id)
        if not files:
            raise NotFound(f"no request {request_id} waits for an answer")
        if len(files) > 1:
            places = " and ".join(self._layout.relative(file.path) for file in files)
            raise Invalid(f"{request_id} lies in two places, {places}: remove one of them")
        file = files[0]
        if file.sha256 != sha256:
            raise Changed(file.sha256)
        record = self._record(file, by=by, via=via, until=until)
        self._place(record)
        return self._store.get(record.action_id) or record

    def reject(self, request_id: str, reason: str = "", *, by: str, sha256: str | None = None) -> None:
        """Move the request and the task it serves to `Rejected/`, with the reason; nothing will be executed.

        Raises `NotHere`, `NotFound`, `Changed` (where `sha256` is given), `AlreadyActed`, `Invalid`.
        """
        self._here()
        files = self._files(request_id)
        if not files:
            raise NotFound(f"no request {request_id} waits for an answer")
        if sha256 is not None and files[0].sha256 != sha256:
            raise Changed(files[0].sha256)
        live = self._store.live(request_id)
        acted = live is not None and live.state is State.DONE and live.filed  # then this file is a copy of no effect
        if live is not None and not acted and not self._store.void(live, f"rejected by {by}"):
            raise AlreadyActed(f"too late to reject: its execution is {live.state}")
        words = f"Rejected by {by}" + (f": {reason}" if reason else "")
        for file in files:
            try:
                self._claims.move(file.path, Stage.REJECTED, reason=words)
            except Gone:
                raise NotFound(f"{request_id} was moved meanwhile: look again") from None
            except TargetTaken:
                raise Invalid(f"{file.path.name} lies in Rejected/ already: remove one of them") from None
        task = files[0].request.source_task if files[0].request else None
        if task and not acted:
            self._reject_task(task, words)

    def edit(
        self,
        request_id: str,
        sha256: str,
        *,
        by: str,
        draft: str | None = None,
        subject: str | None = None,
        to: list[str] | None = None,
        cc: list[str] | None = None,
        bcc: list[str] | None = None,
    ) -> str:
        """Change a waiting request where it lies; what is None stays. Returns the sha256 of the new bytes.

        A person's other keys, comments and notes stay as they are. Raises `NotHere`, `NotFound`, `Changed`, `BadEdit`,
        `Invalid`.
        """
        self._here()
        pending = [file for file in self._files(request_id) if not self._is_answered(file)]
        if not pending:
            raise NotFound(f"no request {request_id} waits for an answer")
        file = pending[0]
        if file.sha256 != sha256:
            raise Changed(file.sha256)
        if file.request is None:
            raise Invalid(*file.problems)
        changes = {"subject": subject, "to": to, "cc": cc, "bcc": bcc}
        meta, body = requests.edited(
            file.data, {name: value for name, value in changes.items() if value is not None}, draft
        )
        try:
            _, problems = requests.parse(frontmatter.write(meta, body), request_id)
            if set(problems) - set(file.problems):
                raise BadEdit(*problems)
            if problems:
                raise Invalid(*problems)
            data = self._claims.rewrite(file.path, sha256, meta, body, by=by)
        except frontmatter.InvalidFrontMatter as error:
            raise BadEdit(str(error)) from None
        except claim_task.Changed as error:
            raise Changed(error.sha256) from None
        except Gone:
            raise NotFound(f"{request_id} was moved meanwhile: look again") from None
        written = RequestFile(file.path, file.stage, data, requests.sha256(data))
        if file.stage is Stage.PENDING_APPROVAL:
            self._see(written)
        return written.sha256

    def observe(self) -> None:
        """Note what lies in `Pending_Approval/`, turn human moves into records, and follow rejections by hand.

        Called before anything is committed and in each cycle of the approval watcher. Does nothing in draft-only mode.
        """
        if self._mode != Mode.FULL:
            return
        for file in requests.read_all(self._layout, Stage.PENDING_APPROVAL):
            self._see(file)
        remote = self._remote(self.approve)
        for file in requests.read_all(self._layout, Stage.APPROVED):
            if self._store.live(file.request_id) is None and not file.problems and not self._is_expired(file):
                self._judge_move(file, remote.get(file.request_id))
        self._follow_rejections()

    # Moves

    def _judge_move(self, file: RequestFile, remote: str | None) -> None:
        """`remote`: why an approval of it that was given elsewhere does not count."""
        path = self._layout.relative(file.path)
        known = self._store.doubts_about(path, file.sha256)
        if known is not None:
            if self._note(file) is None:  # it was away meanwhile, and its note with it
                self._claims.explain(file.path, notes.confirm(file, known))
            return
        via, by, doubt = self._worth_of_move(file, path)
        if doubt is None:
            try:
                self._record(file, by=by, via=via)
            except ApprovalError as error:
                log.info("%s was not approved by its move: %s", path, error)
            return
        doubt = f"{doubt} ({remote})" if remote else doubt
        self._claims.explain(file.path, notes.confirm(file, doubt))
        if self._store.doubt(path, file.sha256, doubt):
            self._alert("INFO", f"{file.request_id} waits for a confirmation", f"{path}: {doubt}", source="approvals")

    def _worth_of_move(self, file: RequestFile, path: str) -> tuple[str, str, str | None]:
        """`(via, by, doubt)`: what a file in `Approved/` without a record is worth; no doubt means it is approved."""
        request = file.request
        assert request is not None  # the caller passes files without problems only
        changed = requests.problems_of_files(self._layout, request)
        if changed:
            return "", "", "; ".join(changed)
        if request.doubts:
            return "", "", f"it may look otherwise than what would be sent: {'; '.join(request.doubts)}"
        if self._zones.remote_approvals == "trust" and request.action not in NEVER_TRUSTED:
            return "trust", "whoever moved it (remote_approvals: trust)", None
        if not self._store.was_seen(file.request_id, file.sha256):
            return "", "", "approved remotely, or edited while it was moved: confirm here"
        enough, why = move_is_enough(
            request.action,
            request.fields,
            self._store.verified_sender(request.source_task),
            self._zones.actions[request.action],
            self._store.known_recipients(),
        )
        if not enough:
            return "", "", why
        # Asked last: only here is git needed at all.
        if self._known_to_git(path, file.data):
            return "", "", "approved remotely: confirm here"
        return "move", "local human", None

    def _follow_rejections(self) -> None:
        """A request that a person moved to `Rejected/` takes its task along."""
        rejected: set[str] | None = None
        for path in list(self._layout.files(Stage.IN_PROGRESS)):
            names = self._store.requests_of(path.stem)
            if not names:
                continue
            if rejected is None:
                rejected = {file.stem for file in self._layout.files(Stage.REJECTED)}
            if all(name in rejected and not self._files(name) for name in names):
                self._reject_task(path.stem, "Its request was moved to Rejected/")

    def _reject_task(self, task_id: str, reason: str) -> None:
        for path in [path for path in self._layout.files(Stage.IN_PROGRESS) if path.stem == task_id]:
            try:
                self._claims.move(path, Stage.REJECTED, reason=reason)
            except (Gone, TargetTaken) as error:
                log.warning("the task of a rejected request stays where it is: %s", error)

    # Records

    def _record(self, file: RequestFile, *, by: str, via: str, until: datetime | None = None) -> ActionRecord:
        if file.problems or file.request is None:
            raise Invalid(*file.problems)
        if self._is_expired(file):
            raise Expired(
                f"{file.request_id} expired at {file.request.expires:%Y-%m-%d %H:%M} UTC: ask for a new draft"
            )
        changed = requests.problems_of_files(self._layout, file.request)
        if changed:
            raise Invalid(*changed)
        live = self._store.live(file.request_id)
        if (
            live is not None
            and live.sha256 != file.sha256
            and not self._store.void(live, "approved anew after an edit")
        ):
            raise AlreadyActed(f"{file.request_id} was approved before and its execution is {live.state}")
        hours = self._zones.actions[file.request.action].expires_hours
        expires = min(file.request.expires, self._clock.now() + timedelta(hours=hours))
        expires = min(expires, until or expires)
        record = self._store.approve(file.request, file.data, file.sha256, by=by, via=via, expires_at=expires)
        if record is not None:
            log.info("%s approved by %s via %s, action %s", file.request_id, by, via, record.action_id)
            if file.stage is Stage.APPROVED:
                self._claims.explain(file.path, None)
            return record
        live = self._store.live(file.request_id)
        if live is None or live.sha256 != file.sha256:
            raise AlreadyActed(f"{file.request_id} was approved by somebody else at the same time: look again")
        return live

    def _place(self, record: ActionRecord) -> None:
        """Carry the approved file on to `Approved/`; what can't be moved now is moved by the watcher."""
        if record.state is not State.APPROVED or record.placed:
            return
        for file in self._files(record.request_id):
            if file.stage is Stage.PENDING_APPROVAL and file.sha256 == record.sha256:
                try:
                    self._claims.move(file.path, Stage.APPROVED)
                except (Gone, TargetTaken) as error:
                    log.warning("%s is approved but was not moved: %s", record.request_id, error)
                    return
        self._store.mark_placed(record)

    def place_approved(self) -> None:
        """After a crash between a record and its move: move on what is approved and still lies in `Pending_Approval/`.

        A file that was in `Approved/` before and is not there any more was taken back by a person: its record is void.
        """
        for record in self._store.in_state(State.APPROVED):
            if not record.placed:
                self._place(record)
                continue
            stages = {file.stage for file in self._files(record.request_id)}
            if not stages:
                self._let_go(record)
            elif stages == {Stage.PENDING_APPROVAL} and self._store.void(record, "taken back by a person"):
                log.info("%s was taken back into Pending_Approval/: not executed", record.request_id)

    def lies(self, request_id: str) -> bool:
        """Whether a file of this request lies where requests wait or are executed."""
        return bool(self._files(request_id))

    def _let_go(self, record: ActionRecord) -> None:
        """A person removed the file of an approved request, or moved it elsewhere: nothing is sent, its task goes on.

        The record ends last, so that a crash leaves all of it to be done again.
        """
        if self._store.once(record.action_id, "file missing"):
            return  # a sync may just be exchanging it: the next look decides
        lies = self._layout.find(record.request_id)
        where = " and ".join(self._layout.relative(path) for path in lies)
        reason = f"its file was moved to {where} by a person" if where else "its file was removed"
        self._task_follows(record.source_task, {self._layout.stage_of(path) for path in lies}, reason)
        if self._store.void(record, reason):
            title = f"{record.request_id} will not be executed"
            self._alert("INFO", title, f"It was approved, but {reason}.", source="approvals")

    def _task_follows(self, task: str | None, stages: set[Stage | None], reason: str) -> None:
        """To where its request went; without a request it is work to be done again."""
        for path in [path for path in self._layout.files(Stage.IN_PROGRESS) if path.stem == task]:
            words = f"It waited for a request that was approved, but {reason}."
            domain = path.stem.partition("-")[0]
            try:
                if not stages:
                    self._claims.release(path, domain, words)
                elif stages <= {Stage.REJECTED, Stage.DONE}:
                    self._claims.move(path, Stage.REJECTED if Stage.REJECTED in stages else Stage.DONE, reason=words)
                else:
                    self._claims.explain(path, f"{words} Move it back to Pending_Approval/ to have it asked again.")
            except (Gone, TargetTaken) as error:
                log.warning("the task of %s stays where it is: %s", path.stem, error)

    # Reading

    def _here(self) -> None:
        if self._mode != Mode.FULL:
            raise NotHere("this node is draft-only: answer the request on the Local node")

    def _files(self, request_id: str) -> list[RequestFile]:
        stages = (Stage.PENDING_APPROVAL, Stage.APPROVED)
        paths = [path for stage in stages for path in self._layout.files(stage) if path.stem == request_id]
        return [file for file in (requests.read(self._layout, path) for path in paths) if file is not None]

    def _is_answered(self, file: RequestFile) -> bool:
        return file.stage is Stage.APPROVED and self._store.live(file.request_id) is not None

    def _is_expired(self, file: RequestFile) -> bool:
        return file.request is not None and file.request.expires <= self._clock.now()

    def _see(self, file: RequestFile) -> None:
        """Remember what lies in `Pending_Approval/`; beside what can't be used, a note says so until it is mended.

        A file that is only being written must not be called broken, so it has a moment to become whole.
        """
        path = self._layout.relative(file.path)
        if not self._store.was_seen(file.request_id, file.sha256):
            if file.problems:
                if not requests.is_settled(file.path, self._clock.now()):
                    return
                self._store.doubt(path, file.sha256, notes.mend(file.problems))
            task = file.request.source_task if file.request else None
            self._store.saw(file.request_id, file.sha256, path, task)
        wanted = self._store.doubts_about(path, file.sha256)
        note = self._note(file) or ""
        if wanted is not None and wanted not in note:
            self._claims.explain(file.path, wanted)
        elif wanted is None and notes.asks_to_mend(note):
            self._claims.explain(file.path, None)

    def _note(self, file: RequestFile) -> str | None:
        try:
            return self._layout.reason(file.path).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None

    def _shown(self, file: RequestFile) -> Pending:
        problems = list(file.problems)
        if file.request is not None:
            problems += requests.problems_of_files(self._layout, file.request)
        live = self._store.live(file.request_id)
        if live is not None and live.state is State.DONE:
            problems.append("this request was executed before; approving it again does nothing")
        return Pending(
            request_id=file.request_id,
            path=self._layout.relative(file.path),
            stage=file.stage,
            text=file.data.decode("utf-8", errors="replace"),
            sha256=file.sha256,
            request=file.request,
            needs_confirmation=file.stage is Stage.APPROVED,
            expires=file.request.expires if file.request else None,
            expired=self._is_expired(file),
            reason=self._note(file) or self._passed_on(file.request_id, file.sha256),
            problems=tuple(problems),
        )
