"""The cloud node's parts, looked at on this machine: units, nginx, settings and the plan of deploy.sh."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from scripts.cloud import settings as cloud
from tests.servers import make_certificate, require_program
from utils.settings import _ACTING, PROJECT_ROOT, Settings, describe, load

CLOUD = PROJECT_ROOT / "scripts" / "cloud"
DEPLOY = CLOUD / "deploy.sh"
UNITS = sorted((CLOUD / "systemd").glob("*.service"))
VALUES = {
    "AGENT_NAME": "cloud",
    "AGENT_MODE": "draft_only",
    "API_TOKEN": "t" * 40,
    "DASHBOARD_SECRET": "s" * 40,
    "DASHBOARD_PASSWORD_HASH": "scrypt:2:1:1:aa:bb",
    "VAULT_REMOTE_URL": "https://me:word@git.example.org/vault.git",
    "MAIL_PROVIDER": "imap",
    "IMAP_HOST": "imap.example.org",
    "IMAP_USER": "me",
    "IMAP_PASS": 'it\'s \\ "odd" # ünd $HOME',
    "ODOO_URL": "https://odoo.example.org",
    "ODOO_USER": "cloud",
    "ODOO_API_KEY": "k" * 20,
    "ALERTS_ENABLED": "true",
    "ALERT_SMTP_HOST": "mail.example.org",
    "ALERT_SMTP_USER": "alerts@example.org",
    "ALERT_SMTP_PASS": "p" * 20,
    "ALERT_TO_EMAIL": "me@example.org",
}


def in_bash(words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `words` where all functions of deploy.sh are known and nothing has been done."""
    return subprocess.run(
        ["bash", "-c", f'. "{DEPLOY}"\n{words}'],
        env=os.environ | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


# Units


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_units_are_hardened(unit: Path) -> None:
    analyze = require_program("systemd-analyze")
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=15", str(unit)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Overall exposure level" in done.stdout
    lines = unit.read_text().splitlines()  # what the sum alone could hide
    assert {"ProtectSystem=strict", "ProtectHome=yes", "NoNewPrivileges=yes", "CapabilityBoundingSet="} <= set(lines)


def test_units_have_no_mistake(tmp_path: Path) -> None:
    analyze = require_program("systemd-analyze")
    for unit in UNITS:  # the program that they start is not on this machine
        text = unit.read_text().replace("/opt/ai-employee/current/.venv/bin/python", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        [analyze, "verify", "--man=no", *map(str, sorted(tmp_path.glob("*.service")))], capture_output=True, text=True
    )
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "ai-employee" in line]
    assert (done.returncode, ours) == (0, [])


