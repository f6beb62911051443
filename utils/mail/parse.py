"""A mail's bytes as a value. Pure, and it raises for no bytes at all: what is broken is named in `problems`."""

from __future__ import annotations

import email.policy
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.parser import BytesHeaderParser
from typing import Any, TypeVar

from utils.core.mail import Attachment, IncomingMail, RawMail
from utils.core.triage import TRIAGE_HEADERS
from utils.mail import text as texts
from utils.mail.authentication import sender_verdict

MAX_HEADER = 16_000  # characters of one header that are read
MAX_PARTS = 500
MAX_DEPTH = 30
MAX_ADDRESSES = 100
MAX_REFERENCES = 100
_ADDRESS = re.compile(r"[^@\s<>(),;:\\\"\[\]\x00-\x1f\x7f]+@[^@\s<>(),;:\\\"\[\]\x00-\x1f\x7f]+")
_LINE_END = re.compile(r"[\r\n]")
_BETWEEN = re.compile(r"(?<=\?=)[ \t]+(?==\?)")
_MESSAGE_ID = re.compile(r"<[^<>\s]{1,900}>")
_T = TypeVar("_T")


class _BoundedPolicy(email.policy.EmailPolicy):
    """`email.policy.default` that cuts endless headers: the standard library's header parser is slow on them."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        """As the parent's, cut."""
        name, value = super().header_source_parse(sourcelines)
        return name, value[:MAX_HEADER]


_POLICY = _BoundedPolicy()


def parse(raw: RawMail, *, account: str, authserv_id: str = "", max_attachment: int = 10 * 1024 * 1024) -> IncomingMail:
    """The mail in `raw`. `account` names the mailbox (it is part of the mail's key), `authserv_id` the receiving server
    whose verdict on the sender is believed; attachments above `max_attachment` bytes come without their content.
    """
    problems: list[str] = []
    message = _message(raw, problems)
    found = _Found(max_attachment)
    if raw.truncated:
        problems.append(f"the mail is too large to be read ({raw.size / 1_000_000:.1f} MB): only its headers were")
    else:
        _guarded(lambda: _collect(message, found, 0), None, problems, "its structure is broken")
    problems += found.problems
    body, cut = texts.bounded(texts.clean("\n\n".join(part for part in found.texts if part.strip())))
    if cut:
        problems.append(f"the text is longer than {texts.MAX_TEXT} characters; the rest was left out")
    if not raw.truncated and message.defects:
        problems.append(
            "its MIME structure is damaged: " + ", ".join(sorted({type(d).__name__ for d in message.defects}))
        )
    headers = {name: texts.one_line(value) for name in TRIAGE_HEADERS if (value := _text_of(message, name)) is not None}
    from_name, from_address = _first_address(message, "from")
    date = _date(message)
    references = tuple(_MESSAGE_ID.findall(_text_of(message, "references") or ""))[-MAX_REFERENCES:]
    replied_to = _MESSAGE_ID.findall(_text_of(message, "in-reply-to") or "")
    message_id = next(iter(_MESSAGE_ID.findall(_text_of(message, "message-id") or "")), "")
    return IncomingMail(
        message_id=message_id,
        account=account,
        from_name=from_name,
        from_address=from_address,
        reply_to=_first_address(message, "reply-to")[1],
        to=_addresses(message, "to"),
        cc=_addresses(message, "cc"),
        subject=texts.one_line(_text_of(message, "subject") or ""),
        date=date,
        received=_received(raw, date),
        in_reply_to=replied_to[0] if replied_to else "",
        references=references,
        text=body,
        new_text=texts.new_part(body),
        attachments=tuple(found.attachments),
        headers=headers,
        # Raw: a sender's encoded words, once decoded, could speak for the server.
        sender_authenticated=sender_verdict(
            next(_raw_values(message, "authentication-results"), None), authserv_id, from_address
        ),
        problems=tuple(dict.fromkeys(problems)),
        source_key=_source_key(raw, account, message),
        provider=raw.provider,
        truncated=raw.truncated,
        size=raw.size,
    )


