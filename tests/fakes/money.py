"""A payment as `Desk.request` takes it, and the settings of a node that pays by files for the bank."""

from __future__ import annotations

from typing import Any

IBAN, OTHER_IBAN = "DE89370400440532013000", "GB82WEST12345698765432"
SEPA = {
    "PAYMENT_PROVIDER": "sepa", "SEPA_NAME": "Us", "SEPA_IBAN": "AT611904300234573201", "SEPA_BIC": "BKAUATWW",
}  # fmt: skip
#: What the desk's mail has and money has not.
NO_MAIL: dict[str, Any] = {"to": None, "subject": None, "in_reply_to": None, "references": None}
PAYMENT: dict[str, Any] = {
    "action": "payment", "payee": "Acme GmbH", "amount": "40.00", "currency": "EUR", "reference": "R-1", "iban": IBAN,
    **NO_MAIL,
}  # fmt: skip
