"""What is configured on this node, what works, and what to do about the rest: `python -m scripts.doctor`.

Looks and changes nothing. Exit code 1 if something that is needed is broken.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from scripts.node import port_problem, status
from utils.adapters.processes import run_to_end
from utils.bootstrap import Services
from utils.ports import AdapterError
from utils.settings import InvalidSettings, Settings, load
from utils.vault import locks
from utils.vault.layout import SKELETON

OK, NOTE, BROKEN = "ok", "note", "BROKEN"


@dataclass(frozen=True)
class Finding:
    """One line of the answer: a verdict, what was looked at, and what was seen, with the remedy where there is one."""

    verdict: str
    subject: str
    detail: str


def main() -> int:
    """Entry point."""
    argparse.ArgumentParser(prog="python -m scripts.doctor", description=__doc__).parse_args()
    findings = []
    for finding in examine():
        print(f"{finding.verdict:<7} {finding.subject:<10} {finding.detail}", flush=True)
        findings.append(finding)
    broken = sum(finding.verdict == BROKEN for finding in findings)
    print(f"\n{broken} broken." if broken else "\nNothing that is needed is broken.")
    return 1 if broken else 0


def examine() -> Iterator[Finding]:
    """Every finding, as it is found; with unusable settings there is nothing else to look at."""
    try:
        settings = load()
    except InvalidSettings as error:
        yield from (Finding(BROKEN, "settings", problem) for problem in error.problems)
        return
    yield Finding(OK, "settings", f"{settings.agent_name}, {settings.agent_mode}" + ", dry run" * settings.dry_run)
    services = Services(settings)
    try:
        yield from _vault(services)
        yield _remote(services)
        yield _mail_in(services)
        yield _mail_out(settings)
        yield _alerts(services)
        yield from _processes(settings)
    finally:
        services.close()


def _vault(services: Services) -> Iterator[Finding]:
    layout, root = services.layout, services.layout.root
    if not root.is_dir():
        yield Finding(BROKEN, "vault", f"{root} does not exist: mount the disk, or run python -m scripts.init_vault")
    elif not layout.marker.exists() or not (root / ".git").exists():
        yield Finding(NOTE, "vault", f"{root} is not set up yet: run python -m scripts.init_vault")
    elif not os.access(root, os.W_OK | os.X_OK):
        yield Finding(BROKEN, "vault", f"{root} can't be written to: check its owner and rights")
    else:
        missing = [name for name in SKELETON if not (root / name).is_dir()]
        detail = f"{root}" + (f" (folders to be made when needed: {', '.join(missing)})" if missing else "")
        yield Finding(OK, "vault", detail)
    state = services.settings.state_dir
    if state.exists() and not os.access(state, os.W_OK | os.X_OK):
        yield Finding(BROKEN, "state", f"{state} can't be written to: check its owner and rights (STATE_DIR)")
    elif state.exists() and state.stat().st_mode & 0o077:
        yield Finding(NOTE, "state", f"{state} can be read by others: chmod 700 {state}")


def _remote(services: Services) -> Finding:
    s = services.settings
    if not services.sync.has_remote():
        return Finding(NOTE, "remote", "the vault has no git remote, so this node is alone: set VAULT_REMOTE_URL")
    quiet = ["env", "GIT_TERMINAL_PROMPT=0", "GIT_SSH_COMMAND=ssh -oBatchMode=yes -oConnectTimeout=10"]
    asked = ["git", "-C", str(services.layout.root), "ls-remote", "--heads", s.vault_sync_remote, s.vault_sync_branch]
    timeout = min(s.git_timeout_seconds, 30)
    code, output = run_to_end([*quiet, *asked], cwd=services.layout.root, timeout=timeout, stopped=lambda: False)
    if code == 0 and output.strip():
        return Finding(OK, "remote", f"{s.vault_sync_remote} answers and has {s.vault_sync_branch}")
    if code == 0:
        return Finding(
            NOTE, "remote", f"{s.vault_sync_remote} has no {s.vault_sync_branch} yet: Local's first sync makes it"
        )
    said = next((line for line in output.splitlines() if line.strip()), f"no answer within {timeout} s").strip()
    said = re.sub(r"//[^/@\s]+@", "//***@", said)  # a token may be part of the address
    return Finding(BROKEN, "remote", f"{s.vault_sync_remote}: {said} (network, address, or access key)")


def _mail_in(services: Services) -> Finding:
    s = services.settings
    if s.mail_provider == "maildir":
        return Finding(OK, "mail in", f"drop a mail (.eml) into {s.maildir}")
    mailbox: Any = services.mailbox
    try:
        return Finding(OK, "mail in", mailbox.check())
    except AdapterError as error:
        return Finding(BROKEN, "mail in", str(error))


def _mail_out(s: Settings) -> Finding:
    if s.draft_only:
        return Finding(OK, "mail out", "draft-only: this node sends nothing")
    if s.mail_sender == "outbox":
        return Finding(OK, "mail out", f"approved mail is written to {s.outbox} (MAIL_SENDER=outbox)")
    return _smtp("mail out", s, "smtp")


def _alerts(services: Services) -> Finding:
    s = services.settings
    works, detail = services.alerts.status()
    if not s.alerts_enabled:
        return Finding(OK, "alerts", detail)
    finding = _smtp("alerts", s, "alert_smtp")
    return (
        finding
        if works or finding.verdict == BROKEN
        else Finding(NOTE, "alerts", f"{finding.detail}; so far: {detail}")
    )


def _smtp(subject: str, s: Settings, prefix: str) -> Finding:
    import smtplib
    import ssl

    def setting(name: str) -> Any:
        return getattr(s, f"{prefix}_{name}")

    where = f"{setting('host')}:{setting('port')}"
    connect: Callable[..., smtplib.SMTP] = smtplib.SMTP_SSL if setting("security") == "tls" else smtplib.SMTP
    context = {"context": ssl.create_default_context()} if setting("security") == "tls" else {}
    try:
        with connect(setting("host"), setting("port"), timeout=15, **context) as server:
            if setting("security") == "starttls":
                server.starttls(context=ssl.create_default_context())
            if setting("user"):
                server.login(setting("user"), setting("pass"))
            server.noop()
    except smtplib.SMTPAuthenticationError as error:
        names = f"{prefix.upper()}_USER, {prefix.upper()}_PASS"
        return Finding(BROKEN, subject, f"{where} refuses the login ({error.smtp_code}): check {names}")
    except (OSError, smtplib.SMTPException) as error:
        return Finding(BROKEN, subject, f"{where}: {error} (check {prefix.upper()}_HOST, _PORT, _SECURITY)")
    return Finding(OK, subject, f"{where} answers" + (" and lets us in" if setting("user") else ""))


def _processes(s: Settings) -> Iterator[Finding]:
    lines, running = status(s)
    problem = port_problem(s)
    orchestrated = locks.is_held(s.state_dir / "locks" / "orchestrator.lock") if s.state_dir.exists() else False
    if running:
        yield Finding(OK, "processes", "API and orchestrator run")
        fallen = [line.strip() for line in lines[2:] if " running " not in line]
        yield from (Finding(BROKEN, "processes", f"{line} (see {s.state_dir}/logs)") for line in fallen)
    elif orchestrated:
        yield Finding(BROKEN, "processes", f"the orchestrator runs, the API does not: {' '.join(lines[0].split())}")
    elif problem:
        yield Finding(BROKEN, "port", f"{problem}: set another API_PORT")
    else:
        yield Finding(NOTE, "processes", "nothing runs: ./start_everything.sh")


if __name__ == "__main__":
    sys.exit(main())
