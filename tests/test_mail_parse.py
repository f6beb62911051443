"""A mail's bytes become a value, whatever they are: real-life mails, torture mails, and any bytes at all."""

from __future__ import annotations

import base64
import random
import time
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.mail_kit import SAMPLES, make_mail
from utils.core.mail import IncomingMail, RawMail
from utils.mail.attachments import safe_name
from utils.mail.parse import parse
from utils.mail.text import decode, from_html, is_noise, new_part
from utils.vault import frontmatter

WHEN = datetime(2026, 6, 1, 8, 0, 5, tzinfo=UTC)


def read(data: bytes, **options: object) -> IncomingMail:
    return parse(RawMail("k", data, WHEN, len(data), provider="maildir"), account="a", **options)  # type: ignore[arg-type,]


def sample(name: str) -> IncomingMail:
    return read((SAMPLES / name).read_bytes())


def test_a_plain_mail() -> None:
    mail = read(make_mail(sender='"Example, Ann" <Ann@EXAMPLE.com>', Reply_To="desk@example.com", Cc="b@x.y, c@x.y"))
    assert (mail.from_name, mail.from_address) == ("Example, Ann", "Ann@example.com")
    assert mail.reply_to == "desk@example.com"
    assert mail.to == ("office@acme.example",)
    assert mail.cc == ("b@x.y", "c@x.y")
    assert (mail.subject, mail.message_id) == ("Price list", "<1@example.com>")
    assert mail.date == datetime(2026, 6, 1, 8, tzinfo=UTC)
    assert "price list?" in mail.new_text
    assert "Kind regards" not in mail.new_text
    assert mail.problems == ()


def test_encoded_words_and_charsets() -> None:
    mail = sample("latin1-encoded.eml")
    assert mail.from_name == "Jürgen Müller"
    assert mail.subject == "Grüße aus Köln – Angebot 😀"
    assert "für Ihr Angebot über 100 €" in mail.text


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_word_that_was_folded_is_one_word(end: str) -> None:
    """RFC 2047 §6.2: what lies between two encoded words is no space. What lies between others is one."""
    words = f"=?UTF-8?Q?Donaudampfschifffahrtsgesellsch?={end} =?UTF-8?Q?aft_M=C3=BCnchen?={end}\tin German"
    name = f"=?UTF-8?B?2KfZhNi52LE=?={end} =?UTF-8?B?2LY=?= <ann@example.com>"
    mail = read(f"From: {name}{end}Subject: {words}{end}{end}hi".encode())
    assert mail.subject == "Donaudampfschifffahrtsgesellschaft München in German"
    assert (mail.from_name, mail.from_address) == ("العرض", "ann@example.com")


def test_a_charset_that_lies_is_seen_through() -> None:
    assert decode("Grüße".encode(), "us-ascii") == "Grüße"
    assert decode("Grüße".encode(), "iso-8859-1") == "Grüße"
    assert decode("Grüße".encode("latin-1"), "utf-8") == "Grüße"
    assert decode("“10 €”".encode("cp1252"), "no-such-charset") == "“10 €”"
    assert decode(b"abc", "punycode") == "abc"


def test_html_becomes_text_and_the_plain_version_is_preferred() -> None:
    html_only = sample("html-only.eml")
    assert "Dear team" in html_only.text
    assert "Chair" in html_only.text
    assert "<" not in html_only.text
    assert "color:red" not in html_only.text
    both = sample("alternative.eml")
    assert both.text == "The plain version."
    empty_plain = read((SAMPLES / "alternative.eml").read_bytes().replace(b"The plain version.", b"   "))
    assert "The HTML version" in empty_plain.text


