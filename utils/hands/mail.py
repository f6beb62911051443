"""Mail: what is sent is rendered from the approved request, here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from utils.core.acting import Absence, Order, Plan, Receipt
from utils.core.mail import OutgoingMail
from utils.core.task import InvalidTask
from utils.execution.render import files, render
from utils.ports import AdapterError, MailSender
from utils.vault import frozen


@dataclass(frozen=True)
class Letters:
    """Turns orders into mails, for whoever carries them. `address`, `name`: the sender; `vault`: where files lie."""

    vault: Path
    address: str
    name: str = ""

    def mail(self, order: Order) -> OutgoingMail:
        """The mail, the same bytes each time. Raises `InvalidTask`; so it does where an attachment has other bytes."""
        request = order.request
        return render(
            request,
            action_id=order.action_id,
            date=order.approved_at,
            sender=self.address,
            sender_name=self.name,
            contents=frozen.read_all(self.vault, files(request)),
        )

    def plan(self, order: Order) -> Plan:
        """Its Message-ID, everyone in the envelope (Bcc included), and what is shown of it. Raises `InvalidTask`."""
        mail = self.mail(order)
        fields = order.request.fields
        shown = [("From", mail.sender)]
        shown += [
            (label, ", ".join(fields[label.lower()])) for label in ("To", "Cc", "Bcc") if fields.get(label.lower())
        ]
        shown.append(("Subject", fields["subject"]))
        shown += [("Attachment", str(file)) for file in files(order.request)]
        return Plan(mail.message_id, mail.recipients, tuple(shown))


class MailHand:
    """Sends by a `MailSender`, which takes a mail in one step: nothing is made ready before."""

    def __init__(self, provider: str, letters: Letters, sender: Callable[[], MailSender]) -> None:
        """`sender` is asked for when it is first needed."""
        self.provider = provider
        self._letters = letters
        self._sender = sender

    def plan(self, order: Order) -> Plan:
        """Raises `InvalidTask`."""
        return self._letters.plan(order)

    def act(self, order: Order, plan: Plan, prepared: Callable[[str], None]) -> Receipt:
        """Raises `AdapterError` or `OutcomeUnknown`, as `utils.ports.MailSender` says."""
        try:
            mail = self._letters.mail(order)
        except InvalidTask as error:  # a file was exchanged since the plan
            raise AdapterError(str(error), retry=False) from error
        return self._sender().send(mail)

    def find(self, order: Order, plan: Plan) -> Receipt | Absence:
        """By its Message-ID. Raises `AdapterError`."""
        sender = self._sender()
        receipt = sender.find(order.reference or plan.reference)
        return receipt or (Absence.PROVEN if sender.conclusive else Absence.OPEN)
