"""What people hear of the zones: a line in `Logs/zones/` and an alert for each change, and a picture in `Signals/`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from utils.core.lease import By, State
from utils.ports import Clock
from utils.vault import atomic, jsonl
from utils.vault.layout import Layout

log = logging.getLogger(__name__)

#: What a change of this kind is worth, as an alert's level. The others were meant.
_LEVELS = {By.FAILOVER: "CRITICAL", By.STAND_IN: "WARNING", By.AGAIN: "WARNING"}
_LOOK_BACK = 50


class News:
    """Tells of the zones as the node of `zone` sees them. `alert(level, title, message, source=…)` tells the human."""

    def __init__(self, layout: Layout, *, zone: str, clock: Clock, alert: Callable[..., Any]) -> None:
        self._layout = layout
        self._zone = zone
        self._clock = clock
        self._alert = alert

    def change(self, entry: Mapping[str, Any], doubt: str = "") -> None:
        """A term that this node began: `at, from, to, term, reason, by, pinned`. Told twice it is written once.
        `doubt`: why that may be no good."""
        line: dict[str, Any] = {name: entry[name] for name in ("at", "from", "to", "term", "reason", "by", "pinned")}
        line |= {"written_by": self._zone}
        try:
            self._write(line)
        except OSError as error:  # no rights, a full disk: no reason to tell nobody, nor to keep the lease from anybody
            log.error("not logged in the vault (%s): %s", error, line)
        pinned = " It stays so until you switch again." if entry["pinned"] else ""
        text = f"{_moved(entry)}: {entry['reason']}. Term {entry['term']}.{pinned}" + (
            f" But {doubt}." if doubt else ""
        )
        level = _LEVELS.get(By(entry["by"]), "WARNING" if doubt else "INFO")
        self._alert(level, f"{_title(entry)} (term {entry['term']})", text, source="zones")

    def _write(self, line: dict[str, Any]) -> None:
        if not self._layout.marker.exists():
            log.error("the vault is not there (%s): not logged in it: %s", self._layout.root, line)
            return
        folder = self._layout.daily_log("zones", "").parent
        if line not in islice(jsonl.newest_of(folder), _LOOK_BACK):
            jsonl.append(self._layout.daily_log("zones", f"{self._clock.now():%Y-%m-%d}"), line)

    def warn(self, title: str, text: str) -> None:
        """Something that only a human can put right."""
        self._alert("CRITICAL", title, text, source="zones")

    def paint(self, *, active: str, state: State, term: int, since: str | None, reason: str, pinned: bool) -> None:
        """Bring the picture in `Signals/` up to date; nothing is written where it shows this already."""
        if not self._layout.marker.exists():
            return
        lines = [
            f"# The zones, seen from {self._zone}",
            "",
            f"- **{active}** is the active zone" + (f" since {since}" if since else "") + f" (term {term})",
            f"- why: {reason}",
            f"- {self._zone} is {state.value}",
        ]
        lines += ["- a person chose it: it stays so until a person switches again"] if pinned else []
        lines += ["", "A picture only: changing it changes nothing. Switch by `POST /api/zones/switch`.", ""]
        data = "\n".join(lines).encode()
        path = self._layout.signal(self._zone)
        try:
            if not path.exists() or path.read_bytes() != data:
                atomic.write(path, data)
        except OSError as error:  # a picture only: what it shows has happened all the same
            log.error("%s can't be painted: %s", path, error)


def _title(entry: Mapping[str, Any]) -> str:
    if entry["from"] != entry["to"]:
        return f"{entry['to']} is the active zone now"
    if entry["by"] != By.HUMAN:
        return f"{entry['to']} is the active zone again"
    return f"{entry['to']} stays the active zone, {'pinned' if entry['pinned'] else 'and failover may change it'}"


def _moved(entry: Mapping[str, Any]) -> str:
    if entry["from"] is None:
        return f"{entry['to']} does the work of the active zone"
    if entry["from"] == entry["to"]:
        return f"{entry['to']} goes on with the work of the active zone"
    return f"The work moved from {entry['from']} to {entry['to']}"
