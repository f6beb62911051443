"""What the doctor says, kept for those who ask again.

The doctor itself is `scripts.doctor`, which asks servers and may take a minute. It runs in a process of its own: its
memory goes with it, and it can be ended.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from utils.core.task import format_time
from utils.ports import Clock

KEEP = timedelta(minutes=5)
SECONDS = 120.0


class State(StrEnum):
    """How a thing that was looked at is: `off` is one that is not set up, and need not be."""

    OK = "ok"
    OFF = "off"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Item:
    """One thing that was looked at. `says`: what was seen, with the remedy where there is one."""

    name: str
    state: State
    says: str


class Checkup:
    """The newest answer of one node's doctor. Safe to use from several threads: one runs it, the others do not wait."""

    def __init__(self, run: Callable[[], tuple[int | None, str]], clock: Clock) -> None:
        """`run` answers the exit code (None: it was ended) and what was printed, an `Item` as JSON a line."""
        self._run = run
        self._clock = clock
        self._running = threading.Lock()
        self._items: tuple[Item, ...] = ()
        self._at: datetime | None = None

    def told(self, *, refresh: bool = False) -> dict[str, Any]:
        """The answer of `GET /api/doctor`: of at most five minutes ago, unless somebody runs it just now."""
        now = self._clock.now()
        is_new = self._at is not None and timedelta(0) <= now - self._at < KEEP
        if (refresh or not is_new) and self._running.acquire(blocking=False):
            try:
                self._items = tuple(self._examine())
                self._at = self._clock.now()
            finally:
                self._running.release()
        return {
            "checked_at": format_time(self._at) if self._at else None,
            "running": self._running.locked(),
            "items": [{"name": item.name, "state": item.state.value, "says": item.says} for item in self._items],
        }

    def _examine(self) -> list[Item]:
        code, output = self._run()
        items = [item for line in output.splitlines() if (item := _item(line)) is not None]
        if code is None:
            items.append(Item("doctor", State.ERROR, f"it did not end within {SECONDS:g} s; what it found is here"))
        elif not items:
            last = output.strip().rpartition("\n")[2][:300]
            items.append(Item("doctor", State.ERROR, f"it ended with exit code {code} and found nothing: {last}"))
        return items


def _item(line: str) -> Item | None:
    """What a line says; None for one that is no item, such as a line of a log."""
    try:
        value = json.loads(line)
        return Item(str(value["name"]), State(value["state"]), str(value["says"]))
    except (ValueError, KeyError, TypeError):
        return None
