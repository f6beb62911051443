"""Mail into a folder: the embedded default, which needs no account and sends nothing anywhere."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from utils.core.acting import Receipt
from utils.core.mail import OutgoingMail
from utils.ports import AdapterError
from utils.vault import atomic


class OutboxSender:
    """Writes each mail to `<folder>/<action id>.eml`. Sending the same mail twice leaves one file."""

    #: A file that is not there was never written: `find` answering None proves it.
    conclusive = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, mail: OutgoingMail) -> Receipt:
        """Write the mail, complete or not at all. Raises `AdapterError`; then there is no file."""
        path = self._path(mail.message_id)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            atomic.write(path, mail.data, mode=0o600, replace=False)
        except FileExistsError:
            if not path.is_file():
                raise AdapterError(f"OUTBOX_PATH: {self._folder} is not a folder", retry=False) from None
        except OSError as error:
            raise AdapterError(f"the outbox {self._folder} can't be written: {error.strerror}", retry=True) from error
        return self._receipt(mail.message_id, path)

    def find(self, message_id: str) -> Receipt | None:
        """The receipt where the file is there."""
        path = self._path(message_id)
        return self._receipt(message_id, path) if path.is_file() else None

    def _path(self, message_id: str) -> Path:
        local = message_id.strip("<>").partition("@")[0]
        plain = re.fullmatch(r"[A-Za-z0-9_-]{1,100}", local) is not None
        return self._folder / f"{local if plain else hashlib.sha256(message_id.encode()).hexdigest()}.eml"

    def _receipt(self, message_id: str, path: Path) -> Receipt:
        return Receipt("outbox", message_id, f"written to {path.name} in the outbox")
