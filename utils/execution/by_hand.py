"""A request that a person writes: its fields from words of a command line, its front matter and its body. Pure.

What is right is said elsewhere (`requests.parse`, and the hand that would carry it out): nothing is judged twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from utils.core.policy import ACTIONS, MAIL_ACTIONS
from utils.core.request_notes import field_notes, recipient_flags
from utils.core.task import format_time, make_id, with_draft

#: The task type of an action's request; all others are posts.
_TYPES = {
    **dict.fromkeys(MAIL_ACTIONS, "email_processing"),
    "whatsapp_send": "whatsapp",
    "invoice": "accounting",
    "payment": "payments",
}
#: What a request may say besides its action's own fields.
_COMMON = ("priority", "why", "source")
_LISTS = frozenset({"cc", "bcc", "references", "attachments", "lines"})
_STRUCTURED = frozenset({"attachments", "lines", "image", "template", "source"})
#: Actions that send no text; a request has the section `## Draft` all the same.
WITHOUT_TEXT = frozenset({"invoice", "payment"})
#: What may stand in the place of a field that is missing, so that the others are judged all the same.
PLAUSIBLE: Mapping[str, Any] = {
    "to": ["ann@example.org"],
    **dict.fromkeys(("in_reply_to", "source_message"), "<1@example.org>"),
    **dict.fromkeys(("subject", "payee", "partner", "reference"), "x"),
    "amount": "1.00",
    "currency": "EUR",
    "lines": [{"description": "x", "price": "1.00"}],
    "due_date": "2100-01-01",
}
_NO_TEXT = "Nothing of this section is sent: what is booked stands in the properties."


def fields_of(action: str, words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """`(fields, problems)` of `name=value` words. A name that comes again makes a list, where the field is one.

    `lines`, `image`, `template`, `source` and `attachments` are YAML, as `{name: hello, language: de}`; whatever
    stands in it is text, so that an amount stays exact.
    """
    known = (*ACTIONS[action].required, *ACTIONS[action].optional, *_COMMON)
    found: dict[str, Any] = {}
    problems = []
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in known:
            problems.append(f"{word!r} is no field of {action}: write NAME=VALUE, with one of {', '.join(known)}")
            continue
        try:
            value = _value(name, text)
        except ValueError as error:
            problems.append(str(error))
            continue
        if name in _LISTS or (name == "to" and action in MAIL_ACTIONS):
            found.setdefault(name, []).extend(value if isinstance(value, list) else [value])
        elif name in found:
            problems.append(f"'{name}' is given twice")
        else:
            found[name] = value
    return found, problems


def _value(name: str, text: str) -> Any:
    """Raises `ValueError` with a sentence."""
    if name == "draft_id":
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text
    if name not in _STRUCTURED:
        return text
    try:
        value = YAML(typ="base", pure=True).load(text)
    except (YAMLError, RecursionError) as error:
        raise ValueError(f"'{name}' can't be read as YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(value, dict | list):
        raise ValueError(f"'{name}' must look like {{name: value, …}}, not {text!r}")
    return value


def request(
    action: str, fields: Mapping[str, Any], draft: str | None, *, by: str, now: datetime, expires_hours: float
) -> tuple[dict[str, Any], str]:
    """`(front matter, body)` of the request. `draft` None: no text, as a payment has none.

    The same in the same second is the same request: it has the same id.
    """
    text = (_NO_TEXT if action in WITHOUT_TEXT else "") if draft is None else draft
    now = now.replace(microsecond=0)
    domain = ACTIONS[action].domain
    source = fields.get("source") or {}
    meta = {
        "id": make_id(domain, now, repr((action, sorted(fields.items()), text))),
        "type": _TYPES.get(action, "social_media"),
        "domain": domain,
        "created": format_time(now),
        "created_by": by,
        "priority": "normal",
        "action": action,
        "expires": format_time(now + timedelta(hours=expires_hours)),
        "risk": recipient_flags(fields, source) if action == "reply_email" and isinstance(source, Mapping) else [],
        "why": "",
        "drafted_by": "human",
        **fields,
    }
    notes = "\n".join(field_notes(meta)) if action == "reply_email" else f"# {action}, written by hand"
    return meta, with_draft(f"{notes}\n", text)
