"""What was done in the outside world, and the word of the human where nobody else can know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Blueprint

from utils.bootstrap import Services
from utils.core import action_chain
from utils.execution.journal import ActionRecord, State
from utils.vault import jsonl
from Watchers.api import shapes
from Watchers.api.inputs import PAGING, choice, text
from Watchers.api.operation import operation, services
from Watchers.api.paging import decode, encode, page_of_log

bp = Blueprint("actions", __name__)

_BY = "human (API)"


@bp.get("/api/actions")
@operation(
    shapes.page(shapes.LISTED_ACTION), query=[*PAGING, choice("state", list(State), "Only actions in this state")]
)
def listing(limit: int, cursor: str | None, state: str | None) -> dict[str, Any]:
    """The action log, newest approval first; `unknown` is an outcome that only a human can settle.

    The node that acts answers from its execution journal, a draft-only node from the log that sync brought.
    """
    node = services()
    if node.settings.draft_only:
        entries = (entry for entry in _logged(node) if state in (None, entry.get("state")))
        items, next_cursor = page_of_log(entries, lambda entry: (str(entry["action_id"]),), limit, cursor)
        return {"items": items, "next_cursor": next_cursor}
    after = decode(cursor)
    records = node.store.recent(limit + 1, before="".join(after) if after is not None else None, state=state)
    return {
        "items": [_shown(node, record) for record in records[:limit]],
        "next_cursor": encode((records[limit - 1].action_id,)) if len(records) > limit else None,
    }


@bp.post("/api/actions/<action_id:action>/cancel")
@operation(shapes.ACTION, errors=[403, 404, 409])
def cancel(action: str) -> dict[str, Any]:
    """Take an approval back before it is carried out, `UNDO_SECONDS` at the least: the request asks again."""
    return services().executor.cancel(action, by=_BY).to_dict()


@bp.get("/api/stop")
@operation(shapes.STOP)
def kill_switch() -> dict[str, Any]:
    """Whether the kill switch of this node is pulled, and what it says."""
    return _switch(services())


@bp.post("/api/stop")
@operation(shapes.STOP, body=[text("reason", "Why, for whoever finds it", longest=500)])
def stop(reason: str | None) -> dict[str, Any]:
    """Pull the kill switch: nothing new is carried out on this node until it is released."""
    node = services()
    was_stopped = node.brakes.stopped() is not None
    if reason or not was_stopped:
        node.brakes.stop(reason or f"by {_BY}")
    if not was_stopped:
        node.alerts.send("WARNING", "Everything is stopped", reason or f"by {_BY}", source="api")
    return _switch(node)


@bp.delete("/api/stop")
@operation(shapes.STOP)
def go() -> dict[str, Any]:
    """Release the kill switch: what is approved goes on."""
    node = services()
    if node.brakes.go():
        node.alerts.send("INFO", "The kill switch is released", f"by {_BY}", source="api")
    return _switch(node)


@bp.post("/api/actions/<action_id:action>/settle")
@operation(
    shapes.ACTION,
    body=[
        choice("outcome", ["happened", "ask_again"], "What you found out: it happened, or ask again", required=True),
        text("note", "How you know, for the log", longest=2_000),
    ],
    errors=[404, 409],
)
def settle(action: str, outcome: str, note: str | None) -> dict[str, Any]:
    """Settle an action whose outcome is unknown: it `happened`, or the request is to `ask_again`."""
    return services().executor.settle(action, outcome, by="api", note=note or "").to_dict()


def _switch(node: Services) -> dict[str, Any]:
    reason = node.brakes.stopped()
    return {"stopped": reason is not None, "reason": reason}


def _shown(node: Services, record: ActionRecord) -> dict[str, Any]:
    held = node.executor.held(record) if record.state is State.APPROVED else None
    return record.to_dict() | {"waits": {"reason": held.reason, "until": held.until} if held else None}


def _logged(node: Services) -> Iterator[dict[str, Any]]:
    """Each action's newest line in `Logs/actions/`, newest first."""
    seen: set[str] = set()
    for entry in jsonl.newest_of(node.layout.daily_log("actions", "any").parent):
        action_id = entry.get("action_id")
        if isinstance(action_id, str) and action_id not in seen:
            seen.add(action_id)
            yield {name: value for name, value in entry.items() if name not in action_chain.KEYS}
