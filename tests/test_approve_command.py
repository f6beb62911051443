"""`python -m scripts.approve`: what a person sees and answers at a terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from scripts import approve
from tests.conftest import FakeClock
from tests.fakes.desk import DRAFT, Desk, World, sha
from tests.fakes.money import IBAN, PAYMENT
from tests.servers import eventually
from utils.bootstrap import Services
from utils.execution.requests import MAX_BYTES
from utils.settings import PROJECT_ROOT
from utils.vault import frontmatter


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World())


class Terminal:
    """Runs the command on a node, in this process."""

    def __init__(self, desk: Desk, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.desk, self._patch, self._capture = desk, patch, capture
        patch.setattr(Services, "from_environment", classmethod(lambda cls: desk.node))

    def run(self, *words: str, typed: str | None = None, editor: str | None = None) -> tuple[int, str, str]:
        """`(exit code, stdout, stderr)`. `typed`: what a person at the terminal types; None: there is nobody."""
        stdin = io.TextIOWrapper(io.BytesIO((typed or "").encode()))
        stdin.isatty = lambda: typed is not None  # type: ignore[method-assign]
        with self._patch.context() as patch:
            patch.setattr(sys, "stdin", stdin)
            patch.delenv("VISUAL", raising=False)
            patch.setenv("EDITOR", editor) if editor else patch.delenv("EDITOR", raising=False)
            code = approve.main(words)
        said = self._capture.readouterr()
        return code, said.out, said.err

    def json(self, *words: str) -> Any:
        code, out, err = self.run(*words, "--json")
        assert code == 0, (out, err)
        return json.loads(out)


@pytest.fixture
def terminal(desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(desk, monkeypatch, capsys)


def editor(folder: Path, program: str) -> str:
    """An editor that does to the file's text (`text`) what `program` says."""
    script = folder / "editor.py"
    script.write_text(f"import sys, pathlib\np = pathlib.Path(sys.argv[1])\ntext = p.read_text()\n{program}\n")
    return f"{sys.executable} {script}"


NO_UTF8 = os.fsdecode(b"bad \xff word")


