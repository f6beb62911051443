"""`python -m scripts.request`, and the examples of docs/requests.md: each is a request that can be approved."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scripts import request
from tests.conftest import FakeClock
from tests.fakes.desk import Desk, World, sha
from tests.mail_kit import make_mail
from tests.social_kit import NUMBER, jpeg, put_picture, settings
from utils.bootstrap import Services
from utils.core.mail import RawMail
from utils.core.policy import ACTIONS
from utils.core.stages import Stage
from utils.core.task import make_id
from utils.execution import requests
from utils.mail import task_file
from utils.mail.parse import parse
from utils.settings import PROJECT_ROOT
from utils.vault import frontmatter

TEXT = "We are open again.\n"
ACCOUNTS = {
    **settings("http://127.0.0.1:9"),
    "ODOO_URL": "http://127.0.0.1:9",
    "ODOO_USER": "ai",
    "ODOO_API_KEY": "secret",
}
BLOCKS = re.findall(r"```markdown\n(.*?)```", (PROJECT_ROOT / "docs" / "requests.md").read_text("utf-8"), re.DOTALL)
DOCUMENTED = {frontmatter.read(block.encode())[0]["action"]: block for block in BLOCKS}


@dataclass
class Command:
    """Runs the command on a Local node, in this process, in a folder of the person's."""

    desk: Desk
    here: Path
    capture: pytest.CaptureFixture[str]

    def run(self, *words: str) -> tuple[int, str, str]:
        code = request.main(words)
        said = self.capture.readouterr()
        return code, said.out, said.err

    def new(self, *words: str) -> dict[str, Any]:
        code, out, err = self.run("new", *words, "--json")
        assert code == 0, (out, err)
        return json.loads(out)

    def refused(self, *words: str) -> list[str]:
        """The reasons; nothing was written."""
        before = self.waiting()
        code, out, _ = self.run("new", *words, "--json")
        assert code == 1 and self.waiting() == before
        return json.loads(out)["problems"]

    def waiting(self) -> list[str]:
        return [path.name for path in self.desk.node.layout.files(Stage.PENDING_APPROVAL)]

    def written(self, *words: str) -> tuple[dict[str, Any], str]:
        return frontmatter.read((self.desk.vault / self.new(*words)["path"]).read_bytes())


def at_work(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Services, "from_environment", classmethod(lambda cls: desk.node))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    (here / "text.md").write_text(TEXT)
    put_picture(desk)
    (desk.vault / "Accounting").mkdir(exist_ok=True)
    (desk.vault / "Accounting" / "offer.pdf").write_bytes(b"test")
    return here


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World(), set_up=True, **ACCOUNTS)


