"""The Local vault is put back from a backup, or set back by hand: what its human wrote since comes back from the remote
and is undone on neither node. No keys are set up here; with keys `test_sync_signing` tells who wrote what."""

from __future__ import annotations

import json
import re
import shutil
import time
from datetime import datetime
from pathlib import Path

import pytest

from tests.vaults import Node, Two, claims_of, git
from utils.core.signing import ADDRESSES, Key
from utils.vault.memory import Memory
from utils.vault_sync import SyncResult

LOCAL = "AI Employee (local) <local@ai-employee.invalid>"
TASK = "email-20260601T100000Z-0a1b2c3d.md"
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


def asked_about(result: SyncResult) -> str:
    """The commit that the sync asks about."""
    found = re.search(r"sync --accept-own ([0-9a-f]{12})`", str(result.error))
    assert result.result == "error" and found, result.summary()
    return found[1]


def said_own(two: Two) -> None:
    """The person says that what the sync asks about is Local's own work."""
    assert two.a.sync(accept_own=asked_about(two.a.sync())).error is None
    two.settle()


@pytest.mark.parametrize("later", [600, 3600, -86400], ids=["ten minutes", "an hour", "a clock that is behind"])
def test_the_vault_and_the_state_are_put_back_and_a_person_says_so(two: Two, later: float) -> None:
    two.seed_files({"Company_Handbook.md": "old\n"})
    keep(two.a.root), keep(two.a.state)
    write_more(two)
    before = two.head()
    put_all_back(two.a)
    two.a.clock.advance(later)
    asked_about(two.a.sync())
    assert two.head() == before and "CRITICAL" in {level for level, _, _ in two.a.alerts}
    assert two.b.sync().result == "noop", "nothing of it was undone on the other node"
    said_own(two)
    assert_all_is_there(two)


@pytest.mark.parametrize("there", [f"Done/{TASK}", f"Rejected/{TASK}", f"Done/2026-01/{TASK}"])
def test_what_local_answered_since_stays_answered(two: Two, there: str) -> None:
    """An approval that came to life again would be carried out twice."""
    two.seed_files({f"Approved/{TASK}": "---\nx: 1\n---\npay\n", ".gitignore": "old\n"})
    keep(two.a.root), keep(two.a.state)
    two.a.move(f"Approved/{TASK}", there)
    two.a.write(".gitignore", "new\n")
    two.settle()
    put_all_back(two.a)
    two.a.clock.advance(3600)
    said_own(two)
    for node in (two.a, two.b):
        assert node.has(there) and not node.has(f"Approved/{TASK}") and node.read(".gitignore") == b"new\n"
    two.assert_agree()


OLD, NEW = "---\nx: 1\n---\npay\n", "---\nx: 1\n---\npay more\n"


@pytest.mark.parametrize(
    ("before", "since", "meanwhile", "stands"),
    [
        (f"Approved/{TASK}", f"Done/{TASK}", f"Pending_Approval/email/{TASK}", f"Done/{TASK}"),
        (f"Pending_Approval/email/{TASK}", f"Done/{TASK}", f"Approved/{TASK}", f"Done/{TASK}"),
        (f"Pending_Approval/email/{TASK}", f"Done/2026-01/{TASK}", f"Rejected/{TASK}", f"Done/2026-01/{TASK}"),
        (f"Needs_Action/email/{TASK}", f"Done/{TASK}", f"Quarantine/{TASK}", f"Done/{TASK}"),
        (f"Pending_Approval/email/{TASK}", f"Rejected/{TASK}", f"Approved/{TASK}", f"Rejected/{TASK}"),
        (f"Pending_Approval/email/{TASK}", f"Rejected/{TASK}", f"Done/{TASK}", f"Done/{TASK}"),
    ],
    ids=["asks again", "approved again", "rejected now", "set aside", "approved after all", "sent after all"],
)
@pytest.mark.parametrize("text", [OLD, NEW], ids=["", "edited"])
def test_what_is_done_with_an_old_task_meanwhile_undoes_no_end(
    two: Two, before: str, since: str, meanwhile: str, stands: str, text: str
) -> None:
    """Before a sync could tell the put back Local that the mail has gone, it or its human moves the request."""
    two.seed_files({before: OLD})
    keep(two.a.root), keep(two.a.state)
    two.a.move(before, since)
    two.settle()
    put_all_back(two.a)
    two.a.clock.advance(3600)
    two.a.move(before, meanwhile)
    two.a.write(meanwhile, text)
    said_own(two)
    for node in (two.a, two.b):
        assert [path for path in node.files() if path.endswith(f"/{TASK}")] == [stands]
    kept = {data.partition(b"---\n")[2][-len(NEW) :] for data in two.a.conflicts().values()}
    assert kept == ({NEW.encode()} if text == NEW and stands != meanwhile else set()), "an edit that yields"
    two.assert_agree()


