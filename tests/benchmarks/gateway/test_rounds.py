from benchmarks.gateway import rounds
from benchmarks.gateway.columns import Column, select
from benchmarks.gateway.loadbench import Outcome, Percentiles
from benchmarks.gateway.stack import Stack, Target

_URLS = {"mock": "http://127.0.0.1:1", "paced": "http://127.0.0.1:2"}
_HEADRACE = Target("headrace", _URLS, services={"api": 17, "router": 18})


def _outcome(chunks: int = 0) -> Outcome:
    percentiles = Percentiles(1.5, 2.0, 3.0, 4.0)
    return Outcome(200, chunks, 0, 100.0, 400.0, 2.0, percentiles, {"17": 6000.0, "18": 2000.0})


def _column(key: str) -> Column:
    (column,) = select(key)
    return column


def test_the_cpu_of_a_request_is_split_by_service() -> None:
    sample = rounds.sample(_column("json"), _HEADRACE, _outcome())
    assert sample == rounds.Sample(40.0, 100.0, {"api": 30.0, "router": 10.0})


def test_the_cpu_of_a_stream_is_counted_by_chunk() -> None:
    sample = rounds.sample(_column("stream"), _HEADRACE, _outcome(chunks=800))
    assert sample == rounds.Sample(10.0, 400.0, {"api": 7.5, "router": 2.5})


def test_latency_is_the_median_of_whole_requests() -> None:
    assert rounds.sample(_column("latency"), _HEADRACE, _outcome()) == rounds.Sample(1.5, 100.0, {})


def test_the_direct_way_counts_only_for_latency() -> None:
    stack = Stack(Target("direct", _URLS), _HEADRACE, Target("nginx", _URLS, services={"nginx": 19}))
    assert [target.name for target in rounds.targets(stack, _column("latency"))] == ["direct", "nginx", "headrace"]
    assert [target.name for target in rounds.targets(stack, _column("json"))] == ["nginx", "headrace"]


def test_without_nginx_the_rest_is_measured() -> None:
    stack = Stack(Target("direct", _URLS), _HEADRACE, None)
    assert [target.name for target in rounds.targets(stack, _column("stream"))] == ["headrace"]
