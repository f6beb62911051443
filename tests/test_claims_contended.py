"""Many contend for the same tasks: processes, both agents, threads. One wins each, and nothing is overwritten."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from benchmarks import claims as bench
from tests.claim_kit import FORK, claimed_by_the_dead
from tests.conftest import FakeClock
from tests.vaults import Two, claims_of
from utils.adapters.clock import SystemClock
from utils.claim_task import Claims, Lost, TargetTaken
from utils.core.stages import Stage
from utils.vault import jsonl
from utils.vault.layout import Layout
from utils.vault.moving import Moves

RIGHT = {"doubles": 0, "overwrites": 0, "losses": 0, "lines too few or too many": 0,
         "processes whose lines are out of order": 0, "notes left": 0}  # fmt: skip


def test_eight_processes_of_two_agents_claim_every_task_once_and_overwrite_none(tmp_path: Path) -> None:
    home = bench._home(tmp_path, 300, namesakes=bench._NAMESAKES)
    _, won = bench.contend(home, bench.claim, bench.PROCESSES)
    assert bench.judge(home, 300, won) == {"claims": 300, **RIGHT}
    assert sum(bool(one) for one in won) > 1, "nobody contended: this test shows nothing"


def test_a_claim_without_its_guards_is_noticed(tmp_path: Path) -> None:
    home = bench._home(tmp_path, 100, namesakes=bench._NAMESAKES)
    _, won = bench.contend(home, bench.bare, bench.PROCESSES)
    found = bench.judge(home, 100, won)
    assert found["overwrites"] and found["losses"] and found["lines too few or too many"]


def test_who_wants_the_lock_alone_goes_before_those_who_come_later_to_share_it(tmp_path: Path) -> None:
    """Else a person's move could wait as long as anybody claims."""
    moves = Moves(Layout(tmp_path / "vault"), tmp_path / "state")
    order: list[str] = []

    def enter(holding: Callable[[], AbstractContextManager[None]], name: str) -> None:
        with holding():
            order.append(name)

    alone = threading.Thread(target=enter, args=(moves.hold, "alone"))
    later = threading.Thread(target=enter, args=(moves.share, "later"))
    with moves.share():
        alone.start()
        while not moves._is_wanted_alone():
            time.sleep(0.01)
        later.start()
        later.join(1)  # it may not enter now, however long we wait
    alone.join(60)
    later.join(60)
    assert order == ["alone", "later"]


def test_one_who_was_killed_while_it_waited_to_be_alone_stops_nobody(tmp_path: Path, clock: FakeClock) -> None:
    home = bench._home(tmp_path, 1)
    layout = Layout(home / "vault")
    claims = Claims(layout, home / "state", clock, "local")
    claims.repair()
    os.truncate(claims._moves._turn, 1)
    claimed = claims.claim(next(layout.files(Stage.NEEDS_ACTION)))
    assert claimed is not None and claims._moves._is_wanted_alone()
    claims.release(claimed, "email", "the next who is alone tidies up")
    assert not claims._moves._is_wanted_alone()


