"""Housekeeping: what keeps a vault quick for years. Runs after a sync has answered; nothing waits for it (ADR 12).

On Local it files finished tasks by month and keeps the claims log short; on both nodes it packs the repository. No
object of git is ever thrown away, so nothing can be lost.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from utils.claim_task import Claims
from utils.core.routing import LOCAL
from utils.core.task import format_time
from utils.ports import AdapterError, Clock, Damaged, VaultGlance, VaultKeeper
from utils.sync.values import RUNNING
from utils.vault import atomic, locks
from utils.vault.layout import Layout
from utils.vault.memory import Memory

log = logging.getLogger(__name__)

#: Packed without waiting for the next day when there are about so many loose objects: two busy days' worth.
TOO_MANY_LOOSE = 8_000
#: Seconds. Less than the five minutes between two syncs, so that it never costs one.
TIME_LIMIT = 240.0
REFLOG_DAYS = 30
_HOUR, _DAY = 60 * 60, 24 * 60 * 60
_TRIMMING = 10.0


@dataclass(frozen=True)
class Housekeeping:
    """Does, for one node's vault, what is due."""

    layout: Layout
    keeper: VaultKeeper
    glance: VaultGlance
    claims: Claims
    clock: Clock
    state_dir: Path
    zone: str
    keep_days: int  # finished tasks stay this long where they are; 0: for ever

    @property
    def memory(self) -> Memory:
        """`STATE_DIR/housekeeping.json`: `day` of the last packing, `at`, `did` and `problem` of the last run."""
        return Memory(self.state_dir / "housekeeping.json")

    def due(self) -> str | None:
        """What takes long and will be done by `run`, or None."""
        full = self.keeper.loose() > TOO_MANY_LOOSE
        due = full or self.memory.load().get("day") != f"{self.clock.now():%Y-%m-%d}"
        return "packing the repository" if due and not self.glance.git_processes() else None

    def run(self) -> str | None:
        """Do what is due and say it in one line; None where nothing was. A failure is said too: the next day tries
        again. Does nothing while another process does it."""
        try:
            with locks.hold(self.state_dir / "locks" / "housekeeping.lock", timeout=0):
                return self._run()
        except locks.Locked:
            return None

    def _run(self) -> str | None:
        now = self.clock.now()
        done, problems = [], []
        for work in (self._tidy_vault, self._tidy_repository):
            try:
                done += work(now)
            except Damaged as damage:
                Memory(self.state_dir / "sync.json").update(damaged=str(damage))
                self.memory.update(day=None)
                problems.append(f"not done, the next sync mends the repository first: {damage}")
            except (AdapterError, OSError) as error:
                problems.append(f"not done: {error}")
                log.warning("housekeeping was not done: %s", error)
        if not done and not problems:
            return None
        said = "; ".join([*done, *problems])
        self.memory.update(at=format_time(now), did=said, problem="; ".join(problems) or None)
        return said

    def _tidy_vault(self, now: datetime) -> list[str]:
        if self.zone != LOCAL:
            return []
        done = []
        if rolled := self.claims.roll_log():
            done.append(f"rolled {rolled} lines of the claims log")
        if self.keep_days and (filed := self.claims.file_away(now - timedelta(days=self.keep_days))):
            done.append(f"filed {filed} finished notes by month")
        return done

    def _tidy_repository(self, now: datetime) -> list[str]:
        if not self.due():
            return []
        self.memory.update(day=f"{now:%Y-%m-%d}")  # first, so that what fails is tried once a day, not at each sync
        began = time.monotonic()
        atomic.sweep(self.layout.root, older_than=now.timestamp() - _DAY)
        self.keeper.sweep(older_than=now.timestamp() - _HOUR)
        try:
            with locks.hold(self.layout.root / ".git" / RUNNING, timeout=0):
                self.keeper.trim_reflogs(REFLOG_DAYS, _TRIMMING)
        except locks.Locked:
            log.info("a sync runs: the reflogs are trimmed another day")
        self.keeper.pack(TIME_LIMIT * 0.75)
        self.keeper.index_history(TIME_LIMIT * 0.25 - _TRIMMING)
        return [f"packed the repository in {time.monotonic() - began:.1f} s"]
