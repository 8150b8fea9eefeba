"""Requests that are refused because workers died of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.errors import CrashesWorker
from headrace.router.poison import PoisonList


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_for_ten_minutes_and_only_that_body_of_that_pool() -> None:
    clock = Clock()
    poison = PoisonList(clock)
    poison.check("m", b"bad")
    poison.ban("m", b"bad")
    poison.check("m", b"good")
    poison.check("other", b"bad")
    clock.now = 599
    with pytest.raises(CrashesWorker, match="1 s more"):
        poison.check("m", b"bad")
    clock.now = 600
    poison.check("m", b"bad")
    assert len(poison) == 0


def test_is_bounded_and_forgets_the_oldest() -> None:
    clock = Clock()
    poison = PoisonList(clock)
    for number in range(1025):
        poison.ban("m", b"%d" % number)
    assert len(poison) == 1024
    poison.check("m", b"0")
    with pytest.raises(CrashesWorker):
        poison.check("m", b"1")


def test_again_begins_anew() -> None:
    clock = Clock()
    poison = PoisonList(clock)
    poison.ban("m", b"first")
    poison.ban("m", b"second")
    clock.now = 300
    poison.ban("m", b"first")
    clock.now = 700
    poison.check("m", b"second")
    with pytest.raises(CrashesWorker):
        poison.check("m", b"first")


def test_processes_share_it(tmp_path: Path) -> None:
    clock = Clock()
    first = PoisonList(clock, tmp_path / "poison")
    second = PoisonList(clock, tmp_path / "poison")
    first.ban("m", b"bad")
    with pytest.raises(CrashesWorker):
        second.check("m", b"bad")
    second.ban("m", b"worse")
    late = PoisonList(clock, tmp_path / "poison")
    for one in (first, late):
        with pytest.raises(CrashesWorker):
            one.check("m", b"bad")
        with pytest.raises(CrashesWorker):
            one.check("m", b"worse")
    clock.now = 600
    late.check("m", b"bad")


def test_who_was_away_for_more_than_the_list_holds_knows_the_newest(tmp_path: Path) -> None:
    first, second = (PoisonList(Clock(), tmp_path / "poison") for _ in range(2))
    for number in range(2500):
        first.ban("m", b"%d" % number)
    assert len(second) == len(first) == 1024
    second.check("m", b"1475")
    with pytest.raises(CrashesWorker):
        second.check("m", b"1476")
