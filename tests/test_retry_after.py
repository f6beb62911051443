"""Retry-After (RFC 9110 §10.2.3): what it says, and that nothing is tried again before a provider wants to be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from scripts import actions
from tests.api_client import Api
from tests.conftest import FakeClock
from tests.fakes.desk import Desk, World, sha
from tests.fakes.meta import MetaServer
from tests.fakes.odoo import odoo_server
from tests.social_kit import settings as social_settings
from tests.social_kit import waiting
from tests.test_acting import TwoSteps
from tests.test_execution_odoo import INVOICE, ask
from tests.test_execution_odoo import settings as odoo_settings
from utils.bootstrap import Services
from utils.core.retry_after import LONGEST, wish
from utils.execution.journal import MAX_ATTEMPTS, ActionRecord, State
from utils.ports import AdapterError, OutcomeUnknown

Make = Callable[..., Services]
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NOON_SAID = "Mon, 01 Jun 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "120"}, 2 * MINUTE),
        ({"Retry-After": " 0 "}, timedelta()),
        ({"Retry-After": "Mon, 01 Jun 2026 12:05:00 GMT"}, 5 * MINUTE),
        ({"Retry-After": "Monday, 01-Jun-26 12:05:00 GMT"}, 5 * MINUTE),
        ({"Retry-After": "Mon Jun  1 12:05:00 2026"}, 5 * MINUTE),
        # The server's clock is an hour ahead of ours: it means five minutes.
        ({"Retry-After": "Mon, 01 Jun 2026 13:05:00 GMT", "Date": "Mon, 01 Jun 2026 13:00:00 GMT"}, 5 * MINUTE),
        ({"Retry-After": "Mon, 01 Jun 2026 12:05:00 GMT", "Date": "yesterday"}, 5 * MINUTE),
        ({"Retry-After": "Mon, 01 Jun 2026 11:00:00 GMT"}, timedelta()),
        ({"Retry-After": "9" * 5000}, LONGEST),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, LONGEST),
        ({}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "²"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Mon, 99 Jun 2026 12:05:00 GMT"}, None),
    ],
)
def test_both_forms_are_read_and_what_is_neither_says_nothing(
    headers: Mapping[str, str], expected: timedelta | None
) -> None:
    assert wish(429, headers, NOON) == wish(503, headers, NOON) == expected
    assert wish(500, headers, NOON) is wish(403, headers, NOON) is None


def approved(desk: Desk, key: str = "mail 1") -> ActionRecord:
    path = desk.request(key)
    return desk.approvals.approve(path.stem, sha(path), by="anna")


@pytest.mark.parametrize("kind", [AdapterError, OutcomeUnknown])
def test_a_proven_failure_is_tried_again_when_the_provider_wants_it(
    make_node: Make, clock: FakeClock, kind: type[Exception], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Refused, or lost and proven by evidence; the API and the command name the next try."""
    desk = Desk(make_node, clock, World(), set_up=True, hand=TwoSteps)
    approved(desk)
    more = {"retry": True} if kind is AdapterError else {}
    desk.world.trouble = [kind("come back later", retry_after=120 * MINUTE, **more)]
    assert desk.cycle() == "waiting to try again 1"
    (item,) = Api(desk.node).get("/api/actions", state="approved")["items"]
    assert item["waits"]["until"] == "2026-06-01T14:00:00Z" and "come back later" in item["waits"]["reason"]
    monkeypatch.setattr(Services, "from_environment", classmethod(lambda cls: desk.node))
    assert actions.main(["list"]) == 0
    said = capsys.readouterr().out
    assert "waits: a try failed and did nothing: come back later" in said and "2 h left" in said
    clock.advance(119 * 60)
    assert desk.cycle() == "waiting to try again 1" and desk.world.calls == 1
    clock.advance(60)
    assert desk.cycle() == "sent 1" and desk.world.calls == 2


def test_a_short_wish_shortens_no_pause_and_a_wish_lasts_for_one_try(make_node: Make, clock: FakeClock) -> None:
    desk = Desk(make_node, clock, World(), hand=TwoSteps)
    record = approved(desk)
    desk.world.trouble = [
        AdapterError("1", retry=True, retry_after=60 * MINUTE),
        AdapterError("2", retry=True),
        AdapterError("3", retry=True, retry_after=timedelta(seconds=1)),
    ]
    for pause in (60 * MINUTE, 2 * MINUTE, 8 * MINUTE):
        desk.cycle()
        waits = desk.store.get(record.action_id)
        assert waits is not None and waits.next_try_at == clock.now() + pause
        clock.advance(pause.total_seconds())
    assert desk.cycle() == "sent 1"


def test_a_wish_gives_no_further_try(make_node: Make, clock: FakeClock) -> None:
    desk = Desk(make_node, clock, World(), hand=TwoSteps)
    record = approved(desk)
    desk.world.trouble = [AdapterError("429", retry=True, retry_after=MINUTE) for _ in range(MAX_ATTEMPTS)]
    for _ in range(MAX_ATTEMPTS):
        desk.cycle()
        clock.advance(3600)
    failed = desk.store.get(record.action_id)
    assert failed is not None and failed.state is State.FAILED and failed.next_try_at is None


@pytest.mark.parametrize("said", ["600", "Mon, 01 Jun 2026 12:10:00 GMT"])
def test_what_a_provider_says_over_the_wire_is_kept_by_the_journal(
    make_node: Make, clock: FakeClock, said: str
) -> None:
    with MetaServer(clock.now) as server:
        desk = Desk(make_node, clock, World(), **social_settings(server.url))
        body = {"error": {"code": 4, "message": "calls"}}
        route, server.route = server.route, lambda call: (429, body, {"Retry-After": said, "Date": NOON_SAID})  # type: ignore[method-assign]
        path = waiting(desk, "facebook_post")
        record = desk.approvals.approve(path.stem, sha(path), by="anna")
        assert desk.cycle() == "waiting to try again 1"
        waits = desk.store.get(record.action_id)
        assert waits is not None and waits.next_try_at == clock.now() + 10 * MINUTE
        server.route = route  # type: ignore[method-assign]
        clock.advance(600)
        assert desk.cycle() == "executed 1"


@pytest.mark.parametrize("version", [17, 19])
def test_odoo_s_wish_is_kept_too(make_node: Make, clock: FakeClock, version: int) -> None:
    with odoo_server(version) as server:
        server.data.call(2, "res.partner", "create", [], {"vals_list": [{"name": "Acme"}]}, {})
        desk = Desk(make_node, clock, World(), **odoo_settings(server))
        server.fail("account.move", "action_post", "refuse-429")  # it says: in 120 seconds
        path = ask(desk, INVOICE)
        record = desk.approvals.approve(path.stem, sha(path), by="anna")
        assert desk.cycle() == "waiting to try again 1"
        waits = desk.store.get(record.action_id)
        assert waits is not None and waits.next_try_at == clock.now() + 2 * MINUTE
        clock.advance(120)
        assert desk.cycle() == "executed 1"
