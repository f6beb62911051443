"""The settings of a cloud node: made once, checked, and shared out, so that each unit carries only what it needs.

A person edits one file, `.env`, that root alone can read. `deploy.sh` has it checked here and shares it out to a file a
unit, which systemd hands to that unit as a credential (systemd.exec(5), LoadCredential) and nobody else can read.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from pathlib import Path

from dotenv.parser import parse_stream

from scripts.web import hashed, new_phrase
from utils.settings import describe, load_leniently
from utils.vault import atomic

#: Which secrets a unit of systemd is given. The API has the logins because its doctor tries them.
UNITS: Mapping[str, frozenset[str]] = {
    "api": frozenset({"API_TOKEN", "VAULT_REMOTE_URL", "IMAP_PASS", "ODOO_API_KEY", "ALERT_SMTP_PASS"}),
    "watchers": frozenset({"VAULT_REMOTE_URL", "IMAP_PASS", "ODOO_API_KEY"}),
    "health-monitor": frozenset({"ALERT_SMTP_PASS"}),
    "dashboard": frozenset({"API_TOKEN", "DASHBOARD_PASSWORD_HASH", "DASHBOARD_SECRET"}),
}
#: What means nothing without a secret, and is left out with it.
_WITH = {"IMAP_PASS": ("MAIL_PROVIDER", "IMAP_USER"), "ODOO_API_KEY": ("ODOO_USER",)}
#: Credentials that send. They never lie on a cloud node; `deploy.sh` reads this list too.
SENDING = tuple(Path(__file__).with_name("sending_credentials.txt").read_text().split())
_FIXED = {"AGENT_NAME": "cloud", "AGENT_MODE": "draft_only"}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point: 0 done, 1 the settings can't be used (each problem is printed), 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m scripts.cloud.settings", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="make FILE from the environment, with new secrets; print the password")
    renew = commands.add_parser("password", help="put a new password into FILE, and print it; all sessions end")
    share_out = commands.add_parser("share", help="check FILE and share it out; print the units whose settings changed")
    get = commands.add_parser("get", help="print one setting of FILE; an empty line where it is not set")
    for command in (new, renew, share_out, get):
        command.add_argument("file", type=Path)
    share_out.add_argument("directory", type=Path)
    get.add_argument("name")
    options = parser.parse_args(argv)
    try:
        match options.command:
            case "new":
                print(make(options.file, os.environ))
            case "password":
                print(new_password(options.file))
            case "share":
                print(*share(options.file, options.directory), sep="\n")
            case "get":
                print(read(options.file).get(options.name, ""))
    except Refused as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return 1
    return 0


class Refused(ValueError):
    """The settings are not for a cloud node. `problems` has a line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def make(path: Path, environ: Mapping[str, str]) -> str:
    """Write a new `.env` (mode 0600) with the settings that `environ` names, and new secrets where it names none.

    Returns the dashboard's new password, which is kept nowhere; empty where `environ` has the hash of one. Raises
    `Refused`, and `FileExistsError` where there is a file: it is never overwritten.
    """
    given = {s.name: environ[s.name] for s in describe() if environ.get(s.name) and s.name not in ("STATE_DIR",)}
    password = "" if "DASHBOARD_PASSWORD_HASH" in given else new_phrase()
    made: dict[str, Callable[[], str]] = {
        "API_TOKEN": lambda: secrets.token_urlsafe(32),
        "DASHBOARD_SECRET": lambda: secrets.token_urlsafe(32),
        "DASHBOARD_PASSWORD_HASH": lambda: hashed(password),
    }
    values = given | {name: value() for name, value in made.items() if name not in given}
    if problems := refusals(values):
        raise Refused(problems)
    atomic.write(path, render(values | _FIXED).encode(), mode=0o600, replace=False)
    return password


def new_password(path: Path) -> str:
    """Put the hash of a new password into `.env`, and a new secret, so that all sessions end; all else stays."""
    password = new_phrase()
    made = {"DASHBOARD_PASSWORD_HASH": hashed(password), "DASHBOARD_SECRET": secrets.token_urlsafe(32)}
    bindings = parse_stream(StringIO(path.read_text(encoding="utf-8")))
    kept = "".join(binding.original.string for binding in bindings if binding.key not in made)
    separator = "" if not kept or kept.endswith("\n") else "\n"
    atomic.write(path, (kept + separator + render(made)).encode(), mode=0o600)
    return password


def share(path: Path, directory: Path) -> list[str]:
    """Check `.env` and write each unit's part of it, where that is not there already. Returns the units that changed.

    Raises `Refused` with all problems at once; then nothing is written, and the units keep what they have.
    """
    values = read(path)
    found = load_leniently({"ENV_FILE": str(path), **_FIXED})[1]
    problems = refusals(values) + [problem for problem in found if not problem.startswith(SENDING)]  # told better
    if problems:
        raise Refused(problems)
    parts = {unit: render(part(unit, values)) for unit in UNITS}
    changed = []
    for unit, text in parts.items():
        place = directory / f"{unit}.env"
        if not place.is_file() or place.read_text() != text:
            atomic.write(place, text.encode(), mode=0o600)
            changed.append(unit)
    return changed


def part(unit: str, values: Mapping[str, str]) -> dict[str, str]:
    """What `unit` gets of `values`: the settings that are no secret, and of the secrets its own."""
    withheld = {s.name for s in describe() if s.secret} - UNITS[unit] | set(SENDING)
    for secret, names in _WITH.items():
        if secret in withheld:
            withheld.update(names)
    return {name: value for name, value in values.items() if name.removesuffix("_FILE") not in withheld}


def refusals(values: Mapping[str, str]) -> list[str]:
    """Why these settings can't be a cloud node's: a credential that sends, or a node that acts."""
    problems = [
        f"{name}{suffix} = (hidden): it can send. The cloud node drafts only, so that whoever breaks into this server "
        "can send nothing in your name. Keep it on Local, and take the line out"
        for name in SENDING
        for suffix in ("", "_FILE")
        if values.get(name + suffix)
    ]
    for name, wanted in _FIXED.items():
        if values.get(name, wanted) != wanted:
            problems.append(f"{name} = {values[name]!r}: must be {wanted} on the cloud node")
    return problems


def read(path: Path) -> dict[str, str]:
    """The `NAME=value` lines of a file, as the node itself reads them."""
    bindings = parse_stream(StringIO(path.read_text(encoding="utf-8")))
    return {b.key: b.value for b in bindings if b.key is not None and b.value is not None}


def render(values: Mapping[str, str]) -> str:
    """A file of `NAME=value` lines that python-dotenv reads back to the same values."""
    return "".join(f"{name}={_quoted(value)}\n" for name, value in values.items())


def _quoted(value: str) -> str:
    if re.fullmatch(r"[\w@%+=:,./-]*", value, re.ASCII):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


if __name__ == "__main__":
    sys.exit(main())
