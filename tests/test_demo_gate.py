"""The headline: one e-mail from its arrival, while Local is offline, to its answer in Done/. Real processes, real git.

Run twice: with the embedded defaults (Maildir in, outbox out), and with a real IMAP server and a real SMTP server.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from scripts.demo_gate import SAMPLE, Gate, Post
from tests.servers import dovecot, smtp_server

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
ROOT = Path(__file__).resolve().parent.parent


def assert_all_seven(gate: Gate) -> None:
    report = gate.run()
    assert report.problem is None, f"{report.problem}\n{gate.cloud.last_words()}\n{gate.local.last_words()}"
    assert [step["step"] for step in report.steps] == [1, 2, 3, 4, 5, 6, 7]
    assert report.mail is not None
    assert report.mail["To"] == "ann@example.com"
    assert report.mail["Subject"] == 'Re: Offer for "10:30" on Friday?'
    assert report.mail["In-Reply-To"] == "<offer-1@example.com>"


def test_with_the_embedded_defaults(tmp_path: Path) -> None:
    assert_all_seven(Gate(tmp_path))


def test_with_a_real_imap_server_and_a_real_smtp_server(tmp_path: Path) -> None:
    with dovecot() as imap, smtp_server() as smtp:
        post = Post(
            deliver=lambda cloud, mail: imap.deliver(mail),
            sent=lambda local: [mail.data for mail in smtp.ledger],
            cloud=imap.environment(),
            local=smtp.environment() | {"MAIL_FROM": "me@example.org"},
        )
        assert_all_seven(Gate(tmp_path, post=post))
        assert [(mail.mail_from, mail.rcpt_tos) for mail in smtp.ledger] == [("me@example.org", ["ann@example.com"])]


def test_the_command_reports_in_json_and_cleans_up(tmp_path: Path) -> None:
    mail = tmp_path / "question.eml"
    mail.write_bytes(SAMPLE.replace(b"offer-1@", b"another-2@"))
    done = subprocess.run(
        [sys.executable, "-m", "scripts.demo_gate", "--json", "--mail", str(mail)],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] is True
    assert report["mail"]["In-Reply-To"] == "<another-2@example.com>"
    assert [path.name for path in tmp_path.iterdir()] == ["question.eml"]


def test_a_mail_that_gets_no_reply_fails_the_gate_in_words(tmp_path: Path) -> None:
    list_headers = b"List-Unsubscribe: <mailto:off@example.com>\r\nList-Id: <l.example>\r\n"
    report = Gate(tmp_path, SAMPLE.replace(b"Subject:", list_headers + b"Subject:")).run()
    assert report.problem is not None
    assert "drafted no reply" in report.problem
    assert "mailing list" in report.problem
    assert len(report.steps) == 1


def test_ctrl_c_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    gate = subprocess.Popen(
        [sys.executable, "-m", "scripts.demo_gate"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert gate.stdout is not None
    for line in gate.stdout:
        if line.startswith("2/7"):
            break
    children = psutil.Process(gate.pid).children(recursive=True)
    gate.send_signal(signal.SIGINT)
    _, errors = gate.communicate(timeout=60)
    assert gate.returncode == 130, errors
    assert "Interrupted" in errors
    assert len(children) >= 2
    assert psutil.wait_procs(children, timeout=30)[1] == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_mail_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.eml").touch()
    done = subprocess.run(
        [sys.executable, "-m", "scripts.demo_gate", "--mail", str(tmp_path / "empty.eml")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "this is no mail" in done.stderr
