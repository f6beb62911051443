"""What a part of this node remembers between two runs, in a small file of `STATE_DIR`; a copy of it is noticed."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from utils.vault import atomic, disk

_COPIED = 30.0  # seconds between what a file says of its writing and its change time


class Memory:
    """What a part of this node remembers, as a JSON object. Written durably; a damaged file counts as empty.

    A file that came out of a backup is noticed by its change time (stat(2)), which no copy keeps, and stays noted
    (`put_back`) until `update` takes that away; so does a person's word that the node was put back. Times are the
    disk's, for a file server has a clock of its own; and a file with several links was not copied: it is in a backup.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[str, Any]:
        """Everything remembered."""
        return self._read() or {}

    def problem(self) -> str | None:
        """Why the file can't be believed or written right now, with the remedy, or None. Writes nothing."""
        if self._read() is None:
            return f"{self._path} is damaged: the next sync makes it anew"
        return disk.trouble(self._path.parent)

    def _read(self) -> dict[str, Any] | None:
        """Everything remembered, or None where the file is damaged."""
        try:
            return _parsed(self._path.read_bytes())
        except FileNotFoundError:
            return {}

    def update(self, **values: Any) -> None:
        """Remember `values`; None forgets."""
        before = self.load()
        put_back = {"put_back": True} if self.is_put_back() else {}
        after = {key: value for key, value in {**before, **put_back, **values}.items() if value is not None}
        if after != before:
            after["written"] = self._disk_time()
            atomic.write(self._path, json.dumps(after, indent=1).encode(), mode=0o600)

    def is_put_back(self) -> bool:
        """Whether the file was copied to where it lies since it was written, and `update` did not settle that."""
        try:
            with self._path.open("rb") as file:  # one that is replaced meanwhile has no link left
                status, before = os.fstat(file.fileno()), _parsed(file.read()) or {}
        except FileNotFoundError:
            return False
        written = before.get("written")
        if before.get("put_back") or not isinstance(written, (int, float)):
            return bool(before.get("put_back"))
        return status.st_nlink == 1 and abs(status.st_ctime - written) > _COPIED

    def _disk_time(self) -> float:
        """Now, in seconds since 1970, as the disk stamps its files."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._path.parent) as file:
            return os.fstat(file.fileno()).st_ctime


def _parsed(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
