"""Liveness, and the health of the services that the health monitor watches."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from utils.health.history import WINDOWS
from Watchers.api import shapes
from Watchers.api.inputs import choice, flag
from Watchers.api.operation import operation, services

bp = Blueprint("health", __name__)


@bp.get("/api/health")
@operation(shapes.LIVENESS, public=True)
def liveness() -> dict[str, Any]:
    """Whether the API is alive; needs no token and says nothing else."""
    return {"status": "ok"}


@bp.get("/api/health/detailed")
@operation(shapes.HEALTH, query=[flag("refresh", "Check the services now instead of telling what is known")])
def detailed(refresh: bool) -> dict[str, Any]:
    """Health of dashboard, API and Odoo, as last seen by the health monitor."""
    return services().health.detailed(refresh=refresh)


@bp.get("/api/health/history")
@operation(shapes.HEALTH_HISTORY, query=[choice("window", list(WINDOWS), "How far back; `24h` by default")])
def history(window: str | None) -> dict[str, Any]:
    """Uptime and latency of each service over a day, a week or a month, in at most 120 buckets.

    `uptime` is the share of good checks (0 to 1), null where there was none; `latency_ms` the median of the good ones.
    """
    return services().health.history(window or next(iter(WINDOWS)))
