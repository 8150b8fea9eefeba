"""What llm-api and the router each cost on the way of a request, in one process and without sockets.

    python -m benchmarks.hops            CPU microseconds of a JSON request and of a chunk of a stream, by hop
    python -m benchmarks.hops --calls    the Python functions that a JSON request calls, and how often

The services are the real ones with everything on; only the connections of the measured way are transports in memory.
So a change shows that a noisy machine hides in ``benchmarks.gateway``. The kernel and the loop's polling are not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TextIO

import uvloop

from benchmarks.wire import BODY, EVENT, REQUEST, CountingTransport, framed
from headrace.api.app import ApiService
from headrace.config import ApiSettings, RouterSettings, load
from headrace.router.app import RouterService
from headrace.service.sockets import listen
from headrace.store.keys import KeyStore
from headrace.wire.client import Origin
from headrace.wire.connection import ServerConnection
from headrace.wire.server import Server
from headrace.wire.upstream import Connection

KEY = b"hr-abcdefghijkl-" + b"x" * 43
_BATCH = 250
_ROUNDS = 150
_PATIENCE = 1000
ANSWER = (
    b'{"id":"x","object":"chat.completion","created":1,"model":"mock","choices":[{"index":0,"message":{"role":'
    b'"assistant","content":"tok0 tok1 tok2"},"finish_reason":"stop"}],"usage":{"prompt_tokens":250,'
    b'"completion_tokens":3,"total_tokens":253}}'
)
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_STREAM_BODY = BODY.replace(b"{", b'{"stream":true,', 1)


def request(body: bytes) -> bytes:
    """A client's request, as bytes."""
    head = REQUEST.partition(b"\r\n\r\n")[0].replace(b"hr-bench-0123456789abcdef0123456789", KEY)
    return head.replace(b"%d" % len(BODY), b"%d" % len(body)) + b"\r\n\r\n" + body


class Pipe(CountingTransport):
    """A transport that gives back what was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._pieces.append(bytes(data))

    def take(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


@dataclass(frozen=True, slots=True)
class Hop:
    """One service between two transports."""

    name: str
    client: ServerConnection
    answers: Pipe
    upstream: Connection
    requests: Pipe
    origin: Origin

    def ask(self, data: bytes) -> bytes:
        """What it sends on of a request."""
        self.client.data_received(data)
        self.origin.outbox.flush()
        return self.requests.take()

    def answer(self, data: bytes) -> bytes:
        """What its client gets of an answer's bytes."""
        self.upstream.data_received(data)
        self.client.server.outbox.flush()
        return self.answers.take()


@contextlib.contextmanager
def lent(*hops: Hop) -> Iterator[None]:
    """The hops use no other upstream connection than theirs meanwhile."""
    kept = [list(hop.origin._idle) for hop in hops]
    for hop in hops:
        hop.origin._idle[:] = [hop.upstream]
    try:
        yield
    finally:
        for hop, idle in zip(hops, kept, strict=True):
            hop.origin._idle[:] = idle