@pytest.mark.parametrize("signs", [False, True], ids=["", "signed"])
def test_a_task_that_is_done_again_by_a_put_back_local_asks_for_nothing(two: Two, signs: bool) -> None:
    task, request = "email-20260601T100000Z-0123abcd.md", "email-20260601T100000Z-99999999.md"
    if signs:
        for node in (two.a, two.b):
            node.keys.create(node.zone)
        two.a.keys.enrol(Key(two.b.keys.own() or "", ADDRESSES["cloud"]))
        two.b.keys.enrol(Key(two.a.keys.own() or "", ADDRESSES["local"]))
    two.seed_files({f"Needs_Action/email/{task}": "a task\n"})
    keep(two.a.root), keep(two.a.state)
    two.a.move(f"Needs_Action/email/{task}", f"Done/{task}")
    two.a.write(f"Done/{request}", "a mail, with its receipt\n")
    two.settle()
    put_all_back(two.a)
    two.a.clock.advance(3600)
    assert claims_of(two.a).claim(two.a.root / f"Needs_Action/email/{task}")
    two.a.write(f"Pending_Approval/email/{request}", "the mail, drafted anew\n")
    if signs:
        two.settle()
    else:
        said_own(two)
    for node in (two.a, two.b):
        places = [path for path in node.files() if path.endswith((f"/{task}", f"/{request}"))]
        assert sorted(places) == [f"Done/{task}", f"Done/{request}"]
    two.assert_agree()


@pytest.mark.parametrize("seen", ["copied", "asleep"])
def test_the_remote_is_put_back_with_local(two: Two, seen: str) -> None:
    """From one night's backup: Local's first syncs find nothing new, and what it wrote since comes from the Cloud."""
    two.seed_files({"Company_Handbook.md": "old\n"})
    old = two.head()
    keep(two.a.root), keep(two.a.state)
    write_more(two)
    put_all_back(two.a)
    git(two.remote, "update-ref", "refs/heads/main", old)
    if seen == "copied":
        copied_long_after(two.a)
    else:
        two.a.clock.advance(3600)
    for _ in range(20):
        assert two.a.sync().result == "noop"
        two.a.clock.advance(300)
    assert "rolled back" in str(two.b.sync().error)
    two.b.sync(accept_remote=True)
    said_own(two)
    assert_all_is_there(two)


@pytest.mark.parametrize("state", ["gone", "damaged"])
def test_the_remote_and_the_vault_are_put_back_without_the_state(two: Two, state: str) -> None:
    two.seed_files({"Company_Handbook.md": "old\n"})
    old = two.head()
    keep(two.a.root)
    write_more(two)
    put_back(two.a.root)
    git(two.remote, "update-ref", "refs/heads/main", old)
    if state == "gone":
        shutil.rmtree(two.a.state)
    else:
        (two.a.state / "sync.json").write_text("{")
    for _ in range(3):
        assert two.a.sync().error is None
        two.a.clock.advance(300)
    two.b.sync(accept_remote=True)
    said_own(two)
    assert_all_is_there(two)


