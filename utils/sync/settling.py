"""Settling a conflict: both versions side by side, and a person's word which one stands.

What stands now is what lies at the original path; the version that yielded is the copy under `Updates/conflicts/`. To
take the copy's is to write as any person does: a task's file under the claim lock, a note by exchange, each only while
the very bytes lie there that the person was shown. What git does not know yet is kept aside first (S1).
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from utils.claim_task import Changed, Claims
from utils.core import merge, sync_rules, visible
from utils.core.merge import Aside, Entry
from utils.core.stages import Stage
from utils.sync import kept
from utils.sync.kept import Copy
from utils.vault import worktree
from utils.vault.layout import Layout, stage_at
from utils.vault.worktree import Kind

#: A version is shown up to this size (bytes), and compared up to so many lines.
MAX_TEXT = 1024 * 1024
MAX_LINES = 2_000
#: Stages whose files a person may edit. What is approved, rejected or done stays; what is worked on is not ours.
_EDITABLE = (Stage.INBOX, Stage.NEEDS_ACTION, Stage.PENDING_APPROVAL, Stage.QUARANTINE)
_WHY = "this version was put back by hand, and the one that stood here was not in git yet"


class UnknownConflict(LookupError):
    """No such copy lies under `Updates/conflicts/`."""


class NotTaken(RuntimeError):
    """That version can't be put there; the text says why. Nothing was written."""


@dataclass(frozen=True)
class Version:
    """A version of a file; `text` is None where it is no text, or too large to be shown."""

    sha256: str
    size: int
    text: str | None

    @classmethod
    def of(cls, data: bytes) -> Version:
        """The version with these bytes, what can't be seen in it written out."""
        shown: str | None = None
        if len(data) <= MAX_TEXT and b"\0" not in data:
            try:
                shown = visible.escape(data.decode("utf-8"))
            except UnicodeDecodeError:
                shown = None
        return cls(_sha256(data), len(data), shown)


