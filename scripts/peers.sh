#!/usr/bin/env bash
# Make the environments of what bert-worker is measured beside, for `make bench-bert`: 3 GB, two minutes the first time.
# Usage: scripts/peers.sh [FOLDER]     exit code 3: they cannot be had on this machine, and why
set -eu
cd "$(dirname "$0")/.."
folder=${1:-.venv-rivals-bert}

cannot() {
    echo "The peers are left out: $1" >&2
    exit 3
}

digest() {
    cat requirements/rivals-*.txt requirements/torch-cpu.txt scripts/peers.sh | sha256sum | cut -d' ' -f1
}

[ "$(cat "$folder/headrace.sha256" 2>/dev/null)" != "$(digest)" ] || exit 0

python=
for name in "${PYTHON:-}" python3.11 python3; do
    if [ -n "$name" ] && "$name" -c 'import sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
        python=$name
        break
    fi
done
[ -n "$python" ] || cannot "they are pinned for Python 3.11, and there is none here."
[ "$(uname -s) $(uname -m)" = "Linux x86_64" ] || cannot "they are pinned for Linux on x86-64."

rm -rf "$folder"
# Two environments: infinity needs an older sentence-transformers than the one that it is measured beside.
for peer in sentence-transformers infinity; do
    echo "==> Making $folder/$peer"
    "$python" -m venv "$folder/$peer"
    for lock in torch-cpu "rivals-$peer"; do
        "$folder/$peer/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
            --only-binary :all: -r "requirements/$lock.txt" ||
            cannot "requirements/$lock.txt is not on the package index in use (torch's CPU build: see docs/workers/vllm.md)."
    done
done
digest >"$folder/headrace.sha256"
