"""How a person runs a command of ours: from a plain shell in the project's folder, with no environment activated."""

from __future__ import annotations

import shlex
import sys
from pathlib import PurePosixPath

_PROJECT = PurePosixPath(__file__).parents[2]
_USUAL = ".venv/bin/python"


def python() -> str:
    """The interpreter that runs now, as a word of a shell: relative to the project where `start_everything.sh` puts it,
    else by its whole path."""
    is_usual = PurePosixPath(sys.executable or _USUAL) in (PurePosixPath(_USUAL), _PROJECT / _USUAL)
    return _USUAL if is_usual else shlex.quote(sys.executable)


def command(words: str) -> str:
    """The command line of `scripts.{words}` on this node: `command("sync --repair")`."""
    return f"{python()} -m scripts.{words}"


def elsewhere(words: str) -> str:
    """The same for the other node, or for words that both nodes must write alike: as the README has it."""
    return f"{_USUAL} -m scripts.{words}"
