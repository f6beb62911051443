"""kill -9 before any system call that changes something, and what a power cut could find: seen through strace.

A sample spread over all of them; `KILL_SAMPLES=100` takes more, `KILL_SAMPLES=0` every call (most of an hour).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import require_program
from tests.strace import MUTATING, Call, calls, require_strace, spread
from tests.vaults import Two, git

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = int(os.environ.get("KILL_SAMPLES", "8"))  # of the calls of Python, and as many of git's
TASK = "email-20260601T100000Z-0a1b2c3d.md"
pytestmark = pytest.mark.slow


def history(two: Two) -> None:
    """A merge with conflicts waits for A: notes that both changed, a task that both claimed, news from each side."""
    two.seed_files({f"Plans/email/{n}.md": "old\n" for n in range(4)} | {f"Needs_Action/email/{TASK}": "task\n"})
    for n in range(4):
        two.a.write(f"Plans/email/{n}.md", f"A {n}\n")
        two.b.write(f"Plans/email/{n}.md", f"B {n}\n")
    two.a.move(f"Needs_Action/email/{TASK}", f"In_Progress/local/{TASK}")
    two.b.move(f"Needs_Action/email/{TASK}", f"In_Progress/cloud/{TASK}")
    two.a.write("own.md", "own\n")
    two.b.write("Updates/own.md", "own\n")
    two.a.remove("Business_Goals.md")
    two.b.sync()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    history(Two(folder))
    return folder


def copy_of(prepared: Path, folder: Path) -> Two:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(prepared, folder, symlinks=True)
    two = Two(folder, ready=False)
    for node in (two.a, two.b):
        node.git("remote", "set-url", "origin", str(two.remote))
        (node.state / "vault-git-config").unlink(missing_ok=True)
    return two


def sync_of(two: Two) -> list[str]:
    """The command that syncs A."""
    node = two.a
    program = (
        "from pathlib import Path; from tests.vaults import Node;"
        f"Node('local', Path({str(node.root)!r}), Path({str(node.state)!r}), Path({str(node.remote)!r})).sync()"
    )
    return [sys.executable, "-c", program]


def run(command: list[str], **environ: str) -> int:
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environ, capture_output=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL, 128 + signal.SIGKILL), done.stderr.decode()
    return done.returncode


class Wrapper:
    """A `git` in front of the real one: numbers the calls, and traces all of them (to count) or one (to kill)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        strace, real = require_strace(), require_program("git")
        (folder / "git").write_text(
            f"""#!/bin/sh
n=$(($(cat {folder}/number) + 1)); echo $n > {folder}/number
if [ -z "$KILL_CALL" ]; then
    exec {strace} -f -qq -o {folder}/calls.$n -e trace='{MUTATING}' -e signal=none {real} "$@"
elif [ "$KILL_CALL" = $n ]; then
    {strace} -f -qq -o /dev/null -e trace='{MUTATING}' -e "$KILL_AT" {real} "$@"
    code=$?
    [ $code = 137 ] && kill -9 $PPID
    exit $code
fi
exec {real} "$@"
"""
        )
        (folder / "git").chmod(0o755)

    def run(self, two: Two, number: int | None = None, call: Call | None = None) -> None:
        (self.folder / "number").write_text("0")
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        run(sync_of(two), PATH=path, KILL_CALL=str(number or ""), KILL_AT=call.injection if call else "")

    def counted(self) -> list[tuple[int, Call]]:
        """Each call of git, by number, with each of its changing system calls."""
        found = []
        for trace in sorted(self.folder.glob("calls.*"), key=lambda path: int(path.suffix[1:])):
            found += [(int(trace.suffix[1:]), call) for call in calls(trace)]
        return found


def check_recovers(two: Two, where: object) -> None:
    for node in (two.a, two.b):
        for lock in (node.root / ".git").rglob("*.lock"):
            os.utime(lock, (1_700_000_000,) * 2)  # as if found a while later
    for lock in two.remote.rglob("*.lock"):
        lock.unlink()  # as the remote's owner does
    results = [*two.settle(), *two.settle()]
    assert [result.error for result in results[4:]] == [None] * 4, where
    files = two.a.files()
    assert [files[f"Plans/email/{n}.md"] for n in range(4)] == [f"A {n}\n".encode() for n in range(4)], where
    assert [path for path in files if path.endswith(TASK)] == [f"In_Progress/cloud/{TASK}"], where
    assert files["own.md"] == files["Updates/own.md"] == b"own\n" and "Business_Goals.md" not in files, where
    assert {f"B {n}\n".encode() for n in range(4)} <= {data.partition(b"\n---\n")[2] for data in files.values()}, where
    two.assert_agree()


def test_killed_before_any_changing_call_of_git(prepared: Path, tmp_path: Path) -> None:
    wrapper = Wrapper(tmp_path / "bin")
    wrapper.run(copy_of(prepared, tmp_path / "v"))
    points = wrapper.counted()
    assert len(points) > 50, "a merge changes much"
    for number, call in spread(points, SAMPLE):
        two = copy_of(prepared, tmp_path / "v")
        wrapper.run(two, number, call)
        check_recovers(two, (number, call))


