"""What a node knows of the lease outlives its processes, but times of one boot mean nothing in the next."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.core.lease import (
    By,
    Here,
    Lease,
    Memory,
    Push,
    Sight,
    State,
    decide,
    lease_from_text,
    observed,
    plain,
    state,
    switch,
)
from utils.core.zones import Failover
from utils.lease.memory import MemoryFile
from utils.lease.trouble import found

LOCAL = Here("local", "cloud")
LEASE = Lease(3, "local", "n1", By.FAILOVER, "cloud failed", "n1", "x", 5, switches=1)
KNOWN = Memory(
    "n1", "x", LEASE, "sha", first_seen=900, last_seen=990, term_seen=800, confirmed=3, renewed=990, deadline=1230,
    switches=(800.0,), told=3,
    history=({"at": "2026-06-01T12:00:00Z", "from": "cloud", "to": "local", "term": 3, "reason": "cloud failed",
              "by": "failover", "pinned": False, "ours": True},),
)  # fmt: skip


def test_what_was_saved_is_read_again_by_another_process(tmp_path: Path) -> None:
    MemoryFile(tmp_path / "zone.json", lambda: 1000, lambda: "boot").save(KNOWN)
    again = MemoryFile(tmp_path / "zone.json", lambda: 1001, lambda: "boot").load()
    assert again == KNOWN
    assert state(again, LOCAL, 1001) is State.ACTIVE
    assert state(again, LOCAL, 1230) is State.UNSURE
    assert (tmp_path / "zone.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("boot", "now"), [("another", 5000.0), ("boot", 20.0)])
def test_after_a_reboot_nothing_is_worked_before_the_remote_was_asked(tmp_path: Path, boot: str, now: float) -> None:
    MemoryFile(tmp_path / "zone.json", lambda: 1000, lambda: "boot").save(KNOWN)
    again = MemoryFile(tmp_path / "zone.json", lambda: now, lambda: boot).load()
    assert state(again, LOCAL, now) is State.PASSIVE
    assert (again.known, again.confirmed, again.switches) == (LEASE, 3, (now,))


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b'{"boot": "boot", "memory": {}}', b"\xff"])
def test_a_damaged_memory_is_said_and_knows_nothing(
    damage: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "zone.json").write_bytes(damage)
    file = MemoryFile(tmp_path / "zone.json", lambda: 1000, lambda: "boot")
    assert file.load() == Memory()
    assert "damaged" in caplog.text
    named = file.save(Memory())
    assert named.node and named.nonce and file.load() == named


@pytest.mark.parametrize(
    "odd",
    [
        {name: wrong}
        for name in vars(KNOWN)
        for wrong in ("x y", 7, True, None, float("nan"), [], ["x"], [{}], {}, {"a": 1})
    ],
    ids=repr,
)
def test_a_memory_of_wrong_types_breaks_nothing(odd: dict[str, Any], tmp_path: Path) -> None:
    """Valid JSON, as a person may leave it: known for damaged, or as good as any other."""
    file = MemoryFile(tmp_path / "zone.json", lambda: 1000, lambda: "boot")
    file.save(KNOWN)
    raw = json.loads((tmp_path / "zone.json").read_bytes())
    raw["memory"] |= odd
    (tmp_path / "zone.json").write_text(json.dumps(raw))
    memory = file.save(file.load())
    for sight in (Sight("sha", LEASE.to_text(), {"cloud": "b"}), Sight("new", replace(LEASE, term=4).to_text())):
        seen = observed(memory, sight, LOCAL, 1000, Failover(), "2026-06-01T12:00:00Z")
        for step in (
            decide(seen, LOCAL, 1001, Failover()),
            switch(seen, LOCAL, "local", "x", 1001, Failover(), pin=True),
        ):
            assert not isinstance(step, Push) or lease_from_text(step.lease.to_text()) == step.lease
        assert isinstance(state(seen, LOCAL, 1001), State)
        assert found(seen, State.PASSIVE, "local", 1001, Failover()) is not None
        assert all(entry["to"] for entry in seen.history)
        assert file.save(seen) == file.load()


@pytest.mark.parametrize("odd", [{"to": 7}, {"by": "moon"}, {"term": "3"}, {"reason": None}])
def test_a_history_that_cant_be_told_is_damage(odd: dict[str, Any], tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "zone.json", lambda: 1000, lambda: "boot")
    file.save(replace(KNOWN, history=({**KNOWN.history[0], **odd},)))
    assert file.load() == Memory()


def test_a_lease_is_the_same_after_it_was_text() -> None:
    odd = replace(LEASE, reason='Umzug: "10:30" – {} 🐙', pinned=True, leaving="cloud", leaving_node="n2")
    assert lease_from_text(odd.to_text()) == odd


@given(
    st.text()
    | st.sampled_from((LEASE.to_text()[:-3], "x\n\n[]", "x\n\n7", "x\n\n" + "[" * 7000, 'x\n\n{"term": true}'))
)
def test_what_is_no_lease_is_refused_and_known_for_it(text: str) -> None:
    with pytest.raises(ValueError):
        lease_from_text(text)
    seen = observed(KNOWN, Sight("other", text), LOCAL, 1000, Failover())
    assert seen.known == LEASE
    assert "can't be read" in seen.astray


@pytest.mark.parametrize(
    "reason", ["two\nlines", "# \u202eruof mret", "\u200bhidden", " padded", "tab\there", "long" * 300, "long " * 3000]
)
def test_a_reason_from_the_remote_that_people_would_misread_is_refused(reason: str) -> None:
    with pytest.raises(ValueError):
        lease_from_text(replace(LEASE, reason=reason).to_text())
    assert lease_from_text(replace(LEASE, reason=plain(reason)).to_text()).reason == plain(reason)


@pytest.mark.parametrize(
    "odd",
    [
        {"node": "\ud800"},
        {"leaving_node": "a\n\nb"},
        {"nonce": "n" * 65},
        {"writer": "é"},
        {"term": 10**4299},
        {"ttl": 1e9},
        {"ttl": -1.0},
        {"ttl": float("nan")},
        {"ttl": 240},
    ],
)
def test_a_lease_that_could_not_be_written_again_is_refused(odd: dict[str, Any]) -> None:
    """Its names and its term go into the next lease: a text that git can't keep, a number that can't be counted on."""
    raw = json.loads(LEASE.to_text().partition("\n\n")[2]) | odd
    with pytest.raises(ValueError):
        lease_from_text(f"forged\n\n{json.dumps(raw)}\n")


def test_a_lease_that_claims_a_billion_changes_costs_nothing() -> None:
    claimed = replace(LEASE, term=4, holder="cloud", node="n2", switches=10**9)
    seen = observed(KNOWN, Sight("other", claimed.to_text()), LOCAL, 1000, Failover())
    assert len(seen.switches) <= Failover().most_switches + 1
    assert state(seen, LOCAL, 1000) is State.PASSIVE
