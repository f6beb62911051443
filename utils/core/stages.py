"""The stages of a task and the moves between them.

This file is the whole truth about what may move where. It depends on the standard library alone; folder names live in
`utils.vault.layout`, the moving itself in `utils.claim_task`.
"""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """Where a task stands. The folder it lies in *is* its stage; the file itself carries no status."""

    INBOX = "inbox"
    NEEDS_ACTION = "needs_action"
    IN_PROGRESS = "in_progress"
    PENDING_APPROVAL = "pending_approval"
    APPROVED = "approved"
    REJECTED = "rejected"
    DONE = "done"
    QUARANTINE = "quarantine"


DOMAINS = ("email", "social", "accounting", "general")

#: Stages in which a new file may appear.
ENTRY_STAGES = frozenset({Stage.NEEDS_ACTION, Stage.PENDING_APPROVAL})

#: What the program may do. A person may move anything anywhere; then the folder is simply where it lies.
TRANSITIONS: dict[Stage, frozenset[Stage]] = {
    Stage.INBOX: frozenset({Stage.NEEDS_ACTION, Stage.QUARANTINE}),
    Stage.NEEDS_ACTION: frozenset({Stage.IN_PROGRESS, Stage.QUARANTINE}),
    Stage.IN_PROGRESS: frozenset({Stage.NEEDS_ACTION, Stage.DONE, Stage.REJECTED, Stage.QUARANTINE}),
    Stage.PENDING_APPROVAL: frozenset({Stage.APPROVED, Stage.REJECTED, Stage.QUARANTINE}),
    Stage.APPROVED: frozenset({Stage.PENDING_APPROVAL, Stage.REJECTED, Stage.DONE, Stage.QUARANTINE}),
    Stage.REJECTED: frozenset({Stage.IN_PROGRESS}),  # put there with a request that was removed and is back
    Stage.DONE: frozenset(),
    Stage.QUARANTINE: frozenset(),
}


class IllegalMove(ValueError):
    """The transition table does not know this move."""


def check_move(source: Stage, target: Stage, *, by_itself: bool = False) -> None:
    """Raise `IllegalMove` unless the program may move a task from `source` to `target`.

    `by_itself`: an agent that looks for work, or the Cloud, which revive nothing that was rejected (S3).
    """
    possible = frozenset() if by_itself and source is Stage.REJECTED else TRANSITIONS[source]
    if target not in possible:
        allowed = ", ".join(sorted(possible)) or "nowhere"
        raise IllegalMove(f"a task in {source} cannot move to {target} (it may move to: {allowed})")
