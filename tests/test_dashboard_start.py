"""`./start_everything.sh` with the web dashboard: built cold from the lock file, started, logged into, stopped."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import requests

from scripts import web
from tests.servers import eventually, free_port, require_program
from tests.test_start import Copy

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def log_in(url: str, password: str) -> requests.Response:
    form = {"password": password}
    return requests.post(f"{url}/session", data=form, headers={"Origin": url}, allow_redirects=False, timeout=60)


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/login", timeout=5).ok
    except requests.RequestException:
        return False


def test_the_first_start_builds_the_dashboard_and_prints_a_password_once(tmp_path: Path) -> None:
    if web.node() is None:
        require_program("node 20.9 or newer, and npm")
    copy = Copy(tmp_path / "my copy")
    settings = {"SUPERVISE_DASHBOARD": "true", "DASHBOARD_PORT": str(free_port())}
    url = f"http://127.0.0.1:{settings['DASHBOARD_PORT']}"
    try:
        started = copy(**settings)
        assert started.returncode == 0, started.stdout + started.stderr
        assert f"Dashboard {url}" in started.stdout
        [password] = re.findall(r"Password ((?:[a-z2-9]{4}-?){4}) ", started.stdout)
        eventually(lambda: answers(url), what="the dashboard's answer")
        assert log_in(url, password).headers["Location"] == "/"
        assert copy.git("status", "--short") == ""

        again = copy("restart", **settings)
        assert "Password" not in again.stdout
        eventually(lambda: answers(url), what="the dashboard's answer after a restart")
        made = copy("password", **settings)
        assert made.returncode == 0, made.stderr
        new = made.stdout.strip()
        eventually(lambda: answers(url) and log_in(url, new).headers["Location"] == "/", what="the new password")
        assert "wrong=1" in log_in(url, password).headers["Location"]
    finally:
        copy("stop", **settings)
    assert not answers(url)


def test_without_node_the_node_says_so_and_goes_on(tmp_path: Path) -> None:
    copy = Copy(tmp_path / "copy")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in (
        "bash",
        "git",
        "cat",
        "cksum",
        "cp",
        "mkdir",
        "rm",
        "mv",
        "wc",
        "nohup",
        "dirname",
        "head",
        "tail",
        "sleep",
        "tr",
        "ps",
    ):
        (tools / name).symlink_to(require_program(name))
    (tools / "python3").symlink_to(require_program("python3"))
    try:
        started = copy(SUPERVISE_DASHBOARD="true", PATH=str(tools))
        assert started.returncode == 0, started.stdout + started.stderr
        assert "Node 20.9 or newer with npm is needed for the dashboard." in started.stderr
        assert "the node runs without its web dashboard" in started.stdout
        assert copy.answers()
    finally:
        copy("stop")
