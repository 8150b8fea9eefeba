"""A worker as a process of its own: ``python -m tests.chaos.fake_worker --model m --port P --ops-port O``.

It is deterministic (``tests.chaos.story``), paced, goes on with texts that were begun, counts with ``/tokenize``,
drains on SIGTERM, and misbehaves as it is told by ``POST /mode`` on its ops port, or by words in the prompt: DIE-AT-N
ends the process after N events, RESET-AT-N resets the connection of a first attempt after N bytes of the answer.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import re
import signal
import time
from dataclasses import dataclass
from typing import Any

import uvloop

from tests.chaos import story
from tests.fakes import Behaviour, Call, FakeServer, answer, chunk, delivered, refuse, stream_head

CHAT, TEXT, TOKENIZE = "/v1/chat/completions", "/v1/completions", "/tokenize"
_DIE = re.compile(r"DIE-AT-(\d+)")
_RESET = re.compile(r"RESET-AT-(\d+)")


@dataclass
class Mode:
    """How it behaves. Set by name through ``POST /mode``."""

    pace: float = 0.02
    """Seconds between two events."""
    hang: bool = False
    """Keep connections open, send nothing more."""
    padding: int = 0
    """Bytes of ballast in each event."""


class Generation:
    """One answer, event by event."""

    def __init__(self, document: dict[str, Any], *, chat: bool) -> None:
        """Raises ValueError for what the template or the story refuses."""
        self.chat = chat
        self.document = document
        prompt = story.chat_prompt(document) if chat else document["prompt"]
        self.prompt_tokens = len(story.tokenize(prompt))
        self.base, begun = story.split(prompt, chat=chat)
        self._tokens = story.remainder(self.base, begun)
        self._rng = random.Random(prompt)
        self.left = document.get("max_tokens") or 64
        self.count = 0
        stop = document.get("stop") or []
        self._stops = [stop] if isinstance(stop, str) else stop
        self._text = ""

    def pieces(self) -> list[tuple[str, str | None]]:
        """Text and finish reason of each event. Nothing is held back for stop strings: their beginnings get out."""
        found: list[tuple[str, str | None]] = []
        while self.left > 0:
            take = min(self._rng.choice((1, 1, 2, 3)), self.left)
            text = "".join(itertools.islice(self._tokens, take))
            self.left -= take
            self.count += take
            cut = self._cut(text)
            if cut is not None:
                return [*found, (cut, None), ("", "stop")]
            if self.chat and text.startswith(" ") and self._rng.random() < 0.2:  # to be trimmed, and written once more
                found += [(" ", None), (text[1:], None)]
            else:
                found.append((text, None))
        return [*found, ("", "length")]

    def _cut(self, text: str) -> str | None:
        before = len(self._text)
        self._text += text
        ends = [start for stop in self._stops if (start := self._text.find(stop)) >= 0]
        return self._text[before : max(before, min(ends))] if ends else None

    def usage(self) -> dict[str, Any]:
        total = self.prompt_tokens + self.count
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.count, "total_tokens": total}


class Engine(FakeServer):
    """The traffic port."""

    def __init__(self, model: str, mode: Mode, max_running: int) -> None:
        super().__init__()
        self.model = model
        self.mode = mode
        self.max_running = max_running
        self.epoch = f"{time.time()}-{random.randrange(2**32)}"
        self.draining = False
        self.running = 0
        self.iterations = 0
        self.seen = 0
        """Requests for a generation."""
        self.cancelled = 0
        """Those whose caller left before the end."""
        self.resets = 0
        self._ids = itertools.count()

    def load(self) -> dict[str, Any]:
        return {
            "running": self.running,
            "waiting": 0,
            "max_running": self.max_running,
            "iterations": self.iterations,
            "models": [{"name": self.model, "context": 100_000}],
            "draining": self.draining,
            "epoch": self.epoch,
        }

    def behave(self, call: Call) -> Behaviour:
        self.calls.clear()  # a process that runs for long keeps nothing
        document = json.loads(call.body)
        if call.path == TOKENIZE:
            return self._tokenize(document)
        if self.draining:
            return refuse(503, "draining", ("Retry-After", "1"))
        try:
            generation = Generation(document, chat=call.path == CHAT)
        except ValueError as error:
            return refuse(400, str(error))
        return lambda call: self._generate(call, generation)

    def _tokenize(self, document: dict[str, Any]) -> Behaviour:
        try:
            text = document["prompt"] if "prompt" in document else story.chat_prompt(document)
        except ValueError as error:
            return refuse(400, str(error))
        tokens = list(range(len(story.tokenize(text))))
        return answer(200, json.dumps({"count": len(tokens), "max_model_len": 100_000, "tokens": tokens}).encode())

    async def _generate(self, call: Call, generation: Generation) -> None:
        self.seen += 1
        self.running += 1
        reset = _RESET.search(generation.base)
        first = "-" not in call.header("x-request-id")
        sender = _Sender(call, int(reset[1]) if reset and first else -1)
        die = _DIE.search(generation.base)
        try:
            if generation.document.get("stream"):
                await self._stream(call, generation, sender, int(die[1]) if die else -1)
            else:
                await self._whole(call, generation, sender, bool(die))
        finally:
            self.running -= 1
            self.resets += sender.broken
            if (call.gone.is_set() or call.writer.transport.is_closing()) and not sender.broken:
                self.cancelled += 1

    async def _whole(self, call: Call, generation: Generation, sender: _Sender, die: bool) -> None:
        pieces = generation.pieces()
        await self._step(call)
        if die:
            os._exit(137)
        text = "".join(text for text, _ in pieces)
        body = {"message": {"role": "assistant", "content": text}} if generation.chat else {"text": text}
        choice = {"index": 0, **body, "finish_reason": pieces[-1][1]}
        document = {**self._head(), "choices": [choice], "usage": generation.usage()}
        data = json.dumps(document).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        await sender.send(head.encode() + data)

    async def _stream(self, call: Call, generation: Generation, sender: _Sender, die_at: int) -> None:
        head = self._head()
        if generation.chat:
            opening = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
            await sender.send(stream_head() + _event({**head, "choices": [opening]}))
        else:
            await sender.send(stream_head())
        for number, (text, finish) in enumerate(generation.pieces()):
            if number == die_at:
                os._exit(137)
            await self._step(call)
            if call.gone.is_set():
                return
            content = {"delta": {"content": text} if text else {}} if generation.chat else {"text": text}
            ballast = {"ballast": "x" * self.mode.padding} if self.mode.padding else {}
            choice = {"index": 0, **content, "finish_reason": finish}
            await sender.send(_event({**head, "choices": [choice], **ballast}))
        options = generation.document.get("stream_options") or {}
        if options.get("include_usage"):
            await sender.send(_event({**head, "choices": [], "usage": generation.usage()}))
        await sender.send(chunk(b"data: [DONE]\n\n") + chunk(b""))

    async def _step(self, call: Call) -> None:
        if self.mode.pace:
            await asyncio.sleep(self.mode.pace)
        if self.mode.hang:
            await call.gone.wait()
        self.iterations += 1

    def _head(self) -> dict[str, Any]:
        return {"id": f"{self.epoch[-4:]}-{next(self._ids)}", "object": "fake", "created": 1, "model": self.model}


class _Sender:
    """Sends an answer, up to the byte at which it is to break."""

    def __init__(self, call: Call, reset_at: int) -> None:
        self.broken = False
        self._call = call
        self._left = reset_at

    async def send(self, data: bytes) -> None:
        if self._call.writer.transport.is_closing():  # uvloop's transports are not to be written to then
            raise ConnectionResetError
        if self._left < 0:
            await self._call.send(data)
            return
        await self._call.send(data[: self._left])
        self._left -= len(data)
        if self._left < 0:
            self.broken = True
            await delivered(self._call)
            self._call.reset()
            raise ConnectionResetError


class Ops(FakeServer):
    """The ops port."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def behave(self, call: Call) -> Behaviour:
        self.calls.clear()
        engine = self._engine
        if call.path == "/readyz":
            return answer(503, b"draining\n") if engine.draining else answer(200, b"ok\n")
        if call.path == "/mode":
            for name, value in json.loads(call.body).items():
                setattr(engine.mode, name, value)
        if call.path == "/stats":
            stats = {
                "seen": engine.seen,
                "running": engine.running,
                "cancelled": engine.cancelled,
                "resets": engine.resets,
            }
            return answer(200, json.dumps(stats).encode())
        return answer(200, json.dumps(engine.load()).encode())


def _event(document: dict[str, Any]) -> bytes:
    return chunk(b"data: %b\n\n" % json.dumps(document, separators=(",", ":")).encode())


async def serve(options: argparse.Namespace) -> None:
    engine = Engine(options.model, Mode(pace=options.pace), options.max_running)
    ops = Ops(engine)
    engine.host = ops.host = options.host
    engine.port, ops.port = options.port, options.ops_port
    await ops.start()
    await engine.start()
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    await told.wait()
    engine.draining = True
    engine.close()
    while engine.running:
        await asyncio.sleep(0.01)
    os._exit(0)  # idle connections are the callers' affair


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="m")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ops-port", type=int, required=True)
    parser.add_argument("--pace", type=float, default=0.02)
    parser.add_argument("--max-running", type=int, default=64)
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
