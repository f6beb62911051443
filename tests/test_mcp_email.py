"""The e-mail MCP server as a process, asked by the official SDK's client; and our own client."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters

from mcp_servers import acting, email_server, social_server
from tests.conftest import FakeClock
from tests.fakes.desk import Desk, World, sha
from utils import VERSION
from utils.adapters.clock import SystemClock
from utils.adapters.mcp_client import McpTools
from utils.bootstrap import Services
from utils.execution.journal import ActionRecord, Outcome
from utils.ports import AdapterError, OutcomeUnknown
from utils.settings import PROJECT_ROOT

SERVER = [sys.executable, "-m", "mcp_servers.email_server"]


@pytest.fixture
def desk(make_node: Callable[..., Services]) -> Desk:
    clock = FakeClock()
    clock._now = SystemClock().now()
    return Desk(make_node, clock, World())


def environ(desk: Desk, **more: str) -> dict[str, str]:
    s = desk.node.settings
    node = {"ENV_FILE": "", "AGENT_NAME": "local", "AGENT_MODE": "full", "LOG_LEVEL": "DEBUG"}
    return {**os.environ, **node, "VAULT_PATH": str(s.vault_path), "STATE_DIR": str(s.state_dir), **more}


def ask(env: dict[str, str], *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    """The answers of one server process to these calls."""

    async def talk() -> list[Any]:
        server = StdioServerParameters(command=SERVER[0], args=SERVER[1:], env=env, cwd=PROJECT_ROOT)
        async with Client(server) as client:
            return [await client.call_tool(tool, arguments) for tool, arguments in calls]

    return asyncio.run(talk())


def approved(desk: Desk, key: str = "mail 1") -> ActionRecord:
    path = desk.request(key)
    return desk.approvals.approve(path.stem, sha(path), by="anna")


def released(desk: Desk, key: str = "mail 1") -> ActionRecord:
    record = desk.store.begin(approved(desk, key))
    assert record is not None
    return record


def outbox(desk: Desk) -> list[Path]:
    return sorted((desk.node.settings.state_dir / "mail" / "out").glob("*"))


def text(answer: Any) -> str:
    assert answer.is_error
    return str(answer.content[0].text)


def test_the_acting_tools_take_an_action_id_and_nothing_that_could_steer(desk: Desk) -> None:
    async def tools() -> dict[str, Any]:
        async with Client(StdioServerParameters(command=SERVER[0], args=SERVER[1:], env=environ(desk))) as client:
            return {tool.name: tool for tool in (await client.list_tools()).tools}

    found = asyncio.run(tools())
    assert set(found) == {"send_email", "reply_email", "forward_email", "server_status"}
    for name in ("send_email", "reply_email", "forward_email"):
        assert set(found[name].input_schema["properties"]) == {"action_id", "dry_run"}
        assert found[name].input_schema["required"] == ["action_id"]
        assert found[name].input_schema["additionalProperties"] is False
        assert found[name].annotations.destructive_hint and found[name].description
    assert found["server_status"].annotations.read_only_hint


def test_a_released_action_is_sent_once_and_the_journal_knows(desk: Desk) -> None:
    record = released(desk)
    call = ("reply_email", {"action_id": record.action_id})
    first, second = ask(environ(desk), call, call)
    assert first.structured_content["done"] and first.structured_content["provider"] == "outbox"
    assert first.structured_content["recipients"] == ["ann@example.org"]
    assert "nothing was done now" in text(second)
    current = desk.store.get(record.action_id)
    assert current is not None and current.outcome is Outcome.ACCEPTED and current.receipt is not None
    assert len(outbox(desk)) == 1
    assert desk.cycle() == "sent 1", "the executor concludes from the journal alone"


def test_no_other_client_can_act_past_the_journal(desk: Desk) -> None:
    waiting = approved(desk)
    revoked = released(desk, "mail 2")
    desk.store.revoke(revoked)
    path = desk.request("mail 3")
    send_email = released(desk, "mail 4")
    answers = ask(
        environ(desk),
        ("reply_email", {"action_id": waiting.action_id}),
        ("reply_email", {"action_id": revoked.action_id}),
        ("reply_email", {"action_id": path.stem}),
        ("reply_email", {"action_id": "../../etc/passwd"}),
        ("send_email", {"action_id": send_email.action_id}),
        ("forward_email", {"action_id": waiting.action_id}),
        ("reply_email", {}),
    )
    words = [
        "not released",
        "taken back",
        "no approved action",
        "no approved action",
        "not a send_email",
        "not a forward_email",
        "action_id",
    ]
    for answer, word in zip(answers, words, strict=True):
        assert word in text(answer)
    assert outbox(desk) == []


def test_draft_only_refuses_first_of_all(desk: Desk) -> None:
    record = released(desk)
    calls = [(tool, {"action_id": i, "dry_run": d}) for tool in ("send_email", "reply_email", "forward_email")
             for i in (record.action_id, "unknown") for d in (False, True)]  # fmt: skip
    calls.append(("server_status", {}))  # type: ignore[arg-type]
    *answers, status = ask(environ(desk, AGENT_MODE="draft_only"), *calls)
    assert all("draft-only" in text(answer) for answer in answers)
    assert status.structured_content["may_act"] is False and status.structured_content["mode"] == "draft_only"
    assert outbox(desk) == []
    assert desk.store.get(record.action_id).token_consumed_at is None  # type: ignore[union-attr]


def test_a_dry_run_verifies_and_leaves_the_token(desk: Desk) -> None:
    record = released(desk)
    by_argument, by_setting = (
        ask(environ(desk), ("reply_email", {"action_id": record.action_id, "dry_run": True}))[0],
        ask(environ(desk, DRY_RUN="true"), ("reply_email", {"action_id": record.action_id}))[0],
    )
    for answer in (by_argument, by_setting):
        assert answer.structured_content["done"] is False
    assert outbox(desk) == [] and desk.store.get(record.action_id).token_consumed_at is None  # type: ignore[union-attr]


def test_a_dry_run_of_what_was_done_is_refused_as_the_real_call_is(desk: Desk) -> None:
    """It showed a mail as if it were still to be sent, under another Message-ID where MAIL_FROM had changed."""
    record = released(desk)
    call, dry = {"action_id": record.action_id}, {"action_id": record.action_id, "dry_run": True}
    done, before = ask(environ(desk), ("reply_email", call), ("reply_email", dry))
    assert done.structured_content["done"] and "was done or tried before" in text(before)
    assert desk.cycle() == "sent 1"
    (after,) = ask(environ(desk, MAIL_FROM="other@example.com"), ("reply_email", dry))
    assert "is done: nothing would be done" in text(after) and len(outbox(desk)) == 1


def test_an_argument_that_no_tool_has_is_refused(desk: Desk) -> None:
    """Whoever names a recipient must not believe that the mail goes there."""
    record = released(desk)
    (answer,) = ask(environ(desk), ("reply_email", {"action_id": record.action_id, "to": "eve@example.org"}))
    assert "to\n  Extra inputs are not permitted" in text(answer) and outbox(desk) == []
    assert desk.store.get(record.action_id).token_consumed_at is None  # type: ignore[union-attr]


def test_damaged_bytes_are_not_sent(desk: Desk) -> None:
    record = released(desk)
    desk.store._rows("UPDATE actions SET frozen = CAST(? AS BLOB)", record.frozen.replace(b"Ann", b"Eve"))
    (answer,) = ask(environ(desk), ("reply_email", {"action_id": record.action_id}))
    assert "not those approved" in text(answer) and outbox(desk) == []


@pytest.mark.parametrize("option", ["--help", "--check"])
def test_the_options_of_a_process(option: str, desk: Desk) -> None:
    done = subprocess.run(
        [*SERVER, option], cwd=PROJECT_ROOT, env=environ(desk), capture_output=True, text=True, check=True
    )
    assert "email_server" in done.stdout
    bad = subprocess.run(
        [*SERVER], cwd=PROJECT_ROOT, env=environ(desk, SMTP_PORT="0"), capture_output=True, text=True, check=False
    )
    assert bad.returncode == 2 and "SMTP_PORT" in bad.stderr and bad.stdout == ""


def test_another_client_finds_the_server_as_the_readme_configures_it(desk: Desk, tmp_path: Path) -> None:
    """From a folder of its own, where the client knows no `cwd`."""
    told = re.search(r"```json\n(\{\n  \"mcpServers\".*?)```", (PROJECT_ROOT / "README.md").read_text(), re.DOTALL)
    assert told is not None
    [entry] = json.loads(told[1].replace("/opt/ai-employee/.venv/bin/python", sys.executable)
                         .replace("/opt/ai-employee", str(PROJECT_ROOT)))["mcpServers"].values()  # fmt: skip

    async def talk() -> tuple[str, str]:
        env = environ(desk) | entry["env"]
        server = StdioServerParameters(command=entry["command"], args=entry["args"], env=env, cwd=tmp_path)
        async with Client(server) as client:
            return client.server_info.name, client.server_info.version

    assert asyncio.run(talk()) == ("email", VERSION)


def test_a_server_without_an_account_may_not_act_and_says_what_is_missing(desk: Desk) -> None:
    none = acting.Desk(desk.node)
    social_server.build(none)
    status = none.server_status()
    assert not status.may_act and "LINKEDIN_TOKEN" in status.lacks["linkedin_post"] and len(status.lacks) == 4
    mail = acting.Desk(desk.node)
    email_server.build(mail)
    status = mail.server_status()
    assert status.may_act and status.lacks == {}


# Our client


def tools(desk: Desk, command: list[str], **options: Any) -> McpTools:
    return McpTools(
        {"email": command}, cwd=PROJECT_ROOT, idle_seconds=60, clock=SystemClock(), env=environ(desk), **options
    )


def test_our_client_reads_answers_and_refusals_and_keeps_the_server(desk: Desk) -> None:
    client = tools(desk, SERVER)
    try:
        status = client.call("email", "server_status", {})
        assert status["mode"] == "full"
        with pytest.raises(AdapterError, match=r"^no approved action") as refused:
            client.call("email", "reply_email", {"action_id": "x"})
        assert not refused.value.retry
        bridge = client._bridge
        assert client.call("email", "reply_email", {"action_id": released(desk).action_id})["done"]
        assert client._bridge is bridge
        with pytest.raises(AdapterError, match="no MCP server 'odoo'"):
            client.call("odoo", "x", {})
    finally:
        client.close()


def test_a_server_that_does_not_start_is_worth_a_retry(desk: Desk) -> None:
    client = tools(desk, [sys.executable, "-c", "raise SystemExit('broken settings')"])
    try:
        with pytest.raises(AdapterError, match="did not start: broken settings") as failed:
            client.call("email", "reply_email", {"action_id": "x"})
        assert failed.value.retry
    finally:
        client.close()


@pytest.mark.parametrize("broken", ['{"zones": ', "[" * 100_000, '{"zones": {}}', "\udcff"])
@pytest.mark.parametrize("server", ["email", "odoo"])
def test_a_broken_zones_file_is_named_with_what_is_wrong_in_it(
    desk: Desk, tmp_path: Path, broken: str, server: str
) -> None:
    zones = tmp_path / "zones.json"
    zones.write_bytes(broken.encode(errors="surrogateescape"))
    command = [sys.executable, "-m", f"mcp_servers.{server}_server"]
    env = environ(desk, ZONES_FILE=str(zones))
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr
    assert f"{zones}: " in done.stderr
    expected = "put back the zones.json" if "{}" not in broken else "zones: 'local' is missing"
    assert expected in done.stderr


FLAKY = """
    import os, time
    from mcp.server.mcpserver import MCPServer
    server = MCPServer("flaky")
    @server.tool()
    def die() -> str:
        "Dies."
        os._exit(1)
    @server.tool()
    def hang() -> str:
        "Hangs."
        time.sleep(600)
    @server.tool()
    def crash() -> str:
        "Breaks."
        raise RuntimeError("secret inside")
    @server.tool()
    def fine() -> dict[str, str]:
        "Works."
        return {"is": "fine"}
    server.run("stdio")
