"""A TCP proxy that resets a connection behind a chosen byte of an answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct


class Breaker:
    """Passes everything on, until an answer to a POST has ``at`` bytes; -1: it never breaks."""

    def __init__(self) -> None:
        self.at = -1
        self.breaks = 0
        self.broke = False
        """Whether the newest POST's answer was broken."""
        self.target = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            try:
                await self._pass(reader, writer, far_reader, far_writer)
            finally:
                far_writer.transport.abort()
        except OSError:
            pass  # one end is gone: so is the other
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        left = [-1]

        async def forth() -> None:
            while data := await reader.read(1 << 16):
                if data.startswith(b"POST "):
                    left[0], self.broke = self.at, False
                far_writer.write(data)

        async def back() -> None:
            while data := await far_reader.read(1 << 16):
                if 0 <= left[0] <= len(data):
                    writer.write(data[: left[0]])
                    await _reset(writer)
                    self.breaks, self.broke = self.breaks + 1, True
                    return
                left[0] -= len(data) if left[0] >= 0 else 0
                writer.write(data)

        ways = [asyncio.create_task(forth()), asyncio.create_task(back())]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await way


async def _reset(writer: asyncio.StreamWriter) -> None:
    while writer.transport.get_write_buffer_size():
        await asyncio.sleep(0)
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
