"""An alert, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Level(StrEnum):
    """How loud an alert is."""

    INFO = "INFO"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"


@dataclass(frozen=True)
class Alert:
    """Something the human should know. `source` is the process or module that noticed; `repeats` counts equal ones."""

    id: str
    at: datetime
    level: Level
    source: str
    title: str
    message: str
    repeats: int = 0
