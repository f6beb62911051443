"""What a move into `Approved/` is worth: a human's own counts where policy says so, a sync's never does (S6, S7)."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import FakeClock
from tests.fakes.desk import Bomb, Desk, Killed, World, sha
from utils.bootstrap import Services
from utils.core.remote_approval import Approver
from utils.core.stages import Stage
from utils.execution.approvals import Invalid
from utils.execution.journal import State
from utils.ports import AdapterError
from utils.vault import frontmatter


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World())


def waits(desk: Desk, path: Path) -> None:
    """It is listed, explained and told once; and nothing was sent, however often we look."""
    for _ in range(3):
        assert desk.cycle() == "waiting for a confirmation 1"
    shown = desk.approvals.get(path.stem)
    assert shown.needs_confirmation and shown.stage is Stage.APPROVED and shown.reason
    assert [level for level, title, _ in desk.alerts if "confirmation" in title] == ["INFO"]
    assert desk.world.calls == 0
    # A confirmation here is enough.
    desk.approvals.approve(path.stem, shown.sha256, by="anna")
    assert not (desk.vault / "Approved" / f"{path.stem}.reason.md").exists()
    assert desk.cycle() == "sent 1"


def test_a_move_by_the_human_is_an_approval(desk: Desk) -> None:
    path = desk.request()
    desk.approvals.observe()
    desk.move(path, "Approved")
    assert desk.cycle() == "sent 1"
    (record,) = desk.store.recent(5)
    assert (record.via, record.approved_by) == ("move", "local human")
    assert desk.places(path.name) == ["Done"]


def test_a_move_to_any_depth_is_found(desk: Desk) -> None:
    path = desk.request()
    desk.approvals.observe()
    desk.move(path, "Approved/email/today")
    assert desk.cycle() == "sent 1"


def test_what_was_never_seen_waiting_here_asks_for_a_confirmation(desk: Desk) -> None:
    path = desk.request()
    moved = desk.move(path, "Approved")
    waits(desk, moved)


def test_what_git_brought_asks_for_a_confirmation_even_if_it_was_seen_waiting(desk: Desk) -> None:
    path = desk.request()
    desk.approvals.observe()
    desk.in_git.add((f"Approved/{path.name}", path.read_bytes()))
    waits(desk, desk.move(path, "Approved"))


def test_bytes_edited_on_the_way_ask_for_a_confirmation(desk: Desk) -> None:
    path = desk.request()
    desk.approvals.observe()
    moved = desk.move(path, "Approved")
    moved.write_bytes(moved.read_bytes().replace(b"Kind regards", b"Kindest regards"))
    waits(desk, moved)


def test_a_first_mail_to_a_stranger_asks_for_a_confirmation_the_second_does_not(desk: Desk) -> None:
    path = desk.request(cc=["new@example.net"])
    desk.approvals.observe()
    waits(desk, desk.move(path, "Approved"))
    second = desk.request("mail 2", cc=["New@example.net"])
    desk.approvals.observe()
    desk.move(second, "Approved")
    assert desk.cycle() == "sent 1"


def test_an_unauthenticated_sender_is_a_stranger(desk: Desk) -> None:
    path = desk.request(verified=False)
    desk.approvals.observe()
    waits(desk, desk.move(path, "Approved"))


def test_trust_executes_what_a_sync_brought_but_no_payment(desk: Desk) -> None:
    desk.trust = True
    desk.restart()
    path = desk.request()
    desk.move(path, "Approved")
    payment = desk.request(
        "bill", action="payment", payee="ACME", amount="10.00", currency="EUR", reference="R1", in_reply_to=None
    )
    desk.move(payment, "Approved")
    assert set(desk.cycle().split(", ")) == {"sent 1", "waiting for a confirmation 1"}
    assert desk.places(path.name) == ["Done"] and desk.places(payment.name) == ["Approved"]


@pytest.mark.parametrize("how", ["between cancel's two steps", "cut off", "the key was revoked"])
def test_trust_does_not_undo_a_no(desk: Desk, how: str) -> None:
    """The record is void, and its file still lies in Approved/: that is nobody's move."""
    desk.trust = True
    desk.restart()
    path = desk.request()
    key = how == "the key was revoked"
    record = desk.approvals.approve(path.stem, sha(path), by="boss", via="signed:1" if key else "api")
    if how == "between cancel's two steps":
        filing = desk.executor._filing
        send_back = filing.send_back
        filing.send_back = lambda *move: (desk.approvals.observe(), send_back(*move))  # type: ignore[method-assign]
        desk.executor.cancel(record.action_id, by="anna")
        assert desk.cycle() == "idle" and desk.places(path.name) == ["Pending_Approval/email"]
    elif key:
        assert desk.node.remote_approvals.withdraw(Approver("boss", "key", "2026-06-01T09:00:00Z")) == 1
    else:
        assert desk.store.void(record, "rejected by anna")
        desk.restart()
    if how != "between cancel's two steps":
        waits_for_a_word = "waiting for a confirmation 1"
        assert [desk.cycle(), desk.cycle()] == [waits_for_a_word] * 2 and len(desk.alerts) == 1
        assert "came to nothing" in (desk.approvals.get(path.stem).reason or "")
        desk.move(desk.vault / "Approved" / path.name, "Pending_Approval/email")
        assert desk.cycle() == "idle"
    assert desk.world.calls == 0
    desk.move(desk.vault / "Pending_Approval/email" / path.name, "Approved")  # a move after that counts again
    assert desk.cycle() == "sent 1"


