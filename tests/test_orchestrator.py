"""The orchestrator with real children: it restarts the fallen, gives up loudly, stops all, and leaves no orphan."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.fakes.watch import AlertNotes
from tests.servers import eventually
from utils.bootstrap import Services
from utils.core.supervision import RestartPolicy, after_fall
from utils.daemon import Stop
from utils.settings import PROJECT_ROOT
from Watchers.orchestrator import Orchestrator, Supervisor, default_children


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Bench:
    """Starts orchestrators of one node as real processes and knows their children."""

    def __init__(self, folder: Path, node: Services) -> None:
        self.folder, self.node = folder, node
        self.state = node.settings.state_dir
        self.started: list[subprocess.Popen[str]] = []
        self.children: dict[str, str] = {}

    def start(self, **modes: str) -> subprocess.Popen[str]:
        self.children = modes or self.children
        s = self.node.settings
        table = {
            name: [sys.executable, "-m", "tests.fakes.child", mode, str(self.folder / f"{name}.pids")]
            for name, mode in self.children.items()
        }
        environ = os.environ | {
            "ENV_FILE": "",
            "AGENT_NAME": "local",
            "VAULT_PATH": str(s.vault_path),
            "STATE_DIR": str(s.state_dir),
            "SYNC_SETTLE_SECONDS": "0",
            "CHILDREN": json.dumps(table),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.orchestrate"],
            cwd=PROJECT_ROOT,
            env=environ,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def pids(self, name: str) -> list[int]:
        file = self.folder / f"{name}.pids"
        return [int(word) for word in file.read_text().split()] if file.exists() else []

    def pid(self, name: str) -> int:
        return eventually(lambda: self.pids(name), what=f"the start of {name}")[-1]

    def known(self) -> dict[str, Any]:
        file = self.state / "processes.json"
        return json.loads(file.read_text())["children"] if file.exists() else {}

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.communicate()
        for name in self.children:
            for pid in self.pids(name):
                if alive(pid) and b"tests.fakes.child" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def bench(tmp_path: Path, make_node: Callable[..., Services]) -> Iterator[Bench]:
    bench = Bench(tmp_path, make_node("local"))
    yield bench
    bench.close()


def test_a_fallen_child_is_started_again_and_the_others_are_left_alone(bench: Bench) -> None:
    bench.start(one="stay", two="stay")
    one, two = bench.pid("one"), bench.pid("two")
    eventually(lambda: bench.known().get("two", {}).get("state") == "running", what="processes.json")
    os.kill(one, signal.SIGKILL)
    again = eventually(lambda: len(bench.pids("one")) == 2 and bench.pid("one"), what="the restart")
    eventually(lambda: bench.known()["one"]["restarts"] == 1 and bench.known()["one"]["pid"], what="the note of it")
    assert bench.known()["one"] | {"since": ""} == {
        "pid": again,
        "state": "running",
        "since": "",
        "restarts": 1,
        "last_exit": "was killed by signal 9",
    }
    assert bench.pids("two") == [two]
    assert alive(two)


def test_a_child_that_falls_again_and_again_is_given_up_loudly_and_the_rest_goes_on(bench: Bench) -> None:
    bench.start(bad="crash", good="stay")
    eventually(lambda: bench.known().get("bad", {}).get("state") == "gave_up", what="giving up")
    assert len(bench.pids("bad")) == 4
    alerts = eventually(lambda: bench.node.alerts.recent(10)[0], what="the alert")
    assert [(alert["level"], alert["title"]) for alert in alerts] == [("CRITICAL", "bad is given up")]
    assert "exit code 3" in alerts[0]["message"]
    assert alive(bench.pid("good"))
    assert bench.known()["good"]["state"] == "running"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_all_and_says_so(bench: Bench, number: signal.Signals) -> None:
    orchestrator = bench.start(one="stay", two="stay", stubborn="stubborn")
    pids = [bench.pid("one"), bench.pid("two"), bench.pid("stubborn")]
    orchestrator.send_signal(number)
    _, said = orchestrator.communicate(timeout=30)
    assert orchestrator.returncode == 0
    assert not [pid for pid in pids if alive(pid)]
    assert "stubborn does not leave: killed" in said
    assert {child["state"] for child in bench.known().values()} == {"stopped"}


def test_killed_with_9_it_leaves_no_orphan(bench: Bench) -> None:
    orchestrator = bench.start(one="stay", two="stay", stubborn="stubborn")
    pids = [bench.pid(name) for name in ("one", "two", "stubborn")]
    assert all(alive(pid) for pid in pids)
    orchestrator.kill()
    eventually(lambda: not any(alive(pid) for pid in pids), what="the end of the children")
    bench.start()
    eventually(lambda: len(bench.pids("one")) == 2, what="a new orchestrator after the kill")


def test_a_second_one_says_so_and_leaves(bench: Bench) -> None:
    first = bench.start(one="stay")
    pid = bench.pid("one")
    second = bench.start()
    _, said = second.communicate(timeout=30)
    assert second.returncode == 1
    assert f"runs already (pid {first.pid})" in said
    assert "Traceback" not in said
    assert bench.pids("one") == [pid]
    assert alive(pid)


def test_a_drop_in_the_inbox_becomes_a_task_while_it_runs(bench: Bench) -> None:
    bench.start(one="stay")
    bench.pid("one")
    layout = bench.node.layout
    (layout.root / "Inbox" / "idea.md").write_text("Call the plumber\n")
    filed = eventually(lambda: list((layout.root / "Needs_Action" / "general").glob("general-*.md")), what="the task")
    assert filed[0].read_text().endswith("---\nCall the plumber\n")


def test_once_routes_and_starts_nothing(make_node: Callable[..., Services], clock: FakeClock) -> None:
    node = make_node("local")
    orchestrator = Orchestrator(node, {"one": ["/bin/false"]})
    assert orchestrator.run_cycle(clock.now()) == "no task waits"
    orchestrator.close()
    assert not (node.settings.state_dir / "processes.json").exists()


def test_a_full_disk_at_the_start_is_told_and_ends_nothing(
    make_node: Callable[..., Services], clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    node = make_node("local", clock=clock)
    monkeypatch.setattr(node.claims, "repair", full)
    before = signal.getsignal(signal.SIGCHLD)
    orchestrator = Orchestrator(node, {})
    try:
        orchestrator.start(Stop())
        assert orchestrator.run_cycle(clock.now()) == "0 of 0 children run; no task waits"
    finally:
        signal.signal(signal.SIGCHLD, before)
        orchestrator.close()
    [alert], _ = node.alerts.recent()
    assert (alert["level"], alert["source"]) == ("WARNING", "orchestrator")
    assert "No space left on device" in alert["message"]


def test_the_table_of_a_node(make_node: Callable[..., Services]) -> None:
    node = make_node("local", ready=False)
    assert list(default_children(node)) == ["gmail_watcher", "approval_watcher", "scheduler", "health_monitor"]
    by_script = make_node("local", ready=False, SUPERVISE_API="true")
    assert list(default_children(by_script)) == ["dashboard", *default_children(node)]
    whole = make_node("local", ready=False, SUPERVISE_DASHBOARD="true")
    assert default_children(whole)["web"][1:] == ["-m", "scripts.web", "run"]
    by_systemd = make_node("cloud", ready=False, SUPERVISE_HEALTH_MONITOR="false")
    assert "health_monitor" not in default_children(by_systemd)


# ------------------------------------------------------------------------------------- when, with a clock of our own


class Spawned:
    """A child that a test ends."""

    pid = 42

    def __init__(self) -> None:
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self.returncode


class FakeSpawner:
    def __init__(self) -> None:
        self.spawned: list[Spawned] = []
        self.error: OSError | None = None

    def spawn(self, command: object) -> Spawned:
        if self.error:
            raise self.error
        self.spawned.append(Spawned())
        return self.spawned[-1]

    def close(self) -> None:
        pass


def test_restarts_wait_longer_and_longer_and_a_good_hour_forgives(tmp_path: Path, clock: FakeClock) -> None:
    spawner, alerts = FakeSpawner(), AlertNotes()
    supervisor = Supervisor({"one": ["x"]}, spawner, state_file=tmp_path / "processes.json", clock=clock, alert=alerts)
    pauses = []
    for _ in range(7):
        assert supervisor.tick() == "1 of 1 children run"
        assert supervisor.due_in() == float("inf")
        spawner.spawned[-1].returncode = 1
        assert supervisor.tick() == "0 of 1 children run"
        pauses.append(supervisor.due_in())
        clock.advance(pauses[-1] - 0.01)
        assert supervisor.tick() == "0 of 1 children run"
        clock.advance(0.02)
    assert pauses == [1, 2, 4, 8, 16, 32, 60]
    supervisor.tick()
    clock.advance(3600)
    spawner.spawned[-1].returncode = -11
    supervisor.tick()
    assert supervisor.due_in() == 1
    assert not alerts.told


def test_a_program_that_cannot_be_started_is_a_fall_too(tmp_path: Path, clock: FakeClock) -> None:
    spawner, alerts = FakeSpawner(), AlertNotes()
    spawner.error = OSError(12, "Cannot allocate memory")
    supervisor = Supervisor({"one": ["x"]}, spawner, state_file=tmp_path / "processes.json", clock=clock, alert=alerts)
    for _ in range(8):
        supervisor.tick()
        clock.advance(61)
    assert alerts.titles == ["CRITICAL one is given up"]
    assert supervisor.tick() == "0 of 1 children run, given up: one"


def test_the_decision_is_pure() -> None:
    policy = RestartPolicy(first=1, longest=10, falls=3, window=100)
    falls, pause = after_fall((), 0, policy)
    assert (falls, pause) == ((0,), 1)
    falls, pause = after_fall(falls, 50, policy)
    assert (falls, pause) == ((0, 50), 2)
    assert after_fall(falls, 99, policy) == ((0, 50, 99), None)
    assert after_fall(falls, 120, policy) == ((50, 120), 2)
