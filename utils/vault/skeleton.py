"""What a vault consists of when it is new, and whether a folder is one.

Making it a git repository is the business of `utils.vault_sync`; nothing here needs git.
"""

from __future__ import annotations

import os
from enum import Enum
from importlib import resources
from pathlib import Path

from utils.vault import atomic
from utils.vault.layout import FOLDERS, SKELETON, Layout

#: Notes that a new vault gets, and the files of git; name in the vault → template.
TEMPLATES = {
    "Dashboard.md": "Dashboard.md",
    "Company_Handbook.md": "Company_Handbook.md",
    "Business_Goals.md": "Business_Goals.md",
    ".gitignore": "gitignore",
    ".gitattributes": "gitattributes",
}
#: What makes Obsidian show and write what is ours: views (Bases), templates, and where those lie. An older vault gets
#: what it lacks from `init_vault`.
OBSIDIAN = {
    "Approvals.base": "Approvals.base",
    "Tasks.base": "Tasks.base",
    ".obsidian/templates.json": "templates.json",
    **{
        f"Templates/{name}.md": f"Templates/{name}.md"
        for name in (
            "Task",
            "Mail",
            "Reply",
            "Forward",
            "LinkedIn post",
            "Facebook post",
            "Instagram post",
            "X post",
            "WhatsApp message",
            "Invoice",
            "Payment",
        )
    },
}
KEEP = ".gitkeep"
MARKER_TEXT = b"This file marks the root of an AI Employee vault. Where it is missing, nothing is synced.\n"


class VaultProblem(RuntimeError):
    """The vault can't be used as it is; the message says what to do about it."""


class Condition(Enum):
    """What a folder is, judged by its names alone."""

    MISSING = "missing"
    EMPTY = "empty"  # nothing in it but the skeleton's empty folders
    NOTES = "notes"  # somebody's files, but no vault of ours
    UNFINISHED = "unfinished"  # a set-up began and did not end
    READY = "ready"  # a vault of ours, or a git clone of one


#: Lies in `.git/` from the first step of a set-up to its last.
SETTING_UP = "ai-employee-setting-up"


def condition(layout: Layout) -> Condition:
    """What lies at the vault's path. Cheap: a few names are looked up, no file is read."""
    if not layout.root.is_dir():
        return Condition.MISSING
    if not (layout.root / ".git").exists():
        return Condition.EMPTY if _is_bare(layout.root) else Condition.NOTES
    if (layout.root / ".git" / SETTING_UP).exists():
        return Condition.UNFINISHED
    if layout.marker.is_file() or any((layout.root / name).is_dir() for name in FOLDERS.values()):
        return Condition.READY
    return Condition.NOTES


def make_folders(layout: Layout, *, keep_files: bool) -> None:
    """Make the skeleton's folders; with `keep_files` an empty `.gitkeep` in each, so that git carries them."""
    for name in SKELETON:
        folder = layout.root / name
        folder.mkdir(parents=True, exist_ok=True)
        if keep_files:
            _write_new(folder / KEEP, b"")


def fill(layout: Layout) -> None:
    """Make folders, root marker and templates where they don't exist. A file that exists is never touched."""
    make_folders(layout, keep_files=True)
    package = resources.files("utils.vault") / "templates"
    for name, template in TEMPLATES.items():
        _write_new(layout.root / name, (package / template).read_bytes())
    add_obsidian(layout)
    _write_new(layout.marker, MARKER_TEXT)


def add_obsidian(layout: Layout) -> list[str]:
    """Write what of `OBSIDIAN` the vault lacks; the names of what was written. A file that exists is never touched."""
    package = resources.files("utils.vault") / "templates" / "obsidian"
    return [
        name for name, template in OBSIDIAN.items() if _write_new(layout.root / name, (package / template).read_bytes())
    ]


def _write_new(path: Path, data: bytes) -> bool:
    """Whether the file was not there, and now is."""
    if os.path.lexists(path):
        return False
    try:
        atomic.write(path, data, replace=False)
    except FileExistsError:
        return False  # another process of this node wrote it a moment ago, or a file lies where its folder belongs
    return True


def _is_bare(root: Path) -> bool:
    """Whether the folder holds no file but `.gitkeep`s."""
    return all(name == KEEP for _, _, names in os.walk(root) for name in names)
