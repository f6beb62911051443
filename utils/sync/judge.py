"""Judge: what may arrive, and the files that a decision leads to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from utils.core import merge, sync_rules
from utils.core.merge import FILE, Aside, Entry, Plan
from utils.core.policy import CloudChange, cloud_refusal
from utils.core.routing import CLOUD, LOCAL
from utils.core.stages import Stage
from utils.core.sync_rules import Refusal
from utils.core.task import ID_PATTERN
from utils.ports import Commit
from utils.sync.values import IDENTITIES, Session
from utils.vault import frontmatter
from utils.vault.layout import FOLDERS, stage_at

#: path → (before, after)
Difference = Mapping[str, tuple[Entry | None, Entry | None]]

_EXECUTABLE = "100755"
_FINAL = (Stage.APPROVED, Stage.REJECTED, Stage.DONE)


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


def judge(session: Session, base: str | None, tip: str, difference: Difference, *, outside: bool = True) -> Judged:
    """Their changes since `base`. With no base (the first contact) only names and kinds of file are judged.

    The cloud's changes must keep to its paths (S10), and so must those that nobody answers for. A person's may lie
    anywhere but where `_beyond_reach` says. `outside`: the commits came from the remote, not from this very clone.
    """
    judged = Judged()
    commits = session.git.commits(base, tip) if base else []
    suspicious = _suspicious(session, tip, commits, outside)
    for commit in commits:  # newest first: the last one to change a path is the one who answers for it
        for path in commit.paths:
            judged.zones.setdefault(path, CLOUD if commit.oid in suspicious else LOCAL)
    by_cloud = {path for commit in commits if commit.oid in suspicious for path in commit.paths}
    if base and outside:  # a merge that takes an older version back names no path: nobody answers for it
        nobodys = {path for path in difference if path not in judged.zones}
        judged.zones |= dict.fromkeys(nobodys, CLOUD)
        by_cloud |= nobodys
    suspects = {path: pair for path, pair in difference.items() if path in by_cloud}
    reasons = _warnings(cloud_reasons(session, base, suspects))
    reasons |= _wrong_content(session, suspects)
    from_anybody = _wrong_names(difference) | _warnings(_wrong_kinds(difference))
    if base and outside and session.zone == LOCAL:
        from_anybody = _warnings(_beyond_reach(session, base, difference)) | from_anybody
    reasons |= from_anybody
    hold_moves_together(reasons, suspects)
    hold_moves_together(reasons, {path: pair for path, pair in difference.items() if path not in suspects})
    staying = {before.oid for path in reasons if (before := difference[path][0])}
    honest = [commit for commit in commits if commit.oid not in suspicious]
    for path, (before, after) in difference.items():
        if path in reasons:
            if not _is_new_keep(path, before, after):
                some = [] if path in from_anybody else honest
                _refuse(session, judged, path, difference[path], reasons[path], some, staying)
        elif plain(after) != plain(before):
            judged.changes[path] = plain(after)
    _append_only(session, suspects, judged)
    return judged


def _suspicious(session: Session, tip: str, commits: list[Commit], outside: bool) -> set[str]:
    """Ids of the commits that count as the cloud's: its own and, on Local, those that only claim to be Local's.

    What Local made lies in its branch, or is the merge that it pushed when it was killed; anything else under its
    address comes from somebody who wrote that name. (A Local vault restored from an old backup meets its own later
    work again: that is judged like this too, and kept aside where it may not be written.)
    """
    cloud, local = IDENTITIES[CLOUD][1], IDENTITIES[LOCAL][1]
    found = {commit.oid for commit in commits if commit.address == cloud}
    claimed = {commit.oid for commit in commits if commit.address == local}
    if session.zone == LOCAL and outside and claimed:
        arrived = {commit.oid for commit in session.git.commits(session.git.resolve(session.git.branch), tip)}
        found |= (claimed & arrived) - set(session.memory.load().get("offered", []))
    return found


def _warnings(reasons: Mapping[str, str]) -> dict[str, Refusal]:
    return {path: Refusal(reason) for path, reason in reasons.items()}


def hold_moves_together(reasons: dict[str, Refusal], changes: Difference) -> None:
    """A move is one thing: where one half of it is refused, the other is too, so that no file vanishes or doubles."""
    left, came = _by_name(changes, left=True), _by_name(changes, left=False)
    for path in list(reasons):
        before, after = changes.get(path, (None, None))
        name = path.rpartition("/")[2]
        if name == sync_rules.KEEP:
            continue
        if after is not None and before is None:
            others = left.get(name, ())
        elif after is None and before is not None and stage_at(path) is not None:
            others = [other for other in came.get(name, ()) if stage_at(other) is not None]
        else:
            continue
        for other in others:
            reasons.setdefault(other, Refusal(f"it belongs to a move that was refused ({path})", None))


def _by_name(changes: Difference, *, left: bool) -> dict[str, list[str]]:
    """File name → where files of that name left, or came."""
    found: dict[str, list[str]] = {}
    for path, (before, after) in changes.items():
        if (before and not after) if left else (after and not before):
            found.setdefault(path.rpartition("/")[2], []).append(path)
    return found


def explained(refusal: Refusal, stands: Entry | None, kept_at: str | None) -> Refusal:
    """The refusal with what stands instead, and where the refused text is."""
    standing = "Local's version stands" if stands else "nothing stands there"
    text = f"{refusal.reason}; {standing}"
    return Refusal(f"{text}; the text is kept at {kept_at}" if kept_at else text, refusal.level)


def _is_new_keep(path: str, before: Entry | None, after: Entry | None) -> bool:
    """Whether this is but an empty `.gitkeep` where none was: never worth a word."""
    return path.rpartition("/")[2] == sync_rules.KEEP and before is None and after is not None and after.is_empty


def plain(entry: Entry | None) -> Entry | None:
    """The entry without its executable bit, which does not travel: a vault holds notes, not programs."""
    return Entry(FILE, entry.oid) if entry and entry.mode == _EXECUTABLE else entry


def _refuse(
    session: Session,
    judged: Judged,
    path: str,
    pair: tuple[Entry | None, Entry | None],
    refusal: Refusal,
    honest: list[Commit],
    staying: set[str],
) -> None:
    """Take the newest version of an honest commit instead; keep theirs aside, unless it is a secret or stays anyway."""
    before, after = pair
    person = next((commit.oid for commit in honest if path in commit.paths), None)
    legitimate = session.git.entries(person, [path]).get(path) if person else before
    if person and legitimate == after:
        judged.changes[path] = plain(after)  # somebody honest has put these very bytes there since
        return
    if legitimate and legitimate.mode not in (FILE, _EXECUTABLE):
        legitimate = None
    if legitimate != before:
        judged.changes[path] = legitimate
    zone = judged.zone_of(path)
    kept_at = None
    secret = refusal.level == "CRITICAL"
    if after and after.mode != "160000" and not after.is_empty and not secret and after.oid not in staying:
        kept_at = merge.conflict_path(path, zone, after.oid)
        judged.asides.append(Aside(path, after, zone, session.zone, kept_at, refusal.reason))
    told = explained(Refusal(f"refused from {zone}: {refusal.reason}", refusal.level), legitimate, kept_at)
    judged.told |= session.refuse(path, told, after.oid if after else "removed")


def _beyond_reach(session: Session, base: str, difference: Difference) -> dict[str, str]:
    """What nobody changes on Local from outside, whatever name a commit bears: the files that steer git, the vault's
    marker, and what Local has approved, rejected or done."""
    reasons = {}
    by_name: dict[str, list[str]] = {}
    for path in difference:
        name = path.rpartition("/")[2]
        steers = name.startswith(".git") and name != sync_rules.KEEP and not path.startswith(merge.CONFLICTS)
        if steers or path == session.layout.marker.name:
            reasons[path] = "it is changed on Local only"
        if stage_at(path) is not None and ID_PATTERN.match(name.removesuffix(".md")):
            by_name.setdefault(name, []).append(path)
    places = {f"{session.layout.relative(session.layout.folder(stage))}/{name}" for name in by_name for stage in _FINAL}
    answered = session.git.entries(base, places) if places else {}
    for path in answered:
        for other in by_name[path.rpartition("/")[2]]:
            reasons[other] = f"Local has answered it already ({path})"
    return reasons


def _wrong_names(difference: Difference) -> dict[str, Refusal]:
    """Names that git or another file system would misread, or that say that a secret is inside: from anybody."""
    reasons = {}
    folders = {sync_rules.fold(name): name for name in FOLDERS.values()}
    for path, (_, after) in difference.items():
        if after is None:
            continue
        top, separator, _ = path.partition("/")
        refusal = sync_rules.name_refusal(path)
        if refusal is None and separator and folders.get(sync_rules.fold(top), top) != top:
            refusal = Refusal(f"on Windows and macOS its folder is the same as {folders[sync_rules.fold(top)]}")
        if refusal is not None:
            reasons[path] = refusal
    return reasons


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


def _wrong_content(session: Session, suspects: Difference) -> dict[str, Refusal]:
    """Kinds and secrets that an honest cloud would not have committed."""
    reasons = {}
    contents = _contents(
        session, [after for _, after in suspects.values() if after and after.mode in (FILE, _EXECUTABLE)]
    )
    for path, (_, after) in suspects.items():
        if after is None or after.oid not in contents:
            continue
        data = contents[after.oid]
        refusal = sync_rules.kind_refusal(path, len(data), session.config.max_file_bytes) or sync_rules.secret_in(data)
        if refusal:
            reasons[path] = Refusal(refusal.reason, refusal.level or "WARNING")
    return reasons


def cloud_reasons(session: Session, base: str | None, changes: Difference) -> dict[str, str]:
    """path → why the cloud may not make this change to `base` (S10)."""
    requests = {path: pair for path, pair in changes.items() if stage_at(path) is Stage.PENDING_APPROVAL}
    contents = _contents(session, [entry for pair in requests.values() for entry in pair if entry])
    gone = _by_name(changes, left=True)
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
    """Whether anybody but the cloud ever changed it. `base` is ours: what claims to be Local's beyond it counts not."""
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
