"""Zones: which is active, what routes where, the human's switch, failover, and what people are told."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import FakeClock
from tests.fakes.lease import FakeLease, SharedRef
from tests.fakes.watch import AlertNotes, FakeProbe
from utils.claim_task import Claims, Lost
from utils.core import lease
from utils.core.lease import BEATS, State
from utils.core.routing import LOCAL_ONLY_TYPES, TASK_TYPES, Rule, resolve
from utils.core.stages import Stage
from utils.core.zones import Failover, InvalidZones, ZonesConfig, parse
from utils.ports import AdapterError
from utils.settings import PROJECT_ROOT
from utils.vault import jsonl, locks
from utils.vault.layout import Layout
from utils.work_zones import NotSwitched, StaleTerm, UnknownZone, WorkZones

MAIL = "email_processing"


@pytest.fixture
def config() -> ZonesConfig:
    return parse(json.loads((PROJECT_ROOT / "zones.json").read_text()))


class Node:
    """One node's zones with everything around them in the test's hands."""

    def __init__(self, bench: Bench, here: str, url: str, name: str = "") -> None:
        self.here, self.bench = here, bench
        self.overtaken: list[bool] = []
        self.link: FakeLease = bench.shared.link(here)
        self.probe, self.alerts = FakeProbe(), AlertNotes()
        self.has_remote, self.wanted = bench.remote, False
        self.layout = Layout(bench.folder / (name or here) / "vault")
        self.layout.root.mkdir(parents=True, exist_ok=True)
        self.layout.marker.touch()
        self.state_dir = bench.folder / (name or here) / "state"
        self.url = url
        self.zones = self.process()

    def process(self) -> WorkZones:
        """The zones as one more process of this node has them."""
        other = "cloud" if self.here == "local" else "local"
        return WorkZones(
            self.bench.config,
            self.layout,
            this_zone=self.here,
            mode="full",
            state_dir=self.state_dir,
            clock=self.bench.clock,
            remote=lambda: self.link,
            has_remote=lambda: self.has_remote,
            remote_wanted=self.wanted,
            alert=self.alerts,
            probe=lambda: self.probe,
            urls={other: self.url},
            timeout=1,
        )

    @property
    def works(self) -> bool:
        return self.zones.runs_here(MAIL)

    def log(self) -> list[dict[str, object]]:
        return list(jsonl.newest_of(self.layout.root / "Logs" / "zones"))

    @property
    def picture(self) -> str:
        return (self.layout.root / "Signals" / f"{self.here}.md").read_text()


class Bench:
    """Two nodes and the remote between them."""

    def __init__(self, folder: Path, config: ZonesConfig, clock: FakeClock) -> None:
        self.folder, self.config, self.clock = folder, config, clock
        self.shared, self.remote = SharedRef(), True

    def node(self, here: str = "local", url: str = "", name: str = "") -> Node:
        return Node(self, here, url, name)

    def pair(self) -> tuple[Node, Node]:
        """Local and Cloud, Cloud active, both alive for ten minutes."""
        local, cloud = self.node("local"), self.node("cloud")
        self.live(10, local, cloud)
        assert (local.works, cloud.works) == (False, True)
        return local, cloud

    def live(self, minutes: int, *nodes: Node) -> list[str]:
        """Time passes; the schedulers of `nodes` run. At no moment do two of them work."""
        said = []
        for minute in range(minutes):
            for node in nodes:
                said.append(node.zones.renew())
                if minute % 2 == 0:
                    said.append(node.zones.check_and_failover())
            assert sum(node.works for node in nodes) < 2
            self.clock.advance(60)
        return said


@pytest.fixture
def bench(tmp_path: Path, config: ZonesConfig, clock: FakeClock) -> Bench:
    return Bench(tmp_path, config, clock)


# --------------------------------------------------------------------------------------------------------- what runs


def test_routing_of_the_mission_documents_eight_types(bench: Bench) -> None:
    local, cloud = bench.pair()
    expected = {
        "email_processing": "cloud",
        "social_media": "cloud",
        "approvals": "local",
        "vault_operations": "local",
        "whatsapp": "local",
        "payments": "local",
        "accounting": "cloud",
        "system_monitoring": "both",
    }
    for node in (local, cloud):
        assert {task_type: node.zones.resolve_zone(task_type) for task_type in TASK_TYPES} == expected
        runs = {task_type for task_type in TASK_TYPES if node.zones.runs_here(task_type)}
        assert runs == {task_type for task_type, zone in expected.items() if zone in (node.here, "both")}
    local.zones.switch("local", reason="test", by="test")
    assert {local.zones.resolve_zone(t) for t in ("email_processing", "social_media", "accounting")} == {"local"}
    assert local.zones.resolve_zone("system_monitoring") == "both"


def test_local_only_work_never_resolves_to_the_cloud_and_needs_no_lease(bench: Bench) -> None:
    local, cloud = bench.pair()
    for active in ("cloud", "local"):
        cloud.zones.switch(active, reason="test", by="test")
        bench.live(3, local, cloud)
        for task_type in (*LOCAL_ONLY_TYPES, "something_new"):
            assert cloud.zones.resolve_zone(task_type) == "local"
            assert not cloud.zones.runs_here(task_type)
            with cloud.zones.at_work(task_type) as ours:
                assert not ours
    local.link.down = True
    bench.live(10, local)
    assert local.zones.state() is State.UNSURE
    assert all(local.zones.runs_here(task_type) for task_type in (*LOCAL_ONLY_TYPES, "system_monitoring"))


def test_a_routing_table_that_says_otherwise_changes_nothing_for_local_only_types() -> None:
    """The settings refuse such a table; the decision does not rely on that."""
    table = dict.fromkeys(TASK_TYPES, Rule.ACTIVE) | {"payments": Rule.BOTH}
    assert {resolve(task_type, table, "cloud") for task_type in (*LOCAL_ONLY_TYPES, "unknown")} == {"local"}


def test_work_ends_with_the_deadline_and_begins_again_when_the_remote_answers(bench: Bench) -> None:
    _, cloud = bench.pair()
    cloud.link.down = True
    bench.clock.advance(120)
    assert cloud.works, "the deadline has not passed"
    assert "the remote" in cloud.zones.renew()
    bench.clock.advance(120)
    assert (cloud.zones.state(), cloud.works) == (State.UNSURE, False)
    assert cloud.zones.active_zone() == "cloud"
    assert "could not renew" in cloud.zones.trouble()[0]
    cloud.zones.renew()
    assert cloud.alerts.titles[-1] == "WARNING cloud can't renew the zone lease"
    cloud.link.down = False
    cloud.zones.renew()
    assert (cloud.zones.state(), cloud.zones.trouble()) == (State.ACTIVE, [])


def test_the_deadline_counts_from_before_the_renewal_not_from_its_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, cloud = bench.pair()
    push = cloud.link.push

    def slowly(text: str, expected: str | None) -> str | None:
        landed = push(text, expected)
        bench.clock.advance(100)
        return landed

    monkeypatch.setattr(cloud.link, "push", slowly)
    cloud.zones.renew()
    bench.clock.advance(139)
    assert cloud.works
    bench.clock.advance(1)
    assert not cloud.works


def test_after_a_start_nothing_is_worked_before_the_remote_was_asked(bench: Bench) -> None:
    _, cloud = bench.pair()
    cloud.link.down = True
    cloud.process().start()
    assert not cloud.works
    cloud.zones.renew()
    assert not cloud.works
    cloud.link.down = False
    cloud.zones.renew()
    assert cloud.works


# ---------------------------------------------------------------------------------------------------------- failover


def test_failover_by_heartbeat_from_the_cloud_dying_to_its_return(bench: Bench) -> None:
    local, cloud = bench.pair()
    said = bench.live(20, local)  # the cloud is gone
    assert local.works and not cloud.works
    failed = [line for line in said if line.startswith("cloud fails")]
    assert "cloud fails (3 in a row, threshold 3): no heartbeat came through the remote" in failed[2]
    status = local.zones.status()
    assert (status["active_zone"], status["state"], status["term"], status["pinned"]) == ("local", "active", 2, False)
    assert status["history"][0]["reason"] == status["reason"]
    assert "cloud failed" in status["reason"] and "no longer renewed its lease" in status["reason"]
    assert local.alerts.titles == ["CRITICAL cloud does not answer", "CRITICAL local is the active zone now (term 2)"]
    assert "local takes over" in local.alerts.told[0][2]
    bench.live(20, local, cloud)
    assert (local.works, cloud.works) == (True, False), "no failback unless configured"
    assert local.alerts.titles[2:] == ["INFO cloud is back"]
    told = [[(e["from"], e["to"], e["reason"]) for e in node.zones.status()["history"]] for node in (local, cloud)]
    assert told[0] == told[1]


def test_failover_by_http_while_the_lease_is_renewed_changes_nothing(bench: Bench) -> None:
    """The API of the cloud is down, its scheduler is not: nobody takes its lease."""
    local, cloud = bench.node("local", "https://ai.example.com"), bench.node("cloud")
    bench.live(2, local, cloud)
    assert local.probe.asked == ["https://ai.example.com/api/health"]
    local.probe.down = {"ai.example.com": "nothing listens"}
    said = bench.live(30, local, cloud)
    assert (local.works, cloud.works) == (False, True)
    assert any("nothing listens; cloud is active, term 1; its lease must lie unchanged" in line for line in said)
    assert local.alerts.titles == ["CRITICAL cloud does not answer"]
    assert local.zones.health()["zones"]["cloud"]["method"] == "http"
    bench.live(12, local)
    assert local.works


def test_the_longer_settings_count_where_two_nodes_differ(bench: Bench) -> None:
    """The Cloud works for 240 s after a renewal; who has set Local to 120 must not make both work."""
    cloud = bench.node("cloud")
    failover = bench.config.failover
    bench.config = replace(bench.config, failover=replace(failover, ttl_seconds=120, interval_seconds=60))
    local = bench.node("local", "https://ai.example.com")
    bench.live(10, cloud, local)
    assert "ttl_seconds is 240 on cloud and 120 on local" in local.zones.trouble()[0]
    cloud.link.down = True
    local.probe.down = {"ai.example.com": "nothing listens"}
    for turn in range(20):
        bench.live(1, cloud, local)
        if turn == 3:
            assert not local.works
    assert (local.works, cloud.works) == (True, False)
    cloud.link.down = False
    cloud.zones.renew()
    assert "ttl_seconds is 120 on local and 240 on cloud" in cloud.zones.trouble()[0]


def test_a_switch_at_the_node_of_the_shorter_ttl_waits_for_the_longer_one(bench: Bench) -> None:
    cloud = bench.node("cloud")
    bench.config = replace(bench.config, failover=replace(bench.config.failover, ttl_seconds=120))
    local = bench.node("local")
    bench.live(3, cloud, local)
    cloud.link.down = True
    local.zones.switch("cloud", reason="it stays there", by="test")  # written by Local, worked under by the Cloud
    local.zones.switch("local", reason="or not", by="test")
    bench.live(10, cloud, local)
    assert (local.works, cloud.works) == (True, False)


def test_a_lease_of_a_version_that_says_no_ttl_counts_as_our_own(bench: Bench) -> None:
    local, cloud = bench.pair()
    assert bench.shared.text is not None
    bench.shared.text = bench.shared.text.replace(', "ttl": 240.0', "")
    assert "ttl" not in bench.shared.text
    assert local.zones.renew() == "cloud is active, term 1"
    assert local.zones.trouble() == []
    bench.live(20, local)
    assert (local.works, cloud.works) == (True, False)


def test_a_beat_that_came_round_while_we_slept_is_not_taken_for_a_dead_holder(bench: Bench) -> None:
    local, cloud = bench.node("local", "https://ai.example.com"), bench.node("cloud")
    local.probe.down = {"ai.example.com": "nothing listens"}
    bench.live(10, local, cloud)
    local.zones.renew()
    seen = bench.shared.text
    for _ in range(BEATS):
        bench.live(1, cloud)
    assert bench.shared.text == seen
    for _ in range(3):
        assert "must lie unchanged" in local.zones.check_and_failover()
    assert (local.works, cloud.works) == (False, True)


def test_a_take_over_that_landed_an_hour_late_begins_nothing_before_the_holder_noticed(bench: Bench) -> None:
    """The cloud slept, its lease was to be taken, the push got lost on its way; the cloud woke up and renewed until the
    value that the push was to replace came round again. Then it arrived."""
    local, cloud = bench.node("local", "https://ai.example.com"), bench.node("cloud")
    local.probe.down = {"ai.example.com": "nothing listens"}
    bench.live(10, local, cloud)
    local.link.late = True
    while not local.link.under_way:
        bench.live(1, local)
    local.link.late = False
    bench.live(BEATS, cloud)
    assert cloud.works and local.link.land()
    for ask in (local.zones.renew, local.zones.check_and_failover, local.zones.renew):
        assert "not answered in time: waiting" in ask()
        assert not local.works
    bench.live(10, cloud, local)
    assert (local.works, cloud.works) == (True, False)


def test_a_node_suspended_between_its_look_and_its_take_over_begins_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It slept for as long as the beats take to come round; the cloud had only been cut off, and works again."""
    local, cloud = bench.node("local", "https://ai.example.com"), bench.node("cloud")
    local.probe.down = {"ai.example.com": "nothing listens"}
    bench.live(10, local, cloud)
    seen, decide = bench.shared.text, lease.decide

    def sleepily(memory: lease.Memory, here: lease.Here, now: float, rules: Failover) -> lease.Step:
        step = decide(memory, here, now, rules)
        if isinstance(step, lease.Push):
            monkeypatch.setattr(lease, "decide", decide)
            bench.live(BEATS, cloud)
            assert bench.shared.text == seen
        return step

    bench.live(4, local)
    monkeypatch.setattr(lease, "decide", sleepily)
    while lease.decide is sleepily:
        bench.live(1, local)
    assert "failover" in str(bench.shared.text)
    assert (local.works, cloud.works) == (False, True), "the cloud has not noticed yet"
    bench.live(10, cloud, local)
    assert (local.works, cloud.works) == (True, False)