def test_killed_before_any_changing_call_of_our_own(prepared: Path, tmp_path: Path) -> None:
    strace = require_strace()
    trace = tmp_path / "trace"
    quiet = [strace, "-qq", "-e", "signal=none"]
    run([*quiet, "-o", str(trace), "-e", f"trace={MUTATING}", *sync_of(copy_of(prepared, tmp_path / "v"))])
    points = calls(trace)
    assert len(points) > 30
    for call in spread(points, SAMPLE):
        two = copy_of(prepared, tmp_path / "v")
        code = run([*quiet, "-o", str(trace), "-e", f"trace={MUTATING}", "-e", call.injection, *sync_of(two)])
        assert code, f"not killed at {call}"
        check_recovers(two, call)


# --------------------------------------------------------------------------------------------------------- power cuts


class Writes:
    """What strace saw of written files: which data was not yet on the disk when a name was given to it."""

    _CALL = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)")

    def __init__(self, trace: Path) -> None:
        self.dirty: set[str] = set()
        self.flushing: set[str] = set()
        self.named_dirty: list[str] = []
        self.renamed: list[tuple[int, str]] = []
        self.folders: list[tuple[int, str]] = []
        waiting: dict[str, str] = {}
        for number, line in enumerate(trace.read_text(errors="replace").splitlines()):
            process = line.split()[0]
            if line.endswith("<unfinished ...>"):
                waiting[process] = line.removesuffix("<unfinished ...>")
                continue
            if "resumed>" in line:
                line = waiting.pop(process) + line.partition("resumed>")[2]
            match = self._CALL.match(line)
            if match and not match[4].startswith("-"):
                self._note(number, match[2], match[3])

    def _note(self, number: int, call: str, arguments: str) -> None:
        opened = re.match(r"\d+<([^>]*)>", arguments)
        names = re.findall(r'"([^"]*)"', arguments)
        if call in ("write", "pwrite64", "ftruncate") and opened:
            self.dirty.add(opened[1])
        elif call in ("fsync", "fdatasync") and opened:
            self.dirty.discard(opened[1])
            self.folders.append((number, opened[1]))
            if "bulk_fsync" in opened[1]:  # core.fsyncMethod=batch: one flush for all that are on their way
                self.dirty -= self.flushing
                self.flushing.clear()
        elif call == "sync_file_range" and opened:
            self.flushing.add(opened[1])
        elif call.startswith(("rename", "link")) and len(names) == 2:
            old, new = names
            if old in self.dirty and "/tmp_objdir-" not in new:  # there an object waits for its flush
                self.named_dirty.append(new)
            for known in (self.dirty, self.flushing):
                if old in known:
                    known.discard(old)
                    known.add(new)
            self.renamed.append((number, new))


def test_no_file_gets_its_name_before_its_data_is_on_the_disk(prepared: Path, tmp_path: Path) -> None:
    """So a power cut finds no empty object, ref, note or memory of ours; and the branch moves when the notes lie."""
    strace = require_strace()
    two, trace = copy_of(prepared, tmp_path / "v"), tmp_path / "trace"
    calls = "trace=write,pwrite64,ftruncate,fsync,fdatasync,sync_file_range,?rename,renameat,renameat2,?link,linkat"
    run([strace, "-f", "-y", "-qq", "-o", str(trace), "-e", calls, "-e", "signal=none", *sync_of(two)])
    seen = Writes(trace)
    root, state = str(two.a.root), str(two.a.state)
    scratch = f"{state}/tmp/"  # a temporary index, gone when the sync is
    unsafe = [name for name in seen.named_dirty if name.startswith((root, state)) and not name.startswith(scratch)]
    assert set(unsafe) <= {f"{root}/.git/index"}, "an empty index is mended, and nothing is lost with it"
    objects = [name for _, name in seen.renamed if f"{root}/.git/objects/" in name]
    assert len(objects) >= 5 and f"{state}/sync.json" in [name for _, name in seen.renamed]
    moved = max(number for number, name in seen.renamed if name == f"{root}/.git/refs/heads/main")
    notes = [(n, name) for n, name in seen.renamed if name.startswith(f"{root}/") and f"{root}/.git/" not in name]
    assert f"{root}/Updates/own.md" in [name for _, name in notes]
    for number, name in notes:
        assert number < moved, "the branch moves last"
        assert any(number < n < moved and folder == str(Path(name).parent) for n, folder in seen.folders), name
    lasting = [name for name in seen.dirty if name.startswith((root, state)) and not name.startswith(scratch)]
    left = {Path(name).name for name in lasting}
    for_people = {
        "HEAD",
        "main",
        "vault-sync.running",
        "claims.lock",
        "sync_runs.jsonl",
    }  # reflogs, notes on locks, runs
    assert left <= {*for_people, "attributes"}
    git(two.remote, "fsck", "--full")
