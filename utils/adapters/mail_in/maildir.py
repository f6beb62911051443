"""A Maildir as mailbox, where a person may also drop `.eml` files. What was seen moves to `cur/` with the flag `S`.

Read are `new/`, what lies unseen in `cur/`, and `*.eml` at the top. A file that is still being written waits.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from utils.core.mail import RawMail
from utils.ports import AdapterError
from utils.vault import atomic

log = logging.getLogger(__name__)

MAX_HEADERS = 256 * 1024
_GLANCE = 0.5  # seconds between two looks at the folders while waiting
_SETTLED = 2.0  # seconds without a write, where the system can't tell whether somebody still writes
_STILL = 60.0  # seconds without a write, after which what can't be taken is explained
#: Files that mail servers keep at the top of their Maildirs.
_OF_A_SERVER = re.compile(r"dovecot|courier|maildir(?:folder|size)|subscriptions|sieve", re.IGNORECASE)
_DELIVERED = re.compile(r"^(\d{9,10})\.")


class MaildirMailbox:
    """Mail in `root`. It needs no state of its own: being seen is a file's place and name, durable by a rename."""

    def __init__(self, root: Path, *, max_bytes: int) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._unfinished = False
        self._seen_state: tuple[int, ...] = ()

    def fetch(self) -> Iterator[RawMail]:
        """Unseen mails, oldest first; above the size limit only the headers. Raises `AdapterError`."""
        try:
            self._ensure_folders()
            self._seen_state = self._state()
            self._unfinished = False
            for path in self._unseen():
                mail = self._read(path)
                if mail is not None:
                    yield mail
        except OSError as error:
            raise self._trouble(error) from error

    def mark_seen(self, mail: RawMail) -> None:
        """Move the mail to `cur/` with the flag `S`, durably. One that is gone or seen already is fine."""
        try:
            path = self._root / mail.key
            if path.exists():  # else another mail program moved it
                self._move_to_cur(path)
        except OSError as error:
            raise self._trouble(error) from error

    def wait(self, seconds: float, stopped: Callable[[], bool]) -> None:
        """Return when the folders change, after `seconds`, or within a second of `stopped()`."""
        pause = threading.Event()
        end = time.monotonic() + (min(seconds, 1.0) if self._unfinished else seconds)
        while not stopped() and time.monotonic() < end:
            pause.wait(min(_GLANCE, max(0.0, end - time.monotonic())))
            try:
                if self._state() != self._seen_state:
                    return
            except OSError as error:
                log.debug("Maildir %s: %s", self._root, error)  # fetch() says what to do about it

    def not_taken(self) -> dict[str, str]:
        """What lies in the Maildir for a minute and will never be read: name → why ("is no mail: …"). A Maildir that
        is not there yet holds nothing. Raises `AdapterError`."""
        found: dict[str, str] = {}
        try:
            for folder in (self._root, self._root / "new"):
                if folder.is_dir():
                    for path in folder.iterdir():
                        why = self._why_not(path)
                        if why:
                            found[path.relative_to(self._root).as_posix()] = why
        except FileNotFoundError:
            return found  # moved away while we looked: the next look sees the rest
        except OSError as error:
            raise self._trouble(error) from error
        return found

    def _why_not(self, path: Path) -> str | None:
        """Why what lies at the top or in `new/` is not read, or None: it is, or it is none of our business."""
        at_top = path.parent == self._root
        status = path.lstat()
        if path.name.startswith(".") or time.time() - status.st_mtime < _STILL:
            return None
        if stat.S_ISDIR(status.st_mode):
            ours = at_top and path.name in ("tmp", "new", "cur")
            return None if ours or (path / "cur").is_dir() else "is a folder: drop the .eml files themselves"
        if at_top and _OF_A_SERVER.match(path.name):
            return None
        if not stat.S_ISREG(status.st_mode):
            return "is no plain file: drop a copy of the mail"
        if at_top and not path.name.lower().endswith(".eml"):
            return "is no mail: drop .eml files"
        return "is empty: drop the mail again" if status.st_size == 0 else None

    def close(self) -> None:
        """Nothing is held open."""

    def _ensure_folders(self) -> None:
        for name in ("tmp", "new", "cur"):
            (self._root / name).mkdir(parents=True, exist_ok=True)

    def _state(self) -> tuple[int, ...]:
        return tuple(folder.stat().st_mtime_ns for folder in (self._root, self._root / "new", self._root / "cur"))

    def _unseen(self) -> list[Path]:
        found: list[tuple[int, str, Path]] = []
        for folder in (self._root, self._root / "new", self._root / "cur"):
            with os.scandir(folder) as entries:
                for entry in entries:
                    if self._counts(folder, entry):
                        found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name, Path(entry.path)))
        return [path for _, _, path in sorted(found)]

    def _counts(self, folder: Path, entry: os.DirEntry[str]) -> bool:
        if entry.name.startswith(".") or not entry.is_file(follow_symlinks=False):
            return False
        if folder == self._root:
            return entry.name.lower().endswith(".eml")
        return folder.name == "new" or "S" not in _flags(entry.name)

    def _read(self, path: Path) -> RawMail | None:
        """The mail in a file; None where it is unfinished or was taken away."""
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_size == 0 and time.time() - status.st_mtime >= _STILL:
                    return None  # nobody writes it any more: see `not_taken`
                if status.st_size == 0 or _is_being_written(file.fileno(), status.st_mtime):
                    self._unfinished = True
                    return None
                truncated = status.st_size > self._max_bytes
                data = _headers(file.read(MAX_HEADERS)) if truncated else file.read()
        except FileNotFoundError:
            return None
        name = _DELIVERED.match(path.name)
        received = datetime.fromtimestamp(int(name[1]) if name else int(status.st_mtime), UTC)
        return RawMail(path.relative_to(self._root).as_posix(), data, received, status.st_size, truncated, "maildir")

    def _move_to_cur(self, path: Path) -> None:
        base, flags = _base(path.name), "".join(sorted({*_flags(path.name), "S"}))
        for number in range(1, 1000):
            name = base if number == 1 else f"{base}-{number}"
            try:
                atomic.move(path, self._root / "cur" / f"{name}:2,{flags}")
                return
            except FileExistsError:
                continue  # an earlier mail was dropped under the same name
            except FileNotFoundError:
                return  # another mail program moved it
        raise FileExistsError(f"cur/ holds a thousand files named like {base}")

    def _trouble(self, error: OSError) -> AdapterError:
        reason = error.strerror or str(error)
        return AdapterError(
            f"The Maildir {self._root} can't be used ({reason}): check MAILDIR_PATH and its rights.", retry=True
        )


def _base(name: str) -> str:
    return name.partition(":2,")[0]


def _flags(name: str) -> str:
    return name.partition(":2,")[2]


def _headers(start: bytes) -> bytes:
    """The header section of a mail, from its first bytes."""
    ends = [end for end in (start.find(b"\r\n\r\n"), start.find(b"\n\n")) if end >= 0]
    return start[: min(ends)] + b"\r\n\r\n" if ends else start


def _is_being_written(descriptor: int, modified: float) -> bool:
    """Whether somebody may still be writing the file.

    Linux grants a read lease only on a file that nobody has open for writing: the exact answer. Elsewhere (other
    systems, network file systems, another's file) a file that was written to a moment ago counts as unfinished.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # a broken lease sends SIGIO otherwise, which kills
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
    except BlockingIOError:
        return True
    except (OSError, AttributeError):
        return -1.0 < time.time() - modified < _SETTLED
