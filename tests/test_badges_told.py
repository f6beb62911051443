"""Histories of badges: what this node learned, what it tells before an approval, and what a move is then worth."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.api_client import Api, add_request, add_task
from tests.conftest import FakeClock
from tests.fakes.desk import ANN, Desk, World, sha
from tests.fakes.money import IBAN, OTHER_IBAN, PAYMENT, SEPA
from utils.bootstrap import Services
from utils.core.badges import Kind, Letter, Severity
from utils.core.stages import Stage
from utils.core.task import format_time, make_id, request_id, with_draft
from utils.execution import schema
from utils.execution.store import ExecutionStore
from utils.vault import frontmatter

EVE = "ann@exarnple.org"


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World(), **SEPA)


def told(desk: Desk, path: Path) -> dict[str, Severity]:
    return {badge.kind.value: badge.severity for badge in desk.approvals.get(path.stem).badges}


def note(path: Path) -> str:
    beside = path.with_name(f"{path.stem}.reason.md")
    return beside.read_text() if beside.exists() else ""


def confirm(desk: Desk, path: Path) -> None:
    desk.approvals.approve(path.stem, desk.approvals.get(path.stem).sha256, by="anna")


def greet_ann(desk: Desk) -> None:
    """Ann is a known contact from now on."""
    confirm(desk, desk.request("the first mail", in_reply_to="<q0@example.org>"))
    assert desk.cycle() == "sent 1"


def forged(desk: Desk, key: str = "mail 2", **fields: Any) -> Path:
    """A mail in Ann's name that failed the check, as this node read it; its request claims otherwise."""
    path = desk.request(key, verified=False, **fields)
    task = frontmatter.read(path.read_bytes())[0]["source_task"]
    desk.store.facts.read(task, Letter(ANN, genuine=False))
    return path


# What a move is worth


def test_a_forged_mail_of_a_known_contact_is_not_answered_by_a_move(desk: Desk) -> None:
    greet_ann(desk)
    path = forged(desk)
    desk.approvals.observe()
    assert told(desk, path) == {"sender_failed": Severity.DANGER}
    assert "moving this file is not enough" in note(path) and "may be forged" in note(path)
    moved = desk.move(path, "Approved")
    for _ in range(3):
        assert desk.cycle() == "waiting for a confirmation 1"
    assert desk.world.calls == 1 and "may be forged" in note(moved)
    confirm(desk, moved)
    assert desk.cycle() == "sent 1"


def test_a_genuine_lookalike_of_a_known_contact_is_not_answered_by_a_move(desk: Desk) -> None:
    greet_ann(desk)
    path = desk.request("mail 2", verified=False, to=[EVE])
    desk.store.facts.read(
        frontmatter.read(path.read_bytes())[0]["source_task"], Letter(EVE, "", True, "<q1@example.org>")
    )
    desk.approvals.observe()
    assert told(desk, path) == {"lookalike": Severity.DANGER, "new_recipient": Severity.INFO}
    moved = desk.move(path, "Approved")
    assert desk.cycle() == "waiting for a confirmation 1" and f"{EVE} looks like {ANN}" in note(moved)
    confirm(desk, moved)
    assert desk.cycle() == "sent 1"
    again = desk.request("mail 3", to=[EVE])
    desk.approvals.observe()
    assert "lookalike" not in told(desk, again), "the human met it"
    desk.move(again, "Approved")
    assert desk.cycle() == "sent 1"


def test_a_link_that_leads_elsewhere_is_not_approved_by_a_move(desk: Desk) -> None:
    greet_ann(desk)
    path = desk.request("mail 2", draft="Please look at https://example.org@evil.test/pay")
    desk.approvals.observe()
    assert told(desk, path)["link_pretends"] is Severity.DANGER
    desk.move(path, "Approved")
    assert desk.cycle() == "waiting for a confirmation 1" and desk.world.calls == 1


def test_trust_does_not_execute_what_looks_like_a_trick(desk: Desk) -> None:
    desk.trust = True
    desk.restart()
    path = forged(desk)
    plain = desk.request("mail 3")
    desk.move(path, "Approved")
    desk.move(plain, "Approved")
    assert set(desk.cycle().split(", ")) == {"sent 1", "waiting for a confirmation 1"}
    assert desk.places(path.name) == ["Approved"] and desk.places(plain.name) == ["Done"]