def test_the_four_units_are_those_of_the_mission_and_of_the_settings() -> None:
    assert {unit.stem.removeprefix("ai-employee-") for unit in UNITS} == set(cloud.UNITS)
    assert set(cloud.UNITS) == {"api", "dashboard", "watchers", "health-monitor"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_drafts_only_and_carries_its_own_settings_alone(unit: Path) -> None:
    text, name = unit.read_text(), unit.stem.removeprefix("ai-employee-")
    assert "Environment=AGENT_NAME=cloud AGENT_MODE=draft_only" in text  # the environment wins over any file
    assert f"LoadCredential=env:/etc/ai-employee/{name}.env" in text
    assert "EnvironmentFile" not in text
    assert ("deploy_key" in text) == (name in ("api", "watchers"))


def test_one_health_monitor_runs_where_its_unit_does() -> None:
    text = (CLOUD / "systemd" / "ai-employee-watchers.service").read_text()
    assert "SUPERVISE_API=false SUPERVISE_DASHBOARD=false SUPERVISE_HEALTH_MONITOR=false" in text


def test_memory_of_the_units_fits_a_server_of_one_gibibyte() -> None:
    high = [int(re.search(r"^MemoryHigh=(\d+)M$", unit.read_text(), re.MULTILINE)[1]) for unit in UNITS]  # type: ignore[index]
    assert sum(high) <= 1024 - 200  # what the system itself and nginx need


# Settings


def test_what_can_send_is_known_to_be() -> None:
    """A new account that acts must be named in the list, or a cloud server would hold its token."""
    secrets = {f.name.upper() for f in fields(Settings) if f.metadata and f.metadata["secret"]}
    acting = {name for name in secrets if name.lower().startswith(_ACTING)}
    assert set(cloud.SENDING) == acting | {"SMTP_USER", "SMTP_PASS", "GMAIL_SEND_TOKEN_PATH"}
    given = {name for names in cloud.UNITS.values() for name in names}
    assert given | set(cloud.SENDING) >= secrets, "a secret that no unit is given, and that is none to refuse"
    assert not given & set(cloud.SENDING)


@pytest.mark.parametrize("name", cloud.SENDING)
def test_a_credential_that_sends_is_refused(name: str, tmp_path: Path) -> None:
    env = tmp_path / ".env"
    lines = {f"{name}=hunter2": name, f"export {name}='hunter2'": name, f"  {name}_FILE = /run/x": f"{name}_FILE"}
    for line, told in lines.items():
        env.write_text(cloud.render(VALUES) + line + "\n")
        with pytest.raises(cloud.Refused) as refused:
            cloud.share(env, tmp_path / "out")
        assert f"{told} = (hidden)" in str(refused.value)
        assert "can send nothing in your name" in str(refused.value)
        assert "hunter2" not in str(refused.value)
        found = in_bash(f'check_sending "{env}"; printf "%s\\n" "${{PROBLEMS[@]}}"')
        assert f"{told} stands in {env} and" in found.stdout
        assert "hunter2" not in found.stdout
    assert not (tmp_path / "out").exists()
    env.write_text(cloud.render(VALUES) + f"# {name}=x\n{name}=\n{name}=\"\"  # none\n{name}=''\n")
    assert in_bash(f'check_sending "{env}"; echo "${{#PROBLEMS[@]}}"').stdout == "0\n"
    assert cloud.share(env, tmp_path / "out")


def test_a_node_that_acts_is_refused() -> None:
    assert cloud.refusals(VALUES) == []
    for name, value in (("AGENT_MODE", "full"), ("AGENT_NAME", "local")):
        assert name in "".join(cloud.refusals(VALUES | {name: value}))


@pytest.mark.parametrize("unit", sorted(cloud.UNITS))
def test_each_unit_gets_what_it_needs_and_no_other_secret(unit: str, tmp_path: Path) -> None:
    env, out = tmp_path / ".env", tmp_path / "out"
    env.write_text(cloud.render(VALUES))
    assert set(cloud.share(env, out)) == set(cloud.UNITS)
    settings = load({"ENV_FILE": str(out / f"{unit}.env"), "STATE_DIR": str(tmp_path / "state")})
    for description in describe():
        if description.secret:
            wanted = VALUES.get(description.name, "") if description.name in cloud.UNITS[unit] else ""
            assert getattr(settings, description.name.lower()) == wanted, description.name
    assert settings.draft_only
    assert (out / f"{unit}.env").stat().st_mode & 0o777 == 0o600
    assert cloud.share(env, out) == []


def test_settings_that_are_wrong_leave_the_units_what_they_have(tmp_path: Path) -> None:
    env, out = tmp_path / ".env", tmp_path / "out"
    env.write_text(cloud.render(VALUES))
    cloud.share(env, out)
    before = (out / "watchers.env").read_bytes()
    env.write_text(cloud.render(VALUES | {"API_PORT": "none", "MAIL_MAX_MB": "a lot", "IMAP_HOST": "other"}))
    with pytest.raises(cloud.Refused) as refused:
        cloud.share(env, out)
    assert "API_PORT" in str(refused.value)
    assert "MAIL_MAX_MB" in str(refused.value)
    assert (out / "watchers.env").read_bytes() == before
    env.write_text(cloud.render(VALUES | {"ALERT_SMTP_PASS": "another"}))
    assert cloud.share(env, out) == ["api", "health-monitor"]


def test_new_settings_are_made_once(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    password = cloud.make(env, {"IMAP_HOST": "imap.example.org", "HOME": "/root", "AGENT_MODE": "draft_only"})
    values = cloud.read(env)
    assert env.stat().st_mode & 0o777 == 0o600
    assert values["IMAP_HOST"] == "imap.example.org"
    assert "HOME" not in values
    assert len(password) >= 16
    assert password not in env.read_text()
    assert len(values["API_TOKEN"]) >= 40
    assert load({"ENV_FILE": str(env)}).draft_only
    with pytest.raises(FileExistsError):
        cloud.make(env, {})
    assert cloud.read(env) == values
    with pytest.raises(cloud.Refused):
        cloud.make(tmp_path / "other", {"SMTP_PASS": "x"})
    assert not (tmp_path / "other").exists()


def test_a_new_password_changes_that_alone(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("# mine\n" + cloud.render(VALUES) + "\n# the end")
    password = cloud.new_password(env)
    now = cloud.read(env)
    assert {name for name in VALUES if now[name] != VALUES[name]} == {"DASHBOARD_PASSWORD_HASH", "DASHBOARD_SECRET"}
    assert "# mine\n" in env.read_text()
    assert "# the end\n" in env.read_text()
    assert password not in env.read_text()
    assert cloud.share(env, tmp_path / "out")


# deploy.sh


def test_shell_scripts_have_no_finding() -> None:
    shellcheck = require_program("shellcheck")
    done = subprocess.run([shellcheck, "-x", str(DEPLOY)], cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_dry_run_prints_each_step_and_says_all_that_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", str(DEPLOY), "--dry-run", "--no-ssl"],
        env=os.environ | {"DOMAIN": "No Domain", "SMTP_PASS": "hunter2"},
        capture_output=True,
        text=True,
    )
    steps = re.findall(r"^\[(\d+)/(\d+)\] (\w+):", done.stdout, re.MULTILINE)
    assert [int(number) for number, _, _ in steps] == list(range(1, int(steps[0][1]) + 1))
    for _, _, name in steps:
        assert in_bash(f"declare -F step_{name}").returncode == 0
    assert "- DOMAIN:" in done.stdout
    assert "- VAULT_REMOTE_URL:" in done.stdout
    assert "- SMTP_PASS is in the environment and can send" in done.stdout
    assert "hunter2" not in done.stdout
    assert done.returncode == 1
    assert not done.stderr


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ('ID=debian\nVERSION_ID="12"', True),
        ('ID=debian\nVERSION_ID="13"', True),
        ('ID=ubuntu\nVERSION_ID="24.04"', True),
        ('ID=debian\nVERSION_ID="11"', False),
        ('ID=fedora\nVERSION_ID="42"', False),
        ("", False),
    ],
)
def test_systems_that_it_knows(text: str, fits: bool, tmp_path: Path) -> None:
    place = tmp_path / "os-release"
    place.write_text(text)
    found = in_bash(f'OS_RELEASE="{place}"; check_os; printf "%s" "${{PROBLEMS[*]-}}"').stdout
    assert (found == "") == fits


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("git@git.example.org:me/vault.git", "git.example.org 22"),
        ("ssh://git@git.example.org/me/vault.git", "git.example.org 22"),
        ("ssh://git.example.org:2222/vault.git", "git.example.org 2222"),
        ("git@git.example.org:/srv/vault.git", "git.example.org 22"),
        ("https://git.example.org/me/vault.git", ""),
        ("/srv/vault.git", ""),
        ("file:///srv/vault.git", ""),
    ],
)
def test_the_host_of_a_remote(url: str, place: str) -> None:
    assert in_bash(f"ssh_host '{url}'").stdout.strip() == place


