"""How every git command of ours is run, and how the words of one that failed are read."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from utils.core.disk import REMEDIES
from utils.ports import AdapterError, Damaged
from utils.vault.disk import trouble

#: Said to every git command. Fsync: git makes none by default for loose objects and refs (git-config(1), core.fsync);
#: the index is but a cache, and made anew where it is damaged. A pack of 30 objects is durable sooner than 30 files.
_CONFIG = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.fsync=all,-index",
    "core.fsyncMethod=batch",
    "core.autocrlf=false",
    "core.fileMode=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",  # what does not travel is the vault's own word, not that of a user's machine
    "core.ignoreStat=false",
    "core.logAllRefUpdates=true",  # a damaged branch comes back from its reflog
    "core.untrackedCache=false",  # it misses a note made in the clock tick in which its folder was read
    "fastimport.unpackLimit=30",
    "fetch.unpackLimit=30",
    "gc.auto=0",
    "maintenance.auto=false",
    "diff.ignoreSubmodules=none",
    "diff.orderFile=/dev/null",
    "i18n.logOutputEncoding=UTF-8",
    "init.defaultRefFormat=files",  # `git_repair` reads them
    "log.follow=false",
    "push.gpgSign=false",
    "push.pushOption=",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "http.lowSpeedLimit=1",  # ends what a sync that was killed left asking
    "http.lowSpeedTime=300",
    "status.showUntrackedFiles=all",
    "color.ui=false",
)
NO_FILTERS = "# Bytes stay as they are; set by vault sync.\n* -text -filter -ident -working-tree-encoding\n"
#: What a user may have set for a good reason: how to reach and to trust the remote, and which files configure git.
_KEPT_VARIABLES = re.compile(
    r"GIT_(SSH(_COMMAND|_VARIANT)?|SSL_.*|ASKPASS|HTTP_.*|PROXY_.*|CONFIG_(GLOBAL|SYSTEM|NOSYSTEM)|EXEC_PATH|PYTHON_.*)"
)


def environment(git_dir: Path, work_tree: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables for a git command that belongs to exactly this repository and asks nobody anything."""
    variables = {
        "GIT_DIR": str(git_dir),
        "GIT_WORK_TREE": str(work_tree),
        "GIT_INDEX_FILE": str(git_dir / "index"),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_EDITOR": "true",
        "SSH_ASKPASS_REQUIRE": "never",
        "LC_ALL": "C",
        "LANGUAGE": "C",
    }
    if "GIT_ASKPASS" not in os.environ:
        variables["GIT_ASKPASS"] = ""
    return variables | dict(extra or {})


def command(arguments: Sequence[str]) -> list[str]:
    """`git` with our configuration."""
    return ["git", *(part for setting in _CONFIG for part in ("-c", setting)), *arguments]


def scrub() -> None:
    """Forget what the process's environment says about git, but how to reach and to trust a remote.

    For the whole process, because GitPython reads some of these variables itself, and no part of ours wants them.
    """
    for name in [name for name in os.environ if name.startswith("GIT_") and not _KEPT_VARIABLES.fullmatch(name)]:
        del os.environ[name]


QUIET_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=3"


def quiet_ssh(configured: Callable[[], str]) -> dict[str, str]:
    """Variables for an ssh that never asks; a command that the user set (a deploy key, a jump host) is left alone.

    `configured` answers `core.sshCommand` of the repository.
    """
    theirs = "GIT_SSH" in os.environ or "GIT_SSH_COMMAND" in os.environ or configured()
    return {} if theirs else {"GIT_SSH_COMMAND": QUIET_SSH}


