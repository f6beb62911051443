"""Histories without end: `python -m tests.soak [--histories 10000] [--seed N] [--minutes M]` (`make soak`).

Plays the histories of `tests.histories` from a random seed, which it prints. One that fails is printed as the calls
that made it, with the seed of its batch; Ctrl-C prints what was done so far. Exits 1 where one failed.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from dataclasses import asdict

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.histories import COUNTS, FAILED, History

BATCH = 25
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


def main(arguments: list[str] | None = None) -> int:
    """Play until there is enough; 1 where a history failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--histories", type=int, default=10_000, help="how many (default: %(default)s)")
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
        print(f"again: python -m tests.soak --seed {batch} --histories {BATCH}")
        return 1
    print(f"\nall held: {said(started)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
