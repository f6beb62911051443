"""Signed commits: real keys, real signatures, and those who try to write in somebody else's name."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.vaults import Node, Two, git
from utils.adapters.ssh_keys import KeyStore
from utils.core.merge import Entry
from utils.core.signing import ADDRESSES, Key, Keyring, person, public_key

TASK = "email-20260601T100000Z-0a1b2c3d.md"
REQUEST = "---\naction: send_email\ncreated_by: cloud\n---\n## Draft\n\nhello\n"
PENDING = f"Pending_Approval/email/{TASK}"
CLOUD = "AI Employee (cloud) <cloud@ai-employee.invalid>"
LOCAL = "AI Employee (local) <local@ai-employee.invalid>"
ADA = "Ada <ada@example.org>"
SEED: dict[str, str | bytes] = {"Company_Handbook.md": "rules\n", "Plans/p.md": "plan\n", "Ideas.md": "one\n"}


@pytest.fixture
def two(tmp_path: Path) -> Two:
    """Both nodes with a key, each enrolled on the other one."""
    two = Two(tmp_path)
    enrol_both(two)
    two.seed_files(SEED)
    return two


def enrol_both(two: Two) -> None:
    for node in (two.a, two.b):
        node.keys.create(node.zone)
    for node, other in ((two.a, two.b), (two.b, two.a)):
        node.keys.enrol(Key(other.keys.own(), ADDRESSES[other.zone]))


def new_key(two: Two, name: str) -> Path:
    path = two.folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def enrol_person(node: Node, name: str, key: Path) -> None:
    node.keys.enrol(Key(public_key(Path(f"{key}.pub").read_text()), person(name)))


def clone_of(two: Two) -> Path:
    clone = two.folder / "third"
    if not clone.exists():
        two.clone("third")
    git(clone, "pull", "-q")
    return clone


def commit(clone: Path, author: str, files: Mapping[str, str | None], key: Path | None = None) -> str:
    """A commit by plain git, with the author that it claims, signed with `key`."""
    for path, content in files.items():
        target = clone / path
        if content is None:
            target.unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
    git(clone, "add", "-A")
    signing = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={key}"] if key else []
    git(clone, *signing, "commit", "-q", "-m", "by hand", f"--author={author}", *(["-S"] if key else []))
    return git(clone, "rev-parse", "HEAD").strip()


def push(two: Two, author: str, files: Mapping[str, str | None], key: Path | None = None) -> str:
    clone = clone_of(two)
    made = commit(clone, author, files, key)
    git(clone, "push", "-q")
    return made


def quiet(two: Two) -> None:
    """All is carried over: nothing more to do on either node, and both agree."""
    two.settle()
    head = two.head()
    assert [node.sync().result for node in (two.b, two.a)] == ["noop"] * 2
    assert two.head() == head
    two.assert_agree()


def critical(node: Node) -> list[str]:
    return [text for level, _, text in node.alerts if level == "CRITICAL"]


def kept(node: Node) -> bytes:
    return b"".join(node.conflicts().values())


# --- honest nodes ----------------------------------------------------------------------------------------------------


def test_both_nodes_sign_commits_and_merges_and_believe_each_other(two: Two) -> None:
    begin = two.head()
    for number in range(2):
        two.a.write(f"Notes/{number}.md", "local\n")
        two.a.write("Company_Handbook.md", f"rules {number}\n")
        two.b.write(f"Plans/{number}.md", "cloud\n")
        two.settle()
    with two.a.vault_sync()._git.open() as repository:
        new = repository.commits(begin, two.head(), verify=True)
    assert {commit.signature for commit in new} == {"G"}
    assert {"local", "cloud"} == {
        key.zone for commit in new if (key := two.a.keys.keyring().signer(commit.key)) is not None
    }
    assert any(len(commit.parents) == 2 for commit in new)
    assert two.a.alerts == two.b.alerts == []
    quiet(two)


def test_what_a_person_commits_by_hand_on_locals_own_disk_is_vouched_for(two: Two) -> None:
    """obsidian-git on the machine of the Local node: it commits plainly, and sync signs on top."""
    two.a.write("Company_Handbook.md", "as I want it\n")
    two.commit_all(two.a.root)
    two.settle()
    assert two.b.read("Company_Handbook.md") == b"as I want it\n"
    assert two.b.alerts == []
    quiet(two)


def test_without_keys_all_is_as_before_and_the_log_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    two = Two(tmp_path)
    two.a.state.joinpath("sync.json").unlink()
    with caplog.at_level(logging.WARNING):
        two.settle()
        two.a.write("note.md", "x\n")
        two.settle()
    assert [r.name for r in caplog.records if "not signed" in r.getMessage()] == ["utils.sync.authors"]
    push(two, ADA, {"Dashboard.md": "# mine\n"})
    assert two.a.sync().refused == []
    assert "gpgsig" not in two.a.git("cat-file", "commit", "HEAD")
    quiet(two)


def test_keys_may_be_made_in_the_middle_of_a_history(tmp_path: Path) -> None:
    """Local's unsigned commits are still on their way when the Cloud learns Local's key."""
    two = Two(tmp_path)
    two.seed_files(SEED)
    two.a.write("Company_Handbook.md", "on its way\n")
    two.a.write("Plans/p.md", "on its way too\n")
    two.a.write(f"Needs_Action/email/{TASK}", "task\n")
    two.a.sync()
    two.b.write("Updates/u.md", "cloud\n")
    enrol_both(two)
    two.b.sync()
    quiet(two)
    assert two.b.read("Company_Handbook.md") == b"on its way\n"
    assert two.b.read("Plans/p.md") == b"on its way too\n"
    assert two.b.has(f"Needs_Action/email/{TASK}")


# --- forged names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("author", "signed", "first"), [(CLOUD, False, "a"), (CLOUD, True, "b"), (LOCAL, False, "b"), (LOCAL, True, "a")]
)
def test_a_commit_in_a_nodes_name_without_its_key_is_refused_as_a_whole(
    two: Two, author: str, signed: bool, first: str
) -> None:
    two.b.write("Updates/before.md", "good\n")
    two.b.sync()
    forged: dict[str, str | None] = {
        "Plans/p.md": "evil plan\n",
        "Company_Handbook.md": "evil\n",
        "Updates/e.md": "e\n",
    }
    forged["Ideas.md"] = None
    push(two, author, forged, new_key(two, "stranger") if signed else None)
    push(two, CLOUD, {"Updates/after.md": "good\n"}, two.b.keys.private)
    node = getattr(two, first)
    result = node.sync()
    assert {item["path"] for item in result.refused} == set(forged)
    assert len(critical(node)) == 1, "one word about it, not one for each file"
    own = author == (LOCAL if node is two.a else CLOUD)  # its own name: `keys revoke` would leave it without a key
    assert ("another machine" if own else "keys revoke") in critical(node)[0] and "access keys" in critical(node)[0]
    quiet(two)
    for each in (two.a, two.b):
        assert {path: each.read(path) for path in SEED} == {path: str(text).encode() for path, text in SEED.items()}
        assert not each.has("Updates/e.md")
        assert each.read("Updates/before.md") == each.read("Updates/after.md") == b"good\n"
    assert b"evil plan\n" in kept(two.a) and b"evil\n" in kept(two.a), "kept where a person sees it"


def test_a_forged_commit_that_changes_nothing_is_told_so(two: Two) -> None:
    clone = clone_of(two)
    git(clone, "commit", "-q", "--allow-empty", "-m", "x", f"--author={CLOUD}")
    git(clone, "push", "-q")
    two.a.sync()
    [text] = critical(two.a)
    assert "It changes no file." in text and "none" not in text and "Updates/conflicts" not in text


def test_with_verification_off_the_same_history_goes_wrong(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above can fail: a build that forgets to ask for keys takes the forged plan."""
    monkeypatch.setattr(Keyring, "enrolled", lambda self, zone: False)
    push(two, CLOUD, {"Plans/p.md": "evil plan\n"})
    two.a.sync()
    assert two.a.read("Plans/p.md") == b"evil plan\n"


