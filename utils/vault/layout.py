"""The vault's folders: the one place that knows what they are called."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from stat import S_ISREG

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


def _is_file(path: Path) -> bool:
    """Whether a plain file lies there: no link, and no pipe at which a reader would wait for ever."""
    try:
        return S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


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
        part = domain if stage in BY_DOMAIN else agent if stage is Stage.IN_PROGRESS else None
        return Path(f"{self.root}/{FOLDERS[stage]}/{part or ''}")

    def relative(self, path: Path) -> str:
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

    def files(self, stage: Stage, *, agent: str | None = None) -> Iterator[Path]:
        """Every task file of a stage, at any depth, in a stable order; notes beside them (`.reason.md`) are none."""
        for folder, subfolders, names in os.walk(self.folder(stage, agent=agent)):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for name in sorted(names):
                path = Path(folder, name)
                is_note = name.startswith(".") or name.endswith(REASON_SUFFIX)
                if name.endswith(".md") and not is_note and _is_file(path):
                    yield path

    def notes(self, stage: Stage) -> Iterator[Path]:
        """Every note of a stage (`.reason.md`), at any depth."""
        for folder, subfolders, names in os.walk(self.folder(stage)):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            yield from (Path(folder, name) for name in sorted(names) if name.endswith(REASON_SUFFIX))

    def find(self, task_id: str) -> list[Path]:
        """Where files of this id lie, over all stages (one, unless something went wrong)."""
        name = f"{task_id}.md"
        return [path for stage in Stage for path in self.files(stage) if path.name == name]

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
