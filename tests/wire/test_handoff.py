"""A task that waits in a Handoff: when it goes on, and with what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar

import pytest

from headrace.wire.handoff import Handoff


@pytest.fixture
async def handoff() -> Handoff[int]:
    return Handoff(asyncio.get_running_loop())


class Waiting:
    """A task that takes values until it gets 0."""

    def __init__(self, handoff: Handoff[int]) -> None:
        self.taken: list[int] = []
        self._handoff = handoff
        self.task = asyncio.get_running_loop().create_task(self._take())

    async def _take(self) -> None:
        while (value := await self._handoff) != 0:
            self.taken.append(value)


async def from_the_loop(call: Callable[[], None]) -> None:
    """As a protocol's callback does: outside of any task."""
    done = asyncio.Event()

    def run() -> None:
        call()
        done.set()

    asyncio.get_running_loop().call_soon(run)
    await done.wait()


async def test_a_waiting_task_goes_on_inside_set(handoff: Handoff[int]) -> None:
    waiting = Waiting(handoff)
    await asyncio.sleep(0)
    seen: list[list[int]] = []

    def hand_over() -> None:
        for value in (1, 2):
            handoff.set(value)
            seen.append(list(waiting.taken))

    await from_the_loop(hand_over)
    assert seen == [[1], [1, 2]]
    handoff.set(0)
    await waiting.task


async def test_where_another_task_runs_it_goes_on_in_the_next_turn(handoff: Handoff[int]) -> None:
    waiting = Waiting(handoff)
    await asyncio.sleep(0)
    handoff.set(1)
    assert waiting.taken == []
    await asyncio.sleep(0)
    assert waiting.taken == [1]
    handoff.set(0)
    await waiting.task


async def test_a_value_waits_for_the_task(handoff: Handoff[int]) -> None:
    handoff.set(7)
    assert await handoff == 7
    handoff.set(8)
    assert await handoff == 8


async def test_an_error_is_raised_once(handoff: Handoff[int]) -> None:
    handoff.fail(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await handoff
    handoff.set(1)
    assert await handoff == 1


async def test_an_error_reaches_a_waiting_task(handoff: Handoff[int]) -> None:
    waiting = Waiting(handoff)
    await asyncio.sleep(0)
    handoff.fail(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await waiting.task


async def test_a_time_out_ends_the_wait_and_leaves_nothing_behind(handoff: Handoff[int]) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await handoff
    handoff.set(3)
    assert await handoff == 3


async def test_a_task_that_is_cancelled_ends(handoff: Handoff[int]) -> None:
    waiting = Waiting(handoff)
    await asyncio.sleep(0)
    waiting.task.cancel("reason")
    with pytest.raises(asyncio.CancelledError, match="reason"):
        await waiting.task
    assert waiting.task.cancelled()


async def test_a_task_that_was_handed_a_value_and_then_cancelled_is_cancelled(handoff: Handoff[int]) -> None:
    waiting = Waiting(handoff)
    await asyncio.sleep(0)
    handoff.set(1)  # from a task: it wakes in the next turn
    waiting.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting.task
    assert waiting.taken == []


async def test_the_task_keeps_its_context() -> None:
    variable = ContextVar("variable", default="the loop's")
    handoff: Handoff[None] = Handoff(asyncio.get_running_loop())
    seen: list[str] = []

    async def wait() -> None:
        token = variable.set("the task's")
        await handoff
        seen.append(variable.get())
        variable.reset(token)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    await from_the_loop(lambda: handoff.set(None))
    await task
    assert seen == ["the task's"]
