"""Append-only logs, one JSON object a line. Sync unites them line by line, so a line is never changed."""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from utils.core import archive
from utils.vault import atomic

_BLOCK = 64 * 1024
#: A line of ours is far shorter; a longer one is passed over, or reading it backwards would take minutes.
_LONGEST = 256 * 1024  # bytes
_TOO_LONG = b"\0"  # stands for what was read of such a line: no JSON holds it
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


def line(entry: Mapping[str, Any]) -> bytes:
    """One line of a log, with its end."""
    return _encode(entry).encode("utf-8", "backslashreplace") + b"\n"  # a name that is no text, as JSON escapes it


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """Append one line durably. A torn last line (a crash in mid-write) is ended first, so that it can't eat ours."""
    write(path, line(entry))


def write(path: Path, data: bytes) -> None:
    """Append a line that is ready, as `append` does."""
    try:
        descriptor, size = _open_locked(path)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, size = _open_locked(path)
    try:
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            data = b"\n" + data
        while data:
            data = data[os.write(descriptor, data) :]
        # Others may write meanwhile. A sync that puts a united log in the place of this one has read our line.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if not size:
        atomic.sync_folder(path.parent)


def flush(path: Path) -> None:
    """Make durable what others wrote into a log."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_locked(path: Path) -> tuple[int, int]:
    """The log, open and locked, and its size. A sync may put a united log in its place while we wait: then we take the
    new one."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            status = os.fstat(descriptor)
            if os.path.samestat(status, path.stat()):
                return descriptor, status.st_size
        except FileNotFoundError:
            pass
        os.close(descriptor)


def roll(path: Path, into: Callable[[str], Path], *, today: str) -> int:
    """Carry the oldest lines of a log that is full into the files of their days (`into`); how many lines.

    They are durable there before they leave the log. A line that lies there already, because a crash or a sync came
    between, is not written again.
    """
    try:
        if path.stat().st_size <= archive.LOG_FULL:
            return 0
    except FileNotFoundError:
        return 0
    descriptor, _ = _open_locked(path)
    try:
        days, rest = archive.roll(path.read_bytes(), archive.LOG_KEPT, today)
        for day, data in days.items():
            target = into(day)
            there = target.read_bytes() if target.exists() else b""
            there += b"" if there.endswith(b"\n") or not there else b"\n"
            known = set(there.splitlines())
            new = [line for line in data.splitlines(keepends=True) if line.rstrip(b"\r\n") not in known]
            if new:
                atomic.write(target, there + b"".join(new))
        atomic.write(path, rest)
    finally:
        os.close(descriptor)
    return sum(data.count(b"\n") for data in days.values())


def newest(path: Path, wanted: Callable[[bytes], bool] | None = None) -> Iterator[dict[str, Any]]:
    """The log's entries, newest first, read block by block from the end; with `wanted` only of the lines it says so of.

    A line that is no JSON object as RFC 8259 has it, or longer than 256 KiB, is skipped.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        position = file.seek(0, os.SEEK_END)
        rest = b""
        while position:
            start = max(0, position - _BLOCK)
            file.seek(start)
            block = file.read(position - start) + rest
            lines = block.split(b"\n")
            rest = lines[0] if start else b""
            if len(rest) > _LONGEST:
                rest = _TOO_LONG
            for line in reversed(lines[1:] if start else lines):
                entry = _decode(line) if wanted is None or wanted(line) else None
                if entry is not None:
                    yield entry
            position = start


def newest_of(folder: Path) -> Iterator[dict[str, Any]]:
    """The entries of a folder of `YYYY-MM-DD.jsonl` files, newest first."""
    for path in sorted(folder.glob("*.jsonl"), reverse=True):
        yield from newest(path)


def tail(path: Path, count: int) -> list[dict[str, Any]]:
    """The last `count` entries in the order they were written."""
    entries: deque[dict[str, Any]] = deque()
    for entry in newest(path):
        if len(entries) == count:
            break
        entries.appendleft(entry)
    return list(entries)


def _decode(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):  # also what is nested too deep to be one of ours
        return None
    return entry if isinstance(entry, dict) else None


def _finite(number: str) -> float:
    """No NaN and no infinity: Python reads and writes them, JSON has none, and who asks us for the line gets JSON."""
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is no number of JSON")
    return value
