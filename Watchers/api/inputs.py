"""What comes in: query parameters and JSON bodies, declared once as fields that both check and document themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import request

from utils.core.task import MOMENT, parse_moment
from utils.vault import frontmatter
from Watchers.api.errors import Problem

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
#: What a body may call itself. `curl -d` says that it is a form; the Origin check is what keeps foreign pages out.
BODY_TYPES = frozenset({"", "application/json", "application/x-www-form-urlencoded", "text/plain"})


@dataclass(frozen=True)
class Field:
    """One input: its name, its JSON schema, how its value is read, and what it is for.

    `read` returns the value to use or raises `ValueError` with what would be right.
    """

    name: str
    schema: Mapping[str, Any]
    read: Callable[[Any], Any]
    help: str
    required: bool = False
    default: Any = None


def text(name: str, help_text: str, *, required: bool = False, longest: int = 10_000) -> Field:
    """A string of at most `longest` characters; a required one may not be blank."""

    def read(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("must be a text")
        if len(value) > longest or (required and not value.strip()):
            least = "must not be empty and " if required else ""
            raise ValueError(f"{least}must be a text of at most {longest} characters")
        return value

    schema = {"type": "string", "maxLength": longest} | ({"minLength": 1} if required else {})
    return Field(name, schema, read, help_text, required)


def choice(name: str, allowed: Sequence[str], help_text: str, *, required: bool = False) -> Field:
    """One of a few words."""

    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return str(value)

    return Field(name, {"type": "string", "enum": list(allowed)}, read, help_text, required)


def digest(name: str = "sha256", *, required: bool = True) -> Field:
    """The sha256 of a file as it was shown, in lower-case hex."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or len(value) != 64 or set(value) - set("0123456789abcdef"):
            raise ValueError("must be the 64 hex digits that GET /api/approvals/<id> showed, in lower case")
        return value

    schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
    return Field(name, schema, read, "sha256 of the file as it was shown", required)


def texts(name: str, help_text: str, *, most: int = 100) -> Field:
    """A list of strings."""

    def read(value: Any) -> list[str]:
        if not isinstance(value, list) or len(value) > most or not all(isinstance(item, str) for item in value):
            raise ValueError(f"must be a list of at most {most} texts")
        return value

    schema = {"type": "array", "items": {"type": "string"}, "maxItems": most}
    return Field(name, schema, read, help_text)


def mapping(name: str, help_text: str) -> Field:
    """A JSON object; whoever uses it checks what is in it."""

    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError("must be an object")
        return value

    return Field(name, {"type": "object"}, read, help_text)


def group(name: str, help_text: str, fields: Sequence[Field]) -> Field:
    """An object with fields of its own, each of which may be left out; it is required itself."""
    known = {field.name: field for field in fields}

    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError("must be an object")
        unknown = [str(key)[:100] for key in value if key not in known]
        if unknown:
            raise ValueError(f"has no {', '.join(unknown)}; known are: {', '.join(known)}")
        found = dict.fromkeys(known)
        for key, item in value.items():
            try:
                found[key] = None if item is None else known[key].read(item)
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from None
        return found

    properties = {field.name: {**field.schema, "description": field.help} for field in fields}
    schema = {"type": "object", "properties": properties, "additionalProperties": False, "minProperties": 1}
    return Field(name, schema, read, help_text, required=True)


def whole(
    name: str, help_text: str, low: int, high: int, default: int | None = None, *, in_query: bool = True
) -> Field:
    """A whole number from `low` to `high`; in a query it comes as digits. In a body 1.0 is one too (JSON Schema
    2020-12, validation §6.1.1)."""

    def read(value: Any) -> int:
        if not in_query and isinstance(value, float) and value.is_integer():
            value = int(value)
        if in_query and isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value[:20])
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return value

    schema: dict[str, Any] = {"type": "integer", "minimum": low, "maximum": high}
    return Field(name, schema | ({} if default is None else {"default": default}), read, help_text, default=default)


def flag(name: str, help_text: str) -> Field:
    """`true` or `false`; absent is false."""

    def read(value: Any) -> bool:
        if value not in ("true", "false", "1", "0"):
            raise ValueError("must be true or false")
        return value in ("true", "1")

    return Field(name, {"type": "boolean", "default": False}, read, help_text, default=False)


def yes_no(name: str, help_text: str, *, default: bool) -> Field:
    """`true` or `false` in a body."""

    def read(value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError("must be true or false")
        return value

    return Field(name, {"type": "boolean", "default": default}, read, help_text, default=default)


def moment(name: str, help_text: str, *, required: bool = False) -> Field:
    """An ISO 8601 time with its offset (RFC 3339's date-time): without one nobody knows which time is meant."""

    def read(value: Any) -> datetime:
        try:
            return parse_moment(value)
        except (ValueError, OverflowError):
            raise ValueError(f"must be {MOMENT}") from None

    return Field(name, {"type": "string", "format": "date-time"}, read, help_text, required)


PAGING = (
    whole("limit", "How many items at most", 1, MAX_LIMIT, DEFAULT_LIMIT),
    text("cursor", "`next_cursor` of the page before", longest=2_000),
)


def query(fields: Sequence[Field]) -> dict[str, Any]:
    """The query parameters, read; what is absent has its default. Raises a 400 `Problem` naming all that is wrong."""
    repeated = [f"{name}: given more than once" for name, values in request.args.lists() if len(values) > 1]
    return _read(request.args.to_dict(), fields, repeated)


def body(fields: Sequence[Field]) -> dict[str, Any]:
    """The JSON body, read; no body is an empty object. Raises a 400 `Problem` naming all that is wrong, or a 415."""
    return _read(_json_object(), fields, [])


def _json_object() -> dict[str, Any]:
    kind = request.mimetype
    if kind not in BODY_TYPES and not kind.endswith("+json"):
        raise Problem(
            415, f"The body must be JSON (application/json), not {kind}.", headers={"Accept": "application/json"}
        )
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "The body must not be compressed.", headers={"Accept-Encoding": "identity"})
    raw = request.get_data(cache=False)
    if not raw.strip():
        return {}
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    except RecursionError:
        raise Problem(400, "The body is nested too deeply.", kind="invalid-json") from None
    except ValueError as error:
        raise Problem(400, f"The body is not JSON: {_words(error)}.", kind="invalid-json") from None
    if not isinstance(value, dict):
        raise Problem(400, 'The body must be a JSON object, such as {"zone": "cloud"}.', kind="invalid-json")
    return value


def _read(given: Mapping[str, Any], fields: Sequence[Field], problems: list[str]) -> dict[str, Any]:
    known = {field.name for field in fields}
    problems = problems + [
        f"{name[:100]}: unknown; known are: {', '.join(sorted(known)) or 'none'}" for name in given if name not in known
    ]
    values = {}
    for field in fields:
        value = given.get(field.name)
        if value is None:
            values[field.name] = field.default
            if field.required:
                problems.append(f"{field.name}: missing ({field.help})")
            continue
        try:
            values[field.name] = field.read(value)
            frontmatter.check_texts(value, "it")
        except RecursionError:
            problems.append(f"{field.name}: is nested too deeply")
        except ValueError as error:
            problems.append(f"{field.name}: {error}")
    if problems:
        raise Problem(400, "; ".join(problems), kind="invalid-input", problems=problems)
    return values


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _words(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} (line {error.lineno}, column {error.colno})"
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
