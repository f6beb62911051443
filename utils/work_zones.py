"""Work zones: which zone is active, which tasks run here, and how the other zone is doing.

The state lies in `STATE_DIR/zone.json`, what the checks of the other zone saw in `STATE_DIR/zone_health.json`; several
processes read them and write them under one lock. A node whose vault has no git remote is alone: its zone is active.

The zones do not yet agree through the remote (the lease comes with failover, a later issue). Until then the other zone
is watched and its failure alerted, a human switches, and the switch holds for the node on which it was made.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from utils.core import health as health_rules
from utils.core import routing
from utils.core import zones as rules
from utils.core.health import Change, ServiceHealth, Status
from utils.core.routing import TASK_TYPES, ZONES
from utils.core.task import format_time
from utils.core.zones import ZonesConfig, ZoneState
from utils.ports import Clock, Probe
from utils.vault import atomic, locks

log = logging.getLogger(__name__)

BY_HAND = "Failover is not automatic yet; switch by hand: POST /api/zones/switch"


class UnknownZone(ValueError):
    """There is no such zone."""

    def __init__(self, zone: str) -> None:
        super().__init__(f"unknown zone {zone!r}; the zones are {', '.join(ZONES)}")


class StaleTerm(RuntimeError):
    """Somebody switched meanwhile: `term` is the present one, not the one that the caller expected."""

    def __init__(self, expected: int, term: int) -> None:
        super().__init__(f"the zones have been switched meanwhile: the term is {term}, not {expected}")
        self.term = term


class WorkZones:
    """The zones as one node sees them.

    `alone()` says whether there is no git remote; `alert(level, title, message, source=…)` tells the human; `urls`
    names each zone's API, or an empty string.
    """

    def __init__(
        self,
        config: ZonesConfig,
        *,
        this_zone: str,
        mode: str,
        state_dir: Path,
        clock: Clock,
        alone: Callable[[], bool],
        alert: Callable[..., Any],
        probe: Callable[[], Probe],
        urls: Mapping[str, str],
        timeout: float,
    ) -> None:
        self._config = config
        self._here = this_zone
        self._other = next(zone for zone in ZONES if zone != this_zone)
        self._mode = mode
        self._file = state_dir / "zone.json"
        self._health_file = state_dir / "zone_health.json"
        self._lock = state_dir / "locks" / "zone.lock"
        self._clock = clock
        self._alone = alone
        self._alert = alert
        self._probe = probe
        self._urls = urls
        self._timeout = timeout
        self._unknown: set[str] = set()

    def resolve_zone(self, task_type: str) -> str:
        """The zone that does `task_type` now: `local`, `cloud` or `both`. One unknown is `local`, warned of once."""
        if task_type not in TASK_TYPES and task_type not in self._unknown:
            self._unknown.add(task_type)
            log.warning("unknown task type %r: local only", task_type)
        return routing.resolve(task_type, self._config.routing, self.active_zone())

    def runs_here(self, task_type: str) -> bool:
        """Whether this node takes tasks of `task_type` now."""
        return routing.runs_here(task_type, self._config.routing, self.active_zone(), self._here)

    def active_zone(self) -> str:
        """`local` or `cloud`."""
        return self.state().active_zone

    def state(self) -> ZoneState:
        """The state as it holds now. Alone, this zone is active unless a human switched to the other one."""
        state = self._read()
        if self._alone() and not state.pinned:
            return replace(state, active_zone=self._here, reason="alone: the vault has no git remote")
        return state

    def switch(self, zone: str, *, reason: str, by: str, expected_term: int | None = None) -> tuple[ZoneState, str]:
        """A human makes `zone` active: `(the new state, the zone that was active)`. The machine never undoes it.

        Raises `UnknownZone`, or `StaleTerm` where `expected_term` is not the present term.
        """
        if zone not in ZONES:
            raise UnknownZone(zone)
        with locks.hold(self._lock):
            before = self.state()
            if expected_term is not None and expected_term != before.term:
                raise StaleTerm(expected_term, before.term)
            after = rules.switch(before, zone, reason=f"{reason} (by {by})", now=self._clock.now(), pinned=True)
            self._write(self._file, rules.state_to_json(after))
        log.info("zones: %s is active (term %d, was %s): %s", zone, after.term, before.active_zone, after.reason)
        if zone != before.active_zone:
            self._alert(
                "INFO",
                f"{zone} is the active zone now",
                f"Switched from {before.active_zone}: {after.reason}. Term {after.term}. The switch holds for this "
                f"node ({self._here}); switch the {self._other} node too, if it runs.",
                source="zones",
            )
        return after, before.active_zone

    def status(self) -> dict[str, Any]:
        """The answer of `GET /api/zones/status`."""
        state = self.state()
        failover = self._config.failover
        seen = self._read_health()
        return {
            "this_zone": self._here,
            "mode": self._mode,
            "active_zone": state.active_zone,
            "term": state.term,
            "since": format_time(state.since),
            "reason": state.reason,
            "pinned": state.pinned,
            "failover": {
                "enabled": failover.enabled,
                "threshold": failover.threshold,
                "interval_seconds": failover.interval_seconds,
            },
            "zones": {
                zone: {
                    "url": self._urls.get(zone) or None,
                    "consecutive_failures": seen.consecutive_failures if zone == self._other else 0,
                }
                for zone in ZONES
            },
            "routing": {
                task_type: {
                    "rule": routing.rule_for(task_type, self._config.routing).value,
                    "zone": routing.resolve(task_type, self._config.routing, state.active_zone),
                }
                for task_type in TASK_TYPES
            },
            "history": [dict(entry) for entry in reversed(state.history)],
        }

    def health(self) -> dict[str, Any]:
        """The answer of `GET /api/zones/health`: this zone answers, the other one as the last check saw it."""
        own = ServiceHealth(Status.HEALTHY, checked_at=self._clock.now())
        return {"zones": {self._here: _shown(own, "http"), self._other: self._other_health()}}

    def check_and_failover(self) -> str:
        """Look whether the other zone answers, count failures in a row, alert at the threshold, and say what was seen.

        The switch itself is a human's for now (see the module's text).
        """
        other, url = self._other, self._urls.get(self._other)
        if self._alone():
            return f"alone: the vault has no git remote, {self.active_zone()} is active"
        if not url:
            return f"{other} is not checked: set {other.upper()}_API_URL"
        result = self._probe().check(f"{url}/api/health", self._timeout)
        now, threshold = self._clock.now(), self._config.failover.threshold
        with locks.hold(self._lock):
            seen, change = health_rules.observe(other, self._read_health(), result, threshold=threshold, now=now)
            self._write(self._health_file, health_rules.to_json(seen))
        if change is not None:
            self._tell(change)
        if seen.status is Status.HEALTHY:
            return f"{other} is healthy"
        count = f"{other} fails ({seen.consecutive_failures} in a row, threshold {threshold}): {seen.error}"
        if seen.status is Status.DOWN and other == self.active_zone() and self._config.failover.enabled:
            return f"{count}. {BY_HAND}"
        return count

    def _tell(self, change: Change) -> None:
        if not change.down:
            self._alert(
                "INFO", f"{change.service} is back", f"It failed {change.failures} checks in a row.", source="zones"
            )
            return
        text = f"{change.failures} checks in a row failed: {change.error}."
        if change.service == self.active_zone():
            text += f' It is the active zone: its work waits until it is back. {BY_HAND} {{"zone": "{self._here}"}}.'
            self._alert("CRITICAL", f"{change.service} does not answer", text, source="zones")
        else:
            self._alert("WARNING", f"{change.service} does not answer", f"{text} It is passive.", source="zones")

    def _other_health(self) -> dict[str, Any]:
        name = f"{self._other.upper()}_API_URL"
        if not self._urls.get(self._other):
            return _shown(ServiceHealth(error=f"no URL: set {name}; heartbeats are not built yet"), "heartbeat")
        seen = self._read_health()
        if seen.checked_at is None:
            return _shown(ServiceHealth(error="not checked yet: is the scheduler running?"), "http")
        age = (self._clock.now() - seen.checked_at).total_seconds()
        if age > 3 * self._config.failover.interval_seconds:
            old = f"not checked since {format_time(seen.checked_at)}: is the scheduler running?"
            return _shown(replace(seen, status=Status.UNKNOWN, error=old), "http")
        return _shown(seen, "http")

    def _read(self) -> ZoneState:
        raw = _load(self._file)
        if raw is not None:
            try:
                return rules.state_from_json(raw)
            except (ValueError, KeyError, TypeError) as error:
                log.error("%s is damaged (%s): starting from initial_holder", self._file, error)
        reason = "first start: initial_holder in zones.json"
        first = ZoneState(self._config.initial_holder, 0, self._clock.now(), reason)
        if raw is None and not self._file.exists():
            with contextlib.suppress(FileExistsError):  # another process was first, a moment ago
                self._write(self._file, rules.state_to_json(first), replace=False)
        return first

    def _read_health(self) -> ServiceHealth:
        raw = _load(self._health_file)
        try:
            return health_rules.from_json(raw) if raw is not None else ServiceHealth()
        except (ValueError, KeyError, TypeError):
            return ServiceHealth()

    @staticmethod
    def _write(path: Path, value: Mapping[str, Any], *, replace: bool = True) -> None:
        atomic.write(path, json.dumps(value, indent=1).encode(), mode=0o600, replace=replace)


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        log.error("%s is damaged: %s", path, error)
        return None


def _shown(seen: ServiceHealth, method: str) -> dict[str, Any]:
    return {
        "healthy": None if seen.status is Status.UNKNOWN else seen.status is Status.HEALTHY,
        "checked_at": format_time(seen.checked_at) if seen.checked_at else None,
        "method": method,
        "latency_ms": seen.latency_ms,
        "consecutive_failures": seen.consecutive_failures,
        "error": seen.error,
    }


def resolve_zone(task_type: str) -> str:
    """The zone that does `task_type` now, by the settings of the environment: `local`, `cloud` or `both`."""
    from utils.bootstrap import Services

    return Services.from_environment().zones.resolve_zone(task_type)


def check_and_failover() -> str:
    """Check the other zone, by the settings of the environment; see `WorkZones.check_and_failover`."""
    from utils.bootstrap import Services

    return Services.from_environment().zones.check_and_failover()
