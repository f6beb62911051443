"""Accounting in Odoo as an MCP server on standard input and output.

Posting, recording an expense and paying take the id of an approved action and nothing else (`mcp_servers.acting`), and
refuse in draft-only mode. Reading is allowed there too, and so are drafts: they count for nothing until posted.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable
from datetime import UTC
from typing import Annotated, Any, Literal, TypeVar

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from mcp_servers.acting import READS, Desk, Shown, serve
from utils.adapters.odoo_books import Entry, OdooBooks
from utils.core import books
from utils.core.task import InvalidTask
from utils.ports import AdapterError

ACTIONS = {
    "post_invoice": "Make and post the approved customer invoice of this action id in Odoo.",
    "record_expense": "Record and post the approved vendor bill (an invoice of the kind 'expense') of this action id.",
    "register_payment": "Register the approved payment of this action id in Odoo, or write it as a file for the bank.",
}
_DRAFTS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
_ASKS = READS.model_copy(update={"open_world_hint": True})
_DECIMAL = r"^-?\d{1,12}(\.\d{1,6})?$"
Limit = Annotated[int, Field(ge=1, le=200, description="how many at most")]
T = TypeVar("T")


class InvoiceLine(BaseModel, extra="forbid"):
    """One line of an invoice."""

    description: str = Field(min_length=1, max_length=books.MAX_TEXT)
    price: str = Field(pattern=_DECIMAL, description="of one unit, without tax, as '119.00'")
    quantity: str = Field(default="1", pattern=_DECIMAL)
    tax: str | None = Field(default=None, pattern=_DECIMAL, description="per cent on top, as '19'; none: no tax")
    account: str | None = Field(
        default=None, description="code of the account it is booked to; none: Odoo's own choice"
    )


class Draft(BaseModel):
    """What `create_invoice` answers."""

    created: bool = Field(description="whether it lies in Odoo; false in a dry run")
    draft_id: int | None = Field(
        default=None, description="its number in Odoo, for the `draft_id` of an invoice request"
    )
    date: str = Field(description="of the invoice, for the `date` of that request")
    total: str = Field(description="with tax, exact")
    currency: str
    shown: list[Shown] = Field(description="what it is, for people")


class PartnerFound(BaseModel):
    """A customer or vendor in Odoo."""

    id: int
    name: str
    email: str
    vat: str


class OpenInvoice(BaseModel):
    """A posted invoice or bill that is not paid in full. Amounts are exact decimals."""

    id: int
    number: str
    partner: str
    total: str
    open: str
    currency: str
    date: str
    due: str
    reference: str


class MonthSummary(BaseModel):
    """A month of posted invoices and bills. Amounts are exact decimals in the company's currency."""

    month: str
    currency: str
    invoiced: str = Field(description="invoices less credit notes, without tax")
    expenses: str = Field(description="bills less refunds, without tax")
    result: str = Field(description="invoiced less expenses")
    invoices: int
    bills: int
    receivable: str = Field(description="what customers owe as of now, with tax")
    payable: str = Field(description="what is owed to vendors as of now, with tax")


