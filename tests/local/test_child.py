from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from headrace.local.child import Child, Policy, Program, State
from tests.local.yard import QUICK, Yard, alive, until


@asynccontextmanager
async def running(child: Child) -> AsyncIterator[Child]:
    task = asyncio.create_task(child.run())
    try:
        yield child
    finally:
        child.kill()
        await asyncio.wait_for(task, 30)


def is_in(child: Child, state: State) -> Callable[[], bool]:
    return lambda: child.state is state


def process_of(child: Child) -> int:
    assert child.pid is not None
    return child.pid


async def test_becomes_ready_and_stops_by_itself(yard: Yard) -> None:
    async with running(yard.child(yard.service("a"))) as child:
        await until(is_in(child, State.READY))
        pid = process_of(child)
        assert await child.stop(timeout=30)
        assert child.state.value == "stopped"
        assert not alive(pid)
    assert yard.events() == ["a starts", "a drains", "a ends"]
    assert [state for _, state in yard.changes] == ["starting", "starting", "ready", "stopping", "stopped"]


async def test_starts_again_after_a_kill(yard: Yard) -> None:
    async with running(yard.child(yard.service("a"))) as child:
        await until(is_in(child, State.READY))
        first = process_of(child)
        os.kill(first, signal.SIGKILL)
        await until(lambda: child.state is State.READY and child.pid != first)
        assert child.restarts == 1
    assert ("a", "restarting") in yard.changes


async def test_says_that_a_kill_nobody_asked_for_may_be_memory(yard: Yard) -> None:
    slow = replace(QUICK, first_delay=60.0, longest_delay=60.0)
    async with running(yard.child(yard.service("a"), slow)) as child:
        await until(is_in(child, State.READY))
        os.kill(process_of(child), signal.SIGKILL)
        await until(is_in(child, State.WAITING))
        assert "memory is short" in child.reason
        assert "again in 60 s" in child.reason


async def test_is_given_up_when_it_never_comes_up(yard: Yard) -> None:
    child = yard.child(yard.script("broken", "print('no such model', flush=True); raise SystemExit(2)"))
    async with running(child):
        await until(is_in(child, State.FAILED))
    assert child.reason == "ended with exit code 2"
    assert child.log.tail() == ["no such model"] * 3
    assert child.restarts == 2


async def test_is_not_given_up_once_it_was_ready(yard: Yard) -> None:
    async with running(yard.child(yard.service("a"))) as child:
        for _ in range(4):
            await until(is_in(child, State.READY))
            lives, pid = child.restarts, process_of(child)
            os.kill(pid, signal.SIGTERM if lives % 2 else signal.SIGKILL)
            await until(lambda lives=lives: child.restarts > lives)  # type: ignore[misc]
        await until(is_in(child, State.READY))


async def test_a_program_that_cannot_be_started_says_why(yard: Yard) -> None:
    program = Program("ghost", (str(yard.folder / "ghost"),), {}, 1)
    async with running(yard.child(program)) as child:
        await until(is_in(child, State.FAILED))
    assert child.reason == "cannot be started: No such file or directory"


async def test_a_log_that_cannot_be_written_is_said(yard: Yard) -> None:
    (yard.folder / "logs").write_text("in the way")
    async with running(yard.child(yard.service("a"))) as child:
        await until(is_in(child, State.FAILED))
    assert str(child.log.path) in child.reason


async def test_shows_why_it_is_not_ready_any_more(yard: Yard) -> None:
    async with running(yard.child(yard.service("a"))) as child:
        await until(is_in(child, State.READY))
        switch = yard.journal.with_name("journal.unready")
        switch.write_text("the engine does not move\n")
        await until(is_in(child, State.UNREADY))
        assert child.reason == "the engine does not move"
        switch.unlink()
        await until(is_in(child, State.READY))
    assert child.restarts == 0


async def test_is_killed_when_it_does_not_drain_in_time(yard: Yard) -> None:
    async with running(yard.child(yard.service("a", drain="stuck"))) as child:
        await until(is_in(child, State.READY))
        pid = process_of(child)
        assert not await child.stop(timeout=0.2)
        assert not alive(pid)
    assert yard.events() == ["a starts", "a drains"]


async def test_takes_its_own_children_along(yard: Yard) -> None:
    source = f"""
        import os, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with open({str(yard.journal)!r}, "w") as file:
            file.write(str(child.pid))
        os.rename({str(yard.journal)!r}, {str(yard.journal)!r} + ".done")
        time.sleep(600)
    """
    done = yard.journal.with_name("journal.done")
    async with running(yard.child(yard.script("parent", source))):
        await until(done.exists)
        grandchild = int(done.read_text())
        assert alive(grandchild)
    await until(lambda: not alive(grandchild))


async def test_a_stop_before_the_start_is_heard(yard: Yard) -> None:
    child = yard.child(yard.service("a"))
    stopping = asyncio.create_task(child.stop(timeout=30))
    await asyncio.sleep(0)
    await child.run()
    assert await stopping
    assert yard.events() == []


async def test_a_stop_while_it_waits_is_heard_at_once(yard: Yard) -> None:
    slow = replace(QUICK, first_delay=600.0, longest_delay=600.0)
    async with running(yard.child(yard.script("a", "raise SystemExit(1)"), slow)) as child:
        await until(is_in(child, State.WAITING))
        assert await child.stop(timeout=30)
        assert child.state is State.STOPPED


@pytest.mark.parametrize(("failures", "delay"), [(1, 0.5), (2, 1.0), (3, 2.0), (7, 30.0), (10_000, 30.0)])
def test_the_pause_grows_and_is_bounded(failures: int, delay: float) -> None:
    assert Policy().delay(failures) == delay
