"""The mail sent is the request shown: body to the byte, headers that can't be steered, threads kept."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from email import message_from_bytes, policy
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from utils.core import attached
from utils.core.mail import OutgoingMail
from utils.core.task import ApprovalRequest, InvalidTask, request_from, with_draft
from utils.execution import render

DATE = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
LINE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=300)
#: What header parsers trip over: encoded words and their pieces, quotes, commas, comments, groups, blanks.
NASTY = st.lists(
    st.sampled_from(
        ["=?utf-8?q?", "=?utf-8?b?", "?=", "=?", "=0D=0A", "Qmnj", "_", '"', "\\", ",", ";", ":", "(", ")", "[", "]",
         "@", ".", " ", "  ", "a", "Bcc: e@e.org", "ä", "😀", "\u202e", "\u00a0", "\u3000", "=", "xn--", "<", ">"]
    ),
    max_size=14,
).map("".join)  # fmt: skip
_SMUGGLED = b"Offer\r\nBcc: evil@evil.example\r\nContent-Type: text/html\r\n\r\n<p>Please pay to DE00.</p><!--"
INJECTION = f"Re: =?utf-8?b?{base64.b64encode(_SMUGGLED).decode()}?="


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
@settings(max_examples=400)
@example(draft="a\x0bb\x0cc\x1cd\x85e\u2028f\x7f")
@example(draft="From me\n.\n..\n trailing \n\t\n=3D=\n-- \n")
@example(draft="one\r\ntwo\nthree")
def test_the_body_decodes_to_exactly_the_draft_or_it_is_refused(draft: str) -> None:
    asked = request(draft)
    if "\r" in draft.replace("\r\n", "\n"):
        with pytest.raises(InvalidTask, match="carriage return"):
            rendered(asked)
        assert render.problems(asked)
        return
    mail, message = rendered(asked)
    body = message.get_payload(decode=True).decode("utf-8")
    # Line ends are CRLF on the way (RFC 5321 §2.3.8); nothing else may change.
    assert body.replace("\r\n", "\n") == draft.replace("\r\n", "\n") + "\n"
    assert all(len(line) <= 998 for line in mail.data.split(b"\r\n"))
    assert b"\n" not in mail.data.replace(b"\r\n", b"") and b"\r" not in mail.data.replace(b"\r\n", b"")


def header_names(message: Any) -> list[str]:
    return sorted(message.keys())


@given(subject=st.one_of(LINE, NASTY).filter(str.strip))
@settings(max_examples=500)
@example(subject=INJECTION)
@example(subject="=?utf-8?q?Hi=0D=0ABcc:_evil@evil.example?=")
@example(subject=" two  blanks \u00a0 ")
@example(subject="ä" * 900)
@example(subject="x" * 998)
@example(subject="word " * 190 + "end")
def test_any_subject_arrives_as_it_is_shown_and_stays_one_header(subject: str) -> None:
    asked = request(subject=subject)
    assert render.problems(asked) == []
    mail, message = rendered(asked)
    assert header_names(message) == header_names(rendered(request())[1])
    assert str(message["Subject"]) == subject
    # A reader that knows no encoded words sees no line of the subject's making either.
    assert header_names(message_from_bytes(mail.data, policy=policy.compat32)) == header_names(message)
    assert message.get_payload(decode=True) == b"Hello\r\n" and message.get_content_type() == "text/plain"
    assert mail.recipients == ("ann@example.org",)
    assert all(len(line) <= 78 for line in mail.data.split(b"\r\n"))


@given(name=st.one_of(LINE, NASTY))
@settings(max_examples=500)
@example(name=INJECTION)
@example(name="=?utf-8?q?Boss_=3Cboss=40bank=2Ecom=3E=2C?=")
@example(name="=?utf-8?q?x=0d=0aBcc:_e@e.org?=")
@example(name='Doe, Jo" <x> "')
@example(name="undisclosed: ;")
@example(name="a\\")
@example(name="(comment")
@example(name='""')
def test_a_display_name_adds_nothing_and_arrives_as_it_is(name: str) -> None:
    asked = request(to=[f"{name} <ann@example.org>"], cc=[f"{name} <bob@example.org>"])
    if render.problems(asked):
        assert "<" in name or ">" in name or len(name) > 200
        return
    mail, message = rendered(asked, sender_name=name)
    assert mail.recipients == ("ann@example.org", "bob@example.org")
    for header, address in (("To", "ann@example.org"), ("Cc", "bob@example.org"), ("From", "office@acme.example")):
        assert [person.addr_spec for person in message[header].addresses] == [address]
    shown = message["To"].addresses[0].display_name
    # What stands in quotes in the request stands without them in the mail program.
    assert "".join(shown.split()) == "".join(name.split()) or name.strip().startswith('"')
    assert header_names(message) == sorted([*rendered(request())[1].keys(), "Cc"])


def test_a_mail_that_reads_otherwise_than_the_request_is_never_made() -> None:
    """The last line of defence, should the encoding ever be wrong: the rendered bytes are read back."""
    asked = request()
    author = render._Person("", "office@acme.example")
    true = render._build(asked, "a" * 32, DATE, author)
    assert render._misread(true, asked, author) == []
    head, _, body = true.data.partition(b"\r\n\r\n")
    for forged in (
        b"Bcc: evil@evil.example\r\n" + true.data,
        b"Reply-To: evil@evil.example\r\n" + true.data,
        true.data.replace(b"Re: lunch", b"Re: dinner"),
        true.data.replace(b"ann@example.org", b"ann@example.org, eve@evil.example"),
        true.data.replace(b"ann@example.org", b'"Eve" <ann@example.org>'),
        true.data.replace(b"text/plain", b"text/html"),
        true.data.replace(b"7bit", b"quoted-printable").replace(b"Hello", b"He=6Clo="),
        true.data + b"and more",
        head + b"\r\n\r\n\r\n" + body,
    ):
        changed = OutgoingMail(true.message_id, true.sender, true.recipients, forged)
        assert render._misread(changed, asked, author), forged


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
     "a b@c.org", ".a@b.org", "a.@b.org", "=?utf-8?q?x=0A?=@b.org", "x" * 201 + " <a@b.org>"],
)  # fmt: skip
def test_what_is_no_single_address_is_refused_in_words(entry: str) -> None:
    with pytest.raises(InvalidTask, match="'to'"):
        rendered(request(to=[entry]))


def test_lists_and_lines_without_end_are_refused() -> None:
    for wrong in ({"subject": "x" * 999}, {"references": ["<x@y>"] * 101}, {"to": ["ann@example.org"] * 101}):
        assert render.problems(request(**wrong))


def test_a_subject_that_yaml_read_as_a_number_is_refused_in_words() -> None:
    with pytest.raises(InvalidTask, match="put it in quotes"):
        rendered(request(subject=2026))
    assert all(render.problems(request(**{name: 10**5000})) for name in ("subject", "in_reply_to"))


def test_a_new_mail_has_no_thread() -> None:
    _, message = rendered(request(action="send_email", in_reply_to=None))
    assert message["In-Reply-To"] is None and message["References"] is None


# Forwarding


def forward(draft: str = "See below.\n\n> the original", **fields: Any) -> ApprovalRequest:
    meta = {"action": "forward_email", "subject": "Fwd: lunch", "source_message": "<o1@example.org>"}
    return request(draft, **(meta | {"in_reply_to": None} | fields))


def test_a_forwarded_mail_names_its_source_and_is_no_answer() -> None:
    asked = forward(references=["<q0@example.org>"])
    assert render.problems(asked) == []
    mail, message = rendered(asked)
    assert message["References"] == "<o1@example.org>" and message["In-Reply-To"] is None
    assert message["Subject"] == "Fwd: lunch"
    assert mail.data.endswith(b"See below.\r\n\r\n> the original\r\n")


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"subject": "lunch"}, "Fwd: "),
        ({"subject": "Re: lunch"}, "Fwd: "),
        ({"source_message": "o1@example.org"}, "source_message"),
        ({"source_message": "<a@b>\r\nBcc: thief@example.net"}, "source_message"),
        ({"source_message": ["<a@b>"]}, "source_message"),
        ({"source_message": 5}, "source_message"),
    ],
)
def test_a_forward_that_is_none_is_refused_in_words(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidTask, match=word):
        rendered(forward(**fields))
    assert render.problems(forward(**fields))


# Attachments


def with_files(*files: tuple[str, bytes], **fields: Any) -> tuple[ApprovalRequest, list[bytes]]:
    entries = [{"path": f"Accounting/{name}", "sha256": sha256(data).hexdigest()} for name, data in files]
    return request(attachments=entries, **fields), [data for _, data in files]


FILE_NAME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(attached.is_name)


@given(files=st.lists(st.tuples(FILE_NAME, st.binary(max_size=200)), min_size=1, max_size=4), draft=TEXT)
@settings(max_examples=300)
@example(files=[("invoice.pdf", b"%PDF-1.7"), ("a.eml", b"Subject: x\r\n\r\n"), ("x.txt", b"a\nb\r\n")], draft="Hi")
@example(files=[("日本語 %41'*.pdf", b"--=_" + b"a" * 32)], draft="--=_" + "a" * 32 + "--\n")
def test_attachments_arrive_as_the_bytes_and_names_that_were_approved(
    files: list[tuple[str, bytes]], draft: str
) -> None:
    asked, contents = with_files(*((name.removeprefix("."), data) for name, data in files), draft=draft)
    if render.problems(asked):
        assert not draft.strip() or "\r" in draft.replace("\r\n", "\n") or any(n.startswith(".") for n, _ in files)
        return
    try:
        mail, message = rendered(asked, contents=contents)
    except InvalidTask:
        assert f"--=_{'a' * 32}" in draft, "only a draft that knows the action's id can collide"
        return
    assert message.get_content_type() == "multipart/mixed" and not message.defects
    text, *parts = message.iter_parts()
    assert text.get_payload(decode=True).decode().replace("\r\n", "\n") == draft.replace("\r\n", "\n") + "\n"
    assert [part.get_payload(decode=True) for part in parts] == contents
    assert [part.get_filename() for part in parts] == [file.name for file in render.files(asked)]
    assert all(len(line) <= 998 for line in mail.data.split(b"\r\n"))
    assert b"\n" not in mail.data.replace(b"\r\n", b"") and rendered(asked, contents=contents)[0] == mail


def test_an_attached_mail_or_page_is_a_file_and_nothing_else() -> None:
    asked, contents = with_files(("m.eml", b"Subject: x\r\n\r\n"), ("a.pdf", b"1"), ("odd.zzz", b"2"))
    _, message = rendered(asked, contents=contents)
    kinds = [part.get_content_type() for part in message.iter_attachments()]
    assert kinds == ["application/octet-stream", "application/pdf", "application/octet-stream"]


def test_a_mail_whose_files_read_otherwise_is_never_made() -> None:
    asked, contents = with_files(("a.pdf", b"one"), ("b.pdf", b"two"))
    author = render._Person("", "office@acme.example")
    true = render._build(asked, "a" * 32, DATE, author, contents)
    assert render._misread(true, asked, author, contents) == []
    line = b"--=_" + b"a" * 32
    for forged in (
        true.data.replace(base64.b64encode(b"one"), base64.b64encode(b"two")),
        true.data.replace(b'"b.pdf"', b'"b.exe"'),
        true.data.replace(b"attachment;", b"inline;", 1),
        true.data.replace(line + b"--", line + b"\r\nContent-Type: text/html\r\n\r\n<p>\r\n" + line + b"--"),
        true.data.replace(line + b"--", b""),
        true.data.replace(b"Hello", b"Bye"),
    ):
        assert forged != true.data
        changed = OutgoingMail(true.message_id, true.sender, true.recipients, forged)
        assert render._misread(changed, asked, author, contents), forged
    with pytest.raises(InvalidTask):
        rendered(asked, contents=contents[:1])


GOOD = {"path": "Accounting/a.pdf", "sha256": "0" * 64}


@pytest.mark.parametrize(
    "entry",
    [
        "Accounting/a.pdf",
        {"path": "Accounting/a.pdf"},
        GOOD | {"sha256": "0" * 63},
        GOOD | {"sha256": "A" * 64},
        GOOD | {"sha256": 0},
        *[GOOD | {"path": path} for path in
          ("../a.pdf", "/etc/a.pdf", "a/../../a.pdf", "./a.pdf", "a//b.pdf", ".git/a.pdf", "a/.env", "", "a/", 5,
           "a\\b.pdf", "a\n.pdf", "a\0.pdf", "a\u202egpj.pdf")],
        *[GOOD | {"name": name} for name in
          ("b.exe", "b", "", "x/b.pdf", "..", "b\u202e.pdf", "b\r\n.pdf", 'b".pdf', "x" * 252 + ".pdf", "\xa0b.pdf", 5,
           None)],
        GOOD | {"content": "x"},
    ],
)  # fmt: skip
def test_a_file_that_is_not_named_plainly_and_by_its_hash_is_refused(entry: object) -> None:
    assert any("'attachments'" in problem for problem in render.problems(request(attachments=[entry])))
    with pytest.raises(InvalidTask, match="'attachments'"):
        rendered(request(attachments=[entry]))


def test_attachments_are_a_list_with_an_end() -> None:
    assert render.problems(request(attachments=[GOOD] * 21)) and render.problems(request(attachments=GOOD))
    assert render.problems(request(attachments=[GOOD] * 20)) == []
    assert render.problems(request(attachments=[GOOD | {"name": "Invoice 7.PDF"}])) == []