_NO_HELPER = re.compile(
    r"(?m)^(?:git: 'remote-(.+)' is not a git command"
    r"|fatal: (?:unable|Unable) to find remote helper for '(.+)'|fatal: transport '(.+)' not allowed)"
)
_HOST_KEY = re.compile(r"(?i)host key verification failed|remote host identification has changed")
_AUTH = re.compile(
    r"(?i)permission denied \(|permission denied, please|authentication failed|could not read (username|password)"
    r"|terminal prompts disabled|too many authentication|invalid username or|access denied|HTTP 40[13]"
    r"|returned error: 40[13]"
)
_ABSENT = re.compile(
    r"(?i)^(fatal: repository '(https?|ssh)://.*' not found|(remote|fatal|error): .*repository not found)"
)
_CERTIFICATE = re.compile(r"(?i)certificate|SSL peer")
_RACE = re.compile(
    r"(?i)\[rejected\]|fetch first|non-fast-forward|incorrect old value|reference already exists"
    r"|cannot lock ref|failed to update ref|remote ref updated since"
)
_DISK = re.compile(rf"(?:fatal|error|warning): (?P<what>.*?)[:(] ?(?P<why>{'|'.join(REMEDIES)})\)?$")
_DAMAGE = re.compile(
    r"(?i)object file .* is empty|is corrupt|corrupt (loose|tree)|bad (object|tree|revision 'HEAD'|pack|index|sig)"
    r"|missing (blob|tree|commit|object|necessary)|unable to (read|find|parse|resolve ref|unpack)"
    r"|could not read [0-9a-f]{40}"
    r"|failed to (read|load|parse|traverse)|not a valid (object|tree|commit)|invalid (object|sha1)|inflate:|index file"
    r"|unknown index|broken ref|reference broken|packfile|\.(pack|idx)\b|not a git repository: '/|bad config"
    r"|did not send all necessary|unable to load|nonexistent object|reference already exists|does not point to a valid"
)
_CUT_OFF = re.compile(
    r"(?i)hung up|early EOF|RPC failed|disconnect|index-pack|does not appear to be|protocol error"
    r"|could not read from remote"
)
#: What git says whenever ssh failed, after ssh has said why.
_NO_REASON = re.compile(
    r"fatal: Could not read from remote repository|Please make sure you have the correct access|and the repository exis"
)
_WHERE = "(`git remote -v` in the vault tells it)"
#: What a network says, and what a person can do about it.
_HINTS = tuple(
    (re.compile(pattern, re.IGNORECASE), hint)
    for pattern, hint in (
        (
            r"could not resolve host|name or service not known|name resolution",
            f"Is the network there, and is the host's name in the remote's address right {_WHERE}?",
        ),
        (
            r"connection refused|timed out|no route to host|network is unreachable",
            f"Is the network there, does the server run, and is the port in the remote's address right {_WHERE}?",
        ),
        (
            r"connection (closed|reset) by|kex_exchange|banner exchange",
            "The server, or something on the way to it, hangs up: it may be busy or block this machine, or another"
            " program listens there. Where it stays so, try `ssh -v` with the remote's address",
        ),
        (r"does not appear to be a git repository", f"Check its address {_WHERE}, or mount its disk"),
        (
            r"cannot run ssh|bad (configuration option|owner or permissions)|unable to negotiate|load key",
            "Put ssh right: `ssh -T` with the remote's address has to work for the user that syncs",
        ),
    )
)
_UNWRITTEN = re.compile(
    r"(?i)unable to write (new|file|loose|cache)|failed to write|write error|couldn't write|diskspace"
)
_PROGRESS = re.compile(
    r"(remote: )?(Enumerating|Counting|Compressing|Receiving|Resolving|Writing|Unpacking|Updating|Checking|Total|Delta"
    r"|Finding|POST git|Pushing|Everything|From |To )"
)
_CREDENTIALS = re.compile(r"//[^/\s]+@")  # a password may hold an @
_QUERY = re.compile(r"(\w://[^\s?]*\?)[^\s'\"]+")


def masked(text: str) -> str:
    """Text without the user, password and query (`?token=…`) that an address may carry."""
    return _QUERY.sub(r"\1***", _CREDENTIALS.sub("//***@", text))


def is_race(said: str) -> bool:
    """Whether a refused push lost against somebody else's: starting again helps."""
    return bool(_RACE.search(said)) and "hook declined" not in said


def local_error(command_name: str, said: str, *written: Path) -> AdapterError:
    """What git said about this machine, as an error with its remedy: a full disk, a damaged repository (`Damaged`).

    `written`: the folders that the command wrote into; they are looked at where git names no reason.
    """
    disk = _disk_error(said)
    if disk is not None:
        return disk
    text = f"git {command_name}: {masked(said).strip()}"
    if _UNWRITTEN.search(said):  # git names no reason here
        seen = next((why for folder in written if (why := trouble(folder))), None)
        guess = f"{text}: is the disk full or mounted read-only? The next sync goes on where this one stopped"
        return AdapterError(seen or guess, retry=False)
    return Damaged(text) if _DAMAGE.search(said) else AdapterError(text, retry=False)


def _disk_error(said: str) -> AdapterError | None:
    """A disk of this machine that said no. What the remote's disk says begins with `remote:`."""
    for line in said.splitlines():
        found = _DISK.match(line.strip())
        if found:
            what, why = masked(found["what"]).strip(), found["why"]
            return AdapterError(f"{why} ({what}): {REMEDIES[why]}", retry=False)
    return None


