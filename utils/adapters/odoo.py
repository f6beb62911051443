"""Odoo's two remote interfaces behind one call: JSON-2 with a bearer key from version 19 on, XML-RPC for 16 to 18.

JSON-2: `POST /json/2/<model>/<method>` with named arguments (Odoo 19, "External JSON-2 API"). XML-RPC:
`/xmlrpc/2/common` and `/xmlrpc/2/object` (Odoo 16, "External API"). Which one a server speaks is asked once, of itself.
Each call is one HTTP request on a connection of its own: bounded in time and size, no retries, no redirects.
"""

from __future__ import annotations

import json
import math
import ssl
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from utils.core import retry_after
from utils.ports import AdapterError, AuthRefused, OutcomeUnknown

FIRST_JSON2, OLDEST = 19, 16
_LONGEST_ANSWER = 16 * 1024 * 1024
#: XML-RPC can't name an argument of `create` or `write`: Odoo looks at them by their place.
_BY_PLACE: Mapping[str, tuple[str, ...]] = {"create": ("vals_list",), "write": ("vals",)}
#: Faults by which Odoo says that it refused and rolled back: user error, no access, no rights (its `rpc.py`).
_USER_ERROR, _ACCESS_DENIED, _ACCESS_ERROR = 2, 3, 4
_NO_RESULT = "cannot marshal None unless allow_none is enabled"


@dataclass(frozen=True)
class Version:
    """What a server says of itself: `19.0`, and the number that decides how it is spoken to."""

    text: str
    major: int


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class _Lost(Exception):
    """The request may have arrived, its answer did not."""


