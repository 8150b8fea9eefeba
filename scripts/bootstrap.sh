#!/usr/bin/env bash
# Make .venv ready: find a Python that fits, then let scripts/setup do the rest. Runs on bash 3.2.
# Usage: scripts/bootstrap.sh local|dev     PYTHON=... names the interpreter
set -eu
cd "$(dirname "$0")/.."

# Broken shims and half-installed Pythons are common, so every candidate is run.
fits() {
    "$1" -c '
import ssl, sys, venv
sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 13) and sys.maxsize > 2**32))
' </dev/null >/dev/null 2>&1
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

choose() {
    local name
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" || advise "PYTHON=$PYTHON is not a working 64-bit Python 3.11, 3.12 or 3.13."
        echo "$PYTHON"
        return
    fi
    for name in python3.11 python3.12 python3.13 python3 python; do
        if fits "$name"; then
            echo "$name"
            return
        fi
    done
    advise "a 64-bit Python 3.11, 3.12 or 3.13 is needed. $(found)"
}

python=$(choose)
exec "$python" -m scripts.setup "$@"