def test_a_forged_move_goes_back_with_what_was_moved_on(two: Two) -> None:
    two.b.write(PENDING, REQUEST)
    two.settle()
    push(two, LOCAL, {PENDING: None, f"Needs_Action/email/{TASK}": REQUEST})
    push(two, CLOUD, {f"Needs_Action/email/{TASK}": None, f"In_Progress/cloud/{TASK}": REQUEST}, two.b.keys.private)
    two.a.sync()
    quiet(two)
    places = [path for path in two.a.files() if path.endswith(TASK) and not path.startswith("Updates/")]
    assert places == [PENDING]


def test_a_good_version_under_a_forged_one_stands(two: Two) -> None:
    push(two, CLOUD, {"Plans/p.md": "good plan\n"}, two.b.keys.private)
    push(two, CLOUD, {"Plans/p.md": "evil plan\n"})
    two.a.sync()
    quiet(two)
    assert two.b.read("Plans/p.md") == b"good plan\n"
    push(two, CLOUD, {"Plans/p.md": "evil plan\n"})
    push(two, CLOUD, {"Plans/p.md": "good after all\n"}, two.b.keys.private)
    quiet(two)
    assert two.a.read("Plans/p.md") == b"good after all\n"


@pytest.mark.parametrize("author", [LOCAL, ADA])
def test_the_clouds_key_under_another_name_may_do_what_the_cloud_may(two: Two, author: str) -> None:
    push(two, author, {"Company_Handbook.md": "evil\n", "Updates/u.md": "fine\n"}, two.b.keys.private)
    assert [item["path"] for item in two.a.sync().refused] == ["Company_Handbook.md"]
    quiet(two)
    assert two.b.read("Company_Handbook.md") == b"rules\n" and two.b.has("Updates/u.md")


