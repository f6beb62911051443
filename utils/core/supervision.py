"""When a fallen child process is started again, and when not. Pure: times in seconds of a monotonic clock come in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RestartPolicy:
    """`first` seconds after a fall, doubled for each fall within `window` seconds up to `longest`; given up at
    `falls` within the window."""

    first: float = 1.0
    longest: float = 60.0
    falls: int = 8
    window: float = 600.0


def after_fall(falls: tuple[float, ...], now: float, policy: RestartPolicy) -> tuple[tuple[float, ...], float | None]:
    """`(falls within the window, this one included; seconds until the restart, or None to give up)`."""
    recent = (*(at for at in falls if now - at < policy.window), now)
    if len(recent) >= policy.falls:
        return recent, None
    return recent, min(policy.first * 2 ** (len(recent) - 1), policy.longest)
