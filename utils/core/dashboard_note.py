"""`Dashboard.md`: what the Local node writes there, and how that fits between what a person writes there. Pure.

Our part lies between two comments. All bytes outside are the person's and stay; a line that somebody wrote inside is
moved below. Whatever comes from elsewhere (subjects, names, answers of servers) is inert: it makes no link, no markup
and no line of its own (CommonMark 0.31 §2.4: a backslash before ASCII punctuation takes its meaning away).

Nothing in it depends on the time of writing, so it changes only where something happened.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from utils.core import visible
from utils.core.commands import elsewhere

#: How many entries a section lists; the rest is counted.
MOST = 20
_LONGEST = 160  # characters of foreign text, but for evidence
_EVIDENCE = 1_000
#: ASCII punctuation that means something within a line, to Markdown or to Obsidian (links, tags, comments, maths,
#: highlights, block ids, inline fields); and the dot that makes `www.` a link.
_MEANS_SOMETHING = re.compile(r"[\\`*_{}\[\]<>#!|~^$%=&:@]|(?<=www)\.", re.IGNORECASE)
_LINKABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
_MARKER = re.compile(rb"<!-- ai-employee (begin|end)\b[^\r\n]*?-->")
_LOOKS_LIKE_ONE = re.compile(rb"<!--\s*ai-employee\b", re.IGNORECASE)
_DIGEST = re.compile(rb"ai-employee begin ([0-9a-f]{16})\b")
_END = "<!-- ai-employee end -->"
_UNREADABLE = "a file that can't be read"
_ACTION = re.compile(r"[a-z]+(?:_[a-z]+)*")
_Entry = TypeVar("_Entry")


class BrokenMarkers(ValueError):
    """Our part can't be told from the person's; the text says why and what to do."""


@dataclass(frozen=True)
class Subject:
    """What an entry is about. `action` is None where the request can't be read."""

    request_id: str
    action: str | None
    to: tuple[str, ...] = ()
    title: str = ""


@dataclass(frozen=True)
class Unknown:
    """An action of which nobody knows whether it was carried out."""

    subject: Subject
    action_id: str
    began: datetime | None
    evidence: str


@dataclass(frozen=True)
class Waiting:
    """A request that waits for the human. `flags`: warnings and problems, `dangers`: what looks like a trick, in plain
    sentences."""

    subject: Subject
    created: datetime | None
    expires: datetime | None
    expired: bool
    flags: tuple[str, ...] = ()
    dangers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Approved:
    """An action that is approved and not carried out yet, why, and until when if that is known; `began`: since when it
    is being carried out."""

    subject: Subject
    action_id: str
    reason: str | None = None
    until: datetime | None = None
    began: datetime | None = None


@dataclass(frozen=True)
class Ended:
    """An action that was carried out, or failed; `words`: its receipt, or the error."""

    subject: Subject
    at: datetime
    words: str


@dataclass(frozen=True)
class Removed:
    """A request that somebody removed before it was answered, and how."""

    request_id: str
    at: datetime
    words: str


@dataclass(frozen=True)
class News:
    """A line of a note in `Updates/`, whose name is `note`."""

    note: str
    text: str


@dataclass(frozen=True)
class Overview:
    """Everything that the note shows. `stopped`: what the kill switch says; None where it is not pulled."""

    stopped: str | None = None
    brakes: tuple[str, ...] = ()
    unknown: Sequence[Unknown] = ()
    waiting: Sequence[Waiting] = ()
    snoozed: int = 0
    approved: Sequence[Approved] = ()
    failed: Sequence[Ended] = ()
    done: Sequence[Ended] = ()
    removed: Sequence[Removed] = ()
    news: Sequence[News] = ()


# Rendering


def inert(text: str, longest: int = _LONGEST) -> str:
    """Foreign text as a quotation within a line: it shows every character and means nothing."""
    line = " ".join(visible.plain(text).split()).replace("“", '"').replace("”", '"')
    if len(line) > longest:
        line = f"{line[: longest - 1].rstrip()}…"
    return f"“{_MEANS_SOMETHING.sub(_escaped, line)}”"