def test_locals_word_is_not_forged_to_a_cloud_without_keys_for_ever(tmp_path: Path) -> None:
    """Without keys the Cloud believes Local's name; when Local takes the change back, that is the end of it."""
    two = Two(tmp_path)
    two.seed_files(SEED)
    push(two, LOCAL, {"Company_Handbook.md": "evil\n"})
    two.b.sync()
    quiet(two)
    assert two.b.read("Company_Handbook.md") == b"rules\n"


# --- people ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["a", "b"])
def test_an_unsigned_commit_of_a_person_may_do_what_the_cloud_may(two: Two, first: str) -> None:
    push(two, ADA, {"Company_Handbook.md": "from the phone\n", "Updates/u.md": "fine\n"})
    node = getattr(two, first)
    result = node.sync()
    assert [item["path"] for item in result.refused] == ["Company_Handbook.md"]
    assert "enrol --person" in result.refused[0]["reason"] and "ada@example.org" in result.refused[0]["reason"]
    assert len(node.alerts) == 1
    quiet(two)
    assert two.a.read("Company_Handbook.md") == b"rules\n" and two.a.has("Updates/u.md")
    assert b"from the phone\n" in kept(two.b)


def test_a_person_whose_key_is_enrolled_writes_anywhere_under_any_name(two: Two) -> None:
    phone = new_key(two, "phone")
    for node in (two.a, two.b):
        enrol_person(node, "ada-phone", phone)
    push(two, ADA, {"Company_Handbook.md": "from the phone\n"}, phone)
    push(two, CLOUD, {"Ideas.md": "from the phone too\n"}, phone)
    two.b.sync()
    quiet(two)
    assert two.a.read("Company_Handbook.md") == b"from the phone\n"
    assert two.b.read("Ideas.md") == b"from the phone too\n"
    assert two.a.alerts == two.b.alerts == []


def test_a_phone_that_only_local_knows_is_heard_in_the_end(two: Two) -> None:
    """The Cloud meets the edit first and takes it back; Local knows the key and puts it where it belongs (S3)."""
    phone = new_key(two, "phone")
    enrol_person(two.a, "ada-phone", phone)
    push(two, ADA, {"Company_Handbook.md": "from the phone\n", "Ideas.md": None}, phone)
    two.b.write("Updates/u.md", "fine\n")
    assert {item["path"] for item in two.b.sync().refused} == {"Company_Handbook.md", "Ideas.md"}
    quiet(two)
    for node in (two.a, two.b):
        assert node.read("Company_Handbook.md") == b"from the phone\n" and not node.has("Ideas.md")


