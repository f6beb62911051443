"""Whether what the API tells may have changed, topic by topic, at the price of a few looks at times and sizes.

A version is an opaque text that differs when the topic's answers may differ, and is the same after a restart where
nothing changed. It is made of what the disk has (names, times, sizes; the newest number of a table), so a later look
sees what a lost event would have told; of time alone only where an answer follows from it.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from utils.alert_manager import AlertManager
from utils.claim_task import Claims
from utils.core.stages import Stage
from utils.execution.approvals import Approvals
from utils.execution.store import ExecutionStore
from utils.health.monitor import HealthMonitor
from utils.ports import Clock
from utils.tasks.settled import is_settled
from utils.vault.atomic import TEMP_PREFIX
from utils.vault.layout import Layout
from utils.vault_sync import VaultSync
from utils.work_zones import WorkZones

log = logging.getLogger(__name__)

TOPICS = ("approvals", "tasks", "alerts", "zones", "sync", "actions", "health", "claims")
#: What costs more than a look is told anew after this long at the latest, for time goes on (seconds).
_LONGEST = 60.0
#: Files in a folder whose own time says whether one came or went; an edit in place in it is told within a minute.
_MANY = 1000
_PENDING = (Stage.PENDING_APPROVAL, Stage.APPROVED, Stage.REJECTED)


@dataclass(frozen=True)
class Parts:
    """What one node's answers are made from."""

    approvals: Approvals
    alerts: AlertManager
    zones: WorkZones
    sync: VaultSync
    store: ExecutionStore
    health: HealthMonitor
    claims: Claims


@dataclass(frozen=True)
class _Large:
    """A large folder as it was seen: when it last changed (ns), when that was (s), and what was found."""

    changed: int
    seen: float
    sum: int
    folders: tuple[str, ...]


class Versions:
    """The versions of one node. `parts()` are asked for at the first look."""

    def __init__(self, layout: Layout, state_dir: Path, clock: Clock, parts: Callable[[], Parts]) -> None:
        self._layout = layout
        self._state = state_dir
        self._clock = clock
        self._parts = parts
        self._asked: tuple[Any, float, Any] = (None, float("-inf"), None)
        self._failing: set[str] = set()
        self._large: dict[str, _Large] = {}

    def __call__(self) -> dict[str, str]:
        """The version of every topic now. A topic that can't be looked at has a version that says so."""
        look = _Look(self._large, self._clock.monotonic())
        return {topic: self._version(topic, look) for topic in TOPICS}

    def _version(self, topic: str, look: _Look) -> str:
        try:
            seen = getattr(self, f"_{topic}")(look)
        except Exception as error:
            if topic not in self._failing:
                log.exception("cannot tell whether %s changed", topic)
            self._failing.add(topic)
            return f"unknown-{type(error).__name__}"
        self._failing.discard(topic)
        return blake2b(json.dumps(seen, default=str).encode(), digest_size=8).hexdigest()

    def _approvals(self, look: _Look) -> Any:
        store = self._parts().store.version()
        lying = look.trees(*self._stages(*_PENDING), self._layout.remote_approvals)
        return [store, lying, self._waiting([store, lying])]

    def _waiting(self, lying: Any) -> Any:
        """What of the requests follows from the time: which are hidden, too old, soon too old."""
        known, since, told = self._asked
        now = self._clock.monotonic()
        if known != lying or not 0 <= now - since < _LONGEST:
            pending = self._parts().approvals.pending()
            told = sorted((one.path, one.state, one.expired, one.warning is not None) for one in pending)
            self._asked = (lying, now, told)
        return told

    def _tasks(self, look: _Look) -> Any:
        layout = self._layout
        stages = look.trees(*self._stages(*Stage), layout.root / "Plans")
        return [stages, look.file(layout.claims_log), self._parts().zones.active_zone()]

    def _alerts(self, look: _Look) -> Any:
        return self._parts().alerts.version()

    def _zones(self, look: _Look) -> Any:
        zones = self._parts().zones
        status, health = zones.status(), zones.health()["zones"]
        this_zone = health[status["this_zone"]] | {"checked_at": None}  # always this moment
        # What is waited for is told with the seconds that are left.
        return [status | {"waits": status["waits"] is not None}, health | {status["this_zone"]: this_zone}]

    def _sync(self, look: _Look) -> Any:
        layout, sync = self._layout, self._parts().sync
        own = {layout.root / ".git", layout.root / "Logs", layout.daily_log("health", "any").parent}  # not synced
        notes = sorted({*layout.root.iterdir(), *(layout.root / "Logs").iterdir()} - own)
        lying = look.trees(*(path for path in notes if path.is_dir()))
        files = [self._state / "sync.json", self._state / "scheduler.json", *sync.branch_files()]
        files += [path for path in notes if path.is_file()]
        return [lying, [look.file(path) for path in files], sync.is_running()]

    def _actions(self, look: _Look) -> Any:
        logged = look.trees(self._layout.daily_log("actions", "any").parent)
        return [self._parts().store.version(), logged, look.file(self._state / "STOP")]

    def _health(self, look: _Look) -> Any:
        return self._parts().health.detailed()

    def _claims(self, look: _Look) -> Any:
        layout, parts = self._layout, self._parts()
        lying = look.trees(*self._stages(Stage.IN_PROGRESS), self._state / "claims")
        working = [parts.claims.signs(path.stem)[0] for path in layout.files(Stage.IN_PROGRESS)]
        confirmed = [look.file(path) for path in parts.sync.branch_files()]
        return [lying, look.file(layout.claims_log), working, confirmed]

    def _stages(self, *stages: Stage) -> Iterable[Path]:
        return (self._layout.folder(stage) for stage in stages)


