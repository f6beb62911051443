"""A mail out of an approved request. Pure: the same request, action id and date always give the same bytes.

The standard library encodes names, subject and body; headers that hold machine text only (ids, date) are written here,
since the library folds a long `References` into encoded words, which breaks threading (RFC 5322 §2.2.3, §3.6.4).
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from utils.core.mail import OutgoingMail
from utils.core.task import ApprovalRequest, InvalidTask

MAX_RECIPIENTS = 100
#: The sender where none is set: good enough for the outbox, which sends nothing anywhere.
FALLBACK_SENDER = "ai-employee@localhost"
_LINE = 900
_MESSAGE_ID = re.compile(r"<[\x21-\x3b\x3d\x3f-\x7e]+>\Z")
_LOCAL = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+"
_DOMAIN = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
_ADDRESS = re.compile(rf"{_LOCAL}@{_DOMAIN}\Z")


def problems(request: ApprovalRequest) -> list[str]:
    """Why this request can't become a mail, in plain sentences; empty where it can."""
    found = []
    fields = request.fields
    for name in ("to", "cc", "bcc"):
        for entry in fields.get(name) or []:
            try:
                _address(entry)
            except ValueError as error:
                found.append(f"'{name}': {error}")
    if sum(len(fields.get(name) or []) for name in ("to", "cc", "bcc")) > MAX_RECIPIENTS:
        found.append(f"more than {MAX_RECIPIENTS} recipients")
    subject = fields.get("subject")
    if not isinstance(subject, str):
        found.append("'subject' is not text: put it in quotes")
    elif _has_controls(subject):
        found.append("'subject' holds a line break or another control character")
    for name, ids in (("in_reply_to", [fields.get("in_reply_to")]), ("references", fields.get("references") or [])):
        found += [f"'{name}': {value!r} is no message id" for value in ids if value is not None and not _is_id(value)]
    if fields.get("attachments"):
        found.append("'attachments' can't be sent yet: remove them from the request and send them by hand")
    if not request.draft.strip():
        found.append("the draft is empty")
    return found


def message_id(action_id: str, sender: str) -> str:
    """Our Message-ID for an action: always the same, so that the mail can be looked for after a crash."""
    return f"<{action_id}@{sender.rpartition('@')[2]}>"


def render(
    request: ApprovalRequest, *, action_id: str, date: datetime, sender: str, sender_name: str = ""
) -> OutgoingMail:
    """The mail that `request` asks for, from `sender` (a bare address; empty: a stand-in), dated `date`.

    Body, once decoded, is the draft and a final line end; Bcc is in the envelope alone. Raises `InvalidTask` with what
    is wrong.
    """
    found = problems(request)
    sender = sender or FALLBACK_SENDER
    if not _ADDRESS.match(sender):
        found.append(f"MAIL_FROM is {sender!r}, which is no address that can be sent from")
    if found:
        raise InvalidTask(found)
    fields = request.fields
    people = {name: [_address(entry) for entry in fields.get(name) or []] for name in ("to", "cc", "bcc")}
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(sender_name if not _has_controls(sender_name) else "", addr_spec=sender)
    message["To"] = people["to"]
    if people["cc"]:
        message["Cc"] = people["cc"]
    message["Subject"] = fields["subject"]
    body = request.draft + "\n"
    message.set_content(body, charset="utf-8", cte=_encoding(body))
    identifier = message_id(action_id, sender)
    headers = _machine_headers(request, action_id, identifier, date)
    addresses = [address.addr_spec for name in ("to", "cc", "bcc") for address in people[name]]
    return OutgoingMail(identifier, sender, tuple(dict.fromkeys(addresses)), headers + message.as_bytes())


def recipients(request: ApprovalRequest) -> tuple[str, ...]:
    """The bare addresses of everyone who gets the mail; what is no address is left out."""
    entries = [str(entry) for name in ("to", "cc", "bcc") for entry in request.fields.get(name) or []]
    found = (_name_and_address(entry)[1] for entry in entries)
    return tuple(dict.fromkeys(address for address in found if _ADDRESS.match(address)))


def _machine_headers(request: ApprovalRequest, action_id: str, identifier: str, date: datetime) -> bytes:
    lines = [f"Date: {format_datetime(date)}", f"Message-ID: {identifier}", f"X-Action-Id: {action_id}"]
    answered = request.fields.get("in_reply_to")
    if answered:
        lines.append(f"In-Reply-To: {answered}")
        chain = dict.fromkeys([*(request.fields.get("references") or []), answered])
        lines.append("References: " + "\r\n ".join(chain))
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def _address(entry: str) -> Address:
    """One recipient, `ann@example.org` or `Ann <ann@example.org>`, and nothing that could be read in two ways."""
    if _has_controls(entry):
        raise ValueError(f"{entry!r} holds a line break or another control character")
    name, spec = _name_and_address(entry)
    if not spec.isascii():
        if spec.rpartition("@")[0].isascii():
            raise ValueError(f"{entry!r}: write the domain in its ASCII form (xn--…)")
        raise ValueError(f"{entry!r}: letters beyond ASCII before the @ can't be sent to yet (SMTPUTF8)")
    if not _ADDRESS.match(spec) or ".." in spec or len(spec) > 254:
        raise ValueError(f"{entry!r} is not one e-mail address")
    return Address(name, addr_spec=spec)


def _name_and_address(entry: str) -> tuple[str, str]:
    match = re.fullmatch(r"\s*([^<>]*?)\s*<([^<>]*)>\s*", entry)
    if match is None:
        return "", entry.strip()
    name = match[1]
    if len(name) >= 2 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    return name, match[2]


def _is_id(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LINE and _MESSAGE_ID.match(value) is not None


def _has_controls(text: str) -> bool:
    return any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in text)


def _encoding(body: str) -> str:
    plain = body.isascii() and all(char >= " " or char == "\n" for char in body)
    return "7bit" if plain and max(map(len, body.split("\n"))) <= _LINE else "quoted-printable"
