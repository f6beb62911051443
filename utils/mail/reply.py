"""The reply to a mail, as far as code decides it: recipient, subject, thread, and what the human is warned of. Pure.

Nothing here comes from an engine (S12): it may propose the text, never whom it goes to.
"""

from __future__ import annotations

import re
from typing import Any

from utils.core import visible
from utils.core.mail import IncomingMail, ReplyRules
from utils.core.request_notes import no_address_flag, reply_to_flag, sender_flag
from utils.execution.render import FALLBACK_SENDER
from utils.mail.handbook import HANDBOOK
from utils.mail.text import one_line

MAX_REFERENCES = 20
MAX_SUBJECT = 500
_REPLY_PREFIX = re.compile(r"^\s*(?:(?:re|aw|antw|sv|vs)\s*(?:\[\d+\])?\s*:\s*)+", re.IGNORECASE)
_ADDRESS = re.compile(r"[^@\s<>\"',;:()\[\]]+@[^@\s<>\"',;:()\[\]]+\.[^@\s<>\"',;:()\[\]]+")
_SENSITIVE = re.compile(
    r"\b(gift ?cards?|bank details|wire transfer|iban|password|passwort|bitcoin|crypto|verification code|"
    r"bankverbindung|kontodaten|überweis\w*|zugangsdaten)\b",
    re.IGNORECASE,
)
#: A first line of a signature that names nobody; the handbook of a new vault has no more.
_CLOSING = re.compile(
    r"\A\s*(?:(?:kind|best|warm|many)(?:est)? (?:regards|wishes|thanks)|regards|yours \w+|sincerely|thanks|cheers|"
    r"(?:mit )?(?:freundlichen|besten|herzlichen|viele|beste|liebe|freundliche) gr(?:ü|ue)(?:ß|ss)en?)"
    r"[,.!]?\s*(?:\n|\Z)",
    re.IGNORECASE,
)
_RISKY_FILE = re.compile(
    r"\.(?:exe|scr|bat|cmd|com|js|jse|vbs|vbe|ps1|lnk|hta|jar|msi|iso|img|docm|xlsm|pptm|html?|svg)$", re.I
)


def recipient(mail: IncomingMail) -> str:
    """Whom a reply goes to: Reply-To, else From (RFC 5322 §3.6.2); "" where the mail has neither."""
    return mail.reply_to or mail.from_address


def subject(original: str) -> str:
    """`Re: ` once, however often the original has it, in whatever language (RFC 5322 §3.6.5); nothing invisible."""
    return f"Re: {_REPLY_PREFIX.sub('', one_line(visible.strip(original), MAX_SUBJECT)).strip()}".strip()


def references(mail: IncomingMail) -> list[str]:
    """The thread's ids up to the mail itself (RFC 5322 §3.6.4); of a long thread the root and the newest."""
    before = list(mail.references) or ([mail.in_reply_to] if mail.in_reply_to else [])
    chain = list(dict.fromkeys(id for id in [*before, mail.message_id] if id))
    return chain if len(chain) <= MAX_REFERENCES else [chain[0], *chain[-(MAX_REFERENCES - 1) :]]


def thread_id(mail: IncomingMail) -> str:
    """The id of the first mail of the thread, as far as it is known; "" where the mail has no id at all."""
    return next(iter(references(mail)), "")


def action_of(mail: IncomingMail) -> str:
    """`reply_email`; a mail without a Message-ID can't be threaded, so its answer is a plain `send_email`."""
    return "reply_email" if mail.message_id else "send_email"


def fields(mail: IncomingMail) -> dict[str, Any]:
    """The action's own front-matter fields."""
    common = {"to": [recipient(mail)], "cc": [], "subject": subject(mail.subject)}
    if action_of(mail) == "send_email":
        return common
    return common | {"in_reply_to": mail.message_id, "references": references(mail), "thread": thread_id(mail)}


def risks(mail: IncomingMail) -> list[str]:
    """What the human should look at before approving, in plain words, the gravest first."""
    sender = sender_flag(mail.from_address, mail.sender_authenticated)
    found = [sender] if sender else []
    if mail.reply_to and mail.reply_to.lower() != mail.from_address.lower():
        found.append(reply_to_flag(mail.reply_to, mail.from_address))
    shown = _ADDRESS.search(mail.from_name)
    if shown and shown[0].lower() != mail.from_address.lower():
        found.append(f"The sender's name shows the address {shown[0]}, but the mail comes from {mail.from_address}.")
    if not f"{mail.from_address}{mail.reply_to}".isascii():
        found.append("An address has letters that are not plain ASCII; it may imitate another one.")
    sensitive = sorted({match.lower() for match in _SENSITIVE.findall(f"{mail.subject}\n{mail.new_text}")})
    if sensitive:
        found.append(f"It speaks of {', '.join(sensitive[:3])}: check by another way than this mail.")
    if visible.has_hidden(f"{mail.subject}\n{mail.from_name}\n{mail.text}"):
        found.append("It has invisible or direction-changing characters: what you see may not be what it says.")
    names = f"{mail.from_name} {mail.from_address} {mail.reply_to} {mail.subject}\n{mail.new_text}"
    found += [flag for flag in visible.flags(names, "It") if "characters" not in flag]
    risky = [a.name for a in mail.attachments if _RISKY_FILE.search(a.name)]
    if risky:
        found.append(f"Attachments of a kind that can run programs: {', '.join(risky[:5])}.")
    elif mail.attachments:
        found.append(f"It has {len(mail.attachments)} attachment(s); nothing in them was read for this draft.")
    if not mail.message_id:
        found.append("It has no Message-ID: the answer will not appear in its thread.")
    if mail.problems:
        found.append("It could not be read completely: " + "; ".join(mail.problems[:3]) + ".")
    return found


def own_risks(rules: ReplyRules, *, sends: bool) -> list[str]:
    """What the human should know about our own side of the reply. `sends`: whether this node will send it; another
    one may have another address."""
    found = []
    if not rules.our_name and not _CLOSING.sub("", rules.signature).strip():
        found.append(f"No signature: fill in ## Signature in {HANDBOOK} or MAIL_FROM_NAME.")
    if sends and not rules.our_address:
        found.append(no_address_flag(FALLBACK_SENDER))
    return found
