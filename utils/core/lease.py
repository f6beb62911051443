"""The zone lease: which zone is active, as decisions over values. Pure: no network, no file, no clock.

The remote is the witness. One ref on it holds the lease, and every change of that ref is a compare-and-swap, so of two
nodes that want it one gets it. A holder works until a deadline on its own boot-time clock, counted from before its
last renewal; another node takes the lease only after it has lain there unchanged for longer than any such deadline.
Clocks of two machines are never compared. `utils.lease.keeper` looks, asks `decide`, and carries out the answer;
docs/zones.md tells the whole story.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from math import ceil
from typing import Any

from utils.core import visible
from utils.core.routing import ZONES
from utils.core.task import format_time, parse_time
from utils.core.zones import Failover

#: A renewal changes the ref, or nobody could tell that the holder lives. It goes round through this many values, so
#: that a year of renewals leaves a handful of commits on the remote and not half a million.
BEATS = 64
HISTORY = 50


class State(StrEnum):
    """How this node stands to the lease. Only an ACTIVE one does the work of the active zone.

    PASSIVE: another holds it, or we just started. UNSURE: we hold it but could not renew it in time. PINNED: a human
    chose the zone, nothing changes by itself. FROZEN: it changed by itself too often, so only a human changes it.
    """

    PASSIVE = "passive"
    ACTIVE = "active"
    UNSURE = "unsure"
    PINNED = "pinned"
    FROZEN = "frozen"


class By(StrEnum):
    """Who began a term. START: `initial_holder` at the very first start, also where it came late; STAND_IN: the other
    zone, because that one never came; AGAIN: a lease that was lost was put back as it had been; the rest speak for
    themselves."""

    START = "start"
    STAND_IN = "stand-in"
    AGAIN = "again"
    FAILOVER = "failover"
    FAILBACK = "failback"
    HUMAN = "human"


_LONGEST = 8000  # characters of a lease
_HIGHEST_TERM = 2**53  # what every reader of JSON counts exactly
LONGEST_TTL = 86_400  # seconds
NAME = re.compile(r"[\w-]{0,64}", re.ASCII)
_LONGEST_LINE = 1000
LONGEST_REASON = 500  # characters that a person may give

_UNREADABLE = "the lease on the remote can't be read"
_AGAIN = " (taken up again: "
_AUTOMATIC = frozenset({By.FAILOVER, By.FAILBACK})


@dataclass(frozen=True)
class Lease:
    """What the ref on the remote says.

    `holder` is a zone, `node` the one of its nodes that holds the lease (empty: whichever comes first). `writer` began
    the term. `nonce` and `beat` make every renewal a new value. `leaving` is a zone that must lay down its work before
    the holder begins (empty: none has to), `leaving_node` the one of its nodes that worked (empty: whichever did).
    `switches`: automatic changes of the last hour, this one included. `ttl`: for how many seconds who works under it
    goes on after a renewal; 0 where an older version does not say: then it counts as our own. `at`: when the term began
    by the wall clock of who began it (ISO 8601; may be empty), for people alone.
    """

    term: int
    holder: str
    node: str
    by: By
    reason: str
    writer: str
    nonce: str
    beat: int = 0
    pinned: bool = False
    leaving: str = ""
    leaving_node: str = ""
    switches: int = 0
    ttl: float = 0.0
    at: str = ""

    def to_text(self) -> str:
        """The message of the commit that the ref points at: a line for people, then the lease as JSON."""
        return f"{self.holder} holds the zones, term {self.term}\n\n{json.dumps(asdict(self), ensure_ascii=False)}\n"


def lease_from_text(text: str) -> Lease:
    """Inverse of `Lease.to_text`; raises `ValueError` for anything else, and for a reason that is no plain line: it
    comes from the remote, and people read it."""
    if len(text) > _LONGEST:
        raise ValueError("it is too long")
    try:
        return lease_from_json(json.loads(text.partition("\n\n")[2]))
    except RecursionError as error:
        raise ValueError(f"it is no JSON object: {error}") from None


def lease_from_json(found: Any) -> Lease:
    """Inverse of `asdict`, for a value that JSON gave; raises `ValueError` for anything else."""
    try:
        raw = {"ttl": 0.0, "at": ""} | found
        types = {f.name: {"int": int, "bool": bool, "float": float}.get(str(f.type), str) for f in fields(Lease)}
        if set(raw) != set(types) or any(type(raw[name]) is not types[name] for name in types):
            raise ValueError("its fields are not those of a lease")
        lease = Lease(**(raw | {"by": By(raw["by"])}))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"it is no JSON object: {error}") from None
    if lease.holder not in ZONES or lease.leaving not in ("", *ZONES) or not 0 < lease.term <= _HIGHEST_TERM:
        raise ValueError("it names a zone or a term that can't be")
    if not 0 <= lease.ttl <= LONGEST_TTL:
        raise ValueError("it holds for a time that can't be")
    if not all(NAME.fullmatch(name) for name in (lease.node, lease.writer, lease.nonce, lease.leaving_node)):
        raise ValueError("it names a node that can't be")
    if lease.reason != plain(lease.reason):
        raise ValueError("its reason is no plain line")
    if lease.at and format_time(parse_time(lease.at)) != lease.at:
        raise ValueError("it names a time that can't be")
    return lease


def plain(reason: str) -> str:
    """A reason as one line of visible characters, of a length that people read."""
    return " ".join(visible.strip(reason).split())[:_LONGEST_LINE].strip()


@dataclass(frozen=True)
class Sight:
    """What lay on the remote at one look: the ref's object and its text (None: there is no such ref), and the
    heartbeat of each zone that has one."""

    sha: str | None = None
    text: str | None = None
    beats: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Memory:
    """What one node knows. Kept over restarts; times are seconds of this boot's clock, None: not in this boot.

    `node` names this node among those of its zone; `nonce` marks what it writes, a new one after each start and each
    push that got no answer. `known` is the lease of the highest term ever seen, `sha` what lies on the remote,
    unchanged since `first_seen` and looked at last at `last_seen`, without a long pause since `first_look`. Where that
    is not `known`, the remote was rolled back or holds something else, and `astray` says so. `confirmed` is the term in
    which we may work until `deadline`; what is in hand then may go on until `finish`. `told`: the term whose beginning,
    if it was ours, the human was told last.
    """

    node: str = ""
    nonce: str = ""
    known: Lease | None = None
    sha: str | None = None
    astray: str = ""
    first_seen: float | None = None
    last_seen: float | None = None
    first_look: float | None = None
    term_seen: float | None = None
    confirmed: int = 0
    renewed: float | None = None
    deadline: float | None = None
    finish: float | None = None
    switches: tuple[float, ...] = ()
    frozen: bool = False
    other_beat: str | None = None
    other_beat_seen: float | None = None
    history: tuple[Mapping[str, Any], ...] = ()
    told: int = 0

    @property
    def term(self) -> int:
        """The highest term ever seen; 0 where there never was a lease."""
        return self.known.term if self.known else 0


@dataclass(frozen=True)
class Here:
    """Who asks, and what it knows besides the lease: checks of the other zone in a row that failed or were good, and
    the zone that `zones.json` prefers (`initial_holder`)."""

    zone: str
    preferred: str
    failures: int = 0
    successes: int = 0

    @property
    def other(self) -> str:
        """The other zone."""
        return next(zone for zone in ZONES if zone != self.zone)


@dataclass(frozen=True)
class Push:
    """Put `lease` in the place of `expected` on the remote. `lay_down`: stop our own work first. `sure`: an answer that
    comes late is as good as one that comes at once."""

    lease: Lease
    expected: str | None
    lay_down: bool = False
    sure: bool = True


@dataclass(frozen=True)
class Rest:
    """Nothing to do now, and why. `freeze`: too many changes, from now on only a human makes one."""

    why: str
    freeze: bool = False


Step = Push | Rest


# --- what was seen ---------------------------------------------------------------------------------------------------


def observed(memory: Memory, sight: Sight, here: Here, now: float, rules: Failover, at: str = "") -> Memory:
    """The memory after a look that ended at `now`. `at`, the wall clock, is for the history that people read.

    The same value counts as unchanged only over looks that lie closer together than the beats take to come round.
    """
    beat = sight.beats.get(here.other)
    if beat is not None and beat != memory.other_beat:
        memory = replace(memory, other_beat=beat, other_beat_seen=now)
    unbroken = memory.last_seen is not None and now - memory.last_seen <= _shorter_ttl(memory, rules)
    first = memory.first_seen if unbroken and sight.sha == memory.sha else now
    looking = memory.first_look if unbroken else now
    memory = replace(memory, sha=sight.sha, first_seen=first, last_seen=now, first_look=looking, astray="")
    if sight.sha is None or sight.text is None:
        return replace(memory, astray="the lease is gone from the remote") if memory.known else memory
    try:
        lease = lease_from_text(sight.text)
    except ValueError as error:
        return replace(memory, astray=f"{_UNREADABLE} ({error})")
    known = memory.known
    if known is None or lease.term > known.term:
        return _new_term(memory, lease, here, now, rules, at)
    if lease.term < known.term or (lease.holder, lease.writer) != (known.holder, known.writer):
        return replace(memory, astray=f"the lease on the remote went back to term {lease.term}, after {known.term}")
    return _hold(memory, lease, here)


def _new_term(memory: Memory, lease: Lease, here: Here, now: float, rules: Failover, at: str) -> Memory:
    first = here.preferred if lease.by is By.HUMAN else None
    entry = {
        "at": lease.at or at,
        "from": memory.known.holder if memory.known else first,
        "to": lease.holder,
        "term": lease.term,
        "reason": lease.reason,
        "by": lease.by.value,
        "pinned": lease.pinned,
        "ours": lease.writer == memory.node,
    }
    switches = () if lease.by is By.HUMAN else recent(memory, now, rules)  # a person has looked: counted anew
    if lease.by in _AUTOMATIC:
        switches = (*switches, now)
    unseen = min(lease.switches, rules.most_switches) - len(switches)
    switches += (now,) * unseen
    memory = replace(
        memory,
        term_seen=now,
        switches=switches,
        frozen=memory.frozen and lease.by is not By.HUMAN,
        history=(*memory.history, entry)[-HISTORY:],
    )
    return _hold(memory, lease, here)


def _hold(memory: Memory, lease: Lease, here: Here) -> Memory:
    """Know `lease`; what is not ours ends our work at once."""
    ours = _is_ours(lease, memory, here)
    return replace(memory, known=lease, deadline=memory.deadline if ours else None)


def met_twin(before: Memory, after: Memory, here: Here) -> bool:
    """Whether another machine writes in our name, with a copy of what we know; `after`: what a look made of `before`.

    Of our own, two things alone can lie there unknown to us: one more beat of the nonce that we knew there, and the
    first of another nonce, but not where what we knew there bore our newest: then no earlier push can land any more.
    """
    known, lease = before.known, after.known
    if known is None or lease is None or known.leaving:  # whoever leaves writes in the holder's name
        return False
    told_all = known.nonce == before.nonce
    if lease.term > known.term:
        return told_all and lease.writer == before.node and lease.nonce != before.nonce
    if not (_is_ours(known, before, here) and _is_ours(lease, before, here)):
        return False
    if lease.nonce == known.nonce:
        return (lease.beat - known.beat) % BEATS > 1
    return told_all


def renamed(memory: Memory) -> Memory:
    """The memory of a node that gets a name of its own: what was done in the old one is another's."""
    return replace(laid_down(memory), node="", nonce="", finish=None)


