"""Apply: change the work tree file by file, then move the branch. Every step may be the last before a crash."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

from utils.core import sync_rules
from utils.core.merge import Entry
from utils.core.stages import Stage
from utils.core.task import ID_PATTERN
from utils.sync import returned
from utils.sync.copies import is_task
from utils.sync.values import Session
from utils.vault import atomic, worktree
from utils.vault.layout import stage_at

_BATCH = 200
_WRITERS = 8  # most of the time goes by waiting for the disk, and it takes several fsyncs in one go


def apply(session: Session, old: str | None, new: str, *, home: bool = False) -> int:
    """Bring the work tree from `old` to `new` and then move the branch; how many files changed.

    What to do is remembered durably first, so that a crash in the middle is finished by the next run (`finish`). A file
    that somebody changed meanwhile is left as it is and remembered: the next sync merges it. `home`: HEAD was elsewhere
    and comes back to the vault's branch.
    """
    session.memory.update(applying={"old": old, "new": new, "home": home})
    session.checkpoint("intent")
    return finish(session)


def finish(session: Session, *, again: bool = False) -> int:
    """Do what `apply` remembered, from wherever it stopped; how many files differ.

    `again`: a sync was killed in it, and people and agents may have gone on since.
    """
    intent = session.memory.load()["applying"]
    old, new = intent["old"], intent["new"]
    difference = session.git.diff(old, new)
    before = {path: pair[0] for path, pair in difference.items()}
    after = {path: pair[1] for path, pair in difference.items()}
    if again:
        _sweep(session, before, after)
        _yield_to_moves(session, new, before, after)
    overtaken: list[str] = []
    with ThreadPoolExecutor(_WRITERS) as writers:
        for step in steps(after):
            for start in range(0, len(step), _BATCH):
                batch = step[start : start + _BATCH]
                contents = session.git.read_blobs(entry.oid for path in batch if (entry := after[path]))

                def put(path: str, contents: dict[str, bytes] = contents) -> bool:
                    lying = before[path]
                    return replace(session, path, lying.oid if lying else None, after[path], contents)

                one_by_one = len(batch) < 2 * _WRITERS
                for path, done in zip(batch, (map if one_by_one else writers.map)(put, batch), strict=True):
                    if not done:
                        overtaken.append(path)
                    session.checkpoint("file")
    if overtaken and old:
        known = session.memory.load().get("overtaken", {})
        session.memory.update(overtaken={**dict.fromkeys(overtaken, old), **known})
    remember_left(session, session.memory.load().get("left", []))
    session.checkpoint("applied")
    branch = session.git.branch
    current = session.git.ref(branch)
    if current != new:
        session.git.move_ref(branch, new, current)
    if intent.get("home"):
        session.git.point_head()
    session.checkpoint("moved")
    returned.tell(session, difference)
    session.index |= after
    passed = {} if intent.get("home") else {"passed": new}  # else a person's own commits are yet to pass the gates
    session.memory.update(applying=None, offered=None, **passed)
    return len(difference)


def _sweep(session: Session, before: dict[str, Entry | None], after: dict[str, Entry | None]) -> None:
    """Remove the temporary files that the killed run left: each holds the version that gave way, or the new one, or the
    beginning of it. Anything else is another writer's, or an edit that came in the last moment."""
    root = session.layout.root
    for folder in {path.rpartition("/")[0] for path in after}:
        if folder and worktree.look(root, folder).kind is not worktree.Kind.FOLDER:
            continue
        names = (session.layout.relative(file) for file in atomic.temporaries(root / folder))
        litter = {name: data for name in names if (data := worktree.read(root, name))}
        here = [path for path in after if path.rpartition("/")[0] == folder] if litter else []
        old, new = ([e.oid for path in here if (e := side[path])] for side in (before, after))
        contents = session.git.read_blobs([*old, *new]) if litter else {}
        for name, data in litter.items():
            if data in (contents[oid] for oid in old) or any(contents[oid].startswith(data) for oid in new):
                (root / name).unlink(missing_ok=True)


def _yield_to_moves(
    session: Session, new: str, before: dict[str, Entry | None], after: dict[str, Entry | None]
) -> None:
    """A task that arrived before the crash and was moved since must not arrive again: its new place stands (S4).

    Agents claim in Needs_Action/: what arrived elsewhere was claimed where it left, and too late (`copies.brought`).
    """
    came = {}
    for path, entry in after.items():
        name = path.rpartition("/")[2]
        if entry and not before[path] and stage_at(path) and ID_PATTERN.match(name.removesuffix(".md")):
            came[name] = path
    files = (file for stage in Stage if came for file in session.layout.files(stage) if file.name in came)
    places = {session.layout.relative(file) for file in files}
    for place in places - set(session.git.entries(new, places)) - set(after):
        path = came[place.rpartition("/")[2]]
        can_be_claimed = stage_at(path) is Stage.NEEDS_ACTION and not (session.layout.root / path).exists()
        if stage_at(place) is Stage.IN_PROGRESS and not can_be_claimed:
            continue
        if entry := after.pop(path, None):
            replace(session, path, entry.oid, None, {})


def replace(
    session: Session,
    path: str,
    lying: str | None,
    target: Entry | None,
    contents: dict[str, bytes],
    *,
    while_at: str | None = None,
) -> bool:
    """Put `target` where the blob `lying` lies (None: nothing); False where something else lies there now, or no file
    lies at `while_at`.

    Tasks are changed under the claim lock, so that no agent moves one between the look and the rename. One that was to
    be removed, and that somebody took or changed meanwhile, is noted (`Session.left`).
    """
    root = session.layout.root
    lock = session.moves.hold() if stage_at(path) is not None else nullcontext()
    with lock:
        if while_at is not None and worktree.look(root, while_at).kind is not worktree.Kind.FILE:
            return False
        was_there = worktree.look(root, path).kind is not worktree.Kind.NOTHING
        oid, data = (target.oid, contents[target.oid]) if target else (None, b"")
        done = worktree.replace(root, path, expected=lying, wanted=oid, data=data)
    if target is None and lying is not None and is_task(path) and not (was_there and done):
        session.left.add(path)
    return done


def remember_left(session: Session, known: Iterable[str]) -> None:
    """Remember what was noted, with what is `known`, for the next look at the work tree."""
    session.memory.update(left=sorted({*known, *session.left}) or None)
    session.left.clear()


def steps(after: Mapping[str, Entry | None]) -> tuple[list[str], ...]:
    """New versions first, so that a moved task is for a moment in two places and never in none; removals last.

    Except where a removal makes room: a file that becomes a folder, a name that changes in case only. What is of one
    step may be done in any order.
    """
    removed = [path for path, entry in after.items() if entry is None]
    written = [path for path, entry in after.items() if entry is not None]
    folded = {sync_rules.fold(path) for path in written}
    parents = {folder for path in written for folder in _folders(path)}
    first = [
        path
        for path in removed
        if path in parents
        or sync_rules.fold(path) in folded
        or any(folder in after and after[folder] for folder in _folders(path))
    ]
    room = set(first)
    return sorted(first), sorted(written), sorted(path for path in removed if path not in room)


def _folders(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
