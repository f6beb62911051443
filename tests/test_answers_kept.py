"""What an answer leaves behind: the difference of an edit, a snooze that ends by itself, expiry told in time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.conftest import FakeClock
from tests.fakes.desk import DRAFT, Bomb, Desk, Killed, World, sha
from utils.bootstrap import Services
from utils.core import expiry
from utils.core.stages import Stage
from utils.core.task import format_time
from utils.execution.answers import BadAnswer, Expired, Invalid


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World())


def soon_titles(desk: Desk) -> list[str]:
    return [title for _, title, _ in desk.alerts if "expire soon" in title]


# The difference of an edit


def test_what_was_changed_in_obsidian_is_in_the_record_and_in_the_filed_note(desk: Desk) -> None:
    path = desk.request()
    desk.cycle()
    path.write_text(path.read_text().replace("thank you for your question", "thanks for asking"))
    desk.cycle()
    desk.move(path, "Approved")
    assert desk.cycle() == "sent 1"
    record = desk.store.recent(1)[0]
    change = desk.store.answers.change_of(record.action_id)
    assert change.draft == (DRAFT, DRAFT.replace("thank you for your question", "thanks for asking"))
    note = (desk.vault / "Done" / f"{path.stem}.reason.md").read_text()
    assert "Receipt:" in note and "-thank you for your question." in note and "+thanks for asking." in note


def test_of_many_edits_the_first_draft_and_what_was_approved_are_compared(desk: Desk) -> None:
    path = desk.request()
    first = desk.approvals.edit(path.stem, sha(path), by="anna", draft="One.", cc=["new@example.net"])
    second = desk.approvals.edit(path.stem, first, by="anna", draft="Two.")
    record = desk.approvals.approve(path.stem, second, by="anna")
    change = desk.store.answers.change_of(record.action_id)
    assert change.draft == (DRAFT, "Two.") and change.fields == {"cc": (None, ["new@example.net"])}


def test_an_approval_without_an_edit_leaves_no_difference(desk: Desk) -> None:
    path = desk.request()
    desk.cycle()
    record = desk.approvals.approve(path.stem, sha(path), by="anna")
    desk.cycle()
    assert not desk.store.answers.change_of(record.action_id)
    assert "What you changed" not in (desk.vault / "Done" / f"{path.stem}.reason.md").read_text()


def test_an_edit_that_is_approved_after_it_failed_is_still_compared_with_the_draft(desk: Desk) -> None:
    path = desk.request()
    after = desk.approvals.edit(path.stem, sha(path), by="anna", draft="Mine.")
    desk.approvals.approve(path.stem, after, by="anna")
    desk.clock.advance(25 * 3600)
    assert desk.cycle() == "back to pending 1"
    renewed = desk.approvals.edit(path.stem, after, by="anna", renew=True)
    record = desk.approvals.approve(path.stem, renewed, by="anna")
    assert desk.store.answers.change_of(record.action_id).draft == (DRAFT, "Mine.")


def test_what_is_kept_of_a_request_goes_when_it_waits_no_more(desk: Desk) -> None:
    path = desk.request()
    desk.approvals.edit(path.stem, sha(path), by="anna", draft="Mine.")
    assert len(desk.store.answers.versions(path.stem)) == 2
    desk.approvals.reject(path.stem, "no", by="anna")
    desk.cycle()
    assert desk.store.answers.versions(path.stem) == []
    assert [answer.answer for answer in desk.store.answers.recent()] == ["rejected", "edited"]


def test_an_edit_of_what_waits_in_approved_is_no_look_at_what_waits(desk: Desk) -> None:
    """Bytes that never lay in Pending_Approval/ here stay unseen, so that no move of them approves anything (S7)."""
    path = desk.request()
    moved = desk.move(path, "Approved")
    before = sha(moved)
    after = desk.approvals.edit(path.stem, before, by="anna", draft="Mine.")
    assert not desk.store.was_seen(path.stem, before) and not desk.store.was_seen(path.stem, after)
    for _ in range(2):
        assert desk.cycle() == "waiting for a confirmation 1"
    assert desk.world.calls == 0


def test_a_fence_in_the_draft_does_not_end_the_difference(desk: Desk) -> None:
    path = desk.request(draft="```\nold\n```")
    after = desk.approvals.edit(path.stem, sha(path), by="anna", draft="```\nnew\n```")
    desk.approvals.approve(path.stem, after, by="anna")
    desk.cycle()
    assert "````diff\n" in (desk.vault / "Done" / f"{path.stem}.reason.md").read_text()


# Snoozed


def test_a_snooze_hides_says_so_and_ends_by_itself(desk: Desk) -> None:
    path = desk.request()
    desk.approvals.snooze(path.stem, desk.clock.now() + timedelta(hours=2), by="anna")
    desk.restart()
    desk.cycle()
    (hidden,) = desk.approvals.pending()
    assert hidden.state == "snoozed" and desk.places(path.name) == ["Pending_Approval/email"]
    note = desk.vault / "Pending_Approval" / "email" / f"{path.stem}.reason.md"
    assert "Snoozed until 2026-06-01T14:00:00Z" in note.read_text() and "2026-06-02T12:00:00Z" in note.read_text()
    desk.clock.advance(2 * 3600)
    assert desk.approvals.get(path.stem).state == "waiting"
    desk.cycle()
    assert not note.exists() and desk.store.answers.snoozed() == {}


def test_a_snooze_stops_no_clock(desk: Desk) -> None:
    path = desk.request()
    shown = desk.approvals.snooze(path.stem, desk.clock.now() + timedelta(hours=30), by="anna")
    assert "expires before that" in (desk.approvals.get(path.stem).reason or "") and shown.expires_in == 24 * 3600
    desk.clock.advance(20 * 3600)
    desk.cycle()
    assert soon_titles(desk) == ["1 request will expire soon"], "a hidden request is warned of as well"
    desk.clock.advance(5 * 3600)
    with pytest.raises(Expired):
        desk.approvals.approve(path.stem, sha(path), by="anna")


def test_an_approval_ends_a_snooze(desk: Desk) -> None:
    path = desk.request()
    desk.approvals.snooze(path.stem, desk.clock.now() + timedelta(hours=2), by="anna")
    desk.approvals.approve(path.stem, sha(path), by="anna")
    assert desk.store.answers.snoozed() == {} and desk.cycle() == "sent 1"


def test_what_can_not_be_snoozed(desk: Desk) -> None:
    path = desk.request()
    with pytest.raises(BadAnswer, match="has passed"):
        desk.approvals.snooze(path.stem, desk.clock.now(), by="anna")
    desk.move(path, "Approved")
    desk.cycle()
    with pytest.raises(Invalid, match="waits for a confirmation"):
        desk.approvals.snooze(path.stem, desk.clock.now() + timedelta(hours=1), by="anna")


# Expiry


def test_a_quarter_before_the_end_it_is_told_once_and_all_together(desk: Desk) -> None:
    first, second = desk.request("mail 1"), desk.request("mail 2")
    desk.request("mail 3", expires=format_time(desk.clock.now() + timedelta(hours=20)), to=["x@y.example"])
    desk.clock.advance(14 * 3600)
    desk.cycle()
    assert soon_titles(desk) == []
    desk.clock.advance(4 * 3600)
    for _ in range(3):
        desk.cycle()
    assert soon_titles(desk) == ["3 requests will expire soon"]
    message = next(text for _, title, text in desk.alerts if "expire soon" in title)
    assert first.stem in message and second.stem in message and "expires in 6 h" in message


def test_a_payment_is_warned_of_in_its_last_quarter_of_an_hour_whatever_it_claims(desk: Desk) -> None:
    bill = {"action": "payment", "payee": "ACME", "amount": "10.00", "currency": "EUR", "reference": "R1"}
    path = desk.request("bill", expires=format_time(desk.clock.now() + timedelta(hours=10)), in_reply_to=None, **bill)
    desk.clock.advance(9.5 * 3600)
    desk.cycle()
    assert soon_titles(desk) == [], "an hour is a payment's life: a quarter of that"
    desk.clock.advance(16 * 60)
    desk.cycle()
    assert soon_titles(desk) == ["1 request will expire soon"]
    assert desk.approvals.get(path.stem).warning


def test_a_renewed_request_is_warned_of_anew(desk: Desk) -> None:
    path = desk.request()
    desk.clock.advance(20 * 3600)
    desk.cycle()
    desk.approvals.edit(path.stem, sha(path), by="anna", renew=True)
    desk.cycle()
    assert len(soon_titles(desk)) == 1
    desk.clock.advance(20 * 3600)
    desk.cycle()
    assert len(soon_titles(desk)) == 2


def test_an_expired_request_is_never_sent_by_a_move(desk: Desk) -> None:
    path = desk.request()
    desk.cycle()
    desk.clock.advance(24 * 3600)
    desk.move(path, "Approved")
    assert desk.cycle() == "back to pending 1" and desk.world.calls == 0
    assert desk.approvals.get(path.stem).stage is Stage.PENDING_APPROVAL


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (45, "45 s"),
        (840, "14 min"),
        (3600, "1 h"),
        (19_200, "5 h 20 min"),
        (183_600, "2 days 3 h"),
        (172_800, "2 days"),
    ],
)
def test_spans_in_words(seconds: int, words: str) -> None:
    assert expiry.in_words(seconds) == words


# The store


def test_an_approval_and_its_difference_are_one_step(desk: Desk) -> None:
    """Killed at any step of an approval: there is a record with its answer, or neither."""
    for step in range(1, 12):
        path = desk.request(f"mail {step}")
        after = desk.approvals.edit(path.stem, sha(path), by="anna", draft="Mine.")
        desk.restart(Bomb(step))
        died = False
        try:
            desk.approvals.approve(path.stem, after, by="anna")
        except Killed:
            died = True
        desk.restart()
        record = desk.store.newest(path.stem)
        answers = desk.store.answers.recent(request=path.stem, answer="approved")
        assert [answer.action_id for answer in answers] == ([record.action_id] if record else [])
        if not died:
            return
    raise AssertionError("it did not end")


@pytest.mark.parametrize(("claimed", "left"), [(1000, 24), (3, 3)])
def test_a_request_may_claim_less_time_than_policy_gives_and_not_more(desk: Desk, claimed: int, left: int) -> None:
    path = desk.request(expires=format_time(desk.clock.now() + timedelta(hours=claimed)))
    assert desk.approvals.get(path.stem).expires_in == left * 3600, "not seen by a cycle yet"
    desk.cycle()
    desk.clock.advance(3600)
    shown = desk.approvals.get(path.stem)
    assert shown.expires_in == (left - 1) * 3600 and shown.expires == desk.clock.now() + timedelta(hours=left - 1)
    desk.clock.advance((left - 1) * 3600)
    assert desk.approvals.get(path.stem).expired
    with pytest.raises(Expired):
        desk.approvals.approve(path.stem, sha(path), by="anna")


def test_a_payment_has_an_hour_whatever_it_claims_and_a_move_after_it_goes_back(desk: Desk) -> None:
    bill = {"action": "payment", "payee": "ACME", "amount": "10.00", "currency": "EUR", "reference": "R1"}
    path = desk.request("bill", expires=format_time(desk.clock.now() + timedelta(hours=24)), in_reply_to=None, **bill)
    desk.cycle()
    assert desk.approvals.get(path.stem).expires_in == 3600
    moved = desk.move(path, "Approved")
    desk.clock.advance(3600)
    desk.cycle()
    assert not moved.exists() and desk.places(path.name) != ["Approved"]
    assert desk.approvals.get(path.stem).expired and desk.world.calls == 0
