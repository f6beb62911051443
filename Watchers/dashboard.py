"""The dashboard's API: a Flask application on port 9000.

It answers from the vault and `STATE_DIR` and keeps nothing of its own, so it may be stopped and started at any time.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from functools import partial

from flask import Flask

from utils.adapters.watch import watch_node
from utils.bootstrap import Services
from utils.daemon import EXIT_USAGE, Stop, install_signals, notify_systemd, parse_options, prepare
from utils.settings import Settings, load
from Watchers.api import (
    actions,
    alerts,
    approvals,
    claims,
    doctor,
    errors,
    events,
    guard,
    health,
    metrics,
    openapi,
    operation,
    platinum,
    tasks,
    vault,
    zones,
)
from Watchers.api.streams import Streams

log = logging.getLogger("dashboard")

NAME = "dashboard"
PARTS = (
    actions,
    alerts,
    approvals,
    claims,
    doctor,
    events,
    health,
    metrics,
    openapi,
    platinum,
    tasks,
    vault,
    zones,
)
_WATCHDOG_SECONDS = 5.0


def create_app(settings: Settings | None = None, *, services: Services | None = None) -> Flask:
    """The API as a WSGI application, from `settings` or the environment. Raises `InvalidSettings`; touches no file.

    `services`, where given, are the parts to use; they bring their settings.
    """
    services = services or Services(settings or load())
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = errors.MAX_BODY
    app.url_map.merge_slashes = False
    operation.prepare(app, services)
    errors.install(app)
    guard.install(app, services.settings)
    watched = partial(watch_node, services.layout.root, services.settings.state_dir)
    app.extensions[events.STREAMS] = Streams(services.versions, watched, now=services.clock.now)
    for part in PARTS:
        app.register_blueprint(part.bp)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the process; returns its exit code."""
    options = parse_options(NAME, "Serves the API of this node.", argv)
    services = prepare(NAME, check_only=options.check)
    if services is None:
        return EXIT_USAGE
    if options.check:
        print(f"{NAME}: settings are fine")
        return 0
    try:
        app = create_app(services=services)
        return check_once(app, services.settings) if options.once else serve(app, services.settings)
    finally:
        services.close()


def serve(app: Flask, settings: Settings) -> int:
    """Answer requests until a signal asks us to leave."""
    from Watchers.api.server import CannotListen, Server

    stop = Stop()
    install_signals(stop)
    try:
        server = Server(app, settings.api_host, settings.api_port)
    except CannotListen as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return 1
    log.info("%s answers on http://%s:%d (%s)", NAME, settings.api_host, settings.api_port, settings.agent_name)
    notify_systemd("READY=1")
    server.run(stop, _Watchdog())
    notify_systemd("STOPPING=1")
    log.info("%s stopped", NAME)
    return 0


def check_once(app: Flask, settings: Settings) -> int:
    """Ask the app for its own state, print one line, and return 0 if it answered."""
    headers = {"Authorization": f"Bearer {settings.api_token}"} if settings.api_token else {}
    answer = app.test_client().get(
        "/api/platinum/status", base_url=f"http://localhost:{settings.api_port}", headers=headers
    )
    if answer.status_code != 200:
        print(f"{NAME}: {answer.get_json()['detail']}")
        return 1
    modules = answer.get_json()["modules"]
    broken = [f"{name} ({module['detail']})" for name, module in modules.items() if not module["ok"]]
    print(
        f"{NAME}: {len(modules) - len(broken)} of {len(modules)} modules are fine" + "".join(f"; {b}" for b in broken)
    )
    return 0


class _Watchdog:
    """Feeds systemd's watchdog every few seconds."""

    def __init__(self) -> None:
        self._fed = 0.0

    def __call__(self) -> None:
        if time.monotonic() - self._fed >= _WATCHDOG_SECONDS:
            self._fed = time.monotonic()
            notify_systemd("WATCHDOG=1")


if __name__ == "__main__":
    sys.exit(main())
