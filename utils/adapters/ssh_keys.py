"""The keys of this node: `STATE_DIR/keys/`, outside the vault, so that nothing that arrives can change them.

`node` and `node.pub` are its own, `allowed_signers` says whose signatures count, `revoked_keys` whose no longer do.
OpenSSH's ssh-keygen makes keys, signs and verifies; the files are its own formats, but for git only.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from utils.core.commands import command
from utils.core.signing import (
    ADDRESSES,
    BadKey,
    Key,
    Keyring,
    allowed_line,
    public_key,
    read_allowed,
    read_revoked,
    revoked_line,
)
from utils.ports import AdapterError
from utils.vault import atomic, locks

INSTALL = "install OpenSSH's ssh-keygen 8.2 or newer (Debian, Ubuntu: apt install openssh-client)"
_LARGEST = 16 * 1024


class KeyStore:
    """The keys in `folder`. Methods raise `BadKey` with the remedy, `AdapterError` where ssh-keygen fails."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.private = folder / "node"
        self.allowed = folder / "allowed_signers"
        self.revoked = folder / "revoked_keys"

    def keyring(self) -> Keyring:
        """What is known now. Cheap; without the folder it is empty."""
        try:
            return Keyring(self.private.is_file(), read_allowed(_text(self.allowed)), read_revoked(_text(self.revoked)))
        except BadKey as error:
            raise AdapterError(f"{self.folder}: {error}. Correct the file, or restore it", retry=False) from error

    def own(self) -> str:
        """This node's public key. Raises `BadKey` where it has none."""
        if not self.private.is_file():
            raise BadKey(f"this node has no key yet: run `{command('keys create')}`")
        return public_key(keygen(["-y", "-P", "", "-f", str(self.private)]))

    def create(self, zone: str) -> bool:
        """Make the node's key, if there is none, and let it count as `zone`'s; whether it was made now."""
        with self._alone():
            made = not self.private.exists()
            lost = next((known for known in self.keyring().allowed if known.principal == ADDRESSES[zone]), None)
            if made and lost:
                raise BadKey(
                    f"this node had the key {lost.fingerprint}, and {self.private} is gone. Put it back from a backup;"
                    f" or run `{command(f'keys revoke {lost.name}')}` here and on the other node, create another,"
                    " and enrol that one there"
                )
            if made:
                self._make(zone)
            key = Key(self.own(), ADDRESSES[zone])
            if self.keyring().was_revoked(key.fingerprint):
                raise BadKey(f"the key in {self.private} was revoked: move the file away, then create another")
            self._add(key)
        return made

    def _make(self, zone: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.chmod(0o700)
        temporary = self.folder / f"{atomic.TEMP_PREFIX}{secrets.token_hex(8)}"
        try:
            keygen(["-q", "-t", "ed25519", "-N", "", "-C", ADDRESSES[zone], "-f", str(temporary)])
            os.replace(f"{temporary}.pub", f"{self.private}.pub")
            atomic.move(temporary, self.private)
        finally:
            for left in (temporary, Path(f"{temporary}.pub")):
                left.unlink(missing_ok=True)

    def enrol(self, key: Key) -> bool:
        """Let signatures by `key` count; False where they did already."""
        with self._alone():
            return self._add(key)

    def _add(self, key: Key) -> bool:
        keyring = self.keyring()
        if key in keyring.allowed:
            return False
        if keyring.was_revoked(key.fingerprint):
            raise BadKey(f"the key {key.fingerprint} was revoked here: use another one")
        for known in keyring.allowed:
            if known.fingerprint == key.fingerprint:
                raise BadKey(f"this key is known already, as {known.name}'s: each node and each person has its own")
            if known.principal == key.principal:
                raise BadKey(
                    f"{known.name} is enrolled with another key ({known.fingerprint}). If it was replaced, run"
                    f" `{command(f'keys revoke {known.name}')}` first"
                )
        self._write(self.allowed, [allowed_line(known) for known in (*keyring.allowed, key)])
        return True

    def is_own(self, which: str) -> bool:
        """Whether this names the key that this node signs with now."""
        own = Key(self.own(), "") if self.private.is_file() else None
        known = next((key for key in self.keyring().allowed if own and key.text == own.text), own)
        return known is not None and which in (known.name, known.fingerprint)

    def revoke(self, which: str) -> Key | None:
        """Let signatures by the key of this name or fingerprint count no longer; None where that was so already.

        The node's own key is set aside, so that nothing more is signed with it.
        """
        with self._alone():
            keyring = self.keyring()
            found = [key for key in keyring.allowed if which in (key.name, key.fingerprint)]
            if not found and any(which in (key.name, key.fingerprint) for key in keyring.revoked):
                return None
            if not found:
                raise BadKey(f"there is no key of {which!r}: `{command('keys list')}` shows those there are")
            key = found[0]
            # Revoked first: a crash between the two files leaves a key in both, and then it counts for nothing.
            self._write(self.revoked, [revoked_line(known) for known in (*keyring.revoked, key)])
            self._write(self.allowed, [allowed_line(known) for known in keyring.allowed if known != key])
            if self.private.is_file() and self.own() == key.text:
                atomic.move(self.private, self.folder / f"node.revoked-{secrets.token_hex(4)}")
            return key

    def _alone(self) -> AbstractContextManager[None]:
        return locks.hold(self.folder.parent / "locks" / "keys.lock")

    def _write(self, path: Path, lines: Sequence[str]) -> None:
        atomic.write(path, "".join(f"{line}\n" for line in lines).encode(), mode=0o600)


def read_public_key(given: str) -> str:
    """The public key that `given` is, or that lies in the file it names.

    Raises `BadKey`, which repeats nothing but the name of a .pub file: what was given may be a private key.
    """
    path = Path(given).expanduser()
    try:
        with path.open("rb") as file:
            given = file.read(_LARGEST).decode("utf-8", "replace")
    except PermissionError as error:
        raise BadKey(f"the key's file can't be read: {error.strerror}") from None
    except (OSError, ValueError, RuntimeError):
        if len(given.split()) == 1 and given.endswith(".pub"):
            raise BadKey(f"there is no file {given}: give the path of the key's .pub file, or the key itself") from None
        if len(given.split()) == 1 and given.startswith(("/", "./", "../", "~")):
            raise BadKey("there is no such file: give the path of the key's .pub file, or the key itself") from None
        # no file: the key itself, most likely
    return public_key(given)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


# --- running it ------------------------------------------------------------------------------------------------------


def git_settings(keys: Path) -> list[str]:
    """Options of a git command that signs. They win over every file, so nothing else names a program or a key."""
    settings = ("gpg.format=ssh", "gpg.ssh.program=ssh-keygen", f"user.signingKey={keys / 'node'}")
    return [part for setting in settings for part in ("-c", setting)]


def keygen(arguments: Sequence[str]) -> str:
    """Run ssh-keygen; what it printed. Raises `AdapterError`."""
    done = _run(arguments, b"")
    if done.returncode:
        raise AdapterError(f"ssh-keygen failed: {_said(done)}. If it is too old: {INSTALL}", retry=False)
    return done.stdout.decode("utf-8", "replace")


def refused(arguments: Sequence[str], data: bytes) -> str:
    """Why ssh-keygen said no to `data`; an empty string where it said yes. Raises `AdapterError` where it can't run."""
    done = _run(arguments, data)
    return _said(done) if done.returncode else ""


def _run(arguments: Sequence[str], data: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["ssh-keygen", *arguments],
            input=data,
            capture_output=True,
            check=False,
            start_new_session=True,  # it asks nobody: no terminal, no window
            env={**os.environ, "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"},
            timeout=60,
        )
    except FileNotFoundError:
        raise AdapterError(f"there is no ssh-keygen here: {INSTALL}", retry=False) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AdapterError(f"ssh-keygen can't be run ({error}): {INSTALL}", retry=False) from None


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    return " ".join((done.stderr + done.stdout).decode("utf-8", "replace").split())[-300:] or f"exit {done.returncode}"
