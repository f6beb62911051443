"""Messages by WhatsApp: who, what, and when free text is allowed. Pure.

WhatsApp Business Cloud API: within 24 hours of a person's last message to us any text may be sent, else only a template
that Meta approved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from utils.core.social import clean
from utils.core.task import ApprovalRequest, InvalidTask, format_time, parse_time

WINDOW = timedelta(hours=24)
MAX_TEXT = 4096
MAX_PARAMETERS, MAX_PARAMETER = 50, 1024
#: ITU-T E.164: a plus sign, then at most 15 digits.
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}\Z")
_NAME = re.compile(r"[a-z0-9_]{1,512}\Z")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:_[A-Z]{2})?\Z")
_PLACE = re.compile(r"\{\{\s*([0-9]+|[a-z_][a-z0-9_]*)\s*\}\}")


@dataclass(frozen=True)
class Template:
    """An approved template and what stands in its places: by number (`{{1}}`), or by name (`{{city}}`)."""

    name: str
    language: str
    parameters: tuple[str, ...] | Mapping[str, str]


@dataclass(frozen=True)
class Message:
    """What is to be sent to one number (E.164 with its plus sign). `template` None: `text` as it stands."""

    to: str
    text: str
    template: Template | None = None
    window_ends: datetime | None = None  # until when free text is allowed, as the request's source tells


def problems(request: ApprovalRequest) -> list[str]:
    """Why this request can't become a message, in plain sentences; empty where it can."""
    return _read(request)[1]


def message(request: ApprovalRequest) -> Message:
    """What the request asks to send. Raises `InvalidTask` with all that is wrong."""
    found, wrong = _read(request)
    if wrong or found is None:
        raise InvalidTask(wrong)
    return found


def closed(to: str, wrote: datetime | None, now: datetime) -> str | None:
    """Why free text can't be sent to this number, whose last message came then (None: not known); None where it can."""
    if wrote is not None and wrote + WINDOW > now:
        return None
    when = f" (it came at {format_time(wrote)}, its window closed at {format_time(wrote + WINDOW)})" if wrote else ""
    return f"the last message of {to} is more than 24 hours old{when}: WhatsApp takes only a template now"


def is_number(value: object) -> bool:
    """Whether this is one telephone number as E.164 writes it: `+43123456789`."""
    return isinstance(value, str) and _NUMBER.match(value) is not None


def fill(body: str, parameters: tuple[str, ...] | Mapping[str, str]) -> str | None:
    """A template's text with its places filled; None where places and parameters are not the same."""
    named = parameters if isinstance(parameters, Mapping) else {str(n): text for n, text in enumerate(parameters, 1)}
    if {match[1] for match in _PLACE.finditer(body)} != set(named):
        return None
    return _PLACE.sub(lambda match: named[match[1]], body)


def _read(request: ApprovalRequest) -> tuple[Message | None, list[str]]:
    found: list[str] = []
    to, text = request.fields.get("to"), clean(request.draft)
    if isinstance(to, list) and len(to) == 1:
        to = to[0]
    if not is_number(to):
        found.append("'to' must be one telephone number with its country code, in quotes: '+43123456789'")
    if not text:
        found.append("the draft is empty: it is what is sent, with a template as that will read")
    if len(text) > MAX_TEXT:
        found.append(f"the draft has {len(text)} characters; a message has at most {MAX_TEXT}")
    if "\r" in text:
        found.append("the draft holds a carriage return that is no line end: remove it, or put a line break there")
    template = _template(request.fields.get("template"), found)
    ends = _window_ends(request.source, to)
    if template is None and request.fields.get("template") is None and ends is None:
        found.append(
            "without a 'template', text may only answer a message of the last 24 hours: 'source' must name it, with its"
            " number in 'from_number' and its time in 'received'"
        )
    return (None if found else Message(str(to), text, template, ends)), found


def _template(value: Any, found: list[str]) -> Template | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or set(value) - {"name", "language", "parameters"}:
        found.append("'template' needs 'name' and 'language', takes 'parameters', and nothing else")
        return None
    name, language, parameters = value.get("name"), value.get("language"), value.get("parameters") or []
    if not isinstance(name, str) or not _NAME.match(name):
        found.append("'template': 'name' must be that of an approved template (small letters, digits, '_')")
    if not isinstance(language, str) or not _LANGUAGE.match(language):
        found.append("'template': 'language' must be its code, like en_US or de")
    if isinstance(parameters, Mapping):
        texts = [*parameters.keys(), *parameters.values()]
    else:
        texts = parameters if isinstance(parameters, list) else [None]
    if not all(isinstance(text, str) and text.strip() == text != "" and len(text) <= MAX_PARAMETER for text in texts):
        found.append("'template': 'parameters' must be texts (in quotes), a list or by their names, none of them empty")
    elif any(re.search(r"[\n\r\t]| {5}", text) for text in texts):  # error 132018
        found.append("'template': a parameter has a line break, a tab or more than four blanks, which WhatsApp refuses")
    if len(texts) > MAX_PARAMETERS:
        found.append(f"'template': more than {MAX_PARAMETERS} parameters")
    if found:
        return None
    filled = dict(parameters) if isinstance(parameters, Mapping) else tuple(texts)
    return Template(str(name), str(language), filled)


def _window_ends(source: Mapping[str, Any], to: object) -> datetime | None:
    """Until when the message that is answered allows free text; None where it is of another number, or not told."""
    if source.get("from_number") != to:
        return None
    try:
        return parse_time(source.get("received")) + WINDOW
    except (ValueError, OverflowError):
        return None
