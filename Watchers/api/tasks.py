"""Every task of the vault, by stage and domain, and each with its history."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from utils.core.stages import DOMAINS, Stage
from utils.tasks.board import Card
from utils.tasks.waiting import zone_teller
from Watchers.api import shapes
from Watchers.api.inputs import PAGING, choice, text
from Watchers.api.operation import operation, services
from Watchers.api.paging import Key, decode, encode, page_of_ordered

bp = Blueprint("tasks", __name__)

#: Tasks that one request searches in.
_LOOKED_THROUGH = 5_000


@bp.get("/api/tasks")
@operation(
    shapes.page(shapes.TASK),
    query=[
        *PAGING,
        choice("stage", list(Stage), "Only tasks of this stage"),
        choice("domain", DOMAINS, "Only tasks of this domain"),
        text("q", "Only tasks with these words in id, title or sender", longest=200),
    ],
)
def listing(limit: int, cursor: str | None, stage: str | None, domain: str | None, q: str | None) -> dict[str, Any]:
    """Tasks by stage and domain, newest first; one that waits names the zone that does it.

    With `q` a page may be short, or empty, and yet have a `next_cursor`: so many tasks were looked through, and the
    search goes on from there.
    """
    board = services().board
    cards = board.cards(Stage(stage) if stage else None, domain, decode(cursor))
    words = (q or "").casefold().split()
    found, next_cursor = page_of_ordered(cards, _key, _LOOKED_THROUGH if words else limit)
    if words:
        found, next_cursor = _search(found, words, limit, next_cursor)
    zone = zone_teller(services().zones.resolve_zone)
    items = [{**summary, "zone": zone(summary)} for card in found if (summary := board.summary(card)) is not None]
    return {"items": items, "next_cursor": next_cursor}


@bp.get("/api/tasks/<card_id:task>")
@operation(shapes.TASK_DETAIL, errors=[404])
def one(task: str) -> dict[str, Any]:
    """One task with its text, its plan, its requests and its history."""
    found = services().board.detail(task)
    return {**found, "zone": zone_teller(services().zones.resolve_zone)(found)}


def _key(card: Card) -> Key:
    return card.key


def _search(cards: list[Card], words: list[str], limit: int, beyond: str | None) -> tuple[list[Card], str | None]:
    """Those of `cards` that have all the words, and where to go on; `beyond` is the cursor of what follows them."""
    found = []
    for card in cards:
        if services().board.has_words(card, words):
            found.append(card)
            if len(found) == limit:
                return found, beyond if card is cards[-1] else encode(card.key)
    return found, beyond
