"""The Odoo MCP server as a process, asked by the official SDK's client."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters

from tests.conftest import FakeClock
from tests.fakes.desk import Desk, World
from tests.fakes.odoo import OdooServer, odoo_server
from tests.test_execution_odoo import EXPENSE, INVOICE, PAYMENT, approve, ask, settings
from utils.adapters.clock import SystemClock
from utils.bootstrap import Services
from utils.settings import PROJECT_ROOT

SERVER = [sys.executable, "-m", "mcp_servers.odoo_server"]
ACTING = ("post_invoice", "record_expense", "register_payment")
DRAFT = {
    "partner": "Acme", "currency": "EUR", "due_date": "2099-12-24",
    "lines": [{"description": "Work", "quantity": "2", "price": "50.00", "tax": "15"}],
}  # fmt: skip


@pytest.fixture
def server() -> Iterator[OdooServer]:
    with odoo_server(19) as running:
        running.data.call(
            2, "res.partner", "create", [], {"vals_list": [{"name": "Acme", "email": "a@acme.example"}]}, {}
        )
        yield running


@pytest.fixture
def desk(make_node: Callable[..., Services], server: OdooServer) -> Desk:
    clock = FakeClock()
    clock._now = SystemClock().now()
    return Desk(make_node, clock, World(), **settings(server))


def environ(desk: Desk, server: OdooServer, **more: str) -> dict[str, str]:
    s = desk.node.settings
    node = {"ENV_FILE": "", "AGENT_NAME": "local", "AGENT_MODE": "full", "LOG_LEVEL": "DEBUG"}
    paths = {"VAULT_PATH": str(s.vault_path), "STATE_DIR": str(s.state_dir)}
    return {**os.environ, **node, **paths, **settings(server), **more}


def talk(env: dict[str, str], conversation: Callable[[Client], Any]) -> Any:
    """What one server process answers."""

    async def run() -> Any:
        parameters = StdioServerParameters(command=SERVER[0], args=SERVER[1:], env=env, cwd=PROJECT_ROOT)
        async with Client(parameters) as client:
            return await conversation(client)

    return asyncio.run(run())


def call(env: dict[str, str], *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    async def conversation(client: Client) -> list[Any]:
        return [await client.call_tool(tool, arguments) for tool, arguments in calls]

    answers: list[Any] = talk(env, conversation)
    return answers


def said(answer: Any) -> str:
    assert answer.is_error
    return str(answer.content[0].text)


def released(desk: Desk, fields: dict[str, Any]) -> str:
    action_id = approve(desk, ask(desk, fields, key=str(sorted(fields))))
    record = desk.store.get(action_id)
    assert record is not None and desk.store.begin(record) is not None
    return action_id


def test_the_tools_and_what_they_take(desk: Desk, server: OdooServer) -> None:
    async def conversation(client: Client) -> dict[str, Any]:
        return {tool.name: tool for tool in (await client.list_tools()).tools}

    tools = talk(environ(desk, server), conversation)
    reading = {"find_partners", "open_invoices", "month_summary", "server_status"}
    assert set(tools) == {*ACTING, *reading, "create_invoice"}
    for name in ACTING:
        assert set(tools[name].input_schema["properties"]) == {"action_id", "dry_run"}
        assert tools[name].annotations.destructive_hint
    for name in reading:
        assert tools[name].annotations.read_only_hint
    assert not tools["create_invoice"].annotations.destructive_hint
    assert all(tool.description and tool.output_schema for tool in tools.values())


def test_drafts_and_reports_work_in_draft_only_and_posting_does_not(desk: Desk, server: OdooServer) -> None:
    actions = {
        "post_invoice": released(desk, INVOICE),
    }
    refused = [
        (tool, {"action_id": actions.get(tool, "x"), "dry_run": dry}) for tool in ACTING for dry in (False, True)
    ]
    *no, draft, partners, invoices, month, status = call(
        environ(desk, server, AGENT_MODE="draft_only"),
        *refused,
        ("create_invoice", DRAFT),
        ("find_partners", {"text": "acme"}),
        ("open_invoices", {}),
        ("month_summary", {"month": "2026-11"}),
        ("server_status", {}),
    )
    assert all("draft-only" in said(answer) for answer in no)
    assert draft.structured_content["created"] and draft.structured_content["total"] == "115.00"
    assert partners.structured_content["result"][0]["email"] == "a@acme.example"
    assert invoices.structured_content["result"] == [], "a draft is not open"
    assert month.structured_content["invoiced"] == "0.00" and month.structured_content["currency"] == "USD"
    assert status.structured_content["may_act"] is False
    assert server.ledger == [("account.move", "create")]


def test_the_cloud_refuses_a_user_who_could_post_and_works_with_one_who_could_not(
    desk: Desk, server: OdooServer
) -> None:
    cloud = {"AGENT_MODE": "draft_only", "AGENT_NAME": "cloud"}
    (found,) = call(environ(desk, server, **cloud), ("find_partners", {"text": "acme"}))
    assert "may post" in said(found)
    reader = {"ODOO_USER": server.reader, "ODOO_API_KEY": server.reader_key}
    found, draft = call(
        environ(desk, server, **cloud, **reader), ("find_partners", {"text": "acme"}), ("create_invoice", DRAFT)
    )
    assert found.structured_content["result"][0]["name"] == "Acme"
    assert "no draft was made" in said(draft) and server.ledger == []


def test_a_released_action_is_carried_out_once_by_its_own_tool(desk: Desk, server: OdooServer) -> None:
    invoice, expense, payment = (released(desk, fields) for fields in (INVOICE, EXPENSE, PAYMENT))
    env = environ(desk, server)
    wrong = call(
        env,
        ("record_expense", {"action_id": invoice}),
        ("post_invoice", {"action_id": expense}),
        ("post_invoice", {"action_id": payment}),
        ("register_payment", {"action_id": "../x"}),
    )
    words = ["is for post_invoice", "is for record_expense", "is a payment", "no approved action"]
    assert all(word in said(answer) for word, answer in zip(words, wrong, strict=True)) and server.ledger == []
    calls = [("post_invoice", {"action_id": invoice}), ("record_expense", {"action_id": expense}),
             ("register_payment", {"action_id": payment})]  # fmt: skip
    dry = call(env, *((tool, {**arguments, "dry_run": True}) for tool, arguments in calls))
    assert all(answer.structured_content["done"] is False for answer in dry) and server.ledger == []
    shown = {line["label"]: line["text"] for line in dry[0].structured_content["shown"]}
    assert shown["Customer"] == "Acme" and shown["Total"] == "115.00 EUR"
    done = call(env, *calls)
    receipts = [answer.structured_content["receipt"] for answer in done]
    assert receipts[0].startswith("INV/") and receipts[1].startswith("BILL/") and receipts[2].startswith("PBNK1/")
    before = list(server.ledger)
    assert all("before" in said(answer) for answer in call(env, *calls)) and server.ledger == before


def test_a_drafted_invoice_is_posted_as_it_was_approved(desk: Desk, server: OdooServer) -> None:
    env = environ(desk, server)
    same, again, dry, bad = call(
        env,
        ("create_invoice", DRAFT),
        ("create_invoice", DRAFT),
        ("create_invoice", {**DRAFT, "due_date": "2099-12-25", "dry_run": True}),
        ("create_invoice", {**DRAFT, "lines": [{"description": "x", "price": "1", "tax": "12.5"}]}),
    )
    draft_id, day = same.structured_content["draft_id"], same.structured_content["date"]
    assert again.structured_content["draft_id"] == draft_id, "the same draft, not a second one"
    assert dry.structured_content == {**dry.structured_content, "created": False, "draft_id": None}
    assert "no sale tax of 12.5 %" in said(bad)
    action_id = released(desk, {**INVOICE, "due_date": "2099-12-24", "draft_id": draft_id, "date": day})
    (done,) = call(env, ("post_invoice", {"action_id": action_id}))
    assert done.structured_content["done"] and [row["state"] for row in server.rows("account.move")] == ["posted"]


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("create_invoice", {**DRAFT, "lines": []}),
        ("create_invoice", {**DRAFT, "lines": [{"description": "x", "price": 1.5}]}),
        ("create_invoice", {**DRAFT, "lines": [{"description": "x", "price": "1", "discount": "5"}]}),
        ("create_invoice", {**DRAFT, "currency": "EURO"}),
        ("create_invoice", {**DRAFT, "due_date": "soon"}),
        ("create_invoice", {**DRAFT, "kind": "refund"}),
        ("create_invoice", {**DRAFT, "kind": "expense"}),
        ("create_invoice", {**DRAFT, "partner": "Nobody"}),
        ("find_partners", {"text": "a"}),
        ("find_partners", {"text": "acme", "limit": 0}),
        ("open_invoices", {"kind": "all"}),
        ("month_summary", {"month": "2026-13"}),
        ("month_summary", {"month": "0000-01"}),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_made(
    desk: Desk, server: OdooServer, tool: str, arguments: dict[str, Any]
) -> None:
    (answer,) = call(environ(desk, server), (tool, arguments))
    assert answer.is_error and server.ledger == []


def test_without_an_account_the_server_says_what_to_set(desk: Desk, server: OdooServer) -> None:
    env = environ(desk, server, ODOO_URL="", ODOO_USER="", ODOO_API_KEY="")
    found, status = call(env, ("find_partners", {"text": "acme"}), ("server_status", {}))
    assert "set ODOO_URL" in said(found) and status.structured_content["providers"]["invoice"] == "odoo"
