"""Attachments: where they are put, and under which names. The sender chooses a name; we choose what it may be."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from utils.core.mail import Attachment
from utils.core.sync_rules import kind_refusal, name_refusal
from utils.mail.task_file import StoredAttachment
from utils.ports import SecretScanner
from utils.vault import atomic
from utils.vault.layout import Layout

MAX_LISTED = 100
MAX_STORED = 25
MAX_TOTAL = 50 * 1024 * 1024
_FORBIDDEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f<>:\"|?*/\\\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)
_RESERVED = re.compile(r"^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)", re.IGNORECASE)


def safe_name(name: str) -> str:
    """A plain file name: no folder, nothing hidden, reserved or invisible, at most 120 bytes, its ending kept."""
    name = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode("utf-8"))
    name = _FORBIDDEN.sub("_", re.split(r"[/\\]", name)[-1])
    name = " ".join(name.split()).strip(". ")
    if not name or set(name) <= {"_", "."}:
        return "attachment"
    if _RESERVED.match(name):
        name = f"_{name}"
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending.encode()) > 15:
        stem, dot, ending = name, "", ""
    room = 120 - len((dot + ending).encode())
    return stem.encode()[:room].decode("utf-8", "ignore").strip(". ") + dot + ending or "attachment"


def store(
    layout: Layout,
    domain: str,
    task_id: str,
    attachments: Iterable[Attachment],
    secrets: SecretScanner,
    *,
    largest: int | None,
) -> list[StoredAttachment]:
    """Write attachments into the task's folder and tell where. Doing it again for the same mail changes nothing.

    Listed without a path is what has no content (too large), comes after the limits of number and sum, or would not be
    synced to the other node (programs, keys, files above `largest` bytes): it stays in the mailbox. With `largest` None
    everything is stored.
    """
    folder = layout.attachments(domain, task_id)
    taken: set[str] = set()
    stored: list[StoredAttachment] = []
    written = 0
    for attachment in list(attachments)[:MAX_LISTED]:
        content = attachment.content
        digest = hashlib.sha256(content).hexdigest() if content is not None else None
        name = safe_name(attachment.name)
        if (
            content is None
            or len(taken) >= MAX_STORED
            or written + len(content) > MAX_TOTAL
            or (_stays_behind(layout.relative(folder / name), content, largest, secrets))
        ):
            stored.append(StoredAttachment(attachment, None, digest))
            continue
        path = _place(folder, name, content, taken)
        written += len(content)
        stored.append(StoredAttachment(attachment, layout.relative(path), digest))
    return stored


def _stays_behind(path: str, content: bytes, largest: int | None, secrets: SecretScanner) -> bool:
    if largest is None:
        return False
    refusal = name_refusal(path) or kind_refusal(path, len(content), largest) or secrets.find(content)
    return refusal is not None


def _place(folder: Path, name: str, content: bytes, taken: set[str]) -> Path:
    """Write under `name`, numbered where that is taken; a file with the same bytes from an earlier try will do."""
    stem, dot, ending = name.rpartition(".")
    if not dot:
        stem, ending = name, ""
    for number in range(1, 10_000):
        candidate = name if number == 1 else f"{stem}-{number}{dot}{ending}"
        if candidate.casefold() in taken:
            continue
        path = folder / candidate
        try:
            atomic.write(path, content, replace=False)
        except FileExistsError:
            if path.is_symlink() or not path.is_file() or path.read_bytes() != content:
                continue
        taken.add(candidate.casefold())
        return path
    raise FileExistsError(f"{folder} holds ten thousand files named like {name}")