def test_a_switch_that_got_no_answer_does_not_happen_an_hour_later(bench: Bench) -> None:
    _, cloud = bench.pair()
    cloud.link.late = True
    with pytest.raises(NotSwitched, match="did not say whether it took the switch"):
        cloud.zones.switch("local", reason="a moment ago", by="test")
    cloud.link.late = False
    for _ in range(2 * BEATS):
        bench.live(1, cloud)
        assert not cloud.link.land()
    assert cloud.works


def test_a_take_over_by_a_process_that_was_killed_over_it_does_not_happen_an_hour_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, cloud = bench.pair()

    class Killed(BaseException):
        pass

    def killed(text: str, expected: str | None) -> str | None:
        cloud.link.under_way.append((text, expected))
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(cloud.link, "push", killed)
        cloud.zones.switch("local", reason="a moment ago", by="test")
    cloud.process().start()
    for _ in range(2 * BEATS):
        bench.live(1, cloud)
        assert not cloud.link.land()
    assert cloud.works


def test_failback_where_it_is_configured(bench: Bench) -> None:
    failover = replace(bench.config.failover, failback=True)
    bench.config = replace(bench.config, failover=failover)
    local, cloud = bench.pair()
    bench.live(20, local)
    assert local.works
    bench.live(12, local, cloud)
    assert (local.works, cloud.works) == (False, True)
    assert "well again" in str(local.zones.status()["reason"])


