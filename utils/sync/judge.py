"""Judge: what may arrive, and the files that a decision leads to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from utils.core import merge, sync_rules
from utils.core.archive import filed
from utils.core.merge import FILE, Aside, Entry, Plan
from utils.core.policy import CloudChange, cloud_refusal
from utils.core.routing import CLOUD, LOCAL
from utils.core.signing import claimed_zone
from utils.core.stages import Stage
from utils.core.sync_rules import Refusal
from utils.core.task import ID_PATTERN
from utils.ports import Commit
from utils.sync import copies, laundering, scan, strangers
from utils.sync.authors import Authors, attribute, how_to_enrol, tell_forged
from utils.sync.forged import without_forged
from utils.sync.values import IDENTITIES, Difference, Judged, Session
from utils.vault import frontmatter
from utils.vault.layout import FOLDERS, stage_at

_EXECUTABLE = "100755"
_FINAL = (Stage.APPROVED, Stage.REJECTED, Stage.DONE)


def judge(session: Session, base: str | None, tip: str, difference: Difference, *, outside: bool = True) -> Judged:
    """Their changes since `base`. With no base (the first contact) only names and kinds of file are judged.

    The cloud's changes must keep to its paths (S10), and so must those that nobody answers for. A person's may lie
    anywhere but where `_beyond_reach` says. What Local's word settled is taken as it is. `outside`: the commits came
    from the remote; what came about in this very clone is taken as it is, as far as it can lie on the disk.
    """
    found = attribute(session, base, tip, outside=outside)
    start, fresh = base, difference
    word: Difference = {}
    if base and found.settled:
        start = found.settled
        word = difference if start == tip else session.git.diff(base, start)
        fresh = {} if start == tip else session.git.diff(start, tip)
    judged = Judged(zones={path: found.zone_of(commit.oid) for path, commit in found.newest().items()})
    judged.newest = found.newest()
    judged.by_people = {path for path, commit in found.newest().items() if claimed_zone(commit.address) is None}
    if not outside:
        _add_word(session, judged, difference, _warnings(_wrong_kinds(difference)))
        return judged
    judged.told |= tell_forged(session, found)
    halves = _halves_of_forged(found, fresh)
    offered = fresh
    fresh = without_forged(session, judged, found, start, tip, fresh)
    if start and session.zone == LOCAL:
        fresh = _unhidden(session, judged, found, start, fresh)
    _judge_fresh(session, judged, found, start, tip, fresh, halves)
    if start:
        _refuse_clashes(session, judged, offered, fresh)
    _add_word(session, judged, word, never_travels(word))
    return judged


def _judge_fresh(
    session: Session,
    judged: Judged,
    found: Authors,
    start: str | None,
    tip: str,
    fresh: Difference,
    halves: Mapping[str, Refusal],
) -> None:
    """Judge what Local's word has not settled; the changes are relative to `start`. `halves` are refused already."""
    commits = [commit for commit in found.commits if commit.oid not in found.forged]
    by_cloud = {path for commit in commits if commit.oid in found.cloud for path in commit.paths}
    decided = _decided_here(session, commits, fresh)
    by_cloud -= decided
    nobodys: set[str] = set()
    if start:  # a merge that takes an older version back names no path: nobody answers for it
        nobodys = {path for path in fresh if path not in judged.zones} - decided
        judged.zones |= dict.fromkeys(nobodys, CLOUD)
    suspects = {path: pair for path, pair in fresh.items() if path in by_cloud | nobodys}
    reasons = _warnings(_second_places(session, start, suspects) | cloud_reasons(session, start, suspects))
    reasons |= scan.wrong_content(session, suspects, by_person=False)
    reasons |= _taken_back(session, fresh, nobodys)
    unvouched = {path: c for path, c in found.newest().items() if c.oid in found.unvouched}
    for path in reasons.keys() & unvouched.keys():
        reasons[path] = Refusal(
            f"{reasons[path].reason}; {how_to_enrol(session, unvouched[path])}", reasons[path].level
        )
    from_anybody = _warnings(strangers.name_clashes(session, start, tip, fresh))
    from_anybody |= never_travels(fresh)
    if start and session.zone == LOCAL:
        persons = {path: pair for path, pair in fresh.items() if path not in suspects}
        from_anybody |= scan.wrong_content(session, persons, by_person=True)
        from_anybody = _warnings(_beyond_reach(session, start, fresh)) | from_anybody
    secrets = {path: refusal for path, refusal in reasons.items() if refusal.level == "CRITICAL"}  # are never copied
    reasons |= from_anybody | {path: refusal for path, refusal in halves.items() if path in fresh} | secrets
    for path in never_travels({path: (None, before) for path, (before, after) in fresh.items() if not after}):
        reasons.pop(path, None)  # what should not be there, anybody may take away
    hold_moves_together(reasons, suspects)
    hold_moves_together(reasons, {path: pair for path, pair in fresh.items() if path not in suspects})
    staying = {before.oid for path in reasons if (before := fresh[path][0])}
    honest = [commit for commit in commits if commit.oid not in found.cloud]
    for path, (before, after) in fresh.items():
        if path in reasons:
            if not _is_new_keep(path, before, after):
                some = [] if path in from_anybody else honest
                _refuse(session, judged, path, fresh[path], reasons[path], some, staying)
        elif plain(after) != plain(before):
            judged.changes[path] = plain(after)
            if path in judged.restored:
                judged.told |= session.refuse(path, laundering.LEFT_OUT, judged.restored[path])
    _append_only(session, suspects, judged)
    if start:
        _settle_copies(session, start, judged)


