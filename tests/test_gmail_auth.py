"""Giving a node access to Gmail, with Google's OAuth endpoints on loopback; and what the doctor says of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from scripts import doctor, gmail_auth
from tests.conftest import FakeClock
from tests.fakes.gmail import (
    ACCOUNT,
    COMPOSE,
    METADATA,
    READONLY,
    REFRESH,
    SECRET,
    GmailServer,
    client_file,
    token_file,
)
from utils.adapters.google_token import SCOPES
from utils.bootstrap import Services
from utils.settings import PROJECT_ROOT


@pytest.fixture
def server() -> Iterator[GmailServer]:
    with GmailServer(FakeClock().now) as running:
        yield running


@pytest.fixture
def environ(server: GmailServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A Local node that sends by Gmail, with no token yet."""
    (tmp_path / "client.json").write_text(client_file(server.url))
    given = {
        "ENV_FILE": "", "AGENT_NAME": "local", "MAIL_SENDER": "gmail", "MAIL_FROM": ACCOUNT,
        "VAULT_PATH": str(tmp_path / "vault"), "STATE_DIR": str(tmp_path / "state"), "GMAIL_API_URL": server.url,
        "GMAIL_SEND_TOKEN_PATH": str(tmp_path / "keys" / "gmail.json"),
        "OAUTHLIB_INSECURE_TRANSPORT": "1",  # the endpoints of the test have no certificate
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return {**os.environ, **given}


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[str], Any]]:
    """What the human does with the address that opens: follows it, if nothing else is said."""
    does: list[Callable[[str], Any]] = [lambda url: requests.get(url, timeout=10)]

    class Browser:
        def open(self, url: str, **_: object) -> None:
            threading.Thread(target=does[-1], args=(url,)).start()

    monkeypatch.setattr("webbrowser.get", lambda using=None: Browser())
    return does


def run(tmp_path: Path, *more: str) -> int:
    return gmail_auth.main(["--for", "send", "--client", str(tmp_path / "client.json"), "--wait", "10", *more])


def test_the_human_allows_it_and_the_token_lies_there_for_us_alone(
    server: GmailServer, environ: dict[str, str], browser: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path) == 0
    path = tmp_path / "keys" / "gmail.json"
    assert path.stat().st_mode & 0o777 == 0o600
    kept = json.loads(path.read_text())
    assert kept["refresh_token"] == REFRESH and kept["token_uri"] == f"{server.url}/token" and "token" not in kept
    output = capsys.readouterr().out
    assert f"Gmail sends as {ACCOUNT}" in output and REFRESH not in output and SECRET not in output
    (asked,) = [call for call in server.calls if call.path == "/o/oauth2/auth"]
    assert set(asked.query["scope"].split()) == {COMPOSE, METADATA} == set(SCOPES["send"]), "and nothing more"


def test_without_a_browser_the_address_is_printed(server: GmailServer, environ: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-m", "scripts.gmail_auth", "--for", "send", "--no-browser", "--client"]
    running = subprocess.Popen(
        [*command, str(tmp_path / "client.json")], env=environ, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    address = next(found[0] for line in running.stdout if (found := re.search(r"http://\S+/o/oauth2/auth\S+", line)))
    page = requests.get(address, timeout=10)
    assert "has access now" in page.text
    rest = running.stdout.read()
    assert running.wait(30) == 0 and f"Gmail sends as {ACCOUNT}" in rest
    assert json.loads((tmp_path / "keys" / "gmail.json").read_text())["refresh_token"] == REFRESH


def test_a_renewal_replaces_the_old_token(
    server: GmailServer, environ: dict[str, str], browser: list[Any], tmp_path: Path
) -> None:
    path = tmp_path / "keys" / "gmail.json"
    path.parent.mkdir()
    path.write_text(token_file(server.url, refresh_token="1//old"))
    path.chmod(0o644)
    assert run(tmp_path) == 0
    assert json.loads(path.read_text())["refresh_token"] == REFRESH and path.stat().st_mode & 0o777 == 0o600


def forged(url: str) -> None:
    """Somebody else's code, sent to where we listen."""
    target = re.search(r"redirect_uri=(http%3A%2F%2F127\.0\.0\.1%3A\d+)", url)
    assert target
    requests.get(f"{requests.utils.unquote(target[1])}/?code=4/theirs&state=theirs", timeout=10)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("denied", "gave no access (access_denied)"),
        ("in part", "not everything was allowed"),
        ("forged", "gave no access (mismatching_state)"),
        ("nobody", "nobody answered within 1 s"),
        ("client changed", "gave no access (invalid_client)"),
        ("no client", "No such file"),
        ("other client", "is no OAuth client of a desktop app"),
        ("draft-only", "run it on the Local node"),
    ],
)
def test_where_no_access_is_given_nothing_is_written(
    server: GmailServer, environ: dict[str, str], browser: list[Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str, words: str,
) -> None:  # fmt: skip
    client, more = tmp_path / "client.json", []
    if case == "denied":
        server.granted = {READONLY}
    elif case == "in part":
        server.granted = {COMPOSE}
    elif case == "forged":
        browser.append(forged)
    elif case == "nobody":
        browser.append(lambda url: None)
        more = ["--wait", "1"]
    elif case == "client changed":
        client.write_text(client.read_text().replace(SECRET, "another"))
    elif case == "no client":
        client.unlink()
    elif case == "other client":
        client.write_text('{"type": "service_account"}')
    else:
        monkeypatch.setenv("AGENT_MODE", "draft_only")
    assert run(tmp_path, *more) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "keys" / "gmail.json").exists()


def test_bad_settings_are_said(environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_FROM", "nobody")
    assert run(tmp_path) == 2


def test_a_sender_that_gmail_may_replace_is_told() -> None:
    settings = Services.from_environment({"ENV_FILE": "", "MAIL_FROM": "office@acme.example"}).settings
    said = gmail_auth.said(settings, ACCOUNT)
    assert ACCOUNT in said and "'office@acme.example'" in said and "Send mail as" in said
    assert gmail_auth.said(settings, "Office@acme.example") == "Gmail sends as Office@acme.example"


@pytest.mark.parametrize(
    ("granted", "known", "verdict", "words"),
    [
        ({COMPOSE, METADATA}, True, doctor.OK, f"Gmail sends as {ACCOUNT}"),
        ({COMPOSE}, True, doctor.BROKEN, "insufficient authentication scopes"),
        ({METADATA}, True, doctor.BROKEN, "insufficient authentication scopes"),
        ({COMPOSE, METADATA}, False, doctor.BROKEN, "invalid_grant"),
    ],
)
def test_the_doctor_tries_the_access(
    server: GmailServer, environ: dict[str, str], tmp_path: Path,
    granted: set[str], known: bool, verdict: str, words: str,
) -> None:  # fmt: skip
    path = tmp_path / "keys" / "gmail.json"
    path.parent.mkdir()
    path.touch(mode=0o600)
    path.write_text(token_file(server.url))
    server.granted = granted
    if not known:
        server.refresh_tokens.clear()
    told: list[str] = []
    finding = doctor._mail_out(Services.from_environment(environ), told.append)
    assert (finding.verdict, finding.subject) == (verdict, "mail out") and words in finding.detail
    assert "Gmail" in told[0] and not any(call.path.endswith("/send") for call in server.calls)
