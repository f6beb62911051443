"""What a human answers by API or command line: approve, reject, edit; and what can't be answered."""

from __future__ import annotations

import errno
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.fakes.desk import DRAFT, Bomb, Desk, Killed, World, sha
from utils.bootstrap import Services
from utils.core.stages import Stage
from utils.core.task import format_time
from utils.execution.approvals import AlreadyActed, Changed, Expired, Invalid, NotFound, NotHere
from utils.execution.journal import State
from utils.vault import frontmatter, jsonl


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World())


def test_a_waiting_request_shows_exactly_what_lies_there(desk: Desk) -> None:
    path = desk.request(risk=["sender not authenticated"])
    (shown,) = desk.approvals.pending()
    assert shown == desk.approvals.get(path.stem)
    assert shown.text.encode() == path.read_bytes() and shown.sha256 == sha(path)
    assert shown.path == f"Pending_Approval/email/{path.name}" and shown.stage is Stage.PENDING_APPROVAL
    assert shown.risk == ("sender not authenticated",)
    assert not shown.needs_confirmation and not shown.expired and not shown.problems and shown.reason is None


def test_an_approval_is_recorded_and_the_file_moves_on(desk: Desk) -> None:
    path = desk.request()
    digest = sha(path)
    record = desk.approvals.approve(path.stem, digest, by="anna", via="cli")
    assert (record.state, record.sha256, record.approved_by, record.via) == (State.APPROVED, digest, "anna", "cli")
    assert desk.places(path.name) == ["Approved"]
    assert desk.approvals.pending() == []
    assert desk.cycle() == "sent 1"
    assert desk.places(path.name) == ["Done"] and len(desk.world.ledger) == 1