def test_attachments_are_listed_with_their_content_and_too_large_ones_without() -> None:
    mail = sample("attachments.eml")
    assert [(a.name, a.content_type) for a in mail.attachments] == [
        ("../../etc/passwd.txt", "text/plain"),
        ("Rechnung März.pdf", "application/pdf"),
        ("Forwarded question.eml", "message/rfc822"),
    ]
    assert mail.attachments[1].content == b"%PDF-1.4 not really"
    assert b"Subject: Forwarded question" in (mail.attachments[2].content or b"")
    assert "inner text" not in mail.text
    small = read((SAMPLES / "attachments.eml").read_bytes(), max_attachment=10)
    assert small.attachments[1].content is None
    assert small.attachments[1].size == 19


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/abs/x.txt", "x.txt"),
        (".gitattributes", "gitattributes"),
        ("..", "attachment"),
        ("", "attachment"),
        ("CON.txt", "_CON.txt"),
        ("a:b?.pdf", "a_b_.pdf"),
        ("in\u202efdp.exe", "in_fdp.exe"),
        ("tab\tnew\nline.txt", "tab_new_line.txt"),
        ("x" * 500 + ".pdf", "x" * 116 + ".pdf"),
    ],
)
def test_names_of_attachments_are_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@given(st.text())
def test_no_name_escapes_its_folder(name: str) -> None:
    made = safe_name(name)
    assert made
    assert not set(made) & set('/\\:\0\n\r"')
    assert not made.startswith(".")
    assert len(made.encode()) <= 125


def test_what_is_new_is_told_from_what_is_quoted() -> None:
    english = "Yes, Friday is fine.\n\nOn Mon, 1 Jun 2026 at 10:00, Bob <bob@acme.example> wrote:\n> Is Friday fine?\n"
    german = "Ja, gern.\n\nAm Mo., 1. Juni 2026 um 10:00 Uhr schrieb Bob <bob@acme.example>:\n> Passt Freitag?\n"
    assert new_part(english) == "Yes, Friday is fine."
    assert new_part(german) == "Ja, gern."
    assert new_part("> only a quote") == "> only a quote"
    assert new_part("") == ""


@pytest.mark.parametrize(
    "line",
    [
        "On " * 6000,
        "Am 1.1.2020 schrieb " * 1000,
        "\n" * 50000,
        "a\t\n " * 9000,
        " " * 50000 + "x",
        "From: " * 5000,
        "On " + "x " * 9000 + "wrote",
        "_" * 30000,
        "Am 1.1. " * 80 + "\n",
    ],
)
def test_no_text_keeps_the_splitter_busy(line: str) -> None:
    # Without the folding in new_part these take from seconds to hours.
    begun = time.process_time()
    new_part(line * 3)
    assert time.process_time() - begun < 5


def test_html_bombs_end() -> None:
    assert isinstance(from_html("<div>" * 60_000 + "x"), str)
    assert "x" in from_html('<?xml version="1.0" encoding="utf-8"?><p>x</p>')
    assert from_html("<!-- only a comment -->").strip() == ""


def test_broken_structure_is_named_and_the_text_is_there() -> None:
    mail = sample("broken-mime.eml")
    assert mail.problems
    assert "the part that can be read" in mail.text
    nested = (
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n"
        + b"--a\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n" * 3000
    )
    assert read(b"From: a@b.c\r\n" + nested).problems


def test_a_mail_without_from_date_and_id() -> None:
    mail = read(b"Subject: hm\r\n\r\nhello")
    assert (mail.from_address, mail.message_id, mail.date) == ("", "", None)
    assert mail.text == "hello"
    assert mail.source_key != read(b"Subject: hm\r\n\r\nhallo").source_key


def test_controls_and_nul_are_harmless() -> None:
    mail = read(make_mail("a\0b\x1b[31mred\x07\u2028line", subject="x\0y\x1bz"))
    assert "\0" not in mail.text + mail.subject
    assert "\x1b" not in mail.text + mail.subject
    frontmatter.write({"subject": mail.subject}, mail.text)


def test_noise_is_told_from_text_of_any_language() -> None:
    assert is_noise(decode(random.Random(1).randbytes(4000), ""))
    assert is_noise(decode(random.Random(2).randbytes(4000), "iso-8859-1"))
    for text, charset in (
        ("Grüße aus Köln, „bis bald“ – 10 €", "cp1252"),
        ("Не могли бы вы прислать прайс-лист?", "koi8-r"),
        ("価格表を送っていただけますか。よろしくお願いします。", "iso-2022-jp"),
        ("Please send us your price list", "utf-16"),
    ):
        assert not is_noise(decode((text * 50).encode(charset), ""))
    assert not is_noise("a bell \x07")


