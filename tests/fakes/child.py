"""A child process for tests of the orchestrator: `python -m tests.fakes.child MODE FILE`.

Writes its pid to FILE (one line a start) and then, by MODE: `stay`s until told to leave, ends with exit code 3
(`crash`), or stays and ignores SIGTERM (`stubborn`).
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from utils.daemon import Stop, install_signals


def main() -> int:
    mode, file = sys.argv[1], Path(sys.argv[2])
    stop = Stop()
    install_signals(stop)
    with file.open("a") as out:
        out.write(f"{os.getpid()}\n")
    if mode == "crash":
        return 3
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while not stop():
        stop.wait(60)
    return 0


if __name__ == "__main__":
    sys.exit(main())
