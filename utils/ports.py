"""The Protocols that adapters satisfy, and the error that all of them raise.

An adapter turns every library's errors into `AdapterError` with one sentence for the user and whether trying again
can help.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from utils.core.alert import Alert
from utils.core.health import ProbeResult
from utils.core.mail import IncomingMail, OutgoingMail, Proposal, RawMail, Receipt, ReplyRules


class AdapterError(Exception):
    """The world said no. `retry`: whether the same call may succeed later. The text names what to do."""

    def __init__(self, message: str, *, retry: bool) -> None:
        super().__init__(message)
        self.retry = retry


class OutcomeUnknown(Exception):
    """An acting call ended in such a way that nobody can know whether it took effect. Never retried."""


class Clock(Protocol):
    """Time. `now` is aware UTC; `monotonic` is in seconds and goes on during a suspend where the system can tell."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...


class Mailbox(Protocol):
    """Mail in. Methods raise `AdapterError`."""

    def fetch(self) -> Iterable[RawMail]:
        """Mails not marked seen, oldest first, one at a time. A mail above the size limit comes as headers only."""

    def mark_seen(self, mail: RawMail) -> None:
        """Remember durably that this mail needs no more work. Calling it twice is harmless."""

    def wait(self, seconds: float, stopped: Callable[[], bool]) -> None:
        """Return when there may be new mail, after `seconds`, or within a second of `stopped()` becoming true."""

    def close(self) -> None:
        """Let go of connections. The next call opens them again."""


class DraftEngine(Protocol):
    """Reads one mail, returns a typed value, has no tools (S12)."""

    name: str

    def propose(self, mail: IncomingMail, rules: ReplyRules) -> Proposal:
        """Category, priority, and the text of a reply or None. Raises `AdapterError`."""


class MailSender(Protocol):
    """Mail out. At most one transmission a call; never retries by itself."""

    def send(self, mail: OutgoingMail) -> Receipt:
        """Hand over `mail`. Raises `AdapterError` where certainly nothing was accepted, else `OutcomeUnknown`."""

    def find(self, message_id: str) -> Receipt | None:
        """After a crash: the receipt if there is proof that the mail left. None proves it did not if `conclusive`."""

    @property
    def conclusive(self) -> bool:
        """Whether `find` answering None proves that the mail never left."""


class AlertChannel(Protocol):
    """One way to reach the human."""

    name: str

    def deliver(self, alerts: list[Alert]) -> None:
        """Deliver one alert, or several as a digest. Raises `AdapterError`."""


class Probe(Protocol):
    """Asks a service whether it lives. Never raises for a sick service."""

    def check(self, url: str, timeout: float) -> ProbeResult: ...


class ToolCaller(Protocol):
    """An MCP client: starts a server at the first call, stops it when it has been idle."""

    def call(self, server: str, tool: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The tool's structured answer. Raises `AdapterError` where the tool refused before acting (`ToolError`);
        `OutcomeUnknown` where the server died or did not answer."""

    def close_idle(self) -> None:
        """Stop servers that were not used for a while."""

    def close(self) -> None:
        """Stop all servers."""
