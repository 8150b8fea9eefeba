"""llm-api in this process, in front of a scripted router."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest
import uvloop

from headrace.api.app import ApiService
from headrace.config import ApiSettings, load
from headrace.store.keys import KeyStore
from headrace.store.secret import new_id, new_key
from headrace.telemetry.exposition import render
from headrace.wire.server import Server
from tests.fakes import Call, FakeRouter, answer, event, pool


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the services run on."""
    return {"uvloop": uvloop.new_event_loop}


class Api:
    """An ``ApiService`` that serves, its router, and clients of both makers."""

    def __init__(self, service: ApiService, router: FakeRouter, key: str) -> None:
        self.service = service
        self.router = router
        self.key = key
        self.url = ""
        self._server = Server(service.routes, service.limits)

    async def start(self) -> None:
        await self.service.start()
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.setblocking(False)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        await self._server.start(listener)
        self.http = httpx2.AsyncClient(base_url=self.url, headers={"authorization": f"Bearer {self.key}"}, timeout=30)
        self.anthropic = anthropic.AsyncAnthropic(base_url=self.url, api_key=self.key, max_retries=0)
        self.openai = openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=self.key, max_retries=0)

    async def close(self) -> None:
        await self.http.aclose()
        await self.anthropic.close()
        await self.openai.close()
        await self._server.close()
        await self.service.close()

    @property
    def sent(self) -> Call:
        """The last request that the router got."""
        return self.router.requests[-1]

    @property
    def body(self) -> Any:
        """Its body."""
        return json.loads(self.sent.body)

    async def quiet(self) -> None:
        """Wait until every request was counted: that comes after its last byte."""
        async with asyncio.timeout(30):
            while self.metric("llm_api_in_flight") != "llm_api_in_flight 0.0":
                await asyncio.sleep(0.005)

    def metric(self, name: str) -> str:
        """The lines of the metrics that begin with ``name``."""
        text = render(self.service.registry.snapshot()).body.decode()
        return "\n".join(line for line in text.splitlines() if line.startswith(name))


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stores: dict[str, str]) -> AsyncIterator[Api]:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    router = FakeRouter("m")
    router.pools += [
        pool("embedder", modality="embedding"),
        pool("ranker", modality="rerank"),
        pool("judge", modality="classification"),
    ]
    await router.start()
    key = new_key(new_id())
    with closing(KeyStore.open(tmp_path, database=stores.get("database", ""), pepper="")) as store:
        store.bootstrap(key)
    running = Api(ApiService(load(ApiSettings, flags={"router": [router.url], **stores}, env=False)), router, key)
    await running.start()
    yield running
    await running.close()
    await router.stop()


def json_answer(document: object, status: int = 200) -> Any:
    """What a worker answers: ``document``."""
    return answer(status, json.dumps(document).encode())


def chat(**message: Any) -> dict[str, Any]:
    """A chat completion with ``message``; ``finish_reason``, ``stop_reason`` and ``usage`` go where they belong."""
    choice: dict[str, Any] = {
        name: message.pop(name) for name in ("finish_reason", "stop_reason", "logprobs") if name in message
    }
    used = message.pop("usage", {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14})
    choice = {"index": 0, "finish_reason": "stop", **choice, "message": {"role": "assistant", **message}}
    return {
        "id": "chatcmpl-7",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "m",
        "choices": [choice],
        "usage": used,
    }


def deltas(*said: Mapping[str, Any], finish: str = "stop", **choice: Any) -> list[bytes]:
    """The events of a stream: one for each delta, the finish reason, the usage, [DONE]."""
    head = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1700000000, "model": "m"}
    choices: list[dict[str, Any]] = [{"index": 0, "delta": dict(one), "finish_reason": None} for one in said]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish, **choice})
    usage = {"prompt_tokens": 11, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}
    return [
        *(event({**head, "choices": [choice]}) for choice in choices),
        event({**head, "choices": [], "usage": usage}),
        b"data: [DONE]\n\n",
    ]
