"""The page on the real Caddy, before an llm-api that says what a test wants: states that no small model reaches."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from headrace.local import caddy
from tests.e2e.patience import wait_until
from tests.e2e.stack import free_port
from tests.threaded import Quiet, serving

MODELS = [
    {"id": "small", "context_length": 8192, "modality": "text", "headrace": {"status": "ready", "wait_ms": 0}},
    {
        "id": "seeing",
        "context_length": 32768,
        "modality": "text",
        "input_modalities": ["text", "image"],
        "headrace": {"status": "ready", "wait_ms": 0},
    },
    {"id": "vectors", "context_length": 512, "modality": "embedding", "headrace": {"status": "ready", "wait_ms": 0}},
    {"id": "late", "context_length": 8192, "modality": "text", "headrace": {"status": "loading", "wait_ms": 0}},
]


DAY = 86_400
NOW = 1_795_500_000
ADMIN: dict[str, object] = {
    "fleet": {
        "routers": [
            {"url": "http://router-0:8001", "reachable": True},
            {"url": "http://router-1:8001", "reachable": True},
        ],
        "pools": [
            {"name": name, "context": 8192, "modality": modality, "queued": queued, "wait_ms": wait, "workers": workers}
            for name, modality, queued, wait, workers in (
                (
                    "llama-3.3-70b",
                    "text",
                    3,
                    1400,
                    [{"name": f"vllm-{number}", "state": "ready"} for number in range(2)]
                    + [{"name": "vllm-2", "state": "starting"}],
                ),
                ("bge-m3", "embedding", 0, 0, [{"name": "bert-0", "state": "ready"}]),
            )
        ],
    },
    "tenants": {"data": [{"id": "t1", "name": "mill", "limits": {}}], "has_more": False},
    "usage": {
        "data": [
            {
                "requests": 1200 + day * 37,
                "failed": day,
                "prompt_tokens": 1_480_000 + day * 9_731,
                "cached_tokens": 610_000 + day * 1_117,
                "completion_tokens": 402_000 + day * 3_301,
                "model": "llama-3.3-70b",
                "day": f"2026-11-2{day}",
            }
            for day in range(2, 5)
        ],
        "has_more": False,
    },
    "keys": {
        "data": [
            {
                "id": f"id{name}",
                "tenant": "t1",
                "name": name,
                "scopes": scopes,
                "models": models,
                "limits": limits,
                "created_at": NOW - 30 * DAY,
                "expires_at": None,
                "revoked_at": None,
                "previous_until": None,
            }
            for name, scopes, models, limits in (
                ("ci", ["inference"], ["bge-m3"], {"requests_per_minute": 600, "tokens_per_minute": 100000}),
                ("operator", ["inference", "admin"], None, {}),
            )
        ],
        "has_more": False,
    },
}


@dataclass
class Reply:
    """An answer of the chat: words with a pause after each, or an error."""

    words: list[str] = field(default_factory=list)
    pause: float = 0.0
    reasoning: str = ""
    status: int = 200
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    breaks: bool = False
    """Ends with an error event, as where the stream's worker was lost."""
    before: float = 0.0
    """Seconds until the first byte."""


class ScriptedApi:
    """An llm-api that plays a part. ``chat`` decides what is answered."""

    def __init__(self) -> None:
        self.models: list[dict[str, Any]] = MODELS
        self.chat: Callable[[dict[str, Any]], Reply] = lambda _: Reply(["Hello", " there", "."])
        self.requests: list[dict[str, Any]] = []
        self.keys: set[str] | None = None
        """The keys that are good; None: all."""
        self.address = ""

    @contextmanager
    def running(self) -> Iterator[ScriptedApi]:
        with serving(self._handler()) as self.address:
            yield self

    def _handler(api) -> type[BaseHTTPRequestHandler]:  # noqa: N805  ``self`` is the request's
        class Handler(Quiet, BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.refused():
                    return
                path = self.path.partition("?")[0].removeprefix("/admin/v1/")
                self.answer(200, ADMIN.get(path) or {"object": "list", "data": api.models})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if self.refused():
                    return
                if self.path == "/v1/embeddings":
                    self.answer(200, {"data": [_embedding(*item) for item in enumerate(body["input"])]})
                    return
                api.requests.append(body)
                reply = api.chat(body)
                time.sleep(reply.before)
                if reply.status != 200:
                    self.answer(reply.status, {"error": {"message": reply.message}}, reply.headers)
                else:
                    self.stream(reply)

            def refused(self) -> bool:
                key = (self.headers["authorization"] or "").removeprefix("Bearer ")
                if api.keys is None or key in api.keys:
                    return False
                self.answer(401, {"error": {"message": "This key is not known here."}})
                return True

            def answer(self, status: int, document: object, headers: Mapping[str, str] | None = None) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", **(headers or {})}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def stream(self, reply: Reply) -> None:
                self.send_response(200)
                for name, value in {"content-type": "text/event-stream", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                try:
                    for event in _events(reply):
                        self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
                        self.wfile.flush()
                        time.sleep(reply.pause)
                    self.wfile.write(b"0\r\n\r\n")
                except OSError:
                    self.close_connection = True  # the person pressed stop

        return Handler


def _embedding(index: int, text: str) -> dict[str, object]:
    """How often each letter stands in it."""
    return {"index": index, "embedding": [text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"]}


def _events(reply: Reply) -> Iterator[bytes]:
    def event(document: object) -> bytes:
        return b"data: %b\n\n" % json.dumps(document).encode()

    def chunk(delta: object, finish: str | None = None) -> bytes:
        return event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    if reply.reasoning:
        yield chunk({"reasoning_content": reply.reasoning})
    for word in reply.words:
        yield chunk({"content": word})
    if reply.breaks:
        yield event({"error": {"message": "The worker was lost in the middle of the answer.", "code": "stream_lost"}})
        return
    yield chunk({}, "stop")
    yield event({"choices": [], "usage": {"prompt_tokens": 21, "completion_tokens": max(1, len(reply.words))}})
    yield b"data: [DONE]\n\n"


@contextmanager
def served(
    api: ScriptedApi, state: Path, config: Mapping[str, object] | None = None, connect: str = ""
) -> Iterator[str]:
    """The URL of the page; ``connect``: a further origin that it may talk to."""
    binary, site = caddy.binary(), caddy.site()
    assert binary is not None
    assert site is not None
    port = free_port()
    environment = caddy.environment(
        host="127.0.0.1", port=port, ops_port=free_port(), api=api.address, root=site, state=state / "caddy", grace=1
    )
    environment |= {"HEADRACE_WEB_CONFIG": json.dumps(config or {}), "HEADRACE_WEB_CONNECT": connect}
    with (state / "caddy.log").open("ab") as log:
        process = subprocess.Popen(caddy.command(binary), env={**os.environ, **environment}, stdout=log, stderr=log)
    try:
        wait_until("Caddy listens", lambda: _listens(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
