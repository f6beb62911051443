"""Quiet for years: nothing is written where nothing changed, and what every sync writes anew stays small."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scripts import doctor
from scripts import sync as sync_script
from tests.vaults import Node, Two, claims_of, git, housekeeping, until
from utils.adapters.git_glance import GitGlance
from utils.adapters.git_keeper import GitKeeper
from utils.core import archive
from utils.core.stages import Stage
from utils.ports import AdapterError
from utils.sync.housekeeping import TOO_MANY_LOOSE
from utils.tasks.board import Board
from utils.vault.layout import Layout

CLAIMS = "Logs/claims.jsonl"
TASK = "email-20250105T101112Z-0123abcd"
REQUEST = "email-20250105T101112Z-4567cdef"


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def lines(node: Node) -> Counter[bytes]:
    """Every line of the claims log, wherever it was rolled to, and how often."""
    logs = [data for path, data in node.files().items() if path == CLAIMS or path.startswith("Logs/claims/")]
    return Counter(line for data in logs for line in data.splitlines())


def long_log(day: int, count: int, writer: str = "old") -> bytes:
    start = datetime(2026, 3, day, tzinfo=UTC)
    entries = (
        {
            "at": f"{start + timedelta(seconds=n):%Y-%m-%dT%H:%M:%SZ}",
            "agent": writer,
            "task": TASK,
            "n": n,
            "x": "." * 99,
        }
        for n in range(count)
    )
    return b"".join(json.dumps(entry, separators=(",", ":")).encode() + b"\n" for entry in entries)


def append(node: Node, data: bytes) -> None:
    with (node.root / CLAIMS).open("ab") as file:
        file.write(data)


# --- nothing where nothing changed -----------------------------------------------------------------------------------


def snapshot(git_dir: Path) -> dict[str, str]:
    """Every file of a repository by its content; but the file that a running sync locks, which names its process."""
    files = (path for path in git_dir.rglob("*") if path.is_file() and path.name != "vault-sync.running")
    return {str(path.relative_to(git_dir)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_sync_with_nothing_to_do_changes_no_file_of_any_repository(two: Two) -> None:
    two.seed_files({"Briefings/a.md": "a\n", CLAIMS: long_log(1, 5)})
    repositories = [two.a.root / ".git", two.b.root / ".git", two.remote]
    before = [snapshot(folder) for folder in repositories]
    for node in (two.a, two.b, two.a, two.b):
        assert node.sync().result == "noop"
    assert [snapshot(folder) for folder in repositories] == before


def test_what_is_of_local_interest_makes_no_commit(two: Two) -> None:
    head = two.head()
    for node in (two.a, two.b):
        node.write("Logs/health/2026-03-01.jsonl", '{"at":"2026-03-01T10:00:00Z"}\n')
        node.write(".obsidian/workspace.json", "{}")
    assert {result.result for result in two.settle()} == {"noop"}
    assert two.head() == head


def test_a_sync_is_one_commit_that_says_what_and_who(two: Two) -> None:
    two.seed_files({"Briefings/old.md": "old\n"})
    before = two.head()
    for number in range(60):
        two.a.write(f"Briefings/{number:02}.md", f"{number}\n")
    two.a.remove("Briefings/old.md")
    two.a.sync()
    assert git(two.remote, "rev-list", "--count", f"{before}..main").strip() == "1"
    author, title, *body = git(two.remote, "log", "-1", "--format=%an <%ae>%n%B", "main").splitlines()
    assert author == "AI Employee (local) <local@ai-employee.invalid>"
    assert title == "local: add 60, remove 1"
    assert "add Briefings/00.md" in body and "and 11 more" in body


# --- the claims log stays short --------------------------------------------------------------------------------------


def test_rolling_splits_by_day_and_changes_no_line() -> None:
    damaged = b'{"at":"2026-03-0\n'
    future = b'{"at":"2093-01-01T00:00:00Z"}\n'
    log = damaged + long_log(1, 700) + future + long_log(2, 700) + long_log(3, 20)
    days, rest = archive.roll(log, 5_000, "2026-03-03")
    assert set(days) == {"2026-03-01", "2026-03-02", "2026-03-03"} and len(rest) <= 5_000
    assert days["2026-03-03"] == damaged, "a line without a day belongs to the line before, or to today"
    assert b"".join(days[day] for day in ("2026-03-03", "2026-03-01", "2026-03-02")) + rest == log
    assert archive.roll(log, len(log), "2026-03-03") == ({}, log)


def test_a_full_log_is_rolled_and_every_line_is_still_found(two: Two) -> None:
    two.seed_files({CLAIMS: long_log(1, 500) + long_log(2, 500)})
    expected = lines(two.a)
    assert housekeeping(two.b).run() is None or lines(two.b) == expected, "only Local rolls"
    assert two.b.read(CLAIMS) == two.a.read(CLAIMS)
    assert "rolled" in (housekeeping(two.a).run() or "")
    assert len(two.a.read(CLAIMS)) <= archive.LOG_KEPT
    two.settle()
    assert lines(two.a) == lines(two.b) == expected
    history = Board(Layout(two.b.root)).history(TASK)
    assert len(history) == sum(expected.values())
    assert claims_of(two.a).roll_log() == 0, "a short log is left alone"
    two.assert_agree()


@pytest.mark.parametrize("first", ["a", "b"])
@pytest.mark.parametrize("count", [500, 1200])
def test_lines_that_the_cloud_adds_meanwhile_are_neither_lost_nor_doubled(two: Two, first: str, count: int) -> None:
    """Cloud is away while Local's log is rolled, once or so often that nothing is left of what both had."""
    two.seed_files({CLAIMS: long_log(1, 1000)})
    append(two.b, b'{"at":"2026-03-01T05:00:00Z","agent":"cloud"}\n' + long_log(3, 5, "cloud"))
    claims_of(two.a).roll_log()
    append(two.a, long_log(2, count, "local"))
    claims_of(two.a).roll_log()
    append(two.a, long_log(4, 3, "local"))
    expected = lines(two.a) | lines(two.b)
    order = (two.a, two.b) if first == "a" else (two.b, two.a)
    for node in (*order, *order):
        node.sync()
    assert lines(two.a) == lines(two.b) == expected
    assert set(expected.values()) == {1}
    for writer in ("local", "cloud"):
        numbers = [
            n for e in map(json.loads, two.a.read(CLAIMS).splitlines()) if e["agent"] == writer and (n := e.get("n"))
        ]
        assert numbers == sorted(numbers) or (writer == "local" and numbers[-2:] == [1, 2])
    two.assert_agree()


