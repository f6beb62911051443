"""The API as a process: it listens, leaves when asked to, and says clearly why it can't start."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api_client import Api, SlowObserver
from utils.bootstrap import Services
from utils.settings import PROJECT_ROOT
from Watchers.api.errors import MAX_BODY
from Watchers.api.server import CannotListen, Server
from Watchers.dashboard import create_app

DEADLINE = 30.0


def eventually(condition: Callable[[], object], what: str) -> object:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        seen = condition()
        if seen:
            return seen
        time.sleep(0.02)
    raise AssertionError(f"not seen within {DEADLINE:g} s: {what}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str, bytes]:
    """`(status, content type, body)` of one request over a real socket."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers.get_content_type(), answer.read()
    finally:
        connection.close()


def raw(port: int, data: bytes) -> bytes:
    """What the server answers to bytes that are perhaps no request, until it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as channel:
        channel.sendall(data)
        found = b""
        while part := channel.recv(65536):
            found += part
        return found


def is_up(port: int) -> bool:
    try:
        return ask(port, "GET", "/api/health")[0] == 200
    except OSError:
        return False


class Running:
    """A `Server` in this process, on a free port, until the test ends."""

    def __init__(self, node: Services) -> None:
        self.port = node.settings.api_port
        self.app = create_app(services=node)
        self._stopped = threading.Event()
        self.server = Server(self.app, "127.0.0.1", self.port)
        self._thread = threading.Thread(target=self.server.run, args=(self._stopped.is_set,))
        self._thread.start()

    def stop_soon(self) -> None:
        self._stopped.set()

    def stop(self) -> None:
        self.stop_soon()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()


@pytest.fixture
def served(make_node) -> Iterator[Running]:
    running = Running(make_node(API_PORT=str(free_port())))
    yield running
    running.stop()


def environment(home: Path, port: int, **settings: str) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    (home / "vault").mkdir(parents=True, exist_ok=True)
    return {
        **inherited,
        "ENV_FILE": "",
        "VAULT_PATH": str(home / "vault"),
        "STATE_DIR": str(home / "state"),
        "API_PORT": str(port),
        **settings,
    }


def start(environ: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "Watchers.dashboard", *arguments],
        cwd=PROJECT_ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_and_leaves_when_it_is_told(tmp_path, number):
    port = free_port()
    process = start(environment(tmp_path, port))
    try:
        eventually(lambda: is_up(port) or process.poll() is not None, "the API answers")
        status, kind, body = ask(port, "GET", "/api/tasks")
        assert (status, kind) == (200, "application/json"), body
        idle = socket.create_connection(("127.0.0.1", port))  # an open connection keeps nobody
        process.send_signal(number)
        _, log = process.communicate(timeout=DEADLINE)
        idle.close()
        assert process.returncode == 0
        assert "dashboard stopped" in log and "Traceback" not in log
    finally:
        process.kill()
        process.communicate()


def test_a_port_in_use_is_one_clear_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = start(environment(tmp_path, port))
        _, log = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    said = [line for line in log.splitlines() if " INFO " not in line]  # the set-up of the vault is told as well
    assert said == [
        f"dashboard: port {port} on 127.0.0.1 is in use: stop the program that holds it, or set API_PORT to a free port"
    ]


def test_beyond_loopback_it_needs_a_token(tmp_path):
    process = start(environment(tmp_path, free_port(), API_HOST="0.0.0.0"), "--check")
    _, log = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert "API_TOKEN" in log


def test_check_once_and_help(tmp_path):
    for argument, words in (
        ("--check", "settings are fine"),
        ("--once", "of 7 modules are fine"),
        ("--help", "--once"),
    ):
        process = start(environment(tmp_path, free_port()), argument)
        out, log = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0, log
        assert words in out
        if argument != "--help":
            assert len(out.strip().splitlines()) == 1


def test_once_works_with_a_token(tmp_path):
    process = start(environment(tmp_path, free_port(), API_TOKEN="a-token-of-enough-characters"), "--once")
    out, log = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, log
    assert "modules are fine" in out


@pytest.mark.parametrize(("host", "setting"), [("192.0.2.1", "API_HOST"), ("no.such.host.invalid", "API_HOST")])
def test_an_address_that_is_not_ours(make_node, host, setting):
    with pytest.raises(CannotListen, match=setting):
        Server(create_app(services=make_node()), host, free_port())


def test_what_is_no_request_is_a_problem_too(served):
    """Refusals of the HTTP server itself have the form of all our errors."""
    for data, status in (
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n", 400),
        (b"POST /api/zones/switch HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ):
        head, _, body = raw(served.port, data).partition(b"\r\n\r\n")
        assert head.split(b" ")[1] == str(status).encode(), head
        assert b"application/problem+json" in head and b"nosniff" in head
        assert json.loads(body)["status"] == status
        assert b"waitress" not in head.lower() + body.lower()


def test_a_body_that_is_too_large_gets_an_answer(served):
    status, kind, body = ask(
        served.port, "POST", "/api/zones/switch", b" " * (MAX_BODY + 1), Content_Type="application/json"
    )
    assert (status, kind) == (413, "application/problem+json"), body


def test_a_path_can_not_escape(served):
    for path in (
        "/api/tasks/../../etc/passwd",
        "/api/../../../etc/passwd",
        "/api/tasks/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    ):
        status, kind, _ = ask(served.port, "GET", path)
        assert (status, kind) == (404, "application/problem+json")


def test_a_long_sync_keeps_nobody_waiting_and_a_second_one_is_told(served):
    """The trigger runs in its own thread; meanwhile everything else answers."""
    node = served.app.extensions["ai-employee"]
    node.approvals = held = SlowObserver()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(ask(served.port, "POST", "/api/vault/sync/trigger")))
    thread.start()
    with held:
        assert ask(served.port, "GET", "/api/tasks")[0] == 200
        assert json.loads(ask(served.port, "GET", "/api/vault/sync/status")[2])["state"] == "syncing"
        status, kind, body = ask(served.port, "POST", "/api/vault/sync/trigger")
        assert (status, kind) == (409, "application/problem+json")
        assert json.loads(body)["type"].endswith("busy")
    thread.join(DEADLINE)
    assert answers[0][0] == 200 and json.loads(answers[0][2])["result"] in ("ok", "noop")


def test_an_answer_under_way_is_still_given(make_node):
    """A stop does not cut off who is being answered."""
    running = Running(make_node(API_PORT=str(free_port())))
    inside, go_on = threading.Event(), threading.Event()
    original = running.app.view_functions["health.liveness"]

    def slow():
        inside.set()
        assert go_on.wait(DEADLINE)
        return original()

    running.app.view_functions["health.liveness"] = slow
    answers = []
    asking = threading.Thread(target=lambda: answers.append(ask(running.port, "GET", "/api/health")))
    asking.start()
    assert inside.wait(DEADLINE)
    running.stop_soon()
    eventually(lambda: not running.server.is_listening, "the server lets nobody in any more")
    go_on.set()
    running.stop()
    asking.join(DEADLINE)
    assert [status for status, _, _ in answers] == [200]


def test_many_at_once(served):
    """Threads share the services: one store, one vault, no answer but a good one."""
    node = served.app.extensions["ai-employee"]
    paths = ["/api/tasks", "/api/approvals", "/api/actions", "/api/alerts", "/api/claims", "/api/platinum/status"] * 10
    answers: list[tuple[str, int]] = []

    def worker(path: str) -> None:
        answers.append((path, ask(served.port, "GET", path)[0]))

    threads = [threading.Thread(target=worker, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert len(answers) == len(paths)
    assert [answer for answer in answers if answer[1] != 200] == []
    assert Api(node).get("/api/health") == {"status": "ok"}


def test_idle_it_knows_no_git_and_no_mcp(tmp_path):
    """Memory: what only a sync or an execution needs is not loaded by an API that nobody asked for either."""
    code = (
        "import sys; from Watchers.dashboard import create_app; from Watchers.api import server; app = create_app();"
        "client = app.test_client(); base = 'http://localhost:9000';"
        "[client.get(p, base_url=base) for p in ('/api/tasks', '/api/approvals', '/api/actions', '/api/alerts',"
        " '/api/claims', '/api/platinum/status', '/api/zones/status', '/api/health/detailed')];"
        "heavy = {'git', 'mcp', 'pydantic', 'requests', 'lxml', 'imapclient', 'asyncio'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    environ = environment(tmp_path, 9000)
    subprocess.run([sys.executable, "-m", "Watchers.dashboard", "--once"], cwd=PROJECT_ROOT, env=environ, check=True)
    found = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, env=environ, capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stdout + found.stderr
