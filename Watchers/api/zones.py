"""Which zone is active, and the human's switch."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from utils.core.lease import LONGEST_REASON
from utils.core.routing import ZONES
from Watchers.api import shapes
from Watchers.api.inputs import text, whole, yes_no
from Watchers.api.operation import operation, services

bp = Blueprint("zones", __name__)


@bp.get("/api/zones/status")
@operation(shapes.ZONES_STATUS)
def status() -> dict[str, Any]:
    """Zone configuration and state: active zone, how this node stands to it, term, routing of every task type."""
    return services().zones.status()


@bp.post("/api/zones/switch")
@operation(
    shapes.ZONE_SWITCHED,
    body=[
        text("zone", f"The zone to make active: {' or '.join(ZONES)}", required=True, longest=50),
        text("reason", "Why, for the history", longest=LONGEST_REASON),
        whole("expected_term", "Switch only if the term is still this one", 0, 2**53, in_query=False),
        yes_no("pin", "Whether the machine must never undo it; false lets failover go on", default=True),
    ],
    errors=[409, 503],
)
def switch(zone: str, reason: str | None, expected_term: int | None, pin: bool) -> dict[str, Any]:
    """Switch the active zone, as `{"zone": "cloud"}`.

    The switch is pinned: the machine does not undo it, unless `pin` is false. The zone that hands over finishes the
    work in hand first, the other one waits for that. The same switch again changes nothing. `warning`: the zone does
    not answer, or there is none. 503 where the remote can't be reached; then nothing was switched.
    """
    now, previous = services().zones.switch(zone, reason=reason or "", by="api", expected_term=expected_term, pin=pin)
    doubt = services().zones.doubt(zone)
    warning = {"warning": doubt} if doubt else {}
    return {"active_zone": now.active_zone, "previous": previous, "term": now.term, **warning}


@bp.get("/api/zones/health")
@operation(shapes.ZONES_HEALTH)
def health() -> dict[str, Any]:
    """Health of both zones as seen from here."""
    return services().zones.health()
