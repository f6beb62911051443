"""`Dashboard.md` of a node, in histories: what happens shows there, and nobody's words are lost by it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.api_client import Api
from tests.conftest import FakeClock
from tests.fakes.desk import Desk, Killed, World, sha
from tests.fakes.money import IBAN, NO_MAIL, PAYMENT, SEPA
from tests.vaults import git
from utils.bootstrap import Services
from utils.execution.journal import ActionRecord
from utils.ports import AdapterError, OutcomeUnknown
from utils.vault import atomic
from Watchers.approval_watcher import ApprovalWatcher

Make = Callable[..., Services]


@pytest.fixture
def desk(make_node: Make, clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World(), UNDO_SECONDS="10")


def cycle(node: Services) -> str:
    return ApprovalWatcher(node).run_cycle(node.clock.now())


def note(desk: Desk) -> str:
    return (desk.vault / "Dashboard.md").read_text()


def approve(desk: Desk, path: Path) -> ActionRecord:
    return desk.approvals.approve(path.stem, sha(path), by="anna")


def alerts(desk: Desk) -> list[str]:
    return [str(alert["message"]) for alert in desk.node.alerts.recent()[0]]


# What happens shows


def test_a_mail_from_the_question_to_the_receipt(desk: Desk) -> None:
    path = desk.request("mail 1", risk=["sender not authenticated"])
    assert cycle(desk.node) == "idle, Dashboard.md written"
    link = f'[[{path.stem}|reply_email]] to “ann\\@example.org”: “Re\\: "10\\:30" – ok?”'
    assert "## Waits for your word (1)" in note(desk) and link in note(desk)
    assert "until 2026-06-02 12:00 UTC\n  - look: “sender not authenticated”" in note(desk)
    record = approve(desk, path)
    assert cycle(desk.node) == "can be taken back 1, Dashboard.md written"
    assert "Nothing waits for your word." in note(desk)
    assert f"- {link} · waits until 2026-06-01 12:00:10 UTC: “it can still be taken back”" in note(desk)
    assert f"scripts.actions cancel {record.action_id}`" in note(desk)
    desk.clock.advance(10)
    assert cycle(desk.node) == "sent 1, Dashboard.md written"
    assert f"## Done in the last day (1)\n\n- 2026-06-01 12:00 UTC · {link}\n  - “receipt \\<" in note(desk)
    desk.clock.advance(25 * 3600)
    assert cycle(desk.node) == "idle, Dashboard.md written"
    assert "Done in the last day" not in note(desk)


def test_what_this_node_knows_is_shown_and_what_looks_like_a_trick_comes_first(desk: Desk) -> None:
    """A request says nothing of its risks: the node's own badges stand here, as in every other list."""
    approve(desk, desk.request("mail 0"))
    desk.clock.advance(10)
    cycle(desk.node)
    quiet, odd = desk.request("mail 1"), desk.request("mail 2", to=["ann@exarnple.org"])
    cycle(desk.node)
    assert "  - **danger**: “ann\\@exarnple.org looks like ann\\@example.org, and is not.”\n" in note(desk)
    assert "  - look: “New\\: nothing was ever sent to ann\\@exarnple.org from here.”" in note(desk)
    assert note(desk).index(odd.stem) < note(desk).index(quiet.stem)


def test_money_is_listed_with_what_it_comes_to_before_and_after(make_node: Make, clock: FakeClock) -> None:
    desk = Desk(make_node, clock, World(), **SEPA)
    pay = desk.request("bill 1", **PAYMENT)
    lines = [{"description": "Work", "price": "100.00", "tax": "19"}]
    desk.request(
        "bill 2", **NO_MAIL, action="invoice", partner="Acme", lines=lines, currency="EUR", due_date="2026-12-24"
    )
    desk.request("bill 3", **{**PAYMENT, "amount": "1,5"})
    cycle(desk.node)
    assert f"payment]] to “Acme GmbH”: “40.00 EUR, R-1, {IBAN}” · since" in note(desk)
    assert "invoice]] to “Acme”: “119.00 EUR, due 2026-12-24” · since" in note(desk)
    assert "payment]] to “Acme GmbH” · since" in note(desk), "what can't be read is no amount"
    approve(desk, pay)
    cycle(desk.node)
    assert f"payment]] to “Acme GmbH”: “40.00 EUR, R-1, {IBAN}”\n  - “receipt" in note(desk)


