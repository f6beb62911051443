"""Writing and checking `Logs/actions/`: one line for each outcome, hash-chained by writer (`utils.core.action_chain`).

What a writer wrote last is kept in `STATE_DIR`, so a line that somebody else adds to the synced log never becomes part
of the chain. A line is noted there before it is written, and its exact bytes are looked for after a crash: it is
written once, however often the process dies between the two.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from utils.core import action_chain
from utils.core.action_chain import Head, Line, Problem, Verdict
from utils.core.task import format_time, parse_time
from utils.ports import Clock
from utils.vault import atomic, jsonl, locks
from utils.vault.layout import Layout

log = logging.getLogger(__name__)


class ActionLog:
    """The action log of one vault, written in the name of `writer` (cloud or local).

    `put_back_at()`: when this node was last put back from a backup, or None: what it wrote between the backup and then
    is in the log, and its memory does not know. `alert` tells where the chain goes on from what the vault alone has.
    """

    def __init__(
        self,
        layout: Layout,
        state_dir: Path,
        clock: Clock,
        writer: str,
        *,
        put_back_at: Callable[[], datetime | None],
        alert: Callable[..., Any],
    ) -> None:
        self._layout = layout
        self._folder = layout.daily_log("actions", "any").parent
        self._memory = state_dir / "action_log.json"
        self._accepted = state_dir / "action_log_accepted.json"
        self._lock = state_dir / "locks" / "action_log.lock"
        self._clock = clock
        self._writer = writer
        self._put_back_at = put_back_at
        self._alert = alert

    def write(self, entry: Mapping[str, Any], *, again: bool = False) -> None:
        """Append a line for `entry` (`ActionRecord.to_dict()`), durably; `again` where it may lie there already."""
        with locks.hold(self._lock):
            head = self._recovered()
            if again and self._lies(entry):
                return
            chain = dict(zip(action_chain.KEYS, (self._writer, head.count + 1, head.digest), strict=True))
            data = jsonl.line({**entry, **chain}).rstrip(b"\n")
            self._remember(Head(head.count, head.digest, data))
            self._append(data)
            self._remember(Head(head.count + 1, _digest(data)))

    def verify(self) -> Verdict:
        """What is wrong with the log as it lies here, and apart from it what a person accepted. Changes nothing."""
        lines = self.lines()
        head, at = self._load()
        if head is not None and self._is_old(at):
            head = action_chain.tip(lines, self._writer, head)
        verdict = action_chain.verify(lines, {self._writer: head} if head else {})
        known = self._known()
        return replace(
            verdict,
            problems=tuple(found for found in verdict.problems if found.words not in known),
            accepted=tuple(found for found in verdict.problems if found.words in known),
        )

    def accept(self, seen: Iterable[Problem]) -> list[Problem]:
        """Remember what a person has `seen`, as far as it is wrong still: `verify` no longer tells it. Answers it."""
        with locks.hold(self._lock):
            found = set(self.verify().problems)
            looked_at = [problem for problem in seen if problem in found]
            words = [*self._known(), *(problem.words for problem in looked_at)]
            atomic.write(self._accepted, json.dumps(words, indent=1).encode(), mode=0o600)
        return looked_at

    def _known(self) -> list[str]:
        try:
            return [str(words) for words in json.loads(self._accepted.read_bytes())]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError) as error:
            log.warning("%s is damaged (%s): nothing is accepted", self._accepted, error)
            return []

    def lines(self) -> list[Line]:
        """Every line, oldest file first."""
        paths = sorted(path for path in self._folder.rglob("*.jsonl") if path.is_file())
        names = [path.relative_to(self._folder).with_suffix("").as_posix() for path in paths]
        return action_chain.lines_of((name, path.read_bytes()) for name, path in zip(names, paths, strict=True))

    # Inside

    def _recovered(self) -> Head:
        """Where the chain ends, with the line that a crash may have cut off written now."""
        head, at = self._load()
        if head is not None and head.begun is not None:
            self._append(head.begun)
            head = Head(head.count + 1, _digest(head.begun))
            self._remember(head)
        if head is not None and not self._is_old(at):
            return head
        lines = self.lines()
        found = action_chain.tip(lines, self._writer, head)
        if found is None:
            before = (line.data for line in action_chain.before_chain(lines))
            return Head(0, action_chain.first_prev(before))
        if found != head:
            self._alert(
                "WARNING",
                "The action log goes on from what the vault has",
                f"This node does not remember to have written up to number {found.count} of its chain in Logs/actions/."
                " That is right where STATE_DIR was lost or put back from a backup; else look who wrote it.",
                source="executor",
            )
        return found

    def _is_old(self, at: datetime | None) -> bool:
        """Whether the memory is from before this node was put back from a backup."""
        put_back_at = self._put_back_at()
        return put_back_at is not None and at is not None and at <= put_back_at

    def _append(self, data: bytes) -> None:
        """Write the line into the file of its day, unless it lies there."""
        path = self._layout.daily_log("actions", str(json.loads(data)["at"])[:10])
        if data not in _content(path).split(b"\n"):
            jsonl.write(path, data + b"\n")

    def _lies(self, entry: Mapping[str, Any]) -> bool:
        key = ("action_id", "state", "at")
        path = self._layout.daily_log("actions", str(entry["at"])[:10])
        return any(all(line.get(k) == entry[k] for k in key) for line in jsonl.newest(path))

    def _load(self) -> tuple[Head | None, datetime | None]:
        """What is remembered, and since when; nothing where there is no memory, or a damaged one."""
        try:
            value = json.loads(self._memory.read_bytes())
            begun = value.get("begun")
            head = Head(int(value["count"]), str(value["digest"]), begun.encode() if begun is not None else None)
            return head, parse_time(value["at"])
        except FileNotFoundError:
            return None, None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s is damaged (%s): the chain goes on from what the vault has", self._memory, error)
            return None, None

    def _remember(self, head: Head) -> None:
        begun = head.begun.decode() if head.begun is not None else None
        value = {"count": head.count, "digest": head.digest, "begun": begun, "at": format_time(self._clock.now())}
        atomic.write(self._memory, json.dumps(value).encode(), mode=0o600)


def _digest(data: bytes) -> str:
    return Line("", 0, data, 0, None).digest


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
