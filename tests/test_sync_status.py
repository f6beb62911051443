"""The status tells the truth at every moment, and the doctor says why a sync stands still and what to do."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scripts import doctor, doctor_sync
from tests.vaults import Two, git, until
from utils.bootstrap import Services
from utils.core import commands
from utils.core.task import format_time
from utils.vault import locks

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def state(two: Two) -> str:
    return str(two.a.vault_sync().status()["state"])


# -------------------------------------------------------------------------------------------------------------- status


def test_status_while_another_process_syncs_and_after_it_was_killed(two: Two) -> None:
    program = f"""
import sys, time
from pathlib import Path
from tests.vaults import Node
def checkpoint(name):
    if name == "fetched":
        print("inside", flush=True)
        time.sleep(600)
node = Node("local", Path({str(two.a.root)!r}), Path({str(two.a.state)!r}), Path({str(two.remote)!r}))
node.checkpoint = checkpoint
node.sync()
"""
    two.a.write("note.md", "x\n")
    assert state(two) == "idle"
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline() == b"inside\n"
        assert state(two) == "syncing"
        assert two.a.vault_sync().story().holder == f"pid {process.pid}"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert state(two) == "idle", "nobody syncs"
    assert two.a.vault_sync().status()["ahead"] == 1, "it had committed and not pushed"
    two.settle()
    two.assert_agree()


def test_status_of_a_damaged_memory_is_no_lie(two: Two) -> None:
    (two.a.state / "sync.json").write_text('{"last_sync": {"resu')
    assert state(two) == "error"
    assert "is damaged" in str(two.a.vault_sync().story().disk)
    assert two.a.sync().error is None
    assert state(two) == "idle"


def test_looking_at_the_status_never_stands_in_a_syncs_way(two: Two) -> None:
    with locks.hold(two.a.root / ".git" / "vault-sync.running", note="pid 4711"):
        for _ in range(3):
            assert state(two) == "syncing"
        assert two.a.vault_sync().story().holder == "pid 4711"
    assert state(two) == "idle" and two.a.vault_sync().story().holder is None


def test_failing_since_is_the_first_of_the_failures_in_a_row(two: Two) -> None:
    hidden = two.folder / "hidden.git"
    two.remote.rename(hidden)
    first = two.a.sync().started_at
    for _ in range(2):
        two.a.clock.advance(300)
        two.a.sync()
    assert two.a.vault_sync().story().failing_since == first
    hidden.rename(two.remote)
    two.a.sync()
    assert two.a.vault_sync().story().failing_since is None


# -------------------------------------------------------------------------------------------------------------- doctor


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    path = tmp_path / "remote.git"
    git(tmp_path, "init", "-q", "--bare", "-b", "main", str(path))
    return path


@pytest.fixture
def node(make_node: Callable[..., Services], remote: Path) -> Services:
    return make_node(VAULT_REMOTE_URL=str(remote))


def says(node: Services) -> list[str]:
    return [f"{verdict}: {text}" for verdict, text in doctor_sync.explain(node, ok="ok", note="note", broken="BROKEN")]


def remember(node: Services, **values: object) -> None:
    path = node.settings.state_dir / "sync.json"
    memory = json.loads(path.read_bytes())
    path.write_text(json.dumps({**memory, **values}))


def schedule(node: Services, minutes: float) -> None:
    at = format_time(datetime.now(UTC) + timedelta(minutes=minutes))
    (node.settings.state_dir / "scheduler.json").write_text(json.dumps({"jobs": {"vault_sync": {"next_run_at": at}}}))


def ago(**span: float) -> str:
    return format_time(datetime.now(UTC) - timedelta(**span))


def test_the_doctor_on_a_sync_that_works(node: Services) -> None:
    schedule(node, 3)
    [line] = says(node)
    assert line.startswith("ok: synced ") and ", next " in line


def test_the_doctor_names_what_does_not_travel_and_what_was_kept(node: Services) -> None:
    schedule(node, 3)
    (node.layout.root / "film\x1b[31m\n.mov").write_text("x")
    copy = node.layout.root / "Updates/conflicts/note.md.cloud.0a1b2c3d.md"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text('---\nconflict: "note.md"\nlost: "cloud"\nstands: "local"\nwhy: "x"\n---\nx\n')
    result = node.sync.run()
    assert result.details() == [f"refused: film⟦U+001B⟧[31m⟦U+000A⟧.mov: {result.refused[0]['reason']}"]
    lines = says(node)
    assert any(line.startswith("note: 1 file(s) did not travel (film⟦U+001B⟧") for line in lines)
    assert "note: 1 version(s) that yielded lie under Updates/conflicts/: keep what you want of them" in lines


def test_the_doctor_on_a_vault_that_never_synced(node: Services) -> None:
    (node.settings.state_dir / "sync.json").unlink()
    assert says(node) == [f"note: never synced: ./start_everything.sh, or {commands.command('sync')}"]
    schedule(node, 3)
    assert says(node)[0].startswith("note: never synced: the scheduler does it at ")


def test_the_doctor_on_a_scheduler_that_does_not_run(node: Services) -> None:
    schedule(node, -10)
    by_hand = commands.command("sync")
    remedy = f"nothing syncs by itself, the scheduler does not run: ./start_everything.sh, or {by_hand}"
    assert f"note: {remedy}" in says(node)
    remember(node, last_success_at=ago(hours=3))
    assert f"BROKEN: {remedy}" in says(node)
    assert "BROKEN: the last sync that succeeded was 3 h ago" in says(node)


def test_the_doctor_on_a_remote_that_is_away(node: Services, remote: Path) -> None:
    schedule(node, 3)
    remote.rename(remote.with_name("away"))
    (node.layout.root / "note.md").write_text("x\n")
    node.sync.run()
    lines = says(node)
    assert lines[0].startswith("note: offline since 20") and "can't be reached" in lines[0]
    assert "note: 1 commit(s) wait here for the remote" in lines
    remember(node, last_success_at=ago(days=2, minutes=1))
    lines = says(node)
    assert (
        lines[0].startswith("BROKEN: offline since") and "BROKEN: the last sync that succeeded was 2 days ago" in lines
    )


def test_the_doctor_on_a_closed_gate_names_its_command(node: Services, remote: Path) -> None:
    schedule(node, 3)
    (node.layout.root / ".vault").unlink()
    node.sync.run()
    [line] = says(node)
    assert line.startswith("BROKEN: stands still since 20") and "--allow-deletions" in line
    git(node.layout.root, "checkout", "HEAD", "--", ".vault")
    old = git(remote, "rev-parse", "main").strip()
    (node.layout.root / "note.md").write_text("x\n")
    node.sync.run()
    git(remote, "update-ref", "refs/heads/main", old)
    node.sync.run()
    line = says(node)[0]
    assert line.startswith("BROKEN: stands still since 20") and "--accept-remote" in line


def test_the_doctor_and_the_sync_agree_on_a_marker_that_is_gone(node: Services) -> None:
    (node.layout.root / ".vault").unlink()
    stopped = str(node.sync.run().error)
    [finding] = doctor._vault(node)
    remedy = "restore -s HEAD .vault`"
    assert finding.verdict == doctor.BROKEN and "is gone" in finding.detail and "is gone" in stopped
    assert remedy in finding.detail and remedy in stopped
    git(node.layout.root, "restore", ".vault")
    assert node.sync.run().error is None
    assert next(doctor._vault(node)).verdict == doctor.OK


def test_notes_that_git_was_told_to_overlook(node: Services) -> None:
    root = node.layout.root
    for name in ("assumed.md", "skipped.md", "sparse.md"):
        (root / name).write_text("old\n")
    assert node.sync.run().error is None
    git(root, "update-index", "--assume-unchanged", "assumed.md")
    git(root, "update-index", "--skip-worktree", "skipped.md", "sparse.md")
    (root / "sparse.md").unlink()
    for name in ("assumed.md", "skipped.md"):
        (root / name).write_text("new\n")
    node.sync.run()
    assert git(root, "show", "origin/main:skipped.md") == "new\n", "it lies here: it is looked at all the same"
    assert git(root, "show", "origin/main:sparse.md") == "old\n", "not meant to lie here: no deletion"
    assumed, sparse = doctor._hidden(root)
    assert "--no-assume-unchanged -- assumed.md" in assumed.detail
    assert "--no-skip-worktree -- sparse.md" in sparse.detail
    git(root, "update-index", "--no-assume-unchanged", "--", "assumed.md")
    node.sync.run()
    assert git(root, "show", "origin/main:assumed.md") == "new\n", "the remedy works"


def test_a_remedy_for_notes_that_are_gone_brings_them_back_and_touches_no_edit(node: Services) -> None:
    root = node.layout.root
    (root / "notes").mkdir()
    for name in [*map(str, range(60)), "[a]", "-f"]:
        (root / f"notes/{name}.md").write_text(f"{name}\n")
    (root / "edited.md").write_text("old\n")
    assert node.sync.run().error is None
    shutil.rmtree(root / "notes")
    (root / "edited.md").write_text("new, and not yet synced\n")
    stopped = str(node.sync.run().error)
    put_back = re.search(r"`(git restore --overlay [^`]+)` in the vault", stopped)
    assert put_back and "--allow-deletions" in stopped
    subprocess.run(["bash", "-c", put_back[1]], cwd=root, check=True)
    assert all((root / f"notes/{name}.md").exists() for name in (*range(60), "[a]", "-f"))
    assert (root / "edited.md").read_text() == "new, and not yet synced\n"
    assert node.sync.run().error is None


def test_the_doctor_on_a_sync_that_runs_and_one_that_hangs(node: Services) -> None:
    schedule(node, 3)
    lock = node.layout.root / ".git" / "vault-sync.running"
    with locks.hold(lock):
        line = says(node)[0]
        assert line.startswith("ok: a sync runs since ") and f"pid {os.getpid()}: " in line and "python" in line
        past = datetime.now(UTC).timestamp() - 7200
        os.utime(lock, (past, past))
        line = says(node)[0]
        assert line.startswith("BROKEN: a sync runs since 2 h") and f"`kill {os.getpid()}`" in line


def test_the_doctor_on_what_came_and_was_not_applied(node: Services, remote: Path, tmp_path: Path) -> None:
    schedule(node, 3)
    git(tmp_path, "clone", "-q", str(remote), "phone")
    (tmp_path / "phone" / "phone.md").write_text("x\n")
    git(tmp_path / "phone", "add", "-A")
    git(tmp_path / "phone", "commit", "-q", "-m", "by hand")
    git(tmp_path / "phone", "push", "-q", "origin", "HEAD:main")
    git(node.layout.root, "fetch", "-q")
    assert "note: 1 commit(s) of the remote are here and not in the vault yet: they come in at the next sync" in says(
        node
    )


def test_the_doctor_on_a_damaged_memory(node: Services) -> None:
    (node.settings.state_dir / "sync.json").write_text("")
    lines = says(node)
    assert lines[0].startswith("BROKEN: ") and "sync.json is damaged: the next sync makes it anew" in lines[0]
    assert lines[1].startswith("BROKEN: never synced")


# ------------------------------------------------------------------------------------------------------------- command


def command(node: Services, *options: str) -> subprocess.Popen[str]:
    settings = node.settings
    environ = os.environ | {
        "ENV_FILE": "",
        "AGENT_NAME": "local",
        "VAULT_PATH": str(settings.vault_path),
        "STATE_DIR": str(settings.state_dir),
        "SYNC_SETTLE_SECONDS": "0",
    }
    command = [sys.executable, "-m", "scripts.sync", *options]
    return subprocess.Popen(command, cwd=ROOT, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_the_command_repair_keeps_every_file(node: Services) -> None:
    note = node.layout.root / "note.md"
    note.write_text("not synced yet\n")
    for path in (node.layout.root / ".git" / "objects").glob("??/*"):
        path.unlink()
    (node.layout.root / ".git" / "objects").rename(node.layout.root.parent / "objects")
    done = command(node)
    out, err = done.communicate()
    assert done.returncode == 1 and "--repair" in out + err
    done = command(node, "--repair")
    out, err = done.communicate()
    assert done.returncode == 0, err
    assert note.read_text() == "not synced yet\n"
    assert "note.md" in git(node.layout.root, "ls-tree", "-r", "--name-only", "origin/main")


def test_a_sync_that_is_asked_to_end_takes_its_git_along(node: Services) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        git(node.layout.root, "remote", "set-url", "origin", f"git://127.0.0.1:{port}/v.git")
        process = command(node)
        silent.settimeout(60)
        connection, _ = silent.accept()
        process.terminate()
        process.communicate(timeout=60)
        connection.close()
        until(lambda: not subprocess.run(["pgrep", "-f", f"127.0.0.1:{port}"], capture_output=True, check=False).stdout)
    assert process.returncode == 128 + signal.SIGTERM