class Odoo:
    """One account on one database of one server. `key`: an API key; for XML-RPC the password does as well."""

    def __init__(self, url: str, database: str, user: str, key: str, *, timeout: float = 30) -> None:
        """`timeout`: seconds to connect and between two bytes of an answer; a whole one may take twice as long."""
        self._url = url.rstrip("/")
        self._database = database
        self._user = user
        self._key = key
        self._timeout = timeout
        self._version: Version | None = None
        self._uid: int | None = None

    def version(self) -> Version:
        """The server's version. Raises `AdapterError`, also for one that is too old."""
        if self._version is None:
            self._version = self._ask_version()
        return self._version

    def login(self) -> int:
        """Our user's id. Raises `AuthRefused` where the account is not let in, else `AdapterError`."""
        if self._uid is None:
            if self.version().major >= FIRST_JSON2:
                self._uid = int(self.call("res.users", "context_get")["uid"])
            else:
                uid = self._xmlrpc("common", "authenticate", [self._database, self._user, self._key, {}], acting=False)
                if not uid:
                    raise AuthRefused(f"Odoo does not let {self._user!r} in: check ODOO_USER and ODOO_API_KEY")
                self._uid = int(uid)
        return self._uid

    def call(
        self, model: str, method: str, ids: Sequence[int] | None = None, *, acting: bool = False, **named: Any
    ) -> Any:
        """The result of a method on the records `ids` (None: on the model). Numbers with a point come as `Decimal`.

        Raises `AuthRefused` or `AdapterError` where certainly nothing took effect. `acting`: the call may change what
        the outside sees; then a lost or unclear answer is `OutcomeUnknown`, else an `AdapterError` worth a retry.
        """
        if self.version().major >= FIRST_JSON2:
            return self._json2(model, method, ids, named, acting=acting)
        args: list[Any] = [] if ids is None else [list(ids)]
        args += [named.pop(name) for name in _BY_PLACE.get(method, ()) if name in named]
        return self._xmlrpc(
            "object", "execute_kw",
            [self._database, self.login(), self._key, model, method, args, _plain(named)], acting=acting,
        )  # fmt: skip

    # JSON-2

    def _json2(self, model: str, method: str, ids: Sequence[int] | None, named: dict[str, Any], *, acting: bool) -> Any:
        body = named if ids is None else {"ids": list(ids), **named}
        headers = {"X-Odoo-Database": self._database} if self._database else {}
        headers |= {"Authorization": f"bearer {self._key}", "Content-Type": "application/json; charset=utf-8"}
        what = f"{model}.{method}"
        answer = self._post(f"/json/2/{model}/{method}", json.dumps(_plain(body)).encode(), headers, what, acting)
        value = _json(answer)
        if answer.status == 200:
            if value is _UNREADABLE:
                raise _unclear(f"Odoo's answer to {what} can't be read", acting)
            return value
        message = value.get("message") if isinstance(value, dict) else None
        error = _first_line(message) if isinstance(message, str) and message else f"HTTP {answer.status}"
        raise self._refusal(answer, error, what, acting, known=message is not None)

    def _refusal(self, answer: _Answer, error: str, what: str, acting: bool, *, known: bool = True) -> Exception:
        status, after = answer.status, retry_after.wish(answer.status, answer.headers, datetime.now(UTC))
        if status == 401:
            return AuthRefused(f"Odoo refused the key ({error}): check ODOO_API_KEY")
        if status == 404 and not known:
            return AdapterError(
                f"Odoo does not know {what}, or no database {self._database!r}: check ODOO_DB", retry=False
            )
        if status == 429:
            return AdapterError(f"Odoo is asked too often ({what})", retry=True, retry_after=after)
        if 300 <= status < 400:
            return AdapterError("Odoo's address redirects: set ODOO_URL to where it leads", retry=False)
        if 400 <= status < 500 and status not in (408, 409):
            return AdapterError(f"Odoo refused: {error}", retry=False)
        return _unclear(f"Odoo broke on {what}: {error}", acting, after)

    # XML-RPC

    def _xmlrpc(self, service: str, method: str, parameters: Sequence[Any], *, acting: bool) -> Any:
        what = f"{parameters[3]}.{parameters[4]}" if method == "execute_kw" else method
        body = xmlrpc.client.dumps(tuple(_plain(parameters)), method, allow_none=True).encode("utf-8")
        answer = self._post(f"/xmlrpc/2/{service}", body, {"Content-Type": "text/xml"}, what, acting)
        if answer.status != 200:
            raise self._refusal(answer, f"HTTP {answer.status}", what, acting, known=False)
        try:
            (value,), _ = xmlrpc.client.loads(answer.body)
        except xmlrpc.client.Fault as fault:
            return self._fault(fault, what, acting)
        except Exception:  # expat's, xmlrpc's and plain ValueErrors: whatever a strange body brings
            raise _unclear(f"Odoo's answer to {what} can't be read", acting) from None
        return _exact(value)

    def _fault(self, fault: xmlrpc.client.Fault, what: str, acting: bool) -> None:
        """None where the method did its work and had nothing to answer, which XML-RPC can't say."""
        text = str(fault.faultString).strip()
        if text.endswith(_NO_RESULT):
            return
        if fault.faultCode == _ACCESS_DENIED:
            raise AuthRefused("Odoo refused the key: check ODOO_USER and ODOO_API_KEY")
        if fault.faultCode in (_USER_ERROR, _ACCESS_ERROR):
            raise AdapterError(f"Odoo refused: {_first_line(text)}", retry=False)
        last = text.splitlines()[-1] if text else "no words"
        if "database" in last and "does not exist" in last:
            raise AdapterError(f"Odoo has no database {self._database!r}: check ODOO_DB", retry=False)
        raise _unclear(f"Odoo broke on {what}: {last[:300]}", acting)

    # HTTP

    def _ask_version(self) -> Version:
        """By `common.version`, which needs no account and stands in 16 to 21; where it is gone, by `/web/version`."""
        answer = self._exchange("POST", "/xmlrpc/2/common", xmlrpc.client.dumps((), "version").encode(), "version")
        if answer.status in (404, 410):
            answer = self._exchange("GET", "/web/version", b"", "version")
            said = _json(answer)
            text, info = (said.get("version"), said.get("version_info")) if isinstance(said, dict) else (None, None)
        else:
            text, info = _told_by_xmlrpc(answer.body)
        if answer.status >= 500 or answer.status in (408, 429):
            raise AdapterError(f"Odoo can't answer now (HTTP {answer.status})", retry=True)
        if 300 <= answer.status < 400:
            raise AdapterError("Odoo's address redirects: set ODOO_URL to where it leads", retry=False)
        if answer.status != 200 or not isinstance(info, list) or not info:
            raise AdapterError(f"{self._url} is no Odoo: it does not tell its version", retry=False)
        return _version(str(text), info)

    def _post(self, path: str, body: bytes, headers: Mapping[str, str], what: str, acting: bool) -> _Answer:
        try:
            return self._exchange("POST", path, body, what, headers)
        except _Lost as lost:
            raise _unclear(str(lost), acting) from None

    def _exchange(
        self, method: str, path: str, body: bytes, what: str, headers: Mapping[str, str] | None = None
    ) -> _Answer:
        """One request. Raises `AdapterError` where it certainly did not arrive, `_Lost` where nobody can know; for what
        only reads (no `headers`), `AdapterError` for both."""
        import requests
        from urllib3.exceptions import HTTPError

        from utils.adapters.one_call import OneCall, TooMuch

        sent = {"Connection": "close", "User-Agent": "ai-employee", "Content-Type": "text/xml", **(headers or {})}
        try:
            with (
                OneCall(self._timeout) as session,
                session.request(
                    method, self._url + path, data=body or None, headers=sent, auth=_as_it_is, stream=True,
                    timeout=self._timeout, allow_redirects=False,
                ) as response,
            ):  # fmt: skip
                return _Answer(response.status_code, response.headers, session.whole(response, _LONGEST_ANSWER))
        except (requests.RequestException, HTTPError) as error:
            if nothing := _did_not_arrive(error):
                raise AdapterError(f"Odoo at {self._url} can't be reached: {nothing}", retry=True) from None
            lost = _Lost(f"Odoo did not answer {what} ({type(error).__name__})")
        except TooMuch:
            lost = _Lost(f"Odoo's answer to {what} is too long or too slow")
        if headers is None:
            raise AdapterError(str(lost), retry=True)
        raise lost


