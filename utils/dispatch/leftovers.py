"""Work that lies in progress and that its agent will not finish, because the active zone changed: back to the start.

Local takes over what the Cloud began and left; each node hands over what it left itself and no longer does. What has a
plan or a request already is further than its agent: it stays, and whoever decides or executes the request ends it.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from utils.claim_task import Claims, Gone, TargetTaken
from utils.core.routing import LOCAL
from utils.core.stages import Stage
from utils.core.task import InvalidTask, Task, task_from
from utils.tasks.board import request_ids
from utils.vault import frontmatter
from utils.vault.frontmatter import InvalidFrontMatter
from utils.vault.layout import AGENTS, Layout

log = logging.getLogger(__name__)

_ANSWERED = (Stage.PENDING_APPROVAL, Stage.APPROVED, Stage.REJECTED, Stage.QUARANTINE)


class Zones(Protocol):
    """What is asked of the zones: who does a task type now (`local`, `cloud`, `both`), and whether this node may."""

    def resolve_zone(self, task_type: str) -> str: ...

    def runs_here(self, task_type: str) -> bool: ...


class Step(Enum):
    """What becomes of a left-over task."""

    STAY = "stays"
    TAKE_OVER = "taken over"
    HAND_OVER = "handed over"


@dataclass(frozen=True)
class Left:
    """A task in progress: by whom, whether a live process of this node works on it, whether it has a plan or request,
    whose its type is now, and whether this node may do that type at this moment."""

    agent: str
    is_worked_on: bool
    is_answered: bool
    zone: str
    runs_here: bool


def decide(left: Left, here: str) -> Step:
    """What this node does about it. The Cloud touches nothing of Local's (S10); Local acts only while it may."""
    if left.is_answered:
        return Step.STAY
    if left.agent != here:
        return Step.TAKE_OVER if here == left.zone == LOCAL and left.runs_here else Step.STAY
    return Step.HAND_OVER if left.zone not in (here, "both") and not left.is_worked_on else Step.STAY


class Leftovers:
    """Looks through what is in progress on one node, once a cycle."""

    def __init__(self, layout: Layout, claims: Claims, zones: Zones, *, agent: str) -> None:
        self._layout = layout
        self._claims = claims
        self._zones = zones
        self._agent = agent

    def run(self) -> str:
        """Put back what its agent will not finish; says how many, or nothing."""
        counts: Counter[str] = Counter()
        for agent in AGENTS:
            for path in list(self._layout.files(Stage.IN_PROGRESS, agent=agent)):
                task = _readable(path)
                step = self._decide(path, task, agent) if task is not None else Step.STAY
                if task is not None and step is not Step.STAY and self._put_back(path, task, step):
                    counts[step.value] += 1
        return ", ".join(f"{what}: {count}" for what, count in sorted(counts.items()))

    def _decide(self, path: Path, task: Task, agent: str) -> Step:
        zone, runs_here = self._zones.resolve_zone(task.type), self._zones.runs_here(task.type)
        is_worked_on, _ = self._claims.signs(task.id)
        step = decide(Left(agent, is_worked_on, False, zone, runs_here), self._agent)
        if step is not Step.STAY and self._is_answered(task):  # asked last: it looks through folders
            return Step.STAY
        return step

    def _is_answered(self, task: Task) -> bool:
        if any(plan.exists() for plan in self._layout.plans(task.domain, task.id)):
            return True
        wanted = request_ids(task.id)
        return any(path.stem in wanted for stage in _ANSWERED for path in self._layout.files(stage))

    def _put_back(self, path: Path, task: Task, step: Step) -> bool:
        zone = self._zones.resolve_zone(task.type)
        try:
            if step is Step.TAKE_OVER:
                self._claims.take_over(path, task.domain, f"{zone} does {task.type} now; cloud left it unfinished")
            else:
                self._claims.release(path, task.domain, f"{zone} does {task.type} now; it was left unfinished here")
        except (Gone, TargetTaken) as error:
            log.info("%s is not put back: %s", task.id, error)
            return False
        return True


def _readable(path: Path) -> Task | None:
    try:
        return task_from(*frontmatter.read(path.read_bytes()))
    except (OSError, InvalidFrontMatter, InvalidTask):
        return None  # not ours to judge while it is in somebody's hands
