"""Where old things go, so that a folder or a log that every sync writes anew stays small (ADR 12). Pure."""

from __future__ import annotations

import re

from utils.core.task import ID_PATTERN

#: A log of more bytes than the first number is rolled down to the second.
LOG_FULL, LOG_KEPT = 128 * 1024, 64 * 1024
_DAY = re.compile(rb'^\{"at":\s*"(20\d\d-\d\d-\d\d)')


def filed(path: str) -> str | None:
    """The place by month (`Done/2026/10/…`) of a file named for a task id, as that id says; None for other names.

    Works for paths in the vault and for mere names. A file in its place by month already gets no other.
    """
    folder, slash, name = path.rpartition("/")
    match = ID_PATTERN.match(name.split(".")[0])
    if match is None:
        return None
    month = f"{match['time'][:4]}/{match['time'][4:6]}"
    return None if folder.endswith(month) else f"{folder}{slash}{month}/{name}"


def roll(log: bytes, keep: int, today: str) -> tuple[dict[str, bytes], bytes]:
    """The oldest lines of a log by day (YYYY-MM-DD), and the rest: its newest whole lines of at most `keep` bytes.

    A line without a day that can be (damaged, or later than `today`) goes with the one before it. No line changes, and
    none passes another of its day.
    """
    cut = log.find(b"\n", max(len(log) - keep, 0) - 1) + 1 if len(log) > keep else 0
    days: dict[str, list[bytes]] = {}
    day = today
    for line in _lines(log[:cut]):
        match = _DAY.match(line)
        if match and match[1].decode() <= today:
            day = match[1].decode()
        days.setdefault(day, []).append(line)
    return {day: b"".join(lines) for day, lines in days.items()}, log[cut:]


def _lines(data: bytes) -> list[bytes]:
    return [line + b"\n" for line in data.split(b"\n")[:-1]]
