"""The frame of all actions, with a made-up hand: one token, one act, whatever breaks.

The hand works in two steps, as providers with drafts, containers or uploads do: it makes something ready, and commits.
Its world's ledger is the judge.
"""

from __future__ import annotations

import importlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from mcp.server.mcpserver.exceptions import ToolError

from mcp_servers import acting
from tests.conftest import FakeClock
from tests.fakes.desk import ANN, Desk, World, sha
from tests.test_execution_crashes import crash_everywhere
from utils.bootstrap import Services
from utils.core.acting import Absence, Order, Plan, Receipt
from utils.core.mail import OutgoingMail
from utils.core.policy import ACTIONS, tool_for
from utils.core.task import InvalidTask
from utils.execution import executor
from utils.execution.journal import ActionRecord, Outcome, State
from utils.ports import AdapterError, AuthRefused, OutcomeUnknown


class TwoSteps:
    """Makes a draft ready, then commits it. The same draft can't be committed twice unseen: `find` knows the ledger."""

    provider = "made-up"
    #: What `find` answers where the ledger has nothing.
    absence = Absence.PROVEN

    def __init__(self, world: World) -> None:
        self.world = world
        self.drafts: list[str] = []
        self.orders: list[Order] = []
        self.plan_trouble: list[Exception] = []
        self.find_trouble: list[Exception] = []
        self.before_prepared: Callable[[], object] = lambda: None
        self.reference = "ref"

    def plan(self, order: Order) -> Plan:
        self.orders.append(order)
        if self.plan_trouble:
            raise self.plan_trouble.pop(0)
        return Plan(f"{self.reference} {order.action_id}", (ANN,), (("To", ANN),))

    def act(self, order: Order, plan: Plan, prepared: Callable[[str], None]) -> Receipt:
        draft = order.prepared
        if not draft:
            self.world.bomb.step()
            draft = f"draft {order.action_id} {len(self.drafts) + 1}"
            self.drafts.append(draft)
            self.world.bomb.step()
            self.before_prepared()
            prepared(draft)
        return self.world.send(OutgoingMail(draft, "", (), b""))

    def find(self, order: Order, plan: Plan) -> Receipt | Absence:
        self.orders.append(order)
        if self.find_trouble:
            raise self.find_trouble.pop(0)
        there = order.prepared and any(mail.message_id == order.prepared for mail in self.world.ledger)
        return Receipt("made-up", order.prepared, "found") if there else self.absence


class Blind(TwoSteps):
    """Can't prove that nothing happened."""

    absence = Absence.OPEN


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World(), hand=TwoSteps)


@pytest.fixture
def blind(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World(), hand=Blind)


def hand(desk: Desk) -> TwoSteps:
    made = desk.node.hand("reply_email")
    assert isinstance(made, TwoSteps)
    return made


def approved(desk: Desk, key: str = "mail 1", **fields: object) -> ActionRecord:
    path = desk.request(key, **fields)
    return desk.approvals.approve(path.stem, sha(path), by="anna")


def released(desk: Desk, key: str = "mail 1") -> ActionRecord:
    record = desk.store.begin(approved(desk, key))
    assert record is not None
    return record


def now(desk: Desk, record: ActionRecord) -> ActionRecord:
    found = desk.store.get(record.action_id)
    assert found is not None
    return found


# The server's way from an id to an act


def test_a_token_is_good_for_one_act(desk: Desk) -> None:
    record = released(desk)
    server = acting.Desk(desk.node)
    result = server.act("reply_email", record.action_id)
    assert result.done and result.provider == "made-up" and result.recipients == [ANN]
    assert result.reference == f"ref {record.action_id}" == now(desk, record).reference
    with pytest.raises(ToolError, match="nothing was done now"):
        server.act("reply_email", record.action_id)
    assert desk.world.calls == 1 and now(desk, record).outcome is Outcome.ACCEPTED