_UNREADABLE = object()


def _json(answer: _Answer) -> Any:
    try:
        return json.loads(answer.body, parse_float=Decimal)
    except (ValueError, RecursionError):
        return _UNREADABLE


def _unclear(text: str, acting: bool, after: timedelta | None = None) -> Exception:
    if acting:
        return OutcomeUnknown(text, retry_after=after)
    return AdapterError(text, retry=True, retry_after=after)


def _did_not_arrive(error: Exception) -> str | None:
    """Why a request was certainly never written, or None."""
    from requests import exceptions
    from urllib3 import exceptions as inner

    cause: Any = error.args[0] if error.args else None
    reason = getattr(cause, "reason", None)
    if isinstance(error, exceptions.InvalidURL | exceptions.MissingSchema | exceptions.InvalidSchema):
        return "ODOO_URL is no address"
    if isinstance(reason, inner.NameResolutionError):
        return "its name is not found"
    if isinstance(reason, inner.NewConnectionError):  # before the time-out, of which it is a kind
        return "nothing listens there"
    if isinstance(reason, inner.ConnectTimeoutError):
        return "it does not answer"
    chain: BaseException | None = reason if isinstance(reason, BaseException) else None
    while chain is not None:
        if isinstance(chain, ssl.SSLCertVerificationError):
            return "its certificate is not trusted"
        inside = chain.args[0] if chain.args and isinstance(chain.args[0], BaseException) else None
        chain = inside or chain.__cause__
    return None


def _as_it_is(request: Any) -> Any:
    """Keeps `requests` from taking another login out of a `.netrc`."""
    return request


def _told_by_xmlrpc(body: bytes) -> tuple[Any, Any]:
    """`(version, version info)` out of the answer to `common.version`; Nones where it is none."""
    try:
        said: Any = xmlrpc.client.loads(body)[0][0]
        return said["server_version"], said["server_version_info"]
    except Exception:  # expat's, xmlrpc's, and what comes of an answer of another shape
        return None, None


def _version(text: str, info: Sequence[Any]) -> Version:
    """`[17, 0, …]`, or `["saas~18", 2, …]` of Odoo's own hosting. Raises `AdapterError` for what is too old."""
    digits = str(info[0]).rpartition("~")[2]
    if not digits.isdecimal():
        raise AdapterError(f"Odoo calls its version {text!r}, which is not understood", retry=False)
    if int(digits) < OLDEST:
        raise AdapterError(f"this is Odoo {text}: {OLDEST} is the oldest that can be used", retry=False)
    return Version(text, int(digits))


def _first_line(text: str) -> str:
    return " ".join(text.split())[:500]


def _plain(value: Any) -> Any:
    """Decimals as the floats that Odoo takes: up to 15 digits, the nearest double reads back as the same decimal."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _exact(value: Any) -> Any:
    """Floats as the shortest decimals that stand for them."""
    if isinstance(value, float):
        return Decimal(repr(value)) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_exact(item) for item in value]
    return value
