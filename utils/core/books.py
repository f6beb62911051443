"""Values of the books: exact amounts, currencies, lines, invoices and payments, read from an approved request. Pure.

An amount is a decimal and never a float: in front matter it stands in quotes ("119.00"). Rounding is commercial (half
up), to the minor units of ISO 4217, as Odoo does it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from utils.core import visible
from utils.core.task import ApprovalRequest, InvalidTask

_NUMBER = re.compile(r"-?\d{1,12}(?:\.\d{1,6})?\Z", re.ASCII)
_LINE_KEYS = ("description", "quantity", "price", "tax", "account")
MAX_LINES = 200
MAX_TEXT = 500
CUSTOMER, EXPENSE = "customer", "expense"
#: How our own references begin.
MARK = "AI-"


@dataclass(frozen=True)
class Line:
    """One line of an invoice. `price`: of one unit, without tax. `tax`: per cent on top, None: no tax. `account`: code
    of the account it is booked to, empty: the one that Odoo takes by itself."""

    description: str
    quantity: Decimal
    price: Decimal
    tax: Decimal | None = None
    account: str = ""


@dataclass(frozen=True)
class Totals:
    """What the lines come to. `total` has the tax rounded on each line, `total_globally` once on each rate: a company
    chooses one in Odoo."""

    untaxed: Decimal
    total: Decimal
    total_globally: Decimal


@dataclass(frozen=True)
class Invoice:
    """An invoice to a customer, or an expense: the bill of a vendor. `partner`: name, e-mail address or Odoo's id.

    `reference`: the other side's (order number of a customer, number of a vendor's bill). `draft_id`: the draft in Odoo
    that is to be posted, 0: one is made.
    """

    kind: str
    partner: str
    lines: tuple[Line, ...]
    currency: str
    day: date
    due: date
    reference: str = ""
    draft_id: int = 0

    @property
    def totals(self) -> Totals:
        """Net and gross sums, exact."""
        digits = minor_units(self.currency)
        nets = [line.quantity * line.price for line in self.lines]
        untaxed = sum((rounded(net, digits) for net in nets), Decimal(0))
        taxes = sum(
            (rounded(rounded(net, digits) * (line.tax or 0) / 100, digits)
             for net, line in zip(nets, self.lines, strict=True)),
            Decimal(0),
        )  # fmt: skip
        rates = {line.tax for line in self.lines if line.tax}
        globally = sum(
            (rounded(sum(net for net, line in zip(nets, self.lines, strict=True) if line.tax == rate) * rate / 100,
                     digits) for rate in rates),
            Decimal(0),
        )  # fmt: skip
        return Totals(untaxed, untaxed + taxes, untaxed + globally)


@dataclass(frozen=True)
class Payment:
    """Money that goes out. `payee`: as `Invoice.partner`; `reference`: the payee's own, as the number of the bill."""

    payee: str
    amount: Decimal
    currency: str
    reference: str
    day: date
    iban: str = ""
    bic: str = ""


def local_day(when: datetime) -> date:
    """The day of an aware time where this node is (`TZ`): books are kept by the calendar on the wall, not by UTC."""
    return when.astimezone().date()


def minor_units(currency: str) -> int:
    """Decimals of a currency by ISO 4217. Raises `ValueError` for what is no currency that is paid in."""
    from iso4217 import Currency

    try:
        exponent = Currency(currency).exponent
    except ValueError:
        if currency.upper() in {known.value for known in Currency}:
            raise ValueError(f"{currency!r} must stand in capitals: {currency.upper()}") from None
        raise ValueError(f"{currency!r} is no currency code of ISO 4217 (EUR, USD, …)") from None
    if exponent is None:
        raise ValueError(f"nothing is paid in {currency}")
    return int(exponent)


def rounded(amount: Decimal, digits: int) -> Decimal:
    """`amount` to so many decimals, half up."""
    return amount.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)


def shown(amount: Decimal, currency: str) -> str:
    """`1190.50 EUR`."""
    return f"{amount:f} {currency}"


