"""The dashboard's types are those of the API: a change of one that forgot the other fails here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts import openapi, web
from tests.dashboard_kit import allowed_paths, require_dashboard


def test_the_committed_description_is_the_apis() -> None:
    committed = (web.FOLDER / "openapi.json").read_text(encoding="utf-8")
    assert openapi.text() == committed, (
        "run: python -m scripts.openapi > dashboard/openapi.json && (cd dashboard && npm run types)"
    )


@pytest.mark.slow
def test_the_committed_types_are_of_that_description(tmp_path: Path) -> None:
    require_dashboard()
    made = tmp_path / "schema.d.ts"
    tool = web.FOLDER / "node_modules" / ".bin" / "openapi-typescript"
    subprocess.run([str(tool), "openapi.json", "--output", str(made)], cwd=web.FOLDER, check=True, capture_output=True)
    assert made.read_text() == (web.FOLDER / "src" / "api" / "schema.d.ts").read_text()


def test_the_browser_is_given_no_way_to_the_description_or_the_metrics() -> None:
    paths = {path for _, path in allowed_paths()}
    assert "/api/approvals" in paths
    assert not paths & {"/api/openapi.json", "/api/health", "/metrics"}
