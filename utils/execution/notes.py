"""What the notes beside requests say to the human: why a file lies where it lies, and what to do about it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from utils.core.badges import Badge, Severity
from utils.core.brakes import Hold
from utils.core.commands import elsewhere
from utils.core.policy import MAIL_ACTIONS
from utils.core.revision import own_task
from utils.core.task import format_time, quote_block
from utils.execution.answer_log import NewDraft
from utils.execution.change import Change
from utils.execution.journal import ActionRecord
from utils.execution.requests import RequestFile

#: Why a file in `Approved/` without a record asks, where the journal was put back or lost since.
FORGOTTEN = (
    "this node's execution journal was put back from a backup, or lost, and may have forgotten that it was carried out:"
    " look whether it was (the mailbox's sent mail), and confirm it only if not"
)
_MEND = "It can't be used as it is:"
_LINE = re.compile(r"in line (\d+)")


def mend(problems: Sequence[str], kept: str | None = None) -> str:
    """For a file in `Pending_Approval/` that can't be used; `kept`: its request's id, where a version that could be is
    kept."""
    back = f" To have back what it said before: `{elsewhere(f'approve restore {kept}')}`." if kept else ""
    what = f"{_what(problems)}; this note then goes away. Nothing is sent until then."
    return f"{_MEND} {_sentences(problems)}\n\n{what}{back}"


def asks_to_mend(note: str) -> bool:
    """Whether a note is one of `mend`."""
    return f"\n\n{_MEND} " in note


def mend_and_return(problems: Sequence[str]) -> str:
    """For a file in `Quarantine/` that can't be used."""
    return f"{_sentences(problems)}\n\n{_what(problems)} and move it back to Pending_Approval/. Nothing was sent."


def confirm(file: RequestFile, doubt: str, badges: Sequence[Badge] = (), before: str = "") -> str:
    """For a file in `Approved/` whose move is no approval.

    `badges`: what to look at before a confirmation. `before`: the note in this one's place; what it says of an action
    that was begun stays where the journal has forgotten it.
    """
    more = [badge for badge in badges if badge.words not in doubt]
    is_forgotten = doubt.startswith(FORGOTTEN)
    begun = said(before) if is_forgotten and is_unknown(before) else ""
    return (
        f"{'Perhaps executed' if is_forgotten else 'Not executed yet'}: {doubt.removesuffix('.')}.\n\n"
        f"{_list(more)}{how_to_confirm(file.request_id)}: "
        f"`POST /api/approvals/{file.request_id}/approve` with "
        f'`{{"sha256": "{file.sha256}"}}`. To refuse it, move it to Rejected/.'
        + (f"\n\nThis note said before:\n\n{quote_block(begun)}" if begun else "")
    )


def said(note: str) -> str:
    """The words of a note of ours, without its heading and its last line."""
    return note.partition("\n\n")[2].rpartition("\n\n")[0]


def journal_put_back(at: datetime) -> str:
    """What the human is told once of a journal that was put back, or lost."""
    return (
        f"It was found at {format_time(at)} that it is older than what was done. What was approved before asks again,"
        " and may have been carried out since the backup: look in the mailbox's sent mail, and at Approved/, before you"
        " approve any of it."
    )


def how_to_confirm(request_id: str) -> str:
    """Where a person confirms what a move can't approve."""
    return f"To confirm it, on the Local node: `{elsewhere(f'approve approve {request_id}')}`, or by the API"


def superseded(new: NewDraft) -> str:
    """For a request in `Rejected/` that a new draft was asked for."""
    return (
        f"Superseded: {new.by} asked for a new draft at {format_time(new.at)}.\n\n"
        f"{quote_block(new.instruction)}\n\n"
        f"This one can't be approved any more; the new one will be [[{new.next}]]."
    )


