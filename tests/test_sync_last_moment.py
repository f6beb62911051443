"""What a person saves or removes in the last moment before sync puts a new version in its place stands (S1)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vaults import Two
from utils.vault import atomic, worktree

NOTE = "Plans/p.md"
OLD, NEW, SAVED = b"old\n", b"from the remote\n", b"saved by a person\n"


def before_rename(monkeypatch: pytest.MonkeyPatch, *acts: Callable[[], object]) -> None:
    """Do the first act directly before the first rename, the second before the second, and so on."""
    rename, left = atomic._rename, list(acts)

    def renamed(source: Path, target: Path, flag: int) -> bool:
        if left:
            left.pop(0)()
        return rename(source, target, flag)

    monkeypatch.setattr(atomic, "_rename", renamed)


def put(root: Path, wanted: bytes | None) -> bool:
    """Sync's step: `wanted` (None: nothing) where `OLD` is thought to lie."""
    oid = None if wanted is None else worktree.blob_id(wanted, "")
    return worktree.replace(root, NOTE, expected=worktree.blob_id(OLD, ""), wanted=oid, data=wanted or b"")


@pytest.fixture
def note(tmp_path: Path) -> Path:
    atomic.write(tmp_path / NOTE, OLD)
    return tmp_path / NOTE


def check_alone(note: Path, content: bytes | None) -> None:
    assert {path.name: path.read_bytes() for path in note.parent.iterdir()} == ({note.name: content} if content else {})


def test_a_save_while_the_arriving_version_goes_to_the_disk_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = Two(tmp_path)
    two.b.write(NOTE, OLD)
    two.settle()
    two.b.write(NOTE, NEW)
    two.b.sync()
    real, saved = os.fsync, []

    def fsync(descriptor: int) -> None:
        if not saved and f"/a/Plans/{atomic.TEMP_PREFIX}" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            saved.append(SAVED)
            two.a.write(NOTE, SAVED)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    two.a.sync()
    two.settle()
    assert saved and two.a.read(NOTE) == SAVED
    two.assert_agree()


@pytest.mark.parametrize("wanted", [NEW, None])
def test_a_save_between_the_look_and_the_rename_stands(
    note: Path, monkeypatch: pytest.MonkeyPatch, wanted: bytes | None
) -> None:
    before_rename(monkeypatch, lambda: atomic_save(note, SAVED))
    assert put(note.parent.parent, wanted) is False
    check_alone(note, SAVED)
    assert put(note.parent.parent, wanted) is False


@pytest.mark.parametrize("wanted", [NEW, None])
def test_of_two_saves_in_that_moment_the_newest_stands(
    note: Path, monkeypatch: pytest.MonkeyPatch, wanted: bytes | None
) -> None:
    before_rename(monkeypatch, lambda: atomic_save(note, b"first\n"), lambda: atomic_save(note, SAVED))
    assert put(note.parent.parent, wanted) is False
    check_alone(note, SAVED)


@pytest.mark.parametrize("wanted", [NEW, None])
def test_a_note_removed_or_made_a_link_in_that_moment_stays_so(
    note: Path, monkeypatch: pytest.MonkeyPatch, wanted: bytes | None
) -> None:
    before_rename(monkeypatch, note.unlink)
    assert put(note.parent.parent, wanted) is False
    check_alone(note, None)
    note.write_bytes(OLD)
    elsewhere = note.parent.parent / "elsewhere.md"
    elsewhere.write_bytes(OLD)
    before_rename(monkeypatch, lambda: (note.unlink(), note.symlink_to(elsewhere)))
    assert put(note.parent.parent, wanted) is False
    assert note.is_symlink() and os.listdir(note.parent) == [note.name]


@pytest.mark.parametrize("wanted", [NEW, None])
def test_undisturbed_the_new_version_lies_there_alone(note: Path, wanted: bytes | None) -> None:
    assert put(note.parent.parent, wanted) is True
    check_alone(note, wanted)


def test_a_system_that_exchanges_nothing_still_looks_last(note: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "_renameat2", None)
    assert put(note.parent.parent, NEW) is True
    check_alone(note, NEW)


def atomic_save(path: Path, data: bytes) -> None:
    """As most editors save: a new file renamed over the old one."""
    other = path.with_name("editor~")
    other.write_bytes(data)
    other.replace(path)
