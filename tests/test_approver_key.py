"""`python -m scripts.approver_key`."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import approver_key
from tests.api_client import add_request, add_task
from tests.vaults import git
from utils.adapters import approver_keys
from utils.adapters.approver_keys import ApproverKeys
from utils.bootstrap import Services
from utils.core import remote_approval
from utils.core.stages import Stage
from utils.settings import PROJECT_ROOT

Run = Callable[..., tuple[int, str, str]]
Patch = pytest.MonkeyPatch


@pytest.fixture
def node(make_node: Callable[..., Services]) -> Services:
    return make_node()


@pytest.fixture
def run(node: Services, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("list", AGENT_MODE="full")`: exit code, output and errors of the command on that node."""

    def call(*arguments: str, **settings: str) -> tuple[int, str, str]:
        environ = {
            "ENV_FILE": "",
            "AGENT_NAME": "local",
            "AGENT_MODE": "full",
            "VAULT_PATH": str(node.layout.root),
            "STATE_DIR": str(node.settings.state_dir),
        }
        for name, value in (environ | settings).items():
            monkeypatch.setenv(name, value)
        code = approver_key.main(list(arguments))
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def request_id(node: Services) -> str:
    now = node.clock.now()
    request = add_request(node, add_task(node, "1", now), now)
    node.approvals.observe()
    return request


def enrolled(run: Run, name: str = "ada-laptop", *arguments: str) -> str:
    """Make a key and run the command that was printed; the public key."""
    code, said, wrong = run("create", name, *arguments)
    assert (code, wrong) == (0, "")
    [line] = [line.strip() for line in said.splitlines() if line.startswith("    ")]
    words = shlex.split(line)
    assert words[:3] == [".venv/bin/python", "-m", "scripts.approver_key"]
    assert run(*words[3:])[0] == 0
    return words[-1]


def test_from_a_key_to_a_record(run: Run, node: Services, request_id: str) -> None:
    key = enrolled(run)
    private = node.settings.keys_dir / "approver.pem"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE((node.settings.keys_dir / "approvers.json").stat().st_mode) == 0o600
    digest = node.approvals.get(request_id).sha256
    code, said, _ = run("sign", request_id, "--sha256", digest, "--hours", "1")
    assert code == 0
    where = re.search(r"Updates/approvals/\S+\.json", said)
    assert where
    path = str(node.layout.root / where[0])
    assert run("verify", path)[:2] == (0, f"it counts: reply_email of {request_id}, by ada-laptop\n")
    assert f"enrolled           {key}" in run("list")[1]
    node.approvals.observe()
    (record,) = node.store.recent()
    assert (record.approved_by, record.sha256) == ("ada-laptop", digest)
    assert not Path(path).exists()


def test_from_a_laptop_plain_git_carries_it_to_local(
    run: Run, make_node: Callable[..., Services], tmp_path: Path
) -> None:
    remote, laptop = tmp_path / "remote.git", tmp_path / "my laptop"
    git(tmp_path, "init", "-q", "--bare", "-b", "main", str(remote))
    local = make_node("at-home", AGENT_NAME="local", AGENT_MODE="full", VAULT_REMOTE_URL=str(remote))
    now = local.clock.now()
    request = add_request(local, add_task(local, "1", now), now)
    assert local.sync.run().error is None
    local.approvals.observe()
    digest = local.approvals.get(request).sha256
    git(tmp_path, "clone", "-q", str(remote), str(laptop))
    there = {"VAULT_PATH": str(laptop), "STATE_DIR": str(tmp_path / "laptop-state")}
    key = run("create", "ada-laptop", **there)[1].split()[-1]
    ApproverKeys(local.settings.keys_dir).enrol("ada-laptop", key, now)
    code, said, wrong = run("sign", request, "--sha256", digest, **there)
    assert (code, wrong) == (0, "")
    (local.layout.root / "Inbox" / "later.md").write_text("Local went on meanwhile\n")
    assert local.sync.run().error is None
    [line] = [line.strip() for line in said.splitlines() if line.startswith("    git ")]
    for words in line.split(" && "):
        git(tmp_path, *shlex.split(words)[1:])
    assert local.sync.run().error is None
    local.approvals.observe()
    (record,) = local.store.recent()
    assert (record.approved_by, record.sha256) == ("ada-laptop", digest)
    assert "second Local" in said and "scripts.sync" in said


