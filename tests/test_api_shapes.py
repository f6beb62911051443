"""Every endpoint answers in the shape that `/api/openapi.json` promises, and that document is made from the code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate

from tests.api_client import Api, add_request, add_task
from tests.servers import free_port
from utils import VERSION
from utils.core.policy import ACTIONS
from utils.core.routing import TASK_TYPES
from utils.health.checkup import Checkup
from utils.settings import PROJECT_ROOT
from utils.vault import atomic

#: The nine endpoints of the mission document.
PLATINUM = {
    ("get", "/api/vault/sync/status"),
    ("post", "/api/vault/sync/trigger"),
    ("get", "/api/zones/status"),
    ("post", "/api/zones/switch"),
    ("get", "/api/zones/health"),
    ("get", "/api/health/detailed"),
    ("get", "/api/alerts"),
    ("get", "/api/claims"),
    ("get", "/api/platinum/status"),
}
OURS = {
    ("get", "/api/health"),
    ("get", "/api/approvals"),
    ("get", "/api/approvals/{request_id}"),
    ("put", "/api/approvals/{request_id}"),
    ("post", "/api/approvals/{request_id}/approve"),
    ("post", "/api/approvals/{request_id}/reject"),
    ("post", "/api/approvals/{request_id}/revise"),
    ("post", "/api/approvals/{request_id}/snooze"),
    ("get", "/api/alerts/silences"),
    ("post", "/api/alerts/silences"),
    ("delete", "/api/alerts/silences/{silence}"),
    ("get", "/api/answers"),
    ("get", "/api/tasks"),
    ("get", "/api/tasks/{task}"),
    ("get", "/api/actions"),
    ("post", "/api/actions/{action}/settle"),
    ("post", "/api/actions/{action}/cancel"),
    ("get", "/api/stop"),
    ("post", "/api/stop"),
    ("delete", "/api/stop"),
    ("get", "/api/vault/conflicts"),
    ("get", "/api/vault/sync/runs"),
    ("get", "/api/doctor"),
    ("get", "/api/events"),
    ("get", "/api/health/history"),
    ("get", "/api/vault/conflicts/{conflict}"),
    ("post", "/api/vault/conflicts/{conflict}/take-theirs"),
    ("post", "/api/vault/conflicts/{conflict}/dismiss"),
    ("get", "/api/openapi.json"),
    ("get", "/metrics"),
}
#: What answers something else than JSON.
OTHER = {"/api/events": "text/event-stream", "/metrics": "text/plain"}


@pytest.fixture
def node(make_node, clock):
    """A node with something of everything."""
    node = make_node(clock=clock, API_PORT=str(free_port()))
    task = add_task(node, "1", clock.now())
    node.claims.claim(node.layout.find(task)[0])
    add_request(node, task, clock.now())
    node.alerts.send("WARNING", "A title", "A message", source="test")
    node.checkup = Checkup(lambda: (0, '{"name": "vault", "state": "ok", "says": "there"}'), clock)
    return node


def schema_of(document: dict, method: str, path: str) -> dict:
    return document["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]


def matches(schema: dict, value: object) -> None:
    """The value has the schema's shape, and no member that the schema does not tell of."""
    Draft202012Validator(closed(schema), format_checker=FormatChecker()).validate(value)


def closed(schema):
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    shut = {name: closed(value) for name, value in schema.items()}
    if shut.get("type") == "object" and "properties" in shut:
        shut.setdefault("additionalProperties", False)
    return shut


def test_the_document_is_valid_openapi_and_lists_every_endpoint(node):
    document = Api(node).get("/api/openapi.json")
    validate(document)
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == VERSION
    listed = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert listed == PLATINUM | OURS
    for path, methods in document["paths"].items():
        for method, entry in methods.items():
            assert entry["summary"] and len(entry["summary"]) < 160, (method, path)
            assert ("security" in entry) == (path == "/api/health")


def test_the_version_is_the_projects():
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION


def test_every_get_answers_in_its_shape(node):
    api = Api(node)
    document = api.get("/api/openapi.json")
    request = api.get("/api/approvals")["items"][0]
    copy = node.layout.conflicts / "note.md.cloud.0a1b2c3d.md"
    copy.write_text("theirs")
    conflict = api.get("/api/vault/conflicts")["items"][0]["id"]
    ids = {"{request_id}": request["id"], "{task}": request["source_task"], "{conflict}": conflict}
    asked = 0
    for path in document["paths"]:
        if "get" in document["paths"][path]:
            success = document["paths"][path]["get"]["responses"]["200"]
            assert list(success["content"]) == [OTHER.get(path, "application/json")]
            if path in OTHER:
                assert api.ask("GET", path).mimetype == OTHER[path]
                continue
            value = api.get(re.sub(r"\{\w+\}", lambda match: ids[match[0]], path))
            matches(schema_of(document, "get", path), value)
            asked += 1
    assert asked == sum(method == "get" for method, _ in PLATINUM | OURS) - len(OTHER)


