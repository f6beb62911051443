"""Zones: which is active, what routes where, the human's switch, and watching the other zone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import FakeClock
from tests.fakes.watch import AlertNotes, FakeProbe
from utils.core.routing import LOCAL_ONLY_TYPES, TASK_TYPES, Rule, resolve
from utils.core.zones import ZonesConfig, parse
from utils.settings import PROJECT_ROOT
from utils.work_zones import StaleTerm, UnknownZone, WorkZones


@pytest.fixture
def config() -> ZonesConfig:
    return parse(json.loads((PROJECT_ROOT / "zones.json").read_text()))


class Bench:
    """Zones of one node with everything around them in the test's hands."""

    def __init__(self, folder: Path, config: ZonesConfig, clock: FakeClock) -> None:
        self.folder, self.config, self.clock = folder, config, clock
        self.probe, self.alerts, self.alone = FakeProbe(), AlertNotes(), False

    def zones(self, here: str = "local", **urls: str) -> WorkZones:
        return WorkZones(
            self.config,
            this_zone=here,
            mode="full",
            state_dir=self.folder / here,
            clock=self.clock,
            alone=lambda: self.alone,
            alert=self.alerts,
            probe=lambda: self.probe,
            urls=urls,
            timeout=1,
        )


@pytest.fixture
def bench(tmp_path: Path, config: ZonesConfig, clock: FakeClock) -> Bench:
    return Bench(tmp_path, config, clock)


def test_routing_of_the_mission_documents_eight_types(bench: Bench) -> None:
    zones = bench.zones()
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
    assert {task_type: zones.resolve_zone(task_type) for task_type in TASK_TYPES} == expected
    zones.switch("local", reason="test", by="test")
    assert {zones.resolve_zone(t) for t in ("email_processing", "social_media", "accounting")} == {"local"}
    assert zones.resolve_zone("system_monitoring") == "both"


def test_local_only_work_never_resolves_to_the_cloud(bench: Bench) -> None:
    cloud = bench.zones("cloud")
    for active in ("cloud", "local"):
        cloud.switch(active, reason="test", by="test")
        for task_type in (*LOCAL_ONLY_TYPES, "something_new"):
            assert cloud.resolve_zone(task_type) == "local"
            assert not cloud.runs_here(task_type)


def test_a_routing_table_that_says_otherwise_changes_nothing_for_local_only_types() -> None:
    """The settings refuse such a table; the decision does not rely on that."""
    table = dict.fromkeys(TASK_TYPES, Rule.ACTIVE) | {"payments": Rule.BOTH}
    assert {resolve(task_type, table, "cloud") for task_type in (*LOCAL_ONLY_TYPES, "unknown")} == {"local"}


def test_a_switch_is_pinned_counted_remembered_and_told(bench: Bench) -> None:
    zones = bench.zones()
    before = zones.status()
    assert (before["active_zone"], before["term"], before["pinned"]) == ("cloud", 0, False)
    bench.clock.advance(60)
    state, previous = zones.switch("local", reason="the server is being moved", by="api", expected_term=0)
    assert (state.active_zone, state.term, state.pinned, previous) == ("local", 1, True, "cloud")
    again = bench.zones().status()  # another process
    assert (again["active_zone"], again["term"], again["since"]) == ("local", 1, "2026-06-01T12:01:00Z")
    assert again["history"][0]["from"] == "cloud"
    assert again["history"][0]["reason"] == "the server is being moved (by api)"
    assert bench.alerts.titles == ["INFO local is the active zone now"]


def test_a_stale_or_impossible_switch_changes_nothing(bench: Bench) -> None:
    zones = bench.zones()
    zones.switch("local", reason="a", by="test")
    with pytest.raises(StaleTerm) as stale:
        zones.switch("cloud", reason="b", by="test", expected_term=0)
    assert stale.value.term == 1
    with pytest.raises(UnknownZone, match="moon"):
        zones.switch("moon", reason="c", by="test")
    assert zones.status()["term"] == 1


