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
from collections.abc import Callable
from pathlib import Path

TEMP_PREFIX = ".tmp-"
_TEMPORARY = re.compile(re.escape(TEMP_PREFIX) + r"[0-9a-f]{16}")
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def write(path: Path, data: bytes, *, mode: int = 0o644, replace: bool = True) -> None:
    """Write `data` to `path` durably. With `replace=False` an existing file is left alone.

    Raises `FileExistsError` (nothing changed) or any `OSError` of the file system; no temporary file is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _filled(path, data, mode)
    try:
        if replace:
            os.replace(temporary, path)
        else:
            rename_noreplace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def replace_if(path: Path, data: bytes, is_expected: Callable[[Path], bool]) -> bool:
    """Put `data` in place of what lies at `path`, durably, if `is_expected` says so of it; whether that was done.

    It is asked again about what came out, so what somebody saves in the last moment is put back and stands. Where the
    system can't exchange two files, that moment lies between the look and the rename. Raises `OSError`.
    """
    temporary = _filled(path, data, 0o644)
    done = False
    try:
        if is_expected(path):
            done = _exchange_if(temporary, path, data, is_expected)
    finally:
        if done or _holds(temporary, data):  # never what is not ours
            temporary.unlink(missing_ok=True)
    if done:
        sync_folder(path.parent)
    return done


def remove_if(path: Path, is_expected: Callable[[Path], bool]) -> bool:
    """Remove what lies at `path`, durably, if `is_expected` says so of it, asked as by `replace_if`."""
    temporary = _temporary(path)
    done = False
    if not is_expected(path):
        return False
    try:
        rename_noreplace(path, temporary)
    except FileNotFoundError:
        return False
    try:
        done = is_expected(temporary)
    finally:
        if not done:
            _put_back(temporary, path)
    if done:
        temporary.unlink()
    sync_folder(path.parent)
    return done


def _exchange_if(temporary: Path, path: Path, data: bytes, is_expected: Callable[[Path], bool]) -> bool:
    """Exchange the two; back again where what came out is not expected. `data` is what lies at `temporary`."""
    try:
        if not _rename(temporary, path, _RENAME_EXCHANGE):
            os.replace(temporary, path)
            return True
    except FileNotFoundError:
        return False  # removed in the last moment
    good = False
    try:
        good = is_expected(temporary)
    finally:
        if not good:
            _rename(temporary, path, _RENAME_EXCHANGE)
            if not _holds(temporary, data):  # saved once more in between: the newest stands
                _rename(temporary, path, _RENAME_EXCHANGE)
                temporary.unlink()
    return good


def _put_back(temporary: Path, path: Path) -> None:
    try:
        rename_noreplace(temporary, path)
    except FileExistsError:  # saved once more in between: the newest stands
        temporary.unlink()


def move(source: Path, target: Path) -> None:
    """Rename durably, never over a file. Raises `FileNotFoundError` or `FileExistsError`; then nothing moved."""
    target.parent.mkdir(parents=True, exist_ok=True)
    rename_noreplace(source, target)
    sync_folder(target.parent)
    if source.parent != target.parent:
        sync_folder(source.parent)


def is_there(path: Path | str) -> bool:
    """As `os.path.lexists`, without the price of an exception: of eight who ask for a task, seven are late."""
    return os.access(path, os.F_OK, follow_symlinks=False)


def rename_noreplace(source: Path, target: Path) -> None:
    """Atomic rename that refuses an existing target (`renameat2` with `RENAME_NOREPLACE`, Linux ≥ 3.15).

    Where the system has no such call, the check and the rename are two steps: callers hold a lock there.
    """
    if _rename(source, target, _RENAME_NOREPLACE):
        return
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(source), None, os.fspath(target))
    os.rename(source, target)


def _rename(source: Path, target: Path, flag: int) -> bool:
    """`renameat2` with one flag; False where the system has no such call. Raises `OSError`."""
    if _renameat2 is None:
        return False
    if _renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flag) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(code, os.strerror(code), os.fspath(source), None, os.fspath(target))


def _temporary(path: Path) -> Path:
    return path.parent / f"{TEMP_PREFIX}{secrets.token_hex(8)}"


def _filled(path: Path, data: bytes, mode: int) -> Path:
    """A temporary file beside `path` with `data` on the disk."""
    temporary = _temporary(path)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _holds(temporary: Path, data: bytes) -> bool:
    return temporary.is_file() and not temporary.is_symlink() and temporary.read_bytes() == data


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


def temporaries(folder: Path) -> list[Path]:
    """The temporary files in `folder`, of live and of killed writers."""
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if _TEMPORARY.fullmatch(path.name) and not path.is_symlink()]


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
#: Whether `rename_noreplace` is one step.
NEVER_REPLACES = _renameat2 is not None
