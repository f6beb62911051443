# shellcheck shell=bash
# What runs: units, nginx, certificate, firewall, upkeep, and the health check with its summary.

UNITS=(api dashboard watchers health-monitor) # in the order of their start
UNIT_FOLDER=/etc/systemd/system
SITE=/etc/nginx/conf.d/ai-employee.conf
ACME_ROOT=/var/www/ai-employee-acme
PATIENCE=90 # seconds for all to answer

step_units() {
    local unit file
    install_units "$RELEASE"
    switch_to "$RELEASE"
    for unit in "${UNITS[@]}"; do
        file="ai-employee-$unit.service"
        systemctl is-enabled --quiet "$file" || quietly systemctl enable "$file"
        if ! systemctl is-active --quiet "$file" || [[ " ${RESTART[*]} " == *" $unit "* ]]; then
            start_unit "$file"
        fi
    done
}

# install_units RELEASE: its units, and the pauses between restarts where systemd knows them (254).
install_units() {
    local unit file before=${#CHANGES[@]}
    for unit in "${UNITS[@]}"; do
        file="ai-employee-$unit.service"
        if put "$UNIT_FOLDER/$file" 0644 <"$1/scripts/cloud/systemd/$file"; then RESTART+=("$unit"); fi
    done
    if [ "$(systemctl --version | awk 'NR == 1 {print int($2)}')" -ge 254 ]; then
        put "$UNIT_FOLDER/ai-employee-.service.d/backoff.conf" 0644 <"$1/scripts/cloud/systemd/backoff.conf" || true
    fi
    [ "${#CHANGES[@]}" = "$before" ] || systemctl daemon-reload
}

# switch_to RELEASE: `current` is this one from now on, at once and whole.
switch_to() {
    [ "$(readlink "$ROOT/current" 2>/dev/null)" = "releases/${1##*/}" ] && return 0
    ln -sfn "releases/${1##*/}" "$ROOT/current.new"
    mv -fT "$ROOT/current.new" "$ROOT/current"
    RESTART=("${UNITS[@]}")
    changed "$ROOT/current is the release ${1##*/}"
}

start_unit() {
    quietly systemctl restart "$1" && changed "started $1" && return 0
    journalctl -u "$1" -n 20 --no-pager -o cat >&2 || true
    go_back
    fail "$1 does not start; its last words are above" "More: journalctl -u $1"
}

# render FILE…: the parts of nginx's configuration for this server.
render() { (cd "$HERE/nginx" && sed "s|@DOMAIN@|$DOMAIN|g; s|@ACME_ROOT@|$ACME_ROOT|g; s|@CONF@|$CONF|g" "$@"); }

# Which parts: without TLS it answers this machine alone, for a password would travel in the clear.
site_parts() {
    if [ "$SSL" = false ]; then
        echo upstreams.conf loopback.conf
    elif [ -e "/etc/letsencrypt/live/$DOMAIN/fullchain.pem" ]; then
        echo upstreams.conf redirect.conf tls.conf
    else
        echo upstreams.conf redirect.conf
    fi
}

step_nginx() {
    local kept before=${#CHANGES[@]}
    kept=$(mktemp)
    cp "$SITE" "$kept" 2>/dev/null || true
    install -d -m 0755 "$ACME_ROOT"
    render locations.conf | put "$CONF/nginx-locations.conf" 0644 || true
    # shellcheck disable=SC2046  # a list of files
    render $(site_parts) | put "$SITE" 0644 || true
    if [ -L /etc/nginx/sites-enabled/default ]; then
        rm /etc/nginx/sites-enabled/default
        changed "switched nginx's welcome page off"
    fi
    if ! quietly nginx -t; then
        if [ -s "$kept" ]; then cp "$kept" "$SITE"; else rm -f "$SITE"; fi
        fail "nginx does not take its configuration (see above); the old one is back"
    fi
    rm -f "$kept"
    systemctl is-enabled --quiet nginx || quietly systemctl enable nginx
    if ! systemctl is-active --quiet nginx; then
        quietly systemctl start nginx || fail "nginx does not start (see above)"
        changed "started nginx"
    elif [ "${#CHANGES[@]}" != "$before" ]; then # a reload could not go from all addresses to one, and would not say so
        quietly systemctl restart nginx || fail "nginx can't be restarted (see above)"
    fi
}

step_certificate() {
    if [ "$SSL" = false ]; then
        detail "None (--no-ssl)"
        return 0
    fi
    if [ ! -e "/etc/letsencrypt/live/$DOMAIN/fullchain.pem" ]; then
        local words=(certonly --non-interactive --agree-tos --webroot -w "$ACME_ROOT" -d "$DOMAIN" --deploy-hook "systemctl reload nginx")
        [ -z "${ACME_SERVER-}" ] || words+=(--server "$ACME_SERVER")
        if [ -n "${ACME_EMAIL-}" ]; then words+=(-m "$ACME_EMAIL"); else words+=(--register-unsafely-without-email); fi
        quietly certbot "${words[@]}" ||
            fail "no certificate for $DOMAIN (see above)" "Does $DOMAIN lead here, and does port 80 pass the provider's firewall?" \
                "Until then: --no-ssl"
        changed "got a certificate for $DOMAIN"
        step_nginx
    fi
    systemctl is-active --quiet certbot.timer || quietly systemctl enable --now certbot.timer
}

# ssh_ports: where this server is administered; never to be shut.
ssh_ports() {
    {
        sshd -T 2>/dev/null | awk '$1 == "port" {print $2}'
        [ -z "${SSH_CONNECTION-}" ] || printf '%s\n' "$SSH_CONNECTION" | awk '{print $4}'
        echo 22
    } | sort -nu
}

step_firewall() {
    local port open rules
    open=$(ssh_ports)
    [ "$SSL" = false ] || open="$open 80 443"
    if [ "$FIREWALL" = false ]; then
        detail "Left as it is (--no-firewall): let in the ports $(echo "$open" | tr '\n' ' ')only"
    else
        rules=$(ufw show added)
        for port in $open; do
            grep -q "^ufw allow $port/tcp" <<<"$rules" && continue
            quietly ufw allow "$port/tcp"
            changed "let port $port in"
        done
        if ! ufw status | grep -q "^Status: active"; then
            quietly ufw default deny incoming
            quietly ufw --force enable || fail "the firewall can't be switched on (see above)" \
                "If your provider's firewall does this, leave it out: --no-firewall"
            changed "switched the firewall on"
        fi
    fi
    if put /etc/fail2ban/jail.d/ai-employee.local 0644 <"$HERE/fail2ban.local"; then
        quietly systemctl enable fail2ban
        quietly systemctl restart fail2ban || fail "fail2ban does not start (see above)"
    fi
}

step_upkeep() {
    put /etc/apt/apt.conf.d/20auto-upgrades 0644 <<<'APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";' || true
    if put /etc/systemd/journald.conf.d/ai-employee.conf 0644 <"$HERE/journald.conf"; then
        quietly systemctl restart systemd-journald
    fi
    if [ -f "$ROOT/current/scripts/backup.sh" ]; then
        put /etc/cron.d/ai-employee-backup 0644 <<<"17 3 * * * root bash $ROOT/current/scripts/backup.sh" || true
    fi
    remove_old_releases
}

# The one that runs and the one before it stay.
remove_old_releases() {
    local keep=2 folder
    while read -r folder; do
        if [ "$folder" = "$RELEASE" ] || [ "$folder" = "$PREVIOUS" ]; then continue; fi
        keep=$((keep - 1))
        [ "$keep" -gt 0 ] || { rm -rf "$folder" && changed "removed the old release ${folder##*/}"; }
    done < <(ls -1dt "$ROOT"/releases/*/ | sed 's|/$||')
    for folder in "$ROOT"/venvs/*; do
        readlink "$ROOT"/releases/*/.venv | grep -qxF "$folder" || { rm -rf "$folder" && changed "removed old packages"; }
    done
}

step_health() {
    local problem
    if ! problem=$(wait_until_healthy); then
        go_back
        fail "not all of it works: $problem" "What it says: journalctl -u 'ai-employee-*' -n 50"
    fi
    summary
}

# unhealthy: what does not answer, the way a browser would ask; nothing where all is well.
unhealthy() {
    local unit
    for unit in "${UNITS[@]}"; do
        systemctl is-active --quiet "ai-employee-$unit.service" || echo "ai-employee-$unit is $(systemctl is-active "ai-employee-$unit.service")"
    done
    ask_site /api/health || echo "the API does not answer through nginx"
    ask_site /login || echo "the dashboard does not answer through nginx"
}

ask_site() {
    if [ "$SSL" = false ]; then
        curl -sf -o /dev/null -m 10 -H "Host: $DOMAIN" "http://127.0.0.1$1"
    else # a test authority's certificate is nobody else's to judge
        curl -sf -o /dev/null -m 10 ${ACME_SERVER:+-k} --resolve "$DOMAIN:443:127.0.0.1" "https://$DOMAIN$1"
    fi
}

wait_until_healthy() {
    local end=$((SECONDS + PATIENCE)) problem
    while problem=$(unhealthy) && [ -n "$problem" ]; do
        if [ "$SECONDS" -ge "$end" ]; then
            echo "$problem" | paste -s -d ';'
            return 1
        fi
        sleep 1
    done
}

# go_back: the release that ran before an upgrade runs again.
go_back() {
    [ "$UPGRADE" = true ] && [ -n "$PREVIOUS" ] && [ "$PREVIOUS" != "$RELEASE" ] || return 0
    say ""
    say "Going back to the release ${PREVIOUS##*/}, which ran before."
    RELEASE=$PREVIOUS
    in_release scripts.cloud.settings share "$ROOT/.env" "$CONF" >/dev/null || true
    install_units "$PREVIOUS"
    switch_to "$PREVIOUS"
    for unit in "${UNITS[@]}"; do systemctl restart "ai-employee-$unit.service" || true; done
    local problem
    if problem=$(wait_until_healthy); then say "It works again."; else say "It does not work either: $problem"; fi
}

summary() {
    local unit where
    where="https://$DOMAIN"
    [ "$SSL" = true ] || where="this machine alone; from yours: ssh -L 8080:127.0.0.1:80 …, then http://localhost:8080"
    say ""
    say "The cloud node runs, and drafts only."
    say "  Dashboard  $where"
    [ -z "$PASSWORD" ] || say "  Password   $PASSWORD    (shown this once; another one: --password)"
    for unit in "${UNITS[@]}"; do
        say "  $(printf '%-27s' "ai-employee-$unit") $(systemctl show -p MainPID --value "ai-employee-$unit") $(systemctl is-active "ai-employee-$unit")"
    done
    say "  Settings   $ROOT/.env (after a change: this command again)"
    say "  Vault      $VAULT    State $STATE"
    say "  Logs       journalctl -u 'ai-employee-*'    of this run: $LOG"
    left_for_the_human
    if [ "${#CHANGES[@]}" = 0 ]; then say "Nothing was changed."; else say "${#CHANGES[@]} thing(s) were changed."; fi
}

left_for_the_human() {
    local left=()
    [ "$SSL" = true ] || left+=("DNS: point $DOMAIN here, then run this without --no-ssl")
    [ "$(setting MAIL_PROVIDER)" = imap ] || left+=("MAIL_PROVIDER=imap and IMAP_*: the mailbox to read")
    [ "$(setting ALERTS_ENABLED)" = true ] || left+=("ALERTS_ENABLED=true and ALERT_*: so that alerts reach you")
    if [ -n "$(setting ALERT_SMTP_USER)" ] && [ "$(setting ALERT_SMTP_USER)" = "$(setting IMAP_USER)" ]; then
        left+=("ALERT_SMTP_USER is your own mailbox: its password can send as you. Take an account for alerts alone")
    fi
    [ -f "$ROOT/current/scripts/backup.sh" ] || left+=("Backups: not built yet. Vault and history are on the git remote")
    [ "${#left[@]}" -gt 0 ] || return 0
    say "Left for you:"
    for line in "${left[@]}"; do say "  - $line"; done
}