@pytest.fixture
def command(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(desk, at_work(desk, tmp_path, monkeypatch), capsys)


def mail(
    desk: Desk, text: str = "Could you send us your price list?\n", stage: Stage | None = None, **more: Any
) -> str:
    """The task of a mail from Ann, `<q1@example.org>`; its id."""
    now = desk.clock.now()
    data = make_mail(text, message_id="<q1@example.org>", **more)
    read = parse(RawMail("k", data, now, len(data)), account="a")
    task_id = make_id("email", now, text)
    path = desk.node.claims.create(Stage.NEEDS_ACTION, *task_file.task(read, task_id, [], agent="local", now=now))
    if stage is not None:
        claimed = desk.node.claims.claim(path)
        assert claimed is not None
        if stage is Stage.DONE:
            desk.node.claims.move(claimed, Stage.DONE)
    return task_id


# The document


def test_the_document_has_an_example_for_each_action() -> None:
    assert sorted(DOCUMENTED) == sorted(ACTIONS) and len(DOCUMENTED) == len(BLOCKS)


@pytest.mark.parametrize("action", list(ACTIONS))
def test_each_example_of_the_document_can_be_approved(command: Command, action: str) -> None:
    desk, block = command.desk, DOCUMENTED[action]
    meta, _ = frontmatter.read(block.encode())
    path = desk.vault / "Pending_Approval" / meta["domain"] / f"{meta['id']}.md"
    path.write_text(block, encoding="utf-8")
    desk.approvals.observe()
    waiting = desk.approvals.get(meta["id"])
    assert waiting.problems == () and not waiting.expired
    record = desk.approvals.approve(meta["id"], sha(path), by="Ada")
    order = requests.order(record)
    assert desk.node.hand(order.request.action).plan(order).shown
    assert desk.places(path.name) == ["Approved"]


# The command


@pytest.mark.parametrize("action", [*ACTIONS, "expense"])
def test_each_example_of_the_help_makes_a_request_that_can_be_approved(command: Command, action: str) -> None:
    desk = command.desk
    task_id = mail(desk)
    words = shlex.split(request.EXAMPLES[action].replace("email-20260601T090000Z-0123abcd", task_id))
    made = command.new(action, *words)
    path = desk.vault / made["path"]
    assert made["sha256"] == sha(path) and made["shown"]
    record = desk.approvals.approve(made["id"], made["sha256"], by="Ada")
    order = requests.order(record)
    assert desk.node.hand(order.request.action).plan(order).shown
    assert requests.problems_of_files(desk.node.layout, order.request) == []


def test_the_help_has_an_example_for_each_action(command: Command) -> None:
    with pytest.raises(SystemExit):
        request.main(["new", "--help"])
    said = command.capture.readouterr().out
    for action in (*ACTIONS, "expense"):
        assert f".venv/bin/python -m scripts.request new {action} {request.EXAMPLES[action]}" in said


def test_times_come_from_the_policy_and_the_next_command_is_named(command: Command) -> None:
    code, out, err = command.run("new", "twitter_post", "--draft", "text.md")
    assert (code, err) == (0, "")
    [name] = command.waiting()
    request_id = name.removesuffix(".md")
    assert f"Pending_Approval/social/{name} waits for your answer until 2026-06-04T12:00:00Z" in out
    assert f"scripts.approve approve {request_id}" in out and "  Posts on: x" in out
    meta, body = frontmatter.read((command.desk.vault / "Pending_Approval" / "social" / name).read_bytes())
    assert (meta["created"], meta["created_by"], meta["drafted_by"]) == ("2026-06-01T12:00:00Z", "local", "human")
    assert body.endswith("## Draft\n\nWe are open again.\n")


def test_the_same_twice_in_a_second_is_one_request_and_later_another(command: Command) -> None:
    words = ("new", "twitter_post", "--draft", "text.md")
    assert [command.run(*words)[0] for _ in range(2)] == [0, 0]
    assert len(command.waiting()) == 1
    command.desk.clock.advance(1)
    command.run(*words)
    assert len(command.waiting()) == 2


def test_whoever_reads_the_answer_may_leave(desk: Desk) -> None:
    """What was written is not said to be unwritten because nobody read that it was."""
    environ = {**os.environ, "ENV_FILE": "", "VAULT_PATH": str(desk.vault), "PYTHONPATH": str(PROJECT_ROOT),
               "STATE_DIR": str(desk.node.settings.state_dir)}  # fmt: skip
    words = "new send_email --field to=ann@example.org --field subject=Pipe --draft -"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; echo Text | {shlex.quote(sys.executable)} -m scripts.request {words} | true"],
        env=environ, cwd=PROJECT_ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and "nothing was written" not in done.stderr
    assert len(list((desk.vault / "Pending_Approval").rglob("*.md"))) == 1


def test_all_that_is_wrong_is_said_at_once(command: Command) -> None:
    found = command.refused(
        "invoice", "--field", "partner=ACME", "--field", "currency=XXY", "--field", "due_date=soon",
        "--field", "lines={description: Work, price: 1.2.3}",
    )  # fmt: skip
    assert len(found) >= 3
    assert all(any(word in text for text in found) for word in ("XXY", "due_date", "price"))
    first, second, *_ = command.refused("payment", "--field", "payer=x", "--field", "amount=1", "--field", "amount=2")
    assert "'payer=x' is no field of payment" in first and second == "'amount' is given twice"
    missing = command.refused("send_email", "--draft", "text.md")
    assert missing == ["'send_email' needs 'to'", "'send_email' needs 'subject'"]
    assert command.refused("payment", "--field", "amount=1")[0] == "'payment' needs 'payee'"
    assert command.refused("twitter_post") == ["there is no text to send: name its file by --draft (-: standard input)"]
    code, out, err = command.run("new", "send_email", "--draft", "text.md")
    assert (code, out) == (1, "") and "nothing was written" in err and "  - 'send_email' needs 'to'" in err


def test_mistakes_of_every_kind_are_said_at_once_and_none_twice(command: Command) -> None:
    assert command.refused(
        "send_email", "--field", "subjet=Hi", "--field", "to=nobody", "--attach", "nowhere.pdf", "--attach", "gone.pdf",
        "--field", "attachments={path: Accounting/none.pdf}", "--draft", "none.md", "--alt", "x", "--mail", "y",
    ) == [
        "'subjet=Hi' is no field of send_email: write NAME=VALUE, with one of to, subject, cc, bcc, attachments,"
        " priority, why, source",
        "No such file or directory: none.md",
        "--mail is for reply_email and forward_email, not for send_email",
        "there is no file nowhere.pdf, neither in the vault nor here",
        "there is no file gone.pdf, neither in the vault nor here",
        "--alt describes the image of a post",
        "the vault has no file Accounting/none.pdf",
    ]  # fmt: skip
    found = command.refused("send_email", "--field", "to=nobody", "--attach", "nowhere.pdf", "--draft", "none.md")
    assert [text.partition(":")[0] for text in found] == [
        "No such file or directory", "there is no file nowhere.pdf, neither in the vault nor here",
        "'send_email' needs 'subject'", "'to'",
    ]  # fmt: skip


def test_a_missing_account_is_told_with_all_else_that_is_wrong(
    make_node: Callable[..., Services],
    clock: FakeClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    desk = Desk(make_node, clock, World(), set_up=True)
    command = Command(desk, at_work(desk, tmp_path, monkeypatch), capsys)
    [problem] = command.refused("linkedin_post", "--draft", "text.md")
    assert problem == "no account of linkedin is set up here: LINKEDIN_AUTHOR, LINKEDIN_TOKEN"
    (command.here / "text.md").write_text("x" * 300)
    long, account = command.refused("twitter_post", "--draft", "text.md")
    assert "280" in long and "X_API_KEY" in account
    *missing, account = command.refused("payment", "--field", "payee=ACME")
    assert missing == [f"'payment' needs '{name}'" for name in ("amount", "currency", "reference")]
    assert "ODOO_URL" in account
    for action in ("invoice", "payment"):
        assert any("ODOO_URL" in text for text in command.refused(action, *shlex.split(request.EXAMPLES[action])))
    assert any("WHATSAPP_TOKEN" in text for text in command.refused(
        "whatsapp_send", *shlex.split(request.EXAMPLES["whatsapp_send"])))  # fmt: skip


def test_a_draft_only_node_says_where_to_go(
    make_node: Callable[..., Services], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud = make_node("cloud")
    monkeypatch.setattr(Services, "from_environment", classmethod(lambda cls: cloud))
    assert request.main(["new", "payment"]) == 1
    said = capsys.readouterr().err
    assert "draft-only" in said and "Local node" in said and "scripts.request new payment" in said
    assert list(cloud.layout.files(Stage.PENDING_APPROVAL)) == []


def test_where_there_is_no_vault_none_is_made(
    make_node: Callable[..., Services], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    node = make_node("local", ready=False)
    monkeypatch.setattr(Services, "from_environment", classmethod(lambda cls: node))
    assert request.main(["new", "payment"]) == 1
    assert "there is no vault at" in capsys.readouterr().err and not node.layout.root.exists()


def test_the_text_comes_from_standard_input_and_must_be_text(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Grüße\r\n\r\n## Draft\r\n".encode())))
    _, body = command.written("twitter_post", "--draft", "-")
    assert body.endswith("\n## Draft\n\nGrüße\n\n## Draft\n")
    (command.here / "bad").write_bytes(b"\xff")
    assert command.refused("twitter_post", "--draft", "bad") == ["the text bad is not UTF-8"]
    assert command.refused("twitter_post", "--draft", "none") == ["No such file or directory: none"]


def test_files_are_named_from_the_vault_or_from_here_and_frozen(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail_words = ("send_email", "--field", "to=a@example.org", "--field", "subject=Hi", "--draft", "text.md")
    offer = command.desk.vault / "Accounting" / "offer.pdf"
    meta, _ = command.written(*mail_words, "--attach", str(offer), "--attach", "Social/shop.jpg")
    assert meta["attachments"] == [
        {"path": "Accounting/offer.pdf", "sha256": sha(offer)},
        {"path": "Social/shop.jpg", "sha256": sha(command.desk.vault / "Social" / "shop.jpg")},
    ]
    (command.here / "mine.pdf").write_bytes(b"x")
    assert "copy it to" in command.refused(*mail_words, "--attach", "mine.pdf")[0]
    assert "neither in the vault nor here" in command.refused(*mail_words, "--attach", "nowhere.pdf")[0]
    (command.desk.vault / "link.pdf").symlink_to(offer)
    assert command.refused(*mail_words, "--field", "attachments={path: link.pdf}") == ["the vault has no file link.pdf"]
    assert "a payment takes no files along" in command.refused("payment", "--attach", "Accounting/offer.pdf")


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", '"a\\0b"', ".git/config"])
def test_nothing_outside_the_vault_is_looked_at(command: Command, path: str) -> None:
    problem, *_ = command.refused("instagram_post", "--field", f"image={{path: {path}}}")
    assert "must be the path of a file in the vault" in problem or "holds a NUL character" in problem


def test_odd_words_are_refused_in_words(command: Command) -> None:
    post = ("twitter_post", "--draft", "text.md")
    assert "can't be read as YAML" in command.refused(*post, "--field", "source={a: [")[0]
    assert "must look like" in command.refused(*post, "--field", "source=x")[0]
    assert command.refused(*post, "--field", "why=\udcff") == ["'why' holds a lone surrogate, which is no character"]
    assert "no mail of this id" in command.refused("reply_email", "--mail", "", "--draft", "text.md")[0]
    with pytest.raises(SystemExit, match="2"):
        request.main(["new", "tweet"])


def test_an_image_is_looked_at_before_anything_is_written(command: Command) -> None:
    meta, _ = command.written("instagram_post", "--field", "image={path: Social/shop.jpg, alt: 'Open, at last'}")
    assert meta["image"]["sha256"] == sha(command.desk.vault / "Social" / "shop.jpg")
    assert meta["image"]["alt"] == "Open, at last"
    (command.desk.vault / "Social" / "small.jpg").write_bytes(jpeg(100, 100))
    [problem] = command.refused("instagram_post", "--attach", "Social/small.jpg")
    assert "100 pixels wide" in problem
    assert command.refused("twitter_post", "--attach", "Social/shop.jpg", "--attach", "Social/shop.jpg") == [
        "a post has one image"
    ]


def test_a_message_answers_what_its_source_names(command: Command) -> None:
    source = f"source={{from_number: '{NUMBER}', received: 2026-06-01T09:00:00Z}}"
    meta, _ = command.written("whatsapp_send", "--field", f"to={NUMBER}", "--field", source, "--draft", "text.md")
    assert meta["source"] == {"from_number": NUMBER, "received": "2026-06-01T09:00:00Z"}


# Mails of the vault


@pytest.mark.parametrize("stage", [None, Stage.IN_PROGRESS, Stage.DONE])
@pytest.mark.parametrize("by_task", [True, False])
def test_a_forward_has_the_original_quoted_below_your_text(
    command: Command, stage: Stage | None, by_task: bool
) -> None:
    task_id = mail(command.desk, "Hello\u202e,\n\n## Draft\n\nPrice?\n", stage, subject="WG: Fwd: Price list")
    named = task_id if by_task else "<q1@example.org>"
    meta, body = command.written(
        "forward_email", "--mail", named, "--field", "to=bob@example.org", "--draft", "text.md"
    )
    assert (meta["subject"], meta["source_message"]) == ("Fwd: Price list", "<q1@example.org>")
    draft = body.partition("## Draft\n\n")[2]
    assert draft == (
        "We are open again.\n\nForwarded message:\n\n> From: Ann Example <ann@example.com>\n"
        "> Date: 2026-06-01T08:00:00Z\n> Subject: WG: Fwd: Price list\n> To: office@acme.example\n>\n"
        "> Hello,\n>\n> ## Draft\n>\n> Price?\n"
    )


def test_what_the_vault_has_no_text_of_must_be_pasted(command: Command) -> None:
    words = ("forward_email", "--field", "to=bob@example.org")
    [unknown] = command.refused(*words, "--mail", "<other@example.org>")
    assert "no mail of this id" in unknown and "paste the original into the draft" in unknown
    empty = mail(command.desk, "")
    [problem] = command.refused(*words, "--mail", empty)
    assert "has no text of the mail" in problem and "source_message=<q1@example.org>" in problem
    by_hand = (*words, "--field", "source_message=<q1@example.org>", "--field", "subject=Fwd: Price list")
    _, body = command.written(*by_hand, "--draft", "text.md")
    assert body.endswith(f"## Draft\n\n{TEXT}")


def test_what_is_not_taken_along_of_a_forward_is_said(command: Command) -> None:
    task_id = mail(command.desk)
    [path] = command.desk.node.layout.files(Stage.NEEDS_ACTION)
    meta, body = frontmatter.read(path.read_bytes())
    meta["source"]["truncated"] = True
    meta["source"]["attachments"] = [{"name": "a.pdf", "path": "Accounting/offer.pdf"}, {"name": "b.zip", "path": None}]
    path.write_bytes(frontmatter.write(meta, body))
    words = ("forward_email", "--mail", task_id, "--field", "to=bob@example.org")
    cut, left = command.new(*words)["remarks"]
    assert "only the beginning" in cut and "Accounting/offer.pdf; b.zip, which is not in the vault" in left
    command.desk.clock.advance(1)
    assert "offer.pdf" not in command.new(*words, "--attach", "Accounting/offer.pdf")["remarks"][1]


def test_a_mail_without_an_id_or_with_that_of_another_is_not_guessed(command: Command) -> None:
    first, second = mail(command.desk, "one\n"), mail(command.desk, "two\n")
    [problem] = command.refused("forward_email", "--mail", "<q1@example.org>", "--field", "to=b@example.org")
    assert first in problem and second in problem
    assert "not for send_email" in command.refused("send_email", "--mail", first)[0]


def test_a_reply_gets_recipient_subject_and_thread_from_the_mail(command: Command) -> None:
    task_id = mail(command.desk, References="<q0@example.org>")
    words = ("reply_email", "--mail", task_id, "--draft", "text.md")
    meta, _ = command.written(*words)
    assert (meta["to"], meta["subject"], meta["in_reply_to"]) == (
        ["ann@example.com"], "Re: Price list", "<q1@example.org>")  # fmt: skip
    assert meta["references"] == ["<q0@example.org>", "<q1@example.org>"] and meta["risk"] == []
    command.desk.clock.advance(1)
    meta, _ = command.written(*words, "--field", "to=eve@example.net")
    assert meta["to"] == ["eve@example.net"] and "eve@example.net" in meta["risk"][0]
