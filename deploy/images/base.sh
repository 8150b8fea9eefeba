#!/usr/bin/env bash
# Make a base image from Debian's packages alone, for places where none can be pulled: Debian 12 with Python 3.11.
# Usage: deploy/images/base.sh NAME     needs root, buildah and mmdebstrap; honours the machine's apt sources
set -euo pipefail
name=${1:?usage: deploy/images/base.sh NAME}
suite=bookworm

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# SOURCE_DATE_EPOCH: the same packages give the same bytes.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
# shellcheck disable=SC2016  # $1 is mmdebstrap's: the new root
mmdebstrap --quiet --variant=minbase --include=ca-certificates,python3,tzdata \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/log/*' \
    "$suite" "$work/base.tar"

container=$(buildah from scratch)
buildah add --quiet "$container" "$work/base.tar" / >/dev/null
buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --env LANG=C.UTF-8 \
    --cmd /bin/bash "$container"
buildah commit --quiet --rm "$container" "$name" >/dev/null
echo "$name"
