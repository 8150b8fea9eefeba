from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator

import pytest

from headrace.errors import ConfigError
from headrace.local.ports import Ports
from tests.local.yard import free_port


@pytest.fixture
def ports() -> Iterator[Ports]:
    ports = Ports()
    yield ports
    ports.close()


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_free_port_is_kept(ports: Ports) -> None:
    port = free_port()
    assert ports.public("127.0.0.1", port, service="llm-api", setting="port") == port


def test_a_taken_public_port_is_said_with_a_way_out(ports: Ports, listening: int) -> None:
    with pytest.raises(ConfigError) as caught:
        ports.public("127.0.0.1", listening, service="llm-web", setting="web_port")
    text = str(caught.value)
    assert f"port {listening}, where llm-web is to listen, is taken by" in text
    assert f"(pid {os.getpid()})" in text
    assert f"headrace up --web-port {listening + 1}" in text
    assert f"web_port: {listening + 1} under up:" in text


def test_a_port_of_a_wildcard_listener_is_taken(ports: Ports) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ConfigError, match="is taken"):
            ports.public("127.0.0.1", port, service="llm-api", setting="port")


def test_an_inner_port_moves_away(ports: Ports, listening: int) -> None:
    assert ports.internal(listening) != listening


def test_a_claimed_port_is_not_given_to_a_second_stack(ports: Ports) -> None:
    port = ports.internal(free_port())
    second = Ports()
    try:
        assert second.internal(port) != port
        with pytest.raises(ConfigError, match="is taken"):
            second.public("127.0.0.1", port, service="llm-api", setting="port")
    finally:
        second.close()


def test_a_claim_ends_with_the_stack() -> None:
    first, second = Ports(), Ports()
    port = first.internal(free_port())
    first.close()
    assert second.internal(port) == port
    second.close()


def test_zero_takes_free_ones(ports: Ports) -> None:
    taken = {ports.public("127.0.0.1", 0, service="llm-api", setting="port") for _ in range(20)}
    assert len(taken) == 20
    assert 0 not in taken


def test_a_claim_does_not_hinder_the_service(ports: Ports) -> None:
    port = ports.internal(0)
    with socket.create_server(("127.0.0.1", port)) as server:
        assert server.getsockname()[1] == port


def test_a_host_that_is_not_here_is_said(ports: Ports) -> None:
    with pytest.raises(ConfigError, match=re.escape("cannot listen on 192.0.2.1") + ".*up.host"):
        ports.public("192.0.2.1", free_port(), service="llm-api", setting="port")
