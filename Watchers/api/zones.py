"""Which zone is active, and the human's switch."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from utils.core.routing import ZONES
from Watchers.api import shapes
from Watchers.api.inputs import text, whole
from Watchers.api.operation import operation, services

bp = Blueprint("zones", __name__)


@bp.get("/api/zones/status")
@operation(shapes.ZONES_STATUS)
def status() -> dict[str, Any]:
    """Zone configuration and state: active zone, term, routing of every task type."""
    return services().zones.status()


@bp.post("/api/zones/switch")
@operation(
    shapes.ZONE_SWITCHED,
    body=[
        text("zone", f"The zone to make active: {' or '.join(ZONES)}", required=True, longest=50),
        text("reason", "Why, for the history", longest=500),
        whole("expected_term", "Switch only if the term is still this one", 0, 2**53),
    ],
    errors=[409],
)
def switch(zone: str, reason: str | None, expected_term: int | None) -> dict[str, Any]:
    """Switch the active zone, as `{"zone": "cloud"}`.

    The switch is pinned: the machine does not undo it.
    """
    state, previous = services().zones.switch(
        zone, reason=reason or "switched by hand", by="api", expected_term=expected_term
    )
    return {"active_zone": state.active_zone, "previous": previous, "term": state.term}


@bp.get("/api/zones/health")
@operation(shapes.ZONES_HEALTH)
def health() -> dict[str, Any]:
    """Health of both zones as seen from here."""
    return services().zones.health()
