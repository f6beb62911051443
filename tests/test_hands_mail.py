"""Mail as a hand: forwarded as approved, and with exactly the files that the request froze, or not at all (S6)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from mcp_servers import acting
from tests.conftest import FakeClock
from tests.fakes.desk import ANN, Desk, World, sha
from utils.bootstrap import Services
from utils.core.acting import Receipt
from utils.core.mail import OutgoingMail
from utils.execution.approvals import Invalid
from utils.execution.journal import ActionRecord, State
from utils.ports import OutcomeUnknown

INVOICE = b"%PDF-1.7 ten euros"


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World())


def put(desk: Desk, data: bytes = INVOICE, path: str = "Accounting/invoice.pdf") -> dict[str, str]:
    """A file in the vault, as a request attaches it."""
    place = desk.vault / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return {"path": path, "sha256": hashlib.sha256(data).hexdigest()}


def approved(desk: Desk, **fields: Any) -> ActionRecord:
    path = desk.request(**fields)
    return desk.approvals.approve(path.stem, sha(path), by="anna")


def read(mail: OutgoingMail) -> Any:
    return message_from_bytes(mail.data, policy=policy.default)


def files(mail: OutgoingMail) -> list[tuple[str | None, bytes]]:
    return [(part.get_filename(), part.get_payload(decode=True)) for part in read(mail).iter_attachments()]


@pytest.mark.parametrize("action", ["send_email", "reply_email", "forward_email"])
def test_what_was_attached_and_approved_is_sent(desk: Desk, action: str) -> None:
    one, other = put(desk), put(desk, b"\0\xff", "Plans/email/a.files/Übersicht.bin") | {"name": "overview.bin"}
    fields: dict[str, Any] = {"subject": "Fwd: lunch", "source_message": "<o1@example.org>"}
    record = approved(desk, action=action, attachments=[one, other], **fields)
    assert desk.cycle() == "sent 1"
    (mail,) = desk.world.ledger
    assert files(mail) == [("invoice.pdf", INVOICE), ("overview.bin", b"\0\xff")]
    assert read(mail)["X-Action-Id"] == record.action_id


def test_a_forward_is_sent_as_it_was_shown(desk: Desk) -> None:
    draft = "Ann,\n\nsee below.\n\n---------- Forwarded message ----------\nFrom: Bob\n\n> the original\n"
    record = approved(
        desk, action="forward_email", subject="Fwd: lunch", source_message="<o1@example.org>", draft=draft,
        in_reply_to=None, references=None, cc=["Zoë <zoe@example.org>"],
    )  # fmt: skip
    assert desk.cycle() == "sent 1"
    (mail,) = desk.world.ledger
    assert read(mail).get_content().replace("\r\n", "\n") == draft + "\n"
    assert (read(mail)["References"], read(mail)["In-Reply-To"]) == ("<o1@example.org>", None)
    assert desk.store.known_recipients() == {ANN, "zoe@example.org"}
    assert desk.places(f"{record.request_id}.md") == ["Done"]


def test_what_was_sent_is_found_although_its_attachment_is_gone(
    make_node: Callable[..., Services], clock: FakeClock
) -> None:
    """The answer got lost, and meanwhile somebody tidied up: the journal's Message-ID is all the evidence needs."""
    desk = Desk(make_node, clock, World(keeps_sent=True))
    file = put(desk)
    record = approved(desk, attachments=[file])
    desk.world.lost_answers.append(OutcomeUnknown("reset"))
    real = desk.world.send

    def send(mail: OutgoingMail) -> Receipt:
        (desk.vault / file["path"]).unlink()
        return real(mail)

    desk.world.send = send  # type: ignore[method-assign]
    assert desk.cycle() == "sent 1"
    done = desk.store.get(record.action_id)
    assert done is not None and done.state is State.DONE and len(desk.world.ledger) == 1


def swapped(place: Path) -> None:
    place.write_bytes(INVOICE.replace(b"ten", b"999"))


def linked(place: Path) -> None:
    place.rename(place.with_name("elsewhere.pdf"))
    place.symlink_to(place.with_name("elsewhere.pdf"))


def behind_a_link(place: Path) -> None:
    place.parent.rename(place.parent.with_name("Elsewhere"))
    place.parent.symlink_to(place.parent.with_name("Elsewhere"))


def folder(place: Path) -> None:
    place.unlink()
    place.mkdir()


