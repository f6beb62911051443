"""The zone lease in bad weather: schedules of drift, suspend, partition, crash, lost answers (`tests.zone_world`)."""

from __future__ import annotations

import pytest

from tests.zone_world import MINUTE, Broken, World, play
from utils.core import lease as rules

SCHEDULES = 20_000
BATCHES = 40


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_schedule_breaks_a_promise_of_the_lease(batch: int) -> None:
    size = SCHEDULES // BATCHES
    for seed in range(batch * size, (batch + 1) * size):
        try:
            play(seed)
        except Broken as broken:
            pytest.fail(f"schedule {seed}: {broken}")


def broken_by(schedules: int) -> bool:
    for seed in range(schedules):
        try:
            play(seed)
        except Broken:
            return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_patience", lambda memory, failover: 60.0),  # takes over before the holder must have stopped
        ("_unchanged", lambda memory, now, failover: True),  # does not look whether the holder renews
        ("recent", lambda memory, now, failover: ()),  # never freezes
        ("laid_down", lambda memory: memory),  # works on while it hands over
    ],
)
def test_a_broken_rule_is_noticed(name: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, name, value)
    assert broken_by(3_000), f"a broken {name} shows nowhere"


def test_a_schedule_is_the_same_each_time_it_is_played() -> None:
    assert play(7).past == play(7).past


@pytest.mark.parametrize("seed", range(30))
def test_when_the_active_zone_is_gone_for_good_the_other_one_takes_over_within_twelve_minutes(seed: int) -> None:
    world = World(seed)
    local, cloud = world.nodes
    for node in world.nodes:
        node.begin()
    world.run_until(10 * MINUTE)
    assert (local.active, cloud.active) == (False, True)
    cloud.power_off(1e9)
    world.run_until(10 * MINUTE + 12 * MINUTE)
    assert local.active
    assert local.load().history[-1]["by"] == "failover"
