"""Starts and supervises the watchers, files what a person drops, and routes what lies in Needs_Action by zone."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from utils.bootstrap import Services
from utils.core.routing import LOCAL
from utils.core.stages import Stage
from utils.core.supervision import RestartPolicy, after_fall
from utils.core.task import format_time
from utils.daemon import CannotStart, Stop, Worker, run
from utils.dispatch.dispatcher import PATIENCE
from utils.ports import Clock
from utils.settings import warnings
from utils.vault import atomic, locks

log = logging.getLogger("orchestrator")

STOP_SECONDS = 10.0  # what a child may take to leave
_ONCE_SECONDS = 60.0  # what `--once` waits for the tasks that it began


class Spawner(Protocol):
    """What the supervisor needs of `utils.adapters.processes.Processes`."""

    def spawn(self, command: Sequence[str]) -> subprocess.Popen[bytes]: ...

    def close(self) -> None: ...


@dataclass
class Child:
    """One child process and its fortunes. States: waiting (to be started), running, gave_up, stopped."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    state: str = "waiting"
    since: datetime | None = None
    restarts: int = 0
    falls: tuple[float, ...] = field(default=())
    start_at: float = float("-inf")
    last_exit: str | None = None


class Supervisor:
    """Keeps a table of children running. `tick` does what is due; nothing here waits but `stop`."""

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        spawner: Spawner,
        *,
        state_file: Path,
        api_url: str = "",
        clock: Clock,
        alert: Callable[..., Any],
        policy: RestartPolicy | None = None,
    ) -> None:
        self._children = [Child(name, command) for name, command in commands.items()]
        self._spawner = spawner
        self._state_file = state_file
        self._api_url = api_url
        self._clock = clock
        self._alert = alert
        self._policy = policy or RestartPolicy()
        self._started_at = clock.now()
        self._written: Any = None

    def tick(self) -> str:
        """Notice the fallen, start what is due; "3 of 4 children run"."""
        now = self._clock.monotonic()
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                self._note_fall(child, child.process.returncode, now)
            if child.state == "waiting" and child.start_at <= now:
                self._start(child, now)
        self._write()
        running = sum(child.state == "running" for child in self._children)
        given_up = [child.name for child in self._children if child.state == "gave_up"]
        text = f"{running} of {len(self._children)} children run"
        return f"{text}, given up: {', '.join(given_up)}" if given_up else text

    def due_in(self) -> float:
        """Seconds until a restart is due; infinite where none is. The fall of a child is told by a signal."""
        due = min((child.start_at for child in self._children if child.state == "waiting"), default=float("inf"))
        return max(0.0, due - self._clock.monotonic())

    def stop(self) -> None:
        """Ask all children to leave, wait, and kill those that do not."""
        running = [child for child in self._children if child.process is not None and child.process.poll() is None]
        for child in running:
            assert child.process is not None
            child.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for child in running:
            assert child.process is not None
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("%s does not leave: killed", child.name)
                child.process.kill()
                child.process.wait()
        for child in self._children:
            child.process = None
            child.state = "gave_up" if child.state == "gave_up" else "stopped"
        self._spawner.close()
        self._write()

    def _start(self, child: Child, now: float) -> None:
        try:
            child.process = self._spawner.spawn(child.command)
        except OSError as error:
            self._after_fall(child, now, f"cannot be started: {error}")
            return
        child.state, child.since = "running", self._clock.now()
        log.info("%s runs (pid %d)", child.name, child.process.pid)

    def _note_fall(self, child: Child, code: int, now: float) -> None:
        child.process = None
        self._after_fall(child, now, f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}")

    def _after_fall(self, child: Child, now: float, what: str) -> None:
        child.last_exit = what
        child.since = self._clock.now()
        child.falls, pause = after_fall(child.falls, now, self._policy)
        if pause is not None:
            child.state, child.start_at = "waiting", now + pause
            child.restarts += 1
            log.warning("%s %s; it is started again in %g s", child.name, what, pause)
            return
        child.state = "gave_up"
        log.error("%s %s, for the %dth time in a short while: given up", child.name, what, len(child.falls))
        text = (
            f"It {what}, {len(child.falls)} times in {self._policy.window / 60:g} minutes, and is not started again. "
        )
        text += "The log says why; then restart: ./start_everything.sh restart"
        self._alert("CRITICAL", f"{child.name} is given up", text, source="orchestrator")

    def _write(self) -> None:
        """What runs, for `status`; written only when something changed."""
        children = {
            child.name: {
                "pid": child.process.pid if child.process else None,
                "state": child.state,
                "since": format_time(child.since) if child.since else None,
                "restarts": child.restarts,
                "last_exit": child.last_exit,
            }
            for child in self._children
        }
        if children != self._written:
            own = {"pid": os.getpid(), "since": format_time(self._started_at), "api": self._api_url}
            text = json.dumps({"orchestrator": own, "children": children}, indent=1)
            atomic.write(self._state_file, text.encode(), mode=0o600)
            self._written = children


