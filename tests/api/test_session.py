"""What clients say of sessions, as the router hears it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import CHAT, Api, StartApi, StartRouter, chat
from tests.fakes import FakeRouter

SESSION = "x-headrace-session"
MESSAGES = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}


async def heard(api: Api, router: FakeRouter, body: dict[str, Any] | None = None, **options: str) -> str:
    assert (await api.post(body or chat(), **options)).status == 200
    return router.requests[-1].header(SESSION)


@pytest.mark.parametrize(
    ("body", "options"),
    [
        (chat(), {"x-session-id": "one"}),
        (chat(prompt_cache_key="one"), {}),
        (chat(user="one"), {}),
        (chat(prompt_cache_key="one", user="two"), {}),
        (chat(prompt_cache_key="two", user="two"), {"x-session-id": "one"}),
        ({"model": "m", "input": "Hello", "prompt_cache_key": "one"}, {"path": "/v1/responses"}),
        ({"model": "m", "input": "Hello", "user": "one"}, {"path": "/v1/responses"}),
        ({"model": "m", **MESSAGES, "metadata": {"user_id": "one"}}, {"path": "/v1/messages"}),
    ],
)
async def test_session_is_the_same_whichever_way_it_is_named(
    start_api: StartApi, start_router: StartRouter, body: dict[str, Any], options: dict[str, str]
) -> None:
    router = await start_router()
    api = await start_api(router)
    first = await heard(api, router, body, **options)
    assert (len(first), set(first) <= set("0123456789abcdef")) == (16, True)
    assert first == await heard(api, router, chat(prompt_cache_key="one"))
    assert first != await heard(api, router, chat(prompt_cache_key="two"))


async def test_without_a_name_there_is_no_session(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    assert await heard(api, router) == ""
    assert await heard(api, router, chat(user=""), **{SESSION: "forged"}) == ""


async def test_tenants_do_not_share_sessions(start_api: StartApi, start_router: StartRouter) -> None:
    router = await start_router()
    api = await start_api(router)
    store = api.service._store
    other = store.create(store.create_tenant("other", actor="test").id, "other", actor="test")[1]
    body = chat(prompt_cache_key="one")
    assert await heard(api, router, body, path=CHAT) != await heard(api, router, body, path=CHAT, key=other)
