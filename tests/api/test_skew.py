"""Routers of another version: what is unknown is ignored, what is missing has a default."""

from __future__ import annotations

import pytest

from tests.api.conftest import StartApi, StartRouter
from tests.fakes import answer, completion, stream, tokens


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (("x-headrace-worker", "w:1"), ("x-headrace-queue-ms", "soon"), ("x-headrace-attempts", "")),
        (("x-headrace-worker", "w:1"), ("x-headrace-tomorrow", "1")),
    ],
    ids=["says less", "says it otherwise", "says more"],
)
async def test_answers_of_a_router(
    start_api: StartApi, start_router: StartRouter, fields: tuple[tuple[str, str], ...]
) -> None:
    router = await start_router()
    api = await start_api(router)
    router.script = [answer(200, None, *fields), stream(fields=fields)]
    reply = await api.post()
    assert (reply.status, reply.body) == (200, completion())
    assert not [name for name in reply.headers if name.startswith("x-headrace")]
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    body["stream_options"] = {"include_usage": True}
    assert (await api.post(body)).body == b"".join(tokens(3))
    first, second = await api.records(2)
    assert [record["status"] for record in (first, second)] == [200, 200]
    assert not any(record.get("attempts") for record in (first, second))
