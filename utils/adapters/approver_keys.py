"""The keys that approvals are signed with elsewhere: those whose signatures count here, and a device's own.

`STATE_DIR/keys/approvers.json` on Local, outside the vault, says who may approve from afar; nothing that arrives can
change it. A private key (PKCS #8, mode 0600) lies on the device of the person, never on the Cloud. Ed25519 is
`cryptography`'s (OpenSSL).
"""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.core.commands import command
from utils.core.remote_approval import PUBLISHED, PUBLISHED_WORDS, Approver, Statement, decode, encode, public_key
from utils.core.signing import BadKey, person
from utils.core.task import format_time
from utils.ports import AdapterError
from utils.vault import atomic, locks

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Exists(BadKey):
    """A private key lies there already."""


class ApproverKeys:
    """Who may approve from afar, in `folder`. Methods raise `BadKey` with the remedy, `AdapterError` for a file that
    can't be believed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "approvers.json"

    def all(self) -> tuple[Approver, ...]:
        """Everybody who is or was enrolled, in that order; nobody where there is no file."""
        try:
            return tuple(_approver(entry) for entry in json.loads(self.path.read_bytes())["approvers"])
        except FileNotFoundError:
            return ()
        except (ValueError, KeyError, TypeError) as error:
            raise AdapterError(
                f"{self.path} is damaged ({error}): restore it, or remove it and enrol again", retry=False
            ) from error

    def find(self, key: str) -> Approver | None:
        """Whose key this is, revoked or not."""
        return next((known for known in self.all() if known.key == key), None)

    def matching(self, which: str) -> list[Approver]:
        """Everybody whom this name, in whatever case, or this key names. A name as it is written goes before."""
        known = self.all()
        exact = [approver for approver in known if which in (approver.name, approver.key)]
        return exact or [approver for approver in known if approver.name.casefold() == which.casefold()]

    def enrol(self, name: str, key: str, now: datetime) -> bool:
        """Let signatures by `key` count as `name`'s; False where they did already."""
        named(name)
        if key in PUBLISHED:
            raise BadKey(f"{PUBLISHED_WORDS}: `{command('approver_key create NAME')}` makes one of your own")
        with self._alone():
            known = self.all()
            same_key = next((approver for approver in known if approver.key == key), None)
            valid = (approver for approver in known if not approver.revoked_at)
            same_name = next((other for other in valid if other.name.casefold() == name.casefold()), None)
            if same_key and same_key.revoked_at:
                raise BadKey(f"this key was revoked here as {same_key.name}'s: make another one")
            if same_key and same_key.name != name:
                raise BadKey(f"this key is enrolled already, as {same_key.name}'s: each device has its own")
            if same_key:
                return False
            if same_name:
                raise BadKey(
                    f"{same_name.name} is enrolled with another key. If it was replaced, run"
                    f" `{command(f'approver_key revoke {same_name.name}')}` first"
                )
            self._write([*known, Approver(name, key, format_time(now))])
        return True

    def revoke(self, which: str, now: datetime) -> Approver | None:
        """Let signatures by the key of this name, or by this key, count no longer; None where that was so already."""
        with self._alone():
            known, named = self.all(), self.matching(which)
            if not named:
                raise BadKey(f"nobody is enrolled as {which!r}: `{command('approver_key list')}` shows who is")
            valid = [approver for approver in named if not approver.revoked_at]
            if not valid:
                return None
            gone = replace(valid[0], revoked_at=format_time(now))
            self._write([gone if approver == valid[0] else approver for approver in known])
            return gone

    def _alone(self) -> AbstractContextManager[None]:
        return locks.hold(self._folder.parent / "locks" / "approvers.lock")

    def _write(self, approvers: list[Approver]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = json.dumps({"approvers": [asdict(approver) for approver in approvers]}, indent=1)
        atomic.write(self.path, text.encode() + b"\n", mode=0o600)


def _approver(entry: Any) -> Approver:
    approver = Approver(**entry)
    if public_key(approver.key) != approver.key or not all(
        isinstance(text, str) for text in (approver.name, approver.enrolled_at, approver.revoked_at or "")
    ):
        raise ValueError(f"an entry is not as `enrol` writes it: {approver.name}")
    return approver


def named(name: str) -> str:
    """The name, if a person's device can be called so (as for the keys that sign commits). Raises `BadKey`."""
    person(name)
    return name


def create(path: Path) -> str:
    """Make a private key at `path`, never over a file; its public key. Raises `Exists`."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        atomic.write(path, pem, mode=0o600, replace=False)
    except FileExistsError:
        raise Exists(f"{path} exists already: name another file, or go on using that key") from None
    return _public(key)


def own(path: Path) -> str:
    """The public key of the private key at `path`. Raises `BadKey`."""
    return _public(_load(path))


def sign(path: Path, statement: Statement) -> Statement:
    """The statement, signed with the key at `path`, which its `signer` must be. Raises `BadKey`."""
    key = _load(path)
    if _public(key) != statement.signer:
        raise BadKey(f"the key in {path} is not the signer")
    return statement.signed(key.sign(statement.to_sign()))


def is_genuine(statement: Statement) -> bool:
    """Whether the signature is by the statement's `signer` over its canonical bytes (RFC 8032 §5.1.7)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(decode(statement.signer))
        key.verify(decode(statement.signature), statement.to_sign())
    except (InvalidSignature, ValueError):
        return False
    return True


def _public(key: Ed25519PrivateKey) -> str:
    return encode(key.public_key().public_bytes_raw())


def _load(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        with path.open("rb") as file:
            mode, pem = os.fstat(file.fileno()).st_mode, file.read()
    except FileNotFoundError:
        raise BadKey(f"there is no key at {path}: `{command('approver_key create NAME')}` makes one") from None
    if mode & 0o077:
        raise BadKey(f"{path} can be read by others, so it may be known to them: chmod 600, or make another")
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise BadKey(f"{path} holds no private key without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey(f"{path} holds no Ed25519 key")
    return key
