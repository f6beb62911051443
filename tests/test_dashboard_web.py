"""The dashboard's server, asked as an attacker would ask it: who may, from where, for what; and no secret leaves it."""

from __future__ import annotations

import base64
import contextlib
import hmac
import http.client
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from scripts import web
from tests.dashboard_kit import HASH, PASSWORD, SECRET, Desk, allowed_paths, require_dashboard
from utils.settings import load

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

TOKEN = "a-token-that-only-servers-know"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    require_dashboard()
    with Desk(tmp_path_factory.mktemp("desk"), API_TOKEN=TOKEN, DASHBOARD_URL="https://Desk.example/") as desk:
        yield desk


def test_without_a_session_there_is_the_login_and_nothing_else(desk: Desk) -> None:
    for path in ("/", "/approvals", "/approvals/x", "/settings", "/anything"):
        answer = requests.get(desk.url + path, allow_redirects=False, timeout=30)
        assert answer.status_code == 307, path
        assert answer.headers["Location"].startswith("/login"), path
    for method, path in sorted(allowed_paths()):
        url = desk.url + re.sub(r"\{\w+\}", "x", path)
        answer = requests.request(method, url, headers={"Origin": desk.url}, timeout=30)
        assert (answer.status_code, answer.json()["title"]) == (401, "Unauthorized"), f"{method} {path}"


def test_a_session_reads_what_the_api_says_and_the_token_stays_behind(desk: Desk) -> None:
    session = desk.session()
    answer = session.get(f"{desk.url}/api/platinum/status", timeout=30)
    assert answer.json()["agent"] == "local"
    assert TOKEN not in str(answer.headers)
    page = session.get(f"{desk.url}/", timeout=30)
    assert TOKEN not in page.text
    direct = requests.get(f"http://127.0.0.1:{desk.node.environ['API_PORT']}/api/platinum/status", timeout=30)
    assert direct.status_code == 401  # the API itself asks for the token


def test_the_session_cookie_is_for_this_site_and_no_script(desk: Desk) -> None:
    form = {"password": PASSWORD}
    headers = {"Origin": desk.url}
    plain = requests.post(f"{desk.url}/session", data=form, headers=headers, allow_redirects=False, timeout=30)
    assert re.fullmatch(
        r"session=[\w.-]+; Path=/; HttpOnly; SameSite=Strict; Max-Age=604800", plain.headers["Set-Cookie"]
    )
    behind_tls = headers | {"X-Forwarded-Proto": "https"}
    secure = requests.post(f"{desk.url}/session", data=form, headers=behind_tls, allow_redirects=False, timeout=30)
    assert secure.headers["Set-Cookie"].startswith("__Host-session=")
    assert secure.headers["Set-Cookie"].endswith("; Secure")


@pytest.mark.parametrize("change", ["cut", "flipped", "foreign", "empty"])
def test_a_forged_session_is_none(desk: Desk, change: str) -> None:
    body, _, signature = desk.session().cookies["session"].partition(".")
    other = "A" if signature[0] != "A" else "B"
    forged = {
        "cut": body,
        "flipped": f"{body}.{other}{signature[1:]}",
        "foreign": f"eyJleHAiOjk5OTk5OTk5OTksImlkIjoieCJ9.{signature}",
        "empty": "",
    }[change]
    answer = requests.get(f"{desk.url}/api/approvals", cookies={"session": forged}, timeout=30)
    assert answer.status_code == 401


def session_of(expires: float, *, password_hash: str = HASH) -> str:
    """A session as the server signs it (`src/server/session.ts`), by whoever knows its secret."""
    claims = json.dumps({"exp": int(expires), "id": "x"}).encode()
    key = hmac.digest(SECRET.encode(), password_hash.encode(), "sha256")
    body = base64.urlsafe_b64encode(claims).rstrip(b"=")
    return f"{body.decode()}.{base64.urlsafe_b64encode(hmac.digest(key, body, 'sha256')).rstrip(b'=').decode()}"


