"""How every git command of ours is run, and how the words of one that failed are read."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from utils.ports import AdapterError

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
    "core.untrackedCache=true",
    "fastimport.unpackLimit=30",
    "fetch.unpackLimit=30",
    "gc.auto=0",
    "maintenance.auto=false",
    "push.gpgSign=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
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


QUIET_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15"
_AUTH = re.compile(
    r"(?i)permission denied|authentication failed|could not read (username|password)|terminal prompts disabled"
    r"|host key verification failed|invalid username or|access denied|HTTP 40[13]|returned error: 40[13]"
)
_RACE = re.compile(
    r"(?i)\[rejected\]|fetch first|non-fast-forward|incorrect old value|reference already exists"
    r"|cannot lock ref|failed to update ref|remote ref updated since"
)


def is_race(said: str) -> bool:
    """Whether a refused push lost against somebody else's: starting again helps."""
    return bool(_RACE.search(said)) and "hook declined" not in said


def network_error(said: str) -> AdapterError:
    """What git said about a remote, as an error with its remedy."""
    if _AUTH.search(said):
        reason = first_reason(said)
        return AdapterError(f"the remote refused us: {reason}. Check the key or password of this node", retry=False)
    return AdapterError(f"the remote can't be reached: {first_reason(said)}", retry=True)


def first_reason(said: str) -> str:
    """The line of git's answer that says most."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for pattern in (
        r"^remote: (?!error: hook|$)(.+)",
        r"^!.*\[(?:remote )?rejected\] (.+)",
        r"^(?:fatal|error): (.+)",
        r"^ssh: (.+)",
    ):
        for line in lines:
            match = re.match(pattern, line)
            if match:
                return match.group(1).strip()
    return lines[-1] if lines else "no reason given"