def network_error(said: str) -> AdapterError:
    """What git said about a remote, as an error with its remedy."""
    disk = _disk_error(said)
    if disk is not None:
        return disk
    reason = first_reason(said)
    if _HOST_KEY.search(said):
        known = "has changed since we last saw it" if "HAS CHANGED" in said else "is not known here"
        return AdapterError(
            f"the remote's SSH host key {known}: compare its fingerprint with the one that your host publishes, then"
            " connect once by hand (`ssh -T` with the remote's address) as the user that syncs",
            retry=False,
        )
    if _AUTH.search(said):
        remedy = "Check the key or password of this node"
        if "publickey" in said:
            remedy = (
                "Check the key of this node: the remote's host has to know its public half, and ssh has to find it"
                " (a key elsewhere: `git config core.sshCommand 'ssh -i KEYFILE'` in the vault)"
            )
        return AdapterError(f"the remote refused us: {reason.rstrip('.')}. {remedy}", retry=False)
    if any(_ABSENT.match(line) for line in said.splitlines()):
        return AdapterError(
            f"the remote has no such repository, or hides it from us: {reason}. Check VAULT_REMOTE_URL and this node's"
            " access",
            retry=False,
        )
    if _CERTIFICATE.search(said):
        return AdapterError(
            f"the remote's certificate is not trusted: {reason}. Check its address; for a certificate of your own name"
            " its CA in GIT_SSL_CAINFO",
            retry=False,
        )
    helper = _NO_HELPER.search(said)
    if helper:
        return AdapterError(
            f"git can't speak {next(filter(None, helper.groups()))}:// with a remote: check the address for a mistype"
            " (`git remote -v` in the vault, VAULT_REMOTE_URL)",
            retry=False,
        )
    if is_damage(said) and not _CUT_OFF.search(said):
        return Damaged(f"git: {reason}")
    hint = next((f". {hint}" for pattern, hint in _HINTS if pattern.search(said)), "")
    return AdapterError(f"the remote can't be reached: {reason.rstrip('.')}{hint}", retry=True)


def is_damage(said: str) -> bool:
    """Whether git speaks of damage in this repository; of the remote's speak its own lines."""
    return any(_DAMAGE.search(line) for line in said.splitlines() if not re.match(r"remote: |!|error: remote ", line))


def push_refusal(said: str) -> str:
    """Why the remote refused a push, with the remedy where its disk is full."""
    full = re.search(r"(?m)^remote: .*(No space left on device|Disk quota exceeded)", said)
    return f"its disk is full ({full.group(1)}): make room there" if full else first_reason(said)


def first_reason(said: str) -> str:
    """The line of git's answer that says most, without credentials. Where ssh failed, what ssh said."""
    lines = [line.strip() for line in re.split(r"[\r\n]", masked(said))]
    lines = [line for line in lines if line and not _PROGRESS.match(line)]
    lines = [line for line in lines if not _NO_REASON.match(line)] or lines
    for pattern in (
        r"^remote: (?!error: hook|\W*$)(.+)",
        r"^!.*\[(?:remote )?rejected\] (.+)",
        r"^(?:fatal|error): (.+)",
        r"^ssh: (.+)",
    ):
        for line in lines:
            match = re.match(pattern, line)
            if match:
                return match.group(1).strip()
    return lines[-1] if lines else "no reason given"


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command, started in a session of its own, with all that it started itself; nothing where it has ended."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


class Silence(AdapterError):
    """A command was silent for too long, or took longer than any may; the message says which."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry=True)


def listen(process: subprocess.Popen[bytes], *, silence: float, longest: float) -> tuple[bytes, bytes]:
    """What a network command prints on stdout and stderr until it ends.

    Run with `--progress`, git speaks whenever a packet (at most 64 KiB) has come. So a slow line may take `longest`,
    while a remote that stopped is noticed after `silence` (seconds). Raises `Silence`; the process still runs then.
    """
    parts: dict[str, list[bytes]] = {"out": [], "err": []}
    deadline = time.monotonic() + longest
    with selectors.DefaultSelector() as selector:
        streams: tuple[tuple[IO[bytes] | None, str], ...] = ((process.stdout, "out"), (process.stderr, "err"))
        for stream, name in streams:
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, name)
        while selector.get_map():
            left = deadline - time.monotonic()
            ready = selector.select(max(0.0, min(silence, left)))
            if left <= 0 or (not ready and left <= silence):
                raise Silence(f"the remote is too slow: not done within {longest:g} s")
            if not ready:
                raise Silence(f"the remote did not answer within {silence:g} s")
            for key, _ in ready:
                data = os.read(key.fd, 65536)
                if data:
                    parts[key.data].append(data)
                else:
                    selector.unregister(key.fileobj)
    try:
        process.wait(silence)
    except subprocess.TimeoutExpired:
        raise Silence(f"the remote did not answer within {silence:g} s") from None
    return b"".join(parts["out"]), b"".join(parts["err"])
