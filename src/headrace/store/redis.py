"""Redis or Valkey, as the stores ask it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from headrace.errors import ConfigError, StoreError

_CONNECTIONS = 32


class RedisServer:
    """One server, and what is being asked of it.

    Every question runs in a task of its own: whoever asks may be cancelled, and what it asked for is done all the
    same, whole. It is also the only way to be cancelled for certain: the driver waits by ``asyncio.wait_for``, which
    loses a cancellation that comes in the turn in which it is done (before Python 3.12, gh-86296).
    """

    def __init__(self, url: str, timeout: float) -> None:
        """``timeout`` (seconds) is for a connection and an answer each; nothing is tried twice.

        Nothing is connected yet. Raises ConfigError for a URL that cannot be used.
        """
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=_CONNECTIONS,
                timeout=timeout,
                socket_timeout=timeout,
                socket_connect_timeout=timeout,
                retry=Retry(NoBackoff(), 0),  # a script that ran must not run again
            )
        except ValueError as error:
            raise ConfigError(f"redis: {error}") from None
        self.commands = Redis.from_pool(pool)
        self._asked: set[asyncio.Task[Any]] = set()

    async def ask(self, question: Awaitable[Any]) -> Any:
        """The answer. Raises StoreError where there is none."""
        return await asyncio.shield(self.send(question))

    def send(self, question: Awaitable[Any]) -> asyncio.Task[Any]:
        """The same for those who do not wait."""
        task = asyncio.create_task(_answer(question))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)
        return task

    async def close(self) -> None:
        """Wait for what was asked, and disconnect."""
        if self._asked:
            await asyncio.wait(set(self._asked))
        await self.commands.aclose()


async def _answer(question: Awaitable[Any]) -> Any:
    try:
        return await question
    except (RedisError, OSError) as error:
        raise StoreError(f"redis does not answer: {error or type(error).__name__}") from error
