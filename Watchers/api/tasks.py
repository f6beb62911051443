"""Every task of the vault, by stage and domain, and each with its history."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from utils.core.stages import DOMAINS, Stage
from utils.tasks.waiting import zone_teller
from Watchers.api import shapes
from Watchers.api.inputs import PAGING, choice
from Watchers.api.operation import operation, services
from Watchers.api.paging import page_of_sorted

bp = Blueprint("tasks", __name__)


@bp.get("/api/tasks")
@operation(
    shapes.page(shapes.TASK),
    query=[
        *PAGING,
        choice("stage", list(Stage), "Only tasks of this stage"),
        choice("domain", DOMAINS, "Only tasks of this domain"),
    ],
)
def listing(limit: int, cursor: str | None, stage: str | None, domain: str | None) -> dict[str, Any]:
    """Tasks by stage and domain, newest first; one that waits names the zone that does it."""
    board = services().board
    cards = board.cards(Stage(stage) if stage else None, domain)
    found, next_cursor = page_of_sorted(cards, lambda card: card.key, limit, cursor)
    zone = zone_teller(services().zones.resolve_zone)
    items = [{**summary, "zone": zone(summary)} for card in found if (summary := board.summary(card)) is not None]
    return {"items": items, "next_cursor": next_cursor}


@bp.get("/api/tasks/<card_id:task>")
@operation(shapes.TASK_DETAIL, errors=[404])
def one(task: str) -> dict[str, Any]:
    """One task with its text, its plan, its requests and its history."""
    found = services().board.detail(task)
    return {**found, "zone": zone_teller(services().zones.resolve_zone)(found)}
