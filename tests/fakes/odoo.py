"""A small, strict Odoo on loopback: what our client needs of versions 17 (XML-RPC) and 19 (JSON-2), as they answer it.

    with odoo_server(19) as server:
        client = Odoo(server.url, server.database, server.user, server.key)
        server.fail("account.move", "action_post", "accept-503")   # does it, then answers 503

Written from the published external API and from what real servers answered (`tests/test_odoo_contract.py` runs against
both). Unknown models, methods, arguments, fields and values are refused as they refuse them. `ledger` is every call
that changed something, in order; a call that was refused changes nothing.
"""

from __future__ import annotations

import contextlib
import copy
import http.server
import json
import socket
import threading
import xmlrpc.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.odoo_models import AccessError, Database, NotFoundError, OdooError, UserError

FAULTS = {UserError: 2, AccessError: 4}
HTML = "<!DOCTYPE html>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n"


@dataclass
class _Trouble:
    """`accept-503`, `accept-reset`, `accept-silence` do the work first, `accept-late` once `finish()` lets it and to
    nobody's ears; `refuse-429`, `refuse-401`, `refuse-500`,
    `redirect` and `broken` (an error inside, rolled back) don't; `garbage` answers 200 with no answer, `endless`
    begins an answer and drips on."""

    model: str
    method: str
    how: str


class _Unauthorized(Exception):
    pass


