"""Sync when things go wrong: remotes that vanish, roll back or refuse, other git programs, people at work meanwhile."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.vaults import Two, claims_of, git, until
from utils.adapters.git import GitVault
from utils.core.stages import Stage
from utils.ports import Seen
from utils.vault import worktree
from utils.vault_sync import SyncBusy

PLAN = "Plans/email/trip.md"


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def at(two: Two, node: str, where: str, act) -> list[str]:  # type: ignore[no-untyped-def]
    """Do `act` once, when the next sync of `node` passes the step `where`; the steps seen."""
    seen: list[str] = []

    def checkpoint(name: str) -> None:
        if name == where and where not in seen:
            act()
        seen.append(name)

    getattr(two, node).checkpoint = checkpoint
    return seen


def test_28_a_remote_that_was_forced_back_is_refused_until_a_person_accepts_it(two: Two) -> None:
    old = two.head()
    two.a.write("note.md", "new\n")
    two.settle()
    git(two.remote, "update-ref", "refs/heads/main", old)
    result = two.a.sync()
    assert result.result == "error" and "--accept-remote" in str(result.error)
    assert two.a.read("note.md") == b"new\n" and two.head() == old
    two.a.sync()
    assert [level for level, _, _ in two.a.alerts].count("CRITICAL") == 1, "told once"
    assert two.a.sync(accept_remote=True).result == "ok"
    two.settle()
    two.assert_agree()


def test_28_a_person_who_fetched_after_the_rollback_hides_nothing(two: Two) -> None:
    old = two.head()
    two.a.write("note.md", "new\n")
    two.a.sync()
    two.b.git("fetch", "-q")
    two.b.git("merge", "-q", "--ff-only", "origin/main")
    assert two.b.sync().result == "noop", "a sync that finds the news here already has seen it all the same"
    git(two.remote, "update-ref", "refs/heads/main", old)
    two.b.git("fetch", "-q", "origin", "+main:refs/remotes/origin/main")
    result = two.b.sync()
    assert result.result == "error" and "rolled back" in str(result.error)


def test_29_an_emptied_remote_is_filled_again_by_local_alone(two: Two) -> None:
    shutil.rmtree(two.remote)
    git(two.folder, "init", "-q", "--bare", "--initial-branch=main", str(two.remote))
    assert two.b.sync().result == "error"
    two.settle()
    two.assert_agree()


def test_29_an_unrelated_history_is_refused(two: Two) -> None:
    shutil.rmtree(two.remote)
    git(two.folder, "init", "-q", "--bare", "--initial-branch=main", str(two.remote))
    stranger = two.clone("stranger")
    (stranger / "other.md").write_text("another vault\n")
    two.commit_all(stranger)
    git(stranger, "push", "-q", "origin", "HEAD:main")
    result = two.a.sync()
    assert result.result == "error" and "--accept-remote" in str(result.error)
    assert not two.a.has("other.md")
    assert two.a.sync(accept_remote=True).result == "ok"
    assert two.b.sync(accept_remote=True).result == "ok"
    two.settle()
    assert two.b.has("other.md")
    two.assert_agree()


def test_30_another_branch_checked_out_loses_nothing_and_reverts_nothing(two: Two) -> None:
    two.a.git("checkout", "-q", "-b", "idea")
    two.a.write("idea.md", "committed on a branch\n")
    two.commit_all(two.a.root)
    two.a.write("idea.md", "and edited since\n")
    two.b.write(PLAN, "from B meanwhile\n")
    two.settle()
    assert two.b.read("idea.md") == b"and edited since\n"
    assert two.a.read(PLAN) == b"from B meanwhile\n"
    assert two.a.git("rev-parse", "--verify", "idea")
    two.assert_agree()


def test_30_an_old_commit_checked_out_does_not_take_the_vault_back(two: Two) -> None:
    two.a.write("note.md", "first\n")
    two.settle()
    two.a.write("note.md", "second\n")
    two.settle()
    two.a.git("checkout", "-q", "HEAD^")
    assert two.a.read("note.md") == b"first\n"
    two.a.write("more.md", "written while looking back\n")
    two.settle()
    assert two.b.read("note.md") == b"second\n"
    assert two.b.read("more.md") == b"written while looking back\n"
    two.assert_agree()


@pytest.mark.parametrize("operation", ["merge", "rebase"])
def test_30_a_persons_half_done_merge_is_ended_and_everything_kept(two: Two, operation: str) -> None:
    two.seed_files({"note.md": "base\n"})
    two.a.git("checkout", "-q", "-b", "side")
    two.a.write("note.md", "side\n")
    two.commit_all(two.a.root)
    two.a.git("checkout", "-q", "main")
    two.a.write("note.md", "main\n")
    two.commit_all(two.a.root)
    two.a.write("unsaved.md", "not committed yet\n")
    two.a.git(operation, "side", check=False)
    assert b"<<<<<<<" in two.a.read("note.md")
    two.settle()
    texts = list(two.a.files().values())
    assert any(b"side\n" in text for text in texts) and any(b"main\n" in text for text in texts)
    assert two.b.read("unsaved.md") == b"not committed yet\n"
    two.assert_agree()


def test_31_both_sync_at_once_six_rounds(two: Two) -> None:
    for number in range(6):
        two.a.write(f"a{number}.md", f"a{number}\n")
        two.b.write(f"Updates/b{number}.md", f"b{number}\n")
        threads = [threading.Thread(target=node.sync) for node in (two.a, two.b)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    two.settle()
    files = two.b.files()
    assert all(f"a{n}.md" in files and f"Updates/b{n}.md" in files for n in range(6))
    two.assert_agree()


def test_32_one_sync_at_a_time(two: Two) -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        assert leave.wait(60)

    at(two, "a", "fetched", hold)
    two.a.write("note.md", "x\n")
    first = threading.Thread(target=two.a.sync)
    first.start()
    assert inside.wait(60)
    assert two.a.vault_sync().status()["state"] == "syncing"
    with pytest.raises(SyncBusy):
        two.a.vault_sync().run(wait=False)
    second: list[str] = []
    waiting = threading.Thread(target=lambda: second.append(two.a.vault_sync().run(wait=True).result))
    waiting.start()
    leave.set()
    first.join()
    waiting.join()
    assert second == ["noop"]
    assert two.a.vault_sync().status()["state"] == "idle"


def test_33_a_clock_three_days_ahead_changes_nothing(two: Two) -> None:
    two.seed_files({PLAN: "old\n"})
    two.b.clock.advance(3 * 86400)
    two.b.write(PLAN, "B\n")
    two.b.sync()
    two.a.write(PLAN, "A\n")
    two.settle()
    assert two.b.read(PLAN) == b"A\n"
    two.assert_agree()


@pytest.mark.parametrize(
    "where", ["gathered", "committed", "fetched", "decided", "pushed", "intent", "file", "applied"]
)
@pytest.mark.parametrize("node", ["a", "b"])
def test_34_a_note_edited_during_the_sync_is_neither_lost_nor_does_it_undo_the_other_edit(
    two: Two, where: str, node: str
) -> None:
    two.seed_files({PLAN: "old\n", "Plans/email/zzz.md": "old\n"})
    here, there = (two.a, two.b) if node == "a" else (two.b, two.a)
    there.write(PLAN, "from there\n")
    there.write("Plans/email/zzz.md", "the other edit of it\n")
    there.sync()
    here.write("Plans/email/own.md", "own\n")
    seen = at(two, node, where, lambda: here.write("Plans/email/zzz.md", "typed during the sync\n"))
    here.sync()
    assert where in seen
    here.checkpoint = lambda name: None
    two.settle()
    two.settle()
    typed, other = b"typed during the sync\n", b"the other edit of it\n"
    everything = b"".join(two.a.files().values())
    assert typed in everything and two.a.read(PLAN) == b"from there\n"
    if where == "applied":  # typed over the other edit, which lay there already: the later of two edits, no conflict
        assert two.b.read("Plans/email/zzz.md") == typed
    else:
        assert other in everything
        assert two.b.read("Plans/email/zzz.md") == (typed if node == "a" else other)
    two.assert_agree()


@pytest.mark.parametrize("node", ["a", "b"])
@pytest.mark.parametrize("to", ["In_Progress/cloud", "Rejected"])
def test_34_a_task_moved_during_the_sync_lies_in_one_place(two: Two, node: str, to: str) -> None:
    """The other node's edit of it was about to be applied: both halves of the move are merged with it."""
    task = "email-20260601T100000Z-0a1b2c3d.md"
    two.seed_files({f"Needs_Action/email/{task}": "task\n"})
    here, there = (two.a, two.b) if node == "a" else (two.b, two.a)
    there.write(f"Needs_Action/email/{task}", "task, edited there\n")
    there.sync()
    at(two, node, "intent", lambda: here.move(f"Needs_Action/email/{task}", f"{to}/{task}"))
    here.sync()
    here.checkpoint = lambda name: None
    two.settle()
    two.settle()
    places = [path for path in two.a.files() if path.endswith(task)]
    assert places == [f"{to}/{task}" if node == "a" else f"Needs_Action/email/{task}"], "the Local zone's place"
    assert any(data.endswith(b"task, edited there\n") for data in two.a.files().values())
    two.assert_agree()