def test_alone_this_zone_is_active_unless_a_human_says_otherwise(bench: Bench) -> None:
    bench.alone = True
    zones = bench.zones("local")
    assert zones.active_zone() == "local"
    assert zones.runs_here("email_processing")
    assert zones.check_and_failover().startswith("alone")
    state, previous = zones.switch("cloud", reason="a", by="test")
    assert (state.active_zone, previous, zones.active_zone()) == ("cloud", "local", "cloud")
    zones.switch("local", reason="back", by="test")
    assert zones.runs_here("email_processing")


def test_the_other_zone_is_watched_and_its_failure_told_once(bench: Bench) -> None:
    zones = bench.zones("local", cloud="https://ai.example.com")
    assert zones.check_and_failover() == "cloud is healthy"
    assert bench.probe.asked == ["https://ai.example.com/api/health"]
    bench.probe.down = {"ai.example.com": "nothing listens"}
    for count in (1, 2):
        bench.clock.advance(120)
        assert f"cloud fails ({count} in a row, threshold 3)" in zones.check_and_failover()
        assert not bench.alerts.told
    bench.clock.advance(120)
    assert "POST /api/zones/switch" in bench.zones("local", cloud="https://ai.example.com").check_and_failover()
    zones.check_and_failover()
    assert bench.alerts.titles == ["CRITICAL cloud does not answer"]
    assert "switch by hand" in bench.alerts.told[0][2]
    assert zones.active_zone() == "cloud"  # no automatic switch without the lease
    assert zones.health()["zones"]["cloud"]["consecutive_failures"] == 4
    assert zones.health()["zones"]["cloud"]["healthy"] is False
    bench.probe.down = {}
    zones.check_and_failover()
    assert bench.alerts.titles[1:] == ["INFO cloud is back"]


def test_a_passive_zone_that_fails_is_a_warning_only(bench: Bench) -> None:
    zones = bench.zones("cloud", local="http://10.0.0.2:9000")
    bench.probe.down = {"10.0.0.2": "no answer"}
    for _ in range(4):
        zones.check_and_failover()
    assert bench.alerts.titles == ["WARNING local does not answer"]


def test_a_zone_without_a_url_is_not_called_healthy(bench: Bench) -> None:
    zones = bench.zones("local", cloud="")
    assert zones.check_and_failover() == "cloud is not checked: set CLOUD_API_URL"
    seen = zones.health()["zones"]
    assert seen["cloud"] == {
        "healthy": None,
        "checked_at": None,
        "method": "heartbeat",
        "latency_ms": None,
        "consecutive_failures": 0,
        "error": "no URL: set CLOUD_API_URL; heartbeats are not built yet",
    }
    assert seen["local"]["healthy"] is True


def test_an_old_check_is_not_told_as_if_it_held_now(bench: Bench) -> None:
    zones = bench.zones("local", cloud="https://ai.example.com")
    assert zones.health()["zones"]["cloud"]["error"] == "not checked yet: is the scheduler running?"
    zones.check_and_failover()
    assert zones.health()["zones"]["cloud"]["healthy"] is True
    bench.clock.advance(3600)
    assert zones.health()["zones"]["cloud"]["healthy"] is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"active_zone": "moon"}', b"\xff"])
def test_a_damaged_state_file_is_said_and_survived(
    damage: bytes, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    zones = bench.zones("local", cloud="https://ai.example.com")
    for name in ("zone.json", "zone_health.json"):
        (bench.folder / "local").mkdir(exist_ok=True)
        (bench.folder / "local" / name).write_bytes(damage)
    assert zones.active_zone() == "cloud"
    assert "damaged" in caplog.text
    zones.check_and_failover()
    zones.switch("local", reason="a", by="test")
    assert zones.active_zone() == "local"


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
