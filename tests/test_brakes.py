"""What holds an approved action back: the kill switch, the undo window, caps, quiet hours. Nothing is lost by it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.server.mcpserver.exceptions import ToolError

from mcp_servers import acting
from scripts import doctor
from tests.api_client import Api
from tests.conftest import FakeClock
from tests.fakes.desk import ANN, Desk, World, sha
from tests.test_acting import TwoSteps
from utils.bootstrap import Services
from utils.core import zones
from utils.core.brakes import Act, Brakes, QuietHours, hold
from utils.daemon import Stop
from utils.execution.approvals import AlreadyActed, NotFound, NotHere
from utils.execution.brakes import stands_still
from utils.execution.executor import acting_lock
from utils.execution.journal import ActionRecord, State
from utils.settings import PROJECT_ROOT
from utils.vault import locks
from Watchers.approval_watcher import ApprovalWatcher

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = QuietHours(time(22), time(7), BERLIN)


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World())


def approved(desk: Desk, key: str = "mail 1", **fields: object) -> ActionRecord:
    path = desk.request(key, **fields)
    return desk.approvals.approve(path.stem, sha(path), by="anna")


def state(desk: Desk, record: ActionRecord) -> State:
    found = desk.store.get(record.action_id)
    assert found is not None
    return found.state


# The kill switch


def test_while_stop_is_there_nothing_is_carried_out_and_then_all_of_it_is(desk: Desk) -> None:
    record = approved(desk)
    (desk.node.settings.state_dir / "STOP").touch()
    assert desk.cycle() == "stopped 1" and desk.world.calls == 0
    desk.restart()
    assert desk.cycle() == "stopped 1" and desk.world.calls == 0
    (desk.node.settings.state_dir / "STOP").unlink()
    assert desk.cycle() == "sent 1" and state(desk, record) is State.DONE


def pulled_before_the_call(desk: Desk) -> None:
    call = desk.tools.call

    def pull_and_call(server: str, tool: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        desk.node.brakes.stop("something is wrong")
        return call(server, tool, arguments)

    desk.tools.call = pull_and_call  # type: ignore[method-assign]


@pytest.mark.parametrize("action", ["reply_email", "payment"])  # a payment is never tried a second time
def test_what_the_server_is_stopped_from_waits_and_no_attempt_is_counted(
    make_node: Callable[..., Services], clock: FakeClock, action: str
) -> None:
    """Somebody pulls the kill switch between the executor's look and the server's act."""
    desk = Desk(make_node, clock, World(), hand=TwoSteps)
    bill = {"payee": "ACME", "amount": "10.00", "currency": "EUR", "reference": "R1", "in_reply_to": None}
    record = approved(desk, action=action, **(bill if action == "payment" else {}))
    pulled_before_the_call(desk)
    assert desk.cycle() == "stopped 1" and desk.cycle() == "stopped 1"
    waiting = desk.store.get(record.action_id)
    assert waiting is not None and waiting.state is State.APPROVED and waiting.attempts == 0
    assert waiting.token is None and waiting.next_try_at is None
    desk.restart()
    assert desk.node.brakes.go() and not desk.node.brakes.go()
    assert desk.cycle() in ("sent 1", "executed 1") and state(desk, record) is State.DONE


def test_the_kill_switch_stops_a_server_that_waited_for_the_one_before(desk: Desk) -> None:
    record = approved(desk)
    sending = desk.store.begin(record)
    assert sending is not None
    server = acting.Desk(desk.node)
    with ThreadPoolExecutor(1) as pool:
        with locks.hold(acting_lock(desk.node.settings.state_dir)):
            call = pool.submit(server.act, "reply_email", record.action_id)
            desk.node.brakes.stop("something is wrong")
        with pytest.raises(ToolError, match="something is wrong"):
            call.result()
    assert desk.world.calls == 0
    assert desk.cycle() == "stopped 1" and desk.node.brakes.go()
    assert desk.cycle() == "sent 1"


def test_a_kill_switch_that_cannot_be_read_counts_as_pulled(desk: Desk) -> None:
    approved(desk)
    (desk.node.settings.state_dir / "STOP").mkdir()
    assert desk.cycle() == "stopped 1" and desk.world.calls == 0


def test_a_kill_switch_that_is_a_folder_says_what_to_remove(make_node: Callable[..., Services]) -> None:
    node = make_node("local")
    api, stop = Api(node), node.settings.state_dir / "STOP"
    stop.mkdir(parents=True)
    for method, body in (("POST", {"reason": "x"}), ("DELETE", None)):
        assert f"remove {stop} by hand" in api.refused(409, method, "/api/stop", json=body)["detail"]
    assert api.get("/api/stop")["stopped"] is True
    stop.rmdir()
    assert api.post("/api/stop", reason="x")["stopped"] is True


def test_a_kill_switch_that_leads_nowhere_is_pulled(desk: Desk) -> None:
    approved(desk)
    (desk.node.settings.state_dir / "STOP").symlink_to("/nonexistent/file")
    assert desk.cycle() == "stopped 1" and desk.world.calls == 0
    assert desk.node.brakes.go() and desk.cycle() == "sent 1"


def test_an_action_cut_off_before_the_stop_is_still_concluded(desk: Desk) -> None:
    record = approved(desk)
    sending = desk.store.begin(record)
    assert sending is not None and desk.store.consume(sending, "<m@x>", (ANN,))
    desk.node.brakes.stop("")
    assert desk.cycle() == "unknown 1" and state(desk, record) is State.UNKNOWN


# The undo window


def test_an_approval_can_be_taken_back_while_the_window_is_open(
    make_node: Callable[..., Services], clock: FakeClock
) -> None:
    desk = Desk(make_node, clock, World(), UNDO_SECONDS="10")
    record = approved(desk)
    assert desk.cycle() == "can be taken back 1" and desk.world.calls == 0
    assert desk.alerts == [] and desk.places(f"{record.request_id}.reason.md") == []
    desk.clock.advance(9)
    assert desk.cycle() == "can be taken back 1"
    assert desk.executor.cancel(record.action_id, by="anna").state is State.VOID
    assert desk.places(f"{record.request_id}.md") == ["Pending_Approval/email"]
    assert "taken back by anna" in (desk.approvals.get(record.request_id).reason or "")
    desk.clock.advance(60)
    assert desk.cycle() == "idle" and desk.world.calls == 0
    again = desk.approvals.approve(record.request_id, desk.approvals.get(record.request_id).sha256, by="anna")
    desk.clock.advance(10)
    assert desk.cycle() == "sent 1" and state(desk, again) is State.DONE
    with pytest.raises(AlreadyActed, match="too late"):
        desk.executor.cancel(again.action_id, by="anna")
    with pytest.raises(NotFound):
        desk.executor.cancel("0" * 32, by="anna")


def test_what_is_being_sent_cannot_be_taken_back(desk: Desk) -> None:
    record = approved(desk)
    assert desk.store.begin(record) is not None
    with pytest.raises(AlreadyActed, match="sending"):
        desk.executor.cancel(record.action_id, by="anna")
    assert state(desk, record) is State.SENDING


@pytest.mark.parametrize("hours", [1, 72])
def test_after_the_clock_was_set_back_nothing_waits_for_hours(
    make_node: Callable[..., Services], clock: FakeClock, hours: int
) -> None:
    desk = Desk(make_node, clock, World(), UNDO_SECONDS="10")
    record = approved(desk)
    desk.clock.advance(-hours * 3600)
    assert desk.node.brakes.undo_seconds(record) == 0 and desk.node.brakes.next_look(desk.clock.now()) is None
    assert desk.cycle() == "back to pending 1", "and an approval of a time to come counts no more"


def test_what_was_sent_by_a_clock_that_was_ahead_fills_no_cap(desk: Desk) -> None:
    desk.limits = Brakes(per_hour=1)
    desk.restart()
    desk.clock.advance(365 * 86400)
    approved(desk, "ahead")
    assert desk.cycle() == "sent 1"
    desk.clock.advance(-365 * 86400)
    approved(desk, "set right")
    assert desk.cycle() == "sent 1"
    approved(desk, "one too many")
    assert desk.cycle() == "over a cap 1"


def test_an_approval_from_a_clock_that_was_ahead_asks_again(desk: Desk) -> None:
    """It was to count for a day, and would have for a year."""
    desk.node.brakes.stop("wait")
    desk.clock.advance(365 * 86400)
    record = approved(desk)
    desk.clock.advance(-365 * 86400)
    assert desk.cycle() == "back to pending 1"
    (note,) = desk.vault.glob(f"Pending_Approval/**/{record.request_id}.reason.md")
    assert "a time that has not come yet" in note.read_text()
    desk.clock.advance(60 * 86400)
    assert desk.node.brakes.go() and desk.cycle() == "idle" and desk.world.calls == 0


def test_a_clock_set_back_by_a_moment_takes_nobodys_undo_window_away() -> None:
    limits: dict[str, Any] = {"undo": timedelta(seconds=10), "brakes": Brakes(), "acts": []}
    held = hold("send_email", (), NOON + timedelta(seconds=2), NOON, **limits)
    assert held is not None and held.until == NOON + timedelta(seconds=12)


class Waits(Stop):
    """Remembers how long somebody would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, seconds: float) -> None:
        self.seconds.append(seconds)


