"""Pure functions that remember their answers, for as long as many small worlds are played one after another.

A simulated history asks the same of the same few texts and paths a hundred times over, and so does the next one. What
is remembered here depends on nothing but its arguments: what a path is called, how a request reads, which ids a task's
requests have, what is odd about a text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any
from unittest import mock

from utils.core import revision, task, visible
from utils.execution import requests, store

_parse = lru_cache(4096)(requests.parse)
_request_ids = lru_cache(4096)(revision.request_ids)
_findings = lru_cache(4096)(visible.findings)
_parse_time = lru_cache(4096)(task.parse_time)


@contextmanager
def remembered() -> Iterator[None]:
    """While it lasts, they remember."""
    with ExitStack() as patches:
        for module, name, function in (
            (requests, "parse", _parse),
            (revision, "request_ids", _request_ids),
            (visible, "findings", _findings),
            (store, "parse_time", _parse_time),
        ):
            patches.enter_context(mock.patch.object(module, name, function))
        for kind, name in (
            (Path, "__new__"),
            (PurePath, "__truediv__"),
            (PurePath, "joinpath"),
            (PurePath, "with_name"),
        ):
            patches.enter_context(mock.patch.object(kind, name, _method(getattr(kind, name))))
        patches.enter_context(mock.patch.object(PurePath, "parent", property(_method(PurePath.parent.fget))))
        yield


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    """A path is the same object each time, and knows its own text."""
    return lru_cache(65536)(function)
