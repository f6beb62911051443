"""How X counts the length of a post. Pure.

The rule is twitter-text's, version 3 (docs.x.com, "Counting characters"): a code point weighs 1 in the ranges of Latin,
Cyrillic, Arabic and such, else 2; a link weighs 23, an emoji 2; the text is counted in its normal form NFC. The library
is a port of it that passes the published conformance cases; emoji younger than it weigh more here, never less.
"""

from __future__ import annotations

import re
from functools import lru_cache

MAX_WEIGHT = 280
#: Code points. Above this nothing is counted: no post that X takes is so long, but for a link of a thousand characters.
MAX_COUNTED = 1000
#: The three that X refuses anywhere: byte order marks and a noncharacter.
_REFUSED = re.compile("[\ufffe\ufeff\uffff]")
_WORD = re.compile(r"\s+|\S+")


def problems(text: str) -> list[str]:
    """Why X would not take this text as a post, in plain sentences; empty where it would. An empty text has none."""
    found = ["the draft has a character that X refuses (U+FFFE, U+FEFF or U+FFFF)"] if _REFUSED.search(text) else []
    if len(text) > MAX_COUNTED:
        return [*found, f"the draft has {len(text)} characters; a post on X has at most {MAX_WEIGHT} by X's counting"]
    weight = weighted_length(text)
    if weight > MAX_WEIGHT:
        found.append(f"the draft counts {weight} by X's counting (a link counts 23); at most {MAX_WEIGHT} are possible")
    return found


@lru_cache(maxsize=256)
def weighted_length(text: str) -> int:
    """The length as X counts it.

    Word by word, for the library's patterns take cubic time, and no link and no emoji has a blank in it.
    """
    from twitter_text import parse_tweet

    return sum(
        len(word) if word.isspace() and word.isascii() else parse_tweet(word).weightedLength
        for word in _WORD.findall(text)
    )


def links(text: str) -> list[str]:
    """The links that X finds in a text and shortens, in order."""
    from twitter_text import extract_urls_with_indices

    return [
        str(found["url"]) for word in _WORD.findall(text[:MAX_COUNTED]) for found in extract_urls_with_indices(word)
    ]
