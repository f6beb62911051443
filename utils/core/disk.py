"""What a person must do when the disk says no: one remedy for an error of ours and for one that git prints."""

from __future__ import annotations

REMEDIES = {
    "No space left on device": "the disk is full: make room, the next sync goes on where this one stopped",
    "Disk quota exceeded": "the disk quota is used up: make room, the next sync goes on where this one stopped",
    "Read-only file system": "the disk is mounted read-only: mount it for writing (look for disk errors in `dmesg`)",
    "Permission denied": "this user may not write there: correct the owner or the permissions",
    "Operation not permitted": "this user may not write there: correct the owner, the permissions or the attributes",
    "Input/output error": "the disk can't be read or written: look for disk errors in `dmesg`, and make a backup",
}


def remedy(reason: str) -> str | None:
    """What to do about `reason`, the text of an errno in English; None where nothing is known."""
    return REMEDIES.get(reason)
