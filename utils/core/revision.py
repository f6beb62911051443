"""A task that goes back for a new draft: what its front matter says of that, so that it travels with the vault. Pure.

revision:
  number: 2
  request: email-20260601T120000Z-1a2b3c4d
  instruction: offer ten percent
  by: human (API)
  at: 2026-06-01T12:00:00Z
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from utils.core.policy import ACTIONS
from utils.core.task import ID_PATTERN, request_id

#: Drafts of one task; after that the human is quicker.
MOST = 9


@dataclass(frozen=True)
class Revision:
    """Which draft of a task is due. The first one has no earlier request and no instruction."""

    number: int = 1
    request: str = ""  # the earlier request
    instruction: str = ""


def revision_of(meta: Mapping[str, Any]) -> Revision:
    """What a task's front matter asks for; what can't be meant is the first draft."""
    said = meta.get("revision")
    if not isinstance(said, Mapping):
        return Revision()
    number, request, instruction = (said.get(name) for name in ("number", "request", "instruction"))
    is_number = isinstance(number, int) and not isinstance(number, bool) and 1 < number <= MOST
    if not is_number or not isinstance(instruction, str) or not instruction.strip():
        return Revision()
    known = isinstance(request, str) and ID_PATTERN.match(request) is not None
    return Revision(int(number), str(request) if known else "", instruction)  # type: ignore[arg-type]


def number_of(request: str, task: str, action: str) -> int:
    """Which draft of the task a request is, by its id alone; 1 for one that a person wrote."""
    return next((n for n in range(1, MOST + 1) if request_id(task, action, n) == request), 1)


def request_ids(task_id: str, *, first: int = 1) -> frozenset[str]:
    """The ids that requests made for a task have, from its `first` draft on."""
    try:
        return frozenset(request_id(task_id, action, number) for action in ACTIONS for number in range(first, MOST + 1))
    except ValueError:  # a time that no calendar has: nobody made a request for it
        return frozenset()


def own_task(request: str, task: str | None) -> str | None:
    """The task that a request may finish: the one it names (`source_task`), where its id was made from that task's.

    A request may be written by anybody, and name any task: no answer to it moves another one.
    """
    return task if task is not None and request in request_ids(task) else None
