"""Sync against somebody who holds the cloud's keys: forged authors, odd names, a git that can't answer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.vaults import Two, git
from utils.adapters import git_glance
from utils.adapters.git_glance import GitGlance

TASK = "email-20260601T100000Z-0a1b2c3d.md"
REQUEST = "---\naction: send_email\ncreated_by: cloud\n---\n## Draft\n\nhello\n"
PENDING = f"Pending_Approval/email/{TASK}"
CLOUD = "AI Employee (cloud) <cloud@ai-employee.invalid>"
LOCAL = "AI Employee (local) <local@ai-employee.invalid>"
PHONE = "Ada <ada@example.org>"


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def push(two: Two, author: str, files: Mapping[str, str | None]) -> None:
    """Plain git from a third clone, with the author that it claims."""
    clone = two.folder / "evil"
    if not clone.exists():
        two.clone("evil")
    git(clone, "pull", "-q")
    for path, content in files.items():
        target = clone / path
        if content is None:
            target.unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
    two.commit_all(clone, author=author)
    git(clone, "push", "-q")


# --- what git knows: in doubt everything (S7) ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a\nb.md", "a\rb.md", "a\0b.md", "a\tb.md", "caf\udce9.md"])
def test_an_odd_path_counts_as_known(two: Two, name: str) -> None:
    assert two.a.vault_sync().known_to_git(f"Approved/{name}", b"never seen")


@pytest.mark.parametrize("broken", ["rev-parse", "for-each-ref", "cat-file"])
def test_a_git_that_fails_or_hangs_counts_as_knowing(two: Two, broken: str, tmp_path: Path) -> None:
    """A real program in git's place, which fails at one command."""
    glance = GitGlance(two.a.root, remote="origin", branch="main")
    assert not glance.known("Approved/x.md", b"never seen")
    real = next(Path(folder, "git") for folder in os.environ["PATH"].split(":") if Path(folder, "git").exists())
    program = tmp_path / "bin/git"
    program.parent.mkdir()
    for answer in ("exit 128", "sleep 60"):
        program.write_text(f'#!/bin/sh\nfor word; do [ "$word" = {broken} ] && {answer}; done\nexec {real} "$@"\n')
        program.chmod(0o755)
        before, limit = os.environ["PATH"], git_glance._TIMEOUT
        os.environ["PATH"], git_glance._TIMEOUT = f"{program.parent}:{before}", 1.0
        try:
            assert glance.known("Approved/x.md", b"never seen"), answer
        finally:
            os.environ["PATH"], git_glance._TIMEOUT = before, limit


def test_a_damaged_or_missing_repository_counts_as_knowing(two: Two) -> None:
    glance = GitGlance(two.a.root, remote="origin", branch="main")
    reference = two.a.root / ".git/refs/heads/main"
    whole = reference.read_bytes()
    reference.write_bytes(b"")  # what a power cut leaves
    assert glance.known("Approved/x.md", b"never seen")
    reference.write_bytes(b"1" * 40 + b"\n")
    assert glance.known("Approved/x.md", b"never seen")
    reference.write_bytes(whole)
    assert not glance.known("Approved/x.md", b"never seen")
    (two.a.root / ".git").rename(two.folder / "away")
    assert glance.known("Approved/x.md", b"never seen")


