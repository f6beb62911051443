"""A move and its line in the log come together: killed at any step, or after a power cut."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.claim_kit import killed
from tests.servers import require_program
from tests.test_sync_syscalls import MUTATING, run
from utils.adapters.clock import SystemClock
from utils.claim_task import Claims
from utils.core.stages import Stage
from utils.core.task import make_id
from utils.vault import atomic, jsonl
from utils.vault.layout import Layout

META = {"id": make_id("email", datetime(2026, 6, 1, tzinfo=UTC), "mail"), "domain": "email"}
EVENTS = {"Needs_Action/email": ["created"], "In_Progress/local": ["created", "claimed"]}
EVENTS |= {"Done": [*EVENTS["In_Progress/local"], "done"]}
PROGRAM = """
import sys; from pathlib import Path; from utils.vault.layout import Layout; from utils.core.stages import Stage
from utils.adapters.clock import SystemClock; from utils.claim_task import Claims
claims = Claims(Layout(Path(sys.argv[1], "vault")), Path(sys.argv[1], "state"), SystemClock(), "local")
claims.move(claims.claim(claims.create(Stage.NEEDS_ACTION, {meta}, "body")), Stage.DONE)
""".replace("{meta}", repr(META))


class Home:
    """One node's vault and state, and what lies there."""

    def __init__(self, folder: Path) -> None:
        self.layout, self.state = Layout(folder / "vault"), folder / "state"
        self.layout.root.mkdir(parents=True)
        self.command = [sys.executable, "-c", PROGRAM, str(folder)]

    def claims(self) -> Claims:
        """As after a restart."""
        return Claims(self.layout, self.state, SystemClock(), "local")

    def places(self) -> list[str]:
        return [str(path.parent.relative_to(self.layout.root)) for path in self.layout.find(META["id"])]

    def events(self) -> list[str]:
        return [str(line["event"]) for line in jsonl.tail(self.layout.claims_log, 100)]

    def is_right(self) -> bool:
        """One place at most, and the log tells how the task came there, each step once."""
        places = self.places()
        return len(places) <= 1 and self.events() == (EVENTS[places[0]] if places else [])

    def notes(self) -> list[Path]:
        return [path for path in (self.state / "claims" / "moves").glob("*") if path.name[0] in "md"]

    def note(self) -> Path:
        """Cut the last line off the log and note it, as a process leaves it that dies between the two."""
        *kept, last = self.layout.claims_log.read_bytes().splitlines(keepends=True)
        self.layout.claims_log.write_bytes(b"".join(kept))
        note = self.state / "claims" / "moves" / ("m" + last.decode().rstrip("\n").replace("/", "\x1f"))
        note.touch()
        return note


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.mark.slow
def test_killed_before_any_call_that_changes_something(tmp_path: Path) -> None:
    quiet = [require_program("strace"), "-qq", "-e", "signal=none"]
    calls = f"{MUTATING},?link,linkat"
    trace = tmp_path / "trace"
    whole = Home(tmp_path / "0")
    run([*quiet, "-o", str(trace), "-e", f"trace={calls}", *whole.command])
    assert whole.is_right() and whole.places() == ["Done"] and not whole.notes()
    count = len(trace.read_text().splitlines())
    assert count > 30
    wrong = 0
    for when in range(1, count + 1):
        home = Home(tmp_path / str(when))
        run([*quiet, "-o", str(trace), "-e", f"inject={calls}:signal=SIGKILL:when={when}", *home.command])
        wrong += not home.is_right()
        for _ in range(2):
            home.claims().repair()
            assert home.is_right() and home.notes() == [], (when, home.places(), home.events())
        path = home.claims().create(Stage.NEEDS_ACTION, META, "body")  # and the work goes on
        if home.places() == ["Needs_Action/email"]:
            assert home.claims().claim(path) is not None
        assert home.is_right(), when
    assert wrong, "nothing was ever to be repaired: this test shows nothing"


def test_the_note_is_made_before_the_move_and_goes_when_both_are_on_the_disk(home: Home, tmp_path: Path) -> None:
    """What a power cut can find: never a move without its note or its line."""
    trace = tmp_path / "trace"
    strace = [require_program("strace"), "-y", "-s", "500", "-qq", "-e", "signal=none", "-o", str(trace)]
    calls = "trace=?link,linkat,?rename,renameat,renameat2,write,fsync,?unlink,unlinkat"
    run([*strace, "-e", calls, *home.command])
    root, state = re.escape(str(home.layout.root)), re.escape(str(home.state))
    steps = {
        "note": rf'link.*"{state}/claims/(moves/blank|process-[^"]*)", .*"{state}/claims/moves/m',
        "heartbeat": rf'rename.*"{state}/claims/moves/m.*, .*"{state}/claims/{META["id"]}.json',
        "move": rf'rename.*"{root}/(Needs_Action|In_Progress)/.*"{root}/(In_Progress|Done)/',
        "line": rf"write\(\d+<{root}/Logs/claims.jsonl>",
        "log": rf"fsync\(\d+<{root}/Logs/claims.jsonl>",
        "folder": rf"fsync\(\d+<{root}/Done>",
        "gone": rf'unlink.*"{state}/claims/moves/m',
    }
    done = [line for line in trace.read_text().splitlines() if " = -1 " not in line]
    seen = [name for line in done for name, call in steps.items() if re.search(call, line)]
    claim = seen.index("move") - 1
    assert seen[claim : claim + 5] == ["note", "move", "line", "log", "heartbeat"]
    assert seen[claim + 5 :] == ["note", "move", "folder", "line", "log", "gone"]


