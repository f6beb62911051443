"""The claim lock, and the note of what its holder is about to do: a move and its line in the log come together.

The note is a name in `STATE_DIR/claims/moves/`: the line that the log will get. So making it is one step in the file
system's journal, which keeps it before the move that comes after it, and costs no flush (ADR 16); a line too long for a
name is flushed as a file's content. The note goes when move and line are flushed, before the lock is free (that of a
claim becomes the task's heartbeat): so a note that is there tells of a holder that was killed, and whoever takes the
lock alone next finishes what it began.

Claims hold the lock together: they move no file but what is there once, so the rename itself lets one win.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from utils.vault import atomic, jsonl, locks
from utils.vault.layout import Layout, stage_at

log = logging.getLogger(__name__)

#: The event whose move needs no flush of its own: where the journal keeps no order with the line, as on Btrfs, a power
#: cut may undo it, and then the task is claimed anew.
CLAIMED = "claimed"
_MOVING, _DAMAGED = "m", "d"  # what a note's name begins with
_BLANK = "blank"
_IN_CONTENT = "-"
_END = "}"  # of a line in a name
_SLASH = "\x1f"  # stands for a slash in a name: JSON has it as an escape only
_TAIL = 10_000  # lines of the log that are searched for one


class Moves:
    """The claim lock of one node."""

    def __init__(self, layout: Layout, state_dir: Path) -> None:
        self._layout = layout
        self._log = layout.claims_log
        self._lock = state_dir / "locks" / "claims.lock"
        self._turn = state_dir / "locks" / "claims-turn.lock"
        self._folder = state_dir / "claims" / "moves"
        self._one_disk: bool | None = None
        self._looked = False

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the claim lock alone, after finishing what a holder that was killed began. Not re-entrant."""
        with locks.hold(self._turn, note=None):
            os.truncate(self._turn, 1)  # says that somebody waits; what a killed one left costs the others a look
            with locks.hold(self._lock, note=None):
                os.truncate(self._turn, 0)
                self._finish()
                self._looked = True
                yield

    def share(self) -> AbstractContextManager[None]:
        """Hold the claim lock together with others that claim; alone where a rename may replace a file."""
        if not atomic.NEVER_REPLACES:
            return self.hold()
        if not self._looked:
            with self.hold():
                pass
        if self._is_wanted_alone():
            with locks.share(self._turn):  # after whoever waits
                pass
        return locks.share(self._lock)

    def _is_wanted_alone(self) -> bool:
        try:
            return self._turn.stat().st_size > 0
        except FileNotFoundError:  # somebody emptied STATE_DIR
            return False

    def do(self, entry: Mapping[str, Any], act: Callable[[], None], *, sign: Path | None = None) -> str | None:
        """Move or write a file by `act` and log it as `entry` says, both durably. The lock is held by the caller.

        The entry has `from` (or None) and `to`, and the `sha256` of a file that is written anew where it lies.
        Where `act` raises `FileExistsError` or `FileNotFoundError` nothing was done; after any other error the next
        holder of the lock looks what was. `FileExistsError` also says that another makes this very move in this moment.

        With a `sign` the note is one more name of that file, and instead of being removed it is returned, for the
        caller to rename it before the lock is free; None where the line is too long for a name.
        """
        line = jsonl.line(entry)
        note = self._note(line, sign)
        try:
            act()
        except (FileExistsError, FileNotFoundError):
            Path(note).unlink()
            raise
        if entry["event"] != CLAIMED:
            # The target's folder is enough: a rename is one step in the file system's journal.
            atomic.sync_folder((self._layout.root / entry["to"]).parent)
        jsonl.write(self._log, line)
        if sign is not None and note.endswith(_END):
            return note
        Path(note).unlink()
        return None

    def _note(self, line: bytes, sign: Path | None) -> str:
        """Note that the move of this line is about to be made; where the note lies."""
        name = line.decode().rstrip("\n").replace("/", _SLASH)
        note = f"{self._folder}/{_MOVING}{name}"
        try:
            self._link(sign or self._folder / _BLANK, note)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            note = f"{self._folder}/{_MOVING}{_IN_CONTENT}{secrets.token_hex(8)}"
            atomic.write(Path(note), line, mode=0o600)
        if not self._is_one_disk():  # two journals keep no order between them
            atomic.sync_folder(self._folder)
        return note

    def _link(self, file: Path, note: str) -> None:
        try:
            os.link(file, note)
        except FileNotFoundError:  # the first note, or somebody emptied STATE_DIR
            self._folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._folder.mkdir(exist_ok=True, mode=0o700)
            (self._folder / _BLANK).touch(0o600)
            os.link(file, note)

    def _is_one_disk(self) -> bool:
        if self._one_disk is None and self._layout.root.exists():
            self._one_disk = self._folder.stat().st_dev == self._layout.root.stat().st_dev
        return bool(self._one_disk)

    def _finish(self) -> None:
        """Make sure of each move with a note: where it happened, its line is written and on the disk."""
        for note in sorted(self._notes()):
            try:
                entry = self._read(note)
            except (OSError, ValueError) as error:
                aside = f"{_DAMAGED}{secrets.token_hex(8)}"
                os.rename(self._folder / note, self._folder / aside)
                log.error("a note in %s is damaged (%s): set aside as %s", self._folder, error, aside)
                continue
            if any(line == entry for line in islice(jsonl.newest(self._log), _TAIL)):
                jsonl.flush(self._log)
            elif self._happened(entry):
                jsonl.append(self._log, entry)
                log.warning("%s: its process was killed before it wrote the line, logged now", entry.get("task"))
            (self._folder / note).unlink()

    def _notes(self) -> list[str]:
        try:
            return [path.name for path in self._folder.iterdir() if path.name.startswith(_MOVING)]
        except FileNotFoundError:
            return []

    def _read(self, note: str) -> dict[str, Any]:
        """The line that a note holds; raises `ValueError` or `OSError` where it is none."""
        in_content = note[1:].startswith(_IN_CONTENT)
        entry = json.loads((self._folder / note).read_bytes() if in_content else note[1:].replace(_SLASH, "/"))
        if not isinstance(entry, dict) or not isinstance(entry.get("to"), str) or stage_at(entry["to"]) is None:
            raise ValueError("it does not say what moved")
        if entry.get("from") is not None and not isinstance(entry["from"], str):
            raise ValueError("it does not say from where")
        return entry

    def _happened(self, entry: Mapping[str, Any]) -> bool:
        source, target = entry.get("from"), entry["to"]
        if source is not None and os.path.lexists(self._layout.root / source):
            return False
        path = self._layout.root / target
        if "sha256" in entry:
            return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == str(entry["sha256"])
        return os.path.lexists(path)