@pytest.mark.parametrize("words", [("reject", "ID", NO_UTF8), ("revise", "ID", NO_UTF8), ("view", NO_UTF8)])
def test_words_that_are_no_utf8_are_refused_before_anything_is_done(
    desk: Desk, terminal: Terminal, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    path = desk.request()
    desk.approvals.approve(path.stem, sha(path), by="anna")
    with pytest.raises(SystemExit) as ended:
        terminal.run(*(path.stem if word == "ID" else word for word in words))
    assert ended.value.code == 2 and "it is not UTF-8" in capsys.readouterr().err
    assert desk.cycle() == "sent 1"


def kept(desk: Desk) -> list[Path]:
    return sorted((desk.node.settings.state_dir / "edits").glob("*"))


# Looking


def test_money_is_listed_with_what_it_comes_to(terminal: Terminal) -> None:
    terminal.desk.request("bill 1", **PAYMENT)
    _, out, _ = terminal.run()
    assert out.splitlines()[1] == f"    40.00 EUR, R-1, {IBAN}"


def test_a_request_is_found_by_what_is_pasted_for_its_id(terminal: Terminal) -> None:
    path = terminal.desk.request("mail 1")
    terminal.desk.request("mail 2")
    for named in (path.name, f"Pending_Approval/email/{path.name}", f" {path.stem} ", path.stem.upper(),
                  path.stem[-6:].upper()):  # fmt: skip
        assert terminal.json("view", named)["id"] == path.stem, named
    assert "no request   waits" in terminal.run("view", " ")[2]
    assert "is changed since" not in terminal.run("view", path.stem)[1]
    assert terminal.run("reject", path.stem, "--sha256", sha(path).upper())[0] == 0


@pytest.mark.parametrize(
    ("typed", "until"),
    [("2H", "2026-06-01T14:00:00Z"), ("2026-06-02T09:00+02:00", "2026-06-02T07:00:00Z"), ("2026-06-02", ""),
     ("2026-06-02T09:00", "")],
)  # fmt: skip
def test_a_pause_ends_at_a_time_that_can_not_be_mistaken(terminal: Terminal, typed: str, until: str) -> None:
    """A time without a zone may be UTC, or that of a clock on somebody's wall."""
    path = terminal.desk.request("mail 1")
    code, out, err = terminal.run("snooze", path.stem, typed)
    assert code == (not until) and (f"hidden until {until}" in out if until else f"{typed!r}; it must be a time" in err)
    assert "1d (it has a unit)" in terminal.run("snooze", path.stem, "90")[2]


def test_a_text_that_no_mail_bears_is_refused(terminal: Terminal, tmp_path: Path) -> None:
    """3 MB on one line were taken and sent; the API takes 1 MiB."""
    path, text = terminal.desk.request("mail 1"), tmp_path / "text"
    text.write_text("x" * (1024 * 1024 + 1))
    code, _, err = terminal.run("edit", path.stem, "--draft-file", str(text))
    assert code == 1 and "longer than 1024 KiB" in err
    assert DRAFT.split(chr(10))[0] in path.read_text()


@pytest.mark.parametrize("broken", [b"", b"only the text\n", b"x" * (MAX_BYTES + 9)], ids=["none", "text", "large"])
def test_a_request_that_an_editor_emptied_is_put_back(terminal: Terminal, broken: bytes) -> None:
    desk = terminal.desk
    path = desk.request("mail 1")
    desk.approvals.observe()
    before = path.read_bytes()
    assert "there is nothing to put back" in terminal.run("restore", path.stem)[2]
    path.write_bytes(broken)
    desk.clock.advance(60)
    desk.approvals.observe()
    beside = path.with_name(f"{path.stem}.reason.md")
    assert f"scripts.approve restore {path.stem}`" in beside.read_text()
    code, out, _ = terminal.run("restore", path.stem)
    assert code == 0 and "is as it was" in out and path.read_bytes() == before and not beside.exists()
    assert desk.store.live(path.stem) is None, "that is no approval"
    strange = path.with_name("email-20260601T090000Z-0123abcd.md")
    strange.write_bytes(b"")
    desk.clock.advance(60)
    desk.approvals.observe()
    assert "restore" not in strange.with_name(f"{strange.stem}.reason.md").read_text()
    assert "never saw a version" in terminal.run("restore", strange.stem)[2]


def test_the_list_tells_age_time_left_and_risk_the_most_urgent_first(terminal: Terminal) -> None:
    desk = terminal.desk
    late = desk.request("mail 1", risk=["sender not authenticated"])
    desk.clock.advance(19 * 3600)
    early = desk.request("mail 2", subject="Later")
    code, out, _ = terminal.run()
    assert code == 0 and out.index(late.stem) < out.index(early.stem)
    lines = out.splitlines()
    assert lines[0] == f"{late.stem}  reply_email → ann@example.org  22 h old, 5 h left"
    assert "  ! sender not authenticated" in lines
    assert "! expires in 5 h, at 2026-06-02T12:00:00Z; after that it asks again" in out
    assert lines[-1] == "2 waiting"


def test_what_is_hidden_is_counted_and_what_is_over_says_how_to_go_on(terminal: Terminal) -> None:
    desk = terminal.desk
    first, second = desk.request("mail 1"), desk.request("mail 2")
    assert terminal.run("snooze", first.stem, "2h")[:2] == (
        0,
        f"{first.stem} is hidden until 2026-06-01T14:00:00Z; its time goes on: it expires at 2026-06-02T12:00:00Z\n",
    )
    assert "1 waiting; 1 snoozed (`list --show snoozed`)" in terminal.run("list")[1]
    assert "snoozed until 2026-06-01T14:00:00Z" in terminal.run("list", "--show", "snoozed")[1]
    terminal.run("revise", second.stem, "shorter")
    superseded = terminal.run("list", "--show", "superseded")[1]
    assert "superseded by email-" in superseded and "shorter" in superseded
    assert "2 requests" in terminal.run("list", "--show", "all")[1]
    desk.clock.advance(25 * 3600)
    assert "expired: edit --renew has it asked again" in terminal.run()[1]


def test_the_view_hides_nothing_and_lets_nothing_out_into_the_terminal(terminal: Terminal) -> None:
    path = terminal.desk.request(bcc=["boss@example.net"], draft="Hi\u202egnp.exe\n\x1b[2JGone\n<b>bold</b>")
    code, out, _ = terminal.run("view", path.stem[-8:])
    assert code == 0
    assert "\x1b" not in out and "\u202e" not in out and "⟦U+202E⟧" in out and "⟦U+001B⟧" in out
    assert "Bcc: boss@example.net" in out and "in_reply_to: <q1@example.org>" in out
    assert "| <b>bold</b>" in out and f"sha256: {sha(path)}" in out
    assert terminal.json("view", path.stem)["content"] == path.read_text()


def test_the_list_and_the_view_show_badges_the_gravest_first(terminal: Terminal) -> None:
    path = terminal.desk.request(bcc=["boss@x.test"], draft="See [x.test](https://evil.test/\u202eb)")
    out = terminal.run()[1]
    danger, new = "  !! A link seems to lead to x.test, and leads to evil.test.", "  ! New: nothing was ever sent"
    assert 0 < out.index(danger) < out.index(new) and "\u202e" not in out
    assert out.count("change the direction of reading") == 1, "said once, though it is a risk as well"
    assert "Has links to" not in out and "who wrote the mail" not in out
    code, out, _ = terminal.run("view", path.stem)
    assert code == 0 and "  · Has links to evil.test" in out and "Bcc: boss@x.test" in out
    assert "Leads to: https://evil.test/⟦U+202E⟧b (behind the words “x.test”)" in out
    assert "From: ai-employee@localhost" in out and "| See [x.test](https://evil.test/⟦U+202E⟧b)" in out
    seen = terminal.json("view", path.stem)
    assert seen["badges"][0]["severity"] == "danger" and {"label": "To", "text": "ann@example.org"} in seen["shown"]


def test_a_subject_can_not_forge_a_line_of_the_list(terminal: Terminal) -> None:
    terminal.desk.request(why="x\ny", risk=["fine\n  approved already"])
    out = terminal.run()[1]
    assert "  ! fine   approved already\n" in out


def test_a_broken_request_is_shown_with_what_is_wrong(terminal: Terminal) -> None:
    path = terminal.desk.request()
    path.write_bytes(b"---\nid: [broken\n---\nwords\x07")
    code, out, _ = terminal.run("view", path.stem)
    assert code == 0 and "can't be read" in out and "broken YAML" in out and "\x07" not in out
    assert terminal.run("edit", path.stem)[0] == 1


# Answering


def test_approve_shows_asks_and_approves_exactly_that(terminal: Terminal) -> None:
    desk = terminal.desk
    path = desk.request()
    for typed in ("\n", "n\n", "yess\n"):
        code, out, err = terminal.run("approve", path.stem, typed=typed)
        assert code == 1 and "| thank you for your question." in out and err == "error: not approved\n"
    assert (
        terminal.run("approve", path.stem, typed="")[2] == "error: there is no answer to read: nothing was answered\n"
    )
    assert desk.store.recent(1) == []
    digest = sha(path)
    code, out, _ = terminal.run("approve", path.stem, typed="y\n")
    record = desk.store.recent(1)[0]
    assert code == 0 and record.action_id in out
    assert (record.sha256, record.via, record.approved_by) == (digest, "cli", "human (command line)")
    assert desk.cycle() == "sent 1"


def test_where_nobody_can_be_asked_the_hash_says_what_was_seen(terminal: Terminal) -> None:
    path = terminal.desk.request()
    for words in (("approve", path.stem), ("approve", path.stem, "--yes"), ("approve", path.stem, "--json")):
        code, out, err = terminal.run(*words)
        assert code == 1 and "--sha256" in out + err
    code, out, _ = terminal.run("approve", path.stem, "--sha256", "0" * 64, "--json")
    assert code == 1 and "was changed since it was shown" in json.loads(out)["error"]
    assert terminal.json("approve", path.stem, "--sha256", sha(path))["state"] == "approved"


def test_what_changes_while_a_person_reads_is_not_approved(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    path = terminal.desk.request()

    def read_and_say_yes(question: str) -> str:
        path.write_text(path.read_text().replace("Kind regards", "Send money"))
        return "y"

    monkeypatch.setattr("builtins.input", read_and_say_yes)
    code, _, err = terminal.run("approve", path.stem, typed="")
    assert code == 1 and "changed since it was shown" in err and terminal.desk.store.recent(1) == []


def test_edit_opens_the_text_and_the_fields_in_the_editor(terminal: Terminal, tmp_path: Path) -> None:
    path = terminal.desk.request()
    program = (
        "p.write_text(text.replace('Kind regards', 'Cheers').replace('ann@example.org', 'ann@example.org, b@c.org'))"
    )
    program = program.replace("'ann@example.org, b@c.org'", "'ann@example.org\\n- b@c.org'")
    code, out, err = terminal.run("edit", path.stem, editor=editor(tmp_path, program))
    assert code == 0, err
    request = terminal.desk.approvals.get(path.stem).request
    assert request is not None and request.draft == DRAFT.replace("Kind regards", "Cheers")
    assert request.fields["to"] == ["ann@example.org", "b@c.org"] and request.fields["references"] == [
        "<q0@example.org>"
    ]
    assert f"approve approve {path.stem}" in out
    assert terminal.desk.store.answers.recent(1)[0].via == "cli"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("pass", "nothing was changed"),
        ("sys.exit(3)", "exit code 3"),
        ("p.write_text('no properties')", "can't be read"),
        ("p.write_text(text.replace('subject:', 'action: payment\\nsubject:'))", "action: can't be changed here"),
        ("p.unlink()", "No such file"),
        ("p.write_text(text.replace('ann@example.org', 'nobody'))", "'to'"),
        ("p.write_bytes(b'---\\nsubject: \\xff\\n---\\nx')", "can't be read"),
    ],
)
def test_an_edit_that_comes_to_nothing_changes_nothing(
    terminal: Terminal, tmp_path: Path, program: str, words: str
) -> None:
    path = terminal.desk.request()
    before = path.read_bytes()
    code, _, err = terminal.run("edit", path.stem, editor=editor(tmp_path, program))
    assert code == 1 and words in err and path.read_bytes() == before


