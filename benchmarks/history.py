"""Writes the commits that real syncs of both nodes would make: the same trees, parents, authors and messages."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.life import CLAIMS, Append, Move, Put, Turn
from utils.core.archive import LOG_FULL, LOG_KEPT, roll
from utils.sync.values import IDENTITIES
from utils.vault.layout import Layout

_BLANK = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}


def git(folder: Path, *arguments: str, data: bytes | None = None) -> str:
    """A plain git command's output."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | _BLANK
    done = subprocess.run(["git", *arguments], cwd=folder, env=environ, input=data, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"git {arguments[0]}: {done.stderr.decode()}")
    return done.stdout.decode()


@dataclass
class _Head:
    """A commit (`from` in fast-import's words) with the logs that are still written to."""

    commit: str
    logs: dict[str, bytes] = field(default_factory=dict)


class History:
    """The growing history of one repository, whose `main` the two nodes share."""

    def __init__(self, root: Path) -> None:
        self.root = root
        start = git(root, "rev-parse", "main").strip()
        paths = git(root, "ls-tree", "-r", "--name-only", start, "Logs/").splitlines()
        logs = {path: git(root, "cat-file", "blob", f"{start}:{path}").encode() for path in _growing(paths)}
        self._heads = {"cloud": _Head(start, logs), "local": _Head(start, logs)}
        self._main = self._heads["local"]
        self._mark = self._commits = 0
        self._stream: list[bytes] = []
        self._blobs: dict[str, list[tuple[int, bytes]]] = {}  # by path: one version after the other packs well

    def live(self, turns: Iterable[Turn], *, loose: bool = True) -> int:
        """Commit what happened in these turns, and answer how many commits that made. `loose`: as a sync leaves its
        objects; otherwise at once in a pack, which saves the time of packing them."""
        self._stream, self._blobs, self._commits = [], {}, 0
        for turn in turns:
            self._sync(turn)
        self._run(loose)
        return self._commits

    def _sync(self, turn: Turn) -> None:
        old, main = self._heads[turn.node], self._main
        if turn.ops:
            rolled = _rolled(turn, old.logs.get(CLAIMS, b""))
            new = self._commit(turn, rolled, [old], old.logs, _message(turn))
            if main is not old:  # the other node pushed meanwhile: a merge. Its tree is main's with our changes.
                new = self._commit(turn, rolled, [main, new], main.logs, f"{turn.node}: merge\n\n")
            self._main = new
        self._heads[turn.node] = self._main

    def _commit(
        self, turn: Turn, rolled: dict[str, bytes], parents: list[_Head], logs: dict[str, bytes], message: str
    ) -> _Head:
        self._mark += 1
        self._commits += 1
        mark = self._mark
        logs, changed = dict(logs), dict[str, bytes]()
        for day, data in rolled.items():
            logs[CLAIMS] = changed[CLAIMS] = logs[CLAIMS].removeprefix(data)
            path = f"Logs/claims/{day}.jsonl"
            logs[path] = changed[path] = logs.get(path, b"") + data
        lines: list[bytes] = []
        for op in turn.ops:
            if isinstance(op, Put):
                changed[op.path] = op.data
            elif isinstance(op, Append):
                logs[op.path] = changed[op.path] = logs.get(op.path, b"") + op.line
            else:
                lines.append(f"R {op.old} {op.new}\n".encode())
        name, address = IDENTITIES[turn.node]
        head = f"commit refs/sim/{turn.node}\nmark :{self._mark}\n"
        head += f"committer {name} <{address}> {int(turn.at.timestamp())} +0000\n"
        said = message.encode()
        self._stream.append(head.encode() + b"data %d\n" % len(said) + said + b"\n")
        words = ["from", "merge"]
        self._stream += [f"{word} {parent.commit}\n".encode() for word, parent in zip(words, parents, strict=False)]
        self._stream += lines + [self._modify(path, data) for path, data in changed.items()]
        return _Head(f":{mark}", logs)

    def _modify(self, path: str, data: bytes) -> bytes:
        self._mark += 1
        self._blobs.setdefault(path, []).append((self._mark, data))
        return f"M 100644 :{self._mark} {path}\n".encode()

    def _run(self, loose: bool) -> None:
        self._stream.append(f"reset refs/heads/main\nfrom {self._main.commit}\n\n".encode())
        marks = self.root / ".git" / "simulated-marks"
        git(
            self.root,
            *("-c", "core.fsync=none", "-c", f"fastimport.unpackLimit={10**9 if loose else 1}", "-c", "gc.auto=0"),
            *("fast-import", "--quiet", "--force", f"--export-marks={marks}"),
            data=b"".join([*self._contents(), *self._stream]),
        )
        oids = dict(line.split() for line in marks.read_text().splitlines())
        marks.unlink()
        for head in {id(head): head for head in (*self._heads.values(), self._main)}.values():
            head.commit = oids.get(head.commit, head.commit)
            head.logs = {path: head.logs[path] for path in _growing(head.logs)}

    def _contents(self) -> Iterator[bytes]:
        for path in sorted(self._blobs, key=lambda path: path.rpartition("/")[2]):
            for mark, data in self._blobs[path]:
                yield b"blob\nmark :%d\ndata %d\n" % (mark, len(data)) + data + b"\n"


def _growing(paths: Iterable[str]) -> set[str]:
    """The logs that are still written to: the claims, and the newest of each other kind."""
    logs = sorted(path for path in paths if path.endswith(".jsonl"))
    newest = {path.split("/")[1]: path for path in logs}
    return {*newest.values(), *[path for path in logs if path.startswith("Logs/claims/")][-2:]} if logs else set()


def _rolled(turn: Turn, claims: bytes) -> dict[str, bytes]:
    """What Local's housekeeping takes out of the claims log, by day."""
    full = turn.node == "local" and len(claims) > LOG_FULL and turn.tidy
    return roll(claims, LOG_KEPT, f"{turn.at:%Y-%m-%d}")[0] if full else {}


def _message(turn: Turn) -> str:
    """As `utils.sync.gather.message` writes it."""
    groups: dict[str, list[str]] = {"add": [], "change": [], "remove": []}
    for op in turn.ops:
        if isinstance(op, Put | Move):
            groups["add"].append(op.new if isinstance(op, Move) else op.path)
        if isinstance(op, Move):
            groups["remove"].append(op.old)
    groups["change"] = sorted({op.path for op in turn.ops if isinstance(op, Append)})
    lines = [f"{kind} {path}" for kind, paths in groups.items() for path in sorted(paths)]
    title = ", ".join(f"{kind} {len(paths)}" for kind, paths in groups.items() if paths)
    more = [f"and {len(lines) - 50} more"] if len(lines) > 50 else []
    return f"{turn.node}: {title}\n\n" + "\n".join(lines[:50] + more) + "\n"


def relive(layout: Layout, turn: Turn) -> None:
    """Let the same happen to a real vault's files."""
    for op in turn.ops:
        if isinstance(op, Put):
            target = layout.root / op.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(op.data)
        elif isinstance(op, Move):
            (layout.root / op.new).parent.mkdir(parents=True, exist_ok=True)
            (layout.root / op.old).rename(layout.root / op.new)
        elif isinstance(op, Append):
            path = layout.root / op.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(op.line)