class Orchestrator(Worker):
    """The master process of a node. `commands` replaces the table of children (tests do)."""

    name = "orchestrator"
    description = __doc__

    def __init__(
        self,
        services: Services,
        commands: Mapping[str, Sequence[str]] | None = None,
        policy: RestartPolicy | None = None,
    ) -> None:
        super().__init__(services)
        self._commands = default_children(services) if commands is None else commands
        self._policy = policy
        self._supervisor: Supervisor | None = None
        self._stop: Stop | None = None
        self._held = ExitStack()
        self._lock = services.settings.state_dir / "locks" / "orchestrator.lock"

    def folders(self) -> list[Path]:
        """A drop in the Inbox and a new task wake a cycle."""
        return [self.services.layout.folder(Stage.INBOX), self.services.layout.folder(Stage.NEEDS_ACTION)]

    def start(self, stop: Stop) -> None:
        """Become the one orchestrator of this `STATE_DIR`; the first cycle starts the children."""
        for warning in warnings():
            log.warning(warning)
        self._stop = stop
        state_dir = self.services.settings.state_dir
        try:
            self._held.enter_context(locks.hold(self._lock, timeout=0))
        except locks.Locked as error:
            raise CannotStart(
                f"an orchestrator of {state_dir} runs already ({error.holder}); stop it first: "
                "./start_everything.sh stop"
            ) from None
        try:
            self.services.claims.repair()
        except OSError as error:  # a full disk, say: whoever moves a task next does it, and all else goes on
            message = f"{error}. What a killed process left between a move and its line waits for the next move."
            self.services.alerts.send("WARNING", "The start could not look after the claims", message, source=self.name)
        self._supervisor = Supervisor(
            self._commands,
            self.services.processes,
            state_file=state_dir / "processes.json",
            api_url=self.services.settings.own_api_url,
            clock=self.services.clock,
            alert=self.services.alerts.send,
            policy=self._policy,
        )

        def child_fell(number: int, frame: FrameType | None) -> None:
            stop.wake()

        signal.signal(signal.SIGCHLD, child_fell)

    def run_cycle(self, now: datetime) -> str:
        """Look after the children, make tasks of what was dropped, route what waits."""
        if self._supervisor is not None:
            return "; ".join(filter(None, (self._supervisor.tick(), self._work(now, PATIENCE))))
        try:  # a single cycle (`--once`) leaves the work to the orchestrator that runs, if one does
            with locks.hold(self._lock, timeout=0):
                return self._work(now, _ONCE_SECONDS)
        except locks.Locked as error:
            return f"an orchestrator runs ({error.holder}) and does the work"

    def _work(self, now: datetime, patience: float) -> str:
        """Each part does its work although another one fails; the first failure is raised when all are through."""
        s = self.services
        parts: list[Callable[[], str]] = [
            s.leftovers.run,
            partial(s.dispatcher.run, now, patience=patience, stopped=self._stop or (lambda: False)),
        ]
        if s.settings.agent_name == LOCAL:
            parts.insert(0, partial(s.drops.run, now))
        said, failures = [], []
        for part in parts:
            try:
                said.append(part())
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return "; ".join(filter(None, said))

    def wait(self, seconds: float, stop: Stop) -> None:
        """Wait for the next cycle, a restart that is due, a drop, or the fall of a child."""
        due = self._supervisor.due_in() if self._supervisor is not None else seconds
        stop.wait(min(seconds, due, self.services.drops.due_in or seconds))

    def close(self) -> None:
        """Begin no more tasks, stop the children, and let another orchestrator take over."""
        self.services.dispatcher.close()
        if self._supervisor is not None:
            self._supervisor.stop()
        self._held.close()


def default_children(services: Services) -> dict[str, list[str]]:
    """The processes of a node; API, web dashboard and health monitor may be somebody else's (systemd's) to run."""
    names = ["gmail_watcher", "approval_watcher", "scheduler"]
    if services.settings.supervise_api:
        names.insert(0, "dashboard")
    if services.settings.supervise_health_monitor:
        names.append("health_monitor")
    children = {name: [sys.executable, "-m", f"Watchers.{name}"] for name in names}
    if services.settings.supervise_dashboard:
        children["web"] = [sys.executable, "-m", "scripts.web", "run"]
    return children


if __name__ == "__main__":
    sys.exit(run(Orchestrator))
