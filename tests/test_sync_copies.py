"""A task that lies in two stages for a moment: copied by hand, claimed while a sync moves it, or put right by half."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vaults import Node, Two, claims_of, git

TASK = "general-20260601T100000Z-0123abcd.md"
TODO, NO = f"Needs_Action/general/{TASK}", f"Rejected/{TASK}"


@pytest.fixture
def two(tmp_path: Path) -> Two:
    two = Two(tmp_path)
    two.seed_files({TODO: "task\n"})
    return two


def places(node: Node) -> list[str]:
    return sorted(path for path in node.files() if path.endswith(f"/{TASK}"))


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize("copied", [False, True])
def test_a_task_that_the_cloud_may_not_move_survives_a_kill_while_it_is_put_back(
    two: Two, copied: bool, edited: bool, count: int
) -> None:
    if copied:
        two.b.write(NO, "task\n")
        two.b.write(TODO, "task, edited\n" if edited else "task\n")
    else:
        two.b.move(TODO, NO)
        two.b.write(NO, "task, edited\n" if edited else "task\n")
    killed = two.b.sync_and_die("put right", count)
    assert killed or count > 2
    assert places(two.b), "it lies somewhere at any moment"
    two.settle()
    assert places(two.a) == places(two.b) == [TODO]
    assert two.b.read(TODO) == b"task\n"
    assert any(data.endswith(b"edited\n") for data in two.b.conflicts().values()) == edited
    two.assert_agree()


def push_move(two: Two, to: str) -> None:
    """A person moves the task on the phone."""
    phone = two.clone("phone")
    (phone / to).parent.mkdir(exist_ok=True, parents=True)
    git(phone, "mv", TODO, to)
    two.commit_all(phone)
    git(phone, "push", "-q")


def once(node: Node, step: str, act: Callable[[], object]) -> None:
    """Do `act` once, when the node's next sync passes `step`."""
    left = [act]
    node.checkpoint = lambda name: left.pop()() and None if left and name == step else None


def claim(node: Node) -> Path:
    taken = claims_of(node).claim(node.root / TODO)
    assert taken is not None
    return taken


@pytest.mark.parametrize(
    ("to", "killed"),
    [(to, killed) for to in (NO, f"Quarantine/{TASK}", f"Done/{TASK}") for killed in ("", "intent", "file")]
    + [(f"Needs_Action/email/{TASK}", ""), (f"Needs_Action/email/{TASK}", "file")],
)
def test_what_a_person_did_stands_over_a_claim_that_came_while_it_arrived(two: Two, to: str, killed: str) -> None:
    push_move(two, to)
    if killed:
        assert two.a.sync_and_die(killed)
        claim(two.a)
    else:
        once(two.a, "intent", lambda: claim(two.a))
    two.settle()
    two.settle()
    assert places(two.a) == places(two.b) == [to]
    assert two.a.alerts == [] and not two.a.conflicts()
    two.assert_agree()


def test_a_claim_of_the_clouds_that_came_too_late_makes_no_alert(two: Two) -> None:
    two.a.move(TODO, NO)
    two.a.sync()
    once(two.b, "intent", lambda: claim(two.b).write_text("task\ndone by half\n"))
    results = [*two.settle(), *two.settle()]
    assert [result.refused for result in results] == [[]] * 8
    assert places(two.a) == places(two.b) == [NO]
    assert [data.endswith(b"done by half\n") for data in two.a.conflicts().values()] == [True]
    assert [title for _, title, _ in two.b.alerts] == [f"{TASK} was edited while it was moved elsewhere"]
    two.assert_agree()


def test_a_rejection_by_copy_stands_over_a_claim_during_the_sync(two: Two) -> None:
    two.a.write(NO, "task\n")
    once(two.a, "gathered", lambda: claim(two.a))
    two.settle()
    assert places(two.a) == places(two.b) == [NO]
    two.assert_agree()


@pytest.mark.parametrize("what", ["writes on", "is killed", "edits the old one"])
def test_a_rejection_by_copy_is_not_turned_round(two: Two, what: str) -> None:
    two.a.write(NO, "task, with a word\n")
    if what == "is killed":
        assert two.a.sync_and_die("committed")
    else:
        path = NO if what == "writes on" else TODO
        once(two.a, "gathered", lambda: two.a.write(path, "task, and why\n"))
    two.settle()
    two.settle()
    assert places(two.a) == places(two.b) == [NO]
    assert two.a.read(NO) == (b"task, and why\n" if what == "writes on" else b"task, with a word\n")
    kept = {data.rpartition(b"---\n")[2] for data in two.a.conflicts().values()}
    assert kept == ({b"task\n", b"task, and why\n"} if what == "edits the old one" else {b"task\n"})
    two.assert_agree()


@pytest.mark.parametrize("known", [False, True])
def test_a_task_that_a_person_copies_out_of_done_is_done_again(two: Two, known: bool) -> None:
    """It lies in both, as the alert says, also where an agent takes it before the sync."""
    two.a.move(TODO, f"Done/{TASK}")
    two.settle()
    two.a.write(TODO, "task\nonce more, please\n")
    if known:
        two.settle()
    claim(two.a)
    two.settle()
    assert places(two.a) == places(two.b) == [f"Done/{TASK}", f"In_Progress/local/{TASK}"]
    assert [title for _, title, _ in two.a.alerts] == [f"{TASK} lies in two stages"]
    assert not two.a.conflicts()
    two.assert_agree()
