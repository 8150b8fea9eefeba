#!/usr/bin/env bash
# Make .venv ready: find a Python that fits, then let scripts/setup do the rest. Runs on bash 3.2.
# Usage: scripts/bootstrap.sh local|dev     PYTHON=... names the interpreter
set -eu
cd "$(dirname "$0")/.."

# Broken shims and half-installed Pythons are common, so every candidate is run. Prints how fast it is.
try() {
    "$1" scripts/speed.py </dev/null 2>/dev/null
}

fits() {
    try "$1" >/dev/null
}

found() {
    local name version
    for name in python3 python; do
        version=$("$name" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' </dev/null 2>/dev/null) || continue
        echo "$name here is Python $version."
        return
    done
    echo "There is no python3 here."
}

advise() {
    local get
    if [ "$(uname -s)" = Darwin ]; then
        get="brew install python@3.12"
    elif command -v apt-get >/dev/null 2>&1; then
        get="sudo apt-get install python3 (Debian 12, Ubuntu 24.04 or newer)"
    elif command -v dnf >/dev/null 2>&1; then
        get="sudo dnf install python3.12"
    else
        get="your package manager, or: uv python install 3.12"
    fi
    cat >&2 <<EOF
headrace: $1
  Get one:  $get
  Or name one that is elsewhere:  make up PYTHON=/path/to/python3.12
EOF
    exit 1
}

candidates() {
    local name
    for name in python3.11 python3.12 python3.13 python3 python; do
        type -aP "$name" || true
    done
}

# The first that fits, unless another one is faster by a sixth: a Python that was built without optimisation (often
# pyenv's) makes every request cost that much more.
choose() {
    local name out taken="" first="" best="" least=0
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" || advise "PYTHON=$PYTHON is not a working 64-bit Python 3.11, 3.12 or 3.13."
        printf '%s\n' "$PYTHON" "$PYTHON"
        return
    fi
    while read -r name; do
        [ -n "$name" ] && out=$(try "$name") || continue
        taken=${out##*$'\n'}
        first=${first:-$name}
        if [ -z "$best" ] || [ $((taken * 6)) -lt $((least * 5)) ]; then
            best=$name least=$taken
        fi
        [ ! -e .venv/headrace.json ] || break # it is made: any will do to look after it
    done <<EOF
$(candidates)
EOF
    [ -n "$best" ] || advise "a 64-bit Python 3.11, 3.12 or 3.13 is needed. $(found)"
    printf '%s\n' "$best" "$first"
}

pythons=$(choose)
# The faster one may come without pip (Debian's does): then the first one's will do.
export SETUP_PIP_PYTHON="${pythons##*$'\n'}"
exec "${pythons%%$'\n'*}" -m scripts.setup "$@"
