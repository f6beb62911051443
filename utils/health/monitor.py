"""The use case behind the health monitor and `GET /api/health/detailed`.

One file in `STATE_DIR` holds what the last checks saw; one line a check goes to `Logs/health/`. The monitor's process
checks on schedule; another process (the API, on `?refresh=true`) may check as well: a lock makes them take turns.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from utils.core import health as rules
from utils.core.health import Change, Hours, ProbeResult, ServiceHealth, Status
from utils.core.task import format_time
from utils.health.history import history
from utils.ports import Clock, Probe
from utils.vault import atomic, jsonl, locks
from utils.vault.layout import Layout

log = logging.getLogger(__name__)

KEEP_DAYS = 30


@dataclass(frozen=True)
class Target:
    """A service to watch. Without a `url` it is unknown, and `setting` says what would have to be set."""

    name: str
    url: str
    setting: str


@dataclass(frozen=True)
class Snapshot:
    """What is known: when the last check was, each service's health and its counts by the hour."""

    checked_at: datetime | None
    services: Mapping[str, ServiceHealth]
    hours: Mapping[str, Hours]


class HealthMonitor:
    """Watches the services of one node."""

    def __init__(
        self,
        targets: list[Target],
        layout: Layout,
        *,
        state_dir: Path,
        clock: Clock,
        probe: Callable[[], Probe],
        alert: Callable[..., Any],
        interval: float,
        timeout: float,
        threshold: int,
    ) -> None:
        self._targets = targets
        self._layout = layout
        self._file = state_dir / "health.json"
        self._lock = state_dir / "locks" / "health-check.lock"
        self._clock = clock
        self._probe = probe
        self._alert = alert
        self._interval = interval
        self._timeout = timeout
        self._threshold = threshold

    def check(self, now: datetime) -> str:
        """Ask every service once, remember and log what was seen, alert on a change, and say how things stand."""
        with locks.hold(self._lock):
            before = self._read()
            results = {t.name: self._probe().check(t.url, self._timeout) for t in self._targets if t.url}
            after, changes = self._observe(before, results, now)
            atomic.write(self._file, json.dumps(_to_json(after), indent=1).encode(), mode=0o600)
        self._write_history(after, now)
        for change in changes:
            self._tell(change)
        return ", ".join(f"{name} {service.status}" for name, service in after.services.items())

    def detailed(self, refresh: bool = False) -> dict[str, Any]:
        """The answer of `GET /api/health/detailed`; with `refresh` the services are asked now, and it counts.

        `uptime_24h` is in per cent. What was seen too long ago is not told as if it held now: then all is `unknown`.
        """
        now = self._clock.now()
        if refresh:
            self.check(now)
        snapshot = self._read()
        services = {target.name: self._shown(target, snapshot, now) for target in self._targets}
        return {
            "status": rules.overall(services).value,
            "checked_at": format_time(snapshot.checked_at) if snapshot.checked_at else None,
            "services": {
                name: {
                    "status": service.status.value,
                    "latency_ms": service.latency_ms,
                    "consecutive_failures": service.consecutive_failures,
                    "last_ok_at": format_time(service.last_ok_at) if service.last_ok_at else None,
                    "error": service.error,
                    "uptime_24h": rules.uptime(snapshot.hours.get(name, {}), now),
                }
                for name, service in services.items()
            },
        }

    def history(self, window: str) -> dict[str, Any]:
        """The answer of `GET /api/health/history`; `window` is one of `WINDOWS`."""
        return history(self._layout, [target.name for target in self._targets], window, self._clock.now())

    def _observe(
        self, before: Snapshot, results: Mapping[str, ProbeResult], now: datetime
    ) -> tuple[Snapshot, list[Change]]:
        services, changes, hours = {}, [], {}
        for target in self._targets:
            name = target.name
            if name not in results:
                services[name] = ServiceHealth(error=_not_configured(target))
                continue
            known = before.services.get(name, ServiceHealth())
            services[name], change = rules.observe(name, known, results[name], threshold=self._threshold, now=now)
            hours[name] = rules.count_check(before.hours.get(name, {}), results[name].ok, now)
            changes += [change] if change else []
        return Snapshot(now, services, hours), changes

    def _shown(self, target: Target, snapshot: Snapshot, now: datetime) -> ServiceHealth:
        if not target.url:
            return ServiceHealth(error=_not_configured(target))
        service = snapshot.services.get(target.name, ServiceHealth())
        if service.checked_at is None:
            return replace(service, status=Status.UNKNOWN, error="not checked yet: is the health monitor running?")
        if (now - service.checked_at).total_seconds() > 3 * self._interval + 30:
            old = f"not checked since {format_time(service.checked_at)}: is the health monitor running?"
            return replace(service, status=Status.UNKNOWN, error=old)
        return service

    def _tell(self, change: Change) -> None:
        if change.down:
            text = f"{change.failures} checks in a row failed: {change.error}."
            self._alert("CRITICAL", f"{change.service} is down", text, source="health_monitor")
        else:
            text = f"It answers again after {change.failures} failed checks."
            self._alert("INFO", f"{change.service} is back", text, source="health_monitor")

    def _write_history(self, snapshot: Snapshot, now: datetime) -> None:
        path = self._layout.daily_log("health", f"{now:%Y-%m-%d}")
        if not path.exists():
            self._drop_old(path.parent, now.date() - timedelta(days=KEEP_DAYS))
        services = {
            name: {"status": service.status.value, "latency_ms": service.latency_ms}
            | ({"error": service.error} if service.error else {})
            for name, service in snapshot.services.items()
        }
        jsonl.append(path, {"at": format_time(now), "services": services})

    @staticmethod
    def _drop_old(folder: Path, oldest: date) -> None:
        for path in folder.glob("????-??-??.jsonl"):
            try:
                day = date.fromisoformat(path.stem)
            except ValueError:
                continue  # not one of ours
            if day < oldest:
                path.unlink(missing_ok=True)

    def _read(self) -> Snapshot:
        try:
            return _from_json(json.loads(self._file.read_bytes()))
        except FileNotFoundError:
            return Snapshot(None, {}, {})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.error("%s is damaged (%s): counting from zero", self._file, error)
            return Snapshot(None, {}, {})


def _not_configured(target: Target) -> str:
    return f"not configured: set {target.setting}"


def _to_json(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "checked_at": snapshot.checked_at.isoformat() if snapshot.checked_at else None,
        "services": {name: rules.to_json(service) for name, service in snapshot.services.items()},
        "hours": {
            name: {hour: list(counts) for hour, counts in hours.items()} for name, hours in snapshot.hours.items()
        },
    }


def _from_json(raw: Mapping[str, Any]) -> Snapshot:
    hours = {}
    for name, counts in raw["hours"].items():
        hours[name] = {hour: (int(good), int(all_)) for hour, (good, all_) in counts.items()}
    return Snapshot(
        datetime.fromisoformat(raw["checked_at"]) if raw["checked_at"] else None,
        {name: rules.from_json(service) for name, service in raw["services"].items()},
        hours,
    )
