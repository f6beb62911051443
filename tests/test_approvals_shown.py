"""What is shown is what is sent: the notes above the draft, the flags, and the notes beside the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.fakes.desk import ANN, Desk, World, sha
from utils.bootstrap import Services
from utils.core.request_notes import field_notes, notes_disagree, recipient_flags, with_field_notes
from utils.core.task import with_draft
from utils.execution import notes
from utils.vault import frontmatter

OTHER = "other@x.example"
STRANGER = f"Goes to {OTHER}, who is not the sender of the mail it answers."
SOURCE = {"from": "Wim <wim@example.org>", "from_address": "wim@example.org", "sender_authenticated": True}


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World())


@pytest.mark.parametrize("why", ["'instruction' is missing: what should be different?", "say more."])
def test_a_sentence_of_a_note_has_one_mark_at_its_end(why: str) -> None:
    assert notes.incomplete(why).endswith(why) and notes.mend([why]).splitlines()[0].endswith(why)
    assert notes.incomplete("no").endswith("no.")


def noted(desk: Desk, key: str = "mail 1", **fields: Any) -> Path:
    """A request with notes as they are made for a mail, and a person's own words among them."""
    path = desk.request(key, source=SOURCE, **({"to": ["wim@example.org"]} | fields))
    meta, _ = frontmatter.read(path.read_bytes())
    lines = [
        *field_notes(meta),
        "- Why: a question was asked",
        "",
        "My own words.",
        "",
        "## The mail",
        "",
        "> - To: x",
        "",
    ]
    path.write_bytes(frontmatter.write(meta, with_draft("\n".join(lines), "Hello Wim")))
    return path


def above(path: Path) -> str:
    return frontmatter.read(path.read_bytes())[1].partition("## Draft")[0]


def test_an_edit_is_shown_in_the_notes_and_a_persons_words_stay(desk: Desk) -> None:
    path = noted(desk)
    assert above(path).startswith("# Reply to Wim <wim@example.org>\n\n- To: wim@example.org\n- Subject: ")
    first = desk.approvals.edit(path.stem, sha(path), by="anna", to=[OTHER], cc=[ANN], subject="Re: other")
    assert above(path) == (
        f"# Reply to {OTHER}\n\n- To: {OTHER}\n- Cc: {ANN}\n- Subject: Re: other\n"
        f"- Look: Goes to {OTHER}, {ANN}, who are not the sender of the mail it answers.\n"
        "- Why: a question was asked\n\nMy own words.\n\n## The mail\n\n> - To: x\n\n"
    )
    desk.approvals.edit(path.stem, first, by="anna", to=["wim@example.org"], cc=[], subject="Re: back")
    assert above(path) == (
        "# Reply to Wim <wim@example.org>\n\n- To: wim@example.org\n- Subject: Re: back\n"
        "- Why: a question was asked\n\nMy own words.\n\n## The mail\n\n> - To: x\n\n"
    )
    shown = desk.approvals.get(path.stem)
    assert shown.risk == () and shown.request is not None and shown.request.meta["risk"] == []


def test_a_recipient_who_did_not_write_is_a_flag_after_an_edit_by_api(desk: Desk) -> None:
    path = noted(desk, risk=["It speaks of iban."])
    assert desk.approvals.get(path.stem).risk == ("It speaks of iban.",)
    desk.approvals.edit(path.stem, sha(path), by="anna", to=[OTHER])
    shown = desk.approvals.get(path.stem)
    assert shown.risk == (STRANGER, "It speaks of iban.")
    assert shown.request is not None and shown.request.meta["risk"] == [STRANGER, "It speaks of iban."]
    assert f"- Look: {STRANGER}" in shown.text


