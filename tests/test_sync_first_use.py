"""The first hour with sync: what a stranger sees who follows the README."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vaults import Two, git
from utils.bootstrap import Services
from utils.core.merge import conflict_path
from utils.settings import PROJECT_ROOT
from utils.vault.layout import SKELETON

Make = Callable[..., Services]


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def shipped(folder: Path) -> Path:
    """The app's own vault folder right after `git clone`: empty folders, each with a `.gitkeep`."""
    for name in SKELETON:
        (folder / name).mkdir(parents=True)
        (folder / name / ".gitkeep").touch()
    return folder


def bare(folder: Path) -> Path:
    git(folder, "init", "-q", "--bare", "--initial-branch=main", "r.git")
    return folder / "r.git"


def run(module: str, home: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A command with the settings as shipped, but for the places."""
    environ = {
        "ENV_FILE": "",
        "PATH": os.environ["PATH"],
        "VAULT_PATH": str(home / "vault"),
        "STATE_DIR": str(home / "state"),
        **settings,
    }
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=PROJECT_ROOT, env=environ, capture_output=True, text=True, check=False)


def test_local_seeds_the_remote_right_after_the_app_was_cloned(tmp_path: Path) -> None:
    remote = bare(tmp_path)
    shipped(tmp_path / "local/vault")
    done = run("scripts.init_vault", tmp_path / "local", VAULT_REMOTE_URL=str(remote))
    assert done.returncode == 0, done.stderr
    assert "pushed" in done.stdout and "nothing to do" not in done.stdout
    assert {"Dashboard.md", ".vault", "Inbox/.gitkeep"} <= set(
        git(remote, "ls-tree", "-r", "--name-only", "main").splitlines()
    )


def test_a_remote_that_was_not_seeded_is_named(tmp_path: Path) -> None:
    remote = bare(tmp_path)
    hook = remote / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho closed for today; exit 1\n")
    hook.chmod(0o755)
    shipped(tmp_path / "local/vault")
    done = run("scripts.init_vault", tmp_path / "local", VAULT_REMOTE_URL=str(remote))
    assert done.returncode == 1 and "closed for today" in done.stderr and done.stdout == ""
    hook.unlink()
    done = run("scripts.init_vault", tmp_path / "local", VAULT_REMOTE_URL=str(remote))
    assert done.returncode == 0 and git(remote, "show", "main:.vault")


def test_a_cloud_joins_with_the_apps_own_vault_folder_without_litter(tmp_path: Path, make_node: Make) -> None:
    remote = bare(tmp_path)
    make_node("local", VAULT_REMOTE_URL=str(remote))
    cloud = make_node("cloud", ready=False, VAULT_REMOTE_URL=str(remote))
    root = shipped(cloud.settings.vault_path)
    (root / "Briefings/.gitkeep").unlink()
    (root / "Accounting/deep").mkdir()
    (root / "Accounting/deep/.gitkeep").touch()
    cloud.ensure_ready()
    assert [path.name for path in (root / "Updates/conflicts").rglob("*") if path.is_file()] == [".gitkeep"]
    assert not list((root / "Logs").rglob("*.jsonl")), "no alert"
    assert (root / "Briefings/.gitkeep").is_file() and (root / "Dashboard.md").is_file()
    assert (root / "Accounting/deep/.gitkeep").is_file(), "left lying"
    assert cloud.sync.run().refused == []
    assert "deep" not in git(remote, "ls-tree", "-r", "--name-only", "main")


def test_a_cloud_that_pushes_empty_gitkeeps_raises_no_alarm(two: Two) -> None:
    clone = two.clone("evil")
    for folder in ("Accounting/deep", "Plans/deep"):
        (clone / folder).mkdir(parents=True)
        (clone / folder / ".gitkeep").touch()
    two.commit_all(clone, author="AI Employee (cloud) <cloud@ai-employee.invalid>")
    git(clone, "push", "-q")
    assert two.a.sync().refused == [] and two.a.alerts == [] and two.a.conflicts() == {}
    assert two.a.has("Plans/deep/.gitkeep") and not two.a.has("Accounting/deep/.gitkeep")
    two.settle()
    two.assert_agree()


def test_an_empty_version_that_loses_is_not_kept(two: Two) -> None:
    two.seed_files({"Plans/note.md": "x\n"})
    two.a.write("Plans/note.md", "from A\n")
    two.b.write("Plans/note.md", "")
    two.b.write("Dashboard.md", "")
    two.settle()
    assert two.b.read("Plans/note.md") == b"from A\n" and two.a.conflicts() == {}
    two.assert_agree()


def test_a_copy_of_a_copy_has_one_suffix() -> None:
    oid, other = "0" * 40, "1" * 40
    for path in ("a/b.md", "p.png", "LICENSE", "Inbox/.gitkeep", "a.local.md"):
        once = conflict_path(path, "cloud", oid)
        assert conflict_path(once, "cloud", oid) == once
        assert conflict_path(once, "local", other) == conflict_path(path, "local", other)


def test_a_conflict_is_announced_once_and_by_its_paths(two: Two) -> None:
    two.seed_files({"Plans/note.md": "x\n", "Plans/more.md": "x\n"})
    for name in ("note", "more"):
        two.a.write(f"Plans/{name}.md", "from A\n")
        two.b.write(f"Plans/{name}.md", "from B\n")
    results = two.settle()
    alerts = [*two.a.alerts, *two.b.alerts]
    assert [level for level, _, _ in alerts] == ["INFO"]
    conflicts = [item for result in results for item in result.conflicts]
    assert len(conflicts) == 2
    assert all(item["path"] in alerts[0][2] and item["kept_at"] in alerts[0][2] for item in conflicts)


def test_a_refused_note_says_what_stands_and_where_the_text_is(two: Two) -> None:
    clone = two.clone("evil")
    (clone / "Dashboard.md").write_text("owned\n")
    (clone / "Briefings/new.md").write_text("new\n")
    two.commit_all(clone, author="AI Employee (cloud) <cloud@ai-employee.invalid>")
    git(clone, "push", "-q")
    two.a.sync()
    told = {title.split(": ")[1].partition(",")[0]: message for _, title, message in two.a.alerts}
    assert "Local's version stands" in told["Dashboard.md"] and "stands" not in told["Briefings/new.md"]
    for path, message in told.items():
        kept = next(name for name in two.a.conflicts() if name.startswith(path))
        assert f"Updates/conflicts/{kept}" in message


def test_the_command_line_names_each_conflict_and_each_refusal(tmp_path: Path, make_node: Make) -> None:
    remote = bare(tmp_path)
    local = make_node("local", VAULT_REMOTE_URL=str(remote))
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(remote), "clone")
    (clone / "Business_Goals.md").write_text("from the phone\n")
    git(clone, "commit", "-qam", "phone")
    git(clone, "push", "-q")
    vault = local.settings.vault_path
    (vault / "Business_Goals.md").write_text("from Local\n")
    (vault / "film.mov").write_text("x\n")
    done = run("scripts.sync", tmp_path / "local", SYNC_SETTLE_SECONDS="0")
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first.startswith("conflicts: ")
    kept = next((vault / "Updates/conflicts").glob("Business_Goals*")).name
    assert f"  conflict: Business_Goals.md → Updates/conflicts/{kept}" in lines
    assert "  refused: film.mov: files of this type are not synced" in lines


def test_a_note_that_waits_is_no_nothing(two: Two) -> None:
    os.utime(two.a.root, None)
    two.a.settle_seconds = 60
    two.a.write("note.md", "just now\n")
    now = two.a.clock.now().timestamp()
    os.utime(two.a.root / "note.md", (now - 1, now - 1))
    result = two.a.sync()
    assert result.summary() == "noop: 1 note is still being written: the next sync takes it"
    assert "waiting" not in result.to_dict()
    two.a.write("other.md", "just now\n")
    os.utime(two.a.root / "other.md", (now - 1, now - 1))
    assert two.a.sync().summary() == "noop: 2 notes are still being written: the next sync takes them"
    two.a.clock.advance(120)
    assert two.a.sync().summary().startswith("ok: committed 2")


def test_who_waits_for_a_mute_remote_is_told_so(tmp_path: Path) -> None:
    shutil.copytree(Two(tmp_path / "two").a.root, tmp_path / "local/vault", symlinks=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"git://127.0.0.1:{server.getsockname()[1]}/vault.git"
        git(tmp_path / "local/vault", "remote", "set-url", "origin", url)
        done = run("scripts.sync", tmp_path / "local", "--json", GIT_TIMEOUT_SECONDS="1")
        assert done.returncode == 3 and done.stdout.startswith("{")
        assert "asking the remote (up to 1 s) …" in done.stderr
        (tmp_path / "new/vault").mkdir(parents=True)
        done = run("scripts.init_vault", tmp_path / "new", VAULT_REMOTE_URL=url, GIT_TIMEOUT_SECONDS="1")
        assert done.returncode == 1 and done.stderr.startswith("asking the remote (up to 1 s) …\n")


def test_setting_up_says_so_through_logging(make_node: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        make_node("local", VAULT_REMOTE_URL=str(bare(tmp_path)))
    assert any("asking the remote (up to 60 s) …" in line for line in caplog.messages)


def test_the_new_vault_speaks_of_nothing_that_does_not_exist(make_node: Make) -> None:
    root = make_node().settings.vault_path
    for note in root.glob("*.md"):
        assert "use the dashboard" not in note.read_text()
    assert "/api/approvals/" in (root / "Dashboard.md").read_text()
