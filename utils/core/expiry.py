"""How long a request may still be approved, and when to say so. Expiry means "asks again", never "yes". Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

#: The part of its life that is left when a request is called short of time.
SHORT = 0.25


def holds_until(claimed: datetime, seen: datetime | None, hours: float, now: datetime) -> datetime:
    """Until when a request can be approved: what it claims itself, but no longer than its action's `hours` from when
    this node first saw these bytes; from `now` where it did not yet, or where the clock was set back since."""
    return min(claimed, min(seen or now, now) + timedelta(hours=hours))


def seconds_left(expires: datetime, now: datetime) -> int:
    """Whole seconds until `expires`, 0 once it has passed."""
    return max(0, int((expires - now).total_seconds()))


def is_short(created: datetime, expires: datetime, longest: timedelta, now: datetime) -> bool:
    """Whether a request that is still good has a quarter of its life left, or less.

    `longest` is what policy gives the action: a request that claims a longer life is warned of no earlier.
    """
    life = min(expires - created, longest)
    return now < expires <= now + life * SHORT


def in_words(seconds: int) -> str:
    """A span for a person: "45 s", "14 min", "5 h 20 min", "2 days 3 h". Never more than is left."""
    minutes, hours = seconds // 60, seconds // 3600
    if seconds < 60:
        return f"{seconds} s"
    if minutes < 60:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    return f"{hours // 24} days" + (f" {hours % 24} h" if hours % 24 else "")
