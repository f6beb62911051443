"""Whether the time of a file or folder tells of every change from now on."""

from __future__ import annotations

_TICK = 2_000_000_000  # ns; on no file system do two changes further apart bear the same time


def is_settled(changed: int, now: int) -> bool:
    """Whether what changed at `changed` bears another time after its next change, which comes at `now` or later; both
    in nanoseconds since 1970. Asked before it is read. What was changed in the future never is."""
    return now - changed > _TICK
