"""HTTP to providers of which some calls act: no retries, no redirects, time limits, and a verdict on every failure.

A failed call that acts is judged by what it proves. Before the request was written nothing can have happened; a refusal
(4xx) says that nothing did; everything else leaves it open. Calls that don't act may be repeated, whatever happened.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import requests
from requests.auth import AuthBase
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, SSLError

from utils.adapters.one_call import OneCall, TooMuch
from utils.core import retry_after
from utils.ports import AdapterError, AuthRefused, OutcomeUnknown

_LONGEST_ANSWER = 4 * 1024 * 1024
_AGENT = "ai-employee"
_CONNECT_SECONDS = 10


class Verdict(Enum):
    """What an answer that is no success proves of the call."""

    REFUSED = "refused"  # nothing happened, and the same again will be refused again
    LATER = "later"  # nothing happened, and the same again may work
    CREDENTIALS = "credentials"  # nothing happened: the account, the token or its permissions
    OPEN = "open"


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. `body` is its JSON, or {} where there is none."""

    status: int
    headers: Mapping[str, str]
    body: Any = field(repr=False)
    text: str = field(default="", repr=False)


class Bearer(AuthBase):
    """RFC 6750 §2.1. As an auth object, so that no `.netrc` takes its place."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign one request. Raises `ValueError` for a token that is none."""
        if not re.fullmatch(r"[!-~]+", self._token):
            raise ValueError("a token has no blanks, and no letters beyond ASCII")
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def by_status(answer: Answer) -> Verdict:
    """The verdict that the status alone allows (RFC 9110 §15). 408 and 409 can follow a call that took effect."""
    if answer.status in (401, 403):
        return Verdict.CREDENTIALS
    if answer.status == 429:
        return Verdict.LATER
    if 400 <= answer.status < 500 and answer.status not in (408, 409):
        return Verdict.REFUSED
    return Verdict.OPEN


class Api:
    """One provider. `judge` reads its refusals, `explain` what they say; `credentials` names the settings to renew."""

    def __init__(
        self,
        name: str,
        base: str,
        auth: AuthBase,
        *,
        timeout: float,
        credentials: str,
        headers: Mapping[str, str] | None = None,
        judge: Callable[[Answer], Verdict] = by_status,
        explain: Callable[[Answer], str] = lambda answer: "",
    ) -> None:
        self._name = name
        self.base = base
        self._auth = auth
        self._timeout = timeout
        self._credentials = credentials
        self._judge = judge
        self._explain = explain
        own = {"User-Agent": _AGENT, "Accept": "application/json", "Connection": "close"}
        self._headers = {**own, **(headers or {})}

    def read(self, method: str, path: str, *, allow: Collection[int] = (), **options: Any) -> Answer:
        """A call that nobody outside sees: a question, or an upload. Raises `AdapterError`, whatever goes wrong.

        `allow`: statuses that are an answer here, and no failure.
        """
        try:
            return self._call(method, path, options, allow)
        except OutcomeUnknown as error:
            raise AdapterError(str(error), retry=True, retry_after=error.retry_after) from error

    def act(self, method: str, path: str, **options: Any) -> Answer:
        """A call that takes effect. Raises `AdapterError` where it certainly did not, else `OutcomeUnknown`."""
        return self._call(method, path, options)

    def lost(self, what: str) -> OutcomeUnknown:
        """An answer of success that lacks what it must have."""
        return OutcomeUnknown(f"{self._name} answered without {what}: look at the account")

    def _call(self, method: str, path: str, options: dict[str, Any], allow: Collection[int] = ()) -> Answer:
        url = path if "://" in path else f"{self.base}{path}"
        # A kept connection that the other side has closed by now would leave the outcome of the next call open.
        with OneCall(self._timeout) as session:
            session.headers.update(self._headers)
            try:
                request = session.prepare_request(requests.Request(method, url, auth=self._auth, **options))
            except ValueError as error:  # of `requests`: an address or a header that can't be
                text = f"the address or the credentials of {self._name} can't be used as they are set"
                raise AdapterError(text, retry=False) from error
            answer = self._answer(session, request)
        if 200 <= answer.status < 300 or answer.status in allow:
            return answer
        raise self._refused(answer)

    def _answer(self, session: OneCall, request: requests.PreparedRequest) -> Answer:
        surroundings = session.merge_environment_settings(request.url, {}, True, None, None)
        timeout = (_CONNECT_SECONDS, self._timeout)
        try:
            with session.send(request, timeout=timeout, allow_redirects=False, **surroundings) as response:
                text = session.whole(response, _LONGEST_ANSWER).decode("utf-8", "replace")
                return Answer(response.status_code, response.headers, _json(text), text)
        except requests.RequestException as error:
            raise self._failed(error) from error
        except TooMuch as error:
            raise OutcomeUnknown(f"the answer of {self._name} is too long or too slow") from error
        except Exception as error:  # of urllib3, while the answer is read
            raise OutcomeUnknown(f"the answer of {self._name} broke off ({type(error).__name__})") from error

    def _failed(self, error: requests.RequestException) -> Exception:
        reason = _root(error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            return AdapterError(
                f"the certificate of {self._name} can't be trusted: {reason.verify_message}", retry=True
            )
        if isinstance(reason, (NewConnectionError, ConnectTimeoutError)):
            return AdapterError(f"{self._name} can't be reached", retry=True)
        kind = "did not answer in time" if isinstance(error, requests.Timeout) else "broke the connection off"
        return OutcomeUnknown(f"{self._name} {kind}")

    def _refused(self, answer: Answer) -> Exception:
        verdict = self._judge(answer)
        said = self._explain(answer) or f"status {answer.status}"
        after = retry_after.wish(answer.status, answer.headers, datetime.now(UTC))
        if verdict is Verdict.CREDENTIALS:
            return AuthRefused(f"{self._name} refuses the credentials ({self._credentials}): {said}")
        if verdict is Verdict.LATER:
            return AdapterError(f"{self._name} takes no more for now: {said}", retry=True, retry_after=after)
        if verdict is Verdict.REFUSED:
            return AdapterError(f"{self._name} refused it: {said}", retry=False)
        return OutcomeUnknown(f"{self._name} answered {answer.status}: {said}", retry_after=after)


def _root(error: BaseException) -> BaseException:
    """The error of the connection that `requests` wraps: that of urllib3, or of the certificate below it."""
    reason: Any = error.args[0] if error.args else error
    reason = getattr(reason, "reason", None) or reason
    if isinstance(reason, SSLError) and reason.args and isinstance(reason.args[0], ssl.SSLError):
        reason = reason.args[0]
    return reason if isinstance(reason, BaseException) else error


def _json(text: str) -> Any:
    try:
        return json.loads(text) if text.strip() else {}
    except ValueError:
        return {}


def field_of(body: Any, *names: str) -> Any:
    """A value deep in a JSON answer; None where the answer is of another shape."""
    for name in names:
        body = body.get(name) if isinstance(body, dict) else None
    return body


def shown(text: object) -> str:
    """What a provider said, on one line and cut short."""
    return " ".join(str(text or "").split())[:300]
