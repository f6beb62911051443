"""A Local node's desk for tests: requests to answer, a world that takes mail, and a way to die at any step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mcp.server.mcpserver.exceptions import ToolError

from mcp_servers import acting
from tests.conftest import FakeClock
from utils.adapters import approver_keys
from utils.bootstrap import Services
from utils.claim_task import Claims
from utils.core.acting import Receipt
from utils.core.badges import Letter
from utils.core.brakes import Brakes as CoreBrakes
from utils.core.mail import OutgoingMail
from utils.core.stages import Stage
from utils.core.task import format_time, make_id, request_id, with_draft
from utils.execution.approvals import Approvals
from utils.execution.brakes import Brakes
from utils.execution.executor import Executor
from utils.execution.remote import RemoteApprovals
from utils.execution.store import ExecutionStore
from utils.ports import AdapterError, Hand
from utils.vault.layout import SKELETON

DRAFT = "Hello Ann,\n\nthank you for your question.\n\nKind regards"
ANN = "ann@example.org"


class Killed(BaseException):
    """The process died here."""


class Bomb:
    """Counts the steps of a run and kills it at the one asked for (0: never)."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.steps = 0

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.at:
            raise Killed


class World:
    """Takes mail, and remembers it whoever dies. `trouble` is raised instead of taking a mail, once each, in order;
    `lost_answers` mails are taken and the answer is lost."""

    def __init__(self, *, conclusive: bool = False, keeps_sent: bool = False) -> None:
        self.ledger: list[OutgoingMail] = []
        self.calls = 0
        self.trouble: list[Exception] = []
        self.lost_answers: list[Exception] = []
        self.conclusive = conclusive
        self.keeps_sent = keeps_sent
        self.bomb = Bomb()

    def send(self, mail: OutgoingMail) -> Receipt:
        self.calls += 1
        self.bomb.step()
        if self.trouble:
            raise self.trouble.pop(0)
        self.ledger.append(mail)
        self.bomb.step()
        if self.lost_answers:
            raise self.lost_answers.pop(0)
        return Receipt("world", mail.message_id, "250 ok")

    def find(self, message_id: str) -> Receipt | None:
        there = any(mail.message_id == message_id for mail in self.ledger)
        return Receipt("world", message_id, "found") if there and (self.keeps_sent or self.conclusive) else None


