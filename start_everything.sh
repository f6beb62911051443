#!/usr/bin/env bash
# AI Employee v3.0 (Platinum): sets up on first use and starts the node: the API, and the orchestrator with its
# watchers, scheduler and health monitor.  Works with bash 3.2 (macOS) and needs no root.
set -uo pipefail

cd "$(dirname "$0")" || exit 1
ROOT=$(pwd -P)
VENV="$ROOT/.venv"
PY="$VENV/bin/python"
PATIENCE=60 # seconds that the API may take to answer

usage() {
    cat <<'TEXT'
./start_everything.sh [start|stop|restart|status|logs]

  start    (default) set up what is missing, start API and orchestrator, wait until the API answers
  stop     stop all of it cleanly
  restart  stop, then start
  status   what runs; exit code 0 if all of it does
  logs     follow the logs (Ctrl-C ends)

Settings: .env (made from .env.example at the first start), or the environment.
TEXT
}

say() { printf '%s\n' "$*"; }
step() { printf '==> %s\n' "$*"; }
fail() {
    printf 'Failed: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 1
}

find_python() {
    for candidate in python3.13 python3.12 python3.11 python3.14 python3 python; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

set_up() {
    if [ ! -x "$PY" ]; then
        step "Making the virtual environment .venv (first use)"
        python=$(find_python) || fail "Python 3.11 or newer is needed, and none was found" \
            "Debian, Ubuntu: sudo apt-get install python3 python3-venv    macOS: brew install python@3.13"
        out=$("$python" -m venv "$VENV" 2>&1) || {
            rm -rf "$VENV"
            fail "the virtual environment can't be made with $python" "$out" \
                "Debian, Ubuntu: sudo apt-get install python3-venv"
        }
    fi
    stamp="$VENV/.requirements"
    wanted=$(cksum <requirements.txt)
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        step "Installing the requirements (a minute or two)"
        "$PY" -m pip install --quiet --disable-pip-version-check -r requirements.txt ||
            fail "the requirements can't be installed (see above)" "Is the network there? Then run this again."
        printf '%s\n' "$wanted" >"$stamp"
    fi
    if [ ! -e .env ] && [ "${ENV_FILE-unset}" = unset ]; then
        step "Making .env from .env.example"
        (umask 077 && cp .env.example .env) || fail "the file .env can't be written"
    fi
    step "Checking settings and vault"
    facts=$("$PY" -m scripts.node prepare) ||
        fail "the settings or the vault can't be used (see above)" "Settings: ${ENV_FILE:-$ROOT/.env}"
    take_facts
}

# Sets STATE_DIR, API_URL, API_PORT, VAULT, MAIL_IN, MAIL_OUT, NODE.
take_facts() {
    eval "$facts"
    LOGS="$STATE_DIR/logs"
    PIDS="$STATE_DIR/run"
}

read_facts() {
    facts=$("$PY" -m scripts.node facts) ||
        fail "the settings can't be used (see above)" "Settings: ${ENV_FILE:-$ROOT/.env}"
    take_facts
}

# pid_of NAME: the pid of our running process, if it runs.
pid_of() {
    pid=$(cat "$PIDS/$1.pid" 2>/dev/null) || return 1
    [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null || return 1
    if [ -r "/proc/$pid/cmdline" ]; then
        words=$(tr '\0' ' ' <"/proc/$pid/cmdline")
    else
        words=$(ps -p "$pid" -o command= 2>/dev/null)
    fi
    case "$words" in # a pid may have been given to another program since
    *"Watchers.$1"*) printf '%s\n' "$pid" ;;
    *) return 1 ;;
    esac
}

launch() {
    log="$LOGS/$1.log"
    if [ -f "$log" ] && [ "$(wc -c <"$log")" -gt 10000000 ]; then mv -f "$log" "$log.1"; fi
    set -m # a process group of its own: Ctrl-C here is not meant for it
    nohup "$PY" -m "Watchers.$1" >>"$log" 2>&1 </dev/null &
    printf '%s\n' "$!" >"$PIDS/$1.pid"
    set +m
}