def test_a_pull_on_a_phone_makes_a_merge_that_may_carry_anything_its_key_vouches_for(two: Two) -> None:
    phone = new_key(two, "phone")
    for node in (two.a, two.b):
        enrol_person(node, "ada-phone", phone)
    clone = clone_of(two)
    commit(clone, ADA, {"Ideas.md": "phone\n"}, phone)
    two.b.write("Plans/p.md", "newer plan\n")
    two.b.sync()
    git(clone, "-c", "gpg.format=ssh", "-c", f"user.signingkey={phone}", "pull", "-q", "--no-rebase", "--no-edit", "-S")
    git(clone, "push", "-q")
    quiet(two)
    assert two.b.read("Ideas.md") == b"phone\n" and two.a.read("Plans/p.md") == b"newer plan\n"
    assert two.a.alerts == two.b.alerts == []


def test_unsigned_people_can_be_accepted_but_never_in_a_nodes_name(two: Two) -> None:
    two.a.accept_unsigned = two.b.accept_unsigned = True
    push(two, ADA, {"Company_Handbook.md": "from the phone\n"})
    push(two, "x <LOCAL@AI-Employee.invalid>", {"Ideas.md": "evil\n"})
    push(two, "y <Cloud@ai-employee.INVALID>", {"Plans/p.md": "evil\n"})
    assert {item["path"] for item in two.a.sync().refused} == {"Ideas.md", "Plans/p.md"}
    quiet(two)
    assert two.b.read("Company_Handbook.md") == b"from the phone\n"
    assert two.b.read("Ideas.md") == b"one\n" and two.b.read("Plans/p.md") == b"plan\n"


# --- Local's own key -------------------------------------------------------------------------------------------------


def test_a_local_vault_restored_from_a_backup_takes_its_own_later_work_back(two: Two) -> None:
    """Its own commits, and the Cloud's that it had merged; forbidden ones of the Cloud stay out."""
    two.b.write(PENDING, REQUEST)
    two.settle()
    for place in ("a", "state-a"):
        shutil.copytree(two.folder / place, two.folder / f"{place}.backup", symlinks=True)
    two.a.write("Company_Handbook.md", "later\n")
    two.a.move(PENDING, f"Approved/{TASK}")
    two.a.write(".gitignore", "*.bak\n")
    two.settle()
    push(two, CLOUD, {"Ideas.md": "evil\n"}, two.b.keys.private)
    two.settle()
    two.a.move(f"Approved/{TASK}", f"Done/{TASK}")
    two.settle()
    assert two.a.read("Ideas.md") == b"one\n"
    expected = two.a.files()
    for place in ("a", "state-a"):
        shutil.rmtree(two.folder / place)
        (two.folder / f"{place}.backup").rename(two.folder / place)
    two.a.alerts.clear()
    result = two.a.sync()
    assert (result.refused, result.error, two.a.alerts) == ([], None, [])
    assert two.a.files() == expected
    two.b.write("Updates/u.md", "fine\n")
    quiet(two)


def test_a_merge_brings_nothing_back_that_local_refused_before_its_restore(two: Two) -> None:
    shutil.copytree(two.folder / "a", two.folder / "backup", symlinks=True)
    shutil.copytree(two.folder / "state-a", two.folder / "backup-state", symlinks=True)
    evil = push(two, CLOUD, {"Ideas.md": "evil\n"}, two.b.keys.private)
    two.settle()
    clone = clone_of(two)
    tree = commit(clone, CLOUD, {"Ideas.md": "evil\n"}, two.b.keys.private) + "^{tree}"
    tip = git(clone, "rev-parse", "HEAD^").strip()
    signing = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={two.b.keys.private}"]
    merge = git(clone, *signing, "commit-tree", "-S", tree, "-p", tip, "-p", evil, "-m", "merge").strip()
    git(clone, "push", "-q", "origin", f"{merge}:refs/heads/main")
    for place, backup in (("a", "backup"), ("state-a", "backup-state")):
        shutil.rmtree(two.folder / place)
        (two.folder / backup).rename(two.folder / place)
    two.a.sync()
    assert two.a.read("Ideas.md") == b"one\n"
    quiet(two)


