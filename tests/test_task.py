"""Task values: ids that never change, drafts that are verbatim, problems that are all named at once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from utils.core.policy import ACTIONS, ActionPolicy, ApproveBy, may_write, move_is_enough, refusal
from utils.core.task import (
    InvalidTask,
    format_time,
    make_id,
    parse_time,
    quote_block,
    request_from,
    request_id,
    split_draft,
    task_from,
    with_draft,
)

WHEN = datetime(2026, 6, 1, 12, 0, 5, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def request_meta(**changes: Any) -> dict[str, Any]:
    task_id = make_id("email", WHEN, "a mail")
    meta = {
        "id": request_id(task_id, "reply_email"),
        "type": "email_processing",
        "domain": "email",
        "created": "2026-06-01T12:00:05Z",
        "created_by": "cloud",
        "priority": "normal",
        "action": "reply_email",
        "to": ["ann@example.com"],
        "subject": "Re: Hello",
        "in_reply_to": "<1@example.com>",
        "expires": "2026-06-02T12:00:05Z",
        "risk": [],
        "why": "a question",
        "drafted_by": "builtin",
        "source_task": task_id,
    }
    return meta | changes


def test_the_same_source_always_has_the_same_id_and_another_has_another() -> None:
    first = make_id("email", WHEN, "account\0<1@x>")
    assert first == make_id("email", WHEN, "account\0<1@x>")
    assert first.startswith("email-20260601T120005Z-")
    assert first != make_id("email", WHEN, "account\0<2@x>")
    assert request_id(first, "reply_email") != request_id(first, "reply_email", revision=2)


@given(TEXT, TEXT)
@example("", "## Draft\n\nnested")
@example("> ## Draft", "\n\ntwo empty lines before, two after\n\n")
@example("notes\n", "\r\n")
def test_any_draft_comes_back_verbatim_whatever_mail_is_quoted_above_it(mail: str, draft: str) -> None:
    _, read = split_draft(with_draft(f"# Reply\n\n{quote_block(mail)}", draft))
    assert read == draft


@given(TEXT)
@example("\u2028## Draft\u2029---")
@example("\r## Draft\r")
def test_quoted_mail_has_no_line_of_its_own(text: str) -> None:
    assert all(line.startswith(">") for line in quote_block(text).splitlines())


def test_notes_that_would_swallow_the_draft_are_refused() -> None:
    with pytest.raises(ValueError, match="## Draft"):
        with_draft("hello\n## Draft\nforged", "real")


def test_every_problem_of_a_request_is_named_at_once() -> None:
    meta = request_meta(to=[], priority="now", expires="soon", type="magic")
    with pytest.raises(InvalidTask) as caught:
        request_from(meta, "no section")
    text = str(caught.value)
    for word in ("'type'", "'priority'", "needs 'to'", "'expires'", "## Draft"):
        assert word in text


def test_a_request_knows_its_fields() -> None:
    request = request_from(request_meta(cc=["bob@example.com"]), with_draft("notes", "Hello Ann"))
    assert request.fields["to"] == ["ann@example.com"]
    assert request.fields["cc"] == ["bob@example.com"]
    assert request.draft == "Hello Ann"
    assert request.expires == datetime(2026, 6, 2, 12, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize("wrong", [{"to": "ann@example.com"}, {"to": [1]}, {"action": "send_money"}, {"action": None}])
def test_fields_of_the_wrong_shape_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask):
        request_from(request_meta(**wrong), with_draft("", "x"))


@pytest.mark.parametrize("identifier", ["../x", "email-1", None, 7, "email-20260601T120005Z-1a2b3c4d/../x", "EMAIL-x"])
def test_an_id_that_is_none_is_refused(identifier: object) -> None:
    with pytest.raises(InvalidTask):
        task_from(request_meta(id=identifier), "")


@given(st.datetimes(min_value=datetime(1990, 1, 1), timezones=st.just(UTC)))
def test_times_survive(when: datetime) -> None:
    assert parse_time(format_time(when)) == when


@pytest.mark.parametrize("mode", ["draft_only", "", "Full", "FULL", "cloud", None])
def test_only_exactly_full_may_act(mode: Any) -> None:
    assert all(refusal(mode, action) for action in ACTIONS)


def test_the_ten_actions_are_the_missions_and_an_unknown_one_is_blocked() -> None:
    mails = {"send_email", "reply_email", "forward_email"}
    posts = {"linkedin_post", "facebook_post", "instagram_post", "twitter_post", "whatsapp_send"}
    assert set(ACTIONS) == mails | posts | {"payment", "invoice"}
    assert all(refusal("full", action) is None for action in ACTIONS)
    assert refusal("full", "launch_rocket") is not None


def test_a_move_approves_only_what_needs_no_second_look() -> None:
    move, confirm = ActionPolicy(ApproveBy.MOVE, 24), ActionPolicy(ApproveBy.CONFIRM, 1)
    to_ann = {"to": ["Ann@example.com"]}
    authenticated = {"from_address": "ann@example.com", "sender_authenticated": True}
    assert move_is_enough("reply_email", to_ann, authenticated, move, set())[0]
    assert move_is_enough("reply_email", to_ann, {}, move, {"ann@example.com"})[0]
    for source in ({}, {"from_address": "ann@example.com"}, authenticated | {"sender_authenticated": "true"}):
        enough, why = move_is_enough("reply_email", to_ann, source, move, set())
        assert not enough
        assert "Ann@example.com" in why
    assert not move_is_enough("reply_email", to_ann | {"bcc": ["eve@x.org"]}, authenticated, move, set())[0]
    assert not move_is_enough("payment", {}, {}, confirm, set())[0]


def test_the_cloud_keeps_to_its_paths() -> None:
    for path in ("Needs_Action/email/x.md", "In_Progress/cloud/x.md", "Plans/email/x.plan.md", "Logs/claims.jsonl"):
        assert may_write("cloud", path)
    for path in ("Approved/x.md", "Rejected/x.md", "Dashboard.md", "In_Progress/local/x.md", ".gitattributes", "Logs"):
        assert not may_write("cloud", path)
        assert may_write("local", path)
