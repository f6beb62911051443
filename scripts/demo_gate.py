"""The demo gate: one e-mail, from its arrival while Local is offline to its answer in Done/, on this machine.

Makes a bare git remote and two nodes (Cloud, draft-only; Local) in a temporary folder, each with its own vault, state,
mailbox, port and empty `ENV_FILE`, runs them as real processes, and exits 0 only if all seven steps happened.
No account, key or server is needed.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any, TextIO, TypeVar

import requests

from utils.adapters.processes import SUPERVISOR_FD
from utils.core.stages import Stage
from utils.settings import PROJECT_ROOT
from utils.vault import frontmatter, jsonl
from utils.vault.layout import Layout

OUR_ADDRESS = "me@example.org"
SAMPLE = b"""\
Return-Path: <ann@example.com>\r
From: Ann Example <ann@example.com>\r
To: me@example.org\r
Subject: Offer for "10:30" on Friday?\r
Date: Mon, 01 Jun 2026 10:15:00 +0200\r
Message-ID: <offer-1@example.com>\r
MIME-Version: 1.0\r
Content-Type: text/plain; charset=utf-8\r
Content-Transfer-Encoding: 8bit\r
\r
Hello,\r
\r
could you send me your offer by Friday? And would 10:30 suit you for a short call?\r
\r
Best regards\r
Ann\r
"""
T = TypeVar("T")


class GateFailed(Exception):
    """A step was not seen to happen; the text says what was awaited and what was seen instead."""


@dataclass
class Node:
    """One node: its folders and settings, and its two processes while it runs."""

    name: str
    home: Path
    environ: Mapping[str, str]
    lifeline: tuple[int, int]  # the node ends when this pipe's writing end, which only we hold, is closed
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @classmethod
    def make(cls, name: str, home: Path, remote: Path, extra: Mapping[str, str]) -> Node:
        """A node with a free port; `extra` settings win."""
        environ = {
            "ENV_FILE": "",
            "AGENT_NAME": name,
            "AGENT_MODE": "full" if name == "local" else "draft_only",
            "VAULT_PATH": str(home / "vault"),
            "STATE_DIR": str(home / "state"),
            "VAULT_REMOTE_URL": str(remote),
            "API_PORT": str(free_port()),
            "MAIL_FROM": OUR_ADDRESS,
            "MAIL_FROM_NAME": "Max Muster",
            "SYNC_SETTLE_SECONDS": "0",
            "UNDO_SECONDS": "2",
            **extra,
        }
        return cls(name, home, environ, os.pipe())

    @property
    def layout(self) -> Layout:
        """Its vault."""
        return Layout(Path(self.environ["VAULT_PATH"]))

    @property
    def state(self) -> Path:
        """Its state folder."""
        return Path(self.environ["STATE_DIR"])

    def command(self, *arguments: str) -> None:
        """Run `python -m …` to its end with this node's settings; raises `GateFailed` with what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", *arguments], env=self._env(), cwd=PROJECT_ROOT, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise GateFailed(f"{self.name}: {' '.join(arguments)} failed: {(done.stderr or done.stdout).strip()}")

    def start(self) -> None:
        """Start the API and the orchestrator, and wait until the API answers."""
        (self.home / "logs").mkdir(parents=True, exist_ok=True)
        for process in ("dashboard", "orchestrator"):
            with (self.home / "logs" / f"{process}.log").open("ab") as log:
                self.processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", f"Watchers.{process}"],
                        env=self._env() | {SUPERVISOR_FD: str(self.lifeline[0])},
                        cwd=PROJECT_ROOT,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        pass_fds=(self.lifeline[0],),
                        start_new_session=True,  # Ctrl-C is ours; we end them
                    )
                )
        until(lambda: self._answers() or None, f"{self.name}: the API answers", alive=self.check_alive)

    def stop(self) -> None:
        """End both processes and wait for them."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def check_alive(self) -> None:
        """Raise `GateFailed` if a process has ended by itself."""
        for process in self.processes:
            if process.poll() is not None:
                raise GateFailed(
                    f"{self.name}: a process ended with exit code {process.returncode}\n{self.last_words()}"
                )

    def last_words(self) -> str:
        """The ends of this node's logs."""
        logs = sorted((self.home / "logs").glob("*.log"))
        return "\n".join(
            f"--- {log}\n" + "\n".join(log.read_text("utf-8", "replace").splitlines()[-15:]) for log in logs
        )

    def get(self, path: str) -> Any:
        """GET `/api/…` as JSON."""
        return self._answer(requests.get(self._url(path), timeout=30))

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """POST `/api/…` as JSON."""
        return self._answer(requests.post(self._url(path), json=body, timeout=120))

    def sync(self) -> dict[str, Any]:
        """Trigger a sync by the API; waits while another one runs."""

        def attempt() -> dict[str, Any] | None:
            answer = requests.post(self._url("vault/sync/trigger"), timeout=120)
            if answer.status_code == 409:
                return None
            result: dict[str, Any] = self._answer(answer)
            return result

        result = until(attempt, f"{self.name}: a sync that is not already running")
        if result["result"] not in ("ok", "noop", "conflicts"):
            raise GateFailed(f"{self.name}: the sync answered {result['result']}: {result.get('error')}")
        return result

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.environ['API_PORT']}/api/{path}"

    def _answers(self) -> bool:
        try:
            return requests.get(self._url("health"), timeout=2).ok
        except requests.RequestException:
            return False

    @staticmethod
    def _answer(response: requests.Response) -> Any:
        if not response.ok:
            raise GateFailed(
                f"{response.request.method} {response.url} answered {response.status_code}: {response.text}"
            )
        return response.json()

    def _env(self) -> dict[str, str]:
        ours = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE", "SYSTEMROOT")
        return {name: os.environ[name] for name in ours if name in os.environ} | dict(self.environ)


