"""Who may ask (promise S14): a bearer token, or a program of this machine; and the headers that every answer carries.

With `API_TOKEN` each route but liveness needs it. Without one the server listens on loopback only, and still checks
`Host` (a name of the attacker's that resolves to 127.0.0.1: DNS rebinding) and `Origin` and `Sec-Fetch-Site` (a foreign
page in the user's browser that posts to us: CSRF). The only pages that may are our own and the dashboard's; another
server on this machine is as foreign as one in the net.
"""

from __future__ import annotations

import hmac
import logging
from urllib.parse import urlsplit

from flask import Flask, Response, request

from utils.core import visible
from utils.settings import Settings
from Watchers.api.errors import Problem

log = logging.getLogger(__name__)

LIVENESS = "/api/health"
#: Where the dashboard is served on this machine unless DASHBOARD_URL says otherwise.
DASHBOARD_PORT = 3000
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
            check_origin(request.headers.get("Origin"), settings)
            check_site(request.method, request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin"))

    @app.after_request
    def protect(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers[name] = value
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            log.info("%s %s: %d", request.method, visible.plain(request.path), response.status_code)
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


def check_origin(origin: str | None, settings: Settings) -> None:
    """Raise a 403 `Problem` for a page that is neither ours nor the dashboard's. No `Origin`: not a page's post."""
    if origin is not None and origin.lower() not in _own_origins(settings):
        detail = "Pages of other sites may not use this API. The dashboard's address is the setting DASHBOARD_URL."
        raise Problem(403, detail, kind="foreign-origin")


def check_site(method: str, site: str | None, origin: str | None) -> None:
    """Raise a 403 `Problem` where the browser itself says that a foreign page sent this (Fetch Metadata).

    A browser that sends no `Origin` with an old-fashioned form still sends this. An `Origin` that was let pass is the
    dashboard's, whose port makes it another site or origin in the browser's eyes. Programs send neither.
    """
    if site is None or origin is not None:
        return
    allowed = ("same-origin", "none", "same-site") if method in ("GET", "HEAD") else ("same-origin", "none")
    if site.strip().lower() not in allowed:
        raise Problem(403, "Pages of other sites may not use this API.", kind="foreign-origin")


def _own_origins(settings: Settings) -> set[str]:
    """Lower-case origins whose pages may use the API without a token."""
    names = {"localhost", "127.0.0.1", "[::1]", _bracketed(settings.api_host)}
    origins = {f"http://{name}:{settings.api_port}" for name in names}
    if settings.api_port == 80:
        origins |= {f"http://{name}" for name in names}
    if not settings.dashboard_url:
        return origins | {f"http://{name}:{DASHBOARD_PORT}" for name in ("localhost", "127.0.0.1", "[::1]")}
    parts = urlsplit(settings.dashboard_url)
    return origins | {f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()}


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
