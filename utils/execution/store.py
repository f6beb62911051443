"""Approval records and the execution journal: one SQLite file in `STATE_DIR`, never in the vault.

Several processes use it at once: the API approves, the watcher executes, the MCP server consumes the one-time token.
Every step of an action is a compare-and-swap on its state, durable (`synchronous=FULL`) before the method returns; a
step that somebody else was first with answers False or None and changes nothing.
"""

from __future__ import annotations

import json
import logging
import secrets
import sqlite3
import threading
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from utils.core.acting import Receipt
from utils.core.brakes import Act
from utils.core.task import ApprovalRequest, format_time, parse_time
from utils.execution import facts
from utils.execution.answer_log import AnswerLog
from utils.execution.facts import FactLog
from utils.execution.journal import LIVE, TRANSITIONS, ActionRecord, Outcome, State, check_transition
from utils.execution.mark import Mark
from utils.execution.schema import StoreProblem, open_database, undamaged
from utils.ports import Clock

log = logging.getLogger(__name__)

_LIVE = ", ".join(f"'{state}'" for state in sorted(LIVE))
#: Each step of a record writes an event, each answer a line. Few requests are hidden, superseded or doubted at once.
_VERSION = " UNION ALL ".join(
    f"SELECT {value} FROM {table}"  # noqa: S608
    for table, value in (
        ("events", "MAX(number)"),
        ("answers", "MAX(number)"),
        ("versions", "MAX(number)"),
        ("seen", "MAX(rowid) || ' ' || SUM(counts)"),
        ("doubts", "MAX(rowid)"),
        ("snoozes", "COUNT(*) || ' ' || MAX(until)"),
        ("revisions", "COUNT(*) || ' ' || SUM(finished)"),
        ("pauses", "COUNT(*) || ' ' || MAX(at)"),
        ("recipients", "COUNT(*) || ' ' || MAX(rowid)"),
        ("letters", "MAX(rowid)"),
        ("deals", "COUNT(*) || ' ' || MAX(at)"),
    )
)

_INSIDE = "path > ? AND path < ? AND sha256 = ?"

__all__ = ["ExecutionStore", "StoreProblem"]