def test_it_shows_what_is_approved_and_asks(
    run: Run, node: Services, request_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrolled(run)
    path = node.layout.find(request_id)[0]
    path.write_text(path.read_text() + "\u202eand more\n")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda prompt: "no")
    code, said, wrong = run("sign", request_id)
    assert code == 1 and "not approved" in wrong and "⟦U+202E⟧and more" in said and "! " in said
    assert not node.layout.remote_approvals.exists()
    monkeypatch.setattr("builtins.input", lambda prompt: "yes")
    assert run("sign", request_id)[0] == 0
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert "--sha256" in run("sign", request_id)[2]


def test_other_bytes_than_those_seen_are_not_signed(run: Run, node: Services, request_id: str) -> None:
    enrolled(run)
    code, _, wrong = run("sign", request_id, "--sha256", "0" * 64)
    assert code == 1 and "changed since it was shown" in wrong
    for hours in ("0", "-1", "nan"):
        digest = node.approvals.get(request_id).sha256
        assert "above 0" in run("sign", request_id, "--sha256", digest, "--hours", hours)[2]
    assert not node.layout.remote_approvals.exists()


def test_revoke_voids_what_waits_and_says_so_again(run: Run, node: Services, request_id: str) -> None:
    enrolled(run)
    run("sign", request_id, "--sha256", node.approvals.get(request_id).sha256)
    node.approvals.observe()
    code, said, _ = run("revoke", "ada-laptop")
    assert code == 0 and "1 not yet executed" in said
    assert run("revoke", "ada-laptop")[0] == 0
    assert node.store.live(request_id) is None
    assert "revoked 20" in run("list")[1]
    node.layout.find(request_id)[0].rename(node.layout.folder(Stage.PENDING_APPROVAL) / f"{request_id}.md")
    node.approvals.observe()
    run("sign", request_id, "--sha256", node.approvals.get(request_id).sha256)
    [path] = node.layout.remote_approvals.glob("*.json")
    code, _, wrong = run("verify", str(path))
    assert code == 1 and "was revoked here" in wrong


def test_what_can_not_be_enrolled(run: Run, node: Services, tmp_path: Path) -> None:
    key = enrolled(run)
    other = enrolled(run, "ada-phone", "--key", str(tmp_path / "phone.pem"))
    private = (tmp_path / "phone.pem").read_text()
    for name, given, word in (
        ("bob", key, "as ada-laptop's"),
        ("ada-laptop", other, "as ada-phone's"),
        ("local", "A" * 43, "can't be a person's name"),
        ("a b", "A" * 43, "can't be a person's name"),
        ("bob", "A" * 42, "no public approver key"),
        ("bob", "A" * 42 + "B", "no public approver key"),  # another spelling of 32 zero bytes
        ("bob", private, "must never leave"),
        ("bob", str(tmp_path / "phone.pem"), "must never leave"),
    ):
        code, said, wrong = run("enrol", name, given)
        assert code == 1 and word in wrong and said == "", (name, word, wrong)
        assert not any(line in wrong for line in private.splitlines())
    assert run("enrol", "ada-laptop", key) == (0, "ada-laptop: approvals by this key count already\n", "")
    run("revoke", "ada-phone")
    assert "was revoked here" in run("enrol", "eve", other)[2]
    assert "nobody is enrolled" in run("revoke", "eve")[2]


