"""The scheduler: the mission's table, no overlap, no catch-up storm, failures told and survived."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from apscheduler.events import EVENT_JOB_EXECUTED

from tests.conftest import FakeClock
from tests.servers import eventually
from utils.adapters.processes import run_to_end
from utils.adapters.watch import QuietVault
from utils.bootstrap import Services
from utils.core.zones import Failover
from utils.daemon import Stop
from utils.settings import PROJECT_ROOT
from Watchers.scheduler import Job, JobFailed, Scheduler, VaultSyncJob, cron, jobs, sync_vault


@pytest.fixture
def make(make_node: Callable[..., Services]) -> Iterator[Callable[..., Scheduler]]:
    made: list[Scheduler] = []

    def new(*jobs: Job, start: bool = True) -> Scheduler:
        scheduler = Scheduler(make_node("local"), jobs)
        made.append(scheduler)
        if start:
            scheduler.start(Stop())
        return scheduler

    yield new
    for scheduler in made:
        scheduler.close()


def told(scheduler: Scheduler) -> dict[str, Any]:
    file = scheduler.services.settings.state_dir / "scheduler.json"
    return json.loads(file.read_text())["jobs"]


def test_the_table_is_the_mission_documents() -> None:
    assert {job.name: job.cron for job in jobs(Failover())} == {
        "vault_sync": "*/5 * * * *",
        "zone_lease": "* * * * *",
        "zone_failover_check": "*/2 * * * *",
    }


def test_the_zones_intervals_are_those_of_zones_json(make: Callable[..., Scheduler]) -> None:
    table = {job.name: job.cron for job in jobs(Failover(renew_seconds=1.5, interval_seconds=90))}
    assert (table["zone_lease"], table["zone_failover_check"]) == ("every 1.5 s", "every 90 s")
    assert [cron(seconds) for seconds in (60, 300, 7200)] == ["* * * * *", "*/5 * * * *", "every 7200 s"]
    runs: list[int] = []
    scheduler = make(Job("quick", "every 0.1 s", lambda services, stopped: str(runs.append(1))))
    eventually(lambda: len(runs) > 2, what="a third run")
    entry = scheduler._scheduler.get_job("quick")
    entry.modify(next_run_time=datetime.now(UTC) + timedelta(days=1))  # the clock was set back by a day
    before = len(runs)
    scheduler.run_cycle(datetime.now(UTC))
    eventually(lambda: len(runs) > before, what="a run after the clock was set back")


def test_next_runs_and_outcomes_are_written_down_for_the_api(make: Callable[..., Scheduler]) -> None:
    scheduler = make(Job("tick", "*/5 * * * *", lambda services, stopped: "did it"))
    job = eventually(
        lambda: (told_job := _job(scheduler, "tick")) and told_job["last"] and told_job, what="a first run"
    )
    assert job["last"]["outcome"] == "did it"
    assert job["last"]["ok"] is True
    assert scheduler.run_cycle(datetime.now(UTC)) == "1 jobs are scheduled"
    upcoming = datetime.fromisoformat(told(scheduler)["tick"]["next_run_at"])
    assert upcoming.minute % 5 == 0
    assert timedelta(0) < upcoming - datetime.now(UTC) + timedelta(seconds=5) <= timedelta(minutes=5, seconds=5)


def _job(scheduler: Scheduler, name: str) -> dict[str, Any] | None:
    try:
        return told(scheduler)[name]
    except FileNotFoundError:
        return None


def test_failures_kill_nothing_and_are_told_after_three(make: Callable[..., Scheduler]) -> None:
    outcomes: list[Exception | str] = [
        OSError("disk"),
        "fine",
        *[JobFailed("remote refused")] * 4,
        "fine",
        OSError("again"),
    ]

    def play(services: Services, stopped: Callable[[], bool]) -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    scheduler = make(Job("shaky", "*/5 * * * *", play), start=False)
    said = [scheduler.run_job("shaky") for _ in range(8)]
    assert said[:3] == ["failed: OSError: disk", "fine", "failed: remote refused"]
    alerts = scheduler.services.alerts.recent(10)[0]
    assert [(alert["level"], alert["title"], alert["message"]) for alert in alerts] == [
        ("CRITICAL", "shaky fails again and again", "remote refused")
    ]


def test_a_job_never_overlaps_itself_and_missed_runs_are_made_up_once(make: Callable[..., Scheduler]) -> None:
    release, runs, running, worst = threading.Event(), [], [], []

    def slow(services: Services, stopped: Callable[[], bool]) -> str:
        running.append(1)
        worst.append(len(running))
        runs.append(1)
        release.wait(60)
        running.pop()
        return "done"

    scheduler = make(Job("slow", "0 0 1 * *", slow))  # monthly, so that no run of its own comes in between
    ended: list[object] = []
    scheduler._scheduler.add_listener(ended.append, EVENT_JOB_EXECUTED)
    eventually(lambda: runs, what="the first run")
    entry = scheduler._scheduler.get_job("slow")
    entry.modify(next_run_time=datetime.now(UTC) - timedelta(days=200))  # a long suspend, a run under way
    scheduler._scheduler.wakeup()
    eventually(
        lambda: scheduler._scheduler.get_job("slow").next_run_time > datetime.now(UTC), what="the schedule going on"
    )
    assert (len(runs), worst) == (1, [1])
    release.set()
    eventually(lambda: ended, what="the end of the run")
    scheduler._scheduler.get_job("slow").modify(next_run_time=datetime.now(UTC) - timedelta(days=200))
    eventually(lambda: len(runs) == 2, what="the run after the suspend")  # one, not seven
    eventually(
        lambda: scheduler._scheduler.get_job("slow").next_run_time > datetime.now(UTC), what="the schedule going on"
    )
    assert len(runs) == 2


def test_a_clock_that_was_set_back_does_not_stop_the_schedule(make: Callable[..., Scheduler]) -> None:
    scheduler = make(Job("tick", "*/2 * * * *", lambda services, stopped: "ok"))
    eventually(lambda: (_job(scheduler, "tick") or {}).get("last"), what="the first run")
    scheduler._scheduler.get_job("tick").modify(next_run_time=datetime.now(UTC) + timedelta(hours=3))
    scheduler.run_cycle(datetime.now(UTC))
    assert scheduler._scheduler.get_job("tick").next_run_time < datetime.now(UTC) + timedelta(minutes=3)


def test_once_runs_each_job_of_a_lone_node(make_node: Callable[..., Services]) -> None:
    node = make_node("local")
    environ = os.environ | {
        "ENV_FILE": "",
        "VAULT_PATH": str(node.settings.vault_path),
        "STATE_DIR": str(node.settings.state_dir),
        "SYNC_SETTLE_SECONDS": "0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "Watchers.scheduler", "--once"],
        cwd=PROJECT_ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("vault_sync: ")
    assert "failed" not in done.stdout
    assert "zone_failover_check: alone" in done.stdout


class Answers:
    """Stands for the services: answers a sync as a test says."""

    def __init__(self, code: int | None, output: str) -> None:
        self.answer = (code, output)

    def run_module(self, module: str, *, timeout: float, stopped: Callable[[], bool]) -> tuple[int | None, str]:
        assert module == "scripts.sync"
        return self.answer


def test_offline_is_a_state_and_an_error_is_an_error() -> None:
    never = lambda: False  # noqa: E731
    assert sync_vault(Answers(0, "ok: pulled 1\n"), never) == "ok: pulled 1"  # type: ignore[arg-type]
    kept = "ok: pulled 1\nhousekeeping: packed the repository in 1.0 s\n"
    assert sync_vault(Answers(0, kept), never) == "ok: pulled 1"  # type: ignore[arg-type]
    assert sync_vault(Answers(3, "warning\noffline: no route\n"), never) == "offline: no route"  # type: ignore[arg-type]
    with pytest.raises(JobFailed, match="marker is missing"):
        sync_vault(Answers(1, "error: the marker is missing\n"), never)  # type: ignore[arg-type]
    with pytest.raises(JobFailed, match="longer than 70 minutes"):
        sync_vault(Answers(None, ""), never)  # type: ignore[arg-type]
    assert "stops" in sync_vault(Answers(None, ""), lambda: True)  # type: ignore[arg-type]


def test_a_run_in_a_process_of_its_own_ends_with_all_it_started(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    script = f"sleep 600 & echo $! > {file}; echo started; wait"
    stopped = threading.Event()
    threading.Thread(target=lambda: eventually(file.exists) and stopped.set(), daemon=True).start()
    code, output = run_to_end(["/bin/sh", "-c", script], cwd=tmp_path, timeout=60, stopped=stopped.is_set)
    assert (code, output) == (None, "started\n")
    pid = int(file.read_text())

    def gone() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            return True

    eventually(gone, what="the end of the grandchild")
    assert run_to_end(["/bin/sh", "-c", "echo a; exit 3"], cwd=tmp_path, timeout=60, stopped=lambda: False) == (
        3,
        "a\n",
    )
    ignoring = f"trap '' TERM; echo deaf; {sys.executable} -c 'import time; time.sleep(600)'"
    assert run_to_end(["/bin/sh", "-c", ignoring], cwd=tmp_path, timeout=0.7, stopped=lambda: False) == (None, "deaf\n")


def test_a_running_scheduler_leaves_on_sigterm_even_in_mid_job(make_node: Callable[..., Services]) -> None:
    node = make_node("local")
    code = (
        "import sys, time; from utils.daemon import run; import Watchers.scheduler as s\n"
        "def slow(services, stopped):\n"
        "    print('in it', flush=True)\n"
        "    while not stopped(): time.sleep(0.05)\n"
        "    return 'ended'\n"
        "class T(s.Scheduler):\n"
        "    def __init__(self, services): super().__init__(services, [s.Job('slow', '*/5 * * * *', slow)])\n"
        "sys.exit(run(T))"
    )
    environ = os.environ | {
        "ENV_FILE": "",
        "VAULT_PATH": str(node.settings.vault_path),
        "STATE_DIR": str(node.settings.state_dir),
    }
    process = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT_ROOT, env=environ, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"in it\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0


class Watched:
    """A vault's watch that a test tells what happened."""

    def __init__(self, root: Path) -> None:
        self.changes = 0
        self.works = True

    def mark(self) -> int:
        return self.changes

    def since(self, mark: int) -> bool:
        return self.works and mark == self.changes

    def close(self) -> None:
        self.works = False


