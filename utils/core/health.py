"""Health of a service from its probes: pure counting, no clock, no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any


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


def to_json(health: ServiceHealth) -> dict[str, Any]:
    """The health of a service as a JSON value."""
    return {
        "status": health.status.value,
        "consecutive_failures": health.consecutive_failures,
        "latency_ms": health.latency_ms,
        "last_ok_at": health.last_ok_at.isoformat() if health.last_ok_at else None,
        "checked_at": health.checked_at.isoformat() if health.checked_at else None,
        "error": health.error,
    }


def from_json(raw: Mapping[str, Any]) -> ServiceHealth:
    """Inverse of `to_json`; raises `ValueError`, `KeyError` or `TypeError` for anything else."""
    return ServiceHealth(
        status=Status(raw["status"]),
        consecutive_failures=int(raw["consecutive_failures"]),
        latency_ms=raw["latency_ms"],
        last_ok_at=datetime.fromisoformat(raw["last_ok_at"]) if raw["last_ok_at"] else None,
        checked_at=datetime.fromisoformat(raw["checked_at"]) if raw["checked_at"] else None,
        error=raw["error"],
    )


#: Checks of one service by the hour (`2026-06-01T12`): how many were good, and how many there were.
Hours = Mapping[str, tuple[int, int]]


def count_check(hours: Hours, ok: bool, now: datetime) -> dict[str, tuple[int, int]]:
    """The counts after one more check; hours that began more than a day ago are dropped."""
    oldest, this = _hour(now - timedelta(hours=24)), _hour(now)
    kept = {hour: counts for hour, counts in hours.items() if oldest < hour <= this}
    good, all_ = kept.get(this, (0, 0))
    return kept | {this: (good + ok, all_ + 1)}


def uptime(hours: Hours, now: datetime) -> float | None:
    """The share of good checks of the last 24 hours in per cent, or None where there was none."""
    oldest = _hour(now - timedelta(hours=24))
    recent = [counts for hour, counts in hours.items() if hour > oldest]
    checks = sum(all_ for _, all_ in recent)
    return round(100 * sum(good for good, _ in recent) / checks, 2) if checks else None


def _hour(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H")
