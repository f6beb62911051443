"""`./start_everything.sh` and the doctor on a copy of the project, in a folder with a space in its name."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts import doctor
from tests.servers import eventually, free_port, require_program, smtp_server
from utils.settings import PROJECT_ROOT

pytestmark = pytest.mark.slow

MAIL = b"""\
From: Ann Example <ann@example.com>\r
To: me@example.org\r
Subject: Your offer\r
Date: Mon, 01 Jun 2026 10:15:00 +0200\r
Message-ID: <start-1@example.com>\r
\r
Could you send me your offer by Friday?\r
"""


class Copy:
    """A checkout of its own, with the virtual environment of these tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=PROJECT_ROOT,
            check=True,
            capture_output=True,
        )
        for name in listed.stdout.decode().split("\0"):
            if name and (PROJECT_ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT_ROOT / name, folder / name)
        (folder / ".venv").symlink_to(sys.prefix)
        self.git("init", "--quiet")
        self.git("add", "--all")
        self.git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "a release")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout

    def __call__(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        ours = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environ = ours | {"API_PORT": str(self.port), "SYNC_SETTLE_SECONDS": "0"} | settings
        return subprocess.run(
            [str(self.folder / "start_everything.sh"), *arguments],
            cwd="/",
            env=environ,
            capture_output=True,
            text=True,
            timeout=180,
        )

    def get(self, path: str) -> object:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/{path}", timeout=20) as answer:
            return json.load(answer)

    def pids(self) -> set[int]:
        """Every process that runs from this copy."""
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if (folder / "cwd").resolve() == self.folder and b"Watchers." in (folder / "cmdline").read_bytes():
                    found.add(int(folder.name))
            except OSError:
                continue
        return found


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    copy = Copy(tmp_path / "my copy")
    yield copy
    copy("stop")


@pytest.mark.e2e
def test_from_a_fresh_copy_to_a_pending_approval_and_back_to_nothing(copy: Copy) -> None:
    started = copy()
    assert started.returncode == 0, started.stdout + started.stderr
    assert f"http://127.0.0.1:{copy.port}" in started.stdout
    maildir = copy.folder / ".state" / "mail" / "in"
    assert f"drop a mail (.eml) into {maildir}" in started.stdout
    (maildir / "offer.eml").write_bytes(MAIL)
    approvals = eventually(lambda: copy.get("approvals")["items"], deadline=60, what="the draft")
    assert len(approvals) == 1

    before = eventually(lambda: len(copy.pids()) == 6 and copy.pids(), what="six processes")
    again = copy()
    assert again.returncode == 0
    assert "Everything runs already." in again.stdout
    assert copy.pids() == before
    status = copy("status")
    assert status.returncode == 0
    for name in ("gmail_watcher", "approval_watcher", "scheduler", "health_monitor"):
        assert f"{name}" in status.stdout
    assert copy("restart").returncode == 0
    after = eventually(lambda: len(copy.pids()) == 6 and copy.pids(), what="six processes again")
    assert not before & after

    stopped = copy("stop")
    assert (stopped.returncode, copy.pids()) == (0, set())
    assert copy("status").returncode == 1
    assert "Nothing runs." in copy("stop").stdout
    assert copy.git("status", "--short") == ""  # a day's work leaves the project itself clean
    assert (copy.folder / ".env").read_bytes() == (copy.folder / ".env.example").read_bytes()
    assert (copy.folder / ".env").stat().st_mode & 0o077 == 0
    assert (copy.folder / ".state").stat().st_mode & 0o077 == 0


def test_what_was_killed_is_started_again_alone(copy: Copy) -> None:
    copy()
    eventually(lambda: len(copy.pids()) == 6, what="six processes")
    os.kill(int((copy.folder / ".state" / "run" / "orchestrator.pid").read_text()), 9)
    eventually(lambda: len(copy.pids()) == 1, what="the end of the orchestrator's children")
    assert copy("status").returncode == 1
    api = copy.pids()
    assert copy().returncode == 0
    eventually(lambda: len(copy.pids()) == 6, what="six processes again")
    assert api < copy.pids()


def test_a_port_in_use_is_said_with_its_holder_and_the_remedy(copy: Copy) -> None:
    with socket.create_server(("127.0.0.1", copy.port)):
        done = copy()
    assert done.returncode == 1
    assert f"port {copy.port} is in use by pid {os.getpid()}" in done.stderr
    assert f"API_PORT={copy.port + 1}" in done.stderr
    assert copy.pids() == set()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"AGENT_NAME": "moon"}, "must be one of local, cloud"),
        ({"VAULT_PATH": "/nowhere/vault"}, "/nowhere/vault"),
        ({"API_HOST": "203.0.113.7", "API_TOKEN": "x" * 16}, "can't listen on 203.0.113.7"),
    ],
)
def test_what_cannot_work_is_said_before_anything_runs(copy: Copy, settings: dict[str, str], words: str) -> None:
    done = copy(**settings)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert copy.pids() == set()


