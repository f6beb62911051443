# shellcheck shell=bash
# What must be there before anything is changed. All that is missing is told at once.

PROBLEMS=()
OS_RELEASE=/etc/os-release
MEMINFO=/proc/meminfo
LEAST_MEMORY_MIB=900
LEAST_DISK_MIB=3000

missing() { PROBLEMS+=("$1"); }

step_checks() {
    check_root
    check_os
    check_memory
    check_disk
    check_domain
    check_vault
    check_ports
    check_sending "$ROOT/.env"
    check_sending_environment
    if [ "${#PROBLEMS[@]}" -gt 0 ]; then
        if [ "$DRY_RUN" = true ]; then
            detail "This is missing:"
            for problem in "${PROBLEMS[@]}"; do detail "- $problem"; done
            return 0
        fi
        fail "${#PROBLEMS[@]} thing(s) are missing, and nothing was changed:" "${PROBLEMS[@]/#/- }" \
            "Then run the same command again."
    fi
}

check_root() {
    [ "$(id -u)" = 0 ] || missing "root: run it with sudo"
    [ -d /run/systemd/system ] || missing "systemd: it must run this machine"
}

check_os() {
    local found
    # shellcheck disable=SC1090  # the file of the system, os-release(5)
    found=$(. "$OS_RELEASE" 2>/dev/null && printf '%s %s' "${ID-}" "${VERSION_ID-}") || found=unknown
    case "$found" in
    "debian 12" | "debian 13" | "ubuntu 24.04") ;;
    *) missing "system: Debian 12, Debian 13 or Ubuntu 24.04; this is $found" ;;
    esac
}

check_memory() {
    local mib
    mib=$(($(awk '/^MemTotal:/ {print $2}' "$MEMINFO") / 1024))
    [ "$mib" -ge "$LEAST_MEMORY_MIB" ] || missing "memory: a server with 1 GiB; this one has $mib MiB"
}

check_disk() {
    local mib
    [ -e "$ROOT/current" ] && return 0
    mib=$(df --output=avail -m "$(dirname "$ROOT")" | tail -n 1 | tr -d ' ')
    [ "$mib" -ge "$LEAST_DISK_MIB" ] || missing "disk: $LEAST_DISK_MIB MiB free in $(dirname "$ROOT"); there are $mib"
}

check_domain() {
    if ! [[ ${DOMAIN-} =~ ^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z0-9-]*[a-z]$ ]]; then
        missing "DOMAIN: the name of this server, as ai.example.com (small letters): sudo DOMAIN=ai.example.com bash $0"
        return 0
    fi
    [ "$SSL" = true ] || return 0
    local addresses
    addresses=$(getent ahosts "$DOMAIN" | awk '{print $1}' | sort -u) || addresses=
    if [ -z "$addresses" ]; then
        missing "DNS: $DOMAIN has no address yet; point it at this server, or begin with --no-ssl"
    elif ! hostname -I 2>/dev/null | tr ' ' '\n' | grep -qxF "$addresses"; then
        detail "Note: $DOMAIN is at $(printf '%s' "$addresses" | tr '\n' ' '), none of this machine's own addresses." \
            "Right behind a NAT; else the certificate will fail."
    fi
}

# A cloud node without the vault's repository would begin a history of its own.
check_vault() {
    [ -f "$ROOT/.env" ] || [ -n "${VAULT_REMOTE_URL-}" ] ||
        missing "VAULT_REMOTE_URL: the git address of the vault's repository, which Local has filled"
}

# check_ports: whoever listens on a port of ours, and is not ours.
check_ports() {
    local port holder
    command -v ss >/dev/null || return 0
    for port in 80 443 3000 9000; do
        holder=$(ss -ltnpH "sport = :$port" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)".*/\1/p' | sort -u | tr '\n' ' ')
        case "$port:$holder" in
        *: | 80:"nginx " | 443:"nginx ") continue ;;
        esac
        case "$port" in
        3000) systemctl is-active --quiet ai-employee-dashboard.service 2>/dev/null && continue ;;
        9000) systemctl is-active --quiet ai-employee-api.service 2>/dev/null && continue ;;
        esac
        missing "port $port: $holder listens there"
    done
}

# sending_pattern: a line of a .env file that names a credential that sends, with a value.
sending_pattern() {
    local names
    names=$(paste -s -d '|' "$HERE/sending_credentials.txt")
    printf "^[[:space:]]*(export[[:space:]]+)?'?(%s)(_FILE)?'?[[:space:]]*=[[:space:]]*([^[:space:]#'\"]|'[^']|\"[^\"])" "$names"
}

# check_sending FILE: the cloud drafts only, so whoever breaks in here must find nothing that sends.
check_sending() {
    local name
    [ -r "$1" ] || return 0
    for name in $({ grep -E "$(sending_pattern)" "$1" || true; } | sed -E "s/^[[:space:]]*(export[[:space:]]+)?'?([A-Z_]+).*/\\2/"); do
        missing "$name stands in $1 and can send. The cloud node drafts only, so that whoever breaks into this server can send nothing in your name: keep it on Local, and take the line out"
    done
}

check_sending_environment() {
    local name
    while read -r name; do
        if [ -n "${!name-}" ]; then missing "$name is in the environment and can send: the cloud node drafts only; keep it on Local"; fi
    done <"$HERE/sending_credentials.txt"
}
