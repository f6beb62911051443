"""A path that is a file on one side and a folder on the other: what stands is never deleted for what comes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.test_sync_security import CLOUD
from tests.vaults import Two, git

TASK = "email-20260601T100000Z-0a1b2c3d"
REQUEST = f"Pending_Approval/email/{TASK}.md"
TEXT = "---\naction: send_email\ncreated_by: local\n---\n## Draft\n\nhello from the human\n"
ADA = "Ada <ada@example.org>"


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def replace_by_folder(root: Path, path: str, inside: str) -> None:
    """The file at `path` gives way to a file `inside` it, as any program can do it."""
    (root / path).unlink()
    (root / path / inside).parent.mkdir(parents=True)
    (root / path / inside).write_text("from elsewhere\n")


def pushed(two: Two, author: str = CLOUD) -> Path:
    """A third clone, up to date, whose work is pushed by `push`."""
    clone = two.clone("elsewhere")
    git(clone, "config", "user.email", author.partition("<")[2].rstrip(">"))
    return clone


def push(two: Two, clone: Path, author: str = CLOUD) -> None:
    two.commit_all(clone, author=author)
    git(clone, "push", "-q")


@pytest.mark.parametrize("conventions", [True, False])
@pytest.mark.parametrize(
    "path",
    [
        REQUEST,
        f"Done/{TASK}.md",
        f"Done/{TASK}.reason.md",
        "Logs/claims.jsonl",
        "Logs/actions/2026-06-01.jsonl",
        "Quarantine/x.md",
    ],
)
def test_the_cloud_puts_a_folder_in_the_place_of_a_file_of_locals(
    two: Two, path: str, conventions: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by the names alone (`conventions`): what may not go takes with it what needs its room."""
    if not conventions:
        monkeypatch.setattr("utils.core.policy._NOTES", ("no such ending",))
    text = '{"a":1}\n' if path.endswith(".jsonl") else TEXT
    two.a.write(path, text)
    two.settle()
    clone = pushed(two)
    inside = "deep/inside.jsonl" if path.endswith(".jsonl") else "deep/inside.md"
    replace_by_folder(clone, path, inside)
    push(two, clone)
    results = two.settle()
    for node in (two.a, two.b):
        assert node.read(path).decode() == text
    refused = {one["path"] for one in results[0].refused}
    assert refused == {path, f"{path}/{inside}"}
    assert b"from elsewhere\n" in b"".join(two.a.conflicts().values())
    two.assert_agree()


def test_the_cloud_puts_a_file_in_the_place_of_a_folder_of_locals(two: Two) -> None:
    folder = "Pending_Approval/email/mine.md"
    two.a.write(f"{folder}/{TASK}.md", TEXT)
    two.a.write(f"{folder}/notes/more.md", TEXT)
    two.settle()
    clone = pushed(two)
    shutil.rmtree(clone / folder)
    (clone / folder).write_text("from elsewhere\n")
    push(two, clone)
    two.settle()
    assert two.a.read(f"{folder}/{TASK}.md").decode() == TEXT
    assert two.a.read(f"{folder}/notes/more.md").decode() == TEXT
    two.assert_agree()


