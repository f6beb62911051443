"""The journal: steps are compare-and-swap, tokens are used once, files are private, and the table is closed."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from scripts import actions, approve, request
from tests.api_client import Api
from tests.conftest import FakeClock
from tests.fakes.desk import Desk, World, sha
from utils.bootstrap import Services
from utils.core.acting import Receipt
from utils.core.badges import Letter
from utils.core.mail import OutgoingMail
from utils.execution import schema
from utils.execution.journal import (
    LIVE,
    MAX_ATTEMPTS,
    TRANSITIONS,
    ActionRecord,
    IllegalTransition,
    Outcome,
    Proof,
    State,
    next_try,
    proof,
)
from utils.execution.store import ExecutionStore, StoreProblem


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World())


@pytest.fixture
def record(desk: Desk) -> ActionRecord:
    path = desk.request()
    return desk.approvals.approve(path.stem, sha(path), by="anna")


def test_the_file_is_private_and_written_through(desk: Desk, record: ActionRecord) -> None:
    for path in desk.node.settings.state_dir.glob("execution.sqlite3*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert desk.store._rows("PRAGMA synchronous")[0][0] == 2
    assert record.frozen and "frozen=" not in repr(record) and " token=" not in repr(record)


def test_a_token_is_consumed_once_by_whoever_comes_first(desk: Desk, record: ActionRecord) -> None:
    sending = desk.store.begin(record)
    assert sending is not None
    stores = [ExecutionStore(desk.node.settings.state_dir / "execution.sqlite3", desk.clock) for _ in range(6)]
    results: list[bool] = []
    gate = threading.Barrier(len(stores))

    def consume(store: ExecutionStore) -> None:
        gate.wait()
        results.append(store.consume(sending, "<m@x>"))

    threads = [threading.Thread(target=consume, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert sorted(results) == [False] * 5 + [True]
    assert not desk.store.revoke(sending), "a consumed token can't be taken back"


def test_a_revoked_token_can_not_be_consumed(desk: Desk, record: ActionRecord) -> None:
    sending = desk.store.begin(record)
    assert sending is not None
    assert desk.store.revoke(sending) and not desk.store.consume(sending, "<m@x>")
    current = desk.store.get(record.action_id)
    assert current is not None and desk.store.revoke(current), "taking back is repeatable after a crash"


def test_a_server_of_an_earlier_attempt_has_no_say(desk: Desk, record: ActionRecord) -> None:
    first = desk.store.begin(record)
    assert first is not None and desk.store.revoke(first)
    again = desk.store.get(record.action_id)
    assert again is not None and desk.store.retry_at(again, desk.clock.now(), "not started")
    waiting = desk.store.get(record.action_id)
    assert waiting is not None
    second = desk.store.begin(waiting)
    assert second is not None and second.attempts == 2
    assert not desk.store.consume(first, "<m@x>")
    assert desk.store.consume(second, "<m@x>")
    assert not desk.store.report(first, Outcome.REFUSED, error="late")
    assert desk.store.report(second, Outcome.ACCEPTED, receipt=Receipt("smtp", "<m@x>"))
    assert not desk.store.report(second, Outcome.LOST), "the first word stands"


def test_a_step_from_an_old_view_changes_nothing(desk: Desk, record: ActionRecord) -> None:
    assert desk.store.begin(record) is not None
    assert desk.store.begin(record) is None and not desk.store.void(record, "too late")
    current = desk.store.get(record.action_id)
    assert current is not None and current.state is State.SENDING
    with pytest.raises(ValueError, match="receipt"):
        desk.store.finish(current, State.DONE)


def test_one_live_record_a_request(desk: Desk, record: ActionRecord) -> None:
    path = desk.vault / "Approved" / f"{record.request_id}.md"
    assert path.read_bytes() == record.frozen
    with pytest.raises(sqlite3.IntegrityError):
        desk.store._rows(
            "INSERT INTO actions (action_id, request_id, action, sha256, frozen, approved_at, approved_by, via,"
            " expires_at, state) SELECT 'other', request_id, action, sha256, frozen, approved_at, approved_by, via,"
            " expires_at, 'sending' FROM actions"
        )


def test_the_table_is_closed() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(not TRANSITIONS[state] for state in (State.DONE, State.FAILED, State.VOID))
    assert {State.FAILED, State.VOID}.isdisjoint(LIVE)
    assert State.SENDING not in TRANSITIONS[State.UNKNOWN], "an unknown outcome is never tried again"
    assert [state for state in State if State.DONE in TRANSITIONS[state]] == [State.SENDING, State.UNKNOWN]


def test_nothing_leaves_the_table(desk: Desk, record: ActionRecord) -> None:
    with pytest.raises(IllegalTransition):
        desk.store.finish(record, State.DONE, receipt=Receipt("x", "y"))


def test_proof_and_retries(record: ActionRecord, clock: FakeClock) -> None:
    from dataclasses import replace

    consumed = replace(record, token_consumed_at=clock.now(), attempts=1)
    assert proof(record) is Proof.NOTHING_HAPPENED
    assert proof(consumed) is Proof.OPEN
    assert proof(replace(consumed, outcome=Outcome.LOST)) is Proof.OPEN
    assert proof(replace(consumed, outcome=Outcome.REFUSED)) is Proof.NOTHING_HAPPENED
    assert proof(replace(consumed, outcome=Outcome.ACCEPTED)) is Proof.OPEN, "accepted without a receipt proves nothing"
    assert proof(replace(consumed, outcome=Outcome.ACCEPTED, receipt=Receipt("a", "b"))) is Proof.HAPPENED
    assert next_try(consumed, retry=False, now=clock.now()) is None
    assert next_try(replace(consumed, attempts=MAX_ATTEMPTS), retry=True, now=clock.now()) is None
    assert next_try(replace(consumed, action="payment"), retry=True, now=clock.now()) is None
    pauses = [next_try(replace(consumed, attempts=n), retry=True, now=clock.now()) for n in range(1, MAX_ATTEMPTS)]
    assert pauses == sorted(pauses) and len(set(pauses)) == len(pauses)  # type: ignore[type-var]


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "execution.sqlite3"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreProblem, match="newer version"):
        ExecutionStore(path, clock).recent(1)


def test_a_damaged_file_is_told_with_its_remedy(desk: Desk, record: ActionRecord) -> None:
    """And what it says helps: what was approved asks again."""
    file = desk.node.settings.state_dir / "execution.sqlite3"
    desk.store.close()
    whole = file.read_bytes()
    file.write_bytes(b"garbage" * 1000)
    desk.restart()
    with pytest.raises(StoreProblem, match=r"is damaged \(file is not a database\).*Stop this node"):
        desk.store.recent(1)
    Api(desk.node).refused(503, "GET", "/api/approvals")
    page = int.from_bytes(whole[16:18], "big")
    file.write_bytes(whole[:page] + b"\xff" * (len(whole) - page))
    desk.restart()
    with pytest.raises(StoreProblem, match="is damaged"):
        desk.store.once(record.action_id, "a step")
    desk.store.close()
    for path in file.parent.glob("execution.sqlite3*"):
        path.unlink()
    desk.restart()
    assert desk.cycle() == "waiting for a confirmation 1" and desk.world.calls == 0


def test_a_damaged_file_is_no_traceback(
    make_node: Callable[..., Services],
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    desk = Desk(make_node, clock, World(), set_up=True)
    desk.request()
    desk.store.close()
    (desk.node.settings.state_dir / "execution.sqlite3").write_bytes(b"garbage" * 1000)
    monkeypatch.setattr(Services, "from_environment", classmethod(lambda cls: desk.node))
    for main in (approve.main, actions.main):
        desk.restart()
        assert main([]) == 1 and "is damaged" in capsys.readouterr().err
    desk.restart()
    draft = desk.vault / "draft.txt"
    draft.write_text("y\n")
    words = ["new", "send_email", "--field", "to=ann@example.org", "--field", "subject=x", "--draft", str(draft)]
    assert request.main(words) == 1 and "is damaged" in capsys.readouterr().err


def test_pages_of_records_are_stable(desk: Desk) -> None:
    for number in range(5):
        path = desk.request(f"mail {number}")
        desk.approvals.approve(path.stem, sha(path), by="anna")
    first = desk.store.recent(2)
    late = desk.request("late")
    desk.approvals.approve(late.stem, sha(late), by="anna")
    second = desk.store.recent(10, before=first[-1].action_id)
    assert len(second) == 3 and not {r.action_id for r in first} & {r.action_id for r in second}
    assert len(desk.store.recent(10, state="approved")) == 6 and desk.store.recent(10, state="done") == []


V1 = Path(__file__).parent / "data" / "execution-v1.sql"


def of_version_1(path: Path) -> None:
    """A file as version 1 left it: one action done, one unknown, one killed after its mail had left, one approved."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(V1.read_text(encoding="utf-8"))


