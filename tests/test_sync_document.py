"""`docs/sync.md` is true: each test it names is there, and each numbered history of a merge is in it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from utils.settings import PROJECT_ROOT

DOCUMENT = (PROJECT_ROOT / "docs/sync.md").read_text(encoding="utf-8")


def named_in(files: list[Path]) -> set[str]:
    return {
        node.name
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_each_test_in_the_tables_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT))
    assert len(named) > 50
    assert named - named_in(sorted((PROJECT_ROOT / "tests").glob("test_*.py"))) == set()


def test_each_row_names_a_test() -> None:
    rows = re.findall(r"^\|(?! ---|---)(.+)\|$", DOCUMENT.split("## When it says no")[0], re.MULTILINE)
    without = [row for row in rows if "`test_" not in row and not row.rstrip().endswith("| test")]
    assert len(rows) > 45 and without == []


def test_each_numbered_history_of_edits_and_moves_is_in_the_tables() -> None:
    histories = named_in([PROJECT_ROOT / "tests/test_sync_scenarios.py"])
    wanted = {int(number) for name in histories for number in re.findall(r"_(\d\d)(?=_)", name)} - {24}
    named = {int(n) for name in re.findall(r"`(test_\w+)`", DOCUMENT) for n in re.findall(r"_(\d\d)(?=_)", name)}
    assert wanted - named == set()
