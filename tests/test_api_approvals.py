"""The human's answers over HTTP: what is shown is what is approved (promise S6), and only on Local (S5)."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest

from tests.api_client import Api, add_request, add_task
from utils.core.stages import Stage
from utils.execution.journal import State


@pytest.fixture
def node(make_node, clock):
    return make_node(clock=clock)


@pytest.fixture
def api(node):
    return Api(node)


@pytest.fixture
def request_id(node, clock):
    task = add_task(node, "1", clock.now())
    node.claims.claim(node.layout.find(task)[0])
    return add_request(node, task, clock.now())


def lies_at(node, request: str) -> str:
    paths = node.layout.find(request)
    assert len(paths) == 1
    return node.layout.relative(paths[0])


def test_a_request_is_shown_byte_for_byte(node, api, request_id):
    data = node.layout.find(request_id)[0].read_bytes()
    listed = api.get("/api/approvals")["items"]
    assert [item["id"] for item in listed] == [request_id]
    shown = api.get(f"/api/approvals/{request_id}")
    assert shown["content"].encode() == data
    assert shown["sha256"] == listed[0]["sha256"] == hashlib.sha256(data).hexdigest()
    assert shown["draft"] == "It costs 10 €."
    assert shown["fields"]["to"] == ["ann@example.com"] == listed[0]["to"]
    assert shown["subject"] == "Re: A question"
    assert shown["risk"] == ["first mail to this address"] and shown["why"] == "a question was asked"
    assert shown["expires"] == "2026-06-02T12:00:00Z" and not shown["expired"]
    assert shown["needs_confirmation"] is False and shown["problems"] == [] and shown["reason"] is None
    assert "What does it cost?" in shown["source"]["text"]
    assert shown["source"]["facts"]["from_address"] == "ann@example.com"


def test_approving_what_was_shown(node, api, request_id):
    sha256 = api.get(f"/api/approvals/{request_id}")["sha256"]
    record = api.post(f"/api/approvals/{request_id}/approve", sha256=sha256)
    assert record["state"] == "approved" and record["request"] == request_id and record["sha256"] == sha256
    assert record["via"] == "api"
    assert lies_at(node, request_id) == f"Approved/{request_id}.md"
    assert api.get("/api/approvals")["items"] == []
    api.refused(404, "GET", f"/api/approvals/{request_id}")
    again = api.post(f"/api/approvals/{request_id}/approve", sha256=sha256)
    assert again["action_id"] == record["action_id"], "one approval, one record"
    assert [item["action_id"] for item in api.get("/api/actions")["items"]] == [record["action_id"]]


def test_a_file_that_changed_since_it_was_shown_is_not_approved(node, api, request_id):
    shown = api.get(f"/api/approvals/{request_id}")
    path = node.layout.find(request_id)[0]
    path.write_text(path.read_text().replace("10 €", "9999 €"))
    problem = api.refused(409, "POST", f"/api/approvals/{request_id}/approve", json={"sha256": shown["sha256"]})
    assert problem["type"].endswith("changed")
    assert problem["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert lies_at(node, request_id).startswith("Pending_Approval/")
    assert node.store.recent() == []
    for answer in ({"sha256": shown["sha256"]}, {"sha256": shown["sha256"], "draft": "Mine."}):
        api.refused(409, "PUT", f"/api/approvals/{request_id}", json=answer)
    api.refused(409, "POST", f"/api/approvals/{request_id}/reject", json={"sha256": shown["sha256"]})


@pytest.mark.parametrize("sha256", [None, "", "0" * 63, "G" * 64, "A" * 64, 5, ["0" * 64]])
def test_an_approval_names_the_bytes(api, node, request_id, sha256):
    api.refused(400, "POST", f"/api/approvals/{request_id}/approve", json={"sha256": sha256})
    api.refused(400, "POST", f"/api/approvals/{request_id}/approve")
    assert node.store.recent() == []


def test_an_edit_needs_an_approval_of_its_own(node, api, request_id):
    before = api.get(f"/api/approvals/{request_id}")["sha256"]
    answer = api.ask(
        "PUT", f"/api/approvals/{request_id}", json={"sha256": before, "draft": "It costs 12 €.\n\nBye", "cc": []}
    )
    assert answer.status_code == 200
    shown = api.get(f"/api/approvals/{request_id}")
    assert answer.get_json() == {"id": request_id, "sha256": shown["sha256"]}
    assert shown["draft"] == "It costs 12 €.\n\nBye" and shown["subject"] == "Re: A question"
    assert shown["content"].startswith("---\n") and "For the human." in shown["content"]
    api.refused(409, "POST", f"/api/approvals/{request_id}/approve", json={"sha256": before})
    api.post(f"/api/approvals/{request_id}/approve", sha256=shown["sha256"])


@pytest.mark.parametrize(
    "change",
    [
        {"to": ["x@example.com\r\nBcc: evil@example.com"]},
        {"to": []},
        {"to": "ann@example.com"},
        {"to": ["not an address"]},
        {"subject": "a\nBcc: evil@example.com"},
        {"draft": "a\0b"},
        {"draft": 5},
        {"unknown": 1},
        {"draft": "\ud800"},
    ],
)
def test_an_edit_that_makes_no_sense_changes_nothing(node, api, request_id, change):
    path = node.layout.find(request_id)[0]
    before = path.read_bytes()
    sha256 = hashlib.sha256(before).hexdigest()
    answer = api.ask("PUT", f"/api/approvals/{request_id}", json={"sha256": sha256, **change})
    assert answer.status_code == 400 and answer.mimetype == "application/problem+json"
    assert answer.get_json()["problems"]
    assert path.read_bytes() == before


def test_an_edit_can_not_mend_what_was_wrong_before(node, api, clock):
    request_id = add_request(node, add_task(node, "2", clock.now()), clock.now(), attachments=["secret.pdf"])
    sha256 = api.get(f"/api/approvals/{request_id}")["sha256"]
    body = {"sha256": sha256, "draft": "Mine."}
    problem = api.refused(409, "PUT", f"/api/approvals/{request_id}", json=body)
    assert problem["type"].endswith("invalid-request") and "attachments" in problem["detail"]


def test_an_edit_of_the_recipient_is_flagged(api, request_id):
    sha256 = api.get(f"/api/approvals/{request_id}")["sha256"]
    assert api.ask("PUT", f"/api/approvals/{request_id}", json={"sha256": sha256, "to": ["x@y.org"]}).status_code == 200
    flag = "Goes to x@y.org, who is not the sender of the mail it answers."
    assert api.get(f"/api/approvals/{request_id}")["risk"] == [flag, "first mail to this address"]
    assert api.get("/api/approvals")["items"][0]["risk"][0] == flag


@pytest.mark.parametrize("name", ["nonexist", "email-20260601T120000Z-00000000", "..", "%2e%2e", "a b"])
def test_an_id_that_is_none_is_answered_in_words(api, request_id, name):
    body = {"sha256": "0" * 64}
    for method, path in (("GET", ""), ("POST", "/approve"), ("POST", "/reject"), ("PUT", "")):
        options = {} if method == "GET" else {"json": {} if path == "/reject" else body}
        problem = api.refused(404, method, f"/api/approvals/{name}{path}", **options)
        if "." not in name and "%" not in name:
            assert problem["detail"] == f"No request {name} waits for an answer."


def test_an_id_keeps_its_small_letters_in_a_sentence(node, api, request_id):
    sha256 = api.get(f"/api/approvals/{request_id}")["sha256"]
    action_id = api.post(f"/api/approvals/{request_id}/approve", sha256=sha256)["action_id"]
    node.store.begin(node.store.get(action_id))
    path = node.layout.find(request_id)[0]
    path.write_text(path.read_text().replace("10 €", "11 €"))
    other = hashlib.sha256(path.read_bytes()).hexdigest()
    problem = api.refused(409, "POST", f"/api/approvals/{request_id}/approve", json={"sha256": other})
    assert problem["detail"].startswith(f"{request_id} was approved before")


def test_rejecting_takes_the_task_along(node, api, request_id):
    task = api.get(f"/api/approvals/{request_id}")["source_task"]
    answer = api.post(f"/api/approvals/{request_id}/reject", reason="too expensive")
    assert answer == {"id": request_id, "stage": "rejected"}
    assert lies_at(node, request_id) == f"Rejected/{request_id}.md"
    assert lies_at(node, task) == f"Rejected/{task}.md"
    assert "too expensive" in api.get(f"/api/tasks/{task}")["history"][-1]["reason"]
    api.refused(404, "POST", f"/api/approvals/{request_id}/reject", json={"reason": "again"})


def test_rejecting_without_a_body(node, api, request_id):
    assert api.ask("POST", f"/api/approvals/{request_id}/reject").status_code == 200


def test_an_expired_request_is_shown_but_not_approved(node, api, request_id, clock):
    clock.advance(25 * 3600)
    shown = api.get(f"/api/approvals/{request_id}")
    assert shown["expired"]
    problem = api.refused(409, "POST", f"/api/approvals/{request_id}/approve", json={"sha256": shown["sha256"]})
    assert problem["type"].endswith("expired")
    assert node.store.recent() == []


def test_a_broken_request_is_shown_and_not_approved(node, api, request_id):
    path = node.layout.find(request_id)[0]
    path.write_text(path.read_text().replace("action: reply_email", "action: fly_to_moon"))
    shown = api.get(f"/api/approvals/{request_id}")
    assert shown["action"] is None and shown["draft"] is None
    assert any("fly_to_moon" in problem for problem in shown["problems"])
    problem = api.refused(409, "POST", f"/api/approvals/{request_id}/approve", json={"sha256": shown["sha256"]})
    assert problem["problems"]
    assert node.store.recent() == []


def test_what_lies_in_approved_without_a_record_asks_for_a_confirmation(node, api, request_id):
    """Promise S7: a sync can't approve. The file came into Approved/ by somebody else's hand."""
    path = node.layout.find(request_id)[0]
    path.rename(node.layout.folder(Stage.APPROVED) / path.name)
    shown = api.get("/api/approvals")["items"][0]
    assert shown["needs_confirmation"] and shown["stage"] == "approved"
    record = api.post(f"/api/approvals/{request_id}/approve", sha256=shown["sha256"])
    assert record["state"] == "approved"
    assert api.get("/api/approvals")["items"] == []


def test_a_draft_only_node_takes_no_answer(make_node, clock):
    """Promise S5: answers are given on Local; an approval is passed on to it (tests/test_approvals_remote.py)."""
    node = make_node("cloud", clock=clock)
    api = Api(node)
    request = add_request(node, add_task(node, "1", clock.now()), clock.now())
    sha256 = api.get(f"/api/approvals/{request}")["sha256"]
    for method, path, body in (
        ("POST", f"/api/approvals/{request}/reject", {}),
        ("PUT", f"/api/approvals/{request}", {"sha256": sha256, "draft": "Mine."}),
    ):
        assert api.refused(403, method, path, json=body)["type"].endswith("not-here")
    assert lies_at(node, request).startswith("Pending_Approval/")
    assert node.store.recent() == []


def test_pages_of_requests_stay_the_same_while_one_is_answered(node, api, clock):
    requests = []
    for number in range(5):
        when = clock.now() + timedelta(minutes=number)
        requests.insert(0, add_request(node, add_task(node, str(number), when), when))
    first = api.get("/api/approvals", limit=2)
    assert [item["id"] for item in first["items"]] == requests[:2]
    api.post(f"/api/approvals/{requests[1]}/reject", reason="no")
    second = api.get("/api/approvals", limit=2, cursor=first["next_cursor"])
    assert [item["id"] for item in second["items"]] == requests[2:4]


def test_later_features_are_not_there(api, request_id):
    for later in ("revise", "snooze"):
        api.refused(404, "POST", f"/api/approvals/{request_id}/{later}", json={})


def unknown_action(node, api, request_id) -> str:
    """An approved action whose outcome nobody knows."""
    sha256 = api.get(f"/api/approvals/{request_id}")["sha256"]
    action_id = api.post(f"/api/approvals/{request_id}/approve", sha256=sha256)["action_id"]
    sending = node.store.begin(node.store.get(action_id))
    node.store.consume(sending, "<m@example.com>")
    node.store.finish(node.store.get(action_id), State.UNKNOWN, error="the connection was lost")
    return action_id


def test_an_unknown_outcome_is_settled_by_the_human(node, api, request_id):
    action_id = unknown_action(node, api, request_id)
    shown = api.get("/api/actions", state="unknown")["items"]
    assert [item["action_id"] for item in shown] == [action_id]
    assert shown[0]["error"] == "the connection was lost"
    api.refused(400, "POST", f"/api/actions/{action_id}/settle", json={"outcome": "perhaps"})
    api.refused(400, "POST", f"/api/actions/{action_id}/settle")
    settled = api.post(f"/api/actions/{action_id}/settle", outcome="happened", note="it is in Sent")
    assert settled["state"] == "done" and settled["receipt"]["provider"] == "human"
    assert lies_at(node, request_id) == f"Done/{request_id}.md"
    problem = api.refused(409, "POST", f"/api/actions/{action_id}/settle", json={"outcome": "ask_again"})
    assert problem["type"].endswith("already-acted")


def test_an_unknown_outcome_that_did_not_happen_is_asked_again(node, api, request_id):
    action_id = unknown_action(node, api, request_id)
    settled = api.post(f"/api/actions/{action_id}/settle", outcome="ask_again")
    assert settled["state"] == "void"
    assert lies_at(node, request_id).startswith("Pending_Approval/")


def test_pages_of_the_action_log(node, api, clock):
    actions = []
    for number in range(5):
        request = add_request(node, add_task(node, str(number), clock.now()), clock.now())
        sha256 = api.get(f"/api/approvals/{request}")["sha256"]
        actions.insert(0, api.post(f"/api/approvals/{request}/approve", sha256=sha256)["action_id"])
        clock.advance(1)
    first = api.get("/api/actions", limit=2)
    second = api.get("/api/actions", limit=2, cursor=first["next_cursor"])
    third = api.get("/api/actions", limit=2, cursor=second["next_cursor"])
    assert [item["action_id"] for page in (first, second, third) for item in page["items"]] == actions
    assert third["next_cursor"] is None
    api.refused(400, "GET", "/api/actions?cursor=nonsense")
