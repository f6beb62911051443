"""R2 with real processes: kill -9 before system calls of watcher, MCP client and e-mail server (`tests.kills`).

A sample of 60; `KILL_SAMPLES=0` takes every call, and as many random second kills (a quarter of an hour on two cores).
"""

from __future__ import annotations

import os

import pytest

from tests.kills import ROLES, first_kills, numbered, office
from tests.strace import spread

SAMPLE = int(os.environ.get("KILL_SAMPLES", "60"))
PARTS = 4
pytestmark = [pytest.mark.slow, pytest.mark.e2e]


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_before_any_system_call_that_changes_something(part: int) -> None:
    with office() as played:
        points = played.points()
        assert {kill.role for kill in points} == set(ROLES) and len(points) > 100
        single = len(first_kills(points))
        numbers = [*spread(range(single), SAMPLE * 4 // 5), *range(single, single + (SAMPLE // 5 or single))]
        kills = [numbered(points, number) for number in numbers]
        for kill in kills[part::PARTS]:
            played.play(kill)
        print(played.killed, dict(played.ends))
        assert played.killed >= len(kills[part::PARTS]) * 3 // 4, "strace counts otherwise than this test"
        assert played.ends["done"]
