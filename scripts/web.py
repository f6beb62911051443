"""The dashboard's web server (`dashboard/`, Next.js): `build` it where that is needed, `run` it, make a `password`.

It gets its settings in its environment from this node's: where the API is and its token, the hash of the password, what
sessions are signed with. Where DASHBOARD_PASSWORD_HASH and DASHBOARD_SECRET are not set they are made once and kept in
`STATE_DIR/dashboard.json`; the password itself is printed and kept nowhere.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from scripts.node import port_problem, read_json
from utils import daemon
from utils.settings import PROJECT_ROOT, InvalidSettings, Settings, load
from utils.vault import atomic, locks

FOLDER = PROJECT_ROOT / "dashboard"
NEEDED = (20, 9)
NO_NODE = 3
_BUILT = ".next/standalone"
_STAMP = ".built"
_SOURCES = ("src", "public", "scripts")
_SCRYPT = {"n": 2**15, "r": 8, "p": 3, "maxmem": 64 * 1024 * 1024}  # OWASP's password storage cheat sheet
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # none that looks like another


def main() -> int:
    """Entry point; exit code 0 done, 1 it failed, 2 unusable settings, 3 there is no Node that is new enough."""
    parser = argparse.ArgumentParser(prog="python -m scripts.web", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build the dashboard where it is not built, or not from these sources")
    commands.add_parser("run", help="serve the built dashboard until a signal (what the orchestrator starts)")
    commands.add_parser("prepare", help="make a password where there is none, and print it: the only time it is shown")
    commands.add_parser("url", help="where the dashboard is, if the orchestrator runs it")
    commands.add_parser("password", help="make a new password, print it, and end all sessions")
    options = parser.parse_args()
    if options.command == "build":
        return build()
    try:
        settings = load()
    except InvalidSettings as error:
        daemon.tell_problems("web", error.problems)
        return daemon.EXIT_USAGE
    match options.command:
        case "run":
            run(settings)
        case "prepare":
            if problem := port_problem(
                replace(settings, api_host=settings.dashboard_host, api_port=settings.dashboard_port)
            ):
                print(f"{problem}: set DASHBOARD_PORT to a free one", file=sys.stderr)
                return 1
            if made := prepare(settings):
                print(made)
        case "url":
            print(settings.web_url if pid(settings) else "", end="")
        case "password":
            return new_password(settings)
    return 0


# Building


def node() -> str | None:
    """The Node program, if there is one that is new enough."""
    program = shutil.which("node")
    if program is None or shutil.which("npm") is None:
        return None
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"v(\d+)\.(\d+)\.", said)
    return program if version and (int(version[1]), int(version[2])) >= NEEDED else None


def build() -> int:
    """Install and build what is not built from these very sources; what takes long says so."""
    if is_built():
        return 0
    if node() is None:
        print(f"Node {NEEDED[0]}.{NEEDED[1]} or newer with npm is needed for the dashboard.", file=sys.stderr)
        return NO_NODE
    with locks.hold(FOLDER / "node_modules.lock"):
        if is_built():
            return 0
        packages = ("its packages (half a minute)", ["npm", "ci", "--no-audit", "--no-fund"])
        lock = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
        installed = FOLDER / "node_modules" / _STAMP
        is_installed = installed.is_file() and installed.read_text() == lock
        steps = (*(() if is_installed else (packages,)), ("the dashboard (a minute or two)", ["npm", "run", "build"]))
        for what, command in steps:
            print(f"    {what} …", flush=True)
            done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                print(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}", file=sys.stderr)
                return 1
            if command == packages[1]:
                installed.write_text(lock)
        (FOLDER / _BUILT / _STAMP).write_text(sources())
    return 0


def is_built() -> bool:
    """Whether what is built is of these sources."""
    stamp = FOLDER / _BUILT / _STAMP
    return stamp.is_file() and stamp.read_text() == sources()


def sources() -> str:
    """A hash of all that the build is made from."""
    total = hashlib.sha256()
    for path in sorted(_files()):
        total.update(f"{path.relative_to(FOLDER)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def _files() -> Iterator[Path]:
    for folder in _SOURCES:
        yield from (path for path in (FOLDER / folder).rglob("*") if path.is_file())
    for pattern in ("*.json", "*.ts", "*.mjs", ".npmrc"):
        yield from (path for path in FOLDER.glob(pattern) if path.is_file() and path.name != "next-env.d.ts")


# Running


@dataclass(frozen=True)
class Keys:
    """What logging in needs. `password_hash`: `scrypt:N:r:p:salt:key`, salt and key in base64url."""

    password_hash: str
    secret: str


def run(settings: Settings) -> NoReturn:
    """Become the web server; exits with 1 where that can't be."""
    program = node()
    if program is None or not (FOLDER / _BUILT / "server.js").is_file():
        sys.exit("web: the dashboard is not built: ./start_everything.sh builds it")
    os.chdir(FOLDER)
    os.execve(program, [program, "server.mjs"], environment(settings, keys(settings)))  # noqa: S606  # no shell is meant


