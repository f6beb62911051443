"""Moving tasks: the only module that creates a task file or carries one from stage to stage.

Each step holds the claim lock of this node, checks the transition table (`utils.core.stages`), renames without ever
replacing a file, and writes one line to `Logs/claims.jsonl`; both are durable when it answers, and a step that was
killed in between is finished by the next one (`utils.vault.moving`). Losing a claim is an ordinary answer, not an
error. A claim has a heartbeat while a process works on it. What is long finished is filed by month within its stage.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from stat import S_ISREG
from typing import Any

from utils.core import archive
from utils.core.routing import LOCAL
from utils.core.stages import ENTRY_STAGES, IllegalMove, Stage, check_move
from utils.core.sync_rules import fold
from utils.core.task import ID_PATTERN, format_time
from utils.ports import Clock
from utils.vault import atomic, frontmatter, jsonl
from utils.vault.heartbeats import Heartbeats
from utils.vault.layout import AGENTS, Layout, fitting, stage_at
from utils.vault.moving import CLAIMED, Moves

log = logging.getLogger(__name__)


_OUR_NOTE = re.compile(r"# Why `(?P<name>[^`/\n]+)` lies here\n\n.*\n\n\S+Z, (?:cloud|local)\n\Z", re.DOTALL)
_YOUNG_SECONDS = 60.0


class TargetTaken(FileExistsError):
    """A file of the same name already lies where this one should go. Nothing moved."""


class Changed(RuntimeError):
    """The file is not what the caller thinks it is. `sha256` names the bytes that lie there. Nothing was written."""

    def __init__(self, sha256: str) -> None:
        super().__init__("the file was changed meanwhile: look at it again")
        self.sha256 = sha256


class Gone(FileNotFoundError):
    """The file is no longer where it was: somebody moved it first. Nothing moved."""


class Lost(Gone):
    """The task that this process worked on is no longer its own: a sync or a person moved it, or the other zone may do
    it by now. Drop the work."""


class Claims:
    """Creates, claims and moves the tasks of one vault in the name of one agent."""

    def __init__(
        self,
        layout: Layout,
        state_dir: Path,
        clock: Clock,
        agent: str,
        overtaken: Callable[[], bool] = lambda: False,
    ) -> None:
        """`overtaken()`: whether the other zone may do by now what the calling thread works on."""
        self._overtaken = overtaken
        self._layout = layout
        self._moves = Moves(layout, state_dir)
        self._heartbeats = Heartbeats(state_dir, clock)
        self._clock = clock
        self._agent = agent

    def create(self, stage: Stage, meta: Mapping[str, Any], body: str, *, claimed: Path | None = None) -> Path:
        """Write a new task file durably and return where it lies.

        A task of this id that exists already, in whatever stage, is left as it is and its path returned: creating the
        same task twice is harmless. Raises `IllegalMove` for a stage in which no task begins, and `Lost` where it is
        the fruit of work on a `claimed` task that is no longer this process's.
        """
        if stage not in ENTRY_STAGES:
            raise IllegalMove(f"no task begins in {stage}")
        target = self._layout.place(f"{meta['id']}.md", stage, domain=str(meta["domain"]))
        data = frontmatter.write(meta, body)
        with self._moves.hold():
            if claimed is not None:
                self.beat(claimed)
            existing = self._layout.find(str(meta["id"]))
            if existing:
                return existing[0]
            entry = self._entry("created", str(meta["id"]), None, self._layout.relative(target))
            self._moves.do(entry, lambda: atomic.write(target, data, replace=False))
        return target

    @property
    def agent(self) -> str:
        """In whose name."""
        return self._agent

    def claim(self, path: Path, agent: str | None = None) -> Path | None:
        """Take a task from `Needs_Action/` into `In_Progress/<agent>/`; None where somebody else was first."""
        agent = agent or self._agent
        if agent not in AGENTS:
            raise ValueError(f"unknown agent {agent!r}; it must be one of {', '.join(AGENTS)}")
        source = self._layout.relative(path)
        if not atomic.is_there(path) or self._heartbeats.is_worked_on(path.stem):  # who is late need not wait
            log.info("claim of %s lost: another was first", source)
            return None
        target = self._layout.place(path.name, Stage.IN_PROGRESS, agent=agent)
        try:
            return self._move(path, target, CLAIMED, agent=agent)
        except (Gone, FileExistsError) as error:
            log.info("claim of %s lost: %s", path.name, error)
            return None

    def beat(self, path: Path) -> None:
        """A sign of life from this process's work on a claimed task, due at each step. Raises `Lost`: then stop."""
        if self._overtaken():
            raise Lost(f"{self._layout.relative(path)} took too long: the other zone may be active by now")
        if not self._heartbeats.beat(path.stem) or not os.path.lexists(path):
            raise Lost(f"{self._layout.relative(path)} is no longer ours")

    def rest(self, path: Path) -> None:
        """This process lays the task down: it is finished, or left in progress until somebody takes it up."""
        if self._heartbeats.beat(path.stem):
            with self._moves.share():  # while nobody moves the task on
                if self._heartbeats.beat(path.stem):
                    self._heartbeats.end(path.stem)

    def abandoned(self) -> list[Path]:
        """Tasks in progress by this agent on which no live process of this node works."""
        lying = self._layout.files(Stage.IN_PROGRESS, agent=self._agent)
        left = [path for path in lying if not self._heartbeats.is_worked_on(path.stem)]
        if not left:
            return []
        with self._moves.hold():  # while nobody is in the midst of a claim
            return [path for path in left if os.path.lexists(path) and not self._heartbeats.is_worked_on(path.stem)]

    def take_up(self, path: Path) -> bool:
        """Work on a task in progress that was abandoned; False where another process was first, or it is gone."""
        with self._moves.hold():
            return os.path.lexists(path) and self._heartbeats.inherit(path.stem)

    def signs(self, task_id: str) -> tuple[bool, datetime | None]:
        """Whether a live process of this node works on a task, and when it last gave a sign."""
        return self._heartbeats.is_worked_on(task_id), self._heartbeats.last_beat(task_id)

    def repair(self) -> None:
        """At a start: finish what was cut off between a move and its line, sweep the heartbeats of the dead."""
        with self._moves.hold():
            self._heartbeats.sweep()

    def release(self, path: Path, domain: str, reason: str) -> Path:
        """Put work in progress back into `Needs_Action/<domain>/`."""
        return self._move(path, self._layout.place(path.name, Stage.NEEDS_ACTION, domain=domain), "released", reason)

    def take_over(self, path: Path, domain: str, reason: str) -> Path:
        """Put work that the Cloud left back into `Needs_Action/<domain>/`. Only Local may (S10)."""
        if self._agent != LOCAL:
            raise IllegalMove(f"{self._agent} may not take over what another agent works on")
        return self._move(path, self._layout.place(path.name, Stage.NEEDS_ACTION, domain=domain), "taken_over", reason)

    def move(self, path: Path, stage: Stage, *, domain: str | None = None, reason: str | None = None) -> Path:
        """Carry a file to another stage. Raises `IllegalMove`, `Gone` or `TargetTaken`; then nothing moved.

        With a `reason` a note `<id>.reason.md` is left beside the file for the human; a note from earlier goes away.
        """
        old_note = self._layout.reason(path)
        target = self._layout.place(path.name, stage, domain=domain, agent=self._agent)
        moved = self._move(path, target, stage.value, reason, explained=True)
        if old_note != self._layout.reason(target):
            _remove_ours(old_note)
        return moved

    def quarantine(self, path: Path, reason: str) -> Path:
        """Set a file aside in `Quarantine/` with its reason beside it; a taken name gets a number."""
        folder = self._layout.folder(Stage.QUARANTINE)
        for number in range(1, 1000):
            name = path.name if number == 1 else fitting(path.stem, f"-{number}{path.suffix}")
            if (folder / name).exists():
                continue
            try:
                moved = self._move(path, folder / name, "quarantined", reason, explained=True)
            except TargetTaken:
                continue
            _remove_ours(self._layout.reason(path))
            return moved
        raise TargetTaken(f"Quarantine/ holds a thousand files named like {path.name}")

    def rewrite(self, path: Path, expected_sha256: str, meta: Mapping[str, Any], body: str, *, by: str) -> bytes:
        """Replace a file's content where it lies, and return the new bytes.

        Raises `Changed` where its bytes are not those expected and `Gone` where it is not there: nothing is written
        then, and what a person saves in that very moment stands.
        """
        data = frontmatter.write(meta, body)
        self.replace(path, expected_sha256, data, by=by)
        return data

    def replace(self, path: Path, expected_sha256: str, data: bytes, *, by: str) -> None:
        """Put other bytes in place of a file's, as `rewrite` does."""

        def put() -> None:
            if not atomic.replace_if(path, data, lambda place: _has(place, expected_sha256)):
                raise FileExistsError(f"{path} was changed in the last moment")

        with self._moves.hold():
            self._expect(path, expected_sha256)
            entry = self._entry("edited", path.stem, None, self._layout.relative(path))
            entry |= {"by": by, "sha256": hashlib.sha256(data).hexdigest()}
            try:
                self._moves.do(entry, put)
            except (FileExistsError, FileNotFoundError):
                raise Changed(self._sha256(path)) from None

    def _expect(self, path: Path, sha256: str) -> None:
        """Raise `Changed` or `Gone` where the bytes with this hash don't lie there."""
        found = self._sha256(path)
        if found != sha256:
            raise Changed(found)

    def _sha256(self, path: Path) -> str:
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        except FileNotFoundError:
            raise Gone(f"{self._layout.relative(path)} is no longer there") from None

    def remove_copy(self, path: Path, stands: Path, sha256: str) -> None:
        """Take away a file whose very bytes (with this hash) lie at `stands` too. Raises `Changed` or `Gone`."""
        old_note = self._layout.reason(path)

        def take() -> None:
            if not atomic.remove_if(path, lambda place: _has(place, sha256)):
                raise FileExistsError(f"{path} was changed in the last moment")

        with self._moves.hold():
            for place in (stands, path):
                self._expect(place, sha256)
            entry = self._entry("copy_removed", path.stem, self._layout.relative(path), self._layout.relative(stands))
            try:
                self._moves.do(entry, take)
            except (FileExistsError, FileNotFoundError):
                raise Changed(self._sha256(path)) from None
        _remove_ours(old_note)

    def restore(self, stage: Stage, name: str, data: bytes, *, reason: str) -> None:
        """Put a file back as it was, with a note beside it; one that lies there already is left as it is."""
        target = self._layout.place(name, stage)
        with self._moves.hold():
            if os.path.lexists(target):
                return
            self._explain(target, reason)
            entry = self._entry("restored", target.stem, None, self._layout.relative(target), reason)
            self._moves.do(entry, lambda: atomic.write(target, data, replace=False))

    def explain(self, path: Path, reason: str | None) -> None:
        """Leave a note `<id>.reason.md` beside a file that stays where it lies, or take the note away (None)."""
        if reason is None:
            _remove_ours(self._layout.reason(path))
        else:
            self._explain(path, reason)

    def tidy(self, *stages: Stage) -> None:
        """Take away our notes whose file is gone from beside them: a person moved or deleted it by hand.

        A young note stays, since a move writes its note first; so does one that a person wrote or went on writing.
        """
        for note in [note for stage in stages for note in self._layout.notes(stage)]:
            try:
                if 0 <= self._clock.now().timestamp() - note.stat().st_mtime < _YOUNG_SECONDS:
                    continue
            except FileNotFoundError:
                continue
            subject = _as_ours(note)
            explained = note.with_name(subject["name"]) if subject else None
            if explained is None or self._layout.reason(explained) != note or os.path.lexists(explained):
                continue
            note.unlink(missing_ok=True)
            log.info("%s explained a file that is gone: removed", self._layout.relative(note))

    def file_away(self, before: datetime, *, limit: int = 5_000) -> int:
        """Carry what was finished or rejected, and its plan, to its place by month (`Done/2026/10/`); how many files.

        Taken is what lies right in the stage's folder, has an id older than `before` and has lain there since; at most
        `limit` files. A file stays in its stage, so the log has no line of this.
        """
        filed = 0
        for stage in (Stage.DONE, Stage.REJECTED):
            for path in sorted(self._layout.folder(stage).glob("*.md")):
                match = ID_PATTERN.match(path.stem.removesuffix(".reason"))
                if match is None or filed >= limit or match["time"] >= f"{before:%Y%m%dT%H%M%SZ}":
                    continue
                plan = self._layout.plan(match["domain"], path.stem)
                filed += sum(self._file(place, before) for place in (path, plan))
        return filed

    def _file(self, path: Path, before: datetime) -> bool:
        place = archive.filed(self._layout.relative(path))
        since = before.timestamp()  # compared with the time of the last move or edit
        with self._moves.hold():
            try:
                status = path.lstat()
                if place is None or not S_ISREG(status.st_mode) or status.st_ctime >= since:
                    return False
                atomic.move(path, self._layout.root / place)
            except FileNotFoundError:
                return False
            except FileExistsError:
                log.warning("%s stays where it is: %s exists already", path.name, place)
                return False
        return True

    def roll_log(self) -> int:
        """Carry the oldest lines of a full `Logs/claims.jsonl` to `Logs/claims/<day>.jsonl`; how many.

        Every change of the log is a whole new version of it to git, so it must stay short. Only Local may do this: what
        Local takes out of a log is out, what the Cloud takes out comes back (S10).
        """
        with self._moves.hold():
            return jsonl.roll(
                self._layout.claims_log,
                lambda day: self._layout.daily_log("claims", day),
                today=f"{self._clock.now():%Y-%m-%d}",
            )

    def note(self, event: str, task_id: str, **details: Any) -> None:
        """Write a line about a task that did not move (for example `claim_lost`)."""
        entry = {"at": format_time(self._clock.now()), "agent": self._agent, "event": event, "task": task_id}
        jsonl.append(self._layout.claims_log, entry | details)

    def _move(
        self,
        path: Path,
        target: Path,
        event: str,
        reason: str | None = None,
        *,
        agent: str | None = None,
        explained: bool = False,
    ) -> Path:
        """Carry a file to `target` and log it, with its reason in a note beside it where it is to be `explained`."""
        source, goal = self._layout.relative(path), self._layout.relative(target)
        source_stage, target_stage = stage_at(source), stage_at(goal)
        if source_stage is None or target_stage is None:
            raise IllegalMove(f"{path} is not a task of this vault")
        check_move(source_stage, target_stage, by_itself=event == CLAIMED or self._agent != LOCAL)
        if path.is_symlink():
            raise IllegalMove(f"{path.name} is a symbolic link, not a task")
        task_id, claims = path.stem, event == CLAIMED
        with self._moves.share() if claims else self._moves.hold():
            entry = self._entry(event, task_id, source, goal, reason, agent)
            sign = self._heartbeats.sign() if claims else None
            note = self._moves.do(entry, lambda: self._rename(path, target, reason if explained else None), sign=sign)
            if claims:
                self._heartbeats.begin(task_id, note)
            elif source_stage is Stage.IN_PROGRESS:
                self._heartbeats.end(task_id)
        return target

    def _rename(self, path: Path, target: Path, note: str | None) -> None:
        """Never over a file: whoever was first in the last moment stands. The note is there before its file."""
        _check_spelling(target)
        if note:
            if not os.path.lexists(path):
                raise Gone(f"{path.name} is no longer there")
            if os.path.lexists(target):
                raise TargetTaken(f"{target.name} exists already")
            self._explain(target, note)
        try:
            atomic.rename_noreplace(path, target)
        except FileNotFoundError:
            if os.path.lexists(target.parent):
                raise Gone(f"{path.name} is no longer there") from None
            target.parent.mkdir(parents=True)
            self._rename(path, target, note)
        except FileExistsError:
            raise TargetTaken(f"{target.name} exists already") from None

    def _entry(
        self,
        event: str,
        task_id: str,
        source: str | None,
        target: str,
        reason: str | None = None,
        agent: str | None = None,
    ) -> dict[str, Any]:
        return {
            "at": format_time(self._clock.now()),
            "agent": agent or self._agent,
            "event": event,
            "task": task_id,
            "from": source,
            "to": target,
            **({"reason": reason} if reason else {}),
        }

    def _explain(self, path: Path, reason: str) -> None:
        text = f"# Why `{path.name}` lies here\n\n{reason}\n\n{format_time(self._clock.now())}, {self._agent}\n"
        try:
            atomic.write(self._layout.reason(path), text.encode("utf-8", "replace"))  # a name may be no text
        except IsADirectoryError:  # a note only explains: what it explains happens without it
            log.warning("the note on %s could not be written, for a folder lies in its place", path.name)