def test_the_watcher_looks_again_when_the_window_ends(make_node: Callable[..., Services], clock: FakeClock) -> None:
    desk = Desk(make_node, clock, World(), UNDO_SECONDS="10")
    watcher, waits = ApprovalWatcher(desk.node), Waits()
    watcher.run_cycle(clock.now())
    watcher.wait(30, waits)
    approved(desk)
    clock.advance(4)
    watcher.run_cycle(clock.now())
    watcher.wait(30, waits)
    assert waits.seconds == [30, 6]


def test_a_window_that_ended_while_a_cycle_ran_is_not_forgotten(
    make_node: Callable[..., Services], clock: FakeClock
) -> None:
    desk = Desk(make_node, clock, World(), UNDO_SECONDS="10")
    watcher, waits = ApprovalWatcher(desk.node), Waits()
    approved(desk)
    watcher.run_cycle(clock.now())
    clock.advance(11)  # so long the cycle took
    watcher.wait(30, waits)
    watcher.run_cycle(clock.now())
    watcher.wait(30, waits)
    assert waits.seconds == [-1, 30]


def test_the_watcher_looks_again_when_a_try_is_due(make_node: Callable[..., Services], clock: FakeClock) -> None:
    desk = Desk(make_node, clock, World(), UNDO_SECONDS="0")
    watcher, waits = ApprovalWatcher(desk.node), Waits()
    record = approved(desk)
    assert desk.store.begin(record) is not None
    sending = desk.store.get(record.action_id)
    assert sending is not None and desk.store.retry_at(sending, clock.now() + timedelta(seconds=12), "greylisted")
    watcher.run_cycle(clock.now())
    clock.advance(2)
    watcher.wait(30, waits)
    assert waits.seconds == [10]


