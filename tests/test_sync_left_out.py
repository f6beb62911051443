"""What no node takes, and a person committed here with plain git: left out while it is so, and a note again after."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.test_sync_by_hand import backup
from tests.vaults import Two, git


@pytest.fixture
def two(tmp_path: Path) -> Two:
    two = Two(tmp_path)
    two.seed_files({"Notes/x.md": "one\n", "Notes/y.md": "y\n"})
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


def test_what_a_person_wrote_into_the_list_of_ignored_files_stays(two: Two) -> None:
    exclude = two.a.root / ".git/info/exclude"
    exclude.parent.mkdir(exist_ok=True)
    exclude.write_text("/mine.md")
    (two.a.root / "Notes/link.md").symlink_to("y.md")
    backup(two)
    two.a.sync()
    assert "/mine.md\n" in exclude.read_text() and "/Notes/link.md\n" in exclude.read_text()
    two.a.remove("Notes/link.md")
    two.a.sync()
    assert exclude.read_text() == "/mine.md\n"
