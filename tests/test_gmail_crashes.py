"""Mail by Gmail: dying at any step, refused credentials, a sender that was changed. Gmail's ledger is the oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.desk import Bomb, Killed
from tests.fakes.gmail import token_file
from tests.gmail_kit import CREATE, SEND, TOKEN, Story, gmail_story
from utils.adapters.social.http import Api
from utils.bootstrap import Services
from utils.execution import requests
from utils.execution.journal import State
from utils.hands.gmail import GmailHand
from utils.hands.marks import Mark
from utils.ports import OutcomeUnknown


@pytest.fixture
def story(make_node: Callable[..., Services], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    with gmail_story(make_node, tmp_path, monkeypatch) as story:
        yield story


@pytest.mark.parametrize("noted", [True, False])
def test_what_became_of_a_mail_is_not_asked_of_another_sender(story: Story, noted: bool) -> None:
    """The settings were changed while nobody knew: neither draft nor note of Gmail's says anything of SMTP, or back."""
    record = story.released()
    gmail = story.desk.node.hand("reply_email")
    assert story.desk.store.consume(
        record, gmail.plan(requests.order(record)).reference if noted else "<1@acme.example>"
    )
    if noted:
        assert story.desk.store.prepared(record, str(Mark(story.desk.clock.now(), "r-1")))
        story.desk._settings["MAIL_SENDER"] = "outbox"
        story.desk.world.conclusive = True
        story.desk.restart()
    assert story.desk.cycle() == "unknown 1"
    assert story.now(record).state is State.UNKNOWN and story.desk.world.ledger == [] and story.ledger == []


def test_the_action_log_names_our_header_and_no_message_id(story: Story) -> None:
    record = story.approved()
    story.desk.cycle()
    (line,) = story.desk.action_log()
    assert line["reference"] == f"X-Action-Id: {record.action_id}" and line["message_id"] is None


# Credentials


def test_withdrawn_access_pauses_gmail_until_it_is_renewed(story: Story) -> None:
    first, second = story.approved(), story.approved("mail 2")
    story.server.refresh_tokens.clear()
    assert story.desk.cycle() == "failed 1, waiting for credentials 1" and story.ledger == []
    (alert,) = [alert for alert in story.desk.alerts if alert[0] == "CRITICAL"]
    assert "gmail refuses our credentials" in alert[1] and "gmail_auth --for send" in alert[2]
    assert "invalid_grant" in alert[2] and "refresh-token" not in alert[2]
    failed = next(one for one in (first, second) if story.now(one).state is State.FAILED)
    story.server.refresh_tokens.add("1//new")
    story.token.write_text(token_file(story.server.url, refresh_token="1//new"))
    story.desk.clock.advance(1)
    story.desk.approvals.approve(failed.request_id, story.desk.approvals.get(failed.request_id).sha256, by="anna")
    story.desk.clock.advance(1)
    assert story.desk.cycle() == "sent 2", "the renewed file is read without a restart"


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (None, 0o600, "can't be read"),
        ("", 0o600, "is none"),
        ("[]", 0o600, "is none"),
        ('{"refresh_token": "x", "client_id": "y"}', 0o600, "is none"),
        ('{"refresh_token": "x", "client_id": "y", "client_secret": 7}', 0o600, "is none"),
        (token_file("http://oauth.example.org"), 0o600, "is none"),
        ("{}", 0o644, "can be read by others"),
    ],
)
def test_a_token_file_that_can_not_be_used_pauses_gmail_with_the_remedy(
    story: Story, content: str | None, mode: int, words: str
) -> None:
    record = story.approved()
    story.token.unlink()
    if content is not None:
        story.token.write_text(content)
        story.token.chmod(mode)
    assert story.desk.cycle() == "failed 1"
    assert words in story.now(record).error and story.server.calls == []
    assert story.desk.store.paused_at("gmail") is not None


@pytest.mark.parametrize("kind", ["503 before", "reset before"])
def test_a_token_endpoint_that_is_down_is_tried_again(story: Story, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda seconds: None)
    record = story.approved()
    for _ in range(5):
        story.breaks(TOKEN, kind)
    assert story.desk.cycle() == "waiting to try again 1"
    assert story.now(record).state is State.APPROVED and story.desk.store.paused_at("gmail") is None
    story.server.faults.clear()
    story.desk.clock.advance(60)
    assert story.desk.cycle() == "sent 1"


# Dying


def dying(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call over the wire is a step before which, and after which, the process may die."""
    real = Api._call

    def stepping(api: Api, *arguments: Any) -> Any:
        story.desk.bomb.step()
        answer = real(api, *arguments)
        story.desk.bomb.step()
        return answer

    monkeypatch.setattr(Api, "_call", stepping)


@pytest.mark.parametrize("before", ["nothing", "503 before", "a lost draft", "too many calls"])
def test_death_at_any_step_never_sends_twice_and_loses_nothing(
    story: Story, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """Also where the try before failed and has left a draft behind, and where this one fails."""
    dying(story, monkeypatch)
    failures = {
        "503 before": (SEND, "503 before"),
        "a lost draft": (CREATE, "503 after"),
        "too many calls": (SEND, "429"),
    }
    outcomes: dict[State, int] = {}
    step = 0
    while True:
        step += 1
        sent = len(story.ledger)
        record = story.approved(f"mail {step}")
        if before != "nothing":
            story.breaks(*failures[before])
        if before in ("503 before", "a lost draft"):
            assert "waiting to try again 1" in story.desk.cycle()
            story.desk.clock.advance(60)
        story.desk.restart(Bomb(step))
        try:
            story.desk.cycle()
            died = False
        except Killed:
            died = True
        story.desk.restart()
        for _ in range(4):
            story.desk.cycle()
            story.desk.clock.advance(120)
        state, done = story.now(record).state, len(story.ledger) - sent
        assert done <= 1, f"twice, after death at step {step}"
        assert state in (State.DONE, State.UNKNOWN), f"{state} after death at step {step}"
        assert state is State.UNKNOWN or done == 1, f"lost, after death at step {step}"
        assert state is State.UNKNOWN or story.server.drafts == {}, f"a draft is left, after death at step {step}"
        outcomes[state] = outcomes.get(state, 0) + 1
        if state is State.UNKNOWN:
            story.desk.executor.settle(record.action_id, "ask_again", by="anna")
        if not died:
            break
        story.desk.clock.advance(24 * 3600)  # the caps of a day
    assert step > 12
    # Only between the removal of a draft and the note of it.
    assert outcomes.get(State.UNKNOWN, 0) <= (2 if before in ("503 before", "too many calls") else 0), outcomes


def test_a_try_that_finds_the_draft_before_gone_says_so(story: Story) -> None:
    record = story.released()
    order = requests.order(record)
    again = replace(order, reference="ref", prepared=str(Mark(story.desk.clock.now(), "r-gone")))
    hand = story.desk.node.hand("reply_email")
    assert isinstance(hand, GmailHand)
    with pytest.raises(OutcomeUnknown, match="r-gone"):
        hand.act(again, hand.plan(again), lambda prepared: None)
    assert story.ledger == [] and story.server.hits(CREATE) == 0