@dataclass
class Post:
    """How mail comes in and where sent mail is seen; the defaults are Cloud's Maildir and Local's outbox."""

    deliver: Callable[[Node, bytes], None] = lambda cloud, mail: deliver_to_maildir(cloud, mail)
    sent: Callable[[Node], list[bytes]] = lambda local: [
        path.read_bytes() for path in sorted((local.state / "mail" / "out").glob("*.eml"))
    ]
    cloud: Mapping[str, str] = field(default_factory=dict)
    local: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Report:
    """What was seen."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    request: dict[str, Any] = field(default_factory=dict)
    mail: EmailMessage | None = None
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        mail = None
        if self.mail is not None:
            names = ("From", "To", "Subject", "In-Reply-To", "References", "Message-ID")
            mail = {name: str(self.mail[name]) for name in names if self.mail[name]} | {"body": self.mail.get_content()}
        return {"ok": self.problem is None, "steps": self.steps, "mail": mail, "problem": self.problem}


class Gate:
    """The scenario. `run` drives it and leaves both nodes stopped."""

    def __init__(self, home: Path, mail: bytes = SAMPLE, post: Post | None = None, out: TextIO | None = None) -> None:
        self.mail = mail
        self.post = post or Post()
        self.out = out
        self.report = Report()
        self.remote = home / "remote.git"
        self.cloud = Node.make("cloud", home / "cloud", self.remote, self.post.cloud)
        self.local = Node.make("local", home / "local", self.remote, self.post.local)

    def run(self) -> Report:
        """All steps in order; the report's `problem` says what did not happen, if anything."""
        try:
            self._set_up()
            self._step(1, "Email arrives while Local is offline", self._mail_arrives)
            self._step(2, "Cloud (draft-only) triages it and drafts a reply", self._cloud_drafts)
            self._step(3, "Vault sync pushes the draft to git", self._cloud_pushes)
            self._step(4, "Local returns and pulls", self._local_returns)
            self._step(5, "The human approves exactly these bytes", self._human_approves)
            self._step(6, "Local sends it through the email MCP server", self._local_sends)
            self._step(7, "Logged, filed in Done/, and both vaults agree", self._filed)
        except (GateFailed, requests.RequestException) as error:
            self.report.problem = str(error)
        finally:
            self._say("Stopping both nodes")
            self.cloud.stop()
            self.local.stop()
        return self.report

    def _set_up(self) -> None:
        self._say("Setting up: a bare git remote, a Cloud node and a Local node")
        subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(self.remote)], check=True)
        self.local.command("scripts.init_vault")
        self.cloud.command("scripts.init_vault")
        self.cloud.start()
        self.local.start()
        self._say("Both nodes run; now Local goes offline")
        self.local.stop()

    def _mail_arrives(self) -> str:
        if self.local.processes:
            raise GateFailed("Local is still running")
        self.post.deliver(self.cloud, self.mail)
        return f"{len(self.mail)} bytes"

    def _cloud_drafts(self) -> str:
        items = until(self._draft_or_reason, "a draft in Pending_Approval/ on Cloud", alive=self.cloud.check_alive)
        if len(items) != 1:
            raise GateFailed(f"one draft was expected, {len(items)} are there")
        self.report.request = items[0]
        plans = sorted(path.name for path in (self.cloud.layout.root / "Plans" / "email").glob("*.plan.md"))
        if not plans:
            raise GateFailed("the draft has no plan in Plans/email/")
        return f"{items[0]['id']}.md, {plans[0]}"

    def _draft_or_reason(self) -> list[dict[str, Any]]:
        """The drafts on Cloud; raises `GateFailed` with Cloud's own words where it decided not to draft."""
        items: list[dict[str, Any]] = self.cloud.get("approvals")["items"]
        for path in (self.cloud.layout.root / "Plans" / "email").glob("*.plan.md"):
            meta, plan = frontmatter.read(path.read_bytes())
            if meta.get("outcome") != "draft":
                raise GateFailed(f"Cloud drafted no reply ({meta.get('outcome')}). Its plan says:\n{plan.strip()}")
        aside = list(self.cloud.layout.files(Stage.QUARANTINE))
        if aside:
            reason = self.cloud.layout.reason(aside[0])
            raise GateFailed(f"Cloud set the mail aside: {reason.read_text('utf-8') if reason.exists() else aside[0]}")
        return items

    def _cloud_pushes(self) -> str:
        name = f"{self.report.request['id']}.md"

        def pushed() -> str | None:
            result = self.cloud.sync()
            files = git(self.remote, "ls-tree", "-r", "--name-only", "main")
            return f"{result['result']}, pushed {result['pushed']}" if name in files else None

        return until(pushed, "the draft is on the remote's main", alive=self.cloud.check_alive)

    def _local_returns(self) -> str:
        self.local.start()
        self.local.sync()
        wanted = self.report.request["id"]
        found = until(
            lambda: [item for item in self.local.get("approvals")["items"] if item["id"] == wanted],
            "the draft at Local's /api/approvals",
            alive=self.local.check_alive,
        )
        return f"risk: {', '.join(found[0].get('risk') or ['none'])}"

    def _human_approves(self) -> str:
        shown = self.local.get(f"approvals/{self.report.request['id']}")
        self.report.request = shown
        self._say("\n".join(f"      | {line}" for line in shown["draft"].splitlines()))
        self.local.post(f"approvals/{shown['id']}/approve", {"sha256": shown["sha256"]})
        return f"sha256 {shown['sha256'][:16]}…"

    def _local_sends(self) -> str:
        mails = until(lambda: self.post.sent(self.local), "the mail has left", alive=self.local.check_alive)
        until(
            lambda: [item for item in self.local.get("actions")["items"] if item["state"] == "done"],
            "the action is done, with a receipt",
            alive=self.local.check_alive,
        )
        self.report.mail = check_reply(self.mail, self.report.request, mails)
        return f"to {self.report.mail['To']}: {self.report.mail['Subject']}"

    def _filed(self) -> str:
        request, task = self.report.request["id"], frontmatter.parse(self.report.request["content"])[0]["source_task"]
        done = {f"{request}.md", f"{task}.md"}
        until(
            lambda: done <= {path.name for path in (self.local.layout.root / "Done").iterdir()} or None,
            "request and task lie in Local's Done/",
            alive=self.local.check_alive,
        )
        until(self._agree, "both vaults hold the same files after two syncs")
        for node in (self.local, self.cloud):
            node.stop()
            left = [path for path in node.layout.find(request) + node.layout.find(task) if path.parent.name != "Done"]
            if left:
                raise GateFailed(f"{node.name}: also in {', '.join(node.layout.relative(path) for path in left)}")
            entries = [e for e in jsonl.newest_of(node.layout.root / "Logs" / "actions") if e.get("state") == "done"]
            if len(entries) != 1:
                raise GateFailed(f"{node.name}: {len(entries)} lines of a finished action in Logs/actions, not one")
            if not any(entry["event"] == "done" for entry in jsonl.newest(node.layout.claims_log)):
                raise GateFailed(f"{node.name}: Logs/claims.jsonl does not tell of Done")
        mails = self.post.sent(self.local)
        if len(mails) != 1:
            raise GateFailed(f"{len(mails)} mails were sent, not one")
        return "one mail, one receipt, same files on both nodes"

    def _agree(self) -> bool | None:
        for node in (self.local, self.cloud, self.local, self.cloud):
            node.sync()
        return vault_files(self.local.layout.root) == vault_files(self.cloud.layout.root) or None

    def _step(self, number: int, title: str, do: Callable[[], str]) -> None:
        started = time.monotonic()
        self._say(f"{number}/7   {title} …")
        detail = do()
        seconds = round(time.monotonic() - started, 2)
        self.report.steps.append({"step": number, "title": title, "detail": detail, "seconds": seconds})
        self._say(f"      ok ({seconds:.1f} s): {detail}")

    def _say(self, text: str) -> None:
        if self.out is not None:
            print(text, file=self.out, flush=True)


