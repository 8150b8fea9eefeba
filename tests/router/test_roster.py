"""Workers come and go without a restart."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headrace.errors import ConfigError
from headrace.router.discovery.target import Target
from headrace.router.worker import State
from tests.fakes import FakeWorker, answer, held, silence
from tests.router.conftest import Router, StartRouter, StartWorker
from tests.router.discovery.name_server import NameServer
from tests.wire.peer import wait_for


def target(fake: FakeWorker, *models: str) -> Target:
    return Target(fake.url, fake.ops.url, frozenset(models or ("m",)))


def publish(router: Router, *targets: Target) -> None:
    router.service.roster.publish("test", targets)


def names(router: Router, pool: str = "m") -> set[str]:
    return {worker.name for worker in router.service.pools[pool].workers}


async def status(router: Router, **headers: Any) -> int:
    return (await (await router.send(**headers)).reply()).status


async def test_pool_of_the_settings_waits_for_its_first_worker(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    router = await start_router(pools={"m": {"queue": 3}}, cold_wait=60)
    waiting = [await router.send() for _ in range(3)]
    await wait_for(lambda: router.service.pools["m"].waiting == 3, "the queue")
    assert await status(router) == 503
    publish(router, target(await start_worker()))
    assert [(await peer.reply()).status for peer in waiting] == [200] * 3


async def test_worker_that_leaves_finishes_and_is_dropped(start_router: StartRouter, start_worker: StartWorker) -> None:
    leaving, staying = await start_worker(), await start_worker()
    router = await start_router(pools={"m": {}}, profile="round-robin")
    publish(router, target(leaving), target(staying))
    await router.settle(leaving, State.READY)
    await router.settle(staying, State.READY)
    go = asyncio.Event()
    leaving.default = held(go, answer())
    peers = [await router.send() for _ in range(2)]
    await wait_for(lambda: len(leaving.requests) == 1, "the request")
    publish(router, target(staying))
    assert router.worker(leaving).state is State.DRAINING
    assert [await status(router) for _ in range(4)] == [200] * 4
    assert len(leaving.requests) == 1
    go.set()
    assert [(await peer.reply()).status for peer in peers] == [200, 200]
    await wait_for(lambda: names(router) == {staying.name}, "it to be dropped")
    calls = len(leaving.ops.calls)
    await asyncio.sleep(0.2)
    assert len(leaving.ops.calls) == calls  # nobody looks at it any more
    assert await status(router) == 200


async def test_worker_that_is_named_again_is_taken_back(start_router: StartRouter, start_worker: StartWorker) -> None:
    fake = await start_worker()
    router = await start_router(pools={"m": {}})
    publish(router, target(fake))
    await router.settle(fake, State.READY)
    go = asyncio.Event()
    fake.script = [held(go, answer())]
    peer = await router.send()
    await wait_for(lambda: bool(fake.requests), "the request")
    known = router.worker(fake)
    publish(router)
    assert known.state is State.DRAINING
    await asyncio.sleep(0.2)
    assert known.state is State.DRAINING  # what it says of itself does not call it back
    publish(router, target(fake))
    await router.settle(fake, State.READY)
    assert router.worker(fake) is known
    go.set()
    assert (await peer.reply()).status == 200


async def test_worker_of_several_models_serves_their_pools(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    fake = await start_worker(max_running=1)
    fake.load["models"] = [{"name": "m"}, {"name": "n"}]
    router = await start_router(pools={"m": {}, "n": {}, "o": {}}, cold_wait=0.05)
    publish(router, target(fake, "*"))
    await router.settle(fake, State.READY)
    await wait_for(lambda: bool(names(router, "n")), "the pools")
    assert [names(router, pool) for pool in ("m", "n", "o")] == [{fake.name}, {fake.name}, set()]
    assert await status(router) == 200
    assert await status(router, x_headrace_model="n") == 200
    fake.load["models"] = [{"name": "m"}, {"name": "o"}]
    await wait_for(lambda: bool(names(router, "o")) and not names(router, "n"), "the other pool")
    assert await status(router, x_headrace_model="o") == 200
    await asyncio.sleep(0.1)
    assert await status(router, x_headrace_model="n") == 503
    await router.idle()


async def test_worker_that_serves_none_of_the_pools_is_misnamed(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    fake = await start_worker("else")
    router = await start_router(pools={"m": {}, "n": {}})
    publish(router, target(fake, "*"))
    await router.settle(fake, State.MISNAMED)
    assert router.worker(fake).reason == "it serves else, not m or n"
    page = router.service.debug("workers")
    assert page is not None
    assert fake.name.encode() in page  # no pool shows it


async def test_new_process_behind_the_same_address_starts_cold(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    fake = await start_worker()
    router = await start_router(fake)
    assert await status(router, x_headrace_prefix="0" * 16 + "1" * 16) == 200
    index = router.service.pools["m"].scheduler.index
    assert len(index) == 2
    fake.load["epoch"] = "2"
    await wait_for(lambda: len(index) == 0, "the index to be emptied")


async def test_workers_come_from_dns(start_router: StartRouter, start_worker: StartWorker) -> None:
    server = await NameServer.start()
    fake = await start_worker()
    server.pod("worker.llm.svc", "127.0.0.1", http=fake.port, ops=fake.ops.port)
    router = await start_router("m=dns://worker.llm.svc", nameservers=[server.address], cold_wait=60)
    assert await status(router) == 200
    assert names(router) == {fake.name}
    server.close()


async def test_slots_and_queue_are_shared_with_the_other_routers(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    server = await NameServer.start()
    server.records["router-headless.", "A"] = ["10.0.0.1", "10.0.0.2"]
    fake = await start_worker(max_running=8)
    fake.load["running"] = 8  # the other router has them all
    fake.default = silence
    router = await start_router(fake, replicas_dns="router-headless", nameservers=[server.address], queue=4)
    await wait_for(lambda: router.worker(fake).slots == 4, "its share")
    running = [await router.send() for _ in range(4)]
    await wait_for(lambda: router.worker(fake).in_flight == 4, "they run")
    waiting = [await router.send() for _ in range(2)]
    await wait_for(lambda: router.service.pools["m"].waiting == 2, "the queue")
    assert await status(router) == 503
    for peer in (*running, *waiting):
        peer.close()
    await router.idle()
    server.close()


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"profile": "best"}, "no profile 'best'"), ({"pools": {"m": {"profile": "x"}}}, "no profile 'x'")],
)
async def test_wrong_profile_is_a_config_error(settings: dict[str, Any], told: str, start_router: StartRouter) -> None:
    with pytest.raises(ConfigError, match=told):
        await start_router("m=http://127.0.0.1:1", **settings)
