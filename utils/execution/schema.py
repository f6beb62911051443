"""The tables of the execution store, and opening their file: private, written through, made once."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from utils.execution.journal import LIVE

_VERSION = 2
_LIVE = ", ".join(f"'{state}'" for state in sorted(LIVE))
_ONE_LIVE_RECORD = f"CREATE UNIQUE INDEX one_live_record ON actions (request_id) WHERE state IN ({_LIVE})"
_PAUSES = "CREATE TABLE pauses (provider TEXT PRIMARY KEY, at TEXT NOT NULL)"
_REACHED = """CREATE TABLE reached (
    action_id TEXT NOT NULL, recipient TEXT NOT NULL, PRIMARY KEY (action_id, recipient)
) WITHOUT ROWID;
CREATE INDEX actions_by_act ON actions (token_consumed_at)"""
_SCHEMA = f"""
CREATE TABLE seen (
    name TEXT NOT NULL, sha256 TEXT NOT NULL, path TEXT NOT NULL, source_task TEXT, at TEXT NOT NULL,
    counts INTEGER NOT NULL DEFAULT 1, PRIMARY KEY (name, sha256)
);
CREATE TABLE verified_senders (task_id TEXT PRIMARY KEY, address TEXT NOT NULL, at TEXT NOT NULL);
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
    placed INTEGER NOT NULL DEFAULT 0, filed INTEGER NOT NULL DEFAULT 0, prepared TEXT NOT NULL DEFAULT ''
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
#: From version 1, which knew mail only, and a state `prepared` that no action was ever in.
_FROM_1 = f"""
ALTER TABLE actions RENAME COLUMN message_id TO reference;
ALTER TABLE actions ADD COLUMN prepared TEXT NOT NULL DEFAULT '';
DROP INDEX one_live_record;
{_ONE_LIVE_RECORD};
{_PAUSES};
{_REACHED};
"""
#: What brings a file of which version to today's; 0 is a new one.
_STEPS = {0: _SCHEMA, 1: _FROM_1}


class StoreProblem(RuntimeError):
    """The file can't be used; the text says what to do."""


def open_database(path: Path) -> sqlite3.Connection:
    """Open the file (mode 0600), with its tables made where they are missing, and renewed where they are older.

    A commit is on the disk when it returns. Raises `StoreProblem` for a file of a newer version.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    try:
        db.row_factory = sqlite3.Row
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
        if version < _VERSION:
            for statement in _STEPS[version].split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {_VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