def test_a_decision_in_the_note_is_worth_no_more_than_a_move(desk: Desk) -> None:
    greet_ann(desk)
    path = forged(desk)
    desk.approvals.observe()
    meta, body = frontmatter.read(path.read_bytes())
    path.write_bytes(frontmatter.write(meta | {"decision": "approve"}, body))
    desk.cycle()
    assert desk.world.calls == 1 and "may be forged" in note(path)
    assert desk.store.live(path.stem) is None


def test_the_note_of_a_danger_goes_away_with_it(desk: Desk) -> None:
    greet_ann(desk)
    path = desk.request("mail 2", draft="See https://example.org@evil.test")
    desk.approvals.observe()
    assert "Look before you approve" in note(path)
    desk.approvals.edit(path.stem, sha(path), by="anna", draft="See https://example.org")
    desk.approvals.observe()
    assert note(path) == "" and told(desk, path) == {"links": Severity.INFO}
    desk.approvals.edit(path.stem, sha(path), by="anna", draft="See https://example.org@evil.test")
    assert "Look before you approve" in note(path), "an edit is seen at once"


def test_the_note_of_a_danger_is_back_after_a_pause(desk: Desk) -> None:
    path = forged(desk)
    desk.approvals.observe()
    desk.approvals.snooze(path.stem, desk.clock.now() + timedelta(hours=1), by="anna")
    assert "Snoozed" in note(path)
    desk.clock.advance(3601)
    desk.approvals.observe()
    desk.approvals.observe()
    assert "may be forged" in note(path)


# Money


def test_a_changed_account_and_amount_are_told_from_the_last_receipt(desk: Desk) -> None:
    first = desk.request("bill 1", **PAYMENT)
    assert told(desk, first) == {"new_recipient": Severity.WARNING}
    confirm(desk, first)
    assert told(desk, desk.request("bill 2", **PAYMENT)) == {"new_recipient": Severity.WARNING}, "no receipt yet"
    assert desk.cycle() == "executed 1"
    desk.restart()
    assert told(desk, desk.request("bill 3", **PAYMENT | {"payee": "ACME  gmbh"})) == {}
    changed = desk.request("bill 4", **PAYMENT | {"iban": OTHER_IBAN, "amount": "41.00"})
    assert told(desk, changed) == {"bank_account_changed": Severity.DANGER, "amount_changed": Severity.WARNING}
    words = " ".join(badge.words for badge in desk.approvals.get(changed.stem).badges)
    assert IBAN in words and OTHER_IBAN in words and "40.00 EUR" in words and "2026-06-01" in words
    desk.approvals.observe()
    assert OTHER_IBAN in note(changed)
    confirm(desk, changed)
    assert desk.cycle() == "executed 1"
    assert told(desk, desk.request("bill 5", **PAYMENT))["bank_account_changed"] is Severity.DANGER, "the newest counts"
    alike = desk.request("bill 6", **PAYMENT | {"payee": "Acrne GmbH"})
    assert told(desk, alike) == {"lookalike": Severity.DANGER, "new_recipient": Severity.WARNING}


def test_a_payment_that_failed_is_no_receipt(desk: Desk) -> None:
    path = desk.request("bill 1", **PAYMENT)
    confirm(desk, path)
    record = desk.store.live(path.stem)
    assert record is not None and desk.store.void(record, "taken back")
    assert desk.store.facts.parties("register_payment") == frozenset()


def test_receipts_of_an_older_file_are_known_after_the_upgrade(desk: Desk, clock: FakeClock) -> None:
    confirm(desk, desk.request("bill 1", **PAYMENT))
    confirm(desk, desk.request("bill 2", **PAYMENT | {"iban": OTHER_IBAN}))
    desk.cycle()
    desk.cycle()
    desk.store.close()
    path = desk.node.settings.state_dir / "execution.sqlite3"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(
            "DROP TABLE replies; DROP TABLE deals; DROP TABLE letters; ALTER TABLE actions DROP COLUMN provider;"
            "ALTER TABLE seen DROP COLUMN brought; PRAGMA user_version = 3;"
            "CREATE TABLE verified_senders (task_id TEXT PRIMARY KEY, address TEXT NOT NULL, at TEXT NOT NULL);"
            f"INSERT INTO verified_senders VALUES ('email-1', '{ANN}', '2026-06-01T12:00:00Z');"
        )
    store = ExecutionStore(path, clock)
    assert store.facts.letter("email-1") == Letter(ANN, genuine=True)
    assert store.facts.parties("register_payment") == {"Acme GmbH"}
    store.close()
    desk.restart()
    assert told(desk, desk.request("bill 3", **PAYMENT | {"iban": OTHER_IBAN})) == {}
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (schema._VERSION,)


