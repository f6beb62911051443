"""The social and the WhatsApp server as processes, asked by the official client; and the executor through ours."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters

from tests.conftest import FakeClock
from tests.fakes.desk import Desk, World, sha
from tests.fakes.linkedin import LinkedInServer
from tests.fakes.meta import MetaServer
from tests.fakes.provider import Fault
from tests.social_kit import put_picture, settings, waiting
from utils.adapters.clock import SystemClock
from utils.bootstrap import Services
from utils.execution.executor import Executor
from utils.execution.journal import ActionRecord, State
from utils.settings import PROJECT_ROOT

CLOCK = SystemClock()


def desk(make_node: Callable[..., Services], url: str) -> Desk:
    clock = FakeClock()
    clock._now = CLOCK.now()
    return Desk(make_node, clock, World(), **settings(url))


def environ(desk: Desk, **more: str) -> dict[str, str]:
    s = desk.node.settings
    node = {"ENV_FILE": "", "AGENT_NAME": "local", "AGENT_MODE": "full", "VAULT_PATH": str(s.vault_path)}
    return {**os.environ, **node, **settings(s.linkedin_api_url), "STATE_DIR": str(s.state_dir), **more}


def ask(server: str, env: dict[str, str], *calls: tuple[str, dict[str, Any]]) -> tuple[set[str], list[Any]]:
    """The tools of one server process, and its answers to these calls."""

    async def talk() -> tuple[set[str], list[Any]]:
        arguments = ["-m", f"mcp_servers.{server}_server"]
        async with Client(
            StdioServerParameters(command=sys.executable, args=arguments, env=env, cwd=PROJECT_ROOT)
        ) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            return tools, [await client.call_tool(tool, arguments) for tool, arguments in calls]

    return asyncio.run(talk())


def released(desk: Desk, action: str, key: str = "one", **fields: Any) -> ActionRecord:
    path = waiting(desk, action, key=key, **fields)
    record = desk.store.begin(desk.approvals.approve(path.stem, sha(path), by="anna"))
    assert record is not None
    return record


def test_a_released_post_is_published_once_by_its_server(make_node: Callable[..., Services]) -> None:
    with LinkedInServer(CLOCK.now) as linkedin:
        node = desk(make_node, linkedin.url)
        record = released(node, "linkedin_post", image=put_picture(node))
        call = ("linkedin_post", {"action_id": record.action_id})
        tools, (dry, first, second) = ask(
            "social", environ(node), ("linkedin_post", {**call[1], "dry_run": True}), call, call
        )
        assert tools == {"linkedin_post", "facebook_post", "instagram_post", "twitter_post", "server_status"}
        assert not dry.structured_content["done"] and linkedin.hits("POST /rest/posts") == 1
        assert first.structured_content["receipt"] == linkedin.ledger[0]["id"]
        assert second.is_error and "nothing was done now" in second.content[0].text
        assert node.cycle() == "executed 1", "the executor concludes from the journal alone"


@pytest.mark.parametrize(("server", "action"), [("social", "twitter_post"), ("whatsapp", "whatsapp_send")])
def test_a_draft_only_node_refuses(make_node: Callable[..., Services], server: str, action: str) -> None:
    with MetaServer(CLOCK.now) as provider:
        node = desk(make_node, provider.url)
        record = released(node, action)
        _, (answer,) = ask(server, environ(node, AGENT_MODE="draft_only"), (action, {"action_id": record.action_id}))
        assert answer.is_error and "draft-only" in answer.content[0].text and provider.calls == []


def test_the_executor_sends_by_the_real_server_process(
    make_node: Callable[..., Services], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From an approval to Done, and through a lost answer to the human, with nothing of ours replaced."""
    with MetaServer(CLOCK.now) as provider:
        node = desk(make_node, provider.url)
        for name, value in environ(node).items():
            monkeypatch.setenv(name, value)
        services = make_node("local", ready=False, clock=node.clock, **settings(provider.url))
        s = services.settings
        executor = Executor(
            services.layout, services.claims, services.approvals, services.store, services.tools, services.hand,
            mode=s.agent_mode, dry_run=False, state_dir=s.state_dir, clock=services.clock, alert=node._alert,
            brakes=node.node.brakes,
        )  # fmt: skip
        path = waiting(node, "whatsapp_send")
        record = node.approvals.approve(path.stem, sha(path), by="anna")
        assert executor.run() == "executed 1"
        assert len(provider.ledger) == 1 and node.places(path.name)[0].startswith("Done")
        done = node.store.get(record.action_id)
        assert done is not None and done.receipt is not None and done.receipt.id.startswith("wamid.")
        path = waiting(node, "whatsapp_send", key="two")
        record = node.approvals.approve(path.stem, sha(path), by="anna")
        provider.faults.append(Fault(f"POST /v25.0/{s.whatsapp_phone_number_id}/messages", "reset after"))
        assert executor.run() == "unknown 1"
        assert executor.run() == "unknown 1" and len(provider.ledger) == 2
        lost = node.store.get(record.action_id)
        assert lost is not None and lost.state is State.UNKNOWN
