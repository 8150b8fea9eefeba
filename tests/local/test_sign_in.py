from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from headrace.config import ApiSettings, load
from headrace.local.sign_in import LASTS, SignIn, mint
from headrace.store.keys import KeyStore
from headrace.wire.client import Origin, fetch
from headrace.wire.response import Answer
from tests.local.yard import free_port

PAGE = "http://127.0.0.1:8080"


class Desk:
    """A sign-in that serves, and a clock to turn."""

    def __init__(self) -> None:
        self.now = 0.0
        self.minted = 0
        self.sign_in = SignIn(self._mint, clock=lambda: self.now)
        self.origin = Origin("http://127.0.0.1:1")

    def _mint(self) -> str:
        self.minted += 1
        return f"hr-{self.minted}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        port = free_port()
        async with self.sign_in.serving(port):
            self.origin = Origin(f"http://127.0.0.1:{port}")
            yield
            self.origin.close()

    def token(self) -> str:
        return self.sign_in.link(PAGE).removeprefix(f"{PAGE}/#sign-in=")

    async def give(self, token: str) -> Answer:
        return await fetch(self.origin, "POST", "/sign-in", body=json.dumps({"token": token}).encode(), timeout=30)


async def test_a_link_gives_one_key() -> None:
    desk = Desk()
    async with desk.serving():
        token = desk.token()
        first, second = await desk.give(token), await desk.give(token)
    assert (first.status, json.loads(first.body)) == (200, {"key": "hr-1"})
    assert first.head.header(b"cache-control") == b"no-store"
    assert second.status == 403
    assert "used already" in json.loads(second.body)["error"]["message"]
    assert desk.minted == 1


async def test_a_wrong_guess_ends_the_link() -> None:
    desk = Desk()
    async with desk.serving():
        token = desk.token()
        assert (await desk.give("guess")).status == 403
        assert (await desk.give(token)).status == 403
    assert desk.minted == 0


async def test_a_link_gets_old() -> None:
    desk = Desk()
    async with desk.serving():
        token = desk.token()
        desk.now = LASTS + 1
        assert (await desk.give(token)).status == 403


async def test_before_there_is_a_link_nothing_opens() -> None:
    desk = Desk()
    async with desk.serving():
        assert (await desk.give("")).status == 403


async def test_what_is_no_token_is_refused() -> None:
    desk = Desk()
    async with desk.serving():
        desk.token()
        answer = await fetch(desk.origin, "POST", "/sign-in", body=b"[]", timeout=30)
    assert answer.status == 400


def test_each_link_is_another() -> None:
    desk = Desk()
    assert desk.token() != desk.token()


def test_the_key_is_an_administrators_and_ends(tmp_path: Path) -> None:
    api = load(ApiSettings, env=False)
    with closing(KeyStore.open(tmp_path)) as store:
        store.bootstrap()
    text = mint(api, tmp_path)
    with closing(KeyStore.open(tmp_path)) as store:
        key = store.keys()[-1]
    assert text.split("-")[1] == key.id
    assert set(key.scopes) == {"inference", "admin"}
    assert key.expires_at is not None


async def test_a_taken_port_is_told() -> None:
    desk, other = Desk(), Desk()
    async with desk.serving():
        port = int(desk.origin.name.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            async with other.sign_in.serving(port):
                pass