def number(value: object, what: str, *, digits: int = 6) -> Decimal:
    """A decimal from text or a whole number, with at most `digits` decimals. Raises `ValueError` with a sentence.

    A float is refused: what was meant is not known any more.
    """
    if isinstance(value, float):
        raise ValueError(f"{what} must stand in quotes, as '{value}': else it is not exact")
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _NUMBER.match(text):
        raise ValueError(f"{what} must be a number like '119.00', with a point and without thousands separators")
    parsed = Decimal(text)
    if -int(parsed.as_tuple().exponent) > digits:
        raise ValueError(f"{what} has more than {digits} decimals")
    return parsed


def reference(action_id: str) -> str:
    """Our own mark of an action in Odoo and at the bank: at most 35 characters of the SEPA character set."""
    return f"{MARK}{action_id}"[:35]


def invoice_from(fields: Mapping[str, Any], today: date) -> Invoice:
    """The invoice that a request's fields ask for; dated `today` where they name no date.

    Raises `InvalidTask` naming every problem.
    """
    reading = _Reading(fields)
    kind = fields.get("kind", CUSTOMER)
    if kind not in (CUSTOMER, EXPENSE):
        reading.problems.append(f"'kind' must be {CUSTOMER} or {EXPENSE}")
    currency, digits = reading.currency()
    day = reading.day("date", today)
    due = reading.day("due_date", None)
    if due < day:
        reading.problems.append(f"'due_date' {due} lies before the invoice's date {day}")
    draft_id = fields.get("draft_id", 0)
    if not isinstance(draft_id, int) or isinstance(draft_id, bool) or draft_id < 0:
        reading.problems.append("'draft_id' must be the number of a draft in Odoo")
    invoice = Invoice(
        kind=str(kind),
        partner=reading.party("partner"),
        lines=reading.lines(),
        currency=currency,
        day=day,
        due=due,
        reference=reading.text("reference", required=kind == EXPENSE),
        draft_id=draft_id,
    )
    if not reading.problems and rounded(invoice.totals.total, digits) <= 0:
        reading.problems.append("the lines must come to more than zero")
    reading.done()
    return invoice


def payment_from(fields: Mapping[str, Any], today: date) -> Payment:
    """The payment that a request's fields ask for, of `today`. Raises `InvalidTask` naming every problem."""
    from stdnum import bic, iban
    from stdnum.exceptions import ValidationError

    reading = _Reading(fields)
    currency, digits = reading.currency()
    amount = reading.number(fields.get("amount"), "'amount'", digits)
    if amount <= 0:
        reading.problems.append("'amount' must be more than zero")
    codes = {}
    for name, rule in (("iban", iban), ("bic", bic)):
        try:
            codes[name] = rule.validate(fields[name]) if fields.get(name) else ""
        except (ValidationError, TypeError, AttributeError):
            reading.problems.append(f"'{name}' is no valid {name.upper()}")
    payment = Payment(
        payee=reading.party("payee"),
        amount=amount,
        currency=currency,
        reference=reading.text("reference", required=True),
        day=today,
        iban=codes.get("iban", ""),
        bic=codes.get("bic", ""),
    )
    reading.done()
    return payment


def problems(request: ApprovalRequest) -> list[str]:
    """Why this invoice or payment can't be carried out, in plain sentences; empty where it can."""
    try:
        if request.action == "invoice":
            invoice_from(request.fields, date.min)
        else:
            payment_from(request.fields, date.min)
    except InvalidTask as error:
        return error.problems
    return []


