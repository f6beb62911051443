"""Gather: look at the work tree, leave out what may not travel, commit the rest."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain

from utils.core import merge, sync_rules
from utils.core.merge import Entry
from utils.core.routing import CLOUD, LOCAL
from utils.core.sync_rules import Refusal
from utils.ports import Seen
from utils.sync import copies, deletions, judge, left_out, scan, strangers
from utils.sync.apply import remember_left, replace, steps
from utils.sync.values import Difference, Session
from utils.vault import worktree
from utils.vault.layout import stage_at
from utils.vault.worktree import Kind

_REPOSITORY = Refusal("a git repository inside the vault is not synced")
_MARKERS = re.compile(rb"(?m)^(<{7} |>{7} |={7}\r?$)")


@dataclass
class Restore:
    """A file that must not stay as it lies: blob `lying` (None: nothing) gives way to `target`; a copy of a task only
    while the other one lies at `while_at`."""

    lying: str | None
    target: Entry | None
    while_at: str | None = None


@dataclass
class Picture:
    """The work tree as it is about to be committed, relative to HEAD; and what plain git committed since `base`, the
    newest commit whose changes passed the gates of this node (None: none has). Of that, `leaving` is what HEAD is to
    have instead of what no node takes."""

    base: str | None = None
    committed: Difference = field(default_factory=dict)
    clashing: dict[str, Refusal] = field(default_factory=dict)
    left_out: Collection[str] = ()
    leaving: dict[str, Entry | None] = field(default_factory=dict)
    ignored: set[str] = field(default_factory=set)
    changes: dict[str, Entry | None] = field(default_factory=dict)
    restores: dict[str, Restore] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    unsettled: set[str] = field(default_factory=set)
    before: dict[str, Entry | None] = field(default_factory=dict)
    told: bool = False
    stale_index: bool = False

    def news(self) -> dict[str, tuple[Entry | None, Entry | None]]:
        """path → (before, after) of what is new since `base`, committed or not."""
        found = dict(self.committed)
        for path, entry in (self.leaving | self.changes).items():
            found[path] = (found[path][0] if path in found else self.before.get(path), entry)
        return {path: (before, after) for path, (before, after) in found.items() if before != after}

    def put(self, path: str, entry: Entry | None, *, lying: str | None, while_at: str | None = None) -> None:
        """Commit `entry` at `path`, where the blob `lying` lies now, and make the work tree follow."""
        self.changes[path] = entry
        if (entry.oid if entry else None) != lying or path in self.restores:
            self.restore(path, entry, lying=lying, while_at=while_at)

    def restore(self, path: str, entry: Entry | None, *, lying: str | None, while_at: str | None = None) -> None:
        """Make `entry` lie at `path` in the work tree. The last word counts, for what lies there the first."""
        first = self.restores.get(path)
        self.restores[path] = Restore(first.lying if first else lying, entry, while_at)


def gather(session: Session, head: str | None, *, ref: str | None) -> str | None:
    """Commit what changed in the work tree on top of `head`; the commit, or `head` where nothing did.

    `ref` is moved to it. Raises `SyncStopped` where a gate closes, before anything is committed.
    """
    session.note_moves()
    picture = look(session, head)
    if picture.told:  # an alert wrote its own log line: take that along
        picture = look(session, head)
    session.result.waiting = len(picture.unsettled)
    if head:
        deletions.stop_here(session, picture.base or head, head, picture.news())
        left_out.add(session, picture.ignored)
        picture.changes = picture.leaving | picture.changes
        session.pinned -= {path for path, entry in picture.changes.items() if entry is None}
    overtaken = _settle_overtaken(session, head, picture) if head else []
    session.checkpoint("gathered")
    commit = head
    if picture.changes:
        parents = [head] if head else []
        made = session.git.commit(picture.changes, parents, message(session, picture), session.clock.now())
        if made.changed:
            commit = made.oid
            session.result.committed += len(picture.changes)
            if ref is not None:
                _intend(session, commit, picture.restores)
                session.git.move_ref(ref, commit, head)
    if ref is not None:
        session.memory.update(passed=commit)
        if commit != head:
            session.checkpoint("committed")
    failed = put_right(session, picture.restores)
    waiting = {path.rpartition("/")[2] for path in picture.waiting}
    left = session.memory.load().get("left", [])
    remember_left(session, (path for path in left if path.rpartition("/")[2] in waiting))
    session.memory.update(restoring=None)
    _forget_overtaken(session, [path for path in overtaken if path not in failed])
    if ref is not None:
        session.index |= picture.changes
        session.index_is_stale |= picture.stale_index
    return commit


def look(session: Session, head: str | None) -> Picture:
    """What changed in the work tree and may travel. What may not is noted in the result and told once."""
    picture = Picture(_passed(session, head) if head else None)
    if head and picture.base and picture.base != head:
        picture.committed = session.git.diff(picture.base, head)
    left_out_still = left_out.look_again(session, head)
    for path, refusal in left_out_still.items():
        picture.told |= session.refuse(path, refusal)
    picture.left_out = left_out_still.keys()
    changed = session.git.changed()
    overlooked = {path for path in changed if left_out.covers(picture.left_out, path)}
    session.pinned = {path for path in overlooked if changed[path].head}
    bare = strangers.bare_repositories(session.layout.root, changed)
    for folder in bare:
        refuse(session, picture, folder, _REPOSITORY)
    for path, seen in sorted(changed.items()):
        if path in overlooked:
            picture.before[path] = seen.head
        elif seen.head is not None or not path.startswith(tuple(f"{folder}/" for folder in bare)):
            _look_at_readable(session, path, seen, picture)
    _refuse_name_clashes(session, picture, head)
    if head:
        _leave_out(session, head, picture)
    _settle_copies(session, head, picture)
    if session.zone == CLOUD and session.remote and head:  # what is new at first contact, the merge tells
        _keep_cloud_in_its_paths(session, head, picture)
    moving = {path.rpartition("/")[2] for path in picture.waiting}
    gone = [path for path, entry in picture.changes.items() if entry is None]
    staying = {path for path in gone if path.rpartition("/")[2] in moving}  # moves whose other half still waits: both
    new = {path for path, entry in picture.changes.items() if entry and picture.before.get(path) is None}
    for path in staying | merge.clashes(staying, new).keys():  # … travel next time, and what needs the room they leave
        del picture.changes[path]
    return picture


def _look_at_readable(session: Session, path: str, seen: Seen, picture: Picture) -> None:
    try:
        _look_at(session, path, seen, picture)
    except PermissionError:
        refuse(session, picture, path, left_out.UNREADABLE)


def _look_at(session: Session, path: str, seen: Seen, picture: Picture) -> None:
    before = seen.head
    picture.before[path] = before
    if path.endswith("/"):
        refuse(session, picture, path.rstrip("/"), _REPOSITORY)
        return
    if sync_rules.is_ignored(path):
        return
    lying = worktree.look(session.layout.root, path)
    if lying.kind in (Kind.NOTHING, Kind.FOLDER):
        if before is not None:
            picture.changes[path] = None
        else:
            picture.stale_index = True  # only the index has it: a crash came after its removal was committed
        return
    if lying.kind is not Kind.FILE:
        refuse(session, picture, path, Refusal(f"{lying.kind.value} is not synced"))
        return
    if refusal := sync_rules.name_refusal(path):
        refuse(session, picture, path, refusal)
        return
    if refusal := sync_rules.kind_refusal(path, lying.size, session.config.max_file_bytes):
        refuse(session, picture, path, refusal, f"{lying.size}")
        return
    age = session.clock.now().timestamp() - lying.mtime
    data = None
    if sync_rules.is_log(path) or not 0 <= age < session.config.settle_seconds:
        data = worktree.read(session.layout.root, path)
    if data is None:
        picture.waiting.add(path)
        picture.unsettled.add(path)
        return
    is_empty_keep = not data and path.rpartition("/")[2] == sync_rules.KEEP
    if session.zone == CLOUD and session.remote and before is None and is_empty_keep:
        return  # Local makes the folders; what the app's own checkout has of them may lie here
    refusal = session.secrets.find(data, allow=session.zone == LOCAL)
    if refusal is not None:
        refuse(session, picture, path, scan.explained(session, refusal), worktree.blob_id(data, session.git.like()))
        return
    oid = worktree.blob_id(data, session.git.like())
    if before is not None and before.oid == oid:
        picture.stale_index = True  # git sees a difference where there is none: a crash came before the index followed
        return
    picture.changes |= session.store({path: data})


def refuse(session: Session, picture: Picture, path: str, refusal: Refusal, token: str = "") -> None:
    """Leave `path` out: what HEAD has there stays."""
    picture.waiting.add(path)
    picture.told |= session.refuse(path, refusal, token)


def _passed(session: Session, head: str) -> str | None:
    """The newest commit of this history whose changes passed the gates of this node; None where none is known."""
    memory = session.memory.load()
    passed = memory.get("passed") or memory.get("at")
    if passed == head:
        return head
    return session.git.merge_base(passed, head) if passed and session.git.resolve(passed) else None


def _refuse_name_clashes(session: Session, picture: Picture, head: str | None) -> None:
    """A new file whose name differs from its neighbour's in case or composition only would overwrite it elsewhere."""
    new = {path for path, (before, after) in picture.news().items() if after is not None and before is None}
    for path, refusal in left_out.clashes(session, picture.base or head, new).items():
        if path in picture.changes:
            del picture.changes[path]
            refuse(session, picture, path, refusal)
        if path in picture.committed:
            picture.clashing[path] = refusal  # it leaves the history's end (`_leave_out`)


