"""Histories with which a cloud could get round its limits: merges, later commits, copies; and a person's own copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_sync_trust import CLOUD, pushed_by_cloud
from tests.vaults import Two, git

TASK = "email-20260601T100000Z-0a1b2c3d.md"
TODO = f"Needs_Action/email/{TASK}"
DRAFT = f"Pending_Approval/email/{TASK}"


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def push_as_person(two: Two, name: str, files: dict[str, str | None]) -> Path:
    clone = two.clone(name)
    for path, content in files.items():
        target = clone / path
        if content is None:
            target.unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
    two.commit_all(clone)
    git(clone, "push", "-q")
    return clone


def merge_as_cloud(two: Two, *, older: str, strategy: str, edit: dict[str, str] | None = None) -> None:
    """A cloud that had made something of its own on `older` merges main by keeping its own side, or by an edit."""
    clone = two.clone("evil")
    git(clone, "checkout", "-q", "-B", "main", older)
    (clone / "Updates/own.md").write_text("own\n")
    two.commit_all(clone, author=CLOUD)
    git(clone, "fetch", "-q")
    git(clone, "merge", "-q", "--no-commit", "--no-ff", "-s", strategy, "origin/main")
    for path, text in (edit or {}).items():
        (clone / path).write_text(text)
    git(clone, "add", "-A")
    git(clone, "commit", "-q", "-m", "merge", f"--author={CLOUD}")
    git(clone, "push", "-q")


def test_44_a_merge_of_the_clouds_cannot_leave_out_what_a_person_wrote(two: Two) -> None:
    two.seed_files({"gone.md": "to be deleted\n"})
    before = two.head()
    push_as_person(two, "phone", {"Dashboard.md": "# the person's\n", "new.md": "new\n", "gone.md": None})
    merge_as_cloud(two, older=before, strategy="ours")
    result = two.a.sync()
    assert {item["path"] for item in result.refused} == {"Dashboard.md", "new.md", "gone.md"}
    assert two.a.read("Dashboard.md") == b"# the person's\n" and two.a.read("new.md") == b"new\n"
    assert not two.a.has("gone.md") and two.a.has("Updates/own.md")
    two.settle()
    assert two.b.read("Dashboard.md") == b"# the person's\n"
    two.assert_agree()
    assert len(two.a.alerts) == 3, "told once each"


def test_44_a_merge_of_the_clouds_cannot_change_what_it_may_not_write(two: Two) -> None:
    before = two.head()
    push_as_person(two, "phone", {"Dashboard.md": "# the person's\n"})
    merge_as_cloud(two, older=before, strategy="ort", edit={"Dashboard.md": "owned\n", "Approved/x.md": "owned\n"})
    result = two.a.sync()
    assert {item["path"] for item in result.refused} == {"Dashboard.md", "Approved/x.md"}
    assert two.a.read("Dashboard.md") == b"# the person's\n" and not two.a.has("Approved/x.md")
    two.settle()
    two.assert_agree()


def test_a_person_merges_as_they_like(two: Two) -> None:
    """Two phones changed one note; the second one keeps its own side. That is a person's word, not a loss."""
    before = two.head()
    push_as_person(two, "phone", {"note.md": "one\n", "other.md": "one\n"})
    tablet = two.clone("tablet")
    git(tablet, "checkout", "-q", "-B", "main", before)
    (tablet / "note.md").write_text("two\n")
    two.commit_all(tablet)
    git(tablet, "merge", "-q", "-s", "ours", "-m", "mine", "origin/main")
    git(tablet, "push", "-q")
    two.b.write("Updates/n.md", "x\n")
    two.b.sync()
    assert two.a.sync().refused == []
    two.settle()
    assert two.a.read("note.md") == b"two\n" and not two.a.has("other.md")
    two.assert_agree()


def test_a_person_merges_as_they_like_after_the_cloud_did(two: Two) -> None:
    before = two.head()
    two.b.write("Updates/n.md", "x\n")
    push_as_person(two, "phone", {"note.md": "one\n"})
    two.b.sync()
    tablet = two.clone("tablet")
    git(tablet, "checkout", "-q", "-B", "main", before)
    (tablet / "other.md").write_text("two\n")
    two.commit_all(tablet)
    git(tablet, "merge", "-q", "-s", "ours", "-m", "mine", "origin/main")
    git(tablet, "push", "-q")
    assert two.a.sync().refused == []
    assert not two.a.has("note.md") and two.a.has("other.md")


def test_44_a_later_honest_commit_does_not_vouch_for_a_forbidden_one(two: Two) -> None:
    pushed_by_cloud(two, {"Dashboard.md": "owned\n", f"Approved/{TASK}": "approved by nobody\n"})
    push_as_person(two, "phone", {"other.md": "x\n"})
    pushed_by_cloud_again(two, {"Updates/more.md": "x\n"})
    result = two.a.sync()
    assert {item["path"] for item in result.refused} == {"Dashboard.md", f"Approved/{TASK}"}
    assert two.a.read("Dashboard.md") != b"owned\n" and not two.a.has(f"Approved/{TASK}")
    two.settle()
    two.assert_agree()


