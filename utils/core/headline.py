"""What a request is about, in one line of a list. Pure.

Of a payment or an invoice that is what it comes to: its text goes nowhere, so its first line says nothing.
"""

from __future__ import annotations

from datetime import date

from utils.core import books
from utils.core.task import ApprovalRequest, InvalidTask


def headline(request: ApprovalRequest) -> str:
    """The subject, or the text's first line; of money `119.00 EUR, R-2026-17, NL91…`, and "" where it can't be used."""
    if request.action in ("payment", "invoice"):
        try:
            return ", ".join(filter(None, _money(request)))
        except InvalidTask:
            return ""
    return str(request.fields.get("subject") or request.draft.strip().partition("\n")[0])


def _money(request: ApprovalRequest) -> tuple[str, ...]:
    """Amount, the other side's reference, and where it goes, or by when it is due. Raises `InvalidTask`."""
    if request.action == "payment":
        payment = books.payment_from(request.fields, date.min)
        return books.shown(payment.amount, payment.currency), payment.reference, payment.iban
    invoice = books.invoice_from(request.fields, date.min)
    total = books.shown(invoice.totals.total, invoice.currency)
    return total, invoice.reference, f"due {invoice.due.isoformat()}"
