"""The task that a request serves goes where its request went."""

from __future__ import annotations

import logging

from utils.claim_task import Claims, Gone, TargetTaken
from utils.core.revision import own_task
from utils.core.stages import Stage
from utils.execution.counts import Trying
from utils.execution.store import ExecutionStore
from utils.vault.layout import Layout

log = logging.getLogger(__name__)


class SourceTasks:
    """Moves the tasks of one node's requests."""

    def __init__(self, layout: Layout, claims: Claims, store: ExecutionStore) -> None:
        self._layout = layout
        self._claims = claims
        self._store = store

    def follow_rejections(self, trying: Trying) -> None:
        """A request that a person moved to `Rejected/` takes its task along."""
        rejected: set[str] | None = None
        for path in list(self._layout.files(Stage.IN_PROGRESS)):
            names = [
                name
                for name in self._store.requests_of(path.stem)
                if own_task(name, path.stem) and self._store.answers.superseded(name) is None
            ]
            if not names:
                continue
            if rejected is None:
                rejected = self._names(Stage.REJECTED) - self._names(Stage.PENDING_APPROVAL, Stage.APPROVED)
            if rejected.issuperset(names):
                with trying(path.stem):
                    self.reject(path.stem, "Its request was moved to Rejected/")

    def _names(self, *stages: Stage) -> set[str]:
        return {path.stem for stage in stages for path in self._layout.files(stage)}

    def reject(self, task_id: str, reason: str) -> None:
        """Carry a task in progress to `Rejected/`."""
        for path in self._layout.named(task_id, Stage.IN_PROGRESS):
            try:
                self._claims.move(path, Stage.REJECTED, reason=reason)
            except (Gone, TargetTaken) as error:
                log.warning("the task of a rejected request stays where it is: %s", error)

    def follow(self, task: str | None, stages: set[Stage | None], reason: str) -> None:
        """To where its request went; without a request it is work to be done again."""
        for path in self._layout.named(task, Stage.IN_PROGRESS):
            words = f"It waited for a request that was approved, but {reason}."
            domain = path.stem.partition("-")[0]
            try:
                if not stages:
                    self._claims.release(path, domain, words)
                elif stages <= {Stage.REJECTED, Stage.DONE}:
                    self._claims.move(path, Stage.REJECTED if Stage.REJECTED in stages else Stage.DONE, reason=words)
                else:
                    self._claims.explain(path, f"{words} Move it back to Pending_Approval/ to have it asked again.")
            except (Gone, TargetTaken) as error:
                log.warning("the task of %s stays where it is: %s", path.stem, error)
