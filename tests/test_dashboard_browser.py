"""The web dashboard in a real browser before a real node: what a person does in it happens, and nothing else."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dashboard_kit import PASSWORD, SCREENSHOTS, Desk, require_dashboard, violations
from tests.servers import eventually, smtp_server
from tests.vaults import git

pytest.importorskip("playwright")
from playwright.sync_api import Locator, Page, Route, expect

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.browser]

PHONE, DESKTOP = 390, 1280
PAGES = ("/", "/approvals", "/actions", "/tasks", "/zones", "/sync", "/health", "/alerts", "/claims", "/settings")
SCRIPT_BUDGET = 200_000
#: A picture shows no folder of the machine that it was taken on.
HIDE_FOLDER = """folder => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(folder, '/home/me');
}"""


@pytest.fixture(scope="module")
def built() -> None:
    require_dashboard()


@pytest.fixture
def desk(built: None, tmp_path: Path) -> Iterator[Desk]:
    with Desk(tmp_path) as desk:
        yield desk


def open_request(page: Page, subject: str) -> None:
    page.get_by_role("link", name=re.compile(re.escape(subject))).first.click()
    expect(page.get_by_role("heading", level=1, name=subject)).to_be_visible()


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_a_mail_is_read_approved_and_sent(desk: Desk, width: int) -> None:
    with desk.browser(width=width) as page:
        page.get_by_role("link", name=re.compile("^Approvals")).first.click()
        expect(page.get_by_text("Nothing waits for you")).to_be_visible()
        desk.mail("Offer for Friday?")
        open_request(page, "Re: Offer for Friday?")  # it came by itself: nobody loaded the page anew
        expect(page.get_by_role("main")).to_contain_text("ann@example.com")
        expect(page.get_by_role("main")).to_contain_text("Could you send me your offer by Friday?")
        page.get_by_role("button", name="Approve and send").click()
        just_approved = page.get_by_label("Just approved")
        expect(just_approved).to_contain_text("Reply: Re: Offer for Friday?")
        expect(just_approved).to_contain_text("Receipt kept")
        page.get_by_role("link", name="Actions").first.click()
        expect(page.get_by_role("main").get_by_text("Done", exact=True).last).to_be_visible()
    [mail] = desk.sent()
    assert b"To: ann@example.com" in mail.read_bytes()


def test_an_approval_is_taken_back_while_its_time_runs(built: None, tmp_path: Path) -> None:
    with Desk(tmp_path, UNDO_SECONDS="600") as desk, desk.browser(width=PHONE) as page:
        desk.mail("Offer for Friday?")
        page.goto(f"{desk.url}/approvals")
        open_request(page, "Re: Offer for Friday?")
        page.get_by_role("button", name="Approve and send").click()
        page.get_by_role("button", name="Take back").click()
        expect(page.get_by_label("Just approved")).to_contain_text("Taken back")
        open_request(page, "Re: Offer for Friday?")
        assert desk.sent() == []
        assert desk.waiting()


def test_a_draft_is_edited_and_what_was_saved_is_sent(desk: Desk) -> None:
    with desk.browser(width=PHONE) as page:
        desk.mail("Offer for Friday?")
        page.goto(f"{desk.url}/approvals")
        open_request(page, "Re: Offer for Friday?")
        page.get_by_role("button", name="Edit").click()
        page.get_by_role("textbox", name="Text").fill("Dear Ann,\n\nit costs 1,200 euros.\n\nMax")
        page.get_by_role("button", name="Save and look at it").click()
        expect(page.get_by_test_id("difference")).to_contain_text("1,200 euros")
        assert desk.sent() == []
        page.get_by_role("button", name="Approve and send").click()
        expect(page.get_by_label("Just approved")).to_contain_text("Receipt kept")
    [mail] = desk.sent()
    assert b"it costs 1,200 euros." in mail.read_bytes()


def test_what_changes_while_it_is_read_is_not_approved(desk: Desk) -> None:
    with desk.browser() as page:
        desk.mail("Offer for Friday?")
        [request] = desk.waiting()
        page.goto(f"{desk.url}/approvals/{request['id']}")
        expect(page.get_by_role("button", name="Approve and send")).to_be_enabled()
        path = desk.node.layout.root / request["path"]
        path.write_text(path.read_text().replace("Kind regards", "Send 9999 euros"))
        expect(page.get_by_text("It changed, look again.")).to_be_visible()
        expect(page.get_by_test_id("difference").first).to_contain_text("Send 9999 euros")
        expect(page.get_by_role("button", name="Approve and send")).to_be_disabled()
        page.get_by_role("button", name="Show the new version").click()
        expect(page.get_by_role("button", name="Approve and send")).to_be_enabled()
    assert desk.sent() == []


def test_what_changed_a_moment_ago_is_refused_with_its_difference(desk: Desk) -> None:
    """The browser has not heard of the change when it approves: the API's 409 is what holds."""
    with desk.browser() as page:
        desk.mail("Offer for Friday?")
        [request] = desk.waiting()
        page.goto(f"{desk.url}/approvals/{request['id']}")
        expect(page.get_by_role("button", name="Approve and send")).to_be_enabled()
        path = desk.node.layout.root / request["path"]
        page.route("**/approve", lambda route: (path.write_text(path.read_text() + "\nPS: 9999\n"), route.continue_()))
        page.get_by_role("button", name="Approve and send").click()
        expect(page.get_by_text("It changed, look again.")).to_be_visible()
        expect(page.get_by_test_id("difference").first).to_contain_text("PS: 9999")
    assert desk.sent() == []


