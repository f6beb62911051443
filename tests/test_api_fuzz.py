"""R6: the API against its own description. Whatever is sent, the answer is one that the description promises: no 5xx,
and every error is a problem (RFC 9457)."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from tests.api_client import PROBLEM, Api, add_request, add_task
from tests.servers import free_port
from utils.bootstrap import Services
from utils.health.checkup import Checkup

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
EXAMPLES = 40
#: Each costs git processes.
SLOW = {"/api/vault/sync/trigger": 4, "/api/zones/switch": 20, "/api/vault/sync/status": 10, "/api/platinum/status": 10}


def filled(node: Services) -> dict[str, str]:
    """A node with something of everything; answers what its ids are, by the parameter that takes one."""
    node.checkup = Checkup(lambda: (0, '{"name": "vault", "state": "ok", "says": "there"}'), node.clock)
    now = node.clock.now()
    task = add_task(node, "1", now)
    node.claims.claim(node.layout.find(task)[0])
    request = add_request(node, task, now)
    other = add_request(node, add_task(node, "2", now), now)
    node.alerts.send("WARNING", "A title", "A message", source="test")
    silence = node.alerts.silence({"title": "A title"}, now + timedelta(days=1), by="test")
    note = node.layout.conflicts / "note.md.cloud.0a1b2c3d.md"
    note.write_text('---\nconflict: "note.md"\nlost: "cloud"\n---\ntheirs\n')
    ids = {"request_id": request, "task": task, "silence": silence.id}
    ids["conflict"] = Api(node).get("/api/vault/conflicts")["items"][0]["id"]
    if not node.settings.draft_only:
        node.approvals.observe()
        sha256 = node.approvals.get(other).sha256
        ids["action"] = node.approvals.approve(other, sha256, by="test").action_id
    return ids


def answered_as_promised(case: Any, port: int, seen: Counter[int]) -> None:
    answer = case.call(base_url=f"http://localhost:{port}")
    seen[answer.status_code] += 1
    case.validate_response(answer, checks=CHECKS)
    if answer.status_code >= 400:
        assert answer.headers["content-type"][0] == PROBLEM
        problem = answer.json()
        assert problem["status"] == answer.status_code and problem["type"] and problem["title"] and problem["detail"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("name", ["local", "cloud"])
def test_whatever_is_sent_is_answered_as_the_description_says(make_node, name, mode):
    node = make_node(name, API_PORT=str(free_port()))
    ids, api = filled(node), Api(node)
    where = f"http://localhost:{node.settings.api_port}"
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", api.app, base_url=where)
    total, operations = Counter[int](), 0
    for found in schema.get_all_operations():
        operation = found.ok()
        operations += 1
        known = {name: ids[name] for name in (p.name for p in operation.path_parameters) if name in ids}
        for path_parameters in ({}, known) if known else ({},):
            options = {"path_parameters": path_parameters} if path_parameters else {}

            @settings(
                max_examples=SLOW.get(operation.path, EXAMPLES),
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode, **options))
            def send(case):
                answered_as_promised(case, node.settings.api_port, total)

            try:
                send()
            except Unsatisfiable:  # what takes nothing can't be given anything wrong
                assert mode is GenerationMode.NEGATIVE and not [*operation.query, *operation.body]
    print(f"{name}, {mode.value}: {operations} operations, {sum(total.values())} requests, {dict(total)}")
    assert operations >= 38 and sum(total.values()) > 500
