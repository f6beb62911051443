"""Errors as `application/problem+json` (RFC 9457): the one place that knows which exception means which answer.

A problem says what is wrong with the request and what to do; of the inside it says nothing. What nobody expected is
logged with its traceback and answered with a bare 500.
"""

from __future__ import annotations

import json
import logging
import re
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from utils import claim_task
from utils.alert_manager import BadCursor, BadSilence, UnknownSilence
from utils.claim_task import Gone, TargetTaken
from utils.core import visible
from utils.core.stages import IllegalMove
from utils.execution.answers import (
    AlreadyActed,
    BadAnswer,
    BadEdit,
    Changed,
    Expired,
    Invalid,
    NotFound,
    NotHere,
    Superseded,
)
from utils.execution.store import StoreProblem
from utils.ports import AdapterError
from utils.sync.settling import NotTaken, UnknownConflict
from utils.tasks.board import UnknownTask
from utils.vault.skeleton import VaultProblem
from utils.vault_sync import SyncBusy
from utils.work_zones import NotSwitched, StaleTerm, UnknownZone

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
MAX_BODY = 1024 * 1024
_WORD = re.compile(r"[a-z]+(?=[\s,;:.!?]*(?:\s|\Z))")


class Problem(Exception):
    """An answer that is an error. `kind` names what happened for a program, `detail` tells a person what to do;
    `extra` are further members of the problem object, `headers` of the answer."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str | None = None,
        title: str | None = None,
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers or {}
        self.body = {
            **extra,
            "type": f"urn:ai-employee:problem:{kind}" if kind else "about:blank",
            "title": title or HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
        }

    def response(self) -> Response:
        """The problem as an HTTP answer."""
        text = json.dumps(self.body, ensure_ascii=False)
        return Response(text, self.status, self.headers, content_type=MEDIA_TYPE)


def install(app: Flask) -> None:
    """Answer every error of `app`, expected or not, as a problem."""

    @app.errorhandler(Exception)
    def answer(error: Exception) -> Response:
        problem = problem_of(error)
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, Problem):
            log.error("%s %s failed", request.method, visible.plain(request.path), exc_info=error)
        return problem.response()


def problem_of(error: Exception) -> Problem:
    """What an exception means to the caller."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        return _http_problem(error)
    return _use_case_problem(error) or Problem(500, "Something went wrong here. The server's log says what.")


def _use_case_problem(error: Exception) -> Problem | None:
    """The answers of the use cases that are no success, or None for what nobody expected."""
    match error:
        case Changed():
            return Problem(409, _sentence(error), kind="changed", sha256=error.sha256)
        case Expired():
            return Problem(409, _sentence(error), kind="expired")
        case NotHere():
            return Problem(403, _sentence(error), kind="not-here")
        case claim_task.Changed():
            return Problem(409, _sentence(error), kind="changed", sha256=error.sha256 or None)
        case NotTaken():
            return Problem(409, _sentence(error), kind="not-taken")
        case NotFound() | UnknownTask() | UnknownConflict() | UnknownSilence():
            return Problem(404, _sentence(error), kind="not-found")
        case AlreadyActed():
            return Problem(409, _sentence(error), kind="already-acted")
        case Superseded():
            return Problem(409, _sentence(error), kind="superseded", next=error.next)
        case BadEdit() | BadAnswer():
            return Problem(400, _sentence(error), kind="invalid-input", problems=error.problems)
        case Invalid():
            return Problem(409, _sentence(error), kind="invalid-request", problems=error.problems)
        case SyncBusy():
            return Problem(409, "A sync of this vault is running already. Try again when it has ended.", kind="busy")
        case BadCursor() | BadSilence():
            return Problem(400, _sentence(error), kind="invalid-input")
        case UnknownZone():
            return Problem(400, _sentence(error), kind="unknown-zone")
        case StaleTerm():
            return Problem(409, _sentence(error), kind="stale-term", term=error.term)
        case Gone() | TargetTaken() | IllegalMove():
            return Problem(409, "The task was moved meanwhile. Look at it again, then decide.", kind="moved")
        case StoreProblem() | AdapterError() | VaultProblem() | NotSwitched():
            return Problem(503, _sentence(error), kind="unavailable")
    return None


def _sentence(error: Exception) -> str:
    """The error as a sentence. Only a word gets a capital: an id, a path or a name of a field stays as it is."""
    text = str(error)
    word = _WORD.match(text)
    start = text[:1].upper() if word else text[:1]
    return start + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _http_problem(error: HTTPException) -> Problem:
    """Flask's own errors: routing, body size and the like."""
    status = error.code or 500
    headers = {}
    detail = f"{error.description or HTTPStatus(status).phrase}"
    if status == HTTPStatus.NOT_FOUND:
        detail = f"There is nothing at {request.path}. GET /api/openapi.json lists what there is."
    elif status == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        headers = {"Allow": allowed}
        detail = f"{request.method} is not possible here; possible: {allowed}."
    elif isinstance(error, RequestEntityTooLarge):
        detail = f"The body may have at most {MAX_BODY // 1024} KiB."
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        detail = "Something went wrong here. The server's log says what."
    return Problem(status, detail, headers=headers)