def test_what_was_edited_by_hand_is_flagged_from_the_fields(desk: Desk) -> None:
    path = noted(desk)
    path.write_text(path.read_text().replace("to:\n- wim@example.org", f"to:\n- {OTHER}"))
    shown = desk.approvals.get(path.stem)
    assert shown.risk[0] == STRANGER and "name other recipients" in shown.risk[1]
    # An edit of anything mends the notes.
    desk.approvals.edit(path.stem, sha(path), by="anna", draft="Hello")
    assert desk.approvals.get(path.stem).risk == (STRANGER,)
    assert f"- To: {OTHER}\n" in above(path) and "wim@example.org" not in above(path)


def test_notes_changed_by_hand_do_not_change_who_gets_it_and_that_is_said(desk: Desk) -> None:
    path = noted(desk)
    path.write_text(path.read_text().replace("- To: wim@example.org", f"- To: {OTHER}"))
    (flag,) = desk.approvals.get(path.stem).risk
    assert "go by the fields" in flag


def test_a_reply_to_is_known_and_a_name_before_the_address_does_not_matter() -> None:
    source = {"from_address": "Wim@example.org", "reply_to": "desk@example.org"}
    assert recipient_flags({"to": ["Wim <wim@Example.org>"]}, source) == []
    (flag,) = recipient_flags({"to": ["Desk <desk@example.org>"]}, source)
    assert flag == "The answer goes to desk@example.org (Reply-To), not to the sender Wim@example.org."
    assert recipient_flags({"to": [OTHER]}, {}) == [], "a new mail answers nobody"
    assert recipient_flags({"to": [OTHER], "in_reply_to": "<x@y>"}, {}) == [STRANGER]


@pytest.mark.parametrize("value", ["a\n## Draft\nb", "a\x85## Draft", "a\u2028- To: b"])
def test_no_field_can_write_a_line_of_its_own(value: str) -> None:
    meta = {"to": [value], "subject": value, "source": {"from": value, "from_address": value}}
    assert all(len(line.splitlines()) <= 1 for line in field_notes(meta))
    body = with_draft("\n".join([*field_notes(meta), ""]), "x")
    assert with_field_notes(body, meta).count("## Draft") == body.count("## Draft")


def test_notes_of_an_editor_with_other_line_ends_and_notes_without_ours() -> None:
    meta = {"to": ["a@x.org"], "subject": "s"}
    mine = "# Reply to b\r\n\r\n- To: b\r\n- Subject: t\r\n- To: do: call her\r\n"
    assert with_field_notes(mine, meta) == (
        "# Reply to a@x.org\r\n\r\n- To: a@x.org\r\n- Subject: s\r\n- To: do: call her\r\n"
    )
    for words in ("", "> a question\n", "# My notes\n\n- To: do\n"):
        assert with_field_notes(words, meta) == words and not notes_disagree(words, meta)


# The notes beside the file


def note(path: Path) -> Path:
    return path.with_name(f"{path.stem}.reason.md")


def test_a_broken_waiting_file_is_explained_once_until_it_is_mended(desk: Desk) -> None:
    path = desk.request()
    whole = path.read_bytes()
    desk.cycle()
    broken = whole.replace(b"to:\n", b"to: [\n")
    for _ in range(2):  # broken, undone, and broken in the same way again
        path.write_bytes(broken)
        desk.cycle()
        words = note(path).read_text()
        assert "broken YAML in line" in words and "Mend line" in words
        written = note(path).stat().st_mtime_ns
        desk.cycle()
        desk.restart()
        desk.cycle()
        assert note(path).stat().st_mtime_ns == written, "written once"
        path.write_bytes(whole)
        desk.cycle()
        assert not note(path).exists()
    path.write_bytes(broken)
    desk.cycle()
    path.write_bytes(whole.replace(b"id: email", b"id: mail"))
    desk.cycle()
    assert "broken YAML" not in note(path).read_text() and "'id'" in note(path).read_text()


