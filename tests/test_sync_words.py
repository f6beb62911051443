"""What a person is told by a sync: true, once, uncut, and with what to do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vaults import Two, git, until
from utils.bootstrap import Services
from utils.sync import kept
from utils.vault import locks
from utils.vault.layout import Layout

CLOUD = "AI Employee (cloud) <cloud@ai-employee.invalid>"
TOKEN = "ghp_" + "Ab3dE5gH" * 4 + "Zz12"


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def pushed(two: Two, author: str, files: dict[str, str | None]) -> None:
    """Somebody pushes these files with plain git."""
    clone = two.folder / "clone"
    if not clone.exists():
        two.clone("clone")
    git(clone, "pull", "-q")
    for path, text in files.items():
        (clone / path).parent.mkdir(parents=True, exist_ok=True)
        (clone / path).write_text(text) if text is not None else (clone / path).unlink()
    two.commit_all(clone, author=author)
    git(clone, "push", "-q")


def test_a_phones_version_that_lost_names_who_wrote_it(two: Two) -> None:
    two.seed_files({"note.md": "x\n", "Plans/plan.md": "x\n"})
    pushed(two, 'Zoë "Z" Groß <zoe@example.org>', {"note.md": "from the phone\n"})
    two.a.write("note.md", "from Local\n")
    two.b.write("Plans/plan.md", "from the Cloud\n")
    two.settle()
    [(name, text)] = two.a.conflicts().items()
    assert '\nby: "Zoë \\"Z\\" Groß"\n'.encode() in text and text.endswith(b"from the phone\n")
    told = [message for _, title, message in two.a.alerts if "note.md" in title]
    assert told == [f'note.md: local\'s version stands, that of Zoë "Z" Groß is Updates/conflicts/{name}']
    layout = Layout(two.b.root)
    [copy] = [kept.told(layout, copy) for copy in kept.copies(layout)]
    assert copy["by"] == 'Zoë "Z" Groß' and copy["original"] == "note.md"
    two.assert_agree()


def test_a_nodes_version_that_lost_names_no_person(two: Two) -> None:
    two.seed_files({"Plans/p.md": "x\n"})
    two.a.write("Plans/p.md", "A\n")
    two.b.write("Plans/p.md", "B\n")
    two.settle()
    [text] = two.a.conflicts().values()
    assert b"lost: " in text and b"by: " not in text


def test_a_secret_is_told_with_what_to_do_about_it(two: Two) -> None:
    two.a.write("note.md", f"key {TOKEN}\n")
    two.a.write("keys.pem", "x\n")
    two.b.write("Plans/p.md", f"key {TOKEN}\n")
    two.a.sync()
    two.b.sync()
    told = {title.rpartition(": ")[2]: message for _, title, message in [*two.a.alerts, *two.b.alerts]}
    assert "change or revoke it where it was made, then take it out" in told["note.md"]
    assert "`<!-- pragma: allowlist secret -->`" in told["note.md"], "what to do about a false alarm"
    assert "change or revoke it" in told["Plans/p.md"] and "pragma" not in told["Plans/p.md"], "the Cloud marks nothing"
    assert "if it holds none, rename it" in told["keys.pem"]
    two.a.write("note.md", f"key {TOKEN} <!-- pragma: allowlist secret -->\n")
    two.a.sync()
    assert f"{TOKEN}" in git(two.remote, "show", "main:note.md"), "the remedy works as it is written"


def test_a_secret_in_a_persons_commit_is_told_with_the_mark_too(two: Two) -> None:
    two.a.write("note.md", f"key {TOKEN}\n")
    two.commit_all(two.a.root)
    result = two.a.sync()
    assert "git reset --soft" in str(result.error) and "pragma: allowlist secret" in str(result.error)


def test_who_waits_for_another_sync_is_told_so_once(two: Two, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    done: list[str] = []
    with locks.hold(two.a.root / ".git/vault-sync.running", note="pid 4711"):
        waiting = threading.Thread(target=lambda: done.append(two.a.vault_sync().run(wait=True).result))
        waiting.start()
        until(lambda: "waiting for another sync" in caplog.text)
        assert not done
    waiting.join()
    assert done == ["noop"]
    said = [record.message for record in caplog.records if "waiting for" in record.message]
    assert said == ["waiting for another sync of this vault, which runs already (pid 4711) …"]


def test_the_title_of_an_error_names_its_cause_whole_and_once(two: Two) -> None:
    two.a.remove(".vault")
    two.a.sync()
    [(_, title, message)] = two.a.alerts
    assert title == f"The vault does not sync: {two.a.root}/.vault is gone"
    assert message.startswith("is the disk mounted?") and "is gone" not in message
    git(two.a.root, "restore", ".vault")
    two.a.write("note.md", f"key {TOKEN}\n")
    two.commit_all(two.a.root)
    two.a.sync()
    title, message = two.a.alerts[-1][1:]
    assert title.startswith("The vault does not sync: nothing was pushed, for the commit ")
    assert title.endswith(" has note.md")
    assert "a GitHub token" in message and "nothing was pushed" not in message


def test_a_second_offence_at_one_path_is_told_too(two: Two, make_node: Callable[..., Services]) -> None:
    two.seed_files({"Dashboard.md": "mine\n"})
    for _ in range(2):
        pushed(two, CLOUD, {"Dashboard.md": "owned\n"})
        two.settle()
        assert two.a.read("Dashboard.md") == b"mine\n"
    pushed(two, CLOUD, {"Dashboard.md": None})
    two.settle()
    pushed(two, "Ada <ada@example.org>", {"Dashboard.md": f"key {TOKEN}\n"})
    two.settle()
    titles = [title for _, title, _ in two.a.alerts if "Dashboard.md" in title]
    assert len(titles) == 4
    node = make_node("local")
    for level, title, message in two.a.alerts:
        node.alerts.send(level, title, message, source="vault_sync")
    seen = [item["title"] for item in node.alerts.recent()[0]]
    assert set(titles) <= set(seen), "none is counted as the repeat of another"
    assert "from Ada" in titles[-1] and "from cloud" in titles[0]
    assert "refused from Ada" in two.a.alerts[-1][2]


def test_it_is_not_said_that_nothing_stands_where_locals_own_note_stands(two: Two) -> None:
    pushed(two, CLOUD, {"Briefings/new.md": "from outside\n"})
    two.a.write("Briefings/new.md", "Local's own\n")
    two.a.sync()
    assert two.a.read("Briefings/new.md") == b"Local's own\n"
    assert not any("nothing stands" in message for _, _, message in two.a.alerts)
