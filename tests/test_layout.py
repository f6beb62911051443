"""What is listed of a stage: task files alone, and a file by its id; and how much of a request's file is read."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from utils.core.stages import Stage
from utils.execution import requests
from utils.vault.layout import Layout


def vault(root: Path) -> Layout:
    """Tasks in two depths, beside what is none."""
    folder = root / "Pending_Approval/email"
    (folder / ".hidden").mkdir(parents=True)
    for name in ("b.md", "a.md", "a.reason.md", "a.txt", ".c.md", ".hidden/a.md"):
        (folder / name).write_bytes(b"x")
    (root / "Pending_Approval/d.md").write_bytes(b"x")
    os.mkfifo(folder / "pipe.md")
    (folder / "link.md").symlink_to(folder / "a.md")
    (folder / "folder.md").mkdir()
    (root / "Pending_Approval/linked").symlink_to(folder)
    return Layout(root)


def test_a_stage_lists_plain_task_files_in_a_stable_order(tmp_path: Path) -> None:
    layout = vault(tmp_path)
    assert [path.name for path in layout.files(Stage.PENDING_APPROVAL)] == ["d.md", "a.md", "b.md"]
    assert [path.name for path in layout.notes(Stage.PENDING_APPROVAL)] == ["a.reason.md"]
    assert list(layout.files(Stage.DONE)) == []


def test_a_file_is_found_by_its_id_alone(tmp_path: Path) -> None:
    layout = vault(tmp_path)
    (tmp_path / "Approved").mkdir()
    (tmp_path / "Approved/a.md").write_bytes(b"x")
    pending, approved = tmp_path / "Pending_Approval/email/a.md", tmp_path / "Approved/a.md"
    assert layout.named("a", Stage.PENDING_APPROVAL) == [pending]
    assert layout.named("a", Stage.APPROVED, Stage.PENDING_APPROVAL) == [approved, pending]
    assert layout.find("a") == [pending, approved]
    (tmp_path / "Approved/None.md").write_bytes(b"x")
    for none in (None, "a.reason", "email/a", "../Approved/a", ".c", "pipe", "link", "folder", ""):
        assert layout.named(none, *Stage) == [], none


def test_of_a_request_so_much_is_read_as_can_be_used(tmp_path: Path) -> None:
    path = tmp_path / "Approved/a.md"
    path.parent.mkdir()
    usual = requests._USUAL_BYTES
    for size in (0, 1, usual - 1, usual, usual + 1, requests.MAX_BYTES, requests.MAX_BYTES + 1, requests.MAX_BYTES * 2):
        path.write_bytes(os.urandom(64) * (size // 64 + 1))
        os.truncate(path, size)
        file = requests.read(Layout(tmp_path), path)
        assert file is not None and file.data == path.read_bytes()[: requests.MAX_BYTES + 1]
        assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file.problems == ("the file is larger than 4 MiB",)
