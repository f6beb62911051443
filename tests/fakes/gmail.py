"""Gmail's API and Google's OAuth endpoints: strict, as published (discovery revision 20261005, "Resolve errors").

Sending consumes a draft, gives the mail another id and another Message-ID, and needs a scope that allows it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from email import message_from_bytes, policy
from typing import Any
from urllib.parse import urlencode

from tests.fakes.provider import Answer, Call, Provider, Refused

ACCOUNT = "me@acme.example"
CLIENT, SECRET = "1000-client.apps.example", "GOCSPX-client-secret"
REFRESH = "1//refresh-token"
_SCOPE = "https://www.googleapis.com/auth/gmail."
COMPOSE, METADATA, READONLY = f"{_SCOPE}compose", f"{_SCOPE}metadata", f"{_SCOPE}readonly"
_ME = "/gmail/v1/users/me"
_WRITES = {COMPOSE}
_READS = {METADATA, READONLY}


@dataclass
class Mail:
    """One message in the mailbox; `headers` as Gmail keeps them."""

    id: str
    thread: str
    labels: set[str]
    at: datetime
    headers: list[tuple[str, str]]
    raw: bytes = field(repr=False, default=b"")

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def shown(self, only: str | None = None) -> dict[str, Any]:
        headers = [{"name": name, "value": value} for name, value in self.headers]
        if only is not None:
            headers = [one for one in headers if one["name"].lower() == only.lower()]
        at = str(int(self.at.timestamp() * 1000))
        about = {"id": self.id, "threadId": self.thread, "labelIds": sorted(self.labels), "internalDate": at}
        return about | {"payload": {"headers": headers}}


class GmailServer(Provider):
    """One account. `ledger`: every mail that was sent. `late`: the next send is answered by 503, and carried out by
    `catch_up`. `lingers`: a draft is still shown after it was sent; `hides`: what was sent is not shown yet."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.drafts: dict[str, Mail] = {}
        self.mails: list[Mail] = []
        self.granted = {COMPOSE, METADATA}
        self.refresh_tokens = {REFRESH}
        self.access_tokens: set[str] = set()
        self.codes: dict[str, dict[str, str]] = {}
        self.late = self.lingers = self.hides = False
        self._delayed: list[Call] = []
        self._ghosts: dict[str, Mail] = {}
        self._count = 0

    def throttled(self) -> Answer:
        return _error(429, "rateLimitExceeded", "Too many concurrent requests for user", {"Retry-After": "9"}).answer

    def expired(self) -> Answer:
        return _error(401, "authError", "Invalid Credentials").answer

    def catch_up(self) -> None:
        """Carry out what came in late, and show everything as it is."""
        self.late = self.lingers = self.hides = False
        self._ghosts.clear()
        for call in self._delayed:
            try:
                self._send(call)
            except Refused as refused:
                assert refused.answer[0] == 404
        self._delayed.clear()

    def put(self, *, labels: set[str], at: datetime | None = None, mark: str = "", thread: str = "") -> Mail:
        """A mail that lies in the mailbox already."""
        headers = [("Subject", "an old one"), *([("X-Action-Id", mark)] if mark else [])]
        mail = Mail(self._id("18c"), thread or self._id("17b"), labels, at or self.now(), headers)
        self.mails.append(mail)
        return mail

    def route(self, call: Call) -> Answer:
        parts = call.path.removeprefix("/upload").removeprefix(_ME).strip("/").split("/")
        match (call.method, *parts):
            case ("GET", "o", "oauth2", "auth"):
                return self._authorise(call)
            case ("POST", "token"):
                return self._token(call)
            case ("GET", "profile"):
                self._allow(call, _WRITES | _READS)
                return 200, {"emailAddress": ACCOUNT, "messagesTotal": len(self.mails)}, {}
            case ("POST", "drafts") if call.path.startswith("/upload/"):
                return self._create(call)
            case ("POST", "drafts", "send") if not call.path.startswith("/upload/"):
                self._allow(call, _WRITES)
                if self.late:
                    self.late = False
                    self._delayed.append(call)
                    return 503, "<html>Service Unavailable</html>", {}
                return self._send(call)
            case ("GET", "drafts"):
                return self._list(call, "drafts", {"maxResults"})
            case ("GET" | "DELETE", "drafts", identifier):
                return self._draft(call, identifier)
            case ("GET", "messages"):
                return self._list(call, "messages", {"maxResults", "labelIds", "includeSpamTrash", "pageToken"})
            case ("GET", "messages", identifier):
                return self._message(call, identifier)
        raise _error(404, "notFound", "Not Found")

    # The mailbox

    def _create(self, call: Call) -> Answer:
        self._allow(call, _WRITES)
        if call.query != {"uploadType": "multipart"}:
            raise _error(400, "badRequest", f"query {call.query}")
        about, raw = _related(call)
        thread = about.get("message", {}).get("threadId", "")
        if set(about) - {"message"} or set(about.get("message", {})) - {"threadId"}:
            raise _error(400, "invalidArgument", f"Invalid JSON payload received. Unknown name in {about}")
        message = message_from_bytes(raw, policy=policy.SMTP)
        if thread and thread not in {mail.thread for mail in self.mails}:
            raise _error(404, "notFound", "Requested entity was not found.")
        if thread and not (message["In-Reply-To"] and message["References"]):
            raise _error(400, "invalidArgument", "a draft in a thread needs In-Reply-To and References")
        headers = [(name, str(value)) for name, value in message.items()]
        mail = Mail(self._id("18c"), thread or self._id("17b"), {"DRAFT"}, self.now(), headers, raw)
        draft = f"r{self._id('')}"
        self.drafts[draft] = mail
        return 200, {"id": draft, "message": {"id": mail.id, "threadId": mail.thread, "labelIds": ["DRAFT"]}}, {}

    def _send(self, call: Call) -> Answer:
        body = call.json
        if set(body) != {"id"}:
            raise _error(400, "invalidArgument", f"body {sorted(body)}")
        if body["id"] not in self.drafts:
            raise _error(404, "notFound", "Requested entity was not found.")
        draft = self.drafts[body["id"]]
        people = [draft.header(name) for name in ("To", "Cc", "Bcc")]
        recipients = [one for text in people for one in re.findall(r"[^\s<>,\"]+@[^\s<>,\"]+", text)]
        if not recipients:
            raise _error(400, "invalidArgument", "Recipient address required")
        del self.drafts[body["id"]]
        if self.lingers:
            self._ghosts[body["id"]] = draft
        headers = [(key, value) for key, value in draft.headers if key.lower() != "message-id"]
        headers.append(("Message-ID", f"<CA{secrets.token_hex(8)}@mail.example>"))
        sent = Mail(self._id("18c"), draft.thread, {"SENT"}, self.now(), headers, draft.raw)
        self.mails.append(sent)
        self.ledger.append(
            {
                "id": sent.id,
                "action": draft.header("X-Action-Id"),
                "to": recipients,
                "raw": draft.raw,
                "thread": sent.thread,
            }
        )
        return 200, {"id": sent.id, "threadId": sent.thread, "labelIds": ["SENT"]}, {}

    def _draft(self, call: Call, identifier: str) -> Answer:
        self._allow(call, _WRITES if call.method == "DELETE" else _WRITES | {READONLY})
        shown = self.drafts | (self._ghosts if call.method == "GET" else {})
        if identifier not in shown:
            raise _error(404, "notFound", "Requested entity was not found.")
        if call.method == "DELETE":
            if call.query:
                raise _error(400, "badRequest", f"query {call.query}")
            del self.drafts[identifier]
            return 204, None, {}
        if call.query.get("format") not in ("minimal", "metadata"):
            raise _error(400, "invalidArgument", f"format {call.query.get('format')}")
        message = shown[identifier].shown()
        if call.query["format"] == "minimal":
            del message["payload"]
        return 200, {"id": identifier, "message": message}, {}

    def _list(self, call: Call, name: str, known: set[str]) -> Answer:
        self._allow(call, _WRITES | {READONLY} if name == "drafts" else _READS)
        if set(call.query) - known or not 1 <= int(call.query.get("maxResults", 100)) <= 500:
            raise _error(400 if "q" not in call.query else 403, "badRequest", f"query {call.query}")
        if name == "drafts":
            found = [{"id": key, "message": {"id": mail.id}} for key, mail in reversed(self.drafts.items())]
        else:
            label = call.query.get("labelIds", "")
            mails = [mail for mail in self.mails if not label or label in mail.labels]
            mails = [mail for mail in mails if not (self.hides and mail.id in {one["id"] for one in self.ledger})]
            if call.query.get("includeSpamTrash") != "true":
                mails = [mail for mail in mails if not mail.labels & {"SPAM", "TRASH"}]
            mails.sort(key=lambda mail: mail.at, reverse=True)
            found = [{"id": mail.id, "threadId": mail.thread} for mail in mails]
        start, most = int(call.query.get("pageToken", 0)), int(call.query.get("maxResults", 100))
        body: dict[str, Any] = {"resultSizeEstimate": len(found)}
        if found[start : start + most]:
            body[name] = found[start : start + most]
        if len(found) > start + most:
            body["nextPageToken"] = str(start + most)
        return 200, body, {}

    def _message(self, call: Call, identifier: str) -> Answer:
        self._allow(call, _READS)
        if call.query != {"format": "metadata", "metadataHeaders": "X-Action-Id"}:
            raise _error(403, "forbidden", "Metadata scope doesn't allow format FULL")
        for mail in self.mails:
            if mail.id == identifier:
                return 200, mail.shown("X-Action-Id"), {}
        raise _error(404, "notFound", "Requested entity was not found.")

    def _id(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count:013x}"

    def _allow(self, call: Call, scopes: set[str]) -> None:
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self.access_tokens:
            raise _error(401, "authError", "Invalid Credentials")
        if not scopes & self.granted:
            raise _error(403, "insufficientPermissions", "Request had insufficient authentication scopes.")

    # OAuth (RFC 6749, RFC 7636, "OAuth 2.0 for Mobile & Desktop Apps")

    def _authorise(self, call: Call) -> Answer:
        asked = dict(call.query)
        target, state = asked.get("redirect_uri", ""), asked.get("state", "")
        wanted = {"response_type": "code", "client_id": CLIENT, "access_type": "offline", "prompt": "consent"}
        wanted |= {"code_challenge_method": "S256"}
        if not wanted.items() <= asked.items() or not re.match(r"http://127\.0\.0\.1:\d+/$", target) or not state:
            return 400, {"error": "invalid_request"}, {}
        if not set(asked["scope"].split()) & self.granted:
            return 302, None, {"Location": f"{target}?{urlencode({'error': 'access_denied', 'state': state})}"}
        code = f"4/{secrets.token_hex(8)}"
        self.codes[code] = {"redirect_uri": target, "challenge": asked["code_challenge"]}
        answer = {"state": state, "code": code, "scope": " ".join(sorted(self.granted))}
        return 302, None, {"Location": f"{target}?{urlencode(answer)}"}

    def _token(self, call: Call) -> Answer:
        form = call.form
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()  # RFC 6749 §2.3.1: either way
        in_form = (form.get("client_id"), form.get("client_secret")) == (CLIENT, SECRET)
        if not in_form and call.headers.get("authorization") != f"Basic {basic}":
            return 401, {"error": "invalid_client", "error_description": "The OAuth client was not found."}, {}
        answer = {"expires_in": 3599, "scope": " ".join(sorted(self.granted)), "token_type": "Bearer"}
        if form["grant_type"] == "authorization_code":
            code = self.codes.pop(form["code"], None)
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if code != {"redirect_uri": form["redirect_uri"], "challenge": challenge}:
                return 400, {"error": "invalid_grant", "error_description": "Malformed auth code."}, {}
            answer["refresh_token"] = REFRESH
            self.refresh_tokens.add(REFRESH)
        elif form["grant_type"] != "refresh_token" or form["refresh_token"] not in self.refresh_tokens:
            words = "Token has been expired or revoked."
            return 400, {"error": "invalid_grant", "error_description": words}, {}
        token = f"ya29.{secrets.token_hex(8)}"
        self.access_tokens.add(token)
        return 200, answer | {"access_token": token}, {}