def test_a_process_that_dies_at_once_is_said_with_its_last_words(copy: Copy) -> None:
    (copy.folder / "Watchers" / "orchestrator.py").write_text("raise SystemExit('the orchestrator is out of tune')\n")
    done = copy()
    assert done.returncode == 1
    assert "orchestrator did not start" in done.stderr
    assert "the orchestrator is out of tune" in done.stderr
    assert copy.pids() == set()


def test_without_python_3_11_it_says_what_to_install(copy: Copy, tmp_path: Path) -> None:
    (copy.folder / ".venv").unlink()
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "env", "dirname", "cat", "rm", "cksum"):
        (tools / name).symlink_to(require_program(name))
    (tools / "python3").write_text("#!/bin/sh\nexit 1\n")  # an old one
    (tools / "python3").chmod(0o755)
    done = copy(PATH=str(tools))
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr
    assert "apt-get install python3" in done.stderr
    (copy.folder / ".venv").symlink_to(sys.prefix)  # for the stop that follows


def test_help_and_words_it_does_not_know(copy: Copy) -> None:
    assert "restart" in copy("--help").stdout
    assert copy("fly").returncode == 2


def test_shell_scripts_have_no_findings() -> None:
    shellcheck = require_program("shellcheck")
    done = subprocess.run(
        [shellcheck, "start_everything.sh", ".ci/run"], cwd=PROJECT_ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


# ------------------------------------------------------------------------------------------------------------ doctor


@pytest.fixture
def diagnose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    def run(**settings: str) -> dict[str, str]:
        defaults = {
            "ENV_FILE": "",
            "VAULT_PATH": str(tmp_path / "vault"),
            "STATE_DIR": str(tmp_path / "state"),
            "API_PORT": str(free_port()),
        }
        for name, value in (defaults | settings).items():
            monkeypatch.setenv(name, value)
        findings = list(doctor.examine())
        return {finding.subject: f"{finding.verdict}: {finding.detail}" for finding in findings}

    return run


def test_the_doctor_names_what_is_broken_and_the_remedy(
    diagnose: Callable[..., dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = diagnose()
    assert seen["vault"].startswith(doctor.BROKEN)
    assert "scripts.init_vault" in seen["vault"]
    assert seen["processes"].startswith("note: nothing runs")
    (tmp_path / "vault").mkdir()
    assert diagnose()["vault"].startswith("note")
    assert "refuses the login" not in diagnose()["mail out"]
    with smtp_server() as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca_file))
        ours = server.environment()
        assert diagnose(**ours)["mail out"] == f"ok: localhost:{server.port} answers and lets us in"
        wrong = diagnose(**ours | {"SMTP_PASS": "wrong password"})["mail out"]
        assert wrong.startswith(doctor.BROKEN)
        assert "SMTP_USER, SMTP_PASS" in wrong
        assert "wrong password" not in wrong
        assert not server.ledger
    assert diagnose(**ours)["mail out"].startswith(doctor.BROKEN)
    assert diagnose(API_PORT="http")["settings"].startswith(doctor.BROKEN)
