"""What all servers that act share: the one way from an action id to an act in the world.

A tool that acts takes an action id and nothing else. What is done are the bytes that the human approved, loaded here
from the journal, and the journal's one-time token allows it once: no other MCP client can act past that. In draft-only
mode every such tool refuses, before it looks at anything.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from types import FrameType
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field, create_model

from utils import VERSION
from utils.bootstrap import Services
from utils.core.acting import Order, Plan, Receipt
from utils.core.policy import TOOL_ACTIONS, Mode, refusal, tool_for
from utils.core.task import InvalidTask
from utils.daemon import set_up_logging, tell_problems
from utils.execution import requests
from utils.execution.executor import acting_lock
from utils.execution.journal import ActionRecord, Outcome, State
from utils.execution.schema import StoreProblem
from utils.hands.accounts import lack
from utils.ports import AdapterError, AuthRefused, Hand, OutcomeUnknown
from utils.settings import InvalidSettings, load
from utils.vault import locks

log = logging.getLogger("mcp_servers")

ACTS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True)
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_DRY_RUN = "With dry_run, verify everything and do nothing."


class Shown(BaseModel):
    """One line of what would be, or was, done."""

    label: str
    text: str


class ActionResult(BaseModel):
    """What a tool that acts answers."""

    done: bool = Field(description="whether it was carried out; false in a dry run")
    provider: str = Field(description="who carries it out: smtp, outbox, …")
    reference: str = Field(description="our own mark, by which it can be found there (a mail's Message-ID)")
    recipients: list[str] = Field(description="everyone who gets it; of a mail the whole envelope, Bcc included")
    shown: list[Shown] = Field(description="what it is, for people")
    receipt: str | None = Field(default=None, description="the provider's id of what was done")
    detail: str | None = Field(default=None, description="what the provider answered")


class ServerStatus(BaseModel):
    """What `server_status` answers."""

    mode: str = Field(description="full or draft_only")
    may_act: bool = Field(description="whether any of the tools that act can do so on this node at all")
    dry_run: bool = Field(description="whether DRY_RUN stops every execution")
    stopped: str | None = Field(description="what the kill switch says, where it is pulled; nothing is done then")
    providers: dict[str, str] = Field(description="who carries out which action")
    lacks: dict[str, str] = Field(description="for which actions there is no account here, and what to set")
    refused_credentials: list[str] = Field(description="providers that refused our credentials when last asked")
    waiting: int = Field(description="approved actions of this server that are not executed yet")
    unknown: int = Field(description="actions of this server whose outcome a human has to settle")


class Desk:
    """Acts for one server, with one node's services."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._actions: list[str] = []
        self._acting = threading.Event()

    def server(self, name: str, instructions: str, tools: Mapping[str, str]) -> MCPServer[Any]:
        """An MCP server with `server_status` and `tools` that act: names by `policy.tool_for`, what each does."""
        self._actions = list(dict.fromkeys(TOOL_ACTIONS.get(tool, tool) for tool in tools))
        made = [_strict(self._tool(tool), tool, f"{purpose} {_DRY_RUN}") for tool, purpose in tools.items()]
        server: MCPServer[Any] = MCPServer(
            name, version=VERSION, instructions=instructions, log_level="WARNING", tools=made
        )
        server.tool(annotations=READS)(self.server_status)
        return server

    def server_status(self) -> ServerStatus:
        """Whether this node may act, by whom, and what waits."""
        s, store, now = self.services.settings, self.services.store, self.services.clock.now()
        hands = {action: self.services.hand(action) for action in self._actions}
        providers = {action: hand.provider for action, hand in hands.items()}
        lacks = {action: words for action, hand in hands.items() if (words := lack(hand, action, now)) is not None}
        stopped = self.services.brakes.stopped()
        return ServerStatus(
            mode=s.agent_mode,
            may_act=s.agent_mode == Mode.FULL and not s.dry_run and stopped is None and len(lacks) < len(hands),
            dry_run=s.dry_run,
            stopped=stopped,
            providers=providers,
            lacks=lacks,
            refused_credentials=[one for one in sorted(set(providers.values())) if store.paused_at(one) is not None],
            waiting=sum(record.action in providers for record in store.in_state(State.APPROVED, State.SENDING)),
            unknown=sum(record.action in providers for record in store.in_state(State.UNKNOWN)),
        )

    def act(self, tool: str, action_id: str, dry_run: bool = False) -> ActionResult:
        """Carry out the approved action of this id, if it is one for `tool` and was released; once. Raises
        `ToolError`."""
        action = TOOL_ACTIONS.get(tool, tool)
        reason = refusal(self.services.settings.agent_mode, action)
        if reason is not None:
            raise ToolError(f"{reason}. Nothing was done")
        record, order = self._load(action, action_id)
        right = tool_for(action, order.request.fields)
        if right != tool:
            raise ToolError(f"action {action_id} is for {right}, not for {tool}: nothing was done")
        hand = self.services.hand(action)
        try:
            plan = hand.plan(order)
        except (InvalidTask, AdapterError) as error:
            raise ToolError(f"{error}. Nothing was done") from None
        if dry_run or self.services.settings.dry_run:
            _still_to_do(record)
            return _result(hand, plan, None)
        if record.state is not State.SENDING:
            raise ToolError(f"action {action_id} is {record.state}, not released for execution: nothing was done")
        lock = acting_lock(self.services.settings.state_dir)
        try:
            with locks.hold(lock, timeout=30, note=f"action {action_id}"):
                self._acting.set()
                return _result(hand, plan, self._act(hand, record, order, plan))
        except locks.Locked:
            raise ToolError("another action is on its way: nothing was done") from None
        finally:
            self._acting.clear()

    def on_terminate(self, number: int, frame: FrameType | None) -> None:
        """SIGTERM: leave at once, unless something is being done; then standard input's end lets us leave."""
        if not self._acting.is_set():
            os._exit(0)

    def _tool(self, name: str) -> Callable[..., ActionResult]:
        def tool(action_id: str, dry_run: bool = False) -> ActionResult:
            return self.act(name, action_id, dry_run)

        return tool

    def _load(self, action: str, action_id: str) -> tuple[ActionRecord, Order]:
        record = self.services.store.get(action_id)
        if record is None:
            raise ToolError(f"no approved action has the id {action_id!r}: nothing was done")
        if record.action != action:
            raise ToolError(f"action {action_id} is a {record.action}, not a {action}: nothing was done")
        try:
            return record, requests.order(record)
        except InvalidTask as error:
            raise ToolError(f"{error}. Nothing was done") from None

    def _act(self, hand: Hand, record: ActionRecord, order: Order, plan: Plan) -> Receipt:
        store = self.services.store
        stop = self.services.brakes.stopped()  # asked last of all: whoever pulled it may have done so while we waited
        if stop is not None:
            store.not_yet(record, "stopped")
            raise ToolError(f"everything is stopped: {stop or 'no reason was given'}. Nothing was done")
        if not store.consume(record, plan.reference, plan.recipients, hand.provider):
            raise ToolError(f"action {record.action_id} was done, tried or taken back before: nothing was done now")
        try:
            receipt = hand.act(order, plan, lambda prepared: self._keep(record, prepared))
        except AdapterError as error:
            refused = Outcome.AUTH_REFUSED if isinstance(error, AuthRefused) else Outcome.REFUSED
            store.report(
                record, refused, error=str(error), retry=error.retry, not_before=self._after(error.retry_after)
            )
            raise ToolError(f"nothing was done: {error}") from None
        except OutcomeUnknown as error:
            store.report(record, Outcome.LOST, error=str(error), not_before=self._after(error.retry_after))
            raise ToolError(f"it is unknown whether it was done: {error}") from None
        except Exception as error:
            log.exception("action %s broke", record.action_id)
            store.report(record, Outcome.LOST, error=f"{type(error).__name__}: {error}")
            raise ToolError("it is unknown whether it was done; see the server's log") from None
        store.report(record, Outcome.ACCEPTED, receipt=receipt)
        return receipt

    def _after(self, wait: timedelta | None) -> datetime | None:
        return self.services.clock.now() + wait if wait is not None else None

    def _keep(self, record: ActionRecord, prepared: str) -> None:
        """What a hand calls before it commits: where the journal can't keep it, the hand must not go on."""
        try:
            kept = self.services.store.prepared(record, prepared)
        except (sqlite3.Error, StoreProblem) as error:
            raise AdapterError(f"the execution journal can't be written: {error}", retry=True) from error
        if not kept:
            raise AdapterError("the execution journal knows nothing of this attempt any more", retry=False)


