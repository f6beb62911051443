"""Failover with real processes: two nodes with their APIs on two addresses, the remote and the wires between them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.servers import eventually, free_port, git_http
from tests.wires import Wire
from utils.bootstrap import Services
from utils.settings import PROJECT_ROOT

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

#: As in production, a minute being a second.
FAILOVER = {
    "enabled": True, "threshold": 3, "interval_seconds": 1, "renew_seconds": 1, "ttl_seconds": 8, "margin_seconds": 1,
    "failback": False, "most_switches": 9, "window_seconds": 3600,
}  # fmt: skip
PATIENCE = 60.0


class Node:
    """The processes of one node: scheduler, API, and a worker that notes in which term it was let work."""

    def __init__(self, name: str, folder: Path, address: str, remote: str, zones: Path) -> None:
        self.name, self.folder = name, folder
        self.address = address
        self.port = free_port()
        self.environ = {
            **{key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")},
            "ENV_FILE": "",
            "AGENT_NAME": name,
            "AGENT_MODE": "full" if name == "local" else "draft_only",
            "VAULT_PATH": str(folder / "vault"),
            "STATE_DIR": str(folder / "state"),
            "SYNC_SETTLE_SECONDS": "0",
            "VAULT_REMOTE_URL": remote,
            "ZONES_FILE": str(zones),
            "API_HOST": address,
            "API_PORT": str(self.port),
            "HEALTH_TIMEOUT_SECONDS": "1",
        }
        self.work = folder / "work"
        self.processes: list[subprocess.Popen[bytes]] = []
        (folder / "vault").mkdir(parents=True)
        node = Services.from_environment(self.environ)
        node.ensure_ready()
        node.close()

    def start(self) -> None:
        for arguments in (["Watchers.scheduler"], ["Watchers.dashboard"], ["tests.fakes.zone_worker", str(self.work)]):
            with (self.folder / "log").open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", *arguments], cwd=PROJECT_ROOT, env=self.environ, stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
            self.processes.append(process)

    def signal(self, number: int) -> None:
        for process in self.processes:
            os.killpg(process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        for process in self.processes:
            process.wait(30)
        self.processes.clear()

    def ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = requests.request(method, f"http://{self.address}:{self.port}/api/zones/{path}", timeout=90, **options)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def status(self) -> tuple[str, str, int]:
        """Our state, the active zone, and the term, as the API says."""
        told = self.ask("GET", "status")
        return told["state"], told["active_zone"], told["term"]

    def becomes(self, state: str, active: str) -> None:
        last: list[Any] = []

        def seen() -> bool:
            time.sleep(0.2)
            try:
                last[:] = [self.status()]
            except requests.RequestException as error:
                last[:] = [error]
                return False
            return last[0][:2] == (state, active)

        try:
            eventually(seen, what=f"{self.name}: {state}, {active} active", deadline=PATIENCE)
        except AssertionError as error:
            raise AssertionError(
                f"{error}; last: {last}; its log:\n{(self.folder / 'log').read_text()[-4000:]}"
            ) from None

    def units(self) -> list[tuple[float, int, str]]:
        """When it was let work, and in which term."""
        lines = self.work.read_text().splitlines()
        return [(*json.loads(line), self.name) for line in lines]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[Node, Node, Callable[[str], None], Callable[[], None]]]:
    """Local, Cloud, `cut(name)` (everything between that node and the world) and `mend()`."""
    remotes = tmp_path / "remotes"
    remotes.mkdir()
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(remotes / "vault.git")], check=True)
    subprocess.run(["git", "-C", str(remotes / "vault.git"), "config", "http.receivepack", "true"], check=True)
    zones = tmp_path / "zones.json"
    zones.write_text(json.dumps(json.loads((PROJECT_ROOT / "zones.json").read_text()) | {"failover": FAILOVER}))
    with git_http(remotes) as server:
        wires = {name: Wire(("127.0.0.1", server.port)) for name in ("local", "cloud")}
        urls = {
            name: server.url("vault.git").replace(f":{server.port}/", f":{wire.port}/") for name, wire in wires.items()
        }
        started: list[Node] = []
        try:
            local = Node("local", tmp_path / "local", "127.0.0.1", urls["local"], zones)
            cloud = Node("cloud", tmp_path / "cloud", "127.0.0.2", urls["cloud"], zones)
            started += [local, cloud]
            wires["api"] = Wire((cloud.address, cloud.port))
            local.environ["CLOUD_API_URL"] = f"http://127.0.0.1:{wires['api'].port}"

            def cut(name: str) -> None:
                for wire in (wires[name], wires["api"]):
                    wire.cut()

            def mend() -> None:
                for wire in wires.values():
                    wire.mend()

            yield local, cloud, cut, mend
        finally:
            for node in started:
                node.kill()
            for wire in wires.values():
                wire.close()


def test_one_zone_works_through_partition_freeze_kill_and_a_humans_switch(
    nodes: tuple[Node, Node, Callable[[str], None], Callable[[], None]],
) -> None:
    local, cloud, cut, mend = nodes
    cloud.start()
    cloud.becomes("active", "cloud")
    local.start()
    local.becomes("passive", "cloud")

    cut("cloud")
    local.becomes("active", "local")
    assert cloud.status()[:2] == ("unsure", "cloud"), "it can't know of the other's term, and does nothing"
    mend()
    cloud.becomes("passive", "local")

    local.signal(signal.SIGSTOP)
    cloud.becomes("active", "cloud")
    local.signal(signal.SIGCONT)
    local.becomes("passive", "cloud")

    cloud.kill()
    local.becomes("active", "local")
    cloud.start()
    cloud.becomes("passive", "local")

    answer = cloud.ask("POST", "switch", data='{"zone":"cloud"}')  # as curl -d sends it, without a content type
    assert (answer["active_zone"], answer["previous"]) == ("cloud", "local")
    cloud.becomes("active", "cloud")
    local.becomes("pinned", "cloud")

    told = [(entry["to"], entry["by"]) for entry in local.ask("GET", "status")["history"]]
    assert (told[0], told[-1]) == (("cloud", "human"), ("cloud", "start"))
    assert len(told) >= 5 and {by for _, by in told[1:-1]} == {"failover"}
    units = sorted(local.units() + cloud.units())
    by_term = {term: {zone for _, other, zone in units if other == term} for _, term, _ in units}
    assert all(len(zones) == 1 for zones in by_term.values()), by_term
    assert len(by_term) >= 5
    terms = [term for _, term, _ in units]
    assert terms == sorted(terms), "a zone worked after the next term had begun to work"