def test_as_long_as_nothing_happens_nothing_is_written(desk: Desk) -> None:
    """No time of day, no time left: a sync has nothing to commit."""
    desk.request("mail 1")
    approve(desk, desk.request("mail 2"))
    desk.node.brakes.stop("")
    cycle(desk.node)
    before = (desk.vault / "Dashboard.md").stat()
    for _ in range(20):
        desk.clock.advance(3600)
        desk.restart()
        assert cycle(desk.node) == "stopped 1"
    after = (desk.vault / "Dashboard.md").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_brakes_and_failures_show_until_they_are_over(desk: Desk) -> None:
    path = desk.request("mail 1")
    desk.world.trouble = [AdapterError("550 no <b>such</b> user", retry=False)]
    approve(desk, path)
    desk.node.brakes.stop("[[odd]]")
    cycle(desk.node)
    assert "- **Everything is stopped**: “\\[\\[odd\\]\\]”" in note(desk)
    assert "waits: “everything is stopped\\: \\[\\[odd\\]\\]”" in note(desk)
    desk.node.brakes.go()
    desk.clock.advance(10)
    assert cycle(desk.node) == "failed 1, Dashboard.md written"
    assert "stopped" not in note(desk)
    assert "## Failed in the last week (1)" in note(desk) and "550 no \\<b\\>such\\</b\\> user" in note(desk)
    approve(desk, desk.vault / "Pending_Approval/email" / path.name)
    cycle(desk.node)
    assert "Failed" not in note(desk), "approved anew"
    desk.waits = "no sync has gone well since this node was started"
    cycle(desk.node)
    assert "waits: “no sync has gone well since this node was started”" in note(desk)


def test_snoozed_and_expired_requests(desk: Desk) -> None:
    snoozed, late = desk.request("mail 1"), desk.request("mail 2", in_reply_to="<q2@example.org>")
    desk.node.approvals.snooze(snoozed.stem, desk.clock.now().replace(hour=20), by="anna")
    cycle(desk.node)
    assert "Snoozed: 1" in note(desk) and snoozed.stem not in note(desk)
    desk.clock.advance(30 * 3600)
    cycle(desk.node)
    assert "Snoozed" not in note(desk)
    assert f"[[{late.stem}|" in note(desk) and note(desk).count("· expired 2026-06-02 12:00 UTC") == 2


@pytest.mark.parametrize("outcome", ["happened", "ask_again"])
def test_an_unknown_outcome_is_shown_with_its_evidence_until_it_is_settled(desk: Desk, outcome: str) -> None:
    desk.world.lost_answers = [OutcomeUnknown("cut off after [[the]] final dot")]
    record = approve(desk, desk.request("mail 1"))
    desk.clock.advance(10)
    assert cycle(desk.node) == "unknown 1, Dashboard.md written"
    assert "## Nobody knows whether these happened (1)" in note(desk)
    assert "  - evidence: “cut off after \\[\\[the\\]\\] final dot; no proof of it was found" in note(desk)
    assert f"`.venv/bin/python -m scripts.actions settle {record.action_id} ask_again`" in note(desk)
    (listed,) = Api(desk.node).get("/api/actions", state="unknown")["items"]
    assert "final dot" in listed["error"] and listed["reference"]
    desk.executor.settle(record.action_id, outcome, by="anna")
    cycle(desk.node)
    assert "Nobody knows" not in note(desk)
    assert ("Done in the last day" in note(desk)) == (outcome == "happened")
    assert ("## Waits for your word (1)" in note(desk)) == (outcome == "ask_again")


