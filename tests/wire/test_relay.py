"""One answer on its way through, event by event, with each way in which it can go wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from headrace.errors import BadGateway, ConnectionLost, ProtocolError, UpstreamTimeout, WireError
from headrace.wire import relay as module
from headrace.wire.exchange import Exchange
from headrace.wire.relay import EVENT_BYTES, HELD_BYTES, WHOLE_BYTES, Relay, RelayWatch, content_type, end_broken
from headrace.wire.response import Answer, ResponseHead
from tests.wire.desk import STREAM, Desk, Upstream, head

JSON = head("content-type: application/json", "content-length: 5")
EVENT, DONE = b'data: {"n":1}\n\n', b"data: [DONE]\n\n"


def framed(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


class Bench:
    """A relay between an upstream that the test plays and a client that only takes."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.upstream = Upstream()
        self.starts: list[ResponseHead] = []
        self.exchange: Exchange
        self.relay: Relay
        self.waiting: asyncio.Task[Answer | None]

    async def begin(
        self, on_events: Callable[[bytes], bytes] | None = None, *, stalled: bool = False, **options: bool
    ) -> Relay:
        self.exchange = await self.desk.open()
        if stalled:
            self.desk.connection.pause_writing()
        self.relay = Relay(self.exchange, self._start, on_events, **options)  # type: ignore[arg-type]
        self.waiting = asyncio.create_task(self._wait())
        await asyncio.sleep(0)
        return self.relay

    def _start(self, begun: ResponseHead) -> list[tuple[bytes, bytes]]:
        self.starts.append(begun)
        return [content_type(begun)]

    async def _wait(self) -> Answer | None:
        try:
            return await self.relay.begin(self.upstream.connection, b"request")
        finally:
            self.relay.end()

    def stream(self, *payloads: bytes) -> None:
        self.relay.on_head(STREAM)
        for payload in payloads:
            self.relay.on_data(payload, framed(payload))

    @property
    def sent(self) -> bytes:
        """What the client got, without chunks."""
        pieces, rest = [], self.desk.body
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            pieces.append(rest[: int(size, 16)])
            rest = rest[int(size, 16) + 2 :]
        return b"".join(pieces)

    async def fails(self, kind: type[WireError], text: str) -> None:
        with pytest.raises(kind, match=text):
            await self.waiting


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    one = Bench()
    yield one
    one.desk.close()
    await asyncio.sleep(0)


# ---- what is no stream ----


async def test_answer_in_one_piece_is_given_back(bench: Bench) -> None:
    relay = await bench.begin()
    relay.on_answer(Answer(JSON, 200, b"whole"))
    answer = await bench.waiting
    assert answer is not None
    assert (answer.status, answer.body, bench.desk.written) == (200, b"whole", b"")
    assert bench.upstream.calls == ["send"]


async def test_answer_in_pieces_is_held(bench: Bench) -> None:
    relay = await bench.begin()
    relay.on_head(JSON)
    relay.on_data(b"who", None)
    relay.on_data(b"le", None)
    assert bench.desk.written == b""
    relay.on_end()
    answer = await bench.waiting
    assert answer is not None
    assert answer.body == b"whole"


async def test_large_answer_is_passed_on_and_its_end_kept(bench: Bench) -> None:
    relay = await bench.begin()
    relay.on_head(JSON)
    relay.on_data(b"a" * HELD_BYTES, None)
    begun = relay.begun
    relay.on_data(b"b" * 2000, None)
    assert (begun, relay.begun) == (False, True)
    relay.on_data(b'"usage"', None)
    relay.on_end()
    assert await bench.waiting is None
    assert relay.tail.endswith(b'b"usage"')
    assert len(relay.tail) == module.TAIL_BYTES
    assert len(bench.sent) == HELD_BYTES + 2000 + len(b'"usage"')


async def test_answer_that_is_wanted_whole_has_a_bound(bench: Bench) -> None:
    relay = await bench.begin(whole=True)
    relay.on_head(JSON)
    relay.on_data(b"a" * WHOLE_BYTES, None)
    relay.on_data(b"b", None)
    await bench.fails(ProtocolError, "larger than")
    assert bench.upstream.calls == ["send", "abort"]


async def test_answer_that_is_lost_is_an_error(bench: Bench) -> None:
    relay = await bench.begin()
    relay.on_head(JSON)
    relay.on_data(b"who", None)
    relay.on_lost(ConnectionLost("gone"))
    await bench.fails(ConnectionLost, "gone")
    relay.on_end()  # whatever comes late changes nothing
    relay.on_lost(ConnectionLost("again"))