def pushed_by_cloud_again(two: Two, files: dict[str, str]) -> None:
    clone = two.clone("evil-again")
    for path, text in files.items():
        (clone / path).write_text(text)
    two.commit_all(clone, author=CLOUD)
    git(clone, "push", "-q")


def test_44_what_a_cloud_wrote_and_took_back_is_told(two: Two) -> None:
    pushed_by_cloud(two, {f"Approved/{TASK}": "approved by nobody\n"})
    clone = two.clone("back")
    (clone / f"Approved/{TASK}").unlink()
    two.commit_all(clone, author=CLOUD)
    git(clone, "push", "-q")
    result = two.a.sync()
    assert [item["path"] for item in result.refused] == [f"Approved/{TASK}"]
    assert "took that back" in result.refused[0]["reason"] and len(two.a.alerts) == 1
    assert not two.a.has(f"Approved/{TASK}")
    two.settle()
    assert len(two.a.alerts) == 1, "told once"
    two.assert_agree()


@pytest.mark.parametrize("same", [True, False])
def test_17_a_task_copied_by_hand_stays_where_it_was_put_last(two: Two, same: bool) -> None:
    two.seed_files({TODO: "task\n"})
    two.a.write(f"Rejected/{TASK}", "task\n" if same else "task, with a word why\n")
    two.settle()
    assert [path for path in two.b.files() if path.endswith(f"/{TASK}")] == [f"Rejected/{TASK}"]
    kept = list(two.a.conflicts().values())
    assert [data.endswith(b"\n---\ntask\n") for data in kept] == ([] if same else [True])
    assert [title for _, title, _ in two.a.alerts] == [f"{TASK} lay in two stages"]
    two.assert_agree()


def test_17_a_task_copied_on_the_phone_stays_where_it_was_put_last(two: Two) -> None:
    two.seed_files({TODO: "task\n"})
    push_as_person(two, "phone", {f"In_Progress/local/{TASK}": "task, as it is now\n"})
    two.settle()
    for node in (two.a, two.b):
        assert [path for path in node.files() if path.endswith(f"/{TASK}")] == [f"In_Progress/local/{TASK}"]
    assert [data.endswith(b"\n---\ntask\n") for data in two.a.conflicts().values()] == [True]
    two.assert_agree()


@pytest.mark.parametrize("fixed", ["Approved", "Done", "Done/2026/06"])
def test_17_nothing_is_taken_out_of_approved_or_done_by_a_copy(two: Two, fixed: str) -> None:
    two.seed_files({f"{fixed}/{TASK}": "task\n"})
    two.a.write(f"Rejected/{TASK}", "task\n")
    two.settle()
    assert two.a.has(f"{fixed}/{TASK}") and two.a.has(f"Rejected/{TASK}")
    assert [(level, title) for level, title, _ in two.a.alerts] == [("WARNING", f"{TASK} lies in two stages")]
    two.a.remove(f"{fixed}/{TASK}")
    two.settle()
    assert [path for path in two.b.files() if path.endswith(f"/{TASK}")] == [f"Rejected/{TASK}"]
    two.assert_agree()


def test_17_a_request_copied_into_approved_is_not_left_to_be_approved_again(two: Two) -> None:
    two.seed_files({DRAFT: "draft\n"})
    two.a.write(f"Approved/{TASK}", "draft\n")
    two.settle()
    assert [path for path in two.b.files() if path.endswith(f"/{TASK}")] == [f"Approved/{TASK}"]
    assert two.a.read(f"Approved/{TASK}") == b"draft\n"
    two.assert_agree()


def test_17_a_copy_of_the_clouds_takes_nothing_away(two: Two) -> None:
    two.seed_files({DRAFT: "draft\n", TODO.replace("0a1b", "ffff"): "task\n"})
    copy = f"Done/{TASK}"
    pushed_by_cloud(two, {copy: "done, it says\n", f"In_Progress/cloud/{TASK}".replace("0a1b", "ffff"): "task\n"})
    result = two.a.sync()
    assert {item["path"] for item in result.refused} == {copy, f"In_Progress/cloud/{TASK}".replace("0a1b", "ffff")}
    assert all("already" in item["reason"] for item in result.refused)
    assert two.a.has(DRAFT) and not two.a.has(copy)
    two.settle()
    two.assert_agree()


def test_17_two_notes_of_one_name_are_no_copy(two: Two) -> None:
    two.a.write("Needs_Action/general/shopping.md", "one\n")
    two.settle()
    two.a.write("Done/shopping.md", "last week's\n")
    two.settle()
    assert two.b.has("Needs_Action/general/shopping.md") and two.b.has("Done/shopping.md")
    two.assert_agree()
