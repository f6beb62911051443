"""What waits for the human: the files of one node's requests, how they are shown, and what is told of them unasked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from utils.claim_task import Claims
from utils.core import expiry
from utils.core.policy import Mode
from utils.core.remote_approval import PassedOn
from utils.core.stages import Stage
from utils.core.task import format_time, parse_time
from utils.core.zones import ZonesConfig
from utils.execution import copies, notes, requests
from utils.execution.answers import NotFound, Pending
from utils.execution.counts import Trying
from utils.execution.journal import State
from utils.execution.looks import Looks
from utils.execution.requests import RequestFile
from utils.execution.soon import Soon
from utils.execution.source_tasks import GONE
from utils.execution.store import ExecutionStore
from utils.ports import Clock
from utils.vault.layout import Layout

_WHERE = (Stage.PENDING_APPROVAL, Stage.APPROVED)


class Waiting:
    """Reads what waits. A draft-only node has no records, and shows what is pending as it lies there."""

    def __init__(
        self,
        layout: Layout,
        claims: Claims,
        store: ExecutionStore,
        zones: ZonesConfig,
        *,
        mode: str,
        clock: Clock,
        alert: Callable[..., Any],
        known_to_git: Callable[[str, bytes], bool],
        passed_on: Callable[[str, str], PassedOn | None],
        looks: Looks,
        soon: Soon,
    ) -> None:
        """`passed_on(request, sha256)` is the approval that is on its way to Local, or None."""
        self._layout = layout
        self._claims = claims
        self._store = store
        self._zones = zones
        self._here = mode == Mode.FULL
        self._clock = clock
        self._alert = alert
        self._known_to_git = known_to_git
        self._passed_on = passed_on
        self._looks = looks
        self._soon = soon
        #: request → sha256 of the version whose badges are in the note beside it, and the obstacles that are
        self._looked: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._gone: dict[str, datetime] = {}  # request of which something is kept → since when it lies nowhere

    # Shown

    def pending(self) -> list[Pending]:
        """What is pending, and on Local what lies in `Approved/` without a record; what is snoozed is among it."""
        files = requests.read_all(self._layout, *(_WHERE if self._here else _WHERE[:1]))
        snoozed = self._snoozed()
        unanswered = [file for file in files if not self._is_answered(file)]
        return [self._shown_of(some, snoozed) for some in copies.grouped(unanswered).values()]

    def superseded(self) -> list[Pending]:
        """The requests that a new draft was asked for, as long as their files lie in `Rejected/`."""
        names = {new.request_id for new in self._store.answers.revisions()} if self._here else set()
        return self._put_away(names)

    def get(self, request_id: str) -> Pending:
        """One request that waits for an answer, or a superseded one. Raises `NotFound`."""
        files = self.unanswered(request_id)
        if files:
            return self._shown_of(files, self._snoozed())
        if self._here and self._store.answers.superseded(request_id) is not None:
            for pending in self._put_away({request_id}):
                return pending
        raise NotFound(f"no request {request_id} waits for an answer")

    def _shown_of(self, files: Sequence[RequestFile], snoozed: Mapping[str, datetime]) -> Pending:
        """One request, wherever its files lie."""
        shown = self.shown(copies.standing(files), snoozed)
        return replace(shown, problems=(*shown.problems, *copies.problems(self._layout, files)))

    def _put_away(self, names: Collection[str]) -> list[Pending]:
        paths = [path for path in self._layout.files(Stage.REJECTED) if path.stem in names] if names else []
        files = (requests.read(self._layout, path) for path in paths)
        return [self.shown(file, {}) for file in files if file is not None]

    def shown(self, file: RequestFile, snoozed: Mapping[str, datetime]) -> Pending:
        """A file as the human sees it. `snoozed`: until when which requests are hidden."""
        problems = list(file.problems)
        if file.request is not None and file.stage is not Stage.REJECTED:
            problems += requests.problems_of_files(self._layout, file.request)
            problems += [] if problems else self._looks.obstacles(file.request)
        expires = self.expires(file)
        passed_on = self._passed_on(file.request_id, file.sha256)
        live = self._store.live(file.request_id)
        if live is not None and live.state is State.DONE:
            problems.append("this request was executed before; approving it again does nothing")
        elif live is not None and live.state is State.UNKNOWN:
            problems.append(notes.unsettled(live))
        return Pending(
            request_id=file.request_id,
            path=self._layout.relative(file.path),
            stage=file.stage,
            text=file.data.decode("utf-8", errors="replace"),
            sha256=file.sha256,
            request=file.request,
            needs_confirmation=file.stage is Stage.APPROVED,
            expires=expires,
            expired=self.is_expired(file),
            reason=self.note(file) or (passed_on.words if passed_on else None),
            passed_on=passed_on,
            problems=tuple(problems),
            expires_in=expiry.seconds_left(expires, self._clock.now()) if expires else None,
            warning=self._warning(file),
            snoozed_until=snoozed.get(file.request_id),
            superseded=self._store.answers.superseded(file.request_id) if self._here else None,
            badges=self._looks.badges(file.request) if file.request else (),
            outdated=self._looks.outdated(file.request) if file.request else (),
        )

    # Read

    def files(self, request_id: str) -> list[RequestFile]:
        """Where a request lies that waits, or was approved."""
        paths = self._layout.named(request_id, *_WHERE)
        return [file for file in (requests.read(self._layout, path) for path in paths) if file is not None]

    def unanswered(self, request_id: str) -> list[RequestFile]:
        """Where a request lies that waits for an answer."""
        return [file for file in self.files(request_id) if not self._is_answered(file)]

    def is_expired(self, file: RequestFile) -> bool:
        """Whether it is too old to be approved."""
        expires = self.expires(file)
        return expires is not None and expires <= self._clock.now()

    def expires(self, file: RequestFile) -> datetime | None:
        """Until when it can be approved, whatever it claims; None where it can't be read."""
        if file.request is None:
            return None
        seen = self._store.seen_at(file.request_id, file.sha256) if self._here else None
        hours = self._zones.actions[file.request.action].expires_hours
        return expiry.holds_until(file.request.expires, seen, hours, self._clock.now())

    def latest_expiry(self, action: str) -> datetime:
        """When a request that is made, or approved, now expires at the latest."""
        return self._clock.now() + timedelta(hours=self._zones.actions[action].expires_hours)

    def note(self, file: RequestFile) -> str | None:
        """The note beside a file."""
        return requests.note(self._layout, file.path)

    def _is_answered(self, file: RequestFile) -> bool:
        return file.stage is Stage.APPROVED and self._store.live(file.request_id) is not None

    def _snoozed(self) -> dict[str, datetime]:
        """Until when requests are hidden now. A draft-only node hides none."""
        if not self._here:
            return {}
        now = self._clock.now()
        return {name: until for name, until in self._store.answers.snoozed().items() if until > now}

    def _warning(self, file: RequestFile) -> str | None:
        """That a request will soon be too old to be approved, or None."""
        request, expires, now = file.request, self.expires(file), self._clock.now()
        if request is None or expires is None:
            return None
        longest = timedelta(hours=self._zones.actions[request.action].expires_hours)
        if not expiry.is_short(parse_time(request.created), expires, longest, now):
            return None
        left = expiry.in_words(expiry.seconds_left(expires, now))
        return f"expires in {left}, at {format_time(expires)}; after that it asks again, and is not sent"

    # Noted and told unasked

    def see(self, file: RequestFile) -> None:
        """Remember what lies in `Pending_Approval/`; beside what can't be used, a note says so until it is mended.

        A file that is only being written must not be called broken, so it has a moment to become whole.
        """
        path = self._layout.relative(file.path)
        if not self._store.was_seen(file.request_id, file.sha256):
            if file.problems:
                if not requests.is_settled(file.path, self._clock.now(), soon=self._soon):
                    return
                versions = self._store.answers.versions(file.request_id)
                kept = any(not requests.parse(data, file.request_id)[1] for data in versions)
                self._store.doubt(path, file.sha256, notes.mend(file.problems, file.request_id if kept else None))
            self._store.answers.saw(file.request_id, file.sha256, file.data)
            brought = self._store.had_only_others(file.request_id, file.sha256) and self._known_to_git(path, file.data)
            self._store.saw(file.request_id, file.sha256, path, file.request, brought=brought)
        elif not self._store.answers.has_version(file.request_id):  # what was kept was forgotten, or lost
            self._store.answers.saw(file.request_id, file.sha256, file.data)
        self._forget_move(file)
        obstacles = self._looks.obstacles(file.request) if file.request and not file.problems else ()
        if self._looked.get(file.request_id) != (file.sha256, obstacles):  # once for each version and process
            self._say_look(file, obstacles)
            self._looked[file.request_id] = (file.sha256, obstacles)
        live = self._store.live(file.request_id)
        unsettled = notes.unknown(live) if live is not None and live.state is State.UNKNOWN else None
        wanted = unsettled or self._store.doubts_about(path, file.sha256)
        note = self.note(file) or ""
        if wanted is not None and wanted not in note:
            self._claims.explain(file.path, wanted)
        elif wanted is None and (notes.asks_to_mend(note) or notes.is_unknown(note)):
            self._claims.explain(file.path, None)

    def _forget_move(self, file: RequestFile) -> None:
        """What was doubted of a move that was taken back says nothing of the next one. A copy takes nothing back."""
        approved = self._layout.relative(self._layout.folder(Stage.APPROVED))
        if self._store.is_doubted(approved, file.sha256) and not self._layout.named(file.request_id, Stage.APPROVED):
            self._store.forget_doubts(approved, file.sha256)

    def _say_look(self, file: RequestFile, obstacles: Sequence[str]) -> None:
        """Beside what a move can't approve, or this node can't carry out now, a note says why, unless another one lies
        there."""
        usable = file.request if not file.problems else None
        look = notes.look(file.request_id, self._looks.badges(usable)) if usable else None
        wanted = "\n\n".join(filter(None, (look, notes.obstacles(obstacles))))
        note = self.note(file) or ""
        is_ours = notes.is_look(note) or notes.is_obstacles(note)
        if wanted and (not note or is_ours) and notes.said(note) != wanted:
            self._claims.explain(file.path, wanted)
        elif not wanted and is_ours:
            self._claims.explain(file.path, None)

    def tell_taken_back(self, path: Path, words: str) -> None:
        """Also where the note says what to look at, which stays below it."""
        note = requests.note(self._layout, path) or ""
        if words not in note:
            below = notes.said(note) if notes.is_look(note) or notes.is_obstacles(note) else ""
            self._claims.explain(path, "\n\n".join(filter(None, (words, below))))

    def forget_all_but(self, waiting: Collection[str]) -> None:
        """What was kept of requests that do not wait any more is of no use. `waiting`: the ids of those that do.

        One whose file lies nowhere may only be being exchanged, by a sync or an editor: then it was not answered, and
        is forgotten after `GONE`.
        """
        if not self._layout.folder(Stage.PENDING_APPROVAL).is_dir():  # that is nobody's word about a request
            return
        now, kept = self._clock.now(), self._store.answers.kept()
        away = kept.difference(waiting)
        away -= self._names(*_WHERE) if away else set()  # what can't be read waits all the same
        nowhere = away - self._names(*(stage for stage in Stage if stage not in _WHERE)) if away else away
        self._gone = {name: self._gone.get(name, now) for name in nowhere}
        exchanged = {name for name, since in self._gone.items() if now - since < GONE}
        if away - exchanged:
            self._store.answers.forget_all_but(kept - away | exchanged)

    def _names(self, *stages: Stage) -> set[str]:
        return {path.stem for stage in stages for path in self._layout.files(stage, misnamed=True)}

    def wake(self, waiting: Iterable[RequestFile], trying: Trying) -> None:
        """What was snoozed until now comes back: its note goes away."""
        until = self._store.answers.snoozed()
        for file in waiting:
            if file.request_id in until and until[file.request_id] <= self._clock.now():
                with trying(file.path.name):
                    if notes.is_snoozed(self.note(file) or ""):
                        self._claims.explain(file.path, None)
                        self._looked.pop(file.request_id, None)
                    self._store.answers.wake(file.request_id)

    def warn_of_expiry(self, files: Iterable[RequestFile], trying: Trying) -> None:
        """Tell once of each request that has a quarter of its time left, all in one alert."""
        lines = []
        for file in files:
            with trying(file.path.name):
                warning = self._warning(file) if self._store.live(file.request_id) is None else None
                expires = self.expires(file)
                if file.request and warning and expires and self._store.answers.warn(file.request_id, expires):
                    lines.append(f"- {file.request_id} ({file.request.action}): {warning}")
        if lines:
            title = f"{len(lines)} request{'s' if len(lines) > 1 else ''} will expire soon"
            self._alert("WARNING", title, "\n".join(lines), source="approvals")
