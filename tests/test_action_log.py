"""The action log's chain: no line is changed, removed, added or moved unseen, and no crash breaks or doubles it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts import actions, doctor
from tests.conftest import FakeClock
from tests.fakes.desk import Desk, Killed, World, sha
from utils.bootstrap import Services
from utils.core import action_chain, archive, merge
from utils.core.action_chain import Head, Line
from utils.core.task import format_time
from utils.execution.action_log import ActionLog
from utils.vault import atomic, jsonl
from utils.vault.layout import Layout

START = datetime(2026, 6, 1, 9, tzinfo=UTC)


def entry(number: int, day: int = 0, **more: Any) -> dict[str, Any]:
    at = format_time(START + timedelta(days=day, minutes=number))
    return {"at": at, "action_id": f"{number:032x}", "request": f"r{number}", "state": "done", **more}


class Node:
    """A node's action log, with what it tells."""

    def __init__(self, home: Path, writer: str = "local", clock: FakeClock | None = None) -> None:
        self.home = home
        self.told: list[str] = []
        self.put_back_at: datetime | None = None
        self.clock = clock or FakeClock()
        self.folder = home / "vault" / "Logs" / "actions"
        self.log = ActionLog(
            Layout(home / "vault"),
            home / f"state-{writer}",
            self.clock,
            writer,
            put_back_at=lambda: self.put_back_at,
            alert=lambda level, title, text, **more: self.told.append(title),
        )

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.jsonl"))

    def words(self) -> list[str]:
        return [problem.words for problem in self.log.verify().problems]

    def rewrite(self, change: Callable[[list[bytes]], list[bytes]], file: int = 0) -> None:
        path = self.files()[file]
        lines = change(path.read_bytes().splitlines(keepends=True))
        path.write_bytes(b"".join(lines))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """Six lines over two days."""
    node = Node(tmp_path)
    for number in range(6):
        node.log.write(entry(number, day=number // 3))
    return node


def test_a_whole_chain_over_days(node: Node) -> None:
    verdict = node.log.verify()
    assert (verdict.problems, verdict.counts, verdict.before) == ((), {"local": 6}, 0)
    lines = [json.loads(line) for path in node.files() for line in path.read_text().splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3, 4, 5, 6] and {line["writer"] for line in lines} == {"local"}
    assert all(next(iter(line)) == "at" for line in lines), "rolling a log looks for the time at a line's beginning"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda lines: lines[:1] + lines[2:], "number 2 of local is missing before 2026-06-01.jsonl, line 2"),
        (lambda lines: lines[1:], "number 1 of local is missing before 2026-06-01.jsonl, line 1"),
        (lambda lines: [], "numbers 1 to 3 of local are missing before 2026-06-02.jsonl, line 1"),
        (lambda lines: [lines[1], lines[0], lines[2]], "line 2: out of order: number 1 stands after number 2"),
        (lambda lines: [lines[0], lines[1].replace(b'"r1"', b'"rX"'), lines[2]], "line 2: a broken line: number 2 of"),
        (lambda lines: [lines[0], b"{" + lines[1], lines[2]], "line 2: a broken line: it can't be read"),
        (lambda lines: [*lines, lines[1]], "line 4: it stands twice: 2026-06-01.jsonl, line 2 is the same line"),
        (lambda lines: [*lines, jsonl.line(entry(9))], "line 4: a foreign line: it is in no chain"),
        (lambda lines: [*lines, jsonl.line(entry(9, writer="eve", seq=1, prev="0" * 64))], "line 4: a foreign line"),
        (lambda lines: [jsonl.line(entry(9)), *lines], "a broken chain: the lines from before the chain are not those"),
    ],
    ids=["deleted", "first deleted", "day cut", "reordered", "edited", "torn", "doubled", "unchained", "eve", "older"],
)
def test_the_first_wrong_line_is_told_in_words(node: Node, change: Any, word: str) -> None:
    node.rewrite(change)
    assert word in node.words()[0]


