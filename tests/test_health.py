"""Health: counting failures, alerts on change, history on disk, and probes of real servers good and bad."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import FakeClock
from tests.fakes.watch import AlertNotes, FakeProbe
from tests.servers import free_port
from utils.adapters.http_probe import HttpProbe
from utils.health.monitor import HealthMonitor, Target
from utils.vault import jsonl
from utils.vault.layout import Layout

TARGETS = [
    Target("api", "http://127.0.0.1:9000/api/health", "API_PORT"),
    Target("dashboard", "http://dash.example", "DASHBOARD_URL"),
    Target("odoo", "", "ODOO_URL"),
]


class Bench:
    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.folder, self.clock = folder, clock
        self.probe, self.alerts = FakeProbe(), AlertNotes()
        self.logs = folder / "vault" / "Logs" / "health"

    def monitor(self) -> HealthMonitor:
        return HealthMonitor(
            TARGETS,
            Layout(self.folder / "vault"),
            state_dir=self.folder / "state",
            clock=self.clock,
            probe=lambda: self.probe,
            alert=self.alerts,
            interval=30,
            timeout=1,
            threshold=3,
        )

    def cycle(self, count: int = 1) -> str:
        answer = ""
        for _ in range(count):
            answer = self.monitor().check(self.clock.now())  # a new process each time: nothing is kept in memory
            self.clock.advance(30)
        return answer


@pytest.fixture
def bench(tmp_path: Path, clock: FakeClock) -> Bench:
    return Bench(tmp_path, clock)


def test_what_is_not_configured_is_unknown_and_says_what_to_set(bench: Bench) -> None:
    assert bench.cycle() == "api healthy, dashboard healthy, odoo unknown"
    detailed = bench.monitor().detailed()
    assert detailed["status"] == "healthy"
    assert detailed["services"]["odoo"] == {
        "status": "unknown",
        "latency_ms": None,
        "consecutive_failures": 0,
        "last_ok_at": None,
        "error": "not configured: set ODOO_URL",
        "uptime_24h": None,
    }


def test_a_service_degrades_goes_down_is_told_once_and_comes_back(bench: Bench) -> None:
    bench.cycle()
    bench.probe.down = {"dash": "nothing listens"}
    assert "dashboard degraded" in bench.cycle(2)
    assert not bench.alerts.told
    assert "dashboard down" in bench.cycle(3)
    assert bench.alerts.titles == ["CRITICAL dashboard is down"]
    detailed = bench.monitor().detailed()
    assert detailed["status"] == "down"
    service = detailed["services"]["dashboard"]
    assert (service["consecutive_failures"], service["error"]) == (5, "nothing listens")
    assert service["last_ok_at"] == "2026-06-01T12:00:00Z"
    assert service["uptime_24h"] == pytest.approx(100 / 6, abs=0.01)
    bench.probe.down = {}
    bench.cycle()
    assert bench.alerts.titles[1:] == ["INFO dashboard is back"]
    assert bench.monitor().detailed()["status"] == "healthy"


def test_a_single_hiccup_alerts_nobody(bench: Bench) -> None:
    for _ in range(5):
        bench.probe.down = {"dash": "timeout"}
        bench.cycle(2)
        bench.probe.down = {}
        bench.cycle()
    assert not bench.alerts.told


def test_each_check_is_one_line_of_history_and_old_days_go(bench: Bench) -> None:
    bench.logs.mkdir(parents=True)
    for name in ("2026-04-01.jsonl", "2026-05-20.jsonl", "notes.jsonl", "2026-13-99.jsonl"):
        (bench.logs / name).write_text("{}\n")
    bench.cycle(4)
    assert sorted(path.name for path in bench.logs.iterdir()) == [
        "2026-05-20.jsonl",
        "2026-06-01.jsonl",
        "2026-13-99.jsonl",
        "notes.jsonl",
    ]
    lines = list(jsonl.newest(bench.logs / "2026-06-01.jsonl"))
    assert len(lines) == 4
    assert lines[0]["services"]["api"] == {"status": "healthy", "latency_ms": 3.0}


def test_uptime_looks_back_a_day_and_no_further(bench: Bench) -> None:
    bench.probe.down = {"api": "no"}
    bench.cycle(10)
    bench.probe.down = {}
    bench.clock.advance(12 * 3600)
    bench.cycle(10)
    assert bench.monitor().detailed()["services"]["api"]["uptime_24h"] == 50.0
    bench.clock.advance(13 * 3600)
    assert bench.monitor().detailed()["services"]["api"]["uptime_24h"] == 100.0
    bench.clock.advance(30 * 3600)
    assert bench.monitor().detailed()["services"]["api"]["uptime_24h"] is None


def test_what_nobody_checks_any_more_is_not_shown_as_healthy(bench: Bench) -> None:
    detailed = bench.monitor().detailed()
    assert (detailed["status"], detailed["checked_at"]) == ("unknown", None)
    bench.cycle()
    assert bench.monitor().detailed()["status"] == "healthy"
    bench.clock.advance(600)
    stale = bench.monitor().detailed()
    assert stale["status"] == "unknown"
    assert "is the health monitor running?" in stale["services"]["api"]["error"]
    assert bench.monitor().detailed(refresh=True)["status"] == "healthy"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"services": 1, "hours": {}}', b"\xff\xfe"])
def test_a_damaged_state_file_is_survived(damage: bytes, bench: Bench) -> None:
    bench.cycle()
    (bench.folder / "state" / "health.json").write_bytes(damage)
    assert bench.monitor().detailed()["status"] == "unknown"
    bench.cycle()
    assert json.loads((bench.folder / "state" / "health.json").read_bytes())["services"]["api"]["status"] == "healthy"


# ----------------------------------------------------------------------------------------------------- the probe


@contextmanager
def web(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *args: None  # a client that left is no news here
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def reply(status: int, **headers: str) -> Callable[[http.server.BaseHTTPRequestHandler], None]:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()

    return answer


@pytest.mark.parametrize(("status", "ok"), [(200, True), (204, True), (404, False), (500, False), (503, False)])
def test_the_probe_judges_by_the_status(status: int, ok: bool) -> None:
    with web(reply(status)) as url:
        result = HttpProbe().check(f"{url}/x", 5)
    assert result.ok is ok
    assert (result.error is None) is ok
    assert ok or f"answered {status}" in str(result.error)


def test_the_probe_follows_redirects_at_home_only() -> None:
    def home(handler: http.server.BaseHTTPRequestHandler) -> None:
        reply(200)(handler) if handler.path == "/login" else reply(302, Location="/login")(handler)

    with web(home) as url:
        assert HttpProbe().check(url, 5).ok
    with web(reply(302, Location="http://169.254.169.254/latest")) as url:
        assert HttpProbe().check(url, 5).error == "redirects to another host: http://169.254.169.254/latest"
    with web(reply(302, Location="/again")) as url:
        assert "more than 3 redirects" in str(HttpProbe().check(url, 5).error)


def test_the_probe_is_not_held_up_by_a_service_that_drips() -> None:
    gone = threading.Event()

    def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
        try:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
            while not gone.wait(0.05):  # a header line that would take an hour
                handler.wfile.write(b"x")
        except OSError:
            gone.set()

    results = []
    with web(drip) as url:
        asking = threading.Thread(target=lambda: results.append(HttpProbe().check(url, 0.5)), daemon=True)
        asking.start()
        asking.join(30)
        still_asking = asking.is_alive()
        gone.set()
    assert not still_asking
    assert "did not answer within 0.5 s" in str(results[0].error)


def test_the_probe_reads_a_bounded_body() -> None:
    def endless(handler: http.server.BaseHTTPRequestHandler) -> None:
        try:
            reply(200)(handler)
            while True:
                handler.wfile.write(b"x" * 65536)
        except OSError:
            pass

    with web(endless) as url:
        assert HttpProbe().check(url, 20).ok


def test_the_probe_never_raises_and_tells_no_secret() -> None:
    port = free_port()
    assert "nothing listens at" in str(HttpProbe().check(f"http://127.0.0.1:{port}/", 1).error)
    assert "can't be found" in str(HttpProbe().check("http://no-such-host.invalid/", 5).error)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "did not answer within" in str(HttpProbe().check(f"http://127.0.0.1:{port}", 0.3).error)
        assert not HttpProbe().check(f"https://127.0.0.1:{port}", 0.3).ok
    for url in ("http://127.0.0.1:99999/", "http://[::1", "https://user:secret@127.0.0.1:1/?token=secret"):
        result = HttpProbe().check(url, 1)
        assert not result.ok
        assert "secret" not in str(result.error)
