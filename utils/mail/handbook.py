"""What the company handbook says about replies."""

from __future__ import annotations

import re
from pathlib import Path

from utils.core.mail import ReplyRules

HANDBOOK = "Company_Handbook.md"
_LARGEST = 256 * 1024
_HEADING = re.compile(r"^##[ \t]+(.+?)[ \t]*#*$", re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)


def reply_rules(vault: Path, *, our_address: str, our_name: str) -> ReplyRules:
    """The rules of `Company_Handbook.md`: its sections `## Signature` and `## Replies`, without comments.

    A missing or unreadable handbook, or one without the sections, means a plain signature and no guidance.
    """
    try:
        with (vault / HANDBOOK).open("rb") as file:
            text = file.read(_LARGEST).decode("utf-8", "replace")
    except OSError:
        text = ""
    sections = _sections(text)
    signature = sections.get("signature") or our_name
    return ReplyRules(our_address, our_name, signature, sections.get("replies", ""))


def _sections(text: str) -> dict[str, str]:
    """Level-two sections by lower-case title."""
    parts = _HEADING.split(_COMMENT.sub("", text.replace("\r\n", "\n")))
    return {title.strip().lower(): body.strip() for title, body in zip(parts[1::2], parts[2::2], strict=True)}