def test_good_checks_from_before_a_stop_give_nothing_back_to_a_zone_that_is_gone(bench: Bench) -> None:
    bench.config = replace(bench.config, failover=replace(bench.config.failover, failback=True))
    local, cloud = bench.pair()
    local.zones.switch("local", reason="for now", by="test")
    bench.live(12, local, cloud)
    local.zones.switch("local", reason="let failover go on", by="test", pin=False)
    bench.clock.advance(8 * 3600)  # the night; in the morning only Local is switched on
    local.process().start()
    bench.live(30, local)
    assert local.works
    assert local.zones.standing().term == 3


@pytest.mark.parametrize("minutes", [1, 2, 5, 30])
def test_a_passive_zone_that_beats_is_well_however_seldom_it_is_looked_at(minutes: int, bench: Bench) -> None:
    bench.config = replace(bench.config, failover=replace(bench.config.failover, interval_seconds=60 * minutes))
    local, cloud = bench.node("local"), bench.node("cloud")
    for minute in range(6 * minutes):
        for node in (local, cloud):
            node.zones.renew()
            if minute % minutes == 0:
                node.zones.check_and_failover()
        bench.clock.advance(60)
    assert cloud.works
    assert cloud.zones.health()["zones"]["local"]["healthy"] is True
    assert cloud.alerts.titles == ["INFO cloud is the active zone now (term 1)"]


def test_the_first_node_of_two_stands_in_and_says_so_without_a_fright(bench: Bench) -> None:
    local = bench.node("local")
    bench.live(20, local)
    assert local.works
    assert local.alerts.titles == ["WARNING cloud has not come yet", "WARNING local is the active zone now (term 1)"]
    assert "local stands in for it" in local.alerts.told[0][2]


def test_the_hand_over_to_a_zone_that_comes_late_is_no_change_to_and_fro(bench: Bench) -> None:
    """The README's path: Local is set up first. One outage of the Cloud an hour later leaves one failover more."""
    local, cloud = bench.node("local"), bench.node("cloud")
    bench.live(20, local)
    bench.live(12, local, cloud)
    assert cloud.works
    assert local.zones.status()["history"][0]["by"] == "start"
    bench.live(20, local)
    assert (local.works, local.zones.trouble(), local.zones.status()["waits"]) == (True, [], None)
    bench.live(20, cloud)
    assert cloud.works, "and Local may fail too"


def test_that_failback_waits_for_the_limit_is_told_when_it_is_reached(bench: Bench) -> None:
    bench.config = replace(bench.config, failover=Failover(failback=True))
    local, cloud = bench.pair()
    bench.live(16, local)
    bench.live(12, local, cloud)
    assert cloud.works, "failback: the second change"
    reached = "CRITICAL The zones change no more by themselves"
    assert reached in local.alerts.titles, "told while all is well, and not when no zone is active"
    [text] = [text for level, title, text in local.alerts.told if f"{level} {title}" == reached]
    assert "2 times within 60 min: no failover and no failback for" in text
    for node in (local, cloud):
        waits = str(node.zones.status()["waits"])
        assert "no failover and no failback" in waits and waits in node.zones.trouble()[0]
    cloud.zones.switch("cloud", reason="I looked", by="ann", pin=False)
    assert (cloud.zones.status()["waits"], cloud.zones.trouble()) == (None, [])


def test_nobody_is_promised_a_failover_that_the_limit_forbids(bench: Bench) -> None:
    bench.config = replace(bench.config, failover=Failover(failback=True))
    local, cloud = bench.pair()
    bench.live(16, local)
    bench.live(12, local, cloud)
    local.alerts.told.clear()
    bench.live(14, local)
    [text] = [text for _, title, text in local.alerts.told if title == "cloud does not answer"]
    assert "Nobody takes over: the zone changed by itself 2 times" in text and "local takes over" not in text


