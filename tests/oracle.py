"""What must hold when two vaults have come to rest, told by plain git and by reading files.

Nothing here uses the merge, the rules or the adapters that it judges: the paths of the cloud are those of promise S10,
object ids are computed by hand, and who may win is read from the commits' ancestry.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tests.vaults import MARKERS, Node, Two, git

CLOUD, LOCAL, PERSON = "cloud@ai-employee.invalid", "local@ai-employee.invalid", "ada@example.org"
CLOUD_MAY = [
    "Needs_Action/",
    "In_Progress/cloud/",
    "Plans/",
    "Pending_Approval/",
    "Updates/",
    "Signals/cloud",
    "Done/",
    "Quarantine/",
    "Logs/",
]
STAGES = ["Inbox", "Needs_Action", "In_Progress", "Pending_Approval", "Approved", "Rejected", "Done", "Quarantine"]
ANSWERED = ("Approved", "Rejected", "Done")
CONFLICTS = "Updates/conflicts/"


@dataclass
class Witness:
    """What happened, as the history itself saw it."""

    contents: set[bytes] = field(default_factory=set)  # files that lay somewhere when a sync began that succeeded
    lines: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))  # the same for logs, by path
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # writer → lines that it appended
    kept: set[str] = field(default_factory=set)  # conflict copies that a sync spoke of
    forged: set[str] = field(default_factory=set)  # commits under a false name
    #: Lines of the Cloud that a forger with its key took away, the log with them, before Local had them: Local's log
    #: stands, as it was, and so they are gone. What Local had must stand.
    taken: set[bytes] = field(default_factory=set)
    refused: dict[str, set[str]] = field(default_factory=dict)  # zone → what its last sync refused

    def saw(self, files: dict[str, bytes]) -> None:
        """These files lay in a vault when a sync began that came to a good end."""
        for path, data in files.items():
            if path.endswith(".jsonl"):
                self.lines[path] |= set(data.splitlines())
            else:
                self.contents.add(data)


@dataclass
class Change:
    """A commit with one parent: who made it, and path → blob (None: removed)."""

    oid: str
    local: bool
    paths: dict[str, str | None]


class Ancestry:
    """The remote's history: its commits, oldest first, and who descends from whom."""

    def __init__(self, remote: Path, forged: set[str]) -> None:
        arguments = ["-c", "core.quotePath=false", "log", "--topo-order", "--reverse", "--raw", "-z", "--root"]
        arguments += ["--no-abbrev", "--no-renames", "--format=%x01%H%x02%P%x02%ae%x02", "main"]
        self.changes: list[Change] = []
        self.people = False  # whether a person pushed, who may bring two names that clash
        self._before: dict[str, int] = {}
        self._bit: dict[str, int] = {}
        for block in git(remote, *arguments).split("\x01")[1:]:
            oid, parents, author, raw = block.split("\x02")
            self._bit[oid] = 1 << len(self._bit)
            self._before[oid] = self._bit[oid]
            for parent in parents.split():
                self._before[oid] |= self._before[parent]
            fields = raw.strip("\0\n").split("\0") if len(parents.split()) < 2 else []
            paths = {}
            for description, path in zip(fields[::2], fields[1::2], strict=True):
                blob = description.split(" ")[3]
                paths[path] = None if set(blob) == {"0"} else blob
            local = oid not in forged and author in (LOCAL, PERSON)
            self.people |= author == PERSON
            self.changes.append(Change(oid, local, paths))

    def descends(self, newer: str, older: str) -> bool:
        """Whether who made `newer` had seen `older`."""
        return bool(self._before[newer] & self._bit[older])

    def newest(self, changes: Iterable[Change]) -> list[Change]:
        """Those that none of the others has seen."""
        found = list(changes)
        return [one for one in found if not any(o is not one and self.descends(o.oid, one.oid) for o in found)]


