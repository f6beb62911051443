"""The books in Odoo, by what its own forms do: drafts of `account.move`, posting, payments, and three reports.

Our mark (`core.books.reference`) stands in `invoice_origin` of a move and in the memo of a payment, so that both can be
found again. A draft has no effect outside; the one committing call of an invoice is `action_post`, of a payment
`action_create_payments` (on a bill) or `action_post` (on account). Works the same on Odoo 16 to 19.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar

from utils.adapters.odoo import Odoo
from utils.core.books import CUSTOMER, MARK, Invoice, Payment, minor_units, rounded, shown
from utils.ports import AdapterError, AuthRefused, OutcomeUnknown

_TYPES = {CUSTOMER: "out_invoice", "expense": "in_invoice"}
_TAX_USES = {CUSTOMER: "sale", "expense": "purchase"}
_MOVE_FIELDS = (
    "name", "state", "posted_before", "move_type", "partner_id", "currency_id", "amount_untaxed", "amount_total",
    "amount_residual", "payment_state", "invoice_date", "invoice_date_due", "invoice_origin", "ref", "invoice_line_ids",
)  # fmt: skip
_LINE_FIELDS = ("name", "quantity", "price_unit", "tax_ids", "account_id", "display_type", "sequence")
_PAGE = 1000
_POSTERS = "account.group_account_invoice"
T = TypeVar("T")
_MOVE, _PAYMENT, _REGISTER = "account.move", "account.payment", "account.payment.register"


@dataclass(frozen=True)
class Partner:
    """A customer or vendor."""

    id: int
    name: str
    email: str
    vat: str


@dataclass(frozen=True)
class Entry:
    """An invoice, a bill or a payment as it stands in Odoo. Amounts are in `currency`."""

    model: str
    id: int
    number: str  # empty as long as it has none
    state: str
    partner: str
    amount: Decimal
    currency: str
    open: Decimal = Decimal(0)
    day: str = ""
    due: str = ""
    reference: str = ""

    @property
    def detail(self) -> str:
        """What a receipt shows of it."""
        return f"{self.model} {self.id}: {self.state}, {shown(self.amount, self.currency)}, {self.partner}"


@dataclass(frozen=True)
class Ready:
    """A payment made ready; nothing of it counts yet. `bill`: the number of the bill it pays, empty: on account."""

    model: str
    id: int
    bill: str
    context: Mapping[str, Any]

    @property
    def prepared(self) -> str:
        """Its name for the journal."""
        return f"{self.model},{self.id}"


@dataclass(frozen=True)
class MonthSummary:
    """A month of posted invoices and bills, without tax, in the company's currency; what is open now, with tax."""

    currency: str
    invoiced: Decimal
    expenses: Decimal
    invoices: int
    bills: int
    receivable: Decimal
    payable: Decimal