async def test_error_is_no_stream_whatever_it_calls_itself(bench: Bench) -> None:
    relay = await bench.begin()
    relay.on_head(head("content-type: text/event-stream", "content-length: 2", status=500))
    relay.on_data(b"no", None)
    relay.on_end()
    answer = await bench.waiting
    assert answer is not None
    assert (answer.status, bench.starts) == (500, [])


# ---- streams ----


async def test_events_are_passed_on_as_they_are(bench: Bench) -> None:
    relay = await bench.begin()
    relay.on_head(STREAM)
    assert not bench.exchange.started
    bench.stream(EVENT, EVENT, DONE)
    assert bench.starts == [STREAM]
    relay.on_end()
    assert await bench.waiting is None
    assert bench.sent == EVENT + EVENT + DONE
    assert bench.upstream.calls == ["send"]


@pytest.mark.parametrize("end", [b"\n\n", b"\n\r\n", b"\r\n\r\n"])
async def test_only_whole_events_are_passed_on(bench: Bench, end: bytes) -> None:
    await bench.begin()
    event = b"data: 1" + end
    bench.stream(b"data: ")
    assert bench.desk.written == b""
    bench.stream(b"1" + end + b"da")
    assert bench.sent == event
    bench.stream(b"ta: 1" + end)
    assert bench.sent == event + event


@pytest.mark.parametrize("last", [b"data: [DONE]", b"data:[DONE]\n"])
async def test_end_without_its_blank_line_is_an_end(bench: Bench, last: bytes) -> None:
    relay = await bench.begin()
    bench.stream(EVENT, last)
    relay.on_end()
    assert await bench.waiting is None
    assert bench.sent == EVENT + last.rstrip() + b"\n\n"


async def test_stream_that_stops_is_broken(bench: Bench) -> None:
    relay = await bench.begin()
    bench.stream(EVENT)
    relay.on_end()
    await bench.fails(ConnectionLost, "before its last event")


async def test_stream_may_end_with_an_error_event(bench: Bench) -> None:
    relay = await bench.begin()
    bench.stream(EVENT, b'data: {"error":{}}\n\n')
    relay.on_lost(ConnectionLost("gone"))
    assert await bench.waiting is None


async def test_lost_behind_its_last_event_is_complete(bench: Bench) -> None:
    relay = await bench.begin()
    bench.stream(EVENT, DONE)
    relay.on_lost(ConnectionLost("gone"))
    assert await bench.waiting is None


async def test_event_without_end_has_a_bound(bench: Bench) -> None:
    await bench.begin()
    bench.stream(b"data: " + b"a" * EVENT_BYTES)
    await bench.fails(ProtocolError, "an event of the answer is larger")
    assert bench.upstream.calls == ["send", "abort"]


async def test_events_can_be_changed(bench: Bench) -> None:
    relay = await bench.begin(lambda events: events if events == DONE else b"")
    bench.stream(EVENT, DONE)
    relay.on_end()
    assert await bench.waiting is None
    assert bench.sent == DONE


async def test_events_that_make_no_sense_end_the_attempt(bench: Bench) -> None:
    def refuse(events: bytes) -> bytes:
        raise ProtocolError("nonsense")

    await bench.begin(refuse)
    bench.stream(EVENT)
    await bench.fails(ProtocolError, "nonsense")
    assert bench.upstream.calls == ["send", "abort"]


async def test_enough_ends_the_stream_and_the_work(bench: Bench) -> None:
    def last(events: bytes) -> bytes:
        bench.relay.enough = True
        return b"data: last\n\n"

    await bench.begin(last)
    bench.stream(EVENT)
    assert await bench.waiting is None
    assert (bench.sent, bench.upstream.calls) == (b"data: last\n\n", ["send", "abort"])


@pytest.mark.parametrize("last", [DONE, b"data:[DONE]\r\n\r\n", EVENT + DONE])
@pytest.mark.parametrize("changed", [False, True])
async def test_last_event_ends_the_exchange_in_the_same_write(bench: Bench, last: bytes, changed: bool) -> None:
    before: list[bytes] = []
    relay = await bench.begin((lambda events: events.replace(b"DONE", b"OVER")) if changed else None)
    relay.on_last = lambda: before.append(bench.sent)
    bench.stream(EVENT, last)
    written = last.replace(b"DONE", b"OVER") if changed else last
    assert (before, bench.exchange.finished) == ([EVENT], True)
    assert bench.desk.written.endswith(framed(EVENT) + framed(written) + b"0\r\n\r\n")
    assert await bench.waiting is None
    relay.on_end()
    assert bench.upstream.calls == ["send", "let go"]