def test_a_test_key_that_everybody_knows_counts_for_nothing(run: Run, node: Services) -> None:
    """Not even where it was enrolled by an earlier version."""
    for public in (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",  # RFC 8032 §7.1, each of the five
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "278117fc144c72340f67d0f2316e8386ceffbf2b2428c9c51fef7c597f1d426e",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
    ):
        key = remote_approval.encode(bytes.fromhex(public))
        code, _, wrong = run("enrol", "ada-phone", key)
        assert code == 1 and "everybody knows" in wrong and "create" in wrong
    assert "Nobody approves" in run("list")[1]
    old = [{"name": "ada", "key": sorted(remote_approval.PUBLISHED)[0], "enrolled_at": "2026-06-01T12:00:00Z"}]
    node.settings.keys_dir.mkdir(parents=True, exist_ok=True)
    (node.settings.keys_dir / "approvers.json").write_text(json.dumps({"approvers": old}))
    assert "enrolled" in run("list")[1] and run("revoke", "ada")[0] == 0


def test_names_that_differ_by_case_are_one(run: Run, tmp_path: Path) -> None:
    key = enrolled(run)
    other = run("create", "x", "--key", str(tmp_path / "other.pem"))[1].split()[-1]
    assert "ada-laptop is enrolled with another key" in run("enrol", "ADA-laptop", other)[2]
    assert "as ada-laptop's" in run("enrol", "ADA-laptop", key)[2]
    assert run("revoke", "ADA-LAPTOP")[0] == 0 and "revoked" in run("list")[1]
    assert run("enrol", "ADA-laptop", other)[0] == 0


def test_a_device_knows_of_no_receipts(run: Run, node: Services, request_id: str, monkeypatch: Patch) -> None:
    """It shows what would be sent, not the raw file, and calls nobody new: it can't know."""
    run("create", "ada-laptop")
    assert "approver_key show" in run("list")[1] and "create" not in run("list")[1]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda prompt: "no")
    said = run("sign", request_id)[1]
    assert "To: ann@example.com" in said and "\n| It costs 10" in said and "\nsha256: " in said
    assert "source_task:" not in said and "New: nothing was ever sent" not in said and "is said there" in said


def test_a_key_that_begins_with_a_hyphen_is_no_option(run: Run) -> None:
    key = "-" + "A" * 42
    assert run("enrol", "ada-phone", key)[0] == 0 and key in run("list")[1]
    assert run("revoke", key)[0] == 0 and "revoked" in run("list")[1]


def test_a_key_of_a_name_can_be_replaced(run: Run, tmp_path: Path) -> None:
    enrolled(run)
    code, said, _ = run("create", "ada-laptop", "--key", str(tmp_path / "new.pem"))
    new = said.split()[-1]
    assert code == 0 and "is enrolled with another key" in run("enrol", "ada-laptop", new)[2]
    run("revoke", "ada-laptop")
    assert run("enrol", "ada-laptop", new)[0] == 0
    assert run("list")[1].count("ada-laptop") == 2


def test_a_private_key_is_never_made_over_another_in_the_vault_or_on_the_cloud(run: Run, node: Services) -> None:
    key = enrolled(run)
    before = (node.settings.keys_dir / "approver.pem").read_bytes()
    code, said, wrong = run("create", "ada-laptop")
    assert (code, said) == (1, "") and "exists already" in wrong
    assert f"approver_key enrol ada-laptop {key}\n" in wrong, "nobody has to look for it"
    assert f"approver_key enrol ada-laptop {key}\n" in run("show", "ada-laptop")[1]
    assert (node.settings.keys_dir / "approver.pem").read_bytes() == before
    assert "lies in the vault" in run("create", "x", "--key", str(node.layout.root / "Inbox" / "key.pem"))[2]
    (node.settings.state_dir / "way").symlink_to(node.layout.root / "Inbox")
    assert "lies in the vault" in run("create", "x", "--key", str(node.settings.state_dir / "way" / "key.pem"))[2]
    cloud = {"AGENT_NAME": "cloud", "AGENT_MODE": "draft_only"}
    for words in (("create", "x"), ("sign", "id"), ("enrol", "x", "A" * 43), ("list",), ("revoke", "x")):
        code, said, wrong = run(*words, **cloud)
        assert (code, said) == (1, "") and "draft-only" in wrong


