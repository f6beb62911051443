"""kill -9 at a chosen system call: what strace needs to be told, and what its trace says."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest

from tests.servers import require_program

CHANGING = (
    "write pwrite64 rename renameat renameat2 link linkat unlink unlinkat mkdir mkdirat rmdir ftruncate fsync symlink"
    " chmod fchmod utimensat"
)
MUTATING = ",".join(f"?{name}" for name in CHANGING.split())
#: … and what leaves through a socket.
ACTING = f"{MUTATING},fdatasync,sendto,sendmsg,openat"
_CALL = re.compile(r"(?:(?P<thread>\d+) +)?(?P<name>\w+)\(")
Point = TypeVar("Point")


@lru_cache
def require_strace() -> str:
    """The path of strace; skips the test (fails under CI) where it is missing or may not trace."""
    strace = require_program("strace")
    done = subprocess.run([strace, "-f", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        why = f"strace can't trace here (no ptrace in this container?): {done.stderr.strip()[-200:]}"
        pytest.fail(why) if os.environ.get("CI") == "true" else pytest.skip(why)
    return strace


class Call(NamedTuple):
    """The `when`-th call of its name in a thread: strace's `when=` counts each name, and each thread, by itself."""

    name: str
    when: int

    @property
    def injection(self) -> str:
        """What kills a process before it: the value of `-e`."""
        return f"inject={self.name}:signal=SIGKILL:when={self.when}"


def calls(trace: Path) -> list[Call]:
    """The calls of a trace in their order, once each; of `openat` those that may make a file."""
    counts: Counter[tuple[str, str]] = Counter()
    found: dict[Call, None] = {}
    for line in trace.read_text(errors="replace").splitlines():
        match = _CALL.match(line)
        if match is None:  # the second half of a call that another thread interrupted
            continue
        counts[match["thread"], match["name"]] += 1
        if match["name"] != "openat" or "O_CREAT" in line:
            found[Call(match["name"], counts[match["thread"], match["name"]])] = None
    return list(found)


def spread(points: Sequence[Point], sample: int) -> Iterator[Point]:
    """All of them (0), or a sample that reaches from the first to the last."""
    step = max(1, len(points) // sample) if sample else 1
    yield from points[step // 2 :: step]
