from __future__ import annotations

from headrace.workers.supervisor.engine import Look
from headrace.workers.supervisor.movement import Movement


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_steps_are_progress() -> None:
    clock = Clock()
    movement = Movement(clock)
    movement.observe(Look(running=1, iterations=1))
    clock.now += 10
    movement.observe(Look(running=1, iterations=2))
    assert movement.still() == 0


def test_work_without_steps_is_none() -> None:
    clock = Clock()
    movement = Movement(clock)
    movement.observe(Look(running=1, iterations=1))
    clock.now += 10
    movement.observe(Look(waiting=1, iterations=1))
    assert movement.still() == 10


def test_having_nothing_to_do_is_no_standstill() -> None:
    clock = Clock()
    movement = Movement(clock)
    movement.observe(Look(iterations=1))
    clock.now += 1000
    movement.observe(Look(iterations=1))
    assert movement.still() == 0


def test_an_engine_that_tells_nothing_stands_still() -> None:
    clock = Clock()
    movement = Movement(clock)
    clock.now += 50
    assert movement.still() == 50


def test_counts_that_linger_after_an_answer_are_stale() -> None:
    clock = Clock()
    movement = Movement(clock)
    movement.observe(Look(running=2, iterations=7, kv_used=5, kv_total=9))
    clock.now += 10
    movement.answered(Look(running=1, iterations=8, kv_used=1, kv_total=9))
    assert movement.still() == 0
    assert movement.load == Look(iterations=8, kv_total=9)
    clock.now += 100
    movement.observe(Look(running=1, iterations=8, kv_used=1, kv_total=9))
    assert not movement.busy
    assert movement.still() == 0


def test_counts_that_move_again_are_believed_again() -> None:
    movement = Movement(Clock())
    movement.answered(Look(running=1, iterations=8))
    movement.observe(Look(running=3, iterations=9))
    assert movement.load.running == 3
