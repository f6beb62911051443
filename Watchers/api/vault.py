"""The vault's sync: how it stands, and doing it now."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Blueprint

from utils.core.task import format_time, parse_time
from utils.execution.answers import NotHere
from utils.sync import kept
from Watchers.api import shapes
from Watchers.api.errors import Problem
from Watchers.api.inputs import PAGING, digest
from Watchers.api.operation import operation, services
from Watchers.api.paging import Key, line_key, page_of_log, page_of_sorted

bp = Blueprint("vault", __name__)

#: A sync may change a copy after it was shown.
_COPY = digest("copy_sha256", required=False)


@bp.get("/api/vault/sync/status")
@operation(shapes.SYNC_STATUS)
def status() -> dict[str, Any]:
    """Current sync status."""
    node = services()
    return {**node.sync.status(), "next_run_at": next_run(node.settings.state_dir, "vault_sync", node.clock.now())}


@bp.post("/api/vault/sync/trigger")
@operation(shapes.SYNC_RESULT, errors=[409, 503])
def trigger() -> dict[str, Any]:
    """Sync the vault now and tell what happened; 409 while a sync runs, 503 where the remote can't be reached."""
    result: dict[str, Any] = services().sync.run().to_dict()
    if result["result"] == "offline":
        why = result["error"] or "no answer"
        raise Problem(
            503, f"The remote could not be reached ({why}); what changed here waits.", kind="offline", **result
        )
    return result


@bp.get("/api/vault/sync/runs")
@operation(shapes.page(shapes.SYNC_RESULT), query=PAGING)
def runs(limit: int, cursor: str | None) -> dict[str, Any]:
    """The last syncs of this node, newest first; a run names 100 conflicts and 100 refused files at most."""
    found, next_cursor = page_of_log(services().sync.runs.recent(), line_key, limit, cursor)
    return {"items": found, "next_cursor": next_cursor}


@bp.get("/api/vault/conflicts")
@operation(shapes.page(shapes.CONFLICT), query=PAGING)
def conflicts(limit: int, cursor: str | None) -> dict[str, Any]:
    """Versions that yielded in a merge or were refused and lie under Updates/conflicts/ now, newest first.

    Delete or move a file there and it is settled: it does not come back.
    """
    layout = services().layout
    found, next_cursor = page_of_sorted(kept.copies(layout), _newest, limit, cursor)
    return {"items": [kept.told(layout, copy) for copy in found], "next_cursor": next_cursor}


@bp.get("/api/vault/conflicts/<conflict_id:conflict>")
@operation(shapes.CONFLICT_DETAIL, errors=[404])
def conflict(conflict: str) -> dict[str, Any]:
    """One conflict with both versions as plain text, and the difference.

    `ours` is what lies at the original path now, null where nothing does; `theirs` is the version that yielded. A text
    is null where a version is none, or is too large to show.
    """
    return services().conflicts.detail(conflict)


@bp.post("/api/vault/conflicts/<conflict_id:conflict>/take-theirs")
@operation(shapes.TAKEN, body=[digest(required=False), _COPY], errors=[403, 404, 409])
def take_theirs(conflict: str, sha256: str | None, copy_sha256: str | None) -> dict[str, Any]:
    """Put the version that yielded in the place of what stands, whose `sha256` is sent back (none: nothing stands).

    409 with the new `sha256` where something else lies there by now, and where the copy is none with the `copy_sha256`
    that was shown. What stood there and is not in git yet is kept aside first (`kept_at`). What is approved, rejected
    or done is not changed by this.
    """
    _here()
    return services().conflicts.take_theirs(conflict, sha256, copy_sha256, by="human (API)")


@bp.post("/api/vault/conflicts/<conflict_id:conflict>/dismiss")
@operation(shapes.DISMISSED, body=[_COPY], errors=[403, 404, 409])
def dismiss(conflict: str, copy_sha256: str | None) -> dict[str, Any]:
    """Let what stands stand: the copy is removed, and stays in git's history."""
    _here()
    services().conflicts.dismiss(conflict, copy_sha256)
    return {"id": conflict}


def _here() -> None:
    if services().settings.draft_only:
        raise NotHere("this node is draft-only: conflicts are settled on Local")


def _newest(copy: kept.Copy) -> Key:
    return (f"{copy.since:020.6f}", copy.path)


def next_run(state_dir: Path, job: str, now: datetime) -> str | None:
    """When the scheduler runs a job next, as it wrote down; None where it does not run, or what it wrote is past."""
    try:
        at = parse_time(json.loads((state_dir / "scheduler.json").read_bytes())["jobs"][job]["next_run_at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return format_time(at) if at >= now else None
