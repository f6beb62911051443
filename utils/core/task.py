"""Values: a task, an approval request, and the ids that name them.

A task file is Markdown with YAML front matter (contract §1). Here it is a value; reading and writing the file is the
business of `utils.vault.frontmatter`.
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from utils.core import attached, visible
from utils.core.policy import ACTIONS
from utils.core.routing import TASK_TYPES
from utils.core.stages import DOMAINS

PRIORITIES = ("low", "normal", "high", "urgent")
ID_PATTERN = re.compile(
    r"^(?P<domain>email|social|accounting|general)-(?P<time>\d{8}T\d{6}Z)-(?P<key>[0-9a-f]{8,64})\Z"
)
DRAFT_HEADING = "## Draft"
#: What Markdown readers, Obsidian among them, don't show, or show as something else than the text that is sent.
_UNSHOWN = (
    (re.compile(r"</?[A-Za-z][A-Za-z0-9-]*(?=[\s/>]|\Z)|<[!?]"), "HTML or an HTML comment, which hides text"),
    (re.compile(r"%%"), "'%%', which hides text in Obsidian"),
    (re.compile(r"^[ \t>]*\[![\w-]+\]-", re.MULTILINE), "a folded callout, which hides text in Obsidian"),
)
_UNSHOWN_IN_DRAFT = (
    (re.compile(r"^[ \t>]*\[[^\]\n]+\]:", re.MULTILINE), "a link definition '[…]: …', which is not shown"),
    (re.compile(r"\]\("), "a Markdown link, of which only the words are shown: what is sent has the address too"),
    (re.compile(r"&(?:#\w{1,10}|[A-Za-z]\w{1,30});"), "an HTML entity, which is shown as another character"),
)
_DRAFT_LINE = re.compile(r"^## Draft[ \t]*(?P<newline>\r?\n|\r?\Z)", re.MULTILINE)


class InvalidTask(ValueError):
    """A task file that cannot be used. `problems` holds one plain sentence for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Task:
    """What every task file says. `meta` is the whole front matter, unknown keys included; `body` the Markdown below."""

    id: str
    type: str
    domain: str
    created: str
    created_by: str
    priority: str
    source: Mapping[str, Any]
    meta: Mapping[str, Any]
    body: str


@dataclass(frozen=True)
class ApprovalRequest(Task):
    """A task that asks a human for leave to act. `draft` is the text that would go out, verbatim.

    `doubts` says, in plain sentences, why a person may have seen something else than what would go out: a move of the
    file is then not enough to approve it.
    """

    action: str
    fields: Mapping[str, Any]
    expires: datetime
    risk: tuple[str, ...]
    why: str
    drafted_by: str
    source_task: str | None
    draft: str = field(repr=False)
    doubts: tuple[str, ...] = ()


def make_id(domain: str, when: datetime, source_key: str, digits: int = 8) -> str:
    """`<domain>-<utc yyyymmddThhmmssZ>-<hex of a stable source key>`: the same source always yields the same id."""
    if domain not in DOMAINS:
        raise ValueError(f"unknown domain {domain!r}")
    stamp = when.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{domain}-{stamp}-{hashlib.sha256(source_key.encode('utf-8', 'surrogateescape')).hexdigest()[:digits]}"


def request_id(task_id: str, action: str, revision: int = 1) -> str:
    """The id of the request that `action` needs for `task_id`; stable, so that a repeated draft is the same file."""
    domain, when = _told_by(task_id)
    return make_id(domain, when, f"request\0{task_id}\0{action}\0{revision}")


