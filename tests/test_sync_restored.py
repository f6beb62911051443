"""The Local vault is put back from a backup, or set back by hand: what its human wrote since comes back from the remote
and is undone on neither node. No keys are set up here; with keys `test_sync_signing` tells who wrote what."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.vaults import Node, Two, git

LOCAL = "AI Employee (local) <local@ai-employee.invalid>"
NOTES = {f"Notes/{number}.md": f"{number}\n".encode() for number in range(5)}


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def keep(folder: Path) -> Path:
    return Path(shutil.copytree(folder, folder.with_name(f"{folder.name}-backup"), symlinks=True))


def put_back(folder: Path) -> None:
    shutil.rmtree(folder)
    keep_at = folder.with_name(f"{folder.name}-backup")
    shutil.copytree(keep_at, folder, symlinks=True)


def write_more(two: Two) -> None:
    two.a.write("Company_Handbook.md", "the human's newest rules\n")
    for path, data in NOTES.items():
        two.a.write(path, data)
    two.settle()
    two.b.write("Updates/news.md", "from the cloud\n")
    two.settle()


def assert_all_is_there(two: Two) -> None:
    for node in (two.a, two.b):
        assert {path: node.read(path) for path in NOTES} == NOTES
        assert node.read("Company_Handbook.md") == b"the human's newest rules\n"
        assert node.read("Updates/news.md") == b"from the cloud\n"
    two.assert_agree()


def test_the_vault_alone_is_put_back(two: Two) -> None:
    two.seed_files({"Company_Handbook.md": "old\n"})
    keep(two.a.root)
    write_more(two)
    put_back(two.a.root)
    two.a.clock.advance(3600)
    result = two.a.sync()
    assert result.error is None and result.refused == []
    two.settle()
    assert_all_is_there(two)


def test_the_branch_is_set_back_by_hand(two: Two) -> None:
    two.seed_files({"Company_Handbook.md": "old\n"})
    old = two.head()
    write_more(two)
    two.a.git("reset", "-q", "--hard", old)
    assert two.a.sync().refused == []
    two.settle()
    assert_all_is_there(two)


def put_all_back(node: Node) -> None:
    put_back(node.root)
    put_back(node.state)


def test_the_vault_and_the_state_are_put_back_and_a_person_says_so(two: Two) -> None:
    two.seed_files({"Company_Handbook.md": "old\n"})
    keep(two.a.root), keep(two.a.state)
    write_more(two)
    before = two.head()
    put_all_back(two.a)
    two.a.clock.advance(3600)
    result = two.a.sync()
    assert result.result == "error" and "put back from a backup" in str(result.error)
    assert "--accept-remote" in str(result.error) and two.head() == before
    assert two.b.sync().result == "noop", "nothing of it was undone on the other node"
    assert two.a.sync(accept_remote=True).error is None
    two.settle()
    assert_all_is_there(two)


def test_who_writes_in_the_name_of_a_local_that_syncs_is_refused_at_once(two: Two) -> None:
    two.seed_files({"Company_Handbook.md": "ours\n"})
    clone = two.clone("evil")
    (clone / "Company_Handbook.md").write_text("pwned\n")
    two.commit_all(clone, author=LOCAL)
    git(clone, "push", "-q")
    two.a.clock.advance(300)
    assert [item["path"] for item in two.a.sync().refused] == ["Company_Handbook.md"]
    two.settle()
    assert two.b.read("Company_Handbook.md") == b"ours\n"
    two.assert_agree()
