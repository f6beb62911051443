"""A mail out of an approved request. Pure: the same request, action id and date always give the same bytes.

Every byte of the header is written here. The standard library parses what a header is set to, and decodes encoded words
in it: a stranger's subject could then bring line breaks, and with them headers and a body of its own (S12). What was
written is read back by that very parser, and refused where it says anything but the request.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.utils import format_datetime
from mimetypes import MimeTypes
from typing import Any
from urllib.parse import quote

from utils.core import attached
from utils.core.attached import Attached
from utils.core.mail import OutgoingMail
from utils.core.task import ApprovalRequest, InvalidTask

MAX_RECIPIENTS = 100
MAX_REFERENCES = 100
#: Characters; longer ones are no subject and no name, and slow to check.
MAX_SUBJECT, MAX_NAME = 998, 200
#: Bytes of a draft; the API takes no longer body either.
MAX_DRAFT = 1024 * 1024
#: The sender where none is set: good enough for the outbox, which sends nothing anywhere.
FALLBACK_SENDER = "ai-employee@localhost"
_LINE = 900
_MESSAGE_ID = re.compile(r"<[\x21-\x3b\x3d\x3f-\x7e]+>\Z")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOMAIN = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
_ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_DOMAIN}\Z")
#: Words of printable ASCII with single blanks between them: the same before and after folding.
_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*\Z")
_FORWARDED = re.compile(r"Fwd?: ", re.IGNORECASE)
#: The library's own table, not the machine's: the same name gives the same kind everywhere.
_KINDS = MimeTypes()
_WORD_BYTES = 42  # of text in one encoded word: 56 characters of base64, well below the 75 of RFC 2047 §2


@dataclass(frozen=True)
class _Person:
    """One recipient or sender; `name` may be empty."""

    name: str
    address: str


def problems(request: ApprovalRequest) -> list[str]:
    """Why this request can't become a mail, in plain sentences; empty where it can."""
    found = _problems_of_fields(request)
    if found:
        return found
    author, empty = _Person("", FALLBACK_SENDER), [b""] * len(files(request))
    sample = _build(request, "0" * 32, datetime(2026, 1, 1, tzinfo=UTC), author, empty)
    return _misread(sample, request, author, empty)


def files(request: ApprovalRequest) -> list[Attached]:
    """The files that the mail will attach, in their order."""
    return attached.read(request.fields)[0]


def message_id(action_id: str, sender: str) -> str:
    """Our Message-ID for an action: always the same, so that the mail can be looked for after a crash."""
    return f"<{action_id}@{sender.rpartition('@')[2]}>"


def render(
    request: ApprovalRequest,
    *,
    action_id: str,
    date: datetime,
    sender: str,
    sender_name: str = "",
    contents: Sequence[bytes] = (),
) -> OutgoingMail:
    """The mail that `request` asks for, from `sender` (a bare address; empty: a stand-in), dated `date`.

    Body, once decoded, is the draft and a final line end; Bcc is in the envelope alone. `contents` are the bytes of
    `files(request)`. Raises `InvalidTask` with what is wrong.
    """
    found = _problems_of_fields(request)
    sender = sender or FALLBACK_SENDER
    if not _is_address(sender):
        found.append(f"MAIL_FROM is {sender!r}, which is no address that can be sent from")
    if found:
        raise InvalidTask(found)
    usable = not _has_controls(sender_name) and len(sender_name) <= MAX_NAME
    author = _Person(sender_name.strip() if usable else "", sender)
    mail = _build(request, action_id, date, author, contents)
    found = _misread(mail, request, author, contents)
    if found:
        raise InvalidTask(found)
    return mail


