"""Authors: whose word a commit is. By its signature where keys are enrolled, by its author line where they are not.

What a commit that the Local node signed contains, Local has judged: judging begins after the newest one (`settled`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from utils.core.commands import command, elsewhere
from utils.core.routing import CLOUD, LOCAL
from utils.core.signing import Key, claimed_zone
from utils.core.task import parse_time
from utils.ports import Commit
from utils.sync.values import (
    IDENTITIES,
    LONG_WHILE,
    Session,
    SyncStopped,
    WrongAnswer,
    printable,
    was_awake,
)

log = logging.getLogger(__name__)
_SHORTEST = 7  # letters of a commit's id


@dataclass
class Authors:
    """The commits to be judged, newest first, and what they count as. A commit that is in no set is Local's.

    `forged`: commit id → why it is refused as a whole. `unvouched`: persons' commits that nobody signed, which are
    held to what the cloud may do. `settled`: the newest commit that is Local's word together with all it contains.
    `unknown`: commits in Local's own name that Local does not know and nobody signed; they count as the cloud's.
    """

    commits: list[Commit] = field(default_factory=list)
    cloud: set[str] = field(default_factory=set)
    forged: dict[str, str] = field(default_factory=dict)
    unvouched: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    settled: str | None = None

    def zone_of(self, oid: str) -> str:
        """Whose the commit is."""
        return CLOUD if oid in self.cloud or oid in self.forged else LOCAL

    def newest(self) -> dict[str, Commit]:
        """path → the last commit to change it: the one who answers for it."""
        found: dict[str, Commit] = {}
        for commit in self.commits:
            for path in commit.paths:
                found.setdefault(path, commit)
        return found


def attribute(session: Session, base: str | None, tip: str, *, outside: bool) -> Authors:
    """Whose the commits `base..tip` are. `outside`: they came from the remote, not from this very clone."""
    if base is None:
        return Authors()
    commits = session.git.commits(base, tip, verify=outside and session.keyring.judges)
    found = Authors(commits)
    if not outside:
        found.cloud = {commit.oid for commit in commits if commit.address == IDENTITIES[CLOUD][1]}
        return found
    arrived = _arrived(session, tip, commits)
    memory = session.memory.load()
    offered = set(memory.get("offered", []))
    own = {memory.get("at"), *(offered if session.zone == LOCAL else ()), *_accepted(session, commits)}
    found.settled = _settled(session, base, commits, own)
    if found.settled:
        judged_before = _contained(found.settled, commits)
        found.commits = [commit for commit in commits if commit.oid not in judged_before]
    for commit in found.commits:
        _attribute_one(session, commit, found, arrived=commit.oid in arrived, offered=commit.oid in offered)
    _ask_whose(session, found)
    return found


def _accepted(session: Session, commits: Sequence[Commit]) -> set[str]:
    """The commit that a person says is this node's own."""
    said = session.answers.accept_own.lower()
    if not said:
        return set()
    named = {c.oid for c in commits if c.oid.startswith(said) and claimed_zone(c.address) == session.zone}
    if len(named) != 1 or len(said) < _SHORTEST:
        raise WrongAnswer(f"no commit {said} in this node's own name arrived: name the one that the sync asked about")
    session.memory.update(put_back=True)
    return named


def _ask_whose(session: Session, found: Authors) -> None:
    """A Local that was put back from a backup meets what it wrote since, as if somebody wrote in its name: after a
    while without a sync only a person knows which it is, and the human's notes must not be undone for it."""
    newest = next((commit for commit in found.commits if commit.oid in found.unknown), None)
    if newest is None or _was_awake(session):
        return
    own = session.answers.with_("--accept-own", newest.oid[:12])
    text = (
        f"Commits in this node's own name are on the remote that it does not know ({len(found.unknown)}, newest:"
        f" {newest.oid[:12]}{_touching(newest)}), so nothing was taken over. If this node was put back from a backup,"
        f" or its vault was copied to another machine: run `{own}`, and"
        " they count as its own. If not, somebody writes in its name: change the access keys of the vault's remote and"
        f" run `{command('keys create')}`; then they are refused"
    )
    session.tell(f"unknown {newest.oid}", "CRITICAL", "Somebody wrote in this node's name, or it was put back", text)
    raise SyncStopped(text)


