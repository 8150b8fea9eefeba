"""The engine's model, against steps counted by hand."""

from __future__ import annotations

import math

import msgspec
import pytest

from headrace.errors import ConfigError
from headrace.simulate.constants import Constants
from headrace.simulate.engine import Engine
from headrace.simulate.text import Text
from headrace.simulate.timeline import Timeline
from tests.simulate.engines import ROUND, Asked, request


def engine(speed: float = 1.0, **changed: float) -> tuple[Asked, Engine, Timeline]:
    constants: Constants = msgspec.structs.replace(ROUND, **changed)
    timeline = Timeline()
    made = Engine(0, constants, timeline, speed)
    return Asked(made, timeline), made, timeline


def test_prompt_is_computed_in_chunks_and_its_last_one_gives_a_token() -> None:
    ask, _, timeline = engine()
    one = ask.at(0.0, request("a", 300, 1))
    timeline.run(100)
    assert one.first == pytest.approx((1 + 2.56) + (1 + 0.44))
    assert one.finished == one.first


def test_each_further_token_takes_a_step_that_grows_with_the_context() -> None:
    ask, _, timeline = engine()
    one = ask.at(0.0, request("a", 100, 3))
    timeline.run(100)
    assert one.first == pytest.approx(2.0)
    assert one.finished == pytest.approx(2.0 + (1 + 0.1 + 0.101) + (1 + 0.1 + 0.102))


def test_faster_engine_is_faster_in_everything() -> None:
    ask, _, timeline = engine(speed=2.0)
    one = ask.at(0.0, request("a", 100, 3))
    timeline.run(100)
    assert one.finished == pytest.approx((2.0 + 1.201 + 1.202) / 2)


def test_who_comes_in_the_middle_joins_at_the_next_step_and_slows_the_others() -> None:
    ask, _, timeline = engine(context=0.0)
    first = ask.at(0.0, request("a", 100, 11))
    second = ask.at(3.5, request("b", 100, 1))  # in the second step after the first token, which ends at 4.2
    timeline.run(100)
    assert second.first == pytest.approx(4.2 + 1 + 1 + 0.1)
    assert first.finished == pytest.approx(2 + 10 * 1.1 + 1)


def test_steps_taken_as_one_are_the_same_as_one_by_one() -> None:
    ask, _, timeline = engine()
    alone = ask.at(0.0, request("a", 100, 500))
    timeline.run(5000)
    ask, _, timeline = engine()
    watched = ask.at(0.0, request("a", 100, 500))
    for number in range(200):  # nothing can join, but each of them cuts what was planned
        ask.at(2.5 + number * 2, request(f"n{number}", 1, 1))
    timeline.run(5000)
    extra = 200 * 0.01  # their prompts' tokens, in steps that are made anyway
    assert watched.finished == pytest.approx(alone.finished + extra, abs=0.2)


def test_no_more_run_than_may_and_the_rest_waits_in_order() -> None:
    ask, made, timeline = engine(max_running=1)
    one, two = (ask.at(0.0, request(name, 100, 2)) for name in "ab")
    timeline.run(1.0)
    load = made.load()
    assert (load.running, load.waiting, load.queued_tokens) == (1, 1, 100)
    timeline.run(100)
    assert two.first > one.finished


def test_cached_prefix_is_not_computed_again() -> None:
    ask, _, timeline = engine()
    shared = Text().plus("system", 640)
    ask.at(0.0, request("a", 10, 1, begins=shared))
    again = ask.at(50.0, request("b", 10, 1, begins=shared))
    timeline.run(100)
    assert again.cached == 640
    assert again.ttft == pytest.approx(1 + 0.1)


def test_next_turn_finds_the_answer_too() -> None:
    ask, _, timeline = engine()
    turn = ask.at(0.0, request("a", 100, 156))
    timeline.run(1000)
    following = ask.at(1000.0, request("b", 50, 1, begins=turn.answered))
    timeline.run(2000)
    assert following.cached == 256


def test_kv_cache_that_is_full_lets_the_next_one_wait() -> None:
    ask, made, timeline = engine(kv_tokens=1024)
    one = ask.at(0.0, request("a", 600, 20))
    two = ask.at(0.0, request("b", 600, 20))
    timeline.run(8.0)
    assert (made.running, made.waiting) == (1, 1)
    timeline.run(1000)
    assert two.first > one.finished


def test_who_outgrows_the_cache_is_computed_again_later_and_loses_nothing() -> None:
    ask, made, timeline = engine(kv_tokens=1024)
    pair = [ask.at(0.0, request(name, 400, 300)) for name in "ab"]
    timeline.run(10_000)
    assert made.preempted > 0
    assert all(math.isfinite(one.finished) for one in pair)
    assert made.kv_usage == 0


def test_crash_loses_everything_and_what_comes_then_is_refused() -> None:
    ask, made, timeline = engine()
    one, two = ask.at(0.0, request("a", 100, 50)), ask.at(0.0, request("b", 2000, 50))
    timeline.run(5.0)
    made.crash()
    late = ask.at(6.0, request("c", 10, 1))
    timeline.run(7.0)
    assert set(ask.lost) == {one, two, late}
    before = made.load().epoch
    made.restart()
    again = ask.at(8.0, request("d", 100, 1))
    timeline.run(100)
    assert again.ttft == pytest.approx(2.0)
    assert made.load().epoch == before


def test_answer_that_is_gone_on_with_computes_what_is_there() -> None:
    ask, _, timeline = engine()
    one = ask.at(0.0, request("a", 100, 60), produced=50)
    timeline.run(100)
    assert one.first == pytest.approx(1 + 1.5)
    assert one.finished > one.first


def test_request_that_no_cache_holds_is_an_error() -> None:
    _, made, _ = engine(kv_tokens=128)
    with pytest.raises(ConfigError, match="do not fit the KV cache"):
        made.submit(request("a", 200, 1), None)  # type: ignore[arg-type]
