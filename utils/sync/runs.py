"""The last syncs of this node, one line each in `STATE_DIR`: what became of them, for who looks at it later."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from utils.sync.values import SyncResult
from utils.vault import atomic, jsonl

#: So many lines are kept where the file has grown over this many bytes.
KEPT = 500
FULL = 1024 * 1024
#: So many paths of a run are written down; `refused` and `conflicts` of one may name thousands.
MOST_PATHS = 100
_MEMBERS = SyncResult().to_dict().keys()


class Runs:
    """The runs of one node. Only the process that syncs writes, under the sync's lock."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, result: SyncResult) -> None:
        """Write a run down. Not durably: it tells a person what was, nothing is decided by it. Raises `OSError`."""
        run = result.to_dict()
        run |= {name: run[name][:MOST_PATHS] for name in ("conflicts", "refused")}
        with self._path.open("ab") as file:
            file.write(jsonl.line(run))
            is_full = file.tell() > FULL
        if is_full:
            lines = [jsonl.line(run) for run in islice(self.recent(), KEPT)]
            atomic.write(self._path, b"".join(reversed(lines)), mode=0o600)

    def recent(self) -> Iterator[dict[str, Any]]:
        """The runs, newest first."""
        return (run for run in jsonl.newest(self._path) if run.keys() == _MEMBERS)
