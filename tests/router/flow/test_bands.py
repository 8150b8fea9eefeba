"""Priorities, and the share that keeps the lower ones alive."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from headrace.router.flow.bands import Bands


@dataclass(frozen=True, eq=False)
class Place:
    band: int
    tenant: bytes = b"t"
    work: int = 10


def first(bands: Bands[Place]) -> Place:
    return next(bands.next(1))


def test_first_band_goes_first() -> None:
    bands: Bands[Place] = Bands()
    for band in (9, 0, 5, 0):
        bands.push(Place(band))
    order = []
    while bands:
        place = first(bands)
        order.append(place.band)
        bands.take(place)
    assert order == [0, 0, 5, 9]


@pytest.mark.parametrize("work", [10, 1000])
def test_each_lower_band_keeps_its_share_of_the_work(work: int) -> None:
    bands: Bands[Place] = Bands()
    for band, size in ((0, 10), (5, 10), (9, work)):
        bands.push(Place(band, work=size))
    served: Counter[int] = Counter()
    while sum(served.values()) < 200_000:
        place = first(bands)
        bands.push(Place(place.band, work=place.work))
        bands.take(place)
        served[place.band] += place.work
    total = sum(served.values())
    assert served[5] / total == pytest.approx(0.05, abs=0.01)
    assert served[9] / total == pytest.approx(0.05, abs=0.01)
    assert served[0] / total == pytest.approx(0.90, abs=0.02)


def test_credit_ends_with_the_wait() -> None:
    bands: Bands[Place] = Bands()
    low = Place(9)
    bands.push(low)
    for _ in range(19):
        bands.push(Place(0))
        bands.take(first(bands))
    bands.remove(low)
    bands.push(Place(9))
    bands.push(Place(0))
    bands.push(Place(0))
    bands.take(first(bands))
    assert first(bands).band == 0


def test_others_are_offered_after_the_first() -> None:
    bands: Bands[Place] = Bands()
    places = [Place(0, b"a"), Place(0, b"b"), Place(3, b"a")]
    for place in places:
        bands.push(place)
    assert [place.band for place in bands.next(8)] == [0, 0, 3]
    assert len(list(bands.next(2))) == 2


def test_how_many_are_ahead() -> None:
    bands: Bands[Place] = Bands()
    for _ in range(50):
        bands.push(Place(5, b"greedy"))
    bands.push(Place(5, b"modest"))
    bands.push(Place(0))
    assert bands.ahead(0, b"new") == 1
    assert bands.ahead(5, b"greedy") == 1 + 51
    assert bands.ahead(5, b"new") == 1 + 2
    assert bands.ahead(9, b"new") == 52
    assert bands.depths() == [1, 0, 0, 0, 0, 51, 0, 0, 0, 0]
