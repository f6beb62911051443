"""A vault's days, as values: what 200 mails a day do to its files, sync by sync. Shapes and sizes are those of the demo
gate's vault with a longer mail; the same days are written as commits and lived through by real syncs (`year`)."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from utils.core.archive import filed

SYNCS_A_DAY = 288
CLAIMS = "Logs/claims.jsonl"
_PAUSE = timedelta(days=1) / SYNCS_A_DAY
_WORK = (8, 18)  # hours in which the human approves
_MAIL_WORDS = 420  # about 3 kB


@dataclass(frozen=True)
class Put:
    """Write a file."""

    path: str
    data: bytes


@dataclass(frozen=True)
class Move:
    """Carry a file to another place."""

    old: str
    new: str


@dataclass(frozen=True)
class Append:
    """Add a line to a log."""

    path: str
    line: bytes


Op = Put | Move | Append


@dataclass
class Turn:
    """What happened on a node before its sync at `at`."""

    node: str
    at: datetime
    ops: list[Op] = field(default_factory=list)
    tidy: bool = True  # whether the vault's housekeeping is done


class Life:
    """Days in the life of a vault, the same for the same `seed`. Ask for them in order."""

    def __init__(self, start: datetime, *, mails: int, keep_days: int | None, seed: int = 1) -> None:
        self._start = start
        self._mails = mails
        self._keep_days = keep_days
        self._random = random.Random(seed)
        letters = "abcdefghijklmnopqrstuvwxyz"
        self._words = ["".join(self._random.choices(letters, k=self._random.randint(2, 11))) for _ in range(3000)]
        self._waiting: list[tuple[datetime, datetime]] = []  # (when the human answers, when the mail came)
        self._finished_mails: list[datetime] = []  # when they came

    def day(self, number: int) -> list[Turn]:
        """The day's turns in order: Cloud and Local in each of the 288 intervals."""
        midnight = self._start + timedelta(days=number)
        turns, tidy = [], self._keep_days is not None
        for slot in range(SYNCS_A_DAY):
            at = midnight + (slot + 1) * _PAUSE
            turns += [Turn(node, at - wait, tidy=tidy) for node, wait in (("cloud", _PAUSE / 2), ("local", 0 * _PAUSE))]
        if tidy:
            turns[1].ops += self._filed(midnight - timedelta(days=self._keep_days or 0))
        came = [
            midnight + timedelta(seconds=second) for second in sorted(self._random.sample(range(86_400), self._mails))
        ]
        self._waiting += [(self._answered(moment), moment) for moment in came]
        for moment in came:
            self._turn(turns, midnight, moment, "cloud").ops.extend(self._drafted(moment))
        due: list[tuple[datetime, datetime]] = sorted(
            pair for pair in self._waiting if pair[0] < midnight + timedelta(days=1)
        )
        self._waiting = [pair for pair in self._waiting if pair not in set(due)]
        for answered, moment in due:
            self._turn(turns, midnight, answered, "local").ops.extend(self._finished(moment, answered))
        self._finished_mails += [moment for _, moment in due]
        return turns

    def _filed(self, until: datetime) -> list[Op]:
        old = [came for came in self._finished_mails if came < until]
        self._finished_mails = [came for came in self._finished_mails if came >= until]
        moves: list[Op] = []
        for came in old:
            task, request = names(came)
            places = (
                f"Done/{request}.md",
                f"Done/{request}.reason.md",
                f"Done/{task}.md",
                f"Plans/email/{task}.plan.md",
            )
            moves += [Move(place, filed(place) or place) for place in places]
        return moves

    def _answered(self, came: datetime) -> datetime:
        """About an hour later, in working hours."""
        at = came + timedelta(minutes=20 + self._random.expovariate(1 / 60))
        first = at.replace(hour=_WORK[0], minute=0, second=0)
        if at.hour < _WORK[0]:
            at = first + timedelta(minutes=self._random.randrange(90))
        elif at.hour >= _WORK[1]:
            at = first + timedelta(days=1, minutes=self._random.randrange(90))
        return at

    def _turn(self, turns: list[Turn], midnight: datetime, moment: datetime, node: str) -> Turn:
        slot = min(int((moment - midnight) / _PAUSE) + 1, SYNCS_A_DAY - 1)
        return turns[2 * slot + (node == "local")]

    def _drafted(self, came: datetime) -> list[Op]:
        task, request = names(came)
        text = self._text()
        return [
            Put(f"In_Progress/cloud/{task}.md", _task(task, came, text)),
            Put(f"Plans/email/{task}.plan.md", _plan(task, request, came, self._text(45))),
            Put(f"Pending_Approval/email/{request}.md", _request(task, request, came, text, self._text(120))),
            _claim(came, "cloud", "created", task, None, f"Needs_Action/email/{task}.md"),
            _claim(came, "cloud", "claimed", task, f"Needs_Action/email/{task}.md", f"In_Progress/cloud/{task}.md"),
            _claim(came, "cloud", "created", request, None, f"Pending_Approval/email/{request}.md"),
        ]

    def _finished(self, came: datetime, at: datetime) -> list[Op]:
        task, request = names(came)
        pending, approved = f"Pending_Approval/email/{request}.md", f"Approved/{request}.md"
        receipt = _receipt(request, at)
        return [
            Move(pending, f"Done/{request}.md"),
            Put(f"Done/{request}.reason.md", receipt),
            Move(f"In_Progress/cloud/{task}.md", f"Done/{task}.md"),
            Append(f"Logs/actions/{at:%Y-%m-%d}.jsonl", _action(task, request, at)),
            _claim(at, "local", "approved", request, pending, approved),
            _claim(at, "local", "done", request, approved, f"Done/{request}.md", receipt.decode()),
            _claim(at, "local", "done", task, f"In_Progress/cloud/{task}.md", f"Done/{task}.md"),
        ]

    def _text(self, words: int = _MAIL_WORDS) -> str:
        picked = self._random.choices(self._words, k=words)
        return "\n".join(" ".join(picked[start : start + 12]) for start in range(0, words, 12))


