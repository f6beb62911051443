"""Strangers: names that clash, what is no plain file, repositories, and files that lie where another arrives."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.test_sync_trust import pushed_by_cloud
from tests.vaults import Two, git
from utils.vault import worktree


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def pushed_by_phone(two: Two, files: dict[str, str | None]) -> None:
    """A person's plain git, on a disk where everything is possible."""
    phone = two.clone("phone")
    for path, content in files.items():
        target = phone / path
        if content is None:
            target.unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
    git(phone, "add", "-A", "-f")
    git(phone, "commit", "-q", "-m", "by hand")
    git(phone, "push", "-q")


@pytest.mark.parametrize("first", ["a", "b"])
def test_12_names_that_clash_and_arrive_from_one_side(two: Two, first: str) -> None:
    two.seed_files({"Old.md": "old\n", "Projects/House/plan.md": "plan\n"})
    arriving = {
        "Note.md": "1\n",
        "note.md": "2\n",
        "old.md": "3\n",
        "Plans/X.md/inside.md": "4\n",
        "Plans/x.md": "5\n",
        "Projects/house/note.md": "6\n",
        "cafe\u0301.md": "7\n",
        "caf\u00e9.md": "8\n",
        "fine.md": "9\n",
    }
    pushed_by_phone(two, arriving)
    result = getattr(two, first).sync()
    losing = {"note.md", "old.md", "Plans/x.md", "Projects/house/note.md", "caf\u00e9.md"}
    assert {item["path"] for item in result.refused} == losing
    two.settle()
    for path, text in arriving.items():
        assert two.a.has(path) == two.b.has(path) == (path not in losing)
        if path in losing:
            assert any(data.endswith(text.encode()) for data in two.a.conflicts().values()), "kept aside"
    assert two.a.read("Old.md") == b"old\n"
    assert len(getattr(two, first).alerts) == len(losing), "told once each"
    two.assert_agree()


def test_12_a_name_that_changes_in_case_only_on_the_phone(two: Two) -> None:
    two.seed_files({"Note.md": "x\n", "Projects/a.md": "a\n"})
    pushed_by_phone(two, {"Note.md": None, "note.md": "x\n", "Projects/a.md": None, "projects/a.md": "a\n"})
    assert two.a.sync().refused == []
    two.settle()
    assert two.b.read("note.md") == b"x\n" and two.b.read("projects/a.md") == b"a\n" and not two.b.has("Note.md")
    two.b.write("Updates/n.md", "later\n")
    two.a.write("projects/b.md", "b\n")
    two.settle()
    assert two.b.has("projects/b.md")
    two.assert_agree()


def test_12_folders_that_clash_on_this_disk(two: Two) -> None:
    two.seed_files({"Projects/House/plan.md": "plan\n"})
    two.a.write("Projects/house/new.md", "x\n")
    two.a.write("deep/One/a.md", "a\n")
    two.a.write("deep/one/b.md", "b\n")
    result = two.a.sync()
    assert {item["path"] for item in result.refused} == {"Projects/house/new.md", "deep/one/b.md"}
    two.b.sync()
    assert two.b.has("deep/One/a.md") and not two.b.has("deep/one/b.md")
    assert two.a.read("Projects/house/new.md") == b"x\n", "left where it lies"


def test_a_file_that_is_not_synced_is_not_overwritten_by_one_that_arrives(two: Two) -> None:
    lying = {"big.md": b"x" * (two.a.max_file_bytes + 1), "x.tmp": b"mine", ".obsidian/workspace.json": b"{}"}
    for path, data in lying.items():
        two.a.write(path, data)
    (two.a.root / "folder.md").mkdir()
    two.a.write("folder.md/film.mov", "mine")
    os.mkfifo(two.a.root / "pipe.md")
    arriving = [*lying, "folder.md", "pipe.md", "other.md"]
    pushed_by_phone(two, dict.fromkeys(arriving, "arrives\n"))
    results = [two.a.sync() for _ in range(3)]
    assert {path: two.a.read(path) for path in lying} == lying
    assert two.a.read("folder.md/film.mov") == b"mine" and (two.a.root / "pipe.md").is_fifo()
    assert two.a.read("other.md") == b"arrives\n"
    assert [result.result for result in results[1:]] == ["noop", "noop"], "nobody fights over it"
    assert git(two.remote, "show", "main:folder.md") == git(two.remote, "show", "main:x.tmp") == "arrives\n"
    two.b.sync()
    assert two.b.read("big.md") == two.b.read("folder.md") == b"arrives\n"
    for path in ("big.md", "folder.md/film.mov"):
        two.a.remove(path)
    (two.a.root / "folder.md").rmdir()


def test_38_an_editors_state_that_a_phone_pushed_makes_no_commit(two: Two) -> None:
    pushed_by_phone(two, {".obsidian/workspace.json": '{"phone": 1}\n'})
    two.settle()
    head = two.head()
    for number in range(3):
        two.a.write(".obsidian/workspace.json", f'{{"a": {number}}}\n')
        two.b.write(".obsidian/workspace.json", f'{{"b": {number}}}\n')
        assert [result.result for result in two.settle()] == ["noop"] * 4
    assert two.head() == head