# Caps


def test_a_cap_of_an_hour_queues_says_so_once_and_goes_on_by_itself(desk: Desk) -> None:
    desk.limits = Brakes(per_hour=2)
    desk.restart()
    records = [approved(desk, f"mail {number}") for number in range(3)]
    assert sorted(desk.cycle().split(", ")) == ["over a cap 1", "sent 2"]
    assert desk.cycle() == "over a cap 1" and desk.world.calls == 2
    assert [level for level, _, _ in desk.alerts] == ["INFO"] and "2 an hour" in desk.alerts[0][2]
    (late,) = [record for record in records if state(desk, record) is State.APPROVED]
    note = desk.vault / "Approved" / f"{late.request_id}.reason.md"
    assert "cap of 2 an hour" in note.read_text() and "2026-06-01T13:00:00Z" in note.read_text()
    desk.clock.advance(3600)
    assert desk.cycle() == "sent 1" and state(desk, late) is State.DONE
    assert not note.exists() and len(desk.alerts) == 1


def test_a_recipient_has_a_cap_of_its_own(desk: Desk) -> None:
    desk.limits = Brakes(per_recipient_per_day=1)
    desk.restart()
    approved(desk, "mail 1")
    approved(desk, "mail 2", cc=[ANN.upper()], to=["bob@example.org"])
    approved(desk, "mail 3", to=["carl@example.org"])
    assert sorted(desk.cycle().split(", ")) == ["over a cap 1", "sent 2"]
    everybody = [address.lower() for mail in desk.world.ledger for address in mail.recipients]
    assert everybody.count(ANN) == 1 and "carl@example.org" in everybody


