"""The remote of the zone lease as a value in memory, and each node's link to it, which a test can cut."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from utils.core.lease import Sight
from utils.ports import AdapterError


@dataclass
class SharedRef:
    """What lies on the remote."""

    text: str | None = None
    beats: dict[str, str] = field(default_factory=dict)
    count: itertools.count[int] = field(default_factory=itertools.count)

    def link(self, zone: str) -> FakeLease:
        return FakeLease(self, zone)


@dataclass
class FakeLease:
    """How one zone reaches the remote. `down`: not at all; `late`: a push gets no answer, and arrives at `land()`."""

    shared: SharedRef
    zone: str
    down: bool = False
    late: bool = False
    under_way: list[tuple[str, str | None]] = field(default_factory=list)
    looks: int = 0

    def look(self) -> Sight:
        self._need()
        self.looks += 1
        return Sight(self.shared.text, self.shared.text, dict(self.shared.beats))

    def push(self, text: str, expected: str | None) -> str | None:
        self._need()
        if self.late:
            self.under_way.append((text, expected))
            raise AdapterError("the answer did not come", retry=True)
        if self.shared.text != expected:
            return None
        self.shared.text = text
        self.beat()
        return text

    def land(self) -> bool:
        """The oldest push that is under way arrives: whether it replaced anything."""
        text, expected = self.under_way[0]
        if self.shared.text != expected:
            return False
        self.shared.text = text
        return True

    def beat(self) -> None:
        self._need()
        self.shared.beats[self.zone] = str(next(self.shared.count))

    def _need(self) -> None:
        if self.down:
            raise AdapterError("the remote can't be reached: no route", retry=True)