@pytest.mark.parametrize("begun", [True, False], ids=["and begun", "only"])
def test_a_rejection_of_what_is_approved_while_its_file_moves(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    path = desk.move(desk.request(verified=False), "Approved")
    desk.cycle()
    move = desk.node.claims.move

    def approved_first(lying: Path, stage: Stage, **more: Any) -> Path:
        if stage is Stage.REJECTED and lying == path:
            record = desk.approvals.approve(path.stem, sha(path), by="otto")
            if begun:
                assert desk.store.begin(record)
                desk.tools.call("email", "reply_email", {"action_id": record.action_id})
        return move(lying, stage, **more)

    monkeypatch.setattr(desk.node.claims, "move", approved_first)
    if not begun:
        desk.approvals.reject(path.stem, "no", by="anna")
        assert desk.cycle() == "idle" and desk.world.calls == 0 and desk.places(path.name) == ["Rejected"]
        return
    with pytest.raises(AlreadyActed, match="too late to reject"):
        desk.approvals.reject(path.stem, "no", by="anna")
    assert desk.cycle() == "sent 1" and desk.places(path.name) == ["Rejected"]
    assert "too late to stop it" in (desk.vault / "Rejected" / f"{path.stem}.reason.md").read_text()
    assert [answer.answer for answer in desk.store.answers.recent(5)] == ["approved"]


@pytest.mark.parametrize("answer", ["approved", "rejected"])
def test_an_answer_counts_and_is_kept_where_the_claims_log_can_not_be_written(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    path = desk.request()
    desk.cycle()
    digest = sha(path)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(jsonl, "write", full)
        if answer == "approved":
            assert desk.approvals.approve(path.stem, digest, by="anna").state is State.APPROVED
        else:
            desk.approvals.reject(path.stem, "no", by="anna")
    assert [one.answer for one in desk.store.answers.recent(5)] == [answer]
    desk.cycle()
    assert len(desk.world.ledger) == (answer == "approved")
    where = "Done" if answer == "approved" else "Rejected"
    assert desk.places(path.name) == [where]
    assert not list(desk.vault.glob("In_Progress/*/*.md")), "its task went along"


def test_the_same_approval_twice_is_one_record_and_one_mail(desk: Desk) -> None:
    path = desk.request()
    digest = sha(path)
    first = desk.approvals.approve(path.stem, digest, by="anna")
    assert desk.approvals.approve(path.stem, digest, by="anna").action_id == first.action_id
    desk.cycle()
    again = desk.approvals.approve(path.stem, digest, by="anna")
    assert again.action_id == first.action_id and again.state is State.DONE
    desk.cycle()
    assert len(desk.world.ledger) == 1


def test_an_approval_of_other_bytes_than_those_shown_is_refused(desk: Desk) -> None:
    path = desk.request()
    digest = sha(path)
    path.write_text(path.read_text().replace("Kind regards", "Pay me"))
    with pytest.raises(Changed) as refused:
        desk.approvals.approve(path.stem, digest, by="anna")
    assert refused.value.sha256 == sha(path)
    assert desk.store.recent(1) == []
    assert desk.cycle() == "idle"


def test_an_expired_request_asks_again(desk: Desk) -> None:
    path = desk.request()
    desk.clock.advance(25 * 3600)
    assert desk.approvals.get(path.stem).expired
    with pytest.raises(Expired):
        desk.approvals.approve(path.stem, sha(path), by="anna")


def test_an_approval_lives_no_longer_than_policy_says_whatever_the_request_claims(desk: Desk) -> None:
    path = desk.request(expires=format_time(desk.clock.now() + timedelta(days=3650)))
    record = desk.approvals.approve(path.stem, sha(path), by="anna")
    assert record.expires_at == desk.clock.now() + timedelta(hours=24)


def test_a_draft_only_node_takes_no_answer(make_node: Callable[..., Services], clock: FakeClock) -> None:
    desk = Desk(make_node, clock, World(), AGENT_MODE="draft_only")
    path = desk.request()
    digest = sha(path)
    for answer in (
        lambda: desk.approvals.approve(path.stem, digest, by="anna"),
        lambda: desk.approvals.reject(path.stem, by="anna"),
        lambda: desk.approvals.edit(path.stem, digest, by="anna", draft="x"),
        lambda: desk.executor.settle("x", "happened", by="anna"),
    ):
        with pytest.raises(NotHere):
            answer()
    desk.approvals.observe()
    desk.move(path, "Approved")
    desk.approvals.observe()
    assert desk.store.recent(1) == [] and not desk.store.was_seen(path.stem, digest)
    assert desk.executor.run() == "draft-only: 1 left in Approved/ for Local"


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"to": ["not an address"]}, "'to'"),
        ({"to": ["a@b.example, c@d.example"]}, "'to'"),
        ({"cc": ["jörg@example.org"]}, "SMTPUTF8"),
        ({"bcc": ["ann@exämple.org"]}, "xn--"),
        ({"subject": "Re: x\r\nBcc: thief@example.org"}, "'subject'"),
        ({"in_reply_to": "<a@b>\r\nBcc: thief@example.org"}, "'in_reply_to'"),
        ({"references": ["<a@b> <c@d>"]}, "'references'"),
        ({"attachments": ["secret.pdf"]}, "'attachments'"),
        ({"draft": "  "}, "draft is empty"),
    ],
)
def test_what_can_not_be_sent_can_not_be_approved(desk: Desk, fields: dict[str, str], word: str) -> None:
    path = desk.request(**fields)
    assert any(word in problem for problem in desk.approvals.get(path.stem).problems)
    with pytest.raises(Invalid, match=word):
        desk.approvals.approve(path.stem, sha(path), by="anna")


def test_an_unreadable_request_is_shown_with_its_problem(desk: Desk) -> None:
    path = desk.request()
    path.write_bytes(b"---\nid: [broken\n---\n")
    (shown,) = desk.approvals.pending()
    assert shown.request is None and "broken YAML" in shown.problems[0]
    with pytest.raises(Invalid):
        desk.approvals.approve(path.stem, sha(path), by="anna")


def test_an_id_in_two_places_is_refused_until_one_is_gone(desk: Desk) -> None:
    path = desk.request()
    copy = desk.vault / "Pending_Approval" / path.name
    copy.write_bytes(path.read_bytes())
    with pytest.raises(Invalid, match="two places"):
        desk.approvals.approve(path.stem, sha(path), by="anna")
    copy.unlink()
    desk.approvals.approve(path.stem, sha(path), by="anna")


def test_a_rejection_takes_request_and_task_along_with_the_reason(desk: Desk) -> None:
    path = desk.request()
    desk.approvals.reject(path.stem, "we do not write to Ann", by="anna", sha256=sha(path))
    assert desk.places(path.name) == ["Rejected"]
    note = (desk.vault / "Rejected" / f"{path.stem}.reason.md").read_text()
    assert "we do not write to Ann" in note and "anna" in note
    assert list((desk.vault / "In_Progress" / "cloud").glob("*.md")) == []
    with pytest.raises(NotFound):
        desk.approvals.reject(path.stem, by="anna")