class DirectTools:
    """The servers' own tools, called without a process in between."""

    def __init__(self, desk: acting.Desk, bomb: Bomb) -> None:
        self._desk = desk
        self._bomb = bomb
        self.stopped: Callable[[], bool] = lambda: False
        self.broken: list[Exception] = []

    def call(self, server: str, tool: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        self._bomb.step()
        if self.broken:
            raise self.broken.pop(0)
        try:
            answer = self._desk.act(tool, **arguments)
        except ToolError as error:
            raise AdapterError(str(error), retry=False) from None
        self._bomb.step()
        return dict(answer.model_dump())

    def close_idle(self) -> None:
        """Nothing to stop."""

    def close(self) -> None:
        """Nothing to stop."""


class _Store(ExecutionStore):
    """Dies before or after any commit."""

    bomb = Bomb()

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        self.bomb.step()
        with super()._transaction() as db:
            yield db
        self.bomb.step()


class _Claims(Claims):
    """Dies before or after any move."""

    bomb = Bomb()

    def _move(self, *arguments: Any, **options: Any) -> Path:
        self.bomb.step()
        moved = super()._move(*arguments, **options)
        self.bomb.step()
        return moved


class Desk:
    """One node with its parts, some of them breakable. `restart()` is a new process on the same files."""

    def __init__(
        self,
        make: Callable[..., Services],
        clock: FakeClock,
        world: World,
        *,
        set_up: bool = False,
        hand: Callable[[World], Hand] | None = None,
        **settings: str,
    ) -> None:
        """`set_up` makes a whole vault, as other processes need it; else there are its folders alone. `hand`: made anew
        at each restart, it carries out every action; else the node's own hands do."""
        self.clock = clock
        self.world = world
        self.in_git: set[tuple[str, bytes]] = set()
        self.alerts: list[tuple[str, str, str]] = []
        self.trust = False
        self.limits = CoreBrakes()
        self.waits: str | None = None
        self.put_back_at: datetime | None = None
        self._make = make
        self._settings = settings
        self._make_hand = hand
        self.restart()
        if set_up:
            self.vault.mkdir(parents=True)
            self.node.ensure_ready()
        for folder in SKELETON:
            (self.vault / folder).mkdir(parents=True, exist_ok=True)

    def restart(self, bomb: Bomb | None = None) -> None:
        """Everything anew, but for the files, the clock and the world."""
        bomb = bomb or Bomb()
        node = self._make("local", ready=False, clock=self.clock, **self._settings)
        s = node.settings
        s.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        zones = replace(s.zones, remote_approvals="trust") if self.trust else s.zones
        zones = replace(zones, brakes=self.limits)
        store = _Store(s.state_dir / "execution.sqlite3", self.clock)
        claims = _Claims(node.layout, s.state_dir, self.clock, "local")
        store.bomb = claims.bomb = self.world.bomb = bomb
        parts: dict[str, Any] = {"store": store, "claims": claims, "sender": self.world}
        parts["approvals"] = Approvals(
            node.layout, claims, store, zones, mode=s.agent_mode, clock=self.clock,
            known_to_git=lambda path, data: (path, data) in self.in_git,
            in_git=lambda path: [data for at, data in self.in_git if at == path], alert=self._alert,
            remote=lambda approve: node.remote_approvals.take(approve), hand=lambda action: node.hand(action),
            mail_from=s.mail_from, reason_to_wait=lambda: self.waits,
        )  # fmt: skip
        parts["remote_approvals"] = RemoteApprovals(
            node.layout, claims, store, zones, state_dir=s.state_dir, clock=self.clock, alert=self._alert,
            approver_of=approver_keys.ApproverKeys(s.keys_dir).find, is_genuine=approver_keys.is_genuine,
            put_back_at=self._put_back_at,
        )  # fmt: skip
        if self._make_hand is not None:
            made = self._make_hand(self.world)
            node.__dict__["hand"] = lambda action: made
        parts["brakes"] = Brakes(
            store, zones, node.hand, state_dir=s.state_dir, undo_seconds=s.undo_seconds, clock=self.clock
        )
        parts["tools"] = DirectTools(acting.Desk(node), bomb)
        parts["executor"] = Executor(
            node.layout, claims, parts["approvals"], store, parts["tools"], node.hand, mode=s.agent_mode,
            dry_run=s.dry_run, state_dir=s.state_dir, clock=self.clock, alert=self._alert,
            brakes=parts["brakes"], reason_to_wait=lambda: self.waits, put_back_at=self._put_back_at,
        )  # fmt: skip
        node.__dict__.update(parts)
        self.bomb = bomb
        self.node = node
        self.vault = s.vault_path
        self.store: ExecutionStore = store
        self.approvals: Approvals = parts["approvals"]
        self.executor: Executor = parts["executor"]
        self.tools: DirectTools = parts["tools"]

    def _put_back_at(self) -> datetime | None:
        """As `Services.put_back_at`, of a vault that is not synced."""
        return max(filter(None, (self.put_back_at, self.store.put_back_at())), default=None)

    def cycle(self) -> str:
        """What the approval watcher does in a cycle."""
        self.approvals.observe()
        return self.executor.run()

    def request(
        self, key: str = "mail 1", *, task: bool = True, verified: bool = True, draft: str = DRAFT, **fields: Any
    ) -> Path:
        """A reply to Ann that waits in `Pending_Approval/`, with its task in `In_Progress/cloud/`.

        `verified`: this node read Ann's mail itself and found her authenticated.
        """
        received = datetime(2026, 6, 1, 9, tzinfo=UTC)
        task_id = make_id("email", received, key)
        if verified:
            self.store.facts.read(task_id, Letter(ANN, genuine=True, message_id="<q1@example.org>"))
        action = fields.get("action", "reply_email")
        common = {
            "type": "email_processing",
            "domain": "email",
            "created": format_time(received),
            "created_by": "cloud",
            "priority": "normal",
            "source": {"from_address": ANN, "sender_authenticated": True, "message_id": "<q1@example.org>"},
        }
        if task:
            path = self.node.claims.create(Stage.NEEDS_ACTION, {"id": task_id, **common}, "> a question\n")
            self.node.claims.claim(path, "cloud")
        meta = {
            "id": request_id(task_id, action),
            **common,
            "action": action,
            "to": [ANN],
            "subject": 'Re: "10:30" – ok?',
            "in_reply_to": "<q1@example.org>",
            "references": ["<q0@example.org>"],
            "expires": format_time(self.clock.now() + timedelta(hours=24)),
            "risk": [],
            "why": "a question was asked",
            "drafted_by": "builtin",
            "source_task": task_id,
            **fields,
        }
        return self.node.claims.create(Stage.PENDING_APPROVAL, meta, with_draft("> a question\n", draft))

    def move(self, path: Path, folder: str) -> Path:
        """A person moves a file in Obsidian."""
        target = self.vault / folder / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        return target

    def places(self, name: str) -> list[str]:
        """Where files of this name lie, by their path in the vault."""
        return sorted(path.parent.relative_to(self.vault).as_posix() for path in self.vault.rglob(name))

    def action_log(self) -> list[dict[str, Any]]:
        """Every line of the action log."""
        import json

        files = sorted((self.vault / "Logs" / "actions").glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def _alert(self, level: str, title: str, message: str, *, source: str = "") -> None:
        self.bomb.step()
        self.alerts.append((level, title, message))


def sha(path: Path) -> str:
    """The hash a person's approval names."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
