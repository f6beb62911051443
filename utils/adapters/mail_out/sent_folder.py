"""The IMAP folder in which a mail server keeps what was sent (RFC 3501): read only, within a bounded time."""

from __future__ import annotations

import ssl
from typing import Any

from imapclient import IMAPClient, imap4, tls
from imapclient.exceptions import IMAPClientError

from utils.adapters.cut_off import CutOff
from utils.core.acting import Receipt
from utils.ports import AdapterError
from utils.settings import Settings

#: How many times the seconds of a silence a whole look may take, from the greeting to the answer.
_WHOLE = 3


def find(s: Settings, message_id: str) -> Receipt | None:
    """The receipt where the folder holds a mail with this Message-ID. Raises `AdapterError`."""
    limit = CutOff(s.smtp_timeout_seconds * _WHOLE)
    context = None if s.imap_security == "none" else ssl.create_default_context()
    try:
        with _Client(s, context, limit) as box:
            if context is not None and s.imap_security == "starttls":
                box.starttls(context)
                limit.begin(box.socket())
            box.login(s.imap_user, s.imap_pass)
            box.select_folder(s.imap_sent_folder, readonly=True)
            found = box.search(["HEADER", "Message-ID", message_id])
    except (OSError, IMAPClientError) as error:
        said = "it takes too long" if limit.has_cut.is_set() else error
        raise AdapterError(
            f"the Sent folder {s.imap_sent_folder!r} at {s.imap_host} can't be read: {said}", retry=True
        ) from error
    finally:
        limit.end()
    return Receipt("imap", message_id, f"found in {s.imap_sent_folder}") if found else None


class _Client(IMAPClient):  # type: ignore[misc]  # the library has no types
    """The library's, its connection watched: it has no other way to name the class of that."""

    def __init__(self, s: Settings, context: ssl.SSLContext | None, limit: CutOff) -> None:
        self._limit = limit
        direct = s.imap_security == "tls"
        super().__init__(s.imap_host, s.imap_port, ssl=direct, ssl_context=context, timeout=s.smtp_timeout_seconds)

    def _create_IMAP4(self) -> Any:
        timeout = self._timeout.connect
        if self.ssl:
            return _watched(tls.IMAP4_TLS, self._limit)(self.host, self.port, self.ssl_context, timeout)
        return _watched(imap4.IMAP4WithTimeout, self._limit)(self.host, self.port, timeout)


def _watched(kind: Any, limit: CutOff) -> type[Any]:
    """A class of IMAP connections that `limit` watches from before the greeting on."""

    def opened(self: Any, *arguments: Any, **options: Any) -> None:
        kind.open(self, *arguments, **options)
        limit.begin(self.sock)

    return type(kind.__name__, (kind,), {"open": opened})