def render(overview: Overview) -> str:
    """Our part, with its two comments; no line break at its end."""
    blocks = [
        _brakes(overview),
        _section("Nobody knows whether these happened", overview.unknown, _unknown),
        _waiting(overview),
        _section("Approved, not carried out yet", overview.approved, _approved),
        _section("Failed in the last week", overview.failed, _ended),
        _section("Done in the last day", overview.done, _ended),
        _section("Removed unanswered in the last week", overview.removed, _removed),
        _section("News from `Updates/`", overview.news, _news),
    ]
    inside = "\n\n".join("\n".join(block) for block in blocks if block)
    return f"{_begin(_digest(inside.encode()))}\n{inside}\n{_END}"


def _begin(digest: str) -> str:
    return f"<!-- ai-employee begin {digest}: written by the Local node; what you add in here moves below it -->"


def _brakes(overview: Overview) -> list[str]:
    lines = []
    if overview.stopped is not None:
        said = f": {inert(overview.stopped)}" if overview.stopped else ""
        go = elsewhere("actions go")
        lines.append(f"- **Everything is stopped**{said}. Nothing is carried out until `{go}` on Local.")
    return [*lines, *(f"- **{text}**" for text in overview.brakes)]


def _section(title: str, entries: Sequence[_Entry], lines_of: Callable[[_Entry], list[str]]) -> list[str]:
    if not entries:
        return []
    lines = [line for entry in entries[:MOST] for line in lines_of(entry)]
    more = [f"- … and {len(entries) - MOST} more"] if len(entries) > MOST else []
    return [f"## {title} ({len(entries)})", "", *lines, *more]


def _unknown(entry: Unknown) -> list[str]:
    settle = f"actions settle {entry.action_id}"
    return [
        f"- {_subject(entry.subject)}{f' · begun {_time(entry.began)}' if entry.began else ''}",
        f"  - evidence: {inert(entry.evidence, _EVIDENCE)}",
        f"  - it happened: `{elsewhere(f'{settle} happened')}`",
        f"  - it did not, ask again: `{elsewhere(f'{settle} ask_again')}`",
    ]


def _waiting(overview: Overview) -> list[str]:
    entries = sorted(overview.waiting, key=_urgency)
    lines = _section("Waits for your word", entries, _one_waiting) or ["Nothing waits for your word."]
    return [*lines, *(["", f"Snoozed: {overview.snoozed}"] if overview.snoozed else [])]


def _urgency(entry: Waiting) -> tuple[bool, bool, bool, datetime, str]:
    """Those with a danger first, then those with another risk, of these the oldest; what is expired asks last."""
    created = entry.created or datetime.min.replace(tzinfo=UTC)
    return (entry.expired, not entry.dangers, not entry.flags, created, entry.subject.request_id)


def _one_waiting(entry: Waiting) -> list[str]:
    times = [f"since {_time(entry.created)}"] if entry.created else []
    if entry.expires is not None:
        times += [f"expired {_time(entry.expires)}" if entry.expired else f"until {_time(entry.expires)}"]
    first = " · ".join([f"- {_subject(entry.subject)}", *times])
    dangers = (f"  - **danger**: {inert(flag)}" for flag in entry.dangers)
    return [first, *dangers, *(f"  - look: {inert(flag)}" for flag in entry.flags)]


def _approved(entry: Approved) -> list[str]:
    if entry.began is not None:  # too late to take it back
        return [f"- {_subject(entry.subject)} · being carried out since {_time(entry.began, seconds=True)}"]
    until = f" until {_time(entry.until, seconds=True)}" if entry.until else ""
    reason = f" · waits{until}: {inert(entry.reason)}" if entry.reason else " · is next"
    take_back = elsewhere(f"actions cancel {entry.action_id}")
    return [f"- {_subject(entry.subject)}{reason}", f"  - take it back: `{take_back}`"]


