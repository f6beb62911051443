"""Recover: what a crash, another git program or a person in the middle of something left behind. Runs before a sync."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from utils.core import merge
from utils.core.merge import Aside, Entry
from utils.core.routing import LOCAL
from utils.ports import Damaged, VaultGlance
from utils.sync import apply, gather, judge, scan
from utils.sync.combine import merged
from utils.sync.gather import Picture, has_markers
from utils.sync.values import Session, SyncStopped, printable
from utils.vault import worktree

_STALE_AFTER = 2.0  # seconds; with no git process in this vault, a lock this old has no owner
_PATIENCE = 10.0


def recover(session: Session, glance: VaultGlance) -> None:
    """Bring the vault into a state that a sync can start from. Raises `SyncStopped` where only a person can, `Damaged`
    where the repository must be mended first."""
    _tell_mended(session)
    _clear_locks(session, glance)
    _find_the_branch(session)
    gather.finish(session)
    _finish_applying(session)
    _bring_home(session)


def _tell_mended(session: Session) -> None:
    mended = session.git.mended()
    if mended:
        session.tell(
            f"mended {mended} {session.result.started_at}",
            "WARNING",
            "Damaged files of git were put right",
            f"{', '.join(mended)} in {session.git.git_dir}: as after a power cut. No note was touched.",
        )


def _find_the_branch(session: Session) -> None:
    """A branch that can't be read is no branch that is not there: the vault must not be taken for a new one."""
    git = session.git
    if git.head()[0] is not None or git.resolve(git.branch) is not None:
        return
    at = session.memory.load().get("at")
    if git.past():
        raise Damaged(f"{git.branch} names a commit that can't be read")
    if at and git.resolve(at):
        git.move_ref(git.branch, at, None)


def _clear_locks(session: Session, glance: VaultGlance) -> None:
    """Remove lock files whose owner died. While a git command runs in the vault, wait for it a little."""
    deadline = time.monotonic() + _PATIENCE
    pause = threading.Event()
    while locks := session.git.locks():
        processes = glance.git_processes()
        if not processes:
            for lock in locks:
                if _age(lock) >= _STALE_AFTER:
                    lock.unlink(missing_ok=True)
                    session.tell(
                        f"lock {lock} {_age(lock)}",
                        "INFO",
                        "A stale git lock was removed",
                        f"{lock.name}: its owner is gone",
                    )
        elif time.monotonic() >= deadline:
            numbers = ", ".join(map(str, processes))
            raise SyncStopped(
                f"another git command works in the vault (process {numbers}) and holds {locks[0].name}."
                " Sync again when it is done; if it hangs, end it"
            )
        if session.git.locks():
            pause.wait(0.2)


def _age(lock: Path) -> float:
    try:
        return max(0.0, time.time() - lock.stat().st_mtime)
    except FileNotFoundError:
        return 0.0


def _finish_applying(session: Session) -> None:
    """Go on where a sync was killed while it changed the work tree."""
    intent = session.memory.load().get("applying")
    if not intent:
        return
    head, _ = session.git.head()
    at_home = session.git.ref(session.git.branch)
    known = session.git.resolve(intent["new"]) and (intent["old"] is None or session.git.resolve(intent["old"]))
    if known and at_home == intent["new"] and not intent.get("home"):
        # It moves last: what differs was changed since.
        session.memory.update(applying=None, offered=None, passed=intent["new"])
        session.index_is_stale = True
    elif known and (head in (intent["old"], intent["new"]) or at_home == intent["new"]):
        apply.finish(session, again=True)
        session.index_is_stale = True
    else:
        session.memory.update(applying=None)  # somebody moved the branch since: what lies there counts as edited


def _bring_home(session: Session) -> None:
    """End a person's unfinished merge or rebase, or come back from another branch, keeping all of their work.

    What lies in the work tree is committed where HEAD is, and merged into the vault's branch like any other change.
    What came about in this clone passes the gates in the sync that follows.
    """
    head, branch = session.git.head()
    unfinished = session.git.unfinished()
    if head is None and branch != session.git.branch and session.git.resolve(session.git.branch):
        session.git.point_head()  # another branch, still without a commit: what lies here are edits of the vault's own
        session.index_is_stale = True
    if head is None or (branch == session.git.branch and not unfinished):
        return
    home = session.git.resolve(session.git.branch)
    others = [home, *session.git.their_heads()]
    fetched = session.git.resolve(session.git.tracking)
    ours = gather.gather(session, _without_markers(session, head), ref=None) or head
    new = ours
    for other in others:
        if other is not None:
            outside = other != home and fetched is not None and session.git.is_ancestor(other, fetched)
            decision = merged(session, new, other, first_contact=True, outside=outside)
            session.result.add(decision.conflicts)
            new = decision.commit or new
    apply.apply(session, ours, new, home=True)
    session.git.quit_unfinished()
    said = session.answers.accept_own
    if said and (own := session.git.resolve(said)) and session.git.is_ancestor(own, new):
        session.answers = replace(session.answers, accept_own="")  # what it was about is done
    what = f"an unfinished {' and '.join(unfinished)}" if unfinished else f"the branch {branch or 'nobody names'}"
    session.tell(
        f"home {new}",
        "INFO",
        "A person's git work was brought into the vault",
        f"The vault was on {what}. Everything was kept and merged into its own branch.",
    )
    session.index_is_stale = True


def _stop_secrets(session: Session, half_done: Mapping[str, bytes]) -> None:
    """A half-merged text goes into history for ever, so a secret must be out of it first (S11)."""
    for path, data in half_done.items():
        refusal = session.secrets.find(data, allow=session.zone == LOCAL)
        if refusal is not None:
            mark = f" (if it is none: {scan.MARK})" if session.zone == LOCAL else ""
            raise SyncStopped(
                f"{printable(path)} is half merged, and {refusal.reason}. Take it out of the file{mark}, and sync again"
            )


def _without_markers(session: Session, head: str) -> str:
    """Where a half-done merge left conflict markers: keep that text in HEAD's history, put our version back, theirs
    aside."""
    unmerged = session.git.unmerged()
    half_done: dict[str, bytes] = {}
    for path in unmerged:
        if worktree.look(session.layout.root, path).kind is worktree.Kind.FILE:
            data = worktree.read(session.layout.root, path)
            if data is not None and has_markers(data):
                half_done[path] = data
    if not half_done:
        return head
    _stop_secrets(session, half_done)
    now = session.clock.now()
    texts = session.store(half_done)
    what = f"{session.zone}: a merge as it was left, with markers\n"
    marked = session.git.commit(dict(texts), [head], what, now).oid
    picture = Picture()
    asides = []
    for path in half_done:
        stages = unmerged[path]
        stands: Entry | None = stages.get(2) or stages.get(3)
        picture.put(path, stands, lying=texts[path].oid)
        other = stages.get(3)
        if other and stands and other.oid != stands.oid and not session.git.their_heads():  # else it is merged yet
            asides.append(
                Aside(
                    path,
                    other,
                    "merge",
                    session.zone,
                    merge.conflict_path(path, "merge", other.oid),
                    "unfinished merge",
                )
            )
    for path, entry in judge.kept(session, asides).items():
        picture.put(path, entry, lying=None)
    commit = session.git.commit(picture.changes, [marked], f"{session.zone}: markers removed\n", now).oid
    session.git.move_ref("HEAD", commit, head)  # before the file goes: the sync may stop, or be killed
    gather.put_right(session, picture.restores)
    return commit
