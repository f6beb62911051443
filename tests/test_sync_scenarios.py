"""The numbered histories of two vaults and one remote: edits, moves, claims and approvals on both sides."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from tests.vaults import Node, Two, git

TASK = "email-20260601T100000Z-0a1b2c3d.md"
TODO = f"Needs_Action/email/{TASK}"
DRAFT = f"Pending_Approval/email/{TASK}"
PLAN = "Plans/email/trip.md"  # a path that both zones may write


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def kept(node: Node, original: str) -> list[bytes]:
    """Versions of `original` that lost a merge."""
    return [data for path, data in node.conflicts().items() if path.startswith(original + ".")]


def test_01_an_edit_of_either_side_travels(two: Two) -> None:
    two.seed_files({"note.md": "old\n", PLAN: "old\n"})
    two.a.write("note.md", "from A\n")
    two.b.write(PLAN, "from B\n")
    two.settle()
    assert (two.b.read("note.md"), two.a.read(PLAN)) == (b"from A\n", b"from B\n")
    two.assert_agree()


@pytest.mark.parametrize("b_first", [False, True])
def test_02_03_both_edit_one_line(two: Two, b_first: bool) -> None:
    two.seed_files({PLAN: "budget: 1\n"})
    two.a.write(PLAN, "budget: 2\n")
    two.b.write(PLAN, "budget: 3\n")
    if b_first:
        two.b.sync()
    results = two.settle()
    assert two.b.read(PLAN) == b"budget: 2\n"
    assert [text.endswith(b"budget: 3\n") for text in kept(two.a, PLAN)] == [True]
    conflicts = [conflict for result in results for conflict in result.conflicts]
    assert [(c["path"], c["winner"]) for c in conflicts] == [(PLAN, "local")]
    assert two.a.has(conflicts[0]["kept_at"])
    two.assert_agree()


def test_03_the_tree_is_the_same_whoever_merges(tmp_path: Path) -> None:
    outcomes = []
    for name, first in (("one", "a"), ("other", "b")):
        (tmp_path / name).mkdir()
        two = Two(tmp_path / name)
        two.seed_files({PLAN: "budget: 1\n", TODO: "task\n"})
        two.a.write(PLAN, "budget: 2\n")
        two.b.write(PLAN, "budget: 3\n")
        two.b.write("Plans/email/new.md", "B\n")
        two.a.write("Plans/email/new.md", "A\n")
        two.a.move(TODO, f"Rejected/{TASK}")
        two.b.write(TODO, "task, read\n")
        getattr(two, first).sync()
        two.settle()
        two.assert_agree()
        outcomes.append({p: d for p, d in two.a.files().items() if not p.startswith("Logs/")})
    assert outcomes[0] == outcomes[1]


def test_04_no_hybrid_that_nobody_wrote(two: Two) -> None:
    two.seed_files({DRAFT: "status: pending\nline\nline\nline\namount: 10\n"})
    two.a.write(DRAFT, "status: approved\nline\nline\nline\namount: 10\n")
    two.b.write(DRAFT, "status: pending\nline\nline\nline\namount: 9999\n")
    two.settle()
    assert two.b.read(DRAFT) == b"status: approved\nline\nline\nline\namount: 10\n"
    assert len(kept(two.a, DRAFT)) == 1
    two.assert_agree()


def test_05_both_add_one_path(two: Two) -> None:
    two.a.write(PLAN, "A\n")
    two.b.write(PLAN, "B\n")
    two.settle()
    assert two.b.read(PLAN) == b"A\n"
    assert [text.endswith(b"B\n") for text in kept(two.b, PLAN)] == [True]
    two.assert_agree()


def test_06_both_add_the_same_bytes(two: Two) -> None:
    two.a.write(PLAN, "same\n")
    two.b.write(PLAN, "same\n")
    results = two.settle()
    assert not any(result.conflicts for result in results)
    assert kept(two.a, PLAN) == []
    two.assert_agree()


def test_07_an_edit_of_local_survives_the_clouds_deletion(two: Two) -> None:
    two.seed_files({PLAN: "old\n"})
    two.a.write(PLAN, "new\n")
    two.b.remove(PLAN)
    two.settle()
    assert two.b.read(PLAN) == b"new\n"
    two.assert_agree()


def test_08_a_deletion_of_local_stays_and_the_clouds_text_is_kept_aside(two: Two) -> None:
    two.seed_files({PLAN: "old\n"})
    two.a.remove(PLAN)
    two.b.write(PLAN, "B's text\n")
    two.settle()
    assert not two.b.has(PLAN)
    assert [text.endswith(b"B's text\n") for text in kept(two.a, PLAN)] == [True]
    two.assert_agree()


def test_09_local_renames_while_the_cloud_edits(two: Two) -> None:
    two.seed_files({PLAN: "old\n"})
    two.a.move(PLAN, "Plans/email/journey.md")
    two.b.write(PLAN, "B's text\n")
    two.settle()
    assert two.b.read("Plans/email/journey.md") == b"old\n"
    assert not two.b.has(PLAN)
    assert len(kept(two.a, PLAN)) == 1
    two.assert_agree()


def test_10_both_rename_one_note(two: Two) -> None:
    two.seed_files({PLAN: "old\n"})
    two.a.move(PLAN, "Plans/email/a.md")
    two.b.move(PLAN, "Plans/email/b.md")
    two.settle()
    assert two.b.read("Plans/email/a.md") == two.a.read("Plans/email/b.md") == b"old\n"
    assert not two.a.has(PLAN)
    two.assert_agree()


@pytest.mark.parametrize("folder_on", ["a", "b"])
def test_11_a_file_here_a_folder_there(two: Two, folder_on: str) -> None:
    folder, file = (two.a, two.b) if folder_on == "a" else (two.b, two.a)
    folder.write("Plans/x.md/inside.md", "inside\n")
    file.write("Plans/x.md", "a file\n")
    two.settle()
    assert (two.b.root / "Plans/x.md").is_dir() == (folder_on == "a")
    assert len(two.a.conflicts()) == 1
    two.assert_agree()


def test_11_a_file_becomes_a_folder(two: Two) -> None:
    two.seed_files({"Plans/x.md": "a file\n"})
    two.a.remove("Plans/x.md")
    two.a.write("Plans/x.md/inside.md", "inside\n")
    two.settle()
    assert two.b.read("Plans/x.md/inside.md") == b"inside\n"
    two.a.remove("Plans/x.md/inside.md")
    (two.a.root / "Plans/x.md").rmdir()
    two.a.write("Plans/x.md", "a file again\n")
    two.settle()
    assert two.b.read("Plans/x.md") == b"a file again\n"
    two.assert_agree()


def test_12_a_name_that_changes_in_case_only(two: Two) -> None:
    two.seed_files({PLAN: "old\n"})
    two.a.move(PLAN, "Plans/email/Trip.md")
    two.b.write(PLAN, "B's text\n")
    two.settle()
    assert two.b.read("Plans/email/Trip.md") == b"old\n"
    assert not two.b.has(PLAN)
    assert len(kept(two.a, PLAN)) == 1
    two.assert_agree()


def test_12_names_that_other_systems_take_for_one(two: Two) -> None:
    composed, apart = (unicodedata.normalize(form, "Plans/café.md") for form in ("NFC", "NFD"))
    two.a.write(composed, "A\n")
    two.b.write(apart, "B\n")
    two.a.write("Plans/Same.md", "A\n")
    two.b.write("Plans/same.md", "B\n")
    two.settle()
    assert two.b.read(composed) == two.b.read("Plans/Same.md") == b"A\n"
    assert not two.a.has(apart) and not two.a.has("Plans/same.md")
    assert len(two.a.conflicts()) == 2
    two.assert_agree()


@pytest.mark.parametrize(
    "data", [b"a\r\nb\r\n", b"a\r\nb\nc\r", b"no final newline", b"", b"\xef\xbb\xbfbom\n", b"\xff\xfe"]
)
def test_13_bytes_stay_as_they_are(two: Two, data: bytes) -> None:
    two.a.write("note.md", data)
    two.b.write(PLAN, data)
    two.settle()
    assert two.b.read("note.md") == two.a.read(PLAN) == data
    two.assert_agree()


def test_14_a_picture_changed_on_both_sides(two: Two) -> None:
    picture = "Plans/email/plan.png"
    two.seed_files({picture: b"\x89PNG\0old"})
    two.a.write(picture, b"\x89PNG\0A\xff")
    two.b.write(picture, b"\x89PNG\0B\xfe")
    two.settle()
    assert two.b.read(picture) == b"\x89PNG\0A\xff"
    ((name, data),) = two.a.conflicts().items()
    assert name.endswith(".png") and data == b"\x89PNG\0B\xfe"
    two.assert_agree()


def test_15_a_folder_stays_when_its_last_note_leaves(two: Two) -> None:
    two.seed_files({"Projects/x.md": "x\n"})
    two.a.move("Projects/x.md", "x.md")
    two.settle()
    assert (two.a.root / "Projects").is_dir() and (two.b.root / "Projects").is_dir()
    two.assert_agree()


def test_16_20_a_new_draft_does_not_follow_its_siblings(two: Two) -> None:
    drafts = [f"email-20260601T10000{n}Z-0a1b2c3d.md" for n in range(4)]
    two.seed_files({f"Pending_Approval/email/{name}": f"draft {name}\n" for name in drafts})
    for name in drafts:
        two.a.move(f"Pending_Approval/email/{name}", f"Approved/{name}")
    new = "email-20260601T110000Z-ffffffff.md"
    two.b.write(f"Pending_Approval/email/{new}", "never approved\n")
    two.settle()
    assert two.a.read(f"Pending_Approval/email/{new}") == b"never approved\n"
    assert not two.a.has(f"Approved/{new}")
    assert two.b.has(f"Approved/{drafts[0]}")
    two.assert_agree()


@pytest.mark.parametrize("first", ["a", "b"])
def test_17_of_two_claims_the_one_on_main_stands(two: Two, first: str) -> None:
    two.seed_files({TODO: "task\n"})
    two.a.move(TODO, f"In_Progress/local/{TASK}")
    two.b.move(TODO, f"In_Progress/cloud/{TASK}")
    getattr(two, first).sync()
    two.settle()
    winner, loser = ("local", "cloud") if first == "a" else ("cloud", "local")
    assert two.a.read(f"In_Progress/{winner}/{TASK}") == b"task\n"
    assert not two.a.has(f"In_Progress/{loser}/{TASK}") and not two.a.has(TODO)
    lines = [json.loads(line) for line in two.b.read("Logs/claims.jsonl").splitlines()]
    assert [(line["event"], line["task"]) for line in lines] == [("claim_lost", TASK.removesuffix(".md"))]
    two.assert_agree()


@pytest.mark.parametrize("first", ["a", "b"])
def test_17_a_humans_move_beats_a_claim_on_main(two: Two, first: str) -> None:
    two.seed_files({TODO: "task\n"})
    two.a.move(TODO, f"Rejected/{TASK}")
    two.b.move(TODO, f"In_Progress/cloud/{TASK}")
    getattr(two, first).sync()
    two.settle()
    assert two.b.has(f"Rejected/{TASK}")
    assert not two.b.has(f"In_Progress/cloud/{TASK}") and not two.b.has(TODO)
    two.assert_agree()


def test_17_one_mail_made_a_task_on_both_nodes(two: Two) -> None:
    two.a.write(f"In_Progress/local/{TASK}", "task\n")
    two.b.write(TODO, "task\n")
    two.b.sync()
    two.settle()
    places = [path for path in two.a.files() if path.endswith(TASK)]
    assert places == [TODO], "the one on main stands"
    two.assert_agree()


def test_18_local_claims_while_the_cloud_edits(two: Two) -> None:
    two.seed_files({TODO: "task\n"})
    two.a.move(TODO, f"In_Progress/local/{TASK}")
    two.b.write(TODO, "task, annotated\n")
    two.settle()
    assert two.b.read(f"In_Progress/local/{TASK}") == b"task\n"
    assert not two.b.has(TODO)
    assert len(kept(two.a, TODO)) == 1
    two.assert_agree()


@pytest.mark.parametrize("first", ["a", "b"])
def test_18_the_cloud_claims_while_the_human_edits(two: Two, first: str) -> None:
    two.seed_files({TODO: "task\n"})
    two.a.write(TODO, "task, as the human wants it\n")
    two.b.move(TODO, f"In_Progress/cloud/{TASK}")
    getattr(two, first).sync()
    two.settle()
    assert two.b.read(TODO) == b"task, as the human wants it\n"
    assert not two.b.has(f"In_Progress/cloud/{TASK}")
    assert b'"event":"claim_lost"' in two.a.read("Logs/claims.jsonl")
    two.assert_agree()


@pytest.mark.parametrize("first", ["a", "b"])
def test_19_approved_bytes_do_not_change(two: Two, first: str) -> None:
    two.b.write(DRAFT, "---\ncreated_by: cloud\n---\ndraft\n")
    two.settle()
    two.a.move(DRAFT, f"Approved/{TASK}")
    two.b.write(DRAFT, "---\ncreated_by: cloud\n---\nsomething else\n")
    getattr(two, first).sync()
    two.settle()
    assert two.b.read(f"Approved/{TASK}") == b"---\ncreated_by: cloud\n---\ndraft\n"
    assert not two.b.has(DRAFT)
    two.assert_agree()


def test_21_both_append_to_one_log(two: Two) -> None:
    two.seed_files({"Logs/claims.jsonl": '{"at":"2026-06-01T10:00:00Z","n":0}\n'})
    for node, minutes in ((two.a, (1, 3, 5)), (two.b, (2, 4, 6))):
        lines = "".join(f'{{"at":"2026-06-01T10:0{m}:00Z","n":{m}}}\n' for m in minutes)
        node.write("Logs/claims.jsonl", node.read("Logs/claims.jsonl").decode() + lines)
    results = two.settle()
    assert [json.loads(line)["n"] for line in two.b.read("Logs/claims.jsonl").splitlines()] == list(range(7))
    assert not any(result.conflicts for result in results)
    two.assert_agree()


def test_22_a_link_out_of_the_vault_is_neither_followed_nor_written_through(two: Two) -> None:
    outside = two.folder / "outside.md"
    outside.write_text("private\n")
    two.seed_files({PLAN: "old\n"})
    (two.a.root / "link.md").symlink_to(outside)
    two.b.remove(PLAN)
    (two.b.root / PLAN).symlink_to(outside)
    two.a.write(PLAN, "new\n")
    results = two.settle()
    assert outside.read_text() == "private\n"
    assert {item["path"] for result in results for item in result.refused} == {"link.md", PLAN}
    assert "outside" not in git(two.remote, "log", "-p", "--all", "main")
    assert two.a.read(PLAN) == b"new\n"


def test_22_a_link_that_arrives_is_not_made(two: Two) -> None:
    phone = two.clone("phone")
    (phone / "link.md").symlink_to("/etc/passwd")
    (phone / "Approved").rename(phone / "Approved.old")
    (phone / "Approved").symlink_to("/tmp")
    two.commit_all(phone)
    git(phone, "push", "-q")
    two.settle()
    for node in (two.a, two.b):
        assert not node.has("link.md") and not (node.root / "Approved").is_symlink()
    assert two.a.alerts
    two.assert_agree()


def test_23_the_executable_bit_stays_and_a_large_file_is_refused_with_a_reason(two: Two) -> None:
    two.a.write("tool.md", "x\n")
    (two.a.root / "tool.md").chmod(0o755)
    two.a.write("big.pdf", b"x" * (two.a.max_file_bytes + 1))
    result = two.a.sync()
    two.b.sync()
    assert two.b.read("tool.md") == b"x\n"
    assert [(item["path"], "SYNC_MAX_FILE_MB" in item["reason"]) for item in result.refused] == [("big.pdf", True)]
    assert not two.b.has("big.pdf") and two.a.has("big.pdf")
    assert "100755" not in git(two.remote, "ls-tree", "-r", "main")
    two.a.sync()
    assert len(two.a.alerts) == 1, "told once"


LOCKS = [
    "index.lock",
    "refs/heads/main.lock",
    "HEAD.lock",
    "packed-refs.lock",
    "logs/HEAD.lock",
    "logs/refs/heads/main.lock",
    "info/sparse-checkout.lock",
]


@pytest.mark.parametrize("name", LOCKS)
def test_24_a_lock_of_a_dead_process_is_removed(two: Two, name: str) -> None:
    (two.a.root / ".git" / name).write_bytes(b"")
    two.a.write("note.md", "x\n")
    assert two.a.sync().result == "ok"
    two.settle()
    two.assert_agree()


def test_24_a_lock_on_the_remote_says_what_to_do(two: Two) -> None:
    lock = two.remote / "refs/heads/main.lock"
    lock.write_bytes(b"")
    two.a.write("note.md", "x\n")
    result = two.a.sync()
    assert result.result == "error" and "lock" in str(result.error) and "remote" in str(result.error)
    lock.unlink()
    two.settle()
    two.assert_agree()
