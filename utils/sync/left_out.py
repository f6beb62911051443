"""Left out: what a person committed here with plain git and no node takes. It leaves the history's end and stays where
it lies, and plain git takes no more notice of it: a program that commits everything (obsidian-git) would add it again,
for ever. Which files these are is remembered, so that one that has become a plain note is a note again."""

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


def look_again(session: Session, head: str | None) -> dict[str, Refusal]:
    """path → why it is left out still. What has become fit, or is gone, is noticed again."""
    known = session.memory.load().get("left_out", [])
    lying = {path: entry for path in known if (entry := _lying(session.layout.root, path))}
    reasons = judge.never_travels({path: (None, entry) for path, entry in lying.items()})
    reasons |= clashes(session, head, lying.keys() - reasons.keys())
    fit = set(known) - reasons.keys()
    if fit and head:
        session.git.overlook(session.git.entries(head, fit), overlook=False)
    _remember(session, reasons)
    return reasons


def add(session: Session, paths: Collection[str]) -> None:
    """Leave these out from now on."""
    if paths:
        _remember(session, {*session.memory.load().get("left_out", []), *paths})


def clashes(session: Session, head: str | None, new: Collection[str]) -> dict[str, Refusal]:
    """New path → why it may not stand beside what lies on this disk (`strangers.clashes_here`)."""
    return {
        path: Refusal(f"on Windows and macOS its name is the same as {other}: rename one")
        for path, other in strangers.clashes_here(session, head, new).items()
    }


def _remember(session: Session, paths: Collection[str]) -> None:
    session.memory.update(left_out=sorted(paths) or None)
    session.git.ignore_here(paths)


def _lying(root: Path, path: str) -> Entry | None:
    """What lies there as git would have it in a tree, without its bytes; None where git would have nothing."""
    kind = worktree.look(root, path).kind
    if kind is Kind.FOLDER:
        return Entry("160000", "") if os.path.lexists(root / path / ".git") else None
    return {Kind.FILE: Entry(FILE, ""), Kind.LINK: Entry("120000", "")}.get(kind)
