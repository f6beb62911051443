"""The OpenAPI 3.1 document, made from the routes and their declarations when it is first asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Flask, Response, current_app
from werkzeug.routing import Rule

from utils import VERSION
from Watchers.api.errors import MEDIA_TYPE
from Watchers.api.inputs import Field
from Watchers.api.operation import CONVERTERS, Operation, operation, summary

bp = Blueprint("openapi", __name__)

_DOCUMENT = "ai-employee-openapi"

_ARGUMENT = re.compile(r"<(?:(?P<converter>\w+):)?(?P<name>\w+)>")
_NAMED_GROUP = re.compile(r"\(\?P<\w+>")  # Python's spelling; JSON schema speaks ECMAScript
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457; further members say more, such as the current `sha256` where a file has changed",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail"],
}

_PROBLEM_HERE = {"$ref": "#/components/schemas/Problem"}


@bp.get("/api/openapi.json")
@operation({"type": "object"})
def document() -> Response:
    """This API as OpenAPI 3.1."""
    if _DOCUMENT not in current_app.extensions:  # its routes are all there before it answers
        current_app.extensions[_DOCUMENT] = current_app.json.dumps(describe(current_app))
    return Response(current_app.extensions[_DOCUMENT], mimetype="application/json")


def describe(app: Flask) -> dict[str, Any]:
    """The OpenAPI document of all routes of `app`."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AI Employee",
            "version": VERSION,
            "description": "What the node does, and the human's say in it. Errors are problem objects (RFC 9457).",
        },
        "security": [{"token": []}],
        "paths": dict(sorted(_paths(app).items())),
        "components": {
            "schemas": {"Problem": _PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths(app: Flask) -> dict[str, dict[str, Any]]:
    paths: dict[str, dict[str, Any]] = {}
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        declared: Operation = vars(view)["operation"]  # a route without one is a mistake
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            entry = _operation(rule, declared, *summary(view))
            paths.setdefault(_ARGUMENT.sub(r"{\g<name>}", rule.rule), {})[method.lower()] = entry
    return paths


def _operation(rule: Rule, declared: Operation, title: str, text: str) -> dict[str, Any]:
    statuses = {*declared.errors, 400, 403, 500, *(() if declared.public else (401,))}  # 403: a foreign host or page
    if declared.body:
        statuses |= {413, 415}
    entry: dict[str, Any] = {
        "operationId": rule.endpoint.replace(".", "_"),
        "tags": [rule.endpoint.partition(".")[0]],
        "summary": title,
        "description": text,
        "parameters": _arguments(rule) + _query(declared.query),
        "responses": {"200": _answer("Success", declared.media_type, declared.answer)}
        | {str(status): _answer(HTTPStatus(status).phrase, MEDIA_TYPE, _PROBLEM_HERE) for status in sorted(statuses)},
    }
    if declared.body:
        required = any(field.required for field in declared.body)
        entry["requestBody"] = {
            "required": required,
            "content": {"application/json": {"schema": _object(declared.body)}},
        }
    if declared.public:
        entry["security"] = []
    return entry


def _answer(text: str, media_type: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {media_type: {"schema": schema}}}


def _arguments(rule: Rule) -> list[dict[str, Any]]:
    return [
        {
            "in": "path",
            "name": match["name"],
            "required": True,
            "schema": {
                "type": "string",
                "pattern": _NAMED_GROUP.sub("(?:", CONVERTERS[match["converter"]].pattern.pattern),
            },
        }
        for match in _ARGUMENT.finditer(rule.rule)
    ]


def _query(fields: Sequence[Field]) -> list[dict[str, Any]]:
    return [
        {
            "in": "query",
            "name": field.name,
            "required": field.required,
            "schema": field.schema,
            "description": field.help,
        }
        for field in fields
    ]


def _object(fields: Sequence[Field]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {field.name: {**field.schema, "description": field.help} for field in fields},
        "required": [field.name for field in fields if field.required],
        "additionalProperties": False,
    }