def _problems_of_fields(request: ApprovalRequest) -> list[str]:
    found = []
    fields = request.fields
    for name in ("to", "cc", "bcc"):
        for entry in fields.get(name) or []:
            try:
                _person(entry)
            except ValueError as error:
                found.append(f"'{name}': {error}")
    if sum(len(fields.get(name) or []) for name in ("to", "cc", "bcc")) > MAX_RECIPIENTS:
        found.append(f"more than {MAX_RECIPIENTS} recipients")
    subject = fields.get("subject")
    if not isinstance(subject, str):
        found.append("'subject' is not text: put it in quotes")
    elif _has_controls(subject):
        found.append("'subject' holds a line break or another control character")
    elif len(subject) > MAX_SUBJECT:
        found.append(f"'subject' is longer than {MAX_SUBJECT} characters")
    references = fields.get("references") or []
    if len(references) > MAX_REFERENCES:
        found.append(f"'references' has more than {MAX_REFERENCES} message ids")
    for name, ids in (("in_reply_to", [fields.get("in_reply_to")]), ("references", references[:MAX_REFERENCES])):
        found += [
            f"'{name}': {_cut(value)} is no message id" for value in ids if value is not None and not _is_id(value)
        ]
    if request.action == "forward_email":
        found += _problems_of_forward(fields)
    found += attached.read(fields)[1]
    if not request.draft.strip():
        found.append("the draft is empty")
    if len(request.draft.encode("utf-8", "replace")) > MAX_DRAFT:
        found.append(f"the draft is longer than {MAX_DRAFT // 1024} KiB: attach it as a file")
    if "\r" in request.draft.replace("\r\n", "\n"):
        found.append("the draft holds a carriage return that is no line end: remove it, or put a line break there")
    return found


def _problems_of_forward(fields: Mapping[str, Any]) -> list[str]:
    found = []
    if not _is_id(fields.get("source_message")):
        found.append(f"'source_message': {_cut(fields.get('source_message'))} is no message id")
    if isinstance(fields.get("subject"), str) and not _FORWARDED.match(fields["subject"]):
        found.append("'subject' of a forwarded mail must begin with 'Fwd: '")
    return found


def _build(
    request: ApprovalRequest, action_id: str, date: datetime, author: _Person, contents: Sequence[bytes] = ()
) -> OutgoingMail:
    identifier = message_id(action_id, author.address)
    people = _people(request)
    body, encoding = _body(request.draft)
    headers = [*_machine_headers(request, action_id, identifier, date), ("From", _mailbox(author))]
    for name in ("To", "Cc"):
        if people[name]:
            headers.append((name, ",\r\n ".join(map(_mailbox, people[name]))))
    headers += [("Subject", _text(request.fields["subject"], len("Subject: "))), ("MIME-Version", "1.0")]
    text = [("Content-Type", 'text/plain; charset="utf-8"'), ("Content-Transfer-Encoding", encoding)]
    enclosed = files(request)
    if enclosed:
        # Nobody who writes a draft knows the action's id: the line can't stand in it.
        boundary = f"=_{action_id}"
        parts = [_part(text, body), *map(_enclosed, enclosed, contents)]
        data = _part([*headers, ("Content-Type", f'multipart/mixed;\r\n boundary="{boundary}"')], b"")
        line = f"\r\n--{boundary}".encode("ascii")
        data += b"".join(line + b"\r\n" + part for part in parts) + line + b"--\r\n"
    else:
        data = _part([*headers, *text], body)
    addresses = dict.fromkeys(person.address for group in people.values() for person in group)
    named = {person.address for person in people["To"] + people["Cc"]}
    hidden = tuple(address for address in addresses if address not in named)
    return OutgoingMail(identifier, author.address, tuple(addresses), data, hidden)