def test_a_move_back_before_execution_is_no_approval(desk: Desk) -> None:
    path = desk.request()
    desk.approvals.observe()
    moved = desk.move(path, "Approved")
    desk.approvals.observe()  # a sync's look makes the record
    desk.move(moved, "Pending_Approval/email")
    desk.store.mark_placed(desk.store.recent(1)[0])
    assert desk.cycle() == "idle" and desk.world.calls == 0


def test_a_request_rejected_by_a_move_takes_its_task_along(desk: Desk) -> None:
    path = desk.request()
    desk.approvals.observe()
    desk.move(path, "Rejected")
    desk.cycle()
    assert list((desk.vault / "In_Progress" / "cloud").glob("*.md")) == []
    assert len(list((desk.vault / "Rejected").glob("email-*Z-*.md"))) >= 2


def test_an_edit_after_the_approval_asks_again(desk: Desk) -> None:
    path = desk.request()
    desk.approvals.approve(path.stem, sha(path), by="anna")
    moved = desk.vault / "Approved" / path.name
    moved.write_bytes(moved.read_bytes().replace(b"Kind regards", b"Send money"))
    assert desk.cycle() == "back to pending 1"
    shown = desk.approvals.get(path.stem)
    assert shown.stage is Stage.PENDING_APPROVAL and "edited after the approval" in (shown.reason or "")
    assert desk.world.calls == 0 and desk.alerts[-1][0] == "INFO"
    desk.approvals.approve(path.stem, shown.sha256, by="anna")  # the human saw the new words
    assert desk.cycle() == "sent 1"


@pytest.mark.parametrize("place", ["Approved", "Pending_Approval/email"])
def test_a_request_moved_out_of_done_goes_back_there_and_is_never_sent_again(desk: Desk, place: str) -> None:
    path = desk.request()
    desk.approvals.observe()
    desk.approvals.approve(path.stem, sha(path), by="anna")
    desk.cycle()
    for _ in range(2):
        desk.move(desk.vault / "Done" / path.name, place)
        assert desk.cycle() == "executed before 1"
        assert desk.places(path.name) == ["Done"] and desk.places(f"{path.stem}.reason.md") == ["Done"]
        words = (desk.vault / "Done" / f"{path.stem}.reason.md").read_text()
        assert "Receipt:" in words and "Nothing was sent again" in words
    assert desk.cycle() == "idle" and len(desk.world.ledger) == 1


@pytest.mark.parametrize("place", ["Approved", "Pending_Approval/email"])
def test_a_copy_of_a_finished_request_is_set_aside_and_never_sent(desk: Desk, place: str) -> None:
    path = desk.request()
    data = path.read_bytes()
    desk.approvals.observe()
    desk.approvals.approve(path.stem, sha(path), by="anna")
    desk.cycle()
    (desk.vault / place / path.name).write_bytes(data)
    with contextlib.suppress(Invalid):
        desk.approvals.approve(path.stem, sha(desk.vault / "Done" / path.name), by="anna")
    assert desk.cycle() == "executed before 1"
    assert desk.places(path.name) == ["Done", "Quarantine"]
    assert "delete it" in (desk.vault / "Quarantine" / f"{path.stem}.reason.md").read_text()
    assert desk.cycle() == "idle" and len(desk.world.ledger) == 1


