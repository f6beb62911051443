"""Alerts: durable before anything is tried, counted instead of repeated, a storm becomes a digest, none is lost."""

from __future__ import annotations

import email
import email.policy
import logging
import os
import signal
import subprocess
import sys
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.conftest import FakeClock
from tests.fakes.watch import FakeChannel
from tests.servers import eventually, smtp_server
from utils.adapters.smtp_alert import SmtpAlertChannel
from utils.alert_manager import AlertManager, BadCursor
from utils.settings import PROJECT_ROOT, load
from utils.vault import jsonl
from utils.vault.layout import Layout


@pytest.fixture
def channel() -> FakeChannel:
    return FakeChannel()


@pytest.fixture
def manager(tmp_path: Path, clock: FakeClock, channel: FakeChannel) -> AlertManager:
    return AlertManager(Layout(tmp_path / "vault"), tmp_path / "state", clock, [channel])


def states(manager: AlertManager) -> list[str]:
    return [item["state"] for item in manager.recent(500)[0]]


def log_lines(tmp_path: Path) -> list[dict[str, object]]:
    return list(jsonl.newest_of(tmp_path / "vault" / "Logs" / "alerts"))


def test_an_alert_is_spooled_and_logged_first_and_sent_later(
    manager: AlertManager, channel: FakeChannel, clock: FakeClock, tmp_path: Path
) -> None:
    alert = manager.send("CRITICAL", "odoo is down", "3 checks in a row failed.", source="health_monitor")
    assert channel.tries == 0
    assert states(manager) == ["spooled"]
    assert [line["id"] for line in log_lines(tmp_path)] == [alert.id]
    assert manager.deliver_due(clock.now()) == "fake: sent 1"
    assert channel.mails == [[alert]]
    items, cursor = manager.recent(10)
    assert cursor is None
    assert items == [
        {
            "id": alert.id,
            "at": "2026-06-01T12:00:00Z",
            "level": "CRITICAL",
            "source": "health_monitor",
            "title": "odoo is down",
            "message": "3 checks in a row failed.",
            "state": "sent",
            "repeats": 0,
        }
    ]
    assert manager.deliver_due(clock.now()) == "no alert waits"


def test_without_channels_alerts_are_kept_and_logged_but_not_sent(tmp_path: Path, clock: FakeClock) -> None:
    manager = AlertManager(Layout(tmp_path / "vault"), tmp_path / "state", clock, [])
    manager.send("INFO", "a", "b")
    assert states(manager) == ["suppressed"]
    assert len(log_lines(tmp_path)) == 1
    assert manager.deliver_due(clock.now()) == "no alert waits"


def test_equal_alerts_within_the_hour_are_counted_a_louder_one_is_told(
    manager: AlertManager, channel: FakeChannel, clock: FakeClock
) -> None:
    for _ in range(4):
        manager.send("WARNING", "mailbox offline", "timeout", source="gmail_watcher")
        clock.advance(60)
    manager.send("WARNING", "mailbox offline", "timeout", source="another")
    manager.send("CRITICAL", "mailbox offline", "timeout", source="gmail_watcher")
    shown = [(item["level"], item["source"], item["repeats"]) for item in manager.recent(10)[0]]
    assert shown == [("CRITICAL", "gmail_watcher", 0), ("WARNING", "another", 0), ("WARNING", "gmail_watcher", 3)]
    clock.advance(3601)
    manager.send("WARNING", "mailbox offline", "timeout", source="gmail_watcher")
    assert len(manager.recent(10)[0]) == 4
    manager.deliver_due(clock.now())
    assert [alert.repeats for alert in channel.mails[0]] == [3, 0, 0, 0]


def test_a_storm_of_a_thousand_becomes_a_few_mails_and_none_is_lost(
    manager: AlertManager, channel: FakeChannel, clock: FakeClock
) -> None:
    for number in range(1000):
        manager.send("WARNING", f"alert {number}", "…", source="storm")
        if number % 20 == 0:
            manager.deliver_due(clock.now())
            clock.advance(30)
    for _ in range(200):
        clock.advance(30)
        manager.deliver_due(clock.now())
    assert len(channel.mails) <= 15  # over 125 minutes; without the digest it would be 50 at least
    told = [alert.title for mail in channel.mails for alert in mail]
    assert sorted(told) == sorted(f"alert {number}" for number in range(1000))
    assert set(states(manager)) == {"sent"}


