"""Mend: a repository that a power cut or a bad disk damaged. Runs when a sync met the damage; no note is touched.

What is missing comes from the work tree and from the remote. The branch goes back to the newest commit that is whole,
never to one that the work tree may not hold yet: what lies there then counts as an edit of that commit.
"""

from __future__ import annotations

import logging
from pathlib import Path

from utils.core.commands import command
from utils.core.merge import Entry
from utils.ports import AdapterError, Damaged
from utils.sync.values import Session, SyncStopped
from utils.vault import worktree

log = logging.getLogger(__name__)

REPAIR = f"run `{command('sync --repair')}`"


def damaged_folder(state_dir: Path, stamp: str) -> Path:
    """Where damaged parts of a repository are kept: outside the vault, one folder a time."""
    return state_dir / "damaged" / stamp.replace(":", "")


def mend(session: Session, damage: Damaged) -> None:
    """Put the repository right, so that the sync can begin again. Raises `SyncStopped` where a person must decide, and
    `AdapterError` where the remote is needed and can't be reached."""
    log.warning("the vault's repository is damaged (%s): mending it", damage)
    folder = damaged_folder(session.state_dir, session.clock.now().strftime("%Y-%m-%dT%H%M%SZ"))
    moved = session.git.set_damaged_aside(folder)
    if session.remote:
        try:
            if session.git.remote_head()[0] is not None:
                session.git.fetch(whole=True)
        except Damaged:
            log.warning("what the remote has could not be fetched into the damaged repository")
        except AdapterError as error:
            if error.retry:
                raise AdapterError(
                    f"the vault's repository is damaged ({damage}), and the remote, which has what is missing, can't be"
                    f" reached: {error}",
                    retry=True,
                ) from error
            raise
    _give_back(session)
    base = _newest_whole(session)
    if base is None:
        raise SyncStopped(
            f"the vault's repository is damaged and can't be mended ({damage}): {REPAIR} once. It keeps every file as"
            f" it is, puts the damaged repository into {folder.parent} and takes the history anew from the remote"
        )
    branch = session.git.branch
    if session.git.resolve(branch) != base:
        session.git.move_ref(branch, base, None, force=True)
    session.tell(
        f"mended {base} {moved}",
        "WARNING",
        "The vault's repository was damaged and has been mended",
        f"{damage}. {len(moved)} damaged file(s) of git were set aside in {folder}; no note was touched. After a power"
        " cut that is all; without one, look for disk errors (`dmesg`) and make a backup.",
    )


def _newest_whole(session: Session) -> str | None:
    """The newest commit that is whole among those that the work tree certainly holds."""
    git = session.git
    here = git.resolve(git.branch)
    at = session.memory.load().get("at")
    candidates = [*([here] if here else []), *git.past(), *([at] if at else [])]
    whole = next((commit for commit in dict.fromkeys(candidates) if git.resolve(commit) and git.is_whole(commit)), None)
    if whole and at and whole != at and git.is_ancestor(whole, at) and git.is_whole(at):
        return str(at)
    return whole


def _give_back(session: Session) -> None:
    """Contents that the newest commit has and the repository lost are often in the work tree still."""
    git = session.git
    head = git.resolve(git.branch)
    if head is None:
        return
    try:
        entries = {path: after for path, (_, after) in git.diff(None, head).items() if after}
    except AdapterError:
        return  # its tree is lost; an older commit is chosen then
    missing = git.missing({entry.oid for entry in entries.values()})
    contents = [data for path, entry in entries.items() if (data := _lying(session, path, entry, missing)) is not None]
    git.store_blobs(contents)


def _lying(session: Session, path: str, entry: Entry, missing: set[str]) -> bytes | None:
    if entry.oid not in missing or worktree.look(session.layout.root, path).kind is not worktree.Kind.FILE:
        return None
    data = worktree.read(session.layout.root, path)
    return data if data is not None and worktree.blob_id(data, entry.oid) == entry.oid else None
