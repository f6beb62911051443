"""An approval that was given elsewhere than on Local, as a value: its file, the bytes that are signed, its worth. Pure.

`docs/approvals-signing.md` is the format's description, with a test vector. Signatures are Ed25519 (RFC 8032) over the
UTF-8 bytes of `Statement.to_sign`, as WebCrypto and every other library make them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from utils.core.signing import BadKey
from utils.core.task import ID_PATTERN, parse_time

#: The first line of what is signed: a signature over anything else is none of an approval, and the other way round.
DOMAIN = "ai-employee/approval/v1"
#: A clock of another device may be ahead of ours by so much.
SKEW = timedelta(minutes=5)
_VERSION = 1
KEY = re.compile(r"[A-Za-z0-9_-]{43}")
#: Their private keys are printed in RFC 8032 §7.1, the first also in RFC 8037 A.1: whoever reads it can sign.
PUBLISHED = frozenset(
    {
        "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw",
        "_FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU",
        "J4EX_BRMcjQPZ9DyMW6Dhs7_vyskKMnFH-98WX8dQm4",
        "7Bcrk61eVjv0kyxw4SRQNMNUZ-8u_U1k6_gZaDRn4r8",
    }
)
_TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_FORMS = {
    "request": ID_PATTERN,
    "action": re.compile(r"[a-z_]{1,40}"),
    "sha256": re.compile(r"[0-9a-f]{64}"),
    "signer": re.compile(r"[A-Za-z0-9_-]{43}|"),
    "time": _TIME,
    "expires": _TIME,
    "nonce": re.compile(r"[0-9a-f]{32}"),
    "signature": re.compile(r"[A-Za-z0-9_-]{86}|"),
}
#: What is to be said of one of them.
PUBLISHED_WORDS = "its key is a test key of RFC 8032, whose private half everybody knows"


class BadStatement(ValueError):
    """A text is no approval; the message says what is wrong."""


@dataclass(frozen=True)
class Statement:
    """ "I approve these bytes." Times are UTC to the second (`2026-06-01T12:00:00Z`), keys and signatures base64url
    without padding (RFC 4648 §5). `signer` is the public key itself; it and `signature` are empty where nobody signed.
    """

    request: str
    action: str
    sha256: str  # of the request's file, 64 hex digits
    signer: str
    time: str
    expires: str
    nonce: str  # 32 hex digits, new for each approval
    signature: str = ""

    def to_sign(self) -> bytes:
        """The canonical bytes: the domain, then `name=value` a line, each with its newline. No value holds a newline,
        so two statements never have the same bytes."""
        names = ("request", "action", "sha256", "signer", "time", "expires", "nonce")
        lines = [DOMAIN, *(f"{name}={getattr(self, name)}" for name in names)]
        return "".join(f"{line}\n" for line in lines).encode()

    @property
    def use(self) -> str:
        """What names this approval for its one use: 32 hex digits. The signature is no part of it."""
        return hashlib.sha256(self.to_sign()).hexdigest()[:32]

    @property
    def given_at(self) -> datetime:
        """When it was given, by the signer's clock."""
        return parse_time(self.time)

    def until(self, hours: float) -> datetime:
        """How long it counts: its own word, but no longer than an approval of this action lives (hours)."""
        return min(parse_time(self.expires), self.given_at + timedelta(hours=hours))

    def signed(self, signature: bytes) -> Statement:
        """The same with its signature."""
        return replace(self, signature=encode(signature))

    def file(self) -> bytes:
        """The file's content: JSON."""
        return json.dumps({"type": "approval", "version": _VERSION, **asdict(self)}, indent=1).encode() + b"\n"

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.request}.{self.use[:12]}.json"