def _unhidden(session: Session, judged: Judged, found: Authors, start: str, fresh: Difference) -> Difference:
    """`fresh` with what the cloud's merges left out of it; what the cloud took back is told."""
    commits = [commit for commit in found.commits if commit.oid not in found.forged]
    if not session.keyring.enrolled(CLOUD):  # where it signs, `without_forged` has done this
        fresh, judged.restored = laundering.with_left_out(session, start, fresh, commits, found.cloud)
    for path, oid in laundering.taken_back(fresh, commits, found.cloud).items():
        judged.told |= session.refuse(path, laundering.TAKEN_BACK, oid)
    return fresh


def _second_places(session: Session, base: str | None, suspects: Difference) -> dict[str, str]:
    """A task that the cloud would put into a second stage while it stays in the first: only a move is one (S4)."""
    found = copies.find(session, base, {path: after for path, (_, after) in suspects.items()})
    return {
        copied.stands: f"the task lies at {(copied.fixed or copied.yields)[0]} already"
        for copied in found
        if copied.fixed or copied.yields
    }


def _settle_copies(session: Session, base: str, judged: Judged) -> None:
    """A task that a person elsewhere copied into another stage lies in that one only (S4)."""
    for copied in copies.find(session, base, judged.changes):
        stands = judged.changes[copied.stands]
        lying = session.git.entries(base, copied.yields)
        for path in copied.yields:
            entry = judged.changes.get(path) or lying.get(path)
            zone = judged.zone_of(copied.stands)
            judged.zones.setdefault(path, zone)
            judged.changes[path] = None
            if entry and stands and entry.oid != stands.oid and not entry.is_empty:
                kept_at = merge.conflict_path(path, zone, entry.oid)
                judged.asides.append(Aside(path, entry, zone, zone, kept_at, f"the task lies at {copied.stands}"))
        judged.told |= copies.explain(session, copied)


def _refuse_clashes(session: Session, judged: Judged, offered: Difference, fresh: Difference) -> None:
    """Refuse what can't lie beside what stands since it was refused to go (S3, S10): no tree has a file and a folder of
    one name, so to take one is to delete the other.

    `offered`: what they sent, a tree that was possible; `fresh`: the same as judged. Both relative to the start.
    """
    pairs = {**offered, **fresh}
    sent = {path for path, pair in pairs.items() if (offered[path][1] if path in offered else pair[0]) is not None}
    while True:
        lying = {path for path, (before, _) in pairs.items() if judged.changes.get(path, before) is not None}
        coming = {path for path in lying & sent if pairs[path][0] is None}
        found = merge.clashes(lying - sent, coming)
        if not found:
            return
        reasons = {path: Refusal(f"it can't lie beside {stands}") for path, stands in found.items()}
        hold_moves_together(reasons, pairs)
        for path in [path for path in reasons if path in judged.changes.keys() - (lying - sent)]:
            before, after = pairs[path][0], judged.changes.pop(path)
            _refuse(session, judged, path, (before, after), reasons[path], [], set())


def _decided_here(session: Session, commits: list[Commit], difference: Difference) -> set[str]:
    """Paths that lie as this node itself decided, in the merge that it pushed before it was killed: judged already."""
    offered = set(session.memory.load().get("offered", []))
    own = next((commit.oid for commit in commits if commit.oid in offered), None)
    if own is None:
        return set()
    entries = session.git.entries(own, difference)
    return {path for path, (_, after) in difference.items() if entries.get(path) == after}


def _halves_of_forged(found: Authors, fresh: Difference) -> dict[str, Refusal]:
    """What somebody else moved on of what a forged commit moved: it goes back with it."""
    forged = {path for path, commit in found.newest().items() if commit.oid in found.forged and path in fresh}
    reasons = {path: Refusal(found.forged[found.newest()[path].oid]) for path in forged}
    hold_moves_together(reasons, fresh)
    return {path: refusal for path, refusal in reasons.items() if path not in forged}


def _add_word(session: Session, judged: Judged, word: Difference, reasons: Mapping[str, Refusal]) -> None:
    """Add what Local's word changed, under what was taken over since, but what `reasons` refuse from anybody."""
    for path, (before, after) in word.items():
        if path not in judged.changes and path in reasons:
            _refuse(session, judged, path, (before, after), reasons[path], [], set())
            continue
        if path not in judged.changes:
            judged.changes[path] = plain(after)
            judged.settled.add(path)
        if judged.changes[path] == plain(before):
            del judged.changes[path]


