"""What an answer of the human can meet: the request as it is shown, and why an answer can't be taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from utils.core.badges import Badge
from utils.core.policy import MAIL_ACTIONS
from utils.core.remote_approval import PassedOn
from utils.core.request_notes import is_recipient_flag, notes_disagree, recipient_flags
from utils.core.stages import Stage
from utils.core.task import ApprovalRequest, split_draft
from utils.execution.answer_log import NewDraft

_DISAGREE = "The notes in the file name other recipients or another subject than will be sent: go by the fields."


class ApprovalError(Exception):
    """An answer that can't be taken; the text says why and what to do."""


class NotFound(ApprovalError):
    """No such request waits here."""


class NotHere(ApprovalError):
    """This node is draft-only: approvals are given on Local."""


class Changed(ApprovalError):
    """The file is not the one that was shown. `sha256` is that of what lies there now."""

    def __init__(self, sha256: str) -> None:
        super().__init__("the request was changed since it was shown: look at it again")
        self.sha256 = sha256


class Expired(ApprovalError):
    """The request is too old to be approved."""


class Invalid(ApprovalError):
    """The request can't be used as it is. `problems` has one plain sentence for each thing that is wrong."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


class BadEdit(Invalid):
    """The edit itself makes no request that could be sent; nothing was written."""


class BadAnswer(Invalid):
    """The answer itself makes no sense, such as a pause that is over already; nothing was done."""


class Superseded(ApprovalError):
    """A new draft was asked for: this one can't be approved any more. `next` is the id that the new one has."""

    def __init__(self, new: NewDraft) -> None:
        super().__init__(
            f"a new draft was asked for by {new.by} ({new.instruction}): this one can't be approved any more; the new"
            f" one is {new.next}"
        )
        self.next = new.next


class AlreadyActed(Invalid):
    """The request was approved and is being executed, or has been."""


@dataclass(frozen=True)
class Pending:
    """One request as the human sees it. `text` is the file's content, `sha256` that of its bytes."""

    request_id: str
    path: str  # in the vault
    stage: Stage
    text: str = field(repr=False)
    sha256: str
    request: ApprovalRequest | None  # None: can't be parsed; `problems` says why
    needs_confirmation: bool  # lies in Approved/, but nobody here approved it
    expires: datetime | None
    expired: bool
    reason: str | None  # from the note beside the file, else what becomes of `passed_on`
    problems: tuple[str, ...]
    expires_in: int | None = None  # whole seconds
    warning: str | None = None  # that it expires soon, or when it comes back
    snoozed_until: datetime | None = None
    superseded: NewDraft | None = None
    passed_on: PassedOn | None = None
    badges: tuple[Badge, ...] = ()
    outdated: tuple[str, ...] = ()  # flags in the file that are not so any more, or that a badge of ours says

    @property
    def state(self) -> str:
        """`waiting`, `snoozed` or `superseded`."""
        if self.superseded is not None:
            return "superseded"
        return "waiting" if self.snoozed_until is None else "snoozed"

    @property
    def risk(self) -> tuple[str, ...]:
        """Plain-language flags: those that the request brought, and those that its fields earn as they are now."""
        request = self.request
        if request is None:
            return ()
        found = list(request.doubts)
        if request.action in MAIL_ACTIONS:
            found += recipient_flags(request.fields, request.source)
            found += [_DISAGREE] if notes_disagree(split_draft(request.body)[0], request.meta) else []
        # Who gets it is said anew each time: a stored flag would be wrong after an edit.
        stored = (flag for flag in request.risk if not is_recipient_flag(flag) and flag not in self.outdated)
        return tuple(dict.fromkeys([*found, *stored]))
