"""What a cycle did, counted, and what kept single requests from being handled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

log = logging.getLogger(__name__)

#: What a cycle says that did nothing.
IDLE = "idle"

#: A way to try one thing of many: its trouble must not stop the others.
Trying = Callable[[str], AbstractContextManager[None]]


class ExecutionProblem(RuntimeError):
    """Some requests could not be handled for reasons of this machine; the others were."""


class Counts:
    """Counts in the order in which things happened first; says so as "sent 1, failed 2"."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._counted: set[tuple[str, str]] = set()
        self._problems: list[str] = []

    @contextmanager
    def trying(self, what: str) -> Iterator[None]:
        """One request's trouble must not stop the others."""
        try:
            yield
        except Exception as error:
            log.exception("%s could not be handled", what)
            self._problems.append(f"{what}: {type(error).__name__}: {error}")

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be handled, and why."""
        return tuple(self._problems)

    def raise_problems(self) -> None:
        """Raise `ExecutionProblem` if there was any trouble."""
        if self._problems:
            raise ExecutionProblem(f"{self}; not handled: {'; '.join(self._problems)}")

    def add(self, what: str, key: str | None = None) -> None:
        """Count one; what has a key counts once a cycle."""
        if key is None or (what, key) not in self._counted:
            self._numbers[what] = self._numbers.get(what, 0) + 1
        if key is not None:
            self._counted.add((what, key))

    def __bool__(self) -> bool:
        return bool(self._numbers)

    def __str__(self) -> str:
        return ", ".join(f"{what} {number}" for what, number in self._numbers.items()) or IDLE
