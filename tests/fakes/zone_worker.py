"""A process of a node that does work of the active zone, a little at a time: `python -m tests.fakes.zone_worker FILE`.

Appends `[time, term]` for each unit that it was let do: the machine's clock, read before it asked, and the term.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from utils.bootstrap import Services


def main() -> None:
    """Work until killed."""
    zones = Services.from_environment().zones
    with Path(sys.argv[1]).open("a") as file:
        while True:
            at = time.clock_gettime(time.CLOCK_BOOTTIME)
            with zones.at_work("email_processing") as ours:
                if ours:
                    file.write(json.dumps([at, zones.standing().term]) + "\n")
                    file.flush()
            time.sleep(0.05)


if __name__ == "__main__":
    main()
