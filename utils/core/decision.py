"""A decision that a person writes into a request's properties: `decision: approve | reject | revise | snooze`. Pure.

What it needs besides stands beside it: `instruction` for a new draft, `until` for a pause; a rejection may have a
`reason`. An empty `decision` is none, so that a template may have the property. Names and words count in capitals too,
with blanks or quotation marks around them, and as the only entry of a list, which is how editors may write them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from utils.core.task import MOMENT, parse_moment

KEYS = ("decision", "instruction", "until", "reason")
LONGEST = 2_000  # characters of an instruction or a reason
_AROUND = " \t\r\n\u00a0\"'`\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb"  # blanks and quotation marks


class Word(StrEnum):
    """What a person can decide about a request."""

    APPROVE = "approve"
    REJECT = "reject"
    REVISE = "revise"
    SNOOZE = "snooze"


@dataclass(frozen=True)
class Decision:
    """`said` is the instruction, the reason, or the time as it was written; "" for an approval."""

    word: Word
    said: str = ""


class Incomplete(ValueError):
    """The properties say no decision yet that could be carried out; the text says what is missing."""


def written(meta: Mapping[str, Any]) -> str | None:
    """The word that stands in `decision`, whatever it is; None where there is none."""
    words = dict.fromkeys(_text(value).strip(_AROUND).lower() for value in _values(meta, "decision"))
    return " / ".join(filter(None, words)) or None


def decision_of(meta: Mapping[str, Any]) -> Decision | None:
    """The decision in a request's front matter, or None. Raises `Incomplete`."""
    word = written(meta)
    if word is None:
        return None
    if word not in set(Word):
        raise Incomplete(f"'decision' is {word[:40]!r}; it must be one of {', '.join(Word)}")
    said = {name: next(filter(None, map(_text, _values(meta, name))), "") for name in KEYS}
    match Word(word):
        case Word.REVISE:
            if not said["instruction"]:
                raise Incomplete("'decision: revise' needs 'instruction': what should be different?")
            return Decision(Word.REVISE, said["instruction"])
        case Word.SNOOZE:
            try:
                parse_moment(said["until"])
            except ValueError as error:
                wrong = f"'until' {error}" if said["until"] else f"'decision: snooze' needs 'until', {MOMENT}"
                raise Incomplete(wrong) from None
            return Decision(Word.SNOOZE, said["until"])
        case Word.REJECT:
            return Decision(Word.REJECT, said["reason"] or said["instruction"])
    return Decision(Word.APPROVE)


def without(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The front matter without the decision and what belongs to it. The same mapping otherwise: order and comments."""
    for key in [key for key in meta if _name(key) in KEYS]:
        meta.pop(key)  # type: ignore[attr-defined]
    return meta  # type: ignore[return-value]


def _name(key: object) -> str:
    return str(key).strip(_AROUND).lower()


def _values(meta: Mapping[str, Any], name: str) -> list[Any]:
    """What stands in the property of this name, however it is spelled."""
    return [value for key, value in meta.items() if _name(key) == name]


def _text(value: object) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return "" if value is None else str(value).strip()[:LONGEST]
