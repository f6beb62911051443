"""When a server wants to be asked again: the header Retry-After (RFC 9110 §10.2.3). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

#: However long a server wishes: longer than its limits by the day nothing is put off.
LONGEST = timedelta(days=1)
#: Too many calls, or no service for now (RFC 6585 §4, RFC 9110 §15.6.4).
STATUSES = frozenset({429, 503})


def wish(status: int, headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """How long to wait from `now` (aware UTC) on, at most `LONGEST`; None where the answer says nothing of it.

    The header is either seconds or an HTTP-date; a date is taken by the server's own clock, where its answer has one
    (Date, §6.6.1). `headers` are looked up by their names as the standard writes them.
    """
    said = headers.get("Retry-After", "").strip()
    if status not in STATUSES or not said:
        return None
    if said.isascii() and said.isdigit():
        wait = timedelta(seconds=min(int(said[:9]), LONGEST.total_seconds()))
    else:
        when = _date(said)
        if when is None:
            return None
        wait = when - (_date(headers.get("Date", "")) or now)
    return min(max(wait, timedelta()), LONGEST)


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)  # asctime's form names no zone
