"""Returned: what this node made, Local refused, and a sync takes away here. The node says so: Local's alert does not
reach whoever looks after this one, and the mail that it was made of counts as worked off."""

from __future__ import annotations

from utils.core import merge
from utils.core.routing import CLOUD
from utils.core.task import ID_PATTERN
from utils.sync.values import Difference, Session, printable
from utils.vault.layout import stage_at

_NAMED = 10


def tell(session: Session, difference: Difference) -> None:
    """Tell once of each file of the Cloud's that `difference` takes away, and of which it brings a copy kept aside."""
    if session.zone != CLOUD:
        return
    lost = {path: kept for path, kept in _returned(difference).items() if not _went_on(path, difference)}
    if not lost:
        return
    first = min(lost)
    lines = [f"{printable(path)} → {printable(kept)}" for path, kept in sorted(lost.items())]
    more = [f"and {len(lines) - _NAMED} more"] if len(lines) > _NAMED else []
    text = (
        "Local did not take over what this node made, and it is gone here too. The text is kept, and each copy says"
        " why; if it was a task, drop the copy's text into Inbox/ on Local, or answer the mail by hand:\n"
    )
    title = f"Refused by Local: {printable(first)}" + (f" and {len(lost) - 1} more" if len(lost) > 1 else "")
    session.tell(
        "returned " + " ".join(sorted(lost.values())), "WARNING", title, text + "\n".join(lines[:_NAMED] + more)
    )


def _returned(difference: Difference) -> dict[str, str]:
    """path that goes → where its version is kept."""
    found = {}
    for path, (before, after) in difference.items():
        if before is not None and after is None:
            kept = merge.conflict_path(path, CLOUD, before.oid)
            if difference.get(kept, (None, None))[1] is not None:
                found[path] = kept
    return found


def _went_on(path: str, difference: Difference) -> bool:
    """Whether it is a task that comes elsewhere: somebody moved it on."""
    name = path.rpartition("/")[2]
    if stage_at(path) is None or not ID_PATTERN.match(name.removesuffix(".md")):
        return False
    return any(after and stage_at(other) and other.endswith(f"/{name}") for other, (_, after) in difference.items())
