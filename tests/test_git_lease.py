"""The lease on a real remote: compare-and-swap, what grows, what breaks, and whose settings reach it."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers import git_http, sshd
from utils.adapters.git_lease import LEASE, GitLease
from utils.core.lease import BEATS
from utils.ports import AdapterError


def git(folder: Path, *arguments: str) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Bench:
    """A bare remote, and vaults whose nodes reach the lease on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.remote = folder / "remotes" / "vault.git"
        self.remote.parent.mkdir()
        git(folder, "init", "-q", "--bare", "-b", "main", str(self.remote))
        git(self.remote, "config", "http.receivepack", "true")

    def vault(self, name: str, url: str | None = None, *options: str) -> Path:
        vault = self.folder / name / "vault"
        vault.mkdir(parents=True)
        git(vault, "init", "-q", "-b", "main", *options)
        git(vault, "remote", "add", "origin", url or str(self.remote))
        return vault

    def node(self, zone: str, url: str | None = None, *, name: str = "", timeout: float = 30) -> GitLease:
        name = name or zone
        folder = self.folder / name
        vault = folder / "vault" if (folder / "vault").exists() else self.vault(name, url)
        return GitLease(vault, folder / "lease.git", remote="origin", zone=zone, timeout=timeout)

    def there(self) -> dict[str, str]:
        lines = git(self.remote, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return dict(line.split(" ") for line in lines)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_one_node_puts_there_the_other_one_sees(bench: Bench) -> None:
    cloud, local = bench.node("cloud"), bench.node("local")
    assert (local.look().sha, local.look().text, local.look().beats) == (None, None, {})
    text = 'cloud holds the zones, term 1\n\n{"reason": "Umzug – \\"10:30\\""}\n'
    sha = cloud.push(text, None)
    seen = local.look()
    assert (seen.sha, seen.text, set(seen.beats)) == (sha, text, {"cloud"})
    local.beat()
    assert set(cloud.look().beats) == {"cloud", "local"}
    assert "missing" not in git(bench.remote, "fsck")  # a host that has no empty tree built in gets it


def test_who_saw_something_else_replaces_nothing(bench: Bench) -> None:
    cloud, local = bench.node("cloud"), bench.node("local")
    first = cloud.push("one\n\n{}\n", None)
    assert local.push("other\n\n{}\n", None) is None
    second = local.push("two\n\n{}\n", first)
    assert second is not None
    assert cloud.push("three\n\n{}\n", first) is None
    assert cloud.push("two\n\n{}\n", first) is None  # there already, but it did not replace what it was to replace
    assert local.push("two\n\n{}\n", second) == second
    assert bench.there()[LEASE] == second
    assert set(bench.there()) == {LEASE, "refs/heartbeat/cloud", "refs/heartbeat/local"}


def test_a_lease_that_was_taken_away_is_seen_as_gone(bench: Bench) -> None:
    node = bench.node("local")
    sha = node.push("one\n\n{}\n", None)
    assert node.look().sha == sha
    git(bench.remote, "update-ref", "-d", LEASE)
    assert node.look().sha is None
    assert node.push("two\n\n{}\n", sha) is None
    assert node.push("two\n\n{}\n", None) is not None


def test_what_is_no_lease_is_seen_as_it_is(bench: Bench) -> None:
    blob = subprocess.run(
        ["git", "-C", str(bench.remote), "hash-object", "-w", "--stdin"], input=b"x" * 1000, capture_output=True
    ).stdout.decode()  # fmt: skip
    git(bench.remote, "update-ref", LEASE, blob.strip())
    seen = bench.node("local").look()
    assert (seen.sha, seen.text) == (blob.strip(), "")


def test_a_year_of_heartbeats_leaves_a_handful_of_objects(bench: Bench) -> None:
    node = bench.node("cloud")
    for _ in range(BEATS + 10):
        node.beat()
    commits = git(bench.remote, "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)").split()
    assert commits.count("commit") == BEATS
    again = bench.node("cloud", name="elsewhere")  # another node of the zone, or the same one after a new set-up
    for _ in range(BEATS):
        again.beat()
    commits = git(bench.remote, "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)").split()
    assert commits.count("commit") == BEATS


def test_a_cluttered_repository_of_ours_is_made_anew(bench: Bench) -> None:
    node = bench.node("cloud")
    sha = node.push("one\n\n{}\n", None)
    clutter = bench.folder / "cloud" / "lease.git" / "objects" / "17"
    clutter.mkdir(exist_ok=True)
    for number in range(20):
        (clutter / f"{number:038x}").write_bytes(b"")
    assert node.look().sha == sha
    assert not clutter.exists() or len(list(clutter.iterdir())) < 3


@pytest.mark.parametrize(
    "damage", ["object", "ref", "lock", "packed", "config", "head", "shallow", "config is a folder", "a file", "a link"]
)
def test_our_repository_is_a_cache_that_heals(bench: Bench, damage: str) -> None:
    node, other = bench.node("cloud"), bench.node("local")
    other.look()
    sha = node.push("one\n\n{}\n", None)
    node.look()
    folder = bench.folder / "cloud" / "lease.git"
    if damage == "object":
        for path in folder.glob("objects/??/*"):
            path.chmod(0o600)
            path.write_bytes(b"")
    elif damage == "ref":
        (folder / LEASE).write_bytes(b"")
    elif damage == "lock":
        newer = other.push("two\n\n{}\n", sha)
        (folder / f"{LEASE}.lock").touch()
        assert node.look().sha == newer
        return
    elif damage == "packed":
        (folder / "packed-refs").write_bytes(b"\0\0")
    elif damage == "config":
        (folder / "config").write_bytes(b"[broken")
    elif damage == "shallow":
        (folder / "shallow").write_text("zz\n")
    elif damage == "config is a folder":
        (folder / "config").unlink()
        (folder / "config").mkdir()
    elif damage == "a file":
        shutil.rmtree(folder)
        folder.write_text("")
    elif damage == "a link":
        shutil.rmtree(folder)
        folder.symlink_to(bench.folder / "nowhere")
    else:
        (folder / "HEAD").unlink()
    seen = node.look()
    assert (seen.sha, seen.text) == (sha, "one\n\n{}\n")
    assert node.push("two\n\n{}\n", sha) is not None


@pytest.mark.parametrize("renews", [True, False])
def test_a_damage_that_a_push_or_a_beat_meets_is_told_once_and_healed(
    renews: bool, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A holder renews without a look: it may not meet the damage each minute until its lease has run out."""
    node = bench.node("cloud")
    sha = node.push("one\n\n{}\n", None)
    (bench.folder / "cloud" / "lease.git" / "shallow").write_text("zz\n")
    with pytest.raises(AdapterError, match="bad shallow line"):
        node.push("two\n\n{}\n", sha) if renews else node.beat()
    assert node.push("two\n\n{}\n", sha) is not None
    assert caplog.text.count("made anew") == 1


def test_what_a_fetch_that_was_ended_left_does_not_pile_up(bench: Bench) -> None:
    node = bench.node("cloud")
    sha = node.push("one\n\n{}\n", None)
    left = bench.folder / "cloud" / "lease.git" / "objects" / "pack" / "tmp_pack_x"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"x")
    assert node.look().sha == sha
    assert not left.exists()


def test_a_commit_too_large_for_a_lease_is_not_read(bench: Bench) -> None:
    node = bench.node("local")
    node.look()
    sha = node._commit("x" * 2_000_000)
    git(bench.folder / "local" / "lease.git", "push", "-q", str(bench.remote), f"{sha}:{LEASE}")
    seen = bench.node("cloud").look()
    assert (seen.sha, seen.text) == (sha, "")
    assert bench.node("cloud").push("one\n\n{}\n", sha) is not None


def test_a_ref_below_the_lease_is_named_with_its_remedy(bench: Bench) -> None:
    node = bench.node("local")
    sha = node.push("one\n\n{}\n", None)
    git(bench.remote, "update-ref", "-d", LEASE)
    git(bench.remote, "update-ref", f"{LEASE}/x", str(sha))
    with pytest.raises(AdapterError, match="refs/lease/zone/x lies on the remote, and beside it no lease can") as error:
        node.look()
    remedy = str(error.value).split("`git ")[1].split("`")[0]
    git(bench.folder / "local" / "vault", *remedy.split())
    assert node.look().sha is None
    assert node.push("one\n\n{}\n", None) == sha


def test_a_vault_that_lost_its_repository_reaches_no_remote(bench: Bench) -> None:
    node = bench.node("local")
    node.push("one\n\n{}\n", None)
    (bench.folder / "local" / "vault" / ".git").rename(bench.folder / "gone")
    for act in (node.look, node.beat, lambda: node.push("two\n\n{}\n", None)):
        with pytest.raises(AdapterError, match="lost its git repository"):
            act()


def test_the_remote_of_a_vault_with_sha256_and_a_relative_path(bench: Bench) -> None:
    remote = bench.folder / "new.git"
    git(bench.folder, "init", "-q", "--bare", "--object-format=sha256", str(remote))
    vault = bench.vault("local", "../../new.git", "--object-format=sha256")
    node = GitLease(vault, bench.folder / "local" / "lease.git", remote="origin", zone="local", timeout=30)
    sha = node.push("one\n\n{}\n", None)
    assert sha is not None and len(sha) == 64
    assert node.look().text == "one\n\n{}\n"


def test_over_http_with_the_vaults_login_and_what_a_silent_or_broken_server_means(bench: Bench) -> None:
    with git_http(bench.remote.parent) as server:
        node = bench.node("local", server.url("vault.git"), timeout=5)
        sha = node.push("one\n\n{}\n", None)
        assert node.look().sha == sha
        server.hold()
        quick = GitLease(
            bench.folder / "local" / "vault", bench.folder / "local" / "lease.git", remote="origin", zone="local",
            timeout=0.5,
        )  # fmt: skip
        for act in (quick.look, quick.beat, lambda: quick.push("two\n\n{}\n", sha)):
            with pytest.raises(AdapterError, match=r"no answer within 0\.5 s") as silent:
                act()
            assert silent.value.retry
        server.release()
        server.answer = 500
        with pytest.raises(AdapterError):
            node.push("three\n\n{}\n", sha)
        server.answer = None
        assert node.look().sha in (sha, node._commit("two\n\n{}\n"))
        wrong = bench.node("cloud", server.url("vault.git", password="wrong"))
        with pytest.raises(AdapterError, match="refused us") as refused:
            wrong.look()
        assert not refused.value.retry and "wrong" not in str(refused.value)


def test_a_push_whose_answer_is_lost_is_unknown_and_no_refusal(bench: Bench) -> None:
    """The remote takes the lease, then the connection ends: nobody may believe that it was refused."""
    hook = bench.remote / "hooks" / "reference-transaction"
    hook.write_text('#!/bin/sh\n[ "$1" = committed ] && grep -q refs/lease && kill -9 $PPID\nexit 0\n')
    hook.chmod(0o755)
    node = bench.node("local")
    with pytest.raises(AdapterError):
        node.push("one\n\n{}\n", None)
    hook.unlink()
    assert node.look().text == "one\n\n{}\n"


def test_a_remote_that_takes_no_lease_says_why(bench: Bench) -> None:
    hook = bench.remote / "hooks" / "update"
    hook.write_text('#!/bin/sh\necho "only branches here" >&2\nexit 1\n')
    hook.chmod(0o755)
    node = bench.node("local")
    with pytest.raises(AdapterError, match="only branches here"):
        node.push("one\n\n{}\n", None)
    with pytest.raises(AdapterError, match="only branches here"):
        node.beat()


def test_a_lock_left_on_the_remote_is_named_and_no_lost_race(bench: Bench) -> None:
    node = bench.node("local")
    sha = node.push("one\n\n{}\n", None)
    (bench.remote / f"{LEASE}.lock").touch()
    with pytest.raises(AdapterError, match="Unable to create"):
        node.push("two\n\n{}\n", sha)


def test_over_ssh_with_the_vaults_own_key_and_without_a_prompt(bench: Bench) -> None:
    with sshd() as server:
        vault = bench.vault("local", server.url(bench.remote))
        git(vault, "config", "core.sshCommand", server.command())
        node = bench.node("local")
        sha = node.push("one\n\n{}\n", None)
        assert node.look().sha == sha
        git(vault, "config", "core.sshCommand", server.command(key=server.other_key) + " -o BatchMode=yes")
        stranger = bench.node("local")
        with pytest.raises(AdapterError, match="refused us"):
            stranger.look()


def race(nodes: list[GitLease], texts: Callable[[int, int], str], rounds: int) -> None:
    """Each round all nodes push onto the same value at once; exactly one may get it, and it is what lies there."""
    expected = nodes[0].look().sha
    barrier = threading.Barrier(len(nodes))

    def run(number: int, node: GitLease, turn: int, before: str | None) -> str | None:
        barrier.wait()
        return node.push(texts(number, turn), before)

    with ThreadPoolExecutor(len(nodes)) as pool:
        for turn in range(rounds):
            stale = expected
            answers = list(pool.map(run, range(len(nodes)), nodes, [turn] * len(nodes), [expected] * len(nodes)))
            winners = [sha for sha in answers if sha is not None]
            assert len(winners) == 1, f"round {turn}: {answers}"
            expected = winners[0]
            assert nodes[turn % len(nodes)].look().sha == expected
            assert nodes[answers.index(None)].push(texts(9, turn), stale) is None, "a stale holder renewed"


@pytest.mark.slow
def test_of_many_that_take_over_at_once_one_wins_and_no_stale_holder_renews(bench: Bench) -> None:
    nodes = [bench.node(("local", "cloud")[number % 2], name=f"node{number}") for number in range(4)]
    race(nodes, lambda number, turn: f"node {number} in turn {turn}\n\n{{}}\n", int(os.environ.get("LEASE_RACES", 40)))
