"""Left out: what a person committed here with plain git and no node takes. It leaves the history's end and stays where
it lies, and plain git takes no more notice of it: a program that commits everything (obsidian-git) would add it again,
for ever. Which files these are, git's own list of ignored files says, so that one that has become a plain note is a
note again, whatever happened to this node's state."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from utils.core.merge import FILE, Entry
from utils.core.sync_rules import Refusal
from utils.sync import judge, strangers
from utils.sync.values import Session
from utils.vault import worktree
from utils.vault.worktree import Kind

UNREADABLE = Refusal("this user may not read it: please correct its owner or permissions")


def look_again(session: Session, head: str | None) -> dict[str, Refusal]:
    """path → why it is left out still. What has become fit, or is gone, is noticed again."""
    known = session.git.ignored_here()
    lying, reasons = {}, {}
    for path in known:
        try:
            if entry := _lying(session.layout.root, path):
                lying[path] = entry
        except PermissionError:
            reasons[path] = UNREADABLE
    reasons |= judge.never_travels({path: (None, entry) for path, entry in lying.items()})
    reasons |= clashes(session, head, lying.keys() - reasons.keys())
    fit = set(known) - reasons.keys()
    if fit and head:
        session.git.overlook({*session.git.entries(head, fit), *session.git.files_under(head, fit)}, overlook=False)
    if fit:
        session.git.ignore_here(reasons)
    return reasons


def add(session: Session, paths: Collection[str]) -> None:
    """Leave these out from now on."""
    if paths:
        session.git.ignore_here({*session.git.ignored_here(), *paths})


def covers(left_out: Collection[str], path: str) -> bool:
    """Whether what lies at `path` is left out, or lies below what is."""
    return path in left_out or path.startswith(tuple(f"{folder}/" for folder in left_out))


def link_above(session: Session, path: str) -> str | None:
    """The link behind which `path` would lie, if any."""
    parts = path.split("/")
    folders = ("/".join(parts[:count]) for count in range(1, len(parts)))
    return next((folder for folder in folders if worktree.look(session.layout.root, folder).kind is Kind.LINK), None)


def clashes(session: Session, head: str | None, new: Collection[str]) -> dict[str, Refusal]:
    """New path → why it may not stand beside what lies on this disk (`strangers.clashes_here`)."""
    return {
        path: Refusal(f"on Windows and macOS its name is the same as {other}: rename one")
        for path, other in strangers.clashes_here(session, head, new).items()
    }


def _lying(root: Path, path: str) -> Entry | None:
    """What lies there as git would have it in a tree, without its bytes; None where git would have nothing."""
    kind = worktree.look(root, path).kind
    if kind is Kind.FOLDER:
        return Entry("160000", "") if os.path.lexists(root / path / ".git") else None
    return {Kind.FILE: Entry(FILE, ""), Kind.LINK: Entry("120000", "")}.get(kind)
