"""What tests of mail by Gmail share: a desk whose mail goes through Gmail on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FakeClock
from tests.fakes.desk import Desk, World, sha
from tests.fakes.gmail import ACCOUNT, GmailServer, token_file
from tests.fakes.provider import Fault
from utils.bootstrap import Services
from utils.execution.journal import ActionRecord

ME = "/gmail/v1/users/me"
CREATE, SEND, TOKEN = f"POST /upload{ME}/drafts", f"POST {ME}/drafts/send", "POST /token"
REMOVE = f"DELETE {ME}/drafts"


@dataclass
class Story:
    """A desk whose mail goes through Gmail. While the hand waits, `meanwhile` happens, once each, in order."""

    desk: Desk
    server: GmailServer
    token: Path
    pauses: list[float] = field(default_factory=list)
    meanwhile: list[Callable[[], object]] = field(default_factory=list)

    @property
    def ledger(self) -> list[dict[str, Any]]:
        return self.server.ledger

    def approved(self, key: str = "mail 1", **fields: Any) -> ActionRecord:
        path = self.desk.request(key, **fields)
        return self.desk.approvals.approve(path.stem, sha(path), by="anna")

    def released(self, **fields: Any) -> ActionRecord:
        record = self.desk.store.begin(self.approved(**fields))
        assert record is not None
        return record

    def breaks(self, call: str, kind: str) -> None:
        self.server.faults.append(Fault(call, kind))

    def now(self, record: ActionRecord) -> ActionRecord:
        found = self.desk.store.get(record.action_id)
        assert found is not None
        return found

    def later(self, cycles: int = 8) -> None:
        """Time goes by, and the executor runs."""
        for _ in range(cycles):
            self.desk.clock.advance(600)
            self.desk.cycle()

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.desk.clock.advance(seconds)
        if self.meanwhile:
            self.meanwhile.pop(0)()


@contextmanager
def gmail_story(make_node: Callable[..., Services], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    """A node that sends by a Gmail account on loopback; `folder` is for its token. What waits, waits by the clock."""
    clock = FakeClock()
    with GmailServer(clock.now) as server:
        token = folder / "token.json"
        token.touch(mode=0o600)
        token.write_text(token_file(server.url))
        given = {
            "MAIL_SENDER": "gmail", "MAIL_FROM": ACCOUNT, "GMAIL_API_URL": server.url,
            "GMAIL_SEND_TOKEN_PATH": str(token), "PROVIDER_TIMEOUT_SECONDS": "60",
        }  # fmt: skip
        story = Story(Desk(make_node, clock, World(), **given), server, token)
        monkeypatch.setattr("utils.bootstrap.time.sleep", story.pause)
        yield story