def removed(names: Sequence[str], reason: str, task: str) -> str:
    """For a task in `Rejected/` whose request somebody removed before it was answered."""
    which = " and ".join(names)
    return (
        f"It waited for your answer to {which}, but {reason}: nothing was sent, and nobody drafts it anew.\n\nTo have"
        f" it drafted again, move this task back to Needs_Action/{task.partition('-')[0]}/."
    )


_TWO_PLACES = "Neither is followed: "


def two_places(problem: str) -> str:
    """For a file in `Approved/` whose request waits in `Pending_Approval/` with other words."""
    return f"{_TWO_PLACES}{problem}. The one that you leave counts; this note then goes away."


def is_two_places(note: str) -> bool:
    """Whether a note is one of `two_places`."""
    return f"\n\n{_TWO_PLACES}" in note


_LOOK = "Look before you approve"


def look(request_id: str, badges: Sequence[Badge]) -> str | None:
    """For a file in `Pending_Approval/` that a move can't approve: why; None where nothing looks like a trick."""
    if all(badge.severity is not Severity.DANGER for badge in badges):
        return None
    return f"{_LOOK}: moving this file is not enough.\n\n{_list(badges)}{how_to_confirm(request_id)}."


def is_look(note: str) -> bool:
    """Whether a note is one of `look`."""
    return f"\n\n{_LOOK}" in note


_OBSTACLES = "It can't be carried out here as things stand: "


def obstacles(why: Sequence[str]) -> str | None:
    """For a file in `Pending_Approval/` that this node could not carry out now; None where it could."""
    if not why:
        return None
    return f"{_OBSTACLES}{_sentences(why)}\n\nIf it is approved all the same, it fails and asks again."


def is_obstacles(note: str) -> bool:
    """Whether a note is one of `obstacles`."""
    return f"\n\n{_OBSTACLES}" in note


def _list(badges: Sequence[Badge]) -> str:
    lines = [f"- {badge.severity}: {badge.words}" for badge in badges]
    return "\n".join([*lines, "", ""]) if lines else ""


_SNOOZED = "Snoozed until "


def snoozed(until: datetime, expires: datetime | None) -> str:
    """For a file in `Pending_Approval/` that is hidden from the list for a while."""
    text = f"{_SNOOZED}{format_time(until)}: until then it is not listed, and then comes back by itself."
    if expires is None:
        return text
    if expires <= until:
        return f"{text} It expires before that, at {format_time(expires)}, and can't be approved after it."
    return f"{text} Its time goes on meanwhile: it expires at {format_time(expires)}."


def is_snoozed(note: str) -> bool:
    """Whether a note is one of `snoozed`."""
    return f"\n\n{_SNOOZED}" in note


def typed_elsewhere(word: str) -> str:
    """For a request that came by a sync with a decision in its properties (S7)."""
    return (
        f"It came with `decision: {word}`, which counts only where it is written on the Local node. It was taken out, "
        "and nothing was done: write it again here, or answer by API or command line."
    )


def not_decided(word: str, why: str) -> str:
    """For a decision in the properties that was taken out and not carried out."""
    return f"`decision: {word}` was not carried out: {why}"


_UNDECIDED = "Not decided yet: "
_OPEN = "may or may not have taken effect"


def incomplete(why: str) -> str:
    """For a decision in the properties that says too little."""
    return _ended(f"{_UNDECIDED}{why}")


def is_incomplete(note: str) -> bool:
    """Whether a note is one of `incomplete`."""
    return f"\n\n{_UNDECIDED}" in note


def changed(change: Change) -> str:
    """What the human changed of the draft before approving it, for the note beside the file in `Done/`; "" where
    nothing."""
    if not change:
        return ""
    lines = [f"- {name}: {_inline(before)} → {_inline(after)}" for name, (before, after) in change.fields.items()]
    text = "\n".join(["## What you changed of the draft", "", *lines])
    if change.draft is None:
        return text
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", change.diff())), default=0))
    return f"{text}{chr(10) * (2 if lines else 0)}{fence}diff\n{change.diff()}\n{fence}"


