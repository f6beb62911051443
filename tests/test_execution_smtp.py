"""Mail out by SMTP against a real server, each phase broken in turn; the outbox; the search in the Sent folder."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.servers import SmtpServer, dovecot, free_port, smtp_server
from utils.adapters.mail_out.outbox import OutboxSender
from utils.adapters.mail_out.smtp import SmtpSender
from utils.core.mail import OutgoingMail
from utils.ports import AdapterError, OutcomeUnknown
from utils.settings import Settings, load

BODY = b"Subject: x\r\nMessage-ID: <abc@acme.example>\r\n\r\n.dot\r\n..dots\r\nlast line\r\n"
MAIL = OutgoingMail("<abc@acme.example>", "office@acme.example", ("ann@example.org", "bob@example.org"), BODY)


@contextmanager
def sender(server: SmtpServer, **settings: str) -> Iterator[SmtpSender]:
    """A sender that trusts the server's certificate, as a node with SSL_CERT_FILE does."""
    environ = {"ENV_FILE": "", "VAULT_PATH": "/tmp/none", **server.environment(SMTP_TIMEOUT_SECONDS="5"), **settings}
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = environ["SSL_CERT_FILE"]
    try:
        yield SmtpSender(load(environ), final_reply_seconds=2)
    finally:
        if before is None:
            del os.environ["SSL_CERT_FILE"]
        else:
            os.environ["SSL_CERT_FILE"] = before


@pytest.fixture(scope="module")
def shared() -> Iterator[SmtpServer]:
    with smtp_server(security="starttls", auth=True) as server:
        yield server


@pytest.fixture
def smtp(shared: SmtpServer) -> Iterator[SmtpServer]:
    yield shared
    shared.release()
    shared.reply.clear()
    shared.refuse.clear()
    shared.drop = None
    shared.ledger.clear()
    shared.attempts = 0


@pytest.mark.parametrize(("security", "auth"), [("starttls", True), ("tls", True), ("none", False)])
def test_a_mail_arrives_byte_for_byte(security: str, auth: bool) -> None:
    with smtp_server(security=security, auth=auth) as server, sender(server) as out:
        receipt = out.send(MAIL)
        (mail,) = server.ledger
        assert (mail.mail_from, mail.rcpt_tos, mail.data) == (MAIL.sender, list(MAIL.recipients), MAIL.data)
        assert receipt.provider == "smtp" and receipt.id == MAIL.message_id and "queued as 0001" in receipt.detail


