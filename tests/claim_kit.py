"""Processes that claim and then die, or go on living."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from utils.claim_task import Claims

FORK = multiprocessing.get_context("fork")


@contextmanager
def living(act: Callable[[], Any]) -> Iterator[Any]:
    """A child process that did `act` and lives as long as the block; the block gets its process."""
    done = FORK.Event()

    def work() -> None:
        act()
        done.set()
        signal.pause()

    child = FORK.Process(target=work)
    child.start()
    try:
        assert done.wait(60)
        yield child
    finally:
        child.kill()
        child.join()


def claimed_by_the_dead(claims: Claims, path: Path) -> Path:
    """Claim a task in a process that is killed then; where the task lies now."""
    target = claims._layout.root / "In_Progress" / claims._agent / path.name
    with living(lambda: claims.claim(path)):
        assert target.exists()
    return target


def killed(act: Callable[[], Any]) -> None:
    """Run `act` in a child that kills itself when `act` raises or returns."""

    def work() -> None:
        try:
            act()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)

    child = FORK.Process(target=work)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
