"""The table of scheduled jobs: vault sync every 5 minutes; the zone lease every minute and a look at the other zone
every 2, or as often as `zones.json` says."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from utils.adapters.watch import QuietVault
from utils.bootstrap import Services
from utils.core.task import format_time
from utils.core.zones import Failover
from utils.daemon import Stop, Worker, run
from utils.vault import atomic

log = logging.getLogger("scheduler")

FAILURES_BEFORE_ALERT = 3
_LOOK_AFTER = 60 * 60.0
_ANSWER = re.compile(r"(noop|ok|conflicts|offline|error): ")
_CLOCK_SLACK = timedelta(minutes=1)


class JobFailed(RuntimeError):
    """A job did not do its work; the message says why."""


@dataclass(frozen=True)
class Job:
    """`run(services, stopped)` does the work and says in one line what it did; it raises where it could not.

    `cron` says when, as in crontab(5), or `every 1.5 s`.
    """

    name: str
    cron: str
    run: Callable[[Services, Callable[[], bool]], str]


class VaultSyncJob:
    """One sync in a process of its own: its memory goes with it, and it can be ended in mid-network.

    Where the watch says that no note changed since the last one, a question to the remote is enough. A watch may miss
    something (a network disk, a queue that ran over), so every hour a sync looks at the files whatever it says.
    """

    def __init__(self, watch: Callable[[Path], QuietVault] = QuietVault) -> None:
        self._watch = watch
        self._vault: QuietVault | None = None
        self._mark = -1
        self._looked = 0.0

    def __call__(self, services: Services, stopped: Callable[[], bool]) -> str:
        """Sync; the line that says what was done."""
        if self._vault is None:
            self._vault = self._watch(services.layout.root)
        now = services.clock.monotonic()
        if self._vault.since(self._mark) and now - self._looked < _LOOK_AFTER:
            confirmed = services.sync.confirm()
            if confirmed is not None:
                return confirmed.summary()
        mark = self._vault.mark()
        line = sync_vault(services, stopped)
        self._mark, self._looked = mark, now
        return line

    def close(self) -> None:
        """Watch no longer."""
        if self._vault is not None:
            self._vault.close()
            self._vault = None


def sync_vault(services: Services, stopped: Callable[[], bool]) -> str:
    """One sync in a process of its own. A first clone over a slow line may take the hour that git has for a command."""
    code, output = services.run_module("scripts.sync", timeout=70 * 60, stopped=stopped)
    lines = [line for line in output.splitlines() if line.strip() and not line.startswith("housekeeping:")]
    line = next((line for line in reversed(lines) if _ANSWER.match(line)), lines[-1] if lines else "no answer").strip()
    if code in (0, 3):  # 3: offline, which is a state and no error
        return line
    if code is None and stopped():
        return "ended, for the scheduler stops"
    raise JobFailed(line if code is not None else f"took longer than 70 minutes: {line}")


def renew_lease(services: Services, stopped: Callable[[], bool]) -> str:
    """Renew the zone lease, or look who has it."""
    return services.zones.renew()


def check_zones(services: Services, stopped: Callable[[], bool]) -> str:
    """Look whether the other zone answers, and take over where it is due."""
    return services.zones.check_and_failover()


def jobs(failover: Failover) -> tuple[Job, ...]:
    """The table, with the intervals of `zones.json`."""
    return (
        Job("vault_sync", "*/5 * * * *", VaultSyncJob()),
        Job("zone_lease", cron(failover.renew_seconds), renew_lease),
        Job("zone_failover_check", cron(failover.interval_seconds), check_zones),
    )


def cron(seconds: float) -> str:
    """`*/2 * * * *` for 120 seconds; what crontab(5) can't say in words of its own."""
    minutes = seconds / 60
    if minutes % 1 or minutes > 30 or 60 % minutes:
        return f"every {seconds:g} s"
    return "* * * * *" if minutes == 1 else f"*/{minutes:g} * * * *"


