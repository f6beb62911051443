"""What a person should look at before approving, as typed badges. Pure.

Made from two things alone: the request, parsed from the very bytes whose sha256 is answered, and `Facts` that this node
knows itself. What a request says of itself, a compromised cloud wrote (A1); it can add a badge here, never take one
away. A badge of the severity `danger` means that a move of the file is not enough to approve it (S7).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

from utils.core import attached, books, links, lookalike, tweet, visible
from utils.core.policy import MAIL_ACTIONS, tool_for
from utils.core.request_notes import bare
from utils.core.task import ApprovalRequest, InvalidTask

#: From so many recipients on it is a large list.
MANY = 10
_LONGEST = 200


class Kind(StrEnum):
    """What a badge is about."""

    NEW_RECIPIENT = "new_recipient"
    LOOKALIKE = "lookalike"
    REPLY_TO = "reply_to"
    ANSWERED = "answered"
    SENDER_FAILED = "sender_failed"
    SENDER_UNVERIFIED = "sender_unverified"
    BANK_ACCOUNT_CHANGED = "bank_account_changed"
    AMOUNT_CHANGED = "amount_changed"
    MANY_RECIPIENTS = "many_recipients"
    ATTACHMENTS = "attachments"
    LINKS = "links"
    LINK_PRETENDS = "link_pretends"
    DIRECTION = "direction"
    INVISIBLE = "invisible"
    MIXED_SCRIPTS = "mixed_scripts"
    PUNYCODE = "punycode"
    NO_RECEIPTS = "no_receipts"


class Severity(StrEnum):
    """How much it matters. `danger`: only a confirmation approves it."""

    INFO = "info"
    WARNING = "warning"
    DANGER = "danger"


_GRAVEST_FIRST = (Severity.DANGER, Severity.WARNING, Severity.INFO)


@dataclass(frozen=True)
class Badge:
    """One thing to look at. `words`: a plain sentence, what can't be seen in it written out."""

    kind: Kind
    severity: Severity
    words: str

    def to_dict(self) -> dict[str, str]:
        """As the API has it."""
        return {"kind": self.kind.value, "severity": self.severity.value, "words": self.words}


@dataclass(frozen=True)
class Letter:
    """The mail that is answered, as this node read it. `genuine`: its own mail server's verdict on the sender.
    `message_id`: with angle brackets; empty where the mail had none."""

    sender: str
    reply_to: str = ""
    genuine: bool | None = None
    message_id: str = ""


@dataclass(frozen=True)
class Deal:
    """What was paid to, or invoiced with, somebody. `party`: the name as it stood there; `kind`: by `policy.tool_for`;
    `at`: ISO 8601, of the receipt."""

    kind: str
    party: str
    amount: Decimal
    currency: str
    iban: str = ""
    at: str = ""


@dataclass(frozen=True)
class Facts:
    """What this node knows itself.

    `known`: addresses and numbers that earlier receipts name, None where this node keeps no receipts; `parties`: names
    of earlier deals of this kind; `last`: the newest one with this very party. `replies`: other requests that answer
    the same mail, each with when it was sent (ISO 8601), None where it waits.
    """

    known: frozenset[str] | None = frozenset()
    letter: Letter | None = None
    parties: frozenset[str] = frozenset()
    last: Deal | None = None
    replies: tuple[tuple[str, str | None], ...] = ()


def badges(request: ApprovalRequest, facts: Facts) -> tuple[Badge, ...]:
    """Every badge of a request, the gravest first."""
    found = [
        *_unseen(request),
        *_money(request, facts),
        *_sender(request, facts),
        *_recipients(request, facts),
        *_answered(facts),
        *_links(request, facts),
        *_attachments(request),
    ]
    return tuple(sorted(dict.fromkeys(found), key=lambda badge: _GRAVEST_FIRST.index(badge.severity)))


def dangers(found: Iterable[Badge]) -> list[str]:
    """What forbids to approve by a move, in words."""
    return [badge.words for badge in found if badge.severity is Severity.DANGER]


def recipients(request: ApprovalRequest) -> list[str]:
    """Whom a mail or message goes to, Bcc included: bare addresses in small letters, or numbers; each once."""
    fields = request.fields
    if request.action in MAIL_ACTIONS:
        return list(dict.fromkeys(bare(entry) for name in ("to", "cc", "bcc") for entry in fields.get(name) or []))
    if request.action == "whatsapp_send":
        to = fields.get("to")
        return [str(one) for one in (to if isinstance(to, list) else [to])]
    return []


