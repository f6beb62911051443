"""What keeps the zones from working as they should, in words with a remedy. Decisions over what the node knows."""

from __future__ import annotations

from utils.core.commands import command
from utils.core.lease import Memory, State, limit_words
from utils.core.zones import Failover

_ORPHANED = 3  # times what the lease must lie unchanged before it is taken


def found(memory: Memory, state: State, zone: str, now: float, failover: Failover) -> list[str]:
    """What is wrong as the node of `zone` knows it at `now`; empty where all is well."""
    by_hand = f"switch by hand: {command('zones switch ZONE')}"
    said = [f"{memory.astray}. If it stays so, {by_hand}"] * bool(memory.astray)
    lease = memory.known
    if lease and lease.holder != zone and lease.ttl not in (0, failover.ttl_seconds):
        said.append(
            f"ttl_seconds is {lease.ttl:g} on {lease.holder} and {failover.ttl_seconds:g} on {zone}: make `failover` in"
            " zones.json the same on both nodes, and restart them. Until then the longer one counts"
        )
    if lease and lease.holder == zone and lease.node not in ("", memory.node):
        said.append(
            f"another node of the {zone} zone holds the lease, and this one does no work of the active zone. If there"
            " are two machines, stop one of them; if there is but this one, it takes the lease by itself within minutes"
        )
    if state is not State.FROZEN and (limit := limit_words(memory, now, failover)):
        said.append(f"{limit}. Find out why, then {by_hand}")
    if state is State.FROZEN:
        said.append(f"the zones changed by themselves too often: find out why, then {by_hand}")
    if state is State.UNSURE:
        said.append(
            f"{zone} holds the lease but could not renew it, and does no work of the active zone: can the remote be"
            " reached, and does the scheduler run?"
        )
    elif is_orphaned(memory, now, failover):
        said.append(
            "no zone is active: the lease is not renewed, and nobody takes it. The newest alert and the scheduler's log"
            f" say why; when that is mended, {by_hand}"
        )
    elif _is_stale(memory, now, failover):
        said.append("the remote was not asked about the zones lately: can it be reached, and does the scheduler run?")
    return said


def is_orphaned(memory: Memory, now: float, failover: Failover) -> bool:
    """Whether nobody did anything about the lease for longer than a failover takes, though the remote answers."""
    if memory.first_seen is None or _is_stale(memory, now, failover):
        return False
    return now - memory.first_seen > _ORPHANED * (failover.ttl_seconds + failover.margin_seconds)


def _is_stale(memory: Memory, now: float, failover: Failover) -> bool:
    asked = memory.last_seen
    return asked is None or now - asked > failover.ttl_seconds + failover.margin_seconds
