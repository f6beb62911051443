"""R2: random crash histories of the executor (`tests.acting_world`): no act twice, none unnoticed, none not approved.

`python -m tests.soak --executions 1000000` plays more, from a random seed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from tests.acting_counts import Counts, Hand
from tests.acting_ground import NO_CAPS, Broken, Ground, laid
from tests.acting_world import World, play
from utils.execution.journal import State

HISTORIES, BATCHES = 2_000, 4


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with laid() as ground:
        yield ground


@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_history_acts_twice_or_loses_an_act(ground: Ground, batch: int) -> None:
    counts = Counts()
    size = HISTORIES // BATCHES
    for seed in range(batch * size, (batch + 1) * size):
        try:
            counts.add(play(ground, seed))
        except Broken as broken:
            pytest.fail(f"history {seed}: {broken}")
    print(counts)
    assert min(counts.acts, counts.kills, counts.turns, counts.faults, counts.done, counts.void) > size / 10
    assert counts.failed and counts.unknown, "a storm that does no harm shows nothing"
    assert counts.late, "no second try happened while only the failure of the first was told"


def test_a_history_is_the_same_each_time_it_is_played(ground: Ground) -> None:
    worlds = []
    for _ in range(2):
        worlds.append(World(ground, 7))
        worlds[-1].play()
    assert worlds[0].past == worlds[1].past and worlds[0].counts == worlds[1].counts


def test_a_doubled_act_is_noticed(ground: Ground) -> None:
    world = World(ground, 8)
    world.event("cycle")
    world.event("approve")
    world.event("cycle")
    world.ledger *= 2
    with pytest.raises(Broken, match="carried out 2 times"):
        world._judge()


def test_an_outcome_that_a_human_settles_while_it_is_told_is_told_too(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random histories come to this once in thousands: what the human says falls between the alert and its mark."""
    world = World(ground, 9)
    world.options |= {"undo_seconds": 0.0, "zones": ground.with_zones(NO_CAPS)}
    monkeypatch.setattr(world, "_fault", lambda tries: "lost after")
    monkeypatch.setattr(world, "_hand", Hand(world, two_steps=False, sight="nothing"))
    real = world._alert

    def alert(level: str, title: str, message: str, *, source: str = "") -> None:
        real(level, title, message, source=source)
        if level == "CRITICAL":
            world.event("settle")

    monkeypatch.setattr(world, "_alert", alert)
    for event in ("cycle", "approve", "cycle"):
        world.event(event)
    (settled,) = world.services("judge").store.in_state(State.DONE)
    assert not settled.filed, "it is told as it was, and the executor has yet to see that it changed"
    monkeypatch.undo()
    world._settle_down()
    world._judge()


def test_what_is_played_on_is_the_real_journal(ground: Ground) -> None:
    """The ground's tables are made by the program, and a kill in a commit takes all of it back."""
    assert {"actions", "events", "seen"} <= set(ground.tables)
    assert isinstance(ground.database, sqlite3.Connection) and not ground.database.in_transaction
