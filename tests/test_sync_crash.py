"""kill -9 at every step of a sync: the next run completes, nothing is lost, nothing is doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.vaults import Node, Two
from utils.vault import atomic

STEPS = ["gathered", "committed", "fetched", "decided", "pushed", "intent", "file", "applied", "moved"]
#: The numbers of the scenarios where a sync is longest on its way, fewer elsewhere: kept short for each run of CI.
MANY = {"file": 400, "pushed": 400, "applied": 400}
ROOT = Path(__file__).resolve().parent.parent


def sync_and_die(node: Node, step: str, count: int) -> bool:
    """Sync in a process that kills itself, like kill -9, the `count`-th time it passes `step`; whether it got there."""
    node.live |= {data for path, data in node.files().items() if not path.endswith(".jsonl")}
    program = f"""
import os, signal
from pathlib import Path
from tests.vaults import Node
passed = 0
def checkpoint(name):
    global passed
    passed += name == {step!r}
    if passed == {count}:
        os.kill(os.getpid(), signal.SIGKILL)
node = Node({node.zone!r}, Path({str(node.root)!r}), Path({str(node.state)!r}), Path({str(node.remote)!r}))
node.checkpoint = checkpoint
node.sync()
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode != 0


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def check_everything_after(two: Two, expected: dict[str, bytes]) -> None:
    two.settle()
    two.settle()
    files = two.a.files()
    assert {path: files.get(path) for path in expected} == expected
    places: dict[str, int] = {}
    for path in files:
        if path.startswith(("Needs_Action/", "In_Progress/", "Done/", "Rejected/")) and not path.endswith(".gitkeep"):
            name = path.rpartition("/")[2]
            places[name] = places.get(name, 0) + 1
    assert set(places.values()) <= {1}
    two.assert_agree()


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("count", [1, 37])
def test_25_killed_while_pulling_many_notes(two: Two, step: str, count: int) -> None:
    many = MANY.get(step, 100)
    two.seed_files({f"n/{n}.md": f"old {n}\n" for n in range(many)})
    for n in range(many):
        if n % 3 == 0:
            two.a.remove(f"n/{n}.md")
        else:
            two.a.write(f"n/{n}.md", f"new {n}\n")
    two.a.sync()
    two.b.write("Plans/email/own.md", "own\n")
    if not sync_and_die(two.b, step, count) and step == "file":
        raise AssertionError("the step was never reached")
    check_everything_after(
        two, {f"n/{n}.md": f"new {n}\n".encode() for n in range(many) if n % 3} | {"Plans/email/own.md": b"own\n"}
    )
    assert not two.b.has("n/0.md")


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_26_killed_while_committing_and_pushing_many_notes(two: Two, step: str) -> None:
    many = MANY.get(step, 100)
    for n in range(many):
        two.a.write(f"n/{n}.md", f"{n}\n")
    sync_and_die(two.a, step, 1)
    check_everything_after(two, {f"n/{n}.md": f"{n}\n".encode() for n in range(many)})


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("who", ["a", "b"])
def test_27_killed_in_a_merge_with_many_conflicts(two: Two, step: str, who: str) -> None:
    many = 50 if step in MANY else 25
    tasks = [f"email-20260601T1000{n:02}Z-0a1b2c3d.md" for n in range(20)]
    two.seed_files(
        {f"Plans/email/{n}.md": "old\n" for n in range(many)} | {f"Needs_Action/email/{name}": name for name in tasks}
    )
    for n in range(many):
        two.a.write(f"Plans/email/{n}.md", f"A {n}\n")
        two.b.write(f"Plans/email/{n}.md", f"B {n}\n")
    for name in tasks:
        two.a.move(f"Needs_Action/email/{name}", f"In_Progress/local/{name}")
        two.b.move(f"Needs_Action/email/{name}", f"In_Progress/cloud/{name}")
    first, second = (two.a, two.b) if who == "b" else (two.b, two.a)
    first.sync()
    assert sync_and_die(second, step, 1), "a merge passes every step"
    check_everything_after(two, {f"Plans/email/{n}.md": f"A {n}\n".encode() for n in range(many)})
    assert len(two.a.conflicts()) == many


