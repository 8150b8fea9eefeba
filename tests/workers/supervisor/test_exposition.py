from __future__ import annotations

from headrace.workers.supervisor.exposition import Samples

TEXT = rb"""# HELP engine:running Requests.
# TYPE engine:running gauge
engine:running{rank="0",name="a\"b}"} 2.0
engine:running{rank="1"} 3 1700000000000
engine:running_other 9
plain 7
engine:broken{rank="0"}
plain nonsense
"""


def test_reads_the_samples_of_the_names_that_were_asked_for() -> None:
    samples = Samples(TEXT, {"engine:running", "plain"})
    assert samples.all("engine:running") == [({"rank": "0", "name": 'a\\"b}'}, 2.0), ({"rank": "1"}, 3.0)]
    assert samples.total("engine:running") == 5
    assert samples.all("plain") == [({}, 7.0)]


def test_what_is_not_there_is_empty() -> None:
    samples = Samples(TEXT, {"absent", "engine:broken"})
    assert "absent" not in samples
    assert samples.all("engine:broken") == []
    assert samples.total("absent") == 0


def test_bytes_that_are_no_text_break_nothing() -> None:
    assert Samples(b"\xff\xfe 1\n\x00\nplain 1\n", {"plain"}).total("plain") == 1