def test_a_cut_end_is_told_by_whoever_wrote_it(node: Node) -> None:
    node.rewrite(lambda lines: lines[:1], file=1)
    assert node.words() == ["numbers 5 to 6 of local are missing at the end of the log"]
    for path in node.files():
        path.unlink()
    assert node.words() == ["numbers 1 to 6 of local are missing at the end of the log"]


def test_a_line_in_another_days_file_is_told(node: Node) -> None:
    first, second = node.files()
    moved = first.read_bytes().splitlines(keepends=True)
    first.write_bytes(b"".join(moved[:2]))
    second.write_bytes(moved[2] + second.read_bytes())
    assert node.words() == ["2026-06-02.jsonl, line 1: it is of 2026-06-01 and lies in another day's file"]


def forged(node: Node, number: int = 9) -> bytes:
    """A line in Local's name that follows its newest one as it should."""
    last = node.log.lines()[-1]
    return jsonl.line(entry(number, day=1, writer="local", seq=last.seq + 1, prev=last.digest))


def test_a_line_in_locals_name_that_fits_is_foreign_and_never_becomes_part_of_the_chain(node: Node) -> None:
    node.rewrite(lambda lines: [*lines, forged(node)], file=1)
    assert node.words() == ["2026-06-02.jsonl, line 4: a foreign line: the local node did not write number 7"]
    node.log.write(entry(10, day=1))
    assert node.words() == [
        "2026-06-02.jsonl, line 4: a foreign line: number 7 of local is that of 2026-06-02.jsonl, line 5"
    ]
    assert node.told == []


def test_a_chain_rewritten_from_a_line_on_is_told(node: Node) -> None:
    """Whoever owns the remote changes a line and all that follow it."""

    def change(lines: list[bytes]) -> list[bytes]:
        prev, new = json.loads(lines[0])["prev"], []
        for line in lines:
            value = {**json.loads(line), "prev": prev, "request": "theirs"}
            data = jsonl.line(value)
            prev = Line("", 0, data.rstrip(b"\n"), 0, None).digest
            new.append(data)
        return new

    node.rewrite(change, file=1)
    assert "number 6 of local is not as it was written" in node.words()[0]


# What must not break it


def test_another_writers_lines_are_a_chain_of_their_own(node: Node, tmp_path: Path) -> None:
    cloud = Node(tmp_path, "cloud")
    for number in range(20, 23):
        cloud.log.write(entry(number))
    node.log.write(entry(6, day=1))
    assert node.words() == [] == cloud.words()
    assert node.log.verify().counts == {"local": 7, "cloud": 3}


@settings(max_examples=60)
@given(data=st.data())
def test_the_union_of_two_nodes_is_whole_whichever_way_it_goes(data: st.DataObject, tmp_path_factory: Any) -> None:
    """Both write, on top of what they had in common; sync unites the files line by line."""
    home = tmp_path_factory.mktemp("union")
    local, cloud = Node(home / "l"), Node(home / "c", "cloud")
    common = b"".join(jsonl.line(entry(n)) for n in range(data.draw(st.integers(0, 3))))
    for node in (local, cloud):
        node.folder.mkdir(parents=True)
        (node.folder / "2026-06-01.jsonl").write_bytes(common)
    for number in range(data.draw(st.integers(1, 8))):
        writer = data.draw(st.sampled_from([local, cloud]))
        writer.log.write(entry(100 + number * data.draw(st.integers(1, 3))))
        if data.draw(st.booleans()):
            path = local.folder / "2026-06-01.jsonl", cloud.folder / "2026-06-01.jsonl"
            united = merge.unite(path[0].read_bytes(), path[1].read_bytes(), base=common)
            for one in path:
                one.write_bytes(united)
            assert local.words() == [] == cloud.words()


def test_a_rolled_log_is_whole(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "LOG_FULL", 200)
    monkeypatch.setattr(archive, "LOG_KEPT", 100)
    one = node.folder / "all.jsonl"
    one.write_bytes(b"".join(path.read_bytes() for path in node.files()))
    days = node.files()[:2]
    for path in days:
        path.unlink()
    assert jsonl.roll(one, lambda day: node.folder / f"{day}.jsonl", today="2026-06-03")
    assert node.words() == []