class _Reading:
    """Reads fields one by one and gathers what is wrong. After a problem, what is answered stands in for the value."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = fields
        self.problems: list[str] = []

    def done(self) -> None:
        if self.problems:
            raise InvalidTask(self.problems)

    def currency(self) -> tuple[str, int]:
        code = self.fields.get("currency")
        try:
            return str(code), minor_units(code if isinstance(code, str) else "")
        except ValueError as error:
            self.problems.append(f"'currency': {error}")
            return "XXX", 2

    def number(self, value: object, what: str, digits: int = 6) -> Decimal:
        try:
            return number(value, what, digits=digits)
        except ValueError as error:
            self.problems.append(str(error))
            return Decimal(1)

    def text(self, name: str, *, required: bool, value: object = None) -> str:
        value = self.fields.get(name) if value is None else value
        if value is None and not required:
            return ""
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        good = isinstance(value, str) and value == value.strip() and len(value) <= MAX_TEXT and "\n" not in value
        if not isinstance(value, str) or not good or (required and not value):
            self.problems.append(f"'{name}' must be one line of text, at most {MAX_TEXT} characters")
            return ""
        if visible.has_hidden(value):
            self.problems.append(f"'{name}' has invisible or direction-changing characters")
        return value

    def party(self, name: str) -> str:
        return self.text(name, required=True)

    def day(self, name: str, default: date | None) -> date:
        value = self.fields.get(name)
        if value is None and default is not None:
            return default
        try:
            return value if type(value) is date else date.fromisoformat(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            self.problems.append(f"'{name}' must be a date like 2026-12-31")
            return default or date.max

    def lines(self) -> tuple[Line, ...]:
        value = self.fields.get("lines")
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_LINES:
            self.problems.append(f"'lines' must be a list of 1 to {MAX_LINES} lines")
            return ()
        return tuple(self._line(entry, f"line {at}") for at, entry in enumerate(value, 1))

    def _line(self, entry: object, where: str) -> Line:
        if not isinstance(entry, Mapping):
            self.problems.append(f"{where} must have a description and a price")
            return Line("", Decimal(1), Decimal(1))
        strange = sorted(str(key) for key in entry if key not in _LINE_KEYS)
        if strange:
            self.problems.append(f"{where} has {', '.join(strange)}; a line knows {', '.join(_LINE_KEYS)}")
        quantity = self.number(entry.get("quantity", 1), f"{where}: 'quantity'")
        if quantity <= 0:
            self.problems.append(f"{where}: 'quantity' must be more than zero")
        tax = None if entry.get("tax") is None else self.number(entry["tax"], f"{where}: 'tax'")
        if tax is not None and not 0 <= tax <= 100:
            self.problems.append(f"{where}: 'tax' must be a percentage from 0 to 100")
        return Line(
            description=self.text(f"{where}: description", required=True, value=entry.get("description")),
            quantity=quantity,
            price=self.number(entry.get("price"), f"{where}: 'price'"),
            tax=tax,
            account=self.text(f"{where}: account", required=False, value=entry.get("account")),
        )


def shown_invoice(invoice: Invoice, mark: str) -> tuple[tuple[str, str], ...]:
    """An invoice as (label, text) lines for a human: everything that will stand in the books."""
    totals, currency = invoice.totals, invoice.currency
    total = shown(totals.total, currency)
    if totals.total_globally != totals.total:
        total += f" (or {shown(totals.total_globally, currency)}, where the company rounds taxes globally)"
    whom = "Customer" if invoice.kind == CUSTOMER else "Vendor"
    lines = [
        (f"Line {at}", f"{line.quantity:f} × {shown(line.price, currency)}, "
         + ("no tax" if line.tax is None else f"plus {line.tax:f} % tax")
         + (f", account {line.account}" if line.account else "") + f": {line.description}")
        for at, line in enumerate(invoice.lines, 1)
    ]  # fmt: skip
    return (
        (whom, invoice.partner),
        *lines,
        ("Net", shown(totals.untaxed, currency)),
        ("Total", total),
        ("Date", invoice.day.isoformat()),
        ("Due", invoice.due.isoformat()),
        *((("Their reference", invoice.reference),) if invoice.reference else ()),
        *((("Odoo draft", str(invoice.draft_id)),) if invoice.draft_id else ()),
        ("Our reference", mark),
    )


def shown_payment(payment: Payment, mark: str) -> tuple[tuple[str, str], ...]:
    """A payment as (label, text) lines for a human."""
    return (
        ("Payee", payment.payee),
        ("Amount", shown(payment.amount, payment.currency)),
        ("Reference", payment.reference),
        *((("IBAN", payment.iban),) if payment.iban else ()),
        *((("BIC", payment.bic),) if payment.bic else ()),
        ("Date", payment.day.isoformat()),
        ("Our reference", mark),
    )