def pushed(
    memory: Memory, push: Push, sha: str, here: Here, before: float, now: float, rules: Failover, at: str = ""
) -> Memory:
    """The memory after the remote took `push`, which began at `before` and was answered at `now`.

    A new term that was answered long after the look may have landed after others had the lease, where what was seen
    came round again: it counts, but nothing is done in it until they must have stopped. Nor is anything done while
    another zone has to lay down its work.
    """
    looked = before if memory.last_seen is None else memory.last_seen
    lease = push.lease
    in_time = now - looked <= min(rules.renew_seconds / 2, _shorter_ttl(memory, rules))
    memory = observed(memory, Sight(sha, lease.to_text()), here, now, rules, at)
    if not _is_ours(lease, memory, here) or not (push.sure or in_time):
        return memory
    memory = replace(memory, confirmed=lease.term)
    if lease.leaving:
        return memory
    return replace(memory, renewed=before, deadline=before + rules.ttl_seconds, finish=before + rules.ttl_seconds)


def laid_down(memory: Memory) -> Memory:
    """The memory of a node that does no more work of the active zone: before it hands over, and after a start."""
    return replace(memory, deadline=None, renewed=None)


def rebooted(memory: Memory, now: float) -> Memory:
    """The memory in a new boot, whose clock began anew: what was measured counts from now."""
    return replace(
        laid_down(memory),
        finish=None,
        first_seen=None,
        last_seen=None,
        first_look=None,
        term_seen=now if memory.known else None,
        switches=(now,) * len(memory.switches),
        other_beat_seen=now if memory.other_beat else None,
    )


