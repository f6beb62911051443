"""`./start_everything.sh` and the doctor on a copy of the project, in a folder with a space in its name."""

from __future__ import annotations

import json
import os
import shutil
import signal
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
from utils.vault import locks

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
        environ = (
            ours | {"API_PORT": str(self.port), "SYNC_SETTLE_SECONDS": "0", "SUPERVISE_DASHBOARD": "false"} | settings
        )
        return subprocess.run(
            [str(self.folder / "start_everything.sh"), *arguments],
            cwd="/",
            env=environ,
            capture_output=True,
            text=True,
            timeout=600,
        )

    def get(self, path: str) -> object:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/{path}", timeout=20) as answer:
            return json.load(answer)

    def answers(self) -> bool:
        try:
            return self.get("health") == {"status": "ok"}
        except OSError:
            return False

    def pid_of(self, name: str) -> int | None:
        """The pid of a child, as the orchestrator knows it."""
        known = json.loads((self.folder / ".state" / "processes.json").read_text())
        return known["children"][name]["pid"]

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
    for name in ("dashboard", "gmail_watcher", "approval_watcher", "scheduler", "health_monitor"):
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


@pytest.mark.e2e
def test_the_readmes_first_mail_works_as_it_is_written(copy: Copy) -> None:
    """The block of "First mail in five minutes", pasted into a shell; only the port is this test's."""
    readme = (copy.folder / "README.md").read_text(encoding="utf-8")
    block = readme.split("## First mail in five minutes", 1)[1].split("```bash\n", 1)[1].split("```", 1)[0]
    assert ":9000/" in block
    done = subprocess.run(
        ["bash", "-c", block.replace(":9000/", f":{copy.port}/")],
        cwd=copy.folder,
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        | {"API_PORT": str(copy.port), "SUPERVISE_DASHBOARD": "false"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "## Draft" in done.stdout
    assert "In-Reply-To: <1@example.com>" in done.stdout
    assert "Receipt: <" in done.stdout


def test_what_was_killed_is_started_again(copy: Copy) -> None:
    copy()
    eventually(lambda: len(copy.pids()) == 6, what="six processes")
    api = copy.pid_of("dashboard")
    os.kill(api, 9)
    eventually(lambda: copy.pid_of("dashboard") not in (api, None) and copy.answers(), what="a new API by itself")
    eventually(lambda: "last time it was killed by signal 9" in copy("status").stdout, what="the note of it")
    os.kill(int((copy.folder / ".state" / "run" / "orchestrator.pid").read_text()), 9)
    again = copy()  # at once: the old API may still be leaving
    assert again.returncode == 0, again.stderr
    eventually(lambda: len(copy.pids()) == 6, what="six processes again")
    assert copy("status").returncode == 0


def test_with_bad_settings_it_can_be_looked_at_and_stopped_and_a_restart_leaves_it_running(copy: Copy) -> None:
    (copy.folder / ".env").write_text("AGENTMODE=full\n")
    hint = "AGENTMODE in .env is no setting; did you mean AGENT_MODE?"
    assert hint in copy().stderr
    before = eventually(lambda: len(copy.pids()) == 6 and copy.pids(), what="six processes")
    assert hint in (copy.folder / ".state" / "logs" / "orchestrator.log").read_text()
    (copy.folder / ".env").write_text("AGENT_MODE=foo\nno setting\n")
    assert "orchestrator        runs (pid" in copy("status").stdout
    restarted = copy("restart")
    assert restarted.returncode == 1
    assert "AGENT_MODE = 'foo' (.env)" in restarted.stderr
    assert copy.pids() == before
    stopped = copy("stop")
    assert (stopped.returncode, copy.pids()) == (0, set())
    assert ".env, line 2" in stopped.stderr


def test_it_can_be_stopped_when_its_virtual_environment_is_gone(copy: Copy) -> None:
    copy()
    (copy.folder / ".venv").unlink()
    assert copy("stop").returncode == 0
    assert copy.pids() == set()
    (copy.folder / ".venv").symlink_to(sys.prefix)


def test_a_copied_folder_stops_nothing_of_the_folder_it_was_copied_from(copy: Copy, tmp_path: Path) -> None:
    """It brings the pid file along, and the process of that number is an orchestrator indeed."""
    copy()
    before = eventually(lambda: len(copy.pids()) == 6 and copy.pids(), what="six processes")
    other = tmp_path / "another"
    shutil.copytree(copy.folder, other, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    for state in ({}, {"STATE_DIR": str(other / "elsewhere")}):
        run = other / "elsewhere" / "run"
        run.mkdir(parents=True, exist_ok=True)
        shutil.copy(copy.folder / ".state" / "run" / "orchestrator.pid", run)
        for script in (other, copy.folder) if state else (other,):  # the same folder with another STATE_DIR too
            done = subprocess.run(
                [str(script / "start_everything.sh"), "stop"], env=environ | state, capture_output=True, text=True
            )
            assert (done.returncode, "Nothing runs" in done.stdout) == (0, True), done.stdout
    assert copy.pids() == before


def test_a_folder_that_was_renamed_while_it_ran_is_stopped(copy: Copy, tmp_path: Path) -> None:
    copy()
    before = eventually(lambda: len(copy.pids()) == 6 and copy.pids(), what="six processes")
    copy.folder = copy.folder.rename(tmp_path / "renamed")
    assert copy.pids() == before
    assert "Stopping" in copy("stop").stdout
    eventually(lambda: not copy.pids(), what="the end of all")


def test_a_status_is_read_as_far_as_somebody_wants(copy: Copy) -> None:
    done = subprocess.run(
        ["bash", "-c", './start_everything.sh status | true; echo "${PIPESTATUS[0]}"'],
        cwd=copy.folder,
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_ctrl_c_while_the_children_load_is_nobodys_traceback(copy: Copy) -> None:
    """In the foreground a terminal sends it to all of them."""
    code, said = interrupt([".venv/bin/python", "-m", "Watchers.orchestrator"], "scheduler runs", copy.folder)
    assert (code, "Traceback" in said) == (0, False), said
    assert copy.pids() == set()


def test_an_api_that_cannot_start_is_said_with_its_last_words(copy: Copy) -> None:
    (copy.folder / "Watchers" / "dashboard.py").write_text("raise SystemExit('the API is out of tune')\n")
    done = copy()
    assert done.returncode == 1
    assert "the API did not start" in done.stderr
    assert "the API is out of tune" in done.stderr
    assert copy.pids() == set()


def test_while_the_remote_is_asked_it_says_so(copy: Copy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"git://127.0.0.1:{mute.getsockname()[1]}/vault.git"
        done = copy(VAULT_REMOTE_URL=url, GIT_TIMEOUT_SECONDS="2")
    assert done.returncode == 1
    assert "Asking the vault's remote (up to 2 s a step)" in done.stderr
    assert done.stderr.index("Asking") < done.stderr.index("set-up: ")


def test_a_setting_that_names_another_remote_than_the_vaults_is_told_at_the_start(copy: Copy, tmp_path: Path) -> None:
    for name in ("old.git", "new.git"):
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(tmp_path / name)], check=True)
    vault = {"VAULT_REMOTE_URL": str(tmp_path / "old.git")}
    init = [".venv/bin/python", "-m", "scripts.init_vault"]
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    subprocess.run(init, cwd=copy.folder, env=environ | vault, check=True, capture_output=True)
    moved = {"VAULT_REMOTE_URL": str(tmp_path / "new.git")}
    again = subprocess.run(init, cwd=copy.folder, env=environ | moved, check=True, capture_output=True, text=True)
    started = copy(**moved)
    assert started.returncode == 0
    for said in (again.stderr, started.stderr):
        assert f"VAULT_REMOTE_URL ({tmp_path / 'new.git'}) differs from the vault's remote origin" in said
        assert "remote set-url origin" in said
    assert "differs" not in copy(**vault).stderr


def test_a_node_that_runs_is_found_whatever_port_the_settings_say_now(copy: Copy) -> None:
    assert copy().returncode == 0
    before = eventually(lambda: len(copy.pids()) == 6 and copy.pids(), what="six processes")
    other = str(free_port())
    status = copy("status", API_PORT=other)
    assert status.returncode == 0
    assert f"http://127.0.0.1:{copy.port} answers" in status.stdout
    assert f"the settings say http://127.0.0.1:{other}" in status.stdout
    again = copy(API_PORT=other)
    assert again.returncode == 0, again.stderr
    assert "Everything runs already." in again.stdout and f"API_PORT={other} now" in again.stdout
    assert f"API      http://127.0.0.1:{copy.port}/" in again.stdout
    assert copy.pids() == before
    restarted = copy("restart", API_PORT=other)
    assert restarted.returncode == 0 and f"API      http://127.0.0.1:{other}/" in restarted.stdout
    assert copy("status", API_PORT=other).returncode == 0


def interrupt(command: list[str], when: str, folder: Path, **settings: str) -> tuple[int, str]:
    """Press Ctrl-C once the command has printed `when`; its exit code and all that it printed."""
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | settings
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    said = ""
    while when not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all in the foreground
    rest, _ = process.communicate(timeout=60)
    return process.returncode, said + rest


def test_ctrl_c_ends_a_start_and_the_doctor_without_a_traceback(copy: Copy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"git://127.0.0.1:{mute.getsockname()[1]}/vault.git"
        script = [str(copy.folder / "start_everything.sh")]
        code, said = interrupt(
            script, "Asking the vault's remote", copy.folder, VAULT_REMOTE_URL=url, SUPERVISE_DASHBOARD="false"
        )
        assert code == 130 and "Traceback" not in said and "Failed" not in said, said
        assert copy.pids() == set()
        vault = copy.folder / "AI_Employee_Vault"
        subprocess.run(["git", "init", "--quiet", str(vault)], check=True)
        subprocess.run(["git", "-C", str(vault), "remote", "add", "origin", url], check=True)
        doctor = [".venv/bin/python", "-m", "scripts.doctor"]
        code, said = interrupt(doctor, "checking the vault's remote", copy.folder)
        assert code == 130 and "Traceback" not in said, said
        asking = subprocess.run(["pgrep", "-f", url], capture_output=True, text=True, check=False).stdout
        assert asking == "", "git was ended too"


def test_a_port_in_use_is_said_with_its_holder_and_the_remedy(copy: Copy) -> None:
    with socket.create_server(("127.0.0.1", copy.port)):
        done = copy()
    assert done.returncode == 1
    assert f"port {copy.port} is in use by pid {os.getpid()}" in done.stderr
    assert f"Take another port: API_PORT={copy.port + 1}" in done.stderr
    assert copy.pids() == set()
    with socket.create_server(("127.0.0.1", copy.port)), socket.create_server(("127.0.0.1", copy.port + 1)):
        assert f"Take another port: API_PORT={copy.port + 2}" in copy().stderr, "the next one is in use as well"


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
    assert "the orchestrator did not start" in done.stderr
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
    for words, said in (("fly",), "unknown command: fly"), (("stop", "now"), "unknown argument: now"):
        done = copy(*words)
        assert done.returncode == 2
        assert done.stderr.startswith(said)


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


def test_the_doctor_tells_which_of_the_two_does_not_run(
    diagnose: Callable[..., dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vault").mkdir()
    port = str(free_port())
    diagnose(API_PORT=port)
    api = subprocess.Popen([sys.executable, "-m", "Watchers.dashboard"], cwd=PROJECT_ROOT)
    try:
        says = eventually(
            lambda: (seen := diagnose(API_PORT=port)["processes"]).startswith(doctor.BROKEN) and seen, what="the API"
        )
        assert says == "BROKEN: the orchestrator does not run, the API does: ./start_everything.sh"
        assert "port" not in diagnose(API_PORT=port)
    finally:
        api.kill()
        api.wait()
    with locks.hold(tmp_path / "state" / "locks" / "orchestrator.lock", timeout=0):
        says = diagnose(API_PORT=port)["processes"]
        assert says.startswith("BROKEN: the API does not run, the orchestrator does: ./start_everything.sh")
        with socket.create_server(("127.0.0.1", int(port))):
            assert f"in use by pid {os.getpid()}" in diagnose(API_PORT=port)["port"]
    (tmp_path / "state" / "processes.json").write_text('{"children": {"scheduler": {"state": "running"}}}')
    assert "it ended without being stopped" in diagnose(API_PORT=port)["processes"]


def test_the_doctor_sees_misspelt_names_another_remote_and_what_is_no_mail(
    diagnose: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    env = tmp_path / ".env"
    env.write_text("AGENTMODE=draft_only\n")
    vault = tmp_path / "vault"
    subprocess.run(["git", "init", "--quiet", str(vault)], check=True)
    url = f"https://me:s3cret@{'127.0.0.1'}:{free_port()}/vault.git"
    subprocess.run(["git", "-C", str(vault), "remote", "add", "origin", url], check=True)
    (tmp_path / "state" / "mail" / "in").mkdir(parents=True)
    note = tmp_path / "state" / "mail" / "in" / "list.txt"
    note.write_text("milk")
    os.utime(note, (1_780_000_000, 1_780_000_000))
    diagnose(ENV_FILE=str(env), VAULT_REMOTE_URL="https://me:other@example.org/v.git")
    told: list[str] = []
    seen = [f"{finding.verdict}: {finding.detail}" for finding in doctor.examine(told.append)]
    assert "note: AGENTMODE in .env is no setting; did you mean AGENT_MODE?" in seen
    [differs] = [line for line in seen if "VAULT_REMOTE_URL" in line]
    assert "BROKEN: VAULT_REMOTE_URL (https://***@example.org/v.git) differs from the vault's remote origin" in differs
    assert "remote set-url origin" in differs
    assert "s3cret" not in str(seen)
    assert "other@" not in str(seen)
    assert f"note: {note} is no mail: drop .eml files" in seen
    assert told == ["checking the vault's remote (up to 30 s)"]
    diagnose(VAULT_REMOTE_URL=f"{url}/")
    assert not [finding for finding in doctor.examine() if "differs" in finding.detail]
