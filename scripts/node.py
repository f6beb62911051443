"""What `start_everything.sh` asks about this node: `prepare`, `facts`, `port`, `answers`, `status`."""

from __future__ import annotations

import argparse
import errno
import json
import shlex
import socket
import sys
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
    parser.add_argument("command", choices=["prepare", "facts", "port", "answers", "status"])
    command = parser.parse_args().command
    if command == "prepare":
        return 0 if daemon.prepare("set-up") is not None else daemon.EXIT_USAGE
    try:
        settings = load()
    except InvalidSettings as error:
        print("\n".join(f"  - {problem}" for problem in error.problems), file=sys.stderr)
        return daemon.EXIT_USAGE
    if command == "facts":
        print(facts(settings))
        return 0
    if command == "port":
        problem = port_problem(settings)
        print(problem or "", end="")
        return 1 if problem else 0
    if command == "answers":
        return 0 if answers(settings) else 1
    lines, running = status(settings)
    print("\n".join(lines))
    return 0 if running else 1


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


def answers(settings: Settings) -> bool:
    """Whether the API answers."""
    return HttpProbe().check(f"{settings.own_api_url}/api/health", 2).ok


def status(settings: Settings) -> tuple[list[str], bool]:
    """`(lines that say what runs, whether API and orchestrator both do)`."""
    api = HttpProbe().check(f"{settings.own_api_url}/api/health", 2)
    lines = [
        f"api              {settings.own_api_url} "
        + (f"answers ({api.latency_ms:g} ms)" if api.ok else api.error or "")
    ]
    orchestrated = locks.is_held(settings.state_dir / "locks" / "orchestrator.lock")
    if not orchestrated:
        lines.append("orchestrator     does not run")
        return lines, False
    known = read_json(settings.state_dir / "processes.json")
    own = known.get("orchestrator", {})
    lines.append(f"orchestrator     runs (pid {own.get('pid')}, since {own.get('since')})")
    for name, child in known.get("children", {}).items():
        pid = f"pid {child['pid']}, " if child.get("pid") else ""
        again = f", {child['restarts']} restarts" if child.get("restarts") else ""
        last = f", last time it {child['last_exit']}" if child.get("last_exit") else ""
        lines.append(f"  {name:<15}{child['state']} ({pid}since {child['since']}{again}{last})")
    return lines, api.ok


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