def test_capital_letters_do_not_get_past_the_cap_of_a_recipient(desk: Desk) -> None:
    desk.limits = Brakes(per_recipient_per_day=1)
    desk.restart()
    for key in ("mail 1", "mail 2", "mail 3"):
        approved(desk, key, to=["Ann@Example.org"])
    assert sorted(desk.cycle().split(", ")) == ["over a cap 2", "sent 1"]


def test_an_unknown_outcome_counts_and_a_refusal_does_not(desk: Desk) -> None:
    from utils.ports import AdapterError, OutcomeUnknown

    desk.limits = Brakes(per_day=1)
    desk.restart()
    approved(desk, "mail 1")
    desk.world.trouble = [AdapterError("550 no", retry=False)]
    assert desk.cycle() == "failed 1"
    approved(desk, "mail 2")
    desk.world.lost_answers = [OutcomeUnknown("cut off")]
    assert desk.cycle() == "unknown 1"
    approved(desk, "mail 3")
    assert sorted(desk.cycle().split(", ")) == ["over a cap 1", "unknown 1"]


def test_an_approval_that_expires_while_it_waits_asks_again(desk: Desk) -> None:
    desk.limits = Brakes(per_day=0)
    desk.restart()
    record = approved(desk)
    assert desk.cycle() == "over a cap 1"
    desk.clock.advance(24 * 3600)
    assert desk.cycle() == "back to pending 1" and state(desk, record) is State.VOID
    assert desk.world.calls == 0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 40 * 3600),
            st.sampled_from(["send_email", "payment"]),
            st.frozensets(st.sampled_from("abc"), max_size=2),
        ),
        max_size=60,
    ),
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(1, 2),
)
def test_no_window_ever_holds_more_than_its_cap(wishes, per_hour, per_day, per_recipient, payments) -> None:
    """Wishes arrive; each is tried at its time and then whenever its hold says. Every window is counted afterwards."""
    limits = Brakes(per_hour, per_day, per_recipient, per_action_per_day={"payment": payments})
    acts: list[Act] = []
    queue = sorted((NOON + timedelta(seconds=at), number) for number, (at, _, _) in enumerate(wishes))
    while queue:
        now, number = queue.pop(0)
        _, action, people = wishes[number]
        recent = [act for act in acts if act.at >= now - timedelta(days=1)]
        held = hold(action, people, now, now, undo=timedelta(0), brakes=limits, acts=recent)
        if held is None:
            acts.append(Act(action, people, now))
        else:
            assert held.until is not None and held.until > now  # it goes on, and not in an endless round
            queue = sorted([*queue, (held.until, number)])
    assert len(acts) == len(wishes)
    for act in acts:
        hour = [one for one in acts if act.at - timedelta(hours=1) < one.at <= act.at]
        day = [one for one in acts if act.at - timedelta(days=1) < one.at <= act.at]
        assert len(hour) <= per_hour and len(day) <= per_day
        assert sum(one.action == "payment" for one in day) <= payments
        assert all(sum(who in one.recipients for one in day) <= per_recipient for who in act.recipients)


# Quiet hours


