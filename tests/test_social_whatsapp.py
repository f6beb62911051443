"""The WhatsApp client against a strict emulator: messages, templates, and what webhooks tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.fakes import meta
from tests.fakes.meta import MetaServer
from tests.fakes.provider import Fault
from tests.social_kit import HELLO, HELLO_TEXT, NUMBER, impatient, request
from utils.adapters.social.whatsapp import WhatsApp
from utils.core import whatsapp
from utils.core.acting import Absence, Receipt
from utils.core.whatsapp import Message, Template
from utils.ports import AdapterError, OutcomeUnknown

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
SEND = f"POST /{meta.VERSION}/{meta.PHONE}/messages"
TEMPLATE = Template("hello", "de", ("Ann", "Monday"))


@pytest.fixture
def graph() -> Iterator[MetaServer]:
    with MetaServer(lambda: NOON) as server:
        yield server


def client(server: MetaServer, **options: Any) -> WhatsApp:
    given = {"phone_id": meta.PHONE, "account_id": meta.WABA, "version": meta.VERSION, "timeout": 60.0, **options}
    return WhatsApp(server.url, meta.WHATSAPP_TOKEN, **given)


def message(text: str = "Hello") -> Message:
    return whatsapp.message(request("whatsapp_send", text))


def test_a_text_is_sent_with_our_mark(graph: MetaServer) -> None:
    receipt = client(graph).send(message(), "action 1")
    (entry,) = graph.ledger
    assert receipt == Receipt("whatsapp", f"wamid.{entry['id']}", f"accepted for {NUMBER}")
    assert entry["sent"]["text"] == {"body": "Hello", "preview_url": False}
    assert entry["sent"]["biz_opaque_callback_data"] == "action 1"


@pytest.mark.parametrize("parameters", [("Ann", "Monday"), {"name": "Ann", "day": "Monday"}, ()])
def test_a_template_is_sent_with_its_parameters(graph: MetaServer, parameters: Any) -> None:
    graph.templates = [HELLO]
    client(graph).send(Message(NUMBER, "…", Template("hello", "de", parameters)), "mark")
    sent = graph.ledger[0]["sent"]["template"]
    assert sent["name"] == "hello" and sent["language"] == {"code": "de"}
    texts = [one["text"] for component in sent.get("components", []) for one in component["parameters"]]
    assert texts == (["Ann", "Monday"] if parameters else [])
    names = [one.get("parameter_name") for component in sent.get("components", []) for one in component["parameters"]]
    assert names == (["name", "day"] if isinstance(parameters, dict) else [None] * len(texts))


@pytest.mark.parametrize("kind", ["503 after", "reset after", "silence after", "reset before"])
def test_a_message_whose_answer_got_lost_is_not_sent_again(
    graph: MetaServer, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind.startswith("silence"):
        impatient(monkeypatch, SEND)
    graph.faults.append(Fault(SEND, kind))
    with pytest.raises(OutcomeUnknown):
        client(graph).send(message(), "mark")
    assert graph.hits(SEND) == 1 and len(graph.ledger) == (0 if kind == "reset before" else 1)


@pytest.mark.parametrize(("code", "expected"), [(131047, False), (131056, True), (130429, True), (131026, False)])
def test_what_whatsapp_refuses(graph: MetaServer, monkeypatch: pytest.MonkeyPatch, code: int, expected: bool) -> None:
    error = {"error": {"code": code, "message": "no", "error_data": {"details": "because of it"}}}
    monkeypatch.setattr(graph, "route", lambda call: (400, error, {}))
    with pytest.raises(AdapterError, match="because of it") as refused:
        client(graph).send(message(), "mark")
    assert refused.value.retry is expected


def test_a_template_reads_as_meta_approved_it(graph: MetaServer) -> None:
    graph.templates = [{**HELLO, "language": "en_US"}, {**HELLO, "name": "hello_you"}, HELLO]
    assert client(graph).template_text(TEMPLATE) == HELLO_TEXT


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": "PAUSED"}, "is PAUSED, not approved"),
        ({"name": "other"}, "no template 'hello' in de"),
        ({"language": "en_US"}, "no template 'hello' in de"),
        ({"components": [{"type": "BODY", "text": "Hello {{1}}"}]}, "other places"),
        ({"components": [{"type": "HEADER", "format": "IMAGE"}]}, "a header that can't be filled"),
        ({"components": [{"type": "HEADER", "format": "TEXT", "text": "For {{1}}"}]}, "a header that can't be filled"),
        (
            {"components": [{"type": "BUTTONS", "buttons": [{"url": "https://x.example/{{1}}"}]}]},
            "a buttons that can't",
        ),
        ({"components": [{"type": "CAROUSEL"}]}, "a carousel that can't be filled"),
    ],
)
def test_a_template_that_can_not_be_filled_from_here_is_refused(graph: MetaServer, change: Any, said: str) -> None:
    graph.templates = [{**HELLO, **change}]
    with pytest.raises(AdapterError, match=said) as refused:
        client(graph).template_text(TEMPLATE)
    assert not refused.value.retry


def test_without_the_business_account_no_template_is_sent(graph: MetaServer) -> None:
    with pytest.raises(AdapterError, match="WHATSAPP_BUSINESS_ACCOUNT_ID"):
        client(graph, account_id="").template_text(TEMPLATE)


def webhook(**value: Any) -> str:
    return json.dumps(
        {"object": "whatsapp_business_account", "entry": [{"id": meta.WABA, "changes": [{"value": value}]}]}
    )


@pytest.mark.parametrize(
    ("statuses", "proves"),
    [
        ([], Absence.OPEN),
        ([("mark", "sent")], "sent, says a webhook"),
        ([("mark", "failed"), ("mark", "delivered")], "delivered, says a webhook"),
        ([("mark", "failed")], Absence.PROVEN),
        ([("other", "failed")], Absence.OPEN),
        ([("other", "delivered")], Absence.OPEN),
        ([("mark", "odd")], Absence.OPEN),
    ],
)
def test_webhooks_tell_what_became_of_a_message(graph: MetaServer, tmp_path: Any, statuses: Any, proves: Any) -> None:
    lines = [
        webhook(statuses=[{"id": "wamid.1", "status": status, "biz_opaque_callback_data": mark}])
        for mark, status in statuses
    ]
    path = tmp_path / "webhooks.jsonl"
    path.write_text("\n".join(["", "not json", "[]", '{"entry": 7}', *lines, '{"half": ']))
    found = client(graph, webhooks=path).find("mark")
    assert found == (Receipt("whatsapp", "wamid.1", proves) if isinstance(proves, str) else proves)
    assert client(graph, webhooks=tmp_path / "none").find("mark") is Absence.OPEN
    assert client(graph).find("mark") is Absence.OPEN and graph.calls == []


def test_a_line_that_is_nested_too_deeply_is_no_webhook(graph: MetaServer, tmp_path: Any) -> None:
    path = tmp_path / "webhooks.jsonl"
    path.write_text("[" * 100_000 + "\n")
    assert client(graph, webhooks=path).find("mark") is Absence.OPEN
    assert client(graph, webhooks=path).last_message(NUMBER) is None


def test_webhooks_tell_when_a_number_wrote_last(graph: MetaServer, tmp_path: Any) -> None:
    path = tmp_path / "webhooks.jsonl"
    times = [
        ("43660123456", "1780308000"),
        ("43660123456", "1780304400"),
        ("43660999999", "1780311600"),
        ("43660123456", "x"),
    ]
    path.write_text("\n".join(webhook(messages=[{"from": number, "timestamp": at}]) for number, at in times))
    assert client(graph, webhooks=path).last_message(NUMBER) == datetime.fromtimestamp(1780308000, UTC)
    assert client(graph, webhooks=path).last_message("+43660000000") is None
    path.unlink()
    path.mkdir()
    with pytest.raises(AdapterError, match="WHATSAPP_WEBHOOKS_PATH"):
        client(graph, webhooks=path).last_message(NUMBER)
