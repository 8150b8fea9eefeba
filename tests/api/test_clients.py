from __future__ import annotations

import pytest

from headrace.api.clients import Clients, WrongKeys
from headrace.errors import ConfigError, RateLimited, Unauthorized
from headrace.wire.message import Request
from tests.api.conftest import StartApi, StartRouter, error


def request(peer: str, forwarded: str = "") -> Request:
    headers = {b"x-forwarded-for": forwarded.encode()} if forwarded else {}
    return Request("POST", "/", b"", headers, b"", peer, 0.0)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "nonsense, 198.51.100.1", "198.51.100.1"),
        ("::ffff:10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("", "198.51.100.1", ""),
    ],
)
def test_only_trusted_proxies_say_for_whom_they_ask(peer: str, forwarded: str, address: str) -> None:
    assert Clients(["10.0.0.0/8"]).address(request(peer, forwarded)) == address


def test_nobody_is_trusted_unasked() -> None:
    assert Clients([]).address(request("127.0.0.1", "198.51.100.1")) == "127.0.0.1"


def test_a_wrong_network_is_told() -> None:
    with pytest.raises(ConfigError, match="trusted_proxies"):
        Clients(["10.0.0.0/99"])


def test_wrong_keys_are_counted_by_address() -> None:
    now = [1000.0]
    wrong = WrongKeys(lambda: now[0])
    unknown = Unauthorized("no")
    outcomes = [wrong.judge(unknown, "198.51.100.1") for _ in range(61)]
    assert outcomes[:60] == [unknown] * 60
    limited = outcomes[60]
    assert isinstance(limited, RateLimited)
    assert limited.retry_after == pytest.approx(1.0)
    assert wrong.judge(unknown, "198.51.100.2") is unknown
    now[0] += 1
    assert wrong.judge(unknown, "198.51.100.1") is unknown
    assert isinstance(wrong.judge(unknown, "198.51.100.1"), RateLimited)


def test_an_ipv6_network_is_one_address() -> None:
    wrong = WrongKeys(lambda: 1000.0)
    for number in range(60):
        wrong.judge(Unauthorized("no"), f"2001:db8::{number:x}")
    assert isinstance(wrong.judge(Unauthorized("no"), "2001:db8::ffff"), RateLimited)
    assert isinstance(wrong.judge(Unauthorized("no"), "2001:db8:0:1::1"), Unauthorized)


def test_addresses_are_forgotten_before_memory_is_full() -> None:
    wrong = WrongKeys(lambda: 1000.0)
    for number in range(10_050):
        wrong.judge(Unauthorized("no"), f"10.0.{number // 250}.{number % 250}")
    assert len(wrong._until) == 10_000


async def test_a_valid_key_is_never_refused(start_api: StartApi, start_router: StartRouter) -> None:
    api = await start_api(await start_router("m"), trusted_proxies=["127.0.0.1"])
    forwarded = {"x_forwarded_for": "198.51.100.1"}
    replies = [await api.post(key="expired", **forwarded) for _ in range(62)]
    assert {reply.status for reply in replies[:60]} == {401}
    assert replies[-1].status == 429
    assert error(replies[-1])["code"] == "too_many_wrong_keys"
    assert int(replies[-1].headers["retry-after"]) >= 1
    assert (await api.post(**forwarded)).status == 200
    assert (await api.post(key="expired", x_forwarded_for="198.51.100.2")).status == 401
    assert (await api.records(1))[0]["client"] == "198.51.100.1"
