"""E-mail as an MCP server on standard input and output.

The tools that act take an action id and nothing else: what is sent are the bytes that the human approved, loaded here
from the journal, and the journal's one-time token allows it once. No other MCP client can act past that. In draft-only
mode every one of them refuses.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from utils.bootstrap import Services
from utils.core.mail import OutgoingMail
from utils.core.policy import Mode, refusal
from utils.core.task import InvalidTask
from utils.daemon import set_up_logging
from utils.execution import render, requests
from utils.execution.executor import acting_lock
from utils.execution.journal import ActionRecord, Outcome, State
from utils.ports import AdapterError, OutcomeUnknown
from utils.settings import InvalidSettings, load
from utils.vault import locks

log = logging.getLogger("email_server")

_ACTS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True)
_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)


class SendResult(BaseModel):
    """What a sending tool answers."""

    sent: bool = Field(description="whether the mail was handed over; false in a dry run")
    message_id: str = Field(description="the mail's Message-ID")
    recipients: list[str] = Field(description="everyone in the envelope, Bcc included")
    provider: str | None = Field(default=None, description="who took the mail: smtp or outbox")
    detail: str | None = Field(default=None, description="what that provider answered")


class ServerStatus(BaseModel):
    """What `server_status` answers."""

    mode: str = Field(description="full or draft_only")
    may_send: bool = Field(description="whether the sending tools can act on this node at all")
    sender: str = Field(description="where mail goes: smtp or outbox")
    from_address: str = Field(description="the address in From")
    dry_run: bool = Field(description="whether DRY_RUN stops every execution")
    waiting: int = Field(description="approved actions that are not executed yet")
    unknown: int = Field(description="actions whose outcome a human has to settle")


class EmailServer:
    """The tools, over one node's services."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._acting = threading.Event()

    def build(self) -> MCPServer[Any]:
        """The MCP server with its tools."""
        server: MCPServer[Any] = MCPServer(
            "email",
            instructions="Sends e-mails that a human approved, by their action id. It can't compose or address mail.",
            log_level="WARNING",
        )
        server.tool(annotations=_ACTS)(self.send_email)
        server.tool(annotations=_ACTS)(self.reply_email)
        server.tool(annotations=_ACTS)(self.forward_email)
        server.tool(annotations=_READS)(self.server_status)
        return server

    def send_email(self, action_id: str, dry_run: bool = False) -> SendResult:
        """Send the approved e-mail of this action id. With dry_run, verify everything and send nothing."""
        return self._act("send_email", action_id, dry_run)

    def reply_email(self, action_id: str, dry_run: bool = False) -> SendResult:
        """Send the approved reply of this action id, in its thread. With dry_run, verify all and send nothing."""
        return self._act("reply_email", action_id, dry_run)

    def forward_email(self, action_id: str, dry_run: bool = False) -> SendResult:
        """Forward a mail. This version can't: it always refuses."""
        self._refuse_where_forbidden("forward_email")
        raise ToolError("this version can't forward mail yet: forward it by hand. Nothing was sent")

    def server_status(self) -> ServerStatus:
        """Whether this node may send, where mail goes, and what waits."""
        s = self._services.settings
        store = self._services.store
        return ServerStatus(
            mode=s.agent_mode,
            may_send=s.agent_mode == Mode.FULL and not s.dry_run,
            sender=s.mail_sender,
            from_address=s.mail_from or render.FALLBACK_SENDER,
            dry_run=s.dry_run,
            waiting=len(store.in_state(State.APPROVED, State.SENDING)),
            unknown=len(store.in_state(State.UNKNOWN)),
        )

    def on_terminate(self, number: int, frame: FrameType | None) -> None:
        """SIGTERM: leave at once, unless a mail is on its way; then standard input's end lets us leave."""
        if not self._acting.is_set():
            os._exit(0)

    def _act(self, action: str, action_id: str, dry_run: bool) -> SendResult:
        self._refuse_where_forbidden(action)
        dry_run = dry_run or self._services.settings.dry_run
        record, mail = self._load(action, action_id)
        if dry_run:
            return SendResult(sent=False, message_id=mail.message_id, recipients=list(mail.recipients))
        if record.state is not State.SENDING:
            raise ToolError(f"action {action_id} is {record.state}, not released for sending: nothing was sent")
        try:
            with locks.hold(acting_lock(self._services.settings.state_dir), timeout=30, note=f"action {action_id}"):
                self._acting.set()
                return self._send(record, mail)
        except locks.Locked:
            raise ToolError("another action is on its way: nothing was sent") from None
        finally:
            self._acting.clear()

    def _refuse_where_forbidden(self, action: str) -> None:
        reason = refusal(self._services.settings.agent_mode, action)
        if reason is not None:
            raise ToolError(f"{reason}. Nothing was sent")

    def _load(self, action: str, action_id: str) -> tuple[ActionRecord, OutgoingMail]:
        record = self._services.store.get(action_id)
        if record is None:
            raise ToolError(f"no approved action has the id {action_id!r}: nothing was sent")
        if record.action != action:
            raise ToolError(f"action {action_id} is a {record.action}, not a {action}: nothing was sent")
        if requests.sha256(record.frozen) != record.sha256:
            raise ToolError(f"the stored bytes of action {action_id} are not those approved: nothing was sent")
        request, problems = requests.parse(record.frozen, record.request_id)
        if request is None or problems or request.action != action:
            raise ToolError(f"the approved request can't be used: {'; '.join(problems)}. Nothing was sent")
        s = self._services.settings
        try:
            mail = render.render(
                request,
                action_id=record.action_id,
                date=record.approved_at,
                sender=s.mail_from,
                sender_name=s.mail_from_name,
            )
        except InvalidTask as error:
            raise ToolError(f"{error}. Nothing was sent") from None
        return record, mail

    def _send(self, record: ActionRecord, mail: OutgoingMail) -> SendResult:
        store = self._services.store
        sender = self._services.sender
        if not store.consume(record, mail.message_id):
            raise ToolError(f"action {record.action_id} was sent, tried or taken back before: nothing was sent now")
        try:
            receipt = sender.send(mail)
        except AdapterError as error:
            store.report(record, Outcome.REFUSED, error=str(error), retry=error.retry)
            raise ToolError(f"nothing was sent: {error}") from None
        except OutcomeUnknown as error:
            store.report(record, Outcome.LOST, error=str(error))
            raise ToolError(f"it is unknown whether the mail was sent: {error}") from None
        except Exception as error:
            log.exception("sending action %s broke", record.action_id)
            store.report(record, Outcome.LOST, error=f"{type(error).__name__}: {error}")
            raise ToolError("it is unknown whether the mail was sent; see the server's log") from None
        store.report(record, Outcome.ACCEPTED, receipt=receipt)
        return SendResult(
            sent=True,
            message_id=mail.message_id,
            recipients=list(mail.recipients),
            provider=receipt.provider,
            detail=receipt.detail,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until standard input ends. Standard output belongs to MCP; the log goes to standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m mcp_servers.email_server",
        description="MCP server (stdio) that sends approved e-mails by action id. Settings: environment and .env.",
    )
    parser.add_argument("--check", action="store_true", help="validate the settings and exit")
    options = parser.parse_args(argv)
    try:
        settings = load()
    except InvalidSettings as error:
        print(f"email_server: the settings can't be used:\n{error}", file=sys.stderr)
        return 2
    if options.check:
        print("email_server: settings are fine")
        return 0
    set_up_logging(settings)
    services = Services(settings)
    email = EmailServer(services)
    signal.signal(signal.SIGTERM, email.on_terminate)
    try:
        email.build().run("stdio")
    except KeyboardInterrupt:
        log.info("interrupted")
    finally:
        services.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
