"""deploy.sh on a real booted systemd: from a bare Debian to a running node, again, after kills and a reboot, and away.

One machine goes through one life, so this is one test; the first use of this computer makes Debian's files (minutes).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from tests import booted
from tests.booted import Machine
from tests.dashboard_kit import require_dashboard
from tests.servers import eventually
from utils.bootstrap import Services
from utils.settings import PROJECT_ROOT

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

UNITS = ("api", "dashboard", "watchers", "health-monitor")
DOMAIN = "ai.example.com"
SOURCE = "/root/ai-employee"
REMOTE = "ssh://git@127.0.0.1/srv/vault.git"
DEPLOY = ("bash", f"{SOURCE}/scripts/cloud/deploy.sh", "--no-ssl")


def test_the_life_of_a_cloud_node(tmp_path: Path) -> None:
    if reason := booted.why_not():
        pytest.skip(f"no machine can be booted here: {reason}")
    require_dashboard()
    (tmp_path / "machine").mkdir()
    with Machine(tmp_path / "machine") as machine:
        bring_source(machine.root)
        bring_vault(machine.root, tmp_path / "vault")
        machine.boot()
        machine.run("systemctl", "enable", "--now", "ssh")
        for chapter in LIFE:
            chapter(machine)


def bring_source(root: Path) -> None:
    """A copy of this project, with its dashboard built, as a person would have brought it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        source = PROJECT_ROOT / name
        if name and source.is_file():
            place = root / SOURCE.lstrip("/") / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)
    built = "dashboard/.next/standalone"
    shutil.copytree(PROJECT_ROOT / built, root / SOURCE.lstrip("/") / built, symlinks=True)


def bring_vault(root: Path, home: Path) -> None:
    """The repository of the vault, as Local has filled it, for the user git of this machine."""
    from utils.settings import load

    home.mkdir()
    bare = home / "vault.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True)
    environ = {"ENV_FILE": "", "VAULT_PATH": str(home / "local"), "STATE_DIR": str(home / "state")}
    local = Services(load(environ))
    try:
        (home / "state").mkdir()
        local.sync.prepare(str(bare))
    finally:
        local.close()
    shutil.copytree(bare, root / "srv/vault.git")
    for command in (
        ["useradd", "--create-home", "--shell", "/usr/bin/git-shell", "git"],
        ["chown", "-R", "git:", "/srv/vault.git"],
        ["mkdir", "-p", "/home/git/.ssh"],
    ):
        subprocess.run(["chroot", str(root), *command], check=True)


def let_in(machine: Machine, key: str) -> None:
    """What a person does on the page of the repository: the key may read and write it."""
    machine.run("sh", "-c", f"printf '%s\\n' '{key}' > /home/git/.ssh/authorized_keys && chown -R git: /home/git/.ssh")


def states(machine: Machine) -> list[str]:
    return machine.run("systemctl", "is-active", *(f"ai-employee-{unit}" for unit in UNITS)).stdout.split()


def main_pid(machine: Machine, unit: str) -> int:
    return int(machine.run("systemctl", "show", "-p", "MainPID", "--value", f"ai-employee-{unit}").stdout)


def ask(machine: Machine, path: str, *options: str) -> str:
    """The status and the text of an answer, through nginx."""
    done = machine.run("curl", "-s", "-m", "20", "-w", "\n%{http_code}", *options, f"http://127.0.0.1{path}")
    return done.stdout


def status(machine: Machine, path: str, *options: str) -> int:
    return int(ask(machine, path, *options).rsplit("\n", 1)[1])


def answers(machine: Machine) -> bool:
    return status(machine, "/api/health") == status(machine, "/login") == 200


def token(machine: Machine) -> str:
    found = re.search(r"^API_TOKEN=(.+)$", (machine.root / "opt/ai-employee/.env").read_text(), re.MULTILINE)
    assert found
    return found[1]


