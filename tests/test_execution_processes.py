"""The real approval watcher, MCP client, e-mail server and an SMTP server, as processes; and kill -9 among them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from pathlib import Path

import psutil
import pytest

from tests.conftest import FakeClock
from tests.fakes.desk import ANN, DRAFT, Desk, World, sha
from tests.servers import SmtpServer, eventually, smtp_server
from utils.adapters.clock import SystemClock
from utils.bootstrap import Services
from utils.execution.executor import acting_lock
from utils.execution.journal import ActionRecord, State
from utils.settings import PROJECT_ROOT
from utils.vault import locks

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with smtp_server(security="starttls", auth=True) as server:
        yield server


class Office:
    """A Local node whose watcher is a real process. The desk is the human's side."""

    def __init__(self, make_node: Callable[..., Services], tmp_path: Path, smtp: SmtpServer, **settings: str) -> None:
        self.smtp = smtp
        home = tmp_path / "local"
        self.environ = {
            **os.environ,
            "ENV_FILE": "",
            "AGENT_NAME": "local",
            "AGENT_MODE": "full",
            "VAULT_PATH": str(home / "vault"),
            "STATE_DIR": str(home / "state"),
            **smtp.environment(MAIL_FROM_NAME="Bürö Acme"),
            **settings,
        }
        self.log = tmp_path / "watcher.log"
        clock = FakeClock()
        clock._now = SystemClock().now()
        self.desk = Desk(make_node, clock, World(), set_up=True)
        self.processes: list[psutil.Process] = []

    @contextmanager
    def watcher(self) -> Iterator[psutil.Process]:
        """A running approval watcher; whatever is left of it and its children ends with the block."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "Watchers.approval_watcher"], cwd=PROJECT_ROOT, env=self.environ,
                stdout=log, stderr=log,
            )  # fmt: skip
        watcher = psutil.Process(process.pid)
        try:
            yield watcher
        finally:
            for one in [*self.family(watcher), *self.processes]:
                kill(one)
            process.wait(10)

    def family(self, watcher: psutil.Process) -> list[psutil.Process]:
        """The watcher and all below it; remembered, for orphans are hard to find."""
        if not watcher.is_running():
            return []
        found = [watcher, *watcher.children(recursive=True)]
        self.processes += [one for one in found[1:] if one not in self.processes]
        return found

    def server(self, watcher: psutil.Process) -> psutil.Process:
        """The e-mail server's process."""
        return next(one for one in self.family(watcher) if any("email_server" in part for part in one.cmdline()))

    def approve(self, **fields: object) -> tuple[Path, ActionRecord]:
        """The human approves a reply."""
        path = self.desk.request(**fields)
        return path, self.desk.approvals.approve(path.stem, sha(path), by="tester")

    def state(self, record: ActionRecord) -> State:
        found = self.desk.store.get(record.action_id)
        assert found is not None
        return found.state

    def wait_for(self, record: ActionRecord, state: State) -> None:
        eventually(lambda: self.state(record) is state, what=f"{state} ({self.log.read_text()[-3000:]})")

    def wait_until_filed(self, record: ActionRecord) -> None:
        eventually(lambda: (found := self.desk.store.get(record.action_id)) and found.filed, what="the filing")


@pytest.fixture
def office(make_node: Callable[..., Services], tmp_path: Path, smtp: SmtpServer) -> Office:
    return Office(make_node, tmp_path, smtp)


def kill(process: psutil.Process) -> None:
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return
    # Its exit may be somebody else's to collect, or nobody's: a zombie is dead enough.
    eventually(lambda: is_gone(process), what="its end")


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_an_approved_reply_goes_out_as_it_was_shown(office: Office) -> None:
    with office.watcher():
        path, record = office.approve(to=[ANN], cc=["Zoë Müller <zoe@example.org>"], bcc=["archive@acme.example"])
        office.wait_for(record, State.DONE)
        office.wait_until_filed(record)
    (mail,) = office.smtp.ledger
    assert mail.mail_from == "office@acme.example"
    assert mail.rcpt_tos == [ANN, "zoe@example.org", "archive@acme.example"]
    message = message_from_bytes(mail.data, policy=policy.default)
    assert message["To"] == ANN
    assert message["Cc"] == "Zoë Müller <zoe@example.org>"
    assert message["From"] == "Bürö Acme <office@acme.example>"
    assert message["Subject"] == 'Re: "10:30" – ok?'
    assert message["In-Reply-To"] == "<q1@example.org>"
    assert message["References"].split() == ["<q0@example.org>", "<q1@example.org>"]
    assert message["X-Action-Id"] == record.action_id
    assert "archive@acme.example" not in mail.data.decode()
    assert message.get_content().replace("\r\n", "\n") == DRAFT + "\n"
    assert office.desk.places(path.name) == ["Done"]
    (line,) = office.desk.action_log()
    assert (line["state"], line["approver"], line["via"], line["sha256"]) == ("done", "tester", "api", record.sha256)
    assert line["receipt"]["provider"] == "smtp" and "250" in line["receipt"]["detail"]
    assert DRAFT not in str(line)


