"""The zones of whole nodes on a real remote: command line, doctor, watcher and API say and do the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts import doctor, zones
from tests.api_client import Api
from tests.mail_kit import drop, make_mail
from utils.bootstrap import Services
from utils.core.stages import Stage
from utils.lease.peer import Peer
from utils.settings import PROJECT_ROOT
from utils.work_zones import WorkZones

MAIL = "email_processing"


class Pair:
    """Local and Cloud, each with a vault and a state of its own, and a bare repository between them."""

    def __init__(self, make_node: Callable[..., Services], folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.remote = folder / "vault.git"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(self.remote)], check=True)
        self.local, self.cloud = (make_node(name, VAULT_REMOTE_URL=str(self.remote)) for name in ("local", "cloud"))

    def become(self, node: Services) -> None:
        """What runs now reads this node's settings from the environment."""
        s = node.settings
        values = {"AGENT_NAME": s.agent_name, "AGENT_MODE": s.agent_mode, "VAULT_PATH": str(s.vault_path)}
        values |= {"STATE_DIR": str(s.state_dir), "VAULT_REMOTE_URL": s.vault_remote_url, "ENV_FILE": ""}
        for name, value in values.items():
            self._patch.setenv(name, value)

    def says(self, node: Services, *arguments: str) -> int:
        self.become(node)
        return zones.main(arguments)

    def doctor(self, node: Services) -> list[str]:
        self.become(node)
        return [f"{found.verdict}: {found.detail}" for found in doctor.examine() if found.subject == "zones"]