class _Look:
    """One look at the disk; what two topics need is looked at once."""

    def __init__(self, large: dict[str, _Large], now: float) -> None:
        self._large = large
        self._now = now
        self._trees: dict[Path, int] = {}

    def trees(self, *folders: Path) -> list[int]:
        """A number for each folder, which differs when a file below it has come, gone or changed."""
        for folder in folders:
            if folder not in self._trees:
                self._trees[folder] = self._sum(folder)
        return [self._trees[folder] for folder in folders]

    def file(self, path: Path) -> tuple[int, int, int] | None:
        """What differs when the file changes, or None where there is none."""
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _sum(self, top: Path) -> int:
        """The sum of a hash of each file below: it needs no order, so no list of a hundred thousand names."""
        total, todo = 0, [os.fspath(top)]
        while todo:
            place = todo.pop()
            try:
                found, inner = self._folder(place)
            except (FileNotFoundError, NotADirectoryError):
                continue  # moved on while we looked: that changes the folder where it came to
            total += found
            todo += inner
        return total & 0xFFFFFFFFFFFFFFFF

    def _folder(self, place: str) -> tuple[int, tuple[str, ...]]:
        """The sum of a folder's own files, and the folders in it."""
        changed = Path(place).stat().st_mtime_ns
        known = self._large.get(place)
        if known is not None and known.changed == changed and 0 <= self._now - known.seen < _LONGEST:
            return known.sum, known.folders
        self._large.pop(place, None)
        settled = is_settled(changed, time.time_ns())
        total, files, inner = 0, 0, []
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.name.startswith(TEMP_PREFIX):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    inner.append(entry.path)
                    continue
                status = entry.stat(follow_symlinks=False)
                seen = b"%b\0%d\0%d" % (os.fsencode(entry.path), status.st_mtime_ns, status.st_size)
                total += int.from_bytes(blake2b(seen, digest_size=8).digest(), "big")
                files += 1
        if files >= _MANY and settled:
            self._large[place] = _Large(changed, self._now, total, tuple(inner))
        return total, tuple(inner)


def difference(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """The topics of `now` whose version is another than before."""
    return {topic: version for topic, version in now.items() if before.get(topic) != version}
