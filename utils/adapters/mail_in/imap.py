"""An IMAP folder as mailbox (RFC 3501), read-only: nothing on the server changes, no mail becomes `\\Seen` there.

What was seen is remembered in `STATE_DIR`, by UIDVALIDITY and UID. New mail wakes us by IDLE (RFC 2177) where the
server has it. The library is loaded at the first connection.
"""

from __future__ import annotations

import hashlib
import logging
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from utils.adapters.mail_in.progress import Progress
from utils.core.mail import RawMail
from utils.ports import AdapterError, Clock
from utils.settings import Settings

if TYPE_CHECKING:
    from imapclient import IMAPClient

log = logging.getLogger(__name__)

MAX_HEADERS = 256 * 1024
_TIMEOUT = 30.0  # seconds for any answer of the server
_IDLE_LIMIT = 25 * 60.0  # RFC 2177: start IDLE anew at least every 29 minutes
_AFTER_LOSS = 5.0  # seconds before we connect again
_LOGIN_PAUSE, _LONGEST_LOGIN_PAUSE = 60.0, 15 * 60.0  # so that a wrong password does not get us locked out
_BATCH = 100


class ImapMailbox:
    """Mail in one folder of an IMAP account (`IMAP_*` settings)."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        s = self._settings = settings
        self._clock = clock
        self._max_bytes = s.mail_max_mb * 1024 * 1024
        name = hashlib.sha256(f"{s.imap_host}\0{s.imap_user}\0{s.imap_folder}".encode()).hexdigest()[:12]
        self._progress = Progress(s.state_dir / "mail" / f"imap-{name}.json")
        self._client: IMAPClient | None = None
        self._refused: AdapterError | None = None
        self._refusals = 0
        self._login_after = 0.0
        self._newest = 0  # the highest UID when the folder was opened

    def fetch(self) -> Iterator[RawMail]:
        """Mails not marked seen, oldest first. At the first start those of the last `MAIL_LOOKBACK_DAYS`."""
        handed_out: set[int] = set()
        try:
            while True:
                client = self._connected()
                self._look(client)
                waiting = [uid for uid in sorted(self._progress.open) if uid not in handed_out]
                if not waiting:
                    return
                handed_out.update(waiting)
                for start in range(0, len(waiting), _BATCH):
                    yield from self._read(client, waiting[start : start + _BATCH])
        except OSError as error:
            raise self._lost(error) from error
        except _library_error() as error:
            raise self._lost(error) from error

    def mark_seen(self, mail: RawMail) -> None:
        """Remember durably, on our side, that this mail needs no more work."""
        validity, _, uid = mail.key.partition("/")
        if int(validity) == self._progress.uidvalidity:
            self._progress.done(int(uid), self._clock.now())

    def wait(self, seconds: float, stopped: Callable[[], bool]) -> None:
        """Return when the server announces mail, after `seconds`, or within a second of `stopped()`."""
        if self._client is None or not self._client.has_capability("IDLE"):
            _pause(seconds, stopped)
            return
        try:
            self._idle(self._client, min(seconds, _IDLE_LIMIT), stopped)
        except (OSError, _library_error()) as error:
            log.info("IMAP connection lost while waiting (%s); connecting again", type(error).__name__)
            self.close()
            _pause(min(seconds, _AFTER_LOSS), stopped)

    def close(self) -> None:
        """Log out; the next call connects again."""
        client, self._client = self._client, None
        if client is not None:
            try:
                client.logout()
            except (OSError, _library_error()) as error:
                log.debug("IMAP logout: %s", error)
                _hang_up(client)

    def not_taken(self) -> dict[str, str]:
        """Nothing: whatever a server holds is a mail."""
        return {}

    def check(self) -> str:
        """Connect and open the folder; one sentence on what answered. Raises `AdapterError` with the remedy."""
        try:
            self._connected()
        except (OSError, _library_error()) as error:
            raise self._lost(error) from error
        return f"{self._settings.imap_host} answers; folder {self._settings.imap_folder} can be read"

    # -- reading ---------------------------------------------------------------------------------------------------

    def _look(self, client: IMAPClient) -> None:
        """Note which mails there are to be read."""
        progress = self._progress
        if progress.done_to is None:
            since = progress.since or self._clock.now() - timedelta(days=self._settings.mail_lookback_days)
            # SINCE knows days of the server's own time zone only; the exact time is compared afterwards.
            found = client.search(["SINCE", (since - timedelta(days=1)).date()])
            times = self._sizes(client, found)
            recent = [uid for uid in found if uid in times and times[uid][0] >= since]
            progress.begin(max([self._newest, *found]), recent)
        else:
            client.noop()  # some servers show a search what is new only after another command
            # `n:*` always names the last mail, even where that is older than n.
            found = client.search(["UID", f"{progress.done_to + 1}:*"])
            progress.add([uid for uid in found if uid > progress.done_to])

    def _sizes(self, client: IMAPClient, uids: list[int]) -> dict[int, tuple[datetime, int]]:
        answers: dict[int, tuple[datetime, int]] = {}
        for start in range(0, len(uids), _BATCH):
            for uid, data in client.fetch(uids[start : start + _BATCH], ["INTERNALDATE", "RFC822.SIZE"]).items():
                if b"INTERNALDATE" in data and b"RFC822.SIZE" in data:
                    answers[uid] = (data[b"INTERNALDATE"].astimezone(UTC), data[b"RFC822.SIZE"])
        return answers

    def _read(self, client: IMAPClient, uids: list[int]) -> Iterator[RawMail]:
        known = self._sizes(client, uids)
        for uid in uids:
            if uid not in known:
                self._progress.done(uid, self._clock.now())  # deleted meanwhile
                continue
            received, size = known[uid]
            # One byte more than allowed, for the server's word on the size may be wrong.
            data = b"" if size > self._max_bytes else _part(client, uid, "", self._max_bytes + 1)
            too_large = size > self._max_bytes or len(data) > self._max_bytes
            if too_large:
                data = _part(client, uid, "HEADER", MAX_HEADERS)
            if not data:
                self._progress.done(uid, self._clock.now())
                continue
            key = f"{self._progress.uidvalidity}/{uid}"
            yield RawMail(key, data, received, max(size, len(data)), too_large, "imap")

    # -- connection ------------------------------------------------------------------------------------------------

    def _connected(self) -> IMAPClient:
        if self._client is not None:
            return self._client
        if self._refused is not None and self._clock.monotonic() < self._login_after:
            raise self._refused
        client = self._connect()
        try:
            self._log_in(client)
            self._open_folder(client)
        except BaseException:
            _hang_up(client)
            raise
        self._client = client
        return client

    def _connect(self) -> IMAPClient:
        import imapclient

        s = self._settings
        context = ssl.create_default_context()
        direct = s.imap_security == "tls"
        client = imapclient.IMAPClient(
            s.imap_host, s.imap_port, ssl=direct, ssl_context=context if direct else None, timeout=_TIMEOUT
        )
        client.normalise_times = False
        if s.imap_security == "starttls":
            try:
                client.starttls(context)
            except BaseException:
                _hang_up(client)
                raise
        return client

    def _log_in(self, client: IMAPClient) -> None:
        from imapclient.exceptions import LoginError

        s = self._settings
        try:
            client.login(s.imap_user, s.imap_pass)
        except LoginError as error:
            self._login_after = self._clock.monotonic() + min(_LOGIN_PAUSE * 2**self._refusals, _LONGEST_LOGIN_PAUSE)
            self._refusals += 1
            self._refused = AdapterError(
                f"{s.imap_host} refused the login of {s.imap_user} ({_said(error)}): check IMAP_USER and IMAP_PASS "
                "(Gmail wants an app password).",
                retry=False,
            )
            raise self._refused from None
        self._refused, self._refusals = None, 0

    def _open_folder(self, client: IMAPClient) -> None:
        from imapclient.exceptions import IMAPClientAbortError, IMAPClientError

        s = self._settings
        try:
            answer = client.select_folder(s.imap_folder, readonly=True)
        except IMAPClientAbortError:
            raise
        except IMAPClientError as error:
            raise AdapterError(
                f"{s.imap_host} has no folder {s.imap_folder!r} ({_said(error)}): check IMAP_FOLDER.", retry=False
            ) from None
        self._newest = int(answer.get(b"UIDNEXT", 1)) - 1
        validity = int(answer.get(b"UIDVALIDITY", 0))
        if self._progress.uidvalidity != validity:
            if self._progress.uidvalidity is not None:
                log.warning("the folder's UIDVALIDITY changed: looking at its recent mail again")
            self._progress.start(validity, timedelta(days=self._settings.mail_lookback_days))

    def _idle(self, client: IMAPClient, seconds: float, stopped: Callable[[], bool]) -> None:
        end = time.monotonic() + seconds
        client.idle()
        try:
            while not stopped() and (left := end - time.monotonic()) > 0:
                patience = min(1.0, left)
                asked = time.monotonic()
                answers = client.idle_check(timeout=patience)
                if any(b"EXISTS" in answer or b"BYE" in answer for answer in answers):
                    return
                # Where the server is gone the library answers nothing, at once; then idle_done() below says so.
                if not answers and time.monotonic() - asked < patience / 2:
                    return
        finally:
            client.idle_done()

    def _lost(self, error: Exception) -> AdapterError:
        """The connection is of no more use; what to tell the user."""
        client, self._client = self._client, None
        if client is not None:
            _hang_up(client)
        s = self._settings
        where = f"{s.imap_host}:{s.imap_port}"
        if isinstance(error, ssl.SSLCertVerificationError):
            return AdapterError(
                f"The certificate of {where} is not trusted ({error.verify_message}): check IMAP_HOST, or name the CA "
                "in SSL_CERT_FILE.",
                retry=False,
            )
        if isinstance(error, socket.gaierror):
            return AdapterError(f"No server is called {s.imap_host!r}: check IMAP_HOST and the network.", retry=True)
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            return AdapterError(
                f"{where} speaks no TLS here ({_said(error)}): check IMAP_PORT and IMAP_SECURITY.", retry=True
            )
        return AdapterError(
            f"{where} does not answer ({_said(error)}): check IMAP_HOST, IMAP_PORT and the network.", retry=True
        )


def _library_error() -> type[Exception]:
    import imaplib  # the base class of all of the library's errors; small where imapclient is not

    return imaplib.IMAP4.error


def _part(client: IMAPClient, uid: int, section: str, limit: int) -> bytes:
    """The first `limit` bytes of a section, without setting `\\Seen`; b"" where the mail is gone."""
    answer: dict[bytes, Any] = client.fetch([uid], [f"BODY.PEEK[{section}]<0.{limit}>"]).get(uid, {})
    return next((value for key, value in answer.items() if key.startswith(b"BODY[") and value), b"")


def _hang_up(client: IMAPClient) -> None:
    try:
        client.shutdown()
    except OSError as error:
        log.debug("IMAP connection was closed already: %s", error)


def _pause(seconds: float, stopped: Callable[[], bool]) -> None:
    pause = threading.Event()
    end = time.monotonic() + seconds
    while not stopped() and (left := end - time.monotonic()) > 0:
        pause.wait(min(0.5, left))


def _said(error: Exception) -> str:
    """What a server or the system said, on one short line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return re.sub(r"\s+", " ", re.sub(r"^b['\"]|['\"]$", "", text))[:200] or type(error).__name__
