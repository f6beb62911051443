"""Who works on what."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from utils.bootstrap import Services
from utils.core.stages import Stage
from utils.core.task import format_time
from Watchers.api import shapes
from Watchers.api.inputs import PAGING
from Watchers.api.operation import operation, services
from Watchers.api.paging import line_key, page_of_log

bp = Blueprint("claims", __name__)


@bp.get("/api/claims")
@operation(shapes.CLAIMS, query=PAGING)
def claims(limit: int, cursor: str | None) -> dict[str, Any]:
    """Task claim status: what agents work on now, and what `Logs/claims.jsonl` says, newest first.

    A claim is `provisional` until it has reached the remote's branch. `working`: a process of this node works on it,
    and gave its last sign at `last_beat_at`; both are null for the other zone's. `limit` and `cursor` page `recent`.
    """
    node = services()
    confirmed = node.sync.confirmed(node.layout.relative(node.layout.folder(Stage.IN_PROGRESS)))
    active = [_active(node, claim, confirmed) for claim in node.board.active_claims()]
    recent, next_cursor = page_of_log(node.board.claim_events(), line_key, limit, cursor)
    return {
        "active": active,
        "recent": recent,
        "counts": counts(active),
        "next_cursor": next_cursor,
    }


def _active(node: Services, claim: dict[str, Any], confirmed: frozenset[str] | None) -> dict[str, Any]:
    working, last_beat = None, None
    if claim["agent"] == node.settings.agent_name:
        working, last_beat = node.claims.signs(claim["task"])
    return claim | {
        "provisional": confirmed is not None and claim["path"] not in confirmed,
        "working": working,
        "last_beat_at": format_time(last_beat) if last_beat else None,
    }


def counts(active: list[dict[str, Any]]) -> dict[str, int]:
    """How many tasks each agent works on, and both together."""
    by_agent = {agent: sum(claim["agent"] == agent for claim in active) for agent in ("cloud", "local")}
    return {**by_agent, "total": len(active)}