def test_lines_from_before_the_chain_are_accepted_and_from_then_on_guarded(tmp_path: Path) -> None:
    node = Node(tmp_path)
    for number in range(4):
        jsonl.append(node.folder / f"2026-06-0{1 + number // 2}.jsonl", entry(number, day=number // 2))
    assert node.words() == []
    for number in range(4, 6):
        node.log.write(entry(number, day=1))
    assert node.words() == [] and node.log.verify().before == 4
    node.rewrite(lambda lines: lines[:1])
    assert "the lines from before the chain are not those" in node.words()[0]


def test_a_node_put_back_from_a_backup_goes_on_where_the_vault_is(node: Node) -> None:
    memory = node.home / "state-local" / "action_log.json"
    old = memory.read_bytes()
    node.clock.advance(60)
    for number in range(6, 9):
        node.log.write(entry(number, day=1))
    memory.write_bytes(old)
    assert "did not write number 7" in node.words()[0]
    node.clock.advance(60)
    node.put_back_at = node.clock.now()
    assert node.words() == []
    node.clock.advance(60)
    node.log.write(entry(9, day=1))
    assert node.words() == [] and node.log.verify().counts == {"local": 10} and len(node.told) == 1
    node.rewrite(lambda lines: [*lines, forged(node, 11)], file=1)
    node.log.write(entry(12, day=1))
    assert len(node.words()) == 1 and len(node.told) == 1


@pytest.mark.parametrize("damage", [None, b"", b"[]", b'{"count": 1}', b'{"count": "x", "digest": "", "at": ""}'])
def test_a_lost_memory_goes_on_and_says_so(node: Node, damage: bytes | None) -> None:
    memory = node.home / "state-local" / "action_log.json"
    memory.unlink() if damage is None else memory.write_bytes(damage)
    node.log.write(entry(7, day=1))
    assert node.words() == [] and node.log.verify().counts == {"local": 7} and len(node.told) == 1


def test_what_was_looked_at_is_told_no_longer_and_what_is_new_is(node: Node) -> None:
    node.rewrite(lambda lines: lines[:1] + lines[2:])
    assert len(node.log.accept(node.log.verify().problems)) == 1 and node.words() == []
    node.log.write(entry(7, day=1))
    assert node.words() == []
    node.rewrite(lambda lines: lines[:2], file=1)
    assert node.words() == ["numbers 6 to 7 of local are missing at the end of the log"]


# Crashes


class Dying:
    """Kills at the n-th durable step of the log: before it, after it, or in the middle of a line."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, part: float) -> None:
        self.steps = 0

        def wrapped(real: Callable[..., None], *, tears: bool) -> Callable[..., None]:
            def call(path: Path, data: bytes, **options: Any) -> None:
                self.steps += 1
                if self.steps == at:
                    if part and tears:
                        path.parent.mkdir(parents=True, exist_ok=True)
                        with path.open("ab") as file:
                            file.write(data[: int(len(data) * part)])
                    elif part == 1:
                        real(path, data, **options)
                    raise Killed
                real(path, data, **options)

            return call

        monkeypatch.setattr(jsonl, "write", wrapped(jsonl.write, tears=True))
        monkeypatch.setattr(atomic, "write", wrapped(atomic.write, tears=False))


@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.999, 1.0])
def test_killed_at_any_step_each_line_is_there_once_and_the_chain_is_whole(tmp_path: Path, part: float) -> None:
    died = 0
    for at in range(1, 40):
        node = Node(tmp_path / str(at))
        with pytest.MonkeyPatch.context() as patch:
            Dying(patch, at, part)
            written = []
            try:
                for number in range(3):
                    written.append(number)
                    node.log.write(entry(number, day=number // 2))
            except Killed:
                died += 1
                if node.folder.exists():
                    assert node.words() == [], (at, "before the recovery")
            else:
                assert died >= 9
                return
        again = Node(tmp_path / str(at))  # a new process: what it had begun comes first, as `again`
        again.log.write(entry(written[-1], day=written[-1] // 2), again=True)
        for number in range(written[-1] + 1, 4):
            again.log.write(entry(number, day=number // 2))
        assert again.words() == [], at
        whole = [line.entry["request"] for line in again.log.lines() if line.entry]
        assert whole == ["r0", "r1", "r2", "r3"], at
    raise AssertionError("it did not end")


def test_a_line_that_was_begun_and_taken_by_a_sync_meanwhile_is_not_doubled(node: Node) -> None:
    """Killed after the line and before the memory; a sync then puts the united log in its place."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        Dying(patch, 3, 0.0)
        node.log.write(entry(6, day=1))
    path = node.files()[1]
    path.write_bytes(merge.unite(path.read_bytes(), jsonl.line(entry(1, day=1, writer="cloud", seq=1, prev="0" * 64))))
    node.log.write(entry(7, day=1))
    assert node.words() == [] and node.log.verify().counts == {"local": 8, "cloud": 1}


def test_the_same_outcome_filed_again_is_one_line(node: Node) -> None:
    for _ in range(3):
        node.log.write(entry(5, day=1), again=True)
    assert node.log.verify().counts == {"local": 6}


# Any change


def chained(count: int, older: int = 0) -> list[tuple[str, bytes]]:
    """The files of a whole log, three lines a day, and before it `older` unchained lines."""
    days: dict[str, bytes] = {}
    before = [jsonl.line(entry(number)).rstrip(b"\n") for number in range(older)]
    prev = action_chain.first_prev(before)
    for data in before:
        days[f"{START:%Y-%m-%d}"] = days.get(f"{START:%Y-%m-%d}", b"") + data + b"\n"
    for number in range(count):
        value = entry(older + number, day=number // 3, writer="local", seq=number + 1, prev=prev)
        data = jsonl.line(value)
        prev = Line("", 0, data.rstrip(b"\n"), 0, None).digest
        day = value["at"][:10]
        days[day] = days.get(day, b"") + data
    return sorted(days.items())


def head_of(files: list[tuple[str, bytes]]) -> Head:
    last = action_chain.lines_of(files)[-1]
    return Head(last.seq, last.digest)


@settings(max_examples=600)
@given(st.integers(1, 9), st.integers(0, 2), st.randoms(use_true_random=False), st.integers(1, 3))
def test_any_change_of_any_line_is_seen(count: int, older: int, dice: random.Random, changes: int) -> None:
    files = chained(count, older)
    head = head_of(files)
    assert action_chain.verify(action_chain.lines_of(files), {"local": head}).problems == ()
    contents = [[name, data.splitlines(keepends=True)] for name, data in files]
    for _ in range(changes):
        _, lines = dice.choice(contents)
        where = dice.randrange(len(lines) + 1)
        match dice.choice(["delete", "swap", "byte", "copy", "cut"]):
            case "delete":
                del lines[where : where + dice.randint(1, 2)]
            case "swap" if lines:
                other = dice.randrange(len(lines))
                lines[other], lines[where - 1] = lines[where - 1], lines[other]
            case "byte" if where < len(lines) and lines[where]:
                line = bytearray(lines[where])
                line[dice.randrange(len(line))] ^= 1 << dice.randrange(8)
                lines[where] = bytes(line)
            case "copy":
                lines.insert(where, dice.choice(chained(count, older))[1].splitlines(keepends=True)[0])
            case "cut" if where < len(lines) and lines[where]:
                lines[where] = lines[where][: dice.randrange(len(lines[where]))]
    changed = [(name, b"".join(lines)) for name, lines in contents]
    same = [data for _, data in changed] == [data for _, data in files]
    seen = action_chain.verify(action_chain.lines_of(changed), {"local": head}).problems
    pure = [line.data for line in action_chain.lines_of(files)]
    if [line.data for line in action_chain.lines_of(changed)] == pure:
        same = True  # only the newline at a file's end went
    torn = _only_torn(changed, pure)
    assert same or torn or seen, changed


def _only_torn(changed: list[tuple[str, bytes]], pure: list[bytes]) -> bool:
    """Whether nothing was added but what can't be read and stands before the chain, or begins a later line: as a crash
    leaves it."""
    lines = action_chain.lines_of(changed)
    first = next((line.place for line in lines if line.writer), 0)
    added = [line for line in lines if line.data not in pure]
    return [line.data for line in lines if line.data in pure] == pure and all(
        line.entry is None and (line.place < first or any(data.startswith(line.data) for data in pure))
        for line in added
    )


# The command, the doctor, the executor


@pytest.fixture
def run(make_node: Callable[..., Services], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Iterator[Any]:
    services = make_node()

    def call(*words: str, **more: str) -> tuple[int, str]:
        environ = {"ENV_FILE": "", "AGENT_NAME": "local", "AGENT_MODE": "full"}
        environ |= {"VAULT_PATH": str(services.layout.root), "STATE_DIR": str(services.settings.state_dir), **more}
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        code = actions.main(list(words))
        return code, capsys.readouterr().out

    call.services = services  # type: ignore[attr-defined]
    yield call


def test_the_command(run: Any) -> None:
    assert run("verify") == (0, "the action log is whole: nothing was done yet\n")
    log, layout = run.services.action_log, run.services.layout
    for number in range(3):
        log.write(entry(number, action="reply_email", approver="ada", receipt={"id": f"<m{number}>"}))
    assert run("verify") == (0, "the action log is whole: 3 line(s) of local\n")
    code, said = run("log", "--limit", "2")
    assert code == 0 and [line.split()[-1] for line in said.splitlines()] == ["<m1>", "<m2>"]
    assert [json.loads(line)["seq"] for line in run("log", "--json")[1].splitlines()] == [1, 2, 3]
    assert run("log", "--limit", "0") == (0, "")
    cloud = {"AGENT_NAME": "cloud", "AGENT_MODE": "draft_only", "STATE_DIR": str(layout.root.parent / "cloud")}
    assert "only Local knows" in run("verify", **cloud)[1]
    path = layout.daily_log("actions", "2026-06-01")
    path.write_bytes(path.read_bytes().replace(b'"ada"', b'"eve"', 1))
    code, said = run("verify")
    assert code == 1 and "line 1: a broken line: number 1 of local is not as it was written\n" in said
    found = [finding for finding in doctor.examine() if finding.subject == "actions"]
    assert [finding.verdict for finding in found] == [doctor.BROKEN] and "actions accept" in found[0].detail
    assert run("accept")[0] == 1 and run("verify")[0] == 1, "there is nobody to ask"
    assert run("accept", "--yes")[0] == 0
    code, said = run("verify")
    assert code == 0 and "whole: 3 line(s) of local; but for what was accepted: 2026-06-01.jsonl, line 1" in said


def test_a_log_that_is_gone_is_accepted_by_a_person_alone_and_never_called_whole(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was taken at once, and `verify` said that nothing was done yet."""
    log, layout = run.services.action_log, run.services.layout
    log.write(entry(1))
    layout.daily_log("actions", "2026-06-01").unlink()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda prompt: "")
    code, said = run("accept")
    assert code == 1 and "missing" in said and run("verify")[0] == 1
    monkeypatch.setattr("builtins.input", lambda prompt: "y")
    assert run("accept")[0] == 0
    code, said = run("verify")
    assert code == 0 and "it has no line; but for what was accepted: " in said and "nothing was done yet" not in said


def test_what_the_executor_did_is_in_the_chain(make_node: Callable[..., Services], clock: FakeClock) -> None:
    desk = Desk(make_node, clock, World())
    for number in range(3):
        path = desk.request(f"mail {number}")
        desk.approvals.observe()
        desk.approvals.approve(path.stem, sha(path), by="ada")
        assert desk.cycle() == "sent 1"
        clock.advance(36 * 3600)
    verdict = desk.node.action_log.verify()
    assert (verdict.problems, verdict.counts) == ((), {"local": 3})
    line = desk.action_log()[-1]
    assert line["approver"] == "ada" and line["sha256"] and line["receipt"]["id"] and line["duration_ms"] is not None
