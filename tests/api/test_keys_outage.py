"""Keys without the database: known ones go on from memory and from disk, for a day."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from headrace.errors import ConfigError, Overloaded
from headrace.store.database import Database
from headrace.store.keys import KeyStore
from headrace.store.secret import Pepper
from tests.api.keyrings import DAY, PEPPER, Clock, Home, bearer, refusal, told


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
