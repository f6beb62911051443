"""The node in numbers: what Prometheus reads is what the other endpoints say."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.api_client import Api, add_request, add_task
from tests.servers import free_port
from utils import VERSION


def scraped(api: Api) -> dict[tuple[str, ...], float]:
    """`(name, values of its labels in their order…)` → value."""
    answer = api.ask("GET", "/metrics")
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.get_data(as_text=True))
    return {
        (sample.name.removeprefix("ai_employee_"), *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_numbers_are_those_of_the_other_endpoints(make_node, clock):
    node = make_node(clock=clock, API_PORT=str(free_port()))
    api = Api(node)
    assert ("service_up", "api") not in scraped(api), "never checked"
    task = add_task(node, "1", clock.now())
    add_task(node, "2", clock.now(), domain="accounting")
    node.claims.claim(node.layout.find(task)[0])
    request = add_request(node, task, clock.now())
    node.alerts.send("WARNING", "A title", "x", source="test")
    node.health.check(clock.now())
    api.post("/api/stop")
    api.post("/api/vault/sync/trigger")
    (node.layout.conflicts / "x.md.cloud.0a1b2c3d.md").write_text("x")
    now = scraped(api)
    expected = {
        ("info", "local", "full", VERSION): 1,
        ("tasks", "email", "in_progress"): 1,
        ("tasks", "accounting", "needs_action"): 1,
        ("tasks", "email", "done"): 0,
        ("claims", "local"): 1,
        ("tasks_waiting", "local"): 1,
        ("approvals", "waiting"): 1,
        ("approvals_expired",): 0,
        ("zone_active", "local"): 1,
        ("zone_active", "cloud"): 0,
        ("lease_state", "active"): 1,
        ("sync_result", "ok"): 1,
        ("sync_result", "error"): 0,
        ("sync_running",): 0,
        ("sync_last_success_timestamp_seconds",): clock.now().timestamp(),
        ("service_up", "api"): 0,
        ("service_failures", "api"): 1,
        ("conflicts",): 1,
        ("stopped",): 1,
        ("alerts_waiting",): 0,
        ("event_streams",): 0,
    }
    assert {key: now.get(key) for key in expected} == expected
    assert {value for key, value in now.items() if key[0] == "scrape_error"} == {0}
    assert now[("process_resident_memory_bytes",)] > 1e6
    api.ask("DELETE", "/api/stop")
    sha256 = api.get(f"/api/approvals/{request}")["sha256"]
    api.post(f"/api/approvals/{request}/approve", sha256=sha256)
    after = scraped(api)
    assert after["actions", "approved"] == 1 and after["actions", "unknown"] == 0 and after["approvals", "waiting"] == 0


def test_a_part_that_can_not_be_looked_at_is_named_and_the_others_stand(make_node, clock):
    node = make_node(clock=clock)
    (node.settings.state_dir / "alerts.sqlite3").unlink(missing_ok=True)
    (node.settings.state_dir / "alerts.sqlite3").mkdir()
    now = scraped(Api(node))
    assert now["scrape_error", "alerts"] == 1 and now["scrape_error", "tasks"] == 0
    assert ("alerts_waiting",) not in now and now["zone_active", "local"] == 1


def test_a_cloud_node_has_its_numbers_too_and_they_need_the_token(make_node):
    api = Api(make_node("cloud", API_TOKEN="a-token-of-enough-characters"))
    api.refused(401, "GET", "/metrics")
    good = api.ask("GET", "/metrics", headers={"Authorization": "Bearer a-token-of-enough-characters"})
    assert good.status_code == 200 and 'mode="draft_only"' in good.get_data(as_text=True)