# --- how we stand ----------------------------------------------------------------------------------------------------


def state(memory: Memory, here: Here, now: float) -> State:
    """How this node stands to the lease at `now`."""
    lease = memory.known
    if lease and _is_ours(lease, memory, here) and memory.deadline is not None:
        return State.ACTIVE if now < memory.deadline else State.UNSURE
    if memory.frozen:
        return State.FROZEN
    return State.PINNED if lease and lease.pinned else State.PASSIVE


def may_go_on(memory: Memory, now: float) -> bool:
    """Whether work in hand may take its next step. A hand-over ends no work that has begun: as long as our last renewal
    holds, no other zone begins unless we said that it is done."""
    return memory.finish is not None and now < memory.finish


def seems_alive(memory: Memory, now: float, rules: Failover) -> bool | None:
    """Whether the other zone gave a heartbeat lately; None where this node has not looked lately itself, or only just
    began to."""
    patience = _beat_patience(rules)
    if not looks(memory, now, rules):
        return None
    if memory.other_beat_seen is not None and now - memory.other_beat_seen <= patience:
        return True
    return False if memory.first_look is not None and now - memory.first_look > patience else None


def looks(memory: Memory, now: float, rules: Failover) -> bool:
    """Whether this node has asked the remote lately."""
    return memory.last_seen is not None and now - memory.last_seen <= _beat_patience(rules)


