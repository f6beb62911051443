"""Our part of `Dashboard.md`, pure: foreign text is inert in it, and a person's text around it stays byte for byte."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from utils.core import visible
from utils.core.dashboard_note import (
    Approved,
    BrokenMarkers,
    Ended,
    News,
    Overview,
    Subject,
    Unknown,
    Waiting,
    inert,
    render,
    spliced,
)

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
BEGIN, END = "<!-- ai-employee begin -->", "<!-- ai-employee end -->"
#: What Markdown or Obsidian would make something of, pieces to mix.
SPICE = [
    BEGIN, END, "<!--", "-->", "[[Approved]]", "![[secret.png]]", "[x](https://evil.example)", "<b>", "<img src=x>",
    "https://evil.example", "www.evil.example", "#tag", "# heading", "- [x] done", "%%", "$x$", "`", "``", "=dv.x",
    "**", "__", "~~", "==", "^id", "key:: value", "[^1]", "&lt;", "&#60;", "\\", "|", "\n", "\r\n", "\u2028",
    "\u202e", "\u200b", "\x00", "”", "“", "1. ", "> ", "---", "{{x}}", "<% tp %>",
]  # fmt: skip
FOREIGN = st.one_of(st.text(max_size=80), st.lists(st.sampled_from([*SPICE, "a", " ", "é"]), max_size=12).map("".join))
TIMES = st.one_of(st.none(), st.integers(0, 10**6).map(lambda seconds: NOON + timedelta(seconds=seconds)))
SUBJECTS = st.builds(
    Subject, FOREIGN, st.one_of(st.none(), st.just("send_email"), FOREIGN), st.lists(FOREIGN, max_size=4).map(tuple),
    FOREIGN,
)  # fmt: skip
FLAGS = st.lists(FOREIGN, max_size=2).map(tuple)


def some(entries: st.SearchStrategy[object]) -> st.SearchStrategy[list[object]]:
    return st.lists(entries, max_size=3)


OVERVIEWS = st.builds(
    Overview,
    stopped=st.one_of(st.none(), FOREIGN),
    unknown=some(st.builds(Unknown, SUBJECTS, st.just("ab" * 16), TIMES, FOREIGN)),
    waiting=some(st.builds(Waiting, SUBJECTS, TIMES, TIMES, st.booleans(), FLAGS, FLAGS)),
    approved=some(st.builds(Approved, SUBJECTS, st.just("cd" * 16), st.one_of(st.none(), FOREIGN), TIMES)),
    failed=some(st.builds(Ended, SUBJECTS, st.just(NOON), FOREIGN)),
    done=some(st.builds(Ended, SUBJECTS, st.just(NOON), FOREIGN)),
    news=some(st.builds(News, FOREIGN, FOREIGN)),
)


def markdown() -> MarkdownIt:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"])


def flat(tokens: list[Token]) -> list[Token]:
    return [one for token in tokens for one in (token, *flat(token.children or []))]


# Inert


@given(FOREIGN)
def test_foreign_text_is_nothing_but_text(text: str) -> None:
    """A CommonMark parser sees the very characters, and no markup at all."""
    tokens = flat(markdown().parse(f"- {inert(text, 10**6)}"))
    assert {token.type for token in tokens} <= {
        "bullet_list_open", "list_item_open", "paragraph_open", "inline", "text", "text_special",
        "paragraph_close", "list_item_close", "bullet_list_close",
    }  # fmt: skip
    seen = "".join(token.content for token in tokens if token.type.startswith("text"))
    said = " ".join(visible.plain(text).split()).replace("“", '"').replace("”", '"')
    assert seen == f"“{said}”"


#: What Obsidian and its plugins look for in the source, where CommonMark sees text.
OBSIDIAN = ["[[", "]]", "![", "%%", "==", "~~", "$", "::", "://", "<!--", "<", "`", "^[", "[^", "{{", "**", "__", "|"]


@given(FOREIGN)
def test_no_mark_of_obsidian_is_left_in_the_source(text: str) -> None:
    source = inert(text)
    assert "\n" not in source and "\r" not in source
    bare = re.sub(r"\\[!-/:-@\[-`{-~]", "", source)  # what a backslash stands before means nothing
    assert [mark for mark in OBSIDIAN if mark in bare] == []
    assert re.search(r"#|\bwww\.", bare, re.IGNORECASE) is None
    assert not visible.has_hidden(source)


def test_it_can_still_be_read() -> None:
    assert inert('Re: "10:30" – ok, Ann?') == '“Re\\: "10\\:30" – ok, Ann?”'
    assert inert("pay\u202egpj.exe") == "“pay⟦U+202E⟧gpj.exe”"
    assert inert("two\nlines\tand\x00more") == "“two lines and⟦U+0000⟧more”"
    assert inert("x" * 500) == f"“{'x' * 159}…”"


# Rendered


@settings(max_examples=60)
@given(OVERVIEWS)
def test_nothing_from_elsewhere_forges_a_marker_a_heading_or_a_link(overview: Overview) -> None:
    part = render(overview)
    assert part.count("<!--") == 2 and part.count("-->") >= 2
    inside = part.split("\n", 1)[1].rsplit("\n", 1)[0]
    assert all(
        not line or line.startswith(("- ", "  - ", "## ", "Nothing waits", "Snoozed")) for line in inside.split("\n")
    )
    links = re.findall(r"(?<!\\)\[\[(.*?)\]\]", inside)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+(\|[a-z_' ]+)?", link) for link in links)
    kinds = {token.type for token in flat(markdown().parse(inside))}
    assert not kinds & {
        "html_block",
        "html_inline",
        "link_open",
        "image",
        "fence",
        "hr",
        "table_open",
        "blockquote_open",
    }
    headings = [line for line in inside.split("\n") if line.startswith("#")]
    assert all(re.fullmatch(r"## [A-Z][A-Za-z ,`/]+ \(\d\)", heading) for heading in headings)


def test_what_is_shown_and_in_which_order() -> None:
    ann = Subject("email-1", "reply_email", ("ann@example.org",), "Lunch")

    def waits(name: str, hours: int, *flags: str, expired: bool = False) -> Waiting:
        when = NOON - timedelta(hours=hours)
        return Waiting(Subject(name, "send_email"), when, when + timedelta(days=1), expired, flags)

    part = render(
        Overview(
            stopped="something is odd",
            unknown=[Unknown(ann, "ab" * 16, NOON, "the line broke")],
            waiting=[
                waits("new", 1),
                waits("old", 3),
                waits("risky", 2, "first mail"),
                waits("over", 30, "x", expired=True),
                replace(waits("trick", 0), dangers=("acrne is not acme",)),
            ],
            snoozed=2,
            approved=[
                Approved(ann, "cd" * 16, "these are quiet hours", NOON + timedelta(seconds=7)),
                Approved(ann, "ef" * 16),
            ],
            done=[Ended(ann, NOON, "receipt 1")] * 21,
        )
    )
    assert re.findall(r"\[\[(\w+)\|send_email\]\]", part) == ["trick", "risky", "old", "new", "over"]
    for words in (
        "- **Everything is stopped**: “something is odd”. Nothing is carried out until "
        "`.venv/bin/python -m scripts.actions go` on Local.",
        "- [[email-1|reply_email]] to “ann\\@example.org”: “Lunch” · begun 2026-06-01 12:00 UTC\n"
        "  - evidence: “the line broke”\n"
        f"  - it happened: `.venv/bin/python -m scripts.actions settle {'ab' * 16} happened`\n",
        "- [[risky|send_email]] · since 2026-06-01 10:00 UTC · until 2026-06-02 10:00 UTC\n  - look: “first mail”\n",
        "  - **danger**: “acrne is not acme”\n",
        "· expired 2026-06-01 06:00 UTC",
        "Snoozed: 2",
        "· waits until 2026-06-01 12:00:07 UTC: “these are quiet hours”\n"
        f"  - take it back: `.venv/bin/python -m scripts.actions cancel {'cd' * 16}`",
        "“Lunch” · is next",
        "## Done in the last day (21)",
        "- … and 1 more\n",
    ):
        assert words in part, part
    assert "Nothing waits for your word." in render(Overview())


# Its place in the note

LINES = st.lists(
    st.one_of(
        st.text(alphabet=st.characters(codec="utf-8", exclude_characters="<"), max_size=20),
        st.sampled_from(["", "# Mine", "- [ ] a task", "%% a comment %%", "<b>", "```", "---"]),
    ),
    max_size=6,
)
ENDS = st.sampled_from(["\n", "\r\n"])
TEXTS = st.builds(lambda lines, end: end.join(lines), LINES, ENDS).map(lambda text: text.encode())


@settings(max_examples=40)
@given(TEXTS, OVERVIEWS, OVERVIEWS)
@example(b"", Overview(), Overview(stopped="x"))
def test_a_note_without_our_part_gets_it_at_the_end_and_keeps_every_byte(
    data: bytes, one: Overview, two: Overview
) -> None:
    first = spliced(data, render(one))
    assert first.startswith(data) and first.rstrip(b"\n").endswith(render(one).encode())
    assert spliced(first, render(one)) == first
    assert spliced(first, render(two)) == spliced(data, render(two))


@settings(max_examples=40)
@given(TEXTS, TEXTS, OVERVIEWS, OVERVIEWS)
def test_what_stands_around_our_part_stays_byte_for_byte(
    above: bytes, below: bytes, one: Overview, two: Overview
) -> None:
    note = above + render(one).encode() + below
    assert spliced(note, render(two)) == above + render(two).encode() + below


@settings(max_examples=40)
@given(TEXTS, TEXTS, LINES, st.integers(0, 30), OVERVIEWS, OVERVIEWS)
def test_a_line_that_is_written_into_our_part_is_never_lost(
    above: bytes, below: bytes, lines: list[str], at: int, one: Overview, two: Overview
) -> None:
    part = render(one).encode().split(b"\n")
    place = 1 + at % (len(part) - 1)
    edited = above + b"\n".join([*part[:place], *(line.encode() for line in lines), *part[place:]]) + below
    note = spliced(edited, render(two))
    assert note.startswith(above + render(two).encode()) and note.endswith(below)
    there = {line.strip() for line in note.splitlines()}
    assert all(line.strip() in there for line in "\n".join(lines).encode().splitlines())
    assert spliced(note, render(two)) == note
    once_more = spliced(note, render(one))
    assert all(
        line.strip() in {x.strip() for x in once_more.splitlines()} for line in "\n".join(lines).encode().splitlines()
    )


def test_an_editor_that_writes_other_line_ends_wrote_nothing() -> None:
    part = render(Overview(stopped="x"))
    assert spliced(part.encode().replace(b"\n", b"\r\n"), render(Overview())) == render(Overview()).encode()


def test_a_task_ticked_in_our_part_moves_below_it() -> None:
    part = render(Overview()).replace("Nothing", "Buy milk\nNothing")
    note = spliced(f"# D\n{part}\nrest\n".encode(), render(Overview()))
    assert note == f"# D\n{render(Overview())}\n\nBuy milk\nrest\n".encode()
    assert spliced(f"{BEGIN} mine\n{END} yours".encode(), "P") == b"P\n\n mine\n yours"


@pytest.mark.parametrize(
    "note",
    [
        f"x\n{BEGIN}\n",
        f"{END}\n{BEGIN}\n",
        f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n",
        f"{BEGIN}\n{BEGIN}\n{END}\n",
        f"{BEGIN}\n<!-- ai-employee end\n",
        "<!--ai-employee begin-->\n",
        "<!-- AI-Employee begin\n",
    ],
)
def test_where_the_markers_are_broken_nothing_is_guessed(note: str) -> None:
    with pytest.raises(BrokenMarkers, match="once each"):
        spliced(note.encode(), render(Overview()))


def test_a_note_in_another_encoding_is_left_alone() -> None:
    with pytest.raises(BrokenMarkers, match="UTF-8"):
        spliced("# Über".encode("utf-16"), render(Overview()))
