"""Scan: what arrives is searched for secrets and strangers' kinds of file, each new content once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from utils.core import sync_rules
from utils.core.merge import FILE, Entry
from utils.core.routing import LOCAL
from utils.core.sync_rules import Refusal
from utils.sync.values import Session

_BATCH = 200
_REMEDY = (
    "It is in the remote's history: revoke the key where it was made, and make a new one. Then write the note again"
    " without it"
)
MARK = "end its line with `<!-- pragma: allowlist secret -->`"
_FALSE_ALARM = f" (a false alarm? Then {MARK})"


def explained(session: Session, refusal: Refusal) -> Refusal:
    """The refusal of a secret that lies here and has not travelled, with what to do about it."""
    if refusal.level != "CRITICAL":
        return refusal
    marked = f" If it is none: {MARK}" if session.zone == LOCAL else ""  # nobody marks what mail brought
    return Refusal(
        f"{refusal.reason}; it stays here. If it is a real one: change or revoke it where it was made, then take it out"
        f" of the note.{marked}",
        refusal.level,
    )


def wrong_content(
    session: Session, changes: Mapping[str, tuple[Entry | None, Entry | None]], *, by_person: bool
) -> dict[str, Refusal]:
    """Kinds and secrets that an honest cloud would not have committed; of a person's (`by_person`) secrets only,
    without the lines that they marked. Bytes that the vault had before are not looked at again."""
    known = {before.oid for before, _ in changes.values() if before}
    paths: dict[str, list[str]] = {}
    for path, (_, after) in changes.items():
        if after and after.mode in (FILE, "100755") and (not by_person or after.oid not in known):
            paths.setdefault(after.oid, []).append(path)
    reasons = {}
    for oid, data in _contents(session, list(paths)):
        secret = None if oid in known else _secret(session, data, by_person)
        for path in paths[oid]:
            kind = None if by_person else sync_rules.kind_refusal(path, len(data), session.config.max_file_bytes)
            if kind or secret:
                reasons[path] = secret or Refusal(kind.reason if kind else "", (kind and kind.level) or "WARNING")
    return reasons


def _secret(session: Session, data: bytes, by_person: bool) -> Refusal | None:
    found = session.secrets.find(data, allow=by_person)
    if found is None:
        return None
    return Refusal(f"{found.reason}. {_REMEDY}{_FALSE_ALARM if by_person else ''}", found.level)


def _contents(session: Session, oids: list[str]) -> Iterator[tuple[str, bytes]]:
    """Blobs, a batch at a time."""
    for start in range(0, len(oids), _BATCH):
        yield from session.git.read_blobs(oids[start : start + _BATCH]).items()
