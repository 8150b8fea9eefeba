from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from headrace.errors import ConfigError, HeadraceError, InvalidRequest, NotFound
from headrace.store.database import Database, default_url
from headrace.store.keys import ADMIN, INFERENCE, KeyStore
from headrace.store.secret import Pepper, id_of
from tests.store.conftest import Clock


@pytest.fixture
def tenant(store: KeyStore) -> str:
    return store.create_tenant("acme", actor="test").id


def audit(store: KeyStore) -> list[tuple[Any, ...]]:
    with store.database.read() as session:
        return [tuple(row) for row in session.execute(text("SELECT actor, action, target FROM audit ORDER BY id"))]


def test_the_first_key_is_made_once(store: KeyStore) -> None:
    text = store.bootstrap()
    assert text is not None
    (key,) = store.keys()
    assert id_of(text) == key.id
    assert key.digest == store.pepper.digest(text.encode())
    assert key.scopes == [INFERENCE, ADMIN]
    assert [tenant.name for tenant in store.tenants()] == ["default"]
    revision = store.revision()
    assert store.bootstrap() is None
    assert (len(store.keys()), store.revision()) == (1, revision)


@pytest.mark.parametrize("text", ["letmein", "sk-proj_1.2~3", "hr-0123456789ab-" + "s" * 43])
def test_the_first_key_may_be_chosen(store: KeyStore, text: str) -> None:
    assert store.bootstrap(text) == text
    (key,) = store.keys()
    assert key.digest == store.pepper.digest(text.encode())
    assert id_of(text) in {None, key.id}


@pytest.mark.parametrize("text", ["", "two words", "schlüssel", "line\nfeed", "x" * 513])
def test_a_first_key_that_no_header_can_carry_is_refused(store: KeyStore, text: str) -> None:
    with pytest.raises(ConfigError, match="HEADRACE_BOOTSTRAP_KEY"):
        store.bootstrap(text)
    assert store.keys() == []


def test_a_tenant_that_waits_for_its_first_key_is_kept(store: KeyStore) -> None:
    tenant = store.create_tenant("default", actor="test")
    store.bootstrap()
    assert store.keys()[0].tenant == tenant.id


def test_a_key_is_kept_without_its_text(embedded: Database, pepper: Pepper, clock: Clock, tmp_path: Path) -> None:
    store = KeyStore(embedded, pepper, clock=clock)
    tenant = store.create_tenant("acme", actor="test").id
    key, text = store.create(
        tenant,
        "ci",
        scopes=[INFERENCE],
        models=["small"],
        limits={"concurrency": 5},
        expires_at=1_900_000_000.0,
        actor="test",
    )
    assert store.keys(tenant) == [key]
    assert store.keys("other") == []
    assert (key.models, key.limits, key.expires_at) == (["small"], {"concurrency": 5}, 1_900_000_000.0)
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert text.rpartition("-")[2].encode() not in files
    assert key.digest in files


def test_all_models_are_not_no_models(store: KeyStore, tenant: str, clock: Clock) -> None:
    assert store.create(tenant, "all", actor="test")[0].models is None
    clock.now += 1
    assert store.create(tenant, "none", models=[], actor="test")[0].models == []
    first, second = store.keys()
    assert (first.models, second.models) == (None, [])


