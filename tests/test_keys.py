"""`python -m scripts.keys` and what the doctor says about signing."""

from __future__ import annotations

import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import doctor, keys
from tests.vaults import Node, Two, git
from utils.bootstrap import Services
from utils.core.signing import ADDRESSES, Key
from utils.daemon import Stop
from utils.settings import PROJECT_ROOT
from Watchers.approval_watcher import ApprovalWatcher

README = (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("\n## Signing\n")[2].partition("\n## ")[0]
PLACEHOLDER = "'ssh-ed25519 AAAA…'"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("local", "create")`: exit code, standard output and error of the command on that node."""

    def call(node: str, *arguments: str, **settings: str) -> tuple[int, str, str]:
        environ = {
            "ENV_FILE": "",
            "AGENT_NAME": node,
            "AGENT_MODE": "full" if node == "local" else "draft_only",
            "VAULT_PATH": str(tmp_path / node / "vault"),
            "STATE_DIR": str(tmp_path / node / "state"),
            "UNSIGNED_COMMITS": "cloud",
        }
        for name, value in (environ | settings).items():
            monkeypatch.setenv(name, value)
        code = keys.main(list(arguments))
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def printed_command(text: str) -> list[str]:
    [line] = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    words = shlex.split(line)
    assert words[:3] == [".venv/bin/python", "-m", "scripts.keys"]
    return words[3:]


def signing(run: Run, node: str, tmp_path: Path) -> list[str]:
    run(node, "list")
    vault = tmp_path / node / "vault"
    if not vault.exists():
        git(tmp_path, "init", "-q", str(vault))
        git(vault, "remote", "add", "origin", str(tmp_path / "remote.git"))
    return [f"{f.verdict}: {f.detail}" for f in doctor.examine() if f.subject == "signing"]


def key_file(tmp_path: Path, name: str) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", str(tmp_path / name)], check=True)
    return tmp_path / f"{name}.pub"


def test_the_readmes_commands_set_signing_up(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key_file(tmp_path, "phone")
    monkeypatch.chdir(tmp_path)
    lines = [line for block in re.findall(r"```bash\n(.*?)```", SECTION, re.DOTALL) for line in block.splitlines()]
    assert len(lines) == 6
    for line in lines:
        command, _, where = line.partition("# on ")
        nodes = ("local", "cloud") if where.startswith("both") else (where.split(":")[0].lower(),)
        for node in nodes:
            if PLACEHOLDER in command:
                other = "cloud" if node == "local" else "local"
                printed = shlex.join(printed_command(run(other, "show")[1]))
                assert printed.startswith(f"enrol --zone {other} 'ssh-ed25519 ")
                assert ".venv/bin/python -m scripts.keys " + re.sub("'.*'", PLACEHOLDER, printed) == command.strip()
                command = f".venv/bin/python -m scripts.keys {printed}"
            code, said, wrong = run(node, *shlex.split(command)[3:])
            assert (code, wrong) == (0, ""), f"{node}: {command}"
    for node in ("local", "cloud"):
        assert signing(run, node, tmp_path)[0].startswith("ok: this node signs")
        said = run(node, "list")[1]
        assert len(re.findall("enrolled", said)) == 2 and len(re.findall("revoked", said)) == 1
        assert "ada-phone" in said and "(this node)" in said


def test_a_key_is_made_once_and_only_for_its_owner(run: Run, tmp_path: Path) -> None:
    first = run("local", "create")
    private = tmp_path / "local/state/keys/node"
    before = private.read_bytes()
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(private.parent.stat().st_mode) == 0o700
    again = run("local", "create")
    assert again[0] == 0 and "already" in again[1] and private.read_bytes() == before
    assert printed_command(first[1]) == printed_command(again[1]) == printed_command(run("local", "show")[1])
    assert "PRIVATE" not in "".join(first[1:] + again[1:])
    (tmp_path / "local/state/keys/node.pub").unlink()
    (tmp_path / "local/state/keys/allowed_signers").unlink()  # as after a kill between the two
    assert run("local", "create")[0] == 0
    assert "(this node)" in run("local", "list")[1]
    assert sorted(path.name for path in private.parent.iterdir()) == ["allowed_signers", "node"]


def test_what_is_no_public_key_is_refused_with_the_remedy(run: Run, tmp_path: Path) -> None:
    public = key_file(tmp_path, "other")
    private = public.with_suffix("")
    secret = private.read_text().splitlines()[1]
    for given in (str(private), private.read_text()):
        code, said, wrong = run("local", "enrol", "--zone", "cloud", given)
        assert code == 1 and "private key" in wrong and ".pub" in wrong
        assert secret not in said + wrong
    for named in ("/no/such/file.pub", "other.pob.pub"):
        code, _, wrong = run("local", "enrol", "--zone", "cloud", named)
        assert code == 1 and f"there is no file {named}" in wrong
    code, said, wrong = run("local", "enrol", "--zone", "cloud", f"/{secret}")
    assert code == 1 and "there is no such file" in wrong and secret not in said + wrong
    kind, data, _ = public.read_text().split()
    wrongs = ["hello", f"{kind} AAAA", f"ssh-rsa {data}", f"{kind} {data}\n{kind} {data}", "", f"cert-authority {data}"]
    for given in wrongs:
        code, _, wrong = run("local", "enrol", "--zone", "cloud", given)
        assert code == 1 and "no public SSH key" in wrong, given
    for name in ("cloud", "Local", "a b", "*", "x@y", "a,b", "", "-"):
        code, _, wrong = run("local", "enrol", f"--person={name}", str(public))
        assert code == 1 and "person's name" in wrong, name
    assert not (tmp_path / "local/state/keys/allowed_signers").exists()


def test_a_key_belongs_to_one_and_each_has_one(run: Run, tmp_path: Path) -> None:
    run("local", "create")
    one, two = key_file(tmp_path, "one"), key_file(tmp_path, "two")
    assert run("local", "enrol", "--zone", "cloud", *one.read_text().split())[0] == 0
    assert "already enrolled" in run("local", "enrol", "--zone", "cloud", str(one))[1]
    for arguments, remedy in (
        (("--zone", "cloud", str(two)), "revoke cloud"),
        (("--person", "ada", str(one)), "known already, as cloud's"),
        (("--zone", "local", str(two)), "scripts.keys create"),
        (("--zone", "cloud", printed_command(run("local", "show")[1])[-1]), "known already, as local's"),
    ):
        code, _, wrong = run("local", "enrol", *arguments)
        assert code == 1 and remedy in wrong, arguments
    code, said, _ = run("local", "revoke", "cloud")
    assert code == 0 and "scripts.keys create, and here the `enrol`" in said
    assert "already" in run("local", "revoke", "cloud")[1]
    assert "was revoked here" in run("local", "enrol", "--zone", "cloud", str(one))[2]
    assert run("local", "enrol", "--zone", "cloud", str(two))[0] == 0
    assert "no key of 'nobody'" in run("local", "revoke", "nobody")[2]


def test_revoking_ones_own_key_sets_it_aside(run: Run, tmp_path: Path) -> None:
    old = printed_command(run("local", "create")[1])[-1]
    fingerprint = re.findall("SHA256:[^ ]+", run("local", "list")[1])[0]
    for named in ("local", fingerprint):
        code, _, wrong = run("local", "revoke", named)
        assert code == 1 and "nothing syncs here" in wrong and "revoke local --yes" in wrong and "revoke cloud" in wrong
    assert (tmp_path / "local/state/keys/node").exists(), "it was asked for first"
    code, said, _ = run("local", "revoke", "local", "--yes")
    assert code == 0 and "keys create" in said and "on the cloud node: .venv/bin/python -m scripts.keys revoke" in said
    assert "enrol --zone local" not in said, "a node's own key is not enrolled there"
    assert not (tmp_path / "local/state/keys/node").exists()
    assert "no key yet" in run("local", "show")[2]
    assert printed_command(run("local", "create")[1])[-1] != old


def test_a_lost_private_key_is_not_replaced_in_silence(run: Run, tmp_path: Path) -> None:
    """The other node would refuse everything that the new key signs."""
    run("cloud", "create")
    private = tmp_path / "cloud" / "state" / "keys" / "node"
    private.rename(tmp_path / "lost")
    code, _, said = run("cloud", "create")
    assert code == 1 and "revoke cloud" in said and "other node" in said
    assert not private.exists()


def test_the_doctor_says_what_is_missing(run: Run, tmp_path: Path) -> None:
    [nothing] = signing(run, "local", tmp_path)
    assert nothing.startswith("note: commits are not signed") and "scripts.keys create" in nothing
    run("local", "create")
    [half] = signing(run, "local", tmp_path)
    assert "no key of the cloud node" in half and printed_command(run("local", "show")[1])[-1] in half
    run("cloud", "enrol", "--zone", "local", printed_command(run("local", "show")[1])[-1])
    [other_half] = signing(run, "cloud", tmp_path)
    assert "this node has none" in other_half and "scripts.keys create" in other_half
    command = printed_command(run("cloud", "create")[1])
    assert run("local", *command)[0] == 0
    assert signing(run, "local", tmp_path) == ["ok: this node signs, and the cloud node's commits must be"]
    run("local", "list", UNSIGNED_COMMITS="accept")
    assert any("UNSIGNED_COMMITS=accept" in f.detail for f in doctor.examine())
    run("local", "revoke", "cloud")
    assert signing(run, "local", tmp_path)[0].startswith("BROKEN")
    (tmp_path / "local/state/keys/allowed_signers").write_text("* ssh-ed25519 AAAA\n")
    assert signing(run, "local", tmp_path)[0].startswith("BROKEN") and "allowed_signers" in run("local", "list")[2]


def test_without_ssh_keygen_the_remedy_is_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, wrong = run("local", "create")
    assert code == 1 and "openssh-client" in wrong
    assert list((tmp_path / "local/state/keys").iterdir()) == []


def test_help_and_wrong_usage() -> None:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "scripts.keys", *arguments]
        return subprocess.run(words, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)

    helped = command("--help")
    assert helped.returncode == 0 and "enrol" in helped.stdout and "outside the" in helped.stdout
    assert command("enrol", "x").returncode == 2


def test_believing_unsigned_people_is_warned_about_at_a_start(make_node: Callable[..., Services]) -> None:
    for policy, warned in (("cloud", 0), ("accept", 1)):
        node = make_node("local", UNSIGNED_COMMITS=policy)
        ApprovalWatcher(node).start(Stop())
        logs = "".join(path.read_text() for path in (node.layout.root / "Logs").rglob("*.jsonl"))
        assert logs.count("UNSIGNED_COMMITS is 'accept'") == warned


# --- keys for a pair that works already ------------------------------------------------------------------------------


MAIL = "email-20260601T100000Z-0a1b2c3d.md"
REQUEST = "email-20260601T100000Z-0a1b2c3e.md"
DRAFT = "---\naction: send_email\ncreated_by: cloud\n---\n## Draft\n\nhello\n"


@pytest.fixture
def pair(tmp_path: Path) -> Two:
    """Two nodes that have synced; the Cloud has drafted since and brought that to the remote, Local has not looked."""
    two = Two(tmp_path)
    two.b.write(f"In_Progress/cloud/{MAIL}", "task\n")
    two.b.write(f"Plans/email/{MAIL}", "plan\n")
    two.b.write(f"Pending_Approval/email/{REQUEST}", DRAFT)
    two.b.sync()
    return two


def on(run: Run, node: Node, *arguments: str) -> tuple[int, str, str]:
    paths = {"VAULT_PATH": str(node.root), "STATE_DIR": str(node.state), "SYNC_SETTLE_SECONDS": "0"}
    return run(node.zone, *arguments, **paths)


def sign_both(run: Run, two: Two) -> str:
    for node in (two.a, two.b):
        assert on(run, node, "create")[0] == 0
    said = ""
    for node, other in ((two.a, two.b), (two.b, two.a)):
        code, told, wrong = on(run, node, *printed_command(on(run, other, "show")[1]))
        assert code == 0, wrong
        said += told
    return said


def test_what_the_cloud_committed_before_it_had_a_key_is_not_taken_for_forged(run: Run, pair: Two) -> None:
    said = sign_both(run, pair)
    assert "carried over" in said and "From now on cloud has to sign" in said
    results = [pair.a.sync(), pair.b.sync(), pair.a.sync()]
    assert [result.refused for result in results] == [[], [], []] and pair.a.alerts == pair.b.alerts == []
    for node in (pair.a, pair.b):
        assert node.has(f"Pending_Approval/email/{REQUEST}") and node.has(f"In_Progress/cloud/{MAIL}")
    pair.assert_agree()


def test_what_the_cloud_had_not_pushed_yet_goes_before_its_key(run: Run, pair: Two) -> None:
    pair.remote.rename(pair.folder / "away")
    pair.b.write("Updates/offline.md", "cloud\n")
    assert pair.b.sync().result == "offline"
    code, _, wrong = on(run, pair.b, "create")
    assert code == 1 and "nothing was changed" in wrong and not pair.b.keys.keyring().own
    (pair.folder / "away").rename(pair.remote)
    sign_both(run, pair)
    pair.settle()
    assert pair.a.read("Updates/offline.md") == b"cloud\n" and pair.a.alerts == []


def test_a_key_is_not_enrolled_where_the_remote_can_not_be_asked(run: Run, pair: Two) -> None:
    for node in (pair.a, pair.b):
        on(run, node, "create")
    enrol = printed_command(on(run, pair.b, "show")[1])
    pair.remote.rename(pair.folder / "away")
    code, _, wrong = on(run, pair.a, *enrol)
    assert code == 1 and "nothing was changed" in wrong and "refused from its first key on" in wrong
    assert not pair.a.keys.keyring().enrolled("cloud")


def test_what_comes_unsigned_after_the_enrolment_is_refused_however_old_it_says_it_is(run: Run, pair: Two) -> None:
    """A1 and A2: the accepted point is what lay on the remote when the person enrolled the key at Local."""
    sign_both(run, pair)
    clone = pair.clone("third")
    (clone / "Updates").mkdir(exist_ok=True)
    (clone / "Updates/evil.md").write_text("evil\n")
    git(clone, "add", "-A")
    author = "--author=AI Employee (cloud) <cloud@ai-employee.invalid>"
    git(clone, "commit", "-q", "-m", "x", author, "--date=2020-01-01T00:00:00Z")
    git(clone, "push", "-q")
    assert [item["path"] for item in pair.a.sync().refused] == ["Updates/evil.md"]


def test_the_cloud_hears_of_what_local_refused_of_it(pair: Two) -> None:
    """Keys put there by hand, without the command: Local takes the Cloud's unsigned work for forged, and the Cloud's
    task is gone though its mail counts as worked off."""
    for node in (pair.a, pair.b):
        node.keys.create(node.zone)
    pair.a.keys.enrol(Key(pair.b.keys.own(), ADDRESSES["cloud"]))
    pair.settle()
    pair.settle()
    assert not pair.b.has(f"Pending_Approval/email/{REQUEST}")
    [(level, title, text)] = pair.b.alerts
    assert level == "WARNING" and MAIL in title and f"Updates/conflicts/Plans/email/{MAIL}" in text


def test_the_cloud_hears_nothing_where_a_person_moved_its_work_on(pair: Two) -> None:
    pair.a.sync()
    pair.a.move(f"Pending_Approval/email/{REQUEST}", f"Rejected/{REQUEST}")
    pair.b.write(f"Pending_Approval/email/{REQUEST}", DRAFT + "more\n")
    pair.a.remove(f"Plans/email/{MAIL}")
    pair.settle()
    assert [title for _, title, _ in pair.b.alerts if title.startswith("Refused by Local")] == []