def test_many_servers_at_once_act_once(desk: Desk) -> None:
    record = released(desk)
    answers: list[str] = []
    start = threading.Barrier(4)

    def one() -> None:
        start.wait()
        try:
            answers.append(str(acting.Desk(desk.node).act("reply_email", record.action_id).done))
        except ToolError as error:
            answers.append(str(error))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers)[0] == "True" and sum("nothing was done now" in answer for answer in answers) == 3
    assert len(desk.world.ledger) == 1


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_draft_only_refuses_before_it_looks(make_node: Callable[..., Services], clock: FakeClock, action: str) -> None:
    desk = Desk(make_node, clock, World(), hand=TwoSteps)
    record = released(desk)
    desk._settings["AGENT_MODE"] = "draft_only"
    desk.restart()
    for action_id in (record.action_id, "unknown"):
        for dry_run in (False, True):
            with pytest.raises(ToolError, match="draft-only"):
                acting.Desk(desk.node).act(action, action_id, dry_run)
    assert hand(desk).orders == [] and desk.world.calls == 0 and now(desk, record).token_consumed_at is None


def test_a_dry_run_shows_what_would_be_done_and_verifies_it(desk: Desk) -> None:
    record = approved(desk)
    server = acting.Desk(desk.node)
    result = server.act("reply_email", record.action_id, dry_run=True)
    assert not result.done and result.receipt is None
    assert [(line.label, line.text) for line in result.shown] == [("To", ANN)]
    hand(desk).plan_trouble = [InvalidTask(["the picture is too large"])]
    with pytest.raises(ToolError, match="picture is too large"):
        server.act("reply_email", record.action_id, dry_run=True)
    assert desk.world.calls == 0 and now(desk, record).state is State.APPROVED


@pytest.mark.parametrize("trouble", [InvalidTask(["too many words"]), AdapterError("no account is set", retry=False)])
def test_what_can_not_be_planned_touches_nothing_and_asks_again(desk: Desk, trouble: Exception) -> None:
    record = approved(desk)
    hand(desk).plan_trouble = [trouble] * 2  # the brakes plan it too, to know whom it would reach
    assert desk.cycle() == "failed 1"
    assert desk.world.calls == 0 and now(desk, record).token_consumed_at is None
    assert str(trouble) in (desk.approvals.get(record.request_id).reason or "")


# What is made ready


def test_what_was_made_ready_is_kept_before_the_commit_and_used_by_the_next_try(desk: Desk) -> None:
    record = approved(desk)
    desk.world.trouble = [AdapterError("429 later", retry=True)]
    assert desk.cycle() == "waiting to try again 1"
    (draft,) = hand(desk).drafts
    assert now(desk, record).prepared == draft
    assert {"event": "prepared", "detail": draft}.items() <= desk.store.events(record.action_id)[-3].items()
    desk.clock.advance(60)
    assert desk.cycle() == "sent 1"
    assert hand(desk).drafts == [draft] and [mail.message_id for mail in desk.world.ledger] == [draft]


def test_a_new_approval_begins_anew(desk: Desk) -> None:
    record = approved(desk)
    desk.world.trouble = [AdapterError("refused", retry=False)]
    assert desk.cycle() == "failed 1"
    again = desk.approvals.approve(record.request_id, desk.approvals.get(record.request_id).sha256, by="anna")
    assert again.prepared == "" and desk.cycle() == "sent 1"
    assert len(hand(desk).drafts) == 2


def test_only_the_holder_of_the_consumed_token_may_keep_something(desk: Desk) -> None:
    record = released(desk)
    assert not desk.store.prepared(record, "x"), "the token is not consumed"
    assert desk.store.consume(record, "ref") and desk.store.prepared(record, "x")
    assert desk.store.prepared(record, "y") and now(desk, record).prepared == "y"
    assert desk.store.report(record, Outcome.LOST)
    assert not desk.store.prepared(record, "z"), "it has said what became of it"
    assert now(desk, record).prepared == "y"


def test_what_the_journal_can_not_keep_is_not_committed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> bool:
        raise sqlite3.OperationalError("database or disk is full")

    record = approved(desk)
    monkeypatch.setattr(desk.store, "prepared", full)
    assert desk.cycle() == "waiting to try again 1"
    assert desk.world.calls == 0 and "disk is full" in now(desk, record).error


def test_an_attempt_that_the_journal_knows_no_more_is_not_committed(desk: Desk) -> None:
    record = released(desk)
    hand(desk).before_prepared = lambda: desk.store._rows("UPDATE actions SET token = 'another'")
    with pytest.raises(ToolError, match="knows nothing of this attempt"):
        acting.Desk(desk.node).act("reply_email", record.action_id)
    assert desk.world.calls == 0


