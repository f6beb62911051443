"""Sync over HTTP, with a real remote: what it did, what it could not do, and whose claim has arrived."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from tests.api_client import Api, SlowObserver, add_request, add_task
from utils.bootstrap import Services
from utils.sync import runs
from utils.sync.values import SyncResult

SYNC = "/api/vault/sync/trigger"
STATUS = "/api/vault/sync/status"
CONFLICTS = "/api/vault/conflicts"
RUNS = "/api/vault/sync/runs"


@pytest.fixture
def remote(tmp_path) -> Path:
    path = tmp_path / "remote.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(path)], check=True)
    return path


@pytest.fixture
def local(make_node, clock, remote) -> Api:
    return Api(make_node(clock=clock, VAULT_REMOTE_URL=str(remote)))


@pytest.fixture
def cloud(make_node, clock, remote, local) -> Api:
    return Api(make_node("cloud", clock=clock, VAULT_REMOTE_URL=str(remote)))


def test_a_trigger_carries_work_to_the_other_node(local, cloud, clock):
    add_task(cloud.node, "1", clock.now())
    sent = cloud.post(SYNC)
    assert sent["result"] == "ok" and sent["committed"] and sent["pushed"]
    assert cloud.post(SYNC)["result"] == "noop"
    assert local.post(SYNC)["pulled"]
    assert [task["stage"] for task in local.get("/api/tasks")["items"]] == ["needs_action"]
    for api in (local, cloud):
        status = api.get(STATUS)
        assert status["state"] == "idle" and status["branch"] == "main" and status["remote"] == "origin"
        assert status["head"] == status["remote_head"] and status["head"]
        assert status["ahead"] == status["behind"] == 0 and not status["dirty"]
        assert status["last_success_at"]
        assert api.get("/api/platinum/status")["modules"]["vault_sync"]["ok"]


def test_a_claim_is_provisional_until_the_remote_has_it(local, cloud, clock):
    task = add_task(cloud.node, "1", clock.now())
    cloud.post(SYNC)
    cloud.node.claims.claim(cloud.node.layout.find(task)[0])
    assert [claim["provisional"] for claim in cloud.get("/api/claims")["active"]] == [True]
    cloud.post(SYNC)
    assert [claim["provisional"] for claim in cloud.get("/api/claims")["active"]] == [False]
    local.post(SYNC)
    claim = local.get("/api/claims")["active"][0]
    assert (claim["task"], claim["agent"], claim["provisional"]) == (task, "cloud", False)


def test_a_remote_that_is_away_is_503_and_loses_nothing(local, remote, clock):
    local.post(SYNC)
    task = add_task(local.node, "1", clock.now())
    away = remote.rename(remote.with_name("away.git"))
    problem = local.refused(503, "POST", SYNC)
    assert problem["result"] == "offline" and problem["error"] and problem["type"].endswith("offline")
    assert set(problem) >= {"committed", "pulled", "pushed", "conflicts", "refused", "started_at", "duration_ms"}
    assert local.get(STATUS)["state"] == "offline"
    module = local.get("/api/platinum/status")["modules"]["vault_sync"]
    assert module["ok"] and "offline" in module["detail"], "offline is a state, not a fault"
    away.rename(remote)
    assert local.post(SYNC)["result"] == "ok"
    assert local.get(f"/api/tasks/{task}")["stage"] == "needs_action"


def test_each_run_is_remembered_what_went_well_and_what_did_not(local, remote, clock, monkeypatch):
    first = local.post(SYNC)
    away = remote.rename(remote.with_name("away.git"))
    clock.advance(300)
    local.refused(503, "POST", SYNC)
    away.rename(remote)
    clock.advance(300)
    last = local.post(SYNC)
    newest, offline, oldest, *setting_up = local.get(RUNS)["items"]
    assert len(setting_up) == 1, "the node's first sync was before all"
    assert (newest, oldest) == (last, first)
    assert offline["result"] == "offline" and offline["error"] and offline["started_at"] == "2026-06-01T12:05:00Z"
    page = local.get(RUNS, limit=1)
    assert page["items"] == [newest]
    assert local.get(RUNS, limit=1, cursor=page["next_cursor"])["items"] == [offline]
    local.refused(400, "GET", f"{RUNS}?cursor=nonsense")
    monkeypatch.setattr(runs, "FULL", 100)
    monkeypatch.setattr(runs, "KEPT", 2)
    result = SyncResult(refused=[{"path": str(number), "reason": "no"} for number in range(500)])
    local.node.sync.runs.note(result)
    kept = local.get(RUNS)["items"]
    assert len(kept) == 2 and kept[1] == newest and len(kept[0]["refused"]) == runs.MOST_PATHS
    with (local.node.settings.state_dir / "sync_runs.jsonl").open("a") as file:
        file.write('{"result": "to')
    assert local.get(RUNS)["items"] == kept, "what a crash left half written is no run"


def test_a_second_sync_is_told_that_one_runs(local):
    """Whoever syncs, this process or the scheduler's: there is one at a time."""
    scheduler = Services(local.node.settings)
    scheduler.approvals = held = SlowObserver()
    syncing = threading.Thread(target=scheduler.sync.run)
    syncing.start()
    with held:
        assert local.refused(409, "POST", SYNC)["type"].endswith("busy")
        assert local.get(STATUS)["state"] == "syncing"
    syncing.join()
    assert local.post(SYNC)["result"] in ("noop", "ok")


