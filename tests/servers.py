"""Real servers on loopback for tests, each on a port of its own: Dovecot (IMAP), SMTP, git over HTTP and SSH.

    with dovecot() as imap, smtp_server(security="starttls") as smtp:
        imap.deliver(b"From: …")
        …
        assert smtp.ledger[0].rcpt_tos == ["ann@example.org"]

A server that is not installed skips the test by name; under `CI=true` it fails, for there nothing may be skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import imaplib
import logging
import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

HOST = "127.0.0.1"
DEADLINE = 30.0


def eventually(condition: Callable[[], Any], *, deadline: float = DEADLINE, what: str = "the condition") -> Any:
    """Wait until `condition()` is truthy and return its value; fails after `deadline` seconds."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {deadline:g} s")
        time.sleep(0.02)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def require_program(name: str, *places: str) -> str:
    """The path of a program; skips the test where it is missing (fails under CI)."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", *places])
    found = shutil.which(name, path=path)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed, and under CI no test may be skipped for that")
        pytest.skip(f"{name} is not installed")
    return found


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """`(certificate, key)` in PEM for localhost and 127.0.0.1, self-signed: the certificate is its own CA file."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = [require_program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "3", "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


# ---------------------------------------------------------------------------------------------------------------- IMAP


class Dovecot:
    """A Dovecot of one account with the folders INBOX and Sent. TLS on `port`, STARTTLS and plain on `plain_port`."""

    host = HOST
    user = "anna"
    password = "correct horse"

    def __init__(self, folder: Path, program: str) -> None:
        self._folder = folder
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self.port, self.plain_port = free_port(), free_port()
        self.ca_file, self._key = make_certificate(folder)
        self._account = "nobody" if os.geteuid() == 0 else getpass.getuser()
        for name in ("run", "mail", "state"):
            (folder / name).mkdir()
        self.set_password(self.password)
        self._config = folder / "dovecot.conf"
        self._config.write_text(self._configuration())
        self._hand_over()

    def start(self) -> None:
        """Start it and wait until it lets us in."""
        run_as = {"user": self._account, "group": pwd.getpwnam(self._account).pw_gid} if os.geteuid() == 0 else {}
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(
            [self._program, "-F", "-c", str(self._config)],
            stdout=log,
            stderr=log,
            start_new_session=True,
            **run_as,  # type: ignore[call-overload]
        )
        log.close()
        eventually(self._answers, what=f"Dovecot's greeting ({self._folder / 'log'})")

    def stop(self) -> None:
        """Stop it and all its children; open connections are lost."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def restart(self) -> None:
        """Stop and start again on the same ports."""
        self.stop()
        self.start()

    def set_password(self, password: str) -> None:
        """Change what the server accepts (`self.password` stays what the client says); in force on return."""
        (self._folder / "users").write_text(f"{self.user}:{{PLAIN}}{password}\n")
        if self._process is not None:  # Dovecot looks at the file once a second
            eventually(self._lets_us_in, what="the new password")

    def deliver(self, data: bytes, folder: str = "INBOX", received: datetime | None = None) -> None:
        """Put a mail into a folder, as a delivery would."""
        with self._session() as imap:
            stamp = imaplib.Time2Internaldate(received or datetime.now(UTC))
            answer, detail = imap.append(folder, "", stamp, data)
            assert answer == "OK", detail

    def empty(self, folder: str = "INBOX") -> None:
        """Delete every mail of a folder."""
        with self._session() as imap:
            answer, count = imap.select(folder)
            if answer == "OK" and count != [b"0"]:
                imap.store("1:*", "+FLAGS.SILENT", "(\\Deleted)")
                imap.expunge()

    def messages(self, folder: str = "INBOX") -> list[bytes]:
        """The mails of a folder, oldest first, as they lie there."""
        return [data for data, _ in self._fetch(folder)]

    def flags(self, folder: str = "INBOX") -> list[str]:
        """The flags of each mail of a folder (`\\Seen …`)."""
        return [flags for _, flags in self._fetch(folder)]

    def reset_uidvalidity(self) -> None:
        """Give INBOX a new UIDVALIDITY and new uids, as after a restore of the server. Restarts it."""
        before = self._uidvalidity()
        self.stop()
        for path in (self._folder / "mail").glob("dovecot*"):
            path.unlink()
        while int(time.time()) <= before:  # Dovecot takes the time, in seconds, as the new one
            time.sleep(0.05)
        self.start()
        eventually(lambda: self._uidvalidity() != before, what="a new UIDVALIDITY")

    def connections(self) -> int:
        """How many sessions are logged in now."""
        doveadm = require_program("doveadm")
        command = [doveadm, "-c", str(self._config), "who", "-1"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        return sum(line.startswith(self.user) for line in answer.stdout.splitlines())

    def environment(self, **more: str) -> dict[str, str]:
        """The settings with which a node reads this server over TLS."""
        return {
            "MAIL_PROVIDER": "imap",
            "IMAP_HOST": "localhost",
            "IMAP_PORT": str(self.port),
            "IMAP_SECURITY": "tls",
            "IMAP_USER": self.user,
            "IMAP_PASS": self.password,
            "SSL_CERT_FILE": str(self.ca_file),
            **more,
        }

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError("Dovecot ended: " + (self._folder / "log").read_text(errors="replace")[-2000:])
        try:
            with socket.create_connection((HOST, self.plain_port), 5) as connection:
                return connection.recv(4) == b"* OK"
        except OSError:
            return False

    def _lets_us_in(self) -> bool:
        try:
            with self._session():
                return True
        except imaplib.IMAP4.error:
            return False

    @contextlib.contextmanager
    def _session(self) -> Iterator[imaplib.IMAP4]:
        with imaplib.IMAP4(HOST, self.plain_port, timeout=20) as imap:
            password = (self._folder / "users").read_text().split("}", 1)[1].strip()
            imap.login(self.user, password)
            yield imap

    def _fetch(self, folder: str) -> list[tuple[bytes, str]]:
        with self._session() as imap:
            answer, count = imap.select(folder, readonly=True)
            if answer != "OK" or count == [b"0"]:
                return []
            _, parts = imap.fetch("1:*", "(FLAGS BODY.PEEK[])")
            return [(part[1], part[0].decode()) for part in parts if isinstance(part, tuple)]

    def _uidvalidity(self) -> int:
        with self._session() as imap:
            imap.select("INBOX", readonly=True)
            return int(imap.response("UIDVALIDITY")[1][0])

    def _hand_over(self) -> None:
        if os.geteuid() == 0:
            owner = pwd.getpwnam(self._account)
            for path in (self._folder, *self._folder.rglob("*")):
                os.chown(path, owner.pw_uid, owner.pw_gid)

    def _configuration(self) -> str:
        owner = pwd.getpwnam(self._account)
        here = self._folder
        return f"""
