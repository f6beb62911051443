"""Whether the Platinum modules work on this node, each looked at when asked."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import Blueprint

from utils import VERSION
from utils.bootstrap import Services
from utils.core.commands import command
from utils.core.policy import ACTIONS, refusal
from utils.core.stages import Stage
from utils.core.task import parse_time
from utils.execution.brakes import stands_still
from utils.sync import kept
from utils.tasks import waiting
from utils.vault.layout import SKELETON
from Watchers.api import shapes
from Watchers.api.operation import operation, services, uptime

log = logging.getLogger(__name__)

bp = Blueprint("platinum", __name__)


@dataclass(frozen=True)
class Verdict:
    """Whether a module works, and what was seen."""

    ok: bool
    detail: str


@bp.get("/api/platinum/status")
@operation(shapes.PLATINUM)
def status() -> dict[str, Any]:
    """Module status, why nothing is carried out, tasks by stage and domain, what waits for whom, conflicts, version."""
    node = services()
    standing = stands_still(node.settings)
    return {
        "agent": node.settings.agent_name,
        "mode": node.settings.agent_mode,
        "stands_still": standing.reason if standing else None,
        "modules": {name: _look(name, check, node) for name, check in CHECKS.items()},
        "tasks": node.board.counts(),
        "waiting": waiting.counts(node.board, node.zones.resolve_zone),
        "conflicts": sum(1 for _ in kept.copies(node.layout)),
        "version": VERSION,
        "uptime_seconds": round(uptime(), 1),
    }


def _look(name: str, check: Callable[[Services], Verdict], node: Services) -> Verdict:
    """A check that fails says so in its own place; the others still answer."""
    try:
        return check(node)
    except Exception:
        log.exception("the check of %s failed", name)
        return Verdict(False, "cannot be checked; the API's log says why")


def _vault_sync(node: Services) -> Verdict:
    """git is there, the vault is a repository, and the last sync did not fail."""
    if shutil.which("git") is None:
        return Verdict(False, "git is not installed")
    if not (node.settings.vault_path / ".git").exists():
        return Verdict(False, f"the vault is no git repository: run {command('init_vault')}")
    status = node.sync.standing()
    if status["state"] == "error":
        return Verdict(False, f"the last sync failed: {status['last_sync']['error']}")
    if status["remote"] is None:
        return Verdict(True, "alone: the vault has no remote (set VAULT_REMOTE_URL to sync)")
    since = f", last success {status['last_success_at']}" if status["last_success_at"] else ""
    return Verdict(True, f"{status['state']}{since}")


def _work_zones(node: Services) -> Verdict:
    """The zones agree who is active, and nothing keeps this node from renewing or taking the lease."""
    trouble = node.zones.trouble()
    if trouble:
        return Verdict(False, "; ".join(trouble))
    now = node.zones.standing()
    return Verdict(True, f"{now.active_zone} is active, term {now.term}: {now.reason}")


def _health_monitor(node: Services) -> Verdict:
    """The monitor has checked the services within the last few intervals."""
    checked = node.health.detailed()["checked_at"]
    if checked is None:
        return Verdict(False, "no check yet: is the health monitor running?")
    checked = parse_time(checked) if isinstance(checked, str) else checked
    age = node.clock.now() - checked
    late = age > timedelta(seconds=3 * node.settings.health_interval_seconds + 10)
    return Verdict(
        not late, f"last check {age.total_seconds():.0f} s ago" + (": is the monitor running?" if late else "")
    )


def _alert_manager(node: Services) -> Verdict:
    """The spool can be read and no channel is broken."""
    return Verdict(*node.alerts.status())


def _claim_task(node: Services) -> Verdict:
    """Tasks can be renamed from stage to stage, and none lies in two places."""
    folders = [node.layout.folder(Stage.NEEDS_ACTION), node.layout.folder(Stage.IN_PROGRESS)]
    missing = [folder.name for folder in folders if not os.access(folder, os.W_OK | os.X_OK)]
    if missing:
        return Verdict(False, f"not writable: {', '.join(missing)}")
    if len({folder.stat().st_dev for folder in folders}) > 1:
        return Verdict(False, "Needs_Action and In_Progress lie on different file systems: no atomic claim")
    twice = node.board.duplicates()
    if twice:
        return Verdict(False, f"in more than one stage: {', '.join(twice[:5])}")
    return Verdict(True, f"{len(node.board.active_claims())} claimed")


def _draft_only_mode(node: Services) -> Verdict:
    """In draft-only mode every action is refused; in full mode the node executes what was approved."""
    mode = node.settings.agent_mode
    allowed = [action for action in ACTIONS if refusal(mode, action) is None]
    if not node.settings.draft_only:
        return Verdict(True, "off: this node executes what the human approved")
    if allowed:
        return Verdict(False, f"not blocked: {', '.join(allowed)}")
    return Verdict(True, f"on: all {len(ACTIONS)} actions are blocked here")


def _vault_structure(node: Services) -> Verdict:
    """Every folder of the vault and its root marker are there."""
    missing = [name for name in SKELETON if not (node.layout.root / name).is_dir()]
    if not node.layout.marker.exists():
        missing.insert(0, node.layout.marker.name)
    if missing:
        return Verdict(False, f"missing in the vault: {', '.join(missing)} ({command('init_vault')} makes them)")
    return Verdict(True, f"{len(SKELETON)} folders")


CHECKS: dict[str, Callable[[Services], Verdict]] = {
    "vault_sync": _vault_sync,
    "work_zones": _work_zones,
    "health_monitor": _health_monitor,
    "alert_manager": _alert_manager,
    "claim_task": _claim_task,
    "draft_only_mode": _draft_only_mode,
    "vault_structure": _vault_structure,
}
