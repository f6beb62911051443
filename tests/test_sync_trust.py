"""What sync refuses: secrets, strangers' files, and what the cloud may not write."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vaults import Two, git

TASK = "email-20260601T100000Z-0a1b2c3d.md"
KEY = "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIBOgIBAAJBAK\n"
CLOUD = "AI Employee (cloud) <cloud@ai-employee.invalid>"


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def pushed_by_cloud(two: Two, files: dict[str, str | None]) -> None:
    """A cloud that does not keep to the rules: plain git with the cloud's identity."""
    clone = two.clone("evil")
    for path, content in files.items():
        target = clone / path
        if content is None:
            target.unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
    two.commit_all(clone, author=CLOUD)
    git(clone, "push", "-q")


@pytest.mark.parametrize("node", ["a", "b"])
def test_36_no_secret_is_ever_pushed(two: Two, node: str) -> None:
    here = getattr(two, node)
    names = [
        ".env",
        "Plans/.env.local",
        "token.json",
        "Plans/gmail_credentials.json",
        "server.pem",
        "id_rsa",
        "Plans/x.key",
    ]
    for name in names:
        here.write(name, "the secret words\n")
    here.write("Plans/note.md", f"my key:\n{KEY}")
    here.write("Plans/fine.md", "we speak of a private key, a token and a password\n")
    result = here.sync()
    two.settle()
    assert {item["path"] for item in result.refused} == {*names, "Plans/note.md"}
    everything = git(two.remote, "log", "--all", "-p")
    assert "the secret words" not in everything and "MIIBOgIBAAJBAK" not in everything
    assert all(here.has(name) for name in names), "left where they lie"
    assert two.a.has("Plans/fine.md") and two.b.has("Plans/fine.md")
    assert len([level for level, _, _ in here.alerts if level == "CRITICAL"]) == len(names) + 1
    assert not any("MIIBOgIBAAJBAK" in text or "the secret" in text for alert in here.alerts for text in alert)


def test_36_a_secret_added_to_a_note_keeps_the_note_as_it_was(two: Two) -> None:
    two.seed_files({"note.md": "fine\n"})
    two.a.write("note.md", KEY)
    two.settle()
    assert two.b.read("note.md") == b"fine\n" and two.a.read("note.md") == KEY.encode()
    two.a.write("note.md", "fine again\n")
    two.settle()
    two.assert_agree(loose=frozenset({KEY.encode()}))


def test_37_a_repository_in_the_vault_is_left_out(two: Two) -> None:
    inner = two.a.root / "project"
    inner.mkdir()
    git(inner, "init", "-q")
    (inner / "x.md").write_text("x\n")
    git(inner, "add", "-A")
    git(inner, "commit", "-qm", "x")
    two.a.write("note.md", "x\n")
    result = two.a.sync()
    assert result.result == "ok" and [item["path"] for item in result.refused] == ["project"]
    two.b.sync()
    assert two.b.has("note.md") and not two.b.has("project")


def test_names_that_cannot_exist_elsewhere_are_refused_with_a_reason(two: Two) -> None:
    names = ["what?.md", "a:b.md", "CON.md", "trailing .md ", "notes./x.md", "tab\there.md"]
    for name in names:
        two.a.write(name, "x\n")
    result = two.a.sync()
    assert {item["path"] for item in result.refused} == set(names)
    assert all("rename" in item["reason"] for item in result.refused)


def test_two_names_that_would_overwrite_each_other(two: Two) -> None:
    two.seed_files({"Note.md": "one\n"})
    two.a.write("note.md", "two\n")
    result = two.a.sync()
    assert [item["path"] for item in result.refused] == ["note.md"]
    assert two.a.read("note.md") == b"two\n"


FORBIDDEN = {
    "Dashboard.md": "owned\n",
    f"Approved/{TASK}": "approved by nobody\n",
    ".gitattributes": "* filter=evil\n",
    ".gitignore": "nothing/\n",
    "Plans/.gitmodules": "[submodule]\n",
    "In_Progress/local/x.md": "x\n",
    "Business_Goals.md": None,
    "Rejected/x.md": "x\n",
    "hooks.sh": "touch /tmp/x\n",
}


