"""From mail to task, plan and request: what the gmail watcher does in a cycle.

Two halves that meet in the vault. *Take in*: each mail becomes a task in `Needs_Action/email/`, durably, and only then
is it marked seen. *Work off*: each e-mail task that lies there is claimed, planned and answered with a request for
approval, from the task file alone. So a crash anywhere leaves something that the next cycle takes up again, and since
every id is made from the mail itself, doing a step twice makes nothing twice.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from utils.claim_task import Claims, Gone, Lost
from utils.core.badges import Letter
from utils.core.lease import State
from utils.core.mail import Attachment, IncomingMail, Proposal, RawMail, ReplyRules, Wish
from utils.core.revision import Revision, revision_of
from utils.core.stages import IllegalMove, Stage
from utils.core.task import ID_PATTERN, PRIORITIES, InvalidTask, Task, make_id, request_id, split_draft, task_from
from utils.core.triage import no_reply_reason
from utils.mail import attachments, reply, task_file
from utils.mail.handbook import reply_rules
from utils.mail.parse import parse
from utils.mail.secrets import without_secrets
from utils.mail.task_file import DOMAIN, TASK_TYPE, Plan
from utils.ports import AdapterError, Clock, DraftEngine, Mailbox, SecretScanner
from utils.settings import Settings
from utils.tasks.board import headline_of
from utils.vault import atomic, frontmatter
from utils.vault.attempts import DIED, TRIES, Attempts, is_the_nodes_fault
from utils.vault.frontmatter import InvalidFrontMatter
from utils.vault.layout import Layout

log = logging.getLogger(__name__)

SOURCE = "gmail_watcher"
_NOTE = "the task was written by hand"


class Zones(Protocol):
    """What the intake asks of the zones."""

    def runs_here(self, task_type: str) -> bool: ...

    def at_work(self, task_type: str) -> AbstractContextManager[bool]: ...

    def active_zone(self) -> str: ...

    def state(self) -> State: ...


class MailIntake:
    """Turns mail into tasks, plans and drafts."""

    def __init__(
        self,
        mailbox: Mailbox,
        engine: DraftEngine,
        claims: Claims,
        layout: Layout,
        zones: Zones,
        settings: Settings,
        *,
        clock: Clock,
        alert: Callable[..., Any],
        noted: Callable[[str, Letter], None],
        secrets: SecretScanner,
    ) -> None:
        """`noted(task id, letter)` is told whose mail this node read, and what it found of its sender."""
        self._noted = noted
        self._secrets = secrets
        self._mailbox = mailbox
        self._engine = engine
        self._claims = claims
        self._layout = layout
        self._zones = zones
        self._settings = settings
        self._clock = clock
        self._alert = alert
        self._agent = settings.agent_name
        self._attempts = Attempts(settings.state_dir / "mail" / "tries")
        self._explained = Attempts(settings.state_dir / "mail" / "not_taken")
        self._offline: str | None = None
        self._engine_trouble: str | None = None

    def run(self, now: datetime) -> str:
        """One cycle; the answer says what it did. Trouble of one mail stops no other; a full disk stops the cycle."""
        if not self._zones.runs_here(TASK_TYPE):
            return f"{self._zones.state()}: {self._zones.active_zone()} is the active zone"
        now = now.replace(microsecond=0)  # the files are read by people
        counts: Counter[str] = Counter()
        trouble = self._take_in(now, counts)
        self._work_off(now, counts)
        said = [f"{what} {number}" for what, number in counts.items() if number]
        if trouble:
            said.append(f"mailbox offline: {trouble}")
        return ", ".join(said) or "no mail"

    # -- take in ---------------------------------------------------------------------------------------------------

    def _take_in(self, now: datetime, counts: Counter[str]) -> str | None:
        """Every mail that is not marked seen becomes a task. Returns what is wrong with the mailbox, if anything."""
        known: dict[str, list[Path]] | None = None
        try:
            for raw in self._mailbox.fetch():
                if known is None:
                    known = self._known()
                with self._zones.at_work(TASK_TYPE) as ours:
                    if not ours:
                        break
                    if self._take(raw, known, now, counts):
                        self._mailbox.mark_seen(raw)
            self._explain_what_is_not_taken()
        except AdapterError as error:
            self._tell_offline(str(error))
            return str(error)
        if self._offline is not None:
            self._alert("INFO", "The mailbox answers again", "New mail is being read again.", source=SOURCE)
            self._offline = None
        return None

    def _explain_what_is_not_taken(self) -> None:
        """One alert for each thing that lies in the mailbox and is no mail; it stays where it is."""
        lying = self._mailbox.not_taken()
        self._explained.keep_only(lying)
        for name, why in sorted(lying.items()):
            if not self._explained.tries(name):
                self._explained.count(name)
                title = f"mail/in/{name} {why}" if self._settings.maildir_path is None else f"{name} {why}"
                place = self._settings.maildir / name
                self._alert("INFO", title, f"{place} {why}. It was not read and stays there.", source=SOURCE)

    def _take(self, raw: RawMail, known: dict[str, list[Path]], now: datetime, counts: Counter[str]) -> bool:
        """Make the task of one mail; False where it should be tried again in the next cycle."""
        tries = self._attempts.count(raw.key)
        try:
            if tries > TRIES:
                raise RuntimeError(DIED)
            mail = self._parse(raw)
            task_id, exists = self._id(mail, known)
            if mail.from_address:
                self._noted(
                    task_id, Letter(mail.from_address, mail.reply_to, mail.sender_authenticated, mail.message_id)
                )
            if not exists:
                path = self._create(mail, task_id, now)
                known.setdefault(_suffix(task_id), []).append(path)
                counts["fetched"] += 1
        except Exception as error:
            if is_the_nodes_fault(error):
                self._attempts.uncount(raw.key)
                raise
            log.exception("mail %s could not be taken in", raw.key)
            if tries < TRIES:
                counts["failed"] += 1
                return False
            self._set_mail_aside(raw, error, now)
            counts["set aside"] += 1
        self._attempts.forget(raw.key)
        return True

    def _parse(self, raw: RawMail) -> IncomingMail:
        s = self._settings
        account = s.imap_user.lower() if raw.provider == "imap" else raw.provider
        limit = s.attachment_max_mb * 1024 * 1024
        mail = parse(raw, account=account, authserv_id=s.mail_authserv_id, max_attachment=limit)
        return without_secrets(mail, self._secrets)

    def _known(self) -> dict[str, list[Path]]:
        """Files of e-mail tasks by the key in their name, over all stages."""
        known: dict[str, list[Path]] = {}
        for stage in Stage:
            for path in self._layout.files(stage):
                if path.name.startswith(f"{DOMAIN}-"):
                    known.setdefault(_suffix(path.stem), []).append(path)
        return known

    def _id(self, mail: IncomingMail, known: dict[str, list[Path]]) -> tuple[str, bool]:
        """The mail's task id, and whether its task exists already (under this id, or under another time of receipt)."""
        for digits in range(8, 65, 8):
            task_id = make_id(DOMAIN, mail.received, mail.source_key, digits)
            paths = known.get(_suffix(task_id), [])
            same = next((path for path in paths if self._source_key(path) == mail.source_key), None)
            if same is not None:
                return same.stem, True
            if not any(path.stem == task_id for path in paths):
                return task_id, False
        raise ValueError("two different mails have the same 256-bit hash")

    def _source_key(self, path: Path) -> str | None:
        try:
            if not path.exists():  # it moved since we looked
                path = next(iter(self._layout.find(path.stem)), path)
            meta, _ = frontmatter.read(path.read_bytes())
        except (FileNotFoundError, InvalidFrontMatter):
            return None
        source = meta.get("source")
        return source.get("source_key") if isinstance(source, dict) else None

    def _create(self, mail: IncomingMail, task_id: str, now: datetime) -> Path:
        largest = self._settings.sync_max_file_mb * 1024 * 1024
        stored = attachments.store(self._layout, DOMAIN, task_id, mail.attachments, self._secrets, largest=largest)
        meta, body = task_file.task(mail, task_id, stored, agent=self._agent, now=now)
        return self._claims.create(Stage.NEEDS_ACTION, meta, body)

    def _set_mail_aside(self, raw: RawMail, error: Exception, now: datetime) -> None:
        """A mail that breaks us again and again: kept as it is, in quarantine, and the human is told."""
        received = (raw.received or now).replace(microsecond=0)
        task_id = make_id(DOMAIN, received, f"unreadable\0{raw.key}\0{len(raw.data)}")
        whole = Attachment("mail.eml", "message/rfc822", len(raw.data), raw.data)
        stored = attachments.store(self._layout, DOMAIN, task_id, [whole], self._secrets, largest=None)
        mail = IncomingMail(
            message_id="", account="", from_name="", from_address="", reply_to="", to=(), cc=(),
            subject="A mail that could not be read", date=None, received=received, in_reply_to="", references=(),
            text="", new_text="", attachments=(whole,), headers={}, sender_authenticated=None,
            problems=(f"{type(error).__name__} in {TRIES} tries",), provider=raw.provider, size=raw.size,
        )  # fmt: skip
        meta, body = task_file.task(mail, task_id, stored, agent=self._agent, now=now)
        path = self._claims.create(Stage.NEEDS_ACTION, meta, body)
        self._quarantine(path, f"The mail could not be read in {TRIES} tries ({type(error).__name__}: {error}).")

    def _tell_offline(self, why: str) -> None:
        if self._offline is None:
            message = f"{why} New mail waits on the server; we keep trying."
            self._alert("WARNING", "The mailbox can't be read", message, source=SOURCE)
        self._offline = why

    # -- work off --------------------------------------------------------------------------------------------------

    def _work_off(self, now: datetime, counts: Counter[str]) -> None:
        """Plan and draft for every e-mail task that waits, new or left over."""
        for path in self._waiting():
            try:
                outcome = self._in_turn(path, now)
            except Lost as error:
                self._attempts.uncount(path.stem)
                log.info("the work on it is dropped: %s", error)
                outcome = "claim lost"
            except Gone:
                self._attempts.forget(path.stem)
                continue  # somebody else moved it: its new place says what becomes of it
            except AdapterError as error:
                self._attempts.uncount(path.stem)
                self._tell_engine_trouble(str(error))
                outcome = "waiting for the engine"
            except Exception as error:
                if is_the_nodes_fault(error):
                    self._attempts.uncount(path.stem)
                    raise
                outcome = self._failed(path, error)
            else:
                self._attempts.forget(path.stem)
            finally:
                self._claims.rest(path)
            if outcome:
                counts[outcome] += 1

    def _in_turn(self, path: Path, now: datetime) -> str:
        """`_handle`, if this is still the active zone; it stays so until the task is done."""
        with self._zones.at_work(TASK_TYPE) as ours:
            return self._handle(path, now) if ours else ""

    def _waiting(self) -> list[Path]:
        """Files to look at: what was claimed here and left half-done, then what waits in `Needs_Action/`."""
        waiting = self._layout.files(Stage.NEEDS_ACTION)
        return [path for path in (*self._claims.abandoned(), *waiting) if self._concerns_us(path)]

    def _concerns_us(self, path: Path) -> bool:
        """Whether there may be work in this file: it is an e-mail task, and its plan leaves something to do."""
        match = ID_PATTERN.match(path.stem)
        if match is None or match["domain"] != DOMAIN:
            return False  # files without an id are the orchestrator's business
        outcome = self._planned(path.stem)
        if self._layout.stage_of(path) is Stage.NEEDS_ACTION:
            return outcome != "by_hand"
        return outcome in (None, "no_reply")

    def _planned(self, task_id: str) -> str | None:
        """The outcome of the task's plan; None where there is none that can be read (then it is made anew)."""
        try:
            meta, _ = frontmatter.read(self._layout.plan(DOMAIN, task_id).read_bytes())
        except (FileNotFoundError, InvalidFrontMatter):
            return None
        return str(meta.get("outcome"))

    def _handle(self, path: Path, now: datetime) -> str:
        """Bring one task to its next resting place; returns what to count."""
        waiting = self._layout.stage_of(path) is Stage.NEEDS_ACTION
        try:
            task = _task(path)
        except (InvalidFrontMatter, InvalidTask) as error:
            self._quarantine(path, f"The task file can't be used: {error}")
            return "set aside"
        if task is None:
            return ""
        if self._attempts.count(task.id) > TRIES:
            return self._give_up(task.id, DIED)
        mail = task_file.mail_of(task)
        earlier = self._planned(task.id)
        if waiting:
            by_hand = self._by_hand_reason(mail)
            if by_hand:
                self._leave_to_human(task, mail, by_hand, now)
                return "left to you"
            claimed = self._claims.claim(path)
            if claimed is None:
                return "lost to another agent"
            path = claimed
        elif not self._claims.take_up(path):
            return "lost to another process"
        elif earlier == "no_reply":  # a crash between the plan and the move
            self._finish(path, "as its plan says")
            return "no reply needed"
        # What was read before it was ours may have changed: a new draft may be asked for by now.
        if (ours := _task(path)) is None:
            return ""
        # A task that lay in Done/ without a reply and is back in Needs_Action/: the human wants one.
        wanted = waiting and earlier == "no_reply"
        return self._answer(ours, task_file.mail_of(ours), path, now, insist=wanted)

    def _answer(self, task: Task, mail: IncomingMail, path: Path, now: datetime, *, insist: bool) -> str:
        own = {address.lower() for address in (self._settings.mail_from, self._settings.imap_user) if "@" in address}
        due = revision_of(task.meta)
        needless = None if insist or due.instruction else no_reply_reason(mail, own)
        if needless:
            category, reason = needless
            return self._no_reply(task, mail, path, Plan("no_reply", category, "low", f"No reply: {reason}.", ()), now)
        s = self._settings
        rules = reply_rules(self._layout.root, our_address=s.mail_from, our_name=s.mail_from_name)
        proposal = _checked(self._proposal(mail, rules, due))
        self._engine_trouble = None
        self._claims.beat(path)  # an engine may think for minutes
        if proposal.draft is None:
            decided = Plan("no_reply", proposal.category, proposal.priority, proposal.why, ())
            return self._no_reply(task, mail, path, decided, now)
        action = reply.action_of(mail)
        meta, body = task_file.request(
            task,
            mail,
            proposal,
            engine=self._engine.name,
            expires_hours=s.zones.actions[action].expires_hours,
            warnings=(*reply.risks(mail), *reply.own_risks(rules, sends=not s.draft_only)),
            agent=self._agent,
            now=now,
        )
        # The request first: a task with a plan counts as worked off, and a request that the human removed stays away.
        self._claims.create(Stage.PENDING_APPROVAL, meta, body, claimed=path)
        after = _task(path)
        if after is None or revision_of(after.meta) != due:
            raise Lost(f"another draft of {task.id} is asked for by now")
        steps = (
            f"1. Read the draft: [[{request_id(task.id, action, due.number)}]].",
            "2. Change what is not right, then approve or reject it.",
            "3. Local sends it and files both under Done/.",
        )
        self._write_plan(task, mail, Plan("draft", proposal.category, proposal.priority, proposal.why, steps), now)
        return "drafted"

    def _proposal(self, mail: IncomingMail, rules: ReplyRules, due: Revision) -> Proposal:
        if not due.instruction:
            return self._engine.propose(mail, rules)
        wish = Wish(due.instruction, self._draft_of(due.request))
        proposal = self._engine.revise(mail, rules, wish)
        if proposal.draft is None and wish.draft.strip():  # the human asked for a draft, so there is one
            unmet = proposal.unmet or "The engine proposes no reply; this is the earlier draft."
            return replace(proposal, draft=wish.draft, unmet=unmet)
        return proposal

    def _draft_of(self, request: str) -> str:
        """The draft of an earlier request as the human left it, wherever its file lies; "" where it is gone."""
        for path in self._layout.find(request) if request else ():
            try:
                return split_draft(frontmatter.read(_read(path))[1])[1] or ""
            except (Gone, InvalidFrontMatter):
                continue
        return ""

    def _no_reply(self, task: Task, mail: IncomingMail, path: Path, decided: Plan, now: datetime) -> str:
        steps = ("No action needed. To get a draft all the same, move the task back to Needs_Action/email/.",)
        self._write_plan(task, mail, replace(decided, steps=steps), now)
        self._finish(path, decided.why)
        return "no reply needed"

    def _by_hand_reason(self, mail: IncomingMail) -> str | None:
        if mail.truncated:
            return (
                f"The mail is too large to be read ({mail.size / 1_000_000:.1f} MB; MAIL_MAX_MB): it is in the mailbox."
            )
        if not reply.recipient(mail):
            return f"There is no sender to answer: {_NOTE if _is_note(mail) else 'the mail has no usable From'}."
        return None

    def _leave_to_human(self, task: Task, mail: IncomingMail, reason: str, now: datetime) -> None:
        look = "1. Do it by hand." if _is_note(mail) else "1. Look at it and answer by hand, if it needs an answer."
        steps = (look, "2. Then move the task to Done/. No receipt says that it is done: your move does.")
        title = f"A mail for you to answer by hand: {mail.subject or '(no subject)'}"
        if _is_note(mail):
            title = f"A task for you to do by hand: {headline_of({'source': task.source}, task.body) or task.id}"
        self._alert("INFO", title, f"{reason} Task: {task.id}.", source=SOURCE)
        self._write_plan(task, mail, Plan("by_hand", "other", task.priority, reason, steps), now)

    def _write_plan(self, task: Task, mail: IncomingMail, decided: Plan, now: datetime) -> None:
        meta, body = task_file.plan(task.id, mail, decided, agent=self._agent, now=now)
        atomic.write(self._layout.plan(DOMAIN, task.id), frontmatter.write(meta, body))

    def _finish(self, path: Path, reason: str) -> None:
        self._claims.note("no_action_needed", path.stem, reason=reason)
        self._claims.move(path, Stage.DONE)

    def _failed(self, path: Path, error: Exception) -> str:
        log.exception("task %s could not be worked off", path.name)
        if self._attempts.tries(path.stem) < TRIES:
            return "failed"
        return self._give_up(path.stem, f"{type(error).__name__}: {error}")

    def _give_up(self, task_id: str, why: str) -> str:
        for place in self._layout.find(task_id):
            if self._layout.stage_of(place) in (Stage.NEEDS_ACTION, Stage.IN_PROGRESS):
                self._quarantine(place, f"No draft could be made in {TRIES} tries ({why}).")
        self._attempts.forget(task_id)
        return "set aside"

    def _quarantine(self, path: Path, reason: str) -> None:
        try:
            moved = self._claims.quarantine(path, reason)
        except IllegalMove as error:
            log.warning("%s stays where it is: %s", path.name, error)
            return
        message = f"{reason} It lies in {self._layout.relative(moved)}; nothing is lost."
        self._alert("WARNING", f"Set aside: {path.name}", message, source=SOURCE)

    def _tell_engine_trouble(self, why: str) -> None:
        if self._engine_trouble != why:
            self._engine_trouble = why
            message = f"{why} Mails wait as tasks without a draft."
            self._alert("WARNING", "No drafts: the engine does not answer", message, source=SOURCE)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise Gone(f"{path.name} is no longer there") from None


def _task(path: Path) -> Task | None:
    """The task in a file; None where it is no e-mail's. Raises `Gone`, `InvalidFrontMatter`, `InvalidTask`."""
    meta, body = frontmatter.read(_read(path))
    if isinstance(meta.get("type"), str) and meta["type"] != TASK_TYPE:
        return None
    return task_from(meta, body, name=path.stem)


def _is_note(mail: IncomingMail) -> bool:
    """Whether a person wrote the task: no mailbox has such a mail."""
    return not (mail.message_id or mail.source_key or mail.provider)


def _suffix(task_id: str) -> str:
    return task_id.rpartition("-")[2]


def _checked(proposal: Proposal) -> Proposal:
    """An engine is not trusted to keep to its type (S12)."""
    if proposal.priority not in PRIORITIES:
        raise ValueError(f"the engine answered an unknown priority {proposal.priority!r}")
    if proposal.draft is not None and not proposal.draft.strip():
        raise ValueError("the engine answered an empty draft")
    return proposal