last_words() { tail -n 15 "$LOGS/$1.log" 2>/dev/null; }

start() {
    set_up
    mkdir -p "$LOGS" "$PIDS" || fail "the folder $STATE_DIR can't be written (STATE_DIR)"
    one_at_a_time
    already=0
    if pid_of dashboard >/dev/null; then
        already=1
    else
        problem=$("$PY" -m scripts.node port) || fail "${problem:-the port cannot be checked}" \
            "Take another port: API_PORT=$((API_PORT + 1)) $0    (or set API_PORT in .env)"
        step "Starting the API on $API_URL"
        launch dashboard
    fi
    if pid_of orchestrator >/dev/null; then
        already=$((already + 1))
    else
        step "Starting the orchestrator with its watchers"
        launch orchestrator
    fi
    [ "$already" = 2 ] && say "Everything runs already."
    wait_for_api
    report
}

# Two starts at the same time would overwrite each other's pid files.
one_at_a_time() {
    STARTING="$PIDS/starting"
    if ! mkdir "$STARTING" 2>/dev/null; then
        other=$(cat "$STARTING/pid" 2>/dev/null)
        if [ -n "$other" ] && kill -0 "$other" 2>/dev/null; then
            fail "another start is under way (pid $other)" "Wait for its end, then: $0 status"
        fi
    fi
    printf '%s\n' "$$" >"$STARTING/pid"
    trap 'rm -rf "$STARTING"' EXIT
}

wait_for_api() {
    "$PY" -m scripts.node wait --seconds "$PATIENCE" "$(cat "$PIDS/dashboard.pid")" "$(cat "$PIDS/orchestrator.pid")"
    answer=$?
    for name in dashboard orchestrator; do
        pid_of "$name" >/dev/null || {
            last_words "$name" >&2
            stop_quietly
            fail "$name did not start; its last words are above" "Log: $LOGS/$name.log"
        }
    done
    [ "$answer" = 0 ] || fail "the API does not answer" "Log: $LOGS/dashboard.log"
}

report() {
    say ""
    say "The node runs ($NODE)."
    say "  API      $API_URL/api/platinum/status"
    say "  Vault    $VAULT"
    if [ -n "$MAIL_IN" ]; then say "  Mail in  drop a mail (.eml) into $MAIL_IN"; fi
    if [ -n "$MAIL_OUT" ]; then say "  Mail out $MAIL_OUT"; fi
    say "  Logs     $LOGS"
    say "Next: $0 status    curl $API_URL/api/approvals    $0 stop"
}

# end NAME: ask it to leave, wait, and kill it if it does not.
end() {
    pid=$(pid_of "$1") || {
        rm -f "$PIDS/$1.pid"
        return 0
    }
    kill "$pid" 2>/dev/null
    waited=0
    while pid_of "$1" >/dev/null; do
        waited=$((waited + 1))
        if [ "$waited" -gt 150 ]; then
            say "$1 does not leave: killed"
            kill -9 "$pid" 2>/dev/null
            break
        fi
        sleep 0.1
    done
    rm -f "$PIDS/$1.pid"
}

stop_quietly() {
    end orchestrator
    end dashboard
}

stop() {
    [ -x "$PY" ] || {
        say "Nothing runs: the node was never started."
        return 0
    }
    read_facts
    if ! pid_of orchestrator >/dev/null && ! pid_of dashboard >/dev/null; then
        say "Nothing runs."
    else
        step "Stopping"
    fi
    stop_quietly
    say "Stopped."
}

status() {
    [ -x "$PY" ] || {
        say "The node was never started: $0"
        return 1
    }
    "$PY" -m scripts.node status
}

case "${1:-start}" in
start) start ;;
stop) stop ;;
restart)
    stop
    start
    ;;
status) status ;;
logs)
    read_facts
    exec tail -n 50 -F "$LOGS/dashboard.log" "$LOGS/orchestrator.log"
    ;;
-h | --help | help) usage ;;
*)
    usage >&2
    exit 2
    ;;
esac
