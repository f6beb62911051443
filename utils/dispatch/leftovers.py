"""Work that lies in progress and that its agent will not finish, because the active zone changed: back to the start.

Each node hands over what it left itself and no longer does; Local takes over what the Cloud left, once the zone lease
says that the Cloud is no longer at it. The Cloud touches nothing of Local's (S10). What has a plan or a request already
is further than its agent: it stays, and whoever decides or executes the request ends it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from utils.claim_task import Claims, Gone, TargetTaken
from utils.core.revision import request_ids, revision_of
from utils.core.routing import CLOUD, LOCAL
from utils.core.stages import Stage
from utils.core.task import InvalidTask, Task, task_from
from utils.vault import frontmatter
from utils.vault.frontmatter import InvalidFrontMatter
from utils.vault.layout import Layout

log = logging.getLogger(__name__)

_ANSWERED = (Stage.PENDING_APPROVAL, Stage.APPROVED, Stage.REJECTED, Stage.QUARANTINE)


class Zones(Protocol):
    """What is asked of the zones: who does a task type now (`local`, `cloud`, `both`)."""

    def resolve_zone(self, task_type: str) -> str: ...


class Leftovers:
    """Looks through what is in progress on one node, once a cycle.

    `other_stopped()`: whether the zone lease says that the other zone works no more. Without a lease nobody can know.
    """

    def __init__(
        self,
        layout: Layout,
        claims: Claims,
        zones: Zones,
        *,
        agent: str,
        other_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._layout = layout
        self._claims = claims
        self._zones = zones
        self._agent = agent
        self._other_stopped = other_stopped

    def run(self) -> str:
        """Put back what its agent will not finish; says how many, or nothing."""
        counts: Counter[str] = Counter()
        elsewhere = {LOCAL, CLOUD} - {self._agent}
        for path, task, zone in self._unanswered(self._claims.abandoned(), elsewhere):
            counts["handed over"] += self._put_back(path, task, zone, self._claims.release)
        if self._agent == LOCAL and self._other_stopped():
            lying = self._layout.files(Stage.IN_PROGRESS, agent=CLOUD)
            for path, task, zone in self._unanswered(lying, {LOCAL}):
                counts["taken over"] += self._put_back(path, task, zone, self._claims.take_over)
        return ", ".join(f"{what}: {count}" for what, count in sorted(counts.items()) if count)

    def _unanswered(self, paths: Iterable[Path], zones: Container[str]) -> Iterator[tuple[Path, Task, str]]:
        """The readable tasks of these zones, each with its zone, that have no plan and no request."""
        for path in paths:
            if self._layout.is_planned(path.stem):
                continue
            try:
                task = task_from(*frontmatter.read(path.read_bytes()), name=path.stem)
            except (OSError, InvalidFrontMatter, InvalidTask):
                continue  # not ours to judge while it is in somebody's hands
            zone = self._zones.resolve_zone(task.type)
            if zone not in zones:  # asked first: a look for its requests walks four stages
                continue
            wanted = request_ids(task.id, first=revision_of(task.meta).number)
            if not any(file.stem in wanted for stage in _ANSWERED for file in self._layout.files(stage)):
                yield path, task, zone

    def _put_back(self, path: Path, task: Task, zone: str, by: Callable[[Path, str, str], Path]) -> bool:
        try:
            by(path, task.domain, f"{zone} does {task.type} now; it was left unfinished")
        except (Gone, TargetTaken) as error:
            log.info("%s is not put back: %s", task.id, error)
            return False
        return True
