"""Small models, small wheels, a package index and a hub, all on this machine."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from headrace.models.wheel import Member, Wheel

Metadata = dict[str, str | int]
GgufMaker = Callable[..., bytes]


def _gguf(pairs: Metadata) -> bytes:
    """The head of a GGUF file with these metadata, and no tensors."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    body = b""
    for key, value in pairs.items():
        body += text(key)
        if isinstance(value, str):
            body += struct.pack("<I", 8) + text(value)
        else:
            body += struct.pack("<II", 4, value)
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + body
    return head.ljust(-(-len(head) // 32) * 32, b"\0")  # tensors would begin at a multiple of 32


@pytest.fixture
def make_gguf() -> GgufMaker:
    return _gguf


@pytest.fixture
def llama() -> bytes:
    """A GGUF of architecture llama with a context of 8192 tokens."""
    return _gguf({"general.architecture": "llama", "llama.context_length": 8192})


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(output: io.StringIO) -> Console:
    return Console(file=output, width=200)


WheelMaker = Callable[..., Wheel]


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the only package index."""
    folder = tmp_path / "wheelhouse"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def make_wheel(wheelhouse: Path) -> WheelMaker:
    """Put a wheel into the wheelhouse and return its pinned description."""

    def make(members: dict[str, bytes], wanted: dict[str, str], *, package: str = "tiny-model") -> Wheel:
        archive = wheelhouse / f"{package.replace('-', '_')}-1.0-py3-none-any.whl"
        info = f"{package.replace('-', '_')}-1.0.dist-info"
        with zipfile.ZipFile(archive, "w") as stream:
            for name, data in members.items():
                stream.writestr(name, data)
            stream.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
            stream.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        files = tuple(
            Member(path, member, len(members[member]), hashlib.sha256(members[member]).hexdigest())
            for path, member in wanted.items()
        )
        data = archive.read_bytes()
        return Wheel(package, "1.0", hashlib.sha256(data).hexdigest(), len(data), "Apache-2.0", files)

    return make


class Hub:
    """A model hub with one repository, ``org/tiny``.

    ``cut_after`` ends the transfer of a file after so many bytes; ``transfers_left`` is how many may begin.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.commit = "c" * 40
        self.card: dict[str, str] = {"license": "mit"}
        self.config: dict[str, object] | None = None
        self.status = 200
        self.error_code = ""
        self.cut_after: int | None = None
        self.wrong_hash = False
        self.ranges: list[str] = []
        self.transfers_left: int | None = None
        self.requests = 0
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests += 1
        if self.status != 200:
            self._send(handler, self.status, {"X-Error-Code": self.error_code}, b"{}")
        elif handler.path.startswith("/api/models/org/tiny"):
            self._send(handler, 200, {"Content-Type": "application/json"}, json.dumps(self._info()).encode())
        else:
            name = handler.path.split(f"/resolve/{self.commit}/", 1)[-1]
            self._send_file(handler, self.files[name])

    def _info(self) -> dict[str, object]:
        siblings = []
        for name, data in self.files.items():
            digest = hashlib.sha256(b"other" if self.wrong_hash else data).hexdigest()
            lfs = {"sha256": digest, "size": len(data), "pointerSize": 100}
            siblings.append({"rfilename": name, "size": len(data), "blobId": "b", "lfs": lfs})
        return {
            "id": "org/tiny",
            "sha": self.commit,
            "siblings": siblings,
            "cardData": self.card,
            "config": self.config,
        }

    def _send_file(self, handler: BaseHTTPRequestHandler, data: bytes) -> None:
        if handler.command == "GET" and self.transfers_left is not None:
            if self.transfers_left == 0:
                self._send(handler, 418, {}, b"")
                return
            self.transfers_left -= 1
        headers = {"X-Repo-Commit": self.commit, "ETag": f'"{hashlib.sha256(data).hexdigest()}"'}
        span = handler.headers.get("Range")
        start = 0
        if span and handler.command == "GET":
            self.ranges.append(span)
            start = int(span.removeprefix("bytes=").rstrip("-"))
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(handler, 206 if start else 200, headers, data[start:], cut_after=self.cut_after)

    def _send(
        self,
        handler: BaseHTTPRequestHandler,
        status: int,
        headers: dict[str, str],
        body: bytes,
        cut_after: int | None = None,
    ) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body[:cut_after])


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()
    thread.join()
