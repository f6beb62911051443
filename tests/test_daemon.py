"""How a process of ours runs: signals, waits, failures of cycles, settings that are wrong, secrets in logs."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from tests.servers import eventually
from utils import daemon
from utils.bootstrap import Services
from utils.daemon import CannotStart, Stop, Worker
from utils.settings import PROJECT_ROOT, load

SCRIPT = """
import sys
from utils.daemon import CannotStart, Worker, run
class Dummy(Worker):
    name = "dummy"
    description = "A worker of a test."
    def start(self, stop):
        if "{mode}" == "cannot": raise CannotStart("the moon is in the way: wait until it sets")
    def run_cycle(self, now):
        if "{mode}" == "bad": raise RuntimeError("oops")
        return "did nothing"
    def close(self):
        print("closed", flush=True)
sys.exit(run(Dummy, sys.argv[1:]))
"""


def dummy(tmp_path: Path, *options: str, mode: str = "", **settings: str) -> subprocess.Popen[str]:
    (tmp_path / "vault").mkdir(exist_ok=True)
    environ = os.environ | {
        "ENV_FILE": "",
        "VAULT_PATH": str(tmp_path / "vault"),
        "STATE_DIR": str(tmp_path / "state"),
        **settings,
    }
    command = [sys.executable, "-c", SCRIPT.replace("{mode}", mode), *options]
    return subprocess.Popen(
        command, cwd=PROJECT_ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_once_prints_one_line_and_check_runs_nothing(tmp_path: Path) -> None:
    assert finish(dummy(tmp_path, "--once"))[:2] == (0, "did nothing\nclosed\n")
    assert finish(dummy(tmp_path, "--check"))[:2] == (0, "dummy: settings are fine\n")
    assert "A worker of a test." in finish(dummy(tmp_path, "--help"))[1]


def test_every_problem_of_the_settings_is_told_at_once(tmp_path: Path) -> None:
    code, _, err = finish(dummy(tmp_path, "--check", API_PORT="http", AGENT_NAME="moon", API_TOKEN="short"))
    assert code == 2
    assert "3 problem(s)" in err
    for name in ("API_PORT", "AGENT_NAME", "API_TOKEN"):
        assert name in err
    assert "short" not in err
    assert "Traceback" not in err


def test_a_vault_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    code, _, err = finish(dummy(tmp_path, "--once", VAULT_PATH=str(tmp_path / "nowhere")))
    assert code == 2
    assert "nowhere" in err
    assert "Traceback" not in err


def test_a_process_that_cannot_do_its_work_says_why(tmp_path: Path) -> None:
    code, out, err = finish(dummy(tmp_path, mode="cannot"))
    assert (code, out) == (1, "closed\n")
    assert "dummy: the moon is in the way: wait until it sets" in err
    assert "Traceback" not in err
    code, out, err = finish(dummy(tmp_path, "--once", mode="bad"))
    assert (code, out) == (1, "closed\n")
    assert "RuntimeError: oops" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    process = dummy(tmp_path)
    assert process.stderr is not None
    for line in process.stderr:
        if "did nothing" in line:
            break
    process.send_signal(number)
    code, out, err = finish(process)
    assert (code, out) == (0, "closed\n")
    assert "dummy stopped" in err


def test_it_leaves_when_the_pipe_to_its_orchestrator_closes(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    (tmp_path / "vault").mkdir()
    environ = os.environ | {
        "ENV_FILE": "",
        "VAULT_PATH": str(tmp_path / "vault"),
        "STATE_DIR": str(tmp_path / "state"),
        daemon.SUPERVISOR_FD: str(reader),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=PROJECT_ROOT,
        env=environ,
        pass_fds=[reader],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(reader)
    assert process.stderr is not None
    for line in process.stderr:
        if "did nothing" in line:
            break
    assert process.poll() is None
    os.close(writer)
    code, out, err = finish(process)
    assert (code, out) == (0, "closed\n")
    assert "the orchestrator is gone" in err


# ---------------------------------------------------------------------------------------------------- in this process


INTERRUPTED = """
import signal, time
from utils.daemon import Stop
stop = Stop()
signal.signal(signal.SIGALRM, lambda number, frame: stop.wake())
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
end = time.monotonic() + 1
while time.monotonic() < end:
    stop.wait(0.01)
print("still here")
"""


def test_stop_can_be_set_from_a_handler_at_any_moment() -> None:
    """A `threading.Event` in its place deadlocks here sooner or later: its lock is held while the handler runs."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "still here\n"


def test_a_wake_ends_one_wait_and_a_stop_ends_all() -> None:
    stop = Stop()
    for _ in range(100_000):
        stop.wake()  # more than a pipe holds
    started = time.monotonic()
    stop.wait(60)
    threading.Timer(0.1, stop.set).start()
    stop.wait(60)
    stop.wait(60)
    assert stop()
    assert time.monotonic() - started < 30


