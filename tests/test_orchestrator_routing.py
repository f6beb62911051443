"""What a person drops and what lies in Needs_Action: filed word for word, routed by zone, claimed by who can do it."""

from __future__ import annotations

import errno
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.claim_kit import claimed_by_the_dead, living
from tests.conftest import FakeClock
from tests.fakes.watch import AlertNotes
from utils.bootstrap import Services
from utils.core.routing import DOMAIN_OF_TYPE, LOCAL_ONLY_TYPES, TASK_TYPES
from utils.core.stages import Stage
from utils.core.task import Task, make_id
from utils.dispatch.dispatcher import Dispatcher
from utils.dispatch.drops import Drops
from utils.ports import AdapterError
from utils.vault import atomic, frontmatter
from utils.vault.attempts import Attempts
from Watchers.orchestrator import Orchestrator


class Bench:
    """A Local node with an Inbox and a dispatcher whose handlers the test writes."""

    def __init__(self, node: Services, clock: FakeClock) -> None:
        self.node, self.clock, self.alerts = node, clock, AlertNotes()
        self.root = node.layout.root
        self.handlers: dict[str, Callable[[Path, Task], str]] = {}
        self.dispatcher = self.new_dispatcher()

    def new_dispatcher(self, workers: int = 1) -> Dispatcher:
        """A dispatcher as after a start of the process."""
        n = self.node
        return Dispatcher(
            n.layout,
            n.claims,
            n.zones,
            self.handlers,
            agent=n.settings.agent_name,
            workers=workers,
            tries=n.settings.state_dir / "tasks" / "tries",
            clock=self.clock,
            alert=self.alerts,
        )

    def drop(self, name: str, data: bytes | str, folder: str = "Inbox") -> Path:
        path = self.root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        os.utime(path, (self.clock.now().timestamp() - 60,) * 2)
        return path

    def file_drops(self) -> str:
        return self.node.drops.run(self.clock.now())

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

    def run(self, patience: float = 10) -> str:
        return self.dispatcher.run(self.clock.now(), patience=patience)

    def finish(self, path: Path, task: Task) -> str:
        """A handler that has nothing to do."""
        return str(self.node.claims.move(path, Stage.DONE))

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
        "# Überschrift\n\n🐙 עברית\n",
        "\n\n---\n\nrule, not front matter\n---\n",
    ],
)
def test_a_note_becomes_a_task_word_for_word(bench: Bench, text: str) -> None:
    bench.drop("idea.md", text)
    assert bench.file_drops() == "filed from the Inbox: 1"
    assert bench.inbox() == []
    (path,) = bench.tasks()
    assert path.parent == bench.root / "Needs_Action" / "general"
    meta, body = frontmatter.read(path.read_bytes())
    assert body == text
    assert (meta["id"], meta["type"], meta["domain"]) == (path.stem, "vault_operations", "general")
    assert meta["source"] == {"kind": "inbox", "name": "idea.md"}
    assert meta["inferred"] == "type from no known word: local only"
    assert bench.run() == "waiting for a human: 1"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("---\ntype: [email\n---\nReply to the mail\n", "broken YAML in line"),
        ("---\ntype: accounting\nReply to the mail\n", "the front matter is not closed by a line '---'"),
        ("---\ntype: accounting\ntype: email_processing\n---\nReply to the mail\n", "broken YAML in line 3"),
        ("---\na: &a [x]\nb: [*a, *a]\n---\nReply to the mail\n", "anchors and aliases (&, *) are not allowed"),
    ],
)
def test_properties_that_cannot_be_read_are_told_and_set_nothing(bench: Bench, text: str, why: str) -> None:
    bench.drop("x.md", text)
    assert bench.file_drops() == "filed from the Inbox: 1"
    [path] = bench.tasks()
    meta, body = frontmatter.read(path.read_bytes())
    assert (body, meta["type"], meta["domain"]) == (text, "vault_operations", "general")
    assert meta["inferred"].startswith(f"the properties can't be read: {why}")
    assert meta["inferred"].endswith("; local only")


def test_what_a_person_chose_counts_however_it_is_written(bench: Bench) -> None:
    bench.drop("x.md", "---\ntype: Accounting\npriority: HIGH\n---\nCall Bob\n")
    bench.file_drops()
    [path] = bench.tasks()
    meta, _ = frontmatter.read(path.read_bytes())
    assert (meta["type"], meta["domain"], meta["priority"]) == ("accounting", "accounting", "high")
    assert "inferred" not in meta and "as_written" not in meta


def test_markdown_is_known_by_any_of_its_endings(bench: Bench) -> None:
    for name in ("UPPER.MD", "note.markdown"):
        bench.drop(name, "Book the invoice\n")
    bench.drop("LATE.MD", "Book the invoice\n", "Needs_Action/general")
    assert bench.file_drops() == "filed from Needs_Action: 1, filed from the Inbox: 2"
    assert bench.inbox() == []


