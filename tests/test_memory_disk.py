"""The made-up disk answers as a real one: random calls on both, and whole histories of the executor on both."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acting_ground import laid
from tests.acting_world import World
from tests.memory_disk import Disk
from utils.vault import atomic, jsonl

NAMES = ("a", "b", "folder", "folder/a", "folder/b", "folder/deep", "folder/deep/a", "missing/a", "a/below", "x" * 300)


def said(act: Callable[[], Any]) -> Any:
    """What an act answers, or how the system refuses it."""
    try:
        return act()
    except OSError as error:
        return type(error), error.errno


def opened(path: Path, flags: int) -> int:
    """The size of what was opened so, written and read back by its descriptor."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        if flags & os.O_APPEND:
            os.write(descriptor, b"a line\n")
            os.pread(descriptor, 3, 1)
        os.fsync(descriptor)
        return os.fstat(descriptor).st_mode
    finally:
        os.close(descriptor)


def looked(path: Path) -> tuple[int, int, int]:
    status = path.stat(follow_symlinks=False)
    size = status.st_size if path.is_file() else 0
    return status.st_mode & ~0o777, size, status.st_nlink if path.is_file() else 0


def act(root: Path, dice: random.Random, data: bytes) -> Any:
    """One call out of those that the program makes."""
    path, other = root / dice.choice(NAMES), root / dice.choice(NAMES)
    flags = dice.choice([os.O_RDONLY, os.O_RDWR | os.O_APPEND | os.O_CREAT, os.O_WRONLY | os.O_CREAT | os.O_EXCL])
    calls: list[Callable[[], Any]] = [
        lambda: path.read_bytes(),
        lambda: path.read_text(encoding="utf-8"),
        lambda: path.write_bytes(data),
        lambda: atomic.write(path, data, replace=dice.random() < 0.5),
        lambda: atomic.replace_if(path, data, lambda there: there.read_bytes() == b"1"),
        lambda: atomic.remove_if(path, lambda there: there.is_file() and there.read_bytes() == b"1"),
        lambda: atomic.rename_noreplace(path, other) if path.is_file() else None,
        lambda: path.is_file() and not other.is_dir() and path.rename(other).name,
        lambda: jsonl.append(path, {"entry": len(data)}),
        lambda: list(jsonl.newest(path)) if not path.is_dir() else None,
        lambda: os.link(path, other) if not path.is_dir() else None,
        lambda: path.unlink(),
        lambda: path.mkdir(parents=dice.random() < 0.5, exist_ok=dice.random() < 0.5),
        lambda: sorted(os.listdir(path)),
        lambda: sorted((entry.name, entry.is_dir(), entry.is_file()) for entry in os.scandir(path)),
        lambda: looked(path),
        lambda: (path.exists(), path.is_dir(), path.is_symlink(), os.path.lexists(path), atomic.is_there(path)),
        lambda: opened(path, flags),
        lambda: os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY)),
        lambda: os.utime(path, (5.0, 5.0)) if path.exists() else None,
        lambda: os.truncate(path, len(data) + 1),
        lambda: sorted(found.name for found in root.rglob("*")),
        lambda: [found.name for found in sorted(path.glob("*")) if found.is_file()] if path.is_dir() else None,
    ]
    return said(dice.choice(calls))


def played(root: Path, seed: int) -> list[Any]:
    """What a hundred calls answer, and what lies there at the end."""
    dice = random.Random(seed)
    answers = [act(root, dice, str(number % 3).encode()) for number in range(100)]
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return [*answers, [(str(path.relative_to(root)), path.read_bytes()) for path in files]]


def test_random_calls_are_answered_as_by_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    refused = 0
    for seed in range(150):
        real, made_up = tmp_path / f"real-{seed}", tmp_path / f"made-up-{seed}"
        real.mkdir()
        expected = played(real, seed)
        with Disk(str(made_up)).mounted():
            assert played(made_up, seed) == expected, seed
        assert not made_up.exists()
        refused += sum(isinstance(answer, tuple) and isinstance(answer[0], type) for answer in expected)
    assert refused > 1_000


def test_what_is_not_below_its_root_is_the_systems(tmp_path: Path) -> None:
    beside = tmp_path / "disk-beside"
    with Disk(str(tmp_path / "disk")).mounted():
        beside.write_bytes(b"here")
        with pytest.raises(OSError, match="Bad file descriptor") as refused:
            os.close(1 << 30)
        assert refused.value.errno == errno.EBADF
    assert beside.read_bytes() == b"here"


def told(seeds: range, *, on_disk: bool) -> list[Any]:
    histories = []
    with laid(on_disk=on_disk) as ground:
        for seed in seeds:
            world = World(ground, seed)
            world.play()
            records = world.services("judge").store.recent(100)
            errors = [record.error.replace(record.action_id, "…") for record in records]
            lies = {name: sorted(places) for name, places in world.places().items()}
            histories.append((world.past, world.counts, lies, [title for _, title, _ in world.alerts], errors))
    return histories


def test_histories_of_the_executor_are_the_same_on_a_real_disk() -> None:
    seeds = range(9_000, 9_150)
    assert told(seeds, on_disk=False) == told(seeds, on_disk=True)