class Scheduler(Worker):
    """Runs the jobs; a job never overlaps itself, and after a suspend each runs once."""

    name = "scheduler"
    description = __doc__
    interval = 30.0

    def __init__(self, services: Services, table: Sequence[Job] | None = None) -> None:
        super().__init__(services)
        table = jobs(services.settings.zones.failover) if table is None else table
        self._jobs = {job.name: job for job in table}
        self._failures = dict.fromkeys(self._jobs, 0)
        self._last: dict[str, dict[str, Any]] = {}
        self._file = services.settings.state_dir / "scheduler.json"
        self._written: Any = None
        self._writing = threading.Lock()
        self._stopped: Callable[[], bool] = lambda: False
        self._scheduler: Any = None

    def start(self, stop: Stop) -> None:
        """Put the table into APScheduler. Every job runs once at the start; the sync only where there is a remote."""
        from apscheduler.executors.pool import ThreadPoolExecutor
        from apscheduler.schedulers.background import BackgroundScheduler

        self._stopped = stop
        try:
            self.services.zones.start()
        except OSError as error:  # a full disk: nothing can be renewed, but the sync says so better
            log.error("the zone lease was not laid down: %s", error)
        # misfire_grace_time=None: a run that is late (a suspend, a long stall) still happens, once, by coalesce.
        defaults = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        executors = {"default": ThreadPoolExecutor(len(self._jobs) or 1)}
        self._scheduler = BackgroundScheduler(timezone=UTC, job_defaults=defaults, executors=executors)
        for job in self._jobs.values():
            trigger = _trigger(job.cron)
            at_once = job.name != "vault_sync" or self.services.sync.has_remote()
            now = datetime.now(UTC)
            first = now if at_once else trigger.get_next_fire_time(None, now)
            self._scheduler.add_job(self.run_job, trigger, args=[job.name], id=job.name, next_run_time=first)
        self._scheduler.start()

    def run_cycle(self, now: datetime) -> str:
        """Keep the schedule true and written down. With `--once`: run each job once and say what each did."""
        if self._scheduler is None:
            return "; ".join(f"{name}: {self.run_job(name)}" for name in self._jobs)
        self._follow_clock(datetime.now(UTC))
        self._write()
        return f"{len(self._jobs)} jobs are scheduled"

    def run_job(self, name: str) -> str:
        """Run one job now. Never raises: the outcome is one line in the log, and an alert after three failures."""
        at = self.services.clock.now()
        try:
            outcome = self._jobs[name].run(self.services, self._stopped)
        except Exception as error:
            outcome = str(error) if isinstance(error, JobFailed) else f"{type(error).__name__}: {error}"
            self._failures[name] += 1
            detail = None if isinstance(error, JobFailed) else error
            log.error("%s failed (%d in a row): %s", name, self._failures[name], outcome, exc_info=detail)
            if self._failures[name] == FAILURES_BEFORE_ALERT:
                title = f"{name} fails again and again"
                self.services.alerts.send("CRITICAL", title, outcome, source="scheduler")
            outcome, ok = f"failed: {outcome}", False
        else:
            log.info("%s: %s", name, outcome)
            self._failures[name], ok = 0, True
        self._last[name] = {"at": format_time(at), "ok": ok, "outcome": outcome}
        if self._scheduler is not None:
            self._write()
        return outcome

    def close(self) -> None:
        """Start nothing more; a running job sees that the process stops."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
        for job in self._jobs.values():
            if isinstance(job.run, VaultSyncJob):
                job.run.close()

    def _follow_clock(self, now: datetime) -> None:
        """After the wall clock was set back, the next runs would lie far in the future: bring them near again."""
        for entry in self._scheduler.get_jobs():
            soonest = _trigger(self._jobs[entry.id].cron).get_next_fire_time(None, now)
            if entry.next_run_time and soonest and entry.next_run_time - soonest > _CLOCK_SLACK:
                log.warning("the clock was set back: %s runs at %s", entry.id, format_time(soonest))
                entry.modify(next_run_time=soonest)

    def _write(self) -> None:
        """`scheduler.json` tells the API the next runs: `{jobs: {name: {cron, next_run_at, last}}}`."""
        with self._writing:
            upcoming = {entry.id: entry.next_run_time for entry in self._scheduler.get_jobs()}
            jobs = {
                name: {
                    "cron": job.cron,
                    "next_run_at": format_time(upcoming[name]) if upcoming.get(name) else None,
                    "last": self._last.get(name),
                }
                for name, job in self._jobs.items()
            }
            if jobs != self._written:
                atomic.write(self._file, json.dumps({"jobs": jobs}, indent=1).encode(), mode=0o600)
                self._written = jobs


def _trigger(cron_words: str) -> Any:
    """APScheduler's trigger for a job's `cron`, as from now."""
    from apscheduler.triggers.cron import CronTrigger
    from apscheduler.triggers.interval import IntervalTrigger

    if cron_words.startswith("every "):
        return IntervalTrigger(seconds=float(cron_words.split()[1]), timezone=UTC)
    return CronTrigger.from_crontab(cron_words, timezone=UTC)


if __name__ == "__main__":
    sys.exit(run(Scheduler))
