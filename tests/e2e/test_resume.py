"""kill -9 of one of two real engines in the middle of an answer: what comes is one answer."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.chaos.client import Client, Stream
from tests.e2e.calls import Call, Ending, get
from tests.e2e.conftest import kept
from tests.e2e.patience import wait_until
from tests.e2e.stack import CHAT, CHAT_MODEL, Command, Home, free_port
from tests.wire.peer import wait_for

pytestmark = pytest.mark.e2e

TOKENS = 80
BODY: dict[str, Any] = {
    "model": CHAT_MODEL,
    "messages": [{"role": "user", "content": "Write a short list of animals with a sentence for each."}],
    "max_tokens": TOKENS,
    "ignore_eos": True,
    "temperature": 0,
    "stream": True,
    "stream_options": {"include_usage": True},
}


class Engine:
    """One cpu-worker."""

    def __init__(self, home: Home, models: Path, name: str) -> None:
        self.port, self.ops_port = free_port(), free_port()
        self.url, self.ops = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.ops_port}"
        flags = ("--port", str(self.port), "--ops-port", str(self.ops_port), "--host", "127.0.0.1")
        self.command: Command = home.command(name, "worker", "cpu", "--model", str(models / CHAT_MODEL), *flags)

    @property
    def spec(self) -> str:
        return f"{CHAT_MODEL}={self.url},ops={self.ops}"

    @property
    def ready(self) -> bool:
        return _answers(self.ops)

    @property
    def running(self) -> int:
        return int(get(self.ops, "/load")["running"])


def _answers(ops: str) -> bool:
    try:
        with Call(ops, "GET", "/readyz") as call:
            return call.status == 200
    except OSError:
        return False


class Pair(Home):
    """llm-api, the router and two cpu-workers."""

    def start(self, models: Path) -> None:
        self.engines = [Engine(self, models, f"cpu-{number}") for number in range(2)]
        for engine in self.engines:
            wait_until("the engine is ready", lambda engine=engine: engine.ready)  # type: ignore[misc]
        router, self.router_ops, api, api_ops = (free_port() for _ in range(4))
        specs = [flag for engine in self.engines for flag in ("--worker", engine.spec)]
        self.command("router", "router", "--port", str(router), "--ops-port", str(self.router_ops), *specs)
        wait_until("the router is ready", lambda: _answers(f"http://127.0.0.1:{self.router_ops}"))
        route = ("--router", f"http://127.0.0.1:{router}")
        self.command("api", "api", "--port", str(api), "--ops-port", str(api_ops), *route)
        wait_until("llm-api is ready", lambda: _answers(f"http://127.0.0.1:{api_ops}"))
        self.port = api

    def client(self) -> Client:
        return Client(lambda: ("127.0.0.1", self.port), self.key)


@pytest.fixture
def pair(models: Path, tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[Pair]:
    home = Pair(tmp_path)
    with kept(pytestconfig, home):
        home.start(models)
        yield home


def freeze(engine: Engine) -> list[psutil.Process]:
    """Stop the worker and its engine where they are, so that it is known what they sent."""
    family = [process for process in engine.command.family() if process.is_running()]
    for process in family:
        process.send_signal(signal.SIGSTOP)
    return family


async def test_one_unbroken_answer(pair: Pair) -> None:
    whole = await pair.client().ask(CHAT, BODY)
    assert (whole.done, whole.usages[0]["completion_tokens"]) == (True, TOKENS)

    stream = Stream()
    asking = asyncio.create_task(pair.client().ask(CHAT, BODY, stream))
    await wait_for(lambda: len(stream.events) >= TOKENS // 3, "a part of the answer")
    victim = next(engine for engine in pair.engines if engine.running)
    family = freeze(victim)
    before = await everything_that_was_sent(stream)
    for process in family:
        process.kill()
    await asking
    assert 0 < len(before) < len(whole.text)
    assert whole.text.startswith(before)
    assert stream.text == before + await asyncio.to_thread(continued, pair, victim, before)
    assert (stream.errors, stream.done, stream.finish) == ([], True, ["length"])
    assert stream.usages == whole.usages
    assert len({event["id"] for event in stream.events}) == 1


async def everything_that_was_sent(stream: Stream) -> str:
    """The text, when nothing more is on its way from a worker that sends nothing more."""
    seen = -1
    while seen != len(stream.events):
        seen = len(stream.events)
        await asyncio.sleep(1)
    return stream.text


def continued(pair: Pair, victim: Engine, before: str) -> str:
    """What the other engine says after ``before``, asked directly: its own greedy continuation of just that text."""
    other = next(engine for engine in pair.engines if engine is not victim)
    kept_text = before.rstrip()
    prompt = [*BODY["messages"], {"role": "assistant", "content": kept_text}]
    body = {**BODY, "messages": prompt, "continue_final_message": True, "add_generation_prompt": False}
    asked = {"model": CHAT_MODEL, "messages": prompt, "continue_final_message": True, "add_generation_prompt": False}
    counts = []
    for question in ({"model": CHAT_MODEL, "messages": BODY["messages"]}, asked):
        with Call(other.url, "POST", "/tokenize", json.dumps(question).encode()) as call:
            counts.append(call.json()["count"])
    body["max_tokens"] = TOKENS - (counts[1] - counts[0])
    with Call(other.url, "POST", CHAT, json.dumps(body).encode()) as call:
        assert call.end() is Ending.DONE
        return call.text().removeprefix(before[len(kept_text) :])
