"""What a person saves in the moment in which an answer rewrites a request stands, and is never sent unseen (S1)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import FakeClock
from tests.fakes.desk import Desk, World, sha
from tests.test_sync_last_moment import before_rename
from utils import claim_task
from utils.bootstrap import Services
from utils.execution.answers import Changed, NotFound
from utils.vault import atomic

MINE = "MY OWN LONG TEXT"


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World())


def mine(path: Path) -> str:
    """The request as a person has it in the editor."""
    return path.read_text().replace("Kind regards", MINE)


def test_a_save_while_the_api_edits_stands_and_the_edit_is_told_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    path = desk.request()
    desk.approvals.observe()
    seen, text = sha(path), mine(path)
    before_rename(monkeypatch, lambda: path.write_text(text))
    with pytest.raises(Changed) as told:
        desk.approvals.edit(path.stem, seen, by="api", subject="Re: new")
    assert path.read_text() == text and told.value.sha256 == sha(path)
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(atomic.TEMP_PREFIX)] == []
    monkeypatch.undo()
    desk.approvals.edit(path.stem, sha(path), by="api", subject="Re: new")
    assert MINE in path.read_text() and "Re: new" in path.read_text()


def test_a_removal_while_the_api_edits_stays_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    path = desk.request()
    desk.approvals.observe()
    before_rename(monkeypatch, path.unlink)
    with pytest.raises(NotFound):
        desk.approvals.edit(path.stem, sha(path), by="api", subject="Re: new")
    assert not path.exists()


def test_a_save_while_a_decision_is_taken_out_is_what_the_approval_is_about(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words that were saved were never looked at: they wait, and are not sent."""
    path = desk.request()
    desk.approvals.observe()
    path.write_text(path.read_text().replace("action:", "decision: approve\naction:", 1))
    text = mine(path)
    before_rename(monkeypatch, lambda: path.write_text(text))
    desk.cycle()
    assert path.read_text() == text and desk.world.ledger == []
    monkeypatch.undo()
    desk.cycle()
    assert desk.world.ledger == [] and MINE in path.read_text()


def test_a_copy_that_is_edited_as_it_is_taken_away_stays(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    path = desk.request()
    copy = desk.vault / "Approved" / path.name
    copy.write_bytes(path.read_bytes())
    text = mine(path)
    before_rename(monkeypatch, lambda: copy.write_text(text))
    with pytest.raises(claim_task.Changed):
        desk.node.claims.remove_copy(copy, path, sha(path))
    assert copy.read_text() == text
