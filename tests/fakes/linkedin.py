"""LinkedIn's Posts and Images API: strict, as published for the version that it serves."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from tests.fakes.provider import Answer, Call, Provider, Refused

TOKEN = "AQ-linkedin-token"
AUTHOR = "urn:li:organization:5515715"
VERSION = "202605"
_FIELDS = {
    "author", "commentary", "visibility", "distribution", "content", "lifecycleState", "isReshareDisabledByAuthor",
}  # fmt: skip
_RESERVED = re.compile(r"(?<!\\)(?:\\\\)*[|{}@\[\]()<>*_~]")


class LinkedInServer(Provider):
    """`may_read`: whether the token has r_organization_social. The ledger keeps posts as readers see them."""

    may_read = True

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.images: dict[str, bytes] = {}

    def throttled(self) -> Answer:
        return 429, {"status": 429, "code": "TOO_MANY_REQUESTS", "message": "Resource level throttle limit"}, {}

    def expired(self) -> Answer:
        return 401, {"status": 401, "code": "EXPIRED_ACCESS_TOKEN", "message": "The token used has expired"}, {}

    def route(self, call: Call) -> Answer:
        if call.headers.get("authorization") != f"Bearer {TOKEN}":
            raise Refused(401, {"status": 401, "code": "INVALID_ACCESS_TOKEN", "message": "Invalid access token"})
        if call.method == "PUT" and call.path.startswith("/dms-uploads/"):
            return self._upload(call)
        if call.headers.get("x-restli-protocol-version") != "2.0.0":
            raise _bad("X-Restli-Protocol-Version")
        if call.headers.get("linkedin-version") != VERSION:
            code = {"status": 426, "code": "NONEXISTENT_VERSION", "message": "Requested version is not active"}
            raise Refused(426, code)
        if (call.method, call.path) == ("POST", "/rest/images") and call.query == {"action": "initializeUpload"}:
            return self._initialize(call)
        if (call.method, call.path) == ("POST", "/rest/posts"):
            return self._create(call)
        if (call.method, call.path) == ("GET", "/rest/posts"):
            return self._find(call)
        raise Refused(404, {"status": 404, "code": "RESOURCE_NOT_FOUND", "message": "No virtual resource found"})

    def _initialize(self, call: Call) -> Answer:
        if call.json != {"initializeUploadRequest": {"owner": AUTHOR}}:
            raise _bad("initializeUploadRequest")
        urn = f"urn:li:image:C{len(self.images)}"
        self.images[urn] = b""
        return 200, {"value": {"uploadUrl": f"{self.url}/dms-uploads/{urn}", "image": urn, "uploadUrlExpiresAt": 1}}, {}

    def _upload(self, call: Call) -> Answer:
        urn = unquote(call.path.rpartition("/")[2])
        if not call.body or self.images.get(urn) != b"":
            raise _bad("upload")
        self.images[urn] = call.body
        return 201, None, {}

    def _create(self, call: Call) -> Answer:
        body = call.json
        if set(body) - _FIELDS or not isinstance(body.get("commentary"), str):
            raise _bad(f"fields {sorted(body)}")
        distribution = {"feedDistribution": "MAIN_FEED", "targetEntities": [], "thirdPartyDistributionChannels": []}
        fixed = {"author": AUTHOR, "visibility": "PUBLIC", "lifecycleState": "PUBLISHED", "distribution": distribution}
        for name, value in fixed.items():
            if body.get(name) != value:
                raise _bad(name)
        self._check_content(body.get("content"))
        # Documented by those who met it: the text ends where an unescaped reserved character stands.
        text = re.sub(r"\\(.)", r"\1", _RESERVED.split(body["commentary"])[0], flags=re.DOTALL)
        if len(text) > 3000:
            raise _bad("commentary")
        if any((post["text"], post["content"]) == (text, body.get("content")) for post in self.ledger):
            raise Refused(422, {"status": 422, "code": "DUPLICATE_POST", "message": "Content is a duplicate of it"})
        urn = f"urn:li:share:{7000 + len(self.ledger)}"
        at = int(self.now().timestamp() * 1000)
        self.ledger.append({"id": urn, "text": text, "content": body.get("content"), "sent": body, "at": at})
        return 201, None, {"x-restli-id": urn}

    def _check_content(self, content: Any) -> None:
        if content is None:
            return
        if set(content) == {"media"}:
            media = content["media"]
            if set(media) - {"id", "altText"} or not self.images.get(media.get("id")):
                raise _bad("content.media")
        elif set(content) == {"article"}:
            if (
                set(content["article"]) - {"source", "title", "description", "thumbnail"}
                or not content["article"]["title"]
            ):
                raise _bad("content.article")
        else:
            raise _bad("content")

    def _find(self, call: Call) -> Answer:
        if not self.may_read:
            said = "Not enough permissions to access: partnerApiPostsExternal.FINDER-author.20260501"
            raise Refused(403, {"status": 403, "code": "ACCESS_DENIED", "message": said})
        wanted = {"q": "author", "author": AUTHOR, "count": "100", "sortBy": "CREATED"}
        if call.headers.get("x-restli-method") != "FINDER" or call.query != wanted:
            raise _bad("finder")
        elements = [
            {
                "id": post["id"],
                "author": AUTHOR,
                "commentary": re.sub(r"(?<!\\)#(\w+)", r"{hashtag|\\#|\1}", post["sent"]["commentary"]),
                "createdAt": post["at"],
                "lifecycleState": "PUBLISHED",
                **({"content": post["content"]} if post["content"] else {}),
            }
            for post in reversed(self.ledger)
        ]
        return 200, {"elements": elements, "paging": {"start": 0, "count": 100, "links": []}}, {}


def _bad(what: str) -> Refused:
    return Refused(400, {"status": 400, "code": "INVALID_PARAM", "message": f"Invalid param: {what}"})
