"""Servers that do as they are told: a worker and a router, scripted call by call, in bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

Behaviour = Callable[["Call"], Awaitable[None]]

JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"
USAGE = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14, "prompt_tokens_details": {"cached_tokens": 8}}


@dataclass(eq=False)
class Call:
    """One request that came, and the way to answer it."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    """As they came, in their order."""
    body: bytes
    writer: asyncio.StreamWriter
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """The caller closed the connection before it had its answer."""
    sent: int = 0

    def header(self, name: str) -> str:
        """The field's value; empty if it is not there."""
        return dict(self.headers).get(name, "")

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        self.sent += len(data)

    def reset(self) -> None:
        """End the connection so that the caller gets a reset."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


# ---- what a server may do with a call ----


def answer(status: int = 200, body: bytes | None = None, *fields: tuple[str, str], kind: str = JSON) -> Behaviour:
    """A whole answer; without ``body`` a completion."""
    return raw(whole(completion() if body is None else body, *fields, status=status, kind=kind))


def refuse(status: int, code: str, *fields: tuple[str, str]) -> Behaviour:
    """An error in OpenAI's form."""
    error = {"message": "no", "type": "server_error", "param": None, "code": code}
    return answer(status, json.dumps({"error": error}).encode(), *fields)


def stream(*events: bytes, fields: tuple[tuple[str, str], ...] = ()) -> Behaviour:
    """An event stream, an event a chunk and a write; without ``events`` three tokens, usage and [DONE]."""

    async def behave(call: Call) -> None:
        await call.send(stream_head(*fields))
        for event in events or tokens(3):
            await call.send(chunk(event))
        await call.send(chunk(b""))

    return behave


def raw(data: bytes, end: str = "") -> Behaviour:
    """These bytes; then the connection goes on, or is ended by ``close`` or ``reset``."""

    async def behave(call: Call) -> None:
        await call.send(data)
        if end:
            await delivered(call)
        if end == "reset":
            call.reset()
        elif end == "close":
            call.writer.close()

    return behave


def held(until: asyncio.Event, then: Behaviour, *, first: bytes = b"") -> Behaviour:
    """Send ``first``, wait, then behave; ends early if the caller goes away."""

    async def behave(call: Call) -> None:
        if first:
            await call.send(first)
        waits = [asyncio.create_task(event.wait()) for event in (until, call.gone)]
        _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        if not call.gone.is_set():
            await then(call)

    return behave


async def silence(call: Call) -> None:
    """Never answer."""
    await call.gone.wait()


async def delivered(call: Call) -> None:
    """Wait until the kernel has what was sent: a reset throws away what is still in our own buffer."""
    while call.writer.transport.get_write_buffer_size():
        await asyncio.sleep(0)


# ---- bytes ----