BREAKS = pytest.mark.parametrize("break_it", [swapped, linked, behind_a_link, folder, Path.unlink])


@BREAKS
def test_a_file_that_was_exchanged_since_the_approval_is_not_sent(desk: Desk, break_it: Callable[[Path], Any]) -> None:
    record = approved(desk, attachments=[put(desk)])
    break_it(desk.vault / "Accounting" / "invoice.pdf")
    assert desk.cycle() == "failed 1"
    assert desk.world.calls == 0 and not desk.world.ledger
    found = desk.store.get(record.action_id)
    assert found is not None and found.state is State.FAILED and found.token_consumed_at is None
    assert "the attachment Accounting/invoice.pdf" in (desk.approvals.get(record.request_id).reason or "")


@BREAKS
def test_a_file_with_other_bytes_than_the_request_says_can_not_be_approved(
    desk: Desk, break_it: Callable[[Path], Any]
) -> None:
    """Else a person looks at one file, and another one is sent that comes later (S12)."""
    path = desk.request(attachments=[put(desk)])
    desk.approvals.observe()
    break_it(desk.vault / "Accounting" / "invoice.pdf")
    shown = desk.approvals.get(path.stem)
    assert any("the attachment Accounting/invoice.pdf" in problem for problem in shown.problems)
    with pytest.raises(Invalid, match=r"Accounting/invoice\.pdf"):
        desk.approvals.approve(path.stem, shown.sha256, by="anna")
    desk.move(path, "Approved")
    assert desk.cycle() == "waiting for a confirmation 1" and desk.world.calls == 0


def test_a_file_that_is_exchanged_while_the_mail_is_made_is_a_certain_refusal(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = approved(desk, attachments=[put(desk)])
    consume = desk.store.consume

    def late(*arguments: Any) -> bool:
        swapped(desk.vault / "Accounting" / "invoice.pdf")
        return consume(*arguments)

    monkeypatch.setattr(desk.store, "consume", late)
    assert desk.cycle() == "failed 1" and desk.world.calls == 0
    found = desk.store.get(record.action_id)
    assert found is not None and "its sha256 differs" in found.error


def test_all_files_together_have_a_limit(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("utils.vault.frozen.MAX_BYTES", 10)
    small = [put(desk, b"12345", f"Accounting/{name}.txt") for name in "ab"]
    path = desk.request(attachments=[*small, put(desk, b"1", "Accounting/c.txt")])
    with pytest.raises(Invalid, match=r"Accounting/c\.txt is too large"):
        desk.approvals.approve(path.stem, sha(path), by="anna")
    approved(desk, key="mail 2", attachments=small)
    assert desk.cycle() == "sent 1"


def test_files_that_go_along_are_told_and_need_more_than_a_move(desk: Desk) -> None:
    """A draft by a compromised cloud could ask for any file of the vault, in a property that nobody reads (S12)."""
    other = put(desk, b"1", "Accounting/iban.txt") | {"name": "p\u0430ypal.txt"}
    path = desk.request(attachments=[put(desk), other])
    desk.approvals.observe()
    risk = " ".join(desk.approvals.get(path.stem).risk)
    assert (
        "invoice.pdf (Accounting/invoice.pdf), p\u0430ypal.txt (Accounting/iban.txt)" in risk
        and "different alphabets" in risk
    )
    desk.move(path, "Approved")
    assert desk.cycle() == "waiting for a confirmation 1" and desk.world.calls == 0
    desk.approvals.approve(path.stem, sha(desk.vault / "Approved" / path.name), by="anna")
    assert desk.cycle() == "sent 1"


def test_what_is_shown_of_a_mail_is_all_of_its_envelope_and_its_files(desk: Desk) -> None:
    record = approved(desk, cc=["Zoë <zoe@example.org>"], bcc=["archive@acme.example"], attachments=[put(desk)])
    result = acting.Desk(desk.node).act("reply_email", record.action_id, dry_run=True)
    assert [(line.label, line.text) for line in result.shown] == [
        ("From", "ai-employee@localhost"),
        ("To", ANN),
        ("Cc", "Zoë <zoe@example.org>"),
        ("Bcc", "archive@acme.example"),
        ("Subject", 'Re: "10:30" – ok?'),
        ("Attachment", "invoice.pdf (Accounting/invoice.pdf)"),
    ]
    assert result.recipients == [ANN, "zoe@example.org", "archive@acme.example"]
