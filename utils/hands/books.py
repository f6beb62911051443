"""Accounting: invoices and vendor bills posted in Odoo; payments registered there, or written for the bank.

An invoice is made as a draft and then posted: the draft counts for nothing, posting is the one committing call, and our
mark in the draft tells afterwards what became of it. A payment is never tried again, and after a lost answer always a
matter for the human (`executor.SETTLED_BY_HAND`); `find` brings the evidence.

Odoo goes on with a request whose caller has given up. So what is not there says nothing until `SETTLED` has passed
since Odoo was asked, which the journal keeps with what was made ready.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

from utils.adapters import sepa
from utils.adapters.odoo_books import OdooBooks
from utils.core import books
from utils.core.acting import Absence, Order, Plan, Receipt
from utils.hands.marks import Mark, read_mark
from utils.ports import AdapterError

#: Odoo ends what takes longer than 120 s (`--limit-time-real`, its default), once a worker has begun it; it may have
#: waited for one before that.
SETTLED = timedelta(minutes=5)


class InvoiceHand:
    """Posts a customer's invoice or, of kind `expense`, a vendor's bill."""

    provider = "odoo"

    def __init__(self, open_books: Callable[[], OdooBooks], now: Callable[[], datetime]) -> None:
        """`open_books` is asked when they are first needed; raises `AdapterError` where no account is set. `now`: the
        clock."""
        self._books = open_books
        self._now = now

    def plan(self, order: Order) -> Plan:
        """Its lines and sums. Raises `InvalidTask`, and `AdapterError` where this node has no Odoo."""
        self._books()
        mark = order.reference or books.reference(order.action_id)
        return Plan(mark, shown=books.shown_invoice(self._invoice(order), mark))

    def act(self, order: Order, plan: Plan, prepared: Callable[[str], None]) -> Receipt:
        """Make the draft, see that it says what was approved, post it."""
        ledger = self._books()
        entry = ledger.posted(plan.reference)
        if entry is None:
            draft = ledger.draft(self._invoice(order), plan.reference)
            prepared(str(Mark(self._now(), f"{draft.model},{draft.id}")))
            entry = ledger.post(draft, plan.reference)
        return Receipt(self.provider, entry.number or f"{entry.model},{entry.id}", entry.detail)

    def find(self, order: Order, plan: Plan) -> Receipt | Absence:
        """A move with our mark that was ever posted proves the act; that there is none proves in time that it did not
        happen, for only a draft that bears it is ever posted."""
        now = self._now()
        entry = self._books().posted(plan.reference)
        if entry is None:
            return _absence(order, now, Absence.PROVEN)
        return Receipt(self.provider, entry.number or f"{entry.model},{entry.id}", entry.detail)

    @staticmethod
    def _invoice(order: Order) -> books.Invoice:
        return books.invoice_from(order.request.fields, _day(order))


class OdooPaymentHand:
    """Registers a payment to a vendor in Odoo, on the bill where one is open, else on account."""

    provider = "odoo"

    def __init__(self, open_books: Callable[[], OdooBooks], now: Callable[[], datetime]) -> None:
        """As for `InvoiceHand`."""
        self._books = open_books
        self._now = now

    def plan(self, order: Order) -> Plan:
        """Raises `InvalidTask`, and `AdapterError` where this node has no Odoo."""
        self._books()
        mark = order.reference or books.reference(order.action_id)
        return Plan(mark, shown=books.shown_payment(_payment(order), mark))

    def act(self, order: Order, plan: Plan, prepared: Callable[[str], None]) -> Receipt:
        """One call makes it count; whatever goes wrong before is certain, and not tried again."""
        ledger = self._books()
        ready = ledger.prepare_payment(_payment(order), plan.reference)
        prepared(str(Mark(self._now(), ready.prepared)))
        entry = ledger.pay(ready, plan.reference)
        for_what = f"for bill {ready.bill}" if ready.bill else "on account: no open bill has this reference"
        return Receipt(self.provider, entry.number or f"{entry.model},{entry.id}", f"{entry.detail}, {for_what}")

    def find(self, order: Order, plan: Plan) -> Receipt | Absence:
        """What Odoo has with our mark, for the human: who is told that there is nothing may pay again."""
        now = self._now()
        found = self._books().payments(plan.reference)
        if not found or found[0].state == "draft":  # which counts for nothing, unless what makes it count is late
            absence = _absence(order, now, Absence.OPEN)
            if absence is Absence.NOT_YET or not found:
                return absence
        return Receipt(self.provider, found[0].number or f"{found[0].model},{found[0].id}", found[0].detail)


class SepaPaymentHand:
    """Writes a credit transfer for the bank into a folder; a human uploads it there."""

    provider = "sepa"

    def __init__(self, folder: Path, debtor: sepa.Debtor, schema: str) -> None:
        self._folder = folder
        self._debtor = debtor
        self._schema = schema

    def plan(self, order: Order) -> Plan:
        """Shows the payee and the reference in the letters that the bank gets. Raises `InvalidTask`."""
        if not self._debtor.iban:
            raise AdapterError("set SEPA_NAME, SEPA_IBAN and SEPA_BIC to pay from", retry=False)
        mark = order.reference or books.reference(order.action_id)
        self._data(order, mark)
        payment = _payment(order)
        shown = (
            *books.shown_payment(payment, mark),
            ("At the bank", f"{sepa.bank_text(payment.payee)}: {sepa.bank_text(payment.reference)}"),
            ("From", self._debtor.iban),
        )
        return Plan(mark, shown=shown)

    def act(self, order: Order, plan: Plan, prepared: Callable[[str], None]) -> Receipt:
        """The file is there complete or not at all."""
        name = sepa.write(self._folder, plan.reference, self._data(order, plan.reference))
        where = f"{self._folder.name}/{name} (SEPA_PATH on Local)"
        return Receipt(self.provider, plan.reference, f"written to {where}: upload it to the bank")

    def find(self, order: Order, plan: Plan) -> Receipt | Absence:
        """Whether the file is there, for the human: it may be at the bank by now."""
        name = sepa.written(self._folder, plan.reference)
        return Receipt(self.provider, plan.reference, f"{name} is there") if name else Absence.OPEN

    def _data(self, order: Order, mark: str) -> bytes:
        return sepa.transfer(_payment(order), mark, self._debtor, order.approved_at, self._schema)


def _absence(order: Order, now: datetime, in_the_end: Absence) -> Absence:
    """What it means that nothing was there at `now`. By a clock that was put back since, nobody can tell."""
    asked = read_mark(order.prepared)
    if asked is None:  # the call that commits comes after the mark
        return in_the_end
    if now < asked.at:
        return Absence.OPEN
    return in_the_end if now - asked.at >= SETTLED else Absence.NOT_YET


def _payment(order: Order) -> books.Payment:
    return books.payment_from(order.request.fields, _day(order))


def _day(order: Order) -> date:
    return books.local_day(order.approved_at)
