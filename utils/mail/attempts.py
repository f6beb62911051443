"""How often a mail or a task has failed, kept over restarts of the process."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path

from utils.vault import atomic

log = logging.getLogger(__name__)
_MAX_ENTRIES = 1000


class Attempts:
    """Counts of failures by key, in one small JSON file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def failed(self, key: str) -> int:
        """Count one more failure, durably; returns how many there are now."""
        counts = self._load()
        counts[key] = counts.pop(key, 0) + 1
        self._save(counts)
        return counts[key]

    def forget(self, key: str) -> None:
        """It worked, or was set aside."""
        counts = self._load()
        if counts.pop(key, None) is not None:
            self._save(counts)

    def known(self, key: str) -> bool:
        """Whether it failed before."""
        return key in self._load()

    def keep_only(self, keys: Iterable[str]) -> None:
        """Forget all others."""
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
            log.warning("%s is damaged; failures are counted from nought", self._path)
            return {}
        return {str(k): v for k, v in counts.items() if isinstance(v, int)} if isinstance(counts, dict) else {}

    def _save(self, counts: dict[str, int]) -> None:
        newest = dict(list(counts.items())[-_MAX_ENTRIES:])
        atomic.write(self._path, json.dumps(newest).encode(), mode=0o600)
