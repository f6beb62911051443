"""Histories of posts and messages through the real approvals, journal and executor, with a provider on loopback.

The provider's ledger is the oracle: for one approval it never holds two, whatever breaks and whenever we die.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scripts import doctor
from tests.conftest import FakeClock
from tests.fakes import meta
from tests.fakes.desk import Bomb, Desk, Killed, World, sha
from tests.fakes.linkedin import LinkedInServer
from tests.fakes.meta import MetaServer
from tests.fakes.provider import Fault, Provider
from tests.fakes.x import XServer
from tests.social_kit import HELLO, HELLO_TEXT, NUMBER, PICTURE, TEXT, impatient, jpeg, put_picture, settings, waiting
from utils.adapters.social.http import Api
from utils.bootstrap import Services
from utils.core.task import format_time
from utils.execution.answers import Invalid
from utils.execution.journal import ActionRecord, State
from utils.execution.store import ExecutionStore
from utils.hands.marks import Mark, read_mark
from utils.ports import AdapterError

V = f"/{meta.VERSION}"
COMMITS = {
    "linkedin_post": "POST /rest/posts",
    "facebook_post": f"POST {V}/{meta.PAGE}/feed",
    "instagram_post": f"POST {V}/{meta.IG_USER}/media_publish",
    "twitter_post": "POST /2/tweets",
    "whatsapp_send": f"POST {V}/{meta.PHONE}/messages",
}
SERVERS = {"linkedin_post": LinkedInServer, "twitter_post": XServer}
POSTS = [action for action in COMMITS if action != "whatsapp_send"]


@dataclass
class Story:
    """A desk, a provider, and one kind of action."""

    desk: Desk
    server: Any
    action: str

    @property
    def ledger(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.server.ledger
        return found

    def approved(self, text: str = TEXT, **fields: Any) -> ActionRecord:
        path = waiting(self.desk, self.action, text, **fields)
        return self.desk.approvals.approve(path.stem, sha(path), by="anna")

    def breaks(self, kind: str) -> None:
        self.server.faults.append(Fault(COMMITS[self.action], kind))

    def now(self, record: ActionRecord) -> ActionRecord:
        found = self.desk.store.get(record.action_id)
        assert found is not None
        return found

    def later(self, cycles: int = 8) -> None:
        """Time goes by, and the executor runs."""
        for _ in range(cycles):
            self.desk.clock.advance(3600)
            self.desk.cycle()

    def hide(self) -> None:
        """What is published is not to be seen yet."""
        if isinstance(self.server, LinkedInServer):
            self.server.may_read = False
        else:
            self.server.hidden = True

    def show(self) -> None:
        """It is to be seen now."""
        if isinstance(self.server, LinkedInServer):
            self.server.may_read = True
        else:
            self.server.hidden = False


@pytest.fixture
def begin(make_node: Callable[..., Services], tmp_path: Path) -> Iterator[Callable[..., Story]]:
    running: list[Provider] = []

    def start(action: str, **more: str) -> Story:
        clock = FakeClock()
        server = SERVERS.get(action, MetaServer)(clock.now)
        running.append(server.__enter__())
        given = {**settings(server.url), "WHATSAPP_WEBHOOKS_PATH": str(tmp_path / "webhooks.jsonl"), **more}
        return Story(Desk(make_node, clock, World(), **given), server, action)

    yield start
    for server in running:
        server.__exit__()


@pytest.fixture(params=list(COMMITS))
def story(request: pytest.FixtureRequest, begin: Callable[..., Story]) -> Story:
    return begin(request.param)


def webhook(tmp_path: Path, mark: str, status: str) -> None:
    told = {"id": "wamid.9", "status": status, "biz_opaque_callback_data": mark}
    line = json.dumps({"entry": [{"changes": [{"value": {"statuses": [told]}}]}]})
    with (tmp_path / "webhooks.jsonl").open("a") as file:
        file.write(line + "\n")


# What goes well


def test_what_was_approved_is_published_once_and_done(story: Story) -> None:
    record = story.approved()
    assert story.desk.cycle() == "executed 1"
    assert story.desk.cycle() == "idle"
    done = story.now(record)
    assert done.state is State.DONE and done.receipt is not None and len(story.ledger) == 1
    assert story.ledger[0]["id"] in done.receipt.id
    assert story.desk.places(f"{record.request_id}.md")[0].startswith("Done")
    assert read_mark(done.prepared), "the journal knew when it began"


@pytest.mark.parametrize("action", ["linkedin_post", "facebook_post", "twitter_post"])
def test_with_an_image_too(begin: Callable[..., Story], action: str) -> None:
    story = begin(action)
    record = story.approved(image=put_picture(story.desk))
    assert story.desk.cycle() == "executed 1" and story.now(record).state is State.DONE
    assert len(story.ledger) == 1


def test_a_template_is_sent_that_reads_as_approved(begin: Callable[..., Story]) -> None:
    story = begin("whatsapp_send")
    story.server.templates = [HELLO]
    template = {"name": "hello", "language": "de", "parameters": ["Ann", "Monday"]}
    record = story.approved(HELLO_TEXT, to=NUMBER, template=template)
    assert story.desk.cycle() == "executed 1" and story.now(record).state is State.DONE
    assert story.ledger[0]["sent"]["template"]["name"] == "hello"
    assert story.desk.store.known_recipients() == {NUMBER}


def test_a_dry_run_looks_at_everything_and_calls_nobody(story: Story) -> None:
    record = story.desk.store.begin(story.approved())
    assert record is not None
    answer = story.desk.tools.call("", story.action, {"action_id": record.action_id, "dry_run": True})
    assert not answer["done"] and answer["provider"]
    assert TEXT in {line["text"] for line in answer["shown"]}
    assert story.server.calls == []


# What breaks


@pytest.mark.parametrize("kind", ["503 after", "reset after", "silence after"])
@pytest.mark.parametrize("action", POSTS)
def test_what_happened_although_the_answer_got_lost_is_found_and_done(
    begin: Callable[..., Story], monkeypatch: pytest.MonkeyPatch, action: str, kind: str
) -> None:
    story = begin(action)
    if kind.startswith("silence"):
        impatient(monkeypatch, COMMITS[action])
    record = story.approved()
    story.breaks(kind)
    assert story.desk.cycle() == "executed 1"
    assert story.now(record).state is State.DONE and len(story.ledger) == 1
    story.later()
    assert len(story.ledger) == 1


@pytest.mark.parametrize("kind", ["503 after", "reset after", "silence after", "503 before", "reset before"])
def test_what_nobody_can_know_waits_for_the_human_and_is_never_repeated(
    story: Story, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind.startswith("silence"):
        impatient(monkeypatch, COMMITS[story.action])
    if story.action == "instagram_post" and kind.endswith("after"):
        story.server.states = ["FINISHED", "IN_PROGRESS"]  # when it is made ready, and when it is looked for
    record = story.approved()
    story.breaks(kind)
    story.hide()
    assert story.desk.cycle() == "unknown 1"
    story.later()
    assert story.now(record).state is State.UNKNOWN
    assert story.server.hits(COMMITS[story.action]) == 1
    assert ("CRITICAL", f"Nobody knows whether {record.request_id} was carried out") in {
        alert[:2] for alert in story.desk.alerts
    }


def test_too_many_calls_wait_and_go_on(story: Story) -> None:
    record = story.approved()
    story.breaks("429")
    assert story.desk.cycle() == "waiting to try again 1"
    assert story.desk.cycle() == "waiting to try again 1" and story.ledger == []
    story.desk.clock.advance(60)
    assert story.desk.cycle() == "executed 1"
    assert len(story.ledger) == 1 and story.now(record).state is State.DONE


def test_an_expired_token_pauses_its_provider(story: Story) -> None:
    records = [story.approved(), story.approved(f"{TEXT} again", key="two")]
    story.breaks("expired")
    story.desk.cycle()
    failed, waits = sorted(records, key=lambda record: story.now(record).state is not State.FAILED)
    assert story.now(failed).state is State.FAILED and story.now(waits).state is State.APPROVED
    assert story.desk.cycle() == "waiting for credentials 1" and story.ledger == []
    assert any(level == "CRITICAL" and "refuses our credentials" in title for level, title, _ in story.desk.alerts)
    story.desk.clock.advance(1)
    path = story.desk.vault / story.desk.places(f"{failed.request_id}.md")[0] / f"{failed.request_id}.md"
    story.desk.approvals.approve(failed.request_id, sha(path), by="anna")
    story.desk.cycle()
    story.desk.cycle()
    assert len(story.ledger) == 2 and story.now(waits).state is State.DONE


def test_a_refusal_goes_back_to_the_human_with_its_words(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"message": "not so", "detail": "not so", "error": {"code": 100, "message": "not so"}}
    real = story.server.route
    commit = COMMITS[story.action]
    monkeypatch.setattr(
        story.server,
        "route",
        lambda call: (400, body, {}) if f"{call.method} {call.path}" == commit else real(call),
    )
    record = story.approved()
    assert story.desk.cycle() == "failed 1"
    assert "not so" in story.now(record).error and story.ledger == []
    assert story.desk.places(f"{record.request_id}.md")[0].startswith("Pending_Approval")


@pytest.mark.parametrize(("status", "state"), [("delivered", State.DONE), ("failed", State.APPROVED)])
def test_webhooks_settle_a_message_whose_answer_got_lost(
    begin: Callable[..., Story], tmp_path: Path, status: str, state: State
) -> None:
    """Here the webhook came before the executor looked: a crash lay between."""
    story = begin("whatsapp_send")
    record = story.approved()
    webhook(tmp_path, "another action", "delivered")
    webhook(tmp_path, f"{record.action_id}.1", status)
    story.breaks("reset after" if status == "delivered" else "reset before")
    story.desk.cycle()
    assert story.now(record).state is state
    story.desk.clock.advance(60)
    story.desk.cycle()
    assert len(story.ledger) == 1 and story.now(record).state is State.DONE


def test_a_failure_that_webhooks_tell_of_one_try_proves_nothing_of_the_next(
    begin: Callable[..., Story], tmp_path: Path
) -> None:
    """The second try arrived, its answer got lost, and its own webhook is late: there is the first one's alone."""
    story = begin("whatsapp_send")
    record = story.approved()
    story.breaks("reset before")
    webhook(tmp_path, f"{record.action_id}.1", "failed")
    assert story.desk.cycle() == "waiting to try again 1", "proven: the first try reached nobody"
    story.breaks("reset after")
    story.desk.clock.advance(31)
    story.desk.cycle()
    assert story.now(record).state is State.UNKNOWN
    story.later()
    (sent,) = story.ledger
    assert sent["sent"]["biz_opaque_callback_data"] == f"{record.action_id}.2" == story.now(record).reference


