from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from headrace.api.keys import Keyring
from headrace.errors import ApiError, ConfigError, Overloaded, Unauthorized
from headrace.store.database import Database
from headrace.store.keys import ADMIN, INFERENCE, KeyStore
from headrace.store.secret import Pepper

PEPPER = "a pepper for the tests"
DAY = 86400.0


class Clock:
    """A clock that is moved by hand."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Home:
    """One installation: a store to make keys with, and keyrings that look at it through handles of their own."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        self.url = url
        self.clock = Clock(1_800_000_000.0)
        self.rings: list[tuple[Keyring, KeyStore]] = []
        self._broken = False
        database = Database(url)
        database.upgrade()
        self.store = KeyStore(database, Pepper(PEPPER), clock=self.clock)
        self.tenant = self.store.create_tenant("acme", actor="test").id

    def ring(
        self,
        *,
        store: KeyStore | None = None,
        pepper: str = PEPPER,
        interval: float = 3600.0,
        patience: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Keyring:
        store = store or KeyStore(Database(self.url), Pepper(pepper), clock=self.clock)
        path = self.path / "keys.snapshot"
        ring = Keyring(store, path, interval=interval, patience=patience, clock=self.clock, monotonic=monotonic)
        self.rings.append((ring, store))
        return ring

    async def started(self, *, interval: float = 3600.0) -> Keyring:
        ring = self.ring(interval=interval)
        await ring.start()
        return ring

    async def close(self) -> None:
        for ring, store in self.rings:
            await ring.close()
            store.close()
        if self._broken:
            self.repair_database()
        self.store.close()

    def key(self, **fields: Any) -> str:
        return self.store.create(self.tenant, "x", actor="test", **fields)[1]

    def break_database(self) -> None:
        self.run("ALTER TABLE key_state RENAME TO lost")
        self._broken = True

    def repair_database(self) -> None:
        self.run("ALTER TABLE lost RENAME TO key_state")
        self._broken = False

    def run(self, statement: str) -> None:
        with self.store.database.write() as session:
            session.execute(text(statement))


@pytest.fixture
async def home(tmp_path: Path, database_url: str) -> AsyncIterator[Home]:
    home = Home(tmp_path, database_url)
    yield home
    await home.close()


def bearer(key: str) -> dict[bytes, bytes]:
    return {b"host": b"x", b"authorization": b"Bearer " + key.encode()}


async def refusal(ring: Keyring, headers: dict[bytes, bytes]) -> str:
    with pytest.raises(Unauthorized) as caught:
        await ring.authenticate(headers)
    return caught.value.message


async def told(ring: Keyring, key: str) -> str:
    """What the owner of the key is told; nothing where it is let in."""
    try:
        await ring.authenticate(bearer(key))
    except ApiError as error:
        return error.message
    return ""


async def test_a_key_names_its_owner(home: Home) -> None:
    key = home.key(scopes=[INFERENCE, ADMIN], models=["small"], limits={"concurrency": 5})
    ring = await home.started()
    principal = await ring.authenticate(bearer(key))
    assert principal.key_id == key.split("-")[1]
    assert (principal.tenant, principal.admin, principal.limits) == (home.tenant, True, {"concurrency": 5})
    assert principal.scopes == {INFERENCE, ADMIN}
    assert principal.models == frozenset({"small"})


@pytest.mark.parametrize("header", [b"Bearer %b", b"bearer %b", b"BEARER   %b "])
async def test_the_scheme_is_read_leniently(home: Home, header: bytes) -> None:
    key = home.key()
    ring = await home.started()
    assert (await ring.authenticate({b"authorization": header % key.encode()})).tenant == home.tenant


async def test_a_key_may_come_as_x_api_key(home: Home) -> None:
    key = home.key()
    ring = await home.started()
    assert (await ring.authenticate({b"x-api-key": key.encode()})).tenant == home.tenant


async def test_authorization_wins_over_x_api_key(home: Home) -> None:
    ring = await home.started()
    headers = {b"authorization": b"Bearer wrong", b"x-api-key": home.key().encode()}
    assert "not known" in await refusal(ring, headers)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "No API key was given: send the header Authorization"),
        ({b"authorization": b"Bearer "}, "No API key was given"),
        ({b"x-api-key": b""}, "No API key was given"),
        ({b"authorization": b"Basic dXNlcjpwYXNz"}, "must have the form: Bearer"),
        ({b"authorization": b"Bearer"}, "must have the form: Bearer"),
        ({b"authorization": b"Bearer unknown-key"}, "not known"),
        ({b"authorization": b"Bearer \xff\xfe"}, "not known"),
        ({b"authorization": b"Bearer " + b"x" * 5000}, "not known"),
    ],
)
async def test_wrong_keys_are_refused_and_never_repeated(home: Home, headers: dict[bytes, bytes], words: str) -> None:
    ring = await home.started()
    message = await refusal(ring, headers)
    assert words in message
    assert "unknown-key" not in message


