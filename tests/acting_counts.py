"""What simulated executions are made of: the counts, an act, and a hand that may see little of what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING

from tests.acting_ground import ANN
from utils.core.acting import Absence, Order, Plan, Receipt
from utils.ports import AdapterError

if TYPE_CHECKING:
    from tests.acting_world import World


@dataclass
class Counts:
    """What was played."""

    histories: int = 0
    approvals: int = 0
    acts: int = 0
    kills: int = 0
    turns: int = 0  # that another process had in the middle of one
    faults: int = 0
    late: int = 0  # tries after a proven failure that happened, got lost, and are told of late
    done: int = 0
    failed: int = 0
    unknown: int = 0
    void: int = 0
    steps: int = 0

    def add(self, other: Counts) -> None:
        """Count what another process played."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def __str__(self) -> str:
        return ", ".join(f"{one.name} {getattr(self, one.name):,}" for one in fields(self))


@dataclass(frozen=True)
class News:
    """What the world tells of a try, by its mark, and from when on: of webhooks, which come when they come."""

    mark: str
    happened: bool
    at: datetime


@dataclass(frozen=True)
class Act:
    """One act in the world."""

    action_id: str
    request_id: str
    draft: str


class Hand:
    """Acts in one step, or makes a draft ready first; sees `all` that it did, `some` of it, or `nothing`.

    Or it sees nothing by itself and is `told`: of a lost try that it failed or that it happened, at once or late.
    """

    provider = "made-up"

    def __init__(self, world: World, *, two_steps: bool, sight: str) -> None:
        self.world = world
        self.two_steps = two_steps and sight != "told"
        self.sight = sight

    def plan(self, order: Order) -> Plan:
        mark = order.mark if self.sight == "told" else f"ref {order.action_id}"
        return Plan(mark, (ANN,), (("To", ANN),))

    def act(self, order: Order, plan: Plan, prepared: Callable[[str], None]) -> Receipt:
        draft = order.prepared
        if self.two_steps and not draft:
            self.world.step()
            self.world.drafts += 1
            draft = f"draft {self.world.drafts}"
            self.world.step()
            prepared(draft)
        return self.world.act(order, draft, plan.reference)

    def find(self, order: Order, plan: Plan) -> Receipt | Absence:
        self.world.step()
        if self.world.stormy and self.world.dice.random() < 0.1:
            raise AdapterError("the evidence can't be reached", retry=True)
        if self.sight == "told":
            return self._told_of(order.reference)
        for act in self.world.ledger if self.sight != "nothing" else ():
            if (act.draft == order.prepared) if self.two_steps else (act.action_id == order.action_id):
                return Receipt(self.provider, act.action_id, "found")
        return Absence.PROVEN if self.sight == "all" else Absence.OPEN

    def _told_of(self, mark: str) -> Receipt | Absence:
        """As webhooks are read: a failure is proof where nothing else is told."""
        told = {one.happened for one in self.world.news if one.mark == mark and one.at <= self.world.clock.now()}
        if True in told:
            return Receipt(self.provider, mark, "told")
        return Absence.PROVEN if told else Absence.OPEN
