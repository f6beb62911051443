"""A request that somebody deletes, or puts elsewhere, before it was answered: its task is not left in progress."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scripts import approve
from tests.conftest import FakeClock
from tests.fakes.desk import Desk, Killed, World, sha
from utils.bootstrap import Services
from utils.execution.counts import ExecutionProblem
from utils.execution.source_tasks import GONE
from utils.ports import AdapterError
from utils.vault import frontmatter
from Watchers.approval_watcher import ApprovalWatcher


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World())


def task_of(path: Path) -> str:
    return str(frontmatter.read(path.read_bytes())[0]["source_task"])


def rounds(desk: Desk) -> None:
    """The watcher looks, and looks again when the time of a mere exchange of files is over."""
    desk.cycle()
    desk.clock.advance(GONE.total_seconds())
    desk.cycle()


def elsewhere(desk: Desk, path: Path, where: str) -> None:
    if where == "nowhere":
        path.unlink()
    else:
        desk.move(path, where)


@pytest.mark.parametrize("where", ["nowhere", "Archive", "Plans/email"])
def test_the_task_of_a_removed_request_goes_to_rejected_and_it_is_told(desk: Desk, where: str) -> None:
    path = desk.request()
    task = task_of(path)
    desk.cycle()
    elsewhere(desk, path, where)
    desk.cycle()
    assert desk.places(f"{task}.md") == ["In_Progress/cloud"], "a sync may just be exchanging the file"
    rounds(desk)
    assert desk.places(f"{task}.md") == ["Rejected"]
    how = "its file was removed" if where == "nowhere" else f"its file was moved to {where}/{path.name}"
    note = (desk.vault / "Rejected" / f"{task}.reason.md").read_text()
    assert path.stem in note and how in note and "move this task back to Needs_Action/email/" in note
    title = "1 request was removed unanswered"
    assert desk.alerts == [("INFO", title, f"- {path.stem}: {how}")]
    (answer,) = desk.store.answers.recent()
    assert (answer.request_id, answer.answer, answer.said) == (path.stem, "removed", how)
    rounds(desk)
    assert len(desk.alerts) == 1 and desk.world.calls == 0


def test_what_was_removed_is_seen_in_the_list_and_in_the_dashboard_note(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = desk.request()
    desk.cycle()
    path.unlink()
    rounds(desk)
    ApprovalWatcher(desk.node).run_cycle(desk.clock.now())
    board = (desk.vault / "Dashboard.md").read_text()
    assert "## Removed unanswered in the last week (1)" in board and f"[[{path.stem}]]: “its file was removed”" in board
    monkeypatch.setattr(Services, "from_environment", classmethod(lambda cls: desk.node))
    assert approve.main([]) == 0
    assert f"{path.stem}  removed unanswered at 2026-06-01T12:00:10Z: its file was removed" in capsys.readouterr().out
    assert approve.main(["list", "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["removed"]
    assert (shown["id"], shown["how"]) == (path.stem, "its file was removed")
    desk.clock.advance(8 * 24 * 3600)
    assert approve.main([]) == 0 and path.stem not in capsys.readouterr().out


def test_a_file_that_is_gone_for_a_moment_or_renamed_waits_as_before(desk: Desk) -> None:
    path, renamed = desk.request("mail 1"), desk.request("mail 2")
    tasks = [task_of(path), task_of(renamed)]
    data = path.read_bytes()
    desk.cycle()
    path.unlink()
    renamed.rename(renamed.with_name("Answer to Ann.md"))
    desk.cycle()
    desk.clock.advance(5)
    path.write_bytes(data)
    rounds(desk)
    assert [desk.places(f"{task}.md") for task in tasks] == [["In_Progress/cloud"]] * 2
    assert not desk.alerts


def test_a_folder_that_is_gone_is_no_word_about_a_request(desk: Desk) -> None:
    path = desk.request()
    task = task_of(path)
    desk.cycle()
    shutil.rmtree(desk.vault / "Pending_Approval")
    rounds(desk)
    rounds(desk)
    assert desk.places(f"{task}.md") == ["In_Progress/cloud"]


@pytest.mark.parametrize(("folder", "goes_to"), [("Done", "Done"), ("Quarantine", "In_Progress/cloud")])
def test_a_task_goes_where_a_person_put_its_request(desk: Desk, folder: str, goes_to: str) -> None:
    path = desk.request()
    task = task_of(path)
    desk.cycle()
    desk.move(path, folder)
    rounds(desk)
    assert desk.places(f"{task}.md") == desk.places(f"{task}.reason.md") == [goes_to]


def test_a_task_that_is_drafted_anew_after_that_is_left_to_its_agent(desk: Desk) -> None:
    """Moved back by a person and claimed again, it has no request yet: the one that was removed is no reason."""
    path = desk.request()
    task, data = task_of(path), path.read_bytes()
    desk.cycle()
    path.unlink()
    rounds(desk)
    desk.move(desk.vault / "Rejected" / f"{task}.md", "In_Progress/cloud")
    rounds(desk)
    rounds(desk)
    assert desk.places(f"{task}.md") == ["In_Progress/cloud"]
    path.write_bytes(data)
    desk.cycle()
    assert not desk.approvals.get(path.stem).problems
    path.unlink()
    rounds(desk)
    assert desk.places(f"{task}.md") == ["Rejected"] and len(desk.store.answers.recent()) == 2


def test_a_crash_at_any_step_loses_neither_the_task_nor_the_word(desk: Desk) -> None:
    for step in range(1, 40):
        path = desk.request(f"mail {step}")
        task = task_of(path)
        desk.restart()
        desk.cycle()
        path.unlink()
        desk.cycle()
        desk.clock.advance(GONE.total_seconds())
        desk.bomb.at = desk.bomb.steps + step
        died = False
        try:
            desk.cycle()
        except Killed:
            died = True
        desk.restart()
        rounds(desk)
        assert desk.places(f"{task}.md") == ["Rejected"]
        assert len(desk.store.answers.recent(request=path.stem)) == 1
        assert desk.store.removals() == []
        if not died:
            return
    raise AssertionError("it did not end")


def test_an_approved_request_is_not_taken_for_a_removed_one(desk: Desk) -> None:
    path = desk.request()
    desk.cycle()
    desk.approvals.approve(path.stem, sha(path), by="anna")
    desk.clock.advance(GONE.total_seconds())
    assert desk.cycle() == "sent 1"
    rounds(desk)
    assert desk.places(path.name) == ["Done"] and not desk.alerts


@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE, errno.EACCES])
@pytest.mark.parametrize("approved", [False, True])
@pytest.mark.parametrize("folder", ["Pending_Approval/email", "Approved", "Rejected"])
def test_a_folder_that_can_not_be_read_is_no_word_about_a_request_and_is_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, folder: str, approved: bool, code: int
) -> None:
    """The disk has a bad minute: nothing is void, no task is moved; when it is over, all goes on."""
    path = desk.request()
    task = task_of(path)
    desk.cycle()
    if approved:
        desk.move(path, "Approved")
        desk.approvals.observe()
        (record,) = desk.store.recent()
        desk.store.mark_placed(record)
        desk.tools.broken = [AdapterError("away", retry=True)]
    elif folder == "Rejected":
        path = desk.move(path, "Rejected")
    elif folder == "Approved":
        path = desk.move(path, "Approved/later")
        folder = "Approved/later"
    real = os.scandir

    def scandir(place: str) -> Any:
        if os.fspath(place).rstrip("/") == str(desk.vault / folder):
            raise OSError(code, os.strerror(code), str(place))
        return real(place)

    with monkeypatch.context() as bad:
        bad.setattr(os, "scandir", scandir)
        for _ in range(3):
            with suppress(OSError, ExecutionProblem):
                desk.cycle()
            desk.clock.advance(GONE.total_seconds())
    assert desk.places(f"{task}.md") == ["In_Progress/cloud"] and not desk.store.answers.recent(answer="removed")
    assert [title for _, title, text in desk.alerts if os.strerror(code) in text][:1] == [
        "Some requests could not be looked at"
    ]
    for _ in range(2):
        desk.cycle()
        desk.clock.advance(3600)
    if approved:
        assert desk.places(path.name) == ["Done"] and desk.world.calls == 1
    elif folder == "Rejected":
        assert desk.places(f"{task}.md") == ["Rejected"]


def test_a_node_that_waits_for_a_sync_follows_no_removal(desk: Desk) -> None:
    """Its vault was put back, older than its state: the requests that are missing were not removed by anybody."""
    path, rejected = desk.request("mail 1"), desk.request("mail 2")
    tasks, data = [task_of(path), task_of(rejected)], path.read_bytes()
    desk.cycle()
    path.unlink()
    desk.move(rejected, "Rejected")
    desk.waits = "this node's state was copied or put back"
    rounds(desk)
    rounds(desk)
    assert [desk.places(f"{task}.md") for task in tasks] == [["In_Progress/cloud"]] * 2
    assert not desk.alerts and not desk.store.answers.recent()
    path.write_bytes(data)  # as the sync brings it
    desk.waits = None
    rounds(desk)
    assert [desk.places(f"{task}.md") for task in tasks] == [["In_Progress/cloud"], ["Rejected"]]
    path.unlink()
    rounds(desk)
    assert desk.places(f"{tasks[0]}.md") == ["Rejected"]


@pytest.mark.parametrize("then", ["decided", "snoozed", "emptied"])
def test_what_is_gone_for_a_moment_loses_nothing_that_was_kept_of_it(desk: Desk, then: str) -> None:
    """A sync client takes the file away and puts it back; what a person typed, and their snooze, still count."""
    path = desk.request()
    desk.cycle()
    data = path.read_bytes()
    if then == "snoozed":
        desk.approvals.snooze(path.stem, desk.clock.now() + timedelta(hours=5), by="anna")
    path.unlink()
    desk.cycle()
    desk.clock.advance(3)
    path.write_bytes(data)
    desk.cycle()
    if then == "snoozed":
        assert [pending.snoozed_until is not None for pending in desk.approvals.pending()] == [True]
        return
    path.write_bytes(b"" if then == "emptied" else data.replace(b"---\n", b"---\ndecision: approve\n", 1))
    os.utime(path, (1, 1))
    desk.cycle()
    if then == "emptied":
        desk.approvals.restore(path.stem, sha(path), by="anna")
        assert path.read_bytes() == data
    assert desk.world.calls == (then == "decided")


def test_what_was_kept_of_a_request_is_forgotten_when_it_is_answered_or_stays_away(desk: Desk) -> None:
    answered, away, renamed = (desk.request(f"mail {number}") for number in range(3))
    desk.cycle()
    desk.move(answered, "Rejected")
    renamed.rename(renamed.with_name("Answer to Ann.md"))
    away.unlink()
    desk.cycle()
    assert [desk.store.answers.has_version(path.stem) for path in (answered, away, renamed)] == [False, True, True]
    desk.restart()
    rounds(desk)
    assert [desk.store.answers.has_version(path.stem) for path in (answered, away, renamed)] == [False, False, True]


def test_where_no_version_is_kept_of_what_was_seen_the_one_that_lies_there_is(desk: Desk) -> None:
    path = desk.request()
    desk.cycle()
    desk.store.answers.forget_all_but(())
    desk.cycle()
    assert desk.store.answers.versions(path.stem) == [path.read_bytes()]


@pytest.mark.parametrize(
    ("base", "goes_to"),
    [("Archive", "Rejected"), ("Rejected", "Rejected"), ("Done", "Done")]
    + [(folder, "In_Progress/cloud") for folder in ("Pending_Approval", "Approved")],
)
@pytest.mark.parametrize("approved", [False, True])
def test_a_folder_whose_name_is_no_text_is_a_place_like_another(
    desk: Desk, base: str, goes_to: str, approved: bool
) -> None:
    path = desk.request()
    task = task_of(path)
    desk.cycle()
    if approved:
        desk.tools.broken = [AdapterError("away", retry=True)] * 9
        desk.approvals.approve(path.stem, sha(path), by="anna")
        desk.cycle()
        path = desk.vault / "Approved" / path.name
    folder = Path(os.fsdecode(os.fsencode(desk.vault / base) + b"/b\xffd"))
    folder.mkdir(parents=True)
    path.rename(folder / path.name)
    for _ in range(3):
        rounds(desk)
    if approved and base == "Archive":
        goes_to = "Needs_Action/email"  # it was wanted
    assert desk.places(f"{task}.md") == [goes_to]
    assert not [text for _, title, text in desk.alerts if "could not be looked at" in title]
    told = [text for _, title, text in desk.alerts if "removed" in title or "not be executed" in title]
    silent = ("Pending_Approval", "Approved") if approved else ("Pending_Approval", "Approved", "Rejected")
    assert len(told) == (base not in silent)
    how = "removed" if approved and base == "Archive" else f"moved to {base}/b\\udcffd/{path.name}"
    assert all(how in text for text in told)


def test_the_vault_is_walked_once_for_all_that_was_removed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [desk.request(f"mail {number}") for number in range(5)]
    tasks = [task_of(path) for path in paths]
    (desk.vault / "Archive").mkdir()
    desk.cycle()
    for path in paths[1:]:
        path.unlink()
    desk.move(paths[0], "Archive")
    desk.cycle()
    desk.clock.advance(GONE.total_seconds())
    looked: list[str] = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda place: looked.append(os.fspath(place)) or real(place))
    desk.approvals.observe()
    assert looked.count(str(desk.vault / "Archive")) == 1
    assert [desk.places(f"{task}.md") for task in tasks] == [["Rejected"]] * 5
    assert f"{paths[0].stem}: its file was moved to Archive/{paths[0].name}" in desk.alerts[-1][2]


@pytest.mark.parametrize("answer", ["approved", "rejected", "revised", "removed"])
def test_a_removed_request_that_is_back_waits_with_its_task_and_takes_it_along(desk: Desk, answer: str) -> None:
    path = desk.request()
    task, data = task_of(path), path.read_bytes()
    desk.cycle()
    path.unlink()
    rounds(desk)
    note, board = desk.vault / "Rejected" / f"{task}.reason.md", desk.vault / "Dashboard.md"
    assert "its file was removed" in note.read_text()
    desk.node.dashboard_note.refresh()
    assert "Removed unanswered" in board.read_text()
    desk.clock.advance(60)
    path.write_bytes(data)  # by git, or by an undo of the file manager
    desk.cycle()
    desk.node.dashboard_note.refresh()
    assert "Removed unanswered" not in board.read_text(), "it waits again"
    assert desk.places(f"{task}.md") == ["In_Progress/local"] and not note.exists()
    rounds(desk)
    if answer == "approved":
        desk.move(path, "Approved")
        assert desk.cycle() == "sent 1"
    elif answer == "rejected":
        desk.approvals.reject(path.stem, by="anna")
    elif answer == "revised":
        desk.approvals.revise(path.stem, "shorter", by="anna")
    else:
        path.unlink()
    rounds(desk)
    goes_to = {"approved": "Done", "revised": "Needs_Action/email"}.get(answer, "Rejected")
    assert desk.places(f"{task}.md") == [goes_to]
    desk.node.dashboard_note.refresh()
    assert ("Removed unanswered" in board.read_text()) == (answer == "removed")


def test_a_task_that_a_person_puts_away_while_its_request_is_back_stays_there(desk: Desk) -> None:
    """Whatever comes into that request later, by the Cloud for one (S3)."""
    path = desk.request()
    task, data = task_of(path), path.read_bytes()
    desk.cycle()
    path.unlink()
    rounds(desk)
    path.write_bytes(b"---\n" + data)  # broken at first: whose request it is can't be read
    desk.cycle()
    desk.clock.advance(10)
    desk.cycle()
    assert desk.places(f"{task}.md") == ["Rejected"]
    path.write_bytes(data)
    desk.cycle()
    assert desk.places(f"{task}.md") == ["In_Progress/local"]
    desk.move(desk.vault / "In_Progress/local" / f"{task}.md", "Rejected")
    desk.cycle()
    path.write_bytes(data.replace(b"Kind regards", b"Regards"))
    desk.cycle()
    assert desk.places(f"{task}.md") == ["Rejected"] and desk.approvals.get(path.stem).sha256 == sha(path)


def test_a_task_that_a_person_puts_away_while_its_request_waits_stays_there_and_says_why(desk: Desk) -> None:
    """Also one that was taken back before: the newest word about it is theirs."""
    path = desk.request()
    task, data = task_of(path), path.read_bytes()
    desk.cycle()
    path.unlink()
    rounds(desk)
    path.write_bytes(data)
    desk.cycle()
    desk.move(desk.vault / "In_Progress/local" / f"{task}.md", "Rejected")
    rounds(desk)
    desk.move(path, "Approved")
    assert desk.cycle() == "sent 1"
    assert desk.places(f"{task}.md") == ["Rejected"]
    note = (desk.vault / "Rejected" / f"{task}.reason.md").read_text()
    assert "reply_email was carried out" in note and "was put away before, and stays" in note


@pytest.mark.parametrize("is_taken", [False, True])
def test_a_task_that_was_elsewhere_when_its_request_was_finished_follows_when_it_is_in_progress(
    desk: Desk, is_taken: bool
) -> None:
    path = desk.request()
    task = task_of(path)
    desk.cycle()
    away = desk.move(desk.vault / "In_Progress/cloud" / f"{task}.md", "Needs_Action/email")
    desk.move(path, "Approved")
    assert desk.cycle() == "sent 1"
    assert desk.places(f"{task}.md") == ["Needs_Action/email"]
    if is_taken:
        (desk.vault / "Done" / f"{task}.md").write_text("another")
    desk.move(away, "In_Progress/cloud")  # as a sync shows a claim
    desk.cycle()
    assert desk.places(f"{task}.md") == (["Done", "Quarantine"] if is_taken else ["Done"])
    note = desk.vault / ("Quarantine" if is_taken else "Done") / f"{task}.reason.md"
    assert "reply_email was carried out" in note.read_text()
