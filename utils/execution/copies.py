"""A request that lies in two places, as a copy by hand leaves it (S4).

The same bytes in `Approved/`: that is the human's move, and the copy that waits is taken away. Other bytes: nobody
knows which of the two is meant, so neither is followed; both stay, it is listed once, and what to do is told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from utils.claim_task import Changed, Claims, Gone
from utils.core.stages import Stage
from utils.execution import notes, requests
from utils.execution.counts import Trying
from utils.execution.requests import RequestFile
from utils.execution.soon import Soon
from utils.execution.source_tasks import GONE
from utils.ports import Clock
from utils.vault.layout import Layout

log = logging.getLogger(__name__)


def grouped(files: Iterable[RequestFile]) -> dict[str, list[RequestFile]]:
    """The files of each request, in their order."""
    found: dict[str, list[RequestFile]] = {}
    for file in files:
        found.setdefault(file.request_id, []).append(file)
    return found


def standing(files: Sequence[RequestFile]) -> RequestFile:
    """The one that is listed for all files of a request: where all are the same, the human's move; else what waits."""
    if len({file.sha256 for file in files}) == 1:
        return next((file for file in files if file.stage is Stage.APPROVED), files[0])
    return files[0]


def problems(layout: Layout, files: Sequence[RequestFile]) -> list[str]:
    """Why none of these files of one request can be answered; empty where there is one, or the copy goes away."""
    waiting = [file for file in files if file.stage is Stage.PENDING_APPROVAL]
    if len(files) == 1 or (len(waiting) == len(files) - 1 == 1 and len({file.sha256 for file in files}) == 1):
        return []
    places = " and ".join(layout.relative(file.path) for file in files)
    same = "" if len({file.sha256 for file in files}) == 1 else ", with different words"
    return [f"it lies in {'two' if len(files) == 2 else len(files)} places{same}, {places}: remove all but one"]


def _is_newer(waiting: Iterable[RequestFile], moved: RequestFile) -> bool:
    """Whether one of `waiting` with the bytes of `moved` came to its place after it (`st_ctime`: a move sets it)."""
    try:
        came = moved.path.stat().st_ctime_ns
        return any(file.path.stat().st_ctime_ns > came for file in waiting if file.sha256 == moved.sha256)
    except OSError:
        return False  # one is gone, or can't be looked at: whoever settles them finds out


class Copies:
    """Settles the copies of one node."""

    def __init__(self, layout: Layout, claims: Claims, *, clock: Clock, alert: Callable[..., Any], soon: Soon) -> None:
        self._layout = layout
        self._claims = claims
        self._clock = clock
        self._alert = alert
        self._soon = soon
        self._newer: dict[str, datetime] = {}  # request → since when a copy that came later waits

    def settled(self, files: Sequence[RequestFile]) -> list[RequestFile]:
        """The files of one request without what waits in the very bytes that lie in `Approved/` too."""
        moved = {file.sha256: file for file in files if file.stage is Stage.APPROVED}
        kept = []
        for file in files:
            stands = moved.get(file.sha256) if file.stage is Stage.PENDING_APPROVAL else None
            if stands is None or not self._take_away(file, stands):
                kept.append(file)
        return kept

    def follow(self, waiting: Sequence[RequestFile], moved: Sequence[RequestFile], trying: Trying) -> list[RequestFile]:
        """Settle all; answers those of `moved` (what lies in `Approved/` unanswered) that may be judged.

        A waiting copy that came after the file in `Approved/` may be a person taking that back, as a sync client or a
        move across disks does it: the copy is made, then the original goes. So the two have `GONE` to become one.
        """
        others: Mapping[str, list[RequestFile]] = grouped(waiting)
        judged = []
        now = self._clock.now()
        newer = {file.request_id for file in moved if _is_newer(others.get(file.request_id, ()), file)}
        self._newer = {name: self._newer.get(name, now) for name in newer}
        for file in moved:
            with trying(file.path.name):
                if file.request_id in newer and now - self._newer[file.request_id] < GONE:
                    self._soon.ask(self._newer[file.request_id] + GONE)
                    continue
                left = self.settled([*others.get(file.request_id, ()), file])
                left = [one for one in left if one is file or one.path.exists()]  # else it was moved while we looked
                if len(left) == 1:
                    self._forget(file)
                    judged.append(file)
                elif wrong := problems(self._layout, left):
                    self._tell(wrong, file)
        return judged

    def _take_away(self, file: RequestFile, stands: RequestFile) -> bool:
        try:
            self._claims.remove_copy(file.path, stands.path, file.sha256)
        except (Changed, Gone) as error:
            log.info("the copy %s stays: %s", file.path.name, error)
            return False
        return True

    def _tell(self, wrong: Sequence[str], file: RequestFile) -> None:
        """A file that is only being copied must not be called another version, so it has a moment to become whole."""
        if not requests.is_settled(file.path, self._clock.now(), soon=self._soon):
            return
        wanted = notes.two_places("; ".join(wrong))
        if wanted not in (requests.note(self._layout, file.path) or ""):
            self._claims.explain(file.path, wanted)
            self._alert("INFO", f"{file.request_id} lies in two places", wanted, source="approvals")

    def _forget(self, file: RequestFile) -> None:
        if notes.is_two_places(requests.note(self._layout, file.path) or ""):
            self._claims.explain(file.path, None)