def _beat_patience(rules: Failover) -> float:
    return max(3 * rules.renew_seconds, 1.5 * rules.interval_seconds)  # a holder sees beats at its checks alone


def recent(memory: Memory, now: float, rules: Failover) -> tuple[float, ...]:
    """When the zone changed by itself within the last `window_seconds`."""
    return tuple(at for at in memory.switches if now - at < rules.window_seconds)


def at_limit(memory: Memory, now: float, rules: Failover) -> bool:
    """Whether the zone has changed by itself so often lately that it does so no more."""
    return memory.frozen or len(recent(memory, now, rules)) >= rules.most_switches


def limit_words(memory: Memory, now: float, rules: Failover) -> str:
    """That nothing changes by itself for now, and for how long; nothing where it does, or never would."""
    if not rules.enabled or memory.known is None or memory.known.pinned or not at_limit(memory, now, rules):
        return ""
    switches = recent(memory, now, rules)
    said = f"the zone changed by itself {len(switches)} times within {rules.window_seconds / 60:g} min"
    if memory.frozen:
        return f"{said}: only a human changes it"
    free = sorted(switches)[len(switches) - rules.most_switches]
    left = ceil((free + rules.window_seconds - now) / 60)
    return f"{said}: no failover and no failback for {left} min more, unless a human switches"


def _is_ours(lease: Lease, memory: Memory, here: Here) -> bool:
    return lease.holder == here.zone and lease.node == memory.node


def _longer_ttl(memory: Memory, rules: Failover) -> float:
    """The longest that anybody who works goes on after a renewal: the settings of two nodes may differ."""
    return float(max(memory.known.ttl if memory.known else 0, rules.ttl_seconds))


def _shorter_ttl(memory: Memory, rules: Failover) -> float:
    """Within so long nobody's beats come round."""
    return min(memory.known.ttl, rules.ttl_seconds) if memory.known and memory.known.ttl else rules.ttl_seconds


def _patience(memory: Memory, rules: Failover) -> float:
    """After so long without a renewal every holder has stopped by its own clock."""
    return _longer_ttl(memory, rules) + rules.margin_seconds


def _unchanged(memory: Memory, now: float, rules: Failover) -> bool:
    return memory.first_seen is not None and now - memory.first_seen >= _patience(memory, rules)


def _others_stopped(memory: Memory, now: float, rules: Failover) -> bool:
    """Whether whoever worked in an earlier term must have noticed that it ended."""
    return memory.term_seen is not None and now - memory.term_seen >= _patience(memory, rules)


def waits_for(memory: Memory, here: Here, now: float, rules: Failover) -> str:
    """What this node waits for before it begins, where its zone holds the lease; nothing where it does not wait."""
    lease = memory.known
    if lease is None or lease.holder != here.zone or memory.astray:
        return ""
    if lease.node not in ("", memory.node):
        if _unchanged(memory, now, rules):
            return ""
        left = _left(memory.first_seen, memory, now, rules)
        return (
            f"another node of the {here.zone} zone holds the lease (term {lease.term}). Where it is gone, or this one"
            f" has lost its state, {left} s more"
        )
    if _others_stopped(memory, now, rules):
        return ""
    left = _left(memory.term_seen, memory, now, rules)
    if lease.leaving:
        return f"waiting for {lease.leaving} to lay down its work (term {lease.term}), at most {left} s more"
    if lease.node == lease.writer == memory.node and memory.confirmed != lease.term:
        return f"the lease is ours (term {lease.term}), but its push was not answered in time: waiting {left} s more"
    return ""