@pytest.mark.parametrize("approve", ["api", "move"])
def test_a_crash_at_any_step_with_something_made_ready_ends_in_exactly_one_act(
    make_node: Callable[..., Services], tmp_path: Path, approve: str
) -> None:
    ends = crash_everywhere(make_node, tmp_path, World, approve, TwoSteps)
    assert set(ends) <= {"done", "asks"} and ends["done"] > 20, ends


def test_a_crash_at_any_step_with_a_hand_that_sees_little_never_doubles(
    make_node: Callable[..., Services], tmp_path: Path
) -> None:
    ends = crash_everywhere(make_node, tmp_path, World, "api", Blind)
    assert set(ends) <= {"done", "asks", "unknown"} and 1 <= ends["unknown"] <= 12, ends


# Refused credentials


def test_refused_credentials_pause_the_provider_until_a_newer_approval_works(desk: Desk) -> None:
    first, second = in_order(desk)
    desk.world.trouble = [AuthRefused("401: the token has expired")]
    assert desk.cycle() == "failed 1, waiting for credentials 1"
    assert now(desk, first).state is State.FAILED and now(desk, second).state is State.APPROVED
    (alert,) = [alert for alert in desk.alerts if alert[0] == "CRITICAL"]
    assert "made-up" in alert[1] and "token has expired" in alert[2] and first.request_id in alert[2]
    desk.restart()
    assert desk.cycle() == "waiting for credentials 1" and desk.world.calls == 1
    server = acting.Desk(desk.node)
    server.server("email", "", {"reply_email": ""})
    status = server.server_status()
    assert status.refused_credentials == ["made-up"] and status.waiting == 1
    approve_again(desk, first)
    assert desk.cycle() == "sent 2", "once it has worked, the rest follows"
    assert now(desk, second).state is State.DONE and len(desk.world.ledger) == 2
    assert server.server_status().refused_credentials == []


def test_credentials_that_are_still_refused_pause_it_again(desk: Desk) -> None:
    first, second = in_order(desk)
    for _ in range(3):
        desk.world.trouble = [AuthRefused("401")]
        assert desk.cycle() == "failed 1, waiting for credentials 1"
        approve_again(desk, first)
    assert desk.world.calls == 3 and now(desk, second).attempts == 0


_YEAR = 365 * 86400


def test_a_pause_from_a_clock_that_was_ahead_holds_nothing(desk: Desk) -> None:
    desk.clock.advance(_YEAR)
    approved(desk)
    desk.world.trouble = [AuthRefused("401")]
    assert desk.cycle() == "failed 1"
    desk.clock.advance(-_YEAR)
    approved(desk, "mail 2")
    assert desk.cycle() == "sent 1"


def in_order(desk: Desk) -> list[ActionRecord]:
    """Two approved requests, in the order in which the executor takes them."""
    records = sorted((approved(desk, key) for key in ("mail 1", "mail 2")), key=lambda record: record.request_id)
    desk.clock.advance(1)
    return records


def approve_again(desk: Desk, record: ActionRecord) -> None:
    desk.clock.advance(1)
    desk.approvals.approve(record.request_id, desk.approvals.get(record.request_id).sha256, by="anna")
    desk.clock.advance(1)


# What became of it


@pytest.mark.parametrize("error", [OutcomeUnknown("503 after the request was written"), RuntimeError("a bug")])
def test_a_lost_answer_is_looked_for_and_else_unknown(blind: Desk, error: Exception) -> None:
    record = approved(blind)
    blind.world.trouble = [error]
    assert blind.cycle() == "unknown 1"
    assert str(error) in now(blind, record).error and blind.world.calls == 1
    blind.clock.advance(7200)
    assert blind.cycle() == "unknown 1" and blind.world.calls == 1


@pytest.mark.parametrize("error", [OutcomeUnknown("reset"), RuntimeError("a bug")])
def test_a_lost_answer_that_is_found_is_done(blind: Desk, error: Exception) -> None:
    record = approved(blind)
    blind.world.lost_answers = [error]
    assert blind.cycle() == "sent 1"
    assert now(blind, record).receipt == Receipt("made-up", hand(blind).drafts[0], "found")


