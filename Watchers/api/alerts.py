"""The alerts that were raised on this node."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Blueprint

from utils.core.alert import Level
from Watchers.api import shapes
from Watchers.api.inputs import PAGING, choice, moment
from Watchers.api.operation import operation, services

bp = Blueprint("alerts", __name__)


@bp.get("/api/alerts")
@operation(
    shapes.page(shapes.ALERT),
    query=[
        *PAGING,
        choice("level", list(Level), "Only alerts of this level"),
        moment("since", "Only alerts from this time on"),
    ],
)
def recent(limit: int, cursor: str | None, level: str | None, since: datetime | None) -> dict[str, Any]:
    """Recent alerts, newest first, each with what became of it."""
    items, next_cursor = services().alerts.recent(limit, cursor=cursor, level=level, since=since)
    return {"items": items, "next_cursor": next_cursor}
