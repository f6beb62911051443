"""The dashboard in a browser while somebody else acts, the API hangs or an answer is missing: what a person is asked is
what is done, and nothing old or unknown is shown as if it were so."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, expect

from tests.dashboard_kit import Desk, require_dashboard
from tests.test_dashboard_browser import section, with_a_remote

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

TABS_AT_ONCE = 6  # connections that Chromium opens to one host (HTTP/1.1)
HIDE = """() => {
  Object.defineProperty(document, 'visibilityState', {value: 'hidden', configurable: true});
  document.dispatchEvent(new Event('visibilitychange'));
}"""
SHOW = "() => { delete document.visibilityState; document.dispatchEvent(new Event('visibilitychange')); }"


@pytest.fixture(scope="module")
def built() -> None:
    require_dashboard()


@pytest.fixture
def desk(built: None, tmp_path: Path) -> Iterator[Desk]:
    with Desk(tmp_path) as desk:
        yield desk


def says(page: Page, word: str) -> None:
    expect(page.get_by_role("status").filter(has_text=re.compile(f"^{word}$"))).to_be_visible()


def test_a_question_about_the_kill_switch_is_not_turned_round(desk: Desk) -> None:
    """Two people pull it at once: the second one's "Stop everything" must not release it."""
    with desk.browser() as page:
        page.goto(f"{desk.url}/claims")
        page.get_by_role("button", name="Stop everything").click()
        desk.node.post("stop", {"reason": "another device was first"})
        expect(page.get_by_text("Everything stands still:")).to_be_visible()
        page.get_by_role("dialog").get_by_role("button").last.click()  # where "Stop everything" is
        expect(page.get_by_role("dialog")).to_be_hidden()
        assert desk.node.get("stop")["stopped"] is True


def test_a_zone_is_switched_in_the_term_that_was_shown(built: None, tmp_path: Path) -> None:
    with with_a_remote(tmp_path) as desk, desk.browser() as page:
        page.goto(f"{desk.url}/zones")
        page.get_by_role("button", name="Switch to Local").click()
        desk.node.post("zones/switch", {"zone": "local", "reason": "another device"})
        expect(page.locator("main")).to_contain_text("Local is active")
        page.get_by_role("dialog").get_by_role("button", name="Switch to Local").click()
        expect(page.get_by_role("dialog")).to_contain_text("It was switched meanwhile.")


def test_our_own_edit_that_comes_back_later_is_a_change_like_any(desk: Desk) -> None:
    with desk.browser() as page:
        desk.mail("Offer for Friday?")
        [request] = desk.waiting()
        path = desk.node.layout.root / request["path"]
        page.goto(f"{desk.url}/approvals/{request['id']}")
        page.get_by_role("button", name="Edit").click()
        page.get_by_role("textbox", name="Text").fill("Mine.")
        page.get_by_role("button", name="Save and look at it").click()
        expect(page.get_by_role("button", name="Approve and send")).to_be_enabled()
        mine = path.read_bytes()
        path.write_bytes(mine.replace(b"Mine.", b"Another's."))
        page.get_by_role("button", name="Show the new version").click()
        expect(page.get_by_text("It changed, look again.")).to_be_hidden()
        path.write_bytes(mine)
        expect(page.get_by_text("It changed, look again.")).to_be_visible()
        expect(page.get_by_role("button", name="Approve and send")).to_be_disabled()


def test_a_copy_that_was_changed_meanwhile_is_not_taken(desk: Desk) -> None:
    root = desk.node.layout.root
    note = root / "Plans" / "email" / "trip.md"
    note.write_text("two days\n")
    copy = root / "Updates" / "conflicts" / "Plans" / "email" / "trip.md.cloud.0a1b2c3d.md"
    copy.parent.mkdir(parents=True, exist_ok=True)
    header = '---\nconflict: "Plans/email/trip.md"\nlost: "cloud"\nstands: "local"\nwhy: "both"\n---\n'
    copy.write_text(header + "one hour\n")
    with desk.browser() as page:
        page.goto(f"{desk.url}/sync")
        page.get_by_role("link", name=re.compile("trip.md")).click()
        page.get_by_role("button", name="Take the other one").click()
        page.route("**/take-theirs", lambda route: (copy.write_text(header + "never shown\n"), route.continue_()))
        page.get_by_role("dialog").get_by_role("button", name="Take it").click()
        expect(page.get_by_text("another than was shown")).to_be_visible()
    assert note.read_text() == "two days\n"