def deal(request: ApprovalRequest, at: str = "") -> Deal | None:
    """What a payment or an invoice comes to; None for all else, and where its fields can't be used."""
    kind = tool_for(request.action, request.fields)
    try:
        if request.action == "payment":
            payment = books.payment_from(request.fields, date.min)
            return Deal(kind, payment.payee, payment.amount, payment.currency, payment.iban, at)
        if request.action == "invoice":
            invoice = books.invoice_from(request.fields, date.min)
            return Deal(kind, invoice.partner, invoice.totals.total, invoice.currency, "", at)
    except InvalidTask:
        return None
    return None


def targets(request: ApprovalRequest) -> list[links.Link]:
    """Every link that goes out with a request: of its text, its subject, its `link`, and whatever else it says."""
    leaving = "\n".join([request.draft, *_texts({k: v for k, v in request.fields.items() if k not in _NO_TEXT})])
    found = links.found(leaving)
    if request.action == "twitter_post":
        found += [links.Link(url) for url in tweet.links(request.draft) if url not in {one.target for one in found}]
    return found


#: Fields that hold addresses and marks for machines.
_NO_TEXT = frozenset({"to", "cc", "bcc", "in_reply_to", "references", "thread", "source_message", "attachments"})


def _unseen(request: ApprovalRequest) -> list[Badge]:
    texts = {"The draft": request.draft} | {
        f"'{name}'": "\n".join(_texts(value)) for name, value in request.fields.items()
    }
    return [
        Badge(Kind(kind), Severity.DANGER, words)
        for where, text in texts.items()
        for kind, words in visible.findings(text, where)
    ]


def _recipients(request: ApprovalRequest, facts: Facts) -> list[Badge]:
    people, letter = recipients(request), facts.letter
    known = facts.known or frozenset()
    sender = letter.sender.lower() if letter else ""
    in_reply_to = request.fields.get("in_reply_to") if request.action == "reply_email" else None
    answers = letter is not None and letter.genuine is True and letter.message_id == in_reply_to
    wrote = {sender, str(request.source.get("from_address") or "").lower()} - {""}
    found = []
    for person in [person for person in people if person not in known]:
        # Whoever wrote may be genuine and no stranger, and still write from acrne.example.
        alike = lookalike.first_like(person, known, frozenset(wrote - {person}))
        if alike is not None and alike.is_trick:
            found.append(_is_not(_say(person), alike.known))
        elif alike is not None:
            words = (
                f"{_say(person)} is at a host of the same name as that of {_say(alike.known)}, and of another ending."
            )
            found.append(Badge(Kind.LOOKALIKE, Severity.WARNING, words))
        if facts.known is not None:
            is_answered = person == sender and answers
            words = f"New: nothing was ever sent to {_say(person)} from here"
            words += ", who wrote the mail that is answered." if is_answered else "."
            found.append(Badge(Kind.NEW_RECIPIENT, Severity.INFO if is_answered else Severity.WARNING, words))
    if facts.known is None:
        words = "Receipts are kept on Local: whether anybody here is new, or looks like somebody, is said there."
        found.append(Badge(Kind.NO_RECEIPTS, Severity.INFO, words))
    if letter and letter.reply_to and letter.reply_to.lower() != sender and letter.reply_to.lower() in people:
        words = f"Goes to {_say(letter.reply_to)} (Reply-To), not to the sender {_say(letter.sender)}."
        found.append(Badge(Kind.REPLY_TO, Severity.WARNING, words))
    if len(people) >= MANY:
        found.append(Badge(Kind.MANY_RECIPIENTS, Severity.WARNING, f"Goes to {len(people)} recipients."))
    return found


def _sender(request: ApprovalRequest, facts: Facts) -> list[Badge]:
    answers = any(request.fields.get(name) for name in ("in_reply_to", "source_message")) or request.source_task
    if request.action not in MAIL_ACTIONS or not answers:
        return []
    letter = facts.letter
    if letter is None:
        words = "Sender not verified here: this node did not read the mail that this answers."
        return [Badge(Kind.SENDER_UNVERIFIED, Severity.INFO, words)]
    if letter.genuine is False:
        words = f"The check of the sender failed (DMARC): the mail from {_say(letter.sender)} may be forged."
        return [Badge(Kind.SENDER_FAILED, Severity.DANGER, words)]
    if letter.genuine is None:
        words = f"Nobody vouches for the sender: our mail server did not check {_say(letter.sender)}."
        return [Badge(Kind.SENDER_UNVERIFIED, Severity.WARNING, words)]
    return []