def test_a_second_clone_of_local_with_the_same_key_is_local(two: Two) -> None:
    second = Node("local", two.folder / "a2", two.folder / "state-a2", two.remote)
    git(two.folder, "clone", "-q", str(two.remote), "a2")
    shutil.copytree(two.a.keys.folder, second.keys.folder)
    second.write("Company_Handbook.md", "from the other desk\n")
    assert second.sync().result == "ok"
    two.a.write("Ideas.md", "from this desk\n")
    quiet(two)
    assert two.a.read("Company_Handbook.md") == b"from the other desk\n" == two.b.read("Company_Handbook.md")
    assert two.a.alerts == two.b.alerts == []


def test_a_node_whose_key_is_gone_stops_and_says_what_to_do(two: Two) -> None:
    shutil.rmtree(two.a.keys.folder)
    two.a.write("Ideas.md", "two\n")
    head = two.head()
    result = two.a.sync()
    assert result.result == "error" and "scripts.keys create" in (result.error or "")
    assert two.head() == head and two.a.read("Ideas.md") == b"two\n"


def test_a_new_key_of_local_counts_once_it_is_enrolled_and_nothing_is_lost_before(two: Two) -> None:
    two.a.keys.revoke("local")
    two.a.keys.create("local")
    for path in ("Ideas.md", "Plans/p.md", "Plans/new.md", f"Needs_Action/email/{TASK}"):
        two.a.write(path, "Local's word\n")
    two.settle()
    assert len(critical(two.b)) >= 1 and "Local's word" in two.a.read("Plans/p.md").decode()
    two.b.keys.revoke("local")
    two.b.keys.enrol(Key(two.a.keys.own(), ADDRESSES["local"]))
    quiet(two)
    for path in ("Ideas.md", "Plans/p.md", "Plans/new.md", f"Needs_Action/email/{TASK}"):
        assert two.b.read(path) == b"Local's word\n", path


def test_new_commits_by_a_revoked_key_are_refused_and_old_ones_stay(two: Two) -> None:
    two.b.write("Plans/old.md", "before\n")
    two.settle()
    allowed = two.a.keys.allowed.read_bytes()
    two.a.keys.revoke("cloud")
    two.a.keys.allowed.write_bytes(allowed)  # as a kill between the two files leaves it
    two.b.write("Plans/new.md", "after\n")
    two.b.sync()
    result = two.a.sync()
    assert [item["path"] for item in result.refused] == ["Plans/new.md"]
    assert "was revoked" in critical(two.a)[0]
    assert two.a.has("Plans/old.md") and not two.a.has("Plans/new.md")
    push(two, CLOUD, {"Plans/unsigned.md": "x\n"})
    two.a.sync()
    assert not two.a.has("Plans/unsigned.md"), "a revocation does not mean that no key is needed"


# --- signatures that prove nothing -----------------------------------------------------------------------------------


def signed_by_hand(two: Two, text: str, armor: str) -> None:
    """Push the commit `text` (as git stores it) with this signature in its header."""
    clone = clone_of(two)
    head, body = text.split("\n\n", 1)
    raw = f"{head}\ngpgsig {armor.strip()}".replace("\n ", "\n").split("\ngpgsig ")
    raw_text = f"{raw[0]}\ngpgsig " + raw[1].replace("\n", "\n ") + f"\n\n{body}"
    made = git(clone, "hash-object", "-t", "commit", "-w", "--stdin", data=raw_text.encode()).strip()
    git(clone, "push", "-q", "origin", f"{made}:refs/heads/main")
    git(clone, "reset", "-q", "--hard", made)


def evil_commit(two: Two) -> str:
    """A commit in the Cloud's name that changes the plan, as text and not pushed yet."""
    clone = clone_of(two)
    made = commit(clone, CLOUD, {"Plans/p.md": "evil plan\n"})
    text = git(clone, "cat-file", "commit", made)
    git(clone, "reset", "-q", "--hard", "HEAD^")
    return text


def signature(two: Two, key: Path, text: str, namespace: str) -> str:
    payload = two.folder / "payload"
    payload.write_text(text)
    Path(f"{payload}.sig").unlink(missing_ok=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(key), str(payload)],
        check=True,
        capture_output=True,
    )
    return Path(f"{payload}.sig").read_text()


