"""Who works on a task now: one name a task in `STATE_DIR/claims/` for the file of the process that works on it.

That file says which process it is, and its time when the process last gave a sign, of any of its tasks.

A process is known by its id, the time of its start and the boot, so that a reused id is not taken for it. One that is
alive but frozen is not dead. A live process's file is removed by itself or, under the claim lock, by whoever moves the
task on; a dead one's only under the claim lock. So nobody's sign is taken for another's.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from utils.ports import Clock
from utils.vault import atomic

log = logging.getLogger(__name__)

_SUFFIX = ".json"
_LONGEST_NAME = 200
_YOUNG_SECONDS = 60.0
_SIGN = "process-"


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
    """The heartbeats of the claims of one node. Links are not flushed: no process outlives a power cut."""

    def __init__(self, state_dir: Path, clock: Clock) -> None:
        self._folder = state_dir / "claims"
        self._clock = clock
        self._own: tuple[Process, Path] | None = None

    def begin(self, task_id: str, name: str | None = None) -> None:
        """This process works on the task from now on, in place of a dead one; the caller saw to it that no living does,
        and holds the claim lock. `name`: one of its sign's that is to be used up."""
        if name is None:
            name = f"{self._folder}/{atomic.TEMP_PREFIX}{secrets.token_hex(8)}"
            os.link(self.sign(), name)
        os.rename(name, self._file(task_id))

    def inherit(self, task_id: str) -> bool:
        """Begin, if no living process works on the task. The caller holds the claim lock alone."""
        if self.is_worked_on(task_id):
            return False
        self.begin(task_id)
        return True

    def sign(self) -> Path:
        """A sign of life now; the file that names this process, whose other names are its tasks."""
        file = self._named()
        times = (self._clock.now().timestamp(),) * 2
        try:
            os.utime(file, times)
        except FileNotFoundError:  # somebody emptied STATE_DIR
            self._own = None
            file = self._named()
            os.utime(file, times)
        return file

    def _named(self) -> Path:
        """The file that names this process; of a fork, a file of its own."""
        own = Process.own()
        if self._own is None or self._own[0] != own:
            file = self._folder / f"{_SIGN}{own.pid}-{secrets.token_hex(8)}{_SUFFIX}"
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            atomic.write(file, json.dumps(asdict(own)).encode(), mode=0o600, replace=False)
            self._own = own, file
        return self._own[1]

    def beat(self, task_id: str) -> bool:
        """Give a sign; False where the task is not this process's (any more)."""
        if self.worker(task_id) != Process.own():
            return False
        try:
            os.utime(self._file(task_id), (self._clock.now().timestamp(),) * 2)
        except FileNotFoundError:  # moved on in this moment
            return False
        return True

    def end(self, task_id: str) -> None:
        """Nobody works on the task any more. The caller holds the claim lock, if only together with others."""
        Path(self._file(task_id)).unlink(missing_ok=True)

    def worker(self, task_id: str) -> Process | None:
        """Who began to work on the task; maybe dead by now. None where nobody did."""
        file = self._file(task_id)
        return self._read(Path(file)) if atomic.is_there(file) else None

    def _read(self, file: Path) -> Process | None:
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
        """When the worker of a task last gave a sign."""
        try:
            return datetime.fromtimestamp(Path(self._file(task_id)).stat().st_mtime, UTC).replace(microsecond=0)
        except FileNotFoundError:
            return None

    def sweep(self) -> None:
        """Remove what dead processes left. The caller holds the claim lock alone."""
        for file in self._folder.glob(f"*{_SUFFIX}"):
            worker = self._read(file)
            if worker is None or not worker.is_alive:
                file.unlink(missing_ok=True)
        atomic.sweep(self._folder, older_than=self._clock.now().timestamp() - _YOUNG_SECONDS)

    def _file(self, task_id: str) -> str:
        long = len(os.fsencode(task_id)) > _LONGEST_NAME
        name = hashlib.sha256(os.fsencode(task_id)).hexdigest() if long else task_id
        return f"{self._folder}/{name}{_SUFFIX}"


@lru_cache(maxsize=1)
def _own(pid: int) -> Process:
    return Process(pid, _start_of(pid) or "", boot_id())


@lru_cache(maxsize=1)
def boot_id() -> str:
    """What tells this run of the system from others; empty where the system has no such thing (macOS)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except FileNotFoundError:
        return ""


def _start_of(pid: int) -> str | None:
    """When the process began, in ticks since the boot (proc(5), field 22); None where it has ended. Empty where the
    system has no such thing."""
    if not boot_id():
        return "" if _runs(pid) else None
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else fields[18]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):  # ended; or another user's by now
        return False
    return True
