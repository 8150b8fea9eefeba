"""Names of routers and their addresses."""

from __future__ import annotations

import asyncio

import pytest

from headrace.api.addresses import Addresses, resolve_name


class Names:
    """A resolver whose answers can be changed."""

    def __init__(self, **names: list[str]) -> None:
        self.names = names

    async def __call__(self, host: str, port: int) -> list[str]:
        if host not in self.names:
            raise OSError("no such name")
        return self.names[host]


async def test_a_name_is_as_many_routers_as_it_has_addresses() -> None:
    names = Names(routers=["10.0.0.2", "10.0.0.1"])
    addresses = Addresses(["http://routers:8001"], names)
    assert await addresses.look() == ["http://10.0.0.1:8001", "http://10.0.0.2:8001"]
    names.names["routers"] = ["10.0.0.3"]
    assert await addresses.look() == ["http://10.0.0.3:8001"]


async def test_what_a_name_was_stays_while_it_does_not_resolve() -> None:
    names = Names(routers=["10.0.0.1"])
    addresses = Addresses(["http://routers:8001"], names)
    await addresses.look()
    nothing: list[dict[str, list[str]]] = [{}, {"routers": []}]
    for answer in nothing:
        names.names = answer
        assert await addresses.look() == ["http://10.0.0.1:8001"]


async def test_name_that_never_resolved_is_kept() -> None:
    assert await Addresses(["http://nobody:8001"], Names()).look() == ["http://nobody:8001"]


async def test_addresses_are_not_asked_for() -> None:
    urls = ["http://127.0.0.1:8001", "http://[::1]:8001"]
    assert await Addresses(urls, Names()).look() == sorted(urls)


async def test_ipv6_addresses_are_bracketed() -> None:
    assert await Addresses(["http://routers:1"], Names(routers=["fd00::1"])).look() == ["http://[fd00::1]:1"]


async def test_slow_resolver_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr("headrace.api.addresses._TIMEOUT", 0.01)
    assert await Addresses(["http://routers:8001"], never).look() == ["http://routers:8001"]


async def test_this_machine_is_one_router() -> None:
    assert len(await resolve_name("localhost", 80)) == 1