@pytest.mark.parametrize(
    ("quiet", "now", "end"),
    [
        (NIGHT, "2026-06-01T19:59:59+00:00", None),
        (NIGHT, "2026-06-01T20:00:00+00:00", "2026-06-02T07:00:00+02:00"),
        (NIGHT, "2026-06-02T04:59:59+00:00", "2026-06-02T07:00:00+02:00"),
        (NIGHT, "2026-06-02T05:00:00+00:00", None),
        # The clocks go back in this night, and forward in the next: the wall clock counts.
        (NIGHT, "2026-10-24T21:00:00+00:00", "2026-10-25T07:00:00+01:00"),
        (NIGHT, "2026-03-28T22:00:00+00:00", "2026-03-29T07:00:00+02:00"),
        (QuietHours(time(12), time(14), BERLIN), "2026-06-01T11:00:00+00:00", "2026-06-01T14:00:00+02:00"),
        (QuietHours(time(12), time(14), BERLIN), "2026-06-01T12:00:00+00:00", None),
    ],
)
def test_quiet_hours_end_by_the_wall_clock(quiet: QuietHours, now: str, end: str | None) -> None:
    assert quiet.end(datetime.fromisoformat(now)) == (datetime.fromisoformat(end) if end else None)


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)), st.times(), st.times())
def test_quiet_hours_end_within_a_day_and_are_over_then(naive: datetime, begins: time, ends: time) -> None:
    if begins == ends:
        return
    now = naive.replace(tzinfo=UTC)
    quiet = QuietHours(begins.replace(microsecond=0), ends.replace(microsecond=0), BERLIN)
    end = quiet.end(now)
    if end is not None and quiet.begins != quiet.ends:
        assert now < end <= now + timedelta(hours=25)
        assert quiet.end(end) is None or end.astimezone(BERLIN).fold or _skipped(end, quiet)


def _skipped(end: datetime, quiet: QuietHours) -> bool:
    """Whether the end lies in the hour that the spring leaves out, so that the wall clock shows another."""
    return end.astimezone(BERLIN).time() != quiet.ends


def test_in_quiet_hours_what_is_approved_waits_for_the_morning(desk: Desk) -> None:
    desk.limits = Brakes(quiet_hours=QuietHours(time(13), time(16), BERLIN))
    desk.restart()
    approved(desk)
    assert desk.cycle() == "quiet hours 1" and "quiet hours" in desk.alerts[0][2]
    desk.clock.advance(2 * 3600)
    assert desk.cycle() == "sent 1"


def test_a_wait_that_outlives_the_approval_is_said_to_end_in_a_question(desk: Desk) -> None:
    desk.limits = Brakes(quiet_hours=QuietHours(time(13), time(18), BERLIN))
    desk.restart()
    record = approved(desk, expires="2026-06-01T13:00:00Z")
    assert desk.cycle() == "quiet hours 1"
    note = (desk.vault / "Approved" / f"{record.request_id}.reason.md").read_text()
    assert "goes on by itself" not in note and "goes on by itself" not in desk.alerts[0][2]
    assert "until about 2026-06-01T16:00:00Z, but the approval ends before, at 2026-06-01T13:00:00Z" in note
    desk.clock.advance(3600)
    desk.cycle()
    assert state(desk, record) is not State.APPROVED and desk.world.calls == 0


# Settings


@pytest.mark.parametrize(
    ("brakes", "problem"),
    [
        ({"per_hour": -1}, "per_hour is -1"),
        ({"per_day": True}, "per_day is True"),
        ({"per_week": 3}, "unknown key 'per_week'"),
        ([], "brakes is not an object"),
        ({"quiet_hours": "22-7"}, "quiet_hours is '22-7'"),
        ({"quiet_hours": {"from": "22:00"}}, "quiet_hours.until is None; it must be an hour of the day"),
        ({"quiet_hours": {"from": "22:00", "until": "22:00"}}, "from and until are both '22:00'"),
        ({"quiet_hours": {"from": "22:00", "until": "07:00", "zone": "x"}}, "quiet_hours: unknown key 'zone'"),
        ({"quiet_hours": {"from": "00:00", "until": "07:00", "time_zone": "Nowhere/At_All"}}, "time_zone is 'Nowhere"),
    ],
)
def test_bad_brakes_are_told(brakes: Any, problem: str) -> None:
    raw = json.loads((PROJECT_ROOT / "zones.json").read_text()) | {"brakes": brakes}
    with pytest.raises(zones.InvalidZones) as caught:
        zones.parse(raw)
    assert any(problem in one for one in caught.value.problems)


def test_each_value_of_quiet_hours_that_is_wrong_is_told() -> None:
    wrong = {"from": "25:00", "until": "07:00Z", "time_zone": 1, "til": "07:00"}
    raw = json.loads((PROJECT_ROOT / "zones.json").read_text()) | {"brakes": {"quiet_hours": wrong}}
    with pytest.raises(zones.InvalidZones) as caught:
        zones.parse(raw)
    assert [one.partition(";")[0].removeprefix("brakes: quiet_hours") for one in caught.value.problems] == [
        ": unknown key 'til'", ".from is '25:00'", ".until is '07:00Z'", ".time_zone is 1",
    ]  # fmt: skip


