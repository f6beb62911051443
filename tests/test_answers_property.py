"""`decision:` in a request's properties: the local human's word counts, whatever a sync brought does not (S7)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.fakes.desk import Bomb, Desk, Killed, World, sha
from tests.vaults import Two, git
from utils.bootstrap import Services
from utils.core import decision
from utils.core.decision import Decision, Incomplete, Word
from utils.daemon import Stop
from utils.execution.journal import State
from utils.vault import frontmatter
from Watchers.approval_watcher import ApprovalWatcher


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World())


def write(path: Path, **properties: str) -> bytes:
    """A person adds properties above what is there, as Obsidian does."""
    lines = "".join(f"{name}: {value}\n" for name, value in properties.items())
    path.write_text(path.read_text().replace("---\n", f"---\n{lines}", 1))
    return path.read_bytes()


def note(path: Path) -> str:
    beside = path.with_name(f"{path.stem}.reason.md")
    return beside.read_text() if beside.exists() else ""


def properties(path: Path) -> dict[str, Any]:
    return frontmatter.read(path.read_bytes())[0]


def seen_then(desk: Desk, **written: str) -> Path:
    """A request that this node saw waiting, and then a decision in it."""
    path = desk.request()
    desk.cycle()
    write(path, **written)
    return path


def test_approve_is_an_approval_of_what_was_seen_without_the_word(desk: Desk) -> None:
    path = desk.request()
    desk.cycle()
    shown = sha(path)
    write(path, decision="approve")
    assert desk.cycle() == "sent 1"
    record = desk.store.recent(1)[0]
    assert (record.sha256, record.via, record.approved_by) == (shown, "property", "local human")
    assert b"decision" not in record.frozen and desk.places(path.name) == ["Done"]


def test_an_editor_may_spell_the_properties_anew(desk: Desk) -> None:
    path = desk.request()
    desk.cycle()
    meta, body = frontmatter.read(path.read_bytes())
    path.write_bytes(frontmatter.write({"decision": "Approve", **dict(reversed(list(meta.items())))}, body))
    assert desk.cycle() == "sent 1"


def test_a_word_that_came_in_an_unusable_request_counts_for_nothing_once_it_is_mended(desk: Desk) -> None:
    path = desk.request()
    desk.cycle()
    plain = path.read_bytes()
    write(path, decision="approve")
    path.write_text(path.read_text().replace("expires:", "expire:"))
    desk.in_git = {(desk.node.layout.relative(path), path.read_bytes())}
    desk.cycle()
    assert "decision" not in properties(path)
    desk.in_git = {(desk.node.layout.relative(path), plain)}  # the next push takes it out of git's tips again
    path.write_text(path.read_text().replace("expire:", "expires:"))
    desk.clock.advance(61)
    assert desk.cycle() == "idle" and desk.world.calls == 0


def test_a_word_that_was_written_here_waits_for_the_request_to_be_mended(desk: Desk) -> None:
    path = seen_then(desk, decision="approve")
    path.write_text(path.read_text().replace("expires:", "expire:"))
    desk.cycle()
    assert properties(path)["decision"] == "approve"
    path.write_text(path.read_text().replace("expire:", "expires:"))
    desk.clock.advance(61)
    assert desk.cycle() == "sent 1"


def test_reject_takes_the_reason_along(desk: Desk) -> None:
    path = seen_then(desk, decision="reject", reason="we do not write to Ann")
    desk.cycle()
    assert desk.places(path.name) == ["Rejected"]
    assert "we do not write to Ann" in note(desk.vault / "Rejected" / path.name)
    assert desk.store.answers.recent(1)[0].said == "we do not write to Ann"


def test_revise_sends_the_task_back(desk: Desk) -> None:
    path = seen_then(desk, decision="revise", instruction="'shorter, please: no list'")
    desk.cycle()
    assert desk.places(path.name) == ["Rejected"] and "Superseded" in note(desk.vault / "Rejected" / path.name)
    (task,) = (desk.vault / "Needs_Action" / "email").glob("*.md")
    assert properties(task)["revision"]["instruction"] == "shorter, please: no list"


def test_snooze_hides_it_and_the_file_is_as_it_was(desk: Desk) -> None:
    path = desk.request()
    desk.cycle()
    before = path.read_bytes()
    write(path, decision="snooze", until="2026-06-01T14:00:00Z")
    desk.cycle()
    assert path.read_bytes() == before and desk.approvals.get(path.stem).state == "snoozed"
    assert "Snoozed until" in note(path)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"decision": "aprove"}, "must be one of approve, reject, revise, snooze"),
        ({"decision": "revise"}, "needs 'instruction'"),
        ({"decision": "snooze"}, "needs 'until'"),
        ({"decision": "snooze", "until": "tomorrow"}, "'until' is 'tomorrow'; it must be a time with its zone"),
        ({"decision": "snooze", "until": "2026-06-01T14:00:00"}, "'until' is '2026-06-01T14:00:00'; it must be a time"),
    ],
)
def test_what_says_too_little_waits_with_a_note_until_it_says_enough(
    desk: Desk, written: dict[str, str], words: str
) -> None:
    path = seen_then(desk, **written)
    for _ in range(3):
        desk.cycle()
    assert words in note(path) and properties(path)["decision"] == written["decision"]
    path.write_text(path.read_text().replace(f"decision: {written['decision']}\n", ""))
    desk.cycle()
    assert note(path) == "" and desk.world.calls == 0


def test_an_empty_decision_is_none(desk: Desk) -> None:
    path = seen_then(desk, decision="")
    desk.cycle()
    assert note(path) == "" and "decision" in properties(path)


def test_a_text_that_is_still_being_typed_is_waited_for(desk: Desk) -> None:
    path = seen_then(desk, decision="revise", instruction="sho")
    typed_at = desk.clock.now().timestamp()
    os.utime(path, (typed_at, typed_at))
    desk.clock.advance(5)
    desk.cycle()
    assert desk.places(path.name) == ["Pending_Approval/email"]
    desk.in_git.add((f"Pending_Approval/email/{path.name}", path.read_bytes()))  # meanwhile a sync carries it away
    path.write_text(path.read_text().replace("instruction: sho", "instruction: shorter"))
    os.utime(path, (typed_at + 5, typed_at + 5))
    desk.clock.advance(11)
    desk.cycle()
    assert desk.store.answers.superseded(path.stem).instruction == "shorter"  # type: ignore[union-attr]


# Never from what arrived by sync


def test_what_came_with_a_decision_is_cleaned_and_not_done(desk: Desk) -> None:
    path = desk.request(decision="approve")
    desk.in_git.add((f"Pending_Approval/email/{path.name}", path.read_bytes()))
    for _ in range(3):
        desk.cycle()
    assert desk.world.calls == 0 and "decision" not in properties(path)
    assert "counts only where it is written on the Local node" in note(path)
    write(path, decision="approve")  # here it counts, although git still has the word
    assert desk.cycle() == "sent 1"


def test_a_decision_that_a_sync_adds_to_what_was_seen_here_counts_for_nothing(desk: Desk) -> None:
    for word in ({"decision": "approve"}, {"decision": "reject"}, {"decision": "revise", "instruction": "x"}):
        path = desk.request(f"mail {word}")
        desk.cycle()
        data = write(path, **word)
        desk.in_git.add((f"Pending_Approval/email/{path.name}", data))
        for _ in range(3):
            desk.cycle()
        assert desk.places(path.name) == ["Pending_Approval/email"] and "decision" not in properties(path)
    assert desk.world.calls == 0 and desk.store.recent(5) == []


def test_an_editor_that_spells_a_synced_decision_anew_makes_it_no_word_of_ours(desk: Desk) -> None:
    path = desk.request()
    desk.cycle()
    data = write(path, decision="approve")
    desk.in_git.add((f"Pending_Approval/email/{path.name}", data))
    path.write_text(path.read_text().replace("decision: approve", 'decision: "approve"'))
    for _ in range(2):
        desk.cycle()
    assert desk.world.calls == 0 and "decision" not in properties(path)


def test_a_word_that_was_followed_earns_no_trust_for_the_next_that_a_sync_brings(desk: Desk) -> None:
    path = seen_then(desk, decision="snooze", until="2026-06-01T14:00:00Z")
    desk.cycle()
    data = write(path, decision="approve")
    desk.in_git.add((f"Pending_Approval/email/{path.name}", data))
    for _ in range(3):
        desk.cycle()
    assert desk.world.calls == 0 and "decision" not in properties(path)


def test_what_was_never_seen_without_a_decision_is_not_ours(desk: Desk) -> None:
    path = desk.request(decision="approve")  # a restored backup, a script: not in git, never seen here
    desk.cycle()
    assert desk.world.calls == 0 and "decision" not in properties(path)


def test_where_git_can_not_be_asked_nothing_counts(desk: Desk) -> None:
    desk.approvals._decisions._in_git = lambda path: None
    path = seen_then(desk, decision="approve")
    desk.cycle()
    assert desk.world.calls == 0 and "decision" not in properties(path)


def test_what_git_has_at_a_path_is_read_from_all_its_branches(tmp_path: Path) -> None:
    two = Two(tmp_path)
    two.seed_files({"Pending_Approval/email/x.md": "---\na: 1\n---\nplain\n"})
    sync = two.a.vault_sync()
    assert sync.in_git("Pending_Approval/email/x.md") == [b"---\na: 1\n---\nplain\n"]
    assert sync.in_git("Pending_Approval/email/none.md") == []
    phone = two.clone("phone")
    (phone / "Pending_Approval/email/x.md").write_text("---\na: 1\ndecision: approve\n---\nplain\n")
    two.commit_all(phone)
    git(phone, "push", "-q", "origin", "main")
    two.a.git("fetch", "-q", "origin", "+main:refs/remotes/origin/main")
    assert len(two.a.vault_sync().in_git("Pending_Approval/email/x.md") or []) == 2
    (two.a.root / ".git" / "HEAD").write_text("ref: nowhere\n")
    assert two.a.vault_sync().in_git("Pending_Approval/email/x.md") is None


# Worth what a move is worth


def test_what_needs_a_confirmation_is_not_approved_by_a_word(desk: Desk) -> None:
    path = desk.request(cc=["new@firm.test"])
    desk.cycle()
    write(path, decision="approve")
    desk.cycle()
    assert desk.world.calls == 0 and desk.store.recent(1) == []
    assert "first mail to new@firm.test" in note(path) and "approve" in note(path)
    assert "decision" not in properties(path)


def test_an_edit_in_the_same_moment_is_looked_at_again(desk: Desk) -> None:
    path = desk.request()
    desk.cycle()
    path.write_text(path.read_text().replace("Kind regards", "Kindest regards"))
    write(path, decision="approve")
    desk.cycle()
    assert desk.world.calls == 0 and "edited in the same moment" in note(path)
    write(path, decision="approve")
    assert desk.cycle() == "sent 1"


def test_words_that_were_approved_and_came_back_are_not_approved_by_what_is_left_in_them(desk: Desk) -> None:
    """The file was moved by hand with the word still in it. It asks again, and the word does not answer (S6)."""
    path = seen_then(desk, decision="approve")
    moved = desk.move(path, "Approved")
    desk.approvals.approve(path.stem, sha(moved), by="anna")
    desk.clock.advance(25 * 3600)
    desk.cycle()
    desk.clock.advance(-25 * 3600)  # even if its time were not over
    assert desk.places(path.name) == ["Pending_Approval/email"]
    for _ in range(3):
        desk.cycle()
    assert desk.world.calls == 0 and desk.store.newest(path.stem).state is State.VOID  # type: ignore[union-attr]


def test_an_expired_request_is_not_approved_and_says_so(desk: Desk) -> None:
    path = seen_then(desk, decision="approve")
    desk.clock.advance(25 * 3600)
    desk.cycle()
    assert desk.world.calls == 0 and "expired" in note(path) and "decision" not in properties(path)


def test_a_draft_only_node_follows_no_word(make_node: Callable[..., Services], clock: FakeClock) -> None:
    desk = Desk(make_node, clock, World(), AGENT_MODE="draft_only")
    path = desk.request()
    data = write(path, decision="approve")
    desk.approvals.observe()
    assert path.read_bytes() == data and desk.store.recent(1) == []


# Crashes


@pytest.mark.parametrize("word", ["approve", "reject", "revise", "snooze"])
def test_a_decision_survives_a_crash_at_any_step_and_is_carried_out_once(desk: Desk, word: str) -> None:
    for step in range(1, 60):
        path = desk.request(f"mail {step}")
        desk.cycle()
        write(path, decision=word, instruction="shorter", until="2026-06-01T14:00:00Z")
        desk.restart(Bomb(step))
        died = False
        try:
            desk.approvals.observe()
        except Killed:
            died = True
        desk.restart()
        desk.approvals.observe()
        desk.approvals.observe()
        kinds = [answer.answer for answer in desk.store.answers.recent(request=path.stem)]
        wanted = {"approve": "approved", "reject": "rejected", "revise": "revised", "snooze": "snoozed"}[word]
        # A snooze may be said twice, and a rejection may be there without its line: neither does anything more.
        assert set(kinds) == {wanted} or (word == "reject" and not kinds)
        place = {"approve": "Approved", "snooze": "Pending_Approval/email"}.get(word, "Rejected")
        assert desk.places(path.name) == [place], f"step {step}"
        assert desk.store.answers.taken() == {}
        for left in desk.vault.rglob(f"{path.stem}*"):
            left.unlink()
        if not died:
            return
    raise AssertionError("it did not end")


# However it is spelled, and promptly


@pytest.mark.parametrize(
    "line",
    ["decision: Approve", 'decision: "approve"', 'decision: "  APPROVE "', "Decision: approve", "decision:\n- Approve"],
)
def test_a_word_counts_however_it_is_spelled(desk: Desk, line: str) -> None:
    path = desk.request()
    desk.cycle()
    path.write_text(path.read_text().replace("---\n", f"---\n{line}\n", 1))
    assert desk.cycle() == "sent 1"
    record = desk.store.recent(1)[0]
    assert record.via == "property" and b"ecision" not in record.frozen


@pytest.mark.parametrize("line", ["Decision: approve", "decision: [approve]"])
def test_no_spelling_makes_a_synced_word_ours(desk: Desk, line: str) -> None:
    path = desk.request()
    desk.cycle()
    path.write_text(path.read_text().replace("---\n", f"---\n{line}\n", 1))
    desk.in_git.add((f"Pending_Approval/email/{path.name}", path.read_bytes()))
    desk.cycle()
    assert "counts only where it is written on the Local node" in note(path)
    assert "ecision" not in path.read_text() and desk.world.calls == 0


def test_two_words_in_two_spellings_are_no_decision(desk: Desk) -> None:
    path = seen_then(desk, decision="approve", Decision="reject")
    desk.cycle()
    assert "'approve / reject'; it must be one of approve, reject, revise, snooze" in note(path)
    assert desk.world.calls == 0


@pytest.mark.parametrize(
    ("written", "seconds"),
    [({"decision": "reject", "reason": "no"}, 10), ({"decision": "yes please"}, 2), ({"decision": "reject"}, 30)],
)
def test_the_watcher_looks_again_as_soon_as_a_text_rests(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, written: dict[str, str], seconds: float
) -> None:
    """It used to look after the 30 s of its own round, so a rejection with a reason took up to 40."""
    path = seen_then(desk, **written)
    os.utime(path, (desk.clock.now().timestamp(),) * 2)
    desk.cycle()
    waited: list[float] = []
    stop = Stop()
    monkeypatch.setattr(stop, "wait", waited.append)
    watcher = ApprovalWatcher(desk.node)
    watcher.wait(watcher.interval, stop)
    assert waited == [pytest.approx(seconds)]
    desk.clock.advance(seconds)
    desk.cycle()
    assert ("must be one of" in note(path)) or desk.places(path.name) == ["Rejected"]
    watcher.wait(watcher.interval, stop)
    assert waited[1] == watcher.interval, "nothing is in the making any more"


# The pure part


@pytest.mark.parametrize(
    ("meta", "decided"),
    [
        ({}, None),
        ({"decision": None}, None),
        ({"decision": " "}, None),
        ({"decision": " APPROVE "}, Decision(Word.APPROVE)),
        ({"Decision": "“Approve”\u00a0"}, Decision(Word.APPROVE)),
        ({" decision": "'approve'"}, Decision(Word.APPROVE)),
        ({"decision": ["Approve"]}, Decision(Word.APPROVE)),
        ({"decision": "", "DECISION": "approve"}, Decision(Word.APPROVE)),
        ({"DECISION": "Reject", "Reason": "No"}, Decision(Word.REJECT, "No")),
        ({"decision": "reject"}, Decision(Word.REJECT)),
        ({"decision": "reject", "instruction": "no"}, Decision(Word.REJECT, "no")),
        ({"decision": "revise", "instruction": 10}, Decision(Word.REVISE, "10")),
    ],
)
def test_reading_a_decision(meta: dict[str, Any], decided: Decision | None) -> None:
    assert decision.decision_of(meta) == decided


@pytest.mark.parametrize("value", [True, 7, ["approve", "reject"], {"approve": True}, "approve it", "yes"])
def test_what_is_no_word_is_incomplete(value: object) -> None:
    with pytest.raises(Incomplete):
        decision.decision_of({"decision": value})