def what_is_missing_is_told_at_once_and_nothing_is_changed(machine: Machine) -> None:
    done = machine.run(*DEPLOY, SMTP_PASS="hunter2")
    assert done.returncode == 1
    assert "- DOMAIN:" in done.stdout
    assert "- VAULT_REMOTE_URL:" in done.stdout
    assert "- SMTP_PASS is in the environment and can send" in done.stdout
    assert "hunter2" not in done.stdout
    assert not (machine.root / "opt/ai-employee").exists()


def from_nothing_to_a_running_node(machine: Machine) -> None:
    """The mission's own command. The first run ends where a person must let the server's key in; the second goes on."""
    first = machine.run("sh", "-c", f"DOMAIN={DOMAIN} VAULT_REMOTE_URL={REMOTE} sudo {' '.join(DEPLOY)}")
    assert first.returncode == 1, first.stdout[-3000:]
    assert 'Failed at the step "vault"' in first.stdout
    key = re.search(r"^  (ssh-ed25519 .+)$", first.stdout, re.MULTILINE)
    assert key, first.stdout[-3000:]
    assert re.search(r"password is [a-z0-9]{4}(-[a-z0-9]{4}){3} ", first.stdout), "it would never be shown"
    let_in(machine, key[1])

    second = machine.run(*DEPLOY)  # the domain is known by now
    assert second.returncode == 0, second.stdout[-4000:]
    assert states(machine) == ["active"] * 4
    assert answers(machine)
    assert "Left for you" in second.stdout
    assert "drafts only" in second.stdout


def the_vault_is_synced_with_the_deploy_key(machine: Machine) -> None:
    """The API has the key as a credential of its own, and no other file of the machine holds it for that user."""
    bearer = f"Authorization: Bearer {token(machine)}"
    done = ask(machine, "/api/vault/sync/trigger", "-X", "POST", "-H", bearer)
    assert json.loads(done.rsplit("\n", 1)[0])["result"] in ("ok", "noop"), done
    reading = machine.run("runuser", "-u", "ai-employee", "--", "cat", "/etc/ai-employee/deploy_key")
    assert reading.returncode != 0
    for secret in ("/opt/ai-employee/.env", "/etc/ai-employee/api.env", "/run/credentials/ai-employee-api.service/env"):
        assert machine.run("runuser", "-u", "ai-employee-web", "--", "cat", secret).returncode != 0


def strangers_get_nothing_and_events_flow(machine: Machine) -> None:
    assert status(machine, "/api/platinum/status") in (401, 403)  # a browser without a session
    assert status(machine, "/api/platinum/status", "-H", "Authorization: Bearer wrong") == 401
    bearer = ("-H", f"Authorization: Bearer {token(machine)}")
    told = json.loads(ask(machine, "/api/platinum/status", *bearer).rsplit("\n", 1)[0])
    assert (told["agent"], told["mode"]) == ("cloud", "draft_only")
    stream = machine.run("curl", "-sN", "-m", "5", *bearer, "http://127.0.0.1/api/events")
    assert stream.stdout.strip(), "nginx held the events back"
    (machine.root / "root/large").write_bytes(b"x" * 1_100_000)
    assert status(machine, "/api/stop", "-X", "POST", *bearer, "--data-binary", "@/root/large") == 413


def who_guesses_passwords_is_shut_out(machine: Machine) -> None:
    assert "22/tcp" in machine.run("ufw", "status").stdout
    machine.run("fail2ban-client", "set", "sshd", "banip", "192.0.2.1")
    eventually(lambda: "192.0.2.1" in machine.run("iptables", "-S").stdout, deadline=30, what="the ban")


def one_health_monitor_runs(machine: Machine) -> None:
    listed = machine.run("ps", "-eo", "args").stdout
    assert len(re.findall(r"-m Watchers\.health_monitor", listed)) == 1
    assert len(re.findall(r"-m Watchers\.dashboard", listed)) == 1
    health = eventually(
        lambda: services_seen(machine).get("dashboard", {}).get("status") == "healthy", deadline=90, what="a check"
    )
    assert health


