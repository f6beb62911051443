"""Work that its agent will not finish goes back to the start: one's own at once, the other zone's by the lease only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.claim_kit import claimed_by_the_dead, living
from tests.conftest import FakeClock
from utils.bootstrap import Services
from utils.claim_task import Claims
from utils.core.stages import Stage
from utils.core.task import make_id, request_id
from utils.dispatch.leftovers import Leftovers


class Zones:
    """Accounting is done by the active zone, payments by Local, monitoring by both."""

    def __init__(self, active: str) -> None:
        self.active = active

    def resolve_zone(self, task_type: str) -> str:
        return {"accounting": self.active, "payments": "local", "system_monitoring": "both"}[task_type]


class Desk:
    """A node with a task that it, or the other zone, left in progress."""

    def __init__(self, node: Services, clock: FakeClock, active: str) -> None:
        self.node, self.clock, self.zones = node, clock, Zones(active)
        self.agent = node.settings.agent_name

    def waiting(self, task_type: str, domain: str = "accounting") -> Path:
        meta = {
            "id": make_id(domain, self.clock.now(), task_type),
            "type": task_type,
            "domain": domain,
            "created": self.clock.now().isoformat(),
            "created_by": "test",
            "priority": "normal",
            "source": {},
        }
        return self.node.claims.create(Stage.NEEDS_ACTION, meta, "do it\n")

    def left(self, task_type: str, agent: str = "") -> Path:
        """Claimed by a process of `agent` that died."""
        s = self.node.settings
        claims = Claims(self.node.layout, s.state_dir, self.clock, agent or self.agent)
        return claimed_by_the_dead(claims, self.waiting(task_type))

    def run(self, **other_stopped: Callable[[], bool]) -> str:
        n = self.node
        return Leftovers(n.layout, n.claims, self.zones, agent=self.agent, **other_stopped).run()


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Callable[..., Desk]:
    return lambda agent, active: Desk(make_node(agent, clock=clock), clock, active)


@pytest.mark.parametrize("agent", ["local", "cloud"])
def test_what_a_node_left_and_no_longer_does_goes_back(desk: Callable[..., Desk], agent: str) -> None:
    here = desk(agent, "cloud" if agent == "local" else "local")
    ours, both = here.left("accounting"), here.left("system_monitoring")
    assert here.run() == "handed over: 1"
    assert not ours.exists() and both.exists()
    [back] = here.node.layout.files(Stage.NEEDS_ACTION)
    assert back.name == ours.name
    assert here.run() == ""


def test_what_stays_is_not_searched_for_requests(desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    here = desk("local", "local")
    here.left("accounting")
    looked: list[Stage] = []
    files = type(here.node.layout).files
    monkeypatch.setattr(
        type(here.node.layout), "files", lambda self, stage, **more: looked.append(stage) or files(self, stage, **more)
    )
    assert here.run() == ""
    assert set(looked) == {Stage.IN_PROGRESS}


def test_what_a_living_process_works_on_is_not_taken_from_it(desk: Callable[..., Desk]) -> None:
    here = desk("local", "cloud")
    path = here.waiting("accounting")
    with living(lambda: here.node.claims.claim(path)):
        assert here.run() == ""
    assert here.run() == "handed over: 1"


def test_what_the_cloud_left_waits_for_the_lease(desk: Callable[..., Desk]) -> None:
    here = desk("local", "local")
    theirs = here.left("accounting", "cloud")
    monitoring = here.left("system_monitoring", "cloud")
    assert here.run() == "", "without a lease nobody knows that the Cloud has stopped"
    assert here.run(other_stopped=lambda: False) == "" and theirs.exists()
    assert here.run(other_stopped=lambda: True) == "taken over: 1"
    assert not theirs.exists()
    assert monitoring.exists(), "a passive Cloud goes on with what both zones do"


def test_what_is_the_clouds_turn_is_not_taken_over(desk: Callable[..., Desk]) -> None:
    here = desk("local", "cloud")
    here.left("accounting", "cloud")
    assert here.run(other_stopped=lambda: True) == ""


def test_the_cloud_touches_nothing_of_locals(desk: Callable[..., Desk]) -> None:
    here = desk("cloud", "cloud")
    theirs = here.left("accounting", "local")
    assert here.run(other_stopped=lambda: True) == "" and theirs.exists()


@pytest.mark.parametrize("what", ["plan", "request"])
@pytest.mark.parametrize("agent", ["local", "cloud"])
def test_what_waits_for_a_decision_stays(desk: Callable[..., Desk], what: str, agent: str) -> None:
    here = desk("local", "cloud" if agent == "local" else "local")
    left, layout = here.left("accounting", agent), here.node.layout
    answer = layout.plan("accounting", left.stem)
    if what == "request":
        name = f"{request_id(left.stem, 'invoice')}.md"
        answer = layout.folder(Stage.PENDING_APPROVAL, domain="accounting") / name
    answer.parent.mkdir(parents=True, exist_ok=True)
    answer.write_text("waits for the human\n")
    assert here.run(other_stopped=lambda: True) == "" and left.exists()
    answer.unlink()
    assert here.run(other_stopped=lambda: True) != ""
