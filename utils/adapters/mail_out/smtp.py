"""Mail by SMTP (RFC 5321), one transmission a call, each phase by itself so that its failure says what it proves.

Until the final dot has left, nothing can have been accepted (§3.3, §4.1.1.4): any failure is an `AdapterError`. Between
the dot and the server's reply nobody can know: `OutcomeUnknown`. The reply decides.
"""

from __future__ import annotations

import logging
import re
import smtplib
import socket
import ssl

from utils.adapters.smtp_replies import Smtp, SmtpTls
from utils.core.acting import Receipt
from utils.core.mail import OutgoingMail
from utils.ports import AdapterError, AuthRefused, OutcomeUnknown
from utils.settings import Settings

log = logging.getLogger(__name__)

#: Some servers need long to answer the final dot; giving up early makes outcomes unknown (RFC 5321 §4.5.3.2.6).
FINAL_REPLY_SECONDS = 600.0


class SmtpSender:
    """Sends by the server that `SMTP_*` names; looks for sent mail in the IMAP Sent folder where `IMAP_*` is set."""

    #: Not every server keeps what it sends: a mail that is not in Sent may have left all the same.
    conclusive = False

    def __init__(self, settings: Settings, *, final_reply_seconds: float = FINAL_REPLY_SECONDS) -> None:
        self._settings = settings
        self._final_reply_seconds = final_reply_seconds

    def send(self, mail: OutgoingMail) -> Receipt:
        """Hand `mail` over. Raises `AdapterError` or `OutcomeUnknown` as `utils.ports.MailSender` says."""
        server = self._connect()
        try:
            self._introduce(server)
            self._envelope(server, mail)
            self._transmit(server, mail)
            answer = self._final_reply(server)
        except BaseException:
            server.close()
            raise
        try:
            server.quit()
        except (OSError, smtplib.SMTPException) as error:
            log.debug("the mail was accepted; QUIT failed: %s", error)
        return Receipt("smtp", mail.message_id, answer)

    def find(self, message_id: str) -> Receipt | None:
        """The receipt where the IMAP Sent folder holds this Message-ID. None proves nothing. Raises `AdapterError`."""
        s = self._settings
        if not (s.imap_host and s.imap_user and s.imap_pass):
            return None
        from utils.adapters.mail_out import sent_folder  # loads the library

        return sent_folder.find(s, message_id)

    def _connect(self) -> Smtp:
        s = self._settings
        where = f"SMTP server {s.smtp_host}:{s.smtp_port}"
        try:
            if s.smtp_security == "tls":
                context = ssl.create_default_context()
                return SmtpTls(s.smtp_host, s.smtp_port, timeout=s.smtp_timeout_seconds, context=context)
            return Smtp(s.smtp_host, s.smtp_port, timeout=s.smtp_timeout_seconds)
        except ssl.SSLCertVerificationError as error:
            raise AdapterError(
                f"{where} has a certificate that can't be trusted ({error.verify_message}): check SMTP_HOST, or name "
                "its authority in SSL_CERT_FILE",
                retry=False,
            ) from error
        except smtplib.SMTPResponseException as error:
            raise _refused(where, "connection", error.smtp_code, error.smtp_error) from error
        except (OSError, smtplib.SMTPException) as error:
            raise AdapterError(
                f"{where} can't be reached: {error}. Check SMTP_HOST and SMTP_PORT", retry=True
            ) from error

    def _introduce(self, server: Smtp) -> None:
        s = self._settings
        try:
            server.ehlo_or_helo_if_needed()
            if s.smtp_security == "starttls":
                server.starttls(context=ssl.create_default_context())
                server.ehlo_or_helo_if_needed()
            if s.smtp_user:
                server.login(s.smtp_user, s.smtp_pass)
        except ssl.SSLCertVerificationError as error:
            raise AdapterError(
                f"the SMTP server's certificate can't be trusted ({error.verify_message}): check SMTP_HOST, or name "
                "its authority in SSL_CERT_FILE",
                retry=False,
            ) from error
        except smtplib.SMTPAuthenticationError as error:
            text = (
                f"the SMTP server refused the login (SMTP_USER, SMTP_PASS): {error.smtp_code} {_text(error.smtp_error)}"
            )
            if 400 <= error.smtp_code < 500:  # 454: a temporary failure (RFC 4954 §6)
                raise AdapterError(text, retry=True) from error
            raise AuthRefused(text) from error
        except smtplib.SMTPNotSupportedError as error:
            text = f"the SMTP server can't do what SMTP_SECURITY or SMTP_USER asks for: {error}"
            raise AdapterError(text, retry=False) from error
        except smtplib.SMTPResponseException as error:
            raise _refused("SMTP server", "greeting", error.smtp_code, error.smtp_error) from error
        except (OSError, smtplib.SMTPException) as error:
            raise AdapterError(f"the SMTP server went away before the mail: {error}", retry=True) from error

    def _envelope(self, server: Smtp, mail: OutgoingMail) -> None:
        """MAIL, RCPT and DATA up to 354. One refused recipient, and nobody gets the mail."""
        try:
            options = [f"SIZE={len(mail.data)}"] if server.has_extn("size") else []
            if server.has_extn("8bitmime"):
                options.append("BODY=8BITMIME")
            code, text = server.mail(mail.sender, options)
            if code != 250:
                raise _refused("SMTP server", f"sender {mail.sender}", code, text)
            refused = []
            for address in mail.recipients:
                code, text = server.rcpt(address)
                if code not in (250, 251):
                    refused.append((address, code, text))
            if refused:
                server.rset()
                words = "; ".join(f"{address}: {code} {_text(text)}" for address, code, text in refused)
                retry = all(400 <= code < 500 for _, code, _ in refused)
                raise AdapterError(f"the SMTP server refused a recipient, nobody got the mail: {words}", retry=retry)
            code, text = server.docmd("DATA")
            if code != 354:
                raise _refused("SMTP server", "mail", code, text)
        except (OSError, smtplib.SMTPException) as error:
            raise AdapterError(f"the SMTP server went away before the mail: {error}", retry=True) from error

    def _transmit(self, server: Smtp, mail: OutgoingMail) -> None:
        """The message, dots stuffed (RFC 5321 §4.5.2), then the final dot as a write of its own."""
        stuffed = re.sub(rb"(?m)^\.", b"..", mail.data)
        if not stuffed.endswith(b"\r\n"):
            stuffed += b"\r\n"
        try:
            server.send(stuffed)
        except (OSError, smtplib.SMTPException) as error:
            raise AdapterError(f"the SMTP server went away before the end of the mail: {error}", retry=True) from error
        try:
            if isinstance(server.sock, socket.socket):
                server.sock.settimeout(max(self._settings.smtp_timeout_seconds, self._final_reply_seconds))
            server.send(b".\r\n")
        except (OSError, smtplib.SMTPException) as error:
            raise OutcomeUnknown(f"the SMTP server went away at the end of the mail: {error}") from error

    def _final_reply(self, server: Smtp) -> str:
        try:
            code, text = server.getreply()
        except (OSError, smtplib.SMTPException) as error:
            raise OutcomeUnknown(f"the SMTP server took the whole mail and did not answer: {error}") from error
        if 200 <= code < 300:
            return f"{code} {_text(text)}"
        if 400 <= code < 600:
            raise _refused("SMTP server", "mail", code, text)
        raise OutcomeUnknown(f"the SMTP server took the whole mail and answered nonsense: {code} {_text(text)}")


def _refused(who: str, what: str, code: int, text: bytes | str) -> AdapterError:
    return AdapterError(f"the {who} refused the {what}: {code} {_text(text)}", retry=not 500 <= code < 600)


def _text(reply: bytes | str) -> str:
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    return " ".join(text.split())[:500]
