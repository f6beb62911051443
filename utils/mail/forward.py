"""A mail of the vault that is forwarded: finding it, its subject, and the quoted original as it is approved."""

from __future__ import annotations

import re
from typing import Any

from utils.core import visible
from utils.core.mail import IncomingMail
from utils.core.stages import Stage
from utils.core.task import InvalidTask, Task, format_time, quote_block, task_from
from utils.mail import reply
from utils.mail import text as texts
from utils.vault import frontmatter
from utils.vault.layout import Layout

#: Where the task of a mail lies that was not refused.
STAGES = (Stage.NEEDS_ACTION, Stage.IN_PROGRESS, Stage.DONE)
_PREFIX = re.compile(r"^\s*(?:(?:fwd?|wg|tr)\s*:\s*)+", re.IGNORECASE)


def find(layout: Layout, named: str) -> list[Task]:
    """The mails of the vault with this task id or Message-ID, each as its task; files that can't be read are none."""
    found = []
    for path in (path for stage in STAGES for path in layout.files(stage)):
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # moved on meanwhile
            continue
        if not named or (path.stem != named and named.encode("utf-8", "surrogateescape") not in data):
            continue
        try:
            meta, body = frontmatter.read(data)
            task = task_from(meta, body)
        except (frontmatter.InvalidFrontMatter, InvalidTask):
            continue
        if "action" not in meta and task.domain == "email" and named in (task.id, task.source.get("message_id")):
            found.append(task)
    return found


def fields(mail: IncomingMail) -> dict[str, Any]:
    """The action's own front-matter fields, but for whom it goes to: that a person says."""
    subject = _PREFIX.sub("", texts.one_line(visible.strip(mail.subject), reply.MAX_SUBJECT - len("Fwd: ")))
    return {"subject": f"Fwd: {subject}", "source_message": mail.message_id}


def quoted(mail: IncomingMail) -> str:
    """The original as text: who wrote it, to whom and when, and each line of it quoted; nothing invisible."""
    sender = f"{mail.from_name} <{mail.from_address}>" if mail.from_name else mail.from_address
    head = [("From", sender), ("Date", format_time(mail.date or mail.received)), ("Subject", mail.subject)]
    head += [("To", ", ".join(mail.to)), ("Cc", ", ".join(mail.cc))]
    lines = [f"{label}: {texts.one_line(text)}" for label, text in head if text]
    whole = "\n".join(["Forwarded message:", "", quote_block("\n".join([*lines, "", mail.text]))])
    return visible.strip(texts.clean(whole))
