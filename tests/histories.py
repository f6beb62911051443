"""Random histories of two vaults, a remote and at times a phone: a hypothesis state machine, judged by `tests.oracle`.

A history is a dozen events (people write and move, agents claim and draft, nodes sync, are killed, meet each other in
mid-sync), then both nodes sync until nothing changes, then everything that was promised must hold.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.oracle import CLOUD, LOCAL, Oracle, Witness, fold
from tests.vaults import Node, Two, git
from utils.claim_task import Claims
from utils.core.stages import Stage
from utils.core.task import format_time
from utils.vault import jsonl
from utils.vault.layout import Layout
from utils.vault.memory import Memory
from utils.vault_sync import SyncResult

#: Few, so that they collide: a path of both zones, one of Local's, case, composition, file and folder, other kinds.
PATHS = (
    "Plans/email/trip.md",
    "Plans/email/Trip.md",
    "Plans/email/trip.md/inside.md",
    "Plans/caf\u00e9.md",
    "Plans/cafe\u0301.md",
    "Plans/gr\u00fcn \u65e5\u672c/x y.md",
    "Updates/news.png",
    "note.md",
    "Dashboard.md",
)
TASKS = tuple(f"email-20260601T10000{n}Z-0a1b2c3d" for n in range(2))
DRAFTS = tuple(f"email-20260601T11000{n}Z-0a1b2c3d" for n in range(2))
LOG = "Logs/actions/2026-06-01.jsonl"
#: Where a forger puts a folder in the place of a file that only Local may take away.
BELOW_FILES = (
    f"{LOG}/below-log.md",
    f"Pending_Approval/email/{DRAFTS[0]}.md/below-draft.md",
    f"Done/{TASKS[0]}.md/below-done.md",
)
STEPS = ("gathered", "committed", "fetched", "decided", "pushed", "intent", "file", "applied", "moved")
GOOD = ("noop", "ok", "conflicts")
ROUNDS = 7

Moment = tuple[str, int]  # a checkpoint, and the how-manieth time
Event = tuple[Any, ...]  # what is done (a method `do_…`), and its arguments

nodes = st.sampled_from("ab")
authors = st.sampled_from((CLOUD, LOCAL))
paths = st.sampled_from((*PATHS[:1] * 4, *PATHS))  # one is fought for
tasks = st.sampled_from((TASKS[0], *TASKS, *DRAFTS))
moments = st.one_of(
    st.tuples(st.sampled_from(STEPS), st.just(1)),
    st.tuples(st.sampled_from(("file", "gathered", "put right")), st.integers(1, 4)),
)
writes = st.tuples(st.just("write"), paths, st.sampled_from(("text", "crlf", "open", "same", "empty", "binary")))
events = st.one_of(
    writes,
    writes,
    writes,
    st.tuples(st.just("delete"), paths),
    st.tuples(st.just("rename"), paths, paths),
    st.tuples(st.just("append")),
    st.tuples(st.just("create"), st.sampled_from(TASKS)),
    st.tuples(st.just("draft"), st.sampled_from(DRAFTS)),
    st.tuples(st.just("claim"), st.sampled_from((*TASKS[:1] * 2, *TASKS))),
    st.tuples(st.just("edit_task"), tasks),
    st.tuples(st.just("move"), tasks, st.sampled_from(("Approved", "Rejected", "Done", "Needs_Action/general"))),
)
meetings = st.one_of(
    events,
    st.tuples(st.just("other_syncs")),
    st.tuples(st.just("other_is_killed"), moments),
    st.tuples(st.just("phone"), paths, st.just(True)),
)
elsewhere = st.one_of(
    st.tuples(st.just("phone"), paths, st.booleans()),
    st.tuples(st.just("forge"), st.sampled_from((*PATHS, *BELOW_FILES, "Approved/x.md", ".gitattributes")), authors),
    st.tuples(st.just("clock_jump"), st.sampled_from((-50, -1, 1, 30))),
)
works = st.lists(st.tuples(nodes, st.one_of(events, events, events, elsewhere)), min_size=1, max_size=6)
hows = st.one_of(
    st.tuples(st.just("sync")),
    st.tuples(st.just("meet"), moments, meetings),
    st.tuples(st.just("killed"), moments),
    st.tuples(st.sampled_from(("both_at_once", "refused_once"))),
)


@dataclass
class Counts:
    """How much was done, over all histories of this process."""

    histories: int = 0
    rounds: int = 0
    syncs: int = 0
    kills: int = 0
    meetings: int = 0
    conflicts: int = 0


COUNTS = Counts()
PLAYED: list[dict[str, Any]] = []  # the rounds of the history that is played
FAILED: list[str] = []  # the history that failed first, as calls, and how


class History(RuleBasedStateMachine):
    """One history. Hypothesis calls the rules in an order of its choice."""

    def __init__(self) -> None:
        super().__init__()
        memory = Path("/dev/shm")
        PLAYED.clear()
        self.folder = Path(tempfile.mkdtemp(prefix="history-", dir=memory if os.access(memory, os.W_OK) else None))
        self.two = Two(self.folder, like=_start())
        self.witness = Witness()
        self.witness.saw(self.two.a.files())
        self.number = 0
        self.busy: dict[str, dict[str, bytes]] = {}  # node → what lay there when its running sync began
        self.no_pause = mock.patch("utils.vault_sync.random.uniform", return_value=0.0)
        self.no_pause.start()

    def teardown(self) -> None:
        try:
            with _failure_noted():
                self.come_to_rest()
            COUNTS.histories += 1
        finally:
            self.no_pause.stop()
            shutil.rmtree(self.folder, ignore_errors=True)

    def come_to_rest(self) -> None:
        """Sync both until two rounds changed nothing, then judge."""
        quiet = 0
        for _ in range(ROUNDS):
            results = [self.sync("a"), self.sync("b")]
            quiet = quiet + 1 if all(result.result == "noop" for result in results) else 0
            if quiet == 2:
                break
        assert quiet == 2, f"no rest after {ROUNDS} rounds: {[result.summary() for result in results]}"
        Oracle(self.two, self.witness).judge()

    # --- means -------------------------------------------------------------------------------------------------------

    def node(self, name: str) -> Node:
        return self.two.a if name == "a" else self.two.b

    def claims(self, name: str) -> Claims:
        node = self.node(name)
        return Claims(Layout(node.root), node.state, node.clock, node.zone)

    def content(self, kind: str) -> bytes:
        self.number += 1
        text = b"text %d" % self.number
        return {
            "text": text + b"\n",
            "crlf": text + b"\r\nmore\n",
            "open": "— ".encode() + text,
            "same": b"the same everywhere\n",
            "empty": b"",
            "binary": b"\x89PNG\0\xff" + text,
        }[kind]

    def overwritten(self, name: str, path: str) -> None:
        """A person changes `path`: what lay there was not seen by a sync that only begins."""
        target = self.node(name).root / path
        if name in self.busy and target.is_file():
            self.busy[name].pop(path, None)

    def put(self, root: Path, path: str, data: bytes, forget: Callable[[str], None] = lambda path: None) -> None:
        """Write like a person in an editor: what stands in the way is renamed or gives way."""
        place = root
        for part in path.split("/"):
            if place.is_dir() and not os.path.lexists(place / part):
                for other in [p for p in place.iterdir() if fold(p.name) == fold(part)]:
                    forget(other.relative_to(root).as_posix())
                    other.rename(place / part)
            place /= part
            if place != root / path and place.is_file():
                forget(place.relative_to(root).as_posix())
                place.unlink()
        if place.is_dir():
            shutil.rmtree(place)
        forget(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)

    def sync(self, name: str, during: Callable[[str], None] = lambda step: None) -> SyncResult:
        """One sync in this process, told apart from its neighbours; `during` is called at each checkpoint."""
        node = self.node(name)
        self.busy[name] = node.files()
        gathered: dict[str, bytes] = {}

        def checkpoint(step: str) -> None:
            if step == "gathered" and name in self.busy:
                gathered.update(self.busy.pop(name))
            during(step)

        node.checkpoint = checkpoint
        try:
            result = node.vault_sync().run()
        finally:
            node.checkpoint = lambda step: None
            self.busy.pop(name, None)
        COUNTS.syncs += 1
        COUNTS.conflicts += len(result.conflicts)
        if result.result in GOOD:
            self.witness.saw(gathered)
        self.witness.kept |= {conflict["kept_at"] for conflict in result.conflicts}
        self.witness.refused[node.zone] = {refused["path"] for refused in result.refused}
        return result

    def good_sync(self, name: str, during: Callable[[str], None] = lambda step: None) -> None:
        result = self.sync(name, during)
        assert result.result in GOOD, result.summary()

    # --- rules -------------------------------------------------------------------------------------------------------

    @rule(work=works, name=nodes, ahead=st.booleans(), how=hows)
    def round(self, work: list[tuple[str, Event]], name: str, ahead: bool, how: Event) -> None:
        """People and agents work on both nodes, then one syncs: after the other (`ahead`) and in some way (`how`)."""
        COUNTS.rounds += 1
        PLAYED.append({"work": work, "name": name, "ahead": ahead, "how": how})
        with _failure_noted():
            for where, event in work:
                self.do(where, event)
            if ahead:
                self.good_sync(_other(name))
            self.do(name, how)

    def do_sync(self, name: str) -> None:
        self.good_sync(name)

    def do_meet(self, name: str, moment: Moment, event: Event) -> None:
        """Something happens in the middle of a sync: a person types, the other node syncs or dies, a phone pushes."""
        self.good_sync(name, _at(moment, lambda: self.do(name, event)))

    def do_killed(self, name: str, moment: Moment) -> None:
        """kill -9 at a checkpoint, in a process of its own."""
        before = self.node(name).files()
        if self.node(name).sync_and_die(*moment):
            COUNTS.kills += 1
        else:
            self.witness.saw(before)

    def do_both_at_once(self, name: str) -> None:
        """As the system's scheduler likes it."""
        before = [self.node(name).files() for name in "ab"]
        with ThreadPoolExecutor(2) as threads:
            results = list(threads.map(lambda name: self.node(name).vault_sync().run(), "ab"))
        for result, files in zip(results, before, strict=True):
            assert result.result in GOOD, result.summary()
            self.witness.saw(files)

    def do_refused_once(self, name: str) -> None:
        """The remote's hook refuses a push."""
        hook = self.two.remote / "hooks/pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\necho 'come back later' >&2\nexit 1\n")
        hook.chmod(0o755)
        result = self.sync(name)
        hook.unlink()
        assert result.result in GOOD or "come back later" in str(result.error), result.summary()

    # --- what people and agents do -----------------------------------------------------------------------------------

    def do(self, name: str, event: Event) -> None:
        """One event on one node; what makes no sense there is not done."""
        getattr(self, f"do_{event[0]}")(name, *event[1:])

    def do_write(self, name: str, path: str, kind: str) -> None:
        self.put(self.node(name).root, path, self.content(kind), lambda path: self.overwritten(name, path))

    def do_delete(self, name: str, path: str) -> None:
        if (self.node(name).root / path).is_file():
            self.overwritten(name, path)
            self.node(name).remove(path)

    def do_rename(self, name: str, old: str, new: str) -> None:
        source = self.node(name).root / old
        if source.is_file() and old != new:
            data = source.read_bytes()
            self.do_delete(name, old)
            self.put(self.node(name).root, new, data, lambda path: self.overwritten(name, path))

    def do_append(self, name: str) -> None:
        node = self.node(name)
        if (node.root / LOG).is_dir():  # a forger's: nobody can append there until sync puts it right
            return
        entry = {"at": node.clock.now().isoformat(), "writer": name, "n": self.witness.counts[name]}
        jsonl.append(node.root / LOG, entry)
        self.witness.counts[name] += 1

    def do_create(self, name: str, task: str) -> None:
        meta = {"id": task, "domain": "email", "type": "email"}
        self.claims(name).create(Stage.NEEDS_ACTION, meta, self.content("text").decode())

    def do_draft(self, name: str, task: str) -> None:
        meta = {"id": task, "domain": "email", "created_by": self.node(name).zone}
        self.claims(name).create(Stage.PENDING_APPROVAL, meta, self.content("text").decode())

    def do_claim(self, name: str, task: str) -> None:
        layout = Layout(self.node(name).root)
        for path in layout.find(task):
            if layout.stage_of(path) is Stage.NEEDS_ACTION:
                self.claims(name).claim(path)

    def do_edit_task(self, name: str, task: str) -> None:
        for path in Layout(self.node(name).root).find(task):
            self.overwritten(name, self.node(name).vault_path(path))
            path.write_bytes(b"---\ncreated_by: cloud\n---\n" + self.content("text"))

    def do_move(self, name: str, task: str, folder: str) -> None:
        """A person on Local, or a cloud that keeps no rule."""
        for path in Layout(self.node(name).root).find(task):
            target = f"{folder}/{path.name}"
            if not (self.node(name).root / target).is_dir():  # somebody made one of that name: no file can go there
                self.node(name).move(self.node(name).vault_path(path), target)

    def do_other_syncs(self, name: str) -> None:
        self.good_sync(_other(name))

    def do_other_is_killed(self, name: str, moment: Moment) -> None:
        self.do_killed(_other(name), moment)

    # --- a third clone -----------------------------------------------------------------------------------------------

    def do_clock_jump(self, name: str, hours: int) -> None:
        """Time passes on a node that synced to no effect all along: one that slept would ask who wrote in its name
        (`test_sync_restored`)."""
        node = self.node(name)
        node.clock.advance(hours * 3600)
        Memory(node.state / "sync.json").update(last_success_at=format_time(node.clock.now()))

    def do_phone(self, _: str, path: str, fresh: bool) -> None:
        """A person's plain git elsewhere; where it is behind, it merges, and its own words stand."""
        clone = self.clone(update=fresh)
        self.put(clone, path, self.content("text"))
        self.commit(clone, "Ada <ada@example.org>")
        merged = git(
            clone,
            "-c",
            "merge.renames=false",
            "pull",
            "-q",
            "--no-rebase",
            "--no-edit",
            "-Xours",
            "-Xno-renames",
            check=False,
        )
        if merged or git(clone, "status", "--porcelain") or not self.pushed(clone):
            self.clone(update=True)

    def do_forge(self, _: str, path: str, author: str) -> None:
        """Somebody who has the cloud's key to the remote keeps no rule."""
        clone = self.clone(update=True)
        found, seen = (lines_of(root / LOG) for root in (clone, self.two.a.root))
        self.put(clone, path, self.content("text"))
        self.commit(clone, f"AI <{author}>")
        self.witness.forged.add(git(clone, "rev-parse", "HEAD").strip())
        if self.pushed(clone) and not (clone / LOG).is_file():
            self.witness.taken |= found - seen

    def clone(self, *, update: bool) -> Path:
        place = self.folder / "phone"
        if not place.exists():
            return self.two.clone("phone")
        if update:
            git(place, "merge", "--abort", check=False)
            git(place, "fetch", "-q")
            git(place, "reset", "-q", "--hard", "origin/main")
        return place

    def commit(self, clone: Path, author: str) -> None:
        if git(clone, "status", "--porcelain"):
            self.two.commit_all(clone, author=author)

    def pushed(self, clone: Path) -> bool:
        git(clone, "push", "-q", check=False)
        git(clone, "fetch", "-q")
        return git(clone, "rev-parse", "HEAD") == git(clone, "rev-parse", "origin/main")


