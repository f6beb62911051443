"""Strangers: names that can't lie side by side on every disk, and repositories inside the vault."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from utils.core import sync_rules
from utils.core.merge import Entry
from utils.sync.values import Session

_BARE = ("objects", "refs")


def name_clashes(
    session: Session, base: str | None, tip: str, changes: Mapping[str, tuple[Entry | None, Entry | None]]
) -> dict[str, str]:
    """path → why a file that arrives may not stand beside another that the same side has.

    Names that differ in case or composition only are one name on Windows and macOS, of files and of folders alike. What
    `base` had stands, else the first in order, so both nodes decide the same. What the *other* side has meanwhile is
    the merge's business.
    """
    new = sorted(path for path, (before, after) in changes.items() if after and not before)
    folders = {folder for path in new for folder in _ancestors(path)}
    if not new:
        return {}
    losing: dict[str, str] = {}
    listed = session.git.children(tip, folders)
    for path in new:  # what a merge left out of the tip is among the changes
        for folder, part in zip(_ancestors(path), path.split("/"), strict=True):
            listed.setdefault(folder, set()).add(part)
    twins = {folder: names for folder, names in listed.items() if _has_twins(names)}
    before = session.git.children(base, twins) if base and twins else {}
    for folder, names in twins.items():
        old = before.get(folder, set())
        first: dict[str, str] = {}
        for name in sorted(names, key=lambda name: (name not in old, name)):
            stands = first.setdefault(sync_rules.fold(name), name)
            if stands != name and name not in old:
                losing[_join(folder, name)] = _join(folder, stands)
    return {
        path: f"on Windows and macOS its name is the same as {losing[part]}"
        for path in new
        for part in (*_ancestors(path), path)
        if part in losing
    }


def clashes_here(session: Session, head: str | None, new: Collection[str]) -> dict[str, str]:
    """New path → the file or folder on this disk that other systems would take for it or for a folder above it.

    What `head` has stands, and what lies here and is not synced; of two that are new, the first in order.
    """
    root = session.layout.root
    listed: dict[str, dict[str, list[str]]] = {}
    found: dict[str, str] = {}
    for path in sorted(new):
        for folder, part in zip(_ancestors(path), path.split("/"), strict=True):
            if folder not in listed:
                listed[folder] = _by_fold(root / folder)
            twins = [name for name in listed[folder].get(sync_rules.fold(part), ()) if name != part]
            if not twins:
                continue
            old = session.git.children(head, [folder]).get(folder, set()) if head else set()
            stands = [
                name
                for name in twins
                if name in old or name < part or ((root / folder / name).is_file() and _join(folder, name) not in new)
            ]
            if part not in old and stands:
                found.setdefault(path, _join(folder, stands[0]))
    return found


def _by_fold(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    try:
        for name in sorted(place.name for place in folder.iterdir()):
            found.setdefault(sync_rules.fold(name), []).append(name)
    except (FileNotFoundError, NotADirectoryError):
        return {}  # it was moved away meanwhile: the next sync looks again
    return found


def _has_twins(names: Iterable[str]) -> bool:
    names = list(names)
    return len({sync_rules.fold(name) for name in names}) < len(names)


def _ancestors(path: str) -> list[str]:
    """Every folder above a path, the root (an empty text) first."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts))]


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def bare_repositories(root: Path, paths: Iterable[str]) -> list[str]:
    """Folders that are git repositories without a work tree; git itself takes their files for notes."""
    folders = {path.removesuffix("/HEAD") for path in paths if path.endswith("/HEAD")}
    return sorted(folder for folder in folders if all((root / folder / name).is_dir() for name in _BARE))
