"""The action log, `Logs/actions/`: what was done in the outside world, and whether the log is whole.

`python -m scripts.actions verify|accept|list`. Each line is chained to its writer's line before; see docs/actions.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from utils.bootstrap import Services
from utils.core import visible
from utils.core.action_chain import Verdict
from utils.core.routing import LOCAL
from utils.settings import InvalidSettings


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point: 0 whole (or listed), 1 something is wrong with the log, 2 wrong usage or bad settings."""
    options = _parser().parse_args(argv)
    try:
        services = Services.from_environment()
    except InvalidSettings as error:
        print(f"actions: {len(error.problems)} problem(s):", *error.problems, sep="\n  - ", file=sys.stderr)
        return 2
    try:
        match options.command:
            case "verify":
                return _verify(services)
            case "accept":
                return _accept(services)
        return _list(services, options)
    except BrokenPipeError:
        sys.stderr.close()  # `| head` has what it wanted
        return 0
    except OSError as error:
        print(f"actions: {error.strerror}: {error.filename}", file=sys.stderr)
        return 1
    finally:
        services.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.actions", description="The action log: list it, or check that nobody changed it."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "verify", help="check the chain; says the first line that is broken, missing or foreign (exit 1)"
    )
    commands.add_parser("accept", help="after you have looked at what `verify` says: tell it no longer")
    listing = commands.add_parser("list", help="what was done, newest last")
    listing.add_argument("--limit", type=int, default=20, metavar="N", help="the newest N (default 20)")
    listing.add_argument("--json", action="store_true", help="the lines themselves")
    return parser


def _verify(services: Services) -> int:
    verdict = services.action_log.verify()
    print(said(verdict, is_writer=services.settings.agent_name == LOCAL))
    return 1 if verdict.problems else 0


def _accept(services: Services) -> int:
    for problem in services.action_log.accept().problems:
        print(f"accepted: {visible.escape(problem.words)}")
    return 0


def said(verdict: Verdict, *, is_writer: bool) -> str:
    """A verdict in a line. `is_writer`: this node is the one that acts, so it knows where the chain ends."""
    if verdict.problems:
        more = len(verdict.problems) - 1
        first = visible.escape(verdict.problems[0].words)
        return f"{first}{f' (and {more} more)' if more else ''}"
    counts = [f"{count} line(s) of {writer}" for writer, count in verdict.counts.items()]
    before = [f"{verdict.before} from before there was a chain"] if verdict.before else []
    text = f"the action log is whole: {', '.join([*counts, *before]) or 'nothing was done yet'}"
    return text if is_writer else f"{text}; whether lines are missing at its end only Local knows"


def _list(services: Services, options: argparse.Namespace) -> int:
    lines = services.action_log.lines()
    for line in lines[-options.limit :] if options.limit > 0 else []:
        if options.json:
            print(line.data.decode("utf-8", "replace"))
        else:
            text = _row(line.entry) if line.entry is not None else f"(can't be read: {line.where})"
            print(visible.escape(text).replace("\n", " "))
    return 0


def _row(entry: Mapping[str, Any]) -> str:
    receipt = entry.get("receipt")
    outcome = receipt.get("id") if isinstance(receipt, dict) else entry.get("error")
    number = f"{entry.get('writer')} {entry.get('seq')}" if "seq" in entry else "-"
    words = (entry.get(key) for key in ("at", "state", "action", "request", "approver"))
    return "  ".join([*(str(word) for word in words), number, str(outcome or "")]).rstrip()


if __name__ == "__main__":
    sys.exit(main())
