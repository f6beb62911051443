"""What a forged commit changed is taken out before anything else is judged; what it undid of a person's is put back."""

from __future__ import annotations

from collections.abc import Iterable

from utils.core import merge, sync_rules
from utils.core.merge import FILE, Aside, Entry
from utils.core.routing import CLOUD, LOCAL
from utils.core.stages import Stage
from utils.ports import Commit
from utils.sync.authors import Authors
from utils.sync.values import Difference, Judged, Session
from utils.vault.layout import stage_at

_FILES = (FILE, "100755")


def without_forged(
    session: Session, judged: Judged, found: Authors, start: str | None, tip: str, fresh: Difference
) -> Difference:
    """`fresh` without what forged commits changed: there the newest version stands that somebody answers for.

    The refused versions go aside. A person's change that a merge of the cloud dropped is put back.
    """
    if start is None:
        return fresh
    cleaned = dict(fresh)
    newest = found.newest()
    dropped = _dropped(session, found, newest, tip)
    for path, version in dropped.items():
        before = fresh[path][0] if path in fresh else session.git.entries(start, [path]).get(path)
        there = fresh[path][1] if path in fresh else before
        if there is not None and there != before:
            _keep(session, judged, path, there, "a merge put it in the place of a person's change")
        cleaned[path] = (before, version)
    for path in [path for path in fresh if path in newest and newest[path].oid in found.forged]:
        before, after = fresh[path]
        reason = found.forged[newest[path].oid]
        legitimate = _answered_for(session, found, path, before)
        if after is not None and after not in (before, legitimate):
            _keep(session, judged, path, after, reason)
        session.result.refuse(path, f"refused: {reason}")
        if legitimate == before:
            del cleaned[path]
        else:
            cleaned[path] = (before, legitimate)
    return cleaned


def _answered_for(session: Session, found: Authors, path: str, before: Entry | None) -> Entry | None:
    """The newest version of a path that is not a forged commit's."""
    for commit in found.commits:
        if path in commit.paths and commit.oid not in found.forged:
            return session.git.entries(commit.oid, [path]).get(path)
    return before


def _dropped(session: Session, found: Authors, newest: dict[str, Commit], tip: str) -> dict[str, Entry | None]:
    """path → the version of a person who is vouched for, where a merge that is not Local's left it out (S3).

    A mere claim may be left out: of two the one that is on main stands.
    """
    if session.zone != LOCAL or not session.keyring.enrolled(CLOUD):
        return {}
    if not any(len(commit.parents) > 1 and found.zone_of(commit.oid) == CLOUD for commit in found.commits):
        return {}
    paths = [path for path, commit in newest.items() if found.zone_of(commit.oid) == LOCAL]
    paths = [path for path in paths if stage_at(path) is not Stage.IN_PROGRESS and not sync_rules.is_log(path)]
    there = session.git.entries(tip, paths)
    missing: dict[str, Entry | None] = {}
    for commit in found.commits:
        mine = [path for path in commit.paths if path in paths and found.zone_of(commit.oid) == LOCAL]
        versions = session.git.entries(commit.oid, mine) if mine else {}
        for path in mine:
            if versions.get(path) == there.get(path):
                missing[path] = there.get(path)
            else:
                missing.setdefault(path, versions.get(path))
    return {path: version for path, version in missing.items() if version != there.get(path)}


def _keep(session: Session, judged: Judged, path: str, entry: Entry, why: str) -> None:
    """Keep a refused version where a person sees it, unless it is a secret, empty or no plain file.

    The words do not depend on the node, so that both nodes write the same bytes.
    """
    if entry.mode not in _FILES or entry.is_empty or _is_secret(session, path, [entry.oid]):
        return
    kept_at = merge.conflict_path(path, CLOUD, entry.oid)
    judged.asides.append(Aside(path, Entry(FILE, entry.oid), CLOUD, LOCAL, kept_at, why))


def _is_secret(session: Session, path: str, oids: Iterable[str]) -> bool:
    refusal = sync_rules.name_refusal(path)
    if refusal is not None and refusal.level == "CRITICAL":
        return True
    return any(session.secrets.find(data) for data in session.git.read_blobs(oids).values())
