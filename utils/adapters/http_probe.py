"""Asks a service over HTTP whether it lives."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any
from urllib.parse import urljoin, urlsplit

from utils.core.health import ProbeResult

_REDIRECTS = 3
_LONGEST_BODY = 64 * 1024


class HttpProbe:
    """GET by the standard library: bounded in time and size, follows redirects on the same host only."""

    def check(self, url: str, timeout: float) -> ProbeResult:
        """Whether `url` answers 2xx within `timeout` seconds, redirects included. Never raises for a sick service."""
        started = time.monotonic()
        error = self._attempt(url, started + timeout, timeout)
        latency = round((time.monotonic() - started) * 1000, 1)
        return ProbeResult(error is None, latency if error is None else None, error)

    def _attempt(self, url: str, deadline: float, timeout: float) -> str | None:
        import http.client

        try:
            host = urlsplit(url).hostname
            for _ in range(_REDIRECTS + 1):
                status, location = _get(url, deadline)
                if 200 <= status < 300:
                    return None
                if not (300 <= status < 400 and location):
                    return f"{_shown(url)} answered {status}"
                url = urljoin(url, location)
                if urlsplit(url).hostname != host or urlsplit(url).scheme not in ("http", "https"):
                    return f"redirects to another host: {_shown(url)}"
            return f"{_shown(url)}: more than {_REDIRECTS} redirects"
        except ConnectionRefusedError:
            return f"nothing listens at {_shown(url)}"
        except socket.gaierror:
            return f"the host of {_shown(url)} can't be found"
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, TimeoutError) or time.monotonic() >= deadline:
                return f"{_shown(url)} did not answer within {timeout:g} s"
            return f"{_shown(url)}: {error or type(error).__name__}"


def _get(url: str, deadline: float) -> tuple[int, str | None]:
    """`(status, Location header)` of one request. Raises what the socket and `http.client` raise."""
    import http.client

    parts = urlsplit(url)
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    kind: Any = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=remaining)
    # The time limit of a socket is for each read; a service that drips bytes is cut off by the clock.
    cut = threading.Timer(remaining, _cut, [connection])
    cut.daemon = True
    cut.start()
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"User-Agent": "ai-employee-health", "Connection": "close"})
        answer = connection.getresponse()
        answer.read(_LONGEST_BODY)
        if time.monotonic() >= deadline:  # the end that was read was our own cut
            raise TimeoutError
        return answer.status, answer.getheader("Location")
    finally:
        cut.cancel()
        connection.close()


def _cut(connection: Any) -> None:
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _shown(url: str) -> str:
    """The address without what may be secret in it (user, password, query)."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        return f"the URL ({error})"
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"