def test_headers_cannot_be_smuggled_by_encoded_line_ends() -> None:
    evil = base64.b64encode(b"Hi\r\nBcc: all@example.org").decode()
    mail = read(make_mail(subject=f"=?utf-8?b?{evil}?=", sender=f"=?utf-8?b?{evil}?= <ann@example.com>"))
    assert mail.subject == "Hi Bcc: all@example.org"
    assert "\n" not in mail.from_name + mail.from_address


def test_endless_headers_and_many_parts_are_bounded() -> None:
    begun = time.process_time()
    mail = read(
        b"From: a@b.c\r\nTo: " + b"x@y.z, " * 200_000 + b"\r\nReferences: " + b"<a@b> " * 200_000 + b"\r\n\r\nhi"
    )
    assert len(mail.to) <= 100
    assert len(mail.references) <= 100
    parts = b"".join(b"--b\r\nContent-Disposition: attachment; filename=a\r\n\r\nx\r\n" for _ in range(3000))
    many = read(b"From: a@b.c\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + parts + b"--b--")
    assert any("too many parts" in problem for problem in many.problems)
    assert time.process_time() - begun < 30


def test_the_same_mail_has_the_same_key_and_another_account_or_mail_another() -> None:
    one, two = make_mail(), make_mail("quite another text")
    assert read(one).source_key == read(two).source_key  # Message-ID, Date and From name a mail
    assert read(one).source_key != read(make_mail(message_id="<2@example.com>")).source_key
    assert parse(RawMail("k", one, WHEN, 1), account="b").source_key != read(one).source_key


HEADERS = st.sampled_from(
    [
        b"From",
        b"To",
        b"Subject",
        b"Date",
        b"Message-ID",
        b"References",
        b"Content-Type",
        b"Content-Transfer-Encoding",
        b"Content-Disposition",
        b"Reply-To",
        b"Authentication-Results",
        b"MIME-Version",
        b"Auto-Submitted",
    ]
)
VALUES = st.one_of(
    st.binary(max_size=80),
    st.sampled_from(
        [
            b"multipart/mixed; boundary=b",
            b"text/html; charset=utf-7",
            b"base64",
            b"quoted-printable",
            b"a@b.c",
            b"<>",
            b"attachment; filename*=utf-8''%00%ff; filename=\"",
            b"=?utf-8?b?////?= <@>",
            b"message/rfc822",
            b"[a]: ;;,",
            b"multipart/alternative; boundary*0=b; boundary*1=",
            b"text/plain; charset=\xff",
            b"uuencode",
            b"Mon, 99 Foo",
        ]
    ),
)
MAILS = st.builds(
    lambda headers, body: b"".join(n + b": " + v + b"\r\n" for n, v in headers) + b"\r\n" + body,
    st.lists(st.tuples(HEADERS, VALUES), max_size=8),
    st.one_of(
        st.binary(max_size=300),
        st.lists(st.one_of(st.binary(max_size=40), st.just(b"\r\n--b\r\n")), max_size=8).map(b"".join),
    ),
)


@settings(max_examples=400)
@given(st.one_of(st.binary(max_size=500), MAILS))
@example(b"")
@example(b"\r\n\r\n")
@example(b"From: =?utf-8?q?=00?= <a@b>\r\n\r\n\x00")
@example(b"From: @\r\nTo: <<>>,,;:\r\nDate: 0\r\nMessage-ID: >\r\n\r\n")
def test_any_bytes_are_read_and_their_key_is_stable(data: bytes) -> None:
    mail = read(data)
    again = read(data)
    assert mail.source_key == again.source_key
    assert mail == again
    frontmatter.write({"subject": mail.subject, "from": mail.from_name, "to": list(mail.to)}, mail.text + mail.new_text)
