"""Keys and tenants from the command line."""

from __future__ import annotations

import re
import time
from contextlib import closing
from pathlib import Path

import pytest

from headrace.config import home
from headrace.store.keys import Key, KeyStore
from tests.cli.conftest import Run, told


@pytest.fixture
def tenant(run: Run) -> str:
    run("tenants", "create", "default")
    return "default"


def stored() -> list[Key]:
    with closing(KeyStore.open(home())) as store:
        return store.keys()


def test_key_is_printed_alone_on_standard_output(run: Run, tenant: str) -> None:
    outcome = run("keys", "create", "ci")
    assert outcome.code == 0
    assert re.fullmatch(r"hr-[0-9A-Za-z]+-[0-9A-Za-z]+\n", outcome.out)
    assert "not shown again" in outcome.err
    [key] = stored()
    assert (key.name, key.scopes, key.models, key.expires_at) == ("ci", ["inference"], None, None)
    assert outcome.out.split("-")[1] == key.id


def test_key_with_everything(run: Run) -> None:
    run("tenants", "create", "acme")
    run("keys", "create", "x", "--tenant", "acme", "--model", "a", "--model", "b", "--admin", "--days", "2")
    [key] = stored()
    assert (sorted(key.scopes), key.models) == (["admin", "inference"], ["a", "b"])
    assert key.expires_at is not None
    assert key.expires_at - time.time() == pytest.approx(2 * 86400, abs=300)


def test_limits_are_kept(run: Run) -> None:
    run("tenants", "create", "acme", "--tpm", "9000", "--concurrency", "4")
    run("keys", "create", "x", "--tenant", "acme", "--rpm", "60", "--tokens-per-day", "7", "--tokens-per-month", "70")
    [key] = stored()
    assert key.limits == {"requests_per_minute": 60, "tokens_per_day": 7, "tokens_per_month": 70}
    with closing(KeyStore.open(home())) as store:
        assert [tenant.limits for tenant in store.tenants()] == [{"tokens_per_minute": 9000, "concurrency": 4}]


def test_limits_that_let_nothing_through_are_refused(run: Run, tenant: str) -> None:
    outcome = run("keys", "create", "x", "--tpm", "0")
    assert outcome.code == 1
    assert "tokens_per_minute" in outcome.err
    assert not stored()


def test_list_shows_states_and_no_secrets(run: Run, tenant: str) -> None:
    texts = [run("keys", "create", name).out.strip() for name in ("good", "bad")]
    run("keys", "revoke", texts[1].split("-")[1])
    outcome = run("keys", "list")
    assert re.search(r"good .* valid", outcome.out)
    assert re.search(r"bad .* revoked", outcome.out)
    assert not [text for text in texts if text.split("-")[2] in outcome.out]


def test_rotation_prints_a_new_secret_of_the_same_key(run: Run, tenant: str) -> None:
    old = run("keys", "create", "x").out.strip()
    outcome = run("keys", "rotate", old.split("-")[1], "--overlap-hours", "3")
    new = outcome.out.strip()
    assert new != old
    assert new.split("-")[1] == old.split("-")[1]
    assert "3 hours more" in outcome.err


def test_a_new_store_is_told(run: Run) -> None:
    assert f"no key store in {home()}" in run("keys", "list").err
    assert run("keys", "list").err == ""


def test_tenants_are_listed(run: Run, tenant: str) -> None:
    assert re.search(r"default +\S+", run("tenants", "list").out)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["keys", "revoke", "nobody"], "no key with the id 'nobody'"),
        (["keys", "rotate", "nobody"], "no key with the id 'nobody'"),
        (["tenants", "create", "default"], "there is a tenant 'default' already"),
        (["tenants", "create", ""], "name"),
        (["keys", "create", ""], "name"),
    ],
)
def test_refusal_of_the_store_is_one_line(run: Run, tenant: str, arguments: list[str], expected: str) -> None:
    assert expected in told(run(*arguments), 1)
    assert not stored()


@pytest.mark.parametrize("days", ["-1", "nan", "inf", "1e9"])
def test_days_have_bounds(run: Run, tenant: str, days: str) -> None:
    outcome = run("keys", "create", "x", "--days", days)
    assert outcome.code == 2
    assert "--days" in outcome.err
    assert not stored()


def test_unknown_tenant_is_told_with_those_that_there_are(run: Run, tenant: str) -> None:
    assert told(run("keys", "create", "x", "--tenant", "y"), 2) == "there is no tenant 'y'; tenants are default"


@pytest.mark.parametrize("database", ["nonsense", "sqlite:////dev/null/x.db"])
def test_database_that_cannot_be_is_one_line(run: Run, database: str) -> None:
    assert "database" in told(run("keys", "list", "--database", database), 2)


def test_upgrade_makes_the_tables(run: Run, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'other.db'}"
    assert run("db", "upgrade", "--database", database).code == 0
    assert run("tenants", "list", "--database", database).code == 0


def test_a_table_loses_nothing_where_there_is_no_terminal(run: Run, tenant: str) -> None:
    names = [f"{number}-{'long' * 30}" for number in range(2)]
    for name in names:
        run("keys", "create", name, "--model", "m" * 60)
    lines = run("keys", "list").out.splitlines()
    assert [name in line and "m" * 60 in line for name, line in zip(names, lines[1:], strict=True)] == [True, True]
