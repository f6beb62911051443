"""Settings: read once from the environment, `.env` and `zones.json`, validated all together.

The environment wins over `.env`; `ENV_FILE` names another file, or none when it is empty; `NAME_FILE` reads a secret
from a file (systemd credentials). A bad setting is reported with its name, where it came from and its value (never the
value of a secret), and all problems are reported at once. What looks like a setting in `.env` and is none is a warning.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv.parser import Binding, parse_stream

from utils.core.policy import Mode
from utils.core.routing import CLOUD, ZONES
from utils.core.zones import InvalidZones, ZonesConfig
from utils.core.zones import parse as parse_zones

#: What the secrets of accounts that act begin with.
_ACTING = ("linkedin_", "facebook_", "x_", "whatsapp_")

PROJECT_ROOT = Path(__file__).resolve().parent.parent


class InvalidSettings(ValueError):
    """The settings can't be used. `problems` is one line for each: name, source, value, and what would be right."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _text(value: str) -> str:
    return value


def _boolean(value: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if value.lower() not in words:
        raise ValueError("must be true or false")
    return words[value.lower()]


def _number(low: float, high: float, kind: Callable[[str], Any] = int) -> Callable[[str], Any]:
    def parse(value: str) -> Any:
        try:
            number = kind(value)
        except ValueError:
            raise ValueError(f"must be a number from {low:g} to {high:g}") from None
        if not low <= number <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        return number

    return parse


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return value

    return parse


def _path(value: str) -> Path:
    path = Path(value).expanduser()
    return Path(os.path.realpath(path if path.is_absolute() else PROJECT_ROOT / path))


def _optional_path(value: str) -> Path | None:
    return _path(value) if value else None


def _url(value: str) -> str:
    if value and not re.fullmatch(r"https?://[^\s/]+[^\s]*", value):
        raise ValueError("must be an http:// or https:// URL")
    return value.rstrip("/")


def _address(value: str) -> str:
    if value and not re.fullmatch(r"[^@\s<>]+@[^@\s<>]+", value):
        raise ValueError("must be one e-mail address")
    return value


def _iban(value: str) -> str:
    from stdnum import iban

    return _checked(value, iban, "must be a valid IBAN")


def _bic(value: str) -> str:
    from stdnum import bic

    return _checked(value, bic, "must be a valid BIC")


def _checked(value: str, rule: Any, words: str) -> str:
    from stdnum.exceptions import ValidationError

    try:
        return str(rule.validate(value)) if value else ""
    except ValidationError:
        raise ValueError(words) from None


def _word(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]*", value) or ".." in value:
        raise ValueError("must be a plain name of letters, digits, '.', '_', '-' or '/'")
    return value


def _matching(pattern: str, what: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value and not re.fullmatch(pattern, value):
            raise ValueError(f"must be {what}")
        return value

    return parse


_digits = _matching(r"[0-9]{1,32}", "an id of digits")
_urn = _matching(r"urn:li:(organization:[0-9]+|person:[A-Za-z0-9_-]+)", "urn:li:organization:… or urn:li:person:…")
_month = _matching(r"20[0-9]{2}(0[1-9]|1[0-2])", "a year and a month, as 202605")
_graph_version = _matching(r"v[0-9]{1,3}\.[0-9]", "a version like v25.0")


def _reachable(host: str) -> str:
    """The host of a URL for who listens on `host` of this machine."""
    everywhere = ("", "0.0.0.0", "::", "localhost")  # noqa: S104  # to compare with, not to bind to
    name = "127.0.0.1" if host in everywhere else host.strip("[]")
    return f"[{name}]" if ":" in name else name


def _setting(default: str, parse: Callable[[str], Any], help_text: str, *, secret: bool = False) -> Any:
    return field(metadata={"default": default, "parse": parse, "help": help_text, "secret": secret}, repr=not secret)


@dataclass(frozen=True)
class Settings:
    """Every setting there is. A field's upper-case name is the variable's; `describe()` lists them for the README."""

    agent_mode: str = _setting("full", _choice(*Mode), "`full` may act after approval; `draft_only` never acts")
    agent_name: str = _setting("local", _choice(*ZONES), "which node this is: `local` or `cloud`")
    vault_path: Path = _setting("AI_Employee_Vault", _path, "the vault: a folder of Markdown and a git repository")
    state_dir: Path = _setting(".state", _path, "journal, approval records, spool, locks; never inside the vault")
    zones_file: Path = _setting("zones.json", _path, "zones, routing, failover numbers, action policy")
    log_level: str = _setting("INFO", _choice("DEBUG", "INFO", "WARNING", "ERROR"), "how much the processes log")
    dry_run: bool = _setting("false", _boolean, "verify and log approved actions, execute none")
    undo_seconds: float = _setting("10", _number(0, 3600, float), "an approval can be taken back for so long")

    vault_sync_remote: str = _setting("origin", _word, "name of the vault's git remote")
    vault_sync_branch: str = _setting("main", _word, "the vault's branch")
    vault_remote_url: str = _setting("", _text, "address of the git remote, for the first start", secret=True)
    git_timeout_seconds: int = _setting("60", _number(1, 3600), "how long the git remote may be silent")
    sync_settle_seconds: float = _setting("2", _number(0, 600, float), "a note written just now waits this long")
    done_keep_days: int = _setting("7", _number(0, 36500), "finished tasks of more days are filed by month; 0: never")
    sync_max_file_mb: int = _setting("20", _number(1, 1000), "larger files are not synced")
    unsigned_commits: str = _setting(
        "cloud",
        _choice("cloud", "accept"),
        "a person's unsigned commits, once the other node's key is enrolled: they may do what the cloud may, or all",
    )

    api_host: str = _setting("127.0.0.1", _text, "address the API binds to; beyond loopback it needs API_TOKEN")
    api_port: int = _setting("9000", _number(1, 65535), "port of the API")
    api_token: str = _setting("", _text, "bearer token of the API (at least 16 characters)", secret=True)
    local_api_url: str = _setting("", _url, "API of the Local node, where the Cloud can reach it")
    cloud_api_url: str = _setting("", _url, "API of the Cloud node")

    mail_provider: str = _setting("maildir", _choice("maildir", "imap", "gmail"), "where mail comes from")
    maildir_path: Path | None = _setting("", _optional_path, "Maildir to read; empty: `STATE_DIR/mail/in`")
    imap_host: str = _setting("", _text, "IMAP server")
    imap_port: int = _setting("993", _number(1, 65535), "its port")
    imap_security: str = _setting("tls", _choice("tls", "starttls", "none"), "`none`: loopback only")
    imap_user: str = _setting("", _text, "IMAP login")
    imap_pass: str = _setting("", _text, "IMAP password", secret=True)
    imap_folder: str = _setting("INBOX", _text, "folder to watch")
    imap_sent_folder: str = _setting("Sent", _text, "where sent mail lies; asked after a crash in mid-send")
    mail_poll_seconds: int = _setting("60", _number(1, 3600), "how often to look where nothing wakes us")
    mail_authserv_id: str = _setting(
        "", _text, "authserv-id of our mail server (RFC 8601), as mx.google.com; empty: no sender is verified"
    )
    mail_lookback_days: int = _setting("1", _number(0, 3650), "at the first start, take mail this old (IMAP)")
    mail_max_mb: int = _setting("25", _number(1, 200), "larger mails become a task without their content")
    attachment_max_mb: int = _setting("10", _number(0, 100), "larger attachments are listed, not stored")

    mail_sender: str = _setting("outbox", _choice("outbox", "smtp", "gmail"), "where approved mail goes")
    mail_from: str = _setting("", _address, "our address, for From and to know our own mail")
    mail_from_name: str = _setting("", _text, "our name in From and in the signature")
    outbox_path: Path | None = _setting("", _optional_path, "folder of the outbox; empty: `STATE_DIR/mail/out`")
    smtp_host: str = _setting("", _text, "SMTP server")
    smtp_port: int = _setting("587", _number(1, 65535), "its port")
    smtp_security: str = _setting("starttls", _choice("tls", "starttls", "none"), "`none`: loopback only")
    smtp_user: str = _setting("", _text, "SMTP login; empty: none")
    smtp_pass: str = _setting("", _text, "SMTP password", secret=True)
    smtp_timeout_seconds: int = _setting(
        "60",
        _number(1, 600),
        "limit of each SMTP step; the answer to a whole mail may take 10 minutes (RFC 5321 §4.5.3.2.6)",
    )
    gmail_send_token_path: Path | None = _setting(
        "", _optional_path, "token file of the Gmail account that sends, made by `scripts.gmail_auth`"
    )
    gmail_api_url: str = _setting("https://gmail.googleapis.com", _url, "Gmail's API")

    provider_timeout_seconds: float = _setting(
        "60", _number(0.1, 600, float), "how long a provider's API may be silent"
    )
    linkedin_author: str = _setting("", _urn, "who posts on LinkedIn: urn:li:organization:… or urn:li:person:…")
    linkedin_token: str = _setting("", _text, "access token of LinkedIn", secret=True)
    linkedin_version: str = _setting("202605", _month, "LinkedIn-Version: a month that LinkedIn still serves")
    linkedin_api_url: str = _setting("https://api.linkedin.com", _url, "LinkedIn's API")
    facebook_page_id: str = _setting("", _digits, "the Facebook Page that posts")
    facebook_page_token: str = _setting("", _text, "access token of that Page, for Instagram too", secret=True)
    instagram_user_id: str = _setting("", _digits, "the Instagram account that is connected to the Page")
    graph_api_url: str = _setting("https://graph.facebook.com", _url, "Meta's Graph API")
    graph_api_version: str = _setting("v25.0", _graph_version, "its version")
    x_api_key: str = _setting("", _text, "API key of the X application", secret=True)
    x_api_secret: str = _setting("", _text, "its secret", secret=True)
    x_access_token: str = _setting("", _text, "access token of the X account (OAuth 1.0a)", secret=True)
    x_access_secret: str = _setting("", _text, "its secret", secret=True)
    x_api_url: str = _setting("https://api.x.com", _url, "X's API")
    whatsapp_phone_number_id: str = _setting("", _digits, "id of the WhatsApp number that sends")
    whatsapp_business_account_id: str = _setting("", _digits, "its WhatsApp Business Account; needed for templates")
    whatsapp_token: str = _setting("", _text, "access token of WhatsApp (a system user's)", secret=True)
    whatsapp_webhooks_path: Path | None = _setting(
        "", _optional_path, "file with WhatsApp's webhooks, one JSON body a line; empty: none are kept"
    )
    odoo_url: str = _setting("", _url, "Odoo 16 or newer, to work with and to watch; empty: none")
    odoo_db: str = _setting("", _text, "its database; empty: the server's only one (Odoo 19 and newer)")
    odoo_user: str = _setting("", _text, "login of our Odoo user; on the cloud one who may not post")
    odoo_api_key: str = _setting(
        "", _text, "API key of that user; up to Odoo 18 the password does as well", secret=True
    )
    odoo_timeout_seconds: int = _setting("60", _number(1, 600), "limit of one call")
    odoo_payment_journal: str = _setting("", _text, "code of the bank journal that pays; empty: the only one")
    payment_provider: str = _setting(
        "odoo", _choice("odoo", "sepa"), "payments are registered in Odoo, or written as a file for the bank"
    )
    sepa_name: str = _setting("", _text, "holder of the account that SEPA payments are made from")
    sepa_iban: str = _setting("", _iban, "its IBAN")
    sepa_bic: str = _setting("", _bic, "its BIC")
    sepa_schema: str = _setting("pain.001.001.09", _choice("pain.001.001.09", "pain.001.001.03"), "what the bank reads")
    sepa_path: Path | None = _setting("", _optional_path, "folder of payment files; empty: `STATE_DIR/payments`")

    draft_engine: str = _setting("builtin", _choice("builtin", "anthropic", "openai", "claude-code"), "who drafts")

    dashboard_host: str = _setting("127.0.0.1", _text, "address that the web dashboard binds to")
    dashboard_port: int = _setting("3000", _number(1, 65535), "port of the web dashboard")
    dashboard_password_hash: str = _setting(
        "",
        _matching(r"scrypt:\d+:\d+:\d+:[\w-]+:[\w-]+", "what `npm run hash-password` prints"),
        "hash of the dashboard's password; empty: one is made at the first start",
        secret=True,
    )
    dashboard_secret: str = _setting(
        "",
        _matching(r"\S{32,}", "at least 32 random characters"),
        "what the dashboard's sessions are signed with; empty: made at the first start",
        secret=True,
    )
    dashboard_url: str = _setting(
        "",
        _url,
        "web dashboard to watch, and the name that it is reached by; empty: the one that the orchestrator runs",
    )
    health_interval_seconds: int = _setting("30", _number(1, 3600), "how often services are checked")
    health_timeout_seconds: float = _setting("5", _number(0.1, 60, float), "limit of one check")
    health_failure_threshold: int = _setting("3", _number(1, 100), "failures in a row before an alert")

    alerts_enabled: bool = _setting("false", _boolean, "send alerts by e-mail (they are always logged)")
    alert_smtp_host: str = _setting("", _text, "SMTP server for alerts")
    alert_smtp_port: int = _setting("587", _number(1, 65535), "its port")
    alert_smtp_security: str = _setting("starttls", _choice("tls", "starttls", "none"), "`none`: loopback only")
    alert_smtp_user: str = _setting("", _text, "its login; empty: none")
    alert_smtp_pass: str = _setting("", _text, "its password", secret=True)
    alert_from_email: str = _setting("", _address, "sender of alerts; empty: ALERT_SMTP_USER")
    alert_to_email: str = _setting("", _address, "who gets the alerts")

    task_workers: int = _setting("2", _number(1, 16), "how many tasks are done at once")
    mcp_idle_seconds: int = _setting("60", _number(1, 86400), "an MCP server that is not used this long is stopped")
    supervise_health_monitor: bool = _setting("true", _boolean, "false where a systemd unit runs the health monitor")
    supervise_api: bool = _setting(
        "false", _boolean, "true: the orchestrator runs the API too; `start_everything.sh` sets it"
    )
    supervise_dashboard: bool = _setting(
        "false", _boolean, "true: the orchestrator runs the web dashboard too; `start_everything.sh` sets it"
    )

    zones: ZonesConfig = field(repr=False, default=None)  # type: ignore[assignment]  # from zones_file

    @property
    def maildir(self) -> Path:
        """The Maildir to read."""
        return self.maildir_path or self.state_dir / "mail" / "in"

    @property
    def outbox(self) -> Path:
        """The folder that the outbox writes to."""
        return self.outbox_path or self.state_dir / "mail" / "out"

    @property
    def sepa_folder(self) -> Path:
        """The folder that payment files are written to."""
        return self.sepa_path or self.state_dir / "payments"

    @property
    def keys_dir(self) -> Path:
        """This node's keys; outside the vault, like all of `STATE_DIR`."""
        return self.state_dir / "keys"

    @property
    def own_api_url(self) -> str:
        """Where the processes of this node reach its API."""
        return f"http://{_reachable(self.api_host)}:{self.api_port}"

    @property
    def own_dashboard_url(self) -> str:
        """Where the web dashboard is: `DASHBOARD_URL`, else the one that the orchestrator runs, else empty."""
        return self.dashboard_url or (self.web_url if self.supervise_dashboard else "")

    @property
    def web_url(self) -> str:
        """Where this node's web dashboard listens, if it runs."""
        return f"http://{_reachable(self.dashboard_host)}:{self.dashboard_port}"

    @property
    def draft_only(self) -> bool:
        """Whether this node never acts. Anything but exactly `full` counts as draft-only."""
        return self.agent_mode != Mode.FULL

    @property
    def peer(self) -> str:
        """The other zone."""
        return next(zone for zone in ZONES if zone != self.agent_name)


@dataclass(frozen=True)
class Description:
    """One setting as the README and `.env.example` show it."""

    name: str
    default: str
    help: str
    secret: bool


def describe() -> list[Description]:
    """Every setting, in the order of the code."""
    return [
        Description(f.name.upper(), f.metadata["default"], f.metadata["help"], f.metadata["secret"])
        for f in fields(Settings)
        if f.metadata
    ]


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and validate all settings. Raises `InvalidSettings` with every problem; reads files, changes nothing."""
    settings, problems = load_leniently(environ)
    if problems:
        raise InvalidSettings(problems)
    return settings


def load_leniently(environ: Mapping[str, str] | None = None) -> tuple[Settings, list[str]]:
    """`(settings with the default in the place of each that is bad, problems)`. Fit only to look at a node or to stop
    it: with problems, `zones` may be missing and rules over several settings may be broken."""
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    sources = _sources(environ, problems)
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for setting in fields(Settings):
        if not setting.metadata:
            continue
        name = setting.name.upper()
        raw, origin[name] = _raw(name, setting.metadata["default"], sources, problems)
        try:
            values[setting.name] = setting.metadata["parse"](raw)
        except ValueError as error:
            shown = "(hidden)" if setting.metadata["secret"] else repr(raw)
            problems.append(f"{name} = {shown} ({origin[name]}): {error}")
            values[setting.name] = setting.metadata["parse"](setting.metadata["default"])
    values["zones"] = _zones(values["zones_file"], problems)
    settings = Settings(**values)
    return settings, problems + _combined(settings)


def warnings(environ: Mapping[str, str] | None = None) -> list[str]:
    """Names in the `.env` file that are no setting but look like one, and those that stand there twice."""
    path = _env_file(os.environ if environ is None else environ)
    if path is None or not path.is_file():
        return []
    names = [setting.name for setting in describe()]
    known = {*names, *(f"{name}_FILE" for name in names), "ENV_FILE"}
    found = []
    for name in _env_values(path, []):
        alike = difflib.get_close_matches(name.upper(), sorted(known), n=1, cutoff=0.8) if name not in known else []
        found += [f"{name} in {path.name} is no setting; did you mean {guess}?" for guess in alike]
    lines = [(binding.key, _line(binding)) for binding in _bindings(path, []) if binding.key in known]
    for name in dict.fromkeys(name for name, _ in lines):
        places = [line for key, line in lines if key == name]
        if len(places) > 1:
            where = f"lines {', '.join(map(str, places))}"
            found.append(f"{name} stands in {path.name} {len(places)} times ({where}): the last one counts")
    return found


def _env_file(environ: Mapping[str, str]) -> Path | None:
    """Where the `.env` file would be; None where none is wanted."""
    named = environ.get("ENV_FILE")
    if named == "":
        return None
    return Path(named).expanduser() if named else PROJECT_ROOT / ".env"


def _env_values(path: Path, problems: list[str]) -> dict[str, str]:
    """The `NAME=value` lines of a file, as python-dotenv reads them without interpolation; bad lines as problems."""
    values: dict[str, str] = {}
    for binding in _bindings(path, problems):
        if binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
        elif binding.error or binding.key is not None:  # else a comment, or nothing
            # Never the line itself: it may be half of a secret.
            problems.append(
                f"{path.name}, line {_line(binding)}: no setting; write NAME=value, a comment "
                f"begins with '#', and a quote that is opened must be closed ({path})"
            )
    return values


def _bindings(path: Path, problems: list[str]) -> list[Binding]:
    """What python-dotenv finds in a file; nothing, and a problem, where it can't be read."""
    try:
        with path.open(encoding="utf-8") as file:
            return list(parse_stream(file))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        problems.append(f"{path.name}: cannot be read: {reason} ({path})")
        return []


def _line(binding: Binding) -> int:
    """The number of the line on which it stands; the blank ones before it are a part of it."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _sources(environ: Mapping[str, str], problems: list[str]) -> list[tuple[str, Mapping[str, str]]]:
    path = _env_file(environ)
    if path is None:
        return [("environment", environ)]
    if environ.get("ENV_FILE") and not path.is_file():
        problems.append(f"ENV_FILE = {environ['ENV_FILE']!r} (environment): there is no such file")
    return [("environment", environ), (path.name, _env_values(path, problems) if path.is_file() else {})]


def _raw(name: str, default: str, sources: list[tuple[str, Mapping[str, str]]], problems: list[str]) -> tuple[str, str]:
    for source, values in sources:
        value = values.get(name)
        file = values.get(f"{name}_FILE")
        if value is not None and not (value == "" and file):
            return value.strip(), source
        if file:
            try:
                return Path(file).read_text(encoding="utf-8").strip(), f"{name}_FILE in {source}"
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
                problems.append(f"{name}_FILE = {file!r} ({source}): cannot be read: {reason}")
                return default, "default"
    return default, "default"


def _zones(path: Path, problems: list[str]) -> ZonesConfig:
    try:
        return parse_zones(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        problems.append(f"ZONES_FILE = {str(path)!r}: cannot be read: {error.strerror}")
    except InvalidZones as error:
        problems += [f"{path}: {problem}" for problem in error.problems]
    except (ValueError, RecursionError) as error:
        remedy = "mend it there, or put back the zones.json that came with this program"
        problems.append(f"{path}: not JSON: {error}: {remedy}")
    return None  # type: ignore[return-value]  # never seen: load() raises


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    return host in ("localhost", "::1", "[::1]") or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def _combined(s: Settings) -> list[str]:
    """Rules over more than one setting."""
    problems = []
    if s.agent_name == CLOUD and not s.draft_only:
        problems.append("AGENT_MODE = 'full' with AGENT_NAME = 'cloud': the cloud node must be draft_only")
    problems += _providers(s)
    for name in ("vault_path", "state_dir"):
        path = getattr(s, name)
        if _is_no_folder(path):
            problems.append(f"{name.upper()} = {str(path)!r}: is a file, not a folder")
    if s.state_dir == s.vault_path or s.vault_path in s.state_dir.parents:
        problems.append(f"STATE_DIR = {str(s.state_dir)!r}: must not lie inside the vault (VAULT_PATH)")
    if s.state_dir in s.vault_path.parents:
        problems.append(f"VAULT_PATH = {str(s.vault_path)!r}: must not lie inside STATE_DIR")
    if not s.api_token and not is_loopback(s.api_host):
        problems.append(f"API_HOST = {s.api_host!r}: an address beyond loopback needs API_TOKEN")
    if s.api_token and len(s.api_token) < 16:
        problems.append("API_TOKEN = (hidden): must have at least 16 characters")
    if s.mail_provider == "imap":
        problems += _missing(s, "MAIL_PROVIDER=imap", "imap_host", "imap_user", "imap_pass")
    if s.mail_sender == "smtp" and not s.draft_only:
        problems += _missing(s, "MAIL_SENDER=smtp", "smtp_host", "mail_from")
    if s.mail_sender == "gmail" and not s.draft_only:
        problems += _missing(s, "MAIL_SENDER=gmail", "gmail_send_token_path", "mail_from")
    if s.gmail_send_token_path and s.gmail_send_token_path.is_relative_to(s.vault_path):
        problems.append(f"GMAIL_SEND_TOKEN_PATH = {str(s.gmail_send_token_path)!r}: must not lie inside the vault")
    if s.odoo_user or s.odoo_api_key:
        problems += _missing(s, "ODOO_USER and ODOO_API_KEY", "odoo_url", "odoo_user", "odoo_api_key")
    if s.odoo_url.startswith("http://") and s.odoo_api_key and not is_loopback(urlsplit(s.odoo_url).hostname or ""):
        problems.append(f"ODOO_URL = {s.odoo_url!r}: beyond loopback the key needs https://")
    if s.payment_provider == "sepa" and not s.draft_only:
        problems += _missing(s, "PAYMENT_PROVIDER=sepa", "sepa_name", "sepa_iban", "sepa_bic")
    if s.alerts_enabled:
        problems += _missing(s, "ALERTS_ENABLED=true", "alert_smtp_host", "alert_to_email")
        if not s.alert_from_email and "@" not in s.alert_smtp_user:
            problems.append("ALERT_FROM_EMAIL = '': needed by ALERTS_ENABLED=true (ALERT_SMTP_USER is no address)")
    for name in ("imap", "smtp", "alert_smtp"):
        host = getattr(s, f"{name}_host")
        if host and getattr(s, f"{name}_security") == "none" and not is_loopback(host):
            problems.append(f"{name.upper()}_SECURITY = 'none': only for a server on loopback, not for {host!r}")
    if s.mail_provider == "gmail":
        problems.append("MAIL_PROVIDER = 'gmail': the Gmail API is not built yet; use imap or maildir")
    if s.draft_engine != "builtin":
        problems.append(f"DRAFT_ENGINE = {s.draft_engine!r}: model engines are not built yet; use builtin")
    return problems


def _providers(s: Settings) -> list[str]:
    """No token of an account that acts lies on the cloud node, and none travels in the clear."""
    secrets = [f.name for f in fields(s) if f.metadata and f.metadata["secret"] and f.name.startswith(_ACTING)]
    kept = [name.upper() for name in secrets if s.agent_name == CLOUD and getattr(s, name)]
    problems = [f"{name} = (hidden): the cloud node never acts; keep it on Local" for name in kept]
    if s.agent_name == CLOUD and s.gmail_send_token_path:
        problems.append(
            f"GMAIL_SEND_TOKEN_PATH = {str(s.gmail_send_token_path)!r}: the cloud node never acts; keep it on Local"
        )
    for name in ("linkedin_api_url", "graph_api_url", "x_api_url", "gmail_api_url"):
        url = getattr(s, name)
        if not url.startswith("https://") and not is_loopback(urlsplit(url).hostname or ""):
            problems.append(f"{name.upper()} = {url!r}: must be https:// (or a server on loopback)")
    return problems


def _is_no_folder(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except OSError:  # what can't even be looked at is told of where it is used
        return False


def _missing(s: Settings, because: str, *names: str) -> list[str]:
    return [f"{name.upper()} = '': needed by {because}" for name in names if not getattr(s, name)]
