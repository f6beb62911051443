"""The Protocols that adapters satisfy, and the error that all of them raise.

An adapter turns every library's errors into `AdapterError` with one sentence for the user and whether trying again
can help.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from utils.core.acting import Absence, Order, Plan, Receipt
from utils.core.alert import Alert
from utils.core.health import ProbeResult
from utils.core.lease import Sight
from utils.core.mail import IncomingMail, OutgoingMail, Proposal, RawMail, ReplyRules, Wish
from utils.core.merge import Entry
from utils.core.sync_rules import Refusal


class AdapterError(Exception):
    """The world said no. `retry`: whether the same call may succeed later. The text names what to do.

    `retry_after`: how long the provider wants to be left alone, where it said so (`utils.core.retry_after`).
    """

    def __init__(self, message: str, *, retry: bool, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry = retry
        self.retry_after = retry_after


class Damaged(AdapterError):
    """The vault's repository itself is damaged (a power cut, a bad disk): mending may help, trying again does not."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry=False)


class AuthRefused(AdapterError):
    """The provider refused our credentials: nothing was done, and nothing will be until a human renews them."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry=False)


class OutcomeUnknown(Exception):
    """An acting call ended in such a way that nobody can know whether it took effect. Never retried, unless evidence
    proves that it did not; then not before `retry_after`, as for `AdapterError`."""

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SecretScanner(Protocol):
    """Looks for secrets in what is about to travel (S11)."""

    def find(self, data: bytes, *, allow: bool = False) -> Refusal | None:
        """A secret in `data`, named by its kind and never by its value; or None. `allow`: a person's mark on the line
        lets it pass. Raises `AdapterError` where it can't look: then nothing may travel."""


class Clock(Protocol):
    """Time. `now` is aware UTC; `monotonic` is in seconds and goes on during a suspend where the system can tell."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...


class Mailbox(Protocol):
    """Mail in. Methods raise `AdapterError`."""

    def fetch(self) -> Iterable[RawMail]:
        """Mails not marked seen, oldest first, one at a time. A mail above the size limit comes as headers only."""

    def mark_seen(self, mail: RawMail) -> None:
        """Remember durably that this mail needs no more work. Calling it twice is harmless."""

    def not_taken(self) -> Mapping[str, str]:
        """What lies in the mailbox and will never be read, for the human: name → why ("is no mail: …")."""

    def wait(self, seconds: float, stopped: Callable[[], bool]) -> None:
        """Return when there may be new mail, after `seconds`, or within a second of `stopped()` becoming true."""

    def close(self) -> None:
        """Let go of connections. The next call opens them again."""


class DraftEngine(Protocol):
    """Reads one mail, returns a typed value, has no tools (S12)."""

    name: str

    def propose(self, mail: IncomingMail, rules: ReplyRules) -> Proposal:
        """Category, priority, and the text of a reply or None. Raises `AdapterError`."""

    def revise(self, mail: IncomingMail, rules: ReplyRules, wish: Wish) -> Proposal:
        """A new draft after the human's wish. An engine that can't follow it says so in `unmet`, and its draft is the
        earlier one: it never passes off as done what it did not do. Raises `AdapterError`."""


class MailSender(Protocol):
    """Mail out. At most one transmission a call; never retries by itself."""

    def send(self, mail: OutgoingMail) -> Receipt:
        """Hand over `mail`. Raises `AdapterError` where certainly nothing was accepted, else `OutcomeUnknown`."""

    def find(self, message_id: str) -> Receipt | None:
        """After a crash: the receipt if there is proof that the mail left. None proves it did not if `conclusive`."""

    @property
    def conclusive(self) -> bool:
        """Whether `find` answering None proves that the mail never left."""


class Hand(Protocol):
    """Carries out one kind of action with one provider. Never retries by itself, and never follows a redirect."""

    provider: str  # for people and receipts: "smtp", "odoo", …

    def plan(self, order: Order) -> Plan:
        """What `act` would do, verified as far as that goes without acting; the same order gives the same reference.

        No network. Raises `InvalidTask` where the request can't be carried out (text for the human), `AdapterError`
        where this node can't (an account is missing).
        """

    def act(self, order: Order, plan: Plan, prepared: Callable[[str], None]) -> Receipt:
        """Do it, by at most one committing call.

        `prepared(id)` keeps durably, before the commit, what `find` will need; it is called for what the provider made
        ready (a draft, a container, uploaded media). Raises `AdapterError` where certainly nothing took effect
        (`AuthRefused` for refused credentials), else `OutcomeUnknown`.
        """

    def find(self, order: Order, plan: Plan) -> Receipt | Absence:
        """After a crash or a lost answer: did it happen? Reads only. Raises `AdapterError` where it could not look.

        Of `plan` there is the reference alone, as the journal kept it: the files it was made from may be gone.
        """


class AlertChannel(Protocol):
    """One way to reach the human."""

    name: str

    def deliver(self, alerts: list[Alert]) -> None:
        """Deliver one alert, or several as a digest. Raises `AdapterError`."""


class Probe(Protocol):
    """Asks a service whether it lives. Never raises for a sick service."""

    def check(self, url: str, timeout: float) -> ProbeResult: ...


class ToolCaller(Protocol):
    """An MCP client: starts a server at the first call, stops it when it has been idle.

    `stopped` is asked while a call waits; when it answers True the wait ends with `OutcomeUnknown`, and the server goes
    on by itself.
    """

    stopped: Callable[[], bool]

    def call(self, server: str, tool: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The tool's structured answer. Raises `AdapterError` where the tool refused before acting (`ToolError`);
        `OutcomeUnknown` where the server died or did not answer."""

    def close_idle(self) -> None:
        """Stop servers that were not used for a while."""

    def close(self) -> None:
        """Stop all servers."""


