"""Files of the vault as sync sees them: looked at without following links, replaced only if they are what we think."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from utils.core.sync_rules import is_log
from utils.vault import atomic


class Kind(Enum):
    """What lies at a path."""

    NOTHING = "nothing"
    FILE = "file"
    LINK = "a symbolic link"
    FOLDER = "a folder"
    BEHIND_LINK = "a path behind a symbolic link"
    OTHER = "a special file"


@dataclass(frozen=True)
class Lying:
    """What lies at a path; `size` in bytes, `mtime` in seconds since 1970."""

    kind: Kind
    size: int = 0
    mtime: float = 0.0


_NOTHING = Lying(Kind.NOTHING)


def look(root: Path, path: str) -> Lying:
    """What lies at the vault's `path`, without following a link anywhere on the way."""
    place = root
    parts = path.split("/")
    for part in parts[:-1]:
        place /= part
        try:
            mode = place.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return _NOTHING
        if stat.S_ISLNK(mode):
            return Lying(Kind.BEHIND_LINK)
        if not stat.S_ISDIR(mode):
            return _NOTHING
    try:
        status = (place / parts[-1]).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return _NOTHING
    kinds = ((stat.S_ISREG, Kind.FILE), (stat.S_ISLNK, Kind.LINK), (stat.S_ISDIR, Kind.FOLDER))
    kind = next((kind for test, kind in kinds if test(status.st_mode)), Kind.OTHER)
    return Lying(kind, status.st_size, status.st_mtime)


def read(root: Path, path: str, *, locked: bool = False) -> bytes | None:
    """The bytes of a regular file, or None where it is gone or was written to while we read.

    A log is read under its lock, so that no half-written line is seen (`locked`: the caller holds it).
    """
    try:
        descriptor = os.open(root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(descriptor, "rb") as file:
        if is_log(path) and not locked:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        before = os.fstat(descriptor)
        data = file.read()
        after = os.fstat(descriptor)
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return data if same and len(data) == after.st_size else None


def blob_id(data: bytes, like: str) -> str:
    """git's object id of `data` as a blob, in the hash that `like` (any object id of the repository) is in."""
    algorithm = hashlib.sha256 if len(like) == 64 else hashlib.sha1
    return algorithm(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def replace(root: Path, path: str, *, expected: str | None, wanted: str | None, data: bytes = b"") -> bool:
    """Make `data` (blob `wanted`; None: nothing) lie at `path`, if the blob `expected` (None: nothing) lies there.

    Answers whether `wanted` lies there afterwards; False means that somebody changed the path meanwhile, and it was
    left as it is, even if that was in the last moment. A file is wholly old or wholly new at any moment.
    """
    with _writers_kept_out(root, path):
        lying = look(root, path)
        if lying.kind is Kind.FOLDER and wanted is not None and _remove_empty(root / path):
            lying = _NOTHING
        current: str | None = None
        if lying.kind is Kind.FILE:
            content = read(root, path, locked=True)
            current = blob_id(content, wanted or expected or "") if content is not None else "?"
        elif lying.kind is not Kind.NOTHING:
            return False
        if current == wanted:
            return True
        if current != expected:
            return False
        if current is None:
            return _create(root / path, data)

        def is_expected(place: Path) -> bool:
            return holds(place, current)

        if wanted is None:
            return atomic.remove_if(root / path, is_expected)
        return atomic.replace_if(root / path, data, is_expected)


def holds(place: Path, oid: str) -> bool:
    """Whether the blob `oid` lies at `place`. Of a log the caller holds the lock."""
    if look(place.parent, place.name).kind is not Kind.FILE:
        return False
    content = read(place.parent, place.name, locked=True)
    return content is not None and blob_id(content, oid) == oid


def _create(target: Path, data: bytes) -> bool:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(target, data, replace=False)
    except (FileExistsError, NotADirectoryError):
        return False  # something appeared there in the last moment
    return True


def _remove_empty(folder: Path) -> bool:
    """Remove a folder that holds nothing but empty folders."""
    for place, _, names in os.walk(folder, topdown=False):
        if names:
            return False
        try:
            Path(place).rmdir()
        except OSError:
            return False
    return True


@contextmanager
def _writers_kept_out(root: Path, path: str) -> Iterator[None]:
    """For a log: hold the lock that its writers take, so that no line goes into a file that we replace."""
    if not is_log(path):
        yield
        return
    try:
        descriptor = os.open(root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
