"""What the doctor says over HTTP: the same as on the command line, remembered, and never more than one at once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

from tests.api_client import Api
from tests.servers import free_port
from tests.test_api_server import DEADLINE, ask, environment, eventually, is_up, start
from utils.health.checkup import Checkup
from utils.settings import PROJECT_ROOT


def line(name: str = "vault", state: str = "ok", says: str = "there") -> str:
    return json.dumps({"name": name, "state": state, "says": says})


def test_it_says_what_the_command_says(tmp_path):
    port = free_port()
    environ = environment(tmp_path, port)
    process = start(environ)
    try:
        eventually(lambda: is_up(port) or process.poll() is not None, "the API answers")
        status, _, body = ask(port, "GET", "/api/doctor")
        told = json.loads(body)
        assert status == 200 and told["checked_at"] and not told["running"]
        command = [sys.executable, "-m", "scripts.doctor"]
        said = subprocess.run(command, cwd=PROJECT_ROOT, env=environ, capture_output=True, text=True).stdout
        for item in told["items"]:
            assert item["says"] in said or item["name"] in ("sync", "zones"), "what counts seconds apart"
        states = {item["name"]: item["state"] for item in told["items"]}
        assert states["settings"] == "ok" and states["vault"] == "ok"
        assert states["remote"] == "warning" and states["odoo"] == states["alerts"] == "off"
    finally:
        process.kill()
        process.communicate()


def test_an_answer_is_kept_until_it_is_old_or_a_new_one_is_wanted(make_node, clock):
    node, runs = make_node(clock=clock), []
    node.checkup = Checkup(lambda: (runs.append(1), (0, line(says=str(len(runs)))))[1], clock)
    api = Api(node)
    assert api.get("/api/doctor")["items"] == [{"name": "vault", "state": "ok", "says": "1"}]
    clock.advance(299)
    assert api.get("/api/doctor")["items"][0]["says"] == "1"
    assert api.get("/api/doctor", refresh="true")["items"][0]["says"] == "2"
    clock.advance(301)
    told = api.get("/api/doctor")
    assert told["items"][0]["says"] == "3" and told["checked_at"] == "2026-06-01T12:10:00Z"


def test_while_it_looks_nobody_else_waits_for_it(make_node, clock):
    node, inside, go_on = make_node(clock=clock), threading.Event(), threading.Event()

    def run() -> tuple[int, str]:
        inside.set()
        assert go_on.wait(DEADLINE)
        return 1, line()

    node.checkup = Checkup(run, clock)
    api, answers = Api(node), []
    asking = threading.Thread(target=lambda: answers.append(api.get("/api/doctor")))
    asking.start()
    assert inside.wait(DEADLINE)
    other = Api(node).get("/api/doctor", refresh="true")
    assert other == {"checked_at": None, "running": True, "items": []}
    go_on.set()
    asking.join(DEADLINE)
    assert answers[0]["items"] and not Api(node).get("/api/doctor")["running"]


def test_one_that_hangs_or_falls_is_told_with_what_it_found(make_node, clock):
    node = make_node(clock=clock)
    node.checkup = Checkup(lambda: (None, f"a line of a log\n{line()}\n[5]\n{line(state='strange')}"), clock)
    items = Api(node).get("/api/doctor")["items"]
    assert [(item["name"], item["state"]) for item in items] == [("vault", "ok"), ("doctor", "error")]
    node.checkup = Checkup(lambda: (1, "Traceback\nNoModule: here\n"), clock)
    items = Api(node).get("/api/doctor")["items"]
    assert [item["state"] for item in items] == ["error"] and "NoModule: here" in items[0]["says"]