def test_both_nodes_tell_the_same_time_of_a_change(bench: Bench) -> None:
    local, cloud = bench.pair()
    local.zones.switch("local", reason="now", by="ann")
    made = local.zones.standing().since
    bench.clock.advance(3 * 3600)
    cloud.zones.renew()
    assert cloud.zones.standing().since == local.zones.standing().since == made
    assert cloud.zones.status()["history"][0] == local.zones.status()["history"][0]


def test_a_switch_to_the_zone_that_is_active_tells_of_no_move(bench: Bench) -> None:
    local, _ = bench.pair()
    for pin, words in ((True, "pinned"), (False, "and failover may change it")):
        local.zones.switch("cloud", reason="as it is", by="ann", pin=pin)
        _, title, text = local.alerts.told[-1]
        assert title.startswith(f"cloud stays the active zone, {words} (term ")
        assert "moved" not in text


def test_a_person_s_reason_outlives_a_lease_that_was_lost(bench: Bench) -> None:
    local, cloud = bench.pair()
    local.zones.switch("local", reason="the server moves house", by="ann")
    bench.live(4, local, cloud)
    for _ in range(2):
        bench.shared.text = None
        bench.live(12, local, cloud)
    reason = local.zones.standing().reason
    assert reason.startswith("the server moves house (by ann) (taken up again: ") and reason.count("taken up") == 1
    assert local.zones.standing().pinned


def test_alone_a_switch_to_the_other_zone_warns_that_work_stops(bench: Bench) -> None:
    bench.remote = False
    node = bench.node("local")
    node.zones.switch("cloud", reason="by mistake", by="api")
    assert "nobody does the work" in node.zones.doubt("cloud")
    [(level, _, text)] = node.alerts.told
    assert level == "WARNING" and "nobody does the work of the active zone" in text
    assert node.zones.status()["history"][0]["from"] == "local", "as the answer's `previous` says"


def test_who_watches_for_heartbeats_is_not_asked_whether_the_scheduler_runs(bench: Bench) -> None:
    local = bench.node("local")
    assert "is the scheduler running?" in local.zones.health()["zones"]["cloud"]["error"]
    local.zones.start()
    bench.live(1, local)
    assert "heartbeats are watched" in local.zones.health()["zones"]["cloud"]["error"]
    bench.clock.advance(3600)
    assert "is the scheduler running?" in local.zones.health()["zones"]["cloud"]["error"]


def test_switched_off_failover_leaves_it_to_the_human(bench: Bench) -> None:
    bench.config = replace(bench.config, failover=Failover(enabled=False))
    local, _ = bench.pair()
    bench.live(30, local)
    assert not local.works
    assert "POST /api/zones/switch" in local.alerts.told[0][2]
    local.zones.switch("local", reason="the server burnt down", by="ann")
    bench.live(8, local)
    assert local.works


def test_too_many_changes_freeze_the_zones_until_a_human_switches(bench: Bench) -> None:
    bench.config = replace(bench.config, failover=Failover(window_seconds=1e6))
    local, cloud = bench.pair()
    bench.live(20, local)
    bench.live(20, cloud)
    assert cloud.works
    bench.live(30, local)
    assert (local.works, local.zones.state()) == (False, State.FROZEN)
    assert "CRITICAL The zones are frozen" in local.alerts.titles
    assert "too often" in local.zones.trouble()[0]
    local.zones.switch("local", reason="enough", by="ann")
    bench.live(8, local)
    assert local.works
    local.zones.switch("cloud", reason="it is mended", by="ann", pin=False)
    bench.live(2, cloud, local)
    assert (cloud.works, local.zones.state()) == (True, State.PASSIVE)


def test_after_a_switch_that_lets_failover_go_on_the_next_failure_is_the_first_one(bench: Bench) -> None:
    bench.config = replace(bench.config, failover=Failover(window_seconds=1e6))
    local, cloud = bench.pair()
    bench.live(20, local)
    bench.live(20, cloud)
    cloud.zones.switch("cloud", reason="it is mended", by="ann", pin=False)
    bench.live(10, local, cloud)
    bench.live(20, local)
    assert (local.works, local.zones.trouble()) == (True, [])
    bench.live(20, cloud)
    bench.live(20, local)
    assert local.zones.state() is State.FROZEN, "the count goes on from there"


def test_a_node_that_saw_none_of_the_changes_counts_them_too(bench: Bench) -> None:
    bench.config = replace(bench.config, failover=Failover(window_seconds=1e6))
    local, cloud = bench.pair()
    bench.live(20, local)
    bench.live(20, cloud)
    anew = bench.node("local", name="anew")
    bench.live(10, anew, cloud)
    bench.live(30, anew)
    assert (anew.works, anew.zones.state()) == (False, State.FROZEN)


def test_that_no_zone_is_active_is_told(bench: Bench) -> None:
    """A human chose the cloud, and it is gone: nothing changes by itself, but nobody may think that all is well."""
    local, cloud = bench.pair()
    local.zones.switch("cloud", reason="I prefer it", by="test")
    bench.live(2, local, cloud)
    assert local.zones.trouble() == []
    bench.live(16, local)
    assert local.alerts.titles[-1] == "CRITICAL No zone is active"
    assert "cloud is active, term 2, chosen by a human" in local.alerts.told[-1][2]
    assert "no zone is active" in local.zones.trouble()[0]
    bench.live(2, cloud, local)
    assert local.zones.trouble() == []


def test_a_remote_that_takes_no_lease_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = bench.node("cloud")

    def refuse(text: str, expected: str | None) -> str | None:
        raise AdapterError("the remote refused the lease: only branches here", retry=True)

    monkeypatch.setattr(cloud.link, "push", refuse)
    bench.live(16, cloud)
    assert not cloud.works
    assert cloud.alerts.titles[-1] == "CRITICAL No zone is active"
    assert "only branches here" in cloud.alerts.told[-1][2]


