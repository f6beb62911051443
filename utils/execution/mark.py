"""How far the execution journal has come, kept outside its file: one that was put back from a backup is behind it."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

from utils.core.task import format_time, parse_time
from utils.vault import locks
from utils.vault.memory import Memory

log = logging.getLogger(__name__)


class Mark:
    """`STATE_DIR/execution.json`: up to which step the journal was written, and when it was last put back.

    A step is in the journal before the mark says so. So a crash between the two leaves the journal ahead, which proves
    nothing, and never behind. Where the mark itself came out of a backup, its file says so (`Memory`).
    """

    def __init__(self, journal: Path) -> None:
        self._memory = Memory(journal.with_suffix(".json"))
        self._lock = journal.parent / "locks" / f"{journal.stem}.lock"

    def steps(self) -> int | None:
        """How many steps the journal has at least; None where the mark was put back itself, with it or without."""
        with locks.hold(self._lock, note=None):
            return None if self._memory.is_put_back() else int(self._memory.load().get("steps", 0))

    def reached(self, steps: int) -> None:
        """The journal holds that many steps. A disk that takes nothing keeps back the mark, and no step."""
        try:
            with locks.hold(self._lock, note=None):
                if steps > self._memory.load().get("steps", 0):
                    self._memory.update(steps=steps)
        except OSError as error:
            log.warning("how far the execution journal has come could not be written down: %s", error)

    def put_back(self, steps: int, at: datetime) -> None:
        """The journal was put back, and what it did since is dealt with; raises `OSError` where that can't be kept."""
        with locks.hold(self._lock, note=None):
            self._memory.update(steps=steps, put_back_at=format_time(at), put_back=None)

    def put_back_at(self) -> datetime | None:
        """When it was last found that the journal was put back from a backup; None where it never was."""
        at = self._memory.load().get("put_back_at")
        return parse_time(at) if at else None