def test_a_proven_absence_is_tried_again(desk: Desk) -> None:
    approved(desk)
    desk.world.trouble = [OutcomeUnknown("reset")]
    assert desk.cycle() == "waiting to try again 1"
    desk.clock.advance(60)
    assert desk.cycle() == "sent 1" and len(desk.world.ledger) == 1


@pytest.mark.parametrize("error", [AdapterError("no network", retry=True), RuntimeError("no network")])
def test_evidence_that_can_not_be_looked_for_leaves_it_unknown(desk: Desk, error: Exception) -> None:
    record = released(desk)
    assert desk.store.consume(record, "ref")
    hand(desk).find_trouble.append(error)
    approved(desk, "mail 2")
    assert desk.cycle() == "unknown 1, sent 1", "and the next one goes on"
    assert "could not be looked for: no network" in now(desk, record).error


def test_evidence_is_looked_for_by_the_reference_of_then(blind: Desk) -> None:
    """A setting that was changed since must not lead the look astray."""
    record = released(blind)
    assert blind.store.consume(record, "old")
    hand(blind).reference = "new"
    assert blind.cycle() == "unknown 1"
    assert [order.reference for order in hand(blind).orders] == ["old"], "found by it, and nothing planned anew"


@pytest.mark.parametrize("found", [True, False])
def test_evidence_of_another_provider_is_none(desk: Desk, found: bool) -> None:
    """The settings were changed while the outcome was open: `outbox` knows nothing of what `smtp` did."""
    record = approved(desk)
    hand(desk).provider = "smtp"
    (desk.world.lost_answers if found else desk.world.trouble).append(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        desk.cycle()
    desk.restart()
    assert now(desk, record).provider == "smtp" and hand(desk).provider == "made-up"
    assert desk.cycle() == "unknown 1"
    assert "smtp was asked to do it; made-up, which is set now, can't know: look at smtp" in now(desk, record).error


@pytest.mark.parametrize("found", [True, False])
def test_a_payment_is_settled_by_a_human_whatever_is_found(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, found: bool
) -> None:
    monkeypatch.setitem(executor.SERVERS, "payment", "odoo")
    fields = {"payee": "ACME", "amount": "10.00", "currency": "EUR", "reference": "R1"}
    record = approved(desk, action="payment", subject=None, in_reply_to=None, references=None, **fields)
    (desk.world.lost_answers if found else desk.world.trouble).append(OutcomeUnknown("reset"))
    assert desk.cycle() == "unknown 1"
    evidence = now(desk, record).error
    assert ("found draft" in evidence) if found else ("nothing of it was found" in evidence)
    assert "our reference ref" in (desk.vault / "Approved" / f"{record.request_id}.reason.md").read_text()


def test_whoever_got_it_is_known_after_a_receipt(desk: Desk) -> None:
    approved(desk)
    assert desk.cycle() == "sent 1" and desk.store.known_recipients() == {ANN}


@pytest.mark.parametrize("error", [InvalidTask(["its file is gone"]), RuntimeError("a bug")])
def test_a_human_can_settle_what_can_not_be_planned_any_more(blind: Desk, error: Exception) -> None:
    record = approved(blind)
    blind.world.trouble = [OutcomeUnknown("reset")]
    blind.cycle()
    hand(blind).plan_trouble = [error]
    assert blind.executor.settle(record.action_id, "happened", by="anna").state is State.DONE
    assert blind.store.known_recipients() == {ANN}, "whom it reached was kept before it was tried"


# Every action


def test_every_action_has_a_hand_and_a_tool_that_takes_its_id_alone(make_node: Callable[..., Services]) -> None:
    node = make_node("local", ready=False)
    assert set(executor.SERVERS) <= set(ACTIONS)
    for action, server in executor.SERVERS.items():
        assert node.hand(action).provider
        built = importlib.import_module(f"mcp_servers.{server}_server").build(acting.Desk(node))
        (tool,) = [tool for tool in built._tool_manager.list_tools() if tool.name == tool_for(action, {})]
        assert set(tool.parameters["properties"]) == {"action_id", "dry_run"}
        assert tool.parameters["required"] == ["action_id"] and tool.annotations.destructive_hint
