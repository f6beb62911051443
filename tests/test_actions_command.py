"""`python -m scripts.actions`: what waits and why, what only a person can settle, taking back, the kill switch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from scripts import actions, approve
from tests.conftest import FakeClock
from tests.fakes.desk import Desk, World, sha
from utils.bootstrap import Services
from utils.execution.journal import ActionRecord, State
from utils.ports import AdapterError, OutcomeUnknown
from utils.settings import InvalidSettings

Make = Callable[..., Services]


class Terminal:
    """Runs the command on a node, in this process."""

    def __init__(self, node: Callable[[], Services], patch: pytest.MonkeyPatch, capture: Any) -> None:
        self._capture = capture
        patch.setattr(Services, "from_environment", classmethod(lambda cls: node()))

    def run(self, *words: str, main: Callable[[list[str]], int] = actions.main) -> tuple[int, str, str]:
        """`(exit code, stdout, stderr)`."""
        code = main(list(words))
        said = self._capture.readouterr()
        return code, said.out, said.err

    def json(self, *words: str) -> Any:
        code, out, err = self.run(*words, "--json")
        assert code == 0, (out, err)
        return json.loads(out)


@pytest.fixture
def desk(make_node: Make, clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World(), UNDO_SECONDS="10")


@pytest.fixture
def terminal(desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(lambda: desk.node, monkeypatch, capsys)


def approved(desk: Desk, key: str = "mail 1", **fields: object) -> ActionRecord:
    path = desk.request(key, **fields)
    return desk.approvals.approve(path.stem, sha(path), by="anna")


NO_UTF8 = os.fsdecode(b"bad \xff word")


@pytest.mark.parametrize("words", [("view", NO_UTF8), ("settle", "ID", "happened", "--note", NO_UTF8)])
def test_words_that_are_no_utf8_are_refused_before_anything_is_done(
    desk: Desk, terminal: Terminal, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    desk.world.lost_answers = [OutcomeUnknown("lost")]
    record = approved(desk)
    desk.clock.advance(60)
    desk.cycle()
    with pytest.raises(SystemExit) as ended:
        terminal.run(*(record.action_id if word == "ID" else word for word in words))
    assert ended.value.code == 2 and "it is not UTF-8" in capsys.readouterr().err
    assert state(desk, record) is State.UNKNOWN


def state(desk: Desk, record: ActionRecord) -> State | None:
    found = desk.store.get(record.action_id)
    return found.state if found else None


def unknown(desk: Desk, key: str = "mail 1") -> ActionRecord:
    record = approved(desk, key)
    desk.world.lost_answers = [OutcomeUnknown("cut off \x1b[31mred\u202e")]
    desk.clock.advance(10)
    assert "unknown" in desk.cycle()
    return record


# Looking


def test_the_list_tells_what_waits_why_and_for_how_long_it_can_be_taken_back(desk: Desk, terminal: Terminal) -> None:
    assert terminal.run() == (0, "nothing is open\n", "")
    record = approved(desk)
    desk.clock.advance(3)
    code, out, _ = terminal.run("list")
    assert code == 0 and out.splitlines() == [
        f"{record.action_id}  approved  reply_email  {record.request_id}  2026-06-01T12:00:00Z",
        "  waits: it can still be taken back, 7 s left",
        f"  7 s left to take it back: {actions.command(f'actions cancel {record.action_id[:8]}')}",
        "1 approved",
    ]
    (item,) = terminal.json()["items"]
    assert item["waits"] == {"reason": "it can still be taken back", "seconds_left": 7}
    assert item["undo_seconds_left"] == 7
    desk.clock.advance(8)
    assert "is carried out next" in terminal.run()[1]
    assert desk.cycle() == "sent 1"
    assert terminal.run() == (0, "nothing is open\n", "")
    assert f"done  reply_email  {record.request_id}" in terminal.run("log")[1]


def test_an_unknown_outcome_stands_first_with_its_evidence_and_nothing_of_it_steers_the_terminal(
    desk: Desk, terminal: Terminal
) -> None:
    record = unknown(desk)
    approved(desk, "mail 2")
    code, out, _ = terminal.run()
    lines = out.splitlines()
    assert code == 0 and lines[0].startswith(f"{record.action_id}  unknown  reply_email")
    assert "nobody knows whether it happened: cut off ⟦U+001B⟧[31mred⟦U+202E⟧; no proof of it was found" in lines[1]
    reference = desk.store.get(record.action_id)
    assert reference is not None and reference.reference in lines[2]
    assert f"scripts.actions settle {record.action_id[:8]} happened (or ask_again)" in lines[3]
    assert lines[-1] == "1 approved, 1 unknown"
    assert "\x1b" not in out and "\u202e" not in out
    assert "\x1b" not in terminal.run("view", record.action_id)[1]


def test_what_failed_is_listed_until_it_is_approved_anew(desk: Desk, terminal: Terminal) -> None:
    record = approved(desk)
    desk.world.trouble = [AdapterError("550 no such user", retry=False)]
    desk.clock.advance(10)
    assert desk.cycle() == "failed 1"
    assert "  ! failed: 550 no such user\n1 failed\n" in terminal.run()[1]
    desk.approvals.approve(record.request_id, desk.approvals.get(record.request_id).sha256, by="anna")
    assert terminal.run()[1].endswith("\n1 approved\n")


def test_one_action_with_its_bytes_and_its_history(desk: Desk, terminal: Terminal) -> None:
    record = unknown(desk)
    out = terminal.run("view", record.request_id)[1]
    for words in (
        "approver: anna",
        f"sha256: {record.sha256}",
        "token consumed",
        "| Kind regards",
        "  unknown  cut off",
    ):
        assert words in out
    shown = terminal.json("view", record.action_id[:8])
    assert shown["content"].encode() == record.frozen
    assert [event["event"] for event in shown["events"]][:2] == ["approved", "sending"]


def test_an_id_is_found_by_either_end_and_never_guessed(desk: Desk, terminal: Terminal) -> None:
    first, second = approved(desk, "mail 1"), approved(desk, "mail 2")
    for named in (first.action_id, first.action_id[:6], first.action_id[-9:], first.request_id, first.request_id[-8:]):
        assert terminal.json("view", named)["action_id"] == first.action_id
    code, out, err = terminal.run("cancel", "email-2026")
    assert (code, out) == (1, "") and err.startswith("error: email-2026 may be any of ")
    assert first.action_id in err and second.action_id in err
    for named in (first.action_id[:5], "", "%", "______", "0" * 32):
        code, out, err = terminal.run("cancel", named)
        assert (code, out) == (1, "") and f"there is no action {named}" in err
    assert {state(desk, first), state(desk, second)} == {State.APPROVED}


# Settling


def test_a_person_settles_either_way(desk: Desk, terminal: Terminal) -> None:
    happened, not_sent = unknown(desk, "mail 1"), unknown(desk, "mail 2")
    code, out, _ = terminal.run("settle", happened.action_id[:8], "happened", "--note", "it is in Sent")
    assert (code, out) == (0, f"reply_email of {happened.request_id} is done\n")
    settled = desk.store.get(happened.action_id)
    assert settled is not None and settled.receipt is not None
    assert settled.receipt.detail == "settled by human (command line): it is in Sent"
    assert desk.places(f"{happened.request_id}.md") == ["Done"]
    answer = terminal.json("settle", not_sent.request_id, "ask_again")
    assert answer["state"] == "void" and desk.places(f"{not_sent.request_id}.md") == ["Pending_Approval/email"]
    assert desk.world.calls == 2 and desk.cycle() == "idle"
    code, _, err = terminal.run("settle", happened.action_id, "ask_again")
    assert code == 1 and "is done: only an unknown outcome can be settled" in err


def test_what_a_person_types_makes_no_heading_and_no_line_of_its_own(desk: Desk, terminal: Terminal) -> None:
    typed = "it is in Sent\n\n# Approved\n\n---\n\u202enot\n"
    record = unknown(desk)
    assert terminal.run("settle", record.action_id, "happened", "--note", typed)[0] == 0
    words = "it is in Sent # Approved --- ⟦U+202E⟧not"
    assert (
        f"settled by human (command line): {words})" in (desk.vault / f"Done/{record.request_id}.reason.md").read_text()
    )
    assert desk.action_log()[-1]["receipt"]["detail"].endswith(words)
    path = desk.request("mail 2")
    desk.approvals.reject(path.stem, typed, by="anna")
    assert f"Rejected by anna: {words}\n" in (desk.vault / f"Rejected/{path.stem}.reason.md").read_text()


def test_of_several_actions_of_a_request_the_one_that_can_be_settled_is_meant(desk: Desk, terminal: Terminal) -> None:
    first = unknown(desk)
    terminal.run("settle", first.action_id, "ask_again")
    second = desk.approvals.approve(first.request_id, desk.approvals.get(first.request_id).sha256, by="anna")
    assert terminal.json("cancel", first.request_id)["action_id"] == second.action_id
    assert state(desk, first) is state(desk, second) is State.VOID


@pytest.mark.parametrize(
    "words", [("settle",), ("settle", "x"), ("settle", "x", "maybe"), ("cancel",), ("dance",), ("stop", "x" * 501)]
)
def test_wrong_usage_is_2(terminal: Terminal, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        terminal.run(*words)
    assert ended.value.code == 2


def test_help_tells_the_exit_codes(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        terminal.run("--help")
    assert ended.value.code == 0
    assert "exit codes: 0 done; 1 refused, or the log is not whole; 2 wrong usage" in capsys.readouterr().out


# Taking back


def test_an_approval_is_taken_back_and_too_late_is_said(desk: Desk, terminal: Terminal) -> None:
    record = approved(desk)
    code, out, _ = terminal.run("cancel", record.action_id[:8])
    assert (code, out) == (0, f"{record.request_id} is not carried out: it waits for your word again\n")
    code, _, err = terminal.run("cancel", record.action_id[:8])
    assert code == 1 and "does not count any more: taken back by human (command line)" in err
    desk.clock.advance(60)
    assert desk.cycle() == "idle" and desk.world.calls == 0
    assert desk.places(f"{record.request_id}.md") == ["Pending_Approval/email"]
    again = desk.approvals.approve(record.request_id, desk.approvals.get(record.request_id).sha256, by="anna")
    desk.clock.advance(10)
    assert desk.cycle() == "sent 1"
    code, _, err = terminal.run("cancel", again.action_id)
    assert code == 1 and "too late to take it back" in err
    code, out, _ = terminal.run("cancel", again.action_id, "--json")
    assert code == 1 and "too late" in json.loads(out)["error"]


@pytest.mark.parametrize(("seconds", "words"), [("10", "for 10 s"), ("0", "until it is carried out")])
def test_who_approves_is_told_how_to_take_it_back(
    make_node: Make, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, capsys: Any, seconds: str, words: str
) -> None:
    desk = Desk(make_node, clock, World(), UNDO_SECONDS=seconds)
    terminal = Terminal(lambda: desk.node, monkeypatch, capsys)
    path = desk.request()
    code, out, _ = terminal.run("approve", path.stem, "--sha256", sha(path), "--yes", main=approve.main)
    (record,) = desk.store.in_state(State.APPROVED)
    assert code == 0 and out.splitlines() == [
        f"{path.stem} is approved (action {record.action_id})",
        f"It can be taken back {words}: {actions.command(f'actions cancel {record.action_id}')}",
    ]


# The kill switch


def test_stop_and_go(desk: Desk, terminal: Terminal) -> None:
    record = approved(desk)
    desk.clock.advance(10)
    code, out, _ = terminal.run("stop", "something\nis odd")
    assert code == 0 and out.startswith("EVERYTHING IS STOPPED on this node: something is odd. To go on: ")
    assert desk.cycle() == "stopped 1" and desk.world.calls == 0
    listed = terminal.run()[1]
    assert listed.startswith("EVERYTHING IS STOPPED") and "waits: everything is stopped: something is odd" in listed
    assert terminal.json("stop") == {"stopped": "something is odd"}, "the first reason stays"
    both = "something is odd; and again: more of it"
    for _ in range(2):
        assert terminal.json("stop", "more of it") == {"stopped": both}
    assert terminal.json()["stopped"] == both
    assert terminal.run("go")[:2] == (0, "released: what is approved goes on\n")
    assert terminal.run("go")[:2] == (0, "the kill switch was not pulled\n")
    assert desk.cycle() == "sent 1" and state(desk, record) is State.DONE
    assert [alert["title"] for alert in desk.node.alerts.recent()[0]] == [
        "The kill switch is released",
        "Everything is stopped",
    ]


def test_an_alert_that_fails_does_not_keep_the_switch_from_being_pulled(
    desk: Desk, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*words: str, **more: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(desk.node.alerts, "send", broken)
    code, _, err = terminal.run("stop")
    assert code == 1 and "No space left" in err and desk.node.brakes.stopped() is not None


def test_with_bad_settings_stop_says_how_to_stop_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def bad(cls: type[Services]) -> Services:
        raise InvalidSettings(["API_PORT = 'x'"])

    monkeypatch.setattr(Services, "from_environment", classmethod(bad))
    assert actions.main(["stop"]) == 2
    err = capsys.readouterr().err
    assert "API_PORT" in err and "Make a file called STOP in STATE_DIR" in err


# A draft-only node


def test_a_draft_only_node_lists_what_local_told_and_settles_nothing(
    desk: Desk, make_node: Make, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    record = unknown(desk)
    cloud = make_node("cloud", ready=False, VAULT_PATH=str(desk.vault), clock=clock)
    terminal = Terminal(lambda: cloud, monkeypatch, capsys)
    code, out, _ = terminal.run()
    assert code == 0 and "nobody knows whether it happened: cut off" in out
    assert out.endswith("1 unknown (as Local told this draft-only node)\n")
    assert terminal.json("view", record.action_id[:8])["request"] == record.request_id
    assert terminal.run("view", "0" * 32)[0] == 1
    for words in (("settle", record.action_id, "happened"), ("cancel", record.action_id)):
        code, out, err = terminal.run(*words)
        assert (code, out) == (1, "") and "this node (cloud) is draft-only" in err
        assert f"Do it on the Local node: `.venv/bin/python -m scripts.actions {words[0]} …` there" in err
    assert state(desk, record) is State.UNKNOWN
    assert terminal.run("stop", "x")[0] == 0 and cloud.brakes.stopped() == "x" and terminal.run("go")[0] == 0
    assert not (cloud.settings.state_dir / "execution.sqlite3").exists()
