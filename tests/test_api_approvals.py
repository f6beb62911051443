"""The human's answers over HTTP: what is shown is what is approved (promise S6), and only on Local (S5)."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest

from tests.api_client import Api, add_request, add_task
from utils.core.badges import Letter
from utils.core.stages import Stage
from utils.core.task import format_time, make_id, quote_block
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


@pytest.mark.parametrize("text", ["a\ud800b", "\udc00", "a\0b"])
@pytest.mark.parametrize(("way", "name"), [("reject", "reason"), ("revise", "instruction")])
def test_words_that_no_file_can_hold_are_refused_before_anything_happens(node, api, request_id, way, name, text):
    before = lies_at(node, request_id)
    problem = api.refused(400, "POST", f"/api/approvals/{request_id}/{way}", json={name: text})
    assert problem["problems"][0].startswith(f"{name}: it holds a ")
    assert lies_at(node, request_id) == before
    assert api.get("/api/answers")["items"] == [] and node.store.answers.superseded(request_id) is None


def test_a_settling_note_that_no_file_can_hold_is_refused(api):
    body = {"outcome": "happened", "note": "\ud800"}
    problem = api.refused(400, "POST", "/api/actions/" + "0" * 32 + "/settle", json=body)
    assert problem["problems"] == ["note: it holds a lone surrogate, which is no character"]


@pytest.mark.parametrize("depth", [200, 2_000])
def test_an_object_that_is_nested_deeply_is_answered(api, request_id, depth):
    nested = '{"a":' * depth + "1" + "}" * depth
    body = f'{{"sha256": "{"0" * 64}", "approval": {nested}}}'
    assert api.ask("POST", f"/api/approvals/{request_id}/approve", data=body).status_code in (400, 409)


@pytest.mark.parametrize(
    ("fields", "to"),
    [
        ({"action": "whatsapp_send", "to": "+43123456789"}, ["+43123456789"]),
        ({"action": "whatsapp_send", "to": ["+43123456789"]}, ["+43123456789"]),
        ({"action": "whatsapp_send", "to": 5}, ["5"]),
        ({"action": "whatsapp_send", "to": {"a": 1}}, ["{'a': 1}"]),
        ({"action": "payment", "payee": "Ann", "amount": "1", "currency": "EUR", "reference": "x"}, ["Ann"]),
        ({"action": "invoice", "partner": "Bob", "lines": [1], "currency": "EUR", "due_date": "x"}, ["Bob"]),
        ({"action": "linkedin_post"}, []),
        ({"cc": ["bob@example.com"]}, ["ann@example.com"]),
    ],
)
def test_the_list_says_whom_an_action_reaches_and_shows_the_others_too(node, api, request_id, clock, fields, to):
    if fields.get("action") and "to" not in fields:
        fields = {"to": None, **fields}
    other = add_request(node, add_task(node, "2", clock.now()), clock.now(), **fields)
    listed = {item["id"]: item["to"] for item in api.get("/api/approvals")["items"]}
    assert listed == {request_id: ["ann@example.com"], other: to}
    assert api.get(f"/api/approvals/{other}")["to"] == to


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


def test_the_difference_of_an_edit_is_kept_for_whoever_learns_from_it(node, api, request_id):
    shown = api.get(f"/api/approvals/{request_id}")
    edited = api.ask("PUT", f"/api/approvals/{request_id}", json={
        "sha256": shown["sha256"], "draft": "It costs 12 €.", "subject": "Re: Your question",
    }).get_json()  # fmt: skip
    record = api.post(f"/api/approvals/{request_id}/approve", sha256=edited["sha256"])
    (answer,) = api.get("/api/answers", answer="approved")["items"]
    assert answer["request"] == request_id and answer["action_id"] == record["action_id"]
    assert answer["drafted_by"] == "builtin" and answer["by"] == "human (API)"
    change = answer["change"]
    assert change["draft"] == {"before": "It costs 10 €.", "after": "It costs 12 €."}
    assert change["fields"] == {"subject": {"before": "Re: A question", "after": "Re: Your question"}}
    assert "-It costs 10 €." in change["diff"] and "+It costs 12 €." in change["diff"]
    assert [item["answer"] for item in api.get("/api/answers", request=request_id)["items"]] == ["approved", "edited"]


def test_a_new_draft_supersedes_the_old_one(node, api, request_id):
    shown = api.get(f"/api/approvals/{request_id}")
    asked = api.post(f"/api/approvals/{request_id}/revise", instruction="offer ten percent", sha256=shown["sha256"])
    assert asked["state"] == "superseded" and asked["draft"] == 2 and asked["task"] == shown["source_task"]
    assert api.post(f"/api/approvals/{request_id}/revise", instruction="offer ten percent") == asked
    assert lies_at(node, request_id) == f"Rejected/{request_id}.md"
    assert lies_at(node, shown["source_task"]) == f"Needs_Action/email/{shown['source_task']}.md"
    assert api.get("/api/approvals")["items"] == []
    (listed,) = api.get("/api/approvals", show="superseded")["items"]
    assert listed == {k: v for k, v in api.get(f"/api/approvals/{request_id}").items() if k in listed}
    assert listed["superseded_by"] == asked["next"] and listed["instruction"] == "offer ten percent"
    for answer in ("approve", "reject", "snooze", "revise"):
        body = {
            "approve": {"sha256": shown["sha256"]}, "snooze": {"until": "2026-06-01T13:00:00Z"},
            "revise": {"instruction": "another"},
        }.get(answer, {})  # fmt: skip
        problem = api.refused(409, "POST", f"/api/approvals/{request_id}/{answer}", json=body)
        assert problem["type"].endswith("superseded") and problem["next"] == asked["next"]
    api.refused(409, "PUT", f"/api/approvals/{request_id}", json={"sha256": shown["sha256"], "draft": "Mine."})


def test_what_can_not_be_asked_for_is_said(api, request_id):
    for body in ({}, {"instruction": "  "}, {"instruction": "x" * 2001}, {"instruction": 7}):
        api.refused(400, "POST", f"/api/approvals/{request_id}/revise", json=body)
    for body in (
        {},
        {"until": "soon"},
        {"until": "2026-06-01T13:00:00"},
        {"until": "2026-06-01T11:00:00Z"},
        {"until": "2026-06-01T12:00:00Z"},
    ):
        api.refused(400, "POST", f"/api/approvals/{request_id}/snooze", json=body)
    stale = {"sha256": "0" * 64}
    api.refused(409, "POST", f"/api/approvals/{request_id}/revise", json={"instruction": "shorter", **stale})
    api.refused(409, "POST", f"/api/approvals/{request_id}/snooze", json={"until": "2026-06-01T13:00:00Z", **stale})
    api.refused(400, "GET", "/api/approvals?show=everything")
    api.refused(400, "GET", "/api/answers?cursor=WyJ4Il0")


def test_a_snoozed_request_is_hidden_and_comes_back_by_itself(api, clock, request_id):
    answer = api.post(f"/api/approvals/{request_id}/snooze", until="2026-06-01T13:00:00Z")
    assert answer["snoozed_until"] == "2026-06-01T13:00:00Z" and answer["warning"] is None
    assert answer["expires"] == "2026-06-02T12:00:00Z" and answer["expires_in_seconds"] == 24 * 3600
    assert api.get("/api/approvals")["items"] == []
    (hidden,) = api.get("/api/approvals", show="snoozed")["items"]
    assert hidden["state"] == "snoozed" and hidden["snoozed_until"] == "2026-06-01T13:00:00Z"
    clock.advance(3600)
    (back,) = api.get("/api/approvals")["items"]
    assert back["state"] == "waiting" and back["expires_in_seconds"] == 23 * 3600
    late = api.post(f"/api/approvals/{request_id}/snooze", until="2026-06-03T13:00:00Z")
    assert "expires before" in late["warning"]


def test_the_time_left_is_shown_and_an_expired_request_can_be_asked_again(api, clock, request_id):
    path = f"/api/approvals/{request_id}"
    clock.advance(17 * 3600)
    shown = api.get(path)
    assert shown["expires_in_seconds"] == 7 * 3600 and shown["warning"] is None
    clock.advance(3600)
    assert "expires in 6 h" in api.get(path)["warning"]
    clock.advance(6 * 3600)
    gone = api.get(path)
    assert gone["expired"] and gone["expires_in_seconds"] == 0 and gone["warning"] is None
    problem = api.refused(409, "POST", f"{path}/approve", json={"sha256": gone["sha256"]})
    assert problem["type"].endswith("expired") and "renew" in problem["detail"]
    renewed = api.ask("PUT", path, json={"sha256": gone["sha256"], "renew": True}).get_json()
    again = api.get(path)
    assert not again["expired"] and again["expires_in_seconds"] == 24 * 3600 and again["sha256"] == renewed["sha256"]
    assert api.post(f"{path}/approve", sha256=renewed["sha256"])["state"] == "approved"


def test_answers_come_in_pages(api, node, clock):
    requests = [add_request(node, add_task(node, str(n), clock.now()), clock.now()) for n in range(3)]
    for request in requests:
        api.post(f"/api/approvals/{request}/reject", reason=f"no {request}")
    first = api.get("/api/answers", limit=2)
    second = api.get("/api/answers", limit=2, cursor=first["next_cursor"])
    assert [item["request"] for item in (*first["items"], *second["items"])] == requests[::-1]
    assert second["items"][0]["said"] == f"no {requests[0]}" and second["next_cursor"] is None


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


def test_all_that_a_person_needs_stands_on_one_page(node, api, clock):
    """The mail it answers as plain text, whom it goes to and who of them is known, and what was edited since."""
    meta = {
        "id": make_id("email", clock.now(), "mail"),
        "type": "email_processing",
        "domain": "email",
        "created": format_time(clock.now()),
        "created_by": "cloud",
        "priority": "normal",
        "source": {
            "from": "Ann \u202eelpmaxe <ann@example.com>",
            "from_address": "ann@example.com",
            "to": ["me@example.org"],
            "subject": "A <b>question</b>",
            "received": "2026-05-31T08:00:00Z",
            "sender_authenticated": True,
            "attachments": [{"name": "plan.pdf", "type": "application/pdf", "size": 12}],
        },
    }
    words = "Pay \u200bhere: <script>alert(1)</script>\n## Draft\n---\nend"
    body = f"# Mail: A question\n\n## Mail\n\n{quote_block(words)}\n"
    task = meta["id"]
    node.claims.create(Stage.NEEDS_ACTION, meta, body)
    node.store.facts.read(task, Letter("ann@example.com", "", True))
    request = add_request(
        node, task, clock.now(), to=["Ann <Ann@example.com>"], bcc=["old@example.net", "new@example.net"]
    )
    node.approvals.observe()
    shown = api.get(f"/api/approvals/{request}")
    assert shown["change"] is None, "nobody edited it"
    mail = shown["source"]["mail"]
    assert mail["sender"] == "Ann ⟦U+202E⟧elpmaxe <ann@example.com>"
    assert mail["text"] == "Pay ⟦U+200B⟧here: <script>alert(1)</script>\n## Draft\n---\nend"
    assert (mail["subject"], mail["received"], mail["authenticated"]) == (
        "A <b>question</b>", "2026-05-31T08:00:00Z", True
    )  # fmt: skip
    assert mail["attachments"] == [{"name": "plan.pdf", "type": "application/pdf", "size": 12}]
    with node.store._transaction() as db:
        db.execute("INSERT INTO recipients VALUES ('old@example.net', ?)", (format_time(clock.now()),))
    assert api.get(f"/api/approvals/{request}")["recipients"] == [
        {"field": "to", "shown": "Ann <Ann@example.com>", "known": False, "wrote": True},
        {"field": "bcc", "shown": "old@example.net", "known": True, "wrote": False},
        {"field": "bcc", "shown": "new@example.net", "known": False, "wrote": False},
    ]
    body = {"sha256": shown["sha256"], "draft": "It costs 12 €.", "bcc": []}
    assert api.ask("PUT", f"/api/approvals/{request}", json=body).status_code == 200
    change = api.get(f"/api/approvals/{request}")["change"]
    assert change["draft"] == {"before": "It costs 10 €.", "after": "It costs 12 €."}
    assert change["fields"]["bcc"] == {"before": ["old@example.net", "new@example.net"], "after": []}
    assert "-It costs 10 €." in change["diff"] and "+It costs 12 €." in change["diff"]
    path = node.layout.find(request)[0]
    path.write_text(path.read_text().replace("12 €", "13 €"))
    assert api.get(f"/api/approvals/{request}")["change"]["draft"]["after"] == "It costs 13 €.", "an editor's too"


def test_a_page_of_a_request_that_answers_no_mail_or_can_not_be_read(make_node, node, api, clock):
    request = add_request(node, add_task(node, "1", clock.now(), domain="accounting"), clock.now())
    assert api.get(f"/api/approvals/{request}")["source"]["mail"] is None
    node.layout.find(request)[0].write_text("---\nid: [\n---\n")
    shown = api.get(f"/api/approvals/{request}")
    assert shown["problems"] and shown["change"] is None and shown["recipients"] == []
    cloud = make_node("cloud", clock=clock)
    request = add_request(cloud, add_task(cloud, "1", clock.now()), clock.now())
    people = Api(cloud).get(f"/api/approvals/{request}")["recipients"]
    assert [person["known"] for person in people] == [None], "this node keeps no receipts"
