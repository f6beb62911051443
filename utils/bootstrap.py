"""Wiring: the one place that decides which adapter is used. Everything is built when it is first asked for, so that a
process pays only for what it uses.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING

from utils.adapters.clock import SystemClock
from utils.alert_manager import AlertManager
from utils.claim_task import Claims
from utils.core.policy import MAIL_ACTIONS
from utils.core.routing import CLOUD
from utils.core.social import LIMITS
from utils.settings import PROJECT_ROOT, Settings, load
from utils.vault.layout import Layout
from utils.work_zones import WorkZones

if TYPE_CHECKING:
    from datetime import datetime

    from utils.adapters.mail_out.gmail import Gmail
    from utils.adapters.odoo_books import OdooBooks
    from utils.adapters.processes import Processes
    from utils.dispatch.dispatcher import Dispatcher
    from utils.dispatch.drops import Drops
    from utils.dispatch.leftovers import Leftovers
    from utils.execution.action_log import ActionLog
    from utils.execution.approvals import Approvals
    from utils.execution.brakes import Brakes
    from utils.execution.dashboard_note import DashboardNote
    from utils.execution.executor import Executor
    from utils.execution.remote import RemoteApprovals
    from utils.execution.store import ExecutionStore
    from utils.health.checkup import Checkup
    from utils.health.monitor import HealthMonitor
    from utils.mail.intake import MailIntake
    from utils.ports import (
        AlertChannel,
        DraftEngine,
        Hand,
        LeaseRemote,
        Mailbox,
        MailSender,
        Probe,
        SecretScanner,
        ToolCaller,
    )
    from utils.sync.housekeeping import Housekeeping
    from utils.sync.settling import Conflicts
    from utils.tasks.board import Board
    from utils.tasks.versions import Versions
    from utils.vault_sync import VaultSync


class Services:
    """The parts of one node, built from its settings."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self.layout = Layout(settings.vault_path)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Services:
        """Services from the environment and `.env`; raises `InvalidSettings`."""
        return cls(load(environ))

    def ensure_ready(self) -> None:
        """Make `STATE_DIR` (mode 0700) and check the vault, or set it up where its folder is the default one or empty.

        Raises `VaultProblem` with the remedy. Safe to call from several processes at once.
        """
        self.settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        is_default = self.settings.vault_path == PROJECT_ROOT / "AI_Employee_Vault"
        self.sync.ensure_ready(self.settings.vault_remote_url, is_default=is_default)

    @cached_property
    def claims(self) -> Claims:
        """Creates, claims and moves tasks."""
        s = self.settings
        return Claims(self.layout, s.state_dir, self.clock, s.agent_name, overtaken=lambda: self.zones.overtaken())

    @cached_property
    def board(self) -> Board:
        """The tasks as a reader sees them."""
        from utils.tasks.board import Board

        return Board(self.layout)

    @cached_property
    def versions(self) -> Versions:
        """Whether what the API tells may have changed."""
        from utils.tasks.versions import Parts, Versions

        def parts() -> Parts:
            return Parts(self.approvals, self.alerts, self.zones, self.sync, self.store, self.health, self.claims)

        return Versions(self.layout, self.settings.state_dir, self.clock, parts)

    @cached_property
    def alerts(self) -> AlertManager:
        """Tells the human: log, durable spool, channels."""
        return AlertManager(self.layout, self.settings.state_dir, self.clock, self._alert_channels())

    @cached_property
    def zones(self) -> WorkZones:
        """Which zone is active, and what runs here."""
        s = self.settings
        return WorkZones(
            s.zones,
            self.layout,
            this_zone=s.agent_name,
            mode=s.agent_mode,
            state_dir=s.state_dir,
            clock=self.clock,
            remote=self._lease_remote,
            has_remote=lambda: self.sync.has_remote(),
            remote_wanted=bool(s.vault_remote_url),
            alert=self.alerts.send,
            probe=lambda: self.probe,
            urls={"local": s.local_api_url, "cloud": s.cloud_api_url},
            timeout=s.health_timeout_seconds,
        )

    @cached_property
    def sync(self) -> VaultSync:
        """Carries the vault to the remote and back."""
        from utils.adapters.git import GitVault
        from utils.adapters.git_glance import GitGlance
        from utils.adapters.ssh_keys import KeyStore
        from utils.vault_sync import IDENTITIES, SyncConfig, VaultSync

        s = self.settings
        root, remote, branch = s.vault_path, s.vault_sync_remote, s.vault_sync_branch
        return VaultSync(
            self.layout,
            SyncConfig(
                zone=s.agent_name,
                remote=s.vault_sync_remote,
                branch=s.vault_sync_branch,
                git_timeout=s.git_timeout_seconds,
                settle_seconds=s.sync_settle_seconds,
                max_file_bytes=s.sync_max_file_mb * 1024 * 1024,
                accept_unsigned=s.unsigned_commits == "accept",
            ),
            GitVault(
                root,
                remote=remote,
                branch=branch,
                identity=IDENTITIES[s.agent_name],
                timeout=s.git_timeout_seconds,
                scratch=s.state_dir / "tmp",
                keys=s.keys_dir,
            ),
            GitGlance(root, remote=remote, branch=branch),
            state_dir=s.state_dir,
            clock=self.clock,
            alert=lambda *words, **more: self.alerts.send(*words, **more),
            observe_moves=lambda: self.approvals.observe(),
            keyring=KeyStore(s.keys_dir).keyring,
            secrets=self.secrets,
        )

    @cached_property
    def conflicts(self) -> Conflicts:
        """Versions that yielded in a merge, and a person's word on them."""
        from utils.sync.settling import Conflicts

        return Conflicts(self.layout, self.claims, zone=self.settings.agent_name, in_git=self.sync.in_git)

    @cached_property
    def secrets(self) -> SecretScanner:
        """Looks for secrets in what is about to travel."""
        from utils.adapters.secret_scan import SecretScan

        return SecretScan(self.settings.state_dir)

    @cached_property
    def housekeeping(self) -> Housekeeping:
        """Keeps the vault and its repository small, after a sync."""
        from utils.adapters.git_glance import GitGlance
        from utils.adapters.git_keeper import GitKeeper
        from utils.sync.housekeeping import Housekeeping

        s = self.settings
        return Housekeeping(
            self.layout,
            GitKeeper(s.vault_path),
            GitGlance(s.vault_path, remote=s.vault_sync_remote, branch=s.vault_sync_branch),
            self.claims,
            self.clock,
            s.state_dir,
            zone=s.agent_name,
            keep_days=s.done_keep_days,
        )

    @cached_property
    def store(self) -> ExecutionStore:
        """Approval records and the execution journal, one SQLite file in `STATE_DIR`."""
        from utils.execution.store import ExecutionStore

        return ExecutionStore(self.settings.state_dir / "execution.sqlite3", self.clock)

    def put_back_at(self) -> datetime | None:
        """When this node, or its journal alone, was last put back from a backup; None where it never was."""
        return max(filter(None, (self.sync.put_back_at(), self.store.put_back_at())), default=None)

    @cached_property
    def approvals(self) -> Approvals:
        """What waits for the human, and what the human answered."""
        from utils.execution.approvals import Approvals

        s = self.settings
        return Approvals(
            self.layout,
            self.claims,
            self.store,
            s.zones,
            mode=s.agent_mode,
            clock=self.clock,
            known_to_git=lambda path, data: self.sync.known_to_git(path, data),
            in_git=lambda path: self.sync.in_git(path),
            alert=self.alerts.send,
            remote=lambda approve: self.remote_approvals.take(approve),
            passed_on=lambda request_id, sha256: self.remote_approvals.passed_on(request_id, sha256),
            hand=lambda action: self.hand(action),
            mail_from=s.mail_from,
            reason_to_wait=partial(self.sync.reason_to_wait, self.clock.now()),
        )

    @cached_property
    def remote_approvals(self) -> RemoteApprovals:
        """Approvals that are given elsewhere than on Local."""
        from utils.adapters import approver_keys
        from utils.execution.remote import RemoteApprovals

        s = self.settings
        return RemoteApprovals(
            self.layout,
            self.claims,
            self.store,
            s.zones,
            state_dir=s.state_dir,
            clock=self.clock,
            approver_of=approver_keys.ApproverKeys(s.keys_dir).find,
            is_genuine=approver_keys.is_genuine,
            alert=lambda *words, **more: self.alerts.send(*words, **more),
            put_back_at=self.put_back_at,
        )

    @cached_property
    def brakes(self) -> Brakes:
        """The kill switch, the undo window, caps and quiet hours."""
        from utils.execution.brakes import Brakes

        s = self.settings
        return Brakes(
            self.store, s.zones, self.hand, state_dir=s.state_dir, undo_seconds=s.undo_seconds, clock=self.clock
        )

    @cached_property
    def executor(self) -> Executor:
        """Executes approved requests, each at most once."""
        from utils.execution.executor import Executor

        s = self.settings
        return Executor(
            self.layout,
            self.claims,
            self.approvals,
            self.store,
            self.tools,
            self.hand,
            mode=s.agent_mode,
            dry_run=s.dry_run,
            state_dir=s.state_dir,
            clock=self.clock,
            alert=self.alerts.send,
            brakes=self.brakes,
            reason_to_wait=partial(self.sync.reason_to_wait, self.clock.now()),
            put_back_at=self.put_back_at,
        )

    @cached_property
    def dashboard_note(self) -> DashboardNote:
        """`Dashboard.md`, which the Local node keeps up to date."""
        from utils.execution.dashboard_note import DashboardNote

        s = self.settings
        return DashboardNote(
            self.layout,
            self.approvals,
            self.store,
            self.executor,
            self.brakes,
            mode=s.agent_mode,
            dry_run=s.dry_run,
            clock=self.clock,
            alert=self.alerts.send,
        )

    @cached_property
    def action_log(self) -> ActionLog:
        """What was done in the outside world, line by line, each chained to the one before."""
        from utils.execution.action_log import ActionLog

        s = self.settings
        return ActionLog(
            self.layout,
            s.state_dir,
            self.clock,
            s.agent_name,
            put_back_at=self.put_back_at,
            alert=self.alerts.send,
        )

    @cached_property
    def tools(self) -> ToolCaller:
        """The MCP client that the executor calls servers with."""
        from utils.adapters.mcp_client import McpTools
        from utils.execution.executor import SERVERS

        servers = {name: [sys.executable, "-m", f"mcp_servers.{name}_server"] for name in set(SERVERS.values())}
        return McpTools(servers, cwd=PROJECT_ROOT, idle_seconds=self.settings.mcp_idle_seconds, clock=self.clock)

    def hand(self, action: str) -> Hand:
        """Who carries out an action. Raises `KeyError` for one that this version can't do."""
        if action in MAIL_ACTIONS:
            return self._mail_hand
        if action in LIMITS:
            return self._social_hands[action]
        if action == "whatsapp_send":
            return self._whatsapp_hand
        if action == "invoice":
            return self._invoice_hand
        if action == "payment":
            return self._payment_hand
        raise KeyError(action)

    @cached_property
    def _social_hands(self) -> Mapping[str, Hand]:
        from utils.hands.accounts import social_hand

        return {action: social_hand(action, self.settings, self.clock.now) for action in LIMITS}

    @cached_property
    def _whatsapp_hand(self) -> Hand:
        from utils.hands.accounts import whatsapp_hand

        return whatsapp_hand(self.settings, self.clock.now)

    @cached_property
    def _mail_hand(self) -> Hand:
        from utils.hands.mail import Letters, MailHand

        s = self.settings
        letters = Letters(s.vault_path, s.mail_from, s.mail_from_name)
        if s.mail_sender == "gmail":
            from utils.hands.gmail import GmailHand

            return GmailHand(letters, lambda: self.gmail, self.clock.now, time.sleep)
        return MailHand(s.mail_sender, letters, lambda: self.sender)

    @cached_property
    def gmail(self) -> Gmail:
        """The Gmail account that sends. Raises `AdapterError` where none is set."""
        from utils.adapters.google_token import GoogleToken
        from utils.adapters.mail_out.gmail import Gmail
        from utils.ports import AdapterError

        s = self.settings
        if s.gmail_send_token_path is None:
            raise AdapterError("this node has no Gmail account to send from: set GMAIL_SEND_TOKEN_PATH", retry=False)
        timeout = s.provider_timeout_seconds
        return Gmail(s.gmail_api_url, GoogleToken(s.gmail_send_token_path, "send", timeout=timeout), timeout=timeout)

    @cached_property
    def _invoice_hand(self) -> Hand:
        from utils.hands.books import InvoiceHand

        return InvoiceHand(lambda: self.books, self.clock.now)

    @cached_property
    def _payment_hand(self) -> Hand:
        from utils.hands.books import OdooPaymentHand, SepaPaymentHand

        s = self.settings
        if s.payment_provider == "odoo":
            return OdooPaymentHand(lambda: self.books, self.clock.now)
        from utils.adapters.sepa import Debtor

        return SepaPaymentHand(s.sepa_folder, Debtor(s.sepa_name, s.sepa_iban, s.sepa_bic), s.sepa_schema)

    @cached_property
    def books(self) -> OdooBooks:
        """The books in Odoo. Raises `AdapterError` where no account is set."""
        from utils.adapters.odoo import Odoo
        from utils.adapters.odoo_books import OdooBooks
        from utils.ports import AdapterError

        s = self.settings
        if not (s.odoo_url and s.odoo_user and s.odoo_api_key):
            raise AdapterError("this node has no Odoo account: set ODOO_URL, ODOO_USER and ODOO_API_KEY", retry=False)
        odoo = Odoo(s.odoo_url, s.odoo_db, s.odoo_user, s.odoo_api_key, timeout=s.odoo_timeout_seconds)
        return OdooBooks(odoo, payment_journal=s.odoo_payment_journal, may_post=s.agent_name != CLOUD)

    @cached_property
    def sender(self) -> MailSender:
        """Where approved mail goes: an SMTP server, or the outbox folder."""
        s = self.settings
        if s.mail_sender == "smtp":
            from utils.adapters.mail_out.smtp import SmtpSender

            return SmtpSender(s)
        from utils.adapters.mail_out.outbox import OutboxSender

        return OutboxSender(s.outbox)

    @cached_property
    def mailbox(self) -> Mailbox:
        """Where mail comes from: an IMAP server, or a Maildir."""
        s = self.settings
        if s.mail_provider == "imap":
            from utils.adapters.mail_in.imap import ImapMailbox

            return ImapMailbox(s, self.clock)
        from utils.adapters.mail_in.maildir import MaildirMailbox

        return MaildirMailbox(s.maildir, max_bytes=s.mail_max_mb * 1024 * 1024)

    @cached_property
    def engine(self) -> DraftEngine:
        """Who drafts. `builtin` is the only engine for now; the settings refuse others."""
        from utils.adapters.drafting.builtin import BuiltinEngine

        return BuiltinEngine()

    @cached_property
    def intake(self) -> MailIntake:
        """Turns mail into tasks, plans and drafts."""
        from utils.mail.intake import MailIntake

        return MailIntake(
            self.mailbox,
            self.engine,
            self.claims,
            self.layout,
            self.zones,
            self.settings,
            clock=self.clock,
            alert=self.alerts.send,
            noted=lambda task_id, letter: self.store.facts.read(task_id, letter),
            secrets=self.secrets,
        )

    @cached_property
    def health(self) -> HealthMonitor:
        """Watches the API, the dashboard and Odoo, and tells how they are."""
        from utils.health.monitor import HealthMonitor, Target

        s = self.settings
        return HealthMonitor(
            [
                Target("api", f"{s.own_api_url}/api/health", "API_PORT"),
                Target("dashboard", s.own_dashboard_url, "DASHBOARD_URL"),
                Target("odoo", f"{s.odoo_url}/web/health" if s.odoo_url else "", "ODOO_URL"),
            ],
            self.layout,
            state_dir=s.state_dir,
            clock=self.clock,
            probe=lambda: self.probe,
            alert=self.alerts.send,
            interval=s.health_interval_seconds,
            timeout=s.health_timeout_seconds,
            threshold=s.health_failure_threshold,
        )

    @cached_property
    def checkup(self) -> Checkup:
        """What the doctor says."""
        from utils.health.checkup import SECONDS, Checkup

        run = partial(self.run_module, "scripts.doctor", "--json", timeout=SECONDS, stopped=lambda: False)
        return Checkup(run, self.clock)

    @cached_property
    def drops(self) -> Drops:
        """Makes tasks of what a person drops."""
        from utils.dispatch.drops import Drops

        s = self.settings
        alert = self.alerts.send
        return Drops(self.layout, self.claims, agent=s.agent_name, settle=s.sync_settle_seconds, alert=alert)

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """Hands tasks to what can do them. Nothing but mail is done yet, so there is no handler."""
        from utils.dispatch.dispatcher import Dispatcher

        return Dispatcher(
            self.layout,
            self.claims,
            self.zones,
            {},
            agent=self.settings.agent_name,
            workers=self.settings.task_workers,
            tries=self.settings.state_dir / "tasks" / "tries",
            clock=self.clock,
            alert=self.alerts.send,
        )

    @cached_property
    def leftovers(self) -> Leftovers:
        """Puts back what an agent began and will not finish."""
        from utils.dispatch.leftovers import Leftovers

        zones, agent = self.zones, self.settings.agent_name
        return Leftovers(self.layout, self.claims, zones, agent=agent, other_stopped=zones.other_stopped)

    @cached_property
    def processes(self) -> Processes:
        """Starts child processes that end with this one."""
        from utils.adapters.processes import Processes

        return Processes(PROJECT_ROOT)

    def run_module(
        self, module: str, *arguments: str, timeout: float, stopped: Callable[[], bool]
    ) -> tuple[int | None, str]:
        """Run `python -m module` to its end with the same environment: `(exit code, output)`, code None where it was
        ended after `timeout` seconds or when `stopped()` became true."""
        from utils.adapters.processes import run_to_end

        command = [sys.executable, "-m", module, *arguments]
        return run_to_end(command, cwd=PROJECT_ROOT, timeout=timeout, stopped=stopped)

    @cached_property
    def probe(self) -> Probe:
        """Asks services over HTTP whether they live."""
        from utils.adapters.http_probe import HttpProbe

        return HttpProbe()

    def _alert_channels(self) -> list[AlertChannel]:
        if not self.settings.alerts_enabled:
            return []
        from utils.adapters.smtp_alert import SmtpAlertChannel

        return [SmtpAlertChannel(self.settings)]

    def _lease_remote(self) -> LeaseRemote:
        from utils.adapters.git_lease import GitLease

        s = self.settings
        timeout = min(s.git_timeout_seconds, s.zones.failover.ttl_seconds / 4)
        folder = s.state_dir / "lease.git"
        return GitLease(s.vault_path, folder, remote=s.vault_sync_remote, zone=s.agent_name, timeout=timeout)

    def close(self) -> None:
        """Let go of connections and child processes that were opened."""
        for name in ("tools", "mailbox", "store"):
            part = self.__dict__.get(name)
            if part is not None:
                part.close()
