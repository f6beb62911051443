"""What a sync is told, what it answers, and what it remembers between two runs."""

from __future__ import annotations

import hashlib
import logging
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from utils.core import visible
from utils.core.commands import command
from utils.core.merge import FILE, Aside, Entry
from utils.core.routing import LOCAL, ZONES
from utils.core.signing import ADDRESSES, Keyring, claimed_zone
from utils.core.sync_rules import Refusal
from utils.core.task import parse_time
from utils.ports import Clock, Commit, SecretScanner, VaultGit
from utils.vault.heartbeats import boot_id
from utils.vault.layout import Layout
from utils.vault.memory import Memory
from utils.vault.moving import Moves

log = logging.getLogger(__name__)

_NAMED = 20  # refusals of one sync that have an alert of their own, and that one alert names
_REMEMBERED = 10_000
#: A node that synced well so short a while ago has not slept, and was not put back by anybody.
SHORT_WHILE = timedelta(minutes=10)
#: For so long after a node was away it may meet its own work again, brought by a node that was not put back.
LONG_WHILE = timedelta(days=1)


#: Who commits: the agents' addresses. Every other author counts as the Local zone's human.
#:
#: An author line proves nothing: whoever may push can write any name there. So on Local a commit that arrives under
#: Local's own address counts as the cloud's. What is left open until keys are enrolled (`utils.sync.authors`): who
#: holds the cloud's key to the remote can pass for a person (a phone, obsidian-git), and a person may write anywhere
#: but where nobody may from outside (`utils.sync.judge`). No approval comes out of that (S7). Nor is judged what a
#: person brings into Local's own branch with plain git (`git pull` in the vault): that person works on Local.
IDENTITIES = {zone: (f"AI Employee ({zone})", address) for zone, address in ADDRESSES.items()}


#: In `.git/`: locked while a sync runs.
RUNNING = "vault-sync.running"


@dataclass(frozen=True)
class SyncConfig:
    """How this node syncs. Times in seconds, sizes in bytes."""

    zone: str
    remote: str = "origin"
    branch: str = "main"
    git_timeout: float = 60.0
    settle_seconds: float = 2.0
    max_file_bytes: int = 20 * 1024 * 1024
    accept_unsigned: bool = False  # whether a person's unsigned commits still count once the other node's key is known


@dataclass(frozen=True)
class Answers:
    """What a person says, once, to what an earlier sync asked.

    `allow_deletions`: the mass deletion is meant. `accept_remote`: the remote was rolled back or replaced on purpose.
    `accept_own`: this commit (its id, or the beginning) in this node's own name, and what it contains, is its own.
    `push_secret`: what these commits and those before them hold is no secret, or a revoked one, and may be pushed.
    """

    allow_deletions: bool = False
    accept_remote: bool = False
    accept_own: str = ""
    push_secret: tuple[str, ...] = ()

    def with_(self, flag: str, value: str = "") -> str:
        """The command line that says all this again and `flag` too: an answer counts for one sync only, so one that
        led to another question is given together with the next. Of two `--accept-own` the new one stands."""
        words = ["--allow-deletions"] * self.allow_deletions + ["--accept-remote"] * self.accept_remote
        words += [f"--push-secret {shlex.quote(commit)}" for commit in self.push_secret]
        words += [f"--accept-own {shlex.quote(self.accept_own)}"] if self.accept_own and flag != "--accept-own" else []
        words += [f"{flag} {value}".strip()]
        return command(" ".join(["sync", *dict.fromkeys(words)]))


NO_ANSWERS = Answers()