@dataclass(frozen=True)
class Seen:
    """A path where the work tree or the index differs from HEAD: what HEAD has there, or None."""

    head: Entry | None
    unmerged: bool = False


@dataclass(frozen=True)
class Commit:
    """A commit, its author's address, and the paths it changed (of a merge: those that differ from every parent).

    `signature`: G good, B bad, U by an unknown key, N none or nobody looked; `key`: the fingerprint of its key.
    """

    oid: str
    address: str
    paths: tuple[str, ...]
    author: str = ""
    parents: tuple[str, ...] = ()
    at: int = 0  # when it was made, in POSIX seconds
    signature: str = "N"
    key: str = ""


@dataclass(frozen=True)
class Added:
    """A content that a commit put at a path. `old`: an earlier state had these bytes before any of the commits asked
    for brought them, so they were moved or put back."""

    commit: str
    path: str
    mode: str
    oid: str
    old: bool


@dataclass(frozen=True)
class Made:
    """A commit that was made, and whether its files differ from its first parent's."""

    oid: str
    changed: bool


@dataclass(frozen=True)
class Pushed:
    """The remote's answer to a push. `race`: somebody else pushed first, trying again helps."""

    ok: bool
    race: bool = False
    reason: str = ""


class VaultGit(Protocol):
    """The vault's git repository, by plumbing that never touches the work tree. Methods raise `AdapterError`; `retry`
    where the network failed. Commits and blobs are named by object id; paths are posix, relative to the vault."""

    root: Path
    git_dir: Path
    remote: str
    branch: str  # full name of the vault's branch
    tracking: str  # full name of the ref that remembers the remote's branch

    def open(self) -> AbstractContextManager[VaultGit]: ...
    def initialise(self) -> None: ...
    def set_remote(self, url: str) -> None: ...
    def head(self) -> tuple[str | None, str | None]: ...
    def resolve(self, name: str) -> str | None: ...
    def ref(self, name: str) -> str | None: ...
    def like(self) -> str: ...
    def changed(self) -> dict[str, Seen]: ...
    def entries(self, commit: str, paths: Iterable[str]) -> dict[str, Entry]: ...
    def children(self, commit: str, folders: Iterable[str]) -> dict[str, set[str]]: ...
    def diff(self, old: str | None, new: str) -> dict[str, tuple[Entry | None, Entry | None]]: ...
    def read_blobs(self, oids: Iterable[str]) -> dict[str, bytes]: ...
    def merge_base(self, one: str, other: str) -> str | None: ...
    def is_ancestor(self, older: str, newer: str) -> bool: ...
    def commits(self, old: str | None, new: str, *, verify: bool = False) -> list[Commit]: ...
    def added(self, known: Sequence[str], new: str) -> list[Added]: ...
    def let_people_sign(self) -> None: ...
    def ignored_here(self) -> list[str]: ...
    def ignore_here(self, paths: Collection[str]) -> None: ...
    def overlook(self, paths: Collection[str], *, overlook: bool) -> None: ...
    def files_under(self, commit: str, folders: Iterable[str] = ()) -> list[str]: ...
    def is_signed(self, commit: str) -> bool: ...
    def authors_of(self, commit: str, path: str) -> set[str]: ...
    def add_blobs(self, contents: Iterable[bytes]) -> list[str]: ...
    def commit(
        self, changes: Mapping[str, Entry | None], parents: Sequence[str], message: str, now: datetime
    ) -> Made: ...
    def store_blobs(self, contents: Iterable[bytes]) -> None: ...
    def missing(self, oids: Iterable[str]) -> set[str]: ...
    def move_ref(self, ref: str, new: str, old: str | None, *, force: bool = False) -> None: ...
    def point_head(self) -> None: ...
    def refresh_index(self, commit: str) -> None: ...
    def follow_index(self, changes: Mapping[str, Entry | None]) -> None: ...
    def remote_head(self) -> tuple[str | None, tuple[str, ...]]: ...
    def fetch(self, *, whole: bool = False) -> str: ...
    def push(self, commit: str) -> Pushed: ...
    def give_up(self) -> None: ...
    def unfinished(self) -> list[str]: ...
    def their_heads(self) -> list[str]: ...
    def quit_unfinished(self) -> None: ...
    def unmerged(self) -> dict[str, dict[int, Entry]]: ...
    def locks(self) -> list[Path]: ...
    def try_remote(self) -> None: ...
    def start_anew(self, kept: Path) -> None: ...
    def mended(self) -> list[str]: ...
    def set_damaged_aside(self, folder: Path) -> list[str]: ...
    def is_whole(self, commit: str) -> bool: ...
    def is_sound(self) -> bool: ...
    def past(self) -> list[str]: ...


