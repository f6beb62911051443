"""Deletions: an unmounted disk or a slip of the hand must not wipe the other node. A person is asked first, and told
the command that brings back what is gone, as it was last."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from utils.core import merge, sync_rules
from utils.core.merge import FILE, Entry
from utils.core.routing import CLOUD, LOCAL
from utils.core.signing import claimed_zone
from utils.sync.values import Difference, Judged, Session, SyncStopped

#: Puts what a commit holds into the work tree, and takes away nothing that it lacks (git-restore(1)).
_PUT_BACK = "git restore --overlay -s {commit} -- :/"
#: Brings back, in any clone of the remote, what is gone since a commit, but what was moved as it is. (A revert would
#: take edits back too, and stops where somebody edited what a later commit deleted.)
_BRING_BACK = (
    "git diff -M100% --name-only --diff-filter=D -z {since} HEAD"
    " | xargs -0 git --literal-pathspecs restore -s {since} -SW --"
)
_NO_TIME = datetime.fromtimestamp(0, UTC)  # so that the same question is the same text


def stop_here(session: Session, base: str, head: str, news: Difference) -> None:
    """Stop where too much is gone here. `news`: what differs from `base`, committed since (up to `head`) or not."""
    if session.answers.allow_deletions:
        return
    marker = session.layout.marker
    if news.get(marker.name, (None, True))[1] is None:
        raise SyncStopped(
            f"{marker} is gone: is the disk mounted? Put the file back (`git restore -s"
            f" {'HEAD' if base == head else base[:12]} {marker.name}` in the vault), or, if the vault is really meant"
            f" to lose it, run `{session.answers.with_('--allow-deletions')}` once"
        )
    lost = merge.lost(news)
    if session.zone == CLOUD and base != head:  # somebody ran `git pull` here; Local's own gate was passed
        lost = sorted(set(lost) - _by_local(session, base, head))
    if slip := sync_rules.mass_deletion(lost, lambda: session.git.files_under(base)):
        was = last_versions(session, base, head, lost)
        gone = session.git.commit(dict(was), [], f"{session.zone}: what is gone\n", _NO_TIME).oid
        raise SyncStopped(
            f"{slip}, more than half, are gone here, so nothing was synced. If that is meant, run"
            f" `{session.answers.with_('--allow-deletions')}` once; otherwise put them back:"
            f" `{_PUT_BACK.format(commit=gone[:12])}` in the vault"
        )


def stop_there(session: Session, base: str | None, difference: Difference, judged: Judged) -> None:
    """Stop where somebody else's slip would wipe this node. Counted is what would be taken over: a deletion that was
    refused closes no gate. The Cloud follows what Local's node itself committed, for Local's own gate was passed."""
    if session.answers.allow_deletions or base is None:
        return
    taken = {path: (difference[path][0], after) for path, after in judged.changes.items() if path in difference}
    lost = merge.lost(taken)
    if session.zone != LOCAL:
        lost = [path for path in lost if path in judged.by_people]
    if slip := sync_rules.mass_deletion(lost, lambda: session.git.files_under(base)):
        raise SyncStopped(
            f"the remote deleted {slip}, more than half, so nothing was taken over. If that is meant, run"
            f" `{session.answers.with_('--allow-deletions')}` once; otherwise bring them back in a clone of it"
            f" (`{_BRING_BACK.format(since=base[:12])}`, then commit and push)"
        )


def last_versions(session: Session, base: str, head: str, paths: Collection[str]) -> dict[str, Entry]:
    """The newest plain file that lay at each path in a commit of `base..head`, or in `base`."""
    found = session.git.entries(base, paths)
    wanted = set(paths)
    for commit in reversed(session.git.commits(base, head)):
        entries = session.git.entries(commit.oid, wanted.intersection(commit.paths))
        found |= {path: entry for path, entry in entries.items() if entry.mode in (FILE, "100755")}
    return found


def _by_local(session: Session, base: str, head: str) -> set[str]:
    """What the Local node changed last in `base..head`."""
    last: dict[str, str] = {}
    for commit in session.git.commits(base, head):
        for path in commit.paths:
            last.setdefault(path, commit.address)
    return {path for path, address in last.items() if claimed_zone(address) == LOCAL}