def test_a_line_written_while_the_rolled_log_arrives_stays(two: Two) -> None:
    two.seed_files({CLAIMS: long_log(1, 1000)})
    expected = lines(two.a)
    claims_of(two.a).roll_log()
    two.a.sync()
    late = b'{"at":"2026-03-05T05:00:00Z","agent":"cloud"}\n'
    two.b.checkpoint = lambda name: append(two.b, late) if name == "intent" else None
    two.b.sync()
    two.b.checkpoint = lambda name: None
    two.settle()
    assert lines(two.a) == lines(two.b) == expected + Counter([late.rstrip()])
    two.assert_agree()


def test_a_crash_between_the_day_file_and_the_log_is_mended(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    two.seed_files({CLAIMS: long_log(1, 1000)})
    expected, before = lines(two.a), two.a.read(CLAIMS)
    claims_of(two.a).roll_log()
    two.a.write(CLAIMS, before)  # as it was when the crash came
    two.settle()  # and a sync carried that
    housekeeping(two.a).run()
    two.settle()
    assert lines(two.a) == lines(two.b) == expected
    two.assert_agree()


def test_a_log_that_is_replaced_by_hand_is_no_rolled_one(two: Two) -> None:
    """Where Local's log is no rest of what both had, nothing is taken away from the other side."""
    two.seed_files({CLAIMS: long_log(1, 10)})
    first = two.a.read(CLAIMS).splitlines(keepends=True)
    two.a.write(CLAIMS, b"".join([*first[5:8], b'{"mine":1}\n']))
    append(two.b, b'{"theirs":1}\n')
    two.settle()
    assert set(lines(two.a)) == {line.rstrip() for line in [*first, b'{"mine":1}', b'{"theirs":1}']}


# --- finished tasks are filed by month -------------------------------------------------------------------------------


def finished(two: Two) -> None:
    two.seed_files(
        {
            f"Done/{TASK}.md": "task\n",
            f"Done/{REQUEST}.md": "request\n",
            f"Done/{REQUEST}.reason.md": "receipt\n",
            f"Plans/email/{TASK}.plan.md": "plan\n",
            "Done/a note of mine.md": "mine\n",
            "Done/Projects/email-20250105T101112Z-89ab89ab.md": "sorted by a person\n",
            "Needs_Action/email/email-20250105T101112Z-11111111.md": "open\n",
            "Plans/email/email-20250105T101112Z-11111111.plan.md": "its plan\n",
        }
    )


def later(node: Node, days: int) -> None:
    node.clock.advance((datetime.now(UTC) + timedelta(days=days) - node.clock.now()).total_seconds())


def test_finished_tasks_are_filed_by_month_with_their_plans(two: Two) -> None:
    finished(two)
    others = {path: data for path, data in two.a.files().items() if "0123abcd" not in path and "4567cdef" not in path}
    later(two.a, 5)
    assert claims_of(two.a).file_away(two.a.clock.now() - timedelta(days=7)) == 0, "they lie there for five days only"
    later(two.a, 8)
    log = two.a.read(CLAIMS) if two.a.has(CLAIMS) else b""
    assert "filed 4" in (housekeeping(two.a).run() or "")
    two.settle()
    for node in (two.a, two.b):
        filed = {path for path in node.files() if "0123abcd" in path or "4567cdef" in path}
        names = (f"{TASK}.md", f"{REQUEST}.md", f"{REQUEST}.reason.md")
        assert filed == {f"Plans/email/2025/01/{TASK}.plan.md", *(f"Done/2025/01/{name}" for name in names)}
        assert others.items() <= node.files().items()
    assert (two.a.read(CLAIMS) if two.a.has(CLAIMS) else b"") == log, "it stays in its stage: no line"
    detail = Board(Layout(two.b.root)).detail(TASK)
    assert (detail["stage"], detail["plan"]) == ("done", "plan\n")
    two.assert_agree()


def test_a_filed_task_is_still_known_and_not_revived(two: Two) -> None:
    finished(two)
    later(two.a, 8)
    housekeeping(two.a).run()
    two.settle()
    claims = claims_of(two.b)
    found = claims.create(Stage.NEEDS_ACTION, {"id": TASK, "domain": "email"}, "again\n")
    assert found == two.b.root / f"Done/2025/01/{TASK}.md", "creating a task twice is harmless"
    two.b.write(f"Needs_Action/email/{TASK}.md", "again\n")  # an evil cloud does it all the same
    two.settle()
    assert not two.a.has(f"Needs_Action/email/{TASK}.md")
    assert any("answered it already" in text for _, _, text in two.a.alerts)
    two.assert_agree()


def test_zero_days_and_the_cloud_file_nothing(two: Two) -> None:
    finished(two)
    before = two.a.files()
    for node, days in ((two.a, 0), (two.b, 7)):
        later(node, 400)
        housekeeping(node, keep_days=days).run()
    assert two.a.files() == two.b.files() == before


# --- the repository --------------------------------------------------------------------------------------------------


def bulk(node: Node, megabytes: int) -> None:
    """Loose objects that take a while to pack."""
    for _ in range(megabytes):
        git(node.root, "hash-object", "-w", "--stdin", data=os.urandom(500_000).hex().encode())


def test_the_repository_is_packed_once_a_day_and_nothing_is_thrown_away(two: Two) -> None:
    two.a.write("Briefings/a.md", "a\n")
    two.a.sync()
    unreachable = git(two.a.root, "hash-object", "-w", "--stdin", data=b"nobody needs this").strip()
    keeper = housekeeping(two.a)
    assert keeper.due() == "packing the repository"
    assert "packed" in (keeper.run() or "")
    counts = dict(line.split(": ") for line in git(two.a.root, "count-objects", "-v").splitlines())
    assert counts["count"] == "0" and counts["packs"] == "1"
    assert git(two.a.root, "cat-file", "-t", unreachable).strip() == "blob"
    assert keeper.due() is None and keeper.run() is None
    two.a.clock.advance(24 * 3600)
    assert keeper.due()
    assert "packed" in keeper.memory.load()["did"]
    two.settle()
    two.assert_agree()


def test_many_loose_objects_do_not_wait_for_the_next_day(two: Two) -> None:
    keeper = housekeeping(two.a)
    keeper.run()
    folder = two.a.root / ".git" / "objects" / "17"
    folder.mkdir(exist_ok=True)
    for number in range(TOO_MANY_LOOSE // 256 + 1):
        (folder / f"{number:038x}").touch()
    assert keeper.due()


def test_packing_waits_while_a_persons_git_works_in_the_vault(two: Two) -> None:
    keeper = housekeeping(two.a)
    person = subprocess.Popen(["git", "cat-file", "--batch"], cwd=two.a.root, stdin=subprocess.PIPE)
    try:
        until(lambda: keeper.glance.git_processes() != [])
        assert keeper.due() is None and keeper.run() is None
    finally:
        person.communicate()
    assert "packed" in (keeper.run() or "")


def test_packing_ends_when_its_time_is_up_and_leaves_nothing(two: Two) -> None:
    bulk(two.a, 3)
    keeper = GitKeeper(two.a.root)
    with pytest.raises(AdapterError, match="took longer than") as caught:
        keeper.pack(0.002)
    assert caught.value.retry
    assert GitGlance(two.a.root, remote="origin", branch="main").git_processes() == []
    keeper.sweep(older_than=datetime.now(UTC).timestamp() + 1)
    git(two.a.root, "fsck", "--strict")
    two.settle()
    two.assert_agree()


PACK = "import sys; from pathlib import Path; from utils.adapters.git_keeper import GitKeeper; "


def test_a_kill_in_mid_packing_breaks_nothing(two: Two) -> None:
    bulk(two.a, 12)
    packs = two.a.root / ".git" / "objects" / "pack"
    glance = GitGlance(two.a.root, remote="origin", branch="main")
    program = PACK + "GitKeeper(Path(sys.argv[1])).pack(600)"
    process = subprocess.Popen([sys.executable, "-c", program, str(two.a.root)])
    until(lambda: any(packs.glob("tmp_pack_*")) or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for number in glance.git_processes():  # those of this vault: the machine dies, not one process
        os.kill(number, signal.SIGKILL)
    until(lambda: glance.git_processes() == [])
    two.a.write("Briefings/after.md", "after\n")
    two.settle()
    keeper = GitKeeper(two.a.root)
    left = len(list(packs.glob("tmp_*")))
    assert left, "killed in the middle"
    assert keeper.sweep(older_than=datetime.now(UTC).timestamp() - 3600) == 0, "it may be at work still"
    assert keeper.sweep(older_than=datetime.now(UTC).timestamp() + 1) >= left
    keeper.pack(600)
    git(two.a.root, "fsck", "--strict")
    two.assert_agree()


def test_a_sync_goes_on_while_the_repository_is_packed(two: Two) -> None:
    bulk(two.a, 12)
    program = PACK + "GitKeeper(Path(sys.argv[1])).pack(600)"
    process = subprocess.Popen([sys.executable, "-c", program, str(two.a.root)])
    count = 0
    while process.poll() is None or not count:
        two.a.write(f"Briefings/meanwhile-{count}.md", f"{count}\n")
        assert two.a.sync().result == "ok"
        count += 1
    assert process.returncode == 0
    git(two.a.root, "fsck", "--strict")
    two.settle()
    two.assert_agree()


def test_old_lines_of_the_reflogs_go(two: Two) -> None:
    two.a.write("Briefings/a.md", "a\n")
    two.a.sync()
    log = two.a.root / ".git" / "logs" / "refs" / "heads" / "main"
    first, *rest = log.read_text().splitlines(keepends=True)
    head, _, message = first.partition("> ")
    log.write_text(f"{head}> 1600000000 +0000\t{message.partition(chr(9))[2]}" + "".join(rest))
    housekeeping(two.a).run()
    kept = log.read_text().splitlines(keepends=True)
    assert kept == rest and rest


# --- what a person sees ----------------------------------------------------------------------------------------------


def test_the_command_answers_first_and_says_what_housekeeping_does(two: Two, make_node, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    node = make_node("local", VAULT_REMOTE_URL="")
    monkeypatch.setattr(sync_script.Services, "from_environment", classmethod(lambda cls: node))
    monkeypatch.setattr(sync_script.signal, "signal", lambda *words: None)
    assert sync_script.main([]) == 0
    out, err = capfd.readouterr()
    assert "housekeeping" not in out and "housekeeping: packing the repository" in err
    assert "housekeeping: packed the repository in" in err
    assert sync_script.main([]) == 0
    assert "housekeeping" not in capfd.readouterr().err


def test_the_doctor_tells_when_housekeeping_was_done_or_why_not(two: Two, make_node) -> None:  # type: ignore[no-untyped-def]
    node = make_node("local", VAULT_REMOTE_URL="")
    assert list(doctor.upkeep(node)) == []
    node.housekeeping.run()
    (finding,) = doctor.upkeep(node)
    assert finding.verdict == doctor.OK and "packed the repository" in finding.detail
    pack = next((node.layout.root / ".git" / "objects" / "pack").glob("*.idx"))
    pack.write_bytes(b"damaged")
    node.housekeeping.memory.update(day="yesterday")
    assert "the next sync mends the repository" in node.housekeeping.run()
    (finding,) = doctor.upkeep(node)
    assert finding.verdict == doctor.NOTE and "tried again" in finding.detail
    assert node.sync.run().error is None
    assert "packed the repository" in node.housekeeping.run()