class LeaseRemote(Protocol):
    """The ref on the remote that holds the zone lease, and the heartbeats beside it. Methods raise `AdapterError`."""

    def look(self) -> Sight:
        """What lies there now."""

    def push(self, text: str, expected: str | None) -> str | None:
        """Replace `expected` (None: nothing is there) by `text`, and give a heartbeat with it: the object that is there
        now, or None where something else lay there. After an `AdapterError` it may have been replaced or not."""

    def beat(self) -> None:
        """Give a heartbeat of this zone."""


class VaultGlance(Protocol):
    """Quick questions about the vault's repository, for processes that must stay small. Never raise for a sick one."""

    def has_remote(self) -> bool: ...
    def known(self, path: str, data: bytes) -> bool: ...
    def contents(self, path: str) -> list[bytes] | None: ...
    def on_remote(self, path: str) -> bool: ...
    def below_on_remote(self, folder: str) -> frozenset[str] | None:
        """The paths below a folder that the remote's branch has, as last fetched; None where there is no remote."""

    def settled_at(self, commit: str) -> bool: ...
    def summary(self) -> dict[str, Any]: ...
    def git_processes(self) -> list[int]: ...


class VaultKeeper(Protocol):
    """Keeps the repository small without throwing anything away; times in seconds. Methods raise `AdapterError`;
    `retry` at a time-out."""

    def loose(self) -> int: ...
    def pack(self, timeout: float) -> None: ...
    def index_history(self, timeout: float) -> None: ...
    def trim_reflogs(self, days: int, timeout: float) -> None: ...
    def sweep(self, *, older_than: float) -> int: ...
