"""The brakes of one node: the kill switch, and what waits for the undo window, a cap or the end of quiet hours.

The kill switch is the file `STOP` in `STATE_DIR`, whoever made it and whatever it says: while it is there nothing new
is carried out. The executor asks before it begins an action, the MCP server once more before it uses the token.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from math import ceil
from pathlib import Path

from utils.core import brakes, visible
from utils.core.acting import Order
from utils.core.brakes import Hold
from utils.core.task import InvalidTask
from utils.core.zones import ZonesConfig
from utils.execution import requests
from utils.execution.answers import Invalid
from utils.execution.journal import ActionRecord, State
from utils.execution.store import ExecutionStore
from utils.ports import AdapterError, Clock, Hand
from utils.settings import Settings
from utils.vault import atomic

_LONGEST = 2_000  # characters of the file that are shown
_DAY = timedelta(days=1)
_STOP = "STOP"
_AGAIN = "; and again: "


def stands_still(settings: Settings) -> Hold | None:
    """What keeps this node from carrying out anything at all, the kill switch or `DRY_RUN`, or None."""
    return brakes.standstill(_said(settings.state_dir / _STOP), dry_run=settings.dry_run)


def _said(stop: Path) -> str | None:
    try:
        with stop.open(encoding="utf-8", errors="replace") as file:
            return file.read(_LONGEST).strip()
    except FileNotFoundError:
        return f"{stop.name} is a link that leads nowhere" if stop.is_symlink() else None
    except OSError as error:
        return f"{stop.name} can't be read: {error.strerror}"


class Brakes:
    """Asked before anything is carried out."""

    def __init__(
        self,
        store: ExecutionStore,
        zones: ZonesConfig,
        hand: Callable[[str], Hand],
        *,
        state_dir: Path,
        undo_seconds: float,
        clock: Clock,
    ) -> None:
        self._store = store
        self._brakes = zones.brakes
        self._hand = hand
        self._stop = state_dir / _STOP
        self._undo = timedelta(seconds=undo_seconds)
        self._clock = clock

    def stopped(self) -> str | None:
        """What the kill switch says, or None where it is not pulled. What can't be read counts as pulled."""
        return _said(self._stop)

    def stop(self, reason: str) -> None:
        """Pull the kill switch; durable when it returns. The reason that stands there stays, a new one comes after.
        Raises `Invalid`."""
        self._check()
        self._stop.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        said = [one for one in (self.stopped() or "").split(_AGAIN) if one]
        reason = visible.one_line(reason)
        text = _AGAIN.join(said if reason in said else [*said, reason])
        atomic.write(self._stop, f"{text}\n".encode("utf-8", "replace"), mode=0o600)

    def go(self) -> bool:
        """Release the kill switch; False where it was not pulled. Raises `Invalid`."""
        if self.stopped() is None:
            return False
        self._check()
        self._stop.unlink(missing_ok=True)
        return True

    def _check(self) -> None:
        if self._stop.is_dir() and not self._stop.is_symlink():
            raise Invalid(f"everything is stopped by a folder: to change that, remove {self._stop} by hand")

    def hold(self, record: ActionRecord) -> Hold | None:
        """Why an approved action waits, or None."""
        now = self._clock.now()
        return brakes.hold(
            record.action,
            self._recipients(record),
            record.approved_at,
            now,
            undo=self._undo,
            brakes=self._brakes,
            acts=self._store.acts_since(now - _DAY),
        )

    def undo_seconds(self, record: ActionRecord) -> int:
        """For how many seconds from now, rounded up, nothing is done for this approval."""
        now = self._clock.now()
        end = brakes.undo_ends(record.approved_at, now, self._undo)
        return ceil((end - now).total_seconds()) if end is not None else 0

    def next_look(self, since: datetime) -> datetime | None:
        """When the first of what was held back at `since` may go on: its undo window ends, or its next try is due. That
        may be past by now, since a cycle lasts."""
        waiting = self._store.in_state(State.APPROVED)
        ends = [brakes.undo_ends(record.approved_at, since, self._undo) for record in waiting]
        tries = [record.next_try_at for record in waiting]
        return min((moment for moment in (*ends, *tries) if moment is not None and moment > since), default=None)

    def _recipients(self, record: ActionRecord) -> Collection[str]:
        """Whom it would reach, in lower case; nobody where it can't be planned: the server refuses it, and says why."""
        try:
            order: Order = requests.order(record)
            return {recipient.lower() for recipient in self._hand(record.action).plan(order).recipients}
        except (AdapterError, InvalidTask, KeyError):
            return ()