class Conflicts:
    """The conflicts of one vault. `in_git(path)` answers what git has at a path, None where that can't be told."""

    def __init__(
        self, layout: Layout, claims: Claims, *, zone: str, in_git: Callable[[str], list[bytes] | None]
    ) -> None:
        self._layout = layout
        self._claims = claims
        self._zone = zone
        self._in_git = in_git

    def detail(self, identifier: str) -> dict[str, Any]:
        """One conflict with both versions: `ours` is what lies at the original path now (None: nothing), `theirs` the
        copy's. `copy_sha256` is of the copy as it lies there, its note included. Raises `UnknownConflict`."""
        copy = self._find(identifier)
        told, data = kept.told(self._layout, copy), self._read(copy)
        theirs = Version.of(kept.without_header(data))
        current = self._current(str(told["original"]))
        ours = Version.of(current) if current is not None else None
        difference = _difference(ours, theirs)
        return {**told, "copy_sha256": _sha256(data), "ours": ours, "theirs": theirs, "difference": difference}

    def take_theirs(self, identifier: str, sha256: str | None, copy_sha256: str | None, *, by: str) -> dict[str, Any]:
        """Put the copy's version in the place of what lies there, which must have the hash that was shown (None:
        nothing), and remove the copy. Raises `UnknownConflict`, `NotTaken` or `Changed`.

        `copy_sha256`: the copy as it was shown, which a sync may change; its note says what it is put in the place of.
        """
        copy = self._find(identifier)
        path, theirs = str(kept.told(self._layout, copy)["original"]), self._shown(copy, copy_sha256)
        self._check(path)
        current = self._current(path)
        if (_sha256(current) if current is not None else None) != sha256:
            raise Changed(_sha256(current) if current is not None else "")
        if current != theirs:
            kept_at = self._keep(path, current) if current is not None else None
            self._put(path, current, theirs, by=by)
        else:
            kept_at = None
        self._remove(copy)
        return {"path": path, "sha256": _sha256(theirs), "kept_at": kept_at}

    def dismiss(self, identifier: str, copy_sha256: str | None) -> None:
        """What stands shall stand: remove the copy, as it was shown. Raises `UnknownConflict` or `NotTaken`."""
        copy = self._find(identifier)
        self._shown(copy, copy_sha256)
        self._remove(copy)

    def _find(self, identifier: str) -> Copy:
        for copy in kept.copies(self._layout):
            if kept.identifier(copy) == identifier:
                return copy
        raise UnknownConflict("there is no such conflict; it may be settled already")

    def _read(self, copy: Copy) -> bytes:
        data = worktree.read(self._layout.root, copy.path)
        if data is None:
            raise UnknownConflict("the copy is being changed or was removed: look again")
        return data

    def _shown(self, copy: Copy, copy_sha256: str | None) -> bytes:
        """The version in the copy, which is the one that was shown (None: whoever asks says nothing of that)."""
        data = self._read(copy)
        if copy_sha256 not in (None, _sha256(data)):
            raise NotTaken("the copy is another than was shown: look at it again")
        return kept.without_header(data)

    def _current(self, path: str) -> bytes | None:
        """What lies at the original path; nothing where no file of the vault may lie there: a copy's note names it, and
        anybody may have written that."""
        if sync_rules.name_refusal(path) is not None:
            return None
        return worktree.read(self._layout.root, path) if self._kind(path) is Kind.FILE else None

    def _kind(self, path: str) -> Kind:
        return worktree.look(self._layout.root, path).kind

    def _check(self, path: str) -> None:
        """Raise `NotTaken` where a person's hand may not put a file from here."""
        refusal = sync_rules.name_refusal(path) or sync_rules.kind_refusal(path, 0, MAX_TEXT)
        if refusal is not None:
            raise NotTaken(f"{visible.plain(path)} is no place for a note: {refusal.reason}")
        if path in sync_rules.ROOT_FILES or sync_rules.is_ignored(path):
            raise NotTaken(f"{path} is not changed from here: edit it on this machine")
        if sync_rules.is_log(path):
            raise NotTaken(f"{path} is a log: its lines are united, none stands for another")
        if path.startswith(merge.CONFLICTS):
            raise NotTaken("this is a copy of a copy: take what you want of it by hand")
        if self._kind(path) not in (Kind.FILE, Kind.NOTHING):
            raise NotTaken(f"{visible.plain(path)} is no file of its own: look at it by hand")
        stage = stage_at(path)
        if stage is not None and stage not in _EDITABLE:
            raise NotTaken("what is approved, worked on, rejected or done is not changed by this: look at it by hand")
        if stage is not None and self._kind(path) is Kind.NOTHING:
            raise NotTaken(f"the task does not lie at {path} any more: this would make a second one of it")

    def _put(self, path: str, current: bytes | None, data: bytes, *, by: str) -> None:
        root = self._layout.root
        if stage_at(path) is not None and current is not None:
            self._claims.replace(root / path, _sha256(current), data, by=by)
            return
        expected = worktree.blob_id(current, "") if current is not None else None
        if not worktree.replace(root, path, expected=expected, wanted=worktree.blob_id(data, ""), data=data):
            now = self._current(path)
            raise Changed(_sha256(now) if now is not None else "")

    def _keep(self, path: str, data: bytes) -> str | None:
        """Keep what is about to go, unless git has it; where."""
        known = self._in_git(path)
        if known is not None and data in known:
            return None
        oid = worktree.blob_id(data, "")
        kept_at = merge.conflict_path(path, self._zone, oid)
        aside = Aside(path, Entry(merge.FILE, oid), self._zone, self._zone, kept_at, _WHY)
        note = merge.note_for(aside, data)
        worktree.replace(self._layout.root, kept_at, expected=None, wanted=worktree.blob_id(note, ""), data=note)
        return kept_at

    def _remove(self, copy: Copy) -> None:
        data = worktree.read(self._layout.root, copy.path)
        if data is not None:
            oid = worktree.blob_id(data, "")
            if worktree.replace(self._layout.root, copy.path, expected=oid, wanted=None):
                return
        if self._kind(copy.path) is not Kind.NOTHING:
            raise NotTaken("the copy was changed meanwhile: look at it again")


def _difference(ours: Version | None, theirs: Version) -> str | None:
    """From what stands to what yielded, as a unified diff of lines; None where one of them can't be shown."""
    before = "" if ours is None else ours.text
    if before is None or theirs.text is None:
        return None
    lines = before.splitlines(), theirs.text.splitlines()
    if max(map(len, lines)) > MAX_LINES:
        return None
    return "\n".join(difflib.unified_diff(*lines, "ours", "theirs", lineterm=""))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