def test_34_a_task_that_local_claimed_is_edited_on_the_cloud_during_the_sync(two: Two) -> None:
    """The edit makes a second place of it on the cloud, whose text goes aside before anything is committed."""
    task = "email-20260601T100000Z-0a1b2c3d.md"
    two.seed_files({f"Needs_Action/email/{task}": "task\n"})
    two.a.move(f"Needs_Action/email/{task}", f"In_Progress/local/{task}")
    two.a.sync()
    at(two, "b", "fetched", lambda: two.b.write(f"Needs_Action/email/{task}", "task, annotated\n"))
    two.b.sync()
    two.b.checkpoint = lambda name: None
    two.settle()
    two.settle()
    assert len([path for path in two.a.files() if path.endswith(task)]) == 1
    assert any(data.endswith(b"task, annotated\n") for data in two.a.files().values())
    two.assert_agree()


def test_34_a_log_line_written_during_the_sync_stays(two: Two) -> None:
    path = "Logs/claims.jsonl"
    two.seed_files({path: '{"n":0}\n'})
    two.a.write(path, '{"n":0}\n{"n":"a"}\n')
    two.a.sync()
    two.b.write(path, '{"n":0}\n{"n":"b"}\n')
    at(two, "b", "intent", lambda: two.b.write(path, '{"n":0}\n{"n":"b"}\n{"n":"late"}\n'))
    two.b.sync()
    two.b.checkpoint = lambda name: None
    two.settle()
    two.settle()
    assert sorted(two.a.read(path).splitlines()) == sorted([b'{"n":0}', b'{"n":"a"}', b'{"n":"b"}', b'{"n":"late"}'])
    two.assert_agree()


