"""Lines are written off the event loop, and a log that nobody reads stops nothing."""

from __future__ import annotations

import io
import json
import logging
import os
import time

import pytest

from headrace.telemetry import logs
from headrace.telemetry.logs import LineWriter


def test_lines_come_whole_and_in_order() -> None:
    reader, writer = os.pipe()
    lines = LineWriter(writer)
    for number in range(1000):
        lines.write({"number": number})
    lines.close()
    os.close(writer)
    with os.fdopen(reader, "rb") as read:
        assert [json.loads(line)["number"] for line in read] == list(range(1000))
    assert lines.dropped == 0


def test_lines_that_nobody_takes_are_dropped_and_counted() -> None:
    reader, writer = os.pipe()
    lines = LineWriter(writer, limit=10)
    for _ in range(50_000):
        lines.write("x" * 100)
    assert lines.dropped > 0
    os.close(reader)
    lines.close()
    os.close(writer)


def test_what_cannot_be_written_is_counted_and_the_log_goes_on() -> None:
    reader, writer = os.pipe()
    lines = LineWriter(writer)
    lines.write("\ud800")
    while not lines.dropped:
        time.sleep(0.01)
    lines.write("after")
    lines.close()
    os.close(writer)
    with os.fdopen(reader, "rb") as read:
        assert read.read() == b'"after"\n'
    assert lines.dropped == 1


def test_record_is_one_json_line_with_its_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    stream = io.StringIO()
    logs.configure("info", "router", stream)
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("a").exception("it failed", extra={"worker": "w", "count": 3})
    (line,) = stream.getvalue().splitlines()
    record = json.loads(line)
    assert (record["event"], record["worker"], record["count"]) == ("it failed", "w", 3)
    assert (record["level"], record["service"], record["logger"]) == ("error", "router", "a")
    assert "ValueError: boom" in record["exception"]