@pytest.fixture
def synced(make_node: Callable[..., Services], tmp_path: Path) -> Services:
    """A node with a remote, synced until there is nothing more to do."""
    subprocess.run(["git", "init", "-q", "--bare", "--initial-branch=main", tmp_path / "remote.git"], check=True)
    node = make_node("local", clock=FakeClock())
    node.sync.prepare(str(tmp_path / "remote.git"))
    assert node.sync.run().result == "noop"
    return node


def watched_job(node: Services, monkeypatch: pytest.MonkeyPatch) -> tuple[VaultSyncJob, Watched, list[str]]:
    """The job with a watch of ours, and the real syncs that it made."""
    real: list[str] = []

    def run_module(module: str, **_: object) -> tuple[int, str]:
        real.append(module)
        return 0, node.sync.run().summary()

    monkeypatch.setattr(node, "run_module", run_module)
    vault = Watched(node.layout.root)
    return VaultSyncJob(lambda root: vault), vault, real  # type: ignore[arg-type, return-value]


def test_where_no_note_changed_a_question_to_the_remote_is_enough(
    synced: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, vault, real = watched_job(synced, monkeypatch)
    never = lambda: False  # noqa: E731
    job(synced, never)
    assert len(real) == 1, "the first one looks"
    before = synced.sync.status()["last_success_at"]
    synced.clock.advance(300)  # type: ignore[attr-defined]
    assert job(synced, never) == "noop: nothing to do"
    assert len(real) == 1
    assert synced.sync.status()["last_success_at"] > before, "the status stays true"
    (synced.layout.root / "note.md").write_text("new\n")
    vault.changes += 1
    assert "committed 1" in job(synced, never)
    assert len(real) == 2
    synced.clock.advance(3601)  # type: ignore[attr-defined]
    job(synced, never)
    assert len(real) == 3, "every hour the files are looked at, whatever the watch says"
    vault.works = False
    job(synced, never)
    assert len(real) == 4, "a watch that broke knows nothing"


@pytest.mark.parametrize("what", ["the remote moved", "another branch", "offline", "a refusal", "a crash", "no vault"])
def test_a_quick_look_never_hides_work(synced: Services, tmp_path: Path, what: str) -> None:
    root, remote = synced.layout.root, tmp_path / "remote.git"
    assert synced.sync.confirm() is not None
    if what == "the remote moved":
        subprocess.run(["git", "clone", "-q", remote, tmp_path / "phone"], check=True)
        phone = ["git", "-C", tmp_path / "phone", "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        subprocess.run([*phone, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
        subprocess.run([*phone, "push", "-q"], check=True)
    elif what == "another branch":
        subprocess.run(["git", "-C", root, "checkout", "-q", "-b", "mine"], check=True)
    elif what == "offline":
        remote.rename(tmp_path / "away.git")
    elif what == "a refusal":
        (root / "film.mov").write_text("x")
        synced.sync.run()
    elif what == "a crash":
        state = synced.settings.state_dir / "sync.json"
        state.write_text(json.dumps({**json.loads(state.read_text()), "applying": {"old": None, "new": "0" * 40}}))
    else:
        (root / ".git").rename(tmp_path / "git")
    assert synced.sync.confirm() is None


def test_a_change_of_a_note_is_seen(tmp_path: Path) -> None:
    (tmp_path / "Plans").mkdir()
    vault = QuietVault(tmp_path)
    try:
        mark = vault.mark()
        assert vault.since(mark)
        (tmp_path / "Plans" / "note.md").write_text("x")
        eventually(lambda: not vault.since(mark), what="the note's change")
    finally:
        vault.close()
    assert not vault.since(mark), "a closed watch knows nothing"


def test_what_git_does_is_no_change_and_a_new_folder_is_watched(tmp_path: Path) -> None:
    (tmp_path / ".git" / "refs").mkdir(parents=True)
    vault = QuietVault(tmp_path)
    try:
        mark = vault.mark()
        (tmp_path / ".git" / "refs" / "x").write_text("x")
        (tmp_path / "Clients").mkdir()
        eventually(lambda: not vault.since(mark), what="the new folder")
        mark = vault.mark()
        (tmp_path / "Clients" / "note.md").write_text("x")
        eventually(lambda: not vault.since(mark), what="a note in it")
    finally:
        vault.close()
