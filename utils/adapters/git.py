"""The vault's git repository: plumbing only, through GitPython.

Never `checkout`, `merge`, `rebase`, `stash` or `add`: commits are built from a temporary index, so nothing here touches
the work tree. Every command names its repository explicitly and can't climb into one above; hooks, filters, prompts and
what the environment says about git are off. `open` a repository for the length of one sync; afterwards no process of it
is left.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.adapters.git_command import (
    NO_FILTERS,
    QUIET_SSH,
    command,
    environment,
    first_reason,
    is_race,
    network_error,
    scrub,
)
from utils.core.merge import Entry
from utils.ports import AdapterError, Commit, Pushed, Seen

if TYPE_CHECKING:
    from git import Repo

_CHUNK = 500


class GitVault:
    """A vault's repository. `identity` is `(name, e-mail)` of the commits made here; `timeout` (seconds) bounds every
    command that uses the network. Methods raise `AdapterError`; `retry` where the network failed."""

    def __init__(
        self, root: Path, *, remote: str, branch: str, identity: tuple[str, str], timeout: float, scratch: Path
    ) -> None:
        self.root = root
        self.git_dir = root / ".git"
        self.remote = remote
        self.branch = f"refs/heads/{branch}"
        self.tracking = f"refs/remotes/{remote}/{branch}"
        self._identity = identity
        self._timeout = timeout
        self._scratch = scratch
        self._repo: Repo | None = None
        self._ssh: dict[str, str] | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[GitVault]:
        """Use the repository for the block. Raises `AdapterError` where there is none."""
        from git import InvalidGitRepositoryError, NoSuchPathError, Repo

        if not self.git_dir.is_dir():
            raise AdapterError(f"{self.root} is no git repository: run `python -m scripts.init_vault`", retry=False)
        scrub()
        attributes = self.git_dir / "info" / "attributes"
        if not attributes.exists():  # stronger than any `.gitattributes`: even `git status` would run a filter
            attributes.parent.mkdir(exist_ok=True)
            attributes.write_text(NO_FILTERS)
        try:
            with Repo(self.root, search_parent_directories=False, expand_vars=False) as repo:
                self._repo = repo
                yield self
        except (InvalidGitRepositoryError, NoSuchPathError) as error:
            raise AdapterError(f"{self.root}/.git is damaged: {error}", retry=False) from error
        finally:
            self._repo = None

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
                "core.hooksPath": "/dev/null",
                "core.fsync": "all",
                "core.fsyncMethod": "batch",
                "gc.auto": "0",
                "commit.gpgSign": "false",
            }.items():
                self._run(["config", "--local", key, value])

    def set_remote(self, url: str) -> None:
        """Name the remote, or give it another address."""
        with self.open():
            if self._run(["remote", "get-url", "--", self.remote], ok=(0, 2, 128)).strip():
                self._run(["remote", "set-url", "--", self.remote, url])
            else:
                self._run(["remote", "add", "--", self.remote, url])

    # --- reading -----------------------------------------------------------------------------------------------------

    def head(self) -> tuple[str | None, str | None]:
        """`(commit, branch)` that HEAD names; no commit before the first one, no branch where HEAD is detached."""
        branch = self._text(["symbolic-ref", "-q", "HEAD"], ok=(0, 1)) or None
        return self.resolve("HEAD"), branch

    def resolve(self, name: str) -> str | None:
        """The commit that a ref names, or None."""
        return (
            self._text(["rev-parse", "-q", "--verify", "--end-of-options", f"{name}^{{commit}}"], ok=(0, 1, 128))
            or None
        )

    def tree(self, commit: str) -> str:
        """The tree of a commit."""
        return self._text(["rev-parse", "--verify", f"{commit}^{{tree}}"])

    def changed(self) -> dict[str, Seen]:
        """Paths whose work tree or index differs from HEAD → what HEAD has there. Ignored files are not among them."""
        arguments = [
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
        head = self.resolve("HEAD")
        entries = self.entries(head, unmerged) if head else {}
        for path in unmerged:
            found[path] = Seen(entries.get(path), unmerged=True)
        return found

    def entries(self, commit: str, paths: Iterable[str]) -> dict[str, Entry]:
        """What a commit has at these paths; a path that is absent or a folder is left out."""
        found: dict[str, Entry] = {}
        wanted = list(paths)
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            for record in _records(self._run(["ls-tree", "-z", "--full-tree", commit, "--", *chunk])):
                description, _, path = record.partition("\t")
                mode, kind, oid = description.split(" ")
                if kind != "tree":
                    found[path] = Entry(mode, oid)
        return found

    def count_files(self, commit: str) -> int:
        """How many files a commit has."""
        return self._run(["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit]).count(b"\0")

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
        wanted = sorted(set(oids))
        if not wanted:
            return {}
        output = self._run(["cat-file", "--batch"], stdin="".join(f"{oid}\n" for oid in wanted).encode())
        contents, position = {}, 0
        for oid in wanted:
            end = output.index(b"\n", position)
            fields = output[position:end].split()
            if len(fields) != 3 or fields[1] != b"blob":
                raise AdapterError(f"the vault's repository lacks the file content {oid}", retry=False)
            size = int(fields[2])
            contents[oid] = output[end + 1 : end + 1 + size]
            position = end + 1 + size + 1
        return contents

    def merge_base(self, one: str, other: str) -> str | None:
        """A newest common ancestor, or None for histories that have nothing in common."""
        return self._text(["merge-base", one, other], ok=(0, 1)) or None

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether `newer` contains `older`; False where `older` is not known here."""
        if self.resolve(older) is None:
            return False
        return older == newer or self.merge_base(older, newer) == older

    def commits(self, old: str | None, new: str) -> list[Commit]:
        """The commits of `old..new`, newest first, each with its author's address and the paths it changed.

        Of a merge only the paths that differ from every parent: what the merge itself brought.
        """
        span = [f"{old}..{new}"] if old else [new]
        arguments = [
            "log",
            "-z",
            "-c",
            "--root",
            "--topo-order",
            "--name-only",
            "--no-renames",
            "--format=%x01%H%x00%ae",
            *span,
            "--",
        ]
        found = []
        for block in self._decode(self._run(arguments)).split("\x01")[1:]:
            oid, address, *paths = block.split("\0")
            found.append(Commit(oid, address, tuple(path.lstrip("\n") for path in paths if path.strip("\n"))))
        return found

    def authors_of(self, commit: str, path: str) -> set[str]:
        """Addresses of everybody who ever changed `path` in the history of `commit`."""
        return set(self._text(["log", "--format=%ae", "--no-renames", commit, "--", path]).split())

    # --- writing -----------------------------------------------------------------------------------------------------

    def write_blobs(self, contents: Sequence[bytes]) -> list[str]:
        """Store contents; their object ids, in order."""
        if not contents:
            return []
        marks = self._scratch / f"marks-{os.getpid()}"
        self._scratch.mkdir(parents=True, exist_ok=True)
        parts = [part for number, data in enumerate(contents, 1) for part in (_blob_header(number, data), data, b"\n")]
        try:
            self._run(
                ["fast-import", "--quiet", "--done", f"--export-marks={marks}"], stdin=b"".join([*parts, b"done\n"])
            )
            lines = marks.read_text().split("\n")
        finally:
            marks.unlink(missing_ok=True)
        by_mark = dict(line.split(" ") for line in lines if line)
        return [by_mark[f":{number}"] for number in range(1, len(contents) + 1)]

    def write_tree(self, base: str | None, changes: Mapping[str, Entry | None]) -> str:
        """A tree: `base` (commit or tree; None: empty) with these paths set or removed. The real index is not used."""
        index = self._scratch / f"index-{os.getpid()}"
        self._scratch.mkdir(parents=True, exist_ok=True)
        index.unlink(missing_ok=True)
        extra = {"GIT_INDEX_FILE": str(index)}
        zero = "0" * len(base or "0" * 40)
        removed = [f"0 {zero}\t{path}\0" for path, entry in changes.items() if entry is None]
        written = [f"{entry.mode} {entry.oid}\t{path}\0" for path, entry in changes.items() if entry is not None]
        try:
            self._run(["read-tree", base] if base else ["read-tree", "--empty"], extra=extra)
            info = "".join(removed + written).encode("utf-8", "surrogateescape")
            self._run(["update-index", "-z", "--index-info"], stdin=info, extra=extra)
            return self._text(["write-tree"], extra=extra)
        finally:
            index.unlink(missing_ok=True)

    def commit_tree(self, tree: str, parents: Sequence[str], message: str, now: datetime) -> str:
        """A commit object; no branch moves."""
        name, address = self._identity
        stamp = f"{int(now.timestamp())} +0000"
        extra = {
            f"GIT_{role}_{key}": value
            for role in ("AUTHOR", "COMMITTER")
            for key, value in (("NAME", name), ("EMAIL", address), ("DATE", stamp))
        }
        arguments = ["commit-tree", tree, *(part for parent in parents for part in ("-p", parent))]
        return self._text(arguments, stdin=message.encode("utf-8", "replace"), extra=extra)

    def move_ref(self, ref: str, new: str, old: str | None) -> None:
        """Point `ref` at `new`, if it is still at `old` (None: does not exist)."""
        self._run(["update-ref", "-m", "vault sync", ref, new, old or "0" * len(new)])

    def point_head(self) -> None:
        """Make HEAD name the vault's branch."""
        self._run(["symbolic-ref", "-m", "vault sync", "HEAD", self.branch])

    def refresh_index(self, commit: str) -> None:
        """Make the real index say what `commit` says, so that a person's `git status` tells the truth."""
        self._run(["read-tree", "--reset", commit])
        self._run(["update-index", "-q", "--refresh"], ok=(0, 1))

    def pack(self) -> None:
        """Pack loose objects and roll small packs up into larger ones; unreachable objects are kept."""
        self._run(["repack", "--geometric=2", "-d", "-q"])

    # --- the remote --------------------------------------------------------------------------------------------------

    def remote_head(self) -> tuple[str | None, tuple[str, ...]]:
        """`(commit of our branch on the remote or None, all its branches)`."""
        lines = self._network(["ls-remote", "--heads", "--", self.remote]).splitlines()
        heads = {ref: oid for oid, _, ref in (line.partition("\t") for line in lines)}
        return heads.get(self.branch), tuple(ref.removeprefix("refs/heads/") for ref in heads)

    def fetch(self) -> str:
        """Bring the remote's branch here; its commit. `tracking` is not moved: the caller judges first."""
        incoming = "refs/vault-sync/incoming"
        refspec = f"+{self.branch}:{incoming}"
        self._network(["fetch", "-q", "--no-tags", "--no-write-fetch-head", "--", self.remote, refspec])
        commit = self.resolve(incoming)
        if commit is None:
            raise AdapterError("the fetched branch is damaged; the next sync tries again", retry=True)
        return commit

    def push(self, commit: str) -> Pushed:
        """Offer `commit` as the remote's branch: a plain push, so the remote refuses unless it is a fast-forward."""
        refspec = f"{commit}:{self.branch}"
        arguments = ["push", "--porcelain", "--no-verify", "--no-follow-tags", "--", self.remote, refspec]
        code, output, errors = self._communicate(arguments, timeout=self._timeout, extra=self._ssh_command())
        said = self._decode(output) + self._decode(errors)
        if code == 0:
            return Pushed(True)
        if re.search(r"(?m)^!", said):
            return Pushed(False, race=is_race(said), reason=first_reason(said))
        raise network_error(said)

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
        """Lock files of git that lie in the repository now."""
        places = [self.git_dir, *(folder for folder in (self.git_dir / "refs").rglob("*") if folder.is_dir())]
        return sorted(path for place in [*places, self.git_dir / "refs"] for path in place.glob("*.lock"))

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
            raise AdapterError(f"git {arguments[0]}: {self._decode(errors).strip() or f'exit {code}'}", retry=False)
        return output

    def _text(self, arguments: Sequence[str], **options: Any) -> str:
        return self._decode(self._run(arguments, **options)).strip()

    def _network(self, arguments: Sequence[str]) -> str:
        code, output, errors = self._communicate(arguments, timeout=self._timeout, extra=self._ssh_command())
        if code != 0:
            raise network_error(self._decode(errors))
        return self._decode(output)

    def _ssh_command(self) -> dict[str, str]:
        """An ssh that never asks; a command that the user configured (a deploy key, a jump host) is left alone."""
        if self._ssh is None:
            theirs = "GIT_SSH" in os.environ or "GIT_SSH_COMMAND" in os.environ
            theirs = theirs or bool(self._text(["config", "--get", "core.sshCommand"], ok=(0, 1)))
            self._ssh = {} if theirs else {"GIT_SSH_COMMAND": QUIET_SSH}
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
        if self._repo is None:
            raise AdapterError("the repository is not open", retry=False)
        variables = environment(self.git_dir, self.root, extra)
        guard = self._repo.git.execute(  # kept until the end: GitPython kills the process when it lets go of this
            command(arguments),
            istream=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            as_process=True,
            env=variables,
            start_new_session=True,
        )
        process = guard.proc
        assert process is not None  # GitPython: as_process always has one
        try:
            output, errors = process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise AdapterError(f"the remote did not answer within {timeout:g} s", retry=True) from None
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        return process.returncode, output, errors

    @staticmethod
    def _decode(data: bytes) -> str:
        return data.decode("utf-8", "surrogateescape")


def _records(data: bytes) -> Iterator[str]:
    for record in data.split(b"\0"):
        if record:
            yield record.decode("utf-8", "surrogateescape")


def _raw(record: str) -> tuple[Entry | None, Entry | None]:
    old_mode, new_mode, old, new, _ = record.removeprefix(":").split(" ")
    return (
        None if old_mode == "000000" else Entry(old_mode, old),
        None if new_mode == "000000" else Entry(new_mode, new),
    )


def _blob_header(number: int, data: bytes) -> bytes:
    return b"blob\nmark :%d\ndata %d\n" % (number, len(data))


def _checked(done: subprocess.CompletedProcess[bytes]) -> None:
    if done.returncode:
        raise AdapterError(f"git: {done.stderr.decode('utf-8', 'replace').strip()}", retry=False)