class OdooBooks:
    """The books of the company that our user works for. Methods raise `AdapterError` (`AuthRefused`), and those that
    commit `OutcomeUnknown`."""

    def __init__(self, odoo: Odoo, *, payment_journal: str = "", may_post: bool = True) -> None:
        """`payment_journal`: code of the bank journal that pays; empty: the only one. `may_post=False`: refuse to work
        with an Odoo user who could post, so that a stolen key can't either."""
        self._odoo = odoo
        self._payment_journal = payment_journal
        self._may_post = may_post
        self._company: dict[str, Any] | None = None

    # Reading

    def check(self) -> str:
        """Log in and look at the company: `Odoo 19.0, books in EUR`."""
        currency = _name(self._company_row()["currency_id"])
        return f"Odoo {self._odoo.version().text}, books in {currency}"

    def find_partners(self, text: str, limit: int) -> list[Partner]:
        """Partners whose name, e-mail address or tax number contains `text`."""
        like = _escaped(text)
        domain = ["|", "|", ["name", "ilike", like], ["email", "ilike", like], ["vat", "ilike", like]]
        return [_partner(row) for row in self._search("res.partner", domain, _PARTNER_FIELDS, "name, id", limit)]

    def open_invoices(self, kind: str, limit: int) -> list[Entry]:
        """Posted invoices (`customer`) or bills (`expense`) that are not paid in full, the oldest due first."""
        domain = [["move_type", "=", _TYPES[kind]], ["state", "=", "posted"], *_UNPAID]
        rows = self._search(_MOVE, domain, _MOVE_FIELDS, "invoice_date_due, id", limit)
        return [self._entry(row) for row in rows]

    def month_summary(self, year: int, month: int) -> MonthSummary:
        """What was invoiced and spent in a month (by invoice date), and what is open now."""
        currency = str(self._company_row()["currency_id"][1])
        first, last = date(year, month, 1), date(year, month, calendar.monthrange(year, month)[1])
        in_month = [["invoice_date", ">=", first.isoformat()], ["invoice_date", "<=", last.isoformat()]]

        def add(kinds: Sequence[str], domain: Sequence[Any], field: str) -> tuple[Decimal, int]:
            full = [["move_type", "in", list(kinds)], ["state", "=", "posted"], *domain]
            rows = list(self._pages(_MOVE, full, (field,)))
            return sum((_money(row[field], currency) for row in rows), _money(0, currency)), len(rows)

        sales, purchases = ("out_invoice", "out_refund", "out_receipt"), ("in_invoice", "in_refund", "in_receipt")
        invoiced, invoices = add(sales, in_month, "amount_untaxed_signed")
        expenses, bills = add(purchases, in_month, "amount_untaxed_signed")
        receivable, _ = add(sales, _UNPAID, "amount_residual_signed")
        payable, _ = add(purchases, _UNPAID, "amount_residual_signed")
        return MonthSummary(currency, invoiced, -expenses, invoices, bills, receivable, -payable)

    def posted(self, mark: str) -> Entry | None:
        """The move with our mark that was posted, even if it was taken back since."""
        rows = [row for row in self._marked(mark) if row["state"] == "posted" or row["posted_before"]]
        return self._entry(rows[0]) if rows else None

    def payments(self, mark: str) -> list[Entry]:
        """Payments with our mark, whatever their state."""
        memo = self._memo()
        fields = ("name", "state", "partner_id", "amount", "currency_id", "date", memo)
        rows = self._search(_PAYMENT, [[memo, "ilike", _escaped(mark)]], fields, "id", 10)
        return [
            Entry(
                _PAYMENT, row["id"], _text(row["name"]), row["state"], _name(row["partner_id"]),
                _money(row["amount"], _name(row["currency_id"])), _name(row["currency_id"]), day=_text(row["date"]),
                reference=_text(row[memo]),
            )
            for row in rows
        ]  # fmt: skip

    # Invoices

    def draft(self, invoice: Invoice, mark: str) -> Entry:
        """The draft of this invoice: the one it names, the one with our mark, or a new one. It says exactly what
        `invoice` says, else `AdapterError`."""
        values = self._values(invoice, mark)
        draft_id = invoice.draft_id or next((row["id"] for row in self._marked(mark) if row["state"] == "draft"), 0)
        if not draft_id:
            (draft_id,) = self._odoo.call(_MOVE, "create", vals_list=[values])
        row = self._read(_MOVE, draft_id, _MOVE_FIELDS)
        if row is None or row["state"] != "draft":
            raise AdapterError(f"Odoo has no draft {draft_id}", retry=False)
        if different := self._differences(row, invoice, values):
            raise AdapterError(f"draft {draft_id} in Odoo is not what was approved: {different}", retry=False)
        source = _text(row["invoice_origin"])
        if mark not in source:
            kept = "" if source.startswith(MARK) else source  # of a draft that came out of a sales order, say
            self._odoo.call(_MOVE, "write", [draft_id], vals={"invoice_origin": ", ".join(filter(None, [kept, mark]))})
        return self._entry(row)

    def post(self, draft: Entry, mark: str) -> Entry:
        """Post a draft. Raises `OutcomeUnknown` where the answer is lost."""
        self._only_where_posting_is_allowed()
        try:
            self._odoo.call(_MOVE, "action_post", [draft.id], acting=True)
        except AuthRefused:
            raise
        except AdapterError as refused:
            # An earlier call may have been slower than its time-out: then this one is refused because it worked.
            if entry := self._after(lambda: self.posted(mark), str(refused)):
                return entry
            raise
        entry = self._after(lambda: self.posted(mark), "Odoo took the posting, but can't be asked for its number")
        if entry is None:
            raise AdapterError(f"Odoo did not post draft {draft.id}: it wants something confirmed there", retry=False)
        return entry

    # Payments

    def prepare_payment(self, payment: Payment, mark: str) -> Ready:
        """Make a payment ready. Pays the payee's open bill of that reference where there is one, else on account."""
        if self.payments(mark):
            raise OutcomeUnknown(f"Odoo has a payment with our reference {mark} already")
        partner = self._one_partner(payment.payee)
        currency = self._currency(payment.currency)
        values: dict[str, Any] = {
            "amount": payment.amount, "currency_id": currency, "journal_id": self._journal(),
            **self._bank_account(payment, partner),
        }  # fmt: skip
        memo = f"{payment.reference} ({mark})"
        bill = self._bill(payment, partner)
        if bill is None:
            values |= {"payment_type": "outbound", "partner_type": "supplier", "partner_id": partner["id"]}
            values |= {"date": payment.day.isoformat(), self._memo(): memo}
            (identifier,) = self._odoo.call(_PAYMENT, "create", vals_list=[values])
            ready = Ready(_PAYMENT, identifier, "", {})
        else:
            values |= {"payment_date": payment.day.isoformat(), "communication": memo}
            values |= {"payment_difference_handling": "open"}
            context = {"active_model": _MOVE, "active_ids": [bill["id"]]}
            (identifier,) = self._odoo.call(_REGISTER, "create", vals_list=[values], context=context)
            ready = Ready(_REGISTER, identifier, _text(bill["name"]), context)
        row = self._read(ready.model, ready.id, ("amount", "currency_id", "partner_id", "payment_type")) or {}
        made = (row.get("amount"), _id(row.get("currency_id")), row.get("payment_type"))
        if made != (payment.amount, currency, "outbound"):
            raise AdapterError(f"Odoo made another payment of it than was approved: {made}", retry=False)
        return ready

    def pay(self, ready: Ready, mark: str) -> Entry:
        """Let a payment that was made ready count. Raises `OutcomeUnknown` where the answer is lost."""
        self._only_where_posting_is_allowed()
        method = "action_create_payments" if ready.model == _REGISTER else "action_post"
        self._odoo.call(ready.model, method, [ready.id], acting=True, context=dict(ready.context))
        found = self._after(lambda: self.payments(mark), "Odoo took the payment, but can't be asked for its number")
        if not found or found[0].state in ("draft", "canceled", "cancel", "rejected"):
            raise OutcomeUnknown("Odoo said that it registered the payment, but does not have it")
        return found[0]

    # Inside

    def _only_where_posting_is_allowed(self) -> None:
        if not self._may_post:
            raise AdapterError("this node never posts", retry=False)

    @staticmethod
    def _after(look: Callable[[], T], words: str) -> T:
        """Look after a committing call: where that fails, nobody can know."""
        try:
            return look()
        except AdapterError as error:
            raise OutcomeUnknown(f"{words} ({error})") from None

    def _values(self, invoice: Invoice, mark: str) -> dict[str, Any]:
        accounts = {line.account: self._account(line.account) for line in invoice.lines if line.account}
        taxes = {line.tax: self._tax(line.tax, invoice.kind) for line in invoice.lines if line.tax is not None}
        lines = [
            {
                "name": line.description, "quantity": line.quantity, "price_unit": line.price,
                "tax_ids": [[6, 0, [] if line.tax is None else [taxes[line.tax]]]],
                **({"account_id": accounts[line.account]} if line.account else {}),
            }
            for line in invoice.lines
        ]  # fmt: skip
        return {
            "move_type": _TYPES[invoice.kind],
            "partner_id": self._one_partner(invoice.partner)["id"],
            "currency_id": self._currency(invoice.currency),
            "invoice_date": invoice.day.isoformat(),
            "invoice_date_due": invoice.due.isoformat(),
            "invoice_payment_term_id": False,
            "invoice_origin": mark,
            "ref": invoice.reference or False,
            "invoice_line_ids": [[0, 0, line] for line in lines],
        }

    def _differences(self, row: Mapping[str, Any], invoice: Invoice, values: Mapping[str, Any]) -> str:
        """In what a draft is another than was approved; empty: in nothing."""
        totals, currency = invoice.totals, invoice.currency
        names = ("move_type", "partner_id", "currency_id", "invoice_date", "invoice_date_due", "ref")
        found = [name for name in names if (_id(row[name]) or False) != values[name]]
        made = [
            {"name": line["name"], "quantity": line["quantity"], "price_unit": line["price_unit"],
             "tax_ids": [[6, 0, line["tax_ids"]]], "account_id": _id(line["account_id"])}
            for line in self._lines(row["invoice_line_ids"])
        ]  # fmt: skip
        wanted = [line for _, _, line in values["invoice_line_ids"]]
        if len(made) != len(wanted) or any(
            any(is_one[name] != value for name, value in wanted_one.items())
            for is_one, wanted_one in zip(made, wanted, strict=True)
        ):
            found.append("its lines")
        untaxed, total = _money(row["amount_untaxed"], currency), _money(row["amount_total"], currency)
        if untaxed != totals.untaxed or total not in (totals.total, totals.total_globally):
            found.append(f"its total, {shown(total, currency)}")
        return ", ".join(found)

    def _lines(self, ids: Sequence[int]) -> list[dict[str, Any]]:
        rows = self._odoo.call("account.move.line", "read", ids, fields=list(_LINE_FIELDS)) if ids else []
        return sorted(rows, key=lambda row: (row["sequence"], row["id"]))

    def _marked(self, mark: str) -> list[dict[str, Any]]:
        return self._search(_MOVE, [["invoice_origin", "ilike", _escaped(mark)]], _MOVE_FIELDS, "id", 10)

    def _bill(self, payment: Payment, partner: Mapping[str, Any]) -> dict[str, Any] | None:
        domain = [
            ["move_type", "=", "in_invoice"], ["state", "=", "posted"], ["ref", "=", payment.reference],
            ["commercial_partner_id", "=", _id(partner["commercial_partner_id"])],
        ]  # fmt: skip
        rows = self._search(_MOVE, domain, _MOVE_FIELDS, "id", 2)
        if not rows:
            return None
        if len(rows) > 1:
            raise AdapterError(f"Odoo has more than one bill {payment.reference!r} of this vendor", retry=False)
        bill = self._entry(rows[0])
        if bill.currency != payment.currency:
            raise AdapterError(f"bill {bill.number} is in {bill.currency}, not in {payment.currency}", retry=False)
        if bill.open < payment.amount:
            left = shown(bill.open, bill.currency) if bill.open else "nothing"
            raise AdapterError(f"of bill {bill.number} {left} is open, less than is to be paid", retry=False)
        return rows[0]

    def _bank_account(self, payment: Payment, partner: Mapping[str, Any]) -> dict[str, int]:
        if not payment.iban:
            return {}
        owner = ["partner_id", "=", _id(partner["commercial_partner_id"])]
        domain = [owner, ["sanitized_acc_number", "=", payment.iban]]
        rows = self._search("res.partner.bank", domain, ("id",), "id", 1)
        if not rows:
            raise AdapterError(f"{partner['name']} has no bank account {payment.iban} in Odoo", retry=False)
        return {"partner_bank_id": rows[0]["id"]}

    def _one_partner(self, text: str) -> dict[str, Any]:
        term: list[Any] = ["name", "=", text]
        if text.isdecimal():
            term = ["id", "=", int(text)]
        elif "@" in text:
            term = ["email", "=ilike", _escaped(text)]
        rows = self._search("res.partner", [term], _PARTNER_FIELDS, "id", 5)
        if not rows:
            raise AdapterError(f"Odoo has no partner {text!r}: create it there", retry=False)
        if len(rows) > 1:
            ids = ", ".join(str(row["id"]) for row in rows)
            raise AdapterError(f"Odoo has more than one partner {text!r}: name one by its number ({ids})", retry=False)
        return rows[0]

    def _currency(self, code: str) -> int:
        rows = self._search("res.currency", [["name", "=", code]], ("decimal_places",), "id", 1)
        if not rows:
            raise AdapterError(f"the currency {code} is not active in Odoo", retry=False)
        if rows[0]["decimal_places"] != minor_units(code):
            raise AdapterError(f"Odoo counts {code} with {rows[0]['decimal_places']} decimals", retry=False)
        return int(rows[0]["id"])

    def _tax(self, rate: Decimal, kind: str) -> int:
        """The company's usual tax where it has this rate, else the only one that has."""
        domain = [["type_tax_use", "=", _TAX_USES[kind]], ["amount_type", "=", "percent"], ["amount", "=", rate]]
        rows = self._search("account.tax", domain, ("name", "price_include"), "sequence, id", 20)
        ids = [row["id"] for row in rows if not row["price_include"]]
        usual = _id(self._company_row()[f"account_{_TAX_USES[kind]}_tax_id"])
        if usual in ids:
            return int(usual)
        if len(ids) != 1:
            many = f"more than one {_TAX_USES[kind]} tax" if ids else f"no {_TAX_USES[kind]} tax"
            raise AdapterError(f"Odoo has {many} of {rate:f} % on top of the price", retry=False)
        return int(ids[0])

    def _account(self, code: str) -> int:
        rows = self._search("account.account", [["code", "=", code]], ("code",), "id", 2)
        if len(rows) != 1:
            raise AdapterError(f"Odoo has no account {code}", retry=False)
        return int(rows[0]["id"])

    def _journal(self) -> int:
        domain: list[Any] = [["type", "=", "bank"]]
        if self._payment_journal:
            domain.append(["code", "=", self._payment_journal])
        rows = self._search("account.journal", domain, ("code",), "id", 20)
        if len(rows) != 1:
            codes = ", ".join(row["code"] for row in rows) or "none"
            raise AdapterError(f"set ODOO_PAYMENT_JOURNAL to the bank journal that pays (found: {codes})", retry=False)
        return int(rows[0]["id"])

    def _memo(self) -> str:
        return "memo" if self._odoo.version().major >= 18 else "ref"

    def _company_row(self) -> dict[str, Any]:
        """Our company, once our user was looked at."""
        if self._company is None:
            uid = self._odoo.login()
            if not self._may_post and self._is_poster(uid):
                raise AdapterError("this Odoo user may post: a draft-only node needs one who may not", retry=False)
            user = self._odoo.call("res.users", "read", [uid], fields=["company_id"])[0]
            fields = ["currency_id", "account_sale_tax_id", "account_purchase_tax_id"]
            self._company = self._odoo.call("res.company", "read", [_id(user["company_id"])], fields=fields)[0]
        return self._company

    def _is_poster(self, uid: int) -> bool:
        ids = [uid] if self._odoo.version().major >= 18 else None  # a method of the model up to 17
        return bool(self._odoo.call("res.users", "has_group", ids, group_ext_id=_POSTERS))

    def _search(
        self, model: str, domain: Sequence[Any], fields: Sequence[str], order: str, limit: int, offset: int = 0
    ) -> list[dict[str, Any]]:
        self._company_row()
        found: list[dict[str, Any]] = self._odoo.call(
            model, "search_read", domain=list(domain), fields=list(fields), order=order, limit=limit, offset=offset
        )
        return found

    def _pages(self, model: str, domain: Sequence[Any], fields: Sequence[str]) -> Iterator[dict[str, Any]]:
        offset = 0
        while rows := self._search(model, domain, fields, "id", _PAGE, offset):
            yield from rows
            offset += len(rows)

    def _read(self, model: str, identifier: int, fields: Sequence[str]) -> dict[str, Any] | None:
        rows = self._odoo.call(model, "read", [identifier], fields=list(fields))
        return rows[0] if rows else None

    def _entry(self, row: Mapping[str, Any]) -> Entry:
        currency = _name(row["currency_id"])
        return Entry(
            _MOVE, row["id"], _text(row["name"]).strip("/"), row["state"], _name(row["partner_id"]),
            _money(row["amount_total"], currency), currency, open=_money(row["amount_residual"], currency),
            day=_text(row["invoice_date"]), due=_text(row["invoice_date_due"]), reference=_text(row["ref"]),
        )  # fmt: skip


_PARTNER_FIELDS = ("name", "email", "vat", "commercial_partner_id")
_UNPAID = (["payment_state", "in", ["not_paid", "partial"]],)


def _partner(row: Mapping[str, Any]) -> Partner:
    return Partner(row["id"], _text(row["name"]), _text(row["email"]), _text(row["vat"]))


def _money(value: Any, currency: str) -> Decimal:
    return rounded(Decimal(value or 0), minor_units(currency))


def _id(value: Any) -> Any:
    """The id of a many2one, `[id, name]`; anything else as it is."""
    return value[0] if isinstance(value, list) else value


def _name(value: Any) -> str:
    return str(value[1]) if isinstance(value, list) else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _escaped(text: str) -> str:
    """Text for `ilike` that means itself."""
    return text.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