def _settle_copies(session: Session, head: str | None, picture: Picture) -> None:
    """A task that was copied into another stage lies in that one only (S4); other bytes are kept aside."""
    asides: list[merge.Aside] = []
    left = session.memory.load().get("left", [])
    base, changes = head, picture.changes
    if picture.base and session.zone == LOCAL:  # what came into the Cloud's history, Local judges
        base, changes = picture.base, {path: after for path, (_, after) in picture.news().items()}
    for found in copies.find(session, base, changes):
        copied = copies.brought(found, left)
        if picture.unsettled & {copied.stands, *copied.yields}:
            continue  # half of it is still being written: next time
        known = session.git.entries(head, [copied.stands, *copied.yields]) if head else {}
        lying = {**known, **picture.leaving, **picture.changes}
        stands = lying[copied.stands]
        picture.waiting.difference_update(copied.yields)
        before = len(asides)
        for path in copied.yields:
            entry = lying.get(path)
            if entry is None:
                continue
            picture.before.setdefault(path, entry)
            # An agent may have claimed it and put it back while we looked: then this is the only one.
            picture.put(path, None, lying=entry.oid, while_at=copied.stands)
            if stands and entry.oid != stands.oid and not entry.is_empty:
                kept_at = merge.conflict_path(path, session.zone, entry.oid)
                why = f"the task lies at {copied.stands}"
                asides.append(merge.Aside(path, entry, session.zone, session.zone, kept_at, why))
        if copied is found or len(asides) > before:
            picture.told |= copies.explain(session, copied)
    for path, kept in judge.kept(session, asides).items():
        picture.put(path, kept, lying=None)


