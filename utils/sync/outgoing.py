"""Outgoing: what the remote never had is searched for secrets before it is pushed (S11): a person may have committed
it here with plain git."""

from __future__ import annotations

from collections.abc import Sequence

from utils.core import sync_rules
from utils.core.merge import FILE
from utils.core.routing import LOCAL
from utils.ports import Added
from utils.sync.remote import There
from utils.sync.values import Session, SyncStopped, printable

_BATCH = 200


def check(session: Session, head: str | None, ours: str | None, there: There, theirs: str | None) -> None:
    """Stop where a commit that the remote lacks, and that this sync did not make, ever held a secret: `head` is the
    commit before this sync gathered, `ours` the one after.

    Costs nothing where the remote was seen to have `head`. What it had once, and lost when it was rolled back or
    emptied, was told when it came; pushing it again gives nothing away.
    """
    if head is not None and head not in (there.seen, theirs, session.searched):
        seen = session.git.resolve(there.seen) if there.seen else None
        found = _first_secret(session, session.git.added([had for had in (seen, theirs) if had], head))
        if found is not None:
            _stop(session, found[0], found[1], _remedy(session, seen or theirs, head))
    session.searched = ours


def _first_secret(session: Session, added: Sequence[Added]) -> tuple[Added, str] | None:
    """The oldest addition (`added`: oldest first) that may not be pushed, and why. Bytes that came before any of these
    commits, and were only moved or put back, are on the remote already."""
    waiting: list[Added] = []
    fresh: set[str] = set()
    for item in added:
        named = sync_rules.name_refusal(item.path)
        if named is not None and named.level == "CRITICAL":
            return item, named.reason
        if item.mode in (FILE, "100755", "120000") and item.oid not in fresh and not item.old:
            fresh.add(item.oid)
            waiting.append(item)
    for start in range(0, len(waiting), _BATCH):
        batch = waiting[start : start + _BATCH]
        contents = session.git.read_blobs(item.oid for item in batch)
        for item in batch:
            refusal = session.secrets.find(contents[item.oid], allow=session.zone == LOCAL)
            if refusal is not None:
                return item, refusal.reason
    return None


def _remedy(session: Session, there: str | None, head: str) -> str:
    base = session.git.merge_base(there, head) if there else None
    if base is None:
        return (
            "take it out of every commit (git-filter-repo does that), or begin a new history: move the vault's folder"
            " .git away and run `python -m scripts.init_vault`"
        )
    return f"run `git reset --soft {base[:12]}` in the vault (no file changes), take it out of the file"


def _stop(session: Session, item: Added, reason: str, remedy: str) -> None:
    text = (
        f"nothing was pushed: the commit {item.commit[:10]}, which the remote never had, has {printable(item.path)}:"
        f" {reason}. Please {remedy}, and sync again. If it was pushed anywhere else, revoke the key"
    )
    session.tell(f"outgoing {item.commit} {item.path}", "CRITICAL", "A secret was committed in the vault", text)
    raise SyncStopped(text)
