"""A silence: what it covers is recorded and not mailed, and when it ends the next one is news."""

from __future__ import annotations

import sqlite3

import pytest

from tests.api_client import Api
from utils.alert_manager import AlertManager

SILENCES = "/api/alerts/silences"
UNTIL = "2026-06-01T13:00:00Z"


class FakeChannel:
    """Takes whatever it is given."""

    name = "mail"

    def __init__(self) -> None:
        self.delivered: list[str] = []

    def deliver(self, alerts) -> None:
        self.delivered += [alert.title for alert in alerts]


@pytest.fixture
def channel():
    return FakeChannel()


@pytest.fixture
def node(make_node, clock, channel):
    node = make_node(clock=clock)
    node.alerts = AlertManager(node.layout, node.settings.state_dir, clock, [channel])
    return node


@pytest.fixture
def api(node):
    return Api(node)


def test_what_is_silenced_is_recorded_and_not_mailed_and_all_else_is(node, api, clock, channel):
    made = api.post(SILENCES, match={"source": "health_monitor", "title": "odoo  is down"}, until=UNTIL)
    assert made["match"] == {"level": None, "source": "health_monitor", "title": "odoo is down"}
    assert (made["until"], made["at"], made["by"]) == (UNTIL, "2026-06-01T12:00:00Z", "human (API)")
    assert api.get(SILENCES)["items"] == [made]
    for title, source in (
        ("odoo is down", "health_monitor"),
        ("odoo is down", "else"),
        ("api is down", "health_monitor"),
    ):
        node.alerts.send("CRITICAL", title, "refused", source=source)
    node.alerts.deliver_due(clock.now())
    assert channel.delivered == ["odoo is down", "api is down"]
    states = {(one["title"], one["source"]): one["state"] for one in api.get("/api/alerts")["items"]}
    assert states["odoo is down", "health_monitor"] == "suppressed"
    assert list(states.values()).count("sent") == 2
    assert "health_monitor" in node.layout.daily_log("alerts", "2026-06-01").read_text(), "the log has it"


@pytest.mark.parametrize("ended", ["its time", "by hand"])
def test_after_a_silence_the_next_one_is_mailed_though_it_says_the_same(node, api, clock, channel, ended):
    """Within the hour it would be a repeat, which is only counted: but nobody was told of the first."""
    made = api.post(SILENCES, match={"level": "WARNING"}, until="2026-06-01T12:20:00Z")
    node.alerts.send("WARNING", "A title", "the same", source="test")
    clock.advance(60)
    node.alerts.send("WARNING", "A title", "the same", source="test")
    assert [one["repeats"] for one in api.get("/api/alerts")["items"]] == [1], "counted as ever"
    if ended == "its time":
        clock.advance(20 * 60)
    else:
        assert api.ask("DELETE", f"{SILENCES}/{made['id']}").get_json() == {"id": made["id"]}
        api.refused(404, "DELETE", f"{SILENCES}/{made['id']}")
    assert api.get(SILENCES)["items"] == []
    for _ in range(2):
        node.alerts.send("WARNING", "A title", "the same", source="test")
    node.alerts.deliver_due(clock.now())
    assert channel.delivered == ["A title"], "once; the second is a repeat"


def test_a_silence_of_one_level_is_not_one_of_another(node, api, clock, channel):
    api.post(SILENCES, match={"level": "WARNING", "source": "test"}, until=UNTIL)
    node.alerts.send("WARNING", "A title", "the same", source="test")
    node.alerts.send("CRITICAL", "A title", "the same", source="test")
    node.alerts.deliver_due(clock.now())
    assert channel.delivered == ["A title"]


def test_what_waits_already_is_mailed(node, api, clock, channel):
    node.alerts.send("WARNING", "A title", "it waits", source="test")
    api.post(SILENCES, match={"title": "A title"}, until=UNTIL)
    node.alerts.deliver_due(clock.now())
    assert channel.delivered == ["A title"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"match": {"title": "x"}},
        {"until": UNTIL},
        {"match": {}, "until": UNTIL},
        {"match": {"title": None}, "until": UNTIL},
        {"match": {"title": " "}, "until": UNTIL},
        {"match": {"level": "LOUD"}, "until": UNTIL},
        {"match": {"level": ["WARNING"]}, "until": UNTIL},
        {"match": {"colour": "red"}, "until": UNTIL},
        {"match": "all", "until": UNTIL},
        {"match": {"title": "x"}, "until": "2026-06-01T12:00:00Z"},
        {"match": {"title": "x"}, "until": "2026-07-02T12:00:00Z"},
        {"match": {"title": "x\ud800"}, "until": UNTIL},
    ],
)
def test_a_silence_that_makes_no_sense_is_refused(api, body):
    api.refused(400, "POST", SILENCES, json=body)
    assert api.get(SILENCES)["items"] == []


def test_a_spool_from_before_there_were_silences_has_them_now(node, api, clock, channel):
    node.alerts.send("WARNING", "Old", "x", source="test")
    with sqlite3.connect(node.settings.state_dir / "alerts.sqlite3") as db:
        db.execute("DROP TABLE silences")
    api.post(SILENCES, match={"title": "New"}, until=UNTIL)
    node.alerts.send("WARNING", "New", "x", source="test")
    node.alerts.deliver_due(clock.now())
    assert channel.delivered == ["Old"]
