"""Versions of what the API tells: whenever an answer differs, its version does; else it stays, over restarts too."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.api_client import Api, add_request, add_task
from tests.servers import free_port
from utils.core.stages import Stage
from utils.tasks.versions import TOPICS, difference
from utils.vault import jsonl

ANSWERS = {
    "approvals": ("/api/approvals?show=all",),
    "tasks": ("/api/tasks?limit=500",),
    "alerts": ("/api/alerts",),
    "zones": ("/api/zones/status", "/api/zones/health"),
    "sync": ("/api/vault/sync/status", "/api/vault/conflicts"),
    "actions": ("/api/actions", "/api/stop"),
    "health": ("/api/health/detailed",),
    "claims": ("/api/claims",),
}


@pytest.fixture
def node(make_node, clock):
    return make_node(clock=clock, API_PORT=str(free_port()))


def answers(api: Api) -> dict[str, Any]:
    """Every topic's answers, but for the words that count seconds."""
    return {topic: [still(api.ask("GET", path).get_json()) for path in paths] for topic, paths in ANSWERS.items()}


def still(value: Any) -> Any:
    if isinstance(value, list):
        return [still(item) for item in value]
    if not isinstance(value, dict):
        return value
    counting = {"expires_in_seconds", "warning", "waits"}
    shown = {name: value[name] is not None if name in counting else still(value[name]) for name in value}
    if value.get("method") == "http" and value.get("healthy"):
        shown["checked_at"] = None  # this zone, which answers now
    return shown


class History:
    """A node, and what is done to it; after each step the versions are held against the answers."""

    def __init__(self, node) -> None:
        self.node = node
        self.api = Api(node)
        self.told = 0
        self.seen = answers(self.api), node.versions()

    def step(self, what: str, do: Callable[[], Any]) -> Any:
        before, versions = self.seen
        result = do()
        after, now = self.seen = answers(self.api), self.node.versions()
        assert set(now) == set(TOPICS) and not any(version.startswith("unknown") for version in now.values())
        changed = set(difference(versions, now))
        differs = {topic for topic in TOPICS if before[topic] != after[topic]}
        assert differs <= changed, f"{what}: {differs - changed} changed, and nobody is told"
        self.told += len(differs)
        return result


def test_whenever_an_answer_differs_its_version_does(node, clock):
    history = History(node)
    step, now = history.step, clock.now

    def edit(task: str) -> None:
        path = node.layout.find(task)[0]
        path.write_text(path.read_text().replace("A question", "B question"))  # the same size
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))

    task = step("a task comes", lambda: add_task(node, "1", now()))
    step("it is edited in place", lambda: edit(task))
    step("it is claimed", lambda: node.claims.claim(node.layout.find(task)[0]))
    request = step("a request comes", lambda: add_request(node, task, now()))
    step("it is seen", lambda: node.approvals.observe())
    step("its expiry draws near", lambda: clock.advance(20 * 3600))
    step("it is renewed", lambda: renew(history.api, request))
    later = (now() + timedelta(minutes=10)).isoformat()
    step("it is snoozed", lambda: history.api.post(f"/api/approvals/{request}/snooze", until=later))
    step("it comes back by itself", lambda: clock.advance(700))
    shown = history.api.get(f"/api/approvals/{request}")
    record = step(
        "it is approved", lambda: history.api.post(f"/api/approvals/{request}/approve", sha256=shown["sha256"])
    )
    step("it is taken back", lambda: node.executor.cancel(record["action_id"], by="test"))
    again = history.api.get("/api/approvals")["items"][0]
    step(
        "a new draft is asked for",
        lambda: history.api.post(f"/api/approvals/{again['id']}/revise", instruction="shorter"),
    )
    step("an alert comes", lambda: node.alerts.send("WARNING", "A title", "A message", source="test"))
    step("it repeats", lambda: node.alerts.send("WARNING", "A title", "A message", source="test"))
    step("the services are checked", lambda: node.health.check(now()))
    step("the monitor died", lambda: clock.advance(3600))
    step("a person switches the zone", lambda: history.api.post("/api/zones/switch", zone="cloud", reason="holiday"))
    step("all is stopped", lambda: history.api.post("/api/stop", reason="no"))
    step("and goes on", lambda: history.api.ask("DELETE", "/api/stop"))
    step("a sync runs", lambda: history.api.post("/api/vault/sync/trigger"))
    copy = node.layout.conflicts / "Notes/x.2026.cloud.md"
    step("a version yields", lambda: (copy.parent.mkdir(parents=True), copy.write_text("theirs")))
    step("it is settled", copy.unlink)
    step("a note is written", lambda: (node.layout.root / "Business_Goals.md").write_text("more"))
    step("a sync runs", lambda: history.api.post("/api/vault/sync/trigger"))
    step("a claim is lost", lambda: node.claims.note("claim_lost", task))
    step("a person drops a note", lambda: (node.layout.folder(Stage.INBOX) / "note.md").write_text("# Buy milk\n"))
    assert history.told >= 30


