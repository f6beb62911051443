"""A limit on how long a peer may go on answering: the time limit of a socket is one between two bytes.

A server that lets its bytes drip is never silent for that long, and would never be done with.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

#: How many times the seconds of a silence a whole answer may take.
WHOLE = 2


class CutOff:
    """Shuts connections down that are watched longer than so many seconds, whoever waits on them."""

    def __init__(self, seconds: float) -> None:
        self.has_cut = threading.Event()
        self._seconds = seconds
        self._timers: list[threading.Timer] = []

    def begin(self, connection: socket.socket) -> None:
        """Watch a connection from now on."""
        timer = threading.Timer(self._seconds, self._cut, [connection])
        timer.daemon = True
        timer.start()
        self._timers.append(timer)

    def end(self) -> None:
        """Watch none any more."""
        for timer in self._timers:
            timer.cancel()

    def _cut(self, connection: socket.socket) -> None:
        self.has_cut.set()
        with suppress(OSError):  # it is closed already
            # Not the method of an `SSLSocket`, which takes its state away from whoever reads at this moment.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