def test_44_what_the_cloud_may_not_write_is_not_applied_but_kept_and_told(two: Two) -> None:
    before = {path: two.a.read(path) for path in ("Dashboard.md", ".gitattributes", ".gitignore", "Business_Goals.md")}
    pushed_by_cloud(two, {**FORBIDDEN, "Updates/news.md": "allowed\n"})
    result = two.a.sync()
    assert {item["path"] for item in result.refused} == set(FORBIDDEN)
    assert {path: two.a.read(path) for path in before} == before
    assert not any(two.a.has(path) for path in FORBIDDEN if path not in before)
    assert two.a.has("Updates/news.md")
    assert len(two.a.alerts) == len(FORBIDDEN)
    kept = b"".join(two.a.conflicts().values())
    assert all(text.encode() in kept for text in FORBIDDEN.values() if text)
    two.settle()
    assert two.b.read("Dashboard.md") == before["Dashboard.md"]
    two.assert_agree()


def test_44_an_honest_cloud_puts_such_an_edit_aside_itself(two: Two) -> None:
    before = two.b.read("Dashboard.md")
    two.b.write("Dashboard.md", "edited on the server\n")
    two.b.write("Approved/x.md", "x\n")
    two.b.remove("Business_Goals.md")
    result = two.b.sync()
    assert {item["path"] for item in result.refused} == {"Dashboard.md", "Approved/x.md", "Business_Goals.md"}
    two.settle()
    assert two.b.read("Dashboard.md") == two.a.read("Dashboard.md") == before
    assert any(data.endswith(b"edited on the server\n") for data in two.a.conflicts().values())
    assert two.a.alerts == [], "nothing forbidden was sent"
    two.assert_agree()


def test_44_a_person_may_write_anywhere_with_plain_git(two: Two) -> None:
    phone = two.clone("phone")
    (phone / "Dashboard.md").write_text("# mine\n")
    (phone / f"Approved/{TASK}").write_text("x\n")
    two.commit_all(phone)
    git(phone, "push", "-q")
    assert two.a.sync().refused == []
    two.settle()
    assert two.b.read("Dashboard.md") == b"# mine\n"
    two.assert_agree()


def test_44_a_persons_edit_under_a_forged_one_is_kept(two: Two) -> None:
    phone = two.clone("phone")
    (phone / "Dashboard.md").write_text("# the person's\n")
    two.commit_all(phone)
    git(phone, "push", "-q")
    pushed_by_cloud(two, {"Dashboard.md": "owned\n"})
    two.settle()
    assert two.a.read("Dashboard.md") == two.b.read("Dashboard.md") == b"# the person's\n"
    two.assert_agree()


def test_the_cloud_may_not_change_a_request_that_local_touched(two: Two) -> None:
    path = f"Pending_Approval/email/{TASK}"
    two.b.write(path, "---\ncreated_by: cloud\n---\nfirst draft\n")
    two.settle()
    two.b.write(path, "---\ncreated_by: cloud\n---\nsecond draft\n")
    two.settle()
    assert b"second" in two.a.read(path), "its own request"
    two.a.write(path, "---\ncreated_by: cloud\n---\nas the human wants it\n")
    two.settle()
    two.b.write(path, "---\ncreated_by: cloud\n---\nthird draft\n")
    assert [item["path"] for item in two.b.sync().refused] == [path]
    two.settle()
    assert b"as the human wants it" in two.a.read(path) and b"as the human wants it" in two.b.read(path)
    two.assert_agree()


def test_the_cloud_finishes_only_its_own_tasks(two: Two) -> None:
    own, waiting = f"In_Progress/cloud/{TASK}", f"Pending_Approval/email/{TASK.replace('email', 'social', 1)}"
    two.seed_files({own: "x\n", waiting: "y\n"})
    two.b.move(own, f"Done/{TASK}")
    two.b.move(waiting, "Done/" + waiting.rpartition("/")[2])
    two.settle()
    assert two.a.has(f"Done/{TASK}") and two.a.has(waiting)
    assert not two.b.has("Done/" + waiting.rpartition("/")[2])
    two.assert_agree()


def test_the_cloud_only_appends_to_logs(two: Two) -> None:
    two.seed_files({"Logs/claims.jsonl": '{"n":1}\n{"n":2}\n'})
    pushed_by_cloud(two, {"Logs/claims.jsonl": '{"n":3}\n'})
    two.settle()
    assert set(two.a.read("Logs/claims.jsonl").splitlines()) == {b'{"n":1}', b'{"n":2}', b'{"n":3}'}
    two.assert_agree()


def test_a_type_that_is_not_synced_stays_quietly(two: Two) -> None:
    two.a.write("film.mov", "x")
    result = two.a.sync()
    assert [item["path"] for item in result.refused] == ["film.mov"]
    assert two.a.alerts == []