def fold(path: str) -> str:
    """Names that are one on macOS and Windows."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def stage(path: str) -> str | None:
    """The stage that a path lies in."""
    top, _, rest = path.partition("/")
    return top if rest and top in STAGES else None


def name(path: str) -> str:
    """The last part of a path."""
    return path.rpartition("/")[2]


def blob(data: bytes) -> str:
    """git's name for a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class Oracle:
    """Judges two vaults at rest."""

    def __init__(self, two: Two, witness: Witness) -> None:
        self._two = two
        self._witness = witness
        self._ancestry = Ancestry(two.remote, witness.forged)
        self._files = self._tree()

    def judge(self) -> None:
        """Everything that must hold. Raises `AssertionError`."""
        self.both_agree()
        self.nothing_is_left_behind()
        self.nothing_is_lost()
        self.logs_are_whole()
        self.one_task_one_place()
        self.locals_word_stands()
        self.cloud_kept_to_its_paths()

    def _tree(self) -> dict[str, str]:
        listing = git(self._two.remote, "ls-tree", "-r", "-z", "--full-tree", "main")
        records = (record.partition("\t") for record in listing.split("\0") if record)
        return {path: description.split(" ")[2] for description, _, path in records}

    # --- S2 ----------------------------------------------------------------------------------------------------------

    def both_agree(self) -> None:
        """Both vaults lie as main says; only a name that clashes with another is left where it is, untracked."""
        for node in (self._two.a, self._two.b):
            lying = {path: blob(data) for path, data in node.files().items()}
            extra = {path for path in set(lying) - set(self._files) if self._may_stay(node, path)}
            for path in extra:
                del lying[path]
            differ = {p for p in {*lying, *self._files} if lying.get(p) != self._files.get(p)}
            assert not differ, f"{node.zone} differs from main: {sorted(differ)}"
            assert node.git("rev-parse", "HEAD").strip() == self._two.head(), node.zone
            status = node.git(
                "-c", "core.quotePath=false", "-c", "core.untrackedCache=false", "status", "--porcelain", "-z", "-uall"
            ).split("\0")
            assert {line for line in status if line} == {f"?? {path}" for path in extra}, status

    def _may_stay(self, node: Node, path: str) -> bool:
        if path not in self._witness.refused.get(node.zone, ()):
            return False
        return any(_clash(fold(other), fold(path)) for other in self._files)

    def nothing_is_left_behind(self) -> None:
        """No marker, no lock, no half-done operation, no process."""
        for node in (self._two.a, self._two.b):
            assert node.state_of_git() == [], node.zone
            for path, data in node.files().items():
                assert not any(line.startswith(MARKERS) for line in data.splitlines()), f"marker in {path}"
        assert not list(self._two.remote.rglob("*.lock"))
        assert _git_processes(self._two.folder) == []

    # --- S1 ----------------------------------------------------------------------------------------------------------

    def nothing_is_lost(self) -> None:
        """Every content that a sync saw is reachable from main, alone or inside the copy that keeps it, or lies where
        sync refused it."""
        lying = {data for node in (self._two.a, self._two.b) for data in node.files().values()}
        missing = [data for data in self._witness.contents - lying if blob(data) not in self._objects]
        for data in missing:
            assert any(data in copy for copy in self._copies), f"lost: {data!r}"
        gone = {path for path in self._witness.kept if path not in self._files}
        assert not gone, f"a sync said that it keeps {sorted(gone)}"

    @cached_property
    def _objects(self) -> dict[str, str]:
        """Every object that main reaches → a path of it."""
        lines = git(self._two.remote, "rev-list", "--objects", "main").splitlines()
        return {oid: path for oid, _, path in (line.partition(" ") for line in lines)}

    @cached_property
    def _copies(self) -> list[bytes]:
        """All conflict copies of all times."""
        remote = self._two.remote
        copies = [oid for oid, path in self._objects.items() if path.startswith(CONFLICTS)]
        return [git(remote, "cat-file", "-p", oid).encode("utf-8", "surrogateescape") for oid in copies]

    def logs_are_whole(self) -> None:
        """No line lost, none doubled, each writer's in the order it wrote them."""
        numbers = defaultdict(list)
        taken = [json.loads(line) for line in self._witness.taken]
        for path, seen in self._witness.lines.items():
            assert path in self._files, f"{path} is gone"
            lines = self._two.a.read(path).splitlines()
            lost = seen - set(lines) - self._witness.taken
            assert not lost, f"lost from {path}: {lost}"
            for entry in map(json.loads, lines):
                if "writer" in entry:
                    numbers[entry["writer"]].append(entry["n"])
        for writer, count in self._witness.counts.items():
            gone = {entry["n"] for entry in taken if entry.get("writer") == writer} - set(numbers[writer])
            assert numbers[writer] == [n for n in range(count) if n not in gone], f"{writer}: {numbers[writer]}"

    # --- S4, S3 ------------------------------------------------------------------------------------------------------

    def one_task_one_place(self) -> None:
        """Every task that was ever committed lies in one stage."""
        places: dict[str, list[str]] = defaultdict(list)
        for change in self._ancestry.changes:
            for path, oid in change.paths.items():
                if oid and stage(path) and path.endswith(".md") and change.oid not in self._witness.forged:
                    places[name(path)] = []
        for path in self._files:
            if stage(path) and path.endswith(".md"):
                places[name(path)].append(path)
        for task, lying in places.items():
            assert len(lying) == 1, f"{task} lies in {lying or 'no stage'}"
            self._the_right_place(task, lying[0])

    def _the_right_place(self, task: str, place: str) -> None:
        touching = [c for c in self._ancestry.changes if any(stage(p) and name(p) == task for p in c.paths)]
        local = self._ancestry.newest(change for change in touching if change.local)
        if len(local) == 1:
            put = {p: oid for p, oid in local[0].paths.items() if oid and name(p) == task and stage(p)}
            answered = any(stage(path) in ANSWERED for path in put)
            seen_by_cloud = any(not c.local and self._ancestry.descends(c.oid, local[0].oid) for c in touching)
            if put and (answered or not seen_by_cloud) and stage(next(iter(put))) != "In_Progress":
                assert put == {place: self._files[place]}, f"Local put {task} at {put}, but it lies at {place}"
        claims = [change for change in touching if _is_claim(change, task)]
        if len(touching) == 3 and len(claims) == 2 and len(self._ancestry.newest(claims)) == 2:
            first = self._first_on_main(claims)
            assert first.paths.get(place) is not None, f"{task} was claimed first by {first.paths}, but lies at {place}"

    def _first_on_main(self, changes: list[Change]) -> Change:
        tips = git(self._two.remote, "reflog", "show", "--format=%H", "main").split()[::-1]
        return next(c for tip in tips for c in changes if self._ancestry.descends(tip, c.oid))

    def locals_word_stands(self) -> None:
        """At a path that the Local zone wrote lies its last version, or one of the cloud's that was made knowing it."""
        everything = {path for change in self._ancestry.changes if change.local for path in change.paths}
        by_all = {path for change in self._ancestry.changes for path in change.paths}
        rivals = by_all if self._ancestry.people else everything
        for path in everything:
            clashing = any(other != path and _clash(fold(other), fold(path)) for other in rivals)
            if path.endswith(".jsonl") or stage(path) or path.startswith(CONFLICTS) or clashing:
                continue
            touching = [change for change in self._ancestry.changes if path in change.paths]
            last = self._ancestry.newest(change for change in touching if change.local)
            allowed = {change.paths[path] for change in last}
            if path.startswith(tuple(CLOUD_MAY)):
                later = [c for c in touching if any(self._knew_or_uncontested(touching, path, c, one) for one in last)]
                allowed |= {change.paths[path] for change in later}
            assert self._files.get(path) in allowed, f"{path}: not the Local zone's last version"

    def _knew_or_uncontested(self, touching: list[Change], path: str, cloud: Change, local: Change) -> bool:
        """Whether who made the cloud's version had seen Local's, or Local's is but what both had before, or what the
        Cloud had come to by itself before (both deleted a note, and the Cloud then made a new one there)."""
        if self._ancestry.descends(cloud.oid, local.oid):
            return True
        before = [c for c in touching if c is not cloud and self._ancestry.descends(cloud.oid, c.oid)]
        if any(one.paths[path] == local.paths[path] for one in self._ancestry.newest(before)):
            return True
        both = [c for c in touching if all(self._ancestry.descends(one.oid, c.oid) for one in (cloud, local))]
        return local.paths[path] == (both[-1].paths[path] if both else None)

    # --- S10 ---------------------------------------------------------------------------------------------------------

    def cloud_kept_to_its_paths(self) -> None:
        """Where the cloud may not write lies only what the Local zone put there, and an honest cloud sent nothing."""
        made: dict[str, set[str | None]] = defaultdict(set)
        for change in self._ancestry.changes:
            for path, oid in change.paths.items():
                if change.local:
                    made[path].add(oid)
                elif change.oid not in self._witness.forged:
                    assert path.startswith(tuple(CLOUD_MAY)), f"the cloud's node committed {path}"
        for path, oid in self._files.items():
            last = self._ancestry.newest(c for c in self._ancestry.changes if c.local and path in c.paths)
            touched = path.startswith("Pending_Approval/") and any(change.paths[path] for change in last)
            if touched or not path.startswith(tuple(CLOUD_MAY)):
                assert oid in made[path], f"{path} was not written by the Local zone"


def _is_claim(change: Change, task: str) -> bool:
    mine = {path: oid for path, oid in change.paths.items() if name(path) == task}
    put = [path for path, oid in mine.items() if oid]
    return len(put) == 1 and len(mine) == 2 and stage(put[0]) == "In_Progress"


def _clash(one: str, other: str) -> bool:
    """Whether two folded paths can't stand side by side."""
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")


def _git_processes(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text().startswith("git") and folder in (process / "cwd").readlink().parents:
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found
