"""Nodes as on machines of their own: each in a network namespace, on a bridge to this one. Linux, as root, by `ip`.

A node is cut off by taking its link down, as by a pulled cable: packets are lost, and no connection is closed for it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000  # sched.h
_PREFIX = "10.231.7"


class Namespaces:
    """A bridge with the address `here`, and a namespace for each node."""

    here = f"{_PREFIX}.1"

    def __init__(self, *names: str) -> None:
        self._tag = f"ai{os.getpid()}"
        self._addresses = {name: f"{_PREFIX}.{number}" for number, name in enumerate(names, start=2)}
        self._made: list[tuple[str, ...]] = []
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    @staticmethod
    def why_not() -> str:
        """Why this machine has no namespaces for us; empty where it has."""
        if shutil.which("ip") is None:
            return "there is no `ip` (package iproute2)"
        name = f"ai-try{os.getpid()}"
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
        if made.returncode:
            return f"no network namespace can be made: {made.stderr.strip()}"
        subprocess.run(["ip", "netns", "del", name], check=True)
        return ""

    def address(self, name: str) -> str:
        """Where a node is reached, by the others and from here."""
        return self._addresses[name]

    def inside(self, name: str) -> list[str]:
        """What a command begins with that is to run in a node's namespace."""
        return ["ip", "netns", "exec", self._namespace(name)]

    def ask(self, name: str, question: Callable[[], T]) -> T:
        """The answer to a question that is asked from within a node's namespace, so also while it is cut off."""
        answers: list[T] = []
        errors: list[BaseException] = []

        def enter() -> None:
            try:
                with Path("/run/netns", self._namespace(name)).open("rb") as file:
                    if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):  # of this thread alone
                        raise OSError(ctypes.get_errno(), "setns")
                answers.append(question())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return answers[0]

    def cut(self, name: str) -> None:
        """Pull the node's cable."""
        _ip("link", "set", self._link(name), "down")

    def mend(self) -> None:
        """Plug every cable in."""
        for name in self._addresses:
            _ip("link", "set", self._link(name), "up")

    def close(self) -> None:
        """Take away what was made."""
        while self._made:
            subprocess.run(["ip", *self._made.pop()], capture_output=True)

    def _make(self) -> None:
        bridge = f"{self._tag}b"
        _ip("link", "add", bridge, "type", "bridge")
        self._made.append(("link", "del", bridge))
        _ip("address", "add", f"{self.here}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for name, address in self._addresses.items():
            namespace, link = self._namespace(name), self._link(name)
            _ip("netns", "add", namespace)
            self._made.append(("netns", "del", namespace))  # its end of the link goes with it, and so the other
            _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
            _ip("link", "set", link, "master", bridge, "up")
            for arguments in (("address", "add", f"{address}/24", "dev", "eth0"), *_UP):
                _ip("-n", namespace, *arguments)

    def _namespace(self, name: str) -> str:
        return f"{self._tag}-{name}"

    def _link(self, name: str) -> str:
        return f"{self._tag}{name[0]}"


_UP = (("link", "set", "eth0", "up"), ("link", "set", "lo", "up"))


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
