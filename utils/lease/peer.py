"""How the other zone is doing: by HTTP where it has a URL, else by its heartbeat on the remote."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from utils.core import health as rules
from utils.core.health import Change, ProbeResult, ServiceHealth, Status
from utils.core.task import format_time
from utils.core.zones import Failover
from utils.ports import Clock, Probe
from utils.vault import atomic, locks

log = logging.getLogger(__name__)
_SILENT = "no heartbeat came through the remote"


@dataclass(frozen=True)
class Seen:
    """What the checks saw, and how many in a row were good."""

    health: ServiceHealth = ServiceHealth()
    successes: int = 0


class Peer:
    """The other zone, `name`. `url` is its API's or empty; `heartbeat()` says whether it gave one lately, None where
    that can't be known; `changed` is told when it goes down and when it is back; `watched()`: this node
    asks the remote, so it will know soon."""

    def __init__(
        self,
        name: str,
        *,
        url: str,
        probe: Callable[[], Probe],
        heartbeat: Callable[[], bool | None],
        timeout: float,
        failover: Failover,
        clock: Clock,
        state_dir: Path,
        changed: Callable[[Change], None],
        watched: Callable[[], bool] = lambda: False,
    ) -> None:
        self._name = name
        self._url = url
        self._probe = probe
        self._heartbeat = heartbeat
        self._timeout = timeout
        self._failover = failover
        self._clock = clock
        self._file = state_dir / "zone_health.json"
        self._lock = state_dir / "locks" / "zone_health.lock"
        self._changed = changed
        self._watched = watched

    @property
    def method(self) -> str:
        """How it is checked: `http` or `heartbeat`."""
        return "http" if self._url else "heartbeat"

    def check(self) -> tuple[Seen, str]:
        """Look once; what all looks so far saw, and the news in words. Who can't be judged was seen neither well nor
        failing: what was counted before a stop says nothing of now."""
        result = self._ask()
        if result is None:
            return Seen(), f"{self._name} can't be judged yet: the remote was not asked for long enough"
        with locks.hold(self._lock):
            before = self.seen()
            health, change = rules.observe(
                self._name, before.health, result, threshold=self._failover.threshold, now=self._clock.now()
            )
            seen = Seen(health, before.successes + 1 if result.ok else 0)
            raw = rules.to_json(health) | {"successes": seen.successes}
            atomic.write(self._file, json.dumps(raw, indent=1).encode(), mode=0o600)
        if change is not None:
            self._changed(change)
        if result.ok:
            return seen, f"{self._name} is healthy"
        failures, threshold = health.consecutive_failures, self._failover.threshold
        return seen, f"{self._name} fails ({failures} in a row, threshold {threshold}): {health.error}"

    def seen(self) -> Seen:
        """What the checks saw, over all processes; a file that is damaged has seen nothing."""
        try:
            raw = json.loads(self._file.read_bytes())
            return Seen(rules.from_json(raw), int(raw["successes"]))
        except FileNotFoundError:
            return Seen()
        except (ValueError, KeyError, TypeError) as error:
            log.error("%s is damaged (%s): counting from zero", self._file, error)
            return Seen()

    def shown(self) -> Mapping[str, Any]:
        """Its entry in `GET /api/zones/health`; an old check is not told as if it held now."""
        health, checked = self.seen().health, self.seen().health.checked_at
        if checked and (self._clock.now() - checked).total_seconds() <= 3 * self._failover.interval_seconds:
            return shown(health, self.method)
        since = f"not checked since {format_time(checked)}" if checked else "not checked yet"
        soon = "its heartbeats are watched, which takes a few minutes after a start"
        why = soon if self._watched() and not self._url else "is the scheduler running?"
        return shown(replace(health, status=Status.UNKNOWN, error=f"{since}: {why}"), self.method)

    def _ask(self) -> ProbeResult | None:
        if self._url:
            return self._probe().check(f"{self._url}/api/health", self._timeout)
        alive = self._heartbeat()
        return None if alive is None else ProbeResult(alive, None, None if alive else _SILENT)


def shown(health: ServiceHealth, method: str) -> Mapping[str, Any]:
    """A zone's entry in `GET /api/zones/health`."""
    return {
        "healthy": None if health.status is Status.UNKNOWN else health.status is Status.HEALTHY,
        "checked_at": format_time(health.checked_at) if health.checked_at else None,
        "method": method,
        "latency_ms": health.latency_ms,
        "consecutive_failures": health.consecutive_failures,
        "error": health.error,
    }
