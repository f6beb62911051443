"""What a person did with plain git in the node's own vault: a merge left half done, and commits that passed no gate."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_sync_restored import asked_about, keep, put_all_back
from tests.vaults import Two, git

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


@pytest.mark.parametrize(
    ("operation", "how"), [("merge", "stopped by a gate"), ("merge", "killed"), ("rebase", "killed")]
)
def test_what_was_typed_into_a_half_done_merge_is_in_history_whatever_stops_the_sync(
    two: Two, operation: str, how: str
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
