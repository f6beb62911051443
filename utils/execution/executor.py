"""Carrying out what was approved: verify, journal, act once through MCP, conclude, show the result.

One conclusion serves both a call that just ended and a call that a crash cut off: the journal, not the answer, says
what happened (see `journal.proof`). So there is no path on which an action is repeated because an answer got lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from utils.claim_task import Claims
from utils.core import visible
from utils.core.acting import Absence, Plan, Receipt
from utils.core.brakes import Hold, standstill
from utils.core.commands import elsewhere
from utils.core.policy import MAIL_ACTIONS, Mode, refusal, tool_for
from utils.core.stages import Stage
from utils.core.task import InvalidTask
from utils.execution import notes, requests
from utils.execution.action_log import ActionLog
from utils.execution.answers import AlreadyActed, Invalid, NotFound, NotHere
from utils.execution.approvals import Approvals
from utils.execution.brakes import Brakes
from utils.execution.counts import Counts
from utils.execution.filing import Filing
from utils.execution.journal import ActionRecord, Outcome, Proof, State, next_try, proof
from utils.execution.requests import RequestFile
from utils.execution.store import ExecutionStore
from utils.ports import AdapterError, Clock, Hand, OutcomeUnknown, ToolCaller
from utils.vault import locks
from utils.vault.layout import Layout

log = logging.getLogger(__name__)

#: Which MCP server carries out which action, by the tool that `policy.tool_for` names.
SERVERS = {
    "send_email": "email",
    "reply_email": "email",
    "forward_email": "email",
    "linkedin_post": "social",
    "facebook_post": "social",
    "instagram_post": "social",
    "twitter_post": "social",
    "whatsapp_send": "whatsapp",
    "invoice": "odoo",
    "payment": "odoo",
}

#: After a lost answer what is found is evidence for the human alone, whatever it says.
SETTLED_BY_HAND = frozenset({"payment"})

#: A server that is at one action for so long hangs: a call ends by itself after less (`mcp_client.CALL_SECONDS`).
STUCK = timedelta(minutes=20)

_LONGEST_SHOWN = 120  # characters of a line of what would be done

_OLD_APPROVAL = (
    "this node was put back from a backup after it was approved, and may have carried it out in between; if it has"
    " not, approve it again"
)
_CLOCK_SLACK = timedelta(minutes=5)
_FUTURE_APPROVAL = (
    "by this machine's clock it was approved at a time that has not come yet, so nobody knows for how long the approval"
    " counts: approve it again"
)


class Executor:
    """Executes approved requests, each at most once. One at a time on a node, under a lock.

    `hand(action)`: asked what became of an action whose answer got lost; acting is the MCP servers' business.
    `reason_to_wait()`: why nothing new is sent yet, or None (`VaultSync.reason_to_wait`). `put_back_at()`: when this
    node was last put back from a backup, or None (`VaultSync.put_back_at`); approvals from before count no more.
    """

    def __init__(
        self,
        layout: Layout,
        claims: Claims,
        approvals: Approvals,
        store: ExecutionStore,
        tools: ToolCaller,
        hand: Callable[[str], Hand],
        *,
        mode: str,
        dry_run: bool,
        state_dir: Path,
        clock: Clock,
        alert: Callable[..., Any],
        brakes: Brakes,
        reason_to_wait: Callable[[], str | None] = lambda: None,
        put_back_at: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        self._layout = layout
        self._claims = claims
        self._approvals = approvals
        self._store = store
        self._tools = tools
        self._hand = hand
        self._mode = mode
        self._dry_run = dry_run
        self._lock = state_dir / "locks" / "executor.lock"
        self._acting = acting_lock(state_dir)
        self._clock = clock
        self._alert = alert
        self._brakes = brakes
        self._reason_to_wait = reason_to_wait
        self._put_back_at = put_back_at
        action_log = ActionLog(layout, state_dir, clock, claims.agent, put_back_at=put_back_at, alert=alert)
        self._filing = Filing(layout, claims, store, alert, action_log)

    def run(self) -> str:
        """Finish what was begun, then execute what is approved. Answers what was done ("sent 1, back to pending 1")."""
        try:
            with locks.hold(self._lock, timeout=0):
                if self._mode != Mode.FULL:
                    return self._draft_only()
                return self._cycle()
        except locks.Locked:
            return "another executor is at work"

    def _draft_only(self) -> str:
        """Acts on nothing; but what was begun before the node became draft-only is concluded and told (S8)."""
        counts = Counts()
        for record in self._store.in_state(State.SENDING):
            self._conclude(record, None, counts)
        answer = draft_only_answer(self._layout)
        return f"{answer}, {counts}" if counts else answer

    def settle(self, action_id: str, outcome: str, *, by: str, note: str = "") -> ActionRecord:
        """A human says what became of an `unknown` action: `happened`, or `ask_again` (it did not).

        Raises `NotHere`, `NotFound`, `Invalid`.
        """
        if self._mode != Mode.FULL:
            raise NotHere("this node is draft-only: settle the action on the Local node")
        if outcome not in ("happened", "ask_again"):
            raise Invalid(f"outcome is {outcome!r}; it must be happened or ask_again")
        record = self._store.get(action_id)
        if record is None:
            raise NotFound(f"there is no action {action_id}")
        if record.state is not State.UNKNOWN:
            raise AlreadyActed(f"action {action_id} is {record.state}: only an unknown outcome can be settled")
        note = visible.one_line(note)
        said = f"settled by {by}" + (f": {note}" if note else "")
        if outcome == "happened":
            receipt = Receipt("human", record.reference or action_id, said)
            done = self._store.finish(record, State.DONE, receipt=receipt) is not None
        else:
            done = self._store.void(record, said, settled=True)
        if not done:
            raise AlreadyActed(f"action {action_id} was settled by somebody else at the same time")
        try:
            with locks.hold(self._lock, timeout=2):
                self._finish_settled(action_id, said)
        except locks.Locked:
            log.info("action %s is settled; the running executor will file it", action_id)
        return self._store.get(action_id) or record

    def cancel(self, action_id: str, *, by: str) -> ActionRecord:
        """A human takes an approval back before anything is carried out: the request asks again.

        Raises `NotHere`, `NotFound`, `AlreadyActed`.
        """
        if self._mode != Mode.FULL:
            raise NotHere("this node is draft-only: take the approval back on the Local node")
        record = self._store.get(action_id)
        if record is None:
            raise NotFound(f"there is no action {action_id}")
        said = f"taken back by {by}"
        if record.state is not State.APPROVED or not self._store.void(record, said):
            current = self._store.get(action_id) or record
            if current.state is State.VOID:
                raise AlreadyActed(f"action {action_id} does not count any more: {current.error}")
            raise AlreadyActed(f"too late to take it back: action {action_id} is {current.state}")
        for path in self._layout.named(record.request_id, Stage.APPROVED):
            self._filing.send_back(path, notes.taken_back(said))
        self._approvals.tell_taken_back(record, said)
        return self._store.get(action_id) or record

    def _cycle(self) -> str:
        counts = Counts()
        waits = self._reason_to_wait()  # asked before the files are read: a sync may move them
        with counts.trying("unfinished actions"):
            self._conclude_begun(counts)
        if waits:
            with counts.trying("what waits"):
                self._keep_waiting(waits, counts)
        else:
            self._carry_on(counts)
        counts.raise_problems()
        return str(counts)

    def _keep_waiting(self, waits: str, counts: Counts) -> None:
        """What lies here may be old, so nothing is moved: a move would count as newer than what was done since."""
        for record in self._store.in_state(State.APPROVED):
            if self._store.once(record.action_id, waits):
                title = f"{record.request_id} is approved and waits for a sync"
                self._alert("INFO", title, f"{waits}: until then nothing is sent.", source="executor")
            counts.add("waiting for a sync")

    def _carry_on(self, counts: Counts) -> None:
        with counts.trying("unfinished actions"):
            self._recover(counts)
        put_back_at = self._put_back_at()
        for file in requests.each(self._layout, Stage.APPROVED):
            with counts.trying(file.request_id):
                self._handle(file, put_back_at, counts)
        for file in requests.read_all(self._layout, Stage.PENDING_APPROVAL):
            record = self._store.live(file.request_id)
            if record is not None and record.state is State.DONE:
                with counts.trying(file.request_id):
                    self._replay(file, record, counts)
        with counts.trying("notes"):
            self._claims.tidy(Stage.PENDING_APPROVAL, Stage.APPROVED, Stage.QUARANTINE)

    # Recovery

    def _conclude_begun(self, counts: Counts) -> None:
        for record in self._store.in_state(State.SENDING):
            with counts.trying(record.request_id):
                self._conclude(record, None, counts)

    def _recover(self, counts: Counts) -> None:
        for record in self._store.unfiled():
            with counts.trying(record.request_id):
                self._filing.file(record, again=True)
                counts.add("filed")
        for record in self._store.in_state(State.APPROVED):
            with counts.trying(record.request_id):
                if record.expires_at <= self._clock.now() and self._approvals.lies(record.request_id):
                    self._void(record, "the approval expired before it was executed", counts)
        self._approvals.place_approved(counts.trying)

    def _finish_settled(self, action_id: str, said: str) -> None:
        record = self._store.get(action_id)
        if record is None:
            return
        if record.state is State.DONE:
            self._filing.file(record, again=True)
        for path in self._layout.named(record.request_id, Stage.APPROVED):
            self._filing.send_back(
                path, f"Its outcome was unknown, and it did not happen ({said}). Approve it again to send it."
            )

    # One file in Approved/

    def _handle(self, file: RequestFile, put_back_at: datetime | None, counts: Counts) -> None:
        record = self._store.live(file.request_id)
        if record is None:
            self._handle_unapproved(file, counts)
        elif record.state is State.UNKNOWN:
            self._filing.remind(file.path, record)
            counts.add("unknown", record.action_id)
        elif record.state is State.DONE:
            self._replay(file, record, counts)
        elif record.state is not State.APPROVED:
            counts.add("in flight", record.action_id)
        elif put_back_at is not None and not put_back_at < record.approved_at <= self._clock.now():
            self._void(record, _OLD_APPROVAL, counts)
        elif record.approved_at > self._clock.now() + _CLOCK_SLACK:
            self._void(record, _FUTURE_APPROVAL, counts)
        elif file.sha256 != record.sha256:
            self._void(record, "it was edited after the approval; look at it and approve it again", counts)
        elif file.problems:
            self._void(record, f"it can't be executed: {'; '.join(file.problems)}", counts)
        elif record.expires_at <= self._clock.now():
            self._void(record, "the approval expired before it was executed", counts)
        else:
            self._store.mark_placed(record)
            self._handle_approved(record, counts)

    def _replay(self, file: RequestFile, record: ActionRecord, counts: Counts) -> None:
        if not record.filed:
            return  # what is left of its own way is gone by `_recover`
        self._filing.file_replay(file.path, file.sha256, record)
        counts.add("executed before")

    def _handle_unapproved(self, file: RequestFile, counts: Counts) -> None:
        request = file.request
        if not requests.is_settled(file.path, self._clock.now()):
            counts.add("still being written")
        elif request is None:
            self._filing.quarantine(file.path, notes.mend_and_return(file.problems))
            counts.add("set aside")
        elif file.problems:
            self._back(file.path, self._not_executed(file, "; ".join(file.problems)), counts)
        elif (expired := self._approvals.expired(file)) is not None:
            why = f"the request expired at {expired:%Y-%m-%d %H:%M} UTC."
            self._back(file.path, self._not_executed(file, why), counts)
        else:
            counts.add("waiting for a confirmation")

    def _not_executed(self, file: RequestFile, why: str) -> str:
        forgotten = self._approvals.forgotten(file)
        return f"Perhaps executed: {forgotten}. Now it can't be: {why}" if forgotten else f"Not executed: {why}"

    def _handle_approved(self, record: ActionRecord, counts: Counts) -> None:
        no = refusal(self._mode, record.action)
        if no is not None:
            counts.add(no)
        elif self._store.in_state(State.SENDING):
            counts.add("waiting for the one before")  # one outside call at a time
        elif self._dry_run:
            if self._store.once(record.action_id, "dry run"):
                log.info("dry run of %s for %s (action %s)", record.action, record.request_id, record.action_id)
                self._note(record, notes.dry_run(self._would(record)))
            counts.add("dry run")
        elif record.action not in SERVERS:
            self._fail(record, f"this version can't execute {record.action} yet: do it by hand", counts)
        elif (held := self.held(record)) is not None:
            self._tell_held(record, held)
            counts.add(held.short, record.action_id)
        elif self._tools.stopped():
            counts.add("left for the next start")  # to begin it would cost it a try, and a payment has one
        else:
            self._execute(record, counts)

    def _execute(self, record: ActionRecord, counts: Counts) -> None:
        try:
            tool = tool_for(record.action, requests.order(record).request.fields)
        except InvalidTask as error:
            self._void(record, f"the stored approval can't be used ({error}); approve it again", counts)
            return
        sending = self._store.begin(record)
        if sending is None:
            counts.add("changed meanwhile")
            return
        failure: Exception | None = None
        try:
            self._tools.call(SERVERS[record.action], tool, {"action_id": record.action_id})
        except (AdapterError, OutcomeUnknown) as error:
            failure = error
            log.warning("%s %s: %s", record.action, record.request_id, error)
        self._conclude(sending, failure, counts)

    def waits(self) -> str | None:
        """Why nothing new at all is carried out yet, or None."""
        return self._reason_to_wait()

    def held(self, record: ActionRecord) -> Hold | None:
        """Why an approved action is not carried out now: the first that holds of the kill switch, DRY_RUN, a
        failed try, refused credentials (a newer approval tries them again), and what `Brakes.hold` says. None: nothing
        does."""
        standing = standstill(self._brakes.stopped(), dry_run=False)
        if standing is not None:
            return standing
        if self._dry_run:
            return Hold("dry run", f"dry run: {self._would(record)}", is_known=True)
        if record.next_try_at is not None and record.next_try_at > self._clock.now():
            words = f"a try failed and did nothing: {record.error}"
            remedy = f"That was try {record.attempts}; it asks again where none works."
            return Hold("waiting to try again", words, record.next_try_at, is_known=True, remedy=remedy)
        if record.action in SERVERS:
            provider = self._hand(record.action).provider
            paused_at = self._store.paused_at(provider)
            if paused_at is not None and record.approved_at <= paused_at <= self._clock.now():
                remedy = (
                    f"`{elsewhere('doctor')}` names the settings: put in what the provider takes, start the node again,"
                    " and approve one action for it again. Once that has worked, the rest follows."
                )
                words = f"{provider} refuses our credentials"
                return Hold("waiting for credentials", words, is_known=True, remedy=remedy)
        return self._brakes.hold(record)

    def _tell_held(self, record: ActionRecord, held: Hold) -> None:
        """Once for each reason, in a note beside the request and an alert; of what concerns it alone in the note."""
        told = held.is_worth_telling(self._clock.now())
        key = f"held: {held.reason}" if told else f"noted: {held.reason} {held.until}"
        if (told or held.remedy) and self._store.once(record.action_id, key):
            words = notes.held(held, record.expires_at)
            self._note(record, words)
            if told:
                self._alert("INFO", f"{record.request_id} is approved and waits", words, source="executor")

    def _note(self, record: ActionRecord, words: str) -> None:
        """Beside the approved file; it may be taken back in that moment, and then no note stays."""
        for path in self._layout.named(record.request_id, Stage.APPROVED):
            self._claims.explain(path, words)
            if not path.exists():
                self._claims.explain(path, None)

    def _would(self, record: ActionRecord) -> str:
        """What would be done, were it not for `DRY_RUN`."""
        try:
            plan = self._hand(record.action).plan(requests.order(record))
        except (AdapterError, InvalidTask, KeyError) as error:
            return f"{record.action} would fail: {error}"
        if plan.obstacles:
            return f"{record.action} would fail: {'; '.join(plan.obstacles)}"
        shown = "; ".join(f"{label}: {visible.one_line(text)[:_LONGEST_SHOWN]}" for label, text in plan.shown)
        return f"would carry out {record.action} ({shown})"

    # What became of it

    def _conclude(self, record: ActionRecord, failure: Exception | None, counts: Counts) -> None:
        """Take an action out of `sending`, by proof alone; it stays there while a server still acts on it."""
        if self._store.revoke(record):
            error = str(failure) if failure else "cut off before anything was sent"
            retry = failure.retry if isinstance(failure, AdapterError) else True
            self._again_or_fail(record, error, retry, counts)
            return
        try:
            # A server holds this lock from before it consumes the token until it has written the outcome down.
            with locks.hold(self._acting, timeout=1):
                current = self._store.get(record.action_id)
        except locks.Locked as locked:
            self._tell_stuck(record, str(locked))
            counts.add("in flight", record.action_id)
            return
        if current is not None and current.state is State.APPROVED:
            counts.add("stopped")  # by the server, which looks last: it waits as before
        if current is None or current.state is not State.SENDING:
            return
        found = proof(current)
        if found is Proof.HAPPENED and current.receipt is not None:
            self._store.resume(self._provider(current))
            self._done(current, current.receipt, counts)
        elif found is Proof.NOTHING_HAPPENED:
            if current.outcome is Outcome.AUTH_REFUSED:
                self._pause(current)
            self._again_or_fail(current, current.error or "nothing was sent", current.outcome_retry, counts)
        else:
            self._seek_evidence(current, str(failure) if failure else "", counts)

    def _tell_stuck(self, record: ActionRecord, locked: str) -> None:
        """Once for each try that a server is at for longer than any limit of a call allows."""
        begun = record.started_at
        if begun is None or self._clock.now() - begun < STUCK:
            return
        if self._store.once(record.action_id, f"stuck in try {record.attempts}"):
            self._alert(
                "CRITICAL",
                f"{record.request_id} is being carried out since {begun:%H:%M} UTC",
                f"Nothing else is carried out meanwhile ({locked}). Stop the node and start it again; then what became"
                " of it is looked for, and if that can't be known you are asked.",
                source="executor",
            )

    def _seek_evidence(self, record: ActionRecord, failure: str, counts: Counts) -> None:
        known = record.error or failure or "the program was cut off in the middle of sending"
        try:
            hand = self._hand(record.action)
            if record.provider not in ("", hand.provider):  # the settings changed: another's evidence is none
                words = f"{record.provider} was asked to do it; {hand.provider}, which is set now, can't know"
                self._unknown(record, f"{known}; {words}: look at {record.provider}", counts)
                return
            found = _find(hand, record)
            owner = self._owner(hand, record, found) if isinstance(found, Receipt) else None
        except Exception as error:  # whatever it is: else it would be in the way of all others for ever
            if not isinstance(error, AdapterError | InvalidTask):
                log.exception("what became of %s could not be looked for", record.request_id)
            self._unknown(record, f"{known}; the evidence could not be looked for: {error}", counts)
            return
        if found is Absence.NOT_YET:
            counts.add("in flight", record.action_id)
        elif record.action in SETTLED_BY_HAND:
            seen = f"found {found.id} ({found.detail})" if isinstance(found, Receipt) else "nothing of it was found"
            self._unknown(record, f"{known}; {seen}; look for yourself", counts)
        elif isinstance(found, Receipt) and owner is not None:
            words = f"{found.id} reads like it, but belongs to {owner}, or may"
            self._unknown(record, f"{known}; {words}: look for yourself", counts)
        elif isinstance(found, Receipt):
            self._done(record, found, counts)
        elif found is Absence.PROVEN:
            self._again_or_fail(record, f"{known}; nothing was done", True, counts)
        else:
            self._unknown(record, f"{known}; no proof of it was found, which proves nothing", counts)

    def _owner(self, hand: Hand, record: ActionRecord, found: Receipt) -> str | None:
        """Another request that what was found belongs to, or fits as well: a post bears no mark but its words."""
        owner = self._store.owner(found)
        if owner is not None and owner.action_id != record.action_id:
            return owner.request_id
        for rival in self._store.without_receipt(record.action, record.provider):
            if rival.action_id == record.action_id:
                continue
            seen = _find(hand, rival)
            if isinstance(seen, Receipt) and (seen.provider, seen.id) == (found.provider, found.id):
                return rival.request_id
        return None

    def _provider(self, record: ActionRecord) -> str:
        """Who acted, or would."""
        return record.provider or self._hand(record.action).provider

    def _pause(self, record: ActionRecord) -> None:
        provider = self._provider(record)
        self._store.pause(provider)
        self._alert(
            "CRITICAL",
            f"{provider} refuses our credentials",
            f"{record.error}. What is approved for it waits. Renew them, then approve {record.request_id} again: once"
            " that has worked, the rest follows.",
            source="executor",
        )

    def _done(self, record: ActionRecord, receipt: Receipt, counts: Counts) -> None:
        done = self._store.finish(record, State.DONE, receipt=receipt)
        if done is not None:
            log.info("%s done: %s (%s)", done.action, done.request_id, receipt.id)
            self._filing.file(done)
            counts.add("sent" if done.action in MAIL_ACTIONS else "executed")

    def _again_or_fail(self, record: ActionRecord, error: str, retry: bool, counts: Counts) -> None:
        when = next_try(record, retry=retry, now=self._clock.now())
        if when is None:
            self._fail(record, error, counts)
        elif self._store.retry_at(record, when, error):
            counts.add("waiting to try again", record.action_id)

    def _fail(self, record: ActionRecord, error: str, counts: Counts) -> None:
        failed = self._store.finish(record, State.FAILED, error=error)
        if failed is not None:
            self._filing.file(failed)
            counts.add("failed")

    def _unknown(self, record: ActionRecord, evidence: str, counts: Counts) -> None:
        unknown = self._store.finish(record, State.UNKNOWN, error=evidence)
        if unknown is not None:
            self._filing.file(unknown)
            counts.add("unknown", record.action_id)

    def _void(self, record: ActionRecord, reason: str, counts: Counts) -> None:
        if not self._store.void(record, reason):
            return
        paths = self._layout.named(record.request_id, Stage.APPROVED)
        for path in paths:
            self._back(path, f"Not executed: {reason}.", counts)

    def _back(self, path: Path, reason: str, counts: Counts) -> None:
        self._filing.send_back(path, reason)
        self._alert("INFO", f"{path.stem} asks again", reason, source="executor")
        counts.add("back to pending")


def _find(hand: Hand, record: ActionRecord) -> Receipt | Absence:
    """What the world has of an action, by the mark that the journal kept; what it was made from may be gone by now.

    Raises `AdapterError`, `InvalidTask`.
    """
    order = requests.order(record)
    return hand.find(order, Plan(order.reference))


def acting_lock(state_dir: Path) -> Path:
    """The lock that a server holds while it acts."""
    return state_dir / "locks" / "acting.lock"


def draft_only_answer(layout: Layout) -> str:
    """What a draft-only node says about approved files: it leaves them."""
    count = sum(1 for _ in layout.files(Stage.APPROVED))
    return f"draft-only: {count} left in Approved/ for Local" if count else "draft-only: idle"
