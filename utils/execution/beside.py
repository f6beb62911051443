"""Carrying out beside the cycle that asks for it: a server that stays silent for minutes holds nothing else up."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from utils.execution.counts import IDLE

log = logging.getLogger(__name__)

CARRYING_OUT = "carrying out"
#: Seconds that a cycle waits for what it began: more than it takes to start a server, or to find one still at work.
PATIENCE = 2.0


class Beside:
    """Has `work()` (`Executor.run`) done in a thread of its own, one at a time, and tells its answers in order.

    `wake()`: called from that thread when one ended that a cycle did not wait for, and there is something to tell or to
    do. One that did nothing, or has the same to tell as the one before ("waiting for a confirmation 1"), wakes nobody,
    lest slow ones follow each other for ever; what changed in the vault meanwhile has asked for the next by itself.
    """

    def __init__(self, work: Callable[[], str], wake: Callable[[], None], patience: float = PATIENCE) -> None:
        self.patience = patience
        self._work = work
        self._wake = wake
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="executor")
        self._running: Future[str] | None = None
        self._told = IDLE

    @property
    def is_at_work(self) -> bool:
        """Whether it is at something right now."""
        return self._running is not None and not self._running.done()

    def run(self) -> str:
        """Begin, unless one is still at work: then what was noted since waits for the next. Answers what came of what
        ended.

        Raises what an earlier one raised; the next call tells of the one that was begun after it.
        """
        before = self._running
        if before is not None and not before.done():
            before.add_done_callback(lambda ended: self._wake())
            return CARRYING_OUT
        if before is not None and before.exception() is None:
            self._told = before.result()  # before `_tell` may ask
        running = self._running = self._thread.submit(self._work)
        is_over = bool(wait([running], self.patience).done)
        if not is_over:
            running.add_done_callback(self._tell)
        answers = [before.result()] if before is not None else []
        if is_over:
            self._running = None
            self._told = running.result()
        answers.append(self._told if is_over else CARRYING_OUT)
        return ", ".join(answer for answer in answers if answer != IDLE) or IDLE

    def close(self) -> None:
        """Wait for what is at work; whoever closes has made sure that it ends soon (`McpTools.stopped`)."""
        self._thread.shutdown()
        if self._running is not None:
            error = self._running.exception()
            if error is not None:
                log.error("the last execution ended by an error", exc_info=error)
            else:
                log.info("the last execution: %s", self._running.result())
            self._running = None

    def _tell(self, ended: Future[str]) -> None:
        if ended.exception() is None and ended.result() not in (IDLE, self._told):
            self._wake()
