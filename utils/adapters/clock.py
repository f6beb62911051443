"""The system's clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime

#: Goes on while the machine sleeps, where the system has it (Linux); else the ordinary monotonic clock.
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """Wall clock in UTC and boot-time clock in seconds."""

    def now(self) -> datetime:
        """The time as aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        return time.clock_gettime(_BOOT_CLOCK)