def test_an_api_that_hangs_is_found_out(desk: Desk) -> None:
    """It closes no connection and sends nothing: the stream alone would go on saying that all is live."""
    waited_for: set[Request] = set()  # what is asked already would find it out
    with desk.browser() as page:
        page.on("request", lambda asked: None if asked.url.endswith("/events") else waited_for.add(asked))
        page.on("requestfinished", lambda asked: waited_for.discard(asked))
        page.on("requestfailed", lambda asked: waited_for.discard(asked))
        page.goto(f"{desk.url}/claims")
        says(page, "Live")
        page.wait_for_event("requestfinished", lambda _: not waited_for)
        away = page.get_by_role("alert").filter(has_text="The node's API took too long.")
        api = desk.node.processes[0].pid
        os.kill(api, signal.SIGSTOP)
        try:
            expect(away).to_be_visible(timeout=120_000)
            says(page, "Offline")
        finally:
            os.kill(api, signal.SIGCONT)
        expect(away).to_be_hidden(timeout=60_000)
        says(page, "Live")
        desk.mail("Offer for Friday?")
        expect(page.get_by_role("link", name="1 wait for you")).to_be_visible()


def test_tabs_that_nobody_sees_leave_the_connections_to_the_others(desk: Desk) -> None:
    with desk.browser() as page:
        says(page, "Live")
        tabs = [page.context.new_page() for _ in range(TABS_AT_ONCE)]
        for tab in tabs:
            tab.goto(f"{desk.url}/claims")
            says(tab, "Live")
            tab.evaluate(HIDE)
            says(tab, "Every 10 s")
        page.goto(f"{desk.url}/claims")
        says(page, "Live")
        tabs[0].evaluate(SHOW)
        says(tabs[0], "Live")


def test_what_one_filter_found_is_not_shown_under_another(desk: Desk) -> None:
    desk.node.post("stop", {"reason": "a test"})
    with desk.browser() as page:
        page.goto(f"{desk.url}/alerts")
        expect(page.get_by_role("main")).to_contain_text("Everything is stopped")
        desk.node.stop()
        expect(page.get_by_text("The node's API does not answer.").first).to_be_visible()
        expect(page.get_by_role("main")).to_contain_text("Everything is stopped")  # old, and marked so
        page.get_by_label("Level").select_option("CRITICAL")
        expect(page.get_by_role("main")).not_to_contain_text("Everything is stopped")


def test_all_is_well_only_where_all_was_told(desk: Desk) -> None:
    problem = {"type": "urn:ai-employee:problem:unavailable", "status": 503, "detail": "The alerts can't be read."}
    with desk.browser() as page:
        page.route("**/api/alerts?*", lambda route: route.fulfill(status=503, body=json.dumps(problem)))
        page.goto(desk.url)
        expect(section(page, "What is wrong")).to_contain_text("The alerts can't be read.")
        expect(section(page, "What is wrong")).not_to_contain_text("All is well.")


def test_an_answer_that_breaks_off_is_none(desk: Desk) -> None:
    with desk.browser() as page:
        page.route("**/api/approvals?*", lambda route: route.fulfill(status=200, body='{"items": ['))
        page.goto(f"{desk.url}/approvals")
        expect(page.get_by_text("The dashboard's server can't be reached.").first).to_be_visible()
        expect(page.get_by_text("This page failed")).to_have_count(0)


def test_no_character_hides_in_the_file_that_is_shown(desk: Desk) -> None:
    with desk.browser() as page:
        desk.mail("Offer for Friday?")
        [request] = desk.waiting()
        path = desk.node.layout.root / request["path"]
        path.write_text(path.read_text() + "\nA\U000e0101B\ufe01C\ufe0fD \u2764\ufe0f\n")
        page.goto(f"{desk.url}/approvals/{request['id']}")
        page.get_by_text("The file and its hash").click()
        file = page.get_by_role("region", name="File as text")
        expect(file).to_contain_text("A⟦U+E0101⟧B⟦U+FE01⟧C⟦U+FE0F⟧D \u2764\ufe0f")
