"""A client of the API of a node in a temporary folder: the real application, without a socket."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from werkzeug.test import TestResponse

from utils.bootstrap import Services
from utils.core.stages import Stage
from utils.core.task import format_time, make_id, quote_block, request_id, with_draft
from Watchers.dashboard import create_app

PROBLEM = "application/problem+json"


class Api:
    """Asks the API of `node` as a program on the same machine does."""

    def __init__(self, node: Services, **headers: str) -> None:
        self.node = node
        self.app = create_app(services=node)
        self._client = self.app.test_client()
        self._base = f"http://localhost:{node.settings.api_port}"
        self._headers = headers

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, **options: Any) -> TestResponse:
        """Any request. `headers` come on top of those that every request of this client has."""
        return self._client.open(
            path, method=method, base_url=self._base, headers={**self._headers, **(headers or {})}, **options
        )

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a GET that must succeed."""
        answer = self.ask("GET", path, query_string=query)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        assert answer.mimetype == "application/json"
        return answer.get_json()

    def post(self, path: str, **body: Any) -> Any:
        """The JSON of a POST that must succeed."""
        answer = self.ask("POST", path, json=body)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return answer.get_json()

    def refused(self, status: int, method: str, path: str, **options: Any) -> dict[str, Any]:
        """The problem of a request that must be refused with `status`."""
        answer = self.ask(method, path, **options)
        assert answer.status_code == status, answer.get_data(as_text=True)
        assert answer.mimetype == PROBLEM
        problem = answer.get_json()
        assert problem["status"] == status
        assert problem["title"] and problem["detail"] and problem["type"]
        return problem


class SlowObserver:
    """Stands where a sync notes human moves, and holds it there for the length of a `with` block."""

    def __init__(self) -> None:
        self._inside, self._go_on = threading.Event(), threading.Event()

    def observe(self) -> None:
        """Called in mid-sync."""
        self._inside.set()
        assert self._go_on.wait(60)

    def __enter__(self) -> None:
        assert self._inside.wait(60), "no sync has begun"

    def __exit__(self, *error: object) -> None:
        self._go_on.set()


def add_task(node: Services, key: str, when: datetime, *, subject: str = "A question", domain: str = "email") -> str:
    """A task in `Needs_Action/`; answers its id."""
    task = make_id(domain, when, key)
    meta = {
        "id": task,
        "type": "email_processing" if domain == "email" else "accounting",
        "domain": domain,
        "created": format_time(when),
        "created_by": "cloud",
        "priority": "normal",
        "source": {"subject": subject, "from_address": "ann@example.com", "sender_authenticated": True},
    }
    node.claims.create(Stage.NEEDS_ACTION, meta, f"# {subject}\n\n{quote_block('What does it cost?')}\n")
    return task


def add_request(
    node: Services,
    task: str,
    when: datetime,
    *,
    draft: str = "It costs 10 €.",
    expires_hours: float = 24,
    **fields: Any,
) -> str:
    """A reply that waits for approval; answers its id."""
    request = request_id(task, "reply_email")
    meta = {
        "id": request,
        "type": "email_processing",
        "domain": "email",
        "created": format_time(when),
        "created_by": "cloud",
        "priority": "normal",
        "source": {"subject": "A question", "from_address": "ann@example.com", "sender_authenticated": True},
        "action": "reply_email",
        "to": ["ann@example.com"],
        "subject": "Re: A question",
        "in_reply_to": "<1@example.com>",
        "expires": format_time(when + timedelta(hours=expires_hours)),
        "risk": ["first mail to this address"],
        "why": "a question was asked",
        "drafted_by": "builtin",
        "source_task": task,
        **fields,
    }
    node.claims.create(Stage.PENDING_APPROVAL, meta, with_draft("For the human.\n", draft))
    return request