WROTE = "text = text.replace('Kind regards', 'Cheers from the lake')\n"


def test_what_was_written_is_never_lost_and_one_goes_on_with_it(terminal: Terminal, tmp_path: Path) -> None:
    """A person's afternoon: a typing error, a field that can't be changed, an address that is none."""
    path, desk = terminal.desk.request(), terminal.desk
    typo = editor(tmp_path, WROTE + "p.write_text(text.replace('subject:', 'subject: [', 1))")
    code, _, err = terminal.run("edit", path.stem, editor=typo)
    (file,) = kept(desk)
    assert code == 1 and f"What you wrote is kept in {file}" in err and f"edit {path.stem} --file {file}" in err
    assert file.stat().st_mode & 0o777 == 0o600 and "Cheers from the lake" in file.read_text()
    file.write_text(file.read_text().replace("subject: [", "action: payment\nsubject:", 1))
    code, _, err = terminal.run("edit", path.stem, "--file", str(file))
    assert code == 1 and "action: can't be changed here" in err and str(file) in err
    file.write_text(file.read_text().replace("action: payment\n", "").replace("ann@example.org", "ann"))
    assert json.loads(terminal.run("edit", path.stem, "--file", str(file), "--json")[1])["kept"] == str(file)
    file.write_text(file.read_text().replace("- ann", "- ann@example.org"))
    code, _, err = terminal.run("edit", path.stem, "--file", str(file))
    assert code == 0, err
    assert b"Cheers from the lake" in path.read_bytes() and kept(desk) == []


