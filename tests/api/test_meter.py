from __future__ import annotations

import pytest

from headrace.api.meter import StreamMeter
from tests.fakes import USAGE, event, tokens

ERROR = b'data: {"error":{"message":"x","code":"worker_lost"}}\n\n'
ONLY_USAGE = event({"choices": [], "usage": USAGE})
TOKEN = tokens(1)[0]
DONE = b"data: [DONE]\n\n"


def test_events_without_usage_are_not_even_copied() -> None:
    meter = StreamMeter(wanted=False)
    for payload in (TOKEN, DONE, TOKEN + DONE, event({"choices": [{"delta": {"content": '"usage"'}}]}), b": ping\n\n"):
        assert meter.on_events(payload) is payload
    assert meter.usage is None


@pytest.mark.parametrize("spaced", [False, True])
def test_usage_that_is_null_is_none(spaced: bool) -> None:
    meter = StreamMeter(wanted=False)
    payload = b'data: {"choices":[],"usage":null}\n\n'
    payload = payload.replace(b":null", b": null") if spaced else payload
    assert meter.on_events(payload) == payload
    assert meter.usage is None


@pytest.mark.parametrize(
    ("payload", "left"),
    [
        (ONLY_USAGE, b""),
        (TOKEN + ONLY_USAGE, TOKEN),
        (ONLY_USAGE + DONE, DONE),
        (TOKEN + ONLY_USAGE + DONE, TOKEN + DONE),
        (ONLY_USAGE.replace(b"\n\n", b"\r\n\r\n") + DONE, DONE),
        (ONLY_USAGE.replace(b"[]", b" [ ] "), b""),
    ],
)
def test_usage_event_is_taken_out(payload: bytes, left: bytes) -> None:
    meter = StreamMeter(wanted=False)
    assert meter.on_events(payload) == left
    assert meter.usage is not None
    assert (meter.usage.prompt_tokens, meter.usage.output, meter.usage.cached) == (11, 3, 8)


def test_usage_event_stays_for_who_wants_it() -> None:
    meter = StreamMeter(wanted=True)
    payload = TOKEN + ONLY_USAGE + DONE
    assert meter.on_events(payload) == payload
    assert meter.usage is not None


def test_last_of_several_usages_counts() -> None:
    meter = StreamMeter(wanted=False)
    for count in (1, 2, 3):
        payload = event({"choices": [{"delta": {}}], "usage": {"prompt_tokens": 5, "completion_tokens": count}})
        assert meter.on_events(payload) == payload
    assert meter.usage is not None
    assert meter.usage.output == 3


@pytest.mark.parametrize("payload", [ERROR, TOKEN + ERROR, TOKEN + ONLY_USAGE + ERROR])
def test_error_event_is_noticed_wherever_it_stands(payload: bytes) -> None:
    meter = StreamMeter(wanted=True)
    assert meter.on_events(payload) == payload
    assert meter.failed


@pytest.mark.parametrize("document", [{"choices": [{"delta": {"content": '{"error"'}}]}, {"token": "error"}])
def test_error_in_a_text_is_none(document: dict[str, object]) -> None:
    meter = StreamMeter(wanted=False)
    meter.on_events(event(document))
    assert not meter.failed


def test_usage_that_cannot_be_read_is_passed_on() -> None:
    meter = StreamMeter(wanted=False)
    payload = b'data: {"choices":[],"usage":"much"}\n\n'
    assert meter.on_events(payload) == payload
    assert meter.usage is None
