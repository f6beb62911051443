"""P5: each `GET` endpoint at 100,000 tasks and 1,000,000 log lines, beside a route of the same server that returns a
constant. The two are asked in turns over one connection, so other work on the machine meets both.

The first answers fill what is remembered of the files; they are told as *first* and are not among the others.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from benchmarks import large
from scripts.demo_gate import free_port
from utils.bootstrap import Services
from utils.settings import PROJECT_ROOT, load

TASKS, LINES = 100_000, 1_000_000
ASKED = 200
GOALS = (2.0, 5.0)
CONSTANT = "/constant"
_PATIENCE = 40.0  # seconds for all tries of an endpoint
#: Not measured: a stream that never ends, and the measure itself.
_WITHOUT = {"/api/events", CONSTANT}


@dataclass(frozen=True)
class Row:
    """What was measured of an address: times in ms, the size of its answer in bytes."""

    path: str
    first: float
    p50: float
    p99: float
    constant: tuple[float, float]
    size: int

    @property
    def ratios(self) -> tuple[float, float]:
        return self.p50 / self.constant[0], self.p99 / self.constant[1]


def run(tasks: int = TASKS, lines: int = LINES) -> str:
    """A Markdown table, the slowest first."""
    with tempfile.TemporaryDirectory(prefix="ai-employee-bench-") as folder:
        environ = _environ(Path(folder))
        node = Services(load(environ))
        node.settings.vault_path.mkdir(parents=True)
        node.ensure_ready()
        task = large.fill(node, tasks=tasks, lines=lines, now=datetime.now(UTC))
        node.close()
        with _serving(environ) as process:
            ask = _Asker(int(environ["API_PORT"]))
            rows = [_measure(ask, path) for path in _paths(ask, task)]
            before = _memory(process)
            for _ in range(5):
                for path in _paths(ask, task):
                    ask(path)
            after = _memory(process)
    return _table(rows, before, after)


def _table(rows: Sequence[Row], before: float, after: float) -> str:
    told = ["| GET | p50 (ms) | ratio | p99 (ms) | ratio | first (ms) | kB |", "|---|---|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: row.ratios[0], reverse=True):
        ratios = [
            f"**{ratio:.1f}**" if ratio > goal else f"{ratio:.1f}"
            for ratio, goal in zip(row.ratios, GOALS, strict=True)
        ]
        cells = [f"{row.p50:.1f}", ratios[0], f"{row.p99:.1f}", ratios[1], f"{row.first:.0f}", f"{row.size / 1000:.1f}"]
        told.append(f"| `{row.path}` | {' | '.join(cells)} |")
    constant = statistics.median(row.constant[0] for row in rows)
    reached = sum(all(ratio <= goal for ratio, goal in zip(row.ratios, GOALS, strict=True)) for row in rows)
    told += [
        "",
        f"The constant takes {constant:.1f} ms. {reached} of {len(rows)} reach the goal: p50 ≤ 2 ×, p99 ≤ 5 ×.",
    ]
    told.append(f"Memory of the process (PSS): {before:.0f} MiB, and {after:.0f} after five more rounds.")
    return "\n".join(told)


def _paths(ask: _Asker, task: str) -> list[str]:
    """Every `GET` address that the API describes, with ids that are there, and the pages that cost most."""
    ids = {
        "request_id": ask("/api/approvals")["items"][0]["id"],
        "task": task,
        "conflict": ask("/api/vault/conflicts")["items"][0]["id"],
    }
    described = [path for path, methods in ask("/api/openapi.json")["paths"].items() if "get" in methods]
    whole = [path.format(**ids) for path in described if path not in _WITHOUT]
    deep = quote(ask("/api/tasks?limit=500")["next_cursor"])
    more = [
        f"/api/tasks?cursor={deep}",
        "/api/tasks?stage=done&domain=email",
        "/api/tasks?q=nobody",
        f"/api/tasks?q={task}",
    ]
    return [*whole, *more, "/api/health/history?window=30d", "/api/actions?state=unknown"]


def _measure(ask: _Asker, path: str) -> Row:
    first, size = ask.timed(path)
    ours, constant = [], []
    until = time.monotonic() + _PATIENCE
    while len(ours) < ASKED and (len(ours) < 5 or time.monotonic() < until):
        constant.append(ask.timed(CONSTANT)[0])
        ours.append(ask.timed(path)[0])
    return Row(path, first, *_of(ours), _of(constant), size)


def _of(times: list[float]) -> tuple[float, float]:
    ordered = sorted(times)
    return statistics.median(ordered), ordered[math.ceil(0.99 * len(ordered)) - 1]


class _Asker:
    """Asks over one connection that stays."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def __call__(self, path: str) -> Any:
        return json.loads(self._get(path)) if path.startswith("/api") else self._get(path)

    def timed(self, path: str) -> tuple[float, int]:
        started = time.perf_counter()
        data = self._get(path)
        return (time.perf_counter() - started) * 1000, len(data)

    def _get(self, path: str) -> bytes:
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path} answered {answer.status}: {data[:300]!r}")
        return data


@contextmanager
def _serving(environ: dict[str, str]) -> Iterator[psutil.Process]:
    ours = {name: os.environ[name] for name in ("PATH", "HOME", "VIRTUAL_ENV") if name in os.environ}
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.api"], cwd=PROJECT_ROOT, env=ours | environ)
    try:
        _wait_for(lambda: http.client.HTTPConnection("127.0.0.1", int(environ["API_PORT"]), timeout=5))
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(connection: Callable[[], http.client.HTTPConnection]) -> None:
    for _ in range(600):
        try:
            one = connection()
            one.request("GET", CONSTANT)
            if one.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("the API does not answer")


def _environ(home: Path) -> dict[str, str]:
    return {
        "ENV_FILE": "",
        "AGENT_NAME": "local",
        "VAULT_PATH": str(home / "vault"),
        "STATE_DIR": str(home / "state"),
        "API_PORT": str(free_port()),
        "SYNC_SETTLE_SECONDS": "0",
    }


def _memory(process: psutil.Process) -> float:
    return float(process.memory_full_info().pss) / 2**20


def serve() -> None:
    """The API with one more route, which returns a constant."""
    from utils.daemon import Stop, install_signals
    from Watchers.api import shapes
    from Watchers.api.operation import operation
    from Watchers.api.server import Server
    from Watchers.dashboard import create_app

    services = Services.from_environment()
    app = create_app(services=services)
    app.add_url_rule(CONSTANT, "constant", operation(shapes.LIVENESS)(_constant))
    stop = Stop()
    install_signals(stop)
    try:
        Server(app, services.settings.api_host, services.settings.api_port).run(stop)
    finally:
        services.close()


def _constant() -> dict[str, str]:
    """A constant."""
    return {"status": "ok"}


if __name__ == "__main__":
    serve()
