"""What is asked of the server is done, whatever happens to whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from headrace.errors import ConfigError, StoreError
from headrace.store.redis import RedisServer

_TURNS = 20
"""Of the loop, more than a command takes."""


@pytest.fixture
async def server(valkey: str) -> AsyncIterator[RedisServer]:
    server = RedisServer(valkey, timeout=20)
    await server.commands.flushall()
    yield server
    await server.close()


@pytest.mark.parametrize("turns", range(1, _TURNS))
async def test_a_cancellation_is_never_lost_and_a_write_never_half_done(server: RedisServer, turns: int) -> None:
    await server.ask(server.commands.ping())  # there is a connection
    asking = asyncio.create_task(server.ask(server.commands.set("name", "value")))
    for _ in range(turns):
        await asyncio.sleep(0)
    if asking.cancel():
        with pytest.raises(asyncio.CancelledError):
            await asking
    while server._asked:
        await asyncio.sleep(0.001)
    assert await server.ask(server.commands.get("name")) == b"value"


async def test_close_waits_for_what_was_asked(valkey: str, server: RedisServer) -> None:
    other = RedisServer(valkey, timeout=20)
    other.send(other.commands.set("late", "value"))
    await other.close()
    assert await server.ask(server.commands.get("late")) == b"value"


async def test_no_answer_is_a_store_error() -> None:
    server = RedisServer("unix:///nowhere/at/all", timeout=1)
    with pytest.raises(StoreError, match="redis does not answer"):
        await server.ask(server.commands.get("name"))
    await server.close()


def test_a_wrong_url_is_told() -> None:
    with pytest.raises(ConfigError, match="redis"):
        RedisServer("ftp://somewhere", timeout=1)
