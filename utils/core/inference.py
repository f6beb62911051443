"""What a person's note is as a task: type, domain and priority, from where it was dropped and what it says. Pure.

What the person wrote stands, then the folder that the person chose, then words. Where it matters the careful answer
is taken: what speaks of paying money is `payments` wherever it was dropped, and in doubt a task is `vault_operations`,
also where the person wrote a type that nobody knows. Local alone does both.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from utils.core import visible
from utils.core.routing import DOMAIN_OF_TYPE, LOCAL_ONLY_TYPES, TASK_TYPES
from utils.core.stages import DOMAINS
from utils.core.task import ID_PATTERN, PRIORITIES, format_time, make_id, parse_time
from utils.core.triage import URGENT

VAGUE_TYPE = "vault_operations"
PAYING_TYPE = "payments"
#: Where what the person wrote is kept that can't be used as it is.
AS_WRITTEN = "as_written"
_CHOICES = frozenset((*TASK_TYPES, *DOMAINS, *PRIORITIES))
_BLANK: tuple[object, ...] = (None, "")
_READ = 100_000  # characters; they take a tenth of a second, and who writes more is not understood by a word
#: What a domain's folder says of the type. `general` says nothing.
TYPE_OF_DOMAIN = {"email": "email_processing", "social": "social_media", "accounting": "accounting"}

_MONEY = r"(?:[€$£]|(?:eur|euros?|usd|dollars?|chf|franken|gbp|pounds?)\b)"
_AMOUNT = rf"(?:{_MONEY}[ ]?\d|\d[\d.,']{{0,15}}[ ]?{_MONEY})"
_PAYING = re.compile(
    # English
    r"\bpa(?:y(?:s|ing|ments?|ables?|roll|outs?|ees?|pal)?|id)\b|\bpre-?pa(?:y\w{0,6}|id)\b|\brefund\w{0,4}\b"
    r"|\breimburs\w{1,8}\b|\bremit\w{0,7}\b|\b(?:wire|bank|money|credit) transfers?\b|\bdirect debits?\b"
    r"|\bstanding orders?\b|\b(?:amount|balance) due\b|\bsettle (?:the|this|that|our|my) (?:bill|invoice|account)\b"
    # what is written on a bill anywhere
    r"|\b(?:iban|bic|sepa)\b|\bswift[ -]code\b|\b[a-z]{2}\d{2}(?: ?[a-z0-9]{4}){3,7}(?: ?[a-z0-9]{1,3})?\b"
    # German
    r"|\b\w{0,30}zahl(?:e|en|st|t|te|ten|ung\w{0,20})\b|\b\w{0,20}überw(?:eis|ies)\w{0,15}\b|\blastschrift\w{0,10}\b"
    r"|\bbegl(?:eich|ich)\w{0,5}\b|\b(?:rück)?erstattung\w{0,10}\b|\bdauerauftr(?:ag|äge)\w{0,2}\b|\bmahnung(?:en)?\b"
    # French, Spanish, Italian, Portuguese, Dutch, Polish
    r"|\bpay(?:er|ez|ée?s?|e)\b|\bpaiements?\b|\bvirements?\b|\brèglements?\b|\brégler\b|\brembours\w{1,8}\b"
    r"|\bpag(?:ar|are|a|o|os|ue|hi|ado|ato|amentos?|amenti)\b|\btransfer[eê]ncias?\b|\breembols\w{1,4}\b"
    r"|\bbonific[oi]\b|\bbeta(?:al|len|ling\w{0,4})\b|\boverma(?:ak|ken)\b|\boverschrijv\w{1,5}\b|\bpłat\w{1,8}\b"
    r"|\bzapła[ćc]\w{0,4}\b|\bprzelew\w{0,4}\b"
    # a sum that goes somewhere
    r"|\b(?:send|transfer|wire|give|deposit|donate|schick|sende|spende|envo(?:ie|yer|yez)|env[ií]a|invia|manda)\w{0,3}\b"
    rf"[^\n]{{0,60}}?{_AMOUNT}"
)
_WORDS: Mapping[str, re.Pattern[str]] = {
    task_type: re.compile(words)
    for task_type, words in {
        "whatsapp": r"\bwhats ?app\w{0,4}\b|\bwa\.me\b",
        "approvals": (
            r"\bapprov(?:e|es|ed|al|als|ing)\b|\bgenehmig\w{0,6}\b|\bfreigabe\w{0,2}\b|\bfreigeben\b"
            r"|\babsegnen\b|\bapprouver\b|\bapprobations?\b|\baprob(?:ar|ación)\b|\bapprova(?:re|zione)\b|\baprova(?:r|ção)\b"
            r"|\bgoedkeur\w{1,4}\b"
        ),
        "social_media": (
            r"\blinked ?in\b|\bfacebook\b|\binsta(?:gram)?\b|\btwitter\b|\btweet(?:s|en)?\b|\bx\.com\b|\bhashtags?\b"
            r"|\bsocial media\b|\bsoziale medien\b"
            r"|\b(?:a|an?other|the|this|our|my|new|blog|next|write|draft|publish|schedule) posts?\b(?! (?:office|box))"
            r"|\bpost (?:about|on|to|this|it|that|these)\b|\b(?:ge)?poste[nt]\b|\bpubli(?:er|car|cação|cación)\b"
            r"|\bpubblicare\b|\bpostar\b"
        ),
        "email_processing": (
            r"\be-?mails?\b|\bmails?\b|\brepl(?:y|ies)\b|\b(?:be)?antworten?\b|\bbeantworte\b|\brückmail\b|\brépon(?:dre|ds|se)\b"
            r"|\bcourriels?\b|\bresponder\b|\bcorreos?\b|\brispond(?:ere|i)\b|\b(?:be)?antwoorden\b"
        ),
        "accounting": (
            r"\binvoic(?:es?|ing)\b|\breceipts?\b|\bbilling\b|\b(?:the|this|a) bill\b|\bbills\b"
            r"|\bbookkeeping\b|\baccounting\b|\bledger\b"
            r"|\bvat\b|\btax(?:es)?\b|\b(?!berech)\w{0,30}rechnung(?:en|snummer)?\b|\bquittung(?:en)?\b|\bbelege?\b"
            r"|\bbuchhaltung\b|\b\w{0,10}steuer(?:n|erklärung|berater\w{0,4}|bescheid)?\b|\bmwst\b|\bfactures?\b"
            r"|\bcomptabilité\b|\btva\b|\bfacturas?\b|\bcontabilidade?\b|\bfattur[ae]\b|\bcontabilità\b|\biva\b"
            r"|\bfactu(?:ur|ren)\b|\bboekhouding\b|\bbtw\b|\bfaktur[ay]\b"
        ),
        "system_monitoring": (
            r"\b\w{0,10}servers?\b|\bbackups?\b|\bhealth ?-?(?:check\w{0,2}|monitor\w{0,3}|status|report)\b"
            r"|\bsystem health\b"
            r"|\buptime\b|\bdowntime\b|\boutages?\b|\bmonitoring\b|\bdisk (?:space|full|usage)\b|\bssl\b"
            r"|\bdatensicherung(?:en)?\b|\büberwachung\b|\bspeicherplatz\b|\bfestplatte\b|\bserveurs?\b|\bsauvegardes?\b"
            r"|\bservidor(?:es)?\b|\bcopias? de seguridad\b|\bkopia zapasowa\b"
        ),
    }.items()
}


@dataclass(frozen=True)
class Inference:
    """What a note is taken for. `why` names what was inferred and from what; empty where the person said it all."""

    type: str
    domain: str
    priority: str
    why: str


def infer(found: Mapping[str, Any], *, folder: str | None, name: str, text: str, problem: str = "") -> Inference:
    """What a note is. `found`: its front matter; `folder`: the domain whose folder was chosen; `text`: all of it.
    `problem`: why its properties can't be read: then nobody knows what the person said of it."""
    title = _plain(name.rpartition(".")[0])
    said, said_domain = _word(found.get("type")), _word(found.get("domain"))
    chosen = said_domain if said_domain in DOMAINS else folder
    whole = f"{title}\n{_plain(text[:_READ])}"
    reasons = []
    if problem:
        task_type, domain = VAGUE_TYPE, folder or DOMAIN_OF_TYPE[VAGUE_TYPE]
        reasons.append(f"the properties can't be read: {problem}; local only")
    elif said in TASK_TYPES:
        task_type = str(said)
        domain = DOMAIN_OF_TYPE[task_type]
    else:
        if said not in _BLANK:
            task_type, reason = VAGUE_TYPE, f"'{str(found['type'])[:60]}' is unknown: local only"
        else:
            by = "folder" if chosen == folder else "domain"
            task_type, reason = _type(chosen, by, title, whole, is_all=len(text) <= _READ)
        domain = chosen if chosen in TYPE_OF_DOMAIN else DOMAIN_OF_TYPE[task_type]
        reasons.append(f"type {reason}")
    if said_domain in DOMAINS:
        domain = str(said_domain)
    priority = _word(found.get("priority"))
    if priority not in PRIORITIES:
        urgent = URGENT.search(whole)
        priority = "urgent" if urgent else "normal"
        reasons += [f"priority {_from_word(urgent[0])}"] if urgent else []
    return Inference(task_type, domain, str(priority), "; ".join(reasons))


