"""What waits for the human, and what the human answered.

An approval is a record in `STATE_DIR`, bound to the sha256 of the exact bytes (promise S6). It comes from a
confirmation (API, command line) or, where policy allows, from a human's own move of the file (S7); what a sync put into
`Approved/` is listed and waits for a confirmation. All of it happens on Local only.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from utils import claim_task
from utils.claim_task import Claims, Gone, TargetTaken
from utils.core import visible
from utils.core.commands import command
from utils.core.policy import Mode
from utils.core.remote_approval import PassedOn
from utils.core.revision import own_task
from utils.core.stages import Stage
from utils.core.task import format_time
from utils.core.zones import ZonesConfig
from utils.execution import change, copies, notes, requests
from utils.execution.answer_log import NewDraft
from utils.execution.answers import (
    AlreadyActed,
    BadAnswer,
    BadEdit,
    Changed,
    Expired,
    Invalid,
    NotFound,
    NotHere,
    Pending,
    Superseded,
)
from utils.execution.by_move import ByMove
from utils.execution.change import Change
from utils.execution.copies import Copies
from utils.execution.counts import Counts, Trying
from utils.execution.decisions import Decisions
from utils.execution.journal import ActionRecord, State
from utils.execution.looks import Looks, Person
from utils.execution.remote import Approve
from utils.execution.requests import RequestFile
from utils.execution.revisions import Revisions
from utils.execution.soon import Soon
from utils.execution.source_tasks import SourceTasks
from utils.execution.store import ExecutionStore
from utils.execution.waiting import Waiting
from utils.ports import Clock, Hand
from utils.vault import frontmatter
from utils.vault.layout import Layout, as_text

log = logging.getLogger(__name__)

_MOST_PROBLEMS, _LONGEST_PROBLEM = 20, 500  # in one alert; characters


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
        in_git: Callable[[str], list[bytes] | None],
        alert: Callable[..., Any],
        remote: Callable[[Approve], Mapping[str, str]] = lambda approve: {},
        passed_on: Callable[[str, str], PassedOn | None] = lambda request_id, sha256: None,
        hand: Callable[[str], Hand] | None = None,
        mail_from: str = "",
        reason_to_wait: Callable[[], str | None] = lambda: None,
    ) -> None:
        """`remote` takes in what was approved elsewhere; `passed_on` is the approval that is on its way to Local.
        `hand(action)` is asked what would go out, and does nothing. `mail_from`: the address mail goes out from.
        `reason_to_wait()`: why what lies here may be older than what this node did, or None
        (`VaultSync.reason_to_wait`)."""
        self._layout = layout
        self._claims = claims
        self._store = store
        self._zones = zones
        self._mode = mode
        self._clock = clock
        self._known_to_git = known_to_git
        self._alert = alert
        self._misnamed: set[str] = set()
        self._looks = Looks(store, hand, mode=mode, clock=clock, mail_from=mail_from)
        self._soon = Soon()
        self._waiting = Waiting(
            layout, claims, store, zones, mode=mode, clock=clock, alert=alert, known_to_git=known_to_git,
            passed_on=passed_on, looks=self._looks, soon=self._soon,
        )  # fmt: skip
        self._copies = Copies(layout, claims, clock=clock, alert=alert, soon=self._soon)
        self._tasks = SourceTasks(layout, claims, store, clock=clock, alert=alert)
        self._reason_to_wait = reason_to_wait
        self._revisions = Revisions(layout, claims, store.answers)
        self._by_move = ByMove(
            layout, claims, store, zones, clock=clock, known_to_git=known_to_git, alert=alert, looks=self._looks,
            waiting=self._waiting, record=lambda file, by, via: self._record(file, by=by, via=via),
        )  # fmt: skip
        self._decisions = Decisions(
            layout,
            claims,
            store,
            self,
            clock=clock,
            soon=self._soon,
            known_to_git=known_to_git,
            in_git=in_git,
            why_not_enough=self._by_move.why_not_enough,
        )
        self._remote = remote

    def pending(self) -> list[Pending]:
        """What waits for an answer: what is pending, and on Local what lies in `Approved/` without a record. What is
        snoozed is among it, and says so.

        A draft-only node has no records: what lies in `Approved/` there is Local's business.
        """
        return self._waiting.pending()

    def superseded(self) -> list[Pending]:
        """The requests that a new draft was asked for, as long as their files lie in the vault."""
        return self._waiting.superseded()

    def get(self, request_id: str) -> Pending:
        """One request that waits for an answer, or a superseded one. Raises `NotFound`."""
        return self._waiting.get(request_id)

    def shown(self, pending: Pending) -> tuple[tuple[str, str], ...]:
        """(label, text) lines of what would go out, from the very bytes of `pending`; none where they can't be read."""
        return self._looks.shown(pending.request) if pending.request else ()

    def people(self, pending: Pending) -> tuple[Person, ...]:
        """Whom a request names, and what this node knows of each."""
        return self._looks.people(pending.request) if pending.request else ()

    def edits(self, pending: Pending) -> Change:
        """What was changed since this node first saw the request. A draft-only node knows nothing of it."""
        if pending.request is None or self._mode != Mode.FULL:
            return Change()
        return change.between(self._store.answers.versions(pending.request_id), pending.request)

    def approve(
        self, request_id: str, sha256: str, *, by: str, via: str = "api", until: datetime | None = None
    ) -> ActionRecord:
        """Approve exactly the bytes with this hash. The record is durable before the file moves to `Approved/`.

        It counts no longer than `until`. Approving the same bytes again answers the same record. Raises `NotHere`,
        `NotFound`, `Changed`, `Expired`, `Superseded`, `Invalid` (or `AlreadyActed`).
        """
        self._here()
        self._not_superseded(request_id)
        live = self._store.live(request_id)
        if live is not None and live.state is State.UNKNOWN:
            raise AlreadyActed(notes.unsettled(live))
        if live is not None and live.sha256 == sha256:
            return self._placed(live)
        file = self._one(request_id)
        if file.sha256 != sha256:
            raise Changed(file.sha256)
        return self._placed(self._record(file, by=by, via=via, until=until))

    def reject(
        self, request_id: str, reason: str = "", *, by: str, sha256: str | None = None, via: str = "api"
    ) -> None:
        """Move the request and the task it serves to `Rejected/`, with the reason; nothing will be executed.

        Raises `NotHere`, `NotFound`, `Changed` (where `sha256` is given), `AlreadyActed`, `Invalid`.
        """
        self._here()
        self._not_superseded(request_id)
        file = self._one(request_id)
        if sha256 is not None and file.sha256 != sha256:
            raise Changed(file.sha256)
        live = self._store.live(request_id)
        acted = live is not None and live.state is State.DONE and live.filed  # then this file is a copy of no effect
        if live is not None and not acted and not self._store.void(live, f"rejected by {by}"):
            raise AlreadyActed(f"too late to reject: its execution is {live.state}")
        reason = visible.one_line(reason)
        words = f"Rejected by {by}" + (f": {reason}" if reason else "")
        named = file.request.source_task if file.request else None
        told = "\n\n".join(filter(None, (words, notes.not_its_task(request_id, named))))
        self._carry_to_rejected(file, told)
        late = self._store.live(request_id)  # it may have been approved while we moved it, and not after that
        if late is not None and not acted and not self._store.void(late, f"rejected by {by}"):
            raise AlreadyActed(f"too late to reject: its execution is {late.state}; its file lies in Rejected/")
        task = own_task(request_id, named)
        if task and not acted:
            try:
                self._tasks.reject(task, words)
            except OSError as error:  # `observe` has it follow its request
                log.warning("the task of %s is not moved yet: %s", request_id, error)
        drafted_by = file.request.drafted_by if file.request else ""
        self._store.answers.note(request_id, "rejected", by=by, via=via, said=reason, drafted_by=drafted_by)

    def _carry_to_rejected(self, file: RequestFile, told: str) -> None:
        try:
            self._claims.move(file.path, Stage.REJECTED, reason=told)
        except Gone:
            raise NotFound(f"{file.request_id} was moved meanwhile: look again") from None
        except TargetTaken:
            raise Invalid(f"{file.path.name} lies in Rejected/ already: remove one of them") from None
        except OSError as error:
            if os.path.lexists(file.path):
                raise
            log.warning("%s is rejected; its line in the log is written later: %s", file.request_id, error)

    def revise(
        self, request_id: str, instruction: str, *, by: str, sha256: str | None = None, via: str = "api"
    ) -> NewDraft:
        """Ask for a new draft. The request is superseded from now on, and its task goes back to the drafting side.

        Asking for the same again answers the same. Raises `NotHere`, `NotFound`, `Changed` (where `sha256` is given),
        `Superseded`, `AlreadyActed`, `BadAnswer`, `Invalid`.
        """
        self._here()
        if not instruction.strip():
            raise BadAnswer("'instruction' is empty: say what should be different")
        known = self._store.answers.superseded(request_id)
        if known is not None and known.instruction != instruction:
            raise Superseded(known)
        if known is None:
            known = self._supersede(self._to_answer(request_id, sha256)[0], instruction, by=by, via=via)
        self._revisions.carry_out(known)
        return known

    def _supersede(self, file: RequestFile, instruction: str, *, by: str, via: str) -> NewDraft:
        if file.request is None:
            raise Invalid(*file.problems)
        new = self._revisions.plan(file.request, instruction, by=by, now=self._clock.now().replace(microsecond=0))
        live = self._store.live(file.request_id)
        if live is not None and not self._store.void(live, f"{by} asked for a new draft"):
            raise AlreadyActed(f"too late for a new draft: its execution is {live.state}")
        if not self._store.answers.supersede(new, via=via, drafted_by=file.request.drafted_by):
            raise AlreadyActed(f"{file.request_id} was answered by somebody else at the same time: look again")
        return new

    def snooze(
        self, request_id: str, until: datetime, *, by: str, sha256: str | None = None, via: str = "api"
    ) -> Pending:
        """Hide a request from the list until then; it stays where it lies, and its time goes on.

        Raises `NotHere`, `NotFound`, `Changed` (where `sha256` is given), `Superseded`, `BadAnswer`, `Invalid`.
        """
        self._here()
        if until <= self._clock.now():
            raise BadAnswer(f"'until' is {format_time(until)}, which has passed")
        file = self._to_answer(request_id, sha256)[0]
        if file.stage is not Stage.PENDING_APPROVAL:
            raise Invalid("it lies in Approved/ and waits for a confirmation: move it back to Pending_Approval/ first")
        self._store.answers.snooze(request_id, until, by=by, via=via)
        self._claims.explain(file.path, notes.snoozed(until, self._waiting.expires(file)))
        return self._waiting.shown(file, {request_id: until})

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
        renew: bool = False,
        via: str = "api",
    ) -> str:
        """Change a waiting request where it lies; what is None stays. Returns the sha256 of the new bytes.

        `renew` gives it its time anew, as policy has it for its action: so an expired one asks again. A person's other
        keys, comments and notes stay as they are. Raises `NotHere`, `NotFound`, `Superseded`, `Changed`, `BadEdit`,
        `Invalid`.
        """
        self._here()
        self._not_superseded(request_id)
        pending = self._copies.settled(self._waiting.unanswered(request_id))
        if not pending:
            raise NotFound(f"no request {request_id} waits for an answer")
        file = pending[0]
        if file.sha256 != sha256:
            raise Changed(file.sha256)
        if file.request is None:
            raise Invalid(*file.problems)
        self._store.answers.saw(request_id, sha256, file.data)  # as it was before
        latest = self._waiting.latest_expiry(file.request.action).replace(microsecond=0)
        expires = format_time(latest) if renew else None
        changes = {"subject": subject, "to": to, "cc": cc, "bcc": bcc, "expires": expires}
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
        self._store.answers.note(request_id, "edited", by=by, via=via, drafted_by=file.request.drafted_by)
        if file.stage is Stage.PENDING_APPROVAL:
            self._waiting.see(written)
        return written.sha256

    def restore(self, request_id: str, sha256: str, *, by: str, via: str = "api") -> str:
        """Write the newest version that was seen waiting and could be used over a file that can't: an editor emptied
        it. Returns the sha256 of the new bytes.

        Raises `NotHere`, `NotFound`, `Superseded`, `Changed` (`sha256`: of what lies there), `Invalid`.
        """
        self._here()
        file = self._to_answer(request_id, sha256)[0]
        if not file.problems:
            raise Invalid("it can be used as it is: there is nothing to put back")
        versions = reversed(self._store.answers.versions(request_id))
        kept = next((data for data in versions if not requests.parse(data, request_id)[1]), None)
        if kept is None:
            raise Invalid("this node never saw a version of it that could be used")
        meta, body = frontmatter.read(kept)
        try:
            data = self._claims.rewrite(file.path, sha256, meta, body, by=by)
        except claim_task.Changed as error:
            raise Changed(error.sha256) from None
        except Gone:
            raise NotFound(f"{request_id} was moved meanwhile: look again") from None
        written = RequestFile(file.path, file.stage, data, requests.sha256(data))
        self._store.answers.note(request_id, "edited", by=by, via=via, said="put back as it was")
        if file.stage is Stage.PENDING_APPROVAL:
            self._waiting.see(written)
        return written.sha256

    def observe(self) -> None:
        """Note what lies in `Pending_Approval/`, follow what a person decided in a file or by a move, wake what was
        snoozed until now, and warn of what will expire soon.

        Called before anything is committed and in each cycle of the approval watcher. Does nothing in draft-only mode.
        A file that can't be looked at holds up neither the others nor the sync: the human is told, and what was not
        noted before it was committed asks for a confirmation.
        """
        if self._mode != Mode.FULL:
            return
        trouble = Counts()
        self._soon.clear()
        with trouble.trying("what lies in the vault"):  # a folder can't be read: what is in it is nobody's to guess
            self._tell_misnamed()
            self._observe(trouble.trying)
        if trouble.problems:
            told = "\n".join(f"- {problem[:_LONGEST_PROBLEM]}" for problem in trouble.problems[:_MOST_PROBLEMS])
            self._alert("WARNING", "Some requests could not be looked at", told, source="approvals")

    def _tell_misnamed(self) -> None:
        """Each once for each process: what can't be named is no request to anybody."""
        found = self._layout.misnamed(Stage.PENDING_APPROVAL, Stage.APPROVED)
        if new := [path for path in found if path not in self._misnamed]:
            told = "\n".join(f"- {path}" for path in new[:_MOST_PROBLEMS])
            text = f"Nobody is asked about them until they are renamed:\n{told}"
            self._alert("WARNING", "Files have names that are not UTF-8", text, source="approvals")
        self._misnamed = set(found)

    def next_look(self) -> datetime | None:
        """When what the last `observe` found not to be ripe yet will be; None where there was nothing of that kind."""
        return self._soon.at

    def _observe(self, trying: Trying) -> None:
        is_current = self._reason_to_wait() is None  # asked before the files are read: a sync may move them
        self._by_move.follow_put_back(trying)
        self._revisions.carry_on(trying)
        waiting = self._without_superseded(Stage.PENDING_APPROVAL, trying)
        for file in waiting:
            with trying(file.path.name):
                if is_current:
                    self._tasks.take_back(file)
                self._waiting.see(file)
        self._decisions.follow(waiting, trying)
        remote: Mapping[str, str] = {}
        with trying("what was approved elsewhere"):
            remote = self._remote(self.approve)
        moved = self._without_superseded(Stage.APPROVED, trying)
        unanswered = [file for file in moved if self._store.live(file.request_id) is None]
        for file in self._copies.follow(waiting, unanswered, trying):
            with trying(file.path.name):
                self._by_move.judge(file, remote.get(file.request_id))
        if is_current:
            self._tasks.follow_ends(trying)
            with trying("what was removed"):
                self._soon.ask(self._tasks.follow_removals(_ids(waiting, moved), trying))
        self._waiting.wake(waiting, trying)
        self._waiting.warn_of_expiry([*waiting, *moved], trying)
        if is_current:
            self._waiting.forget_all_but(_ids(waiting, moved))

    def _without_superseded(self, stage: Stage, trying: Trying) -> list[RequestFile]:
        """The requests of a stage. One that a new draft was asked for goes back to where that put it."""
        files = []
        for file in requests.read_all(self._layout, stage):
            new = self._store.answers.superseded(file.request_id)
            if new is None:
                files.append(file)
            elif new.finished:
                with trying(file.path.name):
                    self._revisions.put_away(file.path, new)
        return files

    # Records

    def _record(self, file: RequestFile, *, by: str, via: str, until: datetime | None = None) -> ActionRecord:
        if file.problems or file.request is None:
            raise Invalid(*file.problems)
        expires = self._waiting.expires(file)
        if expires is not None and expires <= self._clock.now():
            raise Expired(
                f"{file.request_id} expired at {expires:%Y-%m-%d %H:%M} UTC: give it new time"
                f" (`{command(f'approve edit {file.request_id} --renew')}`; in the API an edit with renew: true), or"
                " ask for a new draft"
            )
        self._not_superseded(file.request_id)
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
        expires = min(file.request.expires, self._waiting.latest_expiry(file.request.action))
        record = self._store.approve(
            file.request,
            file.data,
            file.sha256,
            by=by,
            via=via,
            expires_at=min(expires, until or expires),
            change=change.dumps(change.between(self._store.answers.versions(file.request_id), file.request)),
        )
        if record is not None:
            log.info("%s approved by %s via %s, action %s", file.request_id, by, via, record.action_id)
            if file.stage is Stage.APPROVED:
                self._claims.explain(file.path, None)
            return record
        self._not_superseded(file.request_id)
        live = self._store.live(file.request_id)
        if live is None or live.sha256 != file.sha256:
            raise AlreadyActed(f"{file.request_id} was approved by somebody else at the same time: look again")
        return live

    def _placed(self, record: ActionRecord) -> ActionRecord:
        """The record after its file was moved; the approval counts, so what can't be moved now is moved, and told, by
        the watcher."""
        try:
            self._place(record)
        except OSError as error:
            log.warning("%s is approved but was not moved: %s", record.request_id, error)
        return self._store.get(record.action_id) or record

    def _place(self, record: ActionRecord) -> None:
        """Carry the approved file on to `Approved/`. Raises `OSError`."""
        if record.state is not State.APPROVED or record.placed:
            return
        for file in self._waiting.files(record.request_id):
            if file.stage is Stage.PENDING_APPROVAL and file.sha256 == record.sha256:
                try:
                    self._claims.move(file.path, Stage.APPROVED)
                except (Gone, TargetTaken) as error:
                    log.warning("%s is approved but was not moved: %s", record.request_id, error)
                    return
        self._store.mark_placed(record)

    def place_approved(self, trying: Trying) -> None:
        """After a crash between a record and its move: move on what is approved and still lies in `Pending_Approval/`.

        A file that was in `Approved/` before and is not there any more was taken back by a person: its record is void.
        """
        for record in self._store.in_state(State.APPROVED):
            with trying(record.request_id):
                self._place_or_void(record)

    def _place_or_void(self, record: ActionRecord) -> None:
        if not record.placed:
            self._place(record)
            return
        stages = {file.stage for file in self._waiting.files(record.request_id)}
        if not stages:
            self._let_go(record)
        elif stages == {Stage.PENDING_APPROVAL} and self._store.void(record, said := "taken back by a person"):
            log.info("%s was taken back into Pending_Approval/: not executed", record.request_id)
            self.tell_taken_back(record, said)

    def tell_taken_back(self, record: ActionRecord, said: str) -> None:
        """Beside a request that a person moved back, that its approval counts no more; its note in `Approved/` goes."""
        self._claims.explain(self._layout.folder(Stage.APPROVED) / f"{record.request_id}.md", None)
        for path in self._layout.named(record.request_id, Stage.PENDING_APPROVAL):
            self._waiting.tell_taken_back(path, notes.taken_back(said))

    def expired(self, file: RequestFile) -> datetime | None:
        """When the time of a request was over, or None where it can still be approved."""
        return self._waiting.expires(file) if self._waiting.is_expired(file) else None

    def forgotten(self, file: RequestFile) -> str | None:
        """That a file in `Approved/` without a record may have been carried out all the same, or None."""
        return self._by_move.forgotten(file)

    def lies(self, request_id: str) -> bool:
        """Whether a file of this request lies where requests wait or are executed."""
        return bool(self._waiting.files(request_id))

    def _let_go(self, record: ActionRecord) -> None:
        """A person removed the file of an approved request, or moved it elsewhere: nothing is sent, its task goes on.

        The record ends last, so that a crash leaves all of it to be done again.
        """
        if self._store.once(record.action_id, "file missing"):
            return  # a sync may just be exchanging it: the next look decides
        lies = self._layout.find(record.request_id)
        where = " and ".join(as_text(self._layout.relative(path)) for path in lies)
        reason = f"its file was moved to {where} by a person" if where else "its file was removed"
        task = own_task(record.request_id, record.source_task)
        self._tasks.follow(task, {self._layout.stage_of(path) for path in lies}, reason)
        if self._store.void(record, reason):
            title = f"{record.request_id} will not be executed"
            self._alert("INFO", title, f"It was approved, but {reason}.", source="approvals")

    # Reading

    def _here(self) -> None:
        if self._mode != Mode.FULL:
            raise NotHere("this node is draft-only: answer the request on the Local node")

    def _one(self, request_id: str) -> RequestFile:
        """The one file of a request. Raises `NotFound`, `Invalid`."""
        files = self._copies.settled(self._waiting.files(request_id))
        if not files:
            raise NotFound(f"no request {request_id} waits for an answer")
        if len(files) > 1:
            raise Invalid(*copies.problems(self._layout, files))
        return files[0]

    def _to_answer(self, request_id: str, sha256: str | None) -> list[RequestFile]:
        """Where a request lies that is to be answered. Raises `Superseded`, `NotFound`, `Changed`."""
        self._not_superseded(request_id)
        files = self._copies.settled(self._waiting.files(request_id))
        if not files:
            raise NotFound(f"no request {request_id} waits for an answer")
        if sha256 is not None and files[0].sha256 != sha256:
            raise Changed(files[0].sha256)
        return files

    def _not_superseded(self, request_id: str) -> None:
        new = self._store.answers.superseded(request_id)
        if new is not None:
            raise Superseded(new)


def _ids(*files: Iterable[RequestFile]) -> set[str]:
    """The ids of these files, by their names and by what stands in them: a renamed file is still there."""
    found = {file.request_id for some in files for file in some}
    return found.union(file.request.id for some in files for file in some if file.request is not None)
