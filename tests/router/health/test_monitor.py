"""Suspects are asked; those that do not answer lose their work to others."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from headrace.router.health.monitor import Monitor, Verdict, small_request
from headrace.router.health.progress import BLIND
from headrace.router.worker import Load, ModelLoad, State, Worker
from headrace.service.secret import HopSecret
from tests.fakes import FakeWorker, answer, chunk, completion, held, refuse, silence, stream_head, tokens
from tests.router.conftest import Router, StartRouter, StartWorker
from tests.wire.peer import wait_for


class Doctor:
    """A monitor that looks when it is told to."""

    def __init__(self, router: Router, *, secret: str = "", timeout: float = 20.0) -> None:
        self.verdicts: list[Verdict] = []
        self.monitor = Monitor(
            router.service.pools,
            HopSecret(secret),
            time.monotonic,
            lambda pool, verdict: self.verdicts.append(verdict),
            timeout=timeout,
            pause=0.02,
        )

    def look(self, *silent: Worker) -> None:
        """Check, as if ``silent`` had given no sign for a long time."""
        for worker in silent:
            worker.progress_at = time.monotonic() - BLIND - 1
            for attempt in worker.attempts:
                attempt.last_event = 0.0
        self.monitor.check()

    async def close(self) -> None:
        for task in self.monitor._asked.values():
            task.cancel()
        await asyncio.gather(*self.monitor._asked.values(), return_exceptions=True)


async def occupied(router: Router, fake: FakeWorker, *, begun: bool = False) -> tuple[asyncio.Event, Worker]:
    """``fake`` works on a request until the event is set."""
    go = asyncio.Event()
    first = stream_head() + chunk(tokens(1)[0]) if begun else b""
    fake.script = [held(go, answer(200, completion("late")), first=first)]
    return go, router.worker(fake)


async def test_busy_worker_that_answers_is_let_go_on(start_router: StartRouter, start_worker: StartWorker) -> None:
    fake = await start_worker()
    router = await start_router(fake)
    go, worker = await occupied(router, fake)
    peer = await router.send()
    await wait_for(lambda: bool(fake.requests), "the request")
    doctor = Doctor(router)
    asked = asyncio.Event()
    fake.script = [held(asked, answer())]
    doctor.look(worker)
    assert worker.state is State.SUSPECT
    await wait_for(lambda: len(fake.requests) == 2, "the question")
    await asyncio.sleep(0.2)
    assert worker.state is State.SUSPECT  # its own /readyz does not clear it
    asked.set()
    await wait_for(lambda: worker.state is State.READY, "it to be cleared")
    assert doctor.verdicts == [Verdict.OK]
    go.set()
    assert (await peer.reply()).status == 200
    await doctor.close()


async def test_wedged_worker_loses_its_work_to_another_one(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    wedged, well = await start_worker(), await start_worker()
    wedged.default = silence
    router = await start_router(wedged, well, profile="round-robin")
    peers = [await router.send() for _ in range(2)]
    await wait_for(lambda: len(wedged.requests) == 1, "the request")
    worker = router.worker(wedged)
    doctor = Doctor(router, timeout=0.1)
    doctor.look(worker)
    assert [(await peer.reply()).status for peer in peers] == [200, 200]
    assert worker.state is State.QUARANTINED
    assert (len(well.requests), worker.in_flight) == (2, 0)
    assert [(await (await router.send()).reply()).status for _ in range(3)] == [200] * 3
    await wait_for(lambda: doctor.verdicts.count(Verdict.FAILED) >= 2, "it to be asked again")
    wedged.default = answer()
    await wait_for(lambda: worker.state is State.READY, "it to be back")
    assert doctor.verdicts[-1] is Verdict.OK
    await doctor.close()


async def test_sign_of_progress_clears_as_well(start_router: StartRouter, start_worker: StartWorker) -> None:
    fake = await start_worker()
    router = await start_router(fake)
    go, worker = await occupied(router, fake)
    peer = await router.send()
    await wait_for(lambda: bool(fake.requests), "the request")
    doctor = Doctor(router, timeout=0.5)
    fake.default = silence  # it has no slot for the question
    doctor.look(worker)
    fake.load["iterations"] = 7
    await wait_for(lambda: worker.state is State.READY, "it to be cleared")
    assert doctor.verdicts == [Verdict.OK]
    go.set()
    assert (await peer.reply()).status == 200
    await doctor.close()


async def test_server_errors_in_a_row_lead_to_the_question(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    fake = await start_worker()
    router = await start_router(fake)
    worker = router.worker(fake)
    fake.default = refuse(500, "broken")
    for _ in range(5):
        assert (await (await router.send()).reply()).status == 500
    doctor = Doctor(router)
    doctor.look()
    await wait_for(lambda: worker.state is State.QUARANTINED, "the verdict")
    fake.default = answer()
    await wait_for(lambda: worker.state is State.READY, "it to be back")
    assert worker.failures == 0
    await doctor.close()


async def test_client_errors_never_count(start_router: StartRouter, start_worker: StartWorker) -> None:
    fake = await start_worker()
    router = await start_router(fake)
    fake.default = refuse(400, "bad")
    for _ in range(12):
        await (await router.send()).reply()
    doctor = Doctor(router)
    doctor.look()
    assert router.worker(fake).state is State.READY
    assert not doctor.monitor._asked


async def test_engine_without_the_endpoint_is_let_go_on(start_router: StartRouter, start_worker: StartWorker) -> None:
    fake = await start_worker()
    router = await start_router(fake)
    worker = router.worker(fake)
    worker.failures = 5
    fake.default = refuse(404, "not_found")
    doctor = Doctor(router)
    doctor.look()
    await wait_for(lambda: doctor.verdicts == [Verdict.UNKNOWN], "the verdict")
    assert worker.state is State.READY
    await doctor.close()


async def test_worker_that_is_gone_is_not_asked_any_more(start_router: StartRouter, start_worker: StartWorker) -> None:
    fake = await start_worker()
    fake.default = silence
    router = await start_router(fake)
    worker = router.worker(fake)
    worker.failures = 5
    doctor = Doctor(router)
    doctor.look()
    task = doctor.monitor._asked[worker]
    router.service.roster.publish("static", [])
    doctor.look()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert not doctor.monitor._asked


async def test_new_process_begins_without_doubt(start_router: StartRouter, start_worker: StartWorker) -> None:
    fake = await start_worker()
    fake.default = silence
    router = await start_router(fake)
    worker = router.worker(fake)
    worker.failures = 5
    doctor = Doctor(router, timeout=0.05)
    doctor.look()
    await wait_for(lambda: worker.state is State.QUARANTINED, "the verdict")
    fake.load["epoch"], fake.default = "2", answer()
    await wait_for(lambda: worker.state is State.READY, "the new process to be used")
    await wait_for(lambda: not doctor.monitor._asked, "the questions to end")
    assert worker.doubt is None


async def test_question_carries_the_secret(start_router: StartRouter, start_worker: StartWorker) -> None:
    fake = await start_worker()
    router = await start_router(fake, hop_secret="s3cret")
    router.worker(fake).failures = 5
    doctor = Doctor(router, secret="s3cret")
    doctor.look()
    await wait_for(lambda: bool(doctor.verdicts), "the verdict")
    assert fake.requests[0].header("authorization") == "Bearer s3cret"
    await doctor.close()


@pytest.mark.parametrize(
    ("modality", "path", "field"),
    [
        ("text", "/v1/completions", "prompt"),
        ("embedding", "/v1/embeddings", "input"),
        ("rerank", "/v1/rerank", "query"),
        ("classification", "/classify", "input"),
    ],
)
def test_question_fits_the_model(modality: str, path: str, field: str) -> None:
    worker = Worker("http://10.0.0.1:1", pools=["m"])
    worker.observe(Load(models=(ModelLoad("m", modality=modality),)))
    asked, body = small_request("m", worker)
    assert asked == path
    assert field in json.loads(body)


async def test_look_that_times_out_does_not_count_while_streams_move(
    start_router: StartRouter, start_worker: StartWorker
) -> None:
    fake = await start_worker()
    router = await start_router(fake, poll_interval=0.02)
    go, worker = await occupied(router, fake, begun=True)
    peer = await router.send()
    await wait_for(lambda: bool(worker.attempts), "the stream")
    [attempt] = worker.attempts
    fake.ops.behave = lambda call: answer(200, b"not a load")  # type: ignore[method-assign]
    for _ in range(20):
        attempt.last_event = worker.progress_at = time.monotonic()
        await asyncio.sleep(0.01)
    assert worker.state is State.READY
    peer.close()
    go.set()
    await wait_for(lambda: worker.state is State.DOWN, "it to count")
