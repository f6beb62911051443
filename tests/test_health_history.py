"""The services over days: what the log says, in buckets, and what it does not say left open."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tests.api_client import Api
from tests.servers import free_port
from utils.core.task import format_time
from utils.health import history as module
from utils.health.history import WINDOWS


@pytest.fixture
def node(make_node, clock):
    return make_node(clock=clock, API_PORT=str(free_port()))


def write(node, at, **services) -> None:
    path = node.layout.daily_log("health", f"{at:%Y-%m-%d}")
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {"at": format_time(at), "services": services}
    with path.open("a") as file:
        file.write(json.dumps(entry) + "\n")


def good(latency: float) -> dict:
    return {"status": "healthy", "latency_ms": latency}


DOWN = {"status": "down", "latency_ms": None, "error": "refused"}
DEGRADED = {"status": "degraded", "latency_ms": None, "error": "refused"}


def test_each_window_has_its_buckets_and_no_more_than_120(node):
    api = Api(node)
    for window, (count, seconds) in WINDOWS.items():
        told = api.get("/api/health/history", window=window)
        assert (told["window"], told["bucket_seconds"]) == (window, seconds)
        assert set(told["services"]) == {"api", "dashboard", "odoo"}, "watched, though never checked"
        for service in told["services"].values():
            assert service["uptime"] is None and len(service["buckets"]) == count <= 120
            assert {bucket["checks"] for bucket in service["buckets"]} == {0}
            assert service["buckets"][-1]["at"] == "2026-06-01T12:00:00Z", "noon begins a bucket in each"
    assert api.get("/api/health/history")["window"] == "24h"
    api.refused(400, "GET", "/api/health/history?window=1y")


def test_uptime_and_latency_are_of_the_checks_of_each_bucket(node, clock):
    begin = clock.now() - timedelta(hours=1)  # 11:00, four buckets of a quarter
    for number, latency in enumerate(range(1, 21)):  # within the first quarter
        write(node, begin + timedelta(seconds=30 * number), api=good(latency), odoo={"status": "unknown"})
    write(node, begin + timedelta(minutes=16), api=DEGRADED)
    write(node, begin + timedelta(minutes=17), api=good(8))
    write(node, begin + timedelta(minutes=31), api=DOWN)
    told = Api(node).get("/api/health/history")["services"]
    buckets = {bucket["at"]: bucket for bucket in told["api"]["buckets"]}
    assert buckets["2026-06-01T11:00:00Z"] == {
        "at": "2026-06-01T11:00:00Z", "uptime": 1, "latency_ms": 10.5, "latency_p95_ms": 19, "checks": 20
    }  # fmt: skip
    assert buckets["2026-06-01T11:15:00Z"]["uptime"] == 0.5 and buckets["2026-06-01T11:15:00Z"]["latency_ms"] == 8
    down = buckets["2026-06-01T11:30:00Z"]
    assert (down["uptime"], down["latency_ms"], down["checks"]) == (0, None, 1)
    assert buckets["2026-06-01T11:45:00Z"]["uptime"] is None
    assert told["api"]["uptime"] == round(21 / 23, 4)
    assert told["odoo"]["uptime"] is None, "it was not checked: nobody said where it is"


def test_a_month_over_days_and_gaps(node, clock):
    """The edges: what is older than the window is not told, the first and the last moment are."""
    first = clock.now() - timedelta(hours=119 * 6)
    write(node, first - timedelta(seconds=1), api=DOWN)
    write(node, first, api=good(5))
    write(node, clock.now() - timedelta(days=3), api=DOWN)
    write(node, clock.now(), api=good(7))
    told = Api(node).get("/api/health/history", window="30d")["services"]["api"]
    assert [bucket["checks"] for bucket in told["buckets"]].count(1) == 3
    assert told["buckets"][0]["uptime"] == 1 and told["buckets"][-1]["uptime"] == 1
    assert told["uptime"] == round(2 / 3, 4)


def test_what_is_no_line_of_ours_is_passed_over(node, clock):
    path = node.layout.daily_log("health", "2026-06-01")
    path.parent.mkdir(parents=True)
    lines = ["", "no json", "[]", "{}", '{"at": 5, "services": {}}', '{"at": "2026-06-01T11:00:00Z", "services": 5}']
    lines += ['{"at": "2026-06-01T11:00:00Z", "services": {"api": 5, "odoo": {"status": "weird"}}}']
    lines += ['{"at": "2026-06-01T11:00:00Z", "services": {"api": {"status": "healthy", "latency_ms": "fast"}}}']
    path.write_text("\n".join(lines) + '\n{"at": "2026-06-01T11:0')
    told = Api(node).get("/api/health/history")["services"]["api"]
    assert told["uptime"] == 1
    assert [bucket["latency_ms"] for bucket in told["buckets"] if bucket["checks"]] == [None]


def test_the_monitor_s_own_lines_are_read_and_a_day_only_when_it_changed(node, clock, monkeypatch):
    read = []
    newest = module.jsonl.newest
    monkeypatch.setattr(module.jsonl, "newest", lambda path: read.append(path.stem) or newest(path))
    write(node, clock.now() - timedelta(days=1), api=good(3))
    node.health.check(clock.now())  # nothing listens at this node's port
    api = Api(node)
    for _ in range(2):
        told = api.get("/api/health/history", window="7d")["services"]
        assert told["api"]["uptime"] == 0.5
        assert told["api"]["buckets"][-1]["uptime"] == 0
    assert sorted(read) == ["2026-05-31", "2026-06-01"]
    clock.advance(30)
    node.health.check(clock.now())
    assert api.get("/api/health/history", window="7d")["services"]["api"]["uptime"] == round(1 / 3, 4)
    assert sorted(read) == ["2026-05-31", "2026-06-01", "2026-06-01"]
