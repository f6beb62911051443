"""Failover never widens permission (S5): every task type and every action, in every zone state, asked as the Cloud."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.server.mcpserver.exceptions import ToolError

from mcp_servers import acting
from tests.conftest import FakeClock
from tests.fakes.desk import Desk, World, sha
from utils.bootstrap import Services
from utils.core.lease import State
from utils.core.policy import ACTIONS, refusal
from utils.core.routing import BOTH, CLOUD, LOCAL, LOCAL_ONLY_TYPES, TASK_TYPES, ZONES, Rule, resolve, runs_here
from utils.core.stages import Stage
from utils.work_zones import WorkZones

#: No setting and no person can write these for a known type.
UNKNOWN = ("teleport", "", "Payments", "payments ", "email_processing\n")
STATES = (
    "as at the first start",
    "a human chose Local",
    "a human chose Cloud",
    *(f"{zone} is active, this node is {state}" for zone in ("Local", "Cloud") for state in State),
)


def in_state(zones: WorkZones, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bring one node's zones into a state, by their public methods."""
    zone = CLOUD if "Cloud" in state else LOCAL
    if "human" in state:
        zones.switch(zone, reason="a test", by="test")
    elif "active" in state:  # however that came to be: by failover, by a lease, by a split brain
        seen = replace(zones.standing(), active_zone=zone, state=State(state.split()[-1]))
        monkeypatch.setattr(zones, "standing", lambda: seen)


@given(
    st.dictionaries(st.sampled_from([*TASK_TYPES, *UNKNOWN[1:]]), st.sampled_from(list(Rule))),
    st.sampled_from(ZONES),
)
def test_no_routing_table_and_no_active_zone_sends_local_only_work_to_the_cloud(
    table: dict[str, Rule], active: str
) -> None:
    for task_type in (*LOCAL_ONLY_TYPES, "teleport"):
        assert resolve(task_type, table, active) == LOCAL
        assert not runs_here(task_type, table, active, CLOUD)
        assert runs_here(task_type, table, active, LOCAL)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("task_type", [*TASK_TYPES, *UNKNOWN])
def test_every_type_in_every_zone_state_as_cloud(
    make_node: Callable[..., Services], clock: FakeClock, monkeypatch: pytest.MonkeyPatch, task_type: str, state: str
) -> None:
    zones = make_node("cloud", clock=clock, ready=False).zones
    in_state(zones, state, monkeypatch)
    zone, here = zones.resolve_zone(task_type), zones.runs_here(task_type)
    if task_type in LOCAL_ONLY_TYPES or task_type not in TASK_TYPES:
        assert (zone, here) == (LOCAL, False)
    elif task_type == "system_monitoring":
        assert (zone, here) == (BOTH, True)
    else:
        assert zone in ZONES and here == (zones.state() is State.ACTIVE)
    if zone == CLOUD:
        assert zones.active_zone() == CLOUD


FIELDS = {
    "to": ["ann@example.org"],
    "subject": "Hello",
    "in_reply_to": "<q1@example.org>",
    "source_message": "<q1@example.org>",
    "image": "launch.png",
    "payee": "ACME",
    "amount": "10.00",
    "currency": "EUR",
    "reference": "2026-1",
    "partner": "ACME",
    "lines": [{"text": "Work", "amount": "10.00"}],
    "due_date": "2026-07-01",
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_in_every_zone_state_is_refused_in_all_three_places(
    make_node: Callable[..., Services], clock: FakeClock, monkeypatch: pytest.MonkeyPatch, action: str, state: str
) -> None:
    """Even where a valid approval record lies on the node."""
    desk = Desk(make_node, clock, World())
    spec = ACTIONS[action]
    fields = {name: FIELDS[name] if name in spec.required else None for name in ("to", "subject", "in_reply_to")}
    fields |= {name: FIELDS[name] for name in spec.required} | {"references": None}
    if action == "forward_email":
        fields["subject"] = "Fwd: Hello"
    path = desk.request(action=action, **fields)
    record = desk.approvals.approve(path.stem, sha(path), by="anna")
    desk._settings["AGENT_MODE"] = "draft_only"
    desk.restart()
    in_state(desk.node.zones, state, monkeypatch)

    assert "draft-only" in str(refusal(desk.node.settings.agent_mode, action))
    assert desk.cycle().startswith("draft-only: 1")
    server = acting.Desk(desk.node)
    for tool in ACTIONS:
        with pytest.raises(ToolError, match="draft-only"):
            server.act(tool, record.action_id)
    assert desk.world.calls == 0
    assert desk.places(path.name) == ["Approved"], "left for Local"


@pytest.mark.parametrize("mode", ["draft_only", "", "FULL", "full ", "local"])
def test_anything_but_full_is_no_permission(mode: str) -> None:
    assert all(refusal(mode, action) for action in ACTIONS)
    assert refusal("full", "teleport")


def test_the_cloud_claims_nothing_that_is_local_only(
    make_node: Callable[..., Services], clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dispatcher itself, with a handler for everything: what it takes is what the zones say, no more."""
    cloud = make_node("cloud", clock=clock)
    taken: list[str] = []

    def take(path: Path, task: object) -> str:
        taken.append(getattr(task, "type"))  # noqa: B009
        return str(cloud.claims.move(path, Stage.DONE))

    for task_type in (*TASK_TYPES, "teleport"):
        monkeypatch.setitem(cloud.dispatcher._handlers, task_type, take)  # type: ignore[arg-type]
    for state in STATES:
        with monkeypatch.context() as patch:
            in_state(cloud.zones, state, patch)
            for number, task_type in enumerate((*TASK_TYPES, "teleport")):
                path = cloud.layout.folder(Stage.NEEDS_ACTION, domain="general")
                path /= f"general-20260601T12000{number}Z-{STATES.index(state):08x}.md"
                path.write_text(
                    f"---\nid: {path.stem}\ntype: {task_type}\ndomain: general\npriority: normal\n"
                    "created: 2026-06-01T12:00:00Z\n---\n"
                )
            cloud.dispatcher.run(clock.now(), patience=10)
    assert taken and not set(taken) & (LOCAL_ONLY_TYPES | {"teleport"})
