"""Files whose names are no UTF-8 (an old archive, a share): they stop nothing, and the human is told of them once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.api_client import Api
from tests.fakes.desk import Desk, World, sha

STAGES = ("Pending_Approval/email", "Approved", "In_Progress/local", "Rejected", "Needs_Action/email", "Done")


@pytest.fixture
def desk(make_node: Callable[..., Any], clock: Any) -> Desk:
    return Desk(make_node, clock, World())


def misnamed(desk: Desk, name: bytes) -> Path:
    path = os.path.join(os.fsencode(desk.vault), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(os.fsdecode(path)).write_text("hello\n")
    return Path(os.fsdecode(path))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", [b"Gr\xfc\xdfe.md", b"Gr\xfc\xdfe/letter.md"])
def test_a_name_that_is_no_utf8_stops_no_approved_mail(desk: Desk, stage: str, name: bytes) -> None:
    path = desk.request("one")
    desk.approvals.observe()
    bad = misnamed(desk, os.fsencode(stage) + b"/" + name)
    desk.approvals.approve(path.stem, sha(path), by="ada")
    assert "sent 1" in desk.cycle()
    assert desk.places(path.name) == ["Done"]
    other = desk.request("two")
    assert {item["id"] for item in Api(desk.node).get("/api/approvals")["items"]} == {other.stem}
    assert bad.read_text() == "hello\n"


def test_it_is_told_once(desk: Desk) -> None:
    misnamed(desk, b"Pending_Approval/email/Gr\xfc\xdfe.md")
    misnamed(desk, b"Approved/caf\xe9.md")
    for _ in range(3):
        desk.cycle()
    ((level, title, message),) = desk.alerts
    assert (level, title) == ("WARNING", "Files have names that are not UTF-8")
    assert "Pending_Approval/email/Gr\\udcfc\\udcdfe.md" in message and "Approved/caf\\udce9.md" in message
    misnamed(desk, b"Approved/\xe9t\xe9.md")
    desk.cycle()
    assert len(desk.alerts) == 2 and "caf" not in desk.alerts[1][2]
