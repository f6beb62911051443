"""A provider whose answer goes on and on, and that is never silent for long, holds nobody up."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from utils.adapters.odoo import Odoo
from utils.adapters.social.http import Api, Bearer
from utils.ports import AdapterError, OutcomeUnknown

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
DROPS = 100


@contextlib.contextmanager
def dripping(first: bytes, drop: bytes) -> Iterator[tuple[str, list[str]]]:
    """The address of a server whose every answer drips, and its notes of those that were waited for to the last."""
    over = threading.Event()
    waited_for: list[str] = []

    def drip(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
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
