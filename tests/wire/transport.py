"""A socket that exists in memory only."""

from __future__ import annotations

import asyncio


class FakeTransport(asyncio.Transport):
    """Keeps what is written, and fails as uvloop's does where it is used after its end."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.eof = False
        self._reading = True
        self.lost = False
        self._closing = False
        self._protocol: asyncio.Protocol | None = None

    def serve(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        protocol.connection_made(self)

    def lose(self, error: Exception | None = None) -> None:
        """The connection is gone."""
        assert self._protocol is not None
        if not self.lost:
            self._closing = self.lost = True
            self._protocol.connection_lost(error)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.lost or self.eof:
            raise RuntimeError("the handler is closed")
        assert type(data) is bytes
        if not self._closing:
            self.written += data

    def write_eof(self) -> None:
        if self.lost:
            raise RuntimeError("the handler is closed")
        self.eof = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self._closing = True

    def abort(self) -> None:
        self._closing = True

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True

    def is_reading(self) -> bool:
        return self._reading

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0
