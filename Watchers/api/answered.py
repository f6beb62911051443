"""The mail that a request answers, as plain text for the human: nothing in it is markup, and nothing is invisible."""

from __future__ import annotations

from typing import Any

from utils.core import visible
from utils.core.task import InvalidTask, task_from
from utils.mail.task_file import mail_of
from utils.vault import frontmatter

_DOMAIN = "email"


def mail_in(text: str) -> dict[str, Any] | None:
    """The mail that a task file tells of (its whole text); None where it is no mail, or can't be read."""
    try:
        meta, body = frontmatter.read(text.encode("utf-8", "replace"))
        task = task_from(meta, body)
    except (frontmatter.InvalidFrontMatter, InvalidTask):
        return None
    if task.domain != _DOMAIN or "from_address" not in task.source:
        return None
    mail = mail_of(task)
    sender = f"{mail.from_name} <{mail.from_address}>" if mail.from_name else mail.from_address
    return {
        "sender": _line(sender),
        "to": [_line(one) for one in mail.to],
        "cc": [_line(one) for one in mail.cc],
        "subject": _line(mail.subject),
        "received": mail.received,
        "authenticated": mail.sender_authenticated,
        "text": visible.escape(mail.text),
        "truncated": mail.truncated,
        "attachments": [
            {"name": _line(one.name), "type": _line(one.content_type), "size": one.size} for one in mail.attachments
        ],
    }


def _line(text: str) -> str:
    return visible.plain(text)
