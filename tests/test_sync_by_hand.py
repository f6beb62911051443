"""What a person did with plain git in the node's own vault: a merge left half done, and commits that passed no gate."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_sync_restored import LOCAL, asked_about, keep, put_all_back
from tests.vaults import Node, Two, git
from utils.vault_sync import Answers, VaultSync

TYPED = "half an hour of work"


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def merge_by_half(two: Two, operation: str = "merge") -> None:
    """A `git pull` that stopped in a conflict, and a person who typed into the marked file."""
    two.a.write("note.md", "mine\n")
    two.commit_all(two.a.root, "mine")
    two.a.git("fetch", "-q")
    two.a.git(operation, "origin/main", check=False)
    marked = two.a.read("note.md").decode()
    assert "<<<<<<<" in marked
    two.a.write("note.md", f"{marked}{TYPED}\n")


def has_typed(two: Two, branch: str = "main") -> bool:
    return bool(two.a.git("log", branch, "-S", TYPED, "--format=%h").strip())


@pytest.mark.parametrize("operation", ["merge", "rebase"])
@pytest.mark.parametrize("how", ["stopped by a gate", "killed"])
def test_what_was_typed_into_a_half_done_merge_is_in_history_whatever_stops_the_sync(
    two: Two, how: str, operation: str
) -> None:
    two.seed_files({f"Notes/{number}.md": f"{number}\n" for number in range(30)} | {"note.md": "1\n"})
    phone = two.clone("phone")
    (phone / "note.md").write_text("the phone's\n")
    if how == "stopped by a gate":
        git(phone, "rm", "-rq", "Notes")
    two.commit_all(phone)
    git(phone, "push", "-q")
    merge_by_half(two, operation)
    if how == "killed":
        assert two.a.sync_and_die("gathered")
    else:
        assert "30 of" in str(two.a.sync().error)
    assert TYPED.encode() in two.a.read("note.md") or has_typed(two, "HEAD")
    assert two.a.sync(allow_deletions=True).error is None
    two.settle()
    assert has_typed(two)
    two.assert_agree()


def test_a_person_answers_in_the_middle_of_a_merge_whose_commits_are_these(two: Two) -> None:
    """The vault was put back, and a `git pull` there stopped in a conflict; the remote went on meanwhile."""
    two.seed_files({"note.md": "1\n"})
    keep(two.a.root), keep(two.a.state)
    two.a.write("note.md", "2\n")
    two.settle()
    put_all_back(two.a)
    two.a.clock.advance(3600)
    merge_by_half(two)
    two.b.write("Updates/u.md", "u\n")
    two.b.sync()
    asked = two.a.sync()
    assert has_typed(two, "HEAD")
    assert two.a.sync(accept_own=asked_about(asked)).error is None
    two.settle()
    assert has_typed(two) and two.a.has("Updates/u.md")
    two.assert_agree()


TASK = "general-20260601T100000Z-0123abcd.md"


def backup(two: Two) -> None:
    """As obsidian-git does it, in the node's own name."""
    two.a.git("add", "-A")
    two.a.git("commit", "-q", "-m", "vault backup", f"--author={LOCAL}", check=False)


def lose_notes(two: Two) -> None:
    two.seed_files({f"Notes/{number}.md": f"{number}\n" for number in range(30)})
    shutil.rmtree(two.a.root / "Notes")
    backup(two)


def has_notes(node: Node) -> int:
    return sum(node.has(f"Notes/{number}.md") for number in range(30))


def test_a_mass_deletion_that_a_program_committed_asks_first(two: Two) -> None:
    lose_notes(two)
    two.a.write("since.md", "written since\n")
    for _ in range(2):
        stopped = str(two.a.sync().error)
        assert "30 of" in stopped and two.b.sync().error is None and has_notes(two.b) == 30
    remedy = re.findall("`([^`]*)`", stopped)[-1]
    subprocess.run(["bash", "-c", remedy], cwd=two.a.root, check=True)
    two.settle()
    assert has_notes(two.a) == has_notes(two.b) == 30 and two.b.has("since.md")
    two.assert_agree()


