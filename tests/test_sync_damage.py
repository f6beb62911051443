"""After a power cut or on a bad disk: files of git are empty, cut or gone. The next sync completes, or says how."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.vaults import Node, Two, housekeeping
from utils.vault.skeleton import VaultProblem

PLAN = "Plans/email/trip.md"


@pytest.fixture
def two(tmp_path: Path) -> Two:
    """Histories with something of everything: packed and loose objects, an edit of each side that waits."""
    two = Two(tmp_path)
    two.seed_files({PLAN: "old\n", "note.md": "base\n", "gone.md": "will be removed\n"})
    two.a.git("repack", "-adq")
    two.a.write("loose.md", "a loose object\n")
    two.settle()
    two.b.write(PLAN, "from B meanwhile\n")
    two.b.sync()
    two.a.write("note.md", "edited, not synced yet\n")
    two.a.remove("gone.md")
    return two


def git_dir(node: Node) -> Path:
    return node.root / ".git"


def loose(node: Node, name: str) -> Path:
    oid = node.git("rev-parse", name).strip()
    return git_dir(node) / "objects" / oid[:2] / oid[2:]


def cut(path: Path, size: int = 0) -> None:
    assert path.is_file(), path
    path.chmod(0o644)
    os.truncate(path, size)


def zeros(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"\0" * path.stat().st_size)


def pack_of(node: Node, suffix: str) -> Path:
    return next((git_dir(node) / "objects/pack").glob(f"*.{suffix}"))


def lose_index_of_pack(node: Node) -> None:
    pack_of(node, "idx").unlink()


def litter(node: Node) -> None:
    for name in ("objects/pack/tmp_pack_x1", "objects/pack/tmp_idx_x1", "objects/aa/tmp_obj_x1"):
        (git_dir(node) / name).parent.mkdir(exist_ok=True)
        (git_dir(node) / name).write_bytes(b"PACK\0\0")
    shutil.copy(pack_of(node, "pack"), git_dir(node) / f"objects/pack/pack-{'0' * 40}.pack")
    cut(git_dir(node) / f"objects/pack/pack-{'0' * 40}.pack", 30)


def cut_every_loose_object(node: Node) -> None:
    for path in (git_dir(node) / "objects").glob("??/*"):
        cut(path)


def packed_refs(node: Node) -> None:
    node.git("pack-refs", "--all")
    cut(git_dir(node) / "packed-refs")


DAMAGE: dict[str, Callable[[Node], object]] = {
    "HEAD empty": lambda node: cut(git_dir(node) / "HEAD"),
    "branch empty": lambda node: cut(git_dir(node) / "refs/heads/main"),
    "branch garbage": lambda node: (git_dir(node) / "refs/heads/main").write_text("%&!\n"),
    "tracking empty": lambda node: cut(git_dir(node) / "refs/remotes/origin/main"),
    "another branch empty": lambda node: (git_dir(node) / "refs/heads/idea").touch(),
    "packed-refs empty": packed_refs,
    "index empty": lambda node: cut(git_dir(node) / "index"),
    "index half": lambda node: cut(git_dir(node) / "index", 100),
    "config empty": lambda node: cut(git_dir(node) / "config"),
    "config zeros": lambda node: zeros(git_dir(node) / "config"),
    "commit empty": lambda node: cut(loose(node, "HEAD")),
    "tree empty": lambda node: cut(loose(node, "HEAD^{tree}")),
    "blob empty": lambda node: cut(loose(node, "HEAD:loose.md")),
    "commit zeros": lambda node: zeros(loose(node, "HEAD")),
    "tree gone": lambda node: loose(node, "HEAD^{tree}").unlink(),
    "every loose object empty": cut_every_loose_object,
    "pack half": lambda node: cut(pack_of(node, "pack"), pack_of(node, "pack").stat().st_size // 2),
    "pack index empty": lambda node: cut(pack_of(node, "idx")),
    "pack index half": lambda node: cut(pack_of(node, "idx"), 500),
    "pack index gone": lose_index_of_pack,
    "half-written packs": litter,
    "sync.json empty": lambda node: cut(node.state / "sync.json"),
}


def check(two: Two) -> None:
    for node in (two.a, two.b):
        node.alerts.clear()
    two.a.clock.advance(86400)
    housekeeping(two.a).run()  # the day's packing reads what no sync has a reason to read
    for result in two.settle():
        assert result.error is None
    assert two.b.read(PLAN) == two.a.read(PLAN) == b"from B meanwhile\n"
    assert two.b.read("note.md") == b"edited, not synced yet\n"
    assert two.b.read("loose.md") == b"a loose object\n"
    assert not two.b.has("gone.md") and not two.a.has("gone.md")
    assert two.a.conflicts() == {}
    two.assert_agree()
    for node in (two.a, two.b):
        node.git("fsck", "--full", "--no-dangling")
        assert node.git("rev-list", "--count", "HEAD") > "3", "the history is there"


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_of_git_is_mended_and_the_sync_completes(two: Two, kind: str) -> None:
    DAMAGE[kind](two.a)
    assert two.a.sync().error is None
    check(two)


def test_what_was_mended_is_told_once_and_kept(two: Two) -> None:
    cut(loose(two.a, "HEAD^{tree}"))
    result = two.a.sync()
    assert result.error is None
    [(level, title, text)] = two.a.alerts
    assert (level, title) == ("WARNING", "The vault's repository was damaged and has been mended")
    assert str(two.a.state / "damaged") in text and "no note was touched" in text
    assert any((two.a.state / "damaged").rglob("objects/*/*"))
    two.a.sync()
    assert len(two.a.alerts) == 1


def test_the_newest_commit_was_lost_before_it_travelled(two: Two) -> None:
    """Only this node had it: the branch goes back to the one before, and the work tree is an edit of that."""
    hidden = two.folder / "hidden.git"
    two.remote.rename(hidden)
    two.a.sync()
    two.a.write("note.md", "and edited again\n")
    cut(loose(two.a, "HEAD"))
    result = two.a.sync()
    assert result.result == "offline" and "damaged" in str(result.error)
    hidden.rename(two.remote)
    two.settle()
    assert two.b.read("note.md") == b"and edited again\n" and not two.b.has("gone.md")
    two.a.live.discard(b"edited, not synced yet\n")  # the disk lost that version before it was anywhere else
    two.assert_agree()


def test_a_content_that_only_the_work_tree_has_still_is_given_back(two: Two) -> None:
    hidden = two.folder / "hidden.git"
    two.remote.rename(hidden)
    two.a.sync()
    head = two.a.git("rev-parse", "HEAD")
    blob = loose(two.a, "HEAD:note.md")
    hidden.rename(two.remote)
    cut(blob)
    assert two.a.sync().error is None
    assert two.a.git("merge-base", "--is-ancestor", head.strip(), "HEAD") == ""
    check(two)


def lose_everything(node: Node) -> None:
    cut_every_loose_object(node)
    cut(pack_of(node, "pack"))
    cut(git_dir(node) / "refs/heads/main")
    shutil.rmtree(git_dir(node) / "logs")


def test_beyond_mending_says_the_command_which_keeps_everything(two: Two) -> None:
    two.a.write(PLAN, "edited here too\n")
    memory = two.a.state / "sync.json"
    lose_everything(two.a)
    (git_dir(two.a) / "objects").rename(two.folder / "objects")
    result = two.a.sync()
    assert result.result == "error" and "python -m scripts.sync --repair" in str(result.error)
    before = two.a.files()
    assert two.a.vault_sync().repair().error is None
    assert memory.exists()
    for path, data in before.items():
        assert two.a.read(path) == data
    two.settle()
    [aside] = two.a.conflicts().values()
    assert two.b.read(PLAN) == b"edited here too\n" and b"from B meanwhile\n" in aside
    assert not two.b.has("gone.md"), "the base was found again: a deletion is one"
    [kept] = (two.a.state / "damaged").iterdir()
    assert (kept / "config").is_file()
    two.a.live.clear()
    two.assert_agree()


def test_repair_of_a_healthy_vault_changes_nothing(two: Two) -> None:
    two.settle()
    head, files = two.head(), two.a.files()
    with pytest.raises(VaultProblem, match="the repository is sound"):
        two.a.vault_sync().repair()
    assert (two.head(), two.a.files(), (two.a.state / "damaged").exists()) == (head, files, False)
    two.assert_agree()


def test_repair_without_a_remote_keeps_the_only_history_there_is(two: Two) -> None:
    two.a.git("remote", "remove", "origin")
    cut_every_loose_object(two.a)
    log = two.a.git("log", "--format=%H", check=False)
    with pytest.raises(VaultProblem, match="no remote to take a history from"):
        two.a.vault_sync().repair()
    assert two.a.git("log", "--format=%H", check=False) == log and not (two.a.state / "damaged").exists()


@pytest.mark.parametrize("answer", [{"accept_own": "zzz"}, {"push_secret": ("HEAD",)}, {"accept_remote": True}])
def test_an_answer_about_a_remote_that_is_not_there_is_refused(two: Two, answer: dict[str, Any]) -> None:
    two.a.git("remote", "remove", "origin")
    result = two.a.sync(**answer)
    assert result.result == "error" and "has no remote" in str(result.error)
    assert two.a.sync(allow_deletions=True).result in ("noop", "ok")


def test_a_commit_that_nobody_knows_is_told_and_one_that_is_ours_is_no_slip(two: Two) -> None:
    two.a.write("note.md", "text")
    assert two.a.sync().error is None
    mistaken = two.a.sync(accept_own="zzz")
    assert mistaken.result == "error" and "no commit zzz arrived" in str(mistaken.error)
    assert two.b.sync().error is None and two.b.read("note.md") == b"text"
    assert two.a.sync(accept_own=two.a.git("rev-parse", "--short=12", "HEAD").strip()).error is None


@pytest.mark.parametrize(
    "name",
    ["shallow", "packed-refs", "config", "index", "HEAD", "refs/heads/main", "objects/maintenance", "objects/info/x"],
)
def test_24_a_lock_of_a_dead_git_is_removed(two: Two, name: str) -> None:
    lock = git_dir(two.a) / f"{name}.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.touch()
    os.utime(lock, (1_700_000_000,) * 2)
    assert two.a.sync().error is None
    assert not lock.exists()
