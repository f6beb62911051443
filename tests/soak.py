"""Proofs without end: `python -m tests.soak [--histories N] [--lease N] [--executions N] [--attempts N] [--kills N]`.

`make soak` plays the histories of sync (`tests.histories`), schedules of the zone lease (`tests.zone_world`), random
executions (`tests.acting_world`) and attempts to act without an approval (`tests.attempts`), from a random seed, which
it prints; where some are named, these alone. `--kills` kills the real processes by strace (`tests.kills`). What fails
is printed with what made it and how to play it again; Ctrl-C prints what was done so far. Exits 1 where one failed.
`LEASE_RACES=1000 python -m pytest tests/test_git_lease.py -k take_over` races for the lease on a real remote.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from unittest import mock

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.internal.conjecture import providers
from hypothesis.stateful import run_state_machine_as_test

from tests import acting_counts, acting_world, attempts, kills, zone_world
from tests.acting_ground import Broken, laid
from tests.histories import COUNTS, FAILED, History

BATCH = 25
ROUNDS = 6
#: What is played where nothing is named; kills need strace and are played on demand.
USUAL = {"histories": 10_000, "lease": 100_000, "executions": 1_000_000, "attempts": 100_000, "kills": 0}

#: What a batch answers: its counts, and the one that failed with the reason.
Played = tuple[Counter[str], tuple[int, str] | None]


def play(number: int, histories: int, *, shrink: bool = False) -> None:
    """Play histories from the seed `number`. Raises what the first failing one raised, with the calls as its notes.

    hypothesis also draws constants that it finds in the code that is tested, so that each change of a module would make
    other histories of a seed. Here none are found.
    """

    @seed(number)
    class Seeded(History):
        pass

    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    with mock.patch.object(providers, "is_local_module_file", return_value=False):
        run_state_machine_as_test(
            Seeded,
            settings=settings(
                max_examples=histories,
                stateful_step_count=ROUNDS,
                phases=phases,
                deadline=None,
                database=None,
                print_blob=False,
                suppress_health_check=list(HealthCheck),
            ),
        )


def said(started: float) -> str:
    """The counts so far, in one line."""
    done = ", ".join(f"{name} {count:,}" for name, count in asdict(COUNTS).items())
    return f"{done}, elapsed {time.monotonic() - started:,.0f} s"


def soak_histories(first: int, count: int, until: float | None, *, shrink: bool) -> int:
    """Play histories of sync; 1 where one failed."""
    started, batch = time.monotonic(), first
    try:
        while COUNTS.histories < count and (until is None or time.monotonic() < until):
            play(batch, min(BATCH, count - COUNTS.histories), shrink=shrink)
            print(f"\r{said(started)} ", end="" if sys.stdout.isatty() else "\n", flush=True)
            batch += 1
    except Exception as error:
        told = "\n".join(FAILED) or f"{type(error).__name__}: {error}"
        print(f"\nFAILED: {told}\n\n{said(started)}")
        print(f"again: python -m tests.soak --seed {batch} --histories {BATCH}")
        return 1
    print(f"\nall held: {said(started)}")
    return 0


def play_schedules(first: int, count: int) -> Played:
    """Play lease schedules of the seeds from `first` on."""
    for number in range(first, first + count):
        try:
            zone_world.play(number)
        except zone_world.Broken as broken:
            return Counter(), (number, str(broken))
    return Counter(schedules=count), None


def play_executions(first: int, count: int) -> Played:
    """Play executions of the seeds from `first` on."""
    counts = acting_counts.Counts()
    with laid() as ground:
        for number in range(first, first + count):
            try:
                counts.add(acting_world.play(ground, number))
            except Broken as broken:
                return Counter(asdict(counts)), (number, str(broken))
    return Counter(asdict(counts)), None


def make_attempts(first: int, count: int) -> Played:
    """Make the attempts of these numbers."""
    counts: Counter[str] = Counter()
    with laid() as ground:
        for number in range(first, first + count):
            try:
                counts[attempts.attempt(ground, number)] += 1
            except Broken as broken:
                return counts, (number, str(broken))
    return counts, None


def kill_processes(first: int, count: int) -> Played:
    """Kill the real processes by the kills of these numbers."""
    with kills.office() as office:
        points = office.points()
        for number in range(first, first + count):
            try:
                office.play(kills.numbered(points, number))
            except AssertionError as error:
                return office.ends, (number, str(error))
        return office.ends + Counter(killed=office.killed), None


#: How what is named is played: by which batches, of what size, and from where on (None: from the seed).
BATCHES: dict[str, tuple[Callable[[int, int], Played], int, int | None]] = {
    "lease": (play_schedules, 500, None),
    "executions": (play_executions, 500, None),
    "attempts": (make_attempts, 1_000, 0),
    "kills": (kill_processes, 50, 0),
}


def soak(
    name: str,
    batch: Callable[[int, int], Played],
    first: int,
    count: int,
    size: int,
    until: float | None,
    processes: int | None,
) -> int:
    """Play batches of `size` in so many processes (None: one a processor), `count` in all; 1 where one failed."""
    started, done = time.monotonic(), Counter[str]()
    starts = range(first, first + count, size)
    with ProcessPoolExecutor(processes) as pool:
        sizes = [min(size, first + count - start) for start in starts]
        for counts, failed in pool.map(batch, starts, sizes):
            done += counts
            elapsed = time.monotonic() - started
            words = ", ".join(f"{word} {number:,}" for word, number in done.items())
            print(f"\r{words}, elapsed {elapsed:,.0f} s ", end="" if sys.stdout.isatty() else "\n", flush=True)
            if failed is not None:
                pool.shutdown(cancel_futures=True)
                print(f"\nFAILED: {name} {failed[0]}: {failed[1]}")
                print(f"again: python -m tests.soak --{name} 1 --seed {failed[0]}")
                return 1
            if until is not None and time.monotonic() > until:
                pool.shutdown(cancel_futures=True)
                break
    print(f"\nall held: {name}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Play until there is enough; 1 where something failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").split("\n\n")[0])
    for name, usual in USUAL.items():
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"how many (where nothing is named: {usual:,})")
    parser.add_argument("--seed", type=int, default=None, help="play these again (default: a random one)")
    parser.add_argument("--minutes", type=float, default=None, help="stop after so long, shared by all that is played")
    parser.add_argument("--processes", type=int, default=None, help="that play at once (default: one a processor)")
    parser.add_argument("--shrink", action="store_true", help="make a failing history of sync small first (minutes)")
    options = parser.parse_args(arguments)
    named = {name: getattr(options, name) or 0 for name in USUAL}
    counts = {name: count for name, count in (named if any(named.values()) else USUAL).items() if count}
    logging.disable(logging.CRITICAL)  # what is said on the way is not the news here
    first = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    print(f"seed {first}", flush=True)
    failed = 0
    try:
        for name, count in counts.items():
            until = time.monotonic() + options.minutes * 60 / len(counts) if options.minutes else None
            if name == "histories":
                failed |= soak_histories(first, count, until, shrink=options.shrink)
            else:
                batch, size, start = BATCHES[name]
                start = first if start is None else options.seed or start
                failed |= soak(name, batch, start, count, size, until, options.processes)
    except KeyboardInterrupt:
        print("\nstopped")
    return failed


if __name__ == "__main__":
    sys.exit(main())
