"""Gates that must hold against a hostile remote, a storm of refusals, and a vault that lost its history."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vaults import Node, Two, git
from utils.bootstrap import Services
from utils.ports import AdapterError
from utils.vault.skeleton import VaultProblem

AWS = "AKIA" + "QWERTYUIOPASDF12"
CLOUD = "AI Employee (cloud) <cloud@ai-employee.invalid>"


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def pushed(two: Two, files: dict[str, str | None], *, author: str = "Ada <ada@example.org>") -> None:
    """Plain git in a third clone."""
    clone = two.folder / "phone"
    if not clone.exists():
        two.clone("phone")
    git(clone, "pull", "-q")
    for path, content in files.items():
        target = clone / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink() if content is None else target.write_text(content)
    two.commit_all(clone, author=author)
    git(clone, "push", "-q")


def memory(node: Node) -> dict[str, object]:
    content: dict[str, object] = json.loads((node.state / "sync.json").read_text())
    return content


def test_a_merge_that_the_remote_declined_is_nobodys_word_later(two: Two) -> None:
    """It could keep that merge and play it back as ours."""
    pushed(two, {"Updates/x.md": "x\n"}, author=CLOUD)
    two.a.write("note.md", "x\n")
    hook = two.remote / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    assert two.a.sync().result == "error"
    assert memory(two.a)["offered"]
    hook.unlink()
    two.settle()
    assert "offered" not in memory(two.a)


def damage(node: Node) -> None:
    """An object that nothing needs can't be read: git finds the repository unsound, and all goes on."""
    folder = node.root / ".git" / "objects" / "aa"
    folder.mkdir(exist_ok=True)
    (folder / ("a" * 38)).write_bytes(b"no object")


def test_a_repair_without_the_remote_changes_nothing(two: Two) -> None:
    damage(two.a)
    before = two.a.git("rev-parse", "HEAD")
    two.remote.rename(two.folder / "away.git")
    with pytest.raises(AdapterError, match="can't be reached"):
        two.a.vault_sync().repair()
    assert two.a.git("rev-parse", "HEAD") == before
    (two.folder / "away.git").rename(two.remote)
    assert two.a.sync().result == "noop"


def test_a_repair_does_not_open_the_gate_against_a_rollback(two: Two) -> None:
    old = two.head()
    two.a.write("note.md", "new\n")
    two.a.sync()
    git(two.remote, "update-ref", "refs/heads/main", old)
    two.a.clock.advance(3600)
    damage(two.a)
    result = two.a.vault_sync().repair()
    assert result.result == "error" and "rolled back" in str(result.error)
    assert two.a.read("note.md") == b"new\n" and two.head() == old


def test_a_storm_of_refusals_here_is_a_few_alerts_once(two: Two) -> None:
    for number in range(60):
        two.a.write(f"n/what? {number}.md", "x\n")
    assert len(two.a.sync().refused) == 60
    assert len(two.a.alerts) == 21 and two.a.alerts[-1][1] == "Not synced: 40 more files"
    assert len(two.a.sync().refused) == 60
    assert len(two.a.alerts) == 21, "told once"


def test_a_storm_of_refusals_from_the_cloud_does_not_stop_local(two: Two) -> None:
    pushed(two, {f"Briefings/{number}.md": f"{number}\n" for number in range(60)}, author=CLOUD)
    result = two.a.sync()
    assert result.error is None and len(result.refused) == 60 and len(two.a.alerts) == 21
    two.settle()
    assert len(two.a.conflicts()) == 60
    two.assert_agree()


def test_a_tree_that_climbs_out_of_the_vault_is_refused_and_stops_nothing(two: Two) -> None:
    clone = two.clone("evil")
    blob = git(clone, "hash-object", "-w", "--stdin", data=b"out\n").strip()
    inner = git(clone, "mktree", data=f"100644 blob {blob}\tx.md\n".encode()).strip()
    listing = git(clone, "ls-tree", "HEAD") + f"040000 tree {inner}\t..\n"
    tree = git(clone, "mktree", data=listing.encode()).strip()
    commit = git(clone, "commit-tree", tree, "-p", "HEAD", "-m", "x").strip()
    git(clone, "push", "-q", "origin", f"{commit}:main")
    two.b.write("Updates/y.md", "y\n")
    result = two.a.sync()
    assert result.error is None and [item["path"] for item in result.refused] == ["../x.md"]
    assert not (two.folder / "x.md").exists()
    two.settle()
    assert two.a.has("Updates/y.md")


def test_a_phones_mass_deletion_wipes_neither_node(two: Two) -> None:
    two.seed_files({f"n/{number}.md": f"{number}\n" for number in range(80)})
    pushed(two, {f"n/{number}.md": None for number in range(80)})
    for node in (two.b, two.a):
        result = node.sync()
        assert result.result == "error" and "--allow-deletions" in str(result.error)
        assert node.has("n/7.md")
    assert two.a.sync(allow_deletions=True).error is None
    assert two.b.sync(allow_deletions=True).error is None
    two.settle()
    two.assert_agree()


def test_the_cloud_follows_a_mass_deletion_that_local_allowed(two: Two) -> None:
    two.seed_files({f"n/{number}.md": f"{number}\n" for number in range(80)})
    for number in range(80):
        two.a.remove(f"n/{number}.md")
    assert two.a.sync(allow_deletions=True).error is None
    assert two.b.sync().error is None
    assert not two.b.has("n/7.md")


