"""Reading a file of the vault that a request froze by its sha256: exactly those bytes, or none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from utils.core.attached import MAX_BYTES, Attached
from utils.core.task import InvalidTask
from utils.vault import worktree


def read_all(root: Path, files: Iterable[Attached]) -> list[bytes]:
    """The bytes of each file in the vault `root`. Raises `InvalidTask` with a sentence for each that can't be used."""
    contents: list[bytes] = []
    problems: list[str] = []
    room = MAX_BYTES
    for file in files:
        try:
            data = _read(root, file, room)
        except ValueError as error:
            problems.append(str(error))
            continue
        room -= len(data)
        contents.append(data)
    if problems:
        raise InvalidTask(problems)
    return contents


def _read(root: Path, file: Attached, room: int) -> bytes:
    lying = worktree.look(root, file.path)
    if lying.kind is worktree.Kind.NOTHING:
        raise ValueError(f"the attachment {file.path} is not there any more")
    if lying.kind is not worktree.Kind.FILE:
        raise ValueError(f"the attachment {file.path} is no file but {lying.kind.value}")
    if lying.size > room:
        raise ValueError(f"the attachment {file.path} is too large: at most {MAX_BYTES // 1024 // 1024} MiB in all")
    try:
        data = worktree.read(root, file.path)
    except OSError as error:
        raise ValueError(f"the attachment {file.path} can't be read: {error.strerror}") from error
    if data is None or hashlib.sha256(data).hexdigest() != file.sha256:
        raise ValueError(f"the attachment {file.path} is not the file that the request names (its sha256 differs)")
    return data