def _ended(entry: Ended) -> list[str]:
    return [f"- {_time(entry.at)} · {_subject(entry.subject)}", f"  - {inert(entry.words)}"]


def _removed(entry: Removed) -> list[str]:
    return [f"- {_time(entry.at)} · {_link(entry.request_id)}: {inert(entry.words)}"]


def _news(entry: News) -> list[str]:
    return [f"- {_link(entry.note)}: {inert(entry.text)}"]


def _subject(subject: Subject) -> str:
    """Which request, to whom, about what. A link by name alone: it is right wherever the file is moved."""
    words = subject.action or _UNREADABLE
    is_plain = words == _UNREADABLE or _ACTION.fullmatch(words)
    name = _link(subject.request_id, words) if is_plain else f"{_link(subject.request_id)} {inert(words)}"
    people = [inert(person, 80) for person in subject.to[:3]]
    more = [f"{len(subject.to) - 3} more"] if len(subject.to) > 3 else []
    to = f" to {', '.join([*people, *more])}" if people else ""
    return f"{name}{to}{f': {inert(subject.title)}' if subject.title else ''}"


def _link(name: str, words: str = "") -> str:
    """A link to a note of the vault, shown as `words`, where its name is one that can't break the link."""
    if _LINKABLE.fullmatch(name):
        return f"[[{name}|{words}]]" if words else f"[[{name}]]"
    return f"{words} {inert(name)}".lstrip()


def _time(when: datetime, *, seconds: bool = False) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M{':%S' if seconds else ''}} UTC"


def _escaped(match: re.Match[str]) -> str:
    return f"\\{match[0]}"


# Where it stands in the note


def spliced(data: bytes, part: str) -> bytes:
    """The note with `part` in the place of our part; at its end where there is none. All else stays byte for byte.

    A line that a person wrote into our part is moved below it. Raises `BrokenMarkers`; then nothing is to be written.
    """
    _check_text(data)
    markers = list(_MARKER.finditer(data))
    if [marker[1] for marker in markers] not in ([], [b"begin", b"end"]) or len(markers) != len(
        _LOOKS_LIKE_ONE.findall(data)
    ):
        raise BrokenMarkers(
            "the comments around our part (`<!-- ai-employee begin … -->` and `<!-- ai-employee end -->`) are not there"
            " once each, in this order: remove what is left of them, and our part is made anew at the end"
        )
    if not markers:
        gap = b"" if not data else b"\n" if data.endswith(b"\n") else b"\n\n"
        return b"%b%b%b\n" % (data, gap, part.encode())
    begin, end = markers
    before, inside, after = data[: begin.start()], data[begin.end() : end.start()], data[end.end() :]
    moved = _written_by_hand(begin[0], inside, known=before + after + part.encode())
    below = b"\n\n%b%b" % (b"\n".join(moved), b"" if after[:1] in (b"\n", b"\r", b"") else b"\n") if moved else b""
    return before + part.encode() + below + after


def _check_text(data: bytes) -> None:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        raise BrokenMarkers("the note is not UTF-8: save it as UTF-8") from None


def _written_by_hand(begin: bytes, inside: bytes, *, known: bytes) -> list[bytes]:
    """The lines that somebody wrote into our part, as the digest in its first comment betrays; none of `known`."""
    digest = _DIGEST.search(begin)
    if digest is not None and digest[1].decode() == _digest(inside):
        return []
    there = {line.strip() for line in known.splitlines()}
    return [line.rstrip() for line in inside.splitlines() if line.strip() and line.strip() not in there]


def _digest(inside: bytes) -> str:
    """Of its lines, however an editor ends or separates them."""
    lines = [line.rstrip() for line in inside.splitlines() if line.strip()]
    return hashlib.sha256(b"\n".join(lines)).hexdigest()[:16]
