"""What changed, as it changes: server-sent events that say which answers to ask for again, and hold no content."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, request

from Watchers.api import shapes
from Watchers.api.errors import Problem
from Watchers.api.operation import operation
from Watchers.api.streams import MOST, RETRY, Streams

bp = Blueprint("events", __name__)

MEDIA_TYPE = "text/event-stream"
#: In the WSGI environment: what the reader was told, for a server that holds the answer open.
TOLD = "ai-employee.told"
STREAMS = "ai-employee-streams"


@bp.get("/api/events")
@operation(shapes.EVENTS, errors=[503], media_type=MEDIA_TYPE)
def events() -> Response:
    """What changed, as it changes: server-sent events that name topics and their versions, no content.

    First `retry: 3000` and an event `hello` with the version of every topic, then an event `change` with those that
    differ now, each `{"at": …, "versions": {topic: version}}`. Ask again for what a topic is about where its version is
    another than the one you know; it is the same after a restart where nothing changed. A comment comes each 15 s. 503
    where too many streams are open.
    """
    streams: Streams = current_app.extensions[STREAMS]
    if streams.is_full:
        raise Problem(
            503,
            f"{MOST} event streams are open already. Close one, or ask again later.",
            kind="too-many-streams",
            headers={"Retry-After": "10"},
        )
    told = streams.versions()
    request.environ[TOLD] = told
    # An iterator: its length is not told, so that a server may go on with it. Elsewhere the answer ends after `hello`,
    # and the client comes again after `retry`.
    return Response(iter([f"retry: {RETRY}\n{streams.event('hello', told, told)}"]), content_type=MEDIA_TYPE)
