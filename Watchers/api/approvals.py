"""What waits for the human, and the human's answers. Approvals are bound to the bytes that were shown (promise S6)."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from utils.core.stages import Stage
from utils.core.task import ID_PATTERN
from utils.execution.answers import Pending
from Watchers.api import remote, shapes
from Watchers.api.errors import Problem
from Watchers.api.inputs import PAGING, digest, mapping, text, texts
from Watchers.api.operation import operation, services
from Watchers.api.paging import Key, page_of_sorted

bp = Blueprint("approvals", __name__)

_BY = "human (API)"


@bp.get("/api/approvals")
@operation(shapes.page(shapes.APPROVAL), query=PAGING)
def listing(limit: int, cursor: str | None) -> dict[str, Any]:
    """Requests that wait for an answer, newest first."""
    found, next_cursor = page_of_sorted(services().approvals.pending(), _key, limit, cursor)
    return {"items": [_summary(pending) for pending in found], "next_cursor": next_cursor}


@bp.get("/api/approvals/<request_id:request_id>")
@operation(shapes.APPROVAL_DETAIL, errors=[404])
def one(request_id: str) -> dict[str, Any]:
    """One request: the exact bytes to be approved as text, their `sha256`, the risks, and what it answers."""
    node = services()
    pending = node.approvals.get(request_id)
    request = pending.request
    task = request.source_task if request else None
    return {
        **_summary(pending),
        "content": pending.text,
        "fields": dict(request.fields) if request else {},
        "draft": request.draft if request else None,
        "source": {
            "task": task,
            "facts": dict(request.source) if request else {},
            "text": node.board.text(task) if task and ID_PATTERN.fullmatch(task) else None,
        },
    }


@bp.post("/api/approvals/<request_id:request_id>/approve")
@operation(
    {"anyOf": [shapes.ACTION, shapes.APPROVED_REMOTELY]},
    body=[digest(), mapping("approval", "On a draft-only node: the approval as an enrolled key signed it")],
    errors=[404, 409],
)
def approve(request_id: str, sha256: str, approval: dict[str, Any] | None) -> dict[str, Any]:
    """Approve exactly the bytes with this `sha256`; 409 if the file has changed since it was shown.

    Approving the same bytes again answers the same record. A draft-only node makes none: it passes the approval on to
    Local, where it counts if an enrolled key signed it, and has to be confirmed if not.
    """
    if services().settings.draft_only:
        return remote.passed_on(request_id, sha256, approval)
    if approval is not None:
        raise Problem(400, "This node takes your own word: leave 'approval' out.", kind="invalid-input")
    return services().approvals.approve(request_id, sha256, by=_BY, via="api").to_dict()


@bp.post("/api/approvals/<request_id:request_id>/reject")
@operation(
    shapes.REJECTED,
    body=[
        text("reason", "Why, for the note beside the file", longest=2_000),
        digest(required=False),
    ],
    errors=[403, 404, 409],
)
def reject(request_id: str, reason: str | None, sha256: str | None) -> dict[str, Any]:
    """Reject a request with a reason: it and the task it serves go to `Rejected/`."""
    services().approvals.reject(request_id, reason or "", by=_BY, sha256=sha256)
    return {"id": request_id, "stage": Stage.REJECTED.value}


@bp.put("/api/approvals/<request_id:request_id>")
@operation(
    shapes.EDITED,
    body=[
        digest(),
        text("draft", "The text to be sent", longest=500_000),
        text("subject", "The subject", longest=2_000),
        texts("to", "The recipients"),
        texts("cc", "Who gets a copy"),
        texts("bcc", "Who gets a copy that the others do not see"),
    ],
    errors=[403, 404, 409],
)
def edit(request_id: str, sha256: str, **changes: Any) -> dict[str, Any]:
    """Edit a request; what is left out stays. Answers the new `sha256`, which an approval then needs."""
    return {"id": request_id, "sha256": services().approvals.edit(request_id, sha256, by=_BY, **changes)}


def _key(pending: Pending) -> Key:
    match = ID_PATTERN.fullmatch(pending.request_id)
    return (match["time"] if match else "", pending.request_id, pending.path)


def _summary(pending: Pending) -> dict[str, Any]:
    request = pending.request
    return {
        "id": pending.request_id,
        "path": pending.path,
        "stage": pending.stage.value,
        "sha256": pending.sha256,
        "action": request.action if request else None,
        "domain": request.domain if request else None,
        "priority": request.priority if request else None,
        "created": request.created if request else None,
        "to": list(request.fields.get("to") or []) if request else [],
        "subject": request.fields.get("subject") if request else None,
        "risk": list(pending.risk),
        "why": request.why if request else "",
        "drafted_by": request.drafted_by if request else "",
        "source_task": request.source_task if request else None,
        "expires": pending.expires,
        "expired": pending.expired,
        "needs_confirmation": pending.needs_confirmation,
        "reason": pending.reason,
        "problems": list(pending.problems),
    }
