"""The tables of the execution store, and opening their file: private, written through, made once."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.execution import facts
from utils.execution.journal import LIVE

_VERSION = 7
_LIVE = ", ".join(f"'{state}'" for state in sorted(LIVE))
_ONE_LIVE_RECORD = f"CREATE UNIQUE INDEX one_live_record ON actions (request_id) WHERE state IN ({_LIVE})"
_PAUSES = "CREATE TABLE pauses (provider TEXT PRIMARY KEY, at TEXT NOT NULL)"
_REACHED = """CREATE TABLE IF NOT EXISTS reached (
    action_id TEXT NOT NULL, recipient TEXT NOT NULL, PRIMARY KEY (action_id, recipient)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS actions_by_act ON actions (token_consumed_at)"""
#: `seen.counts`: 0 no, 1 yes, 2 yes, but it was removed unanswered, and its task does not show that yet.
_SCHEMA = f"""
CREATE TABLE seen (
    name TEXT NOT NULL, sha256 TEXT NOT NULL, path TEXT NOT NULL, source_task TEXT, at TEXT NOT NULL,
    counts INTEGER NOT NULL DEFAULT 1, PRIMARY KEY (name, sha256)
);
CREATE INDEX seen_by_task ON seen (source_task);
CREATE TABLE doubts (
    path TEXT NOT NULL, sha256 TEXT NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (path, sha256)
);
CREATE TABLE actions (
    action_id TEXT PRIMARY KEY, request_id TEXT NOT NULL, action TEXT NOT NULL, sha256 TEXT NOT NULL,
    frozen BLOB NOT NULL, source_task TEXT, approved_at TEXT NOT NULL, approved_by TEXT NOT NULL, via TEXT NOT NULL,
    expires_at TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, next_try_at TEXT,
    started_at TEXT, token TEXT, token_consumed_at TEXT, reference TEXT NOT NULL DEFAULT '', outcome TEXT,
    outcome_retry INTEGER NOT NULL DEFAULT 0, receipt TEXT, error TEXT NOT NULL DEFAULT '', finished_at TEXT,
    placed INTEGER NOT NULL DEFAULT 0, filed INTEGER NOT NULL DEFAULT 0, prepared TEXT NOT NULL DEFAULT '',
    provider TEXT NOT NULL DEFAULT ''
);
{_ONE_LIVE_RECORD};
CREATE INDEX actions_by_state ON actions (state, filed);
CREATE TABLE events (
    number INTEGER PRIMARY KEY, at TEXT NOT NULL, action_id TEXT NOT NULL, event TEXT NOT NULL, detail TEXT NOT NULL
);
CREATE INDEX events_by_action ON events (action_id);
CREATE TABLE recipients (address TEXT PRIMARY KEY, at TEXT NOT NULL);
{_PAUSES};
{_REACHED};
"""
_ANSWERS = """
CREATE TABLE versions (
    number INTEGER PRIMARY KEY, request_id TEXT NOT NULL, sha256 TEXT NOT NULL, data BLOB NOT NULL, at TEXT NOT NULL,
    UNIQUE (request_id, sha256)
);
CREATE TABLE answers (
    number INTEGER PRIMARY KEY, at TEXT NOT NULL, request_id TEXT NOT NULL, answer TEXT NOT NULL, by TEXT NOT NULL,
    via TEXT NOT NULL, said TEXT NOT NULL, action_id TEXT, drafted_by TEXT NOT NULL, change TEXT
);
CREATE INDEX answers_by_request ON answers (request_id);
CREATE TABLE snoozes (request_id TEXT PRIMARY KEY, until TEXT NOT NULL);
CREATE TABLE revisions (
    request_id TEXT PRIMARY KEY, at TEXT NOT NULL, by TEXT NOT NULL, instruction TEXT NOT NULL, task TEXT NOT NULL,
    next TEXT NOT NULL, number INTEGER NOT NULL, finished INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE decisions (
    request_id TEXT PRIMARY KEY, sha256 TEXT NOT NULL, word TEXT NOT NULL, said TEXT NOT NULL
);
CREATE TABLE typed (request_id TEXT NOT NULL, word TEXT NOT NULL, PRIMARY KEY (request_id, word));
CREATE TABLE warned (request_id TEXT PRIMARY KEY, expires TEXT NOT NULL);
"""
#: From version 1, which knew mail only, and a state `prepared` that no action was ever in. Its first files had no
#: `verified_senders`; for a short while `seen` said `made_here` (see `_prepare`).
_FROM_1 = f"""
ALTER TABLE actions RENAME COLUMN message_id TO reference;
ALTER TABLE actions ADD COLUMN prepared TEXT NOT NULL DEFAULT '';
DROP INDEX one_live_record;
{_ONE_LIVE_RECORD};
{_PAUSES};
CREATE TABLE IF NOT EXISTS verified_senders (task_id TEXT PRIMARY KEY, address TEXT NOT NULL, at TEXT NOT NULL);
"""
_FROM_2 = f"{_REACHED};{_ANSWERS}"  # its first files had no `reached`
_FROM_3 = f"{facts.TABLES};{facts.FROM_VERIFIED_SENDERS};"
_FROM_4 = "ALTER TABLE actions ADD COLUMN provider TEXT NOT NULL DEFAULT ''"
_FROM_5 = f"{facts.MESSAGE_IDS};ALTER TABLE seen ADD COLUMN brought INTEGER NOT NULL DEFAULT 0;{facts.REPLIES}"
#: What brings a file of which version to today's; 0 is a new one.
_STEPS = {
    0: _SCHEMA + _ANSWERS + facts.TABLES + ";" + _FROM_5,
    1: _FROM_1 + _FROM_2 + _FROM_3 + _FROM_4 + ";" + _FROM_5,
    2: _FROM_2 + _FROM_3 + _FROM_4 + ";" + _FROM_5,
    3: _FROM_3 + _FROM_4 + ";" + _FROM_5,
    4: _FROM_4 + ";" + _FROM_5,
    5: _FROM_5,
    6: facts.REPLIES,
}


class StoreProblem(RuntimeError):
    """The file can't be used; the text says what to do."""


@contextmanager
def undamaged(path: Path) -> Iterator[None]:
    """Raise `StoreProblem`, with the remedy, where SQLite finds inside that the file is damaged or none of its own."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):  # extended codes too
            raise
        raise StoreProblem(
            f"{path} is damaged ({error}), so nothing can be approved or sent. Stop this node, move the file and what"
            f" is called {path.name}-wal and {path.name}-shm away, put one back from a backup if there is one, and"
            " start the node again: what was approved asks again, also where remote_approvals is trust. Look first at"
            " what lies in Approved/: it may have been sent"
        ) from error


def open_database(path: Path) -> sqlite3.Connection:
    """Open the file (mode 0600), with its tables made where they are missing, and renewed where they are older.

    A commit is on the disk when it returns. Raises `StoreProblem` for a damaged file, and one of a newer version.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    try:
        db.row_factory = sqlite3.Row
        with undamaged(path):
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            _prepare(db)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise StoreProblem("the execution store was written by a newer version of this program: update it")
        if version == 1 and any(row["name"] == "made_here" for row in db.execute("PRAGMA table_info(seen)")):
            db.execute("ALTER TABLE seen DROP COLUMN made_here")
        if version < _VERSION:
            for statement in _STEPS[version].split(";"):
                db.execute(statement)
            facts.from_before(db)
            db.execute(f"PRAGMA user_version = {_VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
