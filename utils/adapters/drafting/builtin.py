"""The engine that needs no account: rules and templates. It repeats what it read and states no fact of its own."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from utils.core.mail import IncomingMail, Proposal, ReplyRules, Wish
from utils.core.triage import Reading, read

_TITLES = re.compile(r"^(?:(?:mr|mrs|ms|dr|prof|herr|frau)\b\.?\s*)+", re.IGNORECASE)
_SENTENCES = {
    "en": {
        "hello": "Hello {name},",
        "hello_nobody": "Hello,",
        "thanks": "thank you for your message “{subject}”.",
        "thanks_plain": "thank you for your message.",
        "asked_one": "You asked:",
        "asked": "You asked these questions:",
        "deadline": "We have noted the time you named: “{deadline}”.",
        "invoice": "We are passing it on to the person who looks after invoices.",
        "meeting": "We are checking our calendar.",
        "support": "We are sorry for the trouble and are looking into it.",
        "next": "We will get back to you with an answer.",
        "closing": "Kind regards",
    },
    "de": {
        "hello": "Guten Tag {name},",
        "hello_nobody": "Guten Tag,",
        "thanks": "vielen Dank für Ihre Nachricht „{subject}“.",
        "thanks_plain": "vielen Dank für Ihre Nachricht.",
        "asked_one": "Sie fragen:",
        "asked": "Sie haben diese Fragen gestellt:",
        "deadline": "Den genannten Zeitpunkt haben wir notiert: „{deadline}“.",
        "invoice": "Wir geben sie an die Person weiter, die Rechnungen bearbeitet.",
        "meeting": "Wir prüfen unseren Kalender.",
        "support": "Die Umstände tun uns leid; wir sehen uns das an.",
        "next": "Wir melden uns mit einer Antwort bei Ihnen.",
        "closing": "Mit freundlichen Grüßen",
    },
}
_RULE = re.compile(r"^[ \t]*[-*]?[ \t]*(next step|closing)[ \t]*:[ \t]*(\S.*)$", re.IGNORECASE | re.MULTILINE)

_POLITE = r"(?:please|bitte)"
_VERB = r"(?:(?:write|answer|reply|make|antworte|schreibe?)\s+)?(?:it\s+|that\s+|es\s+)?"
#: The wishes that templates can follow; the whole instruction has to be such wishes, joined by commas or "and".
_LANGUAGE = re.compile(
    rf"{_POLITE}?\s*{_VERB}(?:in|auf)\s+(?P<word>german|english|deutsch|englisch)\s*{_POLITE}?[.!]?", re.IGNORECASE
)
_SHORTER = re.compile(
    rf"{_POLITE}?\s*{_VERB}(?:a\s+bit\s+|much\s+|etwas\s+|viel\s+)?(?:shorter|briefer|kürzer)\s*{_POLITE}?[.!]?",
    re.IGNORECASE,
)
_JOINED = re.compile(r"[,;]|\b(?:and|und)\b", re.IGNORECASE)
_CODES = {"german": "de", "deutsch": "de", "english": "en", "englisch": "en"}
_GREETS = re.compile(
    r"(?:kind|best|warm|many)?\s*(?:regards|wishes|greetings)|mit freundlichen|sincerely", re.IGNORECASE
)


class BuiltinEngine:
    """Category and priority by words, a polite acknowledgement by template. English and German."""

    name = "builtin"

    def propose(self, mail: IncomingMail, rules: ReplyRules) -> Proposal:
        """A proposal for one mail; always with a draft, for whoever calls has already sorted out what needs none."""
        reading = read(mail)
        why = "; ".join(reading.seen)
        return Proposal(
            reading.category,
            reading.priority,
            _draft(mail, rules, reading),
            f"Read by rules, not by a model: {why}. The draft acknowledges the mail; the answer is for you to add.",
        )

    def revise(self, mail: IncomingMail, rules: ReplyRules, wish: Wish) -> Proposal:
        """Follows two wishes, another language (German, English) and a shorter text, or both; of an instruction with
        any other in it it says that it can't, and hands back the earlier draft."""
        reading = read(mail)
        instruction = " ".join(wish.instruction.split())
        changes = _changes(instruction)
        if changes is None:
            unmet = (
                "The builtin engine is rules and templates, and can't follow an instruction but 'in German', 'in "
                "English' and 'shorter', or both ('shorter, in German'). This is the earlier draft: change it yourself."
            )
            draft = wish.draft if wish.draft.strip() else _draft(mail, rules, reading)
            return Proposal(reading.category, reading.priority, draft, "Nothing was drafted anew.", unmet)
        draft = _draft(mail, rules, replace(reading, **changes))
        if draft.strip() == wish.draft.strip():
            return Proposal(
                reading.category, reading.priority, draft, "Nothing was drafted anew.", "It already is as you wish."
            )
        why = (
            f"Made anew from the templates, as you wished: {instruction}. What you had changed is in the earlier draft."
        )
        return Proposal(reading.category, reading.priority, draft, why)


