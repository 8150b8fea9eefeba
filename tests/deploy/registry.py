"""A real OCI registry (Debian's docker-registry), and just enough of a client to push an image to it."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.patience import PATIENCE

_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Start one on a free port; its host:port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    config = folder / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    process = subprocess.Popen(["docker-registry", "serve", str(config)], stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _answers(f"http://127.0.0.1:{port}/v2/"):
            assert process.poll() is None, "the registry ended"
            assert time.monotonic() < deadline, "the registry does not answer"
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10):
            return True
    except OSError:
        return False


def push(host: str, repository: str, tag: str) -> None:
    """An image with one empty layer, as the OCI distribution specification has it pushed."""
    layer = _blob(host, repository, b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00")
    config = _blob(host, repository, json.dumps({"architecture": "amd64", "os": "linux", "tag": tag}).encode())
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": config | {"mediaType": _CONFIG},
        "layers": [layer | {"mediaType": _LAYER}],
    }
    url = f"http://{host}/v2/{repository}/manifests/{tag}"
    _send("PUT", url, json.dumps(manifest).encode(), _MANIFEST)


def _blob(host: str, repository: str, data: bytes) -> dict[str, object]:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    where = _send("POST", f"http://{host}/v2/{repository}/blobs/uploads/", b"", "application/octet-stream")
    _send("PUT", f"{where}{'&' if '?' in where else '?'}digest={digest}", data, "application/octet-stream")
    return {"digest": digest, "size": len(data)}


def _send(method: str, url: str, data: bytes, kind: str) -> str:
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(answer.headers.get("Location", ""))
