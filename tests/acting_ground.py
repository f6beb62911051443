"""The ground of simulated executions: the node's real parts on a vault in memory, with processes that can die.

`laid()` makes it once: a vault on a made-up disk (`tests.memory_disk`), the journal as an SQLite database in memory,
locks that belong to made-up processes, and steps before and after whatever lasts (a commit, a move, a line, an alert).
At a step a process may die, or another may have its turn. What is not real is what is tested elsewhere with real
processes: `flock`, the disk, MCP's pipes. Pure functions remember their answers (`tests.remembered`).
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache, wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from tests.conftest import FakeClock
from tests.memory_disk import Disk
from tests.remembered import remembered
from tests.social_kit import NUMBER, image, jpeg
from utils.bootstrap import Services
from utils.core.brakes import Brakes
from utils.core.policy import ACTIONS
from utils.core.task import format_time, make_id, request_id, with_draft
from utils.core.zones import ZonesConfig
from utils.execution import schema
from utils.execution.mark import Mark
from utils.execution.store import ExecutionStore
from utils.settings import Settings, load
from utils.vault import atomic, frontmatter, jsonl, locks

ANN = "ann@example.org"
START = FakeClock().now()
FAST_DISK = Path("/dev/shm")
#: Of a vault's folders those that executions have to do with: the others would only be walked through.
FOLDERS = (
    "Needs_Action/email", "In_Progress/cloud", "Pending_Approval/email", "Approved", "Rejected", "Done", "Quarantine",
    "Updates/approvals", "Logs/actions",
)  # fmt: skip


class Broken(AssertionError):
    """A promise of the executor does not hold."""


class Killed(BaseException):
    """A process dies here."""

    def __init__(self, process: Process) -> None:
        super().__init__(process.name)
        self.process = process


@dataclass(eq=False)
class Process:
    """One process of the node, or the hand of a person."""

    name: str
    alive: bool = True
    forbidden: str = ""  # why this one may not act, whatever else happens
    parent: Process | None = None
    begun: int = 0  # at which step


def files(folder: str | Path) -> Iterator[str]:
    """The paths of all files below it."""
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_dir():
                yield from files(entry.path)
            else:
                yield entry.path


class Locks:
    """What `utils.vault.locks` gives, between made-up processes: none waits, for nobody else goes on meanwhile."""

    def __init__(self) -> None:
        self._held: dict[Path, tuple[Process, bool]] = {}

    @property
    def endless(self) -> bool:
        """Whether somebody holds one that others would wait for without end: none of them may have a turn now."""
        return any(endless for _, endless in self._held.values())

    @contextmanager
    def hold(self, path: Path, process: Process, timeout: float | None) -> Iterator[None]:
        if path in self._held:
            assert timeout is not None, f"{process.name} would wait for ever for {path.name}"
            raise locks.Locked(path, self._held[path][0].name)
        self._held[path] = process, timeout is None
        try:
            yield
        finally:
            if self._held.get(path, (None,))[0] is process:
                del self._held[path]

    def free(self, process: Process) -> None:
        """What the kernel does at a death."""
        for path in [path for path, (holder, _) in self._held.items() if holder is process]:
            del self._held[path]


class Node:
    """One machine in a history: its processes, one at a time, and what they share. Subclasses say what happens."""

    def __init__(self, ground: Ground) -> None:
        ground.clear(self)
        self.ground = ground
        self.vault = ground.vault
        self.clock = FakeClock()
        self.locks = Locks()
        self.running: list[Process] = []
        self.in_git: set[tuple[str, bytes]] = set()
        self.alerts: list[tuple[str, str, str]] = []
        self.waits: str | None = None
        self.options: dict[str, Any] = {"undo_seconds": 0.0}
        self._services: dict[str, Services] = {}

    def step(self) -> None:
        """Something lasting is about to be done, or was."""
        if self.running and not self.running[-1].alive:
            raise Killed(self.running[-1])

    def hand(self, action: str) -> Any:
        """Who carries out an action."""
        raise NotImplementedError

    def call(self, services: Services, tool: str, action_id: str) -> dict[str, Any]:
        """The executor's call of a tool."""
        raise NotImplementedError

    def services(self, process: str, **settings: Any) -> Services:
        """The parts of a process, made anew after its death."""
        if process not in self._services:
            made = Services(self.ground.with_settings(**self.options, **settings))
            made.clock = self.clock  # type: ignore[assignment]
            made.__dict__.update(
                store=_Store(self.ground.database, self.clock, lambda: self.step()),
                alerts=SimpleNamespace(send=self._alert),
                sync=SimpleNamespace(
                    known_to_git=lambda path, data: (path, data) in self.in_git,
                    in_git=lambda path: [data for at, data in self.in_git if at == path],
                    reason_to_wait=lambda now: self.waits,
                    put_back_at=lambda: None,
                ),
                hand=lambda action: self.hand(action),
            )
            made.__dict__["tools"] = SimpleNamespace(
                call=lambda server, tool, arguments: self.call(made, tool, **arguments), stopped=lambda: False
            )
            self._services[process] = made
        return self._services[process]

    def run(self, process: Process, act: Callable[[], Any]) -> bool:
        """Run `act` as this process; False where it died. Whoever was running meanwhile may have died as well."""
        self.running.append(process)
        done = False
        try:
            act()
            done = process.alive
        except Killed as killed:
            if killed.process is not process:
                raise
        finally:
            self.running.pop()
            self.locks.free(process)
        if not done:
            self._services.pop(process.name, None)
        if self.running and not self.running[-1].alive:
            raise Killed(self.running[-1])
        return done

    def places(self) -> dict[str, list[str]]:
        """Where files lie, by their name."""
        found: dict[str, list[str]] = {}
        for path in files(self.vault):
            folder, _, name = path.rpartition("/")
            found.setdefault(name, []).append(folder[len(str(self.vault)) + 1 :])
        return found

    def _alert(self, level: str, title: str, message: str, *, source: str = "") -> None:
        self.step()
        self.alerts.append((level, title, message))
        self.step()


