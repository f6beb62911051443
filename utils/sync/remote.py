"""The remote: what it has now, and whether that may be taken for what we saw there before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from utils.core.routing import LOCAL
from utils.ports import VaultGit
from utils.sync.values import Session, SyncStopped

_T = TypeVar("_T")
_AGAIN = 0.05  # seconds
progress = logging.getLogger("utils.vault_sync.progress")


@dataclass(frozen=True)
class There:
    """What the remote answered: its branch's commit, all its branches, and what we saw there before."""

    head: str | None
    branches: tuple[str, ...]
    seen: str | None


@contextmanager
def beside(git: VaultGit, work: Callable[[], _T]) -> Iterator[Callable[[], _T]]:
    """Do `work` in a thread beside the block, which is given a call that waits for its result. Where the block fails,
    nothing is waited for: git's commands are ended."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        try:
            yield future.result
        except BaseException:
            while wait([future], timeout=_AGAIN).not_done:  # a command may be starting just now
                git.give_up()
            raise


def ask(session: Session) -> There:
    """What the remote has now; fetched already where it is new. Judges nothing and moves nothing."""
    git = session.git
    progress.debug("asking the remote (up to %g s) …", session.config.git_timeout)
    seen = session.memory.load().get("remote_head") or git.ref(git.tracking)
    head, branches = git.remote_head()
    return There(git.fetch() if head is not None and head != seen else head, branches, seen)


def taken(session: Session, there: There, ours: str | None) -> str | None:
    """The remote's commit, no older than what we last saw there; None where it is empty and we may fill it."""
    git, seen, head = session.git, there.seen, there.head
    branch = git.branch.removeprefix("refs/heads/")
    if head is None:
        if there.branches and not seen:
            raise SyncStopped(
                f"the remote has no branch {branch} (it has {', '.join(there.branches)}): check VAULT_SYNC_BRANCH"
            )
        if session.zone != LOCAL:
            raise SyncStopped("the remote is still empty: sync the Local node first, it brings the vault there")
        if seen:
            text = "Local brings the vault there again."
            session.tell(f"emptied {seen}", "WARNING", "The vault's remote was emptied", text)
        return None
    if head == seen and (head == ours or git.resolve(head)):
        session.memory.update(remote_head=head)
        return head
    if head == seen:
        head = git.fetch()  # we saw it once, and have lost it since
    if seen and not session.answers.accept_remote and not git.is_ancestor(seen, head):
        again = session.answers.with_("--accept-remote")
        text = (
            f"the remote was rolled back or replaced: it no longer holds {seen[:10]}, which we saw there. Nothing"
            f" was taken from it. If that was meant, run `{again}` once on each node: what is newer here stays, and is"
            " pushed again"
        )
        session.tell(f"rollback {seen} {head}", "CRITICAL", "The vault's remote was rolled back", text)
        raise SyncStopped(text)
    saw(session, head)
    return head


def saw(session: Session, commit: str) -> None:
    """Remember durably what the remote has, so that a rollback is noticed."""
    git = session.git
    known = git.ref(git.tracking)
    if known != commit:
        git.move_ref(git.tracking, commit, known)
    session.memory.update(remote_head=commit)
