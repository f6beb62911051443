"""The mail sent is the request shown: body to the byte, headers that can't be steered, threads kept."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.core.mail import OutgoingMail
from utils.core.task import ApprovalRequest, InvalidTask, request_from, with_draft
from utils.execution import render

DATE = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
LINE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=300)


def request(draft: str = "Hello", **fields: Any) -> ApprovalRequest:
    meta = {
        "id": "email-20260601T090000Z-0011aabb",
        "type": "email_processing",
        "domain": "email",
        "created": "2026-06-01T09:00:00Z",
        "priority": "normal",
        "action": "reply_email",
        "to": ["ann@example.org"],
        "subject": "Re: lunch",
        "in_reply_to": "<q1@example.org>",
        "expires": "2026-06-02T09:00:00Z",
        **fields,
    }
    return request_from({k: v for k, v in meta.items() if v is not None}, with_draft("", draft))


def rendered(asked: ApprovalRequest, **options: Any) -> tuple[OutgoingMail, Any]:
    mail = render.render(asked, action_id="a" * 32, date=DATE, sender="office@acme.example", **options)
    return mail, message_from_bytes(mail.data, policy=policy.default)


@given(draft=TEXT.filter(str.strip))
@settings(max_examples=400, deadline=None)
def test_the_body_decodes_to_exactly_the_draft(draft: str) -> None:
    mail, message = rendered(request(draft))
    body = message.get_payload(decode=True).decode("utf-8")
    # Line ends are CRLF on the way, whatever they were (RFC 5321 §2.3.8); nothing else may change.
    assert body == (draft + "\n").replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
    assert all(len(line) <= 998 for line in mail.data.split(b"\r\n"))
    assert b"\n" not in mail.data.replace(b"\r\n", b"") and b"\r" not in mail.data.replace(b"\r\n", b"")


@given(subject=LINE.filter(str.strip))
@settings(max_examples=300, deadline=None)
def test_any_subject_survives_and_stays_one_header(subject: str) -> None:
    mail, message = rendered(request(subject=subject))
    assert len(message.get_all("Subject")) == 1 and set(message.keys()) == set(rendered(request())[1].keys())
    # Blanks at line folds are the reader's; the words are ours.
    assert "".join(str(message["Subject"]).split()) == "".join(subject.split())
    assert mail.recipients == ("ann@example.org",)


@given(name=LINE)
@settings(max_examples=300, deadline=None)
def test_no_display_name_adds_a_recipient(name: str) -> None:
    asked = request(to=[f"{name} <ann@example.org>"])
    if render.problems(asked):
        return
    mail, message = rendered(asked)
    assert mail.recipients == ("ann@example.org",)
    assert [address.addr_spec for address in message["To"].addresses] == ["ann@example.org"]


@pytest.mark.parametrize("char", ["\r", "\n", "\0", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x7f"])
@pytest.mark.parametrize("field", ["subject", "to", "in_reply_to", "references"])
def test_no_line_break_of_any_kind_gets_into_a_header(field: str, char: str) -> None:
    evil = f"a{char}Bcc: thief@example.net"
    value: Any = {
        "subject": evil,
        "to": [f"{evil} <a@b.example>"],
        "in_reply_to": f"<x@y>{char}",
        "references": [f"<x{char}@y>"],
    }[field]
    with pytest.raises(InvalidTask, match=field):
        rendered(request(**{field: value}))


def test_a_long_thread_keeps_every_id_whole() -> None:
    chain = [f"<{'x' * 120}{number}@mail.example.org>" for number in range(40)]
    mail, message = rendered(request(references=chain, in_reply_to=chain[-1]))
    assert message["References"].split() == chain and message["In-Reply-To"] == chain[-1]
    assert b"=?utf-8?" not in mail.data
    assert max(map(len, mail.data.split(b"\r\n"))) <= 998


def test_ids_and_dates_are_the_same_each_time() -> None:
    mail, message = rendered(request())
    assert rendered(request())[0] == mail
    assert mail.message_id == message["Message-ID"] == f"<{'a' * 32}@acme.example>"
    assert message["Date"] == "Mon, 01 Jun 2026 12:30:00 +0000"


def test_bcc_is_in_the_envelope_alone_and_nobody_twice() -> None:
    mail, message = rendered(
        request(to=["Ann <ann@example.org>"], cc=["bob@example.org", "ann@example.org"], bcc=["secret@example.org"])
    )
    assert mail.recipients == ("ann@example.org", "bob@example.org", "secret@example.org")
    assert message["Bcc"] is None and b"secret" not in mail.data


def test_names_beyond_ascii_and_with_commas_are_encoded() -> None:
    _, message = rendered(
        request(to=["Müller, Jörg <j@example.org>", '"Doe, \\"Jo\\"" <d@example.org>']), sender_name="Zoë"
    )
    assert [address.display_name for address in message["To"].addresses] == ["Müller, Jörg", 'Doe, "Jo"']
    assert message["From"].addresses[0].display_name == "Zoë"


@pytest.mark.parametrize(
    "entry",
    ["", "ann", "ann@", "@example.org", "ann@exa mple.org", "a@b@c.org", "a@b.org, c@d.org", "<a@b.org> <c@d.org>",
     "a@b.org>", "a@-b.org", "a@b..org", "x" * 250 + "@b.org", "undisclosed-recipients:;", "a@[127.0.0.1]",
     "a b@c.org"],
)  # fmt: skip
def test_what_is_no_single_address_is_refused_in_words(entry: str) -> None:
    with pytest.raises(InvalidTask, match="'to'"):
        rendered(request(to=[entry]))


def test_a_subject_that_yaml_read_as_a_number_is_refused_in_words() -> None:
    with pytest.raises(InvalidTask, match="put it in quotes"):
        rendered(request(subject=2026))


def test_a_new_mail_has_no_thread() -> None:
    _, message = rendered(request(action="send_email", in_reply_to=None))
    assert message["In-Reply-To"] is None and message["References"] is None
