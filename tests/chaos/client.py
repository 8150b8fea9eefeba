"""A client that reads streams as they come, many at a time."""

from __future__ import annotations

import asyncio
import json
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

    def __init__(self, address: Address, key: str) -> None:
        self._address = address
        self._key = key

    async def send(self, path: str, body: dict[str, Any], *, receive_buffer: int = 0) -> Peer:
        data = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self._key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        )
        peer = await Peer.connect(self._address, receive_buffer=receive_buffer)
        peer.writer.write(head.encode() + data)
        return peer

    async def ask(self, path: str, body: dict[str, Any], stream: Stream | None = None) -> Stream:
        """The whole answer; ``stream`` shows it while it comes."""
        stream = stream or Stream()
        peer = await self.send(path, body)
        try:
            async with asyncio.timeout(PATIENCE):
                await _read(peer, stream)
        finally:
            peer.close()
        return stream


async def _read(peer: Peer, stream: Stream) -> None:
    head = (await peer.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    stream.status = int(head.split(" ")[1])
    if "transfer-encoding: chunked" not in head:
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        stream.body = await peer.reader.readexactly(length)
        return
    async for piece in peer.chunks():
        stream.feed(piece)
    assert not stream.rest, stream.rest
