"""Alerts: durable first, then told.

`send` writes the alert into a spool in `STATE_DIR` (SQLite, so that all processes of the node may alert at once) and
into `Logs/alerts/`, and returns; `deliver_due`, which the health monitor calls, hands what waits to the channels. A
broken channel costs a warning in the log and time, never an alert, and never the caller's own work.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from utils.core import alert as rules
from utils.core.alert import Alert, Level, Silence, State
from utils.core.task import format_time, parse_time
from utils.ports import AdapterError, AlertChannel, Clock
from utils.vault import jsonl, locks
from utils.vault.layout import Layout

log = logging.getLogger(__name__)

KEEP = timedelta(days=90)
_BATCH = 200  # alerts in one digest
_LONGEST_TEXT = 20_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS alerts (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    at TEXT NOT NULL,
    level TEXT NOT NULL,
    source TEXT NOT NULL,
    title TEXT NOT NULL,
    message TEXT NOT NULL,
    state TEXT NOT NULL,
    repeats INTEGER NOT NULL DEFAULT 0,
    logged INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS alerts_equal ON alerts (source, title, seq);
CREATE TABLE IF NOT EXISTS waiting (seq INTEGER NOT NULL, channel TEXT NOT NULL, PRIMARY KEY (channel, seq));
CREATE TABLE IF NOT EXISTS deliveries (channel TEXT NOT NULL, at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS silences (
    id TEXT PRIMARY KEY, level TEXT, source TEXT, title TEXT, until TEXT NOT NULL, at TEXT NOT NULL, by TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS broken (
    channel TEXT PRIMARY KEY, failures INTEGER NOT NULL, next_try TEXT NOT NULL, error TEXT NOT NULL
);
"""


class BadCursor(ValueError):
    """A cursor that `recent` did not give."""


class BadSilence(ValueError):
    """A silence that makes no sense; the text says why."""


class UnknownSilence(LookupError):
    """No such silence holds."""