def test_an_invoice_is_no_receipt_for_a_payment(desk: Desk) -> None:
    confirm(desk, desk.request("bill 1", **PAYMENT))
    desk.cycle()
    lines = [{"description": "Work", "price": "40.00"}]
    invoice = {"action": "invoice", "partner": "Acme GmbH", "lines": lines, "due_date": "2026-12-24"}
    assert told(desk, desk.request("bill 2", **PAYMENT | invoice)) == {"new_recipient": Severity.WARNING}


# What is shown


def test_what_is_shown_is_made_from_the_bytes_that_are_answered(desk: Desk) -> None:
    bcc = [f"p{number}@third.test" for number in range(12)]
    path = desk.request(bcc=bcc, draft="Pay\u202e at [example.org](https://evil.test/x).\n\nBye")
    api = Api(desk.node)
    seen = api.get(f"/api/approvals/{path.stem}")
    assert seen["sha256"] == hashlib.sha256(seen["content"].encode()).hexdigest()
    shown = [(line["label"], line["text"]) for line in seen["shown"]]
    assert shown[:4] == [
        ("From", "ai-employee@localhost"), ("To", ANN), ("Bcc", ", ".join(bcc)), ("Subject", 'Re: "10:30" – ok?')
    ]  # fmt: skip
    assert shown[4:] == [
        ("Text", "Pay⟦U+202E⟧ at [example.org](https://evil.test/x).\n\nBye"),
        ("Leads to", "https://evil.test/x (behind the words “example.org”)"),
    ]
    assert {badge["kind"] for badge in seen["badges"] if badge["severity"] == "danger"} == {
        "direction", "link_pretends"
    }  # fmt: skip
    assert {badge["kind"] for badge in seen["badges"]} >= {"new_recipient", "many_recipients", "links"}
    (listed,) = api.get("/api/approvals")["items"]
    assert listed["badges"] == seen["badges"] and listed["shown"] == seen["shown"]
    # Somebody exchanges the words: what was seen can't be approved, and what is shown are the new words.
    path.write_bytes(path.read_bytes().replace(b"Bye", b"Now"))
    assert api.refused(409, "POST", f"/api/approvals/{path.stem}/approve", json={"sha256": seen["sha256"]})
    assert "Now" in api.get(f"/api/approvals/{path.stem}")["shown"][4]["text"]


def test_a_payment_is_shown_as_the_hand_would_make_it(desk: Desk) -> None:
    shown = dict(desk.approvals.shown(desk.approvals.get(desk.request("bill 1", **PAYMENT).stem)))
    assert shown["Amount"] == "40.00 EUR" and shown["IBAN"] == IBAN and shown["From"] == SEPA["SEPA_IBAN"]
    assert shown["Our reference"] == "given when it is approved" and shown["Date"] == "the day on which it is approved"
    assert "Text" not in shown, "the draft of a payment goes nowhere"


def test_where_no_hand_can_say_the_fields_are_shown(make_node: Callable[..., Services], clock: FakeClock) -> None:
    desk = Desk(make_node, clock, World())  # no account for payments
    shown = dict(desk.approvals.shown(desk.approvals.get(desk.request("bill 1", **PAYMENT).stem)))
    assert shown == {name: PAYMENT[name] for name in ("payee", "amount", "currency", "reference", "iban")}


def test_the_cloud_shows_fields_and_says_that_it_knows_no_receipts(
    make_node: Callable[..., Services], clock: FakeClock
) -> None:
    node = make_node("cloud", clock=clock)
    request = add_request(node, add_task(node, "1", clock.now()), clock.now(), cc=["bob@example.com"])
    seen = Api(node).get(f"/api/approvals/{request}")
    assert {badge["kind"] for badge in seen["badges"]} == {"no_receipts", "sender_unverified"}
    assert [line["label"] for line in seen["shown"]][:3] == ["To", "Cc", "Subject"]


# What this node read


