"""Write the README's reference tables from the code, so that they can't drift: settings, endpoints, MCP tools."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import re
import sys
from collections.abc import Callable

from utils.bootstrap import Services
from utils.settings import PROJECT_ROOT, describe, load

README = PROJECT_ROOT / "README.md"


def settings_table() -> str:
    """Every setting: name, default, meaning."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    rows += [f"| `{s.name}` | {f'`{s.default}`' if s.default else ''} | {s.help} |" for s in describe()]
    return "\n".join(rows)


def endpoints_table() -> str:
    """Every route of the API with the first line of its view's docstring."""
    from Watchers.dashboard import create_app

    app = create_app(load({"ENV_FILE": ""}))
    rows = []
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith("/api"):
            continue
        summary = (app.view_functions[rule.endpoint].__doc__ or "").strip().split("\n")[0].rstrip(".")
        path = re.sub(r"<(?:[^:<>]*:)?(\w+)>", r"<\1>", rule.rule)
        rows += [(path, method, summary) for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})]
    lines = ["| endpoint | what it answers or does |", "|---|---|"]
    return "\n".join(lines + [f"| `{method} {path}` | {summary} |" for path, method, summary in sorted(rows)])


def tools_table() -> str:
    """Every tool of every MCP server."""
    from mcp_servers.acting import Desk
    from utils.execution.executor import SERVERS

    desk = Desk(Services(load({"ENV_FILE": ""})))
    lines = ["| server | tool | what it does |", "|---|---|---|"]
    for server in sorted(f"{name}_server" for name in set(SERVERS.values())):
        tools = asyncio.run(importlib.import_module(f"mcp_servers.{server}").build(desk).list_tools())
        summaries = [(tool.name, (tool.description or "").strip().split("\n")[0].rstrip(".")) for tool in tools]
        lines += [f"| `{server}` | `{name}` | {summary} |" for name, summary in sorted(summaries)]
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {"settings": settings_table, "endpoints": endpoints_table, "tools": tools_table}


def updated(text: str, names: list[str]) -> str:
    """The README's text with these tables made anew. Raises `ValueError` where a place for one is missing."""
    for name in names:
        place = re.compile(rf"(<!-- {name}:[^\n]*-->\n)(.*?)(<!-- /{name} -->)", re.DOTALL)
        if not place.search(text):
            raise ValueError(f"README.md has no place for the table of {name}")
        table = TABLES[name]().replace("\\", "\\\\")
        text = place.sub(rf"\g<1>{table}\n\g<3>", text)
    return text


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m scripts.reference", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*TABLES, []], help="which tables (default: all)")
    options = parser.parse_args()
    README.write_text(updated(README.read_text(encoding="utf-8"), options.names or list(TABLES)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
