"""How the node is in numbers, for Prometheus: looked at when asked, nothing is counted in between."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, current_app

from utils import VERSION
from utils.bootstrap import Services
from utils.core.lease import State as LeaseState
from utils.core.routing import ZONES
from utils.core.task import parse_time
from utils.sync import kept
from utils.tasks import waiting
from Watchers.api import events, shapes
from Watchers.api.operation import operation, services, uptime

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

log = logging.getLogger(__name__)

bp = Blueprint("metrics", __name__)

MEDIA_TYPE = "text/plain"
#: Text format 0.0.4, which every Prometheus reads.
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "ai_employee_"
_RESULTS = ("never", "noop", "ok", "conflicts", "offline", "error")
Numbers = Iterator["GaugeMetricFamily"]


@bp.get("/metrics")
@operation(shapes.METRICS, media_type=MEDIA_TYPE)
def metrics() -> Response:
    """The node in numbers, in Prometheus's text format. It needs the token like everything else."""
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(_Node(services()))
    return Response(generate_latest(registry), content_type=_CONTENT_TYPE)


class _Node:
    """Collects the numbers of one node. A part that can't be looked at is missing, and named as an error."""

    def __init__(self, node: Services) -> None:
        self._node = node

    def collect(self) -> Numbers:
        """Every family of numbers (the protocol of `prometheus_client`)."""
        errors = {}
        for name, part in PARTS.items():
            try:
                found = list(part(self._node))
                errors[name] = 0
            except Exception:
                log.exception("no numbers of %s", name)
                found, errors[name] = [], 1
            yield from found
        yield _by("scrape_error", "Whether a part could not be looked at; the API's log says why", "part", errors)


def _about(node: Services) -> Numbers:
    labels = {"version": VERSION, "agent": node.settings.agent_name, "mode": node.settings.agent_mode}
    yield _labelled("info", "This node; always 1", {tuple(labels.values()): 1}, *labels)
    yield _one("uptime_seconds", "How long the API runs", uptime())
    yield _one("stopped", "Whether the kill switch is pulled", node.brakes.stopped() is not None)
    yield _one("event_streams", "Open streams of GET /api/events", len(current_app.extensions[events.STREAMS]))


def _tasks(node: Services) -> Numbers:
    counts = node.board.counts()
    numbers: dict[tuple[str, ...], float] = {
        (stage, domain): count for stage, by_domain in counts.items() for domain, count in by_domain.items()
    }
    yield _labelled("tasks", "Files by stage and domain", numbers, "stage", "domain")
    waits = waiting.counts(node.board, node.zones.resolve_zone)
    yield _by("tasks_waiting", "Tasks that wait, by who does them", "zone", waits)
    agents = [claim["agent"] for claim in node.board.active_claims()]
    yield _by("claims", "Tasks in progress", "agent", {agent: agents.count(agent) for agent in ZONES})


def _approvals(node: Services) -> Numbers:
    pending = node.approvals.pending()
    states = {state: sum(one.state == state for one in pending) for state in ("waiting", "snoozed")}
    yield _by("approvals", "Requests that wait for an answer", "state", states)
    yield _one("approvals_expired", "Of these, how many are too old", sum(one.expired for one in pending))


def _actions(node: Services) -> Numbers:
    yield _by("actions", "Actions of the journal", "state", node.store.counts())


def _zones(node: Services) -> Numbers:
    now = node.zones.standing()
    yield _by("zone_active", "Which zone is active", "zone", {zone: zone == now.active_zone for zone in ZONES})
    yield _one("zone_term", "The term of the lease", now.term)
    states = {state.value: state is now.state for state in LeaseState}
    yield _by("lease_state", "How this node stands to the lease", "state", states)


def _sync(node: Services) -> Numbers:
    last = node.sync.last()
    run, success = last["last_sync"], last["last_success_at"]
    result = run["result"] if run else "never"
    yield _by("sync_result", "What became of the last sync", "result", {word: word == result for word in _RESULTS})
    yield _one("sync_running", "Whether a sync runs", node.sync.is_running())
    if success:
        at = parse_time(success).timestamp()
        yield _one("sync_last_success_timestamp_seconds", "When a sync last went well", at)
    if run:
        yield _one("sync_duration_seconds", "How long the last sync took", run["duration_ms"] / 1000)
    yield _one("conflicts", "Versions under Updates/conflicts/", sum(1 for _ in kept.copies(node.layout)))


def _health(node: Services) -> Numbers:
    told: Mapping[str, Mapping[str, Any]] = node.health.detailed()["services"]
    known = {name: seen for name, seen in told.items() if seen["status"] != "unknown"}
    up = {name: seen["status"] == "healthy" for name, seen in known.items()}
    yield _by("service_up", "Whether a service answered well", "service", up)
    failures = {name: seen["consecutive_failures"] for name, seen in known.items()}
    yield _by("service_failures", "Failed checks in a row", "service", failures)
    latency = {name: seen["latency_ms"] / 1000 for name, seen in known.items() if seen["latency_ms"] is not None}
    yield _by("service_latency_seconds", "How long its last check took", "service", latency)


def _alerts(node: Services) -> Numbers:
    yield _one("alerts_waiting", "Alerts that a channel has not taken yet", node.alerts.waiting())
    yield _one("alert_silences", "Silences that hold", len(node.alerts.silences()))


PARTS: Mapping[str, Callable[[Services], Numbers]] = {
    "about": _about,
    "tasks": _tasks,
    "approvals": _approvals,
    "actions": _actions,
    "zones": _zones,
    "sync": _sync,
    "health": _health,
    "alerts": _alerts,
}


def _one(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    return _labelled(name, help_text, {(): value})


def _by(name: str, help_text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    return _labelled(name, help_text, {(key,): value for key, value in values.items()}, label)


def _labelled(name: str, help_text: str, values: Mapping[tuple[str, ...], float], *labels: str) -> GaugeMetricFamily:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(_PREFIX + name, help_text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, float(value))
    return family
