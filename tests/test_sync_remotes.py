"""Sync over real transports: git over SSH and HTTP, with keys, logins, and all that a remote can do to us."""

from __future__ import annotations

import logging
import random
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts import doctor
from tests.servers import GitHttp, Sshd, git_http, sshd
from tests.vaults import Two, git, until
from utils.adapters import git as adapter
from utils.adapters import git_command, git_glance
from utils.bootstrap import Services
from utils.ports import Damaged
from utils.vault_sync import SyncResult


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


@pytest.fixture
def http(two: Two) -> Iterator[GitHttp]:
    """Both nodes reach the remote over HTTP, with the login in the address."""
    git(two.remote, "config", "http.receivepack", "true")
    with git_http(two.folder) as server:
        for node in (two.a, two.b):
            node.git("remote", "set-url", "origin", server.url("remote.git"))
        yield server


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    with sshd() as running:
        yield running


@pytest.fixture
def ssh(two: Two, server: Sshd) -> Sshd:
    """Both nodes reach the remote over SSH, by a key that the configuration names."""
    for node in (two.a, two.b):
        node.git("remote", "set-url", "origin", server.url(two.remote))
        node.git("config", "core.sshCommand", server.command())
    return server


def check_works(two: Two) -> None:
    """Whatever was, both nodes sync now and nothing was lost."""
    two.b.write("Updates/after.md", "from B\n")
    for result in two.settle():
        assert result.error is None
    assert two.a.read("Updates/after.md") == b"from B\n"
    two.assert_agree()


def impatient(two: Two, seconds: float) -> SyncResult:
    sync = two.a.vault_sync()
    sync._git._timeout = seconds  # type: ignore[attr-defined]
    return sync.run()


def no_process_about(text: str) -> bool:
    return not subprocess.run(["pgrep", "-f", text], capture_output=True, check=False).stdout


# ----------------------------------------------------------------------------------------------------------------- SSH


def test_over_ssh_with_a_key_of_its_own(two: Two, ssh: Sshd) -> None:
    two.a.write("note.md", "over ssh\n" * 5000)
    two.settle()
    assert two.b.read("note.md") == b"over ssh\n" * 5000
    two.assert_agree()


def test_a_wrong_key_is_an_error_with_its_remedy_and_no_prompt(two: Two, ssh: Sshd) -> None:
    two.a.git("config", "core.sshCommand", ssh.command(key=ssh.other_key))
    two.a.write("note.md", "x\n")
    result = two.a.sync()
    assert result.result == "error"
    assert "the remote refused us" in str(result.error) and "Check the key" in str(result.error)
    assert "Permission denied (publickey" in str(result.error) and "ssh -i KEYFILE" in str(result.error)
    two.a.git("config", "core.sshCommand", ssh.command())
    check_works(two)


CLOSING = "fatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\n"


@pytest.mark.parametrize(
    ("said", "reason", "remedy", "retry"),
    [
        (
            "ssh: Could not resolve hostname git.example.org: Name or service not known",
            "Could not resolve hostname git.example.org",
            "is the host's name",
            True,
        ),
        (
            "ssh: connect to host git.example.org port 22: Connection refused",
            "port 22: Connection refused",
            "does the server run",
            True,
        ),
        ("Connection closed by 192.0.2.7 port 22", "Connection closed by 192.0.2.7", "`ssh -v`", True),
        ("kex_exchange_identification: read: Connection reset by peer", "Connection reset by peer", "`ssh -v`", True),
        ("ssh: connect to host h port 22: Connection timed out", "timed out", "is the port", True),
        ("/home/a/.ssh/config: line 3: Bad configuration option: x", "Bad configuration option", "`ssh -T`", True),
        ("git@git.example.org: Permission denied (publickey).", "git@git.example.org: Per", "public half", False),
        ("Host key verification failed.", "host key is not known here", "connect once by hand", False),
        ("remote: \nremote: =====\nremote: ERROR: The project is gone", "ERROR: The project is gone", "", True),
    ],
)
def test_what_ssh_says_is_told_with_its_remedy(said: str, reason: str, remedy: str, retry: bool) -> None:
    error = git_command.network_error(f"{said}\n{CLOSING}and the repository exists.\n")
    assert reason in str(error) and remedy in str(error) and error.retry is retry
    assert "Could not read from remote repository" not in str(error)
    assert not isinstance(error, Damaged)


def test_a_host_that_has_no_address_is_named(two: Two) -> None:
    two.a.git("remote", "set-url", "origin", "ssh://git@no-such-host.invalid/v.git")
    result = two.a.sync()
    assert result.result == "offline"
    assert "no-such-host.invalid" in str(result.error) and "Is the network there" in str(result.error)


