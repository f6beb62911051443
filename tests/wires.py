"""A wire between a client and a server on this machine, which a test can cut and mend."""

from __future__ import annotations

import contextlib
import socket
import threading


class Wire:
    """Passes connections to `port` on to `target`. While it is cut, none goes through and none that was open lives."""

    def __init__(self, target: tuple[str, int], *, host: str = "127.0.0.1") -> None:
        """`host`: where it listens."""
        self._target = target
        self._cut = False
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._listener = socket.create_server((host, 0), backlog=50)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """From now on nothing goes through."""
        with self._guard:
            self._cut = True
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """From now on everything goes through."""
        with self._guard:
            self._cut = False

    def close(self) -> None:
        """Cut it for good."""
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = self._connect()
            if far is None:
                near.close()
                continue
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _connect(self) -> socket.socket | None:
        with self._guard:
            if self._cut:
                return None
            try:
                far = socket.create_connection(self._target, 5)
            except OSError:
                return None
            self._open.add(far)
            return far

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._guard:
            self._open -= {source, sink}
