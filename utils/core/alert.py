"""Alerts as values, and the decisions about telling the human: what is a repeat, when to try again, when to wait."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

REPEAT_WINDOW = timedelta(hours=1)
#: A channel may deliver this often within `RATE_WINDOW`; after that the rest waits and goes out as a digest.
RATE = 5
RATE_WINDOW = timedelta(hours=1)
#: So many alerts of one source and title are told within `REPEAT_WINDOW`, whatever they say; more are counted.
MOST_OF_ONE_TITLE = 20
_CHANGING = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z?|\b\d+(?:[.,:]\d+)*\b")
DIGEST_PAUSE = timedelta(minutes=10)
LONGEST_SILENCE = timedelta(days=30)
FIRST_RETRY = timedelta(seconds=60)
LONGEST_RETRY = timedelta(hours=1)


class Level(StrEnum):
    """How loud an alert is."""

    INFO = "INFO"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"

    @property
    def rank(self) -> int:
        """Louder is higher."""
        return list(Level).index(self)


class State(StrEnum):
    """What became of an alert: delivered, waiting for its channels, alerts are switched off, or a channel refuses it
    in such a way that a person must act (it waits all the same)."""

    SENT = "sent"
    SPOOLED = "spooled"
    SUPPRESSED = "suppressed"
    FAILED = "failed"


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


@dataclass(frozen=True)
class Silence:
    """A person's word not to be mailed of alerts with this level, source and title (None: any) until then."""

    id: str
    level: Level | None
    source: str | None
    title: str | None
    until: datetime
    at: datetime
    by: str

    def holds_for(self, alert: Alert) -> bool:
        """Whether this alert is silenced."""
        return (
            alert.at < self.until
            and self.level in (None, alert.level)
            and self.source in (None, alert.source)
            and self.title in (None, alert.title)
        )


def same_news(message: str, earlier: str) -> bool:
    """Whether two messages of one title say the same, apart from times and counts."""
    return _CHANGING.sub("#", message) == _CHANGING.sub("#", earlier)


def is_repeat(earlier_at: datetime, earlier: Level, level: Level, now: datetime) -> bool:
    """Whether an alert that says the same as an earlier one is only counted: within the hour, not louder."""
    return timedelta(0) <= now - earlier_at < REPEAT_WINDOW and level.rank <= earlier.rank


def retry_at(failures: int, now: datetime, *, hopeless: bool) -> datetime:
    """When a channel that has failed `failures` times in a row (≥ 1) is tried again. `hopeless`: the same call can't
    succeed until a person changes something; it is tried once an hour, for that may have happened."""
    if hopeless:
        return now + LONGEST_RETRY
    pause: timedelta = FIRST_RETRY * 2 ** min(failures - 1, 16)
    return now + min(pause, LONGEST_RETRY)


def next_delivery(delivered: Sequence[datetime], now: datetime) -> datetime:
    """When a channel may deliver next, given its deliveries of the last hour: a storm becomes a few digests."""
    recent = [at for at in delivered if timedelta(0) <= now - at < RATE_WINDOW]
    return now if len(recent) < RATE else max(now, max(recent) + DIGEST_PAUSE)


def subject(alerts: Sequence[Alert], node: str) -> str:
    """One line that says what happened; of a digest, how much and how bad."""
    worst = max((alert.level for alert in alerts), key=lambda level: level.rank)
    if len(alerts) == 1:
        return f"[AI Employee, {node}] {worst}: {' '.join(alerts[0].title.split())}"
    return f"[AI Employee, {node}] {len(alerts)} alerts, the worst is {worst}"


def body(alerts: Sequence[Alert]) -> str:
    """The alerts as plain text, oldest first."""
    parts = []
    for alert in alerts:
        again = f" (and {alert.repeats} more times)" if alert.repeats else ""
        when = alert.at.strftime("%Y-%m-%d %H:%M:%S UTC")
        parts.append(f"{alert.level}: {alert.title}{again}\n{when}, {alert.source}\n\n{alert.message}\n")
    return "\n----\n\n".join(parts)