def test_a_log_and_a_picture_that_cant_be_written_keep_nobody_from_work_and_from_news(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    local, _ = bench.pair()
    (local.layout.root / "Logs").mkdir(exist_ok=True)
    (local.layout.root / "Logs" / "zones").write_text("a file where a folder has to be")
    picture = local.layout.signal("local")
    picture.unlink()
    picture.mkdir()
    bench.live(20, local)
    assert local.works
    assert local.alerts.titles[-1] == "CRITICAL local is the active zone now (term 2)"
    local.process().start()
    bench.live(2, local)
    assert local.works
    now, _ = local.zones.switch("local", reason="test", by="test")
    assert now.term == 3
    assert "not logged in the vault" in caplog.text and "can't be painted" in caplog.text


def test_a_passive_zone_that_fails_is_a_warning_only(bench: Bench) -> None:
    _, cloud = bench.pair()
    bench.live(20, cloud)
    assert cloud.works
    assert cloud.alerts.titles == ["INFO cloud is the active zone now (term 1)", "WARNING local does not answer"]


# ------------------------------------------------------------------------------------------------------------ switch


def test_a_switch_is_pinned_counted_remembered_and_told_in_both_zones(bench: Bench) -> None:
    local, cloud = bench.pair()
    now, previous = local.zones.switch("local", reason="the server is being moved", by="api", expected_term=1)
    assert (now.active_zone, now.term, now.pinned, previous) == ("local", 2, True, "cloud")
    assert not local.works, "the cloud has not laid down its work yet"
    cloud.zones.renew()
    local.zones.renew()
    assert (local.works, cloud.works) == (True, False)
    for node in (local, cloud):
        told = node.process().status()
        assert (told["active_zone"], told["term"], told["pinned"]) == ("local", 2, True)
        assert told["history"][0]["reason"] == "the server is being moved (by api)"
        assert told["history"][0]["from"] == "cloud"
    assert cloud.zones.state() is State.PINNED
    assert local.alerts.titles == ["INFO local is the active zone now (term 2)"]
    bench.live(30, cloud)  # local is gone, and a human's switch is never undone
    assert not cloud.works


def test_without_a_pin_failover_goes_on(bench: Bench) -> None:
    local, cloud = bench.pair()
    local.zones.switch("local", reason="for now", by="api", pin=False)
    bench.live(10, local, cloud)
    assert local.works and not local.zones.status()["pinned"]
    bench.live(20, cloud)
    assert cloud.works


@contextmanager
def a_task_in_hand(node: Node) -> Iterator[Callable[[], None]]:
    """Another process of `node` does a task until what is yielded is called; then it asks whether it may go on."""
    begun, finish = threading.Event(), threading.Event()

    def work() -> None:
        zones = node.process()
        with zones.at_work(MAIL) as ours:
            assert ours
            begun.set()
            assert finish.wait(60)
            node.overtaken.append(zones.overtaken())

    worker = threading.Thread(target=work)
    worker.start()
    assert begun.wait(30)

    def end() -> None:
        finish.set()
        worker.join()

    try:
        yield end
    finally:
        end()


def begins_none(node: Node) -> bool:
    with node.process().at_work(MAIL) as ours:
        return not ours


@pytest.mark.parametrize("at", ["local", "cloud"])
def test_the_work_in_hand_is_finished_before_it_is_handed_over(
    at: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a person switches: at the node that works, or at the other one."""
    monkeypatch.setattr("utils.work_zones._DRAIN", 0.1)
    local, cloud = bench.pair()
    with a_task_in_hand(cloud) as end:
        now, previous = (local if at == "local" else cloud).zones.switch("local", reason="now", by="test")
        assert (now.active_zone, now.term, previous) == ("local", 2, "cloud")
        for _ in range(2):
            assert "finishes the work in hand, then local begins" in cloud.zones.renew()
            assert begins_none(cloud), "a new task began while the zone is being handed over"
            local.zones.renew()
            assert not local.works
            bench.clock.advance(60)
        end()
    assert cloud.overtaken == [False]
    assert "has laid down its work" in cloud.zones.renew()
    local.zones.renew()
    assert (local.works, cloud.works) == (True, False)


def test_no_task_begins_while_the_one_in_hand_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    _, cloud = bench.pair()
    hold, seen = locks.hold, []

    def asked_meanwhile(path: Path, *, timeout: float | None = None) -> AbstractContextManager[None]:
        if path.name == "zone_work.lock":
            seen.append(begins_none(cloud))
        return hold(path, timeout=timeout)

    monkeypatch.setattr(locks, "hold", asked_meanwhile)
    cloud.zones.switch("local", reason="now", by="test")
    assert seen == [True]


def test_a_second_switch_at_the_node_that_finishes_its_work_waits_for_it_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("utils.work_zones._DRAIN", 0.1)
    local, cloud = bench.pair()
    with a_task_in_hand(cloud) as end:
        local.zones.switch("local", reason="now", by="test")
        cloud.zones.renew()
        cloud.zones.switch("local", reason="now", by="test", pin=False)
        local.zones.renew()
        assert not local.works
        end()
    cloud.zones.renew()
    local.zones.renew()
    assert local.works


def test_tasks_that_overlap_dont_put_off_a_hand_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("utils.work_zones._DRAIN", 0.1)
    bench.config = replace(bench.config, failover=replace(bench.config.failover, failback=True))
    local, cloud = bench.pair()
    bench.live(20, local)
    with a_task_in_hand(local) as end:
        for _ in range(20):
            said = bench.live(1, local, cloud)
            if any("finishes the work in hand" in line for line in said):
                break
        local.zones.renew()
        assert begins_none(local), "the next task began, and the hand-back waits for it too"
        end()
    bench.live(2, local, cloud)
    assert (local.works, cloud.works) == (False, True)


def test_a_task_that_never_ends_keeps_no_switch_from_happening_and_may_take_no_further_step(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("utils.work_zones._DRAIN", 0.1)
    local, cloud = bench.pair()
    with a_task_in_hand(cloud) as end:
        cloud.zones.switch("local", reason="it hangs", by="test")
        while not local.works:
            assert bench.clock.monotonic() < 2000
            bench.live(1, cloud, local)
        end()
    assert cloud.overtaken == [True]
    bench.live(3, cloud, local)
    assert (local.works, cloud.works) == (True, False)


def test_a_task_whose_claim_beats_after_it_was_overtaken_is_lost(bench: Bench) -> None:
    _, cloud = bench.pair()
    claims = Claims(cloud.layout, cloud.state_dir, bench.clock, "cloud", overtaken=cloud.zones.overtaken)
    meta = {"id": "email-20260601T120000Z-00000001", "type": MAIL, "domain": "email", "priority": "normal"}
    waiting = claims.create(Stage.NEEDS_ACTION, meta, "")
    with cloud.zones.at_work(MAIL) as ours:
        assert ours
        claimed = claims.claim(waiting)
        assert claimed is not None
        claims.beat(claimed)
        bench.clock.advance(240)  # the machine slept, or an engine thought for long
        with pytest.raises(Lost, match="took too long"):
            claims.create(Stage.PENDING_APPROVAL, meta | {"id": "email-20260601T120000Z-00000002"}, "", claimed=claimed)
    with cloud.zones.at_work("system_monitoring") as ours:
        assert ours
        claims.beat(claimed)  # work that needs no lease


def test_who_waited_while_the_zone_was_handed_over_is_not_let_in_after_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, cloud = bench.pair()
    comes, share, answers = threading.Event(), locks.share, []

    def announced(path: Path) -> AbstractContextManager[None]:
        comes.set()
        return share(path)

    def work() -> None:
        with cloud.process().at_work(MAIL) as ours:
            answers.append(ours)

    monkeypatch.setattr(locks, "share", announced)
    worker = threading.Thread(target=work)
    with locks.hold(cloud.state_dir / "locks" / "zone_work.lock"):
        worker.start()
        assert comes.wait(30)
        bench.clock.advance(240)
    worker.join()
    assert answers == [False]


def test_who_switches_twice_in_a_row_waits_for_the_other_zone_all_the_same(bench: Bench) -> None:
    local, cloud = bench.pair()
    for pin in (True, False):
        local.zones.switch("local", reason="now", by="test", pin=pin)
        local.zones.renew()
        assert (local.works, cloud.works) == (False, True), "the cloud has not laid down its work yet"
    cloud.zones.renew()
    local.zones.renew()
    assert (local.works, cloud.works) == (True, False)


def test_the_same_switch_again_changes_nothing_and_tells_nobody(bench: Bench) -> None:
    local, cloud = bench.pair()
    local.zones.switch("local", reason="now", by="ann")
    for node in (local, cloud):
        now, previous = node.zones.switch("local", reason="I said now", by="ann")
        assert (now.active_zone, now.term, previous) == ("local", 2, "local")
        bench.live(3, cloud, local)
    assert local.works
    assert local.alerts.titles == ["INFO local is the active zone now (term 2)"]
    assert local.zones.switch("local", reason="now", by="ann", pin=False)[0].term == 3
    bench.live(20, cloud)
    assert cloud.works
    assert local.zones.switch("local", reason="now", by="ann", pin=False)[0].term == 5, "the zones have changed since"


def test_a_zone_that_waits_before_it_begins_says_for_what(bench: Bench) -> None:
    local, cloud = bench.pair()
    assert (cloud.zones.status()["waits"], local.zones.status()["waits"]) == (None, None)
    local.zones.switch("local", reason="now", by="test")
    bench.clock.advance(100)
    assert local.zones.status()["waits"] == "waiting for cloud to lay down its work (term 2), at most 170 s more"
    bench.live(3, cloud, local)
    assert local.zones.status()["waits"] is None
    (local.state_dir / "zone.json").unlink()
    local.zones.renew()
    bench.clock.advance(30)
    waits = local.zones.status()["waits"]
    assert waits.startswith("another node of the local zone holds the lease (term 2)")
    assert waits.endswith("or this one has lost its state, 240 s more")
    bench.live(8, cloud, local)
    assert (local.works, local.zones.status()["waits"]) == (True, None)


def test_a_switch_to_a_zone_that_does_not_answer_is_doubted(bench: Bench) -> None:
    local, cloud = bench.pair()
    assert (local.zones.doubt("cloud"), local.zones.doubt("local")) == ("", "")
    bench.live(10, local)
    doubt = local.zones.doubt("cloud")
    assert doubt.startswith("cloud does not answer, as seen from local (no heartbeat")
    bench.live(6, local, cloud)
    assert local.zones.doubt("cloud") == ""


def test_only_the_node_that_worked_says_that_it_laid_its_work_down(bench: Bench) -> None:
    """Somebody started a second node of the cloud: it has nothing to lay down, and can't speak for the first."""
    local, cloud = bench.pair()
    second = bench.node("cloud", name="second")
    bench.live(3, local, cloud, second)
    local.zones.switch("local", reason="now", by="test")
    for node in (second, local, second, local):
        node.zones.renew()
    assert (local.works, cloud.works, second.works) == (False, True, False)
    bench.live(2, cloud, local, second)
    assert (local.works, cloud.works, second.works) == (True, False, False)


def copy_of(node: Node) -> Node:
    """A machine that was cloned from that of `node`."""
    twin = node.bench.node(node.here, name="twin")
    shutil.copytree(node.state_dir, twin.state_dir, dirs_exist_ok=True)
    return twin


TWIN = "CRITICAL Another machine works as this cloud node"


def test_a_machine_cloned_a_while_ago_knows_that_its_twin_lives_before_it_works(bench: Bench) -> None:
    local, cloud = bench.pair()
    twin = copy_of(cloud)
    bench.live(5, local, cloud)
    twin.process().start()
    bench.live(20, local, twin, cloud)
    assert (cloud.works, twin.works) == (True, False)
    assert (cloud.alerts.titles.count(TWIN), twin.alerts.titles.count(TWIN)) == (0, 1)
    assert "another node of the cloud zone holds the lease" in twin.zones.trouble()[0]
    assert (cloud.zones.trouble(), local.zones.trouble()) == ([], [])
    bench.live(10, local, twin)  # the other one was stopped
    assert (twin.works, twin.zones.trouble()) == (True, [])


@pytest.mark.parametrize("started", [True, False])
def test_of_two_machines_that_are_the_same_to_the_minute_one_stops_at_its_next_renewal(
    started: bool, bench: Bench
) -> None:
    """Cloned running, or started at once: neither can tell before the other one has renewed."""
    local, cloud = bench.pair()
    twin = copy_of(cloud)
    if started:
        twin.process().start()
    for _ in range(3):
        for node in (cloud, twin):
            node.zones.renew()
        bench.clock.advance(60)
    bench.live(20, local, cloud, twin)
    assert cloud.works != twin.works
    assert (cloud.alerts.titles + twin.alerts.titles).count(TWIN) == 1


def test_what_a_node_did_not_hear_of_its_own_pushes_is_no_twin(bench: Bench) -> None:
    local, cloud = bench.pair()
    for lost in (0, 1, 2):
        cloud.link.late = True
        for _ in range(lost + 1):
            assert "did not answer" in cloud.zones.renew()
        cloud.link.late = False
        del cloud.link.under_way[:lost]  # these never arrive
        assert cloud.link.land()
        cloud.link.under_way.clear()
        cloud.process().start()
        bench.live(2, cloud, local)
        assert cloud.works
    local.zones.switch("cloud", reason="it stays there", by="test")  # in the Cloud's name, by Local
    bench.live(2, cloud, local)
    local.zones.switch("local", reason="not any more", by="test")
    bench.live(3, cloud, local)  # the Cloud says in Local's name that it is done
    assert local.works
    cloud.zones.switch("cloud", reason="again", by="test")
    bench.live(3, cloud, local)
    assert cloud.works
    assert [title for title in cloud.alerts.titles + local.alerts.titles if title.startswith("CRITICAL")] == []


def test_whatever_a_person_gives_as_a_reason_can_be_read_by_the_other_node(bench: Bench) -> None:
    local, cloud = bench.pair()
    local.zones.switch("local", reason="two\nlines \u202e" + "and more " * 500, by="test")
    cloud.zones.check_and_failover()
    assert cloud.zones.status()["term"] == 2
    assert str(cloud.zones.status()["reason"]).startswith("two lines and more")


def test_a_stale_or_impossible_switch_changes_nothing(bench: Bench) -> None:
    local, _ = bench.pair()
    local.zones.switch("local", reason="a", by="test")
    with pytest.raises(StaleTerm) as stale:
        local.zones.switch("cloud", reason="b", by="test", expected_term=1)
    assert stale.value.term == 2
    with pytest.raises(UnknownZone, match="moon"):
        local.zones.switch("moon", reason="c", by="test")
    local.link.down = True
    with pytest.raises(NotSwitched, match="no route"):
        local.zones.switch("cloud", reason="d", by="test")
    assert local.zones.status()["term"] == 2


# ------------------------------------------------------------------------------------------------------------- alone


def test_alone_this_zone_is_active_unless_a_human_says_otherwise(bench: Bench) -> None:
    bench.remote = False
    node = bench.node("local")
    assert node.zones.active_zone() == "local"
    assert node.works
    assert node.zones.check_and_failover().startswith("alone")
    assert node.zones.renew().startswith("alone")
    now, previous = node.zones.switch("cloud", reason="a", by="test", expected_term=0)
    assert (now.active_zone, now.term, previous, node.zones.state()) == ("cloud", 1, "local", State.PINNED)
    assert not node.works
    assert "nobody does the work of the active zone" in node.zones.trouble()[0]
    with pytest.raises(StaleTerm):
        node.zones.switch("local", reason="b", by="test", expected_term=0)
    now, previous = node.process().switch("local", reason=" \u200b ", by="test")
    assert (now.reason, node.zones.trouble()) == ("switched by hand (by test)", [])
    assert (now.active_zone, previous, node.works) == ("local", "cloud", True)
    assert [entry["to"] for entry in node.zones.status()["history"]] == ["local", "cloud"]
    assert node.zones.health()["zones"]["cloud"]["error"] == "not checked: alone: the vault has no git remote"
    assert "nobody does the work" in node.zones.doubt("cloud") and node.zones.doubt("local") == ""
    assert node.link.looks == 0


def test_what_was_decided_alone_is_no_lease_once_there_is_a_remote(bench: Bench) -> None:
    bench.remote = False
    node = bench.node("local")
    node.zones.switch("cloud", reason="a", by="test")
    bench.remote = node.has_remote = True
    cloud = bench.node("cloud")
    bench.live(20, cloud, node)
    assert (node.zones.status()["term"], cloud.works) == (1, True)


@pytest.mark.parametrize("how", ["known", "configured"])
def test_a_node_whose_remote_vanished_is_not_alone(bench: Bench, how: str) -> None:
    node = bench.node("local")
    if how == "known":
        bench.live(30, node)
        assert node.works, "it stood in for the cloud that never came"
        node.has_remote = False
    else:
        node.has_remote, node.wanted = False, True
    again = node.process()
    assert (again.is_alone(), again.state(), again.runs_here(MAIL)) == (False, State.PASSIVE, False)
    assert "lost its git remote" in again.trouble()[0]
    if how == "configured":
        with pytest.raises(NotSwitched, match="VAULT_REMOTE_URL"):
            again.stay_alone()
    else:
        again.stay_alone()
        assert (again.is_alone(), again.runs_here(MAIL), again.trouble()) == (True, True, [])


# -------------------------------------------------------------------------------------------------- told and written


def test_each_change_is_one_line_in_the_log_and_heartbeats_write_nothing(bench: Bench) -> None:
    local, cloud = bench.pair()
    assert [(line["to"], line["by"], line["written_by"]) for line in cloud.log()] == [("cloud", "start", "cloud")]
    assert local.log() == []
    files = {path: path.stat().st_mtime_ns for node in (local, cloud) for path in node.layout.root.rglob("*")}
    bench.live(60, local, cloud)
    after = {path: path.stat().st_mtime_ns for node in (local, cloud) for path in node.layout.root.rglob("*")}
    assert after == files
    assert "**cloud** is the active zone since 2026-06-01T12:00:00Z (term 1)" in cloud.picture
    assert "**cloud** is the active zone" in local.picture
    assert "local is passive" in local.picture
    bench.live(20, local)
    assert [(line["from"], line["to"], line["term"]) for line in local.log()] == [("cloud", "local", 2)]
    assert "**local** is the active zone" in local.picture


def test_a_crash_between_the_log_line_and_its_note_makes_no_second_line(bench: Bench) -> None:
    _, cloud = bench.pair()
    memory = json.loads((cloud.state_dir / "zone.json").read_text())
    memory["memory"]["told"] = 0
    (cloud.state_dir / "zone.json").write_text(json.dumps(memory))
    cloud.zones.check_and_failover()
    assert len(cloud.log()) == 1


def test_an_unmounted_vault_gets_no_folders(bench: Bench) -> None:
    local, _ = bench.pair()
    for path in sorted(local.layout.root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    bench.live(30, local)
    assert local.works
    assert list(local.layout.root.iterdir()) == []


def test_a_rolled_back_remote_is_told_and_put_right(bench: Bench) -> None:
    local, cloud = bench.pair()
    old = bench.shared.text
    bench.live(20, local)
    bench.live(2, local, cloud)
    bench.shared.text = old
    bench.live(1, local)
    assert "CRITICAL The zones' lease is not what it was" in local.alerts.titles
    assert "went back to term 1" in local.zones.trouble()[0]
    bench.live(10, local, cloud)
    assert (local.works, cloud.works, local.zones.trouble()) == (True, False, [])


def test_a_lease_that_a_person_pinned_is_put_back_pinned(bench: Bench) -> None:
    local, cloud = bench.pair()
    local.zones.switch("local", reason="mine", by="ann")
    bench.live(4, local, cloud)
    bench.shared.text = None
    bench.live(10, local, cloud)
    told = cloud.zones.standing()
    assert (local.works, told.term, told.pinned) == (True, 3, True)


def test_a_lease_that_cant_be_read_is_replaced_by_a_person_only(bench: Bench) -> None:
    local, cloud = bench.pair()
    bench.shared.text = "as a newer version writes it"
    bench.live(20, local, cloud)
    assert bench.shared.text == "as a newer version writes it"
    assert not (local.works or cloud.works)
    assert "can't be read" in local.zones.trouble()[0]
    local.zones.switch("local", reason="enough", by="ann")
    bench.live(8, local, cloud)
    assert (local.works, local.zones.trouble()) == (True, [])


def test_a_zone_that_was_not_checked_is_not_called_healthy(bench: Bench) -> None:
    node = bench.node("local")
    assert node.zones.health()["zones"]["cloud"] == {
        "healthy": None,
        "checked_at": None,
        "method": "heartbeat",
        "latency_ms": None,
        "consecutive_failures": 0,
        "error": "not checked yet: is the scheduler running?",
    }
    assert node.zones.health()["zones"]["local"]["healthy"] is True
    assert "can't be judged yet" in node.zones.check_and_failover()
    assert node.zones.health()["zones"]["cloud"]["healthy"] is None
    assert "not asked about the zones lately" not in str(node.zones.trouble())
    bench.clock.advance(3600)
    assert "not asked about the zones lately" in node.zones.trouble()[0]


def test_an_old_check_is_not_told_as_if_it_held_now(bench: Bench) -> None:
    local, _ = bench.pair()
    assert local.zones.health()["zones"]["cloud"]["healthy"] is True
    bench.clock.advance(3600)
    assert local.zones.health()["zones"]["cloud"]["healthy"] is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"active_zone": "moon"}', b"\xff"])
def test_damaged_state_files_are_said_and_survived(
    damage: bytes, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    local, cloud = bench.pair()
    for name in ("zone.json", "zone_health.json"):
        (cloud.state_dir / name).write_bytes(damage)
    assert not cloud.works
    assert "damaged" in caplog.text
    bench.live(20, local, cloud)
    assert local.works != cloud.works
    assert cloud.zones.status()["term"] == local.zones.status()["term"]


def test_many_processes_and_threads_of_a_node_ask_at_once(bench: Bench) -> None:
    local, cloud = bench.pair()
    problems: list[BaseException] = []

    def ask(node: Node) -> None:
        zones = node.process()
        try:
            for _ in range(5):
                zones.renew()
                zones.check_and_failover()
                zones.status()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=ask, args=(node,)) for node in (local, cloud) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert (local.works, cloud.works, cloud.zones.status()["term"]) == (False, True, 1)


# ----------------------------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"ttl_seconds": 100}, "failover: ttl_seconds is 100; it must be 2 to 16 times renew_seconds (60)"),
        ({"ttl_seconds": 961}, "failover: ttl_seconds is 961; it must be 2 to 16 times renew_seconds (60)"),
        (
            {"ttl_seconds": 90_000, "renew_seconds": 9_000},
            "failover: ttl_seconds and margin_seconds are 90030 together; at most 86400 (a day)",
        ),
        ({"threshold": 0}, "failover: threshold is 0; it must be a whole number above 0"),
        ({"most_switches": 1.5}, "failover: most_switches is 1.5; it must be a whole number above 0"),
        ({"margin_seconds": -1}, "failover: margin_seconds is -1; it must be a number above 0"),
        ({"renew_seconds": True}, "failover: renew_seconds is True; it must be a number above 0"),
        ({"failback": "no"}, "failover: failback is 'no'; it must be true or false"),
        ({"ttl": 240}, "failover: unknown key 'ttl'"),
    ],
)
def test_failover_numbers_are_checked(change: dict[str, object], problem: str) -> None:
    raw = json.loads((PROJECT_ROOT / "zones.json").read_text())
    raw["failover"] |= change
    with pytest.raises(InvalidZones) as invalid:
        parse(raw)
    assert invalid.value.problems == [problem]