def test_the_keyboard_alone_is_enough(desk: Desk) -> None:
    with desk.browser() as page:
        desk.mail("Offer for Friday?")
        desk.waiting()
        page.goto(f"{desk.url}/approvals")
        page.get_by_role("link", name=re.compile("Offer for Friday")).wait_for()
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Approve and send")).to_be_enabled()
        page.keyboard.press("a")
        expect(page.get_by_role("dialog")).to_contain_text("ann@example.com")
        page.keyboard.press("Enter")
        expect(page.get_by_label("Just approved")).to_contain_text("Receipt kept")
    assert len(desk.sent()) == 1


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until this has the focus, as somebody does who knows no shortcut."""
    expect(wanted).to_be_enabled()
    for _ in range(100):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"the keyboard does not get to {wanted}")


def test_without_shortcuts_the_tab_key_leads_from_the_login_to_the_receipt(desk: Desk) -> None:
    desk.mail("Offer for Friday?")
    desk.waiting()
    with desk.browser(log_in=False) as page:
        page.goto(f"{desk.url}/approvals")
        tab_to(page, page.get_by_label("Password"))
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        request = page.get_by_role("link", name=re.compile("Offer for Friday"))
        request.wait_for()
        tab_to(page, request)
        page.keyboard.press("Enter")
        tab_to(page, page.get_by_role("button", name="Approve and send"))
        page.keyboard.press("Enter")
        expect(page.get_by_label("Just approved")).to_contain_text("Receipt kept")
    assert len(desk.sent()) == 1


def test_a_danger_asks_once_more_and_waits_for_a_tick(desk: Desk) -> None:
    with desk.browser(width=PHONE) as page:
        desk.mail("Please confirm", "Can you confirm the account?", sender="Help <help@example.net>", auth="fail")
        page.goto(f"{desk.url}/approvals")
        open_request(page, "Re: Please confirm")
        page.get_by_role("button", name="Approve and send").click()
        sure = page.get_by_role("dialog").get_by_role("button", name="Approve and send")
        expect(sure).to_be_disabled()
        assert violations(page) == []
        page.get_by_role("checkbox").check()
        expect(sure).to_be_enabled()
        page.get_by_role("button", name="Cancel").click()
        assert desk.sent() == []


def test_routine_requests_are_approved_together(desk: Desk) -> None:
    with desk.browser(width=PHONE) as page:
        desk.mail("First")
        desk.mail("Second", sender="Lea <lea@sommer.example>")
        desk.mail("Not this one", sender="Help <help@example.net>", auth="fail")
        desk.waiting(3)
        page.goto(f"{desk.url}/approvals")
        page.get_by_role("button", name="Approve several").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("lea@sommer.example")
        expect(dialog).not_to_contain_text("help@example.net")
        expect(dialog).to_contain_text("nothing was ever sent to lea@sommer.example")  # as on its own page
        assert violations(page) == []
        dialog.get_by_role("button", name="Approve 2 requests").click()
        eventually(lambda: len(desk.sent()) == 2, what="both mails")
        desk.waiting(1)


def test_snooze_reject_and_a_new_draft(desk: Desk) -> None:
    with desk.browser(width=PHONE) as page:
        desk.mail("Offer for Friday?")
        page.goto(f"{desk.url}/approvals")
        open_request(page, "Re: Offer for Friday?")
        page.get_by_role("button", name="Snooze").click()
        page.get_by_role("dialog").get_by_role("button", name="Snooze").click()
        expect(page.get_by_text("Nothing waits for you")).to_be_visible()
        page.get_by_label("Show").select_option("snoozed")
        open_request(page, "Re: Offer for Friday?")
        page.get_by_role("button", name="New draft").click()
        page.get_by_label("What should be different?").fill("shorter, in German")
        page.get_by_role("button", name="Draft anew").click()
        [anew] = desk.waiting()
        page.goto(f"{desk.url}/approvals/{anew['id']}")
        page.get_by_role("button", name="Reject").click()
        page.get_by_label(re.compile("^Why")).fill("not now")
        page.get_by_role("dialog").get_by_role("button", name="Reject").click()
        eventually(
            lambda: (desk.node.layout.root / "Rejected" / f"{anew['id']}.md").exists(), what="the file in Rejected"
        )
    assert desk.sent() == []


def test_what_a_mail_says_stays_text(desk: Desk) -> None:
    image = '<img src="https://evil.test/x.png" onerror="alert(1)">'
    hostile = f"{image}<script>alert(1)</script> https://evil.test \u202egnp.exe"
    with desk.browser() as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        desk.mail("<b>Hello</b>", hostile + "\nCould you answer?")
        page.goto(f"{desk.url}/approvals")
        page.get_by_role("link", name=re.compile("Hello")).first.click()
        expect(page.get_by_role("main")).to_contain_text(image)
        expect(page.get_by_role("main")).to_contain_text("⟦U+202E⟧")
        assert "\u202e" not in page.get_by_role("main").inner_text()
        assert page.locator("main img, main script, main b, main a[href*='evil']").count() == 0
        assert [url for url in asked if not url.startswith(desk.url)] == []


def test_the_kill_switch_is_on_every_page_and_works(desk: Desk) -> None:
    with desk.browser(width=PHONE) as page:
        page.goto(f"{desk.url}/claims")
        page.get_by_role("button", name="Stop everything").click()
        page.get_by_role("dialog").get_by_role("button", name="Stop everything").click()
        expect(page.get_by_text("Everything stands still:")).to_be_visible()
        assert desk.node.get("stop")["stopped"] is True
        page.get_by_role("button", name=re.compile("^Stopped")).click()
        page.get_by_role("button", name="Release").click()
        expect(page.get_by_text("Everything stands still:")).to_be_hidden()
        assert desk.node.get("stop")["stopped"] is False


def test_a_version_that_yielded_is_read_beside_what_stands_and_taken(desk: Desk) -> None:
    root = desk.node.layout.root
    note = root / "Plans" / "email" / "trip.md"
    note.write_text("We answer within two days.\n")
    copy = root / "Updates" / "conflicts" / "Plans" / "email" / "trip.md.cloud.0a1b2c3d.md"
    copy.parent.mkdir(parents=True, exist_ok=True)
    header = 'conflict: "Plans/email/trip.md"\nlost: "cloud"\nstands: "local"\nwhy: "both sides changed it"'
    copy.write_text(f"---\n{header}\n---\nWe answer within one hour.\n")
    desk.node.sync()  # what stands is in git, so that nothing needs to be kept aside for it
    with desk.browser(width=PHONE) as page:
        page.goto(f"{desk.url}/sync")
        page.get_by_role("link", name=re.compile("trip.md")).click()
        expect(page.get_by_role("region", name=re.compile("^Stands now"))).to_contain_text("two days")
        expect(page.get_by_role("region", name=re.compile("^Yielded"))).to_contain_text("one hour")
        expect(page.get_by_test_id("difference")).to_contain_text("one hour")
        assert violations(page) == []
        page.get_by_role("button", name="Take the other one").click()
        page.get_by_role("dialog").get_by_role("button", name="Take it").click()
        expect(page.get_by_text("Nothing yielded")).to_be_visible()
    assert "one hour" in note.read_text()
    assert not copy.exists()


def test_a_dead_api_is_said_and_old_data_is_marked_as_old(desk: Desk) -> None:
    with desk.browser(width=PHONE) as page:
        desk.mail("Offer for Friday?")
        page.goto(f"{desk.url}/approvals")
        open_request(page, "Re: Offer for Friday?")
        desk.node.stop()
        expect(page.get_by_text("The node's API does not answer.")).to_be_visible()
        expect(page.get_by_test_id("old").first).to_contain_text("It may have changed since.")
        expect(page.get_by_role("button", name="Approve and send")).to_be_disabled()
        expect(page.get_by_role("main")).to_contain_text("ann@example.com")  # what it has, it keeps
        assert violations(page) == []
        desk.node.start()
        expect(page.get_by_text("The node's API does not answer.")).to_be_hidden()
        expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
        expect(page.get_by_role("button", name="Approve and send")).to_be_enabled()


def test_an_unknown_outcome_is_settled_by_who_looked(built: None, tmp_path: Path) -> None:
    """The mail server takes both mails and its answer is lost: only a person can find out what became of them."""
    with (
        smtp_server() as server,
        Desk(tmp_path, UNDO_SECONDS="0", **server.environment()) as desk,
        desk.browser(width=PHONE) as page,
    ):
        server.drop = "ACCEPTED"
        desk.mail("First")
        desk.mail("Second", sender="Lea <lea@sommer.example>")
        requests = {request["subject"]: request for request in desk.waiting(2)}
        for request in requests.values():
            desk.node.post(f"approvals/{request['id']}/approve", {"sha256": request["sha256"]})
        page.goto(f"{desk.url}/actions")
        asked = page.get_by_role("main").get_by_text("nobody here knows whether it left")
        expect(asked).to_have_count(2)
        server.drop = None
        first = page.get_by_role("listitem").filter(has_text=requests["Re: First"]["id"])
        first.get_by_role("button", name="It happened").click()
        expect(page.get_by_role("dialog")).to_contain_text("It is not sent again.")
        assert violations(page) == []
        page.get_by_label("How you know").fill("Ann thanked me for it")
        page.get_by_role("dialog").get_by_role("button", name="Yes, it happened").click()
        expect(first).to_contain_text("Ann thanked me for it")
        expect(asked).to_have_count(1)
        page.get_by_role("button", name="Nothing left, ask again").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        expect(asked).to_have_count(1)  # nothing is done without the second word
        page.get_by_role("button", name="Nothing left, ask again").click()
        page.get_by_role("dialog").get_by_role("button", name="Nothing left, ask again").click()
        expect(asked).to_have_count(0)
        [again] = desk.waiting(1)
        assert again["subject"] == "Re: Second"
        states = {item["request"]: item["state"] for item in desk.node.get("actions")["items"]}
        assert states[requests["Re: First"]["id"]] == "done"
        assert len(server.ledger) == 2  # nothing was sent anew by settling


def with_a_remote(folder: Path) -> Desk:
    """A node whose zones have a lease to hand over: Cloud is active until somebody takes it."""
    remote = folder / "remote.git"
    git(folder, "init", "-q", "--bare", "--initial-branch=main", str(remote))
    return Desk(folder, VAULT_REMOTE_URL=str(remote))


def section(page: Page, title: str) -> Locator:
    return page.locator("section").filter(has=page.get_by_role("heading", name=title))


def test_the_zone_is_switched_by_a_confirmation_and_the_history_says_why(built: None, tmp_path: Path) -> None:
    with with_a_remote(tmp_path) as desk, desk.browser(width=PHONE) as page:
        page.goto(f"{desk.url}/zones")
        main = page.get_by_role("main")
        expect(main).to_contain_text("Cloud is active")
        term = desk.node.get("zones/status")["term"]
        page.get_by_role("button", name="Switch to Local").click()
        expect(page.get_by_role("dialog")).to_contain_text("Make Local active?")
        assert violations(page) == []
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        assert desk.node.get("zones/status")["term"] == term
        page.get_by_role("button", name="Switch to Local").click()
        page.get_by_label("Why").fill("the server is being moved")
        page.get_by_role("dialog").get_by_role("button", name="Switch to Local").click()
        expect(main).to_contain_text("Local is active")
        expect(section(page, "History")).to_contain_text("the server is being moved")
        now = desk.node.get("zones/status")
        assert (now["active_zone"], now["pinned"], now["term"] > term) == ("local", True, True)


def test_a_switch_of_what_was_switched_meanwhile_is_refused(built: None, tmp_path: Path) -> None:
    with with_a_remote(tmp_path) as desk, desk.browser() as page:
        page.goto(f"{desk.url}/zones")
        page.get_by_role("button", name="Switch to Local").click()
        dialog = page.get_by_role("dialog")

        def another_was_first(route: Route) -> None:
            desk.node.post("zones/switch", {"zone": "local", "reason": "another device"})
            route.continue_()

        page.route("**/api/zones/switch", another_was_first)
        dialog.get_by_role("button", name="Switch to Local").click()
        expect(dialog).to_contain_text("It was switched meanwhile.")
        assert "another device" in desk.node.get("zones/status")["reason"]


def test_alerts_are_silenced_for_a_while_and_mailed_again(desk: Desk) -> None:
    desk.node.post("stop", {"reason": "a test"})
    with desk.browser(width=PHONE) as page:
        page.goto(f"{desk.url}/alerts")
        alert = page.get_by_role("button", name="Silence Everything is stopped")
        alert.click()
        expect(page.get_by_role("dialog")).to_contain_text("Everything is stopped")
        assert violations(page) == []
        page.get_by_role("dialog").get_by_role("button", name="Silence", exact=True).click()
        silenced = section(page, "Silenced")
        expect(silenced).to_contain_text("Everything is stopped")
        [silence] = desk.node.get("alerts/silences")["items"]
        assert silence["match"] == {"level": None, "source": "api", "title": "Everything is stopped"}
        silenced.get_by_role("button", name="Mail them again").click()
        expect(silenced).to_be_hidden()
        assert desk.node.get("alerts/silences")["items"] == []


def test_what_was_typed_stays_when_the_session_ends(desk: Desk) -> None:
    with desk.browser(width=PHONE) as page:
        desk.mail("Offer for Friday?")
        page.goto(f"{desk.url}/approvals")
        open_request(page, "Re: Offer for Friday?")
        page.get_by_role("button", name="Edit").click()
        page.get_by_role("textbox", name="Text").fill("Dear Ann,\n\nit costs 1,200 euros.\n\nMax")
        page.context.clear_cookies()
        page.get_by_role("button", name="Save and look at it").click()
        again = page.get_by_role("dialog", name="Log in again")
        again.get_by_label("Password").fill("a guess")
        again.get_by_role("button", name="Log in").click()
        expect(again.get_by_text("That is not the password.")).to_be_visible()
        assert violations(page) == []
        again.get_by_label("Password").fill(PASSWORD)
        again.get_by_role("button", name="Log in").click()
        expect(again).to_be_hidden()
        expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
        expect(page.get_by_role("textbox", name="Text")).to_have_value("Dear Ann,\n\nit costs 1,200 euros.\n\nMax")
        page.get_by_role("button", name="Save and look at it").click()
        expect(page.get_by_test_id("difference")).to_contain_text("1,200 euros")


def test_the_script_of_the_approvals_page_stays_within_its_budget(desk: Desk) -> None:
    """All script that the page loads, each file gzipped as a server would."""
    with desk.browser(width=PHONE) as page:
        sizes: dict[str, int] = {}

        def measure(response: object) -> None:
            if response.request.resource_type == "script":  # type: ignore[attr-defined]
                sizes[response.url] = len(gzip.compress(response.body()))  # type: ignore[attr-defined]

        desk.mail("Offer for Friday?")
        desk.waiting()
        page.on("response", measure)
        page.goto(f"{desk.url}/approvals")
        page.get_by_role("link", name=re.compile("Offer for Friday")).wait_for()
        total = sum(sizes.values())
        print(f"{total / 1000:.0f} kB of script in {len(sizes)} files")
        assert 0 < total <= SCRIPT_BUDGET


def test_every_page_is_accessible_and_has_its_picture_taken(desk: Desk, tmp_path: Path) -> None:
    """`SCREENSHOTS=1` puts the pictures into docs/screenshots/."""
    desk.mail(
        "Offer for Friday?", "Hello,\n\ncould you send me your offer by Friday?\nAnd would 10:30 suit you?\n\nAnn"
    )
    desk.waiting(1)
    with desk.browser(width=PHONE) as page:
        page.goto(f"{desk.url}/approvals")
        open_request(page, "Re: Offer for Friday?")
        page.get_by_role("button", name="Approve and send").click()
        expect(page.get_by_label("Just approved")).to_contain_text("Receipt kept")
    desk.mail(
        "Workshop on 14 June",
        "Hi,\n\nwould you have time for a workshop on 14 June?\n\nLea",
        sender="Lea Sommer <lea@sommer.example>",
    )
    desk.mail("Please confirm your account", "Can you confirm it?", sender="Support <help@exarnple.com>", auth="fail")
    desk.mail(
        "Short call?", "Would 10:30 suit you for a short call?\n\nTariq", sender="Tariq Bauer <tariq@bauer.example>"
    )
    requests = {request["subject"]: request["id"] for request in desk.waiting(3)}
    task = desk.node.get("tasks?stage=done")["items"][0]["id"]
    one = f"/approvals/{requests['Re: Workshop on 14 June']}"
    pictures = SCREENSHOTS if os.environ.get("SCREENSHOTS") else tmp_path / "screenshots"
    pictures.mkdir(parents=True, exist_ok=True)
    wrong: dict[str, list[str]] = {}
    for width, dark in ((PHONE, False), (PHONE, True), (DESKTOP, False), (DESKTOP, True)):
        with desk.browser(width=width, dark=dark) as page:
            for path in (*PAGES, one, f"/tasks/{task}"):
                page.goto(desk.url + path)
                expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
                expect(page.get_by_role("main").get_by_text("Loading")).to_have_count(0, timeout=120_000)
                expect(page.locator("main [aria-busy]")).to_have_count(0, timeout=120_000)  # the doctor has looked
                name = {one: "approval", f"/tasks/{task}": "task"}.get(path, path.strip("/") or "today")
                if found := violations(page):
                    wrong[f"{name} at {width}, dark={dark}"] = found
                wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                assert wide == 0, f"{path} is wider than {width} px"
                page.evaluate(HIDE_FOLDER, str(tmp_path))
                if not dark or path in ("/", one):
                    page.screenshot(path=str(pictures / f"{name}-{width}{'-dark' if dark else ''}.png"))
    with desk.browser(width=PHONE, log_in=False) as page:
        page.goto(desk.url)
        if found := violations(page):
            wrong["login"] = found
        page.screenshot(path=str(pictures / f"login-{PHONE}.png"))
    assert wrong == {}
