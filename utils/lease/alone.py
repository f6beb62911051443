"""What stands in the remote's place for a node that has none: what was put there last lies there."""

from __future__ import annotations

from utils.core.lease import Sight
from utils.lease.keeper import Store


class AloneRemote:
    """A `LeaseRemote` that asks nobody. Its caller lets one process in at a time: a push replaces what it saw."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def look(self) -> Sight:
        """What this node put there."""
        known = self._store.load().known
        text = known.to_text() if known else None
        return Sight(text, text)

    def push(self, text: str, expected: str | None) -> str:
        """It is taken: nobody else puts anything there."""
        return text

    def beat(self) -> None:
        """Nobody listens."""
