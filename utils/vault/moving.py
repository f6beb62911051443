"""The claim lock, and the note of what its holder is about to do: a move and its line in the log come together.

`STATE_DIR/claims/moving` is the very line that the log will get. It is a symbolic link that points nowhere: made in one
call, never half-written, and kept by a file system in its journal, so that no power cut leaves the move that came after
it without it (ADR 16). Whoever takes the lock next finishes what a killed holder began. Flushes come after the lock, so
that several processes share them; until they are done the note is called `logged-…`, for the next start to look at.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from utils.vault import atomic, jsonl, locks
from utils.vault.layout import Layout, stage_at

log = logging.getLogger(__name__)

_LONGEST_LINK = 4000  # bytes; what is longer is a file
_TAIL = 10_000  # lines of the log that are searched for one


class Moves:
    """The claim lock of one node."""

    def __init__(self, layout: Layout, state_dir: Path) -> None:
        self._layout = layout
        self._lock = state_dir / "locks" / "claims.lock"
        self._folder = state_dir / "claims"
        self._moving = self._folder / "moving"
        self._one_disk: bool | None = None

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the claim lock, after finishing what a holder that was killed began. Not re-entrant."""
        with locks.hold(self._lock):
            if os.path.lexists(self._moving):
                self._finish(self._moving)
            yield

    def do(self, entry: Mapping[str, Any], act: Callable[[], None]) -> Callable[[], None]:
        """Move or write a file by `act` and log it as `entry` says (`from`, `to`). The lock is held by the caller.

        The answer makes both durable; call it once, best after the lock. Where `act` raises `FileExistsError` or
        `FileNotFoundError` nothing was done; after any other error the next holder of the lock looks what was.
        """
        line = jsonl.line(entry)
        self._note(line.rstrip(b"\n"))
        try:
            act()
        except (FileExistsError, FileNotFoundError):
            self._moving.unlink()
            raise
        flush_log = jsonl.write(self._layout.claims_log, line)
        logged = self._folder / f"logged-{secrets.token_hex(8)}"
        os.rename(self._moving, logged)
        folders = {os.path.dirname(self._layout.root / entry[end]) for end in ("to", "from") if entry.get(end)}

        def flush() -> None:
            flush_log()
            for folder in folders:
                atomic.sync_folder(Path(folder))
            logged.unlink(missing_ok=True)

        return flush

    def repair(self) -> None:
        """Finish also what a power cut left. Cheap where nothing was left; may be called at any time."""
        with self.hold():
            for note in sorted(self._folder.glob("logged-*")):
                self._finish(note)

    def _note(self, line: bytes) -> None:
        if len(line) > _LONGEST_LINK:
            atomic.write(self._moving, line, mode=0o600)
            return
        try:
            self._moving.symlink_to(line.decode())
        except FileNotFoundError:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._moving.symlink_to(line.decode())
        if not self._is_one_disk():  # two journals keep no order between them
            atomic.sync_folder(self._folder)

    def _is_one_disk(self) -> bool:
        if self._one_disk is None and self._layout.root.exists():
            self._one_disk = self._folder.stat().st_dev == self._layout.root.stat().st_dev
        return bool(self._one_disk)

    def _finish(self, note: Path) -> None:
        """Write the noted line where the move happened and the log lacks it; then the note goes."""
        try:
            entry = _read(note)
        except FileNotFoundError:
            return  # its process is alive and was quicker
        except (OSError, ValueError) as error:
            aside = self._folder / f"damaged-{secrets.token_hex(8)}"
            os.rename(note, aside)
            log.error("%s is damaged (%s): set aside as %s", note, error, aside.name)
            return
        claims_log = self._layout.claims_log
        if any(line == entry for line in islice(jsonl.newest(claims_log), _TAIL)):
            jsonl.flush(claims_log)
        elif self._happened(entry):
            jsonl.append(claims_log, entry)
            log.warning("%s was moved when its process was killed: logged now", entry.get("task"))
        note.unlink(missing_ok=True)

    def _happened(self, entry: Mapping[str, Any]) -> bool:
        source, target = entry.get("from"), entry["to"]
        if source is not None and os.path.lexists(self._layout.root / source):
            return False
        return os.path.lexists(self._layout.root / target)


def _read(note: Path) -> dict[str, Any]:
    """The line that a note holds; raises `ValueError` or `OSError` where it is none."""
    # Not `note.readlink()`: a path would be tidied up.
    entry = json.loads(os.readlink(note) if note.is_symlink() else note.read_bytes())  # noqa: PTH115
    if not isinstance(entry, dict) or not isinstance(entry.get("to"), str) or stage_at(entry["to"]) is None:
        raise ValueError("it does not say what moved")
    if entry.get("from") is not None and not isinstance(entry["from"], str):
        raise ValueError("it does not say from where")
    return entry