def test_a_mass_deletion_that_a_person_allowed_is_asked_about_once(two: Two) -> None:
    """Also where nothing could be pushed, or the sync that brings it to the other node is killed."""
    lose_notes(two)
    two.remote.rename(two.folder / "away")
    assert two.a.sync(allow_deletions=True).result == "offline"
    (two.folder / "away").rename(two.remote)
    assert two.a.sync().error is None
    assert two.b.sync_and_die("moved")
    assert [result.error for result in two.settle()] == [None] * 4
    assert has_notes(two.b) == 0
    two.assert_agree()


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("step", ["committed", "fetched", "pushed"])
def test_a_mass_deletion_that_was_allowed_is_not_asked_about_after_a_kill(
    two: Two, step: str, committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_notes(two)
    if not committed:
        two.a.git("reset", "-q", "--soft", "HEAD~1")
    elif step == "committed":
        two.a.write("since.md", "written since\n")
    kill_once_allowed(two.a, step, monkeypatch)
    assert two.a.sync().error is None
    two.settle()
    assert has_notes(two.b) == 0
    two.assert_agree()


def kill_once_allowed(node: Node, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = VaultSync.run
    with monkeypatch.context() as patched:
        patched.setattr(VaultSync, "run", lambda sync: run(sync, Answers(allow_deletions=True)))
        assert node.sync_and_die(step)


def test_a_phones_mass_deletion_that_was_allowed_is_not_asked_about_after_a_kill(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.seed_files({f"Notes/{number}.md": f"{number}\n" for number in range(30)})
    phone = two.clone("phone")
    git(phone, "rm", "-rq", "Notes")
    two.commit_all(phone)
    git(phone, "push", "-q")
    kill_once_allowed(two.a, "moved", monkeypatch)
    assert two.a.sync().error is None and has_notes(two.a) == 0


def test_a_mass_deletion_that_local_allowed_and_that_is_pulled_into_the_clouds_vault(two: Two) -> None:
    lose_notes(two)
    two.a.sync(allow_deletions=True)
    two.b.git("pull", "-q")
    assert two.b.sync().error is None
    two.settle()
    two.assert_agree()


def test_a_look_at_an_old_commit_asks_nothing(two: Two) -> None:
    """After a mass deletion that was meant."""
    two.seed_files({f"Notes/{number}.md": f"{number}\n" for number in range(30)})
    old = two.head()
    shutil.rmtree(two.a.root / "Notes")
    two.a.sync(allow_deletions=True)
    two.a.git("checkout", "-q", old)
    assert two.a.sync().error is None
    two.settle()
    assert has_notes(two.a) == 0
    two.assert_agree()


def look_at_another_branch(two: Two) -> None:
    """From before the newest commit."""
    two.a.git("checkout", "-q", "-b", "idea", "HEAD~1")


def rebase_by_half(two: Two) -> None:
    """`git pull --rebase` stops at the first of two commits."""
    phone = two.clone("phone")
    (phone / "note.md").write_text("the phone's\n")
    two.commit_all(phone)
    git(phone, "push", "-q")
    two.a.git("reset", "-q", "--soft", "HEAD~1")
    two.a.git("stash", "-q", "-u")
    two.a.write("note.md", "mine\n")
    backup(two)
    two.a.git("stash", "pop", "-q")
    backup(two)
    two.a.git("pull", "-q", "--rebase", check=False)
    assert "rebase-merge" in two.a.state_of_git()


ELSEWHERE = pytest.mark.parametrize("elsewhere", [look_at_another_branch, rebase_by_half])


@ELSEWHERE
def test_a_mass_deletion_that_was_committed_before_head_went_elsewhere_asks(
    two: Two, elsewhere: Callable[[Two], None]
) -> None:
    two.seed_files({"note.md": "1\n"})
    lose_notes(two)
    elsewhere(two)
    stopped = str(two.a.sync().error)
    assert "30 of" in stopped and "are gone here" in stopped
    subprocess.run(["bash", "-c", re.findall("`([^`]*)`", stopped)[-1]], cwd=two.a.root, check=True)
    two.settle()
    assert has_notes(two.a) == has_notes(two.b) == 30
    two.assert_agree()


@ELSEWHERE
def test_a_copied_task_and_twins_that_were_committed_before_head_went_elsewhere(
    two: Two, elsewhere: Callable[[Two], None]
) -> None:
    two.seed_files({"note.md": "1\n", f"Needs_Action/general/{TASK}": "task\n"})
    two.a.write(f"Rejected/{TASK}", "task\n")
    two.a.write("Note.md", "a twin\n")
    backup(two)
    elsewhere(two)
    two.settle()
    for node in (two.a, two.b):
        assert [path for path in node.files() if path.endswith(f"/{TASK}")] == [f"Rejected/{TASK}"]
    assert two.a.read("Note.md") == b"a twin\n" and not two.b.has("Note.md")
    assert [item["path"] for item in two.a.sync().refused] == ["Note.md"]
    two.a.move("Note.md", "other.md")
    two.settle()
    two.assert_agree()


@pytest.mark.parametrize("node", ["a", "b"])
def test_a_mass_deletion_of_a_phones_that_is_pulled_with_plain_git_asks(two: Two, node: str) -> None:
    two.seed_files({f"Notes/{number}.md": f"{number}\n" for number in range(30)})
    phone = two.clone("phone")
    git(phone, "rm", "-rq", "Notes")
    two.commit_all(phone)
    git(phone, "push", "-q")
    here: Node = getattr(two, node)
    here.git("pull", "-q")
    stopped = str(here.sync().error)
    assert "30 of" in stopped
    subprocess.run(["bash", "-c", re.findall("`([^`]*)`", stopped)[-1]], cwd=here.root, check=True)
    assert has_notes(here) == 30


def test_notes_that_go_one_by_one_ask_nothing(two: Two) -> None:
    """While the remote is away each sync counts anew, as it does with the remote there."""
    two.seed_files({f"Notes/{number}.md": f"{number}\n" for number in range(16)})
    two.remote.rename(two.folder / "away")
    for number in range(16):
        two.a.remove(f"Notes/{number}.md")
        assert two.a.sync().result == "offline"
    (two.folder / "away").rename(two.remote)
    assert two.a.sync().error is None


def test_a_vault_marker_that_a_program_committed_away_is_asked_about(two: Two) -> None:
    two.a.remove(".vault")
    backup(two)
    stopped = str(two.a.sync().error)
    assert ".vault is gone" in stopped
    remedy = re.findall("`([^`]*)`", stopped)[0]
    subprocess.run(["bash", "-c", remedy], cwd=two.a.root, check=True)
    two.settle()
    two.assert_agree()


@pytest.mark.parametrize("same", [False, True])
def test_a_copied_task_that_a_program_committed_lies_in_one_stage(two: Two, same: bool) -> None:
    todo = f"Needs_Action/general/{TASK}"
    two.seed_files({todo: "task\n"})
    two.a.write(f"Rejected/{TASK}", "task\n" if same else "no, because\n")
    backup(two)
    two.settle()
    for node in (two.a, two.b):
        assert [path for path in node.files() if path.endswith(f"/{TASK}")] == [f"Rejected/{TASK}"]
    assert len(two.a.conflicts()) == (not same)
    assert [title for _, title, _ in two.a.alerts] == [f"{TASK} lay in two stages"]
    two.assert_agree()


def test_names_that_clash_and_that_a_program_committed_do_not_travel(two: Two) -> None:
    two.seed_files({"Notes/x.md": "old\n"})
    two.a.write("Notes/X.md", "new\n")
    for _ in range(3):
        backup(two)
        assert [item["path"] for item in two.a.sync().refused] == ["Notes/X.md"]
        two.settle()
    assert two.a.git("log", "--oneline", "--", "Notes/X.md").count("\n") == 2, "added once, and left out once"
    assert two.a.read("Notes/X.md") == b"new\n" and not two.b.has("Notes/X.md") and two.b.read("Notes/x.md") == b"old\n"
    two.a.move("Notes/X.md", "Notes/other.md")
    two.settle()
    assert two.b.read("Notes/other.md") == b"new\n"
    two.assert_agree()


def test_what_plain_git_commits_of_other_types_and_sizes_travels(two: Two) -> None:
    """It is a person's vault, as where they push it."""
    files = ["Notes/big.pdf", "Notes/archive.zip", ".obsidian/workspace.json", "Logs/health/h.json"]
    for path in files:
        two.a.write(path, b"x" * (two.a.max_file_bytes + 1))
    two.a.git("add", "-f", *files)
    two.a.git("commit", "-q", "-m", "vault backup")
    assert [result.refused for result in two.settle()] == [[]] * 4
    assert all(two.b.has(path) for path in files)
