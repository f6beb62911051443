"""What lies under `Updates/conflicts/`: versions that yielded, until a person deletes or moves them."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from utils.core import merge
from utils.core.task import format_time
from utils.vault.atomic import TEMP_PREFIX
from utils.vault.layout import Layout

_HEADER = 16 * 1024  # bytes; a note's header holds two paths at most
_FIELD = re.compile(r'^(conflict|lost|stands|why|by): ("(?:[^"\\]|\\.)*")$', re.MULTILINE)
#: As `merge.note_for` writes it.
_NOTE = re.compile(rb'---\nconflict: "(?:[^"\\\n]|\\.)*"\n(?:(?:lost|stands|why|by): "(?:[^"\\\n]|\\.)*"\n)*---\n')


@dataclass(frozen=True)
class Copy:
    """A file under `Updates/conflicts/`. `path` is the vault's, `since` when it was written here (seconds since 1970),
    `size` in bytes."""

    path: str
    since: float
    size: int


def copies(layout: Layout) -> Iterator[Copy]:
    """Every copy that lies there now, in no order. No file is opened."""
    for folder, folders, names in os.walk(layout.conflicts):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            place = Path(folder, name)
            if name.startswith((".git", TEMP_PREFIX)) or place.is_symlink():
                continue
            try:
                status = place.stat()
            except FileNotFoundError:
                continue
            yield Copy(layout.relative(place), status.st_mtime, status.st_size)


def told(layout: Layout, copy: Copy) -> dict[str, str | int | None]:
    """What is known of a copy: `id`, `path`, `original`, `lost` and `stands` (zones), `by` (the person who wrote it,
    None for a node), `why`, `since`, `size`.

    A picture holds no note of its own: its name says what it was, and `stands` and `why` are None.
    """
    try:
        with (layout.root / copy.path).open("rb") as file:
            head = file.read(_HEADER).decode("utf-8", "replace")
    except OSError:
        head = ""
    header = head.partition("\n---\n")[0] if head.startswith("---\nconflict: ") else ""
    fields = {key: str(json.loads(value, strict=False)) for key, value in _FIELD.findall(header)}
    original, zone = merge.original_of(copy.path)
    return {
        "id": identifier(copy),
        "path": _text(copy.path),
        "original": fields.get("conflict", _text(original)),
        "lost": fields.get("lost", zone),
        "stands": fields.get("stands"),
        "by": fields.get("by"),
        "why": fields.get("why"),
        "since": format_time(datetime.fromtimestamp(copy.since, UTC)),
        "size": copy.size,
    }


def identifier(copy: Copy) -> str:
    """The id of a copy: a hash of where it lies."""
    return hashlib.sha256(os.fsencode(copy.path)).hexdigest()[:32]


def without_header(data: bytes) -> bytes:
    """The version itself: what is left of a copy's bytes without the note that a sync put on top."""
    match = _NOTE.match(data)
    return data[match.end() :] if match else data


def _text(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
