"""Tasks, their history, who works on them; and lists that stay the same while new items come in."""

from __future__ import annotations

import json
import os
import tracemalloc
from datetime import timedelta

import pytest

from tests.api_client import Api, add_request, add_task
from utils.core.stages import Stage
from utils.tasks import board
from utils.tasks.board import facts_of
from utils.vault import jsonl
from Watchers.api.paging import encode


def all_pages(api: Api, path: str, limit: int, key: str = "items", **query) -> list[dict]:
    found, cursor = [], None
    while True:
        page = api.get(path, limit=limit, **query, **({"cursor": cursor} if cursor else {}))
        assert len(page[key]) <= limit
        found += page[key]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def test_a_task_is_shown_from_arrival_to_done(make_node, clock):
    node = make_node(clock=clock)
    api = Api(node)
    task = add_task(node, "1", clock.now(), subject='Re: "10:30" – ok?')
    request = add_request(node, task, clock.now())
    clock.advance(5)
    path = node.claims.claim(node.layout.find(task)[0])
    clock.advance(5)
    shown = api.get(f"/api/tasks/{task}")
    assert shown["stage"] == "in_progress" and shown["agent"] == "local" and shown["domain"] == "email"
    assert shown["title"] == 'Re: "10:30" – ok?'
    assert shown["problems"] == [] and shown["also_at"] == [] and shown["plan"] is None
    assert shown["content"] == path.read_text()
    assert [(e["event"], e["at"]) for e in shown["history"]] == [
        ("created", "2026-06-01T12:00:00Z"),
        ("claimed", "2026-06-01T12:00:05Z"),
    ]
    assert shown["requests"] == [{"id": request, "stage": "pending_approval"}]
    node.claims.move(path, Stage.DONE)
    shown = api.get(f"/api/tasks/{task}")
    assert shown["stage"] == "done" and shown["agent"] is None
    assert [event["event"] for event in shown["history"]] == ["created", "claimed", "done"]


def test_the_plan_is_shown_with_its_task(make_node, clock):
    node = make_node(clock=clock)
    task = add_task(node, "1", clock.now())
    plan = node.layout.plan("email", task)
    plan.parent.mkdir(parents=True, exist_ok=True)
    plan.write_text("# Plan\n")
    assert Api(node).get(f"/api/tasks/{task}")["plan"] == "# Plan\n"


def test_tasks_are_listed_by_stage_and_domain(make_node, clock):
    node = make_node(clock=clock)
    api = Api(node)
    mail = add_task(node, "1", clock.now())
    bill = add_task(node, "2", clock.now() + timedelta(seconds=1), domain="accounting")
    node.claims.claim(node.layout.find(bill)[0])

    def listed(**query):
        return [item["id"] for item in api.get("/api/tasks", **query)["items"]]

    assert listed() == [bill, mail]
    assert listed(stage="needs_action") == [mail]
    assert listed(domain="accounting") == [bill]
    assert listed(stage="needs_action", domain="accounting") == []
    counts = api.get("/api/platinum/status")["tasks"]
    assert counts["needs_action"] == {"email": 1, "social": 0, "accounting": 0, "general": 0}
    assert counts["in_progress"]["accounting"] == 1
    assert sum(sum(by_domain.values()) for by_domain in counts.values()) == 2


def test_each_waiting_task_names_the_zone_that_does_it(make_node, clock, monkeypatch):
    node = make_node("cloud", clock=clock)
    api = Api(node)
    add_task(node, "mail", clock.now())
    bill = add_task(node, "bill", clock.now(), domain="accounting")
    for key, task_type in {"pay": "payments", "disk": "system_monitoring", "new": "teleport"}.items():
        path = node.layout.find(add_task(node, key, clock.now(), domain="accounting"))[0]
        path.write_text(path.read_text().replace("type: accounting", f"type: {task_type}"))
    (node.layout.root / "Needs_Action" / "a note.md").write_text("no front matter")

    def zones():
        found = {item["type"]: item["zone"] for item in api.get("/api/tasks")["items"]}
        assert api.get(f"/api/tasks/{bill}")["zone"] == found["accounting"]
        return found

    left = {"payments": "local", "teleport": "local", None: "local", "system_monitoring": "both"}
    for active in ("cloud", "local"):
        monkeypatch.setattr(node.zones, "active_zone", lambda zone=active: zone)
        assert zones() == {"email_processing": active, "accounting": active, **left}
        waiting = {"local": 3, "cloud": 0, "both": 1}
        waiting[active] += 2
        assert api.get("/api/platinum/status")["waiting"] == waiting
    node.claims.claim(node.layout.find(bill)[0])
    assert zones()["accounting"] is None, "it waits for nobody: it is in work"