async def outside(call: Callable[[], None], *hops: Hop) -> None:
    """Run ``call`` as the loop runs a protocol's callbacks: in no task."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def run() -> None:
        try:
            with lent(*hops):
                call()
        except BaseException as error:  # noqa: BLE001  it is raised where it is awaited
            done.set_exception(error)
        else:
            done.set_result(None)

    asyncio.get_running_loop().call_soon(run)
    await done


@contextlib.asynccontextmanager
async def hops(folder: str) -> AsyncIterator[tuple[Hop, Hop]]:
    """llm-api and the router, which know each other and a worker. ``folder`` is ``HEADRACE_HOME``."""
    os.environ["HEADRACE_HOME"] = folder
    worker = await asyncio.start_server(_worker, "127.0.0.1", 0)
    router = RouterService(load(RouterSettings, flags={"workers": [f"mock={_url(worker.sockets[0])}"]}, env=False))
    listener = listen("127.0.0.1", 0, "router")
    server = Server(router.routes, router.limits)
    await router.start()
    await server.start(listener)
    settings = load(ApiSettings, flags={"router": [_url(listener)]}, env=False)
    with closing(KeyStore.open(Path(folder), database="", pepper="")) as store:
        store.bootstrap(KEY.decode())
    api = ApiService(settings)
    await api.start()
    front = Server(api.routes, api.limits)
    front._tick()
    try:
        await _until(lambda: any(pool.ready for pool in api._fleet.pools()))
        backend = next(iter(router.pools["mock"].workers))
        yield _hop("api", front, api._fleet.routers[0].origin), _hop("router", server, backend.origin)
    finally:
        await api.close()
        await server.close()
        await router.close()
        worker.close()


async def measure(pair: tuple[Hop, Hop], rounds: int = _ROUNDS) -> dict[str, dict[str, float]]:
    """CPU microseconds by what and by hop: the twentieth part of the batches was at least so fast."""
    api, router = pair
    first = await _first(pair, request(BODY))
    inputs = {"api": (request(BODY), first[1]), "router": (first[0], WHOLE)}
    figures: dict[str, dict[str, list[float]]] = {"JSON request": {}, "chunk of a stream": {}}
    for _ in range(rounds):
        for hop in pair:
            sent, got = inputs[hop.name]
            batch = await _timed(lambda hop=hop, sent=sent, got=got: (hop.ask(sent), hop.answer(got)), hop)  # type: ignore[misc]
            figures["JSON request"].setdefault(hop.name, []).append(batch)
    await _begin_stream(pair)
    for _ in range(rounds):
        for hop in (api, router):
            batch = await _timed(lambda hop=hop: hop.answer(framed(EVENT)), hop)  # type: ignore[misc]
            figures["chunk of a stream"].setdefault(hop.name, []).append(batch)
    return {what: {name: sorted(some)[len(some) // 20] for name, some in by.items()} for what, by in figures.items()}


async def calls(pair: tuple[Hop, Hop]) -> dict[str, Counter[str]]:
    """Python functions by hop that one JSON request enters, a coroutine each time that it goes on."""
    first = await _first(pair, request(BODY))
    inputs = {"api": (request(BODY), first[1]), "router": (first[0], WHOLE)}
    found: dict[str, Counter[str]] = {}
    for hop in pair:
        counter = found[hop.name] = Counter()

        def see(frame: FrameType, event: str, _: object, counter: Counter[str] = counter) -> None:
            if event == "call":
                counter[f"{frame.f_code.co_filename.rpartition('headrace/')[2]} {frame.f_code.co_qualname}"] += 1

        def once(hop: Hop = hop, see: object = see) -> None:
            hop.ask(inputs[hop.name][0])
            sys.setprofile(see)  # type: ignore[arg-type]
            hop.answer(inputs[hop.name][1])
            hop.ask(inputs[hop.name][0])
            sys.setprofile(None)
            hop.answer(inputs[hop.name][1])

        await outside(once, hop)
    return found


async def _first(pair: tuple[Hop, Hop], data: bytes) -> tuple[bytes, bytes]:
    """One request through both: what llm-api sent on, and what the router answered."""
    api, router = pair
    with lent(*pair):  # a connection's first request begins in the loop's next turn
        api.client.data_received(data)
        sent = await _written(api.requests)
        router.client.data_received(sent)
        await _written(router.requests)
        router.upstream.data_received(WHOLE)
        answered = await _written(router.answers)
        api.upstream.data_received(answered)
        await _written(api.answers)
    return sent, answered


async def _begin_stream(pair: tuple[Hop, Hop]) -> None:
    api, router = pair

    def begin() -> None:
        router.ask(api.ask(request(_STREAM_BODY)))
        api.answer(router.answer(HEAD + framed(EVENT)))

    await outside(begin, *pair)


async def _timed(one: Callable[[], object], hop: Hop) -> float:
    spent = 0

    def batch() -> None:
        nonlocal spent
        began = time.process_time_ns()
        for _ in range(_BATCH):
            one()
        spent = time.process_time_ns() - began

    await outside(batch, hop)
    return spent / _BATCH / 1000


def _url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def _hop(name: str, server: Server, origin: Origin) -> Hop:
    answers, requests = Pipe(), Pipe()
    client = ServerConnection(server, asyncio.get_running_loop())
    client.connection_made(answers)
    upstream = Connection(origin, float("inf"))
    upstream.connection_made(requests)
    return Hop(name, client, answers, upstream, requests, origin)


async def _worker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Tells whoever asks that it is well and has one model."""
    with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            body = b'{"object":"list","data":[{"id":"mock","object":"model"}]}'
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(_PATIENCE):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError("the services do not become ready")


async def _written(pipe: Pipe) -> bytes:
    await _until(lambda: bool(pipe._pieces))
    return pipe.take()


async def _main(show_calls: bool, out: TextIO) -> None:
    with tempfile.TemporaryDirectory(prefix="headrace-hops-") as folder:
        async with hops(folder) as pair:
            logging.disable(logging.CRITICAL)
            if show_calls:
                for name, counter in (await calls(pair)).items():
                    print(f"\n{name}: {counter.total()} Python functions entered", file=out)
                    print("\n".join(f"  {count:4} {function}" for function, count in counter.most_common()), file=out)
                return
            for what, by in (await measure(pair)).items():
                parts = ", ".join(f"{name} {value:.2f}" for name, value in by.items())
                print(f"{what:20} {sum(by.values()):7.2f} µs   ({parts})", file=out)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hops", description="CPU of each hop, without sockets.")
    parser.add_argument("--calls", action="store_true", help="list the functions that a request calls")
    show_calls = parser.parse_args().calls
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as out, open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())  # where llm-api writes its access lines
        uvloop.run(_main(show_calls, out))


if __name__ == "__main__":
    main()