@dataclass
class _Found:
    """What the walk through the parts gathers."""

    max_attachment: int
    texts: list[str] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    parts: int = 0


def _message(raw: RawMail, problems: list[str]) -> Message:
    if not raw.truncated:
        try:
            return message_from_bytes(raw.data, policy=_POLICY)
        except Exception:  # RecursionError of thousands of nested parts, and whatever the parser's next bug is
            problems.append("its structure is broken: read as one plain text")
    try:
        return BytesHeaderParser(policy=_POLICY).parsebytes(raw.data)
    except Exception:
        problems.append("not even its headers can be read")
        empty = EmailMessage(policy=_POLICY)
        empty.set_payload(texts.decode(raw.data[: texts.MAX_TEXT], "utf-8"))
        return empty


def _guarded(read: Callable[[], _T], otherwise: _T, problems: list[str] | None = None, problem: str = "") -> _T:
    """`read()`, or `otherwise` where the standard library stumbles: its header parser raises on some broken input."""
    try:
        return read()
    except Exception as error:
        if problems is not None:
            problems.append(f"{problem} ({type(error).__name__})")
        return otherwise


def _collect(part: Message, found: _Found, depth: int) -> None:
    """Gather texts and attachments of a part and all below it, in order."""
    found.parts += 1
    if found.parts > MAX_PARTS or depth > MAX_DEPTH:
        found.problems.append("it has too many parts; the rest was left out")
        return
    kind = _guarded(part.get_content_type, "text/plain")
    if part.is_multipart() and kind != "message/rfc822":
        children = [child for child in part.get_payload() if isinstance(child, Message)]
        if kind == "multipart/alternative":
            _collect_alternative(children, found, depth)
            return
        for child in children:
            _collect(child, found, depth + 1)
        return
    name = texts.one_line(_guarded(lambda: part.get_filename() or "", ""), 200)
    attached = _guarded(lambda: part.get_content_disposition() == "attachment", False)
    if kind == "message/rfc822":
        _attach_mail(part, name, found)
    elif kind in ("text/plain", "text/html", "message/delivery-status") and not attached and not name:
        text = _text(part)
        if texts.is_noise(text):
            size = len(_payload(part))
            found.texts.append(f"(The text cannot be read as text, {size} bytes; the original is kept in the mailbox.)")
            found.problems.append("what should be text is not")
        else:
            found.texts.append(texts.from_html(text) if kind == "text/html" else text)
    else:
        _attach(found, name or f"part-{found.parts}", kind, _payload(part))


def _collect_alternative(children: list[Message], found: _Found, depth: int) -> None:
    """Of several versions of one text: the plain one, unless it is empty; attachments of all."""
    best: list[str] = []
    for child in children:
        inner = _Found(found.max_attachment, parts=found.parts)
        _collect(child, inner, depth + 1)
        found.parts = inner.parts
        found.attachments += inner.attachments
        found.problems += inner.problems
        if not best and any(text.strip() for text in inner.texts):
            best = inner.texts
        if best and found.parts > MAX_PARTS:
            break
    found.texts += best


def _attach_mail(part: Message, name: str, found: _Found) -> None:
    payload = part.get_payload()
    inner = payload[0] if isinstance(payload, list) and payload else None
    if isinstance(inner, Message):
        subject = texts.one_line(_text_of(inner, "subject") or "", 80)
        data = _guarded(inner.as_bytes, b"") or _guarded(lambda: str(inner).encode("utf-8", "replace"), b"")
        _attach(found, name or f"{subject or 'attached mail'}.eml", "message/rfc822", data)
    else:
        _attach(found, name or "attached mail.eml", "message/rfc822", _payload(part))


def _attach(found: _Found, name: str, kind: str, data: bytes) -> None:
    content = data if len(data) <= found.max_attachment else None
    found.attachments.append(Attachment(name, texts.one_line(kind, 100), len(data), content))