@pytest.mark.parametrize("kind", ["another namespace", "of another text", "of GnuPG", "rubbish", "good"])
def test_a_signature_counts_only_if_it_is_gits_and_of_this_very_commit(two: Two, kind: str) -> None:
    text = evil_commit(two) + "so long that git is still writing when ssh-keygen has gone\n" * 10_000
    cloud = two.b.keys.private
    signed_by_hand(
        two,
        text,
        {
            "another namespace": lambda: signature(two, cloud, text, "file"),
            "of another text": lambda: signature(two, cloud, text + "x", "git"),
            "of GnuPG": lambda: "-----BEGIN PGP SIGNATURE-----\n\niHUEABYKAB0=\n-----END PGP SIGNATURE-----",
            "rubbish": lambda: "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----",
            "good": lambda: signature(two, cloud, text, "git"),
        }[kind](),
    )
    assert two.a.sync().error is None
    assert (two.a.read("Plans/p.md") == b"evil plan\n") == (kind == "good")
    assert len(critical(two.a)) == (kind != "good")


def test_neither_the_vault_nor_its_configuration_says_whom_to_believe(
    two: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = new_key(two, "stranger")
    line = f'cloud@ai-employee.invalid namespaces="git" {public_key(Path(f"{stranger}.pub").read_text())}\n'
    yes = tmp_path / "yes"
    yes.write_text(
        '#!/bin/sh\necho "Good \\"git\\" signature for cloud@ai-employee.invalid with ED25519 key SHA256:x"\n'
    )
    yes.chmod(0o755)
    two.a.write("allowed_signers.md", line)
    for name in ("allowed_signers", ".allowed_signers"):
        (two.a.root / name).write_text(line)
    for name, value in {
        "gpg.ssh.allowedSignersFile": str(two.a.root / "allowed_signers"),
        "gpg.ssh.program": str(yes),
        "gpg.ssh.revocationFile": f"{two.b.keys.private}.pub",
        "gpg.format": "openpgp",
        "gpg.program": str(yes),
        "gpg.minTrustLevel": "ultimate",
        "log.showSignature": "true",
        "user.signingkey": str(stranger),
    }.items():
        two.a.git("config", name, value)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "gpg.ssh.allowedSignersFile")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(two.a.root / "allowed_signers"))
    two.b.write("Updates/good.md", "good\n")
    two.b.sync()
    push(two, CLOUD, {"Plans/p.md": "evil plan\n"}, stranger)
    two.a.write("Ideas.md", "two\n")
    assert [item["path"] for item in two.a.sync().refused if "allowed" not in item["path"]] == ["Plans/p.md"]
    assert two.a.has("Updates/good.md")
    for name in ("allowed_signers", ".allowed_signers"):
        (two.a.root / name).unlink()
    quiet(two)
    assert two.b.read("Ideas.md") == b"two\n" and two.b.read("Plans/p.md") == b"plan\n"


def test_names_and_paths_can_t_pass_for_lines_of_gits_answer(two: Two) -> None:
    """What separates commits in git's answer can't be guessed; paths are what an attacker may choose freely."""
    own = KeyStore(two.a.keys.folder).keyring().allowed[0].fingerprint
    names = ["Plans/a\x01" + "0" * 40, "Plans/b", "Plans/c", "Plans/d", "Plans/\x01G", f"Plans/{own.replace('/', '_')}"]
    push(two, "x\x01 <cloud@ai-employee.invalid\x01>", {**dict.fromkeys(names, "x\n"), "Ideas.md": "evil\n"})
    two.a.sync()
    assert two.a.read("Ideas.md") == b"one\n"
    quiet(two)


# --- old words, and merges -------------------------------------------------------------------------------------------


