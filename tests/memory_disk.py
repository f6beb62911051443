"""A disk in the memory of this process: what Python asks the system for files below one folder, answered by dicts.

For worlds that are played by the million (`tests.acting_ground`): the program's own file code runs as it is, down to
`os.open`, `os.scandir` and `renameat2`, without the system's calls. Nothing lies on the real disk, so what is forgotten
here is missing there. There are files and folders, hard links, and no symbolic links; `tests/test_memory_disk.py` plays
the same on a real disk, and compares.
"""

from __future__ import annotations

import builtins
import ctypes
import errno
import fcntl
import io
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import PurePath
from typing import Any
from unittest import mock

from utils.vault import atomic

NOREPLACE, EXCHANGE = 1, 2
_WRITING = os.O_WRONLY | os.O_RDWR


class Folder(dict[str, "File"]):
    """What lies in a folder, by name; as `listing` it is kept until something changes."""

    listing: _Listing | None = None

    def __setitem__(self, name: str, file: File) -> None:
        super().__setitem__(name, file)
        self.listing = None

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        self.listing = None


class File:
    """An inode; of a folder `entries` is what lies in it."""

    __slots__ = ("ctime", "data", "entries", "links", "mode", "mtime", "number")

    def __init__(self, number: int, mode: int, entries: Folder | None = None) -> None:
        self.data = b""
        self.entries = entries
        self.number = number
        self.mode = (stat.S_IFREG if entries is None else stat.S_IFDIR) | mode
        self.links = 1
        self.mtime = self.ctime = time.time_ns()

    def write(self, data: bytes) -> None:
        """All of its content."""
        self.data = data
        self.mtime = self.ctime = time.time_ns()


class Status:
    """The part of `os.stat_result` that is read of files."""

    __slots__ = ("_file",)
    st_dev = 0xACED

    def __init__(self, file: File) -> None:
        self._file = file

    st_mode = property(lambda self: self._file.mode)
    st_ino = property(lambda self: self._file.number)
    st_nlink = property(lambda self: self._file.links)
    st_size = property(lambda self: len(self._file.data))
    st_mtime_ns = property(lambda self: self._file.mtime)
    st_ctime_ns = property(lambda self: self._file.ctime)
    st_mtime = property(lambda self: self._file.mtime / 1e9)
    st_ctime = property(lambda self: self._file.ctime / 1e9)


class Entry:
    """An `os.DirEntry`."""

    __slots__ = ("_is_folder", "name", "path")

    def __init__(self, name: str, path: str, is_folder: bool) -> None:
        self.name = name
        self.path = path
        self._is_folder = is_folder

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self._is_folder

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return not self._is_folder

    def is_symlink(self) -> bool:
        return False

    def __fspath__(self) -> str:
        return self.path


class _Listing(list[Entry]):
    """What `os.scandir` answers."""

    def __enter__(self) -> Iterator[Entry]:
        return iter(self)

    def __exit__(self, *error: object) -> None:
        pass


class _Reader(io.BytesIO):
    def __init__(self, data: bytes, descriptor: int | None, close: Callable[[int], None]) -> None:
        super().__init__(data)
        self._descriptor = descriptor
        self._close = close

    def fileno(self) -> int:
        if self._descriptor is None:
            raise io.UnsupportedOperation("fileno")
        return self._descriptor

    def close(self) -> None:
        if not self.closed and self._descriptor is not None:
            self._close(self._descriptor)
        super().close()


class _Writer(_Reader):
    def __init__(self, file: File, descriptor: int | None, close: Callable[[int], None]) -> None:
        super().__init__(b"", descriptor, close)
        self._file = file

    def flush(self) -> None:
        if not self.closed and self._file.data != self.getvalue():
            self._file.write(self.getvalue())

    def close(self) -> None:
        self.flush()
        super().close()