class ExecutionStore:
    """The records and the journal of one node. Thread-safe; the file is made at the first write or read."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._outside = Mark(path)
        self._steps = 0
        self.answers = AnswerLog(self._rows, lambda: self._transaction(), self._now)
        self.facts = FactLog(self._rows, lambda: self._transaction(), self._now)

    # What was seen, what was doubted

    def saw(self, name: str, sha256: str, path: str, request: ApprovalRequest | None, *, brought: bool = False) -> None:
        """Note that the request `name` lay in this node's `Pending_Approval/` with these bytes. `request`: what they
        say, None where they can't be used; `brought`: in the place of other ones, by a sync."""
        if self.was_seen(name, sha256):
            return
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO seen (name, sha256, path, source_task, at, counts, brought)"
                " VALUES (?, ?, ?, ?, ?, 1, ?)",
                (name, sha256, path, request.source_task if request else None, self._now(), brought),
            )
            if request is not None:
                facts.drafted(db, request)

    def was_seen(self, name: str, sha256: str) -> bool:
        """Whether these bytes of the request `name` were seen in `Pending_Approval/` since its last approval ended."""
        return bool(self._rows("SELECT 1 FROM seen WHERE name = ? AND sha256 = ? AND counts", name, sha256))

    def seen_at(self, name: str, sha256: str) -> datetime | None:
        """When these bytes of the request `name` were first seen in `Pending_Approval/`, as `was_seen` counts."""
        rows = self._rows("SELECT at FROM seen WHERE name = ? AND sha256 = ? AND counts", name, sha256)
        return parse_time(rows[0][0]) if rows else None

    def brought_at(self, name: str, sha256: str) -> datetime | None:
        """When a sync brought these bytes of the request `name` in the place of others; None where it did not."""
        rows = self._rows("SELECT at FROM seen WHERE name = ? AND sha256 = ? AND counts AND brought", name, sha256)
        return parse_time(rows[0][0]) if rows else None

    def had_only_others(self, name: str, sha256: str) -> bool:
        """Whether the request `name` was seen with other bytes, and never with these, whatever counts of it now."""
        return bool(self._rows("SELECT max(sha256 = ?) = 0 FROM seen WHERE name = ?", sha256, name)[0][0])

    def requests_of(self, task_id: str) -> list[str]:
        """The requests that were seen to ask for the task `task_id`."""
        return [row[0] for row in self._rows("SELECT DISTINCT name FROM seen WHERE source_task = ?", task_id)]

    def waited(self, task_id: str) -> list[str]:
        """The requests that ask for the task `task_id`, as `was_seen` counts, and were not found to be removed."""
        rows = self._rows("SELECT DISTINCT name FROM seen WHERE source_task = ? AND counts = 1", task_id)
        return [row[0] for row in rows]

    def removed(self, name: str, said: str) -> bool:
        """Note that the request `name` was removed unanswered; False where that was noted before."""
        with self._transaction() as db:
            if db.execute("UPDATE seen SET counts = 2 WHERE name = ? AND counts = 1", (name,)).rowcount == 0:
                return False
            self.answers.write(db, name, "removed", by="somebody", via="files", said=said)
        return True

    def removals(self) -> list[tuple[str, str]]:
        """`(request, task)` of each removal that the vault does not show yet."""
        return [tuple(row) for row in self._rows("SELECT DISTINCT name, source_task FROM seen WHERE counts = 2")]

    def shown_removed(self, name: str) -> None:
        """The vault shows that this request was removed: whatever is made for its task from now on is new."""
        with self._transaction() as db:
            db.execute("UPDATE seen SET counts = 0 WHERE name = ? AND counts = 2", (name,))

    def doubt(self, path: str, sha256: str, reason: str) -> bool:
        """Note once why a file in `Approved/` is no approval; False where that was noted before."""
        with self._transaction() as db:
            return (
                db.execute(
                    "INSERT OR IGNORE INTO doubts VALUES (?, ?, ?, ?)", (path, sha256, reason, self._now())
                ).rowcount
                == 1
            )

    def doubts_about(self, path: str, sha256: str) -> str | None:
        """Why these bytes at this path are no approval, or None where nobody looked yet."""
        rows = self._rows("SELECT reason FROM doubts WHERE path = ? AND sha256 = ?", path, sha256)
        return rows[0][0] if rows else None

    def is_doubted(self, folder: str, sha256: str) -> bool:
        """Whether anybody doubted these bytes at a place in this folder of the vault."""
        return bool(self._rows(f"SELECT 1 FROM doubts WHERE {_INSIDE}", *_inside(folder), sha256))  # noqa: S608

    def forget_doubts(self, folder: str, sha256: str) -> None:
        """These bytes left this folder: if they come there again, they are judged anew."""
        with self._transaction() as db:
            db.execute(f"DELETE FROM doubts WHERE {_INSIDE}", (*_inside(folder), sha256))  # noqa: S608

    # Approval records

    def approve(
        self,
        request: ApprovalRequest,
        frozen: bytes,
        sha256: str,
        *,
        by: str,
        via: str,
        expires_at: datetime,
        change: str | None = None,
    ) -> ActionRecord | None:
        """Write an approval record, durably, and the answer with what the human had changed of the draft.

        None where the request has a live record already, or is superseded.
        """
        action_id = uuid.uuid4().hex
        with self._transaction() as db:
            done = db.execute(
                "INSERT OR IGNORE INTO actions (action_id, request_id, action, sha256, frozen, source_task,"
                " approved_at, approved_by, via, expires_at, state) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
                " WHERE NOT EXISTS (SELECT 1 FROM revisions WHERE request_id = ?)",
                (
                    action_id,
                    request.id,
                    request.action,
                    sha256,
                    frozen,
                    request.source_task,
                    self._now(),
                    by,
                    via,
                    format_time(expires_at),
                    State.APPROVED.value,
                    request.id,
                ),
            )
            if done.rowcount != 1:
                return None
            facts.drafted(db, request)
            self._event(db, action_id, State.APPROVED, f"by {by} via {via}")
            drafter = request.drafted_by
            self.answers.write(
                db, request.id, "approved", by=by, via=via, action_id=action_id, drafted_by=drafter, change_text=change
            )
        return self.get(action_id)

    def get(self, action_id: str) -> ActionRecord | None:
        """The record of an action, or None."""
        return _first(self._records("WHERE action_id = ?", action_id))

    def named(self, part: str) -> list[ActionRecord]:
        """The records whose id, or whose request's id, begins or ends with `part`; oldest first."""
        parts = [f"substr({name}, {side}) = ?" for name in ("action_id", "request_id") for side in ("1, ?", "-?")]
        values = [value for _ in parts for value in (len(part), part)]
        return self._records(f"WHERE {' OR '.join(parts)} ORDER BY rowid", *values)

    def live(self, request_id: str) -> ActionRecord | None:
        """The live record of a request (see `journal.LIVE`), or None."""
        return _first(self._records(f"WHERE request_id = ? AND state IN ({_LIVE})", request_id))

    def newest(self, request_id: str) -> ActionRecord | None:
        """The newest record of a request, live or not."""
        return _first(self._records("WHERE request_id = ? ORDER BY rowid DESC LIMIT 1", request_id))

    def in_state(self, *states: State) -> list[ActionRecord]:
        """The records in any of these states, oldest first."""
        marks = ", ".join("?" * len(states))
        return self._records(f"WHERE state IN ({marks}) ORDER BY rowid", *(state.value for state in states))

    def unfiled(self) -> list[ActionRecord]:
        """Finished actions whose outcome is not yet shown in the vault, oldest first."""
        return self._records("WHERE state IN ('done', 'failed', 'unknown') AND filed = 0 ORDER BY rowid")

    def finished_since(self, when: datetime, state: State) -> list[ActionRecord]:
        """Those of the newest 2,000 approvals that came into this final state since then, the newest first."""
        return self._records(
            "WHERE rowid > (SELECT max(rowid) FROM actions) - 2000 AND state = ? AND finished_at >= ?"
            " ORDER BY finished_at DESC, rowid DESC",
            state.value, format_time(when),
        )  # fmt: skip

    def owner(self, receipt: Receipt) -> ActionRecord | None:
        """The action that was done by this very receipt, or None."""
        return _first(
            self._records(
                "WHERE json_extract(receipt, '$.provider') = ? AND json_extract(receipt, '$.id') = ? AND state = ?",
                receipt.provider, receipt.id, State.DONE.value,
            )
        )  # fmt: skip

    def without_receipt(self, action: str, provider: str) -> list[ActionRecord]:
        """The newest 20 of this kind that happened, or may have, and nobody knows under what id."""
        return self._records(
            "WHERE action = ? AND provider = ? AND token_consumed_at IS NOT NULL AND (state = ? OR (state = ? AND"
            " json_extract(receipt, '$.provider') = 'human')) ORDER BY rowid DESC LIMIT 20",
            action, provider, State.UNKNOWN.value, State.DONE.value,
        )  # fmt: skip

    def was_approved(self, request_id: str, sha256: str) -> bool:
        """Whether these bytes of a request ever had a record, whatever became of it."""
        return bool(self._rows("SELECT 1 FROM actions WHERE request_id = ? AND sha256 = ?", request_id, sha256))

    def recent(self, limit: int = 50, *, before: str | None = None, state: str | None = None) -> list[ActionRecord]:
        """Records, newest approval first; `before` is the action id that the page before ended with."""
        conditions, values = ["1"], []
        if before is not None:
            conditions.append("rowid < (SELECT rowid FROM actions WHERE action_id = ?)")
            values.append(before)
        if state is not None:
            conditions.append("state = ?")
            values.append(state)
        return self._records(f"WHERE {' AND '.join(conditions)} ORDER BY rowid DESC LIMIT ?", *values, limit)

    def was_via(self, via: str) -> bool:
        """Whether any record, live or not, was made by exactly this."""
        return bool(self._rows("SELECT 1 FROM actions WHERE via = ? LIMIT 1", via))

    def approved_via(self, prefix: str, by: str) -> list[ActionRecord]:
        """The records of `by` that wait to be executed and whose `via` begins with `prefix`."""
        return [
            record
            for record in self.in_state(State.APPROVED)
            if record.via.startswith(prefix) and record.approved_by == by
        ]

    def events(self, action_id: str) -> list[dict[str, str]]:
        """An action's history, oldest first: `at`, `event`, `detail`."""
        rows = self._rows("SELECT at, event, detail FROM events WHERE action_id = ? ORDER BY number", action_id)
        return [{"at": row[0], "event": row[1], "detail": row[2]} for row in rows]

    def known_recipients(self) -> frozenset[str]:
        """Lower-case addresses that an earlier receipt names."""
        return frozenset(row[0] for row in self._rows("SELECT address FROM recipients"))

    def acts_since(self, when: datetime) -> list[Act]:
        """What was carried out since then, or may have been."""
        rows = self._rows(
            "SELECT action, token_consumed_at, group_concat(recipient, char(10)) FROM actions LEFT JOIN reached"
            " USING (action_id) WHERE token_consumed_at >= ? AND state IN (?, ?, ?) GROUP BY action_id",
            format_time(when), State.SENDING.value, State.DONE.value, State.UNKNOWN.value,
        )  # fmt: skip
        return [Act(row[0], frozenset((row[2] or "").split("\n")) - {""}, parse_time(row[1])) for row in rows]

    def counts(self) -> dict[str, int]:
        """How many actions are in each state, zeros included."""
        found = {row[0]: row[1] for row in self._rows("SELECT state, COUNT(*) FROM actions GROUP BY state")}
        return {state.value: found.get(state.value, 0) for state in State}

    def version(self) -> list[str | None]:
        """Values that differ whenever a record, an answer or a known recipient came or changed; none is read."""
        return [row[0] for row in self._rows(_VERSION)]

    # The journal's steps

    def begin(self, record: ActionRecord) -> ActionRecord | None:
        """`approved → sending` with a fresh one-time token; None where the record is no longer as it was given."""
        fields: dict[str, Any] = {
            "token": secrets.token_hex(16),
            "token_consumed_at": None,
            "outcome": None,
            "outcome_retry": 0,
            "error": "",
            "attempts": record.attempts + 1,
            "started_at": self._now(),
            "next_try_at": None,
        }
        if not self._step(record, State.SENDING, f"attempt {record.attempts + 1}", **fields):
            return None
        return self.get(record.action_id)

    def consume(
        self, record: ActionRecord, reference: str, recipients: Collection[str] = (), provider: str = ""
    ) -> bool:
        """Use up the one-time token; the caller may act once, and only if the answer is True.

        `reference` is by what the act can be found again, and `provider` where, should the caller die; `recipients`
        whom it reaches.
        """
        with self._transaction() as db:
            done = db.execute(
                "UPDATE actions SET token_consumed_at = ?, reference = ?, provider = ? WHERE action_id = ?"
                " AND state = ? AND token = ? AND token_consumed_at IS NULL",
                (self._now(), reference, provider, record.action_id, State.SENDING.value, record.token),
            )
            if done.rowcount != 1:
                return False
            self._event(db, record.action_id, "token consumed", reference)
            reached = [(record.action_id, recipient.lower()) for recipient in recipients]
            db.executemany("INSERT OR IGNORE INTO reached VALUES (?, ?)", reached)
        return True

    def prepared(self, record: ActionRecord, prepared: str) -> bool:
        """Keep the provider's id of what the holder of the consumed token made ready, before it commits."""
        with self._transaction() as db:
            done = db.execute(
                "UPDATE actions SET prepared = ? WHERE action_id = ? AND state = ? AND token = ?"
                " AND token_consumed_at IS NOT NULL AND outcome IS NULL",
                (prepared, record.action_id, State.SENDING.value, record.token),
            )
            if done.rowcount != 1:
                return False
            self._event(db, record.action_id, "prepared", prepared)
        return True

    def report(
        self,
        record: ActionRecord,
        outcome: Outcome,
        *,
        receipt: Receipt | None = None,
        error: str = "",
        retry: bool = False,
        not_before: datetime | None = None,
    ) -> bool:
        """What the server that consumed this record's token has to say about the act.

        `not_before`: the provider asked not to be tried again until then.
        """
        with self._transaction() as db:
            done = db.execute(
                "UPDATE actions SET outcome = ?, outcome_retry = ?, receipt = ?, error = ?, next_try_at = ?"
                " WHERE action_id = ? AND state = ? AND token = ? AND token_consumed_at IS NOT NULL"
                " AND outcome IS NULL",
                (
                    outcome.value,
                    retry,
                    _receipt_json(receipt),
                    error,
                    format_time(not_before) if not_before is not None else None,
                    record.action_id,
                    State.SENDING.value,
                    record.token,
                ),
            )
            if done.rowcount != 1:
                return False
            self._event(db, record.action_id, outcome, error or (receipt.id if receipt else ""))
        return True

    def revoke(self, record: ActionRecord) -> bool:
        """Take the token back before any server consumed it. True proves that nothing acted, and nothing will."""
        with self._transaction() as db:
            done = db.execute(
                "UPDATE actions SET token = NULL WHERE action_id = ? AND state = ? AND token IS ?"
                " AND token_consumed_at IS NULL",
                (record.action_id, State.SENDING.value, record.token),
            )
            if done.rowcount != 1:
                return False
            self._event(db, record.action_id, "token revoked", "")
        return True

    def not_yet(self, record: ActionRecord, why: str) -> bool:
        """`sending → approved`, before any server consumed the token: it waits as before, and no attempt is counted."""
        check_transition(record.state, State.APPROVED)
        with self._transaction() as db:
            done = db.execute(
                "UPDATE actions SET state = ?, token = NULL, attempts = attempts - 1 WHERE action_id = ? AND state = ?"
                " AND token IS ? AND token_consumed_at IS NULL",
                (State.APPROVED.value, record.action_id, State.SENDING.value, record.token),
            )
            if done.rowcount != 1:
                return False
            self._event(db, record.action_id, State.APPROVED, f"not yet: {why}")
        return True

    def retry_at(self, record: ActionRecord, when: datetime, error: str) -> bool:
        """`sending → approved`: nothing happened, for certain; try again at `when`."""
        return self._step(
            record, State.APPROVED, f"next try {format_time(when)}: {error}", next_try_at=format_time(when), error=error
        )

    def finish(
        self,
        record: ActionRecord,
        state: State,
        *,
        receipt: Receipt | None = None,
        error: str = "",
    ) -> ActionRecord | None:
        """To `done` (with a receipt, S9), `failed` or `unknown`; None where the record is no longer as it was given."""
        if state is State.DONE and receipt is None:
            raise ValueError("an action is done only with a receipt")
        fields: dict[str, Any] = {
            "receipt": _receipt_json(receipt),
            "error": error,
            "next_try_at": None,
            "finished_at": self._now(),
            "filed": 0,
        }
        if not self._step(record, state, error or (receipt.id if receipt else ""), **fields):
            return None
        return self.get(record.action_id)

    def pause(self, provider: str) -> None:
        """Approvals given up to now wait: this provider refused our credentials."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO pauses VALUES (?, ?)", (provider, self._now()))

    def resume(self, provider: str) -> None:
        """The provider took our credentials: nothing waits for it any more."""
        if self.paused_at(provider) is not None:
            with self._transaction() as db:
                db.execute("DELETE FROM pauses WHERE provider = ?", (provider,))

    def paused_at(self, provider: str) -> datetime | None:
        """When this provider last refused our credentials; None where it has taken them since."""
        rows = self._rows("SELECT at FROM pauses WHERE provider = ?", provider)
        return parse_time(rows[0][0]) if rows else None

    def void(self, record: ActionRecord, reason: str, *, settled: bool = False) -> bool:
        """The record counts no more. False where it is already past stopping; `unknown` only a human settles."""
        if State.VOID not in TRANSITIONS[record.state] or (record.state is State.UNKNOWN and not settled):
            return False
        return self._step(record, State.VOID, reason, error=reason, finished_at=self._now())

    def mark_placed(self, record: ActionRecord) -> None:
        """The approved file was seen where it belongs: from now on, its absence is somebody's will."""
        if not record.placed:
            self._mark(record, "placed")

    def mark_filed(self, record: ActionRecord) -> None:
        """The outcome is shown in the vault."""
        self._mark(record, "filed")

    def once(self, action_id: str, event: str, detail: str = "") -> bool:
        """Note an event of an action; False where it was noted before."""
        with self._transaction() as db:
            if db.execute("SELECT 1 FROM events WHERE action_id = ? AND event = ?", (action_id, event)).fetchone():
                return False
            self._event(db, action_id, event, detail)
        return True

    def has_event(self, action_id: str, event: str) -> bool:
        """Whether `once` noted it."""
        return bool(self._rows("SELECT 1 FROM events WHERE action_id = ? AND event = ?", action_id, event))

    def put_back_at(self) -> datetime | None:
        """When it was last found that this journal was put back from a backup; None where it never was."""
        with self._lock:
            self._open()
            return self._outside.put_back_at()

    def close(self) -> None:
        """Close the file. The next call opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    # Inside

    def _step(self, record: ActionRecord, target: State, detail: str, **fields: Any) -> bool:
        """Compare-and-swap of the state: the row must still be in the state and the attempt that `record` shows."""
        check_transition(record.state, target)
        columns = "".join(f", {name} = ?" for name in fields)
        with self._transaction() as db:
            done = db.execute(
                f"UPDATE actions SET state = ?{columns} WHERE action_id = ? AND state = ? AND attempts = ?",  # noqa: S608
                (target.value, *fields.values(), record.action_id, record.state.value, record.attempts),
            )
            if done.rowcount != 1:
                return False
            self._event(db, record.action_id, target, detail)
            if target in (State.VOID, State.FAILED):
                # The file still lies in Approved/. Where a crash keeps it there, that is no new move by the human:
                # it has to be seen in Pending_Approval/ again first.
                db.execute("UPDATE seen SET counts = 0 WHERE name = ?", (record.request_id,))
            if target is State.DONE:
                db.execute(
                    "INSERT OR IGNORE INTO recipients SELECT recipient, ? FROM reached WHERE action_id = ?",
                    (self._now(), record.action_id),
                )
                facts.settled(db, record.action_id, self._now())
        return True

    def _mark(self, record: ActionRecord, column: str) -> None:
        with self._transaction() as db:
            # The state is compared too: an outcome that changed meanwhile is shown again.
            db.execute(
                f"UPDATE actions SET {column} = 1 WHERE action_id = ? AND state = ?",  # noqa: S608
                (record.action_id, record.state.value),
            )

    def _event(self, db: sqlite3.Connection, action_id: str, event: str, detail: str) -> None:
        done = db.execute(
            "INSERT INTO events (at, action_id, event, detail) VALUES (?, ?, ?, ?)",
            (self._now(), action_id, str(event), detail),
        )
        self._steps = done.lastrowid or self._steps

    def _now(self) -> str:
        return format_time(self._clock.now())

    def _records(self, where: str, *values: Any) -> list[ActionRecord]:
        return [_record(row) for row in self._rows(f"SELECT * FROM actions {where}", *values)]  # noqa: S608

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock, undamaged(self._path):
            return self._open().execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, undamaged(self._path):
            db = self._open()
            self._steps = 0
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            if self._steps:
                self._outside.reached(self._steps)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            db = open_database(self._path)
            try:
                self._compare(db)
            except BaseException:
                db.close()
                raise
            self._connection = db
        return self._connection

    def _compare(self, db: sqlite3.Connection) -> None:
        """Notice a journal that was put back from a backup: then what lies in `Approved/` may have been carried out,
        so no move counts of what was seen before it was put back (see `put_back_at` for the approvals)."""
        known = self._outside.steps()  # first, for others may write on meanwhile
        steps = db.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()[0]
        if known is not None and known <= steps:
            self._outside.reached(steps)
            return
        log.warning("the execution journal was put back from a backup: what was approved before asks again")
        db.execute("DELETE FROM doubts")  # they are of another day: each file is judged anew
        db.execute("UPDATE seen SET counts = 0 WHERE counts = 1")
        self._outside.put_back(steps, self._clock.now())


def _inside(folder: str) -> tuple[str, str]:
    """Between which two texts the paths in a folder are."""
    return f"{folder}/", f"{folder}0"  # the character after the slash


def _first(records: list[ActionRecord]) -> ActionRecord | None:
    return records[0] if records else None


def _receipt_json(receipt: Receipt | None) -> str | None:
    if receipt is None:
        return None
    return json.dumps({"provider": receipt.provider, "id": receipt.id, "detail": receipt.detail}, ensure_ascii=False)


def _record(row: sqlite3.Row) -> ActionRecord:
    values = dict(row)
    for name in ("approved_at", "expires_at", "next_try_at", "started_at", "token_consumed_at", "finished_at"):
        if values[name] is not None:
            values[name] = parse_time(values[name])
    values["state"] = State(values["state"])
    values["outcome"] = Outcome(values["outcome"]) if values["outcome"] else None
    values["receipt"] = Receipt(**json.loads(values["receipt"])) if values["receipt"] else None
    for name in ("outcome_retry", "placed", "filed"):
        values[name] = bool(values[name])
    return ActionRecord(**values)