@pytest.mark.parametrize(("result", "genuine"), [("dmarc=pass", True), ("dmarc=fail", False), ("", None)])
def test_the_verdict_on_a_mail_is_kept_outside_the_vault(
    make_node: Callable[..., Services], result: str, genuine: bool | None
) -> None:
    node = make_node(MAIL_AUTHSERV_ID="mx.acme.example")
    said = f"Authentication-Results: mx.acme.example; {result} header.from=example.org\r\n" if result else ""
    mail = (
        f"{said}From: {ANN}\r\nReply-To: {EVE}\r\nTo: me@acme.example\r\nSubject: Hi?\r\nMessage-ID: <1@x>\r\n\r\nSo?"
    )
    node.intake.run(node.clock.now())
    (node.settings.maildir / "new" / "1.eml").write_text(mail)
    node.intake.run(node.clock.now())
    (path,) = node.layout.files(Stage.PENDING_APPROVAL)
    task = frontmatter.read(path.read_bytes())[0]["source_task"]
    assert node.store.facts.letter(task) == Letter(ANN, EVE, genuine, "<1@x>")
    kinds = [badge.kind for badge in node.approvals.get(path.stem).badges]
    assert Kind.REPLY_TO in kinds and Kind.LOOKALIKE in kinds and (Kind.SENDER_FAILED in kinds) == (genuine is False)


def test_a_second_mail_of_the_same_id_changes_no_verdict(desk: Desk, clock: FakeClock) -> None:
    task = make_id("email", clock.now(), "k")
    desk.store.facts.read(task, Letter(ANN, genuine=False))
    desk.store.facts.read(task, Letter(EVE, genuine=True))
    assert desk.store.facts.letter(task) == Letter(ANN, genuine=False)


# Whom a request says that it answers


def a_request(desk: Desk, action: str, **fields: Any) -> Path:
    """One that names whatever task it likes: its id is made from no task of ours."""
    made = {
        "id": make_id("email", desk.clock.now(), "whose?"),
        "type": "email_processing",
        "domain": "email",
        "created": format_time(desk.clock.now()),
        "created_by": "cloud",
        "priority": "normal",
        "expires": format_time(desk.clock.now() + timedelta(hours=24)),
        "risk": [],
        "why": "",
        "drafted_by": "x",
        "action": action,
        "to": [EVE],
        "subject": "Fwd: salaries",
        **fields,
    }
    return desk.node.claims.create(Stage.PENDING_APPROVAL, made, with_draft("", "the secret plan"))


def eves_task(desk: Desk) -> str:
    """The task of a genuine mail of Eve's."""
    task = make_id("email", datetime(2026, 6, 1, 9, tzinfo=UTC), "eve")
    desk.store.facts.read(task, Letter(EVE, genuine=True, message_id="<eve@x>"))
    return task


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("send_email", {}),
        ("forward_email", {"source_message": "<boss@example.org>"}),
        ("forward_email", {"source_message": "<eve@x>"}),
        ("reply_email", {"in_reply_to": "<boss@example.org>"}),
    ],
)
def test_who_wrote_a_genuine_mail_is_sent_nothing_but_the_reply_by_a_move(
    desk: Desk, own: bool, action: str, fields: dict[str, str]
) -> None:
    task = eves_task(desk)
    path = a_request(desk, action, source_task=task, **fields, **({"id": request_id(task, action)} if own else {}))
    desk.approvals.observe()
    assert told(desk, path)["new_recipient"] is Severity.WARNING
    moved = desk.move(path, "Approved")
    assert desk.cycle() == "waiting for a confirmation 1" and "please confirm" in note(moved)
    assert desk.world.ledger == []


@pytest.mark.parametrize("own", [True, False])
def test_a_reply_counts_for_the_sender_by_its_own_task_alone(desk: Desk, own: bool) -> None:
    task = eves_task(desk)
    id = request_id(task, "reply_email") if own else make_id("email", desk.clock.now(), "whose?")
    path = a_request(desk, "reply_email", id=id, source_task=task, in_reply_to="<eve@x>")
    desk.approvals.observe()
    desk.move(path, "Approved")
    assert desk.cycle() == ("sent 1" if own else "waiting for a confirmation 1")


@pytest.mark.parametrize("name", ["forged", "real", None])
def test_naming_another_task_takes_no_danger_away(desk: Desk, name: str | None) -> None:
    """The mail that is answered failed the check, whichever task the request names."""
    greet_ann(desk)
    tasks = {name: make_id("email", datetime(2026, 6, 1, 8, tzinfo=UTC), name) for name in ("forged", "real")}
    desk.store.facts.read(tasks["forged"], Letter(ANN, genuine=False, message_id="<forged@x>"))
    desk.store.facts.read(tasks["real"], Letter(ANN, genuine=True, message_id="<real@x>"))
    named = {"source_task": tasks[name]} if name else {}
    path = a_request(desk, "reply_email", to=[ANN], in_reply_to="<forged@x>", **named)
    desk.approvals.observe()
    assert told(desk, path) == {"sender_failed": Severity.DANGER}
    before = len(desk.world.ledger)
    desk.move(path, "Approved")
    assert desk.cycle() == "waiting for a confirmation 1" and len(desk.world.ledger) == before