def test_the_clouds_news_are_shown_as_words(desk: Desk) -> None:
    updates = desk.vault / "Updates"
    (updates / "cloud.md").write_text("# News\n\n- 3 mails sorted\n- <!-- ai-employee end --> [[Approved/x]]\n")
    (updates / "link.md").symlink_to(desk.vault.parent / "state")
    (updates / "large.md").write_text("x\n" * 70_000)
    cycle(desk.node)
    assert "- [[cloud]]: “3 mails sorted”\n" in note(desk)
    assert "- [[cloud]]: “\\<\\!-- ai-employee end --\\> \\[\\[Approved/x\\]\\]”\n" in note(desk)
    assert "(2)" in note(desk) and "large" not in note(desk) and "link" not in note(desk)


def test_a_file_that_cannot_be_read_and_has_a_name_that_steers(desk: Desk) -> None:
    (desk.vault / "Pending_Approval/email/x]] **[[y.md").write_bytes(b"\xff")
    cycle(desk.node)
    assert "- a file that can't be read “x\\]\\] \\*\\*\\[\\[y”" in note(desk)


# A person's words


def test_a_note_of_before_keeps_every_byte(desk: Desk) -> None:
    mine = b"---\ntags: [home]\n---\r\n# Mine\n\n- [ ] call Ann \xc3\xa9\n\n\n"
    (desk.vault / "Dashboard.md").write_bytes(mine)
    cycle(desk.node)
    first = (desk.vault / "Dashboard.md").read_bytes()
    assert first.startswith(mine) and b"Nothing waits" in first[len(mine) :]
    (desk.vault / "Dashboard.md").write_bytes(first.replace(b"call Ann", b"call Bob") + b"more")
    desk.request("mail 1")
    cycle(desk.node)
    now = (desk.vault / "Dashboard.md").read_bytes()
    assert now.startswith(mine.replace(b"Ann", b"Bob")) and now.endswith(b"-->\nmore") and b"(1)" in now


