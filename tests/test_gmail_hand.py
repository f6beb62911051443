"""Histories of mails by the Gmail API, through the real approvals, journal and executor, with Gmail on loopback.

Gmail's ledger is the oracle: for one approval it never holds two, whatever breaks and whenever we die.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.desk import ANN, DRAFT
from tests.fakes.gmail import COMPOSE
from tests.gmail_kit import CREATE, ME, REMOVE, SEND, TOKEN, Story, gmail_story
from tests.social_kit import impatient
from utils.bootstrap import Services
from utils.execution import requests
from utils.execution.journal import State
from utils.hands import gmail as hand_module
from utils.hands.gmail import SETTLED
from utils.hands.marks import read_mark
from utils.ports import AdapterError


@pytest.fixture
def story(make_node: Callable[..., Services], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    with gmail_story(make_node, tmp_path, monkeypatch) as story:
        yield story


def read(sent: dict[str, Any]) -> Any:
    return message_from_bytes(sent["raw"], policy=policy.default)


# All goes well


def test_a_mail_is_sent_once_through_a_draft_and_done(story: Story) -> None:
    record = story.approved(cc=["Zoë <zoe@example.org>"], bcc=["archive@acme.example", "Bob <bob@example.org>"])
    assert story.desk.cycle() == "sent 1" and story.desk.cycle() == "idle"
    (sent,) = story.ledger
    assert sent["to"] == [ANN, "zoe@example.org", "archive@acme.example", "bob@example.org"]
    mail = read(sent)
    assert mail["X-Action-Id"] == record.action_id and mail["In-Reply-To"] == "<q1@example.org>"
    assert mail.get_content().replace("\r\n", "\n") == DRAFT + "\n"
    done = story.now(record)
    assert done.state is State.DONE and done.receipt is not None and done.receipt.id == sent["id"]
    mark = read_mark(done.prepared)
    assert mark is not None and mark.at == story.desk.clock.now(), "the draft was noted before it was sent"
    assert story.server.drafts == {} and story.server.hits(TOKEN) == 1
    assert story.desk.places(f"{record.request_id}.md") == ["Done"]


def test_nobody_is_named_twice_and_nobody_hidden_shows_in_the_others_headers(story: Story) -> None:
    story.approved(bcc=[ANN, "archive@acme.example"])
    assert story.desk.cycle() == "sent 1"
    assert story.ledger[0]["to"] == [ANN, "archive@acme.example"]
    assert read(story.ledger[0])["Bcc"] == "archive@acme.example"


@pytest.mark.parametrize(("known", "there"), [(True, True), (True, False), (False, True)])
def test_a_reply_lies_in_its_thread_where_gmail_has_it(story: Story, known: bool, there: bool) -> None:
    old = story.server.put(labels={"INBOX"})
    source = {"from_address": ANN, "sender_authenticated": True, "message_id": "<q1@example.org>"}
    if known:
        source["gmail_thread_id"] = old.thread if there else "17bdead"
    story.approved(source=source)
    assert story.desk.cycle() == "sent 1"
    assert (story.ledger[0]["thread"] == old.thread) is (known and there)


@pytest.mark.parametrize("odd", ["../x", 7, None, "17b" * 20])
def test_what_is_no_thread_of_gmail_is_none(story: Story, odd: Any) -> None:
    record = story.released(source={"gmail_thread_id": odd})
    assert hand_module.thread_of(requests.order(record).request) == ""


def test_large_attachments_travel_as_they_are(story: Story) -> None:
    data = bytes(range(256)) * 20_000
    place = story.desk.vault / "Accounting" / "scan.pdf"
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(data)
    attached = [{"path": "Accounting/scan.pdf", "sha256": hashlib.sha256(data).hexdigest()}]
    story.approved(attachments=attached)
    assert story.desk.cycle() == "sent 1"
    (part,) = read(story.ledger[0]).iter_attachments()
    assert part.get_payload(decode=True) == data


def test_a_dry_run_calls_nobody(story: Story) -> None:
    record = story.released()
    answer = story.desk.tools.call("", "reply_email", {"action_id": record.action_id, "dry_run": True})
    assert not answer["done"] and answer["provider"] == "gmail" and story.server.calls == []


# What breaks


@pytest.mark.parametrize("kind", ["503 after", "reset after", "silence after"])
def test_what_was_sent_although_the_answer_got_lost_is_found_and_done(
    story: Story, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind.startswith("silence"):
        impatient(monkeypatch, SEND)
    record = story.approved()
    story.server.put(labels={"SENT"}, mark="another action")
    story.breaks(SEND, kind)
    assert story.desk.cycle() == "sent 1"
    done = story.now(record)
    assert done.state is State.DONE and done.receipt is not None and done.receipt.id == story.ledger[0]["id"]
    story.later()
    assert len(story.ledger) == 1


@pytest.mark.parametrize("kind", ["503 before", "reset before", "silence before"])
def test_a_draft_that_still_lies_there_was_not_sent_and_its_mail_is_tried_again(
    story: Story, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind.startswith("silence"):
        impatient(monkeypatch, SEND)
    record = story.approved()
    story.breaks(SEND, kind)
    assert story.desk.cycle() == "waiting to try again 1" and story.ledger == []
    assert sum(story.pauses) == SETTLED.total_seconds(), "a lost call may still be at work"
    story.desk.clock.advance(60)
    assert story.desk.cycle() == "sent 1"
    assert len(story.ledger) == 1 and story.server.drafts == {} and story.now(record).state is State.DONE


def test_a_call_that_works_on_while_we_look_is_seen(story: Story) -> None:
    story.approved()
    story.server.late = True
    story.meanwhile = [lambda: None, story.server.catch_up]
    assert story.desk.cycle() == "sent 1" and len(story.ledger) == 1
    assert story.pauses == [1, 2]


def test_a_call_that_comes_after_the_next_try_began_sends_nothing_any_more(story: Story) -> None:
    story.approved()
    story.server.late = True
    assert story.desk.cycle() == "waiting to try again 1"
    story.desk.clock.advance(60)
    assert story.desk.cycle() == "sent 1"
    story.server.catch_up()
    assert len(story.ledger) == 1


def test_a_call_that_comes_before_the_next_try_ends_in_no_second_mail(story: Story) -> None:
    record = story.approved()
    story.server.late = True
    assert story.desk.cycle() == "waiting to try again 1"
    story.server.catch_up()
    story.desk.clock.advance(60)
    assert story.desk.cycle() == "sent 1", "the draft of the try before is gone, and its mail is found"
    assert len(story.ledger) == 1 and story.server.hits(SEND) == 1 and story.now(record).state is State.DONE


def test_a_draft_that_is_shown_although_it_was_sent_proves_nothing(story: Story) -> None:
    story.approved()
    story.server.lingers = True
    story.breaks(SEND, "503 after")
    assert story.desk.cycle() == "sent 1" and len(story.ledger) == 1


def test_what_shows_late_among_sent_mail_is_waited_for(story: Story) -> None:
    story.approved()
    story.server.lingers = story.server.hides = True
    story.breaks(SEND, "503 after")
    story.meanwhile = [lambda: None, lambda: None, story.server.catch_up]
    assert story.desk.cycle() == "sent 1" and len(story.ledger) == 1


@pytest.mark.parametrize("gone", ["sent by hand, edited", "removed"])
def test_a_draft_that_is_gone_without_a_trace_waits_for_the_human(story: Story, gone: str) -> None:
    record = story.approved()
    story.breaks(SEND, "reset before")
    story.meanwhile = [story.server.drafts.clear]
    if gone.startswith("sent"):
        story.meanwhile = [lambda: story.server.put(labels={"SENT"}) and story.server.drafts.clear()]
    assert story.desk.cycle() == "unknown 1"
    story.later()
    assert story.now(record).state is State.UNKNOWN and story.server.hits(SEND) == 1
    assert ("CRITICAL", f"Nobody knows whether {record.request_id} was carried out") in {
        alert[:2] for alert in story.desk.alerts
    }


def test_without_leave_to_look_at_sent_mail_nothing_is_concluded(story: Story) -> None:
    record = story.approved()
    story.server.granted = {COMPOSE}
    story.breaks(SEND, "503 before")
    assert story.desk.cycle() == "unknown 1"
    assert "could not be looked for" in story.now(record).error and "scopes" in story.now(record).error


def test_more_sent_mails_than_can_be_looked_through_prove_nothing(story: Story) -> None:
    record = story.approved()
    for _ in range(210):
        story.server.put(labels={"SENT"}, at=story.desk.clock.now() + timedelta(seconds=1))
    story.breaks(SEND, "503 before")
    assert story.desk.cycle() == "unknown 1" and "more than 200" in story.now(record).error


def test_only_mails_since_the_draft_are_looked_at(story: Story) -> None:
    story.approved()
    for _ in range(5):
        story.server.put(labels={"SENT"}, at=story.desk.clock.now() - timedelta(hours=1))
    story.breaks(SEND, "503 after")
    assert story.desk.cycle() == "sent 1"
    assert story.server.hits(f"GET {ME}/messages/") == 1


def test_an_old_mail_with_another_mark_ends_the_look(story: Story) -> None:
    story.approved()
    for _ in range(5):
        story.server.put(labels={"SENT"}, at=story.desk.clock.now() - timedelta(hours=1))
    story.breaks(SEND, "503 before")
    assert story.desk.cycle() == "waiting to try again 1"
    assert story.server.hits(f"GET {ME}/messages/") == 6, "one in each of six looks"


@pytest.mark.parametrize("kind", ["503 before", "503 after", "reset before", "reset after", "silence after"])
def test_where_a_draft_is_not_made_nothing_was_sent_and_no_heap_of_drafts_grows(
    story: Story, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind.startswith("silence"):
        impatient(monkeypatch, CREATE)
    record = story.approved()
    other = story.server.put(labels={"DRAFT"}, mark="another")
    story.server.drafts["r-other"] = other
    for _ in range(3):
        story.breaks(CREATE, kind)
        assert story.desk.cycle() == "waiting to try again 1"
        assert story.ledger == [] and len(story.server.drafts) <= 2, "one of ours at most"
        story.desk.clock.advance(600)
    assert story.desk.cycle() == "sent 1" and story.now(record).state is State.DONE
    assert set(story.server.drafts) == {"r-other"} and len(story.ledger) == 1
    assert story.pauses == []


@pytest.mark.parametrize("call", [CREATE, SEND])
def test_too_many_calls_wait_and_go_on(story: Story, call: str) -> None:
    record = story.approved()
    for _ in range(2):
        story.breaks(call, "429")
        assert story.desk.cycle() == "waiting to try again 1"
        assert story.ledger == [] and story.server.drafts == {} and story.pauses == []
        story.desk.clock.advance(600)
    assert story.desk.cycle() == "sent 1" and story.now(record).state is State.DONE


def answers(story: Story, monkeypatch: pytest.MonkeyPatch, start: str, answer: tuple[int, Any]) -> None:
    real = story.server.route
    monkeypatch.setattr(
        story.server,
        "route",
        lambda call: (*answer, {}) if f"{call.method} {call.path}".startswith(start) else real(call),
    )


def error(status: int, reason: str, **more: str) -> tuple[int, Any]:
    return status, {"error": {"code": status, "message": "not so", "errors": [{"reason": reason}], **more}}


@pytest.mark.parametrize(
    ("answer", "state", "paused"),
    [
        (error(403, "rateLimitExceeded"), State.APPROVED, False),
        (error(403, "userRateLimitExceeded"), State.APPROVED, False),
        (error(403, "dailyLimitExceeded"), State.APPROVED, False),
        (error(429, "rateLimitExceeded"), State.APPROVED, False),
        (error(403, "insufficientPermissions"), State.FAILED, True),
        (error(403, "domainPolicy"), State.FAILED, True),
        (error(401, "authError"), State.FAILED, True),
        (error(400, "invalidArgument"), State.FAILED, False),
        (error(404, "notFound"), State.UNKNOWN, False),
        (error(409, "conflict"), State.APPROVED, False),  # looked for, and the draft lies there
        (error(500, "backendError"), State.APPROVED, False),
        ((200, {}), State.APPROVED, False),
        ((200, "not JSON"), State.APPROVED, False),
    ],
)
def test_what_each_answer_to_the_sending_call_proves(
    story: Story, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, Any], state: State, paused: bool
) -> None:
    record = story.approved()
    answers(story, monkeypatch, SEND, answer)
    if state is State.UNKNOWN:
        story.meanwhile = [story.server.drafts.clear]
    story.desk.cycle()
    assert story.now(record).state is state and story.ledger == []
    assert (story.desk.store.paused_at("gmail") is not None) is paused
    if state is State.FAILED:
        assert "not so" in story.now(record).error
        assert story.desk.places(f"{record.request_id}.md")[0].startswith("Pending_Approval")
        assert story.server.drafts == {}


def test_a_refused_draft_goes_back_to_the_human(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    record = story.approved()
    answers(story, monkeypatch, CREATE, error(400, "invalidArgument"))
    assert story.desk.cycle() == "failed 1" and "not so" in story.now(record).error


def test_a_draft_that_can_not_be_removed_is_removed_by_the_next_try(story: Story) -> None:
    story.approved()
    story.breaks(SEND, "429")
    story.breaks(REMOVE, "503 before")
    assert story.desk.cycle() == "waiting to try again 1" and len(story.server.drafts) == 1
    story.desk.clock.advance(60)
    assert story.desk.cycle() == "sent 1" and story.server.drafts == {} and len(story.ledger) == 1


def test_an_answer_to_a_removal_that_got_lost_ends_in_no_second_mail(story: Story) -> None:
    """The draft is gone then, and nobody knows who took it."""
    record = story.approved()
    story.breaks(SEND, "429")
    story.breaks(REMOVE, "503 after")
    story.desk.cycle()
    story.desk.clock.advance(60)
    assert story.desk.cycle() == "unknown 1"
    assert story.now(record).state is State.UNKNOWN and story.ledger == []


def test_what_was_edited_in_gmail_since_the_approval_is_not_sent(story: Story) -> None:
    story.approved()
    story.breaks(SEND, "503 before")
    story.desk.cycle()
    (draft,) = story.server.drafts.values()
    draft.raw = draft.raw.replace(b"thank you", b"no thanks")
    story.desk.clock.advance(60)
    assert story.desk.cycle() == "sent 1"
    assert read(story.ledger[0]).get_content().replace("\r\n", "\n") == DRAFT + "\n"


def test_what_the_journal_can_not_keep_is_not_sent_and_leaves_no_draft(story: Story) -> None:
    order = requests.order(story.released())
    hand = story.desk.node.hand("reply_email")

    def full(prepared: str) -> None:
        raise AdapterError("disk full", retry=True)

    with pytest.raises(AdapterError, match="disk full"):
        hand.act(order, hand.plan(order), full)
    assert story.ledger == [] and story.server.drafts == {} and story.server.hits(SEND) == 0


def test_a_file_that_is_exchanged_in_the_last_moment_is_not_sent(story: Story) -> None:
    place = story.desk.vault / "a.txt"
    place.write_bytes(b"one")
    order = requests.order(
        story.released(attachments=[{"path": "a.txt", "sha256": hashlib.sha256(b"one").hexdigest()}])
    )
    hand = story.desk.node.hand("reply_email")
    plan = hand.plan(order)
    place.write_bytes(b"two")
    with pytest.raises(AdapterError, match="sha256 differs"):
        hand.act(order, plan, lambda prepared: None)
    assert story.server.calls == []