def environment(settings: Settings, found: Keys) -> dict[str, str]:
    """What the web server is started with: nothing of this node's environment but what Node needs."""
    passed = ("PATH", "HOME", "LANG", "TMPDIR", "TZ", "NODE_EXTRA_CA_CERTS", "AI_EMPLOYEE_SUPERVISOR_FD")
    return {name: os.environ[name] for name in passed if name in os.environ} | {
        "NODE_ENV": "production",
        "NEXT_TELEMETRY_DISABLED": "1",
        "HOSTNAME": settings.dashboard_host,
        "PORT": str(settings.dashboard_port),
        "DASHBOARD_API_URL": settings.own_api_url,
        "API_TOKEN": settings.api_token,
        "DASHBOARD_PASSWORD_HASH": found.password_hash,
        "DASHBOARD_SECRET": found.secret,
        "DASHBOARD_URL": settings.dashboard_url,
    }


# The password


def prepare(settings: Settings) -> str | None:
    """Make what logging in needs where it is missing. The new password, where one was made."""
    if keys(settings).password_hash:
        return None
    return _make(settings)


def new_password(settings: Settings) -> int:
    """Print a new password, which the web server takes at once: its orchestrator starts it again. Sessions end."""
    if settings.dashboard_password_hash:
        print(
            "The password is set by DASHBOARD_PASSWORD_HASH: run `npm run hash-password` in dashboard/.",
            file=sys.stderr,
        )
        return 1
    print(_make(settings))
    if running := pid(settings):
        os.kill(running, signal.SIGTERM)
    return 0


def pid(settings: Settings) -> int | None:
    """The process id of the web server that this node's orchestrator runs."""
    orchestrated = locks.is_held(settings.state_dir / "locks" / "orchestrator.lock")
    child = read_json(settings.state_dir / "processes.json").get("children", {}).get("web", {})
    return child.get("pid") if orchestrated and child.get("state") == "running" else None


def keys(settings: Settings) -> Keys:
    """The settings', else those that were made here; empty where there are none."""
    kept = _kept(settings)
    return Keys(
        settings.dashboard_password_hash or kept.get("password_hash", ""),
        settings.dashboard_secret or kept.get("secret", ""),
    )


def hashed(password: str) -> str:
    """The hash that the web server compares with (RFC 7914)."""
    salt = secrets.token_bytes(16)
    plain = unicodedata.normalize("NFKC", password).encode()
    key = hashlib.scrypt(plain, salt=salt, dklen=32, **_SCRYPT)
    return f"scrypt:{_SCRYPT['n']}:{_SCRYPT['r']}:{_SCRYPT['p']}:{_base64(salt)}:{_base64(key)}"


def new_phrase() -> str:
    """A password that is easy to type, of 80 random bits."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))


def _make(settings: Settings) -> str:
    password = new_phrase()
    made = {"password_hash": hashed(password), "secret": secrets.token_urlsafe(32)}
    atomic.write(_place(settings), json.dumps(made).encode(), mode=0o600)
    return password


def _kept(settings: Settings) -> dict[str, Any]:
    try:
        value = json.loads(_place(settings).read_bytes())
    except FileNotFoundError:
        return {}
    return value if isinstance(value, dict) else {}


def _place(settings: Settings) -> Path:
    return settings.state_dir / "dashboard.json"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


if __name__ == "__main__":
    sys.exit(main())
