"""Makes tasks of what a person drops: into the Inbox, or right where tasks wait. Word for word; only Local does this.

A name that is no id tells a drop from a task. What a drop is says `utils.core.inference`. What is no text is left where
it lies, with a note beside it that says why.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

from utils.claim_task import Claims
from utils.core.inference import AS_WRITTEN, completed, infer, keeping
from utils.core.stages import Stage
from utils.core.task import ID_PATTERN, InvalidTask, make_id, task_from
from utils.vault import atomic, frontmatter
from utils.vault.frontmatter import InvalidFrontMatter
from utils.vault.layout import FOLDERS, REASON_SUFFIX, Layout

log = logging.getLogger(__name__)

_ASIDE = f"{atomic.TEMP_PREFIX}inbox-"
_LARGEST = 5_000_000  # bytes; a note that a person writes is far smaller
_ENDINGS = (".md", ".markdown")
_EMPTY_AFTER = 60.0  # seconds; before that somebody has only just made the note
_CALLED = {**FOLDERS, Stage.INBOX: "the Inbox"}
#: Where a task that was made of a drop may lie when a crash kept the drop from going away.
_OPEN = (Stage.NEEDS_ACTION, Stage.IN_PROGRESS)
_LONGEST_NAME = 255  # bytes
_LAST_TIME = 253_402_300_799  # the year 9999


class Drops:
    """The drops of one vault. `settle` in seconds: a file written to more recently is left for the next round."""

    def __init__(self, layout: Layout, claims: Claims, *, agent: str, settle: float, alert: Callable[..., Any]) -> None:
        self._layout = layout
        self._claims = claims
        self._agent = agent
        self._settle = settle
        self._alert = alert
        self._told: set[Path] = set()
        #: In how many seconds what was too young in the last round is old enough; None where nothing was.
        self.due_in: float | None = None

    def run(self, now: datetime) -> str:
        """File what has settled; says what was done, or nothing where there is nothing to tell."""
        counts: Counter[str] = Counter()
        self.due_in = None
        for stage in (Stage.INBOX, Stage.NEEDS_ACTION):
            for path in self._drops(stage):
                try:
                    status = path.lstat()
                    age = abs(now.timestamp() - status.st_mtime)
                    if age < self._settle:
                        self.due_in = self._settle
                        continue
                    if stat.S_ISREG(status.st_mode) and not status.st_size and age < _EMPTY_AFTER:
                        continue
                    filed = self._file(path, stage, status)
                except OSError as error:
                    self._tell(path, error)
                    filed = False
                if filed is not None:
                    counts[f"{'filed from' if filed else 'left in'} {_CALLED[stage]}"] += 1
        return ", ".join(f"{what}: {count}" for what, count in sorted(counts.items()))

    def _tell(self, path: Path, error: OSError) -> None:
        log.warning("%r stays where it was dropped: %s", path.name, error)
        if path not in self._told:
            self._told.add(path)
            message = (
                f"{self._layout.relative(path)} stays where it is: {error.strerror or error}. It becomes a task once "
                "it can be taken from there; correct its name or the rights of its folder, or move it."
            )
            self._alert("WARNING", f"{path.name} can't be filed", message, source="drops")

    def _drops(self, stage: Stage) -> Iterator[Path]:
        """What was dropped; in each folder first what had been set aside already when a crash came."""
        for folder, subfolders, names in os.walk(self._layout.folder(stage)):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for name in sorted(names, key=lambda name: (not name.startswith(_ASIDE), name)):
                path, called = Path(folder, name), name.removeprefix(_ASIDE)
                is_task = stage is Stage.NEEDS_ACTION and called.endswith(".md") and ID_PATTERN.match(called[:-3])
                is_note = called.startswith(".") or called.endswith(REASON_SUFFIX)
                if not is_task and not is_note:
                    yield path

    def _file(self, lying: Path, stage: Stage, status: os.stat_result) -> bool | None:
        """Make a task of a drop; False where it stays a drop, None where it is for the dispatcher to set aside."""
        path = lying.with_name(lying.name.removeprefix(_ASIDE))
        text, problem = _text(lying, status)
        if problem or (stage is Stage.NEEDS_ACTION and path.suffix == ".md" and _is_broken(text)):
            if lying != path:
                path = _put_back(lying)
            if not problem:
                return None
            if not self._layout.reason(path).exists():
                self._claims.explain(path, f"{problem} This file stays here until somebody moves it.")
            return False
        created = datetime.fromtimestamp(min(max(status.st_mtime, 0), _LAST_TIME), UTC)
        identity = f"{stage}\0{path.name}\0{hashlib.sha256(text.encode()).hexdigest()}"
        meta, body = self._task(path, stage, text, identity, created)
        aside = lying if lying != path else _aside(path)
        if lying == path:  # first: of what can't be taken away a task would be made again and again
            atomic.move(path, aside)
        try:
            self._create(meta, body, identity, created)
        except BaseException:
            _put_back(aside)
            raise
        if aside.read_bytes() != text.encode():  # somebody wrote to it since it was read: that is a drop of its own
            _put_back(aside)
            return True
        aside.unlink()
        if os.path.lexists(self._layout.reason(path)):  # from when it was no text
            self._claims.explain(path, None)
        return True

    def _create(self, meta: dict[str, Any], body: str, identity: str, created: datetime) -> None:
        """Make the task, unless this very drop became one before a crash."""
        # The id that the person wrote may be another's; the same note may have been dropped, and done, before.
        keys = chain([identity], (f"{identity}\0{number}" for number in count(2)))
        first = make_id(meta["domain"], created, identity)
        ours = meta if meta["id"] == first else keeping(meta, {"id": first})
        others = (ours | {"id": make_id(meta["domain"], created, key)} for key in keys)
        for task in chain([meta], others):
            lying = self._layout.find(task["id"])
            if not lying:
                self._claims.create(Stage.NEEDS_ACTION, task, body)
            if not lying or any(self._is(place, task, body) for place in lying):
                break
        if AS_WRITTEN in task:
            log.warning("%s: what can't be used of what its author wrote is kept as '%s'", task["id"], AS_WRITTEN)

    def _task(
        self, path: Path, stage: Stage, text: str, identity: str, created: datetime
    ) -> tuple[dict[str, Any], str]:
        """The task of a drop. Where its properties can't be used they are taken for its text."""
        name = os.fsencode(path.name).decode("utf-8", "replace")
        folder, source = self._layout.domain_of(path), {"kind": stage.value, "name": name}

        def reading(found: Mapping[str, Any], problem: str = "") -> dict[str, Any]:
            seen = infer(found, folder=folder, name=name, text=text, problem=problem)
            return completed(found, seen, identity=identity, created=created, agent=self._agent, source=source)

        try:
            found, body = frontmatter.parse(text)
            meta = reading(found)
            task_from(*frontmatter.read(frontmatter.write(meta, body)))
        except (InvalidFrontMatter, InvalidTask) as error:
            return reading({}, _first_line(error) if frontmatter.is_meant(text) else ""), text
        return meta, body

    def _is(self, place: Path, meta: dict[str, Any], body: str) -> bool:
        return self._layout.stage_of(place) in _OPEN and place.read_bytes() == frontmatter.write(meta, body)


