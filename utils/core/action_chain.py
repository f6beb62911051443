"""The action log as a chain: what a line adds to its entry, and what is wrong with the lines that lie there. Pure.

Each writer (a node) numbers its lines from 1 (`seq`) and names in each the sha256 of its line before (`prev`), over all
days. The first names that of all readable lines from before there was a chain, each with its newline. So no line can be
changed, removed, added or moved unseen; the end is guarded by what the writer remembers outside the vault (`Head`).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from utils.core.routing import LOCAL, ZONES

#: What the chain adds to a line.
KEYS = ("writer", "seq", "prev")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DAY = re.compile(r"20\d\d-\d\d-\d\d")


@dataclass(frozen=True)
class Head:
    """What a writer remembers: how many lines it wrote, the sha256 of the newest, and a line that it began to write."""

    count: int
    digest: str
    begun: bytes | None = None


@dataclass(frozen=True)
class Line:
    """A line of the log without its newline. `place` orders all lines: by file, then from its beginning."""

    file: str  # its name without the ending; a day
    number: int  # from 1
    data: bytes = field(repr=False)
    place: int
    entry: Mapping[str, Any] | None = field(repr=False)  # None: not readable
    writer: str | None = None  # None: no line of a chain
    seq: int = 0
    prev: str = ""

    @property
    def digest(self) -> str:
        """What the line after it names as `prev`."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def where(self) -> str:
        """For people: `2026-06-01.jsonl, line 3`."""
        return f"{self.file}.jsonl, line {self.number}"


@dataclass(frozen=True)
class Problem:
    """Something that is wrong; `place` says before or at which line."""

    place: int
    words: str


@dataclass(frozen=True)
class Verdict:
    """`problems`, the first one first; `counts` of chained lines by writer; `before`: of those older than any chain;
    `accepted`: problems that a person has looked at."""

    problems: tuple[Problem, ...]
    counts: Mapping[str, int]
    before: int
    accepted: tuple[Problem, ...] = ()


def first_prev(before: Iterable[bytes]) -> str:
    """The `prev` of a chain's first line: the sha256 of the lines from before it, each with its newline."""
    digest = hashlib.sha256()
    for data in before:
        digest.update(data + b"\n")
    return digest.hexdigest()


def lines_of(files: Iterable[tuple[str, bytes]]) -> list[Line]:
    """The lines of these files (name without ending, content), which come in the order of their names."""
    lines: list[Line] = []
    for name, content in files:
        for number, data in enumerate(content.split(b"\n"), 1):
            if data:
                lines.append(_line(name, number, data, len(lines)))
    return lines


def _line(file: str, number: int, data: bytes, place: int) -> Line:
    try:
        entry = json.loads(data)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict):
        return Line(file, number, data, place, None)
    writer, seq, prev = (entry.get(key) for key in KEYS)
    if (
        writer not in ZONES
        or not (isinstance(seq, int) and not isinstance(seq, bool) and seq > 0)
        or not (isinstance(prev, str) and _DIGEST.fullmatch(prev))
    ):
        return Line(file, number, data, place, entry)
    return Line(file, number, data, place, entry, writer, seq, prev)


def before_chain(lines: Sequence[Line]) -> list[Line]:
    """The lines from before there was a chain: those ahead of the first chained one that can be read and are no try."""
    return [line for line in lines[: _first(lines)] if line.entry is not None and not _tries(line)]


def _first(lines: Sequence[Line]) -> int:
    """The place of the first chained line."""
    return next((line.place for line in lines if line.writer), len(lines))


def _tries(line: Line) -> bool:
    return line.entry is not None and any(key in line.entry for key in KEYS)


def tip(lines: Iterable[Line], writer: str, head: Head | None) -> Head | None:
    """Where the chain of `writer` ends in the log, going on from `head` (None: from wherever it begins)."""
    own = sorted((line for line in lines if line.writer == writer), key=lambda line: (line.seq, line.place))
    for line in own:
        if head is None or (line.seq == head.count + 1 and line.prev == head.digest):
            head = Head(line.seq, line.digest)
    return head


def verify(lines: Sequence[Line], heads: Mapping[str, Head]) -> Verdict:
    """What is wrong with the log. `heads`: of the writers whose memory this node has."""
    before = before_chain(lines)
    chained = [line for line in lines if line.writer]
    problems = _strays(lines, before, heads)
    counts = {}
    for writer in ZONES:
        own = [line for line in chained if line.writer == writer]
        counts[writer] = len(own)
        problems += _order(own)
        start = first_prev(line.data for line in before) if writer == LOCAL else None
        problems += _chain(own, writer, start, heads.get(writer), len(lines))
    problems.sort(key=lambda problem: problem.place)
    return Verdict(tuple(problems), {writer: count for writer, count in counts.items() if count}, len(before))