def services_seen(machine: Machine) -> dict:
    answer = ask(machine, "/api/health/detailed", "-H", f"Authorization: Bearer {token(machine)}")
    return json.loads(answer.rsplit("\n", 1)[0]).get("services", {})


def a_second_run_changes_nothing(machine: Machine) -> None:
    pids = [main_pid(machine, unit) for unit in UNITS]
    done = machine.run(*DEPLOY)
    assert done.returncode == 0, done.stdout[-3000:]
    assert done.stdout.endswith("Nothing was changed.\n")
    assert [main_pid(machine, unit) for unit in UNITS] == pids


def a_credential_that_sends_is_refused(machine: Machine) -> None:
    env = machine.root / "opt/ai-employee/.env"
    before = env.read_text()
    env.write_text(before + "SMTP_PASS=hunter2\n")
    try:
        done = machine.run(*DEPLOY)
        assert done.returncode == 1
        assert "can send nothing in your name" in done.stdout
        assert "hunter2" not in done.stdout
        assert states(machine) == ["active"] * 4
    finally:
        env.write_text(before)


def what_is_killed_comes_back(machine: Machine) -> None:
    for unit in UNITS:
        killed = main_pid(machine, unit)
        machine.run("kill", "-9", str(killed))
        eventually(partial(has_another_pid, machine, unit, killed), deadline=60, what=f"another {unit}")
        eventually(partial(all_is_well, machine), deadline=60, what="all of it")


def has_another_pid(machine: Machine, unit: str, killed: int) -> bool:
    return main_pid(machine, unit) not in (0, killed)


def all_is_well(machine: Machine) -> bool:
    return states(machine) == ["active"] * 4 and answers(machine)


def an_upgrade_that_does_not_work_goes_back(machine: Machine) -> None:
    broken = machine.root / SOURCE.lstrip("/") / "Watchers/orchestrator.py"
    kept = broken.read_text()
    ran = (machine.root / "opt/ai-employee/current").readlink()
    broken.write_text("raise SystemExit('broken by a test')\n")
    plain = machine.run(*DEPLOY)
    assert plain.returncode == 0, plain.stdout[-3000:]
    assert "--upgrade installs it" in plain.stdout
    done = machine.run(*DEPLOY, "--upgrade")
    assert done.returncode == 1, done.stdout[-3000:]
    assert "broken by a test" in done.stdout
    assert "It works again." in done.stdout
    assert (machine.root / "opt/ai-employee/current").readlink() == ran
    assert states(machine) == ["active"] * 4
    broken.write_text(kept + "\n# a newer one\n")
    done = machine.run(*DEPLOY, "--upgrade")
    assert done.returncode == 0, done.stdout[-3000:]
    assert (machine.root / "opt/ai-employee/current").readlink() != ran
    assert states(machine) == ["active"] * 4


def it_comes_back_after_a_reboot(machine: Machine) -> None:
    machine.reboot()
    eventually(lambda: all_is_well(machine), deadline=60, what="all of it")
    assert machine.run("systemctl", "--failed", "--no-legend", "--plain").stdout == ""


PEBBLE = """
set -e
mkdir -p /root/pebble && cd /root/pebble
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout key.pem -out cert.pem -subj /CN=localhost \\
    -addext subjectAltName=DNS:localhost
cat > config.json <<'JSON'
{"pebble": {"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000", "httpPort": 80,
 "tlsPort": 443, "certificate": "/root/pebble/cert.pem", "privateKey": "/root/pebble/key.pem"}}
JSON
echo "127.0.0.1 ai.example.com localhost" >> /etc/hosts
pebble-challtestsrv -defaultIPv4 127.0.0.1 -defaultIPv6 "" -http01 "" -https01 "" -tlsalpn01 "" -doh "" \\
    -dns01 127.0.0.1:8053 -management 127.0.0.1:8055 >dns.log 2>&1 &
PEBBLE_VA_NOSLEEP=1 pebble -config config.json -dnsserver 127.0.0.1:8053 >pebble.log 2>&1 &
"""
AUTHORITY = {"ACME_SERVER": "https://localhost:14000/dir", "REQUESTS_CA_BUNDLE": "/root/pebble/cert.pem"}