def test_done_holds_nothing_but_what_was_sent(desk: Desk) -> None:
    path = desk.request()
    desk.approvals.approve(path.stem, sha(path), by="anna")
    desk.cycle()
    moved = desk.move(desk.vault / "Done" / path.name, "Approved")
    moved.write_bytes(moved.read_bytes().replace(b"Kind regards", b"Send money"))
    desk.cycle()
    assert desk.places(path.name) == ["Quarantine"] and len(desk.world.ledger) == 1


def test_an_approved_file_that_was_deleted_is_not_sent_and_its_task_is_work_again(desk: Desk) -> None:
    path = desk.request()
    record = desk.approvals.approve(path.stem, sha(path), by="anna")
    (desk.vault / "Approved" / path.name).unlink()
    desk.cycle()
    assert desk.store.live(path.stem) is not None, "a sync may just be exchanging the file"
    desk.cycle()
    void = desk.store.newest(path.stem)
    assert void is not None and void.state is State.VOID and void.error == "its file was removed"
    assert desk.places(f"{record.source_task}.md") == ["Needs_Action/email"]
    assert [(level, text) for level, _, text in desk.alerts] == [("INFO", "It was approved, but its file was removed.")]
    assert desk.cycle() == "idle" and len(desk.alerts) == 1 and desk.world.calls == 0


def test_an_approval_that_expired_without_its_file_frees_its_task_as_well(desk: Desk) -> None:
    path = desk.request()
    record = desk.approvals.approve(path.stem, sha(path), by="anna")
    (desk.vault / "Approved" / path.name).unlink()
    desk.clock.advance(25 * 3600)
    desk.cycle()
    desk.cycle()
    assert desk.store.live(path.stem) is None
    assert desk.places(f"{record.source_task}.md") == ["Needs_Action/email"]


def test_an_approved_file_that_was_gone_for_a_moment_is_sent(desk: Desk) -> None:
    path = desk.request()
    desk.approvals.approve(path.stem, sha(path), by="anna")
    file = desk.vault / "Approved" / path.name
    data = file.read_bytes()
    file.unlink()
    desk.cycle()
    file.write_bytes(data)
    assert desk.cycle() == "sent 1"


@pytest.mark.parametrize(
    ("folder", "task_goes_to"), [("Rejected", "Rejected"), ("Done", "Done"), ("Quarantine", "In_Progress/cloud")]
)
def test_the_task_follows_an_approved_file_that_was_moved_away(desk: Desk, folder: str, task_goes_to: str) -> None:
    path = desk.request()
    record = desk.approvals.approve(path.stem, sha(path), by="anna")
    desk.move(desk.vault / "Approved" / path.name, folder)
    desk.cycle()
    desk.cycle()
    void = desk.store.newest(path.stem)
    assert void is not None and void.state is State.VOID and f"moved to {folder}/" in void.error
    assert desk.places(f"{record.source_task}.md") == [task_goes_to]
    assert desk.places(f"{record.source_task}.reason.md") == [task_goes_to]
    assert desk.world.calls == 0


def test_a_crash_while_a_deleted_file_is_let_go_loses_nothing(desk: Desk) -> None:
    for step in range(1, 20):
        path = desk.request(f"mail {step}")
        record = desk.approvals.approve(path.stem, sha(path), by="anna")
        (desk.vault / "Approved" / path.name).unlink()
        desk.cycle()
        desk.restart(Bomb(step))
        died = False
        try:
            desk.cycle()
        except Killed:
            died = True
        desk.restart()
        desk.cycle()
        desk.cycle()
        assert desk.store.newest(path.stem).state is State.VOID  # type: ignore[union-attr]
        assert desk.places(f"{record.source_task}.md") == ["Needs_Action/email"]
        if not died:
            return
    raise AssertionError("it did not end")


def test_two_swapped_files_are_not_executed(desk: Desk) -> None:
    first, second = desk.request("mail 1"), desk.request("mail 2", draft="Other words")
    for path in (first, second):
        desk.approvals.approve(path.stem, sha(path), by="anna")
    one, two = desk.vault / "Approved" / first.name, desk.vault / "Approved" / second.name
    one_data, two_data = one.read_bytes(), two.read_bytes()
    one.write_bytes(two_data)
    two.write_bytes(one_data)
    assert desk.cycle() == "back to pending 2"
    assert desk.world.calls == 0


def test_an_expired_approval_is_not_executed(desk: Desk) -> None:
    path = desk.request()
    desk.approvals.approve(path.stem, sha(path), by="anna")
    desk.clock.advance(24 * 3600 + 1)
    assert desk.cycle() == "back to pending 1"
    assert "expired" in (desk.approvals.get(path.stem).reason or "") and desk.world.calls == 0