def _strays(lines: Sequence[Line], before: Sequence[Line], heads: Mapping[str, Head]) -> list[Problem]:
    """Lines that belong to no chain, and those that lie in another day's file."""
    old, first = {line.place for line in before}, _first(lines)
    whole = [line for line in lines if line.writer]
    begun = [head.begun for head in heads.values() if head.begun]
    found = []
    for line in lines:
        if line.writer:
            day = str((line.entry or {}).get("at"))[:10]
            if _DAY.fullmatch(line.file) and day != line.file:
                found.append(Problem(line.place, f"{line.where}: it is of {day} and lies in another day's file"))
        elif line.place in old or (line.entry is None and line.place < first):
            continue
        elif line.entry is not None:
            found.append(
                Problem(line.place, f"{line.where}: a foreign line: it is in no chain, and came after the chain began")
            )
        else:
            later = [other.data for other in whole if other.file == line.file and other.place > line.place]
            if not any(data.startswith(line.data) for data in (*later, *begun)):  # a write that a crash cut off
                found.append(Problem(line.place, f"{line.where}: a broken line: it can't be read"))
    return found


def _order(own: Sequence[Line]) -> list[Problem]:
    """Lines of one writer that stand in one file before an earlier one; what stands twice is told elsewhere."""
    own = sorted({line.data: line for line in reversed(own)}.values(), key=lambda line: line.place)
    return [
        Problem(after.place, f"{after.where}: out of order: number {after.seq} stands after number {line.seq}")
        for line, after in itertools.pairwise(own)
        if line.file == after.file and after.seq < line.seq
    ]


def _chain(own: Sequence[Line], writer: str, start: str | None, head: Head | None, end: int) -> list[Problem]:
    """Follow the chain of one writer from its first line to `head`. `start`: the `prev` that the first must have."""
    by_seq: dict[int, list[Line]] = {}
    for line in own:
        by_seq.setdefault(line.seq, []).append(line)
    found: list[Problem] = []
    digest = start
    expected = 1
    # Going backwards from what is known to be right tells which of several lines is the true one.
    true = _true_lines(by_seq, head)
    for seq in sorted(by_seq):
        if seq > expected:
            first = min(line.place for line in by_seq[seq])
            where = min(by_seq[seq], key=lambda line: line.place).where
            found.append(Problem(first, f"{_numbers(expected, seq - 1, writer)} missing before {where}"))
            digest = None
        chosen = true.get(seq) or by_seq[seq][0]
        found += [_other(line, chosen) for line in by_seq[seq] if line is not chosen]
        if head is not None and seq > head.count and chosen.data != head.begun:
            words = f"{chosen.where}: a foreign line: the {writer} node did not write number {seq}"
            found.append(Problem(chosen.place, words))
        elif head is not None and seq == head.count and chosen.digest != head.digest:
            words = f"{chosen.where}: a broken line: number {seq} of {writer} is not as it was written"
            found.append(Problem(chosen.place, words))
        elif digest is not None and chosen.prev != digest:
            found.append(_broken_link(chosen, by_seq, true, writer))
        digest, expected = chosen.digest, seq + 1
    if head is not None and expected <= head.count:
        found.append(Problem(end, f"{_numbers(expected, head.count, writer)} missing at the end of the log"))
    return found


def _true_lines(by_seq: Mapping[int, Sequence[Line]], head: Head | None) -> dict[int, Line]:
    """By number, the line that the one after it names; the last one is what `head` says, or the only one there is."""
    true: dict[int, Line] = {}
    wanted: str | None = None
    for seq in sorted(by_seq, reverse=True):
        if head is not None and seq == head.count:
            wanted = head.digest
        lines = by_seq[seq]
        match = next((line for line in lines if line.digest == wanted), None)
        if match is not None:
            true[seq] = match
        wanted = (match or lines[0]).prev if match is not None or len(lines) == 1 else None
    return true


def _other(line: Line, chosen: Line) -> Problem:
    if line.data == chosen.data:
        return Problem(line.place, f"{line.where}: it stands twice: {chosen.where} is the same line")
    words = f"{line.where}: a foreign line: number {line.seq} of {line.writer} is that of {chosen.where}"
    return Problem(line.place, words)


def _broken_link(line: Line, by_seq: Mapping[int, Sequence[Line]], true: Mapping[int, Line], writer: str) -> Problem:
    """`line` does not name what stands before it: that was changed, if anything vouches for `line` itself."""
    if line.seq == 1:
        words = "the lines from before the chain are not those that were there when it began"
        return Problem(line.place, f"{line.where}: a broken chain: {words}")
    before = by_seq[line.seq - 1][0]
    if line.seq in true:
        words = f"number {before.seq} of {writer} is not as it was written"
        return Problem(before.place, f"{before.where}: a broken line: {words}")
    words = f"number {line.seq} of {writer} does not follow number {before.seq} as it stands"
    return Problem(line.place, f"{line.where}: a broken line: {words}")


def _numbers(first: int, last: int, writer: str) -> str:
    return f"number {first} of {writer} is" if first == last else f"numbers {first} to {last} of {writer} are"
