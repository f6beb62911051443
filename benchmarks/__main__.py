"""Run the benchmarks and print their tables (Markdown)."""

from __future__ import annotations

import argparse
import platform
import sys

from benchmarks import end_to_end, memory, secrets, sync

BENCHMARKS = {
    "memory": memory.run,
    "end_to_end": end_to_end.run,
    "sync": sync.run,
    "secrets": secrets.run,
}


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones (default: all): {', '.join(BENCHMARKS)}")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"unknown benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}\n", flush=True)
    for name in options.names or BENCHMARKS:
        print(f"## {name}\n\n{BENCHMARKS[name]()}\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
