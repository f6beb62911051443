"""What no node takes, and a person committed here with plain git: left out while it is so, and a note again after."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.test_sync_by_hand import TASK, backup
from tests.vaults import Node, Two, git
from utils.vault import worktree
from utils.vault.worktree import Lying


@pytest.fixture
def two(tmp_path: Path) -> Two:
    two = Two(tmp_path)
    two.seed_files({"Notes/x.md": "one\n", "Notes/y.md": "y\n", "Logs/x.jsonl": '{"at":"2025-01-01"}\n'})
    return two


def commits(two: Two) -> int:
    return int(two.a.git("rev-list", "--count", "HEAD"))


def make_repository(folder: Path) -> None:
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    (folder / "plan.md").write_text("plan\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "x")


def test_what_becomes_fit_is_a_note_again(two: Two) -> None:
    make_repository(two.a.root / "Projects/site")
    (two.a.root / "Notes/link.md").symlink_to("y.md")
    backup(two)
    for _ in range(2):
        assert [item["path"] for item in two.a.sync().refused] == ["Notes/link.md", "Projects/site"]
    assert len(two.a.alerts) == 2, "told once, and in each result"
    shutil.rmtree(two.a.root / "Projects/site/.git")
    two.a.write("Projects/site/new.md", "written later\n")
    two.a.remove("Notes/link.md")
    two.a.write("Notes/link.md", "a note now\n")
    two.settle()
    assert two.b.read("Projects/site/plan.md") == b"plan\n" and two.b.has("Projects/site/new.md")
    assert two.b.read("Notes/link.md") == b"a note now\n"
    two.assert_agree()


def test_a_note_that_is_being_written_over_a_link_travels_when_it_is_done(two: Two) -> None:
    (two.a.root / "Notes/link.md").symlink_to("y.md")
    backup(two)
    two.a.settle_seconds = 2.0
    two.a.remove("Notes/link.md")
    two.a.write("Notes/link.md", "a note\n")
    now = two.a.clock.now().timestamp()
    os.utime(two.a.root / "Notes/link.md", (now - 0.5, now - 0.5))
    two.a.sync()
    two.a.clock.advance(60)
    two.settle()
    assert two.b.read("Notes/link.md") == b"a note\n"


def test_a_folder_spelt_like_a_stage_is_told_and_named_in_each_sync(two: Two) -> None:
    two.a.write("needs_action/mine.md", "my plan\n")
    backup(two)
    for text in ("my plan\n", "my plan, longer\n"):
        two.a.write("needs_action/mine.md", text)
        assert [item["path"] for item in two.a.sync().refused] == ["needs_action/mine.md"]
    assert [title for _, title, _ in two.a.alerts] == ["Not synced: needs_action/mine.md"]
    two.a.move("needs_action/mine.md", "Notes/mine.md")
    two.settle()
    assert two.b.read("Notes/mine.md") == b"my plan, longer\n"


@pytest.mark.parametrize("end", ["a note again", "the same note again", "gone"])
def test_a_link_in_a_notes_place_is_added_once_and_takes_nothing_back(two: Two, end: str) -> None:
    """The program that commits everything would else add it again, for ever."""
    two.remote.rename(two.folder / "away")
    two.a.write("Notes/x.md", "two\n")
    two.a.sync()
    (two.folder / "away").rename(two.remote)
    two.a.remove("Notes/x.md")
    (two.a.root / "Notes/x.md").symlink_to("y.md")
    backup(two)
    two.settle()
    before = commits(two)
    for _ in range(3):
        backup(two)
        two.settle()
    assert commits(two) == before
    assert two.b.read("Notes/x.md") == b"two\n" and (two.a.root / "Notes/x.md").is_symlink()
    two.a.remove("Notes/x.md")
    if end != "gone":
        two.a.write("Notes/x.md", "two\n" if end.startswith("the same") else "three\n")
    two.settle()
    assert two.b.has("Notes/x.md") == (end != "gone")
    two.a.write("Notes/x.md", "four\n")
    assert two.a.git("status", "--porcelain"), "plain git sees it again"
    two.settle()
    assert two.b.read("Notes/x.md") == b"four\n"
    two.assert_agree()


def test_a_name_with_any_character_is_added_once_and_hides_no_other(two: Two) -> None:
    names = [b"new\nline.md", b"!bang?.md", b"trail .md ", b"\xff.md", b"star*[a].md", b"#hash:.md", b"back\\slash.md"]
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(two.a.root), b"Notes", name))).write_bytes(b"t\n")
    backup(two)
    two.settle()
    before = commits(two)
    for _ in range(2):
        backup(two)
        assert len(two.a.sync().refused) == len(names)
    assert commits(two) == before
    for name in ("new-line.md", "newxline.md", "new line.md", "newéline.md"):
        two.a.write(f"Notes/{name}", "a note\n")
    two.settle()
    assert two.b.has("Notes/new-line.md") and two.b.has("Notes/newéline.md")


def push_from_a_phone(two: Two, path: str, text: str) -> None:
    phone = two.clone("phone")
    (phone / path).write_text(text)
    two.commit_all(phone)
    git(phone, "push", "-q")


def put_link(two: Two, path: str, to: str) -> None:
    (two.a.root / path).unlink(missing_ok=True)
    (two.a.root / path).symlink_to(to)
    backup(two)
    two.settle()


@pytest.mark.parametrize("end", ["gone", "as it was"])
@pytest.mark.parametrize("path", ["Notes/x.md", "Notes/link.md", "Logs/x.jsonl"])
def test_what_came_to_a_place_that_was_left_out_is_there_when_the_link_goes(two: Two, path: str, end: str) -> None:
    """Several syncs later. A note that the human takes away there, and somebody else edited, is kept aside."""
    before = two.a.read(path) if two.a.has(path) else b""
    now = before + b'{"at":"2026-01-01"}\n'
    put_link(two, path, "y.md")
    push_from_a_phone(two, path, now.decode())
    two.settle()
    two.settle()
    two.a.remove(path)
    if before and end == "as it was":
        two.a.write(path, before)
    two.settle()
    if path == "Notes/x.md" and end == "gone":
        assert not two.b.has(path) and [data.endswith(now) for data in two.b.conflicts().values()] == [True]
    else:
        assert two.b.read(path) == now
    two.assert_agree()


@pytest.mark.parametrize("how", ["a program commits all", "a program commits deletions only"])
def test_the_notes_of_a_folder_that_is_moved_away_and_linked_to_stay(two: Two, how: str) -> None:
    notes: dict[str, str | bytes] = {f"Projects/{number}.md": f"{number}\n" for number in range(30)}
    two.seed_files(notes)
    away = two.folder / "away"
    two.a.write("Projects/0.md", "edited\n")
    backup(two)
    (two.a.root / "Projects").rename(away)
    (two.a.root / "Projects").symlink_to(away)
    if how.endswith("all"):
        backup(two)
    else:
        two.a.git("commit", "-q", "-a", "-m", "x")
    two.settle()
    (away / "1.md").unlink()
    before = commits(two)
    for _ in range(3):
        backup(two)
        results = two.settle()
    assert commits(two) == before and [item["path"] for item in results[0].refused] == ["Projects"]
    assert [title for _, title, _ in two.a.alerts] == ["Not synced: Projects"]
    assert all(two.b.has(path) for path in notes) and two.b.read("Projects/0.md") == b"edited\n"
    push_from_a_phone(two, "Projects/2.md", "the phone's\n")
    two.settle()
    two.a.remove("Projects")
    shutil.copytree(away, two.a.root / "Projects")
    two.settle()
    assert two.a.read("Projects/2.md") == b"the phone's\n" and not two.b.has("Projects/1.md")
    two.assert_agree()


def test_an_edit_that_was_committed_before_the_link_stays(two: Two) -> None:
    two.a.write("Notes/x.md", "edited\n")
    backup(two)
    put_link(two, "Notes/x.md", "y.md")
    assert two.b.read("Notes/x.md") == b"edited\n"


def places(node: Node) -> list[str]:
    return [path for path in node.files() if path.endswith(f"/{TASK}")]


@pytest.mark.parametrize("stage", ["Rejected", "Done", "Pending_Approval/general"])
def test_a_link_to_a_task_in_another_stage_is_no_copy_of_it(two: Two, stage: str) -> None:
    todo = f"Needs_Action/general/{TASK}"
    two.seed_files({todo: "task\n"})
    (two.a.root / f"{stage}/{TASK}").symlink_to(two.a.root / todo)
    backup(two)
    for node in (two.a, two.b):
        node.sync()
        assert places(node) == [todo] and not node.conflicts()
    assert [title for _, title, _ in two.a.alerts] == [f"Not synced: {stage}/{TASK}"]


@pytest.mark.parametrize("committed", [False, True])
def test_a_link_that_a_moved_task_left_behind_is_no_second_place(two: Two, committed: bool) -> None:
    todo, no = f"Needs_Action/general/{TASK}", f"Rejected/{TASK}"
    two.seed_files({todo: "task\n"})
    two.a.move(todo, no)
    (two.a.root / todo).symlink_to(two.a.root / no)
    if committed:
        backup(two)
    for _ in range(2):
        two.settle()
        assert places(two.a) == places(two.b) == [no] and not two.a.conflicts()
    assert (two.a.root / todo).is_symlink()


@pytest.mark.parametrize("state", ["gone", "damaged"])
def test_a_link_that_goes_when_the_state_is_lost_is_noticed(two: Two, state: str) -> None:
    put_link(two, "Notes/x.md", "y.md")
    if state == "gone":
        (two.a.state / "sync.json").unlink()
    else:
        (two.a.state / "sync.json").write_text("{")
    two.a.remove("Notes/x.md")
    two.settle()
    assert not two.b.has("Notes/x.md")
    two.assert_agree()


def test_what_is_left_out_and_can_not_be_looked_at_stops_nothing(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the refusal of the system is made here."""
    put_link(two, "Notes/link.md", "y.md")
    look = worktree.look

    def refusing(root: Path, path: str) -> Lying:
        if path == "Notes/link.md":
            raise PermissionError(13, "Permission denied", str(root / path))
        return look(root, path)

    two.a.write("Notes/new.md", "new\n")
    with monkeypatch.context() as patched:
        patched.setattr(worktree, "look", refusing)
        result = two.a.sync()
    assert result.error is None and [item["path"] for item in result.refused] == ["Notes/link.md"]
    two.settle()
    assert two.b.has("Notes/new.md")


def test_what_a_person_wrote_into_the_list_of_ignored_files_stays(two: Two) -> None:
    exclude = two.a.root / ".git/info/exclude"
    exclude.parent.mkdir(exist_ok=True)
    exclude.write_text("/mine.md")
    (two.a.root / "Notes/link.md").symlink_to("y.md")
    backup(two)
    two.a.sync()
    assert "/mine.md\n" in exclude.read_text() and "/Notes/link.md\n" in exclude.read_text()
    exclude.write_text(exclude.read_text() + "/later.md\n")
    two.a.remove("Notes/link.md")
    two.a.sync()
    assert exclude.read_text() == "/mine.md\n/later.md\n"
