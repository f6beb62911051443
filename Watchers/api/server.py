"""Waitress under our own loop: it leaves soon after it is asked to, and even its own errors are problems (RFC 9457)."""

from __future__ import annotations

import errno
import json
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

from flask import Flask
from waitress import wasyncore
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.server import BaseWSGIServer, create_server
from waitress.task import ErrorTask, WSGITask

from Watchers.api import events
from Watchers.api.errors import MAX_BODY, MEDIA_TYPE, Problem
from Watchers.api.guard import HEADERS
from Watchers.api.streams import Streams

log = logging.getLogger(__name__)

THREADS = 8
#: Bodies up to this size are read and refused politely; larger ones are cut off.
_WIRE_LIMIT = 8 * MAX_BODY
_TICK = 0.5
_DRAIN_SECONDS = 1.0


class CannotListen(RuntimeError):
    """The address can't be used; the text says why and what to do."""


class Server:
    """An HTTP server on one address. It listens from the moment it is made; raises `CannotListen`."""

    def __init__(self, app: Flask, host: str, port: int) -> None:
        self._sockets: dict[int, Any] = {}
        self._streams: Streams = app.extensions[events.STREAMS]
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        try:
            create_server(
                app,
                map=self._sockets,
                host=host,
                port=port,
                threads=THREADS,
                ident="",
                max_request_body_size=_WIRE_LIMIT,
                max_request_header_size=64 * 1024,
                channel_timeout=60,
            )
        except (OSError, ValueError) as error:
            wasyncore.close_all(self._sockets)
            raise CannotListen(_reason(error, host, port)) from None
        for server in self._servers():
            server.channel_class = _Channel
            server.streams = self._streams
        self._streams.on_change(self._wake)

    def run(self, stopped: Callable[[], bool], each_tick: Callable[[], None] = lambda: None) -> None:
        """Serve until `stopped()`; then give answers under way a second, and close."""
        try:
            while not stopped():
                self._turn(_TICK)
                self._streams.write_due()
                each_tick()
            self._drain()
        finally:
            self.close()

    @property
    def is_listening(self) -> bool:
        """Whether new connections are let in."""
        return any(server.accepting for server in self._servers())

    def close(self) -> None:
        """Stop listening and let go of every connection."""
        self._streams.close()
        for server in self._servers():
            server.task_dispatcher.shutdown(timeout=0.3)
        wasyncore.close_all(self._sockets)

    def _turn(self, seconds: float) -> None:
        wasyncore.loop(timeout=seconds, map=self._sockets, use_poll=True, count=1)

    def _wake(self) -> None:
        """Let the loop's turn end now."""
        for server in self._servers():
            server.pull_trigger()

    def _drain(self) -> None:
        for server in self._servers():
            server.accepting = False
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self._busy() and time.monotonic() < deadline:
            self._turn(0.05)

    def _busy(self) -> bool:
        channels = [part for part in self._sockets.values() if isinstance(part, HTTPChannel)]
        return any(channel.requests or channel.total_outbufs_len for channel in channels)

    def _servers(self) -> list[BaseWSGIServer]:
        return [part for part in self._sockets.values() if isinstance(part, BaseWSGIServer)]


class _ProblemTask(ErrorTask):  # type: ignore[misc]  # waitress has no types
    """What waitress itself refuses (a broken request line, a body far too large) in the form of all our errors."""

    def execute(self) -> None:
        error = self.request.error
        problem = Problem(error.code, f"{error.reason}.", title=error.reason)
        body = json.dumps(problem.body).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.extend([("Content-Type", MEDIA_TYPE), *HEADERS.items()])
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Task(WSGITask):  # type: ignore[misc]
    """A request. One for an event stream has no end here: its connection goes to the streams, its thread is free."""

    def finish(self) -> None:
        told = self.environ.get(events.TOLD) if self.environ else None
        if told is not None and self.request.command == "GET":
            self.channel.held_by = self
            if self.channel.server.streams.open(_Connection(self.channel, self), told):
                self.close_on_finish = False
                return
            self.channel.held_by = None
        super().finish()


class _Channel(HTTPChannel):  # type: ignore[misc]
    task_class = _Task
    error_task_class = _ProblemTask
    held_by: _Task | None = None  # an event stream: then nothing else is answered here

    def received(self, data: bytes) -> bool:
        return self.held_by is None and bool(super().received(data))


class _Connection:
    """A connection as a reader of events. All but making one is the server loop's alone, so nothing needs a lock."""

    def __init__(self, channel: _Channel, task: _Task) -> None:
        self._channel = channel
        self._task = task

    @property
    def is_gone(self) -> bool:
        return not self._channel.connected or self._channel.will_close

    @property
    def is_behind(self) -> bool:
        return bool(self._channel.requests or self._channel.total_outbufs_len)

    def write(self, text: str) -> None:
        try:
            self._task.write(text.encode())
        except ClientDisconnected:
            self.drop()

    def drop(self) -> None:
        self._channel.handle_close()


def _reason(error: Exception, host: str, port: int) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: stop the program that holds it, or set API_PORT to a free port"
    if number == errno.EACCES:
        return f"port {port} needs special rights: set API_PORT to a port above 1023"
    if number == errno.EADDRNOTAVAIL or isinstance(error, (ValueError, socket.gaierror)):
        return f"{host} is no address of this machine: set API_HOST to one, such as 127.0.0.1"
    return f"cannot listen on {host} port {port}: {error}; check API_HOST and API_PORT"