def test_every_write_answers_in_its_shape(node):
    api = Api(node)
    document = api.get("/api/openapi.json")
    shown = api.get("/api/approvals")["items"][0]
    path = f"/api/approvals/{shown['id']}"
    edited = api.ask("PUT", path, json={"sha256": shown["sha256"], "draft": "Other words."}).get_json()
    matches(schema_of(document, "put", "/api/approvals/{request_id}"), edited)
    approved = api.post(f"{path}/approve", sha256=edited["sha256"])
    matches(schema_of(document, "post", "/api/approvals/{request_id}/approve"), approved)
    matches(schema_of(document, "get", "/api/actions"), api.get("/api/actions"))
    rejected = api.post(f"{path}/reject", reason="changed my mind")
    matches(schema_of(document, "post", "/api/approvals/{request_id}/reject"), rejected)
    task = add_task(node, "2", node.clock.now())
    other = add_request(node, task, node.clock.now())
    snoozed = api.post(f"/api/approvals/{other}/snooze", until="2026-06-01T13:00:00Z")
    matches(schema_of(document, "post", "/api/approvals/{request_id}/snooze"), snoozed)
    revised = api.post(f"/api/approvals/{other}/revise", instruction="shorter")
    matches(schema_of(document, "post", "/api/approvals/{request_id}/revise"), revised)
    matches(schema_of(document, "get", "/api/approvals"), api.get("/api/approvals", show="all"))
    matches(schema_of(document, "get", "/api/answers"), api.get("/api/answers"))
    assert {item["answer"] for item in api.get("/api/answers")["items"]} == {
        "approved", "edited", "rejected", "revised", "snoozed"
    }  # fmt: skip
    switched = api.post("/api/zones/switch", zone="cloud")
    matches(schema_of(document, "post", "/api/zones/switch"), switched)
    synced = api.post("/api/vault/sync/trigger")
    matches(schema_of(document, "post", "/api/vault/sync/trigger"), synced)
    status = api.get("/api/vault/sync/status")
    matches(schema_of(document, "get", "/api/vault/sync/status"), status)
    assert status["last_sync"] == synced


def test_zones_are_told_and_switched(node):
    api = Api(node)
    before = api.get("/api/zones/status")
    assert before["this_zone"] == "local" and before["mode"] == "full"
    assert set(before["routing"]) == set(TASK_TYPES)
    assert before["routing"]["payments"] == {"rule": "local", "zone": "local"}
    assert before["state"] == "active", "alone"
    assert before["failover"] == {"enabled": True, "threshold": 3, "interval_seconds": 120}
    answer = api.post("/api/zones/switch", zone="cloud", reason="holiday", expected_term=before["term"])
    assert "nobody does the work" in answer.pop("warning"), "alone"
    assert answer == {"active_zone": "cloud", "previous": before["active_zone"], "term": before["term"] + 1}
    after = api.get("/api/zones/status")
    assert after["active_zone"] == "cloud" and after["pinned"] and "holiday" in after["reason"]
    assert after["state"] == "pinned"
    assert after["routing"]["email_processing"]["zone"] == "cloud"
    assert after["routing"]["payments"]["zone"] == "local", "failover never widens permission"
    problem = api.refused(409, "POST", "/api/zones/switch", json={"zone": "local", "expected_term": before["term"]})
    assert problem["type"].endswith("stale-term") and problem["term"] == answer["term"]
    problem = api.refused(400, "POST", "/api/zones/switch", json={"zone": "mars"})
    assert problem["type"].endswith("unknown-zone") and "cloud" in problem["detail"]
    unpinned = api.post("/api/zones/switch", zone="local", pin=False)
    assert unpinned["previous"] == "cloud" and not api.get("/api/zones/status")["pinned"]
    assert (
        "pin: must be true or false"
        in api.refused(400, "POST", "/api/zones/switch", json={"zone": "local", "pin": "no"})["detail"]
    )


def test_a_switch_that_the_remote_does_not_take_is_a_503_and_changes_nothing(node, tmp_path):
    """The vault has a remote, but nobody answers there."""
    git = ["git", "-C", str(node.layout.root)]
    subprocess.run([*git, "remote", "add", "origin", str(tmp_path / "gone.git")], check=True)
    api = Api(node)
    before = api.get("/api/zones/status")
    assert (before["state"], before["term"]) == ("passive", 0)
    problem = api.refused(503, "POST", "/api/zones/switch", data='{"zone":"local"}')
    assert "were not switched" in problem["detail"] and problem["type"].endswith("unavailable")
    assert api.get("/api/zones/status")["term"] == 0
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "gone.git")], check=True)
    assert api.post("/api/zones/switch", zone="local") == {"active_zone": "local", "previous": "cloud", "term": 1}
    assert api.get("/api/zones/status")["state"] == "active"


