"""When what was found not to be ripe yet is looked at again: a text in the making, a file in exchange."""

from __future__ import annotations

from datetime import datetime


class Soon:
    """The earliest of the times that a look has asked for."""

    def __init__(self) -> None:
        self.at: datetime | None = None

    def clear(self) -> None:
        """A look begins."""
        self.at = None

    def ask(self, when: datetime | None) -> None:
        """Have it looked at again then (None: no need)."""
        if when is not None:
            self.at = when if self.at is None else min(self.at, when)
