"""Responses, files and batches in both databases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from headrace.errors import NotFound, StoreError, TooLarge
from headrace.store.database import Database
from headrace.store.objects.batches import Batch, BatchStore, Result
from headrace.store.objects.files import CHUNK, FileStore
from headrace.store.objects.responses import ResponseStore, StoredResponse

DAY = 86_400


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url)) as database:
        database.upgrade()
        yield database


@pytest.fixture
def files(database: Database, clock: Clock) -> FileStore:
    return FileStore(database, quota=4 * CHUNK, days=10, clock=clock)


@pytest.fixture
def batches(database: Database, clock: Clock) -> BatchStore:
    return BatchStore(database, lease=30, clock=clock)


def response(name: str, tenant: str = "t", document: bytes = b"{}") -> StoredResponse:
    return StoredResponse(name, tenant, document, b"[]", b"[]")


# ---- responses ----


def test_responses(database: Database, clock: Clock) -> None:
    store = ResponseStore(database, 10, clock=clock)
    store.add([response("a"), response("b")])
    store.add([response("a", document=b'{"again":1}')])
    found = store.get("t", "a")
    assert found is not None
    assert found.document == b'{"again":1}'
    assert store.get("other", "a") is None
    assert (store.delete("other", "a"), store.delete("t", "a"), store.delete("t", "a")) == (False, True, False)
    clock.now += 10 * DAY
    assert store.get("t", "b") is None
    store.expire()
    clock.now -= 10 * DAY
    assert store.get("t", "b") is None


def test_an_id_that_comes_twice_stays_its_first_tenants(database: Database) -> None:
    store = ResponseStore(database, 10)
    store.add([response("a", "one", b"1")])
    store.add([response("a", "two", b"2")])
    found = store.get("one", "a")
    assert found is not None
    assert found.document == b"1"
    assert store.get("two", "a") is None


# ---- files ----


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
@pytest.mark.parametrize("piece", [65_536, 2 * CHUNK])
def test_files_come_back_in_pieces_of_a_mebibyte(files: FileStore, size: int, piece: int) -> None:
    data = bytes(index % 251 for index in range(1024)) * (size // 1024 + 1)
    data = data[:size]
    file = files.add("t", "name", "batch", [data[start : start + piece] for start in range(0, size, piece)])
    pieces = list(files.read(file.id))
    assert b"".join(pieces) == data
    assert all(len(one) == CHUNK for one in pieces[:-1])
    assert files.get("t", file.id).size == size


def test_quota_is_the_tenants_and_nothing_of_a_refused_file_stays(files: FileStore) -> None:
    first = files.add("t", "a", "batch", [bytes(3 * CHUNK)])
    with pytest.raises(TooLarge, match="1,048,576 are free"):
        files.add("t", "b", "batch", [bytes(CHUNK + 1)])
    files.add("u", "b", "batch", [bytes(CHUNK + 1)])
    files.add("t", "results", "batch_output", [bytes(2 * CHUNK)], counted=False)
    listed = files.list("t", purpose="batch", after=None, limit=10, newest_first=True)
    assert [file.id for file in listed] == [first.id]
    files.delete("t", first.id)
    assert not list(files.read(first.id))
    files.add("t", "c", "batch", [bytes(2 * CHUNK)])


def test_pages_of_files(files: FileStore, clock: Clock) -> None:
    made = []
    for number in range(5):
        clock.now += number % 2  # some are of the same moment
        made.append(files.add("t", str(number), "batch", []).id)
    for newest_first in (True, False):
        seen: list[str] = []
        after = None
        while page := files.list("t", purpose=None, after=after, limit=2, newest_first=newest_first):
            seen += [file.id for file in page]
            after = page[-1].id
        assert sorted(seen) == sorted(made)
        times = [files.get("t", one).created_at for one in seen]
        assert times == sorted(times, reverse=newest_first)
    with pytest.raises(NotFound):
        files.list("t", purpose=None, after="absent", limit=2, newest_first=True)


def test_files_expire_and_sooner_if_asked(files: FileStore, clock: Clock) -> None:
    short = files.add("t", "a", "batch", [b"x"], seconds=3600)
    long = files.add("t", "b", "batch", [b"x"], seconds=100 * DAY)
    clock.now += 3601
    with pytest.raises(NotFound):
        files.get("t", short.id)
    assert files.get("t", long.id).expires_at - files.get("t", long.id).created_at == 10 * DAY
    files.expire()
    assert not list(files.read(short.id))
    assert list(files.read(long.id)) == [b"x"]


# ---- batches ----


def make(batches: BatchStore) -> Batch:
    return batches.add("t", "k", "/v1/embeddings", "file", seconds=DAY, metadata=None)


def test_results_are_kept_once_each_and_in_order(batches: BatchStore) -> None:
    batch = make(batches)
    batches.take("one")
    assert batches.note("one", batch.id, [Result(5, True, b"5"), Result(2, False, b"2"), Result(0, True, b"0")])
    assert batches.note("one", batch.id, [Result(5, True, b"again"), Result(1, True, b"1")])
    assert batches.done(batch.id) == {0, 1, 2, 5}
    assert list(batches.results(batch.id, ok=True)) == [b"0\n", b"1\n", b"5\n"]
    assert list(batches.results(batch.id, ok=False)) == [b"2\n"]
    found = batches.get("t", batch.id)
    assert (found.completed, found.failed) == (3, 1)
    batches.forget_results(batch.id)
    assert not batches.done(batch.id)


def test_who_lost_the_lease_changes_nothing(batches: BatchStore, clock: Clock) -> None:
    batch = make(batches)
    batches.take("one")
    clock.now += 31
    assert batches.take("two") is not None
    assert not batches.note("one", batch.id, [Result(0, True, b"0")])
    assert not batches.move("one", batch.id, "failed")
    assert batches.renew("one", batch.id) is None
    batches.release("one", batch.id)
    assert batches.renew("two", batch.id) == "validating"


def test_status_and_when_it_began(batches: BatchStore, clock: Clock) -> None:
    batch = make(batches)
    batches.take("one")
    assert batches.move("one", batch.id, "in_progress", total=7)
    assert batches.cancel("t", batch.id).status == "cancelling"
    assert batches.renew("one", batch.id) == "cancelling"
    batches.move("one", batch.id, "cancelled", output_file="f", errors={"data": []})
    found = batches.get("t", batch.id)
    assert (found.status, found.total, found.output_file) == ("cancelled", 7, "f")
    assert found.details == {
        "metadata": None,
        "in_progress_at": int(clock.now),
        "cancelling_at": int(clock.now),
        "cancelled_at": int(clock.now),
        "errors": {"data": []},
    }
    batches.release("one", batch.id)
    assert batches.take("two") is None
    assert batches.cancel("t", batch.id).status == "cancelled"


def test_pages_of_batches(batches: BatchStore, clock: Clock) -> None:
    made = []
    for number in range(5):
        clock.now += number % 2
        made.append(make(batches).id)
    first = batches.list("t", after=None, limit=3)
    second = batches.list("t", after=first[-1].id, limit=3)
    assert sorted(batch.id for batch in first + second) == sorted(made)
    assert not batches.list("other", after=None, limit=3)
    with pytest.raises(NotFound):
        batches.get("other", made[0])


def test_many_who_look_at_once_share_the_batches(batches: BatchStore) -> None:
    made = {make(batches).id for _ in range(8)}
    taken: list[str] = []
    failed: list[StoreError] = []

    def take(name: str) -> None:
        try:
            while (batch := batches.take(name)) is not None:
                taken.append(batch.id)
        except StoreError as error:
            failed.append(error)

    threads = [threading.Thread(target=take, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert sorted(taken) == sorted(made)
