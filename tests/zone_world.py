"""Two nodes, one remote and bad weather, in simulated time: the real `Keeper` and the real rules, the world made up.

A schedule is drawn from its seed: drifting clocks, suspends, partitions, crashes before and after every call, pushes
whose answer is lost or that land late, lost state, a remote that is rolled back, switches by hand, failback. `play`
plays one and raises `Broken` where a promise of the lease does not hold. What a node may do is judged by what its other
processes read: the stored memory and the machine's clock, whether the process that keeps the lease lives or not.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from utils.core import lease as zones
from utils.core.lease import By, Here, Lease, Memory, Sight, State, lease_from_text
from utils.core.routing import ZONES
from utils.core.zones import Failover
from utils.lease.keeper import Keeper, NotSwitched, StaleTerm
from utils.ports import AdapterError

MINUTE = 60.0
HEALED = 8 * MINUTE
DRIFT = 0.04  # the margin of 30 s in 270 bears two clocks that differ by a tenth


class Broken(AssertionError):
    """A promise of the lease does not hold."""


class Crash(BaseException):
    """The process dies here."""


@dataclass
class Weather:
    """How likely trouble is at each call, now."""

    lost: float = 0.0
    late: float = 0.0
    slow: float = 0.0
    crash: float = 0.0


@dataclass
class Node:
    """One machine: its clock, its disk, its link to the remote, and the process that keeps the lease."""

    world: World
    zone: str
    rate: float
    heartbeat_only: bool
    rules: Failover
    booted: float = 0.0
    memory: Memory = field(default_factory=Memory)
    boots: int = 0
    kept_in: int = 0  # the boot in which the memory was saved last
    on: bool = True
    up: bool = True  # the process
    asleep: bool = False
    linked: bool = True
    busy: bool = False
    failures: int = 0
    successes: int = 0
    task_ends: float = 0.0  # of the work in hand; one that never returns ends never
    epoch: int = 0  # a restart makes jobs of the old process void

    def __post_init__(self) -> None:
        self.keeper = Keeper(
            self,
            self,
            zone=self.zone,
            preferred="cloud",
            failover=self.rules,
            clock=self,
            lay_down=self.lay_down,
            tell=lambda entry: None,
            warn=self.warn,
        )

    def warn(self, title: str, text: str) -> None:
        if title.startswith("Another machine") and self.world.rolled_back is None:
            raise Broken(f"{self.zone} takes its own work for another's")

    # clock
    def now(self) -> datetime:
        return datetime(2026, 6, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return (self.world.time - self.booted) * self.rate + 100

    # store
    def load(self) -> Memory:
        return self.memory if self.kept_in == self.boots else zones.rebooted(self.memory, self.monotonic())

    def save(self, memory: Memory) -> Memory:
        self.maybe_crash()
        if not memory.node:
            memory = replace(memory, node=self.world.name())
        if not memory.nonce:
            memory = replace(memory, nonce=self.world.name())
        self.memory, self.kept_in = memory, self.boots
        self.world.judge()
        self.maybe_crash()
        return memory

    # remote
    def look(self) -> Sight:
        self.maybe_crash()
        self.need_link()
        self.world.pass_time(self, self.world.draw.uniform(0, 2))
        self.need_link()
        text = self.world.ref
        return Sight(text, text, dict(self.world.beats))

    def push(self, text: str, expected: str | None) -> str | None:
        world, draw, weather = self.world, self.world.draw, self.world.weather
        self.maybe_crash()
        self.need_link()
        world.pass_time(self, draw.uniform(0, 2))
        if draw.random() < weather.late:
            world.at(world.time + draw.expovariate(1 / (20 * MINUTE)), lambda: world.land(text, expected))
            raise AdapterError("no answer, and it lands later", retry=True)
        self.need_link()
        landed = world.land(text, expected)
        if landed:
            world.beats[self.zone] = world.name()
        if draw.random() < weather.slow:
            world.pass_time(self, draw.choice((20.0, 45.0, 300.0)))
        self.maybe_crash()
        if not self.linked or draw.random() < weather.lost:
            raise AdapterError("no answer", retry=True)
        return text if landed else None

    def beat(self) -> None:
        self.maybe_crash()
        self.need_link()
        self.world.beats[self.zone] = self.world.name()

    def need_link(self) -> None:
        if not self.linked:
            raise AdapterError("the remote can't be reached", retry=True)

    def maybe_crash(self) -> None:
        if self.world.weather.crash and self.world.draw.random() < self.world.weather.crash:
            raise Crash

    # life
    @property
    def here(self) -> Here:
        return Here(self.zone, "cloud")

    @property
    def works(self) -> bool:
        """Whether it may begin something, or has something in hand that may take a step."""
        if self.on and self.world.time < self.task_ends and zones.may_go_on(self.load(), self.monotonic()):
            return True
        return self.active

    def take_task(self) -> None:
        """Another process of the machine begins a task where it may, for seconds, minutes, or for ever."""
        if self.active and self.world.time >= self.task_ends:
            draw = self.world.draw
            self.task_ends = self.world.time + draw.choice((draw.expovariate(1 / MINUTE), 10 * MINUTE, 1e9))

    def lay_down(self) -> bool:
        self.world.pass_time(self, min(20.0, max(0.0, self.task_ends - self.world.time)))
        return self.world.time >= self.task_ends

    @property
    def active(self) -> bool:
        if not self.on:
            return False
        return zones.state(self.load(), self.here, self.monotonic()) is State.ACTIVE

    def run(self, job: Callable[[], object]) -> None:
        """Run a job of the process; one that dies is started again after a while."""
        if self.busy or not self.on or not self.up or self.asleep:
            return
        self.busy = True
        try:
            job()
        except Crash:
            self.up = False
            self.world.at(self.world.time + self.world.draw.uniform(1, 3 * MINUTE), self.start)
        except (NotSwitched, StaleTerm):
            pass
        finally:
            self.busy = False
        self.world.judge()

    def start(self) -> None:
        if self.on and not self.up:
            self.up = True
            self.begin()

    def begin(self) -> None:
        """The process starts: passive first, then its jobs, at once and for ever."""
        self.epoch += 1
        self.failures = self.successes = 0
        self.run(self.keeper.start)
        rules, epoch = self.rules, self.epoch
        self.every(rules.renew_seconds, self.keeper.renew, epoch)
        self.every(rules.interval_seconds, self.check, epoch)

    def every(self, seconds: float, job: Callable[[], object], epoch: int) -> None:
        def turn() -> None:
            if epoch == self.epoch and self.on:
                self.run(job)
                self.world.at(self.world.time + seconds * self.world.draw.uniform(0.9, 1.1), turn)

        self.world.at(self.world.time + self.world.draw.uniform(0, 3), turn)

    def check(self) -> None:
        other = self.world.other(self)
        if self.heartbeat_only:
            alive = zones.seems_alive(self.load(), self.monotonic(), self.rules)
        else:
            alive = other.on and not other.asleep and not self.world.apart
        if alive is not None:
            self.failures, self.successes = (0, self.successes + 1) if alive else (self.failures + 1, 0)
        self.keeper.check(self.failures, self.successes)

    def power_off(self, seconds: float) -> None:
        self.task_ends = 0.0
        self.on = self.up = False
        self.epoch += 1

        def boot() -> None:
            if not self.on:
                self.on, self.booted = True, self.world.time
                self.boots += 1
                self.start()

        self.world.at(self.world.time + seconds, boot)


class World:
    """The remote, both nodes, and the time."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        draw = self.draw
        self.rules = Failover(failback=draw.random() < 0.3, window_seconds=draw.choice((20, 60)) * MINUTE)
        self.time = 0.0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.count = 0
        self.ref: str | None = None
        self.beats: dict[str, str] = {}
        self.weather = Weather()
        self.apart = False  # the nodes can't reach each other
        self.rolled_back: float | None = None  # when: the witness itself lied, so both may be active for one more TTL
        self.terms: dict[int, tuple[str, str]] = {}
        self.past: list[str] = []
        self.automatic: list[float] = []
        self.last: Lease | None = None
        self.decisions = 0
        self.nodes = [
            Node(
                self,
                zone,
                1 + draw.uniform(-DRIFT, DRIFT),
                zone == "cloud" or draw.random() < 0.3,
                replace(self.rules, ttl_seconds=120.0) if draw.random() < 0.05 else self.rules,
            )
            for zone in ZONES
        ]

    def name(self) -> str:
        self.count += 1
        return f"n{self.count}"

    def other(self, node: Node) -> Node:
        return next(other for other in self.nodes if other is not node)

    def at(self, time: float, event: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.events, (time, self.count, event))

    def run_until(self, end: float) -> None:
        while self.events and self.events[0][0] <= end:
            time, _, event = heapq.heappop(self.events)
            self.time = max(self.time, time)
            event()
            self.judge()
        self.time = max(self.time, end)

    def pass_time(self, node: Node, seconds: float) -> None:
        """What happens elsewhere while `node` waits for an answer."""
        self.run_until(self.time + seconds)

    # --- the remote, and what must hold of it

    def land(self, text: str, expected: str | None) -> bool:
        if self.ref != expected:
            return False
        new, old = lease_from_text(text), self.last
        if old is not None and self.rolled_back is None:
            if new.term < old.term:
                raise Broken(f"the term went back from {old.term} to {new.term}")
            if new.term == old.term and new.holder != old.holder:
                raise Broken(f"two holders in term {new.term}")
            if new.term == old.term and old.node and new.node != old.node:
                raise Broken(f"two nodes hold the lease in term {new.term}")
            if old.pinned and new.holder != old.holder and new.by is not By.HUMAN:
                raise Broken(f"{new.by} undid what a human switched")
        if old is not None and new.term > old.term and new.holder != old.holder and new.by is not By.HUMAN:
            if new.by is By.START and old.by is not By.STAND_IN:
                raise Broken("a zone that comes first comes but once")
            if new.by not in (By.AGAIN, By.START):
                self.automatic.append(self.time)
            window = self.rules.window_seconds / (1 + DRIFT) - 1
            count = sum(self.time - at < window for at in self.automatic)
            if count > self.rules.most_switches:
                raise Broken(f"{count} automatic switches within {window:g} s")
        if new.by is By.HUMAN:
            self.automatic.clear()
        self.ref, self.last = text, new
        self.past.append(text)
        return True

    def judge(self) -> None:
        self.decisions += 1
        lied = self.rolled_back is not None and self.time - self.rolled_back < self.rules.ttl_seconds * (1 + 2 * DRIFT)
        if not lied and all(node.works for node in self.nodes):
            raise Broken(f"both zones are at work at {self.time:.0f} s")


