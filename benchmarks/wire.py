"""Nanoseconds per operation of wire, in one process with transports that only count: shows what a change costs.

    python -m benchmarks.wire --json before.json
    python -m benchmarks.wire --against before.json

Real sockets, the kernel and the event loop's polling are not in here; ``benchmarks.gateway`` has those.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import msgspec
import uvloop

from headrace.wire.client import Origin
from headrace.wire.connection import ServerConnection
from headrace.wire.exchange import EVENT_STREAM, Exchange
from headrace.wire.message import Request
from headrace.wire.relay import Relay
from headrace.wire.response import ChunkedDecoder, FieldLines, ResponseHead
from headrace.wire.routes import Routes
from headrace.wire.server import Server
from headrace.wire.upstream import Connection

_REPEATS = 15
_REPEAT_SECONDS = 0.02
_BATCH = 64
"""Requests per turn of the event loop, so that the turn itself weighs little."""

REFERENCE = "reference: a head split by hand"
EVENT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"mock",'
    b'"choices":[{"index":0,"delta":{"content":" tok17"},"finish_reason":null}]}\n\n'
)
BODY = b'{"model":"mock","messages":[{"role":"user","content":"%b"}]}' % (b"lorem ipsum dolor sit amet " * 38)
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nUser-Agent: OpenAI/Python 3.54.0\r\n"
    b"Accept: application/json\r\nAccept-Encoding: gzip\r\n"
    b"Authorization: Bearer hr-bench-0123456789abcdef0123456789\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Date: Mon, 23 Nov 2026 08:00:00 GMT\r\nTransfer-Encoding: chunked\r\n\r\n"
)
ANSWER_HEADERS = (
    (b"content-type", b"application/json"),
    (b"x-request-id", b"req-0123456789abcdef"),
    (b"x-headrace-worker", b"127.0.0.1:8020"),
    (b"x-headrace-attempts", b"1"),
)


def framed(payload: bytes) -> bytes:
    """``payload`` as one HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


class CountingTransport(asyncio.Transport):
    """A socket that takes everything and keeps nothing but the count."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += len(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Operation:
    """``run`` does it ``count`` times."""

    name: str
    run: Callable[[], Awaitable[None] | None]
    count: int = 1


async def operations(transport: CountingTransport) -> list[Operation]:
    """What is measured. Answers go to ``transport``. Needs a running loop."""
    stream, cut, joined = (_stream(transport) for _ in range(3))
    changed = _stream(transport, lambda events: events[:-1] + b"\n")
    chunk, half = framed(EVENT), len(EVENT) // 2
    halves = framed(EVENT[:half]), framed(EVENT[half:])
    decoder, lines = ChunkedDecoder(), FieldLines()
    exchange = _exchange(transport)

    def pass_halves() -> None:
        cut.data_received(halves[0])
        cut.data_received(halves[1])

    return [
        Operation(REFERENCE, _reference),
        await _requests(transport),
        Operation("answer's head, four headers, small body", lambda: _answer(exchange)),
        Operation("upstream's head read", lambda: _ignore(ResponseHead(HEAD[:-4], lines))),
        Operation("chunk taken apart", lambda: _ignore(decoder.feed(chunk))),
        Operation("chunk passed on: one read is one event", lambda: stream.data_received(chunk)),
        Operation("chunk passed on: four events in one read", lambda: joined.data_received(chunk * 4), count=4),
        Operation("event cut: it comes in two reads", pass_halves),
        Operation("event built anew: a filter changed it", lambda: changed.data_received(chunk)),
    ]


async def measure(chosen: Iterable[Operation]) -> dict[str, list[float]]:
    """Nanoseconds of CPU per operation. The repeats take turns, so that a slow moment of the machine is everybody's."""
    loops = {operation: await _loops(operation) for operation in chosen}
    figures: dict[str, list[float]] = {operation.name: [] for operation in loops}
    for _ in range(_REPEATS):
        for operation, count in loops.items():
            figures[operation.name].append(await _time(operation, count) / count / operation.count)
    return figures


