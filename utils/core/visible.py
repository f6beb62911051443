"""Characters that make text look like something else, found and made visible (promise S12). Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: Shown as nothing although Unicode calls them letters, symbols or marks: fillers, the blank Braille pattern.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_ZWNJ, _ZWJ, _EMOJI_STYLE = "\u200c", "\u200d", "\ufe0f"
#: Scripts in which the two joiners are ordinary spelling.
_JOINING = frozenset(
    ("ARABIC", "SYRIAC", "MONGOLIAN", "DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI", "ORIYA", "TAMIL", "TELUGU",
     "KANNADA", "MALAYALAM", "SINHALA", "KHMER", "MYANMAR", "TIBETAN")
)  # fmt: skip
_WORD = re.compile(r"[^\W\d_]+")
_BETWEEN_NAMES = re.compile(r"[\s<>\"'(),;\[\]{}|]+")
_HOST_END = re.compile(r"[/?#]")
_PUNYCODE = re.compile(r"(?:^|[.@])xn--", re.IGNORECASE)


def flags(text: str, where: str) -> list[str]:
    """What a person can't see or could misread in `text`, a plain sentence for each kind; `where` names the text."""
    return [words for _, words in findings(text, where)]


def findings(text: str, where: str) -> list[tuple[str, str]]:
    """The same with its kind: `direction`, `invisible`, `mixed_scripts` or `punycode`."""
    found = []
    hidden = [text[at] for at in _hidden(text)]
    steering = sorted({char for char in hidden if char in _BIDI})
    unseen = sorted({char for char in hidden if char not in _BIDI})
    if steering:
        words = f"{where} has characters that change the direction of reading: {_named(steering)}."
        found.append(("direction", words))
    if unseen:
        found.append(("invisible", f"{where} has invisible characters: {_named(unseen)}."))
    names = list(dict.fromkeys(_names(text)))
    mixed = [name for name in names if is_mixed(name)]
    if mixed:
        words = (
            f"{where} has an address or a link whose letters come from different alphabets and only look alike: "
            f"{_quoted(mixed)}."
        )
        found.append(("mixed_scripts", words))
    coded = [name for name in names if _PUNYCODE.search(name)]
    if coded:
        words = (
            f"{where} has an address or a link with an encoded name (xn--…), which may be shown differently: "
            f"{_quoted(coded)}."
        )
        found.append(("punycode", words))
    return found


def is_mixed(text: str) -> bool:
    """Whether one word of `text` mixes Latin, Greek and Cyrillic letters, which look alike."""
    return any(len({_alphabet(char) for char in word} - {""}) > 1 for word in _WORD.findall(text))


def is_text(text: str) -> bool:
    """Whether it can be written as UTF-8: a byte of a command line that is none came as half a character (PEP 383)."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def escape(text: str) -> str:
    """`text` with each invisible or direction-changing character written out, as in `⟦U+202E⟧`."""
    return _replaced(text, lambda char: f"⟦U+{ord(char):04X}⟧")


def plain(text: str, keep: str = "") -> str:
    """Foreign text for a terminal or a line of a note: nothing invisible, no control character, no line of its own but
    those of `keep`."""
    escaped = escape(text)
    return "".join(char if char.isprintable() or char in keep else " " if char in "\t\r\n" else "�" for char in escaped)


def one_line(text: str) -> str:
    """What somebody typed, for a sentence of ours: one line, nothing invisible; it makes no heading and no rule."""
    return " ".join(plain(text).split())


def strip(text: str) -> str:
    """`text` without its invisible and direction-changing characters."""
    return _replaced(text, lambda char: "")


def has_hidden(text: str) -> bool:
    """Whether `text` has invisible or direction-changing characters."""
    return bool(_hidden(text))


def _names(text: str) -> list[str]:
    """Addresses and hosts in `text` that are not plain ASCII, or are encoded. Linear in time."""
    found = []
    for word in _BETWEEN_NAMES.split(text):
        if word.isascii() and "xn--" not in word.lower():
            continue
        _, link, rest = word.partition("://")
        name = _HOST_END.split(rest if link else word, maxsplit=1)[0]
        if link or "@" in name or "." in name.strip("."):
            found.append(name)
    return found


def _replaced(text: str, new: Callable[[str], str]) -> str:
    hidden = _hidden(text)
    if not hidden:
        return text
    places = set(hidden)
    return "".join(new(char) if at in places else char for at, char in enumerate(text))


def _hidden(text: str) -> list[int]:
    if text.isascii():
        return [at for at, char in enumerate(text) if (char < " " and char not in "\t\n\r") or char == "\x7f"]
    return [at for at, char in enumerate(text) if _is_hidden(char) and not _is_spelling(text, at)]


@lru_cache(maxsize=4096)
def _is_hidden(char: str) -> bool:
    if char in "\t\n\r":
        return False
    if "\ufe00" <= char <= "\ufe0f" or "\U000e0000" <= char <= "\U000e0fff" or char in _BLANK:
        return True
    return unicodedata.category(char) in ("Cf", "Cc", "Zl", "Zp", "Cs")


def _is_spelling(text: str, at: int) -> bool:
    """Whether a joiner or an emoji's style mark stands where ordinary writing has one."""
    before, after = text[at - 1 : at] if at else "", text[at + 1 : at + 2]
    char = text[at]
    if char == _EMOJI_STYLE:
        return before != "" and (unicodedata.category(before) in ("So", "Sm", "Po") or before in "0123456789#*")
    if char == _ZWJ and after and unicodedata.category(after) in ("So", "Sm"):
        return before != "" and (unicodedata.category(before) in ("So", "Sk") or before == _EMOJI_STYLE)
    return char in (_ZWJ, _ZWNJ) and _script(before) in _JOINING and (not after or _script(after) in _JOINING | {""})


@lru_cache(maxsize=4096)
def _script(char: str) -> str:
    if not char or unicodedata.category(char)[0] not in "LM":
        return ""
    return unicodedata.name(char, "").partition(" ")[0]


def _alphabet(char: str) -> str:
    script = _script(char)
    return script if script in ("LATIN", "GREEK", "CYRILLIC") else ""


def _named(chars: list[str]) -> str:
    shown = ", ".join(f"U+{ord(char):04X}" for char in chars[:5])
    return shown + (" and others" if len(chars) > 5 else "")


def _quoted(names: list[str]) -> str:
    return ", ".join(escape(name[:100]) for name in names[:3]) + (" and others" if len(names) > 3 else "")
