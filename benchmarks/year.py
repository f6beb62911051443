"""A year of syncs: how the repository grows, and how long a sync takes at its end.

105,000 real syncs take longer than anybody waits, so the days are written as the commits that those syncs would make
(`history`), each day followed by the real packing of the repository. On the 8th day, in the middle and at the end both
nodes really live through part of a day, which also shows whether written days are like lived ones.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from benchmarks.history import History, git, relive
from benchmarks.life import Life, Turn
from benchmarks.nodes import vault_sync
from utils.adapters.git_keeper import GitKeeper
from utils.sync.housekeeping import TIME_LIMIT
from utils.vault.layout import Layout
from utils.vault_sync import SyncResult

START = datetime(2026, 1, 1)
_LIVED_AT_START, _LIVED_LATER = 24, 12
_REPEATS = 5


@dataclass
class Sizes:
    """What a repository holds: objects and kB, loose and packed; the number of packs."""

    loose: int
    loose_kb: int
    packed: int
    packs: int
    packed_kb: int

    @classmethod
    def of(cls, root: Path) -> Sizes:
        lines = git(root, "count-objects", "-v").splitlines()
        found = {key: int(value) for key, _, value in (line.partition(": ") for line in lines) if value.isdigit()}
        return cls(found["count"], found["size"], found["in-pack"], found["packs"], found["size-pack"])


@dataclass
class Measured:
    """What was seen at one moment of the year."""

    day: int
    rows: dict[str, str] = field(default_factory=dict)


class Year:
    """Lives through `days` days below `folder`."""

    def __init__(self, folder: Path, days: int, mails: int, keep_days: int | None, tell: Callable[[str], None]) -> None:
        self.folder = folder
        self.days = days
        self.tell = tell
        self.life = Life(START, mails=mails, keep_days=keep_days)
        self.root = folder / "history"
        self.loose_before: list[Sizes] = []
        self.packing: list[float] = []
        self.commits: list[int] = []

    def run(self) -> list[Measured]:
        """Every figure, in the order of the year."""
        self._begin()
        samples = {7, self.days // 2, self.days - 1}
        found = []
        for number in range(self.days):
            turns = self.life.day(number)
            if number in samples:
                noon = len(turns) // 2
                commits = self.history.live(turns[:noon])
                found.append(self._sample(number, turns[noon:]))
                self._write_day(turns[noon:], commits, loose=True)
            else:
                self._write_day(turns, loose=number < 2)
            sizes = Sizes.of(self.root)
            self.tell(f"day {number + 1} of {self.days}: {sizes.packed_kb / 1024:.0f} MB in {sizes.packs} packs")
        return found

    def _begin(self) -> None:
        remote = self.folder / "seed.git"
        git(self.folder, "init", "-q", "--bare", "--initial-branch=main", str(remote))
        first = Node("local", self.folder / "seed", remote)
        first.sync.prepare(str(remote))
        git(self.folder, "clone", "-q", "--no-checkout", str(remote), str(self.root))
        self.history = History(self.root)

    def _write_day(self, turns: list[Turn], commits: int = 0, *, loose: bool) -> None:
        self.commits.append(commits + self.history.live(turns, loose=loose))
        self.loose_before.append(Sizes.of(self.root))
        self.packing.append(pack(self.root))

    def _sample(self, number: int, turns: list[Turn]) -> Measured:
        """Bring both nodes to this day, measure, and let them live through some of its syncs."""
        self.tell(f"day {number + 1}: two real nodes are made")
        place = self.folder / "lived"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        git(place, "clone", "-q", "--bare", str(self.root), "remote.git")
        nodes = {zone: Node.joining(zone, place / zone, place / "remote.git") for zone in ("local", "cloud")}
        local, cloud = nodes["local"], nodes["cloud"]
        for node in (local, cloud):
            node.run()
        found = Measured(number)
        rows = found.rows
        rows["notes in the vault"] = f"{len(git(local.root, 'ls-files').splitlines()):,}"
        sizes = Sizes.of(self.root)
        rows["repository, packed (MB)"] = f"{sizes.packed_kb / 1024:.1f}"
        rows["objects / packs"] = f"{sizes.packed:,} / {sizes.packs}"
        rows["`.git/index` (MB)"] = f"{(local.root / '.git/index').stat().st_size / 1e6:.1f}"
        rows["`git status` (ms)"] = milliseconds(lambda: git(local.root, "status", "--porcelain"))
        rows["sync, nothing to do (ms)"] = milliseconds(local.run)
        lived = self._lived(nodes, turns, _LIVED_AT_START if number <= 7 else _LIVED_LATER)
        rows |= lived
        rows["sync, one note changed (ms)"] = milliseconds(local.run, before=lambda n: local.note(f"one-{n}"))
        rows["its arrival on the other node (ms)"] = f"{timed(cloud.run) * 1000:.0f}"
        rows["sync, 100 notes changed (ms)"] = milliseconds(
            local.run, before=lambda n: [local.note(f"hundred-{n}-{k}") for k in range(100)], repeats=2
        )
        rows["packing the lived part (s)"] = f"{pack(local.root):.1f}"
        return found

    def _lived(self, nodes: dict[str, Node], turns: list[Turn], syncs: int) -> dict[str, str]:
        """Real syncs of part of a day; what they cost, beside the same day written."""
        copy = self.folder / "written"
        shutil.rmtree(copy, ignore_errors=True)
        git(self.folder, "clone", "-q", "--no-checkout", str(self.root), str(copy))
        part = turns[: 2 * syncs]
        before, seconds = Sizes.of(nodes["local"].root), []
        for turn in part:
            node = nodes[turn.node]
            relive(Layout(node.root), turn)
            took = timed(node.run)
            if turn.ops:
                seconds.append(took)
            self.tell(f"living through {turn.at:%H:%M} on {turn.node}")
        there_before, written = Sizes.of(copy), History(copy).live(part)
        start = git(copy, "rev-parse", "origin/main").strip()
        lived = git(nodes["local"].root, "rev-list", "--count", f"{start}..HEAD").strip()
        after, there = Sizes.of(nodes["local"].root), Sizes.of(copy)
        objects = (after.loose - before.loose, there.loose - there_before.loose)
        kilobytes = (after.loose_kb - before.loose_kb, there.loose_kb - there_before.loose_kb)
        return {
            f"real syncs ({syncs} a node): with changes, median / longest (ms)": (
                f"{sorted(seconds)[len(seconds) // 2] * 1000:.0f} / {max(seconds) * 1000:.0f}" if seconds else "none"
            ),
            "commits, lived / written": f"{lived} / {written}",
            "new objects, lived / written": f"{objects[0]:,} / {objects[1]:,}",
            "loose kB, lived / written": f"{kilobytes[0]:,} / {kilobytes[1]:,}",
        }


class Node:
    """One node's real vault and sync."""

    def __init__(self, zone: str, root: Path, remote: Path) -> None:
        self.root = root
        self.sync = vault_sync(zone, root, root.with_name(f"{root.name}-state"))

    @classmethod
    def joining(cls, zone: str, root: Path, remote: Path) -> Node:
        """A node whose vault holds what the remote has. (By plain git, which is quick with 300,000 notes.)"""
        git(remote.parent, "clone", "-q", str(remote), str(root))
        node = cls(zone, root, remote)
        node.sync.prepare(str(remote))
        return node

    def run(self) -> SyncResult:
        """One sync, which must succeed."""
        result = self.sync.run()
        if result.result not in ("noop", "ok"):
            raise RuntimeError(f"{self.root.name}: {result.summary()}")
        return result

    def note(self, name: str) -> None:
        """A person writes a note."""
        (self.root / "Briefings").mkdir(exist_ok=True)
        (self.root / "Briefings" / f"{name}.md").write_text(f"# {name}\n\n{time.time()}\n")


