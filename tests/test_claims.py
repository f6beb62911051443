"""Claim-by-move: one winner, nothing overwritten, every step in the log."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.adapters.clock import SystemClock
from utils.claim_task import Claims, Gone, TargetTaken
from utils.core.stages import TRANSITIONS, IllegalMove, Stage, check_move
from utils.core.task import make_id
from utils.vault import atomic, jsonl
from utils.vault.layout import Layout, OutsideVault


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "vault")


@pytest.fixture
def make_claims(layout: Layout, tmp_path: Path) -> Callable[[str], Claims]:
    return lambda agent: Claims(layout, tmp_path / "state", SystemClock(), agent)


def meta(key: str = "mail", domain: str = "email") -> dict[str, str]:
    return {"id": make_id(domain, datetime(2026, 6, 1, tzinfo=UTC), key), "domain": domain, "subject": key}


def test_from_arrival_to_done_each_step_is_a_line(layout: Layout, make_claims: Callable[[str], Claims]) -> None:
    cloud = make_claims("cloud")
    created = cloud.create(Stage.NEEDS_ACTION, meta(), "body")
    before = created.read_bytes()
    claimed = cloud.claim(created)
    assert claimed == layout.root / "In_Progress/cloud" / created.name
    done = cloud.move(claimed, Stage.DONE)
    assert done.read_bytes() == before
    lines = jsonl.tail(layout.claims_log, 10)
    assert [(line["event"], line["agent"], line["from"], line["to"]) for line in lines] == [
        ("created", "cloud", None, f"Needs_Action/email/{created.name}"),
        ("claimed", "cloud", f"Needs_Action/email/{created.name}", f"In_Progress/cloud/{created.name}"),
        ("done", "cloud", f"In_Progress/cloud/{created.name}", f"Done/{created.name}"),
    ]


def test_the_same_task_is_never_created_twice_wherever_it_lies_by_now(make_claims: Callable[[str], Claims]) -> None:
    cloud = make_claims("cloud")
    first = cloud.create(Stage.NEEDS_ACTION, meta(), "one")
    claimed = cloud.claim(first)
    assert claimed is not None
    assert cloud.create(Stage.NEEDS_ACTION, meta(), "two") == claimed
    done = cloud.move(claimed, Stage.DONE)
    assert cloud.create(Stage.NEEDS_ACTION, meta(), "three") == done
    assert not first.exists()


def test_losing_a_claim_is_an_answer_and_nothing_is_overwritten(
    layout: Layout, make_claims: Callable[[str], Claims]
) -> None:
    path = make_claims("cloud").create(Stage.NEEDS_ACTION, meta(), "body")
    assert make_claims("cloud").claim(path) is not None
    assert make_claims("local").claim(path, "local") is None

    again = layout.folder(Stage.NEEDS_ACTION, domain="email") / path.name
    atomic.write(again, b"a namesake")
    assert make_claims("cloud").claim(again) is None
    assert again.read_bytes() == b"a namesake"


def test_a_move_off_the_table_or_out_of_the_vault_moves_nothing(
    layout: Layout, make_claims: Callable[[str], Claims], tmp_path: Path
) -> None:
    claims = make_claims("local")
    path = claims.create(Stage.PENDING_APPROVAL, meta(), "body")
    with pytest.raises(IllegalMove):
        claims.move(path, Stage.DONE)
    with pytest.raises(IllegalMove):
        claims.create(Stage.APPROVED, meta("other"), "forged")
    with pytest.raises(OutsideVault):
        claims.claim(tmp_path / "elsewhere.md")
    with pytest.raises(OutsideVault):
        claims.claim(layout.root / ".." / "elsewhere.md")
    assert path.exists()


def test_a_taken_target_and_a_vanished_source_are_told_apart(
    layout: Layout, make_claims: Callable[[str], Claims]
) -> None:
    claims = make_claims("local")
    path = claims.create(Stage.PENDING_APPROVAL, meta(), "body")
    atomic.write(layout.folder(Stage.APPROVED) / path.name, b"namesake")
    with pytest.raises(TargetTaken):
        claims.move(path, Stage.APPROVED, reason="why")
    path.unlink()
    with pytest.raises(Gone):
        claims.move(path, Stage.REJECTED)
    assert list(layout.files(Stage.APPROVED)) == [layout.folder(Stage.APPROVED) / path.name]


def test_quarantine_keeps_every_file_with_its_reason(layout: Layout, make_claims: Callable[[str], Claims]) -> None:
    claims = make_claims("cloud")
    folder = layout.folder(Stage.NEEDS_ACTION, domain="email")
    kept = []
    for content in (b"one", b"two"):
        atomic.write(folder / "broken.md", content)
        kept.append(claims.quarantine(folder / "broken.md", "broken YAML in line 3"))
    assert [path.read_bytes() for path in kept] == [b"one", b"two"]
    assert all("broken YAML in line 3" in layout.reason(path).read_text() for path in kept)
    assert list(layout.files(Stage.QUARANTINE)) == sorted(kept)


def test_a_reason_goes_with_the_file_and_an_old_one_goes_away(
    layout: Layout, make_claims: Callable[[str], Claims]
) -> None:
    claims = make_claims("local")
    path = claims.move(claims.create(Stage.PENDING_APPROVAL, meta(), "b"), Stage.APPROVED)
    back = claims.move(path, Stage.PENDING_APPROVAL, domain="email", reason="edited after the approval")
    assert "edited after the approval" in layout.reason(back).read_text()
    approved = claims.move(back, Stage.APPROVED)
    assert not layout.reason(back).exists()
    assert not layout.reason(approved).exists()


@pytest.mark.parametrize("agent", ["local", "cloud"])
def test_no_agent_takes_up_what_was_rejected(layout: Layout, make_claims: Callable[[str], Claims], agent: str) -> None:
    """But Local, where the request that it was rejected with is back (S3)."""
    claims = make_claims(agent)
    path = claims.move(
        claims.move(claims.create(Stage.NEEDS_ACTION, meta(), "body"), Stage.IN_PROGRESS), Stage.REJECTED
    )
    with pytest.raises(IllegalMove):
        claims.claim(path)
    if agent == "cloud":
        with pytest.raises(IllegalMove):
            claims.move(path, Stage.IN_PROGRESS)
        assert path.exists()
    else:
        assert claims.move(path, Stage.IN_PROGRESS) == layout.place(path.name, Stage.IN_PROGRESS, agent="local")


def test_a_symbolic_link_is_no_task(layout: Layout, make_claims: Callable[[str], Claims], tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("secret")
    folder = layout.folder(Stage.NEEDS_ACTION, domain="email")
    folder.mkdir(parents=True)
    (folder / "x.md").symlink_to(tmp_path / "secret.md")
    assert list(layout.files(Stage.NEEDS_ACTION)) == []
    with pytest.raises(IllegalMove):
        make_claims("cloud").claim(folder / "x.md")


def test_tasks_in_a_wrong_depth_are_found(layout: Layout) -> None:
    for place in ("Pending_Approval/x.md", "Pending_Approval/email/deep/y.md", "Pending_Approval/email/z.reason.md"):
        atomic.write(layout.root / place, b"")
    assert [path.name for path in layout.files(Stage.PENDING_APPROVAL)] == ["x.md", "y.md"]


def _contend(root: Path, state: Path, agent: str, barrier: object, wins: object) -> None:
    layout = Layout(root)
    claims = Claims(layout, state, SystemClock(), agent)
    barrier.wait()  # type: ignore[attr-defined]
    for path in list(layout.files(Stage.NEEDS_ACTION)):
        if claims.claim(path) is not None:
            wins.put((path.stem, os.getpid()))  # type: ignore[attr-defined]


@pytest.mark.parametrize("shared_lock", [True, False])
def test_many_processes_claim_and_each_task_has_one_winner(layout: Layout, tmp_path: Path, shared_lock: bool) -> None:
    """Also without a common lock: two agents with state folders of their own share one vault."""
    claims = Claims(layout, tmp_path / "state", SystemClock(), "cloud")
    names = {claims.create(Stage.NEEDS_ACTION, meta(str(n)), "x").stem for n in range(40)}
    context = multiprocessing.get_context("fork")
    barrier, wins = context.Barrier(4), context.Queue()
    states = [tmp_path / ("state" if shared_lock else f"state{n}") for n in range(4)]
    workers = [
        context.Process(target=_contend, args=(layout.root, state, agent, barrier, wins))
        for state, agent in zip(states, ("cloud", "local") * 2, strict=True)
    ]
    for worker in workers:
        worker.start()
    won = [wins.get(timeout=60) for _ in names]
    for worker in workers:
        worker.join(60)
    assert wins.empty()
    assert sorted(name for name, _ in won) == sorted(names)
    assert {path.stem for path in layout.files(Stage.IN_PROGRESS)} == names
    logged = [line["task"] for line in jsonl.newest(layout.claims_log) if line["event"] == "claimed"]
    assert sorted(logged) == sorted(names)


@given(st.sampled_from(Stage), st.sampled_from(Stage))
def test_nothing_becomes_approved_but_what_was_pending(source: Stage, target: Stage) -> None:
    try:
        check_move(source, target)
    except IllegalMove:
        assert target not in TRANSITIONS[source]
    else:
        assert target is not Stage.APPROVED or source is Stage.PENDING_APPROVAL
        assert source is not Stage.DONE
        assert source is not Stage.REJECTED or target is Stage.IN_PROGRESS


def test_a_torn_line_does_not_eat_the_next(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    jsonl.append(log, {"n": 1})
    with log.open("ab") as file:
        file.write(b'{"n": 2, "tor')
    jsonl.append(log, {"n": 3})
    assert [entry["n"] for entry in jsonl.newest(log)] == [3, 1]


def test_a_log_is_read_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with log.open("w") as file:
        for number in range(20_000):
            file.write(f'{{"n":{number},"text":"{"é" * 5}"}}\n')
    assert [entry["n"] for entry in jsonl.tail(log, 3)] == [19_997, 19_998, 19_999]
    assert sum(1 for _ in jsonl.newest(log)) == 20_000
    assert list(jsonl.newest(tmp_path / "none.jsonl")) == []


def test_a_write_that_fails_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    target = tmp_path / "note.md"
    atomic.write(target, b"old")
    with pytest.raises(FileExistsError):
        atomic.write(target, b"new", replace=False)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["note.md"]


def test_what_killed_writers_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    old, new = tmp_path / "a" / ".tmp-0123456789abcdef", tmp_path / ".tmp-fedcba9876543210"
    others = [tmp_path / "a" / "note.md", tmp_path / ".tmp-inbox-0123", tmp_path / "x.tmp-0123456789abcdef"]
    old.parent.mkdir()
    for path in (old, new, *others):
        path.write_bytes(b"half")
    for path in (old, *others):
        os.utime(path, (1000, 1000))
    assert atomic.sweep(tmp_path, older_than=2000) == 1
    assert not old.exists()
    assert all(path.exists() for path in (new, *others))
