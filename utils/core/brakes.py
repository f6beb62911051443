"""What holds an approved action back for a while: the undo window, caps, quiet hours. Pure.

Nothing here refuses: what is held back waits and is carried out later, unless its approval expires first. The kill
switch is a file, not a rule (`utils.execution.brakes`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_SOON, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_SPAN = {"per_hour": _HOUR, "per_day": _DAY, "per_recipient_per_day": _DAY}


@dataclass(frozen=True)
class QuietHours:
    """From when until when nothing is carried out, by the wall clock of a place; it may span midnight."""

    begins: time
    ends: time
    place: tzinfo | None = None  # None: where this machine is

    def end(self, now: datetime) -> datetime | None:
        """When the quiet hours end that `now` (aware) lies in, or None."""
        local = now.astimezone(self.place)
        clock = local.time()
        over_midnight = self.begins > self.ends
        if not (clock >= self.begins or clock < self.ends if over_midnight else self.begins <= clock < self.ends):
            return None
        day = local.date() + timedelta(days=1 if over_midnight and clock >= self.begins else 0)
        # With an explicit zone the offset of that day is found anew; `astimezone` does so for the machine's own.
        wall = datetime.combine(day, self.ends, self.place)
        return wall.astimezone(now.tzinfo)


@dataclass(frozen=True)
class Brakes:
    """`zones.json` → `brakes`: how much may be carried out, and when. A cap of 0 lets nothing through."""

    per_hour: int = 30
    per_day: int = 200
    per_recipient_per_day: int = 10
    quiet_hours: QuietHours | None = None
    #: `actions.<name>.per_day` where `zones.json` says one.
    per_action_per_day: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Act:
    """Something that was carried out, or may have been: it counts against the caps."""

    action: str
    recipients: frozenset[str]
    at: datetime


@dataclass(frozen=True)
class Hold:
    """Why an approved action waits: in a word or two for a count, in words for the human, and until when if known.

    `remedy`: what is to be done about it, of what concerns this action itself and no limit.
    """

    short: str
    reason: str
    until: datetime | None = None
    is_known: bool = False  # the human hears of it otherwise
    remedy: str = ""

    def is_worth_telling(self, now: datetime) -> bool:
        """Whether the human should hear of it: an undo window is over before they could read it."""
        return not self.is_known and (self.until is None or self.until > now + _SOON)


def standstill(stopped: str | None, *, dry_run: bool) -> Hold | None:
    """What keeps a node from carrying out anything at all, or None. `stopped`: what the kill switch says, if pulled."""
    if stopped is not None:
        return Hold("stopped", f"everything is stopped: {stopped or 'no reason was given'}", is_known=True)
    if dry_run:
        return Hold("dry run", "DRY_RUN is set: all is verified, nothing is carried out", is_known=True)
    return None


def hold(
    action: str,
    recipients: Collection[str],
    approved_at: datetime,
    now: datetime,
    *,
    undo: timedelta,
    brakes: Brakes,
    acts: Sequence[Act],
) -> Hold | None:
    """The brake that holds an action the longest, or None: it may be carried out now.

    `acts`: what was carried out within the last day, in any order. `recipients`: lower-case addresses. Of `undo` see
    `undo_ends`.
    """
    held = [*_caps(action, recipients, now, brakes, acts)]
    undo_end = undo_ends(approved_at, now, undo)
    if undo_end is not None:
        held.append(Hold("can be taken back", "it can still be taken back", undo_end))
    end = brakes.quiet_hours.end(now) if brakes.quiet_hours else None
    if end is not None:
        held.append(Hold("quiet hours", "these are quiet hours", end))
    return max(held, key=lambda one: (one.until is None, one.until or now), default=None)


def undo_ends(approved_at: datetime, now: datetime, undo: timedelta) -> datetime | None:
    """When the undo window ends that is open now, or None.

    An approval from further ahead than the window is long (the clock was set back) has none: when it ends by the clock
    of today nobody knows. So no approval waits longer than twice `undo`.
    """
    return approved_at + undo if approved_at - undo <= now < approved_at + undo else None


def _caps(action: str, recipients: Collection[str], now: datetime, brakes: Brakes, acts: Sequence[Act]) -> list[Hold]:
    caps = [
        (brakes.per_hour, _HOUR, acts, "the cap of {} an hour is reached"),
        (brakes.per_day, _DAY, acts, "the cap of {} a day is reached"),
    ]
    if action in brakes.per_action_per_day:
        same = [act for act in acts if act.action == action]
        caps.append((brakes.per_action_per_day[action], _DAY, same, f"the cap of {{}} {action} a day is reached"))
    for address in sorted(set(recipients)):
        theirs = [act for act in acts if address in act.recipients]
        words = f"the cap of {{}} a day for {address} is reached"
        caps.append((brakes.per_recipient_per_day, _DAY, theirs, words))
    found = []
    for most, span, counted, words in caps:
        times = sorted(act.at for act in counted if now - span < act.at <= now)  # later ones: the clock was set back
        if len(times) >= most:
            found.append(Hold("over a cap", words.format(most), times[-most] + span if most else None))
    return found


def parse(section: Any, actions: Any, problems: list[str]) -> Brakes:
    """The brakes that `zones.json` sets, by its `brakes` and the `per_day` of its `actions`; adds to `problems`."""
    if section is None:
        section = {}
    if not isinstance(section, Mapping):
        problems.append("brakes is not an object")
        section = {}
    known = {*_SPAN, "quiet_hours"}
    problems += [f"brakes: unknown key {name!r}" for name in section if name not in known]
    caps = {name: _cap(section.get(name, getattr(Brakes, name)), f"brakes: {name}", problems) for name in _SPAN}
    by_action = {}
    for name, entry in actions.items() if isinstance(actions, Mapping) else ():
        if isinstance(entry, Mapping) and "per_day" in entry:
            by_action[name] = _cap(entry["per_day"], f"actions: {name}.per_day", problems)
    return Brakes(**caps, quiet_hours=_quiet(section.get("quiet_hours"), problems), per_action_per_day=by_action)


def _cap(value: Any, name: str, problems: list[str]) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    problems.append(f"{name} is {value!r}; it must be a whole number, 0 or more")
    return 0


def _quiet(value: Any, problems: list[str]) -> QuietHours | None:
    if value is None:
        return None
    name = "brakes: quiet_hours"
    if not isinstance(value, Mapping):
        problems.append(f'{name} is {value!r}; it must be null, or {{"from": "22:00", "until": "07:00"}}')
        return None
    found = [f"{name}: unknown key {key!r}" for key in value if key not in ("from", "until", "time_zone")]
    times = {key: _clock(value.get(key)) for key in ("from", "until")}
    for key, clock in times.items():
        if clock is None:
            found.append(f'{name}.{key} is {value.get(key)!r}; it must be an hour of the day, such as "22:00"')
    begins, ends = times.values()
    if begins is not None and begins == ends:
        found.append(f"{name}: from and until are both {value['from']!r}; they must differ")
    place = _place(value["time_zone"]) if "time_zone" in value else None
    if "time_zone" in value and place is None:
        found.append(f'{name}.time_zone is {value["time_zone"]!r}; it must be a place, such as "Europe/Berlin"')
    problems += found
    return QuietHours(begins, ends, place) if begins is not None and ends is not None and not found else None


def _clock(value: Any) -> time | None:
    """An hour of the day, without a time zone; None for all else."""
    try:
        clock = time.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return None if clock.tzinfo else clock


def _place(value: Any) -> ZoneInfo | None:
    try:
        return ZoneInfo(value)
    except (TypeError, ValueError, OSError, ZoneInfoNotFoundError):
        return None