def trouble(world: World, rare: bool) -> None:
    """One thing that goes wrong, or that a person does."""
    draw, node = world.draw, world.draw.choice(world.nodes)
    long = draw.choice((30.0, 3 * MINUTE, 10 * MINUTE))
    kind = draw.choice(("cut", "apart", "off", "sleep", "die", "human", "storm", "storm", "lose" if rare else "cut",
                        "back" if rare else "human"))  # fmt: skip
    if kind == "cut":
        hit = draw.choice(([node], world.nodes))
        for one in hit:
            one.linked = False
        world.at(world.time + long, lambda: [setattr(one, "linked", True) for one in hit] and None)
    elif kind == "apart":
        world.apart = True
        world.at(world.time + long, lambda: setattr(world, "apart", False))
    elif kind == "off":
        if node.on and not node.busy:
            node.power_off(long)
    elif kind == "sleep":
        node.asleep = True
        world.at(world.time + long, lambda: setattr(node, "asleep", False))
    elif kind == "die":
        if node.up and not node.busy:
            node.up = False
            node.epoch += 1
            world.at(world.time + long, node.start)
    elif kind == "human":
        zone, pin = draw.choice(ZONES), draw.random() < 0.5
        node.run(lambda: node.keeper.switch(zone, "a human says so", pin=pin, expected_term=None))
    elif kind == "storm":
        world.weather = Weather(*(draw.choice((0, 0, 0.1, 0.3)) for _ in range(3)), draw.choice((0, 0, 0.02, 0.05)))
        world.at(world.time + long, lambda: setattr(world, "weather", Weather()))
    elif kind == "lose":
        if node.on and not node.busy:
            node.memory = Memory()
            node.epoch += 1
            node.up = False
            world.at(world.time + 5, node.start)
    elif kind == "back" and world.past and not any(one.busy for one in world.nodes):
        world.rolled_back = world.time
        world.ref = draw.choice([*world.past, None])


