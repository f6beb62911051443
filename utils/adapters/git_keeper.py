"""Keeping the vault's repository small: packing and trimming, at low priority, bounded in time, throwing nothing away.

Every command may be killed at any instruction: git writes a new pack aside and lets go of the old ones last.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from utils.adapters import git_repair
from utils.adapters.git_command import command, environment, is_damage, local_error, scrub
from utils.ports import AdapterError

_GENTLE = ("pack.threads=1", "pack.windowMemory=64m")
_DAY = 24 * 60 * 60
_HEX = "0123456789abcdef"


class GitKeeper:
    """Cares for the repository at `root`. Needs no GitPython. Methods raise `AdapterError`; `retry` at a time-out."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._git_dir = root / ".git"

    def loose(self) -> int:
        """About how many loose objects there are: one folder of 256 is counted, as `git gc --auto` does."""
        try:
            return 256 * sum(len(path.name) > 30 for path in (self._git_dir / "objects" / "17").iterdir())
        except FileNotFoundError:
            return 0

    def pack(self, timeout: float) -> None:
        """Pack loose objects, unreachable ones too, and roll small packs up; within `timeout` seconds in all.

        Where rolling up takes longer than half of that, only what is loose gets packed.
        """
        try:
            self._run(["repack", "--geometric=2", "-d", "-q"], timeout / 2)
        except AdapterError as error:
            if not error.retry:
                raise
            self._run(["repack", "-d", "-q"], timeout / 2)

    def index_history(self, timeout: float) -> None:
        """Write down which commits changed which paths, so that the history of one path is found at once."""
        self._run(["commit-graph", "write", "--reachable", "--changed-paths", "--split", "--no-progress"], timeout)

    def trim_reflogs(self, days: int, timeout: float) -> None:
        """Forget where the branches were more than `days` days ago. The caller sees to it that no sync runs."""
        ages = [f"--expire={days}.days.ago", f"--expire-unreachable={days}.days.ago"]
        self._run(["reflog", "expire", *ages, "--all"], timeout)

    def sweep(self, *, older_than: float) -> int:
        """Remove what killed git commands left half-written before `older_than` (a POSIX time); how many files."""
        objects = self._git_dir / "objects"
        folders = [objects / "pack", *(objects / (a + b) for a in _HEX for b in _HEX)]
        found = [path for folder in folders for pattern in ("tmp_*", ".tmp-*") for path in folder.glob(pattern)]
        found += [*(objects / "info").rglob("*.lock"), *(self._git_dir / "logs").rglob("*.lock")]
        removed = git_repair.sweep(self._git_dir, older_than=older_than - _DAY)  # other litter: a day more, it is rarer
        for path in found:
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < older_than:
                    path.unlink()
                    removed += 1
        return removed

    def _run(self, arguments: Sequence[str], timeout: float) -> None:
        """One command in a process group of its own; killed with all its children when the time is up."""
        scrub()
        gentle = [part for setting in _GENTLE for part in ("-c", setting)]
        nice = ["nice", "-n", "19"] if shutil.which("nice") else []
        process = subprocess.Popen(
            [*nice, *command([*gentle, *arguments])],
            env=os.environ | environment(self._git_dir, self._root),
            cwd=self._root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            _, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise AdapterError(f"git {arguments[0]} took longer than {timeout:g} s", retry=True) from None
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        said = errors.decode("utf-8", "replace")
        if process.returncode or is_damage(said):  # repack leaves out what it can't read, and calls that a success
            raise local_error(arguments[0], said, self._git_dir)
