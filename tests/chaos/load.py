"""Clients that keep a fleet busy while something is done to it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from tests.chaos.client import CHAT, TEXT, Client, Stream
from tests.chaos.invariants import Account, Asked
from tests.e2e.patience import PATIENCE

MODEL = "m"
GOT_ON = 24
"""Events that every stream must have seen before the next thing happens: more than ``journey._PROGRESS``."""


class Load:
    """Keeps some streams running until it is told to stop, and judges each."""

    def __init__(self, client: Client, account: Account, seed: int, *, streams: int = 100, json: float = 0.0) -> None:
        """``json``: the part of the requests that want no stream."""
        self.account = account
        self._client = client
        self._seed = seed
        self._streams = streams
        self._json = json
        self._running: dict[int, Stream] = {}
        self._stop = False

    async def run(self, chaos: Callable[[], Awaitable[None]]) -> None:
        """Run until ``chaos`` is over and the streams are at their ends."""
        async with asyncio.TaskGroup() as group:  # a stream that fails ends all
            for number in range(self._streams):
                group.create_task(self._stay(number))
            await self.get_on(4)
            await chaos()
            await self.get_on(GOT_ON)
            self._stop = True

    async def get_on(self, events: int = GOT_ON) -> None:
        """Wait until each stream that runs now has seen so many events more, or is at its end."""
        async with asyncio.timeout(PATIENCE):
            while len(self._running) < self._streams:
                await asyncio.sleep(0.05)
            before = {number: (stream, len(stream.events)) for number, stream in self._running.items()}
            while any(
                self._running[number] is stream and len(stream.events) < count + events
                for number, (stream, count) in before.items()
            ):
                await asyncio.sleep(0.05)

    async def _stay(self, number: int) -> None:
        rng = random.Random(f"{self._seed} {number}")
        while not self._stop:
            await self._one(rng, number)

    async def _one(self, rng: random.Random, number: int) -> None:
        prompt, count = f"Tell me of {rng.random()}", rng.randrange(100, 160)
        path, body = ask(prompt, count, chat=rng.random() < 0.7, wants_usage=rng.random() < 0.5)
        if rng.random() < self._json:
            body = {name: value for name, value in body.items() if name not in {"stream", "stream_options"}}
        asked = Asked(path, body, count)
        self._running[number] = asked.stream
        await put(self._client, self.account, asked)
        if not asked.finished:
            await asyncio.sleep(0.1)  # who was refused does not come again at once


async def put(client: Client, account: Account, asked: Asked) -> None:
    """Ask, and let the answer be judged."""
    lost: BaseException | None = None
    try:
        await client.ask(asked.path, asked.body, asked.stream)
    except (ConnectionError, asyncio.IncompleteReadError) as error:
        lost = error
    account.judge(asked, lost)


def ask(prompt: str, count: int, *, chat: bool = True, wants_usage: bool = True) -> tuple[str, dict[str, Any]]:
    body: dict[str, Any] = {"model": MODEL, "max_tokens": count, "stream": True}
    if wants_usage:
        body["stream_options"] = {"include_usage": True}
    if chat:
        return CHAT, {**body, "messages": [{"role": "user", "content": prompt}]}
    return TEXT, {**body, "prompt": f"{prompt}»"}
