"""What the receiving server says about the sender: the `Authentication-Results` header (RFC 8601). Pure."""

from __future__ import annotations

import re

_COMMENT = re.compile(r"\([^()]{0,500}\)")
_RESULT = re.compile(r"^\s*(spf|dkim|dmarc)\s*=\s*([a-z]+)\b(.*)$", re.IGNORECASE | re.DOTALL)
_PROPERTY = re.compile(r"\b(header\.from|header\.d|header\.i|smtp\.mailfrom)\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)
_DOMAIN_OF = {"dmarc": ("header.from",), "dkim": ("header.d", "header.i"), "spf": ("smtp.mailfrom",)}


def sender_verdict(header: str | None, authserv_id: str, from_address: str) -> bool | None:
    """Whether the address in From is genuine; None where nobody who can be believed has said so.

    `header` must be the topmost one of the mail: those below may come from the sender. It is believed only if it names
    `authserv_id`, the user's own receiving server. DMARC decides; without it a DKIM or SPF pass for the very domain of
    From counts, and a fail of all that was checked counts against the sender.
    """
    if not header or not authserv_id or "@" not in from_address:
        return None
    name, *statements = _COMMENT.sub(" ", header).split(";")
    if name.lower().split()[:1] != [authserv_id.lower()]:
        return None
    domain = from_address.rpartition("@")[2].lower()
    verdicts: dict[str, list[bool]] = {}
    for statement in statements:
        match = _RESULT.match(statement)
        if match is None:
            continue
        method, result, rest = match[1].lower(), match[2].lower(), match[3]
        if result not in ("pass", "fail", "softfail", "permerror"):
            continue  # none, neutral, temperror: nothing was found out
        named = [v.rpartition("@")[2].lower() for k, v in _PROPERTY.findall(rest) if k.lower() in _DOMAIN_OF[method]]
        if result == "pass" and domain not in named:
            continue  # it vouches for another domain than the one the human is shown
        verdicts.setdefault(method, []).append(result == "pass")
    if "dmarc" in verdicts:
        return all(verdicts["dmarc"])
    found = [verdict for method in ("dkim", "spf") for verdict in verdicts.get(method, [])]
    return any(found) if found else None