async def test_any_text_may_be_the_first_key(home: Home) -> None:
    home.store.bootstrap("letmein")
    ring = await home.started()
    assert (await ring.authenticate(bearer("letmein"))).admin


async def test_an_expired_key_is_refused(home: Home) -> None:
    key = home.key(expires_at=home.clock.now + 10)
    ring = await home.started()
    await ring.authenticate(bearer(key))
    home.clock.now += 10
    assert "has expired" in await refusal(ring, bearer(key))


async def test_both_secrets_work_while_a_key_is_rotated(home: Home) -> None:
    old = home.key()
    _, new = home.store.rotate(old.split("-")[1], overlap=60, actor="test")
    ring = await home.started()
    assert await ring.authenticate(bearer(old)) == await ring.authenticate(bearer(new))
    home.clock.now += 60
    assert "was replaced by a newer one" in await refusal(ring, bearer(old))
    await ring.authenticate(bearer(new))


async def test_a_rotation_without_overlap_ends_the_old_secret(home: Home) -> None:
    old = home.key()
    home.store.rotate(old.split("-")[1], overlap=0, actor="test")
    ring = await home.started()
    assert "was replaced" in await refusal(ring, bearer(old))


async def test_a_new_key_works_at_once(home: Home) -> None:
    ring = await home.started()
    await ring.authenticate(bearer(home.key()))


async def test_a_revocation_is_seen_by_every_replica(home: Home) -> None:
    key = home.key()
    rings = [await home.started(interval=0.05) for _ in range(2)]
    for ring in rings:
        await ring.authenticate(bearer(key))
    home.store.revoke(key.split("-")[1], actor="test")
    for ring in rings:
        async with asyncio.timeout(30):
            while "was revoked" not in await told(ring, key):
                await asyncio.sleep(0.01)


async def test_a_refresh_sees_what_was_committed_before(home: Home) -> None:
    key = home.key()
    ring = await home.started()
    home.store.revoke(key.split("-")[1], actor="test")
    await ring.refresh()
    assert "was revoked" in await refusal(ring, bearer(key))


class CountingStore(KeyStore):
    reads = 0

    def revision(self) -> int:
        self.reads += 1
        return super().revision()


async def test_misses_share_their_look_up(home: Home) -> None:
    store = CountingStore(Database(home.url), Pepper(PEPPER))
    ring = home.ring(store=store)
    await ring.start()
    messages = await asyncio.gather(*(refusal(ring, bearer(f"guess-{number}")) for number in range(200)))
    assert len(messages) == 200
    assert store.reads <= 3


async def test_nothing_is_read_again_while_nothing_changes(home: Home) -> None:
    ring = await home.started()
    first = await ring.authenticate(bearer(key := home.key()))
    await ring.refresh()
    assert await ring.authenticate(bearer(key)) is first


async def test_known_keys_outlive_the_database(home: Home) -> None:
    key = home.key()
    ring = await home.started()
    home.break_database()
    await ring.refresh()
    await ring.authenticate(bearer(key))
    assert ring.unready() is None
    with pytest.raises(Overloaded) as caught:
        await ring.authenticate(bearer("unknown"))
    assert caught.value.retry_after is not None
    home.repair_database()
    await ring.refresh()
    assert "not known" in await refusal(ring, bearer("unknown"))


async def test_a_miss_while_the_database_breaks_is_not_the_keys_fault(home: Home) -> None:
    ring = await home.started()
    home.break_database()
    with pytest.raises(Overloaded):
        await ring.authenticate(bearer("unknown"))


async def test_after_a_day_without_the_database_nobody_is_known(home: Home) -> None:
    key = home.key()
    monotonic = Clock(1000.0)
    ring = home.ring(monotonic=monotonic)
    await ring.start()
    home.break_database()
    monotonic.now += DAY - 1
    await ring.refresh()
    await ring.authenticate(bearer(key))
    monotonic.now += 2
    assert "the database does not answer" in (ring.unready() or "")
    with pytest.raises(Overloaded):
        await ring.authenticate(bearer(key))
    home.repair_database()
    await ring.refresh()
    await ring.authenticate(bearer(key))


async def test_a_restart_without_the_database_uses_the_saved_keys(home: Home) -> None:
    key = home.key()
    await home.started()
    home.break_database()
    ring = await home.started()
    await ring.authenticate(bearer(key))
    assert ring.unready() is None
    with pytest.raises(Overloaded):
        await ring.authenticate(bearer("unknown"))


