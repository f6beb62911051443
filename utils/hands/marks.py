"""What the journal keeps right before the one call that commits: when that was, and what was made ready for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from utils.core.acting import Order
from utils.core.task import format_time, parse_time
from utils.ports import AdapterError


@dataclass(frozen=True)
class Mark:
    """The journal's `prepared`. What was done is looked for only since this time, for a text leaves no mark of ours in
    a timeline. Where there is no mark at all, the commit was never called."""

    at: datetime
    made: str = ""

    def __str__(self) -> str:
        return f"{format_time(self.at)} {self.made}".strip()


def read_mark(prepared: str) -> Mark | None:
    """The mark that `prepared` is, or None where there is none. Raises `AdapterError` for what can't be read."""
    if not prepared:
        return None
    time, _, made = prepared.partition(" ")
    try:
        return Mark(parse_time(time), made)
    except ValueError as error:
        raise AdapterError(f"what the journal kept of it can't be read: {prepared[:100]!r}", retry=False) from error


def forget_mark(order: Order, prepared: Callable[[str], None]) -> None:
    """Take away the mark that a try before left, which certainly did nothing: it says nothing of this one."""
    if order.prepared:
        prepared("")