def test_35_a_note_that_is_being_written_waits(two: Two) -> None:
    two.a.clock._now = datetime.now(UTC) + timedelta(seconds=5)
    two.a.settle_seconds = 30
    two.a.write("note.md", "half of the ")
    assert two.a.sync().result == "noop"
    two.a.write("note.md", "half of the note, and the rest\n")
    two.a.clock.advance(60)
    two.settle()
    assert two.b.read("note.md") == b"half of the note, and the rest\n"
    assert "half of the \n" not in git(two.remote, "log", "-p", "main")


def test_35_a_task_moved_while_it_waits_never_vanishes(two: Two) -> None:
    two.seed_files({PLAN: "x\n"})
    two.a.clock._now = datetime.now(UTC) + timedelta(seconds=5)
    two.a.settle_seconds = 30
    two.a.remove(PLAN)
    two.a.write("Plans/general/trip.md", "x, edited and moved\n")
    two.a.sync()
    two.b.sync()
    assert two.b.has(PLAN), "both halves of a move travel together"
    two.a.clock.advance(60)
    two.settle()
    assert not two.b.has(PLAN) and two.b.has("Plans/general/trip.md")
    two.assert_agree()


def test_38_obsidians_window_state_is_no_change(two: Two) -> None:
    head = two.head()
    for number in range(3):
        two.a.write(".obsidian/workspace.json", f"{number}")
        two.b.write(".obsidian/workspace.json", f"b{number}")
        assert [result.result for result in two.settle()] == ["noop"] * 4
    assert two.head() == head