def test_a_claim_in_its_midst_is_not_found_abandoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its task lies in progress already, its heartbeat is not there yet."""
    home = bench._home(tmp_path, 1)
    layout = Layout(home / "vault")
    claims, finder = (Claims(layout, home / "state", SystemClock(), "local") for _ in range(2))
    found: list[list[Path]] = []
    finding = threading.Thread(target=lambda: found.append(finder.abandoned()))
    begin = claims._heartbeats.begin

    def begin_while_another_looks(task_id: str, name: str | None = None) -> None:
        finding.start()
        while finding.is_alive() and not finder._moves._is_wanted_alone():
            time.sleep(0.01)
        begin(task_id, name)

    monkeypatch.setattr(claims._heartbeats, "begin", begin_while_another_looks)
    assert claims.claim(next(layout.files(Stage.NEEDS_ACTION))) is not None
    finding.join(60)
    assert found == [[]]


def test_a_claim_that_another_makes_in_this_very_moment_is_lost(tmp_path: Path, clock: FakeClock) -> None:
    home = bench._home(tmp_path, 1)
    layout = Layout(home / "vault")
    claims = Claims(layout, home / "state", clock, "local")
    claims.repair()
    path = next(layout.files(Stage.NEEDS_ACTION))
    target = layout.folder(Stage.IN_PROGRESS, agent="local") / path.name
    line = jsonl.line(claims._entry("claimed", path.stem, layout.relative(path), layout.relative(target)))
    claims._moves._note(line, None)
    assert claims.claim(path) is None and path.exists()
    claims.repair()  # the other one was killed before its move
    assert claims.claim(path) == target


def test_threads_of_one_process_win_each_task_once(tmp_path: Path) -> None:
    home = bench._home(tmp_path, 100)
    layout = Layout(home / "vault")
    claims = Claims(layout, home / "state", SystemClock(), "local")
    paths, won = list(layout.files(Stage.NEEDS_ACTION)), [list[str]() for _ in range(6)]
    barrier = threading.Barrier(len(won))

    def work(wins: list[str]) -> None:
        barrier.wait()
        for path in paths:
            if claims.claim(path) is not None:
                wins.append(path.stem)

    threads = [threading.Thread(target=work, args=(wins,)) for wins in won]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(task for wins in won for task in wins) == [path.stem for path in paths]
    assert sum(line["event"] == "claimed" for line in jsonl.newest(layout.claims_log)) == len(paths)


def test_of_many_who_claim_what_a_dead_process_worked_on_one_wins_and_keeps_its_sign(tmp_path: Path) -> None:
    """The dead one's tasks were put back by hand, its heartbeats stayed."""
    home = bench._home(tmp_path, 40)
    layout = Layout(home / "vault")
    claims = Claims(layout, home / "state", SystemClock(), "local")
    paths = list(layout.files(Stage.NEEDS_ACTION))
    dead = FORK.Process(target=lambda: [claims._heartbeats.begin(path.stem) for path in paths])
    dead.start()
    dead.join(60)
    barrier, answers, seen = FORK.Barrier(6), FORK.Queue(), FORK.Event()

    def work() -> None:
        barrier.wait()
        won = [path.stem for path in paths if claims.claim(path) is not None]
        answers.put((won, all(claims._heartbeats.beat(task) for task in won)))
        assert seen.wait(60)

    workers = [FORK.Process(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    told = [answers.get(timeout=60) for _ in workers]
    assert sorted(task for wins, _ in told for task in wins) == [path.stem for path in paths]
    assert all(signs for _, signs in told), "somebody's sign was taken for a dead one's"
    assert claims.abandoned() == []
    seen.set()
    for worker in workers:
        worker.join(60)


@pytest.mark.parametrize("other", ["Note.md", "NOTE.MD.md", "note.md"])
def test_a_name_that_is_one_to_another_file_system_is_taken(tmp_path: Path, clock: FakeClock, other: str) -> None:
    layout = Layout(tmp_path / "vault")
    claims = Claims(layout, tmp_path / "state", clock, "cloud")
    waiting, lying = layout.root / "Needs_Action/general/note.md", layout.root / "In_Progress/cloud" / other
    for path in (waiting, lying):
        path.parent.mkdir(parents=True)
        path.write_text(str(path))
    won = claims.claim(waiting)
    assert (won is None) == (other != "NOTE.MD.md")
    assert lying.read_text() == str(lying)
    if won is None:
        assert waiting.exists() and claims.signs("note") == (False, None)
        with pytest.raises(TargetTaken):
            claims._move(waiting, lying.with_name("note.md"), "claimed")


def test_a_name_that_is_no_text_is_claimed_and_logged(tmp_path: Path, clock: FakeClock) -> None:
    layout = Layout(tmp_path / "vault")
    claims = Claims(layout, tmp_path / "state", clock, "cloud")
    path = layout.root / "Needs_Action/general" / os.fsdecode(b"caf\xe9.md")
    path.parent.mkdir(parents=True)
    path.write_text("dropped")
    assert claims.claim(path) is not None
    [line] = jsonl.newest(layout.claims_log)
    assert line["task"] == path.stem
    claimed_by_the_dead(claims, claims.release(layout.root / line["to"], "general", "again"))
    assert [line["event"] for line in jsonl.newest(layout.claims_log)] == ["claimed", "released", "claimed"]


def test_a_claim_that_loses_at_the_merge_stops_at_its_next_step(tmp_path: Path) -> None:
    two = Two(tmp_path)
    task = "email-20260601T100000Z-0123abcd"
    two.seed_files({f"Needs_Action/email/{task}.md": "task\n"})
    local, cloud = claims_of(two.a), claims_of(two.b)
    won = cloud.claim(two.b.root / f"Needs_Action/email/{task}.md")
    lost = local.claim(two.a.root / f"Needs_Action/email/{task}.md")
    assert won is not None and lost is not None, "both hold a provisional claim"
    local.beat(lost)
    two.b.sync()
    two.settle()
    cloud.beat(won)
    with pytest.raises(Lost):
        local.beat(lost)
    with pytest.raises(Lost):
        local.create(Stage.PENDING_APPROVAL, {"id": f"{task}0", "domain": "email"}, "a draft", claimed=lost)
    assert not list(Layout(two.a.root).files(Stage.PENDING_APPROVAL))
    local.rest(lost)
    assert local.abandoned() == [] and cloud.abandoned() == []
    events = [line["event"] for line in jsonl.newest(Layout(two.a.root).claims_log)]
    assert sorted(events) == ["claim_lost", "claimed", "claimed"]
