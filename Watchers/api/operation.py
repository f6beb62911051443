"""One endpoint, declared: what goes in, what comes out, which errors are to be expected.

The declaration is what reads the request, and `/api/openapi.json` is made from it: neither can drift from the other.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import datetime
from functools import wraps
from typing import Any, cast

from flask import Flask, Response, current_app
from flask.json.provider import DefaultJSONProvider
from werkzeug.routing import BaseConverter, ValidationError

from utils.bootstrap import Services
from utils.core.task import ID_PATTERN, format_time
from Watchers.api import inputs
from Watchers.api.inputs import Field

_SERVICES = "ai-employee"
_STARTED = "ai-employee-started"


@dataclass(frozen=True)
class Operation:
    """What `openapi` needs to know of a view."""

    answer: Mapping[str, Any]
    query: tuple[Field, ...]
    body: tuple[Field, ...]
    errors: tuple[int, ...]
    public: bool
    media_type: str


def operation(
    answer: Mapping[str, Any],
    *,
    query: Sequence[Field] = (),
    body: Sequence[Field] = (),
    errors: Sequence[int] = (),
    public: bool = False,
    media_type: str = "application/json",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a view. Its query and body fields reach it as keyword arguments, already checked.

    `answer` is the schema of success, in `media_type`; `errors` the statuses beyond those that any endpoint may answer.
    """

    def declare(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def call(**path: Any) -> Any:
            given = inputs.query(query)
            if body:
                given |= inputs.body(body)
            return view(**path, **given)

        call.operation = Operation(  # type: ignore[attr-defined]
            answer, tuple(query), tuple(body), tuple(errors), public, media_type
        )
        return call

    return declare


def summary(view: Callable[..., Any]) -> tuple[str, str]:
    """The first sentence of a view's docstring, and all of it."""
    text = inspect.getdoc(view) or ""
    return text.split("\n\n")[0].replace("\n", " "), text


def services() -> Services:
    """The services of the app that is answering."""
    found: Services = current_app.extensions[_SERVICES]
    return found


def uptime() -> float:
    """Seconds since the app was made."""
    return services().clock.monotonic() - float(current_app.extensions[_STARTED])


def prepare(app: Flask, parts: Services) -> None:
    """Give `app` its services, its JSON and its path converters."""
    app.extensions[_SERVICES] = parts
    app.extensions[_STARTED] = parts.clock.monotonic()
    app.json = ApiJson(app)
    app.url_map.converters |= CONVERTERS


class TaskId(BaseConverter):
    """The id of a task or request; anything else in its place is no address of ours."""

    pattern = ID_PATTERN

    def to_python(self, value: str) -> str:
        """The id, if it is one."""
        if self.pattern.fullmatch(value) is None:
            raise ValidationError
        return value


class ActionId(TaskId):
    """The id of an action in the execution journal."""

    pattern = re.compile("^[0-9a-f]{32}$")


class ConflictId(TaskId):
    """The id of a copy under `Updates/conflicts/`."""

    pattern = re.compile("^[0-9a-f]{32}$")


class SilenceId(TaskId):
    """The id of a silence."""

    pattern = re.compile("^[0-9a-f]{16}$")


class RequestId(TaskId):
    """The id of a request. What is none reaches the view as well, which says that no such request waits."""

    def to_python(self, value: str) -> str:
        """Any text without a slash."""
        return value


class CardId(TaskId):
    """The id of a task, or the name of a note that a person dropped: what the list of tasks calls it."""

    pattern = re.compile("^[^/]+$")


CONVERTERS = {
    "task_id": TaskId,
    "card_id": CardId,
    "request_id": RequestId,
    "action_id": ActionId,
    "conflict_id": ConflictId,
    "silence_id": SilenceId,
}


class ApiJson(DefaultJSONProvider):
    """JSON with ISO 8601 times in UTC and keys in the order they were given."""

    sort_keys = False

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """The answer with a value. A byte of a file's name that is none of UTF-8 (half a character, PEP 383) is `�` in
        it: half a character is no text for others (RFC 7493 §2.1), and a browser makes no address of it."""
        answer = cast(Response, super().response(*args, **kwargs))
        data = answer.get_data()
        if b"\\ud" in data:
            text = json.dumps(json.loads(data), ensure_ascii=False, separators=(",", ":")) + "\n"
            answer.set_data(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
        return answer

    @staticmethod
    def default(value: Any) -> Any:
        """How a value that JSON does not know is written."""
        if isinstance(value, datetime):
            return format_time(value)
        if is_dataclass(value) and not isinstance(value, type):
            return asdict(value)
        return DefaultJSONProvider.default(value)
