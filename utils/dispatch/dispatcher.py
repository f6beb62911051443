"""Takes the tasks that route to this zone and that something here can do, most urgent and oldest first.

A few are done at once (`TASK_WORKERS`), and a cycle does not wait for a slow one. Tasks that come from mail belong to
the gmail watcher alone, which finds left-over ones by itself. A task for which there is no handler, or that belongs to
the other zone, stays where it lies, and the answer of a cycle counts it.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from utils.claim_task import Claims, Gone, Lost, TargetTaken
from utils.core.inference import VAGUE_TYPE
from utils.core.routing import CLOUD, LOCAL, TASK_TYPES, Ticket, in_order
from utils.core.stages import Stage
from utils.core.task import ID_PATTERN, InvalidTask, Task, format_time, parse_time, task_from
from utils.dispatch.workers import Job, Workers
from utils.ports import Clock
from utils.vault import frontmatter
from utils.vault.attempts import DIED, TRIES, Attempts, is_the_nodes_fault
from utils.vault.frontmatter import InvalidFrontMatter
from utils.vault.layout import Layout
from utils.work_zones import WorkZones

log = logging.getLogger(__name__)

#: Does one claimed task and files it (by `Claims`); says in a few words what it did. Called in a thread of its own.
#: Before each step that lasts it calls `Claims.beat`, and lets `Lost` through; what else it raises counts as a try,
#: unless it `is_the_nodes_fault`. One that leaves its task in progress, while a request is decided, writes the plan
#: last: without a plan it is begun anew.
Handler = Callable[[Path, Task], str]

MAIL = "email_processing"
PATIENCE = 1.0  # seconds a cycle waits for what it began
_SETTLED = 60.0  # seconds; a person may be writing the file that can't be read yet
_REST = 60.0  # seconds between two tries
_LARGEST = 100_000_000  # bytes; no task is that large, and reading it would hold up all others
_LONG = 1800.0  # seconds; what takes longer is told
_STOP_SECONDS = 3.0


@dataclass(frozen=True)
class _Seen:
    """What one reading of a file found: a ticket, or why there is none. `plain`: it is a person's drop."""

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
        workers: int,
        tries: Path,
        clock: Clock,
        alert: Callable[..., Any],
    ) -> None:
        """`workers`: how many tasks are done at once. `tries`: the folder that remembers how often each was begun."""
        self._layout = layout
        self._claims = claims
        self._zones = zones
        self._handlers = handlers
        self._agent = agent
        self._clock = clock
        self._alert = alert
        self._workers = Workers(workers, long=_LONG, monotonic=clock.monotonic)
        self._attempts = Attempts(tries)
        self._seen: dict[Path, _Seen] = {}
        self._told: set[object] = set()
        self._resting: dict[str, float] = {}  # file names, and until when

    def run(self, now: datetime, *, patience: float = PATIENCE, stopped: Callable[[], bool] = lambda: False) -> str:
        """One round over all waiting tasks; says what was done and what waits for whom.

        Waits at most `patience` seconds for what was begun; the answer of a later round tells what became of the rest.
        """
        counts: Counter[str] = Counter()
        seen: dict[Path, _Seen] = {}
        jobs = self._abandoned(now, seen)
        for path, ticket in self._waiting(now, seen, counts):
            if ticket.type == MAIL and path.name.startswith("email-"):
                continue
            if not self._zones.runs_here(ticket.type):
                counts[f"for {self._zones.resolve_zone(ticket.type)}"] += 1
            elif ticket.type not in self._handlers:
                counts["waiting for a human"] += 1
            elif self._rests(path):
                counts["to be tried again"] += 1
            else:
                jobs.append((path.name, partial(self._take, path, ticket.type)))
        self._seen = seen
        if self._agent == LOCAL:
            self._tell_of_strays(now)
        self._tell_of_overlong(now)
        self._workers.plan(jobs, stopped)
        ended, running, waiting = self._workers.done(patience)
        counts.update(ended)
        counts += Counter({"in work": running, "waiting for a worker": waiting})
        return ", ".join(f"{what}: {count}" for what, count in sorted(counts.items())) or "no task waits"

    def close(self) -> None:
        """Begin nothing more, and let what runs come to its end for a few seconds."""
        for name in self._workers.close(_STOP_SECONDS):
            log.warning("%s is still in work: it is begun anew after the next start", name)
            self._attempts.uncount(name)  # a stop is not the task's fault

    def _abandoned(self, now: datetime, seen: dict[Path, _Seen]) -> list[tuple[str, Job]]:
        """What lies claimed by this agent, and nobody works on or has a plan for: left by a process that died."""
        jobs: list[tuple[str, Job]] = []
        for path in self._claims.abandoned():
            found = None if self._layout.is_planned(path.stem) or self._rests(path) else self._look(path)
            if found is None:
                continue
            seen[path] = found
            if found.ticket is None:
                self._tell_of(path, found, now)
            elif found.ticket.type in self._handlers and self._zones.runs_here(found.ticket.type):
                jobs.append((path.name, partial(self._resume, path, found.ticket.type)))
        return jobs

    def _tell_of(self, path: Path, found: _Seen, now: datetime) -> None:
        """Once: what can't be used in progress would lie there for ever. The gmail watcher looks after its own."""
        if path.name.startswith("email-") or not _is_settled(found, now):
            return
        message = (
            f"{self._layout.relative(path)} can't be used, and nobody works on it: {found.problem}. "
            "Put that right, and it is taken up; or move it elsewhere."
        )
        self._tell_once((path, found.stamp), f"{path.name} is stuck in progress", message)

    def _tell_of_strays(self, now: datetime) -> None:
        """Once each: what a person put into In_Progress/ where no agent looks, or what no agent here does."""
        for path in self._layout.files(Stage.IN_PROGRESS):
            agent = self._layout.agent_of(path)
            if agent == CLOUD and not self._zones.is_alone():
                continue  # the other node's
            found = None if self._layout.is_planned(path.stem) else self._look(path)
            if found is None or not _is_settled(found, now):
                continue
            if agent == LOCAL:
                ticket = found.ticket
                mine = ticket is None or ticket.type in self._handlers or ticket.type not in TASK_TYPES
                if mine or (ticket is not None and ticket.type == MAIL) or self._claims.signs(path.stem)[0]:
                    continue
            message = (
                f"{self._layout.relative(path)} lies in progress, and no agent works on it. If you do, all is well. If"
                " not, move it back to Needs_Action/, or to Done/ when it is done."
            )
            self._tell_once((path, "stray"), f"Nobody works on {path.name}", message)

    def _tell_of_overlong(self, now: datetime) -> None:
        """Once each: what never ends may hold up a change of zone, and many of them everything."""
        for name, begun in self._workers.overlong().items():
            since = now - timedelta(seconds=self._clock.monotonic() - begun)
            message = (
                f"It is in work since {format_time(since.replace(microsecond=0))} and does not end; other tasks go on "
                "beside it. If it hangs, restart the node (./start_everything.sh restart): then it is begun anew, "
                "unless you move its file out of In_Progress/ before."
            )
            self._tell_once((name, begun), f"{name} does not end", message)

    def _tell_once(self, key: object, title: str, message: str) -> None:
        if key not in self._told:
            self._told.add(key)
            self._alert("WARNING", title, message, source="dispatch")

    def _waiting(self, now: datetime, seen: dict[Path, _Seen], counts: Counter[str]) -> list[tuple[Path, Ticket]]:
        """Every readable task with its ticket, in the order of work. A file is parsed again only when it changed."""
        tickets: dict[Path, Ticket] = {}
        for path in self._layout.files(Stage.NEEDS_ACTION, misnamed=True):
            found = self._look(path)
            if found is None:
                continue
            seen[path] = found
            if found.ticket is None:
                counts[self._unusable(path, found, now)] += 1
            else:
                tickets[path] = found.ticket
        return [(path, tickets[path]) for path in in_order(tickets)]

    def _look(self, path: Path) -> _Seen | None:
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            known = self._seen.get(path)
            if known is not None and known.stamp == stamp:
                return known
            if status.st_size > _LARGEST:
                problem = f"it is larger than {_LARGEST // 1_000_000} MB"
                return _Seen(stamp, None, problem, plain=not ID_PATTERN.match(path.stem))
            data = path.read_bytes()
        except FileNotFoundError:
            return None  # claimed or moved this moment
        except OSError as error:
            return _Seen((0, 0), None, f"cannot be read: {error.strerror}", plain=True)
        try:
            meta, body = frontmatter.read(data)
            said = meta.get("type")
            unknown = isinstance(said, str) and said not in TASK_TYPES
            task = task_from({**meta, "type": VAGUE_TYPE} if unknown else meta, body, name=path.stem)
        except (InvalidFrontMatter, InvalidTask) as error:
            is_broken = isinstance(error, InvalidFrontMatter) and frontmatter.is_meant(data.decode("utf-8", "replace"))
            is_drop = not is_broken and not ID_PATTERN.match(path.stem)
            return _Seen(stamp, None, str(error), plain=is_drop)
        return _Seen(stamp, Ticket(str(said), task.priority, parse_time(task.created)))

    def _unusable(self, path: Path, found: _Seen, now: datetime) -> str:
        """A note that a person has only just dropped stays; a broken task file is set aside once nobody writes to it.
        Both are Local's business."""
        if self._agent != LOCAL:
            return f"for {LOCAL}"
        if found.plain:
            return "no task yet"
        if not _is_settled(found, now):
            return "not readable yet"
        return self._set_aside(path, f"It is no valid task: {found.problem}") or "not readable yet"

    def _take(self, path: Path, task_type: str) -> str:
        with self._zones.at_work(task_type) as ours:
            if not ours:  # the zones may have changed since the round looked
                return f"for {self._zones.resolve_zone(task_type)}"
            claimed = self._claims.claim(path)
            return self._handle(claimed) if claimed is not None else "claimed by another"

    def _resume(self, path: Path, task_type: str) -> str:
        with self._zones.at_work(task_type) as ours:
            if not ours:
                return f"for {self._zones.resolve_zone(task_type)}"
            return self._handle(path) if self._claims.take_up(path) else "claimed by another"

    def _handle(self, path: Path) -> str:
        """Do a claimed task, and lay it down, however that ended."""
        try:
            task = self._readable(path)
            return self._try(path, task) if task is not None else "changed meanwhile"
        finally:
            self._claims.rest(path)

    def _try(self, path: Path, task: Task) -> str:
        """Count the try and then do it, so that a task which kills the process comes to an end too."""
        tries = self._attempts.count(path.name)
        if tries > TRIES:
            return self._give_up(path, DIED)
        try:
            self._handlers[task.type](path, task)
            if os.path.lexists(path) and not self._layout.is_planned(path.stem):
                raise RuntimeError("it was left in progress without a plan")
        except Lost as error:
            self._attempts.uncount(path.name)
            log.info("the work on it is dropped: %s", error)
            return "claim lost"
        except (Exception, SystemExit) as error:
            problem = f"{type(error).__name__}: {error}"
            if is_the_nodes_fault(error):
                self._attempts.uncount(path.name)
                return self._hold_up(path, task, problem)
            log.exception("%s failed (try %d of %d)", task.id, tries, TRIES)
            return self._give_up(path, problem) if tries >= TRIES else self._put_back(path, task, problem)
        self._attempts.forget(path.name)
        return "done"

    def _rests(self, path: Path) -> bool:
        return self._resting.get(path.name, 0.0) > self._clock.monotonic()

    def _hold_up(self, path: Path, task: Task, problem: str) -> str:
        message = f"{problem}. Nothing is lost: such tasks wait and are tried again each minute."
        self._alert("WARNING", f"Tasks of the type {task.type} can't be done now", message, source="dispatch")
        try:
            self._put_back(path, task, problem)
        except OSError as error:  # it stays in progress, and is taken up there
            log.warning("%s is not put back: %s", task.id, error)
        return "held up"

    def _put_back(self, path: Path, task: Task, problem: str) -> str:
        self._resting[path.name] = self._clock.monotonic() + _REST
        try:
            self._claims.release(path, task.domain, problem)
        except (Gone, TargetTaken) as error:
            log.info("%s is not put back: %s", task.id, error)
            return "failed"
        return "failed, to be tried again"

    def _give_up(self, path: Path, problem: str) -> str:
        outcome = self._set_aside(path, f"{TRIES} tries failed; the last one: {problem}")
        self._attempts.forget(path.name)
        return outcome or "failed"

    def _set_aside(self, path: Path, reason: str) -> str | None:
        try:
            self._claims.quarantine(path, reason)
        except (Gone, TargetTaken) as error:
            log.info("%s is not set aside: %s", path.name, error)
            return None
        except OSError as error:  # no rights, a name too long for a note beside it: no reason to stop all others
            why = f"It can't be set aside ({error.strerror}); correct its name or its rights. {reason}"
            self._alert("WARNING", f"{path.name} is in the way", why, source="dispatch")
            return "in the way"
        self._alert("WARNING", f"{path.name} is set aside", reason, source="dispatch")
        return "set aside"

    def _readable(self, path: Path) -> Task | None:
        try:
            return task_from(*frontmatter.read(path.read_bytes()), name=path.stem)
        except (OSError, InvalidFrontMatter, InvalidTask):
            return None  # not ours to judge while it is in somebody's hands


def _is_settled(found: _Seen, now: datetime) -> bool:
    """Whether nobody has written to the file for a while."""
    return abs(now.timestamp() - found.stamp[0] / 1e9) >= _SETTLED