def completed(
    found: Mapping[str, Any],
    seen: Inference,
    *,
    identity: str,
    created: datetime,
    agent: str,
    source: Mapping[str, Any],
) -> dict[str, Any]:
    """Front matter of a task: what the person wrote where it is usable, ours for the rest. Nothing written is lost."""
    identifier, by, origin, made = (found.get(name) for name in ("id", "created_by", "source", "created"))
    match = ID_PATTERN.match(identifier) if isinstance(identifier, str) else None
    if match is None or match["domain"] != seen.domain:
        identifier = make_id(seen.domain, created, identity)
    try:
        parse_time(made)
    except ValueError:
        made = format_time(created)
    ours = {
        "id": identifier,
        "type": seen.type,
        "domain": seen.domain,
        "priority": seen.priority,
        "created": made,
        "created_by": by if isinstance(by, str) and by else agent,
        "source": origin if isinstance(origin, Mapping) else dict(source),
        **({"inferred": seen.why} if seen.why else {}),
    }
    return keeping(found, ours)


def keeping(found: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """`found` with our values, and what was written in their place under `as_written`."""
    instead = {name: found[name] for name in ours if _word(found.get(name)) not in (*_BLANK, ours[name])}
    earlier = found.get(AS_WRITTEN)
    if instead and earlier not in _BLANK:
        instead = {**(earlier if isinstance(earlier, Mapping) else {AS_WRITTEN: earlier}), **instead}
    return {**found, **ours, **({AS_WRITTEN: instead} if instead else {})}


def _word(said: Any) -> Any:
    """A word that the person chose among ours, however it is written."""
    return said.strip().lower() if isinstance(said, str) and said.strip().lower() in _CHOICES else said


def _type(chosen: str | None, by: str, title: str, whole: str, *, is_all: bool) -> tuple[str, str]:
    """The type, and what it was inferred from. `by`: what says the chosen domain; `is_all`: `whole` is all of it."""
    paying = _PAYING.search(whole)
    if paying:
        return PAYING_TYPE, _from_word(paying[0])
    if not is_all:
        return VAGUE_TYPE, "unknown, as the note is too long to be read through: local only"
    kinds = _kinds(whole)
    careful = {kind: word for kind, word in kinds.items() if kind in LOCAL_ONLY_TYPES}
    if chosen in TYPE_OF_DOMAIN:
        for kind, word in careful.items():
            if DOMAIN_OF_TYPE[kind] == chosen:
                return kind, _from_word(word)
        return TYPE_OF_DOMAIN[chosen], f"from the {by} '{chosen}'"
    named = _kinds(title)
    clear = named if len(named) == 1 else kinds
    if len(clear) == 1 and careful.keys() <= clear.keys():
        [(kind, word)] = clear.items()
        return kind, _from_word(word)
    if not kinds:
        return VAGUE_TYPE, "from no known word: local only"
    words = " and ".join(f"'{word}'" for word in kinds.values())
    return VAGUE_TYPE, f"in doubt between the words {words}: local only"


def _kinds(text: str) -> dict[str, str]:
    """The types that a text has words for, each with the first such word."""
    return {kind: match[0] for kind, words in _WORDS.items() if (match := words.search(text))}


def _from_word(word: str) -> str:
    return f"from the word '{word[:60]}'"


def _plain(text: str) -> str:
    """Text in the form that the words are written in: one spelling, small letters, nothing invisible."""
    return unicodedata.normalize("NFKC", visible.strip(text)).lower().replace("_", " ")