def test_after_an_approval_came_to_nothing_a_file_left_behind_is_no_new_move(desk: Desk) -> None:
    """The crash between "this approval is void" and the file's way back: the same bytes lie in Approved/."""
    path = desk.request()
    desk.approvals.observe()
    desk.move(path, "Approved")
    desk.approvals.observe()
    desk.restart(Bomb(3))
    with pytest.raises(Killed):
        desk.clock.advance(25 * 3600)
        desk.executor.run()
    desk.clock.advance(-25 * 3600)  # even if the request itself were still good
    assert desk.store.newest(path.stem).state is State.VOID  # type: ignore[union-attr]
    assert desk.places(path.name) == ["Approved"]
    desk.restart()
    assert desk.cycle() == "waiting for a confirmation 1" and desk.world.calls == 0


def test_an_unreadable_file_is_set_aside_and_the_others_go_on(desk: Desk) -> None:
    good, bad = desk.request("mail 1"), desk.request("mail 2")
    desk.approvals.observe()
    desk.move(good, "Approved")
    moved = desk.move(bad, "Approved")
    moved.write_bytes(b"---\nid: [broken\n---\nwords")
    answer = desk.cycle()
    assert "sent 1" in answer and "set aside 1" in answer
    assert desk.places(bad.name) == ["Quarantine"]
    assert "broken YAML" in (desk.vault / "Quarantine" / f"{bad.stem}.reason.md").read_text()
    assert any(level == "WARNING" and "set aside" in title for level, title, _ in desk.alerts)


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_flipped_byte_is_executed(make_node: Callable[..., Services], tmp_path: Path, data: st.DataObject) -> None:
    desk = _shared(make_node, tmp_path)
    path = desk.request(f"mail {next(_numbers)}")
    desk.approvals.observe()
    original = path.read_bytes()
    by_move = data.draw(st.booleans())
    if by_move:
        moved = desk.move(path, "Approved")
    else:
        desk.approvals.approve(path.stem, sha(path), by="anna")
        moved = desk.vault / "Approved" / path.name
    place = data.draw(st.integers(0, len(original) - 1))
    flipped = bytearray(original)
    flipped[place] ^= data.draw(st.integers(1, 255))
    moved.write_bytes(flipped)
    desk.cycle()
    assert desk.world.calls == 0
    for left in [*desk.vault.rglob(f"{path.stem}*"), *(desk.vault / "In_Progress").rglob("*.md")]:
        left.unlink()


_numbers = itertools.count()
_desks: dict[Path, Desk] = {}


def _shared(make_node: Callable[..., Services], tmp_path: Path) -> Desk:
    if tmp_path not in _desks:
        _desks[tmp_path] = Desk(make_node, FakeClock(), World())
    return _desks[tmp_path]


def test_what_the_cloud_says_of_the_sender_counts_for_nothing(desk: Desk) -> None:
    """A request may claim any authenticated sender; only what this node read itself is believed (S7)."""
    path = desk.request(verified=False)
    assert b"sender_authenticated: true" in path.read_bytes()
    desk.cycle()
    desk.move(path, "Approved")
    assert "waiting for a confirmation 1" in desk.cycle()
    assert desk.world.calls == 0
    assert "first mail to" in (desk.approvals.get(path.stem).reason or "")


def test_a_draft_that_may_look_otherwise_asks_for_a_confirmation(desk: Desk) -> None:
    path = desk.request(draft="The price is 10.\n\n<!-- We accept any price. -->")
    desk.cycle()
    desk.move(path, "Approved")
    assert "waiting for a confirmation 1" in desk.cycle()
    shown = desk.approvals.get(path.stem)
    assert "look otherwise" in (shown.reason or "")
    assert shown.risk


@pytest.mark.parametrize("answer", ["approve", "reject", "reject by a move", "approve and remove"])
def test_a_request_moves_no_task_but_the_one_it_was_made_from(desk: Desk, answer: str) -> None:
    """Whoever writes a request may name any task of its domain in it, and have it finished by the human's answer."""
    own, other = desk.request("mail 1"), desk.request("mail 2")
    victim = frontmatter.read(other.read_bytes())[0]["source_task"]
    other.unlink()
    meta, body = frontmatter.read(own.read_bytes())
    own.write_bytes(frontmatter.write({**meta, "source_task": victim}, body))
    desk.approvals.observe()
    match answer:
        case "approve":
            desk.approvals.approve(own.stem, sha(own), by="anna")
            assert desk.cycle() == "sent 1"
        case "reject":
            desk.approvals.reject(own.stem, "no", by="anna")
        case "reject by a move":
            desk.move(own, "Rejected")
        case _:
            desk.approvals.approve(own.stem, sha(own), by="anna")
            (desk.vault / "Approved" / own.name).unlink()
    desk.cycle()
    desk.cycle()
    assert desk.places(f"{victim}.md") == ["In_Progress/cloud"]
    if answer in ("approve", "reject"):
        note = desk.vault / ("Done" if answer == "approve" else "Rejected") / f"{own.stem}.reason.md"
        assert f"The task {victim} stays where it is" in note.read_text()


