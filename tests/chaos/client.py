"""A client that reads streams as they come, many at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.wire.peer import Address, Peer

PATIENCE = 240.0
"""Seconds for a whole answer; generous, since other programs may keep this machine busy."""
CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"


@dataclass
class Stream:
    """What came of one answer so far."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    """Of what is no stream."""
    events: list[dict[str, Any]] = field(default_factory=list)
    done: bool = False
    rest: bytes = b""

    @property
    def text(self) -> str:
        choices = [choice for event in self.events for choice in event.get("choices", ())]
        return "".join(choice.get("text") or choice.get("delta", {}).get("content") or "" for choice in choices)

    @property
    def finish(self) -> list[str]:
        choices = [choice for event in self.events for choice in event.get("choices", ())]
        return [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]

    @property
    def usages(self) -> list[dict[str, Any]]:
        return [event["usage"] for event in self.events if event.get("usage")]

    @property
    def errors(self) -> list[Any]:
        return [event["error"] for event in self.events if "error" in event]

    def feed(self, data: bytes) -> None:
        *events, self.rest = (self.rest + data).split(b"\n\n")
        for event in events:
            assert not self.done, f"{event!r} behind [DONE]"
            payload = event.removeprefix(b"data: ")
            if event.startswith(b":"):
                continue
            assert payload is not event, event
            if payload == b"[DONE]":
                self.done = True
            else:
                self.events.append(json.loads(payload))


class Client:
    """Sends requests with one key, a connection each."""

    def __init__(self, door: Callable[[], Address], key: str) -> None:
        """``door`` tells where the next request goes, as a load balancer does."""
        self._door = door
        self._key = key

    def request(self, path: str, body: dict[str, Any]) -> bytes:
        """The bytes of one."""
        data = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self._key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        )
        return head.encode() + data

    async def connect(self, *, receive_buffer: int = 0) -> Peer:
        return await Peer.connect(self._door(), receive_buffer=receive_buffer)

    async def send(self, path: str, body: dict[str, Any], *, receive_buffer: int = 0) -> Peer:
        peer = await self.connect(receive_buffer=receive_buffer)
        peer.writer.write(self.request(path, body))
        return peer

    async def ask(self, path: str, body: dict[str, Any], stream: Stream | None = None) -> Stream:
        """The whole answer; ``stream`` shows it while it comes."""
        stream = stream or Stream()
        peer = await self.send(path, body)
        try:
            async with asyncio.timeout(PATIENCE):
                await read(peer, stream)
        finally:
            peer.close()
        return stream


async def read(peer: Peer, stream: Stream) -> None:
    """Fill ``stream`` from the answer to a request that was sent."""
    head = (await peer.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
    stream.headers = headers
    stream.status = int(line.split(" ")[1])
    if headers.get("transfer-encoding") != "chunked":
        stream.body = await peer.reader.readexactly(int(headers["content-length"]))
        return
    async for piece in peer.chunks():
        stream.feed(piece)
    assert not stream.rest, stream.rest
