"""P4: claims a second with eight processes contending, a durable log line each, beside bare `os.rename` + `fsync`.

Both agents' processes walk the same list of tasks and each tries to take every one. Bare: `os.rename` and an `fsync` of
the target's folder, without lock, log, note or heartbeat. The two take turns; the table has medians, and the median of
the ratios of each turn. Then a count of what went wrong in 100,000 claims, where some tasks have namesakes in the way.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from utils.adapters.clock import SystemClock
from utils.claim_task import Claims
from utils.core.stages import Stage
from utils.vault import jsonl
from utils.vault.layout import AGENTS, Layout

PROCESSES = 8
_TASKS, _ROUNDS = 2_000, 9
_TOTAL, _BATCH, _NAMESAKES = 100_000, 5_000, 50
_FORK = multiprocessing.get_context("fork")

#: Walks over the tasks of a home in the name of an agent; answers what it won, in order.
Taker = Callable[[Path, str], list[str]]


def run() -> str:
    """The tables, in Markdown. `TMPDIR` says on which disk."""
    return f"On {disk(Path(tempfile.gettempdir()))}:\n\n{speed()}\n\n{count(_TOTAL)}"


def disk(folder: Path) -> str:
    """The file system a folder lies on, in words: an `fsync` costs another thing on each."""
    found = subprocess.run(
        ["findmnt", "--noheadings", "--output", "FSTYPE,SOURCE", "--target", folder], capture_output=True, text=True
    )
    kind, _, source = found.stdout.strip().partition(" ")
    if found.returncode or kind != "ext4":
        return kind or "a file system that findmnt does not know"
    has_journal = any(Path("/proc/fs/jbd2").glob(f"{Path(source.strip()).name}-*"))
    return f"ext4 {'with' if has_journal else 'without'} a journal"


def speed() -> str:
    """Claims a second, ours and bare."""
    rows = ["| processes | claims (1/s) | bare rename + fsync (1/s) | ratio |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory(prefix="ai-employee-bench-") as folder:
        for processes in (1, PROCESSES):
            figures: dict[Taker, list[float]] = {claim: [], bare: []}
            tasks = _TASKS if processes > 1 else _TASKS // 4
            for number in range(_ROUNDS):
                for taker in (claim, bare):
                    home = _home(Path(folder) / f"{processes}-{number}-{taker.__name__}", tasks)
                    seconds, _ = contend(home, taker, processes)
                    figures[taker].append(tasks / seconds)
            ours, plain = (statistics.median(figures[taker]) for taker in (claim, bare))
            ratio = statistics.median(one / other for one, other in zip(figures[claim], figures[bare], strict=True))
            rows.append(f"| {processes} | {ours:,.0f} | {plain:,.0f} | {ratio:.2f} |")
    return "\n".join(rows)


def count(total: int) -> str:
    """Contend for `total` claims and look at each: how many doubles, overwrites, losses and lines that lack."""
    found: Counter[str] = Counter()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="ai-employee-bench-") as folder:
        for start in range(0, total, _BATCH):
            tasks = min(_BATCH, total - start)
            home = _home(Path(folder) / str(start), tasks, namesakes=_NAMESAKES)
            _, won = contend(home, claim, PROCESSES)
            found.update(judge(home, tasks, won))
    found["seconds"] = round(time.perf_counter() - begun)
    rows = [f"| {what} | {number:,} |" for what, number in found.items()]
    return "\n".join([f"| {PROCESSES} processes, both agents | |", "|---|---|", *rows])


def claim(home: Path, agent: str) -> list[str]:
    """By the real code."""
    layout = Layout(home / "vault")
    claims = Claims(layout, home / "state", SystemClock(), agent)
    return [path.stem for path in layout.files(Stage.NEEDS_ACTION) if claims.claim(path) is not None]


def bare(home: Path, agent: str) -> list[str]:
    """By `os.rename` and `fsync` of the target's folder."""
    layout, won = Layout(home / "vault"), []
    target = layout.folder(Stage.IN_PROGRESS, agent=agent)
    folder = os.open(target, os.O_RDONLY)
    for path in layout.files(Stage.NEEDS_ACTION):
        try:
            os.rename(path, target / path.name)
        except FileNotFoundError:
            continue
        os.fsync(folder)
        won.append(path.stem)
    os.close(folder)
    return won


def contend(home: Path, taker: Taker, processes: int) -> tuple[float, list[list[str]]]:
    """Let the processes loose at once; `(seconds, what each won in order)`."""
    barrier, answers = _FORK.Barrier(processes + 1), _FORK.Queue()

    def work(agent: str) -> None:
        barrier.wait()
        answers.put(taker(home, agent))

    workers = [_FORK.Process(target=work, args=(AGENTS[number % 2],)) for number in range(processes)]
    for worker in workers:
        worker.start()
    os.sync()
    barrier.wait()
    begun = time.perf_counter()
    won = [answers.get(timeout=600) for _ in workers]
    seconds = time.perf_counter() - begun
    for worker in workers:
        worker.join()
    return seconds, won


def judge(home: Path, tasks: int, won: list[list[str]]) -> dict[str, int]:
    """How many claims there were, and what went wrong: counts that must all be nought."""
    layout = Layout(home / "vault")
    wins = Counter(task for tasks_won in won for task in tasks_won)
    lying = {path: path.read_text() for stage in Stage for path in layout.files(stage)}
    lines: list[Any] = [line["task"] for line in jsonl.newest(layout.claims_log) if line["event"] == "claimed"][::-1]
    place = {task: number for number, task in enumerate(lines)}
    order = sum([place.get(task, -1) for task in one] != sorted(place.get(task, -1) for task in one) for one in won)
    return {
        "claims": wins.total(),
        "doubles": sum(number - 1 for number in wins.values()),
        "overwrites": sum(text not in (path.stem, f"{path.stem} namesake") for path, text in lying.items())
        + abs(sum(text.endswith("namesake") for text in lying.values()) - _NAMESAKES),
        "losses": abs(tasks + _NAMESAKES // 2 * 3 - len(lying)),
        "lines too few or too many": abs(len(lines) - tasks) + tasks - len(set(lines)),
        "processes whose lines are out of order": order,
        "notes left": len(list((home / "state" / "claims" / "moves").glob("m*"))),
    }


def _home(home: Path, tasks: int, namesakes: int = 0) -> Path:
    """A vault with so many tasks, each with its own name as its text, and more whose place is taken for either agent.
    Not made durable one by one."""
    layout = Layout(home / "vault")
    agents = [layout.folder(Stage.IN_PROGRESS, agent=agent) for agent in AGENTS]
    folder = layout.folder(Stage.NEEDS_ACTION, domain="email")
    for place in (folder, *agents):
        place.mkdir(parents=True)
    for number in range(tasks + namesakes // 2):
        name = f"email-20260601T100000Z-{number:08x}"
        (folder / f"{name}.md").write_text(name)
        for place in agents if number >= tasks else ():
            (place / f"{name}.md").write_text(f"{name} namesake")
    return home