def test_another_message_under_the_same_title_is_another_alert(manager: AlertManager, clock: FakeClock) -> None:
    """The lease is gone, then it can't be read: the second is not the first one again."""
    title = "The zones' lease is not what it was"
    for message in ("it is gone", "it can't be read", "it is gone", "it went back to term 3, after 5"):
        manager.send("CRITICAL", title, message, source="zones")
    manager.send("CRITICAL", title, "it went back to term 4, after 6", source="zones")
    shown = [(item["message"], item["repeats"]) for item in manager.recent(10)[0]]
    assert shown == [("it went back to term 3, after 5", 1), ("it can't be read", 0), ("it is gone", 1)]


def test_two_tasks_of_one_title_are_both_named(manager: AlertManager) -> None:
    for task in ("email-20260601T100000Z-0a1b2c3d", "email-20260601T100001Z-1a1b2c3d"):
        manager.send("INFO", "A mail for you to answer by hand: (no subject)", f"Task: {task}.", source="gmail_watcher")
    assert len(manager.recent(10)[0]) == 2


def test_times_and_counts_make_no_alert_another_one(manager: AlertManager, clock: FakeClock) -> None:
    for number in range(5):
        clock.advance(60)
        manager.send("WARNING", "x fails", f"{number} in a row since {clock.now().isoformat()[:19]}Z, 1.{number} s")
    assert [item["repeats"] for item in manager.recent(10)[0]] == [4]


def test_a_storm_under_one_title_is_counted(manager: AlertManager, channel: FakeChannel, clock: FakeClock) -> None:
    """A sender can't make a thousand mails of it."""
    for number in range(1000):
        manager.send("INFO", "A mail for you", f"Task: t{number}x.", source="gmail_watcher")
        clock.advance(1)
    items = manager.recent(100)[0]
    assert len(items) == 20 and sum(item["repeats"] for item in items) == 980
    manager.send("CRITICAL", "A mail for you", "Task: loud.", source="gmail_watcher")
    assert manager.recent(1)[0][0]["level"] == "CRITICAL", "a louder one is never swallowed"


def test_a_dead_server_delays_alerts_and_is_asked_less_and_less_often(
    manager: AlertManager, channel: FakeChannel, clock: FakeClock
) -> None:
    channel.fail("mail.example:587 can't be reached", retry=True)
    manager.send("CRITICAL", "a", "b")
    for _ in range(4 * 60 * 2):  # four hours, a cycle each 30 s
        manager.deliver_due(clock.now())
        clock.advance(30)
    assert 5 <= channel.tries <= 12
    assert states(manager) == ["spooled"]
    assert manager.status() == (False, "fake: mail.example:587 can't be reached; 1 wait")
    channel.error = None
    clock.advance(3600)
    assert manager.deliver_due(clock.now()) == "fake: sent 1"
    assert manager.status() == (True, "fake; 0 wait")


def test_what_only_a_person_can_mend_is_shown_as_failed_and_still_arrives(
    manager: AlertManager, channel: FakeChannel, clock: FakeClock
) -> None:
    channel.fail("the login is refused: check ALERT_SMTP_PASS", retry=False)
    manager.send("CRITICAL", "a", "b")
    manager.deliver_due(clock.now())
    assert states(manager) == ["failed"]
    channel.error = None
    clock.advance(3601)
    manager.deliver_due(clock.now())
    assert states(manager) == ["sent"]