def test_whatever_stays_in_the_inbox_has_its_own_reason_beside_it(bench: Bench) -> None:
    bench.drop("empty.md", "")
    bench.drop("latin.md", b"gr\xfc\xdfe")
    bench.drop("photo.jpg", b"\xff\xd8")
    inbox = bench.root / "Inbox"
    os.mkfifo(inbox / "fifo.md")
    (inbox / "link.md").symlink_to(bench.root / "Company_Handbook.md")
    bench.clock.advance(10**9)
    assert bench.file_drops() == "left in the Inbox: 5"
    said = {path.name.removesuffix(".reason.md"): path.read_text() for path in inbox.glob("*.reason.md")}
    words = {"empty": "is empty", "latin": "not UTF-8 (byte 2)", "photo": "(.md)", "fifo": "no file", "link": "a link"}
    assert said.keys() == words.keys()
    assert all(words[name] in text for name, text in said.items())
    bench.drop("empty.md", "Call Bob\n")
    assert "filed from the Inbox: 1" in bench.file_drops()
    assert not (inbox / "empty.reason.md").exists()


def test_a_note_that_was_only_just_written_is_looked_at_again_soon(bench: Bench) -> None:
    drops = Drops(bench.node.layout, bench.node.claims, agent="local", settle=2.0, alert=bench.alerts)
    path, now = bench.drop("idea.md", "an idea\n"), bench.clock.now()
    os.utime(path, (now.timestamp() - 0.5,) * 2)
    assert drops.run(now) == "" and drops.due_in == 2.0
    assert drops.run(now + timedelta(seconds=2)) == "filed from the Inbox: 1" and drops.due_in is None


def test_what_the_person_wrote_into_the_properties_is_kept(bench: Bench) -> None:
    bench.drop("post.md", "---\ntags: [a, b]\ntype: social_media\npriority: high\nid: 7\n---\nPost this\n")
    bench.file_drops()
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