def test_an_unknown_host_key_is_an_error_with_its_remedy(two: Two, ssh: Sshd, tmp_path: Path) -> None:
    two.a.git("config", "core.sshCommand", ssh.command(known_hosts=tmp_path / "nobody"))
    result = two.a.sync()
    assert result.result == "error"
    assert "SSH host key is not known here" in str(result.error) and "connect once by hand" in str(result.error)
    two.a.git("config", "core.sshCommand", ssh.command())
    check_works(two)


def test_a_host_key_that_changed_is_said_to_have_changed(two: Two, ssh: Sshd) -> None:
    ssh.new_host_key()
    ssh.restart()
    result = two.a.sync()
    assert result.result == "error"
    assert "has changed" in str(result.error) and "compare its fingerprint" in str(result.error)
    ssh.trust()
    check_works(two)


def test_a_repository_that_is_not_there(two: Two, ssh: Sshd) -> None:
    two.a.git("remote", "set-url", "origin", ssh.url(two.folder / "elsewhere.git"))
    result = two.a.sync()
    assert result.result == "offline" and "elsewhere.git" in str(result.error)
    two.a.git("remote", "set-url", "origin", ssh.url(two.remote))
    check_works(two)


def test_an_ssh_server_that_accepts_and_hangs_is_given_up(two: Two, ssh: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        two.a.git("remote", "set-url", "origin", f"ssh://nobody@127.0.0.1:{port}/v.git")
        result = impatient(two, 1.0)
    assert result.result == "offline" and "did not answer within 1 s" in str(result.error)
    until(lambda: no_process_about(f"-p {port}"))
    two.a.git("remote", "set-url", "origin", ssh.url(two.remote))
    check_works(two)


def test_the_ssh_server_is_away_for_a_while(two: Two, ssh: Sshd) -> None:
    ssh.stop()
    two.a.write("note.md", "x\n")
    result = two.a.sync()
    assert (result.result, result.committed) == ("offline", 1) and "can't be reached" in str(result.error)
    ssh.start()
    check_works(two)


def test_the_doctor_asks_the_remote_the_way_a_sync_does(
    ssh: Sshd, two: Two, make_node: Callable[..., Services], tmp_path: Path
) -> None:
    node = make_node()
    git(node.layout.root, "remote", "add", "origin", ssh.url(two.remote))
    git(node.layout.root, "config", "core.sshCommand", ssh.command())

    def answer() -> str:
        [finding] = doctor._remote(node, lambda what: None)
        return f"{finding.verdict}: {finding.detail}"

    assert answer() == "ok: origin answers and has main"
    git(node.layout.root, "config", "core.sshCommand", ssh.command(known_hosts=tmp_path / "nobody"))
    assert answer().startswith("BROKEN: origin: the remote's SSH host key is not known here")


# ---------------------------------------------------------------------------------------------------------------- HTTP


def test_over_http_with_a_login(two: Two, http: GitHttp) -> None:
    two.a.write("note.md", "over http\n" * 5000)
    two.settle()
    assert two.b.read("note.md") == b"over http\n" * 5000
    two.assert_agree()


@pytest.mark.parametrize(
    ("status", "word", "text"),
    [
        (403, "error", "the remote refused us"),
        (404, "error", "the remote has no such repository"),
        (500, "offline", "can't be reached"),
        (503, "offline", "can't be reached"),
    ],
)
def test_what_a_server_answers_becomes_the_right_word(
    two: Two, http: GitHttp, status: int, word: str, text: str
) -> None:
    two.a.write("note.md", "x\n")
    http.answer = status
    result = two.a.sync()
    assert result.result == word and text in str(result.error)
    http.answer = None
    check_works(two)


def test_a_wrong_password_is_refused_and_never_shown(two: Two, http: GitHttp, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "hunter2" + "hunter2"
    two.a.git("remote", "set-url", "origin", http.url("remote.git", user="spy", password=secret))
    two.a.write("note.md", "x\n")
    result = two.a.sync()
    assert result.result == "error" and "the remote refused us" in str(result.error)
    for status in (403, 404, 500):
        http.answer = status
        two.a.sync()
    everything = [result.to_dict(), result.summary(), two.a.alerts, two.a.vault_sync().status(), caplog.text]
    everything += [(two.a.state / "sync.json").read_text(), two.a.files()]
    assert secret not in str(everything) and secret.encode() not in b"".join(two.a.files().values())
    assert http.requests, "the server was asked"


@pytest.mark.parametrize(
    "said",
    [
        "fatal: unable to access '{url}': The requested URL returned error: 500",
        "fatal: Authentication failed for '{url}'",
        "fatal: repository '{url}' not found",
        "remote: see {url}\nfatal: the remote end hung up unexpectedly",
        "error: cannot open '{url}': Permission denied",
        "fatal: loose object 1234 of {url} is corrupt",
    ],
)
def test_whatever_git_prints_of_an_address_its_login_is_left_out(said: str) -> None:
    secret = "battery" + "staple"
    text = said.format(url=f"https://anna:{secret}@git.example.org/v.git")
    for error in (git_command.network_error(text), git_command.local_error("fetch", text)):
        assert secret not in str(error) and "anna" not in str(error)
        assert "example.org" in str(error)
    assert secret not in git_command.push_refusal(text)
    asked = f"fatal: unable to access 'https://host/v.git?token={secret}&x=1': Is the network there? It may be down"
    assert git_command.masked(asked) == asked.replace(f"token={secret}&x=1", "***")
    assert "staple" not in git_command.masked(f"fatal: unable to access 'https://anna:battery@{'sta' + 'ple'}@host/v'")


def test_a_connection_cut_in_mid_pack(two: Two, http: GitHttp) -> None:
    two.seed_files({f"n/{n}.md": f"{n}\n" for n in range(3)})
    two.b.write("Updates/big.md", "".join(f"{n * 7919}\n" for n in range(20000)))
    two.b.sync()
    two.a.write("own.md", "own\n")
    http.cut = 20000
    result = two.a.sync()
    assert result.result == "offline" and "can't be reached" in str(result.error)
    assert not (two.a.state / "damaged").exists(), "a broken line is no broken repository"
    http.cut = None
    check_works(two)
    assert two.a.has("Updates/big.md")


def test_a_remote_that_falls_silent_is_given_up_and_leaves_no_process(two: Two, http: GitHttp) -> None:
    http.hold()
    result = impatient(two, 1.0)
    assert result.result == "offline" and "did not answer within 1 s" in str(result.error)
    until(lambda: no_process_about(f"127.0.0.1:{http.port}"))
    http.release()
    check_works(two)


def test_the_quick_look_leaves_no_process_either(two: Two, http: GitHttp, monkeypatch: pytest.MonkeyPatch) -> None:
    assert two.a.sync().error is None
    assert two.a.vault_sync().confirm() is not None
    monkeypatch.setattr(git_glance, "_TIMEOUT", 1.0)
    http.hold()
    assert two.a.vault_sync().confirm() is None
    until(lambda: no_process_about(f"127.0.0.1:{http.port}"), 10)
    http.release()


def test_the_quick_look_uses_the_ssh_that_the_vault_names(two: Two, ssh: Sshd) -> None:
    assert two.a.sync().error is None
    assert two.a.vault_sync().confirm() is not None


@pytest.mark.parametrize("url", ["htps://anna:hidden@git.example.org/v.git", "ext::sh -c true"])
def test_a_mistyped_scheme_is_an_error_with_its_remedy(two: Two, url: str) -> None:
    two.a.git("remote", "set-url", "origin", url)
    result = two.a.sync()
    assert result.result == "error" and "check the address" in str(result.error)
    assert "hidden" not in str(result.error)
    assert [level for level, _, _ in two.a.alerts] == ["WARNING"], "told, not retried in silence"


def test_a_helper_that_git_lacks_is_an_error_in_its_other_words_too() -> None:
    error = git_command.network_error("fatal: Unable to find remote helper for 'htps'")
    assert not error.retry and "htps://" in str(error)


def numbers(count: int) -> str:
    """Text that does not compress well."""
    dice = random.Random(7)
    return "".join(f"{dice.randrange(10**9)}\n" for _ in range(count))


def test_a_slow_remote_that_goes_on_sending_is_waited_for(two: Two, http: GitHttp) -> None:
    two.b.write("Updates/big.md", numbers(60_000))
    two.b.sync()
    http.trickle = 0.2  # some seven seconds in all
    result = impatient(two, 5.0)
    assert result.error is None and two.a.has("Updates/big.md")


def test_a_remote_that_trickles_for_ever_is_given_up(two: Two, http: GitHttp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_LONGEST", 3.0)
    two.b.write("Updates/big.md", numbers(60_000))
    two.b.sync()
    http.trickle = 0.5
    result = impatient(two, 3.0)
    assert result.result == "offline" and "too slow: not done within 3 s" in str(result.error)
    http.trickle = None
    check_works(two)


# ------------------------------------------------------------------------------------------------- rules of the remote


def test_a_remote_with_a_default_branch_of_another_name(two: Two) -> None:
    git(two.remote, "branch", "-m", "main", "trunk")
    git(two.remote, "symbolic-ref", "HEAD", "refs/heads/trunk")
    two.b.write("Updates/x.md", "x\n")
    assert two.b.sync().result == "error"
    two.a.write("note.md", "x\n")
    assert two.a.sync().error is None, "Local brings its branch there again"
    check_works(two)


def test_a_remote_that_takes_fast_forwards_only(two: Two) -> None:
    for name in ("receive.denyNonFastForwards", "receive.denyDeletes"):
        git(two.remote, "config", name, "true")
    two.a.write("note.md", "A\n")
    two.b.write("Updates/b.md", "B\n")
    check_works(two)