async def test_saved_keys_are_good_for_a_day_since_they_were_saved(home: Home) -> None:
    key = home.key()
    await home.started()
    home.break_database()
    home.clock.now += DAY - 10
    monotonic = Clock(5.0)
    ring = home.ring(monotonic=monotonic)
    await ring.start()
    await ring.authenticate(bearer(key))
    monotonic.now += 11
    with pytest.raises(Overloaded):
        await ring.authenticate(bearer(key))


async def test_a_saved_revocation_holds_without_the_database(home: Home) -> None:
    key = home.key()
    home.store.revoke(key.split("-")[1], actor="test")
    await home.started()
    home.break_database()
    ring = await home.started()
    assert "was revoked" in await refusal(ring, bearer(key))


@pytest.mark.parametrize("damage", ["tampered", "missing", "old"])
async def test_without_database_and_saved_keys_nobody_is_known(home: Home, damage: str) -> None:
    key = home.key()
    await home.started()
    home.break_database()
    saved = home.path / "keys.snapshot"
    if damage == "tampered":
        saved.write_bytes(saved.read_bytes().replace(b"inference", b"admin"))
    elif damage == "missing":
        saved.unlink()
    else:
        home.clock.now += DAY + 1
    ring = await home.started()
    assert "keys.snapshot" in (ring.unready() or "")
    with pytest.raises(Overloaded):
        await ring.authenticate(bearer(key))
    home.repair_database()
    await ring.refresh()
    assert ring.unready() is None
    await ring.authenticate(bearer(key))


async def test_saved_keys_give_way_to_the_database(home: Home) -> None:
    """Even where both have the same number: the database may have been restored from a backup."""
    key = home.key()
    await home.started()
    home.break_database()
    ring = await home.started()
    await ring.authenticate(bearer(key))
    home.run("DELETE FROM keys")
    home.repair_database()
    await ring.refresh()
    assert "not known" in await refusal(ring, bearer(key))


async def test_an_unchanged_snapshot_is_saved_again_for_its_date(home: Home) -> None:
    ring = await home.started()
    saved = home.path / "keys.snapshot"
    before = saved.read_bytes()
    home.clock.now += 60
    await ring.refresh()
    assert saved.read_bytes() == before
    home.clock.now += 600
    await ring.refresh()
    assert saved.read_bytes() != before


async def test_a_disk_that_takes_no_snapshot_does_no_harm(home: Home) -> None:
    key = home.key()
    (home.path / "keys.snapshot").mkdir()
    ring = await home.started()
    await ring.authenticate(bearer(key))


async def test_a_wrong_pepper_ends_the_start(home: Home) -> None:
    ring = home.ring(pepper="another pepper altogether")
    with pytest.raises(ConfigError, match="the pepper is not the one"):
        await ring.start()


class HangingStore(KeyStore):
    """Hangs where a network would: until ``released``."""

    released: threading.Event

    def revision(self) -> int:
        self.released.wait(60)
        return super().revision()


@pytest.fixture
def hanging(home: Home) -> Iterator[HangingStore]:
    store = HangingStore(Database(home.url), Pepper(PEPPER))
    store.released = threading.Event()
    store.released.set()
    yield store
    store.released.set()


async def test_a_database_that_hangs_holds_nobody_up(home: Home, hanging: HangingStore) -> None:
    key = home.key()
    ring = home.ring(store=hanging, patience=0.05)
    while ring.unready():
        await ring.refresh()
    hanging.released.clear()
    await ring.refresh()
    threads = threading.active_count()
    for _ in range(3):
        await ring.refresh()
    assert threading.active_count() == threads  # one waits, the others do not join it
    await ring.authenticate(bearer(key))
    with pytest.raises(Overloaded):
        await ring.authenticate(bearer("unknown"))
    hanging.released.set()
    async with asyncio.timeout(30):
        while "not known" not in await told(ring, "unknown"):
            await ring.refresh()


async def test_polls_survive_a_defect(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    class DefectiveStore(KeyStore):
        defective = False

        def revision(self) -> int:
            if self.defective:
                raise ZeroDivisionError
            return super().revision()

    store = DefectiveStore(Database(home.url), Pepper(PEPPER))
    ring = home.ring(store=store, interval=0.01)
    await ring.start()
    key = home.key()
    await ring.authenticate(bearer(key))
    store.defective = True
    async with asyncio.timeout(30):
        while "polling the keys failed" not in caplog.text:
            await asyncio.sleep(0.01)
        store.defective = False
        home.store.revoke(key.split("-")[1], actor="test")
        while "was revoked" not in await told(ring, key):
            await asyncio.sleep(0.01)
