"""What this node could not carry out as things stand is told before a person answers, and no longer than it is so."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from scripts import approve, request
from tests.conftest import FakeClock
from tests.fakes.desk import Desk, World, sha
from tests.social_kit import NUMBER, settings, waiting
from utils.bootstrap import Services
from utils.core.task import format_time
from utils.execution.journal import State

NOWHERE = "http://127.0.0.1:9"
MISSING = "no account of linkedin is set up here: LINKEDIN_AUTHOR, LINKEDIN_TOKEN"


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World())


def beside(path: Path) -> str:
    note = path.with_name(f"{path.stem}.reason.md")
    return note.read_text() if note.exists() else ""


def restart_with(desk: Desk, **more: str) -> None:
    """A person sets an account up, or takes it away, and starts the node again."""
    desk._settings = more
    desk.restart()


def test_a_missing_account_is_told_before_the_approval_and_no_longer_than_it_is_missing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = waiting(desk, "linkedin_post")
    desk.cycle()
    assert MISSING in beside(path)
    (shown,) = desk.approvals.pending()
    assert shown.problems == (MISSING,)
    monkeypatch.setattr(Services, "from_environment", classmethod(lambda cls: desk.node))
    for words in ([], ["view", path.stem]):
        assert approve.main(words) == 0
        assert f"! {MISSING}" in capsys.readouterr().out
    before = (path.with_name(f"{path.stem}.reason.md").stat().st_mtime_ns, beside(path))
    desk.restart()
    desk.cycle()
    assert (path.with_name(f"{path.stem}.reason.md").stat().st_mtime_ns, beside(path)) == before, "said once"
    restart_with(desk, **settings(NOWHERE))
    desk.cycle()
    assert beside(path) == "" and desk.approvals.get(path.stem).problems == ()
    restart_with(desk)
    desk.cycle()
    assert MISSING in beside(path)


def test_it_blocks_no_approval(desk: Desk) -> None:
    path = waiting(desk, "linkedin_post")
    desk.cycle()
    record = desk.approvals.approve(path.stem, sha(path), by="anna")
    assert record.state is State.APPROVED
    assert desk.cycle() == "failed 1" and MISSING in desk.store.newest(path.stem).error  # type: ignore[union-attr]
    assert "It was approved, but linkedin_post failed" in beside(path)


def test_what_looks_like_a_trick_and_a_missing_account_stand_in_one_note(desk: Desk) -> None:
    path = waiting(desk, "linkedin_post", "We are open: [bank.example](https://evil.example)")
    desk.cycle()
    assert MISSING in beside(path) and "Look before you approve" in beside(path)
    restart_with(desk, **settings(NOWHERE))
    desk.cycle()
    assert MISSING not in beside(path) and "Look before you approve" in beside(path)


def test_a_persons_own_note_stays_theirs(desk: Desk) -> None:
    path = waiting(desk, "linkedin_post")
    note = path.with_name(f"{path.stem}.reason.md")
    note.write_text("remember to ask Ann\n")
    desk.cycle()
    assert note.read_text() == "remember to ask Ann\n" and desk.approvals.get(path.stem).problems == (MISSING,)


def test_the_window_is_told_before_it_closes_and_when_it_did(
    make_node: Callable[..., Services], clock: FakeClock, tmp_path: Path
) -> None:
    """A morning's message, an answer that waits until the next day; then the person writes again."""
    hooks = tmp_path / "webhooks.jsonl"
    desk = Desk(make_node, clock, World(), **settings(NOWHERE), WHATSAPP_WEBHOOKS_PATH=str(hooks))
    start = clock.now()
    path = waiting(desk, "whatsapp_send", "Yes, we are open on Monday.")
    desk.cycle()
    pending = desk.approvals.get(path.stem)
    shown = dict(desk.approvals.shown(pending))
    wrote = start - timedelta(hours=1)
    assert shown["Last message"] == f"{format_time(wrote)}, as the request tells"
    assert shown["Window closes at"] == format_time(wrote + timedelta(hours=24))
    assert pending.problems == () and "WhatsApp" not in beside(path)

    clock.advance(23 * 3600)
    desk.cycle()
    (problem,) = desk.approvals.get(path.stem).problems
    closed = f"(it came at {format_time(wrote)}, its window closed at {format_time(wrote + timedelta(hours=24))})"
    assert f"{NUMBER} is more than 24 hours old {closed}: WhatsApp takes only a template now" in problem
    assert problem in beside(path)
    assert "Window closed at" in dict(desk.approvals.shown(desk.approvals.get(path.stem)))

    told = {"messages": [{"from": NUMBER.lstrip("+"), "timestamp": str(int(clock.now().timestamp())), "type": "text"}]}
    hooks.write_text(json.dumps({"entry": [{"changes": [{"value": told}]}]}))
    desk.cycle()
    pending = desk.approvals.get(path.stem)
    assert pending.problems == () and "WhatsApp takes" not in beside(path)
    assert dict(desk.approvals.shown(pending))["Last message"].endswith("as webhooks tell")


def test_a_file_of_webhooks_that_can_not_be_read_hides_no_request(
    make_node: Callable[..., Services], clock: FakeClock, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    desk = Desk(make_node, clock, World(), **settings(NOWHERE), WHATSAPP_WEBHOOKS_PATH=str(tmp_path / "folder"))
    path = waiting(desk, "whatsapp_send", "Yes")
    pending = desk.approvals.get(path.stem)
    assert dict(desk.approvals.shown(pending))["Last message"].endswith("as the request tells")


def test_the_command_writes_no_message_whose_window_is_closed(
    make_node: Callable[..., Services],
    clock: FakeClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    desk = Desk(make_node, clock, World(), set_up=True, **settings(NOWHERE))
    monkeypatch.setattr(Services, "from_environment", classmethod(lambda cls: desk.node))
    (tmp_path / "text.md").write_text("Yes")
    received = format_time(clock.now() - timedelta(hours=25))
    source = f"source={{from_number: '{NUMBER}', received: {received}}}"
    words = ["new", "whatsapp_send", "--field", f"to={NUMBER}", "--field", source, "--draft", str(tmp_path / "text.md")]
    assert request.main(words) == 1
    assert "its window closed at" in capsys.readouterr().err and desk.approvals.pending() == []