def test_a_line_that_was_taken_out_of_the_sheet_counts(terminal: Terminal, tmp_path: Path) -> None:
    """Without its line nobody gets a copy; without a subject or a recipient there is no mail."""
    path = terminal.desk.request(cc=["boss@example.org"], bcc=["eve@example.org"])
    without = "import re\np.write_text(re.sub(r'(?m)^%s:.*\\n(- .*\\n)*', '', text))"
    for name in ("to", "subject"):
        code, _, err = terminal.run("edit", path.stem, editor=editor(tmp_path, without % name))
        assert code == 1 and f"{name}: taken out" in err
    for file in kept(terminal.desk):
        file.unlink()
    code, _, err = terminal.run("edit", path.stem, editor=editor(tmp_path, without % "cc"))
    assert code == 0, err
    fields = frontmatter.read(path.read_bytes())[0]
    assert not fields.get("cc") and fields["bcc"] == ["eve@example.org"] and fields["to"] == ["ann@example.org"]
    assert "boss@example.org" not in path.read_text()


def test_at_a_terminal_it_is_opened_again_as_it_was_written(terminal: Terminal, tmp_path: Path) -> None:
    path = terminal.desk.request()
    program = (
        "if 'lake' in text:\n    p.write_text(text.replace('to: nobody', 'to: [ann@example.org]'))\nelse:\n    "
        "p.write_text(text.replace('Kind regards', 'the lake').replace('to:\\n- ann@example.org', 'to: nobody'))"
    )
    code, out, err = terminal.run("edit", path.stem, typed="y\n", editor=editor(tmp_path, program))
    assert code == 0, err
    assert "Open it again" in out and "'to'" in err and b"the lake" in path.read_bytes() and kept(terminal.desk) == []