def _left(since: float | None, memory: Memory, now: float, rules: Failover) -> int:
    return ceil(_patience(memory, rules) - (now - since if since is not None else 0))


# --- what to do ------------------------------------------------------------------------------------------------------


def decide(memory: Memory, here: Here, now: float, rules: Failover) -> Step:
    """What this node does about the lease, straight after a look."""
    lease = memory.known
    if lease is None:
        return _first(memory, here, now, rules)
    if memory.astray:
        return _astray(memory, lease, here, now, rules)
    if lease.leaving == here.zone and lease.leaving_node in ("", memory.node) and not _is_ours(lease, memory, here):
        return Push(replace(lease, leaving="", leaving_node="", **_beat(lease, memory)), memory.sha, lay_down=True)
    if lease.holder == here.zone:
        return _as_holder(memory, lease, here, now, rules)
    return _failover(memory, lease, here, now, rules)


def _first(memory: Memory, here: Here, now: float, rules: Failover) -> Step:
    """There never was a lease."""
    if memory.sha is not None:
        return Rest(f"{memory.astray}: a switch by hand replaces it")
    if here.zone == here.preferred:
        return _take(memory, here, rules, By.START, "first start: initial_holder in zones.json")
    why_not = _failed(memory, here, now, rules)
    if why_not:
        return Rest(f"{here.preferred} has not taken the lease yet; {why_not}")
    return _take(memory, here, rules, By.STAND_IN, f"{here.preferred} never came, {here.zone} stands in for it")


def _astray(memory: Memory, lease: Lease, here: Here, now: float, rules: Failover) -> Step:
    """What lies on the remote is not the newest lease we know: somebody rolled the remote back, or wrote there."""
    if memory.astray.startswith(_UNREADABLE):
        return Rest(f"{memory.astray}: a switch by hand replaces it")
    if not _unchanged(memory, now, rules):
        return Rest(f"{memory.astray}: put right when it has lain there for {_patience(memory, rules):g} s")
    node = memory.node if lease.holder == here.zone else ""  # nobody works by now: whoever is there may begin
    reason = _again(lease, memory.astray)
    new = Lease(
        memory.term + 1, lease.holder, node, By.AGAIN, reason, memory.node, memory.nonce, pinned=lease.pinned,
        ttl=_longer_ttl(memory, rules),
    )  # fmt: skip
    return Push(new, memory.sha, sure=False)


def _as_holder(memory: Memory, lease: Lease, here: Here, now: float, rules: Failover) -> Step:
    why = waits_for(memory, here, now, rules)
    if why:
        return Rest(why)
    if lease.node not in ("", memory.node):
        reason = _again(lease, f"the {here.zone} node that held it is gone")
        return _take(memory, here, rules, By.AGAIN, reason, pinned=lease.pinned)
    if _is_wanted_back(memory, lease, here, now, rules):
        return _hand_back(memory, here, now, rules)
    if memory.renewed is not None and now - memory.renewed < rules.renew_seconds / 2:
        return Rest(f"{here.zone} is active, term {lease.term}")
    mine = replace(lease, node=memory.node, leaving="", leaving_node="", ttl=float(rules.ttl_seconds))
    return Push(replace(mine, **_beat(lease, memory)), memory.sha)


def _failover(memory: Memory, lease: Lease, here: Here, now: float, rules: Failover) -> Step:
    held = f"{lease.holder} is active, term {lease.term}"
    if lease.pinned:
        return Rest(f"{held}, chosen by a human")
    why_not = _failed(memory, here, now, rules)
    if why_not:
        return Rest(f"{held}; {why_not}" if here.failures else held)
    count = len(recent(memory, now, rules))
    if at_limit(memory, now, rules):
        return Rest(f"{held}, and the zone changed by itself {count} times lately: only a human changes it", True)
    reason = f"{lease.holder} failed {here.failures} checks in a row and no longer renewed its lease"
    return _take(memory, here, rules, By.FAILOVER, reason, switches=count + 1)


def _again(lease: Lease, why: str) -> str:
    """The reason that a term had, which still holds, and why it was begun anew."""
    return plain(f"{lease.reason.partition(_AGAIN)[0]}{_AGAIN}{why})")


