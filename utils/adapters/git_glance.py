"""Quick, read-only questions about the vault's repository, without GitPython: long-lived processes that only ask them
must stay small (it costs each 18 MB)."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.adapters.git_command import command, end, environment, quiet_ssh, scrub
from utils.core import sync_rules
from utils.vault import worktree

_TIMEOUT = 30.0
_OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class _Answer:
    """What a git command that succeeded printed."""

    output: str
    warnings: str


class GitGlance:
    """Looks at the repository at `root`. One that is sick or absent gives the careful answer."""

    def __init__(self, root: Path, *, remote: str, branch: str) -> None:
        self._root = root
        self._git_dir = root / ".git"
        self._remote = remote
        self._branch = branch
        self._config: tuple[float, bool] | None = None

    def has_remote(self) -> bool:
        """Whether the vault has its remote. Reads `.git/config`, again only when that changed."""
        path = self._git_dir / "config"
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            return False
        if self._config is None or self._config[0] != changed:
            parser = configparser.RawConfigParser(strict=False, allow_no_value=True, interpolation=None)
            try:
                parser.read_string("\n".join(line.strip() for line in path.read_text(encoding="utf-8").splitlines()))
                found = parser.has_option(f'remote "{self._remote}"', "url")
            except (OSError, UnicodeDecodeError, configparser.Error):
                found = bool(self._git("config", "--get", f"remote.{self._remote}.url"))
            self._config = (changed, found)
        return self._config[1]

    def known(self, path: str, data: bytes) -> bool:
        """Whether HEAD or any fetched branch has exactly these bytes at this path.

        What git does not know was put there by the human, so a wrong "no" would approve (S7). In doubt the answer is
        yes: a command that failed or took too long, a damaged branch, a path that no sync lets through. No is said by
        git itself only, or where the repository provably has no commit.
        """
        if "\0" in path or sync_rules.name_refusal(path) is not None:
            return True
        head = self._ask("rev-parse", "-q", "--verify", "HEAD^{commit}")
        if head is None:
            return not self._is_without_commits()
        refs = self._ask("for-each-ref", "--format=%(objectname)", "refs/remotes", "refs/vault-sync")
        if refs is None or "broken ref" in refs.warnings:
            return True
        tips = sorted({*head.output.split(), *refs.output.split()})
        questions = "".join(f"{tip}:{path}\n" for tip in tips)
        answers = self._ask("cat-file", "--batch-check=%(objectname)", stdin=questions)
        lines = answers.output.splitlines() if answers else []
        if len(lines) != len(tips):
            return True
        absent = [f"{tip}:{path} missing" for tip in tips]
        wanted = worktree.blob_id(data, tips[0])
        return any(
            line == wanted or (line != missing and not _OBJECT.fullmatch(line))
            for line, missing in zip(lines, absent, strict=True)
        )

    def contents(self, path: str) -> list[bytes] | None:
        """What HEAD and the fetched branches have at this path, each content once; None where that can't be told."""
        if "\0" in path or sync_rules.name_refusal(path) is not None:
            return None
        head = self._ask("rev-parse", "-q", "--verify", "HEAD^{commit}")
        if head is None:
            return [] if self._is_without_commits() else None
        refs = self._ask("for-each-ref", "--format=%(objectname)", "refs/remotes", "refs/vault-sync")
        if refs is None or "broken ref" in refs.warnings:
            return None
        found = []
        for tip in sorted({*head.output.split(), *refs.output.split()}):
            listed = self._ask("ls-tree", "-z", "--full-tree", tip, "--", path)
            if listed is None:
                return None
            if listed.output:
                blob = self._ask("cat-file", "blob", listed.output.split()[2])
                if blob is None:
                    return None
                found.append(blob.output.encode("utf-8", "surrogateescape"))
        return list(dict.fromkeys(found))

    def _is_without_commits(self) -> bool:
        """Whether the repository certainly holds no commit at all."""
        objects = self._ask("cat-file", "--batch-all-objects", "--batch-check=%(objecttype)")
        return objects is not None and not objects.warnings and "commit" not in objects.output.split()

    def on_remote(self, path: str) -> bool:
        """Whether the remote's branch, as last fetched, has `path`. True where there is no remote to wait for."""
        if not self.has_remote():
            return True
        tracking = f"refs/remotes/{self._remote}/{self._branch}"
        return bool(self._git("rev-parse", "-q", "--verify", "--end-of-options", f"{tracking}:{path}").strip())

    def below_on_remote(self, folder: str) -> frozenset[str] | None:
        """The paths below a folder that the remote's branch, as last fetched, has. None where there is no remote."""
        if not self.has_remote():
            return None
        tracking = f"refs/remotes/{self._remote}/{self._branch}"
        return frozenset(self._git("ls-tree", "-r", "-z", "--name-only", tracking, "--", folder).split("\0")[:-1])

    def settled_at(self, commit: str) -> bool:
        """Whether the vault's branch is checked out, is at `commit`, and is there on the remote too. Asks the remote;
        False where it does not answer."""
        branch = f"refs/heads/{self._branch}"
        if self._git("for-each-ref", "--format=%(objectname)%(HEAD)", branch).strip() != f"{commit}*":
            return False
        ssh = quiet_ssh(lambda: self._git("config", "--get", "core.sshCommand").strip())
        answer = self._ask("ls-remote", "--heads", "--", self._remote, branch, extra=ssh)
        return answer is not None and answer.output.split() == [commit, branch]

    def summary(self) -> dict[str, Any]:
        """`head`, `remote_head`, `ahead`, `behind`, `dirty` of the vault."""
        tracking = f"refs/remotes/{self._remote}/{self._branch}"
        head = self._git("rev-parse", "-q", "--verify", "HEAD").strip() or None
        remote_head = self._git("rev-parse", "-q", "--verify", tracking).strip() or None
        ahead = behind = 0
        if head and remote_head:
            counts = self._git("rev-list", "--left-right", "--count", f"{head}...{remote_head}", "--").split()
            ahead, behind = (int(counts[0]), int(counts[1])) if len(counts) == 2 else (0, 0)
        dirty = bool(self._git("status", "--porcelain", "--no-renames", "--untracked-files=normal"))
        return {"head": head, "remote_head": remote_head, "ahead": ahead, "behind": behind, "dirty": dirty}

    def git_processes(self) -> list[int]:
        """Processes that look like git at work in this vault (Linux; elsewhere none are seen)."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                name = (folder / "comm").read_text().strip()
                here = (folder / "cwd").readlink()
            except OSError:
                continue
            if name.startswith("git") and (here == self._root or self._root in here.parents):
                found.append(int(folder.name))
        return sorted(found)

    def _git(self, *arguments: str, stdin: str | None = None) -> str:
        """The output of a git command, or an empty string where it failed."""
        answer = self._ask(*arguments, stdin=stdin)
        return answer.output if answer else ""

    def _ask(self, *arguments: str, stdin: str | None = None, extra: Mapping[str, str] | None = None) -> _Answer | None:
        """What a git command answered, or None where it failed, could not be run or took too long. None of its
        processes is left."""
        if not self._git_dir.is_dir():
            return None
        scrub()
        variables = environment(self._git_dir, self._root, {"GIT_OPTIONAL_LOCKS": "0", **(extra or {})})
        try:
            process = subprocess.Popen(
                command(arguments),
                env=os.environ | variables,
                cwd=self._root,
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError:
            return None
        try:
            said = None if stdin is None else stdin.encode("utf-8", "surrogateescape")
            output, errors = process.communicate(said, timeout=_TIMEOUT)
        except (OSError, subprocess.TimeoutExpired):
            return None
        finally:
            end(process)
        if process.returncode:
            return None
        return _Answer(output.decode("utf-8", "surrogateescape"), errors.decode("utf-8", "replace"))
