"""A few threads that do what they are told in its order, each thing once at a time; none waits for a slow one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

#: Does one piece of work and says in a few words what came of it.
Job = Callable[[], str]


class Workers:
    """At most `bound` threads. What `plan` is told is begun in its order; `done` tells what came of it."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._change = threading.Condition()
        self._waiting: deque[tuple[str, Job]] = deque()
        self._running: list[str] = []
        self._threads = 0
        self._ended: list[str | BaseException] = []
        self._stopped: Callable[[], bool] = lambda: False
        self._closed = False

    def plan(self, jobs: Iterable[tuple[str, Job]], stopped: Callable[[], bool]) -> None:
        """Replace what has not begun by `jobs`, named, most pressing first. Nothing begins once `stopped()` is true."""
        with self._change:
            if self._closed:
                return
            self._stopped = stopped
            self._waiting = deque((name, job) for name, job in jobs if name not in self._running)
            for _ in range(min(self._bound - self._threads, len(self._waiting))):
                self._threads += 1
                threading.Thread(target=self._work, name="task", daemon=True).start()

    def done(self, seconds: float) -> tuple[list[str], int, int]:
        """What ended since this was last asked, how many run, and how many wait; asked once all is done or after
        `seconds`. Raises what a job raised."""
        with self._change:
            self._change.wait_for(lambda: not self._threads, seconds)
            ended, self._ended = self._ended, []
            running, waiting = len(self._running), len(self._waiting)
        said = [outcome for outcome in ended if isinstance(outcome, str)]
        for outcome in ended:
            if isinstance(outcome, BaseException):
                raise outcome
        return said, running, waiting

    def close(self, seconds: float) -> list[str]:
        """Begin nothing more, wait at most `seconds` for what runs, and say what still does."""
        with self._change:
            self._closed = True
            self._waiting.clear()
            self._change.wait_for(lambda: not self._running, seconds)
            return list(self._running)

    def _work(self) -> None:
        while (begun := self._begin()) is not None:
            name, job = begun
            outcome: str | BaseException
            try:
                outcome = job()
            except BaseException as error:  # told by `done`
                outcome = error
            with self._change:
                self._running.remove(name)
                self._ended.append(outcome)
                self._change.notify_all()

    def _begin(self) -> tuple[str, Job] | None:
        with self._change:
            if self._waiting and not self._closed and not self._stopped():
                name, job = self._waiting.popleft()
                self._running.append(name)
                return name, job
            self._threads -= 1
            self._change.notify_all()
            return None