def _text(path: Path, status: os.stat_result) -> tuple[str, str]:
    """`(what a note says, "")`, or `("", why the file is none)`."""
    if stat.S_ISLNK(status.st_mode):
        return "", "This is a link, and a task is made of the note itself: move that one here."
    if not stat.S_ISREG(status.st_mode):
        return "", "This is no file that could be read."
    if path.suffix.lower() not in _ENDINGS:
        return "", "Only Markdown notes (.md) become tasks."
    if not status.st_size:
        return "", "The note is empty: once something is written into it, it becomes a task."
    if status.st_size > _LARGEST:
        return "", "Only notes of at most 5 MB become tasks."
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        return "", f"The note is not UTF-8 (byte {error.start}): save it in that encoding, and it becomes a task."
    return ("", "The note holds a NUL character, which no text does.") if "\0" in text else (text, "")


def _first_line(error: InvalidFrontMatter | InvalidTask) -> str:
    return str(error).splitlines()[0].rstrip(".:;")


def _aside(path: Path) -> Path:
    aside = path.with_name(f"{_ASIDE}{path.name}")
    if len(os.fsencode(aside.name)) > _LONGEST_NAME:
        aside = path.with_name(f"{_ASIDE}{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.md")
    return aside


def _is_broken(text: str) -> bool:
    """Whether a file begins like a task and can't be read as one."""
    try:
        frontmatter.parse(text)
    except InvalidFrontMatter:
        return frontmatter.is_meant(text)
    return False


def _put_back(aside: Path) -> Path:
    name = aside.name.removeprefix(_ASIDE)
    for number in range(1, 100):
        path = aside.with_name(name if number == 1 else f"{number}-{name}")
        try:
            atomic.move(aside, path)
        except FileExistsError:
            continue
        return path
    return aside