def test_files_that_are_no_tasks_are_shown_with_what_is_wrong(make_node, clock):
    node = make_node(clock=clock)
    root = node.layout.root
    (root / "Needs_Action" / "a note.md").write_text("no front matter")
    (root / "Needs_Action" / "email" / "email-20260601T120000Z-00000000.md").write_bytes(b"---\nid: [\n---\n")
    (root / "Needs_Action" / "email" / b"caf\xe9.md".decode("utf-8", "surrogateescape")).write_bytes(b"\xff\xfe")
    items = Api(node).get("/api/tasks")["items"]
    assert len(items) == 3
    assert all(item["problems"] for item in items)
    assert items[0]["id"] == "email-20260601T120000Z-00000000"
    assert "front matter" in next(item for item in items if item["id"] == "a note")["problems"][0]


def test_a_changed_file_is_read_again(make_node, clock):
    node = make_node(clock=clock)
    api = Api(node)
    task = add_task(node, "1", clock.now(), subject="before")
    assert api.get("/api/tasks")["items"][0]["title"] == "before"
    path = node.layout.find(task)[0]
    path.write_text(path.read_text().replace("before", "after, longer"))
    assert api.get("/api/tasks")["items"][0]["title"] == "after, longer"


def test_pages_stay_the_same_while_tasks_come_and_go(make_node, clock):
    node = make_node(clock=clock)
    api = Api(node)
    tasks = [add_task(node, str(number), clock.now() + timedelta(minutes=number // 2)) for number in range(9)]
    newest_first = sorted(tasks, key=lambda task: (task.split("-")[1], task), reverse=True)
    first = api.get("/api/tasks", limit=4)
    assert [item["id"] for item in first["items"]] == newest_first[:4]
    # New ones arrive, and the very task that the cursor names is moved on.
    add_task(node, "new", clock.now() + timedelta(hours=1))
    node.claims.claim(node.layout.find(newest_first[3])[0])
    rest = all_pages(api, "/api/tasks", 4, stage="needs_action")
    assert len(rest) == 9
    second = api.get("/api/tasks", limit=4, cursor=first["next_cursor"], stage="needs_action")
    assert [item["id"] for item in second["items"]] == newest_first[4:8]
    third = api.get("/api/tasks", limit=4, cursor=second["next_cursor"])
    assert [item["id"] for item in third["items"]] == newest_first[8:]
    assert third["next_cursor"] is None


def test_claims_tell_who_works_on_what(make_node, clock):
    node = make_node(clock=clock)
    api = Api(node)
    assert api.get("/api/claims") == {
        "active": [],
        "recent": [],
        "counts": {"cloud": 0, "local": 0, "total": 0},
        "next_cursor": None,
    }
    first, second = (add_task(node, str(number), clock.now()) for number in range(2))
    clock.advance(10)
    node.claims.claim(node.layout.find(first)[0])
    clock.advance(10)
    node.claims.claim(node.layout.find(second)[0], "cloud")
    answer = api.get("/api/claims")
    assert [(claim["task"], claim["agent"], claim["since"]) for claim in answer["active"]] == [
        (second, "cloud", "2026-06-01T12:00:20Z"),
        (first, "local", "2026-06-01T12:00:10Z"),
    ]
    assert [claim["provisional"] for claim in answer["active"]] == [False, False], "alone, the rename confirms"
    assert answer["counts"] == {"cloud": 1, "local": 1, "total": 2}
    assert [entry["event"] for entry in answer["recent"]] == ["claimed", "claimed", "created", "created"]


def test_a_claim_is_provisional_until_the_remote_has_it(make_node, clock, monkeypatch):
    node = make_node(clock=clock)
    first, second = (add_task(node, str(number), clock.now()) for number in range(2))
    for task in (first, second):
        node.claims.claim(node.layout.find(task)[0])
    asked = []

    def confirmed(folder):
        asked.append(folder)
        return frozenset({f"In_Progress/local/{first}.md"})

    monkeypatch.setattr(node.sync, "confirmed", confirmed)
    active = Api(node).get("/api/claims")["active"]
    assert {claim["task"]: claim["provisional"] for claim in active} == {first: False, second: True}
    assert all(claim["working"] and claim["last_beat_at"] == "2026-06-01T12:00:00Z" for claim in active)
    assert asked == ["In_Progress"], "git is asked once, however many claims there are"


def test_claims_are_told_from_the_end_of_a_long_log(make_node, clock, monkeypatch):
    node = make_node(clock=clock)
    node.layout.claims_log.write_text('{"event":"tested"}\n' * 50_000)
    node.claims.claim(node.layout.find(add_task(node, "1", clock.now()))[0])
    decode, read = jsonl._decode, []
    monkeypatch.setattr(jsonl, "_decode", lambda line: read.append(line) or decode(line))
    answer = Api(node).get("/api/claims", limit=3)
    assert [entry["event"] for entry in answer["recent"]] == ["claimed", "created", "tested"]
    assert len(read) < 100


def test_a_log_line_of_a_foreign_shape_hides_no_claim(make_node, clock):
    node = make_node(clock=clock)
    task = add_task(node, "1", clock.now())
    node.claims.claim(node.layout.find(task)[0])
    with node.layout.claims_log.open("ab") as log:
        log.write(b'{"task":["q"],"event":"claimed"}\n' + b"[" * 100_000 + b"\n")
    assert [claim["task"] for claim in Api(node).get("/api/claims")["active"]] == [task]


def test_a_claim_file_that_no_log_line_knows_is_shown(make_node, clock):
    node = make_node(clock=clock)
    folder = node.layout.folder(Stage.IN_PROGRESS, agent="cloud")
    (folder / "email-20260601T120000Z-1a2b3c4d.md").write_text("moved by hand")
    claim = Api(node).get("/api/claims")["active"][0]
    assert claim["agent"] == "cloud" and claim["since"] is None


def test_pages_of_the_claims_log_stay_the_same_while_it_grows(make_node, clock):
    node = make_node(clock=clock)
    api = Api(node)
    for number in range(7):
        node.claims.note("tested", f"task {number}")
        clock.advance(1)
    first = api.get("/api/claims", limit=3)
    node.claims.note("tested", "a later one")
    second = api.get("/api/claims", limit=3, cursor=first["next_cursor"])
    third = api.get("/api/claims", limit=3, cursor=second["next_cursor"])
    seen = [entry["task"] for page in (first, second, third) for entry in page["recent"]]
    assert seen == [f"task {number}" for number in reversed(range(7))]
    assert third["next_cursor"] is None


def test_an_id_in_two_places_is_told(make_node, clock):
    node = make_node(clock=clock)
    api = Api(node)
    task = add_task(node, "1", clock.now())
    assert api.get("/api/platinum/status")["modules"]["claim_task"]["ok"]
    copy = node.layout.folder(Stage.DONE) / f"{task}.md"
    copy.write_bytes(node.layout.find(task)[0].read_bytes())
    shown = api.get(f"/api/tasks/{task}")
    assert shown["also_at"] == [f"Done/{task}.md"]
    verdict = api.get("/api/platinum/status")["modules"]["claim_task"]
    assert not verdict["ok"] and task in verdict["detail"]


def test_listing_opens_only_what_it_shows(make_node, clock):
    node = make_node(clock=clock)
    for number in range(20):
        add_task(node, str(number), clock.now())
    read_before = facts_of.cache_info().misses
    for _ in range(2):
        assert len(Api(node).get("/api/tasks", limit=5)["items"]) == 5
    assert facts_of.cache_info().misses == read_before + 5


def test_the_action_log_of_a_draft_only_node_comes_from_the_vault(make_node, clock):
    """The cloud executes nothing; what Local did is in the log that sync carries."""
    node = make_node("cloud", clock=clock)
    api = Api(node)
    for day, number, state in (("01", 1, "unknown"), ("01", 2, "done"), ("02", 1, "done"), ("02", 3, "failed")):
        entry = {"at": f"2026-06-{day}T12:00:00Z", "action_id": f"{number:032x}", "state": state}
        jsonl.append(node.layout.daily_log("actions", f"2026-06-{day}"), entry)
    items = all_pages(api, "/api/actions", 1)
    assert [(int(item["action_id"], 16), item["state"]) for item in items] == [(3, "failed"), (1, "done"), (2, "done")]
    assert [int(item["action_id"], 16) for item in api.get("/api/actions", state="failed")["items"]] == [3]
    assert api.get("/api/actions", state="unknown")["items"] == []
    api.refused(403, "POST", f"/api/actions/{1:032x}/settle", json={"outcome": "happened"})


def hostile(node, *lines):
    node.layout.claims_log.parent.mkdir(parents=True, exist_ok=True)
    node.layout.claims_log.write_bytes(b"".join(line + b"\n" for line in lines))


def test_a_made_up_cursor_is_refused_before_years_of_lines_are_read(make_node, clock, monkeypatch):
    node = make_node(clock=clock)
    api = Api(node)
    hostile(node, *(b'{"event":"%d"}' % number for number in range(60_000)))
    decode, read = jsonl._decode, []
    monkeypatch.setattr(jsonl, "_decode", lambda line: read.append(line) or decode(line))
    made_up = encode(["0" * 32])
    assert "begin without one" in api.refused(400, "GET", f"/api/claims?cursor={made_up}")["detail"]
    assert len(read) <= 50_001
    page = api.get("/api/claims", limit=1)
    assert api.get("/api/claims", limit=1, cursor=page["next_cursor"])["recent"] == [{"event": "59998"}]


def test_a_huge_log_line_is_passed_over_without_being_held_in_memory(make_node, clock):
    node = make_node(clock=clock)
    huge = b'{"event":"' + b"x" * 20_000_000 + b'"}'
    hostile(node, huge, b'{"event":"first"}', b"[" * 5_000_000, b'{"event":"second"}', huge)
    tracemalloc.start()
    try:
        found = [entry["event"] for entry in node.board.claim_events()]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == ["second", "first"]
    assert most < 4_000_000


def test_what_is_no_json_in_a_log_never_comes_out_as_an_answer(make_node, clock):
    node = make_node(clock=clock)
    task = add_task(node, "a", clock.now())
    hostile(node, b'{"n":NaN}', b'{"n":[Infinity]}', b'{"n":-1e400}', b'{"n":1.5}', b'{"at":{"x":1},"event":"claimed"}')
    answer = Api(node).ask("GET", "/api/claims").get_data(as_text=True)
    json.loads(answer, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert json.loads(answer)["recent"] == [{"at": {"x": 1}, "event": "claimed"}, {"n": 1.5}]
    node.claims.claim(node.layout.find(task)[0])
    hostile(node, b'{"at":{"x":1},"event":"claimed","task":"%s"}' % task.encode())
    assert [claim["since"] for claim in Api(node).get("/api/claims")["active"]] == [None]


def test_a_dropped_task_is_called_by_its_heading_its_first_line_or_its_name(make_node, clock):
    node = make_node(clock=clock)
    api = Api(node)
    drops = {
        "a.md": "intro\n\n## Buy *milk*\n",
        "b.md": "\n- call Bob\nand Ann\n",
        "silence.md": "---\n",
        "d.md": "---\ntitle: Named\n---\n# Not this\n",
    }
    for name, text in drops.items():
        path = node.layout.root / "Inbox" / name
        path.write_text(text)
        os.utime(path, (clock.now().timestamp() - 600,) * 2)
    node.drops.run(clock.now())
    titles = {item["title"] for item in api.get("/api/tasks")["items"]}
    assert titles == {"Buy *milk", "call Bob", "silence", "Named"}


def test_whatever_the_list_names_can_be_asked_for(make_node):
    node = make_node()
    api = Api(node)
    (node.layout.root / "Inbox" / "my note é.md").write_text("# Buy milk\n")
    [item] = api.get("/api/tasks")["items"]
    assert (item["id"], item["title"]) == ("my note é", "Buy milk")
    assert api.get("/api/tasks/my%20note%20%C3%A9")["content"] == "# Buy milk\n"
    for name in ("another", "..", "%00", ".vault"):
        assert api.ask("GET", f"/api/tasks/{name}").status_code == 404


def test_a_name_that_is_no_text_breaks_no_answer(make_node):
    """A browser throws where it is to make an address of half a character; a whole page would be lost by one file."""
    node = make_node()
    (node.layout.root / "Inbox" / os.fsdecode(b"caf\xe9.md")).write_text("# Buy \U0001f600\n")
    answer = Api(node).ask("GET", "/api/tasks").get_data(as_text=True)
    [item] = json.loads(answer)["items"]
    assert (item["id"], item["path"], item["title"]) == ("caf\ufffd", "Inbox/caf\ufffd.md", "Buy \U0001f600")


def test_tasks_are_found_by_words_of_id_title_and_sender(make_node, clock):
    node = make_node(clock=clock)
    api = Api(node)
    made = [
        add_task(node, str(number), clock.now() + timedelta(seconds=number), subject=subject)
        for number, subject in enumerate(['Invoice: "No. 7" – Straße', "An offer", "Invoice 8", "it's \\\\ here"])
    ]
    drop = node.layout.folder(Stage.INBOX) / "milk.md"
    drop.write_text("# Buy an invoice book\n")

    def found(q: str, **more) -> list[str]:
        return [item["id"] for item in api.get("/api/tasks", q=q, **more)["items"]]

    assert found("INVOICE") == [made[2], made[0], "milk"]
    assert found("invoice 8") == [made[2]] and found("8 invoice") == [made[2]], "each word, in any order"
    assert found('"no. 7"') == [made[0]] and found("strasse") == [made[0]] and found("it's") == [made[3]]
    assert found("ANN@example.com") == made[::-1], "the sender"
    assert found(made[1][:30].upper()) and found(made[1]) == [made[1]]
    assert found("invoice", stage="inbox") == ["milk"]
    assert found("nothing of this") == [] and found("cost") == [], "the text of a mail is not searched"
    assert len(found("  ")) == 5
    node.layout.find(made[1])[0].write_text("---\nbroken: [\n---\n# An offer that is broken\n")
    assert found("offer broken") == [made[1]]
    api.refused(400, "GET", "/api/tasks?q=" + "x" * 201)


def test_a_search_for_an_id_parses_no_other_file(make_node, clock, monkeypatch):
    node = make_node(clock=clock)
    api = Api(node)
    made = [add_task(node, str(number), clock.now() + timedelta(seconds=number)) for number in range(5)]
    naming = add_task(node, "other", clock.now(), subject=f"About {made[2]}")
    read, parsed = board.facts_of, []
    monkeypatch.setattr(board, "facts_of", lambda path, *more: parsed.append(path.stem) or read(path, *more))
    assert {item["id"] for item in api.get("/api/tasks", q=made[2])["items"]} == {made[2], naming}
    assert set(parsed) == {made[2], naming}


def test_a_search_pages_and_looks_through_so_many_at_a_time(make_node, clock, monkeypatch):
    node = make_node(clock=clock)
    api = Api(node)
    for number in range(12):
        add_task(node, str(number), clock.now() + timedelta(seconds=number), subject="x" if number % 4 else "wanted")
    monkeypatch.setattr("Watchers.api.tasks._LOOKED_THROUGH", 5)
    wanted = [item["id"] for item in all_pages(api, "/api/tasks", 2, q="wanted")]
    assert len(wanted) == len(set(wanted)) == 3 and wanted == sorted(wanted, reverse=True)
    assert all_pages(api, "/api/tasks", 1, q="wanted") == all_pages(api, "/api/tasks", 50, q="wanted")
    short = api.get("/api/tasks", q="nowhere")
    assert short["items"] == [] and short["next_cursor"], "it goes on from there"
    assert all_pages(api, "/api/tasks", 2, q="nowhere") == []