def test_an_old_signed_commit_says_nothing_new(two: Two) -> None:
    """Replay: the same bytes after a rollback, and their change picked onto today's tip."""
    two.a.write("Company_Handbook.md", "old rules\n")
    two.a.sync()
    old = two.head()
    two.a.write("Company_Handbook.md", "new rules\n")
    two.settle()
    git(two.remote, "update-ref", "refs/heads/main", old)
    for node in (two.a, two.b):
        assert node is two.b or "rolled back" in (node.sync().error or "")
        node.sync(accept_remote=True)
    quiet(two)
    assert two.b.read("Company_Handbook.md") == b"new rules\n"
    clone = clone_of(two)
    commit(clone, LOCAL, {"Company_Handbook.md": "old rules\n"})
    header, _, body = git(clone, "cat-file", "commit", old).partition("\n\n")
    armor = header.partition("gpgsig ")[2].replace("\n ", "\n")
    text = git(clone, "cat-file", "commit", "HEAD").partition("\n\n")[0] + f"\n\n{body}"
    git(clone, "reset", "-q", "--hard", "HEAD^")
    signed_by_hand(two, text, armor)
    two.b.sync()
    assert two.b.read("Company_Handbook.md") == b"new rules\n" and len(critical(two.b)) == 1
    quiet(two)


@pytest.mark.parametrize("key", ["none", "cloud"])
def test_a_merge_that_takes_an_older_version_back_is_refused(two: Two, key: str) -> None:
    old = two.head()
    two.a.write("Ideas.md", "two\n")
    two.a.write("Plans/p.md", "Local's plan\n")
    two.settle()
    clone = clone_of(two)
    signing = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={two.b.keys.private}"] if key == "cloud" else []
    extra = ["-S"] if signing else []
    merge = git(
        clone, *signing, "commit-tree", *extra, f"{old}^{{tree}}", "-p", "HEAD", "-p", old, "-m", "merge"
    ).strip()
    git(clone, "push", "-q", "origin", f"{merge}:refs/heads/main")
    two.a.sync()
    quiet(two)
    assert two.b.read("Ideas.md") == b"two\n" and two.b.read("Plans/p.md") == b"Local's plan\n"


def test_a_merge_of_the_cloud_drops_no_persons_edit(two: Two) -> None:
    phone = new_key(two, "phone")
    for node in (two.a, two.b):
        enrol_person(node, "ada-phone", phone)
    old = two.head()
    push(two, ADA, {"Ideas.md": "from the phone\n"}, phone)
    clone = clone_of(two)
    signing = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={two.b.keys.private}"]
    merge = git(clone, *signing, "commit-tree", "-S", f"{old}^{{tree}}", "-p", "HEAD", "-p", old, "-m", "m").strip()
    git(clone, "push", "-q", "origin", f"{merge}:refs/heads/main")
    two.a.sync()
    quiet(two)
    assert two.b.read("Ideas.md") == b"from the phone\n"


def test_an_old_signature_put_onto_a_commit_without_parents_is_bad(two: Two) -> None:
    """git itself would call it good: it leaves the signature out wherever it stands, and reads no parents after it."""
    two.a.write("Ideas.md", "old\n")
    two.settle()
    old = two.head()
    two.a.write("Ideas.md", "new\n")
    two.settle()
    clone = clone_of(two)
    header, _, body = git(clone, "cat-file", "commit", old).partition("\n\n")
    signature = header[header.index("gpgsig ") :]
    tree, rest = header[: header.index("gpgsig ")].split("\n", 1)
    text = f"{tree}\n{signature}\n{rest.strip()}\n\n{body}"
    orphan = git(clone, "hash-object", "-t", "commit", "-w", "--stdin", "--literally", data=text.encode()).strip()
    merge = git(clone, "commit-tree", f"{old}^{{tree}}", "-p", "HEAD", "-p", orphan, "-m", "merge").strip()
    git(clone, "push", "-q", "origin", f"{merge}:refs/heads/main")
    two.b.sync()
    with two.b.vault_sync()._git.open() as repository:
        assert [c.signature for c in repository.commits(None, orphan, verify=True)] == ["B"]
    quiet(two)
    assert two.b.read("Ideas.md") == b"new\n"


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_word_of_locals_that_lost_a_race_can_t_be_played_back_later(two: Two, first: str) -> None:
    """A hostile remote kept a commit that Local signed, offered, and then made anew."""
    two.a.write("Ideas.md", "early\n")
    with two.a.vault_sync()._git.open() as repository:
        oid = repository.add_blobs([b"early\n"])[0]
        early = repository.commit({"Ideas.md": Entry("100644", oid)}, [two.head()], "local: early\n", two.a.clock.now())
    two.a.git("push", "-q", "origin", f"{early.oid}:refs/heads/kept")
    two.a.write("Ideas.md", "late\n")
    two.settle()
    clone = clone_of(two)
    git(clone, "fetch", "-q", "origin", "kept")
    merge = git(clone, "commit-tree", f"{early.oid}^{{tree}}", "-p", "HEAD", "-p", early.oid, "-m", "merge").strip()
    git(clone, "push", "-q", "origin", f"{merge}:refs/heads/main")
    getattr(two, first).sync()
    quiet(two)
    assert two.b.read("Ideas.md") == b"late\n"