def test_naming_another_message_takes_no_danger_away(desk: Desk) -> None:
    """The request was made for a forged mail's task, and says that it answers a genuine one."""
    greet_ann(desk)
    task = make_id("email", datetime(2026, 6, 1, 8, tzinfo=UTC), "forged")
    desk.store.facts.read(task, Letter(ANN, genuine=False, message_id="<forged@x>"))
    desk.store.facts.read(
        make_id("email", datetime(2026, 6, 1, 8, tzinfo=UTC), "real"), Letter(ANN, "", True, "<real@x>")
    )
    own = request_id(task, "reply_email")
    path = a_request(desk, "reply_email", id=own, source_task=task, to=[ANN], in_reply_to="<real@x>")
    desk.approvals.observe()
    assert told(desk, path) == {"sender_failed": Severity.DANGER}


def test_nothing_is_said_twice_and_nothing_that_is_over(make_node: Callable[..., Services]) -> None:
    """The file keeps what was true when it was drafted; a node that read the mail says of its sender what it knows."""
    node = make_node()
    node.intake.run(node.clock.now())
    mail = f"From: {ANN}\r\nTo: me@acme.example\r\nSubject: Hi?\r\nMessage-ID: <1@x>\r\n\r\nWhat is the IBAN?"
    (node.settings.maildir / "new" / "1.eml").write_text(mail)
    node.intake.run(node.clock.now())
    (path,) = node.layout.files(Stage.PENDING_APPROVAL)
    stored = frontmatter.read(path.read_bytes())[0]["risk"]
    assert [flag for flag in stored if flag.startswith(("Sender not verified", "Goes out from"))] == [
        stored[0],
        stored[-1],
    ]
    shown = node.approvals.get(path.stem)
    assert [badge.kind for badge in shown.badges if "vouches" in badge.words] == [Kind.SENDER_UNVERIFIED]
    assert list(shown.risk) == stored[1:], "still without an address, and the other flags stand"
    settled = make_node(ready=False, MAIL_FROM="me@acme.example")
    assert list(settled.approvals.get(path.stem).risk) == stored[1:-1]
    stranger = make_node("cloud", ready=False, VAULT_PATH=str(node.layout.root))
    assert list(stranger.approvals.get(path.stem).risk) == stored, "it did not read the mail"


def test_a_second_reply_to_a_mail_is_told_while_the_first_waits_and_when_it_was_sent(desk: Desk) -> None:
    """By the Message-ID alone: a reply to another mail of the thread is none, and what was put away is none either."""
    first, second = desk.request("mail 1"), desk.request("mail 2")
    other = desk.request("mail 3", in_reply_to="<q2@example.org>", references=["<q1@example.org>"])
    desk.approvals.observe()

    def answered(path: Path) -> list[str]:
        return [badge.words for badge in desk.approvals.get(path.stem).badges if badge.kind == "answered"]

    assert answered(second) == [f"Another draft answers the same mail: {first.stem}."]
    assert answered(first) == [f"Another draft answers the same mail: {second.stem}."] and not answered(other)
    confirm(desk, first)
    assert answered(second) == [f"Another draft answers the same mail: {first.stem}."]
    assert desk.cycle() == "sent 1"
    assert answered(second) == [f"You answered this mail at 2026-06-01T12:00:00Z: {first.stem}."]
    desk.approvals.reject(second.stem, by="anna")
    third = desk.request("mail 4")
    desk.cycle()
    assert answered(third) == [f"You answered this mail at 2026-06-01T12:00:00Z: {first.stem}."]
    desk.move(third, "Approved")
    assert desk.cycle() == "sent 1", "a remark is no danger"


def test_what_waited_or_was_answered_before_an_upgrade_is_told_after_it(desk: Desk) -> None:
    sent, waiting = desk.request("mail 1"), desk.request("mail 2")
    desk.approvals.observe()
    confirm(desk, sent)
    assert desk.cycle() == "sent 1"
    desk.store.close()
    with closing(sqlite3.connect(desk.node.settings.state_dir / "execution.sqlite3")) as db:
        db.executescript("DROP TABLE replies; PRAGMA user_version = 6")
    desk.restart()
    new = desk.request("mail 3")
    desk.cycle()
    told = [badge.words for badge in desk.approvals.get(new.stem).badges if badge.kind == "answered"]
    assert told == [
        f"You answered this mail at 2026-06-01T12:00:00Z: {sent.stem}.",
        f"Another draft answers the same mail: {waiting.stem}.",
    ]
