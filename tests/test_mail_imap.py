"""IMAP against a real Dovecot: first look, progress, IDLE, lost connections, new UIDVALIDITY, wrong passwords."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.conftest import FakeClock
from tests.mail_kit import files, make_mail, run
from tests.servers import Dovecot, dovecot, eventually, free_port
from utils.adapters.mail_in.imap import ImapMailbox
from utils.bootstrap import Services
from utils.core.stages import Stage
from utils.ports import AdapterError
from utils.settings import load


@pytest.fixture(scope="module")
def running() -> Iterator[Dovecot]:
    with dovecot() as server:
        yield server


@pytest.fixture
def server(running: Dovecot, monkeypatch: pytest.MonkeyPatch) -> Dovecot:
    running.set_password(running.password)
    running.empty()
    monkeypatch.setenv("SSL_CERT_FILE", str(running.ca_file))
    return running


@pytest.fixture
def open_mailbox(server: Dovecot, clock: FakeClock, tmp_path: Path) -> Iterator[Callable[..., ImapMailbox]]:
    opened: list[ImapMailbox] = []

    def open_one(**settings: str) -> ImapMailbox:
        environ = {"ENV_FILE": "", "STATE_DIR": str(tmp_path / "state"), **server.environment(**settings)}
        opened.append(ImapMailbox(load(environ), clock))
        return opened[-1]

    yield open_one
    for mailbox in opened:
        mailbox.close()


def deliver(server: Dovecot, clock: FakeClock, number: int, *, age: timedelta = timedelta()) -> None:
    server.deliver(make_mail(message_id=f"<{number}@example.com>"), received=clock.now() - age)


def numbers(mailbox: ImapMailbox, *, mark: bool = True) -> list[int]:
    found = []
    for mail in mailbox.fetch():
        found.append(int(mail.data.split(b"Message-ID: <")[1].split(b"@")[0]))
        if mark:
            mailbox.mark_seen(mail)
    return found


def test_the_first_look_takes_recent_mail_and_then_only_what_is_new(
    server: Dovecot, open_mailbox: Callable[..., ImapMailbox], clock: FakeClock
) -> None:
    deliver(server, clock, 1, age=timedelta(days=30))
    deliver(server, clock, 2, age=timedelta(hours=25))
    deliver(server, clock, 3, age=timedelta(hours=23))
    deliver(server, clock, 4)
    mailbox = open_mailbox()
    assert numbers(mailbox) == [3, 4]
    assert numbers(mailbox) == []
    deliver(server, clock, 5, age=timedelta(days=400))  # new is what came since, whatever its time says
    assert numbers(mailbox) == [5]
    assert numbers(open_mailbox()) == []
    assert all("Seen" not in flags for flags in server.flags()), "nothing changes on the server"


def test_what_was_not_marked_seen_comes_again_after_a_restart(
    server: Dovecot, open_mailbox: Callable[..., ImapMailbox], clock: FakeClock
) -> None:
    for number in (1, 2, 3):
        deliver(server, clock, number)
    mailbox = open_mailbox()
    fetching = mailbox.fetch()
    next(fetching)
    mailbox.mark_seen(next(fetching))  # the second is done, the first is not
    assert numbers(open_mailbox()) == [1, 3]


def test_mail_from_before_a_stop_of_weeks_is_not_missed(
    server: Dovecot, open_mailbox: Callable[..., ImapMailbox], clock: FakeClock
) -> None:
    assert numbers(open_mailbox()) == []
    clock.advance(21 * 86400)
    deliver(server, clock, 1, age=timedelta(days=20))
    assert numbers(open_mailbox()) == [1]


def test_a_new_uidvalidity_looks_again_and_ids_keep_it_to_one_task(
    server: Dovecot, make_node: Callable[..., Services], clock: FakeClock
) -> None:
    node = make_node("local", clock=clock, **server.environment())
    deliver(server, clock, 1)
    assert run(node) == "fetched 1, drafted 1"
    clock.advance(10 * 86400)
    deliver(server, clock, 2, age=timedelta(days=9))
    node.mailbox.close()
    server.reset_uidvalidity()
    assert run(node) == "fetched 1, drafted 1"
    assert run(node) == "no mail"
    assert len(files(node, Stage.IN_PROGRESS)) == 2


def test_a_damaged_progress_file_means_a_new_first_look(
    server: Dovecot, open_mailbox: Callable[..., ImapMailbox], clock: FakeClock, tmp_path: Path
) -> None:
    deliver(server, clock, 1)
    assert numbers(open_mailbox()) == [1]
    [path] = (tmp_path / "state" / "mail").glob("imap-*.json")
    assert json.loads(path.read_bytes())["open"] == []
    path.write_text("{ torn")
    assert numbers(open_mailbox()) == [1]


def test_idle_wakes_us_at_once(server: Dovecot, open_mailbox: Callable[..., ImapMailbox], clock: FakeClock) -> None:
    mailbox = open_mailbox()
    assert numbers(mailbox) == []
    woken = threading.Event()
    waiter = threading.Thread(target=lambda: (mailbox.wait(3600, lambda: False), woken.set()))
    waiter.start()
    deliver(server, clock, 1)
    eventually(woken.is_set, what="the wake-up by IDLE")
    waiter.join()
    assert numbers(mailbox) == [1]


def test_stop_ends_the_wait(open_mailbox: Callable[..., ImapMailbox]) -> None:
    mailbox = open_mailbox()
    numbers(mailbox)
    stop = threading.Event()
    waiter = threading.Thread(target=lambda: mailbox.wait(3600, stop.is_set))
    waiter.start()
    stop.set()
    waiter.join(20)
    assert not waiter.is_alive()


def test_a_server_that_goes_away_is_an_offline_mailbox_and_then_a_new_connection(
    server: Dovecot, make_node: Callable[..., Services], clock: FakeClock
) -> None:
    node = make_node("local", clock=clock, **server.environment())
    assert run(node) == "no mail"
    server.stop()
    try:
        answer = run(node)
        assert answer.startswith("mailbox offline: localhost:")
        assert "IMAP_HOST" in answer
    finally:
        server.start()
    deliver(server, clock, 1)
    assert run(node) == "fetched 1, drafted 1"


def test_a_restart_in_mid_idle_is_survived(
    server: Dovecot, open_mailbox: Callable[..., ImapMailbox], clock: FakeClock
) -> None:
    mailbox = open_mailbox()
    numbers(mailbox)
    ended, stop = threading.Event(), threading.Event()
    waiter = threading.Thread(target=lambda: (mailbox.wait(3600, stop.is_set), ended.set()))
    waiter.start()
    server.restart()
    eventually(ended.is_set, what="the end of IDLE")
    waiter.join()
    deliver(server, clock, 1)
    assert numbers(mailbox) == [1]


def test_a_refused_login_says_what_to_do_waits_and_recovers(
    server: Dovecot, open_mailbox: Callable[..., ImapMailbox], clock: FakeClock
) -> None:
    mailbox = open_mailbox()
    server.set_password("changed")
    with pytest.raises(AdapterError, match="IMAP_PASS") as caught:
        numbers(mailbox)
    assert server.password not in str(caught.value)
    server.set_password(server.password)
    with pytest.raises(AdapterError, match="IMAP_PASS"):
        numbers(mailbox)  # not asked again at once: a server may lock an account out for that
    clock.advance(61)
    assert numbers(mailbox) == []


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"IMAP_FOLDER": "No such"}, "IMAP_FOLDER"),
        ({"IMAP_PORT": str(free_port())}, "IMAP_HOST"),
        ({"IMAP_HOST": "no-such-host.invalid"}, "IMAP_HOST"),
    ],
)
def test_what_cannot_work_names_the_setting(
    open_mailbox: Callable[..., ImapMailbox], settings: dict[str, str], word: str
) -> None:
    with pytest.raises(AdapterError, match=word):
        numbers(open_mailbox(**settings))


def test_a_certificate_that_is_not_trusted_is_refused(
    open_mailbox: Callable[..., ImapMailbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(AdapterError, match="SSL_CERT_FILE"):
        numbers(open_mailbox())


def test_starttls_and_the_wrong_port_for_tls(
    server: Dovecot, open_mailbox: Callable[..., ImapMailbox], clock: FakeClock
) -> None:
    deliver(server, clock, 1)
    port = str(server.plain_port)
    assert numbers(open_mailbox(IMAP_PORT=port, IMAP_SECURITY="starttls"), mark=False) == [1]
    assert numbers(open_mailbox(IMAP_PORT=port, IMAP_SECURITY="none"), mark=False) == [1]
    with pytest.raises(AdapterError, match="IMAP_SECURITY"):
        numbers(open_mailbox(IMAP_PORT=port))


def test_a_large_mail_comes_as_its_headers(
    server: Dovecot, open_mailbox: Callable[..., ImapMailbox], clock: FakeClock
) -> None:
    server.deliver(make_mail("x" * 70 + "\n" + ("y" * 70 + "\n") * 30_000), received=clock.now())
    [mail] = open_mailbox(MAIL_MAX_MB="1").fetch()
    assert mail.truncated
    assert mail.size > 2_000_000
    assert b"Message-ID" in mail.data
    assert len(mail.data) < 2000


def test_a_mail_deleted_elsewhere_is_no_error(
    server: Dovecot, open_mailbox: Callable[..., ImapMailbox], clock: FakeClock
) -> None:
    for number in (1, 2):
        deliver(server, clock, number)
    mailbox = open_mailbox()
    assert len(list(mailbox.fetch())) == 2
    server.empty()
    assert numbers(open_mailbox()) == []
    deliver(server, clock, 3)
    assert numbers(open_mailbox()) == [3]