# --- ssh-keygen that can't -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["exit 1", "missing"])
def test_without_a_working_ssh_keygen_nothing_is_half_done(
    two: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for folder in ("/usr/bin", "/bin"):
        for program in Path(folder).iterdir():
            if program.name != "ssh-keygen" and not (programs / program.name).exists():
                (programs / program.name).symlink_to(program)
    if broken != "missing":
        (programs / "ssh-keygen").write_text(f"#!/bin/sh\n{broken}\n")
        (programs / "ssh-keygen").chmod(0o755)
    two.b.write("Updates/u.md", "good\n")
    two.b.sync()
    head, before = two.head(), two.a.git("rev-parse", "HEAD")
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(programs))
        assert "ssh-keygen" in (two.a.sync().error or ""), "a good signature can't be checked: not refused"
        assert not two.a.has("Updates/u.md") and critical(two.a) == []
        two.a.write("Ideas.md", "two\n")
        result = two.a.sync()
        assert result.result == "error" and "openssh-client" in (result.error or "")
    assert two.head() == head and two.a.git("rev-parse", "HEAD") == before
    quiet(two)
    assert two.b.read("Ideas.md") == b"two\n" and two.a.has("Updates/u.md")


@pytest.mark.parametrize("name", ["a", "b"])
def test_what_a_person_commits_and_pushes_from_a_nodes_vault_is_the_nodes_word(two: Two, name: str) -> None:
    """Plain git in the vault takes the node's name from its configuration, so it takes its key too."""
    node, path = getattr(two, name), "Plans/by-hand.md"
    node.write(path, "x\n")
    plain = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    for words in (["add", path], ["commit", "-q", "-m", "by hand"], ["pull", "-q"], ["push", "-q"]):
        subprocess.run(["git", *words], cwd=node.root, env=plain, check=True)
    two.settle()
    assert two.a.read(path) == two.b.read(path) == b"x\n" and critical(two.a) == critical(two.b) == []
    quiet(two)


def commit_by_hand(node: Node, path: str) -> None:
    """A person's plain git in the node's vault, with the vault's own settings."""
    node.write(path, "by hand\n")
    environ = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    for words in (["add", path], ["commit", "-q", "-m", "by hand"]):
        subprocess.run(["git", *words], cwd=node.root, env=environ, check=True)


@pytest.mark.parametrize("how", ["the state moved", "the settings of a backup", "switched off", "said twice"])
def test_plain_git_in_the_vault_signs_again_after_the_next_sync(two: Two, how: str) -> None:
    config = two.b.root / ".git" / "config"
    if how == "the state moved":
        two.b.state = two.b.state.rename(two.folder / "moved")
    elif how == "the settings of a backup":
        two.b.git("config", "--remove-section", "gpg")
        two.b.git("config", "--unset", "user.signingKey")
        two.b.git("config", "commit.gpgSign", "false")
    elif how == "switched off":
        two.b.git("config", "commit.gpgSign", "false")
    else:
        config.write_text(config.read_text() + "[commit]\n\tgpgSign = false\n")
    two.b.sync()
    said = config.read_bytes()
    commit_by_hand(two.b, "Plans/by_hand.md")
    two.settle()
    assert two.a.has("Plans/by_hand.md") and "CRITICAL" not in {level for level, _, _ in two.a.alerts}
    assert config.read_bytes() == said, "where they are right they are left alone"
