"""Failover with real processes: two nodes with their APIs, the remote and the wires between them.

Once on two addresses of this machine with wires that a test cuts, once in two network namespaces whose links go down.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests

from tests.namespaces import Namespaces
from tests.servers import GitHttp, eventually, free_port, git_http
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
TOKEN = "t" * 40
T = TypeVar("T")


class Loopback:
    """Two addresses of this machine; a wire to the remote for each node, and one to the Cloud's API."""

    def __init__(self, server: GitHttp) -> None:
        self._wires = {name: Wire(("127.0.0.1", server.port)) for name in ("local", "cloud")}
        self._remote = server.url("vault.git"), server.port

    def address(self, name: str) -> str:
        return {"local": "127.0.0.1", "cloud": "127.0.0.2"}[name]

    def remote(self, name: str) -> str:
        url, port = self._remote
        return url.replace(f":{port}/", f":{self._wires[name].port}/")

    def api(self, cloud: Node) -> str:
        self._wires["api"] = Wire((cloud.address, cloud.port))
        return f"http://127.0.0.1:{self._wires['api'].port}"

    def inside(self, name: str) -> list[str]:
        return []

    def ask(self, name: str, question: Callable[[], T]) -> T:
        return question()

    def cut(self, name: str) -> None:
        """Everything between that node and the world."""
        for wire in (self._wires[name], self._wires["api"]):
            wire.cut()

    def mend(self) -> None:
        for wire in self._wires.values():
            wire.mend()

    def close(self) -> None:
        for wire in self._wires.values():
            wire.close()


class TwoNamespaces(Namespaces):
    """A network namespace for each node, the remote on a bridge between them."""

    def __init__(self, server: GitHttp) -> None:
        super().__init__("local", "cloud")
        self._wire = Wire(("127.0.0.1", server.port), host=self.here)
        self._url = server.url("vault.git").replace(f"127.0.0.1:{server.port}/", f"{self.here}:{self._wire.port}/")

    def remote(self, name: str) -> str:
        return self._url

    def api(self, cloud: Node) -> str:
        return f"http://{cloud.address}:{cloud.port}"

    def close(self) -> None:
        if hasattr(self, "_wire"):
            self._wire.close()
        super().close()


class Node:
    """The processes of one node: scheduler, API, and a worker that notes in which term it was let work."""

    def __init__(self, name: str, folder: Path, net: Loopback | TwoNamespaces, zones: Path) -> None:
        self.name, self.folder, self._net = name, folder, net
        self.address = net.address(name)
        self.port = free_port()
        self.environ = {
            **{key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")},
            "ENV_FILE": "",
            "AGENT_NAME": name,
            "AGENT_MODE": "full" if name == "local" else "draft_only",
            "VAULT_PATH": str(folder / "vault"),
            "STATE_DIR": str(folder / "state"),
            "SYNC_SETTLE_SECONDS": "0",
            "VAULT_REMOTE_URL": net.remote(name),
            "ZONES_FILE": str(zones),
            "API_HOST": self.address,
            "API_PORT": str(self.port),
            "API_TOKEN": TOKEN,
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
                    [*self._net.inside(self.name), sys.executable, "-m", *arguments], cwd=PROJECT_ROOT,
                    env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
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
        """Asked again, as a person does, where the remote was too slow for one answer."""
        url, headers = f"http://{self.address}:{self.port}/api/zones/{path}", {"Authorization": f"Bearer {TOKEN}"}
        answers: list[requests.Response] = []

        def answered() -> bool:
            question = partial(requests.request, method, url, headers=headers, timeout=90, **options)
            answers[:] = [self._net.ask(self.name, question)]
            return answers[0].status_code != 503

        eventually(answered, what=f"an answer of {self.name}", deadline=PATIENCE)
        assert answers[0].status_code == 200, answers[0].text
        told: dict[str, Any] = answers[0].json()
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


@pytest.fixture(params=[Loopback, TwoNamespaces])
def net(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Loopback | TwoNamespaces]:
    """The world between the nodes, with the vault's remote in it."""
    if request.param is TwoNamespaces and (why := Namespaces.why_not()):
        pytest.skip(why)
    remotes = tmp_path / "remotes"
    remotes.mkdir()
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(remotes / "vault.git")], check=True)
    subprocess.run(["git", "-C", str(remotes / "vault.git"), "config", "http.receivepack", "true"], check=True)
    with git_http(remotes) as server:
        net = request.param(server)
        try:
            yield net
        finally:
            net.close()


@pytest.fixture
def nodes(net: Loopback | TwoNamespaces, tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Local and Cloud."""
    zones = tmp_path / "zones.json"
    zones.write_text(json.dumps(json.loads((PROJECT_ROOT / "zones.json").read_text()) | {"failover": FAILOVER}))
    started: list[Node] = []
    try:
        for name in ("local", "cloud"):
            started.append(Node(name, tmp_path / name, net, zones))
        local, cloud = started
        local.environ["CLOUD_API_URL"] = net.api(cloud)
        yield local, cloud
    finally:
        for node in started:
            node.kill()


def test_one_zone_works_through_partition_freeze_kill_and_a_humans_switch(
    nodes: tuple[Node, Node], net: Loopback | TwoNamespaces
) -> None:
    local, cloud = nodes
    cloud.start()
    cloud.becomes("active", "cloud")
    local.start()
    local.becomes("passive", "cloud")

    net.cut("cloud")
    local.becomes("active", "local")
    assert cloud.status()[:2] == ("unsure", "cloud"), "it can't know of the other's term, and does nothing"
    net.mend()
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
