"""A sync that asks prints a command; who runs what is printed, as it is printed, comes to an end."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from scripts.sync import answers, arguments
from tests.test_sync_restored import keep, put_all_back
from tests.vaults import Node, Two, git
from utils.core.commands import python
from utils.vault_sync import Answers, SyncResult

KEY = "-----BEGIN RSA " + "PRIVATE KEY-----\n"


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def printed(result: SyncResult) -> list[str]:
    """The words of the one sync command that the error prints."""
    (line,) = re.findall(r"`([^`]* -m scripts\.sync[^`]*)`", str(result.error))
    words = shlex.split(line)
    assert words[:3] == [python(), "-m", "scripts.sync"]
    return words[3:]


def follow(node: Node) -> list[list[str]]:
    """Sync, and answer each question by the command that it prints; the commands."""
    said: list[list[str]] = []
    result = node.sync()
    while result.error:
        said.append(printed(result))
        assert len(said) < 5, said
        result = node.sync(**asdict(answers(arguments().parse_args(said[-1]))))
    return said


def flags(words: list[str]) -> list[str]:
    return [word for word in words if word.startswith("--")]


def commit_by_hand(node: Node, path: str, text: str) -> None:
    node.write(path, text)
    node.git("add", path)
    node.git("commit", "-q", "-m", path)


def test_a_put_back_local_whose_human_had_deleted_much(two: Two) -> None:
    two.seed_files({f"Notes/{number}.md": f"{number}\n" for number in range(30)})
    keep(two.a.root), keep(two.a.state)
    for number in range(25):
        two.a.remove(f"Notes/{number}.md")
    assert two.a.sync(allow_deletions=True).error is None
    two.settle()
    put_all_back(two.a)
    two.a.clock.advance(3600)
    assert flags(follow(two.a)[-1]) == ["--accept-own", "--allow-deletions"]
    two.settle()
    assert not two.a.has("Notes/3.md")
    two.assert_agree()


def test_a_put_back_local_with_a_false_alarm(two: Two) -> None:
    two.seed_files({"Notes/x.md": "1\n"})
    keep(two.a.root), keep(two.a.state)
    two.a.write("Notes/y.md", "y\n")
    two.settle()
    put_all_back(two.a)
    two.a.clock.advance(3600)
    commit_by_hand(two.a, "Notes/s.md", KEY)
    assert flags(follow(two.a)[-1]) == ["--push-secret", "--accept-own"]
    assert two.a.has("Notes/y.md")


def test_another_history_and_a_false_alarm(two: Two) -> None:
    two.seed_files({"Notes/x.md": "1\n"})
    commit_by_hand(two.a, "Notes/s.md", KEY)
    assert flags(follow(two.a)[-1]) == ["--push-secret"]
    shutil.rmtree(two.remote)
    git(two.folder, "init", "-q", "--bare", "--initial-branch=main", str(two.remote))
    other = two.clone("other")
    (other / ".vault").write_bytes(two.a.read(".vault"))
    two.commit_all(other)
    git(other, "push", "-q", "origin", "HEAD:main")
    assert flags(follow(two.a)[-1]) == ["--accept-remote", "--push-secret"]


def test_false_alarms_on_two_branches(two: Two) -> None:
    two.seed_files({"Notes/x.md": "1\n"})
    two.a.git("checkout", "-q", "-b", "side")
    commit_by_hand(two.a, "Notes/s1.md", f"{KEY}1\n")
    two.a.git("checkout", "-q", "main")
    commit_by_hand(two.a, "Notes/s2.md", f"{KEY}2\n")
    two.a.git("merge", "-q", "-m", "both", "side")
    assert flags(follow(two.a)[-1]) == ["--push-secret", "--push-secret"]


@pytest.mark.parametrize(
    ("said", "flag", "value", "line"),
    [
        (Answers(), "--accept-own", "abc", "--accept-own abc"),
        (Answers(accept_own="old"), "--accept-own", "new", "--accept-own new"),
        (Answers(accept_own="a b"), "--accept-remote", "", "--accept-own 'a b' --accept-remote"),
        (Answers(push_secret=("1",)), "--push-secret", "1", "--push-secret 1"),
        (Answers(True, True), "--allow-deletions", "", "--allow-deletions --accept-remote"),
    ],
)
def test_what_was_said_is_said_again(said: Answers, flag: str, value: str, line: str) -> None:
    assert said.with_(flag, value) == f"{python()} -m scripts.sync {line}"
