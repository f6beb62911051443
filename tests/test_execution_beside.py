"""A mail server that takes the mail and stays silent holds nothing up: decisions are followed, and the notes tell."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import FakeClock
from tests.fakes.desk import Desk, World, sha
from tests.servers import DEADLINE, SmtpServer, eventually, smtp_server
from tests.test_approvals_remote import Phone
from utils.adapters.mail_out.smtp import SmtpSender
from utils.adapters.watch import watch
from utils.bootstrap import Services
from utils.core.acting import Receipt
from utils.core.mail import OutgoingMail
from utils.daemon import Stop
from utils.execution.beside import Beside
from utils.execution.journal import State
from utils.settings import Settings, load
from Watchers.approval_watcher import ApprovalWatcher


class Post(World):
    """A world that is a real SMTP server."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._out = SmtpSender(settings, final_reply_seconds=20)

    def send(self, mail: OutgoingMail) -> Receipt:
        return self._out.send(mail)


class Office:
    """A Local node whose watcher runs; it waits for nothing that it began, unless told to."""

    def __init__(self, make_node: Callable[..., Services], smtp: SmtpServer) -> None:
        settings = load({"ENV_FILE": "", "VAULT_PATH": "/tmp/none", **smtp.environment()})
        self.desk = Desk(make_node, FakeClock(), Post(settings))
        self.stop = Stop()
        self.watcher = ApprovalWatcher(self.desk.node)
        self.watcher.patience = 0
        self.watcher.start(self.stop)

    def cycle(self) -> str:
        return self.watcher.run_cycle(self.desk.clock.now())

    def wait_for_all(self) -> None:
        """The cycles to come wait for what they begin."""
        assert self.watcher._beside is not None
        self.watcher._beside.patience = DEADLINE

    def state(self, request_id: str) -> State | None:
        record = self.desk.store.newest(request_id)
        return record.state if record else None

    def dashboard(self) -> str:
        return (self.desk.vault / "Dashboard.md").read_text()


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with smtp_server(security="none", auth=False) as server:
        yield server


@pytest.fixture
def office(make_node: Callable[..., Services], smtp: SmtpServer) -> Iterator[Office]:
    office = Office(make_node, smtp)
    yield office
    smtp.release()
    office.watcher.close()


@pytest.mark.parametrize("phase", ["DATA", "ACCEPTED"])
def test_decisions_are_followed_while_a_server_stays_silent(office: Office, smtp: SmtpServer, phase: str) -> None:
    desk = office.desk
    first, moved, refused = (desk.request(f"mail {number}") for number in range(3))
    desk.approvals.observe()
    desk.approvals.approve(first.stem, sha(first), by="anna")
    smtp.hold(phase)
    assert "carrying out" in office.cycle()
    eventually(smtp.reached.is_set, what=phase)
    desk.move(moved, "Approved")
    desk.move(refused, "Rejected")
    assert office.cycle() == "carrying out, Dashboard.md written"
    record = desk.store.live(moved.stem)
    assert record is not None and (record.state, record.via) == (State.APPROVED, "move")
    assert len(list((desk.vault / "Rejected").glob("*.reason.md"))) == 1, "its task went with it"
    begun = desk.store.live(first.stem)
    assert begun is not None and begun.started_at is not None
    assert f"being carried out since {begun.started_at:%Y-%m-%d %H:%M:%S} UTC" in office.dashboard()
    assert f"actions cancel {begun.action_id}" not in office.dashboard(), "it is too late for that"
    assert office.state(first.stem) is State.SENDING
    smtp.release()
    office.stop.wait(DEADLINE)  # woken by its end
    office.wait_for_all()
    assert office.cycle() == "sent 1, sent 1, Dashboard.md written"
    assert desk.places(first.name) == desk.places(moved.name) == ["Done"] and len(smtp.ledger) == 2
    assert "being carried out" not in office.dashboard()


@pytest.mark.parametrize("how", ["edited", "taken back"])
def test_what_is_changed_while_the_one_before_is_sent_is_not_sent(office: Office, smtp: SmtpServer, how: str) -> None:
    desk = office.desk
    paths = [desk.request(f"mail {number}") for number in range(2)]
    desk.approvals.observe()
    for path in paths:
        desk.approvals.approve(path.stem, sha(path), by="anna")
    smtp.hold("DATA")
    office.cycle()
    eventually(smtp.reached.is_set)
    (other,) = [path for path in paths if office.state(path.stem) is State.APPROVED]
    lying = desk.vault / "Approved" / other.name
    if how == "edited":
        lying.write_bytes(lying.read_bytes().replace(b"Kind regards", b"No regards"))
    else:
        desk.move(lying, "Pending_Approval/email")
    smtp.release()
    office.stop.wait(DEADLINE)
    office.wait_for_all()
    office.cycle()
    assert office.state(other.stem) is State.VOID and len(smtp.ledger) == 1
    assert desk.places(other.name) == ["Pending_Approval/email"]


