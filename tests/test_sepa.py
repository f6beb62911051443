"""The file for the bank: valid, exact, the same each time, and written once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from sepaxml.validation import try_valid_xml

from tests.test_odoo_faults import PAYMENT, order
from utils.adapters import sepa
from utils.core.acting import Absence, Receipt
from utils.core.books import Payment
from utils.core.task import InvalidTask
from utils.hands.books import SepaPaymentHand
from utils.ports import AdapterError, OutcomeUnknown

US = sepa.Debtor("Ann & Söhne GmbH", "DE89370400440532013000", "COBADEFFXXX")
WHEN = datetime(2026, 11, 16, 12, 0, 5, tzinfo=UTC)
MARK = "AI-" + "a" * 32
BILL = {**PAYMENT, "amount": "1190.12", "iban": "NL91 ABNA 0417 1643 00"}


def payment(**changes: Any) -> Payment:
    given = {
        "payee": "ACME Straße @ Co", "amount": Decimal("1190.12"), "currency": "EUR", "reference": "R-1 Größe",
        "day": date(2026, 11, 16), "iban": "NL91ABNA0417164300", **changes,
    }  # fmt: skip
    return Payment(**given)


def values(data: bytes) -> dict[str, str]:
    return {element.tag.rpartition("}")[2]: element.text or "" for element in ET.fromstring(data).iter()}


@pytest.mark.parametrize("schema", sepa.SCHEMAS)
def test_the_file_says_what_was_approved_and_is_valid(schema: str) -> None:
    data = sepa.transfer(payment(payee="ACME Straße & Co"), MARK, US, WHEN, schema)
    try_valid_xml(data, schema)
    found = values(data)
    assert found["MsgId"] == found["PmtInfId"] == found["EndToEndId"] == MARK
    assert found["InstdAmt"] == found["CtrlSum"] == "1190.12" and found["NbOfTxs"] == "1"
    assert found["CreDtTm"] == "2026-11-16T12:00:05" and found["Ustrd"] == "R-1 Grosse"
    ibans = [element.text for element in ET.fromstring(data).iter() if element.tag.endswith("}IBAN")]
    assert ibans == ["DE89370400440532013000", "NL91ABNA0417164300"]
    names = [element.text for element in ET.fromstring(data).iter() if element.tag.endswith("}Nm")]
    assert names == ["Ann . Sohne GmbH", "Ann . Sohne GmbH", "ACME Strasse . Co"]


@pytest.mark.parametrize("amount", ["0.01", "0.10", "1.00", "999999999.99"])
def test_cents_are_exact(amount: str) -> None:
    data = sepa.transfer(payment(payee="X", amount=Decimal(amount)), MARK, US, WHEN, sepa.SCHEMAS[0])
    assert values(data)["InstdAmt"] == amount


def test_the_same_payment_is_the_same_bytes() -> None:
    first, second = (sepa.transfer(payment(payee="X"), MARK, US, WHEN, sepa.SCHEMAS[0]) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"currency": "USD"}, "in EUR"),
        ({"iban": ""}, "needs the payee's 'iban'"),
        ({"payee": "a@b.example"}, "must be the name"),
        ({"payee": "4711"}, "must be the name"),
        ({"payee": "x" * 71}, "longer than the 70"),
        ({"reference": "x" * 141}, "longer than the 140"),
        ({"payee": "Ⅷ" * 30}, "longer than the 70"),
    ],
)
def test_what_sepa_can_not_carry_is_refused_and_never_cut_short(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidTask, match=words):
        sepa.transfer(payment(**{"payee": "X", **change}), MARK, US, WHEN, sepa.SCHEMAS[0])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "payments"


def test_the_hand_shows_what_the_bank_gets_and_writes_it_once(folder: Path) -> None:
    hand = SepaPaymentHand(folder, US, sepa.SCHEMAS[0])
    wanted = order({**BILL, "payee": "Größe & Co"})
    plan = hand.plan(wanted)
    assert ("At the bank", "Grosse . Co: R-1") in plan.shown and ("Amount", "1190.12 EUR") in plan.shown
    assert not folder.exists() and hand.find(wanted, plan) is Absence.OPEN
    receipt = hand.act(wanted, plan, lambda prepared: None)
    (file,) = folder.iterdir()
    assert receipt.id == MARK and file.name == f"{MARK}.xml" and file.stat().st_mode & 0o777 == 0o600
    found = hand.find(wanted, plan)
    assert isinstance(found, Receipt) and found.id == MARK
    before = file.read_bytes()
    with pytest.raises(OutcomeUnknown, match="before"):
        hand.act(wanted, plan, lambda prepared: None)
    assert file.read_bytes() == before


def test_a_file_that_can_not_be_written_is_certain(tmp_path: Path) -> None:
    (tmp_path / "payments").write_text("a file")
    hand = SepaPaymentHand(tmp_path / "payments", US, sepa.SCHEMAS[0])
    wanted = order(BILL)
    with pytest.raises(AdapterError) as error:
        hand.act(wanted, hand.plan(wanted), lambda prepared: None)
    assert not error.value.retry and os.listdir(tmp_path) == ["payments"]


def test_a_disk_that_fails_after_the_rename_leaves_it_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from utils.vault import atomic

    def broken(path: Path) -> None:
        raise OSError(5, "Input/output error")

    hand = SepaPaymentHand(folder, US, sepa.SCHEMAS[0])
    wanted = order(BILL)
    monkeypatch.setattr(atomic, "sync_folder", broken)
    with pytest.raises(OutcomeUnknown):
        hand.act(wanted, hand.plan(wanted), lambda prepared: None)
    assert isinstance(hand.find(wanted, hand.plan(wanted)), Receipt)


def test_without_an_account_of_ours_there_is_no_plan(folder: Path) -> None:
    with pytest.raises(AdapterError, match="SEPA_IBAN"):
        SepaPaymentHand(folder, sepa.Debtor("", "", ""), sepa.SCHEMAS[0]).plan(order(BILL))
