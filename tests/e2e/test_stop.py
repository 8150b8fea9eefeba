"""The end of `headrace up`: with drains, and without."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.e2e.calls import Ending
from tests.e2e.patience import wait_until
from tests.e2e.stack import API, CHAT, CHAT_MODEL, WEB, Stack

pytestmark = pytest.mark.e2e

TOKENS = 120
STREAM = {
    "model": CHAT_MODEL,
    "messages": [{"role": "user", "content": "Tell me a long story."}],
    "max_tokens": TOKENS,
    "ignore_eos": True,
    "stream": True,
    "stream_options": {"include_usage": True},
}


def files(stack: Stack) -> set[Path]:
    return {stack.path / "run.json"} & set(stack.path.iterdir())


def test_sigterm_lets_streams_finish(own_stack: Stack) -> None:
    with own_stack.call(CHAT, STREAM) as direct, own_stack.call(CHAT, STREAM, door=WEB) as proxied:
        direct.first_event()
        proxied.first_event()
        assert files(own_stack)
        own_stack.up.signal(signal.SIGTERM)
        for call in (direct, proxied):
            assert call.end() is Ending.DONE
            assert f'"completion_tokens":{TOKENS}' in call.seen[-2]
    assert own_stack.up.wait() == 0
    assert own_stack.up.survivors() == []
    assert not files(own_stack)
    assert "had to be killed" not in own_stack.logs()["up.log"]


def test_kill_leaves_no_orphans(own_stack: Stack) -> None:
    with own_stack.call(CHAT, STREAM) as call:
        call.first_event()
        own_stack.up.signal(signal.SIGKILL)
        assert call.end() is not Ending.SILENT
    own_stack.up.wait()
    wait_until("nothing is left", lambda: own_stack.up.survivors() == [])
    own_stack.start()  # in the same home: nothing stands in the way
    with own_stack.call("/v1/models", door=API) as again:
        assert again.status == 200
