"""One sync of the vault (`VAULT_PATH`) as this node (`AGENT_NAME`); needs no server running.

Exit code: 0 synced (also where nothing was to do, or a conflict was kept aside), 3 the remote can't be reached, 1 an
error that a person must look at, 2 bad settings.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from collections.abc import Sequence

from utils.bootstrap import Services
from utils.daemon import tell_problems
from utils.ports import AdapterError
from utils.settings import InvalidSettings
from utils.sync.housekeeping import TIME_LIMIT
from utils.vault.skeleton import VaultProblem
from utils.vault_sync import Answers

HOUSEKEEPING = "housekeeping:"
EXIT_CODES = {"noop": 0, "ok": 0, "conflicts": 0, "offline": 3, "error": 1}


def show_progress() -> None:
    """Print to stderr what the sync waits for."""
    logger = logging.getLogger("utils.vault_sync.progress")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(logging.StreamHandler())
    logger.propagate = False


def answers(options: argparse.Namespace) -> Answers:
    """What a command line says to the question of an earlier sync."""
    return Answers(options.allow_deletions, options.accept_remote, options.accept_own, tuple(options.push_secret))


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.sync", description="Sync the vault once.")
    parser.add_argument("--json", action="store_true", help="print the whole result as one JSON object")
    parser.add_argument("--allow-deletions", action="store_true", help="let a mass deletion pass, this once")
    parser.add_argument(
        "--accept-remote", action="store_true", help="merge with a remote that was rolled back or replaced, this once"
    )
    parser.add_argument(
        "--accept-own",
        metavar="COMMIT",
        default="",
        help="after a restore from a backup: this commit of the remote, and what it contains, is this node's own work",
    )
    parser.add_argument(
        "--push-secret",
        metavar="COMMIT",
        default=[],
        action="append",
        help="push this commit and those before it, although one seems to hold a secret (a false alarm, or revoked)",
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="for a damaged repository: keep it aside, take the history anew from the remote, keep every note",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Sync once and say in one line what happened, with a line for each conflict and refusal; the exit code."""
    options = arguments().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # git's children end with us
    show_progress()
    try:
        services = Services.from_environment()
    except InvalidSettings as error:
        tell_problems("sync", error.problems)
        return 2
    try:
        if options.repair:
            result = services.sync.repair()
        else:
            services.ensure_ready()
            result = services.sync.run(answers(options), wait=True)
        if options.json:
            print(json.dumps(result.to_dict(), ensure_ascii=False), flush=True)
        else:
            print(result.summary(), *result.details(), sep="\n  ", flush=True)
        if result.result != "error":
            keep_house(services)
    except KeyboardInterrupt:
        print("stopped; nothing is lost, the next sync goes on", file=sys.stderr)
        return 130
    except (VaultProblem, AdapterError, OSError) as error:
        return _failed(str(error), as_json=options.json)
    except Exception as error:
        logging.getLogger(__name__).exception("a defect of this program")
        return _failed(f"a defect of this program ({type(error).__name__}: {error})", as_json=options.json)
    finally:
        services.close()
    return EXIT_CODES[result.result]


def _failed(reason: str, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"result": "error", "error": reason}, ensure_ascii=False))
    else:
        print(f"error: {reason}", file=sys.stderr)
    return EXIT_CODES["error"]


def keep_house(services: Services) -> None:
    """Do what housekeeping is due and say so on stderr. The sync is over, and another may run meanwhile."""
    due = services.housekeeping.due()
    if due:
        print(f"{HOUSEKEEPING} {due} (up to {TIME_LIMIT:g} s; it can be interrupted) …", file=sys.stderr, flush=True)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that git is ended with us
    done = services.housekeeping.run()
    if done:
        print(f"{HOUSEKEEPING} {done}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
