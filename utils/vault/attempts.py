"""How often something was tried, kept over restarts of the process.

A try is counted before it begins: what kills the process then counts too.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path

from utils.vault import atomic, locks

log = logging.getLogger(__name__)

TRIES = 3
#: Why something is set aside whose tries ended with no error of its own.
DIED = f"it was begun {TRIES} times, and each time the process ended before it was done"
_MAX_ENTRIES = 1000


class Attempts:
    """Counts of tries by key, in one small JSON file. Safe for several threads and processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = path.with_suffix(".lock")

    def count(self, key: str) -> int:
        """Count one more try, durably; returns how many there are now."""
        with locks.hold(self._lock, note=None):
            counts = self._load()
            counts[key] = counts.pop(key, 0) + 1
            self._save(counts)
        return counts[key]

    def uncount(self, key: str) -> None:
        """The last try was no fault of its own."""
        with locks.hold(self._lock, note=None):
            counts = self._load()
            left = counts.pop(key, 0) - 1
            if left >= 0:
                self._save({**counts, key: left} if left else counts)

    def forget(self, key: str) -> None:
        """It worked, or was set aside."""
        with locks.hold(self._lock, note=None):
            counts = self._load()
            if counts.pop(key, None) is not None:
                self._save(counts)

    def tries(self, key: str) -> int:
        """How many tries are counted."""
        with locks.hold(self._lock, note=None):
            return self._load().get(key, 0)

    def keep_only(self, keys: Iterable[str]) -> None:
        """Forget all others."""
        with locks.hold(self._lock, note=None):
            counts = self._load()
            kept = {key: counts[key] for key in counts.keys() & set(keys)}
            if kept != counts:
                self._save(kept)

    def _load(self) -> dict[str, int]:
        try:
            counts = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError:
            log.warning("%s is damaged; tries are counted from nought", self._path)
            return {}
        return {str(k): v for k, v in counts.items() if isinstance(v, int)} if isinstance(counts, dict) else {}

    def _save(self, counts: dict[str, int]) -> None:
        newest = dict(list(counts.items())[-_MAX_ENTRIES:])
        atomic.write(self._path, json.dumps(newest).encode(), mode=0o600)
