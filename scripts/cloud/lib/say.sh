# shellcheck shell=bash
# What deploy.sh says, and how it changes something: each change is told, and a step that fails says how to go on.

CHANGES=()
STEP="start"

say() { printf '%s\n' "$*"; }
detail() { printf '    %s\n' "$*"; }
changed() {
    CHANGES+=("$1")
    detail "$1"
}

# fail WHY [HOW…]: end this run.
fail() {
    trap - ERR
    printf '\nFailed at the step "%s": %s\n' "$STEP" "$1" >&2
    shift
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    if [ "$STEP" != checks ] && [ "$STEP" != start ]; then
        printf '  What was done so far stays. Run the same command again: it goes on from here. Log: %s\n' "$LOG" >&2
    fi
    exit 1
}

# For what no step expected. A subshell only ends: whoever started it has the say.
on_error() {
    [ "$BASH_SUBSHELL" = 0 ] || exit 1
    fail "line $1: \`$2\` failed" "$(tail -n 15 "$LOG" 2>/dev/null || true)"
}

# quietly COMMAND…: its words go to the log; where it fails, the last of them are shown.
quietly() {
    local start
    printf '\n$ %s\n' "$*" >>"$LOG"
    start=$(wc -c <"$LOG")
    "$@" >>"$LOG" 2>&1 </dev/null && return 0
    tail -c "+$((start + 1))" "$LOG" | tail -n 20 >&2
    return 1
}

# put FILE MODE [OWNER] < TEXT: make the file what it should be. True where that changed it.
put() {
    local text
    text=$(mktemp)
    cat >"$text"
    if [ -f "$1" ] && cmp -s "$text" "$1"; then
        rm -f "$text"
        return 1
    fi
    install -D -m "$2" -o "${3:-root}" -g "${3:-root}" "$text" "$1.new"
    mv -f "$1.new" "$1"
    rm -f "$text"
    changed "wrote $1"
}

# ask NAME QUESTION: the variable, where it is empty and a person is there to answer.
ask() {
    local answer
    if [ -z "${!1-}" ] && [ -t 0 ]; then
        read -r -p "$2: " answer
        export "$1=$answer"
    fi
}