def test_a_vault_that_was_copied_to_a_new_machine_without_its_state(two: Two) -> None:
    """The old machine writes once more: the human's own word, on the new one too."""
    two.seed_files({"Notes/x.md": "x\n"})
    shutil.copytree(two.a.root, two.folder / "new", symlinks=True)
    new = Node("local", two.folder / "new", two.folder / "state-new", two.remote)
    assert new.sync().error is None
    two.a.write("Notes/last.md", "written on the old machine\n")
    two.a.sync()
    new.clock.advance(300)
    assert new.sync(accept_own=asked_about(new.sync())).error is None
    two.a = new
    two.settle()
    assert two.a.read("Notes/last.md") == two.b.read("Notes/last.md") == b"written on the old machine\n"
    two.assert_agree()


def test_what_local_merged_over_a_phones_version_stays(two: Two) -> None:
    """Nothing of it would be refused, but the phone's would come back."""
    two.seed_files({"Plans/x.md": "base\n"})
    keep(two.a.root), keep(two.a.state)
    phone = two.clone("phone")
    (phone / "Plans/x.md").write_text("phone\n")
    two.commit_all(phone)
    git(phone, "push", "-q")
    two.a.write("Plans/x.md", "the human on local\n")
    two.settle()
    put_all_back(two.a)
    two.a.clock.advance(3600)
    said_own(two)
    assert two.b.read("Plans/x.md") == b"the human on local\n"
    two.assert_agree()


def forge(two: Two, files: dict[str, str], *, name: str = "evil") -> None:
    clone = two.clone(name)
    for path, text in files.items():
        (clone / path).parent.mkdir(parents=True, exist_ok=True)
        (clone / path).write_text(text)
    two.commit_all(clone, author=LOCAL)
    git(clone, "push", "-q")


def test_what_was_pushed_after_the_question_is_asked_about_too(two: Two) -> None:
    two.seed_files({"Business_Goals.md": "ours\n"})
    keep(two.a.root), keep(two.a.state)
    write_more(two)
    put_all_back(two.a)
    two.a.clock.advance(3600)
    own = asked_about(two.a.sync())
    forge(two, {"Business_Goals.md": "pwned\n"})
    assert asked_about(two.a.sync(accept_own=own)) != own
    assert two.a.read("Business_Goals.md") == b"ours\n"


@pytest.mark.parametrize("said", ["0123456789ab", "abc", "nonsense"])
def test_a_commit_that_nobody_asked_about_is_not_accepted(two: Two, said: str) -> None:
    forge(two, {"Business_Goals.md": "pwned\n"})
    two.a.clock.advance(3600)
    two.a.sync()
    alerts = list(two.a.alerts)
    assert f"no commit {said} in this node's own name arrived" in str(two.a.sync(accept_own=said).error)
    assert two.a.alerts == alerts, "a slip of the hand is nobody else's business"
    assert two.a.read("Business_Goals.md") != b"pwned\n"


def test_a_forger_who_met_a_sleeping_local_is_refused_once_local_signs(two: Two) -> None:
    two.seed_files({"Company_Handbook.md": "ours\n"})
    forge(two, {"Company_Handbook.md": "pwned\n"})
    two.a.clock.advance(3600)
    assert "keys create`; then they are refused" in str(two.a.sync().error)
    two.a.write("Notes/mine.md", "x\n")
    two.a.keys.create("local")
    assert two.a.sync().error is None
    two.b.sync()
    assert two.a.read("Company_Handbook.md") == b"ours\n" and two.b.has("Notes/mine.md")


def test_who_accepts_a_rolled_back_remote_accepts_no_deletions_in_locals_name(two: Two) -> None:
    two.seed_files({f"Notes/{number}.md": f"{number}\n" for number in range(30)})
    old = two.head()
    two.a.write("Notes/z.md", "z\n")
    two.settle()
    git(two.remote, "update-ref", "refs/heads/main", old)
    clone = two.clone("evil")
    git(clone, "rm", "-rq", "Notes")
    two.commit_all(clone, author=LOCAL)
    git(clone, "push", "-q")
    two.a.sync(accept_remote=True)
    assert two.a.has("Notes/3.md") and two.a.has("Notes/z.md")


def test_who_writes_in_the_name_of_a_local_that_syncs_is_refused_at_once(two: Two) -> None:
    two.seed_files({"Company_Handbook.md": "ours\n"})
    forge(two, {"Company_Handbook.md": "pwned\n"})
    two.a.clock.advance(300)
    assert [item["path"] for item in two.a.sync().refused] == ["Company_Handbook.md"]
    two.settle()
    assert two.b.read("Company_Handbook.md") == b"ours\n"
    two.assert_agree()


