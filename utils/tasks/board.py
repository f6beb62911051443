"""The task board: every task of the vault with its stage and history, read from the files themselves.

There is no index on the disk to go stale. Names are remembered folder by folder, for as long as a folder stays the
same (`shelves`), which files of the claims log tell of a task likewise (`events`), and what was read of a file for as
long as that stays.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import is_not
from pathlib import Path
from typing import Any

from utils.core import visible
from utils.core.revision import request_ids
from utils.core.stages import DOMAINS, Stage
from utils.core.task import ID_PATTERN, InvalidTask, format_time, parse_time, task_from
from utils.tasks.events import ClaimEvents
from utils.tasks.shelves import Shelf, Shelves
from utils.vault import frontmatter
from utils.vault.layout import Layout

#: More of a file than this is not shown; what a person or an agent writes is far smaller.
MAX_TEXT = 1024 * 1024
#: What a line of a task's history tells; what does not apply is None.
HISTORY = ("at", "agent", "event", "from", "to", "reason", "by")
_HEAD = 10_000  # characters in which a title is looked for
_LONGEST_TITLE = 200
#: What YAML writes in one way alone: words, whole numbers, and what looks like an id.
_PLAIN = re.compile(r"[a-z]+|[0-9]+|(?=.*[a-z])[a-z0-9]+(?:-[a-z0-9]+){2,}")


class UnknownTask(LookupError):
    """No file of this id lies in any stage."""


@dataclass(frozen=True)
class Card:
    """Where a task file lies. `id` is the file name's stem; a name that is no id is a file that a person dropped."""

    id: str
    stage: Stage
    domain: str
    agent: str | None
    path: Path

    @property
    def key(self) -> tuple[str, str, str]:
        """Orders cards by the time in the id; what has none comes first, so newest first it is last."""
        match = ID_PATTERN.match(self.id)
        return (match["time"] if match else "", self.id, str(self.path))


class Board:
    """Reads the tasks of one vault."""

    def __init__(self, layout: Layout, now_ns: Callable[[], int] = time.time_ns) -> None:
        """`now_ns`: the clock of the file system's times, in nanoseconds."""
        self._layout = layout
        self._shelves = Shelves(layout, now_ns)
        self._events = ClaimEvents(layout, now_ns)
        self._twice: tuple[list[Shelf], list[str]] = ([], [])

    def cards(
        self, stage: Stage | None = None, domain: str | None = None, below: tuple[str, ...] | None = None
    ) -> Iterator[Card]:
        """Every task file, of one stage or domain if given, newest first, from below a card's key on. No file is
        opened."""
        stages = tuple(Stage) if stage is None else (stage,)
        for _, shelf, stem in self._shelves.newest(stages, domain, below):
            yield self._on(shelf, stem)

    def counts(self) -> dict[str, dict[str, int]]:
        """How many tasks there are by stage and domain, zeros included."""
        table = {stage.value: dict.fromkeys(DOMAINS, 0) for stage in Stage}
        for shelf in self._shelves.of(*Stage):
            for domain, stems in shelf.by_domain.items():
                table[shelf.stage.value][domain] += len(stems)
        return table

    def duplicates(self) -> list[str]:
        """Ids that lie in more than one place, which a sync should have made impossible."""
        shelves = self._shelves.of(*Stage)
        if len(shelves) != len(self._twice[0]) or any(map(is_not, shelves, self._twice[0])):
            seen: set[str] = set()
            twice: set[str] = set()
            for shelf in shelves:
                twice |= shelf.stems & seen
                seen |= shelf.stems
            self._twice = (shelves, sorted(filter(ID_PATTERN.match, twice)))
        # One that is moved while we look may be seen twice: look again before telling.
        return [task for task in self._twice[1] if sum(path.exists() for path in self._places(task)) > 1]

    def summary(self, card: Card) -> dict[str, Any] | None:
        """What a list shows of a task, or None where the file has moved on meanwhile. Broken files say so in
        `problems`; they are shown like all others."""
        try:
            status = card.path.stat()
            facts = facts_of(card.path, status.st_mtime_ns, status.st_size)
        except FileNotFoundError:
            return None
        return {
            "id": card.id,
            "stage": card.stage.value,
            "domain": card.domain,
            "agent": card.agent,
            "path": self._layout.relative(card.path),
            **facts,
        }

    def has_words(self, card: Card, words: Sequence[str]) -> bool:
        """Whether each of these words (casefolded) stands in a task's id, title or sender. A file whose beginning does
        not hold them is not parsed."""
        wanted = [word for word in words if word not in card.id.casefold()]
        if not wanted:
            return True
        try:
            with card.path.open("rb") as file:
                head = file.read(4 * _HEAD).decode("utf-8", "replace").casefold()
        except FileNotFoundError:
            return False
        if not all(word in head or not _PLAIN.fullmatch(word) for word in wanted):
            return False
        summary = self.summary(card)
        told = " ".join(filter(None, (summary["title"], summary["sender"]))) if summary else ""
        return all(word in told.casefold() for word in wanted)

    def detail(self, task_id: str) -> dict[str, Any]:
        """One task: its summary, its text, its plan, its history and its requests. Raises `UnknownTask`."""
        found = []
        for card in self._named(task_id):
            summary, data = self.summary(card), _read_if_there(card.path)
            if summary is not None and data is not None:
                found.append((card, summary, data))
        if not found:
            raise UnknownTask(f"there is no task {task_id}")
        card, summary, data = found[0]
        return {
            **summary,
            "also_at": [other["path"] for _, other, _ in found[1:]],
            "content": data.decode("utf-8", "replace"),
            "plan": self._plan(card),
            "requests": self._requests(task_id),
            "history": self.history(task_id),
        }

    def text(self, task_id: str) -> str | None:
        """The text of a task's file, wherever it lies, or None."""
        texts = (_read_if_there(path) for path in self._places(task_id))
        return next((data.decode("utf-8", "replace") for data in texts if data is not None), None)

    def history(self, task_id: str) -> list[dict[str, Any]]:
        """What the claims log says about a task, oldest first, as `HISTORY` names it."""
        found = list(self._events.of(task_id))
        found.reverse()
        # A sync may have put another node's lines anywhere; lines of one moment keep the order in which they lie.
        found.sort(key=lambda entry: str(entry.get("at")))
        return [{name: _text(entry.get(name)) for name in HISTORY} for entry in found]

    def claim_events(self) -> Iterator[Mapping[str, Any]]:
        """The lines of `Logs/claims.jsonl`, newest first, and then those that were rolled out of it."""
        return self._events.newest()

    def active_claims(self) -> list[dict[str, Any]]:
        """What agents work on now, newest first: `task, agent, since, path`. `since` is None where no line tells."""
        claims = [
            {
                "task": card.id,
                "agent": card.agent,
                "since": self._claimed_at(card.id),
                "path": self._layout.relative(card.path),
            }
            for card in {card.id: card for card in self.cards(Stage.IN_PROGRESS)}.values()
        ]
        return sorted(claims, key=lambda claim: (claim["since"] or "", claim["task"]), reverse=True)

    def _claimed_at(self, task_id: str) -> str | None:
        """When a task was last claimed, as its lines tell. What a person put there has none."""
        claimed = (entry for entry in self._events.of(task_id) if entry.get("event") == "claimed")
        return next((_time(entry.get("at")) for entry in claimed), None)

    def _on(self, shelf: Shelf, stem: str) -> Card:
        match = ID_PATTERN.match(stem)
        path = Path(shelf.place(stem))
        domain = match["domain"] if match else self._layout.domain_of(path) or "general"
        agent = self._layout.agent_of(path) if shelf.stage is Stage.IN_PROGRESS else None
        return Card(stem, shelf.stage, domain, agent, path)

    def _named(self, task_id: str) -> list[Card]:
        """Where files of this id lie, over all stages."""
        return [self._on(shelf, task_id) for shelf in self._shelves.of(*Stage) if task_id in shelf.stems]

    def _places(self, task_id: str) -> list[Path]:
        return [card.path for card in self._named(task_id)]

    def _plan(self, card: Card) -> str | None:
        found = (_read_if_there(place) for place in self._layout.plans(card.domain, card.id))
        return next((data.decode("utf-8", "replace") for data in found if data is not None), None)

    def _requests(self, task_id: str) -> list[dict[str, str]]:
        """The approval requests made for a task; their ids follow from its own."""
        names = frozenset(request_ids(task_id))
        shelves = self._shelves.of(*Stage)
        return [{"id": name, "stage": shelf.stage.value} for shelf in shelves for name in sorted(names & shelf.stems)]


