"""The names of all task files, folder by folder. A folder is read again when its own time says that something came or
went (a file that is written anew in place stays where it is): a look at a hundred thousand costs one `stat` a folder.

Nothing is kept on the disk, and nothing is believed longer than the folder's time stays as it was.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from operator import itemgetter
from pathlib import Path

from utils.core.stages import Stage
from utils.core.task import ID_PATTERN
from utils.tasks.settled import is_settled
from utils.vault.layout import REASON_SUFFIX, Layout

_SUFFIX = ".md"
Key = tuple[str, ...]
_KEY = itemgetter(0)


@dataclass(frozen=True)
class Shelf:
    """One folder as it was read: the stems of its task files by domain, in the order of their keys.

    `changed` is the folder's own time (ns), None where that may not tell of a change yet.
    """

    path: str
    stage: Stage
    changed: int | None
    by_domain: Mapping[str, Sequence[str]]
    stems: frozenset[str]
    inner: Sequence[str]

    def place(self, stem: str) -> str:
        """The path of a file."""
        return f"{self.path}{os.sep}{stem}{_SUFFIX}"

    def below(self, domain: str, key: Key | None) -> Iterator[tuple[Key, Shelf, str]]:
        """The files of a domain from below `key` on, the largest key first."""
        stems = self.by_domain[domain]
        end = len(stems) if key is None else bisect_left(stems, key, key=self.key)
        for number in range(end - 1, -1, -1):
            yield self.key(stems[number]), self, stems[number]

    def key(self, stem: str) -> Key:
        """Orders files by the time in the id; what has none comes first."""
        return (*_within(stem), self.place(stem))


class Shelves:
    """The folders of one vault's stages. Threads may share it: whoever is late reads a folder twice."""

    def __init__(self, layout: Layout, now_ns: Callable[[], int] = time.time_ns) -> None:
        """`now_ns`: the clock of the file system's times, in nanoseconds."""
        self._layout = layout
        self._now_ns = now_ns
        self._known: dict[str, Shelf] = {}

    def of(self, *stages: Stage) -> list[Shelf]:
        """The folders of these stages as they are now. One that is not there is left out; one that can't be read raises
        `OSError`, for what nobody can look into must not pass for empty."""
        return [shelf for stage in stages for shelf in self._below(os.fspath(self._layout.folder(stage)), stage)]

    def newest(
        self, stages: Sequence[Stage], domain: str | None, below: Key | None = None
    ) -> Iterator[tuple[Key, Shelf, str]]:
        """`(key, folder, stem)` of the files of these stages, the largest key first, from below a key on."""
        found = [
            shelf.below(name, below) for shelf in self.of(*stages) for name in shelf.by_domain if domain in (None, name)
        ]
        return merge(*found, key=_KEY, reverse=True)

    def _below(self, path: str, stage: Stage) -> Iterator[Shelf]:
        try:
            changed = Path(path).stat().st_ctime_ns
            shelf = self._known.get(path)
            if shelf is None or shelf.changed != changed:
                shelf = self._known[path] = self._read(path, stage, changed)
        except (FileNotFoundError, NotADirectoryError):
            self._known.pop(path, None)
            return
        yield shelf
        for inner in shelf.inner:
            yield from self._below(inner, stage)

    def _read(self, path: str, stage: Stage, changed: int) -> Shelf:
        settled = is_settled(changed, self._now_ns())
        here = self._layout.domain_of(Path(path, "any")) or "general"
        by_domain: dict[str, list[str]] = {}
        inner = []
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    inner.append(entry.path)
                elif (
                    name.endswith(_SUFFIX) and not name.endswith(REASON_SUFFIX) and entry.is_file(follow_symlinks=False)
                ):
                    stem = name[: -len(_SUFFIX)]
                    match = ID_PATTERN.match(stem)
                    by_domain.setdefault(match["domain"] if match else here, []).append(stem)
        ordered = {domain: tuple(sorted(stems, key=_within)) for domain, stems in by_domain.items()}
        stems = frozenset(stem for some in ordered.values() for stem in some)
        return Shelf(path, stage, changed if settled else None, ordered, stems, tuple(sorted(inner)))


def _within(stem: str) -> tuple[str, str]:
    """Orders the files of one folder."""
    match = ID_PATTERN.match(stem)
    return (match["time"] if match else "", stem)