@pytest.mark.parametrize("phase", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(("reply", "retry"), [("451 4.3.0 later", True), ("550 5.7.1 never", False)])
def test_a_refusal_in_any_phase_is_certain(smtp: SmtpServer, phase: str, reply: str, retry: bool) -> None:
    smtp.reply[phase] = reply
    with sender(smtp) as out, pytest.raises(AdapterError, match=reply[:3]) as refused:
        out.send(MAIL)
    assert refused.value.retry is retry and smtp.ledger == []


def test_one_refused_recipient_and_nobody_gets_it(smtp: SmtpServer) -> None:
    smtp.refuse["bob@example.org"] = "550 5.1.1 no such user"
    with sender(smtp) as out, pytest.raises(AdapterError, match=r"bob@example\.org: 550") as refused:
        out.send(MAIL)
    assert not refused.value.retry and smtp.ledger == [] and smtp.attempts == 0


@pytest.mark.parametrize("phase", ["MAIL", "RCPT"])
def test_a_loss_before_the_text_is_certain_and_may_be_retried(smtp: SmtpServer, phase: str) -> None:
    smtp.drop = phase
    with sender(smtp) as out, pytest.raises(AdapterError) as lost:
        out.send(MAIL)
    assert lost.value.retry and smtp.attempts == 0


@pytest.mark.parametrize("phase", ["DATA", "ACCEPTED"])
def test_a_loss_after_the_final_dot_is_unknown(smtp: SmtpServer, phase: str) -> None:
    smtp.drop = phase
    with sender(smtp) as out, pytest.raises(OutcomeUnknown):
        out.send(MAIL)
    assert len(smtp.ledger) == (phase == "ACCEPTED")


def test_silence_after_the_final_dot_is_unknown(smtp: SmtpServer) -> None:
    smtp.hold("ACCEPTED")
    with sender(smtp) as out, pytest.raises(OutcomeUnknown, match="did not answer"):
        out.send(MAIL)


def test_a_wrong_password_is_said_in_words_without_the_password(smtp: SmtpServer) -> None:
    with sender(smtp, SMTP_PASS="wrong horse") as out, pytest.raises(AdapterError, match="SMTP_PASS") as refused:
        out.send(MAIL)
    assert not refused.value.retry and "wrong horse" not in str(refused.value)


def test_a_certificate_of_a_stranger_stops_it_before_the_password(smtp: SmtpServer) -> None:
    with smtp_server(security="tls") as other, sender(smtp) as trusting_smtp_only:
        settings = replace(trusting_smtp_only._settings, smtp_port=other.port, smtp_security="tls")
        with pytest.raises(AdapterError, match="SSL_CERT_FILE") as refused:
            SmtpSender(settings).send(MAIL)
        assert not refused.value.retry and other.ledger == []


def test_a_server_without_starttls_gets_nothing() -> None:
    with smtp_server(security="none", auth=False) as server, sender(server, SMTP_SECURITY="starttls") as out:
        with pytest.raises(AdapterError, match="SMTP_SECURITY") as refused:
            out.send(MAIL)
        assert not refused.value.retry and server.ledger == []


def test_nobody_there_names_the_settings(smtp: SmtpServer) -> None:
    with sender(smtp, SMTP_PORT=str(free_port())) as out, pytest.raises(AdapterError, match="SMTP_HOST") as lost:
        out.send(MAIL)
    assert lost.value.retry


def test_a_server_that_vanishes_in_the_middle_of_the_text_accepted_nothing() -> None:
    """The connection breaks while the text is on its way: the final dot never left, so nothing was accepted."""
    with _raw_server(stop_reading_after=20_000) as port:
        environ = {"ENV_FILE": "", "VAULT_PATH": "/tmp/none", "MAIL_SENDER": "smtp", "MAIL_FROM": "a@b.example"}
        settings = load(environ | {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(port), "SMTP_SECURITY": "none"})
        with pytest.raises(AdapterError, match="before the end") as lost:
            SmtpSender(settings).send(replace(MAIL, data=b"x: y\r\n\r\n" + b"z" * 70 + b"\r\n" * 20_000_000))
        assert lost.value.retry


@contextmanager
def _raw_server(*, stop_reading_after: int) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                connection.sendall(b"220 raw\r\n")
                for line in lines:
                    word = line[:4].upper()
                    connection.sendall(b"354 go on\r\n" if word == b"DATA" else b"250 ok\r\n")
                    if word == b"DATA":
                        lines.read(stop_reading_after)
                        return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


def test_the_sent_folder_is_evidence_where_there_is_one() -> None:
    with dovecot() as imap, smtp_server() as server:
        combined = _settings(server, imap.environment())
        before = os.environ.get("SSL_CERT_FILE")
        os.environ["SSL_CERT_FILE"] = str(imap.ca_file)
        try:
            out = SmtpSender(combined)
            assert out.conclusive is False and out.find(MAIL.message_id) is None
            imap.deliver(MAIL.data, "Sent")
            found = out.find(MAIL.message_id)
            assert found is not None and found.provider == "imap" and found.id == MAIL.message_id
            assert out.find("<other@acme.example>") is None
            with pytest.raises(AdapterError, match="Sent") as lost:
                SmtpSender(replace(combined, imap_port=free_port())).find(MAIL.message_id)
            assert lost.value.retry
        finally:
            if before is None:
                del os.environ["SSL_CERT_FILE"]
            else:
                os.environ["SSL_CERT_FILE"] = before


def _settings(server: SmtpServer, more: dict[str, Any]) -> Settings:
    return load({"ENV_FILE": "", "VAULT_PATH": "/tmp/none", **server.environment(), **more})


def test_the_outbox_writes_each_mail_once(tmp_path: Path) -> None:
    out = OutboxSender(tmp_path / "out")
    assert out.conclusive and out.find(MAIL.message_id) is None
    receipt = out.send(MAIL)
    (file,) = (tmp_path / "out").iterdir()
    assert file.name == "abc.eml" and file.read_bytes() == MAIL.data
    assert out.send(MAIL) == receipt == out.find(MAIL.message_id)
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_an_outbox_that_can_not_be_written_sent_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(AdapterError, match="not a folder"):
        OutboxSender(tmp_path / "out").send(MAIL)


def test_a_message_id_can_not_lead_out_of_the_outbox(tmp_path: Path) -> None:
    OutboxSender(tmp_path / "out").send(replace(MAIL, message_id="<../../etc/x@y>"))
    (file,) = (tmp_path / "out").iterdir()
    assert file.parent == tmp_path / "out" and not list(tmp_path.glob("etc"))