def check_reply(question: bytes, request: Mapping[str, Any], mails: list[bytes]) -> EmailMessage:
    """The one mail that was sent, checked against the mail it answers and the draft that was approved."""
    asked = email.message_from_bytes(question, policy=email.policy.default)
    if len(mails) != 1:
        raise GateFailed(f"{len(mails)} mails were sent, not one")
    sent = email.message_from_bytes(mails[0], policy=email.policy.default)
    assert isinstance(sent, EmailMessage)
    subject = str(asked["Subject"] or "")
    checks = {
        "recipient": (_addresses(sent["To"]), _addresses(asked["Reply-To"] or asked["From"])),
        "subject": (str(sent["Subject"]), subject if subject[:3].lower() == "re:" else f"Re: {subject}"),
        "In-Reply-To": (sent["In-Reply-To"], asked["Message-ID"]),
        "References": (str(sent["References"] or "").split()[-1:], str(asked["Message-ID"] or "").split()),
        "body": (sent.get_content().replace("\r\n", "\n").rstrip("\n"), request["draft"].rstrip("\n")),
    }
    for what, (seen, wanted) in checks.items():
        if seen != wanted:
            raise GateFailed(f"the mail's {what} is {seen!r}, not {wanted!r}")
    return sent


def _addresses(header: Any) -> list[str]:
    return [address.addr_spec for address in header.addresses] if header is not None else []


