"""What waits for the human, and the human's answers. Approvals are bound to the bytes that were shown (promise S6)."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from flask import Blueprint

from utils.core.decision import LONGEST
from utils.core.policy import PEOPLE, recipients
from utils.core.stages import Stage
from utils.core.task import ID_PATTERN
from utils.execution.answer_log import ANSWERS, Answer
from utils.execution.answers import Pending
from Watchers.api import answered, remote, shapes
from Watchers.api.errors import Problem
from Watchers.api.inputs import PAGING, choice, digest, mapping, moment, text, texts, yes_no
from Watchers.api.operation import operation, services
from Watchers.api.paging import Key, decode, encode, page_of_sorted

bp = Blueprint("approvals", __name__)

_BY = "human (API)"
_TO = tuple(name for name in PEOPLE if name not in ("cc", "bcc"))
SHOW = ("waiting", "snoozed", "superseded", "all")


@bp.get("/api/approvals")
@operation(
    shapes.page(shapes.APPROVAL),
    query=[*PAGING, choice("show", SHOW, "`waiting` by default: what is neither snoozed nor superseded")],
)
def listing(limit: int, cursor: str | None, show: str | None) -> dict[str, Any]:
    """Requests that wait for an answer, newest first."""
    approvals, wanted = services().approvals, show or SHOW[0]
    found = approvals.superseded() if wanted in ("superseded", "all") else []
    found += approvals.pending() if wanted != "superseded" else []
    shown = [pending for pending in found if wanted in ("all", pending.state)]
    found, next_cursor = page_of_sorted(shown, _key, limit, cursor)
    return {"items": [_summary(pending) for pending in found], "next_cursor": next_cursor}


@bp.get("/api/approvals/<request_id:request_id>")
@operation(shapes.APPROVAL_DETAIL, errors=[404])
def one(request_id: str) -> dict[str, Any]:
    """One request: the exact bytes to be approved, their `sha256`, what would go out, the badges, what it answers.

    `change`: what was edited since this node first saw it. `recipients`: whom it names; `known`: an earlier receipt
    does too (null on a draft-only node), `wrote`: the mail that is answered is theirs. `source.mail`: that mail as
    plain text, what can't be seen written out (`⟦U+202E⟧`).
    """
    node = services()
    pending = node.approvals.get(request_id)
    request = pending.request
    task = request.source_task if request else None
    text = node.board.text(task) if task and ID_PATTERN.fullmatch(task) else None
    edits = node.approvals.edits(pending)
    return {
        **_summary(pending),
        "content": pending.text,
        "fields": dict(request.fields) if request else {},
        "draft": request.draft if request else None,
        "change": edits.to_dict() if edits else None,
        "recipients": [asdict(person) for person in node.approvals.people(pending)],
        "source": {
            "task": task,
            "facts": dict(request.source) if request else {},
            "text": text,
            "mail": answered.mail_in(text) if text is not None else None,
        },
    }


@bp.post("/api/approvals/<request_id:request_id>/approve")
@operation(
    {"anyOf": [shapes.ACTION, shapes.APPROVED_REMOTELY]},
    body=[digest(), mapping("approval", "On a draft-only node: the approval as an enrolled key signed it")],
    errors=[404, 409],
)
def approve(request_id: str, sha256: str, approval: dict[str, Any] | None) -> dict[str, Any]:
    """Approve exactly the bytes with this `sha256`; 409 if the file has changed since it was shown, or is superseded.

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
        text("reason", "Why, for the note beside the file", longest=LONGEST),
        digest(required=False),
    ],
    errors=[403, 404, 409],
)
def reject(request_id: str, reason: str | None, sha256: str | None) -> dict[str, Any]:
    """Reject a request with a reason: it and the task it serves go to `Rejected/`."""
    services().approvals.reject(request_id, reason or "", by=_BY, sha256=sha256)
    return {"id": request_id, "stage": Stage.REJECTED.value}


@bp.post("/api/approvals/<request_id:request_id>/revise")
@operation(
    shapes.REVISED,
    body=[
        text("instruction", "What should be different", required=True, longest=LONGEST),
        digest(required=False),
    ],
    errors=[403, 404, 409],
)
def revise(request_id: str, instruction: str, sha256: str | None) -> dict[str, Any]:
    """Ask for a new draft: this one is superseded, and its task goes back to the drafting side with the instruction.

    `next` is the id that the new request will have. Asking for the same again answers the same.
    """
    new = services().approvals.revise(request_id, instruction, by=_BY, sha256=sha256)
    return {"id": request_id, "state": "superseded", "next": new.next, "task": new.task, "draft": new.number}


