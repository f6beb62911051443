"""Judge: what may arrive, and the files that a decision leads to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from utils.core import merge, sync_rules
from utils.core.merge import FILE, Aside, Entry, Plan
from utils.core.policy import CloudChange, cloud_refusal
from utils.core.routing import CLOUD, LOCAL
from utils.core.stages import Stage
from utils.sync.values import IDENTITIES, Session
from utils.vault import frontmatter
from utils.vault.layout import stage_at

#: path → (before, after)
Difference = Mapping[str, tuple[Entry | None, Entry | None]]

_EXECUTABLE = "100755"


@dataclass
class Judged:
    """Their changes without what is refused, who made them, and what was refused (with the version that goes aside)."""

    changes: dict[str, Entry | None] = field(default_factory=dict)
    zones: dict[str, str] = field(default_factory=dict)
    asides: list[Aside] = field(default_factory=list)
    told: bool = False

    def zone_of(self, path: str) -> str:
        """Whose change it is."""
        return self.zones.get(path, LOCAL)


def judge(session: Session, base: str | None, tip: str, difference: Difference) -> Judged:
    """Their changes since `base`. With no base (the first contact) only the kinds of file are judged."""
    judged = Judged()
    commits = session.git.commits(base, tip) if base else []
    cloud = IDENTITIES[CLOUD][1]
    for commit in commits:  # newest first: the last one to change a path is the one who answers for it
        for path in commit.paths:
            judged.zones.setdefault(path, CLOUD if commit.address == cloud else LOCAL)
    by_cloud = {path for commit in commits if commit.address == cloud for path in commit.paths}
    suspects = {path: pair for path, pair in difference.items() if path in by_cloud}
    reasons = _wrong_kinds(difference) | _wrong_content(session, suspects) | cloud_reasons(session, base, suspects)
    for path, (before, after) in difference.items():
        if path in reasons:
            _refuse(session, judged, path, before, after, reasons[path], commits)
        elif plain(after) != plain(before):
            judged.changes[path] = plain(after)
    _append_only(session, suspects, judged)
    return judged


def plain(entry: Entry | None) -> Entry | None:
    """The entry without its executable bit, which does not travel: a vault holds notes, not programs."""
    return Entry(FILE, entry.oid) if entry and entry.mode == _EXECUTABLE else entry


def _refuse(
    session: Session,
    judged: Judged,
    path: str,
    before: Entry | None,
    after: Entry | None,
    reason: str,
    commits: list[Any],
) -> None:
    """Take the newest version that the cloud did not make instead; keep theirs aside."""
    cloud = IDENTITIES[CLOUD][1]
    honest = next((c.oid for c in commits if c.address != cloud and path in c.paths), None)
    legitimate = session.git.entries(honest, [path]).get(path) if honest else before
    if legitimate and legitimate.mode not in (FILE, _EXECUTABLE):
        legitimate = None
    if legitimate != before:
        judged.changes[path] = legitimate
    zone = judged.zone_of(path)
    token = after.oid if after else "removed"
    refusal = sync_rules.Refusal(f"refused from {zone}: {reason}", "WARNING")
    judged.told |= session.refuse(path, refusal, token)
    if after is not None and after.mode != "160000":
        kept_at = merge.conflict_path(path, zone, after.oid)
        judged.asides.append(Aside(path, after, zone, session.zone, kept_at, reason))


def _wrong_kinds(difference: Difference) -> dict[str, str]:
    """What is no plain file, or has a name that git itself would act on: refused from anybody."""
    reasons = {}
    for path, (_, after) in difference.items():
        if after is None:
            continue
        parts = [part.lower() for part in path.split("/")]
        if after.mode == "120000":
            reasons[path] = "symbolic links are not synced"
        elif after.mode == "160000":
            reasons[path] = "a git repository inside the vault is not synced"
        elif ".git" in parts or ".gitmodules" in parts:
            reasons[path] = "files that steer git are not synced"
    return reasons


def _wrong_content(session: Session, suspects: Difference) -> dict[str, str]:
    """Names, kinds and secrets that an honest cloud would not have committed."""
    reasons = {}
    contents = _contents(
        session, [after for _, after in suspects.values() if after and after.mode in (FILE, _EXECUTABLE)]
    )
    for path, (_, after) in suspects.items():
        if after is None or after.oid not in contents:
            continue
        data = contents[after.oid]
        refusal = (
            sync_rules.name_refusal(path)
            or sync_rules.kind_refusal(path, len(data), session.config.max_file_bytes)
            or sync_rules.secret_in(data)
        )
        if refusal:
            reasons[path] = refusal.reason
    return reasons


def cloud_reasons(session: Session, base: str | None, changes: Difference) -> dict[str, str]:
    """path → why the cloud may not make this change to `base` (S10)."""
    requests = {path: pair for path, pair in changes.items() if stage_at(path) is Stage.PENDING_APPROVAL}
    contents = _contents(session, [entry for pair in requests.values() for entry in pair if entry])
    gone: dict[str, list[str]] = {}
    for path, (_, after) in changes.items():
        if after is None:
            gone.setdefault(path.rpartition("/")[2], []).append(path)
    reasons = {}
    for path, (before, after) in changes.items():
        change = CloudChange(
            path,
            existed=before is not None,
            exists=after is not None,
            created_by=[_creator(contents.get(entry.oid)) for entry in requests.get(path, ()) if entry],
            by_local=path in requests and before is not None and _touched_by_local(session, base, path),
            came_from=gone.get(path.rpartition("/")[2], ()),
        )
        reason = cloud_refusal(change)
        if reason:
            reasons[path] = reason
    return reasons


def _touched_by_local(session: Session, base: str | None, path: str) -> bool:
    return base is not None and bool(session.git.authors_of(base, path) - {IDENTITIES[CLOUD][1]})


def _creator(data: bytes | None) -> str | None:
    try:
        meta, _ = frontmatter.read(data or b"")
    except frontmatter.InvalidFrontMatter:
        return None
    creator = meta.get("created_by")
    return str(creator) if creator is not None else None


def _append_only(session: Session, suspects: Difference, judged: Judged) -> None:
    """A log that the cloud shortened or changed keeps every line that it had (S10: the cloud appends)."""
    logs = {
        path: (before.oid, after.oid)
        for path, (before, after) in suspects.items()
        if sync_rules.is_log(path) and before and after and path in judged.changes
    }
    contents = session.git.read_blobs(oid for pair in logs.values() for oid in pair)
    repaired = {
        path: merge.unite(contents[before], contents[after])
        for path, (before, after) in logs.items()
        if not contents[after].startswith(contents[before])
    }
    judged.changes |= session.store(repaired)


def outcome(session: Session, plan: Plan) -> dict[str, Entry | None]:
    """The files that a plan leads to: its changes, logs united, and the versions that are kept aside."""
    contents = session.git.read_blobs(oid for union in plan.unions for oid in (union.local, union.other))
    united = {union.path: merge.unite(contents[union.local], contents[union.other]) for union in plan.unions}
    return plan.changes | session.store(united) | kept(session, plan.asides)


def kept(session: Session, asides: Iterable[Aside]) -> dict[str, Entry]:
    """The copies under `Updates/conflicts/`, each with its note."""
    asides = list(asides)
    contents = session.git.read_blobs(aside.entry.oid for aside in asides)
    return session.store({aside.kept_at: merge.note_for(aside, contents[aside.entry.oid]) for aside in asides})


def _contents(session: Session, entries: Iterable[Entry]) -> dict[str, bytes]:
    return session.git.read_blobs(entry.oid for entry in entries)
