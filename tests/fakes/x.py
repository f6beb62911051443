"""X API v2: strict, with the signature of every call verified by RFC 5849 itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import re
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from tests.fakes.provider import Answer, Call, Provider, Refused
from utils.core import tweet

KEY, SECRET, TOKEN, TOKEN_SECRET = "x-api-key", "x-api-secret", "2244994945-x-token", "x-token-secret"
USER = "2244994945"


class XServer(Provider):
    """The account of one token."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.media: dict[str, dict[str, Any]] = {}
        self.hidden = False

    def throttled(self) -> Answer:
        return (
            429,
            {"title": "Too Many Requests", "detail": "Too Many Requests", "type": "about:blank"},
            {"Retry-After": "9"},
        )

    def expired(self) -> Answer:
        return 401, {"title": "Unauthorized", "type": "about:blank", "status": 401, "detail": "Unauthorized"}, {}

    def route(self, call: Call) -> Answer:
        if not _is_signed(call):
            raise Refused(*self.expired())
        if call.method == "GET" and call.path == "/2/users/me" and not call.query:
            return 200, {"data": {"id": USER, "name": "We", "username": "we"}}, {}
        routes = {
            ("POST", "/2/media/upload"): self._upload,
            ("POST", "/2/media/metadata"): self._describe,
            ("POST", "/2/tweets"): self._create,
            ("GET", f"/2/users/{USER}/tweets"): self._timeline,
        }
        if (call.method, call.path) not in routes:
            raise Refused(404, {"title": "Not Found", "type": "about:blank", "status": 404})
        return routes[call.method, call.path](call)

    def _upload(self, call: Call) -> Answer:
        form, files = call.form, call.files
        kinds = {"image/jpeg", "image/png", "image/webp"}
        wanted = {"media_category": "tweet_image", "media_type": form.get("media_type", "")}
        if form != wanted or form["media_type"] not in kinds or set(files) != {"media"} or not files["media"]:
            raise _invalid("media")
        identifier = str(1880028106020515840 + len(self.media))
        self.media[identifier] = {"data": files["media"]}
        return 200, {"data": {"id": identifier, "media_key": f"3_{identifier}", "expires_after_secs": 86400}}, {}

    def _describe(self, call: Call) -> Answer:
        body = call.json
        text = body["metadata"]["alt_text"]["text"]
        if set(body) != {"id", "metadata"} or body["id"] not in self.media or not 0 < len(text) <= 1000:
            raise _invalid("metadata")
        self.media[body["id"]]["alt"] = text
        return 200, {"data": {"id": body["id"], "associated_metadata": {"alt_text": {"text": text}}}}, {}

    def _create(self, call: Call) -> Answer:
        body = call.json
        text, media = body.get("text", ""), body.get("media", {}).get("media_ids", [])
        if set(body) - {"text", "media"} or not (text or media) or any(one not in self.media for one in media):
            raise _invalid(f"fields {sorted(body)}")
        if tweet.weighted_length(text) > 280:
            raise _forbidden("Your Tweet text is too long.")
        if any((one["text"], one["media"]) == (text, media) for one in self.ledger):
            raise _forbidden("You are not allowed to create a Tweet with duplicate content.")
        identifier = str(1445880548472328192 + len(self.ledger))
        self.ledger.append({"id": identifier, "text": text, "media": media, "at": self.now()})
        return 201, {"data": {"id": identifier, "text": self._shown(text, media)[0]}}, {}

    def _timeline(self, call: Call) -> Answer:
        query = dict(call.query)
        since = query.pop("start_time", "")
        if query != {"max_results": "100", "exclude": "retweets", "tweet.fields": "created_at,entities"}:
            raise _invalid(f"query {query}")
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", since):
            raise _invalid("start_time")
        data = []
        for one in [] if self.hidden else reversed(self.ledger):
            at = one["at"].strftime("%Y-%m-%dT%H:%M:%SZ")
            text, urls = self._shown(one["text"], one["media"])
            if at >= since:
                data.append({"id": one["id"], "text": text, "created_at": at, "entities": {"urls": urls}})
        return 200, {"data": data, "meta": {"result_count": len(data)}} if data else {"meta": {"result_count": 0}}, {}

    def _shown(self, text: str, media: list[str]) -> tuple[str, list[dict[str, str]]]:
        """A text as X gives it back: escaped, each link wrapped, one more link for its media."""
        shown, urls = html.escape(text, quote=False), []
        for number, link in enumerate(dict.fromkeys(tweet.links(text))):
            wrapped = f"https://t.co/link{number}"
            shown = shown.replace(html.escape(link, quote=False), wrapped)
            urls.append({"url": wrapped, "expanded_url": link if "://" in link else f"http://{link}"})
        for identifier in media:
            wrapped = f"https://t.co/m{identifier}"
            shown += f" {wrapped}"
            urls.append({"url": wrapped, "expanded_url": "https://x.com/we/photo/1", "media_key": f"3_{identifier}"})
        return shown, urls


def _is_signed(call: Call) -> bool:
    """RFC 5849 §3.4: HMAC-SHA1 over method, address and parameters."""
    scheme, _, words = call.headers.get("authorization", "").partition(" ")
    if scheme != "OAuth":
        return False
    given = {name: unquote(value) for name, value in re.findall(r'(\w+)="([^"]*)"', words)}
    signature = given.pop("oauth_signature", "")
    if (given.get("oauth_consumer_key"), given.get("oauth_token")) != (KEY, TOKEN):
        return False
    pairs = sorted((_encoded(name), _encoded(value)) for name, value in {**given, **call.query}.items())
    parts = urlsplit(call.url)
    base = [call.method, f"{parts.scheme}://{parts.netloc}{parts.path}", "&".join(f"{n}={v}" for n, v in pairs)]
    text = "&".join(map(_encoded, base)).encode()
    digest = hmac.new(f"{_encoded(SECRET)}&{_encoded(TOKEN_SECRET)}".encode(), text, hashlib.sha1).digest()
    return hmac.compare_digest(base64.b64encode(digest).decode(), signature)


def _encoded(text: str) -> str:
    return quote(text, safe="-._~")


def _forbidden(detail: str) -> Refused:
    return Refused(403, {"detail": detail, "type": "about:blank", "title": "Forbidden", "status": 403})


def _invalid(what: str) -> Refused:
    body = {"errors": [{"message": f"Invalid: {what}"}], "title": "Invalid Request", "detail": "One or more parameters"}
    return Refused(400, body | {"type": "https://api.twitter.com/2/problems/invalid-request"})