class OdooServer:
    """One server with one database. `key` and `password` are the admin's; the reader may read and nothing else."""

    database = "books"
    user, key, password = "admin", "k" * 40, "admin-password"
    reader, reader_key = "reader", "r" * 40

    def __init__(self, version: int) -> None:
        self.version = version
        self.data = Database(version)
        self.ledger: list[tuple[str, str]] = []
        self.calls: list[tuple[str, str]] = []
        self._trouble: list[_Trouble] = []
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._late = threading.Event()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                owner._serve(self)

            do_GET = do_POST

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05})

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more; who waits in silence is let go."""
        self._released.set()
        self._late.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def fail(self, model: str, method: str, how: str) -> None:
        """Let the next call of this method go wrong."""
        self._trouble.append(_Trouble(model, method, how))

    def finish(self) -> None:
        """Let what is late be done now, though whoever asked for it has given up."""
        self._late.set()

    def rows(self, model: str, **values: Any) -> list[dict[str, Any]]:
        """Records as they are stored, those with these values."""
        rows = self.data.tables[model].values()
        return [row for row in rows if all(row.get(name) == value for name, value in values.items())]

    # HTTP

    def _serve(self, request: http.server.BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        path = request.path
        if path == "/web/version" and self.version >= 18:
            self._json(
                request, 200, {"version_info": [self.version, 0, 0, "final", 0, ""], "version": f"{self.version}.0"}
            )
        elif path.startswith("/json/2/") and self.version >= 19:
            self._json2(request, path.removeprefix("/json/2/"), body)
        elif path in ("/xmlrpc/2/common", "/xmlrpc/2/object") and request.command == "POST":
            self._xmlrpc(request, path.rpartition("/")[2], body)
        else:
            self._answer(request, 404, "text/html; charset=utf-8", HTML.encode())

    def _json2(self, request: http.server.BaseHTTPRequestHandler, path: str, body: bytes) -> None:
        model, _, method = path.partition("/")
        if request.headers.get("X-Odoo-Database", self.database) != self.database:
            return self._answer(request, 404, "text/html; charset=utf-8", HTML.encode())
        if request.command != "POST" or not method or "/" in method:
            return self._problem(
                request, 404, "werkzeug.exceptions.NotFound", "Did you mean POST /json/2/<model>/<method>?"
            )
        if body and request.headers.get("Content-Type", "").partition(";")[0] != "application/json":
            return self._answer(request, 415, "text/html; charset=utf-8", b"<h1>Unsupported Media Type</h1>")
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        uid = self.data.uid_of_key.get(key.strip()) if scheme.lower() == "bearer" else None
        trouble = self._next(model, method)
        if uid is None or (trouble and trouble.how == "refuse-401"):
            return self._problem(request, 401, "werkzeug.exceptions.Unauthorized", "Invalid apikey")
        if self._before(request, trouble):
            return None
        try:
            arguments = json.loads(body) if body else {}
        except ValueError as error:
            return self._problem(
                request, 400, "werkzeug.exceptions.BadRequest", f"could not parse the body as json: {error}"
            )
        ids, context = arguments.pop("ids", []), arguments.pop("context", {})
        try:
            self._break(trouble)
            result = self._call(uid, model, method, ids, arguments, context)
        except OdooError as error:
            return self._problem(request, error.status, error.name, str(error))
        except Exception as error:
            return self._problem(request, 500, f"builtins.{type(error).__name__}", str(error))
        if not self._after(request, trouble):
            self._json(request, 200, result)
        return None

    def _xmlrpc(self, request: http.server.BaseHTTPRequestHandler, service: str, body: bytes) -> None:
        trouble = None
        try:
            parameters, method = xmlrpc.client.loads(body)
            if service == "common":
                result = self._common(str(method), parameters)
            else:
                database, uid, key, model, name, args, named = (*parameters, {})[:7]
                trouble = self._next(model, name)
                self._may_enter(database, uid, key)
                if trouble and trouble.how == "refuse-401":
                    raise _Unauthorized
                if self._before(request, trouble):
                    return
                named = dict(named)
                context = named.pop("context", {})
                ids, named = self._by_place(name, list(args), named)
                self._break(trouble)
                result = self._call(uid, model, name, ids, named, context)
            if self._after(request, trouble):
                return
            answer = xmlrpc.client.dumps((result,), methodresponse=True, allow_none=False)  # TypeError: as in Odoo
        except _Unauthorized:
            answer = xmlrpc.client.dumps(xmlrpc.client.Fault(3, "Access Denied"))
        except NotFoundError as error:
            code = 2 if error.is_model else 1
            answer = xmlrpc.client.dumps(xmlrpc.client.Fault(code, self._words(code, error)))
        except Exception as error:
            code = next((code for kind, code in FAULTS.items() if isinstance(error, kind)), 1)
            answer = xmlrpc.client.dumps(xmlrpc.client.Fault(code, self._words(code, error)))
        self._answer(request, 200, "text/xml; charset=utf-8", answer.encode())

    @staticmethod
    def _words(code: int, error: Exception) -> str:
        traceback = "Traceback (most recent call last):\n  File …\n"
        return str(error) if code != 1 else f"{traceback}{type(error).__name__}: {error}\n"

    def _common(self, method: str, parameters: Any) -> Any:
        if method == "version":
            info = [self.version, 0, 0, "final", 0, ""]
            text = f"{self.version}.0"
            return {"server_version": text, "server_version_info": info, "server_serie": text, "protocol_version": 1}
        if method == "authenticate":
            database, login, key, _ = parameters
            if database != self.database:
                raise RuntimeError(f'connection to server failed: FATAL:  database "{database}" does not exist')
            return self.data.uid_of_login(login, key) or False
        raise RuntimeError(f"Method not found: {method}")

    def _may_enter(self, database: str, uid: int, key: str) -> None:
        if database != self.database:
            raise RuntimeError(f'connection to server failed: FATAL:  database "{database}" does not exist')
        if self.data.uid_of_key.get(key) != uid and self.data.uid_of_password.get(key) != uid:
            raise _Unauthorized

    def _by_place(self, method: str, args: list[Any], named: dict[str, Any]) -> tuple[list[int], dict[str, Any]]:
        """As `call_kw`: methods of the model take all arguments by name or place, others the ids first."""
        if method == "create":
            return [], {"vals_list": args[0], **named}
        if method == "has_group" and self.version <= 17:
            return [], {**({"group_ext_id": args[0]} if args else {}), **named}
        if method in ("search_read", "context_get"):
            return [], named
        ids = args.pop(0)
        if method == "write" and args:
            named = {"vals": args.pop(0), **named}
        if args:
            raise TypeError(f"{method}() takes fewer positional arguments")
        return ids, named

    def _call(self, uid: int, model: str, method: str, ids: list[int], named: Mapping[str, Any], context: Any) -> Any:
        with self._lock:
            self.calls.append((model, method))
            before = copy.deepcopy((self.data.tables, self.data.numbers))
            try:
                result, changed = self.data.call(uid, model, method, ids, dict(named), context or {})
            except BaseException:
                self.data.tables, self.data.numbers = before  # Odoo rolls back
                raise
            if changed:
                self.ledger.append((model, method))
            return result

    # Faults

    def _next(self, model: str, method: str) -> _Trouble | None:
        for trouble in self._trouble:
            if (trouble.model, trouble.method) == (model, method):
                self._trouble.remove(trouble)
                return trouble
        return None

    def _before(self, request: http.server.BaseHTTPRequestHandler, trouble: _Trouble | None) -> bool:
        how = trouble.how if trouble else ""
        if how in ("refuse-429", "refuse-500"):
            self._answer(request, int(how[-3:]), "text/html", b"<h1>no</h1>", {"Retry-After": "120"})
        elif how == "garbage":
            self._answer(request, 200, "text/html", b"<h1>welcome</h1>")
        elif how == "redirect":
            self._answer(request, 307, "text/html", b"", {"Location": f"{self.url}{request.path}"})
        elif how == "endless":
            self._drip(request)
        elif how == "accept-late":
            self._late.wait()
        return how in ("refuse-429", "refuse-500", "garbage", "redirect", "endless")

    def _drip(self, request: http.server.BaseHTTPRequestHandler) -> None:
        """A byte at a time, each before a time-out on silence would strike."""
        request.send_response(200)
        request.send_header("Content-Length", "1000000")
        request.end_headers()
        with contextlib.suppress(OSError):
            while not self._released.wait(0.05):
                request.wfile.write(b" ")
        request.close_connection = True

    @staticmethod
    def _break(trouble: _Trouble | None) -> None:
        if trouble and trouble.how == "broken":
            raise RuntimeError("could not serialize access due to concurrent update")

    def _after(self, request: http.server.BaseHTTPRequestHandler, trouble: _Trouble | None) -> bool:
        how = trouble.how if trouble else ""
        if how == "accept-503":
            self._answer(request, 503, "text/html", b"<h1>busy</h1>")
        elif how == "accept-reset":
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            request.connection.close()
            request.close_connection = True
        elif how == "accept-silence":
            self._released.wait()
            request.close_connection = True
        elif how == "accept-late":
            request.close_connection = True
        return how.startswith("accept")

    def _json(self, request: http.server.BaseHTTPRequestHandler, status: int, value: Any) -> None:
        self._answer(request, status, "application/json; charset=utf-8", json.dumps(value).encode())

    def _problem(self, request: http.server.BaseHTTPRequestHandler, status: int, name: str, message: str) -> None:
        body = {"name": name, "message": message, "arguments": [message], "context": {}, "debug": "Traceback …"}
        self._json(request, status, body)

    @staticmethod
    def _answer(
        request: http.server.BaseHTTPRequestHandler, status: int, kind: str, body: bytes, more: Mapping[str, str] = {}
    ) -> None:
        request.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **more}.items():
            request.send_header(name, value)
        request.end_headers()
        with contextlib.suppress(ConnectionError):  # the client gave up
            request.wfile.write(body)


@contextlib.contextmanager
def odoo_server(version: int) -> Iterator[OdooServer]:
    """A running server of this version."""
    server = OdooServer(version)
    server.start()
    try:
        yield server
    finally:
        server.stop()
