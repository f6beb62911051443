"""How far an IMAP folder has been read: a small JSON file that survives a crash at any instruction."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from utils.core.task import format_time, parse_time
from utils.vault import atomic

log = logging.getLogger(__name__)


class Progress:
    """All mails up to UID `done_to` are known; of those, the ones in `open` still wait. None: not begun."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.uidvalidity: int | None = None
        self.done_to: int | None = None
        self.open: set[int] = set()
        self.since: datetime | None = None  # where to begin, after UIDs lost their meaning
        self._looked_at: datetime | None = None
        self._load()

    def start(self, uidvalidity: int, overlap: timedelta) -> None:
        """The folder has this UIDVALIDITY from now on: UIDs known so far mean nothing any more (RFC 3501 §2.3.1.1)."""
        self.uidvalidity = uidvalidity
        self.since = self._looked_at - overlap - timedelta(hours=1) if self._looked_at else None
        self.done_to, self.open = None, set()

    def begin(self, newest: int, waiting: Iterable[int]) -> None:
        """The first look: everything up to UID `newest` is known, only `waiting` is to be read."""
        self.done_to, self.open = newest, set(waiting)
        self._save()

    def add(self, uids: Iterable[int]) -> None:
        """Mails have come. Not written down: until one of them is done, a new look finds them again."""
        for uid in uids:
            self.open.add(uid)
            self.done_to = max(self.done_to or 0, uid)

    def done(self, uid: int, now: datetime) -> None:
        """This mail needs no more work. Durable when this returns."""
        if uid in self.open:
            self.open.discard(uid)
            self._looked_at = now
            self._save()

    def _save(self) -> None:
        state = {
            "uidvalidity": self.uidvalidity,
            "done_to": self.done_to,
            "open": sorted(self.open),
            "looked_at": format_time(self._looked_at) if self._looked_at else None,
        }
        atomic.write(self._path, json.dumps(state).encode(), mode=0o600)

    def _load(self) -> None:
        try:
            state = json.loads(self._path.read_bytes())
            self.uidvalidity, self.done_to = int(state["uidvalidity"]), int(state["done_to"])
            self.open = {int(uid) for uid in state["open"]}
            self._looked_at = parse_time(state["looked_at"]) if state.get("looked_at") else None
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError):
            # Mails are looked at again; their ids keep them from becoming a second task.
            log.warning("%s is damaged: reading the folder as at the first start", self._path)
            self.uidvalidity, self.done_to, self.open, self._looked_at = None, None, set(), None