def _changes(instruction: str) -> dict[str, Any] | None:
    """What to read otherwise, by the fields of `Reading`; None where not every wish can be followed."""
    changes: dict[str, Any] = {}
    for wish in filter(None, (part.strip() for part in _JOINED.split(instruction))):
        if language := _LANGUAGE.fullmatch(wish):
            code = _CODES[language["word"].lower()]
            if changes.setdefault("language", code) != code:
                return None
        elif _SHORTER.fullmatch(wish):
            changes |= {"questions": (), "deadline": ""}
        elif not re.fullmatch(_POLITE + "[.!]?", wish, re.IGNORECASE):
            return None
    return changes or None


def _draft(mail: IncomingMail, rules: ReplyRules, reading: Reading) -> str:
    say = _SENTENCES[reading.language]
    # The handbook may word what happens next and how we close: lines "Next step: …" and "Closing: …" under ## Replies.
    worded = {key.lower(): value.strip() for key, value in _RULE.findall(rules.guidance)}
    name = first_name(mail.from_name)
    subject = plain_subject(mail.subject)
    paragraphs = [
        say["hello"].format(name=name) if name else say["hello_nobody"],
        say["thanks"].format(subject=subject) if subject else say["thanks_plain"],
    ]
    if reading.questions:
        paragraphs.append(say["asked" if len(reading.questions) > 1 else "asked_one"])
        paragraphs.append("\n".join(f"> {question}" for question in reading.questions))
    if reading.deadline:
        paragraphs.append(say["deadline"].format(deadline=" ".join(reading.deadline.split())))
    paragraphs.append(" ".join(filter(None, (say.get(reading.category.value), worded.get("next step") or say["next"]))))
    # A signature that begins with its own greeting keeps it.
    signature = rules.signature.strip()
    closing = worded.get("closing") or say["closing"]
    if rules.our_name and rules.our_name not in signature:
        signature = f"{signature}\n{rules.our_name}".strip()
    paragraphs.append(signature if _GREETS.match(signature) else f"{closing}\n{signature}".strip())
    return "\n\n".join(paragraphs)


def first_name(shown: str) -> str:
    """The name to greet with, out of a display name; "" where it does not look like a person's."""
    shown = _TITLES.sub("", re.sub(r"\s*\(.*?\)|\s+(?:via|from|von)\s.*$", "", shown)).strip(" '\"")
    if "," in shown:  # "Example, Ann"
        shown = shown.partition(",")[2].strip()
    word = shown.split(" ")[0] if shown else ""
    return word if len(word) <= 40 and word[:1].isalpha() and re.fullmatch(r"[^\W\d_][\w.'’-]*", word) else ""


def plain_subject(subject: str) -> str:
    """A subject without its `Re:` and `Fwd:`."""
    return re.sub(r"^(?:\s*(?:re|aw|fwd?|wg)\s*(?:\[\d+\])?\s*:)+\s*", "", subject, flags=re.IGNORECASE)[:200].strip()