def pack(root: Path) -> float:
    """The vault's daily packing; seconds."""
    return timed(lambda: GitKeeper(root).pack(2 * TIME_LIMIT))


def timed(work: Callable[[], object]) -> float:
    """How many seconds `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def milliseconds(
    work: Callable[[], object], *, before: Callable[[int], object] = lambda n: None, repeats: int = _REPEATS
) -> str:
    """The median of some runs."""
    taken = []
    for number in range(repeats):
        before(number)
        taken.append(timed(work) * 1000)
    return f"{sorted(taken)[repeats // 2]:.0f}"


def run(days: int, mails: int, keep_days: int, keep: str | None = None) -> str:
    """Markdown tables. `keep_days` as `DONE_KEEP_DAYS` (0: no housekeeping of the vault); `keep`: an empty folder."""
    folder = Path(keep) if keep else Path(tempfile.mkdtemp(prefix="ai-employee-year-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        year = Year(folder, days, mails, keep_days or None, Progress())
        return report(year, year.run())
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


class Progress:
    """Says how far we are: on one line of a terminal, else every ten seconds."""

    def __init__(self) -> None:
        self._said = 0.0

    def __call__(self, text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._said > 10:
            self._said = time.monotonic()
            print(text, file=sys.stderr, flush=True)


def report(year: Year, found: list[Measured]) -> str:
    """The year as tables."""
    rows = ["| | " + " | ".join(f"day {m.day + 1}" for m in found) + " |", "|---|" + "---|" * len(found)]
    names = list(dict.fromkeys(name for measured in found for name in measured.rows))
    rows += [f"| {name} | " + " | ".join(m.rows.get(name, "") for m in found) + " |" for name in names]
    last = Sizes.of(year.root)
    tail = [
        "",
        f"At the end of {year.days} days: {sum(year.commits):,} commits, {last.packed:,} objects in {last.packs} packs,"
        f" {last.packed_kb / 1024:.1f} MB. Written in a day before its packing (first / middle / last):",
        "",
        "| | first day | middle | last day |",
        "|---|---|---|---|",
    ]
    days = (0, year.days // 2, year.days - 1)
    tail.append("| commits | " + " | ".join(f"{year.commits[day]}" for day in days) + " |")
    tail.append("| loose objects | " + " | ".join(f"{year.loose_before[day].loose:,}" for day in days) + " |")
    tail.append("| loose MB | " + " | ".join(f"{year.loose_before[day].loose_kb / 1024:.1f}" for day in days) + " |")
    tail.append("| packing (s) | " + " | ".join(f"{year.packing[day]:.1f}" for day in days) + " |")
    tail.append(f"| packing, longest of all days (s) | | | {max(year.packing):.1f} |")
    return "\n".join(rows + tail)