def test_a_refused_mass_deletion_closes_no_gate(two: Two) -> None:
    """The cloud may not delete these, so nothing is deleted; nobody is asked to let it pass."""
    two.seed_files({f"n/{number}.md": f"{number}\n" for number in range(80)})
    pushed(two, {f"n/{number}.md": None for number in range(80)}, author=CLOUD)
    assert two.a.sync().error is None
    assert two.a.has("n/7.md")
    two.settle()
    two.assert_agree()


def test_a_secret_under_a_name_that_is_refused_is_copied_nowhere(two: Two) -> None:
    pushed(two, {"Plans/aux.md": f"key {AWS}\n"}, author=CLOUD)
    two.settle()
    assert [level for level, _, _ in two.a.alerts] == ["CRITICAL"]
    assert not any(AWS.encode() in data for data in two.a.files().values())


def test_every_conflict_is_told_by_its_own_title(two: Two) -> None:
    for name in ("one", "two"):
        two.a.write(f"Plans/email/{name}.md", "A\n")
        two.b.write(f"Plans/email/{name}.md", "B\n")
        two.settle()
    titles = [title for node in (two.a, two.b) for _, title, _ in node.alerts]
    assert len(titles) == len(set(titles)) == 2, "equal titles within an hour are only counted"


@pytest.mark.parametrize("lost", ["the folder", "its history"])
def test_a_vault_that_was_one_before_is_not_silently_made_anew(
    make_node: Callable[..., Services], tmp_path: Path, lost: str
) -> None:
    node = make_node("local")
    node.sync.run()
    root = node.layout.root
    (root if lost == "the folder" else root / ".git").rename(tmp_path / "lost")
    with pytest.raises(VaultProblem, match=r"was a vault before|lost its history"):
        node.sync.ensure_ready(is_default=True)
    assert not (root / ".git").exists()


@pytest.mark.parametrize("count", [10, 30])
def test_a_small_vault_is_not_wiped_by_a_slip_either(two: Two, count: int) -> None:
    two.seed_files({f"Notes/{number}.md": f"{number}\n" for number in range(count)})
    shutil.rmtree(two.a.root / "Notes")
    result = two.a.sync()
    assert result.result == "error" and f"{count} of" in str(result.error) and "--allow-deletions" in str(result.error)
    two.b.sync()
    assert two.b.has("Notes/3.md")
    two.a.git("restore", ".")
    assert two.a.sync().result == "noop"


def test_a_person_tidies_up_unasked(two: Two) -> None:
    """Few notes, or news and copies that nobody needs any more."""
    two.seed_files({f"Updates/conflicts/{number}.md": f"{number}\n" for number in range(40)})
    two.seed_files({f"Notes/{number}.md": f"{number}\n" for number in range(9)})
    shutil.rmtree(two.a.root / "Updates/conflicts")
    shutil.rmtree(two.a.root / "Notes")
    assert two.a.sync().error is None
    two.settle()
    assert not two.b.has("Notes/3.md") and not two.b.has("Updates/conflicts/3.md")
    two.assert_agree()


def test_moves_with_edits_are_no_loss(two: Two) -> None:
    """Obsidian renames a folder and updates the links in it; an agent's tasks are edited where they are claimed."""
    two.seed_files({f"Notes/{number}.md": f"see [[Notes/{number + 1}]]\n" for number in range(12)})
    for number in range(12):
        two.a.write(f"Archive/{number}.md", f"see [[Archive/{number + 1}]]\n")
        two.a.remove(f"Notes/{number}.md")
    assert two.a.sync().error is None
    assert two.b.sync().error is None
    clone = two.clone("phone")
    (clone / "Projects").mkdir()
    for number in range(12):
        git(clone, "mv", f"Archive/{number}.md", f"Projects/{number}.md")
        (clone / f"Projects/{number}.md").write_text(f"{number}\nfiled\n")
    two.commit_all(clone)
    git(clone, "push", "-q")
    assert [result.error for result in two.settle()] == [None] * 4
    two.assert_agree()


@pytest.mark.parametrize("content", ["area {}\n", "the same\n"])
def test_one_note_that_comes_stands_for_one_that_goes(two: Two, content: str) -> None:
    two.seed_files({f"Areas/{number}/index.md": content.format(number) for number in range(30)})
    shutil.rmtree(two.a.root / "Areas")
    two.a.write("Other/index.md", content.format(0))
    assert "29 of" in str(two.a.sync().error)
    assert two.b.has("Areas/7/index.md")


def test_what_agents_made_beside_notes_is_tidied_unasked(two: Two) -> None:
    names = [f"Quarantine/email-20260601T100000Z-{number:08x}.md.reason.md" for number in range(12)]
    two.seed_files({name: f"why {name}\n" for name in names})
    for name in names:
        two.a.remove(name)
    assert two.a.sync().error is None


def test_a_cloud_that_lost_its_history_makes_no_copies_of_what_nobody_edited(two: Two) -> None:
    """Its folder .git is gone, and `init_vault` takes the history anew from the remote."""
    two.seed_files({"Company_Handbook.md": "ours\n", "Notes/old.md": "old\n", "Plans/p.md": "p\n"})
    shutil.rmtree(two.b.root / ".git")
    two.b.write("Plans/p.md", "edited meanwhile\n")
    two.b.vault_sync().prepare(str(two.remote))
    two.settle()
    assert [alert for alert in two.b.alerts if "may not write" in alert[2]] == []
    assert [path.partition("/")[0] for path in two.a.conflicts()] == ["Plans"]
    two.assert_agree()
