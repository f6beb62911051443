"""A node's vault and state after a year: 100,000 tasks and 1,000,000 log lines, as files and without git's history.

Shapes and sizes are those of `benchmarks.life`; the same call makes the same vault.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks import life
from utils.bootstrap import Services
from utils.core.archive import LOG_KEPT, filed
from utils.core.stages import Stage
from utils.execution import by_hand
from utils.vault import frontmatter

WAITING = 20
OPEN = 50  # in Needs_Action/ and in In_Progress/, each
_CLAIMS_A_TASK = 7
_HEALTH_DAYS = 30
_SERVICES = ("api", "dashboard", "odoo")
_RECENT = timedelta(days=7)
_TEXT = "Hello,\n\ncould you send us your offer by Friday?\n\nKind regards\nAnn"


def fill(node: Services, *, tasks: int, lines: int, now: datetime) -> str:
    """Fill the vault of a node that is set up; the id of a task in its middle. `lines`: of all logs together."""
    pause = timedelta(days=365) / tasks
    moments = [now.replace(microsecond=0) - pause * number for number in range(tasks, 0, -1)]
    logs = _Logs(node)
    for number, came in enumerate(moments):
        at = datetime(*came.timetuple()[:6])
        task, _ = life.names(at)
        _write(node.layout.root / _place(task, came, now, tasks - number), life._task(task, at, _TEXT))
        logs.task(task, came)
    logs.actions(moments)
    logs.health(now)
    logs.alerts(lines, moments)
    logs.write()
    _requests(node, now)
    _copies(node)
    return life.names(datetime(*moments[tasks // 2].timetuple()[:6]))[0]


def _place(task: str, came: datetime, now: datetime, from_the_end: int) -> str:
    if from_the_end <= OPEN:
        return f"Needs_Action/email/{task}.md"
    if from_the_end <= 2 * OPEN:
        return f"In_Progress/cloud/{task}.md"
    done = f"Done/{task}.md"
    return done if now - came < _RECENT else filed(done) or done


class _Logs:
    """The lines of a year, by file."""

    def __init__(self, node: Services) -> None:
        self._node = node
        self._days: dict[tuple[str, str], list[bytes]] = defaultdict(list)
        self._claims: list[bytes] = []
        self.count = 0

    def task(self, task: str, came: datetime) -> None:
        for number in range(_CLAIMS_A_TASK):
            event = ("created", "claimed", "created", "approved", "done", "done", "done")[number]
            at = came + timedelta(seconds=number)
            entry = {"at": _stamp(at), "agent": "cloud", "event": event, "task": task}
            self._add("claims", at, entry | {"from": f"Needs_Action/email/{task}.md", "to": f"Done/{task}.md"})

    def actions(self, moments: list[datetime]) -> None:
        rows = []
        for came in moments:
            at = datetime(*came.timetuple()[:6])
            task, request = life.names(at)
            line = life._action(task, request, at)
            self._days["actions", f"{came:%Y-%m-%d}"].append(line)
            self.count += 1
            one = json.loads(line)
            rows.append(
                (
                    one["action_id"],
                    request,
                    "reply_email",
                    one["sha256"],
                    b"",
                    task,
                    _stamp(came),
                    "human",
                    "api",
                    _stamp(came),
                    "done",
                    1,
                    one["reference"],
                    json.dumps(one["receipt"]),
                    _stamp(came),
                )
            )
        names = (
            "action_id, request_id, action, sha256, frozen, source_task, approved_at, approved_by, via, expires_at,"
            " state, attempts, reference, receipt, finished_at, placed, filed"
        )
        self._node.store.counts()  # makes the tables
        with sqlite3.connect(self._node.settings.state_dir / "execution.sqlite3") as db:
            db.executemany(f"INSERT INTO actions ({names}) VALUES ({', '.join('?' * 15)}, 1, 1)", rows)

    def health(self, now: datetime) -> None:
        for minute in range(_HEALTH_DAYS * 24 * 60, 0, -1):
            at = now - timedelta(minutes=minute)
            seen = {name: {"status": "healthy", "latency_ms": 12.5 + minute % 7} for name in _SERVICES}
            self._add("health", at, {"at": _stamp(at), "services": seen})

    def alerts(self, lines: int, moments: list[datetime]) -> None:
        rows, number = [], 0
        while self.count < lines:
            at = moments[number % len(moments)]
            entry = {"id": f"{number:032x}", "at": _stamp(at), "level": "WARNING", "source": "sync", "title": "A title",
                     "message": "What happened, in a sentence or two."}  # fmt: skip
            self._add("alerts", at, entry)
            rows.append((entry["id"], _stamp(at), "WARNING", "sync", f"Title {number % 100}", entry["message"], "sent"))
            number += 1
        self._node.alerts.recent(1)  # makes the tables
        with sqlite3.connect(self._node.settings.state_dir / "alerts.sqlite3") as db:
            names = "id, at, level, source, title, message, state"
            db.executemany(f"INSERT INTO alerts ({names}, logged) VALUES (?, ?, ?, ?, ?, ?, ?, 1)", rows)

    def write(self) -> None:
        layout = self._node.layout
        newest = self._days.pop(("claims", max(day for kind, day in self._days if kind == "claims")))
        kept = LOG_KEPT // len(newest[0])
        _write(layout.claims_log, b"".join(newest[-kept:]))
        for (kind, day), lines in self._days.items():
            _write(layout.daily_log(kind, day), b"".join(lines))

    def _add(self, kind: str, at: datetime, entry: dict[str, object]) -> None:
        self._days[kind, f"{at:%Y-%m-%d}"].append(life._line(entry))
        self.count += 1


def _requests(node: Services, now: datetime) -> None:
    for number in range(WAITING):
        fields = {"to": [f"Ann {number} <ann{number}@example.org>"], "subject": f"Our offer {number}"}
        meta, body = by_hand.request("send_email", fields, _TEXT, by="local", now=now, expires_hours=72)
        _write(
            node.layout.folder(Stage.PENDING_APPROVAL, domain="email") / f"{meta['id']}.md",
            frontmatter.write(meta, body),
        )


def _copies(node: Services) -> None:
    for number in range(20):
        header = (
            f'---\nconflict: "Plans/email/{number}.md"\nlost: "cloud"\nstands: "local"\nwhy: "both changed it"\n---\n'
        )
        _write(
            node.layout.conflicts / f"Plans/email/{number}.md.cloud.{number:08x}.md", f"{header}Other words.\n".encode()
        )


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def lines_in(folder: Path) -> Iterator[int]:
    """How many lines each log below a folder has."""
    return (path.read_bytes().count(b"\n") for path in folder.rglob("*.jsonl"))
