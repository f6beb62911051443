"""Pages of lists that grow at the front. A cursor names the last item seen, so a new item shifts nothing."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from Watchers.api.errors import Problem

Item = TypeVar("Item")
Key = tuple[str, ...]
_DEEPEST = 50_000


def page_of_sorted(
    items: Iterable[Item], key: Callable[[Item], Key], limit: int, cursor: str | None
) -> tuple[list[Item], str | None]:
    """A page of items that have an order of their own: largest key first, from below the cursor's key on.

    The item that the cursor names may be gone. Raises a 400 `Problem` for a cursor that is none of ours.
    """
    below = decode(cursor)
    rest = sorted((item for item in items if below is None or key(item) < below), key=key, reverse=True)
    return rest[:limit], encode(key(rest[limit - 1])) if len(rest) > limit else None


def page_of_ordered(items: Iterable[Item], key: Callable[[Item], Key], limit: int) -> tuple[list[Item], str | None]:
    """A page of items that come in the order of their keys, largest first, and from below the cursor's on."""
    found = list(islice(items, limit + 1))
    return found[:limit], encode(key(found[limit - 1])) if len(found) > limit else None


def page_of_log(
    entries: Iterable[Item], key: Callable[[Item], Key], limit: int, cursor: str | None
) -> tuple[list[Item], str | None]:
    """A page of a log read from its newest line on: what lies behind the line that the cursor names.

    Raises a 400 `Problem` where that line is none of the newest 50,000, so that no cursor makes us read years of them.
    """
    after = decode(cursor)
    stream = iter(entries)
    if after is not None and not any(key(entry) == after for entry in islice(stream, _DEEPEST)):
        raise Problem(
            400,
            f"cursor: it names none of the newest {_DEEPEST} lines; begin without one, or read the log itself",
            kind="invalid-input",
        )
    found = list(islice(stream, limit + 1))
    return found[:limit], encode(key(found[limit - 1])) if len(found) > limit else None


def encode(key: Sequence[str]) -> str:
    """A key as an opaque cursor."""
    return base64.urlsafe_b64encode(json.dumps(list(key)).encode()).decode().rstrip("=")


def decode(cursor: str | None) -> Key | None:
    """The key in a cursor, None without one; raises a 400 `Problem` for anything that `encode` did not make."""
    if cursor is None:
        return None
    try:
        value: Any = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        value = None
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise Problem(400, "cursor: not a cursor of this list; begin without one", kind="invalid-input")
    return tuple(value)


def line_key(entry: Mapping[str, Any]) -> Key:
    """The key of a log line: what it says."""
    text = json.dumps(entry, sort_keys=True, default=str)
    return (hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32],)
