"""Run the benchmarks and print their tables (Markdown)."""

from __future__ import annotations

import argparse
import platform
import sys

from benchmarks import api, approval, claims, dashboard, end_to_end, memory, secrets, sync, year

BENCHMARKS = {
    "memory": memory.run,
    "end_to_end": end_to_end.run,
    "approval": approval.run,
    "sync": sync.run,
    "claims": claims.run,
    "secrets": secrets.run,
    "api": api.run,
    "dashboard": dashboard.run,
}


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    known = ", ".join([*BENCHMARKS, "year"])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones (default: all but year): {known}")
    of_year = parser.add_argument_group("year", "takes a quarter of an hour, so it runs only where it is named")
    of_year.add_argument("--days", type=int, default=365, help="how many days (default: 365)")
    of_year.add_argument("--mails", type=int, default=200, help="mails a day (default: 200)")
    of_year.add_argument("--done-days", type=int, default=7, help="as DONE_KEEP_DAYS; 0: no housekeeping of the vault")
    of_year.add_argument("--keep", metavar="FOLDER", help="work there and leave everything")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS) - {"year"}
    if unknown:
        parser.error(f"unknown benchmark {', '.join(sorted(unknown))}; there are {known}")
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}\n", flush=True)
    for name in options.names or BENCHMARKS:
        table = year.run(options.days, options.mails, options.done_days, options.keep) if name == "year" else None
        print(f"## {name}\n\n{table or BENCHMARKS[name]()}\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