@pytest.mark.parametrize("step", range(3))
def test_a_line_that_is_missing_is_written_once(home: Home, step: int) -> None:
    """Its process was killed, or a power cut took the line."""
    claims = home.claims()
    path: Path | None = claims.create(Stage.NEEDS_ACTION, META, "body")
    if step > 0 and path:
        path = claims.claim(path)
    if step > 1 and path:
        claims.move(path, Stage.DONE)
    before = home.layout.claims_log.read_bytes()
    note = home.note()
    assert not home.is_right()
    for _ in range(2):
        home.claims().repair()
        assert home.layout.claims_log.read_bytes() == before
    assert not note.exists()


def test_a_note_that_outlived_its_line_adds_nothing(home: Home) -> None:
    home.claims().claim(home.claims().create(Stage.NEEDS_ACTION, META, "body"))
    whole = home.layout.claims_log.read_bytes()
    home.note()
    home.layout.claims_log.write_bytes(whole)
    home.claims().repair()
    assert home.layout.claims_log.read_bytes() == whole and not home.notes()


def test_a_line_that_a_killed_process_did_not_flush_is_flushed_before_its_note_goes(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = home.claims()
    path = claims.create(Stage.NEEDS_ACTION, META, "body")

    def claim() -> None:
        again = claims.release(claims.claim(path) or path, "email", "so that the process has given its sign")
        monkeypatch.setattr(os, "fsync", _dies)
        claims.claim(again)

    killed(claim)
    seen: list[int] = []
    monkeypatch.setattr(jsonl, "flush", lambda log: seen.append(len(home.notes())))
    home.claims().repair()
    assert seen == [1] and home.notes() == []
    assert home.events() == ["created", "claimed", "released", "claimed"]


def test_a_move_that_did_not_happen_is_forgotten(home: Home) -> None:
    path = home.claims().create(Stage.NEEDS_ACTION, META, "body")
    claimed = home.claims().claim(path)
    assert claimed is not None
    home.note()
    claimed.rename(path)
    home.claims().rest(claimed)
    assert home.claims().claim(path) is not None, "whoever takes the lock next looks"
    assert home.events() == ["created", "claimed"] and not home.notes()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"to": 7}', '{"to": "..\x1fetc"}', '{"to":"Done\x1fx","from":[]}'])
def test_a_damaged_note_is_set_aside_and_stops_nobody(home: Home, caplog: pytest.LogCaptureFixture, text: str) -> None:
    path = home.claims().create(Stage.NEEDS_ACTION, META, "body")
    (home.state / "claims" / "moves" / f"m{text}").touch()
    assert home.claims().claim(path) is not None
    assert home.is_right() and "is damaged" in caplog.text
    assert [note.name[0] for note in home.notes()] == ["d"]


def test_a_line_too_long_for_a_name_is_noted_in_a_file(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = home.claims()
    path = claims.claim(claims.create(Stage.NEEDS_ACTION, META, "body"))
    assert path is not None
    monkeypatch.setattr(jsonl, "write", _dies)
    killed(lambda: claims.release(path, "email", "ä" * 5000))
    monkeypatch.undo()
    assert home.events() == ["created", "claimed"] and len(home.notes()) == 1
    home.claims().repair()
    assert home.events() == ["created", "claimed", "released"] and not home.notes()
    assert jsonl.tail(home.layout.claims_log, 1)[0]["reason"] == "ä" * 5000


@pytest.mark.parametrize(("dies", "events"), [("line", ["created", "edited"]), ("write", ["created"])])
def test_an_edit_that_was_killed_has_a_line_if_it_was_made(
    home: Home, monkeypatch: pytest.MonkeyPatch, dies: str, events: list[str]
) -> None:
    claims = home.claims()
    path = claims.create(Stage.NEEDS_ACTION, META, "body")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with monkeypatch.context() as patch:
        if dies == "line":
            patch.setattr(jsonl, "write", _dies)
        else:
            patch.setattr(atomic, "_rename", _dies)
        killed(lambda: claims.rewrite(path, sha256, META, "other words", by="me"))
    assert ("other words" in path.read_text()) == (dies == "line")
    assert home.events() == ["created"]
    for _ in range(2):
        home.claims().repair()
        assert home.events() == events and not home.notes()


def test_a_full_disk_between_the_move_and_its_line_is_made_good(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = home.claims()
    path = claims.create(Stage.NEEDS_ACTION, META, "body")
    monkeypatch.setattr(jsonl, "write", _no_space)
    with pytest.raises(OSError, match="No space"):
        claims.claim(path)
    monkeypatch.undo()
    assert home.places() == ["In_Progress/local"] and home.events() == ["created"]
    [left] = claims.abandoned()
    assert claims.take_up(left)
    assert home.is_right()


def _dies(*arguments: object) -> Callable[[], None]:
    raise SystemExit(1)


def _no_space(*arguments: object) -> Callable[[], None]:
    raise OSError(28, os.strerror(28))


def test_a_line_that_is_nested_too_deep_stops_no_repair(tmp_path: Path) -> None:
    """The Cloud may append what it likes."""
    home = Home(tmp_path)
    home.claims().create(Stage.NEEDS_ACTION, META, "body")
    home.note()
    with home.layout.claims_log.open("ab") as log:
        log.write(b"[" * 100_000 + b"\n")
    home.claims().repair()
    assert home.events() == ["created"] and home.notes() == []
