"""Decisions that the local human writes into a request's properties, in Obsidian or any editor.

A word counts only where it was written on this node: what a sync brought is taken out again and nothing is done (S7).
A decision is taken out of its file before it is carried out, so no file asks for the same thing twice: whatever becomes
of it, the request waits as it was before, with a note that says why. An approval is worth what a move is worth.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from utils import claim_task
from utils.claim_task import Claims, Gone
from utils.core import decision
from utils.core.decision import Decision, Incomplete, Word
from utils.core.task import ApprovalRequest, parse_time
from utils.execution import notes, requests
from utils.execution.answers import ApprovalError, NotFound
from utils.execution.counts import Trying
from utils.execution.requests import RequestFile
from utils.execution.soon import Soon
from utils.execution.store import ExecutionStore
from utils.ports import Clock
from utils.vault import frontmatter
from utils.vault.layout import Layout

log = logging.getLogger(__name__)

BY = "local human"
VIA = "property"
#: A text may still be in the making while its file was written less long ago (seconds) than this.
TYPING_SECONDS = 10.0
_EDITED = "it was edited in the same moment. Read it as it is now, then write the decision again"
_USED = "these very words were approved before, and came back: see the note that was here, and decide anew"


class Answers(Protocol):
    """What a decision is carried out by: `utils.execution.approvals.Approvals`."""

    def approve(self, request_id: str, sha256: str, *, by: str, via: str) -> Any: ...
    def reject(self, request_id: str, reason: str, *, by: str, sha256: str | None, via: str) -> None: ...
    def revise(self, request_id: str, instruction: str, *, by: str, sha256: str | None, via: str) -> Any: ...
    def snooze(self, request_id: str, until: datetime, *, by: str, sha256: str | None, via: str) -> Any: ...


class Decisions:
    """Finds decisions in files and has them carried out.

    `known_to_git(path, data)`: whether these bytes came by a sync, or went with one. `in_git(path)`: what git has at
    that path, None where that can't be told. `why_not_enough(request)`: why a move would not approve it, or None.
    """

    def __init__(
        self,
        layout: Layout,
        claims: Claims,
        store: ExecutionStore,
        answers: Answers,
        *,
        clock: Clock,
        soon: Soon,
        known_to_git: Callable[[str, bytes], bool],
        in_git: Callable[[str], list[bytes] | None],
        why_not_enough: Callable[[ApprovalRequest], str | None],
    ) -> None:
        self._layout = layout
        self._claims = claims
        self._store = store
        self._answers = answers
        self._clock = clock
        self._soon = soon
        self._known_to_git = known_to_git
        self._in_git = in_git
        self._why_not_enough = why_not_enough

    def follow(self, files: Iterable[RequestFile], trying: Trying) -> None:
        """Carry out what is decided in these files of `Pending_Approval/`, and what a crash cut off."""
        files = list(files)
        self._carry_on(files, trying)
        for file in files:
            with trying(file.path.name):
                if file.request is not None:
                    self._look(file, file.request)
                elif (word := _word_in(file.data)) is not None:  # it would count as soon as somebody mends the file
                    self._look_at_unusable(file, word)

    def _look(self, file: RequestFile, request: ApprovalRequest) -> None:
        word = decision.written(request.meta)
        if word is None:
            if self._store.answers.typed_here(file.request_id) - {""}:
                self._store.answers.dealt_with(file.request_id)
            if notes.is_incomplete(self._note(file)):
                self._claims.explain(file.path, None)
            return
        try:
            self._judge(file, request, word)
        except (Gone, claim_task.Changed) as error:
            log.info("a decision about %s is looked at again: %s", file.request_id, error)
        except frontmatter.InvalidFrontMatter as error:  # it can be read, and not be written anew without the decision
            self._say(file, notes.not_decided(word, f"{error} when it is written anew. Take the decision out by hand."))

    def _look_at_unusable(self, file: RequestFile, word: str) -> None:
        try:
            if not self._is_typed_here(file, word):
                self._take_out(file, notes.typed_elsewhere(word))
        except (Gone, claim_task.Changed, frontmatter.InvalidFrontMatter) as error:
            log.info("a decision about %s is looked at again: %s", file.request_id, error)

    def _judge(self, file: RequestFile, request: ApprovalRequest, word: str) -> None:
        if not self._is_typed_here(file, word):
            self._take_out(file, notes.typed_elsewhere(word))
            return
        try:
            decided = decision.decision_of(request.meta)
        except Incomplete as error:
            self._say(file, notes.incomplete(str(error)))
            return
        if decided is None or (decided.said and not self._rests(file, TYPING_SECONDS)):
            return
        doubt = self._doubt(file, request) if decided.word is Word.APPROVE else None
        if doubt is not None:
            self._take_out(file, notes.not_decided(word, doubt))
            return
        meta, body = frontmatter.read(file.data)
        bare = requests.sha256(frontmatter.write(decision.without(meta), body))
        self._store.answers.take(file.request_id, bare, decided)
        self._claims.rewrite(file.path, file.sha256, meta, body, by=BY)
        self._carry_out(file, bare, decided)

    def _is_typed_here(self, file: RequestFile, word: str) -> bool:
        """Whether the local human wrote this word: asked once, for a sync makes it known to git."""
        answers, path = self._store.answers, self._layout.relative(file.path)
        typed = answers.typed_here(file.request_id)
        if word in typed:
            return True
        plain = any(_word_in(data) is None for data in answers.versions(file.request_id))
        if not plain or self._known_to_git(path, file.data):
            return False
        # An editor may have written anew what a sync has just brought: then git has a word there, and it is not ours.
        known = [] if typed else self._in_git(path)
        if known is None or any(_word_in(data) is not None for data in known):
            return False
        answers.type_here(file.request_id, word)
        return True

    def _doubt(self, file: RequestFile, request: ApprovalRequest) -> str | None:
        """Why an approval that was written here is not enough, or None."""
        if self._store.was_approved(file.request_id, file.sha256):
            return _USED
        wanted = _content(file.data)
        seen = self._store.answers.versions(file.request_id)
        if not any(_word_in(data) is None and _content(data) == wanted for data in seen):
            return _EDITED
        why = self._why_not_enough(request)
        return f"{why}. {notes.how_to_confirm(file.request_id)}." if why else None

    def _carry_on(self, files: list[RequestFile], trying: Trying) -> None:
        waiting = {file.request_id: file for file in files}
        for request_id, (bare, decided) in self._store.answers.taken().items():
            file = waiting.get(request_id)
            with trying(request_id):
                if file is not None and file.sha256 == bare:
                    self._carry_out(file, bare, decided)
                elif file is None or _word_in(file.data) is None:  # moved or edited since: that is the newer word
                    self._store.answers.dealt_with(request_id)

    def _carry_out(self, file: RequestFile, sha256: str, decided: Decision) -> None:
        try:
            match decided.word:
                case Word.APPROVE:
                    self._answers.approve(file.request_id, sha256, by=BY, via=VIA)
                case Word.REJECT:
                    self._answers.reject(file.request_id, decided.said, by=BY, sha256=sha256, via=VIA)
                case Word.REVISE:
                    self._answers.revise(file.request_id, decided.said, by=BY, sha256=sha256, via=VIA)
                case Word.SNOOZE:
                    until = parse_time(decided.said)
                    self._answers.snooze(file.request_id, until, by=BY, sha256=sha256, via=VIA)
        except NotFound as error:  # another process of this node was first
            log.info("%s of %s: %s", decided.word, file.request_id, error)
        except ApprovalError as error:
            log.info("%s of %s: %s", decided.word, file.request_id, error)
            self._claims.explain(file.path, notes.not_decided(decided.word, str(error)))
        self._store.answers.dealt_with(file.request_id)

    def _take_out(self, file: RequestFile, note: str) -> None:
        meta, body = frontmatter.read(file.data)
        data = self._claims.rewrite(file.path, file.sha256, decision.without(meta), body, by="approval watcher")
        self._store.answers.saw(file.request_id, requests.sha256(data), data)
        self._claims.explain(file.path, note)
        self._store.answers.dealt_with(file.request_id)

    def _say(self, file: RequestFile, note: str) -> None:
        if note not in self._note(file) and self._rests(file, requests.SETTLE_SECONDS):
            self._claims.explain(file.path, note)

    def _rests(self, file: RequestFile, seconds: float) -> bool:
        """Whether nobody wrote it for so long; else it is looked at again when that is so."""
        return requests.is_settled(file.path, self._clock.now(), seconds, self._soon)

    def _note(self, file: RequestFile) -> str:
        return requests.note(self._layout, file.path) or ""


def _word_in(data: bytes) -> str | None:
    try:
        return decision.written(frontmatter.read(data)[0])
    except frontmatter.InvalidFrontMatter:
        return None


def _content(data: bytes) -> tuple[Mapping[str, Any], str]:
    """What a request says, however its properties are spelled and without a decision."""
    meta, body = frontmatter.read(data)
    return dict(decision.without(meta)), body.replace("\r\n", "\n")
