"""The benchmark of a year, for twenty days: written days are like lived ones, and no day costs more than the last."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import year
from tests.vaults import git


@pytest.mark.slow
def test_twenty_days(tmp_path: Path) -> None:
    told: list[str] = []
    life = year.Year(tmp_path, days=20, mails=30, keep_days=3, tell=told.append)
    found = life.run()
    for measured in found:
        for what in ("commits", "new objects", "loose kB"):
            lived, written = (int(n.replace(",", "")) for n in measured.rows[f"{what}, lived / written"].split(" / "))
            assert abs(lived - written) <= max(3, 0.1 * written), (measured.day, what, lived, written)
    assert life.loose_before[-1].loose_kb < 1.6 * life.loose_before[7].loose_kb, "a day does not cost more and more"
    assert any("day 20 of 20" in text for text in told)
    done = git(life.root, "ls-tree", "--name-only", "main", "Done/").splitlines()
    filed = git(life.root, "ls-tree", "-r", "--name-only", "main", "Done/2026/01/").splitlines()
    assert len(filed) > 10 * 30 > 0 and len(done) < 6 * 3 * 30
    assert git(life.root, "log", "--format=%H", "--diff-filter=", "main", "--", "Logs/health").strip() == ""
    assert "At the end of 20 days" in year.report(life, found)
