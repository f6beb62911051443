"""300 random histories of two vaults, a phone and a forger, the same while the code is; `make soak` plays others."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import mutants
from tests.oracle import Oracle, Witness
from tests.vaults import Two, git

ROOT = Path(__file__).resolve().parent.parent
TASK = "email-20260601T100000Z-0a1b2c3d.md"


@pytest.mark.slow
def test_every_promise_holds_after_300_histories() -> None:
    """Two processes play half each: the work is mostly waiting for git."""
    command = [sys.executable, "-m", "tests.soak", "--histories", "150", "--lease", "0", "--seed"]
    players = [
        subprocess.Popen([*command, seed], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for seed in ("1000", "2000")
    ]
    for said, player in [(player.communicate()[0], player) for player in players]:
        assert player.returncode == 0, said
        counts = {
            name: int(number) for name, number in re.findall(r"(\w+) (\d+)", said.splitlines()[-1].replace(",", ""))
        }
        assert counts["histories"] >= 150
        assert min(counts[name] for name in ("rounds", "syncs", "kills", "meetings", "conflicts")) > 20, said


def test_the_text_of_every_mutant_occurs() -> None:
    """The list must not rot; `make mutants` runs it."""
    assert mutants.misfits(ROOT) == []
    assert len({mutant.name for mutant in mutants.MUTANTS}) == len(mutants.MUTANTS) >= 14


@pytest.fixture
def two(tmp_path: Path) -> Two:
    two = Two(tmp_path)
    two.a.write(f"Approved/{TASK}", "approved\n")
    two.a.write("note.md", "Ada's\n")
    two.settle()
    return two


def judged(two: Two, witness: Witness | None = None) -> str:
    """What the oracle finds wrong, or an empty string."""
    try:
        Oracle(two, witness or Witness()).judge()
    except AssertionError as error:
        return str(error)
    return ""


def test_the_oracle_sees_what_is_wrong(two: Two) -> None:
    assert judged(two) == ""
    witness = Witness()
    witness.saw({"gone.md": b"nobody has this\n"})
    assert judged(two, witness).startswith("lost: ")
    witness = Witness()
    witness.saw({"Logs/x.jsonl": b"{}\n"})
    assert "Logs/x.jsonl is gone" in judged(two, witness)
    two.b.write("note.md", "only here\n")
    assert judged(two).startswith("cloud differs from main")


def test_a_new_note_where_both_had_deleted_one_stands(two: Two) -> None:
    """The Cloud deleted a note, then made a new one there; Local had deleted the old one without knowing."""
    two.a.write("Plans/email/trip.md", "the old one\n")
    two.settle()
    two.b.remove("Plans/email/trip.md")
    two.b.sync()
    two.a.remove("Plans/email/trip.md")
    two.b.write("Plans/email/trip.md", "a new one\n")
    two.a.sync()
    two.settle()
    assert two.a.read("Plans/email/trip.md") == two.b.read("Plans/email/trip.md") == b"a new one\n"
    assert judged(two) == ""


@pytest.mark.parametrize(
    ("path", "content", "wrong"),
    [
        ("note.md", "the cloud's\n", "not the Local zone's last version"),
        ("other.md", "the cloud's\n", "committed other.md"),
        (f"Approved/{TASK}", "altered\n", "Local put "),
        (f"Done/{TASK}", "approved\n", f"{TASK} lies in "),
        ("Plans/x.md", "<<<<<<< ours\n", "marker in Plans/x.md"),
    ],
)
def test_the_oracle_sees_what_a_broken_sync_would_do(two: Two, path: str, content: str, wrong: str) -> None:
    """The cloud's clone commits it with plain git, and both follow with plain git."""
    two.b.write(path, content)
    two.commit_all(two.b.root, author="AI Employee (cloud) <cloud@ai-employee.invalid>")
    two.b.git("push", "-q", "origin", "HEAD:main")
    git(two.a.root, "fetch", "-q")
    git(two.a.root, "reset", "-q", "--hard", "origin/main")
    assert wrong in judged(two)