def test_37_repositories_of_every_kind_are_left_out(two: Two) -> None:
    git(two.a.root, "init", "-q", "--bare", "bare")
    two.a.write("bare/readme.md", "x\n")
    two.a.write("linked/.git", "gitdir: ../../remote.git\n")
    two.a.write("linked/x.md", "x\n")
    two.a.write("HEAD", "a file that has that name\n")
    two.a.write("note.md", "x\n")
    result = two.a.sync()
    assert {item["path"] for item in result.refused} == {"bare", "linked", "HEAD"}
    two.settle()
    assert two.b.has("note.md") and not two.b.has("linked") and not two.b.has("bare")
    assert [title for _, title, _ in two.a.alerts] == ["Not synced: bare", "Not synced: linked"], "once each"


def test_pipes_sockets_links_and_odd_times_stop_nothing(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(two.a.root / "pipe.md")
    os.mkfifo(two.a.root / "Logs/pipe.jsonl")
    monkeypatch.chdir(two.a.root)  # a socket's address is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.md")
    two.a.write("one.md", "linked\n")
    os.link(two.a.root / "one.md", two.a.root / "two.md")
    for name, when in (("long ago.md", 0), ("future.md", 4_000_000_000)):
        two.a.write(name, "x\n")
        os.utime(two.a.root / name, (when, when))
    assert two.a.sync().result == "ok"
    two.b.sync()
    for name in ("one.md", "two.md", "long ago.md", "future.md"):
        assert two.b.read(name) == two.a.read(name)
    assert not two.b.has("pipe.md") and not two.b.has("socket.md")
    two.b.write("Updates/n.md", "x\n")
    pushed_by_phone(two, {"two.md": "changed\n"})
    two.settle()
    assert (two.a.read("one.md"), two.a.read("two.md")) == (b"linked\n", b"changed\n"), "a link's other name stays"


def test_a_note_that_becomes_a_pipe_stays_with_the_others_as_it_was(two: Two) -> None:
    two.seed_files({"note.md": "x\n", "other.md": "x\n"})
    two.a.remove("note.md")
    os.mkfifo(two.a.root / "note.md")
    two.a.write("other.md", "y\n")
    assert [item["path"] for item in two.a.sync().refused] == ["note.md"]
    two.b.sync()
    assert two.b.read("note.md") == b"x\n" and two.b.read("other.md") == b"y\n"
    two.a.sync()
    assert len(two.a.alerts) == 1, "told once"


def test_what_cannot_be_read_is_told_and_the_rest_travels(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the refusal of the system is made here."""
    two.seed_files({"note.md": "x\n"})
    read = worktree.read

    def refusing(root: Path, path: str, *, locked: bool = False) -> bytes | None:
        if path == "note.md":
            raise PermissionError(13, "Permission denied", str(root / path))
        return read(root, path, locked=locked)

    monkeypatch.setattr(worktree, "read", refusing)
    two.a.write("note.md", "y\n")
    two.a.write("other.md", "x\n")
    result = two.a.sync()
    assert result.result == "ok" and [item["path"] for item in result.refused] == ["note.md"]
    assert "permissions" in result.refused[0]["reason"]
    two.a.sync()
    two.b.sync()
    assert two.b.has("other.md") and two.b.read("note.md") == b"x\n"
    assert len(two.a.alerts) == 1, "told once"


def test_a_huge_file_costs_nothing(two: Two) -> None:
    for name, size in (("sparse.md", 1 << 40), ("Logs/sparse.jsonl", 1 << 27)):
        (two.a.root / name).touch()
        os.truncate(two.a.root / name, size)
    result = two.a.vault_sync().run()
    assert {item["path"] for item in result.refused} == {"sparse.md", "Logs/sparse.jsonl"}
    assert result.result == "noop" or result.committed, "the rest went on"
    two.a.vault_sync().run()
    assert len(two.a.alerts) == 2, "told once each"


@pytest.mark.parametrize("who", ["phone", "cloud"])
def test_names_and_paths_that_are_too_long_for_a_disk_are_kept_aside(two: Two, who: str) -> None:
    deep = "Plans/" + "/".join(["e" * 200] * 25) + "/deep.md"
    wide = "Plans/" + "f" * 300 + ".md"
    clone = two.clone("odd")
    for path, text in ((deep, b"deep\n"), (wide, b"wide\n")):
        oid = git(clone, "hash-object", "-w", "--stdin", data=text).strip()
        git(clone, "update-index", "--add", "--cacheinfo", f"100644,{oid},{path}")
    author = ["--author=AI Employee (cloud) <cloud@ai-employee.invalid>"] if who == "cloud" else []
    git(clone, "commit", "-q", "-m", "odd", *author)
    git(clone, "push", "-q")
    result = two.a.sync()
    assert result.result == "ok" and {item["path"] for item in result.refused} == {deep, wide}
    kept = list(two.a.conflicts().values())
    assert any(data.endswith(b"deep\n") for data in kept) and any(data.endswith(b"wide\n") for data in kept)
    two.settle()
    two.assert_agree()


def test_what_steers_git_is_refused_from_both_sides(two: Two) -> None:
    names = ("Plans/.gitattributes", "Plans/.gitmodules", ".gitmodules")
    for name in names:
        two.a.write(name, "* filter=evil\n")
    assert {item["path"] for item in two.a.sync().refused} == set(names)
    for name in names:
        two.a.remove(name)
    pushed_by_cloud(two, dict.fromkeys(names, "* filter=evil\n"))
    assert {item["path"] for item in two.a.sync().refused} == set(names)
    assert not any(two.a.has(name) for name in names)
    two.settle()
    two.assert_agree()