def _leave_out(session: Session, head: str, picture: Picture) -> None:
    """What a person committed here with plain git and what no node takes leaves the history's end; the file stays. So
    do notes that only lie behind a link by now: what was there last stands."""
    difference = picture.committed if picture.base else session.git.diff(None, head)
    refused = {path: why for path, why in judge.never_travels(difference).items() if path not in picture.changes}
    gone = [path for path, (_, after) in difference.items() if after is None]
    behind = {path: link for path in gone if (link := left_out.link_above(session, path))}
    was = deletions.last_versions(session, picture.base, head, {*refused, *behind}) if picture.base else {}
    unfit = judge.never_travels({path: (None, entry) for path, entry in was.items()})
    for path, why in (picture.clashing | refused).items():
        if path not in picture.waiting:
            picture.told |= session.refuse(path, why)
        if path not in picture.unsettled:
            picture.ignored.add(path)
    picture.ignored |= {*behind.values()}
    for path in (*picture.clashing, *refused, *behind):
        picture.before[path] = difference[path][1]
        picture.leaving[path] = None if path in unfit else was.get(path)
    session.pinned |= {path for path in picture.ignored | behind.keys() if picture.leaving.get(path)}


def _keep_cloud_in_its_paths(session: Session, head: str | None, picture: Picture) -> None:
    """The cloud commits nothing that Local would refuse (S10): such an edit goes aside, and the file is put right."""
    changes = {path: (picture.before.get(path), entry) for path, entry in picture.changes.items()}
    asides = []
    reasons = {path: Refusal(reason) for path, reason in judge.cloud_reasons(session, head, changes).items()}
    judge.hold_moves_together(reasons, changes)
    while found := merge.clashes(*_halves(reasons, changes)):  # what would need the room of what may not go
        reasons |= {path: Refusal(f"it can't lie beside {stands}") for path, stands in found.items()}
        judge.hold_moves_together(reasons, changes)
    staying = {before.oid for path in reasons if (before := changes[path][0])}
    for path, refusal in reasons.items():
        before, entry = changes[path]
        del picture.changes[path]
        kept_at = None
        if entry is not None and not entry.is_empty and entry.oid not in staying:
            kept_at = merge.conflict_path(path, CLOUD, entry.oid)
            asides.append(merge.Aside(path, entry, CLOUD, "local", kept_at, refusal.reason))
        explained = judge.explained(refusal, before, kept_at)
        picture.told |= session.refuse(path, explained, entry.oid if entry else "removed")
        picture.restore(path, before, lying=entry.oid if entry else None)
    for path, entry in judge.kept(session, asides).items():
        picture.put(path, entry, lying=None)


