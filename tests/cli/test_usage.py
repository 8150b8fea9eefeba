"""Usage from the command line, and changes of keys and tenants."""

from __future__ import annotations

import json
import time
from contextlib import closing

import pytest

from headrace.config import home
from headrace.store.keys import Key, KeyStore
from headrace.store.usage import UsageRecord, UsageStore
from tests.cli.conftest import Run, told


@pytest.fixture
def key(run: Run) -> str:
    """The id of a key that was used."""
    run("tenants", "create", "acme")
    text = run("keys", "create", "ci", "--tenant", "acme", "--rpm", "5").out
    with closing(KeyStore.open(home())) as store:
        tenant = store.tenant("acme").id
        records = [UsageRecord(f"r{n}", time.time(), tenant, "k", "m", "/", 200, 1500, 1, 2, False) for n in range(2)]
        UsageStore(store.database).add(records)
    return text.split("-")[1]


def stored() -> Key:
    with closing(KeyStore.open(home())) as store:
        return store.keys()[0]


def test_usage_is_a_table(run: Run, key: str) -> None:
    lines = run("usage").out.splitlines()
    assert lines[0].split() == [
        "tenant",
        "model",
        "requests",
        "failed",
        "prompt",
        "tokens",
        "cached",
        "tokens",
        "completion",
        "tokens",
    ]
    assert lines[1].split() == ["acme", "m", "2", "0", "3,000", "2", "4"]


def test_usage_is_json_for_programs(run: Run, key: str) -> None:
    outcome = run("usage", "--by", "key", "--tenant", "acme", "--json")
    assert [json.loads(line)["requests"] for line in outcome.out.splitlines()] == [2]
    assert run("usage", "--json", "--by", "day", "--model", "other").out == ""


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("--by", "colour"), "'colour' is none of", 2),
        (("--from", "yesterday"), "--from: must be a day", 2),
        (("--tenant", "nobody"), "no tenant 'nobody'", 1),
    ],
)
def test_wrong_questions_are_told(run: Run, key: str, arguments: tuple[str, ...], words: str, code: int) -> None:
    assert words in told(run("usage", *arguments), code)


def test_a_key_is_changed(run: Run, key: str) -> None:
    assert run("keys", "update", key, "--name", "new", "--model", "a", "--scope", "usage", "--days", "1").code == 0
    changed = stored()
    assert (changed.name, changed.models, changed.scopes) == ("new", ["a"], ["usage"])
    assert changed.limits == {"requests_per_minute": 5}
    run("keys", "update", key, "--all-models", "--never-expires", "--no-limits")
    changed = stored()
    assert (changed.models, changed.expires_at, changed.limits) == (None, None, {})
    assert "nothing to change" in told(run("keys", "update", key), 2)


def test_a_tenant_is_changed(run: Run, key: str) -> None:
    assert run("tenants", "update", "acme", "--name", "new", "--tpm", "100").out == "new is changed.\n"
    with closing(KeyStore.open(home())) as store:
        assert store.tenant("new").limits == {"tokens_per_minute": 100}
    assert "nothing to change" in told(run("tenants", "update", "new"), 2)