# Read, and then moved


def other_words(desk: Desk, path: Path, *, by_sync: bool) -> None:
    """Other words come into a request that waited for an hour, and are seen there."""
    desk.approvals.observe()
    desk.clock.advance(3600)
    path.write_bytes(path.read_bytes().replace(b"Kind regards", b"Our price is 1 EUR, binding"))
    if by_sync:
        desk.in_git.add((f"Pending_Approval/email/{path.name}", path.read_bytes()))
    desk.approvals.observe()


def test_a_move_directly_after_a_sync_brought_other_words_is_asked_about(desk: Desk) -> None:
    """The person read the first words, and drags the file a second after the second ones came."""
    path = desk.request()
    other_words(desk, path, by_sync=True)
    desk.clock.advance(1)
    moved = desk.move(path, "Approved")
    assert desk.cycle() == "waiting for a confirmation 1" and desk.world.ledger == []
    assert "a sync brought these words at 13:00:00 UTC" in desk.node.layout.reason(moved).read_text()
    desk.clock.advance(600)
    assert desk.cycle() == "waiting for a confirmation 1", "time alone is no reading"
    desk.approvals.approve(moved.stem, sha(moved), by="ada")
    assert desk.cycle() == "sent 1"


def test_who_takes_such_a_move_back_and_reads_may_move_it_again(desk: Desk) -> None:
    path = desk.request()
    other_words(desk, path, by_sync=True)
    desk.clock.advance(1)
    moved = desk.move(path, "Approved")
    assert desk.cycle() == "waiting for a confirmation 1"
    desk.move(moved, "Pending_Approval/email")
    assert desk.cycle() == "idle"
    desk.clock.advance(1200)
    desk.move(path, "Approved")
    assert desk.cycle() == "sent 1"


def test_a_copy_in_pending_takes_no_such_move_back(desk: Desk) -> None:
    """Another program brings the file back to where it lay; the human did nothing."""
    path = desk.request()
    other_words(desk, path, by_sync=True)
    desk.clock.advance(1)
    moved = desk.move(path, "Approved")
    assert desk.cycle() == "waiting for a confirmation 1"
    desk.clock.advance(1200)
    path.write_bytes(moved.read_bytes())
    assert [desk.cycle(), desk.cycle()] == ["waiting for a confirmation 1"] * 2 and desk.world.ledger == []


def test_the_humans_own_words_are_not_brought_when_they_are_seen_again(desk: Desk) -> None:
    """A sync committed the edit, the provider refused the mail, the file waits again: nobody has brought anything."""
    path = desk.request()
    other_words(desk, path, by_sync=False)
    desk.in_git.add((f"Pending_Approval/email/{path.name}", path.read_bytes()))
    desk.clock.advance(600)
    desk.move(path, "Approved")
    desk.world.trouble = [AdapterError("no such mailbox", retry=False)]
    assert desk.cycle() == "failed 1" and desk.cycle() == "idle"
    desk.move(path, "Approved")
    assert desk.cycle() == "sent 1"


@pytest.mark.parametrize(("by_sync", "seconds"), [(True, 121), (False, 1)])
def test_who_had_time_to_read_or_wrote_the_words_is_not_asked(desk: Desk, by_sync: bool, seconds: int) -> None:
    path = desk.request()
    other_words(desk, path, by_sync=by_sync)
    if not by_sync:  # the next sync commits what the person wrote
        desk.in_git.add((f"Pending_Approval/email/{path.name}", path.read_bytes()))
    desk.clock.advance(seconds)
    desk.move(path, "Approved")
    assert desk.cycle() == "sent 1"


def test_the_first_words_that_a_sync_brings_may_be_moved_at_once(desk: Desk) -> None:
    path = desk.request()
    desk.in_git.add((f"Pending_Approval/email/{path.name}", path.read_bytes()))
    desk.approvals.observe()
    desk.move(path, "Approved")
    assert desk.cycle() == "sent 1"
