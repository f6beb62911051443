"""Sync as the processes use it: settings, services, command line, with the real alert log in the vault."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vaults import git
from utils.bootstrap import Services
from utils.settings import PROJECT_ROOT

Make = Callable[..., Services]


@pytest.fixture
def pair(tmp_path: Path, make_node: Make) -> tuple[Services, Services, Path]:
    remote = tmp_path / "r.git"
    git(tmp_path, "init", "-q", "--bare", "--initial-branch=main", str(remote))
    nodes = []
    for name in ("local", "cloud"):
        node = make_node(name, ready=False, VAULT_REMOTE_URL=str(remote))
        node.settings.vault_path.mkdir(parents=True)
        node.ensure_ready()
        nodes.append(node)
    return nodes[0], nodes[1], remote


def texts(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(root).parts
    }


def test_alerts_about_a_sync_do_not_keep_the_vaults_apart(pair: tuple[Services, Services, Path]) -> None:
    """An alert is a line in a log of the vault: it must travel with the sync that raised it."""
    local, cloud, remote = pair
    (cloud.settings.vault_path / "Dashboard.md").write_text("not the cloud's\n")
    (cloud.settings.vault_path / "id_rsa").write_text("secret\n")
    for node in (local, cloud, local, cloud):
        node.sync.run()
    ours, theirs = texts(local.settings.vault_path), texts(cloud.settings.vault_path)
    theirs.pop("id_rsa")
    assert ours == theirs
    assert any(path.startswith("Logs/alerts/") for path in ours)
    head = git(remote, "rev-parse", "main")
    for node in (local, cloud, local, cloud):
        assert node.sync.run().result == "noop"
    assert git(remote, "rev-parse", "main") == head


def run(node: Services, *arguments: str) -> subprocess.CompletedProcess[str]:
    s = node.settings
    environ = {
        "ENV_FILE": "",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "AGENT_NAME": s.agent_name,
        "AGENT_MODE": s.agent_mode,
        "VAULT_PATH": str(s.vault_path),
        "STATE_DIR": str(s.state_dir),
        "SYNC_SETTLE_SECONDS": "0",
    }
    command = [sys.executable, "-m", "scripts.sync", *arguments]
    return subprocess.run(command, cwd=PROJECT_ROOT, env=environ, capture_output=True, text=True, check=False)


def test_the_command_line_and_its_exit_codes(pair: tuple[Services, Services, Path]) -> None:
    local, _, remote = pair
    assert (run(local).returncode, run(local).stdout) == (0, "noop: nothing to do\n")
    (local.settings.vault_path / "note.md").write_text("x\n")
    answer = run(local, "--json")
    assert answer.returncode == 0
    assert json.loads(answer.stdout) | {"started_at": "", "duration_ms": 0} == {
        "result": "ok",
        "committed": 1,
        "pulled": 0,
        "pushed": 1,
        "conflicts": [],
        "refused": [],
        "started_at": "",
        "duration_ms": 0,
        "error": None,
    }
    remote.rename(remote.with_name("away.git"))
    answer = run(local)
    assert answer.returncode == 3 and answer.stdout.startswith("offline: ") and answer.stdout.count("\n") == 1
    (local.settings.vault_path / ".vault").unlink()
    answer = run(local)
    assert answer.returncode == 1 and "--allow-deletions" in answer.stdout and answer.stdout.count("\n") == 1
