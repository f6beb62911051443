"""Names that could be taken for another one: acrne.example for acme.example. Pure.

Two names are alike where they have the same skeleton (letters that look alike made one, after Unicode TR39), or differ
by one slip of the pen. Short words differ by one letter too often for that to mean anything, and people at one host
have names like each other's: what is said too often of honest mail is read by nobody when it counts.
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from utils.core import visible

_CACHED = 16_384
#: In characters; below it one differing letter says nothing.
SHORTEST = 4
#: In characters, of the part before the @: a slip is one in eight. Shorter ones (dan, dana; anna, anne) are two people.
SHORTEST_PERSON = 8
_NUMBER = re.compile(r"\d+")
#: In small letters: Cyrillic, Greek, others of Latin, and digits.
_SAME = str.maketrans(
    "авгеһикмнопрстухьѕіјӏԁԛԝ" "αβγεηικνορτυχω" "ıłøđɑɡ" "01|",
    "abrehukmhonpctyxbsijldqw" "abyenikvoptuxw" "llodag" "oll",
)  # fmt: skip
_TOGETHER = (("rn", "m"), ("vv", "w"), ("cl", "d"))
#: What other scripts write for a dot in a host name (UTS 46).
DOTS = str.maketrans("\u3002\uff0e\uff61", "...")


@lru_cache(maxsize=_CACHED)
def skeleton(text: str) -> str:
    """What a hasty reader takes it for: the same for texts that look alike."""
    folded = unicodedata.normalize("NFKD", visible.strip(text)).casefold()
    plain = "".join(char for char in folded if unicodedata.category(char) != "Mn").translate(_SAME)
    for pair, one in _TOGETHER:
        plain = plain.replace(pair, one)
    return plain.replace("i", "l")


def is_one_slip(one: str, other: str) -> bool:
    """Whether one letter added, left out or exchanged, or two swapped neighbours, make one of the other."""
    start = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    one, other = one[start:], other[start:]
    end = next((at for at, (a, b) in enumerate(zip(one[::-1], other[::-1], strict=False)) if a != b), None)
    common = min(len(one), len(other)) if end is None else end
    one, other = one[: len(one) - common], other[: len(other) - common]
    return one != other and (max(len(one), len(other)) == 1 or (len(one) == 2 and one == other[::-1]))


@lru_cache(maxsize=_CACHED)
def host(text: str) -> str:
    """A host name in one spelling: small letters, plain dots, xn-- read out, no dot at the end."""
    labels = visible.strip(text).translate(DOTS).lower().strip(".").split(".")
    return ".".join(_read_out(label) for label in labels)


class Likeness(Enum):
    """How one host could be taken for another."""

    LOOKS = "the same letters to a hasty eye, or the whole name within it"
    SLIP = "one slip of the pen"
    ENDING = "the same name below another ending"


class Alike(NamedTuple):
    """Whom an address could be taken for. `is_trick`: nobody has such an address by chance."""

    known: str
    is_trick: bool


class _Parts(NamedTuple):
    name: str
    skeleton: str
    labels: list[str]


@lru_cache(maxsize=_CACHED)
def _parts(name: str) -> _Parts:
    one = host(name)
    return _Parts(one, skeleton(one), one.split("."))


def is_host_like(name: str, known: str) -> bool:
    """Whether the host `name` could be taken for `known`, and is neither it nor below or above it."""
    return host_likeness(name, known) is not None


def host_likeness(name: str, known: str) -> Likeness | None:
    """How `is_host_like` finds it so."""
    ours, theirs = _parts(name), _parts(known)
    if f".{ours.name}".endswith(f".{theirs.name}") or theirs.name.endswith(f".{ours.name}") or len(theirs.labels) < 2:
        return None
    if ours.skeleton == theirs.skeleton:
        return Likeness.LOOKS
    if f".{theirs.name}." in f".{ours.name}" or "-".join(theirs.labels) in ours.name:  # acme.example.evil.test
        return Likeness.LOOKS
    if len(ours.labels) != len(theirs.labels):
        return None
    differing = [(a, b) for a, b in zip(ours.labels, theirs.labels, strict=True) if a != b]
    if len(differing) != 1:
        return None
    if ours.labels[-1] != theirs.labels[-1]:
        # A slip in the ending is no other ending: acme.exemple.
        if _is_word_like(ours.labels[-1], theirs.labels[-1]):
            return Likeness.SLIP
        return Likeness.ENDING if len(ours.labels[-2]) >= SHORTEST else None
    return Likeness.SLIP if _is_word_like(*differing[0]) else None


def is_address_like(address: str, known: str) -> bool:
    """Whether the mail address could be taken for `known`, and is another one."""
    (ours, _, domain), (theirs, _, known_domain) = (one.lower().rpartition("@") for one in (address, known))
    if host(domain) != host(known_domain):
        return is_host_like(domain, known_domain)
    return ours != theirs and (skeleton(ours) == skeleton(theirs) or _is_word_like(ours, theirs))


def is_name_like(name: str, known: str) -> bool:
    """Whether the name of a person or a company could be taken for `known`, and is another one."""
    ours, theirs = plain(name), plain(known)
    return ours != theirs and (skeleton(ours) == skeleton(theirs) or _is_word_like(ours, theirs))


def plain(name: str) -> str:
    """A name in one spelling: `ACME  GmbH` is `Acme GmbH`."""
    return " ".join(name.casefold().split())


def first_like(address: str, known: frozenset[str], wrote: frozenset[str] = frozenset()) -> Alike | None:
    """The first of the known mail addresses that `address` could be taken for, or of those who `wrote` the mail that is
    answered; None where it is a known one.

    No trick is somebody with a name of their own at the same name below another ending (zoe@example.org beside
    ann@example.com), nor at a host one slip away where somebody is known too: hosts that are met are two hosts.
    """
    address = address.lower()
    local, _, domain = address.rpartition("@")
    if address in known or not local:
        return None
    by_host, hint = _by_host(known | wrote), None
    is_met = host(domain) in _by_host(known)  # who writes from a host has not made it an honest one
    for other, people in by_host.items():
        likeness = host_likeness(domain, other)
        if likeness is None and other != host(domain):
            continue
        found = next((one for one in people if _is_person_like(local, one.rpartition("@")[0], likeness)), None)
        if found is None and (likeness is Likeness.LOOKS or (likeness is Likeness.SLIP and not is_met)):
            found = people[0]
        if found is not None:
            return Alike(found, is_trick=True)
        if likeness is not None and not is_met:
            hint = hint or Alike(people[0], is_trick=False)
    return hint


def _is_person_like(local: str, known: str, at: Likeness | None) -> bool:
    """Whether the part before the @ could be taken for `known`; at another host (`at`) the very same is."""
    if local == known:
        return at is not None
    if skeleton(local) == skeleton(known):
        return True
    if _NUMBER.sub("0", local) == _NUMBER.sub("0", known):  # dan34 and dan30: numbers are there to tell apart
        return False
    return min(len(local), len(known)) >= SHORTEST_PERSON and is_one_slip(local, known)


@lru_cache(maxsize=8)
def _by_host(known: frozenset[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for address in sorted(address for address in known if "@" in address):
        found.setdefault(host(address.rpartition("@")[2]), []).append(address)
    return found


def _is_word_like(one: str, other: str) -> bool:
    return min(len(one), len(other)) >= SHORTEST and is_one_slip(one, other)


def _read_out(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return label[4:].encode("ascii").decode("punycode")
    except (UnicodeError, ValueError):  # no such name exists
        return label
