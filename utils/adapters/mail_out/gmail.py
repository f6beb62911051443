"""Mail by the Gmail API: a draft is made, then sent (users.drafts, users.messages). One call each, none repeated.

`requests` and google-auth, not google-api-python-client: its transport, httplib2, sends a POST again by itself when the
connection ends without an answer, whatever `num_retries` says (docs/adr/0024).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from requests.auth import AuthBase

from utils.adapters.social.http import Answer, Api, Verdict, by_status, field_of, shown
from utils.core.acting import Receipt
from utils.core.mail import OutgoingMail
from utils.ports import AdapterError

ACTION_HEADER = "X-Action-Id"
#: How many of the newest drafts are searched for one of ours.
_NEWEST_DRAFTS = 20
#: So many sent mails are looked through; where there are more since then, nothing is concluded.
_MOST_SENT = 200
_PAGE = 50
_ME = "/gmail/v1/users/me"
#: Reasons of a 403 that say "later" ("Resolve errors" in the Gmail API's guides).
_THROTTLED = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "dailyLimitExceeded", "quotaExceeded"})


class Gmail:
    """The mailbox that `auth` signs for."""

    def __init__(self, base: str, auth: AuthBase, *, timeout: float) -> None:
        self._api = Api(
            "Gmail", base, auth, timeout=timeout, credentials="GMAIL_SEND_TOKEN_PATH", judge=_judge, explain=_explain
        )

    def create(self, mail: OutgoingMail, thread: str = "") -> str:
        """Make a draft, in `thread` (Gmail's id) if that is still there, and send nothing: its id.

        Raises `AdapterError`.
        """
        answer = self._upload(mail, thread, allow=(404,) if thread else ())
        if answer.status == 404:
            answer = self._upload(mail, "")
        draft = field_of(answer.body, "id")
        if not isinstance(draft, str) or not draft:
            raise AdapterError("Gmail took the draft and named no id for it", retry=True)
        return draft

    def send(self, draft: str) -> Receipt:
        """Send a draft. Raises `AdapterError` where it certainly was not sent, else `OutcomeUnknown`."""
        body = self._api.act("POST", f"{_ME}/drafts/send", json={"id": draft}).body
        identifier = field_of(body, "id")
        if not isinstance(identifier, str) or not identifier:
            raise self._api.lost("the sent mail's id")
        return Receipt("gmail", identifier, f"sent, thread {shown(field_of(body, 'threadId'))}")

    def remove(self, draft: str) -> bool:
        """Remove a draft for good; False where it is not there. Raises `AdapterError`."""
        return self._api.read("DELETE", _draft(draft), allow=(404,)).status != 404

    def lies(self, draft: str) -> bool:
        """Whether the draft is there. Raises `AdapterError`."""
        return self._api.read("GET", _draft(draft), allow=(404,), params={"format": "minimal"}).status != 404

    def drafts_of(self, action_id: str) -> list[str]:
        """Ids of drafts with our mark, among the newest. Raises `AdapterError`."""
        listed = self._api.read("GET", f"{_ME}/drafts", params={"maxResults": _NEWEST_DRAFTS}).body
        found = []
        for draft in _ids(listed, "drafts"):
            answer = self._api.read("GET", _draft(draft), allow=(404,), params={"format": "metadata"})
            if _mark(field_of(answer.body, "message")) == action_id:
                found.append(draft)
        return found

    def sent(self, action_id: str, since: datetime) -> Receipt | None:
        """The sent mail with our mark, newest first, back to `since` (by Gmail's own time). Raises `AdapterError`.

        Gmail can't be searched for a header of ours, and gives mails another Message-ID: so each one's header is read.
        """
        for identifier in self._sent():
            asked = {"format": "metadata", "metadataHeaders": ACTION_HEADER}
            body = self._api.read("GET", f"{_ME}/messages/{_quoted(identifier)}", allow=(404,), params=asked).body
            if _mark(body) == action_id:
                return Receipt(
                    "gmail", identifier, f"found among sent mail, thread {shown(field_of(body, 'threadId'))}"
                )
            at = _internal_date(body)
            if at is not None and at < since:
                return None
        return None

    def check(self) -> str:
        """The account's address, once it is seen that drafts and sent mail may be looked at. Raises `AdapterError`."""
        address = field_of(self._api.read("GET", f"{_ME}/profile").body, "emailAddress")
        for path, more in (("drafts", {}), ("messages", {"labelIds": "SENT"})):
            self._api.read("GET", f"{_ME}/{path}", params={"maxResults": 1, **more})
        return shown(address)

    def _upload(self, mail: OutgoingMail, thread: str, *, allow: Collection[int] = ()) -> Answer:
        """users.drafts.create as a multipart upload: the mail as it is, up to 35 MB, where JSON takes a few."""
        boundary = f"=_{secrets.token_hex(16)}"
        about = json.dumps({"message": {"threadId": thread} if thread else {}}).encode()
        parts = (("application/json; charset=UTF-8", about), ("message/rfc822", _with_bcc(mail)))
        body = b"".join(
            f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode() + data + b"\r\n" for kind, data in parts
        )
        return self._api.read(
            "POST",
            f"/upload{_ME}/drafts",
            allow=allow,
            params={"uploadType": "multipart"},
            headers={"Content-Type": f'multipart/related; boundary="{boundary}"'},
            data=body + f"--{boundary}--\r\n".encode(),
        )

    def _sent(self) -> Iterator[str]:
        page: dict[str, Any] = {}
        for _ in range(_MOST_SENT // _PAGE):
            asked = {"labelIds": "SENT", "maxResults": _PAGE, "includeSpamTrash": "true", **page}
            body = self._api.read("GET", f"{_ME}/messages", params=asked).body
            yield from _ids(body, "messages")
            if not field_of(body, "nextPageToken"):
                return
            page = {"pageToken": field_of(body, "nextPageToken")}
        raise AdapterError(f"more than {_MOST_SENT} mails were sent since: look yourself", retry=False)


def _with_bcc(mail: OutgoingMail) -> bytes:
    """Gmail takes the envelope from To, Cc and Bcc, and shows the last to nobody."""
    if not mail.hidden:
        return mail.data
    return b"Bcc: " + ",\r\n ".join(mail.hidden).encode("ascii") + b"\r\n" + mail.data


def _draft(draft: str) -> str:
    return f"{_ME}/drafts/{_quoted(draft)}"


def _quoted(identifier: str) -> str:
    return quote(identifier, safe="")


def _ids(body: Any, name: str) -> list[str]:
    listed = field_of(body, name) or []
    return [one["id"] for one in listed if isinstance(one, dict) and isinstance(one.get("id"), str)]


def _mark(message: Any) -> str:
    """Our mark in a message's headers, or ""."""
    for header in field_of(message, "payload", "headers") or []:
        if str(field_of(header, "name")).lower() == ACTION_HEADER.lower():
            return str(field_of(header, "value")).strip()
    return ""


def _internal_date(message: Any) -> datetime | None:
    """When Gmail took it: milliseconds since 1970, as text."""
    value = field_of(message, "internalDate")
    return datetime.fromtimestamp(int(value) / 1000, UTC) if isinstance(value, str) and value.isdigit() else None


def _judge(answer: Answer) -> Verdict:
    reasons = {field_of(error, "reason") for error in field_of(answer.body, "error", "errors") or []}
    if reasons & _THROTTLED or field_of(answer.body, "error", "status") == "RESOURCE_EXHAUSTED":
        return Verdict.LATER
    # A draft that is not there: somebody sent it, or removed it. It is not for this answer to say which.
    return Verdict.OPEN if answer.status == 404 else by_status(answer)


def _explain(answer: Answer) -> str:
    return shown(field_of(answer.body, "error", "message"))
