"""What the board remembers of names and of logs is what lies there, whatever was moved, in whatever way, meanwhile."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from utils.core.stages import DOMAINS, Stage
from utils.core.task import ID_PATTERN
from utils.tasks import events
from utils.tasks.board import Board
from utils.tasks.events import ClaimEvents
from utils.tasks.shelves import Shelves
from utils.vault import jsonl
from utils.vault.layout import SKELETON, Layout

FOLDERS = ("Inbox", "Needs_Action/email", "In_Progress/local", "Done", "Done/2026/06", "Done/2026/07", "Rejected")
NAMES = [f"{domain}-2026060{day}T120000Z-0000000{key}.md" for domain in DOMAINS[:2] for day in (1, 2) for key in "ab"]
NAMES += ["a note.md", "é.md", f"{NAMES[0][:-3]}.reason.md", "no-note.txt", ".hidden.md"]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    for name in (*SKELETON, *FOLDERS):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    return Layout(tmp_path.resolve())


@pytest.fixture(params=["young", "settled"])
def now_ns(request: pytest.FixtureRequest) -> Callable[[], int]:
    """`settled`: a clock by which all changes are long past, so that a folder's time tells of any later one; a change
    that follows waits until that is so, see `tick`."""
    return later if request.param == "settled" else time.time_ns


def later() -> int:
    return time.time_ns() + 3_600 * 10**9


def tick(folder: Path) -> None:
    """Until the file system's clock has gone on: two changes within one tick bear the same time."""
    probe = folder / ".probe"
    probe.touch()
    before = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == before:
        probe.touch()
    probe.unlink()


def lying(layout: Layout) -> set[Path]:
    return {path for stage in Stage for path in layout.files(stage, misnamed=True)}


def changes(layout: Layout, seed: int) -> Iterator[None]:
    """Random moves, new files, deletions and folders that come and go; one each time."""
    dice = random.Random(seed)
    root = layout.root
    for _ in range(60):
        target = root / dice.choice(FOLDERS) / dice.choice(NAMES)
        there = sorted(path for path in root.rglob("*") if path.is_file())
        match dice.randrange(5):
            case 0 | 1:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text("x")
            case 2 if there:
                target.parent.mkdir(parents=True, exist_ok=True)
                dice.choice(there).rename(target)
            case 3 if there:
                dice.choice(there).unlink()
            case _:
                old, new = root / "Done/2026/07", root / "Done/2026/08"
                (old, new) = (old, new) if old.is_dir() and not new.exists() else (new, old)
                if old.is_dir() and not new.exists():
                    old.rename(new)
        tick(root)
        yield


@pytest.mark.parametrize("seed", range(8))
def test_the_board_knows_what_lies_there_after_every_change(
    layout: Layout, now_ns: Callable[[], int], seed: int
) -> None:
    board = Board(layout, now_ns)
    for _ in changes(layout, seed):
        expected = lying(layout)
        cards = list(board.cards())
        assert {card.path for card in cards} == expected and len(cards) == len(expected)
        assert [card.key for card in cards] == sorted((card.key for card in cards), reverse=True)
        assert sum(sum(by_domain.values()) for by_domain in board.counts().values()) == len(expected)
        stems = [path.stem for path in expected]
        assert board.duplicates() == sorted({one for one in stems if stems.count(one) > 1 and ID_PATTERN.match(one)})
        for name in ("a note", NAMES[0][:-3]):
            assert {card.path for card in board._named(name)} == {path for path in expected if path.stem == name}
        for domain in DOMAINS:
            assert [card for card in cards if card.domain == domain] == list(board.cards(domain=domain))
        for card in cards[:3]:
            assert list(board.cards(below=card.key)) == cards[cards.index(card) + 1 :]