def _halves(reasons: Collection[str], changes: Difference) -> tuple[set[str], set[str]]:
    """What was to go and stays, because it is refused, and what comes that is not refused."""
    gone = {path for path, (before, after) in changes.items() if before and not after}
    new = {path for path, (before, after) in changes.items() if after and not before}
    return gone.intersection(reasons), new.difference(reasons)


def _settle_overtaken(session: Session, head: str, picture: Picture) -> list[str]:
    """Files that somebody edited while an earlier sync was about to change them: merge the two now.

    The edit was made to the version before (of the commit remembered), not to what HEAD has. Answers the paths.
    """
    overtaken: dict[str, str] = session.memory.load().get("overtaken", {})
    by_base: dict[str, list[str]] = defaultdict(list)
    for path, base in overtaken.items():
        waits = path in picture.waiting or left_out.covers(picture.left_out, path)
        if not waits and session.git.resolve(base):
            by_base[base].append(path)
    for base, paths in by_base.items():
        _merge_edits(session, base, head, paths, picture)
    return [path for paths in by_base.values() for path in paths]


def _merge_edits(session: Session, base: str, head: str, paths: list[str], picture: Picture) -> None:
    difference = session.git.diff(base, head)
    theirs = {path: after for path, (_, after) in difference.items()}
    befores: dict[str, Entry | None] = {path: before for path, (before, _) in difference.items()}
    ours: dict[str, Entry | None] = {}
    for path in paths:
        if path in picture.changes and path in theirs:
            edit = picture.changes.pop(path)
            if edit == befores[path]:  # no edit after all: HEAD's version is due
                picture.restore(path, theirs[path], lying=edit.oid if edit else None)
            else:
                ours[path] = edit
    moved = {path.rpartition("/")[2] for path in ours if stage_at(path) and path.endswith(".md")}
    for path in [path for path in picture.changes if path.rpartition("/")[2] in moved and stage_at(path)]:
        befores.setdefault(path, picture.before.get(path))
        ours[path] = picture.changes.pop(path)  # where the task lies now: both halves of a move are judged together
    new = {path for path, entry in picture.changes.items() if entry and path not in theirs}
    for path in merge.clashes((path for path, entry in theirs.items() if entry), new):
        befores.setdefault(path, picture.before.get(path))
        ours[path] = picture.changes.pop(path)  # what could not be put here, because this lies in its way
    peer = "local" if session.zone == CLOUD else CLOUD
    plan = merge.decide(befores, ours, theirs, zone=session.zone, their_zone=lambda _: peer, stage_at=stage_at)
    made = judge.outcome(session, plan)
    for path, edit in ours.items():
        picture.put(path, made.get(path, edit), lying=edit.oid if edit else None)
    for path in [*made, *(path for path in theirs if path not in made)]:
        entry, lying = made.get(path, befores.get(path)), theirs.get(path)
        if path not in ours and entry != lying and path not in picture.changes:
            picture.put(path, entry, lying=lying.oid if lying else None)


