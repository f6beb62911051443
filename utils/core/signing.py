"""The keys that commits are signed with, as values: what `allowed_signers` and `revoked_keys` say. Pure.

A key belongs to a node (its principal is the zone's address) or to a person of the Local zone. A key that was revoked
is remembered: its zone stays enrolled, so that a revocation never turns into "no key is needed".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from utils.core.routing import CLOUD, LOCAL

#: The agents' addresses, as author of a commit and as principal of a key.
ADDRESSES = {LOCAL: "local@ai-employee.invalid", CLOUD: "cloud@ai-employee.invalid"}
_PEOPLE = "@people.ai-employee.invalid"
_ZONES = {address: zone for zone, address in ADDRESSES.items()}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")
_KEY = re.compile(r"\s*((?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+)[ \t]+([A-Za-z0-9+/]+={0,3})(?:[ \t]+[^\n]*)?\s*")


class BadKey(ValueError):
    """A text is no public key, or a name can't be a person's; the message says what to give instead."""


@dataclass(frozen=True)
class Key:
    """A public key (`text`: type and base64, no comment) and whose it is."""

    text: str
    principal: str

    @property
    def fingerprint(self) -> str:
        """As OpenSSH shows it: `SHA256:` and 43 characters."""
        digest = hashlib.sha256(base64.b64decode(self.text.split(" ")[1])).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    @property
    def zone(self) -> str | None:
        """The zone whose node it is, or None for a person's."""
        return _ZONES.get(self.principal)

    @property
    def name(self) -> str:
        """What a human calls it: the zone or the person's name."""
        return self.zone or self.principal.removesuffix(_PEOPLE)


@dataclass(frozen=True)
class Keyring:
    """The keys this node knows. `own`: it has a key of its own and signs with it."""

    own: bool = False
    allowed: tuple[Key, ...] = ()
    revoked: tuple[Key, ...] = ()

    def enrolled(self, zone: str) -> bool:
        """Whether `zone` has, or had, a key here: then its name alone counts for nothing."""
        return any(key.zone == zone for key in (*self.allowed, *self.revoked))

    @property
    def judges(self) -> bool:
        """Whether there is anything to check a signature against."""
        return bool(self.allowed or self.revoked)

    def signer(self, fingerprint: str) -> Key | None:
        """The key that has this fingerprint, unless it was revoked."""
        if self.was_revoked(fingerprint):
            return None
        return next((key for key in self.allowed if key.fingerprint == fingerprint), None)

    def was_revoked(self, fingerprint: str) -> bool:
        """Whether the key of this fingerprint was revoked."""
        return any(key.fingerprint == fingerprint for key in self.revoked)


def claimed_zone(address: str) -> str | None:
    """The zone whose node an author's address claims to be, however it is written; None for anybody else's."""
    return _ZONES.get(address.strip().casefold())


def person(name: str) -> str:
    """The principal of a person. Raises `BadKey` for a name that could be taken for something else."""
    if not _NAME.fullmatch(name) or name.casefold() in _ZONES.values() or name.casefold() in ADDRESSES:
        raise BadKey(f"{name!r} can't be a person's name here: use letters, digits, '.', '_' or '-', as in ada-phone")
    return name + _PEOPLE


def public_key(text: str) -> str:
    """Type and base64 of the one public key in `text`. Raises `BadKey`; a private key is never repeated in it."""
    if "PRIVATE KEY" in text or "PuTTY-User-Key-File" in text:
        raise BadKey(
            "this is a private key: it must never leave its machine. Give the public one (the file that ends in .pub)"
        )
    match = _KEY.fullmatch(text)
    if not match or not _is_whole(match[1], match[2]):
        raise BadKey("this is no public SSH key: give one line such as `ssh-ed25519 AAAA…`, or the .pub file")
    return f"{match[1]} {match[2]}"


def _is_whole(kind: str, data: str) -> bool:
    """Whether the base64 says the same type as the word before it (RFC 4253 §6.6)."""
    try:
        raw = base64.b64decode(data, validate=True)
    except binascii.Error:
        return False
    length = int.from_bytes(raw[:4], "big")
    return len(raw) > 4 + length and raw[4 : 4 + length] == kind.encode()


def allowed_line(key: Key) -> str:
    """A line of `allowed_signers` (ssh-keygen(1)): good for git's signatures and nothing else."""
    return f'{key.principal} namespaces="git" {key.text}'


def revoked_line(key: Key) -> str:
    """A line of `revoked_keys`: the key, and whose it was."""
    return f"{key.text} {key.principal}"


def read_allowed(text: str) -> tuple[Key, ...]:
    """The keys of an `allowed_signers` file as `allowed_line` writes them. Raises `BadKey` for any other line."""
    keys = []
    for line in _lines(text):
        principal, _, rest = line.partition(" ")
        options, _, key = rest.partition(" ")
        if options != 'namespaces="git"':
            raise BadKey(f"allowed_signers: this line was not written by scripts.keys: {line[:60]}…")
        keys.append(Key(public_key(key), principal))
    return tuple(keys)


def read_revoked(text: str) -> tuple[Key, ...]:
    """The keys of a `revoked_keys` file. Raises `BadKey`."""
    return tuple(Key(public_key(line), line.rsplit(" ", 1)[-1]) for line in _lines(text))


def _lines(text: str) -> Iterable[str]:
    return (line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
