"""Connections to a mail server whose replies are bounded in time, each as a whole (`utils.adapters.cut_off`)."""

from __future__ import annotations

import smtplib
import socket

from utils.adapters.cut_off import WHOLE, CutOff


class Smtp(smtplib.SMTP):
    """`smtplib`'s, with a limit on each whole reply, the greeting among them: then the server went away."""

    def getreply(self) -> tuple[int, bytes]:
        """As `smtplib.SMTP.getreply`."""
        connection = self.sock
        if not isinstance(connection, socket.socket):
            return super().getreply()
        limit = CutOff(max(WHOLE * float(self.timeout), connection.gettimeout() or 0))
        limit.begin(connection)
        try:
            return super().getreply()
        finally:
            limit.end()


class SmtpTls(Smtp, smtplib.SMTP_SSL):
    """The same by TLS from the beginning."""