def _answered(facts: Facts) -> list[Badge]:
    found = []
    for name, sent in facts.replies:
        words = f"You answered this mail at {sent}" if sent else "Another draft answers the same mail"
        found.append(Badge(Kind.ANSWERED, Severity.WARNING, f"{words}: {_say(name)}."))
    return found


def _money(request: ApprovalRequest, facts: Facts) -> list[Badge]:
    now, last = deal(request), facts.last
    if now is None or facts.known is None:
        return []
    what = {"post_invoice": "invoice", "record_expense": "expense"}.get(now.kind, "payment")
    if last is None:
        words = f"New: the first {what} with {_say(now.party)} from here."
        found = [Badge(Kind.NEW_RECIPIENT, Severity.WARNING, words)]
        alike = next((name for name in sorted(facts.parties) if _is_party_like(now.party, name)), None)
        if alike is not None:
            found.append(_is_not(_say(now.party), alike))
        return found
    found, when = [], f"the last {what} ({last.at[:10]})"
    if now.iban != last.iban:
        words = f"Another bank account: {now.iban or 'none is named'}; {when} had {last.iban or 'none'}."
        severity = Severity.DANGER if now.iban else Severity.WARNING
        found.append(Badge(Kind.BANK_ACCOUNT_CHANGED, severity, words))
    if (now.amount, now.currency) != (last.amount, last.currency):
        words = f"Another amount: {books.shown(now.amount, now.currency)}; {when} had "
        words += f"{books.shown(last.amount, last.currency)}."
        found.append(Badge(Kind.AMOUNT_CHANGED, Severity.WARNING, words))
    return found


def _links(request: ApprovalRequest, facts: Facts) -> list[Badge]:
    leading = targets(request)
    known = {address.rpartition("@")[2] for address in facts.known or () if "@" in address}
    known |= {facts.letter.sender.lower().rpartition("@")[2]} if facts.letter else set()
    found = []
    for link in leading[: links.MAX_LINKS]:
        if link.pretends:
            words = f"A link seems to lead to {_say(link.pretends)}, and leads to {_say(link.host or link.target)}."
            found.append(Badge(Kind.LINK_PRETENDS, Severity.DANGER, words))
        if link.host in known:
            continue
        alike = next((one for one in sorted(known) if lookalike.is_host_like(link.host, one)), None)
        if alike is not None:
            found.append(_is_not(f"The host {_say(link.host)} of a link", alike))
    if len(leading) > links.MAX_LINKS:
        words = f"Has more than {links.MAX_LINKS} links; only the first were looked at."
        found.append(Badge(Kind.LINKS, Severity.DANGER, words))
    elif leading:
        hosts = list(dict.fromkeys(link.host or link.target for link in leading))
        shown = ", ".join(map(_say, hosts[:5])) + (" and others" if len(hosts) > 5 else "")
        found.append(Badge(Kind.LINKS, Severity.INFO, f"Has links to {shown}."))
    return found


def _attachments(request: ApprovalRequest) -> list[Badge]:
    files = attached.named(request.fields)
    names = ", ".join(_say(str(file)) for file in files)
    return [Badge(Kind.ATTACHMENTS, Severity.WARNING, f"Takes files along: {names}.")] if files else []


def _is_not(what: str, known: str) -> Badge:
    return Badge(Kind.LOOKALIKE, Severity.DANGER, f"{what} looks like {_say(known)}, and is not.")


def _is_party_like(name: str, known: str) -> bool:
    if "@" in name and "@" in known:
        return lookalike.is_address_like(name, known)
    return lookalike.is_name_like(name, known)


def _texts(value: object) -> list[str]:
    """The texts in a value at any depth, names in a mapping included."""
    if isinstance(value, str):
        return [value]
    inner: Iterable[Any] = value if isinstance(value, list) else ()
    if isinstance(value, Mapping):
        inner = [*value.keys(), *value.values()]
    return [text for item in inner for text in _texts(item)]


def _say(text: str) -> str:
    """Foreign words within ours: one line, nothing invisible, not endless."""
    line = " ".join(visible.escape(text).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