@pytest.mark.parametrize("typed", ["n\n", ""])
def test_who_has_enough_of_it_finds_it_the_next_time(terminal: Terminal, tmp_path: Path, typed: str) -> None:
    path = terminal.desk.request()
    broken = editor(tmp_path, WROTE + "p.write_text(text[4:])")
    code, _, err = terminal.run("edit", path.stem, typed=typed, editor=broken)
    (file,) = kept(terminal.desk)
    assert code == 1 and str(file) in err and "Cheers from the lake" in file.read_text()
    _, _, err = terminal.run("edit", path.stem, editor=editor(tmp_path, "pass"))
    assert "A text that you wrote for it before is kept" in err and f"edit {path.stem} --file {file}" in err
    assert kept(terminal.desk) == [file]


def test_what_is_changed_or_answered_meanwhile_keeps_the_text(terminal: Terminal, tmp_path: Path) -> None:
    desk = terminal.desk
    changed, moved = desk.request("mail 1"), desk.request("mail 2")
    meanwhile = WROTE + f"p.write_text(text)\nq = pathlib.Path({str(changed)!r})\n"
    meanwhile += "q.write_text(q.read_text().replace('10:30', '11:30'))"
    code, _, err = terminal.run("edit", changed.stem, typed="y\n", editor=editor(tmp_path, meanwhile))
    assert code == 1 and "look at it again" in err and len(kept(desk)) == 1
    (file,) = kept(desk)
    code, _, err = terminal.run("edit", changed.stem, "--file", str(file))
    assert code == 1 and f"--sha256 {sha(changed)}" in err and "11:30" in changed.read_text() and file.exists()
    assert terminal.run("edit", changed.stem, "--file", str(file), "--sha256", sha(changed))[0] == 0
    assert "Cheers from the lake" in changed.read_text() and kept(desk) == []
    meanwhile = WROTE + f"p.write_text(text)\npathlib.Path({str(moved)!r}).unlink()"
    code, _, err = terminal.run("edit", moved.stem, editor=editor(tmp_path, meanwhile))
    assert code == 1 and len(kept(desk)) == 1
    assert all("Cheers from the lake" in file.read_text() for file in kept(desk))


def test_a_file_of_the_persons_own_is_not_removed_and_what_was_piped_is_kept(
    terminal: Terminal, tmp_path: Path
) -> None:
    path, own = terminal.desk.request(), tmp_path / "mine.md"
    own.write_text("---\nsubject: Anew\n---\nMy text\n")
    assert terminal.run("edit", path.stem, "--file", str(own))[0] == 0
    assert own.exists() and b"My text" in path.read_bytes()
    assert "No such file" in terminal.run("edit", path.stem, "--file", str(tmp_path / "none"))[2]
    code, _, err = terminal.run("edit", path.stem, "--draft-file", "-", typed=" \n")
    (file,) = kept(terminal.desk)
    assert code == 1 and f"edit {path.stem} --draft-file {file}" in err


