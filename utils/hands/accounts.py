"""The accounts that this node acts with, out of the settings: which client, whose name, what is missing."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from utils.core.acting import Order
from utils.core.task import ApprovalRequest, InvalidTask
from utils.hands.social import Channel, SocialHand
from utils.hands.whatsapp import Sender, WhatsAppHand
from utils.ports import AdapterError, Hand
from utils.settings import Settings

#: What each action's account needs; any of them empty, and there is none.
NEEDS = {
    "linkedin_post": ("linkedin_author", "linkedin_token"),
    "facebook_post": ("facebook_page_id", "facebook_page_token"),
    "instagram_post": ("instagram_user_id", "facebook_page_id", "facebook_page_token"),
    "twitter_post": ("x_api_key", "x_api_secret", "x_access_token", "x_access_secret"),
    "whatsapp_send": ("whatsapp_phone_number_id", "whatsapp_token"),
}


def social_hand(action: str, s: Settings, now: Callable[[], datetime]) -> SocialHand:
    """Who publishes for this action. Nothing is opened before it is needed."""
    channel, account = _CHANNELS[action]
    return SocialHand(action, lambda: channel(s), s.vault_path, now, account=account(s), missing=_missing(action, s))


def whatsapp_hand(s: Settings, now: Callable[[], datetime]) -> WhatsAppHand:
    """Who sends by WhatsApp."""

    def sender() -> Sender:
        from utils.adapters.social.whatsapp import WhatsApp

        return WhatsApp(
            s.graph_api_url,
            s.whatsapp_token,
            phone_id=s.whatsapp_phone_number_id,
            account_id=s.whatsapp_business_account_id,
            version=s.graph_api_version,
            timeout=s.provider_timeout_seconds,
            webhooks=s.whatsapp_webhooks_path,
        )

    account = f"number {s.whatsapp_phone_number_id}"
    return WhatsAppHand(sender, now, account=account, missing=_missing("whatsapp_send", s))


def lack(hand: Hand, action: str, now: datetime) -> str | None:
    """Which account is missing to carry out an action, or None: a hand says so before it looks at the request."""
    words: dict[str, Any] = dict.fromkeys(("type", "domain", "created", "created_by", "why", "drafted_by", "draft"), "")
    empty: dict[str, Any] = {"priority": "normal", "source": {}, "meta": {}, "body": "", "fields": {}, "risk": ()}
    request = ApprovalRequest(**words, **empty, id="", action=action, expires=now, source_task=None)
    try:
        hand.plan(Order("0" * 32, request, now))
    except AdapterError as error:
        return str(error)
    except InvalidTask:  # it was looked at
        return None
    return None


def _missing(action: str, s: Settings) -> tuple[str, ...]:
    return tuple(name.upper() for name in NEEDS[action] if not getattr(s, name))


def _linkedin(s: Settings) -> Channel:
    from utils.adapters.social.linkedin import LinkedIn

    return LinkedIn(
        s.linkedin_api_url,
        s.linkedin_token,
        author=s.linkedin_author,
        version=s.linkedin_version,
        timeout=s.provider_timeout_seconds,
    )


def _facebook(s: Settings) -> Channel:
    from utils.adapters.social.facebook import FacebookPage

    return FacebookPage(
        s.graph_api_url,
        s.facebook_page_token,
        page_id=s.facebook_page_id,
        version=s.graph_api_version,
        timeout=s.provider_timeout_seconds,
    )


def _instagram(s: Settings) -> Channel:
    from utils.adapters.social.instagram import Instagram

    return Instagram(
        s.graph_api_url,
        s.facebook_page_token,
        user_id=s.instagram_user_id,
        page_id=s.facebook_page_id,
        version=s.graph_api_version,
        timeout=s.provider_timeout_seconds,
        pause=time.sleep,
    )


def _x(s: Settings) -> Channel:
    from utils.adapters.social.x import Keys, X

    keys = Keys(s.x_api_key, s.x_api_secret, s.x_access_token, s.x_access_secret)
    return X(s.x_api_url, keys, timeout=s.provider_timeout_seconds)


#: The client of each action, and as whom it acts.
_CHANNELS: dict[str, tuple[Callable[[Settings], Channel], Callable[[Settings], str]]] = {
    "linkedin_post": (_linkedin, lambda s: s.linkedin_author),
    "facebook_post": (_facebook, lambda s: f"Page {s.facebook_page_id}"),
    "instagram_post": (_instagram, lambda s: f"account {s.instagram_user_id}"),
    "twitter_post": (_x, lambda s: "the account of X_ACCESS_TOKEN"),
}
