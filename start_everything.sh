#!/usr/bin/env bash
# AI Employee v3.0 (Platinum): sets up on first use and starts the node: the orchestrator, which runs the API, the
# watchers, scheduler, health monitor and web dashboard and starts again what falls.  Works with bash 3.2 (macOS), needs no root.
set -uo pipefail

cd "$(dirname "$0")" || exit 1
ROOT=$(pwd -P)
VENV="$ROOT/.venv"
PY="$VENV/bin/python"
PATIENCE=60 # seconds that the API may take to answer

usage() {
    cat <<'TEXT'
./start_everything.sh [start|stop|restart|status|logs|password]

  start    (default) set up what is missing, start the orchestrator, wait until its API answers
  stop     stop all of it cleanly, with bad settings too
  restart  stop, then start
  status   what runs; exit code 0 if all of it does
  logs     follow the logs (Ctrl-C ends)
  password make a new password for the web dashboard, and print it

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

# Python ends quietly at a Ctrl-C (see scripts/__init__.py), and so do we.
interrupted() {
    if [ -n "${LAUNCHED-}" ]; then say "The node goes on starting: $0 status"; fi
    exit 130
}
trap interrupted INT

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
        trap 'rm -rf "$VENV"; interrupted' INT # half of it would be taken for the whole
        out=$("$python" -m venv "$VENV" 2>&1) || {
            rm -rf "$VENV"
            fail "the virtual environment can't be made with $python" "$out" \
                "Debian, Ubuntu: sudo apt-get install python3-venv"
        }
        trap interrupted INT
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

# The web dashboard needs Node; without it, or where it can't be built, the node runs all the same.
set_up_dashboard() {
    WEB=false
    PASSWORD=
    [ "${SUPERVISE_DASHBOARD-}" != false ] || return 0
    step "Looking at the web dashboard (built at first use)"
    if "$PY" -m scripts.web build && PASSWORD=$("$PY" -m scripts.web prepare); then
        WEB=true
    else
        say "Note: the node runs without its web dashboard (see above). The API and Obsidian do all of it too."
    fi
}

# Sets STATE_DIR, API_URL, API_PORT, VAULT, MAIL_IN, MAIL_OUT, NODE.
take_facts() {
    eval "$facts"
    LOGS="$STATE_DIR/logs"
    LOG="$LOGS/orchestrator.log" # the children write there too
    PIDS="$STATE_DIR/run"
}

# What runs must be found whatever the settings or the virtual environment have become since it was started.
read_facts() {
    facts=$([ -x "$PY" ] && "$PY" -m scripts.node facts) || {
        facts=
        STATE_DIR=${STATE_DIR:-$ROOT/.state}
        if [ -x "$PY" ]; then say "The settings can't be read; looking at STATE_DIR=$STATE_DIR" >&2; fi
    }
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
    is_ours "$1" || return 1
    printf '%s\n' "$pid"
}

# is_ours NAME: whether $pid, whose command line is $words, is the process of this very node: a pid may have been given to
# another program since, and a copied folder brings the pid file of another node along.
is_ours() {
    case "$words" in
    *" state_dir=$STATE_DIR -m Watchers.$1"*) return 0 ;;
    "$PY -m Watchers.dashboard"*) [ "$1" = dashboard ] ;;
    *"-m Watchers.orchestrator"*) [ "$1" = orchestrator ] && [ "$(lock_holder)" = "pid $pid" ] ;;
    *) return 1 ;;
    esac
}

# Who holds this STATE_DIR as its orchestrator; the folder may have another name by now.
lock_holder() {
    python=$PY
    [ -x "$python" ] || python=$(find_python) || return 1
    "$python" -c 'import sys, pathlib; from utils.vault import locks; print(locks.holder(pathlib.Path(sys.argv[1])) or "")' \
        "$STATE_DIR/locks/orchestrator.lock"
}

