"""What every test may use: a node of its own in a temporary folder, and a clock that stands still until it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings

from utils.bootstrap import Services
from utils.settings import load

settings.register_profile("untimed", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("untimed")


class FakeClock:
    """A clock that a test moves. Starts at noon, 1 June 2026."""

    def __init__(self) -> None:
        self._now = datetime(2026, 6, 1, 12, tzinfo=UTC)
        self._monotonic = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[Callable[..., Services]]:
    """`make_node("local", SETTING=value, …)`: services of a node with its own vault folder and state, settings from
    here alone. The vault is set up (a git repository without a remote) unless `ready=False`."""
    nodes: list[Services] = []

    def make(name: str = "local", *, ready: bool = True, clock: FakeClock | None = None, **settings: str) -> Services:
        home = tmp_path / name
        environ = {
            "ENV_FILE": "",
            "AGENT_NAME": name,
            "AGENT_MODE": "full" if name == "local" else "draft_only",
            "VAULT_PATH": str(home / "vault"),
            "STATE_DIR": str(home / "state"),
            "SYNC_SETTLE_SECONDS": "0",
            "UNDO_SECONDS": "0",
            **settings,
        }
        services = Services(load(environ))
        if clock is not None:
            services.clock = clock
        if ready:
            services.settings.vault_path.mkdir(parents=True, exist_ok=True)
            services.ensure_ready()
        nodes.append(services)
        return services

    yield make
    for node in nodes:
        node.close()
