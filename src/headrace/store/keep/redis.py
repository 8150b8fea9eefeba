"""Values in Redis or Valkey, for many processes. Their bound is the server's (``maxmemory``)."""

from __future__ import annotations

from headrace.store.redis import RedisServer

_NAMESPACE = "headrace:keep:1:"


class RedisKeep:
    """A ``Keep``."""

    def __init__(self, url: str, *, timeout: float = 0.5) -> None:
        """``timeout`` (seconds) is for a connection and an answer each. Nothing is connected yet."""
        self._server = RedisServer(url, timeout)
        self._commands = self._server.commands

    async def claim(self, name: str, mark: bytes, seconds: float) -> bytes | None:
        asking = self._commands.set(_NAMESPACE + name, mark, nx=True, get=True, px=_milliseconds(seconds))
        found: bytes | None = await self._server.ask(asking)
        return found

    async def get(self, name: str) -> bytes | None:
        found: bytes | None = await self._server.ask(self._commands.get(_NAMESPACE + name))
        return found

    async def put(self, name: str, value: bytes, seconds: float) -> None:
        await self._server.ask(self._commands.set(_NAMESPACE + name, value, px=_milliseconds(seconds)))

    async def extend(self, name: str, seconds: float) -> None:
        await self._server.ask(self._commands.pexpire(_NAMESPACE + name, _milliseconds(seconds)))

    async def drop(self, name: str) -> None:
        await self._server.ask(self._commands.delete(_NAMESPACE + name))

    async def close(self) -> None:
        await self._server.close()


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
