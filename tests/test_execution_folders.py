"""A folder lies where a log or a note belongs: the human is told all the same, and nothing else stands still."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes.desk import Desk, World, sha
from utils.core.stages import Stage
from utils.execution.journal import State
from utils.ports import AdapterError, OutcomeUnknown


@pytest.fixture
def desk(make_node: Callable[..., Any], clock: Any) -> Desk:
    return Desk(make_node, clock, World())


def approved(desk: Desk, mark: str = "one") -> Any:
    """A request and the record of its approval."""
    path = desk.request(mark)
    return path, desk.approvals.approve(path.stem, sha(path), by="ada")


def in_place_of_the_log(desk: Desk) -> Any:
    log = desk.node.layout.daily_log("actions", f"{desk.clock.now():%Y-%m-%d}")
    (log / "x.jsonl").parent.mkdir(parents=True)
    (log / "x.jsonl").write_text("{}\n")
    return log


def test_an_unknown_outcome_is_told_where_the_log_cant_be_written(desk: Desk) -> None:
    path, record = approved(desk)
    log = in_place_of_the_log(desk)
    desk.world.lost_answers = [OutcomeUnknown("lost")]
    with pytest.raises(RuntimeError, match="IsADirectoryError"):
        desk.cycle()
    assert desk.store.get(record.action_id).state is State.UNKNOWN
    assert [alert[:2] for alert in desk.alerts] == [
        ("CRITICAL", f"Nobody knows whether {path.stem} was carried out"),
    ]
    (log / "x.jsonl").unlink()
    log.rmdir()
    desk.cycle()
    written = [line["action_id"] for line in desk.action_log()]
    assert written == [record.action_id], "what the log lacked is made up for"
    assert [one.action_id for one in desk.store.unfiled()] == []


def test_what_was_done_is_filed_where_the_log_cant_be_written(desk: Desk) -> None:
    path, _ = approved(desk)
    log = in_place_of_the_log(desk)
    with pytest.raises(RuntimeError, match="IsADirectoryError"):
        desk.cycle()
    assert desk.places(path.name) == ["Done"]
    (log / "x.jsonl").unlink()
    log.rmdir()
    desk.cycle()
    assert len(desk.world.ledger) == 1 and len(log.read_text().splitlines()) == 1


def test_an_approval_given_anew_is_not_sent_back_for_the_old_failure(desk: Desk) -> None:
    """As long as the failure is not in the log, each cycle shows it once more."""
    path, record = approved(desk)
    log = in_place_of_the_log(desk)
    desk.world.trouble = [AdapterError("no such mailbox", retry=False)]
    with pytest.raises(RuntimeError, match="IsADirectoryError"):
        desk.cycle()
    assert desk.store.get(record.action_id).state is State.FAILED
    again = next(desk.node.layout.files(Stage.PENDING_APPROVAL))
    desk.approvals.approve(again.stem, sha(again), by="ada")
    with pytest.raises(RuntimeError, match="IsADirectoryError"):
        desk.cycle()
    assert len(desk.world.ledger) == 1
    assert desk.places(path.name) == ["Done"]
    assert log.is_dir()


@pytest.mark.parametrize("stage", ["Pending_Approval/email", "Approved", "Done", "Rejected"])
def test_a_folder_in_the_place_of_a_note_stops_neither_the_list_nor_the_action(desk: Desk, stage: str) -> None:
    path = desk.request("one")
    other = desk.request("two")
    in_the_way = desk.vault / stage / f"{path.stem}.reason.md"
    in_the_way.mkdir(parents=True)
    (in_the_way / "x.txt").write_text("x\n")
    desk.approvals.observe()
    assert {pending.request_id for pending in desk.approvals.pending()} == {path.stem, other.stem}
    desk.approvals.approve(path.stem, sha(path), by="ada")
    desk.cycle()
    assert len(desk.world.ledger) == 1
    assert desk.places(path.name) == ["Done"]
    desk.approvals.reject(other.stem, "no", by="ada")
    assert desk.places(other.name) == ["Rejected"]
    assert (in_the_way / "x.txt").read_text() == "x\n"


def test_a_decision_is_carried_out_beside_a_folder_in_the_place_of_its_note(desk: Desk) -> None:
    path = desk.request("one")
    desk.approvals.observe()
    (desk.vault / "Pending_Approval/email" / f"{path.stem}.reason.md").mkdir()
    path.write_bytes(path.read_bytes().replace(b"---\n", b"---\ndecision: reject\n", 1))
    desk.clock.advance(60)
    desk.approvals.observe()
    assert desk.places(path.name) == ["Rejected"]
