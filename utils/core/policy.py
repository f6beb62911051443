"""What may be done, by whom, and what a human's move is worth. Pure decisions over values.

The ten actions are the mission document's "Draft-Only Mode"; the rules are promises S5, S7 and S10.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from utils.core.routing import CLOUD


class Mode(StrEnum):
    """`AGENT_MODE`: `full` may act after approval, `draft_only` never acts."""

    FULL = "full"
    DRAFT_ONLY = "draft_only"


@dataclass(frozen=True)
class Action:
    """One outside effect: its name and the front-matter fields it needs and takes."""

    name: str
    domain: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


ACTIONS: Mapping[str, Action] = {
    action.name: action
    for action in (
        Action("send_email", "email", ("to", "subject"), ("cc", "bcc", "attachments"), ("to", "cc", "bcc")),
        Action(
            "reply_email",
            "email",
            ("to", "subject", "in_reply_to"),
            ("cc", "bcc", "references", "thread", "attachments"),
            ("to", "cc", "bcc", "references"),
        ),
        Action(
            "forward_email",
            "email",
            ("to", "subject", "source_message"),
            ("cc", "bcc", "attachments"),
            ("to", "cc", "bcc"),
        ),
        Action("linkedin_post", "social", (), ("image", "link")),
        Action("facebook_post", "social", (), ("image", "link")),
        Action("instagram_post", "social", ("image",)),
        Action("twitter_post", "social", (), ("image",)),
        Action("whatsapp_send", "social", ("to",), ("template",)),
        Action("payment", "accounting", ("payee", "amount", "currency", "reference"), ("iban", "bic")),
        Action(
            "invoice",
            "accounting",
            ("partner", "lines", "currency", "due_date"),
            ("kind", "date", "reference", "draft_id"),
        ),
    )
}

#: Actions whose recipients are people with an e-mail address.
MAIL_ACTIONS = frozenset({"send_email", "reply_email", "forward_email"})

#: Whatever `zones.json` says, a move or `remote_approvals: trust` never approves these (S7).
ALWAYS_CONFIRMED = frozenset({"payment", "invoice"})

#: Actions of the MCP tools that don't bear their action's name.
TOOL_ACTIONS: Mapping[str, str] = {
    "post_invoice": "invoice",
    "record_expense": "invoice",
    "register_payment": "payment",
}


def tool_for(action: str, fields: Mapping[str, Any]) -> str:
    """The MCP tool that carries out a request: an invoice of the kind `expense` is a vendor's bill."""
    if action == "invoice":
        return "record_expense" if fields.get("kind") == "expense" else "post_invoice"
    return "register_payment" if action == "payment" else action


def refusal(mode: str, action: str) -> str | None:
    """Why `action` may not be executed in `mode`, or None. Anything but exactly `full` refuses; so does the unknown."""
    if action not in ACTIONS:
        return f"unknown action {action!r}: blocked"
    if mode != Mode.FULL:
        return f"{action} is blocked: this node is draft-only (AGENT_MODE={mode}); Local executes it"
    return None


#: The fields that name whom an action reaches; the first three as a mail has them.
PEOPLE = ("to", "cc", "bcc", "payee", "partner")


def recipients(fields: Mapping[str, Any], names: Collection[str] = PEOPLE) -> list[str]:
    """Whom these fields of a request name, to be shown. A list names many, anything else one, right or wrong."""
    values = [fields.get(name) for name in names]
    return [str(one) for value in values for one in (value if isinstance(value, list) else [value]) if one]


class ApproveBy(StrEnum):
    """What counts as an approval: moving the file, or only a confirmation by dashboard, API or command line."""

    MOVE = "move"
    CONFIRM = "confirm"


@dataclass(frozen=True)
class ActionPolicy:
    """`zones.json` → `actions.<name>`: how an action is approved and how long a request lives (hours)."""

    approve_by: ApproveBy
    expires_hours: float


