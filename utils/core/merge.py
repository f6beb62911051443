"""The merge, as a decision over values: which bytes lie where after two nodes changed one vault.

Path by path, without rename detection. A side that did not touch a path yields to the side that did. Where both did,
the Local zone's version stands whichever node runs the merge, so both compute the same tree. Nothing is lost: a version
that yields is kept aside (`Aside`), logs are united line by line (`Union`), and a task lies in one stage only.
"""

from __future__ import annotations

import bisect
import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from utils.core.routing import LOCAL
from utils.core.stages import Stage
from utils.core.sync_rules import fold, harmless, is_log
from utils.core.task import ID_PATTERN

CONFLICTS = "Updates/conflicts/"
FILE = "100644"
_LONGEST_NAME = 250
_MOST_PAIRS = 1_000_000
#: Ends that a task reaches on Local. Of two, the one that tells of an act is the higher.
_ENDS = {Stage.DONE: 2, Stage.REJECTED: 1}
_EMPTY = (
    "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
    "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
)
_COPY = re.compile(r"(.+)\.(local|cloud|merge)\.[0-9a-f]{8}(\.[A-Za-z0-9]{1,8})", re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """A file of a tree: its mode (git's octal) and its blob."""

    mode: str
    oid: str

    @property
    def is_empty(self) -> bool:
        """Whether the file holds no byte. (git's object id of nothing, in either of its hashes.)"""
        return self.oid in _EMPTY


#: path → the entry after the change, or None where the file was removed. Paths that did not change are absent.
Changes = Mapping[str, Entry | None]


@dataclass(frozen=True)
class Aside:
    """A version that lost: `entry` of `zone` at `path` yielded to `winner`'s, and is kept at `kept_at`.

    `by`: the person who wrote it, where no node did; the zone only says by whose rules it was judged.
    """

    path: str
    entry: Entry
    zone: str
    winner: str
    kept_at: str
    why: str
    by: str = ""


@dataclass(frozen=True)
class Union:
    """A log that both sides appended to: the blobs of both, Local's first, and of what they began with (None:
    nothing), to be united by `unite`."""

    path: str
    local: str
    other: str
    base: str | None = None


@dataclass(frozen=True)
class LostClaim:
    """A task that both sides took: it lies at `stands`; the claim at `lost` is void."""

    task: str
    stands: str
    lost: str


@dataclass
class Plan:
    """What to do to *our* tree: `changes` (relative to ours), versions to keep, logs to unite, claims that are void."""

    changes: dict[str, Entry | None] = field(default_factory=dict)
    asides: list[Aside] = field(default_factory=list)
    unions: list[Union] = field(default_factory=list)
    lost_claims: list[LostClaim] = field(default_factory=list)


@dataclass(frozen=True)
class _Sides:
    """Both sides of a merge and how to tell them apart."""

    base: Mapping[str, Entry | None]
    ours: Changes
    theirs: Changes
    zone: str  # of this node
    their_zone: Callable[[str], str]
    settled: Collection[str]

    def our(self, path: str) -> Entry | None:
        return self.ours[path] if path in self.ours else self.base.get(path)

    def their(self, path: str) -> Entry | None:
        return self.theirs[path] if path in self.theirs else self.base.get(path)

    @property
    def we_win(self) -> bool:
        """Local's version stands; between two clones of one zone, on Local the one that lies here, else main's."""
        return self.zone == LOCAL


def decide(
    base: Mapping[str, Entry | None],
    ours: Changes,
    theirs: Changes,
    *,
    zone: str,
    their_zone: Callable[[str], str],
    stage_at: Callable[[str], Stage | None],
    settled: Collection[str] = (),
) -> Plan:
    """The merge of two sets of changes to `base`.

    `base` holds the entries, before, of every path that either side changed (absent or None: no such file). `zone` is
    this node's; `their_zone(path)` says who made their change. `settled`: their paths that are as Local itself left
    them, and that it lacks only because it was put back. The plan's changes are relative to our tree.
    """
    sides = _Sides(base, ours, theirs, zone, their_zone, settled)
    plan = Plan()
    final: dict[str, Entry | None] = {}
    for path in sorted({*ours, *theirs}):
        final[path] = _decide_path(path, sides, plan)
    _one_place_for_each_task(final, sides, plan, stage_at)
    _no_clashing_names(final, sides, plan)
    plan.changes |= {path: entry for path, entry in final.items() if entry != sides.our(path)}
    return plan


def _decide_path(path: str, sides: _Sides, plan: Plan) -> Entry | None:
    """What lies at `path` in the end; a version that yields goes to the plan's asides."""
    if path not in sides.theirs:
        return sides.ours[path]
    if path not in sides.ours:
        return sides.theirs[path]
    ours, theirs = sides.ours[path], sides.theirs[path]
    if ours == theirs:
        return ours
    winner, loser = (ours, theirs) if sides.we_win else (theirs, ours)
    if is_log(path) and (winner or loser):
        if winner is None or loser is None:
            return winner or loser  # a log is never lost because the other side tidied it away
        base = sides.base.get(path)
        plan.unions.append(Union(path, winner.oid, loser.oid, base.oid if base else None))
        return winner  # stands in until the union is made
    if loser is not None and loser != sides.base.get(path):
        _keep_aside(plan, path, loser, sides, "both sides changed it")
    return winner


def _keep_aside(plan: Plan, path: str, entry: Entry, sides: _Sides, why: str) -> None:
    if entry.is_empty:
        return  # there is nothing to keep
    losing, winning = sides.their_zone(path), sides.zone
    if not sides.we_win:
        losing, winning = winning, losing
    plan.asides.append(Aside(path, entry, losing, winning, conflict_path(path, losing, entry.oid), why))


def conflict_path(path: str, zone: str, oid: str) -> str:
    """`Updates/conflicts/<original path>.<losing zone>.<short sha>.md`; other kinds of file keep their ending.

    A copy of a copy stays beside it, with a suffix of its own instead of the first one's. A name that would get too
    long is shortened; one that sync would refuse is made harmless.
    """
    folder, _, name = harmless(path.removeprefix(CONFLICTS)).rpartition("/")
    ending = re.search(r"\.[A-Za-z0-9]{1,8}$", name)
    copy = _COPY.fullmatch(name) if path.startswith(CONFLICTS) else None
    if copy:
        name = copy[1]
    suffix = f".{zone}.{oid[:8]}{ending.group() if ending else '.md'}"
    room = _LONGEST_NAME - len(suffix.encode())
    name = name.encode("utf-8", "surrogateescape")[:room].decode("utf-8", "ignore")
    return CONFLICTS + (f"{folder}/" if folder else "") + name + suffix


def original_of(kept_at: str) -> tuple[str, str | None]:
    """The path and the losing zone that the name of a kept version tells; None where it tells no zone."""
    path = kept_at.removeprefix(CONFLICTS)
    copy = _COPY.fullmatch(path)
    return (copy[1], copy[2]) if copy else (path, None)


def lost(changes: Mapping[str, tuple[Entry | None, Entry | None]]) -> list[str]:
    """Paths whose file goes and does not come again elsewhere, as the same bytes or, edited, under the same name. What
    comes stands for one file that goes."""
    gone = {path: before for path, (before, after) in changes.items() if before and not after}
    came = {path: after.oid for path, (before, after) in changes.items() if after and before != after}
    by_bytes: dict[str, list[str]] = defaultdict(list)
    for path, oid in came.items():
        by_bytes[oid].append(path)
    missing = []
    for path, before in gone.items():
        if same := by_bytes.get(before.oid):
            del came[same.pop()]
        else:
            missing.append(path)
    by_name = Counter(path.rpartition("/")[2] for path in came if not changes[path][0])
    found = []
    for path in missing:
        name = path.rpartition("/")[2]
        if by_name[name]:
            by_name[name] -= 1
        else:
            found.append(path)
    return found


# --- a task lies in one stage ----------------------------------------------------------------------------------------


def _one_place_for_each_task(
    final: dict[str, Entry | None], sides: _Sides, plan: Plan, stage_at: Callable[[str], Stage | None]
) -> None:
    """Where both sides put one task into different stages, keep one place (S4).

    Local's place stands, unless it is a mere claim: of two claims the one that is on main already stands. What a Local
    that was put back did before stands too: whatever it does with an old task, the mail has gone.
    """
    for name, paths in _tasks(final, stage_at).items():
        left = [path for path in paths if final[path] is not None]
        our_places = [path for path in paths if sides.our(path)]
        their_places = [path for path in paths if sides.their(path)]
        if len(left) < 2 or len(our_places) > 1 or len(their_places) > 1:
            continue  # one place, or somebody made a copy by hand: that is theirs to tidy
        existed = any(sides.base.get(path) for path in paths)
        if not existed and not ID_PATTERN.match(name.removesuffix(".md")):
            continue  # two files that happen to have one name
        ours, theirs = our_places[0], their_places[0]
        local = ours if sides.we_win else theirs
        claim_only = stage_at(local) is Stage.IN_PROGRESS
        ended = theirs in sides.settled and _end(theirs, stage_at) > _end(ours, stage_at)
        stands = theirs if claim_only or ended else local
        lost = ours if stands == theirs else theirs
        yielding, standing = final[lost], final[stands]
        known = {entry.oid for entry in (standing, *(sides.base.get(path) for path in paths)) if entry}
        if yielding is not None and yielding.oid not in known and not yielding.is_empty:
            zone, winner = sides.zone, sides.their_zone(stands)
            if lost == theirs:
                zone, winner = sides.their_zone(lost), sides.zone
            kept = conflict_path(lost, zone, yielding.oid)
            plan.asides.append(Aside(lost, yielding, zone, winner, kept, f"the task lies at {stands}"))
        final[lost] = None
        if stage_at(lost) is Stage.IN_PROGRESS:
            plan.lost_claims.append(LostClaim(name.removesuffix(".md"), stands, lost))


def _end(path: str, stage_at: Callable[[str], Stage | None]) -> int:
    stage = stage_at(path)
    return _ENDS.get(stage, 0) if stage else 0


def _tasks(paths: Iterable[str], stage_at: Callable[[str], Stage | None]) -> dict[str, list[str]]:
    """File name → the paths, in stages, that have it."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(paths):
        name = path.rpartition("/")[2]
        if name.endswith(".md") and not name.endswith(".reason.md") and stage_at(path) is not None:
            found[name].append(path)
    return found


# --- names that can't stand side by side -----------------------------------------------------------------------------


def _no_clashing_names(final: dict[str, Entry | None], sides: _Sides, plan: Plan) -> None:
    """A file and a folder of one name, or names that differ in case or composition only: Local's stands.

    Only what the two sides changed can clash, because each side's own tree is possible: what was refused of theirs took
    with it what can't lie beside it (`utils.sync.judge`).
    """
    standing = {path: entry for path, entry in final.items() if entry is not None}
    by_fold: dict[str, list[str]] = defaultdict(list)
    for path in standing:
        by_fold[fold(path)].append(path)
    for path in sorted(standing):
        for folded in _prefixes(fold(path)):
            for other in by_fold.get(folded, ()):
                if other != path and final[other] is not None and final[path] is not None:
                    _settle_clash(path, other, final, sides, plan)


def clashes(standing: Iterable[str], coming: Iterable[str]) -> dict[str, str]:
    """path of `coming` → the one of `standing` beside which it can't lie: one needs a folder where the other is a file,
    or a part of their names differs in case or composition only."""
    files: dict[str, str] = {}
    folders: dict[str, tuple[str, str]] = {}  # folded → the folder's spelling, and a file in it
    for path in sorted(standing):
        files.setdefault(fold(path), path)
        for folder in _prefixes(path.rpartition("/")[0]):
            folders.setdefault(fold(folder), (folder, path))
    found: dict[str, str] = {}
    for path in coming:
        for part in _prefixes(path):
            folded = fold(part)
            spelling, inside = folders.get(folded, (part, path))
            if files.get(folded, path) != path:
                found[path] = files[folded]
            elif folded in folders and (part == path or spelling != part):
                found[path] = inside
    return found


def _settle_clash(path: str, other: str, final: dict[str, Entry | None], sides: _Sides, plan: Plan) -> None:
    in_ours = [p for p in (path, other) if sides.our(p)]
    in_theirs = [p for p in (path, other) if sides.their(p)]
    if len(in_ours) == 2 or len(in_theirs) == 2:
        return  # one side has both: possible there, so its own business
    stands = (in_ours if sides.we_win else in_theirs)[0]
    lost = other if stands == path else path
    entry = final[lost]
    if entry is not None:
        _keep_aside(plan, lost, entry, sides, f"its name clashes with {stands}")
    final[lost] = None


def _prefixes(path: str) -> Iterator[str]:
    """`path` and every folder above it."""
    while path:
        yield path
        path = path.rpartition("/")[0]


# --- logs ------------------------------------------------------------------------------------------------------------


def unite(local: bytes, other: bytes, extra: Sequence[bytes] = (), *, base: bytes = b"") -> bytes:
    """One log with every line of both, no line of one side doubled or moved before an earlier one of the same side.

    Lines that both have are written once. Where the two went different ways, lines are ordered by their `at`, Local's
    first. `extra` lines come last. Lines at the beginning of `base` that Local has rolled away are not brought back.
    """
    first, second = _lines(local), _lines(other)
    second = second[_rolled(_lines(base), first, second) :]
    start = 0
    while start < min(len(first), len(second)) and first[start] == second[start]:
        start += 1
    result = [*first[:start], *_interleave(first[start:], second[start:]), *extra]
    return b"".join(line + b"\n" for line in result)


def _rolled(base: list[bytes], local: list[bytes], other: list[bytes]) -> int:
    """How many lines `local` dropped from the beginning of `base`, where that is sure: it goes on with the rest of
    `base` (or has no line of it), and the other side has the whole."""
    if not base or not local or local[0] == base[0] or other[: len(base)] != base:
        return 0
    if local[0] in base:
        count = base.index(local[0])
        return count if local[: len(base) - count] == base[count:] else 0
    return 0 if set(local) & set(base) else len(base)


def _interleave(first: list[bytes], second: list[bytes]) -> Iterator[bytes]:
    i = j = 0
    for i2, j2 in [*_common(first, second), (len(first), len(second))]:
        yield from _by_time(first[i:i2], second[j:j2])
        yield from first[i2 : i2 + 1]
        i, j = i2 + 1, j2 + 1


def _common(first: Sequence[bytes], second: Sequence[bytes]) -> list[tuple[int, int]]:
    """Where the lines are that both have, rising in both.

    Equal lines of one side are told apart by their neighbours (`difflib`, quadratic), unless they are thousands.
    """
    ours, theirs = Counter(first), Counter(second)
    pairs = [count * theirs[line] for line, count in ours.items() if line in theirs]
    if len(pairs) < sum(pairs) <= _MOST_PAIRS:
        blocks = difflib.SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks()
        return [(block.a + n, block.b + n) for block in blocks for n in range(block.size)]
    return _rising(first, second)


def _rising(first: Sequence[bytes], second: Sequence[bytes]) -> list[tuple[int, int]]:
    """The most pairs of equal lines that rise in both, where the n-th of equal lines is paired with the n-th only.

    The longest rising subsequence (patience sorting), so n log n whatever the lines are.
    """
    places = {line: j for j, line in enumerate(_numbered(second))}
    pairs = [(i, places[line]) for i, line in enumerate(_numbered(first)) if line in places]
    ends: list[int] = []  # ends[k]: the smallest place in `second` at which k + 1 rising pairs can end, …
    last: list[int] = []  # … and the pair that does
    before: list[int] = []
    for number, (_, j) in enumerate(pairs):
        k = bisect.bisect_left(ends, j)
        before.append(last[k - 1] if k else -1)
        ends[k : k + 1] = [j]
        last[k : k + 1] = [number]
    found, number = [], last[-1] if last else -1
    while number >= 0:
        found.append(pairs[number])
        number = before[number]
    return found[::-1]


def _numbered(lines: Sequence[bytes]) -> Iterator[tuple[bytes, int]]:
    """Each line with how many equal ones came before it."""
    seen: Counter[bytes] = Counter()
    for line in lines:
        yield line, seen[line]
        seen[line] += 1


def _by_time(first: Sequence[bytes], second: Sequence[bytes]) -> Iterator[bytes]:
    i = j = 0
    while i < len(first) and j < len(second):
        if _time(second[j]) < _time(first[i]):
            yield second[j]
            j += 1
        else:
            yield first[i]
            i += 1
    yield from first[i:]
    yield from second[j:]


_AT = re.compile(rb'^\{"at":\s*"([^"]+)"')
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def _time(line: bytes) -> datetime:
    match = _AT.match(line)
    try:
        parsed = datetime.fromisoformat(match.group(1).decode()) if match else _LONG_AGO
    except ValueError:
        return _LONG_AGO
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _lines(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    return lines[:-1] if lines[-1] == b"" else lines


def note_for(aside: Aside, original: bytes) -> bytes:
    """The bytes of a kept version: Markdown gets a front-matter note on top, every other kind stays as it was.

    The note says nothing that depends on who merges or when, so both nodes write the same bytes.
    """
    if not aside.kept_at.endswith(".md"):
        return original
    fields = {"conflict": aside.path, "lost": aside.zone, "stands": aside.winner, "why": aside.why}
    fields |= {"by": aside.by} if aside.by else {}
    header = "".join(f"{key}: {_quoted(value)}\n" for key, value in fields.items())
    return f"---\n{header}---\n".encode("utf-8", "surrogateescape") + original


def _quoted(value: str) -> str:
    """A YAML double-quoted scalar. (`utils.vault.frontmatter` is a layer above; these values are plain text.)"""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