def test_leaving_waits_for_what_is_under_way(office: Office, smtp: SmtpServer) -> None:
    path = office.desk.request()
    office.desk.approvals.approve(path.stem, sha(path), by="anna")
    smtp.hold("DATA")
    office.cycle()
    eventually(smtp.reached.is_set)
    closing = threading.Thread(target=office.watcher.close)
    closing.start()
    assert closing.is_alive() and office.state(path.stem) is State.SENDING
    smtp.release()
    closing.join(DEADLINE)
    assert not closing.is_alive() and office.desk.places(path.name) == ["Done"]


def test_leaving_begins_nothing_more(make_node: Callable[..., Services], clock: FakeClock) -> None:
    """To be begun and cut off at once costs a try, and what is tried once alone fails by it."""
    desk = Desk(make_node, clock, World())
    paths = [desk.request(f"mail {number}") for number in range(3)]
    for path in paths:
        desk.approvals.approve(path.stem, sha(path), by="anna")
    call = desk.tools.call

    def leaving(*arguments: object) -> object:
        desk.tools.stopped = lambda: True
        return call(*arguments)  # type: ignore[arg-type]

    desk.tools.call = leaving  # type: ignore[method-assign, assignment]
    assert desk.cycle() == "sent 1, left for the next start 2"
    assert sorted(record.attempts for record in desk.store.recent()) == [0, 0, 1]
    desk.restart()
    assert desk.cycle() == "sent 2" and len(desk.world.ledger) == 3


def test_a_signed_approval_wakes_the_watcher_although_its_folder_is_new(
    make_node: Callable[..., Services], clock: FakeClock
) -> None:
    desk = Desk(make_node, clock, World())
    path = desk.request()
    desk.approvals.observe()
    phone = Phone(desk)
    shutil.rmtree(desk.vault / "Updates" / "approvals", ignore_errors=True)
    seen = threading.Event()
    observer = watch(
        ApprovalWatcher(desk.node).folders(), lambda changed: seen.set() if changed.suffix == ".json" else None
    )
    try:
        phone.approve(path)
        assert seen.wait(DEADLINE)
    finally:
        observer.stop()
        observer.join()


# What is done beside


class Work:
    """What the executor would be: each run waits until it is let go, and then answers or raises what it is given."""

    def __init__(self, *outcomes: str | Exception) -> None:
        self.outcomes = list(outcomes)
        self.let_go = threading.Event()
        self.runs = 0

    def __call__(self) -> str:
        self.runs += 1
        assert self.let_go.wait(DEADLINE)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def woken() -> tuple[threading.Semaphore, Callable[[], None]]:
    count = threading.Semaphore(0)
    return count, lambda: count.release()


def test_an_error_is_raised_by_the_cycle_that_finds_it_and_keeps_nothing_from_going_on() -> None:
    work, (count, wake) = Work(RuntimeError("full disk"), "sent 1"), woken()
    beside = Beside(work, wake, 0)
    assert beside.run() == "carrying out" == beside.run()
    work.let_go.set()
    assert count.acquire(timeout=DEADLINE), "somebody asked meanwhile"
    beside.patience = DEADLINE
    with pytest.raises(RuntimeError, match="full disk"):
        beside.run()
    work.outcomes.append("idle")
    assert beside.run() == "sent 1" and work.runs == 3
    beside.close()


def test_what_did_nothing_wakes_nobody_but_who_asked_meanwhile() -> None:
    work, (count, wake) = Work("idle", "idle", "sent 1"), woken()
    beside = Beside(work, wake, 0)
    beside.run()
    work.let_go.set()
    eventually(lambda: not beside.is_at_work)
    work.let_go.clear()
    assert beside.run() == "carrying out" == beside.run()
    assert not count.acquire(blocking=False), "slow and idle runs would follow each other for ever"
    work.let_go.set()
    assert count.acquire(timeout=DEADLINE)
    beside.run()
    assert count.acquire(timeout=DEADLINE), "it did something"
    beside.close()


def test_what_has_nothing_new_to_tell_wakes_nobody() -> None:
    """Else many that wait, or a slow Odoo that is asked about one, keep a processor busy until that is over."""
    work, (count, wake) = Work("in flight 1", "in flight 1", "sent 1"), woken()
    beside = Beside(work, wake, 0)
    answers = []
    for news in (True, False, True):
        work.let_go.clear()
        answers.append(beside.run())
        work.let_go.set()
        eventually(lambda: not beside.is_at_work)
        assert count.acquire(timeout=DEADLINE if news else 0) is news
    assert answers == ["carrying out", "in flight 1, carrying out", "in flight 1, carrying out"]
    beside.close()


def test_an_error_at_the_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    work = Work(RuntimeError("full disk"))
    beside = Beside(work, lambda: None, 0)
    beside.run()
    work.let_go.set()
    beside.close()
    assert "full disk" in caplog.text
