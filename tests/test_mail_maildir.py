"""The Maildir as mailbox: what counts as unseen, what waits, and what a person may do in between."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from tests.mail_kit import make_mail
from tests.servers import eventually
from utils.adapters.mail_in.maildir import MaildirMailbox
from utils.ports import AdapterError


@pytest.fixture
def mailbox(tmp_path: Path) -> MaildirMailbox:
    made = MaildirMailbox(tmp_path / "in", max_bytes=10_000)
    assert list(made.fetch()) == []  # makes the folders
    return made


def put(tmp_path: Path, name: str, data: bytes, when: int = 1_780_000_000) -> Path:
    path = tmp_path / "in" / name
    path.write_bytes(data)
    os.utime(path, (when, when))
    return path


def test_new_mail_is_read_oldest_first_and_moves_to_cur_when_seen(mailbox: MaildirMailbox, tmp_path: Path) -> None:
    put(tmp_path, "new/1780000300.M1.host", b"c", 1_780_000_003)
    put(tmp_path, "new/1780000200.M1.host", b"b", 1_780_000_002)
    put(tmp_path, "dropped.eml", b"a", 1_780_000_001)
    mails = list(mailbox.fetch())
    assert [mail.data for mail in mails] == [b"a", b"b", b"c"]
    assert mails[1].received is not None
    assert mails[1].received.timestamp() == 1_780_000_200  # the delivery's own time, by the Maildir's convention
    for mail in mails:
        mailbox.mark_seen(mail)
        mailbox.mark_seen(mail)
    assert list(mailbox.fetch()) == []
    names = sorted(path.name for path in (tmp_path / "in" / "cur").iterdir())
    assert names == ["1780000200.M1.host:2,S", "1780000300.M1.host:2,S", "dropped.eml:2,S"]


def test_flags_of_other_mail_programs_are_kept(mailbox: MaildirMailbox, tmp_path: Path) -> None:
    put(tmp_path, "cur/1.a:2,F", b"flagged")
    put(tmp_path, "cur/2.b:2,S", b"seen")
    [mail] = mailbox.fetch()
    assert mail.data == b"flagged"
    mailbox.mark_seen(mail)
    assert (tmp_path / "in" / "cur" / "1.a:2,FS").exists()


def test_the_same_name_dropped_again_replaces_nothing(mailbox: MaildirMailbox, tmp_path: Path) -> None:
    for text in (b"one", b"two"):
        put(tmp_path, "mail.eml", text)
        [mail] = mailbox.fetch()
        mailbox.mark_seen(mail)
    cur = tmp_path / "in" / "cur"
    assert {path.read_bytes() for path in cur.iterdir()} == {b"one", b"two"}


def test_what_is_no_mail_is_left_alone(mailbox: MaildirMailbox, tmp_path: Path) -> None:
    put(tmp_path, "notes.txt", b"x")
    put(tmp_path, ".hidden.eml", b"x")
    put(tmp_path, "new/.nfs0001", b"x")
    put(tmp_path, "tmp/half", b"x")
    put(tmp_path, "empty.eml", b"")
    (tmp_path / "in" / "folder.eml").mkdir()
    (tmp_path / "in" / "link.eml").symlink_to("/etc/hostname")
    assert list(mailbox.fetch()) == []


def test_a_file_that_somebody_still_writes_waits(mailbox: MaildirMailbox, tmp_path: Path) -> None:
    # Its last write may lie long ago (a stalled copy): who has it open for writing decides, not the clock.
    path = tmp_path / "in" / "slow.eml"
    with path.open("wb") as file:
        file.write(b"From: a@b.c\r\n")
        file.flush()
        os.utime(path, (1_780_000_000, 1_780_000_000))
        assert list(mailbox.fetch()) == []
        begun = time.monotonic()
        mailbox.wait(60, lambda: False)
        assert time.monotonic() - begun < 30, "an unfinished mail is looked at again soon"
        file.write(b"\r\nhello")
    [mail] = mailbox.fetch()
    assert mail.data.endswith(b"hello")


def test_a_large_mail_comes_as_its_headers(mailbox: MaildirMailbox, tmp_path: Path) -> None:
    path = put(tmp_path, "big.eml", make_mail())
    with path.open("ab") as file:
        file.truncate(100 * 1024 * 1024)  # sparse: reading it whole would show in the data
    [mail] = mailbox.fetch()
    assert mail.truncated
    assert mail.size == 100 * 1024 * 1024
    assert mail.data.endswith(b"\r\n\r\n")
    assert len(mail.data) < 1000


def test_waiting_ends_with_new_mail_and_with_stop(mailbox: MaildirMailbox, tmp_path: Path) -> None:
    list(mailbox.fetch())
    woken = threading.Event()
    waiter = threading.Thread(target=lambda: (mailbox.wait(600, lambda: False), woken.set()))
    waiter.start()
    put(tmp_path, "mail.eml", b"x")
    eventually(woken.is_set, what="the wake-up by a dropped mail")
    waiter.join()
    list(mailbox.fetch())
    stop = threading.Event()
    waiter = threading.Thread(target=lambda: mailbox.wait(600, stop.is_set))
    waiter.start()
    stop.set()
    waiter.join(30)
    assert not waiter.is_alive()


def test_mail_that_comes_while_we_work_wakes_the_next_wait(mailbox: MaildirMailbox, tmp_path: Path) -> None:
    put(tmp_path, "1.eml", b"x")
    for mail in mailbox.fetch():
        put(tmp_path, "2.eml", b"y")
        mailbox.mark_seen(mail)
    waiter = threading.Thread(target=lambda: mailbox.wait(600, lambda: False))
    waiter.start()
    waiter.join(30)
    assert not waiter.is_alive()


def test_a_maildir_that_cannot_be_used_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(AdapterError, match="MAILDIR_PATH"):
        list(MaildirMailbox(tmp_path / "file", max_bytes=1).fetch())


def test_a_mail_taken_away_meanwhile_is_no_error(mailbox: MaildirMailbox, tmp_path: Path) -> None:
    first = put(tmp_path, "new/1.a", b"x", 1_780_000_001)
    second = put(tmp_path, "new/2.b", b"y", 1_780_000_002)
    fetching = mailbox.fetch()
    mail = next(fetching)
    first.unlink()
    second.unlink()
    assert list(fetching) == []
    mailbox.mark_seen(mail)


def test_what_will_never_be_read_is_named_once_it_lay_still_for_a_minute(
    mailbox: MaildirMailbox, tmp_path: Path
) -> None:
    put(tmp_path, "empty.eml", b"")
    put(tmp_path, "list.txt", b"milk")
    put(tmp_path, "new/1780000200.M1.host", b"")
    for name in ("dovecot-uidlist", "maildirfolder", ".hidden", "offer.EML", "cur/x:2,S"):
        put(tmp_path, name, b"x")
    (tmp_path / "in" / "old mails").mkdir()
    (tmp_path / "in" / "Archive" / "cur").mkdir(parents=True)  # a folder of a mail server's
    (tmp_path / "in" / "link.eml").symlink_to("/etc/hosts")
    (tmp_path / "in" / "fresh.txt").write_bytes(b"still being copied")
    for name in ("old mails", "Archive", "link.eml"):
        os.utime(tmp_path / "in" / name, (1_780_000_000, 1_780_000_000), follow_symlinks=False)
    assert mailbox.not_taken() == {
        "empty.eml": "is empty: drop the mail again",
        "list.txt": "is no mail: drop .eml files",
        "link.eml": "is no plain file: drop a copy of the mail",
        "old mails": "is a folder: drop the .eml files themselves",
        "new/1780000200.M1.host": "is empty: drop the mail again",
    }
    assert [mail.key for mail in mailbox.fetch()] == ["offer.EML"]
    assert (tmp_path / "in" / "empty.eml").exists()
    assert MaildirMailbox(tmp_path / "nowhere", max_bytes=1).not_taken() == {}