def test_the_brakes_of_zones_json_are_read_and_those_of_an_older_file_have_defaults() -> None:
    raw = json.loads((PROJECT_ROOT / "zones.json").read_text())
    assert zones.parse(raw).brakes == Brakes(per_action_per_day={"payment": 10})
    del raw["brakes"]
    raw["actions"]["payment"]["per_day"] = 0
    raw["actions"]["send_email"]["per_day"] = "many"
    with pytest.raises(zones.InvalidZones, match=r"send_email.per_day is 'many'"):
        zones.parse(raw)
    del raw["actions"]["send_email"]["per_day"]
    assert zones.parse(raw).brakes.per_action_per_day == {"payment": 0}


# By HTTP


def test_stop_cancel_and_what_waits_by_http(make_node: Callable[..., Services], clock: FakeClock) -> None:
    desk = Desk(make_node, clock, World(), set_up=True, UNDO_SECONDS="10")
    api = Api(desk.node)
    first, second = approved(desk, "mail 1"), approved(desk, "mail 2")
    item, _ = api.get("/api/actions", state="approved")["items"]
    assert item["waits"] == {"reason": "it can still be taken back", "until": "2026-06-01T12:00:10Z"}
    assert api.post(f"/api/actions/{first.action_id}/cancel")["state"] == "void"
    api.refused(409, "POST", f"/api/actions/{first.action_id}/cancel")
    assert api.get("/api/stop") == {"stopped": False, "reason": None}
    assert api.post("/api/stop", reason="that was wrong") == {"stopped": True, "reason": "that was wrong"}
    clock.advance(10)
    assert desk.cycle() == "stopped 1"
    (item,) = api.get("/api/actions", state="approved")["items"]
    assert "that was wrong" in item["waits"]["reason"]
    assert api.ask("DELETE", "/api/stop").get_json() == {"stopped": False, "reason": None}
    assert desk.cycle() == "sent 1" and state(desk, second) is State.DONE
    assert api.get("/api/actions")["items"][0]["waits"] is None


def test_a_draft_only_node_takes_nothing_back(make_node: Callable[..., Services], clock: FakeClock) -> None:
    with pytest.raises(NotHere):
        make_node("cloud", clock=clock).executor.cancel("0" * 32, by="anna")


@pytest.mark.parametrize("by", ["command", "move", "command after a move"])
def test_what_is_taken_back_says_so_in_a_note_where_it_waits_and_nowhere_else(desk: Desk, by: str) -> None:
    desk.limits = Brakes(per_hour=0)
    desk.restart()
    record = approved(desk)
    desk.cycle()
    held = desk.vault / "Approved" / f"{record.request_id}.md"
    assert "To take the approval back" in held.with_suffix(".reason.md").read_text()
    if "move" in by:
        desk.move(held, "Pending_Approval/email")
    if "command" in by:
        desk.executor.cancel(record.action_id, by="anna")
    desk.cycle()
    assert state(desk, record) is State.VOID
    assert desk.places(f"{record.request_id}.reason.md") == ["Pending_Approval/email"]
    note = desk.vault / "Pending_Approval/email" / f"{record.request_id}.reason.md"
    who = "anna" if "command" in by else "a person"
    assert f"The approval was taken back by {who} before anything was done" in note.read_text()


# Said


def test_what_stands_still_is_said_by_the_doctor_and_the_status(
    make_node: Callable[..., Services], clock: FakeClock
) -> None:
    desk = Desk(make_node, clock, World(), set_up=True)
    api = Api(desk.node)
    assert api.get("/api/platinum/status")["stands_still"] is None and list(doctor.standing(desk.node)) == []
    desk.node.brakes.stop("wrong address")
    assert api.get("/api/platinum/status")["stands_still"] == "everything is stopped: wrong address"
    (finding,) = doctor.standing(desk.node)
    assert "wrong address" in finding.detail and "actions go" in finding.detail
    desk.node.brakes.go()
    settings = replace(desk.node.settings, dry_run=True)
    hold = stands_still(settings)
    assert hold is not None and "DRY_RUN" in hold.reason