def _has(place: Path, sha256: str) -> bool:
    """Whether the bytes with this hash lie there, in a plain file."""
    try:
        return not place.is_symlink() and hashlib.sha256(place.read_bytes()).hexdigest() == sha256
    except (FileNotFoundError, IsADirectoryError):
        return False


def _as_ours(note: Path) -> re.Match[str] | None:
    """What a note of ours says; None for one that a person wrote or went on writing, and where there is none that can
    be read: it only explains, so what it lies beside moves without it."""
    try:
        return _OUR_NOTE.match(note.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        return None
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            log.warning("%s stays: %s", note.name, error.strerror)
        return None


def _remove_ours(note: Path) -> None:
    if _as_ours(note):
        note.unlink(missing_ok=True)


def _check_spelling(target: Path) -> None:
    """Raise `TargetTaken` where a file lies there whose name is the same to another file system (case, NFC/NFD). An id
    has one spelling only."""
    if ID_PATTERN.match(target.stem) is None and target.parent.exists():
        for other in target.parent.iterdir():
            if fold(other.name) == fold(target.name):
                raise TargetTaken(f"{target.name} exists already, as {other.name}")


#: A process has one sign of life a node, however often it claims.
_of_this_process: dict[tuple[Path, Path, str], Claims] = {}


def claim_task(path: str | Path, agent: str) -> Path | None:
    """Claim the task file at `path` for `agent` (`cloud` or `local`) in the vault of the settings (`VAULT_PATH`).

    Returns the new path under `In_Progress/<agent>/`, or None where somebody else was first. The claim is this
    process's: when it ends before the task is moved on, the agent of the node takes the task up again.
    """
    from utils.bootstrap import Services

    services = Services.from_environment()
    s = services.settings
    claims = _of_this_process.setdefault((s.vault_path, s.state_dir, s.agent_name), services.claims)
    return claims.claim(Path(path).absolute(), agent)
