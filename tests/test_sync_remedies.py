"""Each git command that an error of the sync prints, run as it is printed: then the sync goes well."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_sync_restored import TASK, asked_about, keep, put_all_back
from tests.vaults import Node, Two, git
from utils.vault_sync import SyncResult

KEY = "-----BEGIN RSA " + "PRIVATE KEY-----\n"
NOTES: dict[str, str | bytes] = {f"Notes/ö {number}.md": f"{number}\n" for number in range(30)}


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def run_printed(result: SyncResult, folder: Path) -> None:
    """Run in `folder` the git command that the error prints."""
    (line,) = re.findall(r"`(git [^`]*)`", str(result.error))
    subprocess.run(["bash", "-e", "-o", "pipefail", "-c", line], cwd=folder, check=True)


def assert_all_lies_there(node: Node) -> None:
    assert {path: node.read(path).decode() for path in NOTES} == NOTES


# --- here: a slip of the hand, or of a program -----------------------------------------------------------------------


def remove(node: Node) -> None:
    for path in NOTES:
        node.remove(path)


def remove_and_stage(node: Node) -> None:
    node.git("rm", "-r", "-q", "Notes")


def remove_some_and_stage_others(node: Node) -> None:
    node.git("rm", "-q", *list(NOTES)[:20])
    for path in list(NOTES)[20:]:
        node.remove(path)


@pytest.mark.parametrize("slip", [remove, remove_and_stage, remove_some_and_stage_others])
def test_notes_that_are_gone_here(two: Two, slip: Callable[[Node], None]) -> None:
    two.seed_files({**NOTES, "Ideas.md": "old\n"})
    slip(two.a)
    two.a.write("Ideas.md", "an edit that stays\n")
    run_printed(two.a.sync(), two.a.root)
    assert_all_lies_there(two.a)
    assert two.a.sync().error is None and two.a.read("Ideas.md") == b"an edit that stays\n"
    two.settle()
    two.assert_agree()


DAY = "---\ntype: daily\nmood:\nsleep:\n---\n# Tasks\n- [ ] water\n- [ ] mail\n- [ ] walk\n\n# Log\n"
DAYS: dict[str, str | bytes] = {f"Daily/1-{number}.md": f"{DAY}{number}\n" for number in range(20)}


def begin_new_days(folder: Path) -> None:
    """Of twenty days none is left, and eight new ones look much like them: git takes those for renamed ones."""
    for path in DAYS:
        (folder / path).unlink()
    for number in range(8):
        (folder / f"Daily/2-{number}.md").write_text(f"{DAY}new {number}\n")


def test_notes_that_are_gone_here_and_have_new_ones_much_like_them(two: Two) -> None:
    two.seed_files(DAYS)
    begin_new_days(two.a.root)
    two.commit_all(two.a.root)
    run_printed(two.a.sync(), two.a.root)
    two.settle()
    assert {path: two.b.read(path).decode() for path in DAYS} == DAYS and two.b.has("Daily/2-7.md")
    two.assert_agree()


def test_notes_whose_names_git_could_take_for_a_pattern(two: Two) -> None:
    names: dict[str, str | bytes] = {f"Notes/[{number}].md": f"a {number}\n" for number in range(10)}
    two.seed_files({**names, "Notes/1.md": "1\n"})
    for path in names:
        two.a.remove(path)
    two.a.write("Notes/1.md", "my edit\n")
    run_printed(two.a.sync(), two.a.root)
    assert two.a.read("Notes/1.md") == b"my edit\n" and two.a.read("Notes/[1].md") == b"a 1\n"


@pytest.mark.parametrize("committed", [False, True])
def test_notes_that_are_gone_here_come_back_as_they_were_last(two: Two, committed: bool) -> None:
    """Also where others were moved before, with an edit: nothing comes back to where it was moved from."""
    moved, to = f"Needs_Action/email/{TASK}", f"Done/{TASK}"
    two.seed_files({**NOTES, moved: "a task\n"})
    for path in NOTES:
        two.a.write(path, f"{path}, edited\n")
    two.a.move(moved, to)
    two.a.write(to, "a task\ndone, and nothing like it was\n")
    two.commit_all(two.a.root)
    remove(two.a)
    if committed:
        two.commit_all(two.a.root)
    stopped = two.a.sync()
    assert two.a.sync().error == stopped.error, "the same question is the same alert"
    run_printed(stopped, two.a.root)
    two.settle()
    for node in (two.a, two.b):
        assert {node.read(path).decode() for path in NOTES} == {f"{path}, edited\n" for path in NOTES}
        assert node.has(to) and not node.has(moved)
    two.assert_agree()


@pytest.mark.parametrize("staged", [False, True])
def test_the_marker_is_gone_here(two: Two, staged: bool) -> None:
    if staged:
        two.a.git("rm", "-q", ".vault")
    else:
        two.a.remove(".vault")
    run_printed(two.a.sync(), two.a.root)
    assert two.a.sync().error is None
    two.assert_agree()


# --- elsewhere -------------------------------------------------------------------------------------------------------


def one_commit(phone: Path, two: Two) -> None:
    git(phone, "rm", "-r", "-q", "Notes")
    two.commit_all(phone)


def edited_before(phone: Path, two: Two) -> None:
    """In an order of commits that is not the order of paths."""
    paths = list(NOTES)
    for path in paths[:12]:
        (phone / path).write_text("edited\n")
    git(phone, "rm", "-q", "-f", *paths[15:20])
    two.commit_all(phone)
    git(phone, "rm", "-q", "-f", *paths[:15], *paths[20:28])
    two.commit_all(phone)


def by_a_merge(phone: Path, two: Two) -> None:
    git(phone, "checkout", "-q", "-b", "side")
    one_commit(phone, two)
    git(phone, "checkout", "-q", "main")
    git(phone, "merge", "-q", "--no-ff", "-m", "merge", "side")


@pytest.mark.parametrize("deed", [one_commit, edited_before, by_a_merge])
def test_notes_that_a_phone_deleted(two: Two, deed: Callable[[Path, Two], None]) -> None:
    two.seed_files({**NOTES, "Ideas.md": "old\n"})
    phone = two.clone("phone")
    (phone / "Ideas.md").write_text("an edit that stays\n")
    two.commit_all(phone)
    deed(phone, two)
    git(phone, "push", "-q", "origin", "main")
    stopped = two.a.sync()
    assert stopped.error == two.b.sync().error
    run_printed(stopped, phone)
    two.commit_all(phone)
    git(phone, "push", "-q", "origin", "main")
    assert two.a.sync().error is None and two.b.sync().error is None
    assert_all_lies_there(two.b)
    assert two.b.read("Ideas.md") == b"an edit that stays\n"
    two.settle()
    two.assert_agree()


def test_notes_that_a_phone_deleted_and_has_new_ones_much_like_them(two: Two) -> None:
    two.seed_files(DAYS)
    phone = two.clone("phone")
    begin_new_days(phone)
    git(phone, "mv", "Company_Handbook.md", "Notes.md")
    two.commit_all(phone)
    git(phone, "push", "-q")
    run_printed(two.a.sync(), phone)
    two.commit_all(phone)
    git(phone, "push", "-q")
    assert two.a.sync().error is None
    assert {path: two.a.read(path).decode() for path in DAYS} == DAYS and two.a.has("Daily/2-7.md")
    assert not two.a.has("Company_Handbook.md"), "it was moved"


def test_notes_that_local_deleted_before_it_was_put_back(two: Two) -> None:
    two.seed_files(NOTES)
    keep(two.a.root), keep(two.a.state)
    remove(two.a)
    assert two.a.sync(allow_deletions=True).error is None
    put_all_back(two.a)
    two.a.clock.advance(3600)
    own = asked_about(two.a.sync())
    clone = two.clone("clone")
    run_printed(two.a.sync(accept_own=own), clone)
    two.commit_all(clone)
    git(clone, "push", "-q")
    assert two.a.sync(accept_own=own).error is None
    two.settle()
    assert_all_lies_there(two.b)
    two.assert_agree()


# --- a secret in a commit --------------------------------------------------------------------------------------------


def commit_secret(node: Node) -> SyncResult:
    node.write("Notes/s.md", KEY)
    node.git("add", "-A")
    node.git("commit", "-q", "-m", "by hand")
    result = node.sync()
    assert "nothing was pushed" in str(result.error)
    return result


def settle_without(two: Two) -> None:
    two.settle()
    two.assert_agree(loose=frozenset({KEY.encode()}))
    assert KEY.splitlines()[0] not in git(two.remote, "log", "-p", "main")


def test_a_secret_that_was_committed_here(two: Two) -> None:
    two.seed_files({"Notes/x.md": "1\n"})
    two.b.write("Updates/u.md", "u\n")
    two.b.sync()
    two.a.write("Notes/x.md", "2\n")
    run_printed(commit_secret(two.a), two.a.root)
    two.a.write("Notes/s.md", "nothing\n")
    assert two.a.sync().error is None
    settle_without(two)
    assert two.b.read("Notes/x.md") == b"2\n"


def test_a_secret_that_a_person_takes_out_of_the_remote(two: Two) -> None:
    """Both nodes had it. What either wrote since stays, and nothing of it is taken for the other's."""
    two.seed_files({"Notes/x.md": "1\n"})
    before = two.head()
    name = re.search(r"--push-secret (\w+)", str(commit_secret(two.a).error))
    assert name and two.a.sync(push_secret=(name[1],)).error is None
    two.a.write("Notes/x.md", "2\n")
    two.a.write("Company_Handbook.md", "new\n")
    two.b.write("Updates/u.md", "u\n")
    two.settle()
    two.a.remove("Notes/s.md")
    two.settle()
    git(two.remote, "update-ref", "refs/heads/main", before)
    two.b.write("Updates/later.md", "written while it asks\n")
    for node in (two.a, two.b):
        stopped = node.sync(accept_remote=True)
        node.alerts.clear()
        run_printed(stopped, node.root)
        assert node.sync().error is None and node.alerts == []
    settle_without(two)
    assert two.b.read("Company_Handbook.md") == b"new\n" and two.b.conflicts() == {}
    assert two.a.read("Updates/u.md") == b"u\n" and two.a.has("Updates/later.md")
