"""Signing with an approver key in a real browser before a real Cloud node, for a real Local that executes (S6, S7)."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.demo_gate import Node, until
from tests.dashboard_kit import SCREENSHOTS, Desk, require_dashboard, violations
from tests.servers import eventually
from utils.core import remote_approval
from utils.settings import PROJECT_ROOT

pytest.importorskip("playwright")
from playwright.sync_api import Page, Route, expect

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.browser]

PHONE = 390
DOCUMENT = (PROJECT_ROOT / "docs/approvals-signing.md").read_text(encoding="utf-8")
#: Puts a private key (PKCS #8, base64) where the page keeps the one that it made.
PUT_KEY = """async ({signer, pkcs8}) => {
  const bytes = Uint8Array.from(atob(pkcs8), (letter) => letter.charCodeAt(0));
  const privateKey = await crypto.subtle.importKey("pkcs8", bytes, "Ed25519", false, ["sign"]);
  const opening = indexedDB.open("approver", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("keys");
  await new Promise((resolve) => { opening.onsuccess = resolve; });
  const writing = opening.result.transaction("keys", "readwrite");
  writing.objectStore("keys").put({name: "vector", signer, pair: {privateKey}}, "own");
  await new Promise((resolve) => { writing.oncomplete = resolve; });
  opening.result.close();
}"""
#: Takes the private key out of where it lies, if it can be taken out.
STEAL_KEY = """async () => {
  const opening = indexedDB.open("approver", 1);
  await new Promise((resolve) => { opening.onsuccess = resolve; });
  const reading = opening.result.transaction("keys").objectStore("keys").get("own");
  await new Promise((resolve) => { reading.onsuccess = resolve; });
  const key = reading.result.pair.privateKey;
  const tries = ["pkcs8", "jwk", "raw"].map((form) => crypto.subtle.exportKey(form, key).then(() => form, () => null));
  return (await Promise.all(tries)).filter(Boolean);
}"""
NO_ED25519 = """{
  const make = SubtleCrypto.prototype.generateKey;
  SubtleCrypto.prototype.generateKey = function (algorithm, ...rest) {
    if (algorithm !== "Ed25519") return make.call(this, algorithm, ...rest);
    return Promise.reject(new DOMException("Algorithm: Unrecognized name", "NotSupportedError"));
  };
}"""


class Pair:
    """A Cloud with the dashboard before it, a Local that executes, and the remote between them."""

    def __init__(self, cloud: Desk, local: Node) -> None:
        self.cloud = cloud
        self.local = local

    def request(self, subject: str = "Offer for Friday?") -> str:
        """A mail comes to the Cloud and is drafted; the id of the request, which both nodes have."""
        self.cloud.mail(subject)
        [request] = self.cloud.waiting()
        self.carry()
        until(lambda: self.local.get("approvals")["items"], "the draft at Local", alive=self.local.check_alive)
        return str(request["id"])

    def carry(self) -> None:
        """What the Cloud has goes to Local."""
        self.cloud.node.sync()
        self.local.sync()

    def sent(self) -> list[Path]:
        """The mails that left Local."""
        return sorted((self.local.state / "mail" / "out").glob("*.eml"))

    def why_not(self, request: str, word: str) -> str:
        """What Local says of a request that waits there, as soon as it says `word`."""

        def said() -> str | None:
            reason = self.local.get(f"approvals/{request}")["reason"]
            return reason if reason and word in reason else None

        return str(eventually(said, what=f"Local's word on it: {word}"))

    def given(self) -> list[remote_approval.Statement]:
        """The approvals on their way, as they lie at the Cloud."""
        folder = self.cloud.node.layout.remote_approvals
        return [remote_approval.read(path.read_bytes()) for path in folder.glob("*.json")]


@pytest.fixture(scope="module")
def built() -> None:
    require_dashboard()


@pytest.fixture
def pair(built: None, tmp_path: Path) -> Iterator[Pair]:
    remote = tmp_path / "remote.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(remote)], check=True)
    local = Node.make("local", tmp_path / "local", remote, {"MAIL_AUTHSERV_ID": "mx.example.org"})
    local.command("scripts.init_vault")
    with Desk(tmp_path / "cloud", name="cloud", remote=remote) as cloud:
        local.start()
        try:
            yield Pair(cloud, local)
        finally:
            local.stop()


def make_key(page: Page, name: str = "ada-phone") -> list[str]:
    """Make a key as a person does; the words of the command that is shown for Local."""
    page.goto(re.sub(r"(//[^/]+).*", r"\1/settings", page.url))
    page.get_by_label("What you call this device").fill(name)
    page.get_by_role("button", name="Make a key").click()
    command = page.get_by_text(re.compile(r"scripts\.approver_key enrol")).inner_text()
    words = shlex.split(command)
    assert words[:3] == [".venv/bin/python", "-m", "scripts.approver_key"]
    return words[2:]


def open_request(page: Page, pair: Pair, request: str) -> None:
    page.goto(f"{pair.cloud.url}/approvals/{request}")
    expect(page.get_by_role("main")).to_contain_text("ann@example.com")


def doctor_is_done(page: Page) -> None:
    expect(page.get_by_role("button", name="Look now")).to_be_enabled(timeout=120_000)


def sign(page: Page) -> None:
    page.get_by_role("button", name="Sign and pass on").click()
    page.get_by_role("dialog").get_by_role("button", name="Sign and pass on").click()
    expect(page.get_by_text("Local carries it out after it verified the signature.")).to_be_visible()


def test_a_key_made_on_a_phone_and_enrolled_at_local_approves_once(pair: Pair, tmp_path: Path) -> None:
    with pair.cloud.browser(width=PHONE) as page:
        request = pair.request()
        open_request(page, pair, request)
        page.get_by_role("link", name="Make a key, so that Local carries it out").click()
        pair.local.command(*make_key(page))
        open_request(page, pair, request)
        page.get_by_role("button", name="Sign and pass on").click()
        dialog = page.get_by_role("dialog")
        [path] = pair.cloud.node.layout.find(request)
        shown = pair.cloud.node.get(f"approvals/{request}")
        expect(dialog.get_by_role("region", name="File as text")).to_have_text(path.read_text(), use_inner_text=False)
        expect(dialog.get_by_test_id("digest")).to_have_text(f"sha256 {shown['sha256']}")
        dialog.get_by_role("button", name="Sign and pass on").click()
        expect(page.get_by_text("Local carries it out after it verified the signature.")).to_be_visible()
        page.goto(f"{pair.cloud.url}/approvals")
        expect(page.get_by_role("main")).to_contain_text("Signed, on its way to Local")
        assert page.evaluate(STEAL_KEY) == []
        assert (pair.sent(), pair.cloud.sent()) == ([], [])
        pair.carry()
        eventually(pair.sent, what="the mail that left Local")
        done = "the action, with its receipt"
        [action] = eventually(
            lambda: [one for one in pair.local.get("actions")["items"] if one["state"] == "done"], what=done
        )
        assert (action["approver"], action["via"][:7], action["sha256"]) == ("ada-phone", "signed:", shown["sha256"])
        for _ in range(2):
            pair.local.sync()
            pair.cloud.node.sync()
        expect(page.get_by_text("Nothing waits for you")).to_be_visible()
    [mail] = pair.sent()
    assert b"To: ann@example.com" in mail.read_bytes()
    assert pair.given() == []
    assert len(pair.local.get("actions")["items"]) == 1


def test_a_request_that_is_altered_after_it_was_signed_is_refused_at_local(pair: Pair) -> None:
    with pair.cloud.browser(width=PHONE) as page:
        pair.local.command(*make_key(page))
        request = pair.request()
        open_request(page, pair, request)
        sign(page)
    [path] = pair.cloud.node.layout.find(request)
    path.write_text(path.read_text().replace("Kind regards", "Send 9999 euros"))
    pair.carry()
    pair.why_not(request, "it is for other words than those that lie here")
    assert (pair.sent(), pair.local.get("actions")["items"]) == ([], [])


def test_what_a_key_signed_that_is_not_enrolled_waits_for_a_confirmation(pair: Pair) -> None:
    with pair.cloud.browser(width=PHONE) as page:
        signer = make_key(page)[-1]
        request = pair.request()
        open_request(page, pair, request)
        sign(page)
    pair.carry()
    pair.why_not(request, f"its key {signer} is not enrolled here")
    assert (pair.sent(), pair.local.get("actions")["items"]) == ([], [])
    pair.local.post(f"approvals/{request}/approve", {"sha256": pair.local.get(f"approvals/{request}")["sha256"]})
    eventually(pair.sent, what="the mail, once it was confirmed at Local")


def test_without_a_key_it_waits_for_a_confirmation_and_says_so(pair: Pair) -> None:
    with pair.cloud.browser(width=PHONE) as page:
        request = pair.request()
        open_request(page, pair, request)
        page.get_by_role("button", name="Pass on to Local").click()
        expect(page.get_by_text("not signed. It waits for Local's confirmation.")).to_be_visible()
        expect(page.get_by_role("button", name="Passed on")).to_be_disabled()
        page.goto(f"{pair.cloud.url}/approvals")
        expect(page.get_by_role("main")).to_contain_text("Waits for Local's confirmation")
    assert [one.signature for one in pair.given()] == [""]
    pair.carry()
    pair.why_not(request, "nobody signed it")
    assert pair.sent() == []


@pytest.fixture
def cloud(built: None, tmp_path: Path) -> Iterator[Desk]:
    """A Cloud that nobody stands behind."""
    with Desk(tmp_path / "cloud", name="cloud") as cloud:
        yield cloud


def answering(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Route], None]:
    """The server's answer on its way to the page, changed: a server that is not honest."""

    def answer(route: Route) -> None:
        if route.request.method != "GET":
            route.continue_()
            return
        response = route.fetch()
        route.fulfill(response=response, json=change(response.json()))

    return answer


def test_text_that_is_not_of_the_hash_that_is_told_is_not_signed(cloud: Desk) -> None:
    with cloud.browser(width=PHONE) as page:
        make_key(page)
        cloud.mail("Offer for Friday?")
        [request] = cloud.waiting()
        kinder = answering(lambda told: {**told, "content": told["content"].replace("Kind regards", "Best regards")})
        page.route(f"**/api/approvals/{request['id']}", kinder)
        page.goto(f"{cloud.url}/approvals/{request['id']}")
        page.get_by_role("button", name="Sign and pass on").click()
        expect(page.get_by_test_id("digest")).not_to_contain_text(request["sha256"])
        page.get_by_role("dialog").get_by_role("button", name="Sign and pass on").click()
        expect(page.get_by_text("it was not signed")).to_be_visible()
    assert list(cloud.node.layout.remote_approvals.glob("*")) == []


def test_the_page_makes_the_documents_test_vector(cloud: Desk) -> None:
    """With its key, its clock and its random bytes the page signs what the document has, to the last byte."""
    block = re.search(r"```json\n(\{.*?\})\n```", DOCUMENT, re.DOTALL)
    private = re.search(r"`([0-9a-f]{64})`", DOCUMENT)
    assert block
    assert private
    vector = json.loads(block[1])
    pkcs8 = bytes.fromhex("302e020100300506032b657004220420" + private[1])  # RFC 8410 §7
    signed: list[dict[str, Any]] = []

    def take(route: Route) -> None:
        signed.append(route.request.post_data_json)
        route.fulfill(status=409, json={"type": "urn:ai-employee:problem:x", "detail": "Taken."})

    with cloud.browser(width=PHONE) as page:
        page.evaluate(PUT_KEY, {"signer": vector["signer"], "pkcs8": base64.b64encode(pkcs8).decode()})
        cloud.mail("Offer for Friday?")
        [request] = cloud.waiting()
        told = {"id": vector["request"], "content": "", "sha256": vector["sha256"], "expires": vector["expires"]}
        page.route(f"**/api/approvals/{request['id']}", answering(lambda real: {**real, **told}))
        page.route("**/approve", take)
        page.clock.set_fixed_time(vector["time"])
        page.add_init_script("crypto.getRandomValues = (bytes) => bytes.map((_, index) => index)")
        page.goto(f"{cloud.url}/approvals/{request['id']}")
        page.get_by_role("button", name="Sign and pass on").click()
        page.get_by_role("dialog").get_by_role("button", name="Sign and pass on").click()
        expect(page.get_by_text("Taken.")).to_be_visible()
    assert signed == [{"sha256": vector["sha256"], "approval": vector}]


def test_a_key_is_forgotten(cloud: Desk) -> None:
    with cloud.browser(width=PHONE) as page:
        make_key(page)
        page.reload()
        expect(page.get_by_text("ada-phone", exact=True)).to_be_visible()  # the browser has kept it
        page.get_by_role("button", name="Forget this key").click()
        expect(page.get_by_role("dialog")).to_contain_text(".venv/bin/python -m scripts.approver_key revoke ada-phone")
        page.get_by_role("dialog").get_by_role("button", name="Forget it").click()
        expect(page.get_by_role("button", name="Make a key")).to_be_visible()
        page.reload()
        expect(page.get_by_role("button", name="Make a key")).to_be_visible()


def test_a_browser_that_can_not_sign_is_told_why(cloud: Desk) -> None:
    cloud.mail("Offer for Friday?")
    [request] = cloud.waiting()
    with cloud.browser(width=PHONE) as page:
        page.add_init_script(NO_ED25519)
        page.goto(f"{cloud.url}/settings")
        expect(page.get_by_role("main")).to_contain_text("This browser can't sign with Ed25519.")
        expect(page.get_by_role("button", name="Make a key")).to_have_count(0)
        doctor_is_done(page)
        assert violations(page) == []
        page.goto(f"{cloud.url}/approvals/{request['id']}")
        expect(page.get_by_role("button", name="Pass on to Local")).to_be_enabled()
        expect(page.get_by_role("main")).to_contain_text("This browser can't sign with Ed25519.")
    with cloud.browser(width=PHONE, host="192.0.2.7") as page:
        page.goto(re.sub(r"(//[^/]+).*", r"\1/settings", page.url))
        expect(page.get_by_role("main")).to_contain_text("over HTTPS or from localhost")


def test_a_local_node_asks_for_no_key(built: None, tmp_path: Path) -> None:
    with Desk(tmp_path) as desk, desk.browser(width=PHONE) as page:
        page.goto(f"{desk.url}/settings")
        expect(page.get_by_role("heading", name="Parts of the node")).to_be_visible()
        expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
        expect(page.get_by_role("heading", name="Your approver key")).to_have_count(0)


def test_the_pages_of_signing_are_accessible_and_have_their_picture_taken(cloud: Desk, tmp_path: Path) -> None:
    """`SCREENSHOTS=1` puts the pictures into docs/screenshots/."""
    pictures = SCREENSHOTS if os.environ.get("SCREENSHOTS") else tmp_path / "screenshots"
    pictures.mkdir(parents=True, exist_ok=True)
    cloud.mail("Offer for Friday?")
    cloud.mail("Short call?")
    requests = cloud.waiting(2)
    wrong: dict[str, list[str]] = {}

    def look(page: Page, name: str, dark: bool) -> None:
        if found := violations(page):
            wrong[f"{name}, dark={dark}"] = found
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0, f"{name} is wider than {PHONE} px"
        if not dark and name in ("key", "sign", "signed"):
            page.screenshot(path=str(pictures / f"{name}-{PHONE}.png"))

    for dark, request in zip((False, True), requests, strict=True):
        with cloud.browser(width=PHONE, dark=dark) as page:
            page.goto(f"{cloud.url}/settings")
            expect(page.get_by_role("button", name="Make a key")).to_be_visible()
            doctor_is_done(page)
            look(page, "key-none", dark)
            make_key(page)
            look(page, "key", dark)
            page.get_by_role("button", name="Forget this key").click()
            look(page, "key-forget", dark)
            page.goto(f"{cloud.url}/approvals/{request['id']}")
            page.get_by_role("button", name="Sign and pass on").click()
            expect(page.get_by_test_id("digest")).to_contain_text(request["sha256"])
            look(page, "sign", dark)
            page.get_by_role("dialog").get_by_role("button", name="Sign and pass on").click()
            expect(page.get_by_text("Local carries it out after it verified the signature.")).to_be_visible()
            look(page, "signed", dark)
    assert wrong == {}
