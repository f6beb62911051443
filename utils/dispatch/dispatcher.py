"""Takes the tasks that route to this zone and that something here can do, most urgent and oldest first.

Tasks that come from mail belong to the gmail watcher alone, which finds left-over ones by itself. A task for which
there is no handler, or that belongs to the other zone, stays where it lies, and the answer of a cycle counts it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from utils.claim_task import Claims, Gone, TargetTaken
from utils.core.routing import Ticket, in_order
from utils.core.stages import Stage
from utils.core.task import InvalidTask, Task, task_from
from utils.ports import Clock
from utils.vault import frontmatter
from utils.vault.frontmatter import InvalidFrontMatter
from utils.vault.layout import Layout
from utils.work_zones import WorkZones

log = logging.getLogger(__name__)

#: Does one claimed task and files it (by `Claims`); says in a few words what it did. What it raises counts as a try.
Handler = Callable[[Path, Task], str]

MAIL = "email_processing"
TRIES = 3
_SETTLED = 60.0  # seconds; a person may be writing the file that can't be read yet


@dataclass(frozen=True)
class _Seen:
    """What one reading of a file found: a ticket, or why there is none. `plain`: no front matter at all."""

    stamp: tuple[int, int]
    ticket: Ticket | None
    problem: str = ""
    plain: bool = False


class Dispatcher:
    """Routes and claims what lies in the needs-action stage of one node. `handlers` has one entry a task type."""

    def __init__(
        self,
        layout: Layout,
        claims: Claims,
        zones: WorkZones,
        handlers: Mapping[str, Handler],
        *,
        agent: str,
        clock: Clock,
        alert: Callable[..., Any],
    ) -> None:
        self._layout = layout
        self._claims = claims
        self._zones = zones
        self._handlers = handlers
        self._agent = agent
        self._clock = clock
        self._alert = alert
        self._seen: dict[Path, _Seen] = {}
        self._failures: Counter[str] = Counter()

    def run(self, now: datetime) -> str:
        """One round over all waiting tasks; says what was done and what waits for whom."""
        counts: Counter[str] = Counter()
        for path in self._layout.files(Stage.IN_PROGRESS, agent=self._agent):
            task = self._readable(path)
            if task is not None and task.type in self._handlers:  # left by a process that died
                counts[self._resume(path, task)] += 1
        for path, ticket in self._waiting(now, counts):
            if ticket.type == MAIL:
                continue
            if not self._zones.runs_here(ticket.type):
                counts[f"for {self._zones.resolve_zone(ticket.type)}"] += 1
            elif ticket.type not in self._handlers:
                counts["waiting for a human"] += 1
            else:
                counts[self._take(path, ticket.type)] += 1
        return ", ".join(f"{what}: {count}" for what, count in sorted(counts.items())) or "no task waits"

    def _waiting(self, now: datetime, counts: Counter[str]) -> list[tuple[Path, Ticket]]:
        """Every readable task with its ticket, in the order of work. A file is parsed again only when it changed."""
        seen: dict[Path, _Seen] = {}
        for path in self._layout.files(Stage.NEEDS_ACTION):
            found = self._look(path)
            if found is None:
                continue
            seen[path] = found
            if found.ticket is None:
                counts[self._unusable(path, found, now)] += 1
        self._seen = seen
        tickets = {path: found.ticket for path, found in seen.items() if found.ticket is not None}
        return [(path, tickets[path]) for path in in_order(tickets)]

    def _look(self, path: Path) -> _Seen | None:
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            known = self._seen.get(path)
            if known is not None and known.stamp == stamp:
                return known
            data = path.read_bytes()
        except FileNotFoundError:
            return None  # claimed or moved this moment
        except OSError as error:
            return _Seen((0, 0), None, f"cannot be read: {error.strerror}", plain=True)
        try:
            task = task_from(*frontmatter.read(data))
        except (InvalidFrontMatter, InvalidTask) as error:
            return _Seen(stamp, None, str(error), plain=not data.removeprefix(b"\xef\xbb\xbf").startswith(b"---"))
        return _Seen(stamp, Ticket(task.type, task.priority, task.created))

    def _unusable(self, path: Path, found: _Seen, now: datetime) -> str:
        """A person's plain note stays; a broken task file is set aside, by Local alone, once nobody writes to it."""
        if found.plain or self._agent != "local":
            return "not a task"
        if now.timestamp() - found.stamp[0] / 1e9 < _SETTLED:
            return "not readable yet"
        try:
            self._claims.quarantine(path, found.problem)
        except (Gone, TargetTaken) as error:
            log.info("not set aside: %s", error)
            return "not readable yet"
        self._alert("WARNING", f"{path.name} is set aside", f"It is no valid task: {found.problem}", source="dispatch")
        return "set aside"

    def _take(self, path: Path, task_type: str) -> str:
        with self._zones.at_work(task_type) as ours:
            if not ours:  # the zones changed since the round looked
                return f"for {self._zones.resolve_zone(task_type)}"
            claimed = self._claims.claim(path)
            if claimed is None:
                return "claimed by another"
            task = self._readable(claimed)
            return self._handle(claimed, task) if task is not None else "changed meanwhile"

    def _resume(self, path: Path, task: Task) -> str:
        with self._zones.at_work(task.type) as ours:
            return self._handle(path, task) if ours else f"for {self._zones.resolve_zone(task.type)}"

    def _handle(self, path: Path, task: Task) -> str:
        try:
            self._handlers[task.type](path, task)
        except Exception as error:
            self._failures[task.id] += 1
            log.exception("%s failed (try %d of %d)", task.id, self._failures[task.id], TRIES)
            return self._put_back(path, task, f"{type(error).__name__}: {error}")
        self._failures.pop(task.id, None)
        return "done"

    def _put_back(self, path: Path, task: Task, problem: str) -> str:
        try:
            if self._failures[task.id] < TRIES:
                self._claims.release(path, task.domain, problem)
                return "failed, to be tried again"
            self._claims.quarantine(path, f"{TRIES} tries failed; the last one: {problem}")
        except (Gone, TargetTaken) as error:
            log.info("%s is not put back: %s", task.id, error)
            return "failed"
        self._failures.pop(task.id, None)
        text = f"{TRIES} tries failed; the last one: {problem}"
        self._alert("WARNING", f"{task.id} is set aside", text, source="dispatch")
        return "set aside"

    def _readable(self, path: Path) -> Task | None:
        try:
            return task_from(*frontmatter.read(path.read_bytes()))
        except (OSError, InvalidFrontMatter, InvalidTask):
            return None  # not ours to judge while it is in somebody's hands
