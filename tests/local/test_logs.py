from __future__ import annotations

import os
from pathlib import Path

from headrace.local.logs import LogFile


def append(log: LogFile, text: str) -> None:
    descriptor = log.open()
    os.write(descriptor, text.encode())
    os.close(descriptor)


def test_the_last_run_is_kept_at_a_start(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "logs" / "api.log")
    log.start()
    append(log, "first\n")
    log.start()
    append(log, "second\n")
    assert log.tail() == ["second"]
    assert (tmp_path / "logs" / "api.log.1").read_text() == "first\n"


def test_stays_within_its_limit_while_the_child_goes_on_writing(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "api.log", limit=100)
    log.start()
    descriptor = log.open()
    for number in range(100):
        os.write(descriptor, f"line {number:03}\n".encode())
        log.trim()
    os.close(descriptor)
    assert log.path.stat().st_size <= 109
    assert (tmp_path / "api.log.1").stat().st_size <= 109
    assert log.tail()[-1] == "line 099"


def test_the_tail_is_short_and_harmless(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "api.log")
    append(log, "x" * 100_000 + "\n" + "\n".join(f"\x1b[31m{number}\x07 é" for number in range(50)))
    assert log.tail(2) == ["[31m48 é", "[31m49 é"]
    assert len(log.tail(1000)) <= 51


def test_there_is_no_tail_without_a_log(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "api.log")
    assert log.tail() == []
    log.trim()
    assert not log.path.exists()


def test_others_may_not_read_it(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "api.log")
    log.start()
    append(log, "prompt\n")
    assert log.path.stat().st_mode & 0o077 == 0
