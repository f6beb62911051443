"""Whether a folder's disk takes anything at all right now. Looks, writes nothing."""

from __future__ import annotations

import os
from pathlib import Path

from utils.core.disk import remedy

_ROOM = 16 * 1024  # bytes; what rewriting one small file needs at least


def trouble(folder: Path) -> str | None:
    """Why nothing can be written into `folder` (or the nearest folder above it), with the remedy; None where all is
    well. A quota that is used up is not seen."""
    place = next((place for place in (folder, *folder.parents) if place.is_dir()), Path("/"))
    disk = os.statvfs(place)
    if disk.f_flag & os.ST_RDONLY:
        reason = "Read-only file system"
    elif disk.f_bavail * disk.f_frsize < _ROOM or (disk.f_files and not disk.f_favail):
        reason = "No space left on device"
    elif not os.access(place, os.W_OK | os.X_OK):
        reason = "Permission denied"
    else:
        return None
    return f"{reason} ({place}): {remedy(reason)}"
