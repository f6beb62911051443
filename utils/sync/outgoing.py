"""Outgoing: what the remote lacks is searched for secrets before it is pushed (S11): a person may have committed it
here with plain git, or taken it out of the remote's history on purpose."""

from __future__ import annotations

from collections.abc import Sequence

from utils.core import sync_rules
from utils.core.commands import command
from utils.core.merge import FILE
from utils.core.routing import LOCAL
from utils.core.sync_rules import Refusal
from utils.ports import Added
from utils.sync.remote import There
from utils.sync.scan import MARK
from utils.sync.values import Session, SyncStopped, WrongAnswer, printable

_BATCH = 200


def check(session: Session, head: str | None, ours: str | None, there: There, theirs: str | None) -> None:
    """Stop where a commit that the remote lacks, and that this sync did not make, ever held a secret: `head` is the
    commit before this sync gathered, `ours` the one after.

    Costs nothing where the remote was seen to have `head`. A remote that was rolled back, emptied or replaced may lack
    what it had: a person says that it may have it again, or that something is no secret (`Answers.push_secret`).
    """
    seen = there.seen if there.head and not session.answers.accept_remote else None
    if head is not None and head not in (seen, theirs, session.searched):
        known = [commit for commit in (seen, theirs, *_may_go(session)) if commit and session.git.resolve(commit)]
        found = _first_secret(session, session.git.added(known, head))
        if found is not None:
            named = _named_so(found[0].path) is not None
            _stop(session, found[0], found[1], _remedy(session, theirs or seen, head, named=named))
    session.searched = ours


def _may_go(session: Session) -> list[str]:
    found = []
    for name in session.answers.push_secret:
        commit = session.git.resolve(name)
        if commit is None:
            raise WrongAnswer(f"there is no commit {name} here: name the one that the sync asked about")
        found.append(commit)
    return found


def _first_secret(session: Session, added: Sequence[Added]) -> tuple[Added, str] | None:
    """The oldest addition (`added`: oldest first) that may not be pushed, and why. Bytes that came before any of these
    commits, and were only moved or put back, are on the remote already."""
    waiting: list[Added] = []
    fresh: set[str] = set()
    for item in added:
        if named := _named_so(item.path):
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


def _named_so(path: str) -> Refusal | None:
    named = sync_rules.name_refusal(path)
    return named if named and named.level == "CRITICAL" else None


def _remedy(session: Session, there: str | None, head: str, *, named: bool) -> str:
    base = session.git.merge_base(there, head) if there else None
    if base and session.zone != LOCAL and session.answers.accept_remote:
        base = there  # what Local wrote since `base` lies here too, and would count as this node's edits
    if base is None:
        return (
            "take it out of every commit (git-filter-repo does that), or begin a new history: move the vault's folder"
            f" .git away and run `{command('init_vault')}`"
        )
    mark = f" (if it is none: {MARK})" if session.zone == LOCAL else ""
    then = "and do so" if named else f"take it out of the file{mark}"
    return f"run `git reset --soft {base[:12]}` in the vault (no file changes), {then}"


def _stop(session: Session, item: Added, reason: str, remedy: str) -> None:
    text = (
        f"nothing was pushed, for the commit {item.commit[:10]}, which the remote lacks, has {printable(item.path)}:"
        f" {reason}. Please {remedy}, and sync again. If it was pushed anywhere, revoke the key. If it is none, or is"
        f" revoked: `{session.answers.with_('--push-secret', item.commit[:10])}`"
    )
    session.tell(f"outgoing {item.commit} {item.path}", "CRITICAL", "A secret was committed in the vault", text)
    raise SyncStopped(text)
