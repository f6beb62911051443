"""Mail by Gmail: a draft is made ready, and one call sends it.

The draft's id is our hold on the world. Sending consumes the draft, and so does removing it: whichever comes first, the
other finds nothing. So a later try removes the draft of the one before, which certainly was not sent then, and never
will be, however late a lost call still arrives; where there is nothing to remove, nobody knows.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from utils.adapters.mail_out.gmail import ACTION_HEADER, Gmail
from utils.core.acting import Absence, Order, Plan, Receipt
from utils.core.task import ApprovalRequest, InvalidTask
from utils.hands.mail import Letters
from utils.hands.marks import Mark, read_mark
from utils.hands.social import SKEW
from utils.ports import AdapterError, OutcomeUnknown

log = logging.getLogger(__name__)

#: A lost call may still be at work, and what it did may show late: so much after it began, what is seen counts.
SETTLED = timedelta(seconds=30)
#: Seconds between looks until then.
_PAUSES = (1, 2, 4, 8, 15)


class GmailHand:
    """Sends mails of `letters` through the mailbox that `gmail` answers, when it is first needed.

    `now`: the clock; `pause(seconds)` waits.
    """

    provider = "gmail"

    def __init__(
        self,
        letters: Letters,
        gmail: Callable[[], Gmail],
        now: Callable[[], datetime],
        pause: Callable[[float], object],
    ) -> None:
        self._letters = letters
        self._gmail = gmail
        self._now = now
        self._pause = pause

    def plan(self, order: Order) -> Plan:
        """As any mail, but found again by our own header: Gmail gives it another Message-ID. Raises `InvalidTask`."""
        return replace(self._letters.plan(order), reference=_reference(order))

    def act(self, order: Order, plan: Plan, prepared: Callable[[str], None]) -> Receipt:
        """Clear away what an earlier try left, make a draft, note it, send it. Raises `AdapterError`, `OutcomeUnknown`.

        The draft is always a new one: an old one could have been edited in Gmail, after the approval (S6).
        """
        try:
            mail = self._letters.mail(order)
        except InvalidTask as error:  # a file was exchanged since the plan
            raise AdapterError(str(error), retry=False) from error
        gmail = self._gmail()
        if order.reference:  # of a try before
            self._clear(gmail, order, prepared)
        draft = gmail.create(mail, thread_of(order.request))
        try:
            prepared(str(Mark(self._now(), draft)))
            return gmail.send(draft)
        except AdapterError:
            self._withdraw(gmail, draft, prepared)
            raise

    def find(self, order: Order, plan: Plan) -> Receipt | Absence:
        """By our mark among sent mail, then by the draft. Raises `AdapterError`."""
        mark = read_mark(order.prepared)
        if mark is None:  # the call that sends comes after the mark; what another sender did nobody can tell here
            return Absence.PROVEN if order.reference == _reference(order) else Absence.OPEN
        gmail = self._gmail()
        lies = False
        for pause in (*_PAUSES, 0):
            lies = gmail.lies(mark.made)
            receipt = gmail.sent(order.action_id, mark.at - SKEW)
            if receipt is not None:
                return receipt
            if not pause or self._now() - mark.at >= SETTLED:
                break
            self._pause(pause)
        return Absence.PROVEN if lies else Absence.OPEN

    def _clear(self, gmail: Gmail, order: Order, prepared: Callable[[str], None]) -> None:
        mark = read_mark(order.prepared)
        if mark is not None:
            if not gmail.remove(mark.made):
                raise OutcomeUnknown(
                    f"the draft of the try before ({mark.made}) is gone: it was sent after all, or somebody removed it"
                )
            prepared("")
        for draft in gmail.drafts_of(order.action_id):  # of a call whose answer, with the draft's id, was lost
            gmail.remove(draft)

    def _withdraw(self, gmail: Gmail, draft: str, prepared: Callable[[str], None]) -> None:
        """Remove a draft that certainly was not sent; where that fails the next try does it."""
        try:
            if gmail.remove(draft):
                prepared("")
        except AdapterError as error:
            log.warning("the draft %s stays in Gmail for now: %s", draft, error)


def _reference(order: Order) -> str:
    return f"{ACTION_HEADER}: {order.action_id}"


def thread_of(request: ApprovalRequest) -> str:
    """Gmail's id of the conversation that a reply belongs to, where the mail was read from Gmail; else ""."""
    found = request.source.get("gmail_thread_id")
    is_reply = request.action == "reply_email"
    return found if is_reply and isinstance(found, str) and re.fullmatch(r"[0-9a-f]{1,32}", found) else ""
