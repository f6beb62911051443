"""Health of a service from its probes: pure counting, no clock, no network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    """What a service, or the whole, looks like."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ProbeResult:
    """One check: whether the service answered well, how long it took (ms), else why not in one sentence."""

    ok: bool
    latency_ms: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class ServiceHealth:
    """What is known of one service. Never checked: `unknown`."""

    status: Status = Status.UNKNOWN
    consecutive_failures: int = 0
    latency_ms: float | None = None
    last_ok_at: datetime | None = None
    checked_at: datetime | None = None
    error: str | None = None


@dataclass(frozen=True)
class Change:
    """A service went down, or came back."""

    service: str
    down: bool
    failures: int
    error: str | None


def observe(
    service: str, before: ServiceHealth, result: ProbeResult, *, threshold: int, now: datetime
) -> tuple[ServiceHealth, Change | None]:
    """The health after one more check, and the change to tell the human about, if any.

    Fewer failures in a row than `threshold` make a service degraded, from `threshold` on it is down; the change is told
    once, when the count reaches the threshold, and once when the service is back.
    """
    if result.ok:
        after = ServiceHealth(Status.HEALTHY, 0, result.latency_ms, now, now, None)
        back = before.status is Status.DOWN
        return after, Change(service, False, before.consecutive_failures, None) if back else None
    failures = before.consecutive_failures + 1
    status = Status.DOWN if failures >= threshold else Status.DEGRADED
    after = replace(
        before,
        status=status,
        consecutive_failures=failures,
        latency_ms=result.latency_ms,
        checked_at=now,
        error=result.error,
    )
    return after, Change(service, True, failures, result.error) if failures == threshold else None


def overall(services: dict[str, ServiceHealth]) -> Status:
    """The worst that is known: one down service makes the whole down, an unknown one does not count."""
    known = {health.status for health in services.values()} - {Status.UNKNOWN}
    for status in (Status.DOWN, Status.DEGRADED, Status.HEALTHY):
        if status in known:
            return status
    return Status.UNKNOWN