def test_what_the_person_wrote_and_cannot_be_used_is_kept_beside_what_is_used(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    header = "type: legal_review\npriority: hoch\ncreated: yesterday\nid: 77\nsource: me\ndomain: law\nmine: 1\n"
    bench.drop("x.md", f"---\n{header}---\nPlease reply to the e-mail of Bob\n")
    bench.file_drops()
    [path] = bench.tasks()
    meta, _ = frontmatter.read(path.read_bytes())
    used = {name: meta[name] for name in ("type", "priority", "domain", "inferred", "mine")}
    assert used == {
        "type": "vault_operations",
        "priority": "normal",
        "domain": "general",
        "inferred": "type 'legal_review' is unknown: local only",
        "mine": 1,
    }
    written = {"type": "legal_review", "priority": "hoch", "created": "yesterday", "id": 77, "source": "me"}
    assert meta["as_written"] == written | {"domain": "law"}
    assert any(path.stem in record.message and "as_written" in record.message for record in caplog.records)
    assert bench.run() == "waiting for a human: 1"


def test_what_is_no_text_stays_with_a_note_beside_it(bench: Bench) -> None:
    for name, data in {"photo.jpg": b"\xff\xd8", "latin.md": b"gr\xfc\xdfe", "nul.md": b"a\0b"}.items():
        bench.drop(name, data)
    assert bench.file_drops() == "left in the Inbox: 3"
    assert bench.file_drops() == "left in the Inbox: 3"
    expected = ["latin.md", "latin.reason.md", "nul.md", "nul.reason.md", "photo.jpg", "photo.reason.md"]
    assert bench.inbox() == expected
    assert not bench.tasks()


def test_a_note_being_written_an_empty_one_and_a_hidden_one_wait(
    make_node: Callable[..., Services], clock: FakeClock
) -> None:
    bench = Bench(make_node("local", clock=clock, SYNC_SETTLE_SECONDS="2"), clock)
    os.utime(bench.drop("empty.md", ""), (clock.now().timestamp(),) * 2)
    bench.drop(".hidden.md", "x")
    fresh = bench.drop("fresh.md", "Dear")
    os.utime(fresh, (clock.now().timestamp(),) * 2)
    assert bench.file_drops() == ""
    clock.advance(3)
    assert bench.file_drops() == "filed from the Inbox: 1"
    assert bench.inbox() == [".hidden.md", "empty.md"]


def test_a_crash_between_writing_the_task_and_removing_the_drop_makes_no_second_task(bench: Bench) -> None:
    drop = bench.drop("idea.md", "Call the plumber\n")
    stat = drop.stat()
    bench.file_drops()
    drop.write_text("Call the plumber\n")
    os.utime(drop, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert bench.file_drops() == "filed from the Inbox: 1"
    assert (len(bench.tasks()), bench.inbox()) == (1, [])
    aside = drop.with_name(".tmp-inbox-idea.md")  # the other half of the removal
    aside.write_text("Call the plumber\n")
    os.utime(aside, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert bench.file_drops() == "filed from the Inbox: 1"
    assert (len(bench.tasks()), bench.inbox()) == (1, [])


def test_a_drop_that_claims_anothers_id_is_a_task_of_its_own(bench: Bench) -> None:
    bench.drop("one.md", "first\n")
    bench.file_drops()
    (first,) = bench.tasks()
    before = first.read_bytes()
    bench.drop("two.md", before.replace(b"first", b"second"))
    assert bench.file_drops() == "filed from the Inbox: 1"
    assert first.read_bytes() == before
    assert {path.read_bytes().split()[-1] for path in bench.tasks()} == {b"first", b"second"}
    [second] = set(bench.tasks()) - {first}
    assert frontmatter.read(second.read_bytes())[0]["as_written"] == {"id": first.stem}


def test_a_clear_note_is_filed_under_its_domain_with_the_reason(bench: Bench) -> None:
    for name, text in {
        "acme.md": "Book the invoice\n",
        "pay.md": "Pay it, dringend\n",
        "x.md": "Post on LinkedIn\n",
    }.items():
        bench.drop(name, text)
    bench.file_drops()
    found = {}
    for path in bench.tasks():
        meta, _ = frontmatter.read(path.read_bytes())
        assert path.stem == meta["id"] and path.parent.name == meta["domain"]
        found[meta["source"]["name"]] = (meta["type"], meta["domain"], meta["priority"], meta["inferred"])
    assert found == {
        "acme.md": ("accounting", "accounting", "normal", "type from the word 'invoice'"),
        "pay.md": (
            "payments",
            "accounting",
            "urgent",
            "type from the word 'pay'; priority from the word 'dringend'",
        ),
        "x.md": ("social_media", "social", "normal", "type from the word 'post on'"),
    }


@pytest.mark.parametrize(
    ("folder", "task_type", "domain"),
    [
        ("Needs_Action", "vault_operations", "general"),
        ("Needs_Action/general", "vault_operations", "general"),
        ("Needs_Action/email", "email_processing", "email"),
        ("Needs_Action/social/campaign", "social_media", "social"),
        ("Needs_Action/accounting", "accounting", "accounting"),
        ("Inbox/accounting", "accounting", "accounting"),
    ],
)
def test_a_note_right_where_tasks_wait_becomes_one(bench: Bench, folder: str, task_type: str, domain: str) -> None:
    note = bench.drop("call Bob.md", "Bob\r\ncalled", folder)
    bench.file_drops()
    assert not note.exists()
    [path] = bench.tasks()
    assert path.parent == bench.node.layout.folder(Stage.NEEDS_ACTION, domain=domain)
    meta, body = frontmatter.read(path.read_bytes())
    assert (meta["id"], meta["type"], meta["domain"], body) == (path.stem, task_type, domain, "Bob\r\ncalled")
    assert bench.file_drops() == ""


@pytest.mark.parametrize("saves", ["into the file that it opened", "as a new file"])
def test_what_the_person_goes_on_typing_while_a_note_is_taken_is_a_note_of_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, saves: str
) -> None:
    note = bench.drop("call Bob.md", "Call Bob", "Needs_Action/general")
    create = bench.node.claims.create

    with note.open("a") as opened:

        def typed_meanwhile(*task: Any) -> Path:
            made = create(*task)
            if saves == "as a new file":
                note.write_text("Call Bob on Monday")
            else:
                opened.write(" on Monday")
                opened.flush()
            return made

        monkeypatch.setattr(bench.node.claims, "create", typed_meanwhile)
        bench.file_drops()
        monkeypatch.undo()
    assert note.read_text() == "Call Bob on Monday"
    os.utime(note, (bench.clock.now().timestamp() - 60,) * 2)
    assert bench.file_drops() == "filed from Needs_Action: 1"
    assert sorted(frontmatter.read(path.read_bytes())[1] for path in bench.tasks()) == [
        "Call Bob",
        "Call Bob on Monday",
    ]


def test_no_task_is_made_of_a_drop_that_cannot_be_taken_away(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder where we may not write, tasks without end would come of it, one for each that is edited or done."""
    bench.node.drops._alert = bench.alerts
    bench.drop("plumber.md", "Call the plumber\n", "Inbox/scans")
    rename, unlink = atomic.rename_noreplace, Path.unlink

    def refuse(path: Path) -> None:
        if path.parent.name == "scans":
            raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "rename_noreplace", lambda source, target: refuse(source) or rename(source, target))
        patch.setattr(Path, "unlink", lambda self, **more: refuse(self) or unlink(self, **more))
        for _ in range(3):
            assert bench.file_drops() == "left in the Inbox: 1"
            for task in bench.tasks():
                task.rename(bench.root / "Done" / task.name)
    assert not bench.tasks(Stage.DONE)
    assert bench.alerts.titles == ["WARNING plumber.md can't be filed"]
    assert "Inbox/scans/plumber.md stays where it is: Permission denied" in bench.alerts.told[0][2]
    assert bench.file_drops() == "filed from the Inbox: 1"
    assert (len(bench.tasks()), bench.inbox()) == (1, ["scans"])


def test_a_crash_while_a_note_is_filed_makes_one_task_of_it_also_where_a_new_one_has_its_name(bench: Bench) -> None:
    note = bench.drop("idea.md", "Call the plumber\n")
    stat, aside = note.stat(), note.with_name(".tmp-inbox-idea.md")
    bench.file_drops()
    bench.drop(aside.name, "Call the plumber\n")  # as if the process had been killed before the last step
    os.utime(aside, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    bench.drop("idea.md", "Call the painter\n")
    assert bench.file_drops() == "filed from the Inbox: 2"
    assert bench.inbox() == []
    bodies = [frontmatter.read(path.read_bytes())[1] for path in bench.tasks()]
    assert sorted(bodies) == ["Call the painter\n", "Call the plumber\n"]


def test_a_drop_whose_task_cannot_be_written_stays_where_it_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    bench.node.drops._alert = bench.alerts
    bench.drop("plumber.md", "Call the plumber\n")
    with monkeypatch.context() as patch:
        patch.setattr(bench.node.claims, "create", full)
        assert bench.file_drops() == "left in the Inbox: 1"
    assert bench.inbox() == ["plumber.md"]
    assert bench.file_drops() == "filed from the Inbox: 1"


@pytest.mark.parametrize("text", ["---\n\nBuy milk\n", "---\nBuy milk\n---\nand eggs\n", "---\n- milk\n- eggs\n"])
def test_a_note_under_a_rule_is_no_broken_task(bench: Bench, text: str) -> None:
    note = bench.drop("shopping.md", text, "Needs_Action/general")
    os.utime(note, (bench.clock.now().timestamp() - 600,) * 2)
    assert bench.run() == "no task yet: 1"
    assert bench.file_drops() == "filed from Needs_Action: 1"
    [path] = bench.tasks()
    assert frontmatter.read(path.read_bytes())[1] == text


def test_the_same_note_dropped_again_after_it_was_done_is_a_task_again(bench: Bench) -> None:
    """A copy keeps its time: a template of a person's, say."""
    bench.handlers["vault_operations"] = bench.finish
    for times in (1, 2, 3):
        bench.drop("monthly.md", "Water the plants\n")
        assert bench.file_drops() == "filed from the Inbox: 1"
        assert bench.run() == "done: 1"
        assert len(bench.tasks(Stage.DONE)) == times


def test_the_longest_name_and_one_that_is_no_text_become_tasks(bench: Bench) -> None:
    bench.drop("n" * 252 + ".md", "long")
    bench.drop(os.fsdecode(b"caf\xe9.md"), "odd")
    assert bench.file_drops() == "filed from the Inbox: 2"
    assert (len(bench.tasks()), bench.inbox()) == (2, [])


def test_the_cloud_leaves_a_persons_note_to_local(make_node: Callable[..., Services], clock: FakeClock) -> None:
    cloud = make_node("cloud", clock=clock)
    note = cloud.layout.root / "Needs_Action" / "email" / "call Bob.md"
    note.write_text("Bob")
    os.utime(note, (clock.now().timestamp() - 60,) * 2)
    assert Orchestrator(cloud, {}).run_cycle(clock.now()) == "for local: 1"
    assert note.read_text() == "Bob"


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


def test_the_oldest_is_first_in_whatever_time_zone_it_was_written(bench: Bench) -> None:
    done: list[str] = []
    bench.handlers["accounting"] = lambda path, task: done.append(task.created) or bench.finish(path, task)
    in_order = ["2026-06-01T23:00:00+14:00", "2026-06-01T09:30:00Z", "2026-06-01T10:00:00", "2026-06-01T09:00:00-04:00"]
    for created in reversed(in_order):
        path = bench.task("accounting", "accounting", created)
        meta, body = frontmatter.read(path.read_bytes())
        path.write_bytes(frontmatter.write(meta | {"created": created}, body))
    bench.run()
    assert done == in_order


def test_work_that_was_left_by_a_dead_process_is_taken_up(bench: Bench) -> None:
    left = claimed_by_the_dead(bench.node.claims, bench.task("accounting", "accounting", "a"))
    bench.handlers["accounting"] = bench.finish
    assert bench.run() == "done: 1"
    assert not left.exists()


def test_a_claim_that_is_lost_while_a_handler_works_is_no_failure(bench: Bench) -> None:
    def handler(path: Path, task: Task) -> str:
        path.rename(bench.node.layout.folder(Stage.REJECTED) / path.name)  # a person, or a sync
        bench.node.claims.beat(path)
        raise AssertionError("it went on")

    bench.handlers["accounting"] = handler
    path = bench.task("accounting", "accounting", "a")
    assert bench.run() == "claim lost: 1"
    assert Attempts(bench.node.settings.state_dir / "tasks" / "tries").tries(path.name) == 0
    assert bench.node.claims.signs(path.stem) == (False, None)
    assert len(bench.tasks(Stage.REJECTED)) == 1 and not bench.alerts.told
    assert bench.run() == "no task waits"


def test_a_handler_that_leaves_its_task_without_a_plan_has_failed(bench: Bench) -> None:
    """Or it would be begun anew for ever, as left by a dead process."""
    bench.handlers["accounting"] = lambda path, task: "thought about it"
    bench.task("accounting", "accounting", "a")
    assert bench.run() == "failed, to be tried again: 1"
    assert bench.run() == "to be tried again: 1"


def test_work_of_a_living_process_of_this_node_is_left_to_it(bench: Bench) -> None:
    path = bench.task("accounting", "accounting", "a")
    bench.handlers["accounting"] = bench.finish
    with living(lambda: bench.node.claims.claim(path)):
        assert bench.run() == "no task waits"
    assert bench.run() == "done: 1"


def test_what_waits_for_a_decision_is_not_begun_anew_at_the_next_start(bench: Bench) -> None:
    begun: list[str] = []

    def draft(path: Path, task: Task) -> str:
        begun.append(task.id)
        plan = bench.node.layout.plan(task.domain, task.id)
        plan.parent.mkdir(parents=True, exist_ok=True)
        plan.write_text("waits for the human\n")
        return "drafted"

    bench.handlers["accounting"] = draft
    bench.task("accounting", "accounting", "a")
    assert bench.run() == "done: 1"
    assert bench.run() == "no task waits"
    bench.dispatcher = bench.new_dispatcher()
    assert bench.run() == "no task waits"
    assert len(begun) == 1


def test_a_task_that_keeps_failing_is_set_aside_and_the_others_go_on(bench: Bench) -> None:
    def handler(path: Path, task: Task) -> str:
        if "bad" in task.body:
            raise RuntimeError("no such account")
        return bench.finish(path, task)

    bench.handlers["accounting"] = handler
    bench.task("accounting", "accounting", "bad")
    bench.task("accounting", "accounting", "good")
    assert bench.run() == "done: 1, failed, to be tried again: 1"
    assert bench.run() == "to be tried again: 1"
    bench.clock.advance(61)
    bench.dispatcher = bench.new_dispatcher()  # tries are remembered over restarts
    assert bench.run() == "failed, to be tried again: 1"
    assert not bench.alerts.told
    bench.dispatcher = bench.new_dispatcher()
    assert bench.run() == "set aside: 1"
    (aside,) = bench.tasks(Stage.QUARANTINE)
    assert "RuntimeError: no such account" in bench.node.layout.reason(aside).read_text()
    assert len(bench.alerts.told) == 1
    assert bench.run() == "no task waits"


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "trouble",
    [
        FULL,
        OSError(errno.EROFS, "Read-only file system"),
        OSError(errno.EIO, "Input/output error"),
        AdapterError("Odoo does not answer.", retry=True),
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        sqlite3.OperationalError("database or disk is full"),
    ],
    ids=str,
)
def test_no_task_is_blamed_for_the_nodes_trouble(bench: Bench, trouble: Exception) -> None:
    def handler(path: Path, task: Task) -> str:
        raise trouble

    bench.handlers["accounting"] = handler
    path = bench.task("accounting", "accounting", "a")
    for _ in range(5):
        assert bench.run() == "held up: 1"
        assert bench.run() == "to be tried again: 1"
        bench.clock.advance(61)
    assert bench.tasks() == [path]
    [title] = set(bench.alerts.titles)
    assert title == "WARNING Tasks of the type accounting can't be done now"
    assert str(trouble) in bench.alerts.told[0][2]
    bench.handlers["accounting"] = bench.finish
    assert bench.run() == "done: 1"


def test_what_a_full_disk_keeps_from_being_put_back_is_taken_up_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> str:
        raise FULL

    bench.handlers["accounting"] = full
    bench.task("accounting", "accounting", "a")
    with monkeypatch.context() as patch:
        patch.setattr(bench.node.claims, "release", full)
        assert bench.run() == "held up: 1"
        assert len(bench.tasks(Stage.IN_PROGRESS)) == 1
        assert bench.run() == "no task waits", "not before a minute has passed"
    bench.clock.advance(61)
    bench.handlers["accounting"] = bench.finish
    assert bench.run() == "done: 1"


class Killed(BaseException):
    """The process dies here."""


def test_a_task_that_kills_its_process_is_set_aside_after_three_tries(bench: Bench) -> None:
    def die(path: Path, task: Task) -> str:
        raise Killed

    bench.handlers["accounting"] = die
    bench.task("accounting", "accounting", "a")
    for _ in range(3):
        bench.dispatcher = bench.new_dispatcher()
        with pytest.raises(Killed):
            bench.run()
    bench.dispatcher = bench.new_dispatcher()
    assert bench.run() == "set aside: 1"
    (aside,) = bench.tasks(Stage.QUARANTINE)
    assert "each time the process ended" in bench.node.layout.reason(aside).read_text()
    assert len(bench.alerts.told) == 1
    aside.rename(bench.root / "Needs_Action" / "accounting" / aside.name)  # the human says: once more
    bench.handlers["accounting"] = bench.finish
    assert bench.run() == "done: 1"


class Gate:
    """A handler that holds its tasks until it is opened."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._open = threading.Event()
        self._lock = threading.Lock()
        self.begun: list[str] = []
        self.most = self._now = 0

    def __call__(self, path: Path, task: Task) -> str:
        with self._lock:
            self.begun.append(task.body.split()[1])
            self._now += 1
            self.most = max(self.most, self._now)
        if "slow" in task.body:
            assert self._open.wait(30)
        with self._lock:
            self._now -= 1
        return self._bench.finish(path, task)

    def open(self) -> None:
        self._open.set()


def test_a_slow_task_holds_up_no_other_and_is_begun_once(bench: Bench) -> None:
    gate = bench.handlers["accounting"] = Gate(bench)
    bench.dispatcher = bench.new_dispatcher(workers=2)
    bench.task("accounting", "accounting", "slow", "urgent")
    for key in "abcde":
        bench.clock.advance(1)
        bench.task("accounting", "accounting", key)
    assert bench.run(patience=0.5) == "done: 5, in work: 1"
    assert bench.run(patience=0.05) == "in work: 1"
    gate.open()
    assert bench.run() == "done: 1"
    assert sorted(gate.begun) == ["a", "b", "c", "d", "e", "slow"]
    assert [key for key in gate.begun if key != "slow"] == list("abcde")
    assert gate.most <= 2


def test_tasks_that_never_end_are_told_and_starve_no_other_up_to_a_bound(bench: Bench) -> None:
    gate = bench.handlers["accounting"] = Gate(bench)
    bench.dispatcher = bench.new_dispatcher(workers=2)
    stuck = [bench.task("accounting", "accounting", f"slow{number}", "urgent").name for number in range(2)]
    bench.task("accounting", "accounting", "a")
    assert bench.run(patience=0.2) == "in work: 2, waiting for a worker: 1" and not bench.alerts.told
    bench.clock.advance(1801)
    assert bench.run(patience=0.5) == "done: 1, in work: 2"
    bench.run(patience=0.1)
    assert sorted(bench.alerts.titles) == sorted(f"WARNING {name} does not end" for name in stuck)
    assert "in work since 2026-06-01T12:00:00Z" in bench.alerts.told[0][2]
    for number in range(2, 6):
        bench.task("accounting", "accounting", f"slow{number}", "urgent")
    bench.run(patience=0.2)
    bench.clock.advance(1801)
    assert bench.run(patience=0.2) == "in work: 4, waiting for a worker: 2", "twice the setting and no more"
    assert len(bench.alerts.told) == 4
    gate.open()
    assert bench.run() == "done: 6"
    gate.most = 0
    for key in "bcdef":
        bench.task("accounting", "accounting", key)
    assert bench.run() == "done: 5" and gate.most <= 2


def test_what_fails_badly_hides_nothing_that_ended_beside_it(bench: Bench) -> None:
    def handler(path: Path, task: Task) -> str:
        if "bad" in task.body:
            raise Killed
        return bench.finish(path, task)

    bench.handlers["accounting"] = handler
    for key in ("a", "bad1", "bad2", "z"):
        bench.task("accounting", "accounting", key)
    for _ in range(2):
        with pytest.raises(Killed):
            bench.run()
        bench.handlers.clear()
    assert bench.run().startswith("done: 2")


def test_no_more_than_the_setting_says_run_at_once_and_an_urgent_one_is_next(bench: Bench) -> None:
    gate = bench.handlers["accounting"] = Gate(bench)
    bench.dispatcher = bench.new_dispatcher(workers=3)
    for number in range(6):
        bench.task("accounting", "accounting", f"slow{number}")
        bench.clock.advance(1)
    assert bench.run(patience=0.2) == "in work: 3, waiting for a worker: 3"
    bench.task("accounting", "accounting", "now", "urgent")
    assert bench.run(patience=0.2) == "in work: 3, waiting for a worker: 4"
    gate.open()
    assert bench.run() == "done: 7"
    assert sorted(gate.begun[:3]) == ["slow0", "slow1", "slow2"]
    assert "now" in gate.begun[3:6] and gate.most == 3


def test_after_a_stop_nothing_begins_and_what_runs_counts_as_no_try(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("utils.dispatch.dispatcher._STOP_SECONDS", 0.1)
    gate = bench.handlers["accounting"] = Gate(bench)
    first = bench.task("accounting", "accounting", "slow1", "urgent")
    bench.task("accounting", "accounting", "b")
    assert bench.run(patience=0.2) == "in work: 1, waiting for a worker: 1"
    started = time.monotonic()
    bench.dispatcher.close()
    assert time.monotonic() - started < 5
    assert Attempts(bench.node.settings.state_dir / "tasks" / "tries").tries(first.name) == 0
    gate.open()
    assert bench.run() == "done: 1"
    assert gate.begun == ["slow1"]
    assert len(bench.tasks()) == 1


def test_nothing_begins_once_a_stop_was_asked_for(bench: Bench) -> None:
    bench.handlers["accounting"] = bench.finish
    bench.task("accounting", "accounting", "a")
    assert bench.dispatcher.run(bench.clock.now(), stopped=lambda: True) == "waiting for a worker: 1"


def test_zones_are_asked_again_before_a_task_is_begun(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease may end between the look and the claim."""
    bench.handlers["accounting"] = bench.finish
    bench.task("accounting", "accounting", "a")
    answers = iter([True, False])
    monkeypatch.setattr(bench.node.zones, "runs_here", lambda task_type: next(answers))
    assert bench.run() == "for local: 1"
    assert len(bench.tasks()) == 1


def test_a_type_that_nobody_knows_waits_for_local_and_is_warned_of_once(
    make_node: Callable[..., Services], clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    for name, said in {"cloud": "for local: 2", "local": "waiting for a human: 2"}.items():
        bench = Bench(make_node(name, clock=clock), clock)
        for key in "ab":
            path = bench.task("accounting", "accounting", key)
            path.write_bytes(path.read_bytes().replace(b"type: accounting", b"type: teleport"))
        clock.advance(10**6)
        assert [bench.run() for _ in range(3)] == [said] * 3
        assert len(bench.tasks()) == 2
    assert sum("unknown task type 'teleport'" in record.message for record in caplog.records) == 1


def test_local_only_work_that_arises_on_the_cloud_is_left_for_local(
    make_node: Callable[..., Services], clock: FakeClock
) -> None:
    bench = Bench(make_node("cloud", clock=clock), clock)
    bench.handlers |= dict.fromkeys(TASK_TYPES, bench.finish)
    for task_type in TASK_TYPES:
        bench.task(task_type, DOMAIN_OF_TYPE[task_type], task_type)
    assert bench.run() == "done: 3, for local: 4"  # alone, so active; mail is the gmail watcher's
    left = {frontmatter.read(path.read_bytes())[0]["type"] for path in bench.tasks()}
    assert left == LOCAL_ONLY_TYPES | {"email_processing"}


def test_a_broken_task_is_set_aside_once_nobody_writes_to_it(bench: Bench) -> None:
    folder = bench.root / "Needs_Action" / "general"
    broken = folder / "broken.md"
    broken.write_text("---\nid: [\n---\n")
    note = folder / "thoughts.md"
    note.write_text("just a note of mine\n")
    for path in (broken, note):
        os.utime(path, (bench.clock.now().timestamp(),) * 2)
    assert bench.run() == "no task yet: 1, not readable yet: 1"
    bench.clock.advance(61)
    assert bench.run() == "no task yet: 1, set aside: 1"
    assert note.exists()
    assert bench.tasks(Stage.QUARANTINE)[0].read_text() == "---\nid: [\n---\n"
    assert bench.alerts.titles == ["WARNING broken.md is set aside"]


def test_the_cloud_sets_nothing_of_a_persons_aside(make_node: Callable[..., Services], clock: FakeClock) -> None:
    bench = Bench(make_node("cloud", clock=clock), clock)
    broken = bench.root / "Needs_Action" / "general" / "broken.md"
    broken.parent.mkdir(parents=True, exist_ok=True)
    broken.write_text("---\nid: [\n---\n")
    clock.advance(10**9)
    assert bench.run() == "for local: 1"
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


# --- one odd file stops nothing --------------------------------------------------------------------------------------

COMPLEX_KEY = "---\n[{a: b}]: c\n---\nx"


def put(bench: Bench, path: bytes, data: bytes) -> None:
    place = os.path.join(os.fsencode(bench.root), path)
    Path(os.fsdecode(place)).write_bytes(data)
    os.utime(place, (bench.clock.now().timestamp() - 600,) * 2)


@pytest.mark.parametrize(
    ("odd", "data"),
    [
        (b"Inbox/caf\xe9.pdf", b"%PDF"),
        (b"Inbox/" + b"x" * 245 + b".pdf", b"%PDF"),
        (b"Inbox/note.md", COMPLEX_KEY.encode()),
        (b"Needs_Action/general/caf\xe9.md", b"---\nbroken: [\n---\nx"),
        (b"Needs_Action/general/" + b"x" * 245 + b".md", b"---\nbroken: [\n---\nx"),
        (b"Needs_Action/social/social-20260601T120000Z-deadbeef.md", COMPLEX_KEY.encode()),
        (b"In_Progress/local/social-20260601T120000Z-deadbeef.md", COMPLEX_KEY.encode()),
    ],
)
def test_one_odd_file_keeps_no_other_from_being_filed_and_done(bench: Bench, odd: bytes, data: bytes) -> None:
    put(bench, odd, data)
    bench.handlers["social_media"] = bench.finish
    task = bench.task("social_media", "social", "a")
    bench.drop("z.md", "Call the plumber")
    assert "filed from the Inbox: " in bench.file_drops()
    bench.node.leftovers.run()
    bench.run()
    assert [path.name for path in bench.tasks(Stage.DONE)] == [task.name]


def test_a_file_too_large_for_a_task_is_not_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("a.md", "general-20260601T120000Z-deadbeef.md")
    places = [bench.drop(name, "---\ntype: x\n---\n", "Needs_Action/general") for name in names]
    for place in places:
        os.truncate(place, 200_000_000)
        os.utime(place, (bench.clock.now().timestamp() - 600,) * 2)
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("it was read") if self in places else read(self))
    assert bench.file_drops() == "left in Needs_Action: 1"
    assert bench.run() == "no task yet: 1, set aside: 1"
    assert "larger than 100 MB" in bench.alerts.told[0][2]


def test_a_pipe_is_no_task(bench: Bench) -> None:
    os.mkfifo(bench.root / "Needs_Action/general/x.md")
    assert bench.run() == "no task waits"


def test_what_fails_keeps_the_rest_of_a_cycle_from_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.handlers["social_media"] = bench.finish
    task = bench.task("social_media", "social", "a")
    worker = Orchestrator(bench.node)
    bench.node.__dict__["dispatcher"] = bench.new_dispatcher(2)
    monkeypatch.setattr(bench.node.drops, "run", lambda now: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        worker.run_cycle(bench.clock.now())
    assert [path.name for path in bench.tasks(Stage.DONE)] == [task.name]


def test_a_persons_note_that_is_named_like_ours_stays(bench: Bench) -> None:
    bench.drop("budget.reason.md", "my reasons for the budget")
    bench.drop("budget.md", "Call the plumber about the budget")
    bench.file_drops()
    assert (bench.root / "Inbox/budget.reason.md").read_text() == "my reasons for the budget"


def renamed(path: Path, key: str) -> Path:
    """A copy of a task under another task's name."""
    copy = path.with_name(f"{path.stem.rpartition('-')[0]}-{key}.md")
    copy.write_bytes(path.read_bytes())
    return copy


def test_a_file_that_is_called_otherwise_than_its_id_is_never_worked_on(bench: Bench) -> None:
    done: list[str] = []

    def handler(path: Path, task: Task) -> str:
        done.append(path.stem)
        return bench.finish(path, task)

    bench.handlers["accounting"] = handler
    path = bench.task("accounting", "accounting", "a")
    copy = renamed(path, "deadbeef")
    os.utime(copy, (bench.clock.now().timestamp() - 600,) * 2)
    assert bench.run() == "done: 1, set aside: 1"
    assert done == [path.stem]
    [aside] = bench.tasks(Stage.QUARANTINE)
    assert aside.name == copy.name
    told = f"the file is called '{copy.stem}' but its property 'id' says '{path.stem}': make both the same"
    assert told in bench.node.layout.reason(aside).read_text() and told in bench.alerts.told[0][2]


def test_a_task_that_a_person_renamed_gets_its_name_back(bench: Bench) -> None:
    path = bench.task("accounting", "accounting", "a")
    data = path.read_bytes()
    note = path.rename(path.with_name("my invoice.md"))
    os.utime(note, (bench.clock.now().timestamp() - 600,) * 2)
    assert bench.run() == "no task yet: 1"
    assert bench.file_drops() == "filed from Needs_Action: 1"
    assert bench.tasks() == [path] and path.read_bytes() == data


def left_in_progress(bench: Bench) -> Path:
    return claimed_by_the_dead(bench.node.claims, bench.task("accounting", "accounting", "a"))


@pytest.mark.parametrize("damage", ["broken", "empty", "misnamed"])
def test_what_cannot_be_used_in_progress_is_told_once(bench: Bench, damage: str) -> None:
    bench.handlers["accounting"] = bench.finish
    path = left_in_progress(bench)
    good = path.read_bytes()
    path.write_bytes({"broken": b"---\nid: [\n---\n", "empty": b""}.get(damage, good.replace(b"-2026", b"-2025", 1)))
    os.utime(path, (bench.clock.now().timestamp(),) * 2)
    assert bench.run() == "no task waits" and not bench.alerts.told, "somebody may be writing it"
    for _ in range(3):
        bench.clock.advance(3600)
        assert bench.run() == "no task waits"
    assert bench.alerts.titles == [f"WARNING {path.name} is stuck in progress"]
    assert f"In_Progress/local/{path.name}" in bench.alerts.told[0][2]
    path.write_bytes(good)
    assert bench.run() == "done: 1"


@pytest.mark.parametrize("folder", ["", "local", "cloud", "mars"])
def test_a_task_put_in_progress_by_hand_is_told_once(bench: Bench, folder: str) -> None:
    task = bench.task("accounting", "accounting", "a")
    path = bench.root / "In_Progress" / folder / task.name
    path.parent.mkdir(parents=True, exist_ok=True)
    task.rename(path)
    os.utime(path, (bench.clock.now().timestamp(),) * 2)
    assert bench.run() == "no task waits" and not bench.alerts.told, "somebody may be moving it"
    for _ in range(3):
        bench.clock.advance(3600)
        bench.run()
    assert bench.alerts.titles == [f"WARNING Nobody works on {path.name}"]
    assert path.exists(), "the person may be at it: it stays"


def test_what_nobody_here_has_a_handler_for_is_not_stuck(bench: Bench) -> None:
    path = left_in_progress(bench)
    path.write_bytes(path.read_bytes().replace(b"type: accounting", b"type: of_a_newer_version"))
    bench.clock.advance(10**6)
    assert bench.run() == "no task waits" and not bench.alerts.told
