"""Through Caddy's port: the page, and the API behind it."""

from __future__ import annotations

import re
import sys
from collections import Counter
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from openai import OpenAI

from headrace import __version__
from tests.e2e.calls import Call, Ending, get
from tests.e2e.stack import CHAT, CHAT_MODEL, CPU, WEB, Stack

pytestmark = pytest.mark.e2e

STORY = {"model": CHAT_MODEL, "messages": [{"role": "user", "content": "Tell me a story."}], "ignore_eos": True}


@pytest.fixture
def web(stack: Stack) -> str:
    return stack.child(WEB).url


def test_the_page_and_all_it_names(web: str) -> None:
    with Call(web, "GET", "/") as call:
        assert call.status == 200
        assert call.headers["content-type"].startswith("text/html")
        assert call.headers["cache-control"] == "no-cache"
        page = call.body().decode()
    names = re.findall(r'(?:src|href)="/([^"]+)"', page)
    assert any(name.endswith(".js") for name in names)
    for name in names:
        with Call(web, "GET", f"/{name}") as call:
            assert call.status == 200
            assert call.body()
            assert name[:7] != "assets/" or "immutable" in call.headers["cache-control"]


def test_the_page_is_guarded(web: str) -> None:
    for path in ("/", "/config.json", "/nothing"):
        with Call(web, "GET", path) as call:
            call.body()
            headers = call.headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "server" not in headers


def test_the_configuration(web: str) -> None:
    assert get(web, "/config.json") == {"version": __version__}


def test_what_is_not_there(web: str) -> None:
    with Call(web, "GET", "/nothing") as call:
        assert call.status == 404


def test_both_doors_lead_to_the_same_api(stack: Stack, client: OpenAI) -> None:
    here = client.models.list().data
    with stack.call("/v1/models", door=WEB) as call:
        assert "content-security-policy" not in call.headers
        assert [model["id"] for model in call.json()["data"]] == [model.id for model in here]


def test_a_stream_is_not_held_back(stack: Stack) -> None:
    body = {**STORY, "max_tokens": 8000, "stream": True}
    with stack.call(CHAT, body, door=WEB) as call:
        call.first_event()
        assert stack.running(CPU) == 1  # the engine is far from the last event
        assert call.headers["content-type"] == "text/event-stream; charset=utf-8"
    stack.wait_idle()


def test_a_stream_arrives_whole(stack: Stack) -> None:
    said = []
    for body in ({}, {"door": WEB}):
        with stack.call(CHAT, {**STORY, "max_tokens": 16, "temperature": 0, "stream": True}, **body) as call:
            assert call.end() is Ending.DONE
            said.append(call.text())
    assert said[0] == said[1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_wrong_keys_behind_the_door_are_counted_by_client(web: str) -> None:
    """Whatever a client writes into X-Forwarded-For itself."""

    def asked(source: str, forwarded: str, until: int) -> Counter[int]:
        """Statuses of one request after the other, the last one of which is ``until``."""
        found: Counter[int] = Counter()
        place = urlsplit(web)
        headers = {"authorization": "Bearer hr-wrong", "x-forwarded-for": forwarded}
        with closing(HTTPConnection(place.hostname or "", place.port, timeout=30, source_address=(source, 0))) as http:
            while not found[until] and found.total() < 2000:
                http.request("GET", "/v1/models", headers=headers)
                answer = http.getresponse()
                answer.read()
                found[answer.status] += 1
        return found

    guessing = asked("127.0.0.77", "127.0.0.78", until=429)
    assert (guessing[429], guessing[401] >= 60) == (1, True)
    assert asked("127.0.0.78", "127.0.0.77", until=401) == {401: 1}