def test_alerts_are_listed_newest_first_and_filtered(node, clock):
    api = Api(node)
    clock.advance(60)
    since = clock.now()
    node.alerts.send("CRITICAL", "Worse", "It burns", source="test")
    alerts = api.get("/api/alerts")["items"]
    assert [alert["title"] for alert in alerts] == ["Worse", "A title"]
    assert alerts[0]["state"] == "suppressed", "no channel is set up"
    assert [alert["title"] for alert in api.get("/api/alerts", level="WARNING")["items"]] == ["A title"]
    assert [alert["title"] for alert in api.get("/api/alerts", since=since.isoformat())["items"]] == ["Worse"]
    first = api.get("/api/alerts", limit=1)
    node.alerts.send("INFO", "Later", "News", source="test")
    second = api.get("/api/alerts", limit=1, cursor=first["next_cursor"])
    assert [alert["title"] for alert in second["items"]] == ["A title"] and second["next_cursor"] is None
    api.refused(400, "GET", "/api/alerts?cursor=nonsense")


def test_health_is_what_the_monitor_saw(node, clock):
    api = Api(node)
    assert api.get("/api/health/detailed")["status"] == "unknown"
    assert not api.get("/api/platinum/status")["modules"]["health_monitor"]["ok"]
    # Nothing listens on the port of this node's API, which is down for the monitor that checks now.
    seen = api.get("/api/health/detailed", refresh="true")
    assert seen["services"]["api"]["consecutive_failures"] == 1 and seen["services"]["api"]["error"]
    assert seen["services"]["odoo"]["status"] == "unknown" and "ODOO_URL" in seen["services"]["odoo"]["error"]
    assert api.get("/api/health/detailed")["checked_at"] == "2026-06-01T12:00:00Z"
    assert api.get("/api/platinum/status")["modules"]["health_monitor"]["ok"]
    clock.advance(3600)
    assert not api.get("/api/platinum/status")["modules"]["health_monitor"]["ok"], "the monitor died"


def test_the_seven_modules_are_looked_at(node):
    modules = Api(node).get("/api/platinum/status")["modules"]
    assert set(modules) == {
        "vault_sync",
        "work_zones",
        "health_monitor",
        "alert_manager",
        "claim_task",
        "draft_only_mode",
        "vault_structure",
    }
    assert [name for name, module in modules.items() if not module["ok"]] == ["health_monitor"]


def test_a_broken_vault_is_told(node):
    (node.layout.root / "Approved").rename(node.layout.root / "Aproved")
    node.layout.marker.unlink()
    verdict = Api(node).get("/api/platinum/status")["modules"]["vault_structure"]
    assert not verdict["ok"] and "Approved" in verdict["detail"] and node.layout.marker.name in verdict["detail"]


def test_draft_only_mode_is_told(make_node):
    answer = Api(make_node("cloud")).get("/api/platinum/status")
    assert answer["agent"] == "cloud" and answer["mode"] == "draft_only"
    assert answer["modules"]["draft_only_mode"] == {
        "ok": True,
        "detail": f"on: all {len(ACTIONS)} actions are blocked here",
    }


def test_a_check_that_fails_leaves_the_others_standing(node):
    """A zone file that can't be read is one module's trouble."""
    file = node.settings.state_dir / "zone_alone.json"
    file.unlink(missing_ok=True)
    file.mkdir()
    modules = Api(node).get("/api/platinum/status")["modules"]
    assert not modules["work_zones"]["ok"]
    assert modules["vault_structure"]["ok"] and modules["claim_task"]["ok"]


def test_liveness_says_nothing_else(node):
    assert Api(node).get("/api/health") == {"status": "ok"}


def test_the_next_sync_comes_from_the_scheduler(node, clock):
    api = Api(node)
    file = node.settings.state_dir / "scheduler.json"

    def next_run(text: str | None) -> str | None:
        if text is not None:
            file.write_text(text)
        return api.get("/api/vault/sync/status")["next_run_at"]

    assert next_run(None) is None, "no scheduler has run"
    planned = json.dumps({"jobs": {"vault_sync": {"cron": "*/5 * * * *", "next_run_at": "2026-06-01T12:05:00Z"}}})
    assert next_run(planned) == "2026-06-01T12:05:00Z"
    clock.advance(600)
    assert next_run(None) is None, "the scheduler is gone"
    for damaged in ("", "[]", '{"jobs": []}', '{"jobs": {"vault_sync": {"next_run_at": 5}}}'):
        assert next_run(damaged) is None


def test_nothing_shows_a_path_of_this_machine(node):
    """Vault paths are relative; where the vault lies is nobody's business."""
    api = Api(node)
    home = str(Path(os.path.commonpath([node.settings.vault_path, node.settings.state_dir])))
    request = api.get("/api/approvals")["items"][0]["id"]
    for path in (
        "/api/tasks",
        "/api/approvals",
        f"/api/approvals/{request}",
        f"/api/tasks/{request}",
        "/api/claims",
        "/api/platinum/status",
        "/api/vault/sync/status",
        "/api/zones/status",
        "/api/alerts",
        "/api/actions",
    ):
        assert home not in api.ask("GET", path).get_data(as_text=True), path
    assert atomic.TEMP_PREFIX not in api.ask("GET", "/api/tasks").get_data(as_text=True)
