"""Who works on a task now: one file a task in `STATE_DIR/claims/`, with the process and, as its time, its last sign.

A process is known by its id, the time of its start and the boot, so that a reused id is not taken for it. One that is
alive but frozen is not dead.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from utils.core.task import format_time
from utils.ports import Clock
from utils.vault import atomic

log = logging.getLogger(__name__)

_SUFFIX = ".json"
_LONGEST_NAME = 200
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


@dataclass(frozen=True)
class Process:
    """One process of this machine."""

    pid: int
    started: str
    boot: str

    @classmethod
    def own(cls) -> Process:
        """This process."""
        return _own(os.getpid())

    @property
    def is_alive(self) -> bool:
        """Whether this very process still runs; stopped counts as running."""
        return self.boot == boot_id() and self.started == _start_of(self.pid)


class Heartbeats:
    """The heartbeats of the claims of one node. Nothing here is flushed: no process outlives a power cut."""

    def __init__(self, state_dir: Path, clock: Clock) -> None:
        self._folder = state_dir / "claims"
        self._clock = clock

    def begin(self, task_id: str) -> bool:
        """This process works on the task from now on. False where it has a heartbeat already."""
        file = self._file(task_id)
        if os.path.lexists(file):
            return False
        own, now = Process.own(), self._clock.now()
        data = {"pid": own.pid, "started": own.started, "boot": own.boot, "since": format_time(now)}
        temporary = self._folder / f"{secrets.token_hex(8)}{_SUFFIX}"  # complete or not there
        try:
            descriptor = os.open(temporary, _FLAGS, 0o600)
        except FileNotFoundError:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(temporary, _FLAGS, 0o600)
        try:
            os.write(descriptor, json.dumps(data).encode())
            os.utime(descriptor, (now.timestamp(),) * 2)
        finally:
            os.close(descriptor)
        try:
            atomic.rename_noreplace(temporary, file)
        except FileExistsError:
            temporary.unlink()
            return False
        return True

    def beat(self, task_id: str) -> bool:
        """Give a sign; False where the task is not this process's (any more)."""
        if self.worker(task_id) != Process.own():
            return False
        os.utime(self._file(task_id), (self._clock.now().timestamp(),) * 2)
        return True

    def end(self, task_id: str) -> None:
        """Nobody works on the task any more."""
        self._file(task_id).unlink(missing_ok=True)

    def worker(self, task_id: str) -> Process | None:
        """Who began to work on the task; maybe dead by now. None where nobody did."""
        file = self._file(task_id)
        try:
            data = json.loads(file.read_bytes())
            return Process(int(data["pid"]), str(data["started"]), str(data["boot"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s is damaged (%s): nobody works on that task", file, error)
            return None

    def is_worked_on(self, task_id: str) -> bool:
        """Whether a live process of this node works on the task."""
        worker = self.worker(task_id)
        return worker is not None and worker.is_alive

    def last_beat(self, task_id: str) -> datetime | None:
        """When the worker last gave a sign."""
        try:
            return datetime.fromtimestamp(self._file(task_id).stat().st_mtime, UTC).replace(microsecond=0)
        except FileNotFoundError:
            return None

    def sweep(self, in_progress: Iterable[str]) -> None:
        """Remove the heartbeats of all tasks but these."""
        kept = {self._file(task_id) for task_id in in_progress}
        for file in self._folder.glob(f"*{_SUFFIX}"):
            if file not in kept:
                file.unlink(missing_ok=True)

    def _file(self, task_id: str) -> Path:
        long = len(os.fsencode(task_id)) > _LONGEST_NAME
        name = hashlib.sha256(os.fsencode(task_id)).hexdigest() if long else task_id
        return self._folder / f"{name}{_SUFFIX}"


@lru_cache(maxsize=1)
def _own(pid: int) -> Process:
    return Process(pid, _start_of(pid) or "", boot_id())


@lru_cache(maxsize=1)
def boot_id() -> str:
    """What tells this run of the system from others."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start_of(pid: int) -> str | None:
    """When the process began, in ticks since the boot (proc(5), field 22); None where it has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else fields[18]
