import pytest

from benchmarks import wire

_NAMES_THAT_WRITE = ("request parsed", "answer's head", "chunk passed on", "event cut", "event built anew")


async def _run(operation: wire.Operation) -> None:
    waiting = operation.run()
    if waiting is not None:
        await waiting


async def test_every_operation_that_answers_does_so_each_time() -> None:
    transport = wire.CountingTransport()
    for operation in await wire.operations(transport):
        if not operation.name.startswith(_NAMES_THAT_WRITE):
            continue
        growth = []
        for _ in range(3):
            before = transport.written
            await _run(operation)
            growth.append(transport.written - before)
        assert growth[0] > 0, operation.name
        assert growth == growth[:1] * 3, operation.name


async def test_a_passed_on_chunk_is_the_chunk_that_came() -> None:
    transport = wire.CountingTransport()
    by_name = {operation.name: operation for operation in await wire.operations(transport)}
    before = transport.written
    await _run(by_name["chunk passed on: one read is one event"])
    assert transport.written - before == len(wire.framed(wire.EVENT))


async def test_a_batch_of_requests_is_answered_within_one_turn() -> None:
    transport = wire.CountingTransport()
    (operation,) = [each for each in await wire.operations(transport) if each.name.startswith("request parsed")]
    before = transport.written
    await _run(operation)
    assert transport.written - before >= operation.count * len(b"HTTP/1.1 200 OK\r\n")


async def test_figures_are_nanoseconds_of_one_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_REPEAT_SECONDS", 1e-6)
    clock = iter(range(0, 10**9, 1000))
    monkeypatch.setattr("time.process_time_ns", lambda: next(clock))
    figures = await wire.measure([wire.Operation("nothing", lambda: None, count=4)])
    assert set(figures["nothing"]) == {1000 / 2 / 4}  # 1 µs of the clock for 2 loops of 4


async def test_repeats_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_REPEAT_SECONDS", 0.0)
    order: list[str] = []
    await wire.measure([wire.Operation("a", lambda: order.append("a")), wire.Operation("b", lambda: order.append("b"))])
    assert order[-4:] == ["a", "b", "a", "b"]


def test_a_change_is_corrected_for_the_speed_of_the_machine() -> None:
    before = {wire.REFERENCE: 10.0, "parse": 100.0, "cut": 100.0}
    after = {wire.REFERENCE: [20.0, 30.0], "parse": [200.0, 300.0], "cut": [240.0, 240.0], "new": [5.0, 5.0]}
    rows = [line.split() for line in wire.render(after, before).splitlines()]
    assert ["parse", "200", "250", "+0%"] in rows
    assert ["cut", "240", "240", "+20%"] in rows
    assert ["new", "5", "5"] in rows


def test_without_a_file_to_compare_with_there_is_no_change() -> None:
    assert "change" not in wire.render({wire.REFERENCE: [10.0], "parse": [120.0]}, {}).lower()
