"""Work zones: which zone is active, which tasks run here, and how the other zone is doing.

The zones agree through one ref on the vault's remote, the lease (`utils.core.lease`, docs/zones.md). A keeper renews
it, and takes it over where the other zone is gone. What a node knows lies in `STATE_DIR`: all its processes read it,
and one at a time asks the remote. A node whose vault never had a remote is alone: its zone is active.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from utils.core import lease as rules
from utils.core import routing
from utils.core.commands import command
from utils.core.health import Change, ServiceHealth, Status
from utils.core.lease import Here, State
from utils.core.routing import TASK_TYPES, ZONES, Rule
from utils.core.zones import ZonesConfig
from utils.lease import trouble
from utils.lease.alone import AloneRemote
from utils.lease.keeper import Keeper, NotSwitched, StaleTerm
from utils.lease.memory import MemoryFile
from utils.lease.news import News
from utils.lease.peer import Peer, shown
from utils.ports import Clock, LeaseRemote, Probe
from utils.vault import atomic, locks
from utils.vault.layout import Layout

__all__ = ["NotSwitched", "StaleTerm", "Standing", "UnknownZone", "WorkZones", "check_and_failover", "resolve_zone"]

log = logging.getLogger(__name__)

_DRAIN = 20.0  # seconds that a hand-over waits for the work in hand
_TURN = 60.0  # seconds that a human's switch waits for another process that asks the remote

NO_LEASE = "nobody has taken the lease yet"
ALONE = "alone: the vault has no git remote"
NOBODY = (
    "this node is alone, and a person made the other zone active: nobody does the work of the active zone (mail, social"
    f" posts, accounting). Give the other zone a node with the same git remote, or {command('zones switch ZONE')}"
)
LOST = (
    "the vault has lost its git remote, so this node does no work of the active zone: put .git back, or set the remote"
    f" again (`git remote add`); if this node is to be alone from now on, {command('zones alone')}"
)


class UnknownZone(ValueError):
    """There is no such zone."""

    def __init__(self, zone: str) -> None:
        super().__init__(f"unknown zone {zone!r}; the zones are {', '.join(ZONES)}")


@dataclass(frozen=True)
class Standing:
    """How things stand, as this node knows it: the active zone, our state, the term with when and why it began, and
    what this node waits for before it begins."""

    active_zone: str
    state: State
    term: int
    since: str | None
    reason: str
    pinned: bool
    history: tuple[Mapping[str, Any], ...]
    waits: str = ""


class WorkZones:
    """The zones as one node sees them. Safe to use from several threads and processes at once.

    `remote()` reaches the lease, `has_remote()` says whether the vault has a git remote now, `remote_wanted` whether
    the settings name one. `alert(level, title, message, source=…)` tells the human; `urls` names each zone's API, or an
    empty string; `timeout` (seconds) bounds a question to it.
    """

    def __init__(
        self,
        config: ZonesConfig,
        layout: Layout,
        *,
        this_zone: str,
        mode: str,
        state_dir: Path,
        clock: Clock,
        remote: Callable[[], LeaseRemote],
        has_remote: Callable[[], bool],
        remote_wanted: bool,
        alert: Callable[..., Any],
        probe: Callable[[], Probe],
        urls: Mapping[str, str],
        timeout: float,
    ) -> None:
        self._config = config
        self._here = Here(this_zone, config.initial_holder)
        self._mode = mode
        self._clock = clock
        self._remote = remote
        self._has_remote = has_remote
        self._remote_wanted = remote_wanted
        self._alert = alert
        self._urls = urls
        self._unknown: set[str] = set()
        self._unit = threading.local()
        self._shared = state_dir / "zone_shared"
        self._lock = state_dir / "locks" / "zone.lock"
        self._work_lock = state_dir / "locks" / "zone_work.lock"
        self._memory = MemoryFile(state_dir / "zone.json", clock.monotonic)
        self._memory_alone = MemoryFile(state_dir / "zone_alone.json", clock.monotonic)
        self._news = News(layout, zone=this_zone, clock=clock, alert=alert)
        self._peer = Peer(
            self._here.other,
            url=urls.get(self._here.other, ""),
            probe=probe,
            heartbeat=lambda: rules.seems_alive(self._memory.load(), clock.monotonic(), config.failover),
            timeout=timeout,
            failover=config.failover,
            clock=clock,
            state_dir=state_dir,
            changed=self._tell,
            watched=lambda: rules.looks(self._memory.load(), clock.monotonic(), config.failover),
        )

    # --- what runs where ---------------------------------------------------------------------------------------------

    def resolve_zone(self, task_type: str) -> str:
        """The zone that does `task_type` now: `local`, `cloud` or `both`. One unknown is `local`, warned of once."""
        if task_type not in TASK_TYPES and task_type not in self._unknown:
            self._unknown.add(task_type)
            log.warning("unknown task type %r: local only", task_type)
        return routing.resolve(task_type, self._config.routing, self.active_zone())

    def runs_here(self, task_type: str) -> bool:
        """Whether this node may begin a task of `task_type` now. For work of the active zone it must hold the lease."""
        if routing.rule_for(task_type, self._config.routing) is Rule.ACTIVE:
            return self.state() is State.ACTIVE
        return routing.runs_here(task_type, self._config.routing, self._here.other, self._here.zone)

    @contextmanager
    def at_work(self, task_type: str) -> Iterator[bool]:
        """Do one unit of work inside, where the answer is yes: this node may. A hand-over waits for the end of it."""
        ours = self.runs_here(task_type)
        if not ours or routing.rule_for(task_type, self._config.routing) is not Rule.ACTIVE:
            yield ours  # without the lock: who asks in vain keeps no hand-over waiting
            return
        with locks.share(self._work_lock):
            self._unit.begun = self.runs_here(task_type)
            try:
                yield self._unit.begun
            finally:
                self._unit.begun = False

    def overtaken(self) -> bool:
        """Whether this thread does a unit of work (`at_work`) that the other zone may be at by now: then it stops."""
        if not getattr(self._unit, "begun", False) or self.is_alone():
            return False
        return not rules.may_go_on(self._memory.load(), self._clock.monotonic())

    def active_zone(self) -> str:
        """`local` or `cloud`."""
        return self.standing().active_zone

    def state(self) -> State:
        """How this node stands to the lease now."""
        return self.standing().state

    def standing(self) -> Standing:
        """How things stand now. Asks nobody but this machine."""
        alone = self.is_alone()
        memory = (self._memory_alone if alone else self._memory).load()
        lease = memory.known
        last = memory.history[-1] if memory.history else {}
        if alone:
            elsewhere = lease is not None and lease.pinned and lease.holder != self._here.zone
            active = self._here.other if elsewhere else self._here.zone
            state = State.PINNED if elsewhere else State.ACTIVE
        else:
            active = lease.holder if lease else self._config.initial_holder
            state = State.PASSIVE if self.is_lost() else rules.state(memory, self._here, self._clock.monotonic())
        return Standing(
            active,
            state,
            memory.term,
            last.get("at"),
            lease.reason if lease else ALONE if alone else NO_LEASE,
            lease is not None and lease.pinned,
            memory.history,
            "" if alone else self._waits(memory),
        )

    def _waits(self, memory: rules.Memory) -> str:
        """What this node waits for before it begins, or why nothing changes by itself."""
        now, failover = self._clock.monotonic(), self._config.failover
        return rules.waits_for(memory, self._here, now, failover) or rules.limit_words(memory, now, failover)

    def is_alone(self) -> bool:
        """Whether there is nobody to agree with: the vault has no remote, never had one, and none is configured."""
        return not (self._has_remote() or self._remote_wanted or self._shared.exists())

    def is_lost(self) -> bool:
        """Whether there should be a remote, and is none."""
        return not self._has_remote() and not self.is_alone()

    def other_stopped(self) -> bool:
        """Whether the other zone surely begins no work of the active zone now: this node holds the lease."""
        return not self.is_alone() and self.state() is State.ACTIVE

    # --- keeping the lease -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """After a start of the node: no work of the active zone before the remote has been asked."""
        with self._turn():
            self._keeper.start()

    def renew(self) -> str:
        """Renew the lease where this node holds it, else look how it stands; says what was seen or done."""
        if self.is_alone():
            return self._alone_words()
        with self._turn():
            said = self._keeper.renew()
            self._paint()
        if self.state() is State.UNSURE:
            text = f"{said}. Until it can, {self._here.zone} begins no work of the active zone."
            self._alert("WARNING", f"{self._here.zone} can't renew the zone lease", text, source="zones")
        return said

    def check_and_failover(self) -> str:
        """Look whether the other zone is well, then take the lease, or give it back, where the rules say so."""
        if self.is_alone():
            return self._alone_words()
        seen, words = self._peer.check()
        with self._turn():
            said = self._keeper.check(seen.health.consecutive_failures, seen.successes)
            self._paint()
        if trouble.is_orphaned(self._memory.load(), self._clock.monotonic(), self._config.failover):
            self._alert(
                "CRITICAL", "No zone is active", f"The lease is not renewed. Seen from here: {said}.", source="zones"
            )
        return f"{words}; {said}"

    def switch(
        self, zone: str, *, reason: str, by: str, expected_term: int | None = None, pin: bool = True
    ) -> tuple[Standing, str]:
        """A human makes `zone` active: `(how things stand now, the zone that was active)`. Where a human did so before
        and nothing has changed, nothing does.

        With `pin` the machine never undoes it; without, failover goes on. Raises `UnknownZone`; `StaleTerm` where
        `expected_term` is not the present term; `NotSwitched` where the remote can't be reached. Work in hand is
        finished first: the zone that waits for it begins when that is done, or when a renewal can't hold any more.
        """
        if zone not in ZONES:
            raise UnknownZone(zone)
        why = rules.plain(f"{rules.plain(reason) or 'switched by hand'} (by {by})")
        try:
            with self._turn(_TURN):
                alone, before = self.is_alone(), self.active_zone()
                keeper = self._keeper_alone if alone else self._keeper
                memory, previous = keeper.switch(zone, why, pin=pin, expected_term=expected_term)
                after = self.standing()
                self._paint()
        except locks.Locked:
            raise NotSwitched("the remote is being asked about the zones and does not answer: try again") from None
        return after, before if alone or len(memory.history) == 1 else previous

    def stay_alone(self) -> None:
        """A human says that this node needs no other from now on. Raises `NotSwitched` where there is a remote."""
        if self._has_remote() or self._remote_wanted:
            raise NotSwitched(
                "it is not alone: the vault has a git remote, or VAULT_REMOTE_URL names one; take both away first"
            )
        self._shared.unlink(missing_ok=True)

    # --- told --------------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """The answer of `GET /api/zones/status`."""
        now = self.standing()
        failover = self._config.failover
        failures = self._peer.seen().health.consecutive_failures
        entry = ("at", "from", "to", "term", "reason", "by", "pinned")
        return {
            "this_zone": self._here.zone,
            "mode": self._mode,
            "active_zone": now.active_zone,
            "state": now.state.value,
            "term": now.term,
            "since": now.since,
            "reason": now.reason,
            "pinned": now.pinned,
            "waits": now.waits or None,
            "failover": {
                "enabled": failover.enabled,
                "threshold": failover.threshold,
                "interval_seconds": failover.interval_seconds,
            },
            "zones": {
                zone: {
                    "url": self._urls.get(zone) or None,
                    "consecutive_failures": failures if zone == self._here.other else 0,
                }
                for zone in ZONES
            },
            "routing": {
                task_type: {
                    "rule": routing.rule_for(task_type, self._config.routing).value,
                    "zone": routing.resolve(task_type, self._config.routing, now.active_zone),
                }
                for task_type in TASK_TYPES
            },
            "history": [{name: told[name] for name in entry} for told in reversed(now.history)],
        }

    def health(self) -> dict[str, Any]:
        """The answer of `GET /api/zones/health`: this zone answers, the other one as the last check saw it."""
        own = ServiceHealth(Status.HEALTHY, checked_at=self._clock.now())
        other = self._peer.shown()
        if self.is_alone():
            other = shown(ServiceHealth(error=f"not checked: {ALONE}"), self._peer.method)
        return {"zones": {self._here.zone: shown(own, "http"), self._here.other: other}}

    def doubt(self, zone: str) -> str:
        """Why the work may wait where `zone` is made active; nothing where all seems well."""
        if zone == self._here.zone:
            return ""
        if self.is_alone():
            return NOBODY
        seen = self._peer.shown()
        if seen["healthy"] is not False:
            return ""
        return f"{zone} does not answer, as seen from {self._here.zone} ({seen['error']}): its work waits until it does"

    def trouble(self) -> list[str]:
        """What keeps the zones from working as they should, each with its remedy; empty where all is well."""
        if self.is_alone():
            return [] if self.state() is State.ACTIVE else [NOBODY]
        if self.is_lost():
            return [LOST]
        now = self._clock.monotonic()
        return trouble.found(self._memory.load(), self.state(), self._here.zone, now, self._config.failover)

    # ------------------------------------------------------------------------------------------------------------------

    @contextmanager
    def _turn(self, timeout: float | None = None) -> Iterator[None]:
        """One process at a time asks the remote; that there is one is remembered."""
        with locks.hold(self._lock, timeout=timeout):
            if self._has_remote() and not self._shared.exists():
                atomic.write(
                    self._shared, b"This vault has had a git remote: without it, it is not alone.\n", mode=0o600
                )
            yield

    @cached_property
    def _keeper(self) -> Keeper:
        return self._make_keeper(
            self._remote(), self._memory, self._lay_down, preferred=self._config.initial_holder, tell=self._news.change
        )

    @cached_property
    def _keeper_alone(self) -> Keeper:
        """Nobody takes the work over, so nothing has to be laid down first."""

        def tell(entry: Mapping[str, Any]) -> None:
            self._news.change(entry, self.doubt(entry["to"]))

        store = self._memory_alone
        return self._make_keeper(AloneRemote(store), store, lambda: True, preferred=self._here.zone, tell=tell)

    def _make_keeper(
        self,
        remote: LeaseRemote,
        store: MemoryFile,
        lay_down: Callable[[], bool],
        *,
        preferred: str,
        tell: Callable[[Mapping[str, Any]], None],
    ) -> Keeper:
        return Keeper(
            remote,
            store,
            zone=self._here.zone,
            preferred=preferred,
            failover=self._config.failover,
            clock=self._clock,
            lay_down=lay_down,
            tell=tell,
            warn=self._news.warn,
        )

    def _lay_down(self) -> bool:
        """Wait for the work in hand; no other begins, for the memory says already that this node is not active."""
        try:
            with locks.hold(self._work_lock, timeout=_DRAIN):
                return True
        except locks.Locked:
            return False

    def _alone_words(self) -> str:
        return f"{ALONE}, {self.active_zone()} is active"

    def _paint(self) -> None:
        now = self.standing()
        self._news.paint(
            active=now.active_zone,
            state=now.state,
            term=now.term,
            since=now.since,
            reason=now.reason,
            pinned=now.pinned,
        )

    def _tell(self, change: Change) -> None:
        """The other zone went down, or is back."""
        if not change.down:
            text = f"It failed {change.failures} checks in a row."
            self._alert("INFO", f"{change.service} is back", text, source="zones")
            return
        text = f"{change.failures} checks in a row failed: {change.error}."
        now = self.standing()
        if change.service != now.active_zone:
            self._alert("WARNING", f"{change.service} does not answer", f"{text} It is passive.", source="zones")
            return
        if not now.term:  # the first node of two, set up a while ago
            follows = f" {self._here.zone} stands in for it." if self._config.failover.enabled else ""
            self._alert("WARNING", f"{change.service} has not come yet", f"{text}{follows}", source="zones")
            return
        failover = self._config.failover
        limit = rules.limit_words(self._memory.load(), self._clock.monotonic(), failover)
        follows = (
            f"{self._here.zone} takes over once its lease is no longer renewed"
            if failover.enabled and not now.pinned and not limit
            else f"{f'Nobody takes over: {limit}. ' if limit else ''}Its work waits. Switch by hand: POST"
            f' /api/zones/switch {{"zone": "{self._here.zone}"}}'
        )
        self._alert(
            "CRITICAL",
            f"{change.service} does not answer",
            f"{text} It is the active zone. {follows}.",
            source="zones",
        )


def resolve_zone(task_type: str) -> str:
    """The zone that does `task_type` now, by the settings of the environment: `local`, `cloud` or `both`."""
    from utils.bootstrap import Services

    return Services.from_environment().zones.resolve_zone(task_type)


def check_and_failover() -> str:
    """Check the other zone and fail over where it is due, by the settings of the environment; see
    `WorkZones.check_and_failover`."""
    from utils.bootstrap import Services

    return Services.from_environment().zones.check_and_failover()
