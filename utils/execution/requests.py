"""Reading the files of requests: what lies there, byte for byte, and whether it can be used."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from utils.core import attached, books, social, whatsapp
from utils.core.acting import Order
from utils.core.policy import MAIL_ACTIONS
from utils.core.request_notes import is_recipient_flag, recipient_flags, with_field_notes
from utils.core.social import LIMITS
from utils.core.stages import Stage
from utils.core.task import ApprovalRequest, InvalidTask, request_from, split_draft, with_draft
from utils.execution import render
from utils.execution.journal import ActionRecord
from utils.execution.soon import Soon
from utils.vault import frontmatter, frozen, images
from utils.vault.layout import Layout

log = logging.getLogger(__name__)

MAX_BYTES = 4 * 1024 * 1024
#: What else must hold of a request of these actions before it can be approved; each answers plain sentences. Pure.
RULES: Mapping[str, Callable[[ApprovalRequest], list[str]]] = {
    **dict.fromkeys(MAIL_ACTIONS, render.problems),
    **dict.fromkeys(LIMITS, social.problems),
    "whatsapp_send": whatsapp.problems,
    "invoice": books.problems,
    "payment": books.problems,
}
#: A file that can't be used and was written less long ago (seconds) may still be in the making.
SETTLE_SECONDS = 2.0
_USUAL_BYTES = _REMEMBERED_BYTES = 64 * 1024


@dataclass(frozen=True)
class RequestFile:
    """One file in `Pending_Approval/` or `Approved/`, as it was read; parsed when that is first asked for."""

    path: Path
    stage: Stage
    data: bytes = field(repr=False)
    sha256: str

    @cached_property
    def request_id(self) -> str:
        """The id that the file's name says."""
        return self.path.stem

    @cached_property
    def _parsed(self) -> tuple[ApprovalRequest | None, tuple[str, ...]]:
        is_small = len(self.data) <= _REMEMBERED_BYTES
        return (_parsed_before if is_small else _parsed)(self.data, self.request_id)

    @property
    def request(self) -> ApprovalRequest | None:
        """The request, or None where the file can't be parsed."""
        return self._parsed[0]

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with it, in plain sentences."""
        return self._parsed[1]


def sha256(data: bytes) -> str:
    """The hash that approvals are bound to."""
    return hashlib.sha256(data).hexdigest()


def read(layout: Layout, path: Path) -> RequestFile | None:
    """Read one file; None where it is not there any more. Raises other `OSError`s.

    Of one that is too large to be used so much is kept as shows that; `sha256` is that of all its bytes.
    """
    stage = layout.stage_of(path)
    if stage is None:
        raise ValueError(f"{path} lies in no stage")
    try:
        with path.open("rb") as file:
            data = file.read(_USUAL_BYTES)
            if len(data) == _USUAL_BYTES:  # room for the largest is made for these alone
                data += file.read(MAX_BYTES + 1 - _USUAL_BYTES)
            digest = hashlib.sha256(data)
            while len(data) > MAX_BYTES and (rest := file.read(_USUAL_BYTES)):
                digest.update(rest)
    except FileNotFoundError:
        return None
    return RequestFile(path, stage, data, digest.hexdigest())


def is_settled(path: Path, now: datetime, seconds: float = SETTLE_SECONDS, soon: Soon | None = None) -> bool:
    """Whether the file lies there and was not written within the last `seconds`. `soon`: is told when it will be."""
    try:
        age = now.timestamp() - path.stat().st_mtime
    except FileNotFoundError:
        return False
    settled = not 0 <= age < seconds
    if soon is not None and not settled:
        soon.ask(now + timedelta(seconds=seconds - age))
    return settled


def read_all(layout: Layout, *stages: Stage) -> list[RequestFile]:
    """Every request file of these stages, in a stable order. What can't be read is logged and left out."""
    return list(each(layout, *stages))


def each(layout: Layout, *stages: Stage) -> Iterator[RequestFile]:
    """The same, each read in its turn: what is done about the one before may take minutes."""
    for path in [path for stage in stages for path in layout.files(stage)]:
        try:
            file = read(layout, path)
        except OSError as error:
            log.warning("%s can't be read: %s", layout.relative(path), error.strerror)
            continue
        if file is not None:
            yield file


def note(layout: Layout, path: Path) -> str | None:
    """The note beside a file; None where there is none that can be read: a note only explains."""
    place = layout.reason(path)
    try:
        return place.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s can't be read: %s", layout.relative(place), error.strerror)
        return None


def parse(data: bytes, name: str) -> tuple[ApprovalRequest | None, list[str]]:
    """The request in a file's bytes (None: unreadable) and what is wrong with it, in plain sentences.

    A request with problems can be shown and mended, not approved.
    """
    if len(data) > MAX_BYTES:
        return None, [f"the file is larger than {MAX_BYTES // 1024 // 1024} MiB"]
    try:
        request = request_from(*frontmatter.read(data))
    except frontmatter.InvalidFrontMatter as error:
        return None, [str(error)]
    except InvalidTask as error:
        return None, error.problems
    problems = []
    if request.id != name:
        problems.append(f"the file is called {name}.md but its id is {request.id}: a copy, or two files swapped?")
    if request.action in RULES:
        problems += RULES[request.action](request)
    return request, problems


def _parsed(data: bytes, name: str) -> tuple[ApprovalRequest | None, tuple[str, ...]]:
    request, problems = parse(data, name)
    return request, tuple(problems)


#: Every cycle looks at all that waits, and reading YAML is what takes its time. Nobody changes a request that was read.
_parsed_before = lru_cache(maxsize=512)(_parsed)


def problems_of_files(layout: Layout, request: ApprovalRequest) -> list[str]:
    """What is wrong with the files that it attaches, as they lie in the vault now, in plain sentences."""
    try:
        if request.action in LIMITS and not social.problems(request):
            images.whole(layout.root, request)
        frozen.read_all(layout.root, attached.read(request.fields)[0])
    except InvalidTask as error:
        return error.problems
    return []


def order(record: ActionRecord) -> Order:
    """What a hand is to carry out: read from the frozen bytes. Raises `InvalidTask` where those can't be used."""
    if sha256(record.frozen) != record.sha256:
        raise InvalidTask([f"the stored bytes of action {record.action_id} are not those approved"])
    request, problems = parse(record.frozen, record.request_id)
    if request is None or problems:
        raise InvalidTask([f"the approved request can't be used: {'; '.join(problems)}"])
    if request.action != record.action:
        raise InvalidTask([f"the approved request is a {request.action}, not a {record.action}"])
    return Order(
        record.action_id, request, record.approved_at, record.reference, record.prepared, max(record.attempts, 1)
    )


def edited(data: bytes, changes: Mapping[str, Any], draft: str | None) -> tuple[dict[str, Any], str]:
    """`(front matter, body)` with these fields and this draft (None: as it was); notes and flags follow the fields.

    Raises `frontmatter.InvalidFrontMatter`.
    """
    meta, body = frontmatter.read(data)
    meta.update(changes)
    above, old = split_draft(body)
    if meta.get("action") in MAIL_ACTIONS:
        above = with_field_notes(above, meta)
        if isinstance(meta.get("risk"), list):
            kept = [flag for flag in meta["risk"] if not is_recipient_flag(str(flag))]
            risk = recipient_flags(meta, meta.get("source") or {}) + kept
            if risk != meta["risk"]:
                meta["risk"] = risk
    text = (old or "") if draft is None else draft.replace("\r\n", "\n").replace("\r", "\n")
    return meta, with_draft(above, text)