def read(data: bytes) -> Statement:
    """The statement in a file. Raises `BadStatement`."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise BadStatement("it is not JSON") from None
    if not isinstance(value, dict):
        raise BadStatement("it is no JSON object")
    return from_values(value)


def from_values(value: Mapping[str, Any]) -> Statement:
    """The statement in JSON values; `type` and `version` may be left out. Raises `BadStatement`."""
    names = [field.name for field in fields(Statement)]
    if unknown := sorted(value.keys() - {*names, "type", "version"}):
        raise BadStatement(f"unknown: {', '.join(str(name)[:40] for name in unknown[:5])}")
    if value.get("type", "approval") != "approval" or value.get("version", _VERSION) != _VERSION:
        raise BadStatement(f"it is no approval of version {_VERSION}")
    given = {"signer": "", "signature": "", **value}
    for name in names:
        text = given.get(name)
        if not isinstance(text, str) or not _FORMS[name].fullmatch(text):
            raise BadStatement(f"'{name}' is missing or not of its form")
    statement = Statement(**{name: given[name] for name in names})
    try:
        statement.until(0)
        if statement.signer:
            decode(statement.signer)
            decode(statement.signature)
    except (ValueError, OverflowError):
        raise BadStatement("a time, the key or the signature can't be read") from None
    if bool(statement.signer) != bool(statement.signature):
        raise BadStatement("it has a signer and no signature, or the other way round")
    return statement


def encode(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode(text: str) -> bytes:
    """The bytes of a text as `encode` writes it; no other spelling of them. Raises `ValueError`."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if encode(data) != text:
        raise ValueError("not the one spelling of these bytes")
    return data


def public_key(text: str) -> str:
    """The public key in what a person gave: 43 characters (`x` of a JWK). Raises `BadKey`, and repeats nothing."""
    if "PRIVATE KEY" in text or '"d"' in text:
        raise BadKey("this is a private key: it must never leave its device. Give the public one (43 characters)")
    text = text.strip()
    try:
        if KEY.fullmatch(text) and len(decode(text)) == 32:
            return text
    except ValueError:
        pass
    raise BadKey("this is no public approver key: it has 43 characters, as `create` prints them")


@dataclass(frozen=True)
class PassedOn:
    """An approval that was given here and is on its way to Local, which alone makes a record of it."""

    signed: bool  # by whom, and whether that counts, only Local knows
    at: str  # when it was given, by the giver's clock

    @property
    def words(self) -> str:
        """What becomes of it."""
        if self.signed:
            return f"approved remotely at {self.at}; Local carries it out after it verified the signature"
        return f"approved remotely at {self.at}; it waits for Local's confirmation, for nobody signed it"


@dataclass(frozen=True)
class Approver:
    """Somebody whose signature counts, or counted until `revoked_at`."""

    name: str
    key: str
    enrolled_at: str
    revoked_at: str | None = None


@dataclass(frozen=True)
class Circumstances:
    """What Local knows when it judges an approval. `action` and `sha256` are those of the file that lies here now, None
    where its request does not wait here.

    `approver`: whose key signed, or None where it is not enrolled. `genuine`: the signature is by that key over these
    words. `seen`: the file was seen to wait here. `used`: this approval made a record before. `hours`: how long an
    approval of this action lives. `put_back_at`: when this node was last put back from a backup.
    """

    action: str | None
    sha256: str | None
    approver: Approver | None
    genuine: bool
    seen: bool
    used: bool
    hours: float
    put_back_at: datetime | None
    now: datetime


def doubt(statement: Statement, here: Circumstances) -> str | None:
    """Why this approval makes no record, in words that follow "approved remotely, but"; or None: it counts."""
    if not statement.signature:
        return "nobody signed it"
    if not here.genuine:
        return "its signature is wrong: it was forged, or changed on its way"
    if here.approver is None:
        return f"its key {statement.signer} is not enrolled here"
    if here.approver.revoked_at is not None:
        return f"the key of {here.approver.name} was revoked here on {here.approver.revoked_at[:10]}"
    if statement.signer in PUBLISHED:
        return PUBLISHED_WORDS
    if here.used:
        return "this approval was used before: each counts once"
    if statement.given_at > here.now + SKEW:
        return f"it says that it was given at {statement.time}, which is yet to come: check that device's clock"
    if statement.until(here.hours) <= here.now:
        return f"it expired at {statement.until(here.hours):%Y-%m-%d %H:%M} UTC"
    if here.put_back_at is not None and statement.given_at <= here.put_back_at + SKEW:
        return "this node was put back from a backup after it was given, and may have used it before that"
    if here.sha256 is None:
        return "its request does not wait here"
    if statement.sha256 != here.sha256:
        return "it is for other words than those that lie here: they were edited, or it belongs to another request"
    if statement.action != here.action:
        return f"it is for another action ({statement.action})"
    if not here.seen:
        return "what it is for was never seen waiting here"
    return None


def is_over(statement: Statement, longest: float, now: datetime) -> bool:
    """Whether its file is of no use any more: it can't count from now on, `longest` hours being the longest life."""
    return not now < statement.until(longest) <= now + timedelta(hours=longest) + SKEW
