"""What is configured on this node, what works, and what to do about the rest."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from Watchers.api import shapes
from Watchers.api.inputs import flag
from Watchers.api.operation import operation, services

bp = Blueprint("doctor", __name__)


@bp.get("/api/doctor")
@operation(shapes.DOCTOR, query=[flag("refresh", "Look now; without it the answer may be five minutes old")])
def doctor(refresh: bool) -> dict[str, Any]:
    """What the doctor says: what is configured, what works, and what to do about the rest.

    It asks the servers that are set up, so it may take a minute. While it is `running` for somebody, others get what it
    said before: nothing yet at the first time.
    """
    return services().checkup.told(refresh=refresh)
