"""What simulated executions are made of: the counts, an act, and a hand that may see little of what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
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
class Act:
    """One act in the world."""

    action_id: str
    request_id: str
    draft: str


class Hand:
    """Acts in one step, or makes a draft ready first; sees `all` that it did, `some` of it, or `nothing`."""

    provider = "made-up"

    def __init__(self, world: World, *, two_steps: bool, sight: str) -> None:
        self.world = world
        self.two_steps = two_steps
        self.sight = sight

    def plan(self, order: Order) -> Plan:
        return Plan(f"ref {order.action_id}", (ANN,), (("To", ANN),))

    def act(self, order: Order, plan: Plan, prepared: Callable[[str], None]) -> Receipt:
        draft = order.prepared
        if self.two_steps and not draft:
            self.world.step()
            self.world.drafts += 1
            draft = f"draft {self.world.drafts}"
            self.world.step()
            prepared(draft)
        return self.world.act(order, draft)

    def find(self, order: Order, plan: Plan) -> Receipt | Absence:
        self.world.step()
        if self.world.stormy and self.world.dice.random() < 0.1:
            raise AdapterError("the evidence can't be reached", retry=True)
        for act in self.world.ledger if self.sight != "nothing" else ():
            if (act.draft == order.prepared) if self.two_steps else (act.action_id == order.action_id):
                return Receipt(self.provider, act.action_id, "found")
        return Absence.PROVEN if self.sight == "all" else Absence.OPEN
