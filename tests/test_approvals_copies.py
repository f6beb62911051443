"""A request that a person copies instead of moving it: the same bytes are their move, other bytes wait (S4)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from scripts import approve
from tests.conftest import FakeClock
from tests.fakes.desk import Bomb, Desk, Killed, World, sha
from utils.bootstrap import Services
from utils.core.brakes import Brakes
from utils.execution.answers import Invalid
from utils.execution.copies import Copies
from utils.execution.requests import RequestFile
from utils.execution.source_tasks import GONE


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World())


def copied(desk: Desk, path: Path, folder: str = "Approved") -> Path:
    """A person copies the file, as a file manager does."""
    return Path(shutil.copy2(path, desk.vault / folder / path.name))


def beside(path: Path) -> str:
    note = path.with_name(f"{path.stem}.reason.md")
    return note.read_text() if note.exists() else ""


def test_the_copy_is_the_humans_move(desk: Desk) -> None:
    path = desk.request()
    desk.cycle()
    copied(desk, path)
    assert desk.cycle() == "sent 1"
    assert desk.places(path.name) == ["Done"] and len(desk.world.ledger) == 1
    assert desk.store.recent(1)[0].via == "move"
    (line,) = [json.loads(line) for line in desk.node.layout.claims_log.read_text().splitlines() if "copy_rem" in line]
    assert (line["from"], line["to"]) == (f"Pending_Approval/email/{path.name}", f"Approved/{path.name}")
    assert not desk.alerts


@pytest.mark.parametrize("edited", [False, True])
def test_a_file_that_is_moved_while_we_look_lies_in_one_place(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, edited: bool
) -> None:
    """It is read where it waits, and then in `Approved/` as well."""
    path = desk.request()
    desk.cycle()
    desk.clock.advance(60)
    moving = [path]

    def move(approve: object) -> dict[str, str]:
        while moving:
            moved = desk.move(moving.pop(), "Approved")
            if edited:
                moved.write_bytes(moved.read_bytes().replace(b"Kind regards", b"Regards"))
        return {}

    monkeypatch.setattr(desk.node.remote_approvals, "take", move)
    desk.approvals.observe()
    assert not [title for _, title, _ in desk.alerts if "two places" in title]
    desk.cycle()
    assert desk.places(path.name) == ["Approved" if edited else "Done"]


def test_it_is_listed_once_before_anybody_looked_and_answered_as_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, other = desk.request("mail 1"), desk.request("mail 2", in_reply_to="<q2@example.org>")
    desk.cycle()
    copied(desk, path)
    copied(desk, other)
    monkeypatch.setattr(Services, "from_environment", classmethod(lambda cls: desk.node))
    assert approve.main([]) == 0
    assert capsys.readouterr().out.count(path.stem) == 1
    shown = desk.approvals.get(path.stem)
    assert shown.problems == () and shown.needs_confirmation
    desk.approvals.approve(path.stem, shown.sha256, by="anna")
    desk.approvals.reject(other.stem, "no", by="anna")
    assert desk.cycle() == "sent 1"
    assert desk.places(path.name) == ["Done"] and desk.places(other.name) == ["Rejected"]


def test_what_a_move_can_not_approve_waits_once_in_approved(desk: Desk) -> None:
    path = desk.request(verified=False)
    desk.cycle()
    copied(desk, path)
    assert desk.cycle() == "waiting for a confirmation 1"
    assert desk.places(path.name) == ["Approved"] and desk.world.calls == 0
    (shown,) = desk.approvals.pending()
    assert shown.needs_confirmation and not shown.problems


def test_other_bytes_are_not_followed_and_what_is_seen_is_told_once(desk: Desk) -> None:
    """The person goes on writing in the one that waits; then they say which one counts."""
    path = desk.request()
    desk.cycle()
    copy = copied(desk, path)
    path.write_text(path.read_text().replace("Kind regards", "Cheers"))
    for _ in range(3):
        assert desk.cycle() == "waiting for a confirmation 1"
    assert desk.places(path.name) == ["Approved", "Pending_Approval/email"] and desk.world.calls == 0
    both = f"Pending_Approval/email/{path.name} and Approved/{path.name}"
    problem = f"it lies in two places, with different words, {both}: remove all but one"
    (shown,) = desk.approvals.pending()
    assert shown.problems == (problem,) and shown.sha256 == sha(path)
    assert problem in beside(copy) and [level for level, *_ in desk.alerts] == ["INFO"]
    for answer in (desk.approvals.approve, desk.approvals.reject):
        with pytest.raises(Invalid, match="two places"):
            answer(path.stem, shown.sha256, by="anna")
    path.unlink()
    assert desk.cycle() == "sent 1"
    assert b"Kind regards" in (desk.vault / "Done" / path.name).read_bytes() and len(desk.world.ledger) == 1


def test_what_is_written_in_the_last_moment_is_not_taken_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two were the same when they were read; by the time one is to go, the person has saved it anew."""
    path = desk.request()
    desk.cycle()
    copied(desk, path)
    real = Copies.settled

    def saves_and_settles(self: Copies, files: Sequence[RequestFile]) -> list[RequestFile]:
        path.write_text(path.read_text().replace("Kind regards", "Cheers"))
        return real(self, files)

    monkeypatch.setattr(Copies, "settled", saves_and_settles)
    desk.cycle()
    assert b"Cheers" in path.read_bytes() and desk.world.calls == 0


