"""A new draft: the old request is superseded, and its task goes back to the drafting side with an instruction.

The task file carries the instruction, so it travels with the vault to whichever zone drafts. That a request is
superseded is durable before any file moves; what a crash cuts off after that is done by the next look.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from utils import claim_task
from utils.claim_task import Claims, Gone, TargetTaken
from utils.core.revision import MOST, number_of, own_task, revision_of
from utils.core.stages import Stage
from utils.core.task import ApprovalRequest, format_time, request_id
from utils.execution import notes, requests
from utils.execution.answer_log import AnswerLog, NewDraft
from utils.execution.answers import Invalid
from utils.execution.counts import Trying
from utils.vault import frontmatter
from utils.vault.layout import Layout

log = logging.getLogger(__name__)

_DRAFTABLE = (Stage.IN_PROGRESS, Stage.NEEDS_ACTION)


class Revisions:
    """Asks for new drafts on one node."""

    def __init__(self, layout: Layout, claims: Claims, answers: AnswerLog) -> None:
        self._layout = layout
        self._claims = claims
        self._answers = answers

    def plan(self, request: ApprovalRequest, instruction: str, *, by: str, now: datetime) -> NewDraft:
        """What asking for a new draft of `request` means. Raises `Invalid` where nobody can draft it anew."""
        task = own_task(request.id, request.source_task)
        if task is None and request.source_task is not None:
            raise Invalid(
                f"it was not made for the task that it names ({request.source_task}), so nobody can draft it anew:"
                " edit it, or reject it"
            )
        if task is None:
            raise Invalid("it was not made for a task, so nobody can draft it anew: edit it, or reject it")
        places = self._layout.find(task)
        if not any(self._layout.stage_of(path) in _DRAFTABLE for path in places):
            where = " and ".join(self._layout.relative(path) for path in places)
            lies = f"its task lies at {where}" if where else f"its task {task} is gone"
            raise Invalid(f"{lies}, so nobody can draft it anew: edit it, or move the task back to Needs_Action/")
        number = number_of(request.id, task, request.action) + 1
        if number > MOST:
            raise Invalid(f"{MOST} drafts were made already: edit this one, or reject it")
        following = request_id(task, request.action, number)
        return NewDraft(request.id, now, by, instruction, task, following, number, finished=False)

    def carry_out(self, new: NewDraft) -> None:
        """Show in the vault that a new draft was asked for. What is busy now is done by a later look."""
        try:
            for path in [path for path in self._layout.find(new.task) if self._layout.stage_of(path) in _DRAFTABLE]:
                self._send_back(path, new)
        except (FileNotFoundError, TargetTaken, claim_task.Changed, frontmatter.InvalidFrontMatter) as error:
            log.warning("the new draft of %s is not asked for yet: %s", new.task, error)
            return
        for stage in (Stage.PENDING_APPROVAL, Stage.APPROVED):
            for path in self._layout.named(new.request_id, stage):
                self.put_away(path, new)
        self._answers.finish(new.request_id)

    def carry_on(self, trying: Trying) -> None:
        """Finish what a crash cut off."""
        for new in self._answers.revisions(unfinished=True):
            with trying(new.request_id):
                self.carry_out(new)

    def put_away(self, path: Path, new: NewDraft) -> None:
        """Carry a superseded request to `Rejected/`, or aside where a copy of it lies there."""
        try:
            self._claims.move(path, Stage.REJECTED, reason=notes.superseded(new))
        except TargetTaken:
            self._claims.quarantine(path, notes.superseded(new))
        except Gone:
            log.info("%s was moved meanwhile", path.name)

    def _send_back(self, path: Path, new: NewDraft) -> None:
        """The instruction is written last: a task that has it was sent back, and may be in work again by now.

        Whoever claims it in between finds the old request, and makes none; the next look sends it back again.
        """
        try:
            meta, _ = frontmatter.read(path.read_bytes())
        except frontmatter.InvalidFrontMatter as error:
            log.warning("%s can't be sent back: %s", path.name, error)
            return
        if revision_of(meta).number >= new.number:
            return
        if self._layout.stage_of(path) is Stage.IN_PROGRESS:
            domain = path.stem.partition("-")[0]
            for plan in self._layout.plans(domain, path.stem):  # with a plan it would count as worked off
                with suppress(FileNotFoundError):
                    plan.unlink()
            path = self._claims.release(path, domain, f"a new draft is asked for: {new.instruction}")
        data = path.read_bytes()
        meta, body = frontmatter.read(data)
        meta["revision"] = {
            "number": new.number,
            "request": new.request_id,
            "instruction": new.instruction,
            "by": new.by,
            "at": format_time(new.at),
        }
        self._claims.rewrite(path, requests.sha256(data), meta, body, by=new.by)
