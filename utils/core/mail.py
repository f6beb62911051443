"""Values of the mail path: what comes in, what an engine proposes, what goes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Category(StrEnum):
    """What a mail is about, as far as triage goes."""

    ENQUIRY = "enquiry"
    MEETING = "meeting"
    INVOICE = "invoice"
    SUPPORT = "support"
    PERSONAL = "personal"
    NEWSLETTER = "newsletter"
    NOTIFICATION = "notification"
    BOUNCE = "bounce"
    OTHER = "other"


@dataclass(frozen=True)
class RawMail:
    """A mail as a mailbox hands it out. `key` names it within the mailbox (opaque to others)."""

    key: str
    data: bytes = field(repr=False)
    received: datetime | None  # aware UTC; None where the mailbox does not know
    size: int  # of the whole message, in bytes
    truncated: bool = False  # data holds the headers only, since the message is above the limit
    provider: str = ""


@dataclass(frozen=True)
class Attachment:
    """A named part of a mail. `content` is None where it is too large to store."""

    name: str
    content_type: str
    size: int
    content: bytes | None = field(repr=False, default=None)


@dataclass(frozen=True)
class IncomingMail:
    """A parsed mail. All text is decoded; nothing in it is to be trusted."""

    message_id: str  # with angle brackets, or "" where the mail has none
    account: str
    from_name: str
    from_address: str  # lower-case domain; "" where there is no usable From
    reply_to: str  # address, or ""
    to: tuple[str, ...]
    cc: tuple[str, ...]
    subject: str
    date: datetime | None
    received: datetime
    in_reply_to: str
    references: tuple[str, ...]
    text: str  # readable text of the whole body
    new_text: str  # the same without quoted history and signature
    attachments: tuple[Attachment, ...]
    headers: Mapping[str, str]  # lower-case name -> first value, decoded
    sender_authenticated: bool | None  # None: the receiving server said nothing
    problems: tuple[str, ...] = ()  # defects found while parsing, in plain words
    source_key: str = ""  # stable key of the mail, for its id
    provider: str = ""
    truncated: bool = False
    size: int = 0


@dataclass(frozen=True)
class ReplyRules:
    """What the company handbook says about replies."""

    our_address: str
    our_name: str
    signature: str
    guidance: str = ""


@dataclass(frozen=True)
class Proposal:
    """What an engine returns, and nothing else (S12): no recipient, no subject, no attachment, no tool."""

    category: Category
    priority: str  # one of utils.core.task.PRIORITIES
    draft: str | None  # None: no reply is needed
    why: str


@dataclass(frozen=True)
class OutgoingMail:
    """One mail, rendered and final. `data` is the RFC 5322 message, CRLF line ends, without Bcc."""

    message_id: str
    sender: str
    recipients: tuple[str, ...]  # the envelope: To, Cc and Bcc
    data: bytes = field(repr=False)
