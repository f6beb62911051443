"""Prints the rules of the installed `detect-secrets` as JSON; run as a short-lived process by `secret_scan`.

Its plug-ins import `requests` and take 18 MiB, which this process gives back when it ends. Nothing is verified over the
network: only the formats are taken.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from typing import Any

#: Plug-ins whose owners made their tokens recognisable, and what a person is told. Left out (`docs/adr/0007`): those
#: that guess by entropy or by words nearby, and those that hold ordinary mail for a secret (JWT, Twilio, Artifactory).
PLUGINS = {
    "private_key": "a private key",
    "aws": "an AWS key",
    "azure_storage_key": "an Azure storage key",
    "basic_auth": "a password in a URL",
    "discord": "a Discord token",
    "github_token": "a GitHub token",
    "gitlab_token": "a GitLab token",
    "mailchimp": "a Mailchimp key",
    "npm": "an npm token",
    "openai": "an OpenAI key",
    "pypi_token": "a PyPI token",
    "sendgrid": "a SendGrid key",
    "slack": "a Slack token",
    "square_oauth": "a Square secret",
    "stripe": "a Stripe key",
    "telegram_token": "a Telegram token",
}
_FLAGS = re.IGNORECASE | re.VERBOSE | re.MULTILINE | re.DOTALL


def collect() -> list[dict[str, str | int]]:
    """The rules of all `PLUGINS`: what each finds, its pattern, its flags. Raises where a plug-in is another."""
    base: Any = importlib.import_module("detect_secrets.plugins.base").RegexBasedDetector
    rules: list[dict[str, str | int]] = []
    for name, kind in PLUGINS.items():
        module = importlib.import_module(f"detect_secrets.plugins.{name}")
        found = [
            pattern
            for detector in vars(module).values()
            if isinstance(detector, type) and issubclass(detector, base) and detector.__module__ == module.__name__
            for pattern in vars(detector)["denylist"]
        ]
        if not found:
            raise LookupError(f"the plug-in {name} of detect-secrets has no pattern")
        rules += [{"kind": kind, "pattern": rule.pattern, "flags": int(rule.flags & _FLAGS)} for rule in found]
    return rules


if __name__ == "__main__":
    json.dump(collect(), sys.stdout)
