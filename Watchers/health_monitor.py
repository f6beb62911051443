"""Asks API, dashboard and Odoo every 30 seconds whether they live, and delivers the alerts of all processes."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from datetime import datetime

from utils.bootstrap import Services
from utils.daemon import Worker, run
from utils.vault import locks

_DELIVERY_INTERVAL = 30.0  # seconds; alerts are not to wait for a monitor that checks once an hour


class HealthMonitorWorker(Worker):
    """One a node: a second one waits until the first is gone."""

    name = "health_monitor"
    description = __doc__

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._held = ExitStack()
        self._is_ours = False
        self._next_check = float("-inf")
        self._seen = ""
        self.interval = min(float(services.settings.health_interval_seconds), _DELIVERY_INTERVAL)

    def run_cycle(self, now: datetime) -> str:
        """Check the services if their time has come, then deliver what alerts wait."""
        if not self._is_ours:
            try:
                lock = self.services.settings.state_dir / "locks" / "health_monitor.lock"
                self._held.enter_context(locks.hold(lock, timeout=0))
            except locks.Locked as error:
                return f"another health monitor watches this node ({error.holder}); waiting for its end"
            self._is_ours = True
        monotonic = self.services.clock.monotonic()
        if monotonic >= self._next_check:
            # Half a cycle of slack, so that a wait that ends a little early does not skip a check.
            self._next_check = monotonic + self.services.settings.health_interval_seconds - self.interval / 2
            self._seen = self.services.health.check(now)
        return f"{self._seen}; {self.services.alerts.deliver_due(now)}"

    def close(self) -> None:
        """Let another monitor take over."""
        self._held.close()


if __name__ == "__main__":
    sys.exit(run(HealthMonitorWorker))