class _NoMark(Mark):
    """A database in memory is never put back."""

    def reached(self, steps: int) -> None:
        pass


class _Store(ExecutionStore):
    """The real one, on the ground's database."""

    def __init__(self, database: sqlite3.Connection, clock: FakeClock, step: Callable[[], None]) -> None:
        super().__init__(Path("in memory"), clock)
        self._connection = database
        self._outside = _NoMark(Path("in memory"))
        self._step_of = step

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        self._step_of()
        with super()._transaction() as db:
            yield db
        self._step_of()


@dataclass
class Ground:
    """What all histories of a process use, one after another."""

    vault: Path
    state: Path
    database: sqlite3.Connection
    settings: Settings
    disk: Disk | None  # None: a real one
    node: Node | None = None
    tables: list[str] = field(default_factory=list)
    _settings: dict[Any, Settings] = field(default_factory=dict)
    _zones: dict[str, ZonesConfig] = field(default_factory=dict)

    def clear(self, node: Node) -> None:
        """Bare ground for the next history."""
        self.node = node
        for table in self.tables:
            self.database.execute(f"DELETE FROM {table}")
        if self.disk is not None:
            self.disk.clear()
        else:
            for path in [*files(self.vault), *files(self.state)]:
                os.unlink(path)

    def with_settings(self, **changes: Any) -> Settings:
        """The settings with these changes, made once for all histories."""
        key = tuple((name, id(value) if name == "zones" else value) for name, value in changes.items())
        if key not in self._settings:
            self._settings[key] = replace(self.settings, **changes)
        return self._settings[key]

    def with_zones(self, brakes: Brakes, **changes: Any) -> ZonesConfig:
        """What `zones.json` says, with these brakes and changes; the same object each time."""
        key = repr((brakes, changes))
        if key not in self._zones:
            self._zones[key] = replace(self.settings.zones, brakes=brakes, **changes)
        return self._zones[key]

    def step(self) -> None:
        """A step of the node that is played now."""
        if self.node is not None and self.node.running:
            self.node.step()

    def hold(
        self, path: Path, *, timeout: float | None = None, note: str | None = "", shared: bool = False
    ) -> AbstractContextManager[None]:
        """In the place of `locks.hold`; the lock's file is made as there."""
        assert self.node is not None
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        return self.node.locks.hold(path, self.node.running[-1], timeout)


