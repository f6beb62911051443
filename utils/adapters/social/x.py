"""Posts on X (X API v2: Create Posts, Media upload, Media metadata, user Posts timeline), signed by OAuth 1.0a.

OAuth 1.0a tokens of a user don't expire, where those of OAuth 2.0 do after two hours.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import requests
from oauthlib.oauth1 import Client
from requests.auth import AuthBase

from utils.adapters.social.http import Answer, Api, Verdict, by_status, field_of, shown
from utils.core import tweet
from utils.core.acting import Absence, Receipt
from utils.core.social import Post, same_text
from utils.ports import AdapterError

_LATEST = 100


@dataclass(frozen=True)
class Keys:
    """The application's key and secret, and the account's token and secret."""

    key: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    token_secret: str = field(repr=False)


class _Signed(AuthBase):
    """RFC 5849 §3, HMAC-SHA1; JSON and multipart bodies are not part of what is signed (§3.4.1.3.1)."""

    def __init__(self, keys: Keys) -> None:
        self._client = Client(
            keys.key, client_secret=keys.secret, resource_owner_key=keys.token, resource_owner_secret=keys.token_secret
        )

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign one request."""
        _, headers, _ = self._client.sign(str(request.url), http_method=str(request.method))
        request.headers["Authorization"] = headers["Authorization"]
        return request


class X:
    """Posts as the account whose token it has."""

    def __init__(self, base: str, keys: Keys, *, timeout: float) -> None:
        self._api = Api(
            "X", base, _Signed(keys), timeout=timeout, credentials="X_API_KEY, X_ACCESS_TOKEN and their secrets",
            judge=_judge, explain=_explain,
        )  # fmt: skip

    def prepare(self, post: Post) -> str:
        """Upload the image with its description: its media id, or "". Raises `AdapterError`."""
        if post.image is None:
            return ""
        form = {"media_category": "tweet_image", "media_type": post.image.kind}
        files = {"media": ("image", post.data, post.image.kind)}
        data = field_of(self._api.read("POST", "/2/media/upload", data=form, files=files).body, "data")
        identifier = field_of(data, "id")
        if not isinstance(identifier, str):
            raise AdapterError("X took the image and named no id for it", retry=True)
        if post.image.alt:
            described = {"id": identifier, "metadata": {"alt_text": {"text": post.image.alt}}}
            self._api.read("POST", "/2/media/metadata", json=described)
        return identifier

    def publish(self, post: Post, media: str) -> Receipt:
        """Publish at once. Raises `AdapterError` or `OutcomeUnknown`."""
        body: dict[str, Any] = {"text": post.text} if post.text else {}
        if media:
            body["media"] = {"media_ids": [media]}
        identifier = field_of(self._api.act("POST", "/2/tweets", json=body).body, "data", "id")
        if not isinstance(identifier, str):
            raise self._api.lost("the post's id")
        return _receipt(identifier)

    def find(self, post: Post, media: str, since: datetime) -> Receipt | Absence:
        """Our own post with this text since then. Its absence proves nothing. Raises `AdapterError`."""
        if not post.text:  # one image without words is like another
            return Absence.OPEN
        me = field_of(self._api.read("GET", "/2/users/me").body, "data", "id")
        if not isinstance(me, str):
            raise AdapterError("X does not say whose token this is", retry=True)
        asked: dict[str, str | int] = {
            "start_time": since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "max_results": _LATEST,
            "exclude": "retweets",
            "tweet.fields": "created_at,entities",
        }
        found = field_of(self._api.read("GET", f"/2/users/{me}/tweets", params=asked).body, "data") or []
        ours = _with_whole_links(post.text)
        same = (one for one in found if same_text(ours, _as_written(one)))
        return next((_receipt(str(field_of(one, "id"))) for one in same), Absence.OPEN)


def _as_written(found: Any) -> str:
    """The text of a post as it was written: links whole again, that of the image gone, characters unescaped."""
    text = str(field_of(found, "text") or "")
    for link in field_of(found, "entities", "urls") or []:
        # X appends a link of its own to what has media.
        whole = "" if field_of(link, "media_key") else str(field_of(link, "expanded_url") or "")
        text = text.replace(str(field_of(link, "url")), whole)
    return html.unescape(text)


def _with_whole_links(text: str) -> str:
    """Our text with each link as X expands it: with its scheme."""
    for link in dict.fromkeys(tweet.links(text)):
        if "://" not in link:
            text = text.replace(link, f"http://{link}")
    return text


def _judge(answer: Answer) -> Verdict:
    # 403 stands for what may not be posted as well: a duplicate, a text that is too long (type about:blank).
    if answer.status == 403 and field_of(answer.body, "type") in (None, "about:blank"):
        return Verdict.REFUSED
    return by_status(answer)


def _explain(answer: Answer) -> str:
    errors = field_of(answer.body, "errors")
    first = errors[0] if isinstance(errors, list) and errors else {}
    return shown(
        field_of(answer.body, "detail") or field_of(first, "detail") or field_of(first, "message")
        or field_of(answer.body, "title")
    )  # fmt: skip


def _receipt(identifier: str) -> Receipt:
    return Receipt("x", identifier, f"https://x.com/i/status/{identifier}")