def _part(headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode("ascii") + b"\r\n" + body


def _enclosed(file: Attached, content: bytes) -> bytes:
    headers = [
        ("Content-Type", _kind(file)),
        ("Content-Transfer-Encoding", "base64"),
        ("Content-Disposition", f"attachment;\r\n {_filename(file.name)}"),
    ]
    return _part(headers, base64.encodebytes(content).replace(b"\n", b"\r\n"))


def _kind(file: Attached) -> str:
    """The media type that the ending says; a text's bytes and a mail's structure stay closed to whoever relays it."""
    kind = _KINDS.guess_type(file.name)[0] or ""
    return "application/octet-stream" if not kind or kind.startswith(("multipart/", "message/")) else kind


def _filename(name: str) -> str:
    """RFC 2183 §2.3; beyond plain ASCII as RFC 2231 §4 writes it."""
    plain = re.fullmatch(r"[A-Za-z0-9_.()+ -]{1,60}", name)
    return f'filename="{name}"' if plain else f"filename*=utf-8''{quote(name, safe='')}"


def _misread(
    mail: OutgoingMail, request: ApprovalRequest, author: _Person, contents: Sequence[bytes] = ()
) -> list[str]:
    """What a mail program would take differently from what the request says; must be nothing."""
    try:
        message = message_from_bytes(mail.data, policy=policy.default)
        people = _people(request)
        enclosed = list(message.iter_attachments()) if files(request) else []
        text: Any = message.get_payload(0) if files(request) else message
        pairs: dict[str, tuple[Any, Any]] = {
            "the headers": (sorted(message.keys()), sorted(_expected_headers(request))),
            "the sender": (_read_people(message["From"]), _comparable([author])),
            "'to'": (_read_people(message["To"]), _comparable(people["To"])),
            "'cc'": (_read_people(message["Cc"]), _comparable(people["Cc"])),
            "'subject'": (str(message["Subject"]), request.fields["subject"]),
            "the kind of text": ((text.get_content_type(), text.get_content_charset()), ("text/plain", "utf-8")),
            "its structure": (_structure(message), ([], 1 + len(files(request)) if files(request) else 0)),
            "the draft": (_read_body(text), request.draft.replace("\r\n", "\n") + "\n"),
            "an attachment": (
                [
                    (part.get_filename(), part.get_content_disposition(), part.get_payload(decode=True))
                    for part in enclosed
                ],
                [(file.name, "attachment", data) for file, data in zip(files(request), contents, strict=True)],
            ),
        }
    except Exception as error:  # a parser's own bug on odd text: then nobody knows what others would read
        return [f"the mail can't be read back ({type(error).__name__}): reword its subject and its names"]
    return [
        f"{what} would arrive as something else than is shown here: reword it"
        for what, (is_, be) in pairs.items()
        if is_ != be
    ]


def _structure(message: Any) -> tuple[list[Any], int]:
    """What is broken anywhere in it, and how many parts it has below it."""
    parts = list(message.walk())
    return [defect for part in parts for defect in part.defects], len(parts) - 1


def _expected_headers(request: ApprovalRequest) -> list[str]:
    names = ["Date", "Message-ID", "X-Action-Id", "From", "Subject", "MIME-Version", "Content-Type"]
    names += [] if files(request) else ["Content-Transfer-Encoding"]
    names += [name for name in ("To", "Cc") if request.fields.get(name.lower())]
    return names + [name for name, _ in _thread(request)]


def _read_people(header: Any) -> list[_Person]:
    if header is None:
        return []
    return _comparable([_Person(address.display_name or "", address.addr_spec) for address in header.addresses])


def _comparable(people: list[_Person]) -> list[_Person]:
    """Names without their blanks: between two encoded words the library keeps one that mail programs drop."""
    return [_Person("".join(person.name.split()), person.address) for person in people]


def _read_body(message: Any) -> str:
    data: bytes = message.get_payload(decode=True)
    return data.decode("utf-8").replace("\r\n", "\n")


def _machine_headers(
    request: ApprovalRequest, action_id: str, identifier: str, date: datetime
) -> list[tuple[str, str]]:
    headers = [("Date", format_datetime(date)), ("Message-ID", identifier), ("X-Action-Id", action_id)]
    return headers + _thread(request)


def _thread(request: ApprovalRequest) -> list[tuple[str, str]]:
    """What ties it to other mails (RFC 5322 §3.6.4). A forwarded mail answers nothing."""
    if request.action == "forward_email":
        return [("References", request.fields["source_message"])]
    answered = request.fields.get("in_reply_to")
    if not answered:
        return []
    chain = dict.fromkeys([*(request.fields.get("references") or []), answered])
    return [("In-Reply-To", answered), ("References", "\r\n ".join(chain))]


def _people(request: ApprovalRequest) -> dict[str, list[_Person]]:
    return {name: [_person(entry) for entry in request.fields.get(name.lower()) or []] for name in ("To", "Cc", "Bcc")}


def _person(entry: str) -> _Person:
    """One recipient, `ann@example.org` or `Ann <ann@example.org>`, and nothing that could be read in two ways."""
    if _has_controls(entry):
        raise ValueError(f"{_cut(entry)} holds a line break or another control character")
    name, address = _name_and_address(entry)
    if not address.isascii():
        if address.rpartition("@")[0].isascii():
            raise ValueError(f"{_cut(entry)}: write the domain in its ASCII form (xn--…)")
        raise ValueError(f"{_cut(entry)}: letters beyond ASCII before the @ can't be sent to yet (SMTPUTF8)")
    if not _is_address(address):
        raise ValueError(f"{_cut(entry)} is not one e-mail address")
    if len(name) > MAX_NAME:
        raise ValueError(f"{_cut(entry)}: the name is longer than {MAX_NAME} characters")
    return _Person(name, address)


def _name_and_address(entry: str) -> tuple[str, str]:
    match = re.fullmatch(r"([^<>]*)<([^<>]*)>\s*", entry)
    if match is None:
        return "", entry.strip()
    name = match[1].strip()
    if len(name) >= 2 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1]).strip()
    return name, match[2]


