"""One hostile or broken file of a request, as the Cloud may sync it, holds up neither the others nor the node."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.fakes.desk import Desk, World, sha
from utils.bootstrap import Services
from utils.claim_task import Claims
from utils.core.stages import Stage
from utils.execution import requests
from utils.execution.answer_log import AnswerLog
from utils.execution.by_move import ByMove
from utils.execution.counts import ExecutionProblem
from utils.execution.decisions import Decisions
from utils.execution.journal import State
from utils.execution.revisions import Revisions
from utils.execution.source_tasks import SourceTasks
from utils.execution.waiting import Waiting


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World())


def the_other_is_sent(desk: Desk, good: Path) -> None:
    """Whatever lies beside it: the human's move of a good request is followed."""
    desk.clock.advance(60)
    desk.approvals.observe()
    desk.move(good, "Approved")
    assert desk.cycle() == "sent 1"
    assert desk.cycle() == "idle"


def synced(desk: Desk, path: Path, old: str, new: str) -> None:
    """The Cloud changes a request of its own, and a sync brings it."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    desk.in_git.add((desk.node.layout.relative(path), path.read_bytes()))


def note_of(desk: Desk, path: Path) -> str:
    return desk.node.layout.reason(path).read_text()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("drafted_by: builtin", r'drafted_by: "\ud800"'),
        ("risk: []", r'risk: ["\udc00"]'),
        ("source_task:", 'decision: approve\nx: "\\udc00"\nsource_task:'),
        ("source_task:", '"\\udc00": "\\udc00"\nsource_task:'),
    ],
)
def test_an_escaped_surrogate_is_told_beside_its_file(desk: Desk, old: str, new: str) -> None:
    bad, good = desk.request("bad"), desk.request("good")
    desk.approvals.observe()
    synced(desk, bad, old, new)
    the_other_is_sent(desk, good)
    assert "lone surrogate" in note_of(desk, bad)
    assert not desk.alerts
    assert all(pending.text.encode() for pending in desk.approvals.pending())


@pytest.mark.parametrize("length", [240, 241, 246, 247, 250, 252, 255])
@pytest.mark.parametrize("letter", ["a", "ä"])
def test_a_long_name_has_a_note_of_its_own(desk: Desk, length: int, letter: str) -> None:
    stem = letter * ((length - 3) // len(letter.encode()))
    bad = desk.vault / "Pending_Approval" / f"{stem}.md"
    near = bad.with_name(f"{stem[:-1]}b.md")
    for path in (bad, near):
        path.write_text("hello\n")
        os.utime(path, (0, 0))
    the_other_is_sent(desk, desk.request())
    for path in (bad, near):
        note = desk.node.layout.reason(path)
        assert "does not begin with front matter" in note.read_text() and path.name in note.read_text()
        assert len(os.fsencode(note.name)) <= 250  # a sync takes no longer
    desk.clock.advance(3_600)
    desk.node.claims.tidy(Stage.PENDING_APPROVAL)
    assert note_of(desk, bad) != note_of(desk, near)
    for folder in ("Quarantine", "Quarantine", "Quarantine"):  # a taken name gets a number, however long it is
        bad.write_text("hello\n")
        assert desk.node.claims.quarantine(bad, "why").parent == desk.vault / folder
    assert len(list(desk.node.layout.files(Stage.QUARANTINE))) == 3


def test_a_header_that_grows_when_it_is_written_anew_is_told_beside_its_file(desk: Desk) -> None:
    bad, good = desk.request("bad"), desk.request("good")
    desk.approvals.observe()
    quotes = '"' * 40_000  # each gets a backslash where the text needs double quotes, as U+200B makes it
    synced(desk, bad, "source_task:", f"decision: approve\nx: '\u200b{quotes}'\nsource_task:")
    the_other_is_sent(desk, good)
    note = note_of(desk, bad)
    assert "larger than 64 KiB when it is written anew" in note
    desk.clock.advance(60)
    desk.cycle()
    assert note_of(desk, bad) == note  # said once: each change of it would be synced
    assert not desk.alerts


def broken(method: Callable[..., object], names: tuple[str, ...]) -> Callable[..., object]:
    """As `method`, which fails for what has one of these names."""

    def failing(self: object, *arguments: object) -> object:
        if any(name in str(getattr(one, "path", one)) for one in arguments for name in names):
            raise RuntimeError("a mistake of ours")
        return method(self, *arguments)

    return failing


def snoozed(desk: Desk, bad: Path) -> None:
    desk.approvals.snooze(bad.stem, desk.clock.now() + timedelta(seconds=30), by="anna")


def superseded(desk: Desk, bad: Path) -> None:
    desk.approvals.revise(bad.stem, "shorter", by="anna")
    (desk.vault / "Rejected" / bad.name).rename(bad)


@pytest.mark.parametrize(
    ("part", "step", "prepare"),
    [
        (Waiting, "see", None),
        (Decisions, "_look", None),
        (ByMove, "judge", lambda desk, bad: desk.move(bad, "Approved")),
        (SourceTasks, "reject", lambda desk, bad: desk.move(bad, "Rejected")),
        (AnswerLog, "wake", snoozed),
        (Revisions, "put_away", superseded),
        (Waiting, "_warning", None),
    ],
)
def test_a_mistake_of_ours_stops_one_file_alone_and_is_told(
    desk: Desk,
    part: type,
    step: str,
    prepare: Callable[[Desk, Path], object] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad, good = sorted([desk.request("one"), desk.request("two")])
    desk.approvals.observe()
    task = requests.parse(bad.read_bytes(), bad.stem)[0]
    assert task is not None and task.source_task is not None
    if prepare:
        prepare(desk, bad)
    monkeypatch.setattr(part, step, broken(getattr(part, step), (bad.stem, task.source_task)))
    desk.move(good, "Approved")
    desk.clock.advance(60)
    desk.cycle()
    assert desk.places(good.name) == ["Done"]
    told = [text for level, title, text in desk.alerts if title == "Some requests could not be looked at"]
    assert told and "RuntimeError: a mistake of ours" in told[0]


def test_an_approved_file_that_can_not_be_moved_leaves_the_others_to_be_placed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = desk.request("one"), desk.request("two")
    desk.approvals.observe()
    move = Claims.move

    def failing(self: Claims, path: Path, *arguments: Any, **options: Any) -> Path:
        if path == bad or dies:
            raise PermissionError(13, "Permission denied", str(path))
        return move(self, path, *arguments, **options)

    monkeypatch.setattr(Claims, "move", failing)
    dies = True
    for path in (bad, good):  # the record is durable, and the file was not moved yet
        assert desk.approvals.approve(path.stem, sha(path), by="anna").state is State.APPROVED
    dies = False
    with pytest.raises(ExecutionProblem, match=f"{bad.stem}: PermissionError"):
        desk.cycle()
    assert desk.places(good.name) == ["Done"]
    monkeypatch.undo()
    desk.cycle()
    assert desk.places(bad.name) == ["Done"]
