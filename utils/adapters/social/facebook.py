"""Posts on a Facebook Page (Graph API: Page Feed, Page Photos, Page Published Posts)."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from utils.adapters.social.graph import graph
from utils.adapters.social.http import Api, field_of
from utils.core.acting import Absence, Receipt
from utils.core.social import Post, same_text
from utils.ports import AdapterError

_LATEST = 100


class FacebookPage:
    """Posts as the Page `page_id`, with that Page's token."""

    def __init__(self, base: str, token: str, *, page_id: str, version: str, timeout: float) -> None:
        self._page = page_id
        self._api = graph(
            "Facebook", base, version, token, timeout=timeout, credentials="FACEBOOK_PAGE_TOKEN, FACEBOOK_PAGE_ID"
        )

    def prepare(self, post: Post) -> str:
        """Upload the image unpublished: its id, or "" where there is none. Raises `AdapterError`."""
        return upload(self._api, self._page, post) if post.image is not None else ""

    def publish(self, post: Post, media: str) -> Receipt:
        """Publish at once. Raises `AdapterError` or `OutcomeUnknown`."""
        form = {"message": post.text, "published": "true"}
        if media:
            form["attached_media"] = json.dumps([{"media_fbid": media}])
        if post.link:
            form["link"] = post.link
        identifier = field_of(self._api.act("POST", f"/{self._page}/feed", data=form).body, "id")
        if not isinstance(identifier, str):
            raise self._api.lost("the post's id")
        return _receipt(identifier)

    def find(self, post: Post, media: str, since: datetime) -> Receipt | Absence:
        """Our Page's own post with this text since then. Its absence proves nothing. Raises `AdapterError`."""
        if not post.text:  # one image without words is like another
            return Absence.OPEN
        asked: dict[str, str | int] = {
            "fields": "id,message,created_time",
            "limit": _LATEST,
            "since": int(since.timestamp()),
        }
        answer = self._api.read("GET", f"/{self._page}/published_posts", params=asked)
        for found in field_of(answer.body, "data") or []:
            at = when(field_of(found, "created_time"))
            if at is not None and at >= since and same_text(post.text, str(field_of(found, "message") or "")):
                return _receipt(str(field_of(found, "id")))
        return Absence.OPEN


def upload(api: Api, page: str, post: Post, *, temporary: bool = False) -> str:
    """Upload the image to the Page's photos without publishing it: its id. Raises `AdapterError`."""
    assert post.image is not None  # its callers have one
    form = {"published": "false", **({"temporary": "true"} if temporary else {})}
    if post.image.alt:
        form["alt_text_custom"] = post.image.alt
    name = "image." + post.image.kind.partition("/")[2]
    answer = api.read("POST", f"/{page}/photos", data=form, files={"source": (name, post.data, post.image.kind)})
    identifier = field_of(answer.body, "id")
    if not isinstance(identifier, str):
        raise AdapterError("Facebook took the image and named no id for it", retry=True)
    return identifier


def when(value: object) -> datetime | None:
    """A time as the Graph API writes it, `2026-01-02T03:04:05+0000`; None for all else."""
    try:
        return datetime.strptime(str(value), "%Y-%m-%dT%H:%M:%S%z").astimezone(UTC)
    except ValueError:
        return None


def _receipt(identifier: str) -> Receipt:
    return Receipt("facebook", identifier, f"https://www.facebook.com/{identifier}")
