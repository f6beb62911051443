"""For whom a task waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from utils.core.routing import BOTH, CLOUD, LOCAL, TASK_TYPES
from utils.core.stages import Stage
from utils.tasks.board import Board


def zone_teller(resolve_zone: Callable[[str], str]) -> Callable[[Mapping[str, Any]], str | None]:
    """Tells of a task's summary which zone does it, None where it does not wait. For one answer: the zones may change.

    What is no valid task, of a type that nobody knows among it, is Local's to look at.
    """
    resolve = cache(resolve_zone)

    def tell(summary: Mapping[str, Any]) -> str | None:
        if summary["stage"] != Stage.NEEDS_ACTION:
            return None
        known = summary["type"] in TASK_TYPES and not summary["problems"]
        return resolve(summary["type"]) if known else LOCAL

    return tell


def counts(board: Board, resolve_zone: Callable[[str], str]) -> dict[str, int]:
    """How many tasks wait for Local, for Cloud, and for whichever is first."""
    tell = zone_teller(resolve_zone)
    summaries = (board.summary(card) for card in board.cards(Stage.NEEDS_ACTION))
    found = Counter(tell(summary) for summary in summaries if summary is not None)
    return {zone: found[zone] for zone in (LOCAL, CLOUD, BOTH)}