def test_40_offline_is_a_state_and_the_work_goes_on(two: Two) -> None:
    hidden = two.folder / "hidden.git"
    two.remote.rename(hidden)
    for number in range(3):
        two.a.write(f"note{number}.md", "x\n")
        result = two.a.sync()
        assert (result.result, result.committed) == ("offline", 1)
    status = two.a.vault_sync().status()
    assert (status["state"], status["ahead"]) == ("offline", 3)
    assert two.a.alerts == []
    hidden.rename(two.remote)
    two.settle()
    assert two.b.has("note2.md")
    assert two.a.vault_sync().status()["state"] == "idle"
    two.assert_agree()


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_40_a_remote_that_hangs_is_given_up_and_leaves_no_process(two: Two) -> None:
    with silent_server() as port:
        two.a.git("remote", "set-url", "origin", f"git://127.0.0.1:{port}/vault.git")
        sync = two.a.vault_sync()
        sync._git._timeout = 1.0  # type: ignore[attr-defined]
        result = sync.run()
    assert result.result == "offline" and "did not answer" in str(result.error)
    until(lambda: not subprocess.run(["pgrep", "-f", f"127.0.0.1:{port}"], capture_output=True).stdout)


def test_41_a_hook_that_refuses_then_allows(two: Two) -> None:
    hook = two.remote / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'closed for maintenance' >&2\nexit 1\n")
    hook.chmod(0o755)
    two.a.write("note.md", "x\n")
    result = two.a.sync()
    assert result.result == "error" and "refused the push" in str(result.error)
    assert "closed for maintenance" in str(result.error)
    two.a.sync()
    assert len(two.a.alerts) == 1, "told once"
    hook.unlink()
    two.settle()
    assert two.b.has("note.md")
    two.assert_agree()


def test_42_nothing_changed_five_syncs(two: Two) -> None:
    two.settle()
    head = two.head()
    for _ in range(5):
        assert [result.result for result in two.settle()] == ["noop"] * 4
    assert two.head() == head
    two.assert_agree()


def test_43_a_phone_pushes_between_fetch_and_push(two: Two) -> None:
    phone = two.clone("phone")
    (phone / "phone.md").write_text("from the phone\n")
    (phone / "Dashboard.md").write_text("# edited on the phone\n")
    two.commit_all(phone)
    two.a.write("note.md", "x\n")
    seen = at(two, "a", "decided", lambda: git(phone, "push", "-q"))
    assert two.a.sync().result == "ok"
    assert seen.count("decided") == 2
    two.settle()
    assert two.b.read("phone.md") == b"from the phone\n" and two.b.read("Dashboard.md") == b"# edited on the phone\n"
    two.assert_agree()


def test_half_of_the_vault_gone_stops_the_sync_until_a_person_allows_it(two: Two) -> None:
    two.seed_files({f"notes/{n}.md": f"{n}\n" for n in range(60)})
    shutil.rmtree(two.a.root / "notes")
    result = two.a.sync()
    assert result.result == "error" and "--allow-deletions" in str(result.error)
    two.b.sync()
    assert two.b.has("notes/1.md")
    assert two.a.sync(allow_deletions=True).result == "ok"
    two.settle()
    assert not two.b.has("notes/1.md")


def test_many_files_moved_are_no_deletion(two: Two) -> None:
    two.seed_files({f"notes/{n}.md": f"{n}\n" for n in range(60)})
    (two.a.root / "notes").rename(two.a.root / "archive")
    assert two.a.sync().result == "ok"
    two.settle()
    assert two.b.has("archive/59.md") and not two.b.has("notes/59.md")


def test_an_unmounted_disk_wipes_nothing(two: Two) -> None:
    two.a.remove(".vault")
    assert two.a.sync().result == "error"
    two.b.sync()
    assert two.b.has(".vault")


