"""One HTTP call on connections of its own: no retries, and an answer that is bounded in time and size.

The time limit of `requests` is one between two bytes, so a server that lets them drip, headers among them, would never
be done with. Here the connection is cut when the whole answer has taken too long.
"""

from __future__ import annotations

from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager

from utils.adapters.cut_off import WHOLE, CutOff


class TooMuch(Exception):
    """The answer is too long or too slow; what it would have said nobody knows."""


class OneCall(requests.Session):
    """A session for one call, as a context manager. `timeout`: seconds that a silence may last."""

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self._watch = CutOff(timeout * WHOLE)
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(self._watch))

    def whole(self, response: requests.Response, most: int) -> bytes:
        """The body of an answer that was asked for with `stream`. Raises `TooMuch` beyond `most` bytes, or where it
        took too long; and what urllib3 raises while it is read."""
        body: bytes = response.raw.read(most + 1, decode_content=True)
        if len(body) > most or self._watch.has_cut.is_set():  # a cut may look like the end
            raise TooMuch
        return body

    def close(self) -> None:
        """Close its connections."""
        self._watch.end()
        super().close()


class _Adapter(HTTPAdapter):
    def __init__(self, watch: CutOff) -> None:
        self._watch = watch
        super().__init__(max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self._have_watched(self.poolmanager)

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **options)
        self._have_watched(manager)
        return manager

    def _have_watched(self, manager: PoolManager) -> None:
        pools: dict[str, Any] = dict(manager.pool_classes_by_scheme)
        manager.pool_classes_by_scheme = {
            scheme: type(pool.__name__, (pool,), {"ConnectionCls": _watched(pool.ConnectionCls, self._watch)})
            for scheme, pool in pools.items()
        }


def _watched(connection: Any, watch: CutOff) -> Any:
    """A class of connections whose answers are watched."""

    def getresponse(self: Any) -> Any:
        watch.begin(self.sock)
        return connection.getresponse(self)

    return type(connection.__name__, (connection,), {"getresponse": getresponse})
