#!/usr/bin/env bash
# A bare server becomes a running cloud node, step by step. Running it again changes nothing that is right already.
set -Eeuo pipefail
shopt -s lastpipe # `… | put FILE` notes in this very shell that it changed something

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
SOURCE=$(cd "$HERE/../.." && pwd -P)
ROOT=/opt/ai-employee
VAULT=$ROOT/AI_Employee_Vault
STATE=/var/lib/ai-employee
CONF=/etc/ai-employee
LOG=/var/log/ai-employee-deploy.log

# shellcheck source=scripts/cloud/lib/say.sh
. "$HERE/lib/say.sh"
# shellcheck source=scripts/cloud/lib/checks.sh
. "$HERE/lib/checks.sh"
# shellcheck source=scripts/cloud/lib/install.sh
. "$HERE/lib/install.sh"
# shellcheck source=scripts/cloud/lib/serve.sh
. "$HERE/lib/serve.sh"

SSL=true
FIREWALL=true
UPGRADE=false
NEW_PASSWORD=false
DRY_RUN=false
TASK=install
PREVIOUS= # the release that ran before

usage() {
    cat <<'TEXT'
sudo DOMAIN=ai.example.com bash scripts/cloud/deploy.sh [OPTION…]

A fresh Debian 12, Debian 13 or Ubuntu 24.04 with 1 GiB becomes the cloud node: API, dashboard, watchers and health
monitor as units of systemd, nginx with a certificate before them. Run again it changes nothing that is right already;
after a change of /opt/ai-employee/.env it takes the new settings.

  --upgrade      install the release that lies here; if it does not work, the one before runs again
  --password     make a new password for the dashboard, and end all sessions
  --dry-run      check, and say what would be done; change nothing
  --no-ssl       no certificate yet (no DNS): nginx then answers this machine alone
  --no-firewall  leave ufw alone, because the provider's firewall does it
  --uninstall    stop and remove it all but .env, vault, state and keys
  --help

From the environment: DOMAIN; at the first run every setting of .env.example (VAULT_REMOTE_URL, IMAP_HOST, IMAP_USER,
IMAP_PASS, ALERT_…), which go into .env; ACME_EMAIL (who is told of certificates), ACME_SERVER (another authority).
TEXT
}

# name: what it does. The functions are called step_NAME.
STEPS=(
    "checks: root, system, memory, disk, DNS, ports, and no credential that sends"
    "packages: of Debian: nginx, git, Python, fail2ban, ufw, certbot, unattended-upgrades"
    "users: ai-employee and ai-employee-web, who may not log in"
    "release: the program with its Python packages, in a folder of its own below $ROOT/releases"
    "dashboard: build the web dashboard, unless it comes built"
    "settings: $ROOT/.env, made once with new secrets; checked, and shared out to the units"
    "vault: a deploy key, and a clone of the vault's repository"
    "units: four units of systemd, enabled and started in order"
    "nginx: TLS, limits, one address for API and dashboard"
    "certificate: by certbot, renewed by its timer"
    "firewall: ssh, http and https alone come in; fail2ban"
    "upkeep: security updates by themselves, bounded logs, backups where there is backup.sh"
    "health: all of it answers the way a browser asks; what runs where, and what is left for you"
)

options() {
    while [ "$#" -gt 0 ]; do
        case "$1" in
        --upgrade) UPGRADE=true ;;
        --dry-run) DRY_RUN=true ;;
        --no-ssl) SSL=false ;;
        --no-firewall) FIREWALL=false ;;
        --password) NEW_PASSWORD=true ;;
        --uninstall) TASK=uninstall ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            printf 'unknown option: %s\n\n' "$1" >&2
            usage >&2
            exit 2
            ;;
        esac
        shift
    done
}

# `DOMAIN=… sudo bash deploy.sh`: sudo keeps the variable for itself. Root reads what the caller gave to it.
take_from_sudo() {
    local pair name
    [ "$(id -u)" = 0 ] && [ "$(cat "/proc/$PPID/comm" 2>/dev/null)" = sudo ] || return 0
    while IFS= read -r -d '' pair; do
        name=${pair%%=*}
        [[ $name =~ ^(DOMAIN|ACME_EMAIL|ACME_SERVER)$ ]] || grep -q "^#\? \?$name=" "$SOURCE/.env.example" || continue
        if [ -z "${!name-}" ]; then export "$name=${pair#*=}"; fi
    done <"/proc/$PPID/environ"
}

# The domain of an earlier run, where none is given now.
take_from_before() {
    [ -n "${DOMAIN-}" ] || DOMAIN=$(cat "$CONF/domain" 2>/dev/null) || DOMAIN=
}

main() {
    options "$@"
    take_from_sudo
    take_from_before
    if [ "$DRY_RUN" = true ]; then
        plan
        return
    fi
    if [ "$(id -u)" = 0 ]; then
        exec 9>/run/lock/ai-employee-deploy.lock
        flock -n 9 || fail "another run of deploy.sh is under way" "Wait for its end."
        umask 022
        touch "$LOG" && chmod 0600 "$LOG"
    fi
    trap 'rm -rf "$PRIVATE"; drop_swap' EXIT
    trap 'on_error "$LINENO" "$BASH_COMMAND"' ERR
    if [ "$TASK" = uninstall ]; then
        uninstall
        return
    fi
    ask DOMAIN "Name of this server, as ai.example.com"
    [ -f "$ROOT/.env" ] || ask VAULT_REMOTE_URL "Git address of the vault's repository"
    run_steps
}

run_steps() {
    local number=0 step
    for step in "${STEPS[@]}"; do
        number=$((number + 1))
        STEP=${step%%:*}
        say "[$number/${#STEPS[@]}] $step"
        "step_$STEP"
        if [ "$STEP" = users ]; then put "$CONF/domain" 0644 <<<"$DOMAIN" || true; fi
    done
}

plan() {
    local number=0 step
    say "This would be done (nothing is changed):"
    for step in "${STEPS[@]}"; do
        number=$((number + 1))
        say "[$number/${#STEPS[@]}] $step"
        if [ "$number" = 1 ]; then step_checks; fi
    done
    [ "${#PROBLEMS[@]}" = 0 ]
}

uninstall() {
    local unit
    STEP=uninstall
    [ "$(id -u)" = 0 ] || fail "root is needed" "Run it with sudo."
    for unit in "${UNITS[@]}"; do
        [ -f "$UNIT_FOLDER/ai-employee-$unit.service" ] || continue
        quietly systemctl disable --now "ai-employee-$unit.service"
        rm -f "$UNIT_FOLDER/ai-employee-$unit.service" "$CONF/$unit.env"
        say "Removed ai-employee-$unit"
    done
    rm -rf "$UNIT_FOLDER/ai-employee-.service.d" "$ROOT/current" "$ROOT/releases" "$ROOT/venvs"
    rm -f "$SITE" "$CONF/nginx-locations.conf" /etc/fail2ban/jail.d/ai-employee.local /etc/cron.d/ai-employee-backup \
        /etc/systemd/journald.conf.d/ai-employee.conf
    systemctl daemon-reload
    if systemctl is-active --quiet nginx; then quietly systemctl reload nginx; fi
    say "Kept: $ROOT/.env, $ROOT/zones.json, $VAULT, $STATE, $CONF (deploy key), users, packages, firewall, certificates."
    say "To delete the data too: rm -rf $ROOT $STATE $CONF; and take the deploy key out of the vault's repository."
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then main "$@"; fi
