"""The lines of the claims log, and which of its files tell of a task: years of them are not read for one.

The newest lines are in `Logs/claims.jsonl`, which is read again when it changed. Older ones are in a file a day, which
is written anew as a whole when lines are rolled into it or a sync unites it: the folder's own time says when to look.
Of each file it is remembered which tasks it names, as numbers.
"""

from __future__ import annotations

import json
import re
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utils.core import archive
from utils.tasks.settled import is_settled
from utils.vault import jsonl
from utils.vault.layout import Layout

_TASK = re.compile(rb'"task"\s*:\s*("(?:[^"\\]|\\.)*")')
#: Bytes; the lines of a log up to this are remembered, and housekeeping rolls it before.
SMALL = 2 * archive.LOG_FULL
Stamp = tuple[int, int, int]
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class _Index:
    """Tasks (as numbers, in order) and which of `files` tells of each. `changed`: the folder's time (ns)."""

    changed: int | None = None
    files: tuple[Path, ...] = ()
    tasks: array[int] = field(default_factory=lambda: array("Q"))
    places: array[int] = field(default_factory=lambda: array("L"))

    def naming(self, number: int) -> list[Path]:
        """The files that may name a task, the newest first."""
        first, end = bisect_left(self.tasks, number), bisect_right(self.tasks, number)
        return [self.files[place] for place in sorted(self.places[first:end], reverse=True)]


class ClaimEvents:
    """The claims log of one vault. Threads may share it."""

    def __init__(self, layout: Layout, now_ns: Callable[[], int] = time.time_ns) -> None:
        """`now_ns`: the clock of the file system's times, in nanoseconds."""
        self._now_ns = now_ns
        self._log = layout.claims_log
        self._folder = layout.daily_log("claims", "any").parent
        self._newest: tuple[Stamp | None, tuple[Entry, ...]] = (None, ())
        self._index = _Index()
        self._named: dict[Path, tuple[Stamp, array[int]]] = {}

    def newest(self) -> Iterator[Entry]:
        """Every line, the newest first."""
        recent = self._recent()
        yield from jsonl.newest(self._log) if recent is None else recent
        yield from jsonl.newest_of(self._folder)

    def of(self, task: str) -> Iterator[Entry]:
        """The lines of one task, the newest first."""
        recent = self._recent()
        number = _number(task)
        if recent is not None:
            yield from (entry for entry in recent if entry.get("task") == task)
        elif _has(self._tasks_in(self._log), number):
            yield from _told(self._log, task)
        for path in self._days().naming(number):
            yield from _told(path, task)

    def _recent(self) -> tuple[Entry, ...] | None:
        """The lines of `Logs/claims.jsonl`; None where those are too many to keep."""
        stamp = _stamp(self._log)
        if stamp is not None and stamp[1] > SMALL:
            return None
        if stamp is None or stamp != self._newest[0]:
            self._newest = (stamp, tuple(jsonl.newest(self._log)))
        return self._newest[1]

    def _days(self) -> _Index:
        try:
            changed = self._folder.stat().st_ctime_ns
        except FileNotFoundError:
            return _Index()
        if self._index.changed != changed:
            settled = is_settled(changed, self._now_ns())
            self._index = self._read(changed if settled else None)
        return self._index

    def _read(self, changed: int | None) -> _Index:
        files = tuple(sorted(self._folder.glob("*.jsonl")))
        self._named = {path: known for path, known in self._named.items() if path in {*files, self._log}}
        pairs = sorted((task, place) for place, path in enumerate(files) for task in self._tasks_in(path))
        return _Index(
            changed, files, array("Q", (task for task, _ in pairs)), array("L", (place for _, place in pairs))
        )

    def _tasks_in(self, path: Path) -> array[int]:
        """The tasks that a file names, in order, each once."""
        stamp = _stamp(path)
        if stamp is None:
            return array("Q")
        known = self._named.get(path)
        if known is None or known[0] != stamp:
            with path.open("rb") as file:
                found = {match for line in file for match in _TASK.findall(line)}
            numbers = {_number(name) for text in found if (name := _read_text(text)) is not None}
            known = self._named[path] = (stamp, array("Q", sorted(numbers)))
        return known[1]


def _told(path: Path, task: str) -> Iterator[Entry]:
    """The lines of a task in one file, the newest first. Lines that don't name it are not parsed."""
    needle = json.dumps(task, ensure_ascii=False).encode("utf-8", "surrogatepass")
    lines = jsonl.newest(path, lambda line: needle in line or b"\\" in line)
    return (entry for entry in lines if entry.get("task") == task)


def _has(tasks: array[int], number: int) -> bool:
    place = bisect_left(tasks, number)
    return place < len(tasks) and tasks[place] == number


def _read_text(text: bytes) -> str | None:
    try:
        return str(json.loads(text))
    except ValueError:
        return None


def _number(task: str) -> int:
    """A task as a number. Two may share one: whoever looks reads the lines themselves."""
    return hash(task) & 0xFFFFFFFFFFFFFFFF


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