def test_an_edit_without_an_editor(terminal: Terminal, tmp_path: Path) -> None:
    path = terminal.desk.request()
    assert "set EDITOR, or give the text by --draft-file" in terminal.run("edit", path.stem)[2]
    code, _, err = terminal.run("edit", path.stem, editor="nosuch --wait")
    assert code == 1 and "EDITOR is 'nosuch --wait', and that can't be started" in err and "export EDITOR=nano" in err
    assert terminal.run("edit", path.stem, "--draft-file", "-", typed="From a pipe.\n")[0] == 0
    assert terminal.desk.approvals.get(path.stem).request.draft == "From a pipe."  # type: ignore[union-attr]
    (tmp_path / "latin").write_bytes(b"Gr\xfc\xdfe")
    assert "not UTF-8" in terminal.run("edit", path.stem, "--draft-file", str(tmp_path / "latin"))[2]
    assert "No such file" in terminal.run("edit", path.stem, "--draft-file", str(tmp_path / "none"))[2]


def test_a_file_that_goes_along_is_shown_once(terminal: Terminal) -> None:
    offer = terminal.desk.vault / "Accounting" / "offer.pdf"
    offer.write_bytes(b"offer")
    path = terminal.desk.request(attachments=[{"path": "Accounting/offer.pdf", "sha256": sha(offer)}])
    _, out, _ = terminal.run("view", path.stem)
    told = [line for line in out.splitlines() if "offer.pdf" in line and not line.startswith("  ")]
    assert len(told) == 1 and told[0].startswith("Attachment: ")


def test_an_expired_request_is_asked_again(terminal: Terminal) -> None:
    path = terminal.desk.request()
    terminal.desk.clock.advance(25 * 3600)
    code, _, err = terminal.run("approve", path.stem, "--sha256", sha(path))
    assert code == 1 and f"approve edit {path.stem} --renew" in err
    assert terminal.run("edit", path.stem, "--renew")[0] == 0
    assert terminal.json("view", path.stem)["expires_in_seconds"] == 24 * 3600


def test_revise_reject_and_snooze(terminal: Terminal) -> None:
    desk = terminal.desk
    first, second, third = (desk.request(f"mail {n}") for n in range(3))
    asked = terminal.json("revise", first.stem, "friendlier, please")
    assert asked["state"] == "superseded" and asked["draft"] == 2
    code, _, err = terminal.run("approve", first.stem, "--sha256", asked_sha(desk, first))
    assert code == 1 and f"the new one is {asked['next']}" in err
    assert terminal.run("reject", second.stem, "not to Ann")[0] == 0
    assert "not to Ann" in (desk.vault / "Rejected" / f"{second.stem}.reason.md").read_text()
    assert terminal.json("snooze", third.stem, "2026-06-01T20:00:00+02:00")["snoozed_until"] == "2026-06-01T18:00:00Z"
    for until, words in (("2020-01-01T00:00:00Z", "has passed"), ("soon", "UNTIL is 'soon'"), ("0m", "has passed")):
        assert words in terminal.run("snooze", third.stem, until)[2]


def asked_sha(desk: Desk, path: Path) -> str:
    return sha(desk.vault / "Rejected" / path.name)


def test_an_id_may_be_cut_short_but_not_be_unclear(terminal: Terminal) -> None:
    requests = [terminal.desk.request(f"mail {number}") for number in range(17)]
    assert terminal.run("view", requests[0].stem[-8:])[0] == 0
    last = [path.stem[-1] for path in requests]
    digit = next(digit for digit in last if last.count(digit) > 1)  # 17 ids end in one of 16 digits
    code, _, err = terminal.run("view", digit)
    assert code == 1 and "may be any of" in err and err.count("email-") == last.count(digit)
    assert "no request nothing waits" in terminal.run("reject", "nothing")[2]
    assert "no request  waits" in terminal.run("reject", "")[2]


@pytest.mark.parametrize("words", [("revise", "x"), ("nod",), ("approve",), ("approve", "x", "--sha256", "abc"),
                                   ("reject", "x", "y" * 2001), ("list", "--show", "some")])  # fmt: skip
