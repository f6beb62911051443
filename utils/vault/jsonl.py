"""Append-only logs, one JSON object a line. Sync unites them line by line, so a line is never changed."""

from __future__ import annotations

import fcntl
import json
import os
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_BLOCK = 64 * 1024


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """Append one line durably. A torn last line (a crash in mid-write) is ended first, so that it can't eat ours."""
    line = json.dumps(entry, ensure_ascii=False, separators=(",", ":"), default=str).encode() + b"\n"
    created = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _open_locked(path)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        view = memoryview(line)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if created:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _open_locked(path: Path) -> int:
    """The log, open and locked. A sync may put a united log in its place while we wait: then we take the new one."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)


def newest(path: Path) -> Iterator[dict[str, Any]]:
    """The log's entries, newest first, read block by block from the end; a line that is no JSON object is skipped."""
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
            for line in reversed(lines[1:] if start else lines):
                entry = _decode(line)
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
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
