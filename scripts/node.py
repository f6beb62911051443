"""What `start_everything.sh` asks about this node: `prepare`, `facts`, `port`, `wait`, `status`."""

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
from pathlib import Path
from typing import Any

from utils import daemon
from utils.adapters.http_probe import HttpProbe
from utils.settings import InvalidSettings, Settings, load
from utils.vault import locks


def main() -> int:
    """Entry point; exit code 0 where the answer is yes or the command did its work, 2 for unusable settings."""
    parser = argparse.ArgumentParser(prog="python -m scripts.node", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="check settings and vault, set up what is missing, then print the facts")
    commands.add_parser("facts", help="print settings as assignments of a shell")
    commands.add_parser("port", help="say why the API could not listen; nothing where it could")
    commands.add_parser("status", help="what runs; exit code 1 unless API and orchestrator both do")
    waiting = commands.add_parser("wait", help="wait until the API answers; exit code 1 where a process ended before")
    waiting.add_argument("--seconds", type=float, default=60, help="give up after this long (exit code 3)")
    waiting.add_argument("pids", type=int, nargs="*", help="processes that must go on living")
    options = parser.parse_args()
    try:
        settings = load()
    except InvalidSettings:
        daemon.prepare("set-up", check_only=True)  # prints all that is wrong
        return daemon.EXIT_USAGE
    match options.command:
        case "prepare":
            if daemon.prepare("set-up") is None:
                return daemon.EXIT_USAGE
            make_mail_folder(settings)
            print(facts(settings))
            return 0
        case "facts":
            print(facts(settings))
            return 0
        case "port":
            problem = port_problem(settings)
            print(problem or "", end="")
            return 1 if problem else 0
        case "wait":
            return wait(settings, options.seconds, options.pids)
    lines, running = status(settings)
    print("\n".join(lines))
    return 0 if running else 1


def make_mail_folder(settings: Settings) -> None:
    """Make the default Maildir, so that a mail can be dropped at once; one that the user named is the user's."""
    if settings.mail_provider == "maildir" and settings.maildir_path is None:
        for name in ("tmp", "new", "cur"):
            (settings.maildir / name).mkdir(parents=True, exist_ok=True)


def facts(settings: Settings) -> str:
    """Settings as assignments of a shell."""
    values = {
        "STATE_DIR": str(settings.state_dir),
        "API_URL": settings.own_api_url,
        "API_PORT": str(settings.api_port),
        "VAULT": str(settings.vault_path),
        "MAIL_IN": str(settings.maildir) if settings.mail_provider == "maildir" else "",
        "MAIL_OUT": str(settings.outbox) if settings.mail_sender == "outbox" else "",
        "NODE": f"{settings.agent_name}, {settings.agent_mode}",
    }
    return "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())


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


def wait(settings: Settings, seconds: float, pids: list[int]) -> int:
    """Wait until the API answers: 0; 1 where one of `pids` ended first, 3 after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if not all(_lives(pid) for pid in pids):
            return 1
        if HttpProbe().check(f"{settings.own_api_url}/api/health", 2).ok:
            return 0
        if time.monotonic() > deadline:
            return 3
        time.sleep(0.1)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def status(settings: Settings) -> tuple[list[str], bool]:
    """`(lines that say what runs, whether API and orchestrator both do)`."""
    api = HttpProbe().check(f"{settings.own_api_url}/api/health", 2)
    lines = [
        f"{'api':<19} {settings.own_api_url} " + (f"answers ({api.latency_ms:g} ms)" if api.ok else api.error or "")
    ]
    orchestrated = locks.is_held(settings.state_dir / "locks" / "orchestrator.lock")
    if not orchestrated:
        lines.append(f"{'orchestrator':<19} does not run")
        return lines, False
    known = read_json(settings.state_dir / "processes.json")
    own = known.get("orchestrator", {})
    lines.append(f"{'orchestrator':<19} runs (pid {own.get('pid')}, since {_seconds(own.get('since'))})")
    for name, child in known.get("children", {}).items():
        pid = f"pid {child['pid']}, " if child.get("pid") else ""
        again = f", {child['restarts']} restarts" if child.get("restarts") else ""
        last = f", last time it {child['last_exit']}" if child.get("last_exit") else ""
        lines.append(f"  {name:<17} {child['state']} ({pid}since {_seconds(child['since'])}{again}{last})")
    return lines, api.ok


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
            held = {str(entry.readlink()) for entry in folder.iterdir()}
            if held & inodes:
                words = (folder.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                return f"pid {folder.parent.name} ({words.strip()[:100]})"
        except OSError:
            continue  # another user's process, or one that has just ended
    return None


if __name__ == "__main__":
    sys.exit(main())
