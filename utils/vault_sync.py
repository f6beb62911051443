"""Vault sync: carries the vault to the git remote and back.

A sync is three paragraphs: *gather* what changed here and what the remote has, *decide* (`utils.core.merge`), *apply*.
Local's version stands at a contested path, whichever node merges; a version that yields is kept aside. The branch moves
last, so a crash at any instruction leaves a vault that the next run completes.
"""

from __future__ import annotations

import logging
import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from utils.core.commands import command
from utils.core.disk import remedy
from utils.core.routing import LOCAL
from utils.core.signing import Keyring
from utils.core.task import format_time, parse_time
from utils.ports import AdapterError, Clock, Damaged, SecretScanner, VaultGit, VaultGlance
from utils.sync import apply, authors, gather, mend, outgoing, recover
from utils.sync import remote as remotely
from utils.sync.combine import Merged, merged
from utils.sync.runs import Runs
from utils.sync.values import (
    IDENTITIES,
    NO_ANSWERS,
    RUNNING,
    SHORT_WHILE,
    Answers,
    Session,
    SyncConfig,
    SyncResult,
    SyncStopped,
    WrongAnswer,
    is_same_boot,
    was_awake,
)
from utils.vault import locks, skeleton
from utils.vault.heartbeats import boot_id
from utils.vault.layout import Layout
from utils.vault.memory import Memory
from utils.vault.moving import Moves
from utils.vault.skeleton import Condition, VaultProblem

__all__ = ["IDENTITIES", "Answers", "SyncBusy", "SyncConfig", "SyncResult", "VaultSync", "sync_vault"]

log = logging.getLogger(__name__)
#: Says what takes long while it does: at set-up to everybody, in each sync (DEBUG) to a command line that shows it.
progress = logging.getLogger(f"{__name__}.progress")

_ATTEMPTS = 8
_OFFERED = 8
_GOOD = ("noop", "ok", "conflicts")
_TOLD = "an alert was raised: its log line comes along"
_MOMENT = 0.25  # seconds; `status` holds the lock for an instant when it looks, and that is no sync
_CAUSE = re.compile(r"(?P<cause>[^\n]{15,}?)(?:[:;.](?=\s)|\.?$)(?P<rest>.*)", re.DOTALL)
_TITLE = 200  # characters
_INIT = f"run `{command('init_vault')}`"
_UNFORESEEN = "a defect of this program stopped the sync; the log has the details, and the next sync tries again"


class SyncBusy(RuntimeError):
    """Another sync of this vault runs right now."""


@dataclass(frozen=True)
class Story:
    """Why a sync stands still, as far as this machine can tell.

    `disk`: why the state can't be written or believed. `failing_since`: when the first of the failures in a row began.
    `holder` (`pid 123`) has the lock since `held_since`; None where nobody has it.
    """

    disk: str | None
    failing_since: str | None
    holder: str | None
    held_since: datetime | None