def test_the_environment_and_the_vaults_config_run_nothing(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    proof = two.folder / "proof"
    for name in ("pre-commit", "post-checkout", "reference-transaction", "pre-push", "post-index-change"):
        hook = two.a.root / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {proof}\n")
        hook.chmod(0o755)
    two.a.git("config", "core.hooksPath", str(two.a.root / ".git/hooks"))
    two.a.git("config", "core.fsmonitor", f"touch {proof}")
    two.a.git("config", "filter.evil.clean", f"touch {proof}")
    two.a.write(".gitattributes", "* filter=evil text eol=crlf\n")
    for name, value in (
        ("GIT_DIR", "/nowhere"),
        ("GIT_WORK_TREE", "/nowhere"),
        ("GIT_INDEX_FILE", "/nowhere/index"),
        ("GIT_OBJECT_DIRECTORY", "/nowhere"),
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "core.sshCommand"),
        ("GIT_CONFIG_VALUE_0", f"touch {proof}"),
        ("GIT_QUARANTINE_PATH", "/nowhere"),
    ):
        monkeypatch.setenv(name, value)
    two.a.write("note.md", "a\nb\r\n")
    result = two.a.sync()
    assert result.result == "ok", result.error
    two.b.sync()
    assert two.b.read("note.md") == b"a\nb\r\n"
    assert not proof.exists()
    assert two.a.vault_sync().known_to_git("note.md", b"a\nb\r\n")


def test_what_git_knows(two: Two) -> None:
    two.seed_files({"note.md": "x\n"})
    sync = two.a.vault_sync()
    assert sync.known_to_git("note.md", b"x\n")
    assert not sync.known_to_git("note.md", b"y\n") and not sync.known_to_git("other.md", b"x\n")
    two.seed_files({"In_Progress/local/x.md": "x\n"})
    two.a.write("In_Progress/local/y.md", "y\n")
    assert sync.confirmed("In_Progress/local") == {"In_Progress/local/.gitkeep", "In_Progress/local/x.md"}
    two.b.write(PLAN, "from B\n")
    two.b.sync()
    steps = at(two, "a", "file", lambda: steps.append(str(sync.known_to_git(PLAN, b"from B\n"))))
    two.a.sync()
    assert "True" in steps, "known before the branch moves"


def test_a_vault_alone_keeps_history_without_a_remote(tmp_path: Path) -> None:
    two = Two(tmp_path, ready=False)
    for node in (two.a, two.b):
        node.vault_sync().prepare()
        node.write("Plans/note.md", "x\n")
        assert node.sync().result == "ok"
        assert node.sync().result == "noop"
        sync = node.vault_sync()
        assert not sync.has_remote() and sync.confirmed("In_Progress") is None
        assert sync.status()["remote"] is None
        assert node.git("status", "--porcelain") == ""


def test_no_git_process_is_left(two: Two) -> None:
    two.a.write("note.md", "x\n")
    two.settle()
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    names = [Path(f"/proc/{pid}/comm").read_text().strip() for pid in children.read_text().split()]
    assert "git" not in names


def test_nothing_is_committed_before_the_humans_moves_are_noted(two: Two) -> None:
    head = two.head()
    two.a.write("note.md", "x\n")

    def fail() -> None:
        raise RuntimeError("the store is locked")

    two.a.observe_moves = fail
    result = two.a.sync()
    assert result.result == "error" and "the store is locked" in str(result.error)
    assert two.head() == head == two.a.git("rev-parse", "HEAD").strip()
    order: list[str] = []
    two.a.observe_moves = lambda: order.append(two.a.git("rev-parse", "HEAD").strip())
    two.a.sync()
    assert order[0] == head


def test_a_name_that_is_no_text_is_refused_and_printable(two: Two) -> None:
    (two.a.root / os.fsdecode(b"caf\xe9.md")).write_text("x\n")
    result = two.a.sync()
    assert [item["path"] for item in result.refused] == ["caf�.md"]
    assert "UTF-8" in result.refused[0]["reason"]
    assert result.summary().encode() and str(two.a.alerts).encode()


def test_status_is_true_and_makes_no_folder(two: Two, tmp_path: Path) -> None:
    two.a.write("note.md", "x\n")
    sync = two.a.vault_sync()
    assert sync.status()["dirty"] and sync.status()["state"] == "idle"
    sync.run()
    status = sync.status()
    assert (status["dirty"], status["ahead"], status["behind"]) == (False, 0, 0)
    assert status["head"] == status["remote_head"] == two.head()
    assert status["last_sync"]["result"] == "ok" and status["last_success_at"]
    assert (status["branch"], status["remote"]) == ("main", "origin")
    shutil.rmtree(two.a.root)
    assert two.a.vault_sync().status()["head"] is None
    assert not two.a.root.exists()