def renew(api: Api, request: str) -> None:
    shown = api.get(f"/api/approvals/{request}")
    answer = api.ask("PUT", f"/api/approvals/{request}", json={"sha256": shown["sha256"], "renew": True})
    assert answer.status_code == 200, answer.get_data(as_text=True)


def test_a_draft_only_node_tells_of_the_log_that_sync_brought(make_node, clock):
    node = make_node("cloud", clock=clock, API_PORT=str(free_port()))
    history = History(node)
    line = {"at": "2026-06-01T12:00:00Z", "action_id": "0" * 32, "state": "done"}
    history.step("a line came", lambda: jsonl.append(node.layout.daily_log("actions", "2026-06-01"), line))
    assert history.told == 2, "the log, and that something is to be synced"


def test_nothing_changes_nothing_not_even_a_restart_or_an_hour(make_node, clock):
    """What was looked at is the same for a new process with a new connection, and for the same one later."""
    node = make_node(clock=clock, API_PORT=str(free_port()))
    task = add_task(node, "1", clock.now())
    node.claims.claim(node.layout.find(task)[0])
    add_request(node, task, clock.now())
    node.approvals.observe()
    node.alerts.send("INFO", "A title", "A message", source="test")
    node.sync.run()
    before = node.versions()
    answers(Api(node))
    assert node.versions() == before, "to be asked changes nothing"
    node.close()
    again = make_node(clock=clock, API_PORT=str(node.settings.api_port))
    after = again.versions()
    assert difference(before, after) == {}
    clock.advance(3600)
    assert difference(before, again.versions()) == {}


def test_what_can_not_be_looked_at_is_one_topics_trouble(node):
    before = node.versions()
    (node.settings.state_dir / "alerts.sqlite3").mkdir()
    after = node.versions()
    assert set(difference(before, after)) == {"alerts"} and after["alerts"].startswith("unknown-")
    (node.settings.state_dir / "alerts.sqlite3").rmdir()
    assert node.versions() == before
    shutil.rmtree(node.layout.root)
    assert set(node.versions()) == set(TOPICS)


def test_a_large_folder_is_not_walked_each_time_and_its_changes_are_told(node, clock, monkeypatch):
    folder = node.layout.folder(Stage.DONE) / "2026/01"
    folder.mkdir(parents=True)
    for number in range(1000):
        (folder / f"{number}.md").write_text("x")
    os.utime(folder, (0, 0))  # long ago
    walked = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda place: walked.append(str(place)) or scandir(place))
    before = node.versions()
    assert str(folder) in walked
    walked.clear()
    assert node.versions() == before and str(folder) not in walked
    (folder / "new.md").write_text("x")
    came = node.versions()
    assert {"tasks", "sync"} <= set(difference(before, came))
    os.utime(folder, (0, 0))
    node.versions()
    (folder / "5.md").write_text("longer")
    assert node.versions() == came, "an edit in place changes no folder"
    clock.advance(61)
    assert {"tasks", "sync"} <= set(difference(came, node.versions())), "so it is told a minute later"