def test_an_approval_can_be_taken_back_until_it_is_executed(desk: Desk) -> None:
    path = desk.request()
    desk.approvals.approve(path.stem, sha(path), by="anna")
    desk.approvals.reject(path.stem, by="anna")
    assert desk.cycle() == "idle" and desk.world.calls == 0

    other = desk.request("mail 2")
    desk.approvals.approve(other.stem, sha(other), by="anna")
    desk.move(desk.vault / "Approved" / other.name, "Pending_Approval/email")
    assert desk.cycle() == "idle" and desk.world.calls == 0
    assert desk.store.newest(other.stem).state is State.VOID  # type: ignore[union-attr]


def test_an_edit_changes_what_it_names_and_keeps_all_else(desk: Desk) -> None:
    path = desk.request(custom="kept")
    path.write_text(path.read_text().replace("priority: normal", "priority: normal  # a person's comment"))
    before = sha(path)
    after = desk.approvals.edit(
        path.stem, before, by="anna", draft="Short.\r\nGrüße", subject="Re: later", cc=["c@x.org"]
    )
    assert after == sha(path) != before
    request = desk.approvals.get(path.stem).request
    assert request is not None
    assert request.draft == "Short.\nGrüße" and request.fields["subject"] == "Re: later"
    assert request.fields["cc"] == ["c@x.org"] and request.meta["custom"] == "kept"
    assert "# a person's comment" in path.read_text() and "> a question" in path.read_text()
    with pytest.raises(Changed):
        desk.approvals.edit(path.stem, before, by="anna", draft="again")
    desk.approvals.approve(path.stem, after, by="anna")
    assert desk.cycle() == "sent 1"


@pytest.mark.parametrize("change", [{"draft": "a\0b"}, {"to": ["nobody"]}, {"subject": "a\nb"}, {"draft": " "}])
def test_an_edit_that_makes_no_mail_changes_nothing(desk: Desk, change: dict[str, str]) -> None:
    path = desk.request()
    before = path.read_bytes()
    with pytest.raises(Invalid):
        desk.approvals.edit(path.stem, sha(path), by="anna", **change)  # type: ignore[arg-type]
    assert path.read_bytes() == before


def test_a_draft_with_headings_and_rules_is_sent_whole(desk: Desk) -> None:
    draft = "## Draft\n---\nid: x\n\n## Draft\nend"
    path = desk.request(draft=DRAFT)
    after = desk.approvals.edit(path.stem, sha(path), by="anna", draft=draft)
    assert frontmatter.read(path.read_bytes())[0]["id"] == path.stem
    desk.approvals.approve(path.stem, after, by="anna")
    desk.cycle()
    assert desk.world.ledger[0].data.split(b"\r\n\r\n", 1)[1] == (draft + "\n").replace("\n", "\r\n").encode()


def test_an_approval_that_died_before_its_move_is_completed(desk: Desk) -> None:
    path = desk.request()
    desk.restart(Bomb(3))  # the record is durable, the file not moved
    with pytest.raises(Killed):
        desk.approvals.approve(path.stem, sha(path), by="anna")
    assert desk.places(path.name) == ["Pending_Approval/email"] and len(desk.store.recent(5)) == 1
    desk.restart()
    assert desk.cycle() == "sent 1"
    assert desk.places(path.name) == ["Done"]


def test_a_request_that_was_executed_can_not_be_approved_in_other_words(desk: Desk) -> None:
    path = desk.request()
    data = path.read_bytes()
    desk.approvals.approve(path.stem, sha(path), by="anna")
    desk.cycle()
    path.write_bytes(data.replace(b"Kind regards", b"And again"))
    with pytest.raises(AlreadyActed):
        desk.approvals.approve(path.stem, sha(path), by="anna")
    desk.cycle()
    assert len(desk.world.ledger) == 1


def test_a_copy_under_another_name_can_not_be_approved_nor_executed(desk: Desk) -> None:
    path = desk.request()
    copy = path.with_name("email-20260601T090000Z-00000000.md")
    copy.write_bytes(path.read_bytes())
    with pytest.raises(Invalid, match="a copy"):
        desk.approvals.approve(copy.stem, sha(copy), by="anna")
    desk.approvals.observe()
    desk.move(copy, "Approved")
    assert desk.cycle() == "back to pending 1" and desk.world.calls == 0


def test_rejecting_one_of_many_leaves_the_others(desk: Desk, tmp_path: Path) -> None:
    first, second = desk.request("mail 1"), desk.request("mail 2")
    desk.approvals.reject(first.stem, by="anna")
    assert [shown.request_id for shown in desk.approvals.pending()] == [second.stem]
