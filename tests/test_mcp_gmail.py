"""Mail by Gmail through the real server process, which is killed while Gmail has its call."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import FakeClock
from tests.fakes.desk import Desk, World, sha
from tests.fakes.gmail import ACCOUNT, GmailServer, token_file
from tests.fakes.provider import Call, Fault
from utils.adapters.clock import SystemClock
from utils.adapters.mcp_client import McpTools
from utils.bootstrap import Services
from utils.execution.journal import State
from utils.ports import OutcomeUnknown
from utils.settings import PROJECT_ROOT

SEND = "POST /gmail/v1/users/me/drafts/send"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_server_never_sends_twice(
    make_node: Callable[..., Services], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    clock = FakeClock()
    clock._now = SystemClock().now()
    with GmailServer(clock.now) as server:
        token = tmp_path / "token.json"
        token.touch(mode=0o600)
        token.write_text(token_file(server.url))
        given = {
            "MAIL_SENDER": "gmail",
            "MAIL_FROM": ACCOUNT,
            "GMAIL_API_URL": server.url,
            "GMAIL_SEND_TOKEN_PATH": str(token),
        }
        desk = Desk(make_node, clock, World(), **given)
        monkeypatch.setattr("utils.bootstrap.time.sleep", clock.advance)
        s = desk.node.settings
        env = {**os.environ, **given, "ENV_FILE": "", "VAULT_PATH": str(s.vault_path), "STATE_DIR": str(s.state_dir)}
        path = desk.request()
        record = desk.store.begin(desk.approvals.approve(path.stem, sha(path), by="anna"))
        assert record is not None

        took_it = threading.Event()
        real = server.answer

        def answer(call: Call) -> Any:
            said = real(call)
            if f"{call.method} {call.path}" == SEND:
                took_it.set()
            return said

        monkeypatch.setattr(server, "answer", answer)
        server.faults.append(Fault(SEND, f"silence {when}"))
        command = [sys.executable, "-m", "mcp_servers.email_server"]
        tools = McpTools({"email": command}, cwd=PROJECT_ROOT, idle_seconds=60, clock=SystemClock(), env=env)
        failures: list[Exception] = []

        def call() -> None:
            try:
                tools.call("email", "reply_email", {"action_id": record.action_id})
            except Exception as error:
                failures.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        assert took_it.wait(60)
        (child,) = [
            one for one in psutil.Process().children(recursive=True) if "mcp_servers.email_server" in one.cmdline()
        ]
        child.kill()
        thread.join(60)
        tools.close()
        assert len(failures) == 1 and isinstance(failures[0], OutcomeUnknown)
        assert ("sent 1" if when == "after" else "waiting to try again") in desk.cycle()
        clock.advance(60)
        desk.cycle()
        found = desk.store.get(record.action_id)
        assert found is not None and found.state is State.DONE and len(server.ledger) == 1 and server.drafts == {}