@dataclass
class SyncResult:
    """What one sync did (contract §3). `committed`, `pulled`, `pushed` count files."""

    result: str = "noop"
    committed: int = 0
    pulled: int = 0
    pushed: int = 0
    conflicts: list[dict[str, str]] = field(default_factory=list)
    refused: list[dict[str, str]] = field(default_factory=list)
    started_at: str = ""
    duration_ms: int = 0
    error: str | None = None
    waiting: int = 0  # notes that were written a moment ago and travel next time; told to people only
    at: str | None = None  # the commit that the work tree holds since; for `Memory` only

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of the API."""
        return {key: value for key, value in asdict(self).items() if key not in ("waiting", "at")}

    def summary(self) -> str:
        """One line for a person; `details` has the paths."""
        parts = [
            f"{word} {count}"
            for word, count in (("committed", self.committed), ("pulled", self.pulled), ("pushed", self.pushed))
            if count
        ]
        parts += [f"{len(self.conflicts)} conflict(s) kept aside"] if self.conflicts else []
        parts += [f"refused {len(self.refused)}"] if self.refused else []
        if self.waiting == 1:
            parts.append("1 note is still being written: the next sync takes it")
        elif self.waiting:
            parts.append(f"{self.waiting} notes are still being written: the next sync takes them")
        text = f"{self.result}: {', '.join(parts) or 'nothing to do'}"
        return f"{text}; {self.error}" if self.error else text

    def details(self) -> list[str]:
        """A line for each conflict and each refusal; a name can't steer the terminal."""
        lines = [f"conflict: {printable(item['path'])} → {item['kept_at']}" for item in self.conflicts]
        lines += [f"refused: {item['path']}: {item['reason']}" for item in self.refused]
        return [visible.escape(line).replace("\n", "⟦U+000A⟧") for line in lines]

    def add(self, asides: Iterable[Aside]) -> None:
        """Note which versions yielded."""
        self.conflicts += [{"path": aside.path, "winner": aside.winner, "kept_at": aside.kept_at} for aside in asides]

    def refuse(self, path: str, reason: str) -> None:
        """Note that `path` was not synced. Said once a path."""
        path = printable(path)
        if all(item["path"] != path for item in self.refused):
            self.refused.append({"path": path, "reason": reason})


def printable(path: str) -> str:
    """A path as text that can be printed and logged: bytes that are no UTF-8 show as question marks."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


#: path → (before, after)
Difference = Mapping[str, tuple[Entry | None, Entry | None]]


@dataclass
class Judged:
    """Their changes without what is refused, who made them, and what was refused (with the version that goes aside).

    `restored`: path → the merge that left out a person's version. `settled`: paths that are as Local's word left them.
    """

    changes: dict[str, Entry | None] = field(default_factory=dict)
    zones: dict[str, str] = field(default_factory=dict)
    restored: dict[str, str] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)
    asides: list[Aside] = field(default_factory=list)
    by_people: set[str] = field(default_factory=set)  # paths whose newest change is no node's
    newest: dict[str, Commit] = field(default_factory=dict)  # path → the last commit to change it
    told: bool = False

    def zone_of(self, path: str) -> str:
        """Whose change it is."""
        return self.zones.get(path, LOCAL)

    def person(self, path: str) -> str | None:
        """Who made the newest change, where that is no node: the author's name, which anybody may write."""
        commit = self.newest.get(path)
        if commit is None or claimed_zone(commit.address) is not None:
            return None
        return visible.escape(printable(commit.author or commit.address)).replace("\n", " ")


class SyncStopped(Exception):
    """This sync can't go on; the message says what a person must do."""


class WrongAnswer(SyncStopped):
    """A person's answer names nothing that was asked about: nobody but that person needs to know."""


def is_same_boot(memory: Mapping[str, Any]) -> bool:
    """Whether the machine has run since the last good sync: a snapshot of its disk is put back by a start."""
    return bool(memory.get("boot", boot_id()) == boot_id())


def was_awake(memory: Mapping[str, Any], now: datetime) -> bool:
    """Whether a sync went well so short a while before `now` that nobody put the node back."""
    then = memory.get("last_success_at")
    return then is not None and is_same_boot(memory) and timedelta(0) <= now - parse_time(then) < SHORT_WHILE