@pytest.mark.parametrize("phase", ["MAIL", "DATA", "ACCEPTED"])
def test_a_killed_watcher_leaves_a_server_that_finishes_and_the_next_watcher_files_it(
    office: Office, phase: str
) -> None:
    office.smtp.hold(phase)
    with office.watcher() as watcher:
        path, record = office.approve()
        eventually(office.smtp.reached.is_set, what=phase)
        server = office.server(watcher)
        kill(watcher)
        office.smtp.release()
        eventually(lambda: is_gone(server), what="the end of the orphaned server")
    assert office.state(record) is State.SENDING
    with office.watcher():
        office.wait_until_filed(record)
    assert office.state(record) is State.DONE
    assert len(office.smtp.ledger) == 1
    assert office.desk.places(path.name) == ["Done"]


@pytest.mark.parametrize("phase", ["MAIL", "DATA", "ACCEPTED"])
def test_when_all_are_killed_in_the_middle_the_outcome_is_unknown_and_never_tried_again(
    office: Office, phase: str
) -> None:
    office.smtp.hold(phase)
    with office.watcher() as watcher:
        path, record = office.approve()
        eventually(office.smtp.reached.is_set, what=phase)
        for one in reversed(office.family(watcher)):
            kill(one)
        office.smtp.release()
    with office.watcher():
        office.wait_until_filed(record)
        assert office.state(record) is State.UNKNOWN
    assert len(office.smtp.ledger) <= 1 and office.smtp.attempts <= 1
    assert office.desk.places(path.name) == ["Approved"]
    assert record.action_id in (office.desk.vault / "Approved" / f"{path.stem}.reason.md").read_text()
    alerts = "".join(file.read_text() for file in (office.desk.vault / "Logs" / "alerts").glob("*"))
    assert "CRITICAL" in alerts and path.stem in alerts
    office.desk.executor.settle(record.action_id, "happened", by="tester", note="Ann has it")
    assert office.desk.places(path.name) == ["Done"]


def test_a_killed_server_in_the_middle_is_unknown_and_the_watcher_goes_on(office: Office) -> None:
    office.smtp.hold("ACCEPTED")
    with office.watcher() as watcher:
        _, first = office.approve()
        eventually(office.smtp.reached.is_set)
        kill(office.server(watcher))
        office.wait_for(first, State.UNKNOWN)
        office.smtp.release()
        other, second = office.approve(key="mail 2")
        office.wait_until_filed(second)
    assert office.state(second) is State.DONE
    assert office.desk.places(other.name) == ["Done"]
    assert len(office.smtp.ledger) == 2


def test_a_server_killed_before_it_took_the_token_costs_a_retry_only(office: Office) -> None:
    state_dir = Path(office.environ["STATE_DIR"])
    with office.watcher() as watcher:
        with locks.hold(acting_lock(state_dir)):
            _, record = office.approve()
            server = eventually(lambda: _server_or_none(office, watcher), what="the server")
            office.wait_for(record, State.SENDING)
            kill(server)
        office.wait_for(record, State.APPROVED)
        found = office.desk.store.get(record.action_id)
        assert found is not None and found.attempts == 1 and found.next_try_at is not None
    assert office.smtp.attempts == 0


def _server_or_none(office: Office, watcher: psutil.Process) -> psutil.Process | None:
    try:
        return office.server(watcher)
    except StopIteration:
        return None


