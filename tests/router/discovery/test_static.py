from __future__ import annotations

import pytest

from headrace.errors import ConfigError
from headrace.router.discovery.specification import parse, static_targets
from headrace.router.discovery.target import Target, merge


def targets(*texts: str) -> list[Target]:
    return static_targets([parse(text) for text in texts])


def test_bare_engine() -> None:
    [target] = targets("org/model=http://gpu-1:8000/")
    assert target == Target("http://gpu-1:8000", None, frozenset(["org/model"]))
    assert target.name == "gpu-1:8000"


def test_worker_with_ops_port() -> None:
    [target] = targets("m=http://a:1,ops=http://a:2/")
    assert target.ops_url == "http://a:2"


def test_one_address_may_serve_several_pools() -> None:
    [merged] = merge(targets("m=http://a:1", "n=http://a:1,ops=http://a:2")).values()
    assert merged == Target("http://a:1", "http://a:2", frozenset(["m", "n"]))


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
        "m=dns://",
        "m=dns://a,ops=http://a:2",
        "m=dns://a/b",
        "m=k8s://llm",
    ],
)
def test_wrong_form_is_refused_with_the_right_one(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"http://host:port"):
        targets(wrong)


@pytest.mark.parametrize("twin", ["m=http://a:80", "m=http://a:80/", "m=http://A", "m=http://a:80,ops=http://a:2"])
def test_same_worker_twice_is_refused(twin: str) -> None:
    with pytest.raises(ConfigError, match="twice"):
        targets("m=http://a", twin)
