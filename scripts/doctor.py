"""What is configured on this node, what works, and what to do about the rest: `python -m scripts.doctor`.

Looks and changes nothing. Exit code 1 if something that is needed is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scripts import actions, doctor_sync, keys
from scripts.node import api_url, is_our_api, other_remote, port_problem, status
from utils.adapters.git_command import QUIET_SSH, masked, network_error
from utils.adapters.processes import run_to_end
from utils.adapters.ssh_keys import KeyStore
from utils.bootstrap import Services
from utils.core import visible
from utils.core.commands import command, elsewhere
from utils.core.routing import LOCAL
from utils.core.signing import BadKey
from utils.execution.brakes import stands_still
from utils.hands.accounts import NEEDS
from utils.health.checkup import Item, State
from utils.ports import AdapterError
from utils.settings import InvalidSettings, Settings, load, warnings
from utils.vault.layout import SKELETON

OK, OFF, NOTE, BROKEN = "ok", "off", "note", "BROKEN"
#: A verdict as `GET /api/doctor` has it.
STATES = {OK: State.OK, OFF: State.OFF, NOTE: State.WARNING, BROKEN: State.ERROR}
Tell = Callable[[str], None]
_REMOTE_SECONDS = 30
_SERVER_SECONDS = 15
_IMAP_SECONDS = 30  # the limit of one of its answers


@dataclass(frozen=True)
class Finding:
    """One line of the answer: a verdict, what was looked at, and what was seen, with the remedy where there is one."""

    verdict: str
    subject: str
    detail: str


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m scripts.doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for GET /api/doctor")
    if parser.parse_args().json:
        return _main_json()
    findings = []
    for finding in examine(lambda what: print(f"… {what}", flush=True)):
        print(f"{finding.verdict:<7} {finding.subject:<10} {finding.detail}", flush=True)
        findings.append(finding)
    broken = sum(finding.verdict == BROKEN for finding in findings)
    print(f"\n{broken} broken." if broken else "\nNothing that is needed is broken.")
    return 1 if broken else 0


def _main_json() -> int:
    findings = []
    for finding in examine():
        print(json.dumps(asdict(Item(finding.subject, STATES[finding.verdict], finding.detail))), flush=True)
        findings.append(finding)
    return 1 if any(finding.verdict == BROKEN for finding in findings) else 0


def examine(tell: Tell = lambda what: None) -> Iterator[Finding]:
    """Every finding, as it is found; with unusable settings there is nothing else to look at. `tell` is called before
    what may take long: "checking mail in (up to 30 s)"."""
    try:
        settings = load()
    except InvalidSettings as error:
        yield from (Finding(BROKEN, "settings", problem) for problem in error.problems)
        yield from (Finding(NOTE, "settings", warning) for warning in warnings())
        return
    yield from (Finding(NOTE, "settings", warning) for warning in warnings())
    yield Finding(OK, "settings", f"{settings.agent_name}, {settings.agent_mode}" + ", dry run" * settings.dry_run)
    services = Services(settings)
    try:
        yield from _vault(services)
        yield from _remote(services, tell)
        yield from _sync(services)
        yield from _zones(services)
        yield from _signing(services)
        yield from upkeep(services)
        yield _actions(services)
        yield from standing(services)
        yield from _mail_in(services, tell)
        yield _mail_out(services, tell)
        yield from _accounts(settings)
        yield _odoo(services, tell)
        yield _alerts(services, tell)
        yield from _processes(settings)
    finally:
        services.close()


def _vault(services: Services) -> Iterator[Finding]:
    layout, root = services.layout, services.layout.root
    if not root.is_dir():
        yield Finding(BROKEN, "vault", f"{root} does not exist: mount the disk, or run {command('init_vault')}")
    elif not layout.marker.exists() and _is_committed(root, layout.marker.name):
        yield Finding(
            BROKEN,
            "vault",
            f"{layout.marker} is gone, so nothing is synced: is the disk mounted? Put it back: `git -C"
            f" {shlex.quote(str(root))} restore -s HEAD {layout.marker.name}`",
        )
    elif not layout.marker.exists() or not (root / ".git").exists():
        yield Finding(NOTE, "vault", f"{root} is not set up yet: run {command('init_vault')}")
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


def _is_committed(root: Path, name: str) -> bool:
    asked = ["git", "-C", str(root), "cat-file", "-e", f"HEAD:{name}"]
    return run_to_end(asked, cwd=root, timeout=_REMOTE_SECONDS, stopped=lambda: False)[0] == 0


def _remote(services: Services, tell: Tell) -> Iterator[Finding]:
    s = services.settings
    if not services.sync.has_remote():
        remedy = "the next start sets VAULT_REMOTE_URL up" if s.vault_remote_url else "set VAULT_REMOTE_URL"
        yield Finding(NOTE, "remote", f"the vault has no git remote, so this node is alone: {remedy}")
        return
    if problem := other_remote(s):
        yield Finding(BROKEN, "remote", problem)
    yield _remote_answer(services, tell)


def upkeep(services: Services) -> Iterator[Finding]:
    """When housekeeping last did something, or why it could not."""
    last = services.housekeeping.memory.load()
    if last.get("problem"):
        yield Finding(NOTE, "upkeep", f"{last['at']}: {last['problem']}; tried again each day, after a sync")
    elif last.get("at"):
        yield Finding(OK, "upkeep", f"last at {last['at']}: {last['did']}")


def _actions(services: Services) -> Finding:
    """Whether the action log is as its writers wrote it."""
    verdict = services.action_log.verify()
    text = actions.said(verdict, is_writer=services.settings.agent_name == LOCAL)
    if verdict.problems:
        who = f"git -C {shlex.quote(str(services.layout.root))} log -p -- Logs/actions/"
        remedy = f"`{who}` shows who wrote it; when you have looked, `{command('actions accept')}`"
        return Finding(BROKEN, "actions", f"{text}. {remedy}")
    return Finding(OK, "actions", text)


def standing(services: Services) -> Iterator[Finding]:
    """That the kill switch or `DRY_RUN` keeps this node from carrying out anything."""
    stop = stands_still(services.settings)
    if stop is not None:
        remedy = command("actions go") if stop.short == "stopped" else "set DRY_RUN=false and start anew"
        yield Finding(NOTE, "brakes", f"{visible.plain(stop.reason)}. To go on: {remedy}")


def _remote_answer(services: Services, tell: Tell) -> Finding:
    s = services.settings
    quiet = ["env", "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "SSH_ASKPASS_REQUIRE=never"]
    if not _has_own_ssh(services):
        quiet.append(f"GIT_SSH_COMMAND={QUIET_SSH}")
    asked = ["git", "-C", str(services.layout.root), "ls-remote", "--heads", s.vault_sync_remote, s.vault_sync_branch]
    timeout = min(s.git_timeout_seconds, _REMOTE_SECONDS)
    tell(f"checking the vault's remote (up to {timeout} s)")
    code, output = run_to_end([*quiet, *asked], cwd=services.layout.root, timeout=timeout, stopped=lambda: False)
    if code == 0 and output.strip():
        return Finding(OK, "remote", f"{s.vault_sync_remote} answers and has {s.vault_sync_branch}")
    if code == 0:
        return Finding(
            NOTE, "remote", f"{s.vault_sync_remote} has no {s.vault_sync_branch} yet: Local's first sync makes it"
        )
    said = f"no answer within {timeout} s (network or address)" if code is None else str(network_error(output))
    return Finding(BROKEN, "remote", f"{s.vault_sync_remote}: {masked(said)}")


def _has_own_ssh(services: Services) -> bool:
    """Whether the user said how to reach the remote (a deploy key, a jump host): then that is what counts."""
    root = services.layout.root
    asked = ["git", "-C", str(root), "config", "--get", "core.sshCommand"]
    code, _ = run_to_end(asked, cwd=root, timeout=_REMOTE_SECONDS, stopped=lambda: False)
    return code == 0 or "GIT_SSH_COMMAND" in os.environ


def _signing(services: Services) -> Iterator[Finding]:
    """Whether commits are signed and checked, and what is missing."""
    s = services.settings
    if not services.sync.has_remote():
        return
    store = KeyStore(s.keys_dir)
    try:
        keyring = store.keyring()
        own = keys.introduction(s, store) if keyring.own else ""
    except (AdapterError, BadKey) as error:
        yield Finding(BROKEN, "signing", str(error))
        return
    known = any(key.zone == s.peer for key in keyring.allowed)
    if not own and not known:
        yield Finding(
            NOTE,
            "signing",
            "commits are not signed, so only an author's name says who wrote one. To change that, run on both nodes"
            f" `{elsewhere('keys create')}`, and on each the `enrol` command that the other one prints",
        )
        return
    if not own:
        yield Finding(
            NOTE, "signing", f"the {s.peer} node's key is enrolled, but this node has none: {command('keys create')}"
        )
    elif not known:
        yield Finding(
            BROKEN if keyring.enrolled(s.peer) else NOTE,
            "signing",
            f"this node signs, but no key of the {s.peer} node is enrolled here: run `{elsewhere('keys show')}` there."
            f" If it was not done yet, enrol this node's there: {own}",
        )
    else:
        people = [key.name for key in keyring.allowed if key.zone is None]
        detail = f"this node signs, and the {s.peer} node's commits must be" + f"; people: {', '.join(people)}" * bool(
            people
        )
        yield Finding(OK, "signing", detail)
    if known and s.unsigned_commits == "accept":
        yield Finding(
            NOTE,
            "signing",
            "UNSIGNED_COMMITS=accept: whoever can push to the vault's remote passes for you under any other name."
            f" Better enrol your devices: {elsewhere('keys enrol --person NAME KEY')}",
        )


def _hidden(root: Path) -> Iterator[Finding]:
    """Notes that somebody told git not to look at, so that no sync sees an edit of them."""
    asked = ["git", "-C", str(root), "ls-files", "-v", "-z"]
    code, output = run_to_end(asked, cwd=root, timeout=_REMOTE_SECONDS, stopped=lambda: False)
    records = output.split("\0") if code == 0 else []
    for option, paths in (
        ("--no-assume-unchanged", [record[2:] for record in records if record[:1].islower()]),
        ("--no-skip-worktree", [record[2:] for record in records if record[:1] in ("S", "s")]),
    ):
        if paths:
            first = shlex.quote(visible.escape(paths[0]).replace("\n", "⟦U+000A⟧"))
            yield Finding(
                NOTE,
                "sync",
                f"{len(paths)} note(s) are marked so that git overlooks what happens to them, and so does sync: for"
                f" each, `git -C {shlex.quote(str(root))} update-index {option} -- {first}`",
            )


def _sync(services: Services) -> Iterator[Finding]:
    if (services.layout.root / ".git").is_dir():
        yield from _hidden(services.layout.root)
        for verdict, detail in doctor_sync.explain(services, ok=OK, note=NOTE, broken=BROKEN):
            yield Finding(verdict, "sync", detail)


def _zones(services: Services) -> Iterator[Finding]:
    """Which zone is active, and whether this node can know. Asks nobody but this machine."""
    zones = services.zones
    if not services.layout.marker.exists():
        return
    trouble = zones.trouble()
    runs = status(services.settings).runs
    for problem in trouble:
        yield Finding(BROKEN if runs or zones.is_lost() else NOTE, "zones", problem)
    if not trouble:
        now = zones.standing()
        pinned = " (chosen by a person: no automatic change)" if now.pinned else ""
        yield Finding(OK, "zones", f"{now.active_zone} is active, term {now.term}{pinned}: {now.reason}")


def _mail_in(services: Services, tell: Tell) -> Iterator[Finding]:
    s = services.settings
    mailbox: Any = services.mailbox
    try:
        if s.mail_provider == "maildir":
            yield Finding(OK, "mail in", f"drop a mail (.eml) into {s.maildir}")
            for name, why in sorted(mailbox.not_taken().items()):
                yield Finding(NOTE, "mail in", f"{s.maildir / name} {why}")
        else:
            tell(f"checking mail in (up to {_IMAP_SECONDS} s)")
            yield Finding(OK, "mail in", mailbox.check())
    except AdapterError as error:
        yield Finding(BROKEN, "mail in", str(error))


def _mail_out(services: Services, tell: Tell) -> Finding:
    s = services.settings
    if s.draft_only:
        return Finding(OFF, "mail out", "draft-only: this node sends nothing")
    if s.mail_sender == "outbox":
        return Finding(OK, "mail out", f"approved mail is written to {s.outbox} (MAIL_SENDER=outbox)")
    if s.mail_sender == "gmail":
        from scripts import gmail_auth

        tell(f"checking Gmail (up to {s.provider_timeout_seconds:g} s for each answer)")
        try:
            return Finding(OK, "mail out", gmail_auth.said(s, services.gmail.check()))
        except AdapterError as error:
            return Finding(BROKEN, "mail out", str(error))
    return _smtp("mail out", s, "smtp", tell)


def _accounts(s: Settings) -> Iterator[Finding]:
    """Accounts to post and write with that are set up, wholly or in part; nobody is asked whether a token is good."""
    if s.draft_only:
        return
    for action, names in NEEDS.items():
        missing = [name.upper() for name in names if not getattr(s, name)]
        if not missing:
            yield Finding(OK, "accounts", f"{action}: set up (whether its token is good shows at the first use)")
        elif any(getattr(s, name) for name in names if name.startswith(names[0].partition("_")[0])):
            yield Finding(NOTE, "accounts", f"{action}: {', '.join(missing)} missing, so it can't be carried out")


def _odoo(services: Services, tell: Tell) -> Finding:
    s = services.settings
    if not s.odoo_user:
        what = "invoices" if s.payment_provider == "sepa" else "invoices and payments"
        return Finding(OFF, "odoo", f"not used: {what} can't be carried out without ODOO_USER and ODOO_API_KEY")
    tell(f"checking Odoo (up to {s.odoo_timeout_seconds} s for each answer)")
    try:
        return Finding(OK, "odoo", f"{s.odoo_user} at {s.odoo_url}, {services.books.check()}")
    except AdapterError as error:
        return Finding(BROKEN, "odoo", str(error))


def _alerts(services: Services, tell: Tell) -> Finding:
    s = services.settings
    works, detail = services.alerts.status()
    if not s.alerts_enabled:
        return Finding(OFF, "alerts", detail)
    finding = _smtp("alerts", s, "alert_smtp", tell)
    return (
        finding
        if works or finding.verdict == BROKEN
        else Finding(NOTE, "alerts", f"{finding.detail}; so far: {detail}")
    )


def _smtp(subject: str, s: Settings, prefix: str, tell: Tell) -> Finding:
    import smtplib
    import ssl

    def setting(name: str) -> Any:
        return getattr(s, f"{prefix}_{name}")

    where = f"{setting('host')}:{setting('port')}"
    connect: Callable[..., smtplib.SMTP] = smtplib.SMTP_SSL if setting("security") == "tls" else smtplib.SMTP
    tell(f"checking {subject} (up to {_SERVER_SECONDS} s a step)")
    context = {"context": ssl.create_default_context()} if setting("security") == "tls" else {}
    try:
        with connect(setting("host"), setting("port"), timeout=_SERVER_SECONDS, **context) as server:
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
    state = status(s)
    problem = port_problem(s)
    remedy = "./start_everything.sh"
    if state.runs:
        yield Finding(OK, "processes", f"API and orchestrator run (API on {api_url(s)})")
    elif state.orchestrator:
        yield Finding(BROKEN, "processes", f"the API does not run, the orchestrator does: {remedy} restart")
    elif state.api or (problem and is_our_api(problem)):
        yield Finding(BROKEN, "processes", f"the orchestrator does not run, the API does: {remedy}")
    elif state.died:
        yield Finding(BROKEN, "processes", f"the orchestrator does not run (it ended without being stopped): {remedy}")
    elif not problem:
        yield Finding(NOTE, "processes", f"nothing runs: {remedy}")
    if not state.api and problem and not is_our_api(problem):
        yield Finding(BROKEN, "port", f"{problem}: set another API_PORT")
    if state.elsewhere:
        yield Finding(NOTE, "processes", state.elsewhere)
    yield from (Finding(BROKEN, "processes", f"{line} (see {s.state_dir}/logs)") for line in state.fallen)


if __name__ == "__main__":
    sys.exit(main())
