"""Two commits in, one commit out: the decision of `utils.core.merge` on real trees."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

from utils.core import merge
from utils.core.merge import Aside, Entry, Plan
from utils.core.task import format_time
from utils.sync import deletions, judge
from utils.sync.values import Difference, Judged, Session, SyncStopped, printable
from utils.vault.layout import stage_at

_TOLD = 20


@dataclass(frozen=True)
class Merged:
    """The merged commit (None: there is none at all) and the versions that lost in it.

    `told`: an alert wrote to the log meanwhile, so gathering again pays.
    """

    commit: str | None
    conflicts: tuple[Aside, ...] = ()
    told: bool = False


def merged(session: Session, ours: str, theirs: str, *, first_contact: bool = False, outside: bool = True) -> Merged:
    """The commit that holds both: `theirs` itself where nothing else is needed, else a new one with both as parents.

    `first_contact` allows histories without a common ancestor; `outside`: `theirs` came from the remote, else it passes
    the gates when it is gathered. Moves nothing. Raises `SyncStopped`.
    """
    if ours == theirs:
        return Merged(ours)
    git = session.git
    base = git.merge_base(ours, theirs)
    if base == theirs:
        return Merged(ours)
    if base is None and not (first_contact or session.answers.accept_remote):
        raise SyncStopped(
            "the remote holds another history than this vault. Check VAULT_REMOTE_URL; if both are to become one, run"
            f" `{session.answers.with_('--accept-remote')}` once"
        )
    their_difference = git.diff(base, theirs)
    judged = judge.judge(session, base, theirs, their_difference, outside=outside)
    if outside:
        deletions.stop_there(session, base, their_difference, judged)
    our_difference = git.diff(base, ours) if base != ours else {}
    befores = {path: judge.plain(pair[0]) for path, pair in (our_difference | their_difference).items()}
    elsewhere = judged.changes.keys() - befores.keys()  # what they changed and a refused commit changed back
    if base and elsewhere:
        found = git.entries(base, elsewhere)
        befores |= {path: judge.plain(found.get(path)) for path in elsewhere}
    our_changes = {path: judge.plain(after) for path, (_, after) in our_difference.items()}
    plan = merge.decide(
        befores,
        our_changes,
        judged.changes,
        zone=session.zone,
        their_zone=judged.zone_of,
        stage_at=stage_at,
        settled=judged.settled,
    )
    plan.asides = [_credited(aside, judged, their_difference) for aside in plan.asides]
    conflicts = tuple(plan.asides)
    told = judged.told | _announce(session, conflicts)
    plan.asides += [_credited(aside, judged, their_difference) for aside in judged.asides]
    changes = judge.outcome(session, plan)
    _log(session, ours, plan, conflicts, changes)
    if base == ours and changes == {path: after for path, (_, after) in their_difference.items()}:
        return Merged(theirs, conflicts, told)
    text = f"{session.zone}: merge\n\n" + "".join(f"kept aside {aside.kept_at}\n" for aside in plan.asides)
    commit = git.commit(changes, [ours, theirs], text, session.clock.now()).oid
    if base is None and not git.diff(commit, theirs):
        commit = theirs
    return Merged(commit, conflicts, told)


def _credited(aside: Aside, judged: Judged, difference: Difference) -> Aside:
    """The version with the person who wrote it, where no node did."""
    person, theirs = judged.person(aside.path), difference.get(aside.path, (None, None))[1]
    return replace(aside, by=person) if person and theirs and theirs.oid == aside.entry.oid else aside


def _announce(session: Session, conflicts: tuple[Aside, ...]) -> bool:
    """Tell the human which versions lost, once; whether that was now."""
    if not conflicts:
        return False
    lines = [
        f"{a.path}: {a.winner}'s version stands, {f'that of {a.by}' if a.by else 'the other'} is {a.kept_at}"
        for a in conflicts
    ]
    more = [f"and {len(lines) - _TOLD} more, all under {merge.CONFLICTS}"] if len(lines) > _TOLD else []
    key = hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()
    first = printable(min(aside.kept_at for aside in conflicts).removeprefix(merge.CONFLICTS))  # new with each text
    title = f"{len(lines)} note{'s were' if len(lines) > 1 else ' was'} changed in two places: {first}"
    return session.tell(f"conflicts {key}", "INFO", title, printable("\n".join(lines[:_TOLD] + more)))


def _log(
    session: Session, ours: str, plan: Plan, conflicts: tuple[Aside, ...], changes: dict[str, Entry | None]
) -> None:
    """Lines about lost claims and conflicts, written into the merge itself: a log that is written after a sync would
    be the next sync's change, for ever."""
    now = session.clock.now()
    stamp = {"at": format_time(now), "agent": session.zone}
    lines: dict[str, list[bytes]] = {}
    if plan.lost_claims:
        path = session.layout.relative(session.layout.claims_log)
        lines[path] = [
            _line({**stamp, "event": "claim_lost", "task": lost.task, "from": lost.lost, "to": lost.stands})
            for lost in plan.lost_claims
        ]
    if plan.asides:
        path = session.layout.relative(session.layout.daily_log("sync", now.strftime("%Y-%m-%d")))
        lost_paths = {aside.path for aside in conflicts}
        lines[path] = [
            _line(
                {
                    **stamp,
                    "event": "conflict" if aside.path in lost_paths else "refused",
                    "path": aside.path,
                    "winner": aside.winner,
                    "kept_at": aside.kept_at,
                    "reason": aside.why,
                }
            )
            for aside in plan.asides
        ]
    existing = {path: changes.get(path) for path in lines if path in changes}
    existing |= session.git.entries(ours, [path for path in lines if path not in changes])
    contents = session.git.read_blobs(entry.oid for entry in existing.values() if entry)
    longer = {}
    for path, extra in lines.items():
        entry = existing.get(path)
        longer[path] = merge.unite(contents[entry.oid] if entry else b"", b"", extra)
    changes.update(session.store(longer))


def _line(entry: dict[str, str]) -> bytes:
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
