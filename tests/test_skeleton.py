"""A vault's first start: what is made, what is respected, and what is said where it can't be used."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vaults import Two, git
from utils.bootstrap import Services
from utils.settings import PROJECT_ROOT
from utils.vault.layout import SKELETON
from utils.vault.skeleton import VaultProblem

Make = Callable[..., Services]


def test_an_empty_folder_becomes_a_vault(make_node: Make) -> None:
    services = make_node()
    root = services.settings.vault_path
    assert all((root / name / ".gitkeep").is_file() for name in SKELETON)
    handbook = (root / "Company_Handbook.md").read_text()
    assert "\n## Signature\n" in handbook and "\n## Replies\n" in handbook
    assert (root / "Dashboard.md").is_file() and (root / "Business_Goals.md").is_file()
    assert git(root, "log", "--format=%ae").split() == ["local@ai-employee.invalid"]
    assert git(root, "status", "--porcelain") == ""


def test_a_folder_that_does_not_exist_is_named_with_the_remedy(make_node: Make) -> None:
    services = make_node(ready=False)
    with pytest.raises(VaultProblem, match=r"does not exist: create the folder, mount the disk, or run .*init_vault"):
        services.ensure_ready()


def test_a_folder_of_notes_is_not_touched_until_it_is_asked_for(make_node: Make) -> None:
    services = make_node(ready=False)
    root = services.settings.vault_path
    root.mkdir(parents=True)
    (root / "Dashboard.md").write_text("mine\n")
    with pytest.raises(VaultProblem, match="init_vault"):
        services.ensure_ready()
    assert [path.name for path in root.iterdir()] == ["Dashboard.md"]
    services.sync.prepare()
    services.ensure_ready()
    assert (root / "Dashboard.md").read_text() == "mine\n"
    assert services.sync.known_to_git("Dashboard.md", b"mine\n")


def test_somebody_elses_repository_is_not_taken_for_a_vault(make_node: Make) -> None:
    services = make_node(ready=False)
    root = services.settings.vault_path
    root.mkdir(parents=True)
    git(root, "init", "-q")
    (root / "main.c").write_text("int main;\n")
    with pytest.raises(VaultProblem, match="init_vault"):
        services.ensure_ready()


def test_a_vault_that_is_suddenly_empty_is_not_set_up_anew(make_node: Make) -> None:
    services = make_node()
    services.sync.run()
    root = services.settings.vault_path
    shutil.rmtree(root)
    root.mkdir()
    with pytest.raises(VaultProblem, match="mount the disk"):
        services.ensure_ready()


def test_a_clone_made_by_hand_is_used_as_it_is(tmp_path: Path, make_node: Make) -> None:
    two = Two(tmp_path / "pair")
    services = make_node(ready=False)
    root = services.settings.vault_path
    root.parent.mkdir(parents=True)
    git(root.parent, "clone", "-q", str(two.remote), root.name)
    head = git(root, "rev-parse", "HEAD")
    services.ensure_ready()
    assert git(root, "rev-parse", "HEAD") == head
    assert services.sync.has_remote()


def test_the_remote_can_come_later(tmp_path: Path, make_node: Make) -> None:
    remote = tmp_path / "r.git"
    git(tmp_path, "init", "-q", "--bare", "--initial-branch=main", str(remote))
    services = make_node()
    (services.settings.vault_path / "note.md").write_text("x\n")
    assert "set up" in services.sync.prepare(str(remote))
    assert "is a vault already" in services.sync.prepare(str(remote))
    assert git(remote, "show", "main:note.md") == "x\n"


def test_the_cloud_waits_for_local_to_fill_the_remote(tmp_path: Path, make_node: Make) -> None:
    remote = tmp_path / "r.git"
    git(tmp_path, "init", "-q", "--bare", "--initial-branch=main", str(remote))
    cloud = make_node("cloud", ready=False, VAULT_REMOTE_URL=str(remote))
    cloud.settings.vault_path.mkdir(parents=True)
    with pytest.raises(VaultProblem, match="still empty: start the Local node first"):
        cloud.ensure_ready()
    make_node("local", VAULT_REMOTE_URL=str(remote))
    cloud.ensure_ready()
    root = cloud.settings.vault_path
    assert (root / "Dashboard.md").is_file()
    assert git(remote, "log", "--format=%ae", "main").split() == ["local@ai-employee.invalid"]
    assert git(root, "status", "--porcelain") == ""


def test_a_remote_that_cannot_be_reached_is_named_at_the_first_start(tmp_path: Path, make_node: Make) -> None:
    services = make_node(ready=False, VAULT_REMOTE_URL=str(tmp_path / "nowhere.git"))
    services.settings.vault_path.mkdir(parents=True)
    with pytest.raises(VaultProblem, match="can't be reached"):
        services.ensure_ready()
    git(tmp_path, "init", "-q", "--bare", "--initial-branch=main", "nowhere.git")
    services.ensure_ready()
    assert services.sync.run().result == "noop"


def test_notes_join_a_remote_that_holds_a_vault(tmp_path: Path, make_node: Make) -> None:
    two = Two(tmp_path / "pair")
    two.seed_files({"theirs.md": "theirs\n"})
    services = make_node(ready=False)
    root = services.settings.vault_path
    root.mkdir(parents=True)
    (root / "mine.md").write_text("mine\n")
    services.sync.prepare(str(two.remote))
    assert (root / "theirs.md").read_text() == "theirs\n" and (root / "mine.md").read_text() == "mine\n"
    assert git(two.remote, "show", "main:mine.md") == "mine\n"
    two.b.sync()
    assert two.b.read("mine.md") == b"mine\n"


def test_many_processes_start_at_once(make_node: Make) -> None:
    nodes = [make_node(ready=False) for _ in range(6)]
    nodes[0].settings.vault_path.mkdir(parents=True)
    problems: list[BaseException] = []

    def start(node: Services) -> None:
        try:
            node.ensure_ready()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=start, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert git(nodes[0].settings.vault_path, "rev-list", "--count", "HEAD").strip() == "1"


def test_a_ready_vault_costs_no_git(make_node: Make) -> None:
    services = make_node()
    environ = {
        "ENV_FILE": "",
        "PATH": "/nonexistent",
        "VAULT_PATH": str(services.settings.vault_path),
        "STATE_DIR": str(services.settings.state_dir),
    }
    program = (
        "import sys; from utils.bootstrap import Services; s = Services.from_environment(); s.ensure_ready();"
        "assert not s.sync.has_remote(); assert 'git' not in sys.modules; print('ready')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT_ROOT, env=environ, capture_output=True, text=True
    )
    assert done.stdout == "ready\n", done.stderr


def test_the_default_vault_leaves_the_projects_repository_clean(tmp_path: Path) -> None:
    """The live vault lies inside the project's checkout and is a repository of its own."""
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(PROJECT_ROOT / ".gitignore", project / ".gitignore")
    shutil.copy(PROJECT_ROOT / "zones.json", project / "zones.json")
    for name in ("utils", "scripts"):
        shutil.copytree(PROJECT_ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in SKELETON:
        (project / "AI_Employee_Vault" / name).mkdir(parents=True, exist_ok=True)
        (project / "AI_Employee_Vault" / name / ".gitkeep").touch()
    git(project, "init", "-q")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "project")
    vault = project / "AI_Employee_Vault"
    environ = {
        "ENV_FILE": "",
        "PATH": "/usr/bin:/bin:/usr/local/bin",
        "HOME": str(tmp_path),
        "SYNC_SETTLE_SECONDS": "0",
    }
    for day in range(2):
        (vault / "Needs_Action/email").mkdir(parents=True, exist_ok=True)
        (vault / f"Needs_Action/email/{day}.md").write_text("a day's work\n")
        done = subprocess.run(
            [sys.executable, "-m", "scripts.sync"],
            cwd=project,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert git(vault, "show", "HEAD:Needs_Action/email/1.md") == "a day's work\n"
    assert git(project, "status", "--porcelain") == ""
    git(project, "add", "-A")
    assert git(project, "status", "--porcelain") == ""
    assert git(project, "log", "--format=%s").split() == ["project"]
