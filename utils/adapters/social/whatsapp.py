"""WhatsApp Business Cloud API: messages, templates, and the file into which its webhooks were written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from utils.adapters.social.graph import graph
from utils.adapters.social.http import field_of
from utils.core.acting import Absence, Receipt
from utils.core.whatsapp import Message, Template, fill
from utils.ports import AdapterError


class WhatsApp:
    """Sends from the number `phone_id`. `account_id` (WABA) owns the templates. `webhooks`: a file, or None."""

    def __init__(
        self,
        base: str,
        token: str,
        *,
        phone_id: str,
        account_id: str,
        version: str,
        timeout: float,
        webhooks: Path | None = None,
    ) -> None:
        self._phone, self._account, self._webhooks = phone_id, account_id, webhooks
        self._api = graph(
            "WhatsApp", base, version, token, timeout=timeout, credentials="WHATSAPP_TOKEN, WHATSAPP_PHONE_NUMBER_ID"
        )

    def template_text(self, template: Template) -> str:
        """What the template will read, filled: header, text and footer with an empty line between, then its buttons.

        Raises `AdapterError`, for a template too that isn't approved or can't be filled from here.
        """
        if not self._account:
            raise AdapterError("a template can't be looked up: WHATSAPP_BUSINESS_ACCOUNT_ID is not set", retry=False)
        asked = {"name": template.name, "fields": "name,language,status,components"}
        answer = self._api.read("GET", f"/{self._account}/message_templates", params=asked)
        for found in field_of(answer.body, "data") or []:
            if (field_of(found, "name"), field_of(found, "language")) == (template.name, template.language):
                return _text_of(found, template)
        raise AdapterError(f"WhatsApp has no template {template.name!r} in {template.language}", retry=False)

    def send(self, message: Message, mark: str) -> Receipt:
        """Send it, with our mark for webhooks. Raises `AdapterError` or `OutcomeUnknown`."""
        body: dict[str, Any] = {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": message.to,
            "biz_opaque_callback_data": mark,
        }
        if message.template is None:
            body |= {"type": "text", "text": {"body": message.text, "preview_url": False}}
        else:
            body |= {"type": "template", "template": _template_body(message.template)}
        answer = self._api.act("POST", f"/{self._phone}/messages", json=body)
        messages = field_of(answer.body, "messages")
        first = messages[0] if isinstance(messages, list) and messages else {}
        identifier = field_of(first, "id")
        if not isinstance(identifier, str):
            raise self._api.lost("the message's id")
        return Receipt("whatsapp", identifier, f"{field_of(first, 'message_status') or 'accepted'} for {message.to}")

    def find(self, mark: str) -> Receipt | Absence:
        """What webhooks say of the message with our mark; only `failed` proves that nobody got it.

        Raises `AdapterError`.
        """
        failed = False
        for value in self._values():
            for status in _list(value, "statuses"):
                if field_of(status, "biz_opaque_callback_data") != mark:
                    continue
                if field_of(status, "status") in ("sent", "delivered", "read"):
                    return Receipt("whatsapp", str(field_of(status, "id")), f"{status['status']}, says a webhook")
                failed = failed or field_of(status, "status") == "failed"
        return Absence.PROVEN if failed else Absence.OPEN

    def last_message(self, number: str) -> datetime | None:
        """When this number last wrote to us, as far as webhooks tell."""
        times = [
            field_of(message, "timestamp")
            for value in self._values()
            for message in _list(value, "messages")
            if f"+{field_of(message, 'from')}" == number
        ]
        known = [int(time) for time in times if isinstance(time, str) and time.isdecimal() and len(time) < 12]
        return datetime.fromtimestamp(max(known), UTC) if known else None

    def _values(self) -> Iterator[Any]:
        """The `value` of each change in the file; lines that are no webhook are passed over. Raises `AdapterError`."""
        if self._webhooks is None:
            return
        try:
            with self._webhooks.open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    yield from _changes(line)
        except FileNotFoundError:
            return
        except OSError as error:
            raise AdapterError(f"WHATSAPP_WEBHOOKS_PATH can't be read: {error.strerror}", retry=True) from error


def _changes(line: str) -> Iterator[Any]:
    try:
        body = json.loads(line)
    except (ValueError, RecursionError):
        return
    for entry in _list(body, "entry"):
        for change in _list(entry, "changes"):
            yield field_of(change, "value")


def _list(body: Any, name: str) -> list[Any]:
    value = field_of(body, name)
    return value if isinstance(value, list) else []


def _template_body(template: Template) -> dict[str, Any]:
    named = isinstance(template.parameters, dict)
    pairs = template.parameters.items() if isinstance(template.parameters, dict) else enumerate(template.parameters, 1)
    parameters = [{"type": "text", "text": text, **({"parameter_name": name} if named else {})} for name, text in pairs]
    body: dict[str, Any] = {"name": template.name, "language": {"code": template.language}}
    return body | ({"components": [{"type": "body", "parameters": parameters}]} if parameters else {})


def _text_of(found: Any, template: Template) -> str:
    where = f"the template {template.name!r} in {template.language}"
    if field_of(found, "status") != "APPROVED":
        raise AdapterError(f"{where} is {field_of(found, 'status')}, not approved by Meta", retry=False)
    parts, buttons = [], []
    for component in _list(found, "components"):
        kind, text = field_of(component, "type"), str(field_of(component, "text") or "")
        if kind == "BODY":
            filled = fill(text, template.parameters)
            if filled is None:
                raise AdapterError(f"{where} has other places to fill than the request's 'parameters'", retry=False)
            parts.append(filled)
        elif kind == "BUTTONS" and "{{" not in json.dumps(component):
            buttons += [f"[{field_of(button, 'text')}]" for button in _list(component, "buttons")]
        elif kind in ("HEADER", "FOOTER") and text and "{{" not in text:
            parts.append(text)
        else:
            raise AdapterError(f"{where} has a {str(kind).lower()} that can't be filled from here", retry=False)
    return "\n\n".join([*parts, *(["\n".join(buttons)] if buttons else [])]).strip()
