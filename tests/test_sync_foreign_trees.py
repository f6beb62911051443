"""Trees that another program made: names that are no UTF-8, folders that no system has, files that steer git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.vaults import Two, git
from utils.core import sync_rules
from utils.vault.memory import Memory


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def raw_tree(clone: Path, *records: tuple[bytes, bytes, str]) -> str:
    """A tree as nobody but a forger makes it: `records` are (mode, name, object id)."""
    data = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(oid) for mode, name, oid in records)
    return git(clone, "hash-object", "-t", "tree", "-w", "--stdin", "--literally", data=data).strip()


def push_tree(clone: Path, tree: str) -> None:
    commit = git(clone, "commit-tree", tree, "-p", "HEAD", "-m", "x").strip()
    git(clone, "push", "-q", "origin", f"{commit}:main")


def top(clone: Path) -> bytes:
    return subprocess.run(["git", "cat-file", "tree", "HEAD"], cwd=clone, capture_output=True, check=True).stdout


@pytest.mark.parametrize("folder", [b"Notes", b"Needs_Action/email", b"Updates/conflicts"])
def test_a_phone_pushes_a_name_that_is_no_utf8(two: Two, folder: bytes) -> None:
    clone = two.clone("phone")
    path = os.path.join(os.fsencode(clone), folder, b"caf\xe9.md")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(os.fsdecode(path)).write_bytes(b"x\n")
    two.commit_all(clone)
    git(clone, "push", "-q")
    assert [result.error for result in two.settle()] == [None] * 4
    assert any(data.endswith(b"x\n") for data in two.a.conflicts().values()), "the text is kept under another name"
    assert [result.result for result in two.settle()] == ["noop"] * 4
    two.assert_agree()


@pytest.mark.parametrize("name", [b".", b".."])
def test_a_folder_that_no_system_has_stops_nothing(two: Two, name: bytes) -> None:
    clone = two.clone("evil")
    blob = git(clone, "hash-object", "-w", "--stdin", data=b"evil\n").strip()
    inner = raw_tree(clone, (b"100644", b"x.md", blob))
    tree = git(
        clone,
        "hash-object",
        "-t",
        "tree",
        "-w",
        "--stdin",
        "--literally",
        data=b"40000 " + name + b"\0" + bytes.fromhex(inner) + top(clone),
    ).strip()
    push_tree(clone, tree)
    two.a.write("Notes/a.md", "a\n")
    two.b.write("Updates/b.md", "b\n")
    assert [result.error for result in two.settle()] == [None] * 4
    assert two.b.read("Notes/a.md") == b"a\n" and two.a.read("Updates/b.md") == b"b\n"
    assert [result.result for result in two.settle()] == ["noop"] * 4
    two.assert_agree()


def test_a_name_is_judged_as_git_has_it() -> None:
    for path in ("./x.md", "a/./x.md", "a//x.md", "../x.md", "a/.", "/x.md"):
        assert sync_rules.name_refusal(path) is not None, path
        assert sync_rules.name_refusal(sync_rules.harmless(path)) is None, path


def count(two: Two) -> str:
    return git(two.remote, "rev-list", "--count", "main")


def is_quiet(two: Two) -> bool:
    two.settle()
    before = count(two)
    return [result.result for result in two.settle()] == ["noop"] * 4 and count(two) == before


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize("name", [".gitignore", ".gitattributes", ".gitmodules", "aux.md"])
def test_a_person_commits_here_what_no_node_takes(two: Two, name: str, edited: bool) -> None:
    """It leaves the history's end and stays on the disk: no tug of war of the two nodes."""
    path = f"Notes/project/{name}"
    two.a.write(path, "x\n")
    two.a.git("add", "-A")
    two.a.git("commit", "-q", "-m", "vault backup")
    if edited:
        two.a.write(path, "xy\n")
    assert [item["path"] for item in two.a.sync().refused] == [path]
    assert is_quiet(two)
    assert two.a.has(path) and not two.b.has(path)
    assert [title for _, title, _ in two.a.alerts] == [f"Not synced: {path}"]


def test_a_program_that_commits_everything_adds_it_once(two: Two) -> None:
    for name in (".gitignore", "why? [1] #.md"):
        two.a.write(f"Notes/{name}", "x\n")
    for _ in range(3):
        two.a.git("add", "-A")
        two.a.git("commit", "-q", "-m", "vault backup", check=False)
        assert is_quiet(two)
    before = count(two)
    two.a.git("add", "-A")
    two.a.git("commit", "-q", "-m", "vault backup", check=False)
    assert is_quiet(two) and count(two) == before
    assert two.a.has("Notes/.gitignore") and not two.b.has("Notes/.gitignore")


def test_a_link_that_a_person_commits_over_a_note_takes_it_from_nobody(two: Two) -> None:
    two.seed_files({"Notes/x.md": "precious\n"})
    two.a.remove("Notes/x.md")
    (two.a.root / "Notes/x.md").symlink_to("y.md")
    two.a.git("add", "-A")
    two.a.git("commit", "-q", "-m", "backup")
    two.settle()
    assert is_quiet(two)
    assert two.b.read("Notes/x.md") == b"precious\n" and (two.a.root / "Notes/x.md").is_symlink()


@pytest.mark.parametrize("lost", [False, True])
def test_a_cloud_that_does_not_know_what_it_had_fights_nobody(two: Two, lost: bool) -> None:
    """Both nodes have a file that steers git, where the Cloud may not write, and its memory is lost; or Local only has
    it, from a version that left it in."""
    clone = two.clone("phone")
    (clone / "Notes").mkdir()
    (clone / "Notes/.gitattributes").write_text("* text\n")
    two.commit_all(clone)
    git(clone, "push", "-q")
    for node in (two.a, two.b) if lost else (two.a,):
        node.git("pull", "-q", "origin", "main")
        Memory(node.state / "sync.json").update(at=two.head(), remote_head=two.head())
    if lost:
        (two.b.state / "sync.json").unlink()
    assert is_quiet(two)


def test_two_nodes_that_have_what_steers_git_from_an_older_version_may_lose_it(two: Two) -> None:
    clone = two.clone("phone")
    (clone / "Plans" / ".gitattributes").write_text("* text\n")
    two.commit_all(clone)
    git(clone, "push", "-q")
    for node in (two.a, two.b):
        node.git("pull", "-q", "origin", "main")
        memory = Memory(node.state / "sync.json")
        memory.update(at=two.head(), passed=None, remote_head=two.head())
    assert [result.result for result in two.settle()] == ["noop"] * 4
    git(clone, "rm", "-q", "Plans/.gitattributes")
    two.commit_all(clone)
    git(clone, "push", "-q")
    two.settle()
    assert [result.result for result in two.settle()] == ["noop"] * 4
    assert not two.a.has("Plans/.gitattributes") and not two.b.has("Plans/.gitattributes")
    two.assert_agree()
