"""The zone lease on the vault's own remote: `LeaseRemote` by git, outside the vault's repository.

A small bare repository in `STATE_DIR` includes the vault's `.git/config`, so remote, credentials and ssh settings are
the vault's, and no command of ours can meet a sync's. Every value is a commit of the empty tree by one author at one
date: the same text is the same object wherever it is made, so what goes round leaves a bounded number of objects on the
remote. The repository is a cache: damaged or cluttered, it is made anew.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.adapters.git_command import (
    command,
    end,
    environment,
    first_reason,
    is_damage,
    is_race,
    local_error,
    network_error,
    push_refusal,
    quiet_ssh,
    scrub,
)
from utils.core.lease import BEATS, Sight
from utils.ports import AdapterError, Damaged

log = logging.getLogger(__name__)

LEASE = "refs/lease/zone"
HEARTBEATS = "refs/heartbeat/"
_LONGEST = 30.0  # seconds
_LARGEST = 65_536  # bytes of a commit that may be a lease
_SHALLOW = "bad shallow line"  # in a file that our repository has no use for
_CLUTTER = 8  # files in one of the 256 folders of loose objects
_WHO = "zones <zones@localhost> 946684800 +0000"
_SHA256 = re.compile(r"(?im)^\s*objectformat\s*=\s*sha256\s*$")
_VERDICT = re.compile(rf"(?m)^(.)\t[0-9a-f]+:{LEASE}\t(.*)$")


class GitLease:
    """The lease as the node of `zone` reaches it: through the remote named `remote` of the vault at `root`.

    `folder` is the repository of ours. One caller at a time, over all processes of the node. `timeout` in seconds, at
    most 30, bounds each command.
    """

    def __init__(self, root: Path, folder: Path, *, remote: str, zone: str, timeout: float) -> None:
        self._root = root
        self._folder = folder
        self._remote = remote
        self._heartbeat = f"{HEARTBEATS}{zone}"
        self._zone = zone
        self._timeout = min(timeout, _LONGEST)
        self._beat = secrets.randbelow(BEATS)
        self._read: tuple[str, str] = ("", "")

    def look(self) -> Sight:
        """What lies on the remote now. Raises `AdapterError`."""
        if self._is_cluttered():
            self._discard()
        try:
            with self._healing():
                return self._look()
        except Damaged:
            return self._look()

    def push(self, text: str, expected: str | None) -> str | None:
        """Replace the object `expected` by a commit that says `text`, and give a heartbeat; see `LeaseRemote.push`."""
        with self._healing():
            return self._replace(text, expected)

    def beat(self) -> None:
        """Give a heartbeat of this zone. Raises `AdapterError`."""
        with self._healing():
            self._give_beat()

    # --- looking and writing -----------------------------------------------------------------------------------------

    def _replace(self, text: str, expected: str | None) -> str | None:
        self._prepare()
        sha = self._commit(text)
        lease = f"--force-with-lease={LEASE}:{expected or ''}"
        code, output, errors = self._push(lease, f"{sha}:{LEASE}", f"+{self._next_beat()}:{self._heartbeat}")
        verdict = _VERDICT.search(output)
        flag, words = (verdict[1], verdict[2]) if verdict else ("", "")
        if flag in ("*", "+", " "):
            return sha
        if flag == "=":  # it was there already: somebody put it there, we did not replace anything
            return sha if sha == expected else None
        if "[rejected]" in words:
            return None
        if "[remote rejected]" in words:
            if is_race(words) and "Unable to create" not in errors:
                return None
            raise AdapterError(f"the remote refused the lease: {push_refusal(words + chr(10) + errors)}", retry=True)
        raise self._error(errors or f"git push ended with {code}")

    def _give_beat(self) -> None:
        self._prepare()
        code, output, errors = self._push(f"+{self._next_beat()}:{self._heartbeat}")
        if code != 0:
            refused = re.search(r"(?m)^!.*\[(remote )?rejected\]", output)
            if refused:
                raise AdapterError(f"the remote refused the heartbeat: {push_refusal(output + errors)}", retry=True)
            raise self._error(errors)

    def _look(self) -> Sight:
        self._prepare()
        specs = (f"+{ref}*:{ref}*" for ref in (LEASE.removesuffix("zone"), HEARTBEATS))
        code, _, errors = self._network(
            "fetch", "--prune", "--no-tags", "--no-write-fetch-head", "--refmap=", "--", self._remote, *specs
        )
        if code != 0:
            raise self._error(errors)
        lines = self._local("for-each-ref", "--format=%(objectname) %(refname)", LEASE, HEARTBEATS).splitlines()
        refs = {ref: sha for sha, _, ref in (line.partition(" ") for line in lines)}
        below = [ref for ref in refs if ref.startswith(f"{LEASE}/")]
        if below:
            raise AdapterError(
                f"{below[0]} lies on the remote, and beside it no lease can: delete it there"
                f" (`git push {self._remote} :{below[0]}` in the vault)",
                retry=False,
            )
        sha = refs.pop(LEASE, None)
        beats = {ref.removeprefix(HEARTBEATS): value for ref, value in refs.items()}
        return Sight(sha, self._text(sha) if sha else None, beats)

    def _text(self, sha: str) -> str:
        """The message of the commit; nothing where it is no commit, or one too large for a lease."""
        if self._read[0] != sha:
            kind, size = self._local("cat-file", "--batch-check=%(objecttype) %(objectsize)", stdin=f"{sha}\n").split()
            fits = kind == "commit" and int(size) <= _LARGEST
            self._read = (sha, self._local("cat-file", "commit", sha).partition("\n\n")[2] if fits else "")
        return self._read[1]

    def _commit(self, text: str) -> str:
        tree = self._local("hash-object", "-t", "tree", "-w", "--stdin", stdin="").strip()
        commit = f"tree {tree}\nauthor {_WHO}\ncommitter {_WHO}\n\n{text}"
        return self._local("hash-object", "-t", "commit", "-w", "--stdin", stdin=commit).strip()

    def _next_beat(self) -> str:
        self._beat = (self._beat + 1) % BEATS
        return self._commit(f"{self._zone} is alive ({self._beat})\n")

    def _push(self, *words: str) -> tuple[int, str, str]:
        options = [word for word in words if word.startswith("--")]
        specs = [word for word in words if not word.startswith("--")]
        quiet = ("--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no")
        return self._network("push", *quiet, *options, "--", self._remote, *specs)

    # --- our repository ----------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Make our repository where there is none, or one of an earlier vault."""
        config = self._root / ".git" / "config"
        try:
            sha256 = _SHA256.search(config.read_text("utf-8", "surrogateescape")) is not None
        except OSError as error:
            raise AdapterError(
                f"the vault has lost its git repository, and with it the remote ({config}: {error.strerror}):"
                " mount the disk, or put .git back from a backup",
                retry=False,
            ) from None
        quoted = str(config).replace("\\", "\\\\").replace('"', '\\"')
        version, extensions = (1, "[extensions]\n\tobjectFormat = sha256\n") if sha256 else (0, "")
        wanted = f'[include]\n\tpath = "{quoted}"\n[core]\n\trepositoryFormatVersion = {version}\n\tbare = true\n'
        wanted += extensions
        file = self._folder / "config"
        if self._says(file, wanted):
            return
        self._discard()
        try:
            for name in ("objects", "refs"):
                (self._folder / name).mkdir(parents=True)
            (self._folder / "HEAD").write_text("ref: refs/heads/none\n")
            file.write_text(wanted, "utf-8", "surrogateescape")  # last: a crash before it makes all anew
        except OSError as error:
            raise AdapterError(f"{self._folder} can't be made: {error.strerror}", retry=True) from None

    def _is_cluttered(self) -> bool:
        """Whether old values lie about here, by one folder of loose objects the others are known; or what a fetch that
        was ended left."""
        objects = self._folder / "objects"
        return len(list(objects.glob("17/*"))) > _CLUTTER or any(objects.glob("*/tmp_*"))

    @staticmethod
    def _says(file: Path, wanted: str) -> bool:
        try:
            return file.read_text("utf-8", "surrogateescape") == wanted
        except FileNotFoundError:
            return False
        except OSError as error:  # it, or the folder, is no such thing
            log.warning(
                "%s can't be read (%s); the lease's repository is made anew, it is a cache", file, error.strerror
            )
            return False

    @contextmanager
    def _healing(self) -> Iterator[None]:
        """What is damaged is thrown away, and made anew by the next command."""
        try:
            yield
        except Damaged as error:
            log.warning("%s; the lease's repository is made anew, it is a cache", error)
            self._discard()
            raise

    def _discard(self) -> None:
        if self._folder.is_dir() and not self._folder.is_symlink():
            shutil.rmtree(self._folder, ignore_errors=True)
        else:
            self._folder.unlink(missing_ok=True)

    def _error(self, said: str) -> AdapterError:
        """What a command of the network said, as an error; what is wrong in our own repository is `Damaged`."""
        if str(self._folder) in said or is_damage(said) or _SHALLOW in said:
            return Damaged(f"{self._folder} is damaged: {first_reason(said)}")
        return network_error(said)

    # --- running -----------------------------------------------------------------------------------------------------

    def _network(self, *arguments: str) -> tuple[int, str, str]:
        ssh = quiet_ssh(lambda: self._run("config", "--get", "core.sshCommand")[1].strip())
        return self._run(*arguments, extra=ssh)

    def _local(self, *arguments: str, stdin: str | None = None) -> str:
        code, output, errors = self._run(*arguments, stdin=stdin)
        if code != 0 and _SHALLOW in errors:
            raise self._error(errors)
        if code != 0:
            raise local_error(arguments[0], errors, self._folder)
        return output

    def _run(
        self, *arguments: str, stdin: str | None = None, extra: dict[str, str] | None = None
    ) -> tuple[int, str, str]:
        """Run one command to its end; none of its processes is left. Raises `AdapterError` where it took too long."""
        scrub()
        variables = os.environ | environment(self._folder, self._root, extra)
        del variables["GIT_WORK_TREE"], variables["GIT_INDEX_FILE"]  # it is bare
        try:
            process = subprocess.Popen(
                command(arguments),
                env=variables,
                cwd=self._root,  # where a remote's relative path begins
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise AdapterError(f"git can't be run: {error}", retry=True) from None
        try:
            output, errors = process.communicate(None if stdin is None else stdin.encode(), self._timeout)
        except subprocess.TimeoutExpired:
            raise AdapterError(f"git {arguments[0]} got no answer within {self._timeout:g} s", retry=True) from None
        finally:
            end(process)
        return process.returncode, output.decode("utf-8", "replace"), errors.decode("utf-8", "replace")