def _payload(part: Message) -> bytes:
    data = _guarded(lambda: part.get_payload(decode=True), None)
    if isinstance(data, bytes):
        return data
    plain: object = _guarded(part.get_payload, None)
    return plain.encode("utf-8", "surrogateescape") if isinstance(plain, str) else b""


def _text(part: Message) -> str:
    charset = _guarded(lambda: str(part.get_content_charset() or ""), "")
    return texts.decode(_payload(part)[: 4 * texts.MAX_HTML], charset)


def _raw_values(message: Message, name: str) -> Iterator[str]:
    """The values of all headers of that name, unfolded (RFC 5322 §2.2.3): the white space of a fold stays, for between
    two encoded words it is none (RFC 2047 §6.2)."""
    for key, value in message.raw_items():
        if key.lower() == name:
            yield _LINE_END.sub("", _readable(str(value)))


def _text_of(message: Message, name: str) -> str | None:
    """The first header of that name, decoded; None where there is none."""
    value = next(_raw_values(message, name), None)
    if value is None:
        return None
    return texts.clean(_guarded(lambda: _unfold(str(_POLICY.header_factory(name, value))), _unfold(value)))


def _readable(value: str) -> str:
    """Raw bytes in a header come as surrogates; whoever sends them means UTF-8 or Latin nowadays (RFC 6532)."""
    if any("\udc80" <= char <= "\udcff" for char in value):
        return texts.decode(value.encode("utf-8", "surrogateescape"), "")
    return value


def _unfold(value: str) -> str:
    return " ".join(value.split())


def _mailboxes(message: Message, name: str) -> list[tuple[str, str]]:
    """`(display name, address)` of an address header; nothing that is no address."""
    value = next(_raw_values(message, name), None)
    if value is None:
        return []

    def read() -> list[tuple[str, str]]:
        joined = _BETWEEN.sub("", value)  # the standard library takes it for a space in a name (CPython gh-92081)
        header: Any = _POLICY.header_factory(name, joined)
        return [(_unfold(str(a.display_name or "")), str(a.addr_spec or "")) for a in header.addresses]

    def usable(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        pairs = [(shown, _normal(address)) for shown, address in pairs]
        return [(texts.one_line(shown, 200), address) for shown, address in pairs if address]

    found = usable(_guarded(read, []))
    if not found:  # broken syntax: an address that can be seen is better than none
        found = usable([("", match) for match in _ADDRESS.findall(_unfold(value))])
    return found[:MAX_ADDRESSES]


def _normal(address: str) -> str:
    """`local@domain` with the domain in lower case, or "" where it is no address."""
    address = texts.clean(address).strip()
    if len(address) > 320 or not _ADDRESS.fullmatch(address):
        return ""
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain.lower()}"


def _first_address(message: Message, name: str) -> tuple[str, str]:
    return next(iter(_mailboxes(message, name)), ("", ""))


def _addresses(message: Message, name: str) -> tuple[str, ...]:
    return tuple(address for _, address in _mailboxes(message, name))


def _date(message: Message) -> datetime | None:
    value = next(_raw_values(message, "date"), None)
    if value is None:
        return None

    def read() -> datetime | None:
        header: Any = _POLICY.header_factory("date", value)
        found = header.datetime
        return None if found is None else (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)

    return _guarded(read, None)


def _received(raw: RawMail, date: datetime | None) -> datetime:
    """When it came, to the second: as the mailbox says, else its date, else a fixed time, for the id must be stable."""
    when = raw.received or date or datetime(1970, 1, 1, tzinfo=UTC)
    return when.astimezone(UTC).replace(microsecond=0)


def _source_key(raw: RawMail, account: str, message: Message) -> str:
    """The same mail always has the same key: a hash of account, Message-ID, Date and From as they stand in the mail,
    and of all its bytes where one of them is missing."""
    values = [" ".join(next(_raw_values(message, name), "").split()) for name in ("message-id", "date", "from")]
    digest = hashlib.sha256()
    for value in (account, *values):
        digest.update(value.encode("utf-8", "surrogateescape") + b"\0")
    if not all(values):
        digest.update(raw.data)
    return digest.hexdigest()
