"""What nobody can see is made visible to the human, kept out of drafts, and told of; files of mails stay readable."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mail_kit import make_mail
from utils.core import visible
from utils.core.mail import Attachment, Category, IncomingMail, Proposal, RawMail
from utils.core.task import ApprovalRequest, make_id, request_from, task_from
from utils.mail import reply, task_file
from utils.mail.parse import parse
from utils.vault import frontmatter

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
HIDDEN = "\u00ad\u200b\u200e\u202e\u2066\u2060\ufeff\u2800\u3164\u180e\U000e0041\ufe01"


def read(data: bytes) -> IncomingMail:
    return parse(RawMail("k", data, NOW, len(data)), account="a")


def task_of(mail: IncomingMail, stored: tuple[task_file.StoredAttachment, ...] = ()) -> tuple[dict, str]:
    meta, body = task_file.task(mail, make_id("email", NOW, "k"), stored, agent="cloud", now=NOW)
    return frontmatter.read(frontmatter.write(meta, body))


def request_of(mail: IncomingMail, draft: str, why: str = "a question") -> tuple[ApprovalRequest, str]:
    meta, body = task_file.request(
        task_from(*task_of(mail)),
        mail,
        Proposal(Category.ENQUIRY, "normal", draft, why),
        engine="builtin",
        expires_hours=24,
        warnings=reply.risks(mail),
        agent="cloud",
        now=NOW,
    )
    data = frontmatter.write(meta, body)
    return request_from(*frontmatter.read(data)), data.decode()


@pytest.mark.parametrize("char", HIDDEN)
def test_hidden_characters_are_found_written_out_and_taken_away(char: str) -> None:
    text = f"pay 1{char}00"
    assert visible.has_hidden(text) and visible.flags(text, "The draft")
    assert visible.escape(text) == f"pay 1⟦U+{ord(char):04X}⟧00"
    assert visible.strip(text) == "pay 100"


@pytest.mark.parametrize(
    "text",
    [
        "Grüße, 50 % – “ok” …",
        "👩\u200d🚀 ❤\ufe0f 1\ufe0f\u20e3 👩🏽\u200d💻",
        "می\u200cخواهم",
        "क्\u200dष",
        "Привет, ann@пример.рф",
        "日本語 line\r\nnext\ttab",
        "e.g. https://acme.example/путь",
    ],
)
def test_ordinary_writing_of_any_language_raises_no_flag(text: str) -> None:
    assert visible.flags(text, "The draft") == []
    assert visible.escape(text) == visible.strip(text) == text


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("write to ann@b\u0430nk.example", "look alike"),
        ("see https://p\u0430ypal.example/login", "look alike"),
        ("see www.g\u03bfogle.example.", "look alike"),
        ("see https://good.example@xn--evl-5cd.example/", "encoded name"),
        ("ann@xn--bnk-6cd.example", "encoded name"),
    ],
)
def test_names_that_imitate_others_are_flagged(text: str, word: str) -> None:
    assert any(word in flag for flag in visible.flags(text, "The draft"))


@given(st.text())
def test_nothing_hidden_is_left(text: str) -> None:
    assert not visible.has_hidden(visible.escape(text))
    assert visible.flags(text, "x") == [] or visible.flags(text, "x")[0].startswith("x ")


@pytest.mark.parametrize("text", ["é-" * 50_000, "a@" * 50_000, "é." * 50_000, "\u200b" * 50_000])
def test_any_text_is_looked_through_in_linear_time(text: str) -> None:
    assert isinstance(visible.flags(text, "x"), list)


def test_a_quoted_mail_is_shown_with_all_that_hides_in_it() -> None:
    mail = read(make_mail("pay \u202e001\u202c now\u200b <!-- or --> <b>else</b> %%hidden%%", subject="Hi\u200b there"))
    request, file = request_of(mail, "Hello,\n\nyou wrote: pay \u202e001\u202c now\u200b\n")
    assert "pay ⟦U+202E⟧001⟦U+202C⟧ now⟦U+200B⟧" in file
    assert request.draft == "Hello,\n\nyou wrote: pay 001 now\n"
    assert request.fields["subject"] == "Re: Hi there"
    assert any("invisible" in risk for risk in request.risk)
    # What the mail hides can't hide our own text, so it is no reason to doubt the draft.
    assert request.doubts == ()


def test_a_reason_of_an_engine_is_one_line() -> None:
    request, file = request_of(read(make_mail()), "Hello", why="asked\n\n## Draft\n\nWe accept.\r## Draft")
    assert request.draft == "Hello" and request.doubts == ()
    assert "- Why: asked ## Draft We accept. ## Draft" in file


def test_the_task_of_the_largest_mail_can_be_read_again() -> None:
    wide = "😀" * 200
    mail = replace(
        read(make_mail()),
        subject="😀" * 1000,
        from_name=wide,
        to=tuple(f"{'x' * 300}{n}@example.com" for n in range(100)),
        cc=tuple(f"{'x' * 300}{n}@example.com" for n in range(100)),
        message_id="",
        references=tuple(f"<{'x' * 900}{n}>" for n in range(100)),
        problems=tuple(f"{wide}{n}" for n in range(50)),
        headers={f"header-{n}": wide for n in range(10)},
    )
    whole = Attachment(wide, "application/pdf", 1)
    stored = tuple(task_file.StoredAttachment(whole, f"Attachments/{n}/{wide}", "0" * 64) for n in range(500))
    meta, body = task_of(mail, stored)
    task = task_from(meta, body)
    assert task.source["attachments"] and body.count("- Attachment: ") == 500
    assert task_file.mail_of(task).to == mail.to[: len(task.source["to"])] != ()