def a_certificate_comes_from_an_authority_and_is_renewed(machine: Machine) -> None:
    """A real certbot, and an ACME server (RFC 8555) that checks the answer on port 80 as the public ones do."""
    made = machine.run("sh", "-c", PEBBLE)
    assert made.returncode == 0, made.stdout
    directory = ("curl", "-sf", "--cacert", AUTHORITY["REQUESTS_CA_BUNDLE"], AUTHORITY["ACME_SERVER"])
    eventually(lambda: machine.run(*directory).returncode == 0, deadline=30, what="the authority")
    done = machine.run(*DEPLOY[:2], **AUTHORITY)
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"https://{DOMAIN}" in done.stdout
    again = machine.run(*DEPLOY[:2], **AUTHORITY)
    assert again.stdout.endswith("Nothing was changed.\n"), again.stdout[-3000:]

    def head(url: str, *options: str) -> str:
        return machine.run("curl", "-skI", "-m", "20", *options, url).stdout

    page = head(f"https://{DOMAIN}/login")
    assert " 200" in page
    assert "strict-transport-security: max-age=63072000" in page.lower()
    assert head(f"https://{DOMAIN}/login", "--tls-max", "1.1") == ""
    assert head("https://127.0.0.1/login") == "", "another name gets no handshake"
    assert f"Location: https://{DOMAIN}/login" in head("http://127.0.0.1/login")

    def serial() -> str:
        asked = f"openssl s_client -connect {DOMAIN}:443 -servername {DOMAIN} </dev/null 2>/dev/null"
        return machine.run("sh", "-c", f"{asked} | openssl x509 -noout -serial").stdout

    before = serial()
    renewed = machine.run("certbot", "renew", "--force-renewal", REQUESTS_CA_BUNDLE=AUTHORITY["REQUESTS_CA_BUNDLE"])
    assert renewed.returncode == 0, renewed.stdout[-2000:]
    eventually(lambda: serial() not in ("", before), deadline=30, what="the new certificate in nginx")
    assert machine.run("systemctl", "is-enabled", "certbot.timer").stdout.strip() == "enabled"


def uninstall_keeps_the_data(machine: Machine) -> None:
    def kept() -> dict[str, int]:
        folders = (machine.root / "opt/ai-employee/AI_Employee_Vault", machine.root / "var/lib/ai-employee")
        files = [p for folder in folders for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock"]
        return {str(p): p.stat().st_size for p in files if "AI_Employee_Vault" in str(p) and ".git/" not in str(p)}

    before = kept()
    env = (machine.root / "opt/ai-employee/.env").read_bytes()
    done = machine.run(*DEPLOY, "--uninstall")
    assert done.returncode == 0, done.stdout
    assert set(before) <= set(kept())
    assert before
    assert (machine.root / "opt/ai-employee/.env").read_bytes() == env
    assert (machine.root / "etc/ai-employee/deploy_key").is_file()
    assert (machine.root / "var/lib/ai-employee").is_dir()
    assert not (machine.root / "opt/ai-employee/releases").exists()
    assert set(states(machine)) == {"inactive"}
    assert machine.run("nginx", "-t").returncode == 0


#: In this order.
LIFE = (
    what_is_missing_is_told_at_once_and_nothing_is_changed,
    from_nothing_to_a_running_node,
    the_vault_is_synced_with_the_deploy_key,
    strangers_get_nothing_and_events_flow,
    who_guesses_passwords_is_shut_out,
    one_health_monitor_runs,
    a_second_run_changes_nothing,
    a_credential_that_sends_is_refused,
    what_is_killed_comes_back,
    an_upgrade_that_does_not_work_goes_back,
    it_comes_back_after_a_reboot,
    a_certificate_comes_from_an_authority_and_is_renewed,
    uninstall_keeps_the_data,
)
