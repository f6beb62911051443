"""What our client relies on in Odoo: one suite, the same against the emulator and against real servers.

Without settings it runs against `tests/fakes/odoo.py` as version 17 and 19. With `ODOO_TEST_URL`, `ODOO_TEST_DB`,
`ODOO_TEST_USER` and `ODOO_TEST_KEY` (an API key; up to 18 the password does) it runs against that server instead;
`ODOO_TEST_READER` and `ODOO_TEST_READER_KEY` name a user who may read the books and nothing else. CONTRIBUTING.md says
what that server needs. It leaves partners, invoices and payments there: give it a database of its own.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.odoo import OdooServer, odoo_server
from tests.servers import free_port
from utils.adapters.odoo import Odoo
from utils.adapters.odoo_books import Entry, OdooBooks
from utils.core.books import Invoice, Payment, invoice_from, payment_from, reference
from utils.ports import AdapterError, AuthRefused

REAL = os.environ.get("ODOO_TEST_URL", "")
DAY, DUE = date(2026, 11, 16), "2026-12-24"


@dataclass
class Account:
    """Where the suite runs, and as whom."""

    url: str
    database: str
    user: str
    key: str
    reader: str
    reader_key: str

    def client(self, **other: Any) -> Odoo:
        given = {"url": self.url, "database": self.database, "user": self.user, "key": self.key, "timeout": 60, **other}
        return Odoo(**given)


@pytest.fixture(scope="module", params=["real"] if REAL else ["emulator 17", "emulator 19"])
def account(request: pytest.FixtureRequest) -> Iterator[Account]:
    if REAL:
        names = ("URL", "DB", "USER", "KEY", "READER", "READER_KEY")
        yield Account(*(os.environ.get(f"ODOO_TEST_{name}", "") for name in names))
        return
    with odoo_server(int(request.param[-2:])) as server:
        s: OdooServer = server
        yield Account(s.url, s.database, s.user, s.key, s.reader, s.reader_key)


@pytest.fixture(scope="module")
def odoo(account: Account) -> Odoo:
    return account.client()


@pytest.fixture
def books(odoo: Odoo) -> OdooBooks:
    return OdooBooks(odoo)


@pytest.fixture
def partner(odoo: Odoo) -> str:
    return make_partner(odoo)


def make_partner(odoo: Odoo, **values: Any) -> str:
    name = f"Acme {uuid.uuid4().hex[:10]}"
    email = f"{name.replace(' ', '_').lower()}@example.org"
    odoo.call("res.partner", "create", vals_list=[{"name": name, "email": email, "is_company": True, **values}])
    return name


def mark() -> str:
    return reference(uuid.uuid4().hex)


def invoice(partner: str, *lines: dict[str, str], **fields: Any) -> Invoice:
    given = list(lines) or [{"description": "Consulting", "quantity": "1.5", "price": "10.10", "tax": "15"}]
    return invoice_from({"partner": partner, "currency": "EUR", "due_date": DUE, "lines": given, **fields}, DAY)


def posted(books: OdooBooks, wanted: Invoice) -> Entry:
    ours = mark()
    return books.post(books.draft(wanted, ours), ours)


def payment(payee: str, amount: str, bill: str, **fields: str) -> Payment:
    return payment_from({"payee": payee, "amount": amount, "currency": "EUR", "reference": bill, **fields}, DAY)


def refused(call: Any, *arguments: Any, **named: Any) -> AdapterError:
    with pytest.raises(AdapterError) as error:
        call(*arguments, **named)
    return error.value


# Who we are


def test_the_version_and_the_login_are_found_out(odoo: Odoo) -> None:
    version = odoo.version()
    assert version.major >= 16 and version.text.startswith(str(version.major))
    assert odoo.login() > 0
    assert odoo.call("res.users", "context_get")["uid"] == odoo.login()


def test_the_books_say_what_they_are(odoo: Odoo, books: OdooBooks) -> None:
    assert books.check() == f"Odoo {odoo.version().text}, books in USD"


@pytest.mark.parametrize("change", [{"key": "wrong"}, {"key": "x" * 40}])
def test_a_wrong_key_is_refused_as_such(account: Account, change: dict[str, str]) -> None:
    client = account.client(**change)
    with pytest.raises(AuthRefused, match="ODOO_API_KEY"):
        client.login()
    with pytest.raises(AuthRefused):
        client.call("res.partner", "search_read", domain=[], fields=["name"], limit=1)


def test_a_wrong_user_is_refused_where_the_login_counts(account: Account) -> None:
    client = account.client(user="nobody")
    if client.version().major < 19:
        with pytest.raises(AuthRefused, match="'nobody'"):
            client.login()
    else:
        assert client.login() == account.client().login(), "the key alone says who we are"


def test_a_key_that_was_taken_away_is_refused_in_the_middle_too(account: Account) -> None:
    client = account.client()
    client.login()
    client._key = "taken away"
    with pytest.raises(AuthRefused):
        client.call("res.partner", "read", [1], fields=["name"])


def test_a_wrong_database_is_named(account: Account) -> None:
    error = refused(account.client(database="no_such_database").login)
    assert "ODOO_DB" in str(error) and not error.retry


def test_where_nothing_listens_nothing_happened(account: Account) -> None:
    client = account.client(url=f"http://127.0.0.1:{free_port()}")
    error = refused(client.version)
    assert error.retry and "nothing listens" in str(error)
    moved = account.client()
    moved.version()
    moved.login()
    moved._url = f"http://127.0.0.1:{free_port()}"
    assert refused(moved.call, "account.move", "action_post", [1], acting=True).retry


# What Odoo refuses


@pytest.mark.parametrize(
    ("model", "method", "ids", "named"),
    [
        ("no.such.model", "read", [1], {"fields": ["name"]}),
        ("res.partner", "_check_vat", [1], {}),
        ("res.partner", "write", [99_999_999], {"vals": {"name": "x"}}),
        ("account.move", "action_post", [99_999_999], {}),
    ],
    ids=["unknown model", "private method", "missing record", "missing move"],
)
def test_a_refusal_is_certain_even_of_a_call_that_acts(
    odoo: Odoo, model: str, method: str, ids: list[int], named: dict[str, Any]
) -> None:
    error = refused(odoo.call, model, method, ids, acting=True, **named)
    assert not error.retry and not isinstance(error, AuthRefused) and "Traceback" not in str(error)


@pytest.mark.parametrize(
    ("method", "ids", "named"),
    [
        ("read", [1], {"fields": ["no_such_field"]}),
        ("create", None, {"vals_list": [{"no_such_field": 1}]}),
        ("no_such_method", [1], {}),
        ("read", [1], {"no_such_argument": 1}),
    ],
    ids=["unknown field", "unknown field written", "unknown method", "unknown argument"],
)
def test_a_mistake_of_ours_is_an_error_without_a_traceback(
    odoo: Odoo, method: str, ids: list[int] | None, named: dict[str, Any]
) -> None:
    error = refused(odoo.call, "res.partner", method, ids, **named)
    assert not isinstance(error, AuthRefused) and "Traceback" not in str(error) and len(str(error)) < 600


def test_reading_what_is_not_there_is_empty(odoo: Odoo) -> None:
    assert odoo.call("res.partner", "read", [99_999_999], fields=["name"]) == []


def test_who_may_only_read_drafts_and_posts_nothing(account: Account, books: OdooBooks, partner: str) -> None:
    if not account.reader_key:
        pytest.skip("ODOO_TEST_READER and ODOO_TEST_READER_KEY are not set")
    reader = OdooBooks(account.client(user=account.reader, key=account.reader_key), may_post=False)
    assert [one.name for one in reader.find_partners(partner, 5)] == [partner]
    error = refused(reader.draft, invoice(partner), mark())
    assert not error.retry and not isinstance(error, AuthRefused) and "not allowed" in str(error)
    draft = books.draft(invoice(partner), mark())
    raw = account.client(user=account.reader, key=account.reader_key)
    error = refused(raw.call, "account.move", "action_post", [draft.id], acting=True)
    assert not error.retry and not isinstance(error, AuthRefused)


def test_a_node_that_must_not_post_works_with_no_user_who_may(odoo: Odoo, partner: str) -> None:
    cloud = OdooBooks(odoo, may_post=False)
    for call in (lambda: cloud.find_partners("a", 1), lambda: cloud.draft(invoice(partner), mark())):
        assert "may post" in str(refused(call))


# Partners


def test_partners_are_found_by_parts_of_name_and_address(books: OdooBooks, partner: str) -> None:
    (found,) = books.find_partners(partner[5:].upper(), 10)
    assert found.name == partner and found.email.endswith("@example.org")
    assert [one.id for one in books.find_partners(found.email[:-3], 10)] == [found.id]
    assert books.find_partners("no such partner anywhere", 10) == []
    assert books.find_partners(partner.replace(" ", "_"), 10) == [found], "only the address has the underscore"
    assert books.find_partners(partner.replace(" ", "%"), 10) == [], "a wildcard means itself"


def test_an_invoice_names_its_partner_by_name_address_or_number(books: OdooBooks, partner: str) -> None:
    (found,) = books.find_partners(partner, 1)
    drafts = [books.draft(invoice(text), mark()) for text in (partner, found.email.upper(), str(found.id))]
    assert {draft.partner for draft in drafts} == {partner}


def test_a_partner_that_is_none_or_many_is_not_guessed(odoo: Odoo, books: OdooBooks, partner: str) -> None:
    assert "no partner" in str(refused(books.draft, invoice("Nobody at all"), mark()))
    assert "no partner" in str(refused(books.draft, invoice("99999999"), mark()))
    odoo.call("res.partner", "create", vals_list=[{"name": partner}])
    assert "more than one" in str(refused(books.draft, invoice(partner), mark()))


# Invoices


def test_a_draft_is_exact_and_counts_for_nothing(books: OdooBooks, partner: str) -> None:
    ours = mark()
    wanted = invoice(
        partner,
        {"description": "Consulting", "quantity": "1.5", "price": "10.10", "tax": "15"},
        {"description": "Größe „L“ & <b>bold</b>", "price": "1000000.01"},
        {"description": "Discount", "price": "-0.11", "account": "400000"},
        reference="PO 7",
    )
    draft = books.draft(wanted, ours)
    assert (draft.state, draft.partner, draft.currency, draft.reference) == ("draft", partner, "EUR", "PO 7")
    assert draft.amount == wanted.totals.total == Decimal("1000017.32")
    assert (draft.day, draft.due) == (DAY.isoformat(), DUE)
    assert books.posted(ours) is None
    assert books.draft(wanted, ours).id == draft.id, "a second try finds the draft of the first"


def test_posting_gives_a_number_and_is_found_by_our_mark(books: OdooBooks, partner: str) -> None:
    ours = mark()
    entry = books.post(books.draft(invoice(partner), ours), ours)
    assert (
        entry.state == "posted" and entry.number.startswith("INV/") and entry.open == entry.amount == Decimal("17.42")
    )
    assert books.posted(ours) == entry
    assert books.posted(mark()) is None


def test_posting_twice_is_one_posting(odoo: Odoo, books: OdooBooks, partner: str) -> None:
    ours = mark()
    draft = books.draft(invoice(partner), ours)
    first = books.post(draft, ours)
    assert "must be in draft" in str(refused(odoo.call, "account.move", "action_post", [draft.id], acting=True))
    assert books.post(draft, ours) == first


def test_a_draft_that_names_itself_is_posted_if_it_is_what_was_approved(books: OdooBooks, partner: str) -> None:
    draft = books.draft(invoice(partner), mark())
    ours = mark()
    entry = books.post(books.draft(invoice(partner, draft_id=draft.id), ours), ours)
    assert entry.id == draft.id and books.posted(ours) == entry
    error = refused(books.draft, invoice(partner, draft_id=draft.id), mark())
    assert "no draft" in str(error), "it is posted now"
    assert "no draft" in str(refused(books.draft, invoice(partner, draft_id=99_999_999), mark()))


@pytest.mark.parametrize(("source", "kept"), [("S00012", "S00012, "), ("AI-draft-1", ""), (False, "")])
def test_where_a_draft_came_from_stays_beside_our_mark(
    odoo: Odoo, books: OdooBooks, partner: str, source: Any, kept: str
) -> None:
    draft = books.draft(invoice(partner), mark())
    odoo.call("account.move", "write", [draft.id], vals={"invoice_origin": source})
    ours = mark()
    entry = books.post(books.draft(invoice(partner, draft_id=draft.id), ours), ours)
    (row,) = odoo.call("account.move", "read", [draft.id], fields=["invoice_origin"])
    assert row["invoice_origin"] == kept + ours and books.posted(ours) == entry


@pytest.mark.parametrize(
    "change",
    [
        {"partner_id": "other"},
        {"currency_id": "USD"},
        {"invoice_date_due": "2026-12-25"},
        {"invoice_date": "2026-11-17"},
        {"ref": "another"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_draft_that_somebody_changed_is_not_posted(
    odoo: Odoo, books: OdooBooks, partner: str, change: dict[str, Any]
) -> None:
    ours = mark()
    draft = books.draft(invoice(partner), ours)
    ((name, value),) = change.items()
    if name == "partner_id":
        value = books.find_partners(make_partner(odoo), 1)[0].id
    if name == "currency_id":
        value = odoo.call("res.currency", "search_read", domain=[["name", "=", value]], fields=["name"])[0]["id"]
    odoo.call("account.move", "write", [draft.id], vals={name: value})
    error = refused(books.draft, invoice(partner), ours)
    assert name in str(error) and not error.retry


@pytest.mark.parametrize(
    ("change", "shows"),
    [
        ({"price_unit": 10.11}, "its total"),
        ({"quantity": 2}, "its total"),
        ({"name": "Other work"}, "its lines"),
    ],
    ids=["price", "quantity", "text"],
)
def test_a_line_that_somebody_changed_is_not_posted(
    odoo: Odoo, books: OdooBooks, partner: str, change: dict[str, Any], shows: str
) -> None:
    draft = books.draft(invoice(partner), mark())
    other = {"price_unit": 10.10, "quantity": 1.5, "name": "Consulting", **change}
    wanted = invoice(
        partner,
        {
            "description": other["name"],
            "quantity": str(other["quantity"]),
            "price": str(other["price_unit"]),
            "tax": "15",
        },
        draft_id=draft.id,
    )
    assert shows in str(refused(books.draft, wanted, mark()))


def test_currencies_without_and_with_other_decimals(books: OdooBooks, partner: str) -> None:
    entry = posted(books, invoice(partner, {"description": "Work", "price": "1235", "tax": "15"}, currency="JPY"))
    assert entry.amount == Decimal(1420) and f"{entry.amount}" == "1420", "1420.25, to the yen"
    assert "not active" in str(refused(books.draft, invoice(partner, currency="GBP"), mark()))


def test_a_price_that_odoo_would_round_is_refused(odoo: Odoo, books: OdooBooks, partner: str) -> None:
    """Up to 18 a price has the decimals of "Product Price", two by default; 19 keeps what it gets."""
    wanted = invoice(partner, {"description": "Screw", "quantity": "1000", "price": "0.0049"})
    if odoo.version().major >= 19:
        assert books.draft(wanted, mark()).amount == Decimal("4.90")
    else:
        error = refused(books.draft, wanted, mark())
        assert "not what was approved" in str(error) and not error.retry


def test_a_quantity_that_odoo_would_round_is_refused(books: OdooBooks, partner: str) -> None:
    wanted = invoice(partner, {"description": "Hours", "quantity": "0.3333", "price": "100"})
    assert "not what was approved" in str(refused(books.draft, wanted, mark()))


def test_a_tax_that_is_not_there_is_refused(books: OdooBooks, partner: str) -> None:
    error = refused(books.draft, invoice(partner, {"description": "Work", "price": "10", "tax": "13.37"}), mark())
    assert "no sale tax of 13.37 %" in str(error)


def test_an_account_that_is_not_there_is_refused(books: OdooBooks, partner: str) -> None:
    error = refused(books.draft, invoice(partner, {"description": "Work", "price": "10", "account": "nope"}), mark())
    assert "no account nope" in str(error)


@pytest.mark.parametrize(
    ("values", "lines"),
    [({}, []), ({"partner_id": False}, [[0, 0, {"name": "x", "price_unit": 1.0}]])],
    ids=["no lines", "no customer"],
)
def test_what_odoo_does_not_post_stays_a_draft(
    odoo: Odoo, books: OdooBooks, partner: str, values: dict[str, Any], lines: list[Any]
) -> None:
    (found,) = books.find_partners(partner, 1)
    given = {"move_type": "out_invoice", "partner_id": found.id, "invoice_line_ids": lines, **values}
    (move,) = odoo.call("account.move", "create", vals_list=[given])
    assert not refused(odoo.call, "account.move", "action_post", [move], acting=True).retry
    assert odoo.call("account.move", "read", [move], fields=["state"])[0]["state"] == "draft"


# Expenses


def test_an_expense_is_a_posted_bill_with_the_vendors_number(books: OdooBooks, partner: str) -> None:
    number = f"R-{uuid.uuid4().hex[:8]}"
    wanted = invoice(partner, {"description": "Paper", "price": "100", "tax": "15"}, kind="expense", reference=number)
    entry = posted(books, wanted)
    assert entry.number.startswith("BILL/") and entry.reference == number and entry.amount == Decimal("115.00")
    assert entry in books.open_invoices("expense", 200)
    assert entry not in books.open_invoices("customer", 200)


def test_an_expense_goes_to_the_account_it_names(odoo: Odoo, books: OdooBooks, partner: str) -> None:
    line = {"description": "Office", "price": "900", "account": "612000"}
    entry = posted(books, invoice(partner, line, kind="expense", reference="rent"))
    (row,) = odoo.call("account.move", "read", [entry.id], fields=["invoice_line_ids"])
    (found,) = odoo.call("account.move.line", "read", row["invoice_line_ids"], fields=["account_id", "tax_ids"])
    (account,) = odoo.call("account.account", "read", [found["account_id"][0]], fields=["code"])
    assert account["code"] == "612000" and found["tax_ids"] == []


# Payments


def bill(books: OdooBooks, partner: str, price: str = "100") -> Entry:
    number = f"R-{uuid.uuid4().hex[:8]}"
    return posted(books, invoice(partner, {"description": "Paper", "price": price}, kind="expense", reference=number))


def test_a_payment_pays_the_bill_of_its_reference(books: OdooBooks, partner: str) -> None:
    owed, ours = bill(books, partner), mark()
    ready = books.prepare_payment(payment(partner, "40.50", owed.reference), ours)
    assert ready.bill == owed.number
    assert books.payments(ours) == [], "nothing counts yet"
    entry = books.pay(ready, ours)
    assert entry.amount == Decimal("40.50") and entry.currency == "EUR" and entry.partner == partner and entry.number
    assert books.payments(ours) == [entry] and owed.reference in entry.reference
    (left,) = [one for one in books.open_invoices("expense", 200) if one.id == owed.id]
    assert left.open == Decimal("59.50")
    second = mark()
    books.pay(books.prepare_payment(payment(partner, "59.50", owed.reference), second), second)
    assert owed.id not in [one.id for one in books.open_invoices("expense", 200)]
    error = refused(books.prepare_payment, payment(partner, "0.01", owed.reference), mark())
    assert "nothing is open" in str(error) and not error.retry


def test_a_payment_without_a_bill_is_on_account(books: OdooBooks, partner: str) -> None:
    ours = mark()
    ready = books.prepare_payment(payment(partner, "12.34", "deposit"), ours)
    assert ready.bill == ""
    entry = books.pay(ready, ours)
    assert entry.amount == Decimal("12.34") and entry.state in ("posted", "in_process", "paid")


def test_more_than_is_owed_and_another_currency_are_refused(books: OdooBooks, partner: str) -> None:
    owed = bill(books, partner)
    assert "100.00 EUR is open" in str(
        refused(books.prepare_payment, payment(partner, "100.01", owed.reference), mark())
    )
    dollars = Payment(partner, Decimal(10), "USD", owed.reference, DAY)
    assert "is in EUR, not in USD" in str(refused(books.prepare_payment, dollars, mark()))


def test_a_payment_with_our_mark_is_never_made_again(books: OdooBooks, partner: str) -> None:
    from utils.ports import OutcomeUnknown

    ours = mark()
    books.pay(books.prepare_payment(payment(partner, "5", "deposit"), ours), ours)
    with pytest.raises(OutcomeUnknown, match="already"):
        books.prepare_payment(payment(partner, "5", "deposit"), ours)
    assert len(books.payments(ours)) == 1


def test_two_bills_of_one_number_are_not_guessed(odoo: Odoo, books: OdooBooks) -> None:
    first, other = make_partner(odoo), make_partner(odoo)
    owed = bill(books, first)
    assert books.prepare_payment(payment(other, "5", owed.reference), mark()).bill == "", "the other's bill is not ours"


def test_the_payees_account_must_be_one_that_odoo_knows(odoo: Odoo, books: OdooBooks, partner: str) -> None:
    iban = "NL91ABNA0417164300"
    wanted = payment(partner, "5", "deposit", iban=iban)
    assert "no bank account" in str(refused(books.prepare_payment, wanted, mark()))
    (found,) = books.find_partners(partner, 1)
    account = {"partner_id": found.id, "acc_number": "NL91 ABNA 0417 1643 00"}
    odoo.call("res.partner.bank", "create", vals_list=[account])
    ours = mark()
    ready = books.prepare_payment(wanted, ours)
    (row,) = odoo.call("account.payment", "read", [ready.id], fields=["partner_bank_id"])
    assert row["partner_bank_id"], "the account that the human saw"


def test_a_journal_that_is_not_there_is_named(odoo: Odoo, partner: str) -> None:
    books = OdooBooks(odoo, payment_journal="NOPE")
    assert "ODOO_PAYMENT_JOURNAL" in str(refused(books.prepare_payment, payment(partner, "5", "x"), mark()))
    named = OdooBooks(odoo, payment_journal="BNK1")
    assert named.prepare_payment(payment(partner, "5", "x"), mark()).id


# Reports


def test_a_months_summary_moves_by_what_is_posted(books: OdooBooks, partner: str) -> None:
    before = books.month_summary(2026, 11)
    books.draft(invoice(partner), mark())
    posted(books, invoice(partner, {"description": "Work", "price": "200", "tax": "15"}, currency="USD"))
    posted(books, invoice(partner, {"description": "Work", "price": "9"}, date="2026-10-31"))
    wanted = invoice(partner, {"description": "Paper", "price": "50"}, currency="USD", kind="expense", reference=mark())
    posted(books, wanted)
    after = books.month_summary(2026, 11)
    assert after.currency == before.currency == "USD"
    assert after.invoiced - before.invoiced == Decimal("200.00") and after.invoices - before.invoices == 1
    assert after.expenses - before.expenses == Decimal("50.00") and after.bills - before.bills == 1
    assert after.receivable - before.receivable == Decimal("240.00"), "230 with tax, and 9 EUR at 0.9, as of now"
    assert after.payable - before.payable == Decimal("50.00")
    assert books.month_summary(1999, 2).invoiced == 0


def test_open_invoices_come_by_their_due_date(books: OdooBooks, partner: str) -> None:
    late = posted(books, invoice(partner, due_date="2026-12-31"))
    early = posted(books, invoice(partner, due_date="2026-11-17"))
    ids = [one.id for one in books.open_invoices("customer", 200)]
    assert ids.index(early.id) < ids.index(late.id)
    dues = [one.due for one in books.open_invoices("customer", 200)]
    assert dues == sorted(dues)
    assert len(books.open_invoices("customer", 1)) == 1