def _inline(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "(none)"
    return " ".join(str(value).split()) if value is not None else "(none)"


def held(hold: Hold, approval_ends: datetime) -> str:
    """For an approved file in `Approved/` that a brake holds back."""
    when = f" It goes on by itself at about {format_time(hold.until)}." if hold.until else ""
    if hold.until and hold.until >= approval_ends:
        when = (
            f" That holds until about {format_time(hold.until)}, but the approval ends before, at"
            f" {format_time(approval_ends)}: it will ask again, and nothing is sent."
        )
    why = hold.remedy or "The limits stand in zones.json under brakes."
    return (
        f"Approved, and not carried out yet: {hold.reason.removesuffix('.')}.{when} {why} To take the approval back,"
        " move the file to Pending_Approval/."
    )


def taken_back(said: str) -> str:
    """For a file in `Pending_Approval/` whose approval was taken back; `said`: by whom."""
    return f"The approval was {said} before anything was done. It asks again."


def dry_run(would: str) -> str:
    """For an approved file in `Approved/`, where `DRY_RUN` is set."""
    return f"Dry run: {would}. Nothing was done.\n\nWithout DRY_RUN it is carried out, as long as its approval holds."


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
    by_hand = found.provider == "human"  # who settled it knows that it happened, and the journal when it was begun
    moment = record.token_consumed_at if by_hand else record.finished_at
    at = f"{'begun' if by_hand else 'carried out'} at {format_time(moment) if moment else 'an unknown time'}"
    settled = f", settled at {format_time(record.finished_at)}" if by_hand and record.finished_at else ""
    return (
        f"{record.action} was {at}{settled}, approved by {record.approved_by}.\n\n"
        f"- Receipt: {found.id} ({found.provider}: {found.detail})\n"
        f"- Action: {record.action_id}\n"
        f"- sha256 of what was approved: {record.sha256}"
    )


def left(record: ActionRecord) -> str:
    """For a task that a person put away before its request was carried out."""
    words = f"Its request {record.request_id} was finished; this task was put away before, and stays."
    return f"{receipt(record)}\n\n{words}"


def not_its_task(request: str, task: str | None) -> str:
    """That the task which a request names is left alone; "" where it is its own, or it names none."""
    if task == own_task(request, task):
        return ""
    return f"The task {task} stays where it is: this request names it, but was not made from it."


def unknown(record: ActionRecord) -> str:
    """What a human needs to settle an action whose outcome nobody knows."""
    started = format_time(record.started_at) if record.started_at else "an unknown time"
    return (
        f"{record.action} of {record.request_id} was begun at {started} and {_OPEN}: "
        f"{record.error}\n\n"
        f"It is not tried again. {_where_to_look(record)}, then settle it on the Local node: "
        f"`{elsewhere(f'actions settle {record.action_id} happened')}` (or `ask_again`), or "
        f"POST /api/actions/{record.action_id}/settle with "
        '{"outcome": "happened"} or {"outcome": "ask_again"}.'
    )


def too_late(record: ActionRecord, what: str) -> str:
    """For a file that was taken away (`what`) while its request was carried out."""
    return f"It was {what} while it was being carried out; that was too late to stop it.\n\n{receipt(record)}"


def is_unknown(note: str) -> bool:
    """Whether a note is that of an action whose outcome nobody knew."""
    return _OPEN in note


def unsettled(record: ActionRecord) -> str:
    """Why a request can't be answered while nobody knows what became of its action."""
    return (
        f"it was begun, and nobody knows whether it took effect: {_where_to_look(record)}, then "
        f"`{elsewhere(f'actions settle {record.action_id} happened')}` (or `ask_again`)"
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
    return _ended("; ".join(problem.rstrip(".") for problem in problems))


def _ended(text: str) -> str:
    """A sentence has one mark at its end."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


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
