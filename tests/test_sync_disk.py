"""39: disks that are full, read-only or forbidden, at each moment of a sync; real ones, small, mounted for the test."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.vaults import Node, Two
from utils.vault_sync import SyncResult

PLAN = "Plans/email/trip.md"
MOMENTS = ["before", "committed", "fetched", "decided", "intent", "file", "applied", "moved"]


class Disk:
    """A small disk of its own (tmpfs), mounted at `place`."""

    def __init__(self, place: Path, megabytes: int = 24) -> None:
        self.place = place
        place.mkdir(parents=True, exist_ok=True)
        self._do("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(place))

    def fill(self) -> None:
        """Leave not one byte."""
        descriptor = os.open(self.place / ".filler", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with contextlib.suppress(OSError):
            while os.write(descriptor, b"x" * 65536):
                pass
        with contextlib.suppress(OSError):
            while os.write(descriptor, b"x"):
                pass
        os.close(descriptor)

    def make_room(self) -> None:
        (self.place / ".filler").unlink(missing_ok=True)

    def read_only(self, on: bool) -> None:
        self._do("mount", "-o", "remount,ro" if on else "remount,rw", str(self.place))

    def unmount(self) -> None:
        self._do("umount", "-l", str(self.place))

    @staticmethod
    def _do(*command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


@pytest.fixture
def vault_disk(two: Two, tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    try:
        shutil.copytree(two.b.root, disk.place / "b", symlinks=True)
        two.b.root = disk.place / "b"
        yield disk
    finally:
        disk.unmount()


@pytest.fixture
def state_disk(two: Two, tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    try:
        shutil.copytree(two.b.state, disk.place / "state-b")
        two.b.state = disk.place / "state-b"
        yield disk
    finally:
        disk.unmount()


def history(two: Two) -> None:
    """A has 30 changed notes for B, and B one of its own and an edit that conflicts."""
    two.seed_files({PLAN: "old\n"} | {f"n/{n}.md": f"old {n}\n" for n in range(30)})
    for n in range(30):
        two.a.write(f"n/{n}.md", f"new {n}\n" * 2000)
    two.a.write(PLAN, "A\n")
    two.a.sync()
    two.b.write(PLAN, "B\n")
    two.b.write("Plans/email/own.md", "own\n")


def sync_when(node: Node, moment: str, act: Callable[[], None]) -> SyncResult:
    """Sync, and do `act` when the sync passes `moment`."""
    done: list[str] = []

    def checkpoint(name: str) -> None:
        if name == moment and not done:
            done.append(name)
            act()

    node.checkpoint = checkpoint
    if moment == "before":
        act()
    result = node.sync()
    node.checkpoint = lambda name: None
    assert done or moment == "before", f"the sync never passed {moment}"
    return result


def check_complete(two: Two) -> None:
    for result in [two.b.sync(), *two.settle()]:
        assert result.error is None
    assert two.b.vault_sync().status()["state"] == "idle"
    assert all(two.b.read(f"n/{n}.md") == f"new {n}\n".encode() * 2000 for n in range(30))
    assert two.a.read("Plans/email/own.md") == b"own\n" and two.b.read(PLAN) == b"A\n"
    assert any(b"B\n" in data for data in two.a.conflicts().values())
    two.assert_agree()


@pytest.mark.parametrize("moment", MOMENTS)
def test_39_the_vaults_disk_is_full_then_has_space(two: Two, vault_disk: Disk, moment: str) -> None:
    history(two)
    result = sync_when(two.b, moment, vault_disk.fill)
    if result.result != "error":  # from here on nothing more of weight is written
        assert moment == "moved" and result.error is None
    else:
        assert "disk is full" in str(result.error) and "make room" in str(result.error)
        status = two.b.vault_sync().status()
        assert status["state"] == "error" and status["last_sync"]["error"] == result.error
        assert [level for level, _, _ in two.b.alerts].count("WARNING") == 1
    vault_disk.make_room()
    check_complete(two)


@pytest.mark.parametrize("moment", ["before", "gathered", "decided", "applied"])
def test_39_the_disk_of_the_state_is_full_then_has_space(two: Two, state_disk: Disk, moment: str) -> None:
    history(two)
    result = sync_when(two.b, moment, state_disk.fill)
    assert result.result == "error" and "make room" in str(result.error)
    status = two.b.vault_sync().status()
    assert status["state"] == "error", "true, though nothing could be written down"
    state_disk.make_room()
    check_complete(two)


def test_39_the_vaults_disk_is_read_only_then_writable(two: Two, vault_disk: Disk) -> None:
    history(two)
    vault_disk.read_only(True)
    result = two.b.sync()
    assert result.result == "error" and "mount it for writing" in str(result.error)
    assert two.b.vault_sync().status()["state"] == "error"
    vault_disk.read_only(False)
    check_complete(two)


def test_39_the_disk_of_the_state_is_read_only(two: Two, state_disk: Disk) -> None:
    history(two)
    state_disk.read_only(True)
    result = two.b.sync()
    assert result.result == "error" and "mount it for writing" in str(result.error)
    assert two.b.vault_sync().status()["state"] == "error"
    state_disk.read_only(False)
    check_complete(two)


def test_39_the_remotes_disk_is_full(two: Two, tmp_path: Path) -> None:
    disk = Disk(tmp_path / "disk")
    try:
        shutil.copytree(two.remote, disk.place / "remote.git")
        for node in (two.a, two.b):
            node.git("remote", "set-url", "origin", str(disk.place / "remote.git"))
        disk.fill()
        two.a.write("note.md", "x\n" * 5000)
        result = two.a.sync()
        assert result.result == "error" and "its disk is full" in str(result.error)
        disk.make_room()
        assert two.a.sync().error is None and two.b.sync().error is None
        assert two.b.read("note.md") == b"x\n" * 5000
    finally:
        disk.unmount()


@pytest.mark.parametrize("where", ["refs/heads", "."])
def test_39_a_folder_of_git_that_this_user_may_not_write(two: Two, where: str) -> None:
    """`chattr +i` forbids even root; where the file system has no such flag, the test is skipped."""
    history(two)
    folder = (two.b.root / ".git" / where).resolve()
    if subprocess.run(["chattr", "+i", str(folder)], capture_output=True, check=False).returncode:
        pytest.skip("this file system has no immutable flag")
    try:
        result = two.b.sync()
    finally:
        subprocess.run(["chattr", "-i", str(folder)], check=True)
    assert result.result == "error" and "may not write there" in str(result.error)
    check_complete(two)
