"""Two real vaults and a bare remote between them, for histories of sync: A is Local's clone, B the Cloud's."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.conftest import FakeClock
from utils.adapters.git import GitVault
from utils.adapters.git_glance import GitGlance
from utils.adapters.git_keeper import GitKeeper
from utils.adapters.secret_scan import SecretScan
from utils.adapters.ssh_keys import KeyStore
from utils.claim_task import Claims
from utils.ports import SecretScanner
from utils.sync.housekeeping import Housekeeping
from utils.vault.layout import Layout
from utils.vault_sync import IDENTITIES, Answers, SyncConfig, SyncResult, VaultSync

MARKERS = (b"<<<<<<< ", b">>>>>>> ")


def git(folder: Path, *arguments: str, check: bool = True, data: bytes | None = None) -> str:
    """A person's plain git, with an identity of theirs."""
    environ = {
        **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.org",
        "GIT_EDITOR": "true",
    }
    done = subprocess.run(["git", *arguments], cwd=folder, env=environ, input=data, capture_output=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"git {' '.join(arguments)}: {done.stderr.decode()}")
    return done.stdout.decode("utf-8", "surrogateescape")


@dataclass
class Node:
    """One node's vault with its sync."""

    zone: str
    root: Path
    state: Path
    remote: Path
    clock: FakeClock = field(default_factory=FakeClock)
    alerts: list[tuple[str, str, str]] = field(default_factory=list)
    checkpoint: Callable[[str], None] = lambda name: None
    observe_moves: Callable[[], None] = lambda: None
    secrets: SecretScanner | None = None
    settle_seconds: float = 0.0
    max_file_bytes: int = 1024 * 1024
    accept_unsigned: bool = False
    live: set[bytes] = field(default_factory=set)

    def vault_sync(self) -> VaultSync:
        return VaultSync(
            Layout(self.root),
            SyncConfig(
                self.zone,
                git_timeout=20,
                settle_seconds=self.settle_seconds,
                max_file_bytes=self.max_file_bytes,
                accept_unsigned=self.accept_unsigned,
            ),
            GitVault(
                self.root,
                remote="origin",
                branch="main",
                identity=IDENTITIES[self.zone],
                timeout=20,
                scratch=self.state / "tmp",
                keys=self.keys.folder,
            ),
            GitGlance(self.root, remote="origin", branch="main"),
            state_dir=self.state,
            clock=self.clock,
            alert=lambda level, title, message, *, source=None: self.alerts.append((level, title, message)),
            observe_moves=lambda: self.observe_moves(),
            secrets=self.secrets or SecretScan(self.state),
            checkpoint=lambda name: self.checkpoint(name),
            keyring=self.keys.keyring,
        )

    @property
    def keys(self) -> KeyStore:
        """Its keys; none, until a test makes some."""
        return KeyStore(self.state / "keys")

    def sync(self, **answers: Any) -> SyncResult:
        for path, data in self.files().items():
            self.live |= set(data.splitlines()) if path.endswith(".jsonl") else {data}
        return self.vault_sync().run(Answers(**answers))

    def sync_and_die(self, step: str, count: int = 1) -> bool:
        """Sync in a process that dies, like by kill -9, the `count`-th time it passes `step`; whether it got there."""
        child = os.fork()
        if child == 0:
            code, passed = 3, 0

            def checkpoint(name: str) -> None:
                nonlocal passed
                passed += name == step
                if passed == count:
                    os.kill(os.getpid(), signal.SIGKILL)

            try:
                self.checkpoint = checkpoint
                code = 0 if self.vault_sync().run().result in ("noop", "ok", "conflicts") else 3
            except BaseException:
                traceback.print_exc()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the sync in the child failed"
        return os.WIFSIGNALED(status)

    def write(self, path: str, content: str | bytes) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def has(self, path: str) -> bool:
        return os.path.lexists(self.root / path)

    def remove(self, path: str) -> None:
        (self.root / path).unlink()

    def move(self, old: str, new: str) -> None:
        (self.root / new).parent.mkdir(parents=True, exist_ok=True)
        (self.root / old).rename(self.root / new)

    def vault_path(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def files(self) -> dict[str, bytes]:
        found = {}
        for folder, folders, names in os.walk(self.root):
            if ".git" in folders:
                folders.remove(".git")
            for name in names:
                path = Path(folder, name)
                litter = name.startswith(".tmp-")  # of a killed writer: no note, not synced, swept later
                if path.is_file() and not path.is_symlink() and not litter:
                    found[path.relative_to(self.root).as_posix()] = path.read_bytes()
        return found

    def conflicts(self) -> dict[str, bytes]:
        """What lies under `Updates/conflicts/`, by original path and the rest of the name."""
        prefix = "Updates/conflicts/"
        return {p.removeprefix(prefix): d for p, d in self.files().items() if p.startswith(prefix) and d}

    def git(self, *arguments: str, check: bool = True) -> str:
        return git(self.root, *arguments, check=check)

    def state_of_git(self) -> list[str]:
        """Everything that should not be left behind; empty when all is well."""
        wrong = [f"lock {path.name}" for path in (self.root / ".git").rglob("*.lock")]
        signs = ("MERGE_HEAD", "rebase-merge", "rebase-apply", "CHERRY_PICK_HEAD", "REVERT_HEAD")
        wrong += [sign for sign in signs if (self.root / ".git" / sign).exists()]
        if self.git("symbolic-ref", "HEAD", check=False).strip() != "refs/heads/main":
            wrong.append("HEAD is not on main")
        wrong += [f"stash {line}" for line in self.git("stash", "list").splitlines()]
        return wrong


class Two:
    """Both nodes and the remote. `a` is Local, `b` the Cloud. `like`: the folder of another `Two`, to be copied."""

    def __init__(self, folder: Path, *, ready: bool = True, like: Path | None = None) -> None:
        self.folder = folder
        self.remote = folder / "remote.git"
        self.a = Node("local", folder / "a", folder / "state-a", self.remote)
        self.b = Node("cloud", folder / "b", folder / "state-b", self.remote)
        if ready:
            shutil.copytree(like or _template(), folder, dirs_exist_ok=True, symlinks=True)
            for node in (self.a, self.b):
                node.git("remote", "set-url", "origin", str(self.remote))
                _long_at_work(node.state / "sync.json")
        else:
            git(folder, "init", "-q", "--bare", "--initial-branch=main", str(self.remote))

    def prepare(self) -> None:
        """Set both vaults up, as a first start does."""
        for node in (self.a, self.b):
            node.vault_sync().prepare(str(self.remote))

    def seed(self, **files: str | bytes) -> None:
        """Notes and tasks that both nodes have before the history begins."""
        for path, content in files.items():
            self.a.write(path, content)
        self.settle()
        for node in (self.a, self.b):
            node.live.clear()
            node.alerts.clear()

    def seed_files(self, files: dict[str, str | bytes]) -> None:
        self.seed(**files)

    def settle(self) -> list[SyncResult]:
        """Syncs A, B, A, B."""
        return [node.sync() for node in (self.a, self.b, self.a, self.b)]

    def head(self) -> str:
        return git(self.remote, "rev-parse", "main").strip()

    def reachable(self) -> set[str]:
        lines = git(self.remote, "rev-list", "--objects", "main").splitlines()
        return {line.split(" ")[0] for line in lines}

    def clone(self, name: str) -> Path:
        """A third clone: a phone, a laptop with plain git."""
        git(self.folder, "clone", "-q", str(self.remote), name)
        return self.folder / name

    def commit_all(self, folder: Path, text: str = "by hand", *, author: str = "Ada <ada@example.org>") -> None:
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", text, f"--author={author}")

    def assert_agree(self, *, loose: frozenset[bytes] = frozenset()) -> None:
        """What must hold after every history (the head of `sync_scenarios`). `loose`: bytes that may not travel."""
        a, b = self.a.files(), self.b.files()
        assert set(a) == set(b), f"only A: {sorted(set(a) - set(b))}; only B: {sorted(set(b) - set(a))}"
        assert a == b, f"differ: {[path for path in a if a[path] != b[path]]}"
        for node in (self.a, self.b):
            assert node.state_of_git() == [], node.zone
            assert node.git("rev-parse", "HEAD").strip() == self.head(), node.zone
            assert node.git("status", "--porcelain") == "", node.zone
        for path, data in a.items():
            assert not any(line.startswith(MARKERS) for line in data.splitlines()), f"conflict marker in {path}"
        self.assert_nothing_lost(loose)

    def assert_nothing_lost(self, loose: frozenset[bytes] = frozenset()) -> None:
        """S1: every byte string that was live at a sync is in a file or reachable from the remote's branch."""
        objects, texts = self.reachable(), list(self.a.files().values())
        for data in (self.a.live | self.b.live) - loose:
            oid = git(self.folder, "hash-object", "--stdin", data=data).strip()
            assert oid in objects or any(data in text for text in texts), f"lost: {data[:80]!r}"


def _long_at_work(state: Path) -> None:
    """Else a copied state is one that was put back from a backup, and its node one that began today."""
    memory = json.loads(state.read_text())
    memory.pop("back_at", None)
    state.write_text(json.dumps({**memory, "written": time.time()}))


@cache
def _template() -> Path:
    """Two vaults in the state after their first sync, made once and copied for each test."""
    folder = Path(tempfile.mkdtemp(prefix="vaults-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    two = Two(folder, ready=False)
    two.prepare()
    two.settle()
    return folder


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until `true()`; a generous limit, so that only what never happens fails."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.02)


def claims_of(node: Node) -> Claims:
    return Claims(Layout(node.root), node.state, node.clock, node.zone)


def housekeeping(node: Node, *, keep_days: int = 7) -> Housekeeping:
    """The node's housekeeping, as `utils.bootstrap` wires it."""
    glance = GitGlance(node.root, remote="origin", branch="main")
    keeper = GitKeeper(node.root)
    return Housekeeping(
        Layout(node.root), keeper, glance, claims_of(node), node.clock, node.state, node.zone, keep_days
    )
