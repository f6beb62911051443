"""Secrets in mails: the vault travels, so what looks like a key or a token stays in the mailbox (S11)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from utils.core.mail import IncomingMail
from utils.ports import SecretScanner


def without_secrets(mail: IncomingMail, secrets: SecretScanner) -> IncomingMail:
    """The mail, with a text or subject that holds a secret left out, and that said.

    The whole text goes, for nobody can tell where a key ends; and a task that sync refuses would never reach the human.
    """
    for name in ("subject", "text"):
        refusal = secrets.find(str(getattr(mail, name)).encode("utf-8", "replace"))
        if refusal is not None:
            instead = f"({name} left out: {refusal.reason}; it is in the mailbox)"
            fields: dict[str, Any] = {name: instead} | ({"new_text": instead} if name == "text" else {})
            problem = f"its {name} was left out: {refusal.reason}"
            mail = replace(mail, **fields, problems=(*mail.problems, problem))
    return mail