def test_a_folder_that_stays_as_it_is_is_read_once(
    layout: Layout, now_ns: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (read.append(os.fspath(path)), scan(path))[1])
    shelves = Shelves(layout, now_ns)
    shelves.of(Stage.DONE)
    first = len(read)
    shelves.of(Stage.DONE)
    assert len(read) == (first if now_ns is later else 2 * first)
    tick(layout.root)
    (layout.root / "Done/2026/06/a.md").touch()
    again = len(read)
    assert [shelf.stems for shelf in shelves.of(Stage.DONE) if shelf.stems] == [{"a"}]
    assert len(read) == (again + 1 if now_ns is later else again + first)


def test_a_folder_that_cannot_be_read_does_not_pass_for_empty(
    layout: Layout, now_ns: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    shelves = Shelves(layout, now_ns)
    shelves.of(Stage.DONE)
    tick(layout.root)
    (layout.root / "Done/a.md").touch()

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:
        raise PermissionError(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        shelves.of(Stage.DONE)


# The claims log


@pytest.fixture
def log(layout: Layout) -> Callable[..., None]:
    def write(day: str | None, *tasks: str) -> None:
        path = layout.daily_log("claims", day) if day else layout.claims_log
        path.parent.mkdir(exist_ok=True)
        old = path.read_bytes() if path.exists() else b""
        lines = (jsonl.line({"at": f"{day}T00:00:{n:02}Z", "event": "claimed", "task": t}) for n, t in enumerate(tasks))
        fresh = path.with_suffix(".new")  # as a whole, as `jsonl.roll` and a sync do
        fresh.write_bytes(old + b"".join(lines))
        tick(layout.root)
        fresh.rename(path)

    return write


def every(log: ClaimEvents, task: str) -> list[dict[str, object]]:
    return [dict(entry) for entry in log.newest() if entry.get("task") == task]


@pytest.mark.parametrize("large", [False, True])
def test_the_lines_of_a_task_are_found_wherever_they_were_carried(
    layout: Layout, log: Callable[..., None], now_ns: Callable[[], int], large: bool
) -> None:
    """Also in a log that is `large`, too long to be remembered."""
    told = ClaimEvents(layout, now_ns)
    odd = 'a "note" \\ é'
    assert list(told.of("a")) == []
    if large:
        log(None, *["filler"] * 6_000)
        assert layout.claims_log.stat().st_size > events.SMALL
    for day, tasks in (("2026-06-01", "ab"), ("2026-06-03", "b"), (None, "ac"), ("2026-06-02", "ad"), (None, "b")):
        log(day, *tasks, odd)
        for task in (*"abcde", odd):
            assert list(map(dict, told.of(task))) == every(told, task)
    assert [entry["at"] for entry in told.of("d")] == ["2026-06-02T00:00:01Z"]
    layout.daily_log("claims", "2026-06-02").unlink()
    assert list(told.of("d")) == []


def test_an_id_that_is_written_with_escapes_is_found_too(layout: Layout) -> None:
    path = layout.daily_log("claims", "2026-06-01")
    path.parent.mkdir()
    path.write_text('{"task": "\\u0061b", "event": "x"}\n{"task": 1}\n{"task": "\\ud800"}\nno json "task": "\\q"\n')
    assert [entry["event"] for entry in ClaimEvents(layout).of("ab")] == ["x"]


def test_two_tasks_of_one_number_stay_two(
    layout: Layout, log: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_number", lambda task: 7)
    log("2026-06-01", "a", "b")
    assert [entry["task"] for entry in ClaimEvents(layout).of("a")] == ["a"]


def test_days_that_do_not_name_a_task_are_not_read_for_it(
    layout: Layout, log: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 10):
        log(f"2026-06-0{number}", f"task {number}")
    told = ClaimEvents(layout, later)
    list(told.of("task 5"))
    opened: list[str] = []
    real = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, *more, **named: (opened.append(path.name), real(path, *more, **named))[1]
    )
    assert len(list(told.of("task 5"))) == 1
    assert opened in (["2026-06-05.jsonl"], ["claims.jsonl", "2026-06-05.jsonl"])
