"""The alerts that were raised on this node."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Blueprint

from utils.core.alert import Level, Silence
from Watchers.api import shapes
from Watchers.api.inputs import PAGING, choice, group, moment, text
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


@bp.get("/api/alerts/silences")
@operation(shapes.SILENCES)
def silences() -> dict[str, Any]:
    """What is silenced now, newest first: recorded, and not mailed."""
    return {"items": [_silence(one) for one in services().alerts.silences()]}


@bp.post("/api/alerts/silences")
@operation(
    shapes.SILENCE,
    body=[
        group(
            "match",
            "Alerts with all of these; at least one is needed",
            [
                choice("level", list(Level), "Of this level"),
                text("source", "Of this source", longest=300),
                text("title", "With this title", longest=300),
            ],
        ),
        moment("until", "When alerts are mailed again, at most 30 days ahead", required=True),
    ],
)
def silence(match: dict[str, str | None], until: datetime) -> dict[str, Any]:
    """Silence alerts until a time: they are recorded as ever and not mailed. The first one after that is news again."""
    return _silence(services().alerts.silence(match, until, by="human (API)"))


@bp.delete("/api/alerts/silences/<silence_id:silence>")
@operation(shapes.SPOKEN, errors=[404])
def speak(silence: str) -> dict[str, Any]:
    """End a silence before its time."""
    services().alerts.speak(silence)
    return {"id": silence}


def _silence(one: Silence) -> dict[str, Any]:
    return {
        "id": one.id,
        "match": {"level": one.level, "source": one.source, "title": one.title},
        "until": one.until,
        "at": one.at,
        "by": one.by,
    }