def names(came: datetime) -> tuple[str, str]:
    """The ids of a mail's task and of its request."""
    stamp = f"email-{came:%Y%m%dT%H%M%SZ}-"
    return stamp + _hex(f"task {came}")[:8], stamp + _hex(f"request {came}")[:8]


def _hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _task(task: str, came: datetime, text: str) -> bytes:
    key = _hex(task)
    quoted = "\n".join(f"> {line}" for line in text.splitlines())
    return f"""---
id: {task}
type: email_processing
domain: email
created: {came:%Y-%m-%dT%H:%M:%SZ}
created_by: cloud
priority: normal
source:
  provider: imap
  account: me@example.org
  message_id: <{key[:24]}@example.com>
  thread_id: <{key[:24]}@example.com>
  from: Ann Example <ann{key[:3]}@example.com>
  from_address: ann{key[:3]}@example.com
  to:
  - me@example.org
  cc: []
  subject: {text[:48]!r}
  received: {came:%Y-%m-%dT%H:%M:%SZ}
  sender_authenticated: true
  source_key: {key}
  size: {len(text)}
  truncated: false
  problems: []
  attachments: []
---
# Mail: {text[:48]}

## Mail

{quoted}
""".encode()


def _request(task: str, request: str, came: datetime, text: str, draft: str) -> bytes:
    head = _task(request, came, text).decode().replace("priority: normal", "priority: normal\naction: reply_email", 1)
    return f"{head}\nsource_task: {task}\n\n## Draft\n\n{draft}\n".encode()


def _plan(task: str, request: str, came: datetime, text: str) -> bytes:
    head = f"---\ntask: {task}\ncreated: {came:%Y-%m-%dT%H:%M:%SZ}\ncreated_by: cloud\noutcome: draft\n---\n"
    return f"{head}# Plan\n\n## Why\n\n{text}\n\n## Steps\n\n1. Read the draft: [[{request}]].\n".encode()


def _receipt(request: str, at: datetime) -> bytes:
    key = _hex(f"{request} {at}")
    return (
        f"# Why `{request}.md` lies here\n\nreply_email was carried out at {at.isoformat()}Z, "
        f"approved by human (API).\n\n"
        f"- Receipt: <{key[:32]}@example.org> (smtp: accepted)\n- Action: {key[:32]}\n"
        f"- sha256 of what was approved: {key}\n\n{at.isoformat()}Z, local\n"
    ).encode()


def _claim(
    at: datetime, agent: str, event: str, task: str, old: str | None, new: str, reason: str | None = None
) -> Append:
    entry = {"at": f"{at.isoformat()}.{len(event) * 10_000:06}Z", "agent": agent, "event": event, "task": task}
    return Append(CLAIMS, _line(entry | {"from": old, "to": new} | ({"reason": reason} if reason else {})))


def _action(task: str, request: str, at: datetime) -> bytes:
    key = _hex(f"{request} {at}")
    entry = {"at": f"{at.isoformat()}Z", "action_id": key[:32], "request": request, "action": "reply_email"}
    entry |= {"source_task": task, "sha256": key, "approver": "human (API)", "via": "api", "state": "done"}
    entry |= {"approved_at": f"{at.isoformat()}Z", "expires_at": f"{at.isoformat()}Z", "error": None, "attempts": 1}
    receipt = {"provider": "smtp", "id": f"<{key[:32]}@example.org>", "detail": "accepted"}
    entry |= {"reference": receipt["id"], "message_id": receipt["id"]}
    return _line(entry | {"receipt": receipt, "duration_ms": 1397})


def _line(entry: dict[str, object]) -> bytes:
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
