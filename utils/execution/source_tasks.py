"""The task that a request serves goes where its request went."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from utils.claim_task import Claims, Gone, TargetTaken
from utils.core.revision import own_task
from utils.core.stages import Stage
from utils.execution import notes
from utils.execution.counts import Trying
from utils.execution.journal import State
from utils.execution.requests import RequestFile
from utils.execution.store import ExecutionStore
from utils.ports import Clock
from utils.vault.layout import Layout, as_text, stage_at

log = logging.getLogger(__name__)

#: A file that is gone for less long may only be being exchanged, by a sync or an editor.
GONE = timedelta(seconds=10)

#: Where the files of requests lie, by their ids: paths in the vault.
_Places = Mapping[str, Sequence[str]]


class SourceTasks:
    """Moves the tasks of one node's requests."""

    def __init__(
        self, layout: Layout, claims: Claims, store: ExecutionStore, *, clock: Clock, alert: Callable[..., Any]
    ) -> None:
        self._layout = layout
        self._claims = claims
        self._store = store
        self._clock = clock
        self._alert = alert
        self._gone: dict[str, datetime] = {}  # task → since when no request of it lies anywhere

    def follow_ends(self, trying: Trying) -> None:
        """A request that a person moved to `Rejected/` takes its task along, and so does one that was carried out: its
        task may have been elsewhere then."""
        rejected: set[str] | None = None
        for path in list(self._layout.files(Stage.IN_PROGRESS)):
            names = self._of(path.stem, self._store.requests_of(path.stem))
            if not names:
                continue
            done = next((live for live in map(self._store.live, names) if live and live.state is State.DONE), None)
            if done is not None and done.filed:
                with trying(path.stem):
                    self._finish(path, notes.receipt(done))
                continue
            if rejected is None:
                rejected = self._names(Stage.REJECTED) - self._names(Stage.PENDING_APPROVAL, Stage.APPROVED)
            if rejected.issuperset(names):
                with trying(path.stem):
                    self.reject(path.stem, "Its request was moved to Rejected/")

    def _finish(self, path: Path, receipt: str) -> None:
        try:
            self._claims.move(path, Stage.DONE, reason=receipt)
        except Gone:
            log.info("%s was moved meanwhile", path.name)
        except TargetTaken:
            self._claims.quarantine(path, f"{receipt}\n\nDone/ holds a file of this name already: delete one of them.")

    def follow_removals(self, waiting: Collection[str], trying: Trying) -> datetime | None:
        """A request that somebody deleted unanswered, or put elsewhere, takes its task along: else that would lie in
        progress for ever. Answers when to look again, where a file is gone for a moment only; else None.

        `waiting`: the ids of all that waits. Its task goes to `Rejected/`: a request that a person removed stays away
        (`utils.mail.intake`), so it is no work to be done again, and without a receipt nothing is done (S9).
        """
        if not self._layout.folder(Stage.PENDING_APPROVAL).is_dir():  # that is nobody's word about a request
            return None
        if removals := self._store.removals():  # a crash cut it off, or it is back
            places = self._places({name for name, _ in removals if name not in waiting})
            for name, task in removals:
                with trying(name):
                    if name not in waiting:
                        self._follow_away(task, [name], places)
                    self._store.shown_removed(name)
        now = self._clock.now()
        away = self._away()
        lying = self._names(Stage.PENDING_APPROVAL, Stage.APPROVED) if away else set()  # what can't be read lies there
        gone = {task: names for task, names in away.items() if lying.union(waiting).isdisjoint(names)}
        self._gone = {task: self._gone.get(task, now) for task in gone}
        told: list[str] = []
        due = [task for task, since in self._gone.items() if now - since >= GONE]
        places = self._places({name for task in due for name in gone[task]})
        for task in due:
            with trying(task):
                told += self._remove(task, gone[task], places)
        if told:
            title = f"{len(told)} request{'s were' if len(told) > 1 else ' was'} removed unanswered"
            self._alert("INFO", title, "\n".join(told), source="approvals")
        return min((since + GONE for since in self._gone.values() if since + GONE > now), default=None)

    def _away(self) -> dict[str, list[str]]:
        """The tasks in progress with the requests that were seen to wait for an answer, and got none."""
        found = {}
        for path in self._layout.files(Stage.IN_PROGRESS):
            names = self._of(path.stem, self._store.waited(path.stem))
            if names and all(self._store.live(name) is None for name in names):
                found[path.stem] = names
        return found

    def _remove(self, task: str, names: list[str], places: _Places) -> list[str]:
        """The answer is noted first, and what the vault then shows is noted last. Says what is news."""
        reason = _reason(names, places)
        told = [f"- {name}: {reason}" for name in names if self._store.removed(name, reason)]
        self._follow_away(task, names, places)
        for name in names:
            self._store.shown_removed(name)
        return told

    def _follow_away(self, task: str, names: list[str], places: _Places) -> None:
        found = {stage_at(place) for name in names for place in places.get(name, ())}
        stages = found - {None}
        reason = _reason(names, places)
        for path in self._layout.named(task, Stage.IN_PROGRESS):
            try:
                if not stages:
                    self._claims.move(path, Stage.REJECTED, reason=notes.removed(names, reason, task))
                else:
                    self._go_along(path, stages, f"It waited for a request that nobody answered, but {reason}.")
            except (Gone, TargetTaken) as error:
                log.warning("the task of a removed request stays where it is: %s", error)

    def take_back(self, file: RequestFile) -> None:
        """A request that was found removed waits again, seen for the first time since: so does its task.

        Only then: who puts the task away while the request waits means it, whatever comes into that later (S3).
        """
        newest = next(iter(self._store.answers.recent(1, request=file.request_id)), None)
        task = own_task(file.request_id, file.request.source_task if file.request else None)
        if newest is None or newest.answer != "removed" or task is None:
            return
        if file.request_id in self._store.waited(task):
            return
        for path in self._layout.named(task, Stage.REJECTED):
            try:
                self._claims.move(path, Stage.IN_PROGRESS, reason=f"Its request {file.request_id} is back, and waits.")
            except (Gone, TargetTaken) as error:
                log.warning("the task of %s stays where it is: %s", file.request_id, error)

    def _places(self, names: Collection[str]) -> _Places:
        """Where in the whole vault the files of these requests lie. Raises `OSError` where a stage can't be read."""
        found: dict[str, list[str]] = {}
        if not names:
            return found
        files = {f"{name}.md": name for name in names}
        for folder, subfolders, there in os.walk(self._layout.root, onerror=self._refuse):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for file in files.keys() & set(there):
                found.setdefault(files[file], []).append(self._layout.relative(f"{folder}/{file}"))
        return found

    def _refuse(self, error: OSError) -> None:
        """A folder outside the stages is a person's own: it may be one that we can't read."""
        is_gone = isinstance(error, FileNotFoundError | NotADirectoryError)
        if not is_gone and stage_at(f"{self._layout.relative(error.filename)}/") is not None:
            raise error

    def _of(self, task: str, names: Collection[str]) -> list[str]:
        """Those of these requests that were made from the task, and are not superseded."""
        return [name for name in names if own_task(name, task) and self._store.answers.superseded(name) is None]

    def _names(self, *stages: Stage) -> set[str]:
        return {path.stem for stage in stages for path in self._layout.files(stage, misnamed=True)}

    def reject(self, task_id: str, reason: str) -> None:
        """Carry a task in progress to `Rejected/`."""
        for path in self._layout.named(task_id, Stage.IN_PROGRESS):
            try:
                self._claims.move(path, Stage.REJECTED, reason=reason)
            except (Gone, TargetTaken) as error:
                log.warning("the task of a rejected request stays where it is: %s", error)

    def follow(self, task: str | None, stages: set[Stage | None], reason: str) -> None:
        """To where its approved request went; without a request it is work to be done again: it was wanted."""
        for path in self._layout.named(task, Stage.IN_PROGRESS):
            words = f"It waited for a request that was approved, but {reason}."
            try:
                if not stages:
                    self._claims.release(path, path.stem.partition("-")[0], words)
                else:
                    self._go_along(path, stages, words)
            except (Gone, TargetTaken) as error:
                log.warning("the task of %s stays where it is: %s", path.stem, error)

    def _go_along(self, path: Path, stages: set[Stage | None], words: str) -> None:
        if stages <= {Stage.REJECTED, Stage.DONE}:
            self._claims.move(path, Stage.REJECTED if Stage.REJECTED in stages else Stage.DONE, reason=words)
        else:
            self._claims.explain(path, f"{words} Move it back to Pending_Approval/ to have it asked again.")


def _reason(names: list[str], places: _Places) -> str:
    """Where the files of a task's requests went, as the second half of a sentence."""
    where = " and ".join(as_text(place) for place in sorted(place for name in names for place in places.get(name, ())))
    return f"its file was moved to {where}" if where else "its file was removed"