def test_wrong_use_and_help() -> None:
    assert subprocess.run(["bash", str(DEPLOY), "--nonsense"], capture_output=True).returncode == 2
    told = subprocess.run(["bash", str(DEPLOY), "--help"], capture_output=True, text=True)
    assert told.returncode == 0
    options = set(re.findall(r"^        (?:-h \| )?(--[a-z-]+)\)", DEPLOY.read_text(), re.MULTILINE))
    assert options >= {"--upgrade", "--dry-run", "--uninstall", "--no-ssl", "--help"}
    assert all(option in told.stdout for option in options)


def test_a_release_is_named_after_its_content(tmp_path: Path) -> None:
    """The same files make the same release, whatever their times; no cache, build or setting is part of it."""
    for part in ("utils", "Watchers", "mcp_servers", "scripts", "dashboard", "docs"):
        (tmp_path / part / "__pycache__").mkdir(parents=True)
        (tmp_path / part / "file.py").write_text(part)
    for name in ("zones.json", "requirements.txt", "README.md", "LICENSE", "start_everything.sh", ".env.example"):
        (tmp_path / name).write_text(name)
    words = f'SOURCE="{tmp_path}"; release_archive | sha256sum'
    first = in_bash(words).stdout
    (tmp_path / "dashboard/node_modules").mkdir()
    (tmp_path / "dashboard/node_modules/x.js").write_text("x")
    (tmp_path / "utils/__pycache__/x.pyc").write_text("x")
    (tmp_path / ".env").write_text("API_TOKEN=secret")
    os.utime(tmp_path / "utils/file.py", (0, 0))
    assert in_bash(words).stdout == first
    (tmp_path / "utils/file.py").write_text("changed")
    assert in_bash(words).stdout not in ("", first)


def test_a_change_is_told_and_counted_once(tmp_path: Path) -> None:
    """Also at the end of a pipe, or nginx would keep its old configuration and the run say that nothing was changed."""
    place = tmp_path / "file"
    words = f'for text in one one two; do echo "$text" | put "{place}" 0640 "$(id -un)" || true; done'
    assert in_bash(words + '; echo "${#CHANGES[@]}"').stdout.splitlines() == [f"    wrote {place}"] * 2 + ["2"]
    assert place.read_text() == "two\n"
    assert place.stat().st_mode & 0o777 == 0o640


# nginx


@pytest.mark.parametrize("parts", ["upstreams.conf loopback.conf", "upstreams.conf redirect.conf tls.conf"])
def test_nginx_takes_its_configuration(parts: str, tmp_path: Path) -> None:
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    certificate, key = make_certificate(tmp_path)
    done = in_bash(
        f'CONF="{tmp_path}"; DOMAIN=ai.example.com; render locations.conf >"$CONF/nginx-locations.conf"; render {parts}'
    )
    site = done.stdout.replace("/etc/letsencrypt/live/ai.example.com/fullchain.pem", str(certificate))
    site = site.replace("/etc/letsencrypt/live/ai.example.com/privkey.pem", str(key))
    assert "@" not in re.sub(r"\S+@\S+\.\S+", "", site)
    main = tmp_path / "nginx.conf"
    main.write_text(
        f"pid {tmp_path}/nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{site}\n}}\n"
    )
    checked = subprocess.run([nginx, "-t", "-c", str(main), "-p", str(tmp_path)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr
