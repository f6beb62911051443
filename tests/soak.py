"""Histories without end: `python -m tests.soak [--histories 10000] [--lease 100000] [--seed N] [--minutes M]`.

`make soak` plays the histories of sync (`tests.histories`), then schedules of the zone lease (`tests.zone_world`), from
a random seed, which it prints. A history that fails is printed as the calls that made it, with the seed of its batch, a
schedule with its own; Ctrl-C prints what was done so far. Exits 1 where one failed. `LEASE_RACES=1000 python -m pytest
tests/test_git_lease.py -k take_over` races for the lease on a real remote.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests import zone_world
from tests.histories import COUNTS, FAILED, History

BATCH = 25
SCHEDULES = 500  # a batch of them
ROUNDS = 6


def play(number: int, histories: int, *, shrink: bool = False) -> None:
    """Play histories from the seed `number`. Raises what the first failing one raised, with the calls as its notes."""

    @seed(number)
    class Seeded(History):
        pass

    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
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


def play_schedules(first: int, count: int) -> tuple[int, str] | None:
    """Play lease schedules of the seeds from `first` on; the seed of one that failed and why, or None."""
    for number in range(first, first + count):
        try:
            zone_world.play(number)
        except zone_world.Broken as broken:
            return number, str(broken)
    return None


def soak_lease(first: int, count: int, until: float | None) -> int:
    """Play `count` lease schedules on all processors; 1 where one failed."""
    batches = range(first, first + count, SCHEDULES)
    done = 0
    with ProcessPoolExecutor() as pool:
        sizes = [min(SCHEDULES, first + count - batch) for batch in batches]
        for failed, size in zip(pool.map(play_schedules, batches, sizes), sizes, strict=True):
            done += size
            if failed is not None:
                pool.shutdown(cancel_futures=True)
                print(f"\nFAILED: lease schedule {failed[0]}: {failed[1]}")
                print(f"again: python -m tests.soak --histories 0 --lease 1 --seed {failed[0]}")
                return 1
            print(f"\rlease schedules {done:,} ", end="" if sys.stdout.isatty() else "\n", flush=True)
            if until is not None and time.monotonic() > until:
                pool.shutdown(cancel_futures=True)
                break
    print(f"\nno lease schedule broke a promise: {done:,}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Play until there is enough; 1 where a history failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--histories", type=int, default=10_000, help="how many (default: %(default)s)")
    parser.add_argument("--lease", type=int, default=100_000, help="how many lease schedules (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="play these again (default: a random one)")
    parser.add_argument("--minutes", type=float, default=None, help="stop after so long")
    parser.add_argument("--shrink", action="store_true", help="make a failing history small first (minutes)")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)  # what syncs say is not the news here
    first = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    started = time.monotonic()
    until = started + options.minutes * 60 if options.minutes else None
    print(f"seed {first}", flush=True)
    batch = first
    try:
        while COUNTS.histories < options.histories and (until is None or time.monotonic() < until):
            play(batch, min(BATCH, options.histories - COUNTS.histories), shrink=options.shrink)
            print(f"\r{said(started)} ", end="" if sys.stdout.isatty() else "\n", flush=True)
            batch += 1
    except KeyboardInterrupt:
        print(f"\nstopped: {said(started)}")
        return 0
    except Exception as error:
        told = "\n".join(FAILED) or f"{type(error).__name__}: {error}"
        print(f"\nFAILED: {told}\n\n{said(started)}")
        print(f"again: python -m tests.soak --seed {batch} --histories {BATCH} --lease 0")
        return 1
    print(f"\nall held: {said(started)}")
    return soak_lease(first, options.lease, until) if options.lease else 0


if __name__ == "__main__":
    sys.exit(main())
