"""What this node knows itself about who wrote and who was paid: what `utils.core.badges` stands on."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal

from utils.core import badges, lookalike
from utils.core.badges import Deal, Letter
from utils.core.revision import own_task
from utils.core.task import ApprovalRequest
from utils.execution import requests

log = logging.getLogger(__name__)

TABLES = """
CREATE TABLE letters (
    task_id TEXT PRIMARY KEY, sender TEXT NOT NULL, reply_to TEXT NOT NULL, genuine INTEGER, at TEXT NOT NULL
);
CREATE TABLE deals (
    kind TEXT NOT NULL, party TEXT NOT NULL, name TEXT NOT NULL, amount TEXT NOT NULL, currency TEXT NOT NULL,
    iban TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (kind, party)
) WITHOUT ROWID
"""
#: Before, a letter was known by the task that was made of it alone.
MESSAGE_IDS = """
ALTER TABLE letters ADD COLUMN message_id TEXT NOT NULL DEFAULT '';
CREATE INDEX letters_by_message_id ON letters (message_id)
"""
#: Which mail a reply answers that waits or was approved; `at`: when it was sent.
REPLIES = """
CREATE TABLE replies (request_id TEXT PRIMARY KEY, message_id TEXT NOT NULL, at TEXT);
CREATE INDEX replies_by_message_id ON replies (message_id)
"""
_LETTER = "SELECT sender, reply_to, genuine, message_id FROM letters"
#: The worst first: of two letters that could be meant, a request must not choose the better.
_TRUST = (False, None, True)
#: Before, only senders found genuine were kept.
FROM_VERIFIED_SENDERS = """
INSERT INTO letters SELECT task_id, address, '', 1, at FROM verified_senders;
DROP TABLE verified_senders
"""


class FactLog:
    """The facts of one node. Every method is durable when it returns."""

    def __init__(
        self,
        rows: Callable[..., Sequence[sqlite3.Row]],
        transaction: Callable[[], AbstractContextManager[sqlite3.Connection]],
        now: Callable[[], str],
    ) -> None:
        self._rows = rows
        self._transaction = transaction
        self._now = now

    def read(self, task_id: str, letter: Letter) -> None:
        """Note that this node itself read the mail of the task `task_id`, and what it found of its sender.

        The first counts: of that one the task was made, and a second mail may bear the same Message-ID.
        """
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO letters (task_id, sender, reply_to, genuine, at, message_id)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    task_id,
                    letter.sender.lower(),
                    letter.reply_to.lower(),
                    letter.genuine,
                    self._now(),
                    letter.message_id,
                ),
            )

    def letter(self, task_id: str | None) -> Letter | None:
        """The mail of a task as this node read it, or None where it did not."""
        return next(iter(self._letters("task_id", task_id)), None)

    def answered(self, request: ApprovalRequest) -> Letter | None:
        """The mail that a request answers or forwards, as this node read it, or None where it did not.

        It is the one whose Message-ID the request names; a task may be named by anybody (`own_task`), and its letter
        counts where it is that one, or where it is forged.
        """
        own = self.letter(own_task(request.id, request.source_task))
        named = {str(request.fields[name]) for name in ("in_reply_to", "source_message") if request.fields.get(name)}
        found = [letter for name in named for key in ("message_id", "task_id") for letter in self._letters(key, name)]
        if own is not None and (own.genuine is False or not named or own.message_id in {"", *named}):
            found.insert(0, own)
        return min(found, key=lambda letter: _TRUST.index(letter.genuine), default=None)

    def verified_sender(self, request: ApprovalRequest) -> str | None:
        """The authenticated sender of the mail of the request's own task, where it is a reply to that mail, or None."""
        letter = self.answered(request)
        if letter is None or letter != self.letter(own_task(request.id, request.source_task)) or not letter.genuine:
            return None
        is_reply = request.action == "reply_email" and letter.message_id == request.fields.get("in_reply_to")
        return letter.sender if is_reply else None

    def _letters(self, key: str, value: str | None) -> list[Letter]:
        rows = self._rows(f"{_LETTER} WHERE {key} = ?", value)
        return [
            Letter(sender, reply_to, None if genuine is None else bool(genuine), message_id)
            for sender, reply_to, genuine, message_id in rows
        ]

    def replies(self, request: ApprovalRequest) -> tuple[tuple[str, str | None], ...]:
        """The newest three other requests that answer the same mail, each with when it was sent; None: it waits."""
        rows = self._rows(
            "SELECT request_id, at FROM replies WHERE message_id = ? AND request_id != ? AND (at IS NOT NULL OR EXISTS"
            " (SELECT 1 FROM versions WHERE versions.request_id = replies.request_id)) ORDER BY at DESC LIMIT 3",
            _answers(request), request.id,
        )  # fmt: skip
        return tuple((name, at) for name, at in rows)

    def last_deal(self, request: ApprovalRequest) -> Deal | None:
        """The newest receipt with the party that this payment or invoice names, or None."""
        now = badges.deal(request)
        if now is None:
            return None
        rows = self._rows(
            "SELECT kind, name, amount, currency, iban, at FROM deals WHERE kind = ? AND party = ?",
            now.kind, lookalike.plain(now.party),
        )  # fmt: skip
        return Deal(rows[0][0], rows[0][1], Decimal(rows[0][2]), *rows[0][3:]) if rows else None

    def parties(self, kind: str) -> frozenset[str]:
        """Everybody with whom there was a deal of this kind (by `policy.tool_for`)."""
        return frozenset(row[0] for row in self._rows("SELECT name FROM deals WHERE kind = ?", kind))


