"""P1–P3: what a sync costs beside the fewest plain git commands that could do the same, in one run on one machine.

For each size of vault: a no-op, 100 notes changed on both sides, and 100 notes that both sides changed (conflicts).
Ours and git's take turns on clones with the same content, each with its own bare remote; the table has medians and
their ratio.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.nodes import vault_sync
from utils.sync.values import SyncResult
from utils.vault_sync import VaultSync

SIZES = (1_000, 10_000, 100_000)
CHANGED = 100
_NOOPS = 15
_LEAST = (["status", "--porcelain"], ["ls-remote", "--heads", "origin", "main"])
_MERGES = 5
#: What a person would set for a vault of many files; the comparison is with git at its best.
_AT_ITS_BEST = ("-c", "feature.manyFiles=true", "-c", "core.untrackedCache=true")


@dataclass
class Pair:
    """Two clones and their bare remote; `here` is measured, `there` is the other side."""

    folder: Path

    @property
    def here(self) -> Path:
        return self.folder / "here"

    @property
    def there(self) -> Path:
        return self.folder / "there"

    def sync(self, zone: str) -> VaultSync:
        root = self.here if zone == "local" else self.there
        return vault_sync(zone, root, self.folder / f"state-{zone}")


def run(sizes: Sequence[int] = SIZES) -> str:
    """The table, in Markdown; times in milliseconds."""
    rows = [
        "| notes | what | sync (ms) | plain git (ms) | ratio |",
        "|---|---|---|---|---|",
    ]
    growth: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="ai-employee-bench-") as folder:
        for size in sizes:
            home = Path(folder) / str(size)
            ours, plain = _make(home / "ours", size), _make(home / "plain", size)
            _adopt(ours)
            for what, (mine, gits) in _measure(ours, plain, size).items():
                growth.setdefault(what, []).append((mine, gits))
                rows.append(f"| {size:,} | {what} | {mine:.0f} | {gits:.0f} | {mine / gits:.2f} |")
            shutil.rmtree(home)
    if len(sizes) > 1:
        rows += ["", f"Growth from {sizes[-2]:,} to {sizes[-1]:,} notes:", ""]
        for what, figures in growth.items():
            (mine, gits), (mine_more, gits_more) = figures[-2:]
            rows.append(f"- {what}: sync × {mine_more / mine:.1f}, plain git × {gits_more / gits:.1f}")
    return "\n".join(rows)


def _measure(ours: Pair, plain: Pair, size: int) -> dict[str, tuple[float, float]]:
    found = {}
    sync = ours.sync("local")
    for name, commands in {
        "no-op, against status + ls-remote": _LEAST,
        "no-op, against status + fetch": (["status", "--porcelain"], ["fetch", "-q", "origin", "main"]),
    }.items():
        _progress(f"{size:,} notes: {name}")
        found[name] = _turns(
            _NOOPS,
            lambda: _expect(sync.run(), "noop"),
            lambda commands=commands: [_git(plain.here, *_AT_ITS_BEST, *command) for command in commands],  # type: ignore[misc]
        )
    _progress(f"{size:,} notes: no-op that is watched")
    found["no-op where a watch saw no change, against status + ls-remote"] = _turns(
        _NOOPS,
        lambda: _expect(sync.confirm(), "noop"),
        lambda: [_git(plain.here, *_AT_ITS_BEST, *command) for command in _LEAST],
    )
    for name, shift in ((f"{CHANGED} notes changed on both sides", CHANGED), (f"{CHANGED} conflicts", 0)):
        _progress(f"{size:,} notes: {name}")

        def prepare(pair: Pair, *, shift: int = shift) -> None:
            now = time.monotonic_ns()
            _edit(pair.here, size, 0, f"here {now}")
            _edit(pair.there, size, shift, f"there {now}")

        found[name] = _turns(
            _MERGES,
            lambda: _expect(sync.run(), "ok", "conflicts"),
            lambda: _plain_merge(plain.here),
            before=lambda prepare=prepare: (prepare(ours), ours.sync("cloud").run()),  # type: ignore[misc]
            plain_before=lambda prepare=prepare: (prepare(plain), _plain_merge(plain.there)),  # type: ignore[misc]
        )
    return found


def _turns(
    count: int,
    ours: Callable[[], object],
    plain: Callable[[], object],
    *,
    before: Callable[[], object] = lambda: None,
    plain_before: Callable[[], object] = lambda: None,
) -> tuple[float, float]:
    """Medians (ms) of both, taking turns; the first turn warms up."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(count + 1):
        for kept, prepare, measured in ((times[0], before, ours), (times[1], plain_before, plain)):
            prepare()
            os.sync()
            started = time.perf_counter()
            measured()
            if turn:
                kept.append((time.perf_counter() - started) * 1000)
    return statistics.median(times[0]), statistics.median(times[1])


def _plain_merge(folder: Path) -> None:
    """What a person would type; where both sides changed a note, ours stands."""
    _git(folder, "add", "-A")
    _git(folder, "commit", "-q", "-m", "changes")
    _git(folder, "fetch", "-q", "origin", "main")
    _git(folder, "merge", "-q", "-X", "ours", "-m", "merge", "FETCH_HEAD")
    _git(folder, "push", "-q", "origin", "HEAD:main")


def _make(folder: Path, size: int) -> Pair:
    """A pair of clones with `size` notes of about 2 kB in folders of 100, as a year's work would leave them."""
    _progress(f"{size:,} notes: making {folder.name}")
    pair = Pair(folder)
    remote = folder / "remote.git"
    pair.here.mkdir(parents=True)
    _git(folder, "init", "-q", "--bare", "--initial-branch=main", str(remote))
    _git(pair.here, "init", "-q", "--initial-branch=main")
    _git(pair.here, "remote", "add", "origin", str(remote))
    words = random.Random(1)  # no secret: the same notes each time
    for number in range(size):
        path = _note(pair.here, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# Note {number}\n\n" + "".join(f"{words.random()} and so on\n" for _ in range(60)))
    (pair.here / ".vault").write_text("benchmark\n")
    _git(pair.here, "add", "-A")
    _git(pair.here, "commit", "-q", "-m", "notes")
    _git(pair.here, "push", "-q", "origin", "HEAD:main")
    _git(folder, "clone", "-q", str(remote), str(pair.there))
    return pair


def _adopt(pair: Pair) -> None:
    """Both clones as vaults of ours."""
    for zone in ("local", "cloud", "local"):
        sync = pair.sync(zone)
        sync.prepare(str(pair.folder / "remote.git"))
        _expect(sync.run(), "noop", "ok")


def _note(root: Path, number: int) -> Path:
    return root / "Updates" / "notes" / f"{number // 100:04}" / f"{number}.md"


def _edit(root: Path, size: int, first: int, text: str) -> None:
    """Change `CHANGED` notes, spread over the vault."""
    step = size // (2 * CHANGED)
    for number in range(CHANGED):
        path = _note(root, (number * 2 + (1 if first else 0)) * step)
        path.write_text(path.read_text() + f"{text}\n")


def _expect(result: SyncResult | None, *wanted: str) -> None:
    if result is None or result.result not in wanted:
        raise RuntimeError(f"the sync answered {result.summary() if result else 'nothing'}, not {' or '.join(wanted)}")


def _git(folder: Path, *arguments: str) -> None:
    name = ("-c", "user.name=Bench", "-c", "user.email=bench@ai-employee.invalid")
    environ = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environ |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", *name, *arguments], cwd=folder, env=environ, check=True, stdout=subprocess.DEVNULL)


def _progress(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)
