"""The shapes of answers (contract §3) as JSON schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from utils.core.alert import Level
from utils.core.badges import Kind, Severity
from utils.core.health import Status
from utils.core.lease import State as LeaseState
from utils.core.routing import BOTH, ZONES
from utils.core.stages import DOMAINS, Stage
from utils.execution.answer_log import ANSWERS
from utils.execution.journal import State
from utils.health.checkup import State as Checked
from utils.health.history import WINDOWS
from utils.tasks.board import HISTORY

Schema = Mapping[str, Any]


def obj(**properties: Schema) -> Schema:
    """An object that always has these members."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def with_more(shape: Schema, **properties: Schema) -> Schema:
    """The same object, which may have these members too."""
    return {**shape, "properties": {**shape["properties"], **properties}}


def array(items: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": items}


def by_name(values: Schema) -> Schema:
    """An object of any names."""
    return {"type": "object", "additionalProperties": values}


def nullable(schema: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def enum(*words: str) -> Schema:
    """One of a few words."""
    return {"type": "string", "enum": list(words)}


def page(item: Schema) -> Schema:
    """One page of a list."""
    return obj(items=array(item), next_cursor=maybe_text)


text: Schema = {"type": "string"}
whole: Schema = {"type": "integer"}
number: Schema = {"type": "number"}
boolean: Schema = {"type": "boolean"}
time: Schema = {"type": "string", "format": "date-time"}
sha256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
maybe_text = nullable(text)
maybe_time = nullable(time)
maybe_number = nullable(number)
maybe_whole = nullable(whole)
maybe_boolean = nullable(boolean)
texts = array(text)
anything: Schema = {"type": "object"}
any_value: Schema = {}
zone = enum(*ZONES)

SYNC_RESULT = obj(
    result=enum("noop", "ok", "conflicts", "offline", "error"),
    committed=whole,
    pulled=whole,
    pushed=whole,
    conflicts=array(obj(path=text, winner=text, kept_at=maybe_text)),
    refused=array(obj(path=text, reason=text)),
    started_at=time,
    duration_ms=number,
    error=maybe_text,
)
SYNC_STATUS = obj(
    state=enum("never", "idle", "syncing", "offline", "error"),
    branch=text,
    remote=maybe_text,
    head=maybe_text,
    remote_head=maybe_text,
    ahead=nullable(whole),
    behind=nullable(whole),
    dirty=nullable(boolean),
    last_sync=nullable(SYNC_RESULT),
    last_success_at=maybe_time,
    next_run_at=maybe_time,
)
CONFLICT = obj(
    id=text,
    path=text,
    original=text,
    lost=maybe_text,
    stands=maybe_text,
    by=maybe_text,
    why=maybe_text,
    since=time,
    size=whole,
)
_VERSION = obj(sha256=sha256, size=whole, text=maybe_text)
CONFLICT_DETAIL = obj(
    **CONFLICT["properties"],
    copy_sha256=sha256,
    ours=nullable(_VERSION),
    theirs=_VERSION,
    difference=maybe_text,
)
TAKEN = obj(path=text, sha256=sha256, kept_at=maybe_text)
DISMISSED = obj(id=text)

ZONES_STATUS = obj(
    this_zone=zone,
    mode=text,
    active_zone=zone,
    state=enum(*LeaseState),
    term=whole,
    since=maybe_time,
    reason=text,
    pinned=boolean,
    waits=maybe_text,
    failover=obj(enabled=boolean, threshold=whole, interval_seconds=whole),
    zones=by_name(obj(url=maybe_text, consecutive_failures=whole)),
    routing=by_name(obj(rule=text, zone=text)),
    history=array(anything),
)
ZONE_SWITCHED = with_more(obj(active_zone=zone, previous=zone, term=whole), warning=text)
ZONES_HEALTH = obj(
    zones=by_name(
        obj(
            healthy=nullable(boolean),
            checked_at=maybe_time,
            method=enum("http", "heartbeat"),
            latency_ms=maybe_number,
            consecutive_failures=whole,
            error=maybe_text,
        )
    )
)

_STATUS = enum(*Status)
HEALTH = obj(
    status=_STATUS,
    checked_at=maybe_time,
    services=by_name(
        obj(
            status=_STATUS,
            latency_ms=maybe_number,
            consecutive_failures=whole,
            last_ok_at=maybe_time,
            error=maybe_text,
            uptime_24h=maybe_number,
        )
    ),
)
_SHARE = nullable({"type": "number", "minimum": 0, "maximum": 1})
HEALTH_HISTORY = obj(
    window=enum(*WINDOWS),
    bucket_seconds=whole,
    services=by_name(
        obj(
            uptime=_SHARE,
            buckets=array(
                obj(at=time, uptime=_SHARE, latency_ms=maybe_number, latency_p95_ms=maybe_number, checks=whole)
            ),
        )
    ),
)
LIVENESS = obj(status=enum("ok"))

DOCTOR = obj(checked_at=maybe_time, running=boolean, items=array(obj(name=text, state=enum(*Checked), says=text)))

ALERT = obj(
    id=text,
    at=time,
    level=text,
    source=text,
    title=text,
    message=text,
    state=enum("sent", "spooled", "suppressed", "failed"),
    repeats=whole,
)

SILENCE = obj(
    id=text, match=obj(level=nullable(enum(*Level)), source=maybe_text, title=maybe_text), until=time, at=time, by=text
)
SILENCES = obj(items=array(SILENCE))
SPOKEN = obj(id=text)

CLAIMS = obj(
    active=array(
        obj(
            task=text,
            agent=maybe_text,
            since=maybe_time,
            path=text,
            provisional=boolean,
            working=maybe_boolean,
            last_beat_at=maybe_time,
        )
    ),
    recent=array(anything),
    counts=by_name(whole),
    next_cursor=maybe_text,
)

TASK = obj(
    id=text,
    stage=enum(*Stage),
    domain=enum(*DOMAINS),
    zone=nullable(enum(*ZONES, BOTH)),
    agent=maybe_text,
    path=text,
    type=maybe_text,
    priority=maybe_text,
    created=maybe_text,
    created_by=maybe_text,
    title=maybe_text,
    sender=maybe_text,
    action=maybe_text,
    source_task=maybe_text,
    problems=texts,
)
TASK_DETAIL = obj(
    **TASK["properties"],
    also_at=texts,
    content=text,
    plan=maybe_text,
    requests=array(obj(id=text, stage=enum(*Stage))),
    history=array(obj(**dict.fromkeys(HISTORY, maybe_text))),
)

APPROVAL = obj(
    id=text,
    path=text,
    stage=enum(Stage.PENDING_APPROVAL, Stage.APPROVED, Stage.REJECTED),
    sha256=sha256,
    action=maybe_text,
    domain=maybe_text,
    priority=maybe_text,
    created=maybe_text,
    to=texts,
    subject=maybe_text,
    risk=texts,
    badges=array(obj(kind=enum(*Kind), severity=enum(*Severity), words=text)),
    shown=array(obj(label=text, text=text)),
    why=text,
    drafted_by=text,
    source_task=maybe_text,
    state=enum("waiting", "snoozed", "superseded"),
    expires=maybe_time,
    expires_in_seconds=maybe_whole,
    expired=boolean,
    warning=maybe_text,
    snoozed_until=maybe_time,
    superseded_by=maybe_text,
    instruction=maybe_text,
    needs_confirmation=boolean,
    approved_remotely=nullable(obj(signed=boolean, at=time, words=text)),
    reason=maybe_text,
    problems=texts,
)
MAIL = obj(
    sender=text,
    to=texts,
    cc=texts,
    subject=text,
    received=time,
    authenticated=maybe_boolean,
    text=text,
    truncated=boolean,
    attachments=array(obj(name=text, type=text, size=whole)),
)
_PAIR = obj(before=any_value, after=any_value)
CHANGE = obj(draft=nullable(obj(before=text, after=text)), fields=by_name(_PAIR), diff=text)
APPROVAL_DETAIL = obj(
    **APPROVAL["properties"],
    content=text,
    fields=anything,
    draft=maybe_text,
    change=nullable(CHANGE),
    recipients=array(obj(field=text, shown=text, known=maybe_boolean, wrote=boolean)),
    source=obj(task=maybe_text, facts=anything, text=maybe_text, mail=nullable(MAIL)),
)
REJECTED = obj(id=text, stage=enum(Stage.REJECTED))
EDITED = obj(id=text, sha256=sha256)
REVISED = obj(id=text, state=enum("superseded"), next=text, task=text, draft=whole)
SNOOZED = obj(
    id=text,
    state=enum("snoozed"),
    snoozed_until=time,
    expires=maybe_time,
    expires_in_seconds=maybe_whole,
    warning=maybe_text,
)
ANSWER = obj(
    at=time,
    request=text,
    answer=enum(*ANSWERS),
    by=text,
    via=text,
    said=text,
    action_id=maybe_text,
    drafted_by=text,
    change=nullable(CHANGE),
)

ACTION = obj(
    at=text,
    action_id=text,
    request=text,
    action=text,
    source_task=maybe_text,
    sha256=text,
    approver=text,
    via=text,
    approved_at=time,
    expires_at=time,
    state=enum(*State),
    attempts=whole,
    reference=maybe_text,
    message_id=maybe_text,
    receipt=nullable(obj(provider=text, id=text, detail=text)),
    error=maybe_text,
    duration_ms=maybe_number,
)
LISTED_ACTION = with_more(ACTION, waits=nullable(obj(reason=text, until=maybe_time)))
STOP = obj(stopped=boolean, reason=maybe_text)

APPROVED_REMOTELY = obj(
    id=text,
    action=text,
    sha256=sha256,
    state=enum("approved_remotely"),
    signed=boolean,
    until=time,
    path=text,
    detail=text,
)

#: One event of the stream; `data` is the JSON text of `{"at": time, "versions": {topic: version}}`.
EVENTS = with_more(obj(id=text, event=enum("hello", "change"), data=text), retry=whole)

#: Prometheus's text format.
METRICS: Schema = {"type": "string"}

_MODULE = obj(ok=boolean, detail=text)
PLATINUM = obj(
    agent=zone,
    mode=text,
    stands_still=maybe_text,
    modules=obj(
        vault_sync=_MODULE,
        work_zones=_MODULE,
        health_monitor=_MODULE,
        alert_manager=_MODULE,
        claim_task=_MODULE,
        draft_only_mode=_MODULE,
        vault_structure=_MODULE,
    ),
    tasks=by_name(by_name(whole)),
    waiting=obj(local=whole, cloud=whole, both=whole),
    conflicts=whole,
    version=text,
    uptime_seconds=number,
)
