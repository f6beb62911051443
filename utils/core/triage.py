"""Triage by rules: whether a mail wants an answer, what it is about, how urgent it is. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from utils.core.mail import Category, IncomingMail

#: Headers (lower case) that the rules look at; a task keeps those that its mail has.
TRIAGE_HEADERS = (
    "auto-submitted",
    "precedence",
    "list-id",
    "list-unsubscribe",
    "list-post",
    "return-path",
    "x-auto-response-suppress",
    "x-autoreply",
    "x-autorespond",
    "x-failed-recipients",
    "feedback-id",
    "content-type",
    "importance",
    "x-priority",
)

_NO_REPLY = re.compile(
    r"(?:^|[-_.+])(?:(?:no|not|do[-_.]?not|dont|never)[-_.]?(?:reply|answer|respond)|nicht[-_.]?antworten)(?:$|[-_.+\d])"
    r"|^(?:bounces?|notifications?)(?:$|[-_.+\d])",
    re.IGNORECASE,
)
_DAEMON = re.compile(r"^(?:mailer-daemon|postmaster)$", re.IGNORECASE)


def no_reply_reason(mail: IncomingMail, own_addresses: Collection[str]) -> tuple[Category, str] | None:
    """`(category, reason)` where a reply is neither expected nor wise, else None.

    The rules: RFC 3834 §2 (answer no automatic message), RFC 2369 and 2919 (list headers), RFC 3464 and RFC 5321 §4.5.5
    (bounces, the empty return path). `own_addresses` are ours, in lower case.
    """
    header = mail.headers.get
    local = mail.from_address.partition("@")[0]
    content_type = header("content-type", "").lower()
    return_path = header("return-path")
    submitted = header("auto-submitted", "no").split(";")[0].strip().lower()
    precedence = header("precedence", "").strip().lower()
    suppress = {word.strip().lower() for word in header("x-auto-response-suppress", "").split(",")}
    if mail.from_address and mail.from_address.lower() in own_addresses:
        return Category.OTHER, "it is our own mail"
    if "multipart/report" in content_type and "delivery-status" in content_type:
        return Category.BOUNCE, "it is a delivery report (RFC 3464)"
    if _DAEMON.match(local):
        return Category.BOUNCE, f"it comes from {local}, a mail server"
    if return_path is not None and return_path.replace(" ", "") == "<>":
        return Category.BOUNCE, "its return path is empty: a mail server or a program wrote it (RFC 5321 §4.5.5)"
    if header("x-failed-recipients") is not None:
        return Category.BOUNCE, "it reports that a mail could not be delivered"
    if submitted not in ("no", ""):
        return Category.NOTIFICATION, f"it was sent automatically (Auto-Submitted: {submitted}, RFC 3834)"
    if header("x-autoreply") is not None or header("x-autorespond") is not None:
        return Category.NOTIFICATION, "it is an automatic reply"
    for name in ("list-id", "list-unsubscribe", "list-post"):
        if header(name) is not None:
            return Category.NEWSLETTER, f"it comes from a mailing list or newsletter ({name.title()})"
    if precedence in ("bulk", "list", "junk"):
        return Category.NEWSLETTER, f"it is bulk mail (Precedence: {precedence})"
    if suppress & {"all", "autoreply"}:
        return Category.NOTIFICATION, "the sender asks for no automatic answer (X-Auto-Response-Suppress)"
    if _NO_REPLY.search(local):
        return Category.NOTIFICATION, f"the sender {mail.from_address} takes no replies"
    return None


@dataclass(frozen=True)
class Reading:
    """What the rules see in a mail. `seen` says it in plain words, for the human who asks why."""

    category: Category
    priority: str
    language: str  # "en" or "de"
    questions: tuple[str, ...]
    deadline: str  # the words that name one, or ""
    seen: tuple[str, ...]


#: Words by category, English and German; the first category with a hit in the subject, then in the text, wins.
_WORDS: tuple[tuple[Category, re.Pattern[str]], ...] = tuple(
    (category, re.compile(rf"\b(?:{words})\b", re.IGNORECASE))
    for category, words in (
        (
            Category.INVOICE,
            r"invoices?|payment reminder|overdue|receipt|billing|amount due|"
            r"rechnung(?:en)?|mahnung|zahlung(?:serinnerung)?",
        ),
        (
            Category.MEETING,
            r"meet|meeting|appointment|schedule a|call (?:on|at|tomorrow|next)|calendar|reschedule|"
            r"termin|besprechung|treffen",
        ),
        (
            Category.SUPPORT,
            r"support|error|bug|broken|does not work|doesn't work|not working|defect|complaint|refund|help with|"
            r"fehler|defekt|kaputt|funktioniert nicht|reklamation|störung",
        ),
        (
            Category.ENQUIRY,
            r"quote|quotation|offer|price|pricing|enquiry|inquiry|interested in|availability|catalogue|order|"
            r"angebot|preis(?:e|liste)?|anfrage|bestellung|interesse an|verfügbar(?:keit)?",
        ),
    )
)
#: Words that ask for haste, in a few languages; not where they are denied ("nicht dringend").
URGENT = re.compile(
    r"(?<!\bnot )(?<!\bnicht )(?<!\bpas )(?<!\bno es )(?<!\bnon )(?<!\bniet )"
    r"\b(?:urgent(?:ly|es?)?|urgence|asap|as soon as possible|immediately|emergency|dringend|sofort|eilt|umgehend|"
    r"notfall|immédiatement|inmediatamente|immediatamente|subito|spoed)\b",
    re.IGNORECASE,
)
_DAY = (
    r"(?:today|tonight|tomorrow|monday|tuesday|wednesday|thursday|friday|saturday|sunday|"
    r"end of (?:the )?(?:day|week|month)|"
    r"heute|morgen|montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonntag|ende der woche|"
    r"\d{1,2}[./]\d{1,2}[./]?(?:\d{2,4})?|\d{4}-\d{2}-\d{2}|\d{1,2}(?:st|nd|rd|th)?\.? "
    r"(?:january|february|march|april|may|june|july|august|september|october|november|december|"
    r"januar|februar|märz|mai|juni|juli|oktober|dezember))"
)
_BY = r"(?:by|before|until|no later than|deadline(?: is|:)?|bis(?: zum| spätestens)?|spätestens(?: am)?|vor)"
_DEADLINE = re.compile(rf"\b{_BY} (?:the |dem |next |nächsten )?{_DAY}(?!\w)", re.IGNORECASE)
_GERMAN = re.compile(
    r"\b(und|ich|sie|nicht|wir|ist|das|der|die|für|mit|bitte|können|haben|einen|ihre?|hallo|danke|grüße)\b", re.I
)
_ENGLISH = re.compile(
    r"\b(and|you|the|is|we|for|with|please|can|have|your|hello|thanks|not|this|would|regards)\b", re.I
)
_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?=\S)[^.!?\n]*)*[.!?]?")
_LONGEST_QUESTION = 300


def read(mail: IncomingMail) -> Reading:
    """What the mail is about, by its words. Never says more than what can be pointed at."""
    text = mail.new_text[:6000]
    seen = []
    category, word = _category(mail.subject, text)
    if word:
        seen.append(f"the word “{word}” points to {category.value}")
    questions = find_questions(text)
    if questions:
        seen.append(f"{len(questions)} question{'s' if len(questions) > 1 else ''} asked")
    deadline = match[0] if (match := _DEADLINE.search(f"{mail.subject}\n{text}")) else ""
    if deadline:
        seen.append(f"a time is named: “{deadline}”")
    priority, reason = _priority(mail, text, deadline)
    if reason:
        seen.append(reason)
    if not seen:
        seen.append("no question, time or known word found")
    german = len(_GERMAN.findall(text)) > len(_ENGLISH.findall(text))
    return Reading(category, priority, "de" if german else "en", questions, deadline, tuple(seen))


def find_questions(text: str, limit: int = 5) -> tuple[str, ...]:
    """The sentences of a text that end with a question mark, each on one line, at most `limit`."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"\n[ \t]*\n", text))
    sentences = (sentence.strip() for paragraph in paragraphs for sentence in _SENTENCE.findall(paragraph))
    asked = [s for s in sentences if s.endswith("?") and any(c.isalnum() for c in s) and len(s) <= _LONGEST_QUESTION]
    return tuple(dict.fromkeys(asked))[:limit]


def _category(subject: str, text: str) -> tuple[Category, str]:
    for place in (subject, text):
        for category, words in _WORDS:
            match = words.search(place)
            if match:
                return category, match[0].lower()
    return Category.OTHER, ""


def _priority(mail: IncomingMail, text: str, deadline: str) -> tuple[str, str]:
    urgent = URGENT.search(f"{mail.subject}\n{text}")
    if urgent:
        return "urgent", f"the word “{urgent[0].lower()}”"
    if mail.headers.get("importance", "").strip().lower() == "high" or mail.headers.get("x-priority", "")[:1] in (
        "1",
        "2",
    ):
        return "high", "the sender marked it as important"
    if deadline:
        return "high", ""
    if mail.headers.get("importance", "").strip().lower() == "low":
        return "low", "the sender marked it as unimportant"
    return "normal", ""