def test_a_defect_in_a_channel_harms_nobody(
    manager: AlertManager, channel: FakeChannel, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    channel.error = ZeroDivisionError("oops")
    manager.send("INFO", "a", "b")
    assert "wait" in manager.deliver_due(clock.now())
    assert states(manager) == ["spooled"]
    assert "defect" in caplog.text


def test_a_spool_that_cannot_be_written_does_not_mask_the_failure_being_reported(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    manager = AlertManager(Layout(tmp_path / "vault"), tmp_path / "state", clock, [])
    alert = manager.send("CRITICAL", "the disk is full", "no space left")
    assert alert.title == "the disk is full"
    assert "the disk is full: no space left" in caplog.text


def test_an_alert_whose_log_line_was_lost_gets_it_later(
    manager: AlertManager, clock: FakeClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocker = tmp_path / "vault" / "Logs"
    blocker.parent.mkdir()
    blocker.write_text("a file where the folder should be")
    with caplog.at_level(logging.ERROR):
        manager.send("WARNING", "a", "b")
    blocker.unlink()
    clock.advance(120)
    manager.deliver_due(clock.now())
    assert [line["title"] for line in log_lines(tmp_path)] == ["a"]
    manager.deliver_due(clock.now())
    assert len(log_lines(tmp_path)) == 1


def test_a_clock_that_was_set_back_does_not_silence_a_channel(
    manager: AlertManager, channel: FakeChannel, clock: FakeClock
) -> None:
    channel.fail("no", retry=True)
    manager.send("INFO", "a", "b")
    manager.deliver_due(clock.now())
    channel.error = None
    clock.advance(-30 * 86400)
    for _ in range(130):
        clock.advance(60)
        manager.deliver_due(clock.now())
    assert len(channel.mails) == 1


def test_any_text_can_be_an_alert(manager: AlertManager, clock: FakeClock, tmp_path: Path) -> None:
    manager.send("INFO", "two\nlines \ud800", "NUL \0, emoji 🐙, " + "x" * 100_000, source=None)
    item = manager.recent(1)[0][0]
    assert item["title"] == "two lines ?"
    assert item["message"].startswith("NUL \ufffd, emoji 🐙")
    assert len(item["message"]) == 20_000
    with pytest.raises(ValueError, match="LOUD"):
        manager.send("LOUD", "a", "b")


def test_pages_are_stable_while_new_alerts_come(manager: AlertManager, clock: FakeClock) -> None:
    for number in range(10):
        manager.send("INFO" if number % 2 else "WARNING", f"alert {number}", "…")
        clock.advance(1)
    first, cursor = manager.recent(4)
    manager.send("INFO", "new", "…")
    second, cursor = manager.recent(4, cursor=cursor)
    third, end = manager.recent(4, cursor=cursor)
    assert [item["title"] for item in first + second + third] == [f"alert {n}" for n in range(9, -1, -1)]
    assert end is None
    assert len(manager.recent(50, level="WARNING")[0]) == 5
    assert len(manager.recent(50, since=clock.now() - timedelta(seconds=3))[0]) == 4
    for cursor in ("x", "-1", "²", "9" * 30):
        with pytest.raises(BadCursor):
            manager.recent(4, cursor=cursor)


def test_old_alerts_go_but_never_one_that_waits(manager: AlertManager, channel: FakeChannel, clock: FakeClock) -> None:
    manager.send("INFO", "sent", "…")
    manager.deliver_due(clock.now())
    channel.fail("no", retry=True)
    manager.send("INFO", "waits", "…")
    clock.advance(91 * 86400)
    manager.deliver_due(clock.now())
    assert [item["title"] for item in manager.recent(9)[0]] == ["waits"]


WRITER = """
import sys
from pathlib import Path
from utils.adapters.clock import SystemClock
from utils.alert_manager import AlertManager
from utils.vault.layout import Layout
manager = AlertManager(Layout(Path(sys.argv[1]) / "vault"), Path(sys.argv[1]) / "state", SystemClock(), [])
for number in range(int(sys.argv[3])):
    print(manager.send("INFO", f"{sys.argv[2]} {number}", "…", source="writer").id, flush=True)
"""


def writer(tmp_path: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(tmp_path), name, str(count)]
    return subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True)


def test_several_processes_alert_at_once(manager: AlertManager, tmp_path: Path) -> None:
    writers = [writer(tmp_path, f"w{number}", 15) for number in range(4)]
    said = {line for process in writers for line in process.communicate(timeout=60)[0].split()}
    assert all(process.returncode == 0 for process in writers)
    assert len(said) == 60
    assert {item["id"] for item in manager.recent(500)[0]} == said == {line["id"] for line in log_lines(tmp_path)}


def test_what_send_returned_for_survives_kill_9(manager: AlertManager, tmp_path: Path, clock: FakeClock) -> None:
    process = writer(tmp_path, "w", 100_000)
    assert process.stdout is not None
    said = [process.stdout.readline().strip() for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    said += process.stdout.read().split()
    process.wait()
    assert set(filter(None, said)) <= {item["id"] for item in manager.recent(500)[0]}


# ---------------------------------------------------------------------------------------------------- e-mail


def smtp_channel(server: object, monkeypatch: pytest.MonkeyPatch, **more: str) -> SmtpAlertChannel:
    settings = {
        "ENV_FILE": "",
        "ALERTS_ENABLED": "true",
        "ALERT_SMTP_HOST": "localhost",
        "ALERT_SMTP_PORT": str(server.port),
        "ALERT_SMTP_SECURITY": server.security,
        "ALERT_SMTP_USER": server.user,
        "ALERT_SMTP_PASS": server.password,
        "ALERT_FROM_EMAIL": "robot@acme.example",
        "ALERT_TO_EMAIL": "owner@acme.example",
    }
    monkeypatch.setenv("SSL_CERT_FILE", str(server.ca_file))
    return SmtpAlertChannel(load(settings | more))


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_alerts_arrive_by_mail_over_tls(
    security: str, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with smtp_server(security=security) as server:
        channel = smtp_channel(server, monkeypatch)
        manager = AlertManager(Layout(tmp_path / "vault"), tmp_path / "state", clock, [channel])
        manager.send("WARNING", "Größe: 🐙", "line one\n.\nFrom here\n", source="test")
        assert manager.deliver_due(clock.now()) == "smtp: sent 1"
        manager.send("INFO", "two", "…")
        manager.send("CRITICAL", "three", "…")
        assert manager.deliver_due(clock.now()) == "smtp: sent 2"
        assert [(mail.mail_from, mail.rcpt_tos) for mail in server.ledger] == [
            ("robot@acme.example", ["owner@acme.example"])
        ] * 2
        mail = email.message_from_bytes(server.ledger[0].data, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        assert mail["Subject"] == "[AI Employee, local] WARNING: Größe: 🐙"
        assert mail["Auto-Submitted"] == "auto-generated"
        assert "line one\n.\nFrom here\n" in mail.get_content().replace("\r\n", "\n")
        digest = email.message_from_bytes(server.ledger[1].data, policy=email.policy.default)
        assert digest["Subject"] == "[AI Employee, local] 2 alerts, the worst is CRITICAL"


def test_each_trouble_of_the_mail_server_is_named_and_the_alert_waits(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with smtp_server() as server:
        channel = smtp_channel(server, monkeypatch)
        manager = AlertManager(Layout(tmp_path / "vault"), tmp_path / "state", clock, [channel])
        manager.send("CRITICAL", "a", "b")

        def trouble() -> str:
            answer = manager.deliver_due(clock.now())
            clock.advance(3601)
            assert not server.ledger
            return answer

        server.refuse["owner@acme.example"] = "550 5.1.1 no such user"
        assert "refuses ALERT_TO_EMAIL: 550" in trouble()
        assert states(manager) == ["failed"]
        server.refuse.clear()
        server.reply["DATA"] = "451 4.3.0 later"
        assert "answers 451" in trouble()
        assert states(manager) == ["spooled"]
        server.reply.clear()
        server.drop = "DATA"
        assert "can't be reached" in trouble()
        server.drop = None
        right = server.password
        server.password = "another"
        assert "check ALERT_SMTP_USER and ALERT_SMTP_PASS" in trouble()
        server.password = right
        monkeypatch.delenv("SSL_CERT_FILE")
        assert "certificate is not trusted" in trouble()
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca_file))
        manager.deliver_due(clock.now())
        eventually(lambda: server.ledger, what="the mail")
        assert states(manager) == ["sent"]
    clock.advance(3601)
    manager.send("INFO", "c", "d")
    assert "can't be reached" in manager.deliver_due(clock.now())