def _intend(session: Session, commit: str, restores: Mapping[str, Restore]) -> None:
    """Remember durably what has to follow `commit`, so that a crash in the middle is finished by the next run."""
    if restores:
        what = {path: asdict(restore) for path, restore in restores.items()}
        session.memory.update(restoring={"commit": commit, "restores": what})


def finish(session: Session) -> None:
    """Go on where a sync was killed after its commit, before the work tree had followed."""
    intent = session.memory.load().get("restoring")
    if not intent:
        return
    head, _ = session.git.head()
    if head and session.git.is_ancestor(intent["commit"], head):
        restores = {}
        for path, said in intent["restores"].items():
            target = Entry(**said["target"]) if said["target"] else None
            restores[path] = Restore(said["lying"], target, said["while_at"])
        put_right(session, restores)
        remember_left(session, session.memory.load().get("left", []))
    session.memory.update(restoring=None)


def put_right(session: Session, restores: Mapping[str, Restore]) -> set[str]:
    """Make the work tree follow, in the order of `apply.steps`; the paths where it does not, because the file was
    changed since: they are left for the next sync."""
    failed = set()
    contents = session.git.read_blobs(restore.target.oid for restore in restores.values() if restore.target)
    for path in chain(*steps({path: restore.target for path, restore in restores.items()})):
        restore = restores[path]
        if not replace(session, path, restore.lying, restore.target, contents, while_at=restore.while_at):
            failed.add(path)
        session.checkpoint("put right")
    return failed


def _forget_overtaken(session: Session, paths: list[str]) -> None:
    if paths:
        overtaken = session.memory.load().get("overtaken", {})
        session.memory.update(overtaken={path: base for path, base in overtaken.items() if path not in paths} or None)


def message(session: Session, picture: Picture) -> str:
    """The commit's message: how much of what, then the paths."""
    groups: dict[str, list[str]] = {"add": [], "change": [], "remove": []}
    for path, entry in sorted(picture.changes.items()):
        kind = "remove" if entry is None else "change" if picture.before.get(path) else "add"
        groups[kind].append(path)
    title = ", ".join(f"{kind} {len(paths)}" for kind, paths in groups.items() if paths)
    lines = [f"{kind} {path}" for kind, paths in groups.items() for path in paths]
    more = [f"and {len(lines) - 50} more"] if len(lines) > 50 else []
    return f"{session.zone}: {title}\n\n" + "\n".join(lines[:50] + more) + "\n"


def has_markers(data: bytes) -> bool:
    """Whether a note holds the conflict markers of a half-done merge."""
    return len(set(_MARKERS.findall(data))) > 1
