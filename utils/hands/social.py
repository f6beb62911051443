"""Posts on LinkedIn, a Facebook Page, Instagram and X: one hand for all, over a channel a provider."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from utils.core import social
from utils.core.acting import Absence, Order, Plan, Receipt
from utils.core.social import LIMITS, Post
from utils.core.task import InvalidTask
from utils.hands.marks import Mark, forget_mark, read_mark
from utils.ports import AdapterError
from utils.vault import images

#: How far the clocks of this node and of a provider may be apart.
SKEW = timedelta(minutes=2)


class Channel(Protocol):
    """One provider. Nothing that `prepare` does is seen by anybody; `publish` is the one call that commits."""

    def prepare(self, post: Post) -> str:
        """Upload what the post needs: the provider's id of it, or "". Raises `AdapterError`."""

    def publish(self, post: Post, media: str) -> Receipt:
        """Raises `AdapterError` where certainly nothing was published, else `OutcomeUnknown`."""

    def find(self, post: Post, media: str, since: datetime) -> Receipt | Absence:
        """What is there of it since then. Raises `AdapterError` where it could not look."""


def check_account(provider: str, missing: Sequence[str]) -> None:
    """Raise `AdapterError` where settings of an account are missing."""
    if missing:
        raise AdapterError(f"no account of {provider} is set up here: {', '.join(missing)}", retry=False)


class SocialHand:
    """Publishes what one action asks for. `missing`: settings that this account lacks; `account`: who posts.

    `channel` is asked for when it is first needed; `vault`: where images lie; `now`: the clock.
    """

    def __init__(
        self,
        action: str,
        channel: Callable[[], Channel],
        vault: Path,
        now: Callable[[], datetime],
        *,
        account: str,
        missing: Sequence[str] = (),
    ) -> None:
        self.provider = LIMITS[action].provider
        self._channel = channel
        self._vault = vault
        self._now = now
        self._account = account
        self._missing = missing

    def plan(self, order: Order) -> Plan:
        """Everything the provider's limits allow to check, the image's bytes included as long as nothing was begun.

        Raises `InvalidTask`; `AdapterError` where no account is set up.
        """
        check_account(self.provider, self._missing)
        post = social.post(order.request) if order.reference else images.whole(self._vault, order.request)
        shown = [("Posts on", self.provider), ("As", self._account), ("Text", post.text)]
        if post.link:
            shown.append(("Link", post.link))
        if post.image is not None:
            shown += [("Image", post.image.file.path), ("Described as", post.image.alt)]
        return Plan(order.action_id, shown=tuple(shown))

    def act(self, order: Order, plan: Plan, prepared: Callable[[str], None]) -> Receipt:
        """Upload, note, publish. Raises `AdapterError` or `OutcomeUnknown`."""
        try:
            post = images.whole(self._vault, order.request)
        except InvalidTask as error:
            raise AdapterError(str(error), retry=False) from error
        channel = self._channel()
        forget_mark(order, prepared)
        made = channel.prepare(post)
        prepared(str(Mark(self._now(), made)))
        return channel.publish(post, made)

    def find(self, order: Order, plan: Plan) -> Receipt | Absence:
        """By the container, or by the very text since the mark. Raises `AdapterError`."""
        check_account(self.provider, self._missing)
        mark = read_mark(order.prepared)
        if mark is None:
            return Absence.PROVEN
        return self._channel().find(social.post(order.request), mark.made, mark.at - SKEW)
