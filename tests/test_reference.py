"""What the README lists is what the code has."""

from __future__ import annotations

import re

import pytest

from scripts import reference
from utils.settings import PROJECT_ROOT, describe

README = (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", list(reference.TABLES))
def test_the_readmes_tables_are_the_codes(table: str) -> None:
    assert reference.updated(README, [table]) == README, "run: python -m scripts.reference"


def test_every_setting_named_in_the_readme_exists() -> None:
    known = {setting.name for setting in describe()}
    prefixes = ("IMAP_", "SMTP_", "MAIL_", "VAULT_", "API_", "ALERT_", "AGENT_", "SYNC_", "HEALTH_", "MCP_")
    named = {
        word.removesuffix("_FILE") for word in re.findall(r"\b[A-Z][A-Z_]+[A-Z]\b", README) if word.startswith(prefixes)
    }
    assert named - known == set()


def test_every_command_in_the_readme_exists() -> None:
    for module in re.findall(r"python -m ([a-zA-Z_.]+)", README):
        if "NAME" not in module:
            assert (PROJECT_ROOT / f"{module.replace('.', '/')}.py").is_file(), module


def test_every_link_in_the_documents_leads_somewhere() -> None:
    for document in [
        PROJECT_ROOT / "README.md",
        PROJECT_ROOT / "CONTRIBUTING.md",
        *(PROJECT_ROOT / "docs").rglob("*.md"),
    ]:
        for link in re.findall(r"\]\((?!http|#)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"
