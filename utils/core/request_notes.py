"""What the file of a mail request says above its draft about recipients and subject. Pure.

Made from the request's fields and from nothing else, and by nobody else: so an edit can make these lines anew, and
whatever disagrees with the fields can be told. What the human reads must be what is sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_HEADING = "# Reply to "
_OWN = re.compile(r"- (?P<label>To|Cc|Bcc|Subject):")
_LOOK = "- Look: "
_UNVERIFIED = "Sender not verified: our mail server did not say whether the address is genuine."
_FORGED = "Sender not genuine: our mail server's check of"
_RECIPIENT_FLAG = re.compile(
    r"(?:Goes to .+, who (?:is|are) not the sender of the mail it answers"
    r"|The answer goes to .+ \(Reply-To\), not to the sender .+)\.\Z"
)
_BARE = re.compile(r"<([^<>]*)>\s*\Z")


def reply_to_flag(reply_to: str, sender: str) -> str:
    """The warning that a mail wants its answer elsewhere."""
    return f"The answer goes to {reply_to} (Reply-To), not to the sender {sender}."


def recipient_flags(fields: Mapping[str, Any], source: Mapping[str, Any]) -> list[str]:
    """Plain-language flags for recipients other than the sender of the answered mail (`source`, none: no flags)."""
    sender, reply_to = (str(source.get(name) or "") for name in ("from_address", "reply_to"))
    if not sender and not fields.get("in_reply_to"):
        return []
    shown = {bare(entry): entry for name in ("to", "cc", "bcc") for entry in _entries(fields, name)}
    strangers = [
        " ".join(entry.split()) for address, entry in shown.items() if address not in (sender.lower(), reply_to.lower())
    ]
    elsewhere = reply_to.lower() != sender.lower() and reply_to.lower() in shown
    found = [reply_to_flag(reply_to, sender)] if elsewhere else []
    if strangers:
        verb = "is" if len(strangers) == 1 else "are"
        found.append(f"Goes to {', '.join(strangers)}, who {verb} not the sender of the mail it answers.")
    return found


def is_recipient_flag(text: str) -> bool:
    """Whether a stored flag is one of `recipient_flags`, which are worth nothing once the fields have changed."""
    return _RECIPIENT_FLAG.match(text) is not None


def sender_flag(address: str, genuine: bool | None) -> str | None:
    """The warning about who wrote a mail; None where our mail server vouches for them."""
    if genuine is None:
        return _UNVERIFIED
    return None if genuine else f"{_FORGED} {address} failed; it may be forged."


def is_sender_flag(text: str) -> bool:
    """Whether a stored flag is one of `sender_flag`: a node that read the mail itself says it by a badge."""
    return text == _UNVERIFIED or text.startswith(_FORGED)


def no_address_flag(stand_in: str) -> str:
    """The warning that we have no address to send from."""
    return f"Goes out from {stand_in}: set MAIL_FROM."


def field_notes(meta: Mapping[str, Any]) -> list[str]:
    """The heading, an empty line, and one line for each field that says what is sent to whom."""
    source = _source(meta)
    sender = str(source.get("from_address") or "").lower()
    people = [
        str(source["from"]) if source.get("from") and bare(entry) == sender else entry for entry in _entries(meta, "to")
    ]
    return [_one_line(f"{_HEADING}{', '.join(people) or '(nobody)'}"), "", *_own_lines(meta)]


def with_field_notes(notes: str, meta: Mapping[str, Any]) -> str:
    """`notes` with the lines of `field_notes` and the flags of the recipients made anew; a person's lines stay."""
    lines = notes.split("\n")
    start, end = _section(lines)
    if start is None:
        return notes
    line_end = "\r" if lines[start].endswith("\r") else ""
    own = _own_positions(lines, start, end)
    rest = [
        (at, line) for at, line in enumerate(lines) if start < at < end and at not in own and not _is_our_look(line)
    ]
    before = [line for at, line in rest if not own or at < own[0]]
    after = [line for at, line in rest if own and at > own[0]]
    looks = [f"{_LOOK}{flag}" for flag in recipient_flags(meta, _source(meta))]
    made = [f"{line}{line_end}" for line in (*_own_lines(meta), *looks)] if own else []
    heading = f"{field_notes(meta)[0]}{line_end}"
    return "\n".join([*lines[:start], heading, *before, *made, *after, *lines[end:]])


def notes_disagree(notes: str, meta: Mapping[str, Any]) -> bool:
    """Whether the lines about recipients and subject say something else than the fields do (an edit by hand)."""
    lines = notes.split("\n")
    start, end = _section(lines)
    own = _own_positions(lines, start, end) if start is not None else []
    return bool(own) and [_one_line(lines[at]) for at in own] != _own_lines(meta)


def _own_lines(meta: Mapping[str, Any]) -> list[str]:
    people = [(label, ", ".join(_entries(meta, label.lower()))) for label in ("To", "Cc", "Bcc")]
    lines = [f"- {label}: {entries}" for label, entries in people if entries or label == "To"]
    return [_one_line(line) for line in (*lines, f"- Subject: {meta.get('subject') or ''}")]


def _section(lines: list[str]) -> tuple[int | None, int]:
    """Where our heading stands, and where the next section begins. Foreign text is quoted, so it can't be either."""
    start = next((at for at, line in enumerate(lines) if line.startswith(_HEADING)), None)
    after = range(start + 1, len(lines)) if start is not None else range(0)
    return start, next((at for at in after if lines[at].startswith("## ")), len(lines))


def _own_positions(lines: list[str], start: int, end: int) -> list[int]:
    """The first line of each label; a second one is a person's."""
    first: dict[str, int] = {}
    for at in range(start + 1, end):
        match = _OWN.match(lines[at])
        if match is not None:
            first.setdefault(match["label"], at)
    return sorted(first.values())


def _is_our_look(line: str) -> bool:
    return line.startswith(_LOOK) and is_recipient_flag(line.removeprefix(_LOOK).rstrip())


def _source(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    source = meta.get("source")
    return source if isinstance(source, Mapping) else {}


def _entries(fields: Mapping[str, Any], name: str) -> list[str]:
    value = fields.get(name)
    return [str(entry) for entry in value] if isinstance(value, list) else []


def bare(entry: str) -> str:
    """The address of one recipient, `Ann <ann@example.org>` or the bare address, in small letters."""
    match = _BARE.search(entry)
    return (match[1] if match else entry).strip().lower()


def _one_line(text: str) -> str:
    return " ".join(text.split())