@pytest.mark.parametrize(
    ("arguments", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 129}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"scopes": ["root"]}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"models": ["a", ""]}, "models"),
        ({"expires_at": 1_700_000_000.0}, "expires_at"),
    ],
)
def test_wrong_arguments_are_named(store: KeyStore, tenant: str, arguments: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        store.create(tenant, **{"name": "x", "actor": "test", **arguments})
    assert caught.value.param == param
    assert store.keys() == []


def test_a_key_needs_its_tenant(store: KeyStore) -> None:
    with pytest.raises(NotFound, match="no tenant 'nobody'"):
        store.create("nobody", "x", actor="test")


def test_tenants_have_names_of_their_own(store: KeyStore, tenant: str) -> None:
    with pytest.raises(InvalidRequest, match="there is a tenant 'acme' already"):
        store.create_tenant("acme", actor="test")
    assert [found.id for found in store.tenants()] == [tenant]


def test_rotation_keeps_the_old_secret_for_a_while(store: KeyStore, tenant: str, clock: Clock) -> None:
    key, old = store.create(tenant, "x", actor="test")
    rotated, new = store.rotate(key.id, overlap=60, actor="test")
    assert id_of(new) == key.id
    assert rotated.digest == store.pepper.digest(new.encode())
    assert (rotated.previous_digest, rotated.previous_until) == (store.pepper.digest(old.encode()), clock.now + 60)
    assert store.keys() == [rotated]


@pytest.mark.parametrize("overlap", [-1, 31 * 86400.0, float("nan")])
def test_an_overlap_has_bounds(store: KeyStore, tenant: str, overlap: float) -> None:
    key, _ = store.create(tenant, "x", actor="test")
    with pytest.raises(InvalidRequest, match="overlap: must be between"):
        store.rotate(key.id, overlap=overlap, actor="test")


def test_a_revoked_key_cannot_be_rotated(store: KeyStore, tenant: str) -> None:
    key, _ = store.create(tenant, "x", actor="test")
    store.revoke(key.id, actor="test")
    with pytest.raises(InvalidRequest, match="is revoked; create a new one"):
        store.rotate(key.id, actor="test")


def test_to_revoke_twice_changes_nothing(store: KeyStore, tenant: str, clock: Clock) -> None:
    key, _ = store.create(tenant, "x", actor="test")
    revoked = store.revoke(key.id, actor="test")
    assert revoked.revoked_at == clock.now
    before = store.revision(), audit(store)
    clock.now += 100
    assert store.revoke(key.id, actor="test") == revoked
    assert (store.revision(), audit(store)) == before


@pytest.mark.parametrize("act", [KeyStore.rotate, KeyStore.revoke])
def test_a_key_that_is_not_there(store: KeyStore, act: Callable[..., Any]) -> None:
    with pytest.raises(NotFound, match="no key with the id 'gone'"):
        act(store, "gone", actor="test")


def test_every_act_is_numbered_and_audited(store: KeyStore, tenant: str) -> None:
    revisions = [store.revision()]
    key, _ = store.create(tenant, "x", actor="alice")
    revisions.append(store.revision())
    store.rotate(key.id, actor="bob")
    revisions.append(store.revision())
    store.revoke(key.id, actor="carol")
    revisions.append(store.revision())
    assert revisions == sorted(set(revisions))
    assert audit(store) == [
        ("test", "tenant.create", tenant),
        ("alice", "key.create", key.id),
        ("bob", "key.rotate", key.id),
        ("carol", "key.revoke", key.id),
    ]


def test_an_act_that_failed_leaves_no_trace(store: KeyStore, tenant: str) -> None:
    before = store.revision(), audit(store)
    for act in (
        lambda: store.create("nobody", "x", actor="test"),
        lambda: store.rotate("gone", actor="test"),
        lambda: store.create_tenant("acme", actor="test"),
    ):
        with pytest.raises(HeadraceError):
            act()
    assert (store.revision(), audit(store)) == before


def test_keys_that_died_long_ago_are_left_out(store: KeyStore, tenant: str, clock: Clock) -> None:
    alive, _ = store.create(tenant, "alive", actor="test")
    expired, _ = store.create(tenant, "expired", expires_at=clock.now + 10, actor="test")
    revoked, _ = store.create(tenant, "revoked", actor="test")
    store.revoke(revoked.id, actor="test")
    clock.now += 6 * 86400
    assert {key.id for key in store.current()[1]} == {alive.id, expired.id, revoked.id}
    clock.now += 2 * 86400
    assert store.current() == (store.revision(), [alive])


def test_another_handle_sees_the_change(store: KeyStore, tenant: str, database_url: str, pepper: Pepper) -> None:
    other = KeyStore(Database(database_url), pepper)
    key, _ = store.create(tenant, "x", actor="test")
    revision, keys = other.current()
    assert (revision, [found.id for found in keys]) == (store.revision(), [key.id])
    store.revoke(key.id, actor="test")
    assert other.revision() > revision
    assert other.keys()[0].revoked_at is not None
    other.close()


def test_another_pepper_is_told(store: KeyStore, database: Database) -> None:
    store.bootstrap()
    other = KeyStore(database, Pepper("another pepper altogether"))
    for act in (other.bootstrap, other.revision, other.current):
        with pytest.raises(ConfigError, match="the pepper is not the one"):
            act()


def test_a_home_is_all_that_one_machine_needs(tmp_path: Path) -> None:
    home = tmp_path / "new"
    store = KeyStore.open(home)
    text = store.bootstrap()
    store.close()
    again = KeyStore.open(home)
    assert again.bootstrap() is None
    assert text is not None
    assert again.keys()[0].digest == again.pepper.digest(text.encode())
    again.close()
    assert {path.name for path in home.iterdir() if not re.search("-(wal|shm)$", path.name)} == {
        "headrace.db",
        "pepper",
    }


def test_database_and_pepper_may_be_given(tmp_path: Path) -> None:
    url = default_url(tmp_path / "elsewhere")
    store = KeyStore.open(tmp_path / "home", database=url, pepper="a pepper from a secret")
    store.bootstrap("letmein")
    store.close()
    assert (tmp_path / "elsewhere" / "headrace.db").exists()
    assert not (tmp_path / "home").exists()


def test_the_current_keys_know_their_tenants_limits(store: KeyStore) -> None:
    tenant = store.create_tenant("acme", limits={"concurrency": 3}, actor="test")
    store.create(tenant.id, "x", actor="test")
    assert [key.tenant_limits for key in store.current()[1]] == [{"concurrency": 3}]


def test_wrong_limits_are_refused(store: KeyStore) -> None:
    with pytest.raises(InvalidRequest, match="rpm"):
        store.create_tenant("acme", limits={"rpm": 3}, actor="test")
    tenant = store.create_tenant("acme", actor="test").id
    with pytest.raises(InvalidRequest, match="concurrency"):
        store.create(tenant, "x", limits={"concurrency": 0}, actor="test")
    assert not store.keys()