class VaultSync:
    """Syncs one vault. Safe to use from several processes and threads at once: one sync runs at a time."""

    def __init__(
        self,
        layout: Layout,
        config: SyncConfig,
        git: VaultGit,
        glance: VaultGlance,
        *,
        state_dir: Path,
        clock: Clock,
        alert: Callable[..., Any],
        observe_moves: Callable[[], Any],
        secrets: SecretScanner,
        checkpoint: Callable[[str], None] = lambda name: None,
        keyring: Callable[[], Keyring] = Keyring,
    ) -> None:
        self._layout = layout
        self._config = config
        self._git = git
        self._glance = glance
        self._clock = clock
        self._alert = alert
        self._observe_moves = observe_moves
        self._secrets = secrets
        self._checkpoint = checkpoint
        self._keyring = keyring
        self._memory = Memory(state_dir / "sync.json")
        self.runs = Runs(state_dir / "sync_runs.jsonl")
        self._state_dir = state_dir
        self._moves = Moves(layout, state_dir)

    # --- syncing -----------------------------------------------------------------------------------------------------

    def run(self, answers: Answers = NO_ANSWERS, *, wait: bool = False) -> SyncResult:
        """Sync once. What went wrong is in the result; only `SyncBusy` is raised, where one runs and not `wait`."""
        try:
            with self._alone(wait):
                return self._run(answers)
        except OSError as error:  # the lock itself could not be made
            result = SyncResult("error", started_at=format_time(self._clock.now()))
            result.error = str(_explained(error, self._layout.root))
            self._remember(result)
            return result

    def run_before(self, change: Callable[[], object]) -> SyncResult | None:
        """Sync by the rules that hold so far and, where that went well, `change` them before the next one begins.

        None where nothing is to be carried over, for there is no remote or no sync ever went well: `change` alone is
        made.
        """
        if not self.has_remote() or not self._memory.load().get("last_success_at"):
            change()
            return None
        with self._alone(wait=True):
            result = self._run()
            if result.result in _GOOD:
                change()
            return result

    def has_signed(self) -> bool:
        """Whether this node signs, or did until it lost its key."""
        return self._memory.load().get("signing") == "signed"

    def repair(self) -> SyncResult:
        """Take the history anew from the remote where the repository is damaged beyond mending, and sync.

        No note changes. The damaged repository is kept under `STATE_DIR/damaged/`. What lies in the work tree counts as
        edited since the newest commit that the vault was at and the remote has; without one, as first contact. Raises
        `VaultProblem` where the history is not damaged, or there is no other one.
        """
        with locks.hold(self._state_dir / "locks" / "setup.lock"), self._alone(wait=True):
            if not self.has_remote():
                raise VaultProblem(
                    "nothing was changed: the vault has no remote to take a history from, and the one here would be"
                    " lost. Name the remote (`git remote add`), or put .git back from a backup"
                )
            if self._is_sound():
                raise VaultProblem(f"nothing was changed: the repository is sound. Run `{command('sync')}`")
            past = [*self._git.past(), self._memory.load().get("at")]
            folder = mend.damaged_folder(self._state_dir, format_time(self._clock.now()))
            self._git.try_remote()  # without it there would be no history at all
            self._git.start_anew(folder)
            log.warning("the repository as it was is kept in %s", folder)
            with self._git.open() as git:
                if git.remote_head()[0] is not None:
                    git.fetch(whole=True)
                base = next((commit for commit in past if commit and git.resolve(commit)), None)
                if base:
                    git.move_ref(git.branch, base, None)
                    git.refresh_index(base)
            return self._run()

    def _is_sound(self) -> bool:
        if self._memory.load().get("damaged"):
            return False
        try:
            with self._git.open() as git:
                return git.is_sound()
        except AdapterError:
            return False

    def confirm(self) -> SyncResult | None:
        """For a caller who knows that no file of the vault changed since the last sync: a sync that looks at no file
        and asks the remote one thing. None where there may be more to do, and `run` has to find out."""
        started, begun = self._clock.now(), self._clock.monotonic()
        memory = self._memory.load()
        last, seen = memory.get("last_sync") or {}, memory.get("remote_head")
        at_rest = last.get("result") in _GOOD and not last.get("refused")
        if not seen or not at_rest or any(memory.get(key) for key in ("applying", "overtaken", "waiting")):
            return None
        try:
            with self._alone(wait=False):
                if not self._glance.settled_at(seen):
                    return None
                result = SyncResult(started_at=format_time(started))
                result.duration_ms = round((self._clock.monotonic() - begun) * 1000)
                self._remember(result)
                return result
        except (SyncBusy, VaultProblem, OSError):
            return None  # `run` says what is wrong

    def _run(self, answers: Answers = NO_ANSWERS, *, settle: bool = True) -> SyncResult:
        started, begun = self._clock.now(), self._clock.monotonic()
        result = SyncResult(started_at=format_time(started))
        problem: Exception | None = None
        try:
            with self._git.open() as git:
                session = self._session(git, result)
                session.answers = answers
                if not settle:
                    session.config = replace(self._config, settle_seconds=0)
                try:
                    self._mended_sync(session)
                finally:
                    session.settle_index()
            result.result = _word(result)
        except AdapterError as error:
            result.result, problem = "offline" if error.retry else "error", error
        except WrongAnswer as error:
            result.result, result.error = "error", str(error)
            return result
        except SyncStopped as error:
            result.result, problem = "error", error
        except OSError as error:
            result.result, problem = "error", _explained(error, self._layout.root)
        except Exception as error:
            log.exception("the sync met what nobody foresaw")
            result.result, problem = "error", SyncStopped(f"{_UNFORESEEN} ({type(error).__name__}: {error})")
        result.error = str(problem) if problem else None
        result.duration_ms = round((self._clock.monotonic() - begun) * 1000)
        self._remember(result, answers)
        return result

    def _mended_sync(self, session: Session) -> None:
        """Sync; where the repository turns out to be damaged, mend it and sync once more."""
        if met := self._memory.load().get("damaged"):  # by housekeeping, which reads what no sync has a reason to read
            mend.mend(session, Damaged(met))
            self._memory.update(damaged=None)
        try:
            self._sync(session)
        except Damaged as damage:
            mend.mend(session, damage)
            self._sync(session)

    def _sync(self, session: Session) -> None:
        said = session.answers
        if not session.remote and (said.accept_remote or said.accept_own or said.push_secret):
            raise WrongAnswer("the vault has no remote, so no sync asked about what is or goes there")
        authors.check_own_key(session)
        recover.recover(session, self._glance)
        pause = threading.Event()
        reason = ""
        for attempt in range(1, _ATTEMPTS + 1):
            reason = self._attempt(session) or ""
            if not reason:
                self._check_used(session)
                return
            session.settle_index()
            if reason != _TOLD:
                pause.wait(random.uniform(0.05, 0.25) * 2 ** min(attempt, 4))  # noqa: S311  # jitter, no secret
        raise SyncStopped(
            f"the remote did not take our push in {_ATTEMPTS} attempts: {reason}. If no other node is pushing, a lock"
            " file may have been left behind on the remote (refs/heads/*.lock): remove it there"
        )

    @staticmethod
    def _check_used(session: Session) -> None:
        """A word that named a commit which nobody ever saw is a slip of the pen; the sync itself is complete."""
        said = session.answers.accept_own
        own = session.git.resolve(said) if said else None
        if said and (own is None or not session.git.is_ancestor(own, "HEAD")):
            raise WrongAnswer(f"everything is in sync, but no commit {said} arrived: --accept-own had nothing to do")

    def _attempt(self, session: Session) -> str | None:
        """Gather, decide, apply. The reason to start again, or None where the sync is complete."""
        git, remote = session.git, session.remote
        head, _ = git.head()
        joining = head is None and remote  # nothing is committed here before we know what the remote holds
        session.index_is_stale |= joining
        with remotely.beside(git, lambda: remotely.ask(session) if remote else None) as answer:  # meanwhile
            ours = gather.gather(session, head, ref=None if joining else git.branch)
            there = answer()
        theirs = remotely.taken(session, there, ours) if there else None
        if there:
            outgoing.check(session, head, ours, there, theirs)
        session.checkpoint("fetched")

        if ours is None or theirs is None:
            decision = Merged(ours or theirs)
        else:
            decision = merged(session, ours, theirs, first_contact=joining)
        if session.tell_rest() or decision.told:
            return _TOLD
        session.checkpoint("decided")

        new = session.result.at = decision.commit
        if new is None:
            return None
        if remote and new != theirs:
            new = authors.vouched(session, new)
            # Killed after the push and before the branch moved, we meet this commit again: it is ours.
            offered = [oid for oid in self._memory.load().get("offered", []) if oid != new]
            self._memory.update(offered=[*offered, new][-_OFFERED:])
            with remotely.beside(git, lambda: len(git.diff(theirs, new))) as difference:
                pushed = git.push(new)
                count = difference()
            if not pushed.ok and pushed.race:
                return pushed.reason
            if not pushed.ok:
                raise SyncStopped(f"the remote refused the push: {pushed.reason}")
            session.checkpoint("pushed")
            session.result.pushed = count
            remotely.saw(session, new)
        session.result.add(decision.conflicts)
        if new != git.ref(git.branch):
            session.result.pulled = apply.apply(session, ours, new)
            session.note_moves()
        self._memory.update(offered=None)  # the remote may keep a merge that it declined: it is nobody's word by now
        return None

    # --- asking ------------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """The fields of `GET /api/vault/sync/status` but `next_run_at`; true also while another process syncs."""
        return {**self.standing(), **self._glance.summary()}

    def standing(self) -> dict[str, Any]:
        """`status` without what git has to be asked for: `state`, `branch`, `remote`, and `last`."""
        memory = self.last()
        last = memory["last_sync"]
        state = {"offline": "offline", "error": "error"}.get(last["result"], "idle") if last else "never"
        if self._memory.problem():  # what a sync did could not be written down: what is written is no news
            state = "error"
        if self.is_running():
            state = "syncing"
        return {
            "state": state,
            "branch": self._config.branch,
            "remote": self._config.remote if self.has_remote() else None,
            **memory,
        }

    def last(self) -> dict[str, Any]:
        """`last_sync` and `last_success_at` of `status`, without asking git."""
        memory = self._memory.load()
        return {name: memory.get(name) for name in ("last_sync", "last_success_at")}

    def is_running(self) -> bool:
        """Whether a sync of this vault runs, in whichever process."""
        return locks.is_held(self._lock)

    def branch_files(self) -> list[Path]:
        """The files of the repository that change when the branch moves, here or on the remote as last fetched."""
        config, git_dir = self._config, self._layout.root / ".git"
        names = ("HEAD", "config", "packed-refs", f"refs/heads/{config.branch}")
        return [git_dir / name for name in (*names, f"refs/remotes/{config.remote}/{config.branch}")]

    def story(self) -> Story:
        """What a person wants to know besides `status` where the sync stands still. Writes nothing."""
        holder = locks.holder(self._lock)
        return Story(
            disk=self._memory.problem(),
            failing_since=self._memory.load().get("failing_since"),
            holder=holder,
            held_since=datetime.fromtimestamp(self._lock.stat().st_mtime, UTC) if holder is not None else None,
        )

    def has_remote(self) -> bool:
        """Whether the vault has its remote. Cheap."""
        return self._glance.has_remote()

    def reason_to_wait(self, started: datetime) -> str | None:
        """Why a process that began at `started` does nothing yet that can't be undone, or None.

        A node that was put back from a backup does not know what it did since; the remote does. So the first good sync
        comes before, unless there was one shortly before the start, the machine has run since, and nothing was copied.
        """
        if not self.has_remote():
            return None
        if self._memory.is_put_back():
            return "this node's state was copied or put back, and no sync has gone well since"
        memory = self._memory.load()
        last = memory.get("last_success_at")
        if last is None or parse_time(last) < started - SHORT_WHILE or not is_same_boot(memory):
            return "no sync has gone well since this node was started"
        if parse_time(last) > self._clock.now():
            return "the clock of this machine is behind its last sync, and no sync has gone well since"
        return None

    def put_back_at(self) -> datetime | None:
        """When the first sync went well after this node was last put back from a backup; None where it never was."""
        at = self._memory.load().get("put_back_at")
        return parse_time(at) if at else None

    def known_to_git(self, path: str, data: bytes) -> bool:
        """Whether HEAD or any fetched branch has exactly these bytes at the vault's `path`."""
        return self._glance.known(path, data)

    def in_git(self, path: str) -> list[bytes] | None:
        """What HEAD and the fetched branches have at the vault's `path`; None where that can't be told."""
        return self._glance.contents(path)

    def confirmed(self, folder: str) -> frozenset[str] | None:
        """The paths below `folder` that the remote's branch, as last seen, has; None where there is no remote to
        confirm anything."""
        return self._glance.below_on_remote(folder)

    # --- setting up --------------------------------------------------------------------------------------------------

    def ensure_ready(self, remote_url: str = "", *, is_default: bool = False) -> None:
        """Check the vault and, where its folder is empty or the default one, set it up. Cheap when nothing is to do.

        Raises `VaultProblem` with the remedy. Never touches a note; elsewhere than at the default place it never sets
        up where notes lie already.
        """
        if self._is_ready(remote_url):
            return
        with self._setting_up():
            if self._is_ready(remote_url):
                return
            root, condition = self._layout.root, skeleton.condition(self._layout)
            if condition is Condition.MISSING and not is_default:
                raise VaultProblem(f"VAULT_PATH {root} does not exist: create the folder, mount the disk, or {_INIT}")
            if condition is Condition.NOTES and not (is_default and not (root / ".git").exists()):
                raise VaultProblem(f"{root} holds files but is no vault yet: {_INIT} (it changes no file)")
            memory = self._memory.load()
            if condition in (Condition.EMPTY, Condition.MISSING) and memory.get("last_sync"):
                what = "is empty" if condition is Condition.EMPTY else "is gone"
                raise VaultProblem(f"{root} {what} but was a vault before: mount the disk, or {_INIT} to start anew")
            if condition is Condition.NOTES and memory.get("last_sync") and not (root / ".git").exists():
                raise VaultProblem(
                    f"{root} has lost its history (the folder .git). Put it back from a backup, or {_INIT} to take it"
                    " from the remote: then what lies here counts as written now, also over what others wrote since"
                )
            self._set_up(remote_url)

    def prepare(self, remote_url: str = "") -> str:
        """Make the folder a vault with its repository and remote, and sync it once; one line that says what was done.

        Local fills an empty remote or joins one that holds a vault, and gives a vault of an earlier version what it
        lacks for Obsidian; the cloud only joins. Files that exist stay as they are. Can be repeated. Raises
        `VaultProblem`.
        """
        with self._setting_up():
            if self._is_ready(remote_url) and self._layout.marker.is_file():
                added = skeleton.add_obsidian(self._layout) if self._config.zone == LOCAL else []
                return f"{self._layout.root} is a vault already" + (f"; added {', '.join(added)}" if added else "")
            return self._set_up(remote_url)

    def _is_ready(self, remote_url: str) -> bool:
        return skeleton.condition(self._layout) is Condition.READY and (not remote_url or self.has_remote())

    @contextmanager
    def _setting_up(self) -> Iterator[None]:
        """One set-up at a time; every failure as a `VaultProblem`."""
        with locks.hold(self._state_dir / "locks" / "setup.lock"):
            try:
                yield
            except AdapterError as error:
                raise VaultProblem(f"the vault at {self._layout.root} could not be set up: {error}") from error
            except OSError as error:
                raise VaultProblem(f"the vault could not be set up: {_explained(error, self._layout.root)}") from error

    def _set_up(self, remote_url: str) -> str:
        root = self._layout.root
        root.mkdir(parents=True, exist_ok=True)
        if (root / ".git").exists() and not (root / ".git").is_dir():
            raise VaultProblem(
                f"{root}/.git is a file: a vault needs a git repository of its own, not a worktree of another"
            )
        unfinished = root / ".git" / skeleton.SETTING_UP
        unfinished.parent.mkdir(exist_ok=True)
        unfinished.touch()
        self._git.initialise()
        if remote_url:
            self._git.set_remote(remote_url)
        joining = self.has_remote()
        if joining:
            self._first_contact()
        if self._config.zone == LOCAL or not joining:
            skeleton.fill(self._layout)
        else:
            skeleton.make_folders(self._layout, keep_files=False)
        result = self._first_run()
        if result.result in ("offline", "error"):
            raise VaultProblem(f"the vault at {root} could not be brought to its remote: {result.error}")
        marker = self._layout.relative(self._layout.marker)
        if joining and self._config.zone == LOCAL and not self._glance.on_remote(marker):
            raise VaultProblem(f"the remote was not seeded: it has no {marker} ({result.summary()}). Please {_INIT}")
        unfinished.unlink()
        return f"{root} is set up ({result.summary()})"

    def _first_contact(self) -> None:
        """Bring here what the remote holds, before templates could stand in its way."""
        progress.info("asking the remote (up to %g s) …", self._config.git_timeout)
        with self._git.open() as git:
            there, _ = git.remote_head()
        if there is None and self._config.zone != LOCAL:
            raise VaultProblem("the remote is still empty: start the Local node first, it brings the vault there")
        if there is not None:
            result = self._first_run()
            if result.result in ("offline", "error"):
                raise VaultProblem(f"the vault could not be brought from its remote: {result.error}")

    def _first_run(self) -> SyncResult:
        with self._alone(wait=True):
            return self._run(settle=False)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _session(self, git: VaultGit, result: SyncResult) -> Session:
        return Session(
            git=git,
            layout=self._layout,
            config=self._config,
            clock=self._clock,
            memory=self._memory,
            result=result,
            moves=self._moves,
            state_dir=self._state_dir,
            alert=self._alert,
            observe_moves=self._observe_moves,
            secrets=self._secrets,
            checkpoint=self._checkpoint,
            remote=self.has_remote(),
            keyring=self._keyring(),
        )

    @property
    def _lock(self) -> Path:
        return self._layout.root / ".git" / RUNNING

    @contextmanager
    def _alone(self, wait: bool) -> Iterator[None]:
        if not (self._layout.root / ".git").is_dir():
            raise VaultProblem(f"{self._layout.root} is no vault with a git repository: {_INIT}")
        holding = locks.hold(self._lock, timeout=_MOMENT)
        try:
            holding.__enter__()
        except locks.Locked as error:
            holder = error.holder or "another process"
            if not wait:
                raise SyncBusy(f"a sync of this vault runs already ({holder})") from None
            progress.info("waiting for another sync of this vault, which runs already (%s) …", holder)
            holding = locks.hold(self._lock)
            holding.__enter__()
        try:
            yield
        finally:
            holding.__exit__(None, None, None)

    def _remember(self, result: SyncResult, answers: Answers = NO_ANSWERS) -> None:
        """Write down what the sync did and tell of a new error. A disk that takes nothing takes no result away."""
        good = result.result in _GOOD
        try:
            memory = self._memory.load()
            known = (memory.get("last_sync") or {}).get("error")
            if result.result == "error" and known != result.error:
                self._alert("WARNING", *_as_alert(result.error or ""), source="vault_sync")
            since = {"at": result.at or memory.get("at"), **self._times(memory, answers)} if good else {}
            failing = None if good else memory.get("failing_since") or result.started_at
            self._memory.update(
                last_sync=result.to_dict(),
                waiting=result.waiting or None,
                failing_since=failing,
                **since,
            )
            self.runs.note(result)
        except OSError as error:
            log.error("the state of the sync could not be written: %s", error)
        log.log(logging.DEBUG if result.result == "noop" else logging.INFO, "vault sync: %s", result.summary())

    def _times(self, memory: dict[str, Any], answers: Answers) -> dict[str, Any]:
        """What is remembered of a good sync: when it was, and whether it ended an absence or a restore.

        A node that knows of no sync before may be one that was put back, or copied, without its state.
        """
        now = self._clock.now()
        stamp = format_time(now)
        put_back = self._memory.is_put_back()
        away = put_back or answers.accept_remote or not was_awake(memory, now)
        return {
            "last_success_at": stamp,
            "boot": boot_id(),
            "put_back": None,
            **({"put_back_at": stamp} if put_back else {}),
            **({"back_at": stamp} if away else {}),
        }


def _word(result: SyncResult) -> str:
    if result.conflicts:
        return "conflicts"
    return "ok" if result.committed or result.pulled or result.pushed else "noop"


def _as_alert(error: str) -> tuple[str, str]:
    """An error as `(title, message)`: the cause in the one, what to do in the other, nothing twice and nothing cut.

    The title tells one cause from the next, because an alert of the same title is soon only counted.
    """
    found = _CAUSE.match(error)
    if found is None or len(found["cause"]) > _TITLE:
        return "The vault does not sync", error
    return f"The vault does not sync: {found['cause']}", found["rest"].strip() or error


def _explained(error: OSError, root: Path) -> Exception:
    reason = error.strerror or str(error)
    return SyncStopped(f"{reason} ({error.filename or root}): {remedy(reason) or 'the next sync tries again'}")


def sync_vault() -> SyncResult:
    """Sync the vault of the settings (`VAULT_PATH`) once, as `AGENT_NAME`. Waits for a sync that runs already."""
    from utils.bootstrap import Services

    services = Services.from_environment()
    try:
        services.ensure_ready()
        return services.sync.run(wait=True)
    finally:
        services.close()