async def test_error_is_not_the_last_event_as_long_as_more_may_come(bench: Bench) -> None:
    relay = await bench.begin()
    relay.on_last = lambda: pytest.fail("an error event is not the end")
    bench.stream(EVENT, b'data: {"error":{}}\n\n')
    assert not bench.exchange.finished
    relay.on_end()
    assert await bench.waiting is None
    assert not bench.exchange.finished


async def test_joined_stream_does_not_begin_again(bench: Bench) -> None:
    relay = await bench.begin(joined=True)
    bench.exchange.start(200, [])
    bench.stream(EVENT, DONE)
    relay.on_end()
    assert await bench.waiting is None
    assert bench.starts == []


# ---- clients that leave or read slowly ----


async def test_client_that_reads_slowly_stops_the_upstream(bench: Bench) -> None:
    relay = await bench.begin()
    bench.stream(EVENT)
    bench.desk.connection.pause_writing()
    paused = relay.paused
    await asyncio.sleep(0.001)
    bench.desk.connection.resume_writing()
    assert (paused, relay.paused) == (True, False)
    assert relay.stalled > 0
    assert bench.upstream.calls == ["send", "pause", "resume"]


async def test_stall_that_does_not_end_is_counted(bench: Bench) -> None:
    relay = await bench.begin()
    bench.desk.connection.pause_writing()
    await asyncio.sleep(0.001)
    relay.fail(UpstreamTimeout("late"))
    await bench.fails(UpstreamTimeout, "late")
    assert relay.stalled > 0


async def test_attempt_that_joins_a_stalled_client_waits_for_it(bench: Bench) -> None:
    await bench.begin(joined=True, stalled=True)
    assert bench.upstream.calls == ["send", "pause"]


async def test_cancelling_drops_the_connection(bench: Bench) -> None:
    await bench.begin()
    bench.waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bench.waiting
    assert bench.upstream.calls == ["send", "abort"]


async def test_failing_before_it_began_does_nothing(bench: Bench) -> None:
    exchange = await bench.desk.open()
    Relay(exchange, bench._start).fail(UpstreamTimeout("late"))
    assert not bench.desk.transport.is_closing()


# ---- time ----


async def test_watch_fails_what_has_not_begun_by_its_deadline(bench: Bench) -> None:
    watch = RelayWatch()
    relay = await bench.begin()
    relay.deadline = time.monotonic() + 60
    watch.add(relay)
    watch.check(relay.deadline - 1)
    assert not bench.waiting.done()
    watch.check(relay.deadline + 1)
    await bench.fails(UpstreamTimeout, "no answer before the deadline")
    watch.discard(relay)


async def test_watch_leaves_what_has_begun(bench: Bench) -> None:
    watch = RelayWatch()
    relay = await bench.begin()
    watch.add(relay)
    relay.deadline = 1.0
    bench.stream(EVENT)
    watch.check(time.monotonic())
    await asyncio.sleep(0)
    assert not bench.waiting.done()


async def test_silent_stream_gets_heartbeats_once_it_has_begun(bench: Bench) -> None:
    watch = RelayWatch(heartbeat=15.0)
    relay = await bench.begin()
    watch.add(relay)
    now = time.monotonic()
    watch.check(now + 100)
    assert bench.desk.written == b""
    bench.stream(EVENT)
    watch.check(now + 10)
    assert bench.sent == EVENT
    watch.check(now + 20)
    watch.check(now + 21)
    assert bench.sent == EVENT + b": ping\n\n"
    bench.desk.connection.pause_writing()
    watch.check(now + 100)
    assert bench.sent == EVENT + b": ping\n\n"


# ---- ends ----


async def test_broken_stream_ends_with_an_event(bench: Bench) -> None:
    await bench.begin()
    bench.stream(EVENT)
    end_broken(bench.exchange, BadGateway("broken"))
    assert b'data: {"error"' in bench.sent
    assert bench.exchange.finished
    assert not bench.desk.transport.is_closing()


async def test_broken_answer_is_cut(bench: Bench) -> None:
    await bench.begin()
    bench.exchange.start(200, [])
    end_broken(bench.exchange, BadGateway("broken"))
    assert bench.desk.transport.is_closing()


def test_answer_that_does_not_say_what_it_is_is_json() -> None:
    assert content_type(head()) == (b"content-type", b"application/json")
    assert content_type(head("content-type: text/plain")) == (b"content-type", b"text/plain")
