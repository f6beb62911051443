"""Laundering: what the difference of two commits does not show, because the cloud's commits between them hid it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from utils.core.merge import Entry
from utils.core.policy import may_write
from utils.core.routing import CLOUD
from utils.core.stages import Stage
from utils.core.sync_rules import Refusal, is_log
from utils.ports import Commit
from utils.sync.values import Session
from utils.vault.layout import stage_at

LEFT_OUT = Refusal("a merge of the cloud's left out what a person wrote; the person's version stands again")
TAKEN_BACK = Refusal("refused from cloud: the cloud may not write here; it had changed it and took that back")

Pair = tuple[Entry | None, Entry | None]


def with_left_out(
    session: Session, base: str, difference: Mapping[str, Pair], commits: Sequence[Commit], suspicious: Collection[str]
) -> tuple[dict[str, Pair], dict[str, str]]:
    """The difference as it would be had no merge of the cloud's left out what a person wrote last (S3); and path → the
    merge, of what was left out.

    Such a merge names no path: it takes over one side as it was. What a merge of a person's leaves out is their word.
    """
    merges = [commit for commit in commits if commit.oid in suspicious and len(commit.parents) > 1]
    whole, left_out = dict(difference), dict[str, str]()
    if not merges:
        return whole, left_out
    newest: dict[str, Commit] = {}
    for commit in commits:
        for path in commit.paths:
            newest.setdefault(path, commit)
    persons: dict[str, list[str]] = {}
    for path, commit in newest.items():
        is_claim = stage_at(path) is Stage.IN_PROGRESS  # of two the one that is on main stands
        if commit.oid not in suspicious and not is_claim and not is_log(path):
            persons.setdefault(commit.oid, []).append(path)
    elsewhere = session.git.entries(base, [path for path in newest if path not in difference])
    for oid, paths in persons.items():
        written = session.git.entries(oid, paths)
        for path in paths:
            before, stands = difference.get(path, (elsewhere.get(path), elsewhere.get(path)))
            if stands == written.get(path):
                continue
            merging = next((merge for merge in merges if _leaves_out(session, merge, path, written.get(path))), None)
            if merging is not None:
                whole[path] = (before, written.get(path))
                left_out[path] = merging.oid
    return whole, left_out


def _leaves_out(session: Session, merging: Commit, path: str, written: Entry | None) -> bool:
    """Whether a side of this merge had the version, and the merge has another."""
    if session.git.entries(merging.oid, [path]).get(path) == written:
        return False
    return any(session.git.entries(parent, [path]).get(path) == written for parent in merging.parents)


def taken_back(
    difference: Mapping[str, Pair], commits: Sequence[Commit], suspicious: Collection[str]
) -> dict[str, str]:
    """path → the newest commit, of what the cloud wrote where it may not and took back since: nothing is to be put
    right, but it is told."""
    found: dict[str, str] = {}
    for commit in commits:
        if commit.oid in suspicious:
            for path in commit.paths:
                if path not in difference and not may_write(CLOUD, path):
                    found.setdefault(path, commit.oid)
    return found
