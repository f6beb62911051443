"""LinkedIn's Posts API and Images API (learn.microsoft.com, LinkedIn Marketing, Community Management)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

from utils.adapters.social.http import Answer, Api, Bearer, field_of, shown
from utils.core.acting import Absence, Receipt
from utils.core.social import Post, same_text
from utils.ports import AdapterError

_LATEST = 100
#: What the "little text format" reserves. A hash sign before a letter stays: it makes the hashtag that it shows.
_RESERVED = re.compile(r"[|{}@\[\]()<>\\*_~]|#(?!\w)")
_ESCAPED = re.compile(r"\\([|{}@\[\]()<>\\*_~#])")
_HASHTAG = re.compile(r"\{hashtag\|\\?#\|([^}]*)\}")


class LinkedIn:
    """Posts as `author`, the URN of an organization or a person."""

    def __init__(self, base: str, token: str, *, author: str, version: str, timeout: float) -> None:
        headers = {"LinkedIn-Version": version, "X-Restli-Protocol-Version": "2.0.0"}
        self._author = author
        self._api = Api(
            "LinkedIn", base, Bearer(token), timeout=timeout, credentials="LINKEDIN_TOKEN, LINKEDIN_AUTHOR",
            headers=headers, explain=_explain,
        )  # fmt: skip

    def prepare(self, post: Post) -> str:
        """Upload the image: its URN, or "" where there is none. Raises `AdapterError`."""
        if post.image is None:
            return ""
        asked = {"initializeUploadRequest": {"owner": self._author}}
        value = field_of(self._api.read("POST", "/rest/images?action=initializeUpload", json=asked).body, "value")
        url, urn = field_of(value, "uploadUrl"), field_of(value, "image")
        if not isinstance(urn, str) or not isinstance(url, str) or not self._is_theirs(url):
            raise AdapterError("LinkedIn named no place to upload the image to", retry=True)
        self._api.read("PUT", url, data=post.data, headers={"Content-Type": "application/octet-stream"})
        return urn

    def publish(self, post: Post, media: str) -> Receipt:
        """Publish at once, for everyone. Raises `AdapterError` or `OutcomeUnknown`."""
        body: dict[str, Any] = {
            "author": self._author,
            "commentary": little_text(post.text),
            "visibility": "PUBLIC",
            "distribution": {
                "feedDistribution": "MAIN_FEED",
                "targetEntities": [],
                "thirdPartyDistributionChannels": [],
            },
            "lifecycleState": "PUBLISHED",
            "isReshareDisabledByAuthor": False,
        }
        if media and post.image is not None:
            body["content"] = {"media": {"id": media, **({"altText": post.image.alt} if post.image.alt else {})}}
        elif post.link:
            body["content"] = {"article": {"source": post.link, "title": post.link[:400]}}
        answer = self._api.act("POST", "/rest/posts", json=body)
        urn = answer.headers.get("x-restli-id")
        if not urn:
            raise self._api.lost("the post's id")
        return _receipt(urn)

    def find(self, post: Post, media: str, since: datetime) -> Receipt | Absence:
        """Our own post with this text since then. Its absence proves nothing. Raises `AdapterError`."""
        path = f"/rest/posts?author={quote(self._author, safe='')}&q=author&count={_LATEST}&sortBy=CREATED"
        answer = self._api.read("GET", path, headers={"X-RestLi-Method": "FINDER"})
        for element in field_of(answer.body, "elements") or []:
            at = field_of(element, "createdAt")
            if not isinstance(at, int) or datetime.fromtimestamp(at / 1000, UTC) < since:
                continue
            theirs = field_of(element, "content", "media", "id") or ""
            if theirs == media and same_text(post.text, plain_text(str(field_of(element, "commentary") or ""))):
                return _receipt(str(field_of(element, "id")))
        return Absence.OPEN

    def _is_theirs(self, url: str) -> bool:
        """Whether the token may travel there: LinkedIn itself, or the very host that is configured."""
        parts, own = urlsplit(url), urlsplit(self._api.base)
        host = parts.hostname or ""
        return (parts.scheme, parts.netloc) == (own.scheme, own.netloc) or (
            parts.scheme == "https" and (host == "linkedin.com" or host.endswith(".linkedin.com"))
        )


def little_text(text: str) -> str:
    """Text in LinkedIn's "little text format", so that it reads as it is written; unescaped, a bracket cuts it off."""
    return _RESERVED.sub(lambda match: f"\\{match[0]}", text)


def plain_text(little: str) -> str:
    """What a text in that format reads as; inverse of `little_text`."""
    return _ESCAPED.sub(r"\1", _HASHTAG.sub(r"#\1", little))


def _explain(answer: Answer) -> str:
    said = shown(field_of(answer.body, "message"))
    if answer.status == 426:
        return f"{said} (LINKEDIN_VERSION is no longer served: set a newer month)"
    return said


def _receipt(urn: str) -> Receipt:
    return Receipt("linkedin", urn, f"https://www.linkedin.com/feed/update/{urn}/")
