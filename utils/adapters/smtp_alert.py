"""Alerts by e-mail."""

from __future__ import annotations

from typing import Any

from utils.core import alert as rules
from utils.core.alert import Alert
from utils.ports import AdapterError
from utils.settings import Settings

TIMEOUT = 20.0  # seconds, of each step of the conversation


class SmtpAlertChannel:
    """Sends each delivery as one mail from the `ALERT_*` settings."""

    name = "smtp"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def deliver(self, alerts: list[Alert]) -> None:
        """Hand one mail with all `alerts` to the server. Raises `AdapterError`; then trying again is right, for a
        human would rather read an alert twice than never."""
        import smtplib
        import ssl

        s = self._settings
        where = f"{s.alert_smtp_host}:{s.alert_smtp_port}"
        try:
            with self._connect(ssl) as server:
                if s.alert_smtp_user:
                    server.login(s.alert_smtp_user, s.alert_smtp_pass)
                server.sendmail(self._sender, [s.alert_to_email], self._mail(alerts))
        except smtplib.SMTPAuthenticationError as error:
            raise AdapterError(
                f"{where} refuses the login ({error.smtp_code}): check ALERT_SMTP_USER and ALERT_SMTP_PASS", retry=False
            ) from None
        except smtplib.SMTPRecipientsRefused as error:
            code, text = next(iter(error.recipients.values()))
            said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
            raise AdapterError(f"{where} refuses ALERT_TO_EMAIL: {code} {said}", retry=code < 500) from None
        except smtplib.SMTPResponseException as error:
            said = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else ""
            raise AdapterError(f"{where} answers {error.smtp_code} {said}", retry=error.smtp_code < 500) from None
        except smtplib.SMTPNotSupportedError as error:
            raise AdapterError(f"{where}: {error} (ALERT_SMTP_SECURITY, ALERT_SMTP_USER)", retry=False) from None
        except ssl.SSLCertVerificationError as error:
            raise AdapterError(
                f"{where}: its certificate is not trusted: {error.verify_message}", retry=False
            ) from None
        except (OSError, smtplib.SMTPException) as error:
            raise AdapterError(f"{where} can't be reached: {error or type(error).__name__}", retry=True) from None

    @property
    def _sender(self) -> str:
        return self._settings.alert_from_email or self._settings.alert_smtp_user

    def _connect(self, ssl: Any) -> Any:  # modules that are imported late
        from utils.adapters.smtp_replies import Smtp, SmtpTls

        s = self._settings
        if s.alert_smtp_security == "tls":
            context = ssl.create_default_context()
            return SmtpTls(s.alert_smtp_host, s.alert_smtp_port, timeout=TIMEOUT, context=context)
        server = Smtp(s.alert_smtp_host, s.alert_smtp_port, timeout=TIMEOUT)
        if s.alert_smtp_security == "starttls":
            try:
                server.starttls(context=ssl.create_default_context())
            except BaseException:
                server.close()
                raise
        return server

    def _mail(self, alerts: list[Alert]) -> bytes:
        from email import policy
        from email.message import EmailMessage
        from email.utils import format_datetime

        mail = EmailMessage(policy.SMTP)
        mail["From"] = self._sender
        mail["To"] = self._settings.alert_to_email
        mail["Subject"] = rules.subject(alerts, self._settings.agent_name)
        mail["Date"] = format_datetime(alerts[-1].at)
        # The same digest has the same id, so that a mail program shows it once if it was sent twice.
        mail["Message-ID"] = f"<{alerts[0].id}.{len(alerts)}@{self._sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834
        mail.set_content(rules.body(alerts))
        return mail.as_bytes()