@pytest.mark.parametrize("step", ["intent", "file", "applied", "moved"])
def test_25_a_half_applied_pull_is_no_edit_of_local(two: Two, step: str) -> None:
    """Were the branch ahead of the files, the old files would count as the human's, and revert the other node."""
    two.seed_files({f"Plans/email/{n}.md": "old\n" for n in range(4)})
    for n in range(3):
        two.b.write(f"Plans/email/{n}.md", "new\n")
    two.b.remove("Plans/email/3.md")
    two.b.sync()
    assert two.a.sync_and_die(step)
    two.settle()
    assert [two.b.read(f"Plans/email/{n}.md") for n in range(3)] == [b"new\n"] * 3
    assert not two.b.has("Plans/email/3.md") and two.a.conflicts() == {}
    two.assert_agree()


def test_what_a_person_does_after_the_last_step_of_a_killed_sync_stays_done(two: Two) -> None:
    """The branch moves last: once it has, the next run must not put a file back that was removed since."""
    two.seed_files({"Plans/email/trip.md": "old\n"})
    two.b.write("Plans/email/trip.md", "new\n")
    two.b.write("Plans/email/more.md", "more\n")
    two.b.sync()
    assert two.a.sync_and_die("moved")
    two.a.remove("Plans/email/more.md")
    two.a.write("Plans/email/trip.md", "old\n")
    two.settle()
    assert not two.b.has("Plans/email/more.md"), "the person removed it"
    assert two.b.read("Plans/email/trip.md") == b"old\n", "the person took it back"
    two.assert_agree()


@pytest.mark.parametrize("step", ["intent", "file", "applied", "moved"])
@pytest.mark.parametrize("claimed_there", [False, True])
def test_a_task_moved_after_a_killed_sync_lies_in_one_place(two: Two, step: str, claimed_there: bool) -> None:
    """S4: what arrived before the crash, and was carried on by a person, does not arrive a second time."""
    task = "email-20260601T100000Z-0a1b2c3d.md"
    two.seed_files({"Plans/email/trip.md": "x\n"} | ({f"Needs_Action/email/{task}": "task\n"} if claimed_there else {}))
    here = f"Needs_Action/email/{task}"
    if claimed_there:
        two.b.move(here, f"In_Progress/cloud/{task}")
    else:
        two.b.write(here, "task\n")
    two.b.sync()
    assert two.a.sync_and_die(step)
    if two.a.has(here):
        two.a.move(here, f"Rejected/{task}")
    two.settle()
    places = [path for path in two.b.files() if path.endswith(task)]
    assert len(places) == 1, places
    assert two.a.alerts == [], "nobody copied it"
    two.assert_agree()


@pytest.mark.parametrize("step", ["pushed", "intent"])
@pytest.mark.parametrize("more", [False, True])
def test_our_own_merge_is_no_strangers_when_we_were_killed_after_its_push(two: Two, step: str, more: bool) -> None:
    """S4: the claim that was on main first stands, and nobody is blamed for what the merge removed."""
    task = "email-20260601T100000Z-0a1b2c3d.md"
    two.seed_files({f"Needs_Action/email/{task}": "task\n"})
    two.a.move(f"Needs_Action/email/{task}", f"In_Progress/local/{task}")
    two.b.move(f"Needs_Action/email/{task}", f"In_Progress/cloud/{task}")
    two.b.sync()
    assert two.a.sync_and_die(step)
    if more:  # both go on from there
        two.b.sync()
        two.b.write("Plans/email/more.md", "more\n")
        two.b.write("Dashboard.md", "not the cloud's\n")
        two.b.sync()
        two.a.write("note.md", "mine\n")
    results = two.settle()
    assert [path for path in two.a.files() if path.endswith(task)] == [f"In_Progress/cloud/{task}"]
    assert [result.refused for result in results] == [[]] * 4
    two.assert_agree()


def test_the_index_follows_a_removal_that_a_killed_sync_had_committed(two: Two) -> None:
    two.a.remove("Dashboard.md")
    assert two.a.sync_and_die("decided")
    two.settle()
    two.assert_agree()


