"""Files what a person drops into the Inbox: a note becomes a task of the general domain, word for word.

Only Local does this. A drop that is not text is left where it lies, with a note beside it that says so.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from utils.claim_task import Claims
from utils.core.routing import DOMAIN_OF_TYPE, TASK_TYPES
from utils.core.stages import Stage
from utils.core.task import ID_PATTERN, PRIORITIES, format_time, make_id, parse_time
from utils.vault import atomic, frontmatter
from utils.vault.frontmatter import InvalidFrontMatter
from utils.vault.layout import REASON_SUFFIX, Layout

log = logging.getLogger(__name__)

VAGUE_TYPE = "vault_operations"
_ASIDE = f"{atomic.TEMP_PREFIX}inbox-"
_LEFT = "Only Markdown notes become tasks. This file stays here until somebody moves it."


class Inbox:
    """The Inbox of one vault. `settle` in seconds: a file written to more recently is left for the next round."""

    def __init__(self, layout: Layout, claims: Claims, *, agent: str, settle: float) -> None:
        self._layout = layout
        self._claims = claims
        self._agent = agent
        self._settle = settle

    def run(self, now: datetime) -> str:
        """File what has settled; says what was done, or nothing where there is nothing to tell."""
        counts: Counter[str] = Counter()
        for path in self._drops():
            try:
                status = path.stat()
                if now.timestamp() - status.st_mtime < self._settle or not status.st_size:
                    continue  # somebody is still writing, or has only just made the note
                counts[self._file(path, status)] += 1
            except OSError as error:
                log.warning("%s stays in the Inbox: %s", path.name, error)
                counts["left in the Inbox"] += 1
        return ", ".join(f"{what}: {count}" for what, count in sorted(counts.items()))

    def _drops(self) -> Iterator[Path]:
        for folder, subfolders, names in os.walk(self._layout.folder(Stage.INBOX)):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for name in sorted(names):
                path = Path(folder, name)
                if name.startswith(_ASIDE):  # a crash between setting aside and removing
                    path = _put_back(path)
                    name = path.name
                if not name.startswith(".") and not name.endswith(REASON_SUFFIX) and not path.is_symlink():
                    yield path

    def _file(self, path: Path, status: os.stat_result) -> str:
        data = path.read_bytes() if path.suffix == ".md" else b""
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = "\0"
        if path.suffix != ".md" or "\0" in text:
            if not self._layout.reason(path).exists():
                self._claims.explain(path, _LEFT)
            return "left in the Inbox"
        try:
            found, body = frontmatter.parse(text)
        except InvalidFrontMatter:
            found, body = {}, text  # whatever stands there is the person's text
        identity = f"inbox\0{path.name}\0{hashlib.sha256(data).hexdigest()}"
        created = datetime.fromtimestamp(status.st_mtime, UTC)
        meta = completed(found, name=path.name, identity=identity, created=created, agent=self._agent)
        for identifier in dict.fromkeys((meta["id"], make_id(meta["domain"], created, identity))):
            meta["id"] = identifier
            # Where a task of this id exists already, it is this very drop, written before a crash, or another task.
            if self._claims.create(Stage.NEEDS_ACTION, meta, body).read_bytes() == frontmatter.write(meta, body):
                self._remove(path, data)
                return "filed from the Inbox"
        return "left in the Inbox"

    def _remove(self, path: Path, data: bytes) -> None:
        """Take the drop away, unless somebody wrote to it since it was read: then it is a drop of its own."""
        aside = path.with_name(f"{_ASIDE}{path.name}")
        atomic.move(path, aside)
        if aside.read_bytes() == data:
            aside.unlink()
        else:
            _put_back(aside)


def _put_back(aside: Path) -> Path:
    name = aside.name.removeprefix(_ASIDE)
    for number in range(1, 100):
        path = aside.with_name(name if number == 1 else f"{number}-{name}")
        try:
            atomic.move(aside, path)
        except FileExistsError:
            continue
        return path
    return aside


def completed(found: Mapping[str, Any], *, name: str, identity: str, created: datetime, agent: str) -> dict[str, Any]:
    """Front matter of a task: what the person wrote where it is usable, ours for the rest. Other keys are kept."""
    meta = dict(found)
    task_type = meta.get("type") if meta.get("type") in TASK_TYPES else VAGUE_TYPE
    domain = DOMAIN_OF_TYPE[str(task_type)]
    identifier = meta.get("id")
    match = ID_PATTERN.match(identifier) if isinstance(identifier, str) else None
    if match is None or match["domain"] != domain:
        identifier = make_id(domain, created, identity)
    try:
        parse_time(meta.get("created"))
    except ValueError:
        meta["created"] = format_time(created)
    meta.update(id=identifier, type=task_type, domain=domain)
    if meta.get("priority") not in PRIORITIES:
        meta["priority"] = "normal"
    if not isinstance(meta.get("source"), Mapping):
        meta["source"] = {"kind": "inbox", "name": name}
    meta["created_by"] = meta.get("created_by") or agent
    return meta
