"""R4: attempts to have something carried out that the human at Local did not approve, over the real parts.

Each attempt is drawn from its number: as the Cloud, by a forged, edited, expired, replayed, swapped or remote approval,
by a flipped byte of what was frozen, of what lies in `Approved/` or of a signed approval, by an MCP client that was
told no. `attempt` makes one and raises `Broken` where anything was done by it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from mcp.server.mcpserver.exceptions import ToolError

from mcp_servers import acting
from tests.acting_ground import ANN, NO_CAPS, PICTURE_DATA, START, Broken, Ground, Node, Paper, Process, paper
from tests.social_kit import PICTURE
from utils.adapters.approver_keys import ApproverKeys
from utils.bootstrap import Services
from utils.core.acting import Absence, Order, Plan, Receipt
from utils.core.badges import Letter
from utils.core.policy import ACTIONS, TOOL_ACTIONS, tool_for
from utils.core.remote_approval import BadStatement, Statement, encode, read
from utils.execution import requests
from utils.execution.answers import ApprovalError
from utils.execution.counts import ExecutionProblem
from utils.execution.journal import ActionRecord, Outcome
from utils.ports import AdapterError

APPROVED, PENDING = "Approved", "Pending_Approval/email"


class Hand:
    """Does whatever it is told, and remembers it."""

    provider = "made-up"

    def __init__(self, ledger: list[Order]) -> None:
        self._ledger = ledger

    def plan(self, order: Order) -> Plan:
        return Plan(f"ref {order.action_id}", (ANN,), (("To", ANN),))

    def act(self, order: Order, plan: Plan, prepared: Callable[[str], None]) -> Receipt:
        self._ledger.append(order)
        return Receipt(self.provider, order.action_id, "ok")

    def find(self, order: Order, plan: Plan) -> Receipt | Absence:
        return Absence.OPEN


@lru_cache
def key(number: int) -> tuple[Ed25519PrivateKey, str]:
    """A key pair of this process, the public part as texts have it."""
    made = Ed25519PrivateKey.from_private_bytes(bytes([number] * 32))
    return made, encode(made.public_key().public_bytes_raw())


ENROLLED, REVOKED, STRANGER = 1, 2, 3


class Attempt(Node):
    """One attempt, on a Local node where a request waits and was seen."""

    def __init__(self, ground: Ground, number: int, action: str | None = None) -> None:
        super().__init__(ground)
        self.dice = random.Random(number)
        self.serial = number // len(KINDS)  # of its kind
        self.ledger: list[Order] = []
        self._hand = Hand(self.ledger)
        self.options["zones"] = ground.with_zones(NO_CAPS)
        action = action or self.dice.choice(["reply_email", "reply_email", *ACTIONS])
        self.paper = paper(0, action, START + timedelta(hours=24))
        self.lay(PENDING, self.paper)
        if action == "instagram_post":
            picture = self.vault / PICTURE
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_bytes(PICTURE_DATA)

    @property
    def local(self) -> Services:
        return self.services("local")

    def hand(self, action: str) -> Hand:
        return self._hand

    def call(self, services: Services, tool: str, action_id: str) -> dict[str, Any]:
        self.ask(services, tool, action_id, quiet=False)
        return {}

    # What people and programs do

    def lay(self, folder: str, one: Paper, data: bytes | None = None) -> None:
        (self.vault / folder / one.name).write_bytes(one.wordings[0] if data is None else data)

    def cycle(self, services: Services | None = None, times: int = 2) -> None:
        services = services or self.local
        for _ in range(times):
            services.approvals.observe()
            try:
                services.executor.run()
            except ExecutionProblem:
                pass

    def ask(self, services: Services, tool: str, action_id: str, dry_run: bool = False, *, quiet: bool = True) -> None:
        try:
            acting.Desk(services).act(tool, action_id, dry_run)
        except ToolError as error:
            if not quiet:
                raise AdapterError(str(error), retry=False) from None

    def approved(self, one: Paper | None = None, *, see: bool = True) -> ActionRecord:
        """The human approves what waits."""
        one = one or self.paper
        self.local.store.facts.read(one.task_id, Letter(ANN, genuine=True, message_id="<q1@example.org>"))
        if see:
            self.local.approvals.observe()
        return self.local.approvals.approve(one.id, requests.sha256(one.wordings[0]), by="anna")

    def released(self) -> ActionRecord:
        """Approved, and about to be carried out: the token is fresh."""
        record = self.local.store.begin(self.approved())
        assert record is not None
        return record

    def executed(self) -> ActionRecord:
        """It was carried out, once and rightly."""
        record = self.approved()
        self.cycle(times=1)
        assert len(self.ledger) == 1
        return record

    def flipped(self, data: bytes) -> bytes:
        """With one bit turned, another one for each serial: all bytes first, then their other bits."""
        at, bit = self.serial % len(data), self.serial // len(data) % 8
        return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]

    def statement(self, signer: int = ENROLLED, **other: str) -> Statement:
        """An approval from elsewhere, signed by this key; other values than the true ones are signed as well."""
        keys = ApproverKeys(self.local.settings.keys_dir)
        if not keys.path.exists():
            for number in (ENROLLED, REVOKED):
                keys.enrol(f"phone-{number}", key(number)[1], START)
            keys.revoke(f"phone-{REVOKED}", START)
        private, public = key(signer)
        sha256 = requests.sha256(self.paper.wordings[0])
        made = replace(self.local.remote_approvals.prepare(self.paper.id, sha256, public), **other)
        return made.signed(private.sign(made.to_sign()))

    def arrives(self, data: bytes, name: str | None = None) -> None:
        """Something lies among the approvals after a sync."""
        name = name or f"{self.paper.id}.{self.dice.randbytes(6).hex()}.json"
        (self.vault / "Updates/approvals" / name).write_bytes(data)

    @contextmanager
    def refused(self) -> Iterator[None]:
        """What is answered is the answers' test; here it matters that nothing is done."""
        try:
            yield
        except (ApprovalError, ValueError):
            pass

    # The attempts

    def as_cloud(self) -> None:
        record = self.released() if self.dice.random() < 0.5 else self.approved()
        mode = self.dice.choice(["draft_only", "", "FULL", "full ", "cloud"])
        cloud = self.services("cloud", agent_mode=mode, agent_name="cloud")
        for tool in (tool_for(record.action, {}), self.dice.choice([*ACTIONS, *TOOL_ACTIONS])):
            self.ask(cloud, tool, record.action_id, self.dice.random() < 0.2)
        with self.refused():
            cloud.approvals.approve(self.paper.id, record.sha256, by="cloud")
        with self.refused():
            cloud.executor.settle(record.action_id, "ask_again", by="cloud")
        self.cycle(cloud)

    def approve_as_cloud(self) -> None:
        cloud = self.services("cloud", agent_mode="draft_only", agent_name="cloud")
        cloud.approvals.observe()
        with self.refused():
            cloud.approvals.approve(self.paper.id, requests.sha256(self.paper.wordings[0]), by="cloud")
        self.cycle()
        with self.refused():
            cloud.remote_approvals.give(self.paper.id, requests.sha256(self.paper.wordings[0]))
        self.cycle()

    def edited_in_approved(self) -> None:
        self.approved()
        self.lay(APPROVED, self.paper, self.dice.choice(self.paper.wordings[1:]))
        self.cycle()

    def flipped_in_approved(self) -> None:
        self.approved()
        self.lay(APPROVED, self.paper, self.flipped(self.paper.wordings[0]))
        self.cycle()

    def flipped_in_pending(self) -> None:
        """The approval names the bytes that were shown."""
        self.local.approvals.observe()
        self.lay(PENDING, self.paper, self.flipped(self.paper.wordings[0]))
        with self.refused():
            self.local.approvals.approve(self.paper.id, requests.sha256(self.paper.wordings[0]), by="anna")
        self.cycle()

    def flipped_in_journal(self) -> None:
        record = self.approved() if self.serial % 2 else self.released()
        self.ground.database.execute("UPDATE actions SET frozen = ?", (self.flipped(record.frozen),))
        self.ask(self.local, tool_for(record.action, {}), record.action_id)
        self.cycle()

    def flipped_statement(self) -> None:
        self.local.approvals.observe()
        true = self.statement()
        data = self.flipped(true.file())
        try:
            if read(data) == true:
                return  # white space: the same words, rightly signed
        except BadStatement:
            pass
        self.arrives(data)
        self.cycle()

    def flipped_after_statement(self) -> None:
        self.local.approvals.observe()
        self.arrives(self.statement().file())
        self.lay(PENDING, self.paper, self.flipped(self.paper.wordings[0]))
        self.cycle()

    def forged_statement(self) -> None:
        self.local.approvals.observe()
        true = self.statement()
        other, later = key(STRANGER)[1], f"{START + timedelta(days=300):%Y-%m-%dT%H:%M:%SZ}"
        forged = self.dice.choice([
            replace(true, signer="", signature=""),
            replace(true, signer=other),
            replace(true, signature=encode(self.dice.randbytes(64))),
            replace(true, expires=later),
            replace(true, nonce=self.dice.randbytes(16).hex()),
            self.statement(STRANGER),
            self.statement(REVOKED),
            replace(self.statement(STRANGER), signer=key(ENROLLED)[1]),
            self.statement(sha256=requests.sha256(self.paper.wordings[1])),
            self.statement(action=next(name for name in ACTIONS if name != self.paper.action)),
            self.statement(request=paper(1, self.paper.action, START + timedelta(hours=24)).id),
            self.statement(time=later, expires=later),
            self.statement(expires=f"{START:%Y-%m-%dT%H:%M:%SZ}"),
        ])  # fmt: skip
        if self.dice.random() < 0.3:
            (self.vault / PENDING / self.paper.name).rename(self.vault / APPROVED / self.paper.name)
            self.in_git.add((f"{APPROVED}/{self.paper.name}", self.paper.wordings[0]))
        self.arrives(forged.file())
        self.cycle()

    def expired_statement(self) -> None:
        self.local.approvals.observe()
        data = self.statement().file()
        self.clock.advance(self.dice.choice([24, 25, 100, 24 * 400]) * 3600)
        self.arrives(data)
        self.cycle()

    def statement_for_the_unseen(self) -> None:
        """Request and wording came straight into Approved/."""
        true = self.statement()
        (self.vault / PENDING / self.paper.name).unlink()
        self.lay(APPROVED, self.paper)
        self.arrives(true.file())
        self.cycle()

    def replayed_statement(self) -> None:
        """It was used once; what it approved was taken back, or carried out."""
        self.local.approvals.observe()
        data = self.statement().file()
        self.arrives(data)
        self.local.approvals.observe()
        record = self.local.store.live(self.paper.id)
        assert record is not None and record.via.startswith("signed:")
        if self.dice.random() < 0.5:
            self.local.executor.cancel(record.action_id, by="anna")
        else:
            self.cycle(times=1)
            assert len(self.ledger) == 1
            self.ledger.clear()
            self.lay(PENDING, self.paper)
        self.arrives(data)
        self.cycle()

    def expired(self) -> None:
        record = self.approved() if self.serial % 2 else None
        self.clock.advance((record.expires_at - START).total_seconds() if record else 24 * 3600)
        if record is None:
            with self.refused():
                self.approved()
            (self.vault / PENDING / self.paper.name).rename(self.vault / APPROVED / self.paper.name)
        self.cycle()

    def replayed(self) -> None:
        record = self.executed()
        self.ledger.clear()
        folder = self.dice.choice([PENDING, APPROVED])
        self.lay(folder, self.paper, self.dice.choice(self.paper.wordings))
        if self.dice.random() < 0.5:
            self.in_git.add((f"{folder}/{self.paper.name}", self.paper.wordings[0]))
        self.ask(self.local, tool_for(record.action, {}), record.action_id)
        with self.refused():
            self.local.approvals.approve(self.paper.id, record.sha256, by="anna")
        self.cycle()

    def taken_back(self) -> None:
        record = self.approved()
        with self.refused():
            if self.dice.random() < 0.5:
                self.local.executor.cancel(record.action_id, by="anna")
            else:
                self.local.approvals.reject(self.paper.id, by="anna")
        self.ask(self.local, tool_for(record.action, {}), record.action_id)
        self.cycle()

    def swapped(self) -> None:
        """One of two is approved; the other one lies under its name, or beside it."""
        other = paper(1, self.paper.action, START + timedelta(hours=24))
        self.lay(PENDING, other)
        self.approved()
        (self.vault / PENDING / other.name).unlink()
        if self.serial % 2:
            self.lay(APPROVED, self.paper, other.wordings[0])
            self.lay(APPROVED, other, self.paper.wordings[0])
        else:
            (self.vault / APPROVED / self.paper.name).rename(self.vault / APPROVED / other.name)
        self.cycle()

    def by_sync(self) -> None:
        """What a sync puts into Approved/, of which `trust` alone makes an approval, and never of a payment."""
        if self.dice.random() < 0.5:
            self.local.approvals.observe()
        trusting = self.paper.action in ("payment", "invoice") and self.dice.random() < 0.5
        if trusting:
            self.options["zones"] = self.ground.with_zones(NO_CAPS, remote_approvals="trust")
            self._services.clear()
        data = self.dice.choice(self.paper.wordings)
        (self.vault / PENDING / self.paper.name).unlink()
        self.lay(APPROVED, self.paper, data)
        self.in_git.add((f"{APPROVED}/{self.paper.name}", data))
        self.cycle()

    def moved_without_worth(self) -> None:
        """A move approves no payment, no stranger and nothing that was not seen to wait."""
        stranger = self.paper.action in ("reply_email", "send_email", "forward_email")
        unseen = self.dice.random() < 0.5 or not (stranger or self.paper.action in ("payment", "invoice"))
        if not unseen:
            self.local.approvals.observe()
        (self.vault / PENDING / self.paper.name).rename(self.vault / APPROVED / self.paper.name)
        self.cycle()

    def another_hash(self) -> None:
        self.local.approvals.observe()
        true = requests.sha256(self.paper.wordings[0])
        for wrong in (
            true.upper(),
            true[:-1],
            "",
            self.dice.randbytes(32).hex(),
            self.flipped(true.encode()).decode("latin-1"),
        ):
            with self.refused():
                self.local.approvals.approve(self.paper.id, wrong, by="anna")
        self.cycle()

    def by_client(self) -> None:
        """Another MCP client: not released, not of this tool, of no id that there is."""
        record = self.approved()
        self.ask(self.local, tool_for(record.action, {}), record.action_id)
        odd = self.dice.choice(["", "'; --", "%", record.action_id[:-1], record.request_id, record.sha256, "../x"])
        self.ask(self.local, tool_for(record.action, {}), odd)
        released = self.local.store.begin(record)
        assert released is not None
        for tool in (*ACTIONS, *TOOL_ACTIONS):
            if tool != tool_for(record.action, {}):
                self.ask(self.local, tool, record.action_id)
        self.ask(self.local, tool_for(record.action, {}), record.action_id, dry_run=True)

    def over_and_done(self) -> None:
        """A token that was used, whatever came of it, and one that was taken back."""
        record = self.released()
        if self.serial % 2:
            assert self.local.store.consume(record, "ref", ())
            outcome = self.dice.choice([None, *Outcome])
            if outcome is not None:
                receipt = Receipt("made-up", "1") if outcome is Outcome.ACCEPTED else None
                self.local.store.report(record, outcome, receipt=receipt)
        else:
            assert self.local.store.revoke(record)
        self.ask(self.local, tool_for(record.action, {}), record.action_id)

    def braked(self) -> None:
        """Approved, but everything is stopped, or it is a dry run."""
        record = self.approved()
        services = self.local
        if self.serial % 2:
            services.brakes.stop(self.dice.choice(["", "wait"]))
        else:
            services = self.services("dry", dry_run=True)
        self.cycle(services)
        services.store.begin(record)
        self.ask(services, tool_for(record.action, {}), record.action_id)


