"""Front matter: every text survives, times stay texts, and what can't be kept is refused with words."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from utils.vault import frontmatter
from utils.vault.frontmatter import InvalidFrontMatter

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(TEXT, TEXT)
@example('Re: "10:30" – ok?', "")
@example("---", "---\nx: 1\n---\n")
@example("a\n---\nb", "\n\n")
@example("yes", "no")
@example("007", "1e3")
@example("2026-01-01", "2026-06-01T12:00:00Z")
@example("\u202eevil", "👩\u200d🚀")
@example("\ufeff", "\ufeff")
@example("\x85\u2028\x1b\x7f", "a\r\nb\rc")
@example("null", "~")
@example("{a: b}", "[a, b]")
@example("&x *x !x %x @x `x", "# no comment")
def test_every_string_survives_a_round_trip(value: str, body: str) -> None:
    meta = {"id": "007", "subject": value, "source": {"from": value, "names": [value, "x"]}}
    read, read_body = frontmatter.read(frontmatter.write(meta, body))
    assert read == meta
    assert read_body == body


@given(TEXT.filter(bool))
def test_every_key_survives_too(key: str) -> None:
    read, _ = frontmatter.read(frontmatter.write({"source": {key: "x"}}, ""))
    assert read["source"] == {key: "x"}


@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        meta, _ = frontmatter.read(data)
    except InvalidFrontMatter as refused:
        assert str(refused)
    else:
        assert isinstance(meta, dict)


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_what_no_text_file_can_hold_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidFrontMatter, match=r"'subject' holds a (NUL|lone surrogate)"):
        frontmatter.write({"subject": text}, "")
    with pytest.raises(InvalidFrontMatter, match="body holds"):
        frontmatter.write({}, text)


@pytest.mark.parametrize("value", [r"\udc00", r"\ud83d\ude00", r"\0", r"\x00", r"\U0000d800"])
@pytest.mark.parametrize("header", ['subject: "{}"', 'source:\n  - x: ["{}"]', '"{}": x', 'source: {{"{}": 1}}'])
def test_an_escape_can_not_bring_what_could_not_be_written_again(header: str, value: str) -> None:
    with pytest.raises(InvalidFrontMatter, match=r"holds a (NUL|lone surrogate)") as refused:
        frontmatter.parse(f"---\n{header.format(value)}\n---\n")
    assert str(refused.value).encode()
    with pytest.raises(InvalidFrontMatter) as refused:  # its key stands there twice
        frontmatter.parse(f"---\n{header.format(value)}\n{header.format(value)}\n---\n")
    assert str(refused.value).encode()


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf", "1e999", ".NaN"])
def test_a_number_that_json_has_not_is_refused(number: str) -> None:
    with pytest.raises(InvalidFrontMatter, match="a number in the front matter is none"):
        frontmatter.parse(f"---\nlines:\n- price: {number}\n---\n")


def test_times_stay_texts_and_numbers_stay_numbers() -> None:
    meta, body = frontmatter.parse("---\ncreated: 2026-06-01T12:00:00Z\ncount: 3\nday: 2026-06-01\n---\nText\n")
    assert dict(meta) == {"created": "2026-06-01T12:00:00Z", "count": 3, "day": "2026-06-01"}
    assert body == "Text\n"


def test_a_persons_order_and_comments_survive_an_edit() -> None:
    text = "---\nzeta: 1 # mine\n# a note\nalpha: two\n---\nBody\n"
    meta, body = frontmatter.parse(text)
    meta["alpha"] = "three"
    assert frontmatter.render(meta, body) == text.replace("two", "three")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no front matter", "does not begin with front matter"),
        ("---\na: 1\n", "not closed"),
        ("---\na: [1\n---\n", r"broken YAML in line \d"),
        ("---\na: 1\na: 2\n---\n", "duplicate key"),
        ("---\n- a\n---\n", "not a list of"),
        ("---\na: &a [x, x]\nb: [*a, *a]\n---\n", "anchors"),
        ("---\na: !!python/object:os.system x\n---\n", "tag"),
        ("---\n" + "a" * 70_000 + ": 1\n---\n", "larger than"),
        ("---\nsubject: hi # note\rbcc: [evil@x.org]\n---\n", r"line break \(U\+000D\) in line 2"),
        ("---\nsubject: hi # note\x85bcc: [evil@x.org]\n---\n", r"U\+0085"),
        ("---\nid: x\nsubject: hi # note\u2028bcc: [evil@x.org]\n---\n", r"U\+2028\) in line 3"),
        ('---\nsubject: "a\u2029b"\n---\n', r"U\+2029"),
        ("---\nto: [a]\n<<: {bcc: [evil]}\n---\n", "merge keys"),
        ("---\n? [a]\n: 1\n---\n", "not a word"),
        ("---\n[{a: b}]: c\n---\n", "broken YAML"),
        ("---\n? - a: b\n: c\n---\n", "broken YAML"),
        ("---\nx: 0x" + "f" * 5000 + "\n---\n", "too large"),
        ("---\nx: " + "[" * 300 + "]" * 300 + "\n---\n", "maximum depth"),
        ("---\nx: " + "[" * 30_000 + "\n---\n", "maximum depth"),
        ("---\nx: [" + "a," * 30_000 + "]\n---\n", "more than 5000"),
        ("---\n" + "".join(f"k{n}: 1\n" for n in range(6000)) + "---\n", "more than 5000"),
    ],
)
def test_broken_front_matter_is_named(text: str, says: str) -> None:
    with pytest.raises(InvalidFrontMatter, match=says):
        frontmatter.parse(text)


def test_windows_line_ends_are_no_unusual_ones() -> None:
    assert frontmatter.read(b"---\r\na: 1\r\n---\r\nText\r\n") == ({"a": 1}, "Text\r\n")


def test_what_could_not_be_read_again_is_not_written() -> None:
    with pytest.raises(InvalidFrontMatter, match="larger than"):
        frontmatter.write({"subject": "x" * 70_000}, "")
