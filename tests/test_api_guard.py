"""Strangers stay out (promise S14): tokens, host names, foreign pages, and what every answer carries."""

from __future__ import annotations

import logging
import re

import pytest

from tests.api_client import Api

TOKEN = "a-token-of-enough-characters"
ANY_ID = "email-20260601T120000Z-1a2b3c4d"
LIVENESS = "/api/health"


def routes(api: Api) -> list[tuple[str, str]]:
    """Every method and address of the application, HEAD and OPTIONS too."""
    found = []
    for rule in api.app.url_map.iter_rules():
        path = re.sub(r"<action_id:\w+>", "0" * 32, re.sub(r"<task_id:\w+>", ANY_ID, rule.rule))
        found += [(method, path) for method in sorted(rule.methods or ())]
    return found


def test_every_route_but_liveness_needs_the_token(make_node):
    api = Api(make_node(ready=False, API_TOKEN=TOKEN))
    asked = routes(api)
    assert len({path for _, path in asked}) >= 17
    for method, path in asked:
        status = api.ask(method, path).status_code
        if path == LIVENESS:
            assert status == 200, (method, path)
        else:
            assert status == 401, (method, path)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer ünicode",
        "Bearer \x00",
    ],
)
def test_a_wrong_token_is_refused(make_node, header):
    api = Api(make_node(ready=False, API_TOKEN=TOKEN))
    answer = api.ask("GET", "/api/tasks", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert TOKEN not in answer.get_data(as_text=True)


def test_the_right_token_opens_from_any_host(make_node):
    api = Api(make_node(ready=False, API_TOKEN=TOKEN), Authorization=f"Bearer {TOKEN}", Host="ai.example.com")
    assert api.get("/api/tasks") == {"items": [], "next_cursor": None}
    assert api.ask("GET", "/api/tasks", headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200


def test_what_does_not_exist_is_not_told_to_strangers(make_node):
    api = Api(make_node(ready=False, API_TOKEN=TOKEN))
    api.refused(401, "GET", "/api/no-such-thing")
    api.refused(401, "DELETE", "/api/tasks")
    api.refused(401, "GET", "/api/health/")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:9000",
        "localhost",
        "localhost:9001",
        "127.0.0.1",
        "127.0.0.1.evil.example:9000",
        "localhost.:9000",
        "",
        "[::1]",
        "evil.example@localhost:9000",
        "localhost:9000, evil.example",
    ],
)
def test_without_a_token_a_foreign_host_name_is_refused(make_node, host):
    """DNS rebinding: the attacker's name resolves to this machine, the browser sends it as Host."""
    api = Api(make_node(ready=False))
    for method, path in routes(api):
        assert api.ask(method, path, headers={"Host": host}).status_code == 403, (method, path)


@pytest.mark.parametrize("host", ["localhost:9000", "LOCALHOST:9000", "127.0.0.1:9000", "[::1]:9000"])
def test_without_a_token_this_machine_may_ask(make_node, host):
    assert Api(make_node(ready=False), Host=host).get("/api/tasks")["items"] == []


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example:9000",
        "file://",
        "http://evil.example:9000",
        "",
        "http://[::1",
        "chrome-extension://localhost",
        "http://localhost:31337",  # another server on this machine, or what a page was tricked into
        "https://localhost:9000",
        "http://localhost",
        "http://user@localhost:9000",
    ],
)
def test_a_foreign_page_may_not_write(make_node, origin):
    """CSRF: a page in the user's browser posts to us, with a content type that needs no permission."""
    api = Api(make_node(ready=False))
    before = api.get("/api/zones/status")["term"]
    headers = {"Origin": origin, "Content-Type": "text/plain"}
    problem = api.refused(403, "POST", "/api/zones/switch", headers=headers, data='{"zone": "local"}')
    assert problem["type"].endswith("foreign-origin")
    assert api.get("/api/zones/status")["term"] == before


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:3000", "http://[::1]:3000"])
def test_the_dashboard_of_this_machine_may(make_node, origin):
    assert Api(make_node(ready=False), Origin=origin).post("/api/zones/switch", zone="local")["active_zone"] == "local"


@pytest.mark.parametrize("origin", ["http://localhost:9000", "http://127.0.0.1:9000"])
def test_our_own_pages_may(make_node, origin):
    assert Api(make_node(ready=False), Origin=origin).post("/api/zones/switch", zone="local")["active_zone"] == "local"


def test_a_dashboard_elsewhere_is_the_only_one(make_node):
    api = Api(make_node(ready=False, DASHBOARD_URL="https://Dash.example:8443/start"))
    assert api.ask("GET", "/api/tasks", headers={"Origin": "https://dash.example:8443"}).status_code == 200
    for origin in ("http://localhost:3000", "https://dash.example", "http://dash.example:8443"):
        api.refused(403, "GET", "/api/tasks", headers={"Origin": origin})


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site", "", "anything"])
def test_what_the_browser_calls_foreign_may_not_write_even_without_an_origin(make_node, site):
    """An old-fashioned form: text/plain, a navigation, no Origin; the browser still says where it came from."""
    api = Api(make_node(ready=False))
    before = api.get("/api/zones/status")["term"]
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Content-Type": "text/plain"}
    problem = api.refused(403, "POST", "/api/zones/switch", headers=headers, data='{"zone": "local"}')
    assert problem["type"].endswith("foreign-origin")
    assert api.get("/api/zones/status")["term"] == before


def test_a_foreign_site_may_not_read_either(make_node):
    api = Api(make_node(ready=False))
    api.refused(403, "GET", "/api/tasks", headers={"Sec-Fetch-Site": "cross-site"})
    for site in ("same-origin", "none", "same-site"):
        assert api.ask("GET", "/api/tasks", headers={"Sec-Fetch-Site": site}).status_code == 200


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_what_the_user_does_here_may_write(make_node, site):
    api = Api(make_node(ready=False), **{"Sec-Fetch-Site": site})
    assert api.post("/api/zones/switch", zone="local")["active_zone"] == "local"


def test_every_answer_keeps_the_browser_on_a_short_lead(make_node):
    api = Api(make_node(ready=False))
    for path in ("/api/health", "/api/tasks", "/api/nowhere", "/api/openapi.json"):
        answer = api.ask("GET", path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.mimetype.endswith("json")


@pytest.mark.parametrize("breaks", ["%0a", "%0d", "%0d%0a", "%E2%80%A8", "%C2%85", "%1b[2K"])
def test_an_address_writes_no_line_of_its_own_into_the_log(make_node, caplog, breaks):
    api = Api(make_node(ready=False))
    with caplog.at_level(logging.INFO):
        api.ask(
            "POST", f"/api/approvals/x{breaks}2026-06-01 CRITICAL forged{breaks}/approve", json={"sha256": "0" * 64}
        )
    lines = [line for record in caplog.records for line in record.getMessage().splitlines()]
    assert any("forged" in line for line in lines)
    assert not any(line.startswith("2026-06-01 CRITICAL") or not line.isprintable() for line in lines)