@lru_cache(maxsize=16_384)
def facts_of(path: Path, modified: int, size: int) -> Mapping[str, Any]:
    """What the front matter of a file says, for as long as it keeps its time and size."""
    data = _read(path)
    try:
        meta, body = frontmatter.read(data)
    except frontmatter.InvalidFrontMatter as error:
        return _said({}, [str(error)], headline_of({}, data.decode("utf-8", "replace")) or path.stem)
    headline = "" if meta.get("action") else headline_of(meta, body) or path.stem
    try:
        task_from(meta, body, name=path.stem)
    except InvalidTask as error:
        return _said(meta, error.problems, headline)
    return _said(meta, [], headline)


def headline_of(meta: Mapping[str, Any], text: str) -> str:
    """What a note without a title is called: its first heading, else its first line, else the name of what was
    dropped; may be empty."""
    lines = [line.strip() for line in text[:_HEAD].splitlines() if line.strip(" \t#-*_=>")]
    heading = next((line for line in lines if line.startswith("#")), "")
    return visible.strip(heading or next(iter(lines), "")).strip(" \t#-*_=>")[:_LONGEST_TITLE] or _dropped_as(meta)


def _dropped_as(meta: Mapping[str, Any]) -> str:
    source = meta.get("source")
    name = source.get("name") if isinstance(source, Mapping) else None
    return name.rpartition(".")[0] if isinstance(name, str) else ""


def _said(meta: Mapping[str, Any], problems: Iterable[str], headline: str) -> dict[str, Any]:
    """`headline`: the title where nobody gave one."""
    source = meta.get("source")
    subject = meta.get("subject") or (source.get("subject") if isinstance(source, Mapping) else None)
    return {
        **{name: _text(meta.get(name)) for name in ("type", "priority", "created", "created_by")},
        "title": _text(meta.get("title") or subject or headline or None),
        "sender": _text(_sender(source) if isinstance(source, Mapping) else None),
        "action": _text(meta.get("action")),
        "source_task": _text(meta.get("source_task")),
        "problems": list(problems),
    }


def _sender(source: Mapping[str, Any]) -> Any:
    return source.get("from") or source.get("from_address")


def _time(value: Any) -> str | None:
    """A time that a line tells, if it is one."""
    try:
        return format_time(parse_time(value))
    except ValueError:
        return None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)[:500]


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_TEXT)


def _read_if_there(path: Path) -> bytes | None:
    try:
        return _read(path)
    except FileNotFoundError:
        return None
