"""Who is who: keys that are good, wrong, expired, rotated and revoked."""

from __future__ import annotations

import asyncio

import pytest

from headrace.store.database import Database
from headrace.store.keys import ADMIN, INFERENCE, KeyStore
from headrace.store.secret import Pepper
from tests.api.keyrings import PEPPER, Home, bearer, refusal, told


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