def test_wrong_usage_is_told_as_such(terminal: Terminal, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as left:
        terminal.run(*words)
    assert left.value.code == 2


def test_a_draft_only_node_lists_but_takes_no_answer(
    make_node: Callable[..., Services], clock: FakeClock, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    terminal = Terminal(Desk(make_node, clock, World(), AGENT_MODE="draft_only"), monkeypatch, capsys)
    path = terminal.desk.request()
    before = path.read_bytes()
    assert terminal.run()[1].endswith("1 waiting\n") and terminal.run("view", path.stem)[0] == 0
    for words in (("approve",), ("edit",), ("revise", "shorter"), ("reject",), ("snooze", "2h")):
        code, _, err = terminal.run(words[0], path.stem, *words[1:])
        assert code == 1 and "draft-only" in err and "on the Local node" in err and "Obsidian" in err
    assert path.read_bytes() == before


# Real processes


def command(desk: Desk, *words: str) -> list[str]:
    return [sys.executable, "-m", "scripts.approve", *words]


def environment(desk: Desk, **more: str) -> dict[str, str]:
    s = desk.node.settings
    return {"ENV_FILE": "", "PATH": os.environ["PATH"], "VAULT_PATH": str(s.vault_path),
            "STATE_DIR": str(s.state_dir), **more}  # fmt: skip


def with_ctrl_c() -> None:
    """As a shell at a terminal starts a command; what runs in the background has Ctrl-C turned off."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_approval_while_everything_is_stopped_says_so(terminal: Terminal) -> None:
    path = terminal.desk.request()
    terminal.desk.node.brakes.stop("wrong address")
    code, out, _ = terminal.run("approve", path.stem, "--yes", "--sha256", sha(path))
    assert code == 0 and "! It is not carried out: everything is stopped: wrong address" in out and "actions go" in out


def far(desk: Desk) -> Path:
    return desk.request(expires="2999-01-01T00:00:00Z")


def test_ctrl_c_at_the_question_answers_nothing(desk: Desk) -> None:
    path = far(desk)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command(desk, "approve", path.stem), cwd=PROJECT_ROOT, env=environment(desk), stdin=slave,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=with_ctrl_c,
    )  # fmt: skip
    assert process.stdout is not None
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(process.stdout.fileno(), 4096) or pytest.fail(shown.decode())
    eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_SLEEPING, what="it waits for an answer")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    os.close(master)
    os.close(slave)
    assert process.returncode == 130 and b"nothing was answered" in err and b"Traceback" not in err
    assert desk.store.recent(1) == [] and desk.places(path.name) == ["Pending_Approval/email"]


def test_ctrl_c_in_the_editor_is_the_editors(desk: Desk, tmp_path: Path) -> None:
    path = far(desk)
    go = tmp_path / "go"
    os.mkfifo(go)
    program = (
        "import signal, os\nsignal.signal(signal.SIGINT, lambda *_: None)\n"
        f"fd = os.open({str(go)!r}, os.O_RDONLY)\nwhile not os.read(fd, 1): pass\n"
        "p.write_text(text.replace('Kind regards', 'Cheers'))"
    )
    process = subprocess.Popen(
        command(desk, "edit", path.stem), cwd=PROJECT_ROOT, start_new_session=True, preexec_fn=with_ctrl_c,
        env=environment(desk, EDITOR=editor(tmp_path, program)),
    )  # fmt: skip
    with go.open("wb", buffering=0) as gate:  # opens when the editor waits there
        os.killpg(process.pid, signal.SIGINT)
        gate.write(b"x")
    assert process.wait(60) == 0
    assert b"Cheers" in path.read_bytes()


def test_a_reader_that_leaves_is_no_error(desk: Desk) -> None:
    far(desk)
    pipe = f"{sys.executable} -m scripts.approve list --json | head -c 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", pipe], cwd=PROJECT_ROOT, env=environment(desk),
                          capture_output=True, check=False)  # fmt: skip
    assert done.stdout == b"{" and done.stderr == b""


def test_bad_settings_are_told_all_at_once(desk: Desk) -> None:
    done = subprocess.run(command(desk), cwd=PROJECT_ROOT, env=environment(desk, AGENT_MODE="x", API_PORT="y"),
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 2 and "AGENT_MODE" in done.stderr and "API_PORT" in done.stderr