def lines_of(log: Path) -> set[bytes]:
    """The lines of a log; none where there is no such file."""
    return set(log.read_bytes().splitlines()) if log.is_file() else set()


@contextmanager
def _failure_noted() -> Iterator[None]:
    """Keep a history that fails: two syncs at once may end otherwise the next time."""
    try:
        yield
    except Exception as error:
        if not FAILED:
            calls = [f"history.round(**{step!r})" for step in PLAYED]
            FAILED.extend([f"{type(error).__name__}: {error}", "history = History()", *calls, "history.come_to_rest()"])
        raise


@cache
def _start() -> Path:
    """Where every history begins: both nodes have a note, a task and a draft."""
    folder = Path(tempfile.mkdtemp(prefix="start-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    two = Two(folder)
    git(two.remote, "config", "core.logAllRefUpdates", "true")
    two.a.write(PATHS[0], "old\n")
    two.b.write(f"Needs_Action/email/{TASKS[0]}.md", "task\n")
    two.b.write(f"Pending_Approval/email/{DRAFTS[0]}.md", "---\ncreated_by: cloud\n---\ndraft\n")
    two.settle()
    return folder


def _other(name: str) -> str:
    return "b" if name == "a" else "a"


def _at(moment: Moment, act: Callable[[], None]) -> Callable[[str], None]:
    """A checkpoint that acts once, the given time that a step is passed."""
    step, left = moment

    def checkpoint(passed: str) -> None:
        nonlocal left
        left -= passed == step
        if left == 0 and passed == step:
            left = -1
            act()
            COUNTS.meetings += 1

    return checkpoint