"""


def test_a_server_that_dies_or_hangs_leaves_the_outcome_open_and_the_next_call_gets_a_new_one(desk: Desk) -> None:
    client = tools(desk, [sys.executable, "-c", textwrap.dedent(FLAKY)], call_seconds=20)
    try:
        with pytest.raises(OutcomeUnknown):
            client.call("email", "die", {})
        assert client.call("email", "fine", {}) == {"is": "fine"}
        with pytest.raises(AdapterError) as broken:
            client.call("email", "crash", {})
        assert "secret" not in str(broken.value)
        client._call_seconds = 1
        with pytest.raises(OutcomeUnknown, match="no answer within"):
            client.call("email", "hang", {})
        client._call_seconds = 20
        client.stopped = lambda: True
        with pytest.raises(OutcomeUnknown, match="stopped"):
            client.call("email", "hang", {})
        client.stopped = lambda: False
        assert client.call("email", "fine", {}) == {"is": "fine"}
    finally:
        client.close()


def test_the_sdk_stays_out_of_the_process_that_calls(desk: Desk) -> None:
    code = """
        import sys
        from utils.bootstrap import Services
        services = Services.from_environment()
        print(services.tools.call("email", "server_status", {})["mode"], services.executor.run())
        services.close()
        print(sorted({name.split(".")[0] for name in sys.modules} & {"mcp", "pydantic", "asyncio", "anyio", "git"}))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=PROJECT_ROOT, env=environ(desk),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["full idle", "[]"]
