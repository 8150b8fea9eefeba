"""Streams and answers whose workers are killed, drained or hang: nobody notices."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.chaos import story
from tests.chaos.client import CHAT, TEXT, Client, Stream
from tests.chaos.conftest import StartFleet
from tests.chaos.fleet import MODEL, Fleet, Worker
from tests.e2e.patience import PATIENCE

pytestmark = pytest.mark.e2e

STREAMS = 100
GOT_ON = 24
"""Events that every stream must have seen before the next worker goes: more than ``journey._PROGRESS``."""


class Load:
    """Keeps ``STREAMS`` streams running until it is told to stop, and judges each."""

    def __init__(self, client: Client, seed: int) -> None:
        self.finished = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self._client = client
        self._seed = seed
        self._running: dict[int, Stream] = {}
        self._stop = False

    async def run(self, chaos: Callable[[], Awaitable[None]]) -> None:
        """Run until ``chaos`` is over and the streams are at their ends."""
        async with asyncio.TaskGroup() as group:  # a stream that fails ends all
            for number in range(STREAMS):
                group.create_task(self._stay(number))
            await self.get_on(4)
            await chaos()
            await self.get_on(GOT_ON)
            self._stop = True

    async def get_on(self, events: int) -> None:
        """Wait until each stream that runs now has seen so many events more, or is at its end."""
        before = {number: (stream, len(stream.events)) for number, stream in self._running.items()}
        async with asyncio.timeout(PATIENCE):
            while len(self._running) < STREAMS or any(
                self._running.get(number) is stream and len(stream.events) < count + events
                for number, (stream, count) in before.items()
            ):
                await asyncio.sleep(0.05)

    async def _stay(self, number: int) -> None:
        rng = random.Random(f"{self._seed} {number}")
        while not self._stop:
            stream = self._running[number] = Stream()
            await self._one(rng, stream)

    async def _one(self, rng: random.Random, stream: Stream) -> None:
        prompt, count = f"Tell me of {rng.random()}", rng.randrange(100, 160)
        path, body = ask(prompt, count, chat=rng.random() < 0.7, wants_usage=rng.random() < 0.5)
        await self._client.ask(path, body, stream)
        usage = check(stream, body, count)
        self.finished += 1
        self.prompt_tokens += usage["prompt_tokens"]
        self.completion_tokens += usage["completion_tokens"]


def ask(prompt: str, count: int, *, chat: bool = True, wants_usage: bool = True) -> tuple[str, dict[str, Any]]:
    body: dict[str, Any] = {"model": MODEL, "max_tokens": count, "stream": True}
    if wants_usage:
        body["stream_options"] = {"include_usage": True}
    if chat:
        return CHAT, {**body, "messages": [{"role": "user", "content": prompt}]}
    return TEXT, {**body, "prompt": f"{prompt}»"}


def check(stream: Stream, body: dict[str, Any], count: int) -> dict[str, int]:
    """Whether a stream was as if nothing had happened; the usage that it should tell."""
    base = story.chat_prompt(body) if "messages" in body else body["prompt"]
    assert (stream.status, stream.errors, stream.done) == (200, [], True), stream.body
    assert stream.text == story.answer(base, count)
    assert stream.finish == ["length"]
    prompt = len(story.tokenize(base))
    usage = {"prompt_tokens": prompt, "completion_tokens": count, "total_tokens": prompt + count}
    assert stream.usages == ([usage] if "stream_options" in body else [])
    assert len({(event["id"], event["model"]) for event in stream.events}) == 1
    roles = [choice.get("delta", {}).get("role") for event in stream.events for choice in event["choices"]]
    assert roles.count("assistant") == (1 if "messages" in body else 0)
    return usage


@pytest.fixture
def seed() -> int:
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201  shown when the test fails
    return seed


async def survive(fleet: Fleet, seed: int, disturb: Callable[[Worker, Load], Awaitable[None]]) -> None:
    """100 streams at a time, and each worker disturbed in its turn."""
    load = Load(fleet.client(), seed)
    order = random.Random(seed).sample(fleet.workers, len(fleet.workers))

    async def chaos() -> None:
        for worker in order:
            await disturb(worker, load)
            await load.get_on(GOT_ON)

    await load.run(chaos)
    await judge(fleet, load)


async def judge(fleet: Fleet, load: Load) -> None:
    """Everything was answered and billed once, and nothing is left."""
    await asyncio.to_thread(fleet.wait_idle)
    tokens = fleet.samples("api")
    assert tokens.total("llm_api_tokens_total", kind="prompt") == load.prompt_tokens
    assert tokens.total("llm_api_tokens_total", kind="completion") == load.completion_tokens
    assert fleet.router_metric("llm_router_not_resumable_total") == 0
    assert fleet.router_metric("llm_router_requests_total") == load.finished


async def bring_back(fleet: Fleet, worker: Worker) -> None:
    worker.start()
    await asyncio.to_thread(worker.wait_ready)
    await asyncio.to_thread(fleet.wait_state, worker, "ready")


async def test_kill_9_one_after_another(start_fleet: StartFleet, seed: int) -> None:
    fleet = start_fleet()

    async def kill(worker: Worker, load: Load) -> None:
        worker.end()
        await load.get_on(GOT_ON)
        await bring_back(fleet, worker)

    await survive(fleet, seed, kill)
    assert fleet.router_metric("llm_router_resumes_total") > 0  # how many were under way is the machine's pace


async def test_sigterm_one_after_another(start_fleet: StartFleet, seed: int) -> None:
    """A rolling restart: what runs is finished, so nothing has to be resumed."""
    fleet = start_fleet()

    async def drain(worker: Worker, load: Load) -> None:
        worker.signal(signal.SIGTERM)
        await asyncio.to_thread(worker.wait_end)
        await bring_back(fleet, worker)

    await survive(fleet, seed, drain)
    assert fleet.router_metric("llm_router_resumes_total") == 0


async def test_workers_that_hang_without_closing(start_fleet: StartFleet, seed: int) -> None:
    """One that is stopped altogether, and one whose engine stands still while its ops port answers."""
    fleet = start_fleet()
    stopped, stuck = random.Random(seed).sample(fleet.workers, 2)
    load = Load(fleet.client(), seed)

    async def hang() -> None:
        stopped.signal(signal.SIGSTOP)
        await asyncio.to_thread(stuck.set, hang=True)
        await load.get_on(GOT_ON)
        stopped.signal(signal.SIGCONT)
        await asyncio.to_thread(stuck.set, hang=False)

    await load.run(hang)
    await judge(fleet, load)
    assert fleet.router_metric("llm_router_resumes_total") > 0
