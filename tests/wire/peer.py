"""The other ends of a connection, as bytes: what wire sends is judged by a parser of its own."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from headrace.wire.limits import ServerLimits
from headrace.wire.routes import Routes
from headrace.wire.server import Server

PATIENCE = 20.0
"""Seconds after which a test gives up waiting."""

Address = tuple[str, int]


@dataclass
class Reply:
    """One answer. Its framing was checked while it was read."""

    status: int
    headers: dict[str, str]
    body: bytes


class Served:
    """A server and where it is."""

    def __init__(self, routes: Routes, limits: ServerLimits) -> None:
        self.server = Server(routes, limits)
        self.address: Address = ("", 0)


def listen(served: Served) -> socket.socket:
    listener = free_port()
    served.address = listener.getsockname()
    return listener


def free_port() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener


class Peer:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, address: Address, *, receive_buffer: int = 0) -> Peer:
        """``receive_buffer``: what the system takes for a client that does not read; 0: its own choice."""
        raw = socket.socket()
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(raw, address)
        except OSError:
            raw.close()
            raise
        return cls(*await asyncio.open_connection(sock=raw))

    async def send(self, *pieces: bytes) -> None:
        """Each piece in a packet of its own."""
        for piece in pieces:
            self.writer.write(piece)
            await asyncio.wait_for(self.writer.drain(), PATIENCE)
            if len(pieces) > 1:
                await asyncio.sleep(0.002)

    async def reply(self, *, method: str = "POST") -> Reply:
        """Read one answer; interim ones (1xx) are answers too."""
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1")
            line, *lines = head.split("\r\n")
            match = re.fullmatch(r"HTTP/1\.1 (\d{3}) ([\x20-\x7e]*)", line)
            assert match, line
            headers: dict[str, str] = {}
            for field in lines:
                name, colon, value = field.partition(": ")
                assert colon, field
                assert name.islower(), field
                assert name not in headers, f"{name} twice"
                headers[name] = value
            status = int(match[1])
            return Reply(status, headers, await self._body(status, headers, method))

    async def _body(self, status: int, headers: dict[str, str], method: str) -> bytes:
        if status < 200 or status == 204 or method == "HEAD":
            return b""
        if "content-length" in headers:
            assert "transfer-encoding" not in headers
            return await self.reader.readexactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") == "chunked":
            return b"".join([chunk async for chunk in self.chunks()])
        assert headers.get("connection") == "close", "neither a length, nor chunks, nor the end of the connection"
        return await self.reader.read()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The chunks of a body, as they come."""
        while True:
            size = int((await self.reader.readuntil(b"\r\n"))[:-2], 16)
            chunk = await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
            if not size:
                return
            yield chunk

    async def until(self, marker: bytes) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(marker), PATIENCE)

    async def rest(self) -> bytes:
        """Everything until the other end closes; a reset counts as a close."""
        data = bytearray()
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while piece := await self.reader.read(1 << 16):
                    data += piece
        return bytes(data)

    def half_close(self) -> None:
        self.writer.write_eof()

    def reset(self) -> None:
        """Close so that the other end gets a reset."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


Script = Callable[[Peer], Awaitable[None]]


class Upstream:
    """A server that runs one script per connection, the last one for all that follow."""

    def __init__(self, *scripts: Script) -> None:
        self.connections = 0
        self._scripts = scripts
        self._server: asyncio.Server | None = None
        self._peers: list[Peer] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.address: Address = ("", 0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.address[1]}"

    async def start(self) -> None:
        listener = free_port()
        self.address = listener.getsockname()
        self._server = await asyncio.start_server(self._serve, sock=listener)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self._peers.append(peer)
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await script(peer)
        self._tasks.discard(task)
        peer.close()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self._peers:
            peer.writer.transport.abort()
        await asyncio.sleep(0)


async def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until ``condition`` holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)
    assert condition(), what