class OdooServer:
    """The tools that read and draft, over one node's services; those that act are the desk's."""

    def __init__(self, desk: Desk) -> None:
        self._services = desk.services

    def create_invoice(
        self,
        partner: Annotated[str, Field(description="name, e-mail address, or number in Odoo")],
        lines: Annotated[list[InvoiceLine], Field(min_length=1, max_length=books.MAX_LINES)],
        currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217, as EUR")],
        due_date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")],
        kind: Annotated[Literal["customer", "expense"], Field(description="customer: an invoice; expense: a bill")] = (
            "customer"
        ),
        reference: Annotated[str | None, Field(description="the other side's; a bill needs its number")] = None,
        dry_run: bool = False,
    ) -> Draft:
        """Make a draft invoice in Odoo; it counts for nothing until posted. With dry_run, only check it."""
        fields: dict[str, Any] = {
            "kind": kind, "partner": partner, "currency": currency, "due_date": due_date,
            "lines": [line.model_dump(exclude_none=True) for line in lines],
        }  # fmt: skip
        if reference:
            fields["reference"] = reference
        try:
            invoice = books.invoice_from(fields, self._services.clock.now().astimezone(UTC).date())
        except InvalidTask as error:
            raise ToolError(f"no draft was made: {error}") from None
        mark = books.reference(f"draft-{hashlib.sha256(repr(invoice).encode()).hexdigest()[:20]}")
        draft: Entry | None = None
        if not (dry_run or self._services.settings.dry_run):
            draft = self._ask(lambda ledger: ledger.draft(invoice, mark), "no draft was made")
        return Draft(
            created=draft is not None,
            draft_id=draft.id if draft else None,
            date=invoice.day.isoformat(),
            total=f"{draft.amount if draft else invoice.totals.total:f}",
            currency=currency,
            shown=[Shown(label=label, text=text) for label, text in books.shown_invoice(invoice, mark)],
        )

    def find_partners(
        self,
        text: Annotated[str, Field(min_length=2, description="part of a name, e-mail or tax number")],
        limit: Limit = 20,
    ) -> list[PartnerFound]:
        """Customers and vendors whose name, e-mail address or tax number contains a text."""
        found = self._ask(lambda ledger: ledger.find_partners(text, limit), "Odoo was not asked")
        return [PartnerFound(id=one.id, name=one.name, email=one.email, vat=one.vat) for one in found]

    def open_invoices(
        self,
        kind: Annotated[Literal["customer", "expense"], Field(description="customer: they owe us; expense: we owe")] = (
            "customer"
        ),
        limit: Limit = 50,
    ) -> list[OpenInvoice]:
        """Posted invoices or bills that are not paid in full, the oldest due first."""
        found = self._ask(lambda ledger: ledger.open_invoices(kind, limit), "Odoo was not asked")
        return [
            OpenInvoice(
                id=one.id, number=one.number, partner=one.partner, total=f"{one.amount:f}", open=f"{one.open:f}",
                currency=one.currency, date=one.day, due=one.due, reference=one.reference,
            )
            for one in found
        ]  # fmt: skip

    def month_summary(
        self, month: Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$", description="as 2026-11")]
    ) -> MonthSummary:
        """What was invoiced and spent in a month, and what is open now."""
        match = re.fullmatch(r"(\d{4})-(\d{2})", month)
        if match is None or int(match[1]) == 0:
            raise ToolError(f"{month!r} is no month like 2026-11")
        year, number = int(match[1]), int(match[2])
        found = self._ask(lambda ledger: ledger.month_summary(year, number), "Odoo was not asked")
        return MonthSummary(
            month=month, currency=found.currency, invoiced=f"{found.invoiced:f}", expenses=f"{found.expenses:f}",
            result=f"{found.invoiced - found.expenses:f}", invoices=found.invoices, bills=found.bills,
            receivable=f"{found.receivable:f}", payable=f"{found.payable:f}",
        )  # fmt: skip

    def _ask(self, question: Callable[[OdooBooks], T], words: str) -> T:
        try:
            return question(self._services.books)
        except AdapterError as error:
            raise ToolError(f"{words}: {error}") from None


def build(desk: Desk) -> MCPServer[Any]:
    """The server over one node's services."""
    server = desk.server(
        "odoo",
        "Reads the books in Odoo and makes drafts. Posts and pays what a human approved, by its action id alone.",
        ACTIONS,
    )
    odoo = OdooServer(desk)
    server.tool(annotations=_DRAFTS)(odoo.create_invoice)
    for read in (odoo.find_partners, odoo.open_invoices, odoo.month_summary):
        server.tool(annotations=_ASKS)(read)
    return server


if __name__ == "__main__":
    sys.exit(serve("odoo_server", build, "posts approved invoices and payments by action id, and reads the books."))