@pytest.mark.parametrize("action", ["payment", "invoice"])
def test_payments_and_invoices_can_not_be_approved_by_a_move(action: str) -> None:
    raw = json.loads((PROJECT_ROOT / "zones.json").read_text())
    raw["actions"][action]["approve_by"] = "move"
    with pytest.raises(InvalidZones) as invalid:
        parse(raw)
    words = "it must be confirm: payments and invoices always ask"
    assert invalid.value.problems == [f"actions: {action}.approve_by is 'move'; {words}"]


@pytest.mark.parametrize("hours", [1e9, float("inf"), 8785, 0, -1, True, "24"])
def test_how_long_a_request_lives_is_a_year_at_most(hours: object) -> None:
    raw = json.loads((PROJECT_ROOT / "zones.json").read_text())
    raw["actions"]["send_email"]["expires_hours"] = hours
    with pytest.raises(InvalidZones) as invalid:
        parse(raw)
    words = "it must be a number above 0, at most 8784 (a year)"
    assert invalid.value.problems == [f"actions: send_email.expires_hours is {hours!r}; {words}"]


def test_failover_has_defaults_and_the_file_says_them_all() -> None:
    raw = json.loads((PROJECT_ROOT / "zones.json").read_text())
    assert parse(raw).failover == Failover()
    assert set(raw["failover"]) == set(vars(Failover()))
    raw["failover"] = {}
    assert parse(raw).failover == Failover()


def test_the_page_on_zones_lists_the_numbers_as_they_are() -> None:
    table = re.findall(r"(?m)^\| `(\w+)` \| `?([\w.]+)`? \|", (PROJECT_ROOT / "docs" / "zones.md").read_text())
    told = {name: value for name, value in table if hasattr(Failover(), name)}
    assert told == {name: str(value).lower() for name, value in vars(Failover()).items()}


def test_the_names_of_the_mission_document_work_from_the_environment(
    make_node: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from utils import work_zones

    for name, value in {
        "ENV_FILE": "",
        "STATE_DIR": str(tmp_path / "state"),
        "VAULT_PATH": str(tmp_path / "vault"),
    }.items():
        monkeypatch.setenv(name, value)
    assert work_zones.resolve_zone("payments") == "local"
    assert work_zones.resolve_zone("email_processing") == "local"  # no remote: alone
    assert work_zones.check_and_failover().startswith("alone")
