"""What `start_everything.sh` asks about this node: `check`, `prepare`, `facts`, `port`, `wait`, `status`.

`facts` and `status` answer with bad settings too: whatever runs must be found and stopped all the same.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import shlex
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from utils import daemon
from utils.adapters.git_command import masked
from utils.adapters.http_probe import HttpProbe
from utils.adapters.processes import run_to_end
from utils.bootstrap import Services
from utils.core.commands import command
from utils.settings import Settings, load_leniently, warnings
from utils.vault import locks
from utils.vault.skeleton import Condition, condition

_LEAVING_SECONDS = 5.0
_FALLS_AT_START = 3
_GIT_SECONDS = 30
_NEAR = 100


def main() -> int:
    """Entry point; exit code 0 where the answer is yes or the command did its work, 2 for unusable settings."""
    parser = argparse.ArgumentParser(prog="python -m scripts.node", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="check the settings alone")
    commands.add_parser("prepare", help="check settings and vault, set up what is missing, then print the facts")
    commands.add_parser("facts", help="print settings as assignments of a shell")
    commands.add_parser("port", help="say why the API could not listen, and the remedy (exit code 1); else nothing")
    commands.add_parser("status", help="what runs; exit code 1 unless API and orchestrator both do")
    waiting = commands.add_parser("wait", help="wait until the API answers; exit code 1 where it fell again and again")
    waiting.add_argument("--seconds", type=float, default=60, help="give up after this long (exit code 3)")
    waiting.add_argument("pid", type=int, help="the orchestrator, which must go on living")
    options = parser.parse_args()
    settings, problems = load_leniently()
    match options.command:
        case "facts":
            if problems:
                daemon.tell_problems("settings", problems)
            print(facts(settings))
            return 0
        case "status":
            if problems:
                daemon.tell_problems("settings", problems)
            state = status(settings)
            with daemon.readers_may_leave():
                print("\n".join(state.lines), flush=True)
            return 0 if state.runs else 1
    if problems:
        daemon.tell_problems("set-up", problems)
        return daemon.EXIT_USAGE
    match options.command:
        case "prepare":
            return prepare(settings)
        case "port":
            problem = port_problem_after(settings, _LEAVING_SECONDS)
            if problem:
                print(problem, other_port(settings), sep="\n")
            return 1 if problem else 0
        case "wait":
            return wait(settings, options.seconds, options.pid)
    return 0


def prepare(settings: Settings) -> int:
    """Set up what is missing and print the facts; what takes long is said before (on standard error)."""
    for warning in warnings():
        print(f"Note: {warning}", file=sys.stderr, flush=True)
    services = Services(settings)
    try:
        joined = condition(services.layout) is Condition.READY and services.sync.has_remote()
        if not joined and (settings.vault_remote_url or services.sync.has_remote()):
            limit = f"up to {settings.git_timeout_seconds} s a step"
            print(f"    Asking the vault's remote ({limit}) …", file=sys.stderr, flush=True)
    finally:
        services.close()
    if daemon.prepare("set-up") is None:
        return daemon.EXIT_USAGE
    if problem := other_remote(settings):
        print(f"Note: {problem}", file=sys.stderr, flush=True)
    make_mail_folder(settings)
    print(facts(settings))
    return 0


def other_remote(settings: Settings) -> str | None:
    """That the vault's remote is another than VAULT_REMOTE_URL, with the remedy; None where it is not.

    The setting counts at the set-up alone, and later it may say something that is not so.
    """
    root, name, wanted = settings.vault_path, settings.vault_sync_remote, settings.vault_remote_url
    if not wanted or not root.is_dir():
        return None
    asked = ["git", "-C", str(root), "config", "--get", f"remote.{name}.url"]
    code, output = run_to_end(asked, cwd=root, timeout=_GIT_SECONDS, stopped=lambda: False)
    used = output.strip()
    if code != 0 or used.rstrip("/") == wanted.rstrip("/"):
        return None
    return (
        f"VAULT_REMOTE_URL ({masked(wanted)}) differs from the vault's remote {name} ({masked(used)}), which is the one"
        f" in use. If you moved the repository, `git -C {shlex.quote(str(root))} remote set-url {name} …` with the new"
        f" address, then `{command('sync')}`; else correct the setting"
    )


def make_mail_folder(settings: Settings) -> None:
    """Make the default Maildir, so that a mail can be dropped at once; one that the user named is the user's."""
    if settings.mail_provider == "maildir" and settings.maildir_path is None:
        for name in ("tmp", "new", "cur"):
            (settings.maildir / name).mkdir(parents=True, exist_ok=True)


def facts(settings: Settings) -> str:
    """Settings as assignments of a shell."""
    values = {
        "STATE_DIR": str(settings.state_dir),
        "API_URL": api_url(settings),
        "API_PORT": str(settings.api_port),
        "VAULT": str(settings.vault_path),
        "MAIL_IN": str(settings.maildir) if settings.mail_provider == "maildir" else "",
        "MAIL_OUT": str(settings.outbox) if settings.mail_sender == "outbox" else "",
        "NODE": f"{settings.agent_name}, {settings.agent_mode}",
    }
    return "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())


