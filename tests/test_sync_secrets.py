"""Secrets stay out (S11): what the scanner finds, what it takes for none, and what a person does about either."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.secret_samples import ordinary, secrets
from tests.test_sync_trust import CLOUD, KEY, pushed_by_cloud
from tests.vaults import Two, git
from utils.adapters import secret_scan
from utils.adapters.git import GitVault
from utils.adapters.secret_scan import SecretScan
from utils.ports import AdapterError
from utils.vault.skeleton import VaultProblem

MARK = "<!-- pragma: allowlist secret -->"
TOKEN = secrets()["stripe"]


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


@pytest.fixture
def scan(tmp_path: Path) -> SecretScan:
    return SecretScan(tmp_path)


@pytest.mark.parametrize("provider", list(secrets()))
def test_36_a_secret_of_each_provider_is_found_and_not_told(scan: SecretScan, provider: str) -> None:
    secret = secrets()[provider]
    border = "z" * 4080 + f" {secret} " + "z" * 4080
    for text in (secret, border, f"Hello,\nhere it is: {secret}\nBye\n", "é" * 5000 + f" {secret} " + "x" * 5000):
        found = scan.find(text.encode())
        assert found is not None and found.level == "CRITICAL", text[:60]
        assert secret.splitlines()[0] not in found.reason


def test_36_ordinary_notes_and_mails_hold_no_secret(scan: SecretScan) -> None:
    notes = dict(ordinary())
    assert len(notes) > 400
    assert {name: found.reason for name, data in notes.items() if (found := scan.find(data))} == {}


def test_36_a_secret_is_found_in_any_encoding_and_in_a_file_that_calls_itself_a_picture(scan: SecretScan) -> None:
    assert scan.find(TOKEN.encode("utf-16"))
    assert scan.find(b"\xff\xe9 no UTF-8\n" + TOKEN.encode() + b"\xfe")
    assert scan.find(b"\x89PNG\0\0" + KEY.encode())


@pytest.mark.parametrize("provider", ["aws", "stripe", "github"])
@pytest.mark.parametrize("far", [0, 20_000])
def test_36_no_nul_hides_a_secret(scan: SecretScan, provider: str, far: int) -> None:
    secret = secrets()[provider]
    before = b"Hello\n" * (far // 6)
    for hidden in (
        b"\0" + secret.encode(),
        b"word\0" + secret.encode() + b"\0",
        secret.encode("utf-16-le"),
        secret.encode("utf-16-be"),
        secret[:-9].encode() + b"\0" + secret[-9:].encode(),
    ):
        assert scan.find(before + hidden), hidden
    assert scan.find(secret.encode("utf-16") + b"\0\0"), "nor where the encoding is told"


def test_36_the_noise_of_a_picture_is_no_secret(scan: SecretScan) -> None:
    assert scan.find(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + random.Random(7).randbytes(3_000_000)) is None


def test_36_a_person_on_local_lets_a_false_alarm_pass(two: Two) -> None:
    two.a.write("one.md", f"a sample: {TOKEN} {MARK}\n")
    two.a.write("above.md", f"<!-- pragma: allowlist nextline secret -->\n{TOKEN}\n")
    two.a.write("other.md", f"{MARK}\nfine\n{TOKEN}\n")
    assert [item["path"] for item in two.a.sync().refused] == ["other.md"]
    two.b.sync()
    assert two.b.has("one.md") and two.b.has("above.md") and not two.b.has("other.md")


def test_36_no_mark_of_the_clouds_lets_a_secret_pass(two: Two) -> None:
    two.b.write("Plans/note.md", f"{TOKEN} {MARK}\n")
    assert [item["path"] for item in two.b.sync().refused] == ["Plans/note.md"]
    pushed_by_cloud(two, {"Plans/sent.md": f"{TOKEN} {MARK}\n"})
    result = two.a.sync()
    assert [item["path"] for item in result.refused] == ["Plans/sent.md"]
    assert not two.a.has("Plans/sent.md") and two.a.conflicts() == {}, "not copied around"


def test_36_the_cloud_may_move_a_task_that_local_let_pass(two: Two) -> None:
    task = "email-20260601T100000Z-0a1b2c3d.md"
    two.seed_files({f"Needs_Action/email/{task}": f"{TOKEN} {MARK}\n"})
    two.b.move(f"Needs_Action/email/{task}", f"In_Progress/cloud/{task}")
    pushed_by_cloud(two, {"Updates/n.md": "x\n"})
    phone = two.clone("mover")
    (phone / f"Needs_Action/email/{task}").rename(phone / f"In_Progress/cloud/{task}")
    two.commit_all(phone, author=CLOUD)
    git(phone, "push", "-q")
    assert two.a.sync().refused == []
    assert two.a.has(f"In_Progress/cloud/{task}")


def test_36_a_secret_from_a_persons_phone_is_not_taken_over_and_the_remedy_is_told(two: Two) -> None:
    two.seed_files({"note.md": "fine\n"})
    phone = two.clone("phone")
    (phone / "note.md").write_text(f"my key: {TOKEN}\n")
    (phone / "marked.md").write_text(f"a sample: {TOKEN} {MARK}\n")
    (phone / "other.md").write_text("taken over\n")
    two.commit_all(phone)
    git(phone, "push", "-q")
    result = two.a.sync()
    assert [item["path"] for item in result.refused] == ["note.md"]
    assert "revoke the key" in result.refused[0]["reason"] and "history" in result.refused[0]["reason"]
    assert two.a.read("note.md") == b"fine\n" and two.a.conflicts() == {}
    assert two.a.has("marked.md") and two.a.has("other.md")
    assert [level for level, _, _ in two.a.alerts] == ["CRITICAL"]
    assert not any(TOKEN in text for alert in two.a.alerts for text in alert)
    two.settle()
    assert two.b.read("note.md") == b"fine\n"
    two.assert_agree()
    assert len(two.a.alerts) == 1, "told once"


def test_a_missing_scanner_stops_everything_and_says_so(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    before = two.head()
    monkeypatch.setattr(secret_scan.importlib.util, "find_spec", lambda name: None)
    two.a.write("note.md", "x\n")
    result = two.a.sync()
    assert result.result == "error" and "detect-secrets is not installed" in str(result.error)
    assert "pip install -r requirements.txt" in str(result.error)
    assert two.head() == before and two.a.git("rev-parse", "HEAD").strip() == before
    monkeypatch.undo()
    assert two.a.sync().result == "ok"


def test_a_broken_scanner_stops_everything_and_says_so(
    scan: SecretScan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_scan, "_loaded", {})
    monkeypatch.setattr(secret_scan, "_PROJECT", tmp_path)  # the process that asks for the rules finds nothing there
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with pytest.raises(AdapterError, match="does not work") as caught:
        scan.find(b"x")
    assert not caught.value.retry
    (tmp_path / "secret_rules.json").write_text("{broken")
    with pytest.raises(AdapterError, match="does not work"):
        scan.find(b"x")


def test_rules_are_read_anew_for_another_version_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_scan, "_loaded", {})
    scan, file = SecretScan(tmp_path), tmp_path / "secret_rules.json"
    scan.find(b"x")
    written = json.loads(file.read_bytes())
    assert len(written["rules"]) > 20
    written["stamp"] = "another version"
    written["rules"] = written["rules"][:1]
    file.write_text(json.dumps(written))
    monkeypatch.setattr(secret_scan, "_loaded", {})
    assert scan.find(TOKEN.encode())
    assert len(json.loads(file.read_bytes())["rules"]) > 20
    monkeypatch.setattr(secret_scan, "_loaded", {})
    monkeypatch.setattr(secret_scan.subprocess, "run", lambda *a, **k: pytest.fail("the rules are known"))
    assert scan.find(TOKEN.encode())


def test_content_made_to_be_slow_is_refused_and_nothing_else(two: Two) -> None:
    two.a.secrets = SecretScan(two.a.state, seconds=-1.0, seconds_per_mib=0.0)  # a minute is long for a test
    two.a.write("note.md", "x\n")
    result = two.a.sync()
    assert [item["path"] for item in result.refused] == ["note.md"]
    assert "could not be searched" in result.refused[0]["reason"]
    two.a.secrets = None
    assert two.a.sync().committed


def test_the_scanners_package_is_not_loaded_by_whoever_scans(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from utils.adapters.secret_scan import SecretScan;"
        f"SecretScan(Path({str(tmp_path)!r})).find(b'x');"
        "sys.exit(bool({'detect_secrets', 'requests', 'yaml'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parent.parent
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == 0


def in_history(two: Two, text: str) -> str:
    return git(two.remote, "log", "--all", "--format=%h", "-S", text).strip()


@pytest.mark.parametrize("zone", ["a", "b"])
@pytest.mark.parametrize("later", ["stays", "taken back", "moved"])
def test_36_a_secret_that_a_person_committed_in_the_vault_is_not_pushed(two: Two, zone: str, later: str) -> None:
    node = getattr(two, zone)
    node.write("Plans/note.md", f"my key: {TOKEN}\n")
    node.git("add", "-A")
    node.git("commit", "-q", "-m", "backup")
    if later != "stays":
        node.git(*(["rm", "-q", "Plans/note.md"] if later == "taken back" else ["mv", "Plans/note.md", "Plans/n2.md"]))
        node.git("commit", "-q", "-m", "later")
    before = two.head()
    for _ in range(2):
        result = node.sync()
        assert result.result == "error" and "Plans/note.md" in str(result.error)
        assert TOKEN not in str(result.error)
    assert two.head() == before and in_history(two, TOKEN) == ""
    assert [level for level, title, _ in node.alerts if title.startswith("A secret")] == ["CRITICAL"], "told once"
    remedy = str(result.error).split("`")[1].split()
    assert remedy[:3] == ["git", "reset", "--soft"]
    node.git(*remedy[1:])
    node.write("Plans/other.md", "travels\n")
    for left in ("Plans/note.md", "Plans/n2.md"):
        if node.has(left):
            node.write(left, "no key any more\n")
    assert node.sync().result == "ok"
    two.settle()
    two.assert_agree(loose=frozenset({f"my key: {TOKEN}\n".encode()}))
    assert in_history(two, TOKEN) == "" and two.a.has("Plans/other.md")


def test_36_a_file_named_like_a_secret_that_a_person_committed_is_not_pushed(two: Two) -> None:
    two.a.write(".env", "PASSWORD=x\n")
    two.a.git("add", "-f", ".env")
    two.a.git("commit", "-q", "-m", "backup")
    assert ".env: the name says" in str(two.a.sync().error)
    assert git(two.remote, "ls-tree", "--name-only", "main", ".env") == ""


@pytest.mark.parametrize("said", [False, True])
def test_36_a_file_named_like_a_secret_stays_where_it_lies_whatever_the_person_does(two: Two, said: bool) -> None:
    """Whether they say that it is none, or do what the sync asks for."""
    two.seed_files({"Notes/y.md": "y\n"})
    two.a.write("Notes/token.json", '{"design": "tokens"}\n')
    two.a.git("add", "-A")
    two.a.git("commit", "-q", "-m", "backup")
    stopped = str(two.a.sync().error)
    assert "take it out of the file" not in stopped, "it is the name"
    if said:
        two.a.sync(push_secret=re.findall(r"--push-secret (\w+)", stopped))
    else:
        (remedy,) = re.findall("`(git reset [^`]*)`", stopped)
        subprocess.run(["bash", "-c", remedy], cwd=two.a.root, check=True)
    for result in two.settle()[::2]:
        assert result.error is None and [item["path"] for item in result.refused] == ["Notes/token.json"]
    assert two.a.has("Notes/token.json") and not two.b.has("Notes/token.json")
    assert bool(in_history(two, "design")) == said
    two.a.move("Notes/token.json", "Notes/design.json")
    two.settle()
    assert two.b.has("Notes/design.json")
    two.assert_agree()


def test_36_a_marked_secret_and_an_old_note_that_a_person_moved_are_pushed(two: Two) -> None:
    two.a.write("marked.md", f"a sample: {TOKEN} {MARK}\n")
    two.a.git("add", "-A")
    two.a.git("commit", "-q", "-m", "backup")
    assert two.a.sync().result == "ok"
    two.b.sync()
    two.b.git("mv", "marked.md", "Plans/marked.md")
    two.b.git("commit", "-q", "-m", "moved: the cloud's marks count not, but these bytes are on the remote")
    assert two.b.sync().error is None


def test_36_what_a_merge_of_a_persons_brought_is_searched_too(two: Two) -> None:
    two.seed_files({"note.md": "one\n"})
    two.a.git("checkout", "-q", "-b", "side")
    for branch, text in (("side", "side\n"), ("main", "main\n")):
        two.a.git("checkout", "-q", branch)
        two.a.write("note.md", text)
        two.a.git("commit", "-qam", branch)
    two.a.git("merge", "-q", "side", check=False)
    two.a.write("note.md", f"both {TOKEN}\n")
    two.a.git("commit", "-qam", "merged")
    two.a.write("note.md", "both\n")
    assert "note.md" in str(two.a.sync().error)
    assert in_history(two, TOKEN) == ""


def test_36_a_secret_in_a_half_done_merge_is_not_committed(two: Two) -> None:
    two.seed_files({"note.md": "one\n"})
    two.a.git("checkout", "-q", "-b", "side")
    for branch, text in (("side", "side\n"), ("main", "main\n")):
        two.a.git("checkout", "-q", branch)
        two.a.write("note.md", text)
        two.a.git("commit", "-qam", branch)
    two.a.git("merge", "-q", "side", check=False)
    half = two.a.read("note.md")
    two.a.write("note.md", half + f"{TOKEN}\n".encode())
    result = two.a.sync()
    assert "note.md is half merged" in str(result.error) and TOKEN not in str(result.error)
    two.a.write("note.md", half)
    assert two.a.sync().result in ("ok", "conflicts")
    assert in_history(two, TOKEN) == ""


def test_36_own_commits_that_were_pushed_are_not_searched_again(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    two.a.sync()
    monkeypatch.setattr(GitVault, "added", lambda *_: pytest.fail("nobody committed here by hand"))
    two.a.write("note.md", "x\n")
    assert two.a.sync().result == "ok"
    assert two.b.sync().result == "ok"
    two.b.write("Plans/p.md", "x\n")
    assert two.b.sync().result == "ok" and two.a.sync().result == "ok"


def with_a_phones_secret(two: Two) -> None:
    """A phone pushed a secret; both nodes refused it and told of it long ago, but history has it."""
    clone = two.clone("phone")
    (clone / "note.md").write_text(f"my key: {TOKEN}\n")
    two.commit_all(clone)
    git(clone, "push", "-q")
    two.settle()
    assert not two.a.has("note.md") and in_history(two, TOKEN) != ""


@pytest.mark.parametrize("how", ["rolled back", "emptied", "replaced"])
def test_36_a_remote_that_lacks_a_secret_gets_it_back_when_a_person_says_so_only(two: Two, how: str) -> None:
    """It may have been taken out of the remote's history on purpose, or the new remote be another host."""
    old = two.head()
    with_a_phones_secret(two)
    if how == "rolled back":
        git(two.remote, "update-ref", "refs/heads/main", old)
    elif how == "emptied":
        git(two.remote, "update-ref", "-d", "refs/heads/main")
    else:
        shutil.rmtree(two.remote)
        git(two.folder, "init", "-q", "--bare", "--initial-branch=main", str(two.remote))
    two.a.write("more.md", "x\n")
    result = two.a.sync(accept_remote=how == "rolled back")
    assert result.result == "error" and "note.md" in str(result.error) and TOKEN not in str(result.error)
    asked = re.search(r"sync .*--push-secret ([0-9a-f]{10})`", str(result.error))
    assert (asked and how == "emptied") or in_history(two, TOKEN) == ""
    assert asked and two.a.sync(accept_remote=True, push_secret=(asked[1],)).error is None
    two.b.sync(accept_remote=True)
    two.settle()
    two.assert_agree()


def test_36_a_name_of_no_commit_lets_no_secret_go(two: Two) -> None:
    two.a.write("note.md", f"my key: {TOKEN}\n")
    two.a.git("add", "-A")
    two.a.git("commit", "-q", "-m", "backup")
    assert "there is no commit 0123456789" in str(two.a.sync(push_secret=("0123456789",)).error)
    assert in_history(two, TOKEN) == ""


def test_36_a_first_push_searches_the_whole_history_and_the_remedy_works(tmp_path: Path) -> None:
    two = Two(tmp_path, ready=False)
    git(tmp_path, "init", "-q", "--initial-branch=main", "a")
    two.a.write("note.md", f"my key: {TOKEN}\n")
    two.commit_all(two.a.root)
    two.a.write("note.md", "no key any more\n")
    two.commit_all(two.a.root)
    with pytest.raises(VaultProblem, match=r"note\.md: .* move the vault's folder \.git away"):
        two.a.vault_sync().prepare(str(two.remote))
    shutil.rmtree(two.a.root / ".git")
    two.prepare()
    two.settle()
    assert two.b.read("note.md") == b"no key any more\n" and in_history(two, TOKEN) == ""
    two.assert_agree()
