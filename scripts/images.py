"""``make images``: build the images of deploy/images with buildah, from Debian's packages and the package index alone.

    python -m scripts.images [--base NAME] [--registry PREFIX] [--tag TAG] [IMAGE ...]

The engines' images and the CUDA one start from bases that only their makers publish; where those can be pulled,
``--all`` builds them too. Prints how long each took and how large it is, compressed as a registry stores it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("deploy/images")
BASE = "localhost/headrace/base:bookworm"
_MIB = 1024 * 1024
_INDEX = ("PIP_INDEX_URL", "NPM_CONFIG_REGISTRY")
"""Handed on where the user set them."""
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
"""A network that looks into TLS has its certificate here; pip and npm are to know it too."""


@dataclass(frozen=True, slots=True)
class Image:
    """One row of images.json. ``base``: what it starts from; ``python`` can be made anywhere."""

    name: str
    dockerfile: str
    base: str


@dataclass(frozen=True, slots=True)
class Built:
    """An image that was built. ``size`` is in bytes, compressed."""

    reference: str
    seconds: float
    size: int


class Unusable(Exception):
    """The machine cannot build images; the message says what to install."""


def catalogue() -> list[Image]:
    """All images of the project."""
    return [Image(**row) for row in json.loads((FOLDER / "images.json").read_text())]


def command(image: Image, reference: str, *, base: str, labels: Iterable[str]) -> list[str]:
    """The command line of buildah."""
    arguments = {name: os.environ[name] for name in _INDEX if name in os.environ}
    if image.base == "python":
        arguments["BASE_IMAGE"] = base
    volumes = []
    if Path(_CERTIFICATES).exists():
        arguments |= {"PIP_CERT": _CERTIFICATES, "NODE_EXTRA_CA_CERTS": _CERTIFICATES}
        volumes = ["--volume", f"{_CERTIFICATES}:{_CERTIFICATES}:ro"]
    return [
        *("buildah", "build", "--isolation", "chroot", "--layers", "--file", str(FOLDER / image.dockerfile)),
        *("--target", image.name, "--tag", reference),
        *(part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")),
        *volumes,
        *(part for label in labels for part in ("--label", label)),
        ".",
    ]


def labels(version: str, revision: str) -> list[str]:
    """OCI annotations that say where an image comes from (opencontainers/image-spec, annotations.md)."""
    known = {"version": version, "revision": revision, "licenses": "Apache-2.0", "title": "Headrace"}
    return [f"org.opencontainers.image.{name}={value}" for name, value in known.items()]


def compressed_size(reference: str) -> int:
    """Bytes of all layers and the configuration, as pushed."""
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        _run(["buildah", "push", "--quiet", reference, f"oci:{folder}/image:latest"])
        return sum(blob.stat().st_size for blob in Path(folder).rglob("blobs/sha256/*"))


def build(images: Sequence[Image], *, base: str, registry: str, tag: str) -> list[Built]:
    """Build them one after the other; what they share is built once."""
    revision = _ask(["git", "rev-parse", "HEAD"])
    done = []
    for image in images:
        print(f"==> {image.name}", flush=True)
        reference = f"{registry}/{image.name}:{tag}"
        began = time.monotonic()
        _run(command(image, reference, base=base, labels=labels(tag, revision)))
        done.append(Built(reference, time.monotonic() - began, compressed_size(reference)))
    return done


def ensure_base(name: str) -> None:
    """Make the base from Debian's packages, unless it is there already."""
    if subprocess.run(["buildah", "inspect", "--type", "image", name], capture_output=True, check=False).returncode:
        print(f"==> {name}, from Debian's packages", flush=True)
        _run([str(FOLDER / "base.sh"), name])


def _check() -> None:
    missing = [tool for tool in ("buildah", "mmdebstrap") if shutil.which(tool) is None]
    if missing:
        raise Unusable(f"{' and '.join(missing)} not found: sudo apt-get install buildah mmdebstrap (Debian, Ubuntu)")
    if os.geteuid() != 0:
        raise Unusable("images are built as root here (buildah's chroot isolation): sudo make images")


def _run(line: list[str]) -> None:
    """Quiet while it goes well: a build speaks in hundreds of lines."""
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        print(done.stdout[-8000:], file=sys.stderr)
        raise Unusable(f"failed: {' '.join(line[:6])} …")


def _ask(line: list[str]) -> str:
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make images", description="Build the images with buildah.")
    parser.add_argument("names", nargs="*", metavar="IMAGE", help="images to build; all that can be built here")
    parser.add_argument("--all", action="store_true", help="also those whose base must be pulled")
    parser.add_argument("--base", default=BASE, help="Debian with Python that the services start from")
    parser.add_argument("--registry", default="localhost/headrace", help="what stands before the images' names")
    parser.add_argument("--tag", default="dev")
    return parser.parse_args()


def main() -> int:
    options = _parse()
    known = catalogue()
    unknown = set(options.names) - {image.name for image in known}
    if unknown:
        names = ", ".join(image.name for image in known)
        print(f"headrace: no image is named {', '.join(sorted(unknown))}; there are {names}", file=sys.stderr)
        return 2
    chosen = [
        image
        for image in known
        if (image.name in options.names if options.names else options.all or image.base == "python")
    ]
    try:
        _check()
        if options.base == BASE:
            ensure_base(BASE)
        done = build(chosen, base=options.base, registry=options.registry, tag=options.tag)
    except Unusable as error:
        print(f"headrace: {error}", file=sys.stderr)
        return 1
    for built in done:
        print(f"{built.reference:48} {built.seconds:6.0f} s {built.size / _MIB:8.0f} MiB compressed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
