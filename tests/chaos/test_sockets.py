"""Clients on bad connections, and a bad connection between llm-api and router."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.chaos.breaker import Breaker
from tests.chaos.client import Client, Stream, read
from tests.chaos.conftest import StartFleet
from tests.chaos.invariants import Account, Asked
from tests.chaos.load import Load, ask, put

pytestmark = pytest.mark.e2e

TOKENS = 4
AT_ONCE = 16


async def test_bad_clients_hurt_nobody_else(start_fleet: StartFleet, seed: int) -> None:
    """Some send a byte at a time, half-close, leave at any byte, or do not read: the others' streams are whole."""
    fleet = start_fleet(2, pace=0.02)
    account = Account()
    client, rng = fleet.client(), random.Random(seed)
    load = Load(client, account, seed, streams=30)
    before = fleet.memory()

    async def misbehave() -> None:
        for _ in range(3):
            async with asyncio.TaskGroup() as group:
                for number in range(20):
                    one = rng.choice([send_slowly, half_close, leave, read_slowly])
                    group.create_task(one(client, random.Random(f"{seed} {number}")))
            await load.get_on()

    await load.run(misbehave)
    await asyncio.to_thread(fleet.settle, account, before, strangers=True)


async def send_slowly(client: Client, rng: random.Random) -> None:
    """In small pieces, with pauses; the answer is to be whole all the same."""
    asked = Asked(*ask(f"slow {rng.random()}", TOKENS), TOKENS)
    data = client.request(asked.path, asked.body)
    peer = await client.connect()
    while data:
        size = rng.randrange(1, 40)
        peer.writer.write(data[:size])
        data = data[size:]
        await asyncio.sleep(0.005)
    await read(peer, asked.stream)
    peer.close()
    Account().judge(asked)


async def half_close(client: Client, rng: random.Random) -> None:
    """Says, at any moment, that it sends nothing more: whoever does so is taken for one that left."""
    path, body = ask(f"half {rng.random()}", 60)
    peer = await client.send(path, body)
    await asyncio.sleep(rng.random())
    peer.half_close()
    await peer.rest()
    peer.close()


async def leave(client: Client, rng: random.Random) -> None:
    """After any byte of its own request, or while the answer comes."""
    path, body = ask(f"gone {rng.random()}", 60)
    data = client.request(path, body)
    peer = await client.connect()
    peer.writer.write(data[: rng.randrange(2 * len(data))])
    await asyncio.sleep(rng.random())
    (peer.reset if rng.random() < 0.5 else peer.close)()


async def read_slowly(client: Client, rng: random.Random) -> None:
    path, body = ask(f"lazy {rng.random()}", 60)
    peer = await client.send(path, body, receive_buffer=16 * 1024)
    stream = Stream()
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        async with asyncio.timeout(30):
            while piece := await peer.reader.read(rng.randrange(1, 200)):
                stream.body += piece
                await asyncio.sleep(0.01)
                if b"[DONE]" in stream.body:
                    break
    peer.close()


async def test_request_cut_at_every_offset(start_fleet: StartFleet) -> None:
    """A client that is reset after any byte of its request leaves nothing behind."""
    fleet = start_fleet(2, pace=0)
    client = fleet.client()
    data = client.request(*ask("Cut", TOKENS))
    for offset in range(len(data)):
        peer = await client.connect()
        peer.writer.write(data[:offset])
        await peer.writer.drain()
        peer.reset()
    await asyncio.to_thread(fleet.wait_counters)
    account = Account()
    await put(client, account, Asked(*ask("After", TOKENS), TOKENS))
    assert sum(worker.stats()["seen"] for worker in fleet.workers) == 1


@asynccontextmanager
async def broken_hop(start_fleet: StartFleet) -> AsyncIterator[tuple[Breaker, Client]]:
    """A fleet whose llm-api reaches its router through a breaker."""
    breaker = Breaker()
    await breaker.start()
    fleet = start_fleet(2, pace=0, router_door=breaker.port)
    breaker.target = fleet.routers[0].port
    await asyncio.to_thread(fleet.finish_start, 2)
    try:
        yield breaker, fleet.client()
        breaker.at = -1
        await asyncio.to_thread(fleet.wait_counters)
    finally:
        await breaker.close()


async def test_hop_reset_at_every_offset(start_fleet: StartFleet) -> None:
    """Between llm-api and router nothing is gone on with: the answer is whole, or an error says that it is not."""
    async with broken_hop(start_fleet) as (breaker, client):
        account = Account(errors=True)
        offset, whole = 0, False
        while not whole:
            breaker.at = offset
            asked = Asked(*ask(f"Hop {offset}", TOKENS), TOKENS)
            await put(client, account, asked)
            whole = asked.finished and not breaker.broke
            offset += 7 if offset % 2 else 8  # each border between two fields, two events and two chunks comes up
        assert breaker.breaks > 50
        assert len(account.asked) > len(account.finished) > 0
