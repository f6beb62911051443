"""The vault's folders: the one place that knows what they are called."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path, PurePosixPath

from utils.core import archive
from utils.core.stages import DOMAINS, Stage
from utils.core.sync_rules import LONGEST_NAME
from utils.core.task import ID_PATTERN

FOLDERS: dict[Stage, str] = {
    Stage.INBOX: "Inbox",
    Stage.NEEDS_ACTION: "Needs_Action",
    Stage.IN_PROGRESS: "In_Progress",
    Stage.PENDING_APPROVAL: "Pending_Approval",
    Stage.APPROVED: "Approved",
    Stage.REJECTED: "Rejected",
    Stage.DONE: "Done",
    Stage.QUARANTINE: "Quarantine",
}
_NAME = attrgetter("name")
_STAGES = {name: stage for stage, name in FOLDERS.items()}
BY_DOMAIN = frozenset({Stage.NEEDS_ACTION, Stage.PENDING_APPROVAL})
AGENTS = ("cloud", "local")
REASON_SUFFIX = ".reason.md"

#: Every folder that a vault has from the start.
SKELETON = (
    "Inbox",
    *(f"Needs_Action/{d}" for d in DOMAINS),
    *(f"Plans/{d}" for d in DOMAINS),
    *(f"In_Progress/{a}" for a in AGENTS),
    *(f"Pending_Approval/{d}" for d in DOMAINS),
    "Approved",
    "Rejected",
    "Done",
    "Quarantine",
    "Updates/conflicts",
    "Signals",
    "Accounting",
    "Briefings",
    "Logs",
)

#: A vault has this file at its root. Where it is missing the disk may not be mounted.
ROOT_MARKER = ".vault"


def is_text(name: str) -> bool:
    """Whether the name of a file is UTF-8. (Of another one, Python has each byte as a lone surrogate, PEP 383.)"""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_text(name: str) -> str:
    """The name of a file as any text can hold it: what is no UTF-8 in it as `\\udcXX`."""
    return name.encode("utf-8", "backslashreplace").decode()


def _files(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """Every plain file at any depth, in a stable order: no link, no pipe at which a reader would wait for ever, and
    nothing hidden. A folder that is not there has none; one that can't be read raises `OSError`, for what nobody can
    look into must not pass for empty."""
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=_NAME)
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from (entry for entry in entries if entry.is_file(follow_symlinks=False))
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)


def stage_at(path: str) -> Stage | None:
    """The stage in which a vault path (posix, relative) lies, or None outside all of them."""
    top, separator, _ = path.partition("/")
    return _STAGES.get(top) if separator else None


def fitting(stem: str, suffix: str) -> str:
    """A file name of both; of a stem too long for a sync its beginning, and a hash of the whole."""
    room = LONGEST_NAME - len(os.fsencode(suffix))
    data = os.fsencode(stem)
    if len(data) <= room:
        return stem + suffix
    mark = f"-{hashlib.sha256(data).hexdigest()[:16]}"
    return data[: room - len(mark)].decode(errors="ignore") + mark + suffix


class OutsideVault(ValueError):
    """A path that does not lie in the vault."""


@dataclass(frozen=True)
class Layout:
    """Paths of one vault. `root` is absolute and resolved."""

    root: Path

    def folder(self, stage: Stage, *, domain: str | None = None, agent: str | None = None) -> Path:
        """The folder of a stage: by domain where it has such folders, by agent for work in progress."""
        return self.place("", stage, domain=domain, agent=agent)

    def place(self, name: str, stage: Stage, *, domain: str | None = None, agent: str | None = None) -> Path:
        """Where a file of this name lies in a stage."""
        part = domain if stage in BY_DOMAIN else agent if stage is Stage.IN_PROGRESS else None
        return Path(f"{self.root}/{FOLDERS[stage]}/{part or ''}/{name}")

    def relative(self, path: Path | str) -> str:
        """`path` as the vault's posix path; raises `OutsideVault`."""
        whole, root = os.fspath(path), f"{self.root}{os.sep}"
        if ".." in whole or not whole.startswith(root):
            whole = os.path.abspath(path)
        if not f"{whole}{os.sep}".startswith(root):
            raise OutsideVault(f"{path} does not lie in the vault {self.root}")
        return whole[len(root) :] or "."

    def stage_of(self, path: Path) -> Stage | None:
        """The stage in which `path` lies, or None outside all of them."""
        return stage_at(f"{self.relative(path)}/")

    def domain_of(self, path: Path) -> str | None:
        """The domain that the folder says, or None."""
        parts = PurePosixPath(self.relative(path)).parts
        return parts[1] if len(parts) > 2 and parts[1] in DOMAINS else None

    def agent_of(self, path: Path) -> str | None:
        """The agent in whose folder work in progress lies, or None."""
        parts = PurePosixPath(self.relative(path)).parts
        return parts[1] if len(parts) > 2 and parts[0] == FOLDERS[Stage.IN_PROGRESS] else None

    def files(self, stage: Stage, *, agent: str | None = None, misnamed: bool = False) -> Iterator[Path]:
        """Every task file of a stage, at any depth, in a stable order; notes beside them (`.reason.md`) are none.

        Whose name is no UTF-8 is passed over unless asked for (`misnamed`): no database and no answer can hold it.
        """
        for entry in _files(self.folder(stage, agent=agent)):
            is_task = entry.name.endswith(".md") and not entry.name.endswith(REASON_SUFFIX)
            if is_task and (misnamed or is_text(self.relative(entry.path))):
                yield Path(entry.path)

    def misnamed(self, *stages: Stage) -> list[str]:
        """Paths of Markdown files of these stages whose names are no UTF-8, with what is none as `\\udcXX`."""
        lying = (self.relative(entry.path) for stage in stages for entry in _files(self.folder(stage)))
        return [as_text(path) for path in lying if path.endswith(".md") and not is_text(path)]

    def notes(self, stage: Stage) -> Iterator[Path]:
        """Every note of a stage (`.reason.md`), at any depth."""
        for entry in _files(self.folder(stage)):
            if entry.name.endswith(REASON_SUFFIX):
                yield Path(entry.path)

    def find(self, task_id: str) -> list[Path]:
        """Where files of this id lie, over all stages (one, unless something went wrong)."""
        return self.named(task_id, *Stage)

    def named(self, task_id: str | None, *stages: Stage) -> list[Path]:
        """Where files of this id (None: of no id) lie in these stages. No path is made of what is called otherwise."""
        name = f"{task_id}.md"
        if task_id is None or name.endswith(REASON_SUFFIX):
            return []
        return [Path(entry.path) for stage in stages for entry in _files(self.folder(stage)) if entry.name == name]

    def plan(self, domain: str, task_id: str) -> Path:
        """The plan of a task: an artefact, not a stage."""
        return self.root / "Plans" / domain / f"{task_id}.plan.md"

    def plans(self, domain: str, task_id: str) -> tuple[Path, ...]:
        """Where the plan of a task may lie: at its place, or, of a finished task, at its place by month."""
        plan = self.plan(domain, task_id)
        by_month = archive.filed(self.relative(plan))
        return (plan, self.root / by_month) if by_month else (plan,)

    def is_planned(self, task_id: str) -> bool:
        """Whether a task has a plan: then whoever worked on it is done with it, and it waits for a decision."""
        match = ID_PATTERN.match(task_id)
        return match is not None and any(plan.exists() for plan in self.plans(match["domain"], task_id))

    def attachments(self, domain: str, task_id: str) -> Path:
        """The folder of what came with a task."""
        return self.root / "Plans" / domain / f"{task_id}.files"

    def reason(self, path: Path) -> Path:
        """The note beside a task file that says why it lies where it lies."""
        return path.with_name(fitting(path.stem, REASON_SUFFIX))

    @property
    def claims_log(self) -> Path:
        """`Logs/claims.jsonl`: the newest lines. Older ones are in `daily_log("claims", …)`."""
        return self.root / "Logs" / "claims.jsonl"

    def daily_log(self, kind: str, day: str) -> Path:
        """`Logs/<kind>/<YYYY-MM-DD>.jsonl` for `actions`, `alerts`, `claims`, `health`, `sync`, `zones`."""
        return self.root / "Logs" / kind / f"{day}.jsonl"

    def signal(self, zone: str) -> Path:
        """`Signals/<zone>.md`: the zones as the node of `zone` sees them, for people."""
        return self.root / "Signals" / f"{zone}.md"

    @property
    def dashboard(self) -> Path:
        """The note in which Local keeps the human posted."""
        return self.root / "Dashboard.md"

    @property
    def updates(self) -> Path:
        """News for the human, as notes; what lies deeper in the folder is something else."""
        return self.root / "Updates"

    @property
    def remote_approvals(self) -> Path:
        """Approvals that were given elsewhere than on Local, one file each."""
        return self.updates / "approvals"

    @property
    def conflicts(self) -> Path:
        """Where versions that lost a merge are kept."""
        return self.updates / "conflicts"

    @property
    def marker(self) -> Path:
        """The root marker."""
        return self.root / ROOT_MARKER
