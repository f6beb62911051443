"""Local is put back from a backup, its journal with it: what was sent since is not sent again (S8)."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import FakeClock
from tests.fakes.desk import Desk, Killed, World, sha
from tests.test_execution_executor import approved
from tests.test_sync_restored import asked_about, keep, put_back, said_of_writing
from utils.bootstrap import Services
from utils.execution.journal import State
from utils.execution.store import ExecutionStore
from utils.ports import OutcomeUnknown
from utils.vault.memory import Memory
from utils.vault_sync import Answers, SyncResult


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World())


@pytest.mark.parametrize("trouble", ["expired", "edited", "taken back", "not placed", "older than the restore"])
def test_a_node_that_waits_moves_nothing(desk: Desk, trouble: str) -> None:
    """It may all be old, and a move would count as newer than what was done since."""
    record = approved(desk)
    file = desk.vault / "Approved" / f"{record.request_id}.md"
    if trouble == "expired":
        desk.clock.advance(25 * 3600)
    elif trouble == "edited":
        file.write_text(file.read_text() + "x\n")
    elif trouble == "taken back":
        file = desk.move(file, "Pending_Approval/email")
    elif trouble == "not placed":
        file = desk.move(file, "Pending_Approval/email")
        desk.store._connection.execute("UPDATE actions SET placed = 0")  # type: ignore[union-attr]
    else:
        desk.clock.advance(60)
        desk.put_back_at = desk.clock.now()
    desk.waits = "put back"
    assert desk.cycle() == "waiting for a sync 1"
    assert file.exists() and desk.store.get(record.action_id).state is State.APPROVED  # type: ignore[union-attr]
    desk.waits = None
    assert "waiting for a sync" not in desk.cycle()


def test_an_approval_that_waits_is_told_once(desk: Desk) -> None:
    record = approved(desk)
    desk.waits = "put back"
    desk.cycle(), desk.cycle()
    assert [title for _, title, _ in desk.alerts] == [f"{record.request_id} is approved and waits for a sync"]


@pytest.mark.parametrize("later", [60, -86400], ids=["", "a clock that is behind"])
def test_an_approval_from_before_the_restore_asks_again(desk: Desk, later: float) -> None:
    old = approved(desk)
    desk.clock.advance(later)
    desk.put_back_at = desk.clock.now()
    desk.clock.advance(60)
    assert desk.cycle() == "back to pending 1"
    (path,) = desk.vault.glob(f"Pending_Approval/**/{old.request_id}.md")
    assert "approve it again" in path.with_suffix(".reason.md").read_text() and desk.world.calls == 0
    desk.approvals.approve(old.request_id, sha(path), by="anna")
    assert desk.cycle() == "sent 1", "a new word counts"


def test_what_the_journal_of_the_backup_was_sending_asks_again(desk: Desk) -> None:
    """Nothing had left yet when the backup was made; the mail went a moment later."""
    record = approved(desk)
    assert desk.store.begin(record)
    desk.clock.advance(60)
    desk.put_back_at = desk.clock.now()
    desk.waits = "put back"
    desk.cycle()
    desk.waits = None
    assert desk.cycle() == "back to pending 1" and desk.world.calls == 0


def test_what_was_begun_before_is_concluded_while_the_node_waits(desk: Desk) -> None:
    desk.world.keeps_sent = True
    approved(desk)
    desk.world.lost_answers = [Killed()]  # type: ignore[list-item]
    with pytest.raises(Killed):
        desk.cycle()
    desk.restart()
    desk.waits = "put back"
    assert desk.cycle() == "sent 1" and desk.world.calls == 1


# --- the journal alone, or a node without a remote -------------------------------------------------------------------


def journal(desk: Desk) -> Path:
    return desk.node.settings.state_dir / "execution.sqlite3"


def keep_journal(desk: Desk) -> None:
    """A backup of the journal alone, as it lies on the disk while the node runs."""
    for path in sorted(journal(desk).parent.glob("execution.sqlite3*")):
        shutil.copy2(path, path.with_name(f"backup-{path.name}"))


def put_journal_back(desk: Desk, *, all_files: bool) -> None:
    if not all_files:  # what the log holds is in the file
        with closing(sqlite3.connect(journal(desk).with_name("backup-execution.sqlite3"))) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    desk.store.close()
    for path in journal(desk).parent.glob("execution.sqlite3*"):
        path.unlink()
    for path in journal(desk).parent.glob("backup-execution.sqlite3*" if all_files else "backup-execution.sqlite3"):
        shutil.copy2(path, path.with_name(path.name.removeprefix("backup-")))
    desk.clock.advance(60)
    desk.restart()


@pytest.mark.parametrize("all_files", [True, False], ids=["with its log", "alone"])
@pytest.mark.parametrize("answer", ["", "lost"])
def test_the_journal_alone_is_put_back(desk: Desk, all_files: bool, answer: str) -> None:
    """The vault and the state of the sync are as they were; the mail has gone, or nobody knows."""
    record = approved(desk)
    keep_journal(desk)
    desk.world.lost_answers = [OutcomeUnknown("lost")] if answer else []
    desk.cycle()
    assert desk.world.calls == 1
    put_journal_back(desk, all_files=all_files)
    for _ in range(3):
        desk.cycle()
        desk.clock.advance(60)
    assert desk.world.calls == 1 and desk.store.newest(record.request_id).state is State.VOID  # type: ignore[union-attr]
    assert desk.places(f"{record.request_id}.md") == ["Pending_Approval/email" if answer else "Done"]


def test_a_journal_that_never_heard_of_the_approval(desk: Desk) -> None:
    """It saw the request wait; the request lies in `Approved/` since, and nobody knows what became of it."""
    path = desk.request()
    desk.approvals.observe()
    keep_journal(desk)
    desk.approvals.approve(path.stem, sha(path), by="anna")
    desk.world.lost_answers = [OutcomeUnknown("lost")]
    assert "unknown" in desk.cycle() and desk.places(path.name) == ["Approved"]
    put_journal_back(desk, all_files=True)
    assert desk.cycle() == "waiting for a confirmation 1" and desk.world.calls == 1


def test_one_that_was_put_back_works_on(desk: Desk) -> None:
    keep_journal(desk)
    approved(desk)
    desk.cycle()
    put_journal_back(desk, all_files=True)
    other = desk.request("mail 2")
    desk.approvals.observe()
    at = desk.store.put_back_at()
    desk.clock.advance(60)
    desk.approvals.approve(other.stem, sha(other), by="anna")
    desk.restart()
    assert at is not None and desk.store.put_back_at() == at and desk.cycle() == "sent 1"


@pytest.mark.parametrize("files", ["execution.sqlite3*", "*"], ids=["all of it", "and all of STATE_DIR"])
def test_a_journal_that_is_lost_is_behind_too(desk: Desk, files: str) -> None:
    path = desk.request()
    desk.approvals.observe()
    desk.approvals.approve(path.stem, sha(path), by="anna")
    desk.world.lost_answers = [OutcomeUnknown("lost")]
    desk.cycle()
    desk.store.close()
    for file in [file for file in journal(desk).parent.glob(files) if file.is_file()]:
        file.unlink()
    desk.restart()
    assert desk.cycle() == "waiting for a confirmation 1" and desk.world.calls == 1


def test_a_node_without_a_remote_is_put_back(make_node: Callable[..., Services], clock: FakeClock) -> None:
    desk = Desk(make_node, clock, World(), set_up=True)
    record = approved(desk)
    assert desk.node.sync.run().error is None and not desk.node.sync.has_remote()
    state = desk.node.settings.state_dir
    desk.store.close()
    keep(state)
    desk.restart()
    desk.world.lost_answers = [OutcomeUnknown("lost")]
    assert "unknown" in desk.cycle()
    desk.store.close()
    put_back(state)
    said_of_writing(state / "execution.json", -600)
    desk.clock.advance(60)
    desk.restart()
    assert desk.cycle() == "back to pending 1" and desk.world.calls == 1
    assert desk.places(f"{record.request_id}.md") == ["Pending_Approval/email"]


def test_no_crash_and_no_upgrade_counts_as_put_back(desk: Desk) -> None:
    assert desk.store.put_back_at() is None, "the first start"
    approved(desk)
    desk.restart()
    assert desk.store.put_back_at() is None
    desk.store.close()
    journal(desk).with_suffix(".json").unlink()  # as versions before left it
    desk.restart()
    assert desk.cycle() == "sent 1" and desk.store.put_back_at() is None


def killed(*_: object, **__: object) -> None:
    raise Killed


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_mark_that_a_crash_or_a_full_disk_left_behind_the_journal(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = approved(desk)
    monkeypatch.setattr(Memory, "update", killed)
    with pytest.raises(Killed):
        desk.store.once(record.action_id, "a step")
    desk.restart()
    monkeypatch.setattr(Memory, "update", full_disk)
    assert desk.store.once(record.action_id, "another step"), "the step counts"
    monkeypatch.undo()
    desk.restart()
    assert desk.cycle() == "sent 1" and desk.store.put_back_at() is None


def test_processes_that_begin_while_others_write(desk: Desk) -> None:
    """A new one reads how far the journal has come and then the journal: it must not take a step for a loss."""
    record = approved(desk)

    def write_on() -> None:
        for number in range(100):
            desk.store.once(record.action_id, f"step {number}")

    writer = threading.Thread(target=write_on)
    writer.start()
    found = []
    while writer.is_alive():
        with closing(ExecutionStore(journal(desk), desk.clock)) as store:
            found.append(store.put_back_at())
    writer.join()
    assert found and set(found) == {None}


# --- with real syncs -------------------------------------------------------------------------------------------------


class Synced(Desk):
    """A desk whose vault is synced to a real remote."""

    def restart(self, *words: object) -> None:
        super().restart()
        started, sync = self.clock.now(), self.node.sync
        self.executor._reason_to_wait = lambda: sync.reason_to_wait(started)
        self.executor._put_back_at = self.node.put_back_at
        self.approvals._known_to_git = sync.known_to_git

    def back_up(self) -> None:
        keep(self.vault), keep(self.node.settings.state_dir)

    def put_back(self, *, noticed: bool) -> None:
        self.store.close()
        put_back(self.vault), put_back(self.node.settings.state_dir)
        if noticed:
            said_of_writing(self.node.settings.state_dir / "sync.json", -600)
            self.clock.advance(60)
        else:
            self.clock.advance(3600)
        self.restart()

    def sync(self, **answers: str) -> SyncResult:
        return self.node.sync.run(Answers(**answers))  # type: ignore[arg-type]

    def good_sync(self, **answers: str) -> None:
        result = self.sync(**answers)
        assert result.error is None, result.summary()


@pytest.fixture
def synced(make_node: Callable[..., Services], clock: FakeClock, tmp_path: Path) -> Synced:
    remote = tmp_path / "remote.git"
    subprocess.run(["git", "init", "-q", "--bare", "--initial-branch=main", str(remote)], check=True)
    return Synced(
        make_node, clock, World(), set_up=True, VAULT_REMOTE_URL=str(remote), SYNC_SETTLE_SECONDS="0"
    )  # fmt: skip


@pytest.mark.parametrize("noticed", [True, False], ids=["copied", "asleep"])
def test_a_request_that_the_human_approves_again_while_the_sync_asks(synced: Synced, noticed: bool) -> None:
    path = synced.request()
    synced.clock.advance(60)
    synced.good_sync()
    synced.back_up()
    synced.approvals.approve(path.stem, sha(path), by="anna")
    assert synced.cycle() == "sent 1"
    synced.good_sync()
    synced.put_back(noticed=noticed)
    own = asked_about(synced.sync())
    synced.approvals.approve(path.stem, sha(path), by="anna")
    assert synced.cycle() == "waiting for a sync 1"
    synced.good_sync(accept_own=own)
    for _ in range(3):
        synced.cycle()
        synced.clock.advance(60)
        synced.good_sync()
    assert synced.world.calls == 1 and synced.places(path.name) == ["Done"]
    assert synced.store.newest(path.stem).state is State.VOID  # type: ignore[union-attr]


def test_what_was_sent_after_the_last_push(synced: Synced) -> None:
    """The machine is lost before its next sync: nobody but the human can know that the mail has gone."""
    path = synced.request()
    synced.clock.advance(60)
    synced.approvals.approve(path.stem, sha(path), by="anna")
    synced.good_sync()
    synced.back_up()
    assert synced.cycle() == "sent 1"
    synced.put_back(noticed=True)
    assert synced.cycle() == "waiting for a sync 1"
    synced.good_sync()
    assert synced.cycle() == "back to pending 1" and synced.world.calls == 1
    assert synced.places(path.name) == ["Pending_Approval/email"]