async def _loops(operation: Operation) -> int:
    """How often to run it for one repeat."""
    loops, spent = 1, 0
    while spent < _REPEAT_SECONDS * 1e9:
        loops *= 2
        spent = await _time(operation, loops)
    return loops


async def _time(operation: Operation, loops: int) -> int:
    run = operation.run
    start = time.process_time_ns()
    for _ in range(loops):
        waiting = run()
        if waiting is not None:
            await waiting
    return time.process_time_ns() - start


async def _requests(transport: CountingTransport) -> Operation:
    """Requests that arrive on kept-alive connections, are parsed, routed and answered."""

    async def handler(exchange: Exchange) -> None:
        exchange.respond(200, ANSWER_HEADERS, b"{}")

    routes = Routes()
    routes.add("POST", "/v1/chat/completions", handler)
    server = Server(routes)
    connections = [_served(server, transport) for _ in range(_BATCH)]

    async def run() -> None:
        for connection in connections:
            connection.data_received(REQUEST)
        await asyncio.sleep(0)
        server.outbox.flush()

    return Operation("request parsed, routed, answered (1 KB)", run, count=_BATCH)


def _served(server: Server, transport: CountingTransport) -> ServerConnection:
    connection = ServerConnection(server, asyncio.get_running_loop())
    connection.connection_made(transport)
    return connection


def _exchange(transport: CountingTransport) -> Exchange:
    request = Request("POST", "/v1/chat/completions", b"", {}, BODY, "127.0.0.1", 0.0)
    return Exchange(request, _served(Server(Routes()), transport), transport)


def _answer(exchange: Exchange) -> None:
    exchange.status = 0  # one exchange answers once; building another would be measured too
    exchange.respond(200, ANSWER_HEADERS, b"{}")


def _stream(transport: CountingTransport, on_events: Callable[[bytes], bytes] | None = None) -> Connection:
    """An upstream connection in the middle of a stream that is relayed to ``transport``."""
    connection = Connection(Origin("http://127.0.0.1:1"), float("inf"))
    connection.connection_made(transport)
    relay = Relay(_exchange(transport), lambda _: EVENT_STREAM, on_events)
    connection.send(b"", relay)
    connection.data_received(HEAD)
    connection.data_received(framed(EVENT))
    return connection


def _reference() -> None:
    """Work of the same kind as wire's that no change of ours touches: it tells how fast the machine is just now."""
    for line in REQUEST.split(b"\r\n"):
        name, _, value = line.partition(b":")
        _ignore((name.lower(), value.strip()))


def _ignore(_: object) -> None:
    pass


def render(figures: Mapping[str, Sequence[float]], before: Mapping[str, float]) -> str:
    """A line per operation. The change is against the minima of ``before``, each in units of its run's reference."""
    lines = [f"{'ns CPU per operation':44}{'min':>9}{'median':>9}" + (f"{'change':>9}" if before else "")]
    speed = min(figures[REFERENCE]) / before[REFERENCE] if before else 1.0
    for name, times in figures.items():
        change = f"{min(times) / before[name] / speed - 1:+9.0%}" if name in before and name != REFERENCE else ""
        lines.append(f"{name:44}{min(times):9.0f}{median(times):9.0f}{change}")
    if before:
        lines.append(f"Changes are corrected for the machine's speed: {speed:.2f} × the time of before.")
    return "\n".join(lines)


async def _main(options: argparse.Namespace) -> None:
    before: dict[str, float] = msgspec.json.decode(options.against.read_bytes()) if options.against else {}
    figures = await measure(await operations(CountingTransport()))
    print(render(figures, before))
    if options.json is not None:
        options.json.write_bytes(msgspec.json.encode({name: min(times) for name, times in figures.items()}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wire", description="Nanoseconds per operation of wire.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the minima there")
    parser.add_argument("--against", type=Path, metavar="FILE", help="show the change against such a file")
    return parser.parse_args()


def main() -> None:
    uvloop.run(_main(_options()))


if __name__ == "__main__":
    main()
