"""A provider's API on loopback: strict, with a ledger of what took effect, and faults that a test scripts.

    with LinkedInServer(clock) as linkedin:
        linkedin.faults.append(Fault("POST /rest/posts", "503 after"))

A fault strikes once, at the first call whose method and path begin with `call`: `… before` nothing is done, `… after`
it is. `503` is an answer; `reset` breaks the connection; `silence` says nothing until the server is closed.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Fault:
    """What goes wrong at which call. Of `429` and `expired` each provider has words of its own."""

    call: str
    kind: str


@dataclass(frozen=True)
class Call:
    """One request. `path` is decoded no further; `query` and `form` are what they say, each name once."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case
    body: bytes = field(repr=False)
    url: str = ""
    port: int = 0  # of the client: another one for each connection

    @property
    def json(self) -> dict[str, Any]:
        assert self.headers.get("content-type", "").startswith("application/json"), "the body is no JSON"
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form, without its files."""
        kind = self.headers.get("content-type", "")
        if kind.startswith("application/x-www-form-urlencoded"):
            return _once(parse_qsl(self.body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(self.body)))
        return _once([(name, data.decode("utf-8")) for name, file, data in self._parts() if file is None])

    @property
    def files(self) -> dict[str, bytes]:
        """The files of a multipart form (RFC 7578)."""
        return {name: data for name, file, data in self._parts() if file is not None}

    def _parts(self) -> list[tuple[str, str | None, bytes]]:
        kind = self.headers.get("content-type", "")
        assert kind.startswith("multipart/form-data")
        message = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + self.body, policy=policy.HTTP)
        return [
            (part.get_param("name", header="content-disposition"), part.get_filename(), part.get_payload(decode=True))
            for part in message.iter_parts()
        ]


class Refused(Exception):
    """The provider says no."""

    def __init__(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} {body}")
        self.answer = (status, body, headers or {})


Answer = tuple[int, Any, dict[str, str]]


class Provider:
    """One server. Subclasses answer calls in `route`, and say how they refuse in `throttled` and `expired`."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.ledger: list[dict[str, Any]] = []
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.keeps_connections = False
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def route(self, call: Call) -> Answer:
        """Carry out one call. Raises `Refused`."""
        raise NotImplementedError

    def throttled(self) -> Answer:
        """Too many requests."""
        raise NotImplementedError

    def expired(self) -> Answer:
        """The token has expired."""
        raise NotImplementedError

    def hits(self, start: str) -> int:
        """How many calls began so."""
        return sum(f"{call.method} {call.path}".startswith(start) for call in self.calls)

    def answer(self, call: Call) -> Answer | str:
        """What is sent, or how the connection ends."""
        with self._lock:
            self.calls.append(call)
            fault = next((one for one in self.faults if f"{call.method} {call.path}".startswith(one.call)), None)
            if fault is not None:
                self.faults.remove(fault)
            kind = fault.kind if fault else ""
            if kind in ("429", "expired"):
                return self.throttled() if kind == "429" else self.expired()
            failure, _, when = kind.partition(" ")
            if when != "before":
                try:
                    answer = self.route(call)
                except Refused as refused:
                    answer = refused.answer
                if not kind:
                    return answer
        return (503, "<html>Service Unavailable</html>", {}) if failure == "503" else failure

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", 0)))
                query = _once(parse_qsl(parts.query, keep_blank_values=True))
                url = f"{provider.url}{self.path}"
                call = Call(self.command, parts.path, query, headers, body, url, self.client_address[1])
                answer = provider.answer(call)
                if answer == "silence":
                    provider._released.wait(30)
                elif answer == "reset":
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                elif isinstance(answer, tuple):
                    self._reply(*answer)
                self.close_connection = not (provider.keeps_connections and isinstance(answer, tuple))

            do_GET = do_POST = do_PUT = do_DELETE = _serve

            def _reply(self, status: int, body: Any, headers: dict[str, str]) -> None:
                data = body.encode() if isinstance(body, str) else b"" if body is None else json.dumps(body).encode()
                self.send_response_only(status)
                if "Date" not in headers:
                    self.send_header("Date", self.date_time_string())
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                """Tests read the ledger."""

        return Handler


def _once(pairs: list[tuple[str, str]]) -> dict[str, str]:
    assert len(dict(pairs)) == len(pairs), "a field is given twice"
    return dict(pairs)
