"""The memory of what was sent."""

from __future__ import annotations

from headrace.router.resume.replay import Replay, ReplayMemory


def opened(memory: ReplayMemory, body: int = 10) -> Replay:
    replay = memory.open(body)
    assert replay is not None
    return replay


def test_what_is_kept_is_what_was_sent() -> None:
    memory = ReplayMemory(10_000)
    replay = opened(memory)
    assert replay.keep(b"data: 1\n\n") == b"data: 1\n\n"
    replay.keep(b"data: 2\n\n")
    assert (replay.events(), replay.length) == (b"data: 1\n\ndata: 2\n\n", 2)
    assert memory.used > 28
    replay.close()
    assert memory.used == 0


def test_stream_that_finds_the_memory_full_gives_up_what_it_has() -> None:
    memory = ReplayMemory(1000)
    large, small = opened(memory), opened(memory)
    small.keep(b"x")
    large.keep(b"x" * 800)
    assert large.complete
    large.keep(b"x" * 800)
    assert (large.complete, large.events()) == (False, b"")
    assert (small.complete, small.events()) == (True, b"x")
    assert large.keep(b"more") == b"more"
    small.close()
    large.close()
    assert memory.used == 0


def test_no_stream_begins_where_there_is_no_room() -> None:
    memory = ReplayMemory(1000)
    replay = opened(memory, 900)
    assert memory.open(200) is None
    replay.close()
    assert memory.open(200) is not None
