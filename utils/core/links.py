"""Where a text leads: its links as they go out, and which of them say another host than they lead to. Pure.

Found is what mail programs make clickable: addresses with a scheme, `www.…`, `mailto:…`, `host.tld/path`, and Markdown
links. Hosts are read as browsers do (WHATWG URL): a backslash is a slash, what stands before an `@` is no host.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from urllib.parse import unquote

from utils.core import lookalike, visible

#: So many are looked at; that there are more is said.
MAX_LINKS = 100
#: In characters; where it leads stands at the beginning.
LONGEST = 2048
_BETWEEN = re.compile(r"[\s<>\"`]+")
_START = re.compile(r"[a-z][a-z0-9+.-]{1,20}://|(?<![\w.-])(?<!://)www\.|(?<![\w.-])mailto:", re.IGNORECASE)
_BARE = re.compile(r"(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?::\d{1,5})?/", re.IGNORECASE)
_MARKDOWN = re.compile(r"\[(?P<words>[^\[\]]+)\]\(\s*<?(?P<target>[^\s<>()]+)")
_DEFINED = re.compile(r"^[ \t>]*\[(?P<words>[^\[\]\n]+)\]:[ \t]*<?(?P<target>[^\s<>]+)", re.MULTILINE)
_NAMED = re.compile(r"(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}")
_BEFORE, _AFTER = "([{'*_~", ".,;:!?'*_~"


@dataclass(frozen=True)
class Link:
    """One link. `target`: as it goes out; `words`: what stands there for it, "" where it stands there itself."""

    target: str
    words: str = ""

    @property
    def host(self) -> str:
        """Where it leads, xn-- read out; "" where no host is in it."""
        return lookalike.host(_authority(self.target).rpartition("@")[2])

    @property
    def pretends(self) -> str:
        """The host that it seems to lead to and does not; "" where it says what it is."""
        before, is_disguised, _ = _authority(self.target).rpartition("@")
        if is_disguised and not self.target.lower().startswith("mailto:"):
            return before.partition(":")[0]
        words = visible.strip(self.words).translate(lookalike.DOTS)
        named = [lookalike.host(match[0]) for match in _NAMED.finditer(words)]
        return next((name for name in named if not _is_below(self.host, name)), "")


def found(text: str) -> list[Link]:
    """The links of a text, each once, those in Markdown first; one more than `MAX_LINKS` where there are many."""
    links: dict[Link, None] = {}
    targets: set[str] = set()
    for link in chain(_in_markdown(text), _plain(text)):
        if link.words or link.target not in targets:
            links[link] = None
            targets.add(link.target)
        if len(links) > MAX_LINKS:
            break
    return list(links)


def _in_markdown(text: str) -> Iterator[Link]:
    for pattern in (_MARKDOWN, _DEFINED):
        for match in pattern.finditer(text):
            yield Link(match["target"][:LONGEST], match["words"][:LONGEST])


def _plain(text: str) -> Iterator[Link]:
    for word in _BETWEEN.split(text):
        match = None
        for match in _START.finditer(word):
            yield Link(_end(word[match.start() : match.start() + LONGEST]))
        bare = word.lstrip(_BEFORE)
        if match is None and _BARE.match(bare):
            yield Link(_end(bare[:LONGEST]))


def _end(link: str) -> str:
    """Without what belongs to the sentence around it."""
    link = link.partition("](")[0]
    while True:
        shorter = link.rstrip(_AFTER)
        for opening, closing in ("()", "[]", "{}"):
            if shorter.endswith(closing) and shorter.count(opening) < shorter.count(closing):
                shorter = shorter[:-1]
        if shorter == link:
            return link
        link = shorter


def _authority(target: str) -> str:
    _, has_scheme, rest = target.replace("\\", "/").partition("://")
    if not has_scheme:
        lower = target.lower()
        if lower.startswith("mailto:"):
            return unquote(target[len("mailto:") :].partition("?")[0].partition(",")[0])
        rest = target.replace("\\", "/").lstrip("/")
        if ":" in rest.partition("/")[0].partition(".")[0]:  # javascript:, data:, tel:
            return ""
    else:
        rest = rest.lstrip("/")
    authority = unquote(re.split(r"[/?#]", rest, maxsplit=1)[0])
    return re.sub(r":\d*\Z", "", authority)


def _is_below(host: str, name: str) -> bool:
    name = name.removeprefix("www.")
    return host.removeprefix("www.") == name or host.endswith(f".{name}")
