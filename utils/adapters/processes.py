"""Child processes that can't outlive us: each holds the reading end of a pipe whose writing end only we have."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

#: The name under which a child finds its end of the pipe; `utils.daemon` reads it.
SUPERVISOR_FD = "AI_EMPLOYEE_SUPERVISOR_FD"
#: What systemd says to this very process (sd_notify(3), sd_watchdog_enabled(3)); a child has nothing to tell it.
_OF_SYSTEMD = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")


class Processes:
    """Starts children that leave by themselves when this process is gone, however that happened."""

    def __init__(self, cwd: Path) -> None:
        self._cwd = cwd
        self._reader, self._writer = os.pipe()

    def spawn(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start `command` in the project's folder, with our environment and output. Raises `OSError`.

        A Ctrl-C at the terminal is for us alone: a child that still loads knows nothing better than a traceback.
        """
        environ = {name: value for name, value in os.environ.items() if name not in _OF_SYSTEMD}
        environ[SUPERVISOR_FD] = str(self._reader)
        return subprocess.Popen(
            list(command),
            cwd=self._cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            pass_fds=(self._reader,),
            process_group=0,
        )

    def close(self) -> None:
        """Close the pipe: children that still run take it as our end."""
        for descriptor in (self._reader, self._writer):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def run_to_end(
    command: Sequence[str], *, cwd: Path, timeout: float, stopped: Callable[[], bool]
) -> tuple[int | None, str]:
    """Run `command` and return `(exit code, output)`; the code is None where it was ended because `timeout` seconds
    had passed or `stopped()` became true (asked within half a second). What it started itself ends with it."""
    process = subprocess.Popen(
        list(command),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    deadline = time.monotonic() + timeout
    while True:
        try:
            output, _ = process.communicate(timeout=0.5)
            return process.returncode, output.decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            if stopped() or time.monotonic() >= deadline:
                return None, _end(process)
        except KeyboardInterrupt:  # its session is not the terminal's
            _end(process)
            raise


def _end(process: subprocess.Popen[bytes]) -> str:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            output, _ = process.communicate(timeout=2)
            return output.decode("utf-8", "replace")
    return ""
