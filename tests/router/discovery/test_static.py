from __future__ import annotations

import pytest

from headrace.errors import ConfigError
from headrace.router.discovery.static import static_workers


def test_bare_engine() -> None:
    [worker] = static_workers(["org/model=http://gpu-1:8000/"])
    assert (worker.pool, worker.url, worker.name, worker.bare) == (
        "org/model",
        "http://gpu-1:8000",
        "gpu-1:8000",
        True,
    )


def test_worker_with_ops_port() -> None:
    [worker] = static_workers(["m=http://a:1,ops=http://a:2/"])
    assert not worker.bare
    assert worker.ops_origin is not None
    assert worker.ops_origin.name == "a:2"


def test_one_address_may_serve_several_pools() -> None:
    workers = static_workers(["m=http://a:1", "n=http://a:1"])
    assert [worker.pool for worker in workers] == ["m", "n"]


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "m",
        "m=",
        "=http://a:1",
        "http://a:1",
        "m=a:1",
        "m=https://a:1",
        "m=http://",
        "m=http://a:port",
        "m=http://a:70000",
        "m=http://a:1/v1",
        "m=http://user@a:1",
        "m=http://a..b:1",
        "m=http://a b:1",
        f"m=http://{'a' * 64}:1",
        "m=http://a:1,ops",
        "m=http://a:1,ops=",
        "m=http://a:1,ops=a:2",
        "m=http://a:1,slots=3",
    ],
)
def test_wrong_form_is_refused_with_the_right_one(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"http://host:port"):
        static_workers([wrong])


@pytest.mark.parametrize("twin", ["m=http://a:80", "m=http://a:80/", "m=http://A", "m=http://a:80,ops=http://a:2"])
def test_same_worker_twice_is_refused(twin: str) -> None:
    with pytest.raises(ConfigError, match="twice"):
        static_workers(["m=http://a", twin])