@bp.post("/api/approvals/<request_id:request_id>/snooze")
@operation(
    shapes.SNOOZED,
    body=[
        moment("until", "When it comes back", required=True),
        digest(required=False),
    ],
    errors=[403, 404, 409],
)
def snooze(request_id: str, until: datetime, sha256: str | None) -> dict[str, Any]:
    """Hide a request from the list until then; it comes back by itself. Its time goes on: `expires` says until when."""
    pending = services().approvals.snooze(request_id, until, by=_BY, sha256=sha256)
    late = pending.expires is not None and pending.expires <= until
    return {
        "id": request_id,
        "state": pending.state,
        "snoozed_until": until,
        "expires": pending.expires,
        "expires_in_seconds": pending.expires_in,
        "warning": "It expires before it comes back, and can't be approved after that." if late else None,
    }


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
        yes_no("renew", "Give it its time anew, as policy has it: an expired request asks again", default=False),
    ],
    errors=[403, 404, 409],
)
def edit(request_id: str, sha256: str, **changes: Any) -> dict[str, Any]:
    """Edit a request; what is left out stays. Answers the new `sha256`, which an approval then needs."""
    return {"id": request_id, "sha256": services().approvals.edit(request_id, sha256, by=_BY, **changes)}


@bp.get("/api/answers")
@operation(
    shapes.page(shapes.ANSWER),
    query=[
        *PAGING,
        text("request", "Only answers to this request", longest=200),
        choice("answer", ANSWERS, "Only answers of this kind"),
    ],
)
def answers(limit: int, cursor: str | None, request: str | None, answer: str | None) -> dict[str, Any]:
    """What the human answered, newest first, with what was changed of each draft before it was approved.

    Answers are given on Local and kept there: a draft-only node has none.
    """
    before = _number(decode(cursor))
    if services().settings.draft_only:
        return {"items": [], "next_cursor": None}
    found = services().store.answers.recent(limit + 1, before=before, request=request, answer=answer)
    return {
        "items": [_answer(item) for item in found[:limit]],
        "next_cursor": encode((str(found[limit - 1].number),)) if len(found) > limit else None,
    }


def _number(after: Key | None) -> int | None:
    if after is None:
        return None
    if len(after) != 1 or not after[0].isascii() or not after[0].isdigit() or len(after[0]) > 18:
        raise Problem(400, "cursor: not a cursor of this list; begin without one", kind="invalid-input")
    return int(after[0])


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "at": answer.at,
        "request": answer.request_id,
        "answer": answer.answer,
        "by": answer.by,
        "via": answer.via,
        "said": answer.said,
        "action_id": answer.action_id,
        "drafted_by": answer.drafted_by,
        "change": answer.change.to_dict() if answer.change else None,
    }


def _key(pending: Pending) -> Key:
    match = ID_PATTERN.fullmatch(pending.request_id)
    return (match["time"] if match else "", pending.request_id, pending.path)


def _summary(pending: Pending) -> dict[str, Any]:
    request, passed_on = pending.request, pending.passed_on
    return {
        "id": pending.request_id,
        "path": pending.path,
        "stage": pending.stage.value,
        "sha256": pending.sha256,
        "action": request.action if request else None,
        "domain": request.domain if request else None,
        "priority": request.priority if request else None,
        "created": request.created if request else None,
        "to": recipients(request.fields, _TO) if request else [],
        "subject": request.fields.get("subject") if request else None,
        "risk": list(pending.risk),
        "badges": [badge.to_dict() for badge in pending.badges],
        "shown": [{"label": label, "text": line} for label, line in services().approvals.shown(pending)],
        "why": request.why if request else "",
        "drafted_by": request.drafted_by if request else "",
        "source_task": request.source_task if request else None,
        "state": pending.state,
        "expires": pending.expires,
        "expires_in_seconds": pending.expires_in,
        "expired": pending.expired,
        "warning": pending.warning,
        "snoozed_until": pending.snoozed_until,
        "superseded_by": pending.superseded.next if pending.superseded else None,
        "instruction": pending.superseded.instruction if pending.superseded else None,
        "needs_confirmation": pending.needs_confirmation,
        "approved_remotely": passed_on and {**asdict(passed_on), "words": passed_on.words},
        "reason": pending.reason,
        "problems": list(pending.problems),
    }
