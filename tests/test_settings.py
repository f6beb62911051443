"""Settings: where they come from, all problems at once, secrets hidden, and `.env.example` true to the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dotenv import dotenv_values

from scripts.env_example import SECTIONS, render
from utils.settings import PROJECT_ROOT, InvalidSettings, describe, load, load_leniently, warnings

PLAIN = {"ENV_FILE": ""}


def problems(**environ: str) -> list[str]:
    with pytest.raises(InvalidSettings) as raised:
        load(PLAIN | environ)
    return raised.value.problems


def test_env_example_says_what_the_code_says() -> None:
    text = (PROJECT_ROOT / ".env.example").read_text(encoding="utf-8")
    assert text == render(), "run: python -m scripts.env_example > .env.example"
    names = [setting.name for setting in describe()]
    assert re.findall(r"^([A-Z_]+)=", text, re.MULTILINE) == names
    assert set(SECTIONS) <= set(names)
    mission = (
        "AGENT_MODE AGENT_NAME VAULT_PATH CLOUD_API_URL VAULT_SYNC_REMOTE VAULT_SYNC_BRANCH ALERTS_ENABLED "
        "ALERT_SMTP_HOST ALERT_SMTP_USER ALERT_SMTP_PASS ALERT_TO_EMAIL"
    )
    assert set(mission.split()) <= set(names)


def test_env_example_copied_is_the_default_and_needs_no_account(tmp_path: Path) -> None:
    copied = tmp_path / ".env"
    copied.write_bytes((PROJECT_ROOT / ".env.example").read_bytes())
    assert load({"ENV_FILE": str(copied)}) == load(PLAIN)
    settings = load(PLAIN)
    assert (settings.mail_provider, settings.mail_sender, settings.draft_engine) == ("maildir", "outbox", "builtin")
    assert (settings.agent_mode, settings.agent_name, settings.api_host, settings.api_port) == (
        "full",
        "local",
        "127.0.0.1",
        9000,
    )
    assert settings.state_dir == PROJECT_ROOT / ".state"


def test_the_environment_wins_over_the_file_and_a_secret_may_lie_in_a_file_of_its_own(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from the file ${HOME}\n")
    env = tmp_path / "env"
    env.write_text(f"API_PORT=9001\nLOG_LEVEL=DEBUG\nIMAP_PASS=\nIMAP_PASS_FILE={secret}\nSMTP_PASS='a $b ${{c}} #d'\n")
    settings = load({"ENV_FILE": str(env), "API_PORT": "9002"})
    assert (settings.api_port, settings.log_level) == (9002, "DEBUG")
    assert settings.imap_pass == "from the file ${HOME}"
    assert settings.smtp_pass == "a $b ${c} #d"  # no interpolation: a password is what it is
    assert load({"ENV_FILE": str(env), "IMAP_PASS": "x"}).imap_pass == "x"
    assert "secret" not in repr(settings)
    assert "from the file" not in repr(settings)


def test_all_problems_at_once_each_with_name_source_and_value_but_no_secret(tmp_path: Path) -> None:
    env = tmp_path / "env"
    env.write_text("API_PORT=99999\nDRY_RUN=perhaps\n")
    with pytest.raises(InvalidSettings) as raised:
        load({"ENV_FILE": str(env), "AGENT_MODE": "fool", "API_TOKEN": "tooshort", "IMAP_PASS_FILE": "/nowhere"})
    text = str(raised.value)
    assert len(raised.value.problems) == 5
    assert "API_PORT = '99999' (env): must be a number from 1 to 65535" in text
    assert "DRY_RUN = 'perhaps' (env): must be true or false" in text
    assert "AGENT_MODE = 'fool' (environment): must be one of full, draft_only" in text
    assert "API_TOKEN = (hidden): must have at least 16 characters" in text
    assert "IMAP_PASS_FILE = '/nowhere' (environment): cannot be read: No such file or directory" in text
    assert "tooshort" not in text


def test_an_env_file_that_is_named_must_exist(tmp_path: Path) -> None:
    assert "there is no such file" in problems(ENV_FILE=str(tmp_path / "none"))[0]


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"AGENT_NAME": "cloud"}, "the cloud node must be draft_only"),
        ({"STATE_DIR": "/v/.state", "VAULT_PATH": "/v"}, "must not lie inside the vault"),
        ({"STATE_DIR": "/v", "VAULT_PATH": "/v"}, "must not lie inside the vault"),
        ({"STATE_DIR": "/s", "VAULT_PATH": "/s/v"}, "must not lie inside STATE_DIR"),
        ({"API_HOST": "0.0.0.0"}, "needs API_TOKEN"),
        ({"MAIL_PROVIDER": "imap"}, "IMAP_HOST = '': needed by MAIL_PROVIDER=imap"),
        ({"MAIL_SENDER": "smtp"}, "SMTP_HOST = '': needed by MAIL_SENDER=smtp"),
        ({"MAIL_SENDER": "gmail"}, "GMAIL_SEND_TOKEN_PATH = '': needed by MAIL_SENDER=gmail"),
        ({"GMAIL_SEND_TOKEN_PATH": "/v/token.json", "VAULT_PATH": "/v"}, "must not lie inside the vault"),
        (
            {"GMAIL_SEND_TOKEN_PATH": "/t.json", "AGENT_NAME": "cloud", "AGENT_MODE": "draft_only"},
            "GMAIL_SEND_TOKEN_PATH = '/t.json': the cloud node never acts; keep it on Local",
        ),
        ({"ALERTS_ENABLED": "true"}, "ALERT_SMTP_HOST = '': needed by ALERTS_ENABLED=true"),
        ({"IMAP_HOST": "imap.example.org", "IMAP_SECURITY": "none"}, "only for a server on loopback"),
        ({"VAULT_PATH": "/etc/passwd"}, "VAULT_PATH = '/etc/passwd': is a file, not a folder"),
        ({"STATE_DIR": "/etc/passwd"}, "STATE_DIR = '/etc/passwd': is a file, not a folder"),
        ({"MAIL_PROVIDER": "gmail"}, "not built yet"),
        ({"DRAFT_ENGINE": "openai"}, "not built yet"),
        ({"ZONES_FILE": "/nowhere.json"}, "cannot be read"),
    ],
)
def test_what_does_not_go_together_is_refused(environ: dict[str, str], words: str) -> None:
    assert words in "\n".join(problems(**environ))


def test_zones_json_is_validated_with_all_its_problems(tmp_path: Path) -> None:
    file = tmp_path / "zones.json"
    text = (PROJECT_ROOT / "zones.json").read_text()
    text = text.replace('"payments": "local"', '"payments": "active"').replace('"threshold": 3', '"threshold": 0')
    file.write_text(text.replace('"initial_holder": "cloud"', '"initial_holder": "moon"'))
    found = "\n".join(problems(ZONES_FILE=str(file)))
    for words in ("payments is local only", "threshold is 0", "initial_holder is 'moon'"):
        assert words in found
    file.write_text("{")
    assert "not JSON" in "\n".join(problems(ZONES_FILE=str(file)))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9000"),
        ("localhost", "http://127.0.0.1:9000"),
        ("0.0.0.0", "http://127.0.0.1:9000"),
        ("127.0.0.2", "http://127.0.0.2:9000"),
        ("::1", "http://[::1]:9000"),
        ("10.0.0.5", "http://10.0.0.5:9000"),
    ],
)
def test_where_our_own_processes_find_the_api(host: str, url: str) -> None:
    assert load(PLAIN | {"API_HOST": host, "API_TOKEN": "x" * 16}).own_api_url == url


def test_dotenv_reads_every_line_of_the_example() -> None:
    assert len(dotenv_values(PROJECT_ROOT / ".env.example")) == len(describe())


def test_a_line_of_the_file_that_is_no_setting_is_named_by_its_number_and_never_shown(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    lines = ("# mine", "export AGENT_MODE=full", "", "", "API_PORT 9001", "API_TOKEN", "LOG_LEVEL=DEBUG")
    env.write_text("\n".join((*lines, "IMAP_PASS='half a secret\n")))
    found = problems(ENV_FILE=str(env))
    assert [problem.partition(":")[0] for problem in found] == [".env, line 5", ".env, line 6", ".env, line 8"]
    assert all("write NAME=value" in problem and str(env) in problem for problem in found)
    assert "half" not in str(found)
    env.write_bytes(b"MAIL_FROM_NAME=M\xfcller\n")
    assert problems(ENV_FILE=str(env)) == [f".env: cannot be read: not UTF-8 ({env})"]


def test_a_misspelt_name_in_the_file_is_a_warning_with_the_name_that_was_meant(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text(
        "AGENTMODE=draft_only\nAPI_PRT=1\nlog_level=DEBUG\nEDITOR=vi\nIMAP_PASS_FILE=/dev/null\nENV_FILE=x\nAPI_PORT=9001\n"
    )
    environ = {"ENV_FILE": str(env), "AGENT_NAM": "the environment is everybody's"}
    assert warnings(environ) == [
        "AGENTMODE in .env is no setting; did you mean AGENT_MODE?",
        "API_PRT in .env is no setting; did you mean API_PORT?",
        "log_level in .env is no setting; did you mean LOG_LEVEL?",
    ]
    assert load(environ).api_port == 9001
    assert warnings(PLAIN) == []
    env.write_bytes((PROJECT_ROOT / ".env.example").read_bytes())
    assert warnings(environ) == []


def test_a_setting_that_stands_twice_is_a_warning_with_both_lines(tmp_path: Path) -> None:
    """The last one won without a word."""
    env = tmp_path / ".env"
    env.write_text("UNDO_SECONDS=10\n\n# less\nUNDO_SECONDS=3\nEDITOR=vi\nEDITOR=nano\n")
    assert warnings({"ENV_FILE": str(env)}) == ["UNDO_SECONDS stands in .env 2 times (lines 1, 4): the last one counts"]
    assert load(PLAIN | {"ENV_FILE": str(env)}).undo_seconds == 3


def test_what_is_right_can_be_had_in_spite_of_what_is_not(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    settings, found = load_leniently(PLAIN | {"AGENT_MODE": "foo", "API_PORT": "9", "STATE_DIR": state})
    assert (str(settings.state_dir), settings.api_port, len(found)) == (state, 9, 1)
    assert load_leniently(PLAIN)[1] == []


def test_no_account_that_acts_lies_on_the_cloud() -> None:
    names = [s.name for s in describe() if s.secret and s.name.startswith(("LINKEDIN", "FACEBOOK", "X_", "WHATSAPP"))]
    assert len(names) == 7
    for name in names:
        (said,) = problems(AGENT_NAME="cloud", AGENT_MODE="draft_only", **{name: "a token"})
        assert said == f"{name} = (hidden): the cloud node never acts; keep it on Local"
        assert load(PLAIN | {name: "a token"}) and "a token" not in repr(load(PLAIN | {name: "a token"}))


@pytest.mark.parametrize("name", ["LINKEDIN_API_URL", "GRAPH_API_URL", "X_API_URL", "GMAIL_API_URL"])
def test_a_token_never_travels_in_the_clear(name: str) -> None:
    assert "must be https://" in problems(**{name: "http://api.example.org"})[0]
    assert load(PLAIN | {name: "http://127.0.0.1:9"}) and load(PLAIN | {name: "https://api.example.org"})


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("LINKEDIN_AUTHOR", "urn:li:share:1"),
        ("LINKEDIN_VERSION", "202613"),
        ("GRAPH_API_VERSION", "25"),
        ("FACEBOOK_PAGE_ID", "our-page"),
        ("WHATSAPP_PHONE_NUMBER_ID", "+43660123456"),
    ],
)
def test_ids_and_versions_look_like_such(name: str, bad: str) -> None:
    assert problems(**{name: bad})[0].startswith(f"{name} = {bad!r}")
