"""Odoo's answers that get lost, come late or say nothing: what is made of them, and that nothing is done twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.odoo import OdooServer, odoo_server
from tests.test_task import request_meta
from utils.adapters.odoo import Odoo
from utils.adapters.odoo_books import OdooBooks
from utils.core.acting import Absence, Order, Plan, Receipt
from utils.core.task import request_from, with_draft
from utils.hands.books import InvoiceHand, OdooPaymentHand
from utils.ports import AdapterError, AuthRefused, Hand, OutcomeUnknown

WHEN = datetime(2026, 11, 16, 12, tzinfo=UTC)
LOST = ["accept-503", "accept-reset", "accept-silence"]
INVOICE = {
    "action": "invoice",
    "partner": "Acme",
    "lines": [{"description": "Work", "quantity": "2", "price": "50.00", "tax": "15"}],
    "currency": "EUR",
    "due_date": "2026-12-24",
}
PAYMENT = {"action": "payment", "payee": "Acme", "amount": "40.00", "currency": "EUR", "reference": "R-1"}


@pytest.fixture(params=[17, 19])
def server(request: pytest.FixtureRequest) -> Iterator[OdooServer]:
    with odoo_server(request.param) as running:
        running.data.call(2, "res.partner", "create", [], {"vals_list": [{"name": "Acme"}]}, {})
        yield running


def client(server: OdooServer, timeout: float = 30) -> Odoo:
    return Odoo(server.url, server.database, server.user, server.key, timeout=timeout)


def ledger_of(server: OdooServer) -> OdooBooks:
    """Gives up soon where a fault is silence; a call of the emulator takes milliseconds."""
    return OdooBooks(client(server, timeout=1.5))


def order(fields: dict[str, Any], action_id: str = "a" * 32) -> Order:
    request = request_from(request_meta(to=None, subject=None, in_reply_to=None, **fields), with_draft("", ""))
    return Order(action_id, request, WHEN)


def act(hand: Hand, wanted: Order, kept: list[str] | None = None) -> Receipt:
    return hand.act(wanted, hand.plan(wanted), (kept if kept is not None else []).append)


def find(hand: Hand, wanted: Order) -> Receipt | Absence:
    return hand.find(wanted, hand.plan(wanted))


def posts(server: OdooServer) -> int:
    return server.ledger.count(("account.move", "action_post"))


@pytest.fixture
def invoices(server: OdooServer) -> Hand:
    return InvoiceHand(lambda: ledger_of(server), lambda: WHEN)


@pytest.fixture
def payments(server: OdooServer) -> Hand:
    return OdooPaymentHand(lambda: ledger_of(server), lambda: WHEN)


# An invoice


def test_an_invoice_is_drafted_kept_and_posted(server: OdooServer, invoices: Hand) -> None:
    wanted, kept = order(INVOICE), []
    assert find(invoices, wanted) is Absence.PROVEN
    receipt = act(invoices, wanted, kept)
    assert receipt.provider == "odoo" and receipt.id == "INV/2026/00001" and "115.00 EUR" in receipt.detail
    (move,) = server.rows("account.move")
    assert kept == [f"2026-11-16T12:00:00Z account.move,{move['id']}"] and move["invoice_origin"] == "AI-" + "a" * 32
    assert find(invoices, wanted) == receipt
    assert act(invoices, wanted) == receipt and posts(server) == 1, "done is done"


@pytest.mark.parametrize("how", LOST)
def test_a_lost_answer_to_the_posting_is_found_afterwards(server: OdooServer, invoices: Hand, how: str) -> None:
    server.fail("account.move", "action_post", how)
    with pytest.raises(OutcomeUnknown):
        act(invoices, order(INVOICE))
    found = find(invoices, order(INVOICE))
    assert isinstance(found, Receipt) and found.id == "INV/2026/00001" and posts(server) == 1


@pytest.mark.parametrize("how", ["refuse-500", "broken", "garbage", "endless"])
def test_a_posting_that_did_not_happen_is_proven_and_done_once(server: OdooServer, invoices: Hand, how: str) -> None:
    server.fail("account.move", "action_post", how)
    with pytest.raises(OutcomeUnknown):
        act(invoices, order(INVOICE))
    assert find(invoices, order(INVOICE)) is Absence.PROVEN
    act(invoices, order(INVOICE))
    assert posts(server) == 1 and len(server.rows("account.move")) == 1, "the draft of the first try"


@pytest.mark.parametrize(
    ("how", "retry"), [("refuse-429", True), ("redirect", False), ("refuse-401", False)], ids=lambda value: str(value)
)
def test_a_posting_that_was_refused_is_certain(server: OdooServer, invoices: Hand, how: str, retry: bool) -> None:
    server.fail("account.move", "action_post", how)
    with pytest.raises(AdapterError) as refused:
        act(invoices, order(INVOICE))
    assert refused.value.retry == retry and isinstance(refused.value, AuthRefused) == (how == "refuse-401")
    assert posts(server) == 0 and find(invoices, order(INVOICE)) is Absence.PROVEN


@pytest.mark.parametrize("how", LOST)
def test_a_lost_answer_to_the_draft_makes_no_second_draft(server: OdooServer, invoices: Hand, how: str) -> None:
    server.fail("account.move", "create", how)
    with pytest.raises(AdapterError) as lost:
        act(invoices, order(INVOICE))
    assert lost.value.retry and posts(server) == 0
    act(invoices, order(INVOICE))
    assert posts(server) == 1 and len(server.rows("account.move")) == 1


def test_nothing_is_posted_that_the_journal_does_not_hold(server: OdooServer, invoices: Hand) -> None:
    def broken(prepared: str) -> None:
        raise AdapterError("the journal is full", retry=True)

    wanted = order(INVOICE)
    with pytest.raises(AdapterError):
        invoices.act(wanted, invoices.plan(wanted), broken)
    assert posts(server) == 0


def test_the_number_can_be_asked_for_later(server: OdooServer, invoices: Hand) -> None:
    """The posting worked, then Odoo goes away: nobody may say that nothing happened."""
    books = ledger_of(server)
    hand = InvoiceHand(lambda: books, lambda: WHEN)
    wanted = order(INVOICE)
    inner = books.posted

    def gone_after_the_posting(mark: str) -> Any:
        if posts(server):
            raise AdapterError("Odoo can't be reached", retry=True)
        return inner(mark)

    books.posted = gone_after_the_posting  # type: ignore[method-assign]
    with pytest.raises(OutcomeUnknown, match="took the posting"):
        act(hand, wanted)
    assert isinstance(find(invoices, wanted), Receipt)


def test_a_posting_that_was_only_slow_is_no_failure(server: OdooServer) -> None:
    """The second try is refused because the first one worked after all."""
    books = ledger_of(server)
    hand = InvoiceHand(lambda: books, lambda: WHEN)
    wanted = order(INVOICE)
    plan = hand.plan(wanted)

    def the_first_one_arrives_now(prepared: str) -> None:
        identifier = int(prepared.partition(",")[2])
        server.data.call(2, "account.move", "action_post", [identifier], {}, {})

    receipt = hand.act(wanted, plan, the_first_one_arrives_now)
    assert receipt.id == "INV/2026/00001" and posts(server) == 0


def test_an_invoice_that_was_taken_back_since_did_happen(server: OdooServer, invoices: Hand) -> None:
    act(invoices, order(INVOICE))
    server.rows("account.move")[0]["state"] = "cancel"
    assert isinstance(find(invoices, order(INVOICE)), Receipt)


@pytest.mark.parametrize(
    ("model", "field", "value", "words"),
    [
        ("account.move.line", "name", "Something else", "its lines"),
        ("account.move", "amount_total", Decimal("115.01"), "its total, 115.01 EUR"),
        ("account.move", "amount_untaxed", Decimal("99.99"), "its total"),
    ],
    ids=["a line", "the total", "the net"],
)
def test_the_order_is_what_is_posted_whoever_meddles(
    server: OdooServer, invoices: Hand, model: str, field: str, value: Any, words: str
) -> None:
    wanted = order(INVOICE)
    server.fail("account.move", "action_post", "refuse-500")
    with pytest.raises(OutcomeUnknown):
        act(invoices, wanted)
    (row,) = server.rows(model)
    row[field] = value
    with pytest.raises(AdapterError, match=f"not what was approved: {words}"):
        act(invoices, wanted)
    assert posts(server) == 0


# A payment


def with_bill(server: OdooServer) -> None:
    """An open bill R-1 of 100 EUR."""
    line = {"name": "Paper", "price_unit": 100.0, "tax_ids": [[6, 0, []]]}
    values = {
        "move_type": "in_invoice", "partner_id": server.rows("res.partner")[0]["id"], "currency_id": 126, "ref": "R-1",
        "invoice_date": "2026-11-01", "invoice_date_due": "2026-12-01", "invoice_line_ids": [[0, 0, line]],
    }  # fmt: skip
    (identifier,), _ = server.data.call(2, "account.move", "create", [], {"vals_list": [values]}, {})
    server.data.call(2, "account.move", "action_post", [identifier], {}, {})


COMMITS = {True: ("account.payment.register", "action_create_payments"), False: ("account.payment", "action_post")}


@pytest.fixture(params=[True, False], ids=["on a bill", "on account"])
def commit(request: pytest.FixtureRequest, server: OdooServer) -> tuple[str, str]:
    """The call that makes a payment count."""
    if request.param:
        with_bill(server)
    return COMMITS[request.param]


def counting(server: OdooServer) -> list[dict[str, Any]]:
    return [row for row in server.rows("account.payment") if row["state"] != "draft"]


def test_a_payment_is_registered_once(server: OdooServer, payments: Hand, commit: tuple[str, str]) -> None:
    wanted, kept = order(PAYMENT), []
    assert find(payments, wanted) is Absence.OPEN, "nothing found proves nothing"
    receipt = act(payments, wanted, kept)
    (row,) = counting(server)
    assert row["amount"] == Decimal("40.00") and receipt.id == "PBNK1/2026/00001" and "40.00 EUR" in receipt.detail
    assert ("for bill BILL/" in receipt.detail) == (commit == COMMITS[True])
    assert len(kept) == 1 and f" {commit[0]}," in kept[0]
    assert isinstance(find(payments, wanted), Receipt)
    with pytest.raises(OutcomeUnknown, match="already"):
        act(payments, wanted)
    assert len(counting(server)) == 1


@pytest.mark.parametrize("how", [*LOST, "refuse-500", "broken", "garbage"])
def test_a_lost_answer_to_a_payment_leaves_evidence_and_no_second_one(
    server: OdooServer, payments: Hand, commit: tuple[str, str], how: str
) -> None:
    server.fail(*commit, how)
    with pytest.raises(OutcomeUnknown):
        act(payments, order(PAYMENT))
    took_place = how.startswith("accept")
    assert len(counting(server)) == took_place
    found = find(payments, order(PAYMENT))
    if took_place:
        assert isinstance(found, Receipt) and "40.00 EUR" in found.detail
        with pytest.raises(OutcomeUnknown):
            act(payments, order(PAYMENT))
        assert len(counting(server)) == 1


@pytest.mark.parametrize("how", ["refuse-429", "refuse-401"])
def test_a_payment_that_was_refused_is_certain(
    server: OdooServer, payments: Hand, commit: tuple[str, str], how: str
) -> None:
    server.fail(*commit, how)
    with pytest.raises(AdapterError):
        act(payments, order(PAYMENT))
    assert counting(server) == []


def test_a_draft_of_a_payment_is_evidence_and_called_a_draft(server: OdooServer, payments: Hand) -> None:
    server.fail("account.payment", "action_post", "refuse-500")
    with pytest.raises(OutcomeUnknown):
        act(payments, order(PAYMENT))
    found = find(payments, order(PAYMENT))
    assert isinstance(found, Receipt) and "draft" in found.detail


# The client


@pytest.mark.parametrize("how", [*LOST, "refuse-500", "refuse-429", "broken", "garbage", "endless"])
def test_what_only_reads_may_be_asked_again(server: OdooServer, how: str) -> None:
    odoo = client(server, timeout=1.5)
    server.fail("res.partner", "search_read", how)
    with pytest.raises(AdapterError) as failed:
        odoo.call("res.partner", "search_read", domain=[], fields=["name"])
    assert failed.value.retry
    assert odoo.call("res.partner", "search_read", domain=[], fields=["name"])


def test_no_call_is_repeated_by_the_library(server: OdooServer) -> None:
    odoo = client(server)
    odoo.login()
    before = len(server.calls)
    server.fail("res.partner", "write", "accept-reset")
    with pytest.raises(OutcomeUnknown):
        odoo.call("res.partner", "write", [1], acting=True, vals={"name": "x"})
    assert len(server.calls) - before == 1


def test_no_login_is_taken_from_elsewhere(server: OdooServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """`requests` would put a `.netrc` in the place of our bearer key."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password stolen\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert client(server).login() == 2