def test_a_file_that_is_being_written_is_not_called_broken(desk: Desk, clock: FakeClock) -> None:
    path = desk.request()
    whole = path.read_bytes()
    path.write_bytes(whole[:40])
    os.utime(path, (clock.now().timestamp(), clock.now().timestamp()))
    desk.cycle()
    assert not note(path).exists()
    clock.advance(5)
    desk.cycle()
    assert note(path).exists()


def test_a_note_of_another_kind_survives_the_look_at_its_file(desk: Desk) -> None:
    path = desk.request()
    desk.approvals.approve(path.stem, sha(path), by="anna")
    desk.clock.advance(25 * 3600)
    desk.cycle()
    desk.cycle()
    assert "expired" in note(path).read_text()


def test_what_is_set_aside_says_what_to_do_and_its_note_goes_when_it_was_done(desk: Desk) -> None:
    path = desk.request()
    whole = path.read_bytes()
    moved = desk.move(path, "Approved")
    moved.write_bytes(whole.replace(b"to:\n", b"to: [\n"))
    assert desk.cycle() == "set aside 1"
    aside = desk.vault / "Quarantine" / path.name
    words = note(aside).read_text()
    assert "Mend line" in words and "move it back to Pending_Approval/" in words
    aside.write_bytes(whole)
    desk.move(aside, "Pending_Approval/email")
    desk.cycle()
    assert not note(aside).exists() and not note(path).exists()


@pytest.mark.parametrize("folder", ["Approved", "Pending_Approval/email"])
def test_notes_whose_file_was_moved_away_by_hand_are_tidied(desk: Desk, folder: str) -> None:
    path = desk.request()
    there = desk.move(path, folder)
    if folder != "Approved":
        there.write_bytes(b"---\nbroken: [\n---\n")
    desk.cycle()
    assert note(there).exists()
    desk.move(there, "Rejected")
    desk.cycle()
    assert not note(there).exists()


def test_a_persons_own_notes_are_left_alone(desk: Desk) -> None:
    folder = desk.vault / "Quarantine"
    (folder / "shopping.reason.md").write_text("milk")
    ours = "# Why `gone.md` lies here\n\nbroken\n\n2026-06-01T12:00:00Z, local\n"
    (folder / "gone.reason.md").write_text(ours + "\nI shall ask Wim.\n")
    (folder / "other.reason.md").write_text(ours)
    (folder / "image.reason.md").write_bytes(b"\xff\xfe")
    desk.cycle()
    assert len(list(folder.iterdir())) == 4


def test_a_young_note_may_be_ahead_of_its_file(desk: Desk, clock: FakeClock) -> None:
    young = desk.vault / "Approved" / "email-x.reason.md"
    young.write_text("# Why `email-x.md` lies here\n\nwords\n\n2026-06-01T12:00:00Z, local\n")
    os.utime(young, (clock.now().timestamp(), clock.now().timestamp()))
    desk.cycle()
    assert young.exists()
    clock.advance(61)
    desk.cycle()
    assert not young.exists()


def test_a_doubted_move_says_how_to_confirm_it(desk: Desk) -> None:
    path = desk.request()
    moved = desk.move(path, "Approved")
    desk.cycle()
    words = note(moved).read_text()
    assert f"`POST /api/approvals/{path.stem}/approve`" in words and f'{{"sha256": "{sha(moved)}"}}' in words
    assert "dashboard" not in words


def test_a_doubted_file_that_was_away_is_explained_again(desk: Desk) -> None:
    moved = desk.move(desk.request(), "Approved")
    desk.cycle()
    away = desk.move(moved, "Inbox")
    desk.cycle()
    assert not note(moved).exists()
    desk.move(away, "Approved")
    desk.cycle()
    assert "/approve" in note(moved).read_text()


def test_a_stored_flag_about_an_earlier_recipient_is_not_shown(desk: Desk) -> None:
    """A person put the sender back by hand: the flag in the front matter is out of date."""
    path = noted(desk, risk=[STRANGER, "It speaks of iban."])
    assert desk.approvals.get(path.stem).risk == ("It speaks of iban.",)
