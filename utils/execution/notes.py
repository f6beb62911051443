"""What the notes beside requests say to the human: why a file lies where it lies, and what to do about it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from utils.core.brakes import Hold
from utils.core.policy import MAIL_ACTIONS
from utils.core.task import format_time
from utils.execution.journal import ActionRecord
from utils.execution.requests import RequestFile

_MEND = "It can't be used as it is:"
_LINE = re.compile(r"in line (\d+)")


def mend(problems: Sequence[str]) -> str:
    """For a file in `Pending_Approval/` that can't be used."""
    return f"{_MEND} {_sentences(problems)}\n\n{_what(problems)}; this note then goes away. Nothing is sent until then."


def asks_to_mend(note: str) -> bool:
    """Whether a note is one of `mend`."""
    return f"\n\n{_MEND} " in note


def mend_and_return(problems: Sequence[str]) -> str:
    """For a file in `Quarantine/` that can't be used."""
    return f"{_sentences(problems)}\n\n{_what(problems)} and move it back to Pending_Approval/. Nothing was sent."


def confirm(file: RequestFile, doubt: str) -> str:
    """For a file in `Approved/` whose move is no approval."""
    return (
        f"Not executed yet: {doubt}.\n\n"
        f"To confirm it, on the Local node: `POST /api/approvals/{file.request_id}/approve` with "
        f'`{{"sha256": "{file.sha256}"}}`. To refuse it, move it to Rejected/.'
    )


def held(hold: Hold) -> str:
    """For an approved file in `Approved/` that a brake holds back."""
    when = f" It goes on by itself at about {format_time(hold.until)}." if hold.until else ""
    return (
        f"Approved, and not carried out yet: {hold.reason}.{when} The limits stand in zones.json under brakes. To take"
        " the approval back, move the file to Pending_Approval/."
    )


def twice(reason: str) -> str:
    """For a file in `Quarantine/` that was to ask again, but a file of its name asks already."""
    return (
        f"{reason}\n\nA file of the same name lies in Pending_Approval/ already. Keep one of the two: delete this one, "
        "or delete that one and move this one there."
    )


def replayed(record: ActionRecord, *, same: bool) -> str:
    """For a file in `Quarantine/` whose request was executed before; `same`: with exactly these bytes."""
    what = (
        "It is a copy: delete it." if same else "Its words are not those that were sent, so it does not belong there."
    )
    return f"{_before(record)}\n\n{what} To send something else, write a new request with an id of its own."


def returned(record: ActionRecord) -> str:
    """For a finished request that was moved out of `Done/` and went back there."""
    return f"{receipt(record)}\n\nIt was moved to be sent again and came back here. {_before(record)}"


def receipt(record: ActionRecord) -> str:
    """The receipt of a finished action, for the note beside its file in `Done/`."""
    found = record.receipt
    assert found is not None  # the store takes no `done` without one
    finished = format_time(record.finished_at) if record.finished_at else "an unknown time"
    return (
        f"{record.action} was carried out at {finished}, approved by {record.approved_by}.\n\n"
        f"- Receipt: {found.id} ({found.provider}: {found.detail})\n"
        f"- Action: {record.action_id}\n"
        f"- sha256 of what was approved: {record.sha256}"
    )


def unknown(record: ActionRecord) -> str:
    """What a human needs to settle an action whose outcome nobody knows."""
    started = format_time(record.started_at) if record.started_at else "an unknown time"
    return (
        f"{record.action} of {record.request_id} was begun at {started} and may or may not have taken effect: "
        f"{record.error}\n\n"
        f"It is not tried again. {_where_to_look(record)}, then settle it: "
        f"POST /api/actions/{record.action_id}/settle with "
        '{"outcome": "happened"} or {"outcome": "ask_again"}.'
    )


def _where_to_look(record: ActionRecord) -> str:
    reference = record.reference or "(none)"
    if record.action in MAIL_ACTIONS:
        return f"Look for the mail with Message-ID {reference} in the Sent folder or ask the recipient"
    ready = f" (it had made ready {record.prepared})" if record.prepared else ""
    return f"Look there for our reference {reference}{ready}"


def _before(record: ActionRecord) -> str:
    found = f" (receipt {record.receipt.id})" if record.receipt else ""
    return f"It was executed before{found}. Nothing was sent again."


def _sentences(problems: Sequence[str]) -> str:
    return "; ".join(problem.rstrip(".") for problem in problems) + "."


def _what(problems: Sequence[str]) -> str:
    lines = list(dict.fromkeys(number for problem in problems for number in _LINE.findall(problem)))
    return f"Mend line {lines[0]}" if len(lines) == 1 else "Mend that in the file"


def edited_too_late(record: ActionRecord) -> str:
    """Why a file that was edited while its approved version was being sent is set aside."""
    return (
        "It was edited after it was approved, while the approved version was being carried out (action "
        f"{record.action_id}). What was sent lies in Done/; this edit was not sent. Compare the two, then delete this "
        "one, or write a new request for what it adds."
    )
