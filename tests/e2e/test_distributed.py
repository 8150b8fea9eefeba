"""The whole platform on a real PostgreSQL and a real Valkey, as on a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from openai import AuthenticationError, OpenAI, RateLimitError
from redis import Redis
from sqlalchemy import create_engine, text

from tests.e2e.conftest import kept
from tests.e2e.patience import wait_until
from tests.e2e.stack import CHAT_MODEL, Stack
from tests.stores import PostgreSQL

pytestmark = pytest.mark.e2e

MESSAGES: Any = [{"role": "user", "content": "Tell me how water gets to the wheel of a mill."}]
CHAT: dict[str, Any] = {"model": CHAT_MODEL, "messages": MESSAGES, "max_tokens": 4}


@pytest.fixture(scope="module")
def database(postgresql: PostgreSQL) -> Iterator[str]:
    with postgresql.fresh() as url:
        yield url


@pytest.fixture(scope="module")
def platform(
    models: Path, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config, database: str, valkey: str
) -> Iterator[Stack]:
    settings = {"api": {"database": database, "redis": valkey}, "router": {"cold_wait": 60}}
    stack = Stack(tmp_path_factory.mktemp("distributed"), models, settings)
    with kept(pytestconfig, stack):
        stack.start()
        yield stack


@pytest.fixture
def sdk(platform: Stack) -> Iterator[OpenAI]:
    platform.wait_ready()
    with closing(platform.client()) as client:
        yield client


def admin(platform: Stack, path: str, body: object = None) -> Any:
    with platform.call(f"/admin/v1{path}", body, content_type="application/json") as call:
        assert call.status in (200, 201), call.body()
        return call.json()


def test_nothing_is_kept_on_this_machine(platform: Stack, sdk: OpenAI, database: str) -> None:
    assert sdk.chat.completions.create(**CHAT).choices
    assert not list(platform.path.glob("*.db*"))
    engine = create_engine(database)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM keys")).scalar_one() >= 1
    engine.dispose()


def test_key_lives_counts_and_dies(platform: Stack, sdk: OpenAI, valkey: str) -> None:
    tenant = admin(platform, "/tenants", {"name": "millers"})
    made = admin(platform, "/keys", {"tenant": tenant["id"], "name": "one", "limits": {"tokens_per_month": 120}})
    with closing(platform.client(key=made["key"])) as client:
        used: list[Any] = []

        def spend() -> None:
            for _ in range(20):
                used.append(client.chat.completions.create(**CHAT).usage)

        with pytest.raises(RateLimitError):  # a month's budget: the passing of time gives nothing back
            spend()
        with closing(Redis.from_url(valkey)) as redis:
            assert [name for name in redis.scan_iter() if made["id"].encode() in name]
        admin(platform, f"/keys/{made['id']}/revoke", {})

        def refused() -> bool:
            try:
                client.models.list()
            except AuthenticationError:
                return True
            return False

        wait_until("the key is revoked", refused)
    assert used

    def usage() -> list[Any]:
        rows = admin(platform, f"/usage?group_by=tenant&tenant={tenant['id']}")["data"]
        return [row for row in rows if row["requests"] == len(used)]

    [row] = wait_until("the usage is in the database", usage)
    assert row["prompt_tokens"] == sum(one.prompt_tokens for one in used)


def test_batch_and_its_files(sdk: OpenAI) -> None:
    endpoint: Any = "/v1/chat/completions"
    lines = [{"custom_id": f"r{n}", "method": "POST", "url": endpoint, "body": CHAT} for n in range(3)]
    file = sdk.files.create(file=("in.jsonl", "\n".join(map(json.dumps, lines)).encode()), purpose="batch")
    batch = sdk.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h")
    wait_until("the batch is over", lambda: sdk.batches.retrieve(batch.id).status in {"completed", "failed"})
    done = sdk.batches.retrieve(batch.id)
    assert (done.status, done.request_counts and done.request_counts.completed) == ("completed", 3)
    assert done.output_file_id is not None
    assert len(sdk.files.content(done.output_file_id).text.splitlines()) == 3


def test_repeated_request_is_answered_from_valkey(sdk: OpenAI) -> None:
    answers = [sdk.chat.completions.create(**CHAT, extra_headers={"Idempotency-Key": "mill"}) for _ in range(2)]
    assert answers[0] == answers[1]
