"""Approvals that are given elsewhere: on the Cloud's API, on a phone, in a browser (promises S6, S7).

Each is a file in `Updates/approvals/`, where the Cloud may write too (S10), and travels with the vault. At Local it
makes a record only where an enrolled key signed it (`utils.core.remote_approval.doubt` has the whole rule); else the
request waits for a confirmation, and a note beside it says why.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from stat import S_ISREG
from typing import Any, Protocol

from utils.claim_task import Claims
from utils.core import remote_approval
from utils.core.remote_approval import Approver, BadStatement, Circumstances, PassedOn, Statement
from utils.core.stages import Stage
from utils.core.task import ApprovalRequest
from utils.core.zones import ZonesConfig
from utils.execution import notes, requests
from utils.execution.answers import ApprovalError, Changed, Expired, Invalid, NotFound
from utils.execution.journal import ActionRecord
from utils.execution.requests import RequestFile
from utils.execution.store import ExecutionStore
from utils.ports import AdapterError, Clock
from utils.vault import atomic, locks
from utils.vault.layout import Layout

log = logging.getLogger(__name__)

_LARGEST = 8 * 1024  # bytes; ours have 700
_NAMED = 10  # files in one alert
#: The bytes of a file, and the approval that they are, or why they are none.
_Lying = tuple[bytes, Statement | str]
_WAITING = (Stage.PENDING_APPROVAL, Stage.APPROVED)


class Approve(Protocol):
    """`Approvals.approve`."""

    def __call__(self, request_id: str, sha256: str, *, by: str, via: str, until: datetime) -> Any: ...


class RemoteApprovals:
    """Writes such approvals, and takes them in on Local.

    `approver_of(key)`: whose key it is (`ApproverKeys.find`). `is_genuine(statement)`: whether its signature is right.
    `put_back_at()`: when this node was last put back from a backup.
    """

    def __init__(
        self,
        layout: Layout,
        claims: Claims,
        store: ExecutionStore,
        zones: ZonesConfig,
        *,
        state_dir: Path,
        clock: Clock,
        approver_of: Callable[[str], Approver | None],
        is_genuine: Callable[[Statement], bool],
        alert: Callable[..., Any],
        put_back_at: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        self._layout = layout
        self._claims = claims
        self._store = store
        self._zones = zones
        self._lock = state_dir / "locks" / "remote_approvals.lock"
        self._clock = clock
        self._approver_of = approver_of
        self._is_genuine = is_genuine
        self._alert = alert
        self._put_back_at = put_back_at
        self._told: set[tuple[str, bytes]] = set()
        self._read_before: dict[tuple[Path, int, int, int], _Lying] = {}

    # Giving one

    def prepare(self, request_id: str, sha256: str, signer: str = "", *, hours: float | None = None) -> Statement:
        """What is to be signed to approve the waiting request with these bytes; it counts for `hours`, or as long as
        an approval of its action lives. Raises `NotFound`, `Changed`, `Invalid`, `Expired`."""
        if hours is not None and not hours > 0:
            raise Invalid("the hours for which an approval counts must be above 0")
        request = self._approvable(request_id, sha256)
        now = self._clock.now().replace(microsecond=0)
        policy = self._zones.actions[request.action].expires_hours
        until = min(now + timedelta(hours=min(policy, hours or policy)), request.expires)
        return Statement(
            request_id, request.action, sha256, signer, _second(now), _second(until), nonce=secrets.token_hex(16)
        )

    def give(self, request_id: str, sha256: str, signed: Statement | None = None) -> Path:
        """Write the approval of a waiting request into the vault; without a signature it asks Local to confirm it.

        Giving it again changes nothing. Raises `NotFound`, `Changed`, `Invalid`, `Expired`.
        """
        if signed is None:
            signed = next((old for _, _, old in self._given()[0] if _is_bare(old, request_id, sha256)), None)
            signed = signed or self.prepare(request_id, sha256)
        action = self._approvable(request_id, sha256).action
        if (signed.request, signed.sha256, signed.action) != (request_id, sha256, action):
            raise Invalid("the signed approval names another request, other bytes or another action than this one")
        if signed.signature and not self._is_genuine(signed):
            raise Invalid("the signature is not by its signer over these words (docs/approvals-signing.md)")
        path = self._layout.remote_approvals / signed.name
        if not path.exists():
            atomic.write(path, signed.file())
        return path

    def passed_on(self, request_id: str, sha256: str) -> PassedOn | None:
        """The approval of these bytes that lies here on its way to Local, a signed one before others; or None."""
        found = [one for _, _, one in self._given()[0] if (one.request, one.sha256) == (request_id, sha256)]
        best = max(found, key=lambda one: (bool(one.signature), one.time), default=None)
        return PassedOn(bool(best.signature), best.time) if best else None

    def _approvable(self, request_id: str, sha256: str) -> ApprovalRequest:
        files = self._waiting(request_id)
        if not files:
            raise NotFound(f"no request {request_id} waits for an answer")
        if files[0].sha256 != sha256:
            raise Changed(files[0].sha256)
        request = files[0].request
        if request is None or files[0].problems:
            raise Invalid(*files[0].problems)
        if request.expires <= self._clock.now():
            raise Expired(f"{request_id} expired at {request.expires:%Y-%m-%d %H:%M} UTC: ask for a new draft")
        return request

    # Taking them in, on Local

    def take(self, approve: Approve) -> dict[str, str]:
        """Make records of the approvals that count. Answers, by request, why the others don't.

        Each counts once: what names it is kept in the record that it made (`via`), so no crash lies between the two.
        What can't be taken in holds up no other.
        """
        given, junk = self._given()
        self._tell_of(junk)
        if not given:
            return {}
        waiting: dict[str, str] = {}
        names = {path.stem for stage in _WAITING for path in self._layout.files(stage)}
        with locks.hold(self._lock):  # two processes must not ask at once whether it was used
            for path, data, statement in self._given()[0]:
                try:
                    why = self._take(path, data, statement, approve, waits=statement.request in names)
                except AdapterError as error:  # who is enrolled can't be read: nobody is, and the rest goes on
                    log.error("%s is not taken in: %s", self._layout.relative(path), error)
                    why = f"it was approved remotely, but {error}"
                    for file in self._waiting(statement.request)[:1]:
                        self._tell(path, data, file, why)
                except Exception as error:
                    log.exception("%s could not be taken in", self._layout.relative(path))
                    why = f"it was approved remotely, but that could not be taken in: {type(error).__name__}: {error}"
                if why is not None:
                    waiting[statement.request] = why
        return waiting

    def _take(self, path: Path, data: bytes, statement: Statement, approve: Approve, *, waits: bool) -> str | None:
        """Why it does not count, or None where there is nothing to say. `waits`: whether its request seems to wait."""
        files = self._waiting(statement.request) if waits else []
        live = self._store.live(statement.request)
        is_over = remote_approval.is_over(statement, self._longest(), self._clock.now())
        is_done = live is not None and live.sha256 == statement.sha256  # these bytes are approved already
        if is_done or not files:
            if live is not None and is_done:
                self._tell_of_no_effect(statement, live)
            if is_done or is_over:
                self._remove(path, data)
            if live is not None and live.via == _via(statement):
                self._store.once(live.action_id, _TAKEN_IN)
            return None
        file = next((file for file in files if file.sha256 == statement.sha256), files[0])
        why = self.doubt(statement, file)
        if why is None:
            why = self._approve(statement, approve)
        if why is None:
            self._remove(path, data)
            made = self._store.live(statement.request)
            if made is not None:
                self._store.once(made.action_id, _TAKEN_IN)
            return None
        said = f"it was approved remotely{self._by(statement)}, but {why}"
        self._tell(path, data, file, said)
        if is_over:
            self._remove(path, data)
        return said

    def doubt(self, statement: Statement, file: RequestFile | None = None) -> str | None:
        """Why an approval makes no record here, or None. `file`: the request that lies here."""
        file = file or next(iter(self._waiting(statement.request)), None)
        request = file.request if file is not None else None
        genuine = bool(statement.signature) and self._is_genuine(statement)
        policy = self._zones.actions.get(statement.action)
        return remote_approval.doubt(
            statement,
            Circumstances(
                action=request.action if request else None,
                sha256=file.sha256 if file is not None else None,
                approver=self._approver_of(statement.signer) if genuine else None,
                genuine=genuine,
                seen=file is not None and self._store.was_seen(file.request_id, file.sha256),
                used=self._store.was_via(_via(statement)),
                hours=policy.expires_hours if policy else 0.0,
                put_back_at=self._put_back_at(),
                now=self._clock.now(),
            ),
        )

    def withdraw(self, approver: Approver) -> int:
        """Void what the key of `approver` approved and is not begun yet; how many. It asks again."""
        return sum(
            self._store.void(record, f"the key of {approver.name} was revoked")
            for record in self._store.approved_via(VIA, approver.name)
        )

    def _approve(self, statement: Statement, approve: Approve) -> str | None:
        approver = self._approver_of(statement.signer)
        assert approver is not None  # `doubt` said so
        hours = self._zones.actions[statement.action].expires_hours
        try:
            approve(
                statement.request,
                statement.sha256,
                by=approver.name,
                via=_via(statement),
                until=statement.until(hours),
            )
        except ApprovalError as error:
            return str(error)
        return None

    def _tell(self, path: Path, data: bytes, file: RequestFile, said: str) -> None:
        """Once for each approval: a note beside the request, and an alert. Of what lies in `Approved/` and was not
        looked at yet, `Approvals` tells: it may be the human's own move."""
        before = None
        if file.stage is Stage.APPROVED:
            before = self._store.doubts_about(self._layout.relative(file.path), file.sha256)
            if before is None or said in before:
                return
        is_news = self._store.doubt(self._layout.relative(path), requests.sha256(data), said)
        doubt = f"{before} ({said})" if before else said
        if not file.problems and (is_news or requests.note(self._layout, file.path) is None):
            self._claims.explain(file.path, notes.confirm(file, doubt))
        if not is_news:
            return
        where = self._layout.relative(file.path)
        self._alert("INFO", f"{file.request_id} waits for a confirmation", f"{where}: {doubt}", source="approvals")

    def _tell_of_no_effect(self, statement: Statement, live: ActionRecord) -> None:
        """Once of each approval of what is approved already that a thief of the vault, or of a device, may have put
        there: one that was used before, or whose key was revoked. The journal of the action keeps it."""
        if not statement.signature or not self._is_genuine(statement):
            return
        approver = self._approver_of(statement.signer)
        is_left = live.via == _via(statement) and not self._store.has_event(live.action_id, _TAKEN_IN)
        if approver is not None and approver.revoked_at is not None:
            why = f"the key of {approver.name} was revoked here on {approver.revoked_at[:10]}"
        elif self._store.was_via(_via(statement)) and not is_left:
            why = "this approval was used before: each counts once"
        else:
            return
        said = f"{live.request_id} was approved remotely{self._by(statement)} once more, but {why}. Nothing was done."
        if self._store.once(live.action_id, f"approval {statement.use[:12]} changed nothing", why):
            self._alert("WARNING", f"An approval of {live.request_id} does not count", said, source="approvals")

    def _by(self, statement: Statement) -> str:
        approver = self._approver_of(statement.signer) if statement.signer else None
        return f" ({approver.name}, {statement.time})" if approver else f" ({statement.time})"

    def _longest(self) -> float:
        return max(policy.expires_hours for policy in self._zones.actions.values())

    # Files

    def _given(self) -> tuple[list[tuple[Path, bytes, Statement]], list[tuple[Path, bytes, str]]]:
        """`(approvals, junk)` that lie in the vault, of junk with why it is none. What did not change is read once, so
        many files cost little more than their names."""
        known, self._read_before = self._read_before, {}
        given, junk = [], []
        for path in sorted(self._layout.remote_approvals.glob("*.json")):
            try:
                status = path.lstat()
                key = (path, status.st_ino, status.st_size, status.st_ctime_ns)
                data, found = self._read_before[key] = known.get(key) or _lying(path, is_file=S_ISREG(status.st_mode))
            except OSError as error:
                log.warning("%s can't be read: %s", self._layout.relative(path), error.strerror)
                continue
            if isinstance(found, Statement):
                given.append((path, data, found))
            else:
                junk.append((path, data, found))
        return given, junk

    def _tell_of(self, junk: list[tuple[Path, bytes, str]]) -> None:
        """Once of each; all that is new in one alert."""
        names = [(self._layout.relative(path), data, why) for path, data, why in junk]
        new = [(name, data, why) for name, data, why in names if (name, data) not in self._told]
        self._told = {(name, data) for name, data, _ in names}
        said = [f"- {name}: {why}" for name, data, why in new if self._store.doubt(name, requests.sha256(data), why)]
        if said:
            more = f"\n… and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
            text = "\n".join(said[:_NAMED]) + f"{more}\n\nThey change nothing: delete them."
            self._alert("WARNING", "Files in Updates/approvals/ are no approvals", text, source="approvals")

    def _waiting(self, request_id: str) -> list[RequestFile]:
        paths = self._layout.named(request_id, *_WAITING)
        return [file for file in (requests.read(self._layout, path) for path in paths) if file is not None]

    def _remove(self, path: Path, data: bytes) -> None:
        """Away with what was decided; git keeps it."""
        atomic.remove_if(path, lambda there: there.is_file() and there.read_bytes() == data)


def _lying(path: Path, *, is_file: bool) -> _Lying:
    """What lies at `path`. Raises `OSError`."""
    data = b""
    try:
        if not is_file:
            raise BadStatement("it is no plain file")
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise BadStatement("it is too large")
        return data, remote_approval.read(data)
    except BadStatement as error:
        return data, str(error)


#: The event of an action whose approval made the record and went away: where it lies again, it is a replay.
_TAKEN_IN = "approval taken in"
#: What the `via` of such a record begins with.
VIA = "signed:"


def _via(statement: Statement) -> str:
    return f"{VIA}{statement.use}"


def _second(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _is_bare(old: Statement, request_id: str, sha256: str) -> bool:
    return not old.signature and (old.request, old.sha256) == (request_id, sha256)