def test_a_vault_that_lost_its_marker_is_an_error_with_words(local, clock):
    local.post(SYNC)
    local.node.layout.marker.unlink()
    add_task(local.node, "1", clock.now())
    answer = local.post(SYNC)
    assert answer["result"] == "error" and answer["error"]
    assert local.get(STATUS)["state"] == "error"
    module = local.get("/api/platinum/status")["modules"]["vault_sync"]
    assert not module["ok"] and answer["error"] in module["detail"]


def test_a_request_from_the_cloud_is_approved_on_local(local, cloud, clock):
    """The middle of the demo: drafted there, carried by git, approved here, and the cloud sees it."""
    request = add_request(cloud.node, add_task(cloud.node, "1", clock.now()), clock.now())
    cloud.post(SYNC)
    local.post(SYNC)
    shown = local.get(f"/api/approvals/{request}")
    assert shown["sha256"] == cloud.get(f"/api/approvals/{request}")["sha256"]
    local.post(f"/api/approvals/{request}/approve", sha256=shown["sha256"])
    local.post(SYNC)
    cloud.post(SYNC)
    seen = cloud.get("/api/approvals")["items"]
    assert [(item["id"], item["stage"], item["needs_confirmation"]) for item in seen] in (
        [],
        [(request, "approved", True)],
    )
    assert cloud.get(f"/api/tasks/{request}")["stage"] == "approved"


def test_versions_that_yielded_are_listed_until_a_person_settles_them(local, cloud):
    local.node.layout.root.joinpath("Plans/email/trip.md").write_text("A\n")
    cloud.node.layout.root.joinpath("Plans/email/trip.md").write_text("B\n")
    local.node.layout.root.joinpath("Plans/email/map.png").write_bytes(b"\x89PNG\0A")
    cloud.node.layout.root.joinpath("Plans/email/map.png").write_bytes(b"\x89PNG\0B")
    for api in (local, cloud, local):
        api.post(SYNC)
    for api in (local, cloud):
        note, picture = sorted(api.get(CONFLICTS)["items"], key=lambda item: item["original"], reverse=True)
        assert (note["original"], note["lost"], note["stands"]) == ("Plans/email/trip.md", "cloud", "local")
        assert note["why"] == "both sides changed it" and note["since"] and note["size"] > 2
        assert (picture["original"], picture["lost"], picture["stands"]) == ("Plans/email/map.png", "cloud", None)
        assert api.get("/api/platinum/status")["conflicts"] == 2
    local.node.layout.root.joinpath(note["path"]).unlink()
    local.node.layout.root.joinpath(picture["path"]).rename(local.node.layout.root / "map of B.png")
    for api in (local, cloud, local, cloud):
        api.post(SYNC)
    for api in (local, cloud):
        assert api.get(CONFLICTS) == {"items": [], "next_cursor": None}, "settled, and not made again"
        assert (api.node.layout.root / "map of B.png").read_bytes() == b"\x89PNG\0B"


def test_thousands_of_kept_versions_come_page_by_page(make_node):
    api = Api(make_node())
    for number in range(3000):
        place = api.node.layout.conflicts / f"Plans/{number:04}.md.cloud.0a1b2c3d.md"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("x\n")
    assert api.get("/api/platinum/status")["conflicts"] == 3000
    seen, cursor = [], None
    while cursor is not None or not seen:
        page = api.get(CONFLICTS, limit=500, **({"cursor": cursor} if cursor else {}))
        seen += [item["original"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert len(seen) == len(set(seen)) == 3000 and "Plans/0000.md" in seen
    api.refused(400, "GET", CONFLICTS + "?cursor=nonsense")
