"""Makes tasks of what a person drops: into the Inbox, or right where tasks wait. Word for word; only Local does this.

A name that is no id tells a drop from a task. What a drop is says `utils.core.inference`. What is no text is left where
it lies, with a note beside it that says so.
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
from utils.core.inference import completed, infer
from utils.core.stages import Stage
from utils.core.task import ID_PATTERN, InvalidTask, make_id, task_from
from utils.vault import atomic, frontmatter
from utils.vault.frontmatter import InvalidFrontMatter
from utils.vault.layout import FOLDERS, REASON_SUFFIX, Layout

log = logging.getLogger(__name__)

_ASIDE = f"{atomic.TEMP_PREFIX}inbox-"
_LEFT = "Only Markdown notes become tasks. This file stays here until somebody moves it."
_CALLED = {**FOLDERS, Stage.INBOX: "the Inbox"}
#: Where a task that was made of a drop may lie when a crash kept the drop from going away.
_OPEN = (Stage.NEEDS_ACTION, Stage.IN_PROGRESS)
_LONGEST_NAME = 255  # bytes
_LAST_TIME = 253_402_300_799  # the year 9999


class Drops:
    """The drops of one vault. `settle` in seconds: a file written to more recently is left for the next round."""

    def __init__(self, layout: Layout, claims: Claims, *, agent: str, settle: float) -> None:
        self._layout = layout
        self._claims = claims
        self._agent = agent
        self._settle = settle
        #: In how many seconds what was too young in the last round is old enough; None where nothing was.
        self.due_in: float | None = None

    def run(self, now: datetime) -> str:
        """File what has settled; says what was done, or nothing where there is nothing to tell."""
        counts: Counter[str] = Counter()
        self.due_in = None
        for stage in (Stage.INBOX, Stage.NEEDS_ACTION):
            for path in self._drops(stage):
                try:
                    status = path.stat()
                    if abs(now.timestamp() - status.st_mtime) < self._settle:
                        self.due_in = self._settle
                        continue
                    if not status.st_size:
                        continue  # somebody has only just made the note
                    filed = self._file(path, stage, status)
                except OSError as error:
                    log.warning("%r stays where it was dropped: %s", path.name, error)
                    filed = False
                if filed is not None:
                    counts[f"{'filed from' if filed else 'left in'} {_CALLED[stage]}"] += 1
        return ", ".join(f"{what}: {count}" for what, count in sorted(counts.items()))

    def _drops(self, stage: Stage) -> Iterator[Path]:
        for folder, subfolders, names in os.walk(self._layout.folder(stage)):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for name in sorted(names):
                path = Path(folder, name)
                if name.startswith(_ASIDE):  # a crash between setting aside and removing
                    try:
                        path = _put_back(path)
                    except OSError as error:
                        log.warning("%r stays set aside: %s", name, error)
                        continue
                    name = path.name
                is_task = stage is Stage.NEEDS_ACTION and path.suffix == ".md" and ID_PATTERN.match(path.stem)
                is_note = name.startswith(".") or name.endswith(REASON_SUFFIX)
                if not is_task and not is_note and not path.is_symlink():
                    yield path

    def _file(self, path: Path, stage: Stage, status: os.stat_result) -> bool | None:
        """Make a task of a drop; False where it stays a drop, None where it is for the dispatcher to set aside."""
        data = path.read_bytes() if path.suffix == ".md" else b""
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = "\0"
        if path.suffix != ".md" or "\0" in text:
            if not self._layout.reason(path).exists():
                self._claims.explain(path, _LEFT)
            return False
        if stage is Stage.NEEDS_ACTION and _is_broken(text):
            return None
        created = datetime.fromtimestamp(min(max(status.st_mtime, 0), _LAST_TIME), UTC)
        identity = f"{stage}\0{path.name}\0{hashlib.sha256(data).hexdigest()}"
        meta, body = self._task(path, stage, text, identity, created)
        # The id that the person wrote may be another's; the same note may have been dropped, and done, before.
        keys = (identity, *(f"{identity}\0{number}" for number in range(2, 100)))
        for identifier in dict.fromkeys((meta["id"], *(make_id(meta["domain"], created, key) for key in keys))):
            meta["id"] = identifier
            lying = self._layout.find(identifier)
            if not lying:
                self._claims.create(Stage.NEEDS_ACTION, meta, body)
            # A task of this id is this very drop, written before a crash, or another task.
            if not lying or any(self._is(place, meta, body) for place in lying):
                self._remove(path, data)
                return True
        return False

    def _task(
        self, path: Path, stage: Stage, text: str, identity: str, created: datetime
    ) -> tuple[dict[str, Any], str]:
        """The task of a drop. Where its properties can't be used they are taken for its text."""
        name = os.fsencode(path.name).decode("utf-8", "replace")
        folder, source = self._layout.domain_of(path), {"kind": stage.value, "name": name}

        def reading(found: Mapping[str, Any]) -> dict[str, Any]:
            seen = infer(found, folder=folder, name=name, text=text)
            return completed(found, seen, identity=identity, created=created, agent=self._agent, source=source)

        try:
            found, body = frontmatter.parse(text)
            meta = reading(found)
            task_from(*frontmatter.read(frontmatter.write(meta, body)))
        except (InvalidFrontMatter, InvalidTask):
            return reading({}), text
        return meta, body

    def _is(self, place: Path, meta: dict[str, Any], body: str) -> bool:
        return self._layout.stage_of(place) in _OPEN and place.read_bytes() == frontmatter.write(meta, body)

    def _remove(self, path: Path, data: bytes) -> None:
        """Take the drop away, unless somebody wrote to it since it was read: then it is a drop of its own."""
        aside = path.with_name(f"{_ASIDE}{path.name}")
        if len(os.fsencode(aside.name)) > _LONGEST_NAME:
            aside = path.with_name(f"{_ASIDE}{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.md")
        atomic.move(path, aside)
        if aside.read_bytes() == data:
            aside.unlink()
            if os.path.lexists(self._layout.reason(path)):  # from when it was no text
                self._claims.explain(path, None)
        else:
            _put_back(aside)


def _is_broken(text: str) -> bool:
    """Whether a file begins like a task and can't be read as one."""
    try:
        frontmatter.parse(text)
    except InvalidFrontMatter:
        return text.removeprefix("\ufeff").startswith("---")
    return False


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