def structure(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        return {"".join(row[0].replace('"', "").split()) for row in rows} | {
            db.execute("PRAGMA user_version").fetchone()
        }


def test_a_file_of_version_1_becomes_one_of_today_and_loses_nothing(tmp_path: Path, clock: FakeClock) -> None:
    old, new = tmp_path / "old.sqlite3", tmp_path / "new.sqlite3"
    of_version_1(old)
    with closing(sqlite3.connect(old)) as db:
        before = db.execute("SELECT action_id, state, message_id, frozen, attempts FROM actions").fetchall()
        events = db.execute("SELECT * FROM events").fetchall()
    stores = [ExecutionStore(path, clock) for path in (old, old, new)]
    for store in stores:
        store.recent(1)
    records = stores[0].recent(10)
    assert sorted((r.action_id, r.state, r.reference, r.frozen, r.attempts) for r in records) == sorted(before)
    assert {r.state for r in records} == {State.DONE, State.UNKNOWN, State.SENDING, State.APPROVED}
    assert all(r.prepared == "" for r in records)
    assert stores[1].known_recipients() == {"ann@example.org"}
    for store in stores:
        store.close()
    assert structure(old) == structure(new)
    with closing(sqlite3.connect(old)) as db:
        assert db.execute("SELECT * FROM events").fetchall() == events


@pytest.mark.parametrize("dump", ["execution-v1-oldest.sql", "execution-v1-made-here.sql"])
def test_every_file_that_was_ever_called_version_1_becomes_one_of_today(
    tmp_path: Path, clock: FakeClock, dump: str
) -> None:
    """Its first one had no `verified_senders`; the second had a column that must be filled and is not any more."""
    old, new = tmp_path / "old.sqlite3", tmp_path / "new.sqlite3"
    with closing(sqlite3.connect(old)) as db:
        db.executescript((V1.parent / dump).read_text(encoding="utf-8"))
    stores = [ExecutionStore(path, clock) for path in (old, new)]
    for store in stores:
        task = "email-20260601T090000Z-11111111"
        store.saw("email-20260601T090000Z-00000000", "b" * 64, "Pending_Approval/x.md", None)
        store.facts.read(task, Letter("ann@example.org", "", genuine=True))
    (record,) = stores[0].recent(10)
    assert record.state is State.APPROVED and stores[0].was_seen(record.request_id, record.sha256)
    assert stores[0].facts.letter(record.source_task) is None
    for store in stores:
        store.close()
    assert structure(old) == structure(new)


ANSWERS = ("versions", "answers", "snoozes", "revisions", "decisions", "typed", "warned")


@pytest.mark.parametrize(
    ("version", "without"),
    [(6, ()), (5, ()), (4, ()), (3, ("letters", "deals")), (2, ("letters", "deals", "reached", *ANSWERS))],
)
def test_a_file_of_a_later_version_becomes_one_of_today(
    tmp_path: Path, clock: FakeClock, version: int, without: tuple[str, ...]
) -> None:
    old, new = tmp_path / "old.sqlite3", tmp_path / "new.sqlite3"
    for path in (old, new):
        store = ExecutionStore(path, clock)
        store.recent(1)
        store.close()
    with closing(sqlite3.connect(old)) as db:
        if version < 5:
            db.execute("ALTER TABLE actions DROP COLUMN provider")
        db.execute("DROP TABLE replies")
        if version < 6:
            db.execute("ALTER TABLE seen DROP COLUMN brought")
            db.execute("DROP INDEX letters_by_message_id")
            db.execute("ALTER TABLE letters DROP COLUMN message_id")
        for table in without:
            db.execute(f"DROP TABLE {table}")
        if version < 4:
            db.execute("CREATE TABLE verified_senders (task_id TEXT PRIMARY KEY, address TEXT, at TEXT)")
        if version == 2:  # its first files
            db.execute("DROP INDEX actions_by_act")
        db.execute(f"PRAGMA user_version = {version}")
    store = ExecutionStore(old, clock)
    assert store.recent(1) == []
    store.close()
    assert structure(old) == structure(new)


def test_what_version_1_had_begun_is_concluded_by_the_mail_that_left(
    make_node: Callable[..., Services], clock: FakeClock, tmp_path: Path
) -> None:
    of_version_1(tmp_path / "local" / "state" / "execution.sqlite3")
    desk = Desk(make_node, clock, World(keeps_sent=True))
    (sending,) = desk.store.in_state(State.SENDING)
    (approved,) = desk.store.in_state(State.APPROVED)
    for one in (sending, approved):
        (desk.vault / "Approved" / f"{one.request_id}.md").write_bytes(one.frozen)
    desk.world.ledger.append(OutgoingMail(sending.reference, "", (), b""))
    assert desk.cycle() == "sent 2"
    assert desk.world.calls == 1 and desk.store.get(sending.action_id).state is State.DONE  # type: ignore[union-attr]


def test_an_upgrade_that_breaks_off_changes_nothing(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.sqlite3"
    of_version_1(path)
    before = structure(path)
    monkeypatch.setitem(schema._STEPS, 1, schema._STEPS[1] + "; SELECT nothing FROM nowhere")
    with pytest.raises(sqlite3.OperationalError):
        ExecutionStore(path, clock).recent(1)
    assert structure(path) == before
    monkeypatch.undo()
    assert len(ExecutionStore(path, clock).recent(10)) == 4