def _was_awake(session: Session) -> bool:
    """Whether this node has synced all along, for a day at least where it was ever away: so nobody put it back."""
    memory, now = session.memory.load(), session.clock.now()
    back = memory.get("back_at")
    settled_in = back is None or now - parse_time(back) >= LONG_WHILE
    return settled_in and was_awake(memory, now) and not session.memory.is_put_back()


def _touching(commit: Commit) -> str:
    more = f" and {len(commit.paths) - 1} more" if len(commit.paths) > 1 else ""
    return f", which changes {printable(commit.paths[0])}{more}" if commit.paths else ""


def _is_locals_word(session: Session, commit: Commit) -> bool:
    """Signed by Local's node; on the Cloud its name is believed, until its key is enrolled."""
    key = _key(session, commit)
    if key is not None:
        return key.zone == LOCAL
    believed = session.zone == CLOUD and not session.keyring.enrolled(LOCAL)
    return believed and claimed_zone(commit.address) == LOCAL


def _key(session: Session, commit: Commit) -> Key | None:
    return session.keyring.signer(commit.key) if commit.signature == "G" else None


def _attribute_one(session: Session, commit: Commit, found: Authors, *, arrived: bool, offered: bool) -> None:
    """A signature says more than an author line, which anybody may write."""
    keyring, oid = session.keyring, commit.oid
    key, claim = _key(session, commit), claimed_zone(commit.address)
    if key is not None and key.zone == LOCAL and not offered:
        found.forged[oid] = f"commit {oid[:10]} was signed by the local node, but is an old one that is played back"
    elif key is not None:
        if key.zone == CLOUD:
            found.cloud.add(oid)
    elif offered:
        if session.zone == CLOUD:
            found.cloud.add(oid)
    elif claim is not None and keyring.enrolled(claim) and arrived:
        found.forged[oid] = _why(session, commit, claim)
    elif claim == CLOUD:
        found.cloud.add(oid)
    elif claim == LOCAL and session.zone == LOCAL and arrived:
        found.cloud.add(oid)  # what Local made lies in its branch, or is the merge that it pushed when it was killed
        found.unknown.add(oid)
    elif claim is None and arrived and keyring.enrolled(session.peer) and not session.config.accept_unsigned:
        found.cloud.add(oid)
        found.unvouched.add(oid)


def _why(session: Session, commit: Commit, claim: str) -> str:
    """The same words on both nodes: they go into the copy that is kept."""
    said = "is not signed" if commit.signature == "N" else f"is not signed by the key of {claim} that is enrolled"
    if session.keyring.was_revoked(commit.key):
        said = f"is signed by the key {commit.key}, which was revoked"
    return f"commit {commit.oid[:10]} claims to be the {claim} node's and {said}"


def _arrived(session: Session, tip: str, commits: Sequence[Commit]) -> set[str]:
    """Ids of the commits that are not in our own branch already. Asked only where the answer matters."""
    named = session.zone == LOCAL and any(claimed_zone(commit.address) == LOCAL for commit in commits)
    if not named and not (session.keyring.judges and any(commit.signature != "G" for commit in commits)):
        return set()
    return {commit.oid for commit in session.git.commits(session.git.resolve(session.git.branch), tip)}


def _contained(oid: str, commits: Sequence[Commit]) -> set[str]:
    """`oid` and its ancestors among `commits`, with the parents of the oldest."""
    parents = {commit.oid: commit.parents for commit in commits}
    found, waiting = set(), [oid]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting += parents.get(current, ())
    return found