def move_is_enough(
    action: str,
    fields: Mapping[str, Any],
    verified_sender: str | None,
    policy: ActionPolicy,
    known_recipients: Collection[str],
    dangers: Collection[str] = (),
) -> tuple[bool, str]:
    """Whether a human's move into Approved/ approves this request (S7), and the reason in plain words.

    `known_recipients` are the lower-case addresses (and telephone numbers) that an earlier receipt of ours names.
    `verified_sender` is the authenticated sender of the mail to which this is the reply, as this very node read it, and
    counts as known; what the request says of its sender does not, for a compromised cloud writes what it likes. Mail
    and WhatsApp alone; what else needs care says `approve_by: confirm` in `zones.json`. `dangers` are the words of the
    badges of that severity (`utils.core.badges`): what looks like a trick is never approved by a move.
    """
    if dangers:
        return False, look_again(dangers)
    if policy.approve_by is ApproveBy.CONFIRM:
        return False, f"{action} always needs a confirmation"
    if action in MAIL_ACTIONS:
        sender = (verified_sender or "").lower()
        recipients = [str(a) for key in ("to", "cc", "bcc") for a in fields.get(key) or []]
        new = [a for a in recipients if a.lower() != sender and a.lower() not in known_recipients]
        if new:
            return False, f"first mail to {', '.join(new)}: please confirm"
    if action == "whatsapp_send":
        to = fields.get("to")
        new = [str(one) for one in (to if isinstance(to, list) else [to]) if str(one) not in known_recipients]
        if new:
            return False, f"first message to {', '.join(new)}: please confirm"
    return True, "moved by the human"


def look_again(dangers: Collection[str]) -> str:
    """Why a request with these dangers asks for a confirmation."""
    return f"look again: {' '.join(dangers)}"


#: Folders (and whole prefixes) that the cloud may create and change in; S10. `Pending_Approval/` and `Done/` have
#: further conditions that the merge checks.
CLOUD_PREFIXES = (
    "Needs_Action/",
    "In_Progress/cloud/",
    "Plans/",
    "Pending_Approval/",
    "Updates/",
    "Signals/cloud",
    "Done/",
    "Quarantine/",
    "Logs/",
)

#: Endings of what agents read and write at known places; no folder there bears one.
_NOTES = (".md", ".json", ".jsonl")


def may_write(zone: str, path: str) -> bool:
    """Whether an agent of `zone` may create or change the vault path `path` (posix, relative). Local may anything."""
    return zone != CLOUD or path.startswith(CLOUD_PREFIXES)


@dataclass(frozen=True)
class CloudChange:
    """What an agent of the cloud did to one path of the vault, and what is needed to judge it.

    `existed`, `exists`: before and after. `created_by`: what a request's front matter said before and says after (None:
    nothing). `by_local`: whether Local ever touched this path. `came_from`: where files of this name left in the same
    changes.
    """

    path: str
    existed: bool
    exists: bool
    created_by: Collection[str | None] = ()
    by_local: bool = False
    came_from: Collection[str] = ()


def _lies_in_a_note(path: str) -> bool:
    """Whether a folder above `path` bears the name of a note or a log: it would lie where a file belongs. Kept versions
    do, for their folders bear the names of what lost."""
    folders = path.lower().split("/")[:-1]
    return not path.startswith("Updates/conflicts/") and any(name.endswith(_NOTES) for name in folders)


def cloud_refusal(change: CloudChange) -> str | None:
    """Why the cloud may not do this (S10), or None."""
    path = change.path
    if change.exists and not change.existed and _lies_in_a_note(path):
        return "the cloud may not put a folder where a note or a log belongs"
    if not may_write(CLOUD, path) or (path.rpartition("/")[2].startswith(".git") and change.existed):
        return "the cloud may not write here"
    if path.startswith("Logs/") and not (path.endswith(".jsonl") and change.exists):
        return "the cloud may only append to logs"
    if path.startswith("Quarantine/") and change.existed:
        return "the cloud may only add to the quarantine"
    if path.startswith("Pending_Approval/"):
        if change.existed and change.by_local:
            return "the cloud may not change a request that was touched on Local"
        if any(creator not in (None, CLOUD) for creator in change.created_by):
            return "the cloud may only write requests of its own"
        if not change.exists and set(change.created_by) != {CLOUD}:
            return "the cloud may only withdraw requests of its own"
    if path.startswith("Done/"):
        own = all(source.startswith(("In_Progress/cloud/", "Needs_Action/")) for source in change.came_from)
        if change.existed or not own:
            return "the cloud may only finish tasks of its own"
    return None