def _taken_back(session: Session, fresh: Difference, nobodys: set[str]) -> dict[str, Refusal]:
    """On a Local that signs, what a merge took back of what lies here. Only a task may go, to where it lies now: of
    two claims the one that is on main stands."""
    if not session.keyring.own or session.zone != LOCAL:
        return {}
    came = _by_name(fresh, left=False)
    return {
        path: Refusal("a merge took back what lies here")
        for path in nobodys
        if not sync_rules.is_log(path)
        and not (fresh[path][1] is None and stage_at(path) and came.get(path.rpartition("/")[2]))
    }


def _warnings(reasons: Mapping[str, str]) -> dict[str, Refusal]:
    return {path: Refusal(reason) for path, reason in reasons.items()}


def hold_moves_together(reasons: dict[str, Refusal], changes: Difference) -> None:
    """A move is one thing: where one half of it is refused, the other is too, so that no file vanishes or doubles. So
    is what comes in the place of a file of its name: where it is refused, the file stays."""
    left, came = _by_name(changes, left=True), _by_name(changes, left=False)
    gone = [path for paths in left.values() for path in paths]
    held = 0
    while held < len(reasons):
        held = len(reasons)
        new = [path for path in reasons if path in changes and changes[path][1] and not changes[path][0]]
        for path, other in merge.clashes(new, gone).items():
            reasons.setdefault(path, Refusal(f"it would have made room for {other}", None))
        _hold_halves(reasons, changes, left, came)


def _hold_halves(
    reasons: dict[str, Refusal], changes: Difference, left: Mapping[str, list[str]], came: Mapping[str, list[str]]
) -> None:
    for path in list(reasons):
        before, after = changes.get(path, (None, None))
        name = path.rpartition("/")[2]
        if name == sync_rules.KEEP:
            continue
        if after is not None and before is None:
            others = left.get(name, [])
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
    """The refusal with what stands instead, if anything does, and where the refused text is."""
    text = f"{refusal.reason}; Local's version stands" if stands else refusal.reason
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
    who, commit = judged.person(path) or zone, judged.newest.get(path)
    told = explained(Refusal(f"refused from {who}: {refusal.reason}", refusal.level), legitimate, kept_at)
    origin, deed = (f"{who} ({commit.oid[:10]})", commit.oid) if commit else (who, "")
    judged.told |= session.refuse(path, told, f"{after.oid if after else 'removed'} {deed}", origin=origin)


def _beyond_reach(session: Session, base: str, difference: Difference) -> dict[str, str]:
    """What nobody changes on Local from outside, whatever name a commit bears: the files that steer git, the vault's
    marker, and what Local has approved, rejected or done."""
    reasons = {}
    by_name: dict[str, list[str]] = {}
    for path in difference:
        name = path.rpartition("/")[2]
        steers = path in sync_rules.ROOT_FILES and name.startswith(".git")
        if steers or path == session.layout.marker.name:
            reasons[path] = "it is changed on Local only"
        if stage_at(path) is not None and ID_PATTERN.match(name.removesuffix(".md")):
            by_name.setdefault(name, []).append(path)
    places = {f"{session.layout.relative(session.layout.folder(stage))}/{name}" for name in by_name for stage in _FINAL}
    places |= {place for path in places if (place := filed(path))}
    answered = set(session.git.entries(base, places)) if places else set()
    answered |= {p for paths in by_name.values() for p in paths if difference[p][0] and stage_at(p) in _FINAL}
    new = {name for name, paths in by_name.items() if not any(difference[path][0] for path in paths)}
    if new:  # they lie at no place known: a person may have folders of their own among what is answered
        there = session.git.files_under(base, (FOLDERS[stage] for stage in _FINAL))
        answered |= {path for path in there if path.rpartition("/")[2] in new}
    for path in sorted(answered):
        for other in by_name[path.rpartition("/")[2]]:
            reasons[other] = f"Local has answered it already ({path})"
    return reasons


def never_travels(difference: Difference) -> dict[str, Refusal]:
    """path → why nobody takes what came there, whoever made it."""
    return _wrong_names(difference) | _warnings(_wrong_kinds(difference))


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
            reasons[path] = "a symbolic link is not synced"
        elif after.mode == "160000":
            reasons[path] = "a git repository inside the vault is not synced"
        elif ".git" in parts or ".gitmodules" in parts:
            reasons[path] = "files that steer git are not synced"
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
    wanted = (oid for union in plan.unions for oid in (union.local, union.other, union.base) if oid)
    contents = {"": b""} | session.git.read_blobs(wanted)
    united = {
        union.path: merge.unite(contents[union.local], contents[union.other], base=contents[union.base or ""])
        for union in plan.unions
    }
    return plan.changes | session.store(united) | kept(session, plan.asides)


def kept(session: Session, asides: Iterable[Aside]) -> dict[str, Entry]:
    """The copies under `Updates/conflicts/`, each with its note."""
    asides = list(asides)
    contents = session.git.read_blobs(aside.entry.oid for aside in asides)
    return session.store({aside.kept_at: merge.note_for(aside, contents[aside.entry.oid]) for aside in asides})


def _contents(session: Session, entries: Iterable[Entry]) -> dict[str, bytes]:
    return session.git.read_blobs(entry.oid for entry in entries)