@pytest.mark.parametrize("other", ["Pending_Approval/email/GR\u00dcN.md", "Pending_Approval/email/gru\u0308n.md"])
@pytest.mark.parametrize("inside", ["", "/inside.md"])
def test_a_name_that_differs_in_case_or_composition_does_not_take_the_place_either(
    two: Two, other: str, inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("utils.core.policy._NOTES", ("no such ending",))
    path = "Pending_Approval/email/gr\u00fcn.md"
    two.a.write(path, TEXT)
    two.settle()
    clone = pushed(two)
    (clone / path).unlink()
    (clone / f"{other}{inside}").parent.mkdir(parents=True, exist_ok=True)
    (clone / f"{other}{inside}").write_text("from elsewhere\n")
    push(two, clone)
    two.settle()
    assert two.a.read(path).decode() == TEXT
    assert f"{other}{inside}" not in two.a.files()
    two.assert_agree()


def test_what_is_refused_so_takes_the_other_half_of_its_move_along(two: Two) -> None:
    """The Cloud moves a plan into a folder that would need the place of Local's request: the plan stays."""
    two.a.write(REQUEST, TEXT)
    two.b.write("Plans/email/plan.md", "a plan\n")
    two.settle()
    clone = pushed(two)
    (clone / REQUEST).unlink()
    (clone / REQUEST).mkdir()
    (clone / "Plans/email/plan.md").rename(clone / REQUEST / "plan.md")
    push(two, clone)
    two.settle()
    assert two.a.read(REQUEST).decode() == TEXT
    assert two.a.read("Plans/email/plan.md") == b"a plan\n"
    two.assert_agree()


def test_what_is_refused_takes_no_file_away_for_its_room(two: Two) -> None:
    """The Cloud may withdraw its own draft; it may not put a folder there, so neither happens."""
    text = "---\ncreated_by: cloud\n---\ndraft\n"
    two.b.write(REQUEST, text)
    two.settle()
    clone = pushed(two)
    replace_by_folder(clone, REQUEST, "inside.md")
    push(two, clone)
    two.settle()
    assert two.a.read(REQUEST).decode() == two.b.read(REQUEST).decode() == text
    two.assert_agree()


def test_a_person_puts_a_folder_in_the_place_of_what_is_done(two: Two) -> None:
    path = f"Done/{TASK}.md"
    two.a.write(path, TEXT)
    two.settle()
    clone = pushed(two, ADA)
    replace_by_folder(clone, path, "mine.md")
    push(two, clone, ADA)
    two.settle()
    assert two.a.read(path).decode() == TEXT
    two.assert_agree()


@pytest.mark.parametrize("conventions", [True, False])
def test_the_clouds_own_node_puts_no_folder_there(two: Two, conventions: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an honest Cloud's disk has for a moment, it neither commits nor keeps."""
    if not conventions:
        monkeypatch.setattr("utils.core.policy._NOTES", ("no such ending",))
    two.a.write(REQUEST, TEXT)
    two.settle()
    replace_by_folder(two.b.root, REQUEST, "inside.md")
    two.b.sync()
    assert two.b.git("show", f"HEAD:{REQUEST}") == TEXT == two.b.read(REQUEST).decode()
    two.settle()
    assert two.a.read(REQUEST).decode() == two.b.read(REQUEST).decode() == TEXT
    assert b"from elsewhere\n" in b"".join(two.a.conflicts().values())
    two.assert_agree()


def test_local_removes_a_file_and_the_cloud_writes_below_its_name(two: Two) -> None:
    """Nothing stands in the way then: both happen."""
    two.a.write("Plans/email/trip.csv", "old\n")
    two.settle()
    two.a.remove("Plans/email/trip.csv")
    two.b.remove("Plans/email/trip.csv")
    two.b.write("Plans/email/trip.csv/inside.md", "below\n")
    two.b.sync()
    two.settle()
    assert two.a.read("Plans/email/trip.csv/inside.md") == b"below\n"
    two.assert_agree()


@pytest.mark.parametrize("step", ["gathered", "fetched", "decided", "intent"])
def test_a_file_appears_here_while_a_folder_of_its_name_arrives(two: Two, step: str) -> None:
    """Neither text is lost: Local's stands, the other is kept."""
    two.settle()
    two.b.write("Plans/email/trip/inside.md", "the cloud's\n")
    two.b.sync()

    def write(passed: str) -> None:
        if passed == step and not (two.a.root / "Plans/email/trip").exists():
            two.a.write("Plans/email/trip", "a stranger's kind\n")

    two.a.checkpoint = write
    two.a.sync()
    two.a.checkpoint = lambda passed: None
    two.settle()
    assert "Plans/email/trip/inside.md" in two.b.files()
    assert two.a.read("Plans/email/trip") == b"a stranger's kind\n"


@pytest.mark.parametrize("name", "ab")
@pytest.mark.parametrize("file_comes", [True, False])
@pytest.mark.parametrize("step", ["gathered", "intent"])
def test_a_note_appears_here_while_a_folder_of_its_name_arrives(
    two: Two, name: str, file_comes: bool, step: str
) -> None:
    """Or a folder, while a note arrives: Local's stands on both, and the Cloud's text is kept."""
    here, there = (two.a, two.b) if name == "a" else (two.b, two.a)
    two.settle()
    place = "Plans/email/trip.csv"
    arrives, appears = (place, f"{place}/inside.csv") if file_comes else (f"{place}/inside.csv", place)
    there.write(arrives, f"of {there.zone}\n")
    there.sync()

    def write(passed: str) -> None:
        if passed == step and not (here.root / place).exists():
            here.write(appears, f"of {here.zone}\n")

    here.checkpoint = write
    here.sync()
    here.checkpoint = lambda passed: None
    two.settle()
    two.settle()
    stands = appears if name == "a" else arrives
    assert two.a.read(stands) == two.b.read(stands) == b"of local\n"
    assert any(b"of cloud\n" in data for data in two.a.conflicts().values())
    two.assert_agree()