@pytest.fixture
def pair(make_node: Callable[..., Services], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    yield Pair(make_node, tmp_path, monkeypatch)


def test_a_person_switches_by_command_line_and_both_nodes_follow(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pair.cloud.zones.renew() == "cloud is active now, term 1: first start: initial_holder in zones.json"
    assert pair.local.zones.renew() == "cloud is active, term 1"
    assert pair.says(pair.local, "switch", "local", "--reason", "the server is being moved") == 0
    assert "local is the active zone now (before: cloud), term 2" in capsys.readouterr().out
    assert not pair.local.zones.runs_here(MAIL)
    assert "has laid down its work" in pair.cloud.zones.check_and_failover()
    pair.local.zones.renew()
    assert (pair.local.zones.runs_here(MAIL), pair.cloud.zones.runs_here(MAIL)) == (True, False)
    assert pair.says(pair.cloud, "status") in (0, 1)
    told = capsys.readouterr().out
    assert "local is the active zone, term 2" in told
    assert "the server is being moved (by command line)" in told
    assert "this node, cloud, is pinned, chosen by a person" in told
    assert pair.says(pair.cloud, "switch", "local", "--expected-term", "1") == 1
    assert "the term is 2, not 1" in capsys.readouterr().err
    assert pair.says(pair.local, "switch", "local", "--no-pin") == 0
    assert Api(pair.local).get("/api/zones/status")["pinned"] is False
    assert pair.says(pair.local, "status", "--json") == 0


def test_a_person_is_told_that_the_zone_does_not_answer(
    pair: Pair, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.cloud.zones.renew()
    pair.local.zones.renew()
    monkeypatch.setattr(WorkZones, "doubt", lambda self, zone: f"{zone} does not answer")
    assert Api(pair.local).post("/api/zones/switch", zone="cloud")["warning"] == "cloud does not answer"
    assert pair.says(pair.local, "switch", "local") == 0
    told = capsys.readouterr().out
    assert "! waiting for cloud to lay down its work" in told and "! local does not answer" in told
    pair.says(pair.local, "status")
    assert "! waiting for cloud to lay down its work" in capsys.readouterr().out


def test_the_command_line_refuses_what_the_api_refuses(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    pair.become(pair.local)
    with pytest.raises(SystemExit) as refused:
        zones.main(["switch", "local", "--reason", "x" * 501])
    assert refused.value.code == 2
    assert "at most 500 characters" in capsys.readouterr().err
    assert pair.local.zones.status()["term"] == 0
    Api(pair.local).refused(400, "POST", "/api/zones/switch", json={"zone": "local", "reason": "x" * 501})


def test_the_command_line_tells_how_it_is_and_ends_with_one_where_something_is_wrong(
    pair: Pair, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.says(pair.local, "status")
    said = capsys.readouterr().out
    assert (
        said.startswith("no zone is active: nobody has taken the lease yet; cloud (initial_holder")
        and "term" not in said
    )
    pair.cloud.zones.renew()
    pair.local.zones.renew()
    assert pair.says(pair.local, "status") == 0
    assert "cloud is unknown (by heartbeat): not checked yet: its heartbeats are watched" in capsys.readouterr().out
    told = {"healthy": False, "method": "heartbeat", "error": "no heartbeat came"}
    monkeypatch.setattr(Peer, "shown", lambda self: told)
    assert pair.says(pair.local, "status") == 1
    assert "! cloud is failing (by heartbeat): no heartbeat came" in capsys.readouterr().out


def test_the_command_line_tells_a_move_only_where_there_is_one(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    pair.cloud.zones.renew()
    for arguments, words in (
        (("cloud",), "cloud stays the active zone, pinned, term 2"),
        (("cloud",), "cloud is the active zone already: nothing was changed, term 2"),
        (("cloud", "--no-pin"), "cloud stays the active zone, and failover may change it, term 3"),
    ):
        assert pair.says(pair.local, "switch", *arguments) == 0
        assert capsys.readouterr().out.splitlines()[0] == words


def test_what_the_disk_refuses_is_told_in_words(
    pair: Pair, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: WorkZones, *words: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied", "/x/zone.json")

    monkeypatch.setattr(WorkZones, "switch", refuse)
    assert pair.says(pair.local, "switch", "cloud") == 1
    assert capsys.readouterr().err == "error: Permission denied: /x/zone.json (is it this user's?)\n"


def test_who_reads_but_the_first_line_gets_no_traceback(pair: Pair) -> None:
    pair.become(pair.local)
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run(
        [sys.executable, "-m", "scripts.zones"], stdout=writes, stderr=subprocess.PIPE, text=True, cwd=PROJECT_ROOT
    )
    os.close(writes)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_doctor_says_how_the_zones_stand(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    assert pair.doctor(pair.local) == [
        "note: the remote was not asked about the zones lately: can it be reached, and does the scheduler run?"
    ]
    pair.cloud.zones.renew()
    assert pair.doctor(pair.cloud) == ["ok: cloud is active, term 1: first start: initial_holder in zones.json"]
    assert Api(pair.cloud).get("/api/platinum/status")["modules"]["work_zones"]["ok"]


def test_a_vault_whose_git_folder_vanished_makes_no_second_active_zone(
    pair: Pair, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk of `.git` is gone while the node runs: it must not believe that it is alone."""
    pair.cloud.zones.renew()
    pair.local.zones.renew()
    shutil.move(pair.local.settings.vault_path / ".git", pair.local.settings.state_dir / "aside")
    for node in (pair.local, Services(pair.local.settings)):
        assert not node.zones.runs_here(MAIL)
        assert node.zones.runs_here("payments")
        assert node.zones.active_zone() == "cloud"
    assert "lost its git repository" in pair.local.zones.renew()
    [said] = pair.doctor(pair.local)
    assert said.startswith("BROKEN: the vault has lost its git remote")
    answer = Api(pair.local).get("/api/platinum/status")["modules"]["work_zones"]
    assert not answer["ok"] and "lost its git remote" in answer["detail"]
    problem = Api(pair.local).refused(503, "POST", "/api/zones/switch", json={"zone": "local"})
    assert "put .git back" in problem["detail"]
    assert pair.says(pair.local, "switch", "local") == 1
    assert pair.says(pair.local, "alone") == 1, "VAULT_REMOTE_URL names a remote"
    capsys.readouterr()
    shutil.move(pair.local.settings.state_dir / "aside", pair.local.settings.vault_path / ".git")
    assert pair.local.zones.renew() == "cloud is active, term 1"


def test_a_node_can_be_made_alone_for_good(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    pair.local.zones.renew()
    subprocess.run(["git", "-C", str(pair.local.settings.vault_path), "remote", "remove", "origin"], check=True)
    pair.become(pair.local)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAULT_REMOTE_URL", "")
        assert zones.main(["status"]) == 1
        assert "! the vault has lost its git remote" in capsys.readouterr().out
        assert zones.main(["alone"]) == 0
        assert zones.main([]) == 0
        assert "local is the active zone" in capsys.readouterr().out


def test_only_the_active_zones_watcher_reads_the_mail_and_each_follows_the_switch(pair: Pair) -> None:
    for node in (pair.cloud, pair.local):
        drop(node, make_mail())
    assert pair.cloud.intake.run(pair.cloud.clock.now()) == "passive: cloud is the active zone"
    pair.cloud.zones.renew()
    pair.local.zones.renew()
    assert pair.local.intake.run(pair.local.clock.now()) == "passive: cloud is the active zone"
    assert "drafted 1" in pair.cloud.intake.run(pair.cloud.clock.now())
    pair.local.zones.switch("local", reason="test", by="test")
    pair.cloud.zones.check_and_failover()
    pair.local.zones.renew()
    assert pair.cloud.intake.run(pair.cloud.clock.now()) == "pinned: local is the active zone"
    assert "drafted 1" in pair.local.intake.run(pair.local.clock.now())


def test_local_takes_over_what_the_cloud_left_only_while_it_holds_the_lease(pair: Pair) -> None:
    """A task that the Cloud had begun: Local gives it back to Needs_Action once the Cloud must have stopped."""
    path = pair.local.layout.folder(Stage.IN_PROGRESS, agent="cloud") / "accounting-20260601T120000Z-00000001.md"
    path.write_text(
        f"---\nid: {path.stem}\ntype: accounting\ndomain: accounting\npriority: normal\n"
        "created: 2026-06-01T12:00:00Z\n---\n"
    )
    pair.cloud.zones.renew()
    pair.local.zones.renew()
    assert pair.local.leftovers.run() == "" and path.exists()
    pair.local.zones.switch("local", reason="test", by="test")
    assert pair.local.leftovers.run() == "" and path.exists(), "the Cloud has not laid down its work yet"
    pair.cloud.zones.check_and_failover()
    pair.local.zones.renew()
    assert pair.local.leftovers.run() == "taken over: 1"


def test_what_the_zones_write_travels_in_both_directions(pair: Pair) -> None:
    """Cloud may append to Logs/zones and paint Signals/cloud.md: nothing of it is refused (S10)."""
    pair.cloud.zones.renew()
    pair.local.zones.renew()
    pair.local.zones.switch("local", reason="test", by="test")
    pair.cloud.zones.check_and_failover()
    pair.local.zones.renew()
    for node in (pair.cloud, pair.local, pair.cloud):
        result = node.sync.run()
        assert (result.result in ("ok", "noop"), result.refused, result.conflicts) == (True, [], []), result
    for node in (pair.cloud, pair.local):
        [log] = (node.layout.root / "Logs" / "zones").glob("*.jsonl")
        assert log.read_text().count("\n") == 2
        assert {path.name for path in (node.layout.root / "Signals").glob("*.md")} == {"cloud.md", "local.md"}
    before = pair.cloud.sync.status()["head"]
    for node in (pair.cloud, pair.local):
        for _ in range(3):
            node.zones.renew()
            node.zones.check_and_failover()
        assert node.sync.run().result == "noop"
    assert pair.cloud.sync.status()["head"] == before
