"""The zones of this node: `python -m scripts.zones [status | switch ZONE | alone]`.

`status` says which zone is active and why, how the other one is doing, and what is wrong. `switch` makes a zone active
in both nodes; the machine never undoes it, unless `--no-pin` lets failover go on. `alone` is for a node that had a git
remote and is to have none any more. Exit code: 0 done, 1 something is wrong or nothing was switched, 2 bad settings or
arguments.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from utils.bootstrap import Services
from utils.core.lease import LONGEST_REASON
from utils.core.routing import ZONES
from utils.daemon import readers_may_leave, tell_problems
from utils.settings import InvalidSettings
from utils.work_zones import NotSwitched, StaleTerm, WorkZones

_SHOWN = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Do what is asked; the exit code."""
    text = __doc__ or ""
    parser = argparse.ArgumentParser(prog="python -m scripts.zones", description=text.partition("\n\n")[2])
    commands = parser.add_subparsers(dest="command")
    status = commands.add_parser("status", help="which zone is active, and why (the default)")
    status.add_argument("--json", action="store_true", help="as GET /api/zones/status")
    switch = commands.add_parser("switch", help="make a zone the active one")
    switch.add_argument("zone", choices=ZONES)
    switch.add_argument("--reason", default="", type=_reason, help="why, for the history")
    switch.add_argument("--no-pin", dest="pin", action="store_false", help="let failover go on after it")
    switch.add_argument("--expected-term", type=int, help="switch only if the term is still this one")
    commands.add_parser("alone", help="this node had a git remote and is to have none any more")
    options = parser.parse_args(argv)
    try:
        services = Services.from_environment()
    except InvalidSettings as error:
        tell_problems("zones", error.problems)
        return 2
    try:
        code = 0
        with readers_may_leave():
            code = _do(services.zones, options)
            sys.stdout.flush()
        return code
    except (NotSwitched, StaleTerm) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.strerror or error}: {error.filename} (is it this user's?)", file=sys.stderr)
        return 1
    finally:
        services.close()


def _reason(text: str) -> str:
    if len(text) > LONGEST_REASON:
        raise argparse.ArgumentTypeError(f"at most {LONGEST_REASON} characters")
    return text


def _do(zones: WorkZones, options: argparse.Namespace) -> int:
    match options.command:
        case "switch":
            return _switch(zones, options)
        case "alone":
            zones.stay_alone()
            print(f"{zones.active_zone()} is active, and asks nobody")
            return 0
    if options.command and options.json:
        print(json.dumps(zones.status(), ensure_ascii=False, indent=1))
        return 0
    return _status(zones)


def _switch(zones: WorkZones, options: argparse.Namespace) -> int:
    term = zones.standing().term
    now, previous = zones.switch(
        options.zone, reason=options.reason, by="command line", expected_term=options.expected_term, pin=options.pin
    )
    if now.term == term:
        said = f"{now.active_zone} is the active zone already: nothing was changed"
    elif now.active_zone == previous:
        said = f"{now.active_zone} stays the active zone, {'pinned' if now.pinned else 'and failover may change it'}"
    else:
        said = f"{now.active_zone} is the active zone now (before: {previous})"
    print(f"{said}, term {now.term}")
    for line in (now.waits, zones.doubt(options.zone)):
        if line:
            print(f"! {line}")
    return 0


def _status(zones: WorkZones) -> int:
    told, health = zones.status(), zones.health()["zones"]
    since = f", since {told['since']}" if told["since"] else ""
    if told["term"]:
        print(f"{told['active_zone']} is the active zone, term {told['term']}{since}: {told['reason']}")
    elif zones.is_alone():
        print(f"{told['active_zone']} is the active zone: {told['reason']}")
    else:
        print(
            f"no zone is active: {told['reason']}; {told['active_zone']} (initial_holder in zones.json) takes it first"
        )
    pinned = ", chosen by a person: no automatic change" if told["pinned"] else ""
    print(f"this node, {told['this_zone']}, is {told['state']}{pinned}")
    trouble = zones.trouble()
    if told["waits"] and not any(line.startswith(told["waits"]) for line in trouble):
        print(f"! {told['waits']}")
    fails = False
    if not zones.is_alone():
        other = next(zone for zone in ZONES if zone != told["this_zone"])
        seen = health[other]
        words = {True: "well", False: "failing", None: "unknown"}[seen["healthy"]]
        fails = seen["healthy"] is False
        why = f": {seen['error']}" if seen["error"] else ""
        print(f"{'! ' if fails else ''}{other} is {words} (by {seen['method']}){why}")
    for entry in told["history"][:_SHOWN]:
        print(f"  {entry['at']}  term {entry['term']}: {entry['to']} ({entry['reason']})")
    for line in trouble:
        print(f"! {line}")
    return 1 if trouble or fails else 0


if __name__ == "__main__":
    sys.exit(main())