# --- and nothing is done twice meanwhile (S8) ------------------------------------------------------------------------


def said_of_writing(file: Path, seconds: float) -> None:
    memory = json.loads(file.read_text())
    file.write_text(json.dumps({**memory, "written": memory["written"] + seconds}))


def copied_long_after(node: Node) -> None:
    """As a backup tool leaves it: what the state says of its writing is older than its change time."""
    said_of_writing(node.state / "sync.json", -600)


def reason(node: Node, started: datetime | None = None) -> str:
    return node.vault_sync().reason_to_wait(started or node.clock.now()) or ""


def test_a_backup_of_a_minute_ago_is_noticed_too(two: Two) -> None:
    two.seed_files({f"Approved/{TASK}": "---\nx: 1\n---\npay\n"})
    keep(two.a.root), keep(two.a.state)
    two.a.move(f"Approved/{TASK}", f"Done/{TASK}")
    two.settle()
    put_all_back(two.a)
    copied_long_after(two.a)
    two.a.clock.advance(25)
    assert "put back" in reason(two.a)
    asked_about(two.a.sync())
    assert "put back" in reason(two.a), "the answer is still open"
    said_own(two)
    assert two.b.has(f"Done/{TASK}") and not two.a.has(f"Approved/{TASK}")
    assert reason(two.a) == ""


def test_a_snapshot_of_a_minute_ago_is_noticed_by_the_start(two: Two) -> None:
    """The disk's change times are put back with it; but the machine had to be started."""
    two.seed_files({f"Approved/{TASK}": "---\nx: 1\n---\npay\n"})
    keep(two.a.root), keep(two.a.state)
    two.a.move(f"Approved/{TASK}", f"Done/{TASK}")
    two.settle()
    put_all_back(two.a)
    Memory(two.a.state / "sync.json").update(boot="the one before")
    two.a.clock.advance(25)
    assert "no sync has gone well" in reason(two.a)
    said_own(two)
    assert two.b.has(f"Done/{TASK}") and not two.a.has(f"Approved/{TASK}")
    assert reason(two.a) == ""


def test_a_started_node_waits_for_its_first_sync(two: Two) -> None:
    two.a.write("note.md", "x\n")
    two.a.sync()
    assert reason(two.a) == "", "it was restarted"
    two.a.clock.advance(700)
    started = two.a.clock.now()
    assert "no sync has gone well" in reason(two.a, started)
    two.remote.rename(two.folder / "away.git")
    assert two.a.sync().result in ("offline", "error")
    assert "no sync has gone well" in reason(two.a, started)
    (two.folder / "away.git").rename(two.remote)
    two.a.sync()
    two.a.clock.advance(86400)
    assert reason(two.a, started) == "", "one that works offline goes on"


@pytest.mark.parametrize("behind", [1, 3600, 300 * 86400])
def test_a_clock_that_is_behind_the_last_sync_proves_nothing(two: Two, behind: float) -> None:
    """An image put back on a machine whose clock stopped with it."""
    two.a.sync()
    assert reason(two.a) == ""
    two.a.clock.advance(-behind)
    assert "clock" in reason(two.a)
    two.a.sync()
    assert reason(two.a) == ""


def test_a_backup_by_hard_links_puts_nothing_back(two: Two) -> None:
    two.a.sync()
    copied_long_after(two.a)
    assert "put back" in reason(two.a)
    (two.folder / "sync.json").hardlink_to(two.a.state / "sync.json")
    assert reason(two.a) == ""


def test_a_file_server_with_a_clock_of_its_own_puts_nothing_back(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + 60)
    two.a.write("note.md", "x\n")
    two.a.sync()
    assert reason(two.a) == ""


def test_a_vault_without_a_remote_waits_for_nothing(tmp_path: Path) -> None:
    two = Two(tmp_path, ready=False)
    two.a.vault_sync().prepare()
    two.a.clock.advance(86400)
    assert reason(two.a) == ""
