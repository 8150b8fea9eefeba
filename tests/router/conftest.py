"""The real router in front of scripted workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest
import uvloop

from headrace.config import RouterSettings
from headrace.router.app import RouterService
from headrace.router.worker import State, Worker
from headrace.telemetry.metrics import Registry
from tests.fakes import FakeWorker
from tests.running import Running
from tests.wire.peer import Peer, wait_for


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the services run on."""
    return {"uvloop": uvloop.new_event_loop}


class Router(Running[RouterService]):
    """A ``RouterService`` that serves."""

    async def send(self, body: bytes = b"{}", **headers: str) -> Peer:
        """A new client that has sent a request."""
        peer = await self.dial()
        await peer.send(request(body, **headers))
        return peer

    def worker(self, fake: FakeWorker) -> Worker:
        """What the router knows of ``fake``."""
        return next(worker for worker in self.service.roster.workers if worker.url == fake.url)

    async def settle(self, fake: FakeWorker, state: State) -> None:
        """Wait until the router sees ``fake`` in ``state``."""
        worker = self.worker(fake)
        await wait_for(lambda: worker.state is state, f"{worker.state} ({worker.reason})")

    async def idle(self) -> None:
        """Wait until nothing is in flight."""
        pools = self.service.pools.values()
        await wait_for(
            lambda: not any(pool.waiting or any(worker.in_flight for worker in pool.workers) for pool in pools),
            "requests in flight",
        )
        assert all(worker.work == 0 for pool in pools for worker in pool.workers)

    def metric(self, name: str, *labels: str) -> float:
        """A counter's or gauge's value, or how many observations a histogram has; 0 where there is no such child."""
        return metric(self.service.registry, name, *labels)


def metric(registry: Registry, name: str, *labels: str) -> float:
    """As ``Router.metric``."""
    family = next(family for family in registry.snapshot() if family.name == name)
    values = next((child.values for child in family.children if child.labels == labels), [0.0])
    return sum(values[:-1]) if family.kind == "histogram" else values[0]


def request(body: bytes = b"{}", *, path: str = "/v1/chat/completions", method: str = "POST", **headers: str) -> bytes:
    """A request as llm-api sends it; ``x_headrace_cost="1,2"`` replaces or adds a header, ``""`` leaves it out."""
    fields = {
        "host": "router",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "x-request-id": "id",
        "x-headrace-model": "m",
        "x-headrace-tenant": "t",
        "x-headrace-cost": "10,20",
        "x-headrace-deadline-ms": "20000",
    }
    fields.update({name.replace("_", "-"): value for name, value in headers.items()})
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


StartRouter = Callable[..., Awaitable[Router]]
StartWorker = Callable[..., Awaitable[FakeWorker]]


@pytest.fixture
async def start_worker() -> AsyncIterator[StartWorker]:
    """Start a scripted worker; takes what ``FakeWorker`` takes."""
    workers: list[FakeWorker] = []

    async def start(*args: Any, **options: Any) -> FakeWorker:
        worker = FakeWorker(*args, **options)
        await worker.start()
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        await worker.stop()


@pytest.fixture
async def start_router() -> AsyncIterator[StartRouter]:
    """Start the router in front of workers, given as fakes or as ``--worker`` has them."""
    routers: list[Router] = []

    async def start(*workers: FakeWorker | str, **settings: Any) -> Router:
        specs = [worker if isinstance(worker, str) else worker.spec for worker in workers]
        router = Router(RouterService(RouterSettings(workers=specs, **{"poll_interval": 0.05, **settings})))
        await router.start()
        routers.append(router)
        return router

    yield start
    for router in routers:
        await router.close()
