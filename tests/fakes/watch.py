"""Hand-written stand-ins at the edge of health, zones and alerts: a channel, a probe, and a note of alerts raised."""

from __future__ import annotations

from typing import Any

from utils.core.alert import Alert
from utils.core.health import ProbeResult
from utils.ports import AdapterError


class FakeChannel:
    """Keeps what it delivered; while `error` is set it fails with it."""

    name = "fake"

    def __init__(self) -> None:
        self.mails: list[list[Alert]] = []
        self.tries = 0
        self.error: Exception | None = None

    def deliver(self, alerts: list[Alert]) -> None:
        self.tries += 1
        if self.error is not None:
            raise self.error
        self.mails.append(list(alerts))

    def fail(self, message: str, *, retry: bool) -> None:
        self.error = AdapterError(message, retry=retry)


class FakeProbe:
    """Answers as `down` says, by a part of the URL; everything else is well."""

    def __init__(self) -> None:
        self.down: dict[str, str] = {}
        self.asked: list[str] = []

    def check(self, url: str, timeout: float) -> ProbeResult:
        self.asked.append(url)
        error = next((error for part, error in self.down.items() if part in url), None)
        return ProbeResult(error is None, 3.0 if error is None else None, error)


class AlertNotes:
    """What was told to the human."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []

    def __call__(self, level: str, title: str, message: str, **more: Any) -> None:
        self.told.append((level, title, message))

    @property
    def titles(self) -> list[str]:
        return [f"{level} {title}" for level, title, _ in self.told]