@pytest.mark.slow
def test_a_git_command_killed_at_random_leaves_a_vault_that_syncs(two: Two) -> None:
    """Kill the whole process group at growing delays, git commands and all."""
    for number in range(12):
        two.a.write(f"a{number}.md", f"{number}\n" * 50)
        two.b.write(f"Updates/b{number}.md", f"{number}\n")
        two.b.sync()
        program = (
            "from pathlib import Path; from tests.vaults import Node;"
            f"Node('local', Path({str(two.a.root)!r}), Path({str(two.a.state)!r}), Path({str(two.remote)!r})).sync()"
        )
        process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            process.wait(0.15 + number * 0.05)
        except subprocess.TimeoutExpired:
            for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                try:
                    os.kill(int(child), signal.SIGKILL)
                except ProcessLookupError:
                    continue
            process.kill()
            process.wait()
    check_everything_after(two, {f"a{n}.md": f"{n}\n".encode() * 50 for n in range(12)})


def test_a_claim_that_yielded_stays_yielded_after_a_kill_behind_the_push(two: Two) -> None:
    """The next run meets its own merge on the remote: nobody else answers for what it took back there."""
    name = "email-20260601T100000Z-0a1b2c3d.md"
    two.seed_files({f"Needs_Action/email/{name}": "task\n"})
    two.a.move(f"Needs_Action/email/{name}", f"In_Progress/local/{name}")
    two.b.move(f"Needs_Action/email/{name}", f"In_Progress/cloud/{name}")
    two.b.sync()
    assert sync_and_die(two.a, "pushed", 1)
    two.a.write("since.md", "written after the crash\n")
    result = two.a.sync()
    assert result.refused == [] and two.a.has(f"In_Progress/cloud/{name}")
    check_everything_after(two, {"since.md": b"written after the crash\n", f"In_Progress/cloud/{name}": b"task\n"})


LITTER = "Updates/.tmp-{}123456789abcdef"


@pytest.mark.parametrize("share", [1, 7, 13, 21])
def test_a_killed_run_leaves_no_temporary_file(two: Two, share: int) -> None:
    """Of the version that came, whole or half written, and of the one that gave way. What is somebody else's stays: a
    file being written, an edit that came out of the exchange in the last moment."""
    two.seed_files({"Updates/x.md": "the old version\n", "Updates/y.md": "another old version\n"})
    two.a.write("Updates/x.md", "the version that came\n")
    two.a.write("Updates/y.md", "y came\n")
    two.a.sync()
    assert two.b.sync_and_die("file")
    contents = [b"the version that came\n"[:share], b"another old version\n", b"a claim's, being", b"another old"]
    for number, data in enumerate(contents):
        two.b.write(LITTER.format(number), data)
    (two.b.root / LITTER.format(4)).symlink_to("x.md")
    assert two.b.sync().error is None
    assert [number for number in range(5) if two.b.has(LITTER.format(number))] == [2, 3, 4]


def test_what_is_swept_after_a_kill_lies_in_the_vault_and_is_there_still(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.seed_files({"Notes/f/x.md": "old\n", "Updates/x.md": "old\n"})
    two.a.write("Notes/f/x.md", "new\n")
    two.a.write("Updates/x.md", "new\n")
    two.a.sync()
    assert two.b.sync_and_die("intent")
    outside = two.folder / "outside"
    (two.b.root / "Notes/f").rename(outside)
    (two.b.root / "Notes/f").symlink_to(outside)
    (outside / ".tmp-0123456789abcdef").write_text("old\n")
    two.b.write(LITTER.format(0), "live\n")
    listed = atomic.temporaries

    def renamed_meanwhile(folder: Path) -> list[Path]:
        found = listed(folder)
        for file in found:
            file.rename(file.with_name("made.md"))
        return found

    monkeypatch.setattr(atomic, "temporaries", renamed_meanwhile)
    assert two.b.sync().error is None
    assert (outside / ".tmp-0123456789abcdef").exists() and two.b.read("Updates/made.md") == b"live\n"
