"""Values in Redis or Valkey, for many processes. Their bound is the server's (``maxmemory``)."""

from __future__ import annotations

from typing import cast

from redis.exceptions import RedisError

from headrace.errors import StoreError
from headrace.store.limits.redis import connect

_NAMESPACE = "headrace:keep:1:"


class RedisKeep:
    """A ``Keep``."""

    def __init__(self, url: str, *, timeout: float = 0.5) -> None:
        """``timeout`` (seconds) is for a connection and an answer each. Nothing is connected yet."""
        self._redis = connect(url, timeout)

    async def claim(self, name: str, mark: bytes, seconds: float) -> bytes | None:
        try:
            found = await self._redis.set(_NAMESPACE + name, mark, nx=True, get=True, px=_milliseconds(seconds))
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error
        return cast(bytes | None, found)

    async def get(self, name: str) -> bytes | None:
        try:
            found = await self._redis.get(_NAMESPACE + name)
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error
        return cast(bytes | None, found)

    async def put(self, name: str, value: bytes, seconds: float) -> None:
        try:
            await self._redis.set(_NAMESPACE + name, value, px=_milliseconds(seconds))
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error

    async def extend(self, name: str, seconds: float) -> None:
        try:
            await self._redis.pexpire(_NAMESPACE + name, _milliseconds(seconds))
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error

    async def drop(self, name: str) -> None:
        try:
            await self._redis.delete(_NAMESPACE + name)
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error

    async def close(self) -> None:
        await self._redis.aclose()


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def _unreachable(error: Exception) -> StoreError:
    return StoreError(f"redis does not answer: {error or type(error).__name__}")