def _answers(request: ApprovalRequest) -> str | None:
    return str(request.fields["in_reply_to"]) if request.action == "reply_email" else None


def drafted(db: sqlite3.Connection, request: ApprovalRequest) -> None:
    """A request waits, or is approved: which mail it answers is kept, in the same transaction."""
    if mail := _answers(request):
        db.execute(
            "INSERT INTO replies (request_id, message_id) VALUES (?, ?) ON CONFLICT (request_id)"
            " DO UPDATE SET message_id = excluded.message_id WHERE at IS NULL",
            (request.id, mail),
        )


def settled(db: sqlite3.Connection, action_id: str, at: str) -> None:
    """An action has its receipt: what was paid or invoiced with whom is kept, in the same transaction."""
    found = db.execute("SELECT request_id, action, frozen FROM actions WHERE action_id = ?", (action_id,)).fetchone()
    if found is not None:
        db.execute("UPDATE replies SET at = ? WHERE request_id = ?", (at, found[0]))
    if found is None or found[1] not in ("payment", "invoice"):
        return
    request, _ = requests.parse(found[2], found[0])
    made = badges.deal(request, at) if request is not None else None
    if made is None:
        log.warning("what action %s came to can't be read from its frozen bytes", action_id)
        return
    db.execute(
        "INSERT OR REPLACE INTO deals VALUES (?, ?, ?, ?, ?, ?, ?)",
        (made.kind, lookalike.plain(made.party), made.party, f"{made.amount:f}", made.currency, made.iban, made.at),
    )


def from_before(db: sqlite3.Connection) -> None:
    """Fill `replies` and `deals` from what an older file kept of requests and receipts, oldest first."""
    kept = db.execute("SELECT request_id, frozen FROM actions WHERE action = 'reply_email' ORDER BY rowid").fetchall()
    kept += db.execute("SELECT request_id, data FROM versions ORDER BY number").fetchall()
    for request_id, data in kept:
        request, _ = requests.parse(data, request_id)
        if request is not None:
            drafted(db, request)
    done = db.execute(
        "SELECT action_id, finished_at FROM actions WHERE state = 'done' ORDER BY finished_at, rowid"
    ).fetchall()
    for action_id, at in done:
        settled(db, action_id, at or "")