KINDS: tuple[Callable[[Attempt], None], ...] = (
    Attempt.as_cloud, Attempt.approve_as_cloud, Attempt.edited_in_approved, Attempt.flipped_in_approved,
    Attempt.flipped_in_pending, Attempt.flipped_in_journal, Attempt.flipped_statement, Attempt.flipped_after_statement,
    Attempt.forged_statement, Attempt.expired_statement, Attempt.statement_for_the_unseen, Attempt.replayed_statement,
    Attempt.expired, Attempt.replayed, Attempt.taken_back, Attempt.swapped, Attempt.by_sync,
    Attempt.moved_without_worth, Attempt.another_hash, Attempt.by_client, Attempt.over_and_done, Attempt.braked,
)  # fmt: skip


def attempt(ground: Ground, number: int, action: str | None = None) -> str:
    """Make the attempt of this number; its kind. Raises `Broken` where something was done by it."""
    kind = KINDS[number % len(KINDS)]
    made = Attempt(ground, number, action)
    made.run(Process("attempt"), lambda: kind(made))
    if made.ledger:
        orders = ", ".join(f"{order.request.action} {order.action_id}" for order in made.ledger)
        raise Broken(f"attempt {number}, {kind.__name__} ({made.paper.action}): {orders}")
    return kind.__name__


def works(ground: Ground, moment: datetime = START) -> int:
    """How often what all attempts begin with is carried out once the human approves it: each time, or they show
    nothing."""
    done = 0
    for number, action in enumerate(ACTIONS):
        made = Attempt(ground, number, action)
        made.run(Process("honest"), made.executed)
        done += [order.request.action for order in made.ledger] == [action]
    return done
