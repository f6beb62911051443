"""What the executor makes of trouble: retries only where nothing happened for certain, everything else is shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import FakeClock
from tests.fakes.desk import Desk, Killed, World, sha
from utils.bootstrap import Services
from utils.core.acting import Receipt
from utils.core.mail import OutgoingMail
from utils.core.task import format_time
from utils.execution import executor
from utils.execution.approvals import AlreadyActed, Invalid, NotFound
from utils.execution.journal import MAX_ATTEMPTS, ActionRecord, State
from utils.ports import AdapterError, AuthRefused, OutcomeUnknown
from utils.vault import locks


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World())


def approved(desk: Desk, key: str = "mail 1", **fields: object) -> ActionRecord:
    path = desk.request(key, **fields)
    return desk.approvals.approve(path.stem, sha(path), by="anna")


def now(desk: Desk, record: ActionRecord) -> ActionRecord:
    found = desk.store.get(record.action_id)
    assert found is not None
    return found


def test_a_refusal_for_now_is_tried_again_later_with_growing_pauses(desk: Desk) -> None:
    record = approved(desk)
    desk.world.trouble = [AdapterError("451 greylisted", retry=True)] * 2
    assert desk.cycle() == "waiting to try again 1"
    assert desk.cycle() == "waiting to try again 1" and desk.world.calls == 1
    desk.clock.advance(31)
    desk.cycle()
    desk.clock.advance(60)
    assert desk.cycle() == "waiting to try again 1" and desk.world.calls == 2
    desk.clock.advance(61)
    assert desk.cycle() == "sent 1"
    assert now(desk, record).attempts == 3 and len(desk.world.ledger) == 1


def test_a_note_says_that_it_is_tried_again_and_when(desk: Desk) -> None:
    """An approved file that stayed where it lay said nothing: the error was in the list of actions alone."""
    desk.world.trouble = [AdapterError("Odoo can't be reached: timeout.", retry=True)] * 2
    beside = desk.vault / f"Approved/{approved(desk).request_id}.reason.md"
    assert desk.cycle() == desk.cycle() == "waiting to try again 1"
    first = beside.read_text()
    assert "a try failed and did nothing: Odoo can't be reached: timeout. It goes on by itself at about" in first
    assert "2026-06-01T12:00:30Z" in first and "That was try 1" in first and "brakes" not in first
    desk.clock.advance(31)
    assert desk.cycle() == desk.cycle() == "waiting to try again 1"
    assert "That was try 2" in beside.read_text() and "2026-06-01T12:02:31Z" in beside.read_text()
    desk.clock.advance(121)
    assert desk.cycle() == "sent 1" and not beside.exists()
    assert desk.alerts == []


def test_a_note_says_that_credentials_are_refused_and_what_to_do(desk: Desk) -> None:
    desk.world.trouble = [AuthRefused("535 no")]
    records = [approved(desk), approved(desk, "mail 2")]
    assert "failed 1" in desk.cycle() and desk.cycle() == "waiting for credentials 1"
    (beside,) = (desk.vault / "Approved").glob("*.reason.md")
    assert beside.name.removesuffix(".reason.md") in {record.request_id for record in records}
    assert "refuses our credentials. `.venv/bin/python -m scripts.doctor` names the settings" in beside.read_text()


def test_after_five_tries_it_fails_visibly_and_asks_again(desk: Desk) -> None:
    record = approved(desk)
    desk.world.trouble = [AdapterError("451 later", retry=True)] * 99
    for _ in range(10):
        desk.cycle()
        desk.clock.advance(3600)
    assert desk.world.calls == MAX_ATTEMPTS
    assert now(desk, record).state is State.FAILED
    assert desk.places(f"{record.request_id}.md") == ["Pending_Approval/email"]
    assert "451 later" in (desk.approvals.get(record.request_id).reason or "")
    assert any(level == "WARNING" for level, _, _ in desk.alerts)
    (line,) = desk.action_log()
    assert line["state"] == "failed" and line["receipt"] is None and "451 later" in line["error"]


def test_a_refusal_for_good_fails_at_once_and_a_new_approval_may_try_anew(desk: Desk) -> None:
    record = approved(desk)
    desk.world.trouble = [AdapterError("550 no such user", retry=False)]
    assert desk.cycle() == "failed 1" and desk.world.calls == 1
    shown = desk.approvals.get(record.request_id)
    again = desk.approvals.approve(record.request_id, shown.sha256, by="anna")
    assert again.action_id != record.action_id
    assert desk.cycle() == "sent 1"


def test_a_lost_answer_without_evidence_is_unknown_for_ever(desk: Desk) -> None:
    record = approved(desk)
    desk.world.lost_answers = [OutcomeUnknown("connection lost after the final dot")]
    assert desk.cycle() == "unknown 1"
    for _ in range(5):
        desk.clock.advance(7200)
        assert desk.cycle() == "unknown 1"
    assert desk.world.calls == 1 and now(desk, record).state is State.UNKNOWN
    assert [level for level, _, _ in desk.alerts] == ["CRITICAL"]
    assert "final dot" in desk.alerts[0][2] and record.action_id in desk.alerts[0][2]
    assert desk.action_log()[0]["state"] == "unknown"
    with pytest.raises(AlreadyActed):
        desk.approvals.reject(record.request_id, by="anna")
    lying = desk.vault / "Approved" / f"{record.request_id}.md"
    lying.write_bytes(lying.read_bytes().replace(b"Kind regards", b"And once more"))
    with pytest.raises(AlreadyActed):  # only settling it makes room for another approval
        desk.approvals.approve(record.request_id, sha(lying), by="anna")
    desk.cycle()
    assert desk.world.calls == 1 and now(desk, record).state is State.UNKNOWN


def test_a_lost_answer_with_evidence_is_done(make_node: Callable[..., Services], clock: FakeClock) -> None:
    desk = Desk(make_node, clock, World(keeps_sent=True))
    record = approved(desk)
    desk.world.lost_answers = [OutcomeUnknown("cut off")]
    assert desk.cycle() == "sent 1"
    assert now(desk, record).receipt is not None and desk.world.calls == 1


def test_a_human_settles_an_unknown_outcome_either_way(desk: Desk) -> None:
    happened, not_sent = approved(desk, "mail 1"), approved(desk, "mail 2")
    desk.world.lost_answers = [OutcomeUnknown("a"), OutcomeUnknown("b")]
    assert desk.cycle() == "unknown 2"
    begun = format_time(desk.clock.now())
    desk.clock.advance(600)
    settled = desk.executor.settle(happened.action_id, "happened", by="anna", note="it is in Sent")
    assert settled.state is State.DONE and settled.receipt is not None and "it is in Sent" in settled.receipt.detail
    assert desk.places(f"{happened.request_id}.md") == ["Done"]
    note = (desk.vault / "Done" / f"{happened.request_id}.reason.md").read_text()
    assert f"was begun at {begun}, settled at {format_time(desk.clock.now())}, approved by" in note
    desk.executor.settle(not_sent.action_id, "ask_again", by="anna")
    assert desk.places(f"{not_sent.request_id}.md") == ["Pending_Approval/email"]
    assert desk.cycle() == "idle" and desk.world.calls == 2
    with pytest.raises(AlreadyActed):
        desk.executor.settle(happened.action_id, "ask_again", by="anna")
    with pytest.raises(NotFound):
        desk.executor.settle("nothing", "happened", by="anna")
    with pytest.raises(Invalid):
        desk.executor.settle(happened.action_id, "perhaps", by="anna")
    shown = desk.approvals.get(not_sent.request_id)
    desk.approvals.approve(not_sent.request_id, shown.sha256, by="anna")
    assert desk.cycle() == "sent 1"


@pytest.mark.parametrize("outcome", ["happened", "ask_again"])
def test_what_nobody_knows_is_not_approved_anew_by_dragging_it_back(desk: Desk, outcome: str) -> None:
    record = approved(desk)
    desk.world.lost_answers = [OutcomeUnknown("cut off")]
    assert desk.cycle() == "unknown 1"
    back = desk.vault / "Pending_Approval" / "email" / f"{record.request_id}.md"
    (desk.vault / "Approved" / back.name).rename(back)
    desk.cycle()
    note = back.with_name(f"{record.request_id}.reason.md")
    assert "may or may not have taken effect" in note.read_text()
    shown = desk.approvals.get(record.request_id)
    assert any("nobody knows whether" in problem for problem in shown.problems)
    with pytest.raises(AlreadyActed, match="actions settle"):
        desk.approvals.approve(record.request_id, shown.sha256, by="anna")
    desk.executor.settle(record.action_id, outcome, by="anna")
    desk.cycle()
    assert desk.world.calls == 1
    if outcome == "happened":
        assert desk.places(back.name) == ["Done"]
    else:
        assert "may or may not" not in (note.read_text() if note.exists() else "")
        desk.approvals.approve(record.request_id, shown.sha256, by="anna")
        assert desk.cycle() == "sent 1"


def test_the_note_of_what_nobody_knows_comes_back_with_its_file(desk: Desk) -> None:
    record = approved(desk)
    desk.world.lost_answers = [OutcomeUnknown("cut off")]
    assert desk.cycle() == "unknown 1"
    lying = desk.vault / "Approved" / f"{record.request_id}.md"
    note, away = lying.with_name(f"{record.request_id}.reason.md"), desk.vault / lying.name
    lying.rename(away)
    note.unlink()
    desk.cycle()
    away.rename(lying)
    assert desk.cycle() == "unknown 1" and "may or may not have taken effect" in note.read_text()


def test_a_server_that_does_not_start_costs_a_retry(desk: Desk) -> None:
    record = approved(desk)
    desk.tools.broken = [AdapterError("no memory", retry=True)]
    assert desk.cycle() == "waiting to try again 1" and desk.world.calls == 0
    desk.clock.advance(60)
    assert desk.cycle() == "sent 1" and now(desk, record).attempts == 2


def test_while_a_server_still_acts_nothing_is_concluded(desk: Desk) -> None:
    record = approved(desk)
    sending = desk.store.begin(record)
    assert sending is not None and desk.store.consume(sending, "<m@x>")
    with locks.hold(desk.node.settings.state_dir / "locks" / "acting.lock"):
        approved(desk, "mail 2")
        answer = desk.cycle()
        assert "in flight" in answer and desk.world.calls == 0, "no second call beside the first"
        assert now(desk, record).state is State.SENDING
    assert desk.cycle() == "unknown 1, sent 1"


def test_a_server_that_hangs_is_told_once_for_each_try(desk: Desk) -> None:
    record = approved(desk)
    sending = desk.store.begin(record)
    assert sending is not None and desk.store.consume(sending, "<m@x>")
    stuck = [("CRITICAL", f"{record.request_id} is being carried out since {sending.started_at:%H:%M} UTC")]
    with locks.hold(desk.node.settings.state_dir / "locks" / "acting.lock", note="action 7"):
        desk.clock.advance(19 * 60)
        desk.cycle()
        assert desk.alerts == [], "a slow server may still end"
        desk.clock.advance(60)
        for _ in range(3):
            desk.cycle()
            assert [alert[:2] for alert in desk.alerts] == stuck and "action 7" in desk.alerts[0][2]


def test_dry_run_verifies_says_so_once_and_leaves_it(make_node: Callable[..., Services], clock: FakeClock) -> None:
    desk = Desk(make_node, clock, World(), DRY_RUN="true")
    record = approved(desk)
    assert desk.cycle() == desk.cycle() == "dry run 1"
    assert desk.world.calls == 0 and desk.places(f"{record.request_id}.md") == ["Approved"]
    assert [event["event"] for event in desk.store.events(record.action_id)].count("dry run") == 1
    held = desk.executor.held(record)
    note = (desk.vault / "Approved" / f"{record.request_id}.reason.md").read_text()
    for words in ("would carry out reply_email (From: ", "To: ann@example.org; ", "Subject: Re: ", "30"):
        assert held is not None and words in held.reason and words in note
    assert "Dry run: would carry out" in note and "Nothing was done." in note


@pytest.mark.parametrize("mode", ["draft_only", "FULL", "", "full "])
def test_anything_but_full_never_executes(desk: Desk, mode: str) -> None:
    approved(desk)
    desk.executor._mode = mode
    assert desk.executor.run().startswith("draft-only: 1")
    assert desk.world.calls == 0


def test_two_executors_at_once_are_one(desk: Desk) -> None:
    approved(desk)
    with locks.hold(desk.node.settings.state_dir / "locks" / "executor.lock"):
        assert desk.cycle() == "another executor is at work"
    assert desk.cycle() == "sent 1"


def test_an_action_without_a_server_fails_in_words(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(executor.SERVERS, "linkedin_post")
    path = desk.request(action="linkedin_post", to=None, in_reply_to=None, subject=None, references=None)
    desk.approvals.approve(path.stem, sha(path), by="anna")
    assert desk.cycle() == "failed 1"
    assert "do it by hand" in (desk.approvals.get(path.stem).reason or "")


def test_trouble_with_one_request_does_not_stop_the_others(desk: Desk) -> None:
    first, second = approved(desk, "mail 1"), approved(desk, "mail 2")
    (desk.vault / "Done" / f"{first.request_id}.md").mkdir()  # its place is taken by something odd
    desk.cycle()
    assert now(desk, first).state is State.DONE and now(desk, second).state is State.DONE
    assert desk.places(f"{second.request_id}.md") == ["Done"]
    assert "Quarantine" in desk.places(f"{first.request_id}.md")
    assert len(desk.world.ledger) == 2


def test_a_damaged_record_is_not_sent(desk: Desk) -> None:
    record = approved(desk)
    desk.store._rows("UPDATE actions SET frozen = CAST(? AS BLOB)", record.frozen.replace(b"Ann", b"Eve"))
    assert desk.cycle() == "back to pending 1" and desk.world.calls == 0


def test_an_edit_while_it_is_being_sent_is_not_filed_as_what_was_sent(
    make_node: Callable[..., Services], clock: FakeClock
) -> None:
    """Done/ holds the bytes that were approved and sent; the late edit is set aside with words (S9)."""

    class Slow(World):
        """A person edits the file while the mail is on its way."""

        def send(self, mail: OutgoingMail) -> Receipt:
            edited.write_bytes(edited.read_bytes().replace(b"thank you", b"no thank you"))
            return super().send(mail)

    desk = Desk(make_node, clock, Slow())
    path = desk.request()
    frozen = path.read_bytes()
    desk.approvals.approve(path.stem, sha(path), by="anna")
    edited = desk.vault / "Approved" / path.name
    desk.cycle()
    assert desk.places(path.name) == ["Done", "Quarantine"]
    assert (desk.vault / "Done" / path.name).read_bytes() == frozen
    assert "this edit was not sent" in (desk.vault / "Quarantine" / f"{path.stem}.reason.md").read_text()
    assert len(desk.world.ledger) == 1


@pytest.mark.parametrize("to", ["Rejected", None], ids=["rejected", "removed"])
def test_what_is_taken_away_while_it_is_being_sent_is_told(
    make_node: Callable[..., Services], clock: FakeClock, to: str | None
) -> None:
    class Slow(World):
        def send(self, mail: OutgoingMail) -> Receipt:
            lying = desk.vault / "Approved" / path.name
            desk.move(lying, to) if to else lying.unlink()
            return super().send(mail)

    desk = Desk(make_node, clock, Slow())
    path = desk.request()
    desk.approvals.approve(path.stem, sha(path), by="anna")
    assert desk.cycle() == "sent 1"
    (alert,) = [text for _, title, text in desk.alerts if title == f"{path.stem} was carried out all the same"]
    (line,) = desk.action_log()
    assert ("moved to Rejected/" if to else "removed") in alert and line["receipt"]["id"] in alert
    assert desk.places(path.name) == ([to] if to else [])
    if to:
        assert alert in (desk.vault / to / f"{path.stem}.reason.md").read_text()
    desk.cycle()
    assert len(desk.alerts) == 1 and len(desk.world.ledger) == 1


def test_what_was_begun_is_concluded_on_a_node_that_became_draft_only(desk: Desk) -> None:
    """It acts on nothing, but an outcome that nobody knows is told (S8)."""
    record = approved(desk)
    desk.world.lost_answers = [Killed()]
    with pytest.raises(Killed):
        desk.cycle()
    desk._settings["AGENT_MODE"] = "draft_only"
    desk.restart()
    assert "unknown 1" in desk.cycle()
    assert now(desk, record).state is State.UNKNOWN
    assert any(level == "CRITICAL" for level, _, _ in desk.alerts)
    assert desk.world.calls == 1


def test_nothing_is_sent_before_the_node_knows_what_it_did(desk: Desk) -> None:
    """It was put back from a backup: a sync must say first whether this mail has gone."""
    record = approved(desk)
    desk.waits = "no sync has gone well since"
    assert desk.cycle() == "waiting for a sync 1"
    assert now(desk, record).state is State.APPROVED and desk.world.calls == 0
    desk.waits = None
    assert desk.cycle() == "sent 1"


def test_what_was_begun_is_concluded_all_the_same(desk: Desk) -> None:
    approved(desk)
    desk.world.trouble = [Killed()]
    with pytest.raises(Killed):
        desk.cycle()
    desk.restart()
    desk.waits = "no sync has gone well since"
    assert "waiting for a sync" not in desk.cycle()
