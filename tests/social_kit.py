"""What tests of posts and messages share: requests, images, and nodes whose accounts lie at a provider on loopback."""

from __future__ import annotations

import hashlib
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fakes import linkedin, meta, x
from tests.fakes.desk import Desk
from utils.adapters.social.http import Api
from utils.core.stages import Stage
from utils.core.task import ApprovalRequest, format_time, make_id, request_from, request_id, with_draft

TEXT = "We are open again (from 9 to 5) & happy: #reopening *at* example.org/news"
NUMBER = "+43660123456"
PICTURE = "Social/shop.jpg"
#: A template as WhatsApp lists it, and as it reads filled with "Ann" and "Monday".
HELLO = {
    "name": "hello", "language": "de", "status": "APPROVED",
    "components": [
        {"type": "HEADER", "format": "TEXT", "text": "Our shop"},
        {"type": "BODY", "text": "Hello {{1}}, we open on {{2}}."},
        {"type": "FOOTER", "text": "Write STOP to end this"},
        {"type": "BUTTONS", "buttons": [{"type": "URL", "text": "Shop", "url": "https://example.org"}]},
    ],
}  # fmt: skip
HELLO_TEXT = "Our shop\n\nHello Ann, we open on Monday.\n\nWrite STOP to end this\n\n[Shop]"
#: A JPEG's frame header and a PNG's, which say how large the picture is.
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"


def jpeg(width: int = 800, height: int = 800) -> bytes:
    """The beginning of a JPEG of this size."""
    return JPEG + b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", height, width) + b"\x03\x01\x22\x00" + b"\xff\xd9"


def png(width: int = 800, height: int = 800) -> bytes:
    """The beginning of a PNG of this size."""
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, height) + b"\x08\x02\x00\x00\x00"


def image(data: bytes, path: str = PICTURE, alt: str = "Our shop, its door open") -> dict[str, str]:
    """The field `image` that freezes these bytes."""
    return {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "alt": alt}


def settings(url: str) -> dict[str, str]:
    """Settings of a node whose accounts all lie at `url`."""
    return {
        "PROVIDER_TIMEOUT_SECONDS": "60",
        "LINKEDIN_API_URL": url,
        "LINKEDIN_AUTHOR": linkedin.AUTHOR,
        "LINKEDIN_TOKEN": linkedin.TOKEN,
        "LINKEDIN_VERSION": linkedin.VERSION,
        "GRAPH_API_URL": url,
        "GRAPH_API_VERSION": meta.VERSION,
        "FACEBOOK_PAGE_ID": meta.PAGE,
        "FACEBOOK_PAGE_TOKEN": meta.PAGE_TOKEN,
        "INSTAGRAM_USER_ID": meta.IG_USER,
        "X_API_URL": url,
        "X_API_KEY": x.KEY,
        "X_API_SECRET": x.SECRET,
        "X_ACCESS_TOKEN": x.TOKEN,
        "X_ACCESS_SECRET": x.TOKEN_SECRET,
        "WHATSAPP_PHONE_NUMBER_ID": meta.PHONE,
        "WHATSAPP_BUSINESS_ACCOUNT_ID": meta.WABA,
        "WHATSAPP_TOKEN": meta.WHATSAPP_TOKEN,
    }


def meta_of(action: str, now: datetime, key: str = "one", **fields: Any) -> dict[str, Any]:
    """The front matter of a request."""
    task_id = make_id("social", datetime(2026, 6, 1, 9, tzinfo=UTC), key)
    given = {"source": {}, **fields}
    if action == "whatsapp_send" and "template" not in fields:
        given = {"to": NUMBER, **given}
        given["source"] = given["source"] or {"from_number": NUMBER, "received": format_time(now - timedelta(hours=1))}
    return {
        "id": request_id(task_id, action),
        "type": "whatsapp" if action == "whatsapp_send" else "social_media",
        "domain": "social",
        "created": format_time(now),
        "created_by": "local",
        "priority": "normal",
        "action": action,
        "expires": format_time(now + timedelta(hours=72)),
        "risk": [],
        "why": "it was asked for",
        "drafted_by": "builtin",
        **given,
    }


def request(action: str, text: str = TEXT, now: datetime | None = None, **fields: Any) -> ApprovalRequest:
    """A request as the rules see it."""
    now = now or datetime(2026, 6, 1, 12, tzinfo=UTC)
    return request_from(meta_of(action, now, **fields), with_draft("", text))


def waiting(desk: Desk, action: str, text: str = TEXT, key: str = "one", **fields: Any) -> Path:
    """A request in `Pending_Approval/`, with the picture in the vault if it has one."""
    if action == "instagram_post" and "image" not in fields:
        fields["image"] = put_picture(desk)
    found = meta_of(action, desk.clock.now(), key, **fields)
    return desk.node.claims.create(Stage.PENDING_APPROVAL, found, with_draft("", text))


def put_picture(desk: Desk, data: bytes | None = None, path: str = PICTURE) -> dict[str, str]:
    """Put a picture into the vault, and say so in a field."""
    data = jpeg() if data is None else data
    target = desk.vault / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return image(data, path)


def impatient(monkeypatch: pytest.MonkeyPatch, start: str) -> None:
    """Calls that begin so wait a moment only, all others as long as it takes: for a provider that stays silent."""
    real = Api._call

    def call(api: Api, method: str, path: str, *more: Any) -> Any:
        where = path if "://" in path else f"{api.base}{path}"
        if not f"{method} {urlsplit(where).path}".startswith(start):
            return real(api, method, path, *more)
        with monkeypatch.context() as hurried:  # what looks for evidence afterwards waits as long as it takes
            hurried.setattr(api, "_timeout", 0.3)
            return real(api, method, path, *more)

    monkeypatch.setattr(Api, "_call", call)
