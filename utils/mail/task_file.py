"""A mail as a task file, its plan and its request, and a task file as a mail again. Pure.

The task holds all that a draft needs, so that whoever finds one left over can go on without the mailbox.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from utils.core import visible
from utils.core.mail import Attachment, IncomingMail, Proposal
from utils.core.request_notes import field_notes
from utils.core.revision import revision_of
from utils.core.task import Task, format_time, parse_time, quote_block, request_id, with_draft
from utils.core.triage import TRIAGE_HEADERS, read
from utils.mail import reply
from utils.mail import text as texts

TASK_TYPE = "email_processing"
DOMAIN = "email"
MAIL_HEADING = "## Mail"
#: What a request repeats of its mail.
REQUEST_SOURCE = (
    "provider",
    "message_id",
    "from",
    "from_address",
    "reply_to",
    "subject",
    "received",
    "sender_authenticated",
)
#: Bytes of front matter that each list of a task's `source` may take, so that it always can be read again; what is left
#: out is still in the mailbox, and attachments are all named in the body.
_ROOM = {"to": 8_000, "cc": 4_000, "references": 12_000, "problems": 2_000, "attachments": 16_000}
_MAIL_SECTION = re.compile(r"^## Mail[ \t]*\n\n?((?:^>.*(?:\n|\Z))*)", re.MULTILINE)


@dataclass(frozen=True)
class StoredAttachment:
    """An attachment and where it lies (vault path), or None where it was not stored."""

    attachment: Attachment
    path: str | None
    sha256: str | None


@dataclass(frozen=True)
class Plan:
    """What we decided about a task. `outcome` is `draft`, `no_reply` or `by_hand`."""

    outcome: str
    category: str
    priority: str
    why: str
    steps: tuple[str, ...]


def task(
    mail: IncomingMail, task_id: str, stored: Sequence[StoredAttachment], *, agent: str, now: datetime
) -> tuple[dict[str, Any], str]:
    """`(front matter, body)` of the task for a mail."""
    meta = {
        "id": task_id,
        "type": TASK_TYPE,
        "domain": DOMAIN,
        "created": format_time(now),
        "created_by": agent,
        "priority": read(mail).priority,
        "source": _source(mail, stored),
    }
    lines = [
        f"# Mail: {mail.subject or '(no subject)'}",
        "",
        f"- From: {_shown(mail.from_name, mail.from_address)}",
        f"- To: {', '.join(mail.to) or '-'}",
        *([f"- Cc: {', '.join(mail.cc)}"] if mail.cc else []),
        f"- Received: {format_time(mail.received)}",
        *(f"- Attachment: {_attachment_line(item)}" for item in stored),
        *(f"- Note: {problem}" for problem in mail.problems),
        "",
        MAIL_HEADING,
        "",
        quote_block(mail.text or "(no text)"),
        "",
    ]
    return meta, "\n".join(lines)


def mail_of(task: Task) -> IncomingMail:
    """The mail that a task file tells of. A task that a person wrote by hand gives a mail without a sender."""
    source = task.source
    quoted = _MAIL_SECTION.search(task.body)
    body = re.sub(r"^> ?", "", quoted[1], flags=re.MULTILINE).strip("\n") if quoted else task.body.strip("\n")
    text, _ = texts.bounded(texts.clean("" if body == "(no text)" else body))
    shown = str(source.get("from") or "")
    verdict, headers = source.get("sender_authenticated"), source.get("headers")
    return IncomingMail(
        message_id=_string(source, "message_id"),
        account=_string(source, "account"),
        from_name=texts.one_line(shown.rpartition("<")[0].strip(), 200),
        from_address=_string(source, "from_address"),
        reply_to=_string(source, "reply_to"),
        to=_strings(source, "to"),
        cc=_strings(source, "cc"),
        subject=texts.one_line(_string(source, "subject")),
        date=_time(source.get("date")),
        received=_time(source.get("received")) or _time(task.created) or datetime(1970, 1, 1, tzinfo=UTC),
        in_reply_to=_string(source, "in_reply_to"),
        references=_strings(source, "references"),
        text=text,
        new_text=texts.new_part(text),
        attachments=tuple(
            Attachment(_string(item, "name"), _string(item, "type"), _number(item, "size"))
            for item in _list(source, "attachments")
            if isinstance(item, Mapping)
        ),
        headers={
            name: texts.one_line(str(headers[name]), 200)
            for name in TRIAGE_HEADERS
            if isinstance(headers, Mapping) and name in headers
        },
        sender_authenticated=verdict if isinstance(verdict, bool) else None,
        problems=_strings(source, "problems"),
        source_key=_string(source, "source_key"),
        provider=_string(source, "provider"),
        truncated=source.get("truncated") is True,
        size=_number(source, "size"),
    )


def plan(task_id: str, mail: IncomingMail, decided: Plan, *, agent: str, now: datetime) -> tuple[dict[str, Any], str]:
    """`(front matter, body)` of the plan of a task."""
    meta = {
        "task": task_id,
        "created": format_time(now),
        "created_by": agent,
        "outcome": decided.outcome,
        "category": str(decided.category),
        "priority": decided.priority,
    }
    subject = mail.subject or "(no subject)"
    lines = [f"# Plan: {subject}", "", f"- From: {_shown(mail.from_name, mail.from_address)}"]
    lines += [f"- Category: {decided.category}, priority: {decided.priority}", "", "## Why", "", decided.why, ""]
    lines += ["## Steps", "", *decided.steps, ""]
    return meta, "\n".join(lines)


def request(
    task: Task,
    mail: IncomingMail,
    proposal: Proposal,
    *,
    engine: str,
    expires_hours: float,
    warnings: Sequence[str],
    agent: str,
    now: datetime,
) -> tuple[dict[str, Any], str]:
    """`(front matter, body)` of the approval request with the proposed draft. `proposal.draft` must not be None;
    `warnings` are what the human should look at."""
    action = reply.action_of(mail)
    revised = revision_of(task.meta)
    if proposal.unmet:
        warnings = (f"Your instruction was not followed. {texts.one_line(proposal.unmet)}", *warnings)
    why = texts.one_line(proposal.why)
    meta = {
        "id": request_id(task.id, action, revised.number),
        "type": task.type,
        "domain": task.domain,
        "created": format_time(now),
        "created_by": agent,
        "priority": proposal.priority,
        "action": action,
        **reply.fields(mail),
        "expires": format_time((now + timedelta(hours=expires_hours)).replace(microsecond=0)),
        "risk": list(warnings),
        "why": why,
        "drafted_by": engine,
        "source_task": task.id,
        **({"supersedes": revised.request} if revised.request else {}),
        "source": {name: task.source.get(name) for name in REQUEST_SOURCE},
    }
    notes = [
        *(f"- Look: {warning}" for warning in warnings),
        f"- Why: {why}",
        *([f"- You asked: {texts.one_line(revised.instruction, 2000)}"] if revised.instruction else []),
        *([f"- The draft before: [[{revised.request}]]"] if revised.request else []),
        "",
        "## The mail",
        "",
        quote_block(mail.new_text[:4000] or "(no text)"),
        "",
    ]
    # What an engine repeats of a mail must not bring in what nobody sees.
    head, foreign = "\n".join(field_notes(meta)), _plain("\n".join(notes))
    return meta, with_draft(f"{head}\n{foreign}", visible.strip(texts.clean(proposal.draft or "")))


def _source(mail: IncomingMail, stored: Sequence[StoredAttachment]) -> dict[str, Any]:
    return {
        "provider": mail.provider,
        "account": mail.account,
        "message_id": mail.message_id,
        "thread_id": reply.thread_id(mail),
        "from": _shown(mail.from_name, mail.from_address),
        "from_address": mail.from_address,
        "to": _fitting("to", mail.to),
        "cc": _fitting("cc", mail.cc),
        "subject": mail.subject,
        "received": format_time(mail.received),
        "date": format_time(mail.date) if mail.date else None,
        "reply_to": mail.reply_to,
        "in_reply_to": mail.in_reply_to,
        "references": _fitting("references", reply.references(mail)[:-1] if mail.message_id else mail.references),
        "sender_authenticated": mail.sender_authenticated,
        "source_key": mail.source_key,
        "size": mail.size,
        "truncated": mail.truncated,
        "headers": {name: value[:200] for name, value in mail.headers.items()},
        "problems": _fitting("problems", mail.problems),
        "attachments": _fitting(
            "attachments",
            [
                {
                    "name": item.attachment.name,
                    "type": item.attachment.content_type,
                    "size": item.attachment.size,
                    "sha256": item.sha256,
                    "path": item.path,
                }
                for item in stored
            ],
        ),
    }


def _fitting(name: str, items: Sequence[Any]) -> list[Any]:
    """As many of the first items as there is room for, counted as if each character had to be escaped."""
    room, kept = _ROOM[name], []
    for item in items:
        room -= len(ascii(item)) + 8
        if room < 0:
            break
        kept.append(item)
    return kept


def _plain(notes: str) -> str:
    """Notes with foreign text in them, so that they are seen as they are: no HTML, no comments, nothing invisible."""
    notes = re.sub(r"<(?=[A-Za-z/!?])(?![\w.+-]+@)", "&lt;", visible.escape(notes))
    return re.sub(r"\[(?=![\w-]+\]-)", "&#91;", notes.replace("%%", "%&#37;"))


def _shown(name: str, address: str) -> str:
    return f"{name} <{address}>".strip() if name else address or "(no sender)"


def _attachment_line(item: StoredAttachment) -> str:
    where = f"`{item.path}`" if item.path else "not stored"
    return f"{item.attachment.name} ({item.attachment.content_type}, {item.attachment.size} bytes), {where}"


def _string(source: Mapping[str, Any], key: str) -> str:
    value = source.get(key)
    return texts.one_line(value, 2000) if isinstance(value, str) else ""


def _strings(source: Mapping[str, Any], key: str) -> tuple[str, ...]:
    return tuple(texts.one_line(item, 2000) for item in _list(source, key) if isinstance(item, str))


def _list(source: Mapping[str, Any], key: str) -> list[Any]:
    value = source.get(key)
    return value if isinstance(value, list) else []


def _number(source: Mapping[str, Any], key: str) -> int:
    value = source.get(key)
    return value if isinstance(value, int) else 0


def _time(value: object) -> datetime | None:
    try:
        return parse_time(value)
    except ValueError:
        return None
