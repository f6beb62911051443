"""Files that appear complete or not at all, and stay through a power cut.

The order is the usual one: temporary file in the same folder, write, fsync, rename, fsync of the folder.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import secrets
import sys
from pathlib import Path

TEMP_PREFIX = ".tmp-"
_TEMPORARY = re.compile(re.escape(TEMP_PREFIX) + r"[0-9a-f]{16}")
_RENAME_NOREPLACE = 1
_AT_FDCWD = -100


def write(path: Path, data: bytes, *, mode: int = 0o644, replace: bool = True) -> None:
    """Write `data` to `path` durably. With `replace=False` an existing file is left alone.

    Raises `FileExistsError` (nothing changed) or any `OSError` of the file system; no temporary file is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMP_PREFIX}{secrets.token_hex(8)}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(temporary, path)
        else:
            rename_noreplace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def move(source: Path, target: Path) -> None:
    """Rename durably, never over a file. Raises `FileNotFoundError` or `FileExistsError`; then nothing moved."""
    target.parent.mkdir(parents=True, exist_ok=True)
    rename_noreplace(source, target)
    sync_folder(target.parent)
    if source.parent != target.parent:
        sync_folder(source.parent)


def rename_noreplace(source: Path, target: Path) -> None:
    """Atomic rename that refuses an existing target (`renameat2` with `RENAME_NOREPLACE`, Linux ≥ 3.15).

    Where the system has no such call, the check and the rename are two steps: callers hold a lock there.
    """
    if _renameat2 is not None:
        if _renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.ENOSYS, errno.EINVAL):
            raise OSError(code, os.strerror(code), os.fspath(source), None, os.fspath(target))
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(source), None, os.fspath(target))
    os.rename(source, target)


def sweep(root: Path, *, older_than: float) -> int:
    """Remove the temporary files that killed writers left below `root`, if written before `older_than` (a POSIX time).

    Answers how many. Only names that this module makes are touched.
    """
    removed = 0
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if _TEMPORARY.fullmatch(name) and path.lstat().st_mtime < older_than:
                path.unlink(missing_ok=True)
                removed += 1
    return removed


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _load_renameat2() -> ctypes._NamedFuncPointer | None:
    if not sys.platform.startswith("linux"):
        return None
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is not None:
        function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return function


_renameat2 = _load_renameat2()
