"""Who may ask (promise S14): a bearer token, or a program of this machine; and the headers that every answer carries.

With `API_TOKEN` each route but liveness needs it. Without one the server listens on loopback only, and still checks
`Host` (a name of the attacker's that resolves to 127.0.0.1: DNS rebinding) and `Origin` (a foreign page in the user's
browser that posts to us: CSRF).
"""

from __future__ import annotations

import hmac
import logging
from urllib.parse import urlsplit

from flask import Flask, Response, request

from utils.settings import Settings, is_loopback
from Watchers.api.errors import Problem

log = logging.getLogger(__name__)

LIVENESS = "/api/health"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def install(app: Flask, settings: Settings) -> None:
    """Check every request of `app` before anything else sees it, unknown addresses included."""

    @app.before_request
    def check() -> None:
        if settings.api_token:
            if request.path != LIVENESS:
                check_token(request.headers.get("Authorization", ""), settings.api_token)
        else:
            check_host(request.headers.get("Host", ""), settings)
            check_origin(request.headers.get("Origin"))

    @app.after_request
    def protect(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers[name] = value
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            log.info("%s %s: %d", request.method, request.path, response.status_code)
        return response


def check_token(header: str, token: str) -> None:
    """Raise a 401 `Problem` unless the `Authorization` header carries the token (RFC 6750 §2.1)."""
    scheme, _, given = header.partition(" ")
    same = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token.encode("utf-8"))
    if scheme.lower() != "bearer" or not same:
        challenge = 'Bearer realm="ai-employee"' + (', error="invalid_token"' if given else "")
        detail = "Send the header 'Authorization: Bearer <API_TOKEN>'; the token is a setting of this server."
        raise Problem(401, detail, headers={"WWW-Authenticate": challenge})


def check_host(host: str, settings: Settings) -> None:
    """Raise a 403 `Problem` unless the request was meant for this machine under one of its own names."""
    names = {"localhost", "127.0.0.1", "[::1]", _bracketed(settings.api_host)}
    allowed = {f"{name}:{settings.api_port}" for name in names} | (names if settings.api_port == 80 else set())
    if host.lower() not in allowed:
        detail = (
            f"Without API_TOKEN this server answers to http://localhost:{settings.api_port} only. "
            "Ask there, or set API_TOKEN and send it."
        )
        raise Problem(403, detail, kind="foreign-host")


def check_origin(origin: str | None) -> None:
    """Raise a 403 `Problem` for a page that does not come from this machine. No `Origin`: not a foreign page's post."""
    if origin is None:
        return
    try:
        parts = urlsplit(origin)
        ours = parts.scheme in ("http", "https") and is_loopback(_bracketed(parts.hostname or ""))
    except ValueError:
        ours = False
    if not ours:
        raise Problem(403, "Pages of other sites may not use this API.", kind="foreign-origin")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
