"""What the human answered, and what an answer has yet to bring about: the store's other tables.

They lie in the execution store's file, so that an approval and the word that a request is superseded exclude each
other in one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from utils.core.decision import Decision, Word
from utils.core.task import format_time, parse_time
from utils.execution import change
from utils.execution.change import Change
from utils.execution.journal import LIVE

_LIVE = ", ".join(f"'{state}'" for state in sorted(LIVE))
ANSWERS = ("approved", "edited", "rejected", "revised", "snoozed", "removed")


@dataclass(frozen=True)
class Answer:
    """One answer. `said`: the reason, the instruction, or until when; `change`: the difference to the draft."""

    number: int
    at: datetime
    request_id: str
    answer: str  # one of ANSWERS
    by: str
    via: str
    said: str
    action_id: str | None
    drafted_by: str
    change: Change


@dataclass(frozen=True)
class NewDraft:
    """A request that a new draft was asked for. `next` is the id that the new request will have."""

    request_id: str
    at: datetime
    by: str
    instruction: str
    task: str
    next: str
    number: int  # of the new draft; the first one is 1
    finished: bool  # the vault shows it


#: What is kept of a request while it waits.
_OF_WAITING = ("versions", "snoozes", "warned", "typed")


class AnswerLog:
    """The answers of one node. Every method is durable when it returns."""

    def __init__(
        self,
        rows: Callable[..., Sequence[sqlite3.Row]],
        transaction: Callable[[], AbstractContextManager[sqlite3.Connection]],
        now: Callable[[], str],
    ) -> None:
        self._rows = rows
        self._transaction = transaction
        self._now = now

    # How a request looked

    def saw(self, request_id: str, sha256: str, data: bytes) -> None:
        """Keep these bytes of a waiting request; the first that are kept are its draft."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO versions (request_id, sha256, data, at) VALUES (?, ?, ?, ?)",
                (request_id, sha256, data, self._now()),
            )

    def versions(self, request_id: str) -> list[bytes]:
        """What was kept of a request, oldest first."""
        rows = self._rows("SELECT data FROM versions WHERE request_id = ? ORDER BY number", request_id)
        return [bytes(row[0]) for row in rows]

    def has_version(self, request_id: str) -> bool:
        """Whether anything was kept of a request's bytes."""
        return bool(self._rows("SELECT 1 FROM versions WHERE request_id = ? LIMIT 1", request_id))

    def kept(self) -> set[str]:
        """The requests of which anything was kept."""
        tables = (self._rows(f"SELECT DISTINCT request_id FROM {table}") for table in _OF_WAITING)  # noqa: S608
        return {row[0] for rows in tables for row in rows}

    def forget_all_but(self, waiting: Collection[str]) -> None:
        """What was kept of requests that do not wait any more is of no use."""
        for table in _OF_WAITING:
            known = {row[0] for row in self._rows(f"SELECT DISTINCT request_id FROM {table}")}  # noqa: S608
            gone = [(request_id,) for request_id in known.difference(waiting)]
            if gone:
                with self._transaction() as db:
                    db.executemany(f"DELETE FROM {table} WHERE request_id = ?", gone)  # noqa: S608

    # The answers

    def note(self, request_id: str, answer: str, *, by: str, via: str, said: str = "", drafted_by: str = "") -> None:
        """Write an answer down."""
        with self._transaction() as db:
            self.write(db, request_id, answer, by=by, via=via, said=said, drafted_by=drafted_by)

    def write(
        self,
        db: sqlite3.Connection,
        request_id: str,
        answer: str,
        *,
        by: str,
        via: str,
        said: str = "",
        action_id: str | None = None,
        drafted_by: str = "",
        change_text: str | None = None,
    ) -> None:
        """The same, within a transaction of the store."""
        db.execute(
            "INSERT INTO answers (at, request_id, answer, by, via, said, action_id, drafted_by, change)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self._now(), request_id, answer, by, via, said, action_id, drafted_by, change_text),
        )
        if answer in ("approved", "rejected", "revised", "removed"):
            db.execute("DELETE FROM snoozes WHERE request_id = ?", (request_id,))

    def recent(
        self, limit: int = 50, *, before: int | None = None, request: str | None = None, answer: str | None = None
    ) -> list[Answer]:
        """Answers, newest first; `before` is the number of the last one of the page before."""
        conditions, values = ["1"], []
        for condition, value in (("number < ?", before), ("request_id = ?", request), ("answer = ?", answer)):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        where = " AND ".join(conditions)
        rows = self._rows(f"SELECT * FROM answers WHERE {where} ORDER BY number DESC LIMIT ?", *values, limit)  # noqa: S608
        return [_answer(row) for row in rows]

    def removed_since(self, when: datetime, most: int, waiting: Collection[str]) -> list[Answer]:
        """The newest requests that somebody removed unanswered since then, newest first; none of those that are
        `waiting` again, or were answered since."""
        return [
            answer
            for answer in self.recent(most, answer="removed")
            if answer.at >= when
            and answer.request_id not in waiting
            and next(iter(self.recent(1, request=answer.request_id))).answer == "removed"
        ]

    def change_of(self, action_id: str) -> Change:
        """What the human had changed of the draft that an action carried out."""
        rows = self._rows("SELECT change FROM answers WHERE action_id = ? AND answer = 'approved'", action_id)
        return change.loads(rows[0][0]) if rows else Change()

    # Snoozed

    def snooze(self, request_id: str, until: datetime, *, by: str, via: str) -> None:
        """Hide a request from the list until then."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO snoozes VALUES (?, ?)", (request_id, format_time(until)))
            self.write(db, request_id, "snoozed", by=by, via=via, said=format_time(until))

    def snoozed(self) -> dict[str, datetime]:
        """Until when each snoozed request is hidden; a time that has passed hides nothing."""
        return {row[0]: parse_time(row[1]) for row in self._rows("SELECT request_id, until FROM snoozes")}

    def wake(self, request_id: str) -> None:
        """It is hidden no more."""
        with self._transaction() as db:
            db.execute("DELETE FROM snoozes WHERE request_id = ?", (request_id,))

    # Superseded

    def supersede(self, new: NewDraft, *, via: str, drafted_by: str) -> bool:
        """A new draft was asked for: from now on the old one can't be approved. False where it has a live record."""
        live = f"SELECT 1 FROM actions WHERE request_id = ? AND state IN ({_LIVE})"  # noqa: S608
        row = (new.request_id, format_time(new.at), new.by, new.instruction, new.task, new.next, new.number)
        with self._transaction() as db:
            done = db.execute(
                "INSERT OR IGNORE INTO revisions (request_id, at, by, instruction, task, next, number)"
                f" SELECT ?, ?, ?, ?, ?, ?, ? WHERE NOT EXISTS ({live})",
                (*row, new.request_id),
            )
            if done.rowcount != 1:
                return False
            self.write(db, new.request_id, "revised", by=new.by, via=via, said=new.instruction, drafted_by=drafted_by)
        return True

    def superseded(self, request_id: str) -> NewDraft | None:
        """Why a request can't be approved any more, or None."""
        rows = self._rows("SELECT * FROM revisions WHERE request_id = ?", request_id)
        return _new_draft(rows[0]) if rows else None

    def revisions(self, *, unfinished: bool = False) -> list[NewDraft]:
        """The requests that a new draft was asked for, oldest first."""
        where = " WHERE finished = 0" if unfinished else ""
        return [_new_draft(row) for row in self._rows(f"SELECT * FROM revisions{where} ORDER BY at")]  # noqa: S608

    def finish(self, request_id: str) -> None:
        """The vault shows that a new draft was asked for."""
        with self._transaction() as db:
            db.execute("UPDATE revisions SET finished = 1 WHERE request_id = ?", (request_id,))

    # Decisions written into a file

    def typed_here(self, request_id: str) -> frozenset[str]:
        """The words that were found to be written into the request on this node; "" where one was dealt with."""
        return frozenset(row[0] for row in self._rows("SELECT word FROM typed WHERE request_id = ?", request_id))

    def type_here(self, request_id: str, word: str) -> None:
        """Remember that it was, before a sync makes it known to git."""
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO typed VALUES (?, ?)", (request_id, word))

    def take(self, request_id: str, sha256: str, decision: Decision) -> None:
        """A decision is about to be taken out of its file, whose bytes then have this hash."""
        row = (request_id, sha256, decision.word.value, decision.said)
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO decisions VALUES (?, ?, ?, ?)", row)

    def taken(self) -> dict[str, tuple[str, Decision]]:
        """Decisions that were taken out of their files and are not carried out yet: `request → (sha256, decision)`."""
        rows = self._rows("SELECT request_id, sha256, word, said FROM decisions")
        return {row[0]: (row[1], Decision(Word(row[2]), row[3])) for row in rows}

    def dealt_with(self, request_id: str) -> None:
        """No word that was written into this request counts any more."""
        with self._transaction() as db:
            db.execute("DELETE FROM decisions WHERE request_id = ?", (request_id,))
            db.execute("DELETE FROM typed WHERE request_id = ?", (request_id,))
            db.execute("INSERT INTO typed VALUES (?, '')", (request_id,))

    # Warned

    def warn(self, request_id: str, expires: datetime) -> bool:
        """Note once that the human was told that this request expires then; False where that was noted before."""
        with self._transaction() as db:
            return (
                db.execute(
                    "INSERT INTO warned VALUES (?, ?) ON CONFLICT (request_id) DO UPDATE SET expires = excluded.expires"
                    " WHERE expires != excluded.expires",
                    (request_id, format_time(expires)),
                ).rowcount
                == 1
            )


def _answer(row: sqlite3.Row) -> Answer:
    values: dict[str, Any] = dict(row)
    return Answer(**values | {"at": parse_time(values["at"]), "change": change.loads(values["change"])})


def _new_draft(row: sqlite3.Row) -> NewDraft:
    values: dict[str, Any] = dict(row)
    return NewDraft(**values | {"at": parse_time(values["at"]), "finished": bool(values["finished"])})
