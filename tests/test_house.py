"""The house itself: which files stand at the top, and that imports point one way."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from utils.core import commands

ROOT = Path(__file__).resolve().parent.parent

WATCHERS = {
    "__init__.py",
    "orchestrator.py",
    "scheduler.py",
    "dashboard.py",
    "gmail_watcher.py",
    "approval_watcher.py",
    "health_monitor.py",
}
UTILS = {
    "__init__.py",
    "vault_sync.py",
    "work_zones.py",
    "claim_task.py",
    "alert_manager.py",
    "settings.py",
    "bootstrap.py",
    "daemon.py",
    "ports.py",
}
#: Layers from the bottom up; a module imports only from its own layer's list.
MAY_IMPORT = {
    "utils.core": {"utils.core"},
    "utils.ports": {"utils.core"},
    "utils.vault": {"utils.vault", "utils.ports", "utils.core"},
    "utils.settings": {"utils.core"},
    "utils.hands": {
        "utils.hands",
        "utils.execution.render",
        "utils.adapters",
        "utils.vault",
        "utils.ports",
        "utils.core",
        "utils.settings",
    },
    "utils.adapters": {"utils.adapters", "utils.vault", "utils.ports", "utils.core", "utils.settings"},
}
USE_CASES = {"utils.vault_sync", "utils.work_zones", "utils.claim_task", "utils.alert_manager"}
IMPURE = {
    "os",
    "time",
    "pathlib",
    "subprocess",
    "socket",
    "io",
    "sqlite3",
    "shutil",
    "tempfile",
    "threading",
    "logging",
}


def modules(folder: str) -> list[tuple[str, ast.Module]]:
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found.append((name, ast.parse(path.read_text(encoding="utf-8"))))
    return found


def imports(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def layer(name: str, layers: dict[str, set[str]] | set[str]) -> str | None:
    return next((top for top in layers if name == top or name.startswith(top + ".")), None)


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] in {"utils", "Watchers", "mcp_servers", "scripts"}}


def test_only_processes_stand_in_watchers_and_only_the_named_files_in_utils() -> None:
    assert {path.name for path in (ROOT / "Watchers").glob("*.py")} == WATCHERS
    assert {path.name for path in (ROOT / "utils").glob("*.py")} == UTILS
    assert not {path.name for path in (ROOT / "utils").iterdir()} & {"helpers", "common", "misc"}


def test_lower_layers_import_only_from_below() -> None:
    wrong = []
    for name, tree in modules("utils"):
        top = layer(name, MAY_IMPORT)
        if top is None:
            continue
        allowed = MAY_IMPORT[top]
        for imported in ours(imports(tree)):
            if layer(imported, allowed) is None and imported != "utils":
                wrong.append(f"{name} imports {imported}")
    assert wrong == []


def test_the_core_knows_no_files_no_clock_and_no_network() -> None:
    wrong = []
    for name, tree in modules("utils/core"):
        impure = {module for module in imports(tree) if module.split(".")[0] in IMPURE}
        if "pathlib.PurePosixPath" in impure:  # a value: it touches no file
            impure -= {"pathlib", "pathlib.PurePosixPath"}
        wrong += [f"{name} imports {module}" for module in impure]
    assert wrong == []


def test_use_cases_do_not_choose_adapters() -> None:
    """Only bootstrap does; the user's named functions import bootstrap late (contracts §4's one exception). A hand is
    one provider's, and names the client that it speaks through."""
    wrong = []
    for name, tree in modules("utils"):
        if name in {"utils.bootstrap", "utils.daemon"} or name.startswith(("utils.adapters", "utils.hands")):
            continue
        for imported in ours(imports(tree)):
            if imported.startswith("utils.adapters"):
                wrong.append(f"{name} imports {imported}")
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        at_import = {imported for node in top for imported in imports(node)}
        if any(imported.startswith("utils.bootstrap") for imported in at_import):
            wrong.append(f"{name} imports bootstrap when it is imported")
        if any(imported.startswith("utils.bootstrap") for imported in imports(tree)) and name not in USE_CASES:
            wrong.append(f"{name} imports bootstrap")
    assert wrong == []


def test_nothing_below_the_processes_imports_a_process() -> None:
    wrong = [
        f"{name} imports {imported}"
        for name, tree in modules("utils")
        for imported in ours(imports(tree))
        if imported.split(".")[0] != "utils"
    ]
    assert wrong == []


def test_only_the_layout_knows_the_stages_folders() -> None:
    """No other code spells a path into a stage."""
    folders = {"Needs_Action", "In_Progress", "Pending_Approval", "Approved", "Rejected", "Done", "Quarantine"}
    allowed = {"utils.vault.layout", "utils.core.policy"}
    wrong = []
    for folder in ("utils", "Watchers", "mcp_servers"):
        for name, tree in modules(folder):
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and name not in allowed:
                    text = node.value
                    if text.split("/")[0] in folders and not any(space in text for space in " \n"):
                        wrong.append(f"{name}:{node.lineno}: {text!r}")
    assert wrong == []


def test_a_command_that_a_person_is_told_works_in_a_plain_shell() -> None:
    """Nobody has to know of the virtual environment: `utils.core.commands` writes the command lines."""
    wrong = []
    for name, tree in [pair for folder in ("utils", "Watchers", "scripts", "mcp_servers") for pair in modules(folder)]:
        if name == "utils.core.commands":
            continue
        programs = [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "prog"]
        statements = [node for node in ast.walk(tree) if isinstance(node, ast.Expr)]
        docstrings = [node for node in statements if isinstance(node.value, ast.Constant)]
        silent = {id(part) for node in (*programs, *docstrings) for part in ast.walk(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
                words = node.value.replace(".venv/bin/python -m", "")
                wrong += [f"{name}: {words}"] if re.search("python -m |(?<!-m )pip install", words) else []
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "docs/sync.md", ROOT / "docs/zones.md"):
        text = re.sub(r"<!--.*?-->|\.venv/bin/python -m", "", path.read_text(encoding="utf-8"))
        wrong += [f"{path.name}: {line}" for line in text.splitlines() if "python -m " in line]
    assert wrong == []


def test_the_command_lines_name_the_interpreter_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(ROOT / ".venv/bin/python"))
    assert commands.command("sync --repair") == ".venv/bin/python -m scripts.sync --repair"
    monkeypatch.setattr(sys, "executable", "/opt/my env/bin/python3")
    assert commands.command("doctor") == "'/opt/my env/bin/python3' -m scripts.doctor"
    assert commands.elsewhere("keys show") == ".venv/bin/python -m scripts.keys show"
