"""What the receiving server says about the sender: the `Authentication-Results` header (RFC 8601). Pure.

The server copies words of the sender's into it, so it is read by its grammar, and what does not keep to that is not
believed at all: better no verdict than a forged one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_HEADER = 8_000  # characters; longer ones are cut somewhere on their way here
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\Z")
_ATOM = re.compile(r'[^\s;()"\\]+')
_PLACE = re.compile(r"(?:[^@\s\"]*@)?([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)\Z")
#: Where each method names the domain that it speaks of, the best place first.
_DOMAIN_AT = {"dmarc": ("header.from",), "dkim": ("header.d", "header.i"), "spf": ("smtp.mailfrom",)}
_KIND_OF = {"dmarc": ("header", "policy"), "dkim": ("header", "policy"), "spf": ("smtp", "policy")}
_FAILS = frozenset({"fail", "softfail", "permerror"})


@dataclass(frozen=True)
class _Result:
    """One statement: a method, its result, and the domain that it is about ("": none that is clear)."""

    method: str
    result: str
    domain: str


def sender_verdict(header: str | None, authserv_id: str, from_address: str) -> bool | None:
    """Whether the address in From is genuine; None where nobody who can be believed has clearly said so.

    `header` must be the topmost one of the mail, raw (encoded words not decoded): those below may come from the sender.
    It is believed only if it names `authserv_id`, the user's own receiving server. DMARC decides; without a DMARC
    verdict a DKIM or SPF pass for the very domain of From counts, and a fail of all that was checked counts against the
    sender.
    """
    if not header or not authserv_id or "@" not in from_address or len(header) > MAX_HEADER:
        return None
    statements = _statements(header)
    if statements is None or [word.lower() for word in statements[0]][:1] != [authserv_id.lower()]:
        return None
    results = []
    for words in statements[1:]:
        result = _result(words)
        if result is None:
            return None
        results.append(result)
    if any(sum(result.method == method for result in results) > 1 for method in ("dmarc", "spf")):
        return None  # two answers to one question: one of them is somebody else's
    return _judge(results, from_address.rpartition("@")[2].lower())


def _judge(results: list[_Result], domain: str) -> bool | None:
    dmarc = [result for result in results if result.method == "dmarc"]
    if any(result.result in _FAILS for result in dmarc):
        return False
    passed = [result for result in results if result.result == "pass" and result.domain == domain]
    if any(result.method in _DOMAIN_AT for result in passed):
        return True
    failed = any(result.method in ("dkim", "spf") and result.result in _FAILS for result in results)
    return False if failed else None


def _statements(header: str) -> list[list[str]] | None:
    """The header's parts between semicolons, each as words; None where the grammar is broken.

    Comments are gone. A quoted string keeps its quotes, so that no quoted text passes for a word, and belongs to the
    word it stands in.
    """
    parts: list[list[str]] = [[]]
    at, joined = 0, False  # joined: the next text belongs to the last word
    while at < len(header):
        char = header[at]
        if char == ";":
            parts.append([])
            at, joined = at + 1, False
        elif char.isspace():
            at, joined = at + 1, False
        elif char == "(":
            end = _end_of_comment(header, at)
            if end is None:
                return None
            at, joined = end, False
        else:
            end = _end_of_quoted(header, at) if char == '"' else (m.end() if (m := _ATOM.match(header, at)) else None)
            if end is None:
                return None
            if joined:
                parts[-1][-1] += header[at:end]
            else:
                parts[-1].append(header[at:end])
            at, joined = end, True
    return parts


def _end_of_comment(header: str, at: int) -> int | None:
    depth = 0
    for end in range(at, len(header)):
        char = header[end]
        if char in '"\\':
            return None  # no server needs them here; a sender's quoted address, copied as it is, would end the comment
        depth += {"(": 1, ")": -1}.get(char, 0)
        if depth == 0:
            return end + 1
    return None


def _end_of_quoted(header: str, at: int) -> int | None:
    match = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL).match(header, at)
    return match.end() if match else None


def _result(words: list[str]) -> _Result | None:
    """One statement; None where it is none. Blanks may stand around "=" (RFC 8601 §2.2)."""
    pairs = _pairs(words)
    if pairs is None or any(not _NAME.match(key.partition("/")[0]) for key, _ in pairs):
        return None
    if not pairs:
        # Nothing after a semicolon, or the one word that says that nothing was checked.
        return _Result("", "none", "") if words in ([], ["none"]) else None
    method, result = pairs[0][0].partition("/")[0].lower(), pairs[0][1].lower()
    if not result.isalpha():
        return None
    if method not in _DOMAIN_AT:
        return _Result(method, result, "")
    properties: dict[str, str] = {}
    for key, value in pairs[1:]:
        kind, dot, _ = key.lower().partition(".")
        if key.lower() in properties or (dot and kind not in _KIND_OF[method]):
            return None
        properties[key.lower()] = value
    named = next((properties[name] for name in _DOMAIN_AT[method] if name in properties), "")
    return _Result(method, result, _domain(named))


def _pairs(words: list[str]) -> list[tuple[str, str]] | None:
    if words in ([], ["none"]):
        return []
    pairs: list[tuple[str, str]] = []
    left = list(words)
    while left:
        key, equals, value = left.pop(0).partition("=")
        if not equals and left and left[0].startswith("="):
            equals, value = "=", left.pop(0)[1:]
        if equals and not value and left:
            value = left.pop(0)
        if not equals or not value or '"' in key:
            return None
        pairs.append((key, value))
    return pairs


def _domain(value: str) -> str:
    """The domain of an address or name; of `"quoted local part"@domain` what stands behind the quotes; "": unclear."""
    value = value.lower()
    if value.startswith('"'):
        value = value[_end_of_quoted(value, 0) or 0 :]
        if not value.startswith("@"):
            return ""
    match = _PLACE.match(value)
    return match[1] if match else ""