@dataclass
class Session:
    """What the parts of one sync share."""

    git: VaultGit
    layout: Layout
    config: SyncConfig
    clock: Clock
    memory: Memory
    result: SyncResult
    moves: Moves
    state_dir: Path
    alert: Callable[..., Any]
    observe_moves: Callable[[], Any]
    secrets: SecretScanner
    remote: bool = True  # whether there is a remote: a vault alone has nobody to keep anything from
    answers: Answers = NO_ANSWERS
    searched: str | None = None  # a commit with nothing in its history that must not be pushed
    checkpoint: Callable[[str], None] = lambda name: None
    left: set[str] = field(default_factory=set)  # tasks that a sync moved away, and that somebody else took or changed
    pinned: set[str] = field(default_factory=set)  # notes in whose place lies what is left out
    index: dict[str, Entry | None] = field(default_factory=dict)  # what git's index has to follow at the end
    index_is_stale: bool = False  # the whole index has to be read anew
    keyring: Keyring = field(default_factory=Keyring)
    _told: dict[str, None] | None = None  # digests of what the human was told, oldest first
    _alerts: int = 0
    _rest: list[tuple[str, str]] = field(default_factory=list)

    @property
    def zone(self) -> str:
        """This node's zone."""
        return self.config.zone

    @property
    def peer(self) -> str:
        """The other zone."""
        return next(zone for zone in ZONES if zone != self.zone)

    def store(self, contents: dict[str, bytes]) -> dict[str, Entry]:
        """Blobs for `contents` by path, brought along by the next commit."""
        oids = self.git.add_blobs(contents.values())
        return {path: Entry(FILE, oid) for path, oid in zip(contents, oids, strict=True)}

    def settle_index(self) -> None:
        """Make git's index say what the branch says, so that a person's `git status` tells the truth."""
        if self.index_is_stale and (commit := self.git.ref(self.git.branch)):
            self.git.refresh_index(commit)
        elif self.index:
            self.git.follow_index(self.index)
        self.index, self.index_is_stale = {}, False
        self.git.overlook(self.pinned, overlook=True)

    def note_moves(self) -> None:
        """Have the human's moves noted before files of a sync could be taken for them (S7); else nothing goes on."""
        try:
            self.observe_moves()
        except Exception as error:
            log.exception("the human's moves could not be noted")
            raise SyncStopped(f"the human's moves could not be noted, so nothing is synced: {error}") from error

    def refuse(self, path: str, refusal: Refusal, token: str = "", *, origin: str = "") -> bool:
        """Note a refusal, and tell the human once. Answers whether the human was told now.

        `token` tells this version of the file from the next one, which is told anew. `origin`: where it comes from, if
        from outside; in the title, because an alert of the same title is soon only counted. The first of a sync have an
        alert each, the rest one together (`tell_rest`).
        """
        self.result.refuse(path, refusal.reason)
        if refusal.level is None:
            return False
        path = printable(path)
        key = f"{path}\0{token}\0{refusal.reason}"
        if self._alerts < _NAMED:
            what = "Not synced, for it may hold a secret" if refusal.level == "CRITICAL" else "Not synced"
            title = f"{what}: {path}" + (f", from {origin}" if origin else "")
            told = self.tell(key, refusal.level, title, refusal.reason)
            self._alerts += told
            return told
        if self._is_news(key):
            self._rest.append((refusal.level, f"{path}: {refusal.reason}"))
        return False

    def tell(self, key: str, level: str, title: str, message: str) -> bool:
        """Raise an alert unless the same was raised before. Remembered first, so a storm is impossible."""
        if not self._is_news(key):
            return False
        self._remember_told()
        self.alert(level, title, message, source="vault_sync")
        return True

    def tell_rest(self) -> bool:
        """One alert about the refusals that had none of their own; whether there were any."""
        if not self._rest:
            return False
        self._remember_told()
        level = "CRITICAL" if any(level == "CRITICAL" for level, _ in self._rest) else "WARNING"
        lines = [line for _, line in sorted(self._rest)]
        more = [f"and {len(lines) - _NAMED} more; `{command('sync')}` names all"] if len(lines) > _NAMED else []
        title = f"Not synced: {len(lines)} more files"
        self._rest = []
        self.alert(level, title, "\n".join(lines[:_NAMED] + more), source="vault_sync")
        return True

    def _is_news(self, key: str) -> bool:
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        if self._told is None:
            self._told = dict.fromkeys(self.memory.load().get("told", []))
        if digest in self._told:
            return False
        self._told[digest] = None
        return True

    def _remember_told(self) -> None:
        self.memory.update(told=list(self._told or ())[-_REMEMBERED:])
