"""The first view of the dashboard: when the approvals page paints in Chromium, on a phone's screen (goal: ≤ 1 s).

A Local node and the built dashboard as real processes, requests that wait, and a browser that is logged in. Times are
the browser's own, from the start of the navigation: First and Largest Contentful Paint (W3C Paint Timing, Largest
Contentful Paint), and when the first request can be read. *Cold*: nothing of the page is in the browser's cache.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.dashboard_kit import Desk, require_dashboard

if TYPE_CHECKING:
    from playwright.sync_api import Page

LOADS = 15
WAITING = 20
GOAL_MS = 1000
_PAINTS = """() => new Promise(done => new PerformanceObserver(list => done([
  performance.getEntriesByName('first-contentful-paint')[0].startTime,
  list.getEntries().at(-1).startTime,
])).observe({type: 'largest-contentful-paint', buffered: true}))"""
_READABLE = """() => new Promise(done => {
  const look = () => document.querySelector("main a[href^='/approvals/']")
    ? requestAnimationFrame(() => done(performance.now())) : requestAnimationFrame(look);
  look();
})"""
_MEASURED = ("First Contentful Paint", "Largest Contentful Paint", "the first request can be read")


def run() -> str:
    """A Markdown table: median and slowest in milliseconds, cold and with a warm cache in turns."""
    require_dashboard()
    times: dict[str, list[tuple[float, ...]]] = {"cold": [], "warm": []}
    with tempfile.TemporaryDirectory(prefix="ai-employee-bench-") as folder, Desk(Path(folder)) as desk:
        for number in range(WAITING):
            desk.mail(f"Offer {number}?", sender=f"Ann {number} <ann{number}@example.com>")
        desk.waiting(WAITING)
        with desk.browser(width=390) as page:
            developer = page.context.new_cdp_session(page)
            for _ in range(LOADS):
                developer.send("Network.clearBrowserCache")
                times["cold"].append(_load(page, desk.url))
                times["warm"].append(_load(page, desk.url))
    rows = [
        f"| approvals page, {WAITING} requests wait | cold (ms) | slowest | warm (ms) | slowest |",
        "|---|---|---|---|---|",
    ]
    for index, what in enumerate(_MEASURED):
        cells = [figure for name in times for figure in _figures([one[index] for one in times[name]])]
        rows.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join([*rows, "", f"Medians of {LOADS} loads each; the goal for the first view is ≤ {GOAL_MS:,} ms."])


def _load(page: Page, url: str) -> tuple[float, ...]:
    page.goto("about:blank")
    page.goto(f"{url}/approvals", wait_until="commit")
    readable = page.evaluate(_READABLE)
    first, largest = page.evaluate(_PAINTS)
    return first, largest, readable


def _figures(values: list[float]) -> tuple[str, str]:
    return f"{statistics.median(values):,.0f}", f"{max(values):,.0f}"