class Script(Worker):
    """Plays its cycles: an exception is raised, a text is the answer; then it stops."""

    name = "script"
    interval = 10.0

    def __init__(self, services: Services, cycles: list[str | Exception], watch: list[Path] | None = None) -> None:
        super().__init__(services)
        self.cycles, self.watch = cycles, watch or []
        self.pauses: list[float] = []
        self.during: Callable[[], None] = lambda: None

    def folders(self) -> list[Path]:
        return self.watch

    def run_cycle(self, now: datetime) -> str:
        cycle = self.cycles.pop(0)
        if isinstance(cycle, Exception):
            raise cycle
        return cycle

    def wait(self, seconds: float, stop: Stop) -> None:
        self.pauses.append(seconds)
        self.during()
        if self.watch:
            stop.wait(60)
        if not self.cycles:
            stop.set()


def test_a_failing_cycle_is_tried_again_later_and_later_and_told_once(make_node: Callable[..., Services]) -> None:
    node = make_node("local")
    worker = Script(node, ["ok", *[RuntimeError("oops")] * 7, "ok", RuntimeError("again")])
    daemon._loop(worker, node, Stop())
    assert worker.pauses == [10, 20, 40, 80, 160, 300, 300, 300, 10, 20]
    alerts = node.alerts.recent(10)[0]
    assert [(alert["level"], alert["title"]) for alert in alerts] == [("CRITICAL", "script fails again and again")]
    assert alerts[0]["message"] == "RuntimeError: oops"


def test_a_change_in_a_folder_wakes_a_cycle(make_node: Callable[..., Services], tmp_path: Path) -> None:
    node = make_node("local")
    folder = tmp_path / "watched" / "deep"
    worker = Script(node, ["one", "two"], [folder.parent])
    worker.during = lambda: (folder.mkdir(exist_ok=True), (folder / "x").write_text("x"), None)[2]
    started = time.monotonic()
    daemon._loop(worker, node, Stop())
    assert worker.cycles == []
    assert time.monotonic() - started < 60  # two waits of 60 s were cut short


def test_a_folder_that_cannot_be_watched_is_no_reason_to_fail(
    make_node: Callable[..., Services], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = make_node("local")
    (tmp_path / "file").write_text("no folder")
    worker = Script(node, ["one"], [tmp_path / "file" / "below"])
    worker.wait = lambda seconds, stop: stop.set()  # type: ignore[method-assign]
    daemon._loop(worker, node, Stop())
    assert "cannot watch folders" in caplog.text


def test_secrets_are_masked_in_logs() -> None:
    settings = load({"ENV_FILE": "", "API_TOKEN": "0123456789abcdef0123", "SMTP_PASS": "hunter22"})
    formatter = daemon._Redacting(settings)
    record = logging.LogRecord("x", logging.INFO, "f", 1, "token %s", ("0123456789abcdef0123",), None)
    try:
        raise RuntimeError("login hunter22 refused")
    except RuntimeError:
        record.exc_info = sys.exc_info()
    text = formatter.format(record)
    assert "token ***" in text
    assert "hunter22" not in text
    assert "0123456789abcdef0123" not in text


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_node: Callable[..., Services]) -> None:
    import socket

    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(address))
        listener.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        node = make_node("local")
        daemon._loop(Script(node, ["one"]), node, Stop())
        assert [listener.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]
    daemon.notify_systemd("READY=1")  # nobody listens any more: a warning, no failure
    eventually(lambda: True)
    assert isinstance(CannotStart("x"), RuntimeError)


def test_a_watchdog_is_never_waited_out(monkeypatch: pytest.MonkeyPatch, make_node: Callable[..., Services]) -> None:
    """A cycle that fails again and again waits longer each time, but half of what systemd allows at most."""
    waits: list[float] = []

    def longest(allowed: str | None) -> float:
        waits.clear()
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
        if allowed is not None:
            monkeypatch.setenv("WATCHDOG_USEC", allowed)
        worker = Script(make_node("local"), [RuntimeError("disk full")] * 6)

        def wait(seconds: float, stop: Stop) -> None:
            waits.append(seconds)
            if len(waits) == 6:
                stop.set()

        monkeypatch.setattr(worker, "wait", wait)
        daemon._loop(worker, worker.services, Stop())
        return max(waits)

    assert longest("180000000") == 90
    assert longest(None) == 300
    assert longest("no number") == 300


def test_a_child_does_not_speak_to_systemd_in_its_parents_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from utils.adapters.processes import Processes

    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("OTHER", "kept")
    processes = Processes(tmp_path)
    try:
        told = tmp_path / "told"
        words = f"import os, json; open({str(told)!r}, 'w').write(json.dumps(sorted(os.environ)))"
        assert processes.spawn([sys.executable, "-c", words]).wait(30) == 0
    finally:
        processes.close()
    names = told.read_text()
    assert "OTHER" in names
    assert not [name for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID") if name in names]
