import msgspec
import pytest

from benchmarks.gateway import loadbench
from benchmarks.gateway.processes import BenchmarkError

_PRINTED = {
    "requests": 200,
    "chunks": 800,
    "errors": 0,
    "rps": 100.0,
    "chunks_per_s": 400.0,
    "wall_s": 2.0,
    "total_ms": {"p50": 1.5, "p90": 2.0, "p99": 3.0, "max": 4.0},
    "ttfb_ms": {"p50": 1.0, "p90": 1.0, "p99": 1.0, "max": 1.0},
    "cpu_us": {"17": 5000.0, "18": 3000.0},
    "cpu_us_per_request": 40.0,
}


def test_the_printed_line_is_read() -> None:
    outcome = loadbench.parse(msgspec.json.encode(_PRINTED), "http://gateway")
    assert (outcome.requests, outcome.chunks, outcome.rps) == (200, 800, 100.0)
    assert outcome.cpu_us == {"17": 5000.0, "18": 3000.0}
    assert outcome.total_ms is not None
    assert outcome.total_ms.p50 == 1.5


def test_one_wrong_answer_fails_the_run() -> None:
    printed = {**_PRINTED, "errors": 1, "first_error": "stream ended without [DONE]"}
    with pytest.raises(BenchmarkError, match=r"1 of 200 requests to http://gateway failed: stream ended without"):
        loadbench.parse(msgspec.json.encode(printed), "http://gateway")


def test_a_run_without_one_good_answer_has_no_latency() -> None:
    printed = {**_PRINTED, "total_ms": None, "errors": 200, "first_error": "connection refused"}
    with pytest.raises(BenchmarkError, match="connection refused"):
        loadbench.parse(msgspec.json.encode(printed), "http://gateway")
