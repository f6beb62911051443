"""Who signed a commit: OpenSSH's signatures (PROTOCOL.sshsig), verified by ssh-keygen and not through git.

git would start whatever program its configuration names for a signature's format, dies of SIGPIPE where ssh-keygen
rejects a signature unread, and verifies a commit whose signature stands anywhere in the header: put before the
parents, it makes of an old signed commit another one, without parents, that bears the same good signature.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from utils.adapters.ssh_keys import KeyStore, keygen, refused
from utils.core.signing import Keyring, public_key
from utils.ports import AdapterError

#: A commit as git writes it (commit-tree): the signature after everything that it is about, and nothing in between.
_COMMIT = re.compile(
    rb"(?P<head>tree [0-9a-f]+\n(?:parent [0-9a-f]+\n)*author [^\n\0]*\ncommitter [^\n\0]*\n(?:encoding [^\n\0]*\n)?)"
    rb"gpgsig(?:-sha256)? (?P<signature>-----BEGIN SSH SIGNATURE-----\n(?: [A-Za-z0-9+/=]+\n)+"
    rb" -----END SSH SIGNATURE-----)\n(?P<body>\n.*)",
    re.DOTALL,
)
_AT_ONCE = 4
_ANY = re.compile(rb"\A[^\0]*?\ngpgsig(?:-sha256)? ", re.DOTALL)


@dataclass(frozen=True)
class Signature:
    """`verdict`: G good, B bad, U by a key that is not enrolled, N none that counts. `key`: its fingerprint."""

    verdict: str
    key: str = ""


def verify(commits: Mapping[str, bytes], keys: Path) -> dict[str, Signature]:
    """Who signed each of these commits (as git stores them), by id. Raises `AdapterError` where ssh-keygen can't say.

    Only a signature by a key that is enrolled costs a process, some 5 ms; they run side by side.
    """
    store = KeyStore(keys)
    keyring = store.keyring()
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(_AT_ONCE) as pool:
        work = {
            oid: pool.submit(_verify_one, raw, keyring, store.allowed, Path(scratch, oid))
            for oid, raw in commits.items()
        }
        found = {oid: future.result() for oid, future in work.items()}
        if any(signature.verdict == "B" for signature in found.values()):
            _check(Path(scratch))
    return found


def _verify_one(raw: bytes, keyring: Keyring, allowed: Path, file: Path) -> Signature:
    match = _COMMIT.fullmatch(raw)
    if match is None:
        return Signature("B" if _ANY.match(raw.partition(b"\n\n")[0] + b"\n") else "N")
    armor = match["signature"].replace(b"\n ", b"\n")
    fingerprint = _signer(armor)
    if fingerprint is None:
        return Signature("B")
    key = keyring.signer(fingerprint)
    if key is None:
        return Signature("U", fingerprint)
    file.write_bytes(armor + b"\n")
    arguments = ["-Y", "verify", "-f", str(allowed), "-I", key.principal, "-n", "git", "-s", str(file)]
    return Signature("B" if refused(arguments, match["head"] + match["body"]) else "G", fingerprint)


def _signer(armor: bytes) -> str | None:
    """The fingerprint of the key that a signature says it was made with."""
    try:
        blob = base64.b64decode(b"".join(armor.splitlines()[1:-1]), validate=True)
    except binascii.Error:
        return None
    length = int.from_bytes(blob[10:14], "big")
    if blob[:10] != b"SSHSIG\0\0\0\1" or len(blob) < 14 + length:
        return None
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob[14 : 14 + length]).digest()).decode().rstrip("=")


def _check(folder: Path) -> None:
    """Sign and verify something. Raises `AdapterError` where that fails: then a bad signature says nothing."""
    key, text, allowed = folder / "key", folder / "text", folder / "allowed"
    text.write_bytes(b"x")
    keygen(["-q", "-t", "ed25519", "-N", "", "-f", str(key)])
    keygen(["-q", "-Y", "sign", "-n", "git", "-f", str(key), str(text)])
    allowed.write_text(f'x namespaces="git" {public_key(Path(f"{key}.pub").read_text())}\n')
    said = refused(["-Y", "verify", "-f", str(allowed), "-I", "x", "-n", "git", "-s", f"{text}.sig"], b"x")
    if said:
        raise AdapterError(f"ssh-keygen can't verify signatures here: {said}", retry=False)