@contextmanager
def laid(*, on_disk: bool = False) -> Iterator[Ground]:
    """The ground, with the program's parts on it; gone afterwards, and the program as it was. `on_disk`: its files lie
    in a folder of the system, else in this process alone."""
    home = Path(tempfile.mkdtemp(prefix="acting-", dir=FAST_DISK if FAST_DISK.is_dir() else None)).resolve()
    disk = None if on_disk else Disk(str(home / "disk"))
    database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    database.row_factory = sqlite3.Row
    schema._prepare(database)
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with ExitStack() as patches:
            if disk is not None:
                patches.enter_context(disk.mounted())
            vault, state = home / "disk/vault", home / "disk/state"
            for folder in FOLDERS:
                (vault / folder).mkdir(parents=True)
            (state / "locks").mkdir(parents=True)
            values = {"ENV_FILE": "", "AGENT_NAME": "local", "AGENT_MODE": "full"}
            values |= {"VAULT_PATH": str(vault), "STATE_DIR": str(state)}
            tables = [str(row[0]) for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            ground = Ground(vault, state, database, load(values), disk, tables=tables)
            patches.enter_context(mock.patch.object(locks, "hold", ground.hold))
            patches.enter_context(remembered())
            for module, name in ((atomic, "write"), (atomic, "rename_noreplace"), (jsonl, "write")):
                patches.enter_context(mock.patch.object(module, name, _stepping(ground, getattr(module, name))))
            patches.enter_context(mock.patch.object(os, "fsync", lambda descriptor: None))
            yield ground
    finally:
        logging.disable(level)
        database.close()
        shutil.rmtree(home, ignore_errors=True)


def _stepping(ground: Ground, real: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(real)
    def stepping(*arguments: Any, **options: Any) -> Any:
        ground.step()
        answer = real(*arguments, **options)
        ground.step()
        return answer

    return stepping


NO_CAPS = Brakes(per_hour=1000, per_day=1000, per_recipient_per_day=1000)


@dataclass(frozen=True)
class Paper:
    """A request as it may lie in the vault: its bytes in several wordings, and its task."""

    id: str
    action: str
    task_id: str
    wordings: tuple[bytes, ...]
    task: bytes

    @property
    def name(self) -> str:
        return f"{self.id}.md"


FIELDS: dict[str, Any] = {
    "to": [ANN],
    "subject": "Re: a question",
    "in_reply_to": "<q1@example.org>",
    "source_message": "<q1@example.org>",
    "payee": "ACME",
    "amount": "10.00",
    "currency": "EUR",
    "reference": "2026-1",
    "partner": "ACME",
    "lines": [{"description": "Work", "price": "10.00"}],
    "due_date": "2026-07-01",
}


PICTURE_DATA = jpeg()


@lru_cache(256)
def paper(number: int, action: str, expires: datetime) -> Paper:
    """The request number `number`, the same each time."""
    task_id = make_id("email", START, f"{number} {action}")
    common = {
        "type": "email_processing",
        "domain": "email",
        "created": format_time(START),
        "created_by": "cloud",
        "priority": "normal",
        "source": {"from_address": ANN, "sender_authenticated": True, "message_id": "<q1@example.org>"},
    }
    fields = {name: FIELDS[name] for name in ACTIONS[action].required if name != "image"}
    if action == "forward_email":
        fields["subject"] = "Fwd: a question"
    elif action == "instagram_post":
        fields["image"] = image(PICTURE_DATA)
    elif action == "whatsapp_send":
        fields |= {"to": NUMBER, "source": {"from_number": NUMBER, "received": format_time(START)}}
    meta = {"id": request_id(task_id, action), **common, "action": action, **fields, "risk": [], "why": "a question"}
    meta |= {"expires": format_time(expires), "drafted_by": "builtin", "source_task": task_id}
    wordings = tuple(
        frontmatter.write(meta, with_draft("> a question\n", f"Hello,\n\nthis is wording {number}.{wording}."))
        for wording in range(3)
    )
    task = frontmatter.write({"id": task_id, **common}, "> a question\n")
    return Paper(str(meta["id"]), action, task_id, wordings, task)