def test_only_a_repository_without_commits_knows_nothing(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--initial-branch=main", "vault")
    assert not GitGlance(tmp_path / "vault", remote="origin", branch="main").known("Approved/x.md", b"x")


# --- names, whoever sends them (S11) ---------------------------------------------------------------------------------


@pytest.mark.parametrize("author", [CLOUD, LOCAL, PHONE])
def test_a_name_that_means_trouble_arrives_from_nobody(two: Two, author: str) -> None:
    names = [f"Approved/a\nb/{TASK}", f"Approved/x\r{TASK}", "Plans/CON.md", "Plans/what?.md", "Plans/.gitattributes"]
    names += [f"approved/{TASK}", f"APPROVED/y{TASK}"]
    push(two, author, dict.fromkeys(names, REQUEST))
    result = two.a.sync()
    assert len(result.refused) == len(names)
    assert not any(two.a.has(name) for name in names)
    assert any(data.endswith(REQUEST.encode()) for data in two.a.conflicts().values()), "kept where a person sees it"
    assert not any(set(path) & set("\n\r?") for path in two.a.files())
    two.settle()
    two.assert_agree()


def test_a_secret_that_a_phone_pushed_is_not_copied_around(two: Two) -> None:
    push(two, PHONE, {"token.json": "very secret\n", "id_rsa": "very secret\n"})
    result = two.a.sync()
    assert {item["path"] for item in result.refused} == {"token.json", "id_rsa"}
    assert [level for level, _, _ in two.a.alerts] == ["CRITICAL"] * 2
    assert not any(b"very secret" in data for data in two.a.files().values())
    two.settle()
    two.assert_agree()


# --- who made it (S3, S10) -------------------------------------------------------------------------------------------


def test_an_incoming_commit_in_locals_own_name_is_not_ours(two: Two) -> None:
    two.a.write("Company_Handbook.md", "## Signature\nAda\n")
    two.a.write(PENDING, REQUEST)
    two.settle()
    two.a.write(PENDING, REQUEST + "as the human wants it\n")
    two.settle()
    forged = {"Company_Handbook.md": "pwned\n", PENDING: "evil\n", f"Approved/x{TASK}": REQUEST}
    push(two, LOCAL, forged)
    result = two.a.sync()
    assert {item["path"] for item in result.refused} == set(forged)
    assert two.a.read("Company_Handbook.md") == b"## Signature\nAda\n"
    assert two.a.read(PENDING).endswith(b"as the human wants it\n") and not two.a.has(f"Approved/x{TASK}")
    two.settle()
    two.assert_agree()


@pytest.mark.parametrize("path", ["note.md", "Business_Goals.md"])
def test_the_cloud_follows_where_local_took_a_forged_change_back(two: Two, path: str) -> None:
    """Local's merge names no changed path; a cloud that holds that against it puts the change back, for ever."""
    two.seed_files({"Business_Goals.md": "ours\n"})
    push(two, LOCAL, {path: "pwned\n"})
    two.b.sync()
    assert two.b.read(path) == b"pwned\n", "the cloud can't know better"
    two.settle()
    assert not any(node.has("note.md") for node in (two.a, two.b))
    assert two.b.read("Business_Goals.md") == b"ours\n"
    assert [result.result for result in two.settle()] == ["noop"] * 4
    two.assert_agree()


def test_a_merge_that_takes_the_vault_back_is_the_clouds_doing(two: Two) -> None:
    """`git merge` with an old commit lists no changed path in the log: nobody answers for it, so nobody is trusted."""
    two.seed_files({"Business_Goals.md": "old\n"})
    old = two.head()
    two.a.write("Business_Goals.md", "new\n")
    two.settle()
    clone = two.clone("evil")
    tree = git(clone, "rev-parse", f"{old}^{{tree}}").strip()
    merge = git(clone, "commit-tree", tree, "-p", "HEAD", "-p", old, "-m", "merge").strip()
    git(clone, "push", "-q", "origin", f"{merge}:refs/heads/main")
    two.a.sync()
    assert two.a.read("Business_Goals.md") == b"new\n"
    two.settle()
    two.assert_agree()


@pytest.mark.parametrize("author", [CLOUD, LOCAL, PHONE])
def test_nobody_steers_git_or_removes_the_marker_from_outside(two: Two, author: str) -> None:
    before = two.a.files()
    sent: dict[str, str | None] = {".gitignore": "*\n", ".gitattributes": "* text\n", ".vault": None}
    push(two, author, sent)
    assert {item["path"] for item in two.a.sync().refused} == set(sent)
    two.settle()
    assert {path: two.a.read(path) for path in sent} == {path: before[path] for path in sent}
    two.assert_agree()


@pytest.mark.parametrize("author", [CLOUD, LOCAL, PHONE])
@pytest.mark.parametrize("stage", ["Approved", "Rejected", "Done", "Done/2026/06", "Done/clients", "Rejected/spam/old"])
def test_what_local_has_answered_is_not_altered_from_outside(two: Two, author: str, stage: str) -> None:
    path = f"{stage}/{TASK}"
    two.seed_files({path: REQUEST, "Done/notes.md": "x\n"})
    push(two, author, {path: REQUEST + "more\n"})
    assert [item["path"] for item in two.a.sync().refused] == [path]
    two.settle()
    push(two, author, {path: None, PENDING: REQUEST})
    assert {item["path"] for item in two.a.sync().refused} == {path, PENDING}
    two.settle()
    push(two, author, {PENDING: REQUEST + "again\n"})
    assert [item["path"] for item in two.a.sync().refused] == [PENDING]
    two.settle()
    assert two.a.read(path) == REQUEST.encode() and not two.a.has(PENDING)
    two.assert_agree()


# --- a move is one thing ---------------------------------------------------------------------------------------------


def test_a_request_approved_on_the_clouds_disk_stays_in_the_queue(two: Two) -> None:
    two.b.write(PENDING, REQUEST)
    two.settle()
    two.b.move(PENDING, f"Approved/{TASK}")
    result = two.b.sync()
    assert {item["path"] for item in result.refused} == {PENDING, f"Approved/{TASK}"}
    two.settle()
    for node in (two.a, two.b):
        assert node.read(PENDING) == REQUEST.encode() and not node.has(f"Approved/{TASK}")
        assert node.conflicts() == {}, "the text lies in the queue, so there is nothing to keep aside"
    assert len(two.b.alerts) == 1 and two.a.alerts == []
    two.assert_agree()


@pytest.mark.parametrize("author", [CLOUD, LOCAL])
def test_a_request_approved_by_a_cloud_without_rules_stays_in_the_queue(two: Two, author: str) -> None:
    two.b.write(PENDING, REQUEST)
    two.settle()
    push(two, author, {PENDING: None, f"Approved/{TASK}": REQUEST})
    assert {item["path"] for item in two.a.sync().refused} == {PENDING, f"Approved/{TASK}"}
    two.settle()
    for node in (two.a, two.b):
        assert node.read(PENDING) == REQUEST.encode() and not node.has(f"Approved/{TASK}")
    assert len(two.a.alerts) == 1
    two.assert_agree()


def test_an_edit_in_a_refused_move_is_kept_aside(two: Two) -> None:
    two.b.write(PENDING, REQUEST)
    two.settle()
    two.b.remove(PENDING)
    two.b.write(f"Approved/{TASK}", REQUEST + "edited\n")
    two.settle()
    assert two.a.read(PENDING) == REQUEST.encode()
    assert any(data.endswith(b"edited\n") for data in two.a.conflicts().values())
    two.assert_agree()


def test_the_cloud_withdraws_only_its_own_untouched_requests(two: Two) -> None:
    own, theirs, touched = (f"Pending_Approval/email/email-20260601T10000{n}Z-0a1b2c3d.md" for n in range(3))
    two.b.write(own, REQUEST)
    two.b.write(touched, REQUEST)
    two.a.write(theirs, "nobody says who wrote this\n")
    two.settle()
    two.a.write(touched, REQUEST + "as the human wants it\n")
    two.settle()
    for path in (own, theirs, touched):
        two.b.remove(path)
    assert {item["path"] for item in two.b.sync().refused} == {theirs, touched}
    two.settle()
    assert not two.a.has(own) and two.a.has(theirs) and two.a.has(touched)
    two.assert_agree()