def test_a_mark_that_an_older_version_shared_among_tries_proves_no_failure(
    begin: Callable[..., Story], tmp_path: Path
) -> None:
    story = begin("whatsapp_send")
    record = story.approved()
    webhook(tmp_path, record.action_id, "failed")
    begun = story.desk.store.begin(record)
    assert begun is not None and story.desk.store.consume(begun, record.action_id, provider="whatsapp")
    assert story.desk.store.prepared(begun, str(Mark(story.desk.clock.now())))
    assert story.desk.cycle() == "unknown 1"


@pytest.mark.parametrize("action", [action for action in COMMITS if action != "instagram_post"])
def test_a_try_that_was_cut_off_is_not_judged_by_the_note_of_the_one_before(
    begin: Callable[..., Story], monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """The first try was refused after its note, so certainly did nothing; of the second no call had begun."""
    story = begin(action)
    record = story.approved()
    monkeypatch.setattr(
        Api, "act", lambda *arguments, **options: (_ for _ in ()).throw(AdapterError("429", retry=True))
    )
    assert story.desk.cycle() == "waiting to try again 1" and read_mark(story.now(record).prepared)
    monkeypatch.undo()
    story.desk.clock.advance(31)
    real = ExecutionStore.prepared

    def die(store: ExecutionStore, record: ActionRecord, prepared: str) -> bool:
        assert real(store, record, prepared)
        raise Killed

    monkeypatch.setattr(ExecutionStore, "prepared", die)
    with pytest.raises(Killed):
        story.desk.cycle()
    monkeypatch.undo()
    story.desk.restart()
    story.desk.cycle()
    assert story.now(record).state is State.APPROVED, "no note, no call"
    story.desk.clock.advance(1800)
    assert story.desk.cycle() == "executed 1" and len(story.ledger) == 1


def test_a_post_of_before_is_not_taken_for_this_one(begin: Callable[..., Story]) -> None:
    story = begin("linkedin_post")
    story.approved()
    story.desk.cycle()
    story.desk.clock.advance(600)
    record = story.approved(key="two")
    story.breaks("reset before")
    assert story.desk.cycle() == "unknown 1", "the same words stood there before it began"
    assert story.now(record).state is State.UNKNOWN


@pytest.mark.parametrize("action", ["linkedin_post", "facebook_post", "twitter_post"])
def test_the_post_of_another_request_with_the_same_words_is_no_proof(begin: Callable[..., Story], action: str) -> None:
    story = begin(action)
    first = story.approved()
    story.desk.cycle()
    story.desk.clock.advance(60)
    second = story.approved(key="two")
    story.breaks("reset before")
    assert story.desk.cycle() == "unknown 1"
    assert story.now(second).receipt is None and f"belongs to {first.request_id}" in story.now(second).error
    assert len(story.ledger) == 1 and story.now(first).state is State.DONE


@pytest.mark.parametrize("action", ["linkedin_post", "facebook_post", "twitter_post"])
@pytest.mark.parametrize("settled", [True, False])
def test_a_post_that_two_open_requests_may_have_made_proves_neither(
    begin: Callable[..., Story], action: str, settled: bool
) -> None:
    """The first was published, its answer lost, and it was not to be seen yet; the second was never published."""
    story = begin(action)
    first = story.approved()
    story.breaks("reset after")
    story.hide()
    assert story.desk.cycle() == "unknown 1"
    if settled:
        story.desk.executor.settle(first.action_id, "happened", by="anna")
    story.desk.clock.advance(60)
    second = story.approved(key="two")
    story.breaks("reset before")
    story.show()
    assert "unknown" in story.desk.cycle()
    assert story.now(second).state is State.UNKNOWN and first.request_id in story.now(second).error
    assert len(story.ledger) == 1


def test_two_containers_with_the_same_caption_are_told_apart(begin: Callable[..., Story]) -> None:
    story = begin("instagram_post")
    records = [story.approved()]
    story.desk.cycle()
    story.desk.clock.advance(60)
    records.append(story.approved(key="two"))
    story.breaks("reset after")
    story.desk.cycle()
    assert len(story.ledger) == 2 and [story.now(record).state for record in records] == [State.DONE, State.DONE]


# What changes after the approval


@pytest.mark.parametrize("action", POSTS)
@pytest.mark.parametrize("begun", [True, False])
def test_an_image_that_was_exchanged_is_not_published(begin: Callable[..., Story], action: str, begun: bool) -> None:
    story = begin(action)
    record = story.approved(image=put_picture(story.desk))
    (story.desk.vault / PICTURE).write_bytes(jpeg() + b"other")
    if begun:  # a server that is asked past the executor refuses just so
        released = story.desk.store.begin(record)
        assert released is not None
        with pytest.raises(AdapterError, match="sha256 differs"):
            story.desk.tools.call("", action, {"action_id": record.action_id})
    else:
        assert story.desk.cycle() == "failed 1"
    assert story.ledger == [] and story.server.calls == []


def test_an_image_is_looked_at_once_more_when_it_is_uploaded(begin: Callable[..., Story]) -> None:
    """Between plan and act it can be exchanged, too."""
    story = begin("facebook_post")
    record = story.desk.store.begin(story.approved(image=put_picture(story.desk)))
    assert record is not None
    hand = story.desk.node.hand("facebook_post")
    from utils.execution import requests

    order = requests.order(record)
    plan = hand.plan(order)
    (story.desk.vault / PICTURE).write_bytes(b"other")
    with pytest.raises(AdapterError, match="sha256 differs"):
        hand.act(order, plan, lambda prepared: None)
    assert story.server.calls == []


@pytest.mark.parametrize("action", POSTS)
def test_an_image_that_does_not_fit_is_told_before_the_approval(begin: Callable[..., Story], action: str) -> None:
    story = begin(action)
    path = waiting(story.desk, action, image=put_picture(story.desk, b"\x89PNG no jpeg"))
    with pytest.raises(Invalid, match="no image of the kind its name says"):
        story.desk.approvals.approve(path.stem, sha(path), by="anna")
    (pending,) = story.desk.approvals.pending()
    assert any("no image of the kind" in problem for problem in pending.problems)


def test_what_happened_is_found_even_where_its_image_is_gone(begin: Callable[..., Story]) -> None:
    story = begin("facebook_post")
    record = story.desk.store.begin(story.approved(image=put_picture(story.desk)))
    assert record is not None
    story.breaks("reset after")
    with pytest.raises(AdapterError, match="unknown whether"):
        story.desk.tools.call("", "facebook_post", {"action_id": record.action_id})
    (story.desk.vault / PICTURE).unlink()
    assert story.desk.cycle() == "executed 1"


def test_a_window_that_has_closed_by_then_takes_no_text(begin: Callable[..., Story], tmp_path: Path) -> None:
    story = begin("whatsapp_send")
    received = story.desk.clock.now() - timedelta(hours=23)
    source = {"from_number": NUMBER, "received": format_time(received)}
    record = story.approved(source=source)
    story.desk.clock.advance(3600)
    assert story.desk.cycle() == "failed 1"
    assert "takes only a template now" in story.now(record).error and story.server.calls == []


def test_webhooks_tell_of_a_newer_message_and_of_an_older_one(begin: Callable[..., Story], tmp_path: Path) -> None:
    story = begin("whatsapp_send")

    def wrote(hours: int) -> None:
        at = str(int((story.desk.clock.now() - timedelta(hours=hours)).timestamp()))
        value = {"messages": [{"from": NUMBER.lstrip("+"), "timestamp": at, "type": "text"}]}
        line = json.dumps({"entry": [{"changes": [{"value": value}]}]})
        (tmp_path / "webhooks.jsonl").write_text(line)

    claimed = {"from_number": NUMBER, "received": format_time(story.desk.clock.now() - timedelta(hours=1))}
    record = story.approved(source=claimed)
    wrote(25)
    assert story.desk.cycle() == "failed 1", "what a request claims does not open the window"
    old = {"from_number": NUMBER, "received": format_time(story.desk.clock.now() - timedelta(hours=30))}
    record = story.approved(source=old, key="two")
    wrote(1)
    assert story.desk.cycle() == "executed 1" and story.now(record).state is State.DONE


@pytest.mark.parametrize("text", ["Hello Ann, we open on Monday.", HELLO_TEXT.replace("Monday", "Tuesday")])
def test_a_template_that_reads_otherwise_is_not_sent(begin: Callable[..., Story], text: str) -> None:
    story = begin("whatsapp_send")
    story.server.templates = [HELLO]
    template = {"name": "hello", "language": "de", "parameters": ["Ann", "Monday"]}
    record = story.approved(text, to=NUMBER, template=template)
    assert story.desk.cycle() == "failed 1"
    assert "reads otherwise than the approved draft" in story.now(record).error and story.ledger == []


def test_without_an_account_nothing_is_tried(begin: Callable[..., Story]) -> None:
    for action, empty in (("linkedin_post", "LINKEDIN_AUTHOR"), ("twitter_post", "X_ACCESS_SECRET")):
        story = begin(action, **{empty: ""})
        record = story.approved(key=action)
        assert "failed 1" in story.desk.cycle()
        assert empty in story.now(record).error and story.server.calls == []


def test_a_mark_is_read_as_it_was_written() -> None:
    at = FakeClock().now()
    for made in ("", "urn:li:image:C4", "1 2"):
        assert read_mark(str(Mark(at, made))) == Mark(at, made)
    assert read_mark("") is None
    with pytest.raises(AdapterError, match="can't be read"):
        read_mark("nonsense")


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


@pytest.mark.parametrize(
    ("action", "picture"),
    [*((action, True) for action in POSTS), *((action, False) for action in COMMITS if action != "instagram_post")],
)
def test_death_at_any_step_never_publishes_twice_and_loses_nothing(
    begin: Callable[..., Story], monkeypatch: pytest.MonkeyPatch, action: str, picture: bool
) -> None:
    story = begin(action)
    dying(story, monkeypatch)
    outcomes: dict[State, int] = {}
    step = 0
    while True:
        step += 1
        before = len(story.ledger)
        fields = {"image": put_picture(story.desk)} if picture else {}
        record = story.approved(f"Number {step}", key=f"post {step}", **fields)
        story.desk.restart(Bomb(step))
        try:
            story.desk.cycle()
            died = False
        except Killed:
            died = True
        story.desk.restart()
        for _ in range(3):
            story.desk.cycle()
            story.desk.clock.advance(60)
        state, done = story.now(record).state, len(story.ledger) - before
        assert done <= 1, f"twice, after death at step {step}"
        assert state in (State.DONE, State.UNKNOWN), f"{state} after death at step {step}"
        assert state is State.UNKNOWN or done == 1, f"lost, after death at step {step}"
        outcomes[state] = outcomes.get(state, 0) + 1
        if not died:
            break
        story.desk.clock.advance(24 * 3600)  # the caps of a day
    assert step > 10 and outcomes[State.DONE] > step // 2
    unknown = outcomes.get(State.UNKNOWN, 0)
    # Between the journal's mark and its receipt; a timeline tells of those in which the post is there.
    assert 1 <= unknown <= 4, f"{unknown} of {step} deaths left the outcome open"


def test_the_doctor_says_which_accounts_there_are(begin: Callable[..., Story], monkeypatch: pytest.MonkeyPatch) -> None:
    story = begin("linkedin_post", X_ACCESS_TOKEN="", LINKEDIN_AUTHOR="")
    found = {finding.detail.partition(":")[0]: finding for finding in doctor._accounts(story.desk.node.settings)}
    assert {name: finding.verdict for name, finding in found.items()} == {
        "linkedin_post": "note", "facebook_post": "ok", "instagram_post": "ok", "twitter_post": "note",
        "whatsapp_send": "ok",
    }  # fmt: skip
    assert "X_ACCESS_TOKEN missing" in found["twitter_post"].detail
    bare = begin("linkedin_post", LINKEDIN_AUTHOR="", LINKEDIN_TOKEN="", INSTAGRAM_USER_ID="")
    told = [finding.detail.partition(":")[0] for finding in doctor._accounts(bare.desk.node.settings)]
    assert told == ["facebook_post", "twitter_post", "whatsapp_send"], "what nobody set up is not spoken of"