def test_sigterm_in_the_middle_leaves_soon_and_the_mail_still_counts_once(office: Office) -> None:
    office.smtp.hold("DATA")
    with office.watcher() as watcher:
        path, record = office.approve()
        eventually(office.smtp.reached.is_set)
        server = office.server(watcher)
        server.send_signal(signal.SIGTERM)  # as systemd does to the whole group
        watcher.send_signal(signal.SIGTERM)
        eventually(lambda: is_gone(watcher), what="the watcher's leaving")
        assert not is_gone(server)
        office.smtp.release()
        eventually(lambda: is_gone(server), what="the server's leaving")
    with office.watcher():
        office.wait_until_filed(record)
    assert office.desk.places(path.name) == ["Done"]
    assert len(office.smtp.ledger) == 1


def test_a_silent_server_holds_up_no_decision_and_a_stop_in_the_middle_breaks_nothing(office: Office) -> None:
    office.smtp.hold("ACCEPTED")
    office.desk.approvals.observe()
    with office.watcher() as watcher:
        path, record = office.approve()
        eventually(office.smtp.reached.is_set)
        other = office.desk.request("mail 2")
        eventually(lambda: office.desk.store.was_seen(other.stem, sha(other)), what="a look at the new request")
        office.desk.move(other, "Approved")
        moved = eventually(lambda: office.desk.store.live(other.stem), what="the move is noted")
        assert moved.state is State.APPROVED and office.state(record) is State.SENDING
        note = office.desk.vault / "Dashboard.md"
        eventually(lambda: "being carried out since" in note.read_text(), what="Dashboard.md tells")
        watcher.send_signal(signal.SIGTERM)
        eventually(lambda: is_gone(watcher), what="the watcher's leaving")
        office.smtp.release()
    log = office.log.read_text()
    assert "approval_watcher stopped" in log and "Traceback" not in log
    with office.watcher():
        office.wait_until_filed(record)
        office.wait_until_filed(moved)
        eventually(lambda: "being carried out" not in note.read_text(), what="Dashboard.md tells of the end")
    assert office.desk.places(path.name) == office.desk.places(other.name) == ["Done"]
    assert len(office.smtp.ledger) == 2


def test_two_watchers_at_once_send_each_mail_once(office: Office) -> None:
    with office.watcher(), office.watcher():
        records = [office.approve(key=f"mail {number}")[1] for number in range(4)]
        for record in records:
            office.wait_until_filed(record)
    assert all(office.state(record) is State.DONE for record in records)
    assert len(office.smtp.ledger) == 4
    assert len({message_from_bytes(mail.data)["X-Action-Id"] for mail in office.smtp.ledger}) == 4


def test_nothing_is_left_running_when_an_idle_watcher_is_killed(office: Office) -> None:
    with office.watcher() as watcher:
        _, record = office.approve()
        office.wait_for(record, State.DONE)
        family = office.family(watcher)
        assert len(family) == 3
        kill(watcher)
        eventually(lambda: all(is_gone(one) for one in family), what="the end of the family")


def test_idle_servers_are_stopped_and_started_again(
    make_node: Callable[..., Services], tmp_path: Path, smtp: SmtpServer
) -> None:
    office = Office(make_node, tmp_path, smtp, MCP_IDLE_SECONDS="1")
    with office.watcher() as watcher:
        _, record = office.approve()
        office.wait_for(record, State.DONE)
        office.family(watcher)

        def stopped() -> bool:
            (office.desk.vault / "Approved" / "touched").write_text("wakes a cycle")
            return len(office.family(watcher)) == 1

        eventually(stopped, what="the servers' end")
        _, second = office.approve(key="mail 2")
        office.wait_for(second, State.DONE)
    assert len(smtp.ledger) == 2


def test_a_draft_only_node_leaves_everything(
    make_node: Callable[..., Services], tmp_path: Path, smtp: SmtpServer
) -> None:
    office = Office(make_node, tmp_path, smtp)
    path, _ = office.approve()
    office.environ |= {"AGENT_MODE": "draft_only", "AGENT_NAME": "cloud"}
    answer = subprocess.run(
        [sys.executable, "-m", "Watchers.approval_watcher", "--once"], cwd=PROJECT_ROOT, env=office.environ,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "1 left in Approved/ for Local" in answer.stdout
    assert not smtp.ledger and office.desk.places(path.name) == ["Approved"]
