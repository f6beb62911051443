"""Writes `.env.example` from the settings: `python -m scripts.env_example > .env.example`. A test compares them."""

from __future__ import annotations

import sys
import textwrap

from utils.settings import describe

HEAD = """\
# Settings of this node. Copy this file to `.env` and change what you need; every value here is the default.
# A variable of the environment wins over this file. A value with spaces or '#' goes into quotes: NAME="a # b".
# Any secret may come from a file instead: NAME_FILE=/path (for example IMAP_PASS_FILE).
# Written by `.venv/bin/python -m scripts.env_example`; change the text in utils/settings.py.
"""
#: The title of the section that begins with a setting.
SECTIONS = {
    "AGENT_MODE": "This node",
    "VAULT_SYNC_REMOTE": "Vault sync (git)",
    "API_HOST": "HTTP API",
    "MAIL_PROVIDER": "Mail in: a Maildir by default, needs no account",
    "MAIL_SENDER": "Mail out: an outbox folder by default, needs no account",
    "PROVIDER_TIMEOUT_SECONDS": "Posts and WhatsApp: an account is there where its settings are; on Local alone",
    "DRAFT_ENGINE": "Drafting",
    "DASHBOARD_HOST": "Web dashboard",
    "HEALTH_INTERVAL_SECONDS": "Health",
    "ALERTS_ENABLED": "Alerts by e-mail",
    "MCP_IDLE_SECONDS": "Processes",
}


def render() -> str:
    """The whole text of `.env.example`."""
    parts = [HEAD]
    for setting in describe():
        if setting.name in SECTIONS:
            parts.append(f"\n# ---- {SECTIONS[setting.name]}\n")
        text = setting.help + (" (secret)" if setting.secret else "")
        parts += [f"# {line}\n" for line in textwrap.wrap(text, 110)]
        parts.append(f"{setting.name}={setting.default}\n")
    return "".join(parts)


if __name__ == "__main__":
    sys.stdout.write(render())