@lru_cache(maxsize=64)  # who asks, asks for all requests that a task may have
def _told_by(task_id: str) -> tuple[str, datetime]:
    """The domain and the time in a task's id. Raises `ValueError` where it is none."""
    match = ID_PATTERN.match(task_id)
    if match is None:
        raise ValueError(f"not a task id: {task_id!r}")
    return match["domain"], datetime.strptime(match["time"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def parse_time(value: object) -> datetime:
    """An ISO 8601 time as an aware UTC datetime; a time without an offset is read as UTC.

    Raises `ValueError` for all else, times beyond the years 1 to 9999 in UTC among it.
    """
    if not isinstance(value, str):
        raise ValueError(f"not a time: {_shown(value)}")
    parsed = datetime.fromisoformat(value.strip())
    try:
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"not a time: {_shown(value)}") from None


#: How a person writes one.
MOMENT = "a time with its zone, such as 2026-06-01T12:00:00Z or 2026-06-01T14:00:00+02:00"


def parse_moment(value: object) -> datetime:
    """A time that a person gives, as `parse_time`. `ValueError` also where it has no offset: nobody knows whether UTC
    or a wall clock's is meant."""
    try:
        moment = parse_time(value)
        if datetime.fromisoformat(str(value).strip()).tzinfo is not None:
            return moment
    except ValueError:
        pass
    raise ValueError(f"is {_shown(value)}; it must be {MOMENT}")


def format_time(value: datetime) -> str:
    """ISO 8601 in UTC with a `Z`, to the second unless there are microseconds."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def bare_id(named: str) -> str:
    """The id in what a person pasted for one: a file's name or path, blanks around it, in whatever case."""
    return named.strip().rpartition("/")[2].removesuffix(".md").casefold()


def quote_block(text: str) -> str:
    """Foreign text as a Markdown block quote: no line of it can start a heading, a section or front matter."""
    lines = re.split(r"\r\n|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", text)
    return "\n".join(f"> {line}".rstrip() for line in lines)


def with_draft(notes: str, draft: str) -> str:
    """A request's body: notes for the human, then the draft. The draft is always last and runs to the end of the file.

    `notes` must hold no line that reads `## Draft`; quote foreign text with `quote_block`.
    """
    if _DRAFT_LINE.search(notes):
        raise ValueError("the notes contain a '## Draft' line")
    separator = "" if not notes or notes.endswith("\n\n") else ("\n" if notes.endswith("\n") else "\n\n")
    return f"{notes}{separator}{DRAFT_HEADING}\n\n{draft}\n"


def split_draft(body: str) -> tuple[str, str | None]:
    """`(notes, draft)`; the draft is None where there is no section. Inverse of `with_draft` for any draft text."""
    match = _DRAFT_LINE.search(body)
    if match is None:
        return body, None
    newline = match["newline"] or "\n"  # of an editor that writes CRLF, our own line ends have a CR as well
    draft = re.sub(rf"\A[ \t]*{newline}", "", body[match.end() :], count=1)
    return body[: match.start()], draft.removesuffix(newline)


def draft_doubts(body: str) -> list[str]:
    """Why what a person sees of a request's body may not be the draft that is sent; a plain sentence for each reason.

    The body is shown as Markdown, and sent as it is from the first `## Draft` line on: comments and tags hide text, and
    a second line that looks like that heading makes another text look like the draft.
    """
    found = []
    text = body.replace("\r\n", "\n")
    if re.search(r"[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", text):
        found.append("The text has unusual line breaks, which are shown in one program and not in another.")
        text = re.sub(r"[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", "\n", text)
    shown = list(headings(text))
    if sum(_plain_words(heading) == "draft" for heading in shown) > 1:
        found.append("More than one heading reads 'Draft': what is sent begins at the first '## Draft'.")
    if any(visible.is_mixed(heading) for heading in shown):
        found.append("A heading mixes letters of different alphabets that only look alike.")
    found += [f"The text has {what}." for pattern, what in _UNSHOWN if pattern.search(text)]
    _, draft = split_draft(text)
    found += [f"The draft has {what}." for pattern, what in _UNSHOWN_IN_DRAFT if pattern.search(draft or "")]
    return found


def headings(text: str) -> Iterator[str]:
    """The words of each heading (CommonMark 0.31, §4.2 and §4.3), in time that grows as the text does: an expression
    that looks for the blanks at a line's end takes the square of their number."""
    lines = text.split("\n")
    underlined = False
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if underlined:  # the line is the last heading's underline
            underlined = False
            continue
        bare = _outdented(line)
        after = bare.lstrip("#")
        if 1 <= len(bare) - len(after) <= 6 and after[:1] in ("", " ", "\t"):
            yield after.strip(" \t")
        elif bare and not bare[0].isspace() and set(_outdented(below).rstrip(" \t")) in ({"="}, {"-"}):
            underlined = True
            yield bare.rstrip(" \t")


def _outdented(line: str) -> str:
    """The line without its up to three leading blanks; "" where it has more, and is code."""
    bare = line.lstrip(" ")
    return bare if len(line) - len(bare) <= 3 else ""


def _plain_words(heading: str) -> str:
    text = unicodedata.normalize("NFKC", visible.strip(html.unescape(heading)))
    return "".join(char for char in text if char.isalnum()).casefold()


def _doubts(fields: Mapping[str, Any], body: str, draft: str) -> list[str]:
    found = draft_doubts(body) + visible.flags(draft, "The draft")
    notes, _ = split_draft(body)
    # Our own notes have such characters written out; in others they can turn the order of what is read around.
    if visible.has_hidden(notes):
        found.append("The notes above the draft have invisible or direction-changing characters.")
    files = attached.named(fields)
    if files:
        names = ", ".join(map(str, files))
        found.append(f"It takes files along, named in the properties alone: {names}.")
    for name, value in fields.items():
        joined = "\n".join(_texts(value))
        found += visible.flags(joined, f"'{name}'")
        if name in ("to", "cc", "bcc"):
            found += [
                f"'{name}': the name shows another address than the one that gets it, {_shown(entry)}."
                for entry in joined.split("\n")
                if "@" in (shown := entry.rpartition("<")[0]) and entry.rpartition("<")[2].strip(" >") not in shown
            ]
    return found


def _texts(value: object) -> list[str]:
    """The texts in a field, at any depth."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return [text for item in inner for text in _texts(item)]


def task_from(meta: Mapping[str, Any], body: str, *, name: str | None = None) -> Task:
    """Validate front matter into a `Task`; raises `InvalidTask` naming every problem at once.

    `name` is the stem of its file where it lies in one: it must be the id, or its tries, its plan and its claim would
    be those of another task.
    """
    problems = _problems(meta)
    if not problems and name not in (None, meta["id"]):
        problems.append(
            f"the file is called {_shown(name)} but its property 'id' says {_shown(meta['id'])}: make both the same, "
            "and another id than any other task's"
        )
    if problems:
        raise InvalidTask(problems)
    return Task(**_common(meta, body))


def request_from(meta: Mapping[str, Any], body: str) -> ApprovalRequest:
    """Validate front matter into an `ApprovalRequest`; raises `InvalidTask` naming every problem at once."""
    problems = _problems(meta)
    action = meta.get("action")
    spec = ACTIONS.get(action) if isinstance(action, str) else None
    if spec is None:
        problems.append(f"'action' is {_shown(action)}; it must be one of {', '.join(ACTIONS)}")
    else:
        problems += [f"'{action}' needs '{name}'" for name in spec.required if meta.get(name) in (None, "", [])]
        for name in spec.addresses:
            value = meta.get(name)
            if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
                problems.append(f"'{name}' must be a list of addresses")
    try:
        expires = parse_moment(meta.get("expires"))
    except ValueError as error:
        problems.append(f"'expires' {error}")
        expires = datetime.max.replace(tzinfo=UTC)
    risk = meta.get("risk") or []
    if not (isinstance(risk, list) and all(isinstance(item, str) for item in risk)):
        problems.append("'risk' must be a list of texts")
    problems += _problems_of_texts(meta, "why", "drafted_by", "source_task")
    source_task = meta.get("source_task")
    if source_task and isinstance(source_task, str):
        task = ID_PATTERN.match(source_task)
        if task is None:
            problems.append(f"'source_task' is {_shown(source_task)}, which is no task's id")
        elif meta.get("domain") in DOMAINS and task["domain"] != meta["domain"]:  # whoever executes it finishes both
            problems.append(f"'source_task' is of the domain {task['domain']}, this request of {meta['domain']}")
    _, draft = split_draft(body)
    if draft is None:
        problems.append("the body has no '## Draft' section")
    if problems or spec is None or draft is None:
        raise InvalidTask(problems)
    fields = {name: meta[name] for name in spec.required + spec.optional if meta.get(name) is not None}
    return ApprovalRequest(
        **_common(meta, body),
        action=spec.name,
        fields=fields,
        expires=expires,
        risk=tuple(str(item) for item in risk),
        why=meta.get("why") or "",
        drafted_by=meta.get("drafted_by") or "",
        source_task=source_task or None,
        draft=draft,
        doubts=tuple(_doubts(fields, body, draft)),
    )


def _problems(meta: Mapping[str, Any]) -> list[str]:
    problems = []
    identifier = meta.get("id")
    match = ID_PATTERN.match(identifier) if isinstance(identifier, str) else None
    if match is None:
        problems.append(f"'id' is {_shown(identifier)}; it must look like email-20260101T120000Z-1a2b3c4d")
    for name, allowed in (("type", TASK_TYPES), ("domain", DOMAINS), ("priority", PRIORITIES)):
        if not isinstance(meta.get(name), str) or meta[name] not in allowed:
            problems.append(f"'{name}' is {_shown(meta.get(name))}; it must be one of {', '.join(allowed)}")
    if match is not None and meta.get("domain") in DOMAINS and match["domain"] != meta["domain"]:
        problems.append(f"'domain' is {_shown(meta['domain'])} but the id says {match['domain']!r}")
    try:
        parse_time(meta.get("created"))
    except ValueError:
        problems.append("'created' is missing or is not an ISO 8601 time")
    if not isinstance(meta.get("source") or {}, Mapping):
        problems.append("'source' must be a mapping")
    return problems + _problems_of_texts(meta, "created_by")


def _problems_of_texts(meta: Mapping[str, Any], *names: str) -> list[str]:
    return [
        f"'{name}' is not text: put it in quotes"
        for name in names
        if meta.get(name) is not None and not isinstance(meta[name], str)
    ]


def _shown(value: object) -> str:
    """A foreign value for a message: a text cut short, of anything else the kind (a number may be too long)."""
    if isinstance(value, str):
        return repr(str(value) if len(value) <= 120 else f"{value[:120]}…")
    return "missing" if value is None else f"no text but a {type(value).__name__}"


def _common(meta: Mapping[str, Any], body: str) -> dict[str, Any]:
    return {
        "id": meta["id"],
        "type": meta["type"],
        "domain": meta["domain"],
        "created": meta["created"],
        "created_by": meta.get("created_by") or "",
        "priority": meta["priority"],
        "source": meta.get("source") or {},
        "meta": meta,
        "body": body,
    }
