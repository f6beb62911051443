"""How the services were over days: `Logs/health/`, read day by day into buckets of equal length.

A day's file is read again only when it changed, so that a month costs no more than the day that goes on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any

from utils.core.health import Status
from utils.core.task import format_time, parse_time
from utils.vault import jsonl
from utils.vault.layout import Layout

#: Window → (buckets, seconds of each). A day is a whole number of buckets.
WINDOWS: Mapping[str, tuple[int, int]] = {"24h": (96, 900), "7d": (84, 7_200), "30d": (120, 21_600)}


@dataclass
class Bucket:
    """The checks of one service within one stretch of time: how many, how many were good, and how long those took
    (ms)."""

    checks: int = 0
    good: int = 0
    latencies: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Told:
    """A bucket as it is told."""

    checks: int
    good: int
    p50: float | None
    p95: float | None


def history(layout: Layout, services: Sequence[str], window: str, now: datetime) -> dict[str, Any]:
    """The answer of `GET /api/health/history`. `services` are told even where no check of them is known. The last
    bucket is the one that goes on; one without a check has no uptime."""
    count, seconds = WINDOWS[window]
    last = int(now.timestamp()) // seconds
    first = last - count + 1
    days = []
    day = _time(first * seconds).date()
    while day <= now.date():
        path = layout.daily_log("health", f"{day:%Y-%m-%d}")
        day += timedelta(days=1)
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        days.append((path, status.st_mtime_ns, status.st_size))
    told = _told_of(tuple(days), tuple(services), first, last, seconds)
    return {"window": window, "bucket_seconds": seconds, "services": told}


@lru_cache(maxsize=8)
def _told_of(
    days: tuple[tuple[Path, int, int], ...], services: tuple[str, ...], first: int, last: int, seconds: int
) -> Mapping[str, Any]:
    """What is told of each service, for as long as the days' files keep their times and sizes."""
    numbers = range(first, last + 1)
    found: dict[str, dict[int, Told]] = {name: {} for name in services}
    for path, modified, size in days:
        for name, buckets in _day(path, modified, size, seconds).items():
            found.setdefault(name, {}).update(buckets)
    return {name: _service(buckets, numbers, seconds) for name, buckets in found.items()}


@lru_cache(maxsize=128)
def _day(path: Path, modified: int, size: int, seconds: int) -> Mapping[str, Mapping[int, Told]]:
    """The buckets of one day's file, for as long as it keeps its time and size."""
    found: dict[str, dict[int, Bucket]] = {}
    for entry in jsonl.newest(path):
        try:
            number = int(parse_time(entry["at"]).timestamp()) // seconds
            services = dict(entry["services"])
        except (KeyError, TypeError, ValueError, OverflowError):
            continue  # no line of ours
        for name, seen in services.items():
            if isinstance(seen, Mapping) and seen.get("status") in _CHECKED:
                _count(found.setdefault(name, {}).setdefault(number, Bucket()), seen)
    return {name: {number: _told(bucket) for number, bucket in buckets.items()} for name, buckets in found.items()}


_CHECKED = frozenset({Status.HEALTHY, Status.DEGRADED, Status.DOWN})


def _count(bucket: Bucket, seen: Mapping[str, Any]) -> None:
    bucket.checks += 1
    if seen["status"] == Status.HEALTHY:
        bucket.good += 1
        latency = seen.get("latency_ms")
        if isinstance(latency, (int, float)):
            bucket.latencies.append(latency)


def _told(bucket: Bucket) -> Told:
    latencies = sorted(bucket.latencies)
    if not latencies:
        return Told(bucket.checks, bucket.good, None, None)
    p95 = latencies[math.ceil(0.95 * len(latencies)) - 1]  # nearest rank
    return Told(bucket.checks, bucket.good, round(median(latencies), 1), round(p95, 1))


def _service(buckets: Mapping[int, Told], numbers: Sequence[int], seconds: int) -> dict[str, Any]:
    told = [(number, buckets.get(number, Told(0, 0, None, None))) for number in numbers]
    checks = sum(bucket.checks for _, bucket in told)
    return {
        "uptime": _share(sum(bucket.good for _, bucket in told), checks),
        "buckets": [
            {
                "at": format_time(_time(number * seconds)),
                "uptime": _share(bucket.good, bucket.checks),
                "latency_ms": bucket.p50,
                "latency_p95_ms": bucket.p95,
                "checks": bucket.checks,
            }
            for number, bucket in told
        ],
    }


def _share(good: int, checks: int) -> float | None:
    return round(good / checks, 4) if checks else None


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
