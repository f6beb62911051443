"""The vault's git repository: plumbing only, through GitPython.

Never `checkout`, `merge`, `rebase`, `stash` or `add`: commits are built from a temporary index, so nothing here touches
the work tree. Every command names its repository explicitly and can't climb into one above; hooks, filters, prompts and
what the environment says about git are off. `open` a repository for the length of one sync; afterwards no process of it
is left.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.adapters import git_repair, signatures
from utils.adapters.git_command import (
    NO_FILTERS,
    Silence,
    command,
    end,
    environment,
    first_reason,
    is_damage,
    is_race,
    listen,
    local_error,
    network_error,
    push_refusal,
    quiet_ssh,
    scrub,
)
from utils.adapters.ssh_keys import INSTALL, git_settings
from utils.core import commands
from utils.core.merge import Entry
from utils.ports import AdapterError, Added, Commit, Damaged, Made, Pushed, Seen
from utils.vault import atomic
from utils.vault.worktree import blob_id

if TYPE_CHECKING:
    from git import Repo

_CHUNK = 500
_BATCH = 64 * 1024 * 1024  # bytes of new content that wait in memory for the commit that brings them along
_MADE = "refs/vault-sync/made"  # keeps the newest commit from being thought unreachable until the branch has it
#: Before the lines that are ours in `.git/info/exclude`; the paths follow as a JSON list.
_IGNORED = b"# Left out by vault sync, until it may travel: "
_OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LONGEST = 3600.0  # seconds; a command of the network that goes on and on, however busily


class GitVault:
    """A vault's repository. `identity` is `(name, e-mail)` of the commits made here; `timeout` (seconds) bounds the
    remote's silence in every command that uses the network; `keys` is the folder of a `KeyStore`: with a key of ours in
    it, commits are signed. Methods raise `AdapterError`; `retry` where the network failed, `Damaged` where this
    repository is."""

    def __init__(
        self,
        root: Path,
        *,
        remote: str,
        branch: str,
        identity: tuple[str, str],
        timeout: float,
        scratch: Path,
        keys: Path | None = None,
    ) -> None:
        self.root = root
        self.git_dir = root / ".git"
        self.remote = remote
        self.branch = f"refs/heads/{branch}"
        self.tracking = f"refs/remotes/{remote}/{branch}"
        self._identity = identity
        self._timeout = timeout
        self._scratch = scratch
        self._keys = keys
        self._repo: Repo | None = None
        self._ssh: dict[str, str] | None = None
        self._fresh: dict[str, bytes] = {}
        self._running: set[int] = set()
        self._format: str | None = None
        self._mended: list[str] = []

    @contextlib.contextmanager
    def open(self) -> Iterator[GitVault]:
        """Use the repository for the block. Raises `AdapterError` where there is none."""
        from git import InvalidGitRepositoryError, NoSuchPathError, Repo

        if not self.git_dir.is_dir():
            raise AdapterError(f"{self.root} is no git repository: run `{commands.command('init_vault')}`", retry=False)
        scrub()
        self._mended += git_repair.mend_names(
            self.git_dir,
            branch=self.branch,
            tracking=self.tracking,
            config_copy=self._scratch.parent / "vault-git-config",
        )
        attributes = self.git_dir / "info" / "attributes"
        if not attributes.exists():  # stronger than any `.gitattributes`: even `git status` would run a filter
            attributes.parent.mkdir(exist_ok=True)
            attributes.write_text(NO_FILTERS)
        try:
            with Repo(self.root, search_parent_directories=False, expand_vars=False) as repo:
                self._repo = repo
                yield self
        except (InvalidGitRepositoryError, NoSuchPathError) as error:
            raise AdapterError(
                f"{self.root}/.git is damaged ({type(error).__name__}): run `{commands.command('sync --repair')}`",
                retry=False,
            ) from error
        finally:
            self._repo = None
            self._fresh = {}

    # --- setting up --------------------------------------------------------------------------------------------------

    def initialise(self) -> None:
        """Make the repository if there is none, and give it the settings of a vault."""
        if not (self.git_dir / "HEAD").exists():
            scrub()
            branch = self.branch.removeprefix("refs/heads/")
            variables = environment(self.git_dir, self.root)
            del variables["GIT_INDEX_FILE"]
            _checked(
                subprocess.run(
                    command(["init", "-q", f"--initial-branch={branch}", "--template="]),
                    env=os.environ | variables,
                    cwd=self.root,
                    capture_output=True,
                    check=False,
                )
            )
        name, address = self._identity
        with self.open():
            for key, value in {
                "user.name": name,
                "user.email": address,
                "core.autocrlf": "false",
                "core.fileMode": "false",
                "pull.rebase": "false",
                "core.hooksPath": "/dev/null",
                "core.fsync": "all,-index",
                "fastimport.unpackLimit": "30",
                "fetch.unpackLimit": "30",
                "core.fsyncMethod": "batch",
                "gc.auto": "0",
                "commit.gpgSign": "false",
            }.items():
                self._run(["config", "--local", key, value])
            self.let_people_sign()

    def let_people_sign(self) -> None:
        """Have plain `git commit` in the vault sign as the node does, if it has a key: who works here is the node.

        Costs one look where that is so already.
        """
        if self._keys is None or not (self._keys / "node").exists():
            return
        wanted = {"gpg.format": "ssh", "user.signingkey": str(self._keys / "node"), "commit.gpgsign": "true"}
        pattern = "|".join(wanted).replace(".", r"\.")
        said = self._decode(self._run(["config", "--local", "-z", "--get-regexp", f"^({pattern})$"], ok=(0, 1)))
        lines = [line.partition("\n") for line in said.split("\0") if line]
        if sorted((key, value) for key, _, value in lines) != sorted(wanted.items()):
            for key, value in wanted.items():
                self._run(["config", "--local", "--replace-all", key, value])

    def try_remote(self) -> None:
        """Ask the remote anything, however damaged the repository is but for its settings. Raises `AdapterError`."""
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / ".git").mkdir()
            elsewhere = GitVault(
                root,
                remote=self.remote,
                branch=self.branch.removeprefix("refs/heads/"),
                identity=self._identity,
                timeout=self._timeout,
                scratch=root / "state" / "tmp",
            )
            elsewhere.initialise()
            shutil.copyfile(self.git_dir / "config", root / ".git" / "config")
            with elsewhere.open():
                url = elsewhere._text(["remote", "get-url", "--", self.remote])
                if "://" not in url and (self.root / url).exists():  # a folder may be named from the vault's root on
                    elsewhere._run(["remote", "set-url", "--", self.remote, str((self.root / url).resolve())])
                elsewhere.remote_head()

    def start_anew(self, kept: Path) -> None:
        """Keep a copy of the repository in the folder `kept` and make it a new, empty one with the same settings."""
        git_repair.empty(self.git_dir, kept)
        self.initialise()

    def set_remote(self, url: str) -> None:
        """Name the remote, or give it another address; a person's plain `git push` and `git pull` go there."""
        branch = self.branch.removeprefix("refs/heads/")
        with self.open():
            if self._run(["remote", "get-url", "--", self.remote], ok=(0, 2, 128)).strip():
                self._run(["remote", "set-url", "--", self.remote, url])
            else:
                self._run(["remote", "add", "--", self.remote, url])
            self._run(["config", "--local", f"branch.{branch}.remote", self.remote])
            self._run(["config", "--local", f"branch.{branch}.merge", self.branch])

    # --- reading -----------------------------------------------------------------------------------------------------

    def head(self) -> tuple[str | None, str | None]:
        """`(commit, branch)` that HEAD names; no commit before the first one, no branch where HEAD is detached."""
        try:
            at_home = (self.git_dir / "HEAD").read_text().strip() == f"ref: {self.branch}"
        except (OSError, UnicodeDecodeError):
            at_home = False
        branch = self.branch if at_home else self._text(["symbolic-ref", "-q", "HEAD"], ok=(0, 1)) or None
        return self.ref(branch or "HEAD"), branch

    def ref(self, name: str) -> str | None:
        """The commit that a ref is said to name, or None. Quick: whether the commit is there is not looked at."""
        from git import Reference

        try:
            said = Reference.dereference_recursive(self._opened(), name)
        except (OSError, ValueError):
            return self.resolve(name)  # absent, or damaged: git knows
        return said if _OBJECT.fullmatch(said) else self.resolve(name)

    def resolve(self, name: str) -> str | None:
        """The commit that a ref names, or None."""
        return (
            self._text(["rev-parse", "-q", "--verify", "--end-of-options", f"{name}^{{commit}}"], ok=(0, 1, 128))
            or None
        )

    def changed(self) -> dict[str, Seen]:
        """Paths whose work tree or index differs from HEAD → what HEAD has there. Ignored files are not among them."""
        arguments = [
            "-c",
            "core.sparseCheckout=true",  # then a note marked skip-worktree that lies here is looked at all the same
            "status",
            "--porcelain=v2",
            "-z",
            "--untracked-files=all",
            "--no-renames",
            "--ignore-submodules=none",
        ]
        found: dict[str, Seen] = {}
        unmerged = []
        for record in _records(self._run(arguments)):
            kind, _, rest = record.partition(" ")
            if kind == "1":
                _, _, mode, _, _, oid, _, path = rest.split(" ", 7)
                found[path] = Seen(None if mode == "000000" else Entry(mode, oid))
            elif kind == "u":
                unmerged.append(rest.split(" ", 9)[-1])
            elif kind == "?":
                found.setdefault(rest, Seen(None))
        head = self.resolve("HEAD") if unmerged else None
        entries = self.entries(head, unmerged) if head else {}
        for path in unmerged:
            found[path] = Seen(entries.get(path), unmerged=True)
        return found

    def entries(self, commit: str, paths: Iterable[str]) -> dict[str, Entry]:
        """What a commit has at these paths; a path that is absent or a folder is left out."""
        found: dict[str, Entry] = {}
        wanted = sorted(filter(_is_plain, paths))
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            for record in _records(self._run(["ls-tree", "-z", "--full-tree", commit, "--", *chunk])):
                description, _, path = record.partition("\t")
                mode, kind, oid = description.split(" ")
                if kind != "tree":
                    found[path] = Entry(mode, oid)
        return found

    def children(self, commit: str, folders: Iterable[str]) -> dict[str, set[str]]:
        """Folder → the names in it, of a commit; an empty text is the root. A folder that is absent is left out."""
        found: dict[str, set[str]] = {}
        wanted = sorted(folder for folder in set(folders) if _is_plain(folder))
        for start in range(0, len(wanted), _CHUNK):
            chunk = [f"{folder}/" for folder in wanted[start : start + _CHUNK] if folder]
            if chunk:
                arguments = ["ls-tree", "-z", "--name-only", "--full-tree", commit, "--", *chunk]
                for path in _records(self._run(arguments)):
                    folder, _, name = path.rpartition("/")
                    found.setdefault(folder, set()).add(name)
        for path in list(found):  # git shows what is in a folder that was asked for, and not the folder itself
            while path:
                path, _, name = path.rpartition("/")
                found.setdefault(path, set()).add(name)
        if "" in wanted:
            found[""] = set(_records(self._run(["ls-tree", "-z", "--name-only", "--full-tree", commit])))
        return {folder: names for folder, names in found.items() if folder in wanted}

    def files_under(self, commit: str, folders: Iterable[str] = ()) -> list[str]:
        """Paths of every file in these folders of a commit, at any depth; of every file where none are named."""
        inside = [f"{folder}/" for folder in folders]
        return list(_records(self._run(["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit, "--", *inside])))

    def diff(self, old: str | None, new: str) -> dict[str, tuple[Entry | None, Entry | None]]:
        """path → (before, after) of what differs between two commits or trees; `old` None is the empty tree."""
        output = self._run(
            ["diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-ext-diff", old or self.empty_tree(), new, "--"]
        )
        records = iter(_records(output))
        return {path: _raw(record) for record, path in zip(records, records, strict=True)}

    def empty_tree(self) -> str:
        """The tree without files."""
        return self._text(["hash-object", "-w", "-t", "tree", "--stdin"], stdin=b"")

    def read_blobs(self, oids: Iterable[str]) -> dict[str, bytes]:
        """Contents by object id. Raises `AdapterError` for an object that is missing or no blob."""
        asked = set(oids)
        contents = {oid: self._fresh[oid] for oid in asked if oid in self._fresh}
        wanted = sorted(asked - set(contents))
        if not wanted:
            return contents
        return contents | self._objects(wanted, b"blob")

    def _objects(self, oids: Iterable[str], kind: bytes) -> dict[str, bytes]:
        contents, position, wanted = {}, 0, list(oids)
        output = self._run(["cat-file", "--batch"], stdin="".join(f"{oid}\n" for oid in wanted).encode())
        for oid in wanted:
            end = output.index(b"\n", position)
            fields = output[position:end].split()
            if len(fields) != 3 or fields[1] != kind:
                raise Damaged(f"the vault's repository lacks the file content {oid}")
            size = int(fields[2])
            contents[oid] = output[end + 1 : end + 1 + size]
            position = end + 1 + size + 1
        return contents

    def missing(self, oids: Iterable[str]) -> set[str]:
        """Those of these objects that the repository does not have."""
        output = self._run(["cat-file", "--batch-check"], stdin="".join(f"{oid}\n" for oid in sorted(oids)).encode())
        return {line.split()[0] for line in self._decode(output).splitlines() if line.endswith(" missing")}

    def merge_base(self, one: str, other: str) -> str | None:
        """A newest common ancestor, or None for histories that have nothing in common."""
        return self._text(["merge-base", one, other], ok=(0, 1)) or None

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether `newer` contains `older`; False where `older` is not known here."""
        if older == newer:
            return True
        code, _, errors = self._communicate(["merge-base", "--is-ancestor", older, newer])
        if code in (0, 1) or self.resolve(older) is None:
            return code == 0
        raise AdapterError(f"git merge-base: {self._decode(errors).strip()}", retry=False)

    def commits(self, old: str | None, new: str, *, verify: bool = False) -> list[Commit]:
        """The commits of `old..new`, newest first, each with its author and the paths it changed.

        Of a merge only the paths that differ from every parent: what the merge itself brought. `verify`: also check
        who signed each.
        """
        mark = secrets.token_hex(16)  # a path or a name may hold anything but this
        arguments = [
            "log",
            "-z",
            "-c",
            "--root",
            "--topo-order",
            "--name-only",
            "--no-renames",
            "--no-show-signature",
            f"--format={mark}%H%x00%ae%x00%an%x00%P%x00%ct",
            f"{old}..{new}" if old else new,
            "--",
        ]
        found = []
        for block in self._decode(self._run(arguments)).split(mark)[1:]:
            oid, address, author, parents, at, *paths = block.split("\0")
            changed = tuple(path.lstrip("\n") for path in paths if path.strip("\n"))
            found.append(Commit(oid, address, changed, author, tuple(parents.split()), int(at or 0)))
        if not (verify and found and self._keys):
            return found
        signed = signatures.verify(self._objects((commit.oid for commit in found), b"commit"), self._keys)
        return [replace(c, signature=signed[c.oid].verdict, key=signed[c.oid].key) for c in found]

    def added(self, known: Sequence[str], new: str) -> list[Added]:
        """What each commit of `new` that none of `known` contains put where, oldest commit first; also what a later one
        took back.

        Of a merge only what differs from every parent.
        """
        mark = secrets.token_hex(16)
        arguments = ["log", "-z", "-c", "--root", "--topo-order", "--reverse", "--raw", "--no-abbrev", "--no-renames"]
        arguments += ["--no-show-signature", f"--format={mark}%H", new, *(f"^{old}" for old in known), "--"]
        found: list[Added] = []
        fresh: set[str] = set()
        older: set[str] = set()
        for block in self._decode(self._run(arguments)).split(mark)[1:]:
            commit, *fields = (field.lstrip("\n") for field in block.split("\0") if field.strip("\n"))
            made = []
            for record, path in zip(fields[::2], fields[1::2], strict=True):
                sides = record.count(":", 0, len(record) - len(record.lstrip(":"))) + 1
                words = record.lstrip(":").split(" ")
                modes, oids = words[:sides], words[sides : 2 * sides]
                older |= {oid for oid in oids[:-1] if oid.strip("0") and oid not in fresh}
                if modes[-1] != "000000":
                    made.append((path, modes[-1], oids[-1]))
            found += [Added(commit, path, mode, oid, oid in older) for path, mode, oid in made]
            fresh |= {oid for _, _, oid in made if oid not in older}
        return found

    def is_signed(self, commit: str) -> bool:
        """Whether a commit bears this node's name and a signature (which is not verified)."""
        header = self._text(["cat-file", "commit", commit]).partition("\n\n")[0]
        return f"<{self._identity[1]}>" in header and "\ngpgsig" in header

    def authors_of(self, commit: str, path: str) -> set[str]:
        """Addresses of everybody who ever changed `path` in the history of `commit`."""
        return set(self._text(["log", "--format=%ae", "--no-renames", commit, "--", path]).split())

    # --- writing -----------------------------------------------------------------------------------------------------

    def add_blobs(self, contents: Iterable[bytes]) -> list[str]:
        """Contents for the next commit; their object ids, in order. `read_blobs` knows them at once."""
        oids = []
        for data in contents:
            oid = blob_id(data, self.like())
            self._fresh[oid] = data
            oids.append(oid)
        if sum(map(len, self._fresh.values())) > _BATCH:
            self._import([_blob(data) for data in self._fresh.values()])
            self._fresh = {}
        return oids

    def store_blobs(self, contents: Iterable[bytes]) -> None:
        """Write contents at once."""
        self._import([_blob(data) for data in contents])

    def commit(self, changes: Mapping[str, Entry | None], parents: Sequence[str], message: str, now: datetime) -> Made:
        """A commit: the first parent's files (none: no file) with these paths set or removed, and all contents that
        were added. No branch moves, and neither work tree nor index is used.

        One run of git-fast-import(1): it reads and writes only the folders that change, whatever the vault's size.
        """
        name, address = self._identity
        who = f"{name} <{address}> {int(now.timestamp())} +0000"
        parts = [_blob(data) for data in self._fresh.values()]
        parts.append(f"commit {_MADE}\nmark :1\nauthor {who}\ncommitter {who}\n".encode())
        parts.append(_data(message.encode("utf-8", "replace")))
        for word, parent in zip(("from", *("merge" for _ in parents)), parents, strict=False):
            parts.append(f"{word} {parent}\n".encode())
        removed = [f"D {_quoted(path)}\n" for path, entry in changes.items() if entry is None]
        written = [f"M {e.mode} {e.oid} {_quoted(path)}\n" for path, e in changes.items() if e is not None]
        parts.append("".join(removed + written).encode("utf-8", "surrogateescape"))
        parts.append(b'ls ""\n' + (f'ls {parents[0]} ""\n'.encode() if parents else b"") + b"\nget-mark :1\n")
        *trees, oid = self._import(parts).decode().splitlines()
        self._fresh = {}
        tree, before = (line.split()[2] if line.startswith("040000") else None for line in (*trees, "")[:2])
        if self._keys is not None and (self._keys / "node").exists():
            oid = self._signed(self._keys, tree or self.empty_tree(), parents, message, now)
        return Made(oid, changed=tree != before)

    def _signed(self, keys: Path, tree: str, parents: Sequence[str], message: str, now: datetime) -> str:
        """A signed commit; fast-import can't make one."""
        name, address = self._identity
        who = {"NAME": name, "EMAIL": address, "DATE": f"{int(now.timestamp())} +0000"}
        extra = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
        arguments = ["commit-tree", "-S", tree, *(part for parent in parents for part in ("-p", parent))]
        try:
            return self._text(
                [*git_settings(keys), *arguments],
                stdin=message.encode("utf-8", "replace"),
                extra=extra | {"SSH_ASKPASS_REQUIRE": "never"},
            )
        except AdapterError as error:
            raise AdapterError(
                f"this node's commits can't be signed with {keys / 'node'}, so nothing was synced:"
                f" {' '.join(str(error).split())}. Put the key right, or {INSTALL}",
                retry=False,
            ) from error

    def _import(self, parts: Sequence[bytes]) -> bytes:
        try:
            return self._run(["fast-import", "--quiet", "--force", "--done"], stdin=b"".join([*parts, b"done\n"]))
        except AdapterError:
            for report in self.git_dir.glob("fast_import_crash_*"):  # its last words, with the notes' names
                report.unlink(missing_ok=True)
            raise

    def like(self) -> str:
        """An object id: tells which hash this repository uses."""
        if self._format is None:
            self._format = self.head()[0] or self.empty_tree()
        return self._format

    def move_ref(self, ref: str, new: str, old: str | None, *, force: bool = False) -> None:
        """Point `ref` at `new`, if it is still at `old` (None: does not exist); with `force` wherever it is."""
        self._run(["update-ref", "-m", "vault sync", ref, new, *([] if force else [old or "0" * len(new)])])

    def point_head(self) -> None:
        """Make HEAD name the vault's branch."""
        self._run(["symbolic-ref", "-m", "vault sync", "HEAD", self.branch])

    def refresh_index(self, commit: str) -> None:
        """Make the real index say what `commit` says, so that a person's `git status` tells the truth."""
        self._run(["read-tree", "--reset", commit])
        self._run(["update-index", "-q", "--refresh"], ok=(0, 1))

    def follow_index(self, changes: Mapping[str, Entry | None]) -> None:
        """Set these paths in the real index. git looks at the files themselves when somebody next asks for a status."""
        zero = "0" * len(self.like())
        lines = [f"{e.mode} {e.oid}\t{path}\0" if e else f"0 {zero}\t{path}\0" for path, e in changes.items()]
        self._run(["update-index", "-z", "--index-info"], stdin="".join(lines).encode("utf-8", "surrogateescape"))

    # --- the remote --------------------------------------------------------------------------------------------------

    def remote_head(self) -> tuple[str | None, tuple[str, ...]]:
        """`(commit of our branch on the remote or None, all its branches)`."""
        lines = self._network(["ls-remote", "--heads", "--", self.remote]).splitlines()
        heads = {ref: oid for oid, _, ref in (line.partition("\t") for line in lines)}
        return heads.get(self.branch), tuple(ref.removeprefix("refs/heads/") for ref in heads)

    def fetch(self, *, whole: bool = False) -> str:
        """Bring the remote's branch here; its commit. `tracking` is not moved: the caller judges first.

        `whole`: also what seems to be here already, as one pack (after damage).
        """
        incoming = "refs/vault-sync/incoming"
        refspec = f"+{self.branch}:{incoming}"
        arguments = ["fetch", "--progress", "--no-tags", "--no-write-fetch-head", "--", self.remote, refspec]
        as_pack = ["-c", "fetch.unpackLimit=1"]
        if whole:
            self._network([*as_pack, "fetch", "--refetch", *arguments[1:]])
        else:
            try:
                self._network(arguments)
            except Silence:  # a few large objects are unpacked without a word: received as a pack, git speaks
                self._network([*as_pack, *arguments])
            except AdapterError as error:
                if "cannot lock ref" not in str(error):
                    raise
                self._network(arguments)  # the fetch of a sync that was killed a moment ago was still at work
        commit = self.resolve(incoming)
        if commit is None:
            raise AdapterError("the fetched branch is damaged; the next sync tries again", retry=True)
        return commit

    def push(self, commit: str) -> Pushed:
        """Offer `commit` as the remote's branch: a plain push, so the remote refuses unless it is a fast-forward."""
        refspec = f"{commit}:{self.branch}"
        arguments = ["push", "--porcelain", "--progress", "--no-verify", "--no-follow-tags", "--", self.remote, refspec]
        code, output, errors = self._communicate(arguments, timeout=self._timeout, extra=self._ssh_command())
        said = self._decode(output) + self._decode(errors)
        if code == 0:
            return Pushed(True)
        if is_damage(self._decode(errors)):
            raise Damaged(f"git push: {first_reason(self._decode(errors))}")
        if re.search(r"(?m)^!", said):
            return Pushed(False, race=is_race(said), reason=push_refusal(said))
        raise network_error(said)

    def give_up(self) -> None:
        """End every command that runs now, in whatever thread; its caller gets an error."""
        for number in list(self._running):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(number, signal.SIGKILL)

    def ignored_here(self) -> list[str]:
        """The paths that `ignore_here` was given last."""
        for line in self._exclude():
            if line.startswith(_IGNORED):
                with contextlib.suppress(ValueError):  # a person's edit: then their lines are all theirs
                    return list(map(str, json.loads(line.removeprefix(_IGNORED))))
        return []

    def ignore_here(self, paths: Collection[str]) -> None:
        """Have git take no notice of untracked files at `paths` in this clone, and of those named before again: lines
        of our own in `.git/info/exclude`, beside a person's."""
        known = self._exclude()
        before = {_pattern(path) for path in self.ignored_here()}
        lines = [line for line in known if line not in before and not line.startswith(_IGNORED)]
        if paths:
            lines += [_IGNORED + json.dumps(sorted(paths)).encode(), *(_pattern(path) for path in sorted(paths))]
        if lines != known:
            file = self.git_dir / "info" / "exclude"
            file.parent.mkdir(exist_ok=True)
            atomic.write(file, b"".join(line + b"\n" for line in lines))

    def _exclude(self) -> list[bytes]:
        file = self.git_dir / "info" / "exclude"
        data = file.read_bytes() if file.exists() else b""
        return data.removesuffix(b"\n").split(b"\n") if data else []

    def overlook(self, paths: Collection[str], *, overlook: bool) -> None:
        """Have plain git take no notice of what lies in place of these tracked files, or notice again. (`changed` sees
        it all the same, and ends this.)"""
        if paths:
            word = "--skip-worktree" if overlook else "--no-skip-worktree"
            listed = "".join(f"{path}\0" for path in sorted(paths)).encode("utf-8", "surrogateescape")
            self._run(["update-index", word, "-z", "--stdin"], stdin=listed, ok=(0, 128))  # 128: the index lacks one

    # --- recovery ----------------------------------------------------------------------------------------------------

    def unfinished(self) -> list[str]:
        """Operations that a person began and did not end (`merge`, `rebase`, …)."""
        signs = {
            "rebase-merge": "rebase",
            "rebase-apply": "rebase",
            "MERGE_HEAD": "merge",
            "CHERRY_PICK_HEAD": "cherry-pick",
            "REVERT_HEAD": "revert",
            "sequencer": "cherry-pick",
        }
        found = [name for sign, name in signs.items() if (self.git_dir / sign).exists()]
        return list(dict.fromkeys(found))

    def their_heads(self) -> list[str]:
        """Commits that an unfinished operation of a person was bringing in."""
        try:
            return (self.git_dir / "MERGE_HEAD").read_text().split()
        except FileNotFoundError:
            return []

    def quit_unfinished(self) -> None:
        """End what a person began, leaving files and commits as they are."""
        for name in self.unfinished():
            self._run(["am" if name == "rebase" and self._is_am() else name, "--quit"], ok=(0, 1, 128))

    def _is_am(self) -> bool:
        return (self.git_dir / "rebase-apply" / "applying").exists()

    def unmerged(self) -> dict[str, dict[int, Entry]]:
        """Paths with a half-done merge in the index → the entries by stage (1 base, 2 ours, 3 theirs)."""
        found: dict[str, dict[int, Entry]] = {}
        for record in _records(self._run(["ls-files", "-u", "-z"])):
            description, _, path = record.partition("\t")
            mode, oid, stage = description.split(" ")
            found.setdefault(path, {})[int(stage)] = Entry(mode, oid)
        return found

    def locks(self) -> list[Path]:
        """Lock files of git that lie in the repository now and could stop a sync. Not the one on the commit graphs: no
        sync writes them, and housekeeping, which does and sweeps it, works beside a sync."""
        places = [self.git_dir / name for name in (".", "info", "objects", "objects/info")]
        for tree in (self.git_dir / "refs", self.git_dir / "logs"):
            places += [tree, *(folder for folder in tree.rglob("*") if folder.is_dir())]
        return sorted(path for place in places for path in place.glob("*.lock"))

    def mended(self) -> list[str]:
        """What `open` found damaged and put right, each as a few words; said once."""
        said, self._mended = self._mended, []
        return said

    def set_damaged_aside(self, folder: Path) -> list[str]:
        """Move damaged objects and indexes into `folder`, rescuing what can be read; what was moved."""
        return git_repair.set_aside(self.git_dir, folder, run=self._try)

    def is_whole(self, commit: str) -> bool:
        """Whether everything that `commit` needs is here. Reads the whole history."""
        code, _, _ = self._communicate(["rev-list", "--objects", "--quiet", commit, "--"])
        return code == 0

    def is_sound(self) -> bool:
        """Whether git finds nothing wrong with the repository and its branch is there. Reads all of it."""
        code, _, _ = self._communicate(["fsck", "--full", "--no-dangling", "--no-progress"])
        return code == 0 and self.ref(self.branch) is not None

    def past(self) -> list[str]:
        """Commits that the vault's branch was at, newest first, as far as the reflog tells."""
        return git_repair.past(self.git_dir, self.branch)

    def _try(self, arguments: Sequence[str], stdin: bytes | None = None) -> tuple[int, bytes]:
        code, output, _ = self._communicate(arguments, stdin=stdin)
        return code, output

    # --- running -----------------------------------------------------------------------------------------------------

    def _run(
        self,
        arguments: Sequence[str],
        *,
        stdin: bytes | None = None,
        ok: Sequence[int] = (0,),
        extra: Mapping[str, str] | None = None,
    ) -> bytes:
        code, output, errors = self._communicate(arguments, stdin=stdin, extra=extra)
        if code not in ok:
            words = [word for word in arguments if not word.startswith("-") and "=" not in word]
            said = self._decode(errors).strip() or f"exit {code}"
            raise local_error(words[0], said, self.git_dir, self._scratch)
        return output

    def _text(self, arguments: Sequence[str], **options: Any) -> str:
        return self._decode(self._run(arguments, **options)).strip()

    def _network(self, arguments: Sequence[str]) -> str:
        code, output, errors = self._communicate(arguments, timeout=self._timeout, extra=self._ssh_command())
        if code != 0:
            raise network_error(self._decode(errors))
        return self._decode(output)

    def _ssh_command(self) -> dict[str, str]:
        if self._ssh is None:
            self._ssh = quiet_ssh(lambda: self._text(["config", "--get", "core.sshCommand"], ok=(0, 1)))
        return self._ssh

    def _communicate(
        self,
        arguments: Sequence[str],
        *,
        stdin: bytes | None = None,
        extra: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> tuple[int, bytes, bytes]:
        """Run one command to its end in a process group of its own, so that a time-out leaves no child behind."""
        variables = environment(self.git_dir, self.root, extra)
        guard = self._opened().git.execute(  # kept until the end: GitPython kills the process when it lets go of this
            command(arguments),
            istream=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            as_process=True,
            env=variables,
            start_new_session=True,
        )
        process = guard.proc
        assert process is not None  # GitPython: as_process always has one
        self._running.add(process.pid)
        try:
            if timeout is None:
                output, errors = process.communicate(stdin)
            else:
                output, errors = listen(process, silence=timeout, longest=max(_LONGEST, timeout))
        finally:
            self._running.discard(process.pid)
            end(process)
        return process.returncode, output, errors

    def _opened(self) -> Repo:
        if self._repo is None:
            raise AdapterError("the repository is not open", retry=False)
        return self._repo

    @staticmethod
    def _decode(data: bytes) -> str:
        return data.decode("utf-8", "surrogateescape")


def _records(data: bytes) -> Iterator[str]:
    for record in data.split(b"\0"):
        if record:
            yield record.decode("utf-8", "surrogateescape")


def _pattern(path: str) -> bytes:
    """A line of a list of ignored files that matches `path`; a control character by what is no printable ASCII, so that
    no name is meant besides that could travel."""
    literal = re.sub(rb"([\\*?\[ ])", rb"\\\1", path.encode("utf-8", "surrogateescape"))
    return b"/" + re.sub(rb"[\x00-\x1f\x7f]", rb"[^ -~]", literal)


def _is_plain(path: str) -> bool:
    """Whether git takes `path` for one inside the repository; a forged tree may hold `..`."""
    return not {"", ".", ".."} & set(path.split("/")) or path == ""


def _raw(record: str) -> tuple[Entry | None, Entry | None]:
    old_mode, new_mode, old, new, _ = record.removeprefix(":").split(" ")
    return (
        None if old_mode == "000000" else Entry(old_mode, old),
        None if new_mode == "000000" else Entry(new_mode, new),
    )


def _blob(data: bytes) -> bytes:
    return b"blob\n" + _data(data)


def _data(data: bytes) -> bytes:
    return b"data %d\n" % len(data) + data + b"\n"


def _quoted(path: str) -> str:
    """A path in a stream for git-fast-import(1): quoted as in C."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _checked(done: subprocess.CompletedProcess[bytes]) -> None:
    if done.returncode:
        raise local_error("init", done.stderr.decode("utf-8", "replace"))