def test_a_certificate_that_is_not_trusted_is_certain(tmp_path: Any) -> None:
    import http.server
    import ssl
    import threading

    from tests.servers import make_certificate

    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    web = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    web.socket = context.wrap_socket(web.socket, server_side=True)
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        odoo = Odoo(f"https://127.0.0.1:{web.server_address[1]}", "", "u", "k", timeout=5)
        with pytest.raises(AdapterError, match="certificate is not trusted"):
            odoo.version()
    finally:
        web.shutdown()
        web.server_close()
        thread.join()


def fixed(answer: Callable[[str], tuple[int, bytes]]) -> Any:
    """A web server that answers by path."""
    import contextlib
    import http.server
    import threading

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    @contextlib.contextmanager
    def running() -> Iterator[str]:
        web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{web.server_address[1]}"
        finally:
            web.shutdown()
            web.server_close()
            thread.join()

    return running()


def told(text: str, info: list[Any]) -> bytes:
    import xmlrpc.client

    said = {"server_version": text, "server_version_info": info}
    return xmlrpc.client.dumps((said,), methodresponse=True).encode()


@pytest.mark.parametrize(
    ("answers", "major", "words"),
    [
        ({"/xmlrpc/2/common": (200, told("18.3+e", ["saas~18", 3, 0]))}, 18, ""),
        (
            {"/xmlrpc/2/common": (404, b""), "/web/version": (200, b'{"version": "22.0", "version_info": [22, 0]}')},
            22,
            "",
        ),
        ({"/xmlrpc/2/common": (200, told("15.0", [15, 0, 0]))}, 0, "16 is the oldest"),
        ({"/xmlrpc/2/common": (200, told("next", ["next"]))}, 0, "not understood"),
        ({"/xmlrpc/2/common": (200, b"<html>hello</html>")}, 0, "is no Odoo"),
        ({"/xmlrpc/2/common": (404, b""), "/web/version": (200, b"hello")}, 0, "is no Odoo"),
        ({"/xmlrpc/2/common": (404, b""), "/web/version": (404, b"")}, 0, "is no Odoo"),
        ({"/xmlrpc/2/common": (301, b"")}, 0, "redirects"),
        ({"/xmlrpc/2/common": (503, b"")}, 0, "can't answer now"),
    ],
    ids=["hosted 18", "without XML-RPC", "too old", "strange", "a website", "no version", "nothing", "moved", "busy"],
)
def test_the_version_decides(answers: dict[str, tuple[int, bytes]], major: int, words: str) -> None:
    with fixed(lambda path: answers[path]) as url:
        odoo = Odoo(url, "", "u", "k", timeout=5)
        if major:
            assert odoo.version().major == major
        else:
            with pytest.raises(AdapterError, match=words):
                odoo.version()


def test_an_answer_without_end_is_given_up() -> None:
    with fixed(lambda path: (200, b"x" * (17 * 1024 * 1024))) as url:
        with pytest.raises(AdapterError, match="too long"):
            Odoo(url, "", "u", "k", timeout=20).version()


def test_the_plan_needs_no_network() -> None:
    books = OdooBooks(Odoo("http://127.0.0.1:9", "", "u", "k", timeout=1))
    for hand, fields in (
        (InvoiceHand(lambda: books, lambda: WHEN), INVOICE),
        (OdooPaymentHand(lambda: books, lambda: WHEN), PAYMENT),
    ):
        plan = hand.plan(order(fields))
        assert isinstance(plan, Plan) and plan.reference == "AI-" + "a" * 32 and plan == hand.plan(order(fields))
        assert ("Our reference", plan.reference) in plan.shown
