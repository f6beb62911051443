"""Locks between processes of one node: `flock(2)` on a file in `STATE_DIR`, freed by the kernel at a death."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


class Locked(RuntimeError):
    """Somebody else holds the lock. `holder` is what they wrote into it, or an empty string."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"{path.name} is held by {holder or 'another process'}")
        self.holder = holder


@contextmanager
def hold(path: Path, *, timeout: float | None = None, note: str | None = "") -> Iterator[None]:
    """Hold the exclusive lock on `path` for the block. Not re-entrant.

    `note` is written into the file, for people; None: nothing, for a lock that is taken thousands of times. `timeout`
    in seconds: None waits for ever, 0 tries once. Raises `Locked` when it runs out. The file stays:
    deleting a lock file is how two holders come to be.
    """
    descriptor = _open(path)
    try:
        _acquire(descriptor, path, timeout)
        try:
            if note is not None:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, (note or f"pid {os.getpid()}").encode(), 0)
        except OSError as error:  # the note is for people; a full disk keeps nobody from holding the lock
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
        yield
    finally:
        os.close(descriptor)


@contextmanager
def share(path: Path) -> Iterator[None]:
    """Hold a shared lock on `path` for the block: any number of sharers at once, and no `hold` beside them."""
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether any process holds the lock right now. Makes and changes nothing, so it works on a read-only disk."""
    return holder(path) is not None


def holder(path: Path) -> str | None:
    """What the holder of the lock wrote into it (`pid 123`; may be empty), or None where nobody holds it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, 200, 0).decode("utf-8", "replace")
    finally:
        os.close(descriptor)
    return None


def _open(path: Path) -> int:
    try:
        return os.open(path, _FLAGS, 0o600)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, _FLAGS, 0o600)


def _acquire(descriptor: int, path: Path, timeout: float | None) -> None:
    if timeout is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise Locked(path, os.pread(descriptor, 200, 0).decode("utf-8", "replace")) from None
            time.sleep(0.02)
