"""Sync under a user's own git configuration, and a user's plain git in a vault that sync made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vaults import Two, git

#: What a person may well have in `~/.gitconfig`.
SETTINGS = {
    "core.excludesFile": "{folder}/ignore",
    "core.ignoreStat": "true",
    "core.logAllRefUpdates": "false",
    "diff.ignoreSubmodules": "all",
    "diff.orderFile": "{folder}/no/such/file",
    "i18n.logOutputEncoding": "ISO-8859-1",
    "log.follow": "true",
    "push.pushOption": "ci.skip",
    "color.diff": "always",
    "color.status": "always",
    "color.ui": "always",
    "column.ui": "always",
    "commit.gpgSign": "true",
    "core.abbrev": "6",
    "core.attributesFile": "{folder}/attributes",
    "core.autocrlf": "true",
    "core.fileMode": "true",
    "core.fsmonitor": "touch {folder}/proof",
    "core.hooksPath": "{folder}/hooks",
    "core.ignoreCase": "true",
    "core.quotePath": "false",
    "core.splitIndex": "true",
    "core.untrackedCache": "true",
    "diff.external": "touch {folder}/proof",
    "diff.mnemonicPrefix": "true",
    "diff.noprefix": "true",
    "diff.relative": "true",
    "diff.renames": "copies",
    "feature.experimental": "true",
    "feature.manyFiles": "true",
    "fetch.prune": "true",
    "fetch.pruneTags": "true",
    "fetch.recurseSubmodules": "true",
    "filter.shout.clean": "tr a-z A-Z",
    "filter.shout.smudge": "touch {folder}/proof",
    "i18n.commitEncoding": "ISO-8859-1",
    "init.defaultBranch": "trunk",
    "init.defaultRefFormat": "reftable",
    "init.templateDir": "{folder}/template",
    "log.abbrevCommit": "true",
    "log.diffMerges": "off",
    "log.showRoot": "false",
    "log.showSignature": "true",
    "merge.renames": "true",
    "pull.rebase": "true",
    "push.default": "nothing",
    "push.followTags": "true",
    "push.gpgSign": "true",
    "push.recurseSubmodules": "check",
    "rerere.enabled": "true",
    "status.branch": "true",
    "status.relativePaths": "true",
    "status.renames": "true",
    "status.short": "true",
    "status.showStash": "true",
    "status.showUntrackedFiles": "no",
    "submodule.recurse": "true",
    "tag.gpgSign": "true",
    "user.useConfigOnly": "true",
}


def test_a_users_own_git_configuration_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / "hooks").mkdir(parents=True)
    (home / "ignore").write_text("*.md\nInbox/\n*.jsonl\n")
    (home / "attributes").write_text("* text eol=crlf filter=shout\n")
    for name in ("pre-commit", "pre-push", "post-index-change"):
        (home / "hooks" / name).write_text(f"#!/bin/sh\ntouch {home}/proof\nexit 1\n")
        (home / "hooks" / name).chmod(0o755)
    for name, value in SETTINGS.items():
        git(home, "config", "--file", "gitconfig", name, value.format(folder=home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))

    two = Two(tmp_path, ready=False)
    two.prepare()
    two.a.write("Inbox/idea.md", "a\nb\r\n")
    two.seed_files({"notes/a.md": "x\n", "notes/case.md": "case\n", "Logs/claims.jsonl": '{"at":"1"}\n'})
    phone = two.clone("phone")
    (phone / "zebra.md").write_text("from the phone\n")
    (phone / "notes/a.md").write_text("y\n")
    git(phone, "add", "--all")
    git(phone, "update-index", "--add", "--cacheinfo", f"160000,{two.head()},sub")
    git(phone, "commit", "-q", "-m", "by hand", "--author=Zoë Größe <zoe@example.org>")
    git(phone, "mv", "zebra.md", "lion.md")
    two.commit_all(phone)
    git(phone, "push", "-q", "origin", "main")
    two.a.move("notes/case.md", "notes/CASE.md")
    two.a.write("notes/a.md", "z\n")
    two.b.write("Plans/plan.md", "by cloud\n")
    for result in two.settle():
        assert result.error is None
    assert two.b.read("Inbox/idea.md") == b"a\nb\r\n" and two.b.read("lion.md") == b"from the phone\n"
    assert two.b.has("notes/CASE.md") and not two.b.has("notes/case.md")
    assert two.b.read("notes/a.md") == b"z\n"

    with two.a.vault_sync()._git.open() as ours:
        first = two.a.git("rev-parse", "main").strip()
        made = next(commit for commit in ours.commits(None, first) if commit.address == "zoe@example.org")
        assert made.author == "Zoë Größe" and "sub" in made.paths
        assert ours.authors_of(first, "lion.md") == {"ada@example.org"}, "of this path, not of what it was before"
        ours.refresh_index(first)
    two.a.write("notes/a.md", "edited\n")
    two.settle()
    assert two.b.read("notes/a.md") == b"edited\n"
    two.assert_agree()
    assert [result.result for result in two.settle()] == ["noop"] * 4
    assert two.a.vault_sync().status()["dirty"] is False
    assert (two.a.root / ".git/logs/refs/heads/main").exists()
    assert not (home / "proof").exists()


def test_a_persons_plain_pull_and_push_need_no_arguments(tmp_path: Path) -> None:
    two = Two(tmp_path, ready=False)
    two.prepare()
    assert [node.git("status", "--porcelain") for node in (two.a, two.b)] == ["", ""]
    phone = two.clone("phone")
    (phone / "phone.md").write_text("from the phone\n")
    two.commit_all(phone)
    git(phone, "push", "-q")
    two.a.git("pull", "-q")
    assert two.a.read("phone.md") == b"from the phone\n"
    two.a.write("desk.md", "by hand\n")
    two.commit_all(two.a.root)
    two.a.git("push", "-q")
    assert two.head() == two.a.git("rev-parse", "HEAD").strip()
    two.settle()
    two.assert_agree()
