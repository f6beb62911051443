"""Files that a request attaches, each frozen by the sha256 of its bytes: `attachments: [{path, sha256, name}]`. Pure.

What a person approves are these hashes, so a file that was exchanged since is not sent (S6).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

MAX_FILES = 20
#: Of all files together, in bytes: as base64 they are 24 MiB, and many servers take no mail above 25 MB.
MAX_BYTES = 18 * 1024 * 1024
#: In UTF-8, so that a name stays on one line of a header (RFC 5322 §2.1.1) with each byte written as three.
MAX_NAME_BYTES = 255
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Attached:
    """One file: where it lies in the vault (posix, relative), the hash of its bytes, and its name in the mail."""

    path: str
    sha256: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} ({self.path})"


def read(fields: Mapping[str, Any]) -> tuple[list[Attached], list[str]]:
    """The files that a request's fields attach, and what is wrong with the others, in plain sentences."""
    entries = fields.get("attachments") or []
    if not isinstance(entries, list):
        return [], ["'attachments' must be a list of files, each with 'path' and 'sha256'"]
    if len(entries) > MAX_FILES:
        return [], [f"'attachments' has more than {MAX_FILES} files"]
    found, problems = [], []
    for number, entry in enumerate(entries, 1):
        try:
            found.append(_one(entry))
        except ValueError as error:
            problems.append(f"'attachments': number {number}: {error}")
    return found, problems


def _one(entry: object) -> Attached:
    if not isinstance(entry, Mapping) or set(entry) - {"path", "sha256", "name"}:
        raise ValueError("it needs 'path' and 'sha256', takes 'name', and nothing else")
    path, digest = entry.get("path"), entry.get("sha256")
    if not isinstance(path, str) or not _lies_below(path):
        raise ValueError("'path' must be the path of a file in the vault, like Accounting/invoice.pdf")
    if not isinstance(digest, str) or not _SHA256.match(digest):
        raise ValueError(f"{path!r} has no 'sha256' of 64 lower-case hex digits (in quotes): sha256sum tells it")
    name = entry.get("name", PurePosixPath(path).name)
    if not isinstance(name, str) or not is_name(name):
        raise ValueError(f"{path!r} has a 'name' that can't be one of a file")
    if PurePosixPath(name).suffix.lower() != PurePosixPath(path).suffix.lower():
        raise ValueError(f"{path!r} has a 'name' with another ending, so it would open as something else")
    return Attached(path, digest, name)


def _lies_below(path: str) -> bool:
    """Whether a path has only plain names: no `..`, nothing hidden, nothing absolute, no second spelling."""
    parts = path.split("/")
    return all(part and not part.startswith(".") and is_name(part) for part in parts)


def is_name(name: str) -> bool:
    """Whether this can be a file's name everywhere, and says what it seems to say."""
    plain = not any(char in '/\\"' or unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in name)
    return (
        plain
        and name == name.strip() == name.strip(".") != ""
        and len(name.encode("utf-8", "replace")) <= MAX_NAME_BYTES
    )
