"""Posts on Instagram (Instagram platform with Facebook Login, "Publish Content").

Instagram fetches an image itself, from an address that is open to all. The Page that every such account is connected to
lends one: the image is uploaded there unpublished and temporary, and its address is what the container is made from.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from utils.adapters.social.facebook import upload, when
from utils.adapters.social.graph import graph
from utils.adapters.social.http import field_of
from utils.core.acting import Absence, Receipt
from utils.core.social import Post, same_text
from utils.ports import AdapterError

#: Seconds to wait between looks at a container that is in progress; images take a moment, and minutes at most.
_PAUSES = (1, 2, 4, 8, 15, 30)
_LATEST = 50


class Instagram:
    """Posts as the professional account `user_id`, with the token of the Page `page_id` that it is connected to."""

    def __init__(
        self,
        base: str,
        token: str,
        *,
        user_id: str,
        page_id: str,
        version: str,
        timeout: float,
        pause: Callable[[float], object],
    ) -> None:
        self._user, self._page, self._pause = user_id, page_id, pause
        self._api = graph(
            "Instagram", base, version, token, timeout=timeout, credentials="FACEBOOK_PAGE_TOKEN, INSTAGRAM_USER_ID"
        )

    def prepare(self, post: Post) -> str:
        """Make a container and wait until it can be published: its id. Raises `AdapterError`."""
        photo = upload(self._api, self._page, post, temporary=True)
        images = field_of(self._api.read("GET", f"/{photo}", params={"fields": "images"}).body, "images")
        sources = [(field_of(image, "width") or 0, field_of(image, "source")) for image in images or []]
        _, address = max(sources, key=lambda source: source[0], default=(0, None))
        if not isinstance(address, str):
            raise AdapterError("Facebook named no address of the uploaded image", retry=True)
        form = {"image_url": address, "caption": post.text}
        if post.image is not None and post.image.alt:
            form["alt_text"] = post.image.alt
        container = field_of(self._api.read("POST", f"/{self._user}/media", data=form).body, "id")
        if not isinstance(container, str):
            raise AdapterError("Instagram named no container for the image", retry=True)
        for pause in (*_PAUSES, None):
            state, said = self._state(container)
            if state == "FINISHED":
                return container
            if state != "IN_PROGRESS" or pause is None:
                raise AdapterError(f"Instagram could not take the image: {said or state}", retry=state == "IN_PROGRESS")
            self._pause(pause)
        raise AssertionError  # the loop ends by itself

    def publish(self, post: Post, media: str) -> Receipt:
        """Publish the container `media`. Raises `AdapterError` or `OutcomeUnknown`."""
        answer = self._api.act("POST", f"/{self._user}/media_publish", data={"creation_id": media})
        identifier = field_of(answer.body, "id")
        if not isinstance(identifier, str):
            raise self._api.lost("the post's id")
        return Receipt("instagram", identifier, f"from container {media}")

    def find(self, post: Post, media: str, since: datetime) -> Receipt | Absence:
        """What became of the container. Raises `AdapterError`.

        `EXPIRED` and `ERROR` are ends in which nothing was published. `FINISHED` says that it could be: whether a call
        that got lost will still do it, nobody knows.
        """
        state, _ = self._state(media)
        if state == "PUBLISHED":
            # The container is proof; which post it became, only its caption tells, which another post may have too.
            seen = self._media_id(post, since)
            return Receipt("instagram", f"container {media}", f"published; post {seen}" if seen else "published")
        return Absence.PROVEN if state in ("EXPIRED", "ERROR") else Absence.OPEN

    def _state(self, container: str) -> tuple[str, str]:
        body = self._api.read("GET", f"/{container}", params={"fields": "status_code,status"}).body
        return str(field_of(body, "status_code")), str(field_of(body, "status") or "")

    def _media_id(self, post: Post, since: datetime) -> str | None:
        """The id of the published post, for people; None where it can't be told."""
        asked: dict[str, str | int] = {"fields": "id,caption,timestamp", "limit": _LATEST}
        try:
            found = field_of(self._api.read("GET", f"/{self._user}/media", params=asked).body, "data") or []
        except AdapterError:
            return None
        for entry in found:
            at = when(field_of(entry, "timestamp"))
            if at is not None and at >= since and same_text(post.text, str(field_of(entry, "caption") or "")):
                return str(field_of(entry, "id"))
        return None