def _settled(session: Session, base: str, commits: Sequence[Commit], own: set[str | None]) -> str | None:
    """The newest word of Local's that contains `base`, or what this node itself decided (`own`): what the work tree
    held after its last sync, before the vault was put back from a backup; a merge that it offered when it was killed.

    Each word that Local pushed contains those before it, and so all of them contain what both nodes have. One beside
    them is old: its push lost a race, and a hostile remote kept it to play it back.
    """
    newest: list[Commit] = []
    seen: set[str] = set()
    for commit in commits:
        if commit.oid not in seen and (commit.oid in own or _is_locals_word(session, commit)):
            contained = _contained(commit.oid, commits)
            seen |= contained
            newest += [commit] if base in contained else []
    return max(newest, key=lambda commit: (commit.oid in own, commit.at)).oid if newest else None


def tell_forged(session: Session, authors: Authors) -> bool:
    """One alert for each commit that is refused as a whole; whether any was raised now."""
    told = False
    for commit in authors.commits:
        reason = authors.forged.get(commit.oid)
        if reason is None:
            continue
        zone = claimed_zone(commit.address)
        paths = ", ".join(printable(path) for path in commit.paths[:5]) + (" and more" if len(commit.paths) > 5 else "")
        remedy = "Somebody else can write to the vault's remote: change its access keys"
        if zone == session.zone:
            remedy = f"If another machine runs as the {zone} node (AGENT_NAME), stop it. If not: {remedy}"
        elif commit.signature != "G":
            remedy = (
                f"If the {zone} node has a new key: run `{elsewhere('keys show')}` there, and here"
                f" `{command(f'keys revoke {zone}')}` and `… enrol --zone {zone}` with it. If not: {remedy}"
            )
        what = f"Its changes ({paths}) were not taken over; their text is kept under Updates/conflicts/."
        text = f"The {reason}. {what if paths else 'It changes no file.'} {remedy}"
        told |= session.tell(
            f"forged {commit.oid}", "CRITICAL", f"A forged commit was refused: {commit.oid[:10]}", text
        )
    return told


def how_to_enrol(session: Session, commit: Commit) -> str:
    """What to do so that a person's own commits count."""
    if session.keyring.was_revoked(commit.key):
        return (
            f"commit {commit.oid[:10]} by {printable(commit.author)} is signed by the key {commit.key}, which was"
            " revoked here: if that device was lost or stolen, change the access keys of the vault's remote too"
        )
    return (
        f"nobody vouches for {printable(commit.author)} <{commit.address}>, whose commit {commit.oid[:10]} is signed"
        f" by no key that is enrolled: enrol that device's (`{elsewhere('keys enrol --person NAME KEY')}`, on both"
        " nodes), or set UNSIGNED_COMMITS=accept"
    )


def check_own_key(session: Session) -> None:
    """See that plain git signs too, or say once that nobody signs. Raises `SyncStopped` where the key is gone."""
    remembered = session.memory.load().get("signing")
    if session.keyring.own:
        session.git.let_people_sign()  # the key may lie elsewhere by now, or the vault's settings be those of a backup
        session.memory.update(signing="signed")
    elif remembered == "signed":
        raise SyncStopped(
            "this node's key is gone, and unsigned commits would be refused by the other node. Put STATE_DIR/keys/node"
            f" back, or run `{command('keys create')}` and enrol the new key on the other node"
        )
    elif remembered is None and session.remote:
        log.warning(
            "this node's commits are not signed, so an author's name is all that the other node can go by."
            f" `{command('doctor')}` tells how to set keys up"
        )
        session.memory.update(signing="unsigned")


def vouched(session: Session, commit: str) -> str:
    """`commit`, or, where somebody committed in Local's own clone by hand, a signed one on top of it.

    Whoever works in this clone works on Local; without this the other node would take them for nobody.
    """
    git = session.git
    if not session.keyring.own or session.zone != LOCAL or git.is_signed(commit):
        return commit
    text = f"{session.zone}: signed what was committed here by hand\n"
    return git.commit({}, [commit], text, session.clock.now()).oid