def test_a_session_that_has_ended_and_one_of_another_password_are_none(desk: Desk) -> None:
    now = time.time()
    tried = {
        "still good": session_of(now + 60),
        "has ended": session_of(now - 1),
        "of another password": session_of(now + 60, password_hash=web.hashed("another one")),
    }
    answers = {
        name: requests.get(f"{desk.url}/api/stop", cookies={"session": session}, timeout=30).status_code
        for name, session in tried.items()
    }
    assert answers == {"still good": 200, "has ended": 401, "of another password": 401}


def test_logging_out_takes_the_cookie(desk: Desk) -> None:
    answer = desk.session().post(f"{desk.url}/session", data={"end": "1"}, allow_redirects=False, timeout=30)
    assert answer.headers["Location"] == "/login"
    assert answer.headers["Set-Cookie"].startswith("session=; ")
    assert "Max-Age=0" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize(
    "target", ["//evil.test", "/\\evil.test", "https://evil.test/", "/login", "javascript:alert(1)"]
)
def test_a_login_leads_to_our_own_pages_alone(desk: Desk, target: str) -> None:
    form = {"password": PASSWORD, "next": target}
    answer = requests.post(
        f"{desk.url}/session", data=form, headers={"Origin": desk.url}, allow_redirects=False, timeout=30
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


FOREIGN = [
    {"Origin": "https://evil.test"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_foreign_page_changes_nothing(desk: Desk, headers: dict[str, str]) -> None:
    session = desk.session()
    for method, path in sorted(allowed_paths()):
        if method == "GET":
            continue
        url = desk.url + re.sub(r"\{\w+\}", "x", path)
        answer = session.request(method, url, json={}, headers=headers, timeout=30)
        assert (answer.status_code, answer.json()["title"]) == (403, "Forbidden"), f"{method} {path}"
    login = requests.post(f"{desk.url}/session", data={"password": PASSWORD}, headers=headers, timeout=30)
    assert login.status_code == 403
    assert not desk.is_stopped()


def test_a_request_without_an_origin_changes_nothing(desk: Desk) -> None:
    session = desk.session()
    del session.headers["Origin"]
    assert session.post(f"{desk.url}/api/stop", json={}, timeout=30).status_code == 403


def as_it_stands(desk: Desk, target: str) -> tuple[http.client.HTTPResponse, str]:
    """What is answered to somebody who is logged in and asks for `target`, which `requests` would tidy up."""
    cookie = f"session={desk.session().cookies['session']}"
    connection = http.client.HTTPConnection("127.0.0.1", desk.web_port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", target, headers={"Cookie": cookie, "Origin": desk.url})
        answer = connection.getresponse()
        return answer, answer.read().decode()


@pytest.mark.parametrize(
    "path",
    [
        "openapi.json",
        "health",
        "../metrics",
        "..%2fmetrics",
        "tasks/..%2f..%2fmetrics",
        "tasks/%2e%2e/openapi.json",
        "tasks/a%2fb",
        "tasks/a%5cb",
        "tasks/a%00b",
        "tasks/" + "x" * 400,
        "approvals/x/approve/more",
    ],
)
def test_what_is_not_on_the_list_is_not_passed_on(desk: Desk, path: str) -> None:
    answer, text = as_it_stands(desk, f"/api/{path}")
    assert answer.status in (307, 308, 400, 404), text
    assert "openapi" not in text
    assert "ai_employee" not in text


def test_the_list_is_of_what_the_api_has(desk: Desk) -> None:
    paths = requests.get(
        f"http://127.0.0.1:{desk.node.environ['API_PORT']}/api/openapi.json",
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=30,
    ).json()["paths"]
    known = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert len(allowed_paths()) > 25
    assert allowed_paths() - known == set()


def test_a_body_that_is_too_large_is_refused(desk: Desk) -> None:
    session = desk.session()
    large = b'{"reason": "' + b"x" * (1024 * 1024) + b'"}'
    assert session.post(f"{desk.url}/api/stop", data=large, timeout=30).status_code == 413
    chunked = session.post(f"{desk.url}/api/stop", data=iter([large]), timeout=30)
    assert chunked.status_code == 413


def test_every_page_has_a_policy_with_a_nonce_of_its_own_and_no_script_without_it(desk: Desk) -> None:
    session = desk.session()
    nonces = set()
    for path in ("/", "/approvals", "/health", "/no-such-page"):
        answer = session.get(desk.url + path, timeout=30)
        policy = answer.headers["Content-Security-Policy"]
        [nonce] = re.findall(r"script-src 'self' 'nonce-([^']+)' 'strict-dynamic';", policy)
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "img-src 'self';" in policy
        scripts = re.findall(r"<script\b[^>]*>", answer.text)
        assert scripts, path
        assert [script for script in scripts if f'nonce="{nonce}"' not in script] == [], path
        assert re.findall(r"\son\w+=|\sstyle=", re.sub(r"<script.*?</script>", "", answer.text, flags=re.DOTALL)) == []
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "no-store" in answer.headers["Cache-Control"]
        nonces.add(nonce)
    assert len(nonces) == 4


NO_PAGES = (
    "icon.svg",
    "apple-icon.png",
    "manifest.webmanifest",
    "session",
    "api/stop",
    "api/nothing",
    "_next/static/x",
)


def test_what_is_no_page_may_load_nothing(desk: Desk) -> None:
    for session in (requests.Session(), desk.session()):
        for path in NO_PAGES:
            answer = session.get(f"{desk.url}/{path}", timeout=30)
            assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'", path
            assert answer.headers["X-Content-Type-Options"] == "nosniff", path


@pytest.mark.parametrize(
    "path", ["icons", "icon.svg/x", "apple-iconx", "manifest.webmanifestx", "_next/staticx", "sessions"]
)
def test_what_is_only_named_like_a_public_file_is_a_page(desk: Desk, path: str) -> None:
    stranger = requests.get(f"{desk.url}/{path}", allow_redirects=False, timeout=30)
    assert (stranger.status_code, stranger.headers["Location"][:6]) == (307, "/login")
    page = desk.session().get(f"{desk.url}/{path}", timeout=30)
    assert page.status_code == 404
    assert "'nonce-" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/approvals/%", "/approvals/%E0%A4%A", "/tasks/%ff"])
def test_an_address_that_can_not_be_read_is_a_bad_request(desk: Desk, path: str) -> None:
    answer, _ = as_it_stands(desk, path)
    assert answer.status == 400
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.test", 403),
        ("desk.example.evil.test", 403),
        ("127.0.0.1.evil.test", 403),
        ("localhost.evil.test", 403),
        ("localhost", 204),
        ("192.0.2.7", 204),
        ("[2001:db8::7]", 204),
        ("desk.example", 204),
    ],
)
def test_a_strangers_name_that_leads_here_gets_no_login(desk: Desk, host: str, status: int) -> None:
    """DNS rebinding: to the browser the page and we are of one origin."""
    name = f"{host}:{desk.web_port}"
    headers = {
        "Host": name,
        "Origin": f"http://{name}",
        "Sec-Fetch-Site": "same-origin",
        "Accept": "application/json",
        "X-Forwarded-For": "192.0.2.77",
    }
    answer = requests.post(f"{desk.url}/session", data={"password": PASSWORD}, headers=headers, timeout=60)
    assert answer.status_code == status
    page = requests.get(f"{desk.url}/login", headers={"Host": name}, timeout=60).text
    assert ("does not go by this name" in page) is (status == 403)
    assert ('action="/session"' in page) is (status == 204)


def test_events_are_passed_on_as_they_come(desk: Desk) -> None:
    with desk.session().get(f"{desk.url}/api/events", stream=True, timeout=30) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        lines = stream.iter_lines(decode_unicode=True)
        assert next(line for line in lines if line.startswith("event:")) == "event: hello"
        assert desk.session().post(f"{desk.url}/api/stop", json={"reason": "a test"}, timeout=30).ok
        assert next(line for line in lines if line.startswith("event:")) == "event: change"
        assert '"actions"' in next(line for line in lines if line.startswith("data:"))
    assert desk.session().delete(f"{desk.url}/api/stop", timeout=30).ok


def test_an_api_that_is_away_is_said_and_its_address_is_not(desk: Desk) -> None:
    session = desk.session()
    desk.node.stop()
    try:
        answer = session.get(f"{desk.url}/api/approvals", timeout=60)
    finally:
        desk.node.start()
    assert answer.status_code == 502
    assert answer.json()["type"] == "urn:ai-employee:problem:api-down"
    assert desk.node.environ["API_PORT"] not in answer.text
    assert session.get(f"{desk.url}/api/approvals", timeout=60).ok


def test_guesses_are_slowed_down_and_the_right_password_waits_too(desk: Desk) -> None:
    def guess(password: str, client: str) -> str:
        headers = {"Origin": desk.url, "X-Forwarded-For": client}
        form = {"password": password}
        answer = requests.post(f"{desk.url}/session", data=form, headers=headers, allow_redirects=False, timeout=60)
        return answer.headers["Location"]

    said = [guess(f"wrong {number}", "192.0.2.1") for number in range(6)]
    assert all("wrong=1" in where for where in said[:5])
    assert "wait=" in said[5]
    assert "wait=" in guess(PASSWORD, "192.0.2.1")
    assert guess(PASSWORD, "192.0.2.2") == "/"


def test_a_page_that_stays_where_it_is_logs_in_by_the_same_rules(desk: Desk) -> None:
    def ask(password: str, **headers: str) -> requests.Response:
        own = {"Origin": desk.url, "X-Forwarded-For": "192.0.2.9", "Accept": "application/json"}
        form = {"password": password}
        return requests.post(f"{desk.url}/session", data=form, headers=own | headers, allow_redirects=False, timeout=60)

    assert ask(PASSWORD, Origin="https://evil.test").status_code == 403
    first = ask("wrong")
    assert (first.status_code, first.json()["type"]) == (403, "urn:ai-employee:problem:wrong-password")
    assert "Set-Cookie" not in first.headers
    right = ask(PASSWORD)
    assert (right.status_code, right.headers["Set-Cookie"][:8]) == (204, "session=")
    said = [ask(f"wrong {number}").status_code for number in range(6)]
    assert said == [403] * 5 + [429]
    waits = ask(PASSWORD)
    assert (waits.status_code, "Set-Cookie" in waits.headers) == (429, False)


def test_it_leaves_when_it_is_asked_to_although_a_stream_is_open(desk: Desk) -> None:
    with desk.session().get(f"{desk.url}/api/events", stream=True, timeout=30) as stream:
        next(stream.iter_lines())
        assert desk.stop_web() == 0
    desk.start_web()


def test_a_hash_that_was_cut_short_lets_nobody_in(tmp_path: Path) -> None:
    """`A` is base64url of no byte at all, and so are the first no bytes of the key of any password."""
    require_dashboard()
    with Desk(tmp_path, DASHBOARD_PASSWORD_HASH="scrypt:16384:8:1:c2FsdA:A") as desk:
        for password in ("", "anything", PASSWORD):
            headers = {"Origin": desk.url, "Accept": "application/json"}
            answer = requests.post(f"{desk.url}/session", data={"password": password}, headers=headers, timeout=60)
            assert answer.status_code == 403


def test_without_a_password_nobody_logs_in(desk: Desk, tmp_path: Path) -> None:
    settings = load({"ENV_FILE": "", "STATE_DIR": str(tmp_path)})
    assert web.keys(settings) == web.Keys("", "")
    password = web.prepare(settings)
    assert password is not None
    assert re.fullmatch(r"(?:[a-z2-9]{4}-){3}[a-z2-9]{4}", password)
    made = web.keys(settings)
    assert password not in (tmp_path / "dashboard.json").read_text()
    assert (tmp_path / "dashboard.json").stat().st_mode & 0o077 == 0
    assert web.prepare(settings) is None  # it is made once
    assert web.new_password(settings) == 0
    assert web.keys(settings).password_hash != made.password_hash
    assert web.keys(settings).secret != made.secret
