"""Every error is a problem object (RFC 9457) that says what is wrong and what to do, and nothing about the inside."""

from __future__ import annotations

import pytest

from tests.api_client import Api, add_task
from Watchers.api.errors import MAX_BODY
from Watchers.api.operation import operation


def test_an_unknown_address(make_node):
    api = Api(make_node(ready=False))
    assert "/api/nowhere" in api.refused(404, "GET", "/api/nowhere")["detail"]
    for near in ("/metric", "/api/event"):
        api.refused(404, "GET", near)
    for path in ("/", "/api", "/api/", "/api/tasks/", "//api/tasks"):
        api.refused(404, "GET", path)


def test_a_method_that_is_not_there(make_node):
    answer = Api(make_node(ready=False)).ask("DELETE", "/api/zones/switch")
    assert answer.status_code == 405 and answer.mimetype == "application/problem+json"
    assert "POST" in answer.headers["Allow"]
    assert "POST" in answer.get_json()["detail"]


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "email-20260601T120000Z-1a2b3c4d%0a",
        "email-20260601T120000Z-XYZ",
        "x",
        "email-20260601T120000Z-1a2b3c4d.md",
        "Email-20260601T120000Z-1a2b3c4d",
        "email-20260601T120000Z-" + "a" * 65,
        "%00",
        "email-20260601T120000Z-1a2b3c4d/../x",
    ],
)
def test_what_is_no_id_is_no_address(make_node, name):
    api = Api(make_node(ready=False))
    api.refused(404, "GET", f"/api/tasks/{name}")
    api.refused(404, "GET", f"/api/approvals/{name}")
    api.refused(404, "POST", f"/api/approvals/{name}/approve", json={"sha256": "0" * 64})
    api.refused(404, "POST", f"/api/actions/{name}/settle", json={"outcome": "happened"})


def test_an_id_that_nobody_has(make_node):
    api = Api(make_node(ready=False))
    for task in ("email-20260601T120000Z-1a2b3c4d", "email-99999999T999999Z-1a2b3c4d"):
        assert task in api.refused(404, "GET", f"/api/tasks/{task}")["detail"]
        api.refused(404, "GET", f"/api/approvals/{task}")
        api.refused(404, "POST", f"/api/approvals/{task}/approve", json={"sha256": "0" * 64})
        api.refused(404, "POST", f"/api/approvals/{task}/reject", json={})
        api.refused(404, "PUT", f"/api/approvals/{task}", json={"sha256": "0" * 64})
    api.refused(404, "POST", f"/api/actions/{'0' * 32}/settle", json={"outcome": "happened"})


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "zone=cloud",
        "[]",
        '"cloud"',
        "null",
        "{}",
        '{"zone": null}',
        '{"zone": 1}',
        '{"zone": "mars"}',
        '{"zone": ""}',
        '{"zone": "cloud", "extra": 1}',
        '{"zone": NaN}',
        "[" * 50_000,
        '{"zone": "cloud", "expected_term": "x"}',
        '{"zone": "cloud", "expected_term": true}',
        '{"zone": "cloud", "expected_term": "1"}',
        '{"zone": ["cloud"]}',
        '{"zone": "cloud", "expected_term": 1.5}',
        b"\xff\xfe",
        '{"zone": "' + "x" * 60 + '"}',
    ],
)
def test_a_body_that_is_no_order(make_node, body):
    api = Api(make_node(ready=False))
    before = api.get("/api/zones/status")["term"]
    api.refused(400, "POST", "/api/zones/switch", data=body, headers={"Content-Type": "application/json"})
    assert api.get("/api/zones/status")["term"] == before


def test_all_that_is_wrong_is_said_at_once(make_node):
    problem = Api(make_node(ready=False)).refused(
        400, "POST", "/api/zones/switch", json={"expected_term": "x", "colour": "red"}
    )
    assert [p.split(":")[0] for p in problem["problems"]] == ["colour", "zone", "expected_term"]


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/xml", "image/png"])
def test_a_body_that_says_it_is_something_else(make_node, kind):
    api = Api(make_node(ready=False))
    api.refused(415, "POST", "/api/zones/switch", data='{"zone": "cloud"}', headers={"Content-Type": kind})
    api.refused(
        415,
        "POST",
        "/api/zones/switch",
        data="x",
        headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
    )


@pytest.mark.parametrize(
    "kind", ["application/json", "application/x-www-form-urlencoded", "application/json; charset=utf-8", ""]
)
def test_curl_without_a_content_type_header_works(make_node, kind):
    """`curl -X POST …/api/zones/switch -d '{"zone":"cloud"}'` says that its body is a form."""
    answer = Api(make_node(ready=False)).ask(
        "POST", "/api/zones/switch", data='{"zone":"cloud"}', headers={"Content-Type": kind}
    )
    assert answer.status_code == 200
    assert answer.get_json()["active_zone"] == "cloud"


def test_a_body_that_is_too_large(make_node):
    api = Api(make_node(ready=False))
    fits = '{"zone": "cloud"}'.ljust(MAX_BODY)
    headers = {"Content-Type": "application/json"}
    assert api.ask("POST", "/api/zones/switch", data=fits, headers=headers).status_code == 200
    assert "1024 KiB" in api.refused(413, "POST", "/api/zones/switch", data=fits + " ", headers=headers)["detail"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=1&limit=2",
        "limit=5.0",
        "limit=" + "9" * 5000,
        "limit=٣",
        "cursor=x",
        "cursor=",
        "cursor=W10x",
        "cursor=eyJhIjoxfQ",
        "cursor=WzFd",
        "stage=nowhere",
        "domain=sport",
        "colour=red",
        "cursor=%ff",
    ],
)
def test_a_query_that_is_wrong(make_node, query):
    api = Api(make_node(ready=False))
    api.refused(400, "GET", f"/api/tasks?{query}")


def test_a_time_that_is_none(make_node):
    api = Api(make_node(ready=False))
    for since in ("yesterday", "2026-13-01", "0001-01-01T00:00:00+23:59", ""):
        api.refused(400, "GET", "/api/alerts", query_string={"since": since})
    api.refused(400, "GET", "/api/alerts?level=LOUD")
    api.refused(400, "GET", "/api/health/detailed?refresh=perhaps")


def test_what_nobody_expected_says_nothing_about_the_inside(make_node, caplog):
    api = Api(make_node(ready=False))

    @api.app.get("/api/broken")
    @operation({})
    def broken() -> None:
        """Fails."""
        raise RuntimeError("the password is hunter2")

    answer = api.ask("GET", "/api/broken")
    assert answer.status_code == 500 and answer.mimetype == "application/problem+json"
    assert answer.get_json()["title"] == "Internal Server Error"
    assert "hunter2" not in answer.get_data(as_text=True) and "RuntimeError" not in answer.get_data(as_text=True)
    assert "hunter2" in caplog.text


def test_an_endpoint_without_a_body_ignores_one(make_node, clock):
    node = make_node(ready=False, clock=clock)
    add_task(node, "1", clock.now())
    assert Api(node).ask("GET", "/api/tasks", data="not json").status_code == 200
