"""A Local node and its web dashboard as real processes, and a browser before them.

with Desk(tmp_path) as desk, desk.browser(width=390) as page:
    desk.mail("Offer?")
    page.goto(desk.url + "/approvals")
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pytest
import requests

from scripts import web
from scripts.demo_gate import Node
from tests.servers import eventually, free_port, require_program
from utils.adapters.processes import SUPERVISOR_FD
from utils.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

PASSWORD = "correct horse battery staple"
HASH = web.hashed(PASSWORD)
SECRET = "s" * 43
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SCREENSHOTS = PROJECT_ROOT / "docs" / "screenshots"


def require_dashboard() -> None:
    """Have the dashboard built from these sources; skips where there is no Node (fails under CI)."""
    if web.node() is None:
        require_program("node 20.9 or newer, and npm")
    assert web.build() == 0


class Desk:
    """A node, by default Local without a remote, and the web dashboard before its API."""

    def __init__(self, home: Path, *, name: str = "local", remote: Path | None = None, **settings: str) -> None:
        self.home = home
        self.web_port = free_port()
        extra = {
            "VAULT_REMOTE_URL": str(remote or ""),
            "MAIL_AUTHSERV_ID": "mx.example.org",
            "MAIL_POLL_SECONDS": "1",
            "DASHBOARD_PORT": str(self.web_port),
            "DASHBOARD_PASSWORD_HASH": HASH,
            "DASHBOARD_SECRET": SECRET,
            **settings,
        }
        self.node = Node.make(name, home, home / "no-remote", extra)
        self._web: subprocess.Popen[bytes] | None = None
        self._mails = 0

    @property
    def url(self) -> str:
        """Where the dashboard is."""
        return f"http://127.0.0.1:{self.web_port}"

    def __enter__(self) -> Desk:
        self.node.command("scripts.init_vault")
        self.node.start()
        self.start_web()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(self.node.last_words())
        self.stop_web()
        self.node.stop()

    def start_web(self) -> None:
        """Start the web server as the orchestrator does, and wait until it answers."""
        environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | dict(self.node.environ)
        with (self.home / "logs" / "web.log").open("ab") as log:
            self._web = subprocess.Popen(
                [sys.executable, "-m", "scripts.web", "run"],
                cwd=PROJECT_ROOT,
                env=environ | {SUPERVISOR_FD: str(self.node.lifeline[0])},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(self.node.lifeline[0],),
                start_new_session=True,
            )
        eventually(self._web_answers, what="the dashboard's answer")

    def stop_web(self) -> int | None:
        """Stop the web server; its exit code."""
        if self._web is None:
            return None
        self._web.terminate()
        code = self._web.wait(15)
        self._web = None
        return code

    def mail(self, subject: str, text: str = "Could you send me your offer by Friday?", **more: str) -> None:
        """Let a mail arrive. `sender`, `auth` (what our mail server says: pass, fail)."""
        self._mails += 1
        sender = more.get("sender", "Ann Example <ann@example.com>")
        domain = sender.rstrip(">").split("@")[1]
        lines = [
            f"Authentication-Results: mx.example.org; dmarc={more.get('auth', 'pass')} header.from={domain}",
            f"From: {sender}",
            "To: me@example.org",
            f"Subject: {subject}",
            f"Message-ID: <{self._mails}@{domain}>",
            f"Date: Mon, 01 Jun 2026 10:{self._mails:02}:00 +0200",
            "Content-Type: text/plain; charset=utf-8",
            "",
            text,
            "",
        ]
        box = self.node.state / "mail" / "in"
        box.mkdir(parents=True, exist_ok=True)
        (box / f"{self._mails}.eml").write_bytes("\r\n".join(lines).encode())

    def waiting(self, count: int = 1) -> list[dict[str, Any]]:
        """The requests that wait, as soon as there are `count`."""

        def found() -> list[dict[str, Any]] | None:
            items = self.node.get("approvals?show=waiting")["items"]
            return items if len(items) == count else None

        return list(eventually(found, deadline=60, what=f"{count} requests that wait"))

    def is_stopped(self) -> bool:
        """Whether the kill switch is pulled."""
        return (self.node.state / "STOP").exists()

    def sent(self) -> list[Path]:
        """The mails that left."""
        return sorted((self.node.state / "mail" / "out").glob("*.eml"))

    def session(self, **headers: str) -> requests.Session:
        """A client that is logged in."""
        session = requests.Session()
        session.headers["Origin"] = self.url
        session.headers.update(headers)
        answer = session.post(f"{self.url}/session", data={"password": PASSWORD}, allow_redirects=False, timeout=30)
        assert answer.status_code == 303
        assert answer.headers["Location"] == "/"
        return session

    @contextlib.contextmanager
    def browser(
        self, *, width: int = 1280, dark: bool = False, log_in: bool = True, host: str = "127.0.0.1"
    ) -> Iterator[Page]:
        """A page of a browser of its own. A script error or a breach of the policy fails the test at the end.

        `host`: the name by which the browser knows this machine; by no other than its own is the context secure.
        """
        pytest.importorskip("playwright")
        from playwright.sync_api import expect, sync_playwright

        chromium = require_program("chromium")
        wrong: list[str] = []
        with sync_playwright() as playwright:
            flags = [*CHROMIUM_FLAGS, f"--host-resolver-rules=MAP {host} 127.0.0.1"]
            program = playwright.chromium.launch(executable_path=chromium, args=flags)
            context = program.new_context(
                viewport={"width": width, "height": 844 if width < 700 else 900},
                color_scheme="dark" if dark else "light",
                has_touch=width < 700,
                reduced_motion="reduce",
                timezone_id="Europe/Berlin",
            )
            expect.set_options(timeout=30_000)
            page = context.new_page()
            page.set_default_timeout(30_000)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None)
            if log_in:
                page.goto(self.url.replace("127.0.0.1", host))
                page.get_by_label("Password").fill(PASSWORD)
                page.get_by_role("button", name="Log in").click()
                page.get_by_role("heading", name="Today").wait_for()
            try:
                yield page
            except BaseException:
                page.screenshot(path=str(self.home / "failed.png"))
                print(f"the page looked like {self.home / 'failed.png'}")
                raise
            program.close()
        assert wrong == []

    def _web_answers(self) -> bool:
        assert self._web is not None
        if self._web.poll() is not None:
            raise AssertionError("the dashboard ended: " + (self.home / "logs" / "web.log").read_text()[-2000:])
        try:
            return requests.get(f"{self.url}/login", timeout=2).ok
        except requests.RequestException:
            return False


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong on the page: WCAG 2.2 A and AA, and its best practices."""
    page.evaluate((web.FOLDER / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = page.evaluate("tags => axe.run(document, {runOnly: tags})", tags)
    return [f"{one['id']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]]


def allowed_paths() -> set[tuple[str, str]]:
    """`(method, path)` of all that the dashboard's server passes on, as its source has it."""
    source = (web.FOLDER / "src" / "server" / "routes.ts").read_text(encoding="utf-8")
    table = source.split("const ALLOWED = {", 1)[1].split("} satisfies", 1)[0]
    rows = re.findall(r'"(/api/[^"]*)": \[([^\]]*)\]', table)
    return {(method.strip(' "'), path) for path, methods in rows for method in methods.split(",")}
