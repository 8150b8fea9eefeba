"""The rules of others, each by what it publishes."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from headrace.simulate.engine import Engine
from headrace.simulate.rivals import llm_d
from headrace.simulate.rivals.cache_aware import CacheAware
from headrace.simulate.rivals.least_request import LeastRequest
from headrace.simulate.rivals.llm_d import LlmD
from headrace.simulate.rivals.round_robin import RoundRobin
from headrace.simulate.routers.rival import Seen
from headrace.simulate.text import Text
from headrace.simulate.timeline import Timeline
from tests.simulate.engines import ROUND, request


def fleet(*in_flight: int) -> list[Seen]:
    timeline = Timeline()
    workers = [Seen(Engine(number, ROUND, timeline), timeline) for number in range(len(in_flight))]
    for worker, count in zip(workers, in_flight, strict=True):
        worker.in_flight = count
    return workers


def metrics(workers: Sequence[Seen], *told: tuple[int, float]) -> None:
    """What their engines say: requests that wait, and how full the KV cache is."""
    for worker, (waiting, usage) in zip(workers, told, strict=True):
        worker._scraped, worker._waiting, worker._kv_usage = 0.0, waiting, usage


def test_round_robin_takes_them_in_turn() -> None:
    workers = fleet(9, 0, 0)
    rule = RoundRobin()
    assert [workers.index(rule.choose(request("a", 10, 1), workers)) for _ in range(4)] == [0, 1, 2, 0]


def test_least_request_takes_the_idlest_and_equals_in_turn() -> None:
    workers = fleet(2, 1, 1)
    rule = LeastRequest()
    assert {workers.index(rule.choose(request("a", 10, 1), workers)) for _ in range(2)} == {1, 2}


def test_cache_aware_keeps_a_beginning_together_above_the_threshold_only() -> None:
    workers = fleet(1, 0)
    rule = CacheAware()
    shared = Text().plus("system", 640)
    assert rule.choose(request("a", 64, 1, begins=shared), workers) is workers[1]
    workers[1].in_flight = 60
    assert rule.choose(request("b", 64, 1, begins=shared), workers) is workers[1]
    assert rule.choose(request("c", 6400, 1, begins=shared), workers) is workers[0]  # 0.09 of it


@pytest.mark.parametrize(("busy", "idle", "kept"), [(65, 1, True), (66, 1, False), (300, 200, True)])
def test_cache_aware_is_unbalanced_by_both_thresholds(busy: int, idle: int, kept: bool) -> None:
    workers = fleet(0, 1)
    rule = CacheAware()
    shared = Text().plus("system", 640)
    rule.choose(request("a", 64, 1, begins=shared), workers)
    workers[0].in_flight, workers[1].in_flight = busy, idle
    assert rule.choose(request("b", 64, 1, begins=shared), workers) is workers[0 if kept else 1]


def test_cache_aware_goes_where_a_beginning_went_last() -> None:
    workers = fleet(0, 1, 1)
    rule = CacheAware()
    shared = Text().plus("system", 640)
    rule.choose(request("a", 64, 1, begins=shared), workers)
    workers[0].in_flight, workers[1].in_flight, workers[2].in_flight = 100, 50, 1
    assert rule.choose(request("b", 64, 1, begins=shared), workers) is workers[2]
    workers[0].in_flight = 2
    assert rule.choose(request("c", 64, 1, begins=shared), workers) is workers[2]
    assert rule.choose(request("d", 64, 1, begins=shared), workers[:2]) is workers[0]  # that one is gone


def test_llm_d_weighs_prefix_3_against_queue_2_and_kv_cache_2() -> None:
    workers = fleet(0, 0)
    rule = LlmD(random.Random(1))
    shared = Text().plus("system", 640)
    metrics(workers, (0, 0.0), (0, 0.9))
    assert rule.choose(request("a", 64, 1, begins=shared), workers) is workers[0]
    metrics(workers, (9, 0.0), (0, 0.0))  # a whole prefix is worth more than the queue
    assert rule.choose(request("b", 0, 1, begins=shared), workers) is workers[0]
    metrics(workers, (9, 0.8), (0, 0.0))  # but not more than queue and half of the cache
    assert rule.choose(request("c", 0, 1, begins=shared), workers) is workers[1]


def test_llm_d_sees_only_the_beginning_of_a_prompt_and_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = fleet(0)
    rule = LlmD(random.Random(1))
    long = request("a", 64 * 200, 1)
    rule.choose(long, workers)
    assert rule._matched(long.prompt.keys[: llm_d.MOST_BLOCKS]) == {workers[0].engine: 64}
    monkeypatch.setattr(llm_d, "LRU", 64)
    rule.choose(request("b", 64 * 64, 1), workers)
    assert rule._matched(long.prompt.keys) == {}


def test_metrics_are_read_again_after_50_ms() -> None:
    timeline = Timeline()
    seen = Seen(Engine(0, ROUND, timeline), timeline)
    assert seen.kv_usage == 0
    seen.engine.submit(request("a", 100, 1), None)  # type: ignore[arg-type]
    timeline.run(0.05)
    assert seen.kv_usage == 0
    timeline.run(0.06)
    assert seen.kv_usage > 0