def test_what_a_person_saves_in_the_last_moment_stands(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the rename: their bytes are put back, and the next cycle has both."""
    cycle(desk.node)
    path = desk.vault / "Dashboard.md"
    saved = path.read_bytes() + b"saved by a person\n"
    rename: Any = atomic._rename
    turns = iter([True])

    def saved_before(source: Path, target: Path, flag: int) -> bool:
        if target == path and next(turns, False):
            path.write_bytes(saved)
        return bool(rename(source, target, flag))

    desk.request("mail 1")
    monkeypatch.setattr(atomic, "_rename", saved_before)
    assert cycle(desk.node) == "idle"
    assert path.read_bytes() == saved and atomic.temporaries(desk.vault) == []
    assert cycle(desk.node) == "idle, Dashboard.md written"
    assert path.read_bytes().endswith(b"saved by a person\n") and b"(1)" in path.read_bytes()


def test_what_is_written_into_our_part_moves_below(desk: Desk) -> None:
    cycle(desk.node)
    path = desk.vault / "Dashboard.md"
    path.write_text(note(desk).replace("Nothing waits", "- [ ] buy milk\nNothing waits"))
    assert cycle(desk.node) == "idle, Dashboard.md written"
    assert note(desk).index("ai-employee end") < note(desk).index("- [ ] buy milk")
    assert cycle(desk.node) == "idle"


def test_broken_markers_are_told_and_nothing_is_overwritten(desk: Desk) -> None:
    cycle(desk.node)
    path = desk.vault / "Dashboard.md"
    broken = path.read_bytes().replace(b"<!-- ai-employee end -->", b"")
    path.write_bytes(broken)
    approve(desk, desk.request("mail 1"))
    desk.clock.advance(10)
    assert cycle(desk.node) == "sent 1, Dashboard.md left alone"
    assert path.read_bytes() == broken and "once each" in alerts(desk)[0]
    path.write_bytes(b"# Mine\n")
    assert cycle(desk.node) == "idle, Dashboard.md written"


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_what_is_no_file_is_left_alone(desk: Desk, kind: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.md").write_text("not the vault's\n")
    path = desk.vault / "Dashboard.md"
    path.symlink_to(tmp_path / "elsewhere.md") if kind == "link" else path.mkdir()
    assert cycle(desk.node) == "idle, Dashboard.md left alone"
    assert (tmp_path / "elsewhere.md").read_text() == "not the vault's\n" and (path.is_symlink() or path.is_dir())


# Trouble


def test_a_crash_at_any_step_leaves_the_old_note_or_the_new_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Died before, in and after the writing: the mail was sent once, and the next cycle shows it."""
    path = desk.vault / "Dashboard.md"
    real = {name: getattr(os, name) for name in ("open", "fsync")} | {"rename": atomic._rename}
    steps = {"left": 0}

    def counted(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            steps["left"] -= 1
            if steps["left"] == 0:
                raise Killed
            return real[name](*arguments, **options)

        return call

    died = 0
    for at in range(1, 30):
        approve(desk, desk.request(f"mail {at}"))
        desk.clock.advance(10)
        assert desk.cycle() == "sent 1"
        before = path.read_bytes() if path.exists() else b""
        steps["left"] = at
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", counted("fsync"))
            patch.setattr(os, "open", counted("open"))
            patch.setattr(atomic, "_rename", counted("rename"))
            try:
                desk.node.dashboard_note.refresh()
            except Killed:
                died += 1
        left = path.read_bytes() if path.exists() else b""
        assert left == before or (f"Done in the last day ({at})".encode() in left and left.endswith(b"-->\n"))
        desk.restart()
        cycle(desk.node)
        assert f"Done in the last day ({at})" in note(desk)
        if steps["left"] > 0:
            break
    assert died >= 3 and steps["left"] > 0 and desk.world.calls == at


def test_whatever_is_wrong_with_the_note_holds_nothing_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    approve(desk, desk.request("mail 1"))
    desk.clock.advance(10)

    def broken() -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(desk.node.dashboard_note, "refresh", broken)
    assert cycle(desk.node) == "sent 1, Dashboard.md not written"
    assert "No space left on device" in alerts(desk)[0]


# Two nodes


def test_local_alone_writes_it_and_the_cloud_sees_it(make_node: Make, tmp_path: Path, clock: FakeClock) -> None:
    remote = tmp_path / "r.git"
    git(tmp_path, "init", "-q", "--bare", "--initial-branch=main", str(remote))
    local, cloud = (make_node(name, VAULT_REMOTE_URL=str(remote), clock=clock) for name in ("local", "cloud"))
    notes = [node.layout.dashboard for node in (local, cloud)]
    local.sync.run()
    cloud.sync.run()
    before = notes[1].read_bytes()
    (cloud.layout.updates / "cloud.md").write_text("- 2 mails drafted\n")
    (cloud.layout.root / "Pending_Approval/email/email-odd.md").write_text("no properties\n")
    assert "Dashboard.md" not in cycle(cloud) and notes[1].read_bytes() == before
    for node in (cloud, local):
        node.sync.run()
    assert cycle(local).endswith("Dashboard.md written")
    assert (
        b"2 mails drafted" in notes[0].read_bytes()
        and b"[[email-odd|a file that can't be read]]" in notes[0].read_bytes()
    )
    for node in (local, cloud, local):
        assert node.sync.run().refused == []
    assert notes[0].read_bytes() == notes[1].read_bytes()
    head = git(remote, "rev-parse", "main")
    for _ in range(3):
        clock.advance(300)
        assert "Dashboard.md" not in cycle(local) + cycle(cloud)
        local.sync.run()
        cloud.sync.run()
    assert git(remote, "rev-parse", "main") == head, "no commit where nothing happened"


def test_a_local_node_that_may_not_act_tells_all_the_same(make_node: Make, clock: FakeClock) -> None:
    node = make_node("local", AGENT_MODE="draft_only", clock=clock)
    assert cycle(node) == "draft-only: idle, Dashboard.md written"
    assert b"- **This node is draft-only: nothing is carried out.**" in node.layout.dashboard.read_bytes()