def test_the_day_s_objects_are_packed_and_none_is_lost(two: Two) -> None:
    for day in range(3):
        for number in range(5):
            two.a.write("note.md", f"{day} {number}\n")
            two.a.sync()
        two.a.clock.advance(86400)
    two.settle()
    assert len(list((two.a.root / ".git/objects/pack").glob("*.pack"))) < 6
    two.a.git("fsck", "--full", "--strict")
    two.assert_agree()


def test_another_branch_without_a_commit_comes_home_with_its_edits(two: Two) -> None:
    """`git checkout --orphan` in the vault, while the Cloud goes on."""
    two.seed_files({"Updates/u.md": "1\n", "Updates/gone.md": "x\n", "note.md": "1\n"})
    two.a.git("checkout", "-q", "--orphan", "new")
    two.a.write("note.md", "2\n")
    two.b.write("Updates/u.md", "2\n")
    two.b.remove("Updates/gone.md")
    two.b.sync()
    assert two.a.sync().error is None
    two.settle()
    assert two.a.read("Updates/u.md") == b"2\n" and two.b.read("note.md") == b"2\n"
    assert not two.a.has("Updates/gone.md")
    two.assert_agree()


def test_what_nobody_foresaw_is_an_error_that_is_told_and_the_next_sync_goes_on(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.a.write("note.md", "x\n")
    with monkeypatch.context() as patch:
        patch.setattr("utils.sync.gather.look", lambda *_: [][1])
        result = two.a.sync()
    assert result.result == "error" and "IndexError" in str(result.error)
    assert two.a.vault_sync().status()["state"] == "error"
    assert [level for level, _, _ in two.a.alerts] == ["WARNING"]
    assert two.a.sync().result == "ok"


def test_a_task_that_is_claimed_and_put_back_while_sync_looks_stays(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """It seems copied into In_Progress, but when the copy would be removed it is the only one (S1)."""
    there = "Needs_Action/general/general-20260601T100000Z-0123abcd.md"
    two.seed_files({there: "task\n"})
    claims, status, read = claims_of(two.a), GitVault.changed, worktree.read
    claimed: list[Path] = []

    def changed(vault: GitVault) -> dict[str, Seen]:
        """git looked at the tracked files before the claim and at the new ones after it."""
        if len(claimed) < 2:
            taken = claims.claim(two.a.root / there)
            assert taken is not None
            claimed.append(taken)
            return {path: seen for path, seen in status(vault).items() if path != there}
        return status(vault)

    def reads(root: Path, path: str, *, locked: bool = False) -> bytes | None:
        data = read(root, path, locked=locked)
        if path.startswith("In_Progress/local/") and claimed[0].exists():
            claims.release(claimed[0], "general", "the handler failed at once")
        return data

    with monkeypatch.context() as patch:
        patch.setattr(GitVault, "changed", changed)
        patch.setattr(worktree, "read", reads)
        two.a.sync()
    assert len(claimed) == 2 and two.a.read(there) == b"task\n"
    two.settle()
    assert two.b.read(there) == b"task\n"
    two.assert_agree()


@pytest.mark.parametrize("later", ["", "edited by the agent\n"])
def test_a_task_that_is_claimed_while_its_end_arrives_is_done(two: Two, later: str) -> None:
    name = "general-20260601T100000Z-0123abcd.md"
    two.seed_files({f"Needs_Action/general/{name}": "task\n"})
    assert claims_of(two.b).claim(two.b.root / f"Needs_Action/general/{name}") is not None
    claims_of(two.b).move(two.b.root / f"In_Progress/cloud/{name}", Stage.DONE)
    two.b.sync()

    def claims_it_again() -> None:
        taken = claims_of(two.a).claim(two.a.root / f"Needs_Action/general/{name}")
        assert taken is not None
        taken.write_text(f"task\n{later}")

    at(two, "a", "intent", claims_it_again)
    two.a.sync()
    two.settle()
    for node in (two.a, two.b):
        assert node.has(f"Done/{name}") and not node.has(f"In_Progress/local/{name}")
    assert bool(two.a.conflicts()) == bool(later), "what was written is kept"
    two.assert_agree()
