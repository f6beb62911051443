"""Task values: ids that never change, drafts that are verbatim, problems that are all named at once."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from utils.core.policy import ACTIONS, ActionPolicy, ApproveBy, may_write, move_is_enough, refusal
from utils.core.task import (
    InvalidTask,
    draft_doubts,
    format_time,
    headings,
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


@pytest.mark.parametrize("expires", ["2026-06-02T12:00:05", "2026-06-02", "soon", None])
def test_a_time_that_a_person_gives_has_its_zone(expires: object) -> None:
    with pytest.raises(InvalidTask, match=r"'expires' is .*; it must be a time with its zone"):
        request_from(request_meta(expires=expires), with_draft("", "x"))


@pytest.mark.parametrize("identifier", ["../x", "email-1", None, 7, "email-20260601T120005Z-1a2b3c4d/../x", "EMAIL-x"])
def test_an_id_that_is_none_is_refused(identifier: object) -> None:
    with pytest.raises(InvalidTask):
        task_from(request_meta(id=identifier), "")


@given(st.datetimes(min_value=datetime(1990, 1, 1), timezones=st.just(UTC)))
def test_times_survive(when: datetime) -> None:
    assert parse_time(format_time(when)) == when


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00", "0001-01-01T00:00:00+23:59", "soon", "", "2026-13-01"],
)
def test_what_is_no_time_in_utc_is_refused_cleanly(text: str) -> None:
    with pytest.raises(ValueError):
        parse_time(text)
    for name in ("created", "expires"):
        with pytest.raises(InvalidTask, match=f"'{name}' is .* time"):
            request_from(request_meta(**{name: text}), with_draft("", "x"))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(["0001-01-01T00:00:00+10:00", "email", "reply_email", "../x", "<x@y>", "ann@example.com <", "@<"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*request_meta(), "cc", "bcc", "references", "source", "thread"]), VALUES), TEXT)
@settings(max_examples=500)
@example({"source_task": {"a": 1}}, "")
@example({"domain": {}, "action": []}, "")
def test_any_front_matter_is_a_request_or_refused_in_words(changes: dict[str, Any], draft: str) -> None:
    for read in (task_from, request_from):
        try:
            read(request_meta(**changes), with_draft("", draft))
        except InvalidTask as refused:
            assert refused.problems and all(len(problem) < 1000 for problem in refused.problems)


@pytest.mark.parametrize("name", sorted(request_meta().keys() - {"subject", "in_reply_to"}))
def test_a_number_too_long_to_print_is_refused_in_words(name: str) -> None:
    with pytest.raises(InvalidTask, match=name):
        request_from(request_meta(**{name: 10**5000}), with_draft("", "x"))


@pytest.mark.parametrize("changes", [{"source_task": "../../x"}, {"source_task": ["x"]}, {"risk": [1]}, {"why": {}}])
def test_what_later_steps_rely_on_is_checked(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask, match=next(iter(changes))):
        request_from(request_meta(**changes), with_draft("", "x"))


FAKE = "\n\nthe price is 10.\n\n"


@pytest.mark.parametrize(
    ("notes", "draft"),
    [
        (f"## Draft ##{FAKE}<!--", "We accept."),
        (f" ## Draft{FAKE}", "We accept."),
        (f"   ##\tDraft #{FAKE}", "We accept."),
        (f"### Draft{FAKE}", "We accept."),
        (f"## draft{FAKE}", "We accept."),
        (f"## **Draft**{FAKE}", "We accept."),
        (f"## Dr&#97;ft{FAKE}", "We accept."),
        (f"## Dr\u00adaft{FAKE}", "We accept."),
        (f"## Dr\u0430ft{FAKE}", "We accept."),
        (f"x\r## Draft{FAKE}", "We accept."),
        (f"Draft\n---{FAKE}", "We accept."),
        (f"Draft\n  ===={FAKE}", "We accept."),
        ("<details><summary>More</summary>", "We accept."),
        ("<script", "We accept."),
        ("%%", "We accept."),
        ("> [!note]- Folded", "We accept."),
        ("", "the price is 10.\n\n<!-- We accept. -->"),
        ("", "the price is 10. %%We accept.%%"),
        ("", "the price is 10.\n\n[//]: # (We accept.)"),
        ("", "see [our terms](https://evil.example)"),
        ("", "one\rtwo"),
        ("", "one\u2028two"),
        ("", "the price is 10.\n\n## Draft\n\nWe accept."),
        ("", "pay &#48;"),
    ],
)
def test_a_draft_that_may_look_otherwise_than_it_is_sent_is_doubted(notes: str, draft: str) -> None:
    body = f"{notes}\n\n## Draft\n\n{draft}\n"
    assert draft_doubts(body)
    assert request_from(request_meta(), body).doubts


#: What a heading is, as an expression says it: right, and with a long line slower than it may be.
HEADING = re.compile(r"^ {0,3}#{1,6}(?:[ \t]+(.*?))?[ \t]*$|^ {0,3}(\S.*?)[ \t]*\n {0,3}(?:=+|-+)[ \t]*$", re.MULTILINE)
_PIECES = st.sampled_from(
    ["#", "##", "#######", " ", "    ", "\t", "\n", "\n---", "\n ===", "-", "=", "a", "Draft", "\xa0"]
)


@settings(max_examples=500)
@given(st.lists(_PIECES, max_size=20).map("".join) | st.text("# \t\n-=ab\xa0", max_size=40))
@example("a\n---\n---\n---\n")
@example("# a\n---\n#\n===")
@example("####### a\n  ---  ")
@example("a" + " " * 100 + "b\n=-=\nb \t\n=\n")
def test_headings_are_found_line_by_line_as_an_expression_finds_them(text: str) -> None:
    assert list(headings(text)) == [match[1] or match[2] or "" for match in HEADING.finditer(text)]


def test_no_line_is_too_long_for_its_headings() -> None:
    line = "a" + " " * 1_000_000 + "b"  # the expression would not come back
    assert list(headings(f"{line}\n# {line}\n{line}\n---")) == [line, line]


@pytest.mark.parametrize(
    "draft",
    [
        "Hello Ann,\n\nthe price is 10 € (5 % off), if x < 3 and y > 4.\n\nKind regards\nBob <bob@acme.example>\n",
        "- one\n- two\n\n> You asked?\n\nhttps://acme.example/a?b=c&d=e 👩\u200d🚀 ❤\ufe0f",
        "Hello,\r\n\r\nall is well.\r\n",
    ],
)
def test_an_ordinary_draft_is_not_doubted(draft: str) -> None:
    notes = f"# Reply to Ann <ann@example.com>\n\n- To: ann@example.com\n\n{quote_block('A question?')}\n"
    assert request_from(request_meta(), with_draft(notes, draft)).doubts == ()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"subject": "pay \u202e001\u202c"}, "'subject' has characters that change the direction"),
        ({"to": ["Ann\u200b <ann@example.com>"]}, "'to' has invisible"),
        ({"cc": ["boss@bank.example <eve@evil.example>"]}, "'cc': the name shows another address"),
        ({"to": ["ann@xn--bnk-6cd.example"]}, "encoded name"),
    ],
)
def test_fields_that_may_be_misread_are_doubted(changes: dict[str, Any], word: str) -> None:
    doubts = request_from(request_meta(**changes), with_draft("", "Hello")).doubts
    assert any(word in doubt for doubt in doubts), doubts


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
    assert move_is_enough("reply_email", to_ann, "ann@example.com", move, set())[0]
    assert move_is_enough("reply_email", to_ann, None, move, {"ann@example.com"})[0]
    for verified in (None, "", "eve@x.org"):
        enough, why = move_is_enough("reply_email", to_ann, verified, move, set())
        assert not enough
        assert "Ann@example.com" in why
    assert not move_is_enough("reply_email", to_ann | {"bcc": ["eve@x.org"]}, "ann@example.com", move, set())[0]
    assert not move_is_enough("payment", {}, None, confirm, set())[0]


def test_the_cloud_keeps_to_its_paths() -> None:
    for path in ("Needs_Action/email/x.md", "In_Progress/cloud/x.md", "Plans/email/x.plan.md", "Logs/claims.jsonl"):
        assert may_write("cloud", path)
    for path in ("Approved/x.md", "Rejected/x.md", "Dashboard.md", "In_Progress/local/x.md", ".gitattributes", "Logs"):
        assert not may_write("cloud", path)
        assert may_write("local", path)


def test_a_request_finishes_only_a_task_of_its_own_domain() -> None:
    payment = make_id("accounting", WHEN, "a bill")
    with pytest.raises(InvalidTask, match="'source_task' is of the domain accounting"):
        request_from(request_meta(source_task=payment), with_draft("", "x"))