class AlertManager:
    """The alerts of one node. Without channels alerts are kept and logged, and their state is `suppressed`."""

    def __init__(self, layout: Layout, state_dir: Path, clock: Clock, channels: Sequence[AlertChannel]) -> None:
        self._layout = layout
        self._file = state_dir / "alerts.sqlite3"
        self._lock = state_dir / "locks" / "alert-delivery.lock"
        self._clock = clock
        self._channels = channels

    def send(self, level: str, title: str, message: str, *, source: str | None = None) -> Alert:
        """Tell the human; returns at once, before anything is delivered.

        An alert that says the same as one of the last hour (source, title, message but for its numbers), and no louder,
        is only counted (`repeats` of the answer); so is the 21st of one source and title.

        Never raises for a spool or log that can't be written: the program's log then holds the alert. Raises
        `ValueError` for a level that does not exist.
        """
        now = self._clock.now()
        alert = Alert(
            f"alert-{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
            now,
            Level(level),
            source or "unknown",
            " ".join(_text(title).split())[:300],
            _text(message)[:_LONGEST_TEXT],
        )
        try:
            kept = self._keep(alert)
            if kept is alert:
                self._write_log(alert)
        except (sqlite3.Error, OSError) as error:
            log.error("%s: %s: %s (this alert could not be kept: %s)", alert.level, alert.title, alert.message, error)
            return alert
        if kept is alert:
            loud = logging.INFO if alert.level is Level.INFO else logging.WARNING
            log.log(loud, "alert %s: %s: %s", alert.level, alert.title, alert.message)
        return kept

    def deliver_due(self, now: datetime) -> str:
        """Hand waiting alerts to the channels that are due, and say what was done.

        One process at a time delivers. After a crash between a delivery and its note here the alert is delivered again.
        """
        try:
            with locks.hold(self._lock, timeout=0):
                return self._deliver(now)
        except locks.Locked:
            return "another process delivers alerts"

    def recent(
        self, limit: int = 50, *, cursor: str | None = None, level: str | None = None, since: datetime | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """`(alerts, cursor of the next page or None)`, newest first, in the shape of `GET /api/alerts`.

        Raises `BadCursor`.
        """
        conditions: list[str] = ["1"]
        values: list[int | str] = []
        if cursor is not None:
            if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
                raise BadCursor("cursor: not a cursor of this list; begin without one")
            conditions.append("seq < ?")
            values.append(int(cursor))
        if level is not None:
            conditions.append("level = ?")
            values.append(Level(level))
        if since is not None:
            conditions.append("at >= ?")
            values.append(_stamp(since))
        columns = "seq, id, at, level, source, title, message, state, repeats"
        query = f"SELECT {columns} FROM alerts WHERE {' AND '.join(conditions)} ORDER BY seq DESC LIMIT ?"  # noqa: S608
        with self._open() as db:
            rows = db.execute(query, (*values, limit + 1)).fetchall()
        names = columns.split(", ")
        items = [dict(zip(names[1:], row[1:], strict=True)) for row in rows[:limit]]
        for item in items:
            item["at"] = format_time(parse_time(item["at"]))
        return items, str(rows[limit - 1][0]) if len(rows) > limit else None

    def silence(self, match: Mapping[str, str | None], until: datetime, *, by: str) -> Silence:
        """Until then, record alerts that have all of `match` (`level`, `source`, `title`) and mail none. Raises
        `BadSilence`."""
        now = self._clock.now()
        given = {name: " ".join(_text(value).split())[:300] for name, value in match.items() if value}
        wanted = {name: value for name, value in given.items() if value}
        if not wanted:
            raise BadSilence("'match' is empty: it would silence everything; name a level, a source or a title")
        if not now < until <= now + rules.LONGEST_SILENCE:
            raise BadSilence(f"'until' must be ahead, and at most {rules.LONGEST_SILENCE.days} days")
        level = Level(wanted["level"]) if "level" in wanted else None
        one = Silence(secrets.token_hex(8), level, wanted.get("source"), wanted.get("title"), until, now, by)
        row = (one.id, one.level, one.source, one.title, _stamp(until), _stamp(now), by)
        with self._open() as db:
            db.execute("INSERT INTO silences VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        return one

    def silences(self) -> list[Silence]:
        """What holds now, newest first."""
        with self._open() as db:
            return self._silences(db, self._clock.now())

    def speak(self, identifier: str) -> None:
        """End a silence. Raises `UnknownSilence`."""
        with self._open() as db:
            if db.execute("DELETE FROM silences WHERE id = ?", (identifier,)).rowcount != 1:
                raise UnknownSilence("there is no such silence; it may have ended by itself")

    @staticmethod
    def _silences(db: sqlite3.Connection, now: datetime) -> list[Silence]:
        rows = db.execute("SELECT * FROM silences WHERE until > ? ORDER BY at DESC, id", (_stamp(now),)).fetchall()
        return [
            Silence(identifier, Level(level) if level else None, source, title, parse_time(until), parse_time(at), by)
            for identifier, level, source, title, until, at, by in rows
        ]

    def waiting(self) -> int:
        """How many alerts a channel has not taken yet."""
        with self._open() as db:
            return int(db.execute("SELECT COUNT(DISTINCT seq) FROM waiting").fetchone()[0])

    def version(self) -> int:
        """A number that differs whenever an alert came or changed; no alert is read."""
        try:
            with self._file.open("rb") as file:
                header = file.read(28)
        except FileNotFoundError:
            return 0
        return int.from_bytes(header[24:28], "big")  # SQLite's file change counter (its file format, §1.3.7)

    def status(self) -> tuple[bool, str]:
        """`(works, detail)` for an overview: whether a channel is broken, and how many alerts wait."""
        waiting = self.waiting()
        with self._open() as db:
            broken = db.execute("SELECT channel, error FROM broken").fetchall()
        if not self._channels:
            return True, "alerts are logged, not sent (ALERTS_ENABLED=false)"
        if broken:
            return False, "; ".join(f"{channel}: {error}" for channel, error in broken) + f"; {waiting} wait"
        return True, f"{', '.join(channel.name for channel in self._channels)}; {waiting} wait"

    def _keep(self, alert: Alert) -> Alert:
        """Write into the spool; the earlier alert where this one is its repeat."""
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            rows = db.execute(
                "SELECT seq, id, at, level, message, repeats, state FROM alerts WHERE source = ? AND title = ? "
                "ORDER BY seq DESC LIMIT ?",
                (alert.source, alert.title, rules.MOST_OF_ONE_TITLE),
            ).fetchall()
            lately = [row for row in rows if rules.is_repeat(parse_time(row[2]), Level(row[3]), alert.level, alert.at)]
            silenced = any(one.holds_for(alert) for one in self._silences(db, alert.at))
            if self._channels and not silenced:  # nobody was told of what was silenced: it is news again
                lately = [row for row in lately if row[6] != State.SUPPRESSED]
            same = [row for row in lately if rules.same_news(alert.message, row[4])]
            if same or len(lately) == rules.MOST_OF_ONE_TITLE:
                seq, identifier, at, level, message, repeats, _ = (same or lately)[0]
                db.execute("UPDATE alerts SET repeats = repeats + 1 WHERE seq = ?", (seq,))
                return Alert(identifier, parse_time(at), Level(level), alert.source, alert.title, message, repeats + 1)
            channels = () if silenced else self._channels
            state = State.SPOOLED if channels else State.SUPPRESSED
            values = (alert.id, _stamp(alert.at), alert.level, alert.source, alert.title, alert.message, state)
            seq = db.execute(
                "INSERT INTO alerts (id, at, level, source, title, message, state) VALUES (?, ?, ?, ?, ?, ?, ?)", values
            ).lastrowid
            db.executemany("INSERT INTO waiting VALUES (?, ?)", [(seq, channel.name) for channel in channels])
        return alert

    def _write_log(self, alert: Alert) -> None:
        path = self._layout.daily_log("alerts", f"{alert.at:%Y-%m-%d}")
        entry = {"at": format_time(alert.at), "id": alert.id, "level": alert.level, "source": alert.source}
        jsonl.append(path, entry | {"title": alert.title, "message": alert.message})
        with self._open() as db:
            db.execute("UPDATE alerts SET logged = 1 WHERE id = ?", (alert.id,))

    def _deliver(self, now: datetime) -> str:
        with self._open() as db:
            # A crash, or a log that could not be written, left these in the spool alone.
            settled = _stamp(now - timedelta(minutes=1))
            rows = db.execute("SELECT * FROM alerts WHERE logged = 0 AND at < ? LIMIT ?", (settled, _BATCH)).fetchall()
            old = _stamp(now - KEEP)
            db.execute("DELETE FROM alerts WHERE at < ? AND seq NOT IN (SELECT seq FROM waiting)", (old,))
            db.execute("DELETE FROM deliveries WHERE at < ?", (_stamp(now - rules.RATE_WINDOW),))
            db.execute("DELETE FROM silences WHERE until <= ?", (_stamp(now),))
        for row in rows:
            self._write_log(_alert(row))
        answers = [answer for channel in self._channels if (answer := self._deliver_by(channel, now))]
        return "; ".join(answers) or "no alert waits"

    def _deliver_by(self, channel: AlertChannel, now: datetime) -> str:
        with self._open() as db:
            rows = db.execute(
                "SELECT alerts.* FROM waiting JOIN alerts USING (seq) WHERE channel = ? ORDER BY seq LIMIT ?",
                (channel.name, _BATCH),
            ).fetchall()
            broken = db.execute("SELECT failures, next_try FROM broken WHERE channel = ?", (channel.name,)).fetchone()
            delivered = db.execute("SELECT at FROM deliveries WHERE channel = ?", (channel.name,)).fetchall()
        if not rows:
            return ""
        failures = broken[0] if broken else 0
        due = rules.next_delivery([parse_time(at) for (at,) in delivered], now)
        if broken and parse_time(broken[1]) <= now + rules.LONGEST_RETRY:  # later: the clock was set back meanwhile
            due = max(due, parse_time(broken[1]))
        if due > now:
            return f"{channel.name}: {len(rows)} wait until {format_time(due)}"
        alerts, numbers = [_alert(row) for row in rows], [row[0] for row in rows]
        try:
            channel.deliver(alerts)
        except AdapterError as error:
            return self._note_failure(channel.name, error, numbers, failures + 1, now)
        except Exception as error:
            log.exception("the alert channel %s has a defect", channel.name)
            unforeseen = AdapterError(f"{type(error).__name__}: {error}", retry=True)
            return self._note_failure(channel.name, unforeseen, numbers, failures + 1, now)
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("DELETE FROM broken WHERE channel = ?", (channel.name,))
            db.execute("INSERT INTO deliveries VALUES (?, ?)", (channel.name, _stamp(now)))
            for seq in numbers:
                db.execute("DELETE FROM waiting WHERE channel = ? AND seq = ?", (channel.name, seq))
                db.execute(
                    "UPDATE alerts SET state = ? WHERE seq = ? AND NOT EXISTS "
                    "(SELECT 1 FROM waiting WHERE waiting.seq = alerts.seq)",
                    (State.SENT, seq),
                )
        return f"{channel.name}: sent {len(alerts)}"

    def _note_failure(self, channel: str, error: AdapterError, numbers: list[int], failures: int, now: datetime) -> str:
        next_try = rules.retry_at(failures, now, hopeless=not error.retry)
        state = State.SPOOLED if error.retry else State.FAILED
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute(
                "INSERT OR REPLACE INTO broken VALUES (?, ?, ?, ?)", (channel, failures, _stamp(next_try), str(error))
            )
            db.executemany("UPDATE alerts SET state = ? WHERE seq = ?", [(state, seq) for seq in numbers])
        log.warning("alerts wait: %s: %s (try %d; next at %s)", channel, error, failures, format_time(next_try))
        return f"{channel}: {len(numbers)} wait ({error})"

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction; opened each time, for alerts are rare and a process may fork or stay."""
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        db = sqlite3.connect(self._file, timeout=10, isolation_level=None)
        try:
            db.execute("PRAGMA synchronous=FULL")
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'silences'").fetchone():
                db.executescript(_SCHEMA)
                self._file.chmod(0o600)
            yield db
            if db.in_transaction:
                db.execute("COMMIT")
        finally:
            db.close()  # rolls back what an exception left open


def _alert(row: Sequence[Any]) -> Alert:
    _, identifier, at, level, source, title, message, _, repeats, *_ = row
    return Alert(identifier, parse_time(at), Level(level), source, title, message, repeats)


def _stamp(at: datetime) -> str:
    """A time that sorts as text."""
    return at.isoformat(timespec="microseconds")


def _text(value: str) -> str:
    """Any string as one that every file and mail can hold."""
    return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def send_alert(level: str, title: str, message: str, *, source: str | None = None) -> Alert:
    """Tell the human, with the settings of the environment; see `AlertManager.send`."""
    from utils.bootstrap import Services

    return Services.from_environment().alerts.send(level, title, message, source=source)
