"""Access to a Google account, by a token file that `scripts.gmail_auth` wrote: refreshed by google-auth (RFC 6749 §6).

The file is of the kind `authorized_user`: client id and secret, refresh token, token endpoint. It is read anew when it
changed, and never written here. Google names an expired or withdrawn refresh token `invalid_grant`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from google.auth.exceptions import GoogleAuthError, TransportError
from google.oauth2.credentials import Credentials
from requests.auth import AuthBase

from utils.adapters.one_call import OneCall, TooMuch
from utils.core import retry_after
from utils.core.commands import command
from utils.ports import AdapterError, AuthRefused
from utils.settings import is_loopback

_GMAIL = "https://www.googleapis.com/auth/gmail."
#: What each use of an account needs at least (scopes of users.drafts and users.messages in the Gmail API reference).
#: `gmail.send` alone can't make drafts, and `gmail.compose` can't look at what was sent: only at headers may we look.
SCOPES = {"send": (f"{_GMAIL}compose", f"{_GMAIL}metadata")}
_LONGEST_ANSWER = 64 * 1024
_CONNECT_SECONDS = 10
_TOKEN_ENDPOINT = "https://oauth2.googleapis.com/token"  # noqa: S105  # an address


@dataclass(frozen=True)
class _Answer:
    """An answer as google-auth reads it (`google.auth.transport.Response`)."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class GoogleToken(AuthBase):
    """Signs requests with an access token of the account that `path` gives access to. `use`: a key of `SCOPES`."""

    def __init__(self, path: Path, use: str, *, timeout: float) -> None:
        self._path = path
        self._remedy = f"`{command(f'gmail_auth --for {use}')}` renews it"
        self._timeout = timeout
        self._credentials: Credentials | None = None
        self._read_from: tuple[int, int] | None = None

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign one request. Raises `AuthRefused` where a human has to renew the access, else `AdapterError`."""
        request.headers["Authorization"] = f"Bearer {self._access_token()}"
        return request

    def _access_token(self) -> str:
        credentials = self._load()
        if not credentials.valid:
            self._refresh(credentials)
        return str(credentials.token)

    def _refresh(self, credentials: Credentials) -> None:
        answers: list[_Answer] = []

        def ask(**options: Any) -> _Answer:
            answers.append(self._ask(**options))
            return answers[-1]

        try:
            credentials.refresh(ask)
        except GoogleAuthError as error:
            status = answers[-1].status if answers else 0
            # The library itself takes a page of a broken proxy for a refusal.
            if 400 <= status < 500 and status not in (408, 429) and not error.retryable:
                words = f"Google gives no access token any more: {_first(error)}. {self._remedy}"
                raise AuthRefused(words) from error
            words = f"Google gives no access token for now: {_first(error)}"
            after = retry_after.wish(status, answers[-1].headers, datetime.now(UTC)) if answers else None
            raise AdapterError(words, retry=True, retry_after=after) from error

    def _ask(self, url: str, method: str, headers: dict[str, str], body: bytes, **more: Any) -> _Answer:
        """One call of the library's, bounded in time and size, with no redirects. Raises its `TransportError`."""
        try:
            with (
                OneCall(self._timeout) as session,
                session.request(
                    method,
                    url,
                    data=body,
                    headers=headers,
                    timeout=(_CONNECT_SECONDS, self._timeout),
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                return _Answer(response.status_code, response.headers, session.whole(response, _LONGEST_ANSWER))
        except TooMuch as error:
            raise TransportError("the answer is too long or too slow") from error
        except Exception as error:  # of requests, and of urllib3 while the answer is read
            raise TransportError(f"{type(error).__name__}: {error}") from error

    def _load(self) -> Credentials:
        try:
            with self._path.open("rb") as file:
                status, data = os.fstat(file.fileno()), file.read()
        except OSError as error:
            raise AuthRefused(
                f"the token file {self._path} can't be read ({error.strerror}): {self._remedy}"
            ) from error
        if status.st_mode & 0o077:
            raise AuthRefused(f"the token file {self._path} can be read by others: chmod 600, and better renew it")
        read_from = (status.st_ino, status.st_mtime_ns)
        if self._credentials is None or read_from != self._read_from:
            self._credentials, self._read_from = self._parse(data), read_from
        return self._credentials

    def _parse(self, data: bytes) -> Credentials:
        try:
            found: Any = json.loads(data)
            needed = {name: found[name] for name in ("refresh_token", "client_id", "client_secret")}
            endpoint = urlsplit(found.get("token_uri") or _TOKEN_ENDPOINT)
            good = all(isinstance(value, str) and value for value in needed.values())
            if not good or not (endpoint.scheme == "https" or is_loopback(endpoint.hostname or "")):
                raise ValueError("a value is missing, or the token endpoint is not https://")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AuthRefused(
                f"the token file {self._path} is none ({type(error).__name__}): {self._remedy}"
            ) from error
        return Credentials(token=None, token_uri=endpoint.geturl(), **needed)


def _first(error: GoogleAuthError) -> str:
    """What went wrong, without the whole answer that follows."""
    return " ".join(str(error.args[0] if error.args else type(error).__name__).split())[:300]