base_dir = {here}/run
state_dir = {here}/state
log_path = /dev/stderr
protocols = imap
listen = {HOST}
default_internal_user = {self._account}
default_login_user = {self._account}
default_internal_group = {self._group(owner.pw_gid)}
first_valid_uid = 1
first_valid_gid = 1
ssl = yes
ssl_cert = <{self.ca_file}
ssl_key = <{self._key}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
mail_location = maildir:{here}/mail
mail_max_userip_connections = 50
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {self.plain_port}
  }}
  inet_listener imaps {{
    port = {self.port}
    ssl = yes
  }}
}}
passdb {{
  driver = passwd-file
  args = {here}/users
}}
userdb {{
  driver = static
  args = uid={owner.pw_uid} gid={owner.pw_gid} home={here}
}}
namespace inbox {{
  inbox = yes
  mailbox Sent {{
    auto = subscribe
    special_use = \\Sent
  }}
}}
"""

    @staticmethod
    def _group(number: int) -> str:
        import grp

        return grp.getgrgid(number).gr_name


@contextlib.contextmanager
def dovecot() -> Iterator[Dovecot]:
    """A running Dovecot in a folder of its own (short path: it holds sockets), gone afterwards."""
    program = require_program("dovecot")
    folder = Path(tempfile.mkdtemp(prefix="imap-", dir="/tmp"))
    server = None
    try:
        server = Dovecot(folder, program)
        server.start()
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


# ---------------------------------------------------------------------------------------------------------------- SMTP


@dataclass(frozen=True)
class Delivered:
    """One mail that the server accepted for good."""

    mail_from: str
    rcpt_tos: list[str]
    data: bytes = field(repr=False)


class SmtpServer:
    """An SMTP server with a ledger of what it accepted, and faults to order.

    Phases: `MAIL`, `RCPT`, `DATA` (the text has come, nothing is in the ledger yet), `ACCEPTED` (it is in the ledger,
    the reply has not gone out).

    - `reply["DATA"] = "451 4.3.0 later"`: answer a phase (`MAIL`, `RCPT`, `DATA`) with this instead
    - `refuse["bob@example.org"] = "550 5.1.1 no such user"`: refuse one recipient
    - `drop = "ACCEPTED"`: cut the connection in that phase
    - `hold("ACCEPTED")`: stand still in that phase until `release()`; `reached` is set when it is reached
    """

    host = HOST
    user = "mailer"
    password = "battery staple"

    def __init__(self, folder: Path, *, security: str, auth: bool, port: int | None = None) -> None:
        self.port = port or free_port()
        self.security = security
        self.auth = auth
        self.ca_file, self._key = make_certificate(folder)
        self.ledger: list[Delivered] = []
        self.attempts = 0  # how often a text was handed in, accepted or not
        self.reply: dict[str, str] = {}
        self.refuse: dict[str, str] = {}
        self.drop: str | None = None
        self.reached = threading.Event()
        self._held: str | None = None
        self._released = threading.Event()
        self._controller: Any = None

    def start(self) -> None:
        """Begin to listen."""
        from aiosmtpd.controller import Controller
        from aiosmtpd.smtp import AuthResult, LoginPassword

        class Quiet(Controller):
            """Says nothing of AUTH without STARTTLS: on loopback that is meant."""

            def factory(self) -> Any:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    return super().factory()

        def check(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
            right = isinstance(data, LoginPassword) and (data.login, data.password) == (
                self.user.encode(),
                self.password.encode(),
            )
            return AuthResult(success=right, handled=right)

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca_file, self._key)
        options: dict[str, Any] = {"hostname": HOST, "port": self.port, "server_hostname": "mx.test"}
        if self.security == "starttls":
            options |= {"tls_context": context, "require_starttls": True}
        elif self.security == "tls":
            options |= {"ssl_context": context}
        if self.auth:
            options |= {"authenticator": check, "auth_required": True, "auth_require_tls": self.security == "starttls"}
        logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd's talk about its own deprecations
        self._controller = Quiet(_Handler(self), data_size_limit=50 * 1024 * 1024, **options)
        self._controller.start()

    def stop(self) -> None:
        """Stop listening and cut what is open."""
        self.release()
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def hold(self, phase: str) -> None:
        """Stand still in `phase` from now on, until `release()`."""
        self.reached.clear()
        self._released.clear()
        self._held = phase

    def release(self) -> None:
        """Let a held conversation go on."""
        self._held = None
        self._released.set()

    def environment(self, **more: str) -> dict[str, str]:
        """The settings with which a node sends through this server."""
        login = {"SMTP_USER": self.user, "SMTP_PASS": self.password} if self.auth else {}
        return {
            "MAIL_SENDER": "smtp",
            "MAIL_FROM": "office@acme.example",
            "SMTP_HOST": "localhost",
            "SMTP_PORT": str(self.port),
            "SMTP_SECURITY": self.security,
            "SSL_CERT_FILE": str(self.ca_file),
            **login,
            **more,
        }

    async def phase(self, name: str, server: Any) -> str | None:
        """What the handler does on the way through a phase; the answer to give instead of the usual one, or None."""
        if self._held == name:
            self.reached.set()
            while not self._released.is_set():
                await asyncio.sleep(0.01)
        if self.drop == name:
            server.transport.abort()
            raise asyncio.CancelledError
        return self.reply.get(name)


class _Handler:
    def __init__(self, owner: SmtpServer) -> None:
        self._owner = owner

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        instead = await self._owner.phase("MAIL", server)
        if instead:
            return instead
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        instead = await self._owner.phase("RCPT", server) or self._owner.refuse.get(address)
        if instead:
            return instead
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self._owner.attempts += 1
        instead = await self._owner.phase("DATA", server)
        if instead:
            return instead
        self._owner.ledger.append(Delivered(envelope.mail_from, list(envelope.rcpt_tos), bytes(envelope.content)))
        await self._owner.phase("ACCEPTED", server)
        return f"250 2.0.0 queued as {len(self._owner.ledger):04d}"


@contextlib.contextmanager
def smtp_server(*, security: str = "starttls", auth: bool = True, port: int | None = None) -> Iterator[SmtpServer]:
    """A running SMTP server; `security` is `starttls`, `tls` or `none`."""
    folder = Path(tempfile.mkdtemp(prefix="smtp-", dir="/tmp"))
    server = None
    try:
        server = SmtpServer(folder, security=security, auth=auth, port=port)
        server.start()
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


# ----------------------------------------------------------------------------------------------------------------- git


class GitHttp:
    """Git's smart HTTP protocol for the bare repositories of a folder, by `git http-backend`, behind a login.

    - `answer = 500`: answer every request with this status
    - `cut = 2000`: break the connection off after so many bytes of a pack
    - `trickle = 0.2`: send a pack in pieces of 8,000 bytes with so many seconds between them
    - `hold()`: accept and answer nothing until `release()`
    """

    user = "anna"
    password = "correct horse battery"

    def __init__(self, folder: Path) -> None:
        import http.server

        self.answer: int | None = None
        self.cut: int | None = None
        self.trickle: float | None = None
        self.requests: list[str] = []
        self._released = threading.Event()
        self._released.set()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner._serve(self, folder)

            do_POST = do_GET

            def log_message(self, *arguments: Any) -> None:
                owner.requests.append(str(self.path))

        self._server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def url(self, name: str, *, user: str | None = None, password: str | None = None) -> str:
        """The address of the repository `name`, with the login in it."""
        login = f"{user or self.user}:{(password or self.password).replace(' ', '%20')}"
        return f"http://{login}@{HOST}:{self.port}/{name}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def hold(self) -> None:
        """From now on accept and say nothing."""
        self._released.clear()

    def release(self) -> None:
        """Let held requests go on."""
        self._released.set()

    def _serve(self, request: Any, folder: Path) -> None:
        self._released.wait()
        import base64

        right = "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if request.headers.get("Authorization") != right:
            request.send_response(401)
            request.send_header("WWW-Authenticate", 'Basic realm="vault"')
            request.end_headers()
        elif self.answer is not None:
            request.send_error(self.answer)
        else:
            self._by_git(request, folder)

    def _by_git(self, request: Any, folder: Path) -> None:
        import gzip

        path, _, query = request.path.partition("?")
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if request.headers.get("Transfer-Encoding") == "chunked":
            body = self._unchunked(request.rfile)
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
            "GIT_PROJECT_ROOT": str(folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": request.command,
            "CONTENT_TYPE": request.headers.get("Content-Type") or "",
            "REMOTE_USER": self.user,
            "GIT_PROTOCOL": request.headers.get("Git-Protocol") or "",
        }
        done = subprocess.run(["git", "http-backend"], env=environ, input=body, capture_output=True, check=False)
        head, _, data = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        request.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        is_pack = b"PACK" in data
        with contextlib.suppress(ConnectionError):  # a client that was ended
            if is_pack and self.cut is not None:
                request.wfile.write(data[: self.cut])
                request.wfile.flush()
                request.connection.shutdown(socket.SHUT_RDWR)
            elif is_pack and self.trickle is not None:
                for start in range(0, len(data), 8000):
                    request.wfile.write(data[start : start + 8000])
                    threading.Event().wait(self.trickle)
            else:
                request.wfile.write(data)

    @staticmethod
    def _unchunked(stream: Any) -> bytes:
        body = b""
        while size := int(stream.readline(), 16):
            body += stream.read(size)
            stream.readline()
        stream.readline()
        return body


@contextlib.contextmanager
def git_http(folder: Path) -> Iterator[GitHttp]:
    """A running `GitHttp` for the bare repositories of `folder`."""
    server = GitHttp(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Sshd:
    """An OpenSSH server that lets `key` in, with a host key and configuration of its own."""

    host = HOST

    def __init__(self, folder: Path, program: str) -> None:
        self.folder = folder
        self.port = free_port()
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self.key, self.other_key, self._host_key = folder / "key", folder / "other_key", folder / "host_key"
        for path in (self.key, self.other_key):
            self._make_key(path)
        self.new_host_key()
        (folder / "authorized_keys").write_text(self.key.with_suffix(".pub").read_text())
        self.known_hosts = folder / "known_hosts"
        self.trust()

    def url(self, repository: Path) -> str:
        """The address of a repository of this machine, over this server."""
        return f"ssh://{getpass.getuser()}@{HOST}:{self.port}{repository}"

    def command(self, *, key: Path | None = None, known_hosts: Path | None = None) -> str:
        """A `core.sshCommand` as a user writes it for a deploy key; says nothing of prompts."""
        hosts = known_hosts or self.known_hosts
        return f"ssh -F none -i {key or self.key} -o IdentitiesOnly=yes -o UserKnownHostsFile={hosts}"

    def new_host_key(self) -> None:
        """Make the server's own key anew; in force after `restart`."""
        for path in (self._host_key, self._host_key.with_suffix(".pub")):
            path.unlink(missing_ok=True)
        self._make_key(self._host_key)

    def trust(self) -> None:
        """Write the server's present host key into `known_hosts`."""
        public = self._host_key.with_suffix(".pub").read_text().split()
        self.known_hosts.write_text(f"[{HOST}]:{self.port} {public[0]} {public[1]}\n")

    def start(self) -> None:
        """Start it and wait until it greets."""
        config = self.folder / "sshd_config"
        config.write_text(
            f"ListenAddress {HOST}:{self.port}\nHostKey {self._host_key}\nPidFile none\nUsePAM no\nStrictModes no\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nPasswordAuthentication no\nPermitRootLogin yes\n"
            "KbdInteractiveAuthentication no\nLogLevel ERROR\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where it locks itself in before the login (sshd(8))
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen([self._program, "-D", "-e", "-f", str(config)], stdout=log, stderr=log)
        log.close()
        eventually(self._greets, what=f"sshd's greeting ({self.folder / 'log'})")

    def stop(self) -> None:
        """Stop listening; open connections go on to their end."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def restart(self) -> None:
        """Stop and start again on the same port."""
        self.stop()
        self.start()

    def _greets(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), 5) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    @staticmethod
    def _make_key(path: Path) -> None:
        command = [require_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
        subprocess.run(command, check=True, capture_output=True)


@contextlib.contextmanager
def sshd() -> Iterator[Sshd]:
    """A running OpenSSH server, gone afterwards."""
    program = require_program("sshd")
    folder = Path(tempfile.mkdtemp(prefix="sshd-", dir="/tmp"))
    server = None
    try:
        server = Sshd(folder, program)
        server.start()
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
