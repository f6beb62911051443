"""What lies in the Inbox and in Needs_Action: filed word for word, routed by zone, claimed by who can do it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import FakeClock
from tests.fakes.watch import AlertNotes
from utils.bootstrap import Services
from utils.core.stages import Stage
from utils.core.task import Task, make_id
from utils.dispatch.dispatcher import Dispatcher
from utils.vault import frontmatter


class Bench:
    """A Local node with an Inbox and a dispatcher whose handlers the test writes."""

    def __init__(self, node: Services, clock: FakeClock) -> None:
        self.node, self.clock, self.alerts = node, clock, AlertNotes()
        self.root = node.layout.root
        self.handlers: dict[str, Callable[[Path, Task], str]] = {}
        self.dispatcher = self.new_dispatcher()

    def new_dispatcher(self) -> Dispatcher:
        n = self.node
        agent = n.settings.agent_name
        return Dispatcher(n.layout, n.claims, n.zones, self.handlers, agent=agent, clock=self.clock, alert=self.alerts)

    def drop(self, name: str, data: bytes | str) -> Path:
        path = self.root / "Inbox" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        os.utime(path, (self.clock.now().timestamp() - 60,) * 2)
        return path

    def file_inbox(self) -> str:
        return self.node.inbox.run(self.clock.now())

    def task(self, task_type: str, domain: str, key: str, priority: str = "normal") -> Path:
        meta = {
            "id": make_id(domain, self.clock.now(), key),
            "type": task_type,
            "domain": domain,
            "created": self.clock.now().isoformat(),
            "created_by": "test",
            "priority": priority,
            "source": {},
        }
        return self.node.claims.create(Stage.NEEDS_ACTION, meta, f"do {key}\n")

    def run(self) -> str:
        return self.dispatcher.run(self.clock.now())

    def tasks(self, stage: Stage = Stage.NEEDS_ACTION) -> list[Path]:
        return list(self.node.layout.files(stage))

    def inbox(self) -> list[str]:
        return sorted(path.name for path in (self.root / "Inbox").rglob("*") if path.name != ".gitkeep")


@pytest.fixture
def bench(make_node: Callable[..., Services], clock: FakeClock) -> Bench:
    return Bench(make_node("local", clock=clock), clock)


# ------------------------------------------------------------------------------------------------------------- Inbox


@pytest.mark.parametrize(
    "text",
    [
        "Call the plumber\n",
        "no newline at the end",
        "Windows\r\nlines\r\n",
        "---\nnot closed",
        "--- \nbroken: [yaml\n---\nbody\n",
        "# Überschrift\n\n🐙 עברית\n",
        "\n\n---\n\nrule, not front matter\n---\n",
    ],
)
def test_a_note_becomes_a_task_word_for_word(bench: Bench, text: str) -> None:
    bench.drop("idea.md", text)
    assert bench.file_inbox() == "filed from the Inbox: 1"
    assert bench.inbox() == []
    (path,) = bench.tasks()
    assert path.parent == bench.root / "Needs_Action" / "general"
    meta, body = frontmatter.read(path.read_bytes())
    assert body == text
    assert (meta["id"], meta["type"], meta["domain"]) == (path.stem, "vault_operations", "general")
    assert meta["source"] == {"kind": "inbox", "name": "idea.md"}
    assert bench.run() == "waiting for a human: 1"


def test_what_the_person_wrote_into_the_properties_is_kept(bench: Bench) -> None:
    bench.drop("post.md", "---\ntags: [a, b]\ntype: social_media\npriority: high\nid: 7\n---\nPost this\n")
    bench.file_inbox()
    (path,) = bench.tasks()
    meta, body = frontmatter.read(path.read_bytes())
    assert (meta["tags"], meta["type"], meta["domain"], meta["priority"]) == (
        ["a", "b"],
        "social_media",
        "social",
        "high",
    )
    assert path.parent.name == "social"
    assert body == "Post this\n"


def test_what_is_no_text_stays_with_a_note_beside_it(bench: Bench) -> None:
    for name, data in {"photo.jpg": b"\xff\xd8", "latin.md": b"gr\xfc\xdfe", "nul.md": b"a\0b"}.items():
        bench.drop(name, data)
    assert bench.file_inbox() == "left in the Inbox: 3"
    assert bench.file_inbox() == "left in the Inbox: 3"
    expected = ["latin.md", "latin.reason.md", "nul.md", "nul.reason.md", "photo.jpg", "photo.reason.md"]
    assert bench.inbox() == expected
    assert not bench.tasks()


def test_a_note_being_written_an_empty_one_and_a_hidden_one_wait(
    make_node: Callable[..., Services], clock: FakeClock
) -> None:
    bench = Bench(make_node("local", clock=clock, SYNC_SETTLE_SECONDS="2"), clock)
    bench.drop("empty.md", "")
    bench.drop(".hidden.md", "x")
    fresh = bench.drop("fresh.md", "Dear")
    os.utime(fresh, (clock.now().timestamp(),) * 2)
    assert bench.file_inbox() == ""
    clock.advance(3)
    assert bench.file_inbox() == "filed from the Inbox: 1"
    assert bench.inbox() == [".hidden.md", "empty.md"]


def test_a_crash_between_writing_the_task_and_removing_the_drop_makes_no_second_task(bench: Bench) -> None:
    drop = bench.drop("idea.md", "Call the plumber\n")
    stat = drop.stat()
    bench.file_inbox()
    drop.write_text("Call the plumber\n")
    os.utime(drop, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert bench.file_inbox() == "filed from the Inbox: 1"
    assert (len(bench.tasks()), bench.inbox()) == (1, [])
    aside = drop.with_name(".tmp-inbox-idea.md")  # the other half of the removal
    aside.write_text("Call the plumber\n")
    os.utime(aside, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert bench.file_inbox() == "filed from the Inbox: 1"
    assert (len(bench.tasks()), bench.inbox()) == (1, [])


def test_a_drop_that_claims_anothers_id_is_a_task_of_its_own(bench: Bench) -> None:
    bench.drop("one.md", "first\n")
    bench.file_inbox()
    (first,) = bench.tasks()
    before = first.read_bytes()
    bench.drop("two.md", before.replace(b"first", b"second"))
    assert bench.file_inbox() == "filed from the Inbox: 1"
    assert first.read_bytes() == before
    assert {path.read_bytes().split()[-1] for path in bench.tasks()} == {b"first", b"second"}


# ----------------------------------------------------------------------------------------------------------- routing


def test_tasks_wait_visibly_where_nothing_here_can_do_them(bench: Bench) -> None:
    bench.task("accounting", "accounting", "a")
    bench.task("whatsapp", "social", "b")
    bench.task("email_processing", "email", "c")  # the gmail watcher's own
    assert bench.run() == "waiting for a human: 2"
    bench.node.zones.switch("cloud", reason="test", by="test")
    assert bench.run() == "for cloud: 1, waiting for a human: 1"
    assert len(bench.tasks()) == 3


def test_a_handler_gets_what_routes_here_most_urgent_and_oldest_first(bench: Bench) -> None:
    done: list[str] = []

    def handler(path: Path, task: Task) -> str:
        assert bench.node.layout.stage_of(path) is Stage.IN_PROGRESS
        done.append(task.body.split()[1])
        bench.node.claims.move(path, Stage.DONE)
        return "done"

    bench.handlers["accounting"] = handler
    for key, priority in {"a": "low", "b": "normal", "c": "urgent", "d": "normal", "e": "high"}.items():
        bench.task("accounting", "accounting", key, priority)
        bench.clock.advance(1)
    bench.task("payments", "accounting", "nobody")
    assert bench.run() == "done: 5, waiting for a human: 1"
    assert done == ["c", "e", "b", "d", "a"]
    assert len(bench.tasks(Stage.DONE)) == 5


def test_work_that_was_left_by_a_dead_process_is_taken_up(bench: Bench) -> None:
    left = bench.node.claims.claim(bench.task("accounting", "accounting", "a"))
    assert left is not None
    bench.handlers["accounting"] = lambda path, task: str(bench.node.claims.move(path, Stage.DONE))
    assert bench.run() == "done: 1"
    assert not left.exists()


def test_a_task_that_keeps_failing_is_set_aside_and_the_others_go_on(bench: Bench) -> None:
    def handler(path: Path, task: Task) -> str:
        if "bad" in task.body:
            raise RuntimeError("no such account")
        return str(bench.node.claims.move(path, Stage.DONE))

    bench.handlers["accounting"] = handler
    bench.task("accounting", "accounting", "bad")
    bench.task("accounting", "accounting", "good")
    assert bench.run() == "done: 1, failed, to be tried again: 1"
    bench.run()
    assert not bench.alerts.told
    assert bench.run() == "set aside: 1"
    (aside,) = bench.tasks(Stage.QUARANTINE)
    assert "RuntimeError: no such account" in bench.node.layout.reason(aside).read_text()
    assert len(bench.alerts.told) == 1
    assert bench.run() == "no task waits"


def test_a_broken_task_is_set_aside_once_nobody_writes_to_it(bench: Bench) -> None:
    folder = bench.root / "Needs_Action" / "general"
    broken = folder / "broken.md"
    broken.write_text("---\nid: [\n---\n")
    note = folder / "thoughts.md"
    note.write_text("just a note of mine\n")
    for path in (broken, note):
        os.utime(path, (bench.clock.now().timestamp(),) * 2)
    assert bench.run() == "not a task: 1, not readable yet: 1"
    bench.clock.advance(61)
    assert bench.run() == "not a task: 1, set aside: 1"
    assert note.exists()
    assert bench.tasks(Stage.QUARANTINE)[0].read_text() == "---\nid: [\n---\n"
    assert bench.alerts.titles == ["WARNING broken.md is set aside"]


def test_the_cloud_sets_nothing_of_a_persons_aside(make_node: Callable[..., Services], clock: FakeClock) -> None:
    bench = Bench(make_node("cloud", clock=clock), clock)
    broken = bench.root / "Needs_Action" / "general" / "broken.md"
    broken.parent.mkdir(parents=True, exist_ok=True)
    broken.write_text("---\nid: [\n---\n")
    clock.advance(10**9)
    assert bench.run() == "not a task: 1"
    assert broken.exists()


def test_unchanged_tasks_are_not_parsed_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bench.task("accounting", "accounting", "a")
    bench.run()
    reads: list[Path] = []
    original = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: reads.append(self) or original(self))
    bench.run()
    assert path not in reads
    path.write_bytes(original(path) + b"more\n")
    bench.run()
    assert path in reads
