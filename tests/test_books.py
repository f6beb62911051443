"""Exact amounts, and what invoices and payments may say."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.core.books import invoice_from, minor_units, number, payment_from, reference, rounded, shown_invoice
from utils.core.policy import TOOL_ACTIONS, tool_for
from utils.core.task import InvalidTask
from utils.hands import books

TODAY = date(2026, 11, 16)
INVOICE: dict[str, Any] = {
    "partner": "Acme", "currency": "EUR", "due_date": "2026-12-24",
    "lines": [{"description": "Work", "quantity": "3", "price": "33.33", "tax": "19"}],
}  # fmt: skip
PAYMENT: dict[str, Any] = {"payee": "Acme", "amount": "119.00", "currency": "EUR", "reference": "R-1"}


@pytest.mark.parametrize("text", ["0", "119.00", "-5", "0.000001", "999999999999.999999", 7, "007"])
def test_numbers_are_exact(text: Any) -> None:
    assert number(text, "it") == Decimal(str(text))


@pytest.mark.parametrize(
    "value", [1.5, 10.0, float("nan"), "1,5", "1.000,00", "NaN", "Infinity", "", " 1", "1 ", "+1", "0x1", "1_000",
              "1e3", "1.1234567", "1234567890123", "١", None, True, [1], "1.", ".5", "--1"],
)  # fmt: skip
def test_what_is_no_exact_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="it "):
        number(value, "it")


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=4))
def test_rounding_is_half_away_from_zero(amount: Decimal) -> None:
    got = rounded(amount, 2)
    assert abs(got - amount) <= Decimal("0.005") and rounded(-amount, 2) == -got
    if abs(got - amount) == Decimal("0.005"):
        assert abs(got) > abs(amount)


@given(st.decimals(min_value=0, max_value=10**9, places=2))
def test_an_amount_survives_the_wire(amount: Decimal) -> None:
    import json

    assert json.loads(json.dumps(float(amount)), parse_float=Decimal) == amount or amount == int(amount)
    assert Decimal(repr(float(amount))) == amount


def test_minor_units_are_those_of_the_currency() -> None:
    assert [minor_units(code) for code in ("EUR", "JPY", "KWD", "CLF")] == [2, 0, 3, 4]
    for code in ("eur", "XXX", "XAU", "", "EURO"):
        with pytest.raises(ValueError, match=r"currency|nothing is paid|in capitals: EUR"):
            minor_units(code)


def test_totals_round_taxes_by_line_and_by_rate() -> None:
    line = {"description": "Cent", "price": "0.03", "tax": "19"}  # 0.0057 each
    totals = invoice_from({**INVOICE, "lines": [line] * 3}, TODAY).totals
    assert (totals.untaxed, totals.total, totals.total_globally) == (Decimal("0.09"), Decimal("0.12"), Decimal("0.11"))
    text = dict(shown_invoice(invoice_from({**INVOICE, "lines": [line] * 3}, TODAY), "AI-1"))["Total"]
    assert text == "0.12 EUR (or 0.11 EUR, where the company rounds taxes globally)"
    yen = invoice_from({**INVOICE, "currency": "JPY", "lines": [{"description": "x", "price": "1.5"}]}, TODAY).totals
    assert yen.total == Decimal(2)


def test_what_is_shown_of_an_invoice_is_all_of_it() -> None:
    fields = {**INVOICE, "reference": "PO 7", "draft_id": 42}
    fields["lines"] = [*INVOICE["lines"], {"description": "Fee", "price": "5", "account": "4000"}]
    assert shown_invoice(invoice_from(fields, TODAY), "AI-1") == (
        ("Customer", "Acme"),
        ("Line 1", "3 × 33.33 EUR, plus 19 % tax: Work"),
        ("Line 2", "1 × 5 EUR, no tax, account 4000: Fee"),
        ("Net", "104.99 EUR"),
        ("Total", "123.99 EUR"),
        ("Date", "2026-11-16"),
        ("Due", "2026-12-24"),
        ("Their reference", "PO 7"),
        ("Odoo draft", "42"),
        ("Our reference", "AI-1"),
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"partner": ""}, "'partner'"),
        ({"partner": "Ac\u202eme"}, "direction-changing"),
        ({"partner": "a\nb"}, "one line"),
        ({"lines": []}, "1 to 200"),
        ({"lines": "Work"}, "1 to 200"),
        ({"lines": ["Work"]}, "line 1"),
        ({"lines": [{"description": "x", "price": 1.5}]}, "quotes"),
        ({"lines": [{"description": "x"}]}, "'price'"),
        ({"lines": [{"price": "1"}]}, "description"),
        ({"lines": [{"description": "x", "price": "1", "discount": "9"}]}, "line 1 has discount"),
        ({"lines": [{"description": "x", "price": "1", "quantity": "0"}]}, "'quantity'"),
        ({"lines": [{"description": "x", "price": "1", "tax": "-1"}]}, "0 to 100"),
        ({"lines": [{"description": "x", "price": "-1"}]}, "more than zero"),
        ({"currency": "BTC"}, "'currency'"),
        ({"currency": 978}, "'currency'"),
        ({"due_date": "24.12.2026"}, "'due_date'"),
        ({"due_date": "2026-11-15"}, "lies before"),
        ({"date": "yesterday"}, "'date'"),
        ({"kind": "refund"}, "'kind'"),
        ({"kind": "expense"}, "'reference'"),
        ({"draft_id": "7"}, "'draft_id'"),
        ({"draft_id": -1}, "'draft_id'"),
        ({"draft_id": True}, "'draft_id'"),
    ],
)
def test_an_invoice_with_something_wrong_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidTask, match=words):
        invoice_from({**INVOICE, **change}, TODAY)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InvalidTask) as wrong:
        invoice_from({"partner": 1.5, "lines": [{}], "currency": "?", "due_date": None, "kind": 1}, TODAY)
    assert len(wrong.value.problems) == 6, wrong.value.problems


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"amount": "0.00"}, "more than zero"),
        ({"amount": "-1"}, "more than zero"),
        ({"amount": "1.001"}, "more than 2 decimals"),
        ({"amount": "1.5", "currency": "JPY"}, "more than 0 decimals"),
        ({"amount": 1.5}, "quotes"),
        ({"iban": "DE89370400440532013001"}, "no valid IBAN"),
        ({"iban": 7}, "no valid IBAN"),
        ({"bic": "NOPE"}, "no valid BIC"),
        ({"reference": ""}, "'reference'"),
        ({"payee": None}, "'payee'"),
    ],
)
def test_a_payment_with_something_wrong_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidTask, match=words):
        payment_from({**PAYMENT, **change}, TODAY)


def test_a_payment_is_read_exactly() -> None:
    payment = payment_from({**PAYMENT, "iban": "DE89 3704 0044 0532 0130 00", "reference": 4711}, TODAY)
    assert payment.iban == "DE89370400440532013000" and payment.reference == "4711"
    assert payment.amount == Decimal("119.00") and payment.day == TODAY


def test_our_reference_fits_every_place() -> None:
    assert reference("f" * 32) == "AI-" + "f" * 32 and len(reference("f" * 32)) == 35


def test_each_request_has_one_tool() -> None:
    assert tool_for("invoice", {}) == "post_invoice"
    assert tool_for("invoice", {"kind": "customer"}) == "post_invoice"
    assert tool_for("invoice", {"kind": "expense"}) == "record_expense"
    assert tool_for("payment", {"kind": "expense"}) == "register_payment"
    assert tool_for("send_email", {}) == "send_email"
    assert {TOOL_ACTIONS[tool_for(action, {})] for action in ("invoice", "payment")} == {"invoice", "payment"}


@pytest.mark.parametrize(("zone", "day"), [("Europe/Vienna", 1), ("UTC", 30), ("America/New_York", 30)])
def test_the_day_in_the_books_is_that_of_the_node(monkeypatch: pytest.MonkeyPatch, zone: str, day: int) -> None:
    """Approved on 1 December at half past midnight in Vienna: not an invoice, or a transfer, of November."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        order: Any = SimpleNamespace(
            request=SimpleNamespace(fields=INVOICE), approved_at=datetime(2026, 11, 30, 23, 30, tzinfo=UTC)
        )
        assert books.InvoiceHand._invoice(order).day.day == day
        order.request.fields = PAYMENT
        assert books._payment(order).day.day == day
    finally:
        monkeypatch.undo()
        time.tzset()
