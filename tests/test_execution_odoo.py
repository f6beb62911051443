"""Invoices, expenses and payments from the request to the books: through the executor, killed at every step, once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.fakes.desk import Bomb, Desk, Killed, World, sha
from tests.fakes.odoo import OdooServer, odoo_server
from tests.servers import eventually
from tests.test_odoo_faults import posts, with_bill
from utils.adapters.odoo import Odoo
from utils.adapters.odoo_books import OdooBooks
from utils.bootstrap import Services
from utils.execution.answers import AlreadyActed, Invalid
from utils.execution.journal import State
from utils.hands.books import SETTLED

LINES = [{"description": "Work", "quantity": "2", "price": "50.00", "tax": "15"}]
INVOICE: dict[str, Any] = {
    "action": "invoice", "partner": "Acme", "lines": LINES, "currency": "EUR", "due_date": "2026-12-24",
}  # fmt: skip
EXPENSE = {**INVOICE, "kind": "expense", "reference": "R-7"}
PAYMENT: dict[str, Any] = {
    "action": "payment", "payee": "Acme", "amount": "40.00", "currency": "EUR", "reference": "R-1",
}  # fmt: skip


@pytest.fixture(params=[17, 19])
def server(request: pytest.FixtureRequest) -> Iterator[OdooServer]:
    with odoo_server(request.param) as running:
        running.data.call(2, "res.partner", "create", [], {"vals_list": [{"name": "Acme"}]}, {})
        yield running


def settings(server: OdooServer) -> dict[str, str]:
    return {
        "ODOO_URL": server.url, "ODOO_DB": server.database, "ODOO_USER": server.user, "ODOO_API_KEY": server.key,
        "ODOO_TIMEOUT_SECONDS": "2",
    }  # fmt: skip


@pytest.fixture
def desk(make_node: Callable[..., Services], server: OdooServer) -> Desk:
    return Desk(make_node, FakeClock(), World(), **settings(server))


def ask(desk: Desk, fields: dict[str, Any], key: str = "a bill") -> Path:
    return desk.request(key, to=None, subject=None, in_reply_to=None, references=None, **fields)


def approve(desk: Desk, path: Path) -> str:
    return desk.approvals.approve(path.stem, sha(path), by="anna").action_id


def test_an_approved_invoice_is_posted_and_filed_with_its_number(desk: Desk, server: OdooServer) -> None:
    path = ask(desk, INVOICE)
    action_id = approve(desk, path)
    assert desk.cycle() == "executed 1"
    record = desk.store.get(action_id)
    assert record is not None and record.receipt is not None
    assert record.receipt.provider == "odoo" and record.receipt.id == "INV/2026/00001"
    assert record.prepared == f"2026-06-01T12:00:00Z account.move,{server.rows('account.move')[0]['id']}"
    assert desk.places(path.name) == ["Done"] and posts(server) == 1
    assert desk.action_log()[-1]["receipt"]["id"] == "INV/2026/00001"
    assert desk.cycle() == "idle" and posts(server) == 1


def test_an_expense_is_booked_by_its_own_tool(desk: Desk, server: OdooServer) -> None:
    approve(desk, ask(desk, EXPENSE))
    called: list[str] = []
    inner = desk.tools.call
    desk.tools.call = lambda server, tool, arguments: (
        called.append(f"{server}.{tool}"),
        inner(server, tool, arguments),
    )[1]  # type: ignore[method-assign]
    assert desk.cycle() == "executed 1" and called == ["odoo.record_expense"]
    (bill,) = server.rows("account.move")
    assert bill["move_type"] == "in_invoice" and bill["ref"] == "R-7" and bill["state"] == "posted"


def test_an_approved_payment_is_registered_once(desk: Desk, server: OdooServer) -> None:
    with_bill(server)
    path = ask(desk, PAYMENT)
    approve(desk, path)
    assert desk.cycle() == "executed 1" and desk.places(path.name) == ["Done"]
    (row,) = server.rows("account.payment")
    assert row["amount"] == Decimal("40.00")


@pytest.mark.parametrize("how", ["accept-503", "accept-reset", "accept-silence"])
def test_a_lost_answer_to_an_invoice_is_done_by_what_odoo_has(desk: Desk, server: OdooServer, how: str) -> None:
    path = ask(desk, INVOICE)
    approve(desk, path)
    server.fail("account.move", "action_post", how)
    assert desk.cycle() == "executed 1"
    assert desk.places(path.name) == ["Done"] and posts(server) == 1


def test_an_invoice_that_certainly_did_not_happen_is_tried_again(desk: Desk, server: OdooServer) -> None:
    path = ask(desk, INVOICE)
    approve(desk, path)
    server.fail("account.move", "action_post", "refuse-500")
    assert desk.cycle() == "in flight 1" and posts(server) == 0
    desk.clock.advance(SETTLED.total_seconds())
    assert desk.cycle() == "waiting to try again 1" and posts(server) == 0
    desk.clock.advance(60)
    assert desk.cycle() == "executed 1" and posts(server) == 1 and len(server.rows("account.move")) == 1


def test_a_posting_that_ends_after_we_gave_up_is_done_and_nothing_else_was_said(desk: Desk, server: OdooServer) -> None:
    """Odoo works on; called absent, it could be taken back, changed and approved anew: two invoices."""
    path = ask(desk, INVOICE)
    action_id = approve(desk, path)
    server.fail("account.move", "action_post", "accept-late")
    assert desk.cycle() == "in flight 1" and posts(server) == 0
    with pytest.raises(AlreadyActed, match="too late"):
        desk.executor.cancel(action_id, by="anna")
    desk.clock.advance(SETTLED.total_seconds() - 1)
    assert desk.cycle() == "in flight 1"
    server.finish()
    eventually(lambda: posts(server))
    assert desk.cycle() == "executed 1" and desk.places(path.name) == ["Done"] and posts(server) == 1
    assert not desk.alerts


def test_a_payment_that_ends_after_we_gave_up_is_shown_to_who_is_asked(desk: Desk, server: OdooServer) -> None:
    action_id = approve(desk, ask(desk, PAYMENT))
    server.fail("account.payment", "action_post", "accept-late")
    assert desk.cycle() == "in flight 1"
    server.finish()
    eventually(lambda: ("account.payment", "action_post") in server.ledger)
    assert desk.cycle() == "unknown 1"
    record = desk.store.get(action_id)
    assert record is not None and record.state is State.UNKNOWN and "PBNK1/2026/00001" in record.error


def test_by_a_clock_that_was_put_back_nobody_can_tell(desk: Desk, server: OdooServer) -> None:
    action_id = approve(desk, ask(desk, INVOICE))
    server.fail("account.move", "action_post", "refuse-500")
    assert desk.cycle() == "in flight 1"
    desk.clock.advance(-3600)
    assert desk.cycle() == "unknown 1"
    record = desk.store.get(action_id)
    assert record is not None and "which proves nothing" in record.error


@pytest.mark.parametrize("how", ["accept-503", "accept-reset", "refuse-500"])
def test_a_payment_with_a_lost_answer_is_unknown_with_evidence_and_never_tried_again(
    desk: Desk, server: OdooServer, how: str
) -> None:
    path = ask(desk, PAYMENT)
    action_id = approve(desk, path)
    server.fail("account.payment", "action_post", how)
    if how == "refuse-500":
        assert desk.cycle() == "in flight 1"
        desk.clock.advance(SETTLED.total_seconds())
    assert desk.cycle() == "unknown 1"
    record = desk.store.get(action_id)
    assert record is not None and record.state is State.UNKNOWN
    assert ("PBNK1/2026/00001" in record.error) == (how != "refuse-500"), record.error
    assert any(level == "CRITICAL" for level, _, _ in desk.alerts)
    for _ in range(5):
        desk.clock.advance(3600)
        desk.cycle()
    assert server.calls.count(("account.payment", "action_post")) <= 1, "never tried again"


def test_a_payment_that_was_refused_fails_and_asks_nobody_again(desk: Desk, server: OdooServer) -> None:
    path = ask(desk, PAYMENT)
    action_id = approve(desk, path)
    server.fail("account.payment", "action_post", "refuse-429")
    assert desk.cycle() == "failed 1"
    record = desk.store.get(action_id)
    assert record is not None and record.state is State.FAILED and "asked too often" in record.error
    for _ in range(3):
        desk.clock.advance(3600)
        desk.cycle()
    assert [row["state"] for row in server.rows("account.payment")] == ["draft"]


def test_refused_credentials_pause_odoo_and_alert(desk: Desk, server: OdooServer) -> None:
    path = ask(desk, INVOICE)
    approve(desk, path)
    server.data.uid_of_key.clear()
    server.data.uid_of_password.clear()
    desk.cycle()
    assert any(level == "CRITICAL" and "credentials" in title for level, title, _ in desk.alerts)
    assert posts(server) == 0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({**INVOICE, "lines": [{"description": "x", "price": 10.5}]}, "must stand in quotes"),
        ({**INVOICE, "currency": "euro"}, "no currency code"),
        ({**INVOICE, "currency": "eur"}, "'eur' must stand in capitals: EUR"),
        ({**PAYMENT, "amount": "1,000.00"}, "without thousands separators"),
        ({**PAYMENT, "iban": "NL92ABNA0417164300"}, "no valid IBAN"),
    ],
)
def test_what_can_not_be_carried_out_can_not_be_approved(desk: Desk, fields: dict[str, Any], words: str) -> None:
    path = ask(desk, fields)
    with pytest.raises(Invalid, match=words):
        desk.approvals.approve(path.stem, sha(path), by="anna")


def test_no_request_moves_into_the_books_by_a_move_alone(desk: Desk, server: OdooServer) -> None:
    for fields, key in ((INVOICE, "one"), (PAYMENT, "two")):
        path = ask(desk, fields, key)
        desk.approvals.observe()
        desk.move(path, "Approved")
    desk.cycle()
    desk.clock.advance(60)
    desk.cycle()
    assert server.ledger == []


def test_a_dry_run_asks_odoo_for_nothing(make_node: Callable[..., Services], server: OdooServer) -> None:
    desk = Desk(make_node, FakeClock(), World(), **settings(server), DRY_RUN="true")
    approve(desk, ask(desk, INVOICE))
    assert desk.cycle() == "dry run 1" and server.calls == []


def test_a_payment_becomes_a_file_for_the_bank(make_node: Callable[..., Services], server: OdooServer) -> None:
    desk = Desk(
        make_node, FakeClock(), World(),
        PAYMENT_PROVIDER="sepa", SEPA_NAME="We", SEPA_IBAN="DE89370400440532013000", SEPA_BIC="COBADEFFXXX",
    )  # fmt: skip
    path = ask(desk, {**PAYMENT, "iban": "NL91ABNA0417164300"})
    action_id = approve(desk, path)
    assert desk.cycle() == "executed 1" and desk.places(path.name) == ["Done"]
    (file,) = (desk.node.settings.state_dir / "payments").iterdir()
    assert file.name == f"AI-{action_id}.xml" and b">40.00<" in file.read_bytes() and file.stat().st_mode & 0o077 == 0
    record = desk.store.get(action_id)
    assert record is not None and record.receipt is not None and record.receipt.provider == "sepa"


def test_the_doctor_looks_at_odoo(
    make_node: Callable[..., Services], server: OdooServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scripts import doctor

    def seen(**more: str) -> tuple[str, str]:
        node = make_node("local")
        places = {
            "VAULT_PATH": str(node.settings.vault_path),
            "STATE_DIR": str(node.settings.state_dir),
            "ENV_FILE": "",
        }
        with monkeypatch.context() as patch:
            for name, value in {**places, **more}.items():
                patch.setenv(name, value)
            ((verdict, detail),) = [(f.verdict, f.detail) for f in doctor.examine() if f.subject == "odoo"]
        return verdict, detail

    assert seen()[0] == doctor.OFF and "ODOO_API_KEY" in seen()[1]
    assert seen(**settings(server)) == (
        doctor.OK,
        f"admin at {server.url}, Odoo {server.version}.0, books in USD",
    )
    verdict, detail = seen(**{**settings(server), "ODOO_API_KEY": "wrong key"})
    assert verdict == doctor.BROKEN and "check ODOO_" in detail and "wrong key" not in detail


# Killed at every step


class _Bombed(Odoo):
    """Dies before or after any call to Odoo."""

    bomb = Bomb()

    def call(self, *arguments: Any, **named: Any) -> Any:
        self.bomb.step()
        answer = super().call(*arguments, **named)
        self.bomb.step()
        return answer


class _Mortal(Desk):
    """A desk whose client of Odoo dies as well."""

    server: OdooServer

    def restart(self, bomb: Bomb | None = None) -> None:
        super().restart(bomb)
        odoo = _Bombed(self.server.url, self.server.database, self.server.user, self.server.key, timeout=5)
        odoo.bomb = self.bomb
        self.node.__dict__["books"] = OdooBooks(odoo)


def _killed_at(step: int, make: Callable[..., Services], home: Path, server: OdooServer, fields: dict[str, Any]) -> Any:
    class Mine(_Mortal):
        pass

    Mine.server = server

    def separate(agent: str, **options: Any) -> Services:
        (home / "vault").mkdir(parents=True, exist_ok=True)
        return make(agent, **options, VAULT_PATH=str(home / "vault"), STATE_DIR=str(home / "state"))

    desk = Mine(separate, FakeClock(), World(), **settings(server))
    path = ask(desk, fields)
    approve(desk, path)
    desk.restart(Bomb(step))
    try:
        desk.cycle()
        died = False
    except Killed:
        died = True
    desk.restart()
    for _ in range(8):
        desk.cycle()
        desk.clock.advance(3600)
    return desk, died


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "model", "ends_allowed"),
    [(INVOICE, "account.move", {"done", "void"}), (PAYMENT, "account.payment", {"done", "unknown", "failed", "void"})],
    ids=["invoice", "payment"],
)
def test_killed_anywhere_it_happens_at_most_once_and_done_means_done(
    make_node: Callable[..., Services], tmp_path: Path, fields: dict[str, Any], model: str, ends_allowed: set[str]
) -> None:
    ends: dict[str, int] = {}
    for step in range(1, 400):
        with odoo_server(19) as server:
            server.data.call(2, "res.partner", "create", [], {"vals_list": [{"name": "Acme"}]}, {})
            desk, died = _killed_at(step, make_node, tmp_path / str(step), server, fields)
            commits = server.ledger.count((model, "action_post"))
            (record,) = desk.store.recent(10)
            assert commits <= 1, f"twice, killed at step {step}"
            assert (record.state is State.DONE) <= (commits == 1), f"done without a posting, killed at step {step}"
            if commits:
                assert record.state in (State.DONE, State.UNKNOWN), f"posted and nobody knows, killed at step {step}"
            if record.state is State.UNKNOWN:
                assert any(level == "CRITICAL" for level, _, _ in desk.alerts)
            ends[str(record.state)] = ends.get(str(record.state), 0) + 1
        if not died:
            print(json.dumps({"killed at": step - 1, "ends": ends}))
            assert set(ends) <= ends_allowed and ends["done"] > 10
            return
    raise AssertionError("the history did not end")
