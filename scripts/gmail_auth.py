"""Give this node access to a Gmail account: `python -m scripts.gmail_auth --for send --client FILE`.

Opens Google's page in your browser; you choose the account and allow what is asked for. The token goes to the file that
GMAIL_SEND_TOKEN_PATH names, readable by you alone. How to get the client file: docs/gmail.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.adapters.google_token import SCOPES
from utils.bootstrap import Services
from utils.core.commands import command
from utils.ports import AdapterError
from utils.settings import InvalidSettings, Settings
from utils.vault import atomic


class NotGiven(Exception):
    """Access was not given; the text says why and what to do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point: 0 done, 1 not possible (with the remedy), 2 wrong usage or bad settings."""
    options = _parser().parse_args(argv)
    try:
        services = Services.from_environment()
    except InvalidSettings as error:
        print(f"gmail_auth: {len(error.problems)} problem(s):", *error.problems, sep="\n  - ", file=sys.stderr)
        return 2
    try:
        path = _target(services.settings)
        credentials = _ask(options)
        atomic.write(path, credentials.to_json(strip=["token", "expiry"]).encode(), mode=0o600)
        print(f"The token lies in {path}, readable by you alone.")
        print(said(services.settings, services.gmail.check()))
    except (NotGiven, AdapterError) as error:
        print(f"gmail_auth: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"gmail_auth: {error.strerror or error}: {error.filename or ''}", file=sys.stderr)
        return 1
    finally:
        services.close()
    return 0


def said(settings: Settings, account: str) -> str:
    """Which account sends, and what to mind where it is not that of MAIL_FROM."""
    if account.lower() == settings.mail_from.lower():
        return f"Gmail sends as {account}"
    return (
        f"Gmail sends for the account {account}, and MAIL_FROM is {settings.mail_from!r}: unless that is an address of"
        " this account (Gmail: Settings, Accounts, Send mail as), Gmail puts the account's own in its place"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.gmail_auth",
        description=(__doc__ or "").partition("\n\n")[0],
        epilog="Without a browser here: --no-browser --port 8765, and on the machine with the browser"
        " `ssh -L 8765:127.0.0.1:8765 THIS-MACHINE`; then open the address there.",
    )
    parser.add_argument("--for", dest="use", choices=sorted(SCOPES), required=True, help="what the access is for")
    parser.add_argument("--client", metavar="FILE", type=Path, required=True, help="the OAuth client (a desktop app's)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address to open")
    parser.add_argument("--port", metavar="N", type=int, default=0, help="listen here for the answer (default: any)")
    parser.add_argument("--wait", metavar="SECONDS", type=int, default=600, help="how long to wait for you")
    return parser


def _target(settings: Settings) -> Path:
    if settings.draft_only:
        raise NotGiven("this node is draft-only and never sends: run it on the Local node")
    if settings.gmail_send_token_path is None:
        raise NotGiven("set GMAIL_SEND_TOKEN_PATH to where the token shall lie, outside the vault")
    return settings.gmail_send_token_path


def _ask(options: argparse.Namespace) -> Any:
    """Credentials that the human gives in the browser. Raises `NotGiven`."""
    import requests
    from google_auth_oauthlib.flow import InstalledAppFlow, WSGITimeoutError
    from oauthlib.oauth2 import OAuth2Error

    try:
        flow = InstalledAppFlow.from_client_secrets_file(str(options.client), scopes=list(SCOPES[options.use]))
    except (ValueError, KeyError) as error:
        raise NotGiven(f"{options.client} is no OAuth client of a desktop app: {error}") from error
    again = f"run `{command('gmail_auth')}` again"
    try:
        credentials = flow.run_local_server(
            host="127.0.0.1",
            port=options.port,
            open_browser=not options.no_browser,
            authorization_prompt_message="Open this in your browser, and allow everything it asks for:\n\n  {url}\n",
            success_message="This node has access now. You may close this page.",
            timeout_seconds=options.wait,
            access_type="offline",
            prompt="consent",
        )
    except WSGITimeoutError as error:
        raise NotGiven(f"nobody answered within {options.wait} s: {again}") from error
    except OAuth2Error as error:
        raise NotGiven(f"Google gave no access ({error.error}): {again}, and allow everything") from error
    except Warning as error:  # of oauthlib: other scopes than were asked for
        raise NotGiven(f"not everything was allowed: {again}, and tick each box") from error
    except requests.RequestException as error:
        raise NotGiven(f"Google can't be reached: {type(error).__name__}") from error
    if not credentials.refresh_token:
        raise NotGiven(f"Google gave access for an hour only (no refresh token): {again}")
    return credentials


if __name__ == "__main__":
    sys.exit(main())
