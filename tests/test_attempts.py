"""Tries are remembered until they are taken back or forgotten, however many there are and however full the disk is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from utils.vault.attempts import Attempts

ODD = os.fsdecode(b"caf\xe9/" + b"x" * 400)


def test_no_try_is_forgotten_because_others_are_in_trouble_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    keys = [f"task-{number}" for number in range(1_100)] + [ODD]
    for tried in (1, 2, 3):
        assert {Attempts(tmp_path / "tries").count(key) for key in keys} == {tried}


def test_a_try_taken_back_leaves_the_earlier_ones_and_what_is_forgotten_leaves_nothing(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path / "tries")
    for key in ("a", "a", "b", ODD):
        attempts.count(key)
    attempts.uncount("a")
    attempts.uncount("b")
    attempts.uncount("never tried")
    assert [attempts.tries(key) for key in ("a", "b", ODD)] == [1, 0, 1]
    attempts.keep_only([ODD, "c"])
    assert [attempts.tries(key) for key in ("a", ODD)] == [0, 1]
    attempts.forget(ODD)
    assert not list((tmp_path / "tries").iterdir())


def test_a_disk_that_fails_counts_no_try_and_takes_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = Attempts(tmp_path / "tries")
    for _ in range(2):
        attempts.count("a")

    def fails(*args: object, **more: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    for name in ("os.fsync", "utils.vault.atomic.write"):
        monkeypatch.setattr(name, fails)
    with pytest.raises(OSError, match="Input/output"):
        attempts.count("a")
    assert attempts.tries("a") == 2
    attempts.uncount("a")
    assert attempts.tries("a") == 1