def test_a_key_that_others_can_read_signs_nothing(run: Run, node: Services, request_id: str) -> None:
    enrolled(run)
    private = node.settings.keys_dir / "approver.pem"
    private.chmod(0o640)
    assert "can be read by others" in run("sign", request_id, "--sha256", "0" * 64)[2]
    private.chmod(0o600)
    private.write_text("nonsense")
    assert "no private key" in run("sign", request_id, "--sha256", "0" * 64)[2]
    private.unlink()
    assert "approver_key create" in run("sign", request_id, "--sha256", "0" * 64)[2]


def test_verify_says_what_is_wrong(run: Run, node: Services, request_id: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert run("verify", str(path))[0] == 1
    path.write_text("[]")
    assert "no JSON object" in run("verify", str(path))[2]
    bare = node.remote_approvals.prepare(request_id, node.approvals.get(request_id).sha256)
    path.write_bytes(bare.file())
    assert "nobody signed it" in run("verify", str(path))[2]
    cloud = {"AGENT_NAME": "cloud", "AGENT_MODE": "draft_only"}
    assert "not signed" in run("verify", str(path), **cloud)[2]
    key = enrolled(run)
    run("sign", request_id, "--sha256", bare.sha256)
    [signed] = [p for p in node.layout.remote_approvals.glob("*.json") if remote_approval.read(p.read_bytes()).signer]
    code, said, _ = run("verify", str(signed), **cloud)
    assert code == 0 and key in said and "for Local to say" in said


def test_verify_tells_a_replay_once_its_request_is_gone(
    run: Run, node: Services, request_id: str, tmp_path: Path
) -> None:
    enrolled(run)
    run("sign", request_id, "--sha256", node.approvals.get(request_id).sha256)
    [path] = node.layout.remote_approvals.glob("*.json")
    copy = tmp_path / "copy.json"
    copy.write_bytes(path.read_bytes())
    node.approvals.observe()
    for waiting in node.layout.find(request_id):
        waiting.unlink()
    assert "was used before" in run("verify", str(copy))[2]
    fresh = remote_approval.read(copy.read_bytes())
    key = node.settings.keys_dir / "approver.pem"
    unused = approver_keys.sign(key, dataclasses.replace(fresh, nonce="0" * 32, signature=""))
    copy.write_bytes(unused.file())
    assert "its request does not wait here" in run("verify", str(copy))[2]


def test_a_damaged_list_of_approvers_lets_nobody_in(run: Run, node: Services, request_id: str) -> None:
    enrolled(run)
    path = node.settings.keys_dir / "approvers.json"
    for text in (
        "[]",
        '{"approvers": [{"name": "x"}]}',
        '{"approvers": [{"name": 1, "key": 2, "enrolled_at": 3}]}',
        "{",
    ):
        path.write_text(text)
        code, said, wrong = run("list")
        assert (code, said) == (1, "") and "is damaged" in wrong
    assert ApproverKeys(tmp := node.settings.state_dir / "none").all() == () and not tmp.exists()


def test_the_documents_commands_are_there(run: Run, request_id: str) -> None:
    document = (PROJECT_ROOT / "docs/approvals-signing.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\.venv/bin/python -m scripts\.approver_key (\w+)(.*?) *#", document, re.MULTILINE)
    assert [word for word, _ in lines] == ["create", "show", "enrol", "sign", "verify", "list", "revoke"]
    for word, rest in lines:
        approver_key._parser().parse_args([word, *rest.split()])
