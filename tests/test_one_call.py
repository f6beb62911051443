"""A provider whose answer goes on and on, and that is never silent for long, holds nobody up."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.conftest import FakeClock
from utils.adapters.google_token import GoogleToken
from utils.adapters.mail_out.smtp import SmtpSender
from utils.adapters.odoo import Odoo
from utils.adapters.smtp_alert import SmtpAlertChannel
from utils.adapters.social.http import Api, Bearer
from utils.core.alert import Alert, Level
from utils.core.mail import OutgoingMail
from utils.ports import AdapterError, OutcomeUnknown
from utils.settings import Settings, load

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#: What is said at once, and what then comes again and again.
DRIPS = {
    "status line": (b"HTTP/1.1 200 ", b"O"),
    "headers": (HEADERS + b"X: ", b"x"),
    "body": (HEADERS + b"Content-Length: 100000\r\n\r\n", b" "),
    "body without an end": (HEADERS + b"\r\n{}", b" "),
    "size of a chunk": (HEADERS + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"),
}
TIMEOUT = 0.4
START = FakeClock().now()
DROPS = 100


@contextlib.contextmanager
def dripping(first: bytes, drop: bytes, *, speaks_first: bool = False) -> Iterator[tuple[str, list[str]]]:
    """The address of a server whose every answer drips, and its notes of those that were waited for to the last."""
    over = threading.Event()
    waited_for: list[str] = []

    def drip(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            if not speaks_first:
                connection.recv(65536)
            connection.sendall(first)
            for _ in range(DROPS):
                over.wait(TIMEOUT / 8)
                connection.sendall(drop)
            waited_for.append("to the last drop")

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(listening.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", waited_for
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def token_file(folder: Path, url: str) -> Path:
    path = folder / "token.json"
    values = {"refresh_token": "r", "client_id": "c", "client_secret": "s", "token_uri": f"{url}/token"}
    path.write_text(json.dumps(values))
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("drips", DRIPS)
def test_a_token_endpoint_that_drips_is_cut_off(tmp_path: Path, drips: str) -> None:
    with dripping(*DRIPS[drips]) as (url, waited_for):
        auth = GoogleToken(token_file(tmp_path, url), "send", timeout=TIMEOUT)
        with pytest.raises(AdapterError, match="no access token for now") as lost:
            auth(requests.PreparedRequest())
        assert lost.value.retry and waited_for == []


def test_a_token_endpoint_that_says_too_much_is_not_heard_to_the_end(tmp_path: Path) -> None:
    with dripping(HEADERS + b"\r\n" + b" " * 70_000, b" ") as (url, waited_for):
        auth = GoogleToken(token_file(tmp_path, url), "send", timeout=30)
        with pytest.raises(AdapterError, match="too long or too slow"):
            auth(requests.PreparedRequest())
    assert waited_for == []


def settings(url: str) -> Settings:
    host = {"IMAP_HOST": "127.0.0.1", "SMTP_HOST": "127.0.0.1", "ALERT_SMTP_HOST": "127.0.0.1"}
    port = {name: str(urlsplit(url).port) for name in ("IMAP_PORT", "SMTP_PORT", "ALERT_SMTP_PORT")}
    security = dict.fromkeys(("IMAP_SECURITY", "SMTP_SECURITY", "ALERT_SMTP_SECURITY"), "none")
    more = {"IMAP_USER": "u", "IMAP_PASS": "p", "ALERT_TO_EMAIL": "me@example.org", "ALERT_FROM_EMAIL": "a@example.org"}
    made = load({"ENV_FILE": "", "VAULT_PATH": "/tmp/none", **host, **port, **security, **more})
    return replace(made, smtp_timeout_seconds=TIMEOUT)  # type: ignore[arg-type]


@pytest.mark.parametrize("words", [(b"* OK ", b"a"), (b"* OK ready\r\n* X ", b"a"), (b"* OK ready\r\n", b"* X a\r\n")])
def test_a_sent_folder_that_drips_is_looked_at_no_longer(words: tuple[bytes, bytes]) -> None:
    with dripping(*words, speaks_first=True) as (url, waited_for):
        with pytest.raises(AdapterError, match="takes too long") as lost:
            SmtpSender(settings(url)).find("<m@example.org>")
        assert lost.value.retry and waited_for == []


@pytest.mark.parametrize("words", [(b"220-", b"a"), (b"", b"220-x\r\n"), (b"220 hello\r\n", b"250-x\r\n")])
def test_a_mail_server_that_drips_is_left(monkeypatch: pytest.MonkeyPatch, words: tuple[bytes, bytes]) -> None:
    monkeypatch.setattr("utils.adapters.smtp_alert.TIMEOUT", TIMEOUT)
    mail = OutgoingMail("<m@example.org>", "me@example.org", ("ann@example.org",), b"Subject: x\r\n\r\nx\r\n")
    with dripping(*words, speaks_first=True) as (url, waited_for):
        with pytest.raises(AdapterError) as lost:
            SmtpSender(settings(url)).send(mail)
        assert lost.value.retry
        with pytest.raises(AdapterError):
            SmtpAlertChannel(settings(url)).deliver([Alert("1", START, Level.INFO, "s", "m", "s")])
        assert waited_for == []


def test_the_last_reply_of_a_mail_server_may_take_long_but_not_for_ever() -> None:
    """After the dot nobody knows: the server has the whole mail."""
    mail = OutgoingMail("<m@example.org>", "me@example.org", ("ann@example.org",), b"Subject: x\r\n\r\nx\r\n")
    replies = b"220 a\r\n250 a\r\n250 a\r\n250 a\r\n354 a\r\n"
    with dripping(replies, b"250-x\r\n", speaks_first=True) as (url, waited_for):
        with pytest.raises(OutcomeUnknown, match="did not answer"):
            SmtpSender(settings(url), final_reply_seconds=2 * TIMEOUT).send(mail)
        assert waited_for == []


@pytest.mark.parametrize("drips", DRIPS)
def test_an_answer_that_drips_is_cut_off(drips: str) -> None:
    with dripping(*DRIPS[drips]) as (url, waited_for):
        with pytest.raises(OutcomeUnknown):
            Api("X", url, Bearer("t"), timeout=TIMEOUT, credentials="").act("POST", "/x", json={})
        with pytest.raises(AdapterError):
            Odoo(url, "", "u", "k", timeout=TIMEOUT).version()
        assert waited_for == []


def test_an_answer_without_an_end_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("utils.adapters.social.http._LONGEST_ANSWER", 1000)
    with (
        dripping(HEADERS + b"\r\n" + b"x" * 1001, b"x") as (url, waited_for),
        pytest.raises(OutcomeUnknown, match="too long or too slow"),
    ):
        Api("X", url, Bearer("t"), timeout=30, credentials="").act("POST", "/x", json={})
    assert waited_for == []