def token_file(url: str, **more: str) -> str:
    """What `scripts.gmail_auth` leaves for an account at `url`."""
    about = {"refresh_token": REFRESH, "client_id": CLIENT, "client_secret": SECRET, "token_uri": f"{url}/token"}
    return json.dumps({**about, "type": "authorized_user", **more})


def client_file(url: str) -> str:
    """An OAuth client of the kind "Desktop app", as the console gives it."""
    about = {"client_id": CLIENT, "client_secret": SECRET, "redirect_uris": ["http://localhost"]}
    return json.dumps({"installed": {**about, "auth_uri": f"{url}/o/oauth2/auth", "token_uri": f"{url}/token"}})


def _related(call: Call) -> tuple[dict[str, Any], bytes]:
    """The two parts of a multipart upload: JSON, and the mail's very bytes."""
    kind = re.fullmatch(r'multipart/related; boundary="([^"]+)"', call.headers.get("content-type", ""))
    assert kind, "no multipart/related"
    line = f"--{kind[1]}".encode()
    begin, about, mail, end = call.body.split(line)
    assert (begin, end) == (b"", b"--\r\n"), "not two parts"
    head, about = about.removeprefix(b"\r\n").split(b"\r\n\r\n", 1)
    assert head == b"Content-Type: application/json; charset=UTF-8"
    head, mail = mail.removeprefix(b"\r\n").split(b"\r\n\r\n", 1)
    assert head == b"Content-Type: message/rfc822"
    return json.loads(about), mail.removesuffix(b"\r\n")


def _error(status: int, reason: str, message: str, headers: dict[str, str] | None = None) -> Refused:
    one = {"domain": "global", "reason": reason, "message": message}
    return Refused(status, {"error": {"code": status, "message": message, "errors": [one]}}, headers)
