"""How often something was tried, kept over restarts of the process, and what is no fault of what was tried.

A try is counted before it begins: what kills the process then counts too.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from utils.ports import AdapterError
from utils.vault import atomic

TRIES = 3
#: Why something is set aside whose tries ended with no error of its own.
DIED = f"it was begun {TRIES} times, and each time the process ended before it was done"
#: A disk that is full, broken or read-only; no rights, descriptors or memory; no network.
_NODE_ERRORS = frozenset(
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EROFS", "EIO", "ESTALE", "EACCES", "EPERM", "EMFILE", "ENFILE", "ENOMEM"),
        *("ENETDOWN", "ENETUNREACH", "EHOSTUNREACH"),
    )
)
_WORLD_ERRORS = (AdapterError, ConnectionError, TimeoutError, socket.gaierror, sqlite3.OperationalError)


def is_the_nodes_fault(error: BaseException) -> bool:
    """Whether another task or mail would fare no better: then the try is taken back, and this one waits."""
    return isinstance(error, _WORLD_ERRORS) or (isinstance(error, OSError) and error.errno in _NODE_ERRORS)


class Attempts:
    """Counts of tries by key: one file a key in `folder`, a byte a try, gone when the key has none.

    Taking a try back needs no space, so a full disk blames nobody. Whoever tries a key does so alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def count(self, key: str) -> int:
        """Count one more try, durably; returns how many there are now. Raises `OSError`: then none was counted."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._file(key).open("ab", buffering=0) as file:
            file.write(b".")
            tries = file.tell()
            try:
                os.fsync(file.fileno())
            except OSError:
                file.truncate(tries - 1)
                raise
        if tries == 1:
            atomic.sync_folder(self._folder)
        return tries

    def uncount(self, key: str) -> None:
        """The last try was no fault of its own."""
        left = self.tries(key) - 1
        if left > 0:
            os.truncate(self._file(key), left)
        else:
            self.forget(key)

    def forget(self, key: str) -> None:
        """It worked, or was set aside."""
        self._file(key).unlink(missing_ok=True)

    def tries(self, key: str) -> int:
        """How many tries are counted."""
        try:
            return self._file(key).stat().st_size
        except FileNotFoundError:
            return 0

    def keep_only(self, keys: Iterable[str]) -> None:
        """Forget all others."""
        kept = {self._file(key) for key in keys}
        for file in self._folder.glob("*"):
            if file not in kept:
                file.unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        return self._folder / hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