def _failed(memory: Memory, here: Here, now: float, rules: Failover) -> str:
    """Why the other zone does not count as failed, or nothing where it does."""
    if not rules.enabled:
        return "failover is switched off in zones.json"
    if here.failures < rules.threshold:
        return f"{here.other} failed {here.failures} checks in a row, {rules.threshold} are needed"
    if not _unchanged(memory, now, rules):
        return f"its lease must lie unchanged for {_patience(memory, rules):g} s"
    return ""


def _take(
    memory: Memory, here: Here, rules: Failover, by: By, reason: str, *, pinned: bool = False, switches: int = 0
) -> Push:
    lease = Lease(
        memory.term + 1, here.zone, memory.node, by, reason, memory.node, memory.nonce, pinned=pinned,
        switches=switches, ttl=_longer_ttl(memory, rules),
    )  # fmt: skip
    return Push(lease, memory.sha, sure=False)


def _is_wanted_back(memory: Memory, lease: Lease, here: Here, now: float, rules: Failover) -> bool:
    """Whether the preferred zone is to have the lease back from us. Its first appearance is no change to and fro."""
    if here.other != here.preferred or lease.pinned or here.successes < rules.threshold:
        return False
    return lease.by is By.STAND_IN or (rules.failback and not at_limit(memory, now, rules))


def _hand_back(memory: Memory, here: Here, now: float, rules: Failover) -> Push:
    count = len(recent(memory, now, rules))
    by, reason, switches = By.FAILBACK, f"{here.other} is well again and is the preferred zone", count + 1
    if memory.known and memory.known.by is By.STAND_IN:
        by, reason, switches = By.START, f"{here.other} has come and is the preferred zone", count
    lease = Lease(
        memory.term + 1, here.other, "", by, reason, memory.node, memory.nonce, switches=switches,
        ttl=_longer_ttl(memory, rules),
    )  # fmt: skip
    return Push(lease, memory.sha, lay_down=True)


def _beat(lease: Lease, memory: Memory) -> dict[str, Any]:
    return {"nonce": memory.nonce, "beat": (lease.beat + 1) % BEATS if lease.nonce == memory.nonce else 0}


def unfinished(push: Push, memory: Memory, here: Here) -> Push:
    """The hand-over `push` by a node whose work in hand has not ended: the other zone waits until it says so."""
    return replace(push, lease=replace(push.lease, leaving=here.zone, leaving_node=memory.node))


def switch(memory: Memory, here: Here, zone: str, reason: str, now: float, rules: Failover, *, pin: bool) -> Push:
    """A human, at this node, makes `zone` active. Whoever may still work lays that down first."""
    lease = memory.known
    if zone == here.zone:
        node = memory.node
    else:  # whoever of that zone works goes on
        node = lease.node if lease and lease.holder == zone else ""
    leaving, who = _who_leaves(memory, here, zone, now, rules)
    new = Lease(
        memory.term + 1, zone, node, By.HUMAN, reason, memory.node, memory.nonce, pinned=pin, leaving=leaving,
        leaving_node=who, ttl=_longer_ttl(memory, rules),
    )  # fmt: skip
    works_here = lease is not None and _is_ours(lease, memory, here)
    return Push(new, memory.sha, lay_down=works_here and zone != here.zone, sure=False)


def stands_already(memory: Memory, push: Push) -> bool:
    """Whether a human switched so before, and nothing has changed since: the switch `push` would change nothing."""
    lease, new = memory.known, push.lease
    if lease is None or memory.astray or memory.frozen or lease.by is not By.HUMAN:
        return False
    return (lease.holder, lease.pinned) == (new.holder, new.pinned) and lease.node in ("", new.node)


def _who_leaves(memory: Memory, here: Here, zone: str, now: float, rules: Failover) -> tuple[str, str]:
    """The zone, and its node, that must lay down its work before `zone` begins; `("", "")`: none has to.

    It is who works now, else who still lays down its work for an earlier switch; never the zone that is made active
    from elsewhere. What this node holds it lays down itself, before the remote hears of the switch.
    """
    lease, works, leaves = memory.known, ("", ""), ("", "")
    if lease and not _unchanged(memory, now, rules):
        if memory.astray:
            works = (here.other, "")
        elif not _is_ours(lease, memory, here):
            works = (lease.holder, lease.node)
    if lease and not _others_stopped(memory, now, rules):
        leaves = (lease.leaving, lease.leaving_node)
    goes_on = zone if zone != here.zone else ""
    return next((found for found in (works, leaves) if found[0] not in ("", goes_on)), ("", ""))