launch() {
    if [ -f "$LOG" ] && [ "$(wc -c <"$LOG")" -gt 10000000 ]; then mv -f "$LOG" "$LOG.1"; fi
    set -m # a process group of its own: Ctrl-C here is not meant for it
    SUPERVISE_API=true SUPERVISE_DASHBOARD=$WEB nohup "$PY" -X "state_dir=$STATE_DIR" -m Watchers.orchestrator >>"$LOG" 2>&1 </dev/null &
    printf '%s\n' "$!" >"$PIDS/orchestrator.pid"
    LAUNCHED=1
    set +m
}

start() {
    if [ "${1-}" = ready ]; then read_facts; else set_up; fi # ready: what ran is gone, and so is its address
    mkdir -p "$LOGS" "$PIDS" || fail "the folder $STATE_DIR can't be written (STATE_DIR)"
    one_at_a_time
    if pid_of orchestrator >/dev/null; then
        "$PY" -m scripts.node wait --seconds "$PATIENCE" "$(pid_of orchestrator)" ||
            fail "the orchestrator runs already, but its API does not answer" "Log: $LOG" "Try: $0 restart"
        say "Everything runs already."
        case "$API_URL" in
        *":$API_PORT") ;;
        *) say "The settings say API_PORT=$API_PORT now: $0 restart takes it." ;;
        esac
    else
        end dashboard # left over from a release that started the API by itself
        problem=$("$PY" -m scripts.node port) || {
            [ -n "$problem" ] || problem="the port cannot be checked"
            fail "$(printf '%s' "$problem" | head -n 1)" "$(printf '%s' "$problem" | tail -n +2)"
        }
        set_up_dashboard
        step "Starting the orchestrator with its watchers and the API on $API_URL (up to $PATIENCE s)"
        launch
        wait_for_api
    fi
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
    "$PY" -m scripts.node wait --seconds "$PATIENCE" "$(cat "$PIDS/orchestrator.pid")"
    case $? in
    0) return 0 ;;
    1)
        what="the API"
        pid_of orchestrator >/dev/null || what="the orchestrator"
        stop_quietly
        tail -n 15 "$LOG" >&2
        fail "$what did not start; the last words are above" "Log: $LOG"
        ;;
    *) fail "the API does not answer" "Log: $LOG" "What runs: $0 status" ;;
    esac
}

report() {
    LAUNCHED=
    say ""
    say "The node runs ($NODE)."
    web=$("$PY" -m scripts.web url)
    if [ -n "$web" ]; then say "  Dashboard $web"; fi
    if [ -n "${PASSWORD-}" ]; then say "  Password $PASSWORD    (shown this once; a new one: $0 password)"; fi
    say "  API      $API_URL/api/platinum/status"
    say "  Vault    $VAULT"
    if [ -n "$MAIL_IN" ]; then say "  Mail in  drop a mail (.eml) into $MAIL_IN"; fi
    if [ -n "$MAIL_OUT" ]; then say "  Mail out $MAIL_OUT"; fi
    say "  Log      $LOG"
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
    end dashboard # see start
}

stop() {
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
        read_facts 2>/dev/null
        if pid=$(pid_of orchestrator); then
            say "The orchestrator runs (pid $pid), but $VENV is gone: $0 restart"
        else
            say "The node does not run: $0"
        fi
        return 1
    }
    "$PY" -m scripts.node status
}

wrong_use() {
    printf '%s\n\n' "$1" >&2
    usage >&2
    exit 2
}

[ "$#" -le 1 ] || wrong_use "unknown argument: $2"
case "${1:-start}" in
start) start ;;
stop) stop ;;
restart)
    set_up # before the stop: with bad settings the node had better run on
    stop
    start ready
    ;;
status) status ;;
password)
    [ -x "$PY" ] || fail "the node is not set up yet" "Set it up: $0"
    "$PY" -m scripts.web password
    ;;
logs)
    read_facts
    [ -f "$LOG" ] || fail "there is no log yet: $LOG" "Start the node: $0"
    exec tail -n 50 -F "$LOG"
    ;;
-h | --help | help) usage ;;
*) wrong_use "unknown command: $1" ;;
esac
