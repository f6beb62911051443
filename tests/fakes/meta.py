"""Meta's Graph API as far as a Page, an Instagram account and a WhatsApp number need it: strict, one host for all."""

from __future__ import annotations

import json
import re
from datetime import UTC
from typing import Any

from tests.fakes.provider import Answer, Call, Provider, Refused

PAGE, PAGE_TOKEN, IG_USER = "1101", "EAA-page-token", "17841400008460056"
PHONE, WABA, WHATSAPP_TOKEN = "106540352242922", "102290129340398", "EAA-whatsapp-token"
VERSION = "v25.0"


class MetaServer(Provider):
    """`states`: what a container says when it is asked, one after the other, before it says the truth.

    The ledger keeps posts (`kind` facebook, instagram) and messages (`whatsapp`); `hidden` ones are in no timeline yet.
    """

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.photos: dict[str, dict[str, Any]] = {}
        self.containers: dict[str, dict[str, Any]] = {}
        self.states: list[str] = []
        self.templates: list[dict[str, Any]] = []
        self.hidden = False
        self._next = 9000

    def throttled(self) -> Answer:
        return _error(400, 32, "Page request limit reached")

    def expired(self) -> Answer:
        return _error(400, 190, "Error validating access token: Session has expired")

    def route(self, call: Call) -> Answer:
        assert "access_token" not in call.query, "a token in an address is logged everywhere"
        match = re.fullmatch(rf"/{re.escape(VERSION)}/(\d+)(?:/(\w+))?", call.path)
        if match is None:
            raise Refused(*_error(400, 2500, "Unknown path components"))
        node, edge = match[1], match[2] or ""
        token = WHATSAPP_TOKEN if node in (PHONE, WABA) else PAGE_TOKEN
        if call.headers.get("authorization") != f"Bearer {token}":
            raise Refused(*_error(400, 190, "Invalid OAuth access token"))
        routes = {
            ("POST", PAGE, "photos"): self._photo,
            ("POST", PAGE, "feed"): self._feed,
            ("GET", PAGE, "published_posts"): self._published,
            ("POST", IG_USER, "media"): self._container,
            ("POST", IG_USER, "media_publish"): self._publish,
            ("GET", IG_USER, "media"): self._media,
            ("POST", PHONE, "messages"): self._message,
            ("GET", WABA, "message_templates"): self._templates,
        }
        if (call.method, node, edge) in routes:
            return routes[call.method, node, edge](call)
        if call.method == "GET" and not edge and node in self.photos:
            _only(call.query, fields="images")
            source = f"https://scontent.example/{node}.jpg"
            small = {"width": 10, "height": 10, "source": source + "?small"}
            return 200, {"id": node, "images": [small, {"width": 800, "height": 800, "source": source}]}, {}
        if call.method == "GET" and not edge and node in self.containers:
            _only(call.query, fields="status_code,status")
            state = self.states.pop(0) if self.states else self.containers[node]["state"]
            return 200, {"id": node, "status_code": state, "status": f"{state}: as documented"}, {}
        raise Refused(*_error(400, 100, f"Unsupported {call.method.lower()} request: object {node} does not exist"))

    def _photo(self, call: Call) -> Answer:
        form, files = call.form, call.files
        if set(form) - {"published", "temporary", "alt_text_custom"} or set(files) != {"source"} or not files["source"]:
            raise _invalid(f"fields {sorted(form)}, files {sorted(files)}")
        if form.get("published") != "false":
            self._post("facebook", message="", photo=True)
        identifier = self._id()
        self.photos[identifier] = {**form, "data": files["source"]}
        return 200, {"id": identifier}, {}

    def _feed(self, call: Call) -> Answer:
        form = call.form
        if set(form) - {"message", "link", "published", "attached_media"}:
            raise _invalid(f"fields {sorted(form)}")
        media = [entry["media_fbid"] for entry in json.loads(form.get("attached_media", "[]"))]
        if any(photo not in self.photos for photo in media) or not (form.get("message") or media or form.get("link")):
            raise _invalid("attached_media or message")
        same = [one for one in self._of("facebook") if (one["message"], one["media"]) == (form["message"], media)]
        if same:
            raise Refused(*_error(400, 506, "Duplicate status message"))
        post = self._post("facebook", message=form["message"], media=media, link=form.get("link", ""))
        return 200, {"id": post["id"]}, {}

    def _published(self, call: Call) -> Answer:
        since = int(call.query.get("since", "0"))
        _only(call.query, fields="id,message,created_time", limit="100", since=str(since))
        data = [
            {
                "id": post["id"],
                "created_time": _time(post["at"]),
                **({"message": post["message"]} if post["message"] else {}),
            }
            for post in self._of("facebook")
            if post["at"].timestamp() >= since
        ]
        return 200, {"data": list(reversed(data))}, {}

    def _container(self, call: Call) -> Answer:
        form = call.form
        if set(form) - {"image_url", "caption", "alt_text"} or len(form.get("caption", "")) > 2200:
            raise _invalid(f"fields {sorted(form)}")
        photo = re.fullmatch(r"https://scontent\.example/(\d+)\.jpg", form.get("image_url", ""))
        if photo is None or not self.photos[photo[1]]["data"].startswith(b"\xff\xd8\xff"):
            raise Refused(*_error(400, 9004, "Only photo or video can be accepted as media type"))
        identifier = self._id()
        self.containers[identifier] = {"state": "FINISHED", "photo": photo[1], **form}
        return 200, {"id": identifier}, {}

    def _publish(self, call: Call) -> Answer:
        form = call.form
        container = self.containers.get(form.get("creation_id", ""))
        if set(form) != {"creation_id"} or container is None or container["state"] != "FINISHED":
            raise Refused(*_error(400, 9007, "Media ID is not available"))
        container["state"] = "PUBLISHED"
        post = self._post("instagram", caption=container["caption"], photo=container["photo"])
        return 200, {"id": post["id"]}, {}

    def _media(self, call: Call) -> Answer:
        _only(call.query, fields="id,caption,timestamp", limit="50")
        data = [
            {"id": post["id"], "caption": post["caption"], "timestamp": _time(post["at"])}
            for post in self._of("instagram")
        ]
        return 200, {"data": list(reversed(data))}, {}

    def _message(self, call: Call) -> Answer:
        body = call.json
        kind = body.get("type")
        common = {"messaging_product", "recipient_type", "to", "type", "biz_opaque_callback_data"}
        if set(body) != common | {kind} or body["messaging_product"] != "whatsapp":
            raise _invalid(f"fields {sorted(body)}")
        if not re.fullmatch(r"\+\d{7,15}", body["to"]) or len(body["biz_opaque_callback_data"]) > 512:
            raise _invalid("to")
        if kind == "text":
            if set(body["text"]) != {"body", "preview_url"} or not 0 < len(body["text"]["body"]) <= 4096:
                raise _invalid("text")
        elif kind == "template":
            self._check_template(body["template"])
        else:
            raise _invalid("type")
        post = self._post("whatsapp", to=body["to"], sent=body)
        wamid = f"wamid.{post['id']}"
        contacts = [{"input": body["to"], "wa_id": body["to"].lstrip("+")}]
        messages = [{"id": wamid, "message_status": "accepted"}]
        return 200, {"messaging_product": "whatsapp", "contacts": contacts, "messages": messages}, {}

    def _check_template(self, sent: dict[str, Any]) -> None:
        names = [(one["name"], one["language"]) for one in self.templates]
        if set(sent) - {"name", "language", "components"} or (sent["name"], sent["language"]["code"]) not in names:
            raise Refused(*_error(404, 132001, "Template name does not exist in the translation"))
        for component in sent.get("components", []):
            for parameter in component["parameters"]:
                if set(parameter) - {"type", "text", "parameter_name"} or parameter["type"] != "text":
                    raise Refused(*_error(400, 132012, "Parameter format does not match"))

    def _templates(self, call: Call) -> Answer:
        _only(call.query, name=call.query.get("name", ""), fields="name,language,status,components")
        return 200, {"data": [one for one in self.templates if call.query["name"] in one["name"]]}, {}

    def _post(self, kind: str, **fields: Any) -> dict[str, Any]:
        post = {
            "kind": kind,
            "id": f"{PAGE}_{self._id()}" if kind == "facebook" else self._id(),
            "at": self.now(),
            **fields,
        }
        self.ledger.append(post)
        return post

    def _of(self, kind: str) -> list[dict[str, Any]]:
        return [] if self.hidden else [post for post in self.ledger if post["kind"] == kind]

    def _id(self) -> str:
        self._next += 1
        return str(self._next)


def _time(at: Any) -> str:
    return str(at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+0000"))


def _only(query: dict[str, str], **wanted: str) -> None:
    if query != wanted:
        raise _invalid(f"query {query}")


def _invalid(what: str) -> Refused:
    return Refused(*_error(400, 100, f"Invalid parameter: {what}"))


def _error(status: int, code: int, message: str) -> Answer:
    error = {"message": f"(#{code}) {message}", "type": "OAuthException", "code": code, "fbtrace_id": "A"}
    return status, {"error": error}, {}