def completion(text: str = "hello", **more: Any) -> bytes:
    """A chat completion's JSON."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"id": "c1", "object": "chat.completion", "choices": [choice], "usage": USAGE, **more}).encode()


def tokens(count: int, *, usage: bool = True, done: bool = True) -> list[bytes]:
    """The events of a stream of ``count`` tokens."""
    deltas: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"content": f"t{index} "}, "finish_reason": None}]} for index in range(count)
    ]
    deltas.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if usage:
        deltas.append({"choices": [], "usage": USAGE})
    events = [event({"id": "c1", "object": "chat.completion.chunk", **delta}) for delta in deltas]
    return [*events, b"data: [DONE]\n\n"] if done else events


def event(document: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % json.dumps(document, separators=(",", ":")).encode()


def chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def stream_head(*fields: tuple[str, str]) -> bytes:
    return head(200, ("content-type", EVENTS), ("transfer-encoding", "chunked"), *fields)


def whole(body: bytes, *fields: tuple[str, str], status: int = 200, kind: str = JSON) -> bytes:
    return head(status, ("content-type", kind), ("content-length", str(len(body))), *fields) + body


def head(status: int, *fields: tuple[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode()


# ---- servers ----


class FakeServer:
    """Answers each call by the next behaviour of ``script``, and when that is empty by ``default``."""

    def __init__(self, default: Behaviour | None = None) -> None:
        self.default = default or answer()
        self.script: list[Behaviour] = []
        self.calls: list[Call] = []
        self.connections = 0
        self.host = "127.0.0.1"
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen; after ``stop`` on the same port again."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=1 << 24)
        self.port = self._server.sockets[0].getsockname()[1]

    async def crash(self, call: Call) -> None:
        """A behaviour: die of the call."""
        assert self._server is not None
        self._server.close()
        call.reset()

    def close(self) -> None:
        """Listen no more; what runs goes on."""
        assert self._server is not None
        self._server.close()

    async def stop(self) -> None:
        """Die: nobody listens any more, and all connections are reset."""
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    def behave(self, call: Call) -> Behaviour:
        """What to do with ``call``."""
        return self.script.pop(0) if self.script else self.default

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while not writer.transport.is_closing():
                    await self._one(await _read(reader, writer), reader)
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _one(self, call: Call, reader: asyncio.StreamReader) -> None:
        self.calls.append(call)
        watch = asyncio.create_task(_watch(reader, call))
        try:
            await self.behave(call)(call)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Call:
    text = (await reader.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1")
    line, *lines = text.split("\r\n")
    method, path, version = line.split(" ")
    assert version == "HTTP/1.1"
    headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
    body = await reader.readexactly(int(dict(headers).get("content-length", "0")))
    return Call(method, path, headers, body, writer)


async def _watch(reader: asyncio.StreamReader, call: Call) -> None:
    with contextlib.suppress(ConnectionError):
        assert not await reader.read(1), "the caller sent something before it had its answer"
    call.gone.set()


class FakeWorker(FakeServer):
    """A worker: with an ops port or, ``bare``, with ``/v1/models`` on its traffic port."""

    def __init__(self, model: str = "m", *, bare: bool = False, max_running: int = 8) -> None:
        super().__init__()
        self.bare = bare
        self.unready = ""
        """The reason, on ``/readyz``."""
        self.load: dict[str, Any] = {
            "running": 0,
            "waiting": 0,
            "max_running": max_running,
            "models": [{"name": model, "context": 4096}],
            "epoch": "1",
        }
        self.ops = _Ops(self)
        self._model = model

    @property
    def spec(self) -> str:
        """As ``--worker`` takes it."""
        return f"{self._model}={self.url}" + ("" if self.bare else f",ops={self.ops.url}")

    @property
    def requests(self) -> list[Call]:
        """The calls for inference."""
        return [call for call in self.calls if call.path != "/v1/models"]

    async def start(self) -> None:
        await super().start()
        if not self.bare:
            await self.ops.start()

    async def stop(self) -> None:
        await super().stop()
        if not self.bare:
            await self.ops.stop()

    def behave(self, call: Call) -> Behaviour:
        if self.bare and call.path == "/v1/models":
            models = [{"id": model["name"], "max_model_len": model["context"]} for model in self.load["models"]]
            return answer(200, json.dumps({"object": "list", "data": models}).encode())
        return super().behave(call)


class _Ops(FakeServer):
    """A worker's ops port; what is in ``script`` comes first."""

    def __init__(self, worker: FakeWorker) -> None:
        super().__init__()
        self._worker = worker

    def behave(self, call: Call) -> Behaviour:
        if self.script:
            return self.script.pop(0)
        if call.path == "/readyz":
            reason = self._worker.unready
            return answer(503 if reason else 200, f"{reason or 'ok'}\n".encode(), kind="text/plain")
        return answer(200, json.dumps(self._worker.load).encode())


class FakeRouter(FakeServer):
    """A router: ``/pools``, and whatever else by script."""

    def __init__(self, *models: str, modality: str = "text", state: str = "ready") -> None:
        super().__init__()
        self.pools: list[dict[str, Any]] = [pool(model, modality=modality, state=state) for model in models or ("m",)]
        self.polls: list[Call] = []
        self.refuses: Behaviour | None = None
        """What to do with ``/pools`` instead of answering it."""

    @property
    def requests(self) -> list[Call]:
        return [call for call in self.calls if call.path != "/pools"]

    def behave(self, call: Call) -> Behaviour:
        if call.path == "/pools":
            return self.refuses or answer(200, json.dumps({"pools": self.pools}).encode())
        return super().behave(call)


def pool(
    name: str, *, modality: str = "text", state: str = "ready", context: int = 4096, adapters: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A pool as ``/pools`` tells it."""
    return {
        "name": name,
        "adapters": list(adapters),
        "context": context,
        "modality": modality,
        "inputs": ["text"],
        "queued": 0,
        "wait_ms": 0,
        "workers": [{"name": "w:1", "state": state, "reason": ""}],
    }