def _is_address(address: str) -> bool:
    # "=?" begins an encoded word, which some programs decode wherever they see it.
    return len(address) <= 254 and "=?" not in address and _ADDRESS.match(address) is not None


def _is_id(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LINE and _MESSAGE_ID.match(value) is not None


def _has_controls(text: str) -> bool:
    return any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in text)


def _cut(value: object) -> str:
    if not isinstance(value, str):
        return f"a {type(value).__name__}"  # not the value: a number can be too long to print
    return repr(value if len(value) <= 120 else f"{value[:120]}…")


def _mailbox(person: _Person) -> str:
    if not person.name:
        return person.address
    plain = _PLAIN.match(person.name) and not re.search(r'=\?|["\\]', person.name) and len(person.name) <= 60
    return f'"{person.name}"\r\n <{person.address}>' if plain else f"{_encoded(person.name)}\r\n <{person.address}>"


def _text(text: str, used: int) -> str:
    """A header's words: as they are where that is unmistakable, else as encoded words. `used`: of the first line."""
    words = text.split(" ")
    if "=?" in text or not _PLAIN.match(text) or max(map(len, words)) > 70:
        return _encoded(text) if text else ""
    lines = [words[0]]
    for word in words[1:]:
        if used + len(lines[-1]) + 1 + len(word) > 76:
            lines.append(word)
            used = 1
        else:
            lines[-1] += f" {word}"
    return "\r\n ".join(lines)


def _encoded(text: str) -> str:
    """RFC 2047 encoded words, one a line, none of them with half a character."""
    chunks = [""]
    for char in text:
        if len((chunks[-1] + char).encode("utf-8")) > _WORD_BYTES:
            chunks.append("")
        chunks[-1] += char
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(chunk.encode('utf-8')).decode('ascii')}?=" for chunk in chunks)


def _body(draft: str) -> tuple[bytes, str]:
    """`(bytes with CRLF line ends, Content-Transfer-Encoding)` of the draft and a final line end."""
    text = draft.replace("\r\n", "\n") + "\n"
    plain = text.isascii() and all((char >= " " and char != "\x7f") or char in "\n\t" for char in text)
    if plain and max(map(len, text.split("\n"))) <= _LINE:
        return text.replace("\n", "\r\n").encode("ascii"), "7bit"
    return binascii.b2a_qp(text.encode("utf-8"), istext=True).replace(b"\n", b"\r\n"), "quoted-printable"
