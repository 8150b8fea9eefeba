from __future__ import annotations

import pytest

from headrace.errors import MethodNotAllowed, NotFound
from headrace.wire.exchange import Exchange
from headrace.wire.routes import Routes


async def exact(exchange: Exchange) -> None: ...
async def short(exchange: Exchange) -> None: ...
async def long(exchange: Exchange) -> None: ...
async def post(exchange: Exchange) -> None: ...
async def fallback(exchange: Exchange) -> None: ...


@pytest.fixture
def routes() -> Routes:
    routes = Routes()
    routes.add("GET", "/a", exact)
    routes.add("POST", "/a", post)
    routes.add("GET", "/a/", short)
    routes.add("GET", "/a/b/", long)
    return routes


@pytest.mark.parametrize(
    ("path", "handler"),
    [("/a", exact), ("/a/x", short), ("/a/b", short), ("/a/b/c", long), ("/a/b/c/d", long), ("/a//", short)],
)
def test_exact_path_goes_before_the_longest_prefix(routes: Routes, path: str, handler: object) -> None:
    assert routes.find("GET", path) is handler


def test_prefix_is_not_a_path_of_its_own(routes: Routes) -> None:
    with pytest.raises(NotFound):
        routes.find("GET", "/a/b/c/".removesuffix("b/c/"))


@pytest.mark.parametrize("path", ["/", "/ab", "/b", "", "/A", "/a?x", "http://h/a"])
def test_other_paths_are_not_found(routes: Routes, path: str) -> None:
    with pytest.raises(NotFound) as caught:
        routes.find("GET", path)
    assert caught.value.code == "unknown_path"


def test_methods_choose_among_handlers(routes: Routes) -> None:
    assert routes.find("POST", "/a") is post


def test_head_is_served_by_get(routes: Routes) -> None:
    assert routes.find("HEAD", "/a") is exact
    routes.add("POST", "/only-post", post)
    with pytest.raises(MethodNotAllowed):
        routes.find("HEAD", "/only-post")


def test_wrong_method_names_the_right_ones(routes: Routes) -> None:
    with pytest.raises(MethodNotAllowed, match=r"DELETE is not allowed on /a\. Use GET, POST\.") as caught:
        routes.find("DELETE", "/a")
    assert (b"allow", b"GET, POST") in caught.value.headers()


def test_fallback_takes_what_has_no_route() -> None:
    routes = Routes(fallback=fallback)
    routes.add("GET", "/a", exact)
    assert routes.find("POST", "/anything") is fallback
    assert routes.find("GET", "/a") is exact
    with pytest.raises(MethodNotAllowed):
        routes.find("POST", "/a")
