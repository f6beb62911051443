"""Messages by WhatsApp: free text while its window is open, else a template that reads as it was approved."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from utils.core import whatsapp
from utils.core.acting import Absence, Order, Plan, Receipt
from utils.core.social import same_text
from utils.core.task import format_time
from utils.core.whatsapp import WINDOW, Message, Template
from utils.hands.marks import Mark, forget_mark, read_mark
from utils.hands.social import check_account
from utils.ports import AdapterError

log = logging.getLogger(__name__)


class Sender(Protocol):
    """The provider. Methods raise `AdapterError`; `send` `OutcomeUnknown` too."""

    def template_text(self, template: Template) -> str:
        """What the filled template will read."""

    def send(self, message: Message, mark: str) -> Receipt:
        """Hand it over, once."""

    def find(self, mark: str) -> Receipt | Absence:
        """What became of the message with this mark."""

    def last_message(self, number: str) -> datetime | None:
        """When this number last wrote to us, if that is known."""


class WhatsAppHand:
    """Sends one message. `missing`: settings that the account lacks; `sender` is asked for when it is first needed."""

    provider = "whatsapp"

    def __init__(
        self, sender: Callable[[], Sender], now: Callable[[], datetime], *, account: str, missing: Sequence[str] = ()
    ) -> None:
        self._sender = sender
        self._now = now
        self._account = account
        self._missing = missing

    def plan(self, order: Order) -> Plan:
        """Says when the last message came and whether its window is closed. Raises `InvalidTask`; `AdapterError` where
        no account is set up."""
        check_account(self.provider, self._missing)
        message = whatsapp.message(order.request)
        shown = [("From", self._account), ("To", message.to), ("Text", message.text)]
        obstacle = None
        if message.template is not None:
            shown.append(("Template", f"{message.template.name} ({message.template.language})"))
        else:
            wrote, told_by = self._last_message(message)
            obstacle = whatsapp.closed(message.to, wrote, self._now())
            if wrote is not None:
                ended = "closed" if obstacle else "closes"
                shown.append(("Last message", f"{format_time(wrote)}, as {told_by}"))
                shown.append((f"Window {ended} at", format_time(wrote + WINDOW)))
        obstacles = (obstacle,) if obstacle else ()
        return Plan(order.mark, recipients=(message.to,), shown=tuple(shown), obstacles=obstacles)

    def act(self, order: Order, plan: Plan, prepared: Callable[[str], None]) -> Receipt:
        """Check what changes with time, note, send. Raises `AdapterError` or `OutcomeUnknown`."""
        forget_mark(order, prepared)
        sender, message = self._sender(), whatsapp.message(order.request)
        if message.template is None:
            self._check_window(sender, message)
        else:
            self._check_template(sender, message, message.template)
        prepared(str(Mark(self._now())))
        return sender.send(message, plan.reference)

    def find(self, order: Order, plan: Plan) -> Receipt | Absence:
        """By our mark in webhooks, where those are kept. Raises `AdapterError`.

        `failed` proves something of the very try that it is told of; the mark that an older version left was that of
        all tries.
        """
        check_account(self.provider, self._missing)
        if read_mark(order.prepared) is None:
            return Absence.PROVEN
        mark = order.reference or plan.reference
        found = self._sender().find(mark)
        return Absence.OPEN if found is Absence.PROVEN and mark != order.mark else found

    def _last_message(self, message: Message) -> tuple[datetime | None, str]:
        """When this number wrote last, and who says so, before anything is sent."""
        try:
            wrote = self._sender().last_message(message.to)
        except AdapterError as error:  # when it is sent that counts; to show it the request's own word is enough
            log.warning("the window of %s is as the request tells: %s", message.to, error)
            wrote = None
        return _newest(wrote, message), "webhooks tell" if wrote is not None else "the request tells"

    def _check_window(self, sender: Sender, message: Message) -> None:
        closed = whatsapp.closed(message.to, _newest(sender.last_message(message.to), message), self._now())
        if closed is not None:
            raise AdapterError(closed, retry=False)

    def _check_template(self, sender: Sender, message: Message, template: Template) -> None:
        text = sender.template_text(template)
        if not same_text(message.text, text):
            raise AdapterError(
                f"the template reads otherwise than the approved draft; put this there and approve it again: {text}",
                retry=False,
            )


def _newest(wrote: datetime | None, message: Message) -> datetime | None:
    """What webhooks tell of the last message counts before what the request tells."""
    if wrote is not None or message.window_ends is None:
        return wrote
    return message.window_ends - WINDOW