def _strict(function: Callable[..., ActionResult], name: str, description: str) -> Tool:
    """A tool that refuses an argument it does not have: whoever gives a `to` must not believe that it counts."""
    tool = Tool.from_function(function, name=name, description=description, annotations=ACTS)
    strict = create_model(f"{name}Arguments", __base__=tool.fn_metadata.arg_model, __cls_kwargs__={"extra": "forbid"})
    tool.fn_metadata.arg_model = strict
    tool.parameters = strict.model_json_schema(by_alias=True)
    return tool


def _still_to_do(record: ActionRecord) -> None:
    """A dry run shows what would be done, and of what was done already nothing would be. Raises `ToolError`."""
    if record.state not in (State.APPROVED, State.SENDING):
        raise ToolError(f"action {record.action_id} is {record.state}: nothing would be done")
    if record.state is State.SENDING and record.token_consumed_at is not None:
        raise ToolError(f"action {record.action_id} was done or tried before: nothing would be done")


def _result(hand: Hand, plan: Plan, receipt: Receipt | None) -> ActionResult:
    return ActionResult(
        done=receipt is not None,
        provider=hand.provider,
        reference=plan.reference,
        recipients=list(plan.recipients),
        shown=[Shown(label=label, text=text) for label, text in plan.shown],
        receipt=receipt.id if receipt else None,
        detail=receipt.detail if receipt else None,
    )


def serve(
    name: str, build: Callable[[Desk], MCPServer[Any]], description: str, argv: Sequence[str] | None = None
) -> int:
    """A server's `main`: serve until standard input ends. Standard output belongs to MCP, standard error to the log.

    `name` is the module's below `mcp_servers`.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m mcp_servers.{name}",
        description=f"MCP server (stdio): {description} Settings: environment and .env.",
    )
    parser.add_argument("--check", action="store_true", help="validate the settings and exit")
    options = parser.parse_args(argv)
    try:
        settings = load()
    except InvalidSettings as error:
        tell_problems(name, error.problems)
        return 2
    if options.check:
        print(f"{name}: settings are fine")
        return 0
    set_up_logging(settings)
    services = Services(settings)
    desk = Desk(services)
    signal.signal(signal.SIGTERM, desk.on_terminate)
    try:
        build(desk).run("stdio")
    except KeyboardInterrupt:
        log.info("interrupted")
    finally:
        services.close()
    return 0