class Disk:
    """Files below `root`; descriptors of them are numbers that the system gives nobody."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._below = f"{root}/"
        self._numbers = count(1)
        self._descriptors = count(1 << 30)
        self._open: dict[int, tuple[File, int]] = {}
        self._folders: dict[str, Folder] = {os.path.dirname(root): Folder()}
        self._make_folder(root)

    def clear(self) -> None:
        """Without files; the folders stay."""
        self._open.clear()
        for entries in self._folders.values():
            for name in [name for name, file in entries.items() if file.entries is None]:
                del entries[name]

    # Inside

    def _make_folder(self, path: str, mode: int = 0o777) -> None:
        entries = Folder()
        folder, _, name = path.rpartition("/")
        self._folders[folder][name] = File(next(self._numbers), mode, entries)
        self._folders[path] = entries

    def _parent(self, path: str) -> tuple[Folder, str]:
        """What lies beside it, and its name."""
        folder, _, name = path.rpartition("/")
        entries = self._folders.get(folder)
        if entries is None:
            raise self._no(self._why_no_folder(folder), path)
        if len(name) > 255 and len(os.fsencode(name)) > 255:
            raise self._no(errno.ENAMETOOLONG, path)
        return entries, name

    def _why_no_folder(self, folder: str) -> int:
        above, _, name = folder.rpartition("/")
        if above in self._folders:
            return errno.ENOTDIR if name in self._folders[above] else errno.ENOENT
        return self._why_no_folder(above) if above.startswith(self.root) else errno.ENOENT

    def _find(self, path: str) -> File:
        folder, _, name = path.rpartition("/")
        entries = self._folders.get(folder)
        if entries is not None and name in entries:
            return entries[name]
        self._parent(path)
        raise self._no(errno.ENOENT, path)

    @staticmethod
    def _no(code: int, *paths: str) -> OSError:
        first, *others = paths
        return OSError(code, os.strerror(code), first, None, *others)

    # What the system is asked

    def stat(self, path: str, *, follow_symlinks: bool = True) -> Status:
        return Status(self._find(path))

    def lstat(self, path: str) -> Status:
        return Status(self._find(path))

    def access(self, path: str, mode: int, *, follow_symlinks: bool = True) -> bool:
        """Whether something lies there; nothing is forbidden on this disk."""
        try:
            self._find(path)
        except OSError:
            return False
        return True

    def listdir(self, path: str) -> list[str]:
        return [entry.name for entry in self.scandir(path)]

    def scandir(self, path: str) -> _Listing:
        entries = self._folders.get(path)
        if entries is None:
            self._find(path)
            raise self._no(errno.ENOTDIR, path)
        if entries.listing is None:
            found = (Entry(name, f"{path}/{name}", file.entries is not None) for name, file in entries.items())
            entries.listing = _Listing(found)
        return entries.listing

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        entries, name = self._parent(path)
        if name in entries:
            raise self._no(errno.EEXIST, path)
        self._make_folder(path, mode & ~0o022)

    def unlink(self, path: str) -> None:
        file = self._find(path)
        if file.entries is not None:
            raise self._no(errno.EISDIR, path)
        entries, name = self._parent(path)
        del entries[name]
        file.links -= 1
        file.ctime = time.time_ns()

    def link(self, source: str, target: str) -> None:
        file = self._find(source)
        entries, name = self._parent(target)
        if name in entries:
            raise self._no(errno.EEXIST, source, target)
        entries[name] = file
        file.links += 1
        file.ctime = time.time_ns()

    def rename(self, source: str, target: str, flags: int = 0) -> None:
        file = self._find(source)
        beside, name = self._parent(target)
        there = beside.get(name)
        if flags & EXCHANGE and there is None:
            raise self._no(errno.ENOENT, source, target)
        if flags & NOREPLACE and there is not None:
            raise self._no(errno.EEXIST, source, target)
        is_onto_folder = there is not None and there.entries is not None
        if file.entries is not None or (is_onto_folder and flags & EXCHANGE):
            raise NotImplementedError("folders are not renamed here")
        if is_onto_folder:
            raise self._no(errno.EISDIR, source, target)
        if there is file:
            return
        entries, old = self._parent(source)
        del entries[old]
        if flags & EXCHANGE and there is not None:
            entries[old] = there
        elif there is not None:
            there.links -= 1
        beside[name] = file
        file.ctime = time.time_ns()

    def utime(self, path: str, times: tuple[float, float]) -> None:
        file = self._find(path)
        file.mtime, file.ctime = round(times[1] * 1e9), time.time_ns()

    def truncate(self, path: str, length: int) -> None:
        file = self._find(path)
        if file.entries is not None:
            raise self._no(errno.EISDIR, path)
        file.write(file.data[:length].ljust(length, b"\0"))

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        entries, name = self._parent(path)
        file = entries.get(name)
        if file is None:
            if not flags & os.O_CREAT:
                raise self._no(errno.ENOENT, path)
            file = entries[name] = File(next(self._numbers), mode & ~0o022)
        elif flags & os.O_EXCL:
            raise self._no(errno.EEXIST, path)
        elif file.entries is not None and flags & _WRITING:
            raise self._no(errno.EISDIR, path)
        elif file.entries is None and flags & os.O_DIRECTORY:
            raise self._no(errno.ENOTDIR, path)
        elif flags & os.O_TRUNC:
            file.write(b"")
        descriptor = next(self._descriptors)
        self._open[descriptor] = file, flags
        return descriptor

    def close(self, descriptor: int) -> None:
        self._of(descriptor)
        del self._open[descriptor]

    def fstat(self, descriptor: int) -> Status:
        return Status(self._of(descriptor)[0])

    def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        return self._of(descriptor)[0].data[offset : offset + length]

    def write(self, descriptor: int, data: Any) -> int:
        file, flags = self._of(descriptor)
        if not flags & os.O_APPEND:
            raise NotImplementedError("only logs are written by their descriptor")
        file.write(file.data + bytes(data))
        return len(data)

    def fsync(self, descriptor: int) -> None:
        self._of(descriptor)

    def flock(self, descriptor: int, operation: int) -> None:
        """None waits: one process at a time is played."""
        self._of(descriptor)

    def _of(self, descriptor: int) -> tuple[File, int]:
        try:
            return self._open[descriptor]
        except KeyError:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None

    def file(
        self,
        path: str | int,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Any:
        """`io.open`."""
        kind = mode.replace("b", "").replace("t", "")
        if isinstance(path, int):
            file, _ = self._of(path)
        elif kind == "r":
            file = self._find(path)
            if file.entries is not None:
                raise self._no(errno.EISDIR, path)
        else:
            flags = {"w": os.O_TRUNC, "x": os.O_EXCL}[kind]
            descriptor = self.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o666)
            file, _ = self._open.pop(descriptor)
        number = path if isinstance(path, int) else None
        raw = _Reader(file.data, number, self.close) if kind == "r" else _Writer(file, number, self.close)
        return raw if "b" in mode else io.TextIOWrapper(raw, encoding or "utf-8", errors, newline)

    # In the place of the system

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """While it lasts, this process finds it below its root."""
        with ExitStack() as patches:
            looking = ("stat", "lstat", "access", "listdir", "scandir")
            for name in (*looking, "mkdir", "unlink", "open", "utime", "truncate"):
                patches.enter_context(
                    mock.patch.object(os, name, self._by_path(getattr(os, name), getattr(self, name)))
                )
            for name in ("close", "fstat", "pread", "write", "fsync"):
                real = getattr(os, name)
                patches.enter_context(mock.patch.object(os, name, _by_descriptor(real, getattr(self, name))))
            patches.enter_context(mock.patch.object(fcntl, "flock", _by_descriptor(fcntl.flock, self.flock)))
            for name, own in (("rename", self.rename), ("replace", self.rename), ("link", self.link)):
                patches.enter_context(mock.patch.object(os, name, self._by_path(getattr(os, name), own, both=True)))
            opened = self._by_path(io.open, self.file)
            patches.enter_context(mock.patch.object(io, "open", opened))
            patches.enter_context(mock.patch.object(builtins, "open", opened))
            patches.enter_context(mock.patch.object(atomic, "_renameat2", self._renameat2(atomic._renameat2)))
            yield

    def _by_path(self, real: Callable[..., Any], own: Callable[..., Any], *, both: bool = False) -> Callable[..., Any]:
        below = self._below

        def call(path: Any = ".", *arguments: Any, **options: Any) -> Any:
            if type(path) is int:
                return (own if path in self._open else real)(path, *arguments, **options)
            place = path if type(path) is str else str(path) if isinstance(path, PurePath) else os.fspath(path)
            if type(place) is not str or not (place.startswith(below) or place == self.root):
                return real(path, *arguments, **options)
            if both:
                return own(place, os.fspath(arguments[0]))
            return own(place, *arguments, **options)

        return call

    def _renameat2(self, real: Any) -> Callable[..., int]:
        below = os.fsencode(self._below)

        def renameat2(at: int, source: bytes, to: int, target: bytes, flags: int) -> int:
            if not source.startswith(below):
                return int(real(at, source, to, target, flags))
            try:
                self.rename(os.fsdecode(source), os.fsdecode(target), flags)
            except OSError as error:
                ctypes.set_errno(error.errno or 0)
                return -1
            return 0

        return renameat2


def _by_descriptor(real: Callable[..., Any], own: Callable[..., Any]) -> Callable[..., Any]:
    def call(descriptor: Any, *arguments: Any) -> Any:
        return (own if type(descriptor) is int and descriptor >= 1 << 30 else real)(descriptor, *arguments)

    return call