def test_where_the_copy_in_approved_is_removed_the_other_waits_as_before(desk: Desk) -> None:
    path = desk.request()
    desk.cycle()
    copy = copied(desk, path)
    copy.write_text(copy.read_text().replace("Kind regards", "Cheers"))
    desk.cycle()
    copy.unlink()
    desk.cycle()
    (shown,) = desk.approvals.pending()
    assert shown.problems == () and shown.path.startswith("Pending_Approval/")
    desk.approvals.approve(path.stem, shown.sha256, by="anna")
    assert desk.cycle() == "sent 1"


def test_a_copy_that_a_sync_brought_approves_nothing(desk: Desk) -> None:
    path = desk.request()
    desk.cycle()
    copy = copied(desk, path)
    desk.in_git.add((f"Approved/{path.name}", copy.read_bytes()))
    assert desk.cycle() == "waiting for a confirmation 1"
    assert desk.places(path.name) == ["Approved"] and desk.world.calls == 0
    assert len(desk.approvals.pending()) == 1


def test_a_crash_at_any_step_leaves_one_file_and_one_mail(desk: Desk) -> None:
    desk.limits = Brakes(per_hour=100, per_recipient_per_day=100)
    for step in range(1, 60):
        path = desk.request(f"mail {step}")
        sent = len(desk.world.ledger)
        desk.restart()
        desk.cycle()
        copied(desk, path)
        desk.restart(Bomb(step))
        died = False
        try:
            desk.cycle()
        except Killed:
            died = True
        desk.restart()
        desk.cycle()
        desk.cycle()
        assert len(desk.places(path.name)) == 1 and len(desk.world.ledger) <= sent + 1
        if not died:
            return
    raise AssertionError("it did not end")


@pytest.mark.parametrize("odd", ["folder", "link loop"])
def test_a_note_that_can_not_be_read_keeps_no_move_from_counting(desk: Desk, odd: str) -> None:
    path = desk.request()
    desk.cycle()
    lies = desk.move(path, "Approved")
    note = lies.with_name(f"{path.stem}.reason.md")
    if odd == "folder":
        note.mkdir()
    else:
        note.symlink_to(note.name)
    assert desk.cycle() == "sent 1"
    assert desk.world.calls == 1 and not desk.alerts


def test_a_file_that_is_taken_back_by_a_copy_is_not_lost(desk: Desk) -> None:
    """A sync client, or a move across disks: first the copy is made, then the original goes."""
    path = desk.request(verified=False)
    desk.cycle()
    lies = desk.move(path, "Approved")
    assert desk.cycle() == "waiting for a confirmation 1"
    alerts = len(desk.alerts)
    while not path.exists() or path.stat().st_ctime_ns <= lies.stat().st_ctime_ns:
        shutil.copy2(lies, path)
    desk.cycle()
    assert desk.places(path.name) == ["Approved", "Pending_Approval/email"]
    assert desk.approvals.next_look() is not None
    lies.unlink()
    desk.cycle()
    desk.clock.advance(GONE.total_seconds())
    desk.cycle()
    assert desk.places(path.name) == ["Pending_Approval/email"] and len(desk.alerts) == alerts
    (shown,) = desk.approvals.pending()
    assert not shown.problems and not shown.needs_confirmation


def test_a_copy_that_was_made_later_and_stays_is_the_humans_move_all_the_same(desk: Desk) -> None:
    path = desk.request()
    desk.cycle()
    lies = desk.move(path, "Approved")
    while not path.exists() or path.stat().st_ctime_ns <= lies.stat().st_ctime_ns:
        shutil.copy2(lies, path)
    assert desk.cycle() == "waiting for a confirmation 1" and desk.world.calls == 0
    desk.clock.advance(GONE.total_seconds())
    assert desk.cycle() == "sent 1"
    assert desk.places(path.name) == ["Done"] and not desk.alerts
