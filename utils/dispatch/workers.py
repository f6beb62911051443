"""A few threads that do what they are told in its order, each thing once at a time; none waits for a slow one.

What does not end takes a thread with it. Another one stands in for it, so that the rest goes on; for a bounded number.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

#: Does one piece of work and says in a few words what came of it.
Job = Callable[[], str]


class Workers:
    """At most `bound` threads. What `plan` is told is begun in its order; `done` tells what came of it.

    Beside what runs for more than `long` seconds of `monotonic` as many more may run, up to `bound`.
    """

    def __init__(self, bound: int, *, long: float, monotonic: Callable[[], float]) -> None:
        self._bound = bound
        self._long = long
        self._monotonic = monotonic
        self._change = threading.Condition()
        self._waiting: deque[tuple[str, Job]] = deque()
        self._running: dict[str, float] = {}  # since when
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
            for _ in range(min(self._room() - self._threads, len(self._waiting))):
                self._threads += 1
                threading.Thread(target=self._work, name="task", daemon=True).start()

    def done(self, seconds: float) -> tuple[list[str], int, int]:
        """What ended since this was last asked, how many run, and how many wait; asked once all is done or after
        `seconds`. Raises what a job raised, one at a time; the next call tells the rest."""
        with self._change:
            self._change.wait_for(lambda: not self._threads, seconds)
            for outcome in self._ended:
                if isinstance(outcome, BaseException):
                    self._ended.remove(outcome)
                    raise outcome
            said = [outcome for outcome in self._ended if isinstance(outcome, str)]
            self._ended = []
            return said, len(self._running), len(self._waiting)

    def overlong(self) -> dict[str, float]:
        """What does not end, and since when by `monotonic`."""
        with self._change:
            latest = self._monotonic() - self._long
            return {name: since for name, since in self._running.items() if since < latest}

    def _room(self) -> int:
        return self._bound + min(self._bound, len(self.overlong()))

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
                del self._running[name]
                self._ended.append(outcome)
                self._change.notify_all()

    def _begin(self) -> tuple[str, Job] | None:
        with self._change:
            if self._waiting and not self._closed and not self._stopped() and self._threads <= self._room():
                name, job = self._waiting.popleft()
                self._running[name] = self._monotonic()
                return name, job
            self._threads -= 1
            self._change.notify_all()
            return None