def api_url(settings: Settings) -> str:
    """Where the API of the node that runs listens; the settings may have changed since, or come from another shell.
    Where no node runs, what the settings say."""
    own = read_json(settings.state_dir / "processes.json").get("orchestrator", {})
    holder = locks.holder(settings.state_dir / "locks" / "orchestrator.lock")
    return own.get("api") or settings.own_api_url if holder == f"pid {own.get('pid')}" else settings.own_api_url


def port_problem(settings: Settings) -> str | None:
    """Why the API could not listen, or None. A port that is only just being let go (TIME_WAIT) is no problem."""
    host = settings.api_host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, settings.api_port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                holder = _holder(settings.api_port)
                return f"port {settings.api_port} is in use{f' by {holder}' if holder else ''}"
            return f"can't listen on {settings.api_host}:{settings.api_port}: {error.strerror}"
    return None


def other_port(settings: Settings) -> str:
    """What to do where the API can't listen: the next port that is free, if that is what is missing."""
    for port in range(settings.api_port + 1, min(settings.api_port + _NEAR, 65536)):
        if port_problem(replace(settings, api_port=port)) is None:
            return f"Take another port: API_PORT={port} ./start_everything.sh    (or set API_PORT in .env)"
    return "Correct API_HOST and API_PORT in .env"


def is_our_api(problem: str) -> bool:
    """Whether a `port_problem` names an API of ours as the holder (told on Linux alone)."""
    return "Watchers.dashboard" in problem


def port_problem_after(settings: Settings, seconds: float) -> str | None:
    """`port_problem`, but an API of ours has `seconds` to leave: its orchestrator may have been killed just now."""
    deadline = time.monotonic() + seconds
    while (problem := port_problem(settings)) and is_our_api(problem) and time.monotonic() < deadline:
        time.sleep(0.1)
    return problem


def wait(settings: Settings, seconds: float, pid: int) -> int:
    """Wait until the API answers: 0; 1 where the orchestrator `pid` ended or its API fell several times, 3 after
    `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        known = read_json(settings.state_dir / "processes.json")
        ours = known.get("orchestrator", {}).get("pid") == pid  # else it tells of an earlier run
        falls = known.get("children", {}).get("dashboard", {}).get("restarts", 0) if ours else 0
        if not _lives(pid):
            return 1
        if HttpProbe().check(f"{api_url(settings)}/api/health", 2).ok:
            return 0
        if falls >= _FALLS_AT_START:
            return 1
        if time.monotonic() > deadline:
            return 3
        time.sleep(0.1)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@dataclass(frozen=True)
class State:
    """What runs: a line each, of which those of children that do not run are `fallen` too."""

    lines: list[str]
    api: bool
    orchestrator: bool
    fallen: list[str]
    died: bool = False  # no orchestrator runs, and the last one was not stopped
    elsewhere: str | None = None  # that it runs at another address than the settings say

    @property
    def runs(self) -> bool:
        """Whether API and orchestrator both do."""
        return self.api and self.orchestrator


def status(settings: Settings) -> State:
    """What runs of this node."""
    url = api_url(settings)
    api = HttpProbe().check(f"{url}/api/health", 2)
    lines = [f"{'api':<19} {url} " + (f"answers ({api.latency_ms:g} ms)" if api.ok else api.error or "")]
    elsewhere = None
    if url != settings.own_api_url:
        elsewhere = f"it runs at {url}; the settings say {settings.own_api_url}: ./start_everything.sh restart"
        lines.append(f"{'':<19} {elsewhere}")
    known = read_json(settings.state_dir / "processes.json")
    orchestrated = locks.is_held(settings.state_dir / "locks" / "orchestrator.lock")
    if not orchestrated:
        lines.append(f"{'orchestrator':<19} does not run")
        left = [child for child in known.get("children", {}).values() if child.get("state") == "running"]
        return State(lines, api.ok, False, [], died=bool(left))
    own = known.get("orchestrator", {})
    lines.append(f"{'orchestrator':<19} runs (pid {own.get('pid')}, since {_seconds(own.get('since'))})")
    fallen = []
    for name, child in known.get("children", {}).items():
        pid = f"pid {child['pid']}, " if child.get("pid") else ""
        again = f", {child['restarts']} restarts" if child.get("restarts") else ""
        last = f", last time it {child['last_exit']}" if child.get("last_exit") else ""
        line = f"{name:<17} {child['state']} "
        line += f"({pid}since {_seconds(child['since'])}{again}{last})"
        lines.append(f"  {line}")
        if child["state"] != "running":
            fallen.append(" ".join(line.split()))
    return State(lines, api.ok, True, fallen, elsewhere=elsewhere)


def _seconds(stamp: str | None) -> str:
    """A time without its fraction."""
    return re.sub(r"\.\d+", "", stamp or "?")


def read_json(path: Path) -> Mapping[str, Any]:
    """A JSON object of a file; empty where there is none."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _holder(port: int) -> str | None:
    """Who listens on a TCP port, where the system tells us (Linux, our own processes or root)."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for folder in Path("/proc").glob("[0-9]*/fd") if inodes else ():
        try:
            if inodes.intersection(map(_link, folder.iterdir())):
                program, *words = (folder.parent / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
                return f"pid {folder.parent.name} ({' '.join([Path(program).name, *words]).strip()[:100]})"
        except OSError:
            continue  # another user's process, or one that has just ended
    return None


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except FileNotFoundError:  # a descriptor that was closed since
        return ""


if __name__ == "__main__":
    sys.exit(main())