def vault_files(root: Path) -> dict[str, bytes]:
    """Every synced file of a vault by its path."""
    own = {".git", "health"}  # git's own files; Logs/health stays on its node
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not own & set(path.relative_to(root).parts)
    }


def deliver_to_maildir(node: Node, mail: bytes) -> None:
    """Put a mail into a node's Maildir as any delivery agent does: written in tmp/, renamed into new/."""
    maildir = node.state / "mail" / "in"
    for folder in ("tmp", "new", "cur"):
        (maildir / folder).mkdir(parents=True, exist_ok=True)
    name = f"{time.time_ns()}.demo.local"
    (maildir / "tmp" / name).write_bytes(mail)
    (maildir / "tmp" / name).rename(maildir / "new" / name)


def until(
    look: Callable[[], T | None], what: str, *, seconds: float = 60, alive: Callable[[], None] = lambda: None
) -> T:
    """Look again and again until something is there; raises `GateFailed` when it takes too long or a process died."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        alive()
        if time.monotonic() > deadline:
            raise GateFailed(f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(0.1)


def git(repository: Path, *arguments: str) -> str:
    """The output of a git command in a repository."""
    done = subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, text=True)
    return done.stdout


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> int:
    """Entry point; exit code 0 only if every step happened."""
    parser = argparse.ArgumentParser(prog="python -m scripts.demo_gate", description=__doc__)
    parser.add_argument("--mail", type=Path, metavar="FILE.eml", help="use this mail instead of the sample")
    parser.add_argument("--keep", action="store_true", help="leave the temporary folder for a look")
    parser.add_argument("--json", action="store_true", help="print a JSON report instead of the narration")
    options = parser.parse_args()
    try:
        mail = options.mail.read_bytes() if options.mail else SAMPLE
    except OSError as error:
        parser.error(f"--mail {options.mail}: {error.strerror}")
    if not email.message_from_bytes(mail).keys():
        parser.error(f"--mail {options.mail}: this is no mail, it has no headers")
    home = Path(tempfile.mkdtemp(prefix="ai-employee-demo-"))
    gate = Gate(home, mail, out=None if options.json else sys.stdout)
    try:
        report = gate.run()
    except KeyboardInterrupt:
        report = Report(problem="interrupted")
        print("Interrupted; both nodes are stopped.", file=sys.stderr)
    if options.json:
        print(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    elif report.problem is None:
        assert report.mail is not None
        headers = "".join(f"{name}: {value}\n" for name, value in report.mail.items())
        print(f"\nThe mail that was sent:\n\n{headers}\n{report.mail.get_content()}")
        print("All seven steps happened: one mail, sent once, exactly as approved.")
    if report.problem is not None and report.problem != "interrupted":
        print(f"FAILED: {report.problem}", file=sys.stderr)
        if options.keep:
            print("\n".join(node.last_words() for node in (gate.cloud, gate.local)), file=sys.stderr)
        else:
            print("With --keep the nodes' logs are shown and kept.", file=sys.stderr)
    if options.keep:
        print(f"Kept: {home}", file=sys.stderr)
    else:
        shutil.rmtree(home)
    if report.problem == "interrupted":
        return 130
    return 0 if report.problem is None else 1


if __name__ == "__main__":
    sys.exit(main())