def play(seed: int, *, minutes: float = 40) -> World:
    """One schedule. Raises `Broken`; returns the world at its end."""
    world = World(seed)
    draw = world.draw
    rare = draw.random() < 0.15
    for node in world.nodes:
        if draw.random() < 0.9:
            node.begin()
        else:  # comes later, or never came before
            node.on = node.up = False
            node.power_off(draw.uniform(0, 15 * MINUTE))
    if draw.random() < 0.5:
        for node in world.nodes:
            for _ in range(draw.randint(1, 20)):
                world.at(draw.uniform(0, minutes * MINUTE), node.take_task)
    for _ in range(draw.randint(1, 7)):
        world.at(draw.uniform(0, minutes * MINUTE), lambda: trouble(world, rare))
    world.run_until(minutes * MINUTE)
    heal(world)
    return world


def heal(world: World) -> None:
    """Everything is well again: within eight minutes exactly one zone is active, and stays so."""
    world.weather, world.apart = Weather(), False
    for node in world.nodes:
        node.linked, node.asleep, node.task_ends = True, False, 0.0
        if not node.on:
            node.on, node.booted = True, world.time
            node.boots += 1
        node.start()
    world.events = [event for event in world.events if event[0] < world.time + 5 * MINUTE]  # no old push lands after
    world.run_until(world.time + HEALED + (HEALED if world.rolled_back is not None else 0))
    handing_over = world.time + 2 * MINUTE
    while not any(node.active for node in world.nodes) and world.time < handing_over:
        world.run_until(world.time + 10)
    if not any(node.active for node in world.nodes):
        stands = [
            (node.zone, zones.state(node.load(), node.here, node.monotonic()), node.load()) for node in world.nodes
        ]
        raise Broken(f"all is well and no zone is active: {stands}")
