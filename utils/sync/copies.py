"""Copies: a task that was copied by hand, so that one side has it in two stages (S4)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from utils.core.archive import filed
from utils.core.merge import Entry
from utils.core.stages import DOMAINS, Stage
from utils.core.task import ID_PATTERN
from utils.sync.values import Session
from utils.vault import worktree
from utils.vault.layout import AGENTS, BY_DOMAIN, FOLDERS, stage_at
from utils.vault.worktree import Kind

#: A copy never takes a file away from here: what is approved, and the proof of what was done.
_FIXED = (Stage.APPROVED, Stage.DONE)
#: Of two copies made at once the more final one stands.
_ORDER = (
    Stage.INBOX,
    Stage.NEEDS_ACTION,
    Stage.PENDING_APPROVAL,
    Stage.IN_PROGRESS,
    Stage.QUARANTINE,
    Stage.APPROVED,
    Stage.REJECTED,
    Stage.DONE,
)


@dataclass(frozen=True)
class Copied:
    """A task in several places: it stays at `stands`; the places that `yields` names go. None may go from `fixed`.

    `late`: a sync brought it to `stands`, while somebody was at work at the other place.
    """

    stands: str
    yields: tuple[str, ...]
    fixed: tuple[str, ...]
    late: bool = False


def is_task(path: str) -> bool:
    """Whether `path` is a task or a request in a stage."""
    folder, _, name = path.rpartition("/")
    return bool(folder) and stage_at(path) is not None and bool(ID_PATTERN.match(name.removesuffix(".md")))


def find(session: Session, head: str | None, changes: Mapping[str, Entry | None]) -> list[Copied]:
    """Tasks that came to a new place and left no other: `changes` to `head` (whose files lie on the disk)."""
    coming: dict[str, list[str]] = {}
    for path, entry in changes.items():
        if entry is not None and is_task(path):
            coming.setdefault(path.rpartition("/")[2], []).append(path)
    beside = {
        place
        for name, paths in coming.items()
        for place in _places(name)
        if (place not in changes and worktree.look(session.layout.root, place).kind in (Kind.FILE, Kind.LINK))
        or (place in changes and place not in paths and changes[place] is not None)
    }
    lying = session.git.entries(head, [*beside, *(p for paths in coming.values() for p in paths)]) if head else {}
    found = []
    for paths in coming.values():
        new = [path for path in paths if path not in lying]
        name = paths[0].rpartition("/")[2]
        gone = sum(place in changes and changes[place] is None for place in _places(name))
        places = {*paths, *(place for place in beside if place.endswith(f"/{name}") and place in lying)}
        if len(new) > gone and len(places) > 1:
            found.append(_settled(new, places))
    return sorted(found, key=lambda copied: copied.stands)


def _settled(new: Collection[str], places: Collection[str]) -> Copied:
    """The human's newest word: where the task came to stands, unless something may not go from where it lies."""
    stands = max(new, key=_finality)
    others = tuple(sorted(place for place in places if place != stands))
    fixed = tuple(place for place in others if stage_at(place) in _FIXED)
    return Copied(stands, tuple(place for place in others if place not in fixed) if not fixed else (), fixed)


def brought(copied: Copied, left: Collection[str]) -> Copied:
    """Where a sync brought the task stands over what lies yet where it was taken from, and over an agent's claim of it
    meanwhile. `left`: paths that syncs took tasks away from, where somebody took or changed them first."""
    name = copied.stands.rpartition("/")[2]
    is_claim = stage_at(copied.stands) is Stage.IN_PROGRESS
    if not any(path == copied.stands or (is_claim and path.endswith(f"/{name}")) for path in left):
        return copied
    stands = max((*copied.fixed, *copied.yields), key=_finality)
    return Copied(stands, tuple(path for path in (copied.stands, *copied.yields) if path != stands), (), late=True)


def _finality(path: str) -> tuple[int, str]:
    stage = stage_at(path)
    return (_ORDER.index(stage) if stage else -1, path)


def _places(name: str) -> list[str]:
    """Where a task of this name may lie."""
    found = []
    for stage, folder in FOLDERS.items():
        inner = DOMAINS if stage in BY_DOMAIN else AGENTS if stage is Stage.IN_PROGRESS else ()
        found += [f"{folder}/{part}/{name}" for part in inner] + [f"{folder}/{name}"]
    by_month = filed(f"{FOLDERS[Stage.DONE]}/{name}")
    return [*found, by_month] if by_month else found


def explain(session: Session, copied: Copied) -> bool:
    """Tell the human, once; whether that was now."""
    name = copied.stands.rpartition("/")[2]
    if copied.late:
        return session.tell(
            f"copies late {copied.stands} {copied.yields}",
            "INFO",
            f"{name} was edited while it was moved elsewhere",
            f"It lies at {copied.stands}. What was written at {', '.join(copied.yields)} meanwhile is kept under"
            " Updates/conflicts/.",
        )
    if copied.fixed:
        places = " and ".join(sorted([copied.stands, *copied.fixed]))
        return session.tell(
            f"copies {places}",
            "WARNING",
            f"{name} lies in two stages",
            f"It lies at {places}. What is approved or done is never taken away by a sync: please delete one of them.",
        )
    return session.tell(
        f"copies {copied.stands} {copied.yields}",
        "INFO",
        f"{name} lay in two stages",
        f"It stays at {copied.stands}, where it was put last, and was taken from {', '.join(copied.yields)}."
        " A version with other bytes is kept under Updates/conflicts/.",
    )
