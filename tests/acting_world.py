"""Random executions: the real journal, executor, approvals, brakes and acting server, in a world that is made up.

A history is drawn from its seed: some requests, hands of one step or two that see all, some or nothing of what they
did, refusals, lost answers, kills at every step of every process (the watcher, the server below it, all at once),
other processes that have their turn in the middle, restarts, STOP, undo, edits after the approval, replays, dry runs.
`play` plays one and raises `Broken` where S6, S8 or S9 does not hold. The person in it tells the truth: asked what
became of an action, they look at the ledger.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from mcp.server.mcpserver.exceptions import ToolError

from mcp_servers import acting
from tests.acting_counts import Act, Counts, Hand, News
from tests.acting_ground import ANN, NO_CAPS, START, Broken, Ground, Killed, Node, Paper, Process, paper
from utils.bootstrap import Services
from utils.core.acting import Order, Receipt
from utils.core.badges import Letter
from utils.core.brakes import Brakes
from utils.core.policy import tool_for
from utils.execution import requests
from utils.execution.answers import ApprovalError
from utils.execution.counts import ExecutionProblem
from utils.execution.journal import ActionRecord, State
from utils.ports import AdapterError, AuthRefused, OutcomeUnknown

HOUR = 3600
WATCHED = ("Pending_Approval/email", "Approved", "Rejected")


class World(Node):
    """One history. `past` is what happened, for whoever looks into a failure."""

    def __init__(self, ground: Ground, seed: int) -> None:
        super().__init__(ground)
        self.dice = dice = random.Random(seed)
        self.counts = Counts(histories=1)
        self.past: list[str] = []
        self.ledger: list[Act] = []
        self.news: list[News] = []
        self.tries: Counter[str] = Counter()
        self.drafts = 0
        self.wrong: list[str] = []
        self.touched: Counter[str] = Counter()  # when a hand was last on a file, in steps
        self.said_yes: set[tuple[str, str]] = set()  # (request, sha256) that the person confirmed
        self.placed: set[tuple[str, str]] = set()  # … that came into Approved/ by a local hand
        self.meddled: set[str] = set()  # requests whose files the person copied or removed
        self.stormy = False
        self.kill, self.turn = dice.choice([(0.0, 0.0), (0.01, 0.0), (0.03, 0.03), (0.01, 0.1)])
        self.fault = dice.choice([0.0, 0.3, 0.6])
        self._hand = Hand(self, two_steps=dice.random() < 0.5, sight=dice.choice(["all", "some", "nothing", "told"]))
        brakes = Brakes(per_hour=1) if dice.random() < 0.1 else NO_CAPS
        self.options = {
            "undo_seconds": dice.choice([0.0, 0.0, 10.0]),
            "zones": ground.with_zones(brakes),
        }
        kinds = ["payment" if dice.random() < 0.15 else "reply_email" for _ in range(dice.choice([1, 1, 2, 2, 3]))]
        lives = [dice.choice([2, 24]) for _ in kinds]
        self.papers = [paper(n, kind, START + timedelta(hours=lives[n])) for n, kind in enumerate(kinds)]
        for one in self.papers:
            self._write(f"Pending_Approval/email/{one.name}", one.wordings[0])
            if dice.random() < 0.5:
                self._write(f"In_Progress/cloud/{one.task_id}.md", one.task)
            if dice.random() < 0.7:
                self.services("api").store.facts.read(
                    one.task_id, Letter(ANN, genuine=True, message_id="<q1@example.org>")
                )

    # The course of a history

    def play(self) -> None:
        """To its end, and judged."""
        events = self.dice.randint(4, 12)
        begins = ("approve", "cycle", "time", "cycle", "time") if self._hand.sight == "told" else ("approve",)
        self.event("cycle")
        for number in range(events):
            self.stormy = True
            self.event(begins[number] if number < len(begins) else self._draw())
            self.stormy = False
        self._settle_down()
        self._judge()

    def _draw(self) -> str:
        return self.dice.choices(list(EVENTS), EVENTS.values())[0]

    def event(self, name: str) -> None:
        """Something happens, in a process of its own or by the person's hand."""
        self.past.append(f"{'  ' * len(self.running)}{name}")
        process = Process(PROCESS.get(name, "api"), begun=self.counts.steps)
        self.run(process, getattr(self, f"_{name}"))

    def _settle_down(self) -> None:
        self.waits = None
        self.event("go")
        for hours in (0, 1, 1, 1, 1, 25, 25, 25):
            self.clock.advance(hours * HOUR + 60)
            self.event("cycle")
            store = self.services("watcher").store
            if not store.in_state(State.APPROVED, State.SENDING) and not store.unfiled():
                break
        self.event("cycle")

    # What can happen

    def _cycle(self) -> None:
        self._cycle_of("watcher")

    def _other_cycle(self) -> None:
        self._cycle_of("second watcher")

    def _dry_cycle(self) -> None:
        self.running[-1].forbidden = "a dry run"
        self._cycle_of("dry watcher", dry_run=True)

    def _draft_only_cycle(self) -> None:
        self.running[-1].forbidden = "draft-only"
        self._cycle_of("draft-only watcher", agent_mode="draft_only")

    def _cycle_of(self, name: str, **settings: Any) -> None:
        services = self.services(name, **settings)
        services.approvals.observe()
        try:
            services.executor.run()
        except ExecutionProblem as problem:
            self.wrong.append(str(problem))

    def _approve(self) -> None:
        one = self.dice.choice(self.papers)
        services = self.services("api")
        try:
            shown = services.approvals.get(one.id)
            self.said_yes.add((one.id, shown.sha256))
            services.approvals.approve(one.id, shown.sha256, by="anna")
            self.counts.approvals += 1
        except ApprovalError:
            pass

    def _move(self) -> None:
        one = self.dice.choice(self.papers)
        data = self._read(f"Pending_Approval/email/{one.name}")
        if data is not None and not (self.vault / "Approved" / one.name).exists():
            self.placed.add((one.id, requests.sha256(data)))
            (self.vault / "Pending_Approval/email" / one.name).rename(self.vault / "Approved" / one.name)

    def _sync_into_approved(self) -> None:
        """The Cloud, or whoever owns the remote, puts a request of its own wording there."""
        one = self.dice.choice(self.papers)
        if one.id not in self.meddled and self._read(f"Approved/{one.name}") is None:
            self.meddled.add(one.id)
            data = self.dice.choice(one.wordings)
            self.in_git.add((f"Approved/{one.name}", data))
            self._write(f"Approved/{one.name}", data)

    def _edit(self) -> None:
        one = self.dice.choice(self.papers)
        for folder in WATCHED[:2]:
            if self._read(f"{folder}/{one.name}") is None:
                continue
            data = self.dice.choice(one.wordings)
            if folder == "Approved":
                self.placed.add((one.id, requests.sha256(data)))
            self._write(f"{folder}/{one.name}", data)

    def _replay(self) -> None:
        """What was there before lies there again: by the person's hand, who then means it, or by a sync."""
        one = self.dice.choice(self.papers)
        target = f"{self.dice.choice(WATCHED[:2])}/{one.name}"
        if self._read(target) is None:
            self.meddled.add(one.id)
            data = self._read(f"Done/{one.name}") or one.wordings[0]
            if self.dice.random() < 0.5:
                self.in_git.add((target, data))
            elif target.startswith("Approved"):
                self.placed.add((one.id, requests.sha256(data)))
            self._write(target, data)

    def _take_away(self) -> None:
        one = self.dice.choice(self.papers)
        path = self.vault / "Approved" / one.name
        if path.exists():
            self.meddled.add(one.id)
            self.touched[one.id] = self.counts.steps
            path.unlink()

    def _reject(self) -> None:
        self._try(lambda services: services.approvals.reject(self.dice.choice(self.papers).id, by="anna"))

    def _cancel(self) -> None:
        self._try(lambda services: services.executor.cancel(self._some(State.APPROVED), by="anna"))

    def _settle(self) -> None:
        action_id = self._some(State.UNKNOWN)
        happened = any(act.action_id == action_id for act in self.ledger)
        said = "happened" if happened else "ask_again"
        self._try(lambda services: services.executor.settle(action_id, said, by="anna"))

    def _client(self) -> None:
        """Another MCP client asks the server to carry something out."""
        action_id = self._some(*State)
        record = self.services("api").store.get(action_id)
        tool = tool_for(record.action if record else "reply_email", {})
        self._serve(self.services("api"), tool, action_id, dry_run=self.dice.random() < 0.2)

    def _stop(self) -> None:
        self.services("api").brakes.stop("wait")

    def _go(self) -> None:
        self.services("api").brakes.go()

    def _wait(self) -> None:
        self.waits = None if self.waits else "the vault was not synced yet"

    def _time(self) -> None:
        self.clock.advance(self.dice.choice([1, 20, 60, 600, HOUR, 3 * HOUR, 25 * HOUR]))

    def _try(self, act: Callable[[Services], object]) -> None:
        try:
            act(self.services("api"))
        except ApprovalError:
            pass

    def _some(self, *states: State) -> str:
        found = self.services("api").store.in_state(*states)
        return self.dice.choice(found).action_id if found else "none"

    # Processes

    def step(self) -> None:
        super().step()
        self.counts.steps += 1
        if not self.stormy:
            return
        orphan = self.running[-1].parent is not None and not self.running[-1].parent.alive
        luck = self.dice.random()
        if luck < self.kill:
            self._die()
        elif luck < self.kill + self.turn + 0.3 * orphan and len(self.running) < 4 and not self.locks.endless:
            self.counts.turns += 1
            self.event("other_cycle" if orphan else self.dice.choice(IN_THE_MIDDLE))

    def _die(self) -> None:
        self.counts.kills += 1
        process = self.running[-1]
        fate = self.dice.choice(["this", "all", "parent"])
        if fate == "parent" and process.parent is not None and process.parent.alive:
            self.past.append(f"{'  ' * len(self.running)}killed: {process.parent.name}")
            process.parent.alive = False
            self.locks.free(process.parent)
            return
        for one in self.running if fate == "all" else [process]:
            self.past.append(f"{'  ' * len(self.running)}killed: {one.name}")
            one.alive = False
            self._services.pop(one.name, None)
        raise Killed(process)

    def call(self, services: Services, tool: str, action_id: str) -> dict[str, Any]:
        self.step()
        watcher = self.running[-1]
        self._judge_call(services, action_id, watcher)
        answers: list[str | None] = []
        server = Process("server", parent=watcher, forbidden=watcher.forbidden)
        lived = self.run(server, lambda: answers.append(self._serve(services, tool, action_id)))
        if not lived:
            raise OutcomeUnknown("the server ended")
        if answers[0] is not None:
            raise AdapterError(answers[0], retry=False)
        self.step()
        return {}

    def _serve(self, services: Services, tool: str, action_id: str, *, dry_run: bool = False) -> str | None:
        process = self.running[-1]
        if dry_run or services.brakes.stopped() is not None:
            process.forbidden = "a dry run" if dry_run else "stopped"
        try:
            acting.Desk(services).act(tool, action_id, dry_run)
        except ToolError as error:
            return str(error)
        return None

    # The world

    def hand(self, action: str) -> Hand:
        return self._hand

    def act(self, order: Order, draft: str, mark: str) -> Receipt:
        """Somebody acts; what must be so at that very moment is judged here."""
        self.tries[order.action_id] += 1
        process = self.running[-1]
        self.step()
        fault = self._fault(self.tries[order.action_id])
        if fault in ("refused", "later", "auth"):
            raise AuthRefused("401") if fault == "auth" else AdapterError(f"{fault}: 429", retry=fault == "later")
        if fault != "lost before":
            self._judge_act(order, process)
            self.ledger.append(Act(order.action_id, order.request.id, draft))
            self.counts.acts += 1
            self.step()
        if fault is None:
            return Receipt("made-up", order.action_id, "ok")
        self._tell(order, mark, happened=fault != "lost before")
        raise OutcomeUnknown("reset") if self.dice.random() < 0.7 else RuntimeError("a bug")

    def _tell(self, order: Order, mark: str, *, happened: bool) -> None:
        """Of a try whose answer is lost: of a failure mostly at once, of a success mostly when the next look is over.

        So it comes about that a first try is proven to have failed, and of a second, which did happen, nothing is
        known yet but what was told of the first.
        """
        late = self.dice.random() < (0.7 if happened else 0.3)
        self.news.append(News(mark, happened, self.clock.now() + timedelta(hours=10 * late)))
        before = any(not one.happened and one.mark.startswith(order.action_id) for one in self.news)
        self.counts.late += happened and late and before and self._hand.sight == "told"

    def _fault(self, tries: int) -> str | None:
        if self.stormy and self._hand.sight == "told" and tries <= 2 and self.dice.random() < 0.7:
            self.counts.faults += 1
            return ["lost before", "lost after"][tries - 1]
        if not self.stormy or self.dice.random() >= self.fault:
            return None
        self.counts.faults += 1
        return self.dice.choice(["refused", "later", "later", "auth", "lost before", "lost after"])

    # The judge

    def _judge_act(self, order: Order, process: Process) -> None:
        record = self.services("judge").store.get(order.action_id)
        if record is None or requests.sha256(record.frozen) != record.sha256:
            self.wrong.append("an act without a record")
            return
        what = record.request_id, record.sha256
        query = "SELECT 1 FROM seen WHERE name = ? AND sha256 = ?"  # a move counts for what was seen to wait
        moved = what in self.placed and self.ground.database.execute(query, what).fetchone()
        if what not in self.said_yes and not moved:
            self.wrong.append(f"nobody approved these bytes of {record.request_id}")
        if order.request != requests.parse(record.frozen, record.request_id)[0]:
            self.wrong.append("other bytes than those approved are acted on")
        if record.state is not State.SENDING or record.token_consumed_at is None:
            self.wrong.append(f"an act that the journal does not know: {record.state}")
        if record.started_at is None or record.expires_at <= record.started_at:
            self.wrong.append("an act after its approval expired")
        if process.forbidden:
            self.wrong.append(f"an act although: {process.forbidden}")

    def _judge_call(self, services: Services, action_id: str, watcher: Process) -> None:
        """What lies in `Approved/` is what was approved, unless a hand was on it in this very cycle."""
        record = services.store.get(action_id)
        if record is not None and self.touched[record.request_id] <= watcher.begun:
            data = self._read(f"Approved/{record.request_id}.md")
            lies = data is not None and requests.sha256(data) == record.sha256
            self._must(lies, f"{record.request_id} is executed although it was edited or taken away")

    def _judge(self) -> None:
        store = self.services("judge").store
        records = store.recent(500)
        acts = Counter(act.action_id for act in self.ledger)
        told = Counter((line["action_id"], line["state"]) for line in self._action_log())
        for record in records:
            setattr(self.counts, record.state.value, getattr(self.counts, record.state.value, 0) + 1)
            self._judge_record(record, acts[record.action_id], told)
        for request, number in Counter(act.request_id for act in self.ledger).items():
            self._must(number == 1, f"{request} was carried out {number} times")
        self._must(set(acts) <= {record.action_id for record in records}, "an act without a record")
        self._must(not told or max(told.values()) == 1, "a line of the action log twice")
        self._must(not told or self.services("judge").action_log.verify().problems == (), "a chain is broken")
        places = self.places()
        for one in self.papers:
            self._judge_files(one, places.get(one.name, []), next((r for r in records if r.request_id == one.id), None))
        if self.wrong:
            raise Broken("; ".join(self.wrong))

    def _judge_record(self, record: ActionRecord, acts: int, told: Counter[tuple[str, str]]) -> None:
        name, state = record.request_id, record.state
        self._must(acts <= 1, f"{name}: one approval, {acts} acts")
        self._must(record.action != "payment" or self.tries[record.action_id] <= 1, "a payment was tried twice")
        if state is State.DONE:
            self._must(acts == 1 and record.receipt is not None, f"{name}: done, with {acts} acts")
        elif state is State.UNKNOWN:
            alerted = any(level == "CRITICAL" and name in title for level, title, _ in self.alerts)
            self._must(alerted, f"{name}: unknown, and nobody is told")
        elif state is State.FAILED:
            alerted = any(level == "WARNING" and name in title for level, title, _ in self.alerts)
            self._must(alerted and acts == 0, f"{name}: failed, with {acts} acts, told: {alerted}")
        else:
            self._must(state is State.VOID and acts == 0, f"{name}: {state} at the end, with {acts} acts")
        if state in (State.DONE, State.FAILED, State.UNKNOWN):
            lines = told[record.action_id, state.value]
            self._must(record.filed and lines == 1, f"{name}: {state}, filed {record.filed}, {lines} lines")

    def _judge_files(self, one: Paper, everywhere: list[str], newest: ActionRecord | None) -> None:
        places = [place for place in everywhere if place != "Quarantine"]
        if one.id not in self.meddled:
            self._must(len(places) == 1, f"{one.id} lies in {places}")
            self._must((places == ["Done"]) == (newest is not None and newest.state is State.DONE), f"lies in {places}")
        if newest is not None and newest.state is State.UNKNOWN and "Approved" in places:
            self._must((self.vault / f"Approved/{one.id}.reason.md").exists(), f"{one.id}: unknown, without a note")
        if "Done" in places and newest is not None and newest.state is State.DONE:
            data = self._read(f"Done/{one.name}") or b""
            self._must(hashlib.sha256(data).hexdigest() == newest.sha256, f"{one.id}: other bytes in Done/")

    def _must(self, holds: bool, words: str) -> None:
        if not holds:
            self.wrong.append(words)

    def _action_log(self) -> list[dict[str, Any]]:
        files = sorted((self.vault / "Logs" / "actions").glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]

    def _write(self, path: str, data: bytes) -> None:
        self.touched[Path(path).stem] = self.counts.steps
        with open(self.vault / path, "wb") as file:
            file.write(data)

    def _read(self, path: str) -> bytes | None:
        try:
            return (self.vault / path).read_bytes()
        except FileNotFoundError:
            return None


#: What happens how often.
EVENTS = {
    "cycle": 30, "approve": 14, "time": 10, "move": 6, "edit": 4, "replay": 3, "cancel": 3, "settle": 4, "reject": 2,
    "take_away": 1, "sync_into_approved": 2, "client": 4, "stop": 2, "go": 3, "wait": 1, "dry_cycle": 2,
    "draft_only_cycle": 2, "other_cycle": 2,
}  # fmt: skip
IN_THE_MIDDLE = ("other_cycle", "other_cycle", "approve", "cancel", "reject", "settle", "client", "edit", "stop", "go")
#: In which process, where it is not the API or the person.
PROCESS = {
    "cycle": "watcher", "other_cycle": "second watcher", "dry_cycle": "dry watcher",
    "draft_only_cycle": "draft-only watcher",
}  # fmt: skip


def play(ground: Ground, seed: int) -> Counts:
    """Play the history of this seed. Raises `Broken` with what happened."""
    world = World(ground, seed)
    try:
        world.play()
    except Exception as error:
        if not isinstance(error, Broken):
            error = Broken(f"{type(error).__name__}: {error}")
        told = "\n".join(world.past)
        raise Broken(f"{error}\n{told}") from error
    return world.counts
